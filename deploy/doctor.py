"""Check the installation, the kernels, the disk and a cluster before anything is computed."""

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from latticescape.deploy.clusters.connect import connect
from latticescape.physics.compiled import cache_folder
from latticescape.physics.errors import RequestError
from latticescape.physics.extras import EXTRAS
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.kernels.lattice_kernel import KERNEL_VERSIONS, LatticeKernel
from latticescape.physics.kernels.multispin.simd import native_width
from latticescape.physics.lattices.lattice import square
from latticescape.physics.models.ising import Ising
from latticescape.physics.provenance import HOME, git_revision, package_digest, versions
from latticescape.sweeps.execution.inline import InlineSession
from latticescape.sweeps.execution.workers import check_workers

# Instruction sets that speed up vectors of 64-bit words.
VECTOR_FEATURES = ("neon", "avx2", "avx512f", "avx512bw", "avx512vbmi")

# On one core: 5 for the Ising model on the square lattice, 12 on the cubic one.
COMPILE_SECONDS = 10


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    name
        What was checked.
    good
        Whether it is as it should be.
    detail
        The result, or what is wrong.
    """

    name: str
    good: bool
    detail: str


def examine(cluster: str = "local", *, compiling: bool = False) -> list[Finding]:
    """Check installation, kernels, disk and cluster.

    Parameters
    ----------
    cluster
        A cluster as for :func:`latticescape.connect`; its workers must run the same code.
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
        ("source", lambda: f"{package_digest()[:12]} {git_revision()}".strip()),
        ("package", _package),
        ("extras", _extras),
        ("kernel", lambda: _kernel(compiling)),
        ("vectors", _vectors),
        ("compiled", _compiled),
        ("temporary folder", _temporary_folder),
        (f"cluster {cluster}", lambda: _cluster(cluster)),
    ]
    findings = []
    for name, check in checks:
        try:
            findings.append(Finding(name, True, check()))
        except (RequestError, OSError, ImportError) as error:
            findings.append(Finding(name, False, str(error)))
    return findings


def _package() -> str:
    """The folder of the package, if a script or notebook started here would import the same."""
    for folder in map(Path, dict.fromkeys([str(Path.cwd()), *sys.path])):
        # A folder without __init__.py does not come before a package, wherever it is.
        for other in (folder / "latticescape" / "__init__.py", folder / "latticescape.py"):
            if other.exists() and not other.samefile(HOME / "__init__.py"):
                raise RequestError(
                    f"{other} can be imported instead of {HOME}",
                    hint=f"rename {other.parent if other.name == '__init__.py' else other}",
                )
    return str(HOME)


def _extras() -> str:
    """Which extras are installed, and which are not."""
    missing = [e for e, modules in EXTRAS.items() if not all(map(find_spec, modules))]
    installed = ", ".join(extra for extra in EXTRAS if extra not in missing) or "none"
    return installed + (f"; not installed: {', '.join(missing)}" if missing else "")


def _kernel(compiling: bool) -> str:
    names = ", ".join(f"{name} {version}" for name, version in KERNEL_VERSIONS.items())
    if not compiling:
        return names
    kernel, seconds = LatticeKernel(square(4), Ising(), Schedule(1, 2, 1), swept=("T", "H")), []
    for _ in range(2):
        begin = time.perf_counter()
        kernel.warm_up({"T": np.array([2.0]), "H": np.array([0.0, 0.1])})
        seconds.append(time.perf_counter() - begin)
    return f"{names}; Ising model compiled in {seconds[0]:.1f} s, then {seconds[1]:.3f} s a call"


def _vectors() -> str:
    words, features = len(native_width()), llvm.get_host_cpu_features()
    names = [name for name in VECTOR_FEATURES if features.get(name)]
    extensions = " ".join(names) or "no known vector extension"
    return f"{words} words ({64 * words} bits) a register; {llvm.get_host_cpu_name()}: {extensions}"


def _compiled() -> str:
    """How many functions are in the cache for this state of the source: one file per signature."""
    folder = cache_folder()
    number = sum(1 for _ in folder.rglob("*.nbc"))
    if number:
        return f"{number} functions for this source, in {folder}"
    return f"none yet: the first run takes about {COMPILE_SECONDS} s longer, and fills {folder}"


def _temporary_folder() -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"written")
    return tempfile.gettempdir()


def _cluster(cluster: str) -> str:
    with connect(cluster, workers=1 if cluster == "local" else None) as client:
        if isinstance(client, InlineSession):
            return f"{client.threads} thread(s) of this process"
        number = check_workers(client)
        encrypted = client.scheduler.address.startswith("tls:")
        encryption = "encrypted" if encrypted else "not encrypted"
        return f"{number} worker(s), same code as here, {encryption}, {sys.platform}"
