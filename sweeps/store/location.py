"""Where a store is: in a folder or a bucket, which have the same methods."""

import io
import math
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from zarr.storage import MemoryStore

from latticescape.physics.errors import RequestError
from latticescape.physics.store_contents import ROOT
from latticescape.sweeps.store.atomic_write import (
    atomic_write,
    check_parent,
    fsync,
    is_free,
    write_error,
)
from latticescape.sweeps.store.object_store import (
    RECORDS,
    FolderObjects,
    Objects,
    Records,
    is_url,
)

StorePath = str | Path

# Writes a zarr group into a folder or a store of zarr.
Writer = Callable[[Any], None]

DRAFT = "done/draft.zip"
THREADS = 8

_HINT = "latticescape run SPEC --store runs/ising.zarr"


def locate(path: StorePath) -> "Location":
    """The location of a path or URL.

    Raises
    ------
    RequestError
        If it is a URL of anything but an object storage.

    Examples
    --------
    >>> locate("runs/ising.zarr").path
    PosixPath('runs/ising.zarr')
    >>> locate("s3://bucket/runs/ising.zarr/").path
    's3://bucket/runs/ising.zarr'
    """
    return Bucket(str(path)) if is_url(path) else Folder(Path(path))


class Folder:
    """A folder of this machine, or of a disk that machines share.

    Attributes
    ----------
    path
        The path as it was passed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def address(self) -> str:
        """The same place for any other process."""
        return str(self.path.absolute())

    @property
    def zarr(self) -> Path:
        """The place as zarr and xarray take it."""
        return self.path

    @property
    def contents(self) -> Path:
        """The place as it is checked before zarr and xarray open it."""
        return self.path

    @cached_property
    def records(self) -> Records:
        """Records of work under way."""
        return Records(FolderObjects(self.path))

    def near(self) -> FolderObjects:
        """Objects in the store's folder, or in the folder above a new store, checked to be writable
        by trying: obstore would try for ever where no file can be created, as in ``/proc``."""
        folder = self.path if self.path.is_dir() else check_parent(self.path)
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise write_error(self.path, error) from error
        return FolderObjects(folder)

    def is_free(self) -> bool:
        """Whether nothing is there, or an empty folder."""
        return is_free(self.path)

    def check_exists(self) -> None:
        """Raise RequestError if nothing is there, or a file."""
        if not self.path.exists():
            raise _absent(self.path)
        if not self.path.is_dir():
            raise RequestError(
                f"{self.path} is a file, not a store",
                allowed="a new path, or the folder of a store",
                hint=_HINT,
            )

    def check_space(self, needed: int) -> None:
        """Raise RequestError if the folder cannot be made, or its disk lacks so many bytes."""
        free = shutil.disk_usage(check_parent(self.path)).free
        if free < needed:
            from dask.utils import format_bytes  # lazy: Dask is slow to import

            raise RequestError(
                f"no space for the store {self.path}",
                came=f"{format_bytes(free)} free",
                allowed=f"{format_bytes(needed)} or more",
                hint="--store on another disk, or a coarser grid",
            )

    def free(self) -> float:
        """Free bytes of its disk."""
        return shutil.disk_usage(self.path).free

    def bytes_stored(self) -> int:
        """Size of all its files; files that vanish meanwhile are not counted."""
        size = 0
        for folder, _, files in os.walk(self.path):
            for name in files:
                with suppress(OSError):
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
        return size

    def create(self, write: Writer) -> None:
        """Create a zarr group in a draft folder, and rename it."""
        with atomic_write(self.path) as draft:
            write(draft)
            fsync(draft.rglob("*.json"), below=draft)
        fsync([self.path], below=self.path.parent)

    def chunk(self, key: str) -> Path:
        """A file of the store."""
        return self.path / key

    def fsync(self, chunks: Iterable[StorePath]) -> None:
        """Flush files and their names to disk."""
        fsync([Path(chunk) for chunk in chunks], below=self.path)


class Bucket:
    """A place in an object storage. A write that succeeded is durable: nothing needs a flush.

    A store begins with its draft, *one* object that only one process can create, which holds all of
    the new store. Every process that finds a draft copies its content, the group's own
    ``zarr.json`` last, and removes it. So two processes that begin at the same time both continue
    with the same store, and the next ``run`` completes the draft of a process that was killed.
    """

    def __init__(self, url: str) -> None:
        self.objects = Objects(url)

    @property
    def path(self) -> str:
        """The URL."""
        return self.objects.url

    address = path

    @cached_property
    def zarr(self) -> Any:
        """The place as zarr and xarray take it."""
        return self.objects.zarr()

    @property
    def contents(self) -> Objects:
        """The place as it is checked before zarr and xarray open it."""
        return self.objects

    @cached_property
    def records(self) -> Records:
        """Records of work under way."""
        return Records(self.objects)

    def near(self) -> Objects:
        """Objects of the store."""
        return self.objects

    def is_free(self) -> bool:
        """Whether nothing is there, or only a draft and what was copied from it."""
        names = self.objects.names()
        return not names or (ROOT not in names and self.objects.read(DRAFT) is not None)

    def check_exists(self) -> None:
        """Raise RequestError if nothing is there."""
        if self.is_free():
            raise _absent(self.path)

    def check_space(self, needed: int) -> None:
        """Raise RequestError if nothing can be written there; a bucket is never full."""
        self.objects.check_writable(f"{RECORDS.partition('/')[0]}/{uuid.uuid4().hex}")

    def free(self) -> float:
        """Unlimited."""
        return math.inf

    def bytes_stored(self) -> None:
        """None: counting them would list every object."""

    def create(self, write: Writer) -> None:
        """Create a zarr group, or complete the draft that is there."""
        files: dict[str, Any] = {}
        write(MemoryStore(files))
        draft: bytes | None = zipped({name: file.to_bytes() for name, file in files.items()})
        if draft is not None and not self.objects.create(DRAFT, draft):
            draft = self.objects.read(DRAFT)
        # Drafts are removed once the store exists. One that was created since then is useless.
        if draft is not None and self.objects.read(ROOT) is None:
            with zipfile.ZipFile(io.BytesIO(draft)) as archive:
                drafted = {name: archive.read(name) for name in archive.namelist()}
            root = drafted.pop(ROOT)
            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(self.objects.write, drafted.keys(), drafted.values()))
            self.objects.create(ROOT, root)
        self.objects.remove(DRAFT)

    def chunk(self, key: str) -> str:
        """A file of the store."""
        return f"{self.path}/{key}"

    def fsync(self, chunks: Iterable[StorePath]) -> None:
        """No-op: a write that succeeded is durable."""


Location: TypeAlias = Folder | Bucket


def zipped(files: dict[str, bytes]) -> bytes:
    """Files in one archive: the draft of a store in a bucket."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            archive.writestr(name, file)
    return content.getvalue()


def _absent(path: StorePath) -> RequestError:
    return RequestError(f"there is no store at {path}", allowed="a store made by run", hint=_HINT)
