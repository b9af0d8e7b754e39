"""``aside``: the end of a task, beside which its worker begins the next one."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import BoundedSemaphore

from distributed import get_worker, secede


@contextmanager
def aside() -> Iterator[None]:
    """Let the worker of this task begin another one; outside a worker nothing happens.

    Writing waits for the disk, or for a server, while computing waits for the processor. As many
    tasks as the worker has threads can be here at a time, the next one waits before it leaves its
    place: so a disk that is slower than the kernel does not fill the memory with results.

    Examples
    --------
    >>> with aside():
    ...     pass
    """
    try:
        worker = get_worker()
    except ValueError:  # there is none: called by hand
        yield
        return
    with _places(worker.state.nthreads):
        secede()
        yield


@lru_cache(maxsize=1)
def _places(threads: int) -> BoundedSemaphore:
    return BoundedSemaphore(threads)
