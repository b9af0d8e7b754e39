"""``verify``: compare finished points with their checksums, and the axes with the spec."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from latticescape.physics.errors import DamageError
from latticescape.physics.variables import BOOKKEEPING
from latticescape.sweeps.spec.plan import Block, cut
from latticescape.sweeps.store.arrays import checksums
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import DONE, Points, Store

MARKS = tuple(variable.name for variable in BOOKKEEPING)


@dataclass(frozen=True)
class Damage:
    """The damage of a block.

    Attributes
    ----------
    block
        Number of the block.
    chunks
        Variables whose chunk cannot be read.
    points
        Numbers within the block of points that are marked done and do not match their checksum.
    """

    block: int
    chunks: tuple[str, ...]
    points: tuple[int, ...]

    def __str__(self) -> str:
        unreadable = f"; cannot read {', '.join(self.chunks)}" if self.chunks else ""
        return f"block {self.block}: {len(self.points)} points are damaged{unreadable}"


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes
    ----------
    store
        The store.
    points, done
        The number of points of the sweep, and of those marked done.
    axes
        Axes whose values on disk are not those of the spec.
    damages
        The damage, block by block.
    hint
        What to type to repair it.
    """

    store: str
    points: int
    done: int
    axes: tuple[str, ...]
    damages: tuple[Damage, ...]
    hint: str

    @property
    def damaged(self) -> int:
        """Number of points that are marked done and damaged."""
        return sum(len(damage.points) for damage in self.damages)


def verify(store: StorePath, *, repair: bool = False) -> Verification:
    """Compare all points that are marked done with their checksums, and the axes with the spec.

    Parameters
    ----------
    store
        The store's folder, or URL. Blocks that are written meanwhile may seem damaged.
    repair
        Erase damaged points and make them pending: the next ``run`` computes them again, to the
        same bits. Axes are written again as the spec has them.

    Raises
    ------
    RequestError
        If there is no store of a sweep, it lacks an array, or ``repair`` is asked for a
        consolidated store.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, Sweep, run, square
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> path = tempfile.mkdtemp() + "/ising.zarr"
    >>> ds = run(sweep, path)
    >>> verify(path).damages
    ()
    """
    opened = Store(store)
    axes = tuple(opened.wrong_axes())
    done = int(opened.done().sum())
    damages = tuple(sorted(_damages(opened), key=lambda damage: damage.block))
    if repair and (axes or damages):
        opened.check_writable()
        opened.write_axes()
        for damage in damages:
            # The marks first, so that no reader takes erased points for done.
            block = opened.blocks[damage.block]
            for name in sorted(damage.chunks, key=lambda name: name not in MARKS):
                opened.erase(name, block)
            opened.reset(block, np.array(damage.points, np.intp), results=True)
    hint = f"latticescape verify {store} --repair"
    if opened.consolidated:
        hint = "latticescape consolidate again, from the original store"
    return Verification(str(store), opened.sweep.points, done, axes, damages, hint)


def _damages(store: Store) -> Iterator[Damage]:
    """Check box by box, and the blocks of a box only if the box is damaged."""
    for box, blocks in _boxes(store):
        if any(map(len, _damage_of(store, box))):
            for block in blocks:
                chunks, points = _damage_of(store, block)
                if chunks or len(points):
                    yield Damage(block.number, chunks, tuple(points.tolist()))


def _boxes(store: Store) -> Iterator[tuple[Block, list[Block]]]:
    """Boxes of blocks that fit into memory, each with its blocks, in order."""
    shape = store.box_shape
    boxes, inside = cut(store.shape, shape), defaultdict[tuple[int, ...], list[Block]](list)
    for block in store.blocks:
        inside[tuple(a - a % n for a, n in zip(block.start, shape, strict=True))].append(block)
    return ((box, inside[box.start]) for box in boxes)


def _damage_of(store: Store, block: Block) -> tuple[tuple[str, ...], Points]:
    """Unreadable variables of a block or box, and its damaged points."""
    done = np.flatnonzero(store.states_of(block) == DONE)
    values, unreadable = {}, []
    names = [variable.name for variable in store.sweep.kernel.variables]
    for name in (*names, *MARKS):
        try:
            values[name] = store.read(name, block)
        except DamageError:
            unreadable.append(name)
    if {*names, "checksum", "state"} & {*unreadable} or not len(done):
        return tuple(unreadable), done
    expected = values["checksum"][done]
    same = checksums({name: values[name][done] for name in names}) == expected
    return tuple(unreadable), done[~same]
