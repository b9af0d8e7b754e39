"""The temperature at which order ends, from the evidence there is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.crossings import binder_crossing
from latticescape.analysis.phases.curves import curve_of, jackknife_error
from latticescape.analysis.phases.ordering import Waves, waves_of
from latticescape.analysis.phases.ridges import ridge
from latticescape.analysis.phases.sizes import lattice_of

Floats = npt.NDArray[np.float64]

CROSSING, RATIO, RIDGE = "Binder crossing", "correlation ratio", "susceptibility ridge"
NO_ORDER, ABOVE = "no order found", "order up to the highest temperature"

# The critical ξ/L of another universality class, or of a small lattice, is within this factor.
FACTOR = float(np.sqrt(2))


@dataclass(frozen=True)
class Boundary:
    """Where order ends along one line of temperatures.

    Attributes
    ----------
    temperature, error
        And its Monte Carlo standard error; NaN if there is none in the range.
    finite_size
        How far off the infinite lattice it may be; NaN if nothing is known of that.
    method
        What it was found by, or why it was not.
    """

    temperature: float
    error: float
    finite_size: float
    method: str


def nowhere(why: str) -> Boundary:
    """No boundary."""
    return Boundary(float("nan"), float("nan"), float("nan"), why)


def by_crossing(sweeps: dict[int, xr.Dataset]) -> Boundary:
    """By Binder crossings of several sizes."""
    found = binder_crossing(sweeps)
    return Boundary(
        float(found["critical_temperature"]),
        float(found["critical_temperature_monte_carlo_se"]),
        float(found["critical_temperature_finite_size_se"]),
        CROSSING,
    )


def by_ridge(line: xr.Dataset) -> Boundary:
    """By the maximum of the susceptibility of one size, which lies off by some L^(−1/ν)."""
    T, error, *_ = ridge(curve_of(line, lattice_of(line)), "susceptibility_abs")
    return Boundary(T, error, float("nan"), RIDGE if np.isfinite(T) else NO_ORDER)


def by_ratio(line: xr.Dataset) -> Boundary:
    """By where the correlation length of the pattern seen in the cold falls below its critical
    share of the lattice."""
    lattice = lattice_of(line)
    table = line.sortby("T")
    if "done" in table:
        table = table.isel(T=table["done"].values.astype(bool))
    points = [waves_of(words, lattice) for words in table["spins"].transpose("T", "site").values]
    return _fall(table["T"].values.astype(float), points)


def _fall(T: Floats, points: Sequence[Waves]) -> Boundary:
    stars = [point.peaks(1) for point in points]
    ratios = [
        point.ratios(star[0])[0] if star else 0.0 for point, star in zip(points, stars, strict=True)
    ]
    ordered = [ratio > point.long for ratio, point in zip(ratios, points, strict=True)]
    if not any(ordered):
        return nowhere(NO_ORDER)
    last = int(np.flatnonzero(ordered)[-1])
    if last == len(T) - 1:
        return nowhere(ABOVE)
    star = stars[last][0]
    both = np.log(np.maximum([points[k].ratios(star) for k in (last, last + 1)], 1e-3))
    places = [
        _between(T[last : last + 2], both, np.log(points[0].long * f))
        for f in (1, FACTOR, 1 / FACTOR)
    ]
    error = float(jackknife_error(places[0][1:]))
    spread = float(abs(places[1][0] - places[2][0]) / 2)
    return Boundary(float(places[0][0]), error, spread, RATIO)


def _between(T: Floats, values: Floats, level: float) -> Floats:
    """Where a line through two values passes a level."""
    found: Floats = T[0] + (T[1] - T[0]) * (values[0] - level) / (values[0] - values[1])
    return found
