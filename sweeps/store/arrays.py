"""Arrays of a store: chunks of one block, whole variables, and checksums of points."""

import asyncio
import hashlib
import os
from collections.abc import Coroutine, Mapping, Sequence
from functools import lru_cache
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from latticescape.physics.errors import DamageError
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.store.object_store import UnreachableError

# What zarr raises for a chunk that cannot be decoded, or has another size, depends on the codec.
DAMAGE = (RuntimeError, ValueError, TypeError, OSError)

CHECKSUM_BYTES = 8

Array = zarr.Array[Any]
Values = npt.NDArray[Any]


def empty(array: Array, block: Block) -> Values:
    """Uninitialised values of a block of an array, points first."""
    return np.empty((block.points, *array.shape[len(block.shape) :]), array.dtype)


def write_chunks(arrays: Sequence[Array], block: Block, values: Sequence[Values]) -> None:
    """Write a block of several arrays at once, points first.

    Raises
    ------
    OSError
        Of the first chunk that could not be written, after all others are finished.
    """
    tasks = [
        array.async_array.setitem(block.region, some.reshape(*block.shape, *some.shape[1:]))
        for array, some in zip(arrays, values, strict=True)
    ]
    for outcome in _gather(tasks):
        if isinstance(outcome, BaseException):
            raise outcome


def read_chunks(arrays: Sequence[Array], block: Block) -> list[Values | DamageError]:
    """A block of several arrays, points first; an error in place of each damaged chunk."""
    chunks: list[Values | DamageError] = []
    outcomes = _gather([array.async_array.getitem(block.region) for array in arrays])
    for array, outcome in zip(arrays, outcomes, strict=True):
        if isinstance(outcome, DAMAGE) and not isinstance(outcome, UnreachableError):
            chunks.append(DamageError(str(outcome)))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            chunks.append(np.asarray(outcome).reshape(empty(array, block).shape))
    return chunks


def checksums(results: Mapping[str, Values]) -> npt.NDArray[np.uint64]:
    """A checksum of every point, over everything that is stored of it.

    Parameters
    ----------
    results
        Variables in the order a kernel declares them, points first.

    Returns
    -------
    ndarray
        (points,) uint64: the first 64 bits of BLAKE2b (RFC 7693) over the variables' bytes, little
        endian.

    Examples
    --------
    >>> both = checksums({"energy": np.array([1.0, 2.0])})
    >>> bool(both[1] == checksums({"energy": np.array([2.0])})[0])
    True
    """
    little = [np.ascontiguousarray(v, v.dtype.newbyteorder("<")) for v in results.values()]
    rows = [values.reshape(len(values), -1).view(np.uint8) for values in little]
    digests = b"".join(
        hashlib.blake2b(row, digest_size=CHECKSUM_BYTES).digest()
        for row in np.concatenate(rows, axis=1)
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def canonical(values: Values, dtype: str) -> Values:
    """Values in their declared type, with every NaN the same.

    A chunk that holds only NaN is never written and is read as the fill value, so the sign and
    payload of a NaN would depend on its neighbours.

    Examples
    --------
    >>> canonical(np.array([-np.nan]), "float64").tobytes() == np.array([np.nan]).tobytes()
    True
    """
    array = np.array(values, dtype)
    if array.dtype.kind in "fc":
        array[np.isnan(array)] = array.dtype.type("nan+nanj" if array.dtype.kind == "c" else "nan")
    return array


def _gather(tasks: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run tasks of zarr at once: one after the other, each would wait for its file or server."""

    async def gathered() -> list[Any]:
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run_coroutine_threadsafe(gathered(), _event_loop(os.getpid())).result()


@lru_cache(maxsize=1)
def _event_loop(_process: int) -> asyncio.AbstractEventLoop:
    """An event loop in a thread of its own, one per process: a fork has no threads."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="latticescape-arrays", daemon=True).start()
    return loop
