"""``plan``: cut a sweep into blocks and tell what it costs; ``measure_rate``: measure the rate."""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from latticescape.physics.errors import RequestError, checked_integer
from latticescape.physics.store_contents import MAX_CHUNK_BYTES
from latticescape.physics.variables import BOOKKEEPING, Variable

if TYPE_CHECKING:
    from latticescape.sweeps.spec.sweep import Sweep

# A block is the unit of work and of loss: long enough that scheduling costs little, short enough
# that a killed worker loses little. A block's size changes no result.
BLOCK_SECONDS = 15.0
MAX_BLOCKS = 10_000
MIN_BLOCKS = 16

# There are up to SPREAD_BLOCKS of at least SHORT_SECONDS each, so that the first few show the grid.
SPREAD_BLOCKS, SHORT_SECONDS = 128, 2.0

# A worker holds several copies of a block: as computed, in its order on disk, and compressed.
BLOCK_BYTES = 128 * 2**20


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
    """How a sweep is cut into blocks, and what it costs.

    Attributes
    ----------
    shape, block_shape
        Points along every axis, of the grid and of a block.
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
        Maximum number of points in a block. By default a block takes about 15 s on a slow core, or
        less if that makes few blocks, and at most 128 MiB; there are 16 to 10 000 blocks. It
        changes no bit of the result. Axes whose points a kernel computes together, such as T with
        parallel tempering, are not cut even if that makes a block larger.

    Raises
    ------
    RequestError
        If ``block_points`` is not a whole number above 0, or a block is too large for a chunk.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, Sweep, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5], "H": [0.0, 1, 2]}, Schedule(10, 5, 2))
    >>> cut = plan(sweep, block_points=2)
    >>> cut.points, len(cut.blocks), cut.block_shape
    (6, 4, (1, 2))
    """
    if block_points is None:
        block_points = _default_block_points(sweep)
    problem = "block_points must be a whole number above 0"
    block_points = checked_integer(block_points, 1, 2**63, problem, allowed="1 or more")
    together = {list(sweep.grid).index(name) for name in sweep.kernel.uncut_axes}
    block_shape = _block_shape(sweep.shape, block_points, together, sweep.kernel.batch_size)
    points = math.prod(block_shape)
    size, name = max((points * _bytes_of(v, sweep), v.name) for v in sweep.kernel.variables)
    if size > MAX_CHUNK_BYTES:
        raise RequestError(
            f"{name} of a block is too large for a chunk",
            came=f"{size / 2**20:.0f} MiB in {points} points",
            allowed=f"up to {MAX_CHUNK_BYTES // 2**20} MiB",
            hint="fewer points in a block, or less in keep",
        )
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


def coarse_to_fine(blocks: Sequence[Block]) -> list[Block]:
    """The same blocks in the order of their computation: the first few are spread over the grid.

    The first 2^k are a coarse grid, whose axes are halved in turn, and so on for every k. Numbers
    of blocks stay as they are.

    Examples
    --------
    >>> [block.number for block in coarse_to_fine(cut((8,), (1,)))]
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    starts = np.array([block.start for block in blocks]).T
    indices = [np.unique(column, return_inverse=True)[1] for column in starts]
    depths = [int(index.max()).bit_length() for index in indices]
    halvings = sorted((level, axis) for axis, depth in enumerate(depths) for level in range(depth))
    # The halves of the coarsest halving alternate fastest.
    keys = [indices[axis] >> (depths[axis] - 1 - level) & 1 for level, axis in halvings]
    order = np.lexsort(keys) if keys else range(len(blocks))
    return [blocks[i] for i in order]


def box_shape(shape: tuple[int, ...], block_shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Points along every axis of a box of at least one and at most ``most`` blocks.

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


def _default_block_points(sweep: "Sweep") -> int:
    kernel = sweep.kernel
    seconds = kernel.updates(1) / kernel.nominal_rate
    by_time = int(BLOCK_SECONDS / seconds)
    by_number = sweep.points // MIN_BLOCKS
    by_spread = max(sweep.points // SPREAD_BLOCKS, int(SHORT_SECONDS / seconds))
    by_bytes = BLOCK_BYTES // point_bytes(sweep)
    fewest = max(kernel.batch_size, -(-sweep.points // MAX_BLOCKS))
    return max(min(by_time, by_number, by_spread, by_bytes), fewest)


def _block_shape(
    shape: Sequence[int], most: int, together: Collection[int] = (), group: int = 1
) -> tuple[int, ...]:
    """The axes computed together, then as much as fits of the last axis, then of the one before."""
    lengths = list(shape)
    points = math.prod(lengths[axis] for axis in together)
    for axis in reversed(range(len(lengths))):
        if axis in together:
            continue
        if lengths[axis] * points > most:
            rows = max(1, most // points)
            # Of at least half of the rows that fit, take the number that fills groups best.
            lengths[axis] = max(
                range(-(-rows // 2), rows + 1),
                key=lambda n: (n * points / -(-n * points // group), n),
            )
        points *= lengths[axis]
    return tuple(lengths)


def measure_rate(sweep: "Sweep", *, points: int = 3, seconds: float = 0.3) -> float:
    """Attempted updates per second of one core, from a few short points spread over the grid.

    Parameters
    ----------
    sweep
        The sweep; nothing of it is stored.
    points
        How many points to try, from the first to the last.
    seconds
        About how long to measure; compilation is not counted.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, Sweep, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2))
    >>> measure_rate(sweep, seconds=0.01) > 0
    True
    """
    numbers = np.unique(np.linspace(0, sweep.points - 1, points).round().astype(int))
    corners = np.stack(np.unravel_index(numbers, sweep.shape), axis=-1)
    regions = [tuple(slice(i, i + 1) for i in corner) for corner in corners]
    chosen = [sweep.coordinates(region)[0] for region in regions]
    mcs, updates, elapsed = 1, 0, 0.0
    sweep.kernel.warm_up(sweep.axes)
    _time(sweep, chosen[:1], mcs)  # a function may compile more when it is first called
    while elapsed < seconds and mcs < 10**6:
        updates, elapsed = _time(sweep, chosen, mcs)
        mcs = 2 * mcs if elapsed == 0 else int(mcs * min(16.0, max(1.5, seconds / elapsed)))
    return updates / elapsed


def _time(sweep: "Sweep", points: list[dict[str, Any]], mcs: int) -> tuple[int, float]:
    kernel = sweep.kernel.shortened(mcs)
    if kernel is sweep.kernel:  # the duration of its points is fixed, so repeat them
        points = points * mcs
    axes, seeds = sweep.kernel_inputs(points)
    begin = time.perf_counter()
    kernel.compute(axes, seeds)
    return kernel.updates(len(points)), time.perf_counter() - begin
