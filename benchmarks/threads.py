"""What a second thread of one process gains: kernels hold no interpreter lock."""

import statistics
from concurrent.futures import ThreadPoolExecutor

from benchmarks.kernels import SQUARE, Case
from benchmarks.timing import seconds_of, strides_for

TASKS = 4


def thread_ratio(case: Case = SQUARE, *, seconds: float = 0.25, runs: int = 5) -> float:
    """Seconds on one thread over seconds on two, for the same tasks.

    The median of several pairs, taking turns; 2 if nothing holds the second one up.
    """
    work = case.work()
    strides = strides_for(work, seconds)

    def on(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            return seconds_of(lambda: list(pool.map(work.run, [strides] * TASKS)))

    return statistics.median(on(1) / on(2) for _ in range(runs))


def report(case: Case = SQUARE, *, seconds: float = 0.25, runs: int = 5) -> str:
    """The ratio, in a line."""
    ratio = thread_ratio(case, seconds=seconds, runs=runs)
    return f"{f'two threads against one, {case.title}':<48}{ratio:9.2f} times"
