"""Progress of work on images: a bar for each pass over the data, in a terminal or notebook."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dask.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class ImageProgress(Callback):  # type: ignore[misc]
    """Counts tasks that Dask finishes in this process, on the standard error stream.

    How many passes a computation makes is not known before, so each has a bar of its own.

    Parameters
    ----------
    what
        What is counted.
    shown
        False keeps quiet; True shows the bars where there is somebody to see them.
    """

    def __init__(self, what: str, *, shown: bool) -> None:
        super().__init__(start_state=self._begin, posttask=self._count, finish=self._end)
        console = Console(file=sys.stderr)
        self.passes = 0
        self.task: TaskID | None = None
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(what),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not (shown and (console.is_terminal or console.is_jupyter)),
        )

    def __enter__(self) -> "ImageProgress":
        self.bar.start()
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.bar.stop()

    def each(self, paths: Sequence[Path]) -> Iterator[Path]:
        """Every path, counted when it is done."""
        task = self.bar.add_task("", total=len(paths))
        for path in paths:
            self.bar.update(task, description=path.name)
            yield path
            self.bar.advance(task)

    def _begin(self, _: Any, state: Any) -> None:
        self.passes += 1
        total = sum(len(state[part]) for part in ("ready", "waiting", "running"))
        self.task = self.bar.add_task(f"pass {self.passes}", total=total)

    def _count(self, *_: Any) -> None:
        if self.task is not None:
            self.bar.advance(self.task)

    def _end(self, *_: Any) -> None:
        if self.task is not None:
            self.bar.stop_task(self.task)
