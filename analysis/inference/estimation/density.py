"""The probability of parameters, as far as chance in counts and simulation lets it be told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import sqrtm
from scipy.stats import lognorm, norm, uniform

from latticescape.analysis.inference.estimation.fit import Located
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Prior = tuple[str, float, float]

_PRIORS: dict[str, Callable[[float, float], Any]] = {
    "normal": lambda a, b: norm(a, b),
    "uniform": lambda a, b: uniform(a, b - a),
    "lognormal": lambda a, b: lognorm(b, scale=np.exp(a)),
}


class Density:
    """ln posterior at points (m, parameters), zero at the maximum of the likelihood.

    Where counts overlap or are few, and by as much as the simulation is noisy, the likelihood is
    stretched about its maximum so that its curvature is the inverse of the estimate's covariance.
    """

    def __init__(self, fit: Located, priors: Sequence[Any]) -> None:
        self.fit = fit
        self.priors = priors
        edges = np.array([[axis[0], axis[-1]] for axis in fit.between.axes])
        self.low, self.high = edges[:, 0], edges[:, 1]
        self.least = float(fit.between.value(fit.point)[0])
        self.stretch, self.factor = _adjustment(fit)

    def __call__(self, points: Floats) -> Floats:
        inside = ((points >= self.low) & (points <= self.high)).all(axis=1)
        found = np.full(len(points), -np.inf)
        if inside.any():
            places = points[inside]
            value = self.fit.between.value(self.adjusted(places)) - self.least
            found[inside] = self.prior(places) - self.factor * value / 2
        return found

    def adjusted(self, points: Floats) -> Floats:
        """Where the likelihood of a point is read off the landscape."""
        found: Floats = self.fit.point + (points - self.fit.point) @ self.stretch.T
        return found

    def prior(self, points: Floats) -> Floats:
        found = np.zeros(len(points))
        for column, prior in zip(points.T, self.priors, strict=True):
            if prior is not None:
                found += prior.logpdf(column)
        return found

    def starts(self, walkers: int, rng: np.random.Generator) -> Floats:
        """Points near the minima, wider than the posterior, where the prior is not zero."""
        axes = len(self.low)
        values, vectors = np.linalg.eigh(self.fit.covariance)
        widths = np.sqrt(np.maximum(values, 1e-12 * np.abs(values).max()))
        found: list[Floats] = []
        for attempt in range(200):
            centre = self.fit.minima[rng.integers(len(self.fit.minima), size=walkers)]
            point = centre + 1.5 * (rng.standard_normal((walkers, axes)) * widths) @ vectors.T
            if attempt >= 20:
                point = rng.uniform(self.low, self.high, (walkers, axes))
            found.extend(point[np.isfinite(self(point))])
            if len(found) >= walkers:
                return np.array(found[:walkers])
        raise RequestError(
            "the prior is zero all over the grid",
            allowed="some probability inside it: "
            + ", ".join(
                f"{name} from {a:g} to {b:g}"
                for name, a, b in zip(self.fit.told.names, self.low, self.high, strict=True)
            ),
        )


def _adjustment(fit: Located) -> tuple[Floats, float]:
    """The stretch about the minimum, and a factor of −2 ln L: one of them is 1."""
    unit = np.outer(fit.half, fit.half)
    basis = fit.basis
    has = basis.T @ (fit.curvature * unit) @ basis
    wants = basis.T @ (fit.covariance / unit) @ basis
    if not basis.shape[1]:
        return np.eye(len(fit.point)), 1.0
    if len(fit.minima) > 1:
        ratio = 1 / (np.linalg.det(has) * np.linalg.det(wants))
        return np.eye(len(fit.point)), float(min(ratio ** (1 / basis.shape[1]), 1.0))
    inner = np.linalg.inv(np.real(sqrtm(has))) @ np.linalg.inv(np.real(sqrtm(wants)))
    scaled = basis @ inner @ basis.T + np.eye(len(basis)) - basis @ basis.T
    return scaled * np.outer(fit.half, 1 / fit.half), 1.0


def priors_of(names: tuple[str, ...], given: Mapping[str, Prior]) -> list[Any]:
    """A distribution a parameter, or None where none is given."""
    for name, prior in given.items():
        if name not in names:
            raise RequestError(
                f"a prior of {name}, which is not fitted", came=name, allowed=", ".join(names)
            )
        if len(prior) != 3 or prior[0] not in _PRIORS:
            raise RequestError(
                f"the prior of {name} cannot be read",
                came=prior,
                allowed="(normal, mean, sd) | (uniform, low, high) | (lognormal, mean, sd)",
                hint=f'prior={{"{name}": ("normal", 0.0, 0.1)}}',
            )
    return [_PRIORS[given[n][0]](*given[n][1:]) if n in given else None for n in names]
