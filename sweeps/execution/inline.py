"""A run in this process, without a scheduler."""

import os
import socket
import socketserver
import threading
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Self

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.lease import (
    BUSY,
    ID_BYTES,
    IDLE,
    NONCE_BYTES,
    QUESTION,
    acquire,
    new_lease,
    release,
    reply_of,
)
from latticescape.sweeps.execution.tasks import TaskResult, compute_block
from latticescape.sweeps.execution.worker_code import warm_up
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import Location
from latticescape.sweeps.store.object_store import UnreachableError
from latticescape.sweeps.store.status import Lease, end_lease, read_lease
from latticescape.sweeps.store.store import Store

INLINE = "inline"
LOOPBACK = "127.0.0.1"


class InlineSession:
    """The use of this process during a run.

    Parameters
    ----------
    threads
        Number of blocks that are computed at a time. Kernels release the interpreter lock, so that
        threads run in parallel.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, Sweep, run, square
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> ds = run(sweep, tempfile.mkdtemp() + "/ising.zarr", InlineSession(threads=2))
    >>> bool(ds.done.all())
    True
    """

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise RequestError("threads must be 1 or more", came=threads, hint="--threads 2")
        self.threads = threads
        self._leases: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def prepare(self, location: Location) -> int:
        """One worker: this process."""
        return 1

    def warmed(self, sweep: Sweep) -> AbstractContextManager[None]:
        """Compile the kernels of a sweep."""
        return _warmed(sweep)

    def acquire(self, store: Store) -> tuple[Lease, str]:
        """Acquire the lease of a store for this process, which answers for it from now on."""
        server = _Answers((LOOPBACK, 0), _Answer)
        server.leases = self._leases
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._server = server
        address = f"inproc://{socket.gethostname()}/{os.getpid()}"
        ours = new_lease(store, f"inline-{uuid.uuid4().hex}", address, server.server_address[1])
        self._leases.add(ours.id.encode())
        try:
            return acquire(store, ours)
        except BaseException:
            self._stop()
            raise

    def outcomes(
        self, store: Store, lease: Lease, pending: list[Block], base: Store | None
    ) -> Generator[tuple[Block, TaskResult | BaseException]]:
        """Compute blocks one after the other, or as many at a time as there are threads."""
        origin = None if base is None else (base.location.address, base.identity)
        address, identity = store.location.address, store.identity

        def outcome(block: Block) -> tuple[Block, TaskResult | BaseException]:
            try:
                part = (address, identity, block.number, lease.id, store.source)
                return block, compute_block(*part, base=origin)
            except Exception as error:
                return block, error

        if self.threads == 1:
            yield from map(outcome, pending)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            futures = [pool.submit(outcome, block) for block in pending]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                if read_lease(store.records) == lease:
                    end_lease(store.records)  # blocks under way stop within seconds
                raise
            finally:
                pool.shutdown(cancel_futures=True)

    def release(self, store: Store, lease: Lease) -> bool:
        """Release the lease of a store."""
        self._stop()
        with suppress(OSError, UnreachableError):
            return release(store, lease, lambda: False)
        return False

    def is_lost(self) -> bool:
        """Never: there is no scheduler."""
        return False

    def _stop(self) -> None:
        self._leases.clear()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def _warmed(sweep: Sweep) -> Iterator[None]:
    warm_up(sweep)
    yield


class _Answers(socketserver.ThreadingTCPServer):
    """Answers whether this process works under a lease; see :mod:`.lease`."""

    daemon_threads = True
    leases: set[bytes]

    def handle_error(self, *_: object) -> None:
        """Ignore a connection that ends early or stays silent."""


class _Answer(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self) -> None:
        with suppress(OSError):
            _, nonce, lease = [self.rfile.read(n) for n in (len(QUESTION), NONCE_BYTES, ID_BYTES)]
            assert isinstance(self.server, _Answers)
            state = BUSY if lease in self.server.leases else IDLE
            self.wfile.write(reply_of(lease, nonce, state))
