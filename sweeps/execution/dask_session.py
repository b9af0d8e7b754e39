"""A run on a Dask cluster: blocks are tasks of its scheduler."""

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import Client, Future, as_completed

from latticescape.sweeps.execution.fault_tolerance import WORKER_LOST, ignore_disconnect
from latticescape.sweeps.execution.lease import acquire, lease_of, release, tasks_known
from latticescape.sweeps.execution.submit import submit_blocks
from latticescape.sweeps.execution.tasks import LOST, TaskResult
from latticescape.sweeps.execution.workers import prepare, warmed
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import Location
from latticescape.sweeps.store.object_store import UnreachableError
from latticescape.sweeps.store.status import Lease
from latticescape.sweeps.store.store import Store

# Tasks the scheduler has at a time: enough to keep any cluster busy, few enough that a million
# blocks do not fill its memory. New ones are submitted when a quarter is done, so that no worker
# waits for the last task of a wave.
WAVE = 4096

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaskSession:
    """The use of a cluster by its client during a run."""

    client: Client

    def prepare(self, location: Location) -> int:
        """Check that all workers can compute and store blocks; their number."""
        return prepare(self.client, location)

    def warmed(self, sweep: Sweep) -> AbstractContextManager[None]:
        """Compile the kernels of a sweep on all workers, and on those that join."""
        return warmed(self.client, sweep)

    def acquire(self, store: Store) -> tuple[Lease, str]:
        """Acquire the lease of a store for the scheduler."""
        return acquire(store, lease_of(store, self.client))

    def outcomes(
        self, store: Store, lease: Lease, pending: list[Block], base: Store | None
    ) -> Generator[tuple[Block, TaskResult | BaseException]]:
        """Compute blocks on the cluster."""
        with _lost_workers_logged(self.client):
            yield from _outcomes(self.client, store, lease, pending, base)

    def release(self, store: Store, lease: Lease) -> bool:
        """Release the lease, unless other clients still have tasks of it."""
        with suppress(OSError, UnreachableError), ignore_disconnect(self.client):
            return release(store, lease, lambda: any(tasks_known(self.client, lease, store.blocks)))
        return False

    def is_lost(self) -> bool:
        """Whether the scheduler is lost."""
        return str(self.client.status) != "running"


@contextmanager
def _lost_workers_logged(client: Client) -> Iterator[None]:
    """Log every worker that dies or leaves."""

    def log(event: tuple[float, Any]) -> None:
        worker = event[1]["worker"]
        fields = {"event": "worker lost", "worker": worker}
        LOG.warning("worker lost: %s", worker, extra={"fields": fields})

    with ignore_disconnect(client):
        client.subscribe_topic(WORKER_LOST, log)
    try:
        yield
    finally:
        with ignore_disconnect(client):
            client.unsubscribe_topic(WORKER_LOST)


def _outcomes(
    client: Client, store: Store, lease: Lease, pending: list[Block], base: Store | None
) -> Generator[tuple[Block, TaskResult | BaseException]]:
    """These blocks, each with the result or error of its task, as they finish."""
    blocks, held = iter(pending), dict[str, tuple[Future, Block]]()
    finished = as_completed(loop=client.loop)
    try:
        while client.status == "running":  # else the scheduler is lost
            some = list(islice(blocks, WAVE - len(held)))
            if not (some or held):
                return
            with ignore_disconnect(client):
                futures = submit_blocks(client, store, lease, some, base) if some else []
                held |= {f.key: (f, block) for f, block in zip(futures, some, strict=True)}
                finished.update(futures)
            enough = WAVE - max(1, WAVE // 4) if some else 0
            while len(held) > enough:
                for future, outcome in _batch_outcomes(client, finished.next_batch(), held):
                    _, block = held.pop(future.key)
                    future.release()
                    yield block, outcome
    finally:
        for future, _ in held.values():
            future.release()


def _batch_outcomes(
    client: Client, batch: Iterable[Future], held: Mapping[str, tuple[Future, Block]]
) -> Iterator[tuple[Future, TaskResult | BaseException]]:
    """The outcomes of finished tasks, with one request to the cluster if none of them failed."""
    finished = [future for future in batch if future.status == "finished"]
    try:
        results = dict(zip(finished, client.gather(finished), strict=True))
    except Exception:  # of one of them, so each is asked separately
        results = {}
    for future in batch:
        outcome: TaskResult | BaseException | None = results.get(future)
        # The scheduler may die before it can return a result.
        with suppress(OSError, RuntimeError, CancelledError):
            if outcome is None and future.status == "finished":
                outcome = future.result()
            elif outcome is None and future.status == "error":
                outcome = future.exception()
        number = held[future.key][1].number
        yield future, outcome or TaskResult(number, cancelled=True, error=LOST)
