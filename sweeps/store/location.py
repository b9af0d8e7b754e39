"""``Location``: where a store is, in a folder or a bucket, and how one is made and kept there."""

import io
import math
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import check_place, is_free, made_whole
from latticescape.sweeps.store.fsync import flush
from latticescape.sweeps.store.object_store import Objects, is_url
from latticescape.sweeps.store.records import FOLDER, FolderNotes, Notes, ObjectNotes

StorePath = str | Path

# Writes a whole zarr group where it is told to.
Writer = Callable[[Any], None]

ROOT = "zarr.json"
DRAFT = f"{FOLDER[0]}/draft.zip"
THREADS = 8

_HINT = "latticescape run SPEC --store runs/ising.zarr"


class Location(Protocol):
    """Where a store is or will be."""

    @property
    def path(self) -> StorePath:
        """As it was given."""

    @property
    def address(self) -> str:
        """The same place for any other process."""

    @property
    def zarr(self) -> Any:
        """As zarr and xarray take it."""

    @property
    def notes(self) -> Notes:
        """Notes about work under way."""

    @property
    def shared(self) -> bool:
        """Whether each worker has its own way to it, which may be blocked."""

    def is_free(self) -> bool:
        """Whether a store can be made there."""

    def check_there(self) -> None:
        """Raise RequestError if nothing is there, or something that is surely no store."""

    def check_room(self, needed: int) -> None:
        """Raise RequestError if a store of so many bytes cannot be written there."""

    def free(self) -> float:
        """How many bytes can be written into the store that is there."""

    def create(self, write: Writer) -> None:
        """Make a zarr group there, whole or not at all."""

    def chunk(self, key: str) -> StorePath:
        """A file of the store."""

    def flush(self, chunks: Iterable[StorePath]) -> None:
        """Have what was written stay written."""


def locate(path: StorePath) -> Location:
    """Where a path or URL leads to.

    Raises
    ------
    RequestError
        If it is a URL that leads to no object storage.

    Examples
    --------
    >>> locate("runs/ising.zarr").path
    PosixPath('runs/ising.zarr')
    >>> locate("s3://bucket/runs/ising.zarr/").path
    's3://bucket/runs/ising.zarr'
    """
    return Bucket(str(path)) if is_url(path) else Folder(Path(path))


class Folder:
    """A folder of this machine, or of a disk that machines share."""

    shared = False

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def address(self) -> str:
        """The same place for any other process."""
        return str(self.path.absolute())

    @property
    def zarr(self) -> Path:
        """As zarr and xarray take it."""
        return self.path

    @cached_property
    def notes(self) -> Notes:
        """Notes about work under way."""
        return FolderNotes(self.path)

    def is_free(self) -> bool:
        """Whether nothing is there, or an empty folder."""
        return is_free(self.path)

    def check_there(self) -> None:
        """Raise RequestError if nothing is there, or a file."""
        if not self.path.exists():
            raise _absent(self.path)
        if not self.path.is_dir():
            raise RequestError(
                f"{self.path} is a file, no store", allowed="a new path, or a store", hint=_HINT
            )

    def check_room(self, needed: int) -> None:
        """Raise RequestError if the folder cannot be made, or its disk lacks so many bytes."""
        free = shutil.disk_usage(check_place(self.path)).free
        if free < needed:
            from dask.utils import format_bytes  # lazy: Dask is slow to import

            raise RequestError(
                f"no space for the store {self.path}",
                came=f"{format_bytes(free)} free",
                allowed=f"{format_bytes(needed)}, its uncompressed size, or more",
                hint="--store on another disk, or a coarser grid",
            )

    def free(self) -> float:
        """How many bytes its disk has left."""
        return shutil.disk_usage(self.path).free

    def create(self, write: Writer) -> None:
        """Make a zarr group there, whole or not at all: beside it first, and renamed."""
        with made_whole(self.path) as draft:
            write(draft)
            flush(draft.rglob("*.json"), below=draft)
        flush([self.path], below=self.path.parent)

    def chunk(self, key: str) -> Path:
        """A file of the store."""
        return self.path / key

    def flush(self, chunks: Iterable[StorePath]) -> None:
        """Have files and their names written to disk."""
        flush([Path(chunk) for chunk in chunks], below=self.path)


class Bucket:
    """A place in an object storage. What was written there once is kept: nothing is to be flushed.

    A store begins with its draft, *one* object that only one process can create: it holds all of
    the new store. Whoever finds a draft copies what is in it, the group's own ``zarr.json`` last,
    and removes it. So of two processes that begin at the same time both go on with the same store,
    and one that was killed meanwhile leaves a draft that the next ``run`` makes a store of.
    """

    shared = True

    def __init__(self, url: str) -> None:
        self.objects = Objects(url)

    @property
    def path(self) -> str:
        """As it was given."""
        return self.objects.url

    address = path

    @cached_property
    def zarr(self) -> Any:
        """As zarr and xarray take it."""
        return self.objects.zarr()

    @cached_property
    def notes(self) -> Notes:
        """Notes about work under way."""
        return ObjectNotes(self.objects)

    def is_free(self) -> bool:
        """Whether nothing is there, or no more than a draft and what was copied of it."""
        names = self.objects.names()
        return not names or (ROOT not in names and self.objects.read(DRAFT) is not None)

    def check_there(self) -> None:
        """Raise RequestError if nothing is there."""
        if self.is_free():
            raise _absent(self.path)

    def check_room(self, needed: int) -> None:
        """Raise RequestError if nothing can be written there; a bucket is never full."""
        self.objects.check_writable(f"{FOLDER[0]}/{uuid.uuid4().hex}")

    def free(self) -> float:
        """As many as you like."""
        return math.inf

    def create(self, write: Writer) -> None:
        """Make a zarr group there, whole or not at all; or go on with the draft there is."""
        files: dict[str, Buffer] = {}
        write(MemoryStore(files))
        draft: bytes | None = _packed({name: file.to_bytes() for name, file in files.items()})
        if draft is not None and not self.objects.create(DRAFT, draft):
            draft = self.objects.read(DRAFT)
        # Drafts go when the store is there. One that could be made since then is of no use.
        if draft is not None and self.objects.read(ROOT) is None:
            self._copy(_unpacked(draft))
        self.objects.remove(DRAFT)

    def _copy(self, files: dict[str, bytes]) -> None:
        root = files.pop(ROOT)
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(self.objects.write, files.keys(), files.values()))
        self.objects.create(ROOT, root)

    def chunk(self, key: str) -> str:
        """A file of the store."""
        return f"{self.path}/{key}"

    def flush(self, chunks: Iterable[StorePath]) -> None:
        """Nothing: a write that succeeded is kept."""


def _absent(path: StorePath) -> RequestError:
    return RequestError(f"there is no store at {path}", allowed="one made by run", hint=_HINT)


def _packed(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            archive.writestr(name, file)
    return content.getvalue()


def _unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
