"""Chunks of one block, one of each of several arrays, read and written side by side.

One after the other they would wait for each other: for the interpreter between two files, and for
the answer of the server where a store is in a bucket.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.sync import sync

from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.store.object_store import UnreachableError

# What zarr raises where a chunk cannot be decoded, or has another size, depends on the codec.
DAMAGE = (RuntimeError, ValueError, TypeError, OSError)

Array = zarr.Array[Any]
Values = npt.NDArray[Any]


class DamageError(RuntimeError):
    """A chunk that is there and cannot be read."""


def empty(array: Array, block: Block) -> Values:
    """Room for a block of an array, points first."""
    return np.empty((block.points, *array.shape[len(block.shape) :]), array.dtype)


def write_chunks(arrays: Sequence[Array], block: Block, values: Sequence[Values]) -> None:
    """Write a block of every array, points first.

    Raises
    ------
    OSError
        Of the first chunk that could not be written, when no other is being written any more.
    """
    tasks = [
        array.async_array.setitem(block.region, some.reshape(*block.shape, *some.shape[1:]))
        for array, some in zip(arrays, values, strict=True)
    ]
    for outcome in sync(_together(tasks)):
        if isinstance(outcome, BaseException):
            raise outcome


def read_chunks(arrays: Sequence[Array], block: Block) -> list[Values | DamageError]:
    """A block of every array, points first; an error in place of what is damaged."""
    tasks = [array.async_array.getitem(block.region) for array in arrays]
    found: list[Values | DamageError] = []
    for array, outcome in zip(arrays, sync(_together(tasks)), strict=True):
        if isinstance(outcome, DAMAGE) and not isinstance(outcome, UnreachableError):
            found.append(DamageError(str(outcome)))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            found.append(np.asarray(outcome).reshape(empty(array, block).shape))
    return found


async def _together(tasks: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)
