"""Job queues: the scripts that are submitted, and the supervisor that replaces lost jobs."""

import asyncio
import itertools
import math
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from distributed import Client
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.clients import certificates_of, wait_for_worker
from latticescape.deploy.clusters.profiles import (
    ALLOWED_FAILURES,
    DEATH_SECONDS,
    WORKER_TTL_SECONDS,
    Queue,
    Slurm,
    walltime_seconds,
)
from latticescape.deploy.clusters.queue_systems import (
    GONE,
    NAME,
    JobQueueCluster,
    QueueSystem,
    lost,
    own_options,
    system_of,
)
from latticescape.deploy.clusters.slurm_allocation import allocation_client, allocation_script
from latticescape.physics.errors import RequestError

# After this many rounds in which every job ended before its worker joined, no more are submitted;
# and the longest pause between two such rounds.
MAX_FAILED_ROUNDS = 3
MAX_PAUSE_SECONDS = 600

# Shown in a script while the scheduler has no address yet.
UNKNOWN_ADDRESS = "<address-of-the-scheduler>"


def job_script(profile: Queue, certificates: Certificates | None) -> str:
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
    if _is_inside(profile):
        return allocation_script(profile, certificates)
    scheme = "tls" if certificates else "tcp"
    options = worker_job(profile, certificates)
    job = system_of(profile).job(f"{scheme}://{UNKNOWN_ADDRESS}", name=f"{NAME}-0", **options)
    return str(job.job_script())


def worker_job(profile: Queue, certificates: Certificates | None) -> dict[str, Any]:
    """Options of dask-jobqueue for a job with one worker."""
    margin = min(300, max(30, walltime_seconds(profile.walltime) // 20))
    # A worker leaves before its job ends, so that its tasks are not blamed for its death.
    lifetime = walltime_seconds(profile.walltime) - margin
    leaving = ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{margin // 2}s"]
    security = certificates.security if certificates else None
    return {
        "cores": profile.cores,
        "processes": profile.processes,
        "memory": profile.memory,
        "interface": profile.interface or None,
        "protocol": "tls://" if security else None,
        "security": security,
        "python": profile.python or sys.executable,
        "job_name": NAME,
        "job_script_prologue": list(profile.prologue),
        "local_directory": profile.local_folder or None,
        "death_timeout": DEATH_SECONDS,
        "worker_extra_args": ["--dashboard-address", "127.0.0.1:0", *leaving],
        **own_options(profile),
    }


def queue_cluster(profile: Queue, certificates: Certificates | None) -> JobQueueCluster:
    """A scheduler in this process, without jobs."""
    options = worker_job(profile, certificates)
    interface = profile.scheduler_interface or profile.interface
    scheduler: dict[str, Any] = {
        "dashboard_address": profile.dashboard,
        "allowed_failures": ALLOWED_FAILURES,
        "worker_ttl": WORKER_TTL_SECONDS,
        **({"interface": interface} if interface else {}),
    }
    job = system_of(profile).worker_job
    return JobQueueCluster(name=NAME, job_cls=job, scheduler_options=scheduler, **options)


def check_interface(profile: Queue) -> None:
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
            hint=f'scheduler_interface = "{own[0]}"'
            + (', or scheduler = "inside"' if isinstance(profile, Slurm) else ""),
        )


@dataclass
class JobSupervisor:
    """Keeps the number of jobs of a cluster: cancelled and lost ones are submitted again.

    Dask's own ``scale`` never replaces a job, and ``adapt`` only one whose single worker had
    joined, after 15 s. The queue is asked only while some job has no worker.

    Parameters
    ----------
    cluster
        The cluster; the supervisor fills its ``worker_spec``.
    system
        The queue system.
    jobs
        The number of jobs.
    seconds
        Interval between two checks.
    minimum
        The number of jobs while nothing is to be computed. The number then follows the work that
        Dask's scheduler expects, up to ``jobs``; None keeps it at ``jobs``.

    Attributes
    ----------
    failure
        Why no more jobs are submitted, "" while they are.
    state
        The states of the jobs without a worker at the last check, or why they are not known.
    """

    cluster: JobQueueCluster
    system: QueueSystem
    jobs: int
    seconds: float
    minimum: int | None = None
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
            If a job is refused.
        """
        command = self.system.job.submit_command
        try:
            self.cluster.sync(self._fill)
        except FileNotFoundError:
            raise self.system.not_installed(command) from None
        except (RuntimeError, ValueError) as error:  # it failed, or printed no job id
            stderr = str(error).partition("stderr:")[2].strip()
            code = re.search("Exit code: .*", str(error))
            reason = stderr or (code[0].lower() if code else " ".join(str(error).split()))
            raise self.system.refused(command, reason) from None
        self._callback = PeriodicCallback(self.check, 1000 * self.seconds)
        self.cluster.loop.add_callback(self._callback.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.loop.add_callback(self._callback.stop)

    async def check(self) -> None:
        """Find lost jobs, and submit as many new ones."""
        spec: Mapping[str, Any] = self.cluster.worker_spec
        names = {worker.name for worker in self.cluster.scheduler.workers.values()}
        present = {job for job in spec if names.intersection(self._workers_of(job))}
        if present - self._joined:
            self._failed_rounds = 0
        if present:
            self._rounds_without_worker = 0
        self._joined |= present
        absent = set(spec) - present
        if self.failure or time.monotonic() < self._resume:
            return
        try:
            lost_jobs = await self._lost(absent) if absent else set()
            if self.cluster.status == Status.running:
                self._drop(lost_jobs)
                if self.minimum is not None:
                    await self._release(present, absent - lost_jobs)
                await self._fill()
        except (RequestError, RuntimeError, ValueError, OSError) as error:
            # The commands of the queue may fail for a while; the next check asks again.
            self.state = str(error)

    async def _lost(self, absent: set[str]) -> set[str]:
        """The jobs without a worker that have ended."""
        states = await asyncio.to_thread(self.system.states_of_jobs)
        ids = {name: job.job_id for name, job in self.cluster.workers.items() if name in absent}
        state_of = {name: states.get(ids.get(name, ""), GONE) for name in absent}
        counts = Counter(state_of.values())
        self.state = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return {name for name, state in state_of.items() if self.system.has_ended(state)}

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

    async def _release(self, present: set[str], waiting: set[str]) -> None:
        """End jobs that have nothing to compute, those first that still wait in the queue."""
        scheduler = self.cluster.scheduler
        busy = {worker.name for worker in scheduler.workers.values() if worker.processing}
        idle = {job for job in present if not busy.intersection(self._workers_of(job))}
        number = len(self.cluster.worker_spec) - self._wanted()
        ending = [*sorted(waiting), *sorted(idle)][: max(0, number)]
        for job in ending:
            await scheduler.retire_workers(names=self._workers_of(job), close_workers=True)
            self.cluster.worker_spec.pop(job)
        if ending:
            await self.cluster

    def _workers_of(self, job: str) -> list[str]:
        """The names of a job's worker processes."""
        return [f"{job}{part}" for part in self.cluster.new_spec.get("group", [""])]

    def _wanted(self) -> int:
        """How many jobs there should be."""
        if self.minimum is None or self.failure:
            return self.jobs
        workers: int = self.cluster.scheduler.adaptive_target()
        return min(max(math.ceil(workers / len(self._workers_of(""))), self.minimum), self.jobs)

    async def _fill(self) -> None:
        for _ in range(self._wanted() - len(self.cluster.worker_spec)):
            self.cluster.worker_spec[f"{NAME}-{next(self._numbers)}"] = self.cluster.new_spec
        if set(self.cluster.worker_spec) != set(self.cluster.workers):
            await self.cluster


def _is_inside(profile: Queue) -> TypeGuard[Slurm]:
    return isinstance(profile, Slurm) and profile.scheduler == "inside"


@contextmanager
def queue_client(profile: Queue) -> Iterator[Client]:
    """A client of a cluster of jobs, which end with the block."""
    folder, system = profile.folder, system_of(profile)
    system.check_installed()
    if not _is_inside(profile):
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
        if _is_inside(profile):
            yield allocation_client(profile, certificates, stack)
        else:
            yield _jobs(profile, certificates, stack)


def _jobs(profile: Queue, certificates: Certificates | None, stack: ExitStack) -> Client:
    """The scheduler runs in this process, and each job is a worker."""
    cluster = stack.enter_context(queue_cluster(profile, certificates))
    supervisor = stack.enter_context(
        JobSupervisor(
            cluster,
            system_of(profile),
            profile.jobs,
            profile.check_seconds,
            profile.minimum_jobs,
        )
    )
    client = stack.enter_context(Client(cluster, set_as_default=False))

    def state() -> str:
        if supervisor.failure:
            raise lost(supervisor.failure, profile.folder)
        return supervisor.state

    wait_for_worker(client, profile.wait_minutes, state)
    return client
