"""One job of SLURM that holds the scheduler and all workers."""

import math
import shlex
import sys
from contextlib import ExitStack, suppress

from dask.utils import format_bytes, parse_bytes
from distributed import Client

from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.clients import (
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
)
from latticescape.deploy.clusters.queue_systems import GONE, NAME, lost, system_of
from latticescape.physics.errors import RequestError

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


def allocation_script(profile: Slurm, certificates: Certificates | None) -> str:
    """The script of the job."""
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


def allocation_client(
    profile: Slurm, certificates: Certificates | None, stack: ExitStack
) -> Client:
    """One job holds the scheduler and all workers.

    dask-jobqueue's ``SLURMRunner`` does not fit: it runs the client inside the job too, takes two
    tasks of the size of a worker for client and scheduler, and starts no nannies.
    """
    script, system = allocation_script(profile, certificates), system_of(profile)
    job = system.call("sbatch", "--parsable", script=script).strip().partition(";")[0]

    def cancel() -> None:
        with suppress(RequestError):  # it has ended already
            system.call("scancel", job)

    stack.callback(cancel)

    def state() -> str:
        job_state = system.states_of_jobs().get(job, GONE)
        if system.has_ended(job_state):
            raise lost(f"job {job} is {job_state}", profile.folder)
        return f"1 {job_state}"

    file, every = profile.folder / f"scheduler-{job}.json", profile.check_seconds
    address = wait_for(lambda: written_address(file), profile.wait_minutes, state, every)
    client = stack.enter_context(client_of(address, certificates))
    wait_for_worker(client, profile.wait_minutes, state, every)
    return client
