"""Whether neighbourhoods overlap, seen in their counts alone."""

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from latticescape.physics.lattices.configurations import Configurations, configurations

Floats = npt.NDArray[np.float64]

# Independent neighbourhoods agree as well as overlapping ones in one case of twenty.
AGREEING = 0.05


def neighborhoods_overlap(counts: npt.ArrayLike, kind: str) -> bool:
    """Whether the counts agree about unlike pairs as only neighbourhoods that share atoms do.

    An unlike pair is seen from either end. Summed over the counts of a whole lattice, the unlike
    neighbours of species 0 are as many as those of species 1, exactly; in a cut-out they differ by
    pairs at its edge, and in independent draws by √N. On the triangular lattice the same holds for
    both kinds of unlike triangles.

    Parameters
    ----------
    counts
        (images, classes).
    kind
        The lattice's kind.

    Returns
    -------
    bool
        True if independent draws would agree as well in less than 5 % of cases.

    Examples
    --------
    >>> from latticescape import count_configurations, square
    >>> classes = configurations("square")
    >>> species = np.random.default_rng(2).integers(0, 2, 400)
    >>> sites = square(20)
    >>> whole = count_configurations(species, np.arange(400), sites.neighbors(1), classes)
    >>> drawn = np.random.default_rng(3).multinomial(400, classes.random_mixing(0.5))
    >>> neighborhoods_overlap([whole], "square"), neighborhoods_overlap([drawn], "square")
    (True, False)
    """
    seen = np.atleast_2d(np.asarray(counts, float))
    differences = _differences(configurations(kind))
    statistic, degrees = 0.0, 0
    for h in seen:
        number = h.sum()
        off, mean = differences @ h, differences @ h / number
        covariance = number * ((differences * h) @ differences.T / number - np.outer(mean, mean))
        rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
        degrees += rank
        statistic += float(off @ np.linalg.pinv(covariance, hermitian=True) @ off)
    return degrees > 0 and bool(chi2(degrees).cdf(statistic) < AGREEING)


def _differences(classes: Configurations) -> Floats:
    """Rows that sum to zero over the counts of a whole lattice, (rows, classes)."""
    n, one = classes.neighbors, classes.centre == 1
    if "ortho" not in classes.pair_names:
        z = int(n.max())
        return np.where(one, n - z, n)[None].astype(float)
    # The six triangles around a centre: both ring atoms of species 1, one of them, none.
    both = classes.pairs("ortho")
    mixed, none = 2 * (n - both), 6 - 2 * n + both
    return np.array([np.where(one, 2 * none, -mixed), np.where(one, mixed, -2 * both)], float)
