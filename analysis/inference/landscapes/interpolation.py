"""Interpolate a landscape: a Gaussian process near the minimum, linearly elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.landscapes.designs import Design, design_of, flat
from latticescape.analysis.inference.landscapes.gaussian_process import Process

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.intp]

# The Gaussian process uses points where −2 ln L is at most HIGH above its minimum, and those close
# to the lowest; at most MOST of them.
HIGH = 60.0
MOST = 500

# Values above the minimum are met less closely, by this share of their height, and by more where
# they are high, because the landscape may have kinks there.
LOOSE = 0.01


# Errors of a minimum are compared with those of so many of the lowest points, left out.
LOWEST = 15


@dataclass(frozen=True)
class Interpolation:
    """A landscape at any place in the box around its points.

    Attributes
    ----------
    design
        The points of the landscape.
    centre, half
        (parameters,): middle and half width of the range of the Gaussian process.
    chosen
        Indices of the points that it goes through, some of those in its range if these are many.
    linear
        Values at places (m, parameters) elsewhere.
    is_near
        Whether the Gaussian process is used at places (m, parameters).
    """

    design: Design
    centre: Floats
    half: Floats
    chosen: npt.NDArray[np.intp]
    process: Process
    linear: Callable[[Floats], Floats]
    is_near: Callable[[Floats], Booleans]

    def __call__(self, points: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Values and their standard errors, (m,) each, at points (m, parameters).

        The errors include finite simulation and interpolation. They are zero where the
        interpolation is linear, outside of the range of the Gaussian process.
        """
        places = self.design.inside(points)
        value, error = self.linear(places), np.zeros(len(places))
        near = self.is_near(places)
        scaled = self.scaled(places[near])
        value[near] = self.process.mean(scaled)
        error[near] = self.process.error(scaled)
        return value, error

    def value(self, points: npt.ArrayLike) -> Floats:
        """The values without errors, which is faster."""
        places = self.design.inside(points)
        near = self.is_near(places)
        value: Floats = np.empty(len(places))
        value[near] = self.process.mean(self.scaled(places[near]))
        value[~near] = self.linear(places[~near]) if not near.all() else 0.0
        return value

    def on_grid(self, points: int = 101) -> xr.Dataset:
        """Values and errors on a grid of ``points`` per axis: ``value``, ``value_se``."""
        names, low, high = self.design.names, self.design.low, self.design.high
        axes = np.linspace(low, high, points).T
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        value, error = self(mesh.reshape(-1, len(axes)))
        shape = mesh.shape[:-1]
        return xr.Dataset(
            {
                "value": (names, value.reshape(shape)),
                "value_se": (names, error.reshape(shape)),
            },
            coords=dict(zip(names, axes, strict=True)),
        )

    def minimum(self, values: Floats | None = None) -> Floats:
        """The least point within the box around ``chosen``, (parameters,); of other values there,
        (draws, n), one each."""
        low, high = self.scaled(self.low), self.scaled(self.high)
        process = self.process if values is None else self.process.of(values.T)
        smooth = process.mean(process.points)
        begin = process.points[np.argmin(smooth, axis=0)]
        begin = np.atleast_2d(begin)
        minima = process.minima(begin, low, high) * self.half + self.centre
        # Beyond the edge of a phase the process knows nothing.
        beyond = ~self.is_near(self.design.inside(minima))
        minima[beyond] = begin[beyond] * self.half + self.centre
        return minima if values is not None else minima[0]

    @cached_property
    def low(self) -> Floats:
        """Lower corner of the box around the points of the Gaussian process, (parameters,)."""
        return np.asarray(self.design.places[self.chosen].min(axis=0), float)

    @cached_property
    def high(self) -> Floats:
        """Upper corner of the box around the points of the Gaussian process, (parameters,)."""
        return np.asarray(self.design.places[self.chosen].max(axis=0), float)

    def inside(self, places: Floats) -> Floats:
        """Places (m, parameters), moved into that box."""
        return np.asarray(np.clip(places, self.low, self.high), float)

    @cached_property
    def widening(self) -> float:
        """Factor of the errors: 1, or more if points that are left out deviate by more, among the
        lowest or among all."""
        squares = self.process.left_out() ** 2
        lowest = squares[np.argsort(self.process.mean(self.process.points))[:LOWEST]]
        return float(np.sqrt(max(1.0, squares.mean(), lowest.mean())))

    def scaled(self, points: Floats) -> Floats:
        """In the Gaussian process's own units."""
        scaled: Floats = (points - self.centre) / self.half
        return scaled


def interpolate(landscape: xr.Dataset, variable: str = "s2_total") -> Interpolation:
    """Interpolate a landscape between its points, with errors.

    Near the minimum a Gaussian process (a free parabola and a smooth rest whose height and lengths
    are fitted) goes through the values within their known Monte Carlo errors. Elsewhere the
    interpolation is linear on a grid, and by inverse distance between scattered points. Points that
    are not computed are left out.

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
        If an axis holds fewer than three values, or too few points are computed for a parabola; or
        as of :func:`design_of`.

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
    values, errors = flat(landscape, variable), flat(landscape, f"{variable}_se")
    high = HIGH / (4 * float(landscape["n"].sum()))
    return interpolation(design_of(landscape), values, errors, high=high)


def interpolation(
    design: Design,
    values: Floats,
    errors: Floats,
    *,
    high: float = HIGH,
    jumps: Integers | None = None,
    bridged: Floats | None = None,
) -> Interpolation:
    """Interpolate values (points,) with known errors, accurately up to ``high`` above the smallest.

    The Gaussian process keeps to the phase of the lowest point: ``jumps``, (jumps, 2), are pairs of
    neighbouring points between which the landscape has a kink; ``bridged`` are values (points,) for
    the linear interpolation across.

    Examples
    --------
    >>> from latticescape.analysis.inference.landscapes.designs import GridDesign
    >>> T = np.linspace(1.0, 3.0, 11)
    >>> between = interpolation(GridDesign(("T",), (T,)), 50 * (T - 1.93) ** 2, np.full(11, 0.01))
    >>> float(between.minimum()[0].round(3))
    1.93
    """
    design.check(np.isfinite(values))
    low = _low(design, values, errors, high)
    if jumps is not None and len(jumps):
        low = design.connected(low, jumps, int(np.nanargmin(values)))
    chosen = _thinned(design, values, low)
    known = design.places[chosen]
    centre, half = (known.max(axis=0) + known.min(axis=0)) / 2, np.ptp(known, axis=0) / 2
    half = np.where(half > 0, half, 1.0)
    noise = np.where(np.isfinite(errors), errors, 0.0)[chosen]
    loose = model_tolerance(values[chosen] - np.nanmin(values), high)
    process = Process.through(
        (known - centre) / half,
        values[chosen],
        np.hypot(noise, loose),
        design.spacing(chosen) / half,
    )
    used = np.zeros(len(values), bool)
    used[low] = True
    return Interpolation(
        design=design,
        centre=centre,
        half=half,
        chosen=chosen,
        process=process,
        linear=design.linear(values if bridged is None else bridged),
        is_near=design.near(used, whole=jumps is not None and len(jumps) > 0),
    )


def model_tolerance(height: Floats, high: float = HIGH) -> Floats:
    """Allowed deviation of the model from a value this high above the smallest."""
    tolerance: Floats = LOOSE * height * (1 + height / (high / 2))
    return tolerance


def _low(design: Design, values: Floats, errors: Floats, high: float) -> Integers:
    """Indices of the points that are low, or close to the lowest."""
    finite = np.isfinite(values)
    close = design.close(int(np.nanargmin(values)))
    above = values - np.nanmin(values)
    known = errors[finite & close & np.isfinite(errors)]
    low = above <= max(high, 12 * float(np.median(known)) if known.size else 0.0)
    return np.flatnonzero(finite & (low | close))


def _thinned(design: Design, values: Floats, low: Integers) -> Integers:
    """Of too many points the lowest, the outermost, and some of the others."""
    if len(low) <= MOST:
        return low
    ranked = low[np.argsort(values[low])]
    places = design.places[low]
    outermost = low[np.concatenate([places.argmin(axis=0), places.argmax(axis=0)])]
    rest = np.random.default_rng(0).permutation(ranked[MOST // 2 :])[: MOST - MOST // 2]
    return np.unique(np.concatenate([ranked[: MOST // 2], rest, outermost]))
