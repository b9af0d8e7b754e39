"""Options and types that commands share."""

from pathlib import Path
from typing import Any

import click

from sweeps.objects import is_url


class Number(click.IntRange):
    """A whole number in a range."""

    name = "number"


class StorePlace(click.Path):
    """A store: its folder, or its URL."""

    def convert(self, value: Any, *place: Any) -> Any:
        return value if is_url(value) else super().convert(value, *place)


PATH = click.Path(path_type=Path)
STORE = StorePlace(path_type=Path)
POSITIVE = Number(min=1)

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object.")


def example(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
