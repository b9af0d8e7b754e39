"""Sites: where a disturbed sweep runs. Each serves many runs, and restarts what died in one."""

import getpass
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from distributed import Client

from benchmarks.chaos.calls import Calls
from benchmarks.chaos.processes import Program, until
from benchmarks.chaos.slow_link import SlowLink
from tests.support.processes import ROOT
from tests.support.virtual_network import Network, virtual_network
from tests.support.virtual_slurm import (
    PATH,
    end_jobs,
    node_running,
    processes_on,
    slurm,
    until_idle,
    virtual_slurm,
)

WORKERS = 2
DASK = (sys.executable, "-m", "dask")
# A clock of its own for a Python process. A library that does this for any process, libfaketime,
# breaks Python's sleep.
CLOCK = """
import time
clock = time.time
def shifted():
    with open({clock!r}) as file:
        return clock() + float(file.read())
time.time = shifted
"""
# A worker that says nothing for so long is lost. Dask's default is five minutes.
WORKER_TTL = "5s"
# What a site has that restarts a worker that ended: systemd, Kubernetes, or this loop.
SUPERVISED = ("/bin/sh", "-c", 'while :; do "$@"; sleep 1; done', "supervisor")

PROFILE = """\
kind = "slurm"
jobs = 2
memory = "1 GB"
walltime = "00:30:00"
interface = "lo"
folder = "{folder}"
check_seconds = 1
tls = "temporary"
"""


class Site:
    """A place with workers.

    Parameters
    ----------
    folder
        For all its files.

    Attributes
    ----------
    cluster
        What ``--cluster`` takes here.
    environment
        Variables of all its processes, and of its user.
    calls
        Those of the kernel, on all its workers.
    """

    cluster = ""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.calls = folder, Calls(folder / "calls.log")
        self.preload = folder / "preload.py"
        self.preload.write_text(self.calls.preload())
        self.stack = ExitStack()
        self.environment: dict[str, str] = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{PATH}",
            "DASK_CONFIG": str(folder / "dask"),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([str(self.preload)]),
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.close()

    def start(self) -> None:
        """Start what a site has; the stack ends it."""

    def heal(self) -> None:
        """Restart what died, and wait until all is as it was."""


class Daemons(Site):
    """A scheduler and two workers with their nannies, as ``dask`` starts them, on this machine."""

    def start(self) -> None:
        self.port = _free_port()
        self.cluster = f"tcp://{self.host(0)}:{self.port}"
        self.programs: dict[str, Program] = {}
        self.stack.callback(self.end)
        self.heal()

    def host(self, number: int) -> str:
        """The address of the scheduler's host, number 0, or of a worker's."""
        return "127.0.0.1"

    def before(self, number: int) -> tuple[str, ...]:
        """Words before a command that runs on a host."""
        return ()

    def variables(self) -> Mapping[str, str]:
        """More variables of its processes."""
        return {}

    def heal(self) -> None:
        """Start what does not run, until the scheduler has two workers."""
        until(self._is_whole, "scheduler with two workers")

    def end(self) -> None:
        """End all, the workers first: a nanny that is killed leaves semaphores behind."""
        for program in reversed(self.programs.values()):
            program.end()

    def _is_whole(self) -> bool:
        for name, command in self._commands().items():
            if name not in self.programs or not self.programs[name].lives:
                self.programs[name] = Program(
                    command, {**self.environment, **self.variables()}, self.folder / f"{name}.log"
                )
        return self._workers() == WORKERS

    def _commands(self) -> dict[str, list[str]]:
        place = ("--port", str(self.port), "--dashboard-address", "127.0.0.1:0")
        scheduler = [*self.before(0), *DASK, "scheduler", "--host", self.host(0), *place]
        commands = {"scheduler": scheduler}
        for number in range(1, WORKERS + 1):
            options = ["--host", self.host(number), "--nthreads", "1", "--no-dashboard"]
            options += ["--local-directory", str(self.folder / f"worker-{number}")]
            worker = [*DASK, "worker", self.cluster, *options]
            commands[f"worker-{number}"] = [*self.before(number), *worker]
        return commands

    def _workers(self) -> int:
        try:
            socket.create_connection((self.host(0), self.port), 1).close()
            with Client(self.cluster, timeout=5, set_as_default=False) as client:
                return len(client.nthreads())
        except OSError:
            return 0


class Clocks(Daemons):
    """The same, with a clock of its own for scheduler and workers."""

    def start(self) -> None:
        self.clock = self.folder / "clock"
        self.set(0)
        start = self.folder / "start" / "sitecustomize.py"  # imported before all else
        start.parent.mkdir()
        start.write_text(CLOCK.format(clock=str(self.clock)))
        super().start()

    def set(self, seconds: int) -> None:
        """Set the clock so far ahead of this machine's."""
        (self.folder / "new").write_text(str(seconds))
        (self.folder / "new").replace(self.clock)

    def variables(self) -> Mapping[str, str]:
        return {"PYTHONPATH": f"{self.folder / 'start'}{os.pathsep}{ROOT}"}

    def heal(self) -> None:
        self.set(0)
        super().heal()


class FarAway(Daemons):
    """The same, with a link between the scheduler and all others that can be slow."""

    def heal(self) -> None:
        self.link.slow = False
        super().heal()

    @cached_property
    def link(self) -> SlowLink:
        """The link; it ends with the site."""
        link = SlowLink(self.port)
        self.stack.callback(link.close)
        self.cluster = f"tcp://127.0.0.1:{link.port}"
        return link


class Hosts(Daemons):
    """The same with a host for each, in network namespaces; workers are supervised."""

    network: Network

    def start(self) -> None:
        self.network = self.stack.enter_context(virtual_network())
        super().start()

    def host(self, number: int) -> str:
        return f"{self.network.prefix}.{number + 1}"

    def before(self, number: int) -> tuple[str, ...]:
        return (*self.network.enter(number + 1), *(SUPERVISED if number else ()))

    def variables(self) -> Mapping[str, str]:
        return {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": WORKER_TTL}

    def cut(self, worker: int) -> None:
        """Cut a worker's link."""
        self.network.cut(worker + 1)

    def mend(self, worker: int) -> None:
        """Mend it."""
        self.network.mend(worker + 1)


class Slurm(Site):
    """A SLURM of two nodes; every run has jobs of its own there, its scheduler with the user."""

    def start(self) -> None:
        self.configuration = self.stack.enter_context(virtual_slurm(self.folder))
        self.dead: set[str] = set()
        profile, jobs = self.folder / "lab.toml", self.folder / "jobs"
        jobs.mkdir()
        profile.write_text(PROFILE.format(folder=jobs))
        self.cluster = str(profile)
        self.environment["SLURM_CONF"] = str(self.configuration)

    def heal(self) -> None:
        end_jobs(self.configuration)
        for node in self.dead:
            self.stack.enter_context(node_running(self.configuration, node))
            self._update(node, "State=RESUME")
        self.dead.clear()
        until_idle(self.configuration)

    def jobs(self) -> list[str]:
        """Ids of the jobs that run."""
        listing = ("squeue", "--noheader", "--states=RUNNING", f"--user={getpass.getuser()}")
        return slurm(self.configuration, *listing, "--format=%i").split()

    def cancel(self, job: str) -> None:
        """``scancel`` a job."""
        slurm(self.configuration, "scancel", job)

    def kill(self, node: str) -> None:
        """Kill all that runs on a node, and set it down, as whoever watches nodes does."""
        for process in processes_on(self.configuration, node):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.dead.add(node)
        self._update(node, "State=DOWN", "Reason=chaos")

    def _update(self, node: str, *changes: str) -> None:
        slurm(self.configuration, "scontrol", "update", f"NodeName={node}", *changes)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
