"""What a function returned for a point, held against what it declared."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.variables import Variable

# A value may become one of a kind further right; among integers, if it is the same number.
_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


class ReturnedError(RequestError):
    """A function returned something else than it declared."""


def by_variable(returned: object, variables: Sequence[Variable]) -> list[object]:
    """A returned value, tuple or mapping as one value a variable.

    Examples
    --------
    >>> by_variable({"b": 2, "a": 1}, [Variable("a"), Variable("b")])
    [1, 2]
    >>> by_variable((1, 2, 3), [Variable("a"), Variable("b")])
    Traceback (most recent call last):
    ...
    latticescape...ReturnedError: it returned a tuple of 3 (came: (1, 2, 3); allowed: a, b)
    """
    if isinstance(returned, Mapping):
        names = [variable.name for variable in variables]
        if set(returned) != set(names):
            raise _error("it returned other names", ", ".join(map(str, returned)), variables)
        return [returned[name] for name in names]
    if len(variables) == 1:
        return [returned]
    if not isinstance(returned, tuple):
        problem = f"it returned no tuple but {type(returned).__name__}"
        raise _error(problem, repr(returned), variables)
    if len(returned) != len(variables):
        raise _error(f"it returned a tuple of {len(returned)}", repr(returned), variables)
    return list(returned)


def fitted(value: object, variable: Variable, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A value as an array of the declared shape and dtype.

    Raises
    ------
    ReturnedError
        If it has another shape, is of a kind that the declared one cannot hold (a float for an
        integer), or is a whole number too large for it.

    Examples
    --------
    >>> fitted([1, 2], Variable("counts", ("bin",), "float64"), (2,))
    array([1., 2.])
    >>> fitted(300, Variable("counts", dtype="uint8"), ())
    Traceback (most recent call last):
    ...
    latticescape...ReturnedError: counts is too large (came: 300; allowed: uint8)...
    """
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    dtype = np.dtype(variable.dtype)
    if array.dtype == dtype and array.shape == shape:
        return array
    told = f"{array.dtype} of shape {array.shape}" if array.dtype.kind in _KINDS else repr(value)
    hint = f"Variable({variable.name!r}, dims, dtype) as the function returns it"
    if _KINDS.get(array.dtype.kind, 9) > _KINDS[dtype.kind] or array.shape != shape:
        raise ReturnedError(
            f"{variable.name} is not what was declared",
            came=told,
            allowed=f"{dtype} of shape {shape}",
            hint=hint,
        )
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, array):
        raise ReturnedError(
            f"{variable.name} is too large",
            came=np.max(np.abs(array)),
            allowed=dtype,
            hint=hint,
        )
    return cast


def _error(problem: str, came: str, variables: Sequence[Variable]) -> ReturnedError:
    return ReturnedError(problem, came=came, allowed=", ".join(v.name for v in variables))
