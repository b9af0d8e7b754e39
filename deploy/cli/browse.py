"""The verb ``browse``: a sweep in a browser, also while it runs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import xarray as xr

from latticescape.deploy.cli.interface import PATH, STORE, Number, example, species_option
from latticescape.deploy.sources import (
    SlabSources,
    landscape_function,
    observations_for,
    species_of_spec,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import ModelKernel
from latticescape.physics.variables import SPINS
from latticescape.sweeps.spec.sweep import Sweep, point_seeds
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.store import Store, open_dataset, open_sweep


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
@click.option(
    "--token/--no-token",
    default=None,
    help="Put a secret into the address [default: if other people use this machine].",
)
def browse(
    store: StorePath,
    observed: tuple[Path, ...],
    species: tuple[str, ...] | None,
    landscape: StorePath | None,
    posterior: Path | None,
    port: int,
    show: bool,
    token: bool | None,
) -> None:
    """Browse a sweep: maps, points and landscapes, also while it runs.

    For a slab, the page shows the landscape of each source and of all together. The page is served
    to browsers on this machine only, and loads nothing from the network.
    """
    opened = Store(store)
    opened.check_axes()
    from latticescape.analysis.app.browser import is_shared_machine, serve
    from latticescape.analysis.app.reader import Reader, without_markup
    from latticescape.analysis.app.view import Shown, Sources

    reader = Reader(lambda: open_dataset(opened.location, chunks=None), opened.values)
    species = species or species_of_spec(reader.ds)
    observations: xr.Dataset | SlabSources | None = None
    compute: Any = None
    if observed:
        observations = observations_for(reader.ds, store, observed, species)
        if isinstance(observations, xr.Dataset):
            observations = without_markup(observations)
        compute = landscape_function(observations)
        # One point at every x suffices to check the observations.
        compute(reader.ds.isel({axis: [0] for axis in reader.ds["done"].dims if axis != "x"}))
    stored = None if landscape is None else _stored_landscape(landscape)

    def landscape_of(_: xr.Dataset) -> xr.Dataset:
        # In chunks, so that only a part of a large store is in memory at a time.
        return compute(open_sweep(store)) if stored is None else stored

    slab = observations if isinstance(observations, SlabSources) else None
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
        None if isinstance(observations, SlabSources) else observations,
        landscape_of if observed or landscape is not None else None,
        None if posterior is None else _samples(posterior),
        _simulation(opened.sweep),
    )
    secret = is_shared_machine() if token is None else token
    serve(shown, port=port, show=show, token=secret, announce=click.echo)


def _stored_landscape(path: StorePath) -> xr.Dataset:
    from latticescape.analysis.app.reader import without_markup
    from latticescape.analysis.plots.values import check_landscape

    place = locate(path)
    place.check_exists()
    try:
        landscape = open_dataset(place, loaded=True).load()
    except RequestError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(
            f"{path} is not a landscape", came=error, hint="latticescape landscape … --out l.zarr"
        ) from None
    check_landscape(landscape)
    return without_markup(landscape)


def _samples(path: Path) -> xr.Dataset:
    """Return the draws in a store of ``latticescape fit``, or in an ArviZ file."""
    try:
        if path.is_dir():
            return open_dataset(locate(path), loaded=True, chunks=None).load()
        return xr.load_dataset(path, group="posterior", engine="h5netcdf")
    except RequestError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise RequestError(
            f"{path} holds no draws",
            came=error,
            hint="latticescape fit … --method posterior --out p.zarr",
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
