"""What a store may hold, checked before zarr reads it: a store may come from a stranger.

zarr imports and calls the codec and data type that a store names, among them ``pickle``, which runs
code. So the metadata is read here first, as JSON, and only what latticescape and xarray write is
allowed: zarr format 3, numbers and texts, compression by zstd, and regular files inside the folder.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latticescape.physics.errors import DamageError, RequestError, shortened

ROOT = "zarr.json"

# The attribute of a group that a command derived from sweeps or images: what it is.
DERIVED = "latticescape"

# Compressors take at most 2^31 bytes.
MAX_CHUNK_BYTES = 2**31 - 2**20

# The metadata of a sweep of ten million points holds its axes, and takes some megabytes.
MAX_METADATA_BYTES = 64 * 2**20

MAX_SIZE = 2**48

# Chunks up to this size are read whatever the shape of their array is.
SMALL_BYTES = 2**20

# Longest text, on the average of a chunk: errors are cut to less.
MAX_TEXT_BYTES = 4096

Whole = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
Number = Whole | Literal["bool", "float16", "float32", "float64", "complex64", "complex128"]
ALLOWED = "zarr format 3 with numbers and texts, compressed by zstd, as latticescape writes it"

Count = Annotated[int, Field(ge=0, le=MAX_SIZE)]
Length = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextType(_Part):
    """A text of fixed length, as zarr writes that of numpy."""

    name: Literal["fixed_length_utf32"]
    configuration: dict[Literal["length_bytes"], Count]

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return self.configuration["length_bytes"]


class ChunkShape(_Part):
    """The shape of a chunk."""

    chunk_shape: tuple[Length, ...]


class PlainConfiguration(_Part):
    """The configuration of a codec that holds no other."""

    endian: str | None = None
    level: int | None = None
    checksum: bool | None = None


class PlainCodec(_Part):
    """A codec that runs no code of the store."""

    name: Literal["bytes", "zstd", "vlen-utf8", "crc32c"]
    configuration: PlainConfiguration = PlainConfiguration()


class ShardConfiguration(ChunkShape):
    """The chunks within a shard, and the codecs of these and of their index."""

    codecs: tuple["Codec", ...]
    index_codecs: tuple["Codec", ...]
    index_location: Literal["start", "end"] = "end"


class ShardCodec(_Part):
    """The codec of several chunks in one file."""

    name: Literal["sharding_indexed"]
    configuration: ShardConfiguration


Codec = Annotated[PlainCodec | ShardCodec, Field(discriminator="name")]


class Grid(_Part):
    """A regular grid of chunks."""

    name: Literal["regular"]
    configuration: ChunkShape


class Separator(_Part):
    """What separates the indices of a chunk in its name."""

    separator: Literal["/", "."] = "/"


class KeyEncoding(_Part):
    """How chunks are named."""

    name: Literal["default"]
    configuration: Separator = Separator()


class ArrayMetadata(_Part):
    """The metadata of an array."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: tuple[Count, ...]
    data_type: Number | Literal["string"] | TextType
    chunk_grid: Grid
    chunk_key_encoding: KeyEncoding
    fill_value: Any
    codecs: tuple[Codec, ...]
    attributes: dict[str, Any] = {}
    dimension_names: tuple[str | None, ...] | None = None
    storage_transformers: tuple[()] = ()
    consolidated_metadata: None = None

    @property
    def itemsize(self) -> int:
        """Bytes of a value; those of a text of any length are not known."""
        if isinstance(self.data_type, TextType):
            return self.data_type.itemsize
        return 1 if self.data_type == "string" else np.dtype(self.data_type).itemsize

    @model_validator(mode="after")
    def _check(self) -> Self:
        grid, dims = self.chunk_grid.configuration, self.dimension_names
        for codec in self.codecs:
            read = codec.configuration if isinstance(codec, ShardCodec) else grid
            size = math.prod(read.chunk_shape) * self.itemsize
            whole = math.prod(self.shape) * self.itemsize
            if size > min(MAX_CHUNK_BYTES, max(SMALL_BYTES, whole)):
                raise ValueError(f"chunks of {size} bytes in an array of {whole} bytes")
        lengths = {
            len(self.shape),
            len(grid.chunk_shape),
            len(self.shape if dims is None else dims),
        }
        if len(lengths) > 1:
            raise ValueError("shape, chunks and dimensions of different lengths")
        return self


class GroupMetadata(_Part):
    """The metadata of a group, perhaps with that of all its members."""

    zarr_format: Literal[3]
    node_type: Literal["group"]
    attributes: dict[str, Any] = {}
    consolidated_metadata: "Consolidated | None" = None


class Consolidated(_Part):
    """A copy of the metadata of all members of a group."""

    kind: Literal["inline"]
    must_understand: Literal[False]
    metadata: dict[str, Annotated[ArrayMetadata | GroupMetadata, Field(discriminator="node_type")]]


class Bucket(Protocol):
    """Objects in an object storage."""

    @property
    def url(self) -> str:
        """Where it is."""

    def read(self, key: str) -> bytes | None:
        """An object; None if it does not exist."""

    def names(self, folder: str = "") -> list[str]:
        """Names of the objects in a folder, and of its folders with a slash at the end."""


# Where a store is.
Place = Path | Bucket

Node = TypeVar("Node", bound=BaseModel)


def check_store(place: Place, *, loaded: bool = False) -> list[str]:
    """Check the metadata and files of a whole store, before zarr or xarray opens it.

    Parameters
    ----------
    place
        The store's folder, or its objects.
    loaded
        The store is loaded into memory, so each of its arrays must fit, and have no shards.

    Returns
    -------
    list of str
        Names of its arrays.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no group of zarr format 3.
    RequestError
        As :func:`check_group` and :func:`check_array`.

    Examples
    --------
    >>> import tempfile, zarr
    >>> folder = Path(tempfile.mkdtemp())
    >>> group = zarr.open_group(folder, mode="w")
    >>> array = group.create_array("n", shape=(2,), dtype="int64")
    >>> check_store(folder)
    ['n']
    >>> (folder / "n" / "link").symlink_to("/etc/passwd")
    >>> check_store(folder)
    Traceback (most recent call last):
    ...
    latticescape.RequestError: ... holds what latticescape does not write, so it is not opened ...
    """
    copies = check_group(place)
    names = [*copies] or _arrays(place)
    for name in names:
        try:
            array = check_array(place, name, loaded=loaded)
        except FileNotFoundError:
            raise _refused(place, f"{name}, whose metadata is missing") from None
        if array != copies.get(name, array):
            raise _refused(place, f"{name}, whose metadata differ from their copy in {ROOT}")
        if loaded:
            _check_frames(place, name, array)
    return names


def check_group(place: Place) -> dict[str, ArrayMetadata]:
    """Check the metadata of a group, before zarr reads it.

    Returns
    -------
    dict
        The copy of the metadata of its arrays, if it has one.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no group of zarr format 3.
    RequestError
        If its metadata names something else than what latticescape writes.
    """
    node = _read(place, "", GroupMetadata)
    members = {} if node.consolidated_metadata is None else node.consolidated_metadata.metadata
    for name in members:
        _check_name(place, name)
    return {name: array for name, array in members.items() if isinstance(array, ArrayMetadata)}


def check_array(place: Place, name: str, *, loaded: bool = False) -> ArrayMetadata:
    """Check the metadata and files of an array, before zarr reads it; see :func:`check_store`.

    Raises
    ------
    FileNotFoundError
        If there is no such array.
    RequestError
        If its metadata names something else than what latticescape writes, or a file of it is a
        link or a device.
    """
    _check_name(place, name)
    if isinstance(place, Path):
        for entry in _irregular(place / name):
            raise _refused(place, f"{entry}, which is not a regular file")
    array = _read(place, name, ArrayMetadata)
    size = math.prod(array.shape) * array.itemsize
    if loaded and size > MAX_CHUNK_BYTES:
        raise _refused(place, f"{name} of {size} bytes")
    return array


def check_frame(frame: bytes, most: int) -> None:
    """Refuse a chunk whose frame of zstd says that it becomes more than the chunk holds.

    Parameters
    ----------
    frame
        The frame (RFC 8878), of which the first 18 bytes are read.
    most
        Bytes of the chunk's values. Checksums and the index of a shard come on top, so twice as
        many and 64 KiB are allowed.

    Raises
    ------
    DamageError
        If it says more, or does not say it.

    Examples
    --------
    >>> from numcodecs.zstd import Zstd
    >>> check_frame(Zstd().encode(bytes(10**6)), most=10**6)
    >>> check_frame(Zstd().encode(bytes(10**6)), most=1000)
    Traceback (most recent call last):
    ...
    latticescape.physics.errors.DamageError: a compressed chunk becomes 1000000 bytes, ...
    """
    size = _frame_size(frame)
    if size is None:
        raise DamageError("a compressed chunk does not say how large it is")
    if size > 2 * most + 2**16:
        raise DamageError(f"a compressed chunk becomes {size} bytes, its values take {most}")


def _frame_size(frame: bytes) -> int | None:
    """How many bytes a frame of zstd becomes, as it says; None if it does not say it."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    length = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    field = frame[start : start + length]
    if not length or len(field) < length:
        return None
    return int.from_bytes(field, "little") + (256 if length == 2 else 0)


def _check_frames(place: Place, name: str, array: ArrayMetadata) -> None:
    """Check all chunks of an array, which any reader may load then."""
    if any(isinstance(codec, ShardCodec) for codec in array.codecs):
        raise _refused(place, f"{name}, which has shards")
    if "zstd" not in {codec.name for codec in array.codecs} or not isinstance(place, Path):
        return
    itemsize = MAX_TEXT_BYTES if array.data_type == "string" else array.itemsize
    most = math.prod(array.chunk_grid.configuration.chunk_shape) * itemsize
    for path in (place / name).rglob("*"):
        if path.is_file() and path.name != ROOT:
            with path.open("rb") as file:
                try:
                    check_frame(file.read(18), most)
                except DamageError as error:
                    raise _refused(place, f"{path}: {error}") from None


def _arrays(place: Place) -> list[str]:
    """Names of the arrays of a group that has no copy of their metadata."""
    if isinstance(place, Path):
        return sorted(path.parent.name for path in place.glob(f"*/{ROOT}"))
    folders = [name.rstrip("/") for name in place.names() if name.endswith("/")]
    return [name for name in folders if place.read(f"{name}/{ROOT}") is not None]


def _read(place: Place, name: str, model: type[Node]) -> Node:
    key = f"{name}/{ROOT}" if name else ROOT
    try:
        return model.model_validate_json(_text(place, key))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not (name or first["loc"]):
            raise ValueError(f"{key} does not hold a JSON object") from None
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise _refused(place, f"{key}, {where}: {first['msg']}") from None


def _text(place: Place, key: str) -> bytes:
    if isinstance(place, Path):
        path = place / key
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise _refused(place, f"{path}, which is not a regular file")
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise _refused(place, f"{path} of {path.stat().st_size} bytes")
        return path.read_bytes()
    text = place.read(key)
    if text is None:
        raise FileNotFoundError(f"{place.url}/{key}")
    return text


def _check_name(place: Place, name: str) -> None:
    if {"", ".", ".."} & {*name.split("/")} or "\\" in name or "\0" in name:
        raise _refused(place, f"an array named {name!r}")


def _irregular(folder: Path) -> Iterator[str]:
    """Everything in a folder that is neither a regular file nor a folder, links included."""
    if folder.is_symlink():
        yield str(folder)
    elif folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _irregular(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    yield entry.path


def _refused(place: Place, came: str) -> RequestError:
    where = place if isinstance(place, Path) else place.url
    return RequestError(
        f"{where} holds what latticescape does not write, so it is not opened",
        came=shortened(came, 300),
        allowed=ALLOWED,
        hint="ask its author for the spec, and latticescape run it into a new --store",
    )
