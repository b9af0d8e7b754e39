"""A run on a Dask cluster: blocks are tasks of its scheduler."""

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future

from latticescape.sweeps.execution.admission import REFUSED
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
from latticescape.sweeps.store.store import FAILED, PENDING, POISONED, Store

# Tasks the scheduler has at a time: enough to keep any cluster busy, few enough that a million
# blocks do not fill its memory. New ones are submitted when a quarter is done, so that no worker
# waits for the last task of a wave.
WAVE = 4096

# A wait is reported after REPORT_SECONDS, and given up after PATIENCE_SECONDS: a queue may take a
# day. The disk is looked at after SILENT_SECONDS without a result.
POLL_SECONDS, REPORT_SECONDS, GATHER_SECONDS = 2.0, 10.0, 30.0
SILENT_SECONDS, PATIENCE_SECONDS = 60.0, 86_400.0

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
    """Log every worker that dies, leaves or is refused."""

    def log(what: str, event: tuple[float, Any]) -> None:
        worker, reason = event[1]["worker"], event[1].get("reason", "")
        fields = {"event": what, "worker": worker} | ({"reason": reason} if reason else {})
        text = f"{worker}: {reason}" if reason else worker
        LOG.warning("%s: %s", what, text, extra={"fields": fields})

    topics = {WORKER_LOST: "worker lost", REFUSED: "worker refused"}
    with ignore_disconnect(client):
        for topic, what in topics.items():
            client.subscribe_topic(topic, partial(log, what))
    try:
        yield
    finally:
        with ignore_disconnect(client):
            for topic in topics:
                client.unsubscribe_topic(topic)


def _outcomes(
    client: Client, store: Store, lease: Lease, pending: list[Block], base: Store | None
) -> Generator[tuple[Block, TaskResult | BaseException]]:
    """These blocks, each with the result or error of its task, as they finish."""
    blocks, held = iter(pending), dict[str, tuple[Future, Block]]()
    finished, watch = SimpleQueue[Future](), _Watch(client)
    try:
        while client.status == "running":  # else the scheduler is lost
            some = list(islice(blocks, WAVE - len(held)))
            if not (some or held):
                return
            with ignore_disconnect(client):
                futures = submit_blocks(client, store, lease, some, base) if some else []
                held |= {f.key: (f, block) for f, block in zip(futures, some, strict=True)}
                for future in futures:
                    future.add_done_callback(finished.put)
            enough = WAVE - max(1, WAVE // 4) if some else 0
            while len(held) > enough:
                batch = [f for f in _next_batch(finished, watch) if f.key in held]
                if not batch:  # silence: the disk may know more than the scheduler
                    left = {block.number for block in store.pending()}
                    batch = [f for f, block in held.values() if block.number not in left]
                for future, outcome in _batch_outcomes(client, store, batch, held):
                    _, block = held.pop(future.key)
                    future.release()
                    yield block, outcome
                if watch.given_up and held:  # one of them tells the reason for all
                    _, block = next(iter(held.values()))
                    yield block, TaskResult(block.number, cancelled=True, error=watch.given_up)
                    return
    finally:
        for future, _ in held.values():
            future.release()


class _Watch:
    """Says why nothing happens on a cluster, from ten seconds on and then ever more rarely.

    Attributes
    ----------
    given_up
        Why the run has waited long enough, "" while it has not.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.given_up = client, ""
        self.heard()

    def heard(self) -> None:
        """Note that something happened."""
        self.since, self.next_message = time.monotonic(), REPORT_SECONDS

    def look(self) -> None:
        """Look at the workers while nothing happens."""
        silent = time.monotonic() - self.since
        if silent < self.next_message:
            return
        address = self.client.scheduler.address
        try:
            if self.client.sync(self.client.scheduler.ncores, callback_timeout=REPORT_SECONDS):
                self.heard()  # blocks may take as long as they need
                return
            reason = f"the scheduler at {address} has no workers; try dask worker {address}"
        except TimeoutError:
            reason = f"the scheduler at {address} does not answer"
        except OSError:  # it is lost, which the client notices by itself
            return
        self.next_message *= 2
        LOG.warning(
            "waiting for %.0f s: %s", silent, reason, extra={"fields": {"event": "waiting"}}
        )
        if silent > PATIENCE_SECONDS:
            self.given_up = f"{reason} (waited for {silent / 3600:.0f} h)"


def _next_batch(finished: SimpleQueue[Future], watch: _Watch) -> list[Future]:
    """The futures that finished; none if nothing was heard for a minute."""
    deadline = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < deadline and not watch.given_up:
        with suppress(Empty):
            batch = [finished.get(timeout=POLL_SECONDS)]
            while not finished.empty():
                batch.append(finished.get())
            watch.heard()
            return batch
        watch.look()
    return []


def _batch_outcomes(
    client: Client, store: Store, batch: list[Future], held: Mapping[str, tuple[Future, Block]]
) -> Iterator[tuple[Future, TaskResult | BaseException]]:
    """The outcomes of tasks, with one request to the cluster if none of them failed.

    The disk tells the outcome of a task whose worker does not.
    """
    finished = [future for future in batch if future.status == "finished"]
    results: dict[Future, TaskResult] = {}
    with suppress(Exception):
        gather = partial(client.gather, finished, asynchronous=True)
        values = client.sync(gather, callback_timeout=GATHER_SECONDS)
        results = dict(zip(finished, values, strict=True))
    for future in batch:
        outcome: TaskResult | BaseException | None = results.get(future)
        if outcome is None and future.status == "error":
            # The scheduler may die before it can return an error.
            with suppress(OSError, RuntimeError, CancelledError):
                outcome = future.exception()
        if outcome is None and client.status == "running":
            outcome = _outcome_on_disk(store, held[future.key][1])
        yield future, outcome or TaskResult(held[future.key][1].number, cancelled=True, error=LOST)


def _outcome_on_disk(store: Store, block: Block) -> TaskResult | None:
    """The outcome of a block that a task has stored, without the time it took."""
    states = store.states_of(block)
    if (states == PENDING).any():
        return None
    failed, poisoned = (int((states == state).sum()) for state in (FAILED, POISONED))
    return TaskResult(block.number, block.points - failed - poisoned, failed, poisoned)
