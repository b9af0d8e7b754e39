"""``latticescape fit``: parameters and how sure they are."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import xarray as xr
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli.landscape import landscape_of, names_of_parts
from latticescape.deploy.cli.options import (
    POSITIVE,
    STORE,
    Number,
    as_json,
    example,
    observed_argument,
    picture_option,
    species_option,
)
from latticescape.deploy.cli.outputs import check_new, check_pictures, draw, show, write_new
from latticescape.sweeps.store.location import StorePath

METHODS = ("laplace", "bootstrap", "posterior")
OVERLAPS = ("independent", "simulated", "effective")
COLUMNS = ("value", "se", "low68", "high68", "low95", "high95")

_SHARES = {"low68": 0.16, "high68": 0.84, "low95": 0.025, "high95": 0.975}


@click.command(
    epilog=example(
        "latticescape fit runs/mores2.zarr counts.csv",
        "latticescape fit runs/mores2.zarr observed.zarr --method posterior --out posterior.zarr",
    )
)
@click.argument("store", type=STORE)
@observed_argument
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="laplace",
    show_default=True,
    help="Where errors come from: the curvature, experiments drawn anew, or Markov chains.",
)
@click.option(
    "--overlap",
    type=click.Choice(OVERLAPS),
    help="How overlapping neighbourhoods are taken [default: what the counts show].",
)
@click.option("--draws", type=POSITIVE, help="Of bootstrap and posterior.")
@click.option("--seed", type=Number(min=0), default=1, show_default=True, help="Of the draws.")
@click.option("--out", type=STORE, help="Folder or URL of a new zarr store for the draws.")
@picture_option
@species_option
@as_json
def fit(
    store: StorePath,
    observed: tuple[Path, ...],
    method: str,
    overlap: Any,
    draws: int | None,
    seed: int,
    out: StorePath | None,
    picture: tuple[Path, ...],
    species: str | None,
    json_: bool,
) -> None:
    """Parameters of a sweep's model from observed counts, with errors.

    OBSERVED is a store of latticescape measure, or several, a table of counts (class columns,
    then one column an image), or tables of atoms (row_px, col_px, species), one an image;
    or, for a slab, a sources.toml that names tables of its sources SO, SN and PR.
    """
    from latticescape.analysis.inference.estimation.fit import fit

    check_pictures(picture)
    if out is not None:
        check_new(out)
    landscape, missing = landscape_of(store, observed, species)
    best = fit(landscape, overlap=overlap)
    drawn, notes, checks = _drawn(landscape, method, overlap, draws, seed)
    table = best.table
    if drawn is not None:
        table = {n: _quantiles(row["value"], drawn[n].values) for n, row in table.items()}
    draw(lambda browse: browse.landscape_map(landscape, overlap=overlap), picture)
    if out is not None:
        write_new(drawn if drawn is not None else xr.Dataset(_columns(table)), out)
    facts: dict[str, Any] = {
        "method": method,
        "overlap": best.overlap,
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
    if json_:
        show(facts, json_)
    else:
        _print(facts)


def _drawn(
    landscape: xr.Dataset, method: str, overlap: Any, draws: int | None, seed: int
) -> tuple[xr.Dataset | None, tuple[str, ...], dict[str, Any]]:
    """Draws of the parameters, what they add to the notes, and diagnostics."""
    from latticescape.analysis.inference.estimation.bootstrap import bootstrap
    from latticescape.analysis.inference.estimation.posterior import posterior

    asked: dict[str, Any] = {"overlap": overlap, "seed": seed}
    if draws is not None:
        asked["draws"] = draws
    if method == "bootstrap":
        return bootstrap(landscape, **asked).draws, (), {}
    if method == "posterior":
        chains = posterior(landscape, **asked).posterior
        diagnostics = {str(name): dict(values.attrs) for name, values in chains.data_vars.items()}
        found = chains.to_dataset() if hasattr(chains, "to_dataset") else chains
        notes = tuple(map(str, np.atleast_1d(chains.attrs["notes"])))
        return found.drop_attrs(), notes, {"diagnostics": diagnostics}
    return None, (), {}


def _quantiles(value: float, draws: npt.NDArray[np.float64]) -> dict[str, float]:
    ends = {end: float(np.quantile(draws, share)) for end, share in _SHARES.items()}
    return {"value": value, "se": float(draws.std(ddof=1)), **ends}


def _columns(table: dict[str, dict[str, float]]) -> dict[str, Any]:
    names = list(table)
    every = {column: ("parameter", [table[n][column] for n in names]) for column in COLUMNS}
    return {"parameter": ("parameter", names), **every}


def _print(facts: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"errors by {facts['method']}", title_justify="left")
    for head in ("", "value", "error", "68 %", "95 %"):
        table.add_column(head, justify="right")
    for name, row in facts["parameters"].items():
        table.add_row(
            name,
            f"{row['value']:.4f}",
            f"{row['se']:.4f}",
            f"{row['low68']:.4f} … {row['high68']:.4f}",
            f"{row['low95']:.4f} … {row['high95']:.4f}",
        )
    console.print(table)
    for image, number, s2 in zip(facts["images"], facts["n"], facts["s2"], strict=True):
        console.print(f"{image}: N = {number:g}, S² = {s2:.5f}", highlight=False)
    console.print(
        f"total: S² = {facts['s2_total']:.5f} ± {facts['s2_total_se']:.5f} (Monte Carlo)",
        highlight=False,
    )
    console.print(f"neighbourhoods taken as: {facts['overlap']}", highlight=False)
    for note in facts["notes"]:
        console.print(f"note: {note}", highlight=False)
    if facts["points_missing"]:
        console.print(f"points not computed: {facts['points_missing']}", highlight=False)
