"""Random bonds in lanes: eight points at once, each with the bonds of its own realisation."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.boltzmann import boltzmann, boltzmann_multiples, occupation
from latticescape.physics.kernels.multispin import (
    heat_bath as single_flip,
)
from latticescape.physics.kernels.multispin import (
    site_heat_bath as site_flip,
)
from latticescape.physics.kernels.multispin.blocks import (
    LaneGroup,
    LaneTables,
    draw_spins,
    flip_rule,
    start_masks,
)
from latticescape.physics.kernels.multispin.counting.counters import count_up
from latticescape.physics.kernels.multispin.heat_bath import Rule, Signs
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.multispin.site_heat_bath import MOST_NEIGHBORS, Terms, site_terms
from latticescape.physics.kernels.multispin.thresholds import thresholds
from latticescape.physics.kernels.reference import Integers, Sums, Task
from latticescape.physics.kernels.traces import Trace
from latticescape.physics.models.model import Model, Orbit

Floats = npt.NDArray[np.float64]
Sites = npt.NDArray[Any]

# Products of Boltzmann factors below this have lost digits.
SMALLEST = 1e-280


def fits_site_tables(model: Model, orbits: Sequence[Orbit], sites: int) -> bool:
    """Whether the lanes can run a model of random bonds: single flips, up to six neighbours."""
    bonds = [orbit.clusters for orbit in orbits if orbit.clusters.shape[1] == 2]
    widest = max(orbit.clusters.shape[1] for orbit in orbits)
    around = 2 * sum(map(len, bonds)) // sites
    return model.move == "single_flip" and widest == 2 and around <= MOST_NEIGHBORS


class DisorderedTables(LaneTables):
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


class DisorderedGroup(LaneGroup):
    """Eight points under single flips, each with its own bonds.

    Parameters
    ----------
    tables, tasks, sums, traces
        As of :class:`LaneGroup`.
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
        draw_spins(self.spins, self.state, *start_masks(self.tasks))

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


class TableGroup(DisorderedGroup):
    """Bonds of any strength: every site has its own table."""

    @cached_property
    def terms(self) -> Terms:
        """The tables of all sites, in the order of a sweep."""
        own = zip(self.tasks, self.weights, strict=True)
        return site_terms(np.stack([thresholds(_up(self.disorder, *o)[self.order]) for o in own]))

    def advance(self, mcs: int) -> None:
        site_flip.advance(self.spins, self.tables.visits, self.terms, self.state, mcs)


class SignedGroup(DisorderedGroup):
    """Bonds of one strength and two signs: all sites have one table, neighbours are turned over."""

    @cached_property
    def rule(self) -> Rule:
        """The table, of bonds as strong as these."""
        strength = np.abs(self.weights).max(axis=1)
        return flip_rule(
            self.tables,
            [
                task._replace(jumps=_strengthened(self.disorder, task.jumps, float(s)))
                for task, s in zip(self.tasks, strength, strict=True)
            ],
        )

    @cached_property
    def signs(self) -> Signs:
        """Signs of the bonds of each site, in the order of a sweep."""
        negative = np.packbits(self.weights < 0, axis=0, bitorder="little")[0]
        return np.ascontiguousarray(negative[self.disorder.bonds_around[self.order]])

    def advance(self, mcs: int) -> None:
        single_flip.advance(self.spins, self.tables.visits, self.rule, self.state, mcs, self.signs)

    def _weighted(self, bonds: Sites, weights: Integers) -> Integers:
        differ = unlike(self.spins, bonds, weights)
        rows = np.arange(len(bonds), dtype=np.int32)[:, None]
        strength = np.abs(weights).max(axis=1)
        found: Integers = strength * (len(bonds) - 2 * count_up(differ, rows)[0])
        return found


def _strengthened(tables: DisorderedTables, jumps: Floats, strength: float) -> Floats:
    """The energies of bonds multiplied by a number, those of sites as they are."""
    bonds = np.array([orbit.clusters.shape[1] == 2 for orbit in tables.orbits])
    return np.where(bonds[:, None], strength * jumps, jumps)


G = TypeVar("G", bound=DisorderedGroup)


def disordered_groups(
    kind: type[G],
    tables: DisorderedTables,
    tasks: Sequence[Task],
    sums: Sequence[Sums],
    traces: Sequence[Trace],
    weights: Sequence[Integers],
) -> Iterator[G]:
    """All points in groups of eight."""
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
    jumps = zip(tables.orbits, task.jumps, strict=True)
    return sum(float(j[0]) for o, j in jumps if o.clusters.shape[1] == 1) / task.temperature


def _steps(tables: DisorderedTables, task: Task, weights: Integers) -> tuple[Floats, Floats]:
    """x, which each bond to a neighbour that is up adds to ΔE/T, and exp(−|x|), (bonds,) each."""
    jumps = zip(tables.orbits, task.jumps, strict=True)
    units = [float(j[1]) / task.temperature for o, j in jumps if o.clusters.shape[1] == 2]
    parts = np.split(weights, np.cumsum([len(orbit.clusters) for orbit in tables.pairs])[:-1])
    found = [
        (unit * part, boltzmann_multiples(abs(unit), np.abs(part)))
        for unit, part in zip(units, parts, strict=True)
    ]
    x, factors = (np.concatenate(kind) for kind in zip(*found, strict=True))
    return x, factors
