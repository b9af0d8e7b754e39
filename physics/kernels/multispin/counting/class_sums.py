"""Features that follow from the counts of the configuration classes, without a second count.

A set of places in a site and its ring (the centre, two ring neighbours sixty degrees apart, ...)
makes a cluster at every site. Where all sets of one shape together list each cluster of an orbit
equally often, and each class fixes how many of its sets hold 0, 1, ... ones, the orbit's features
are an integer combination of the class counts, divided by that number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice, Sites, neighbor_steps
from latticescape.physics.models.model import Orbit

MOST_KEYS = 2**63  # so many clusters have keys of their own

Integers = npt.NDArray[np.int64]
Places = tuple[int, ...]


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
