"""Blocks of points in lanes: eight points of 64 replicas at once, one bit a replica.

Points are taken in groups of eight, the last one filled up with copies of its first point. A word
never feels its companions, so groups, order and filling change no bit of a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from physics.compiled import compiled
from physics.configurations import configurations
from physics.counters import count_classes, count_unlike, count_up
from physics.lane_streams import seed_state
from physics.lattices import Lattice, Sites
from physics.models import REPLICAS, Model, Orbit, features_of
from physics.reference import MOMENTS, Integers, Sums, Task
from physics.simd import WORDS, aligned
from physics.single_flip import Rule, advance, rule
from physics.thresholds import threshold_planes

Floats = npt.NDArray[np.float64]
Times = tuple[int, int, int]

MOST_SHELLS = 2


def fits_lanes(model: Model, orbits: Sequence[Orbit]) -> bool:
    """Whether the lanes can run a model: single flips, fields, and bonds of one or two shells."""
    widths = [orbit.clusters.shape[1] for orbit in orbits]
    return model.move == "single_flip" and set(widths) <= {1, 2} and widths.count(2) <= MOST_SHELLS


@dataclass(frozen=True)
class LaneTables:
    """What all groups of a block share: the lattice's tables as the lanes read them."""

    lattice: Lattice
    orbits: Sequence[Orbit]

    @cached_property
    def shells(self) -> list[int]:
        """The neighbour shells of the bond orbits, from their features' names."""
        bonds = [orbit for orbit in self.orbits if orbit.clusters.shape[1] == 2]
        return [int(next(iter(orbit.values)).rsplit("_", 1)[1]) for orbit in bonds]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return features_of(self.orbits)

    @cached_property
    def neighbors(self) -> Sites:
        """The shells side by side, (sites, z1 + z2)."""
        return np.concatenate([self.lattice.neighbors(k) for k in self.shells], axis=1)

    @cached_property
    def sizes(self) -> list[int]:
        """Neighbours in each shell."""
        return [self.lattice.neighbors(k).shape[1] for k in self.shells]

    @cached_property
    def bonds(self) -> dict[int, Sites]:
        """Every bond of each shell once."""
        return {k: self.lattice.bonds(k) for k in self.shells}

    @cached_property
    def sites(self) -> Sites:
        """All sites, (sites, 1)."""
        return np.arange(self.lattice.sites, dtype=np.int32)[:, None]

    @cached_property
    def rings(self) -> Sites:
        """Every site and its ring, (sites, 1 + z)."""
        return np.hstack([self.sites, self.lattice.neighbors(1)])

    @cached_property
    def classes(self) -> int:
        """Number of configuration classes."""
        return len(configurations(self.lattice.kind))


class LaneGroup:
    """Eight points on their way: spins, generators and class tables.

    Parameters
    ----------
    tables
        Of the block.
    tasks
        One to eight points.
    """

    def __init__(self, tables: LaneTables, tasks: Sequence[Task]) -> None:
        self.tables = tables
        filled = [*tasks, *[tasks[0]] * (WORDS - len(tasks))]
        self.couplings = np.stack([task.couplings for task in filled])
        self.rule = _rule(tables, filled)
        self.state = seed_state(np.stack([task.seed for task in filled]))
        self.spins = aligned((tables.lattice.sites, WORDS))
        draw_spins(self.spins, self.state, *_start_masks(filled))
        lanes = (REPLICAS, WORDS)
        self.features = np.zeros((len(tables.features), *lanes), np.int64)
        self.first_half = np.zeros_like(self.features)
        self.moments = np.zeros((len(MOMENTS), *lanes))
        self.histogram = np.zeros((tables.classes, *lanes), np.int64)

    def advance(self, mcs: int) -> None:
        """So many Monte Carlo steps."""
        advance(self.spins, self.tables.neighbors, self.rule, self.state, mcs)

    def measure(self) -> Integers:
        """Every feature of the whole lattice, (features, 64, 8)."""
        tables = self.tables
        up = count_up(self.spins, tables.sites)[0]
        found = {"magnetization": 2 * up - len(self.spins)}
        for shell, bonds in tables.bonds.items():
            unlike = count_unlike(self.spins, bonds)[0]
            found[f"spin_product_{shell}"] = len(bonds) - 2 * unlike
        return np.stack([found[name] for name in tables.features])

    def add_sample(self, early: bool) -> None:
        """Measure once and add it to the sums."""
        features = self.measure()
        self.features += features
        if early:
            self.first_half += features
        self.histogram += count_classes(self.spins, self.tables.rings, self.tables.classes)
        self._add_moments(features)

    def write(self, sums: Sequence[Sums]) -> None:
        """The sums of each point, replicas first."""
        for word, target in enumerate(sums):
            target.features[...] = self.features[:, :, word].T
            target.first_half[...] = self.first_half[:, :, word].T
            target.moments[...] = self.moments[:, :, word].T
            target.histogram[...] = self.histogram[:, :, word].T

    def _add_moments(self, features: Integers) -> None:
        m = features[self.tables.features.index("magnetization")].astype(float)
        # Feature by feature in their order: a sum over an axis could round by the array's shape.
        e = np.zeros(m.shape)
        for couplings, values in zip(self.couplings.T, features, strict=True):
            e += couplings * values
        square = m * m
        for total, moment in zip(
            self.moments, (m, np.abs(m), square, square * square, e, e * e), strict=True
        ):
            total += moment


def sample_group(group: LaneGroup, times: Times, sums: Sequence[Sums]) -> None:
    """Equilibrate, then sample: ``times`` is (equilibration_mcs, samples, stride_mcs)."""
    equilibration, samples, stride = times
    group.advance(equilibration)
    for sample in range(samples):
        group.advance(stride)
        group.add_sample(early=sample < samples // 2)
    group.write(sums)


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


def _rule(tables: LaneTables, tasks: Sequence[Task]) -> Rule:
    """P(up) = 1 / (1 + exp(ΔE/T)) by the number of up neighbours in each shell."""
    up = [_probabilities(tables.orbits, tables.sizes, task) for task in tasks]
    return rule(threshold_planes(np.stack(up, axis=-1)), tables.sizes)


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
