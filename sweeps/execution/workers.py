"""Clients and workers: an embedded cluster, a client to an address, the same code everywhere."""

import asyncio
import json
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from distributed import Client, Scheduler, Security, SpecCluster
from distributed.deploy.subprocess import SubprocessWorker

from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.location import Location, locate
from latticescape.sweeps.store.provenance import HOME, package_version, source_digest

WAIT_SECONDS = 30.0
LOOPBACK = "127.0.0.1"


class OwnWorker(SubprocessWorker):  # type: ignore[misc]
    """A worker in a fresh interpreter that finds the same packages as this one.

    Dask's own local workers import the user's script anew, so that a script without a main guard
    starts itself again and again.
    """

    async def _start(self) -> None:
        spec = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        settings = {
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "DASK_LOGGING__DISTRIBUTED": "error",
        }
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dask", "spec", self.scheduler, "--spec", spec),
            env={**os.environ, **settings},
        )


@contextmanager
def embedded(
    workers: int | None = None, threads: int = 1, *, security: dict[str, Any] | None = None
) -> Iterator[Client]:
    """A Dask cluster of this machine's own, for as long as the block lasts.

    Parameters
    ----------
    workers
        Worker processes; by default one a core.
    threads
        Threads a worker. Kernels hold no interpreter lock, so threads run side by side.
    security
        Keywords of Dask's ``Security``: on a machine with other users, they keep these out.
    """
    number = workers if workers is not None else os.cpu_count() or 1
    for name, value in (("workers", number), ("threads", threads)):
        if value < 1:
            raise RequestError(f"{name} must be 1 or more", came=value, hint=f"--{name} 2")
    options = {"nthreads": threads, "host": LOOPBACK, "death_timeout": WAIT_SECONDS}
    secured = {"security": security} if security else {}
    worker = {"cls": OwnWorker, "options": {"worker_kwargs": options | secured}}
    # No client here is Dask's default: a lazy Dataset is read by this process, and does not wait
    # for the workers of a cluster that is busy, or has none.
    served = {"host": LOOPBACK, "port": 0, "dashboard": True, "dashboard_address": f"{LOOPBACK}:0"}
    with (
        SpecCluster(
            scheduler={"cls": Scheduler, "options": served | secured},
            workers=dict.fromkeys(range(number), worker),
            security=Security(**security) if security else None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(number, timeout=2 * WAIT_SECONDS)
        yield client


class OwnClient(Client):  # type: ignore[misc]
    """A client that closes itself where it cannot be made.

    Left to the garbage collector, it is closed at any time: in the thread of a new client that
    starts, while that client holds the lock that closing needs, both wait for ever.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except BaseException:
            self.close(timeout=WAIT_SECONDS)
            raise


@contextmanager
def at_address(address: str, *, timeout: float = 10.0, security: Any = None) -> Iterator[Client]:
    """A client of a running scheduler.

    Raises
    ------
    RequestError
        If the address is no ``tcp://host:port`` or ``tls://host:port``, or nothing answers there.
    """
    _check_address(address)
    try:
        client = OwnClient(address, timeout=timeout, security=security, set_as_default=False)
    except TypeError:
        raise RequestError(
            f"no certificates for {address}",
            allowed="those of a profile, or of the Dask configuration under distributed.comm.tls",
            hint='tls = "FOLDER" in a profile, or . FOLDER/environment.sh',
        ) from None
    except OSError as error:
        raise _unreachable(address, error, timeout, security) from None
    with client:
        yield client


def _unreachable(address: str, error: OSError, timeout: float, security: Any) -> RequestError:
    if "SSL" in f"{error}; {error.__cause__}":
        return RequestError(
            f"the scheduler at {address} and this process do not trust each other",
            came=_alert(address, timeout, security or Security()),
            allowed="certificates of one authority on both sides",
            hint="latticescape cluster certificates makes them, for all parts of a cluster at once",
        )
    reset = isinstance(error.__cause__, ConnectionResetError)
    return RequestError(
        f"no scheduler answers at {address}",
        came=getattr(error.__cause__, "strerror", None) or f"nothing within {timeout:g} s",
        allowed="the address that dask scheduler prints",
        hint="tls:// in place of tcp://: one that is encrypted answers so"
        if reset
        else "dask scheduler, and then --cluster tcp://127.0.0.1:8786",
    )


def _alert(address: str, timeout: float, security: Security) -> str:
    """Why a handshake fails. Dask's client writes at once, and often is cut off before it can read
    that; this one only listens."""
    parts = urlsplit(address)
    context = security.get_connection_args("client")["ssl_context"]
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            secured.recv(1)
    except ssl.SSLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error.strerror or error)
    return "the connection was closed while they met"


Cluster: TypeAlias = Client | str | AbstractContextManager[Client] | None


@contextmanager
def attached(cluster: Cluster) -> Iterator[Client]:
    """A ready client from what the user gave: a Client, an address, a context, or nothing."""
    if isinstance(cluster, Client):
        yield cluster
        return
    context = at_address(cluster) if isinstance(cluster, str) else cluster or embedded()
    with context as client:
        yield client


def check_workers(client: Client, *, timeout: float = WAIT_SECONDS) -> int:
    """Wait for a worker, and make sure that all of them run this very code.

    Returns
    -------
    int
        Number of workers.

    Raises
    ------
    RequestError
        If none comes.
    ForeignWorkerError
        If one has another version or source; both paths are named.
    """
    end = time.monotonic() + timeout
    found: dict[str, Any] = {}
    # Of the workers that are asked, some or all may be lost before they answer.
    while not found:
        try:
            client.wait_for_workers(1, timeout=max(0.01, end - time.monotonic()))
        except TimeoutError:
            raise RequestError(
                f"the scheduler at {client.scheduler.address} has no workers",
                came=f"none within {timeout:g} s",
                allowed="at least one",
                hint=f"dask worker {client.scheduler.address}",
            ) from None
        answers = client.run(code_identity, on_error="return")
        found = {name: told for name, told in answers.items() if not isinstance(told, OSError)}
    ours = code_identity()
    for worker, theirs in found.items():
        if isinstance(theirs, Exception):
            raise _foreign_worker(worker, f"{type(theirs).__name__}: {theirs}", ours)
        _compare(worker, theirs, ours)
    return len(found)


Code: TypeAlias = tuple[str, str, str]


class ForeignWorkerError(RequestError):
    """A worker runs other code than the process that gave it a task."""


def check_reach(client: Client, location: Location) -> None:
    """Make sure that all workers reach the bucket a store is in; disks are not looked at.

    Raises
    ------
    RequestError
        If one does not; it is named.
    """
    if not location.shared:
        return
    for worker, answer in client.run(_reach, location.address, on_error="return").items():
        if isinstance(answer, RequestError):
            raise answer.within(f"the worker {worker}")


def _reach(address: str) -> None:
    locate(address).is_free()


def code_identity() -> Code:
    """Version, source digest and folder of the code that runs here."""
    return package_version(), source_digest(), str(HOME)


def check_code(ours: Code) -> None:
    """On a worker, make sure that it runs the code of the process that gave it a task.

    :func:`check_workers` asks those that are there; others join in the middle of a sweep, and an
    environment that was changed meanwhile gives them other code.

    Raises
    ------
    ForeignWorkerError
        If its version or source is another; both paths are named.
    """
    _compare(f"on {socket.gethostname()}", code_identity(), ours)


def _compare(worker: str, theirs: Code, ours: Code) -> None:
    if tuple(theirs[:2]) != tuple(ours[:2]):
        raise _foreign_worker(worker, _told(theirs), ours)


def _foreign_worker(worker: str, theirs: str, ours: Code) -> ForeignWorkerError:
    return ForeignWorkerError(
        f"the worker {worker} runs other code than this process",
        came=theirs,
        allowed=_told(ours),
        hint="install the same latticescape on every worker and restart them",
    )


def _told(identity: Code) -> str:
    version, digest, folder = identity
    return f"version {version}, source {digest[:12]}, in {folder}"


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        good = False
    if not good:
        raise RequestError(
            "the scheduler's address cannot be read",
            came=address,
            allowed="tcp://host:port | tls://host:port",
            hint="--cluster tcp://127.0.0.1:8786",
        )
