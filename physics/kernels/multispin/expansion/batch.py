"""Eight points of a model of two species with any clusters on any lattice."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.batches import Batch, Chosen
from latticescape.physics.kernels.multispin.batches import (
    dynamics_of,
    eights,
    set_dynamics_of,
    swap_words,
)
from latticescape.physics.kernels.multispin.counting import count_odd
from latticescape.physics.kernels.multispin.exchange import first_order
from latticescape.physics.kernels.multispin.expansion import exchange, flips
from latticescape.physics.kernels.multispin.expansion.classes import ClassCounter
from latticescape.physics.kernels.multispin.expansion.exchange import amplitudes_of
from latticescape.physics.kernels.multispin.expansion.products import (
    Differences,
    SpinProducts,
    exchange_differences,
    fits_products,
    flip_differences,
    spin_products,
)
from latticescape.physics.kernels.multispin.features import MultispinSums, combine
from latticescape.physics.kernels.multispin.simd import WORDS, aligned
from latticescape.physics.kernels.multispin.thresholds import seed_state
from latticescape.physics.kernels.reference import Sums, Trace
from latticescape.physics.kernels.species.batch import SpeciesTables, SpeciesTask
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.interactions import Integers
from latticescape.physics.models.model import REPLICAS, Floats, features_of
from latticescape.physics.variables import Words, pack_replicas

# Differences of a move, and columns of its table: more take long to compile.
MOST_DIFFERENCES = 8
MOST_COLUMNS = 64

NO_CLASSES = np.zeros((0, REPLICAS, WORDS), np.int64)


@dataclass(frozen=True, eq=False)
class ExpansionTables:
    """What all groups of a block share.

    Parameters
    ----------
    species
        The tables of the kernel of any species.
    acting
        The features that have an energy anywhere in the sweep.
    flips
        Whether sites are flipped, instead of exchanged.
    demon_period
        As of the schedule.
    """

    species: SpeciesTables
    acting: frozenset[str]
    flips: bool = False
    demon_period: int = 8

    @property
    def lattice(self) -> Lattice:
        return self.species.lattice

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return features_of(self.species.interactions)

    @property
    def fits(self) -> bool:
        """Whether the multispin kernel supports moves of this model on this lattice."""
        spins = [own for own in self.species.spins if own.shape[1] > 1]
        plain = all(np.array_equal(own, [[-1, 1]]) for own in spins)
        if not plain or not fits_products(self.species.interactions, self.lattice.sites):
            return False
        shape = self.differences.shape
        columns = sum(tuples * sites for tuples, sites in shape)
        return len(shape) <= MOST_DIFFERENCES and columns <= MOST_COLUMNS

    @cached_property
    def products(self) -> list[SpinProducts]:
        """All features as products of spins."""
        return spin_products(self.species.interactions, self.features, self.lattice.sites)

    @cached_property
    def acts(self) -> npt.NDArray[np.bool_]:
        """Of each feature whether it has an energy, (features,)."""
        return np.array([name in self.acting for name in self.features])

    @cached_property
    def differences(self) -> Differences:
        """The differences of a move, of the features that have an energy; those of a flip in rows
        of one word."""
        names = [name for name in self.features if name in self.acting]
        sites, species = self.lattice.sites, self.species
        acting = spin_products(species.interactions, names, sites) if names else []
        if self.flips:
            return flip_differences(acting, len(names), species.pairs.active, sites)
        return exchange_differences(acting, len(names), species.active_pools, sites, WORDS)

    def amplitudes(self, tasks: Sequence[SpeciesTask]) -> Floats:
        """The amplitudes of the differences at some points, (differences, points)."""
        couplings = np.stack([task.couplings for task in tasks])
        return amplitudes_of(self.differences, couplings[:, self.acts])

    @cached_property
    def visits(self) -> Sites:
        """What a sweep of flips reads, site after site."""
        return flips.visited_sites(self.differences, self.species.pairs.active)

    @cached_property
    def combinations(self) -> tuple[Integers, Integers]:
        """Weights (features, products) of the products with an odd number of up spins, the
        constants, and divisors (features,): the features."""
        width = max(product.clusters.shape[1] for product in self.products)
        scale = 2**width
        weights = np.zeros((len(self.features), len(self.products) + 1), np.int64)
        for k, product in enumerate(self.products):
            whole = np.rint(scale * product.sign * product.weights).astype(np.int64)
            # An odd number counts 1 and an even one −1.
            weights[:, k] = 2 * whole
            weights[:, -1] -= whole * len(product.clusters)
        return weights, np.full(len(self.features), scale, np.int64)

    @cached_property
    def counter(self) -> ClassCounter:
        """What counts the classes."""
        return ClassCounter(self.species)


class ExpansionBatch(Batch):
    """Eight points with moves that demons pay for.

    Parameters
    ----------
    tables
        Of the block.
    tasks, sums
        One to eight points, and where their sums go.
    traces
        Where their traces go; none if nothing is kept.
    numbers
        Indices of the points in the block.
    """

    def __init__(
        self,
        tables: ExpansionTables,
        tasks: Sequence[SpeciesTask],
        sums: Sequence[Sums],
        traces: Sequence[Trace] = (),
        numbers: Sequence[int] = (),
    ) -> None:
        self.tables, self.targets, self.traces, self.numbers = tables, sums, traces, numbers
        eight = [*tasks, *[tasks[0]] * (WORDS - len(tasks))]
        self.state, self.order = seed_state(np.stack([task.seed for task in eight])), first_order()
        sites = tables.lattice.sites
        # Two more rows, of zeros and of ones.
        self.rows = aligned((sites + 2, WORDS))
        self.rows[sites + 1] = ~np.uint64(0)
        self.spins = self.rows[:sites]
        for word, task in enumerate(tasks):
            self.spins[:, word] = pack_replicas(tables.species.first_species(task)[0].T)
        self.spins[:, len(tasks) :] = self.spins[:, :1]
        couplings = np.stack([task.couplings for task in eight])
        self.sums = MultispinSums(couplings, 0, len(tables.species.pairs.active))
        self.histogram = tables.counter.zeros()
        self.up = self.count_up()
        temperatures = np.array([task.temperature for task in eight])
        self.make_rule(tables.amplitudes(eight), temperatures)

    @abstractmethod
    def make_rule(self, amplitudes: Floats, temperatures: Floats) -> None:
        """Make the accounts that decide about moves."""

    @property
    def points(self) -> int:
        return len(self.targets)

    def count_up(self) -> Integers:
        """The number of sites with the second species, (64, 8)."""
        found: Integers = count_odd(self.spins, self.tables.species.pairs.active[:, None])[0]
        return found

    def add_sample(self, sample: int) -> None:
        counter, features = self.tables.counter, self._features()
        before = self.histogram.copy() if self.traces else self.histogram
        self.sums.add(NO_CLASSES, features, self.up)
        counter.add(self.spins, self.histogram, self.points)
        for word, trace in enumerate(self.traces):
            found = counter.of_word(self.histogram, word) - counter.of_word(before, word)
            trace.record(sample, features[:, :, word].T, found)

    def checkpoint(self, place: int) -> None:
        self.sums.checkpoints[place] = self.sums.features

    def finish(self) -> None:
        self.sums.write(self.targets)
        for word, target in enumerate(self.targets):
            target.histogram[...] = self.tables.counter.of_word(self.histogram, word)
        for word, trace in enumerate(self.traces):
            trace.finish(self.spins[:, word])

    def dynamics(self) -> Words:
        return dynamics_of(self.points, self.spins, self.state, self.order)

    def set_dynamics(self, words: Words) -> None:
        set_dynamics_of(words, self.spins, self.state, self.order)
        self.sums.read(self.targets)
        for word, source in enumerate(self.targets):
            self.tables.counter.of_word(self.histogram, word)[...] = source.histogram

    def energies(self) -> Floats:
        return self.sums.energies(self._features())

    def swap(self, place: int, other: "ExpansionBatch", there: int, chosen: Chosen) -> None:
        mask = np.packbits(chosen, bitorder="little").view(np.uint64)[0]
        swap_words(self.spins, place, other.spins, there, mask)

    def _features(self) -> Integers:
        """The features of the whole lattice, (features, 64, 8)."""
        weights, divisors = self.tables.combinations
        counts = np.zeros((weights.shape[1], *self.up.shape), np.int64)
        counts[-1] = 1
        for k, product in enumerate(self.tables.products):
            if product.clusters.shape[1]:
                counts[k] = count_odd(self.spins, product.clusters)[0]
        found: Integers = combine(weights, divisors, counts)
        return found


class ExchangeBatch(ExpansionBatch):
    """Eight points with exchanges at fixed composition."""

    def make_rule(self, amplitudes: Floats, temperatures: Floats) -> None:
        differences, period = self.tables.differences, self.tables.demon_period
        self.rule = exchange.accounts_of(differences, amplitudes, temperatures, period)

    def advance(self, mcs: int) -> None:
        rows, pairs = self.tables.differences.rows, self.tables.species.pairs
        moving = (self.rule, self.state, self.order, mcs, self.points)
        exchange.advance(self.rows, rows, pairs, *moving)


class FlipBatch(ExpansionBatch):
    """Eight points with single flips."""

    def make_rule(self, amplitudes: Floats, temperatures: Floats) -> None:
        differences, period = self.tables.differences, self.tables.demon_period
        self.rule = flips.flip_accounts(differences, amplitudes, temperatures, period)

    def advance(self, mcs: int) -> None:
        moving = (self.rule, self.state, self.order, mcs, self.points)
        flips.advance(self.rows, self.tables.visits, *moving)

    def add_sample(self, sample: int) -> None:
        self.up = self.count_up()
        super().add_sample(sample)


def expansion_batches(
    tables: ExpansionTables,
    tasks: Sequence[SpeciesTask],
    sums: Sequence[Sums],
    traces: Sequence[Trace] = (),
) -> Iterator[ExpansionBatch]:
    """All points, in groups of at most eight whose accounts have the same digits."""
    kind, groups = FlipBatch if tables.flips else ExchangeBatch, dict[bool, list[int]]()
    for number, task in enumerate(tasks):
        shifted = tables.flips and bool(
            flips.shifts_of(tables.differences, tables.amplitudes([task])).any()
        )
        groups.setdefault(shifted, []).append(number)
    for numbers in groups.values():
        for of_eight in eights(numbers, tasks, sums, traces):
            yield kind(tables, *of_eight)
