"""Patience: a scheduler that does not give a block up because workers died that held it."""

from collections import Counter
from contextlib import suppress
from typing import Any

from distributed import Client, SchedulerPlugin

from latticescape.sweeps.execution.lease import KEY

# A block of thousands of points needs some twenty dead workers to find one guilty point. Deaths
# before a block is even begun find nothing, and must end too.
MOST_DEATHS = 100


def install_patience(client: Client) -> None:
    """Have a scheduler try our tasks again and again, whatever dies, as long as it lives.

    Dask gives a task up (``KilledWorker``) when ``distributed.scheduler.allowed-failures`` + 1
    workers died that held it, be it only in their queue. Our blocks find the guilty points and end
    by themselves. Other tasks are treated as ever. If the scheduler takes no plugin, Dask's limit
    holds for ours too, and the next ``run`` goes on with what they found.
    """
    with suppress(Exception):  # whatever a scheduler refuses with: it is a help, no need
        client.register_plugin(_patience())


def _patience() -> SchedulerPlugin:
    """The plugin. Its class is local so that it goes to the scheduler as code: ours need not be
    installed there, nor Numba be imported."""
    key, most = KEY, MOST_DEATHS

    class Patience(SchedulerPlugin):  # type: ignore[misc]
        name = "latticescape-patience"
        idempotent = True

        def __init__(self) -> None:
            self.deaths: Counter[str] = Counter()

        def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
            for task in scheduler.tasks.values():
                if task.suspicious and str(task.key).startswith(key):
                    self.deaths[task.key] += task.suspicious
                    if self.deaths[task.key] < most:
                        task.suspicious = 0

    return Patience()
