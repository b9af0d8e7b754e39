"""Where something new is to be: checked before anything is spent, made whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from latticescape.physics.errors import RequestError


def is_free(path: Path) -> bool:
    """Whether nothing is at a path, or an empty folder.

    Examples
    --------
    >>> is_free(Path("nowhere.zarr")), is_free(Path("/"))
    (True, False)
    """
    try:
        return not path.exists() or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def check_place(path: Path) -> Path:
    """The folder that is there already, above a path that may be written.

    Raises
    ------
    RequestError
        If that is no folder, or read-only.

    Examples
    --------
    >>> check_place(Path("/nowhere/new/ising.zarr")).as_posix()
    '/'
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise _unwritable(path, f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, f"{folder} is read-only")
    return folder


@contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """A draft beside a path, renamed to it at the end.

    After an error nothing is left, not even the folders made on the way.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "folder"
    >>> with made_whole(path) as draft:
    ...     draft.mkdir()
    >>> path.exists(), draft.exists()
    (True, False)
    """
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"
    with ExitStack() as undo:
        for folder in reversed(path.parents):
            if not folder.exists():
                undo.callback(_remove_empty, folder)
        undo.callback(shutil.rmtree, draft, ignore_errors=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            draft.rename(path)
        except OSError as error:
            raise _unwritable(path, error.strerror or error) from None
        undo.pop_all()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _unwritable(path: Path, reason: object) -> RequestError:
    return RequestError(
        f"cannot write {path}",
        came=reason,
        allowed="a folder you may write in",
        hint=f"a path such as runs/{path.name[:80]}",
    )
