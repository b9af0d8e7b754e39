"""Profiles: found by name, read, shown, and turned into what is submitted."""

import json
import os
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.config
import pytest
from click.testing import CliRunner
from distributed.comm import CommClosedError

from latticescape.deploy import connect
from latticescape.deploy.cli.main import main
from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.connect import profile_of
from latticescape.deploy.clusters.job_queues import job_script
from latticescape.deploy.clusters.profiles import (
    KINDS,
    Address,
    Jobs,
    Kubernetes,
    Local,
    Slurm,
    parse_profile,
    profile_paths,
)
from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.worker_code import code_identity
from latticescape.sweeps.execution.workers import check_workers

EVERY_KEY = """\
kind = "slurm"
jobs = 3
cores = 4
processes = 2
memory = "8 GB"
walltime = "1-02:00:00"
partition = "long"
account = "physics"
interface = "ib0"
python = "/opt/python"
prologue = ["module load python", "ulimit -n 4096"]
directives = ["--exclusive"]
folder = "jobs"
local_folder = "/tmp/$SLURM_JOB_ID"
dashboard = "127.0.0.1:8787"
tls = "temporary"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own folder of profiles."""
    folder = tmp_path / "dask" / "latticescape"
    folder.mkdir(parents=True)
    monkeypatch.setattr(dask.config, "PATH", str(tmp_path / "dask"))
    monkeypatch.chdir(tmp_path)
    return folder


def latticescape(command: str) -> str:
    result = CliRunner().invoke(main, shlex.split(command), prog_name="latticescape")
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", profile_paths())
def test_every_shipped_profile_can_be_read(name: str) -> None:
    assert isinstance(profile_of(name), tuple(KINDS.values()))


def test_a_profile_of_the_users_own_comes_first(home: Path) -> None:
    (home / "lab.toml").write_text('kind = "local"\nworkers = 1\n')
    (home / "slurm.toml").write_text(EVERY_KEY)
    (home / "broken.toml").write_text("kind = 7")
    reported = json.loads(latticescape("cluster list --json"))
    assert reported["folders"][0] == str(home)
    found = {profile["name"]: profile for profile in reported["profiles"]}
    assert found["lab"] == {"name": "lab", "kind": "local", "path": str(home / "lab.toml")}
    assert found["slurm"]["path"] == str(home / "slurm.toml")
    assert found["local"]["path"].endswith("deploy/profiles/local.toml")
    assert found["broken"]["kind"].startswith("cannot be used: ")
    shown = latticescape("cluster list")
    assert all(name in shown for name in (*found, str(home)))


def test_a_profile_of_the_site_is_found_behind_the_users(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site" / "latticescape"
    site.mkdir(parents=True)
    monkeypatch.setattr(dask.config, "paths", [str(site.parent)])
    for name in ("lab", "slurm"):
        (site / f"{name}.toml").write_text('kind = "local"\nthreads = 2\n')
    (home / "lab.toml").write_text('kind = "local"\nthreads = 3\n')
    assert (profile_of("lab"), profile_of("slurm")) == (Local(threads=3), Local(threads=2))


@pytest.mark.usefixtures("processes")
def test_connect_takes_a_profile_and_what_is_asked_beside_it(home: Path) -> None:
    (home / "lab.toml").write_text('kind = "local"\nworkers = 1\nthreads = 3\n')
    with connect("lab") as client:
        assert list(client.nthreads().values()) == [3]
    with connect(str(home / "lab.toml"), threads=2) as client:
        assert list(client.nthreads().values()) == [2]


def test_a_relative_path_is_below_the_profile(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    lines = {"jobs": home / "jobs", "$SCRATCH/a": Path("/scratch/me/a"), "~/b": Path("/home/me/b")}
    for written, place in lines.items():
        (home / "lab.toml").write_text(f'kind = "slurm"\nfolder = "{written}"\ntls = "{written}"\n')
        profile = profile_of("lab")
        assert isinstance(profile, Slurm)
        assert profile.folder == place
        assert profile.tls == Certificates.in_folder(place)


def test_addresses_need_no_profile() -> None:
    assert profile_of("tls://h:1") == Address(address="tls://h:1")
    assert profile_of("s.json") == Address(scheduler_file=Path("s.json"), wait_minutes=10)
    kubernetes = Kubernetes(image="i", name="lab", namespace="n")
    assert kubernetes.service == "tcp://lab-scheduler.n.svc:8786"


@pytest.mark.parametrize("name", [name for name in profile_paths() if name != "lab"])
def test_what_is_shown_is_a_profile_with_every_key(name: str, home: Path) -> None:
    """Each line that is commented out can be used, as it is."""
    shown = latticescape(f"cluster show {name}")
    (home / "mine.toml").write_text(shown)
    assert profile_of("mine") == profile_of(name) or "tls" in shown
    text, _, rest = shown.partition("# Not used:\n")
    for line in rest.splitlines():
        key = line.removeprefix("# ").partition(" = ")[0]
        excluded = {"minimum_jobs"} if name == "slurm-inside" else set()
        if key not in {"address", "scheduler_file", "tls"} | excluded:
            parse_profile(text + line.removeprefix("# "))


@pytest.mark.parametrize("scheduler", ["outside", "inside"])
def test_every_key_is_in_the_job_script(scheduler: str) -> None:
    profile = parse_profile(EVERY_KEY + f'scheduler = "{scheduler}"\n')
    assert isinstance(profile, Slurm)
    script = job_script(profile, Certificates.in_folder(Path("/tls")))
    lines = script.splitlines()
    directives = {line.removeprefix("#SBATCH ") for line in lines if "#SBATCH" in line}
    each = {
        *("-J latticescape", "-p long", "-A physics", "-t 1-02:00:00", "--cpus-per-task=4"),
        *("--output=jobs/%x-%j.log", "--exclusive"),
    }
    memory = {"outside": {"-n 1", "--mem=8G"}, "inside": {"--ntasks=3", "--mem-per-cpu=1908M"}}
    assert directives == each | memory[scheduler]
    assert lines.index("module load python") + 1 == lines.index("ulimit -n 4096")
    words = shlex.split(script, comments=True)
    for pair in (
        *(("--nworkers", "2"), ("--nthreads", "2"), ("--memory-limit", "3.73GiB")),
        *(("--interface", "ib0"), ("--local-directory", "/tmp/$SLURM_JOB_ID")),
        *(("--death-timeout", "60"), ("/opt/python", "-m")),
    ):
        assert pair in pairwise(words), pair
    assert "/tls/worker-key.pem" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


CODE = ("a;id", "$(id)", "`id`", "a&&id", "a|id", "a>b", "a\nid", "${a:-$(id)}", "'a'", "a b")
QUOTED = {"prologue", "directives", "folder", "tls", "kind"}
QUEUES = [kind for kind in KINDS.values() if issubclass(kind, Jobs)]
KEYS = [(kind, key) for kind in QUEUES for key in sorted(set(kind.model_fields) - QUOTED)]


@pytest.mark.parametrize(("kind", "key"), KEYS, ids=[f"{kind.kind}-{key}" for kind, key in KEYS])
def test_only_the_prologue_of_a_profile_is_code(kind: type[Jobs], key: str) -> None:
    for code in CODE:
        with pytest.raises(RequestError, match=key):
            kind.read({key: code}, "the profile")


def test_a_worker_leaves_before_its_job_ends() -> None:
    """By a twentieth of the walltime, at least half a minute and at most five."""

    def lifetime(walltime: str) -> str:
        words = job_script(Slurm(walltime=walltime), None).split()
        return words[words.index("--lifetime") + 1]

    found = [lifetime(walltime) for walltime in ("00:02:00", "01:00:00", "2-00:00:00")]
    assert found == ["90s", "3420s", "172500s"]


def test_the_job_scripts_of_shipped_profiles_are_shell() -> None:
    for name in ("slurm", "slurm-inside", "pbs", "lsf", "sge", "oar", "moab"):
        script = latticescape(f"cluster job-script {name}")
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


class Answers:
    """A client whose workers answer one round after another."""

    scheduler = SimpleNamespace(address="tcp://h:1")

    def __init__(self, *rounds: dict[str, Any]) -> None:
        self.rounds = list(rounds)

    def wait_for_workers(self, number: int, timeout: float) -> None:
        assert timeout > 0

    def run(self, *_: object, on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        return self.rounds.pop(0)


def test_a_worker_lost_while_it_is_asked_is_no_foreign_one() -> None:
    lost, ours = CommClosedError("lost"), code_identity()
    assert check_workers(Answers({"a": lost}, {"a": lost, "b": ours})) == 1  # type: ignore[arg-type]


def test_importing_leaves_the_signals_of_a_process_alone() -> None:
    """Dask-jobqueue would take Ctrl-C, and cannot be imported in a thread."""
    program = """
import signal, threading
failed = []
threading.excepthook = failed.append
thread = threading.Thread(target=lambda: __import__("latticescape.deploy.clusters.job_queues"))
thread.start()
thread.join()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, failed)
"""
    command = ["env", "--default-signal", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "[]"]


def test_a_queue_is_asked_as_often_as_the_profile_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM is everybody's, and a job may wait for days."""
    asked = tmp_path / "asked"
    programs = {"sbatch": "echo 7", "squeue": f"echo >> {asked}; echo '7|PENDING|None'"}
    for name, line in (programs | {"scancel": "true"}).items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    profile = Slurm(scheduler="inside", folder=tmp_path, check_seconds=1.0)
    profile = profile.model_copy(update={"wait_minutes": 0.03})
    monkeypatch.setattr("latticescape.deploy.clusters.connect.profile_of", lambda name: profile)
    with pytest.raises(RequestError, match="no worker came") as caught, connect("lab"):
        pass
    assert "PENDING" in str(caught.value)
    assert 1 <= len(asked.read_text()) <= 3
