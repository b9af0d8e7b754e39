"""``submit`` and ``cancel``: a sweep left to a scheduler that goes on without this process."""

import time

from distributed import Client, Future, fire_and_forget

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.lease import Lease, end, lease_of, take, tasks_known
from latticescape.sweeps.execution.patience import install_patience
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
from latticescape.sweeps.store.store import Store, create, open_existing

# So many tasks a scheduler keeps in some 100 MB.
MOST_TASKS = 50_000


def submit(
    sweep: Sweep, store: StorePath, client: Cluster, *, block_points: int | None = None
) -> str:
    """Put all blocks of a sweep that are not done on a running scheduler, and return.

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
        Most points a block of a new store; see :func:`run`.

    Returns
    -------
    str
        The id of the work: the lease of the store has it, and all tasks' keys. "" if there is none
        left to do.

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
    if blocks > MOST_TASKS:
        raise RequestError(
            "so many blocks do not fit a scheduler's memory at once",
            came=blocks,
            allowed=f"{MOST_TASKS} or fewer",
            hint="more points a block in a new store, or latticescape run, which goes in waves",
        )
    with attached(client) as ready:
        check_workers(ready)
        check_reach(ready, locate(store))
        install_patience(ready)
        opened = existing or create(store, sweep, cut)
        lease, _ = take(opened, ready)
        pending = opened.pending()
        futures = put(ready, opened, lease, pending)
        # Nobody can ask a scheduler to keep a task that it does not know yet.
        while not all(tasks_known(ready, lease, pending)):
            time.sleep(0.05)
        fire_and_forget(futures)
    return lease.id


def put(client: Client, store: Store, lease: Lease, blocks: list[Block]) -> list[Future]:
    """The blocks as tasks of a client, under keys that are the same for every client."""
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
    """Call off all work on a store, wherever it goes on; what is done stays.

    Running blocks end within seconds, and stay pending; those that wait return as they begin.

    Parameters
    ----------
    store
        The store's folder, or URL.

    Returns
    -------
    Lease
        Whose work that was.

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
    lease = lease_of(opened.notes)
    if lease is None:
        raise RequestError(
            f"nobody works on the store {store}",
            allowed="a store with blocks running or waiting",
            hint=f"latticescape status {store}",
        )
    end(opened.notes)
    return lease
