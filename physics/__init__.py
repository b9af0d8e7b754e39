"""Lattices, models, kernels and exact truths: numpy, numba and scipy only."""

from physics.alloys import PairAlloy, ThreeBodyAlloy
from physics.configurations import Configurations, configurations, count_configurations
from physics.errors import RequestError
from physics.ising import Ising
from physics.kmc import Adatoms, Trajectory, trajectory
from physics.lattices import LATTICES, Lattice, cubic, honeycomb, square, triangular
from physics.models import MODELS, Model
from physics.sampler import Samples, sample
from physics.schedule import Schedule
from physics.slab import SegregationSlab, Slab, slab
from physics.solid_solution import SolidSolution
from physics.structure_factor import structure_factor

__all__ = [
    "LATTICES",
    "MODELS",
    "Adatoms",
    "Configurations",
    "Ising",
    "Lattice",
    "Model",
    "PairAlloy",
    "RequestError",
    "Samples",
    "Schedule",
    "SegregationSlab",
    "Slab",
    "SolidSolution",
    "ThreeBodyAlloy",
    "Trajectory",
    "configurations",
    "count_configurations",
    "cubic",
    "honeycomb",
    "sample",
    "slab",
    "square",
    "structure_factor",
    "trajectory",
    "triangular",
]
