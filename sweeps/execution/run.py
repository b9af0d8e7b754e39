"""``run``: blocks become Dask tasks that write into the store; only receipts come back."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np
import xarray as xr
from distributed import Client, Future, as_completed

from latticescape.sweeps.execution.disconnect import unless_lost
from latticescape.sweeps.execution.lease import Lease, leave, take
from latticescape.sweeps.execution.patience import install_patience
from latticescape.sweeps.execution.progress import SweepProgress
from latticescape.sweeps.execution.submit import put
from latticescape.sweeps.execution.tasks import TaskResult, error_text, forgive, revive
from latticescape.sweeps.execution.warmup import warmed
from latticescape.sweeps.execution.workers import (
    Cluster,
    ForeignWorkerError,
    attached,
    check_reach,
    check_workers,
)
from latticescape.sweeps.functions.returned import ReturnedError
from latticescape.sweeps.spec.plan import Block, plan
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.disk_full import DiskFullError, full_disk_told
from latticescape.sweeps.store.extension import base_of, take_over
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.object_store import UnreachableError
from latticescape.sweeps.store.store import (
    DONE,
    FAILED,
    PENDING,
    POISONED,
    Store,
    create,
    open_existing,
    open_sweep,
)

# Tasks the scheduler has at a time: enough to keep any cluster busy, few enough that a million
# blocks do not fill its memory. New ones are put when a quarter is done, so that no worker waits
# for the last of a wave.
WAVE = 4096

CANCELLED = "cancelled, or taken over by another scheduler"
LOST = "the scheduler is lost"
UNMARKED = "they were done, and their marks are gone. Try: latticescape verify, with --repair"


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes
    ----------
    store, digest
        Where the results are, and of which sweep.
    points, blocks
        Number in the whole sweep.
    computed, failed
        Points computed by this run, and points that it tried and could not compute.
    taken_over
        Points that it took from the store of a smaller sweep instead.
    poisoned
        Points of the store that nobody tries any more, since they kill the worker that does.
    pending
        Points that are left because the run was cancelled.
    computed_blocks
        Blocks of which this run computed points.
    seconds, kernel_seconds, worker_seconds
        Wall time, the sum of all workers' time in kernels, and in tasks as a whole: reading the
        spec, computing, writing.
    updates
        Attempted flips or swaps of this run, all replicas.
    workers
        Workers there were at the start.
    error
        That of the first point that failed or is poisoned, "" if there is none.
    note
        From whom the store was taken over, "" if from nobody.
    lost
        Whether the scheduler was lost before the end.
    """

    store: str
    digest: str
    points: int
    blocks: int
    computed: int = 0
    failed: int = 0
    taken_over: int = 0
    poisoned: int = 0
    pending: int = 0
    computed_blocks: int = 0
    seconds: float = 0.0
    kernel_seconds: float = 0.0
    worker_seconds: float = 0.0
    updates: int = 0
    workers: int = 0
    error: str = ""
    note: str = ""
    lost: bool = False

    @property
    def complete(self) -> bool:
        """Whether every point of the sweep is done."""
        return not (self.failed or self.poisoned or self.pending)

    @property
    def told(self) -> str:
        """What is missing, in one sentence or two."""
        kinds = {"failed": self.failed, "are poisoned": self.poisoned, "are pending": self.pending}
        missing = " and ".join(f"{number} {verb}" for verb, number in kinds.items() if number)
        return (
            f"of {self.points} points {missing}, the rest are stored in {self.store}; run again "
            f"to go on. First error: {self.error}"
        )

    def as_dict(self) -> dict[str, object]:
        """The report as one flat JSON object."""
        return asdict(self)


class IncompleteError(RuntimeError):
    """Some points could not be computed; all others are stored, and ``run`` tries these again.

    Poisoned points it does not try: ``retry-failed`` does, when the cause is gone.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(report.told)
        self.report = report


def run(
    sweep: Sweep,
    store: StorePath,
    client: Cluster = None,
    *,
    block_points: int | None = None,
    progress: bool = True,
    poisoned: bool = False,
    base: StorePath | None = None,
) -> xr.Dataset:
    """Compute a sweep into a store; go on where an earlier run stopped.

    Parameters
    ----------
    sweep
        What to compute.
    store
        Folder of the zarr store, on a disk that all workers share; or its URL, such as
        ``s3://bucket/ising.zarr``. If it holds this sweep already, only the points that are not
        done are computed; if it holds another, it is refused.
    client
        A ``distributed.Client``, a scheduler's address, a context that yields a Client such as
        ``latticescape.deploy.connect(…)``, entered only if there is work, or None for a cluster of
        this machine's own that ends with the run.
    block_points
        Most points a block; by default blocks take some 15 s. Changes no bit of the result.
    progress
        Show a bar in a terminal or notebook.
    poisoned
        Try poisoned points again as well, as if nothing had ever failed.
    base
        Store of a sweep that this one extends (:meth:`Sweep.extended`): points that are done there
        are taken over, and not computed.

    Returns
    -------
    Dataset
        The store, lazy; see :func:`open_sweep`.

    Raises
    ------
    RequestError
        If the sweep, store or cluster cannot be used, another scheduler works on the store, or the
        sweep does not extend that of ``base``; before anything is spent.
    IncompleteError
        If some points failed, are poisoned, or were left by a cancel; the rest are stored.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, square
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> ds = run(sweep, tempfile.mkdtemp() + "/ising.zarr")
    >>> ds.susceptibility.dims, bool(ds.done.all())
    (('T',), True)
    """
    report = execute(
        sweep,
        store,
        client,
        block_points=block_points,
        progress=progress,
        poisoned=poisoned,
        base=base,
    )
    if not report.complete:
        raise IncompleteError(report)
    return open_sweep(store)


def execute(
    sweep: Sweep,
    store: StorePath,
    client: Cluster = None,
    *,
    block_points: int | None = None,
    progress: bool = True,
    poisoned: bool = False,
    base: StorePath | None = None,
) -> Report:
    """As :func:`run`, but return what was done and took how long, failures included."""
    begin = time.perf_counter()
    cut = plan(sweep, block_points=block_points)
    origin = None if base is None else base_of(base, sweep)
    existing = open_existing(store, sweep, cut)
    blocks = cut.blocks if existing is None else existing.blocks
    report = Report(str(store), sweep.digest, points=sweep.points, blocks=len(blocks))
    states = None if existing is None else existing.states()
    done = int((states == DONE).sum()) if states is not None else 0
    if existing is None or existing.pending(states) or (poisoned and done < sweep.points):
        if existing is not None:
            existing.check_writable()
        # The store is created last, so that a cluster that cannot be used leaves nothing behind.
        with attached(client) as ready:
            report = replace(report, workers=check_workers(ready))
            check_reach(ready, locate(store))
            install_patience(ready)
            with warmed(ready, sweep):
                existing = existing or create(store, sweep, cut)
                with full_disk_told(store):
                    lease, note = take(existing, ready)
                    if poisoned:
                        revive(existing)
                    taken = 0 if origin is None else take_over(existing, origin)
                    report = replace(report, note=note, taken_over=taken)
                report = _compute(ready, existing, lease, report, progress)
    done += report.taken_over
    return replace(_judged(report, existing, done), seconds=time.perf_counter() - begin)


def _compute(client: Client, store: Store, lease: Lease, report: Report, progress: bool) -> Report:
    kernel, states, broken = store.sweep.kernel, store.states(), list[Block]()
    with (
        SweepProgress(report.points, int((states == DONE).sum()), shown=progress) as bar,
        _left(store, client, lease),
        closing(_outcomes(client, store, lease, store.pending(states))) as outcomes,
    ):
        for block, outcome in outcomes:
            if isinstance(outcome, (ReturnedError, ForeignWorkerError)):
                raise outcome  # as would all the blocks that are still to come
            if isinstance(outcome, DiskFullError):
                report = replace(report, error=str(outcome))
                break  # nor can anything else be stored: the rest stays pending
            if isinstance(outcome, BaseException):
                broken.append(block)
                report = replace(report, error=report.error or error_text(outcome))
            else:
                updates = kernel.updates(outcome.computed)
                bar.add(outcome.computed, updates, outcome.kernel_seconds)
                report = _counted(report, outcome)
    if client.status != "running" and store.pending():
        report = replace(report, error=report.error or LOST, lost=True)
    # All that such a task was to do, and has not done by now, whoever may have tried after it.
    unwritten = sum(int((store.states_of(block) == PENDING).sum()) for block in broken)
    return replace(report, failed=unwritten)


@contextmanager
def _left(store: Store, client: Client, lease: Lease) -> Iterator[None]:
    """Give the lease back however this ends; a lost scheduler's is taken over by the next run."""
    try:
        yield
    finally:
        with suppress(OSError, UnreachableError), unless_lost(client):
            if leave(store, client, lease):
                forgive(store.notes)


def _counted(report: Report, receipt: TaskResult) -> Report:
    return replace(
        report,
        computed_blocks=report.computed_blocks + bool(receipt.computed),
        kernel_seconds=report.kernel_seconds + receipt.kernel_seconds,
        worker_seconds=report.worker_seconds + receipt.worker_seconds,
        error=report.error or receipt.error or (CANCELLED if receipt.cancelled else ""),
        lost=report.lost or receipt.error == LOST,
    )


def _judged(report: Report, store: Store, done: int) -> Report:
    """The report with what became of the points, as the store has it: a task may have stored some
    and died before it could tell."""
    states = store.states()
    computed = int((states == DONE).sum()) - done
    blamed = (states == POISONED) | (states == FAILED)
    first = np.unravel_index(int(np.argmax(blamed)), blamed.shape)
    cause = store.error_at(first) if blamed.any() else UNMARKED
    return replace(
        report,
        computed=computed,
        updates=store.sweep.kernel.updates(computed),
        failed=report.failed + int((states == FAILED).sum()),
        pending=int((states == PENDING).sum()) - report.failed,
        poisoned=int((states == POISONED).sum()),
        error=report.error or ("" if (states == DONE).all() else cause),
    )


def _outcomes(
    client: Client, store: Store, lease: Lease, pending: list[Block]
) -> Generator[tuple[Block, TaskResult | BaseException]]:
    """These blocks, each with its receipt or error, as they finish."""
    blocks, held = iter(pending), dict[str, tuple[Future, Block]]()
    finished = as_completed(loop=client.loop)
    try:
        while client.status == "running":  # else its scheduler was lost
            some = list(islice(blocks, WAVE - len(held)))
            if not (some or held):
                return
            with unless_lost(client):
                futures = put(client, store, lease, some) if some else []
                held |= {f.key: (f, block) for f, block in zip(futures, some, strict=True)}
                finished.update(futures)
            enough = WAVE - max(1, WAVE // 4) if some else 0
            while len(held) > enough:
                for future, outcome in _outcomes_of(client, finished.next_batch(), held):
                    _, block = held.pop(future.key)
                    future.release()
                    yield block, outcome
    finally:
        for future, _ in held.values():
            future.release()


def _outcomes_of(
    client: Client, batch: Iterable[Future], held: Mapping[str, tuple[Future, Block]]
) -> Iterator[tuple[Future, TaskResult | BaseException]]:
    """Of tasks that ended, in one question to the cluster if all is well."""
    finished = [future for future in batch if future.status == "finished"]
    try:
        receipts = dict(zip(finished, client.gather(finished), strict=True))
    except Exception:  # one of many; each is asked alone what it was
        receipts = {}
    for future in batch:
        yield future, receipts.get(future) or _outcome(future, held[future.key][1])


def _outcome(future: Future, block: Block) -> TaskResult | BaseException:
    lost = TaskResult(block.number, cancelled=True, error=LOST)
    try:
        if future.status == "finished":
            receipt: TaskResult = future.result()
            return receipt
        if future.status == "error":
            error: BaseException = future.exception()
            return error
    except (OSError, RuntimeError, CancelledError):
        return lost  # the scheduler died before it could hand the receipt over
    return lost
