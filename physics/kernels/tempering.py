"""Parallel tempering: configurations change places between neighbouring temperatures.

A *ladder* is the points of a grid that differ in temperature alone, coldest first. Replica l of a
point trades with replica l of the next hotter one, accepted with probability
min(1, exp((1/T − 1/T')(E − E'))), so every point still samples its own temperature, and replicas of
one point stay independent of each other. Even and odd pairs take turns.

References
----------
Hukushima and Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996), 10.1143/JPSJ.65.1604.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.streams import next_uniform, replica_state
from latticescape.physics.models.model import REPLICAS, Points

Floats = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]

# Sets a pair's stream apart from the stream of its colder point.
SALT = np.uint64(0x7465_6D70_6572_6564)


def ladders_of(points: Points) -> list[list[int]]:
    """Points that differ in T alone, coldest first; every point is in one ladder.

    Examples
    --------
    >>> ladders_of({"T": np.array([2.0, 1.0, 2.0]), "H": np.array([0.0, 0.0, 1.0])})
    [[1, 0], [2]]
    """
    found: dict[tuple[float, ...], list[int]] = {}
    for point in range(len(points["T"])):
        others = tuple(float(v[point]) for name, v in sorted(points.items()) if name != "T")
        found.setdefault(others, []).append(point)
    return [sorted(ladder, key=lambda p: float(points["T"][p])) for ladder in found.values()]


@dataclass
class Ladder:
    """One ladder on its way.

    Parameters
    ----------
    points
        Numbers of its points, coldest first.
    temperatures
        Theirs.
    seeds
        (points, 4) uint64; a pair draws from the seed of its colder point.

    Attributes
    ----------
    attempted, accepted
        Trades of every point, and of its replicas, with the next hotter point: (points,) and
        (points, 64); the hottest has none.
    """

    points: Sequence[int]
    temperatures: Floats
    seeds: npt.NDArray[np.uint64]
    turn: int = 0
    states: npt.NDArray[np.uint64] = field(init=False)
    attempted: npt.NDArray[np.int64] = field(init=False)
    accepted: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.attempted = np.zeros(len(self.points), np.int64)
        self.accepted = np.zeros((len(self.points), REPLICAS), np.int64)
        self.states = np.empty((len(self.points), REPLICAS, 4), np.uint64)
        for pair, seed in enumerate(self.seeds):
            for replica in range(REPLICAS):
                replica_state(seed ^ SALT, replica, self.states[pair, replica])

    def trades(self, energies: Floats, *, counted: bool) -> Iterator[tuple[int, int, Chosen]]:
        """The pairs whose turn it is, and the replicas that trade places.

        Parameters
        ----------
        energies
            Of every point of the ladder and replica, (points, 64).
        counted
            Whether these trades enter ``attempted`` and ``accepted``.
        """
        for pair in range(self.turn % 2, len(self.points) - 1, 2):
            beta = 1 / self.temperatures[pair : pair + 2]
            gain = (beta[0] - beta[1]) * (energies[pair] - energies[pair + 1])
            chosen = accepted(self.states[pair], gain)
            if counted:
                self.attempted[pair] += 1
                self.accepted[pair] += chosen
            yield self.points[pair], self.points[pair + 1], chosen
        self.turn += 1


@compiled
def accepted(states: Any, gain: Any) -> Any:
    """Which replicas trade: probability min(1, exp(gain)), one uniform number each."""
    chosen = np.empty(len(gain), np.bool_)
    for replica in range(len(gain)):
        u = next_uniform(states[replica])
        chosen[replica] = gain[replica] >= 0.0 or u < np.exp(gain[replica])
    return chosen
