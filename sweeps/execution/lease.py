"""``Lease``: which scheduler works on a store, so that no other one does at the same time.

The lease is a note in the store. All tasks carry its id and look after it every few seconds: when
it is gone, or is another's, they end. So that is how a sweep is cancelled, too.
"""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.cancellation import Cancelled
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.store.object_store import UnreachableError
from latticescape.sweeps.store.records import Note, Notes
from latticescape.sweeps.store.store import Store

if TYPE_CHECKING:
    from distributed import Client

# All keys of tasks start with it.
KEY = "latticescape"

NAME, PULSE = "lease", "pulse"

# How often a task looks after the lease, how old a sign of life must be to be renewed, and to be
# no sign of life any more.
WATCH_SECONDS, PULSE_SECONDS, DEAD_SECONDS = 2.0, 20.0, 180.0
ANSWER_SECONDS, MOMENT_SECONDS = 5.0, 1.0
LOOPBACK = ("127.", "localhost", "::1")


@dataclass(frozen=True)
class Lease:
    """Who works on a store.

    Attributes
    ----------
    id
        Of this lease; part of the keys of all its tasks.
    scheduler, address
        Of the scheduler: its own id, and where it listens.
    host, user, pid
        Of the client that took the lease.
    since, done
        When that was, in seconds since 1970, and how many points were done then.
    """

    id: str
    scheduler: str
    address: str
    host: str
    user: str
    pid: int
    since: float
    done: int

    def key(self, block: int) -> str:
        """The key of a block's task: the same for every client of the lease."""
        return f"{KEY}-{self.id}-{block}"

    @property
    def owner(self) -> str:
        """Who took it, for people."""
        return f"{self.user}@{self.host}, scheduler {self.address}"


def block_note(number: int) -> str:
    """Name of the note about the work on a block."""
    return f"block-{number}"


def lease_of(notes: Notes) -> Lease | None:
    """The lease of a store; None if nobody works on it."""
    found = notes.read(NAME)
    try:
        return None if found is None else Lease(**found)
    except TypeError:
        return None  # written by another version


def take(store: Store, client: "Client") -> tuple[Lease, str]:
    """Take the lease of a store for a client's scheduler, or join that scheduler's lease.

    Returns
    -------
    lease, note
        And whom it was taken from, "" if nobody had it.

    Raises
    ------
    RequestError
        If another scheduler works on the store.
    """
    ours, note = _new(store, client), ""
    while not store.notes.create(NAME, asdict(ours)):
        found = lease_of(store.notes)
        if found is not None:
            if found.scheduler == ours.scheduler:
                return found, note
            if _works(found, store, client):
                raise _held(store, found)
            note = f"took over from {found.owner}, which works on it no more"
        store.notes.remove(NAME)
    return ours, note


def leave(store: Store, client: "Client", lease: Lease) -> bool:
    """Give a lease back, unless tasks of it go on for somebody else; whether it was given back."""
    deadline = time.monotonic() + MOMENT_SECONDS
    while any(tasks_known(client, lease, store.blocks)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    if lease_of(store.notes) != lease:
        return False
    end(store.notes)
    return True


def end(notes: Notes) -> None:
    """End the lease of a store, whoever has it: its tasks end within seconds."""
    notes.remove(NAME)
    notes.remove(PULSE)


class LeaseCheck:
    """Called every moment by a task: raises when the lease has ended, and renews it meanwhile."""

    def __init__(self, notes: Notes, lease: str) -> None:
        self.notes, self.lease = notes, lease
        self._next = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self.look()

    def look(self) -> None:
        """Look at once.

        Raises
        ------
        Cancelled
            If the lease has ended.
        """
        self._next = time.monotonic() + WATCH_SECONDS
        found = self.notes.read(NAME)
        if found is None and self.notes.has(NAME):
            return  # a moment's trouble with the disk: the next look will tell
        if found is None or found["id"] != self.lease:
            raise Cancelled
        if _age(self.notes.read(PULSE)) > PULSE_SECONDS:
            # No fault of the points; that nothing can be written, the block itself will tell.
            with suppress(OSError, UnreachableError):
                self.notes.write(PULSE, {"time": time.time()})


def seconds_silent(lease: Lease, notes: Notes) -> float:
    """Seconds since the last sign of life of a lease's tasks."""
    return min(_age(notes.read(PULSE)), time.time() - lease.since)


def _age(pulse: Note | None) -> float:
    return time.time() - pulse["time"] if pulse else float("inf")


def _new(store: Store, client: "Client") -> Lease:
    return Lease(
        id=uuid.uuid4().hex,
        scheduler=_identity(client),
        address=str(client.scheduler.address),
        host=socket.gethostname(),
        user=getpass.getuser(),
        pid=os.getpid(),
        since=time.time(),
        done=int(store.done().sum()),
    )


def _held(store: Store, lease: Lease) -> RequestError:
    return RequestError(
        f"another scheduler works on the store {store.path}",
        came=f"{lease.owner}, {seconds_silent(lease, store.notes):.0f} s ago",
        allowed="one scheduler at a time",
        hint=f"--cluster {lease.address} to join it, or latticescape cancel {store.path}",
    )


def _works(lease: Lease, store: Store, client: "Client") -> bool:
    """Whether a lease's scheduler lives and has tasks of it; if that cannot be known, whether its
    tasks gave a sign of life in the last minutes."""
    from distributed import Client  # lazy: status needs none

    listens = _listens(lease)
    if listens:
        try:
            with Client(
                lease.address,
                timeout=ANSWER_SECONDS,
                security=client.security,
                set_as_default=False,
            ) as other:
                return _identity(other) == lease.scheduler and _is_busy(other, lease, store)
        except (OSError, TypeError, ValueError, RuntimeError):
            listens = None
    return listens is None and seconds_silent(lease, store.notes) < DEAD_SECONDS


def _listens(lease: Lease) -> bool | None:
    """Whether anything listens at the address of a lease's scheduler; None if nobody knows."""
    parts, here = urlsplit(lease.address), lease.host == socket.gethostname()
    if parts.scheme == "inproc":
        return lease.pid == os.getpid() if here else None
    if not parts.hostname or not parts.port:
        return None
    if parts.hostname.startswith(LOOPBACK) and not here:
        return None
    try:
        socket.create_connection((parts.hostname, parts.port), ANSWER_SECONDS).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return None
    return True


def _identity(client: "Client") -> str:
    return str(client.scheduler_info(n_workers=0)["id"])


def _is_busy(client: "Client", lease: Lease, store: Store) -> bool:
    """Whether a scheduler has tasks of a lease, or in a moment: between two waves it has none."""
    deadline = time.monotonic() + MOMENT_SECONDS
    while not any(tasks_known(client, lease, store.blocks)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def tasks_known(client: "Client", lease: Lease, blocks: Sequence[Block]) -> list[bool]:
    """Whether a scheduler has a task of a lease for each of these blocks.

    What a client put or released a moment ago may be on its way still: this question overtakes it.
    """
    keys = [lease.key(block.number) for block in blocks]
    found = client.sync(client.scheduler.get_task_status, keys=keys)
    return [found[key] not in (None, "forgotten") for key in keys]
