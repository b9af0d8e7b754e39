"""Whether a landscape has one minimum, or several that are about as low."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter

from latticescape.analysis.inference.estimation.deviance import Deviance
from latticescape.analysis.inference.landscapes.interpolation import Interpolation

Floats = npt.NDArray[np.float64]

# A minimum whose −2 ln L is by more than this above the least holds less than 0.3 % as much.
MODE = 12.0

# The way between two minima must rise by so much, and by so many Monte Carlo errors.
BARRIER = 2.0
ERRORS = 4.0


def modes(told: Deviance, between: Interpolation) -> Floats:
    """Minima of −2 ln L that are about as low as the lowest, which is the first.

    Parameters
    ----------
    told, between
        −2 ln L over the grid, and its interpolation.

    Returns
    -------
    ndarray
        (modes, parameters).

    Examples
    --------
    >>> from latticescape.analysis.inference.landscapes.interpolation import interpolation
    >>> w = np.linspace(-1.0, 1.0, 41)
    >>> value = 200 * (w**2 - 0.25) ** 2 + w
    >>> zero = 0 * value
    >>> told = Deviance({"w1": w}, {}, value, zero, value[None], np.ones(1), "independent", None)
    >>> modes(told, interpolation(told.axes, told.values, told.errors)).round(1).tolist()
    [[-0.5], [0.5]]
    """
    table = np.where(np.isfinite(told.values), told.values, np.inf)
    local = (table == minimum_filter(table, size=3, mode="nearest")) & np.isfinite(table)
    noise = float(np.nanmedian(told.errors.ravel()[between.chosen]))
    places = np.nonzero(local & (table <= table.min() + MODE + 2 * noise))
    begin = np.column_stack([a[i] for a, i in zip(told.axes.values(), places, strict=True)])
    low, high = between.scaled(np.array([[a[0], a[-1]] for a in between.axes]).T)
    found = between.process.minima(between.scaled(begin), low, high) * between.half
    found = np.vstack([between.minimum(), found + between.centre])
    heights = between.value(found)
    needed = max(BARRIER, ERRORS * noise)
    kept = [0]
    for k in np.argsort(heights):
        low_enough = heights[k] <= heights[0] + MODE
        if low_enough and all(_barrier(between, found[k], found[j]) > needed for j in kept):
            kept.append(int(k))
    return found[kept]


def _barrier(between: Interpolation, one: Floats, other: Floats) -> float:
    """How high the straight way between two minima rises above the higher one."""
    way = between.value(np.linspace(one, other, 41))
    return float(way.max() - max(way[0], way[-1]))
