"""``watch``: a store's progress in the terminal, live, whoever works on it and wherever."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from latticescape.deploy.cli.tables import facts
from latticescape.sweeps.execution.status import Status, status
from latticescape.sweeps.store.location import StorePath


def watch(
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
    found = status(store)
    with Live(progress_table(found), console=console, auto_refresh=False) as live:
        while found.active:
            sleep(every)
            found = status(store)
            live.update(progress_table(found), refresh=True)
    return found


def progress_table(found: Status) -> Table:
    """A status as a table: a bar, and the numbers that say something."""
    width = 40
    filled = round(width * found.done / found.points)
    states = ("done", "running", "pending", "failed", "poisoned")
    told = {name: getattr(found, name) for name in states}
    return facts(
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
