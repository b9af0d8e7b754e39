"""Features from the counts of configuration classes, and sums over samples, of eight points.

The loops over 512 replicas are compiled, because NumPy would take as long as the counting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.reference import MOMENTS, Floats, Sums
from latticescape.physics.kernels.restart import MOST_CHECKPOINTS
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.geometry import neighbor_steps
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.model import REPLICAS, Orbit

SHAPE = (REPLICAS, WORDS)

MOST_KEYS = 2**63  # so many clusters have keys of their own

Integers = npt.NDArray[np.int64]

Places = tuple[int, ...]


class MultispinSums:
    """Sums over the samples of eight points; replicas and points are the last axes.

    Parameters
    ----------
    couplings
        Energy per unit of each feature, (8, features).
    classes
        Number of configuration classes; none if others count them.
    sites
        Number of sites.
    """

    def __init__(self, couplings: Floats, classes: int, sites: int) -> None:
        self.couplings, self.sites = np.ascontiguousarray(couplings), sites
        self.features = np.zeros((couplings.shape[1], *SHAPE), np.int64)
        self.checkpoints = np.zeros((MOST_CHECKPOINTS, *self.features.shape), np.int64)
        self.moments = np.zeros((len(MOMENTS), *SHAPE))
        self.histogram = np.zeros((classes, *SHAPE), np.int64)

    def add(self, histogram: Integers, features: Integers, up: Integers) -> None:
        """One sample: counts (classes, 64, 8), features (features, 64, 8), up spins (64, 8)."""
        add_integers(histogram, self.histogram)
        add_integers(features, self.features)
        add_moments(features, up, self.couplings, self.sites, self.moments)

    def energies(self, features: Integers) -> Floats:
        """Energy of the whole lattice, (8, 64)."""
        energies = np.empty(SHAPE)
        add_energies(features, self.couplings, energies)
        return energies.T

    def write(self, sums: Sequence[Sums]) -> None:
        """Hand the sums of each point over, replicas first."""
        for word, target in enumerate(sums):
            target.features[...] = self.features[:, :, word].T
            target.checkpoints[...] = self.checkpoints[:, :, :, word].transpose(0, 2, 1)
            target.moments[...] = self.moments[:, :, word].T
            if len(self.histogram):
                target.histogram[...] = self.histogram[:, :, word].T

    def read(self, sums: Sequence[Sums]) -> None:
        """Begin with the sums of each point, replicas first."""
        for word, source in enumerate(sums):
            self.features[:, :, word] = source.features.T
            self.checkpoints[:, :, :, word] = source.checkpoints.transpose(0, 2, 1)
            self.moments[:, :, word] = source.moments.T
            if len(self.histogram):
                self.histogram[:, :, word] = source.histogram.T


@compiled
def add_integers(values: Any, sums: Any) -> None:
    """sums += values."""
    for row in range(values.shape[0]):
        for replica in range(values.shape[1]):
            for word in range(values.shape[2]):
                sums[row, replica, word] += values[row, replica, word]


@compiled
def combine(weights: Any, divisors: Any, histogram: Any) -> Any:
    """Integer combinations of class counts, (rows, 64, 8), each divided exactly by its divisor."""
    found = np.zeros((weights.shape[0], histogram.shape[1], histogram.shape[2]), np.int64)
    for row in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            weight = weights[row, k]
            if weight != 0:
                for replica in range(histogram.shape[1]):
                    for word in range(histogram.shape[2]):
                        found[row, replica, word] += weight * histogram[k, replica, word]
        # Exact, and faster than a division of integers: the combinations are far below 2^53.
        divisor = np.float64(divisors[row])
        if divisor != 1.0:
            for replica in range(histogram.shape[1]):
                for word in range(histogram.shape[2]):
                    value = np.float64(found[row, replica, word])
                    found[row, replica, word] = np.int64(value / divisor)
    return found


@compiled
def add_energies(features: Any, couplings: Any, energies: Any) -> None:
    """Energies (64, 8), feature by feature in their order, as the reference kernel adds them."""
    energies[:] = 0.0
    for feature in range(features.shape[0]):
        for replica in range(energies.shape[0]):
            for word in range(energies.shape[1]):
                value = np.float64(features[feature, replica, word])
                energies[replica, word] += couplings[word, feature] * value


@compiled
def add_moments(features: Any, up: Any, couplings: Any, sites: Any, moments: Any) -> None:
    """Add one sample's moments, in the order of ``MOMENTS``."""
    energies = np.empty((moments.shape[1], moments.shape[2]))
    add_energies(features, couplings, energies)
    for replica in range(moments.shape[1]):
        for word in range(moments.shape[2]):
            m = np.float64(2 * up[replica, word] - sites)
            e, square = energies[replica, word], m * m
            moments[0, replica, word] += m
            moments[1, replica, word] += abs(m)
            moments[2, replica, word] += square
            moments[3, replica, word] += square * square
            moments[4, replica, word] += e
            moments[5, replica, word] += e * e


@dataclass(frozen=True)
class ClassSums:
    """Features as combinations of class counts: ``weights`` · counts / ``divisor``, exactly.

    Attributes
    ----------
    features
        Their names.
    weights
        (features, classes) int64.
    divisor
        From how many sites each cluster is seen.

    Examples
    --------
    >>> from latticescape import Ising, honeycomb
    >>> bonds, sites = Ising().orbits(honeycomb(4), [])
    >>> sums = class_sums(honeycomb(4), bonds)
    >>> sums.features, sums.weights.tolist(), sums.divisor
    (('spin_product_1',), [[3, 1, -1, -3, -3, -1, 1, 3]], 2)
    """

    features: tuple[str, ...]
    weights: Integers
    divisor: int

    def of(self, counts: Integers) -> Integers:
        """The features, (features, ...) int64, of ``counts``, (classes, ...) int64."""
        flat = np.ascontiguousarray(counts).reshape(len(counts), -1)
        found = np.zeros((len(self.features), flat.shape[1]), np.int64)
        add_weighted(self.weights, flat, found)
        found //= self.divisor
        return found.reshape(len(found), *counts.shape[1:])


def class_sums(lattice: Lattice, orbit: Orbit) -> ClassSums | None:
    """How an orbit's features follow from the class counts of the whole lattice, if they do.

    They do for single sites and for first and second bonds on every lattice, for third bonds on the
    square and the triangular one, and for the triangles of the latter; on a small torus others may.

    Parameters
    ----------
    lattice
        Any, small tori included: what is returned holds for its own tables.
    orbit
        Of a model on that lattice.

    Returns
    -------
    ClassSums or None
        None if the classes do not fix the features, or the lattice is too large to tell
        (sites^(sites of a cluster) > 2^63).
    """
    width = orbit.clusters.shape[1]
    if lattice.sites**width > MOST_KEYS:
        return None
    own = np.arange(lattice.sites, dtype=np.int32)[:, None]
    rings = np.hstack([own, lattice.neighbors(1)])
    clusters = _sorted_keys(orbit.clusters, lattice.sites)
    for shape in _shapes(lattice.kind, width):
        weights = _weights(lattice.kind, shape, list(orbit.values.values()))
        if weights is None:
            continue
        seen = np.concatenate([rings[:, places] for places in shape])
        divisor = len(seen) // len(clusters)
        if np.array_equal(_sorted_keys(seen, lattice.sites), np.repeat(clusters, divisor)):
            return ClassSums(tuple(orbit.values), weights, divisor)
    return None


def _shapes(kind: str, width: int) -> Iterator[list[Places]]:
    """The sets of places in a site and its ring, centre first, by their shape."""
    ring = [step.vector for step in neighbor_steps(kind, 1)[0]]
    points = np.array([(0.0,) * len(ring[0]), *ring])
    shapes: dict[Any, list[Places]] = {}
    for places in combinations(range(len(points)), width):
        distances = (np.linalg.norm(points[a] - points[b]) for a, b in combinations(places, 2))
        shape = (0 in places, *sorted(round(float(d), 6) for d in distances))
        shapes.setdefault(shape, []).append(places)
    yield from shapes.values()


def _weights(
    kind: str, shape: Sequence[Places], values: Sequence[Sequence[int]]
) -> Integers | None:
    """What a site of each class adds to each feature, or None if the class does not fix it."""
    table = configurations(kind).table
    codes = np.arange(len(table))
    additions = np.zeros((len(values), len(table)), np.int64)
    for places in shape:
        ones = sum(codes >> place & 1 for place in places)
        additions += np.array([np.asarray(value)[ones] for value in values])
    weights = np.zeros((len(values), len(configurations(kind))), np.int64)
    weights[:, table] = additions
    return weights if np.array_equal(weights[:, table], additions) else None


def _sorted_keys(clusters: Sites, sites: int) -> Integers:
    """One number for each cluster, whatever the order of its sites; sorted."""
    keys = np.zeros(len(clusters), np.int64)
    for column in np.sort(clusters, axis=1).T:
        keys = keys * sites + column
    return np.sort(keys)


@compiled
def add_weighted(weights: Any, counts: Any, found: Any) -> None:
    """found += weights · counts, in a loop that is vectorised: numpy's own takes twice the time."""
    for feature in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            weight = weights[feature, k]
            for lane in range(counts.shape[1]):
                found[feature, lane] += weight * counts[k, lane]
