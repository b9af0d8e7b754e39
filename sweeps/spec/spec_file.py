"""Reading a spec file: from its tables to the parts of a sweep."""

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import MODELS, Model
from latticescape.physics.registry import LATTICES, lattice_of
from latticescape.sweeps.functions.kernel_table import kernel_of
from latticescape.sweeps.spec.axis import Axis
from latticescape.sweeps.spec.schema import check_keys, check_tables

_TABLES = {
    "sweep": ("seed", "keep"),
    "lattice": ("kind", "size", "layers"),
    "model": None,
    "grid": None,
    "schedule": ("equilibration_mcs", "samples", "stride_mcs", "update", "tempering_mcs"),
}
_OPTIONAL = {"seed", "keep", "layers", "update", "tempering_mcs"}


def parts_of(text: str) -> dict[str, Any]:
    """What a sweep is made of, as a spec file's text has it.

    Raises
    ------
    RequestError
        If it is no TOML, a key is unknown or missing, or a part cannot be made.

    Examples
    --------
    >>> parts_of("[grid]")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the spec lacks the table lattice ...
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not every TOMLDecodeError: a number of thousands of digits and deep brackets.
        raise RequestError(
            "the spec is not valid TOML", came=error, hint="lines such as T = [2.0, 2.5]"
        ) from None
    _check_spec(tables)
    beside = tables.get("sweep", {})
    parts = {
        "grid": tables["grid"],
        "seed": beside.get("seed", 0),
        "keep": beside.get("keep", ()),
    }
    if "kernel" in tables:
        return {"kernel": kernel_of(tables["kernel"]), **parts}
    return {
        "lattice": _lattice(tables["lattice"]),
        "model": _model(tables["model"]),
        "schedule": Schedule(**tables["schedule"]),
        **parts,
    }


def grid_table(grid: Mapping[str, Axis]) -> dict[str, object]:
    """The table ``[grid]``, in the order of the axes."""
    return {name: _inline(axis) for name, axis in grid.items()}


def _inline(axis: Axis) -> object:
    """An axis on one line: a table of its own would be moved behind the lists, and axes have an
    order."""
    spec = axis.spec
    if isinstance(spec, list):
        return spec
    table = tomlkit.inline_table()
    table.update(spec)
    return table


def _check_spec(tables: Mapping[str, Any]) -> None:
    """Which tables and keys there are; a table ``[kernel]`` stands for what a store knows of a
    user's function, and its keys are checked where it is read."""
    allowed = ("sweep", "grid", "kernel") if "kernel" in tables else tuple(_TABLES)
    check_tables(tables, allowed, optional={"sweep"})
    for name, table in tables.items():
        keys = _TABLES.get(name)
        if keys:
            check_keys(f"[{name}]", table, keys, _OPTIONAL)


def _chosen(place: str, table: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise RequestError(
            f"[{place}] {'has an unknown' if 'kind' in table else 'lacks the key'} kind",
            came=repr(kind) if "kind" in table else None,
            allowed=" | ".join(kinds),
            hint=f'kind = "{next(iter(kinds))}"',
        )
    return kinds[kind]


def _lattice(table: Mapping[str, Any]) -> Lattice:
    _chosen("lattice", table, LATTICES)
    return lattice_of(table)


def _model(table: Mapping[str, Any]) -> Model:
    kind: type[Model] = _chosen("model", table, MODELS)
    given = {name: value for name, value in table.items() if name != "kind"}
    try:
        for name in (name for name in given if name not in kind.structures):
            kind.parameter(name)
        return kind(**given)
    except RequestError as error:
        raise error.within("[model]") from None
