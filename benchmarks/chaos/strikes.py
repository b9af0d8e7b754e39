"""Strikes: what happens at the moment, and how it is repaired before the user goes on."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.chaos.calls import BLOCK_POINTS, BLOCK_SECONDS, Work
from benchmarks.chaos.processes import Program, until
from benchmarks.chaos.sites import (
    DASK,
    WORKERS,
    Clocks,
    Daemons,
    FarAway,
    Hosts,
    Site,
    Slurm,
)
from benchmarks.chaos.user import Command
from latticescape.physics.variables import BOOKKEEPING
from latticescape.sweeps.store.store import Store
from tests.support import virtual_network, virtual_slurm

SiteT = TypeVar("SiteT", bound=Site)

DISK_BYTES = 64 * 2**20
OUTAGE_SECONDS = 10.0
# The latest moment of a kill, in files of the new store; a complete one has about 600.
MERGE_FILES = 400
NOWHERE = "tcp://127.0.0.1:9"


@dataclass
class Scene(Generic[SiteT]):
    """A run that is to be disturbed.

    Attributes
    ----------
    site
        Where it runs.
    folder, store
        The run's own folder, and its store, in a folder of its own.
    work
        What it computes.
    rng
        Decides all that is random in it.
    run
        The user's command under way.
    """

    site: SiteT
    folder: Path
    store: Path
    work: Work
    rng: random.Random
    run: Command | None = None

    def done(self) -> set[int]:
        """Blocks that have a done mark."""
        across = len({h for _, h in self.work.places}) // BLOCK_POINTS
        found = set[int]()
        for row in (self.store / "done" / "c").glob("[0-9]*"):
            with suppress(FileNotFoundError):
                names = [path.name for path in row.iterdir()]
                found |= {int(row.name) * across + int(name) for name in names if name.isdigit()}
        return found


class Strike(Generic[SiteT]):
    """Something that happens to a run; here, nothing."""

    def __init__(self, scene: Scene[SiteT]) -> None:
        self.scene, self.site = scene, scene.site

    def prepared(self) -> AbstractContextManager[None]:
        """What must be there before the run begins, and is gone after it."""
        return nullcontext()

    def wait(self) -> None:
        """Wait for a random moment between the first block and the last."""
        run, blocks = self.scene.run, self.scene.work.blocks
        assert run
        number = self.scene.rng.randint(max(2, blocks // 40), blocks - max(5, blocks // 20))
        until(
            lambda: len(self.scene.done()) >= number or not run.program.lives,
            f"{number} blocks done",
        )
        time.sleep(self.scene.rng.uniform(0, BLOCK_SECONDS))

    def hit(self) -> None:
        """Do it."""

    def relieve(self) -> None:
        """Repair what is not the user's command to repair."""
        self.site.heal()


class WorkerKilled(Strike[Daemons]):
    """SIGKILL to a worker's process; its nanny starts another."""

    def hit(self) -> None:
        calls = self.site.calls.begun(self.scene.work)
        os.kill(self.scene.rng.choice(sorted({call.process for call in calls})), signal.SIGKILL)


class SchedulerKilled(Strike[Daemons]):
    """SIGKILL to the scheduler; its workers end by themselves."""

    def hit(self) -> None:
        self.site.programs["scheduler"].kill()


class ClientKilled(Strike[Site]):
    """SIGKILL to the user's command."""

    def hit(self) -> None:
        assert self.scene.run
        self.scene.run.program.kill()


class AllKilled(Strike[Daemons]):
    """SIGKILL to all there is."""

    def hit(self) -> None:
        assert self.scene.run
        for program in (*self.site.programs.values(), self.scene.run.program):
            os.killpg(program.process.pid, signal.SIGKILL)


class MergeKilled(ClientKilled):
    """SIGKILL to ``merge``, which copies blocks within a second and needs no workers."""

    def wait(self) -> None:
        """Wait until the new store has a random number of files."""
        run, folder = self.scene.run, self.scene.store.parent
        assert run
        number = self.scene.rng.randint(1, MERGE_FILES)
        until(
            lambda: sum(1 for _ in folder.rglob("*")) >= number or not run.program.lives,
            f"{number} files",
            look=0.001,
        )


class Outage(Strike[SiteT]):
    """Something that ends by itself after a while."""

    def end_with(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function when the outage ends."""
        self.ending = threading.Timer(OUTAGE_SECONDS, function, arguments)
        self.ending.start()

    def relieve(self) -> None:
        self.ending.join()
        super().relieve()


class Stopped(Outage[Daemons]):
    """SIGSTOP to one of the programs and all it started, and SIGCONT later."""

    role = "worker"

    def hit(self) -> None:
        programs = self.site.programs
        name = self.scene.rng.choice(sorted(n for n in programs if n.startswith(self.role)))
        group = programs[name].process.pid
        os.killpg(group, signal.SIGSTOP)
        self.end_with(os.killpg, group, signal.SIGCONT)


class SchedulerStopped(Stopped):
    """The same of the scheduler."""

    role = "scheduler"


class StrangerJoined(Strike[Daemons]):
    """A worker joins that the scheduler cannot connect to."""

    def hit(self) -> None:
        here = ["--listen-address", "tcp://127.0.0.1:0", "--contact-address", NOWHERE]
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "1", *here]
        command = [*DASK, "worker", self.site.cluster, *options]
        log = self.scene.folder / "stranger.log"
        self.stranger = Program(command, self.site.environment, log)
        time.sleep(OUTAGE_SECONDS / 2)

    def relieve(self) -> None:
        self.stranger.end()
        super().relieve()


class ClockAhead(Strike[Clocks]):
    """The clock of scheduler and workers jumps ahead."""

    seconds = 3600

    def hit(self) -> None:
        self.site.set(self.seconds)


class ClockBack(ClockAhead):
    """It jumps back."""

    seconds = -3600


class LinkSlow(Strike[FarAway]):
    """The link to the scheduler gets slow and lossy, until the run ends."""

    def hit(self) -> None:
        self.site.link.slow = True


class JobCancelled(Strike[Slurm]):
    """``scancel`` of one of the two jobs."""

    def hit(self) -> None:
        self.site.cancel(self.scene.rng.choice(self.site.jobs()))


class NodeDown(Strike[Slurm]):
    """A node dies with all that runs there, and stays down."""

    def hit(self) -> None:
        self.site.kill(self.scene.rng.choice(["n1", "n2"]))


class LinkCut(Outage[Hosts]):
    """A worker's link is cut, and mended later; the disk is still there."""

    def hit(self) -> None:
        worker = self.scene.rng.randint(1, WORKERS)
        self.site.cut(worker)
        self.end_with(self.site.mend, worker)


class DiskFull(Strike[Daemons]):
    """A file takes all space there is on the disk of the store, and is removed later."""

    def prepared(self) -> AbstractContextManager[None]:
        return _mounted(self.scene.store.parent)

    @property
    def filler(self) -> Path:
        """The file."""
        return self.scene.store.parent / "filler"

    def hit(self) -> None:
        with suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**20))

    def relieve(self) -> None:
        self.filler.unlink(missing_ok=True)
        super().relieve()


class DiskReadOnly(Strike[Daemons]):
    """The disk of the store turns read-only, as after an error of its hardware."""

    def prepared(self) -> AbstractContextManager[None]:
        return _mounted(self.scene.store.parent)

    def hit(self) -> None:
        _remount(self.scene.store.parent, "ro")

    def relieve(self) -> None:
        _remount(self.scene.store.parent, "rw")
        super().relieve()


class Noise(Strike[Daemons]):
    """Noise over one file of a block that is done."""

    def hit(self) -> None:
        rng, store = self.scene.rng, Store(self.scene.store)
        block = store.blocks[rng.choice(sorted(self.scene.done()))]
        variables = (*store.sweep.kernel.variables, *BOOKKEEPING)
        files = [store.chunk(variable.name, block) for variable in variables]
        chosen = rng.choice([file for file in files if file.exists()])
        chosen.write_bytes(rng.randbytes(chosen.stat().st_size))


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    """A small disk at a folder."""
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    subprocess.run(["mount", *options], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def _remount(folder: Path, how: str) -> None:
    """A disk is busy as long as a file of it is open for writing."""
    command = ["mount", "-o", f"remount,{how}", str(folder)]
    until(lambda: not subprocess.run(command, capture_output=True, check=False).returncode, how)


def _always() -> str:
    return ""


def _no_slurm() -> str:
    absent = virtual_slurm.missing()
    return f"no {', '.join(absent)}: apt-get install slurm-wlm munge" if absent else ""


def _no_mount() -> str:
    return "" if os.geteuid() == 0 and shutil.which("mount") else "no root to mount a small disk"


@dataclass(frozen=True)
class Kind:
    """A kind of strike.

    Attributes
    ----------
    title
        For people.
    site, strike
        Where it hits, and what it does.
    absent
        Why it cannot be tried here, "" if it can.
    verified
        Whether the user asks ``latticescape verify`` when the run has ended.
    command
        The command that computes the store: ``run``, ``extend`` or ``merge``.
    """

    title: str
    site: type[Site]
    strike: type[Strike[Any]]
    absent: Callable[[], str] = _always
    verified: bool = False
    command: str = "run"


KINDS = {
    "worker": Kind("`kill -9` of a worker", Daemons, WorkerKilled),
    "scheduler": Kind("`kill -9` of the scheduler", Daemons, SchedulerKilled),
    "client": Kind("`kill -9` of the client", Daemons, ClientKilled),
    "everything": Kind("`kill -9` of everything at once", Daemons, AllKilled),
    "extend": Kind(
        "`kill -9` of everything during `extend --out`", Daemons, AllKilled, command="extend"
    ),
    "merge": Kind("`kill -9` of `merge`", Site, MergeKilled, command="merge"),
    "scancel": Kind("`scancel` of a SLURM job", Slurm, JobCancelled, _no_slurm),
    "node": Kind("a SLURM node down", Slurm, NodeDown, _no_slurm),
    "network": Kind("the network of a worker cut", Hosts, LinkCut, virtual_network.absent),
    "disk": Kind("the disk full", Daemons, DiskFull, _no_mount),
    "stopped-worker": Kind("SIGSTOP of a worker for 10 s", Daemons, Stopped),
    "stopped-scheduler": Kind("SIGSTOP of the scheduler for 10 s", Daemons, SchedulerStopped),
    "unreachable": Kind("a worker joins that cannot be reached", Daemons, StrangerJoined),
    "clock-ahead": Kind("the clock an hour ahead", Clocks, ClockAhead),
    "clock-back": Kind("the clock an hour back", Clocks, ClockBack),
    "slow": Kind("200 ms of latency, 5 % of packets late by 1 s", FarAway, LinkSlow),
    "read-only": Kind("the disk read-only", Daemons, DiskReadOnly, _no_mount),
    "noise": Kind("noise over a chunk", Daemons, Noise, verified=True),
}
