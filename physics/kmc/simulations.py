"""Which kernel a model runs under: hops in real time, or Monte Carlo steps."""

from physics.kmc.adatoms import Adatoms
from physics.kmc.kinetics import Kinetics
from physics.lattices import Lattice
from physics.models import Model
from physics.schedule import Schedule
from physics.simulation import Simulation


def simulation_of(
    lattice: Lattice,
    model: Model,
    schedule: Schedule,
    swept: tuple[str, ...],
    keep: tuple[str, ...] = (),
) -> Simulation:
    """The model on the lattice, ready to compute points.

    Examples
    --------
    >>> from physics import Ising, square
    >>> simulation_of(square(8), Adatoms(E_b=0.3, adatoms=1), Schedule(0, 2, 1), ("T",)).name
    'kinetic'
    >>> simulation_of(square(8), Ising(), Schedule(0, 2, 1), ("T",)).name
    'lanes'
    """
    if isinstance(model, Adatoms):
        return Kinetics(lattice, model, schedule, swept, keep)
    return Simulation(lattice, model, schedule, swept, keep)
