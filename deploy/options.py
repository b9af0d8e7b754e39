"""Options and types that commands share."""

from pathlib import Path

import click


class Number(click.IntRange):
    """A whole number in a range."""

    name = "number"


PATH = click.Path(path_type=Path)
POSITIVE = Number(min=1)

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object.")


def example(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
