"""Information about the parameters: curvature, scatter of the slope, and flat directions.

4 N S² is −2 ln L of N independent draws. Neighbourhoods overlap, and some classes are rare: the
covariance of the minimum is then not the inverse of the curvature H but H⁻¹ J H⁻¹, with J the
covariance of the slope, known from the scatter of counts in the simulation. That is the rule for
composite likelihoods (Godambe, Ann. Math. Stat. 31, 1208 (1960); Varin, Reid and Firth, Statist.
Sinica 21, 5 (2011)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.estimation.deviance import Deviance, part_of, root_moments
from latticescape.analysis.inference.landscapes.designs import flat
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
        (parameters,), in the order of ``deviances.names``.

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
    >>> between = interpolation(deviances.design, deviances.values, deviances.errors)
    >>> information(landscape, deviances, between, np.zeros(1)).curvature.round(3).tolist()
    [[400.0]]
    """
    if deviances.dispersion is None:
        scaled = between.scaled(point[None])
        bend = between.process.derivatives(scaled)[2][0] / np.outer(between.half, between.half)
        return Information(bend / 2, _of_sections(landscape, deviances, between, point, bend / 2))
    curvature = np.zeros((len(point),) * 2)
    scatter = curvature.copy()
    roots, every_slope = root_histograms(landscape, deviances, between, point)
    for d, number in enumerate(deviances.numbers):
        value, slopes, dispersion = roots[d], every_slope[d], deviances.dispersion[d]
        per_site = None
        if deviances.overlap == "simulated":
            part = landscape.isel({part_of(landscape): d})
            per_site = np.asarray(part["count_covariance"].values, float)
        slope, covariance = _root_scatter(value**2, number, dispersion, per_site)
        curvature += 8 * number * (slopes * (slope * np.sqrt(number) * value)) @ slopes.T
        scatter += 16 * number * slopes @ covariance @ slopes.T
    return Information(curvature, scatter)


def _of_sections(
    landscape: xr.Dataset,
    deviances: Deviance,
    between: Interpolation,
    point: Floats,
    curvature: Floats,
) -> Floats:
    """Covariance of the slope of an exact likelihood: of closed lattices the curvature, of their
    sections as many times that as the features of sections scatter more than those of lattices."""
    if "is_section" not in landscape:
        return curvature
    slopes = coupling_slopes(deviances, between, point)
    maps = landscape["class_features"].transpose("image", "configuration", "feature").values
    sections, whole = (
        sum(
            number * slopes @ map_.T @ covariance @ map_ @ slopes.T
            for number, map_, covariance in zip(
                deviances.numbers, maps, landscape[name].values, strict=True
            )
        )
        for name in ("count_covariance", "whole_covariance")
    )
    values, vectors = np.linalg.eigh(whole)
    inverse_root = (vectors / np.sqrt(np.maximum(values, 1e-12 * values.max()))) @ vectors.T
    values, vectors = np.linalg.eigh(curvature)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    scale = root @ inverse_root
    return np.asarray(scale @ sections @ scale.T, float)


def coupling_slopes(deviances: Deviance, between: Interpolation, point: Floats) -> Floats:
    """Slopes of the couplings over temperature at a point, (parameters, features)."""
    assert deviances.exact is not None
    chosen = between.chosen
    offsets = deviances.design.places[chosen] - point
    far = ((offsets / between.design.half) ** 2).sum(axis=1)
    nearest = np.argsort(far)[: 4 * (len(point) + 1)]
    rows = np.column_stack([np.ones(len(nearest)), offsets[nearest]])
    couplings = deviances.exact.couplings[chosen][nearest]
    return np.asarray(np.linalg.lstsq(rows, couplings, rcond=None)[0][1:], float)


def root_histograms(
    landscape: xr.Dataset, deviances: Deviance, between: Interpolation, point: Floats
) -> tuple[Floats, Floats]:
    """√q of the simulation at a point, (parts, classes), and its slopes, (parts, axes, classes).

    From a parabola through the points near the minimum.
    """
    # The low points, and those around the lowest.
    values = between.process.mean(between.process.points)
    lowest = int(between.chosen[int(np.argmin(values))])
    near = between.design.around(lowest, np.isfinite(deviances.values))
    near[between.chosen[values <= values.min() + NEAR]] = True
    chosen = np.flatnonzero(near)
    # Columns 1, w_i, w_i w_j of a parabola around the point, and the unit of each w.
    offsets = between.design.places[chosen] - point
    width = np.maximum(np.abs(offsets).max(axis=0), 1e-300)
    scaled = offsets / width
    pairs = combinations_with_replacement(range(len(point)), 2)
    squares = [scaled[:, i] * scaled[:, j] for i, j in pairs]
    design = np.column_stack([np.ones(len(scaled)), scaled, *squares])
    q = flat(landscape, "probability", part_of(landscape), last=["configuration"])
    parabolas = np.linalg.pinv(design) @ np.sqrt(q[:, chosen])
    value = np.clip(parabolas[:, 0], 0, 1)
    value = value / np.linalg.norm(value, axis=-1, keepdims=True)
    return value, parabolas[:, 1 : 1 + len(point)] / width[:, None]


def _root_scatter(
    q: Floats, number: float, dispersion: Floats, per_site: Floats | None
) -> tuple[Floats, Floats]:
    """Slope of √h on h, and the covariance of √h, of counts that come in bunches."""
    expected = number * q / dispersion
    _, slope, variance = root_moments(expected, np.maximum(number / dispersion, 1))
    slope = slope / np.sqrt(dispersion)
    counts = number * (np.diag(q) - np.outer(q, q) if per_site is None else per_site)
    covariance = slope[:, None] * counts * slope
    # For small counts √h scatters more than linearly with h.
    linear = slope**2 * dispersion * number * q * (1 - q)
    covariance[np.diag_indices_from(covariance)] += np.maximum(dispersion * variance - linear, 0)
    return slope, covariance


# From the middle to the edge of the box −2 ln L rises by less than this: the 95 % interval of the
# direction is the complete grid.
RISE = 3.84

# Coefficients below this share of a direction's largest are left out of its name.
SLIGHT = 0.1


@dataclass(frozen=True)
class FlatDirection:
    """A combination of parameters that the data do not determine.

    Attributes
    ----------
    direction
        By parameter: how far each goes along, the largest being 1 or −1.
    rise
        Of −2 ln L from the middle of the grid to its edge, along the direction.
    sentence
        The same in words.
    """

    direction: Mapping[str, float]
    rise: float
    sentence: str


def flat_subspace(curvature: Floats, half: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Principal directions of a curvature in units of the grid's half widths.

    Parameters
    ----------
    curvature
        (parameters, parameters): of −ln L, the inverse covariance.
    half
        (parameters,): half the width of the grid.

    Returns
    -------
    values, vectors, flat
        Curvatures (parameters,), unit vectors as columns, and which of them are flat.

    Examples
    --------
    >>> flat_subspace(np.diag([100.0, 0.01]), np.ones(2))[2].tolist()
    [True, False]
    """
    scaled = curvature * np.outer(half, half)
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    reach = 1 / np.abs(vectors).max(axis=0)
    return values, vectors, values * reach**2 < RISE


def named_directions(
    names: Sequence[str], curvature: Floats, half: Floats, *, fixed_composition: bool = False
) -> tuple[FlatDirection, ...]:
    """The flat directions of a landscape, each with a sentence.

    Of several, combinations are named that involve as few parameters as possible.

    Examples
    --------
    >>> directions = named_directions(["w1", "w2"], np.diag([0.0, 90.0]), np.ones(2))
    >>> directions[0].sentence
    'w1 is not identifiable: all its values are equally likely'
    """
    _, vectors, flat = flat_subspace(curvature, half)
    if not flat.any():
        return ()
    where = " at fixed composition" if fixed_composition else ""
    scaled = curvature * np.outer(half, half)
    directions = []
    for row in _sparse(vectors[:, flat].T):
        rise = float(max(row @ scaled @ row, 0) / np.abs(row).max() ** 2)
        physical = row * half
        physical = physical / np.abs(physical).max()
        slight = np.abs(physical) < SLIGHT
        direction = dict(zip(names, np.where(slight, 0.0, physical).tolist(), strict=True))
        parts = {name: value for name, value in direction.items() if value}
        first, *others = parts
        sentence = f"{first} is not identifiable{where}: all its values are equally likely"
        if others:
            moves = ", ".join(f"{name} by {parts[name] / parts[first]:+.2g}" for name in others)
            sentence = (
                f"{', '.join(parts)} are not identifiable separately{where}: "
                f"{first} by +1 with {moves} changes nothing"
            )
        directions.append(FlatDirection(direction, rise, sentence))
    return tuple(directions)


def _sparse(rows: Floats) -> Floats:
    """Rows of the same span with as many zeros as elimination makes."""
    reduced = rows.copy()
    for k in range(len(reduced)):
        pivot = divmod(int(np.argmax(np.abs(reduced[k:]))), reduced.shape[1])
        row, column = k + pivot[0], pivot[1]
        reduced[[k, row]] = reduced[[row, k]]
        reduced[k] /= reduced[k, column]
        for other in range(len(reduced)):
            if other != k:
                reduced[other] -= reduced[other, column] * reduced[k]
    return reduced
