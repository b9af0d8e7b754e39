"""The features of two species as sums of products of spins, and what a move reads of them.

With σ = −1 and 1 for the two species, every function of the species of a cluster is a sum of
products of its spins, and so is every feature: F = Σ weight · (product over a few sites). Products
with the same weights are one :class:`SpinProducts`; a pair that several interactions contain is one
product. A move has one *difference* for each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.multispin.accounts import FIELD_DIGITS, digits_of, reach_of
from latticescape.physics.lattices.lattice import Sites
from latticescape.physics.models.interactions import Interaction
from latticescape.physics.models.model import Floats

# So many tuples of sites have keys of their own.
MOST_KEYS = 2**63


@dataclass(frozen=True, eq=False)
class SpinProducts:
    """Products of spins that add the same to every feature.

    Attributes
    ----------
    clusters
        The sites of each product, (products, sites of a product) int32.
    weights
        What a product adds to each feature, (features,).
    """

    clusters: Sites
    weights: Floats

    @property
    def sign(self) -> int:
        """The product of spins is ``sign`` if an odd number of them is up, else ``−sign``."""
        return sign_of(self.clusters.shape[1])


def sign_of(width: int) -> int:
    """The product of so many spins of which an odd number is up."""
    return 1 if width % 2 else -1


def fits_products(interactions: Sequence[Interaction], sites: int) -> bool:
    """Whether :func:`spin_products` supports some interactions: of two species at most, and few
    enough sites."""
    widest = max(each.clusters.shape[1] for each in interactions)
    species = {size for each in interactions for size in next(iter(each.values.values())).shape}
    return bool(max(species) <= 2 and sites**widest < MOST_KEYS)


def spin_products(
    interactions: Sequence[Interaction], features: Sequence[str], sites: int
) -> list[SpinProducts]:
    """The features as products of spins; the constants are a product of no site.

    Parameters
    ----------
    interactions
        Of a model of two species; a site that holds one species only has the first.
    features
        Which features, in their order; the others are left out.
    sites
        Number of sites of the lattice.

    Examples
    --------
    >>> pairs = Interaction(np.array([[0, 1], [1, 2]]), {"unlike": np.array([[0, 1], [1, 0]])})
    >>> [(p.clusters.tolist(), p.weights.tolist()) for p in spin_products([pairs], ["unlike"], 3)]
    [([[]], [1.0]), ([[0, 1], [1, 2]], [-0.5])]
    """
    parts: dict[int, list[tuple[Sites, Floats]]] = {}
    for each in interactions:
        shape = next(iter(each.values.values())).shape
        free = [axis for axis, size in enumerate(shape) if size > 1]
        for width in range(len(free) + 1):
            for axes in combinations(free, width):
                sign = np.prod([2 * np.indices(shape)[axis] - 1 for axis in axes], axis=0)
                weights = np.array(
                    [
                        float((sign * each.values[name]).sum()) / np.prod(shape)
                        if name in each.values
                        else 0.0
                        for name in features
                    ]
                )
                if weights.any():
                    parts.setdefault(width, []).append((each.clusters[:, axes], weights))
    return [group for width in sorted(parts) for group in _merged(parts[width], sites)]


def _merged(parts: Sequence[tuple[Sites, Floats]], sites: int) -> list[SpinProducts]:
    """Add the weights of products of the same sites, and group them by their weights."""
    clusters = np.sort(np.concatenate([part for part, _ in parts]), axis=1)
    keys = np.zeros(len(clusters), np.int64)
    for column in clusters.T:
        keys = keys * sites + column
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    lengths = [len(part) for part, _ in parts]
    # Weights are whole numbers over powers of two, so that sums are exact.
    columns = np.stack([weights for _, weights in parts], axis=1)
    sums = [np.bincount(which, weights=np.repeat(column, lengths)) for column in columns]
    total: Floats = np.stack(sums, axis=1).astype(float)
    return [
        SpinProducts(np.ascontiguousarray(clusters[first[rows]], np.int32), weights)
        for weights, rows in _by_value(total)
        if weights.any()
    ]


def _by_value(rows: Floats) -> list[tuple[Floats, npt.NDArray[np.intp]]]:
    """The different rows, and where each stands."""
    values, which = np.unique(rows, axis=0, return_inverse=True)
    return [(value, np.flatnonzero(which.ravel() == k)) for k, value in enumerate(values)]


@dataclass(frozen=True, eq=False)
class Differences:
    """What a move reads: for each difference, tuples of sites around a site.

    A tuple counts if an odd number of its spins is up. The energy of a move changes by the sum of
    σ · amplitude · difference, σ the spin of the (first) site. The difference of an exchange is the
    number of tuples around the first site that count, less that of the second. That of a flip is
    the number of tuples that count, less half of all tuples; if their number is odd, twice as much.

    Attributes
    ----------
    rows
        (sites, columns) int32: the tuples of every difference, each site as the number of words
        before its row.
    shape
        For each difference, the tuples of a site, and the sites of a tuple.
    digits
        For each difference, the digits of its account.
    weights
        Amplitude of each difference per unit of each feature, (differences, features).
    field
        Whether the last difference is a field of all sites, and the first one a coupling.
    """

    rows: Sites
    shape: tuple[tuple[int, int], ...]
    digits: tuple[int, ...]
    weights: Floats
    field: bool = False


# The tuples of one difference, (sites, tuples, sites of a tuple), the digits of its account, and
# its weights.
Part = tuple[Sites, int, Floats]


def exchange_differences(
    products: Sequence[SpinProducts], features: int, pools: Sequence[Sites], sites: int, words: int
) -> Differences:
    """The differences of exchanges between the sites of a pool.

    Products of a single site, and what is left of an odd number of missing tuples, count where they
    are not alike for all sites of a pool.

    Parameters
    ----------
    products
        Those of the features with an energy.
    features
        Number of these features.
    pools
        The sites of each pool.
    sites, words
        Number of sites, and of words in a row of spins.
    """
    around, alone = _tuples(products, features, sites)
    parts = [(table, digits_of(table.shape[1]), -4 * weights) for table, weights in around]
    for pool in pools:
        values, numbers = np.unique(alone[pool], axis=0, return_counts=True)
        alone[pool] -= values[np.argmax(numbers)]
    active = np.concatenate(pools)
    for value, rows in _by_value(alone[active]):
        if value.any():
            member = np.full((sites, 1, 1), sites)
            member[active[rows]] += 1
            parts.append((member, digits_of(1), -2 * value))
    return _differences(parts, features, sites, words)


def flip_differences(
    products: Sequence[SpinProducts], features: int, active: Sites, sites: int
) -> Differences:
    """The differences of single flips, in rows of one word.

    Each value of the products of a single site is a field. That of all sites is one neighbour,
    which is always up; that of some sites are two neighbours, which cancel at the others.

    Parameters
    ----------
    products, features, sites
        As of :func:`exchange_differences`.
    active
        The sites that change.
    """
    around, alone = _tuples(products, features, sites)
    fields = [(value, active[rows]) for value, rows in _by_value(alone[active]) if value.any()]
    everywhere = [len(own) for _, own in fields] == [len(active)]
    parts = []
    for table, weights in around:
        most = table.shape[1]
        parts.append((table, digits_of(reach_of(most)), -(2 if most % 2 else 4) * weights))
    for value, own in fields:
        field = np.full((sites, 1 if everywhere else 2, 1), sites + 1)
        field[:, 0] = sites
        field[own, 0] = sites + 1
        parts.append((field, FIELD_DIGITS, -2 * value))
    return replace(_differences(parts, features, sites, 1), field=everywhere and len(around) > 0)


def _tuples(
    products: Sequence[SpinProducts], features: int, sites: int
) -> tuple[list[tuple[Sites, Floats]], Floats]:
    """For the products of two and more sites, the tuples around each site, and the weight of one
    that counts; and the weights of the products of a single site, (sites, features).

    Missing tuples are made of two further rows of spins: ``sites`` is always down and ``sites + 1``
    always up. They are paired such that they cancel; what is left of an odd number is a product of
    a single site.
    """
    found, alone = [], np.zeros((sites, features))
    for product in products:
        width = product.clusters.shape[1]
        if width == 1:
            alone[product.clusters[:, 0]] += product.weights
        if width < 2:
            continue
        around, sign = _around(product.clusters, sites), sign_of(width - 1)
        missing = around[:, :, 0] < 0
        # One of two missing tuples counts.
        odd = np.cumsum(missing, axis=1) % 2 == 0
        around[missing] = sites
        around[:, :, 0] += missing & odd
        alone += sign * np.outer(missing.sum(axis=1) % 2, product.weights)
        found.append((around, sign * product.weights))
    return found, alone


def _differences(parts: Sequence[Part], features: int, sites: int, words: int) -> Differences:
    # Nothing has an energy: one difference that is always zero.
    nothing = (np.full((sites, 1, 1), sites), digits_of(1), np.zeros(features))
    tables, digits, weights = zip(*(parts or [nothing]), strict=True)
    columns = [table.reshape(sites, -1) for table in tables]
    return Differences(
        np.ascontiguousarray(np.concatenate(columns, axis=1) * words, np.int32),
        tuple((table.shape[1], table.shape[2]) for table in tables),
        digits,
        np.stack(weights),
    )


def _around(clusters: Sites, sites: int) -> Sites:
    """The other sites of the clusters of each site, (sites, most, width − 1), −1 for none."""
    width = clusters.shape[1]
    own = clusters.T.ravel()
    others = np.concatenate([np.delete(clusters, k, axis=1) for k in range(width)])
    order = np.argsort(own, kind="stable")
    numbers = np.bincount(own, minlength=sites)
    first = np.cumsum(numbers) - numbers
    place = np.arange(len(own)) - first[own[order]]
    table = np.full((sites, int(numbers.max()), width - 1), -1, np.int32)
    table[own[order], place] = others[order]
    return table
