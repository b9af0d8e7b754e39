"""ln Z between the points of a grid, integrated from the mean features of its points.

In an exponential family, p(configuration) = exp(−b·u)/Z(b), the slope of ln Z is −⟨u⟩. Along the
line between two neighbouring points of a grid the means are taken as a cubic through them and the
points next to them. The differences along all lines of the grid are then reconciled by least
squares.

Since ln Z is convex, ⟨u⟩·b falls along every line, so that a line between two points leaves no more
open than half the change of ⟨u⟩·Δb, however few points there are. Where that change is far above
that of the lines before or after, the means jump: the line crosses from one phase to another.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csc_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

# The cubic is trusted to this share of its difference from a straight line.
ROUGH = 0.1

# A cubic cannot follow means whose slope changes by more than this factor from one line to the
# next, if that changes ln Z by more than this.
STEEPER = 10.0
MATTERS = 1.0

# Weights of lines differ by no more, so that the equations can be solved.
LIGHTEST = 1e-9


@dataclass(frozen=True)
class Partition:
    """ln Z at some points of a grid.

    Attributes
    ----------
    points
        (n,): their indices among all points of the grid, in ascending order.
    log_z
        (n, replicas): ln Z from each replica's means, 0 at the point ``start``.
    error
        (n,): error of ln Z against its neighbours, by chance and by the finite steps of the grid.
    jumps
        (jumps, 2): the ends of lines between neighbouring points that belong to different phases.
    """

    points: Integers
    log_z: Floats
    error: Floats
    jumps: Integers


def integrate(reduced: Floats, means: Floats, numbers: Integers, start: int) -> Partition:
    """ln Z at the points of a grid that are connected with one of them.

    Parameters
    ----------
    reduced
        Couplings over temperature b, (…axes, features).
    means
        Mean features of each replica, (…axes, replicas, features); NaN at points that are left out.
    numbers
        The index of each point of the grid, (…axes), each axis in ascending order of its values.
    start
        The index of a point that is not left out.

    Examples
    --------
    >>> b = np.linspace(0.0, 1.0, 11)[:, None]
    >>> partition = integrate(b, -np.tanh(b)[:, :, None], np.arange(11), 0)  # a spin in a field
    >>> bool(np.allclose(partition.log_z[:, 0], np.log(np.cosh(b[:, 0])), atol=1e-5))
    True
    """
    shape, replicas = reduced.shape[:-1], means.shape[-2]
    known: npt.NDArray[np.bool_] = np.all(np.isfinite(means), axis=(-2, -1))
    lines: list[tuple[Integers, Integers, Floats, Floats, npt.NDArray[np.bool_]]] = []
    for axis, length in enumerate(shape):
        if length < 2:
            continue
        b, u = np.moveaxis(reduced, axis, 0), np.moveaxis(means, axis, 0)
        flags, ids = np.moveaxis(known, axis, 0), np.moveaxis(numbers, axis, 0)
        difference, rough, jump = _along(b, u, flags)
        both = flags[1:] & flags[:-1]
        ends = ids[:-1][both], ids[1:][both]
        lines.append((*ends, difference[both], rough[both], jump[both]))
    if not lines:
        none = np.empty((0, 2), np.intp)
        return Partition(np.array([start]), np.zeros((1, replicas)), np.zeros(1), none)
    begin, end = (np.concatenate([line[k] for line in lines]) for k in (0, 1))
    difference, rough = (np.concatenate([line[k] for line in lines]) for k in (2, 3))
    jump = np.concatenate([line[4] for line in lines])
    jumps = np.stack([begin, end], axis=1)[jump]
    links = coo_array((np.ones(len(begin)), (begin, end)), shape=(known.size,) * 2)
    group = connected_components(links, directed=False)[1]
    points = np.flatnonzero(group == group[start])
    inside = group[begin] == group[start]
    begin, end = np.searchsorted(points, begin[inside]), np.searchsorted(points, end[inside])
    difference, rough, smooth = difference[inside], rough[inside], ~jump[inside]
    noise = difference.var(axis=1, ddof=1) / replicas if replicas > 1 else np.zeros(len(rough))
    weight = 1 / np.maximum(noise + rough**2, 1e-18)
    weight = np.maximum(weight / weight.max(), LIGHTEST)
    log_z = _reconciled(begin, end, difference, weight, len(points))
    log_z = log_z - log_z[np.searchsorted(points, start)]
    error = np.zeros(len(points))
    for side in (begin, end):
        np.maximum.at(error, side[smooth], np.sqrt(noise + rough**2)[smooth])
    return Partition(points, log_z, error, jumps)


def _along(
    b: Floats, u: Floats, known: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """−∫⟨u⟩·db between neighbours on lines, (n − 1, …, replicas), its error by the finite steps,
    and whether the means jump, (n − 1, …)."""
    step = np.diff(b, axis=0)
    length = np.maximum(np.linalg.norm(step, axis=-1), 1e-300)[..., None, None]
    secant = np.diff(u, axis=0) / length
    both = (known[1:] & known[:-1])[..., None, None]
    secant = np.where(both, secant, np.nan)
    # The slope of the means at every point, from the secants on both sides; where these differ
    # much, no more than keeps the cubic monotonic (Fritsch and Carlson, SIAM J. Numer. Anal. 17,
    # 238 (1980)).
    slope = np.full(u.shape, np.nan)
    before, after = secant[:-1], secant[1:]
    left, right = length[:-1], length[1:]
    central = (right * before + left * after) / (left + right)
    most = 3 * np.minimum(np.abs(before), np.abs(after)).mean(axis=-2, keepdims=True)
    slope[1:-1] = np.clip(central, -most, most)
    low, high = slope[:-1], slope[1:]
    # At the end of a line the curve is a parabola; between two ends it is straight.
    low, high = (
        np.where(np.isfinite(one), one, np.where(np.isfinite(other), 2 * secant - other, secant))
        for one, other in ((low, high), (high, low))
    )
    straight = -np.einsum("...rk,...k->...r", (u[1:] + u[:-1]) / 2, step)
    bend = np.einsum("...rk,...k->...r", (high - low) * length / 12, step)
    # The change of ⟨u⟩·Δb along a line, and by its own steepness along those next to it.
    change = np.abs(np.einsum("...rk,...k->...", secant, step) / u.shape[-2])
    squares = length[..., 0, 0]
    steep, change = change / squares, change * squares
    beside = np.full((len(steep) + 2, *steep.shape[1:]), np.inf)
    beside[1:-1] = np.where(np.isfinite(steep), steep, np.inf)
    gentler = np.minimum(beside[:-2], beside[2:])
    jump = (change > MATTERS) & (steep > STEEPER * gentler)
    rough = np.where(jump, change / 4, ROUGH * np.abs(bend.mean(axis=-1)))
    return np.where(jump[..., None], straight, straight + bend), rough, jump


def _reconciled(
    begin: Integers, end: Integers, difference: Floats, weight: Floats, number: int
) -> Floats:
    """The values whose differences along all lines come closest, (number, replicas)."""
    lines = np.arange(len(begin))
    ones = np.ones(len(begin))
    matrix = coo_array(
        (np.concatenate([ones, -ones]), (np.tile(lines, 2), np.concatenate([end, begin]))),
        shape=(len(begin), number),
    ).tocsc()
    normal = (matrix.T @ diags_array(weight) @ matrix).tolil()
    # Values are determined up to a constant.
    normal[0, 0] += 1.0
    right = matrix.T @ (weight[:, None] * difference)
    values: Floats = splu(csc_array(normal)).solve(np.asarray(right))
    return values
