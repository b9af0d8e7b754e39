"""A model over a grid, simulated in this process: a Dataset as a sweep's, without a store."""

import hashlib
import struct
from collections.abc import Mapping
from itertools import product

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import Model

Axes = Mapping[str, npt.ArrayLike]


def simulate(
    lattice: Lattice,
    model: Model,
    grid: Axes,
    schedule: Schedule,
    seed: int = 0,
    *,
    keep: tuple[str, ...] = (),
) -> xr.Dataset:
    """Every point of a grid, as the Dataset a store of it would hold.

    Parameters
    ----------
    lattice, model, schedule
        What is simulated at every point.
    grid
        Values of each swept parameter.
    seed
        A point's random numbers are a hash of it, of the lattice's size and of all the model's
        parameters there: two lattices, or two draws of a posterior, are independent.
    keep
        What to hold besides the averages, such as ``("spins",)``.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> simulate(square(4), Ising(), {"T": [2.0, 3.0]}, Schedule(10, 5, 2)).energy.dims
    ('T',)
    """
    axes = {name: np.atleast_1d(np.asarray(v, float)) for name, v in grid.items()}
    simulation = LatticeKernel(lattice, model, schedule, tuple(axes), keep)
    simulation.check(axes)
    places = [dict(zip(axes, map(float, v), strict=True)) for v in product(*axes.values())]
    seeds = np.stack([_seed(seed, simulation, place) for place in places])
    points = {name: np.array([place[name] for place in places]) for name in axes}
    found = simulation.compute(points, seeds)
    shape = tuple(len(values) for values in axes.values())
    return xr.Dataset(
        {
            variable.name: (
                (*axes, *variable.dims),
                found[variable.name].reshape(shape + found[variable.name].shape[1:]),
                variable.attrs,
            )
            for variable in simulation.variables
        },
        coords={
            **{name: (name, v, simulation.axis_attrs(name)) for name, v in axes.items()},
            **simulation.coordinates,
        },
        attrs={**simulation.attrs, "lattice_size": lattice.size, "seed": seed},
    )


def _seed(
    seed: int, simulation: LatticeKernel, place: Mapping[str, float]
) -> npt.NDArray[np.uint64]:
    """256 bits, by BLAKE2b of the point's own parameters: no place in a grid enters."""
    message = f"latticescape diagram 1 {seed} {simulation.lattice}".encode()
    for name, value in sorted(simulation.parameters(place).items()):
        message += b"\0" + name.encode() + b"=" + struct.pack(">d", value + 0.0)
    digest = hashlib.blake2b(message, digest_size=32).digest()
    return np.frombuffer(digest, ">u8").astype(np.uint64)
