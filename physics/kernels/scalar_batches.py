"""One point whose replicas run one after the other: the scalar kernels as groups."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels import reference, swendsen_wang
from latticescape.physics.kernels.batches import Floats, Group
from latticescape.physics.kernels.reference import (
    Sums,
    Tables,
    Task,
    Touching,
    clusters_of,
    touching,
)
from latticescape.physics.kernels.swendsen_wang import Bonds, bonds_of, thresholds
from latticescape.physics.kernels.tempering import Chosen
from latticescape.physics.kernels.traces import Trace, pack_replicas
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import REPLICAS, Orbit


class ScalarTables:
    """What all points of a block share: the lattice's tables as the scalar kernels read them."""

    def __init__(self, lattice: Lattice, orbits: Sequence[Orbit]) -> None:
        self.orbits = orbits
        self.measured = Tables(
            clusters_of(orbits), lattice.neighbors(1), configurations(lattice.kind).table
        )
        self._touching: dict[bytes, Touching] = {}

    @cached_property
    def bonds(self) -> Bonds:
        """All bonds, for cluster updates."""
        return bonds_of(self.orbits)

    def touching(self, task: Task) -> Touching:
        """The clusters that touch a site; orbits without energy at this point are left out: their
        zeros would change no bit, only time."""
        acting = np.any(task.jumps != 0, axis=1)
        key = acting.tobytes()
        if key not in self._touching:
            sites = len(self.measured.neighbors)
            self._touching[key] = touching(self.measured.clusters, sites, acting)
        return self._touching[key]


class ReferenceGroup(Group):
    """One point under the scalar reference moves."""

    def __init__(
        self, tables: ScalarTables, task: Task, sums: Sums, traces: Sequence[Trace] = ()
    ) -> None:
        self.tables, self.task, self.sums, self.traces = tables, task, sums, traces
        self.spins = np.empty((REPLICAS, len(tables.measured.neighbors)), np.uint8)
        self.states: npt.NDArray[np.uint64] = np.empty((REPLICAS, 4), np.uint64)
        reference.begin(self.spins, self.states, task)

    def advance(self, mcs: int) -> None:
        touched, neighbors = self.tables.touching(self.task), self.tables.measured.neighbors
        reference.advance(self.spins, self.states, self.task, touched, neighbors, mcs)

    def add_sample(self, sample: int, early: bool) -> None:
        features, histogram = self.sums.features, self.sums.histogram
        before = (features.copy(), histogram.copy()) if self.traces else (0, 0)
        reference.add_samples(self.spins, self.task, self.tables.measured, early, self.sums)
        for trace in self.traces:
            trace.record(sample, features - before[0], histogram - before[1])

    def write(self) -> None:
        """The last spins; the sums were added in place."""
        for trace in self.traces:
            trace.finish(pack_replicas(self.spins))

    def energies(self) -> Floats:
        found: Floats = reference.energies(self.spins, self.task, self.tables.measured)
        return found[None, :]

    def trade(self, place: int, other: "ReferenceGroup", there: int, chosen: Chosen) -> None:
        mine = self.spins[chosen]
        self.spins[chosen] = other.spins[chosen]
        other.spins[chosen] = mine


class ClusterGroup(ReferenceGroup):
    """One point under cluster updates."""

    def __init__(
        self, tables: ScalarTables, task: Task, sums: Sums, traces: Sequence[Trace] = ()
    ) -> None:
        super().__init__(tables, task, sums, traces)
        self.thresholds = thresholds(task)
        self.labels = np.arange(self.spins.shape[1], dtype=np.uint32)
        self.held = np.empty(len(tables.bonds.ends), np.uint32)

    def advance(self, mcs: int) -> None:
        swendsen_wang.advance(
            self.spins,
            self.states,
            self.tables.bonds,
            self.thresholds,
            self.labels,
            self.held,
            mcs,
        )
