"""``trajectory``: the hops of a few adatoms, one by one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kinetics import hopping
from latticescape.physics.kinetics.adatoms import Adatoms
from latticescape.physics.kinetics.kernel import surface_of, unit_of_time, walkers_of
from latticescape.physics.lattices.lattice import Lattice

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trajectory:
    """The hops of one replica, in order.

    Attributes
    ----------
    lattice
        The lattice on which the adatoms hop.
    starts
        Site of every adatom at time 0, (adatoms,).
    times
        Time of every hop, s, (hops,).
    adatoms, origins, targets
        Which adatom, from which site to which, (hops,).
    vectors
        The vector of every hop, (hops, 2), (x, y) in units of the nearest-neighbour distance.
    """

    lattice: Lattice
    starts: Integers
    times: Floats
    adatoms: Integers
    origins: Integers
    targets: Integers
    vectors: Floats

    def positions(self, times: npt.ArrayLike) -> Floats:
        """Unwrapped positions of the adatoms at some times, (times, adatoms, 2).

        Parameters
        ----------
        times
            s, from 0 to the last hop.

        Examples
        --------
        >>> from latticescape import square
        >>> film = trajectory(square(8), Adatoms(E_b=0.3, adatoms=2), {"T": 300.0}, hops=50, seed=1)
        >>> film.positions([0.0, film.times[-1]]).shape
        (2, 2, 2)
        """
        at = np.asarray(times, np.float64)
        if at.ndim != 1 or not np.all((at >= 0) & (at <= self.times[-1])):
            raise RequestError(
                "a time is outside of the trajectory",
                came=at,
                allowed=f"0 to {self.times[-1]:g} s",
                hint="more hops",
            )
        positions = np.repeat(self.lattice.positions[self.starts][None, :, :2], len(at), axis=0)
        for adatom in range(len(self.starts)):
            own = self.adatoms == adatom
            moved = np.concatenate([np.zeros((1, 2)), np.cumsum(self.vectors[own], axis=0)])
            positions[:, adatom] += moved[np.searchsorted(self.times[own], at, side="right")]
        return positions


def trajectory(
    lattice: Lattice,
    model: Adatoms,
    point: Mapping[str, float] | None = None,
    *,
    hops: int,
    seed: int | npt.NDArray[np.uint64] = 0,
    equilibration: int = 0,
) -> Trajectory:
    """Follow adatoms hop by hop, with the kernel that sweeps use.

    Parameters
    ----------
    lattice, model
        The lattice and the model.
    point
        Parameters that the model does not fix, such as ``{"T": 300.0}``.
    hops
        Number of hops of all adatoms together.
    seed
        An integer, or 256 bits, (4,) uint64.
    equilibration
        Number of hops before the first recorded hop.

    Raises
    ------
    RequestError
        If a parameter is missing or out of bounds, or the number of hops is below 1.

    Examples
    --------
    >>> from latticescape import square
    >>> film = trajectory(square(8), Adatoms(E_b=0.3, adatoms=1), {"T": 300.0}, hops=10, seed=1)
    >>> bool(np.all(np.diff(film.times) > 0)), np.abs(film.vectors).sum(axis=1).tolist()[:3]
    (True, [1.0, 1.0, 1.0])
    """
    if hops < 1 or equilibration < 0:
        raise RequestError("hops must be at least 1", came=hops, allowed="1 or more")
    full = complete(model, {name: np.array([v]) for name, v in (point or {}).items()}, 1)
    model.check_points(lattice, full)
    surface = surface_of(lattice, model, full)
    walkers = walkers_of(lattice, model, int(model.n_species1(full, lattice)[0]), replicas=1)
    if isinstance(seed, np.ndarray):
        bits = seed.astype(np.uint64)
    else:
        bits = np.random.SeedSequence(seed).generate_state(4, np.uint64).astype(np.uint64)
    hopping.initialize(walkers, bits, surface)
    hopping.advance(walkers, surface, equilibration)
    starts, times = walkers.sites[0].copy(), np.empty(hops)
    adatoms, ways, origins = (np.empty(hops, np.int64) for _ in range(3))
    hopping.follow(walkers, surface, times, adatoms, ways, origins)
    return Trajectory(
        lattice=lattice,
        starts=starts,
        times=times * unit_of_time(full),
        adatoms=adatoms,
        origins=origins,
        targets=surface.neighbors[origins, ways].astype(np.int64),
        vectors=surface.steps[origins % len(surface.steps), ways],
    )
