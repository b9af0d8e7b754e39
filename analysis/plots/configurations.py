"""Histograms of configurations: simulated ones beside observed ones, both with their errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.landscapes.distances import statistical_distance
from latticescape.analysis.inference.landscapes.landscape import COMPOSITION
from latticescape.analysis.plots.maps import FONTS, IMAGES, Picture, dressed
from latticescape.analysis.plots.surfaces import listed, nearest
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.floating[Any]]

SIMULATED = "#BDBDBD"
ALL_IMAGES = "all images"


@dataclass(frozen=True)
class Shares:
    """Shares of the classes (configuration) with their standard errors, and whose they are."""

    name: str
    shares: Floats
    errors: Floats
    distance: float | None = None


def simulated_shares(histogram_replica: xr.DataArray) -> Shares:
    """Of one point, (replica, configuration): errors from the spread of the replicas."""
    counts = histogram_replica.transpose("replica", "configuration").to_numpy().astype(float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    errors = shares.std(0, ddof=1) / np.sqrt(len(shares))
    return Shares("simulated", counts.sum(0) / max(counts.sum(), 1.0), errors)


def observed_shares(observed: xr.Dataset, image: object, simulated: Floats) -> list[Shares]:
    """Of one image, or of all together: binomial errors √(p(1−p)/n), and S² to a simulation.

    Parameters
    ----------
    observed
        Counts per image.
    image
        An image; None for all together.
    simulated
        Shares to which the distance is told.
    """
    counts = observed["counts"].transpose("image", "configuration")
    if image is None and len(counts) != 1:
        name = ALL_IMAGES if len(counts) > 2 else " and ".join(map(str, observed["image"].values))
        return [_observed(name, counts.sum("image").to_numpy(), simulated)]
    image = observed["image"].to_numpy()[0] if image is None else image
    one = counts.isel(image=nearest(observed, "image", image)).to_numpy()
    return [_observed(f"image {image}", one, simulated)]


def of_composition(observed: xr.Dataset, ds: xr.Dataset, at: Mapping[str, object]) -> xr.Dataset:
    """The images that a landscape compares with this point: of a sweep over x, those nearest.

    Examples
    --------
    >>> observed = xr.Dataset({"composition": ("image", [0.1, 0.5])}, {"image": ["a", "b"]})
    >>> of_composition(observed, xr.Dataset(coords={"x": [0.1, 0.5]}), {"x": 0.5}).image.item()
    'b'
    """
    if COMPOSITION not in at or "composition" not in observed:
        return observed
    x = ds[COMPOSITION].to_numpy()
    here = int(np.argmin(np.abs(x - float(str(at[COMPOSITION])))))
    nearest_x = np.abs(observed["composition"].to_numpy()[:, None] - x).argmin(1)
    return observed.isel(image=np.flatnonzero(nearest_x == here))


def short_labels(labels: list[str]) -> tuple[list[str], str]:
    """Labels without the words that all share, and what their numbers mean.

    Examples
    --------
    >>> short_labels(["0 | 2: ortho 0, meta 1", "1 | 2: ortho 1, meta 0"])
    (['0|2:0,1', '1|2:1,0'], 'centre | neighbours of species 1: ortho, meta')
    >>> short_labels(["0 | 1", "1 | 1"])
    (['0|1', '1|1'], 'centre | neighbours of species 1')
    """
    short = [re.sub(r"[a-z]+ ", "", label) for label in labels]
    short = [text.replace(" | ", "|").replace(": ", ":").replace(", ", ",") for text in short]
    words = re.findall(r"([a-z]+) \d", labels[-1]) if labels else []
    told = "centre | neighbours of species 1"
    return short, told + (f": {', '.join(words)}" if words else "")


def configuration_chart(
    ds: xr.Dataset,
    observed: xr.Dataset | None = None,
    *,
    at: Mapping[str, object],
    image: object = None,
) -> Picture:
    """The histogram of configurations of one point of a sweep, beside observed ones.

    Parameters
    ----------
    ds
        A sweep of a lattice model.
    observed
        Counts per image (``observed_counts``).
    at
        The point: a value on every axis, the nearest is taken.
    image
        One image, drawn in place of all together; in a sweep over x, in place of those of the
        point's composition.

    Raises
    ------
    RequestError
        If there are no histograms, the point is not computed or not named by all axes.

    Examples
    --------
    >>> counts = np.ones((2, 64, 3), int) * [1, 2, 3]
    >>> ds = xr.Dataset({"histogram_replica": (("T", "replica", "configuration"), counts)},
    ...     {"T": [1.0, 2.0], "label": ("configuration", ["0 | 0", "0 | 1", "1 | 0"])})
    >>> chart = configuration_chart(ds, at={"T": 1.9})
    >>> chart.get(0).dimension_values("share").round(3).tolist()
    [0.167, 0.333, 0.5]
    """
    point, place = _point(ds, at)
    simulated = simulated_shares(point)
    found: list[Shares] = []
    if observed is not None:
        near = of_composition(observed, ds, at) if image is None else observed
        if near.sizes["image"]:
            found = observed_shares(near, image, simulated.shares)
    labels, meaning = short_labels([str(label) for label in ds["label"].to_numpy()])
    classes = np.arange(len(labels), dtype=float)
    dims = [hv.Dimension(("configuration", meaning)), hv.Dimension(("share", "share of sites"))]
    steps = hv.Rectangles(
        (classes - 0.42, 0 * classes, classes + 0.42, simulated.shares),
        ["left", "bottom", *dims],
    )
    steps = dressed(steps, {"color": SIMULATED}, {"line_alpha": 0}, {"linewidth": 0})
    parts = [steps, *_drawn(simulated, classes, dims, "#555555")]
    for one in found:
        parts += _drawn(one, classes, dims, IMAGES[0])
    title = "\n".join(filter(None, [told_shares(simulated, found), f"at {place}"]))
    ticks = list(zip(range(len(labels)), labels, strict=True))
    look = {"title": title, "fontsize": FONTS, "xticks": ticks, "xrotation": 90}
    size = {"width": 900, "height": 480, "xlabel": meaning, "ylabel": "share of sites"}
    inches = {"fig_inches": (11, 5), "aspect": "auto", "xlabel": meaning}
    return dressed(hv.Overlay(parts), {**look, "show_legend": False}, size, inches)


def told_shares(simulated: Shares, observed: list[Shares]) -> str:
    """Which is which, with the distance of each."""
    told = [f"grey bars: {simulated.name}"]
    told += [f"dots: {one.name}, S² = {one.distance:.4f}" for one in observed]
    return "; ".join(told)


def _observed(name: str, counts: Floats, simulated: Floats) -> Shares:
    n = max(float(counts.sum()), 1.0)
    shares = counts / n
    distance = float(statistical_distance(simulated, counts)) ** 2
    return Shares(name, shares, np.sqrt(shares * (1 - shares) / n), distance)


def _drawn(shares: Shares, classes: Floats, dims: list[Any], colour: str) -> list[Picture]:
    ends = (classes, shares.shares - shares.errors, classes, shares.shares + shares.errors)
    bars = hv.Segments(ends, [*dims, "to x", "to y"])
    dots = hv.Scatter((classes, shares.shares), *dims)
    return [
        dressed(bars, {"color": colour}, {"line_width": 1.5}, {"linewidth": 1.5}),
        dressed(dots, {"color": colour}, {"size": 5}, {"s": 22}),
    ]


def _point(ds: xr.Dataset, at: Mapping[str, object]) -> tuple[xr.DataArray, str]:
    if "histogram_replica" not in ds:
        raise RequestError("the Dataset holds no histograms", allowed="a sweep of a lattice model")
    place = {axis: nearest(ds, axis, value) for axis, value in at.items()}
    point = ds.isel(place)
    left = [dim for dim in point["histogram_replica"].dims if dim not in _INSIDE]
    if left:
        raise RequestError("the point is not named by all axes", came=listed(at), allowed=left)
    told = ", ".join(f"{axis} = {float(ds[axis][index]):g}" for axis, index in place.items())
    if "done" in ds and not bool(point["done"]):
        raise RequestError("the point is not computed", came=told, hint="latticescape run")
    return point["histogram_replica"].load(), told


_INSIDE = ("replica", "configuration")
