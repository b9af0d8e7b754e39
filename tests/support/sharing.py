"""Expensive results that all processes of one test run share."""

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Result = TypeVar("Result")


def compute_once(
    factory: pytest.TempPathFactory, name: str, compute: Callable[[Path], Result]
) -> Result:
    """The result of a computation in a folder of that name.

    The first worker of pytest that asks computes it, and the others wait for it: a fixture of a
    module is set up in every worker that runs a test of it.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    folder.mkdir(exist_ok=True)
    result = folder / "result.pickle"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            content = pickle.dumps(compute(folder))
            result.write_bytes(content)
    found: Result = pickle.loads(result.read_bytes())
    return found
