"""From a name, a profile or an address to a Dask client."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import click
from distributed import Client

from latticescape.deploy.clusters.certificates import Certificates, make_certificates
from latticescape.deploy.clusters.jobs import (
    Keeper,
    check_interface,
    has_ended,
    job_script,
    last_words,
    slurm,
    slurm_cluster,
    states_of_jobs,
)
from latticescape.deploy.clusters.profiles import (
    TEMPORARY,
    Address,
    Kubernetes,
    Local,
    Profile,
    Slurm,
    Tls,
    find_profile,
    read_profile,
)
from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.workers import at_address, embedded

T = TypeVar("T")

# What goes on without whoever submits to it, where a cluster of one's own would not.
LASTING = {
    "local": "dask scheduler, and then --cluster tcp://127.0.0.1:8786",
    "slurm": "sbatch sweep.sbatch, or a cluster as one job: docs/howto/run-on-slurm.md",
}

# Until a user is told what is waited for, and between two looks.
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.2


def connect(
    cluster: str = "local", *, workers: int | None = None, threads: int | None = None
) -> AbstractContextManager[Client]:
    """A Dask client by name, for as long as the block lasts.

    Parameters
    ----------
    cluster
        The name of a profile, shipped or your own (``latticescape cluster list`` tells them), such
        as ``"local"``: worker processes on this machine, gone at the end. Or the path of a profile,
        ``"lab.toml"``; the file that ``dask scheduler --scheduler-file`` writes,
        ``"scheduler.json"``; the address of a running scheduler, ``"tcp://host:port"`` or
        ``"tls://host:port"``, which goes on.
    workers, threads
        Of a cluster on this machine: worker processes (default: one a core) and threads of each.

    Raises
    ------
    RequestError
        If the name is unknown, the profile is wrong, its certificates cannot be used, nothing
        answers at the address, or no worker comes.

    Examples
    --------
    >>> with connect("local", workers=1) as client:
    ...     client.submit(sum, [1, 2]).result()
    3
    """
    profile = profile_of(cluster)
    if isinstance(profile, Local):
        profile = replace(
            profile,
            workers=profile.workers if workers is None else workers,
            threads=profile.threads if threads is None else threads,
        )
    elif workers is not None or threads is not None:
        raise RequestError(
            f"workers and threads are of a cluster on this machine, and {cluster} is none",
            allowed="--cluster local --workers 2",
            hint=f"--cluster {cluster}",
        )
    if isinstance(profile.tls, Certificates):
        profile = replace(profile, tls=profile.tls.checked(profile.roles))
    return _connected(profile)


def lasting(cluster: str) -> AbstractContextManager[Client]:
    """As :func:`connect`, to a cluster that goes on when this process ends.

    Raises
    ------
    RequestError
        As there, or if it ends with this process.

    Examples
    --------
    >>> lasting("local")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: a cluster of this process's own ends with it (came: --cluster ...
    """
    profile = profile_of(cluster)
    if isinstance(profile, Local | Slurm):
        raise RequestError(
            "a cluster of this process's own ends with it",
            came=f"--cluster {cluster}, of kind {profile.kind}",
            allowed="a scheduler that goes on",
            hint=LASTING[profile.kind],
        )
    return connect(cluster)


def profile_of(cluster: str) -> Profile:
    """What :func:`connect` takes, as a profile.

    Raises
    ------
    RequestError
        If there is none of that name, or it is wrong.

    Examples
    --------
    >>> profile_of("tcp://10.0.0.7:8786").address
    'tcp://10.0.0.7:8786'
    """
    if "://" in cluster:
        return Address(address=cluster)
    if cluster.endswith(".json"):
        # Who waits for the file of a scheduler has started workers too.
        return Address(scheduler_file=Path(cluster).expanduser(), wait_minutes=10)
    return read_profile(find_profile(cluster))


def _connected(profile: Profile) -> AbstractContextManager[Client]:
    match profile:
        case Local():
            return _local(profile)
        case Address():
            return _address(profile)
        case Slurm(scheduler="inside"):
            return _allocation(profile)
        case Slurm():
            return _slurm(profile)
        case Kubernetes():
            return _kubernetes(profile)


@contextmanager
def _local(profile: Local) -> Iterator[Client]:
    with ExitStack() as stack:
        made = stack.enter_context(_certificates(profile.tls, Path(tempfile.gettempdir())))
        options = {"security": made.options} if made else {}
        yield stack.enter_context(embedded(profile.workers, profile.threads, **options))


@contextmanager
def _address(profile: Address) -> Iterator[Client]:
    address = profile.address
    if profile.scheduler_file is not None:
        found = written_address(profile.scheduler_file)
        if found is None:
            raise RequestError(
                f"no address in {profile.scheduler_file}",
                allowed="the file of dask scheduler --scheduler-file",
                hint="dask scheduler --scheduler-file scheduler.json",
            )
        address = found
    with _client(address, profile.tls, profile.timeout_seconds) as client:
        if profile.wait_minutes is not None:
            _wait_for_worker(client, profile.wait_minutes, lambda: address)
        yield client


@contextmanager
def _kubernetes(profile: Kubernetes) -> Iterator[Client]:
    with _client(profile.service, profile.tls) as client:
        _wait_for_worker(client, profile.wait_minutes, lambda: "")
        yield client


@contextmanager
def _slurm(profile: Slurm) -> Iterator[Client]:
    with ExitStack() as stack:
        check_interface(profile)
        made = stack.enter_context(_certificates(profile.tls, made_folder(profile.folder)))
        cluster = stack.enter_context(slurm_cluster(profile, made))
        keeper = stack.enter_context(Keeper(cluster, profile.jobs, profile.check_seconds))
        client = stack.enter_context(Client(cluster, set_as_default=False))

        def told() -> str:
            if keeper.failure:
                raise _lost(keeper.failure, profile.folder)
            return keeper.told

        _wait_for_worker(client, profile.wait_minutes, told)
        yield client


@contextmanager
def _allocation(profile: Slurm) -> Iterator[Client]:
    with ExitStack() as stack:
        made = stack.enter_context(_certificates(profile.tls, made_folder(profile.folder)))
        job = stack.enter_context(_submitted(job_script(profile, made)))

        def told() -> str:
            state = states_of_jobs().get(job, "gone ()")
            if has_ended(state):
                raise _lost(f"job {job} is {state}", profile.folder)
            return f"1 {state}"

        file = profile.folder / f"scheduler-{job}.json"
        every = profile.check_seconds
        address = _waited(lambda: written_address(file), profile.wait_minutes, told, every)
        client = stack.enter_context(_client(address, made))
        _wait_for_worker(client, profile.wait_minutes, told, every)
        yield client


@contextmanager
def _submitted(script: str) -> Iterator[str]:
    """The id of a job, cancelled at the end."""
    job = slurm("sbatch", "--parsable", script=script).strip().partition(";")[0]
    try:
        yield job
    finally:
        with suppress(RequestError):  # it has ended already
            slurm("scancel", job)


@contextmanager
def _certificates(tls: Tls, folder: Path) -> Iterator[Certificates | None]:
    """Those of a profile; temporary ones are made in the folder, and removed."""
    if tls != TEMPORARY:
        yield tls if isinstance(tls, Certificates) else None
        return
    place = folder / f"latticescape-tls-{uuid4().hex[:12]}"
    try:
        yield make_certificates(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _client(address: str, tls: Tls, timeout: float | None = None) -> AbstractContextManager[Client]:
    security = tls.security if isinstance(tls, Certificates) else None
    options = {} if timeout is None else {"timeout": timeout}
    return at_address(address, security=security, **options)


def made_folder(folder: Path) -> Path:
    """A folder, made if it is not there.

    Raises
    ------
    RequestError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"cannot make the folder {folder}",
            came=error.strerror,
            allowed="a folder you may write in, and all nodes see",
            hint='folder = "~/latticescape-jobs"',
        ) from None
    return folder


def written_address(file: Path) -> str | None:
    """The address in the file of a scheduler, nothing until it is there as a whole."""
    try:
        found = json.loads(file.read_text())["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def _wait_for_worker(
    client: Client, minutes: float, told: Callable[[], str], every: float = LOOK_SECONDS
) -> None:
    _waited(client.nthreads, minutes, told, every)


def _waited(
    found: Callable[[], T | None], minutes: float, told: Callable[[], str], every: float
) -> T:
    """What is found once it is there; the user is told what is waited for, asked every so often."""
    begin = asked = time.monotonic()
    told_now = last = ""
    while not (result := found()):
        waited = time.monotonic() - begin
        if not told_now or time.monotonic() > asked + every:
            told_now, asked = told(), time.monotonic()
        if waited > 60 * minutes:
            raise RequestError(
                f"no worker came within {minutes:g} minutes",
                came=told_now or None,
                allowed="at least one",
                hint="a larger wait_minutes in the profile, fewer cores or less walltime",
            )
        if waited > PATIENCE_SECONDS and told_now != last:
            click.echo(f"waiting for a worker: {told_now}", err=True)
            last = told_now
        time.sleep(LOOK_SECONDS)
    return result


def _lost(problem: str, folder: Path) -> RequestError:
    return RequestError(
        problem,
        came=last_words(folder),
        allowed="jobs whose worker reaches the scheduler",
        hint=f"read the logs in {folder}",
    )
