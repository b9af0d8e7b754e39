"""The only wrapper around Numba, so that every kernel is compiled with the same options.

No ``fastmath``, because it lets two machines round differently and a point's bits may not depend on
the machine. Bounds are checked when ``NUMBA_BOUNDSCHECK=1`` is set, as the tests do.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import numba
import numba.extending

if sys.platform != "win32":
    import fcntl

Function = TypeVar("Function", bound=Callable[..., object])


def cache_folder() -> Path:
    """The cache folder of compiled kernels, one for each state of this package's source.

    Numba checks only whether a kernel's own file has changed. The code of these kernels is also
    emitted by functions of other files, and installed files may all have the same time stamp.
    """
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(numba.config.CACHE_DIR or Path(home) / "latticescape") / digest.hexdigest()[:16]


_FOLDER = str(cache_folder())


@contextmanager
def one_compiles() -> Iterator[None]:
    """Let the first of the processes that share a cache folder compile; the others wait for it
    and then load the cache in parallel.

    Otherwise all would spend the same seconds, and processes that write the cache of one function
    at the same time may crash (https://github.com/numba/numba/issues/4807).
    """
    with _turn() or nullcontext():
        yield


def _turn() -> IO[str] | None:
    """The lock, exclusive for its first holder and then shared; None if locking is unsupported."""
    if sys.platform == "win32":
        return None
    try:
        Path(_FOLDER).mkdir(parents=True, exist_ok=True)
        lock = (Path(_FOLDER) / "lock").open("w")
    except OSError:
        return None
    with suppress(OSError):  # a file system without locks: each process compiles
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def intrinsic(function: Callable[..., object]) -> Any:
    """Declare a function that emits the LLVM instructions of its call (``numba.extending``).

    It takes Numba's typing context and the argument types; callers pass only the arguments.
    """
    return numba.extending.intrinsic(function)


def compiled(function: Function) -> Function:
    """Compile a scalar kernel: cached on disk, without the interpreter lock, IEEE arithmetic."""
    others = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _FOLDER
    try:
        kernel: Function = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = others
    return kernel


def inlined(function: Function) -> Function:
    """Compile a function only as a part of the kernels that call it.

    Otherwise LLVM optimises it once alone, and once more in each kernel that it is inlined into.
    """
    part: Function = numba.njit(inline="always", error_model="numpy")(function)
    return part
