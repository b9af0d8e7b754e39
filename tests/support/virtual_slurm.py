"""SLURM on this machine: two virtual nodes of one core, everything below one folder, no root."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

# Where Debian puts what only administrators call.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
PROGRAMS = ("munged", "slurmctld", "slurmd")
READY_SECONDS = 60.0

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=2
SchedulerParameters=sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=8000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=8000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=60 State=UP
"""


def missing() -> list[str]:
    """What is not installed of what SLURM here needs."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextmanager
def virtual_slurm(folder: Path) -> Iterator[Path]:
    """The configuration file of a SLURM with the idle nodes n1 and n2, stopped at the end."""
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=host, ports=_ports(3), user=getpass.getuser(), folder=folder)
    )
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(64))
    # Forced: its folder is closed to others, as all of pytest's are.
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    with ExitStack() as stack:
        stack.enter_context(
            _running("munged", "-F", "--force", f"--socket={folder}/munge.socket", *munge)
        )
        _until((folder / "munge.socket").exists, "munged")
        stack.enter_context(_running("slurmctld", "-D", "-f", str(configuration)))
        for node in ("n1", "n2"):
            stack.enter_context(node_running(configuration, node))
        until_idle(configuration)
        stack.callback(end_jobs, configuration)
        yield configuration


def node_running(configuration: Path, node: str) -> AbstractContextManager[None]:
    """What runs on a node, started once more after it died."""
    return _running("slurmd", "-D", "-f", str(configuration), "-N", node)


def until_idle(configuration: Path) -> None:
    """Wait until both nodes take jobs."""
    _until(lambda: _idle(configuration) == 2, "two idle nodes")


def processes_on(configuration: Path, node: str) -> list[int]:
    """Ids of a node's own process and of all that its jobs started."""
    ours = {f"SLURM_CONF={configuration}", f"SLURMD_NODENAME={node}"}
    found = [int((configuration.parent / f"slurmd.{node}.pid").read_text())]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours
            if ours <= set((folder / "environ").read_text(errors="replace").split("\0")):
                found.append(int(folder.name))
    return found


def _ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [s.getsockname()[1] for s in sockets]


@contextmanager
def _running(*command: str) -> Iterator[None]:
    environment = {**os.environ, "PATH": PATH}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def _until(there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while not there():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {READY_SECONDS:g} s")
        time.sleep(0.05)


def slurm(configuration: Path, *command: str) -> str:
    """What a command of SLURM prints."""
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def _idle(configuration: Path) -> int:
    return (
        slurm(configuration, "sinfo", "--noheader", "--Node", "--format=%t").split().count("idle")
    )


def end_jobs(configuration: Path) -> None:
    """Cancel all jobs, and wait until the nodes are free."""
    slurm(configuration, "scancel", f"--user={getpass.getuser()}")
    _until(lambda: not slurm(configuration, "squeue", "--noheader"), "empty queue")
