"""Whether a point is equilibrated: do its results depend on the start, or on when one looks?

The 64 replicas are independent, so that differences between groups of them, or between the halves
of their samples, can be tested exactly as differences of independent measurements.

References
----------
R̂: Gelman and Rubin, Statist. Sci. 7, 457 (1992), 10.1214/ss/1177011136.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.boltzmann import boltzmann
from latticescape.physics.kernels.restart import first_half
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.variables import FALSE_ALARMS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Results = dict[str, np.ndarray]

# Variances below this share of the mean square are errors of rounding.
ROUNDING = 1e-13


class HalvedSums(Protocol):
    """Features summed over all samples, and over the first half of them, each (64, features)."""

    @property
    def features(self) -> Integers: ...
    @property
    def first_half(self) -> Integers: ...


def equilibration(
    sums: HalvedSums, moments: Floats, samples: int, starts: Integers, ratio: float
) -> Results:
    """The variables that say whether a point is equilibrated.

    Parameters
    ----------
    sums
        Of the point.
    moments
        Mean of a quantity and of its square, of every replica: (quantities, 2, 64).
    samples
        Number of samples.
    starts
        The kind of start of every replica, (64,).
    ratio
        Steps of equilibration / steps of sampling.
    """
    early, late = half_means(sums, samples)
    most_drift, most_between, alarms = limits(early.shape[1], len(np.unique(starts)))
    drift = largest_drift(late - early)
    between = start_r_hat(sums.features / samples, starts)
    r_hat, independent = replica_scatter(moments)
    influence = max(remembered(early, late, ratio, alarms), scattered(independent, ratio))
    values = {
        "r_hat": r_hat,
        "start_r_hat": between,
        "drift_t": drift,
        "effective_samples": independent,
        "start_influence": influence,
        "equilibrated": drift <= most_drift and between <= most_between and influence <= 1.0,
    }
    return {name: np.asarray(value) for name, value in values.items()}


def half_means(sums: HalvedSums, samples: int) -> tuple[Floats, Floats]:
    """Mean features in the first half of the samples and in the second, (64, features) each."""
    early = first_half(samples)
    late = samples - early
    return sums.first_half / early, (sums.features - sums.first_half) / late


def largest_drift(change: Floats) -> float:
    """The largest |t| of the mean changes of replicas (64, features); 0 if nothing changes.

    Examples
    --------
    >>> largest_drift(np.tile([[1.0], [-1.0]], (32, 1))), largest_drift(np.ones((64, 1)))
    (0.0, inf)
    """
    mean, error = change.mean(axis=0), change.std(axis=0, ddof=1) / np.sqrt(len(change))
    return float(np.max(_ratio(np.abs(mean), error), initial=0.0))


def start_r_hat(values: Floats, starts: Integers) -> float:
    """The largest R̂ of features, (64, features), with each kind of start as a chain and its
    replicas as samples; 1 if there is one kind only, or several replicas of none.

    R̂² = 1 + (F − 1)/n for n replicas a kind, with F the ratio of the mean squares between and
    within the kinds.
    """
    groups = [values[starts == kind] for kind in np.unique(starts)]
    number = len(groups)
    if number < 2 or number == len(values):
        return 1.0
    whole = values.mean(axis=0)
    between = sum(len(g) * (g.mean(axis=0) - whole) ** 2 for g in groups) / (number - 1)
    within = sum(((g - g.mean(axis=0)) ** 2).sum(axis=0) for g in groups) / (len(values) - number)
    f = _ratio(between, within, scale=(values**2).mean(axis=0))
    size = len(values) / number
    return float(np.sqrt(max(1.0, 1 + (np.max(f) - 1) / size)))


def replica_scatter(moments: Floats) -> tuple[float, float]:
    """R̂ between replicas, and the number of independent samples in all of them, for the worst of
    some quantities, (quantities, 2, 64): means of the quantity and of its square."""
    r_hat, independent = 1.0, np.inf
    for mean, square in moments:
        between, within = float(mean.var(ddof=1)), float(np.mean(square - mean * mean))
        smallest = ROUNDING * float(np.mean(square))
        if between > smallest:
            within = max(within, 0.0)
            independent = min(independent, REPLICAS * (1 + within / between))
            r_hat = max(r_hat, np.sqrt(1 + between / within) if within > smallest else np.inf)
    return float(r_hat), float(independent)


def scattered(independent: float, ratio: float) -> float:
    """What is left of the start in a mean, in standard errors, if 64 replicas have so many
    independent samples.

    With exponential relaxation the mean over r relaxation times has the share 2(1 − A)/r of the
    variance, A = (1 − exp(−r))/r. A start one standard deviation away changes it by
    A·exp(−``ratio``·r).
    """
    share = REPLICAS / independent
    if share == 0.0:
        return 0.0
    r = _solved(lambda r: 2 * (1 - _decayed(r)) / r, share, 2 / share)
    return float(_decayed(r) * boltzmann(ratio * r) * np.sqrt(REPLICAS / share))


def remembered(early: Floats, late: Floats, ratio: float, alarms: float) -> float:
    """What is left of the start in the means of features, in standard errors, by what the second
    half of the samples remembers of the first; other modes may relax faster.

    Parameters
    ----------
    early, late
        Means over the halves, (64, features).
    ratio
        Steps of equilibration / steps of sampling.
    alarms
        The probability that an accidental correlation of the halves counts.

    Returns
    -------
    float
        For the worst feature; 0 if no correlation is significant.
    """
    worst = 0.0
    for one, other in zip(early.T, late.T, strict=True):
        a, b = one - one.mean(), other - other.mean()
        common, own = float(np.mean(a * b)), float(np.sqrt(np.mean(a * a) * np.mean(b * b)))
        if own <= ROUNDING * float(np.mean(one * one)):
            continue
        if common <= most_alike(round(min(_breadth(a), _breadth(b)), 1), alarms) * own:
            continue
        # Of one half: r relaxation times, of which the start is the same again before.
        r = 2 * relaxations(min(1.0, common / own))
        error = float(np.std((one + other) / 2)) / np.sqrt(REPLICAS)
        left = _decayed(r) / _decayed(r / 2) * float(boltzmann(ratio * r))
        worst = max(worst, float(np.sqrt(common)) * left / error)
    return worst


def relaxations(correlation: float) -> float:
    """How many relaxation times half of the samples last if the halves have this correlation.

    With exponential relaxation it is A²/V, where A = (1 − exp(−r))/r, and V = 2(1 − A)/r.

    Examples
    --------
    >>> [round(relaxations(correlation), 3) for correlation in (0.1, 0.5, 1.0)]
    [5.972, 1.151, 0.0]
    """
    return _solved(
        lambda r: _decayed(r) ** 2 * r / (2 * (1 - _decayed(r))), correlation, 1 / correlation
    )


def _solved(falling: Callable[[float], float], value: float, high: float) -> float:
    """Where a function that falls from 1 at 0 has this value."""
    if value >= 1:
        return 0.0
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return low


def _decayed(r: float) -> float:
    """The mean of exp(−t) over t from 0 to r."""
    return (1 - float(boltzmann(r))) / r if r > 1e-4 else 1 - r / 2


def _breadth(values: Floats) -> float:
    """Of how many replicas a correlation is: 64 for normal deviations (64,) from the mean, 3 if one
    replica alone deviates."""
    return min(float(REPLICAS), 3 * float(np.sum(values**2)) ** 2 / float(np.sum(values**4)))


@lru_cache(maxsize=1024)
def most_alike(breadth: float, alarms: float) -> float:
    """The largest correlation of two halves that is accidental.

    Examples
    --------
    >>> [round(most_alike(breadth, 0.001), 2) for breadth in (64.0, 10.0, 4.0)]
    [0.39, 0.9, inf]
    """
    from scipy.special import stdtrit  # lazy: slow, and a plan needs none of it

    free = breadth - 4
    if free <= 0:
        return np.inf
    t = float(stdtrit(free, 1 - alarms))
    return t / float(np.sqrt(free + t * t))


@lru_cache(maxsize=64)
def limits(features: int, groups: int) -> tuple[float, float, float]:
    """The largest drift and R̂ between kinds of starts of an equilibrated point, but for
    ``FALSE_ALARMS`` of all points, from Student's t and Fisher's F; and the false alarms that each
    test has for each feature (Bonferroni).

    Examples
    --------
    >>> [round(limit, 3) for limit in limits(2, 2)[:2]]
    [4.004, 1.213]
    """
    from scipy.special import fdtri, stdtrit  # lazy: slow, and a plan needs none of it

    several = 1 < groups < REPLICAS
    part = FALSE_ALARMS / features / (3 if several else 2)
    most_drift = float(stdtrit(REPLICAS - 1, 1 - part / 2))
    f = float(fdtri(groups - 1, REPLICAS - groups, 1 - part)) if several else np.inf
    return most_drift, float(np.sqrt(1 + (f - 1) * groups / REPLICAS)), part


def _ratio(number: Floats, by: Floats, scale: Floats | None = None) -> Floats:
    """number / by; 0 where both are errors of rounding."""
    smallest = np.zeros(number.shape) if scale is None else ROUNDING * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(number <= smallest, 0.0, number / by)
