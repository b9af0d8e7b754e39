"""One point of a segregation slab whose replicas run one after the other."""

import numpy as np

from latticescape.physics.kernels.batches import Group
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.slab import reference
from latticescape.physics.slab.lattice import Slab
from latticescape.physics.slab.sums import SlabSums
from latticescape.physics.slab.tables import ARRANGEMENTS, tables_of
from latticescape.physics.slab.task import SlabTask


class SlabReference(Group):
    """One point under the plain scalar moves."""

    def __init__(self, lattice: Slab, task: SlabTask, sums: SlabSums) -> None:
        self.task, self.sums = task, sums
        self.tables = tables_of(lattice, task.bulk_pairs)
        self.bits = np.empty((REPLICAS, lattice.sites + lattice.hollows), np.uint8)
        self.states = np.empty((REPLICAS, 4), np.uint64)
        reference.begin(self.bits, self.states, task.seed, lattice.sites, task.calcium, task.oxygen)

    def advance(self, mcs: int) -> None:
        task = self.task
        reference.advance(self.bits, self.states, self.tables, task.couplings, task.heat, mcs)

    def add_sample(self, sample: int, early: bool) -> None:
        layers = self.sums.calcium.shape[1]
        features = np.empty((REPLICAS, 3), np.int64)
        classes = np.empty((REPLICAS, 2 * ARRANGEMENTS), np.int64)
        calcium = np.empty((REPLICAS, layers), np.int64)
        for replica, bits in enumerate(self.bits):
            reference.measure(
                bits, self.tables, features[replica], classes[replica], calcium[replica]
            )
        self.sums.add(features, classes, calcium, early=early)
