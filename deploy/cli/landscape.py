"""Verbs that look at a sweep: ``landscape`` sets it beside images, ``map`` draws it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
import xarray as xr

from latticescape.deploy.cli.options import (
    PATH,
    STORE,
    as_json,
    example,
    observed_argument,
    picture_option,
    species_option,
)
from latticescape.deploy.cli.outputs import check_new, check_pictures, draw, show, write_new
from latticescape.deploy.sources import check_no_sources, is_slab, sources_for
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import open_sweep


@click.command(
    name="landscape",
    epilog=example(
        "latticescape landscape runs/mores2.zarr counts.csv --out landscape.zarr "
        "--picture landscape.html"
    ),
)
@click.argument("store", type=STORE)
@observed_argument
@click.option("--out", type=STORE, help="Folder or URL of a new zarr store for the landscape.")
@picture_option
@species_option
@as_json
def landscape(
    store: StorePath,
    observed: tuple[Path, ...],
    out: StorePath | None,
    picture: tuple[Path, ...],
    species: str | None,
    json_: bool,
) -> None:
    """Statistical distance between a sweep and observed counts.

    OBSERVED is a store of latticescape measure, or several, a table of counts (class columns,
    then one column an image), or tables of atoms (row_px, col_px, species), one an image;
    or, for a slab, a sources.toml that names tables of its sources SO, SN and PR.
    """
    from latticescape.analysis.inference.estimation.fit import fit

    check_pictures(picture)
    if out is not None:
        check_new(out)
    surface, missing = landscape_of(store, observed, species)
    estimate = fit(surface)
    draw(lambda browse: browse.landscape_map(surface), picture)
    if out is not None:
        write_new(surface, out)
    facts: dict[str, object] = {
        "images": names_of_parts(surface),
        "n": surface["n"].values.tolist(),
        "s2": estimate.s2.values.tolist(),
        "s2_total": estimate.s2_total,
        "parameters": estimate.table,
        "border": list(estimate.border),
        "notes": list(estimate.notes),
        "minimum_of_s2_on_the_grid": _grid_minimum(surface),
        "points_missing": missing,
    }
    show(facts, json_)


def _grid_minimum(surface: xr.Dataset) -> dict[str, float]:
    total = surface["s2_total"]
    lowest = np.unravel_index(int(np.nanargmin(total.values)), total.shape)
    at = total.isel(dict(zip(total.dims, lowest, strict=True)))
    return {str(name): float(at[name]) for name in total.dims} | {"s2": float(at)}


def names_of_parts(surface: xr.Dataset) -> list[str]:
    """Of the images, or sources, that a landscape is of."""
    return [str(name) for name in surface[surface["n"].dims[0]].values]


def landscape_of(
    store: StorePath, observed: tuple[Path, ...], species: str | None
) -> tuple[xr.Dataset, int]:
    """The landscape of a store and what was observed, and how many points are not computed."""
    simulated = open_sweep(store)
    missing = int(simulated.done.size - simulated.done.sum())
    return landscape_from(simulated, store, observed, species)(simulated), missing


def landscape_from(
    simulated: xr.Dataset, store: StorePath, observed: tuple[Path, ...], species: str | None
) -> Callable[[xr.Dataset], xr.Dataset]:
    """From a sweep, this one or as it is extended, to its landscape of what was observed."""
    from latticescape.analysis.inference.landscapes.landscape import landscape

    if is_slab(simulated):
        return sources_for(store, observed).landscape
    return partial(landscape, observed=counts_for(simulated, store, observed, species))


def counts_for(
    simulated: xr.Dataset, store: StorePath, observed: tuple[Path, ...], species: str | None
) -> xr.Dataset:
    """What was observed, on the lattice that a store was simulated on."""
    from latticescape.analysis.counts.counting import observed_counts

    check_no_sources(store, simulated, observed)
    if "lattice" not in simulated.attrs:
        raise RequestError(
            f"the store {store} holds no configurations of a lattice",
            came=f"a sweep of {simulated.attrs.get('function')}",
            allowed="a sweep of a lattice model",
        )
    names = tuple(species.split(",")) if species else None
    return observed_counts(observed, lattice=simulated.attrs["lattice"], species=names)


@click.command(
    name="map",
    epilog=example(
        "latticescape map runs/ising.zarr susceptibility --out chi.png",
        "latticescape map runs/mores2.zarr energy --at x=0.597 --out energy.html",
    ),
)
@click.argument("store", type=STORE)
@click.argument("variable")
@click.option("--out", type=PATH, multiple=True, required=True, help="A .png or .html; repeatable.")
@click.option("--at", multiple=True, metavar="AXIS=VALUE", help="Fix an axis; repeatable.")
@click.option("--ridge", is_flag=True, help="Mark where the variable is largest.")
@click.option("--log", is_flag=True, help="Logarithmic colours.")
def map_(
    store: StorePath,
    variable: str,
    out: tuple[Path, ...],
    at: tuple[str, ...],
    ridge: bool,
    log: bool,
) -> None:
    """Draw a variable of a store over two of its axes (or a curve over one)."""
    check_pictures(out)
    simulated = open_sweep(store)
    places = dict(map(_place, at))
    draw(
        lambda browse: browse.variable_map(simulated, variable, at=places, ridge=ridge, log=log),
        out,
    )
    for path in out:
        click.echo(str(path))


def _place(given: str) -> tuple[str, float]:
    name, _, value = given.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise RequestError(
            "--at cannot be read", came=given, allowed="AXIS=VALUE", hint="--at H=0"
        ) from None
