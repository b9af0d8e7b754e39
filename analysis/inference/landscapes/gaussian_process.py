"""Gaussian process of a parabola and a smooth rest, through values of known noise."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from threadpoolctl import threadpool_limits

from latticescape.physics.extras import optional_imports

Floats = npt.NDArray[np.float64]

# Prior variance of the parabola's coefficients, in variances of the values: practically flat.
PARABOLA = 1e3

# Height and lengths of the rest are fitted to at most this many points, the values to all.
TUNED = 300
# Lengths in the scaled units, and the least in steps of the grid.
LENGTHS = (0.25, 20.0)
LEAST_STEPS = 1.5
HEIGHTS = (1e-6, 1e2)
LEAST_NOISE = 1e-5
ITERATIONS = 60


@dataclass(frozen=True)
class Process:
    """A Gaussian process with kernel c (1 + x·x')² + s exp(−Σ (x − x')²/2l²).

    Attributes
    ----------
    points
        (n, axes), scaled to some −1 … 1.
    scale
        Of the values; kernel and noise are in its square.
    height, lengths
        s, and l by axis.
    factor
        Cholesky factor of the kernel of the points with noise, as SciPy gives it.
    weights
        (n,) or (n, draws): inverse kernel times values.
    """

    points: Floats
    scale: float
    height: float
    lengths: Floats
    factor: tuple[Floats, bool]
    weights: Floats

    @classmethod
    def through(cls, points: Floats, values: Floats, noise: Floats, step: Floats) -> "Process":
        """Through values (n,) with known standard errors (n,), at a grid's steps (axes,)."""
        scale = float(np.std(values)) or 1.0
        variance = np.maximum(noise / scale, LEAST_NOISE) ** 2
        # Threads cost more than they bring to matrices of some hundred rows.
        with threadpool_limits(1):
            height, lengths = _tuned(points, values / scale, variance, step)
            kernel = _parabolas(points, points) + height * _bumps(points, points, lengths)
            factor = cho_factor(kernel + np.diag(variance), lower=True)
        process = cls(points, scale, height, lengths, factor, np.zeros(len(points)))
        return process.of(values)

    def of(self, values: Floats) -> "Process":
        """The same smoothing of other values, (n,) or (n, draws)."""
        return replace(self, weights=cho_solve(self.factor, values / self.scale))

    def left_out(self) -> Floats:
        """(value − forecast from all others)/its error, (n,): about 1 if the errors are right.

        Rasmussen and Williams, eqs. 5.10–5.12.
        """
        whitening = solve_triangular(np.tril(self.factor[0]), np.eye(len(self.points)), lower=True)
        residuals: Floats = self.weights / np.sqrt((whitening**2).sum(axis=0))
        return residuals

    def kernel(self, points: Floats) -> Floats:
        """Prior covariance of other points with those known, (m, n)."""
        bumps = _bumps(points, self.points, self.lengths)
        kernel: Floats = _parabolas(points, self.points) + self.height * bumps
        return kernel

    def mean(self, points: Floats) -> Floats:
        """(m,), or (m, draws), at points (m, axes)."""
        mean: Floats = self.scale * (self.kernel(points) @ self.weights)
        return mean

    def error(self, points: Floats) -> Floats:
        """Standard error of the mean, (m,)."""
        known = self.kernel(points)
        prior = PARABOLA * (1 + (points**2).sum(axis=1)) ** 2 + self.height
        explained = (known * cho_solve(self.factor, known.T).T).sum(axis=1)
        error: Floats = self.scale * np.sqrt(np.maximum(prior - explained, 0))
        return error

    def slope_covariance(self, point: Floats) -> Floats:
        """Covariance of the slope's error at a point (axes,), (axes, axes)."""
        axes = len(point)
        slope = self.slope_kernel(point[None])[0]
        prior = 2 * PARABOLA * ((1 + point @ point) * np.eye(axes) + np.outer(point, point))
        prior = prior + self.height * np.diag(self.lengths**-2)
        covariance: Floats = self.scale**2 * (prior - slope @ cho_solve(self.factor, slope.T))
        return covariance

    def derivatives(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Value (d,), slope (d, axes) and curvature (d, axes, axes) of draw d at point d."""
        inner = 1 + points @ self.points.T
        weights = np.broadcast_to(self.weights.T, inner.shape)
        bump = self.height * _bumps(points, self.points, self.lengths)
        difference = (points[:, None, :] - self.points[None]) / self.lengths**2
        value = ((PARABOLA * inner**2 + bump) * weights).sum(axis=1)
        slope = (2 * PARABOLA * inner * weights) @ self.points
        slope -= np.einsum("dn,dna->da", bump * weights, difference)
        curvature = 2 * PARABOLA * np.einsum("dn,na,nb->dab", weights, self.points, self.points)
        curvature += np.einsum("dn,dna,dnb->dab", bump * weights, difference, difference)
        rest = (bump * weights).sum(axis=1)[:, None, None] * np.diag(self.lengths**-2)
        return self.scale * value, self.scale * slope, self.scale * (curvature - rest)

    def slope_kernel(self, points: Floats) -> Floats:
        """Prior covariance of slopes at points with the known values, (m, axes, n)."""
        inner = 1 + points @ self.points.T
        bump = self.height * _bumps(points, self.points, self.lengths)
        difference = (points[:, None, :] - self.points[None]) / self.lengths**2
        parabola: Floats = 2 * PARABOLA * inner[:, None, :] * self.points.T[None]
        return parabola - bump[:, None, :] * difference.transpose(0, 2, 1)

    def minima(self, begin: Floats, low: Floats, high: Floats) -> Floats:
        """The minimum of every draw in the box, from (draws, axes), by guarded Newton steps."""
        here, reach = begin.copy(), np.full(len(begin), 0.25)
        value, slope, curvature = self.derivatives(here)
        for _ in range(ITERATIONS):
            there = np.clip(here + _newton(here, slope, curvature, reach, low, high), low, high)
            trial = self.derivatives(there)
            better = trial[0] <= value
            reach = np.where(better, 1.5 * reach, 0.3 * reach)
            moved = float(np.abs(there - here)[better].max(initial=0.0))
            here = np.where(better[:, None], there, here)
            value = np.where(better, trial[0], value)
            slope = np.where(better[:, None], trial[1], slope)
            curvature = np.where(better[:, None, None], trial[2], curvature)
            if moved < 1e-10 and (better.all() or reach[~better].max() < 1e-8):
                break
        return here


def _newton(
    here: Floats, slope: Floats, curvature: Floats, reach: Floats, low: Floats, high: Floats
) -> Floats:
    """Steps no longer than ``reach``; coordinates that push against the box stay."""
    pushed = ((here <= low) & (slope > 0)) | ((here >= high) & (slope < 0))
    free = ~pushed
    bent = curvature * free[:, :, None] * free[:, None, :]
    bent += np.einsum("da,ab->dab", pushed.astype(float), np.eye(here.shape[1]))
    values, vectors = np.linalg.eigh(bent)
    firm = np.maximum(np.abs(values), 1e-9 * np.abs(values).max(axis=1, keepdims=True) + 1e-100)
    along = np.einsum("dab,da->db", vectors, slope * free)
    step = -np.einsum("dab,db->da", vectors, along / firm)
    longest = np.abs(step).max(axis=1)
    shorter = reach / np.maximum(longest, reach)
    steps: Floats = step * shorter[:, None]
    return steps


def _parabolas(a: Floats, b: Floats) -> Floats:
    kernel: Floats = PARABOLA * (1 + a @ b.T) ** 2
    return kernel


def _bumps(a: Floats, b: Floats, lengths: Floats) -> Floats:
    p, q = a / lengths, b / lengths
    difference = (p**2).sum(axis=1)[:, None] + (q**2).sum(axis=1)[None] - 2 * p @ q.T
    kernel: Floats = np.exp(-np.maximum(difference, 0) / 2)
    return kernel


@optional_imports()
def _tuned(points: Floats, values: Floats, variance: Floats, step: Floats) -> tuple[float, Floats]:
    """Height and lengths of the rest, of most likelihood."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

    # More of the low values than of the high ones.
    spaced = np.unique((np.linspace(0, 1, TUNED) ** 2 * (len(points) - 1)).astype(int))
    some = np.argsort(values)[spaced]
    shortest = np.minimum(LENGTHS[0], LEAST_STEPS * step)
    bounds = [(least, LENGTHS[1]) for least in shortest]
    parabola = ConstantKernel(PARABOLA, "fixed") * DotProduct(1.0, "fixed") ** 2
    rest = ConstantKernel(0.1, HEIGHTS) * RBF(np.full(points.shape[1], 1.5), bounds)
    process = GaussianProcessRegressor(parabola + rest, alpha=variance[some])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        process.fit(points[some], values[some])
    tuned = process.kernel_.k2
    lengths = np.broadcast_to(np.asarray(tuned.k2.length_scale, float), points.shape[1:])
    return float(tuned.k1.constant_value), np.array(lengths)
