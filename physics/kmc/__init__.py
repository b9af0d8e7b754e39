"""Kinetic Monte Carlo: models that hop, in real time."""

from physics.kmc.adatoms import KINETIC_MODELS, Adatoms
from physics.kmc.kinetics import Kinetics
from physics.kmc.simulations import simulation_of
from physics.kmc.trajectories import Trajectory, trajectory

__all__ = [
    "KINETIC_MODELS",
    "Adatoms",
    "Kinetics",
    "Trajectory",
    "simulation_of",
    "trajectory",
]
