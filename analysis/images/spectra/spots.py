"""Spots that tell an endmember from the others, and the stripes that they stand for."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import maximum_filter

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# The taper spreads what varies slowly, as a background, over so many bins around zero.
NEAR_ZERO = 1

# Bins: how far the vertex of a parabola lies from the true frequency of a Hann-tapered wave.
SYSTEMATIC = 0.03


def spots(unmixed: xr.Dataset, most: int = 3) -> xr.Dataset:
    """The strongest spots that each endmember has and the others have not.

    A spot is a local maximum of the FFT's magnitude less the largest of the other endmembers';
    of one endmember alone, of its magnitude. Its place is the vertex of a paraboloid through the
    logarithms of 3 × 3 bins.

    Parameters
    ----------
    unmixed
        ``endmember`` (endmember, k_row, k_col), log(1 + |FFT|), as from :func:`unmix`.
    most
        Spots of each endmember, the strongest first; NaN where it has fewer.

    Returns
    -------
    Dataset
        (endmember, spot): ``frequency_row``, ``frequency_col`` in cycles per px, one of each
        symmetric pair, and ``…_se``: one standard error, from what the paraboloid leaves and from
        0.03 bins, by which it is wrong at most for a single wave; ``magnitude``, and ``excess``,
        its part above the others.

    Raises
    ------
    RequestError
        If there are no endmembers of whole spectra.

    Examples
    --------
    >>> from latticescape import sliding_fft, unmix
    >>> row, col = np.indices((96, 64))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> found = spots(unmix(sliding_fft(waves, window=32)), most=1)
    >>> sorted(np.abs(found.frequency_row.values[:, 0]).round(2).tolist())
    [0.0, 0.08]
    """
    ends, (rows, cols) = _endmembers(unmixed)
    magnitude = np.expm1(ends)
    place = {"frequency_row": rows, "frequency_col": cols}
    names = (*place, *(f"{name}_se" for name in place), "magnitude", "excess")
    table = np.full((len(names), len(ends), most), np.nan)
    for k in range(len(ends)):
        others = np.delete(magnitude, k, axis=0).max(axis=0, initial=0)
        excess = magnitude[k] - others
        for n, peak in enumerate(_peaks(excess, rows, cols)[:most]):
            offset, error = _vertex(ends[k], peak)
            at = [
                axis[i] + o * _bin(axis)
                for axis, i, o in zip((rows, cols), peak, offset, strict=True)
            ]
            errors = [_bin(axis) * e for axis, e in zip((rows, cols), error, strict=True)]
            table[:, k, n] = [*at, *errors, magnitude[k][peak], excess[peak]]
    return xr.Dataset(
        {
            name: (("endmember", "spot"), values, _told(name))
            for name, values in zip(names, table, strict=True)
        },
        attrs={name: unmixed.attrs[name] for name in ("image", "window") if name in unmixed.attrs},
    )


def stripes(unmixed: xr.Dataset) -> xr.Dataset:
    """Direction and period of the stripes that tell each endmember from the others.

    They are those of the strongest of its :func:`spots`: the stripes of a spot k run
    perpendicular to it, 1/|k| apart.

    Parameters
    ----------
    unmixed
        As of :func:`spots`.

    Returns
    -------
    Dataset
        (endmember): ``angle``, degrees in [0, 180) from the columns' axis towards the rows', and
        ``period``, px; each with ``…_se``.

    Examples
    --------
    >>> from latticescape import sliding_fft, unmix
    >>> row, col = np.indices((96, 64))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> found = stripes(unmix(sliding_fft(waves, window=32)))
    >>> sorted((found.angle.values.round() % 180).tolist()), found.period.values.round().tolist()
    ([0.0, 90.0], [13.0, 13.0])
    """
    first = spots(unmixed, most=1).isel(spot=0)
    row, col = first["frequency_row"], first["frequency_col"]
    row_se, col_se = first["frequency_row_se"], first["frequency_col_se"]
    k = np.hypot(row, col)
    across = np.hypot(col * row_se, row * col_se) / k**2
    along = np.hypot(row * row_se, col * col_se) / k**3
    angle = np.rad2deg(np.arctan2(col, -row)) % 180
    found = {
        "angle": (angle, "direction of the stripes", "degree"),
        "angle_se": (np.rad2deg(across), "standard error of the direction", "degree"),
        "period": (1 / k, "distance of the stripes", "px"),
        "period_se": (along, "standard error of the distance", "px"),
    }
    return xr.Dataset(
        {
            name: ("endmember", values.to_numpy(), {"long_name": told, "units": units})
            for name, (values, told, units) in found.items()
        },
        attrs=first.attrs,
    )


def _endmembers(unmixed: xr.Dataset) -> tuple[Floats, tuple[Floats, Floats]]:
    if "endmember" not in unmixed or unmixed["endmember"].dims != ("endmember", "k_row", "k_col"):
        raise RequestError(
            "no endmembers of spectra",
            came=", ".join(map(str, unmixed)),
            allowed="endmember (endmember, k_row, k_col)",
            hint="unmix(sliding_fft(image))",
        )
    ends = unmixed["endmember"]
    rows, cols = (ends[dim].to_numpy().astype(float) for dim in ("k_row", "k_col"))
    if min(len(rows), len(cols)) < 2 * NEAR_ZERO + 3:
        raise RequestError("spectra too small for spots", came=f"{len(rows)} × {len(cols)}")
    return ends.to_numpy().astype(float), (rows, cols)


def _bin(frequencies: Floats) -> float:
    return float(frequencies[1] - frequencies[0])


def _peaks(excess: Floats, rows: Floats, cols: Floats) -> list[tuple[int, int]]:
    """Local maxima above zero, one of each symmetric pair, the highest first."""
    top = (excess == maximum_filter(excess, 3, mode="wrap")) & (excess > 0)
    row, col = np.meshgrid(rows / _bin(rows), cols / _bin(cols), indexing="ij")
    top &= np.maximum(np.abs(row), np.abs(col)) > NEAR_ZERO + 0.5
    top &= (col > 0.5) | ((np.abs(col) < 0.5) & (row > 0))
    found = np.argwhere(top)
    order = np.argsort(-excess[top], kind="stable")
    return [(int(r), int(c)) for r, c in found[order]]


def _vertex(logs: Floats, peak: tuple[int, int]) -> tuple[Floats, Floats]:
    """Offset of a paraboloid's vertex from a bin, and its standard error, in bins."""
    around = np.arange(-1, 2)
    values = logs.take(peak[0] + around, axis=0, mode="wrap")
    values = values.take(peak[1] + around, axis=1, mode="wrap").ravel()
    r, c = (axis.ravel().astype(float) for axis in np.meshgrid(around, around, indexing="ij"))
    design = np.stack([np.ones(9), r, c, r * r / 2, c * c / 2, r * c], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ values
    curvature = np.array([[fitted[3], fitted[5]], [fitted[5], fitted[4]]])
    if np.linalg.eigvalsh(curvature).max() >= 0:
        return np.zeros(2), np.full(2, 0.5)
    offset = -np.linalg.solve(curvature, fitted[1:3])
    left = values - design @ fitted
    noise = float(left @ left) / (9 - 6)
    bend = np.array([[offset[0], 0, offset[1]], [0, offset[1], offset[0]]])
    slope = -np.linalg.solve(curvature, np.hstack([np.eye(2), bend]))
    spread = noise * slope @ inverse[1:, 1:] @ slope.T
    return np.clip(offset, -1, 1), np.sqrt(np.diag(spread) + SYSTEMATIC**2)


def _told(name: str) -> dict[str, Any]:
    if name.startswith("frequency"):
        axis = "row" if "row" in name else "col"
        error = "standard error of the " if name.endswith("_se") else ""
        return {"long_name": f"{error}frequency along {axis}", "units": "1/px"}
    told = {"magnitude": "|FFT|", "excess": "|FFT| above the largest of the others"}
    return {"long_name": told[name], "units": "1"}
