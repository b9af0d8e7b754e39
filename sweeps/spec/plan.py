"""``plan``: a sweep cut into blocks, with what it costs; pure, runs nothing."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.physics.variables import BOOKKEEPING, Variable

if TYPE_CHECKING:
    from latticescape.sweeps.spec.sweep import Sweep

# A block is the unit of work and of loss: long enough that scheduling is nothing beside it, short
# enough that a killed worker costs little. The rate is a cautious guess for one core; a block's
# size changes no result.
BLOCK_SECONDS = 15.0
MOST_BLOCKS = 10_000
FEWEST_BLOCKS = 16

# A worker holds a block several times over: as computed, in its order on disk, compressed.
BLOCK_BYTES = 128 * 2**20

# A compressor counts with 31 bits.
MOST_CHUNK_BYTES = 2**31 - 2**20


@dataclass(frozen=True)
class Block:
    """A box of the grid: one Dask task, one chunk of every variable."""

    number: int
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def region(self) -> tuple[slice, ...]:
        """The box as slices of the axes."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along every axis."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def points(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Plan:
    """How a sweep is cut and what it costs.

    Attributes
    ----------
    shape, block_shape
        Points along every axis, of the grid and of a whole block.
    blocks
        All blocks, in order.
    bytes
        Uncompressed size of the store.
    updates
        Attempted updates, all replicas.
    """

    shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    blocks: tuple[Block, ...]
    bytes: int
    updates: int

    @property
    def points(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    def hours(self, updates_per_second: float, workers: int = 1) -> float:
        """Hours on so many workers at a measured rate each."""
        return self.updates / updates_per_second / workers / 3600


def plan(sweep: "Sweep", *, block_points: int | None = None) -> Plan:
    """Cut a sweep into blocks.

    Parameters
    ----------
    sweep
        The sweep.
    block_points
        Most points in a block. By default a block takes some 15 s on a slow core and at most
        128 MiB, there are at least 16 blocks and at most 10 000. It changes no bit of the result.
        Axes that a kernel needs whole, as T with parallel tempering, stay whole even if that makes
        a block larger.

    Raises
    ------
    RequestError
        If ``block_points`` is no whole number above 0, or a block too large to be one chunk.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5], "H": [0.0, 1, 2]}, Schedule(10, 5, 2))
    >>> cut = plan(sweep, block_points=2)
    >>> cut.points, len(cut.blocks), cut.block_shape
    (6, 4, (1, 2))
    """
    most = _block_points(sweep) if block_points is None else block_points
    if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
        raise RequestError(
            "block_points is no whole number above 0",
            came=repr(most),
            allowed="1 or more",
            hint="block_points=8",
        )
    whole = {list(sweep.axes).index(name) for name in sweep.kernel.uncut_axes}
    block_shape = _block_shape(sweep.shape, int(most), whole, sweep.kernel.batch_size)
    _check_chunks(sweep, math.prod(block_shape))
    return Plan(
        shape=sweep.shape,
        block_shape=block_shape,
        blocks=cut(sweep.shape, block_shape),
        bytes=sweep.points * point_bytes(sweep),
        updates=sweep.kernel.updates(sweep.points),
    )


def cut(shape: tuple[int, ...], block_shape: tuple[int, ...]) -> tuple[Block, ...]:
    """The blocks of a grid, the last axis fastest; those at its end may be smaller."""
    starts = product(*(range(0, n, b) for n, b in zip(shape, block_shape, strict=True)))
    return tuple(
        Block(
            number,
            start,
            tuple(min(s + b, n) for s, b, n in zip(start, block_shape, shape, strict=True)),
        )
        for number, start in enumerate(starts)
    )


def box_shape(shape: tuple[int, ...], block_shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Points along every axis of a box of whole blocks, at most so many, but one or more.

    Examples
    --------
    >>> box_shape((40, 21), (1, 10), most=7)
    (2, 30)
    """
    blocks = [-(-n // b) for n, b in zip(shape, block_shape, strict=True)]
    boxes = _block_shape(blocks, max(1, most))
    return tuple(n * b for n, b in zip(boxes, block_shape, strict=True))


def point_bytes(sweep: "Sweep") -> int:
    """Uncompressed bytes of one point."""
    return sum(_bytes_of(v, sweep) for v in (*sweep.kernel.variables, *BOOKKEEPING))


def _bytes_of(variable: Variable, sweep: "Sweep") -> int:
    values = math.prod(sweep.kernel.sizes[dim] for dim in variable.dims)
    return np.dtype(variable.dtype).itemsize * values


def _check_chunks(sweep: "Sweep", points: int) -> None:
    """Refuse blocks of which a variable does not fit a chunk."""
    size, name = max((points * _bytes_of(v, sweep), v.name) for v in sweep.kernel.variables)
    if size > MOST_CHUNK_BYTES:
        raise RequestError(
            f"{name} of a block is too large for a chunk",
            came=f"{size / 2**20:.0f} MiB in {points} points",
            allowed=f"up to {MOST_CHUNK_BYTES // 2**20} MiB",
            hint="fewer points in a block, or less in keep",
        )


def _block_points(sweep: "Sweep") -> int:
    kernel = sweep.kernel
    seconds = kernel.updates(1) / kernel.nominal_rate
    by_time = int(BLOCK_SECONDS / seconds)
    by_number = sweep.points // FEWEST_BLOCKS
    by_bytes = BLOCK_BYTES // point_bytes(sweep)
    fewest = max(kernel.batch_size, -(-sweep.points // MOST_BLOCKS))
    return max(min(by_time, by_number, by_bytes), fewest)


def _block_shape(
    shape: Sequence[int], most: int, whole: Collection[int] = (), group: int = 1
) -> tuple[int, ...]:
    """The axes that stay whole, then the last axis as far as it fits, then the one before it."""
    lengths = list(shape)
    points = math.prod(lengths[axis] for axis in whole)
    for axis in reversed(range(len(lengths))):
        if axis in whole:
            continue
        if lengths[axis] * points > most:
            lengths[axis] = _fitting(points, max(1, most // points), group)
        points *= lengths[axis]
    return tuple(lengths)


def _fitting(points: int, most: int, group: int) -> int:
    """How many rows of so many points: of at least half the most, those that fill groups best."""
    return max(
        range(-(-most // 2), most + 1), key=lambda n: (n * points / -(-n * points // group), n)
    )
