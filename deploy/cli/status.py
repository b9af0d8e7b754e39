"""``latticescape status`` and ``watch``: the progress of a store, once or live."""

import sys
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from latticescape.deploy.cli.options import STORE, as_json, example
from latticescape.deploy.cli.outputs import duration_text, fact_table, show
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.status import Status
from latticescape.sweeps.store.status import status as store_status


def watch_store(
    store: StorePath,
    *,
    every: float = 1.0,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Show the progress of a store until the work on it ends.

    Parameters
    ----------
    store
        The store's folder, or URL.
    every
        Seconds between two updates.
    console, sleep
        The console to print to, and the function that waits.

    Returns
    -------
    Status
        The last status.

    Raises
    ------
    RequestError
        If there is no store.
    """
    progress = store_status(store)
    with Live(progress_table(progress), console=console, auto_refresh=False) as live:
        while progress.active:
            sleep(every)
            progress = store_status(store)
            live.update(progress_table(progress), refresh=True)
    return progress


def progress_table(progress: Status) -> Table:
    """A table of a bar, the points in each state, the time left and the owner."""
    width = 40
    filled = round(width * progress.done / progress.points)
    states = ("done", "running", "pending", "failed", "poisoned")
    counts = {name: getattr(progress, name) for name in states}
    left = progress.seconds_left
    bar = f"{'━' * filled}{'╌' * (width - filled)} {progress.done / progress.points:.0%}"
    return fact_table(
        {
            "store": progress.store,
            "progress": bar,
            "points": ", ".join(f"{number} {name}" for name, number in counts.items() if number),
            "blocks": f"{progress.blocks_running} running, {progress.blocks_pending} pending",
            "time left": "unknown" if left is None else duration_text(left),
            "owner": progress.owner or "none",
        }
    )


@click.command(epilog=example("latticescape watch runs/ising.zarr"))
@click.argument("store", type=STORE)
@click.option(
    "--every", type=click.FloatRange(min=0.1), default=1.0, help="Seconds between two updates."
)
def watch(store: StorePath, every: float) -> None:
    """Follow the progress of a store live. Exit code 1 if points are missing at the end."""
    sys.exit(0 if watch_store(store, every=every).complete else 1)


@click.command(epilog=example("latticescape status runs/ising.zarr"))
@click.argument("store", type=STORE)
@as_json
def status(store: StorePath, json_: bool) -> None:
    """Show progress, owner and time left of a store."""
    progress = store_status(store)
    if json_:
        show(progress.as_dict(), json_)
    else:
        Console().print(progress_table(progress))
