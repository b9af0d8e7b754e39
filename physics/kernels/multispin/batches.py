"""Batches of the multispin kernel: eight points of 64 replicas at once, one bit for each replica.

Points are taken in groups of eight, the last one filled up with copies of its first point. A word
never feels its companions, so groups, order and filling change no bit of a result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.batches import Batch, Chosen, flipped
from latticescape.physics.kernels.boltzmann import boltzmann_multiples, occupation
from latticescape.physics.kernels.kernel import Rule
from latticescape.physics.kernels.multispin import demon, demon_exchange, exchange, heat_bath
from latticescape.physics.kernels.multispin.counting import (
    count_classes,
    count_unlike,
    count_up,
)
from latticescape.physics.kernels.multispin.demon import DemonRule
from latticescape.physics.kernels.multispin.demon_exchange import exchange_accounts
from latticescape.physics.kernels.multispin.exchange import (
    BondTable,
    acceptance_filter,
    bond_table,
    first_order,
)
from latticescape.physics.kernels.multispin.features import (
    MOST_KEYS,
    ClassSums,
    MultispinSums,
    class_sums,
    combine,
)
from latticescape.physics.kernels.multispin.heat_bath import HeatBathRule, rule, visits
from latticescape.physics.kernels.multispin.simd import WORDS, aligned
from latticescape.physics.kernels.multispin.thresholds import (
    Words,
    metropolis_planes,
    seed_state,
    threshold_planes,
)
from latticescape.physics.kernels.reference import Integers, Sums, Task, Trace, draw_arrangement
from latticescape.physics.kernels.streams import replica_state
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.model import Model, Orbit, features_of

Floats = npt.NDArray[np.float64]

# Exchanges: shells. Single flips: couplings in the heat bath, and with those that filter.
MOST_SHELLS = 2
HEAT_BATH = 2
MOST_COUPLINGS = 12

# No replica.
NONE = np.uint64(0)

# Where "auto" takes Metropolis' rule: the mean-field critical temperature over T, and the largest
# field in units of all couplings of a site.
SLOW = (1.2, 2.0)
WEAK = 0.1


def fits_multispin(model: Model, lattice: Lattice, orbits: Sequence[Orbit]) -> bool:
    """Whether the multispin kernel supports a model.

    Single flips: fields, and bonds of up to twelve couplings that are alike all over the lattice.
    Exchanges: bonds of one or two shells, or triangles, but not on a torus of two cells, where a
    ring meets itself, nor on more sites than :func:`class_sums` can tell. Of random bonds those of
    two signs alone; others: :func:`fits_site_tables`.
    """
    widths = [orbit.clusters.shape[1] for orbit in orbits]
    if model.move == "single_flip":
        return set(widths) <= {1, 2} and widths.count(2) <= MOST_COUPLINGS
    if widths == [3]:
        return min(lattice.shape) > 2 and lattice.sites**3 <= MOST_KEYS
    return set(widths) == {2} and len(widths) <= MOST_SHELLS


T = TypeVar("T")


@dataclass(frozen=True)
class MultispinTables:
    """What all groups of a block share: the lattice's tables as the lanes read them.

    Parameters
    ----------
    lattice, orbits
        As of the model.
    acting
        The features that have an energy anywhere in the sweep.
    rule, demon_period, stride_mcs
        As of the schedule; with ``"auto"`` each point chooses its own rule.
    """

    lattice: Lattice
    orbits: Sequence[Orbit]
    acting: frozenset[str]
    rule: Rule = "heat_bath"
    demon_period: int = 0
    stride_mcs: int = 1

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return features_of(self.orbits)

    @cached_property
    def pairs(self) -> list[Orbit]:
        """The bond orbits that have an energy; the first one if none has."""
        bonds = [orbit for orbit in self.orbits if orbit.clusters.shape[1] == 2]
        return [orbit for orbit in bonds if self.acts(orbit)] or bonds[:1]

    def acts(self, orbit: Orbit) -> bool:
        """Whether an orbit has an energy anywhere in the sweep."""
        return not self.acting.isdisjoint(orbit.values)

    @cached_property
    def around(self) -> list[Sites]:
        """The other ends of each site's bonds, orbit by orbit, (sites, z)."""
        return [_other_ends(orbit.clusters, self.lattice.sites) for orbit in self.pairs]

    @cached_property
    def visits(self) -> Sites:
        """What a sweep of single flips looks at, site after site."""
        return visits(np.concatenate(self.around, axis=1))

    @cached_property
    def sizes(self) -> list[int]:
        """Neighbours of a site by each orbit's bonds."""
        return [table.shape[1] for table in self.around]

    @cached_property
    def field(self) -> bool:
        """Whether a flip can have an energy apart from that of like and unlike neighbours."""
        sites = [orbit for orbit in self.orbits if orbit.clusters.shape[1] == 1]
        return any(map(self.acts, sites)) or any(
            value[0] != value[-1] for orbit in self.pairs for value in orbit.values.values()
        )

    def demons_pay(self, *, exchange: bool, field: bool) -> bool:
        """Whether demons pay for exchanges, or for flips with or without a field.

        With ``"auto"``, they pay for exchanges, and for flips that a single account decides:
        several accounts have to agree, and do so less often. Samples must be at least a period
        apart: between two draws of its account a demon only moves energy from site to site, so
        samples that are closer have almost the same energy.
        """
        if self.rule == "auto":
            single = not field and len(self.pairs) == 1
            return self.stride_mcs >= self.demon_period and (exchange or single)
        return self.rule == "demon"

    @cached_property
    def bonds(self) -> BondTable:
        """What an exchange over each bond looks at."""
        edges = any(orbit.clusters.shape[1] == 3 for orbit in self.orbits)
        return bond_table(self.lattice, [_shell(orbit) for orbit in self.pairs] or [1], edges)

    @cached_property
    def sites(self) -> Sites:
        """All sites, (sites, 1)."""
        return np.arange(self.lattice.sites, dtype=np.int32)[:, None]

    @cached_property
    def rings(self) -> Sites:
        """Every site and its ring, (sites, 1 + z)."""
        return np.hstack([self.sites, self.lattice.neighbors(1)])

    @cached_property
    def sums(self) -> list[ClassSums | None]:
        """How the features of each orbit follow from the class counts, where they do."""
        return [class_sums(self.lattice, orbit) for orbit in self.orbits]

    @cached_property
    def combinations(self) -> tuple[Integers, Integers]:
        """Weights (features + 1, classes) of the class counts, and divisors (features + 1,): the
        features, zero where the classes do not tell, and last the number of up spins."""
        up = class_sums(self.lattice, Orbit(self.sites, {"up": (0, 1)}))
        weights, divisors = [], []
        for orbit, sums in zip((*self.orbits, None), (*self.sums, up), strict=True):
            rows = 1 if orbit is None else len(orbit.values)
            nothing = np.zeros((rows, self.classes), np.int64)
            weights.append(nothing if sums is None else sums.weights)
            divisors += [1 if sums is None else sums.divisor] * rows
        return np.concatenate(weights), np.array(divisors, np.int64)

    @cached_property
    def classes(self) -> int:
        """Number of configuration classes."""
        return len(configurations(self.lattice.kind))


class MultispinBatch(Batch):
    """Eight points: spins, generators and sums.

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
        tables: MultispinTables,
        tasks: Sequence[Task],
        sums: Sequence[Sums],
        traces: Sequence[Trace] = (),
        numbers: Sequence[int] = (),
    ) -> None:
        self.tables, self.targets, self.traces, self.numbers = tables, sums, traces, numbers
        self.tasks = [*tasks, *[tasks[0]] * (WORDS - len(tasks))]
        self.state = seed_state(np.stack([task.seed for task in self.tasks]))
        self.spins = aligned((tables.lattice.sites, WORDS))
        couplings = np.stack([task.couplings for task in self.tasks])
        self.sums = MultispinSums(couplings, tables.classes, tables.lattice.sites)
        self.prepare()

    def prepare(self) -> None:
        """Make the tables of the moves and the first spins."""
        return

    def add_sample(self, sample: int) -> None:
        histogram, features, up = self._measured()
        self.sums.add(histogram, features, up)
        for word, trace in enumerate(self.traces):
            trace.record(sample, features[:, :, word].T, histogram[:, :, word].T)

    def checkpoint(self, place: int) -> None:
        self.sums.checkpoints[place] = self.sums.features

    @property
    def points(self) -> int:
        return len(self.targets)

    def dynamics(self) -> Words:
        return dynamics_of(self.points, self.spins, self.state)

    def set_dynamics(self, words: Words) -> None:
        set_dynamics_of(words, self.spins, self.state)
        self.sums.read(self.targets)

    def finish(self) -> None:
        self.sums.write(self.targets)
        for word, trace in enumerate(self.traces):
            trace.finish(self.spins[:, word])

    def energies(self) -> Floats:
        _, features, _ = self._measured()
        return self.sums.energies(features)

    def swap(self, place: int, other: "MultispinBatch", there: int, chosen: Chosen) -> None:
        mask = np.packbits(chosen, bitorder="little").view(np.uint64)[0]
        swap_words(self.spins, place, other.spins, there, mask)

    def _measured(self) -> tuple[Integers, Integers, Integers]:
        """Class counts, features and up spins of the whole lattice, lanes last."""
        tables = self.tables
        histogram = count_classes(self.spins, tables.rings, tables.classes)
        found = combine(*tables.combinations, histogram)
        features, up = found[:-1], found[-1]
        first = 0
        for orbit, sums in zip(tables.orbits, tables.sums, strict=True):
            if sums is None:
                self._count_pairs(orbit, up, features[first : first + len(orbit.values)])
            first += len(orbit.values)
        return histogram, features, up

    def _count_pairs(self, orbit: Orbit, up: Integers, features: Integers) -> None:
        """Fill in the features of bonds that the classes do not tell."""
        unlike, bonds = count_unlike(self.spins, orbit.clusters)[0], len(orbit.clusters)
        like_up = (2 * bonds // len(self.spins) * up - unlike) // 2
        for row, (none, one, both) in enumerate(orbit.values.values()):
            features[row] = none * bonds + (one - none) * unlike + (both - none) * like_up


class FlipBatch(MultispinBatch):
    """Eight points with single flips."""

    flips_globally = True

    def prepare(self) -> None:
        draw_spins(self.spins, self.state, *start_masks(self.tasks))

    @cached_property
    def _seeds(self) -> Words:
        """Of the points, (points, 4)."""
        return np.stack([task.seed for task in self.tasks[: self.points]])

    @cached_property
    def _inverted(self) -> Floats:
        """Probability of a global flip by the number of up spins, (points, sites + 1)."""
        return np.stack([_inverted(self.tables, task) for task in self.tasks[: self.points]])

    def global_flip(self, clock: int) -> None:
        up = count_up(self.spins, self.tables.sites)[0]
        invert(self.spins, self._seeds, clock, up, self._inverted)


class HeatBathBatch(FlipBatch):
    """Eight points with heat-bath single flips."""

    metropolis = False

    def prepare(self) -> None:
        super().prepare()
        self.rule = flip_rule(self.tables, self.tasks, metropolis=self.metropolis)

    def advance(self, mcs: int) -> None:
        visited, words = self.tables.visits, self.points
        heat_bath.advance(self.spins, visited, self.rule, self.state, mcs, words=words)


class MetropolisBatch(HeatBathBatch):
    """Eight points with Metropolis single flips."""

    metropolis = True


class DemonBatch(FlipBatch):
    """Eight points with single flips that demons pay for."""

    def prepare(self) -> None:
        super().prepare()
        self.rule = account_rule(self.tables, self.tasks)

    def advance(self, mcs: int) -> None:
        demon.advance(self.spins, self.tables.visits, self.rule, self.state, mcs, self.points)


class ExchangeBatch(MultispinBatch):
    """Eight points with exchanges at fixed composition."""

    def prepare(self) -> None:
        self.amplitudes = np.stack([_amplitudes(self.tables, task) for task in self.tasks], axis=-1)
        self.make_rule(np.array([task.temperature for task in self.tasks]))
        self.order = first_order()
        for word, task in enumerate(self.tasks):
            sorted_ = start_masks([task])[1][0]
            arrange(self.spins, word, task.seed, task.n_species1, sorted_)

    def make_rule(self, temperatures: Floats) -> None:
        """Make the table that decides about exchanges."""
        self.rule = acceptance_filter(self.tables.bonds, self.amplitudes, temperatures)

    def dynamics(self) -> Words:
        return dynamics_of(self.points, self.spins, self.state, self.order)

    def set_dynamics(self, words: Words) -> None:
        set_dynamics_of(words, self.spins, self.state, self.order)
        self.sums.read(self.targets)

    def advance(self, mcs: int) -> None:
        exchanges = mcs * len(self.spins)
        bonds, words = self.tables.bonds, self.points
        exchange.advance(self.spins, bonds, self.rule, self.state, self.order, exchanges, words)


class DemonExchangeBatch(ExchangeBatch):
    """Eight points with exchanges that demons pay for."""

    def make_rule(self, temperatures: Floats) -> None:
        self.accounts = exchange_accounts(
            self.tables.bonds, self.amplitudes, temperatures, self.tables.demon_period
        )

    def advance(self, mcs: int) -> None:
        bonds, words = self.tables.bonds, self.points
        demon_exchange.advance(self.spins, bonds, self.accounts, self.state, self.order, mcs, words)


def multispin_batches(
    tables: MultispinTables,
    tasks: Sequence[Task],
    sums: Sequence[Sums],
    traces: Sequence[Trace] = (),
) -> Iterator[MultispinBatch]:
    """All points, in groups of at most eight that move by the same rule."""
    groups: dict[tuple[type[MultispinBatch], bool], list[int]] = {}
    for number, task in enumerate(tasks):
        groups.setdefault(_moves(tables, task), []).append(number)
    for (kind, _), numbers in groups.items():
        for of_eight in eights(numbers, tasks, sums, traces):
            yield kind(tables, *of_eight)


def eights(
    numbers: Sequence[int], tasks: Sequence[T], sums: Sequence[Sums], traces: Sequence[Trace]
) -> Iterator[tuple[list[T], list[Sums], Sequence[Trace], Sequence[int]]]:
    """The tasks, sums, traces and numbers of some points, at most eight at a time."""
    for first in range(0, len(numbers), WORDS):
        eight = numbers[first : first + WORDS]
        own = [traces[n] for n in eight] if traces else ()
        yield [tasks[n] for n in eight], [sums[n] for n in eight], own, eight


def _moves(tables: MultispinTables, task: Task) -> tuple[type[MultispinBatch], bool]:
    """How the spins of a point move, and whether demons need an account for its field."""
    if task.n_species1 >= 0:
        demons = tables.demons_pay(exchange=True, field=False)
        return (DemonExchangeBatch if demons else ExchangeBatch), False
    field = bool(_field(tables, task, _pair_energy_steps(tables, task)))
    if tables.demons_pay(exchange=False, field=field):
        return DemonBatch, field
    slow = tables.rule == "auto" and relaxes_slowly(tables, task)
    return (MetropolisBatch if slow or tables.rule == "metropolis" else HeatBathBatch), False


def relaxes_slowly(tables: MultispinTables, task: Task) -> bool:
    """Whether a point is near the temperature at which its couplings order the spins.

    There Metropolis' rule, which makes more changes, relaxes the slow modes in fewer steps. Far
    above, spins that nothing holds would be turned over in every step, so that products of two of
    them, as in the energy, stay as they were. Far below and in a field, nothing is slow. The
    temperature is that of a mean field, lowered by as much as the couplings disagree.
    """
    pairs = _pair_energy_steps(tables, task)
    pulls = [z * float(low - high) / 4 for z, (low, high) in pairs]
    total, scale = sum(pulls), task.temperature * sum(map(abs, pulls))
    weak = abs(_field(tables, task, pairs)) / 2 <= WEAK * total
    return total > 0 and weak and SLOW[0] * scale <= total * total <= SLOW[1] * scale


def dynamics_of(points: int, spins: Words, state: Words, order: Words | None = None) -> Words:
    """Spins (sites, 8), generators (4, 8) and order (8, 4) of so many points, (points, words)."""
    words = np.concatenate([spins, state]).T[:points]
    if order is None:
        return words
    # All parts of the order are equally far.
    return np.concatenate([words, np.tile(order[0], (points, 1))], axis=1)


def set_dynamics_of(words: Words, spins: Words, state: Words, order: Words | None = None) -> None:
    """Write what :func:`dynamics_of` returned; words without a point get those of the first."""
    columns = np.concatenate([words, *[words[:1]] * (WORDS - len(words))]).T
    sites = len(spins)
    spins[...], state[...] = columns[:sites], columns[sites : sites + len(state)]
    if order is not None:
        order[...] = words[0, sites + len(state) :]


@compiled
def swap_words(spins: Any, word: Any, other: Any, there: Any, mask: Any) -> None:
    """Exchange the replicas set in ``mask`` between two words."""
    for site in range(len(spins)):
        differ = (spins[site, word] ^ other[site, there]) & mask
        spins[site, word] ^= differ
        other[site, there] ^= differ


@compiled
def invert(spins: Any, seeds: Any, clock: Any, up: Any, inverted: Any) -> None:
    """Invert all spins of the replicas that accept a global flip: up spins (64, 8), probabilities
    (points, sites + 1)."""
    probability = np.empty(up.shape[0])
    for word in range(len(seeds)):
        for replica in range(len(probability)):
            probability[replica] = inverted[word, up[replica, word]]
        chosen, mask = flipped(seeds[word], clock, probability), np.uint64(0)
        for replica in range(len(probability)):
            mask |= np.uint64(chosen[replica]) << np.uint64(replica)
        if mask != 0:
            for site in range(len(spins)):
                spins[site, word] ^= mask


@compiled
def draw_spins(spins: Any, state: Any, half: Any, up: Any) -> None:
    """Spins up where ``up`` has the replica's bit, at random where ``half`` has it."""
    for site in range(spins.shape[0]):
        for word in range(spins.shape[1]):
            a, b, c = state[0, word], state[1, word], state[2, word]
            out = a + b + state[3, word]
            state[3, word] += np.uint64(1)
            state[0, word] = b ^ (b >> np.uint64(11))
            state[1, word] = c + (c << np.uint64(3))
            state[2, word] = ((c << np.uint64(24)) | (c >> np.uint64(40))) + out
            spins[site, word] = (out & half[word]) | up[word]


@compiled
def arrange(spins: Any, word: Any, seed: Any, n_species1: Any, ordered: Any = NONE) -> None:
    """An arrangement of exactly ``n_species1`` species-1 sites in every replica of a word: random,
    or on the first sites where ``ordered`` has the replica's bit."""
    state, plain = np.empty(4, np.uint64), np.empty(len(spins), np.uint8)
    for replica in range(64):
        replica_state(seed, replica, state)
        draw_arrangement(plain, state, n_species1)
        if (ordered >> np.uint64(replica)) & np.uint64(1):
            plain[:n_species1] = 1
            plain[n_species1:] = 0
        for site in range(len(spins)):
            spins[site, word] |= np.uint64(plain[site]) << np.uint64(replica)


def flip_rule(
    tables: MultispinTables, tasks: Sequence[Task], *, metropolis: bool = False
) -> HeatBathRule:
    """P(up) = 1 / (1 + exp(ΔE/T)) by the number of up neighbours in the first shells, and what the
    others let through; or Metropolis' rule for the same energies."""
    up = [_probabilities(tables, task) for task in tasks]
    # ΔE/T of each unlike neighbour more, by coupling.
    steps = [
        [(high - low) / task.temperature for _, (low, high) in further[HEAT_BATH:]]
        for task in tasks
        for further in [_pair_energy_steps(tables, task)]
    ]
    return rule(
        (metropolis_planes if metropolis else threshold_planes)(np.stack(up, axis=-1)),
        tables.sizes[:HEAT_BATH],
        filters=(tables.sizes[HEAT_BATH:], np.stack(steps, axis=-1)),
    )


def account_rule(tables: MultispinTables, tasks: Sequence[Task]) -> DemonRule:
    """The accounts of demons: of each coupling, and of the field if the points have one."""
    temperatures = np.array([task.temperature for task in tasks])
    pairs = [_pair_energy_steps(tables, task) for task in tasks]
    steps = [[high - low for _, (low, high) in further] for further in pairs]
    rise = [_field(tables, task, further) for task, further in zip(tasks, pairs, strict=True)]
    return demon.demon_rule(
        np.array(steps).T / temperatures,
        tables.sizes,
        np.array(rise) / temperatures if any(rise) else None,
        tables.demon_period,
    )


def _field(tables: MultispinTables, task: Task, pairs: Sequence[tuple[int, Floats]]) -> float:
    """The energy of a flip to up, apart from the couplings in ``pairs``; the mean of theirs is part
    of it."""
    energy_steps = zip(tables.orbits, task.energy_steps, strict=True)
    alone = sum(float(step[0]) for orbit, step in energy_steps if orbit.clusters.shape[1] == 1)
    return alone + sum(float(z * (low + high) / 2) for z, (low, high) in pairs)


def _probabilities(tables: MultispinTables, task: Task) -> Floats:
    """Of up, by the number of up neighbours of the couplings in the heat bath.

    A further coupling adds jumps[0] to ΔE for a neighbour that is down and jumps[1] for one that is
    up; the mean of all is a field, and belongs here.
    """
    pairs = _pair_energy_steps(tables, task)
    rise = np.array(_field(tables, task, pairs[HEAT_BATH:]))
    for z, (low, high) in pairs[:HEAT_BATH]:
        ups = np.arange(z + 1)
        rise = rise[..., None] + low * (z - ups) + high * ups
    with np.errstate(over="ignore"):
        return occupation(rise.ravel() / task.temperature)


def _pair_energy_steps(tables: MultispinTables, task: Task) -> list[tuple[int, Floats]]:
    """Neighbours and energy jumps by coupling."""
    energy_steps = zip(tables.orbits, task.energy_steps, strict=True)
    acting = [
        energy_step
        for orbit, energy_step in energy_steps
        if any(orbit is pair for pair in tables.pairs)
    ]
    return [(z, energy_step[:2]) for z, energy_step in zip(tables.sizes, acting, strict=True)]


def _inverted(tables: MultispinTables, task: Task) -> Floats:
    """1 / (1 + exp(ΔE/T)) of an inversion of all spins, by how many are up, (sites + 1,)."""
    field = _field(tables, task, _pair_energy_steps(tables, task)) / task.temperature
    sites = tables.lattice.sites
    factor = boltzmann_multiples(abs(field), np.abs(sites - 2 * np.arange(sites + 1)))
    uphill = field * (sites - 2 * np.arange(sites + 1)) > 0
    probability: Floats = np.where(uphill, factor, 1.0) / (1.0 + factor)
    return probability


def _amplitudes(tables: MultispinTables, task: Task) -> Floats:
    """Energy of one step of each difference of an exchange: the acting shells, then the edges.

    A site that gives up species 1 changes a cluster's energy by −``jumps`` of the other sites'
    number of ones. For a bond that is a + b·n, and a cancels between the two ends. For a triangle
    it is a + b·n + c·[n = 1]; summed over the ring, n counts every unshared neighbour twice, and
    [n = 1] is an unlike edge, of which two make a step.
    """
    found, edges = dict.fromkeys([_shell(orbit) for orbit in tables.pairs] or [1], 0.0), 0.0
    for orbit, (none, one, *both) in zip(tables.orbits, task.energy_steps, strict=True):
        if orbit.clusters.shape[1] == 3:
            found[1] += none - both[0]
            edges += none + both[0] - 2 * one
        elif any(orbit is pair for pair in tables.pairs):
            found[_shell(orbit)] += none - one
    return np.array([*found.values(), *[edges] * tables.bonds.edges])


def _shell(orbit: Orbit) -> int:
    """The neighbour shell of an orbit's bonds, from its features' names."""
    return int(next(iter(orbit.values)).rsplit("_", 1)[1])


def _other_ends(bonds: Sites, sites: int) -> Sites:
    """Neighbours over bonds of which each site has as many, (sites, z)."""
    ends = np.concatenate([bonds, bonds[:, ::-1]])
    order = np.argsort(ends[:, 0], kind="stable")
    found: Sites = ends[order, 1].reshape(sites, -1)
    return found


def start_masks(
    tasks: Sequence[Task],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Bits of the replicas that start at random, and of those that start up, a word each."""
    probability = np.stack([task.initial_up_probability for task in tasks])
    place = np.uint64(1) << np.arange(probability.shape[1], dtype=np.uint64)
    masks = [
        np.where(probability == value, place, np.uint64(0)).sum(axis=1) for value in (0.5, 1.0)
    ]
    return masks[0].astype(np.uint64), masks[1].astype(np.uint64)
