"""Compilation that processes of one test run share."""

import fcntl
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher


def compile_once() -> None:
    """Let one process compile a cached function while others that need it wait, and then load it.

    Otherwise all of pytest's workers spend the same seconds on it, since they begin together.
    """
    compile_or_load = Dispatcher.compile

    def compile_alone(self: Any, signature: Any) -> Any:
        if not isinstance(self._cache, FunctionCache):
            return compile_or_load(self, signature)
        folder = Path(self._cache.cache_path)
        folder.mkdir(parents=True, exist_ok=True)
        # The lock of this process comes first: a thread that has it may wait for another process,
        # but never for a thread that waits for it.
        with global_compiler_lock, (folder / f"{self.__name__}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return compile_or_load(self, signature)

    Dispatcher.compile = compile_alone
