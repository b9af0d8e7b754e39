"""Clients of running schedulers: certificates, addresses, and waiting for workers."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import click
from distributed import Client

from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.profiles import TEMPORARY, Tls
from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports
from latticescape.sweeps.execution.workers import at_address

T = TypeVar("T")

# The wait is reported after this time; and the interval between two checks.
SILENT_SECONDS = 10.0
POLL_SECONDS = 0.2


def client_of(
    address: str, tls: Tls, timeout: float | None = None
) -> AbstractContextManager[Client]:
    """A client of the scheduler at an address."""
    security = tls.security if isinstance(tls, Certificates) else None
    options = {} if timeout is None else {"timeout": timeout}
    return at_address(address, security=security, **options)


@contextmanager
def certificates_of(tls: Tls, folder: Path) -> Iterator[Certificates | None]:
    """The certificates of a profile; temporary ones are made in the folder and removed."""
    if tls != TEMPORARY:
        yield tls if isinstance(tls, Certificates) else None
        return
    with optional_imports():
        from latticescape.deploy.clusters.authority import make_certificates
    path = folder / f"latticescape-tls-{uuid4().hex[:12]}"
    try:
        yield make_certificates(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def written_address(file: Path) -> str | None:
    """The address in a scheduler's file; None until the file is complete."""
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def wait_for_worker(
    client: Client, minutes: float, state: Callable[[], str], every: float = POLL_SECONDS
) -> None:
    """Wait until the scheduler has a worker; parameters as for :func:`wait_for`."""
    wait_for(client.nthreads, minutes, state, every)


def wait_for(
    find: Callable[[], T | None], minutes: float, state: Callable[[], str], every: float
) -> T:
    """Wait until ``find`` returns something, and tell the user what is waited for.

    Parameters
    ----------
    find
        Called until its result is true.
    minutes
        How long to wait at most.
    state
        What is waited for, asked every ``every`` seconds; it may raise.

    Raises
    ------
    RequestError
        If nothing came in time.
    """
    begin = asked = time.monotonic()
    current = reported = ""
    while not (result := find()):
        waited = time.monotonic() - begin
        if not current or time.monotonic() > asked + every:
            current, asked = state(), time.monotonic()
        if waited > 60 * minutes:
            raise RequestError(
                f"no worker came within {minutes:g} minutes",
                came=current or None,
                allowed="at least one",
                hint="a larger wait_minutes in the profile, fewer cores or less walltime",
            )
        if waited > SILENT_SECONDS and current != reported:
            click.echo(f"waiting for a worker: {current}", err=True)
            reported = current
        time.sleep(POLL_SECONDS)
    return result
