"""Schedulers and workers as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def dask(
    *arguments: str,
    environment: Mapping[str, str],
    before: tuple[str, ...] = (),
    log: Path = Path(os.devnull),
) -> Iterator[subprocess.Popen[bytes]]:
    """``dask …`` as a process with these variables, ended with the block."""
    command = [*before, sys.executable, "-m", "dask", *arguments]
    settings = {"PYTHONPATH": str(ROOT), **environment}
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, at once: a worker that closes takes seconds."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def eventually(there: Callable[[], object], seconds: float = 300.0) -> None:
    """Wait for something, and fail if it does not come."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.05)


def address_in(file: Path) -> str:
    """The address that a scheduler writes into its file, once it has."""
    eventually(lambda: file.exists() and file.read_text().endswith("}"))
    return str(json.loads(file.read_text())["address"])
