"""How fast a sweep runs here: a short calibration, so that a plan can tell hours."""

import time

import numpy as np

from latticescape.sweeps.spec.seeding import point_seeds
from latticescape.sweeps.spec.sweep import Sweep


def calibrate(sweep: Sweep, *, points: int = 3, seconds: float = 0.3) -> float:
    """Attempted updates per second of one core, from a few short points spread over the grid.

    Parameters
    ----------
    sweep
        The sweep; nothing of it is stored.
    points
        How many points to try, from the first to the last.
    seconds
        About how long to measure; compilation is not counted.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2))
    >>> calibrate(sweep, seconds=0.01) > 0
    True
    """
    chosen = _spread(sweep, points)
    mcs, updates, spent = 1, 0, 0.0
    sweep.kernel.warm_up(sweep.axes)
    _timed(sweep, chosen[:1], mcs)  # a function may compile more when it is first called
    while spent < seconds and mcs < 10**6:
        updates, spent = _timed(sweep, chosen, mcs)
        mcs = 2 * mcs if spent == 0 else int(mcs * min(16.0, max(1.5, seconds / spent)))
    return updates / spent


def _spread(sweep: Sweep, number: int) -> list[dict[str, float]]:
    numbers = np.unique(np.linspace(0, sweep.points - 1, number).round().astype(int))
    corners = np.stack(np.unravel_index(numbers, sweep.shape), axis=-1)
    regions = [tuple(slice(i, i + 1) for i in corner) for corner in corners]
    return [sweep.coordinates(region)[0] for region in regions]


def _timed(sweep: Sweep, points: list[dict[str, float]], mcs: int) -> tuple[int, float]:
    kernel = sweep.kernel.shortened(mcs)
    if kernel is sweep.kernel:  # its points take what they take: more of them, then
        points = points * mcs
    axes = {name: np.array([point[name] for point in points]) for name in sweep.axes}
    seeds = point_seeds(sweep.seed, map(kernel.parameters, points))
    begin = time.perf_counter()
    kernel.compute(axes, seeds)
    return kernel.updates(len(points)), time.perf_counter() - begin
