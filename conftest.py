"""Settings that must be in place before anything is compiled or imported."""

import importlib
import os
import tempfile
from pathlib import Path

# Bounds-checked kernels are cached apart from a user's own.
os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"latticescape-tests-{os.getuid()}")
)


def pytest_configure() -> None:
    """Else doctests of a module that is imported first import it twice, and its classes with it."""
    importlib.import_module("latticescape.sweeps")
