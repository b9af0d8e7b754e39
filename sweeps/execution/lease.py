"""The lease of a store: acquire it, release it, and ask whether its owner is alive.

Only one scheduler works on a store at a time. Whether the scheduler of a lease still has its tasks
is asked in 89 bytes, and answered in 33: an address in a store may be anybody's, and a Dask client
would unpickle, and so run, whatever answers there.
"""

import asyncio
import getpass
import hashlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from latticescape.physics.errors import RequestError
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.store.status import (
    DEAD_SECONDS,
    KEY,
    NAME,
    Lease,
    end_lease,
    read_lease,
    seconds_silent,
)
from latticescape.sweeps.store.store import Store

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS, MOMENT_SECONDS = 5.0, 1.0
LOOPBACK = ("127.", "localhost", "::1")

QUESTION, NONCE_BYTES, ID_BYTES, DIGEST_BYTES = b"latticescape lease? 1 ", 35, 32, 32
BUSY, IDLE = b"1", b"0"


def acquire(store: Store, ours: Lease) -> tuple[Lease, str]:
    """Acquire the lease of a store, or join the lease that the same scheduler has.

    Returns
    -------
    lease, note
        The lease, and whom it was taken over from, "" if it was free.

    Raises
    ------
    RequestError
        If another scheduler works on the store.
    """
    note = ""
    while not store.records.create(NAME, asdict(ours)):
        lease = read_lease(store.records)
        if lease is not None:
            if lease.scheduler == ours.scheduler:
                return lease, note
            if _is_alive(lease, ours, store):
                silent = seconds_silent(store.records, store.records.now())
                raise RequestError(
                    f"another scheduler works on the store {store.path}",
                    came=f"{lease.owner}, {silent:.0f} s ago",
                    allowed="one scheduler at a time",
                    hint=f"--cluster {lease.address}, or latticescape cancel {store.path}",
                )
            note = f"took over from {lease.owner}, which no longer works on it"
        store.records.remove(NAME)
    return ours, note


def release(store: Store, lease: Lease, is_busy: Callable[[], bool]) -> bool:
    """Release a lease unless others still have tasks of it; whether it was released."""
    deadline = time.monotonic() + MOMENT_SECONDS
    while is_busy():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    if read_lease(store.records) != lease:
        return False
    end_lease(store.records)
    return True


def tasks_known(client: "Client", lease: Lease, blocks: Sequence[Block]) -> list[bool]:
    """Whether a scheduler has a task of a lease for each of these blocks.

    Tasks that a client submitted or released just now may not count yet: this request is faster.
    """
    keys = [lease.key(block.number) for block in blocks]
    states = client.sync(client.scheduler.get_task_status, keys=keys)
    return [states[key] not in (None, "forgotten") for key in keys]


def lease_of(store: Store, client: "Client") -> Lease:
    """A new lease for a client's scheduler, which can be asked for it from now on."""
    scheduler = str(client.scheduler_info(n_workers=0)["id"])
    return new_lease(store, scheduler, str(client.scheduler.address), _install_answer(client))


def new_lease(store: Store, scheduler: str, address: str, port: int) -> Lease:
    """A new lease, not yet acquired."""
    return Lease(
        id=uuid.uuid4().hex,
        scheduler=scheduler,
        address=address,
        port=port,
        host=socket.gethostname(),
        user=getpass.getuser(),
        pid=os.getpid(),
        since=time.time(),
        done=int(store.done().sum()),
    )


def _is_alive(lease: Lease, ours: Lease, store: Store) -> bool:
    """Whether a lease's scheduler is alive and has tasks of it; if that cannot be determined,
    whether its tasks gave a sign of life in the last minutes."""
    if lease.address == ours.address:
        return False  # our scheduler has replaced it
    parts, here = urlsplit(lease.address), lease.host == ours.host
    inside = parts.scheme == "inproc"
    host = "127.0.0.1" if inside else parts.hostname or ""
    if here or not (inside or host.startswith(LOOPBACK)):
        busy = _ask(host, lease.port, lease.id)
        # A few milliseconds pass between two waves of tasks.
        if busy is False:
            time.sleep(MOMENT_SECONDS)
            busy = _ask(host, lease.port, lease.id)
        if busy is not None:
            return busy
        if not _listens(host, lease.port if inside else parts.port or 0):
            return False
    return seconds_silent(store.records, store.records.now()) < DEAD_SECONDS


def _ask(host: str, port: int, lease: str) -> bool | None:
    """Whether a scheduler has tasks of a lease; None without an answer that proves it is the
    one."""
    deadline, nonce, reply = time.monotonic() + ANSWER_SECONDS, os.urandom(NONCE_BYTES), b""
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
            connection.sendall(QUESTION + nonce + lease.encode())
            while len(reply) < 1 + DIGEST_BYTES:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                part = connection.recv(1 + DIGEST_BYTES - len(reply))
                if not part:
                    return None
                reply += part
    except (OSError, OverflowError, UnicodeError):
        return None
    proofs = {reply_of(lease.encode(), nonce, state): state for state in (BUSY, IDLE)}
    return proofs[reply] == BUSY if reply in proofs else None


def reply_of(lease: bytes, nonce: bytes, state: bytes) -> bytes:
    """The answer of who knows a lease; :class:`AnswerPlugin` has a copy, which it takes along."""
    key = hashlib.blake2b(nonce + state, key=lease, digest_size=DIGEST_BYTES)
    return state + key.digest()


def _listens(host: str, port: int) -> bool:
    """Whether anything may listen at an address; only a refusal is a no."""
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except ConnectionRefusedError:
        return False
    except (OSError, OverflowError, UnicodeError):
        return True
    return True


def _install_answer(client: "Client") -> int:
    """Let a scheduler answer questions about leases; the port where it does.

    Best effort: 0 on a scheduler that refuses plugins, whose signs of life must do.
    """
    plugin = _answer_plugin()
    name = plugin.name

    def port(dask_scheduler: Any) -> int:
        return int(dask_scheduler.plugins[name].port)

    with suppress(Exception):
        client.register_plugin(plugin)
        return int(client.run_on_scheduler(port))
    return 0


def _answer_plugin() -> Any:
    """The plugin. Its class is local, so that it is pickled as code: the scheduler need not have
    this package installed."""
    from distributed import SchedulerPlugin

    prefix, sizes = KEY, (len(QUESTION), NONCE_BYTES, ID_BYTES)
    states, seconds, digest_bytes = (IDLE, BUSY), ANSWER_SECONDS, DIGEST_BYTES

    class AnswerPlugin(SchedulerPlugin):  # type: ignore[misc]
        name = "latticescape-lease"
        idempotent = True

        async def start(self, scheduler: Any) -> None:
            self.scheduler = scheduler
            parts = urlsplit(scheduler.address)
            host = "127.0.0.1" if parts.scheme == "inproc" else parts.hostname
            self.server = await asyncio.start_server(self.answer, host, 0)
            self.port = self.server.sockets[0].getsockname()[1]

        async def answer(self, reader: Any, writer: Any) -> None:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(seconds):
                    _, nonce, lease = [await reader.readexactly(size) for size in sizes]
                    start = f"{prefix}-{lease.decode(errors='replace')}-"
                    busy = any(str(key).startswith(start) for key in self.scheduler.tasks)
                    writer.write(self.reply(lease, nonce, states[busy]))
                    await writer.drain()
            writer.close()

        def reply(self, lease: bytes, nonce: bytes, state: bytes) -> bytes:
            key = hashlib.blake2b(nonce + state, key=lease, digest_size=digest_bytes)
            return state + key.digest()

        async def close(self) -> None:
            self.server.close()

    return AnswerPlugin()
