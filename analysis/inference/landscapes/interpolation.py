"""Interpolate a landscape: a Gaussian process near the minimum, linearly elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from latticescape.analysis.checks import RUN_AGAIN, check_least
from latticescape.analysis.inference.landscapes.gaussian_process import Process
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

# The Gaussian process uses points where −2 ln L is at most HIGH above its minimum, and those within
# STEPS grid steps of the lowest, by number of axes; at most MOST of them.
HIGH = 60.0
STEPS = {1: 8, 2: 5, 3: 3}
FEWEST_STEPS = 2
MOST = 500

# Values above the minimum are met less closely, by this share of their height, and by more where
# they are high, because the landscape may have kinks there.
LOOSE = 0.01


@dataclass(frozen=True)
class Interpolation:
    """A landscape at any point of the grid's box.

    Attributes
    ----------
    names
        The parameters.
    axes
        Values of each on the grid.
    """

    names: tuple[str, ...]
    axes: tuple[Floats, ...]
    centre: Floats
    half: Floats
    chosen: npt.NDArray[np.intp]
    process: Process
    linear: RegularGridInterpolator
    cells: Booleans

    def __call__(self, points: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Values and their standard errors, (m,) each, at points (m, parameters).

        The errors include finite simulation and interpolation. They are zero where the
        interpolation is linear, outside of the range of the Gaussian process.
        """
        places = self._within(points)
        value, error = self.linear(places), np.zeros(len(places))
        near = self.is_near(places)
        scaled = self.scaled(places[near])
        value[near] = self.process.mean(scaled)
        error[near] = self.process.error(scaled)
        return value, error

    def value(self, points: npt.ArrayLike) -> Floats:
        """The values without errors, which is faster."""
        places = self._within(points)
        near = self.is_near(places)
        value: Floats = np.empty(len(places))
        value[near] = self.process.mean(self.scaled(places[near]))
        value[~near] = self.linear(places[~near]) if not near.all() else 0.0
        return value

    def on_grid(self, points: int = 101) -> xr.Dataset:
        """Values and errors on a grid of ``points`` per axis: ``value``, ``value_se``."""
        axes = [np.linspace(axis[0], axis[-1], points) for axis in self.axes]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        value, error = self(mesh.reshape(-1, len(axes)))
        shape = mesh.shape[:-1]
        return xr.Dataset(
            {
                "value": (self.names, value.reshape(shape)),
                "value_se": (self.names, error.reshape(shape)),
            },
            coords=dict(zip(self.names, axes, strict=True)),
        )

    def minimum(self, values: Floats | None = None) -> Floats:
        """The least point, (parameters,); of other values at ``chosen`` (draws, n) one each."""
        low, high = self.scaled(np.array([[a[0], a[-1]] for a in self.axes]).T)
        process = self.process if values is None else self.process.of(values.T)
        smooth = process.mean(process.points)
        begin = process.points[np.argmin(smooth, axis=0)]
        minima = process.minima(np.atleast_2d(begin), low, high) * self.half + self.centre
        return minima if values is not None else minima[0]

    def scaled(self, points: Floats) -> Floats:
        """In the Gaussian process's own units."""
        scaled: Floats = (points - self.centre) / self.half
        return scaled

    def is_near(self, places: Floats) -> Booleans:
        """Whether the Gaussian process uses a corner of the grid cell."""
        at = tuple(
            np.clip(np.searchsorted(axis, column, "right") - 1, 0, len(axis) - 2)
            for axis, column in zip(self.axes, places.T, strict=True)
        )
        return np.asarray(self.cells[at])

    def _within(self, points: npt.ArrayLike) -> Floats:
        places = np.asarray(points, float).reshape(-1, len(self.axes))
        return np.column_stack(
            [np.clip(c, a[0], a[-1]) for c, a in zip(places.T, self.axes, strict=True)]
        )


def interpolate(landscape: xr.Dataset, variable: str = "s2_total") -> Interpolation:
    """Interpolate a landscape between the points of its grid, with errors.

    Near the minimum a Gaussian process (a free parabola and a smooth rest whose height and lengths
    are fitted) goes through the grid's values within their known Monte Carlo errors; elsewhere the
    interpolation is linear. Points that are not computed are left out.

    Parameters
    ----------
    landscape
        A landscape over one or more parameters.
    variable
        ``s2_total``, or another variable over only the parameters with an error ``…_se``.

    Returns
    -------
    Interpolation
        Callable: points (m, parameters) to values and standard errors (m,); ``on_grid(101)`` gives
        a Dataset on a fine grid.

    Raises
    ------
    RequestError
        If an axis holds fewer than three values, or too few points are computed for a parabola.

    References
    ----------
    Rasmussen and Williams, Gaussian Processes for Machine Learning (MIT Press, 2006), ch. 2.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-5), "n": ("image", [1000])},
    ...     coords={"w1": w})
    >>> value, error = interpolate(landscape)([[-0.08], [-0.06]])
    >>> value.round(4).tolist(), bool(error.max() < 2e-5)
    ([0.02, 0.0204], True)
    """
    names = parameters_of(landscape)
    axes = {name: landscape[name].values.astype(float) for name in names}
    values, errors = (landscape[v].transpose(*names).values for v in (variable, f"{variable}_se"))
    return interpolation(axes, values, errors, high=HIGH / (4 * float(landscape["n"].sum())))


def interpolation(
    axes: Mapping[str, Floats], values: Floats, errors: Floats, *, high: float = HIGH
) -> Interpolation:
    """Interpolate values (…) with known errors, accurately up to ``high`` above the smallest.

    Examples
    --------
    >>> T = np.linspace(1.0, 3.0, 11)
    >>> between = interpolation({"T": T}, 50 * (T - 1.93) ** 2, np.full(11, 0.01))
    >>> float(between.minimum()[0].round(3))
    1.93
    """
    for name, axis in axes.items():
        check_least(len(axis), 3, f"values of {name} for a curve", f"more of {name} in [grid]")
    terms, number = (len(axes) + 1) * (len(axes) + 2) // 2, int(np.isfinite(values).sum())
    if not axes or number <= terms:
        problem = "too few points of the landscape are computed for a parabola"
        raise RequestError(problem, came=number, allowed=f"more than {terms}", hint=RUN_AGAIN)
    names = tuple(axes)
    order = [np.argsort(axes[name]) for name in names]
    grid = [axes[name][o] for name, o in zip(names, order, strict=True)]
    table, noise = (part[np.ix_(*order)] for part in (values, errors))
    chosen = _chosen(grid, table, noise, high)
    mesh = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, len(names))
    known = mesh[chosen]
    centre, half = (known.max(axis=0) + known.min(axis=0)) / 2, np.ptp(known, axis=0) / 2
    half = np.where(half > 0, half, 1.0)
    # The widest step: in a refined grid the narrow ones do not show the curve between the others.
    step = np.array([np.diff(np.unique(column)).max(initial=0.0) for column in known.T]) / half
    noise = np.where(np.isfinite(noise), noise, 0.0).ravel()[chosen]
    loose = model_tolerance(table.ravel()[chosen] - np.nanmin(table), high)
    process = Process.through(
        (known - centre) / half, table.ravel()[chosen], np.hypot(noise, loose), step
    )
    filled = np.where(np.isfinite(table), table, np.nanmax(table))
    used = np.zeros(table.shape, bool)
    used.ravel()[chosen] = True
    corners = product(*([slice(None, -1), slice(1, None)] for _ in table.shape))
    # Indices into the values in the caller's order.
    place = np.ravel_multi_index(
        tuple(o[i] for o, i in zip(order, np.unravel_index(chosen, table.shape), strict=True)),
        table.shape,
    )
    return Interpolation(
        names=names,
        axes=tuple(grid),
        centre=centre,
        half=half,
        chosen=place,
        process=process,
        linear=RegularGridInterpolator(tuple(grid), filled),
        cells=np.asarray(np.logical_or.reduce([used[corner] for corner in corners])),
    )


def model_tolerance(height: Floats, high: float = HIGH) -> Floats:
    """Allowed deviation of the model from a value this high above the smallest."""
    tolerance: Floats = LOOSE * height * (1 + height / (high / 2))
    return tolerance


def _chosen(
    grid: Sequence[Floats], table: Floats, noise: Floats, high: float
) -> npt.NDArray[np.intp]:
    """Indices of the points that the Gaussian process goes through."""
    finite = np.isfinite(table)
    lowest = np.unravel_index(int(np.nanargmin(table)), table.shape)
    steps = STEPS.get(table.ndim, FEWEST_STEPS)
    # In steps of the coarse grid if it was refined: its points still show the wider shape.
    separation = [
        (np.abs(axis - axis[i]) / np.diff(axis).max()).reshape(
            [-1 if k == place else 1 for k in range(table.ndim)]
        )
        for place, (axis, i) in enumerate(zip(grid, lowest, strict=True))
    ]
    close = np.maximum.reduce(np.broadcast_arrays(*separation)) <= steps * (1 + 1e-9)
    above = table - np.nanmin(table)
    known = noise[finite & close & np.isfinite(noise)]
    low = above <= max(high, 12 * float(np.median(known)) if known.size else 0.0)
    chosen = np.flatnonzero(finite & (low | close))
    if len(chosen) <= MOST:
        return chosen
    ranked = chosen[np.argsort(above.ravel()[chosen])]
    rest = np.random.default_rng(0).permutation(ranked[MOST // 2 :])[: MOST - MOST // 2]
    return np.sort(np.concatenate([ranked[: MOST // 2], rest]))
