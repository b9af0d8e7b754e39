"""What many blocks and many workers cost beside the kernels: slopes, and a simulated cluster.

The workers are real ones of Dask, each with a thread of its own, but all in two processes, and
their kernel sleeps. So they share two interpreter locks, which real ones do not: times by the wall
clock are too long, and CPU times are told beside them.
"""

import asyncio
import logging
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dask
import numpy as np
import psutil
from distributed import Client, Scheduler, Worker, as_completed

from benchmarks.timing import cpu_seconds_of, seconds_of
from latticescape.deploy.cli.store import describe
from latticescape.physics import Ising, Schedule, square
from latticescape.sweeps import (
    Sweep,
    catalogue,
    consolidate,
    kernel,
    open_sweep,
    plan,
    status,
    verify,
)
from latticescape.sweeps.execution.lease import acquire, lease_of
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.execution.submit import submit_blocks
from latticescape.sweeps.execution.tasks import TaskResult
from latticescape.sweeps.store.status import PULSE_SECONDS, WATCH_SECONDS, LeaseCheck, end_lease
from latticescape.sweeps.store.store import Store, create

# Stores are in memory where possible, so that the speed of a disk does not count.
MEMORY = Path("/dev/shm")

# Points a block of a lattice model, and processes that all workers share.
BLOCK, HOSTS = 8, 2

# What a worker looks after every moment, hundreds of them in a process do all the time.
CALM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "1h",
    "distributed.admin.tick.cycle": "1h",
    "distributed.admin.tick.limit": "1h",
    "distributed.comm.timeouts.connect": "120s",
    "distributed.scheduler.worker-ttl": None,
}


@kernel("slept", seconds=1.0)
def nap(number, seconds: float = 0.0):  # type: ignore[no-untyped-def]
    """A kernel that leaves the processor to the others."""
    time.sleep(seconds)
    return number


@kernel("value", seconds=1e-6)
def nothing(number):  # type: ignore[no-untyped-def]
    """A kernel that is never called."""
    return number


def ising(blocks: int) -> Sweep:
    """A sweep with all variables of a lattice model."""
    grid = {"T": np.linspace(1, 4, blocks), "H": np.linspace(-1, 1, BLOCK)}
    return Sweep(square(16), Ising(), grid, Schedule(10, 5, 2), seed=1)


def numbered(blocks: int, function: Any = nothing, **fixed: float) -> Sweep:
    """A sweep of so many points of next to nothing."""
    axes = {name: [value] for name, value in fixed.items()}
    return Sweep(kernel=function, grid={"number": np.arange(blocks), **axes})


def created(sweep: Sweep, path: Path, block_points: int = 1) -> Store:
    """An empty store of a sweep."""
    return create(path, sweep, plan(sweep, block_points=block_points))


def block_lines(blocks: int) -> Iterator[str]:
    """What a block of a lattice model costs to write, verify and pack."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        store = created(ising(blocks), Path(folder, "flushed.zarr"), BLOCK)
        sizes, variables = store.sweep.kernel.sizes, store.sweep.kernel.variables
        shapes = {v.name: (BLOCK, *(sizes[dim] for dim in v.dims)) for v in variables}
        results = {v.name: (100 * rng.random(shapes[v.name])).astype(v.dtype) for v in variables}

        def write(store: Store) -> None:
            for block in store.blocks:
                store.write(block, results)

        yield _each("write, flushed to disk", seconds_of(lambda: write(store)), blocks)
        with patch("latticescape.sweeps.store.location.fsync"):
            other = created(ising(blocks), Path(folder, "not_flushed.zarr"), BLOCK)
            yield _each("write, not flushed", seconds_of(lambda: write(other)), blocks)
        yield _each("verify", seconds_of(lambda: verify(store.path)), blocks)
        files = [path for path in store.path.rglob("c/**/*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        yield f"{'files, bytes':<40}{len(files) / blocks:9.1f} {size / blocks:9.0f} a block"
        metadata = (store.path / "zarr.json").stat().st_size
        yield f"{'metadata, whatever the blocks':<40}{metadata:9} bytes"
        begin = time.perf_counter()
        copy = consolidate(store.path, Path(folder, "packed.zarr"))
        yield _each("consolidate", time.perf_counter() - begin, blocks)
        yield f"{'files of the packed store':<40}{copy.files:9}"


def store_lines(sizes: Sequence[int]) -> Iterator[str]:
    """CPU seconds to plan, create, and look through stores of so many blocks."""
    _store_seconds(2)  # imports, and compiles
    columns = [_store_seconds(blocks) for blocks in sizes]
    yield f"{'CPU seconds':<40}" + "".join(f"{blocks:>9}" for blocks in sizes) + " blocks"
    for name in columns[0]:
        yield f"{name:<40}" + "".join(f"{column[name]:9.2f}" for column in columns)


def _store_seconds(blocks: int) -> dict[str, float]:
    sweep = numbered(blocks)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        path = Path(folder, "s.zarr")

        def read() -> object:
            return open_sweep(path)["value"].values

        before = {
            "plan": lambda: plan(sweep, block_points=1),
            "create": lambda: created(sweep, path),
        }
        seconds = {name: cpu_seconds_of(call) for name, call in before.items()}
        _fill(path)
        looks: dict[str, Callable[[], object]] = {
            "status, all but one block done": lambda: status(path),
            "list": lambda: catalogue(folder),
            "info": lambda: describe(Store(path)),
            "verify": lambda: verify(path),
            "open_sweep": lambda: open_sweep(path),
            "a variable, through xarray": read,
        }
        return seconds | {name: cpu_seconds_of(look) for name, look in looks.items()}


def _fill(path: Path) -> None:
    """Write one block, and copy its files to all other blocks but the last, which stays pending."""
    store = Store(path)
    store.write(store.blocks[0], {"value": np.ones(1)})
    for first in path.glob("*/c/0"):
        if first.parents[1].name not in store.axes:
            content = first.read_bytes()
            for block in store.blocks[1:-1]:
                first.with_name(str(block.number)).write_bytes(content)


def task_lines(tasks: int) -> Iterator[str]:
    """What tasks that wait cost, what comes back, and what a look at the lease takes."""
    with tempfile.TemporaryDirectory() as folder, crowd(0) as client:
        store = created(numbered(tasks), Path(folder, "s.zarr"))
        lease, _ = acquire(store, lease_of(store, client))
        before = _used(client), _here()
        futures = submit_blocks(client, store, lease, list(store.blocks))
        while client.run_on_scheduler(_tasks) < tasks:
            time.sleep(0.1)
        after = _used(client), _here()
        for name, one, other in zip(("scheduler", "client"), before, after, strict=True):
            reported = f"{name}, a task that waits"
            yield f"{reported:<40}{(other.rss - one.rss) / tasks:9.0f} bytes"
        del futures
        cancel_check, looks = LeaseCheck(store.records, lease.id), 200
        cancel_check.look()
        seconds = seconds_of(lambda: [cancel_check.look() for _ in range(looks)])
        yield _each("a look at the lease", seconds, looks, "ms")
        end_lease(store.records)
    receipt = pickle.dumps(TaskResult(12_345, computed=8, kernel_seconds=1.5, worker_seconds=1.6))
    yield f"{'a receipt':<40}{len(receipt):9} bytes"
    reads = f"{1000 / WATCH_SECONDS:9.0f} times/s, and one renews it every {PULSE_SECONDS:g} s"
    yield f"{'1000 workers look at the lease':<40}{reads}"


@dataclass(frozen=True)
class Used:
    """What a process has used: CPU seconds, and bytes of memory."""

    cpu: float
    rss: int


@dataclass(frozen=True)
class Rush:
    """So many tasks on a crowd of workers.

    Attributes
    ----------
    tasks
        How many.
    seconds
        By the wall clock.
    scheduler, client
        CPU seconds of the two.
    peak
        Bytes of the scheduler at the end.
    """

    tasks: int
    seconds: float
    scheduler: float
    client: float
    peak: int

    def reported(self, name: str) -> str:
        """In a line."""
        a_task = 1e3 / self.tasks
        return (
            f"{name:<18}{self.seconds:8.1f} s{self.tasks / self.seconds:7.0f} tasks/s; a task: "
            f"scheduler {self.scheduler * a_task:.2f}, client {self.client * a_task:.2f} ms CPU; "
            f"scheduler {_mb(self.peak)}"
        )


def crowd_lines(workers: int, tasks: int, seconds: float) -> Iterator[str]:
    """Tasks that sleep on a simulated cluster: Dask alone, and a run of ours into a store."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, crowd(workers) as client:
        start = time.perf_counter() - begin
        yield f"{workers} workers there in {start:.1f} s, scheduler {_mb(_used(client).rss)}"
        ideal = -(-tasks // workers) * seconds
        yield f"{tasks} tasks that sleep {seconds:g} s: {ideal:g} s at best"
        yield _rush(client, tasks, lambda: _bare(client, tasks, seconds)).reported("Dask alone")
        sweep, reports = numbered(tasks, nap, seconds=seconds), list[Report]()

        def run() -> None:
            store = f"{folder}/s.zarr"
            reports.append(execute(sweep, store, client, block_points=1, progress=False))

        yield _rush(client, tasks, run).reported("run, into a store")
        report = reports[0]
    assert report.complete
    beside = (report.worker_seconds - report.kernel_seconds) / tasks
    each = f"{workers / HOSTS:g} workers a process"
    yield f"beside the kernel a task took {1e3 * beside:.0f} ms, {each}"


def _bare(client: Client, tasks: int, seconds: float) -> None:
    futures = client.map(time.sleep, [seconds] * tasks, pure=False)
    for future in as_completed(futures, loop=client.loop):
        future.release()


def _rush(client: Client, tasks: int, work: Callable[[], None]) -> Rush:
    scheduler, here = _used(client), _here()
    seconds = seconds_of(work)
    used = _used(client)
    return Rush(tasks, seconds, used.cpu - scheduler.cpu, _here().cpu - here.cpu, used.rss)


@contextmanager
def crowd(workers: int) -> Iterator[Client]:
    """A client of a scheduler with so many workers, in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with dask.config.set(CALM), ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        mine, theirs = context.Pipe()
        _started(stack, context.Process(target=_schedule, args=(theirs,), daemon=True))
        address = mine.recv()
        shares = [len(range(host, workers, HOSTS)) for host in range(HOSTS)]
        for share in filter(None, shares):
            _started(
                stack, context.Process(target=_host, args=(address, share, folder), daemon=True)
            )
        client = stack.enter_context(Client(address, timeout=60, set_as_default=False))
        if workers:
            client.wait_for_workers(workers, timeout=600)
        yield client


def _started(stack: ExitStack, process: Any) -> None:
    process.start()
    stack.callback(process.join)
    stack.callback(process.terminate)


def _schedule(pipe: Connection) -> None:
    logging.getLogger("distributed").setLevel(logging.ERROR)

    async def serve() -> None:
        async with Scheduler(
            host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0"
        ) as scheduler:
            pipe.send(scheduler.address)
            await scheduler.finished()

    with dask.config.set(CALM):
        asyncio.run(serve())


def _host(address: str, workers: int, folder: str) -> None:
    logging.getLogger("distributed").setLevel(logging.ERROR)

    async def serve() -> None:
        alone = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "local_directory": folder}
        running = [Worker(address, **alone) for _ in range(workers)]
        await asyncio.gather(*running)
        await asyncio.gather(*(worker.finished() for worker in running))

    with dask.config.set(CALM):
        asyncio.run(serve())


def _used(client: Client) -> Used:
    found: Used = client.run_on_scheduler(_here)
    return found


def _here() -> Used:
    process = psutil.Process()
    times = process.cpu_times()
    return Used(times.user + times.system, process.memory_info().rss)


def _tasks(dask_scheduler: Scheduler) -> int:
    return len(dask_scheduler.tasks)


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _each(name: str, seconds: float, number: int, of: str = "ms a block") -> str:
    return f"{name:<40}{1e3 * seconds / number:9.2f} {of}"


def report(
    *,
    blocks: int = 200,
    sizes: Sequence[int] = (10_000, 100_000),
    tasks: int = 2_000,
    workers: int = 1_000,
    seconds: float = 5.0,
) -> str:
    """All slopes, and a run on a simulated cluster, in lines."""
    return "\n".join(
        [
            *block_lines(blocks),
            *store_lines(sizes),
            *task_lines(min(sizes)),
            *crowd_lines(workers, tasks, seconds),
        ]
    )
