"""Curves along the temperature, replica by replica, and polynomials through them.

A standard error here is a jackknife over the 64 replicas of each size. A replica is left out at
every temperature at once, so the error stays right where parallel tempering let the replicas of
neighbouring temperatures exchange their configurations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.polynomial import Polynomial
from scipy.stats import chi2

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.observables import estimates

Floats = npt.NDArray[np.float64]

# A polynomial that deviates from the points more than chance does in one case of ten is refused
# for one of the next degree.
GOOD_FIT = 0.1


@dataclass(frozen=True)
class Curve:
    """Moments of one size along the temperature.

    Attributes
    ----------
    lattice
        Its size is L.
    temperatures
        Ascending, (n,).
    moments
        Mean moments per site of every replica, (n, replicas, moments).
    """

    lattice: Lattice
    temperatures: Floats
    moments: Floats

    @property
    def size(self) -> int:
        return self.lattice.size

    @property
    def replicas(self) -> int:
        return int(self.moments.shape[1])

    def estimate(self, moments: Floats) -> dict[str, Floats]:
        """Observables by name, from mean moments (…, n, moments)."""
        T: Any = self.temperatures
        found = estimates(moments, self.lattice.sites, T)
        return {**found, "order_squared": moments[..., 2]}

    @cached_property
    def mean(self) -> dict[str, Floats]:
        """Observables from all replicas, (n,) each."""
        return self.estimate(self.moments.mean(axis=1))

    @cached_property
    def left_out(self) -> dict[str, Floats]:
        """Observables without each one of the replicas, (replicas, n) each."""
        total = self.moments.sum(axis=1, keepdims=True)
        partial = (total - self.moments) / (self.replicas - 1)
        return self.estimate(np.moveaxis(partial, 1, 0))

    def error(self, name: str) -> Floats:
        """Jackknife standard error of an observable at every temperature, (n,)."""
        return jackknife_error(self.left_out[name])


def jackknife_error(parts: Floats) -> Floats:
    """Standard error of an estimate from its values without each replica, the first axis."""
    number = len(parts)
    found: Floats = np.sqrt((number - 1) * np.var(parts, axis=0))
    return found


def curve_of(ds: xr.Dataset, lattice: Lattice) -> Curve:
    """The curve of a Dataset over the temperature alone; points not done are left out.

    Raises
    ------
    RequestError
        If there is no axis T, there are other axes, or replicas' moments are missing.
    """
    _check_axes(ds)
    table = ds.sortby("T")
    moments = table["moments"].transpose("T", "replica", "moment").values.astype(float)
    done = np.isfinite(moments).all(axis=(1, 2))
    if "done" in table:
        done &= table["done"].values.astype(bool)
    return Curve(lattice, table["T"].values[done].astype(float), moments[done])


def _check_axes(ds: xr.Dataset) -> None:
    if "T" not in ds.dims:
        raise RequestError(
            "the sweep has no temperature axis",
            came=f"axes {', '.join(axes_of(ds)) or 'none'}",
            allowed="an axis T of several temperatures",
            hint="T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
        )
    if "moments" not in ds:
        raise RequestError(
            "the Dataset holds no moments of its replicas",
            came=", ".join(map(str, ds.data_vars)),
            allowed="a sweep of spins or of an alloy; adatoms and slabs have none",
        )
    others = [name for name in axes_of(ds) if name != "T"]
    if others:
        places = ", ".join(f"{name}={ds[name].values[0]:g}" for name in others)
        raise RequestError(
            "a curve runs along the temperature alone",
            came=f"axes {', '.join(axes_of(ds))}",
            allowed="the axis T",
            hint=f"ds.sel({places})",
        )


def axes_of(ds: xr.Dataset) -> tuple[str, ...]:
    """The swept axes of a Dataset, in order."""
    table = next((ds[name] for name in ("energy", "moments", "s2_total") if name in ds), None)
    if table is None:
        return tuple(str(name) for name in ds.dims)
    return tuple(str(name) for name in table.dims if name not in ("replica", "moment"))


@dataclass(frozen=True)
class Smooth:
    """A polynomial of a fixed degree through points with known errors, linear in their values.

    Attributes
    ----------
    centre, scale
        x = (T − centre)/scale runs over about [−1, 1].
    operator
        Coefficients of x⁰, x¹, … = operator @ values, (degree + 1, n).
    """

    centre: float
    scale: float
    operator: Floats

    def through(self, values: Floats) -> Polynomial:
        """The polynomial in T of these values."""
        half = self.scale
        return Polynomial(self.operator @ values, domain=[self.centre - half, self.centre + half])


def smooth(temperatures: Floats, values: Floats, errors: Floats, most: int) -> Smooth:
    """A polynomial through values: of one degree more than goes through them within their errors.

    One that just passes the test of χ² may be off by as much as its own error (seen: 3 standard
    errors of an exponent); the next degree's is not. Where there are enough points, one is left
    over to test by; the degree is at most ``most``.
    """
    low, high = temperatures.min(), temperatures.max()
    centre, scale = (low + high) / 2, max((high - low) / 2, 1e-300)
    x = (temperatures - centre) / scale
    weight = 1 / np.maximum(errors, 1e-3 * np.abs(errors).max() + 1e-300)
    number = len(temperatures)
    least = min(2, number - 1)
    highest = max(min(most, number - 2), least)
    fits = [_least_squares(x, weight, degree) for degree in range(least, highest + 1)]
    good = (k for k, fit in enumerate(fits) if _passes(fit, x, values, weight))
    sufficient = next(good, len(fits) - 1)
    return Smooth(centre, scale, fits[min(sufficient + 1, len(fits) - 1)])


def _least_squares(x: Floats, weight: Floats, degree: int) -> Floats:
    """From values to coefficients, (degree + 1, n)."""
    design = np.vander(x, degree + 1, increasing=True)
    found: Floats = np.linalg.pinv(design * weight[:, None]) * weight
    return found


def _passes(fit: Floats, x: Floats, values: Floats, weight: Floats) -> bool:
    design = np.vander(x, len(fit), increasing=True)
    rest = (values - design @ (fit @ values)) * weight
    freedom = len(x) - len(fit)
    return freedom < 1 or bool(chi2(freedom).sf(rest @ rest) > GOOD_FIT)


Values = Mapping[str, Floats]


def jackknifed(
    curves: Sequence[Curve], evaluate: Callable[[Mapping[int, Values]], Floats]
) -> tuple[Floats, Floats]:
    """A result of the curves of several sizes, and its covariance.

    Parameters
    ----------
    curves
        One a size; sizes are independent simulations.
    evaluate
        From observables by size and name, (n,) each, to a vector of results.

    Returns
    -------
    result, covariance
        (results,) and (results, results): the sizes' jackknife covariances, added.
    """
    means = {curve.size: curve.mean for curve in curves}
    result = evaluate(means)
    covariance = np.zeros((len(result), len(result)))
    for curve in curves:
        rows = []
        for replica in range(curve.replicas):
            left_out = {name: values[replica] for name, values in curve.left_out.items()}
            rows.append(evaluate({**means, curve.size: left_out}))
        off = np.stack(rows) - np.mean(rows, axis=0)
        covariance += (curve.replicas - 1) / curve.replicas * (off.T @ off)
    return result, covariance
