"""``run``: compute a sweep as Dask tasks that write into the store and return only summaries."""

import logging
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from latticescape.sweeps.execution.inline import INLINE, InlineSession
from latticescape.sweeps.execution.tasks import (
    LOST,
    TaskResult,
    clear_attempts,
    error_text,
    reset_failed,
)
from latticescape.sweeps.execution.worker_code import ForeignWorkerError
from latticescape.sweeps.functions.function import OutputError
from latticescape.sweeps.spec.plan import Block, plan
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.atomic_write import UnwritableError, report_unwritable
from latticescape.sweeps.store.extension import base_of, continues, take_over
from latticescape.sweeps.store.location import Location, StorePath, locate
from latticescape.sweeps.store.status import Lease
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

LOG = logging.getLogger(__name__)

# The minimum time between two messages about the progress.
PROGRESS_SECONDS = 60.0

CANCELLED = "cancelled, or taken over by another scheduler"
UNMARKED = "their done marks are lost. Try: latticescape verify, with --repair"

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

# Where a sweep is computed: by a client's cluster, by the scheduler at an address, in a context
# that yields a client or a session; in this process, "inline"; or on an own cluster, None.
Cluster: TypeAlias = "Client | str | AbstractContextManager[Client | Session] | Session | None"


class Session(Protocol):
    """The use of a cluster, or of this process, during a run."""

    def prepare(self, location: Location) -> int:
        """Check that blocks can be computed and stored; the number of workers."""

    def warmed(self, sweep: Sweep) -> AbstractContextManager[None]:
        """Compile the kernels of a sweep wherever it is computed."""

    def acquire(self, store: Store) -> tuple[Lease, str]:
        """Acquire the lease of a store; the lease, and whom it was taken over from."""

    def outcomes(
        self, store: Store, lease: Lease, pending: list[Block], base: Store | None
    ) -> Generator[tuple[Block, TaskResult | BaseException]]:
        """Compute blocks; each with the result or error of its task, as they finish."""

    def release(self, store: Store, lease: Lease) -> bool:
        """Release a lease at the end of a run; whether it was released."""

    def is_lost(self) -> bool:
        """Whether no further block can be computed, because the scheduler is lost."""


@contextmanager
def session_of(cluster: Cluster) -> Iterator[Session]:
    """The session of whatever a cluster may be."""
    if cluster == INLINE:
        yield InlineSession()
    elif isinstance(cluster, InlineSession):
        yield cluster
    else:
        from latticescape.sweeps.execution.dask_session import DaskSession
        from latticescape.sweeps.execution.workers import attached

        with attached(cluster) as connected:
            is_session = isinstance(connected, InlineSession)
            yield connected if is_session else DaskSession(connected)


@dataclass(frozen=True)
class Report:
    """The result of a run.

    Attributes
    ----------
    store, digest
        The store, and the digest of its sweep.
    points, blocks
        Number of points and blocks of the sweep.
    computed, failed
        Points that this run computed, and points that it tried and that failed.
    taken_over, continued
        Points copied from the store of a smaller sweep, and computed points that went on from one.
    poisoned
        Points that are no longer tried, because they kill their worker.
    unmet
        Points that ended at ``max_samples``, before their errors reached the targets.
    not_equilibrated
        Points whose results depend on the start or on time; see ``equilibrated`` of the Dataset.
    pending
        Points that are left because the run was cancelled.
    computed_blocks
        Blocks of which this run computed points.
    seconds, kernel_seconds, worker_seconds
        Wall time; total time of all workers in kernels; and in tasks, which read the spec, compute
        and write.
    updates
        Attempted flips or exchanges of this run, all replicas.
    workers
        Number of workers at the start.
    error
        Error of the first point that failed or is poisoned, "" if none.
    note
        From whom the store was taken over, "" if from nobody.
    lost
        Whether the scheduler is lost.
    """

    store: str
    digest: str
    points: int
    blocks: int
    computed: int = 0
    failed: int = 0
    taken_over: int = 0
    continued: int = 0
    poisoned: int = 0
    unmet: int = 0
    not_equilibrated: int = 0
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
    def summary(self) -> str:
        """Which points are missing, and why."""
        kinds = {"failed": self.failed, "are poisoned": self.poisoned, "are pending": self.pending}
        missing = " and ".join(f"{number} {verb}" for verb, number in kinds.items() if number)
        return (
            f"of {self.points} points {missing}, the others are stored in {self.store}; run again "
            f"to continue. First error: {self.error}"
        )

    def as_dict(self) -> dict[str, object]:
        """The report as one flat JSON object."""
        return asdict(self)


class IncompleteError(RuntimeError):
    """Some points could not be computed; the others are stored, and ``run`` tries these again.

    ``run`` does not try poisoned points again; ``retry-failed`` does, once the cause is removed.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(report.summary)
        self.report = report


def run(
    sweep: Sweep,
    store: StorePath,
    cluster: Cluster = None,
    *,
    block_points: int | None = None,
    progress: bool = True,
    poisoned: bool = False,
    base: StorePath | None = None,
) -> "xr.Dataset":
    """Compute a sweep into a store; continue where an earlier run stopped.

    Parameters
    ----------
    sweep
        What to compute.
    store
        Folder of the zarr store, on a disk that all workers share; or its URL, such as
        ``s3://bucket/ising.zarr``. If it holds this sweep already, only the points that are not
        done are computed; if it holds another, it is refused.
    cluster
        Where to compute: a ``distributed.Client``; a scheduler's address; a context that yields a
        Client, such as ``latticescape.connect(…)``, entered only if there is work; ``"inline"`` for
        this process, without any scheduler; or None for a cluster on this machine that ends with
        the run.
    block_points
        Maximum number of points in a block; by default blocks take about 15 s. Changes no bit of
        the result.
    progress
        Show a progress bar in a terminal or notebook.
    poisoned
        Also try failed and poisoned points again, as if they had never been tried.
    base
        Store of a sweep that this one extends (:meth:`Sweep.extended`): points that are done there
        are copied, or go on from there if this sweep has more samples.

    Returns
    -------
    Dataset
        The store, lazy; see :func:`open_sweep`.

    Raises
    ------
    RequestError
        If the sweep, store or cluster cannot be used, another scheduler works on the store, or the
        sweep does not extend that of ``base``; before anything is computed.
    IncompleteError
        If some points failed, are poisoned, or are left because of a cancel; the others are stored.

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
        cluster,
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
    cluster: Cluster = None,
    *,
    block_points: int | None = None,
    progress: bool = True,
    poisoned: bool = False,
    base: StorePath | None = None,
) -> Report:
    """As :func:`run`, but return a report, also if points failed."""
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
        with session_of(cluster) as session:
            report = replace(report, workers=session.prepare(locate(store)))
            with session.warmed(sweep):
                existing = existing or create(store, sweep, cut)
                with report_unwritable(store):
                    lease, note = session.acquire(existing)
                    if poisoned:
                        reset_failed(existing)
                    if origin is not None and not continues(sweep, origin):
                        report = replace(report, taken_over=take_over(existing, origin))
                        origin = None
                    report = replace(report, note=note)
                report = _compute(session, existing, lease, report, progress, origin)
    done += report.taken_over
    report = replace(_final(report, existing, done), seconds=time.perf_counter() - begin)
    counts = {
        "computed": report.computed,
        "failed": report.failed,
        "poisoned": report.poisoned,
        "pending": report.pending,
    }
    _log(
        "finished",
        ", ".join(f"{number} {state}" for state, number in counts.items())
        + f", {report.seconds:.1f} s",
        store=report.store,
        seconds=report.seconds,
        **counts,
    )
    return report


def _log(event: str, text: str, level: int = logging.INFO, /, **fields: object) -> None:
    """Log an event; a handler that writes JSON finds its fields in the record."""
    fields = {"event": event, **fields}
    LOG.log(level, "%s: %s", event, text, extra={"fields": fields}, stacklevel=2)


def _compute(
    session: Session,
    store: Store,
    lease: Lease,
    report: Report,
    progress: bool,
    base: Store | None = None,
) -> Report:
    states, broken = store.states(), list[Block]()
    done, pending = int((states == DONE).sum()), store.pending(states)
    todo = int(((states == PENDING) | (states == FAILED)).sum())
    _log(
        "started",
        f"{todo} of {report.points} points in {len(pending)} blocks, workers {report.workers}, "
        f"store {report.store}",
        todo=todo,
        points=report.points,
        blocks=len(pending),
        workers=report.workers,
        store=report.store,
    )
    with (
        SweepProgress(report.points, done, shown=progress) as bar,
        _released(session, store, lease),
        closing(session.outcomes(store, lease, pending, base)) as outcomes,
    ):
        for block, outcome in outcomes:
            if isinstance(outcome, (OutputError, ForeignWorkerError)):
                raise outcome  # all further blocks would raise it too
            if isinstance(outcome, UnwritableError):
                report = replace(report, error=str(outcome))
                break  # no further block can be stored: they stay pending
            if isinstance(outcome, BaseException):
                broken.append(block)
                _log_failure(block, block.points, error_text(outcome))
                report = replace(report, error=report.error or error_text(outcome))
            else:
                if outcome.failed or outcome.poisoned:
                    _log_failure(block, outcome.failed + outcome.poisoned, outcome.error)
                bar.add(outcome.computed, outcome.updates, outcome.kernel_seconds)
                cancelled = CANCELLED if outcome.cancelled else ""
                report = replace(
                    report,
                    computed_blocks=report.computed_blocks + bool(outcome.computed),
                    continued=report.continued + outcome.continued,
                    updates=report.updates + outcome.updates,
                    kernel_seconds=report.kernel_seconds + outcome.kernel_seconds,
                    worker_seconds=report.worker_seconds + outcome.worker_seconds,
                    error=report.error or outcome.error or cancelled,
                    lost=report.lost or outcome.error == LOST,
                )
    if session.is_lost() and store.pending():
        report = replace(report, error=report.error or LOST, lost=True)
    # Points of a broken task count as failed unless another task has computed them since.
    failed = sum(int((store.states_of(block) == PENDING).sum()) for block in broken)
    return replace(report, failed=failed)


def _log_failure(block: Block, points: int, error: str) -> None:
    _log(
        "block failed",
        f"block {block.number}, {points} of {block.points} points: {error}",
        logging.WARNING,
        block=block.number,
        points=points,
        error=error,
    )


@contextmanager
def _released(session: Session, store: Store, lease: Lease) -> Iterator[None]:
    """Release the lease at the end; the next run takes over that of a lost scheduler."""
    try:
        yield
    except BaseException as error:
        text = error_text(error).rstrip(": ")
        _log("stopped", text, logging.ERROR, error=text)
        raise
    finally:
        if session.release(store, lease):
            clear_attempts(store.records)


def _final(report: Report, store: Store, done: int) -> Report:
    """The report with the states of the store: a task may store points and die afterwards."""
    states = store.states()
    computed = int((states == DONE).sum()) - done
    limited = any(v.name == "until_met" for v in store.sweep.kernel.variables)
    failed = (states == POISONED) | (states == FAILED)
    first = np.unravel_index(int(np.argmax(failed)), failed.shape)
    cause = store.error_at(first) if failed.any() else UNMARKED
    return replace(
        report,
        computed=computed,
        unmet=int(((states == DONE) & ~store.values("until_met")).sum()) if limited else 0,
        not_equilibrated=store.not_equilibrated(states),
        failed=report.failed + int((states == FAILED).sum()),
        pending=int((states == PENDING).sum()) - report.failed,
        poisoned=int((states == POISONED).sum()),
        error=report.error or ("" if (states == DONE).all() else cause),
    )


class SweepProgress(Progress):
    """A progress bar with rate and time left, on standard error; and messages once a minute.

    Parameters
    ----------
    points
        Number of points of the sweep.
    done
        Number of points done before.
    shown
        Show the bar in a terminal or notebook. It is never shown in a pipe.
    """

    def __init__(self, points: int, done: int, *, shown: bool) -> None:
        self.updates, self.seconds = 0, 0.0
        self.points, self.before, self.done = points, done, done
        self.begin = self.logged = time.monotonic()
        console = Console(file=sys.stderr)
        super().__init__(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("points"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not (shown and (console.is_terminal or console.is_jupyter)),
        )
        self.sweep = self.add_task("sweep", total=points, completed=done, rate="")

    def add(self, points: int, updates: int, seconds: float) -> None:
        """Add a finished block; the rate is that of one core."""
        self.updates += updates
        self.seconds += seconds
        self.done += points
        rate = ""
        if self.seconds:
            per_second = self.updates / self.seconds
            number = f"{per_second / 1e6:.1f} M" if per_second >= 1e5 else f"{per_second:.3g}"
            rate = f"{number} updates/s per core"
        self.update(self.sweep, advance=points, rate=rate)
        if time.monotonic() >= self.logged + PROGRESS_SECONDS:
            self.log_progress()

    def log_progress(self) -> None:
        """Log the points that are done, their rate since the start, and the time left."""
        self.logged = time.monotonic()
        passed = max(self.logged - self.begin, 1e-9)
        points_rate = (self.done - self.before) / passed
        updates_rate = self.updates / passed
        seconds = round((self.points - self.done) / points_rate) if points_rate else None
        left = "unknown" if seconds is None else timedelta(seconds=seconds)
        _log(
            "progress",
            f"{self.done} of {self.points} points done, {points_rate:.3g} points/s, "
            f"{updates_rate:.3g} updates/s, time left {left}",
            done=self.done,
            points=self.points,
            points_per_second=points_rate,
            updates_per_second=updates_rate,
            seconds_left=seconds,
        )
