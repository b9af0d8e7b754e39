"""Output of commands: text for people, JSON, pictures and new stores."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import check_parent

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from latticescape.sweeps.store.location import StorePath

PICTURES = (".png", ".html")


def show(facts: dict[str, Any], json_: bool, *lines: str) -> None:
    """Print facts as one JSON object, or for people: as some lines, or names and values."""
    if json_:
        click.echo(json.dumps(finite(facts)))
        return
    if lines:
        click.echo("\n".join(lines))
        return
    shown = {name: value for name, value in facts.items() if value not in (None, "")}
    Console().print(fact_table(shown))


def fact_table(facts: Mapping[str, object]) -> Table:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="bold"), Text(str(value)))
    return table


def size_text(size: float) -> str:
    """A number of bytes, to two digits.

    Examples
    --------
    >>> size_text(9_123_456), size_text(950)
    ('9.1 MB', '950 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{_two_digits(size)} {unit}"
        size /= 1000
    return f"{_two_digits(size)} TB"


def duration_text(seconds: float) -> str:
    """An approximate duration, to two digits.

    Examples
    --------
    >>> duration_text(80.3), duration_text(7000), duration_text(0.2), duration_text(3e5)
    ('about 80 s', 'about 120 min', 'less than 1 s', 'about 83 h')
    """
    if seconds < 1:
        return "less than 1 s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 360_000)):
        if seconds < most:
            return f"about {_two_digits(seconds / size)} {unit}"
    return f"about {_two_digits(seconds / 86_400)} days"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"


def finite(value: Any) -> Any:
    """Replace NaN and infinity by None, since JSON has neither."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw(make: Callable[[Any], Any], paths: Sequence[Path]) -> None:
    """Write pictures; plotting libraries are imported only if there is one to write."""
    if not paths:
        return
    from latticescape.analysis import plots as browse

    for path in paths:
        picture = make(browse)
        path.parent.mkdir(parents=True, exist_ok=True)
        browse.save(picture, path)


def check_pictures(paths: Sequence[Path]) -> None:
    """Check that pictures can be written, before anything is computed."""
    for path in paths:
        if path.suffix not in PICTURES or path.is_dir():
            raise RequestError(
                "cannot write this kind of picture",
                came=path,
                allowed=f"a file that ends in {' or '.join(PICTURES)}",
                hint=str(path.with_suffix(".png")),
            )
        check_parent(path)


def check_file(path: Path) -> None:
    """Check that a file can be written, before anything is computed."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder", allowed="a file", hint=str(path / "atoms.csv"))
    check_parent(path)


def check_new(out: "StorePath") -> None:
    """Check that a path is free and can be written, before anything is computed."""
    from latticescape.sweeps.store.location import locate

    place = locate(out)
    if not place.is_free():
        raise RequestError(f"{out} already exists", allowed="a new path", hint="--out another.zarr")
    place.check_space(0)


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def write_new(table: "xr.Dataset", out: "StorePath") -> None:
    """Write a Dataset as a new zarr store, completely or not at all."""
    from latticescape.sweeps.store.location import locate
    from latticescape.sweeps.store.store import consolidate_metadata

    texts = [name for name, values in table.variables.items() if values.dtype.kind == "U"]
    # Zarr 3 specifies strings of variable length only.
    portable = table.assign({name: table[name].astype(object) for name in texts})

    def write(place: Any) -> None:
        portable.to_zarr(place, zarr_format=3, consolidated=False)
        consolidate_metadata(place)

    locate(out).create(write)
