"""Sweeps on SLURM: two virtual nodes of this machine, real jobs."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import dask.config
import pytest
from click.testing import CliRunner
from distributed import KilledWorker
from distributed.scheduler import NoWorkerError

from latticescape.deploy import connect
from latticescape.deploy.cli.main import main
from latticescape.deploy.cli.run import execute_on
from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.connect import profile_of
from latticescape.deploy.clusters.job_queues import JobSupervisor, queue_cluster
from latticescape.deploy.clusters.profiles import Profile, Slurm
from latticescape.deploy.clusters.queue_systems import SYSTEMS
from latticescape.physics import Ising, Schedule, square
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.workers import at_address
from latticescape.sweeps.store.store import Store
from tests.support.processes import eventually
from tests.support.runs import SPEC, assert_same_bits, undisturbed
from tests.support.virtual_slurm import PATH, end_jobs, missing, slurm, virtual_slurm

pytestmark = pytest.mark.slow

PROFILE = """\
kind = "slurm"
jobs = {jobs}
memory = "1 GB"
walltime = "00:10:00"
interface = "lo"
folder = "jobs"
check_seconds = 1
tls = "temporary"
"""
ROOT = Path(__file__).parents[2]
# 40 blocks of a tenth of a second: jobs come and go while they are computed.
SWEEP = Sweep(
    square(32),
    Ising(),
    {"T": [1.5 + 0.05 * i for i in range(40)], "H": [0.1]},
    Schedule(200, 200, 8),
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


@pytest.fixture(scope="module")
def calm_40(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of ``SWEEP`` that nothing happened to."""
    return undisturbed(SWEEP, tmp_path_factory.mktemp("calm") / "calm.zarr")


@pytest.fixture
def lab(configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a profile of that SLURM, and tells its path."""
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{PATH}")
    monkeypatch.chdir(tmp_path)

    def hasty(name: str) -> Profile:
        profile = read(name)
        return (
            profile.model_copy(update={"check_seconds": 0.3})
            if isinstance(profile, Slurm)
            else profile
        )

    def write(*lines: str, jobs: int = 2) -> str:
        path = tmp_path / "lab.toml"
        (tmp_path / "jobs").mkdir(exist_ok=True)
        path.write_text("\n".join([PROFILE.format(jobs=jobs).rstrip(), *lines]))
        return str(path)

    # A profile may not have SLURM asked so often; here nobody else asks.
    read = profile_of
    monkeypatch.setattr("latticescape.deploy.clusters.connect.profile_of", hasty)
    yield write
    end_jobs(configuration)


def reported(*command: str) -> str:
    """What a command of SLURM prints."""
    return slurm(Path(os.environ["SLURM_CONF"]), *command)


def jobs(state: str = "PENDING,RUNNING") -> list[str]:
    """Ids of the jobs in some states."""
    return reported("squeue", "--noheader", f"--states={state}", "--format=%i").split()


def test_a_sweep_of_40_blocks_outlives_a_cancelled_job(
    lab: Write, tmp_path: Path, calm_40: Path
) -> None:
    """It is replaced, the sweep ends by itself, and its bytes are those of an undisturbed run."""
    store = tmp_path / "lab.zarr"

    def cancel() -> None:
        eventually(lambda: store.exists() and Store(store).done().sum() > 4)
        reported("scancel", first[0])

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
    assert_same_bits(calm_40, store, killed=2)


def latticescape(command: str) -> str:
    result = CliRunner().invoke(main, shlex.split(command), prog_name="latticescape")
    assert result.exit_code == 0, result.output
    return result.stdout


def blocks(kind: str) -> list[str]:
    """The fenced blocks of the page, without what a list indents them by."""
    page = (ROOT / "docs" / "howto" / "run-on-slurm.md").read_text()
    found = re.findall(rf"^( *)```{kind}\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE).strip() for indent, text in found]


def here(profile: str) -> str:
    """A profile of the page, for this machine."""
    for there, place in {"ib0": "lo", "module load": "echo", "jobs = 2": "jobs = 1"}.items():
        profile = profile.replace(there, place)
    return profile


@pytest.fixture
def home(lab: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a user who stands in it, with a folder for profiles and none yet."""
    folder = tmp_path / ".config" / "dask"
    (folder / "latticescape").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(dask.config, "PATH", str(folder))
    lab()
    return tmp_path


def test_what_the_docs_say_can_be_typed(home: Path, calm: Path) -> None:
    """The profile and the commands of the page, on a network that this machine has."""
    profile, _ = blocks("toml")
    (home / ".config" / "dask" / "latticescape" / "lab.toml").write_text(here(profile))
    (home / "ising.toml").write_text(SPEC)
    script, examined, ran = (
        latticescape(line.removeprefix("latticescape ")) for line in blocks("sh")[0].splitlines()
    )
    assert script.startswith("#!/usr/bin/env bash")
    assert "same code as here, encrypted" in examined
    assert "computed" in ran
    assert_same_bits(calm, home / "runs" / "ising.zarr")
    assert jobs() == []


def test_the_job_script_is_what_is_submitted(lab: Write) -> None:
    """Letter for letter, but for the address of a scheduler that does not run yet."""
    latticescape("cluster certificates --out tls")
    path = Path(lab('directives = ["--comment=of-mine"]'))
    path.write_text(path.read_text().replace('"temporary"', '"tls"'))
    printed = latticescape(f"cluster job-script {path}")
    profile = profile_of(str(path))
    assert isinstance(profile, Slurm)
    assert isinstance(profile.tls, Certificates)
    with (
        queue_cluster(profile, profile.tls) as cluster,
        JobSupervisor(cluster, SYSTEMS["slurm"], 1, 100),
    ):
        (job,) = jobs()
        submitted = script_of(job)
        address = cluster.scheduler.address
    assert submitted == printed.replace("tls://<address-of-the-scheduler>", address).strip()
    assert "#SBATCH --comment=of-mine" in submitted
    assert " --tls-key " in submitted


def script_of(job: str) -> str:
    """What was submitted, as SLURM has it."""
    return reported("scontrol", "write", "batch_script", job, "-").strip()


def test_a_job_cancelled_before_its_worker_joined_is_replaced(lab: Write) -> None:
    """Under Dask's own adapt it never is."""
    profile = profile_of(lab('prologue = ["sleep 60"]'))
    assert isinstance(profile, Slurm)
    with queue_cluster(profile, None) as cluster, JobSupervisor(cluster, SYSTEMS["slurm"], 2, 1):
        first = jobs()
        reported("scancel", first[0])
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
        assert isinstance(killer.exception(timeout=300), KilledWorker)
        good.unlink()
        reported("scancel", *jobs())
        # Long, so that no worker that is being ended does it on its way out.
        pending = client.submit(time.sleep, 600)
        assert isinstance(pending.exception(timeout=300), NoWorkerError)


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
    with pytest.raises(RequestError, match="sbatch failed") as caught, connect(path):
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


def test_a_scheduler_inside_the_allocation_outlives_its_job(
    lab: Write, tmp_path: Path, calm_40: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost with it, it is submitted once more; the command waits elsewhere, the last job ends with
    it, and each is what the page tells to look at."""
    path, store = lab('scheduler = "inside"'), tmp_path / "lab.zarr"
    seen: list[str] = []

    def cancel() -> None:
        eventually(lambda: store.exists() and Store(store).done().sum() > 4)
        seen.extend((*jobs(), script_of(*jobs())))
        reported("scancel", seen[0])

    # A lost scheduler may come back: so long that is waited for, 10 s by default.
    monkeypatch.setattr(
        "latticescape.deploy.clusters.clients.at_address", partial(at_address, timeout=2)
    )
    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    report = execute_on(path, SWEEP, store, block_points=1, progress=False)
    cancelling.join()
    assert (report.computed, report.failed, report.pending) == (40, 0, 0)
    assert_same_bits(calm_40, store, killed=2)
    printed = latticescape(f"cluster job-script {path}").strip()
    assert seen[1] == printed.replace("X" * 12, re.findall("latticescape-tls-(.{12})", seen[1])[0])
    eventually(lambda: not jobs())
    left = [entry.name for entry in (tmp_path / "jobs").iterdir()]
    assert [name for name in left if not name.endswith(".log")] == []
    assert len(left) == 2


def test_a_scheduler_that_cannot_start_in_its_job_is_told(lab: Write) -> None:
    path = Path(lab('scheduler = "inside"'))
    path.write_text(path.read_text().replace('"lo"', '"nowhere0"'))
    with pytest.raises(RequestError, match=r"is (FAILED|COMPLETING)") as caught, connect(str(path)):
        pass
    assert "'nowhere0' is not a valid network interface" in str(caught.value)


@pytest.mark.parametrize("scheduler", ["outside", "inside"])
def test_jobs_end_with_a_command_that_is_ended(lab: Write, tmp_path: Path, scheduler: str) -> None:
    """By Ctrl-C, a shell that is closed, or kill; nor do its certificates stay."""
    (tmp_path / "ising.toml").write_text(SPEC)
    signals = {signal.SIGINT: 1, signal.SIGHUP: 129, signal.SIGTERM: 143}
    path = lab(f'scheduler = "{scheduler}"', 'prologue = ["sleep 60"]', jobs=1)
    command = ["env", "--default-signal", sys.executable, "-m", "latticescape", "run", "ising.toml"]
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen([*command, "--store", f"{number}.zarr", "--cluster", path])
            )
            for number in signals
        ]
        eventually(lambda: len(jobs()) == 3)
        for number, run in zip(signals, runs, strict=True):
            run.send_signal(number)
        assert [run.wait(120) for run in runs] == [*signals.values()]
    eventually(lambda: not jobs())
    assert not list((tmp_path / "jobs").glob("latticescape-tls-*"))


def test_a_cluster_can_go_on_without_its_client(home: Path, calm: Path) -> None:
    """What the page says of it, letter for letter: certificates that last, a job, its scheduler."""
    _, profile = blocks("toml")
    make, certify, submit, *rest = blocks("sh")[-1].splitlines()
    (home / ".config" / "dask" / "latticescape" / "inside.toml").write_text(here(profile))
    (home / "ising.toml").write_text(SPEC)
    subprocess.run(["bash", "-ec", make], check=True)
    latticescape(certify.removeprefix("latticescape ").replace("~", str(home)))
    script, _, sbatch = submit.removeprefix("latticescape ").partition(" | ")
    done = subprocess.run(
        [sbatch], input=latticescape(script), capture_output=True, text=True, check=True
    )
    job = done.stdout.split()[-1]
    eventually((home / "latticescape-jobs" / f"scheduler-{job}.json").exists)
    lines = "\n".join(rest).replace("1234", job)
    subprocess.run(["bash", "-ec", lines], check=True, stdout=subprocess.DEVNULL)
    store = home / "runs" / "ising.zarr"
    eventually(lambda: Store(store).done().all())
    assert_same_bits(calm, store)
    assert job in jobs()


def test_a_whole_sweep_can_be_one_job(lab: Write, tmp_path: Path, calm: Path) -> None:
    lab()
    shutil.copy(ROOT / "deploy" / "slurm" / "sweep.sbatch", tmp_path)
    (tmp_path / "ising.toml").write_text(SPEC)
    options = ["--ntasks=2", "--mem-per-cpu=1G", "--output=out.log"]
    subprocess.run(["sbatch", *options, "sweep.sbatch"], check=True, stdout=subprocess.DEVNULL)
    eventually(lambda: not jobs())
    log = (tmp_path / "out.log").read_text()
    report = json.loads(log[log.index('{"store"') :].splitlines()[0])
    assert (report["computed"], report["failed"]) == (9, 0)
    assert not list(tmp_path.glob("latticescape-*"))
    assert_same_bits(calm, tmp_path / "runs" / "ising.zarr")
