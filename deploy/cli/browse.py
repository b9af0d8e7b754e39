"""The verb ``browse``: a sweep in a browser, also while it runs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import xarray as xr

from latticescape.deploy.cli.interface import PATH, STORE, Number, example, species_option
from latticescape.deploy.sources import SlabSources, counts_for, is_slab, sources_for
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import ModelKernel
from latticescape.physics.variables import SPINS
from latticescape.sweeps.spec.sweep import Sweep, point_seeds
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.store import Store


@click.command(
    name="browse",
    epilog=example(
        "latticescape browse runs/ising.zarr",
        "latticescape browse runs/mores2.zarr --observed counts.csv --port 5007 --no-show",
    ),
)
@click.argument("store", type=STORE)
@click.option(
    "--observed",
    type=PATH,
    multiple=True,
    help="Observed counts, or a slab's sources.toml, as for landscape; repeatable.",
)
@species_option
@click.option("--landscape", type=STORE, help="The store of a landscape.")
@click.option("--posterior", type=PATH, help="Draws of latticescape fit, or an ArviZ file.")
@click.option(
    "--port", type=Number(0, 65535), default=5006, show_default=True, help="0 for any free port."
)
@click.option("--show/--no-show", default=True, help="Open a browser.")
def browse(
    store: StorePath,
    observed: tuple[Path, ...],
    species: tuple[str, ...] | None,
    landscape: StorePath | None,
    posterior: Path | None,
    port: int,
    show: bool,
) -> None:
    """Browse a sweep: maps, points and landscapes, also while it runs.

    For a slab, the page shows the landscape of each source and of all together. The page is served
    to browsers on this machine only, and loads nothing from the network.
    """
    opened = Store(store)
    from latticescape.analysis.app.browser import serve
    from latticescape.analysis.app.reader import Reader
    from latticescape.analysis.app.view import Shown, Sources
    from latticescape.analysis.inference.landscapes.landscape import landscape as compute_landscape

    reader = Reader(lambda: xr.open_zarr(opened.location.zarr, chunks=None), opened.values)
    slab = _slab_sources(store, reader.ds, observed)
    counts = None
    if observed and slab is None:
        counts = counts_for(reader.ds, store, observed, species)
        compute_landscape(_one_point(reader.ds), counts)
    stored = None if landscape is None else _stored_landscape(landscape)
    sources = Sources(
        store=str(opened.location.address),
        observed=tuple(str(path.absolute()) for path in observed),
        species=species,
        landscape=None if landscape is None else str(locate(landscape).address),
        slab=None if slab is None else slab.asked,
    )
    shown = Shown(
        reader,
        sources,
        counts,
        _landscape_function(opened, slab, counts) if stored is None else lambda _: stored,
        None if posterior is None else _samples(posterior),
        _simulation(opened.sweep),
    )
    serve(shown, port=port, show=show, announce=click.echo)


def _slab_sources(store: StorePath, ds: xr.Dataset, files: tuple[Path, ...]) -> SlabSources | None:
    """Return the sources of a slab, checked against its layers; None of any other sweep."""
    if not files or not is_slab(ds):
        return None
    sources = sources_for(store, files)
    sources.landscape(_one_point(ds))
    return sources


def _one_point(ds: xr.Dataset) -> xr.Dataset:
    """Return one point, at every x, which suffices to check observed counts."""
    one: xr.Dataset = ds.isel({axis: [0] for axis in ds["done"].dims if axis != "x"})
    return one


def _landscape_function(
    store: Store, slab: SlabSources | None, counts: xr.Dataset | None
) -> Callable[[xr.Dataset], xr.Dataset] | None:
    from latticescape.analysis.inference.landscapes.landscape import landscape

    if slab is not None:
        compute = slab.landscape
    elif counts is not None:
        compute = partial(landscape, observed=counts)
    else:
        return None
    # In chunks, so that only a part of a large store is in memory at a time.
    return lambda _: compute(xr.open_zarr(store.location.zarr))


def _stored_landscape(path: StorePath) -> xr.Dataset:
    from latticescape.analysis.plots.values import check_landscape

    place = locate(path)
    place.check_exists()
    try:
        landscape: xr.Dataset = xr.open_zarr(place.zarr).load()
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(
            f"{path} is not a landscape",
            came=error,
            hint="latticescape landscape … --out landscape.zarr",
        ) from None
    check_landscape(landscape)
    return landscape


def _samples(path: Path) -> xr.Dataset:
    """Return the draws in a store of ``latticescape fit``, or in an ArviZ file."""
    try:
        if path.is_dir():
            return xr.load_dataset(path, engine="zarr")
        return xr.load_dataset(path, group="posterior", engine="h5netcdf")
    except (OSError, KeyError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read",
            came=error,
            allowed="a store of draws, or an ArviZ file with a posterior",
            hint="latticescape fit … --method posterior --out posterior.zarr",
        ) from None


def _simulation(sweep: Sweep) -> Callable[[dict[str, float]], Any] | None:
    """Return a function that simulates a point's final spins with the sweep's own seeds."""
    kernel = sweep.kernel
    if not isinstance(kernel, ModelKernel) or SPINS not in kernel.keepable:
        return None
    keeping = replace(kernel, keep=(SPINS,))

    def simulate(place: dict[str, float]) -> Any:
        ladder = {axis: sweep.axes[axis] for axis in kernel.uncut_axes if axis in sweep.axes}
        number = max(map(len, ladder.values()), default=1)
        points = {axis: ladder.get(axis, np.full(number, v)) for axis, v in place.items()}
        each = [{axis: float(v[i]) for axis, v in points.items()} for i in range(number)]
        seeds = point_seeds(sweep.seed, map(kernel.parameters, each))
        which = each.index(place) if ladder else 0
        return keeping.compute(points, seeds)["spins"][which]

    return simulate
