"""Endmembers by N-FINDR, ICA, nonnegative matrix factorisation, and Gibbs sampling."""

import math
import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtri_exp
from scipy.stats import skew
from sklearn.decomposition import NMF, FastICA
from sklearn.exceptions import ConvergenceWarning

from latticescape.analysis.images.unmixing.principal import Components
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RESTARTS = 20

# A volume counts as larger if the difference exceeds rounding.
LARGER = 1 + 1e-9


def nfindr(points: npt.ArrayLike, *, seed: int = 0, restarts: int = RESTARTS) -> Integers:
    """The points that span the simplex of largest volume.

    Each vertex in turn is replaced by the point that maximizes the volume, until no replacement
    increases it. Of several random starts the largest simplex is kept. The volume is linear in each
    vertex, so all points are compared at once for its best replacement.

    Parameters
    ----------
    points
        (points, q − 1): coordinates, such as scores along q − 1 principal components, for q
        vertices.
    seed
        Of the random starts.
    restarts
        Number of starts.

    Returns
    -------
    integers
        (q,): the vertices' numbers, ascending.

    Raises
    ------
    RequestError
        If there are fewer than q points, or they span no simplex.

    References
    ----------
    M. E. Winter, Proc. SPIE 3753, 266 (1999), 10.1117/12.366289.

    Examples
    --------
    >>> nfindr([[0, 0], [0.3, 0.3], [1, 0], [0.2, 0.7], [0, 1]]).tolist()
    [0, 2, 4]
    """
    places = np.asarray(points, np.float64)
    if places.ndim != 2 or not 0 < places.shape[1] < len(places):
        came, allowed = f"shape {places.shape}", "(points, q − 1), at least q points"
        raise RequestError("too few points for a simplex", came=came, allowed=allowed)
    extent = np.abs(places - places.mean(axis=0)).max(axis=0)
    if not (np.isfinite(extent) & (extent > 0)).all():
        problem, hint = "the points do not differ along every axis", "fewer endmembers"
        raise RequestError(problem, came=f"extents {extent}", hint=hint)
    scaled = (places - places.mean(axis=0)) / extent
    raised = np.column_stack([np.ones(len(scaled)), scaled])
    rng = np.random.default_rng(seed)
    best, largest = None, 0.0
    for _ in range(max(1, restarts)):
        vertices, changed = rng.choice(len(scaled), scaled.shape[1] + 1, replace=False), True
        while changed:
            changed = False
            for k in range(len(vertices)):
                # Height over the face of the others, whose normal is the last singular vector.
                face = np.delete(raised[vertices], k, axis=0)
                height = np.abs(raised @ np.linalg.svd(face)[2][-1])
                highest = int(height.argmax())
                if height[highest] > LARGER * height[vertices[k]]:
                    vertices[k], changed = highest, True
        vertices = np.sort(vertices)
        volume = simplex_volume(scaled[vertices])
        if best is None or volume > LARGER * largest:
            best, largest = vertices, volume
    if best is None or largest == 0:
        raise RequestError("the points span no simplex", came="volume 0", hint="fewer endmembers")
    return best


def simplex_volume(vertices: npt.ArrayLike) -> float:
    """|det [1; e]| / (q − 1)! of q vertices, (q, q − 1).

    Examples
    --------
    >>> simplex_volume([[0, 0], [1, 0], [0, 1]])
    0.5
    """
    corners = np.asarray(vertices, np.float64)
    q = len(corners)
    determinant = np.linalg.det(np.column_stack([np.ones(q), corners]))
    return float(abs(determinant)) / math.factorial(q - 1)


MOST_ITERATIONS, TOLERANCE = 1000, 1e-4

# Share and largest number of the windows with most of a component whose mean is its endmember.
PURE_PART, MOST_PURE = 0.02, 100


def purest_windows(scores: npt.ArrayLike, *, seed: int = 0) -> tuple[list[Integers], bool]:
    """The windows with most of each independent component, and those with least of all.

    FastICA transforms q − 1 principal into q − 1 independent components, whose signs are set
    so that their long tails are positive. Each defines one endmember by the windows in its tail,
    2 % of all; the last endmember is where their sum is smallest. Abundances sum to one and are
    therefore never truly independent; this convention makes ICA comparable to the other methods.

    Parameters
    ----------
    scores
        (windows, q − 1): principal components.
    seed
        Of the start.

    Returns
    -------
    windows
        q arrays of window numbers.
    converged
        Whether FastICA converged.

    References
    ----------
    A. Hyvärinen, IEEE Trans. Neural Netw. 10, 626 (1999), 10.1109/72.761722; J. M. P. Nascimento
    and J. M. Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43, 175 (2005),
    10.1109/TGRS.2004.839806, on why it fails where all abundances vary.

    Examples
    --------
    >>> windows, _ = purest_windows([[0.0], [0.1], [0.0], [9.0]])
    >>> windows[0].tolist()
    [3]
    """
    points = np.asarray(scores, np.float64)
    ica = FastICA(
        points.shape[1],
        whiten="unit-variance",
        random_state=seed,
        max_iter=MOST_ITERATIONS,
        tol=TOLERANCE,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        sources = ica.fit_transform(points / points.std(axis=0))
    sources *= np.where(skew(sources, axis=0) < 0, -1, 1)
    few = int(np.clip(round(PURE_PART * len(points)), 1, MOST_PURE))
    tails = [*sources.T, -sources.sum(axis=1)]
    purest = [np.sort(np.argsort(-tail, kind="stable")[:few]) for tail in tails]
    return purest, not any(issubclass(w.category, ConvergenceWarning) for w in caught)


def nonnegative_endmembers(
    vectors: npt.NDArray[np.floating], q: int, *, seed: int = 0
) -> tuple[Floats, bool]:
    """Endmembers e ≥ 0 of X ≈ A E with A ≥ 0 whose rows sum to one as closely as possible.

    The factorisation minimises |X − A E|². An additional constant column with the norm of a
    spectrum makes abundances sum to one and thus sets the endmembers' scale.

    Parameters
    ----------
    vectors
        (n, features), none negative.
    q
        Number of endmembers.
    seed
        Of the start.

    Returns
    -------
    endmembers
        (q, features).
    converged
        Whether it converged in 1000 iterations.

    Raises
    ------
    RequestError
        If a value is negative, or an endmember comes out empty.

    References
    ----------
    D. D. Lee and H. S. Seung, Nature 401, 788 (1999), 10.1038/44565; the constant column:
    D. C. Heinz and C.-I Chang, IEEE Trans. Geosci. Remote Sens. 39, 529 (2001), 10.1109/36.911111.

    Examples
    --------
    >>> endmembers, _ = nonnegative_endmembers(np.array([[1.0, 0], [0, 1], [0.5, 0.5]]), 2)
    >>> np.sort(endmembers.round(1), axis=0).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    if vectors.min() < 0:
        problem = "nonnegative factorisation needs spectra without negative values"
        hint = '--method nfindr, method="nfindr" in Python'
        raise RequestError(problem, came=float(vectors.min()), hint=hint)
    length = float(np.sqrt(np.einsum("nf,nf->", vectors, vectors, dtype=float) / len(vectors)))
    constant = np.full((len(vectors), 1), length, vectors.dtype)
    nmf = NMF(q, init="nndsvda", random_state=seed, max_iter=MOST_ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        nmf.fit(np.concatenate([vectors, constant], axis=1))
    parts = nmf.components_.astype(np.float64)
    scale = parts[:, -1:] / length
    if (scale <= 0).any():
        raise RequestError("an endmember is empty", came=q, hint="fewer endmembers")
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return parts[:, :-1] / scale, converged


# Number of chains, samples of each at first and at most, and the R̂ up to which they agree.
CHAINS, FEWEST, MOST, AGREED = 2, 400, 1600, 1.1

# Most windows in the chains; samples for which abundances are sampled, after this many scans.
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
        The largest split R̂ of the endmembers' coordinates, near 1 if the chains agree.
    """

    vertices: Floats
    vertices_cov: Floats
    abundances: Floats
    abundances_se: Floats
    noise: float
    r_hat: float


def sample_posterior(
    components: Components,
    start: Floats,
    *,
    floor: Floats | None = None,
    independent: float = 1.0,
    seed: int = 0,
) -> Posterior:
    """Gibbs sampling of x = Σ_k a_k e_k + noise with a uniform prior on the simplex.

    The method of Dobigeon et al. in the space of q − 1 principal components, where the likelihood
    is the same: the part outside this space determines only the noise, which is white and of
    unknown variance with Jeffreys' prior. Abundances are drawn pair by pair, endmembers coordinate
    by coordinate under a wide normal prior around their start, and no feature may be negative.

    Two chains run until they agree (R̂ ≤ 1.1), with at most 1600 samples each, of which the first
    half is discarded; of more than 4096 windows they use a random subset of 4096. Abundances of all
    windows are then drawn for 200 of their samples.

    Parameters
    ----------
    components
        The q − 1 leading components.
    start
        (q, q − 1): vertices to start from, N-FINDR's.
    floor
        (features,): the mean in the scaled units of the axes if endmembers must not be negative;
        None if they may be.
    independent
        Fraction of the overlapping windows that is independent: the exponent of their joint
        likelihood for the endmembers.
    seed
        Of all random numbers.

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
    subset = np.arange(len(components.scores))
    if len(subset) > MOST_WINDOWS:
        subset = np.sort(rng.choice(subset, MOST_WINDOWS, replace=False))
    chains = [
        _Chain(components, subset, start, floor, independent, child) for child in rng.spawn(CHAINS)
    ]
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
    # Mean and standard deviation of all windows' abundances over samples of the endmembers.
    share = np.full((len(components.scores), len(start)), 1 / len(start))
    total, squares = np.zeros_like(share), np.zeros_like(share)
    for _ in range(SCANS):
        draw_shares(components.scores, share, corners[some[0]], variances[some[0]], rng)
    for number in some:
        draw_shares(components.scores, share, corners[number], variances[number], rng)
        total += share
        squares += share**2
    mean = total / SHARE_DRAWS
    error = np.sqrt(np.maximum(squares / SHARE_DRAWS - mean**2, 0))
    shifted = corners - corners.mean(axis=0)
    spread = np.einsum("nki,nkj->kij", shifted, shifted) / len(shifted)
    noise = float(np.sqrt(variances.mean()))
    return Posterior(corners.mean(axis=0), spread, mean, error, noise, r_hat)


class _Chain:
    """A Markov chain over endmembers, abundances of some windows, and the noise."""

    def __init__(
        self,
        components: Components,
        subset: npt.NDArray[np.int64],
        start: Floats,
        floor: Floats | None,
        independent: float,
        rng: np.random.Generator,
    ) -> None:
        self.components, self.floor = components, floor
        self.independent, self.rng = independent, rng
        self.scores = components.scores[subset]
        self.outside = max(components.total - components.variances.sum(), 0.0) * len(subset)
        self.centre, self.width = start, np.ptp(components.scores, axis=0)
        self.corner = start.copy()
        self.share = rng.dirichlet(np.ones(len(start)), len(subset))
        self.variance = self._draw_variance()
        self.corners = np.empty((0, *start.shape))
        self.variances = np.empty(0)

    def extend(self, length: int) -> None:
        """Draw samples until there are ``length``."""
        first, corners, variances = len(self.corners), [], []
        for _ in range(first, length):
            draw_shares(self.scores, self.share, self.corner, self.variance, self.rng)
            self._draw_corners()
            self.variance = self._draw_variance()
            corners.append(self.corner.copy())
            variances.append(self.variance)
        self.corners = np.concatenate([self.corners, np.reshape(corners, (-1, *self.corner.shape))])
        self.variances = np.concatenate([self.variances, variances])

    def _draw_corners(self) -> None:
        residual = self.scores - self.share @ self.corner
        for k, j in np.ndindex(self.corner.shape):
            share, before = self.share[:, k], self.corner[k, j]
            precision = self.independent * float(share @ share) / self.variance
            weighted = (
                self.independent * float(share @ residual[:, j]) / self.variance
                + precision * before
            )
            prior = 1 / self.width[j] ** 2
            middle = (weighted + prior * self.centre[k, j]) / (precision + prior)
            self._draw_coordinate(k, j, middle, (precision + prior) ** -0.5)
            residual[:, j] -= share * (self.corner[k, j] - before)

    def _draw_coordinate(self, k: int, j: int, middle: float, error: float) -> None:
        """Draw from a normal truncated to the allowed range; try an unrestricted draw first."""
        before = self.corner[k, j]
        self.corner[k, j] = self.rng.normal(middle, error)
        if self.floor is None or (self.floor + self.components.axes @ self.corner[k]).min() >= 0:
            return
        self.corner[k, j] = before
        # The range in which no feature of the endmember is negative.
        axis = self.components.axes[:, j]
        spectrum = np.maximum(self.floor + self.components.axes @ self.corner[k], 0)
        up, down = axis > 0, axis < 0
        low = before - np.min(spectrum[up] / axis[up], initial=np.inf)
        high = before + np.min(spectrum[down] / -axis[down], initial=np.inf)
        self.corner[k, j] = float(truncated_normal(middle, error, low, high, self.rng))

    def _draw_variance(self) -> float:
        residual = self.scores - self.share @ self.corner
        squares = self.independent * (float((residual**2).sum()) + self.outside)
        shape = self.independent * self.scores.shape[0] * len(self.components.mean) / 2
        return float(max(squares / 2 / self.rng.gamma(shape), np.finfo(float).tiny))


def draw_shares(
    scores: Floats, share: Floats, corner: Floats, variance: float, rng: np.random.Generator
) -> None:
    """Redistribute abundance between each pair of endmembers, a normal between none and all."""
    residual = scores - share @ corner
    for i, j in combinations(range(len(corner)), 2):
        edge = corner[i] - corner[j]
        length = max(float(edge @ edge), np.finfo(float).tiny)
        before, both = share[:, i].copy(), share[:, i] + share[:, j]
        middle, error = before + residual @ edge / length, np.sqrt(variance / length)
        share[:, i] = truncated_normal(middle, error, 0.0, both, rng)
        share[:, j] = both - share[:, i]
        residual -= np.outer(share[:, i] - before, edge)


def truncated_normal(
    mean: npt.ArrayLike,
    error: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    rng: np.random.Generator,
) -> Floats:
    """Normal numbers between bounds, by inversion, accurate in the outermost tails as well.

    Examples
    --------
    >>> numbers = truncated_normal(np.zeros(3), 1.0, 40.0, 41.0, np.random.default_rng(1))
    >>> bool(((numbers >= 40) & (numbers < 40.3)).all())
    True
    """
    centre, scale = np.asarray(mean, float), np.asarray(error, float)
    bottom, top = (
        (np.asarray(low, float) - centre) / scale,
        (np.asarray(high, float) - centre) / scale,
    )
    mirrored = bottom > 0  # only the lower tail keeps its precision
    a, b = np.where(mirrored, -top, bottom), np.where(mirrored, -bottom, top)
    u = rng.random(a.shape)
    most = log_ndtr(b)
    with np.errstate(invalid="ignore"):  # NaN where the tail underflows: take the nearer bound
        normal = ndtri_exp(most + np.log(u + (1 - u) * np.exp(log_ndtr(a) - most)))
    normal = np.clip(np.where(np.isnan(normal), b, normal), a, b)
    return np.asarray(centre + scale * np.where(mirrored, -normal, normal), np.float64)


def split_r_hat(draws: Floats) -> float:
    """The largest R̂ of (chain, sample, …), with each chain split into halves.

    Examples
    --------
    >>> draws = np.random.default_rng(1).standard_normal((2, 400))
    >>> split_r_hat(draws) < 1.02, split_r_hat(draws + [[0.0], [3.0]]) > 1.5
    (True, True)
    """
    half = draws.shape[1] // 2
    parts = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = half * parts.mean(axis=1).var(axis=0, ddof=1)
    ratio = np.divide(between, within, out=np.ones_like(np.asarray(within)), where=within > 0)
    return float(np.sqrt((half - 1) / half + np.max(ratio) / half))
