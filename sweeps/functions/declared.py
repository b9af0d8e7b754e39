"""What a user declares of a kernel, checked before anything is spent."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.physics.variables import BOOKKEEPING, Variable

# A dimension's length, or the values of its coordinate.
Dims: TypeAlias = dict[str, int | tuple[int | float | str, ...]]

_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)
_TAKEN = {variable.name for variable in BOOKKEEPING}


def variables_of(given: Sequence[Any]) -> tuple[Variable, ...]:
    """Declared variables; a bare name is a float64 a point.

    Examples
    --------
    >>> variables_of(["energy"])[0].dtype
    'float64'
    """
    variables = tuple(Variable(v) if isinstance(v, str) else v for v in given)
    for variable in variables:
        if not isinstance(variable, Variable):
            raise RequestError(
                "a kernel's variable is neither a name nor a Variable",
                came=repr(variable),
                allowed='"energy" or Variable("counts", ("bin",), "int64")',
            )
    return variables


def dims_of(given: Mapping[str, Any]) -> Dims:
    """Declared dimensions as plain numbers and words.

    Examples
    --------
    >>> dims_of({"bin": np.arange(3), "walker": 8})
    {'bin': (0, 1, 2), 'walker': 8}
    """
    return {name: _dim_of(name, values) for name, values in given.items()}


def check_declared(
    version: object, seconds: Any, variables: Sequence[Variable], dims: Dims
) -> None:
    """Refuse what no store can hold."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RequestError(
            "version is no whole number above 0", came=repr(version), hint="version=2"
        )
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 1e9:
        raise RequestError(
            "seconds is not what a point may take", came=repr(seconds), hint="seconds=0.5"
        )
    if not variables:
        raise RequestError("a kernel without a variable", allowed="one or more", hint='"energy"')
    names = [*(variable.name for variable in variables), *dims]
    for name in names:
        _check_name(name)
        if names.count(name) > 1:
            raise RequestError("a kernel declares a name twice", came=name, allowed="other names")
    for variable in variables:
        _check_variable(variable, dims)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.isidentifier() or name in _TAKEN:
        raise RequestError(
            "a kernel declares a name that no variable or dimension may have",
            came=repr(name),
            allowed=f"letters, digits and _, and not {' or '.join(sorted(_TAKEN))}",
            hint="mean_size",
        )


def _check_variable(variable: Variable, dims: Dims) -> None:
    if variable.dtype not in _DTYPES:
        raise RequestError(
            f"the dtype of {variable.name} cannot be stored",
            came=repr(variable.dtype),
            allowed=", ".join(_DTYPES),
            hint='dtype="float64"',
        )
    known = list(dims)  # not hashed: what came may be anything
    if not isinstance(variable.dims, tuple) or any(dim not in known for dim in variable.dims):
        raise RequestError(
            f"the dimensions of {variable.name} are not declared",
            came=repr(variable.dims),
            allowed=f"a tuple of {', '.join(dims)}" if dims else "() or those in dims={…}",
            hint='Variable("counts", ("bin",)) and dims={"bin": 8}',
        )


def _dim_of(name: str, values: Any) -> int | tuple[int | float | str, ...]:
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    whole = array.dtype.kind in "iu"
    if array.ndim == 0 and whole and array > 0:
        return int(array)
    if array.ndim != 1 or array.dtype.kind not in "iufU" or not len(array):
        raise RequestError(
            f"the dimension {name} is neither a length nor coordinates",
            came=repr(values),
            allowed="a whole number above 0, or a list of numbers or words",
            hint=f'dims={{"{name}": 8}}',
        )
    return tuple(array.tolist())
