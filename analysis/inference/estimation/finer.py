"""The exact likelihood between the points of a grid, from its values and its slopes.

The slope of ln L at a point follows from the mean features there, exactly. A cubic through the
values and slopes of two neighbouring points (Hermite's) knows of nothing else, so that a kink
elsewhere does no harm, and the grid may be as coarse as the errors of the parameters.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.estimation.deviance import Deviance, Exact
from latticescape.analysis.inference.landscapes.designs import GridDesign, flat

Floats = npt.NDArray[np.float64]

# From a point to the next −2 ln L rises by no more than this near the minimum.
RISE = 0.25

# Numbers of parts that a step of the grid is divided into, and points that the grid may have. A
# kink that the points of the grid do not resolve harms only neighbouring steps if all are divided.
PARTS = (4, 8)
MOST = 100_000


def finer(landscape: xr.Dataset, deviances: Deviance) -> Deviance:
    """−2 ln L on a grid whose steps are small compared with the width of the minimum.

    Parameters
    ----------
    landscape
        A landscape.
    deviances
        Its −2 ln L. Without the slopes of an exact likelihood it is returned as it is.

    Examples
    --------
    >>> import latticescape as ls
    >>> from latticescape.analysis.counts.counting import count_lattices
    >>> from latticescape.analysis.inference.estimation.deviance import deviance
    >>> import tempfile
    >>> sweep = ls.Sweep(ls.square(8), ls.Ising(H=0.1), {"T": [3.0, 4.0, 5.0, 6.0]},
    ...                  ls.Schedule(100, 50, 2), seed=1)
    >>> ds = ls.run(sweep, tempfile.mkdtemp() + "/ising.zarr")
    >>> one = count_lattices(np.tile([0, 1, 0, 0, 1, 1, 1, 1], (40, 8)), ls.square(8))
    >>> surface = ls.landscape(ds, one)
    >>> len(deviance(surface).values) < len(finer(surface, deviance(surface)).values)
    True
    """
    design, exact = deviances.design, deviances.exact
    known = exact is not None and "log_likelihood_slope" in landscape
    # Where an axis has two values, nothing tells whether a cubic does.
    if not known or not isinstance(design, GridDesign) or min(design.shape, default=0) < 3:
        return deviances
    assert exact is not None
    grid = _Grid(design)
    slopes = [
        -2 * grid.sorted(flat(landscape.sel(along=name), "log_likelihood_slope", "image"))
        for name in design.names
    ]
    parts, errors = grid.sorted(deviances.parts), grid.sorted(deviances.errors)
    jumps = grid.lines(exact.jumps)
    times = grid.times(parts.sum(axis=0), [slope.sum(axis=0) for slope in slopes], jumps)
    fine = grid.finer_axes(times)
    bends = np.array(
        [
            grid.between(grid.bend(parts.sum(axis=0), slope.sum(axis=0), k), fine, linear=True)
            for k, slope in enumerate(slopes)
        ]
    )
    parts = grid.between(parts, fine, slopes=slopes, jumps=jumps)
    values = parts.sum(axis=0)
    replicas = None
    if exact.replicas is not None:
        # Deviations of the replicas are small and smooth.
        off = grid.sorted(exact.replicas - deviances.values)
        replicas = (values + grid.between(off, fine, linear=True)).reshape(len(off), -1)
    couplings = grid.between(grid.sorted(exact.couplings.T), fine)
    chords = grid.between(grid.sorted(deviances.values), fine, linear=True)
    # More points are not more information.
    scale = float(np.sqrt(np.prod(times)))
    return replace(
        deviances,
        design=replace(design, axes=fine),
        values=values.ravel(),
        errors=scale * grid.between(errors, fine, linear=True).ravel(),
        parts=parts.reshape(len(parts), -1),
        exact=Exact(
            replicas=replicas,
            couplings=couplings.reshape(len(couplings), -1).T,
            jumps=grid.renumbered(exact.jumps, times),
            bridged=np.where(np.isfinite(values), values, chords).ravel(),
            bends=bends.reshape(len(bends), -1),
        ),
    )


class _Grid:
    """The points of a design, each axis in increasing order."""

    def __init__(self, design: GridDesign) -> None:
        self.axes, self.shape = design.sorted_axes, design.shape
        self.order = [np.argsort(axis) for axis in design.axes]
        self._ranks = [np.argsort(each) for each in self.order]

    def sorted(self, values: Floats) -> Floats:
        """Values (…, points) as (…, *grid)."""
        table = values.reshape(-1, *self.shape)
        for axis, order in enumerate(self.order):
            table = table.take(order, axis=1 + axis)
        return np.asarray(table.reshape(*values.shape[:-1], *self.shape), np.float64)

    def lines(self, jumps: npt.NDArray[np.intp]) -> list[Floats]:
        """For every axis, NaN at the lines along it that cross from phase to phase, else 0."""
        lines = [np.zeros(self.shape) for _ in self.axes]
        begin, end = (np.array(self._places(points)) for points in jumps.T)
        for first, second in zip(begin.T, end.T, strict=True):
            axis = int(np.argmax(first != second))
            lines[axis][tuple(np.minimum(first, second))] = np.nan
        return lines

    def renumbered(self, jumps: npt.NDArray[np.intp], times: Sequence[int]) -> npt.NDArray[np.intp]:
        """Pairs of points, by their numbers on the finer grid."""
        shape = [times_ * (n - 1) + 1 for times_, n in zip(times, self.shape, strict=True)]
        pairs = []
        for points in jumps.T:
            fine = [t * ranks for t, ranks in zip(times, self._places(points), strict=True)]
            pairs.append(np.ravel_multi_index(tuple(fine), shape))
        return np.stack(pairs, axis=1).astype(np.intp)

    def _places(self, points: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
        places = np.unravel_index(points, self.shape)
        return [ranks[at] for ranks, at in zip(self._ranks, places, strict=True)]

    def times(self, values: Floats, slopes: Sequence[Floats], jumps: Sequence[Floats]) -> list[int]:
        """Parts of the steps along every axis."""
        least = np.unravel_index(int(np.nanargmin(values)), self.shape)
        times = []
        for axis, (slope, jump) in enumerate(zip(slopes, jumps, strict=True)):
            line = tuple(slice(None) if k == axis else at for k, at in enumerate(least))
            step = np.diff(self.axes[axis])
            bend = np.abs(np.diff(slope[line] + jump[line] * 0)) / step
            near = bend[max(least[axis] - 1, 0) : least[axis] + 1]
            steepest = float(np.nanmax(near)) if np.isfinite(near).any() else 0.0
            parts = np.ceil(step.max() * np.sqrt(steepest / (2 * RISE)))
            times.append(int(np.clip(parts, *PARTS)))
        while np.prod([t * (n - 1) + 1 for t, n in zip(times, self.shape, strict=True)]) > MOST:
            if max(times) == 1:
                break
            times[int(np.argmax(times))] -= 1
        return times

    def bend(self, values: Floats, slope: Floats, axis: int) -> Floats:
        """By how much the curvature along an axis differs on both sides of each point, (*grid);
        0 at ends."""
        f, g = np.moveaxis(values, axis, -1), np.moveaxis(slope, axis, -1)
        h = np.diff(self.axes[axis])
        rise = 6 * np.diff(f, axis=-1) / h**2
        right = rise - (4 * g[..., :-1] + 2 * g[..., 1:]) / h
        left = (2 * g[..., :-1] + 4 * g[..., 1:]) / h - rise
        bend = np.zeros(f.shape)
        bend[..., 1:-1] = np.abs(right[..., 1:] - left[..., :-1])
        return np.moveaxis(np.nan_to_num(bend), -1, axis)

    def finer_axes(self, times: Sequence[int]) -> tuple[Floats, ...]:
        """The axes, each step divided into parts."""
        fine = []
        for axis, parts in zip(self.axes, times, strict=True):
            inner = axis[:-1, None] + np.diff(axis)[:, None] * np.arange(parts) / parts
            fine.append(np.append(inner.ravel(), axis[-1]))
        return tuple(fine)

    def between(
        self,
        values: Floats,
        fine: Sequence[Floats],
        *,
        slopes: Sequence[Floats] | None = None,
        jumps: Sequence[Floats] | None = None,
        linear: bool = False,
    ) -> Floats:
        """Values (…, *grid) on a finer grid, axis by axis."""
        number = len(self.axes)
        steep: list[Floats | None] = [None] * number if slopes is None else list(slopes)
        cut = list(jumps) if jumps is not None else [np.zeros(self.shape)] * number
        for axis, (coarse, axis_fine) in enumerate(zip(self.axes, fine, strict=True)):
            at = axis - number
            values, slope = _cubic(values, coarse, axis_fine, at, steep[axis], cut[axis], linear)
            # Slopes along the other axes change along this one, too.
            steep = [
                each if k == axis or each is None else _cubic(each, coarse, axis_fine, at)[0]
                for k, each in enumerate(steep)
            ]
            steep[axis] = slope
            cut = [
                each if k <= axis else _cubic(each, coarse, axis_fine, at, linear=True)[0]
                for k, each in enumerate(cut)
            ]
        return values


def _cubic(
    values: Floats,
    coarse: Floats,
    fine: Floats,
    axis: int,
    slope: Floats | None = None,
    cut: Floats | None = None,
    linear: bool = False,
) -> tuple[Floats, Floats]:
    """Values and slopes at finer places of an axis; without slopes, those of the neighbours'
    differences. Nothing is known between two points that are cut."""
    f = np.moveaxis(values, axis, -1)
    g = _differences(f, coarse) if slope is None else np.moveaxis(slope, axis, -1)
    i = np.clip(np.searchsorted(coarse, fine, "right") - 1, 0, len(coarse) - 2)
    h = coarse[i + 1] - coarse[i]
    t = (fine - coarse[i]) / h
    rise = f[..., i + 1] - f[..., i]
    if linear:
        between, steep = f[..., i] + t * rise, rise / h
    else:
        first, last = h * g[..., i] - rise, rise - h * g[..., i + 1]
        between = f[..., i] + t * rise + t * (1 - t) * ((1 - t) * first + t * last)
        steep = (
            rise + (1 - 2 * t) * ((1 - t) * first + t * last) + t * (1 - t) * (last - first)
        ) / h
    if cut is not None:
        between = between + np.moveaxis(cut, axis, -1)[..., i]
    # At the points themselves, whatever is next to them.
    for end, k in ((0.0, i), (1.0, i + 1)):
        between = np.where(t == end, f[..., k], between)
        steep = np.where(t == end, g[..., k], steep)
    return np.moveaxis(between, -1, axis), np.moveaxis(steep, -1, axis)


def _differences(f: Floats, x: Floats) -> Floats:
    """Slopes along the last axis from the differences on both sides, or on the one side that is
    known."""
    step = np.diff(x)
    secant = np.diff(f, axis=-1) / step
    none = np.full((*f.shape[:-1], 1), np.nan)
    before, after = np.concatenate([none, secant], -1), np.concatenate([secant, none], -1)
    left, right = np.append(step[0], step), np.append(step, step[-1])
    both = (right * before + left * after) / (left + right)
    one = np.where(np.isfinite(before), before, after)
    return np.where(np.isfinite(both), both, one)
