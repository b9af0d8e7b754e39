"""``flush``: what was written stays written, as far as the disk keeps its promises."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# A journalling file system takes files that are flushed together in one go: 27 chunks in 16 ms
# instead of 130 ms one after the other, on the disk this was measured on.
THREADS = 8


def flush(paths: Iterable[Path], *, below: Path) -> None:
    """Have files and the names they were given written to disk; those that are not there are not.

    Parameters
    ----------
    paths
        The files. A chunk of nothing but fill values has none.
    below
        The folder whose own name is known to be on disk: names of those between are flushed.

    Examples
    --------
    >>> flush([Path("/nowhere/at/all")], below=Path("/nowhere"))
    """
    files = [path for path in paths if path.exists()]
    folders = {parent for path in files for parent in path.parents if _is_in(parent, below)}
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(_flush, [*files, *folders]))


def _is_in(folder: Path, below: Path) -> bool:
    return folder == below or below in folder.parents


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
