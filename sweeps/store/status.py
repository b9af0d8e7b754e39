"""``status``: how much of a store is done, and which scheduler works on it.

A scheduler that works on a store holds its lease, a record in the store, so that no other one works
on it at the same time. Every task carries the lease's id and checks it every few seconds: when the
lease has ended, or belongs to another scheduler, the task stops. This is also how ``cancel`` works.
"""

import math
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from latticescape.physics.errors import Cancelled, RequestError
from latticescape.physics.variables import STATES
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.object_store import Record, Records, UnreachableError
from latticescape.sweeps.store.store import PENDING, Store

# The keys of all tasks start with it.
KEY = "latticescape"

NAME, PULSE = "lease", "pulse"

# How often a task checks the lease, the age of a sign of life that is renewed, and the age from
# which it no longer counts.
WATCH_SECONDS, PULSE_SECONDS, DEAD_SECONDS = 2.0, 20.0, 180.0


@dataclass(frozen=True)
class Lease:
    """Which scheduler works on a store.

    Attributes
    ----------
    id
        Identifier of the lease, part of the keys of all its tasks.
    scheduler, address, port
        Identifier and address of the scheduler, and the port where it answers whether it has tasks
        of a lease, 0 if it does not.
    host, user, pid
        The client that acquired the lease.
    since, done
        When it did, in seconds since 1970, and the number of points done then.
    """

    id: str
    scheduler: str
    address: str
    port: int
    host: str
    user: str
    pid: int
    since: float
    done: int

    def key(self, block: int) -> str:
        """The key of a block's task: the same for every client of the lease."""
        return f"{KEY}-{self.id}-{block}"

    @property
    def is_plain(self) -> bool:
        """Whether its texts can be printed and typed, and its address is one of Dask."""
        texts = (self.id, self.scheduler, self.address, self.host, self.user)
        return (
            re.fullmatch(r"\w+://[\w.:/\[\]%-]+", self.address) is not None
            and all(text.isprintable() and len(text) < 256 for text in texts)
            and 0 <= self.port < 2**16
        )

    @property
    def owner(self) -> str:
        """The owner, for people."""
        return f"{self.user}@{self.host}, scheduler {self.address}"


class LeaseCheck:
    """A cancellation check of a task: raises Cancelled once its lease has ended, else renews it."""

    # The last sign of life of each lease that this process saw, and when: its own clock, as the
    # clocks of machines differ.
    _pulses: ClassVar[dict[str, tuple[Record | None, float]]] = {}

    def __init__(self, records: Records, lease: str) -> None:
        self.records, self.lease = records, lease
        self._next = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self.look()

    def look(self) -> None:
        """Check the lease now.

        Raises
        ------
        Cancelled
            If the lease has ended.
        """
        self._next = time.monotonic() + WATCH_SECONDS
        lease = read_lease(self.records)
        if lease is None and self.records.has(NAME):
            return  # unreadable for the moment: the next check decides
        if lease is None or lease.id != self.lease:
            raise Cancelled
        pulse, now = self.records.read(PULSE), time.monotonic()
        last, seen = self._pulses.get(self.lease, (None, -math.inf))
        if pulse == last and now - seen <= PULSE_SECONDS:
            return
        if pulse == last:
            pulse = {"time": time.time()}
            # A failed write is not the fault of the points; the block reports it when it is stored.
            with suppress(OSError, UnreachableError):
                self.records.write(PULSE, pulse)
        self._pulses[self.lease] = pulse, now


def read_lease(records: Records) -> Lease | None:
    """The lease of a store; None if nobody works on it, or what is there is no lease."""
    lease = records.read_as(NAME, Lease)
    return lease if lease is not None and lease.is_plain else None


def end_lease(records: Records) -> None:
    """End the lease of a store, also that of another user: its tasks stop within seconds."""
    records.remove(NAME)
    records.remove(PULSE)


def seconds_silent(records: Records, now: float | None = None) -> float:
    """Seconds between the last sign of life of a lease's tasks and now.

    A sign of life from the future, by a clock that was wrong, is as old as it is far ahead.

    Parameters
    ----------
    records
        Records of a store.
    now
        Seconds since 1970 by the clock of its disk, :meth:`Records.now`; by default by that of
        this machine, which is the same but for an error of the clocks.
    """
    now = time.time() if now is None else now
    signs = (records.modified(name) for name in (NAME, PULSE))
    return min((abs(now - sign) for sign in signs if sign is not None), default=math.inf)


def check_idle(store: Store) -> None:
    """Refuse a store on which a scheduler works.

    Raises
    ------
    RequestError
        If the scheduler that holds the lease has written to the store within ``DEAD_SECONDS``.
    """
    lease = read_lease(store.records)
    if lease is None:
        return
    silent = seconds_silent(store.records, store.records.now())
    if silent < DEAD_SECONDS:
        raise RequestError(
            f"a scheduler works on the store {store.path}",
            came=f"{lease.owner}, {silent:.0f} s ago",
            allowed="a store on which nobody works",
            hint=f"latticescape cancel {store.path}",
        )


class BlockRecord(BaseModel):
    """Which units of a block are tried now and next, and how many workers each has killed."""

    trying: list[int]
    sets: list[list[int]]
    deaths: list[tuple[int, int]]


def block_record(number: int) -> str:
    """Name of the record of the work on a block."""
    return f"block-{number}"


def read_block(records: Records, name: str) -> Record | None:
    """The record of the work on a block; None if there is none, or something else is there."""
    record = records.read_as(name, BlockRecord)
    return None if record is None else record.model_dump()


@dataclass(frozen=True)
class Status:
    """How much of a store is done.

    Attributes
    ----------
    store, digest
        The store, and the digest of its sweep.
    points, done, running, pending, failed, poisoned
        The number of points, and how many are in each state. Points of blocks that are being
        computed are running, not pending.
    blocks, blocks_running, blocks_pending
        The number of blocks, of those being computed, and of others with points to compute.
    rate, seconds_left
        Points per second of all workers since the lease was acquired, and the time left at that
        rate; None if unknown. All points of a sweep cost the same.
    owner
        Who works on the store, "" if nobody.
    silent
        Seconds since the owner's last sign of life; None without owner.
    """

    store: str
    digest: str
    points: int
    done: int
    running: int
    pending: int
    failed: int
    poisoned: int
    blocks: int
    blocks_running: int
    blocks_pending: int
    rate: float | None
    seconds_left: float | None
    owner: str
    silent: float | None

    @property
    def active(self) -> bool:
        """Whether somebody works on the store."""
        left = self.running + self.pending
        return bool(left) and self.silent is not None and self.silent < DEAD_SECONDS

    @property
    def complete(self) -> bool:
        """Whether every point is done."""
        return self.done == self.points

    def as_dict(self) -> dict[str, Any]:
        """The status as one flat JSON object."""
        return asdict(self)


def status(store: StorePath) -> Status:
    """How much of a store is done; reads only the store, from any machine.

    Parameters
    ----------
    store
        The store's folder, or URL.

    Raises
    ------
    RequestError
        If there is no store of a sweep.

    Examples
    --------
    >>> status("nowhere.zarr")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store at nowhere.zarr ...
    """
    return status_of(Store(store))


def status_of(store: Store) -> Status:
    """How much of an opened store is done; see :func:`status`."""
    store.check_axes()
    records = store.records
    states, lease = store.states(), read_lease(records)
    count = {name: int((states == state).sum()) for state, name in enumerate(STATES)}
    unfinished = store.pending(states)
    tried = {name for name in records.names() if (read_block(records, name) or {}).get("trying")}
    at_work = [block for block in unfinished if lease and block_record(block.number) in tried]
    running = sum(int((states[block.region] == PENDING).sum()) for block in at_work)
    rate = None
    if lease is not None and count["done"] > lease.done:
        elapsed = time.time() - (records.modified(NAME) or math.inf)
        rate = (count["done"] - lease.done) / elapsed if elapsed > 0 else None
    return Status(
        store=str(store.path),
        digest=store.digest,
        points=states.size,
        **{**count, "pending": count["pending"] - running},
        running=running,
        blocks=len(store.blocks),
        blocks_running=len(at_work),
        blocks_pending=len(unfinished) - len(at_work),
        rate=rate,
        seconds_left=None if rate is None else count["pending"] / rate,
        owner="" if lease is None else lease.owner,
        silent=None if lease is None else seconds_silent(records),
    )
