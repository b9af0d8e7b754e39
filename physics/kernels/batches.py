"""Batches of points, the loop that advances and samples them, and parallel tempering.

A batch holds the spins and random number generators of one or more points and can advance, measure
and swap them. :func:`drive` decides when to do which, for all kernels.

In parallel tempering, a *ladder* is the points of a grid that differ in temperature only, coldest
first. Replica l of a point attempts to swap its configuration with replica l of the next hotter
point, accepted with probability min(1, exp((1/T − 1/T')(E − E'))). Every point still samples its
own temperature, and the replicas of one point stay independent. Even and odd pairs alternate.

Where the species of a site may change, every ``GLOBAL_FLIP_MCS`` steps each replica attempts a
*global flip*: all spins are inverted with the heat-bath probability 1 / (1 + exp(ΔE/T)). Bonds have
the same energy before and after, so that ΔE is that of the field. Below Tc single flips never lead
from one phase to the other, so that only the start would decide in which phase a replica is.

References
----------
Hukushima and Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996), 10.1143/JPSJ.65.1604.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import CancelCheck, never_cancelled
from latticescape.physics.kernels.kernel import GLOBAL_FLIP_MCS, Schedule
from latticescape.physics.kernels.restart import BEGINNING, Progress, checkpoints
from latticescape.physics.kernels.streams import next_uniform, replica_state
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.variables import Words, pack_replicas, unpack_replicas

Floats = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]

# Monte Carlo steps between two cancel checks: about a second on a large lattice, and much longer
# than the check itself on a small one.
MCS_BETWEEN_CHECKS = 64


# Makes the stream of a pair of points differ from the stream of its colder point.
SALT = np.uint64(0x7465_6D70_6572_6564)

# The same for the stream of the global flips.
FLIP_SALT = np.uint64(0x676C_6F62_666C_6970)


class Batch(ABC):
    """Points that a kernel advances together, 64 replicas each.

    Attributes
    ----------
    numbers
        Indices of its points in the block; if empty, they follow those of the previous batch.
    flips_globally
        Whether :meth:`global_flip` does anything.
    """

    numbers: Sequence[int] = ()
    flips_globally: bool = False

    @property
    def points(self) -> int:
        """Number of points; one by default."""
        return 1

    @abstractmethod
    def advance(self, mcs: int) -> None:
        """Advance by ``mcs`` Monte Carlo steps."""

    @abstractmethod
    def add_sample(self, sample: int) -> None:
        """Measure once and add to the sums."""

    @abstractmethod
    def checkpoint(self, place: int) -> None:
        """Record the sums of the features so far as those of a checkpoint."""

    def dynamics(self) -> Words:
        """Spins and generators of every point, (points, words): all that the next step reads."""
        raise NotImplementedError

    def set_dynamics(self, words: Words) -> None:
        """Go on from the spins and generators of an earlier batch of these points, and from the
        sums that are in place now."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write results that were not added in place, after the last sample."""
        return

    def energies(self) -> Floats:
        """Energy of the whole lattice, (points, 64); for batches that support tempering."""
        raise NotImplementedError

    def global_flip(self, clock: int) -> None:
        """Attempt to invert all spins of every replica, with random numbers that depend on the
        points' seeds and the ``clock`` only."""
        raise NotImplementedError

    def swap(self, point: int, other: Any, other_point: int, chosen: Chosen) -> None:
        """Swap the chosen replicas of a point with those of a point in this or another batch."""
        raise NotImplementedError


@dataclass
class Ladder:
    """The swaps of one ladder.

    Parameters
    ----------
    points
        Numbers of its points, coldest first.
    temperatures
        Their temperatures.
    seeds
        (points, 4) uint64; a pair draws from the seed of its colder point.

    Attributes
    ----------
    attempted, accepted
        Swaps of every point, and of its replicas, with the next hotter point: (points,) and
        (points, 64); zero for the hottest.
    """

    points: Sequence[int]
    temperatures: Floats
    seeds: npt.NDArray[np.uint64]
    turn: int = 0
    states: Words = field(init=False)
    attempted: npt.NDArray[np.int64] = field(init=False)
    accepted: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.attempted = np.zeros(len(self.points), np.int64)
        self.accepted = np.zeros((len(self.points), REPLICAS), np.int64)
        self.states = np.empty((len(self.points), REPLICAS, 4), np.uint64)
        for pair, seed in enumerate(self.seeds):
            for replica in range(REPLICAS):
                replica_state(seed ^ SALT, replica, self.states[pair, replica])

    def swaps(self, energies: Floats, *, counted: bool) -> Iterator[tuple[int, int, Chosen]]:
        """Yield the pairs whose turn it is, and the replicas that swap.

        Parameters
        ----------
        energies
            Energy of every point of the ladder and replica, (points, 64).
        counted
            Whether these swaps enter ``attempted`` and ``accepted``.
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
def flipped(seed: Any, clock: Any, probability: Any) -> Any:
    """Which replicas of a point accept a global flip after ``clock`` steps, from the probability of
    each, (64,)."""
    own, state = seed ^ FLIP_SALT, np.empty(4, np.uint64)
    chosen = np.empty(len(probability), np.bool_)
    for replica in range(len(probability)):
        replica_state(own, clock * len(probability) + replica, state)
        chosen[replica] = next_uniform(state) < probability[replica]
    return chosen


@compiled
def accepted(states: Any, gain: Any) -> Any:
    """Which replicas swap: probability min(1, exp(gain)), one uniform number each."""
    chosen = np.empty(len(gain), np.bool_)
    for replica in range(len(gain)):
        u = next_uniform(states[replica])
        chosen[replica] = gain[replica] >= 0.0 or u < np.exp(gain[replica])
    return chosen


class ScalarBatch(Batch):
    """One point whose spins, (64, sites) of 0 and 1, and generators, (64, 4), are plain numbers."""

    spins: npt.NDArray[np.uint8]
    states: Words

    def dynamics(self) -> Words:
        return np.concatenate([pack_replicas(self.spins), self.states.ravel()])[None, :]

    def set_dynamics(self, words: Words) -> None:
        sites = self.spins.shape[1]
        self.spins[...] = unpack_replicas(words[0, :sites])
        self.states[...] = words[0, sites:].reshape(self.states.shape)


def drive(
    batches: Sequence[Batch],
    schedule: Schedule,
    ladders: Sequence[Ladder] = (),
    cancel_check: CancelCheck = never_cancelled,
    begin: Progress = BEGINNING,
) -> None:
    """Equilibrate and sample all batches in step; swap along the ladders, if there are any.

    ``begin`` is how far the batches are: what it contains is not done again.
    """
    places = {count: place for place, count in enumerate(checkpoints(schedule.samples))}
    until = max(begin.clock, schedule.equilibration_mcs)
    clock = _advance(batches, schedule, ladders, begin.clock, until, cancel_check)
    for sample in range(begin.samples, schedule.samples):
        until = clock + schedule.stride_mcs
        clock = _advance(batches, schedule, ladders, clock, until, cancel_check)
        for batch in batches:
            batch.add_sample(sample)
            if sample + 1 in places:
                batch.checkpoint(places[sample + 1])
    for batch in batches:
        batch.finish()


def drive_from(
    groups: Iterable[Sequence[Batch]],
    schedule: Schedule,
    ladders: Sequence[Ladder] = (),
    cancel_check: CancelCheck = never_cancelled,
    begin: Progress = BEGINNING,
    dynamics: Words | None = None,
) -> Words:
    """Drive one group of batches after the other, from where they stopped earlier.

    Parameters
    ----------
    groups
        Batches that advance in step.
    schedule, ladders, cancel_check, begin
        As for :func:`drive`.
    dynamics
        Spins and generators of all points at ``begin``, (points, words); None at the beginning.

    Returns
    -------
    ndarray
        Spins and generators of all points at the end, (points, words).
    """
    order, ends = list[int](), []
    for batches in groups:
        for batch in batches:
            batch.numbers = batch.numbers or range(len(order), len(order) + batch.points)
            order += batch.numbers
            if dynamics is not None:
                batch.set_dynamics(dynamics[list(batch.numbers)])
        drive(batches, schedule, ladders, cancel_check, begin)
        ends += [batch.dynamics() for batch in batches]
    return np.concatenate(ends)[np.argsort(order)]


def _advance(
    batches: Sequence[Batch],
    schedule: Schedule,
    ladders: Sequence[Ladder],
    clock: int,
    until: int,
    cancel_check: CancelCheck,
) -> int:
    every = schedule.tempering_mcs
    flips = any(batch.flips_globally for batch in batches)
    between = GLOBAL_FLIP_MCS if flips else MCS_BETWEEN_CHECKS
    while clock < until:
        cancel_check()
        steps = min(
            until - clock,
            every - clock % every if every else until,
            between - clock % between,
        )
        for batch in batches:
            batch.advance(steps)
        clock += steps
        if flips and clock % GLOBAL_FLIP_MCS == 0:
            for batch in batches:
                batch.global_flip(clock)
        if every and clock % every == 0:
            _swap(batches, ladders, counted=clock > schedule.equilibration_mcs)
    return clock


def _swap(batches: Sequence[Batch], ladders: Sequence[Ladder], *, counted: bool) -> None:
    """Give every ladder its turn."""
    places = {p: (batch, k) for batch in batches for k, p in enumerate(batch.numbers)}
    energies = np.empty((len(places), REPLICAS))
    for batch in batches:
        energies[list(batch.numbers)] = batch.energies()[: batch.points]
    for ladder in ladders:
        for cold, hot, chosen in ladder.swaps(energies[ladder.points], counted=counted):
            (batch, place), (other, there) = places[cold], places[hot]
            batch.swap(place, other, there, chosen)
