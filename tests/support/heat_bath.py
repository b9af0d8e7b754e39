"""Configurations from a program of its own: heat bath on whole sublattices, all trials at once."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Spins = npt.NDArray[np.int8]

NEIGHBORS = {
    "square": ((0, 1), (1, 0), (0, -1), (-1, 0)),
    "triangular": ((0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1)),
}


def heat_bath(
    kind: str,
    size: int,
    trials: int,
    energy: Callable[[list[Spins]], npt.NDArray[np.float64]],
    *,
    sweeps: int,
    seed: int,
) -> Spins:
    """Independent configurations of a periodic lattice, (trials, size, size) of 0 and 1.

    Parameters
    ----------
    kind, size
        The lattice; the size is even, or a multiple of three on the triangular lattice.
    trials
        How many configurations.
    energy
        Of species 1 minus that of species 0 over k_B T, for the neighbours in ring order.
    sweeps, seed
        Updates of every site, from a random start.
    """
    rng = np.random.default_rng(seed)
    row, column = np.indices((size, size))
    colour = (row + column) % 2 if kind == "square" else (row - column) % 3
    spins = (rng.random((trials, size, size)) < 0.5).astype(np.int8)
    for _ in range(sweeps):
        for own in range(int(colour.max()) + 1):
            ring = [np.roll(spins, (-a, -b), (1, 2)) for a, b in NEIGHBORS[kind]]
            up = rng.random(spins.shape) < 1 / (1 + np.exp(energy(ring)))
            spins = np.where(colour == own, up, spins).astype(np.int8)
    return spins
