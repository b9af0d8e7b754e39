"""An object storage on this machine: moto's S3 server, in a virtual environment of its own.

Resolved together with the project, its requirements would change what is tested.
"""

import fcntl
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import ROOT, eventually

FOLDER = ROOT / ".venv-s3"
CONSTRAINTS = ROOT / "tests" / "support" / "s3" / "constraints.txt"
SERVER = FOLDER / "bin" / "moto_server"
BUCKET = "bucket"
SECRET = "a-secret-that-nobody-else-is-told"


class MissingError(Exception):
    """The server cannot be installed here."""


def install() -> None:
    """Install the server if it is not there, once for all test processes.

    Raises
    ------
    MissingError
        If that fails, with the reason.
    """
    done = FOLDER / ".installed"
    with (ROOT / ".venv-s3.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_text() == CONSTRAINTS.read_text():
            return
        _run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
        pip = (str(FOLDER / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--constraint", str(CONSTRAINTS), "moto[server]")
        done.write_text(CONSTRAINTS.read_text())


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        reported = getattr(error, "stderr", None) or str(error)
        raise MissingError(reported.strip().splitlines()[-1]) from None


@contextmanager
def object_storage() -> Iterator[str]:
    """The endpoint of a storage with one empty bucket, gone with the block."""
    install()
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [str(SERVER), "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": ""}
    with subprocess.Popen(command, env=environment, **quiet) as server:  # type: ignore[call-overload]
        try:
            eventually(lambda: _answers(port))
            ask(f"{endpoint}/{BUCKET}", "PUT")
            yield endpoint
        finally:
            server.terminate()


def variables(endpoint: str) -> dict[str, str]:
    """What a process needs in its environment to use a storage."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def ask(url: str, method: str, content: bytes | None = None) -> None:
    """Ask the server itself for something."""
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, content, plain, method=method)
    with urllib.request.urlopen(request, timeout=30):
        pass


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    install()
