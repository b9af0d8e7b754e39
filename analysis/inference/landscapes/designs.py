"""Where a landscape is computed: on a grid of its parameters, or at scattered points.

Everything that interpolates a landscape sees points, and asks the design for what depends on their
arrangement: which are near each other, how far apart, and how to interpolate linearly between them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import product

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import minimum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from latticescape.analysis.checks import RUN_AGAIN, check_least
from latticescape.analysis.inference.landscapes.landscape import columns_of, parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.intp]

# Points are close to each other within this many grid steps, by number of parameters; or, of
# scattered points, if as many as a grid has there are not closer.
STEPS = {1: 8, 2: 5, 3: 3}
FEWEST_STEPS = 2

# So many scattered points for each coefficient of a parabola determine curvatures to 3 %: a few of
# those nearest may lie in one spot.
PER_TERM = 8

# A point closer to the edge of the box than this, in half widths, is at the edge.
PINNED = 1e-6

# Scattered points that agree in this share of the box are one point; if they extend over less of
# it in some direction, they do not vary in that.
SAME = 1e-9


@dataclass(frozen=True)
class Design(ABC):
    """The points of a landscape.

    Attributes
    ----------
    names
        Parameters that vary.
    fixed
        Value of each parameter that does not.
    """

    names: tuple[str, ...]
    fixed: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    @property
    @abstractmethod
    def places(self) -> Floats:
        """The points (points, parameters), in the order of the landscape's values."""

    @cached_property
    def low(self) -> Floats:
        """Lower corner of the box around the points, (parameters,)."""
        return np.asarray(self.places.min(axis=0), float)

    @cached_property
    def high(self) -> Floats:
        """Upper corner of the box around the points, (parameters,)."""
        return np.asarray(self.places.max(axis=0), float)

    @cached_property
    def half(self) -> Floats:
        """Half widths of the box, (parameters,)."""
        return np.asarray((self.high - self.low) / 2, float)

    @property
    def terms(self) -> int:
        """Number of coefficients of a parabola in the parameters."""
        return (len(self.names) + 1) * (len(self.names) + 2) // 2

    def inside(self, places: npt.ArrayLike) -> Floats:
        """Places (m, parameters), moved into the box."""
        rows = np.asarray(places, float).reshape(-1, len(self.names))
        return np.asarray(np.clip(rows, self.low, self.high), float)

    def nearest(self, place: Floats, computed: Booleans | None = None) -> int:
        """The point nearest to a place, in half widths; of those that are computed, if passed."""
        squares = (((self.places - place) / self.half) ** 2).sum(axis=1)
        return int(np.argmin(squares if computed is None else np.where(computed, squares, np.inf)))

    def check(self, computed: Booleans) -> None:
        """Raise an error if too few points are computed for a parabola."""
        number = int(computed.sum())
        if not self.names or number <= self.terms:
            problem = "too few points of the landscape are computed for a parabola"
            allowed = f"more than {self.terms}"
            raise RequestError(problem, came=number, allowed=allowed, hint=RUN_AGAIN)

    @abstractmethod
    def added(self, values: Mapping[str, Sequence[float]]) -> int:
        """Number of points that new values of the parameters add."""

    @abstractmethod
    def close(self, point: int) -> Booleans:
        """Which points are close to a point: (points,)."""

    @abstractmethod
    def around(self, point: int, computed: Booleans) -> Booleans:
        """Which points show the curvature of the landscape at a point: (points,)."""

    @abstractmethod
    def lowest_nearby(self, values: Floats) -> Booleans:
        """Which of the values (points,) are not higher than those next to them."""

    @abstractmethod
    def spacing(self, chosen: Integers) -> Floats:
        """Distance of neighbours among some of the points, (parameters,)."""

    @abstractmethod
    def at_edge(self, place: Floats, lowest: int) -> Booleans:
        """Whether a minimum lies at the lower and upper edge of the box, (parameters, 2).

        ``lowest`` is the lowest of the points.
        """

    @abstractmethod
    def linear(self, values: Floats) -> Callable[[Floats], Floats]:
        """Interpolate values (points,), NaN where not computed, at places within the box."""

    @abstractmethod
    def near(self, used: Booleans, *, whole: bool = False) -> Callable[[Floats], Booleans]:
        """Whether places within the box have one of the used points next to them, or only such."""

    def connected(self, chosen: Integers, cut: Integers, point: int) -> Integers:
        """Those of the chosen points that are connected with one of them through pairs of
        neighbours that are not cut, (pairs, 2)."""
        return chosen


@dataclass(frozen=True)
class GridDesign(Design):
    """All combinations of some values of each parameter.

    Attributes
    ----------
    axes
        Values of each parameter that varies, in any order.

    Examples
    --------
    >>> grid = GridDesign(("T", "H"), (np.array([1.0, 2.0]), np.array([0.0, 0.5, 1.0])))
    >>> grid.places[:3].tolist()
    [[1.0, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """

    axes: tuple[Floats, ...]

    @cached_property
    def places(self) -> Floats:
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(
            -1, len(self.names)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values of each parameter."""
        return tuple(map(len, self.axes))

    @cached_property
    def sorted_axes(self) -> tuple[Floats, ...]:
        """The values of each parameter in increasing order."""
        return tuple(np.sort(axis) for axis in self.axes)

    def check(self, computed: Booleans) -> None:
        for name, axis in zip(self.names, self.axes, strict=True):
            check_least(len(axis), 3, f"values of {name} for a curve", f"more of {name} in [grid]")
        super().check(computed)

    def added(self, values: Mapping[str, Sequence[float]]) -> int:
        more = [len(a) + len(values.get(n, ())) for n, a in zip(self.names, self.axes, strict=True)]
        return int(np.prod(more)) - int(np.prod(self.shape))

    def close(self, point: int) -> Booleans:
        # In steps of the coarse grid if it was refined: its points still show the wider shape.
        steps = [
            np.abs(axis - axis[i]) / np.diff(ordered).max()
            for axis, ordered, i in zip(
                self.axes, self.sorted_axes, np.unravel_index(point, self.shape), strict=True
            )
        ]
        most = STEPS.get(len(self.names), FEWEST_STEPS) * (1 + 1e-9)
        return np.asarray(reduce(np.logical_and.outer, [step <= most for step in steps])).ravel()

    def around(self, point: int, computed: Booleans) -> Booleans:
        near = np.zeros(self.shape, bool)
        starts = np.clip(np.array(self._ranks(point)) - 1, 0, np.array(self.shape) - 3)
        near[tuple(slice(start, start + 3) for start in starts.tolist())] = True
        return self._unsorted(near).ravel() & computed

    def lowest_nearby(self, values: Floats) -> Booleans:
        table = np.where(np.isfinite(values), values, np.inf).reshape(self.shape)
        table = table[np.ix_(*self._order)]
        lowest = (table == minimum_filter(table, size=3, mode="nearest")) & np.isfinite(table)
        return self._unsorted(lowest).ravel()

    def spacing(self, chosen: Integers) -> Floats:
        # The widest step: in a refined grid the narrow ones do not show the curve between.
        columns = self.places[chosen].T
        return np.array([np.diff(np.unique(column)).max(initial=0.0) for column in columns])

    def at_edge(self, place: Floats, lowest: int) -> Booleans:
        edges = np.column_stack([self.low, self.high])
        pinned = np.abs(edges - place[:, None]) <= PINNED * self.half[:, None]
        at_end: Booleans = self.places[lowest][:, None] == edges
        return pinned | at_end

    def linear(self, values: Floats) -> Callable[[Floats], Floats]:
        filled = np.where(np.isfinite(values), values, np.nanmax(values)).reshape(self.shape)
        interpolator: Callable[[Floats], Floats] = RegularGridInterpolator(
            self.sorted_axes, filled[np.ix_(*self._order)]
        )
        return interpolator

    def connected(self, chosen: Integers, cut: Integers, point: int) -> Integers:
        numbers = np.arange(int(np.prod(self.shape))).reshape(self.shape)[np.ix_(*self._order)]
        pairs = np.concatenate(
            [
                np.stack([np.delete(numbers, end, axis).ravel() for end in (-1, 0)], axis=1)
                for axis in range(len(self.shape))
            ]
        )
        inside = np.isin(pairs, chosen).all(axis=1)
        codes, cuts = (each.min(axis=1) * numbers.size + each.max(axis=1) for each in (pairs, cut))
        kept = inside & ~np.isin(codes, cuts)
        links = coo_array((np.ones(kept.sum()), tuple(pairs[kept].T)), shape=(numbers.size,) * 2)
        group = connected_components(links, directed=False)[1]
        return np.asarray(chosen[group[chosen] == group[point]], np.intp)

    def near(self, used: Booleans, *, whole: bool = False) -> Callable[[Floats], Booleans]:
        table = used.reshape(self.shape)[np.ix_(*self._order)]
        corners = product(*([slice(None, -1), slice(1, None)] for _ in self.shape))
        joined = np.logical_and if whole else np.logical_or
        cells = np.asarray(joined.reduce([table[corner] for corner in corners]))

        def is_near(places: Floats) -> Booleans:
            at = tuple(
                np.clip(np.searchsorted(axis, column, "right") - 1, 0, len(axis) - 2)
                for axis, column in zip(self.sorted_axes, places.T, strict=True)
            )
            return np.asarray(cells[at])

        return is_near

    @property
    def _order(self) -> tuple[Integers, ...]:
        return tuple(np.argsort(axis) for axis in self.axes)

    def _ranks(self, point: int) -> list[int]:
        """Indices of a point among the ordered values of each parameter."""
        at = np.unravel_index(point, self.shape)
        return [int(np.flatnonzero(o == i)[0]) for o, i in zip(self._order, at, strict=True)]

    def _unsorted(self, table: Booleans) -> Booleans:
        """A table over the ordered values, over the values in their own order."""
        made = np.empty_like(table)
        made[np.ix_(*self._order)] = table
        return made


@dataclass(frozen=True)
class ScatteredDesign(Design):
    """Points anywhere.

    Attributes
    ----------
    points
        (points, parameters).

    Examples
    --------
    >>> design = ScatteredDesign(("T", "H"), np.array([[1.0, 0.0], [2.0, 0.1], [1.5, 0.7]]))
    >>> design.high.tolist(), design.nearest(np.array([1.9, 0.2]))
    ([2.0, 0.7], 1)
    """

    points: Floats

    @property
    def places(self) -> Floats:
        return self.points

    def check(self, computed: Booleans) -> None:
        super().check(computed)
        scaled = (self.points[computed] - self.points[computed].mean(axis=0)) / self.half
        directions = int(np.linalg.matrix_rank(scaled, tol=SAME * np.sqrt(len(scaled))))
        if directions < len(self.names):
            raise RequestError(
                "the points of the landscape do not vary in all directions of its parameters",
                came=f"{len(scaled)} points along {directions} of {len(self.names)} directions",
                allowed="points on no common line or plane",
                hint="latticescape.sobol({…}, 256), or one parameter that the others depend on",
            )

    @cached_property
    def _tree(self) -> KDTree:
        """The points in half widths."""
        return KDTree(self.points / self.half)

    def _nearest(self, places: Floats, number: int, tree: KDTree) -> tuple[Floats, Integers]:
        """Distances and indices of the points nearest to places, (m, number)."""
        distances, points = tree.query(places / self.half, np.arange(1, min(number, tree.n) + 1))
        return np.asarray(distances, float), np.asarray(points, np.intp)

    def added(self, values: Mapping[str, Sequence[float]]) -> int:
        return max(map(len, values.values()), default=0)

    def close(self, point: int) -> Booleans:
        width = 2 * STEPS.get(len(self.names), FEWEST_STEPS) + 1
        return self._around(point, width ** len(self.names), np.ones(len(self.points), bool))

    def around(self, point: int, computed: Booleans) -> Booleans:
        return self._around(point, PER_TERM * self.terms, computed)

    def _around(self, point: int, number: int, computed: Booleans) -> Booleans:
        squares = (((self.points - self.points[point]) / self.half) ** 2).sum(axis=1)
        near = np.zeros(len(self.points), bool)
        near[np.argsort(np.where(computed, squares, np.inf), kind="stable")[:number]] = True
        return near & computed

    def lowest_nearby(self, values: Floats) -> Booleans:
        filled = np.where(np.isfinite(values), values, np.inf)
        neighbors = self._nearest(self.points, 2 * self.terms, self._tree)[1]
        lowest: Booleans = np.isfinite(values) & (filled <= filled[neighbors].min(axis=1))
        return lowest

    def spacing(self, chosen: Integers) -> Floats:
        width = np.ptp(self.points[chosen], axis=0)
        return np.asarray(width * len(chosen) ** (-1 / len(self.names)), float)

    def at_edge(self, place: Floats, lowest: int) -> Booleans:
        edges = np.column_stack([self.low, self.high])
        pinned: Booleans = np.abs(edges - place[:, None]) <= PINNED * self.half[:, None]
        return pinned

    def linear(self, values: Floats) -> Callable[[Floats], Floats]:
        # As many points as a cell of a grid has corners, by inverse distance: a triangulation of
        # thousands of points in five or more parameters would take hours.
        known = np.isfinite(values)
        tree, heights = KDTree(self.points[known] / self.half), values[known]

        def interpolated(places: Floats) -> Floats:
            if not len(places):
                return np.empty(0)
            distances, points = self._nearest(places, 2 ** len(self.names), tree)
            weights = 1 / np.maximum(distances, 1e-12)
            return np.asarray((weights * heights[points]).sum(axis=1) / weights.sum(axis=1), float)

        return interpolated

    def near(self, used: Booleans, *, whole: bool = False) -> Callable[[Floats], Booleans]:
        def is_near(places: Floats) -> Booleans:
            if not len(places):
                return np.empty(0, bool)
            points = self._nearest(places, 2 ** len(self.names), self._tree)[1]
            return np.asarray(used[points].all(axis=1) if whole else used[points].any(axis=1))

        return is_near


def design_of(landscape: xr.Dataset) -> Design:
    """The points of a landscape.

    It is a grid if each of the landscape's dimensions is a parameter; if parameters vary together
    along a dimension, it is scattered points.

    Raises
    ------
    RequestError
        If a parameter is not a number; or scattered points are too few for a parabola, lie on one
        line or plane, or one of them is there twice.

    Examples
    --------
    >>> T, H = np.random.default_rng(1).uniform(size=(2, 9))
    >>> landscape = xr.Dataset({"s2_total": ("point", T)}, {"T": ("point", T), "H": ("point", H)})
    >>> design_of(landscape).names
    ('T', 'H')
    """
    names = parameters_of(landscape)
    dims = landscape["s2_total"].dims
    if names == dims:
        axes = {name: landscape[name].values.astype(float) for name in names}
        swept = tuple(name for name in names if len(axes[name]) > 1)
        fixed = {name: float(axes[name][0]) for name in names if name not in swept}
        return GridDesign(swept, tuple(axes[name] for name in swept), fixed=fixed)
    columns = columns_of(landscape)
    swept = tuple(name for name, column in columns.items() if np.ptp(column) > 0)
    fixed = {name: float(columns[name][0]) for name in names if name not in swept}
    points = np.column_stack([columns[name] for name in swept]) if swept else np.empty((0, 0))
    design = ScatteredDesign(swept, points, fixed=fixed)
    design.check(np.ones(len(points), bool))
    rounded = np.rint((points - design.low) / design.half / SAME)
    if len(np.unique(rounded, axis=0)) < len(points):
        raise RequestError(
            "a point of the landscape is there twice",
            came=f"{len(np.unique(rounded, axis=0))} different points of {len(points)}",
            allowed="different points",
            hint="ds.isel(point=[…]) with one of each",
        )
    return design


def flat(landscape: xr.Dataset, variable: str, *first: str, last: Sequence[str] = ()) -> Floats:
    """The values of a variable, (…first, points, …last), in the order of the design's points.

    Examples
    --------
    >>> values = np.zeros((2, 3, 4))
    >>> landscape = xr.Dataset({"s2_total": (("T", "H"), values[:, :, 0]),
    ...                         "s2": (("T", "H", "image"), values)})
    >>> flat(landscape, "s2", "image").shape
    (4, 6)
    """
    array = landscape[variable].transpose(*first, *landscape["s2_total"].dims, *last)
    sizes = [array.sizes[dim] for dim in first], [array.sizes[dim] for dim in last]
    return np.asarray(array.values.reshape(*sizes[0], -1, *sizes[1]), float)


def at_point(landscape: xr.Dataset, point: int) -> xr.Dataset:
    """The landscape at one of its points.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2_total": (("T", "H"), [[0.1, 0.2], [0.3, 0.4]])})
    >>> float(at_point(landscape, 2).s2_total)
    0.3
    """
    total = landscape["s2_total"]
    places = map(int, np.unravel_index(point, total.shape))
    return landscape.isel(dict(zip(total.dims, places, strict=True)))
