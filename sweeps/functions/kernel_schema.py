"""What a user declares of a function: the table ``[kernel]`` of a spec, and the arguments."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from latticescape.physics.errors import RequestError
from latticescape.physics.models.model import Parameter
from latticescape.physics.variables import BOOKKEEPING, Variable
from latticescape.sweeps.functions.source_digest import python_function
from latticescape.sweeps.schema import Choice, Table

# Length of a dimension, or the values of its coordinate.
Dims: TypeAlias = dict[str, int | tuple[int | float | str, ...]]

# Arguments of these names are not parameters: they receive the point's random numbers.
RANDOM = ("rng", "seed")

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)
_RESERVED = {variable.name for variable in BOOKKEEPING}

_Number = int | float
_Dim = Annotated[int, Field(ge=1)] | Annotated[list[int | float | str], Field(min_length=1)]


class VariableTable(Table):
    """A variable: the fields of :class:`Variable`."""

    name: str
    dims: list[str] = Field(default_factory=list)
    dtype: Annotated[str, Choice(DTYPES)] = "float64"
    units: str = "1"
    long_name: str = ""
    formula: str = ""
    flags: list[str] = Field(default_factory=list)


class ParameterTable(Table, allow_inf_nan=True):
    """A parameter: the fields of :class:`Parameter`."""

    name: str
    meaning: str = ""
    units: str = ""
    default: _Number | None = None
    low: _Number = -np.inf
    high: _Number = np.inf
    low_excluded: bool = False
    whole: bool = False


class KernelTable(Table):
    """Everything that is declared of a function."""

    name: str = Field(examples=["module:function"])
    version: int = Field(ge=1, examples=[2])
    source: str
    seconds: _Number = Field(
        gt=0, lt=1e9, description="seconds of one point, above 0 and below 1e9", examples=[0.5]
    )
    dims: dict[str, _Dim] = Field(
        description="a whole number above 0, or a list of numbers or words", examples=[{"bin": 8}]
    )
    variables: list[VariableTable] = Field(
        min_length=1, description="one or more variables", examples=["energy"]
    )
    parameters: list[ParameterTable]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [*(variable.name for variable in self.variables), *self.dims]
        for name in names:
            if not name.isidentifier() or name in _RESERVED:
                raise RequestError(
                    "a variable or dimension has a name that cannot be stored",
                    came=repr(name),
                    allowed=f"letters, digits and _, and not {' or '.join(sorted(_RESERVED))}",
                    hint="mean_size",
                )
            if names.count(name) > 1:
                raise RequestError(
                    "the name of a variable or dimension is declared twice",
                    came=name,
                    allowed="different names",
                )
        for variable in self.variables:
            if not set(variable.dims) <= set(self.dims):
                raise RequestError(
                    f"{variable.name} has a dimension that is not declared",
                    came=variable.dims,
                    allowed=", ".join(self.dims) or "the names in dims={…}",
                    hint='Variable("counts", ("bin",)) and dims={"bin": 8}',
                )
        return self


def variables_of(declared: Sequence[Any]) -> tuple[Variable, ...]:
    """Declared variables; a bare name is one float64 per point.

    Examples
    --------
    >>> variables_of(["energy"])[0].dtype
    'float64'
    """
    variables = tuple(Variable(v) if isinstance(v, str) else v for v in declared)
    for variable in variables:
        if not isinstance(variable, Variable):
            raise RequestError(
                "a variable must be a name or a Variable", came=repr(variable), hint='"energy"'
            )
    return variables


def dims_of(declared: Mapping[str, Any]) -> Dims:
    """Declared dimensions as plain numbers and words; checked by :class:`KernelTable`.

    Examples
    --------
    >>> dims_of({"bin": np.arange(3), "walker": 8})
    {'bin': (0, 1, 2), 'walker': 8}
    """
    return {name: _plain(values) for name, values in declared.items()}


def _plain(values: Any) -> Any:
    try:
        plain = np.asarray(values).tolist()
    except ValueError:  # lists of different lengths
        return values
    return tuple(plain) if isinstance(plain, list) else plain


def arguments_of(function: object, declared: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters of a function, as declared, or else by name only.

    Defaults are those of the function; a parameter annotated ``int`` is whole.

    Raises
    ------
    RequestError
        If an argument cannot be passed by name, has a default that is not a number, or is declared
        and not an argument.

    Examples
    --------
    >>> def walk(p, steps: int = 100, *, rng): ...
    >>> [(a.name, a.default, a.whole) for a in arguments_of(walk, [])]
    [('p', None, False), ('steps', 100, True)]
    """
    signature = {n: p for n, p in signature_of(function).items() if n not in RANDOM}
    known = {parameter.name: parameter for parameter in declared}
    for name in known:
        if name not in signature:
            raise RequestError(
                "the function lacks a declared parameter",
                came=name,
                allowed=", ".join(signature) or "none",
            )
    return tuple(_argument(p, known.get(name, Parameter(name))) for name, p in signature.items())


def signature_of(function: object) -> dict[str, inspect.Parameter]:
    """The arguments of a function of Python or Numba."""
    python = python_function(function)
    return dict(inspect.signature(python).parameters) if python is not None else {}


def _argument(argument: inspect.Parameter, declared: Parameter) -> Parameter:
    if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
        raise RequestError(
            f"the argument {argument.name} cannot be passed by name",
            came=argument,
            allowed="T or T=2.0",
        )
    whole = declared.whole or argument.annotation in (int, "int")
    parameter = replace(declared, whole=whole, default=None)
    default = argument.default
    if default is argument.empty:
        return parameter
    try:
        parameter.check(default)
    except RequestError as error:
        raise error.within(f"the default of {argument.name}") from None
    return replace(
        parameter, default=default.item() if isinstance(default, np.generic) else default
    )
