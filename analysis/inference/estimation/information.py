"""How sharply a landscape determines its parameters, and how much its slope scatters.

4 N S² is −2 ln L of N independent draws. Neighbourhoods overlap, and classes may be seen seldom:
its minimum then scatters not as its curvature H says, but with covariance H⁻¹ J H⁻¹, J being the
covariance of its slope, known from how counts scatter in the simulation. That is the rule for
composite likelihoods (Godambe, Ann. Math. Stat. 31, 1208 (1960); Varin, Reid and Firth, Statist.
Sinica 21, 5 (2011)).
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.estimation.deviance import Deviance, part_of, root_moments
from latticescape.analysis.inference.landscapes.interpolation import Interpolation

Floats = npt.NDArray[np.float64]

# Histograms are taken as parabolas in the parameters where −2 ln L rises by less than this.
NEAR = 9.0


@dataclass(frozen=True)
class Information:
    """Curvature of −ln L at a point, and covariance of its slope: (parameters, parameters) each.

    They are equal if counts are many and independent.
    """

    curvature: Floats
    slope_covariance: Floats


def information(
    landscape: xr.Dataset, deviances: Deviance, between: Interpolation, point: Floats
) -> Information:
    """Expected curvature and scatter of the slope of −ln L at a point.

    Parameters
    ----------
    landscape
        A landscape. Without the histograms it is made of, the curvature is that of the landscape,
        and the slope is taken to scatter accordingly.
    deviances, between
        Its −2 ln L, and the interpolation of that.
    point
        (parameters,), in the order of ``deviances.axes``.

    Examples
    --------
    >>> from latticescape.analysis.inference.estimation.deviance import deviance
    >>> from latticescape.analysis.inference.landscapes.interpolation import interpolation
    >>> w = np.linspace(-1.0, 1.0, 9)
    >>> s2 = 0.01 + w**2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None]),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2), "n": ("image", [100])},
    ...     coords={"w1": w})
    >>> deviances = deviance(landscape)
    >>> between = interpolation(deviances.axes, deviances.values, deviances.errors)
    >>> information(landscape, deviances, between, np.zeros(1)).curvature.round(3).tolist()
    [[400.0]]
    """
    if deviances.dispersion is None:
        scaled = between.scaled(point[None])
        bend = between.process.derivatives(scaled)[2][0] / np.outer(between.half, between.half)
        return Information(bend / 2, bend / 2)
    curvature = np.zeros((len(point),) * 2)
    scatter = curvature.copy()
    roots, every_slope = root_histograms(landscape, deviances, between, point)
    for d, number in enumerate(deviances.numbers):
        value, slopes, dispersion = roots[d], every_slope[d], deviances.dispersion[d]
        there = landscape.isel({part_of(landscape): d})
        slope, covariance = _root_scatter(
            value**2, number, dispersion, _covariance(there, deviances)
        )
        curvature += 8 * number * (slopes * (slope * np.sqrt(number) * value)) @ slopes.T
        scatter += 16 * number * slopes @ covariance @ slopes.T
    return Information(curvature, scatter)


def root_histograms(
    landscape: xr.Dataset, deviances: Deviance, between: Interpolation, point: Floats
) -> tuple[Floats, Floats]:
    """√q of the simulation at a point, (parts, classes), and its slopes, (parts, axes, classes).

    From a parabola through the grid points near the minimum.
    """
    one = landscape.isel(dict.fromkeys(deviances.fixed, 0))
    chosen = _near_points(deviances, between)
    design, width = _design(deviances, chosen, point)
    q = one["probability"].transpose(part_of(landscape), *deviances.names, "configuration").values
    near = np.sqrt(q.reshape(len(q), -1, q.shape[-1])[:, chosen])
    parabolas = np.linalg.pinv(design) @ near
    value = np.clip(parabolas[:, 0], 0, 1)
    value = value / np.linalg.norm(value, axis=-1, keepdims=True)
    return value, parabolas[:, 1 : 1 + len(point)] / width[:, None]


def _covariance(image: xr.Dataset, deviances: Deviance) -> Floats | None:
    if deviances.overlap != "simulated":
        return None
    return np.asarray(image["count_covariance"].values, float)


def _root_scatter(
    q: Floats, number: float, dispersion: Floats, per_site: Floats | None
) -> tuple[Floats, Floats]:
    """Slope of √h on h, and the covariance of √h, of counts that come in bunches."""
    expected = number * q / dispersion
    _, slope, variance = root_moments(expected, np.maximum(number / dispersion, 1))
    slope = slope / np.sqrt(dispersion)
    counts = number * (np.diag(q) - np.outer(q, q) if per_site is None else per_site)
    covariance = slope[:, None] * counts * slope
    # The scatter of √h that does not follow h, where there are few.
    linear = slope**2 * dispersion * number * q * (1 - q)
    covariance[np.diag_indices_from(covariance)] += np.maximum(dispersion * variance - linear, 0)
    return slope, covariance


def _near_points(deviances: Deviance, between: Interpolation) -> npt.NDArray[np.intp]:
    """The low points, and three along each axis around the lowest."""
    values = between.process.mean(between.process.points)
    low = np.zeros(deviances.values.shape, bool)
    low.ravel()[between.chosen[values <= values.min() + NEAR]] = True
    lowest = np.unravel_index(between.chosen[int(np.argmin(values))], low.shape)
    starts = np.clip(np.array(lowest) - 1, 0, np.array(low.shape) - 3)
    low[tuple(slice(start, start + 3) for start in starts.tolist())] = True
    return np.flatnonzero(low & np.isfinite(deviances.values))


def _design(
    deviances: Deviance, chosen: npt.NDArray[np.intp], point: Floats
) -> tuple[Floats, Floats]:
    """Columns 1, w_i, w_i w_j of a parabola around a point, and the unit of each w."""
    grid = np.stack(np.meshgrid(*deviances.axes.values(), indexing="ij"), axis=-1)
    offsets = grid.reshape(-1, len(point))[chosen] - point
    width = np.maximum(np.abs(offsets).max(axis=0), 1e-300)
    scaled = offsets / width
    pairs = combinations_with_replacement(range(len(point)), 2)
    squares = [scaled[:, i] * scaled[:, j] for i, j in pairs]
    return np.column_stack([np.ones(len(scaled)), scaled, *squares]), width
