"""Progress of a sweep: a bar with rate and time left in a terminal or notebook, else nothing."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class SweepProgress:
    """Counts done points on the standard error stream.

    Parameters
    ----------
    points
        Points of the sweep.
    done
        Points done before.
    shown
        False keeps quiet; True shows the bar where there is somebody to see it: a terminal or a
        notebook, not a pipe.
    """

    def __init__(self, points: int, done: int, *, shown: bool) -> None:
        self.updates, self.seconds = 0, 0.0
        console = Console(file=sys.stderr)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("points"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not (shown and (console.is_terminal or console.is_jupyter)),
        )
        self.task = self.bar.add_task("sweep", total=points, completed=done, rate="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def add(self, points: int, updates: int, seconds: float) -> None:
        """Count a finished block; the rate shown is that of one core."""
        self.updates += updates
        self.seconds += seconds
        rate = _told(self.updates / self.seconds) if self.seconds else ""
        self.bar.update(self.task, advance=points, rate=rate)


def _told(rate: float) -> str:
    number = f"{rate / 1e6:.1f} M" if rate >= 1e5 else f"{rate:.3g}"
    return f"{number} updates/s a core"
