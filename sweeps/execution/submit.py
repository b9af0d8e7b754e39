"""``submit`` and ``cancel``: leave a sweep to a scheduler that continues without this process."""

import logging
import time

from distributed import Client, Future, fire_and_forget

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.lease import acquire, lease_of, tasks_known
from latticescape.sweeps.execution.tasks import compute_block
from latticescape.sweeps.execution.worker_code import code_identity
from latticescape.sweeps.execution.workers import Target, attached, prepare
from latticescape.sweeps.spec.plan import Block, plan
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.status import Lease, end_lease, read_lease
from latticescape.sweeps.store.store import Store, create, open_existing

LOG = logging.getLogger(__name__)

# A scheduler keeps this many tasks in about 100 MB.
MAX_TASKS = 50_000


def submit(
    sweep: Sweep, store: StorePath, client: Target, *, block_points: int | None = None
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
        LOG.info("every block of %s is done", store, extra={"fields": {"event": "done"}})
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
        prepare(connected, locate(store))
        opened = existing or create(store, sweep, cut)
        lease, _ = acquire(opened, lease_of(opened, connected))
        pending = opened.pending()
        futures = submit_blocks(connected, opened, lease, pending)
        # A scheduler can only keep a task that it knows.
        while not all(tasks_known(connected, lease, pending)):
            time.sleep(0.05)
        fire_and_forget(futures)
        fields = {
            "event": "submitted",
            "blocks": len(pending),
            "workers": len(connected.nthreads()),
            "store": str(store),
            "id": lease.id,
        }
    LOG.info(
        "submitted: %d blocks, workers %d, store %s",
        *(fields[name] for name in ("blocks", "workers", "store")),
        extra={"fields": fields},
    )
    return lease.id


def submit_blocks(
    client: Client, store: Store, lease: Lease, blocks: list[Block], base: Store | None = None
) -> list[Future]:
    """Submit blocks as tasks, under keys that are the same for every client.

    ``base`` is a store from whose points those of the blocks go on.
    """
    origin = None if base is None else (base.location.address, base.identity)
    path, identity = store.location.address, store.identity
    futures: list[Future] = client.map(
        compute_block,
        [path] * len(blocks),
        [identity] * len(blocks),
        [block.number for block in blocks],
        [lease.id] * len(blocks),
        [store.source] * len(blocks),
        [code_identity()] * len(blocks),
        [origin] * len(blocks),
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
            f"nobody works on the store {store}",
            allowed="a store with blocks running or waiting",
            hint=f"latticescape status {store}",
        )
    end_lease(opened.records)
    return lease
