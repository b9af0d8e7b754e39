"""Kinetic Monte Carlo: models that hop, in real time."""

from physics.kmc.adatoms import Adatoms
from physics.kmc.kinetics import Kinetics
from physics.kmc.trajectories import Trajectory, trajectory

__all__ = [
    "Adatoms",
    "Kinetics",
    "Trajectory",
    "trajectory",
]
