"""Ridges: the temperatures at which susceptibility and heat capacity are largest."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.polynomial import Polynomial

from latticescape.analysis.phases.curves import Curve, axes_of, curve_of, jackknife_error, smooth
from latticescape.analysis.phases.extrapolation import ISING, limit
from latticescape.analysis.phases.results import limit_variables
from latticescape.analysis.phases.sizes import Sizes, by_size, lattice_of
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import GEOMETRIES, Lattice

Floats = npt.NDArray[np.float64]

RIDGES = ("susceptibility_abs", "heat_capacity")

# A polynomial is laid through the points above this share of the maximum, and not fewer than these.
SHOULDER = 0.75
ENOUGH = 5
HIGHEST_DEGREE = 4

# A maximum is one if the curve is lower at both ends of the range by so many standard errors.
CERTAIN = 3.0

NOWHERE = (float("nan"),) * 4


def ridge(curve: Curve, name: str) -> tuple[float, float, float, float]:
    """Temperature of an observable's maximum, its error, the height there, and its error.

    A polynomial goes through the points around the highest one (:func:`curves.smooth`);
    errors are jackknife over replicas. NaN if no maximum stands out inside the range.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.simulation import simulate
    >>> T = {"T": np.linspace(1.8, 3.2, 9)}
    >>> ds = simulate(square(8), Ising(), T, Schedule(200, 200, 5), seed=1)
    >>> T, error, *_ = ridge(curve_of(ds, square(8)), "heat_capacity")
    >>> abs(T - 2.35) < 0.1 and 0 < error < 0.1
    True
    """
    if len(curve.temperatures) < ENOUGH:
        return NOWHERE
    values, errors = curve.mean[name], curve.error(name)
    if not _stands_out(values, errors):
        return NOWHERE
    part = _around(values)
    T = curve.temperatures[part]
    fit = smooth(T, values[part], errors[part], HIGHEST_DEGREE)
    place, height = _top(fit.through(values[part]), T)
    parts = np.array([_top(fit.through(row), T) for row in curve.left_out[name][:, part]])
    error = jackknife_error(parts)
    return place, float(error[0]), height, float(error[1])


def _stands_out(values: Floats, errors: Floats) -> bool:
    top = int(np.argmax(values))
    if top in (0, len(values) - 1):
        return False
    return all(
        values[top] - values[end] > CERTAIN * np.hypot(errors[top], errors[end]) for end in (0, -1)
    )


def _around(values: Floats) -> slice:
    top = int(np.argmax(values))
    low = high = top
    bottom = min(values[0], values[-1])
    level = bottom + SHOULDER * (values[top] - bottom)
    while low > 0 and (
        values[low - 1] > level or (high - low + 1 < ENOUGH and top - low <= high - top)
    ):
        low -= 1
    while high < len(values) - 1 and (values[high + 1] > level or high - low + 1 < ENOUGH):
        high += 1
    return slice(max(0, min(low, high + 1 - ENOUGH)), high + 1)


def _top(curve: Polynomial, T: Floats) -> tuple[float, float]:
    """Place and height of the polynomial's maximum between the first and the last point."""
    turns = curve.deriv().roots()
    inside = turns.real[(np.abs(turns.imag) < 1e-9) & (turns.real > T[0]) & (turns.real < T[-1])]
    places = np.concatenate([inside, T[[0, -1]]])
    best = float(places[np.argmax(curve(places))])
    return best, float(curve(best))


def ridges(ds: xr.Dataset) -> xr.Dataset:
    """Where susceptibility and heat capacity are largest along T, for every other axis' values.

    Parameters
    ----------
    ds
        A sweep's Dataset with an axis T and any others.

    Returns
    -------
    Dataset
        Over the other axes, for ``susceptibility_abs`` and ``heat_capacity``: ``…_ridge`` (the
        temperature), ``…_height``, each with ``…_se``; NaN where no maximum stands out. Where the
        composition is conserved there is no susceptibility of the magnetization.

    Raises
    ------
    RequestError
        If there is no temperature axis.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.simulation import simulate
    >>> axes = {"T": np.linspace(1.8, 3.2, 9), "H": [0.0, 0.2]}
    >>> found = ridges(simulate(square(8), Ising(), axes, Schedule(200, 200, 5), seed=1))
    >>> bool(found.susceptibility_abs_ridge.diff("H") > 0)  # a field moves the ridge upwards
    True
    """
    lattice = lattice_of(ds)
    names = RIDGES[1:] if "composition" in ds else RIDGES
    return xr.merge([_along(ds, lattice, name) for name in names])


def _along(ds: xr.Dataset, lattice: Lattice, name: str) -> xr.Dataset:
    others, curves = curves_of(ds, lattice)
    found = np.array([ridge(curve, name) for curve in curves])
    shape = tuple(others.values())
    units = (
        ds["T"].attrs.get("units", "1"),
        ds[name].attrs.get("units", "1") if name in ds else "1",
    )
    told = (f"{name}_ridge", f"{name}_ridge_se", f"{name}_height", f"{name}_height_se")
    variables = {
        title: (tuple(others), found[:, k].reshape(shape), {"units": units[k // 2]})
        for k, title in enumerate(told)
    }
    return xr.Dataset(variables, coords={axis: ds[axis] for axis in others})


def curves_of(ds: xr.Dataset, lattice: Lattice) -> tuple[dict[str, int], Sequence[Curve]]:
    """Lengths of the axes other than T, and the curve along T at each of their points."""
    others = {name: ds.sizes[name] for name in axes_of(ds) if name != "T"}
    places = np.ndindex(tuple(others.values()))
    return others, [
        curve_of(ds.isel(dict(zip(others, place, strict=True)), drop=True), lattice)
        for place in places
    ]


def ridge_scaling(
    sweeps: Sizes, variable: str = "susceptibility_abs", *, nu: float | None = None
) -> xr.Dataset:
    """How a ridge moves and grows with the size: T(L) = Tc + a L^(−1/ν), height ~ L^ρ.

    ρ is γ/ν for the susceptibility and α/ν for the heat capacity (0 with a logarithm for the
    Ising model in two dimensions). Slower than crossings to reach Tc, but free of the Binder
    cumulant, so that one checks the other.

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
        If there is one size, or some size has no maximum inside its range.

    References
    ----------
    Ferrenberg and Landau, Phys. Rev. B 44, 5081 (1991), 10.1103/PhysRevB.44.5081.
    """
    datasets = by_size(sweeps)
    kind = lattice_of(next(iter(datasets.values()))).kind
    found = []
    for size, ds in datasets.items():
        found.append(ridge(curve_of(ds, Lattice(kind, size)), variable))
        if not np.isfinite(found[-1][0]):
            raise _no_ridge(ds, size, variable)
    T, T_se, height, height_se = np.array(found).T
    sizes, usual = np.array(list(datasets), float), ISING[GEOMETRIES[kind].dimension].nu
    critical = limit(T, np.diag(T_se**2), sizes, 1 / (usual if nu is None else nu))
    slope, slope_se = _slope(np.log(sizes), np.log(height), height_se / height)
    units = {"units": next(iter(datasets.values()))["T"].attrs.get("units", "1")}
    return xr.Dataset(
        {
            "ridge": ("size", T, units),
            "ridge_se": ("size", T_se, units),
            "height": ("size", height),
            "height_se": ("size", height_se),
            **limit_variables("critical_temperature", critical, str(units["units"])),
            "exponent": xr.DataArray(slope),
            "exponent_se": xr.DataArray(slope_se),
        },
        coords={"size": list(datasets)},
    )


def _slope(x: Floats, y: Floats, errors: Floats) -> tuple[float, float]:
    weight = 1 / errors**2
    middle = (weight * x).sum() / weight.sum()
    spread = (weight * (x - middle) ** 2).sum()
    return float((weight * (x - middle) * y).sum() / spread), float(spread**-0.5)


def _no_ridge(ds: xr.Dataset, size: int, variable: str) -> RequestError:
    T = ds["T"].values
    return RequestError(
        f"{variable} has no maximum inside the range for L = {size}",
        came=f"T from {T.min():g} to {T.max():g}",
        allowed="a range with the maximum well inside",
        hint=f"T = {{ start = {T.min() / 2:.4g}, stop = {2 * T.max():.4g}, num = 21 }}",
    )
