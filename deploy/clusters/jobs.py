"""SLURM: what is submitted, and the keeper that replaces the jobs that are lost."""

import asyncio
import itertools
import math
import os
import shlex
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.utils import format_bytes, parse_bytes
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.profile_schema import walltime_seconds
from latticescape.deploy.clusters.profiles import Slurm
from latticescape.deploy.clusters.signals import kept_signals
from latticescape.physics.errors import RequestError

# Else Ctrl-C ends whoever imports this, a notebook too, and with exit code 0.
with kept_signals():
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob

NAME = "latticescape"

# A task may lose so many workers (a cancelled job, a node that dies) before it is given up. With
# none, one unlucky block is given up; with Dask's three, a block that kills its workers itself
# takes four jobs to find out.
ALLOWED_FAILURES = 2
# A worker that says nothing for so long is taken for lost, and its tasks are done elsewhere.
WORKER_TTL_SECONDS = 60
DEATH_SECONDS = 60

# Rounds in a row of jobs that ended before their worker joined, until no more are submitted; and
# the longest pause between two such rounds.
FRUITLESS_ROUNDS = 3
LONGEST_PAUSE_SECONDS = 600

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

# Where the scheduler's address is not known before it has started.
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
    """The script that is submitted: once a worker, or once for all if the scheduler is inside.

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
    """A job with one worker, as dask-jobqueue takes it."""
    margin = min(300, max(30, walltime_seconds(profile.walltime) // 20))
    # A worker leaves before SLURM ends it, so that its tasks do not count as having killed it.
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
    """A job that knows when it was closed: Dask closes no cluster while one seems open."""

    async def close(self) -> None:
        """Cancel it."""
        await super().close()
        self.status = Status.closed


def slurm_cluster(profile: Slurm, certificates: Certificates | None) -> SLURMCluster:
    """A scheduler in this process, no job yet."""
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
    """Make sure that the scheduler's network is one of this machine.

    Raises
    ------
    RequestError
        If it is none.
    """
    interface = profile.scheduler_interface or profile.interface
    own = [name for _, name in socket.if_nameindex()]
    if interface and interface not in own:
        raise RequestError(
            "this machine has no such network interface",
            came=interface,
            allowed=", ".join(own),
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
        # Whoever is to end the job may be gone, or have been killed.
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
    """What a command of SLURM prints.

    Raises
    ------
    RequestError
        If it is not there, or refuses.
    """
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=120, check=False
        )
    except FileNotFoundError:
        raise no_slurm(command[0]) from None
    except subprocess.TimeoutExpired:
        raise refused(command[0], "no answer within 120 s") from None
    if done.returncode:
        raise refused(command[0], done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def no_slurm(command: str) -> RequestError:
    """The error where SLURM is not installed."""
    return RequestError(
        "this machine has no SLURM",
        came=f"no command {command}",
        allowed="a machine that may submit jobs",
        hint="ssh to the login node first",
    )


def refused(command: str, reason: object) -> RequestError:
    """The error where SLURM refuses."""
    return RequestError(
        f"{command} refuses",
        came=reason,
        allowed="what sinfo and your site's documentation tell",
        hint="latticescape cluster job-script PROFILE, and sbatch --test-only",
    )


def states_of_jobs() -> dict[str, str]:
    """State and reason of all jobs of this user that SLURM still knows, by job id.

    Raises
    ------
    RequestError
        If it cannot be asked now.
    """
    out = slurm(
        *("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r")
    )
    rows = [line.split("|") for line in out.splitlines()]
    return {row[0]: f"{row[1]} ({row[2]})" for row in rows}


def has_ended(state: str) -> bool:
    """Whether a job of this state holds no worker any more, and never will.

    Examples
    --------
    >>> has_ended("PENDING (Resources)"), has_ended("COMPLETING (None)")
    (False, True)
    """
    return state.split()[0] in ENDED


@dataclass
class Keeper:
    """Keeps a cluster at a wanted number of jobs: what is cancelled or lost is submitted again.

    Dask's own ``scale`` never replaces a job, and ``adapt`` only one whose single worker had
    joined, after 15 s. SLURM is asked only while some job has no worker.

    Parameters
    ----------
    cluster
        Its ``worker_spec`` is filled here.
    jobs
        How many there are to be.
    seconds
        Between two looks.
    """

    cluster: SLURMCluster
    jobs: int
    seconds: float
    failure: str = ""
    told: str = ""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _joined: set[str] = field(default_factory=set)
    _fruitless: int = 0
    _alone: int = 0
    _resume: float = 0.0

    def __enter__(self) -> "Keeper":
        """Submit the jobs, and look after them until the end of the block.

        Raises
        ------
        RequestError
            If SLURM refuses a job.
        """
        try:
            self.cluster.sync(self._fill)
        except FileNotFoundError:
            raise no_slurm("sbatch") from None
        except RuntimeError as error:
            raise refused("sbatch", str(error).partition("stderr:")[2].strip() or error) from None
        self._watch = PeriodicCallback(self.look, 1000 * self.seconds)
        self.cluster.loop.add_callback(self._watch.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.loop.add_callback(self._watch.stop)

    async def look(self) -> None:
        """Look once: find what is lost, and submit as many new jobs."""
        spec: Mapping[str, Any] = self.cluster.worker_spec
        present = self._present()
        if present - self._joined:
            self._fruitless = 0
        if present:
            self._alone = 0
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
            # Neither squeue nor sbatch has to answer at every time; the next look asks again.
            self.told = str(error)

    def _present(self) -> set[str]:
        """Jobs of which a worker is there."""
        names = {worker.name for worker in self.cluster.scheduler.workers.values()}
        parts = self.cluster.new_spec.get("group", [""])
        return {
            job
            for job in self.cluster.worker_spec
            if any(f"{job}{part}" in names for part in parts)
        }

    async def _lost(self, absent: set[str]) -> set[str]:
        """Those without a worker whose job has ended."""
        states = await asyncio.to_thread(states_of_jobs)
        ids = {name: job.job_id for name, job in self.cluster.workers.items() if name in absent}
        found = {name: states.get(ids.get(name, ""), "gone ()") for name in absent}
        counts = Counter(found.values())
        self.told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return {name for name, state in found.items() if has_ended(state)}

    def _drop(self, lost: set[str]) -> None:
        for name in lost:
            self.cluster.worker_spec.pop(name, None)
        if lost - self._joined:
            self._fruitless += 1
            self._alone += 1
            pause = min(self.seconds * 2**self._fruitless, LONGEST_PAUSE_SECONDS)
            self._resume = time.monotonic() + pause
        if self._alone >= FRUITLESS_ROUNDS:
            self._give_up()

    def _give_up(self) -> None:
        self.failure = f"{FRUITLESS_ROUNDS} times the jobs ended before a worker joined"
        self.jobs = len(self.cluster.worker_spec)
        # Without workers, and with none to come, tasks fail instead of pending for ever.
        self.cluster.scheduler.no_workers_timeout = self.seconds

    async def _fill(self) -> None:
        for _ in range(self.jobs - len(self.cluster.worker_spec)):
            self.cluster.worker_spec[f"{NAME}-{next(self._numbers)}"] = self.cluster.new_spec
        if set(self.cluster.worker_spec) != set(self.cluster.workers):
            await self.cluster


def last_words(folder: Path) -> str:
    """The last line of the newest log of a job that says anything."""
    logs = sorted(folder.glob(f"{NAME}-*.log"), key=lambda log: log.stat().st_mtime)
    for log in reversed(logs):
        lines = log.read_text(errors="replace").strip().splitlines()
        if lines:
            return f"{log.name}: {lines[-1]}"
    return "no log was written"
