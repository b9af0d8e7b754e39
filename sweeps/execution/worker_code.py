"""Which code a process runs, and its compiled kernels: what must hold before its first block."""

import platform
import socket
import threading
from functools import cache
from typing import TypeAlias

from latticescape.physics.errors import RequestError
from latticescape.physics.provenance import HOME, package_digest, package_version
from latticescape.sweeps.spec.sweep import Sweep

Code: TypeAlias = tuple[str, str, str]


class ForeignWorkerError(RequestError):
    """A worker runs other code than the process that submitted its task."""


@cache
def code_identity() -> Code:
    """Version, source digest and folder of the code of this process."""
    return package_version(), package_digest(), str(HOME)


def check_code(ours: Code) -> None:
    """Check, on a worker, that it runs the same code as the process that submitted its task.

    :func:`check_workers` checks the workers at the start of a run; others may join later, from an
    environment that has changed meanwhile.

    Raises
    ------
    ForeignWorkerError
        If its version or source differs; both paths are named.
    """
    compare_code(f"on {socket.gethostname()}", code_identity(), ours)


def compare_code(worker: str, theirs: Code | Exception, ours: Code) -> None:
    """Refuse a worker whose version or source differs from ours.

    Raises
    ------
    ForeignWorkerError
        Naming both paths.
    """
    if isinstance(theirs, Exception):
        came = f"{type(theirs).__name__}: {theirs}"
    else:
        came = "" if tuple(theirs[:2]) == tuple(ours[:2]) else _label(theirs)
    if came:
        raise ForeignWorkerError(
            f"the worker {worker} runs other code than this process",
            came=came,
            allowed=_label(ours),
            hint="install the same latticescape on every worker and restart them",
        )


def _label(identity: Code) -> str:
    version, digest, folder = identity
    return f"version {version}, source {digest[:12]}, in {folder}"


_lock = threading.Lock()
_warm: set[str] = set()


def warm_up(sweep: Sweep) -> None:
    """Compile the kernel of a sweep in this process; all but the first call return at once.

    Raises
    ------
    RequestError
        If the kernel fails.
    """
    with _lock:
        if sweep.digest in _warm:
            return
        try:
            sweep.kernel.warm_up(sweep.axes)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(
                f"the kernel {sweep.kernel.name} fails before its first block on {platform.node()}",
                came=f"{type(error).__name__}: {error}",
                hint="latticescape doctor --compile, there",
            ) from error
        _warm.add(sweep.digest)
