"""Endmembers by N-FINDR, by independent components, and by nonnegative matrix factorisation."""

import math
import warnings

import numpy as np
import numpy.typing as npt
from scipy.stats import skew
from sklearn.decomposition import NMF, FastICA
from sklearn.exceptions import ConvergenceWarning

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
        raise RequestError(
            "too few points for a simplex",
            came=f"shape {places.shape}",
            allowed="(points, q − 1), at least q points",
        )
    extent = np.abs(places - places.mean(axis=0)).max(axis=0)
    if not (np.isfinite(extent) & (extent > 0)).all():
        raise RequestError(
            "the points span no simplex",
            came=f"extents {extent}",
            allowed="points that differ along every axis",
            hint="fewer endmembers",
        )
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
        raise RequestError(
            "nonnegative factorisation needs spectra without negative values",
            came=float(vectors.min()),
            allowed="0 or more",
            hint='--method nfindr, method="nfindr" in Python',
        )
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
