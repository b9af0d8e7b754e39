"""Programs with a process group of their own, so that they can be killed whole, and waited for."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.05


class Program:
    """A program that runs, its output in files, and all that it starts.

    Parameters
    ----------
    command
        Its words.
    environment
        All its variables.
    output, errors
        The files that it prints to.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> None:
        with output.open("ab") as out, (errors or output).open("ab") as err:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL to it and all that it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self.lives:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)
        self.kill()


def until(
    there: Callable[[], object], what: str, seconds: float = 300.0, look: float = LOOK_SECONDS
) -> None:
    """Wait for something, looking so often: time that this process is stopped for is not counted.

    Raises
    ------
    TimeoutError
        If it does not come.
    """
    for _ in range(round(seconds / look)):
        if there():
            return
        time.sleep(look)
    raise TimeoutError(f"no {what} within {seconds:g} s")
