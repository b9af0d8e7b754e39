"""What is wrong, before anything is spent."""

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

from latticescape.deploy.clusters.connect import connect
from latticescape.physics.compiled import cache_folder
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kernels.multispin.simd import native_width
from latticescape.physics.kernels.sampler import KERNEL_VERSIONS
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.lattices.lattice import square
from latticescape.physics.models.ising import Ising
from latticescape.sweeps.execution.workers import check_workers
from latticescape.sweeps.store.provenance import HOME, git_revision, source_digest, versions

# The instruction sets that vectors of 64-bit words gain from.
VECTOR_FEATURES = ("neon", "avx2", "avx512f", "avx512bw", "avx512vbmi")

# Of one core: 5 for the Ising model on the square lattice, 12 on the cubic one.
COMPILE_SECONDS = 10


@dataclass(frozen=True)
class Finding:
    """One thing examined."""

    name: str
    good: bool
    told: str


def examine(cluster: str = "local", *, compiling: bool = False) -> list[Finding]:
    """Examine installation, kernels, disk and cluster.

    Parameters
    ----------
    cluster
        As for :func:`latticescape.connect`; its workers must run this very code.
    compiling
        Compile the kernels of the Ising model on the square lattice, and time them.

    Examples
    --------
    >>> [finding.good for finding in examine() if finding.name == "python"]
    [True]
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", platform.python_version),
        ("versions", lambda: ", ".join(f"{n} {v}" for n, v in versions().items())),
        ("source", lambda: f"{source_digest()[:12]} {git_revision()}".strip()),
        ("package", lambda: str(HOME)),
        ("kernel", lambda: _kernel(compiling)),
        ("vectors", _vectors),
        ("compiled", _compiled),
        ("temporary folder", _scratch),
        (f"cluster {cluster}", lambda: _cluster(cluster)),
    ]
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (RequestError, OSError, ImportError) as error:
        return Finding(name, False, str(error))


def _kernel(compiling: bool) -> str:
    told = ", ".join(f"{name} {version}" for name, version in KERNEL_VERSIONS.items())
    if not compiling:
        return told
    first, second = _seconds(), _seconds()
    return f"{told}; Ising model ready in {first:.1f} s, then {second:.3f} s a call"


def _seconds() -> float:
    kernel = LatticeKernel(square(4), Ising(), Schedule(1, 2, 1), swept=("T", "H"))
    begin = time.perf_counter()
    kernel.warm_up({"T": np.array([2.0]), "H": np.array([0.0, 0.1])})
    return time.perf_counter() - begin


def _vectors() -> str:
    words, features = len(native_width()), llvm.get_host_cpu_features()
    there = [name for name in VECTOR_FEATURES if features.get(name)]
    has = " ".join(there) or "no vector extension known here"
    return f"{words} words ({64 * words} bits) a register; {llvm.get_host_cpu_name()}: {has}"


def _compiled() -> str:
    """What is in the cache for this state of the source, by Numba's files, one a signature."""
    folder = cache_folder()
    number = sum(1 for _ in folder.rglob("*.nbc"))
    if number:
        return f"{number} functions for this source, in {folder}"
    return f"not yet: the first run takes some {COMPILE_SECONDS} s more, and fills {folder}"


def _scratch() -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"written")
    return tempfile.gettempdir()


def _cluster(cluster: str) -> str:
    with connect(cluster, workers=1 if cluster == "local" else None) as client:
        number = check_workers(client)
        encrypted = client.scheduler.address.startswith("tls:")
        told = "encrypted" if encrypted else "not encrypted"
        return f"{number} worker(s), same code as here, {told}, {sys.platform}"
