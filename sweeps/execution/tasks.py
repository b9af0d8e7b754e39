"""The task: a block computed on a worker and written into the store; a receipt comes back."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import shortened
from latticescape.physics.kernels.cancellation import CancelCheck, Cancelled, never_cancelled
from latticescape.sweeps.execution.lease import LeaseCheck, block_note
from latticescape.sweeps.execution.secede import aside
from latticescape.sweeps.execution.warmup import warm_up
from latticescape.sweeps.execution.work_units import MOST_DEATHS, Trial, Units, bisected, units_of
from latticescape.sweeps.execution.workers import Code, check_code
from latticescape.sweeps.functions.returned import ReturnedError
from latticescape.sweeps.functions.source import Source
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.seeding import point_seeds
from latticescape.sweeps.store.disk_full import full_disk_told
from latticescape.sweeps.store.records import Notes
from latticescape.sweeps.store.store import FAILED, POISONED, Store, cached_store

# Of an error so much is stored with a point.
ERROR_WIDTH = 200

Results = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TaskResult:
    """What a task sends back: no data, only how many points are done and what it took.

    Attributes
    ----------
    block
        The block's number.
    computed, failed, poisoned
        Points computed, failed, and found to kill their worker, by this task.
    error
        That of the first point that failed or is poisoned, "" if none.
    cancelled
        Whether the task was called off before its end.
    kernel_seconds, worker_seconds
        Time in the kernel, and as a whole.
    """

    block: int
    computed: int = 0
    failed: int = 0
    poisoned: int = 0
    error: str = ""
    cancelled: bool = False
    kernel_seconds: float = 0.0
    worker_seconds: float = 0.0


def error_text(error: BaseException) -> str:
    """An error on one line of bounded length, its kind first.

    Examples
    --------
    >>> error_text(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    return shortened(" ".join(f"{type(error).__name__}: {error}".split()), ERROR_WIDTH)


def forgive(notes: Notes) -> None:
    """Note that blocks at work were left by their client's will: no worker is to die of them."""
    for name in notes.names():
        note = notes.read(name)
        if note is not None and note.get("trying"):
            trial = Trial.left(note)
            if trial.suspicious:
                notes.write(name, trial.noted(trying=False))
            else:
                notes.remove(name)


def revive(store: Store) -> None:
    """Make failed and poisoned points of a store pending, as if they had never been tried."""
    states = store.states()
    for block in store.blocks:
        guilty = np.flatnonzero(np.isin(states[block.region].ravel(), (FAILED, POISONED)))
        if len(guilty):
            store.reset(block, guilty)
            store.notes.remove(block_note(block.number))


def compute_block(
    path: str,
    identity: str,
    number: int,
    lease: str = "",
    source: Source | None = None,
    code: Code | None = None,
) -> TaskResult:
    """Compute the open points of one block of a store and write them.

    Parameters
    ----------
    path, identity
        Where the store is, and which it is.
    number
        The block's number.
    lease
        The lease that this is part of, and ends with.
    source
        The user's function, if the sweep is of one.
    code
        What the sender runs, to be run here too.

    Raises
    ------
    ForeignWorkerError
        If this worker runs other code.
    ReturnedError
        If the function returns something else than declared, and no point of the store is done.
    DiskFullError
        If the disk is full.
    """
    begin = time.perf_counter()
    if code is not None:
        check_code(code)
    store = cached_store(path, identity, source)
    block = store.blocks[number]
    cancel_check = LeaseCheck(store.notes, lease) if lease else never_cancelled
    try:
        cancel_check()
    except Cancelled:
        return TaskResult(number, cancelled=True)
    open_ = store.open_points(block)
    receipt = TaskResult(number)
    if open_.any():
        warm_up(store.sweep)
        store.check_room(block)
        with full_disk_told(store.path):
            receipt = _Work(store, block, cancel_check).compute(open_)
    return replace(receipt, worker_seconds=time.perf_counter() - begin)


@dataclass
class _Work:
    """Computing a block: what it is made of, and what came of it so far."""

    store: Store
    block: Block
    cancel_check: CancelCheck
    kernel_seconds: float = 0.0
    receipt: TaskResult = field(init=False)

    def __post_init__(self) -> None:
        self.units = units_of(self.store.sweep, self.block)
        self.points = self.store.sweep.coordinates(self.block.region)
        self.receipt = TaskResult(self.block.number)

    def compute(self, open_: npt.NDArray[np.bool_]) -> TaskResult:
        """Try the units that hold an open point, set by set, and store each set as it is done."""
        notes, name = self.store.notes, block_note(self.block.number)
        units = np.flatnonzero(open_[self.units].any(axis=1)).tolist()
        trial = Trial.of(units, notes.read(name))
        self._poison(trial.poisoned)
        try:
            while trial.sets:
                notes.write(name, {**trial.noted(trying=True), **_who()})
                for some, outcome in bisected(trial.sets[0], self._computed):
                    with self._last() if trial.sets == (some,) else nullcontext():
                        self._keep(some, outcome)
                trial = trial.rest
        except Cancelled:
            self.receipt = replace(self.receipt, cancelled=True)
        finally:
            # No worker died here: whatever ends this, the points are not to blame.
            if trial.sets and trial.suspicious:
                notes.write(name, trial.noted(trying=False))
            else:
                notes.remove(name)
        return replace(self.receipt, kernel_seconds=self.kernel_seconds)

    @contextmanager
    def _last(self) -> Iterator[None]:
        """Only writing is left: if the worker dies now, it dies of another block."""
        with aside():
            self.store.notes.remove(block_note(self.block.number))
            yield

    def _computed(self, units: Units) -> Results:
        sweep, points = self.store.sweep, [self.points[p] for p in self._points_of(units)]
        axes = {name: np.array([point[name] for point in points]) for name in sweep.axes}
        seeds = point_seeds(sweep.seed, map(sweep.kernel.parameters, points))
        begin = time.perf_counter()
        try:
            return sweep.kernel.compute(axes, seeds, self.cancel_check)
        finally:
            self.kernel_seconds += time.perf_counter() - begin

    def _keep(self, units: Units, outcome: Results | Exception) -> None:
        points, receipt = self._points_of(units), self.receipt
        self.cancel_check()
        if isinstance(outcome, ReturnedError) and not self.store.done().any():
            raise outcome
        if isinstance(outcome, Exception):
            error = error_text(outcome)
            self.store.fail(self.block, points, error)
            failed = receipt.failed + len(points)
            self.receipt = replace(receipt, failed=failed, error=receipt.error or error)
        else:
            self.store.write(self.block, outcome, points)
            self.receipt = replace(receipt, computed=receipt.computed + len(points))

    def _poison(self, units: Units) -> None:
        if not units:
            return
        error = f"the worker died {MOST_DEATHS} times while it computed this and nothing else"
        points = self._points_of(units)
        self.store.fail(self.block, points, error, state=POISONED, attempts=MOST_DEATHS)
        self.receipt = replace(self.receipt, poisoned=len(points), error=error)

    def _points_of(self, units: Units) -> npt.NDArray[np.intp]:
        return self.units[list(units)].ravel()


def _who() -> dict[str, Any]:
    return {"host": socket.gethostname(), "since": time.time()}
