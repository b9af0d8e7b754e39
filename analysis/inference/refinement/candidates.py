"""Candidate points for refinement, and forecasts of the error that they leave."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product, zip_longest

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.stats import norm, qmc

from latticescape.analysis.inference.estimation.deviance import Deviance
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.landscapes.designs import GridDesign, ScatteredDesign
from latticescape.analysis.inference.landscapes.gaussian_process import LEAST_NOISE, Process
from latticescape.analysis.inference.landscapes.interpolation import (
    HIGH,
    Interpolation,
    model_tolerance,
)

Floats = npt.NDArray[np.float64]

# New values by parameter: of a grid's axes; or of scattered points, the k-th of each being point k.
Values = dict[str, tuple[float, ...]]

# New values of an axis are chosen among CANDIDATES, by number of axes, and at least FINER times the
# known values in their range; none is closer to a known value than NEAREST of a step. New points
# are chosen among SCATTERED, none closer to a known one than NEAREST_POINT of the half width.
CANDIDATES = {1: 64, 2: 32}
FEWEST_CANDIDATES = 20
FINER = 2
NEAREST = 0.2
SCATTERED = 128
NEAREST_POINT = 1e-3

# The number of new values outside of an edge at which the minimum lies.
OUTSIDE = 3

MESH = {1: 401, 2: 41, 3: 15}


def expected_improvement(between: Interpolation) -> tuple[Floats, float]:
    """The place of largest expected improvement on the lowest value, and the improvement."""
    design = between.design
    lines = np.linspace(design.low, design.high, MESH.get(len(design.names), 9)).T
    mesh = np.array(list(product(*lines)))
    value, error = between(mesh)
    lowest = float(value.min())
    z = np.clip((lowest - value) / np.maximum(error, 1e-300), -30, 30)
    gain = np.where(error > 0, error * (z * norm.cdf(z) + norm.pdf(z)), 0.0)
    best = int(np.argmax(gain))
    return mesh[best], float(gain[best])


@dataclass(frozen=True)
class Candidates(ABC):
    """Steps of a refinement: each adds a value to an axis of a grid, or a point.

    Attributes
    ----------
    deviances, between
        −2 ln L, and its interpolation; None where there are too few points for one.
    """

    deviances: Deviance
    between: Interpolation | None

    @staticmethod
    def of(deviances: Deviance, between: Interpolation | None) -> "Candidates":
        """The candidates for a landscape on a grid, or of scattered points."""
        if isinstance(deviances.design, GridDesign):
            return GridCandidates(deviances, between)
        return PointCandidates(deviances, between)

    def with_step(self, chosen: Values, step: Values) -> Values:
        """The values with those of a step."""
        names = [name for name in self.deviances.names if name in chosen or name in step]
        return {name: (*chosen.get(name, ()), *step.get(name, ())) for name in names}

    @abstractmethod
    def around(self, place: Floats) -> list[Values]:
        """Steps that show the shape of the landscape around a place, the best first."""

    @abstractmethod
    def at(self, place: Floats) -> list[Values]:
        """The step to a place, none if a known point is near."""

    @abstractmethod
    def outward(self, result: Fit, limits: Mapping[str, tuple[float, float]]) -> list[Values]:
        """Steps over the edges at which the minimum lies, the nearest first."""

    @abstractmethod
    def near_minimum(self, chosen: Values) -> Iterable[Values]:
        """Steps that may be added to those chosen to know the minimum better."""

    @abstractmethod
    def points(self, step: Values, chosen: Values) -> Floats:
        """The places (m, parameters) that a step adds."""

    def slab(self, step: Values, chosen: Values) -> tuple[Floats, Floats]:
        """Scaled places and errors of the points near the minimum that a step adds."""
        between = self.known
        places = self.points(step, chosen)
        places = places[between.is_near(places)]
        scaled = between.scaled(places)
        height = between.process.mean(scaled) - self._floor
        low = height <= self.high
        errors = np.exp(self._noise(places[low]))
        return scaled[low], np.hypot(errors, model_tolerance(np.maximum(height[low], 0)))

    @property
    def known(self) -> Interpolation:
        """The interpolation, which there must be."""
        assert self.between is not None
        return self.between

    @cached_property
    def high(self) -> float:
        """Height above the minimum up to which points are added."""
        return max(HIGH, 12 * float(np.median(self._positive)) if self._positive.size else 0.0)

    @cached_property
    def box(self) -> tuple[Floats, Floats]:
        """Corners of the box around the low points of the process, extended by one known value on
        every side: its edge lies before that."""
        process = self.known.process
        near = process.points[process.mean(process.points) - self._floor <= self.high]
        ends = []
        for k in range(near.shape[1]):
            column = np.unique(process.points[:, k])
            first, last = np.searchsorted(column, [near[:, k].min(), near[:, k].max()])
            ends.append((column[max(first - 1, 0)], column[min(last + 1, len(column) - 1)]))
        low, high = (end * self.known.half + self.known.centre for end in np.array(ends).T)
        return low, high

    @property
    def _positive(self) -> Floats:
        errors = self.deviances.errors
        return errors[np.isfinite(errors) & (errors > 0)]

    @cached_property
    def _floor(self) -> float:
        process = self.known.process
        return float(process.mean(process.points).min())

    @cached_property
    def _noise(self) -> Callable[[Floats], Floats]:
        """Logarithm of the errors to expect of −2 ln L at places."""
        errors = self.deviances.errors
        least = float(self._positive.min()) if self._positive.size else 1e-6
        known = np.isfinite(errors) & (errors > 0)
        return self.deviances.design.linear(np.log(np.where(known, errors, least)))


@dataclass(frozen=True)
class GridCandidates(Candidates):
    """Values of a grid's axes."""

    def with_step(self, chosen: Values, step: Values) -> Values:
        return {n: tuple(sorted(set(v))) for n, v in super().with_step(chosen, step).items()}

    def around(self, place: Floats) -> list[Values]:
        values = {
            name: middles(axis, float(at))
            for name, axis, at in zip(self._design.names, self._axes, place, strict=True)
        }
        return in_turn(values)

    def at(self, place: Floats) -> list[Values]:
        steps: list[Values] = []
        for name, axis, at in zip(self._design.names, self._axes, place, strict=True):
            (value,) = rounded(np.array([at]), float(np.ptp(axis)))
            if np.abs(axis - at).min() > gap(axis, float(at)) / 8 and value not in axis:
                steps.append({name: (value,)})
        return steps

    def outward(self, result: Fit, limits: Mapping[str, tuple[float, float]]) -> list[Values]:
        new: Values = {}
        for name in result.border:
            axis = self._axes[self._design.names.index(name)]
            edge, end, low, high = outside(name, result, axis, limits)
            width = float(np.ptp(axis)) or abs(edge)
            beyond = rounded(np.linspace(edge, end, OUTSIDE + 1)[1:], width)
            new[name] = tuple(v for v in beyond if low < v < high and v != edge)
        return in_turn(new)

    def near_minimum(self, chosen: Values) -> Iterable[Values]:
        for name, values in self._values.items():
            for value in values:
                if value not in chosen.get(name, ()):
                    yield {name: (value,)}

    def points(self, step: Values, chosen: Values) -> Floats:
        values = [
            np.array(step.get(name, (*axis, *chosen.get(name, ()))))
            for name, axis in zip(self._design.names, self._axes, strict=True)
        ]
        return np.stack(np.meshgrid(*values, indexing="ij"), axis=-1).reshape(-1, len(values))

    @property
    def _design(self) -> GridDesign:
        assert isinstance(self.deviances.design, GridDesign)
        return self.deviances.design

    @property
    def _axes(self) -> tuple[Floats, ...]:
        return self._design.sorted_axes

    @cached_property
    def _values(self) -> dict[str, list[float]]:
        values = {}
        for name, axis, low, high in zip(self._design.names, self._axes, *self.box, strict=True):
            width, known = float(high - low), int(((axis >= low) & (axis <= high)).sum())
            number = max(CANDIDATES.get(len(self._axes), FEWEST_CANDIDATES), FINER * known)
            nearest = NEAREST * width / number
            made = dict.fromkeys(rounded(np.linspace(low, high, number + 1), width))
            values[name] = [v for v in made if np.abs(axis - v).min() > nearest]
        return values


@dataclass(frozen=True)
class PointCandidates(Candidates):
    """Scattered points."""

    def around(self, place: Floats) -> list[Values]:
        # In the box of the points that are close, half of it around the place.
        design = self._design
        close = design.places[design.close(design.nearest(place))]
        reach = np.ptp(close, axis=0) / 4
        low, high = design.inside(np.array([place - reach, place + reach]))
        return self._steps(_sobol(low, high, 2 * design.terms))

    def at(self, place: Floats) -> list[Values]:
        return self._steps(place[None])

    def outward(self, result: Fit, limits: Mapping[str, tuple[float, float]]) -> list[Values]:
        design = self._design
        low, high = (end.copy() for end in self.box)
        for name in result.border:
            k = design.names.index(name)
            ends = np.array([design.low[k], design.high[k]])
            edge, end, _, _ = outside(name, result, ends, limits)
            low[k], high[k] = min(edge, end), max(edge, end)
        if not (low < high).all():
            return []
        number = max(len(design.places) // 2, 1)
        places = _sobol(low, high, min(number, SCATTERED))
        edges = design.inside(places)
        return self._steps(places[np.argsort((((places - edges) / design.half) ** 2).sum(axis=1))])

    def near_minimum(self, chosen: Values) -> Iterable[Values]:
        first = next(iter(chosen.values()), ())
        taken = set(zip(*chosen.values(), strict=True)) if first else set()
        names = self._design.names
        return [s for s in self._within if tuple(s[n][0] for n in names) not in taken]

    def points(self, step: Values, chosen: Values) -> Floats:
        return np.array([step[name] for name in self._design.names]).T

    @property
    def _design(self) -> ScatteredDesign:
        assert isinstance(self.deviances.design, ScatteredDesign)
        return self.deviances.design

    @cached_property
    def _within(self) -> list[Values]:
        """Steps to points that fill the box around the minimum."""
        return self._steps(_sobol(*self.box, SCATTERED))

    def _steps(self, places: Floats) -> list[Values]:
        """Steps to places that are not too near to known points."""
        design, names = self._design, self._design.names
        columns = zip(places.T, 2 * design.half, strict=True)
        made = np.array([rounded(column, float(width)) for column, width in columns]).T
        squares = ((made[:, None] - design.places[None]) / design.half) ** 2
        separate = np.sqrt(squares.sum(axis=-1).min(axis=1)) > NEAREST_POINT
        return [
            dict(zip(names, ((v,) for v in row), strict=True)) for row in made[separate].tolist()
        ]


def _sobol(low: Floats, high: Floats, number: int) -> Floats:
    """Points that fill a box evenly, (number, parameters)."""
    power = int(np.ceil(np.log2(max(number, 1))))
    unit = qmc.Sobol(len(low), rng=np.random.default_rng(0)).random_base2(power)
    return np.asarray(low + unit[:number] * (high - low), float)


def outside(
    name: str, result: Fit, axis: Floats, limits: Mapping[str, tuple[float, float]]
) -> tuple[float, float, float, float]:
    """The edge of an axis at which the minimum lies, the end of new values outside of it, and the
    limits of the parameter."""
    low, high = limits.get(name, (-np.inf, np.inf))
    start, stop = result.extension.get(name, (axis[0], axis[-1]))
    down = start < axis[0]
    edge, end = (axis[0], start) if down else (axis[-1], stop)
    bound = low if down else high
    if not min(low, edge) < end < max(high, edge) or end in (low, high):
        end = bound + (edge - bound) / (OUTSIDE + 1)
    return float(edge), float(end), low, high


def in_turn(values: Values) -> list[Values]:
    """Steps that add the first value of each axis, then the second ones, …

    Examples
    --------
    >>> in_turn({"T": (1.0, 2.0), "H": (0.0,)})
    [{'T': (1.0,)}, {'H': (0.0,)}, {'T': (2.0,)}]
    """
    rows = zip_longest(*values.values())
    return [{n: (v,)} for row in rows for n, v in zip(values, row, strict=True) if v is not None]


def middles(axis: Floats, place: float) -> tuple[float, ...]:
    """The middles of the two gaps around a place, the wider first; for a single value, a value on
    each side of it."""
    if len(axis) == 1:
        step = abs(float(axis[0])) or 1.0
        return (float(axis[0]) - step, float(axis[0]) + step)
    nearest = int(np.argmin(np.abs(axis - place)))
    gaps = [(axis[i], axis[i + 1]) for i in (nearest - 1, nearest) if 0 <= i < len(axis) - 1]
    gaps.sort(key=lambda gap: gap[0] - gap[1])
    return tuple(float((low + high) / 2) for low, high in gaps)


def gap(axis: Floats, place: float) -> float:
    """The width of the grid's gap at a place."""
    i = int(np.clip(np.searchsorted(axis, place), 1, len(axis) - 1))
    return float(axis[i] - axis[i - 1])


def rounded(values: Floats, width: float) -> list[float]:
    """Round numbers to the digits that are significant in a range."""
    digits = 4 - int(np.floor(np.log10(width))) if width > 0 else 12
    return [float(np.round(value, digits)) for value in values]


@dataclass(frozen=True)
class Forecast:
    """Forecast of the covariance of the slope at a minimum as points are added.

    Attributes
    ----------
    process
        With the known points and the added ones, whose values are still unknown.
    place
        (axes,), scaled: the minimum.
    curvature
        (axes, axes) there, of the values, scaled.
    whitening
        L⁻¹, L being the lower Cholesky factor of the kernel of all points with noise.
    whitened_slope
        (n, axes): L⁻¹ times the prior covariance of the slope with the points.
    slope
        (axes, axes): covariance of the slope, in the units of ``process.scale``.
    """

    process: Process
    place: Floats
    curvature: Floats
    whitening: Floats
    whitened_slope: Floats
    slope: Floats

    @classmethod
    def of(cls, process: Process, place: Floats) -> "Forecast":
        """The forecast without added points."""
        factor = np.tril(process.factor[0])
        whitening = solve_triangular(factor, np.eye(len(factor)), lower=True)
        prior = process.slope_kernel(place[None])[0]
        return cls(
            process=process,
            place=place,
            curvature=process.derivatives(place[None])[2][0] / process.scale,
            whitening=whitening,
            whitened_slope=whitening @ prior.T,
            slope=process.slope_covariance(place) / process.scale**2,
        )

    @property
    def covariance(self) -> Floats:
        """Covariance of the minimum's place, (axes, axes), scaled."""
        return self.covariance_of(self.slope)

    def covariance_of(self, slope: Floats) -> Floats:
        """Covariance of the minimum's place for this covariance of the slope."""
        inverse = np.linalg.pinv(self.curvature, rcond=1e-10, hermitian=True)
        covariance: Floats = inverse @ slope @ inverse
        return covariance

    def slope_with(self, points: Floats, noise: Floats) -> Floats:
        """Covariance of the slope with points (m, axes) of standard errors (m,) in addition."""
        _, lower, gain = self._conditioned(points, noise)
        share = np.linalg.solve(lower, gain)
        slope: Floats = self.slope - share.T @ share
        return slope

    def with_points(self, points: Floats, noise: Floats) -> "Forecast":
        """The forecast with these points added."""
        cross, lower, gain = self._conditioned(points, noise)
        share, inverse = np.linalg.solve(lower, gain), np.linalg.inv(lower)
        old = len(self.whitening)
        whitening = np.zeros((old + len(points),) * 2)
        whitening[:old, :old], whitening[old:, old:] = self.whitening, inverse
        whitening[old:, :old] = -inverse @ cross.T @ self.whitening
        return replace(
            self,
            process=replace(self.process, points=np.vstack([self.process.points, points])),
            whitening=whitening,
            whitened_slope=np.vstack([self.whitened_slope, share]),
            slope=self.slope - share.T @ share,
        )

    def _conditioned(self, points: Floats, noise: Floats) -> tuple[Floats, Floats, Floats]:
        """Condition new points on the old: L⁻¹K(old, new), the Cholesky factor of the conditional
        K(new, new), and the slope's covariance with the new points, (new, axes)."""
        added = replace(self.process, points=points)
        cross = self.whitening @ self.process.kernel(points).T
        conditional = added.kernel(points) - cross.T @ cross
        conditional += np.diag(np.maximum(noise / self.process.scale, LEAST_NOISE) ** 2)
        lower = np.asarray(np.linalg.cholesky(conditional), np.float64)
        gain = added.slope_kernel(self.place[None])[0].T - cross.T @ self.whitened_slope
        return cross, lower, gain
