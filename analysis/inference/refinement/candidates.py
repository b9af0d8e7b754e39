"""Candidate points for refinement, and forecasts of the error that they leave."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RegularGridInterpolator
from scipy.linalg import solve_triangular
from scipy.stats import norm

from latticescape.analysis.inference.estimation.deviance import Deviance
from latticescape.analysis.inference.landscapes.gaussian_process import LEAST_NOISE, Process
from latticescape.analysis.inference.landscapes.interpolation import (
    HIGH,
    Interpolation,
    model_tolerance,
)

Floats = npt.NDArray[np.float64]

Values = dict[str, tuple[float, ...]]

# New values of an axis are chosen among CANDIDATES, by number of axes, and at least FINER times the
# known values in their range; none is closer to a known value than NEAREST of a step.
CANDIDATES = {1: 64, 2: 32}
FEWEST_CANDIDATES = 20
FINER = 2
NEAREST = 0.2

MESH = {1: 401, 2: 41, 3: 15}


def expected_improvement(between: Interpolation) -> tuple[Floats, float]:
    """The point of largest expected improvement on the lowest value, and the improvement."""
    number = MESH.get(len(between.axes), 9)
    lines = [np.linspace(axis[0], axis[-1], number) for axis in between.axes]
    mesh = np.array(list(product(*lines)))
    value, error = between(mesh)
    lowest = float(value.min())
    z = np.clip((lowest - value) / np.maximum(error, 1e-300), -30, 30)
    gain = np.where(error > 0, error * (z * norm.cdf(z) + norm.pdf(z)), 0.0)
    best = int(np.argmax(gain))
    return mesh[best], float(gain[best])


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


@dataclass(frozen=True)
class Grid:
    """Candidate points around a minimum, and their expected noise."""

    deviances: Deviance
    between: Interpolation
    candidates: dict[str, list[float]]
    noise: RegularGridInterpolator
    high: float

    @classmethod
    def of(cls, deviances: Deviance, between: Interpolation) -> "Grid":
        order = [np.argsort(axis) for axis in deviances.axes.values()]
        errors = deviances.errors[np.ix_(*order)]
        positive = errors[np.isfinite(errors) & (errors > 0)]
        least = float(positive.min()) if positive.size else 1e-6
        filled = np.log(np.where(np.isfinite(errors) & (errors > 0), errors, least))
        noise = RegularGridInterpolator(between.axes, filled)
        high = max(HIGH, 12 * float(np.median(positive)) if positive.size else 0.0)
        # The box around the low points that the process goes through, extended by one known point
        # on every side: its edge lies before that.
        process = between.process
        smooth = process.mean(process.points)
        near = process.points[smooth - smooth.min() <= high]
        ends = []
        for k in range(near.shape[1]):
            column = np.unique(process.points[:, k])
            first, last = np.searchsorted(column, [near[:, k].min(), near[:, k].max()])
            ends.append((column[max(first - 1, 0)], column[min(last + 1, len(column) - 1)]))
        low, top = (end * between.half + between.centre for end in np.array(ends).T)
        candidates = {}
        for k, (name, axis) in enumerate(zip(deviances.names, between.axes, strict=True)):
            width = float(top[k]) - float(low[k])
            known = int(((axis >= low[k]) & (axis <= top[k])).sum())
            number = max(CANDIDATES.get(len(between.axes), FEWEST_CANDIDATES), FINER * known)
            values = rounded(np.linspace(float(low[k]), float(top[k]), number + 1), width)
            nearest = NEAREST * width / number
            candidates[name] = [
                v for v in dict.fromkeys(values) if np.abs(axis - v).min() > nearest
            ]
        return cls(deviances, between, candidates, noise, high)

    def slab(self, name: str, value: float, chosen: Values) -> tuple[Floats, Floats]:
        """Scaled places and errors of the points near the minimum that a value of an axis adds."""
        values = [
            np.array([value]) if n == name else np.array([*axis, *chosen.get(n, ())])
            for n, axis in zip(self.deviances.names, self.between.axes, strict=True)
        ]
        mesh = np.stack(np.meshgrid(*values, indexing="ij"), axis=-1).reshape(-1, len(values))
        mesh = mesh[self.between.is_near(mesh)]
        scaled = self.between.scaled(mesh)
        process = self.between.process
        height = process.mean(scaled) - process.mean(process.points).min()
        low = height <= self.high
        noise = np.hypot(np.exp(self.noise(mesh[low])), model_tolerance(np.maximum(height[low], 0)))
        return scaled[low], noise


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
