"""A film of two cations with a free surface and mobile adatoms on it."""

from physics.slab.lattice import Slab, slab
from physics.slab.model import SegregationSlab
from physics.slab.simulation import SlabSimulation

__all__ = ["SegregationSlab", "Slab", "SlabSimulation", "slab"]
