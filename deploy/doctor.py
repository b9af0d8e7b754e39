"""What is wrong, before anything is spent."""

import importlib.util
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.clusters import connect
from physics.errors import RequestError
from physics.lattices import square
from physics.models import Ising
from physics.sampler import KERNEL_VERSIONS, sample
from physics.schedule import Schedule
from physics.simd import native_width
from sweeps.provenance import git_revision, source_digest, versions
from sweeps.workers import check_workers

ROOMS = ("physics", "sweeps", "analysis", "deploy")


@dataclass(frozen=True)
class Finding:
    """One thing examined."""

    name: str
    good: bool
    told: str


def examine(cluster: str = "local") -> list[Finding]:
    """Examine installation, kernels, disk and cluster.

    Parameters
    ----------
    cluster
        As for :func:`deploy.connect`; its workers must run this very code.

    Examples
    --------
    >>> [finding.good for finding in examine() if finding.name == "python"]
    [True]
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", platform.python_version),
        ("versions", lambda: ", ".join(f"{n} {v}" for n, v in versions().items())),
        ("source", lambda: f"{source_digest()[:12]} {git_revision()}".strip()),
        ("packages", _packages),
        ("kernel", _kernel),
        ("temporary folder", _scratch),
        (f"cluster {cluster}", lambda: _cluster(cluster)),
    ]
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (RequestError, OSError, ImportError) as error:
        return Finding(name, False, str(error))


def _packages() -> str:
    """Our four common names must all be ours: a folder ``analysis`` elsewhere may shadow one."""
    homes = dict(_homes())
    if len(set(homes.values())) > 1:
        raise RequestError(
            "a folder of the same name shadows one of the packages",
            came=", ".join(f"{room} at {home}" for room, home in homes.items()),
            allowed="all four in one folder",
            hint="start from another folder, or rename yours",
        )
    return f"{', '.join(homes)} at {homes['physics']}"


def _homes() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None or spec.origin is None:
            raise RequestError(
                f"the package {room} is not installed", hint="pip install latticescape"
            )
        yield room, Path(spec.origin).parent.parent


def _kernel() -> str:
    seeds = np.zeros((1, 4), np.uint64)
    first, second = (_seconds(seeds) for _ in range(2))
    kernels = ", ".join(f"{name} {version}" for name, version in KERNEL_VERSIONS.items())
    bits = 64 * len(native_width())
    return f"{kernels}; {bits}-bit vectors; ready in {first:.1f} s, then {second:.3f} s a call"


def _seconds(seeds: np.ndarray) -> float:
    begin = time.perf_counter()
    sample(Ising(T=2.0), square(4), {}, Schedule(1, 2, 1), seeds)
    return time.perf_counter() - begin


def _scratch() -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"written")
    return tempfile.gettempdir()


def _cluster(cluster: str) -> str:
    with connect(cluster, workers=1 if cluster == "local" else None) as client:
        number = check_workers(client)
        return f"{number} worker(s), same code as here, {sys.platform}"
