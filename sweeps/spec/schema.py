"""Tables of a spec file: which keys they must and may hold, and of which type."""

from collections.abc import Mapping
from typing import Any

from latticescape.physics.errors import RequestError


def check_tables(tables: Mapping[str, Any], allowed: tuple[str, ...], optional: set[str]) -> None:
    """Refuse a spec with an unknown or missing table, or a table that is none."""
    _check_names("the spec", "table", tables, allowed, optional)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise RequestError(
                f"{name} is no table", came=repr(table), allowed=f"[{name}]", hint=f"[{name}]"
            )


def check_keys(
    place: str, table: Mapping[str, Any], allowed: tuple[str, ...], optional: set[str]
) -> None:
    """Refuse a table with an unknown or missing key."""
    _check_names(place, "key", table, allowed, optional)


def check_types(
    place: str, table: object, types: Mapping[str, tuple[type, ...]], optional: set[str]
) -> None:
    """Refuse a table with an unknown or missing key, or a value of another type.

    Examples
    --------
    >>> check_types("[kernel]", {"version": 1.5}, {"version": (int,)}, set())
    Traceback (most recent call last):
    ...
    latticescape.RequestError: [kernel] version is of the wrong type (came: 1.5; allowed: int)
    """
    if not isinstance(table, dict):
        raise RequestError(f"{place} is no table", came=repr(table), allowed=place)
    check_keys(place, table, tuple(types), optional)
    for key, value in table.items():
        if not isinstance(value, types[key]):
            raise RequestError(
                f"{place} {key} is of the wrong type",
                came=repr(value),
                allowed=" or ".join(kind.__name__ for kind in types[key]),
            )


def _check_names(
    place: str, noun: str, table: Mapping[str, Any], allowed: tuple[str, ...], optional: set[str]
) -> None:
    told = ", ".join(allowed)
    for key in table:
        if key not in allowed:
            raise RequestError(f"{place} has an unknown {noun}", came=key, allowed=told)
    for key in allowed:
        if key not in table and key not in optional:
            hint = f"[{key}]" if noun == "table" else f"{key} = …"
            raise RequestError(f"{place} lacks the {noun} {key}", allowed=told, hint=hint)
