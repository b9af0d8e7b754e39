"""The one wrapper around Numba, so that every kernel is compiled alike.

No ``fastmath``: it lets two machines round differently, and a point's bits may not depend on the
machine. Bounds are checked when ``NUMBA_BOUNDSCHECK=1`` is set, as the tests do.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numba.extending

Function = TypeVar("Function", bound=Callable[..., object])


def intrinsic(function: Callable[..., object]) -> Any:
    """Declare a function that writes LLVM instructions for its call (``numba.extending``).

    It takes Numba's typing context and the argument types; callers pass the arguments alone.
    """
    return numba.extending.intrinsic(function)


def compiled(function: Function) -> Function:
    """Compile a scalar kernel: cached on disk, without the interpreter lock, IEEE arithmetic."""
    compiler = numba.njit(cache=True, nogil=True, error_model="numpy")
    kernel: Function = compiler(function)
    return kernel
