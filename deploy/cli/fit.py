"""The verbs ``landscape``, ``fit`` and ``map``: compare a sweep with images, and plot it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli import interface as ui
from latticescape.deploy.derived import write_new
from latticescape.deploy.sources import landscape_function, observations_for
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Store, open_sweep

if TYPE_CHECKING:
    from latticescape.analysis.inference.estimation.fit import Fit

METHODS = ("laplace", "bootstrap", "posterior")
OVERLAPS = ("simulated", "effective", "independent")
COLUMNS = ("value", "se", "low68", "high68", "low95", "high95")

_SHARES = {"low68": 0.16, "high68": 0.84, "low95": 0.025, "high95": 0.975}


@click.command(
    name="landscape",
    epilog=ui.example(
        "latticescape landscape runs/mores2.zarr counts.csv --out landscape.zarr "
        "--picture landscape.html"
    ),
)
@click.argument("store", type=ui.STORE)
@ui.observed_argument
@ui.new_store_option("the landscape")
@ui.picture_option
@ui.species_option
@ui.as_json
def landscape(
    store: StorePath,
    observed: tuple[Path, ...],
    out: StorePath | None,
    picture: tuple[Path, ...],
    species: tuple[str, ...] | None,
    json_: bool,
) -> None:
    """Compute the statistical distance between a sweep and observed counts.

    OBSERVED is a store of latticescape measure, or several; a table of counts (class columns,
    then one column per image); or tables of atoms (row_px, col_px, species), one per image. For a
    slab it is a sources.toml that names tables of its sources SO, SN and PR.
    """
    from latticescape.analysis.inference.estimation.fit import fit
    from latticescape.analysis.inference.landscapes.designs import at_point
    from latticescape.analysis.inference.landscapes.landscape import parameters_of

    surface, missing = landscape_of(store, observed, species)
    estimate = fit(surface)
    ui.draw(lambda plots: plots.landscape_map(surface), picture)
    if out is not None:
        axes, digest = surface["s2_total"].dims, Store(store).digest
        write_new(surface, out, "landscape", axes, sweep=digest, best_fit=estimate.table)
    lowest = at_point(surface, int(np.nanargmin(surface["s2_total"].values)))
    at = {name: float(lowest[name]) for name in parameters_of(surface)}
    facts: dict[str, Any] = {
        "images": names_of_parts(surface),
        "n": surface["n"].values.tolist(),
        "s2": estimate.s2.values.tolist(),
        "s2_total": estimate.s2_total,
        "parameters": estimate.table,
        "border": list(estimate.border),
        "notes": list(estimate.notes),
        "minimum_of_s2_on_the_grid": at | {"s2": float(lowest["s2_total"])},
        "points_missing": missing,
    }
    lines = [f"{name} = {rounded(row)}" for name, row in estimate.table.items()]
    ui.show(facts, json_, *lines, *_s2_lines(facts, estimate))


def names_of_parts(surface: xr.Dataset) -> list[str]:
    """The names of the images, or sources, of a landscape."""
    return [str(name) for name in surface[surface["n"].dims[0]].values]


def landscape_of(
    store: StorePath, observed: Sequence[Path], species: tuple[str, ...] | None
) -> tuple[xr.Dataset, int]:
    """The landscape of a store, and the number of points that are not computed."""
    simulated = open_sweep(store)
    missing = int(simulated.done.size - simulated.done.sum())
    observations = observations_for(simulated, store, observed, species)
    return landscape_function(observations)(simulated), missing


def rounded(row: dict[str, float]) -> str:
    """A value and its standard error, rounded to two digits of the error."""
    from latticescape.analysis.plots.labels import value_text

    return value_text(row["value"], row["se"])


def _s2_lines(facts: dict[str, Any], estimate: "Fit") -> list[str]:
    """S² of each image and of all, the notes, and the number of points that are missing."""
    from latticescape.analysis.plots.labels import value_text

    rows = zip(facts["images"], facts["n"], facts["s2"], strict=True)
    total, missing = value_text(estimate.s2_total, estimate.s2_total_se), facts["points_missing"]
    return [
        *(f"{image}: N = {number:g}, S² = {s2:.5f}" for image, number, s2 in rows),
        f"total: S² = {total} (Monte Carlo)",
        f"likelihood: {estimate.likelihood}, neighbourhoods taken as: {estimate.overlap}",
        *(f"note: {note}" for note in facts["notes"]),
        *([f"points not computed: {missing}"] if missing else []),
    ]


@click.command(
    epilog=ui.example(
        "latticescape fit runs/mores2.zarr counts.csv",
        "latticescape fit runs/mores2.zarr observed.zarr --method posterior --out posterior.zarr",
    )
)
@click.argument("store", type=ui.STORE)
@ui.observed_argument
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="laplace",
    show_default=True,
    help="Estimate errors from the curvature, from bootstrap samples or from Markov chains.",
)
@click.option(
    "--overlap",
    type=click.Choice(OVERLAPS),
    help="How to treat neighbourhoods that share atoms [default: the first that is possible]; "
    "independent for counts of single draws.",
)
@click.option("--draws", type=ui.POSITIVE, help="Number of bootstrap samples or posterior draws.")
@click.option("--seed", type=ui.SEED, default=1, show_default=True, help="Seed of the draws.")
@ui.new_store_option("the draws")
@ui.picture_option
@ui.species_option
@ui.as_json
def fit(
    store: StorePath,
    observed: tuple[Path, ...],
    method: str,
    overlap: Any,
    out: StorePath | None,
    picture: tuple[Path, ...],
    species: tuple[str, ...] | None,
    json_: bool,
    **options: int | None,
) -> None:
    """Estimate the parameters of a sweep's model from observed counts, with errors.

    OBSERVED is a store of latticescape measure, or several; a table of counts (class columns,
    then one column per image); or tables of atoms (row_px, col_px, species), one per image. For a
    slab it is a sources.toml that names tables of its sources SO, SN and PR.
    """
    from latticescape.analysis.inference.estimation.fit import fit

    landscape, missing = landscape_of(store, observed, species)
    best = fit(landscape, overlap=overlap)
    samples, notes, checks = _samples(landscape, method, overlap=overlap, **options)
    table = best.table
    if samples is not None:
        for name, row in table.items():
            values = samples[name].values
            ends = {end: float(np.quantile(values, share)) for end, share in _SHARES.items()}
            table[name] = {"value": row["value"], "se": float(values.std(ddof=1)), **ends}
    ui.draw(lambda plots: plots.landscape_map(landscape, overlap=overlap), picture)
    if out is not None:
        columns = {c: ("parameter", [row[c] for row in table.values()]) for c in COLUMNS}
        intervals = xr.Dataset({"parameter": ("parameter", list(table)), **columns})
        made = intervals if samples is None else samples
        write_new(made, out, "fit", made.sizes, sweep=Store(store).digest, best_fit=table)
    facts: dict[str, Any] = {
        "method": method,
        "overlap": best.overlap,
        "likelihood": best.likelihood,
        "images": names_of_parts(landscape),
        "n": landscape["n"].values.tolist(),
        "parameters": table,
        "s2": best.s2.values.tolist(),
        "s2_total": best.s2_total,
        "s2_total_se": best.s2_total_se,
        "border": list(best.border),
        "extension": {name: list(ends) for name, ends in best.extension.items()},
        "flat": [direction.sentence for direction in best.flat],
        "notes": [*dict.fromkeys((*best.notes, *notes))],
        "points_missing": missing,
        **checks,
    }
    if not json_:
        Console().print(_parameter_table(method, table))
    ui.show(facts, json_, *_s2_lines(facts, best))


def _samples(
    landscape: xr.Dataset, method: str, **options: Any
) -> tuple[xr.Dataset | None, tuple[str, ...], dict[str, Any]]:
    """Draws of the parameters, further notes, and diagnostics."""
    from latticescape.analysis.inference.estimation.bootstrap import bootstrap
    from latticescape.analysis.inference.estimation.posterior import posterior

    options = {name: value for name, value in options.items() if value is not None}
    if method == "bootstrap":
        return bootstrap(landscape, **options).draws, (), {}
    if method == "posterior":
        chains = posterior(landscape, **options).posterior
        diagnostics = {str(name): dict(values.attrs) for name, values in chains.data_vars.items()}
        samples = chains.to_dataset() if hasattr(chains, "to_dataset") else chains
        notes = tuple(map(str, np.atleast_1d(chains.attrs["notes"])))
        return samples.drop_attrs(), notes, {"diagnostics": diagnostics}
    return None, (), {}


def _parameter_table(method: str, parameters: dict[str, dict[str, float]]) -> Table:
    """The parameters and their intervals, all rounded to the digits of the standard error."""
    table = Table(title=f"errors by {method}", title_justify="left")
    for head in ("", "value ± error", "68 %", "95 %"):
        table.add_column(head, justify="right")
    for name, row in parameters.items():
        ends = {end: rounded({"value": row[end], "se": row["se"]}).split()[0] for end in _SHARES}
        table.add_row(
            name,
            rounded(row),
            f"{ends['low68']} … {ends['high68']}",
            f"{ends['low95']} … {ends['high95']}",
        )
    return table


@click.command(
    name="map",
    epilog=ui.example(
        "latticescape map runs/ising.zarr susceptibility --out chi.png",
        "latticescape map runs/mores2.zarr energy --at x=0.597 --out energy.html",
    ),
)
@click.argument("store", type=ui.STORE)
@click.argument("variable")
@ui.pictures_option("--out", required=True, help="A .png or .html; repeatable.")
@ui.number_option("--at", "AXIS=VALUE", "H=0", words=True, help="Fix an axis; repeatable.")
@click.option("--ridge", is_flag=True, help="Mark where the variable is largest.")
@click.option("--log", is_flag=True, help="Logarithmic colours.")
def map_(
    store: StorePath,
    variable: str,
    out: tuple[Path, ...],
    at: list[tuple[str, float | str]],
    ridge: bool,
    log: bool,
) -> None:
    """Plot a variable of a store as a map over two of its axes, or as a curve over one."""
    simulated = open_sweep(store)
    options: Any = {"at": dict(at), "ridge": ridge, "log": log}
    ui.draw(lambda plots: plots.variable_map(simulated, variable, **options), out)
    from latticescape.analysis.plots.values import nearest

    for axis, value in at:
        if isinstance(value, str):
            continue
        shown = float(simulated[axis][nearest(simulated, axis, value)])
        if abs(shown - value) > 1e-9 * max(1.0, abs(value)):
            click.echo(f"{axis} = {value:g} was not simulated: {shown:g} is shown", err=True)
    opened = Store(store)
    states = opened.states()
    if flagged := opened.not_equilibrated(states):
        click.echo(ui.equilibration_note(flagged, states.size), err=True)
    click.echo("\n".join(map(str, out)))
