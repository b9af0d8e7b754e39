"""``Store``: a zarr group with the results, spec and block plan of a sweep, and what is done.

One block is one chunk of every variable, and only one task ever writes it. The done mark is written
last, when everything else is on disk: an existing chunk proves nothing, since a chunk that holds
only fill values is never written.
"""

import errno
import math
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

from latticescape.physics.errors import DamageError, RequestError, shortened
from latticescape.physics.provenance import git_revision, package_digest, versions
from latticescape.physics.store_contents import check_array, check_group, check_store
from latticescape.physics.variables import BOOKKEEPING, EQUILIBRATED, STATES
from latticescape.sweeps.functions.source_digest import Source
from latticescape.sweeps.spec.axes import MAX_POINTS, columns_in, printed
from latticescape.sweeps.spec.plan import (
    Block,
    Plan,
    box_shape,
    coarse_to_fine,
    cut,
    point_bytes,
)
from latticescape.sweeps.store.arrays import (
    DAMAGE,
    canonical,
    checksums,
    empty,
    read_chunks,
    write_chunks,
)
from latticescape.sweeps.store.atomic_write import write_error
from latticescape.sweeps.store.chunk_reading import checked_chunks
from latticescape.sweeps.store.location import Location, StorePath, locate
from latticescape.sweeps.store.object_store import Records, UnreachableError

if TYPE_CHECKING:
    import xarray as xr

    from latticescape.sweeps.spec.sweep import Sweep

_NAN = complex(np.nan, np.nan)
_FILL: dict[str, Any] = {"f": np.nan, "c": _NAN, "i": 0, "u": 0, "b": False, "T": ""}

# Most bytes of a box of blocks: one read of many chunks costs less than many reads of one.
BOX_BYTES = 32 * 2**20

_MARKS = frozenset(variable.name for variable in BOOKKEEPING)

Points = npt.NDArray[np.intp]

PENDING, DONE, FAILED, POISONED = range(len(STATES))


class Store:
    """An existing store, opened for reading and writing blocks.

    Parameters
    ----------
    path
        The store's folder, or URL.
    source
        The user's function, if the sweep is of one and points are to be computed.

    Raises
    ------
    RequestError
        If there is no store at that path, or something else.
    """

    def __init__(self, path: StorePath, source: Source | None = None) -> None:
        self.location, self.source = locate(path), source
        self.path = self.location.path
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self.location.check_exists()
        try:
            check_group(self.location.contents)
            self.group = zarr.open_group(
                self.location.zarr, mode="r", zarr_format=3, use_consolidated=False
            )
            readable = {"spec", "digest", "block_shape", "store_id"} <= set(self.group.attrs)
        except RequestError:
            raise
        except (OSError, ValueError, TypeError, AttributeError):
            readable = False  # the error of zarr depends on what is there instead of a group
        if not readable:
            raise RequestError(
                f"{self.path} is not a store of a sweep",
                allowed="a new path, or a store",
                hint="latticescape run SPEC --store runs/ising.zarr",
            )

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
        whole = isinstance(block_shape, list) and len(block_shape) == len(self.shape)
        if not whole or not all(type(n) is int and n > 0 for n in block_shape):
            raise self._damage("it has no valid block_shape", shortened(block_shape, 80))
        return cut(self.shape, tuple(block_shape))

    @cached_property
    def _ordered(self) -> list[Block]:
        return coarse_to_fine(self.blocks)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        shape = tuple(len(next(iter(columns.values()))) for columns in self.columns.values())
        if math.prod(shape) > MAX_POINTS:
            raise self._damage("it has too many points", shape)
        return shape

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Number of points along each axis of a box of blocks that are read together."""
        first = self.blocks[0]
        most = BOX_BYTES // (point_bytes(self.sweep) * first.points)
        return box_shape(self.shape, first.shape, most)

    @property
    def digest(self) -> str:
        """Digest of the sweep the store was made for."""
        return str(self.group.attrs["digest"])

    @property
    def made_by(self) -> str:
        """The version that made the store."""
        versions: Any = self.group.attrs.get("versions", {})
        return f"latticescape {versions.get('latticescape', 'of an unknown version')}"

    @property
    def identity(self) -> str:
        """Identifier of the store: unlike the digest, different for every store ever created."""
        return str(self.group.attrs["store_id"])

    @cached_property
    def consolidated(self) -> bool:
        """Whether many blocks share a file, so that the store is read-only."""
        return self._opened("done", mode="r").shards is not None

    @property
    def axes(self) -> dict[str, npt.NDArray[Any]]:
        """Values of the swept parameters along their dimensions, as the spec has them."""
        return {n: values for columns in self.columns.values() for n, values in columns.items()}

    @cached_property
    def columns(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """Values of the swept parameters by name, for each dimension of the grid."""
        try:
            return columns_in(str(self.group.attrs["spec"]))
        except (RequestError, KeyError, AttributeError, ValueError, RecursionError) as error:
            raise self._damage("its spec cannot be read", shortened(error, 80)) from None

    def wrong_axes(self) -> list[str]:
        """Axes whose values on disk are not those of the spec."""
        return [
            name
            for name, values in self.axes.items()
            if (stored := self._coordinate(name)) is None or not np.array_equal(stored, values)
        ]

    def _coordinate(self, name: str) -> npt.NDArray[Any] | None:
        try:
            return np.asarray(self._opened(name, mode="r")[...])
        except RequestError:
            raise
        except DAMAGE:
            return None

    def write_axes(self) -> None:
        """Write the values of all axes as the spec has them."""
        for name in self.wrong_axes():
            self._array(name)[...] = self.axes[name]

    def check_axes(self) -> None:
        """Refuse a store whose axes on disk are not those of its spec.

        Raises
        ------
        RequestError
            If a coordinate was changed, or cannot be read.
        """
        wrong = self.wrong_axes()
        if wrong:
            raise RequestError(
                f"the store {self.path} is damaged: the axis {wrong[0]} differs from its spec",
                came=shortened(self._coordinate(wrong[0]), 80),
                allowed=shortened(self.axes[wrong[0]], 80),
                hint=f"latticescape verify {self.path} --repair",
            )

    def check_writable(self) -> None:
        """Refuse to write to a consolidated store.

        Two processes that write blocks of one shard silently overwrite each other's blocks.

        Raises
        ------
        RequestError
            If the store is consolidated.
        """
        if self.consolidated:
            raise RequestError(
                f"the store {self.path} is consolidated and therefore read-only",
                allowed="a store made by run",
                hint="write to the original store, then latticescape consolidate again",
            )

    @property
    def records(self) -> Records:
        """Records of work under way."""
        return self.location.records

    def done(self) -> npt.NDArray[np.bool_]:
        """Which points are done, read anew, in the shape of the grid."""
        return np.asarray(self._marks("done"), bool)

    def states(self) -> npt.NDArray[np.int8]:
        """State of every point, read anew, in the shape of the grid."""
        done = self.done()
        if done.all():  # saves reading the second mark, which has as many files
            return np.full(done.shape, DONE, np.int8)
        return _states(done, self._marks("state"))

    def states_of(self, block: Block) -> npt.NDArray[np.int8]:
        """State of every point of a block, flat."""
        done, state = self._kept(("done", "state"), block)
        return _states(done, state)

    def error_at(self, place: tuple[Any, ...]) -> str:
        """Error of the last attempt at a point of the grid."""
        return str(self._marks("error")[place])

    def pending(self, states: npt.NDArray[np.int8] | None = None) -> list[Block]:
        """Blocks with pending or failed points, coarse to fine; by default of the states stored."""
        open_ = _is_open(self.states() if states is None else states)
        return [block for block in self._ordered if open_[block.region].any()]

    def open_points(self, block: Block) -> npt.NDArray[np.bool_]:
        """Which points of a block are pending or failed, flat."""
        return _is_open(self.states_of(block))

    def check_space(self, block: Block) -> None:
        """Check, before a block is computed, that the disk has space for its results.

        Raises
        ------
        UnwritableError
            If it has not.
        """
        if self.location.free() < block.points * point_bytes(self.sweep):
            raise write_error(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def write(
        self,
        block: Block,
        results: Mapping[str, npt.NDArray[Any]],
        points: Points | None = None,
        *,
        attempts: int | npt.NDArray[np.int32] = 1,
    ) -> None:
        """Write the variables of a block, and its done marks when they are on disk.

        Parameters
        ----------
        block
            The block.
        results
            Every variable of the kernel, points first.
        points
            Numbers of the points within the block; by default all.
        attempts
            How often each point was tried.
        """
        chosen = np.arange(block.points) if points is None else points
        values = {
            variable.name: canonical(results[variable.name], variable.dtype)
            for variable in self.sweep.kernel.variables
        }
        marks = {"state": DONE, "error": "", "checksum": checksums(values)}
        self._put(block, chosen, {**values, **marks})
        # The counter of attempts is written with the done mark: a kill before it leaves no trace.
        self._put(block, chosen, {"attempts": attempts, "done": True})

    def fail(
        self, block: Block, points: Points, error: str, *, state: int = FAILED, attempts: int = 1
    ) -> None:
        """Mark points of a block as failed, or as poisoned."""
        self._put(block, points, {"state": state, "error": error, "attempts": attempts})

    def reset(self, block: Block, points: Points, *, results: bool = False) -> None:
        """Make points of a block pending again; ``results`` erases their results as well."""
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
        (values,) = read_chunks([self._array(name)], block)
        if isinstance(values, DamageError):
            raise values
        return values

    def at(self, name: str, places: Sequence[Points]) -> npt.NDArray[Any]:
        """A variable at the points where these indices along the axes cross, points first.

        Raises
        ------
        DamageError
            If a chunk cannot be read.
        """
        array = self._array(name)
        try:
            values = np.asarray(array.oindex[tuple(places)])
        except UnreachableError:
            raise
        except DAMAGE as error:
            raise DamageError(str(error)) from error
        return values.reshape(-1, *array.shape[len(places) :])

    def erase(self, name: str, block: Block) -> None:
        """Overwrite a block's chunk, which may be damaged, with the fill value."""
        self.check_writable()
        array = self._array(name)
        array[block.region] = array.fill_value

    def chunk(self, name: str, block: Block) -> StorePath:
        """The file of a block's chunk of a variable; absent if it holds nothing but fill values."""
        array = self._array(name)
        place = [start // n for start, n in zip(block.start, array.chunks, strict=False)]
        place += [0] * (array.ndim - len(place))
        return self.location.chunk(f"{name}/{array.metadata.encode_chunk_key(tuple(place))}")

    def _put(self, block: Block, points: Points, values: Mapping[str, Any]) -> None:
        """Write values at points of a block, and flush them; attempts are added."""
        self.check_writable()
        arrays = {name: self._array(name) for name in values}
        # What is kept of a block: its other points, and attempts to add to.
        kept = [
            n for n in values if n in _MARKS and (len(points) < block.points or n == "attempts")
        ]
        chunks = dict(zip(kept, self._kept(kept, block), strict=True))
        for name, array in arrays.items():
            if name not in chunks:
                partial = len(points) < block.points
                chunks[name] = self._required(name, block) if partial else empty(array, block)
            added = chunks[name][points] if name == "attempts" else None
            chunks[name][points] = values[name] if added is None else added + values[name]
        try:
            write_chunks([*arrays.values()], block, [chunks[name] for name in arrays])
            self.location.fsync(self.chunk(name, block) for name in arrays)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _required(self, name: str, block: Block) -> npt.NDArray[Any]:
        """A variable of which only a part is written, so that the rest must be readable."""
        try:
            return self.read(name, block)
        except DamageError as error:
            raise RequestError(
                f"the store {self.path} is damaged: {name} in block {block.number}",
                came=error,
                hint=f"latticescape verify {self.path} --repair",
            ) from error

    def _kept(self, names: Sequence[str], block: Block) -> list[npt.NDArray[Any]]:
        """Marks at every point of a block, flat; an unreadable one counts as never written."""
        arrays = [self._array(name) for name in names]
        return [
            np.full(block.points, array.fill_value, array.dtype)
            if isinstance(chunk, DamageError)
            else chunk
            for array, chunk in zip(arrays, read_chunks(arrays, block), strict=True)
        ]

    def values(self, name: str) -> npt.NDArray[Any]:
        """A variable at every point of the grid, read anew.

        Raises
        ------
        RequestError
            If the store has lost the variable.
        """
        return np.asarray(self._opened(name, mode="r")[...])

    def not_equilibrated(self, states: npt.NDArray[Any]) -> int:
        """How many of the done points are flagged as not equilibrated; 0 if the kernel has no such
        flag, or is not known here."""
        try:
            flags = self._marks(EQUILIBRATED)
        except RequestError:
            return 0
        return int(((states == DONE) & ~flags.astype(bool)).sum())

    def _marks(self, name: str) -> npt.NDArray[Any]:
        """A mark at every point of the grid; an unreadable one counts as never written."""
        try:
            return self.values(name)
        except RequestError:
            raise
        except DAMAGE:
            array = self._opened(name, mode="r")
            marks = np.empty(array.shape, array.dtype)
            for block in self.blocks:
                (kept,) = self._kept((name,), block)
                marks[block.region] = kept.reshape(block.shape)
            return marks

    def arrays(self) -> dict[str, "zarr.Array[Any]"]:
        """All arrays by name, for reading, each checked before zarr opens it.

        Raises
        ------
        RequestError
            If the metadata of one is damaged.
        """
        names = check_store(self.location.contents)
        return {name: self._opened(name, mode="r", shaped=False) for name in names}

    def check_arrays(self) -> None:
        """Refuse a store with a damaged array, before anything is copied from it.

        Raises
        ------
        RequestError
            If the metadata of a variable is damaged, or its shape is not that of the spec.
        """
        for variable in (*self.sweep.kernel.variables, *BOOKKEEPING):
            self._opened(variable.name, mode="r")

    def _array(self, name: str) -> "zarr.Array[Any]":
        if name not in self._arrays:
            self._arrays[name] = self._opened(name, mode="r+")
        return self._arrays[name]

    def _opened(
        self, name: str, mode: Literal["r", "r+"], *, shaped: bool = True
    ) -> "zarr.Array[Any]":
        try:
            check_array(self.location.contents, name)
            with checked_chunks():
                array = zarr.open_array(self.location.zarr, path=name, mode=mode, zarr_format=3)
        except FileNotFoundError:
            raise self._damage(f"it has lost the array {name}") from None
        except RequestError:
            raise
        except (*DAMAGE, KeyError, AttributeError, RecursionError) as error:
            raise self._damage(f"{name}/zarr.json cannot be read", error) from None
        if shaped and array.shape != self._shape_of(name):
            raise self._damage(f"{name} has another shape than its spec", array.shape)
        return array

    def _shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of an array as the spec has it."""
        if name in self.axes:
            return self.axes[name].shape
        if name in _MARKS or name == EQUILIBRATED:
            return self.shape
        kernel = self.sweep.kernel
        dims = next((v.dims for v in kernel.variables if v.name == name), ())
        return (*self.shape, *(kernel.sizes[dim] for dim in dims))

    def _damage(self, what: str, came: object = None) -> RequestError:
        return RequestError(
            f"the store {self.path} is damaged: {what}",
            came=came,
            hint="restore it from a copy, or run with another --store",
        )


def _states(done: npt.NDArray[Any], state: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """States of points; only the done mark decides that a point is done."""
    states = np.where((state == FAILED) | (state == POISONED), state, PENDING)
    return np.where(done, DONE, states).astype(np.int8)


def _is_open(states: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    return np.isin(states, (PENDING, FAILED))


@lru_cache(maxsize=8)
def cached_store(path: str, identity: str, source: Source | None = None) -> Store:
    """A worker's store, kept between blocks; refuses another store at the same path."""
    store = Store(path, source)
    if store.identity != identity:
        raise RequestError(
            f"the store {path} was replaced during the run",
            came=store.identity,
            allowed=identity,
            hint="latticescape run again",
        )
    return store


def open_existing(path: StorePath, sweep: "Sweep", plan: Plan) -> Store | None:
    """The store of a sweep; None if there is none yet and it can be created.

    Raises
    ------
    RequestError
        If the store was made by another spec (the first differing field is named), if something
        else is there, if the disk cannot be written or lacks space, or if the sweep is of a
        function that is not available.
    """
    location, source = locate(path), sweep.source
    if location.is_free():
        location.check_space(plan.bytes)
        return None
    _check_same(Store(path), sweep)
    return Store(path, source)


def create(path: StorePath, sweep: "Sweep", plan: Plan) -> Store:
    """Create an empty store, whole or not at all.

    If two processes create one in a bucket at the same time, both get the same store.

    Raises
    ------
    RequestError
        If it cannot be written, or the other process created it for another spec.
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
        ``feature``; at points not computed yet, values are NaN (counts 0) and ``done`` is False.

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
    opened = Store(path)
    opened.check_axes()
    chunks = dict(zip(opened.columns, opened.box_shape, strict=True))
    return open_dataset(opened.location, chunks=chunks)


def open_dataset(location: Location, *, loaded: bool = False, **options: Any) -> "xr.Dataset":
    """Check what a store holds, and open it with the options of ``xarray.open_zarr``.

    Parameters
    ----------
    location
        Where the store is.
    loaded
        The caller loads all of it into memory, so each of its arrays must fit.
    options
        Keywords of ``xarray.open_zarr``.

    Raises
    ------
    RequestError
        If it holds what latticescape does not write.
    DamageError
        If xarray cannot read it.
    FileNotFoundError
        If there is no group of zarr format 3.
    """
    import xarray as xr  # lazy: slow, and only needed here

    check_store(location.contents, loaded=loaded)
    try:
        with checked_chunks():
            dataset: xr.Dataset = xr.open_zarr(location.zarr, zarr_format=3, **options)
    except (RequestError, DamageError, FileNotFoundError):
        raise
    except Exception as error:  # xarray decodes attributes of any kind
        raise DamageError(str(error)) from error
    return dataset


def first_difference(
    ours: Mapping[str, object], theirs: Mapping[str, object]
) -> tuple[str, object, object] | None:
    """The first field of two descriptions that differs, with both values; None if they are equal.

    Examples
    --------
    >>> first_difference({"seed": 1, "size": 8}, {"seed": 1})
    ('size', 8, '(absent)')
    """
    for pair in zip_longest(ours, theirs):
        for name in (name for name in pair if name is not None):
            here, there = ours.get(name, "(absent)"), theirs.get(name, "(absent)")
            if here != there:
                return name, here, there
    return None


def _check_same(store: Store, sweep: "Sweep") -> None:
    """Refuse the store of another sweep, or one whose axes were changed."""
    problem = f"the store {store.path} was made by another spec"
    ours, theirs = sweep.description, store.sweep.description
    if {n: _printed(v) for n, v in ours.items()} == {n: _printed(v) for n, v in theirs.items()}:
        check_description(store, theirs, theirs, store.sweep.digest, problem)
    else:
        check_description(store, ours, theirs, sweep.digest, problem)
    store.check_axes()


def _printed(value: object) -> object:
    return list(map(printed, value)) if isinstance(value, list) else printed(value)


def check_description(
    store: Store,
    ours: Mapping[str, object],
    theirs: Mapping[str, object],
    digest: str,
    problem: str,
) -> None:
    """Refuse a sweep whose description, or a part of it, differs from that of a store.

    Raises
    ------
    RequestError
        With this problem and the first field that differs; or if another version of this package,
        which computes the sweep otherwise, made the store.
    """
    difference = first_difference(ours, theirs)
    if difference is not None:
        name, here, there = difference
        problem = f"{problem}: {name} differs"
    elif store.digest != digest:
        here, there = digest, store.digest
        problem = f"the store {store.path} was made by {store.made_by}, which computes it otherwise"
    else:
        return
    raise RequestError(
        problem,
        came=f"{shortened(here, 80)} in the spec",
        allowed=f"{shortened(there, 80)} in the store",
        hint="another --store, or the spec the store was made with",
    )


def _write_layout(group: zarr.Group, sweep: "Sweep", plan: Plan) -> None:
    kernel, dims = sweep.kernel, tuple(sweep.grid)
    for variable in (*kernel.variables, *BOOKKEEPING):
        trailing = tuple(kernel.sizes[dim] for dim in variable.dims)
        group.create_array(
            variable.name,
            shape=(*plan.shape, *trailing),
            chunks=(*plan.block_shape, *trailing),
            dtype=variable.dtype,
            fill_value=_FILL[np.dtype(variable.dtype).kind],
            dimension_names=(*dims, *variable.dims),
            attributes=dict(variable.attrs),
        )
    coordinates = {
        name: (dim, values, kernel.axis_attrs(name))
        for dim, columns in sweep.columns.items()
        for name, values in columns.items()
    } | dict(kernel.coordinates)
    for name, (dim, values, attrs) in coordinates.items():
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype=str if values.dtype.kind == "U" else values.dtype,
            dimension_names=(dim,),
            attributes=dict(attrs),
        )
        array[...] = values
    labels = [name for name, (dim, _, _) in coordinates.items() if name != dim]
    group.attrs.update(
        {
            "title": f"latticescape sweep over {', '.join(sweep.axes)}",
            "coordinates": " ".join(labels),
            **kernel.attrs,
            "spec": sweep.to_toml(),
            "digest": sweep.digest,
            "seed": sweep.seed,
            "kernel": f"{kernel.name} {kernel.version}",
            "block_shape": list(plan.block_shape),
            "store_id": uuid.uuid4().hex,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "source_digest": package_digest(),
            "git_revision": git_revision(),
        }
    )


def consolidate_metadata(place: Any) -> None:
    """Collect the metadata of all arrays in one file, which ``xarray.open_zarr`` reads."""
    with warnings.catch_warnings():
        # zarr warns that consolidated metadata is not part of its format 3. It is only a cache, and
        # without it every plain xarray.open_zarr warns its user instead.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(place)
