"""The verbs ``list``, ``status``, ``watch``, ``info``, ``verify`` and those that copy a store."""

import math
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from latticescape.deploy.cli import interface as ui
from latticescape.physics.errors import shortened
from latticescape.physics.variables import STATES
from latticescape.sweeps.store.catalogue import StoreSummary, catalogue
from latticescape.sweeps.store.consolidate import consolidate as consolidate_store
from latticescape.sweeps.store.export import Format
from latticescape.sweeps.store.export import export as export_store
from latticescape.sweeps.store.label import label, read_label
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.status import Status
from latticescape.sweeps.store.status import status as store_status
from latticescape.sweeps.store.store import Store
from latticescape.sweeps.store.verify import verify as verify_store

# The tables of a spec that define what was simulated, and how.
TABLES = ("lattice", "model", "kernel", "schedule")
PROVENANCE = ("created", "versions", "source_digest", "git_revision")


def watch_store(
    store: StorePath,
    *,
    every: float = 1.0,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Show the progress of a store until the work on it ends.

    Parameters
    ----------
    store
        The store's folder, or URL.
    every
        Seconds between two updates.
    console, sleep
        The console to print to, and the function that waits.

    Returns
    -------
    Status
        The last status.

    Raises
    ------
    RequestError
        If there is no store.
    """
    progress = store_status(store)
    with Live(progress_table(progress), console=console, auto_refresh=False) as live:
        while progress.active:
            sleep(every)
            progress = store_status(store)
            live.update(progress_table(progress), refresh=True)
    return progress


def progress_table(progress: Status) -> Table:
    """A table of a bar, the points in each state, the time left and the owner."""
    width = 40
    filled = round(width * progress.done / progress.points)
    states = ("done", "running", "pending", "failed", "poisoned")
    counts = {name: getattr(progress, name) for name in states}
    left = progress.seconds_left
    bar = f"{'━' * filled}{'╌' * (width - filled)} {progress.done / progress.points:.0%}"
    return ui.fact_table(
        {
            "store": progress.store,
            "progress": bar,
            "points": ", ".join(f"{number} {name}" for name, number in counts.items() if number),
            "blocks": f"{progress.blocks_running} running, {progress.blocks_pending} pending",
            "time left": "unknown" if left is None else ui.duration_text(left),
            "owner": progress.owner or "none",
        }
    )


@click.command(epilog=ui.example("latticescape watch runs/ising.zarr"))
@click.argument("store", type=ui.STORE)
@click.option(
    "--every", type=click.FloatRange(min=0.1), default=1.0, help="Seconds between two updates."
)
def watch(store: StorePath, every: float) -> None:
    """Follow the progress of a store live. Exit code 1 if points are missing at the end."""
    sys.exit(0 if watch_store(store, every=every).complete else 1)


@click.command(epilog=ui.example("latticescape status runs/ising.zarr"))
@click.argument("store", type=ui.STORE)
@ui.as_json
def status(store: StorePath, json_: bool) -> None:
    """Show progress, owner and time left of a store."""
    progress = store_status(store)
    opened = Store(store)
    flagged = opened.not_equilibrated(opened.states())
    if json_:
        ui.show(progress.as_dict() | {"not_equilibrated": flagged}, json_)
        return
    Console().print(progress_table(progress))
    if flagged:
        click.echo(ui.equilibration_note(flagged, progress.points))


@click.command("list", epilog=ui.example("latticescape list runs", "latticescape list --json"))
@click.argument("folder", type=click.Path(), default=".")
@ui.as_json
def list_(folder: str, json_: bool) -> None:
    """List the stores in FOLDER and below: kind, model, axes, state, size, age [default: here].

    Landscapes, fits, measurements and phase diagrams that a command wrote are listed too. The best
    fit of a sweep is that of the newest landscape or fit in FOLDER that was made from it. Hidden
    folders and links to folders are left out. A store that cannot be read is listed with the
    reason.
    """
    stores = catalogue(folder)
    if json_:
        ui.show({"stores": [store.as_dict() for store in stores]}, json_)
        return
    if not stores:
        click.echo(f"no stores in {folder}")
        return
    table = Table("store", box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    for name in ("model", "axes"):
        table.add_column(name)
    for name in ("state", "size", "age"):
        table.add_column(name, no_wrap=True)
    fitted = any(store.best_fit for store in stores)
    if fitted:
        table.add_column("best fit")
    if any(store.tags or store.note for store in stores):
        table.add_column("tags; note")
    for store in stores:
        cells = (
            store.store,
            store.kind,
            _model_text(store),
            " × ".join(f"{name} {number}" for name, number in store.axes.items()),
            "error" if store.error else _state_text(store.status),
            ui.size_text(store.bytes_stored),
            _age_text(store.created),
            *([_fit_text(store.best_fit)] if fitted else []),
            "; ".join(text for text in (", ".join(store.tags), store.note) if text),
        )
        shown = cells[: len(table.columns)]
        table.add_row(*(Text(ui.printable(cell), overflow="fold") for cell in shown))
    Console().print(table)
    for store in stores:
        if store.error:
            click.echo(f"Error: {ui.printable(store.error)}", err=True)


def _model_text(store: StoreSummary) -> str:
    """The model and its lattice, or the function that was swept."""
    if store.model is None:
        return str((store.kernel or {}).get("name", ""))
    text = shortened(_words(store.model), 60)
    return text if store.lattice is None else f"{text} on {shortened(_words(store.lattice), 60)}"


def _state_text(progress: Status | None) -> str:
    if progress is None:
        return ""
    failed = progress.failed + progress.poisoned
    return (
        f"{progress.done}/{progress.points} done"
        + (f", {failed} failed" if failed else "")
        + (", at work" if progress.active else "")
    )


def _fit_text(estimates: Mapping[str, Mapping[str, float | None]]) -> str:
    from latticescape.analysis.plots.labels import value_text  # lazy: imports xarray

    rows = [(name, row["value"], row["se"]) for name, row in estimates.items()]
    return "\n".join(
        f"{name} = {value_text(value or 0.0, math.inf if se is None else se)}"
        for name, value, se in rows
    )


def _age_text(created: str) -> str:
    """How long ago a time was, ``"?"`` for a text that is not a time."""
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(created)
    except (ValueError, TypeError):
        return "?"
    return ui.duration_text(age.total_seconds()).removeprefix("about ")


@click.command(
    epilog=ui.example(
        "latticescape info runs/ising.zarr",
        'latticescape info runs/ising.zarr --tag draft --note "for figure 3"',
    )
)
@click.argument("store", type=ui.STORE)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help='A tag to write into the store instead of its tags; repeatable. "" for none.',
)
@click.option("--note", help='A note to write into the store instead of its note. "" for none.')
@ui.as_json
def info(store: StorePath, tags: tuple[str, ...], note: str | None, json_: bool) -> None:
    """Describe a store: lattice, model, axes, schedule, versions, kernel, state and size.

    With --tag or --note, write these into the store first; its results and digest stay the same.
    """
    if tags or note is not None:
        chosen = () if tags == ("",) else tags
        label(store, tags=chosen if tags else None, note=note)
    facts = describe(Store(store))
    if json_:
        ui.show(facts, json_)
        return
    tables = {name: _words(facts[name]) for name in TABLES if isinstance(facts.get(name), dict)}
    states = ", ".join(f"{facts[name]} {name}" for name in STATES if facts[name])
    cut = " × ".join(map(str, facts["block_shape"]))
    axes = {
        f"axis {name}": ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
        if len(values) < 4 or not isinstance(values[0], float)
        else f"{len(values)} values from {min(values):g} to {max(values):g}"
        for name, values in facts["axes"].items()
    }
    stored = facts["bytes_stored"]
    marks = {"tags": ", ".join(facts["tags"]), "note": facts["note"]}
    shown = {
        "store": facts["store"],
        **tables,
        **axes,
        "seed": str(facts["seed"]),
        "computed by": ", ".join(str(facts[n]) for n in ("kernel_version", "rule") if facts[n]),
        "state": f"{facts['points']} points: {states}"
        + (f", {flagged} not equilibrated" if (flagged := facts["not_equilibrated"]) else ""),
        "blocks": f"{facts['blocks']} of {cut} points"
        + (", consolidated (read-only)" if facts["consolidated"] else ""),
        "size": ui.size_text(facts["bytes"])
        + ("" if stored is None else f", {ui.size_text(stored)} on disk"),
        "versions": _words(facts["versions"] or {}),
        "created": " ".join(str(facts[name]) for name in ("created", "git_revision")).strip(),
        "digest": facts["digest"],
        **{name: text for name, text in marks.items() if text},
    }
    Console().print(ui.fact_table(shown))


def describe(store: Store) -> dict[str, Any]:
    """Describe a store as one JSON object, also a store that another version wrote.

    Parameters
    ----------
    store
        The opened store.
    """
    attrs, states = store.group.attrs, store.states()
    spec = tomllib.loads(str(attrs["spec"]))
    arrays = store.arrays()
    axes = {name: values.tolist() for name, values in store.axes.items()}
    return {
        "store": str(store.path),
        "digest": store.digest,
        **{name: spec[name] for name in TABLES if name in spec},
        "axes": axes,
        "seed": attrs.get("seed"),
        "kernel_version": attrs.get("kernel"),
        "rule": attrs.get("rule"),
        "points": states.size,
        **{name: int((states == number).sum()) for number, name in enumerate(STATES)},
        "not_equilibrated": store.not_equilibrated(states),
        "blocks": len(store.blocks),
        "block_shape": attrs["block_shape"],
        "consolidated": store.consolidated,
        "variables": sorted(set(arrays) - set(axes)),
        "bytes": sum(array.nbytes for array in arrays.values()),
        "bytes_stored": store.location.bytes_stored(),
        **{name: attrs.get(name) for name in PROVENANCE},
        **read_label(store.records).model_dump(),
    }


def _words(table: Mapping[str, Any]) -> str:
    """Names and values; a kind needs no name."""
    texts = {name: _text(value) for name, value in table.items()}
    return ", ".join(text if name == "kind" else f"{name} {text}" for name, text in texts.items())


def _text(value: Any) -> str:
    """A value of a spec without quotes: lists with spaces, tables with colons."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(part)}" for name, part in value.items())
    if isinstance(value, list):
        parts = [f"({_text(v)})" if isinstance(v, list) else _text(v) for v in value]
        return " ".join(parts)
    return str(value)


@click.command(
    epilog=ui.example("latticescape verify runs/ising.zarr", "latticescape verify s.zarr --repair")
)
@click.argument("store", type=ui.STORE)
@click.option(
    "--repair", is_flag=True, help="Make damaged points pending, and write damaged axes again."
)
@ui.as_json
def verify(store: StorePath, repair: bool, json_: bool) -> None:
    """Check every point against its checksum, and the axes against the spec.

    The exit code is 1 if anything is damaged, repaired or not.
    """
    result = verify_store(store, repair=repair)
    damages = [f"the axis {name} differs from the spec" for name in result.axes]
    damages += [str(damage) for damage in result.damages]
    facts = {
        "store": result.store,
        "points": result.points,
        "done": result.done,
        "damaged": result.damaged,
        "blocks_damaged": len(result.damages),
        "axes_damaged": list(result.axes),
        "repaired": repair,
        **({"damages": damages} if json_ else {}),
    }
    summary = (
        f"{result.store}: {result.done} of {result.points} points are done, "
        f"{result.damaged or 'none'} damaged"
        + (" and now pending" if repair and result.damaged else "")
    )
    ui.show(facts, json_, summary)
    for line in damages:
        click.echo(f"Error: {line}", err=True)
    if damages and not repair:
        click.echo(f"Try: {result.hint}", err=True)
    sys.exit(1 if damages else 0)


@click.command(epilog=ui.example("latticescape merge runs/a.zarr runs/b.zarr --out runs/both.zarr"))
@click.argument("stores", type=ui.STORE, nargs=-1)
@click.option("--out", type=ui.STORE, required=True, help="Folder or URL of the new store.")
@ui.as_json
def merge(stores: tuple[StorePath, ...], out: StorePath, json_: bool) -> None:
    """Unite STORES of parts of one sweep in OUT."""
    from latticescape.sweeps.store.merge import merge as merge_stores  # lazy: imports Numba

    made = merge_stores(stores, out)
    copied = ", ".join(
        f"{number} from {store}" for store, number in zip(stores, made.copied, strict=True)
    )
    ui.show(made.as_dict(), json_, f"{made.store}: {made.done} of {made.points} points ({copied})")


@click.command(epilog=ui.example("latticescape consolidate runs/ising.zarr share/ising.zarr"))
@click.argument("store", type=ui.STORE)
@click.argument("out", type=ui.STORE)
@click.option(
    "--partial", is_flag=True, help="Copy an unfinished store; its missing points stay missing."
)
@ui.as_json
def consolidate(store: StorePath, out: StorePath, partial: bool, json_: bool) -> None:
    """Copy a finished store into OUT: a few large files to share, read-only."""
    made = consolidate_store(store, out, partial=partial)
    summary = (
        f"{made.store}: {made.done} of {made.points} points in {made.files} files, "
        f"{ui.size_text(made.bytes)}"
    )
    ui.show(made.as_dict(), json_, summary)


@click.command(
    epilog=ui.example(
        "latticescape export runs/ising.zarr ising.nc",
        "latticescape export runs/ising.zarr ising.csv --to csv",
        "latticescape export runs/ising.zarr crate --to ro-crate --author 'A. Name'",
    )
)
@click.argument("store", type=ui.STORE)
@click.argument("out", type=ui.PATH)
@click.option(
    "--to",
    type=click.Choice(get_args(Format)),
    default="netcdf",
    show_default=True,
    help="A file with all variables, a table of the points, or a folder with both.",
)
@click.option("--author", default="", help="Who made the RO-Crate.")
@click.option("--license", "license_", default="", help="URL of the licence of the RO-Crate.")
@ui.as_json
def export(store: StorePath, out: Path, to: str, author: str, license_: str, json_: bool) -> None:
    """Write the results of STORE into OUT, for other programs and for repositories.

    An unfinished store is exported too: its other points are NaN, and their state says why.
    """
    made = export_store(store, out, cast("Format", to), author=author, license=license_)
    missing = made.points - made.done
    if missing:
        click.echo(
            f"Warning: {missing} of {made.points} points are not done: they are NaN, and state "
            "says why.",
            err=True,
        )
    without = f", without {', '.join(made.left_out)} (see --to netcdf)" if made.left_out else ""
    summary = f"{made.path}: {made.done} of {made.points} points{without}"
    ui.show(made.as_dict(), json_, summary)
