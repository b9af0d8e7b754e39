"""Blocks of points in lanes: eight points of 64 replicas at once, one bit a replica.

Points are taken in groups of eight, the last one filled up with copies of its first point. A word
never feels its companions, so groups, order and filling change no bit of a result.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from physics.compiled import compiled
from physics.configurations import configurations
from physics.counters import count_classes, count_unlike, count_up
from physics.lattices import Lattice
from physics.models import Model, Orbit, features_of
from physics.reference import Clusters, Sums, Task
from physics.simd import WORDS, aligned
from physics.single_flip import Rule, advance, rule, seed_state, threshold_planes

Floats = npt.NDArray[np.float64]
Times = tuple[int, int, int]

MOST_SHELLS = 2


def fits_lanes(model: Model, orbits: Sequence[Orbit]) -> bool:
    """Whether the lanes can run a model: single flips, fields, and bonds of one or two shells."""
    widths = [orbit.clusters.shape[1] for orbit in orbits]
    return model.move == "single_flip" and set(widths) <= {1, 2} and widths.count(2) <= MOST_SHELLS


class LaneGroup:
    """Eight points on their way: spins, generators and class tables.

    Parameters
    ----------
    lattice
        The lattice.
    orbits, clusters
        Of the model on it.
    tasks
        One to eight points.
    """

    def __init__(
        self, lattice: Lattice, orbits: Sequence[Orbit], clusters: Clusters, tasks: Sequence[Task]
    ) -> None:
        self.tasks = tasks
        filled = [*tasks, *[tasks[0]] * (WORDS - len(tasks))]
        self.couplings = np.stack([task.couplings for task in filled])
        self.features = features_of(orbits)
        shells = _shells(orbits)
        self.neighbors = np.concatenate([lattice.neighbors(k) for k in shells], axis=1)
        self.bonds = {k: lattice.bonds(k) for k in shells}
        sites = np.arange(lattice.sites, dtype=np.int32)[:, None]
        self.sites, self.rings = sites, np.hstack([sites, lattice.neighbors(1)])
        self.classes = len(configurations(lattice.kind))
        self.rule = _rule(lattice, orbits, filled)
        self.state = seed_state(np.stack([task.seed for task in filled]))
        self.spins = aligned((lattice.sites, WORDS))
        draw_spins(self.spins, self.state, *_start_masks(filled))

    def advance(self, mcs: int) -> None:
        """So many Monte Carlo steps."""
        advance(self.spins, self.neighbors, self.rule, self.state, mcs)

    def measure(self) -> dict[str, npt.NDArray[np.int64]]:
        """Every feature of the whole lattice, (64, 8) each."""
        up = count_up(self.spins, self.sites)[0]
        found = {"magnetization": 2 * up - len(self.spins)}
        for shell, bonds in self.bonds.items():
            unlike = count_unlike(self.spins, bonds)[0]
            found[f"spin_product_{shell}"] = len(bonds) - 2 * unlike
        return found

    def energy(self, found: Mapping[str, npt.NDArray[np.int64]]) -> Floats:
        """Energy of every replica, (64, 8), added up feature by feature in their order."""
        energy = np.zeros((64, WORDS))
        for f, name in enumerate(self.features):
            energy += self.couplings[:, f] * found[name]
        return energy

    def add_sample(self, sums: Sequence[Sums], early: bool) -> None:
        """Measure once and add it to the sums of each point."""
        found = self.measure()
        m, e = found["magnetization"].astype(float), self.energy(found)
        moments = np.stack([m, np.abs(m), m**2, (m**2) ** 2, e, e**2], axis=-1)
        features = np.stack([found[name] for name in self.features], axis=-1)
        histogram = count_classes(self.spins, self.rings, self.classes)
        for word, target in enumerate(sums):
            target.features[...] += features[:, word]
            target.moments[...] += moments[:, word]
            target.histogram[...] += histogram[:, :, word].T
            if early:
                target.first_half[...] += features[:, word]


def sample_group(group: LaneGroup, times: Times, sums: Sequence[Sums]) -> None:
    """Equilibrate, then sample: ``times`` is (equilibration_mcs, samples, stride_mcs)."""
    equilibration, samples, stride = times
    group.advance(equilibration)
    for sample in range(samples):
        group.advance(stride)
        group.add_sample(sums, early=sample < samples // 2)


@compiled
def draw_spins(spins: Any, state: Any, half: Any, ones: Any) -> None:
    """Spins up where ``ones`` has the replica's bit, at random where ``half`` has it."""
    for site in range(spins.shape[0]):
        for word in range(spins.shape[1]):
            a, b, c = state[0, word], state[1, word], state[2, word]
            out = a + b + state[3, word]
            state[3, word] += np.uint64(1)
            state[0, word] = b ^ (b >> np.uint64(11))
            state[1, word] = c + (c << np.uint64(3))
            state[2, word] = ((c << np.uint64(24)) | (c >> np.uint64(40))) + out
            spins[site, word] = (out & half[word]) | ones[word]


def _shells(orbits: Sequence[Orbit]) -> list[int]:
    """The neighbour shells of the bond orbits, from their features' names."""
    bonds = [orbit for orbit in orbits if orbit.clusters.shape[1] == 2]
    return [int(next(iter(orbit.values)).rsplit("_", 1)[1]) for orbit in bonds]


def _rule(lattice: Lattice, orbits: Sequence[Orbit], tasks: Sequence[Task]) -> Rule:
    """P(up) = 1 / (1 + exp(ΔE/T)) by the number of up neighbours in each shell."""
    sizes = [lattice.neighbors(k).shape[1] for k in _shells(orbits)]
    tables = np.stack([_probabilities(orbits, sizes, task) for task in tasks], axis=-1)
    return rule(threshold_planes(tables), sizes)


def _probabilities(orbits: Sequence[Orbit], sizes: Sequence[int], task: Task) -> Floats:
    shells = iter(sizes)
    rise = np.zeros(1)
    for orbit, jumps in zip(orbits, task.jumps, strict=True):
        if orbit.clusters.shape[1] == 1:
            rise = rise + jumps[0]
        else:
            z = next(shells)
            ups = np.arange(z + 1)
            rise = (rise[:, None] + jumps[0] * (z - ups) + jumps[1] * ups).ravel()
    with np.errstate(over="ignore"):
        found: Floats = 1 / (1 + np.exp(rise / task.temperature))
    return found


def _start_masks(
    tasks: Sequence[Task],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Bits of the replicas that start at random, and of those that start up, a word each."""
    begin = np.stack([task.begin for task in tasks])
    place = np.uint64(1) << np.arange(begin.shape[1], dtype=np.uint64)
    masks = [np.where(begin == value, place, np.uint64(0)).sum(axis=1) for value in (0.5, 1.0)]
    return masks[0].astype(np.uint64), masks[1].astype(np.uint64)
