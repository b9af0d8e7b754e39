"""The state from which a point continues, so that more samples later are all samples at once.

A point's *restart* is one row of words: how far it is, its spins and random number generators, and
its sums over the samples. A kernel that begins with it under a longer schedule computes the same
bits as one that had the longer schedule from the beginning.

The drift compares the samples after the first half with those of the first half, so that the sums
over the first half of a *longer* run must be known: they are recorded at *checkpoints*, the numbers
of samples of four significant binary digits.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from latticescape.physics.kernels.kernel import Schedule

Words = npt.NDArray[np.uint64]

DIGITS = 4

# From half of a number to the number itself there are at most this many checkpoints.
MOST_CHECKPOINTS = 9


def first_half(samples: int) -> int:
    """How many samples are the first half: half of them, rounded down to a checkpoint.

    Examples
    --------
    >>> first_half(31), first_half(500)
    (15, 240)
    """
    half = samples // 2
    dropped = max(0, half.bit_length() - DIGITS)
    return half >> dropped << dropped


def next_checkpoint(count: int) -> int:
    """The smallest checkpoint above a number of samples.

    Examples
    --------
    >>> next_checkpoint(15), next_checkpoint(33)
    (16, 36)
    """
    step = 1 << max(0, count.bit_length() - DIGITS)
    return (count // step + 1) * step


def checkpoints(samples: int) -> tuple[int, ...]:
    """The checkpoints from the first half of a run to its end, one of which is the first half of
    any longer run, or comes later.

    Examples
    --------
    >>> checkpoints(40)
    (20, 22, 24, 26, 28, 30, 32, 36, 40)
    """
    found, count = [], first_half(samples)
    while count <= samples:
        found.append(count)
        count = next_checkpoint(count)
    return tuple(found)


class Progress(NamedTuple):
    """How far a point is.

    Attributes
    ----------
    equilibration_mcs, stride_mcs
        Of the schedule so far.
    samples
        Number of samples in the sums.
    clock
        Monte Carlo steps since the first spins.
    """

    equilibration_mcs: int
    stride_mcs: int
    samples: int
    clock: int

    @classmethod
    def end(cls, schedule: "Schedule") -> "Progress":
        """Where a point is at the end of a schedule."""
        whole = (schedule.equilibration_mcs, schedule.stride_mcs, schedule.samples)
        return cls(*whole, schedule.total_mcs)

    def towards(self, schedule: "Schedule") -> "Progress | None":
        """Where a point that is so far begins under another schedule; None if it cannot use what it
        has, and begins anew.

        Examples
        --------
        >>> from latticescape import Schedule
        >>> progress = Progress.end(Schedule(equilibration_mcs=100, samples=10, stride_mcs=5))
        >>> progress.towards(Schedule(equilibration_mcs=100, samples=40, stride_mcs=5)).samples
        10
        >>> progress.towards(Schedule(equilibration_mcs=1000, samples=40, stride_mcs=5)).clock
        150
        >>> progress.towards(Schedule(equilibration_mcs=120, samples=40, stride_mcs=5))
        """
        same = self.equilibration_mcs == schedule.equilibration_mcs
        same &= self.stride_mcs == schedule.stride_mcs
        if same and self.samples <= schedule.samples:
            return self
        if self.clock <= schedule.equilibration_mcs:  # its samples are steps of equilibration now
            return Progress(schedule.equilibration_mcs, schedule.stride_mcs, 0, self.clock)
        return None


BEGINNING = Progress(0, 0, 0, 0)


def pack(progress: Progress, arrays: Sequence[npt.NDArray[Any]]) -> Words:
    """Restarts of points that are equally far, (points, words), from arrays of eight-byte numbers,
    points first."""
    points = len(arrays[0])
    header = np.tile(np.array(progress, np.uint64), (points, 1))
    rows = [np.ascontiguousarray(a).reshape(points, -1).view(np.uint64) for a in arrays]
    return np.concatenate([header, *rows], axis=1)


def unpack(restarts: Words, arrays: Sequence[npt.NDArray[Any]]) -> Words:
    """Write restarts into arrays as :func:`pack` was given first, and return the other words."""
    place = len(Progress._fields)
    for array in arrays:
        size = math.prod(array.shape[1:])
        part = np.ascontiguousarray(restarts[:, place : place + size])
        array[...] = part.view(array.dtype).reshape(array.shape)
        place += size
    return restarts[:, place:]


def resume(
    restarts: Words,
    schedule: "Schedule",
    sums: Sequence[npt.NDArray[Any]],
    at_checkpoints: npt.NDArray[np.int64],
    others: Sequence[npt.NDArray[Any]] = (),
) -> tuple[Progress, Words | None]:
    """Write the restarts of points that are equally far into their arrays.

    Parameters
    ----------
    restarts
        (points, words), from :func:`pack` of the arrays ``sums``, ``others``, and the dynamics.
    schedule
        Under which the points go on.
    sums, at_checkpoints
        Sums over the samples, points first; and that of them, (points, 9, …), with the sums at the
        checkpoints.
    others
        Further arrays.

    Returns
    -------
    Progress, ndarray
        How far the points are, and their spins and generators, (points, words); None if they begin
        anew, with all arrays as they were.
    """
    (progress,) = set(progress_of(restarts))
    begin = progress.towards(schedule)
    if begin is None:
        return BEGINNING, None
    dynamics = unpack(restarts, [*sums, *others])
    if not begin.samples:
        for array in sums:
            array[...] = 0
    at_checkpoints[...] = moved_checkpoints(at_checkpoints, begin.samples, schedule.samples)
    return begin, dynamics


def progress_of(restarts: Words) -> list[Progress]:
    """How far each point is, from restarts (points, words)."""
    return [Progress(*map(int, row)) for row in restarts[:, : len(Progress._fields)]]


def moved_checkpoints(old: npt.NDArray[np.int64], before: int, after: int) -> npt.NDArray[np.int64]:
    """Sums at the checkpoints of ``before`` samples, (points, 9, …), in the places of those of
    ``after`` samples; zero where the run has still to come.

    Examples
    --------
    >>> old = np.array([[1, 2, 0, 0, 0, 0, 0, 0, 0]])  # after one and two of two samples
    >>> moved_checkpoints(old, 2, 4)
    array([[2, 0, 0, 0, 0, 0, 0, 0, 0]])
    """
    new = np.zeros_like(old)
    known = {count: place for place, count in enumerate(checkpoints(before))}
    for place, count in enumerate(checkpoints(after)):
        if count in known:
            new[:, place] = old[:, known[count]]
    return new


def grouped(restarts: Words) -> Mapping[Progress, npt.NDArray[np.intp]]:
    """The numbers of the points that are equally far, by how far they are."""
    groups: dict[Progress, list[int]] = {}
    for point, progress in enumerate(progress_of(restarts)):
        groups.setdefault(progress, []).append(point)
    return {progress: np.array(points, np.intp) for progress, points in groups.items()}
