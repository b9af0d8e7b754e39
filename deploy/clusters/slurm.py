"""SLURM: the scripts that are submitted, and the supervisor that replaces lost jobs."""

import asyncio
import itertools
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.utils import format_bytes, parse_bytes
from distributed import Client
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.clients import (
    certificates_of,
    client_of,
    wait_for,
    wait_for_worker,
    written_address,
)
from latticescape.deploy.clusters.profiles import (
    ALLOWED_FAILURES,
    DEATH_SECONDS,
    WORKER_TTL_SECONDS,
    Slurm,
    walltime_seconds,
)
from latticescape.physics.errors import RequestError


@contextmanager
def kept_signals() -> Iterator[None]:
    """Ignore signal handlers that are set within the block.

    For imports that would set a handler for the whole process, and fail outside its main thread.
    """
    set_handler = signal.signal
    signal.signal = lambda signalnum, handler: signal.getsignal(signalnum)
    try:
        yield
    finally:
        signal.signal = set_handler


# dask_jobqueue installs a handler of SIGINT that would end a notebook, with exit code 0.
with kept_signals():
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob

NAME = "latticescape"

# After this many rounds in which every job ended before its worker joined, no more are submitted;
# and the longest pause between two such rounds.
MAX_FAILED_ROUNDS = 3
MAX_PAUSE_SECONDS = 600

ENDED = {
    "gone",
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "COMPLETING",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}

# Shown in a script while the scheduler has no address yet.
UNKNOWN_ADDRESS = "<address-of-the-scheduler>"

ALLOCATION = """\
#!/usr/bin/env bash
{directives}

{prologue}
scheduler_file={folder}/scheduler-$SLURM_JOB_ID.json
{python} -m distributed.cli.dask_scheduler --scheduler-file "$scheduler_file" {scheduler} &
scheduler=$!
trap 'kill $scheduler 2>/dev/null; rm -f "$scheduler_file"' EXIT
until [ -s "$scheduler_file" ]; do
  kill -0 $scheduler 2>/dev/null || exit 1
  sleep 0.2
done
srun --kill-on-bad-exit=0 --wait=0 --cpus-per-task={cores} \\
  {python} -m distributed.cli.dask_worker --scheduler-file "$scheduler_file" {worker}
"""


def job_script(profile: Slurm, certificates: Certificates | None) -> str:
    """The script to submit: one per worker, or one for everything if the scheduler is inside.

    Examples
    --------
    >>> print(job_script(Slurm(partition="main", cores=4, python="python"), None))
    #!/usr/bin/env bash
    <BLANKLINE>
    #SBATCH -J latticescape
    #SBATCH -p main
    #SBATCH -n 1
    #SBATCH --cpus-per-task=4
    #SBATCH --mem=2G
    #SBATCH -t 01:00:00
    #SBATCH --output=.../latticescape-jobs/%x-%j.log
    python -m distributed.cli.dask_worker ...
    """
    if profile.scheduler == "inside":
        return _allocation_script(profile, certificates)
    scheme = "tls" if certificates else "tcp"
    options = worker_job(profile, certificates)
    job = SLURMJob(f"{scheme}://{UNKNOWN_ADDRESS}", name=f"{NAME}-0", **options)
    return str(job.job_script())


def worker_job(profile: Slurm, certificates: Certificates | None) -> dict[str, Any]:
    """Options of dask-jobqueue for a job with one worker."""
    margin = min(300, max(30, walltime_seconds(profile.walltime) // 20))
    # A worker leaves before SLURM ends it, so that its tasks are not blamed for its death.
    lifetime = walltime_seconds(profile.walltime) - margin
    leaving = ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{margin // 2}s"]
    security = certificates.security if certificates else None
    return {
        "queue": profile.partition or None,
        "account": profile.account or None,
        "cores": profile.cores,
        "processes": profile.processes,
        "memory": profile.memory,
        "walltime": profile.walltime,
        "interface": profile.interface or None,
        "protocol": "tls://" if security else None,
        "security": security,
        "python": profile.python or sys.executable,
        "job_name": NAME,
        "job_script_prologue": list(profile.prologue),
        "job_extra_directives": [f"--output={profile.folder}/%x-%j.log", *profile.directives],
        "local_directory": profile.local_folder or None,
        "death_timeout": DEATH_SECONDS,
        "worker_extra_args": ["--dashboard-address", "127.0.0.1:0", *leaving],
    }


class WorkerJob(SLURMJob):  # type: ignore[misc]
    """A job that records that it was closed, which Dask waits for when a cluster closes."""

    async def close(self) -> None:
        """Cancel it."""
        await super().close()
        self.status = Status.closed


def slurm_cluster(profile: Slurm, certificates: Certificates | None) -> SLURMCluster:
    """A scheduler in this process, without jobs."""
    options = worker_job(profile, certificates)
    interface = profile.scheduler_interface or profile.interface
    scheduler: dict[str, Any] = {
        "dashboard_address": profile.dashboard,
        "allowed_failures": ALLOWED_FAILURES,
        "worker_ttl": WORKER_TTL_SECONDS,
        **({"interface": interface} if interface else {}),
    }
    return SLURMCluster(name=NAME, job_cls=WorkerJob, scheduler_options=scheduler, **options)


def check_interface(profile: Slurm) -> None:
    """Check that this machine has the network interface of the scheduler.

    Raises
    ------
    RequestError
        If it has none of that name.
    """
    interface = profile.scheduler_interface or profile.interface
    own = [name for _, name in socket.if_nameindex()]
    if interface and interface not in own:
        raise RequestError(
            f"this machine has no network interface {interface}",
            allowed=" | ".join(own),
            hint=f'scheduler_interface = "{own[0]}", or scheduler = "inside"',
        )


def _allocation_script(profile: Slurm, certificates: Certificates | None) -> str:
    amount = parse_bytes(profile.memory)
    directives = [
        f"-J {NAME}",
        *([f"-p {profile.partition}"] if profile.partition else []),
        *([f"-A {profile.account}"] if profile.account else []),
        f"--ntasks={profile.jobs}",
        f"--cpus-per-task={profile.cores}",
        f"--mem-per-cpu={math.ceil(amount / profile.cores / 2**20)}M",
        f"-t {profile.walltime}",
        f"--output={profile.folder}/%x-%j.log",
        *profile.directives,
    ]
    settings = {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED_FAILURES),
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{WORKER_TTL_SECONDS}s",
        # The client that ends the job may itself have been killed.
        "DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT": f"{60 * profile.idle_minutes:g}s",
        **(certificates.environment if certificates else {}),
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    interface = f" --interface {profile.interface}" if profile.interface else ""
    worker = (
        f"--nworkers {profile.processes} --nthreads {profile.cores // profile.processes} "
        f"--memory-limit {format_bytes(amount / profile.processes).replace(' ', '')}{interface} "
        f"--death-timeout {DEATH_SECONDS} --dashboard-address 127.0.0.1:0"
        + (f" --local-directory {profile.local_folder}" if profile.local_folder else "")
    )
    return ALLOCATION.format(
        directives="\n".join(f"#SBATCH {line}" for line in directives),
        prologue="\n".join([*list(profile.prologue), *exports]),
        folder=shlex.quote(str(profile.folder)),
        python=profile.python or sys.executable,
        scheduler=f"--port 0{interface} --dashboard-address {profile.dashboard}",
        cores=profile.cores,
        worker=worker,
    )


def slurm(*command: str, script: str | None = None) -> str:
    """Run a command of SLURM and return what it prints.

    Raises
    ------
    RequestError
        If the command is missing or fails.
    """
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=120, check=False
        )
    except FileNotFoundError:
        raise _no_slurm(command[0]) from None
    except subprocess.TimeoutExpired:
        raise _refused(command[0], "no answer within 120 s") from None
    if done.returncode:
        raise _refused(command[0], done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def _no_slurm(command: str) -> RequestError:
    return RequestError(
        f"SLURM is not installed on this machine: no command {command}",
        hint="ssh to the login node first",
    )


def _refused(command: str, reason: object) -> RequestError:
    return RequestError(
        f"{command} failed",
        came=reason,
        allowed="options that sinfo and your site's documentation list",
        hint="latticescape cluster job-script PROFILE, and sbatch --test-only",
    )


def states_of_jobs() -> dict[str, str]:
    """State and reason of this user's jobs, by job id.

    Raises
    ------
    RequestError
        If squeue does not answer.
    """
    out = slurm(
        *("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r")
    )
    rows = [line.split("|") for line in out.splitlines()]
    return {row[0]: f"{row[1]} ({row[2]})" for row in rows}


def has_ended(state: str) -> bool:
    """Whether a job in this state has ended.

    Examples
    --------
    >>> has_ended("PENDING (Resources)"), has_ended("COMPLETING (None)")
    (False, True)
    """
    return state.split()[0] in ENDED


@dataclass
class JobSupervisor:
    """Keeps the number of jobs of a cluster constant: cancelled and lost ones are submitted again.

    Dask's own ``scale`` never replaces a job, and ``adapt`` only one whose single worker had
    joined, after 15 s. SLURM is asked only while some job has no worker.

    Parameters
    ----------
    cluster
        The cluster; the supervisor fills its ``worker_spec``.
    jobs
        The number of jobs.
    seconds
        Interval between two checks.

    Attributes
    ----------
    failure
        Why no more jobs are submitted, "" while they are.
    state
        The states of the jobs without a worker at the last check, or what SLURM answered.
    """

    cluster: SLURMCluster
    jobs: int
    seconds: float
    failure: str = ""
    state: str = ""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _joined: set[str] = field(default_factory=set)
    # Failed rounds since a job last joined, which set the pause, and since there was any worker.
    _failed_rounds: int = 0
    _rounds_without_worker: int = 0
    _resume: float = 0.0

    def __enter__(self) -> "JobSupervisor":
        """Submit the jobs, and check them until the end of the block.

        Raises
        ------
        RequestError
            If SLURM refuses a job.
        """
        try:
            self.cluster.sync(self._fill)
        except FileNotFoundError:
            raise _no_slurm("sbatch") from None
        except RuntimeError as error:
            raise _refused("sbatch", str(error).partition("stderr:")[2].strip() or error) from None
        self._callback = PeriodicCallback(self.check, 1000 * self.seconds)
        self.cluster.loop.add_callback(self._callback.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.loop.add_callback(self._callback.stop)

    async def check(self) -> None:
        """Find lost jobs, and submit as many new ones."""
        spec: Mapping[str, Any] = self.cluster.worker_spec
        names = {worker.name for worker in self.cluster.scheduler.workers.values()}
        parts = self.cluster.new_spec.get("group", [""])
        present = {job for job in spec if any(f"{job}{part}" in names for part in parts)}
        if present - self._joined:
            self._failed_rounds = 0
        if present:
            self._rounds_without_worker = 0
        self._joined |= present
        absent = set(spec) - present
        if not absent or self.failure or time.monotonic() < self._resume:
            return
        try:
            lost = await self._lost(absent)
            if self.cluster.status == Status.running:
                self._drop(lost)
                await self._fill()
        except (RequestError, RuntimeError, OSError) as error:
            # squeue and sbatch may fail for a while; the next check asks again.
            self.state = str(error)

    async def _lost(self, absent: set[str]) -> set[str]:
        """The jobs without a worker that have ended."""
        states = await asyncio.to_thread(states_of_jobs)
        ids = {name: job.job_id for name, job in self.cluster.workers.items() if name in absent}
        state_of = {name: states.get(ids.get(name, ""), "gone ()") for name in absent}
        counts = Counter(state_of.values())
        self.state = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return {name for name, state in state_of.items() if has_ended(state)}

    def _drop(self, lost: set[str]) -> None:
        for name in lost:
            self.cluster.worker_spec.pop(name, None)
        if lost - self._joined:
            self._failed_rounds += 1
            self._rounds_without_worker += 1
            pause = min(self.seconds * 2**self._failed_rounds, MAX_PAUSE_SECONDS)
            self._resume = time.monotonic() + pause
        if self._rounds_without_worker >= MAX_FAILED_ROUNDS:
            self.failure = f"{MAX_FAILED_ROUNDS} times the jobs ended before a worker joined"
            self.jobs = len(self.cluster.worker_spec)
            # Without workers, and with none to come, tasks fail instead of pending for ever.
            self.cluster.scheduler.no_workers_timeout = self.seconds

    async def _fill(self) -> None:
        for _ in range(self.jobs - len(self.cluster.worker_spec)):
            self.cluster.worker_spec[f"{NAME}-{next(self._numbers)}"] = self.cluster.new_spec
        if set(self.cluster.worker_spec) != set(self.cluster.workers):
            await self.cluster


@contextmanager
def slurm_client(profile: Slurm) -> Iterator[Client]:
    """A client of a cluster of SLURM jobs, which end with the block."""
    inside, folder = profile.scheduler == "inside", profile.folder
    if not inside:
        check_interface(profile)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"cannot make the folder {folder}",
            came=error.strerror,
            allowed="a folder that you may write in and all nodes can read",
            hint='folder = "~/latticescape-jobs"',
        ) from None
    with ExitStack() as stack:
        certificates = stack.enter_context(certificates_of(profile.tls, folder))
        yield (_allocation if inside else _jobs)(profile, certificates, stack)


def _jobs(profile: Slurm, certificates: Certificates | None, stack: ExitStack) -> Client:
    """The scheduler runs in this process, and each job is a worker."""
    cluster = stack.enter_context(slurm_cluster(profile, certificates))
    supervisor = stack.enter_context(JobSupervisor(cluster, profile.jobs, profile.check_seconds))
    client = stack.enter_context(Client(cluster, set_as_default=False))

    def state() -> str:
        if supervisor.failure:
            raise _lost(supervisor.failure, profile.folder)
        return supervisor.state

    wait_for_worker(client, profile.wait_minutes, state)
    return client


def _allocation(profile: Slurm, certificates: Certificates | None, stack: ExitStack) -> Client:
    """One job holds the scheduler and all workers.

    dask-jobqueue's ``SLURMRunner`` does not fit: it runs the client inside the job too, takes two
    tasks of the size of a worker for client and scheduler, and starts no nannies.
    """
    script = job_script(profile, certificates)
    job = slurm("sbatch", "--parsable", script=script).strip().partition(";")[0]

    def cancel() -> None:
        with suppress(RequestError):  # it has ended already
            slurm("scancel", job)

    stack.callback(cancel)

    def state() -> str:
        job_state = states_of_jobs().get(job, "gone ()")
        if has_ended(job_state):
            raise _lost(f"job {job} is {job_state}", profile.folder)
        return f"1 {job_state}"

    file, every = profile.folder / f"scheduler-{job}.json", profile.check_seconds
    address = wait_for(lambda: written_address(file), profile.wait_minutes, state, every)
    client = stack.enter_context(client_of(address, certificates))
    wait_for_worker(client, profile.wait_minutes, state, every)
    return client


def _lost(problem: str, folder: Path) -> RequestError:
    return RequestError(problem, came=last_log_line(folder), hint=f"read the logs in {folder}")


def last_log_line(folder: Path) -> str:
    """The last line of the newest job log that is not empty."""
    logs = sorted(folder.glob(f"{NAME}-*.log"), key=lambda log: log.stat().st_mtime)
    for log in reversed(logs):
        lines = log.read_text(errors="replace").strip().splitlines()
        if lines:
            return f"{log.name}: {lines[-1]}"
    return "no log was written"
