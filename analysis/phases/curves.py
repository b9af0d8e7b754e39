"""Observables against temperature for one or several lattice sizes, and polynomials through them.

Standard errors are jackknife errors over the 64 replicas of each size. A replica is left out at all
temperatures at once, so the errors stay valid when parallel tempering exchanges configurations
between neighbouring temperatures.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.polynomial import Polynomial
from scipy.stats import chi2

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.observables import estimates
from latticescape.physics.lattices.lattice import Lattice

Floats = npt.NDArray[np.float64]

Sizes = Mapping[int, xr.Dataset] | Iterable[xr.Dataset]
Values = Mapping[str, Floats]

# The smallest p-value of chi-square at which a polynomial is accepted; below it the degree grows.
GOOD_FIT = 0.1


def lattice_of(ds: xr.Dataset) -> Lattice:
    """Return the lattice of a sweep's Dataset, read from its attributes.

    Examples
    --------
    >>> lattice_of(xr.Dataset(attrs={"lattice": "square", "lattice_size": 8}))
    Lattice(kind='square', size=8)
    """
    size = ds.attrs.get("lattice_size")
    if size is None and "spec" in ds.attrs:
        size = tomllib.loads(str(ds.attrs["spec"])).get("lattice", {}).get("size")
    if size is None or "lattice" not in ds.attrs:
        raise RequestError(
            "the Dataset has no lattice, or no lattice size, in its attributes",
            came=", ".join(map(str, ds.attrs)) or "no attributes",
            allowed='"lattice", and "spec" or "lattice_size": a sweep of a lattice model',
            hint='open_sweep("runs/ising.zarr")',
        )
    return Lattice(str(ds.attrs["lattice"]), int(size))


def by_size(sweeps: Sizes, least: int = 2) -> dict[int, xr.Dataset]:
    """Return the Datasets by size L, ascending, after checking that they differ in size only.

    Raises
    ------
    RequestError
        If there are fewer than ``least`` sizes, two Datasets of one size, or several kinds of
        lattice or model.
    """
    datasets = list(sweeps.values() if isinstance(sweeps, Mapping) else sweeps)
    sizes = (
        list(sweeps) if isinstance(sweeps, Mapping) else [lattice_of(ds).size for ds in datasets]
    )
    kinds = {(str(ds.attrs.get("lattice")), str(ds.attrs.get("model"))) for ds in datasets}
    if len(set(sizes)) < max(least, len(sizes)):
        raise RequestError(
            "the sweeps must have different lattice sizes",
            came=f"L = {', '.join(map(str, sizes))}" if sizes else "no Dataset",
            allowed=f"at least {least} different sizes",
            hint="sweeps that differ in lattice.size alone, such as 16, 32 and 64",
        )
    if len(kinds) > 1:
        raise RequestError(
            "the sweeps have more than one lattice or model",
            came=", ".join(sorted(f"{model} on {lattice}" for lattice, model in kinds)),
            allowed="one model on one kind of lattice, in several sizes",
        )
    ordered = sorted(zip(sizes, datasets, strict=True), key=lambda pair: pair[0])
    return {int(size): ds for size, ds in ordered}


@dataclass(frozen=True)
class Curve:
    """Moments against temperature for one lattice size.

    Attributes
    ----------
    lattice
        The lattice, of size L.
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
        """Return observables by name from mean moments, (…, n, moments)."""
        T: Any = self.temperatures
        observables = estimates(moments, self.lattice.sites, T)
        return {**observables, "order_squared": moments[..., 2]}

    @cached_property
    def mean(self) -> dict[str, Floats]:
        """Observables of all replicas, (n,) each."""
        return self.estimate(self.moments.mean(axis=1))

    @cached_property
    def leave_one_out(self) -> dict[str, Floats]:
        """Observables with one replica left out, for each replica, (replicas, n) each."""
        total = self.moments.sum(axis=1, keepdims=True)
        partial = (total - self.moments) / (self.replicas - 1)
        return self.estimate(np.moveaxis(partial, 1, 0))

    def error(self, name: str) -> Floats:
        """Return the jackknife standard error of an observable at every temperature, (n,)."""
        return jackknife_error(self.leave_one_out[name])


def jackknife_error(parts: Floats) -> Floats:
    """Return the standard error from leave-one-out estimates along the first axis."""
    error: Floats = np.sqrt((len(parts) - 1) * np.var(parts, axis=0))
    return error


def curve_of(ds: xr.Dataset, lattice: Lattice) -> Curve:
    """Return the curve of a Dataset whose only axis is T; points that are not done are left out.

    Raises
    ------
    RequestError
        If there is no axis T, there are other axes, or the replicas' moments are missing.
    """
    others = [name for name in axes_of(ds) if name != "T"]
    if "T" not in ds.dims or others:
        places = ", ".join(f"{name}={ds[name].values[0]:g}" for name in others)
        raise RequestError(
            "the sweep has no temperature axis"
            if "T" not in ds.dims
            else "the sweep has other axes than T",
            came=f"axes {', '.join(axes_of(ds)) or 'none'}",
            allowed="the axis T alone, with several temperatures",
            hint=f"ds.sel({places})"
            if "T" in ds.dims
            else "T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
        )
    if "moments" not in ds:
        raise RequestError(
            "the Dataset has no moments of its replicas",
            came=", ".join(map(str, ds.data_vars)),
            allowed="a sweep of spins or of an alloy; adatoms and slabs store none",
        )
    table = ds.sortby("T")
    moments = table["moments"].transpose("T", "replica", "moment").values.astype(float)
    done = np.isfinite(moments).all(axis=(1, 2))
    if "done" in table:
        done &= table["done"].values.astype(bool)
    return Curve(lattice, table["T"].values[done].astype(float), moments[done])


def axes_of(ds: xr.Dataset) -> tuple[str, ...]:
    """Return the swept axes of a Dataset, in order."""
    table = next((ds[name] for name in ("energy", "moments", "s2_total") if name in ds), None)
    if table is None:
        return tuple(str(name) for name in ds.dims)
    return tuple(str(name) for name in table.dims if name not in ("replica", "moment"))


@dataclass(frozen=True)
class PolynomialFit:
    """A weighted least-squares polynomial of fixed degree, linear in the values it is fitted to.

    Attributes
    ----------
    centre, scale
        x = (T − centre)/scale covers about [−1, 1].
    operator
        (degree + 1, n): the coefficients of x⁰, x¹, … are operator @ values.
    """

    centre: float
    scale: float
    operator: Floats

    def through(self, values: Floats) -> Polynomial:
        """Return the polynomial in T through these values."""
        half = self.scale
        return Polynomial(self.operator @ values, domain=[self.centre - half, self.centre + half])


def fit_polynomial(
    temperatures: Floats, values: Floats, errors: Floats, highest: int
) -> PolynomialFit:
    """Fit a polynomial one degree above the lowest that passes the chi-square test.

    A polynomial that only just passes may be off by as much as its own error (3 standard errors of
    an exponent were seen); one of the next degree is not. If there are enough points, at least one
    degree of freedom is left for the test. The degree is at most ``highest``.
    """
    low, high = temperatures.min(), temperatures.max()
    centre, scale = (low + high) / 2, max((high - low) / 2, 1e-300)
    x = (temperatures - centre) / scale
    weight = 1 / np.maximum(errors, 1e-3 * np.abs(errors).max() + 1e-300)
    number = len(temperatures)
    lowest = min(2, number - 1)
    operators: list[Floats] = []
    sufficient = None
    for degree in range(lowest, max(min(highest, number - 2), lowest) + 1):
        design = np.vander(x, degree + 1, increasing=True)
        operators.append(np.linalg.pinv(design * weight[:, None]) * weight)
        if sufficient is not None:
            break
        rest = (values - design @ (operators[-1] @ values)) * weight
        freedom = number - degree - 1
        if freedom < 1 or bool(chi2(freedom).sf(rest @ rest) > GOOD_FIT):
            sufficient = degree
    return PolynomialFit(centre, scale, operators[-1])


def jackknifed(
    curves: Sequence[Curve], evaluate: Callable[[Mapping[int, Values]], Floats]
) -> tuple[Floats, Floats]:
    """Evaluate a function of the curves of several sizes, with its jackknife covariance.

    Parameters
    ----------
    curves
        One per size; the sizes are independent simulations.
    evaluate
        Takes observables by size and name, (n,) each, and returns a vector of results.

    Returns
    -------
    result, covariance
        (results,) and (results, results): the sum of the sizes' jackknife covariances.
    """
    means = {curve.size: curve.mean for curve in curves}
    result = evaluate(means)
    covariance = np.zeros((len(result), len(result)))
    for curve in curves:
        rows = []
        for replica in range(curve.replicas):
            others = {name: values[replica] for name, values in curve.leave_one_out.items()}
            rows.append(evaluate({**means, curve.size: others}))
        off = np.stack(rows) - np.mean(rows, axis=0)
        covariance += (curve.replicas - 1) / curve.replicas * (off.T @ off)
    return result, covariance
