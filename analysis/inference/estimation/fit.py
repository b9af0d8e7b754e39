"""Fit parameters: the minimum of a landscape and its covariance."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.estimation.deviance import Deviance, Overlap, deviance, part_of
from latticescape.analysis.inference.estimation.finer import finer
from latticescape.analysis.inference.estimation.information import (
    FlatDirection,
    Information,
    flat_subspace,
    information,
    named_directions,
)
from latticescape.analysis.inference.landscapes.designs import PINNED, at_point, design_of, flat
from latticescape.analysis.inference.landscapes.flags import equilibration_notes
from latticescape.analysis.inference.landscapes.interpolation import Interpolation, interpolation
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# Ends of the confidence intervals of a Gaussian, in standard errors.
GAUSSIAN = {"low68": -0.994458, "high68": 0.994458, "low95": -1.959964, "high95": 1.959964}


def intervals(value: float, error: float) -> dict[str, float]:
    """A value, its standard error and the ends of its 68 % and 95 % confidence intervals.

    Examples
    --------
    >>> {name: round(end, 3) for name, end in intervals(0.5, 0.1).items()}
    {'value': 0.5, 'se': 0.1, 'low68': 0.401, 'high68': 0.599, 'low95': 0.304, 'high95': 0.696}
    """
    ends = {name: value + times * error for name, times in GAUSSIAN.items()}
    return {"value": value, "se": error, **ends}


@dataclass(frozen=True)
class Fit:
    """The minimum of a landscape.

    Attributes
    ----------
    parameters
        Best value and standard error of each parameter.
    covariance
        (parameters, parameters).
    s2, s2_total
        S² by image and in total, where the total is least: as it is, with its biases, which the
        parameters are freed of.
    s2_se, s2_total_se
        Their Monte Carlo standard errors, at the grid point nearest to the minimum.
    border
        Parameters whose minimum lies at the edge of the grid, or of the box around scattered
        points: the true one may lie outside.
    flat
        Combinations of parameters that the data do not determine.
    monte_carlo_covariance
        The part of the covariance that a longer simulation or a finer grid would remove.
    overlap
        How overlapping neighbourhoods were taken: ``independent``, ``simulated`` or ``effective``.
    extension
        By parameter at the border: the (start, stop) its axis should have instead.
    others
        Other minima about as low: −2 ln L is higher by less than 12.
    likelihood
        ``exact``: that of the configurations, as of an exponential family; ``s2``: −2 ln L = 4NS².
    deviance
        Of an exact likelihood: −2 ln L at the minimum, above that of sites without interactions;
        of sections of a lattice scaled as their errors are.
        NaN if it is not known, because no point of the grid is without them.
    profile
        Of an exact likelihood, by parameter: the ends of its intervals, ``low68`` and so on, where
        the likelihood that is largest over all other parameters has fallen accordingly.
    flags
        Sentences about points that are not equilibrated.
    coarse
        Parameters along which the curvature of −2 ln L changes so much from one step of the grid to
        the next that their errors are not known to a quarter.
    """

    parameters: Mapping[str, tuple[float, float]]
    covariance: Floats
    s2: xr.DataArray
    s2_se: xr.DataArray
    s2_total: float
    s2_total_se: float
    border: tuple[str, ...]
    flat: tuple[FlatDirection, ...] = ()
    monte_carlo_covariance: Floats = field(default_factory=lambda: np.empty((0, 0)))
    overlap: Overlap = "independent"
    extension: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    others: tuple[Mapping[str, float], ...] = ()
    likelihood: Literal["exact", "s2"] = "s2"
    deviance: float = np.nan
    profile: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()

    @property
    def table(self) -> dict[str, dict[str, float]]:
        """By parameter: value, standard error and confidence intervals, those of the profile of an
        exact likelihood or else of a Gaussian, see :func:`intervals`."""
        return {
            name: {**intervals(value, error), **self.profile.get(name, {})}
            for name, (value, error) in self.parameters.items()
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the estimate, in sentences."""
        at_edge = [
            f"the minimum lies at the edge of the axis {name}: extend it"
            + (
                " to {:.6g} … {:.6g}".format(*self.extension[name])
                if name in self.extension
                else ""
            )
            for name in self.border
        ]
        others = [
            "another minimum is about as low: "
            + ", ".join(f"{name} = {value:.4g}" for name, value in other.items())
            for other in self.others
        ]
        coarse = [
            f"the steps of {name} are too wide near the minimum, so that its errors are rough: "
            "latticescape refine, or a finer grid there"
            for name in self.coarse
        ]
        flat = [direction.sentence for direction in self.flat]
        return (*flat, *at_edge, *others, *coarse, *self.flags)


def fit(landscape: xr.Dataset, *, overlap: Overlap | None = None) -> Fit:
    """Parameters at the minimum of a landscape, with their standard errors.

    The minimum is that of −2 ln L = 4 Σ_d N_d S²_d, interpolated by a Gaussian process and freed of
    the biases of a finite simulation and of rare classes. Laplace's approximation gives
    Cov = (2 N ∂²S²/∂w²)⁻¹; where counts overlap or are few it is H⁻¹ J H⁻¹ (see
    :mod:`information`), and the Monte Carlo error of the minimum is added. Where
    there are too few points for a curve, the best point is returned with infinite errors.

    Parameters
    ----------
    landscape
        A landscape.
    overlap
        How overlapping neighbourhoods are taken; see :func:`deviance`.

    Raises
    ------
    RequestError
        If no point of the landscape is computed; or its scattered points are too few for a
        parabola, or lie on one line or plane.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-7),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-7), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> value, error = fit(landscape).parameters["w1"]
    >>> round(value, 5), round(error, 5)
    (-0.08, 0.01581)
    """
    return replace(_fitted(landscape, overlap), flags=equilibration_notes(landscape))


def _fitted(landscape: xr.Dataset, overlap: Overlap | None) -> Fit:
    """The fit, without the flags of points."""
    deviances = finer(landscape, deviance(landscape, overlap))
    if not parameters_of(landscape):
        return Fit(
            {}, np.empty((0, 0)), **_distances(landscape), border=(), overlap=deviances.overlap
        )
    between = interpolated(deviances)
    if between is None:
        # The best point, with infinite errors.
        least, design = int(np.nanargmin(deviances.values)), deviances.design
        place, names = _nearby(landscape, design.places[least]), parameters_of(landscape)
        ends = design.at_edge(design.places[least], least) if design.names else np.empty((0, 2))
        return Fit(
            {name: (float(place[name]), float("inf")) for name in names},
            np.full((len(names),) * 2, np.inf),
            **_distances(place),
            border=tuple(n for n, e in zip(design.names, ends, strict=True) if e.any()),
            overlap=deviances.overlap,
        )
    return find_minimum(landscape, deviances, between).fit


@dataclass(frozen=True)
class Minimum:
    """A fit with the data it was made from, for bootstrap and posterior.

    Attributes
    ----------
    point
        (parameters,), those that can be fitted.
    curvature
        Of −ln L there.
    covariance
        Of the estimate, Monte Carlo error included; along flat directions, of the complete grid.
    basis
        (parameters, firm): unit vectors of the directions that are not flat, in units of ``half``.
    minima
        (minima, parameters): separate minima about as low; the first is the lowest.
    """

    fit: Fit
    deviances: Deviance
    between: Interpolation
    point: Floats
    half: Floats
    curvature: Floats
    covariance: Floats
    basis: Floats
    minima: Floats


def interpolated(deviances: Deviance) -> Interpolation | None:
    """Interpolate −2 ln L, or return None if there are too few points for a curve."""
    exact = deviances.exact
    jumps, bridged = (None, None) if exact is None else (exact.jumps, exact.bridged)
    try:
        return interpolation(
            deviances.design, deviances.values, deviances.errors, jumps=jumps, bridged=bridged
        )
    except RequestError:
        return None


def required_interpolation(deviances: Deviance, purpose: str) -> Interpolation:
    """Interpolate −2 ln L, or raise an error if there are too few points for a curve."""
    between = interpolated(deviances)
    if between is None:
        came = int(np.isfinite(deviances.values).sum())
        allowed = "three values or more of each parameter, computed"
        problem = f"too few points of the landscape are computed {purpose}"
        raise RequestError(problem, came=came, allowed=allowed, hint="fit, or a finer grid")
    return between


def find_minimum(landscape: xr.Dataset, deviances: Deviance, between: Interpolation) -> Minimum:
    """The minimum and its covariance."""
    point = between.minimum()
    half = between.design.half
    known = information(landscape, deviances, between, point)
    curvature = known.curvature * np.outer(half, half)
    inverse = np.asarray(np.linalg.pinv(curvature, rcond=1e-10, hermitian=True), float)
    scatter = inverse @ (known.slope_covariance * np.outer(half, half)) @ inverse
    sharp = np.linalg.pinv(scatter, rcond=1e-10, hermitian=True) / np.outer(half, half)
    values, vectors, flat = flat_subspace(sharp, half)
    firm = vectors[:, ~flat] @ vectors[:, ~flat].T
    reach = 1 / np.abs(vectors).max(axis=0)
    unit = half / between.half
    slope = _slope_covariance(deviances, between, point)
    noise = between.widening**2 * inverse @ (slope * np.outer(unit, unit) / 4) @ inverse
    spread = np.where(flat, reach**2 / 3, 1 / np.where(flat, 1, values))
    monte_carlo = firm @ noise @ firm * np.outer(half, half)
    covariance = (vectors * spread) @ vectors.T * np.outer(half, half) + monte_carlo
    lost = np.abs(vectors[:, flat]).max(axis=1, initial=0.0) > 0.1
    border = _border(deviances, point, lost)
    fit = _fit(landscape, deviances, between, point, covariance, monte_carlo, border)
    fit = replace(fit, deviance=_above_no_interaction(deviances, between, point, known))
    flats = named_directions(
        deviances.names,
        sharp,
        half,
        fixed_composition=bool(landscape.attrs.get("fixed_composition")),
    )
    minima = find_minima(deviances, between) if not flats else point[None]
    others = tuple(
        dict(zip(deviances.names, map(float, other), strict=True)) for other in minima[1:]
    )
    minimum = Minimum(
        fit=replace(fit, flat=flats, others=others),
        deviances=deviances,
        between=between,
        point=point,
        half=half,
        curvature=known.curvature,
        covariance=covariance,
        basis=vectors[:, ~flat],
        minima=minima,
    )
    if deviances.exact is None or flats:
        return minimum
    return replace(minimum, fit=replace(minimum.fit, profile=_profile(minimum)))


# Couplings over temperature below this are none.
FREE = 1e-9

# Places of a profile on either side of the minimum, up to so many standard errors.
PLACES = 40
FARTHEST = 5.0


def _profile(minimum: Minimum) -> dict[str, dict[str, float]]:
    """The ends of intervals where −2 ln L, least over all other parameters, has risen enough."""
    between, names = minimum.between, minimum.deviances.names
    errors = np.sqrt(np.diag(minimum.covariance))
    # As much wider as errors of the simulation, and edges of sections, make those of a Gaussian.
    exact = np.diag(np.linalg.pinv(minimum.curvature, hermitian=True))
    wider = np.where(exact > 0, errors / np.sqrt(np.maximum(exact, 1e-300)), 1.0)
    least = between.value(minimum.point[None])
    known = between.design.places[np.isfinite(minimum.deviances.values)]
    ends: dict[str, dict[str, float]] = {name: {} for name in names}
    for (k, name), (word, side) in product(enumerate(names), (("low", -1.0), ("high", 1.0))):
        # Along the ridge, from where the other parameters find their own minimum.
        steps = side * np.linspace(0, FARTHEST, PLACES + 1)[:, None]
        begin = between.inside(minimum.point + steps * minimum.covariance[:, k] / errors[k])
        corners = between.low, between.high
        low, high = (np.repeat(corner[None], len(begin), axis=0) for corner in corners)
        low[:, k] = high[:, k] = begin[:, k]
        scaled = [between.scaled(each) for each in (begin, low, high)]
        places = between.process.minima(*scaled) * between.half + between.centre
        rise = np.maximum.accumulate(np.maximum(between.value(places) - least, 0))
        away = np.abs(begin[:, k] - minimum.point[k]) * wider[k]
        # Between the points of the same phase and the next ones the likelihood falls steeply;
        # beyond the grid it is unknown.
        others = side * (known[:, k] - corners[side > 0][k])
        step = others[others > 0].min(initial=np.inf)
        beyond = away[-1] + step * wider[k]
        for level in ("68", "95"):
            times = GAUSSIAN[f"high{level}"]
            reached = float(np.interp(times, np.sqrt(rise), away, right=beyond))
            ends[name][word + level] = float(minimum.point[k]) + side * reached
    return ends


def _slope_covariance(deviances: Deviance, between: Interpolation, point: Floats) -> Floats:
    """Covariance of the error of the slope of −2 ln L at a point, in the process's own units."""
    scaled = between.scaled(point[None])
    covariance = between.process.slope_covariance(scaled[0])
    if deviances.exact is None or deviances.exact.replicas is None:
        return covariance
    # Errors of an integral are alike at points that are near each other: replicas know them.
    replicas = between.process.of(deviances.exact.replicas[:, between.chosen].T)
    number = len(deviances.exact.replicas)
    slopes = replicas.derivatives(np.repeat(scaled, number, axis=0))[1]
    return covariance + np.cov(slopes.T).reshape(covariance.shape) / number


def _border(
    deviances: Deviance, point: Floats, lost: npt.NDArray[np.bool_]
) -> dict[str, tuple[float, float]]:
    """Parameters at the edge of the box, and the ranges that they should have instead."""
    design, extensions = deviances.design, {}
    ends = design.at_edge(point, int(np.nanargmin(deviances.values)))
    for k, name in enumerate(design.names):
        low, high, half = (float(each[k]) for each in (design.low, design.high, design.half))
        if ends[k].any() and not lost[k]:
            extensions[name] = (low - half, high) if ends[k, 0] else (low, high + half)
    return extensions


def _fit(
    landscape: xr.Dataset,
    deviances: Deviance,
    between: Interpolation,
    point: Floats,
    covariance: Floats,
    monte_carlo: Floats,
    border: dict[str, tuple[float, float]],
) -> Fit:
    at = dict(zip(deviances.names, map(float, point), strict=True))
    errors = np.sqrt(np.diag(covariance))
    # The distance of a minimum outside the box is unknown.
    design = deviances.design
    pinned = np.minimum(point - design.low, design.high - point) <= PINNED * design.half
    errors[pinned & np.isin(design.names, list(border))] = np.inf
    parameters = {
        name: (at[name], float(e)) for name, e in zip(deviances.names, errors, strict=True)
    }
    every = parameters_of(landscape)
    return Fit(
        parameters={n: parameters.get(n, (design.fixed.get(n, np.nan), np.inf)) for n in every},
        covariance=_spread_out(covariance, deviances.names, every),
        border=tuple(border),
        monte_carlo_covariance=_spread_out(monte_carlo, deviances.names, every),
        overlap=deviances.overlap,
        likelihood="s2" if deviances.exact is None else "exact",
        coarse=_coarse(deviances, between, point),
        extension=border,
        **_distances(_nearby(landscape, point)) | _least_distances(landscape, deviances, between),
    )


def _least_distances(
    landscape: xr.Dataset, deviances: Deviance, between: Interpolation
) -> dict[str, Any]:
    """S² of every image and in total where the total is least, smoothed; nothing if the points are
    too few for a curve."""
    total, parts = flat(landscape, "s2_total"), flat(landscape, "s2", part_of(landscape))
    weight = 4 * deviances.numbers.sum()
    if deviances.exact is not None:
        errors = weight * flat(landscape, "s2_total_se")
        try:
            between = interpolation(design_of(landscape), weight * total, errors)
        except RequestError:
            return {}
    values = np.vstack([total, parts])[:, between.chosen].T
    lowest = between.minimum(weight * values[:, :1].T)
    smoothed = np.maximum(between.process.of(values).mean(between.scaled(lowest))[0], 0)
    every = at_point(landscape, 0)["s2"].reset_coords(drop=True)
    return {"s2": every.copy(data=smoothed[1:]), "s2_total": float(smoothed[0])}


# Errors are known to a quarter if the curvature is known to half of it.
ROUGH = 0.5


def _coarse(deviances: Deviance, between: Interpolation, point: Floats) -> tuple[str, ...]:
    """Parameters along which the curvature changes too much from step to step at a place."""
    if deviances.exact is None or deviances.exact.bends is None:
        return ()
    bends = deviances.exact.bends[:, deviances.design.nearest(point)]
    curvature = between.process.derivatives(between.scaled(point[None]))[2][0]
    # With all other parameters where they fit best.
    bent = 1 / np.diag(np.linalg.pinv(curvature, hermitian=True)) / between.half**2
    # The curvature is that of the step, half a change from that of either side.
    return tuple(
        name
        for name, change, whole in zip(deviances.names, bends, bent, strict=True)
        if change / 2 > ROUGH * whole > 0
    )


def _nearby(landscape: xr.Dataset, point: Floats) -> xr.Dataset:
    """The landscape at the computed point next to a place."""
    design = design_of(landscape)
    if not design.names:
        return at_point(landscape, 0)
    return at_point(landscape, design.nearest(point, np.isfinite(flat(landscape, "s2_total"))))


def _above_no_interaction(
    deviances: Deviance, between: Interpolation, point: Floats, known: Information
) -> float:
    """The least −2 ln L, above that of a point of the grid without interactions.

    Of sections it is scaled as the errors along the way to that point are (Chandler and Bate,
    Biometrika 94, 167 (2007)).
    """
    if deviances.exact is None:
        return np.nan
    free = np.flatnonzero(np.all(np.abs(deviances.exact.couplings) < FREE, axis=1))
    if not free.size:
        return np.nan
    rise = float(between.value(point[None])[0]) - float(deviances.values[free[0]])
    slope = known.curvature @ (deviances.design.places[free[0]] - point)
    expected = float(slope @ np.linalg.pinv(known.curvature, hermitian=True) @ slope)
    scattered = float(slope @ np.linalg.pinv(known.slope_covariance, hermitian=True) @ slope)
    return rise * scattered / expected if expected > 0 else rise


def _spread_out(covariance: Floats, names: tuple[str, ...], every: tuple[str, ...]) -> Floats:
    """The covariance of all parameters; errors of those that were not fitted are infinite."""
    full = np.diag([0.0 if name in names else np.inf for name in every])
    at = [every.index(name) for name in names]
    full[np.ix_(at, at)] = covariance
    return full


def _distances(there: xr.Dataset) -> dict[str, Any]:
    """S² and its Monte Carlo error at one point of a landscape."""
    return {
        "s2": there["s2"].reset_coords(drop=True),
        "s2_se": there["s2_se"].reset_coords(drop=True),
        "s2_total": float(there["s2_total"]),
        "s2_total_se": float(there["s2_total_se"]),
    }


# A minimum whose −2 ln L is by more than this above the least holds less than 0.3 % as much.
MODE = 12.0

# The path between two minima must rise by this much, and by this many Monte Carlo errors.
BARRIER = 2.0
ERRORS = 4.0


def find_minima(deviances: Deviance, between: Interpolation) -> Floats:
    """Minima of −2 ln L that are about as low as the lowest, which is the first.

    Parameters
    ----------
    deviances, between
        −2 ln L at the points, and its interpolation.

    Returns
    -------
    ndarray
        (modes, parameters).

    Examples
    --------
    >>> from latticescape.analysis.inference.landscapes.designs import GridDesign
    >>> from latticescape.analysis.inference.landscapes.interpolation import interpolation
    >>> w = np.linspace(-1.0, 1.0, 41)
    >>> value = 200 * (w**2 - 0.25) ** 2 + w
    >>> zero = 0 * value
    >>> one = value[None], np.ones(1), "independent", None
    >>> deviances = Deviance(GridDesign(("w1",), (w,)), value, zero, *one)
    >>> between = interpolation(deviances.design, deviances.values, deviances.errors)
    >>> find_minima(deviances, between).round(1).tolist()
    [[-0.5], [0.5]]
    """
    values, design = deviances.values, between.design
    noise = float(np.nanmedian(deviances.errors[between.chosen]))
    local = design.lowest_nearby(values) & (values <= np.nanmin(values) + MODE + 2 * noise)
    begin = design.places[local]
    low, high = between.scaled(between.low), between.scaled(between.high)
    minima = between.process.minima(between.scaled(between.inside(begin)), low, high) * between.half
    minima = np.vstack([between.minimum(), minima + between.centre])
    heights = between.value(minima)
    needed = max(BARRIER, ERRORS * noise)

    def barrier(one: Floats, other: Floats) -> float:
        """Height of the straight path between two minima above the higher one."""
        path = between.value(np.linspace(one, other, 41))
        return float(path.max() - max(path[0], path[-1]))

    kept = [0]
    for k in np.argsort(heights):
        low_enough = heights[k] <= heights[0] + MODE
        if low_enough and all(barrier(minima[k], minima[j]) > needed for j in kept):
            kept.append(int(k))
    return minima[kept]
