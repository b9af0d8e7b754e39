"""Sliding FFT: the spectrum of every window of an image, also for data larger than memory."""

from collections.abc import Hashable
from operator import index
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.fft
import xarray as xr

from latticescape.analysis.checks import check_within
from latticescape.analysis.images.reading import UNKNOWN_UNITS
from latticescape.analysis.images.spectra.spots import lattice_period
from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError

Real32 = npt.NDArray[np.float32]

# Default side of a window in lattice periods.
PERIODS = 7.0

# Default number of steps per window.
STEPS_PER_WINDOW = 4

# Two periods of the finest detail that pixels resolve.
LEAST_WINDOW = 4

# Bytes of spectra in a chunk: scheduling smaller ones costs more than their transform.
CHUNK_BYTES = 2**26

# Bytes transformed at once. From 128 KB on the C library requests new pages from the system every
# time (in Dask's workers always), which costs more than the transform.
BATCH_BYTES = 120_000


def sliding_fft(
    image: xr.DataArray | npt.ArrayLike, *, window: int | None = None, step: int | None = None
) -> xr.DataArray:
    """The spectrum log(1 + |FFT|) of every window of an image.

    Windows are squares that start at 0, ``step``, 2 ``step``, … in both directions, up to the
    last that fits. The mean of each is subtracted, and it is multiplied by a periodic Hann taper.
    The result is a lazy Dask array with chunks along ``window_row`` (and the images of a stack);
    each chunk reads only the rows it needs.

    Parameters
    ----------
    image
        (…, row, col), real; a NumPy or Dask array. Dims before the last two are a stack of images.
        The attributes ``pixel_size`` and ``pixel_units`` are its calibration. Images with missing
        or hot pixels or margins come from ``fill_left_out(image)``.
    window
        Side of a window, px; by default seven lattice periods estimated from the image.
    step
        From one window to the next, px; by default a quarter of a window.

    Returns
    -------
    DataArray
        (…, window_row, window_col, k_row, k_col), float32. ``window_row`` and ``window_col`` are
        the centres of the windows in px, ``k_row`` and ``k_col`` ascending frequencies in cycles
        per px, including zero. For a calibrated image ``window_y``, ``window_x``, ``k_y`` and
        ``k_x`` are the same in its units and their reciprocal. ``left_out`` (window_row,
        window_col) is the share of each window's pixels that the image's coordinate of this name
        marks, if it has one.

    Raises
    ------
    RequestError
        If the image is not real or has fewer than two dims, a window does not fit into it, the
        step leaves gaps, or a pixel is NaN or infinite (of a Dask array: when it is computed).

    References
    ----------
    R. K. Vasudevan et al., Appl. Phys. Lett. 106, 091601 (2015), 10.1063/1.4914016; F. J. Harris,
    Proc. IEEE 66, 51 (1978), 10.1109/PROC.1978.10837 (the taper).

    Examples
    --------
    >>> row = np.arange(64)[:, None]
    >>> waves = np.cos(2 * np.pi * row / 8) * np.ones((64, 64))
    >>> spectra = sliding_fft(waves, window=32, step=8)
    >>> spectra.dims, spectra.shape
    (('window_row', 'window_col', 'k_row', 'k_col'), (5, 5, 32, 32))
    >>> peak = spectra.isel(window_row=0, window_col=0).sel(k_col=0).compute().idxmax("k_row")
    >>> abs(float(peak))
    0.125
    """
    labelled = _as_image(image)
    shape = labelled.shape[-2:]
    if window is None:
        # Seven periods of the lattice in the (first) image, as an even number.
        first = labelled.isel(dict.fromkeys(labelled.dims[:-2], 0)).data
        if not isinstance(first, np.ndarray):
            first = np.asarray(first.compute())
            _check_finite(first)
        window = 2 * round(PERIODS / 2 * lattice_period(first))
    side = _pixels("window", window)
    problem = f"the window does not fit into the image of {shape[0]} × {shape[1]} px"
    check_within(side, LEAST_WINDOW, min(shape), problem, "px")
    stride = max(1, side // STEPS_PER_WINDOW) if step is None else _pixels("step", step)
    check_within(stride, 1, side, "the step leaves gaps between windows, or is not positive", "px")
    spectra = da.concatenate(_strips(labelled.data, side, stride), axis=-4)
    dims = (*labelled.dims[:-2], "window_row", "window_col", "k_row", "k_col")
    size = float(labelled.attrs.get("pixel_size", 1.0))
    units = str(labelled.attrs.get("pixel_units", UNKNOWN_UNITS))
    attrs = {
        "long_name": "log(1 + |FFT|)",
        "units": "1",
        "window": side,
        "step": stride,
        "taper": "Hann, periodic",
        "inversion_symmetric": 1,
        "image": "" if labelled.name is None else str(labelled.name),
        "source": str(labelled.attrs.get("source", "")),
        "pixel_size": size,
        "pixel_units": units,
    }
    coords = _coords(labelled, side, stride, size, units)
    if "left_out" in labelled.coords:
        marked = labelled["left_out"].to_numpy().astype(np.float64)
        shares = np.lib.stride_tricks.sliding_window_view(marked, side, 0)[::stride].mean(axis=-1)
        shares = np.lib.stride_tricks.sliding_window_view(shares, side, 1)[:, ::stride]
        coords = coords | labelled_variables(
            {
                "left_out": (
                    ("window_row", "window_col"),
                    shares.mean(axis=-1),
                    "share of the window's pixels that were left out",
                    "1",
                )
            }
        )
    return xr.DataArray(spectra, coords, dims, "spectrum", attrs)


def _as_image(image: xr.DataArray | npt.ArrayLike) -> Any:
    labelled = isinstance(image, xr.DataArray)
    values: Any = image if labelled or isinstance(image, da.Array) else np.asarray(image)
    if values.ndim < 2 or values.size == 0 or not (labelled or values.ndim <= 3):
        came = f"shape {values.shape}"
        raise RequestError("an image has rows and columns", came=came, allowed="(…, row, col)")
    if values.dtype.kind not in "buif":
        raise RequestError("an image has real numbers", came=values.dtype, allowed="grey values")
    if not labelled:
        values = xr.DataArray(values, dims=("image", "row", "col")[-values.ndim :])
    if isinstance(values.data, np.ndarray):
        _check_finite(values.data)
    return values


def _check_finite(values: npt.NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        came = f"{finite.size - np.count_nonzero(finite)} of {finite.size}"
        hint = "fill_left_out(image) of latticescape.analysis.images.atoms.pixels in Python"
        raise RequestError(
            "pixels are NaN or infinite", came=came, allowed="finite grey values", hint=hint
        )


def _pixels(name: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise RequestError(f"{name} must be a whole number of px", came=repr(value)) from None


def _strips(image: Any, side: int, stride: int) -> list[da.Array]:
    """Chunks of spectra, each computed from the rows of the image that its windows cover."""
    lines, across = (1 + (length - side) // stride for length in image.shape[-2:])
    at_once = max(1, CHUNK_BYTES // (across * side * side * 4))
    chunks = []
    for first in range(0, lines, at_once):
        last = min(first + at_once, lines)
        rows = da.asarray(image[..., first * stride : (last - 1) * stride + side, :])
        strip = rows.rechunk({axis: 1 if axis < rows.ndim - 2 else -1 for axis in range(rows.ndim)})
        shape = ((last - first,), (across,), (side,), (side,))
        chunks.append(
            strip.map_blocks(
                spectra_of,
                side,
                stride,
                dtype=np.float32,
                chunks=strip.chunks[:-2] + shape,
                new_axis=(rows.ndim, rows.ndim + 1),
                meta=np.empty((0,) * (rows.ndim + 2), np.float32),
            )
        )
    return chunks


def spectra_of(image: npt.NDArray[Any], window: int, step: int) -> Real32:
    """Spectra of all windows of an image in memory, (…, windows, windows, k, k).

    Examples
    --------
    >>> spectra_of(np.eye(8), window=4, step=2).shape
    (3, 3, 4, 4)
    """
    _check_finite(image)
    # Differences of large, similar counts would be lost in single precision.
    centred = (image - image.mean(dtype=np.float64)).astype(np.float32)
    lines, across = (1 + (length - window) // step for length in image.shape[-2:])
    spectra = np.empty((*image.shape[:-2], lines, across, window, window), np.float32)
    hann = (np.sin(np.pi * np.arange(window) / window) ** 2).astype(np.float32)
    batch = max(1, BATCH_BYTES // (8 * window * (window // 2 + 1)))
    half = np.empty((batch, window, window // 2 + 1), np.float32)
    waves = np.empty((len(half), window, window), np.float32)
    for *which, line in np.ndindex(spectra.shape[:-3]):
        strip = centred[(*which, slice(line * step, line * step + window))]
        for first in range(0, across, len(waves)):
            chunk = spectra[(*which, line, slice(first, first + len(waves)))]
            tapered, magnitudes = waves[: len(chunk)], half[: len(chunk)]
            cut_windows(strip, first * step, step, hann, tapered)
            # Frequencies ≥ 0 along the columns; the others mirror them.
            np.abs(scipy.fft.rfft2(tapered, overwrite_x=True, workers=1), out=magnitudes)
            unfold(np.log1p(magnitudes, out=magnitudes), chunk)
    return spectra


@compiled
def cut_windows(strip: Real32, start: int, step: int, hann: Real32, windows: Real32) -> None:
    """Cut windows from a strip, subtract the mean of each and multiply it by the taper.

    Examples
    --------
    >>> windows = np.empty((2, 2, 2), np.float32)
    >>> cut_windows(np.eye(2, 4, dtype=np.float32), 0, 2, np.float32([1, 2]), windows)
    >>> windows.tolist()
    [[[0.5, -1.0], [-1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]]
    """
    side = len(hann)
    for n in range(len(windows)):
        left = start + n * step
        sums = np.zeros(side)
        for i in range(side):
            pixels = strip[i, left : left + side]
            for j in range(side):
                sums[j] += pixels[j]
        mean = np.float32(sums.sum() / (side * side))
        for i in range(side):
            pixels, window, weight = strip[i, left : left + side], windows[n, i], hann[i]
            for j in range(side):
                window[j] = (pixels[j] - mean) * (weight * hann[j])


@compiled
def unfold(half: Real32, full: Real32) -> None:
    """Complete symmetric spectra from one half, with ascending frequencies.

    Examples
    --------
    >>> full = np.empty((1, 2, 2), np.float32)
    >>> unfold(np.float32([[[0, 1], [2, 3]]]), full)
    >>> full.tolist()
    [[[3.0, 2.0], [1.0, 0.0]]]
    """
    side, zero = full.shape[-1], full.shape[-1] // 2
    for n in range(len(full)):
        for i in range(side):
            row, mirrored = half[n, (i - zero) % side], half[n, (zero - i) % side]
            for j in range(zero):
                full[n, i, j] = mirrored[zero - j]
            for j in range(zero, side):
                full[n, i, j] = row[j - zero]


def _coords(
    image: xr.DataArray, side: int, stride: int, size: float, units: str
) -> dict[Hashable, Any]:
    """Coordinates of a stack, centres of windows, and frequencies."""
    coords: dict[Hashable, Any] = {
        name: coord
        for name, coord in image.coords.items()
        if not set(coord.dims) & set(image.dims[-2:])
    }
    frequencies = np.fft.fftshift(np.fft.fftfreq(side))
    centre, frequency = "centre of the window, ", "frequency along "
    columns: dict[str, Column] = {}
    for (axis, calibrated), dim in zip((("row", "y"), ("col", "x")), image.dims[-2:], strict=True):
        starts = np.arange(0, image.sizes[dim] - side + 1, stride)
        origin = float(image[dim].to_numpy()[0]) if dim in image.coords else 0.0
        centres = origin + starts + (side - 1) / 2
        window, k = f"window_{axis}", f"k_{axis}"
        columns[window] = (window, centres, centre + axis, "px")
        columns[k] = (k, frequencies, frequency + axis, "1/px")
        if units != UNKNOWN_UNITS:
            columns[f"window_{calibrated}"] = (window, size * centres, centre + calibrated, units)
            columns[f"k_{calibrated}"] = (
                k,
                frequencies / size,
                frequency + calibrated,
                f"1/{units}",
            )
    return coords | labelled_variables(columns)
