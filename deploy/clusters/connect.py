"""Connect to a cluster by the name of a profile, the path of a file or an address."""

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.profiles import (
    FACTORY,
    Address,
    Factory,
    Inline,
    Jobs,
    Kubernetes,
    Local,
    Profile,
    find_profile,
    read_profile,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports
from latticescape.sweeps.execution.inline import InlineSession

if TYPE_CHECKING:
    from distributed import Client

LOG = logging.getLogger(__name__)

# For the kinds of cluster that end with this process: one that does not.
PERSISTENT = {
    "inline": "dask scheduler, and then --cluster tcp://127.0.0.1:8786",
    "local": "dask scheduler, and then --cluster tcp://127.0.0.1:8786",
    "slurm": "sbatch sweep.sbatch, or a cluster as one job: docs/howto/run-on-slurm.md",
}
PERSISTENT_QUEUE = "a job of your own that runs dask scheduler, and then its scheduler file"


def connect(
    cluster: str = "local", *, workers: int | None = None, threads: int | None = None
) -> "AbstractContextManager[Client | InlineSession]":
    """Connect to a cluster for the duration of a ``with`` block.

    Parameters
    ----------
    cluster
        The name of a profile, shipped or your own (``latticescape cluster list`` shows them), such
        as ``"local"``: worker processes on this machine that end with the block; or ``"inline"``:
        this process, which starts at once, has no Dask client and is for :func:`run` and
        :func:`extend` only. Or the path of a
        profile, ``"lab.toml"``; the file that ``dask scheduler --scheduler-file`` writes,
        ``"scheduler.json"``; or the address of a running scheduler, ``"tcp://host:port"`` or
        ``"tls://host:port"``, which keeps running; or ``"module:function"``, a function on your
        import path that returns a ``dask.distributed`` Cluster or Client and is called.
    workers, threads
        For a cluster on this machine: the number of worker processes (default: one per core) and
        of threads in each (default: 1). Inline there are only threads.

    Raises
    ------
    RequestError
        If the name is unknown, the profile is wrong, its certificates cannot be used, nothing
        answers at the address, or no worker comes.

    Examples
    --------
    >>> with connect("inline", threads=2) as session:
    ...     session.threads
    2
    """
    profile = profile_of(cluster)
    if isinstance(profile, Inline) and workers is None:
        return InlineSession(profile.threads if threads is None else threads)
    if isinstance(profile, Inline):
        raise RequestError(
            "there are no worker processes inline",
            came=f"workers = {workers}",
            allowed="threads of this process",
            hint=f"--cluster inline --threads {workers}, or --cluster local --workers {workers}",
        )
    if isinstance(profile, Local):
        chosen = {"workers": workers, "threads": threads}
        profile = profile.model_copy(
            update={name: value for name, value in chosen.items() if value is not None}
        )
    elif workers is not None or threads is not None:
        raise RequestError(
            "workers and threads need a cluster on this machine",
            came=cluster,
            hint="--cluster local",
        )
    LOG.debug("connect to %s: %r", cluster, profile)
    if isinstance(profile, Factory):
        from latticescape.deploy.clusters.factory import factory_client

        return factory_client(profile)
    if isinstance(profile.tls, Certificates):
        profile = profile.model_copy(update={"tls": profile.tls.checked(profile.roles)})
    match profile:
        case Local():
            return _local(profile)
        case Address() | Kubernetes():
            return _running(profile)
        case Jobs():
            with optional_imports():
                from latticescape.deploy.clusters.job_queues import queue_client
            return queue_client(profile)


def persistent(cluster: str) -> "AbstractContextManager[Client]":
    """Like :func:`connect`, but only to a cluster that outlives this process.

    Raises
    ------
    RequestError
        As :func:`connect`, or if the cluster ends with this process.

    Examples
    --------
    >>> persistent("local")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: --cluster local would end with this process. Try: dask scheduler, ...
    """
    profile = profile_of(cluster)
    if isinstance(profile, Inline | Local | Jobs):
        raise RequestError(
            f"--cluster {cluster} would end with this process",
            hint=PERSISTENT.get(profile.kind, PERSISTENT_QUEUE),
        )
    if isinstance(profile, Factory):
        from latticescape.deploy.clusters.factory import factory_client

        return factory_client(profile, persistent=True)
    return cast("AbstractContextManager[Client]", connect(cluster))


def profile_of(cluster: str) -> Profile:
    """The profile that :func:`connect` uses for a cluster.

    Raises
    ------
    RequestError
        If there is no profile of that name, or it is wrong.

    Examples
    --------
    >>> profile_of("tcp://10.0.0.7:8786").address
    'tcp://10.0.0.7:8786'
    """
    if "://" in cluster:
        return Address.model_construct(address=cluster)  # connecting checks the address
    if cluster.endswith(".json"):
        # Workers start with the scheduler that writes the file, so it is worth waiting for them.
        return Address(scheduler_file=Path(cluster).expanduser(), wait_minutes=10)
    if re.fullmatch(FACTORY, cluster, re.ASCII):
        return Factory(cluster=cluster)
    return read_profile(find_profile(cluster))


@contextmanager
def _local(profile: Local) -> "Iterator[Client]":
    from latticescape.deploy.clusters.clients import certificates_of
    from latticescape.sweeps.execution.workers import embedded

    with ExitStack() as stack:
        # Files and not Security.temporary: its keys would be on the workers' command lines, which
        # other users can read.
        certificates = stack.enter_context(
            certificates_of(profile.tls, Path(tempfile.gettempdir()))
        )
        options = {"security": certificates.options} if certificates else {}
        yield stack.enter_context(embedded(profile.workers, profile.threads, **options))


@contextmanager
def _running(profile: Address | Kubernetes) -> "Iterator[Client]":
    """A client of a running scheduler, after its first worker came if the profile waits for it."""
    from latticescape.deploy.clusters.clients import client_of, wait_for_worker, written_address

    if isinstance(profile, Kubernetes):
        address, timeout, state = profile.service, None, ""
    else:
        file, timeout = profile.scheduler_file, profile.timeout_seconds
        written = profile.address if file is None else written_address(file)
        if written is None:
            raise RequestError(
                f"no address in {file}",
                allowed="the file of dask scheduler --scheduler-file",
                hint="dask scheduler --scheduler-file scheduler.json",
            )
        address = state = written
    with client_of(address, profile.tls, timeout) as client:
        if profile.wait_minutes is not None:
            wait_for_worker(client, profile.wait_minutes, lambda: state)
        yield client
