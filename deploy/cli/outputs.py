"""What commands leave behind: facts on the terminal, pictures, and new stores."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import check_place

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from latticescape.sweeps.store.location import StorePath

PICTURES = (".png", ".html")


def show(facts: dict[str, Any], json_: bool) -> None:
    """One JSON object, or names and values."""
    if json_:
        click.echo(json.dumps(finite(facts)))
        return
    told = {name: value for name, value in facts.items() if value not in (None, "")}
    Console().print(fact_table(told))


def fact_table(facts: Mapping[str, object]) -> Table:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(f"[bold]{name}[/bold]", str(value))
    return table


def finite(value: Any) -> Any:
    """The value with null for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw(make: Callable[[Any], Any], paths: Sequence[Path]) -> None:
    """Write pictures; the plotting libraries are imported only if there is a path to write to."""
    if not paths:
        return
    from latticescape.analysis import plots as browse

    for path in paths:
        picture = make(browse)
        path.parent.mkdir(parents=True, exist_ok=True)
        browse.save(picture, path)


def check_pictures(paths: Sequence[Path]) -> None:
    """Before anything is computed or written."""
    for path in paths:
        if path.suffix not in PICTURES or path.is_dir():
            raise RequestError(
                "no such picture can be written",
                came=path,
                allowed=f"a file that ends in {' or '.join(PICTURES)}",
                hint=str(path.with_suffix(".png")),
            )
        check_place(path)


def check_file(path: Path) -> None:
    """Before anything is computed: a file can be written there."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder", allowed="a file", hint=str(path / "atoms.csv"))
    check_place(path)


def check_new(out: "StorePath") -> None:
    """Before anything is computed: nothing is there, and something can be written."""
    from latticescape.sweeps.store.location import locate

    place = locate(out)
    if not place.is_free():
        raise RequestError(
            f"{out} is there already", allowed="a new path", hint="--out another.zarr"
        )
    place.check_room(0)


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def write_new(table: "xr.Dataset", out: "StorePath") -> None:
    """Write a Dataset as a new zarr store, whole or not at all."""
    from latticescape.sweeps.store.location import locate
    from latticescape.sweeps.store.store import consolidate_metadata

    texts = [name for name, values in table.variables.items() if values.dtype.kind == "U"]
    # Zarr 3 specifies strings of any length, and none of a fixed one.
    portable = table.assign({name: table[name].astype(object) for name in texts})

    def write(place: Any) -> None:
        portable.to_zarr(place, zarr_format=3, consolidated=False)
        consolidate_metadata(place)

    locate(out).create(write)
