"""A function kernel as a table of a spec: all that was declared, and the function's name only."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from latticescape.physics.models.parameters import Parameter
from latticescape.physics.variables import Variable
from latticescape.sweeps.functions.declared import dims_of
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.functions.source import Source
from latticescape.sweeps.spec.schema import check_types

_NUMBER = (float, int)
_KERNEL = {
    "name": (str,),
    "version": (int,),
    "source": (str,),
    "seconds": _NUMBER,
    "variables": (list,),
    "parameters": (list,),
    "dims": (dict,),
}
_VARIABLE = {
    "name": (str,),
    "dims": (list,),
    "dtype": (str,),
    "units": (str,),
    "long_name": (str,),
    "formula": (str,),
    "flags": (list,),
}
_PARAMETER = {
    "name": (str,),
    "meaning": (str,),
    "units": (str,),
    "default": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "low_excluded": (bool,),
    "whole": (bool,),
}


def table_of(kernel: FunctionKernel) -> dict[str, Any]:
    """The table ``[kernel]`` of a spec."""
    return {
        "name": kernel.name,
        "version": kernel.version,
        "source": kernel.source.digest,
        "seconds": float(kernel.seconds),
        "dims": {n: d if isinstance(d, int) else list(d) for n, d in kernel.dims.items()},
        "variables": [_written(variable) for variable in kernel.variables],
        "parameters": [_written(argument) for argument in kernel.arguments],
    }


def _written(declared: Variable | Parameter) -> dict[str, Any]:
    """What differs from the defaults of its fields."""
    values = {f.name: getattr(declared, f.name) for f in fields(declared)}
    told = {f.name: values[f.name] for f in fields(declared) if values[f.name] != f.default}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in told.items()}


def kernel_of(table: Mapping[str, Any]) -> FunctionKernel:
    """The kernel of a table ``[kernel]``, with its function not at hand.

    Raises
    ------
    RequestError
        If a key is unknown or missing, or a value is not what a kernel can declare.
    """
    check_types("[kernel]", table, _KERNEL, optional=set())
    for variable in table["variables"]:
        check_types("[[kernel.variables]]", variable, _VARIABLE, optional=set(_VARIABLE) - {"name"})
    for parameter in table["parameters"]:
        check_types(
            "[[kernel.parameters]]", parameter, _PARAMETER, optional=set(_PARAMETER) - {"name"}
        )
    return FunctionKernel(
        Source(table["name"], digest=table["source"]),
        table["version"],
        tuple(_variable(variable) for variable in table["variables"]),
        dims_of(table["dims"]),
        tuple(Parameter(**parameter) for parameter in table["parameters"]),
        table["seconds"],
    )


def _variable(table: Mapping[str, Any]) -> Variable:
    lists = {key: tuple(table.get(key, ())) for key in ("dims", "flags")}
    return Variable(**{**table, **lists})
