"""Spots that distinguish an endmember from the others, and the stripes that cause them."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import maximum_filter

from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# The taper spreads slow variations, as of the background, over this many bins around zero.
NEAR_ZERO = 1

# Largest error, in bins, of a parabola's vertex as the frequency of a Hann-tapered wave.
SYSTEMATIC = 0.03


def spots(unmixed: xr.Dataset, most: int = 3) -> xr.Dataset:
    """The strongest spots of each endmember that the others lack.

    A spot is a local maximum of the FFT's magnitude less the largest of the other endmembers'; with
    a single endmember, of its magnitude. Its position is the vertex of a paraboloid through the
    logarithms of 3 × 3 bins.

    Parameters
    ----------
    unmixed
        ``endmember`` (endmember, k_row, k_col), log(1 + |FFT|), as :func:`unmix` returns it.
    most
        Number of spots of each endmember, the strongest first; NaN where it has fewer.

    Returns
    -------
    Dataset
        (endmember, spot): ``frequency_row``, ``frequency_col`` in cycles per px, one of each
        symmetric pair, and ``…_se``: one standard error, from the residuals of the paraboloid and
        its largest systematic error for a single wave, 0.03 bins; ``magnitude``, and ``excess``,
        its part above the others.

    Raises
    ------
    RequestError
        If there are no endmembers of complete spectra.

    Examples
    --------
    >>> from latticescape import sliding_fft, unmix
    >>> row, col = np.indices((96, 64))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> ds = spots(unmix(sliding_fft(waves, window=32)), most=1)
    >>> sorted(np.abs(ds.frequency_row.values[:, 0]).round(2).tolist())
    [0.0, 0.08]
    """
    dims = ("endmember", "k_row", "k_col")
    if "endmember" not in unmixed or unmixed["endmember"].dims != dims:
        raise RequestError(
            "no endmembers of spectra",
            came=", ".join(map(str, unmixed)),
            allowed="endmember (endmember, k_row, k_col)",
            hint="unmix(sliding_fft(image))",
        )
    ends = unmixed["endmember"].to_numpy().astype(float)
    rows, cols = (unmixed["endmember"][dim].to_numpy().astype(float) for dim in dims[1:])
    if min(len(rows), len(cols)) < 2 * NEAR_ZERO + 3:
        raise RequestError("spectra too small for spots", came=f"{len(rows)} × {len(cols)}")
    axes, bins = (rows, cols), (float(rows[1] - rows[0]), float(cols[1] - cols[0]))
    magnitude = np.expm1(ends)
    names = {
        "frequency_row": ("frequency along row", "1/px"),
        "frequency_col": ("frequency along col", "1/px"),
        "frequency_row_se": ("standard error of the frequency along row", "1/px"),
        "frequency_col_se": ("standard error of the frequency along col", "1/px"),
        "magnitude": ("|FFT|", "1"),
        "excess": ("|FFT| above the largest of the others", "1"),
    }
    table = np.full((len(names), len(ends), most), np.nan)
    for k in range(len(ends)):
        others = np.delete(magnitude, k, axis=0).max(axis=0, initial=0)
        excess = magnitude[k] - others
        for n, peak in enumerate(_peaks(excess, rows / bins[0], cols / bins[1])[:most]):
            offset, error = _vertex(ends[k], peak)
            at = [
                axis[i] + o * size
                for axis, size, i, o in zip(axes, bins, peak, offset, strict=True)
            ]
            errors = [size * e for size, e in zip(bins, error, strict=True)]
            table[:, k, n] = [*at, *errors, magnitude[k][peak], excess[peak]]
    columns: dict[str, Column] = {
        name: (("endmember", "spot"), values, label, units)
        for (name, (label, units)), values in zip(names.items(), table, strict=True)
    }
    kept = {name: unmixed.attrs[name] for name in ("image", "window") if name in unmixed.attrs}
    return xr.Dataset(labelled_variables(columns), attrs=kept)


def stripes(unmixed: xr.Dataset) -> xr.Dataset:
    """Direction and period of the stripes that distinguish each endmember from the others.

    They follow from the strongest of its :func:`spots`: the stripes of a spot k run perpendicular
    to it with period 1/|k|.

    Parameters
    ----------
    unmixed
        As in :func:`spots`.

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
    >>> ds = stripes(unmix(sliding_fft(waves, window=32)))
    >>> sorted((ds.angle.values.round() % 180).tolist()), ds.period.values.round().tolist()
    ([0.0, 90.0], [13.0, 13.0])
    """
    first = spots(unmixed, most=1).isel(spot=0)
    row, col = first["frequency_row"].to_numpy(), first["frequency_col"].to_numpy()
    row_se, col_se = first["frequency_row_se"].to_numpy(), first["frequency_col_se"].to_numpy()
    k = np.hypot(row, col)
    across = np.hypot(col * row_se, row * col_se) / k**2
    along = np.hypot(row * row_se, col * col_se) / k**3
    angle = np.rad2deg(np.arctan2(col, -row)) % 180
    columns: dict[str, Column] = {
        "angle": ("endmember", angle, "direction of the stripes", "degree"),
        "angle_se": ("endmember", np.rad2deg(across), "standard error of the direction", "degree"),
        "period": ("endmember", 1 / k, "distance of the stripes", "px"),
        "period_se": ("endmember", along, "standard error of the distance", "px"),
    }
    return xr.Dataset(labelled_variables(columns), attrs=first.attrs)


def _peaks(excess: Floats, rows: Floats, cols: Floats) -> list[tuple[int, int]]:
    """Local maxima above zero, one of each symmetric pair, the highest first.

    ``rows`` and ``cols`` are frequencies in bins.
    """
    top = (excess == maximum_filter(excess, 3, mode="wrap")) & (excess > 0)
    row, col = np.meshgrid(rows, cols, indexing="ij")
    top &= np.maximum(np.abs(row), np.abs(col)) > NEAR_ZERO + 0.5
    top &= (col > 0.5) | ((np.abs(col) < 0.5) & (row > 0))
    order = np.argsort(-excess[top], kind="stable")
    return [(int(r), int(c)) for r, c in np.argwhere(top)[order]]


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
