"""Fault tolerance of a cluster: slow disks, lost schedulers, and workers that die.

A disk that cannot be written is reported by
:class:`latticescape.sweeps.store.atomic_write.UnwritableError`.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from latticescape.sweeps.store.status import KEY

if TYPE_CHECKING:
    from distributed import Client

# A block of thousands of points needs some twenty dead workers to isolate one poisoned point.
# Deaths before a block begins isolate nothing, and must end too.
MAX_DEATHS = 100

# Topic of the scheduler's events about workers that died or left.
WORKER_LOST = "latticescape-worker-lost"


@contextmanager
def secede_for_io() -> Iterator[None]:
    """Release the worker's slot while the task only writes; no-op outside a worker.

    Writing waits for the disk or a server while computing waits for the processor. At most as many
    tasks as the worker has threads write at a time, and the next one waits before it releases its
    slot, so that a disk slower than the kernel does not fill the memory with results.

    Examples
    --------
    >>> with secede_for_io():
    ...     pass
    """
    if "distributed" not in sys.modules:
        yield
        return
    from distributed import get_worker, secede

    try:
        worker = get_worker()
    except ValueError:  # called by hand
        yield
        return
    with _slots(worker.state.nthreads):
        secede()
        yield


@lru_cache(maxsize=1)
def _slots(threads: int) -> BoundedSemaphore:
    return BoundedSemaphore(threads)


@contextmanager
def ignore_disconnect(client: "Client") -> Iterator[None]:
    """Suppress client errors after the scheduler connection is lost.

    Which error a client raises then depends on the moment: RuntimeError from a closed pool,
    AttributeError from an address that is gone, or that a future is cancelled.
    """
    try:
        yield
    except Exception:
        if client.status == "running":
            raise


def install_retries(client: "Client") -> None:
    """Make a scheduler retry our tasks whenever a worker dies.

    Dask gives a task up (``KilledWorker``) when ``distributed.scheduler.allowed-failures`` + 1
    workers died that held it, even if only in their queue. Our blocks isolate poisoned points and
    end by themselves. Other tasks are not affected. Best effort: on a scheduler that refuses the
    plugin Dask's limit holds, and the next ``run`` continues from what is stored.
    """
    with suppress(Exception):
        client.register_plugin(_retry_plugin())


def _retry_plugin() -> Any:
    """The plugin. Its class is local, so that it is pickled as code: the scheduler need not have
    this package installed, nor import Numba."""
    from distributed import SchedulerPlugin

    key, limit, topic = KEY, MAX_DEATHS, WORKER_LOST

    class RetryPlugin(SchedulerPlugin):  # type: ignore[misc]
        name = "latticescape-retry"
        idempotent = True

        def __init__(self) -> None:
            self.deaths: Counter[str] = Counter()

        def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
            scheduler.log_event(topic, {"worker": worker})
            for task in scheduler.tasks.values():
                if task.suspicious and str(task.key).startswith(key):
                    self.deaths[task.key] += task.suspicious
                    if self.deaths[task.key] < limit:
                        task.suspicious = 0

    return RetryPlugin()
