"""``DiskFullError``: the disk of a store is full, so no block is worth computing."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from latticescape.physics.errors import RequestError

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(RequestError):
    """No block can be stored: whoever hands blocks out may stop."""


def unwritten(store: object, error: OSError) -> RequestError:
    """What to tell of a store that cannot be written into.

    Examples
    --------
    >>> print(unwritten("s.zarr", OSError(errno.ENOSPC, "No space left on device")))
    cannot write into the store s.zarr (came: No space left on device; allowed: a disk with space
    left, on which you may write). Try: the same latticescape run once more, when there is space
    """
    kind = DiskFullError if error.errno in FULL else RequestError
    return kind(
        f"cannot write into the store {store}",
        came=error.strerror or error,
        allowed="a disk with space left, on which you may write",
        hint="the same latticescape run once more, when there is space",
    )


@contextmanager
def full_disk_told(store: object) -> Iterator[None]:
    """Tell of a full disk in these words; other errors go on as they are.

    Examples
    --------
    >>> with full_disk_told("s.zarr"):
    ...     raise OSError(errno.EDQUOT, "Disk quota exceeded")
    Traceback (most recent call last):
    ...
    latticescape...DiskFullError: cannot write into the store s.zarr (came: Disk quota ...
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise unwritten(store, error) from error
