"""Groups of points on their way, and the clock that drives them.

A kernel holds the spins and generators of one point or several, and knows how to advance, measure
and trade them; when to do which is said here, once for all kernels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.kernels.tempering import Chosen, Ladder

Floats = npt.NDArray[np.float64]


class Group(ABC):
    """Points that a kernel advances together, 64 replicas each."""

    @abstractmethod
    def advance(self, mcs: int) -> None:
        """So many Monte Carlo steps."""

    @abstractmethod
    def add_sample(self, sample: int, early: bool) -> None:
        """Measure once and add it up; ``early`` in the first half of the samples."""

    def write(self) -> None:
        """Hand over what was not added in place, after the last sample."""
        return

    def energies(self) -> Floats:
        """Energy of the whole lattice, (points, 64); of groups that parallel tempering takes."""
        raise NotImplementedError

    def trade(self, place: int, other: Any, there: int, chosen: Chosen) -> None:
        """Exchange the spins of the chosen replicas of two points, maybe of another group."""
        raise NotImplementedError


# Monte Carlo steps between two calls: a second on a large lattice, and long beside a call on a
# small one.
UNWATCHED_MCS = 64


def drive(
    groups: Sequence[Group],
    schedule: Schedule,
    ladders: Sequence[Ladder] = (),
    cancel_check: CancelCheck = never_cancelled,
) -> None:
    """Equilibrate, then sample, all groups in step; with ladders, trade between temperatures."""
    clock = _advance(groups, schedule, ladders, 0, schedule.equilibration_mcs, cancel_check)
    for sample in range(schedule.samples):
        clock = _advance(
            groups, schedule, ladders, clock, clock + schedule.stride_mcs, cancel_check
        )
        for group in groups:
            group.add_sample(sample, early=sample < schedule.samples // 2)
    for group in groups:
        group.write()


def _advance(
    groups: Sequence[Group],
    schedule: Schedule,
    ladders: Sequence[Ladder],
    clock: int,
    until: int,
    cancel_check: CancelCheck,
) -> int:
    every = schedule.tempering_mcs
    while clock < until:
        cancel_check()
        steps = min(until - clock, every - clock % every if every else until, UNWATCHED_MCS)
        for group in groups:
            group.advance(steps)
        clock += steps
        if every and clock % every == 0:
            _trade(groups, ladders, counted=clock > schedule.equilibration_mcs)
    return clock


def _trade(groups: Sequence[Group], ladders: Sequence[Ladder], *, counted: bool) -> None:
    """Every ladder's turn; point p is in group p // size at place p % size."""
    each = [group.energies() for group in groups]
    size, energies = len(each[0]), np.concatenate(each)
    for ladder in ladders:
        for cold, hot, chosen in ladder.trades(energies[ladder.points], counted=counted):
            group, other = groups[cold // size], groups[hot // size]
            group.trade(cold % size, other, hot % size, chosen)
