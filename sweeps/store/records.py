"""``Notes``: small JSON files in a store about the work on it, gone when the work is done."""

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from latticescape.sweeps.store.object_store import Objects, UnreachableError

# Inside an array's folder, where no reader of a zarr group looks: beside the arrays each of them
# would be told of as "not recognized as a component of a Zarr hierarchy".
FOLDER = ("done", "notes")

Note = dict[str, Any]


class Notes(Protocol):
    """The notes of a store. A note is read whole, or as it was before, or not at all."""

    def read(self, name: str) -> Note | None:
        """A note; None if there is none that can be read."""

    def has(self, name: str) -> bool:
        """Whether there is a note, readable or not, or nobody can tell."""

    def write(self, name: str, note: Note) -> None:
        """Write a note in place of the one there is."""

    def create(self, name: str, note: Note) -> bool:
        """Write a note unless there is one; whether it was written."""

    def remove(self, name: str) -> None:
        """Remove a note if there is one."""

    def names(self) -> list[str]:
        """All notes."""


class FolderNotes:
    """The notes of the store in a folder.

    Examples
    --------
    >>> import tempfile
    >>> notes = FolderNotes(Path(tempfile.mkdtemp()))
    >>> notes.write("block-7", {"trying": [1]})
    >>> notes.read("block-7"), notes.read("block-8"), notes.names()
    ({'trying': [1]}, None, ['block-7'])
    >>> notes.create("block-7", {})
    False
    """

    def __init__(self, store: Path) -> None:
        self.folder = store.joinpath(*FOLDER)

    def read(self, name: str) -> Note | None:
        """A note; None if there is none that can be read."""
        try:
            return _parsed(self._path(name).read_bytes())
        except OSError:
            return None

    def has(self, name: str) -> bool:
        """Whether there is a note, readable or not."""
        return self._path(name).exists()

    def write(self, name: str, note: Note) -> None:
        """Write a note in place of the one there is."""
        draft = self._draft(note)
        draft.replace(self._path(name))

    def create(self, name: str, note: Note) -> bool:
        """Write a note unless there is one; whether it was written."""
        draft = self._draft(note)
        try:
            os.link(draft, self._path(name))
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def remove(self, name: str) -> None:
        """Remove a note if there is one, and the folder with the last one."""
        self._path(name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def names(self) -> list[str]:
        """All notes."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def _draft(self, note: Note) -> Path:
        draft = self.folder / f".{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(note))
        except FileNotFoundError:  # the folder went as another removed the last note
            return self._draft(note)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


class ObjectNotes:
    """The notes of the store in a bucket, each an object."""

    def __init__(self, objects: Objects) -> None:
        self.objects, self.folder = objects, "/".join(FOLDER)

    def read(self, name: str) -> Note | None:
        """A note; None if there is none that can be read."""
        try:
            return _parsed(self.objects.read(self._key(name)) or b"")
        except UnreachableError:
            return None

    def has(self, name: str) -> bool:
        """Whether there is a note, readable or not, or nobody can tell."""
        try:
            return self.objects.read(self._key(name)) is not None
        except UnreachableError:
            return True

    def write(self, name: str, note: Note) -> None:
        """Write a note in place of the one there is."""
        self.objects.write(self._key(name), json.dumps(note).encode())

    def create(self, name: str, note: Note) -> bool:
        """Write a note unless there is one; whether it was written."""
        return self.objects.create(self._key(name), json.dumps(note).encode())

    def remove(self, name: str) -> None:
        """Remove a note if there is one."""
        self.objects.remove(self._key(name))

    def names(self) -> list[str]:
        """All notes."""
        found = self.objects.names(self.folder)
        return [name.removesuffix(".json") for name in found if name.endswith(".json")]

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}.json"


def _parsed(text: bytes) -> Note | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
