"""Work to be timed, by CPU time: one kind alone, or two kinds that take turns on one core."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

# Whoever is timed measures so often.
EVERY_MCS = 10


@dataclass(frozen=True)
class Work:
    """A simulation that goes on where it stopped.

    Attributes
    ----------
    run
        Does so many strides of ``EVERY_MCS``, and measures after each.
    updates
        Attempted flips or exchanges in a stride.
    least
        The fewest strides it can do.
    """

    run: Callable[[int], object]
    updates: int
    least: int = 1

    def per_ns(self, strides: int) -> float:
        """Updates per nanosecond of so many strides."""
        return self.updates * strides / cpu_seconds_of(lambda: self.run(strides)) / 1e9


@dataclass(frozen=True)
class Pair:
    """Medians of runs that took turns: both rates in updates per ns, and ours over theirs."""

    ours: float
    theirs: float
    ratio: float


def side_by_side(ours: Work, theirs: Work, *, seconds: float, runs: int) -> Pair:
    """Time both, about so many seconds a run, after a warm-up."""
    mine, yours = strides_for(ours, seconds), strides_for(theirs, seconds)
    pairs = [(ours.per_ns(mine), theirs.per_ns(yours)) for _ in range(runs)]
    first, second = zip(*pairs, strict=True)
    return Pair(
        statistics.median(first),
        statistics.median(second),
        statistics.median(a / b for a, b in pairs),
    )


def alone(work: Work, *, seconds: float, runs: int) -> float:
    """Median updates per nanosecond of several runs."""
    strides = strides_for(work, seconds)
    return statistics.median(work.per_ns(strides) for _ in range(runs))


def strides_for(work: Work, seconds: float) -> int:
    """How many strides take so long; the first run, which may compile, is not counted."""
    work.run(work.least)
    once = cpu_seconds_of(lambda: work.run(work.least))
    return max(work.least, round(work.least * seconds / once))


def seconds_of(run: Callable[[], object]) -> float:
    """Wall time of a call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def cpu_seconds_of(run: Callable[[], object]) -> float:
    """CPU time of a call, in all threads of this process."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this thread, and those that it starts, on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that have started."""
    with ProcessPoolExecutor(number, get_context("spawn")) as pool:
        wait([pool.submit(time.sleep, 1) for _ in range(number)])
        yield pool


def dealt(
    pool: ProcessPoolExecutor, number: int, function: Callable[[float], object], times: int
) -> float:
    """Seconds of so many calls, dealt to so many processes."""
    begin = time.perf_counter()
    calls = [pool.submit(_repeated, function, times // number) for _ in range(number)]
    for call in calls:
        call.result()
    return time.perf_counter() - begin


def _repeated(function: Callable[[float], object], times: int) -> None:
    for _ in range(times):
        function(0.0)
