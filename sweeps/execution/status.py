"""``status``: how far a store is, who works on it, and when it will be done."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from latticescape.physics.variables import STATES
from latticescape.sweeps.execution.lease import DEAD_SECONDS, block_note, lease_of, seconds_silent
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.records import Note
from latticescape.sweeps.store.store import PENDING, Store


@dataclass(frozen=True)
class Status:
    """How far a store is.

    Attributes
    ----------
    store, digest
        The store, and of which sweep it is.
    points, done, running, pending, failed, poisoned
        All points, and those in every state: of blocks at work now, and waiting, apart.
    blocks, blocks_running, blocks_pending
        All blocks, those at work now, and those with points to compute besides.
    rate, seconds_left
        Points per second since the work began, all workers, and how long it will take at that rate;
        None if nothing is known. All points of a sweep cost the same.
    owner
        Who works on it, "" if nobody.
    silent
        Seconds since the last sign of life of that; None if nobody works on it.
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
        """Whether somebody works on it."""
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
    """How far a store is; reads only the store, from any machine.

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
    opened = Store(store)
    states, lease = opened.states(), lease_of(opened.notes)
    count = {name: int((states == state).sum()) for state, name in enumerate(STATES)}
    open_ = {block.number: block for block in opened.pending(states)}
    names = {name for name in opened.notes.names() if _is_tried(opened.notes.read(name))}
    at_work = [block for block in open_.values() if lease and block_note(block.number) in names]
    running = sum(int((states[block.region] == PENDING).sum()) for block in at_work)
    rate = None
    if lease is not None and count["done"] > lease.done:
        rate = (count["done"] - lease.done) / max(1e-3, time.time() - lease.since)
    return Status(
        store=str(store),
        digest=opened.digest,
        points=states.size,
        **{**count, "pending": count["pending"] - running},
        running=running,
        blocks=len(opened.blocks),
        blocks_running=len(at_work),
        blocks_pending=len(open_) - len(at_work),
        rate=rate,
        seconds_left=None if rate is None else count["pending"] / rate,
        owner="" if lease is None else lease.owner,
        silent=None if lease is None else seconds_silent(lease, opened.notes),
    )


def _is_tried(note: Note | None) -> bool:
    return note is not None and bool(note.get("trying"))
