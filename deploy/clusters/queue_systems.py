"""The queue systems of dask-jobqueue: their jobs, commands and options."""

import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dask.utils import parse_bytes
from distributed.core import Status

from latticescape.deploy.clusters.profiles import (
    HTCondor,
    Jobs,
    Lsf,
    Moab,
    Oar,
    Pbs,
    Queue,
    Sge,
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
    from dask_jobqueue.core import Job, JobQueueCluster
    from dask_jobqueue.htcondor import HTCondorJob
    from dask_jobqueue.lsf import LSFJob
    from dask_jobqueue.moab import MoabJob
    from dask_jobqueue.oar import OARJob
    from dask_jobqueue.pbs import PBSJob
    from dask_jobqueue.sge import SGEJob
    from dask_jobqueue.slurm import SLURMJob

NAME = "latticescape"

__all__ = [
    "GONE",
    "NAME",
    "JobQueueCluster",
    "QueueSystem",
    "lost",
    "own_options",
    "system_of",
]


@dataclass(frozen=True)
class QueueSystem:
    """A queue system.

    Attributes
    ----------
    name
        As people call it.
    job
        dask-jobqueue's class of its jobs.
    listing
        The command that lists jobs, at least the caller's own that have not ended.
    row
        A pattern for the line of one job in the list, with the groups id, state and maybe reason.
    ended
        States of jobs that have ended, or that will never start.
    advice
        Commands that show what the system accepts.
    """

    name: str
    job: type[Job]
    listing: tuple[str, ...]
    row: str
    ended: frozenset[str]
    advice: str

    @property
    def worker_job(self) -> type[Job]:
        """The class of a job that records that it was closed: Dask waits for that."""

        async def close(job: Job) -> None:
            await self.job.close(job)
            job.status = Status.closed

        return type("WorkerJob", (self.job,), {"close": close})

    def check_installed(self) -> None:
        """Check that jobs can be submitted on this machine.

        Raises
        ------
        RequestError
            If the command for it is not installed.
        """
        if shutil.which(self.job.submit_command) is None:
            raise self.not_installed(self.job.submit_command)

    def not_installed(self, command: str) -> RequestError:
        """The error for a command that this machine does not have."""
        return RequestError(
            f"{self.name} is not installed on this machine: no command {command}",
            hint="ssh to the login node first",
        )

    def refused(self, command: str, reason: object) -> RequestError:
        """The error for a command that failed."""
        return RequestError(
            f"{command} failed",
            came=reason,
            allowed=f"options that {self.advice} and your site's documentation list",
            hint="latticescape cluster job-script PROFILE",
        )

    def call(self, *command: str, script: str | None = None) -> str:
        """Run a command of the system and return what it prints.

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
            raise self.not_installed(command[0]) from None
        except subprocess.TimeoutExpired:
            raise self.refused(command[0], "no answer within 120 s") from None
        # bjobs fails if there are no jobs.
        if done.returncode and "job found" not in done.stderr:
            raise self.refused(command[0], done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout

    def states_of_jobs(self) -> dict[str, str]:
        """State and reason of the jobs that the system lists, by job id.

        Raises
        ------
        RequestError
            If the system does not answer.
        """
        return self.parsed(self.call(*self.listing))

    def parsed(self, listed: str) -> dict[str, str]:
        """The states of the jobs in a list.

        Examples
        --------
        >>> SYSTEMS["pbs"].parsed("12.server  latticescape  me  00:00:01 R batch")
        {'12': 'R'}
        """
        rows = filter(None, (re.match(self.row, line) for line in listed.splitlines()))
        return {
            row["id"]: row["state"] + (f" ({row['reason']})" if "reason" in row.groupdict() else "")
            for row in rows
        }

    def has_ended(self, state: str) -> bool:
        """Whether a job in this state has ended, or will never start.

        Examples
        --------
        >>> system = SYSTEMS["slurm"]
        >>> system.has_ended("PENDING (Resources)"), system.has_ended("COMPLETING (None)")
        (False, True)
        """
        return state.split()[0] in self.ended


# The state of a job that is not in the list any more.
GONE = "gone"

# The columns are: id, name, user, time, state, queue.
_QSTAT = r"(?P<id>\d+)\S*\s.*\s(?P<state>[A-Z])\s+\S+\s*$"

SYSTEMS: dict[str, QueueSystem] = {
    Slurm.kind: QueueSystem(
        name="SLURM",
        job=SLURMJob,
        listing=(
            *("squeue", "--noheader", "--states=all"),
            *(f"--user={os.getuid()}", "--format=%i|%T|%r"),
        ),
        row=r"(?P<id>[^|]+)\|(?P<state>[^|]+)\|(?P<reason>[^|]*)",
        ended=frozenset(
            {
                *(GONE, "BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED"),
                *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
            }
        ),
        advice="sinfo",
    ),
    Pbs.kind: QueueSystem(
        name="PBS",
        job=PBSJob,
        listing=("qstat",),
        row=_QSTAT,
        ended=frozenset({GONE, "C", "E", "F", "X"}),
        advice="qstat -Q",
    ),
    Moab.kind: QueueSystem(
        name="Moab",
        job=MoabJob,
        listing=("showq",),
        row=r"(?:\w+\.)?(?P<id>\d+)\S*\s+\S+\s+(?P<state>[A-Z]\w+)\s",
        ended=frozenset({GONE, "Completed", "Removed", "Vacated"}),
        advice="showq and mdiag -c",
    ),
    Lsf.kind: QueueSystem(
        name="LSF",
        job=LSFJob,
        listing=("bjobs", "-noheader", "-o", "jobid stat"),
        row=r"(?P<id>\d+)\s+(?P<state>\w+)",
        ended=frozenset({GONE, "DONE", "EXIT", "ZOMBI"}),
        advice="bqueues",
    ),
    Sge.kind: QueueSystem(
        name="Grid Engine",
        job=SGEJob,
        listing=("qstat",),
        # The columns are: id, priority, name, user, state, time, queue, slots.
        row=r"\s*(?P<id>\d+)\s+\S+\s+\S+\s+\S+\s+(?P<state>\w+)\s",
        ended=frozenset({GONE, "Eqw", "dr", "dt"}),
        advice="qconf -sql",
    ),
    Oar.kind: QueueSystem(
        name="OAR",
        job=OARJob,
        listing=("oarstat",),
        row=r"(?P<id>\d+)\s+(?:.*?\s)?(?P<state>[A-Z])\s",
        ended=frozenset({GONE, "E", "F", "T"}),
        advice="oarnodes",
    ),
    HTCondor.kind: QueueSystem(
        name="HTCondor",
        job=HTCondorJob,
        listing=("condor_q", "-nobatch"),
        # The columns are: id, owner, submitted, run time, state, priority, size, command.
        row=r"\s*(?P<id>\d+\.\d+)\s.*\s(?P<state>[IRXCHS<>])\s+-?\d+\s",
        ended=frozenset({GONE, "X", "C", "H"}),
        advice="condor_status",
    ),
}


def system_of(profile: Jobs) -> QueueSystem:
    """The queue system of a profile."""
    return SYSTEMS[profile.kind]


def own_options(profile: Queue) -> dict[str, Any]:
    """Options of dask-jobqueue that differ from system to system."""
    folder, seconds = profile.folder, walltime_seconds(profile.walltime)
    account = profile.account or None
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    match profile:
        case Slurm():
            log = [f"--output={folder}/%x-%j.log"]
            own = {
                "queue": profile.partition or None,
                "account": account,
                "walltime": profile.walltime,
            }
        case Pbs():  # Moab too, which does not know "select"
            log = ["-j oe", f"-o {folder}/"]
            megabytes = math.ceil(parse_bytes(profile.memory) / 2**20)
            moab = f"nodes=1:ppn={profile.cores},mem={megabytes}mb"
            resources = profile.resources or (moab if isinstance(profile, Moab) else None)
            own = {
                "queue": profile.queue or None,
                "account": account,
                "walltime": clock,
                "resource_spec": resources,
            }
        case Lsf():
            log = [f"-o {folder}/{NAME}-%J.log"]
            minutes = math.ceil(seconds / 60)
            own = {
                "queue": profile.queue or None,
                "project": account,
                "walltime": f"{minutes // 60:02}:{minutes % 60:02}",
            }
        case Sge():
            log = [f"-o {folder}/{NAME}-$JOB_ID.log"]
            if profile.parallel_environment:
                log.append(f"-pe {profile.parallel_environment} {profile.cores}")
            own = {
                "queue": profile.queue or None,
                "project": account,
                "walltime": clock,
                "resource_spec": profile.resources or None,
            }
        case Oar():
            log = [f"-O {folder}/{NAME}-%jobid%.log", f"-E {folder}/{NAME}-%jobid%.log"]
            own = {
                "queue": profile.queue or None,
                "project": account,
                "walltime": clock,
                "resource_spec": profile.resources or None,
                "memory_per_core_property_name": profile.memory_property or "not_applicable",
            }
        case HTCondor():
            file = f"{folder}/{NAME}-$(ClusterId).$(ProcId)"
            lines = {
                "Output": f"{file}.log",
                "Error": f"{file}.log",
                "Log": f"{file}.events",
                # Workers are killed in the end, so what they print is copied all the time.
                "Stream_Output": "True",
                "Stream_Error": "True",
                **({"accounting_group": account} if account else {}),
            }
            for line in profile.directives:
                name, _, value = line.partition("=")
                lines[name.strip()] = value.strip()
            return {"disk": profile.disk, "job_extra_directives": lines}
    return {**own, "job_extra_directives": [*log, *profile.directives]}


def last_log_line(folder: Path) -> str:
    """The last line of the newest job log that is not empty."""
    others = (".json", ".events")
    logs = [file for file in folder.glob("*") if file.is_file() and file.suffix not in others]
    for log in sorted(logs, key=lambda file: file.stat().st_mtime, reverse=True):
        lines = log.read_text(errors="replace").strip().splitlines()
        if lines:
            return f"{log.name}: {lines[-1]}"
    return "no log was written"


def lost(problem: str, folder: Path) -> RequestError:
    """The error for jobs that ended before a worker came."""
    return RequestError(problem, came=last_log_line(folder), hint=f"read the logs in {folder}")
