"""What Dask and the store cost beside the kernel: time a point, memory, the second worker."""

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
from distributed import Client, SubprocessCluster

from benchmarks.timing import dealt, processes
from latticescape.physics import Variable
from latticescape.sweeps import Sweep, kernel, open_sweep
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.store.store import Store

SQUARE = Variable("square", long_name="square of x")
POINTS, BLOCKS, SECONDS, RUNS = 100_000, 200, 0.2, 1


@kernel(SQUARE, seconds=1e-6)
def nothing(x):  # type: ignore[no-untyped-def]
    """A point that costs nothing: what is left is overhead."""
    return x * x


@kernel(SQUARE, seconds=1.0)
def waiting(x, seconds=SECONDS):  # type: ignore[no-untyped-def]
    """A point that takes its time on the clock alone."""
    time.sleep(seconds)
    return x * x


@kernel(SQUARE, seconds=1.0)
def spinning(x, seconds=SECONDS):  # type: ignore[no-untyped-def]
    """A point that takes its time on the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return x * x


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    """Scheduler and workers as processes of their own, so that its memory can be told."""
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        SubprocessCluster(host="127.0.0.1", **options) as made,
        Client(made, set_as_default=False) as client,
    ):
        client.wait_for_workers(workers, timeout=60)
        yield client


def resident() -> int:
    """Bytes of memory of the process this runs in."""
    return int(psutil.Process(os.getpid()).memory_info().rss)


def swept(client: Client, function: FunctionKernel, points: int, **options: int) -> Report:
    """A run of a function over so many points, into a store that is gone at the end."""
    sweep = Sweep(kernel=function, grid={"x": np.arange(points, dtype=float)})
    with tempfile.TemporaryDirectory() as folder:
        report = execute(sweep, f"{folder}/s.zarr", client, progress=False, **options)
    assert (report.computed, report.failed) == (points, 0)
    return report


def overhead(points: int, block_points: int | None, *, workers: int = 2) -> str:
    """Wall time a point beside the kernel's, and growth of the scheduler, in a line."""
    options = {} if block_points is None else {"block_points": block_points}
    with cluster(workers) as client:
        swept(client, nothing, 2 * workers, block_points=1)
        before = client.run_on_scheduler(resident)
        report = swept(client, nothing, points, **options)
        grown = client.run_on_scheduler(resident) - before
    beside = report.seconds - report.kernel_seconds / workers
    title = f"{points} points in {report.blocks} blocks"
    return f"{title:<40}{1e6 * beside / points:9.1f} µs a point{grown / 1e6:9.1f} MB"


def second_worker(function: FunctionKernel, blocks: int, runs: int) -> str:
    """Seconds with one worker over seconds with two, and the same of two bare processes, which is
    what the machine has to give; medians of pairs that take turns."""
    with cluster(1) as one, cluster(2) as two, processes(2) as bare:
        for client in (one, two):
            swept(client, function, 4, block_points=1)

        def seconds(client: Client) -> float:
            return swept(client, function, blocks, block_points=1).seconds

        ratios = [
            (
                seconds(one) / seconds(two),
                dealt(bare, 1, function, blocks) / dealt(bare, 2, function, blocks),
            )
            for _ in range(runs)
        ]
    ours, theirs = (statistics.median(each) for each in zip(*ratios, strict=True))
    title = f"two workers against one, {blocks} {function.name.rpartition(':')[2]} blocks"
    return f"{title:<48}{ours:9.2f} times; bare processes {theirs:.2f}"


def first_result(points: int) -> str:
    """How long after the end of the first block another reader has a result, in a line."""
    sweep = Sweep(kernel=waiting, grid={"x": np.arange(points, dtype=float)})
    with tempfile.TemporaryDirectory() as folder, cluster(2) as client:
        path = Path(folder) / "s.zarr"
        options = {"progress": False, "block_points": 1}
        run = threading.Thread(target=execute, args=(sweep, path, client), kwargs=options)
        run.start()
        while not path.exists():
            time.sleep(0.01)
        while not (first := list((path / "done" / "c").glob("*"))):
            time.sleep(0.01)
        while not np.isfinite(open_sweep(path)["square"]).any():
            time.sleep(0.01)
        waited = time.time() - min(chunk.stat().st_mtime for chunk in first)
        assert not Store(path).done().all()
        run.join()
    return f"{'first result readable after its done mark':<48}{waited:9.2f} s"


def report(points: int = POINTS, blocks: int = BLOCKS, runs: int = RUNS) -> str:
    """All of it, a line each."""
    lines = [overhead(points, each) for each in (None, points // 100, points // 1000)]
    lines += [second_worker(function, blocks, runs) for function in (waiting, spinning)]
    return "\n".join([*lines, first_result(20)])
