"""Pictures of one point of a sweep: its configurations, and a snapshot of its lattice."""

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.analysis.inference.landscapes.landscape import check_histograms
from latticescape.analysis.phases.ordering import check_spins
from latticescape.analysis.plots.labels import (
    IMAGES,
    SIMULATED,
    colours_of_species,
    places_text,
    shares_text,
    species_of,
)
from latticescape.analysis.plots.looks import FONTS, Picture, styled
from latticescape.analysis.plots.values import (
    Floats,
    Shares,
    images_of_composition,
    label_step,
    lattice_with,
    nearest_point,
    observed_shares,
    short_labels,
    simulated_shares,
    snapshot,
)
from latticescape.physics.errors import RequestError


def configuration_chart(
    ds: xr.Dataset,
    observed: xr.Dataset | None = None,
    *,
    at: Mapping[str, object],
    image: object = None,
) -> Picture:
    """Draw the configurations of one point of a sweep and, with ``observed``, of the images.

    Parameters
    ----------
    ds
        A sweep of a lattice model.
    observed
        Counts per image (``observed_counts``).
    at
        The point: a value of every parameter, the nearest is used.
    image
        One image, shown instead of all together, or instead of those of the point's composition in
        a sweep over x.

    Raises
    ------
    RequestError
        If there are no histograms, or the point is not computed or lacks a value on an axis.

    Examples
    --------
    >>> counts = np.ones((2, 64, 3), int) * [1, 2, 3]
    >>> ds = xr.Dataset({"histogram_replica": (("T", "replica", "configuration"), counts)},
    ...     {"T": [1.0, 2.0], "label": ("configuration", ["0 | 0", "0 | 1", "1 | 0"])})
    >>> chart = configuration_chart(ds, at={"T": 1.9})
    >>> chart.get(0).dimension_values("share").round(3).tolist()
    [0.167, 0.333, 0.5]
    """
    check_histograms(ds)
    species = species_of(observed, ds)
    places = nearest_point(ds, at)
    point, words = ds.isel(places), places_text(ds, places, species)
    histogram = point["histogram_replica"]
    left = [dim for dim in histogram.dims if dim not in ("replica", "configuration")]
    if left:
        raise RequestError("the point needs a value on every axis", came=listed(at), allowed=left)
    if "done" in ds and not bool(point["done"]):
        raise RequestError("the point is not computed", came=words, hint="latticescape run")
    simulated, title = simulated_shares(histogram.load()), ["grey bars: simulated"]
    labels, meaning = short_labels([str(label) for label in ds["label"].to_numpy()], species)
    classes = np.arange(len(labels), dtype=float)
    dims = [hv.Dimension(("configuration", meaning)), hv.Dimension(("share", "share of sites"))]
    bars = hv.Rectangles(
        (classes - 0.42, 0 * classes, classes + 0.42, simulated.shares),
        ["left", "bottom", *dims],
    )
    bars = styled(bars, {"color": SIMULATED}, {"line_alpha": 0}, {"linewidth": 0})
    parts = [bars, *_dots(simulated, classes, dims, "#555555")]
    if observed is not None:
        chosen = images_of_composition(observed, ds, at) if image is None else observed
        if chosen.sizes["image"]:
            shares = observed_shares(chosen, image, simulated.shares)
            parts += _dots(shares, classes, dims, IMAGES[0])
            title.append(f"blue dots: {shares.name}, S² = {shares.s2:.4f}")
    step = label_step(labels)
    ticks = list(enumerate(labels))[::step]
    heading = f"Configurations at {words}\n{'; '.join(title)}"
    look: dict[str, object] = {"title": heading, "fontsize": FONTS, "xticks": ticks}
    look |= {"xrotation": 90, "xlabel": meaning, "ylabel": "share of sites", "show_legend": False}
    size = {"width": 900, "height": 480}
    return styled(hv.Overlay(parts), look, size, {"fig_inches": (11, 5), "aspect": "auto"})


def _dots(shares: Shares, classes: Floats, dims: list[Any], colour: str) -> list[Picture]:
    ends = (classes, shares.shares - shares.errors, classes, shares.shares + shares.errors)
    bars = hv.Segments(ends, [*dims, "to x", "to y"])
    dots = hv.Scatter((classes, shares.shares), *dims)
    return [
        styled(bars, {"color": colour}, {"line_width": 1.5}, {"linewidth": 1.5}),
        styled(dots, {"color": colour}, {"size": 5}, {"s": 22}),
    ]


def snapshot_map(
    ds: xr.Dataset, *, at: Mapping[str, object], replica: int = 0, layer: int = 0
) -> Picture:
    """Draw the final configuration of one replica of one point.

    Parameters
    ----------
    ds
        A sweep that kept its ``spins`` (…, site).
    at
        The point: a value of every parameter, the nearest is used.
    replica, layer
        The replica, 0 to 63; the plane of a lattice in three dimensions.

    Raises
    ------
    RequestError
        If the sweep kept no spins, or the lattice has no such plane.

    Examples
    --------
    >>> spins = (("T", "site"), np.arange(32, dtype=np.uint64).reshape(2, 16))
    >>> ds = xr.Dataset({"spins": spins}, {"T": [1.0, 2.0]}, {"lattice": "square"})
    >>> snapshot_map(ds, at={"T": 1.0}).vdims
    [Dimension('species')]
    """
    check_spins(ds)
    species = species_of(ds)
    places = nearest_point(ds, at)
    spins = ds["spins"].isel(places).to_numpy()
    lattice = lattice_with(ds, spins.shape[-1])
    image, (width, height) = snapshot(spins, lattice, replica=replica, layer=layer)
    picture = hv.Image(image[::-1], bounds=(0, 0, width, height), kdims=["a", "b"], vdims="species")
    colours = colours_of_species(image)
    share = shares_text(image, species)
    look: dict[str, object] = {
        "cmap": [colour for _, colour in colours],
        "clim": (-0.5, len(colours) - 0.5),
        "title": f"Snapshot at {places_text(ds, places, species)}\nreplica {replica}, {share}",
        "fontsize": FONTS,
        "xaxis": None,
        "yaxis": None,
    }
    side = {"width": 500, "height": int(500 * height / width) + 40}
    return styled(picture, look, side, {"fig_inches": (6, 6), "aspect": "equal"})
