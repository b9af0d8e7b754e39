"""Sweeps on SLURM: two virtual nodes of this machine, real jobs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import pytest
from click.testing import CliRunner
from distributed import KilledWorker
from distributed.scheduler import NoWorkerError

import deploy
from deploy import connect
from deploy.cli import main
from deploy.clusters import profile_of
from deploy.jobs import Keeper, slurm_cluster
from deploy.profiles import Slurm
from physics import Ising, Schedule, square
from physics.errors import RequestError
from sweeps import Sweep
from sweeps.run import execute
from sweeps.store import Store
from tests.runs import SPEC, assert_same_bits
from tests.virtual_slurm import PATH, end_jobs, missing, slurm, virtual_slurm

pytestmark = pytest.mark.slow

PROFILE = """\
kind = "slurm"
jobs = 2
memory = "1 GB"
walltime = "00:10:00"
interface = "lo"
folder = "jobs"
check_seconds = 1
tls = "temporary"
"""
ROOT = Path(deploy.__file__).parents[1]
# 40 blocks of some tenths of a second: jobs come and go while they are computed.
SWEEP = Sweep(
    square(32),
    Ising(),
    {"T": [1.5 + 0.05 * i for i in range(40)], "H": [0.1]},
    Schedule(500, 400, 8),
    seed=11,
)


Write = Callable[..., str]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    absent = missing()
    if absent:
        pytest.skip(f"no {', '.join(absent)}: apt-get install slurm-wlm munge")
    with virtual_slurm(tmp_path_factory.mktemp("slurm")) as file:
        yield file


@pytest.fixture
def lab(configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a profile of that SLURM, and tells its path."""
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{PATH}")
    monkeypatch.chdir(tmp_path)

    def write(*lines: str) -> str:
        path = tmp_path / "lab.toml"
        (tmp_path / "jobs").mkdir(exist_ok=True)
        path.write_text("\n".join([PROFILE.rstrip(), *lines]))
        return str(path)

    yield write
    end_jobs(configuration)


def told(*command: str) -> str:
    """What a command of SLURM prints."""
    return slurm(Path(os.environ["SLURM_CONF"]), *command)


def jobs(state: str = "PENDING,RUNNING") -> list[str]:
    """Ids of the jobs in some states."""
    return told("squeue", "--noheader", f"--states={state}", "--format=%i").split()


def eventually(there: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_sweep_survives_its_jobs(lab: Write, tmp_path: Path) -> None:
    """One job is cancelled on the way: it is replaced, the sweep ends, and its bytes are those of a
    local run."""
    store = tmp_path / "lab.zarr"

    def cancel() -> None:
        eventually(lambda: store.exists() and Store(store).done().sum() > 4)
        told("scancel", first[0])

    with connect(lab()) as client:
        eventually(lambda: len(client.nthreads()) == 2)
        first = jobs("RUNNING")
        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        report = execute(SWEEP, store, client, block_points=1, progress=False)
        cancelling.join()
        eventually(lambda: len(client.nthreads()) == 2)
        second = jobs("RUNNING")
    assert (report.computed, report.failed, report.blocks) == (40, 0, 40)
    assert (first[0] in second, first[1] in second, len(second)) == (False, True, 2)
    assert jobs() == []
    assert [path.name for path in (tmp_path / "jobs").glob("latticescape-tls-*")] == []
    execute(SWEEP, tmp_path / "local.zarr", progress=False)
    assert_same_bits(tmp_path / "local.zarr", store)


def latticescape(command: str) -> str:
    result = CliRunner().invoke(main, shlex.split(command), prog_name="latticescape")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_the_docs_say_can_be_typed(
    lab: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile and the commands of the page, on a network that this machine has."""
    page = (ROOT / "docs" / "howto" / "run-on-slurm.md").read_text()
    profile, commands = (
        re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("toml", "sh")
    )
    assert profile
    assert commands
    text = (
        profile[1].replace("ib0", "lo").replace("module load", "echo").replace("~", str(tmp_path))
    )
    folder = tmp_path / "dask" / "latticescape"
    folder.mkdir(parents=True)
    (folder / "lab.toml").write_text(text)
    monkeypatch.setattr(dask.config, "PATH", str(folder.parent))
    (tmp_path / "ising.toml").write_text(SPEC)
    script, examined, ran = (
        latticescape(line.strip().removeprefix("latticescape "))
        for line in commands[1].strip().splitlines()
    )
    assert script.startswith("#!/usr/bin/env bash")
    assert "same code as here, encrypted" in examined
    assert "computed" in ran
    execute(Sweep.from_toml(SPEC), tmp_path / "local.zarr", progress=False)
    assert_same_bits(tmp_path / "local.zarr", tmp_path / "runs" / "ising.zarr")
    assert jobs() == []


def test_the_job_script_is_what_is_submitted(lab: Write) -> None:
    path = lab('directives = ["--comment=of-mine"]')
    printed = latticescape(f"cluster job-script {path}")
    profile = profile_of(path)
    assert isinstance(profile, Slurm)
    with slurm_cluster(profile, None) as cluster, Keeper(cluster, 1, 100):
        (job,) = jobs()
        submitted = told("scontrol", "write", "batch_script", job, "-")
        address = cluster.scheduler.address
    assert submitted.strip() == (
        re.sub(r" --protocol tls:// --tls-.*", "", printed)
        .replace("tls://<address-of-the-scheduler>", address)
        .strip()
    )
    assert "#SBATCH --comment=of-mine" in submitted


def test_a_job_cancelled_before_its_worker_joined_is_replaced(lab: Write) -> None:
    """Under Dask's own adapt it never is."""
    profile = profile_of(lab('prologue = ["sleep 60"]'))
    assert isinstance(profile, Slurm)
    with slurm_cluster(profile, None) as cluster, Keeper(cluster, 2, 1):
        first = jobs()
        told("scancel", first[0])
        eventually(lambda: len(jobs()) == 2 and first[0] not in jobs())
        assert first[1] in jobs()
    assert jobs() == []


def test_no_task_is_pending_for_ever(lab: Write, tmp_path: Path) -> None:
    """One that kills its workers is given up, and so is all once no job starts a worker."""
    good = tmp_path / "good"
    good.touch()
    path = lab(f'prologue = ["test -e {good} || {{ echo the disk is gone >&2; exit 3; }}"]')
    with connect(path) as client:
        killer = client.submit(os._exit, 1)
        assert isinstance(killer.exception(timeout=60), KilledWorker)
        good.unlink()
        told("scancel", *jobs())
        pending = client.submit(sum, [1, 2])
        assert isinstance(pending.exception(timeout=60), NoWorkerError)


def test_jobs_without_worker_end_the_wait(lab: Write) -> None:
    path = lab('prologue = ["echo no such module >&2; exit 3"]')
    with (
        pytest.raises(
            RequestError, match="3 times the jobs ended before a worker joined"
        ) as caught,
        connect(path),
    ):
        pass
    assert "no such module" in str(caught.value)
    assert "latticescape-" in str(caught.value)
    assert jobs() == []


@pytest.mark.parametrize("scheduler", ["outside", "inside"])
def test_what_slurm_refuses_is_told(lab: Write, scheduler: str) -> None:
    path = lab('partition = "nowhere"', f'scheduler = "{scheduler}"')
    with pytest.raises(RequestError, match="sbatch refuses") as caught, connect(path):
        pass
    assert "nowhere" in str(caught.value) or "invalid partition" in str(caught.value)
    assert jobs() == []


def test_a_queue_that_does_not_move_ends_the_wait(lab: Write) -> None:
    path = lab('directives = ["--begin=now+1hour"]', "wait_minutes = 0.1")
    with (
        pytest.raises(RequestError, match=r"within 0\.1 minutes") as caught,
        connect(path),
    ):
        pass
    assert "2 PENDING (BeginTime)" in str(caught.value)


def test_the_scheduler_can_be_inside_the_allocation(lab: Write, tmp_path: Path) -> None:
    """The command waits elsewhere, and the job ends with it."""
    with connect(lab('scheduler = "inside"')) as client:
        assert client.scheduler.address.startswith("tls://")
        (job,) = jobs()
        report = execute(Sweep.from_toml(SPEC), tmp_path / "inside.zarr", client, progress=False)
    assert report.failed == 0
    eventually(lambda: job not in jobs())
    execute(Sweep.from_toml(SPEC), tmp_path / "local.zarr", progress=False)
    assert_same_bits(tmp_path / "local.zarr", tmp_path / "inside.zarr")


def test_a_cluster_can_go_on_without_its_client(lab: Write, tmp_path: Path) -> None:
    """The three lines of the docs: certificates that last, a job, and the scheduler's file."""
    latticescape("cluster certificates --out tls")
    path = Path(lab('scheduler = "inside"'))
    path.write_text(path.read_text().replace('"temporary"', '"tls"'))
    script = latticescape(f"cluster job-script {path}")
    submitted = subprocess.run(
        ["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=True
    )
    job = submitted.stdout.strip()
    file = tmp_path / "jobs" / f"scheduler-{job}.json"
    eventually(file.exists)
    (tmp_path / "ising.toml").write_text(SPEC)
    run = f"latticescape run ising.toml --store s.zarr --cluster {file} --json"
    done = subprocess.run(
        ["bash", "-c", f". tls/environment.sh && {run}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["computed"] == 9
    assert job in jobs()


def test_a_whole_sweep_can_be_one_job(lab: Write, tmp_path: Path) -> None:
    lab()
    shutil.copy(ROOT / "deploy" / "slurm" / "sweep.sbatch", tmp_path)
    (tmp_path / "ising.toml").write_text(SPEC)
    options = ["--ntasks=2", "--mem-per-cpu=1G", "--output=out.log"]
    subprocess.run(["sbatch", *options, "sweep.sbatch"], check=True, stdout=subprocess.DEVNULL)
    eventually(lambda: not jobs(), 60)
    log = (tmp_path / "out.log").read_text()
    report = json.loads(log[log.index('{"store"') :].splitlines()[0])
    assert (report["computed"], report["failed"]) == (9, 0)
    assert not list(tmp_path.glob("latticescape-*"))
    execute(Sweep.from_toml(SPEC), tmp_path / "local.zarr", progress=False)
    assert_same_bits(tmp_path / "local.zarr", tmp_path / "runs" / "ising.zarr")
