"""Clients and workers: an embedded cluster, a client of an address, checks and warm-up."""

import asyncio
import json
import logging
import os
import socket
import ssl
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from distributed import (
    Client,
    Scheduler,
    Security,
    SpecCluster,
    Worker,
    WorkerPlugin,
)
from distributed.deploy.subprocess import SubprocessWorker

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.admission import refuse_workers
from latticescape.sweeps.execution.fault_tolerance import ignore_disconnect, install_retries
from latticescape.sweeps.execution.worker_code import code_identity, compare_code, warm_up
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.atomic_write import report_unwritable
from latticescape.sweeps.store.location import Location, locate

WAIT_SECONDS = 30.0
MAX_GREETING_BYTES = 2**16
LOOPBACK = "127.0.0.1"

LOG = logging.getLogger(__name__)


class OwnWorker(SubprocessWorker):  # type: ignore[misc]
    """A worker in a fresh interpreter that finds the same packages as this one.

    Dask's own local workers import the user's script again, so that a script without a main guard
    would start itself again and again.
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
    """A Dask cluster on this machine, closed at the end of the context.

    Parameters
    ----------
    workers
        Number of worker processes; by default one per core.
    threads
        Threads per worker. Kernels release the interpreter lock, so threads run in parallel.
    security
        Keywords of Dask's ``Security``, to keep other users of this machine out.
    """
    number = workers if workers is not None else os.cpu_count() or 1
    for name, value in (("workers", number), ("threads", threads)):
        if value < 1:
            raise RequestError(f"{name} must be 1 or more", came=value, hint=f"--{name} 2")
    options = {"nthreads": threads, "host": LOOPBACK, "death_timeout": WAIT_SECONDS}
    secured = {"security": security} if security else {}
    worker = {"cls": OwnWorker, "options": {"worker_kwargs": options | secured}}
    # No client here is Dask's default: this process reads a lazy Dataset itself, instead of waiting
    # for the workers of a cluster that is busy or has none.
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
    """A client that closes itself if its creation fails.

    The garbage collector would close it at any time: in the thread of a new client that holds the
    lock which closing needs, both would deadlock.
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
        If the address is not ``tcp://host:port`` or ``tls://host:port``, or no scheduler answers
        there.
    """
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        valid = False
    if not valid:
        raise RequestError(
            "the address of the scheduler is not valid",
            came=address,
            allowed="tcp://host:port | tls://host:port",
            hint="--cluster tcp://127.0.0.1:8786",
        )
    _check_speaks_dask(address, timeout, security)
    try:
        client = OwnClient(address, timeout=timeout, security=security, set_as_default=False)
    except TypeError:
        raise RequestError(
            f"no certificates for {address}",
            allowed="those of a profile, or of the Dask configuration under distributed.comm.tls",
            hint='tls = "FOLDER" in a profile, or source FOLDER/environment.sh',
        ) from None
    except OSError as error:
        raise _unreachable(address, error, timeout, security) from None
    with client:
        yield client


def _check_speaks_dask(address: str, timeout: float, security: Any) -> None:
    """Refuse a port where another program listens: a Dask client would wait there for ever
    (dask/distributed#8071), or allocate as many bytes as the first eight of its greeting say.

    A Dask server speaks first: the length of its greeting in eight bytes, and the greeting.
    """
    parts = urlsplit(address)
    end = (parts.hostname, parts.port)
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection(end, timeout))
            if parts.scheme == "tls":
                context = (security or Security()).get_connection_args("client")["ssl_context"]
                if context is None:
                    return
                connection = stack.enter_context(context.wrap_socket(connection))
            greeting = _greeting(connection, timeout / 2)
            if greeting is None:  # a web server waits for a request, and TLS for a handshake
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                greeting = _greeting(connection, timeout / 2)
    except (OSError, TypeError):
        return  # the client says what is wrong
    if greeting is not None and int.from_bytes(greeting, "little") <= MAX_GREETING_BYTES:
        return
    web = greeting is not None and greeting.startswith(b"HTTP/")
    came = "a web server" if web else f"the greeting {greeting!r}" if greeting else "silence"
    raise RequestError(
        f"what listens at {address} is not a Dask scheduler",
        came=came,
        allowed="the address that dask scheduler prints, not that of its dashboard",
        hint=f"--cluster {parts.scheme}://{parts.hostname}:8786",
    )


def _greeting(connection: socket.socket, timeout: float) -> bytes | None:
    """The first eight bytes of a connection, b"" if it is closed; None if none come in time."""
    connection.settimeout(timeout)
    try:
        return connection.recv(8)
    except TimeoutError:
        return None


def _unreachable(address: str, error: OSError, timeout: float, security: Any) -> RequestError:
    if "SSL" in f"{error}; {error.__cause__}":
        return RequestError(
            f"the scheduler at {address} and this process do not trust each other",
            came=_alert(address, timeout, security or Security()),
            allowed="valid certificates of one authority on both sides",
            hint="latticescape cluster certificates, for all parts of a cluster at once",
        )
    hint = "dask scheduler, and then --cluster tcp://127.0.0.1:8786"
    if isinstance(error.__cause__, ConnectionResetError):
        hint = "tls:// instead of tcp://: an encrypted scheduler answers like this"
    return RequestError(
        f"no scheduler answers at {address}",
        came=getattr(error.__cause__, "strerror", None) or f"nothing within {timeout:g} s",
        allowed="the address that dask scheduler prints",
        hint=hint,
    )


def _alert(address: str, timeout: float, security: Security) -> str:
    """Why a TLS handshake fails. Dask's client writes at once, and is often disconnected before it
    can read the reason; this one only listens."""
    parts = urlsplit(address)
    context = security.get_connection_args("client")["ssl_context"]
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            secured.recv(1)
    except ssl.SSLError as error:
        detail = getattr(error, "verify_message", "")
        return f"{error.reason}: {detail}" if detail else str(error.reason)
    except OSError as error:
        return str(error.strerror or error)
    return "the connection was closed during the handshake"


# Where a client comes from.
Target: TypeAlias = Client | str | AbstractContextManager[Client] | None


@contextmanager
def attached(target: Target) -> Iterator[Client]:
    """A connected client from a Client, an address, a context that yields one, or None."""
    if isinstance(target, Client):
        yield target
        return
    context = at_address(target) if isinstance(target, str) else target or embedded()
    with context as client:
        yield client


def check_workers(client: Client, *, timeout: float = WAIT_SECONDS) -> int:
    """Wait for a worker, and check that all workers run the same code as this process.

    Workers that the scheduler cannot reach are refused, and named in a warning.

    Returns
    -------
    int
        Number of workers.

    Raises
    ------
    RequestError
        If there is none within the timeout.
    ForeignWorkerError
        If one has another version or source; both paths are named.
    """
    end = time.monotonic() + timeout
    refused = refuse_workers(client)
    for worker, reason in refused.items():
        LOG.warning("worker refused: %s: %s", worker, reason)
    codes, lost = dict[str, Any](), dict[str, str]()
    # Some or all workers may be lost before they answer.
    while not codes:
        answers: dict[str, Any] = {}
        left = end - time.monotonic()
        if left > 0:
            with suppress(TimeoutError):
                client.wait_for_workers(1, timeout=left)
                answers = client.run(code_identity, on_error="return")
        if not answers:
            unused = "; ".join(f"{name}: {why}" for name, why in (refused | lost).items())
            address = client.scheduler.address
            secured = ", with certificates; the scheduler's log has those that it refused"
            raise RequestError(
                f"the scheduler at {address} has no workers",
                came=unused or f"none within {timeout:g} s",
                allowed="at least one that the scheduler can connect to",
                hint=f"dask worker {address}{secured if address.startswith('tls') else ''}",
            )
        codes = {name: code for name, code in answers.items() if not isinstance(code, OSError)}
        lost |= {name: str(code) for name, code in answers.items() if isinstance(code, OSError)}
    ours = code_identity()
    for worker, theirs in codes.items():
        compare_code(worker, theirs, ours)
    return len(codes)


def prepare(client: Client, location: Location) -> int:
    """Check that a cluster can compute into a store, and prepare its scheduler for our tasks.

    Returns
    -------
    int
        Number of workers.

    Raises
    ------
    RequestError
        As :func:`check_workers` and :func:`check_reach`.
    """
    workers = check_workers(client)
    check_reach(client, location)
    install_retries(client)
    return workers


def check_reach(client: Client, location: Location) -> None:
    """Check that all workers see what this process writes where a store is, or is to be.

    Raises
    ------
    RequestError
        If a worker does not, which is named; or if this process cannot write there.
    """
    key, near = f".latticescape-{uuid.uuid4().hex}", location.near()
    with report_unwritable(location.path):
        near.write(key, b"seen")
    try:
        answers = client.run(_sees, location.address, key, on_error="return")
    finally:
        near.remove(key)
    for worker, answer in answers.items():
        if isinstance(answer, RequestError):
            raise answer.within(f"the worker {worker}")
        if answer is False:
            raise RequestError(
                f"the worker {worker} has another disk at {location.path}",
                came="it does not see what this process writes there",
                allowed="a disk that all workers share under the same path, or a bucket",
                hint="--store on a shared disk, or --store s3://bucket/ising.zarr",
            )


def _sees(address: str, key: str) -> bool:
    """Whether this worker sees an object; a shared disk may show new files after seconds."""
    location = locate(address)
    location.is_free()  # fails at once if a bucket cannot be reached
    near = location.near()
    for seconds in (0, 1, 2, 4):
        time.sleep(seconds)
        if near.read(key) is not None:
            return True
    return False


class WarmUp(WorkerPlugin):  # type: ignore[misc]
    """Warms up all workers, and any worker that joins later.

    Dask sets up a worker's plugins before it sends it a task, but accepts a worker whose plugin
    failed. So every task calls the warm-up too, and fails with its error.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.name = f"latticescape-warm-up-{sweep.digest}"

    async def setup(self, worker: Worker) -> None:
        # In a thread, since a worker must answer the scheduler while it compiles.
        await asyncio.to_thread(warm_up, self.sweep)


@contextmanager
def warmed(client: Client, sweep: Sweep) -> Iterator[None]:
    """Warm up all workers of a cluster, and those that join within the context.

    Raises
    ------
    RequestError
        If the kernel fails on a worker.
    """
    plugin = WarmUp(sweep)
    try:
        with suppress(OSError):  # a worker was lost; the others continue
            client.register_plugin(plugin)
        yield
    finally:
        # ValueError: another run of the same sweep has removed the plugin already.
        with suppress(OSError, ValueError), ignore_disconnect(client):
            client.unregister_worker_plugin(plugin.name)
