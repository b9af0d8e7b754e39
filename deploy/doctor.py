"""Check the installation, the kernels, the disk and a cluster before anything is computed."""

import platform
import sys
import tempfile
import time
import uuid
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
from latticescape.sweeps.execution.workers import check_reach, check_workers
from latticescape.sweeps.store.atomic_write import report_unwritable
from latticescape.sweeps.store.location import Location, StorePath, locate

# Instruction sets that speed up vectors of 64-bit words.
VECTOR_FEATURES = ("neon", "avx2", "avx512f", "avx512bw", "avx512vbmi")

# On one core: 5 for the Ising model on the square lattice, 12 on the cubic one.
COMPILE_SECONDS = 10

# How long a worker may take to join and answer.
WORKER_SECONDS = 15.0


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


def examine(
    cluster: str = "local", *, compiling: bool = False, store: StorePath | None = None
) -> list[Finding]:
    """Check installation, kernels, disk and cluster.

    Parameters
    ----------
    cluster
        A cluster as for :func:`latticescape.connect`; its workers must run the same code.
    compiling
        Compile the kernels of the Ising model on the square lattice, and time them.
    store
        Where a store is, or is to be: its folder or URL. This process must be able to write and
        lock there, and all workers must see what it writes.

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
        (f"cluster {cluster}", lambda: _cluster(cluster, place)),
    ]
    place = None if store is None else locate(store)
    if place is not None:
        checks.insert(-1, (f"store {store}", lambda: _store(place)))
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


def _store(place: Location) -> str:
    """How fast a record is written where a store is to be, if two processes cannot both do it."""
    key, near = f".latticescape-{uuid.uuid4().hex}", place.near()
    begin = time.perf_counter()
    with report_unwritable(place.path):
        created = [near.create(key, b"1"), near.create(key, b"2")]
        seconds = time.perf_counter() - begin
        near.remove(key)
    if created != [True, False]:
        raise RequestError(
            f"two runs on {place.path} would not notice each other",
            came="a file was created twice",
            allowed="a disk or bucket on which a file can be created only once",
            hint="--store on another disk",
        )
    return f"can be written and locked, {seconds / 2:.3f} s a record"


def _cluster(cluster: str, place: Location | None) -> str:
    with connect(cluster, workers=1 if cluster == "local" else None) as client:
        if isinstance(client, InlineSession):
            return f"{client.threads} thread(s) of this process"
        number = check_workers(client, timeout=WORKER_SECONDS)
        if place is not None:
            check_reach(client, place)
        encrypted = client.scheduler.address.startswith("tls:")
        encryption = "encrypted" if encrypted else "not encrypted"
        sees = "" if place is None else ", all see the store's disk"
        return f"{number} worker(s), same code as here{sees}, {encryption}, {sys.platform}"
