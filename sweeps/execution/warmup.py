"""Warm-up: every worker has compiled a sweep's kernel before it takes a block of it."""

import asyncio
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from distributed import Client, Worker, WorkerPlugin

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.disconnect import unless_lost
from latticescape.sweeps.spec.sweep import Sweep

_lock = threading.Lock()
_warm: set[str] = set()


def warm_up(sweep: Sweep) -> None:
    """Make this process ready to compute a sweep; all but the first call return at once.

    Raises
    ------
    RequestError
        If the kernel fails.
    """
    with _lock:
        if sweep.digest not in _warm:
            _try_out(sweep)
            _warm.add(sweep.digest)


def _try_out(sweep: Sweep) -> None:
    try:
        sweep.kernel.warm_up(sweep.axes)
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"the kernel {sweep.kernel.name} fails before its first block on {platform.node()}",
            came=f"{type(error).__name__}: {error}",
            hint="latticescape doctor --compile, on that machine",
        ) from error


class WarmUp(WorkerPlugin):  # type: ignore[misc]
    """Warms a worker up as it is met: those there are, and any that joins later.

    Dask sets a worker's plugins up before it hands the worker a task, but lets a worker whose
    plugin failed join all the same. So a task asks for the warm-up too, and fails as it does.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.name = f"latticescape-warm-up-{sweep.digest}"

    async def setup(self, worker: Worker) -> None:
        # In a thread, since a worker that compiles for many seconds must answer the scheduler.
        await asyncio.to_thread(warm_up, self.sweep)


@contextmanager
def warmed(client: Client, sweep: Sweep) -> Iterator[None]:
    """Warm up all workers of a cluster; those that join meanwhile are warmed up as well.

    Raises
    ------
    RequestError
        If the kernel fails on a worker.
    """
    plugin = WarmUp(sweep)
    try:
        with suppress(OSError):  # a worker was lost meanwhile: the others go on
            client.register_plugin(plugin)
        yield
    finally:
        # ValueError: another run of the same sweep has taken it away already.
        with suppress(OSError, ValueError), unless_lost(client):
            client.unregister_worker_plugin(plugin.name)
