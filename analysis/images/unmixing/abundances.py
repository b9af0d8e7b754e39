"""Abundances by fully constrained least squares: none negative, summing to one, exact."""

from itertools import combinations

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# All sets of endmembers that may take part are tried, and there are 2^q of them.
MOST_ENDMEMBERS = 10

# An abundance below zero by less than this is zero, rounded.
ROUNDING = 1e-12


def abundances(vectors: npt.ArrayLike, endmembers: npt.ArrayLike) -> Floats:
    """The mixture of endmembers nearest to each vector.

    Minimises |x − Σ_k a_k e_k|² with a ≥ 0, Σ a = 1. For every set of endmembers the least
    squares with only the sum constrained has a closed form, one matrix for all vectors; the best
    of those that are nowhere negative is the minimum.

    Parameters
    ----------
    vectors
        (n, features).
    endmembers
        (q, features), q ≤ 10.

    Returns
    -------
    floats
        (n, q).

    Raises
    ------
    RequestError
        If shapes differ, or there are too many endmembers.

    References
    ----------
    D. C. Heinz and C.-I Chang, IEEE Trans. Geosci. Remote Sens. 39, 529 (2001), 10.1109/36.911111,
    state the problem; their iteration only drops endmembers and may miss the minimum.

    Examples
    --------
    >>> abundances([[0.25, 0.0], [2.0, 1.0]], [[0, 0], [1, 0], [0, 1]]).round(3).tolist()
    [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]]
    """
    x, e = np.asarray(vectors), np.asarray(endmembers)
    if x.ndim != 2 or e.ndim != 2 or x.shape[1] != e.shape[1] or len(e) == 0:
        raise RequestError(
            "vectors and endmembers do not fit",
            came=f"{x.shape} and {e.shape}",
            allowed="(n, features) and (q, features)",
        )
    if len(e) > MOST_ENDMEMBERS:
        raise RequestError("too many endmembers", came=len(e), allowed=f"at most {MOST_ENDMEMBERS}")
    return from_products((x @ e.T).astype(np.float64), (e @ e.T).astype(np.float64))


def from_products(products: Floats, gram: Floats) -> Floats:
    """The same from inner products: (n, q) of vectors and endmembers, (q, q) of endmembers."""
    n, q = products.shape
    best, least = np.zeros((n, q)), np.full(n, np.inf)
    for size in range(1, q + 1):
        for members in combinations(range(q), size):
            some = list(members)
            inner = gram[np.ix_(some, some)]
            solution = _affine(products[:, some], inner)
            if solution is None:
                continue
            error = ((solution @ inner) * solution).sum(axis=1)
            error -= 2 * (solution * products[:, some]).sum(axis=1)
            better = (solution >= -ROUNDING).all(axis=1) & (error < least)
            least[better] = error[better]
            best[better] = 0
            best[np.ix_(better, some)] = np.maximum(solution[better], 0)
    best /= best.sum(axis=1, keepdims=True)
    return best


def _affine(products: Floats, gram: Floats) -> Floats | None:
    """Least squares under Σ a = 1 alone; None if the endmembers span less than a simplex.

    The edges d_k = e_k − e_0 free it of the constraint: a_k = D⁻¹ (x − e_0)·d, a_0 = 1 − Σ a_k.
    """
    if len(gram) == 1:
        return np.ones((len(products), 1))
    edges = gram[1:, 1:] - gram[1:, :1] - gram[:1, 1:] + gram[0, 0]
    if np.linalg.cond(edges) > 1 / np.finfo(np.float32).eps:
        return None
    right = products[:, 1:] - products[:, :1] - gram[0, 1:] + gram[0, 0]
    rest = np.linalg.solve(edges, right.T).T
    return np.column_stack([1 - rest.sum(axis=1), rest])
