"""Counts of overlapping neighbourhoods: their expectation, covariance and effective number.

A site and its neighbours share atoms with the neighbourhoods around them, and near a phase
transition correlate with distant ones, so N neighbourhoods do not scatter like N independent draws.
"""

import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.counts.classes import Classes
from latticescape.analysis.counts.distances import statistical_distance
from latticescape.physics.lattices.configurations import (
    Configurations,
    configurations,
    count_configurations,
)
from latticescape.physics.lattices.site_classes import SiteClasses, random_mixing_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def expected_counts(
    probability: Floats, centers: Integers, rings: Integers, classes: Configurations
) -> Floats:
    """Expected counts when each atom is of species 1 with its own probability.

    Exact: for every centre the sum over all 2^(1+z) states of its neighbourhood.

    Parameters
    ----------
    probability
        (atoms,), of species 1.
    centers, rings
        (n,) and (n, z): atom numbers.
    classes
        The classes of the lattice.

    Returns
    -------
    ndarray
        (classes,), summing to n.

    Examples
    --------
    >>> from latticescape import configurations, square
    >>> half = np.full(16, 0.5)
    >>> expected_counts(half, np.arange(16), square(4).neighbors(1), configurations("square"))
    array([0.5, 2. , 2. , 1. , 2. , 0.5, 0.5, 2. , 2. , 1. , 2. , 0.5])
    """
    states = np.ones((len(centers), 1))
    for p in (probability[centers], *probability[rings].T):
        # The next higher bit of the state's code: all states with 0 first, then all with 1.
        states = np.concatenate([states * (1 - p)[:, None], states * p[:, None]], axis=1)
    sums: Floats = states.sum(axis=0)
    return np.bincount(classes.table, sums, minlength=len(classes)).astype(float)


def shuffled_counts(
    species: npt.ArrayLike,
    centers: Integers,
    rings: Integers,
    classes: Configurations,
    *,
    shuffles: int,
    seed: int,
) -> Integers:
    """Counts after shuffling the species among the atoms, (shuffles, classes).

    Parameters
    ----------
    species
        (atoms,), 0 or 1; any other number stays where it is.
    centers, rings
        (n,) and (n, z): atom numbers.
    classes
        The classes of the lattice.
    shuffles
        How many.
    seed
        Of the shuffling.
    """
    kinds = np.asarray(species)
    known = (kinds == 0) | (kinds == 1)
    return counts_of_shuffles(
        np.where(known, kinds, 0),
        [np.flatnonzero(known)],
        lambda occupation: count_configurations(occupation, centers, rings, classes),
        shuffles=shuffles,
        seed=seed,
    )


def counts_of_shuffles(
    occupation: Integers,
    groups: Sequence[Integers],
    count: Callable[[Integers], Integers],
    *,
    shuffles: int,
    seed: int,
) -> Integers:
    """Counts after shuffling the species within each group of sites, (shuffles, classes).

    Parameters
    ----------
    occupation
        Number of the species on every site, (sites,).
    groups
        Sites whose species change places.
    count
        Counts the classes of an occupation, (classes,).
    shuffles, seed
        How many, and of the shuffling.
    """
    rng, moved, counts = np.random.default_rng(seed), occupation.copy(), []
    for _ in range(shuffles):
        for sites in groups:
            moved[sites] = rng.permutation(occupation[sites])
        counts.append(count(moved))
    return np.array(counts)


def effective_number(shuffled: Integers) -> float:
    """Number of independent neighbourhoods with the same information as the overlapping ones.

    N f, where f is the expected Pearson χ² of N independent draws about the mean of the shuffles,
    k − 1 for k classes that occur, over the mean χ² of the shuffles.

    Parameters
    ----------
    shuffled
        (shuffles, classes), each summing to N.

    Examples
    --------
    >>> draws = np.random.default_rng(1).multinomial(500, [0.2, 0.3, 0.5], size=4000)
    >>> 480 < effective_number(draws) < 520
    True
    """
    number = int(shuffled[0].sum())
    mean = shuffled.mean(axis=0)
    occurs = mean > 0
    spread = float(np.sum(shuffled.var(axis=0, ddof=1)[occurs] / mean[occurs]))
    return number * (int(occurs.sum()) - 1) / spread if spread > 0 else float(number)


def random_p_value(counts: Integers, shuffled: Integers, classes: Classes) -> float:
    """Share of shuffles, the image included, that are as far from the random alloy as the image.

    The distance is S² to random mixing at the composition of each sample's own centres.
    """
    samples = np.vstack([counts[None], shuffled])
    distances = statistical_distance(samples, random_mixing_of(classes, samples))
    return float(np.mean(distances >= distances[0] * (1 - 1e-9)))


# Independent neighbourhoods agree equally well with this probability.
AGREEING = 0.05


def neighborhoods_overlap(counts: npt.ArrayLike, classes: str | Classes) -> bool:
    """Whether unlike pairs are counted consistently, as only overlapping neighbourhoods do.

    An unlike pair is counted from both ends. Summed over a complete lattice, species 0 has exactly
    as many unlike neighbours as species 1; in a section of it the numbers differ by the pairs at
    its edge, and in independent draws by √N. On the triangular lattice the same holds for both
    kinds of unlike triangles, and of any classes for pairs of each shell, sublattice and, where
    the classes distinguish it, direction.

    Parameters
    ----------
    counts
        (images, classes).
    classes
        The classes, or the lattice's kind.

    Returns
    -------
    bool
        True if independent draws would agree equally well in less than 5 % of cases.

    Examples
    --------
    >>> from latticescape import count_configurations, square
    >>> classes = configurations("square")
    >>> species = np.random.default_rng(2).integers(0, 2, 400)
    >>> sites = square(20)
    >>> counts = count_configurations(species, np.arange(400), sites.neighbors(1), classes)
    >>> draws = np.random.default_rng(3).multinomial(400, classes.random_mixing(0.5))
    >>> neighborhoods_overlap([counts], "square"), neighborhoods_overlap([draws], "square")
    (True, False)
    """
    if isinstance(classes, str):
        classes = configurations(classes)
    if isinstance(classes, Configurations):
        differences = _usual_differences(classes)
    else:
        differences = _pair_differences(classes)
    statistic, degrees = 0.0, 0
    for h in np.atleast_2d(np.asarray(counts, float)):
        number = h.sum()
        off, mean = differences @ h, differences @ h / number
        covariance = number * ((differences * h) @ differences.T / number - np.outer(mean, mean))
        rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
        degrees += rank
        statistic += float(off @ np.linalg.pinv(covariance, hermitian=True) @ off)
    return degrees > 0 and bool(chi2(degrees).cdf(statistic) < AGREEING)


def _usual_differences(classes: Configurations) -> Floats:
    """Rows whose product with the counts of a complete lattice is zero, (rows, classes)."""
    n, species1 = classes.neighbors, classes.centre == 1
    if "ortho" not in classes.pair_names:
        return np.array([np.where(species1, n - int(n.max()), n)], float)
    # The six triangles around a centre: both ring atoms of species 1, one of them, none.
    both = classes.pairs("ortho")
    mixed, none = 2 * (n - both), 6 - 2 * n + both
    rows = [np.where(species1, 2 * none, -mixed), np.where(species1, mixed, -2 * both)]
    return np.array(rows, float)


def _pair_differences(classes: SiteClasses) -> Floats:
    """Numbers of pairs as counted from one end minus from the other, (rows, classes)."""
    ends: dict[tuple[Any, Any], Floats] = {}
    for number, key in enumerate(classes.keys):
        centre, *around = classes.arrangement(key)
        for (end, other), name in zip(classes.pair_ends(key[0]), around, strict=True):
            row = ends.setdefault(((end, centre), (other, name)), np.zeros(len(classes)))
            row[number] += 1
    none = np.zeros(len(classes))
    rows = [row - ends.get(pair[::-1], none) for pair, row in ends.items() if pair[0] != pair[1]]
    return np.array(rows).reshape(-1, len(classes))


# Moments of the slow modes and of their squares: energy and, where it is free, magnetization.
_MODES = (("e", "e2"), ("m", "m2"))
# Variables of a sweep that the covariance of the counts is computed from.
COUNT_VARIABLES = ("sample_histogram", "histogram_replica", "samples", "moments")


def count_covariance(point: xr.Dataset) -> Floats:
    """Covariance of the class counts of one configuration of the lattice, per neighbourhood.

    The counts of N neighbourhoods in an image of the same phase have N times this covariance; for
    independent neighbourhoods it would be diag(q) − qqᵀ.

    Parameters
    ----------
    point
        One point of a sweep. With ``sample_histogram`` (replica, sample, configuration) the
        covariance is that of all single configurations. Otherwise it is that of the replicas' means
        times the number of samples. Consecutive samples are correlated; this is corrected along
        the slowest quantities, energy and magnetization, whose scatter in single configurations is
        in ``moments``.

    Returns
    -------
    ndarray
        (classes, classes), symmetric, rows sum to zero; NaN if the point is not computed.

    Examples
    --------
    >>> draws = np.random.default_rng(1).multinomial(900, [0.2, 0.3, 0.5], size=64)
    >>> one = xr.Dataset({"histogram_replica": (("replica", "configuration"), draws)})
    >>> q = np.array([0.2, 0.3, 0.5])
    >>> bool(np.allclose(count_covariance(one), np.diag(q) - np.outer(q, q), atol=0.12))
    True
    """
    # The Dataset of a store is lazy: read all variables at once.
    point = point[[name for name in COUNT_VARIABLES if name in point]].compute()
    if "sample_histogram" in point:
        single = point["sample_histogram"].transpose(..., "configuration").values
        return _scatter(single.reshape(-1, single.shape[-1]))
    counts = point["histogram_replica"].transpose("replica", "configuration").values.astype(float)
    try:
        samples = int(
            point["samples"]
            if "samples" in point
            else tomllib.loads(str(point.attrs["spec"]))["schedule"]["samples"]
        )
    except (KeyError, TypeError, ValueError):
        return _scatter(counts)
    if "moments" not in point:
        return _scatter(counts)
    number = counts.sum(axis=1, keepdims=True)
    sites = number.mean() / samples
    slow, single_scatter = _slow_modes(point["moments"], samples)
    fast = counts / np.where(number > 0, number, np.nan)
    fast = fast - fast.mean(axis=0)
    carried = np.zeros((fast.shape[1],) * 2)
    if slow.shape[1]:
        slope = np.linalg.lstsq(slow, fast, rcond=None)[0]
        fast = fast - slow @ slope
        carried = slope.T @ single_scatter @ slope
    degrees = len(fast) - 1 - slow.shape[1]
    return np.asarray(sites * (samples * fast.T @ fast / degrees + carried), np.float64)


def _scatter(counts: npt.NDArray[Any]) -> Floats:
    """Covariance over histograms of equal size, per neighbourhood."""
    number = counts.sum(axis=-1).mean()
    return np.atleast_2d(np.cov(counts.T)) / (number if number > 0 else np.nan)


def _slow_modes(moments: xr.DataArray, samples: int) -> tuple[Floats, Floats]:
    """Deviations of the replicas' means, (replicas, modes), and the covariance of one sample."""
    deviations, single = [], []
    for name, square in _MODES:
        mean = moments.sel(moment=name).values
        variance = float(moments.sel(moment=square).values.mean() - mean.mean() ** 2)
        if variance > 1e-12 * max(mean.mean() ** 2, 1e-12) and mean.std() > 0:
            deviations.append(mean - mean.mean())
            # Means of independent samples scatter less by their number, and never more.
            least = mean.var(ddof=1)
            single.append(min(max(variance, least), samples * least * 1.5))
    number = len(deviations)
    slow = np.array(deviations).T.reshape(len(moments["replica"]), number)
    means = np.cov(slow.T).reshape(number, number)
    growth = np.array(single) / np.diag(means)
    # If both modes decayed alike, covariances would grow by the geometric mean of the variances'
    # factors; if the faster followed the slower and were free otherwise, by the smaller factor.
    # The dynamics lie between.
    alike, smaller = np.sqrt(np.outer(growth, growth)), np.minimum.outer(growth, growth)
    return slow, means * ((alike + smaller) / 2)
