"""Settings that must be in place before anything is compiled or imported."""

import os
import tempfile
from pathlib import Path

# Bounds-checked kernels are cached apart from a user's own.
os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"latticescape-tests-{os.getuid()}")
)
