"""``submit`` and ``cancel``: leave a sweep to a scheduler that continues without this process."""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

from distributed import Client, Future, fire_and_forget

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.fault_tolerance import install_retries
from latticescape.sweeps.execution.tasks import compute_block
from latticescape.sweeps.execution.workers import (
    Cluster,
    attached,
    check_reach,
    check_workers,
    code_identity,
)
from latticescape.sweeps.spec.plan import Block, plan
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.status import (
    DEAD_SECONDS,
    NAME,
    Lease,
    end_lease,
    read_lease,
    seconds_silent,
)
from latticescape.sweeps.store.store import Store, create, open_existing

ANSWER_SECONDS, MOMENT_SECONDS = 5.0, 1.0
LOOPBACK = ("127.", "localhost", "::1")

# A scheduler keeps this many tasks in about 100 MB.
MAX_TASKS = 50_000


def submit(
    sweep: Sweep, store: StorePath, client: Cluster, *, block_points: int | None = None
) -> str:
    """Submit all blocks of a sweep that are not done to a running scheduler, and return.

    Parameters
    ----------
    sweep
        What to compute.
    store
        Folder of the zarr store, new or begun, on a disk that all workers share; or its URL,
        such as ``s3://bucket/ising.zarr``.
    client
        A client of the scheduler, its address, or a context that yields a client, such as
        ``latticescape.deploy.connect(…)``. The client may close, and its process end.
    block_points
        Maximum number of points in a block of a new store; see :func:`run`.

    Returns
    -------
    str
        Identifier of the store's lease, part of the keys of all tasks; "" if every block is done.

    Raises
    ------
    RequestError
        If the sweep, store or cluster cannot be used, or another scheduler works on the store.

    Examples
    --------
    >>> submit(Sweep.from_file("ising.toml"), "runs/ising.zarr", "tcp://host:8786")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: cannot read the spec file ising.toml ...
    """
    cut = plan(sweep, block_points=block_points)
    existing = open_existing(store, sweep, cut)
    blocks = len(cut.blocks if existing is None else existing.pending())
    if not blocks:
        return ""
    if existing is not None:
        existing.check_writable()
    if blocks > MAX_TASKS:
        raise RequestError(
            "too many blocks for a scheduler's memory",
            came=blocks,
            allowed=f"{MAX_TASKS} or fewer",
            hint="a larger --block-points, or latticescape run",
        )
    with attached(client) as connected:
        check_workers(connected)
        check_reach(connected, locate(store))
        install_retries(connected)
        opened = existing or create(store, sweep, cut)
        lease, _ = acquire(opened, connected)
        pending = opened.pending()
        futures = submit_blocks(connected, opened, lease, pending)
        # A scheduler can only keep a task that it knows.
        while not all(tasks_known(connected, lease, pending)):
            time.sleep(0.05)
        fire_and_forget(futures)
    return lease.id


def submit_blocks(client: Client, store: Store, lease: Lease, blocks: list[Block]) -> list[Future]:
    """Submit blocks as tasks, under keys that are the same for every client."""
    path, identity = store.location.address, store.identity
    futures: list[Future] = client.map(
        compute_block,
        [path] * len(blocks),
        [identity] * len(blocks),
        [block.number for block in blocks],
        [lease.id] * len(blocks),
        [store.source] * len(blocks),
        [code_identity()] * len(blocks),
        key=[lease.key(block.number) for block in blocks],
        pure=False,
    )
    return futures


def cancel(store: StorePath) -> Lease:
    """Cancel all work on a store, wherever it runs; points that are done are kept.

    Running blocks stop within seconds and stay pending; waiting ones return as soon as they begin.

    Parameters
    ----------
    store
        The store's folder, or URL.

    Returns
    -------
    Lease
        The lease that was cancelled.

    Raises
    ------
    RequestError
        If there is no store, or nobody works on it.

    Examples
    --------
    >>> cancel("nowhere.zarr")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store at nowhere.zarr ...
    """
    opened = Store(store)
    lease = read_lease(opened.records)
    if lease is None:
        raise RequestError(
            f"nobody works on the store {store}", hint=f"latticescape status {store}"
        )
    end_lease(opened.records)
    return lease


def acquire(store: Store, client: Client) -> tuple[Lease, str]:
    """Acquire the lease of a store for a client's scheduler, or join that scheduler's lease.

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
    ours = Lease(
        id=uuid.uuid4().hex,
        scheduler=_identity(client),
        address=str(client.scheduler.address),
        host=socket.gethostname(),
        user=getpass.getuser(),
        pid=os.getpid(),
        since=time.time(),
        done=int(store.done().sum()),
    )
    while not store.records.create(NAME, asdict(ours)):
        lease = read_lease(store.records)
        if lease is not None:
            if lease.scheduler == ours.scheduler:
                return lease, note
            if _is_alive(lease, store, client):
                silent = seconds_silent(lease, store.records)
                raise RequestError(
                    f"another scheduler works on the store {store.path}",
                    came=f"{lease.owner}, {silent:.0f} s ago",
                    hint=f"--cluster {lease.address}, or latticescape cancel {store.path}",
                )
            note = f"took over from {lease.owner}, which no longer works on it"
        store.records.remove(NAME)
    return ours, note


def release(store: Store, client: Client, lease: Lease) -> bool:
    """Release a lease unless other clients still have tasks of it; whether it was released."""
    released = _becomes_busy(client, lease, store, False) and read_lease(store.records) == lease
    if released:
        end_lease(store.records)
    return released


def _is_alive(lease: Lease, store: Store, client: Client) -> bool:
    """Whether a lease's scheduler is alive and has tasks of it; if that cannot be determined,
    whether its tasks gave a sign of life in the last minutes."""
    listens = _listens(lease)
    if listens:
        try:
            with Client(
                lease.address,
                timeout=ANSWER_SECONDS,
                security=client.security,
                set_as_default=False,
            ) as other:
                same = _identity(other) == lease.scheduler
                return same and _becomes_busy(other, lease, store, True)
        except (OSError, TypeError, ValueError, RuntimeError):
            listens = None
    return listens is None and seconds_silent(lease, store.records) < DEAD_SECONDS


def _listens(lease: Lease) -> bool | None:
    """Whether anything listens at the address of a lease's scheduler; None if unknown."""
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


def _identity(client: Client) -> str:
    return str(client.scheduler_info(n_workers=0)["id"])


def _becomes_busy(client: Client, lease: Lease, store: Store, busy: bool) -> bool:
    """Whether a scheduler has tasks of a lease (or has none) now or in a moment, as between two
    waves."""
    deadline = time.monotonic() + MOMENT_SECONDS
    while any(tasks_known(client, lease, store.blocks)) != busy:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def tasks_known(client: Client, lease: Lease, blocks: Sequence[Block]) -> list[bool]:
    """Whether a scheduler has a task of a lease for each of these blocks.

    Tasks that a client submitted or released just now may not count yet: this request is faster.
    """
    keys = [lease.key(block.number) for block in blocks]
    states = client.sync(client.scheduler.get_task_status, keys=keys)
    return [states[key] not in (None, "forgotten") for key in keys]
