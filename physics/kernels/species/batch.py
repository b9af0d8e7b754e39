"""``SpeciesBatch``: one point of a model with any species and clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.batches import Batch, Chosen, flipped
from latticescape.physics.kernels.reference import Sums, Trace
from latticescape.physics.kernels.species.exponential import exp_of
from latticescape.physics.kernels.species.local_energies import LocalEnergies
from latticescape.physics.kernels.species.moves import (
    Measured,
    Moves,
    Pairs,
    add_classes,
    add_moments,
    count_features,
    exchange_all,
    flip_all,
)
from latticescape.physics.kernels.streams import next_below, replica_state
from latticescape.physics.lattices.configurations import Configurations, code_weights
from latticescape.physics.lattices.geometry import MOST_SHELLS, shell_steps
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import ClassRows, SiteClasses, class_rows
from latticescape.physics.models.interactions import Integers, Interaction
from latticescape.physics.models.model import REPLICAS, Floats, features_of, starts_ordered
from latticescape.physics.variables import Words, bits_of, pack_replicas, unpack_species

# Two starts have equal energies if they differ by less than this share.
ROUNDING = 1e-9

# Starts that are not one species on all sites.
AT_RANDOM, SORTED = -1, -2


class SpeciesTask(NamedTuple):
    """One point: its seed (4,), temperature, couplings (features,), and the conserved number of
    sites of each species on each sublattice, (sublattices, species); None if it floats."""

    seed: Words
    temperature: float
    couplings: Floats
    numbers: Integers | None


@dataclass(frozen=True, eq=False)
class SpeciesTables:
    """What all points of a block share.

    Parameters
    ----------
    lattice, species
        The lattice, and the number of species that each site of its basis may hold.
    interactions
        The interactions.
    classes
        The configuration classes.
    spins
        The order parameter of each species, (components, species), for each site of the basis.
    pool_names
        The sublattice of each site of the basis, within which sites are exchanged.
    neighbors_only
        Whether exchanges are of nearest neighbours of one sublattice.
    """

    lattice: Lattice
    species: tuple[int, ...]
    interactions: tuple[Interaction, ...]
    classes: Configurations | SiteClasses
    spins: tuple[Floats, ...]
    pool_names: tuple[str, ...]
    neighbors_only: bool = False

    @cached_property
    def energies(self) -> LocalEnergies:
        return LocalEnergies(self.lattice, self.species, self.interactions)

    @cached_property
    def pools(self) -> list[npt.NDArray[np.int32]]:
        """The sites of each sublattice, in the order of the basis."""
        names = np.array(self.pool_names)
        own = np.tile(names, self.lattice.sites // len(names))
        return [
            np.flatnonzero(own == name).astype(np.int32) for name in dict.fromkeys(self.pool_names)
        ]

    @cached_property
    def active_pools(self) -> list[npt.NDArray[np.int32]]:
        """The sites of each sublattice with two species or more."""
        return [pool for pool in self.pools if self.species[pool[0] % len(self.species)] > 1]

    @cached_property
    def pairs(self) -> Pairs:
        sizes = [len(pool) for pool in self.active_pools]
        active = np.concatenate(self.active_pools)
        return Pairs(
            active=active,
            pool_first=np.repeat(np.cumsum([0, *sizes[:-1]]), sizes),
            pool_size=np.repeat(sizes, sizes),
            partners=self._partners(active) if self.neighbors_only else _no_columns(active),
        )

    @cached_property
    def moves(self) -> Moves:
        own = np.array(self.species, np.int32)
        return Moves(
            pairs=self.pairs,
            local=self.energies.tables,
            species=own[self.pairs.active % len(own)],
            mixed=len({q for q in self.species if q > 1}) > 1,
        )

    def _partners(self, active: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The neighbours of the same sublattice, (active, most), −1 for none: of the first shells
        that connect all of its sites, so that every arrangement can be reached.

        Raises
        ------
        RequestError
            If eight shells do not connect them.
        """
        for shells in range(1, MOST_SHELLS + 1):
            table = self._neighbors_of_pool(shells)
            if all(_connected(table, pool) for pool in self.active_pools):
                return np.ascontiguousarray(table[active])
        raise RequestError(
            "exchanges of neighbours do not connect the sites of a sublattice",
            came='exchange = "neighbors"',
            allowed=f"a sublattice whose sites are connected by {MOST_SHELLS} shells",
            hint='exchange = "any"',
        )

    def _neighbors_of_pool(self, shells: int) -> npt.NDArray[np.int32]:
        """The neighbours in so many shells that are of the same sublattice, (sites, most)."""
        basis = len(self.pool_names)
        columns = [
            [
                self.lattice.sites_at(step.cells, step.target)
                for shell in range(1, shells + 1)
                for step in shell_steps(self.lattice.geometry, shell)[site]
                if self.pool_names[step.target] == self.pool_names[site]
            ]
            for site in range(basis)
        ]
        most = max(1, max(map(len, columns)))
        table = np.full((self.lattice.sites // basis, basis, most), -1, np.int32)
        for site, reached in enumerate(columns):
            for k, column in enumerate(reached):
                table[:, site, k] = column
        return table.reshape(self.lattice.sites, most)

    @cached_property
    def rows(self) -> ClassRows:
        """Where the class of each site is read."""
        return class_rows(self.lattice, self.classes)

    @cached_property
    def measured(self) -> Measured:
        features = features_of(self.interactions)
        widest = max(each.clusters.shape[1] for each in self.interactions)
        clusters, strides, first, values = [], [], [0], []
        for each in self.interactions:
            width = each.clusters.shape[1]
            shape = next(iter(each.values.values())).shape
            padding = ((0, 0), (0, widest - width))
            clusters.append(np.pad(each.clusters, padding, constant_values=-1))
            strides.append([*code_weights(shape).tolist(), *[0] * (widest - width)])
            first.append(first[-1] + int(np.prod(shape)))
            table = np.zeros((len(features), first[-1] - first[-2]), np.int64)
            for name, numbers in each.values.items():
                table[features.index(name)] = numbers.ravel()
            values.append(table)
        used = [[features.index(name) for name in each.values] for each in self.interactions]
        rows = self.rows
        components = max(len(own) for own in self.spins)
        spins = np.zeros((components, len(self.species), max(self.species)))
        for site, own in enumerate(self.spins):
            spins[: own.shape[0], site, : own.shape[1]] = own
        numbers_of = [len(part) for part in clusters]
        return Measured(
            clusters=np.ascontiguousarray(np.concatenate(clusters)),
            strides=np.array(strides, np.int64),
            interaction=np.repeat(np.arange(len(clusters)), numbers_of),
            first=np.array(first[:-1], np.int64),
            values=np.concatenate(values, axis=1),
            feature_first=np.cumsum([0, *map(len, used)]),
            feature=np.array([f for each in used for f in each], np.int64),
            centers=rows.centers,
            around=rows.around,
            around_strides=rows.strides,
            class_first=rows.first,
            classes=rows.classes,
            spins=spins,
            spin_kind=np.arange(self.lattice.sites) % len(self.species),
        )

    def first_species(self, task: SpeciesTask) -> tuple[npt.NDArray[np.uint8], Words]:
        """The species that the replicas of a point start with, (sites, 64), and their generators
        after drawing them, (4, 64)."""
        spins = np.zeros((self.lattice.sites, REPLICAS), np.uint8)
        states = np.empty((4, REPLICAS), np.uint64)
        starts, state = self.starts(task), np.empty(4, np.uint64)
        for replica in range(REPLICAS):
            replica_state(task.seed, replica, state)
            for number, pool in enumerate(self.pools):
                species = self.species[pool[0] % len(self.species)]
                if task.numbers is not None:
                    of_each = task.numbers[number, :species]
                    arrange(spins, replica, pool, of_each, state)
                    if starts[replica] == SORTED:
                        spins[pool, replica] = np.repeat(np.arange(species), of_each)
                elif starts[replica] >= 0:
                    spins[pool, replica] = starts[replica]
                else:
                    scatter(spins, replica, pool, species, state)
            states[:, replica] = state
        return spins, states

    def starts(self, task: SpeciesTask) -> Integers:
        """The species that all sites of each replica start with, (64,); ``AT_RANDOM`` for a random
        arrangement, ``SORTED`` for one with conserved atoms sorted by species.

        A uniform start is taken if its energy is below that of a random arrangement, because
        ordered phases grow slowly from random ones. The uniform starts share the replicas as they
        share the probability, exp(−E/T).
        """
        at_random = np.full(REPLICAS, AT_RANDOM, np.int64)
        if task.numbers is not None:
            return np.where(starts_ordered(self.lattice), SORTED, AT_RANDOM)
        if len(set(self.species)) > 1:
            return at_random
        features = features_of(self.interactions)
        uniform, mixed = np.zeros(self.species[0]), 0.0
        for each in self.interactions:
            for name, values in each.values.items():
                coupling = task.couplings[features.index(name)] * len(each.clusters)
                diagonal = (np.arange(self.species[0]),) * values.ndim
                uniform += coupling * values[diagonal]
                mixed += coupling * float(values.mean())
        scale = ROUNDING * (np.abs(uniform).max() + abs(mixed))
        if uniform.min() >= mixed - scale:
            return at_random
        above = uniform - uniform.min()
        shares = exp_of(-np.where(above <= scale, 0.0, above) / task.temperature)
        places = (np.arange(REPLICAS) + 0.5) / REPLICAS
        found: Integers = np.searchsorted(np.cumsum(shares) / shares.sum(), places)
        return found


class SpeciesBatch(Batch):
    """One point, 64 replicas."""

    def __init__(
        self, tables: SpeciesTables, task: SpeciesTask, sums: Sums, traces: Sequence[Trace] = ()
    ) -> None:
        self.tables, self.task, self.sums, self.traces = tables, task, sums, traces
        self.table, self.factors = tables.energies.table(task.couplings, task.temperature)
        self.spins, self.states = tables.first_species(task)
        self.shared = np.empty(4, np.uint64)
        self.flips_globally = task.numbers is None
        replica_state(task.seed, REPLICAS, self.shared)

    @cached_property
    def _features(self) -> Integers:
        return np.empty((len(self.task.couplings), REPLICAS), np.int64)

    @cached_property
    def _last_species(self) -> npt.NDArray[np.uint8]:
        """The highest species of every site, (sites, 1)."""
        own = np.array(self.tables.species, np.uint8) - np.uint8(1)
        return np.tile(own, len(self.spins) // len(own))[:, None]

    def global_flip(self, clock: int) -> None:
        """Attempt to reverse the order of the species on all sites: 0 and 1, or −1 and 1."""
        before = self.energies()[0]
        self.spins = self._last_species - self.spins
        rise = (self.energies()[0] - before) / self.task.temperature
        kept = ~flipped(self.task.seed, clock, 1 / (1 + exp_of(rise)))
        self.spins[:, kept] = self._last_species - self.spins[:, kept]

    def advance(self, mcs: int) -> None:
        beta, moves = 1 / self.task.temperature, self.tables.moves
        if self.task.numbers is None:
            flip_all(self.spins, self.states, beta, moves, self.table, self.factors, mcs)
        else:
            shared, table = self.shared, self.table
            exchange_all(self.spins, self.states, shared, beta, moves, table, self.factors, mcs)

    def add_sample(self, sample: int) -> None:
        measured, before = self.tables.measured, self.sums.histogram.copy() if self.traces else 0
        count_features(self.spins, measured, self._features)
        self.sums.features[...] += self._features.T
        add_moments(self.spins, self._features, self.task.couplings, measured, self.sums.moments)
        add_classes(self.spins, measured, self.sums.histogram)
        for trace in self.traces:
            trace.record(sample, self._features.T, self.sums.histogram - before)

    def checkpoint(self, place: int) -> None:
        self.sums.checkpoints[place] = self.sums.features

    def _planes(self) -> Words:
        """The bits of the species of all sites, (bits, sites)."""
        bits = range(bits_of(max(self.tables.species)))
        return np.stack(
            [pack_replicas(((self.spins.T >> bit) & 1).astype(np.uint8)) for bit in bits]
        )

    def dynamics(self) -> Words:
        words = [self._planes().ravel(), self.states.ravel(), self.shared]
        return np.concatenate(words)[None, :]

    def set_dynamics(self, words: Words) -> None:
        sites, planes = len(self.spins), bits_of(max(self.tables.species))
        self.spins[...] = unpack_species(words[0, : planes * sites].reshape(planes, sites)).T
        rest = words[0, planes * sites :]
        self.states[...] = rest[: self.states.size].reshape(self.states.shape)
        self.shared[...] = rest[self.states.size :]

    def finish(self) -> None:
        """Record the last species; the sums were added in place."""
        for trace in self.traces:
            planes = self._planes()
            trace.finish(planes[0] if len(planes) == 1 else planes)

    def energies(self) -> Floats:
        count_features(self.spins, self.tables.measured, self._features)
        energy = np.zeros(REPLICAS)
        for coupling, values in zip(self.task.couplings, self._features, strict=True):
            energy += coupling * values
        return energy[None, :]

    def swap(self, place: int, other: "SpeciesBatch", there: int, chosen: Chosen) -> None:
        mine = self.spins[:, chosen]
        self.spins[:, chosen] = other.spins[:, chosen]
        other.spins[:, chosen] = mine


def _connected(table: npt.NDArray[np.int32], pool: npt.NDArray[np.int32]) -> bool:
    """Whether steps to neighbours lead from each site of a pool to all others."""
    from scipy.sparse import coo_array  # lazy: slow, and a plan needs none of it
    from scipy.sparse.csgraph import connected_components

    rows, columns = np.nonzero(table[pool] >= 0)
    ends = (pool[rows], table[pool[rows], columns])
    graph = coo_array((np.ones(len(rows), bool), ends), shape=(len(table), len(table)))
    _, labels = connected_components(graph, directed=False)
    return len(np.unique(labels[pool])) == 1


def _no_columns(active: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.empty((len(active), 0), np.int32)


@compiled
def arrange(spins: Any, replica: Any, pool: Any, numbers: Any, state: Any) -> None:
    """Draw a random arrangement of these numbers of each species on the sites of a pool."""
    left = numbers.copy()
    for k in range(len(pool)):
        drawn = next_below(state, len(pool) - k)
        species = 0
        while drawn >= left[species]:
            drawn -= left[species]
            species += 1
        left[species] -= 1
        spins[pool[k], replica] = species


@compiled
def scatter(spins: Any, replica: Any, pool: Any, species: Any, state: Any) -> None:
    """Draw the species of every site of a pool independently, all equally probable."""
    for k in range(len(pool)):
        spins[pool[k], replica] = next_below(state, species)
