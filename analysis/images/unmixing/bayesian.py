"""Bayesian linear unmixing: endmembers and abundances with their uncertainty, by Gibbs sampling."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtri_exp

from latticescape.analysis.images.unmixing.principal import Components

Floats = npt.NDArray[np.float64]

# Samples of each of the chains, at first and at most; they agree where R̂ is no larger.
CHAINS, FEWEST, MOST, AGREED = 2, 400, 1600, 1.1

# Windows that the chains see; samples under which abundances are drawn, after so many scans.
MOST_WINDOWS, SHARE_DRAWS, SCANS = 4096, 200, 20


@dataclass(frozen=True)
class Posterior:
    """Means and standard deviations under the posterior.

    Attributes
    ----------
    vertices, vertices_se
        (q, q − 1): endmembers along the principal components; their covariance, (q, q − 1, q − 1),
        is ``vertices_cov``.
    abundances, abundances_se
        (windows, q).
    noise
        Standard deviation of a feature.
    r_hat
        The largest split R̂ of any endmember's coordinate: near 1 where the chains agree.
    """

    vertices: Floats
    vertices_cov: Floats
    abundances: Floats
    abundances_se: Floats
    noise: float
    r_hat: float


def sample_posterior(
    found: Components,
    start: Floats,
    *,
    floor: Floats | None = None,
    independent: float = 1.0,
    seed: int = 0,
) -> Posterior:
    """Gibbs sampling of x = Σ_k a_k e_k + noise with a uniform prior on the simplex.

    As Dobigeon et al. do, in the space of q − 1 principal components, where the likelihood is the
    same: what lies outside of it only tells the noise, which is white, of unknown variance with
    Jeffreys' prior. Abundances are drawn pair by pair, endmembers coordinate by coordinate under
    a wide normal prior around their start, and none may be negative in any feature.

    Two chains run until they agree (R̂ ≤ 1.1), at most 1600 samples each, of which the first half
    is left out; of more than 4096 windows they see as many drawn at random. Abundances of all
    windows are then drawn under 200 of their samples.

    Parameters
    ----------
    found
        The q − 1 leading components.
    start
        (q, q − 1): vertices to start from, N-FINDR's.
    floor
        (features,): the mean in the same scaled units as the axes, if endmembers may not be
        negative; None if they may.
    independent
        Overlapping windows tell the same thing more than once: the fraction of them that is
        independent, by whose power their joint likelihood counts for the endmembers.
    seed
        Of all chance.

    Returns
    -------
    Posterior

    References
    ----------
    N. Dobigeon, S. Moussaoui, M. Coulon, J.-Y. Tourneret and A. O. Hero, IEEE Trans. Signal
    Process. 57, 4355 (2009), 10.1109/TSP.2009.2025797; A. Gelman and D. B. Rubin, Stat. Sci. 7,
    457 (1992), 10.1214/ss/1177011136 (R̂).
    """
    rng = np.random.default_rng(seed)
    drawn = np.arange(len(found.scores))
    if len(drawn) > MOST_WINDOWS:
        drawn = np.sort(rng.choice(drawn, MOST_WINDOWS, replace=False))
    chains = [_Chain(found, drawn, start, floor, independent, one) for one in rng.spawn(CHAINS)]
    length = FEWEST
    while True:
        for chain in chains:
            chain.extend(length)
        kept = np.stack([chain.corners[length // 2 :] for chain in chains])
        r_hat = split_r_hat(kept)
        if r_hat <= AGREED or length >= MOST:
            break
        length *= 2
    corners = kept.reshape(-1, *start.shape)
    variances = np.concatenate([chain.variances[length // 2 :] for chain in chains])
    some = np.linspace(0, len(corners) - 1, SHARE_DRAWS).astype(int)
    mean, error = _shares(found.scores, corners[some], variances[some], rng)
    shifted = corners - corners.mean(axis=0)
    spread = np.einsum("nki,nkj->kij", shifted, shifted) / len(shifted)
    noise = float(np.sqrt(variances.mean()))
    return Posterior(corners.mean(axis=0), spread, mean, error, noise, r_hat)


class _Chain:
    """A Markov chain over endmembers, abundances of some windows, and the noise."""

    def __init__(
        self,
        found: Components,
        drawn: npt.NDArray[np.int64],
        start: Floats,
        floor: Floats | None,
        independent: float,
        rng: np.random.Generator,
    ) -> None:
        self.found, self.floor, self.independent, self.rng = found, floor, independent, rng
        self.scores = found.scores[drawn]
        self.outside = max(found.total - found.variances.sum(), 0.0) * len(drawn)
        self.centre, self.width = start, np.ptp(found.scores, axis=0)
        self.corner = start.copy()
        self.share = rng.dirichlet(np.ones(len(start)), len(drawn))
        self.variance = self._drawn_variance()
        self.corners = np.empty((0, *start.shape))
        self.variances = np.empty(0)

    def extend(self, length: int) -> None:
        """Go on until there are so many samples."""
        first, corners, variances = len(self.corners), [], []
        for _ in range(first, length):
            draw_shares(self.scores, self.share, self.corner, self.variance, self.rng)
            self._draw_corners()
            self.variance = self._drawn_variance()
            corners.append(self.corner.copy())
            variances.append(self.variance)
        self.corners = np.concatenate([self.corners, np.reshape(corners, (-1, *self.corner.shape))])
        self.variances = np.concatenate([self.variances, variances])

    def _draw_corners(self) -> None:
        rest = self.scores - self.share @ self.corner
        for k, j in np.ndindex(self.corner.shape):
            mine, before = self.share[:, k], self.corner[k, j]
            known = self.independent * float(mine @ mine) / self.variance
            towards = self.independent * float(mine @ rest[:, j]) / self.variance + known * before
            prior = 1 / self.width[j] ** 2
            middle = (towards + prior * self.centre[k, j]) / (known + prior)
            self._draw_coordinate(k, j, middle, (known + prior) ** -0.5)
            rest[:, j] -= mine * (self.corner[k, j] - before)

    def _draw_coordinate(self, k: int, j: int, middle: float, error: float) -> None:
        """From a normal truncated to what is allowed; asking whether a draw is comes cheaper."""
        before = self.corner[k, j]
        self.corner[k, j] = self.rng.normal(middle, error)
        if self.floor is None or (self.floor + self.found.axes @ self.corner[k]).min() >= 0:
            return
        self.corner[k, j] = before
        low, high = self._allowed(self.floor, k, j)
        self.corner[k, j] = float(truncated_normal(middle, error, low, high, self.rng))

    def _allowed(self, floor: Floats, k: int, j: int) -> tuple[float, float]:
        """Where a coordinate may lie so that no feature of its endmember is negative."""
        axis, now = self.found.axes[:, j], self.corner[k, j]
        spectrum = np.maximum(floor + self.found.axes @ self.corner[k], 0)
        up, down = axis > 0, axis < 0
        low = now - np.min(spectrum[up] / axis[up], initial=np.inf)
        high = now + np.min(spectrum[down] / -axis[down], initial=np.inf)
        return float(low), float(high)

    def _drawn_variance(self) -> float:
        rest = self.scores - self.share @ self.corner
        squares = self.independent * (float((rest**2).sum()) + self.outside)
        shape = self.independent * self.scores.shape[0] * len(self.found.mean) / 2
        return float(max(squares / 2 / self.rng.gamma(shape), np.finfo(float).tiny))


def draw_shares(
    scores: Floats, share: Floats, corner: Floats, variance: float, rng: np.random.Generator
) -> None:
    """Each pair of endmembers trades abundance: a normal between none and all that they hold."""
    rest = scores - share @ corner
    for i, j in combinations(range(len(corner)), 2):
        edge = corner[i] - corner[j]
        length = max(float(edge @ edge), np.finfo(float).tiny)
        before, both = share[:, i].copy(), share[:, i] + share[:, j]
        middle, error = before + rest @ edge / length, np.sqrt(variance / length)
        share[:, i] = truncated_normal(middle, error, 0.0, both, rng)
        share[:, j] = both - share[:, i]
        rest -= np.outer(share[:, i] - before, edge)


def _shares(
    scores: Floats, corners: Floats, variances: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of all windows' abundances over samples of the rest."""
    share = np.full((len(scores), corners.shape[1]), 1 / corners.shape[1])
    total, squares = np.zeros_like(share), np.zeros_like(share)
    for _ in range(SCANS):
        draw_shares(scores, share, corners[0], variances[0], rng)
    for corner, variance in zip(corners, variances, strict=True):
        draw_shares(scores, share, corner, variance, rng)
        total += share
        squares += share**2
    mean = total / len(corners)
    return mean, np.sqrt(np.maximum(squares / len(corners) - mean**2, 0))


def truncated_normal(
    mean: npt.ArrayLike,
    error: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    rng: np.random.Generator,
) -> Floats:
    """Normal numbers between bounds, by inversion, exact far out in the tails as well.

    Examples
    --------
    >>> drawn = truncated_normal(np.zeros(3), 1.0, 40.0, 41.0, np.random.default_rng(1))
    >>> bool(((drawn >= 40) & (drawn < 40.3)).all())
    True
    """
    centre, scale = np.asarray(mean, float), np.asarray(error, float)
    bottom, top = (
        (np.asarray(low, float) - centre) / scale,
        (np.asarray(high, float) - centre) / scale,
    )
    mirrored = bottom > 0  # the lower tail keeps its precision, the upper one does not
    a, b = np.where(mirrored, -top, bottom), np.where(mirrored, -bottom, top)
    u = rng.random(a.shape)
    most = log_ndtr(b)
    with np.errstate(invalid="ignore"):  # so far out that the tail itself is zero: the near bound
        drawn = ndtri_exp(most + np.log(u + (1 - u) * np.exp(log_ndtr(a) - most)))
    drawn = np.clip(np.where(np.isnan(drawn), b, drawn), a, b)
    numbers: Floats = centre + scale * np.where(mirrored, -drawn, drawn)
    return numbers


def split_r_hat(draws: Floats) -> float:
    """The largest R̂ of (chain, sample, …), each chain cut in halves.

    Examples
    --------
    >>> still = np.random.default_rng(1).standard_normal((2, 400))
    >>> split_r_hat(still) < 1.02, split_r_hat(still + [[0.0], [3.0]]) > 1.5
    (True, True)
    """
    half = draws.shape[1] // 2
    parts = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = half * parts.mean(axis=1).var(axis=0, ddof=1)
    ratio = np.divide(between, within, out=np.ones_like(np.asarray(within)), where=within > 0)
    return float(np.sqrt((half - 1) / half + np.max(ratio) / half))
