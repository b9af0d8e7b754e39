"""``verify``: is every point that is marked done still what was computed?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from physics.variables import BOOKKEEPING
from sweeps.checksums import checksums
from sweeps.chunks import DamageError
from sweeps.location import StorePath
from sweeps.plan import Block
from sweeps.store import DONE, Points, Store

MARKS = tuple(variable.name for variable in BOOKKEEPING)


@dataclass(frozen=True)
class Damage:
    """What is wrong in a block.

    Attributes
    ----------
    block
        Its number.
    chunks
        Variables whose chunk cannot be read.
    points
        Numbers within the block of points that are marked done, and are not what was computed.
    """

    block: int
    chunks: tuple[str, ...]
    points: tuple[int, ...]

    @property
    def told(self) -> str:
        """The damage, as a reader wants it."""
        unreadable = f"; cannot read {', '.join(self.chunks)}" if self.chunks else ""
        return f"block {self.block}: {len(self.points)} points are damaged{unreadable}"


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    store
        Where it is.
    points, done
        Points of the sweep, and those that were marked done.
    damages
        What is wrong, block by block.
    """

    store: str
    points: int
    done: int
    damages: tuple[Damage, ...]

    @property
    def damaged(self) -> int:
        """Number of points that are marked done and damaged."""
        return sum(len(damage.points) for damage in self.damages)


def verify(store: StorePath, *, repair: bool = False) -> Verification:
    """Compare all points that are marked done with their checksums, block by block.

    Parameters
    ----------
    store
        The store's folder, or URL. Blocks that are being written meanwhile may seem damaged.
    repair
        Erase what is damaged and make those points pending: the next ``run`` computes them again,
        to the same bits.

    Raises
    ------
    RequestError
        If there is no store of a sweep, or it lost a whole array.

    Examples
    --------
    >>> import tempfile
    >>> from physics import Ising, Schedule, square
    >>> from sweeps import Sweep, run
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> path = tempfile.mkdtemp() + "/ising.zarr"
    >>> ds = run(sweep, path)
    >>> verify(path).damages
    ()
    """
    opened = Store(store)
    done = int(opened.done().sum())
    damages = tuple(_damages(opened))
    if repair:
        for damage in damages:
            _repair(opened, damage)
    return Verification(str(store), opened.sweep.points, done, damages)


def _damages(store: Store) -> Iterator[Damage]:
    for block in store.blocks:
        done = store.states_of(block) == DONE
        chunks, points = _examined(store, block, np.flatnonzero(done))
        if chunks or len(points):
            yield Damage(block.number, chunks, tuple(points.tolist()))


def _examined(store: Store, block: Block, done: Points) -> tuple[tuple[str, ...], Points]:
    """Unreadable chunks of a block, and its damaged points."""
    found, unreadable = {}, []
    names = [variable.name for variable in store.sweep.kernel.variables]
    for name in (*names, *MARKS):
        try:
            found[name] = store.read(name, block)
        except DamageError:
            unreadable.append(name)
    if {*names, "checksum", "state"} & {*unreadable} or not len(done):
        return tuple(unreadable), done
    expected = found["checksum"][done]
    same = checksums({name: found[name][done] for name in names}) == expected
    return tuple(unreadable), done[~same]


def _repair(store: Store, damage: Damage) -> None:
    """Marks go first: nobody must take for done what is being erased."""
    block, points = store.blocks[damage.block], np.array(damage.points, np.intp)
    for name in sorted(damage.chunks, key=lambda name: name not in MARKS):
        store.erase(name, block)
    store.reset(block, points, results=True)
