"""Endmembers by nonnegative matrix factorisation."""

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

MOST_ITERATIONS, TOLERANCE = 1000, 1e-4


def nonnegative_endmembers(
    vectors: npt.NDArray[np.floating], q: int, *, seed: int = 0
) -> tuple[Floats, bool]:
    """Endmembers e ≥ 0 of X ≈ A E with A ≥ 0 whose rows sum to one as nearly as may be.

    The factorisation minimises |X − A E|². A further column of ones, as long as a spectrum,
    makes abundances sum to one and so sets the endmembers' scale.

    Parameters
    ----------
    vectors
        (n, features), none negative.
    q
        How many endmembers.
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
    D. D. Lee and H. S. Seung, Nature 401, 788 (1999), 10.1038/44565; the column of ones:
    D. C. Heinz and C.-I Chang, IEEE Trans. Geosci. Remote Sens. 39, 529 (2001), 10.1109/36.911111.

    Examples
    --------
    >>> found, _ = nonnegative_endmembers(np.array([[1.0, 0], [0, 1], [0.5, 0.5]]), 2)
    >>> np.sort(found.round(1), axis=0).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    if vectors.min() < 0:
        raise RequestError(
            "nonnegative factorisation takes no negative spectra",
            came=float(vectors.min()),
            allowed="0 or more",
            hint='method="nfindr"',
        )
    length = float(np.sqrt(np.einsum("nf,nf->", vectors, vectors, dtype=float) / len(vectors)))
    ones = np.full((len(vectors), 1), length, vectors.dtype)
    nmf = NMF(q, init="nndsvda", random_state=seed, max_iter=MOST_ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        nmf.fit(np.concatenate([vectors, ones], axis=1))
    parts = nmf.components_.astype(np.float64)
    scale = parts[:, -1:] / length
    if (scale <= 0).any():
        raise RequestError("an endmember came out empty", came=q, hint="fewer endmembers")
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in told)
    return parts[:, :-1] / scale, converged
