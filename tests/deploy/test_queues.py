"""Job queues besides SLURM: what is written into job scripts, read from lists, and a played PBS."""

import os
import re
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest
from distributed import Client

from latticescape.deploy import connect
from latticescape.deploy.clusters import profiles
from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.connect import persistent
from latticescape.deploy.clusters.job_queues import job_script
from latticescape.deploy.clusters.profiles import KINDS, parse_profile
from latticescape.deploy.clusters.queue_systems import SYSTEMS
from latticescape.physics.errors import RequestError
from tests.support.processes import eventually

PROFILE = """\
kind = "{kind}"
cores = 4
processes = 2
memory = "8 GB"
walltime = "1-02:03:04"
account = "physics"
interface = "ib0"
python = "/opt/python"
prologue = ["module load python", "ulimit -n 4096"]
folder = "/jobs"
local_folder = "/tmp/$USER"
"""
# Further lines of the profile, and the options in the job script with those of the profile above.
SCRIPTS = {
    "pbs": (
        'queue = "long"\ndirectives = ["-m n"]',
        "#PBS -N latticescape|-q long|-A physics|-l select=1:ncpus=4:mem=7630MB"
        "|-l walltime=26:03:04|-j oe|-o /jobs/|-m n",
    ),
    "moab": (
        'queue = "long"\ndirectives = ["-m n"]',
        "#PBS -N latticescape|-q long|-A physics|-l nodes=1:ppn=4,mem=7630mb"
        "|-l walltime=26:03:04|-j oe|-o /jobs/|-m n",
    ),
    "lsf": (
        'queue = "long"\ndirectives = ["-x"]',
        '#BSUB -J latticescape|-q long|-P "physics"|-n 4|-R "span[hosts=1]"|-M 8000000|-W 26:04'
        "|-o /jobs/latticescape-%J.log|-x",
    ),
    "sge": (
        'queue = "long"\nparallel_environment = "smp"\nresources = "h_vmem=2G"',
        "#$ -N latticescape|-q long|-P physics|-l h_vmem=2G|-l h_rt=26:03:04|-cwd|-j y"
        "|-o /jobs/latticescape-$JOB_ID.log|-pe smp 4",
    ),
    "oar": (
        'queue = "long"\nmemory_property = "memcore"',
        "#OAR -n latticescape|-q long|--project physics|-l /nodes=1/core=4,walltime=26:03:04"
        "|-O /jobs/latticescape-%jobid%.log|-E /jobs/latticescape-%jobid%.log|-p memcore>=1908",
    ),
}
# What the commands that list jobs print, and what is read from it.
LISTS = {
    "slurm": ("12|PENDING|Resources\n13|RUNNING|None", {"12": "PENDING (Resources)"}, {}),
    "pbs": (
        """\
Job id            Name             User              Time Use S Queue
----------------  ---------------- ----------------  -------- - -----
12.head           latticescape     me                00:00:07 R batch
13.head           latticescape     me                       0 Q batch
14.head           latticescape     me                00:00:01 C batch
""",
        {"12": "R", "13": "Q"},
        {"14": "C"},
    ),
    "moab": (
        """\
active jobs------------------------
JOBID              USERNAME      STATE PROCS   REMAINING            STARTTIME

12                       me    Running     4     0:59:57  Fri Mar  4 10:00:00
Moab.13                  me       Idle     4     1:00:00  Fri Mar  4 10:00:00

1 active job            4 of 8 processors in use by local jobs (50.00%)
""",
        {"12": "Running", "13": "Idle"},
        {},
    ),
    "lsf": (
        "12      RUN\n13      PEND\n14      EXIT\n",
        {"12": "RUN", "13": "PEND"},
        {"14": "EXIT"},
    ),
    "sge": (
        """\
job-ID  prior   name       user         state submit/start at     queue                slots
---------------------------------------------------------------------------------------------
     12 0.55500 latticesca me           r     03/04/2026 10:00:00 all.q@n1                 4
     13 0.00000 latticesca me           qw    03/04/2026 10:00:00                          4
     14 0.00000 latticesca me           Eqw   03/04/2026 10:00:00                          4
""",
        {"12": "r", "13": "qw"},
        {"14": "Eqw"},
    ),
    "oar": (
        """\
Job id    S User     Duration   System message
--------- - -------- ---------- ------------------------------------------------
12        R me          0:00:09 R=4,W=1:0:0,J=B,N=latticescape
13        W me          0:00:00 R=4,W=1:0:0,J=B,N=latticescape
14        E me          0:00:00 R=4,W=1:0:0,J=B,N=latticescape
""",
        {"12": "R", "13": "W"},
        {"14": "E"},
    ),
    "htcondor": (
        """\
-- Schedd: head : <10.0.0.1:9618?... @ 03/04/26 10:00:00
 ID      OWNER            SUBMITTED     RUN_TIME ST PRI SIZE CMD
  12.0   me              3/4  10:00   0+00:00:07 R  0   0.0  sh -c module load
  13.0   me              3/4  10:00   0+00:00:00 I  0   0.0  sh -c module load
  14.0   me              3/4  10:00   0+00:00:00 H  0   0.0  sh -c module load

Total for query: 3 jobs; 0 completed, 0 removed, 1 idle, 1 running, 1 held, 0 suspended
""",
        {"12.0": "R", "13.0": "I"},
        {"14.0": "H"},
    ),
}
# A PBS whose jobs are processes of this machine.
PBS = {
    "qsub": 'cp "$1" {folder}/$$.sh; setsid bash {folder}/$$.sh >/dev/null 2>&1 & '
    "echo $! >> {folder}/all; echo $!.host",
    "qstat": "for id in $(cat {folder}/all); do kill -0 $id 2>/dev/null && "
    'echo "$id.host latticescape me 00:00:01 R batch"; done; true',
    "qdel": "kill -- -$1; true",
}


def words(kind: str, certificates: Certificates | None = None, more: str = "") -> str:
    profile = parse_profile(PROFILE.format(kind=kind) + more)
    assert isinstance(profile, profiles.Jobs)
    return job_script(profile, certificates)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SCRIPTS)
def test_every_key_is_in_the_job_script(kind: str) -> None:
    more, options = SCRIPTS[kind]
    script = words(kind, Certificates.in_folder(Path("/tls")), more)
    mark = options.split()[0]
    lines = script.splitlines()
    found = [line.removeprefix(mark + " ") for line in lines if line.startswith(mark)]
    assert found == options.removeprefix(mark + " ").split("|")
    start = lines.index("module load python")
    assert lines[start + 1] == "ulimit -n 4096"
    assert len(lines) == start + 3
    command = shlex.split(lines[-1])
    assert command[:4] == [
        *("/opt/python", "-m", "distributed.cli.dask_worker"),
        "tls://<address-of-the-scheduler>",
    ]
    given = dict(pairwise(command))
    expected = {
        *(("--nthreads", "2"), ("--nworkers", "2"), ("--memory-limit", "3.73GiB")),
        *(("--interface", "ib0"), ("--local-directory", "/tmp/$USER"), ("--lifetime", "93484s")),
        ("--tls-key", "/tls/worker-key.pem"),
    }
    assert expected <= set(given.items())
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_key_is_in_the_submit_file_of_htcondor() -> None:
    script = words("htcondor", more='disk = "3 GB"\ndirectives = ["+MaxRuntime = 93784"]')
    values = dict(line.split(" = ", 1) for line in script.splitlines() if " = " in line)
    expected = {
        "MY.DaskWorkerCores": "4",
        "MY.DaskWorkerMemory": "8000000000",
        "MY.DaskWorkerDisk": "3000000000",
        "Output": "/jobs/latticescape-$(ClusterId).$(ProcId).log",
        "accounting_group": "physics",
        "+MaxRuntime": "93784",
        "Executable": "/bin/sh",
    }
    assert expected.items() <= values.items()
    assert values["Arguments"].startswith(
        "\"-c 'module load python; ulimit -n 4096; /opt/python -m distributed.cli.dask_worker tcp:"
    )


@pytest.mark.parametrize("kind", LISTS)
def test_states_are_read_from_the_list_of_jobs(kind: str) -> None:
    listed, waiting_or_running, ended = LISTS[kind]
    found = SYSTEMS[kind].parsed(listed)
    assert (waiting_or_running | ended).items() <= found.items()
    assert {job for job, state in found.items() if SYSTEMS[kind].has_ended(state)} == set(ended)
    assert set(found) <= {"12", "13", "14", "12.0", "13.0", "14.0"}


def test_every_queue_system_has_a_kind() -> None:
    assert set(SYSTEMS) == {name for name, k in KINDS.items() if issubclass(k, profiles.Jobs)}


@pytest.mark.slow
def test_jobs_are_replaced_and_follow_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job while there is nothing to do; a killed one comes again; two for long tasks."""
    for name, line in PBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line.format(folder=tmp_path)}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    profile = profiles.Pbs(
        jobs=2,
        minimum_jobs=1,
        memory="1 GB",
        interface="lo",
        folder=tmp_path / "jobs",
        python=sys.executable,
        check_seconds=1.0,
    ).model_copy(update={"check_seconds": 0.2})
    monkeypatch.setattr("latticescape.deploy.clusters.connect.profile_of", lambda name: profile)

    def started() -> list[int]:
        return [int(line) for line in (tmp_path / "all").read_text().split()]

    def running() -> list[int]:
        listed = subprocess.run(["qstat"], capture_output=True, text=True, check=True).stdout
        return sorted(map(int, SYSTEMS["pbs"].parsed(listed)))

    with connect("lab") as client:
        assert len(running()) == 1
        first = started()[0]
        subprocess.run(["qdel", str(first)], check=True)
        eventually(lambda: first not in running() and len(client.nthreads()) == 1)
        tasks = client.map(time.sleep, [1.5] * 30, pure=False)
        eventually(lambda: len(client.nthreads()) == 2)
        client.cancel(tasks)
        eventually(lambda: len(client.nthreads()) == 1 and len(running()) == 1)
    eventually(lambda: not running())
    assert len(started()) == 3


@pytest.mark.parametrize(
    ("kind", "command", "line", "reason"),
    [
        ("lsf", "bsub", "echo no such queue >&2; exit 3", "exit code: 3"),
        ("pbs", "qsub", "echo no such queue >&2; exit 3", "no such queue"),
        ("oar", "oarsub", "echo queued", "Could not parse job id"),
    ],
)
def test_what_the_queue_refuses_ends_the_command(
    kind: str, command: str, line: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / command).write_text(f"#!/bin/sh\n{line}\n")
    (tmp_path / command).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "lab.toml").write_text(f'kind = "{kind}"\nfolder = "jobs"\ninterface = "lo"\n')
    with pytest.raises(RequestError, match=f"{command} failed") as caught:
        connect(str(tmp_path / "lab.toml")).__enter__()
    assert reason in str(caught.value)
    assert "latticescape cluster job-script" in str(caught.value)


def test_the_profiles_of_the_page_can_be_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "run-on-job-queues.md").read_text()
    queue, factory = (
        parse_profile(dedent(text)) for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    )
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "run-on-job-queues.md", "exec"), names)
    assert callable(names["make"])
    assert isinstance(queue, profiles.Pbs)
    assert "-l select=1:ncpus=4:mem=7630MB" in job_script(queue, None)
    assert factory == profiles.Factory(
        cluster="lab_cluster:make",
        options={"hosts": "node1 node2 node3"},
        workers=6,
        minimum_workers=1,
    )


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own on the import path."""
    (tmp_path / "lab_cluster.py").write_text(
        "from distributed import Client, LocalCluster\n"
        "def make(**options):\n"
        "    served = {'dashboard_address': '127.0.0.1:0'}\n"
        "    return LocalCluster(processes=False, n_workers=0, **served, **options)\n"
        "def client():\n"
        "    return Client(processes=False, dashboard_address='127.0.0.1:0', n_workers=1,\n"
        "                  threads_per_worker=1, set_as_default=False)\n"
        "async def later():\n"
        "    return None\n"
        "class Gateway:\n"
        "    def __init__(self):\n"
        "        self.cluster = make(threads_per_worker=2)\n"
        "        self.scale = self.cluster.scale\n"
        "    def get_client(self, set_as_default=True):\n"
        "        return Client(self.cluster, set_as_default=set_as_default)\n"
        "    def __enter__(self):\n"
        "        return self\n"
        "    def __exit__(self, *error):\n"
        "        self.cluster.close()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lab_cluster", raising=False)
    return "lab_cluster"


def test_a_function_makes_a_cluster_or_a_client(lab: str, tmp_path: Path) -> None:
    profile = tmp_path / "lab.toml"
    profile.write_text(
        f'kind = "factory"\ncluster = "{lab}:make"\nworkers = 2\n'
        "options = { threads_per_worker = 3 }\n"
    )
    with connect(str(profile)) as client:
        assert isinstance(client, Client)
        eventually(lambda: sorted(client.nthreads().values()) == [3, 3])
    with connect(f"{lab}:client") as client:
        assert list(client.nthreads().values()) == [1]
    with pytest.raises(RequestError, match="later returned no cluster"), connect(f"{lab}:later"):
        pass


def test_a_cluster_of_its_own_kind_needs_only_the_methods(lab: str, tmp_path: Path) -> None:
    """That of Dask Gateway is no Cluster of dask.distributed."""
    profile = tmp_path / "lab.toml"
    profile.write_text(f'kind = "factory"\ncluster = "{lab}:Gateway"\nworkers = 1\n')
    with connect(str(profile)) as client:
        assert list(client.nthreads().values()) == [2]


def test_only_a_client_outlives_the_process(lab: str) -> None:
    with persistent(f"{lab}:client") as client:
        assert len(client.nthreads()) == 1
    with (
        pytest.raises(RequestError, match="would end with this process"),
        persistent(f"{lab}:make"),
    ):
        pass


def test_workers_of_a_function_follow_the_work(lab: str, tmp_path: Path) -> None:
    profile = tmp_path / "lab.toml"
    profile.write_text(
        f'kind = "factory"\ncluster = "{lab}:make"\nworkers = 2\nminimum_workers = 1\n'
        "options = { threads_per_worker = 1 }\n"
    )
    with connect(str(profile)) as client:
        assert len(client.nthreads()) == 1
