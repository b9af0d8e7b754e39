"""``consolidate``: copy a finished store into a few large files, to share and only read."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from latticescape.physics.errors import RequestError
from latticescape.physics.variables import BOOKKEEPING
from latticescape.sweeps.spec.plan import box_shape, cut
from latticescape.sweeps.store.arrays import DAMAGE
from latticescape.sweeps.store.atomic_write import atomic_write, check_parent, fsync, is_free
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.status import Status, status
from latticescape.sweeps.store.store import Store, consolidate_metadata
from latticescape.sweeps.store.verify import verify

# Uncompressed size of a shard: few files of a size that copies well. Consolidating needs a few
# times this memory.
SHARD_BYTES = 128 * 2**20

# How many damaged blocks an error names.
MAX_NAMED = 8


@dataclass(frozen=True)
class Consolidated:
    """A consolidated store.

    Attributes
    ----------
    store, digest
        The new store, and the digest of its sweep.
    points, done
        The number of points of the sweep, and of those done: all, unless ``partial``.
    files, bytes
        The number of files of the new store, and their size.
    """

    store: str
    digest: str
    points: int
    done: int
    files: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """All fields as one flat JSON object."""
        return asdict(self)


def consolidate(store: StorePath, out: StorePath, *, partial: bool = False) -> Consolidated:
    """Copy a finished store into shards: the same arrays and bits in a few files a variable.

    A shard holds many blocks, and two processes that write two of them would overwrite each other:
    the new store can be read, and not be written to.

    Parameters
    ----------
    store
        The finished store, a folder or URL.
    out
        Folder of the new store. It is written whole or not at all: its points are compared with
        their checksums before it gets its name.
    partial
        Accept a store with points that are not done, such as poisoned ones. They are not done in
        the new store either, and cannot be computed there.

    Raises
    ------
    RequestError
        If there is no store, it is damaged, somebody works on it or points are missing; or if
        ``out`` exists or cannot be written.

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
    source, out = Store(store), _check_out(store, out)
    state = status(store)
    _check_finished(state, partial)
    with atomic_write(out) as draft:
        _copy(source, zarr.open_group(draft, mode="w-", zarr_format=3))
        consolidate_metadata(draft)
        checked = verify(draft)
        if checked.axes or checked.damages:
            raise _damaged(source)
        files = [path for path in draft.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        fsync(files, below=draft)
    fsync([out], below=out.parent)
    return Consolidated(str(out), state.digest, state.points, state.done, len(files), size)


def _check_out(store: StorePath, out: StorePath) -> Path:
    """The folder of the new store, checked."""
    if is_url(out):
        raise RequestError(
            "a store can only be consolidated into a folder",
            came=out,
            allowed="a path on a disk",
            hint="latticescape consolidate STORE consolidated.zarr",
        )
    path = Path(out)
    if not is_free(path):
        hint = f"latticescape consolidate {store} another.zarr"
        raise RequestError(f"{path} exists already", allowed="a new path", hint=hint)
    check_parent(path)
    return path


def _check_finished(state: Status, partial: bool) -> None:
    if state.active:
        raise RequestError(
            f"somebody works on the store {state.store}",
            came=state.owner,
            allowed="a store that nobody writes to",
            hint=f"latticescape watch {state.store}, or latticescape cancel {state.store}",
        )
    counts = {name: getattr(state, name) for name in ("pending", "failed", "poisoned")}
    unfinished = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    if unfinished and not partial:
        again = f"retry-failed {state.store}" if state.failed or state.poisoned else "run"
        raise RequestError(
            f"the store {state.store} is not finished",
            came=f"of {state.points} points {unfinished}",
            hint=f"latticescape {again}, or --partial",
        )


def _copy(source: Store, group: zarr.Group) -> None:
    """Copy all arrays of a store into an empty group, a shard at a time."""
    grid = source.sweep.shape
    blocked = {variable.name for variable in (*source.sweep.kernel.variables, *BOOKKEEPING)}
    for name, array in source.arrays().items():
        shards = None
        if name in blocked:  # shards of complete blocks with all their values
            chunk = array.chunks
            per_shard = SHARD_BYTES // (int(np.prod(chunk)) * array.dtype.itemsize)
            box = box_shape(grid, chunk[: len(grid)], per_shard)
            shards = (*box, *chunk[len(grid) :])
        copy = zarr.from_array(
            group.store_path.store,
            data=array,
            name=name,
            write_data=False,
            shards=shards,
            fill_value=array.fill_value,
            attributes=array.attrs.asdict(),
        )
        if shards is None:
            copy[...] = array[...]
            continue
        for part in cut(grid, shards[: len(grid)]):
            try:
                copy[part.region] = np.asarray(array[part.region])
            except DAMAGE:
                raise _damaged(source) from None
    group.attrs.update(source.group.attrs.asdict())


def _damaged(source: Store) -> RequestError:
    """The error for a copy that differs from what was computed."""
    damages = verify(source.path).damages
    if not damages:
        return RequestError(
            f"the copy of the store {source.path} differs from it",
            hint="latticescape consolidate again, to another disk",
        )
    blocks = ", ".join(str(damage.block) for damage in damages[:MAX_NAMED])
    more = ", …" if len(damages) > MAX_NAMED else ""
    return RequestError(
        f"the store {source.path} is damaged",
        came=f"{len(damages)} damaged blocks: {blocks}{more}",
        allowed="a store without damage",
        hint=f"latticescape verify {source.path} --repair, and latticescape run",
    )
