"""``consolidate``: copy a finished store into a few large files, to be shared and only read."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from latticescape.physics.errors import RequestError
from latticescape.physics.variables import BOOKKEEPING
from latticescape.sweeps.execution.status import Status, status
from latticescape.sweeps.spec.plan import Block, box_shape, cut
from latticescape.sweeps.store.atomic_write import check_place, is_free, made_whole
from latticescape.sweeps.store.chunks import DAMAGE
from latticescape.sweeps.store.fsync import flush
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.store import Store, consolidate_metadata
from latticescape.sweeps.store.verify import verify

# A shard before compression: few files, each of a size that copies well, and so much memory a few
# times over is all that packing takes.
SHARD_BYTES = 128 * 2**20

# Of damaged blocks so many are named.
MOST_NAMED = 8


@dataclass(frozen=True)
class Consolidated:
    """What was packed.

    Attributes
    ----------
    store, digest
        The new store, and of which sweep it is.
    points, done
        Points of the sweep, and those that are done: all of them unless asked for a part.
    files, bytes
        Files of the new store, and their size.
    """

    store: str
    digest: str
    points: int
    done: int
    files: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """All of it as one flat JSON object."""
        return asdict(self)


def consolidate(store: StorePath, out: StorePath, *, partial: bool = False) -> Consolidated:
    """Copy a finished store into shards: the same arrays and bits in a few files a variable.

    A shard holds many blocks, and two processes that write two of them destroy each other's: the
    new store can be read, and not be written.

    Parameters
    ----------
    store
        The finished store, a folder or URL.
    out
        Folder of the new one. It is made whole or not at all, and its points are compared with
        their checksums before it gets its name.
    partial
        Pack a store as well that has points which are not done, such as poisoned ones. They are not
        done in the new store either, and cannot be computed there any more.

    Raises
    ------
    RequestError
        If there is no store, it is damaged, somebody works on it or points are missing; or if
        something else is at ``out``, or it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, Sweep, open_sweep, run, square
    >>> folder = tempfile.mkdtemp()
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> ds = run(sweep, f"{folder}/ising.zarr")
    >>> consolidated = consolidate(f"{folder}/ising.zarr", f"{folder}/consolidated.zarr")
    >>> open_sweep(consolidated.store).identical(ds), consolidated.done
    (True, 2)
    """
    source, out = Store(store), _folder(out)
    _check_out(source, out)
    found = status(store)
    _check_finished(found, partial)
    with made_whole(out) as draft:
        _copy(source, zarr.open_group(draft, mode="w-", zarr_format=3))
        consolidate_metadata(draft)
        _check_copy(source, draft)
        files = [path for path in draft.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        flush(files, below=draft)
    flush([out], below=out.parent)
    return Consolidated(str(out), found.digest, found.points, found.done, len(files), size)


def _folder(out: StorePath) -> Path:
    if is_url(out):
        raise RequestError(
            "a store is packed into a folder",
            came=out,
            allowed="a path on a disk",
            hint="latticescape consolidate STORE packed.zarr, and copy that folder into the bucket",
        )
    return Path(out)


def _check_out(source: Store, out: Path) -> None:
    if not is_free(out):
        raise RequestError(
            f"{out} is there already",
            allowed="a new path",
            hint=f"latticescape consolidate {source.path} another.zarr",
        )
    if isinstance(source.path, Path) and source.path.resolve() in out.resolve().parents:
        raise RequestError(
            f"{out} is inside the store that is to be packed",
            came=out,
            allowed="a path outside of it",
            hint=f"latticescape consolidate {source.path} another.zarr",
        )
    check_place(out)


def _check_finished(found: Status, partial: bool) -> None:
    if found.active:
        raise RequestError(
            f"somebody works on the store {found.store}",
            came=found.owner,
            allowed="a store that nobody writes into",
            hint=f"latticescape watch {found.store}, or latticescape cancel {found.store}",
        )
    states = {name: getattr(found, name) for name in ("pending", "failed", "poisoned")}
    told = ", ".join(f"{number} {name}" for name, number in states.items() if number)
    if told and not partial:
        again = f"retry-failed {found.store}" if found.failed or found.poisoned else "run"
        raise RequestError(
            f"the store {found.store} is not finished",
            came=f"of {found.points} points {told}",
            allowed="all points done",
            hint=f"latticescape {again}, or --partial for a copy without these points",
        )


def _copy(source: Store, group: zarr.Group) -> None:
    """All arrays of a store into an empty group, a shard at a time."""
    marks = {variable.name for variable in (*source.sweep.kernel.variables, *BOOKKEEPING)}
    for name, array in source.group.arrays():
        shards = _shards(source, array) if name in marks else None
        copied = zarr.from_array(
            group.store_path.store,
            data=array,
            name=name,
            write_data=False,
            shards=shards,
            fill_value=array.fill_value,
            attributes=array.attrs.asdict(),
        )
        if shards is None:
            copied[...] = array[...]
        else:
            grid = source.sweep.shape
            for box in cut(grid, shards[: len(grid)]):
                copied[box.region] = _read(source, array, box)
    group.attrs.update(source.group.attrs.asdict())


def _shards(source: Store, array: "zarr.Array[Any]") -> tuple[int, ...]:
    """The shape of a variable's shards: whole blocks, of all its values."""
    grid = source.sweep.shape
    chunk = array.chunks
    most = SHARD_BYTES // (int(np.prod(chunk)) * array.dtype.itemsize)
    return (*box_shape(grid, chunk[: len(grid)], most), *chunk[len(grid) :])


def _read(source: Store, array: "zarr.Array[Any]", box: Block) -> npt.NDArray[Any]:
    try:
        return np.asarray(array[box.region])
    except DAMAGE:
        raise _damaged(source) from None


def _check_copy(source: Store, draft: Path) -> None:
    """Compare the copy, as it is on disk, with the checksums that came with it."""
    if verify(draft).damages:
        raise _damaged(source)


def _damaged(source: Store) -> RequestError:
    """Why a copy is not what was computed."""
    damages = verify(source.path).damages
    if not damages:
        return RequestError(
            f"what was read from the store {source.path} or written beside it is not what is there",
            allowed="disks that keep what is written",
            hint="latticescape consolidate once more, to another disk",
        )
    some = ", ".join(str(damage.block) for damage in damages[:MOST_NAMED])
    more = ", …" if len(damages) > MOST_NAMED else ""
    return RequestError(
        f"the store {source.path} is damaged",
        came=f"{len(damages)} damaged blocks: {some}{more}",
        allowed="a whole store",
        hint=f"latticescape verify {source.path} --repair, and latticescape run",
    )
