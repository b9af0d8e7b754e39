"""Provenance: version, digest and git revision of this package, and versions of its libraries."""

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# The folder that holds the four parts of this package.
HOME = Path(__file__).parents[1]
# The parts whose code decides a result's bits.
PARTS = ("physics", "sweeps")
LIBRARIES = ("dask", "distributed", "numba", "numpy", "xarray", "zarr")


def package_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("latticescape")
    except PackageNotFoundError:
        return "0+source"


@cache
def package_digest() -> str:
    """SHA-256 over every Python file of physics and sweeps, by name and content."""
    digest = hashlib.sha256()
    for part in PARTS:
        folder = HOME / part
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{part}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def git_revision() -> str:
    """The commit the code was checked out at, marked if changed since; "" outside a checkout."""
    folder = HOME.resolve().parent
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python, this package, and the libraries that decide results."""
    return {
        "latticescape": package_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
