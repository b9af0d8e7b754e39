"""Moments of √h for a count h of N: what a distance built on √(h/N) expects of few counts."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Floats = npt.NDArray[np.float64]

# Above so many expected counts the expansions in 1/λ are exact to 1e-4 of what they correct.
_MANY = 40.0
_POINTS = 1200


def root_moments(expected: npt.ArrayLike, number: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Mean, slope and variance of √h, h being binomial.

    Parameters
    ----------
    expected
        λ = N q, any shape.
    number
        N.

    Returns
    -------
    mean, slope, variance
        E√h, Cov(√h, h)/Var h, and Var √h: √λ, 1/(2√λ) and (1 − q)/4 where λ is large; all count
        for count less where it is small.

    Examples
    --------
    >>> mean, slope, variance = root_moments([1.0, 10_000.0], 1e6)
    >>> mean.round(3).tolist(), (2 * slope * [1, 100]).round(3).tolist(), variance.round(3).tolist()
    ([0.773, 99.999], [1.199, 1.0], [0.402, 0.248])
    """
    mean_count, n = np.broadcast_arrays(np.asarray(expected, float), np.asarray(number, float))
    found = np.empty((3, *mean_count.shape))
    few = mean_count < _MANY
    found[:, few] = _by_sum(mean_count[few], n[few])
    found[:, ~few] = _by_expansion(mean_count[~few], n[~few])
    return found[0], found[1], found[2]


def _by_sum(expected: Floats, number: Floats) -> Floats:
    h = np.arange(int(_MANY + 12 * np.sqrt(_MANY)))[:, None]
    weight = binom.pmf(h, np.maximum(np.rint(number), 1), np.minimum(expected / number, 1))
    root = np.sqrt(h)
    mean, count = (weight * root).sum(axis=0), (weight * h).sum(axis=0)
    variance = (weight * h * h).sum(axis=0) - count**2
    slope = ((weight * root * h).sum(axis=0) - mean * count) / np.maximum(variance, 1e-300)
    slope = np.where(expected > 1e-12, slope, 1.0)
    return np.stack([mean, slope, np.maximum(count - mean**2, 0)])


def _by_expansion(expected: Floats, number: Floats) -> Floats:
    root, rest = np.sqrt(expected), 1 - np.minimum(expected / number, 1)
    mean = root * (1 - rest / (8 * expected))
    slope = (1 + rest / (8 * expected)) / (2 * root)
    return np.stack([mean, slope, rest / 4 * (1 + 3 * rest / (8 * expected))])


def count_bias(
    probability: npt.ArrayLike, number: float, dispersion: npt.ArrayLike = 1.0
) -> Floats:
    """What few counts add to 4 N S² of a histogram, up to a constant; last axis the classes.

    E√h < √λ pulls the minimum of S² away from classes seen seldom. The sum over classes of
    4 N ∫₀^q (E√h/√λ − 1) dq has minus the mean slope of 4 N S² at the true parameters, whatever
    these are; added to 4 N S² it leaves a minimum that is right on average.

    Parameters
    ----------
    probability
        q, (…, classes).
    number
        N.
    dispersion
        How much more than binomially the counts of a class scatter, one for all or (classes,):
        counts that come in bunches of o scatter as N/o.

    Returns
    -------
    ndarray
        (…): to be added to 4 N S², in its units.

    Examples
    --------
    >>> count_bias([0.5, 0.5], 1e6).round(1).item() > count_bias([0.001, 0.999], 1e6).item()
    False
    """
    q = np.asarray(probability, float)
    dispersions = np.broadcast_to(np.asarray(dispersion, float), q.shape[-1:])
    found = np.zeros(q.shape[:-1])
    for k, value in enumerate(dispersions):
        share, integral = _missing(max(number / float(value), 1.0))
        found += 4 * number * np.interp(q[..., k], share, integral)
    return found


@lru_cache(maxsize=4096)
def _missing(number: float) -> tuple[Floats, Floats]:
    """∫₀^q (E√h/√(Nt) − 1) dt over q, on a grid that is fine where counts are few."""
    share = np.concatenate([[0.0], np.geomspace(1e-6 / number, 1.0, _POINTS)])
    middle = (share[1:] + share[:-1]) / 2
    mean = root_moments(middle * number, number)[0]
    lacking = mean / np.sqrt(middle * number) - 1
    return share, np.concatenate([[0.0], np.cumsum(lacking * np.diff(share))])
