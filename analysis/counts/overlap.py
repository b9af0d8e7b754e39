"""Counts of neighbourhoods that overlap: expected under uncertain species, and how much they tell.

Seven atoms' neighbourhoods share atoms, so N of them tell less than N independent ones. How much
less is found by shuffling the species over the image's own sites.
"""

import numpy as np
import numpy.typing as npt

from latticescape.analysis.inference.landscapes.distances import statistical_distance
from latticescape.physics.lattices.configurations import Configurations, add_configurations

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def expected_counts(
    probability: Floats, centers: Integers, rings: Integers, classes: Configurations
) -> Floats:
    """Expected counts when each atom is of species 1 with a probability of its own.

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
    for ones in (probability[centers], *probability[rings].T):
        # The state's code gains its next higher bit: all with 0 first, then all with 1.
        states = np.concatenate([states * (1 - ones)[:, None], states * ones[:, None]], axis=1)
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
    atoms = np.flatnonzero((kinds == 0) | (kinds == 1))
    occupation = np.zeros(len(kinds), np.uint8)
    rng = np.random.default_rng(seed)
    counts = np.zeros((shuffles, len(classes)), np.int64)
    places = centers.astype(np.int32), np.ascontiguousarray(rings, np.int32)
    for row in counts:
        occupation[atoms] = rng.permutation(kinds[atoms])
        add_configurations(occupation, *places, classes.table, row)
    return counts


def effective_number(shuffled: Integers) -> float:
    """How many independent neighbourhoods tell as much as those that overlap.

    N f, where f is what Pearson's χ² about the mean of the shuffles is on average for N independent
    draws, k − 1 for k classes that occur, over what it is for the shuffles.

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


def random_p_value(counts: Integers, shuffled: Integers, classes: Configurations) -> float:
    """Share of shuffles as far from the random alloy as the image, itself counted among them.

    The distance is S² to random mixing at the composition of each one's own centres.
    """
    every = np.vstack([counts[None], shuffled])
    composition = every @ classes.centre / every.sum(axis=1)
    distances = statistical_distance(every, classes.random_mixing(composition))
    return float(np.mean(distances >= distances[0] * (1 - 1e-9)))
