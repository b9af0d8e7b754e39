"""The store is the job: a zarr group that holds results, spec, plan, and which blocks are done.

One block is one chunk of every variable, and only one task ever writes it. The done mark comes
last, when everything else is on disk: chunks that exist prove nothing, since a chunk of nothing but
fill values is never written.
"""

import errno
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import zarr

from latticescape.physics.errors import RequestError, shortened
from latticescape.physics.variables import BOOKKEEPING, STATES, Variable
from latticescape.sweeps.functions.source import Source
from latticescape.sweeps.spec.plan import Block, Plan, cut, point_bytes
from latticescape.sweeps.store.checksums import canonical, checksums
from latticescape.sweeps.store.chunks import DAMAGE, DamageError, empty, read_chunks, write_chunks
from latticescape.sweeps.store.disk_full import unwritten
from latticescape.sweeps.store.location import Location, StorePath, locate
from latticescape.sweeps.store.object_store import UnreachableError
from latticescape.sweeps.store.provenance import git_revision, source_digest, versions
from latticescape.sweeps.store.read_array import scan
from latticescape.sweeps.store.records import Notes

if TYPE_CHECKING:
    import xarray as xr

    from latticescape.sweeps.spec.sweep import Sweep

_NAN = complex(np.nan, np.nan)
_FILL: dict[str, Any] = {"f": np.nan, "c": _NAN, "i": 0, "u": 0, "b": False, "T": ""}

_MARKS = frozenset(variable.name for variable in BOOKKEEPING)

Points = npt.NDArray[np.intp]

PENDING, DONE, FAILED, POISONED = range(len(STATES))


class Store:
    """An existing store, opened for reading and writing blocks.

    Parameters
    ----------
    path
        Its folder, or URL.
    source
        The user's function, where the sweep is of one and points are to be computed.

    Raises
    ------
    RequestError
        If there is no store at that path, or it is something else.
    """

    def __init__(self, path: StorePath, source: Source | None = None) -> None:
        self.location, self.source = locate(path), source
        self.path = self.location.path
        self.group = _open_group(self.location)
        self._arrays: dict[str, zarr.Array[Any]] = {}

    @cached_property
    def sweep(self) -> "Sweep":
        """The sweep the store was made for."""
        from latticescape.sweeps.spec.sweep import Sweep  # lazy: status needs no models

        try:
            return Sweep.from_toml(str(self.group.attrs["spec"])).with_source(self.source)
        except RequestError as error:
            raise error.within(f"the spec in the store {self.path}") from None

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks the store is cut into."""
        block_shape: Any = self.group.attrs["block_shape"]
        return cut(self.shape, tuple(int(n) for n in block_shape))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        return self._opened("done", mode="r").shape

    @property
    def digest(self) -> str:
        """Digest of the sweep the store was made for."""
        return str(self.group.attrs["digest"])

    @property
    def identity(self) -> str:
        """Unlike the digest, different for every store ever created."""
        return str(self.group.attrs["store_id"])

    @cached_property
    def consolidated(self) -> bool:
        """Whether many blocks share a file, so that none can be written."""
        return self._opened("done", mode="r").shards is not None

    def check_writable(self) -> None:
        """Refuse to write into a consolidated store.

        Two processes that write blocks of one shard destroy each other's, and nobody is told.

        Raises
        ------
        RequestError
            If the store is consolidated.
        """
        if self.consolidated:
            raise RequestError(
                f"the store {self.path} is consolidated and therefore read-only",
                allowed="a store that run has made",
                hint="write to the original store, then latticescape consolidate again",
            )

    @property
    def notes(self) -> Notes:
        """Notes about work under way."""
        return self.location.notes

    def done(self) -> npt.NDArray[np.bool_]:
        """Which points are done, read anew, in the shape of the grid."""
        return np.asarray(self._marks("done"), bool)

    def states(self) -> npt.NDArray[np.int8]:
        """State of every point, read anew, in the shape of the grid."""
        done = self.done()
        if done.all():  # a finished store is known by half of its marks, of which each has its file
            return np.full(done.shape, DONE, np.int8)
        return _settled(done, self._marks("state"))

    def states_of(self, block: Block) -> npt.NDArray[np.int8]:
        """State of every point of a block, flat."""
        done, state = self._kept(("done", "state"), block)
        return _settled(done, state)

    def error_at(self, place: tuple[Any, ...]) -> str:
        """Error of the last attempt at a point of the grid."""
        return str(self._marks("error")[place])

    def pending(self, states: npt.NDArray[np.int8] | None = None) -> list[Block]:
        """Blocks with points to compute, in order: pending ones, and failed ones once more.

        States are read anew, if they are not given.
        """
        open_ = _is_open(self.states() if states is None else states)
        return [block for block in self.blocks if open_[block.region].any()]

    def open_points(self, block: Block) -> npt.NDArray[np.bool_]:
        """Which points of a block are to be computed, flat."""
        return _is_open(self.states_of(block))

    def check_room(self, block: Block) -> None:
        """Make sure that a block's results find space, before they are computed.

        Raises
        ------
        DiskFullError
            If they do not.
        """
        if self.location.free() < block.points * point_bytes(self.sweep):
            raise unwritten(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def write(
        self,
        block: Block,
        results: Mapping[str, npt.NDArray[Any]],
        points: Points | None = None,
        *,
        attempts: int | npt.NDArray[np.int32] = 1,
    ) -> None:
        """Write variables of a block, points first, and when they are on disk its done marks.

        Parameters
        ----------
        block
            The block.
        results
            Every variable of the kernel.
        points
            Numbers of the points within the block; all of them by default.
        attempts
            How often each was tried to get there.
        """
        chosen = np.arange(block.points) if points is None else points
        values = {
            variable.name: canonical(results[variable.name], variable.dtype)
            for variable in self.sweep.kernel.variables
        }
        marks = {"state": DONE, "error": "", "checksum": checksums(values)}
        self._put(block, chosen, {**values, **marks})
        # An attempt counts with its done mark: one that a kill ended before leaves no trace.
        self._put(block, chosen, {**self._attempted(block, chosen, attempts), "done": True})

    def fail(
        self, block: Block, points: Points, error: str, *, state: int = FAILED, attempts: int = 1
    ) -> None:
        """Mark points of a block as failed, or as poisoned."""
        marks = {"state": state, "error": error}
        self._put(block, points, {**marks, **self._attempted(block, points, attempts)})

    def reset(self, block: Block, points: Points, *, results: bool = False) -> None:
        """Make points of a block pending again; what there is of results is erased if asked for."""
        self._put(block, points, {"done": False})
        marks = {"state": PENDING, "error": "", "checksum": 0}
        variables = self.sweep.kernel.variables if results else ()
        erased = {v.name: _FILL[np.dtype(v.dtype).kind] for v in variables}
        self._put(block, points, {**marks, **erased})

    def read(self, name: str, block: Block) -> npt.NDArray[Any]:
        """A variable at a block's points, points first.

        Raises
        ------
        DamageError
            If its chunk cannot be read.
        """
        array = self._array(name)
        (found,) = read_chunks([array], block)
        if isinstance(found, DamageError):
            raise found
        return found

    def at(self, name: str, places: Sequence[Points]) -> npt.NDArray[Any]:
        """A variable where these places of the axes cross, points first.

        Raises
        ------
        DamageError
            If a chunk cannot be read.
        """
        array = self._array(name)
        try:
            found = np.asarray(array.oindex[tuple(places)])
        except UnreachableError:
            raise
        except DAMAGE as error:
            raise DamageError(str(error)) from error
        return found.reshape(-1, *array.shape[len(places) :])

    def erase(self, name: str, block: Block) -> None:
        """Put the fill value in place of a block's chunk, which may be damaged."""
        self.check_writable()
        array = self._array(name)
        array[block.region] = array.fill_value

    def chunk(self, name: str, block: Block) -> StorePath:
        """The file of a block's chunk of a variable; absent if it holds nothing but fill values."""
        array = self._array(name)
        place = [start // n for start, n in zip(block.start, array.chunks, strict=False)]
        place += [0] * (array.ndim - len(place))
        return self.location.chunk(f"{name}/{array.metadata.encode_chunk_key(tuple(place))}")

    def _attempted(
        self, block: Block, points: Points, times: int | npt.NDArray[np.int32]
    ) -> dict[str, Any]:
        (attempts,) = self._kept(("attempts",), block)
        return {"attempts": attempts[points] + times}

    def _put(self, block: Block, points: Points, values: Mapping[str, Any]) -> None:
        """Write values at points of a block, and flush them."""
        self.check_writable()
        wholes = self._beside(list(values), block, len(points))
        for whole, some in zip(wholes, values.values(), strict=True):
            whole[points] = some
        arrays = [self._array(name) for name in values]
        try:
            write_chunks(arrays, block, wholes)
            self.location.flush(self.chunk(name, block) for name in values)
        except OSError as error:
            raise unwritten(self.path, error) from error

    def _beside(self, names: Sequence[str], block: Block, points: int) -> list[npt.NDArray[Any]]:
        """What a block holds of variables, to write so many points into it."""
        if points == block.points:
            return [empty(self._array(name), block) for name in names]
        marks = [name for name in names if name in _MARKS]
        found = dict(zip(marks, self._kept(marks, block), strict=True))
        return [found[name] if name in found else self._whole(name, block) for name in names]

    def _whole(self, name: str, block: Block) -> npt.NDArray[Any]:
        """A variable of which a part is to be written, which must not lose the rest."""
        try:
            return self.read(name, block)
        except DamageError as error:
            raise RequestError(
                f"the store {self.path} is damaged: {name} in block {block.number}",
                came=error,
                hint=f"latticescape verify {self.path} --repair",
            ) from error

    def _kept(self, names: Sequence[str], block: Block) -> list[npt.NDArray[Any]]:
        """Marks at every point of a block, flat; what cannot be read is as if never written."""
        arrays = [self._array(name) for name in names]
        return [
            np.full(block.points, array.fill_value, array.dtype)
            if isinstance(found, DamageError)
            else found
            for array, found in zip(arrays, read_chunks(arrays, block), strict=True)
        ]

    def whole(self, name: str) -> npt.NDArray[Any]:
        """A variable at every point of the grid, read anew.

        Raises
        ------
        RequestError
            If the store has lost it.
        """
        return scan(self._opened(name, mode="r"), self.location.chunk(name))

    def _marks(self, name: str) -> npt.NDArray[Any]:
        """A mark at every point of the grid."""
        array = self._opened(name, mode="r")
        try:
            return self.whole(name)
        except DAMAGE:
            found = np.empty(array.shape, array.dtype)
            for block in self.blocks:
                (kept,) = self._kept((name,), block)
                found[block.region] = kept.reshape(block.shape)
            return found

    def _array(self, name: str) -> "zarr.Array[Any]":
        if name not in self._arrays:
            self._arrays[name] = self._opened(name, mode="r+")
        return self._arrays[name]

    def _opened(self, name: str, mode: Literal["r", "r+"]) -> "zarr.Array[Any]":
        try:
            return zarr.open_array(self.location.zarr, path=name, mode=mode)
        except FileNotFoundError:
            raise RequestError(
                f"the store {self.path} is damaged: it has lost the array {name}",
                allowed="a whole store",
                hint="a copy of it, or latticescape run with another --store",
            ) from None


def _settled(done: npt.NDArray[Any], state: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """States, where the done mark counts and nothing else says that a point is done."""
    found = np.where((state == FAILED) | (state == POISONED), state, PENDING)
    return np.where(done, DONE, found).astype(np.int8)


def _is_open(states: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    return np.isin(states, (PENDING, FAILED))


@lru_cache(maxsize=8)
def cached_store(path: str, identity: str, source: Source | None = None) -> Store:
    """A worker's handle on a store, kept between blocks; refuses another store at that path."""
    store = Store(path, source)
    if store.identity != identity:
        raise RequestError(
            f"the store {path} was replaced while the sweep ran",
            came=store.identity,
            allowed=identity,
            hint="latticescape run once more",
        )
    return store


def open_existing(path: StorePath, sweep: "Sweep", plan: Plan) -> Store | None:
    """The store of a sweep if there is one; None where it can be created.

    Raises
    ------
    RequestError
        If the store there was made by another spec (the first differing field is named), if
        something else is there, if the place cannot be written or lacks the space, or if the
        sweep is of a function that is not at hand.
    """
    location, source = locate(path), sweep.source
    if location.is_free():
        location.check_room(plan.bytes)
        return None
    _check_same(Store(path), sweep)
    return Store(path, source)


def create(path: StorePath, sweep: "Sweep", plan: Plan) -> Store:
    """Create an empty store, whole or not at all.

    In a bucket two processes may do so at the same time: the store is that of one of them.

    Raises
    ------
    RequestError
        If it cannot be written, or the other process made it of another spec.
    """

    def write(place: Any) -> None:
        _write_layout(zarr.open_group(place, mode="w-", zarr_format=3), sweep, plan)
        consolidate_metadata(place)

    locate(path).create(write)
    _check_same(Store(path), sweep)
    return Store(path, sweep.source)


def open_sweep(path: StorePath) -> "xr.Dataset":
    """Open a store as a lazy Dataset; ``xarray.open_zarr`` alone reads the same.

    Parameters
    ----------
    path
        The store's folder, or URL.

    Returns
    -------
    Dataset
        Dims are the swept axes in order, then ``replica``, ``configuration``, ``moment``,
        ``feature``; points not computed yet are NaN (counts: 0) and ``done`` is False there.

    Raises
    ------
    RequestError
        If there is no store of a sweep.

    Examples
    --------
    >>> open_sweep("nowhere.zarr")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store at nowhere.zarr ...
    """
    import xarray as xr  # lazy: slow, and only needed here

    dataset: xr.Dataset = xr.open_zarr(Store(path).location.zarr)
    return dataset


def _open_group(location: Location) -> zarr.Group:
    location.check_there()
    try:
        group = zarr.open_group(location.zarr, mode="r", use_consolidated=False)
        readable = {"spec", "digest", "block_shape", "store_id"} <= set(group.attrs)
    except UnreachableError:
        raise
    except (OSError, ValueError, TypeError, AttributeError):
        readable = False  # zarr's error depends on what stands there in place of a group
    if not readable:
        raise RequestError(
            f"{location.path} is no store of a sweep",
            allowed="a new path, or a store",
            hint="latticescape run SPEC --store runs/ising.zarr",
        )
    return group


def _check_same(store: Store, sweep: "Sweep") -> None:
    """Refuse the store of another sweep."""
    if store.sweep.digest == sweep.digest == store.group.attrs["digest"]:
        return
    theirs, ours = store.sweep.description, sweep.description
    fields = [name for pair in zip_longest(ours, theirs) for name in pair if name is not None]
    for name in fields:
        there, here = theirs.get(name, "(absent)"), ours.get(name, "(absent)")
        if there != here:
            problem = f"the store {store.path} was made by another spec: {name} differs"
            break
    else:
        there, here = store.group.attrs["digest"], sweep.digest
        problem = f"the store {store.path} was made by another version of the program"
    raise RequestError(
        problem,
        came=f"{shortened(here, 80)} in the spec",
        allowed=f"{shortened(there, 80)} in the store",
        hint="another --store, or the spec the store was made with",
    )


def _write_layout(group: zarr.Group, sweep: "Sweep", plan: Plan) -> None:
    kernel, dims = sweep.kernel, tuple(sweep.axes)
    for variable in (*kernel.variables, *BOOKKEEPING):
        _create_variable(group, variable, dims, kernel.sizes, plan)
    for name, values in sweep.axes.items():
        _create_coordinate(group, name, name, values, kernel.axis_attrs(name))
    for name, (dim, coordinate, attrs) in kernel.coordinates.items():
        _create_coordinate(group, name, dim, coordinate, attrs)
    group.attrs.update(_attributes(sweep, plan))


def _create_variable(
    group: zarr.Group,
    variable: Variable,
    axes: tuple[str, ...],
    sizes: Mapping[str, int],
    plan: Plan,
) -> None:
    trailing = tuple(sizes[dim] for dim in variable.dims)
    group.create_array(
        variable.name,
        shape=(*plan.shape, *trailing),
        chunks=(*plan.block_shape, *trailing),
        dtype=variable.dtype,
        fill_value=_FILL[np.dtype(variable.dtype).kind],
        dimension_names=(*axes, *variable.dims),
        attributes=dict(variable.attrs),
    )


def _create_coordinate(
    group: zarr.Group, name: str, dim: str, values: npt.NDArray[Any], attrs: dict[str, str]
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=str if values.dtype.kind == "U" else values.dtype,
        dimension_names=(dim,),
        attributes=dict(attrs),
    )
    array[...] = values


def _attributes(sweep: "Sweep", plan: Plan) -> dict[str, Any]:
    beside = [n for n, (dim, _, _) in sweep.kernel.coordinates.items() if n != dim]
    return {
        "title": f"latticescape sweep over {', '.join(sweep.axes)}",
        "coordinates": " ".join(beside),
        **sweep.kernel.attrs,
        "spec": sweep.to_toml(),
        "digest": sweep.digest,
        "seed": sweep.seed,
        "kernel": f"{sweep.kernel.name} {sweep.kernel.version}",
        "block_shape": list(plan.block_shape),
        "store_id": uuid.uuid4().hex,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "source_digest": source_digest(),
        "git_revision": git_revision(),
    }


def consolidate_metadata(place: Any) -> None:
    """Gather the metadata of all arrays in one file, where ``xarray.open_zarr`` looks for it."""
    with warnings.catch_warnings():
        # zarr warns that consolidated metadata is not in its format-3 specification; it is only a
        # cache, and without it every plain xarray.open_zarr warns its user instead.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(place)
