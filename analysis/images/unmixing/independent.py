"""Endmembers by independent component analysis."""

import warnings

import numpy as np
import numpy.typing as npt
from scipy.stats import skew
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST_ITERATIONS, TOLERANCE = 1000, 1e-4

# An endmember is the mean of the windows that hold most of its component: so many, at most.
PURE_PART, MOST_PURE = 0.02, 100


def purest_windows(scores: npt.ArrayLike, *, seed: int = 0) -> tuple[list[Integers], bool]:
    """The windows that hold most of each independent component, and those that hold least of all.

    FastICA turns q − 1 principal components into q − 1 independent ones, whose signs are set so
    that their long tails are positive. Each names one endmember by the windows in its tail, 2 %
    of all; the last endmember is where their sum is least. Abundances sum to one and are
    therefore never truly independent: a convention of ours makes ICA comparable to the others.

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
    >>> few = purest_windows([[0.0], [0.1], [0.0], [9.0]])[0]
    >>> few[0].tolist()
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
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        sources = ica.fit_transform(points / points.std(axis=0))
    sources *= np.where(skew(sources, axis=0) < 0, -1, 1)
    few = int(np.clip(round(PURE_PART * len(points)), 1, MOST_PURE))
    tails = [*sources.T, -sources.sum(axis=1)]
    purest = [np.sort(np.argsort(-tail, kind="stable")[:few]) for tail in tails]
    return purest, not any(issubclass(w.category, ConvergenceWarning) for w in told)
