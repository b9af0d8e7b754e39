"""The numbers that pictures and the page show: maps, landscapes with their fit, single points."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree
from scipy.stats import chi2
from skimage.measure import find_contours

from latticescape.analysis.checks import check_has, check_within, listed
from latticescape.analysis.counts.distances import statistical_distance
from latticescape.analysis.inference.estimation.deviance import Overlap, part_of
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.estimation.posterior import (
    fit_with_excess,
    of_one_part,
)
from latticescape.analysis.inference.landscapes.landscape import COMPOSITION, check_grid
from latticescape.analysis.plots.labels import (
    WITHIN_A_POINT,
    Species,
    places_text,
    symbol_of,
    value_text,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import GEOMETRIES, Lattice

Floats = npt.NDArray[np.floating[Any]]
Words = npt.NDArray[np.uint64]

MOST_CELLS = 512

# The dimension of points on no grid.
POINT = "point"

# Probability inside a contour, by its dash, and the points of its grid along an axis.
CONFIDENCE = {"solid": 0.6827, "dashed": 0.9545}
CONTOUR_POINTS = 201

SNAPSHOT_PIXELS = 480

# A pixel further from all sites, in nearest-neighbour distances, is outside the lattice; half the
# diagonal of a square cell is 0.707.
REACH = 0.71


def placed(
    ds: xr.Dataset, variable: str, at: Mapping[str, object], species: Species | None = None
) -> tuple[xr.Dataset, str]:
    """Return a variable and its error at a place, NaN where not done; and the place in words."""
    if variable not in ds.data_vars:
        raise RequestError("no such variable", came=variable, allowed=listed(ds.data_vars))
    table = ds[[name for name in (variable, f"{variable}_se") if name in ds]]
    if "done" in ds:
        table = table.where(ds["done"])
    places = {axis: nearest(table, axis, value) for axis, value in at.items()}
    words = places_text(ds, places, species)
    return table.isel(places), f"at {words}" if words else ""


def nearest(ds: xr.Dataset, axis: str, value: Any) -> int:
    """Return the index of the nearest number on an axis, or of the equal name."""
    if axis not in ds.dims:
        hint = None
        if axis in ds.coords and ds[axis].dims:
            hint = "a map without --at, which draws all points"
        raise RequestError("no such axis", came=axis, allowed=listed(ds.dims), hint=hint)
    places = ds[axis].to_numpy()
    if not np.issubdtype(places.dtype, np.number):
        if value not in places:
            raise RequestError(f"no such {axis}", came=value, allowed=listed(places))
        return int(np.argmax(places == value))
    low, high = places.min(), places.max()
    if isinstance(value, str):
        raise RequestError(
            f"the values of {axis} are numbers",
            came=value,
            allowed=f"{low:g} to {high:g}",
            hint=f"--at {axis}={low:g}, at={{…}} in Python",
        )
    near = np.clip(value, low, high)
    within = near if abs(near - value) <= 1e-9 else value
    check_within(within, low, high, f"{axis} is out of range")
    return int(np.argmin(np.abs(places - value)))


def free_axes(values: xr.DataArray, x: str | None, y: str | None) -> list[str]:
    """Return the one or two axes to draw along, x first; refuse any further dimension."""
    free = [str(dim) for dim in values.dims if dim not in WITHIN_A_POINT]
    named = [axis for axis in (x, y) if axis is not None]
    if not free or not set(named) <= set(free) or len(set(named)) < len(named):
        raise RequestError("no such axes to draw", came=listed(named), allowed=listed(free))
    others = (axis for axis in free if axis not in named)
    axes = free if len(free) == 1 else [x or next(others), y or next(others)]
    for axis in axes:
        if axis in values.coords and values[axis].dtype.kind not in "fiuM":
            hint = f"--at {axis}={values[axis].values.tolist()[0]}, at={{…}} in Python"
            problem = f"the axis {axis} holds words, and a map is drawn along numbers"
            raise RequestError(problem, came=listed(values[axis].values.tolist()), hint=hint)
    left = [str(dim) for dim in values.dims if dim not in axes]
    if left:
        problem = f"{values.name} varies along {listed(left)} too"
        places = ", ".join(f'"{dim}": {values[dim].to_numpy()[0]}' for dim in left)
        raise RequestError(problem, hint=f"at={{{places}}}")
    return axes


def points_axes(table: xr.Dataset, x: str | None, y: str | None) -> list[str]:
    """Return the one or two parameters of points on no grid to draw along, x first.

    Examples
    --------
    >>> points = xr.Dataset(coords={"T": ("point", [1.0, 2.0]), "H": ("point", [0.0, 0.1])})
    >>> points_axes(points, "H", None)
    ['H', 'T']
    """
    numbers = (
        name for name, c in table.coords.items() if c.dims == (POINT,) and c.dtype.kind == "f"
    )
    free = [str(name) for name in numbers]
    named = [axis for axis in (x, y) if axis is not None]
    if not free or not set(named) <= set(free) or len(set(named)) < len(named):
        raise RequestError("no such axes to draw", came=listed(named), allowed=listed(free))
    others = [axis for axis in free if axis not in named]
    return free if len(free) == 1 else [x or others.pop(0), y or others.pop(0)]


def in_order(table: xr.Dataset, axes: list[str]) -> xr.Dataset:
    """Sort the axes and put the first one last: rows are y, columns x."""
    return table.sortby(axes).transpose(*reversed(axes)).compute()


def coarsened(table: xr.Dataset, axes: list[str]) -> tuple[xr.Dataset, str]:
    """Return means of blocks of points, no more than a screen shows, and that in words."""
    steps = {axis: -(-table.sizes[axis] // MOST_CELLS) for axis in axes}
    if max(steps.values()) == 1 or len(axes) == 1:
        return table, ""
    means = table.coarsen(steps, boundary="pad").mean(skipna=True)
    for name in means.variables:
        means[name].attrs = table[name].attrs
    return means, f"means of {' × '.join(str(step) for step in steps.values())} points"


def check_landscape(landscape: xr.Dataset) -> None:
    """Check that a Dataset is a landscape."""
    check_has(landscape.data_vars, ("s2", "s2_total", "n"), "no landscape")


def landscape_axes(landscape: xr.Dataset) -> list[str]:
    """Return the one or two parameters of a landscape; refuse any other number."""
    check_landscape(landscape)
    if not landscape["s2_total"].notnull().any():
        raise RequestError("no point of the landscape is computed", came="NaN everywhere")
    axes = list(check_grid(landscape, "a picture of a landscape", "fit, or latticescape map"))
    if not 1 <= len(axes) <= 2:
        hint = f'landscape.sel({axes[-1]}=0, method="nearest")' if axes else None
        problem = "a landscape is drawn over one or two parameters"
        raise RequestError(problem, came=listed(axes), hint=hint)
    return axes


def landscape_of(landscape: xr.Dataset, image: object) -> tuple[xr.Dataset, str]:
    """Return the landscape of one image (or source) as a total of its own; and whose it is.

    ``None`` stands for all of them together.
    """
    part = part_of(landscape)
    if image is None:
        return landscape, f"all {part}s"
    place = nearest(landscape, part, image)
    return of_one_part(landscape, landscape[part].values[place]), f"{part} {image}"


def distance_table(landscape: xr.Dataset, axes: list[str]) -> xr.Dataset:
    """Return the total S² of a landscape and its Monte Carlo error, rows y and columns x."""
    table = xr.Dataset(
        {
            "s2": landscape["s2_total"].assign_attrs(long_name="squared statistical distance S²"),
            "s2_se": landscape["s2_total_se"].assign_attrs(
                long_name="Monte Carlo standard error of S²"
            ),
        }
    )
    return in_order(table, axes)


@dataclass(frozen=True)
class Estimate:
    """The fit of a landscape, and the contours of its joint confidence regions.

    Attributes
    ----------
    fit
        As :func:`latticescape.fit` returns it.
    contours
        Closed or open lines, (n, 2) each, x first, by dash: 68 % solid, 95 % dashed.
    """

    fit: Fit
    contours: Mapping[str, list[Floats]]

    @property
    def text(self) -> str:
        """The minimum in words: minimum S² = 0.0182 at w₁ = 0.05 ± 0.08."""
        places = listed(
            f"{symbol_of(name)} = {value_text(*value)}"
            for name, value in self.fit.parameters.items()
        )
        return f"minimum S² = {self.fit.s2_total:.4f} at {places}"


def estimate_of(
    landscape: xr.Dataset,
    axes: list[str],
    *,
    overlap: Overlap | None = None,
    points: int = CONTOUR_POINTS,
) -> Estimate:
    """Return the fit of a landscape and, over two axes, its 68 and 95 % contours.

    Both are those of :func:`latticescape.fit` and :func:`latticescape.joint_region`.
    """
    result, excess = fit_with_excess(landscape, overlap=overlap, points=points)
    if len(axes) < 2 or excess is None or set(excess.dims) != set(axes):
        return Estimate(result, {})
    values = excess.transpose(axes[1], axes[0]).to_numpy()
    x, y = (excess[axis].to_numpy() for axis in axes)
    columns, rows = np.arange(len(x)), np.arange(len(y))
    contours = {
        dash: [
            np.column_stack([np.interp(line[:, 1], columns, x), np.interp(line[:, 0], rows, y)])
            for line in find_contours(values, float(chi2(2).ppf(level)))
        ]
        for dash, level in CONFIDENCE.items()
    }
    return Estimate(result, contours)


@dataclass(frozen=True)
class Shares:
    """Shares of the configurations of one point or image, with their standard errors.

    Attributes
    ----------
    name
        What they are of.
    shares, errors
        (configuration,).
    s2
        S² to the simulation; None for the simulation itself.
    """

    name: str
    shares: Floats
    errors: Floats
    s2: float | None = None


def simulated_shares(histogram_replica: xr.DataArray) -> Shares:
    """Return the shares of one point, (replica, configuration), with errors over replicas."""
    counts = histogram_replica.transpose("replica", "configuration").to_numpy().astype(float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    errors = shares.std(0, ddof=1) / np.sqrt(len(shares))
    return Shares("simulated", counts.sum(0) / max(counts.sum(), 1.0), errors)


def observed_shares(observed: xr.Dataset, image: object, simulated: Floats) -> Shares:
    """Return the shares of one image, or of all together, with binomial errors √(p(1−p)/n).

    Parameters
    ----------
    observed
        Counts per image.
    image
        An image; None for all together.
    simulated
        Shares that S² is computed to.
    """
    table = observed["counts"].transpose("image", "configuration")
    names = [str(name) for name in observed["image"].to_numpy()]
    if image is None and len(names) > 1:
        counts = table.sum("image").to_numpy()
        name = "all images" if len(names) > 2 else " and ".join(names)
    else:
        place = 0 if image is None else nearest(observed, "image", image)
        counts, name = table.isel(image=place).to_numpy(), f"image {names[place]}"
    n = max(float(counts.sum()), 1.0)
    shares = counts / n
    s2 = float(statistical_distance(simulated, counts)) ** 2
    return Shares(name, shares, np.sqrt(shares * (1 - shares) / n), s2)


def images_of_composition(
    observed: xr.Dataset, ds: xr.Dataset, at: Mapping[str, object]
) -> xr.Dataset:
    """Return the images that a landscape compares with a point: in a sweep over x, the nearest.

    Examples
    --------
    >>> observed = xr.Dataset({"composition": ("image", [0.1, 0.5])}, {"image": ["a", "b"]})
    >>> ds = xr.Dataset(coords={"x": [0.1, 0.5]})
    >>> images_of_composition(observed, ds, {"x": 0.5}).image.item()
    'b'
    """
    if COMPOSITION not in at or "composition" not in observed:
        return observed
    x = ds[COMPOSITION].to_numpy()
    here = int(np.argmin(np.abs(x - float(str(at[COMPOSITION])))))
    nearest_x = np.abs(observed["composition"].to_numpy()[:, None] - x).argmin(1)
    return observed.isel(image=np.flatnonzero(nearest_x == here))


def short_labels(labels: list[str], species: Species | None = None) -> tuple[list[str], str]:
    """Return class labels without the words they share, and the meaning of their numbers.

    Examples
    --------
    >>> short_labels(["0 | 2: ortho 0, meta 1", "1 | 2: ortho 1, meta 0"])
    (['0|2:0,1', '1|2:1,0'], 'centre | neighbours of species 1: ortho, meta')
    >>> short_labels(["0 | 1", "1 | 1"], ("Mo", "Re"))
    (['Mo|1', 'Re|1'], 'centre | Re neighbours')
    """
    short = [re.sub(r"[a-z]+ ", "", label) for label in labels]
    short = [text.replace(" | ", "|").replace(": ", ":").replace(", ", ",") for text in short]
    details = re.findall(r"([a-z]+) \d", labels[-1]) if labels else []
    meaning = "centre | neighbours of species 1"
    if species is not None and all(re.match(r"[01]\|", text) for text in short):
        short = [species[int(text[0])] + text[1:] for text in short]
        meaning = f"centre | {species[1]} neighbours"
    return short, meaning + (f": {listed(details)}" if details else "")


def lattice_with(kind: str, sites: int) -> Lattice:
    """Return the lattice of a kind with this number of sites.

    Examples
    --------
    >>> lattice_with("honeycomb", 32)
    Lattice(kind='honeycomb', size=4)
    """
    geometry = GEOMETRIES[kind]
    return Lattice(kind, round((sites / geometry.sublattices) ** (1 / geometry.dimension)))


def layers(lattice: Lattice) -> int:
    """Return the number of planes to choose from: one, or L of a cubic lattice."""
    return lattice.size if lattice.geometry.dimension == 3 else 1


def snapshot(
    spins: Words, lattice: Lattice, *, replica: int, layer: int = 0
) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """Return an image of a lattice, every pixel with its nearest site, and its size.

    Parameters
    ----------
    spins
        (site,) uint64, bit r of replica r.
    lattice
        The lattice.
    replica
        The replica, 0 to 63.
    layer
        The plane of a cubic lattice.

    Returns
    -------
    image, (width, height)
        Rows upwards; 0, 1, or NaN outside the lattice. The size in nearest-neighbour distances.
    """
    site, size = _site_of_pixels(lattice, layer)
    species = (spins >> np.uint64(replica)) & np.uint64(1)
    image = np.where(site < 0, np.nan, species[site]).astype(np.float32)
    return image, size


@lru_cache(maxsize=16)
def _site_of_pixels(lattice: Lattice, layer: int) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    """Return the nearest site of every pixel, -1 outside the lattice, and the image's size."""
    positions = lattice.positions
    sites = np.arange(lattice.sites)
    if positions.shape[1] == 3:
        sites = sites[np.isclose(positions[:, 2], layer)]
    plane = positions[sites, :2]
    low, high = plane.min(0) - 0.5, plane.max(0) + 0.5
    width, height = (high - low).tolist()
    scale = SNAPSHOT_PIXELS / max(width, height)
    columns, rows = max(int(width * scale), 1), max(int(height * scale), 1)
    x = low[0] + (np.arange(columns) + 0.5) * width / columns
    y = low[1] + (np.arange(rows) + 0.5) * height / rows
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    distance, nearest_site = cKDTree(plane).query(grid)
    return np.where(distance < REACH, sites[nearest_site], -1), (width, height)
