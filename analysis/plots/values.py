"""The numbers that pictures and the page show: maps, landscapes with their fit, single points."""

import re
import tomllib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError, cKDTree
from scipy.stats import chi2
from skimage.measure import find_contours

from latticescape.analysis.checks import check_has, check_within, listed
from latticescape.analysis.counts.distances import statistical_distance
from latticescape.analysis.inference.estimation.deviance import Overlap, part_of
from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.estimation.posterior import (
    fit_with_excess,
    of_one_part,
)
from latticescape.analysis.inference.landscapes.interpolation import interpolate
from latticescape.analysis.inference.landscapes.landscape import conserved_fractions, parameters_of
from latticescape.analysis.plots.labels import (
    WITHIN_A_POINT,
    WORDS,
    Species,
    places_text,
    symbol_of,
    value_text,
)
from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.registry import lattice_of

Floats = npt.NDArray[np.floating[Any]]
Words = npt.NDArray[np.uint64]

MOST_CELLS = 512

# The dimension of points on no grid.
POINT = "point"

# Places along each axis of a surface between points.
SURFACE_POINTS = 201

# Probability inside a contour, by its dash, and the points of its grid along an axis.
CONFIDENCE = {"solid": 0.6827, "dashed": 0.9545}
CONTOUR_POINTS = 201

SNAPSHOT_PIXELS = 480

# Labels of bars that can be read side by side.
MOST_LABELS = 64

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
    if WORDS in ds[axis].attrs or not np.issubdtype(places.dtype, np.number):
        words = ds[axis].attrs.get(WORDS, [str(place) for place in places])
        if str(value) not in words:
            raise RequestError(f"no such {axis}", came=value, allowed=listed(words))
        return int(words.index(str(value)))
    return int(np.argmin(np.abs(places - _within(axis, value, places))))


def _within(axis: str, value: Any, places: Floats) -> Any:
    """Return the value; raise a RequestError unless it is a number in the range of the axis."""
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
    return value


def free_axes(values: xr.DataArray, x: str | None, y: str | None) -> list[str]:
    """Return the one or two axes to draw along, x first; refuse any further dimension."""
    free = [str(dim) for dim in values.dims if dim not in WITHIN_A_POINT]
    axes = _chosen(free, x, y)[:2]
    left = [str(dim) for dim in values.dims if dim not in axes]
    if left:
        problem = f"{values.name} varies along {listed(left)} too"
        places = ", ".join(f'"{dim}": {values[dim].to_numpy()[0]}' for dim in left)
        raise RequestError(problem, hint=f"at={{{places}}}")
    return axes


def point_axes(points: xr.Dataset, x: str | None, y: str | None) -> list[str]:
    """Return the parameters to draw points over: x and y, or all that vary.

    Examples
    --------
    >>> points = xr.Dataset(coords={"T": ("point", [1.0, 2.0]), "H": ("point", [0.0, 0.1])})
    >>> point_axes(points, "H", None), point_axes(points, None, None)
    (['H', 'T'], ['T', 'H'])
    """
    names = [str(name) for name in points.coords]
    varying = [name for name in names if (points[name] != points[name][:1].values).any()]
    if x is None and y is None:
        return varying or names[:1]
    return _chosen(varying + [name for name in names if name not in varying], x, y)[:2]


def _chosen(free: list[str], x: str | None, y: str | None) -> list[str]:
    """Return the free axes in order: x first, y second, then the others."""
    named = [axis for axis in (x, y) if axis is not None]
    if not free or not set(named) <= set(free) or len(set(named)) < len(named):
        raise RequestError("no such axes to draw", came=listed(named), allowed=listed(free))
    others = [axis for axis in free if axis not in named]
    if len(free) == 1:
        return free
    first = x or others.pop(0)
    return [first, y or others.pop(0), *others]


def numbered(table: xr.Dataset) -> xr.Dataset:
    """Return a table whose axes hold numbers: words are numbered, and become an attribute.

    Examples
    --------
    >>> table = numbered(xr.Dataset(coords={"shape": ["ring", "disc"]}))
    >>> table["shape"].values.tolist(), table["shape"].attrs
    ([0, 1], {'words': ['ring', 'disc']})
    """
    for name, column in table.coords.items():
        if column.dims and column.dtype.kind not in "fiuM" and not WITHIN_A_POINT & {*column.dims}:
            numbers, words = pd.factorize(column.to_numpy())
            attrs = {**column.attrs, WORDS: [str(word) for word in words]}
            table = table.assign_coords({name: (column.dims, numbers, attrs)})
    return table


def is_scattered(array: xr.DataArray) -> bool:
    """Whether several parameters vary together along a dimension.

    Examples
    --------
    >>> is_scattered(xr.DataArray([0.1], {"T": ("point", [2.0])}, ["point"]))
    True
    """
    return any(columns_along(array, dim) for dim in array.dims)


def as_points(table: xr.Dataset, variable: str) -> xr.Dataset:
    """Return variables over a single dimension of points, each parameter being a coordinate.

    Examples
    --------
    >>> ds = xr.Dataset({"e": (("point", "T"), np.ones((2, 3)))},
    ...     {"H": ("point", [0.0, 0.1]), "T": [1.0, 2.0, 3.0]})
    >>> as_points(ds, "e")["H"].values.tolist()
    [0.0, 0.0, 0.0, 0.1, 0.1, 0.1]
    """
    values = table[variable]
    columns = {
        name: table[name]
        for dim in values.dims
        for name in ([dim] if dim in table.coords else columns_along(values, dim))
    }
    left = [str(dim) for dim in values.dims if dim in WITHIN_A_POINT or not values[dim].size]
    if left:
        problem = f"{variable} varies along {listed(left)} too"
        raise RequestError(problem, hint=f'at={{"{left[0]}": {values[left[0]].to_numpy()[0]}}}')

    def flat(array: xr.DataArray) -> Any:
        wide = array.broadcast_like(values).transpose(*values.dims)
        return POINT, wide.to_numpy().ravel(), array.attrs

    return xr.Dataset(
        {name: flat(array) for name, array in table.data_vars.items()},
        {name: flat(array) for name, array in columns.items()},
        table.attrs,
    )


def columns_along(array: xr.DataArray | xr.Dataset, dim: Hashable) -> list[str]:
    """Return the parameters that vary together along a dimension; none along an axis."""
    if dim in array.coords:
        return []
    return [str(name) for name, column in array.coords.items() if column.dims == (dim,)]


def nearest_point(ds: xr.Dataset, at: Mapping[str, object]) -> dict[str, int]:
    """Return the index on every dimension of the point nearest to values of the parameters.

    Distances between points on no grid are in units of each parameter's range.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"w1": ("point", [0.0, 0.3]), "w2": ("point", [0.1, 0.0]),
    ...     "T": [1.0, 2.0]})
    >>> nearest_point(ds, {"w1": 0.25, "w2": 0.02, "T": 2})
    {'T': 1, 'point': 1}
    """
    together = {name: str(ds[name].dims[0]) for name in at if name in ds.coords and ds[name].dims}
    places = {n: nearest(ds, n, v) for n, v in at.items() if together.get(n, n) == n}
    for dim in dict.fromkeys(together[name] for name in together if name not in places):
        names = [name for name in together if together[name] == dim]
        squares = np.zeros(ds.sizes[dim])
        for name in names:
            column = ds[name].to_numpy()
            if column.dtype.kind not in "fiu":
                squares += np.where(column == at[name], 0.0, np.inf)
                continue
            value = _within(name, at[name], column)
            squares += ((column - value) / (np.ptp(column) or 1.0)) ** 2
        if not np.isfinite(squares).any():
            raise RequestError("no such point", came=dict(at), allowed=f"a point of {dim}")
        places[dim] = int(np.argmin(squares))
    return places


@dataclass(frozen=True)
class Surface:
    """Values between points over two parameters.

    Attributes
    ----------
    x, y
        Ascending.
    values
        (y, x), NaN outside of the points' convex hull.
    """

    x: Floats
    y: Floats
    values: Floats


def surface_between(
    places: Floats, values: Floats, between: Callable[[Floats], Floats] | None = None
) -> Surface | None:
    """Return values between points, none outside of their convex hull.

    Parameters
    ----------
    places, values
        (points, 2) and (points,), NaN where not computed.
    between
        Function that returns the values at places (m, 2); by default they are linear on the
        triangles of a Delaunay triangulation.

    Returns
    -------
    Surface or None
        None if the points lie on a line, or fewer than three are computed.

    Examples
    --------
    >>> places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> surface = surface_between(places, places.sum(axis=1))
    >>> float(surface.values[50, 100].round(9)), bool(np.isnan(surface.values[150, 100]))
    (0.75, True)
    """
    known = places[np.isfinite(values)]
    try:
        linear = LinearNDInterpolator(known, values[np.isfinite(values)], rescale=True)
    except (QhullError, ValueError):  # on a line, or fewer than three
        return None
    x, y = np.linspace(known.min(axis=0), known.max(axis=0), SURFACE_POINTS).T
    heights = linear(x, y[:, None])
    if between is not None:
        rows, columns = np.nonzero(np.isfinite(heights))
        heights[rows, columns] = between(np.column_stack([x[columns], y[rows]]))
    return Surface(x, y, heights)


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


def drawn_over(landscape: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Return a landscape and the parameters to draw it over.

    If only one parameter of scattered points varies, it becomes an axis. Of more than two axes,
    those with a single value are left out.

    Examples
    --------
    >>> total = xr.DataArray([0.1, 0.3], {"T": ("point", [2.0, 1.0])}, ["point"])
    >>> landscape, axes = drawn_over(xr.Dataset({"s2_total": total, "s2": total, "n": 9}))
    >>> axes, landscape["s2_total"].dims
    (['T'], ('T',))
    """
    check_landscape(landscape)
    total = landscape["s2_total"]
    if not total.notnull().any():
        raise RequestError("no point of the landscape is computed", came="NaN everywhere")
    axes = list(parameters_of(landscape))
    if not axes:
        raise RequestError(
            "a landscape is drawn over its parameters", came="none", allowed="one or more"
        )
    landscape = on_axis(landscape)
    total = landscape["s2_total"]
    if not is_scattered(total):
        axes = list(parameters_of(landscape))
        if len(axes) > 2:
            landscape = landscape.squeeze([axis for axis in axes if total.sizes[axis] == 1])
        return landscape, [axis for axis in axes if axis in landscape["s2_total"].dims]
    return landscape, point_axes(as_points(landscape[["s2_total"]], "s2_total"), None, None)


def on_axis(landscape: xr.Dataset) -> xr.Dataset:
    """Return a landscape over an axis in place of points of which only one parameter varies.

    Other landscapes are returned as they are.

    Examples
    --------
    >>> total = xr.DataArray([0.1, 0.3], {"T": ("point", [2.0, 1.0])}, ["point"])
    >>> on_axis(xr.Dataset({"s2_total": total}))["s2_total"].dims
    ('T',)
    """
    total = landscape["s2_total"]
    if not is_scattered(total) or total.ndim > 1:
        return landscape
    (dim,) = total.dims
    axes = point_axes(as_points(landscape[["s2_total"]], "s2_total"), None, None)
    if len(axes) > 1:
        return landscape
    constant = [name for name in columns_along(total, dim) if name not in axes]
    return landscape.swap_dims({dim: axes[0]}).drop_vars(constant).sortby(axes[0])


def s2_between(landscape: xr.Dataset, table: xr.Dataset, axes: list[str]) -> Surface | None:
    """Return the surface of S² between points, as ``fit`` interpolates it, over two parameters."""
    between = interpolate(landscape)
    order = [axes.index(name) for name in between.design.names]
    places, s2 = np.column_stack([table[axis] for axis in axes]), table["s2"].to_numpy()
    # The interpolation may be slightly negative, where logarithmic colours have no value.
    lowest = float(np.nanmin(s2))
    floor = lowest / 10 if lowest > 0 else -np.inf
    return surface_between(places, s2, lambda at: np.maximum(between.value(at[:, order]), floor))


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
    """Return the total S² of a landscape and its Monte Carlo error.

    The table has rows y and columns x. Points on no grid, and all landscapes over more than two
    parameters, become a table of points.
    """
    table = xr.Dataset(
        {
            "s2": landscape["s2_total"].assign_attrs(long_name="squared statistical distance S²"),
            "s2_se": landscape["s2_total_se"].assign_attrs(
                long_name="Monte Carlo standard error of S²"
            ),
        }
    )
    on_grid = set(axes) == {*table["s2"].dims} and len(axes) <= 2
    return in_order(table, axes) if on_grid else as_points(table, "s2").compute()


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

    Both are those of :func:`latticescape.fit` and :func:`latticescape.joint_region`. Contours of
    points on no grid end at the convex hull of the points.
    """
    if len(axes) > 2:
        return Estimate(fit(landscape, overlap=overlap), {})
    result, excess = fit_with_excess(landscape, overlap=overlap, points=points)
    if len(axes) < 2 or excess is None or set(excess.dims) != set(axes):
        return Estimate(result, {})
    x, y = (excess[axis].to_numpy() for axis in axes)
    values = excess.transpose(axes[1], axes[0]).to_numpy()
    if is_scattered(landscape["s2_total"]):
        known = as_points(landscape[["s2_total"]], "s2_total").compute().dropna(POINT)
        places = np.column_stack([known[axis] for axis in axes])
        # Zero within the convex hull, NaN outside of it.
        hull = LinearNDInterpolator(places, np.zeros(len(places)), rescale=True)
        values = values + hull(x, y[:, None])
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
    """Return the images that a landscape compares with a point: in a sweep over compositions, the
    nearest.

    Examples
    --------
    >>> observed = xr.Dataset({"composition": ("image", [0.1, 0.5])}, {"image": ["a", "b"]})
    >>> ds = xr.Dataset(coords={"x": [0.1, 0.5]})
    >>> images_of_composition(observed, ds, {"x": 0.5}).image.item()
    'b'
    """
    if "composition" not in observed:
        return observed
    shown = np.ones(observed.sizes["image"], bool)
    for fraction in conserved_fractions(ds):
        if fraction.name in at:
            x = ds[fraction.name].to_numpy()
            here = int(np.argmin(np.abs(x - float(str(at[fraction.name])))))
            shown &= np.abs(fraction.measured(observed)[:, None] - x).argmin(1) == here
    return observed.isel(image=np.flatnonzero(shown))


def short_labels(labels: list[str], species: Species | None = None) -> tuple[list[str], str]:
    """Return class labels without the words they share, and the meaning of their numbers.

    Examples
    --------
    >>> short_labels(["0 | 2: ortho 0, meta 1", "1 | 2: ortho 1, meta 0"])
    (['0|2:0,1', '1|2:1,0'], 'centre | neighbours of species 1: ortho, meta')
    >>> short_labels(["0 | 1", "1 | 1"], ("Mo", "Re"))
    (['Mo|1', 'Re|1'], 'centre | Re neighbours')
    >>> short_labels(["vacancy | vacancy adatom", "adatom | vacancy vacancy"])
    (['v|va', 'a|vv'], 'centre | neighbours: v vacancy, a adatom')
    """
    if not all(re.match(r"[01] \| \d", label) for label in labels):
        return _labels_of_arrangements(labels)
    short = [re.sub(r"[a-z]+ ", "", label) for label in labels]
    short = [text.replace(" | ", "|").replace(": ", ":").replace(", ", ",") for text in short]
    details = re.findall(r"([a-z]+) \d", labels[-1]) if labels else []
    meaning = "centre | neighbours of species 1"
    if species is not None and all(re.match(r"[01]\|", text) for text in short):
        short = [species[int(text[0])] + text[1:] for text in short]
        meaning = f"centre | {species[1]} neighbours"
    return short, meaning + (f": {listed(details)}" if details else "")


def _labels_of_arrangements(labels: list[str]) -> tuple[list[str], str]:
    """Labels with species by their first letter, if these differ."""
    named = dict.fromkeys(
        word for label in labels for word in label.split() if word[-1] not in ":|"
    )
    initials = {name: name[0] for name in named}
    if len(set(initials.values())) < len(initials):
        return labels, "centre | neighbours"
    short = [
        re.sub(r" ?\| ?", "|", "".join(initials.get(word, f"{word} ") for word in label.split()))
        for label in labels
    ]
    meaning = ", ".join(f"{letter} {name}" for name, letter in initials.items() if letter != name)
    return short, "centre | neighbours" + (f": {meaning}" if meaning else "")


def label_step(labels: list[str]) -> int:
    """Return which share of the labels of bars can be read side by side: every first, second …

    Examples
    --------
    >>> label_step(["0|1"] * 26), label_step(["v|vvvvvv"] * 128)
    (1, 2)
    """
    return -(-len(labels) // MOST_LABELS)


def lattice_with(ds: xr.Dataset, sites: int) -> Lattice:
    """Return the lattice of a sweep: that of its spec or, without one, with equal sizes.

    Examples
    --------
    >>> lattice_with(xr.Dataset(attrs={"lattice": "honeycomb"}), 32)
    Lattice(kind='honeycomb', size=4)
    """
    if "spec" in ds.attrs:
        return lattice_of(tomllib.loads(str(ds.attrs["spec"]))["lattice"])
    kind = checked_choice(str(ds.attrs.get("lattice")), GEOMETRIES, "lattice kind is unknown")
    geometry = GEOMETRIES[kind]
    return Lattice(kind, round((sites / geometry.sublattices) ** (1 / geometry.dimension)))


def layers(lattice: Lattice) -> int:
    """Return the number of planes to choose from, at different heights z; one in the plane.

    Examples
    --------
    >>> layers(Lattice("fcc", 4)), layers(Lattice("kagome", 4))
    (7, 1)
    """
    return len(_heights(lattice))


def _heights(lattice: Lattice) -> Floats:
    if lattice.geometry.dimension < 3:
        return np.zeros(1)
    heights: Floats = np.unique(lattice.positions[:, 2].round(6))
    return heights


def snapshot(
    spins: Words, lattice: Lattice, *, replica: int, layer: int = 0
) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """Return an image of a lattice, every pixel with its nearest site, and its size.

    Parameters
    ----------
    spins
        (site,) uint64, bit r of replica r; or (bit, site), the binary digits of species.
    lattice
        The lattice.
    replica
        The replica, 0 to 63.
    layer
        The plane of a lattice in three dimensions; of no meaning in others.

    Returns
    -------
    image, (width, height)
        Rows upwards; the number of the species, or NaN outside the lattice. The size in the units
        of the lattice's positions.

    Raises
    ------
    RequestError
        If there is no such layer.
    """
    plane = layer if lattice.geometry.dimension == 3 else 0
    check_within(plane, 0, layers(lattice) - 1, "layer is out of range")
    site, size = _site_of_pixels(lattice, plane)
    bits = (np.atleast_2d(spins) >> np.uint64(replica)) & np.uint64(1)
    species = (1 << np.arange(len(bits))) @ bits.astype(np.int64)
    image = np.where(site < 0, np.nan, species[site]).astype(np.float32)
    return image, size


@lru_cache(maxsize=16)
def _site_of_pixels(lattice: Lattice, layer: int) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    """Return the nearest site of every pixel, -1 outside the lattice, and the image's size."""
    positions = np.pad(lattice.positions, ((0, 0), (0, 3 - lattice.geometry.dimension)))
    sites = np.flatnonzero(np.isclose(positions[:, 2], _heights(lattice)[layer], atol=1e-5))
    plane = positions[sites, :2]
    # Distances between neighbours in the plane.
    nearest = cKDTree(plane).query(plane, [2])[0]
    spacing = float(np.median(nearest)) if len(plane) > 1 else 1.0
    low, high = plane.min(0) - spacing / 2, plane.max(0) + spacing / 2
    width, height = (high - low).tolist()
    scale = SNAPSHOT_PIXELS / max(width, height)
    columns, rows = max(int(width * scale), 1), max(int(height * scale), 1)
    x = low[0] + (np.arange(columns) + 0.5) * width / columns
    y = low[1] + (np.arange(rows) + 0.5) * height / rows
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    distance, nearest_site = cKDTree(plane).query(grid)
    return np.where(distance < REACH * spacing, sites[nearest_site], -1), (width, height)
