"""``Forecast``: how well a minimum would be known if more points were simulated.

The variance of a Gaussian process depends on where its points are and how noisy, not on their
values: it is known before anything is computed (Rasmussen and Williams, ch. 2).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from latticescape.analysis.inference.landscapes.gaussian_process import LEAST_NOISE, Process

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Forecast:
    """What the slope at a minimum would be known to, with points added one set after the other.

    Attributes
    ----------
    process
        With the points there are and those added, whose values nobody knows yet.
    place
        (axes,), scaled: the minimum.
    curvature
        (axes, axes) there, of the values, scaled.
    whitening
        L⁻¹, L being the lower Cholesky factor of the kernel of all points with noise.
    told
        (n, axes): L⁻¹ times the prior covariance of the slope with the points.
    slope
        (axes, axes): covariance of the slope, in the units of ``process.scale``.
    """

    process: Process
    place: Floats
    curvature: Floats
    whitening: Floats
    told: Floats
    slope: Floats

    @classmethod
    def of(cls, process: Process, place: Floats) -> "Forecast":
        """With nothing added yet."""
        factor = np.tril(process.factor[0])
        whitening = solve_triangular(factor, np.eye(len(factor)), lower=True)
        prior = process.slope_kernel(place[None])[0]
        return cls(
            process=process,
            place=place,
            curvature=process.derivatives(place[None])[2][0] / process.scale,
            whitening=whitening,
            told=whitening @ prior.T,
            slope=process.slope_covariance(place) / process.scale**2,
        )

    @property
    def covariance(self) -> Floats:
        """Of the minimum's place, (axes, axes), scaled."""
        return self.covariance_of(self.slope)

    def covariance_of(self, slope: Floats) -> Floats:
        """Of the minimum's place, if this is that of the slope."""
        inverse = np.linalg.pinv(self.curvature, rcond=1e-10, hermitian=True)
        found: Floats = inverse @ slope @ inverse
        return found

    def slope_with(self, points: Floats, noise: Floats) -> Floats:
        """Covariance of the slope with points (m, axes) of standard errors (m,) in addition."""
        _, lower, gain = self._conditioned(points, noise)
        share = np.linalg.solve(lower, gain)
        found: Floats = self.slope - share.T @ share
        return found

    def with_points(self, points: Floats, noise: Floats) -> "Forecast":
        """With these points added."""
        cross, lower, gain = self._conditioned(points, noise)
        share, ours = np.linalg.solve(lower, gain), np.linalg.inv(lower)
        old = len(self.whitening)
        whitening = np.zeros((old + len(points),) * 2)
        whitening[:old, :old], whitening[old:, old:] = self.whitening, ours
        whitening[old:, :old] = -ours @ cross.T @ self.whitening
        return replace(
            self,
            process=replace(self.process, points=np.vstack([self.process.points, points])),
            whitening=whitening,
            told=np.vstack([self.told, share]),
            slope=self.slope - share.T @ share,
        )

    def _conditioned(self, points: Floats, noise: Floats) -> tuple[Floats, Floats, Floats]:
        """New points beside the old: L⁻¹K(old, new), the factor of what is left of K(new, new), and
        the slope's covariance with them, (new, axes)."""
        alone = replace(self.process, points=points)
        cross = self.whitening @ self.process.kernel(points).T
        left = alone.kernel(points) - cross.T @ cross
        left += np.diag(np.maximum(noise / self.process.scale, LEAST_NOISE) ** 2)
        lower = np.asarray(np.linalg.cholesky(left), np.float64)
        gain = alone.slope_kernel(self.place[None])[0].T - cross.T @ self.told
        return cross, lower, gain
