"""``merge``: unite stores of parts of one sweep."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.extension import base_of, places_in, take_over
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.status import check_idle
from latticescape.sweeps.store.store import Store, create, open_existing


@dataclass(frozen=True)
class Merged:
    """A store that unites others.

    Attributes
    ----------
    store, digest
        The new store, and the digest of its sweep.
    points, done
        Number of points of the united grid, and of those done.
    copied
        Number of points copied from each store, in order; a point that several stores have is
        copied from the first.
    """

    store: str
    digest: str
    points: int
    done: int
    copied: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """All fields as one flat JSON object."""
        return asdict(self)


def merge(stores: Sequence[StorePath], out: StorePath) -> Merged:
    """Unite stores of parts of one sweep in a new store.

    The grid of the new store has all values of every axis. Its points are copied from the first
    store in which they are done; the others are pending, and ``run`` computes them.

    Parameters
    ----------
    stores
        Two or more folders or URLs of stores whose sweeps differ in the values of their axes only.
    out
        The new store. If the command is interrupted, the same command continues.

    Raises
    ------
    RequestError
        If there is no such store, their sweeps differ, two stores have different results of one
        point, ``out`` holds something else, or a scheduler works on ``out``.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, Sweep, run, square
    >>> folder = tempfile.mkdtemp()
    >>> for name, values in ("a", [2.0, 2.5]), ("b", [3.0]):
    ...     sweep = Sweep(square(4), Ising(), {"T": values}, Schedule(10, 5, 2), seed=1)
    ...     _ = run(sweep, f"{folder}/{name}.zarr")
    >>> merge([f"{folder}/a.zarr", f"{folder}/b.zarr"], f"{folder}/both.zarr").copied
    (2, 1)
    """
    if len(stores) < 2:
        raise RequestError(
            "nothing to merge",
            came=", ".join(map(str, stores)) or "no store",
            allowed="two or more stores",
            hint="latticescape merge runs/a.zarr runs/b.zarr --out runs/both.zarr",
        )
    opened = [Store(store) for store in stores]
    for store in opened:
        store.check_axes()
    sweep = reduce(
        lambda united, store: united.extended(
            {name: values for name, values in store.sweep.grid.items() if name in united.grid}
        ),
        opened[1:],
        opened[0].sweep,
    )
    for path in stores:
        base_of(path, sweep)
    cut = plan(sweep)
    united = open_existing(out, sweep, cut)
    if united is not None:
        check_idle(united)
    _check_agree(opened, sweep)
    united = united or create(out, sweep, cut)
    copied = tuple(take_over(united, store) for store in opened)
    done = int(united.done().sum())
    return Merged(str(out), sweep.digest, sweep.points, done, copied)


def _check_agree(stores: Sequence[Store], sweep: Sweep) -> None:
    """Refuse stores with different results of one point."""
    known, owners = np.zeros(sweep.shape, np.uint64), np.full(sweep.shape, -1)
    for number, store in enumerate(stores):
        there = np.ix_(*places_in(sweep.rows, store.sweep.rows))
        done, checksums = store.done(), store.values("checksum")
        both = done & (owners[there] >= 0)
        differ = both & (known[there] != checksums)
        if differ.any():
            index = np.unravel_index(int(differ.argmax()), differ.shape)
            (point,) = store.sweep.coordinates(tuple(slice(int(i), int(i) + 1) for i in index))
            other = stores[int(owners[there][index])]
            raise RequestError(
                "two stores have different results of one point",
                came=", ".join(f"{name} = {value}" for name, value in point.items())
                + f" in {other.path} and {store.path}",
                allowed="stores that were computed by the same sweep",
                hint=f"latticescape verify {store.path}",
            )
        known[there] = np.where(done, checksums, known[there])
        owners[there] = np.where(done, number, owners[there])
