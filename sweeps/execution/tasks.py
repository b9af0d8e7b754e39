"""The task: compute a block on a worker and write it into the store; return only a summary."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import CancelCheck, Cancelled, never_cancelled, shortened
from latticescape.physics.kernels.kernel import Earlier, ModelKernel
from latticescape.physics.variables import RESTART
from latticescape.sweeps.execution.fault_tolerance import secede_for_io
from latticescape.sweeps.execution.worker_code import Code, check_code, warm_up
from latticescape.sweeps.functions.function import OutputError
from latticescape.sweeps.functions.source_digest import Source
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.atomic_write import report_unwritable
from latticescape.sweeps.store.extension import earlier_results
from latticescape.sweeps.store.object_store import Record, Records
from latticescape.sweeps.store.status import LeaseCheck, block_record, read_block
from latticescape.sweeps.store.store import FAILED, POISONED, Store, cached_store

# Maximum length of an error that is stored with a point.
ERROR_WIDTH = 200

# A unit is poisoned after it has killed this many workers that computed nothing else.
MAX_DEATHS = 3

LOST = "the scheduler is lost"

Result = TypeVar("Result")
Units = tuple[int, ...]


@dataclass(frozen=True)
class TaskResult:
    """What a task returns: no data, only how many points are done and the time it took.

    Attributes
    ----------
    block
        Number of the block.
    computed, failed, poisoned
        Points that this task computed, that failed, and that it marked poisoned.
    continued
        Computed points that went on from another store.
    updates
        Attempted updates of the computed points.
    error
        Error of the first point that failed or is poisoned, "" if none.
    cancelled
        Whether the task was cancelled before its end.
    kernel_seconds, worker_seconds
        Time in the kernel, and in total.
    """

    block: int
    computed: int = 0
    failed: int = 0
    poisoned: int = 0
    continued: int = 0
    updates: int = 0
    error: str = ""
    cancelled: bool = False
    kernel_seconds: float = 0.0
    worker_seconds: float = 0.0


def error_text(error: BaseException) -> str:
    """An error on one line of limited length, its type first.

    Examples
    --------
    >>> error_text(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    return shortened(" ".join(f"{type(error).__name__}: {error}".split()), ERROR_WIDTH)


def clear_attempts(records: Records) -> None:
    """Record that blocks under way were left on purpose, so that no point is blamed for it."""
    for name in records.names():
        record = read_block(records, name)
        if record is not None and record["trying"]:
            state = RetryState.left(record)
            if state.suspicious:
                records.write(name, state.record(trying=False))
            else:
                records.remove(name)


def reset_failed(store: Store) -> None:
    """Make failed and poisoned points of a store pending, as if they had never been tried."""
    states = store.states()
    for block in store.blocks:
        failed = np.flatnonzero(np.isin(states[block.region].ravel(), (FAILED, POISONED)))
        if len(failed):
            store.reset(block, failed)
            store.records.remove(block_record(block.number))


def compute_block(
    path: str,
    identity: str,
    number: int,
    lease: str = "",
    source: Source | None = None,
    code: Code | None = None,
    base: tuple[str, str] | None = None,
) -> TaskResult:
    """Compute the points of one block that are not done, and write them into the store.

    Parameters
    ----------
    path, identity
        The store's address and identity.
    number
        Number of the block.
    lease
        Identifier of the lease that the task belongs to; the task stops when it ends.
    source
        The user's function, if the sweep is of one.
    code
        Version of the sender's code, which must be that of this worker.
    base
        Address and identity of a store from whose points those of the block go on.

    Raises
    ------
    ForeignWorkerError
        If this worker runs other code.
    OutputError
        If the function returns something else than declared, and no point of the store is done.
    UnwritableError
        If the disk is full.
    """
    begin = time.perf_counter()
    if code is not None:
        check_code(code)
    store = cached_store(path, identity, source)
    block = store.blocks[number]
    cancel_check = LeaseCheck(store.records, lease) if lease else never_cancelled
    try:
        cancel_check()
    except Cancelled:
        return TaskResult(number, cancelled=True)
    unfinished = store.open_points(block)
    result = TaskResult(number)
    if unfinished.any():
        warm_up(store.sweep)
        store.check_space(block)
        with report_unwritable(store.path):
            origin = None if base is None else cached_store(*base)
            result = _Task(store, block, cancel_check, origin).run(unfinished)
    return replace(result, worker_seconds=time.perf_counter() - begin)


@dataclass
class _Task:
    """The computation of one block, and its result so far."""

    store: Store
    block: Block
    cancel_check: CancelCheck
    base: Store | None = None
    kernel_seconds: float = 0.0
    result: TaskResult = field(init=False)

    def __post_init__(self) -> None:
        self.units = work_units(self.store.sweep, self.block)
        self.points = self.store.sweep.coordinates(self.block.region)
        self.result = TaskResult(self.block.number)
        self.earlier: Earlier | None = None
        if self.base is not None:
            self.earlier = earlier_results(self.store, self.base, self.block)

    def run(self, unfinished: npt.NDArray[np.bool_]) -> TaskResult:
        """Compute the units with unfinished points, set by set, and store each set when done."""
        records, name = self.store.records, block_record(self.block.number)
        units = np.flatnonzero(unfinished[self.units].any(axis=1)).tolist()
        state = RetryState.of(units, read_block(records, name))
        if state.poisoned:
            error = f"the worker died {MAX_DEATHS} times while it computed only this"
            points = self._points_of(state.poisoned)
            self.store.fail(self.block, points, error, state=POISONED, attempts=MAX_DEATHS)
            self.result = replace(self.result, poisoned=len(points), error=error)
        try:
            while state.sets:
                who = {"host": socket.gethostname(), "since": time.time()}
                records.write(name, {**state.record(trying=True), **who})
                for some, outcome in bisect_failures(state.sets[0], self._compute):
                    last = state.sets == (some,)
                    with secede_for_io() if last else nullcontext():
                        if last:  # a worker that dies from now on dies of another block
                            records.remove(name)
                        self._write(some, outcome)
                state = replace(state, sets=state.sets[1:])
        except Cancelled:
            self.result = replace(self.result, cancelled=True)
        finally:
            # The worker is alive, so whatever ends this task, no point is to blame.
            if state.sets and state.suspicious:
                records.write(name, state.record(trying=False))
            else:
                records.remove(name)
        return replace(self.result, kernel_seconds=self.kernel_seconds)

    def _compute(self, units: Units) -> dict[str, npt.NDArray[np.generic]]:
        sweep, points = self.store.sweep, self._points_of(units)
        axes, seeds = sweep.kernel_inputs([self.points[p] for p in points])
        begin = time.perf_counter()
        try:
            if self.earlier is None or not isinstance(sweep.kernel, ModelKernel):
                return sweep.kernel.compute(axes, seeds, self.cancel_check)
            earlier = {name: values[points] for name, values in self.earlier.items()}
            return sweep.kernel.compute(axes, seeds, self.cancel_check, earlier)
        finally:
            self.kernel_seconds += time.perf_counter() - begin

    def _write(self, units: Units, outcome: dict[str, npt.NDArray[np.generic]] | Exception) -> None:
        points, result = self._points_of(units), self.result
        self.cancel_check()
        if isinstance(outcome, OutputError) and not self.store.done().any():
            raise outcome
        if isinstance(outcome, Exception):
            error = error_text(outcome)
            self.store.fail(self.block, points, error)
            failed = result.failed + len(points)
            self.result = replace(result, failed=failed, error=result.error or error)
        else:
            self.store.write(self.block, outcome, points)
            kernel = self.store.sweep.kernel
            updates, continued, earlier = kernel.updates(len(points)), 0, None
            if self.earlier is not None:
                earlier = {RESTART: self.earlier[RESTART][points]}
                continued = int(earlier[RESTART].any(axis=1).sum())
            if isinstance(kernel, ModelKernel):
                updates = kernel.steps(outcome, earlier)
            self.result = replace(
                result,
                computed=result.computed + len(points),
                continued=result.continued + continued,
                updates=result.updates + updates,
            )

    def _points_of(self, units: Units) -> npt.NDArray[np.intp]:
        return self.units[list(units)].ravel()


def work_units(sweep: Sweep, block: Block) -> npt.NDArray[np.intp]:
    """The smallest parts of a block that can be computed separately, by the numbers of its points.

    A unit is one point; or all points that differ only along the axes that the kernel computes
    together, such as the temperatures of parallel tempering.

    Returns
    -------
    ndarray
        (units, points of a unit).

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> grid = {"T": [2.0, 2.5], "H": [0.0, 1.0]}
    >>> block = Block(0, (0, 0), (2, 2))
    >>> single = Sweep(square(8), Ising(), grid, Schedule(10, 5, 2))
    >>> work_units(single, block).tolist()
    [[0], [1], [2], [3]]
    >>> ladders = Sweep(square(8), Ising(), grid, Schedule(10, 5, 2, tempering_mcs=1))
    >>> work_units(ladders, block).tolist()
    [[0, 2], [1, 3]]
    """
    together = [name in sweep.kernel.uncut_axes for name in sweep.grid]
    shape = [1 if t else n for t, n in zip(together, block.shape, strict=True)]
    labels = np.arange(np.prod(shape)).reshape(shape)
    of_point = np.broadcast_to(labels, block.shape).ravel()
    return np.argsort(of_point, kind="stable").reshape(labels.size, -1)


def bisect_failures(
    units: Units, compute: Callable[[Units], Result]
) -> Iterator[tuple[Units, Result | Exception]]:
    """Compute units together; if that raises, compute halves, until failing units are isolated.

    Examples
    --------
    >>> def compute(units):
    ...     return sum(1 / unit for unit in units)
    >>> [(units, str(result)) for units, result in bisect_failures((2, 4, 0, 1), compute)]
    [((2, 4), '0.75'), ((0,), 'division by zero'), ((1,), '1.0')]
    """
    try:
        result: Result | Exception = compute(units)
    except Cancelled:
        raise
    except Exception as error:
        if len(units) > 1:
            for half in _halves(units):
                yield from bisect_failures(half, compute)
            return
        result = error
    yield units, result


def _halves(units: Units) -> tuple[Units, Units]:
    middle = len(units) // 2
    return units[:middle], units[middle:]


@dataclass(frozen=True)
class RetryState:
    """Which sets of a block's units to try next, after workers have died of it.

    A worker that dies leaves only the record of the set it was computing. That set is halved and
    tried last. A unit that repeatedly kills its worker when computed alone is marked poisoned.

    Attributes
    ----------
    sets
        The sets to try, in order.
    deaths
        How many workers each unit has killed when computed alone.
    poisoned
        Units that are not tried again.
    """

    sets: tuple[Units, ...]
    deaths: dict[int, int] = field(default_factory=dict)
    poisoned: Units = ()

    @classmethod
    def of(cls, units: Sequence[int], record: Record | None) -> "RetryState":
        """The state for these units, given the record of an earlier task that did not end.

        Examples
        --------
        >>> RetryState.of(range(4), None).sets
        ((0, 1, 2, 3),)
        >>> RetryState.of(range(4), {"trying": [0, 1, 2, 3], "sets": [], "deaths": []}).sets
        ((0, 1), (2, 3))
        >>> RetryState.of(range(4), {"trying": [1], "sets": [[0], [2]], "deaths": [[1, 2]]})
        RetryState(sets=((0,), (2,), (3,)), deaths={1: 3}, poisoned=(1,))
        """
        if record is None:
            return cls((tuple(units),))
        sets = [tuple(some) for some in record["sets"]]
        deaths = dict(record["deaths"])
        died = tuple(record["trying"])
        if len(died) == 1:
            deaths[died[0]] = deaths.get(died[0], 0) + 1
        sets += _halves(died) if len(died) > 1 else [died]
        sets.append(tuple(set(units) - {unit for some in sets for unit in some}))
        poisoned = tuple(u for u in units if deaths.get(u, 0) >= MAX_DEATHS)
        remaining = set(units) - set(poisoned)
        left = [tuple(unit for unit in some if unit in remaining) for some in sets]
        return cls(tuple(some for some in left if some), deaths, poisoned)

    @classmethod
    def left(cls, record: Record) -> "RetryState":
        """The recorded state, if the set that was computed then is not to blame.

        Examples
        --------
        >>> RetryState.left({"trying": [0, 1], "sets": [[2]], "deaths": []}).sets
        ((0, 1), (2,))
        """
        sets = (tuple(record["trying"]), *(tuple(some) for some in record["sets"]))
        return cls(sets, dict(record["deaths"]))

    @property
    def suspicious(self) -> bool:
        """Whether a worker has died, so that the state must be kept between tasks."""
        return bool(self.deaths) or len(self.sets) > 1

    def record(self, *, trying: bool) -> Record:
        """The state as a record; ``trying`` while the first set is being computed."""
        first, rest = (self.sets[0], self.sets[1:]) if trying else ((), self.sets)
        return {"trying": first, "sets": rest, "deaths": [*self.deaths.items()]}
