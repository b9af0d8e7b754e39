"""Multispin coding of random bonds: eight points at once, each with its own realisation."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from latticescape.physics.compiled import compiled, intrinsic
from latticescape.physics.kernels.boltzmann import boltzmann, boltzmann_multiples, occupation
from latticescape.physics.kernels.multispin.batches import (
    FlipBatch,
    MultispinTables,
    flip_rule,
)
from latticescape.physics.kernels.multispin.counting import count_up
from latticescape.physics.kernels.multispin.heat_bath import (
    HeatBathRule,
    Signs,
    advance,
    metropolis,
)
from latticescape.physics.kernels.multispin.simd import (
    I64,
    WORDS,
    Emitter,
    indices,
    native_width,
    pack,
    pointer,
    register,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import (
    PLANES,
    Trial,
    Words,
    draw,
    linear,
    load_state,
    metropolis_thresholds,
    passed,
    products,
    store_state,
    thresholds,
)
from latticescape.physics.kernels.reference import Integers, Sums, Task, Trace
from latticescape.physics.models.model import Model, Orbit

Floats = npt.NDArray[np.float64]
Sites = npt.NDArray[Any]

# Products of Boltzmann factors below this have lost digits.
SMALLEST = 1e-280

Terms = npt.NDArray[np.uint8]

# Bit planes without a test. Changes only speed.
HOT = 11

# A table of more neighbours would not stay in a processor's cache.
MOST_NEIGHBORS = 6


def fits_site_tables(model: Model, orbits: Sequence[Orbit], sites: int) -> bool:
    """Whether the kernel supports a model of random bonds: single flips, up to six neighbours."""
    bonds = [orbit.clusters for orbit in orbits if orbit.clusters.shape[1] == 2]
    widest = max(orbit.clusters.shape[1] for orbit in orbits)
    around = 2 * sum(map(len, bonds)) // sites
    return model.move == "single_flip" and widest == 2 and around <= MOST_NEIGHBORS


class DisorderedTables(MultispinTables):
    """The lattice's tables, all bonds included: each has a draw, whether it acts or not."""

    @cached_property
    def pairs(self) -> list[Orbit]:
        """All bond orbits."""
        return [orbit for orbit in self.orbits if orbit.clusters.shape[1] == 2]

    @cached_property
    def bonds_around(self) -> Sites:
        """Numbers of each site's bonds, (sites, z), in the order of its neighbours."""
        found, first = [], 0
        for orbit in self.pairs:
            bonds = len(orbit.clusters)
            order = np.argsort(orbit.clusters.T.ravel(), kind="stable")
            found.append(first + order.reshape(self.lattice.sites, -1) % bonds)
            first += bonds
        return np.concatenate(found, axis=1)


class DisorderedBatch(FlipBatch):
    """Eight points under single flips, each with its own bonds.

    Parameters
    ----------
    tables, tasks, sums, traces
        As for :class:`MultispinBatch`.
    weights
        What each bond's coupling is multiplied by, in units of 2^−20, (bonds,) a point.
    """

    def __init__(
        self,
        tables: DisorderedTables,
        tasks: Sequence[Task],
        sums: Sequence[Sums],
        traces: Sequence[Trace],
        weights: Sequence[Integers],
    ) -> None:
        super().__init__(tables, tasks, sums, traces)
        self.disorder = tables
        self.weights = np.stack([*weights, *[weights[0]] * (WORDS - len(weights))])

    @property
    def metropolis(self) -> bool:
        """Whether flips follow Metropolis' rule."""
        return self.tables.rule == "metropolis"

    @property
    def order(self) -> Sites:
        """The sites in the order of a sweep."""
        visited: Sites = self.tables.visits[:, 0] // WORDS
        return visited

    def _measured(self) -> tuple[Integers, Integers, Integers]:
        histogram, features, up = super()._measured()
        first = 0
        for orbit in self.disorder.pairs:
            (name,) = orbit.values
            own = self.weights[:, first : first + len(orbit.clusters)]
            features[self.tables.features.index(name)] = self._weighted(orbit.clusters, own)
            first += len(orbit.clusters)
        return histogram, features, up

    def _weighted(self, bonds: Sites, weights: Integers) -> Integers:
        """Σ w s_i s_j of every replica, (64, 8)."""
        found: Integers = weighted(self.spins, bonds, weights)
        return found


class SiteTableBatch(DisorderedBatch):
    """Bonds of any strength: every site has its own table."""

    @cached_property
    def terms(self) -> Terms:
        """The tables of all sites, in the order of a sweep."""
        own = zip(self.tasks, self.weights, strict=True)
        numbers = metropolis_thresholds if self.metropolis else thresholds
        found = np.stack([numbers(_up(self.disorder, *o)[self.order]) for o in own])
        return site_terms(found, PLANES + self.metropolis)

    def advance(self, mcs: int) -> None:
        advance_site_tables(self.spins, self.tables.visits, self.terms, self.state, mcs)


class SignedBondBatch(DisorderedBatch):
    """Bonds of one strength and two signs: all sites have one table, neighbours are turned over."""

    @cached_property
    def rule(self) -> HeatBathRule:
        """The table, of bonds as strong as these."""
        strength = np.abs(self.weights).max(axis=1)
        return flip_rule(
            self.tables,
            [
                task._replace(
                    energy_steps=_strengthened(self.disorder, task.energy_steps, float(s))
                )
                for task, s in zip(self.tasks, strength, strict=True)
            ],
            metropolis=self.metropolis,
        )

    @cached_property
    def signs(self) -> Signs:
        """Signs of the bonds of each site, in the order of a sweep."""
        negative = np.packbits(self.weights < 0, axis=0, bitorder="little")[0]
        return np.ascontiguousarray(negative[self.disorder.bonds_around[self.order]])

    def advance(self, mcs: int) -> None:
        advance(self.spins, self.tables.visits, self.rule, self.state, mcs, self.signs)

    def _weighted(self, bonds: Sites, weights: Integers) -> Integers:
        differ = unlike(self.spins, bonds, weights)
        rows = np.arange(len(bonds), dtype=np.int32)[:, None]
        strength = np.abs(weights).max(axis=1)
        found: Integers = strength * (len(bonds) - 2 * count_up(differ, rows)[0])
        return found


def _strengthened(tables: DisorderedTables, energy_steps: Floats, strength: float) -> Floats:
    """The energies of bonds multiplied by a number, those of sites as they are."""
    bonds = np.array([orbit.clusters.shape[1] == 2 for orbit in tables.orbits])
    return np.where(bonds[:, None], strength * energy_steps, energy_steps)


G = TypeVar("G", bound=DisorderedBatch)


def disordered_batches(
    kind: type[G],
    tables: DisorderedTables,
    tasks: Sequence[Task],
    sums: Sequence[Sums],
    traces: Sequence[Trace],
    weights: Sequence[Integers],
) -> Iterator[G]:
    """Yield a batch for each eight points, the words of a register, with the points' own bonds."""
    for first in range(0, len(tasks), WORDS):
        eight = slice(first, first + WORDS)
        yield kind(tables, tasks[eight], sums[eight], traces[eight], weights[eight])


@compiled
def unlike(spins: Any, bonds: Any, weights: Any) -> Any:
    """Whether a bond raises the energy of a replica, (bonds, 8): unlike ends, or like ones over a
    negative bond."""
    found = np.empty((bonds.shape[0], spins.shape[1]), np.uint64)
    for bond in range(bonds.shape[0]):
        for word in range(spins.shape[1]):
            differ = spins[bonds[bond, 0], word] ^ spins[bonds[bond, 1], word]
            found[bond, word] = ~differ if weights[word, bond] < 0 else differ
    return found


@compiled
def weighted(spins: Any, bonds: Any, weights: Any) -> Any:
    """Σ w s_i s_j of every replica, (64, 8); ``weights`` is (8, bonds)."""
    found = np.zeros((64, spins.shape[1]), np.int64)
    unlike = np.empty(64, np.int64)
    for word in range(spins.shape[1]):
        unlike[:], whole = 0, 0
        for bond in range(bonds.shape[0]):
            weight = weights[word, bond]
            differ = spins[bonds[bond, 0], word] ^ spins[bonds[bond, 1], word]
            whole += weight
            for replica in range(64):
                unlike[replica] += weight * np.int64((differ >> np.uint64(replica)) & np.uint64(1))
        for replica in range(64):
            found[replica, word] = whole - 2 * unlike[replica]
    return found


def _up(tables: DisorderedTables, task: Task, weights: Integers) -> Floats:
    """P(up) = 1 / (1 + exp(ΔE/T)) of every site by which of its neighbours are up, (sites, 2^z).

    A bond adds ±x to ΔE/T. Factors exp(−|x|) are multiplied, those of what speaks against up and
    those of what speaks for it, since an exponential a bond is soon computed and one a class and
    site is not.
    """
    x, factors = _steps(tables, task, weights)
    rise = np.full((tables.lattice.sites, 1), _field(tables, task))
    against, for_ = boltzmann(np.maximum(rise, 0.0)), boltzmann(np.maximum(-rise, 0.0))
    for bonds in tables.bonds_around.T:
        step, factor = x[bonds, None], factors[bonds, None]
        uphill, downhill = np.where(step > 0, factor, 1.0), np.where(step < 0, factor, 1.0)
        against = np.concatenate([against * downhill, against * uphill], axis=1)
        for_ = np.concatenate([for_ * uphill, for_ * downhill], axis=1)
        rise = np.concatenate([rise - step, rise + step], axis=1)
    whole = against + for_
    lost = whole < SMALLEST
    found: Floats = against / np.where(lost, 1.0, whole)
    found[lost] = occupation(rise[lost])
    return found


def _field(tables: DisorderedTables, task: Task) -> float:
    """ΔE/T of a spin that turns up without neighbours."""
    energy_steps = zip(tables.orbits, task.energy_steps, strict=True)
    return sum(float(j[0]) for o, j in energy_steps if o.clusters.shape[1] == 1) / task.temperature


def _steps(tables: DisorderedTables, task: Task, weights: Integers) -> tuple[Floats, Floats]:
    """x, which each bond to a neighbour that is up adds to ΔE/T, and exp(−|x|), (bonds,) each."""
    energy_steps = zip(tables.orbits, task.energy_steps, strict=True)
    units = [float(j[1]) / task.temperature for o, j in energy_steps if o.clusters.shape[1] == 2]
    parts = np.split(weights, np.cumsum([len(orbit.clusters) for orbit in tables.pairs])[:-1])
    found = [
        (unit * part, boltzmann_multiples(abs(unit), np.abs(part)))
        for unit, part in zip(units, parts, strict=True)
    ]
    x, factors = (np.concatenate(kind) for kind in zip(*found, strict=True))
    return x, factors


def site_terms(t: npt.NDArray[Any], planes: int = PLANES) -> Terms:
    """Coefficients of every site's thresholds, (sites, planes, 2^z) bytes, bit w of a byte point
    w's.

    Parameters
    ----------
    t
        (8, sites, 2^z), from :func:`thresholds` or :func:`metropolis_thresholds`: bit j of a
        class's number is whether neighbour j is up. Overwritten.
    planes
        Bits of each of these numbers.
    """
    for place in range(t.shape[-1].bit_length() - 1):
        half = t.reshape(*t.shape[:2], -1, 2, 2**place)
        half[..., 1, :] ^= half[..., 0, :]
    terms = np.empty((t.shape[1], planes, t.shape[2]), np.uint8)
    pack_planes(t, terms)
    return terms


@compiled
def pack_planes(t: Any, terms: Any) -> None:
    """Gather a bit of the eight points' numbers in a byte, for every plane from the highest on."""
    for site in range(terms.shape[0]):
        for plane in range(terms.shape[1]):
            place = np.uint64(terms.shape[1] - 1 - plane)
            for term in range(terms.shape[2]):
                byte = np.uint64(0)
                for word in range(t.shape[0]):
                    bit = (np.uint64(t[word, site, term]) >> place) & np.uint64(1)
                    byte |= bit << np.uint64(word)
                terms[site, plane, term] = byte


def advance_site_tables(
    spins: Words,
    visited: Sites,
    terms: Terms,
    state: Words,
    mcs: int,
    width: tuple[int, ...] | None = None,
) -> None:
    """``mcs`` Monte Carlo steps, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    visited
        From :func:`visits`.
    terms
        From :func:`site_terms`, the sites in the order of ``visited``.
    state
        (4, 8) uint64 generators; advanced by one draw a site.
    width
        Words of a register; changes only speed.
    """
    zeros = native_width() if width is None else width
    kinds = ((0,) * (visited.shape[1] - 1), (0,) * (terms.shape[1] - PLANES))
    for part in range(WORDS // len(zeros)):
        site_table_flips(spins, visited, terms, state, part, mcs, zeros, kinds)


@compiled
def site_table_flips(
    spins: Any, visited: Any, terms: Any, state: Any, part: Any, mcs: Any, width: Any, kinds: Any
) -> None:
    """Update all sites ``mcs`` times with per-site tables, for the words of one register."""
    generator = load_state(state, part, width)
    for _ in range(mcs):
        for visit in range(visited.shape[0]):
            generator = update_from_site_table(spins, visited, visit, terms, part, generator, kinds)
    store_state(state, part, generator)


@intrinsic
def update_from_site_table(
    typingctx: Any,
    spins: Any,
    visited: Any,
    visit: Any,
    terms: Any,
    part: Any,
    generator: Any,
    kinds: Any,
) -> Any:
    """Draw or flip one site; returns the generators."""
    words, z, certain = generator.dtype.words, len(kinds[0]), len(kinds[1])
    signature = generator(spins, visited, visit, terms, part, generator, kinds)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[4], words)
        table = pointer(context, builder, visited, args[1])
        row = builder.mul(args[2], ir.Constant(I64, 1 + z))
        site, *others = indices(builder, table, row, 1 + z)
        masks = products(e, [e.load(column, place) for place in others], 2**z - 1)
        start = builder.mul(args[2], ir.Constant(I64, (PLANES + certain) * 2**z))
        own = builder.gep(pointer(context, builder, terms, args[3]), [start])

        def load(plane: int, term: int) -> Any:
            return e.spread(own, plane * 2**z + term, args[4])

        def chosen(plane: int) -> Any:
            return linear(e, load, plane, 0, masks)

        fresh, after = draw(e, unpack(builder, args[5], 4))
        if certain:
            new = metropolis(e, e.load(column, site), chosen, fresh, HOT)
        else:
            (new,) = passed(e, [Trial(chosen, fresh, e.zero)], HOT)
        e.store(new, column, site)
        return pack(context, builder, sig.return_type, after)

    return signature, codegen
