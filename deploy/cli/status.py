"""``latticescape status`` and ``watch``: the progress of a store, once or live."""

import sys
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from latticescape.deploy.cli.options import STORE, as_json, example
from latticescape.deploy.cli.outputs import fact_table, show
from latticescape.sweeps.execution.status import Status
from latticescape.sweeps.execution.status import status as store_status
from latticescape.sweeps.store.location import StorePath


def watch_store(
    store: StorePath,
    *,
    every: float = 1.0,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Show how far a store is until nobody works on it.

    Parameters
    ----------
    store
        The store's folder, or URL.
    every
        Seconds between two looks.
    console, sleep
        Where to show it, and what to wait with.

    Returns
    -------
    Status
        As it was at the last look.

    Raises
    ------
    RequestError
        If there is no store.
    """
    found = store_status(store)
    with Live(progress_table(found), console=console, auto_refresh=False) as live:
        while found.active:
            sleep(every)
            found = store_status(store)
            live.update(progress_table(found), refresh=True)
    return found


def progress_table(found: Status) -> Table:
    """A status as a table: a bar, and the numbers that say something."""
    width = 40
    filled = round(width * found.done / found.points)
    states = ("done", "running", "pending", "failed", "poisoned")
    told = {name: getattr(found, name) for name in states}
    return fact_table(
        {
            "store": found.store,
            "progress": f"{'━' * filled}{'╌' * (width - filled)} {found.done / found.points:.0%}",
            "points": ", ".join(f"{number} {name}" for name, number in told.items() if number),
            "blocks": f"{found.blocks_running} running, {found.blocks_pending} pending",
            "left": _told_seconds(found.seconds_left),
            "owner": found.owner or "nobody works on it",
        }
    )


def _told_seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known yet"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


@click.command(epilog=example("latticescape watch runs/ising.zarr"))
@click.argument("store", type=STORE)
@click.option("--every", type=click.FloatRange(min=0.1), default=1.0, help="Seconds between looks.")
def watch(store: StorePath, every: float) -> None:
    """Watch a store, live, until nobody works on it. Exit code 1 if points are missing then."""
    sys.exit(0 if watch_store(store, every=every).complete else 1)


@click.command(epilog=example("latticescape status runs/ising.zarr"))
@click.argument("store", type=STORE)
@as_json
def status(store: StorePath, json_: bool) -> None:
    """How far a store is, who works on it, and when it will be done."""
    show(store_status(store).as_dict(), json_)
