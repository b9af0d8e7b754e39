"""What was seen of a segregating surface: a TOML file that names tables of its three sources."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics.errors import RequestError

KEYS = {
    "SO": ("table", "column", "weight"),
    "SN": ("table", "column", "weight"),
    "PR": ("table", "column", "error", "convention", "weight"),
}
NEEDED = {"SO": ("table", "column"), "SN": ("table", "column"), "PR": ("table", "column", "error")}
HINT = '[SO], then table = "surface_counts.csv" and column = "with_oxygen"'


@dataclass(frozen=True)
class SlabSources:
    """The arguments of :func:`analysis.slabs.slab_landscape` besides the sweep."""

    sources: Mapping[str, Any]
    weights: Mapping[str, float] | None
    convention: Any


def read_sources(path: Path) -> SlabSources:
    """The sources that a TOML file names.

    Parameters
    ----------
    path
        With one or more of the tables [SO], [SN] and [PR]; each has ``table``, a CSV file beside
        it, and ``column``. [PR] also has ``error``, a number or a column, and may have
        ``convention``. Either all have a ``weight`` or none.

    Raises
    ------
    RequestError
        If the file or a table cannot be read, or a key is unknown or missing.
    """
    named = _tables(path)
    found = {name: _source(name, keys, path.parent) for name, keys in named.items()}
    weights = {name: keys["weight"] for name, keys in named.items() if "weight" in keys}
    return SlabSources(found, weights or None, named.get("PR", {}).get("convention", "gaussian"))


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        named = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"cannot read the sources in {path}", came=error, hint=HINT) from None
    if not named:
        raise RequestError(f"{path} names no source", allowed=" | ".join(KEYS), hint=HINT)
    for name, keys in named.items():
        if name not in KEYS or not isinstance(keys, dict):
            raise RequestError(
                f"{path} names a source that a slab does not have",
                came=name,
                allowed=" | ".join(KEYS),
                hint=HINT,
            )
        unknown = [key for key in keys if key not in KEYS[name]]
        missing = [key for key in NEEDED[name] if key not in keys]
        if unknown or missing:
            raise RequestError(
                f"[{name}] of {path} "
                + (f"has an unknown key {unknown[0]}" if unknown else f"lacks {missing[0]}"),
                came=", ".join(keys) or "nothing",
                allowed=", ".join(KEYS[name]),
                hint=HINT,
            )
    return named


def _source(name: str, keys: Mapping[str, Any], folder: Path) -> Any:
    from analysis.observed.tables import read_table

    table = read_table(folder / str(keys["table"]))

    def column(of: Any) -> Any:
        if of not in table:
            raise RequestError(
                f"the table {keys['table']} of [{name}] has no column {of}",
                came=", ".join(table.columns),
                allowed="one of these",
            )
        return table[of].to_numpy()

    values, error = column(keys["column"]), keys.get("error")
    if name != "PR":
        return values
    number = isinstance(error, (int, float))
    return {"value": values, "error": [error] * len(values) if number else column(error)}
