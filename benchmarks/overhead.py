"""What Dask and the store cost beside the kernel: seconds a point, memory, the second worker."""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from sweeps import Sweep, Variable, kernel, open_sweep
from sweeps.run import Report, execute
from sweeps.workers import embedded

BLOCKS = 200


@kernel(Variable("square", long_name="square of x"), seconds=1e-6)
def nothing(x):  # type: ignore[no-untyped-def]
    """A point that costs nothing: what is left is overhead."""
    return x * x


@kernel(Variable("square", long_name="square of x"), seconds=1.0)
def waiting(x, seconds=0.1):  # type: ignore[no-untyped-def]
    """A point that takes its time on the clock, none on the processor."""
    time.sleep(seconds)
    return x * x


@kernel(Variable("square", long_name="square of x"), seconds=1.0)
def spinning(x, seconds=0.1):  # type: ignore[no-untyped-def]
    """A point that takes its time on the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return x * x


def memory() -> int:
    """Bytes of this process, in which the embedded scheduler and the client live."""
    return int(psutil.Process(os.getpid()).memory_info().rss)


def overhead(points: int = 100_000, *, workers: int = 2, block_points: int | None = None) -> str:
    """Wall seconds a point beside the kernel, and growth of the scheduler's process."""
    sweep = Sweep(kernel=nothing, grid={"x": np.arange(points, dtype=float)}, seed=1)
    with tempfile.TemporaryDirectory() as folder, embedded(workers) as client:
        small = Sweep(kernel=nothing, grid={"x": [0.0, 1.0]}, seed=1)
        execute(small, f"{folder}/first.zarr", client, progress=False)
        before = memory()
        report = execute(
            sweep, f"{folder}/s.zarr", client, block_points=block_points, progress=False
        )
        grown = memory() - before
    assert report.computed == points
    each = (report.seconds - report.kernel_seconds / workers) / points
    return f"{points:>9} points, {report.blocks:>6} blocks {1e6 * each:9.1f} µs a point, {grown / 1e6:.1f} MB"
