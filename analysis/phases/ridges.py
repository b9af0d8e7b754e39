"""Ridges: the temperatures at which susceptibility and heat capacity have their maximum."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.polynomial import Polynomial

from latticescape.analysis.phases.curves import (
    Curve,
    Sizes,
    axes_of,
    by_size,
    curve_of,
    extrapolate,
    fit_polynomial,
    jackknife_error,
    lattice_of,
    usual_exponents,
)
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

RIDGES = ("susceptibility_abs", "heat_capacity")

# A polynomial is fitted to the points above this share of the maximum, but to at least ENOUGH.
SHOULDER = 0.75
ENOUGH = 5
HIGHEST_DEGREE = 4

# A maximum is significant if it exceeds both ends of the range by this many standard errors.
CERTAIN = 3.0

NOWHERE = (float("nan"),) * 4


def ridge(curve: Curve, name: str) -> tuple[float, float, float, float]:
    """Return the temperature of an observable's maximum, its error, the height, and its error.

    A polynomial is fitted to the points around the highest one (:func:`curves.fit_polynomial`);
    errors are jackknife over replicas. NaN without a significant maximum inside the range.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.runs import simulate
    >>> T = {"T": np.linspace(1.8, 3.2, 9)}
    >>> ds = simulate(square(8), Ising(), T, Schedule(200, 200, 5), seed=1)
    >>> T, error, *_ = ridge(curve_of(ds, square(8)), "heat_capacity")
    >>> abs(T - 2.35) < 0.1 and 0 < error < 0.1
    True
    """
    if len(curve.temperatures) < ENOUGH:
        return NOWHERE
    values, errors = curve.mean[name], curve.error(name)
    top, last = int(np.argmax(values)), len(values) - 1
    if top in (0, last) or not all(
        values[top] - values[end] > CERTAIN * np.hypot(errors[top], errors[end]) for end in (0, -1)
    ):
        return NOWHERE
    # The points around the maximum that the polynomial is fitted to.
    low = high = top
    bottom = min(values[0], values[-1])
    level = bottom + SHOULDER * (values[top] - bottom)
    while low > 0 and (
        values[low - 1] > level or (high - low + 1 < ENOUGH and top - low <= high - top)
    ):
        low -= 1
    while high < last and (values[high + 1] > level or high - low + 1 < ENOUGH):
        high += 1
    part = slice(max(0, min(low, high + 1 - ENOUGH)), high + 1)
    T = curve.temperatures[part]
    fit = fit_polynomial(T, values[part], errors[part], HIGHEST_DEGREE)
    place, height = _top(fit.through(values[part]), T)
    parts = np.array([_top(fit.through(row), T) for row in curve.leave_one_out[name][:, part]])
    error = jackknife_error(parts)
    return place, float(error[0]), height, float(error[1])


def _top(curve: Polynomial, T: Floats) -> tuple[float, float]:
    """Return place and height of the polynomial's maximum between the first and last point."""
    turns = curve.deriv().roots()
    inside = turns.real[(np.abs(turns.imag) < 1e-9) & (turns.real > T[0]) & (turns.real < T[-1])]
    places = np.concatenate([inside, T[[0, -1]]])
    best = float(places[np.argmax(curve(places))])
    return best, float(curve(best))


def ridges(ds: xr.Dataset) -> xr.Dataset:
    """Find where susceptibility and heat capacity are largest along T, at each other axis value.

    Parameters
    ----------
    ds
        A sweep's Dataset with an axis T and any others.

    Returns
    -------
    Dataset
        Over the other axes, for ``susceptibility_abs`` and ``heat_capacity``: ``…_ridge`` (the
        temperature) and ``…_height``, each with ``…_se``; NaN without a significant maximum. At
        fixed composition there is no susceptibility of the magnetization.

    Raises
    ------
    RequestError
        If there is no temperature axis.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.runs import simulate
    >>> axes = {"T": np.linspace(1.8, 3.2, 9), "H": [0.0, 0.2]}
    >>> ridge = ridges(simulate(square(8), Ising(), axes, Schedule(200, 200, 5), seed=1))
    >>> bool(ridge.susceptibility_abs_ridge.diff("H") > 0)  # a field raises the ridge's temperature
    True
    """
    lattice = lattice_of(ds)
    others = {axis: ds.sizes[axis] for axis in axes_of(ds) if axis != "T"}
    shape = tuple(others.values())
    curves = [
        curve_of(ds.isel(dict(zip(others, place, strict=True)), drop=True), lattice)
        for place in np.ndindex(shape)
    ]
    variables = {}
    for name in RIDGES[1:] if "composition" in ds else RIDGES:
        values = np.array([ridge(curve, name) for curve in curves])
        units = (
            ds["T"].attrs.get("units", "1"),
            ds[name].attrs.get("units", "1") if name in ds else "1",
        )
        for k, suffix in enumerate(("ridge", "ridge_se", "height", "height_se")):
            column = values[:, k].reshape(shape)
            variables[f"{name}_{suffix}"] = (tuple(others), column, {"units": units[k // 2]})
    return xr.Dataset(variables, coords={axis: ds[axis] for axis in others})


def ridge_scaling(
    sweeps: Sizes, variable: str = "susceptibility_abs", *, nu: float | None = None
) -> xr.Dataset:
    """Fit how a ridge moves and grows with the size: T(L) = Tc + a L^(−1/ν), height ~ L^ρ.

    ρ is γ/ν for the susceptibility and α/ν for the heat capacity (0 with a logarithm for the
    Ising model in two dimensions). Ridges approach Tc more slowly than crossings, but do not use
    the Binder cumulant, so the two methods check each other.

    Parameters
    ----------
    sweeps
        As for :func:`binder_crossing`.
    variable
        ``susceptibility_abs`` or ``heat_capacity``.
    nu
        Exponent of the shift; by default that of the Ising model in the lattice's dimension.

    Returns
    -------
    Dataset
        ``ridge`` and ``height`` by ``size``, with ``…_se``; ``critical_temperature`` and the growth
        ``exponent`` of the heights, each with ``…_se``.

    Raises
    ------
    RequestError
        If there is only one size, or a size has no maximum inside its range.

    References
    ----------
    Ferrenberg and Landau, Phys. Rev. B 44, 5081 (1991), 10.1103/PhysRevB.44.5081.
    """
    datasets = by_size(sweeps)
    first = next(iter(datasets.values()))
    lattice, rows = lattice_of(first), []
    for size, ds in datasets.items():
        rows.append(ridge(curve_of(ds, replace(lattice, size=size)), variable))
        if not np.isfinite(rows[-1][0]):
            low, high = float(ds["T"].min()), float(ds["T"].max())
            problem = f"{variable} has no maximum inside the range for L = {size}"
            hint = f"T = {{ start = {low / 2:.4g}, stop = {2 * high:.4g}, num = 21 }}"
            raise RequestError(problem, came=f"T from {low:g} to {high:g}", hint=hint)
    T, T_se, height, height_se = np.array(rows).T
    sizes, usual = np.array(list(datasets), float), usual_exponents(lattice).nu
    critical = extrapolate(T, np.diag(T_se**2), sizes, 1 / (usual if nu is None else nu))
    # A weighted straight line through ln height against ln L.
    x, y = np.log(sizes), np.log(height)
    weight = 1 / (height_se / height) ** 2
    middle = (weight * x).sum() / weight.sum()
    spread = (weight * (x - middle) ** 2).sum()
    units = {"units": first["T"].attrs.get("units", "1")}
    return xr.Dataset(
        {
            "ridge": ("size", T, units),
            "ridge_se": ("size", T_se, units),
            "height": ("size", height),
            "height_se": ("size", height_se),
            **critical.variables("critical_temperature", str(units["units"])),
            "exponent": xr.DataArray(float((weight * (x - middle) * y).sum() / spread)),
            "exponent_se": xr.DataArray(float(spread**-0.5)),
        },
        coords={"size": list(datasets)},
    )
