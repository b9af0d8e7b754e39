"""Options and types that commands share."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Number(click.IntRange):
    """A whole number in a range."""

    name = "number"


class StorePlace(click.Path):
    """The folder or URL of a store."""

    def convert(self, value: Any, *place: Any) -> Any:
        from latticescape.sweeps.store.object_store import is_url  # lazy: imports zarr

        return value if is_url(value) else super().convert(value, *place)


PATH = click.Path(path_type=Path)
STORE = StorePlace(path_type=Path)
POSITIVE = Number(min=1)

observed_argument = click.argument("observed", type=PATH, nargs=-1, required=True)
species_option = click.option(
    "--species", help="Names of species 0 and 1 in tables of atoms, such as Mo,Re."
)
picture_option = click.option(
    "--picture", type=PATH, multiple=True, help="A .png or .html to draw; repeatable."
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")
cluster_option = click.option(
    "--cluster",
    default="local",
    show_default=True,
    help="A profile's name or path, tcp://host:port or tls://host:port.",
)
workers_option = click.option(
    "--workers", type=POSITIVE, help="Worker processes on this machine [default: one per core]."
)
threads_option = click.option(
    "--threads", type=POSITIVE, help="Threads of each worker on this machine [default: 1]."
)
block_option = click.option(
    "--block-points", type=POSITIVE, help="Maximum points per block; changes no result."
)
_json_option = click.option("--json", "json_", is_flag=True, help="Print one JSON object.")


def _log(context: click.Context, _: click.Parameter, verbose: bool) -> None:
    """Send the messages of this package to standard error while the command runs."""
    if verbose:
        logger, handler = logging.getLogger("latticescape"), logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        context.find_root().call_on_close(lambda: logger.removeHandler(handler))


_verbose_option = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_log,
    help="Log every step, and the traceback of an error.",
)


def as_json(command: Command) -> Command:
    """Add ``--json`` and ``--verbose`` to a command."""
    return _json_option(_verbose_option(command))


def example(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
