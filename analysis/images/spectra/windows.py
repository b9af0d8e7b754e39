"""Sliding FFT: the spectrum of every window of an image, larger than memory if need be."""

from collections.abc import Hashable
from operator import index
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.fft
import xarray as xr

from latticescape.analysis.images.reading import UNKNOWN_UNITS
from latticescape.analysis.images.spectra.lattice_spots import lattice_period
from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError

Real32 = npt.NDArray[np.float32]

# A window holds so many lattice periods, unless told.
PERIODS = 7.0

# A step is this part of a window, unless told.
STEPS_A_WINDOW = 4

# Two periods of the finest detail that pixels can show.
LEAST_WINDOW = 4

# Bytes of spectra in a chunk: smaller ones cost more in the scheduling than in the transform.
CHUNK_BYTES = 2**26

# Bytes of what is transformed at once. From 128 KB on the C library asks the system for new pages
# every time (in Dask's workers always), and their arrival costs more than the transform.
BATCH_BYTES = 120_000


def sliding_fft(
    image: xr.DataArray | npt.ArrayLike, *, window: int | None = None, step: int | None = None
) -> xr.DataArray:
    """The spectrum log(1 + |FFT|) of every window of an image.

    Windows are squares that start at 0, ``step``, 2 ``step``, … in either direction, up to the
    last that fits. Each has its mean taken off and is multiplied by a periodic Hann taper.
    Nothing is computed before it is asked for: the result is a Dask array, cut along
    ``window_row`` (and an image of a stack), and each chunk reads only the rows it needs.

    Parameters
    ----------
    image
        (…, row, col), real; NumPy or Dask, in memory or not. Dims before the last two are a stack
        of images. Calibration is taken from ``pixel_size`` and ``pixel_units`` in its attributes.
    window
        Side of a window, px; by default seven lattice periods, as estimated from the image.
    step
        From one window to the next, px; by default a quarter of a window.

    Returns
    -------
    DataArray
        (…, window_row, window_col, k_row, k_col), float32. ``window_row`` and ``window_col`` are
        the centres of the windows in px, ``k_row`` and ``k_col`` ascending frequencies in cycles
        per px, zero among them. Where the image is calibrated ``window_y``, ``window_x``, ``k_y``
        and ``k_x`` say the same in its units and their reciprocal.

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
    labelled = _labelled(image)
    side = _side(window, labelled)
    stride = _stride(step, side)
    spectra = da.concatenate(_strips(labelled.data, side, stride), axis=-4)
    dims = (*labelled.dims[:-2], "window_row", "window_col", "k_row", "k_col")
    return xr.DataArray(
        spectra, _coords(labelled, side, stride), dims, "spectrum", _attrs(labelled, side, stride)
    )


def _labelled(image: xr.DataArray | npt.ArrayLike) -> xr.DataArray:
    if not isinstance(image, xr.DataArray):
        values: Any = image if isinstance(image, da.Array) else np.asarray(image)
        if not 2 <= values.ndim <= 3:
            raise RequestError(
                "an image has rows and columns", came=f"shape {values.shape}", allowed="(row, col)"
            )
        image = xr.DataArray(values, dims=("image", "row", "col")[-values.ndim :])
    if image.ndim < 2 or image.size == 0:
        raise RequestError(
            "an image has rows and columns", came=f"shape {image.shape}", allowed="(…, row, col)"
        )
    if image.dtype.kind not in "buif":
        raise RequestError("an image is of real numbers", came=image.dtype, allowed="grey values")
    if isinstance(image.data, np.ndarray):
        _check_finite(image.data)
    return image


def _check_finite(values: npt.NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        raise RequestError(
            "pixels are NaN or infinite",
            came=f"{finite.size - np.count_nonzero(finite)} of {finite.size}",
            allowed="finite grey values",
            hint="image.fillna(image.median())",
        )


def _side(window: int | None, image: xr.DataArray) -> int:
    shape = image.shape[-2:]
    side = _whole("window", _suggested(image) if window is None else window)
    if not LEAST_WINDOW <= side <= min(shape):
        raise RequestError(
            "a window does not fit into the image",
            came=f"{side} px",
            allowed=f"{LEAST_WINDOW} to {min(shape)} px, for the image has {shape[0]} × {shape[1]}",
        )
    return side


def _stride(step: int | None, side: int) -> int:
    stride = max(1, side // STEPS_A_WINDOW) if step is None else _whole("step", step)
    if not 1 <= stride <= side:
        raise RequestError(
            "windows that far apart leave gaps, or never end",
            came=f"step {stride} px",
            allowed=f"1 to {side} px, the window",
        )
    return stride


def _whole(name: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise RequestError(
            f"{name} is a whole number of pixels", came=repr(value), allowed="1, 2, …"
        ) from None


def _strips(image: Any, side: int, stride: int) -> list[da.Array]:
    """Chunks of spectra, each from the rows of the image that its windows cover."""
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
    # Counts that are many and alike would lose their differences in single precision.
    centred = (image - image.mean(dtype=np.float64)).astype(np.float32)
    lines, across = (1 + (length - window) // step for length in image.shape[-2:])
    spectra = np.empty((*image.shape[:-2], lines, across, window, window), np.float32)
    hann = (np.sin(np.pi * np.arange(window) / window) ** 2).astype(np.float32)
    half = np.empty((_at_once(window), window, window // 2 + 1), np.float32)
    waves = np.empty((len(half), window, window), np.float32)
    for *which, line in np.ndindex(spectra.shape[:-3]):
        strip = centred[(*which, slice(line * step, line * step + window))]
        for first in range(0, across, len(waves)):
            some = spectra[(*which, line, slice(first, first + len(waves)))]
            cut_windows(strip, first * step, step, hann, waves[: len(some)])
            unfold(_half_spectra(waves[: len(some)], half[: len(some)]), some)
    return spectra


def _at_once(window: int) -> int:
    """Windows whose transform is of ``BATCH_BYTES``, or one."""
    return max(1, BATCH_BYTES // (8 * window * (window // 2 + 1)))


@compiled
def cut_windows(strip: Real32, start: int, step: int, hann: Real32, windows: Real32) -> None:
    """Windows side by side, each without its mean and times the taper.

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


def _half_spectra(waves: Real32, half: Real32) -> Real32:
    """log(1 + |FFT|) for frequencies ≥ 0 along the columns: the others mirror them."""
    np.abs(scipy.fft.rfft2(waves, overwrite_x=True, workers=1), out=half)
    return np.log1p(half, out=half)


@compiled
def unfold(half: Real32, whole: Real32) -> None:
    """Both halves of symmetric spectra, ascending frequencies.

    Examples
    --------
    >>> whole = np.empty((1, 2, 2), np.float32)
    >>> unfold(np.float32([[[0, 1], [2, 3]]]), whole)
    >>> whole.tolist()
    [[[3.0, 2.0], [1.0, 0.0]]]
    """
    side, zero = whole.shape[-1], whole.shape[-1] // 2
    for n in range(len(whole)):
        for i in range(side):
            row, mirrored = half[n, (i - zero) % side], half[n, (zero - i) % side]
            for j in range(zero):
                whole[n, i, j] = mirrored[zero - j]
            for j in range(zero, side):
                whole[n, i, j] = row[j - zero]


def _coords(image: xr.DataArray, side: int, stride: int) -> dict[Hashable, Any]:
    """Coordinates of a stack, centres of windows, and frequencies."""
    coords: dict[Hashable, Any] = {
        name: coord
        for name, coord in image.coords.items()
        if not set(coord.dims) & set(image.dims[-2:])
    }
    size, units = _calibration(image)
    frequencies = np.fft.fftshift(np.fft.fftfreq(side))
    for (axis, calibrated), dim in zip((("row", "y"), ("col", "x")), image.dims[-2:], strict=True):
        starts = np.arange(0, image.sizes[dim] - side + 1, stride)
        origin = float(image[dim].to_numpy()[0]) if dim in image.coords else 0.0
        centres = origin + starts + (side - 1) / 2
        told = f"centre of the window, {axis}"
        coords[f"window_{axis}"] = (f"window_{axis}", centres, {"long_name": told, "units": "px"})
        told = f"frequency along {axis}"
        coords[f"k_{axis}"] = (f"k_{axis}", frequencies, {"long_name": told, "units": "1/px"})
        if units != UNKNOWN_UNITS:
            coords[f"window_{calibrated}"] = (
                f"window_{axis}",
                size * centres,
                {"long_name": f"centre of the window, {calibrated}", "units": units},
            )
            coords[f"k_{calibrated}"] = (
                f"k_{axis}",
                frequencies / size,
                {"long_name": f"frequency along {calibrated}", "units": f"1/{units}"},
            )
    return coords


def _attrs(image: xr.DataArray, side: int, stride: int) -> dict[str, Any]:
    size, units = _calibration(image)
    return {
        "long_name": "log(1 + |FFT|)",
        "units": "1",
        "window": side,
        "step": stride,
        "taper": "Hann, periodic",
        "inversion_symmetric": 1,
        "image": "" if image.name is None else str(image.name),
        "source": str(image.attrs.get("source", "")),
        "pixel_size": size,
        "pixel_units": units,
    }


def _calibration(image: xr.DataArray) -> tuple[float, str]:
    size = float(image.attrs.get("pixel_size", 1.0))
    return size, str(image.attrs.get("pixel_units", UNKNOWN_UNITS))


def _suggested(image: xr.DataArray) -> int:
    """Seven periods of the lattice in the (first) image, as an even number."""
    first = image.isel(dict.fromkeys(image.dims[:-2], 0))
    values = first.data
    if not isinstance(values, np.ndarray):
        values = np.asarray(values.compute())
        _check_finite(values)
    return 2 * round(PERIODS / 2 * lattice_period(values))
