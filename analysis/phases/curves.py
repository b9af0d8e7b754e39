"""Observables against temperature for several lattice sizes, and their extrapolation to L = ∞.

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

from latticescape.analysis.checks import check_has, listed
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.observables import estimates
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import SiteClasses, classes_of_attributes
from latticescape.physics.registry import lattice_of as lattice_of_table

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
        table = tomllib.loads(str(ds.attrs["spec"])).get("lattice", {})
        if "size" in table:
            return lattice_of_table(table)
    if size is None or "lattice" not in ds.attrs:
        problem = "the Dataset has no lattice, or no lattice size, in its attributes"
        allowed, hint = "a sweep of a lattice model", 'open_sweep("runs/ising.zarr")'
        raise RequestError(problem, came=listed(ds.attrs), allowed=allowed, hint=hint)
    kind = str(ds.attrs["lattice"])
    own = None
    if kind not in GEOMETRIES:
        classes = classes_of_attributes(kind, ds.attrs.get("classes"))
        own = classes.geometry if isinstance(classes, SiteClasses) else None
    return Lattice(kind, int(size), crystal=own)


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
        list(sweeps)
        if isinstance(sweeps, Mapping)
        else [lattice_of(ds).linear_size for ds in datasets]
    )
    kinds = {(str(ds.attrs.get("lattice")), str(ds.attrs.get("model"))) for ds in datasets}
    if len(set(sizes)) < max(least, len(sizes)):
        problem, came = "the sweeps must have different lattice sizes", f"L = {listed(sizes)}"
        hint = "sweeps that differ in lattice.size alone, such as 16, 32 and 64"
        raise RequestError(
            problem, came=came, allowed=f"at least {least} different sizes", hint=hint
        )
    if len(kinds) > 1:
        came = listed(sorted(f"{model} on {lattice}" for lattice, model in kinds))
        raise RequestError(
            "the sweeps have more than one lattice or model",
            came=came,
            allowed="one model on one kind of lattice, in several sizes",
        )
    ordered = sorted(zip(sizes, datasets, strict=True), key=lambda pair: pair[0])
    return dict(ordered)


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
        return self.lattice.linear_size

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
    with np.errstate(over="ignore"):  # of what does not fluctuate the error is infinite
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
        numbers = all(n in ds.coords and ds[n].dtype.kind in "fiu" for n in others)
        places = ", ".join(f"{n}={ds[n].values[0]:g}" if numbers else f"{n}=0" for n in others)
        if "T" not in ds.dims and "T" in ds.coords and ds["T"].dims:
            problem = "the temperatures of the sweep are no axis, but vary with other parameters"
            hint = "T = [1.5, 2.0, 2.5] in [grid], and points without T"
        elif "T" not in ds.dims:
            problem = "the sweep has no temperature axis"
            hint = "T = { start = 1.5, stop = 3.5, num = 41 } in [grid]"
        else:
            problem, hint = (
                "the sweep has other axes than T",
                f"ds.{'sel' if numbers else 'isel'}({places})",
            )
        raise RequestError(problem, came=f"axes {listed(axes_of(ds))}", hint=hint)
    hint = "a sweep of spins or of an alloy; adatoms and slabs store none"
    check_has(ds.data_vars, ["moments"], "the Dataset has no moments of its replicas", hint)
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


@dataclass(frozen=True)
class Universality:
    """Exponents assumed for the approach to the infinite lattice; they are used nowhere else.

    Attributes
    ----------
    nu
        Exponent of the correlation length.
    omega
        Exponent of the leading correction to scaling.

    Notes
    -----
    Ising, d = 2: ν = 1 (Onsager); corrections to the Binder cumulant decay as L^(−7/4), from the
    regular part of the susceptibility relative to its singular part (the irrelevant operator has
    ω = 2).
    d = 3: ν = 0.629971, ω = 0.82966 (Simmons-Duffin, JHEP 03 (2017) 086).
    """

    nu: float
    omega: float


ISING = {2: Universality(1.0, 1.75), 3: Universality(0.629971, 0.82966)}


def usual_exponents(lattice: Lattice) -> Universality:
    """The exponents of the Ising model in the dimension of a lattice.

    Raises
    ------
    RequestError
        If it has one dimension, in which no model with short interactions orders.
    """
    dimension = lattice.geometry.dimension
    if dimension not in ISING:
        raise RequestError(
            "a chain with short-range interactions has no order above T = 0",
            came=f"a lattice in {dimension} dimension",
            allowed="a lattice in two or three dimensions",
            hint='kind = "square" in [lattice]',
        )
    return ISING[dimension]


# Subleading corrections change the effective exponent over a finite range of sizes: the exponent is
# varied by this fraction.
EXPONENT_SPREAD = 0.25


@dataclass(frozen=True)
class Limit:
    """A value extrapolated to the infinite lattice.

    Attributes
    ----------
    value
        From the fit, or from the largest sizes if there is only one value.
    monte_carlo
        Its Monte Carlo standard error.
    finite_size
        Its change when the correction exponent is a quarter smaller or larger; NaN without an
        extrapolation.
    p_value
        Of the fit's chi-square; NaN without a degree of freedom.
    """

    value: float
    monte_carlo: float
    finite_size: float
    p_value: float

    @property
    def error(self) -> float:
        """Both uncertainties combined."""
        return float(np.hypot(self.monte_carlo, np.nan_to_num(self.finite_size)))

    def variables(self, name: str, units: str) -> dict[str, xr.DataArray]:
        """Return the value, its standard error and the parts of that as named variables."""
        parts = {
            name: (self.value, units),
            f"{name}_se": (self.error, units),
            f"{name}_monte_carlo_se": (self.monte_carlo, units),
            f"{name}_finite_size_se": (self.finite_size, units),
            f"{name}_p_value": (self.p_value, "1"),
        }
        return {part: xr.DataArray(value, attrs={"units": u}) for part, (value, u) in parts.items()}


def extrapolate(values: Floats, covariance: Floats, sizes: Floats, exponent: float) -> Limit:
    """Extrapolate values at several sizes to L = ∞.

    Parameters
    ----------
    values, covariance
        (n,) and (n, n), in the order of the sizes.
    sizes
        (n,), ascending.
    exponent
        κ.

    Examples
    --------
    >>> sizes = np.array([8.0, 16.0, 32.0])
    >>> limit = extrapolate(2 + sizes**-2.0, 1e-8 * np.eye(3), sizes, 2.0)
    >>> round(limit.value, 6), limit.monte_carlo < 2e-4, round(limit.p_value, 3)
    (2.0, True, 1.0)
    """
    if len(values) < 2:
        return Limit(float(values[-1]), float(np.sqrt(covariance[-1, -1])), np.nan, np.nan)
    value, error, p_value = _fit(values, covariance, sizes, exponent)
    ends = [
        _fit(values, covariance, sizes, exponent * (1 + sign * EXPONENT_SPREAD))[0]
        for sign in (-1, 1)
    ]
    return Limit(value, error, abs(ends[1] - ends[0]) / 2, p_value)


def _fit(
    values: Floats, covariance: Floats, sizes: Floats, exponent: float
) -> tuple[float, float, float]:
    design = np.column_stack([np.ones(len(sizes)), (sizes / sizes.max()) ** -exponent])
    precision = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
    inverse = np.linalg.pinv(design.T @ precision @ design, hermitian=True)
    solution = inverse @ design.T @ precision @ values
    rest = values - design @ solution
    freedom = len(values) - 2
    p_value = float(chi2(freedom).sf(rest @ precision @ rest)) if freedom else np.nan
    return float(solution[0]), float(np.sqrt(inverse[0, 0])), p_value
