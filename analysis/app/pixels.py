"""``Pixels``: a surface of any size as an image no finer than a screen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Window = tuple[float, float]

MOST = 512


@dataclass(frozen=True)
class Pixels:
    """An image, rows upwards, and the box (left, bottom, width, height) that it fills."""

    image: npt.NDArray[np.float32]
    box: tuple[float, float, float, float]


def edges_of(centres: Floats) -> Floats:
    """Where cells around ascending points end: midway.

    Examples
    --------
    >>> edges_of(np.array([1.0, 2.0, 4.0])).tolist()
    [0.5, 1.5, 3.0, 5.0]
    """
    if len(centres) == 1:
        return np.array([-0.5, 0.5]) + float(centres[0])
    middle = (centres[1:] + centres[:-1]) / 2
    ends = [2 * centres[0] - middle[0]], [2 * centres[-1] - middle[-1]]
    edges: Floats = np.concatenate([ends[0], middle, ends[1]])
    return edges


def pixels(
    values: Floats,
    x: Floats,
    y: Floats,
    windows: tuple[Window | None, Window | None] = (None, None),
    most: int = MOST,
) -> Pixels:
    """The part of a surface that is looked at.

    Where there are more cells than pixels, a pixel is the mean of the computed ones among its
    cells; where cells are of different size, it is the cell its centre lies in.

    Parameters
    ----------
    values
        (y, x), NaN where nothing is known.
    x, y
        Ascending.
    windows
        The ranges looked at, of x and y; None for all.
    most
        Pixels along an axis at most.

    Examples
    --------
    >>> drawn = pixels(np.arange(8.0).reshape(2, 4), np.arange(4.0), np.arange(2.0), most=2)
    >>> drawn.image.tolist(), drawn.box
    ([[0.5, 2.5], [4.5, 6.5]], (-0.5, -0.5, 4.0, 2.0))
    """
    columns, left, width = _along(x, windows[0], most)
    rows, bottom, height = _along(y, windows[1], most)
    image = _taken(_taken(values, rows, 0), columns, 1)
    return Pixels(np.ascontiguousarray(image, np.float32), (left, bottom, width, height))


Taken = npt.NDArray[np.intp] | tuple[int, int, int]


def _along(centres: Floats, window: Window | None, most: int) -> tuple[Taken, float, float]:
    """What to take of an axis: the cell of every pixel, or (first, end, cells a pixel)."""
    edges = edges_of(centres)
    low, high = (edges[0], edges[-1]) if window is None else window
    first = min(max(int(np.searchsorted(edges, low, "right")) - 1, 0), len(centres) - 1)
    end = max(min(int(np.searchsorted(edges, high, "left")), len(centres)), first + 1)
    start, stop = float(edges[first]), float(edges[end])
    steps = np.diff(edges[first : end + 1])
    if np.ptp(steps) <= 1e-6 * steps.mean():
        step = -(-(end - first) // most)
        whole = -(-(end - first) // step) * step * float(steps.mean())
        return (first, end, step), start, whole
    middles = np.linspace(start, stop, 2 * most + 1)[1::2]
    return np.searchsorted(edges, middles, "right") - 1, start, stop - start


def _taken(values: Floats, taken: Taken, axis: int) -> Floats:
    if not isinstance(taken, tuple):
        return values.take(np.clip(taken, 0, values.shape[axis] - 1), axis)
    first, end, step = taken
    cut = values[first:end] if axis == 0 else values[:, first:end]
    return cut if step == 1 else _means(cut.swapaxes(0, axis), step).swapaxes(0, axis)


def _means(values: Floats, step: int) -> Floats:
    """Means of so many rows each, of those that are known; NaN where none is."""
    shape = (-(-len(values) // step), *values.shape[1:])
    total, number = np.zeros(shape), np.zeros(shape)
    for offset in range(step):
        rows = values[offset::step]
        known = np.isfinite(rows)
        total[: len(rows)] += np.where(known, rows, 0.0)
        number[: len(rows)] += known
    means: Floats = np.full(shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means
