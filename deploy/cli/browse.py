"""The verb ``browse``: a sweep in a browser, also while it runs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import xarray as xr

from latticescape.deploy.cli.options import PATH, STORE, Number, example, species_option
from latticescape.deploy.sources import SlabSources, check_no_sources, is_slab, sources_for
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import ModelKernel
from latticescape.physics.variables import SPINS
from latticescape.sweeps.spec.seeding import point_seeds
from latticescape.sweeps.spec.sweep import Sweep
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
@click.option("--scape", type=STORE, help="A landscape's store, computed before.")
@click.option("--posterior", type=PATH, help="Draws of latticescape fit, or an ArviZ file.")
@click.option(
    "--port", type=Number(0, 65535), default=5006, show_default=True, help="0 for any free one."
)
@click.option("--show/--no-show", default=True, help="Open a browser.")
def browse(
    store: StorePath,
    observed: tuple[Path, ...],
    species: str | None,
    scape: StorePath | None,
    posterior: Path | None,
    port: int,
    show: bool,
) -> None:
    """Look at a sweep in a browser: maps, points, landscapes; also while it runs.

    Of a slab each source has its landscape, and all together. The page is for browsers of this
    machine, and asks nothing of any other.
    """
    opened = Store(store)
    names = tuple(species.split(",")) if species else None
    from latticescape.analysis.app.export import Sources
    from latticescape.analysis.app.reader import Reader
    from latticescape.analysis.app.server import serve
    from latticescape.analysis.app.shown import Shown

    reader = Reader(lambda: xr.open_zarr(opened.location.zarr, chunks=None), opened.whole)
    seen = _slab_seen(store, reader.ds, observed)
    counts = None if seen else _observed(store, reader.ds, observed, names)
    scape_of = _always(_scape(scape)) if scape is not None else _scape_of(opened, seen, counts)
    sources = Sources(
        store=str(opened.location.address),
        observed=tuple(str(path.absolute()) for path in observed),
        species=names,
        scape=None if scape is None else str(locate(scape).address),
        slab=None if seen is None else seen.asked,
    )
    samples = None if posterior is None else _samples(posterior)
    shown = Shown(reader, sources, counts, scape_of, samples, _simulation(opened.sweep))
    serve(shown, port=port, show=show, told=click.echo)


def _slab_seen(store: StorePath, ds: xr.Dataset, files: tuple[Path, ...]) -> SlabSources | None:
    """The sources of a slab, refused if they are not of its layers; None of anything else."""
    if not files or not is_slab(ds):
        return None
    seen = sources_for(store, files)
    seen.landscape(_one_point(ds))
    return seen


def _observed(
    store: StorePath, ds: xr.Dataset, files: tuple[Path, ...], species: tuple[str, ...] | None
) -> xr.Dataset | None:
    """Counts per image, refused if they are of other configurations."""
    if not files:
        return None
    check_no_sources(store, ds, files)
    if "lattice" not in ds.attrs:
        raise RequestError(
            "the store holds no configurations of a lattice",
            came=f"a sweep of {ds.attrs.get('function')}",
            allowed="a sweep of a lattice model, or no --observed",
        )
    from latticescape.analysis.counts.counting import observed_counts
    from latticescape.analysis.inference.landscapes.landscape import landscape

    counts = observed_counts(files, lattice=ds.attrs["lattice"], species=species)
    landscape(_one_point(ds), counts)
    return counts


def _one_point(ds: xr.Dataset) -> xr.Dataset:
    """Enough of a sweep to tell whether what was observed fits: one point, of every x."""
    one: xr.Dataset = ds.isel({axis: [0] for axis in ds["done"].dims if axis != "x"})
    return one


def _scape_of(
    store: Store, seen: SlabSources | None, counts: xr.Dataset | None
) -> Callable[[xr.Dataset], xr.Dataset] | None:
    from latticescape.analysis.inference.landscapes.landscape import landscape

    if seen is not None:
        make = seen.landscape
    elif counts is not None:
        make = partial(landscape, observed=counts)
    else:
        return None
    # In chunks, so that of a large store only some are in memory at a time.
    return lambda _: make(xr.open_zarr(store.location.zarr))


def _always(scape: xr.Dataset) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda _: scape


def _scape(path: StorePath) -> xr.Dataset:
    from latticescape.analysis.plots.surfaces import check_landscape

    place = locate(path)
    place.check_there()
    try:
        scape: xr.Dataset = xr.open_zarr(place.zarr).load()
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(
            f"{path} is no landscape", came=error, hint="latticescape landscape … --out scape.zarr"
        ) from None
    check_landscape(scape)
    return scape


def _samples(path: Path) -> xr.Dataset:
    """Of a store that ``latticescape fit`` wrote, or of a file of ArviZ."""
    try:
        if path.is_dir():
            return xr.load_dataset(path, engine="zarr")
        return xr.load_dataset(path, group="posterior", engine="h5netcdf")
    except (OSError, KeyError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read",
            came=error,
            allowed="a store of draws, or a file of ArviZ that holds a posterior",
            hint="latticescape fit … --method posterior --out posterior.zarr",
        ) from None


def _simulation(sweep: Sweep) -> Callable[[dict[str, float]], Any] | None:
    """The last spins of a point as the sweep had them: same seed, same schedule."""
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
