"""What commands share: their options, and the forms of their output."""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latticescape.deploy.derived import finite
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import check_parent

if TYPE_CHECKING:
    from latticescape.sweeps.store.location import StorePath

Command = TypeVar("Command", bound=Callable[..., Any])

PICTURES = (".png", ".html")

# Where a context keeps the handler of --verbose.
VERBOSE = "latticescape.verbose"


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
SEED = Number(min=0)


def pictures_option(flag: str, **options: Any) -> Callable[[Command], Command]:
    """An option for files of pictures; checks that they can be written before the command runs."""

    def check(_: click.Context, __: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            if path.suffix not in PICTURES or path.is_dir():
                raise RequestError(
                    "cannot write this kind of picture",
                    came=path,
                    allowed=" | ".join(PICTURES),
                    hint=str(path.with_suffix(".png")),
                )
            check_parent(path)
        return paths

    return click.option(flag, type=PATH, multiple=True, callback=check, **options)


def new_store_option(content: str) -> Callable[[Command], Command]:
    """The option ``--out`` for a new store; checks the path before the command runs."""

    def check(_: click.Context, __: click.Parameter, out: "StorePath | None") -> "StorePath | None":
        if out is not None:
            from latticescape.sweeps.store.location import locate  # lazy: imports zarr

            place = locate(out)
            if not place.is_free():
                raise RequestError(
                    f"{out} already exists", allowed="a new path", hint="--out another.zarr"
                )
            place.check_space(0)
        return out

    return click.option(
        "--out",
        type=STORE,
        callback=check,
        help=f"Folder or URL of a new zarr store for {content}.",
    )


def number_option(
    flag: str, metavar: str, example: str, *, words: bool = False, **options: Any
) -> Callable[[Command], Command]:
    """A repeatable option of a name and a number, such as ``--at H=0``; a list of pairs.

    With ``words`` the value may be a word as well.
    """

    def read(
        _: click.Context, __: click.Parameter, texts: tuple[str, ...]
    ) -> list[tuple[str, float | str]]:
        pairs: list[tuple[str, float | str]] = []
        for text in texts:
            name, equals, number = text.partition("=")
            try:
                pairs.append((name, float(number)))
            except ValueError:
                if words and equals and number:
                    pairs.append((name, number))
                    continue
                raise RequestError(
                    f"{flag} cannot be read", came=text, allowed=metavar, hint=f"{flag} {example}"
                ) from None
        return pairs

    return click.option(flag, multiple=True, metavar=metavar, callback=read, **options)


picture_option = pictures_option("--picture", help="A .png or .html to draw; repeatable.")
observed_argument = click.argument("observed", type=PATH, nargs=-1, required=True)
species_option = click.option(
    "--species",
    callback=lambda _context, _option, names: tuple(names.split(",")) if names else None,
    help="Names of species 0 and 1 in tables of atoms and in pictures, such as Mo,Re.",
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")
cluster_option = click.option(
    "--cluster",
    default="local",
    show_default=True,
    help="A profile's name or path, tcp://host:port, tls://host:port or module:function.",
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


class JsonFormatter(logging.Formatter):
    """Formats a message as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The time in UTC, the level, the message, and the fields of the event."""
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(finite(facts))


class LogFile(logging.FileHandler):
    """Appends to a file, created with the first message; a full disk does not stop the command."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Lose the message."""


FORMATTERS = {
    "text": lambda: logging.Formatter("%(asctime)s %(message)s"),
    "json": JsonFormatter,
}


def log_to(handler: logging.Handler, level: int) -> None:
    """Send the messages of this package to a handler while the command runs."""
    logger = logging.getLogger("latticescape")
    before = logger.level

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()

    logger.addHandler(handler)
    logger.setLevel(min(level, before or level))
    # The group logs the traceback of an error after the command's own context is closed.
    click.get_current_context().find_root().call_on_close(end)


def log_options(command: Command) -> Command:
    """Add ``--quiet``, ``--log`` and ``--log-format`` to a command that computes a sweep."""

    @wraps(command)
    def logged(*, quiet: bool, log: Path | None, log_format: str, **options: Any) -> Any:
        verbose = click.get_current_context().meta.get(VERBOSE)
        handlers: list[logging.Handler] = [] if log is None else [LogFile(log)]
        if verbose is not None:
            verbose.setFormatter(FORMATTERS[log_format]())
        elif not quiet and _is_redirected():
            handlers.append(logging.StreamHandler())
        for handler in handlers:
            handler.setFormatter(FORMATTERS[log_format]())
            log_to(handler, logging.INFO if verbose is None else logging.DEBUG)
        return command(quiet=quiet, **options)

    def check(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            folder = check_parent(path)
            allowed = {"allowed": "a file in a folder that exists", "hint": "--log run.log"}
            if folder != path.absolute().parent:
                raise RequestError(f"there is no folder for the log {path}", came=path, **allowed)
            if path.exists() and (path.is_dir() or not os.access(path, os.W_OK)):
                raise RequestError(f"cannot append to the log {path}", came=path, **allowed)
        return path

    for option in (
        click.option(
            "--log-format",
            type=click.Choice(list(FORMATTERS)),
            default="text",
            show_default=True,
            help="Log lines for people, or one JSON object a line.",
        ),
        click.option("--log", type=PATH, callback=check, help="A file to append the log to."),
        click.option(
            "--quiet",
            is_flag=True,
            help="No progress bar; no log on standard error, which it has outside a terminal.",
        ),
    ):
        logged = option(logged)
    return cast(Command, logged)


def _is_redirected() -> bool:
    """Whether standard error is a file or a pipe: no terminal, and no object in its place."""
    try:
        return not os.isatty(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def as_json(command: Command) -> Command:
    """Add ``--json`` and ``--verbose`` to a command."""

    def log(context: click.Context, _: click.Parameter, verbose: bool) -> None:
        if verbose:
            handler = context.meta[VERBOSE] = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
            log_to(handler, logging.DEBUG)

    verbose_option = click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=log,
        help="Log every step, and the traceback of an error.",
    )
    json_option = click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
    return json_option(verbose_option(command))


def example(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def show(facts: dict[str, Any], json_: bool, *lines: str) -> None:
    """Print facts: with ``--json`` as one object, else the lines, or a table if there are none."""
    if json_:
        # Specs may hold dates, which JSON does not have.
        click.echo(json.dumps(finite(facts), default=str))
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
        table.add_row(Text(printable(name), style="bold"), Text(printable(value)))
    return table


def printable(value: object) -> str:
    r"""A value as text, control characters escaped: a store of others may hold those of terminals.

    Examples
    --------
    >>> printable("J\x1b[2J = 1.0 µ")
    'J\\x1b[2J = 1.0 µ'
    """
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in str(value)
    )


def size_text(size: float) -> str:
    """A number of bytes, to two digits.

    Examples
    --------
    >>> size_text(9_123_456), size_text(950)
    ('9.1 MB', '950 B')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{float(f'{size:.2g}'):g} {unit}"


def duration_text(seconds: float) -> str:
    """An approximate duration, to two digits.

    Examples
    --------
    >>> duration_text(80.3), duration_text(7000), duration_text(0.2), duration_text(3e5)
    ('about 80 s', 'about 120 min', 'less than 1 s', 'about 83 h')
    """
    if seconds < 1:
        return "less than 1 s"
    units = (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 360_000), ("days", 86_400, math.inf))
    unit, size = next((unit, size) for unit, size, most in units if seconds < most)
    return f"about {float(f'{seconds / size:.2g}'):g} {unit}"


def draw(make: Callable[[Any], Any], paths: Sequence[Path]) -> None:
    """Write pictures; plotting libraries are imported only if there is one to write."""
    if not paths:
        return
    from latticescape.analysis import plots

    for path in paths:
        picture = make(plots)
        path.parent.mkdir(parents=True, exist_ok=True)
        plots.save(picture, path)


def equilibration_note(flagged: int, points: int) -> str:
    """Which points are not equilibrated, and what cures them.

    Examples
    --------
    >>> equilibration_note(12, 861)[:50]
    'Note: 12 of 861 points are not equilibrated. Try: '
    """
    return (
        f"Note: {flagged} of {points} points are not equilibrated. Try: "
        "latticescape extend STORE --equilibration MCS; or tempering_mcs = 10 in [schedule], if T "
        'is an axis; or update = "cluster", for Ising models without a field'
    )
