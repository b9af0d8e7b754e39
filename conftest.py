"""Settings that must be in place before anything is compiled or imported."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

# Workers of pytest share the cores, so threads of BLAS and OpenMP would only wait for each other.
# The variable limits libraries that are loaded later, the call those that plugins have loaded.
os.environ["OMP_NUM_THREADS"] = "1"
threadpool_limits(1)
# Bounds-checked kernels are cached apart from a user's own.
os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"latticescape-tests-{os.getuid()}")
)


def pytest_configure() -> None:
    """Import the package, and compile its kernels once for all workers.

    Otherwise doctests of a module that is imported first import it twice, and its classes with it.
    """
    importlib.import_module("latticescape.sweeps")
    importlib.import_module("tests.support.compiling").compile_once()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules of slow tests, so that no worker is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Replace ``os.fsync``: no test cuts the power, and a small run flushes a thousand files.

    Tests of what is flushed, and in which order, replace it themselves.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


WORKERS = "latticescape.sweeps.execution.workers"


@pytest.fixture(scope="session", autouse=True)
def embedded() -> Iterator[object]:
    """Let embedded workers be threads of this process, which start at once; yield the real ones.

    Tests of the processes call ``embedded`` themselves, use ``processes``, or start the command
    line as a user does.
    """
    real = importlib.import_module(WORKERS).embedded
    stand_in = importlib.import_module("tests.support.runs").embedded_in_process
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{WORKERS}.embedded", stand_in)
        yield real


@pytest.fixture
def processes(embedded: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let embedded workers be processes, as they are for users."""
    monkeypatch.setattr(f"{WORKERS}.embedded", embedded)
