"""Boltzmann's law: barriers from rates over temperature, site energies from populations."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.labelled import labelled_variables
from latticescape.physics.errors import RequestError, checked_choice, checked_integer

Floats = npt.NDArray[np.float64]

# k_B in each unit of energy per kelvin (SI 2019).
BOLTZMANN = {
    "eV": 8.617333262e-5,
    "meV": 8.617333262e-2,
    "kJ/mol": 8.31446261815324e-3,
    "kcal/mol": 1.987204258640832e-3,
    "J": 1.380649e-23,
    "K": 1.0,
}


def boltzmann_constant(units: str) -> float:
    """k_B in this unit of energy, per kelvin.

    Examples
    --------
    >>> boltzmann_constant("meV")
    0.08617333262
    """
    checked_choice(units, BOLTZMANN, "unknown unit of energy", hint='units="eV"')
    return BOLTZMANN[units]


def finite_numbers(
    data: Any, what: str, units: str = "", *, above_zero: bool = False, hint: str | None = None
) -> Floats:
    """Finite numbers; the unit of a DataArray must be the expected one.

    Raises
    ------
    RequestError
        If a value is not finite, is not above zero where it must be (with this hint), or the units
        do not match.
    """
    own = getattr(data, "attrs", {}).get("units", units)
    if units and own != units:
        hint = f'convert the values, then .assign_attrs(units="{units}")'
        raise RequestError(f"the units of {what} do not match", came=own, allowed=units, hint=hint)
    try:
        values = np.asarray(data, np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.size == 0 or not np.all(np.isfinite(values)):
        raise RequestError(f"{what} must be finite numbers", came=data, allowed="finite numbers")
    if above_zero and np.any(values <= 0):
        allowed = f"{what} > 0, in {units}" if units else f"{what} > 0"
        raise RequestError(f"{what} must be above 0", came=values.min(), allowed=allowed, hint=hint)
    return values


def temperatures(data: Any) -> Floats:
    """Temperatures in K, all above 0."""
    return finite_numbers(data, "T", "K", above_zero=True, hint="T + 273.15 if it is in °C")


MOST_STEPS = 200
PARAMETERS = ["barrier", "log_prefactor"]


def arrhenius(
    rates: Any,
    errors: Any = None,
    *,
    T: Any = None,
    units: str = "eV",
) -> xr.Dataset:
    """Fit k = ν·exp(−E / k_B T).

    Counts of hops are fitted by their Poisson likelihood, so temperatures without hops contribute.
    If hops were estimated from films that miss some (with ``rate_se``), they are weighted as the
    number of counted hops with that relative error. Rates with errors are fitted by weighted least
    squares of ln k with weights (k/σ)².

    Parameters
    ----------
    rates
        Either a Dataset over ``T`` with ``hops`` and ``exposure`` (s), and optionally ``rate_se``,
        as :func:`hop_rates` returns them for several films joined along ``T``; or rates, 1/s,
        (temperatures,).
    errors
        Standard errors of the rates.
    T
        Temperatures, K; not needed if ``rates`` has the coordinate ``T``.
    units
        Of energy: ``eV``, ``meV``, ``kJ/mol``, ``kcal/mol``, ``J`` or ``K``.

    Returns
    -------
    Dataset
        ``barrier`` and ``barrier_se``; ``prefactor`` (1/s), ``log_prefactor`` and its ``_se``;
        ``covariance`` (parameter, other_parameter) of barrier and log_prefactor; ``chi2`` (the
        deviance for counts), ``degrees``, ``p_value`` (NaN for two temperatures, which test
        nothing); ``rate`` (T) of the fit and ``pull`` (T), each point's deviation in standard
        errors. Errors are not increased if the line does not fit: see ``p_value``.

    Raises
    ------
    RequestError
        If there is only one temperature, rates are not positive and finite, units do not match, or
        rates fall with temperature (the barrier would be negative).

    Examples
    --------
    >>> T = np.array([300.0, 350.0, 400.0])
    >>> rates = 1e12 * np.exp(-0.5 / (8.617333262e-5 * T))
    >>> ds = arrhenius(rates, 0.1 * rates, T=T)
    >>> round(float(ds.barrier), 6), round(float(ds.prefactor) / 1e12, 6)
    (0.5, 1.0)
    """
    if T is None and "T" in getattr(rates, "coords", {}):
        T = rates["T"]
    if T is None:
        raise RequestError("rates have no temperatures", allowed="T=", hint="T=[300, 350]")
    kelvin = np.atleast_1d(temperatures(T))
    if len(np.unique(kelvin)) < 2:
        problem = "a barrier needs two or more different temperatures"
        raise RequestError(problem, came=f"T = {kelvin[0]:g} K", allowed="different temperatures")
    scale = boltzmann_constant(units)
    design = np.stack([-1.0 / (scale * kelvin), np.ones(len(kelvin))], axis=1)
    if isinstance(rates, xr.Dataset):
        values, covariance, deviations = _fit_counts(rates, design)
    else:
        values, covariance, deviations = _fit_rates(rates, errors, design)
    if values[0] < 0:
        came, hint = f"{values[0]:.4g} {units}", "T in K, and in the order of the rates"
        problem = "rates fall with temperature: the barrier would be negative"
        raise RequestError(problem, came=came, allowed="rates that rise with T", hint=hint)
    degrees = len(kelvin) - 2
    value = float(np.sum(deviations**2))
    spread = np.sqrt(np.diag(covariance))
    by_two = ("parameter", "other_parameter")
    return xr.Dataset(
        {
            "barrier": ((), values[0], {"long_name": "barrier", "units": units}),
            "barrier_se": ((), spread[0], {"units": units}),
            "prefactor": ((), np.exp(values[1]), {"long_name": "prefactor", "units": "1/s"}),
            "prefactor_se": ((), np.exp(values[1]) * spread[1], {"units": "1/s"}),
            "log_prefactor": ((), values[1], {"long_name": "ln(prefactor · s)", "units": "1"}),
            "log_prefactor_se": ((), spread[1], {"units": "1"}),
            "covariance": (by_two, covariance),
            "chi2": value,
            "degrees": degrees,
            "p_value": float(chi2.sf(value, degrees)) if degrees else np.nan,
            "rate": ("T", np.exp(design @ values), {"units": "1/s"}),
            "pull": ("T", deviations, {"units": "1"}),
        },
        coords={
            "T": ("T", kelvin, {"units": "K"}),
            "parameter": PARAMETERS,
            "other_parameter": PARAMETERS,
        },
    )


def _fit_rates(rates: Any, errors: Any, design: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted least squares of ln k: parameters, covariance, deviations in standard errors."""
    hint = "a Dataset of hops and exposure, which may include a temperature without hops"
    values = finite_numbers(rates, "rates", "1/s", above_zero=True, hint=hint)
    if errors is None:
        allowed = "errors=, or a Dataset of hops and exposure"
        hint_errors = "arrhenius(ds.hop_rate, ds.hop_rate_se)"
        raise RequestError("rates have no errors", allowed=allowed, hint=hint_errors)
    spread = finite_numbers(errors, "errors", "1/s", above_zero=True, hint=hint)
    if values.shape != (len(design),) or spread.shape != values.shape:
        came = f"{values.shape}, {spread.shape}, {len(design)}"
        problem = "rates, errors and temperatures must have the same length"
        raise RequestError(problem, came=came, allowed="as many of each")
    weights = (values / spread)[:, None]
    matrix, logs = design * weights, np.log(values) * weights[:, 0]
    covariance = np.asarray(np.linalg.inv(matrix.T @ matrix), np.float64)
    fitted = covariance @ (matrix.T @ logs)
    return fitted, covariance, logs - matrix @ fitted


def _fit_counts(counts: xr.Dataset, design: Floats) -> tuple[Floats, Floats, Floats]:
    """Maximize the Poisson likelihood of the counts, which has one maximum, by Newton's method."""
    hops, exposure, *errors = (
        np.atleast_1d(finite_numbers(counts[name], name).squeeze())
        for name in ("hops", "exposure", "rate_se")
        if name in counts or name != "rate_se"
    )
    if np.any(hops < 0) or np.any(exposure <= 0) or np.count_nonzero(hops) < 2:
        came = f"hops = {hops.tolist()}, exposure = {exposure.tolist()} s"
        problem, allowed = "a barrier needs hops at two or more temperatures", "exposures > 0"
        raise RequestError(problem, came=came, allowed=allowed, hint="longer films")
    if errors:
        # An estimated hop weighs as much as a counted one, or less.
        known = (hops > 0) & (errors[0] > 0)
        estimated = np.where(known, errors[0] * exposure, 1.0) ** 2
        weights = np.where(known, np.minimum(1.0, hops / estimated), 1.0)
        hops, exposure = hops * weights, exposure * weights
    seen = hops > 0
    start = np.where(seen, hops, 0.5)
    values = np.linalg.lstsq(
        design * np.sqrt(start)[:, None], np.log(start / exposure) * np.sqrt(start), rcond=None
    )[0]
    for _ in range(MOST_STEPS):
        expected = exposure * np.exp(design @ values)
        information = design.T @ (design * expected[:, None])
        step = np.linalg.solve(information, design.T @ (hops - expected))
        # At a distance from the maximum a full step may overshoot by powers of e.
        values += step / max(1.0, float(np.max(np.abs(design @ step))))
        if np.max(np.abs(design @ step)) < 1e-10:
            break
    expected = exposure * np.exp(design @ values)
    logs = np.where(seen, hops * np.log(np.where(seen, hops, 1.0) / expected), 0.0)
    deviance = 2 * (logs - hops + expected)
    signed = np.sign(hops - expected) * np.sqrt(np.maximum(deviance, 0.0))
    covariance: Floats = np.linalg.inv(design.T @ (design * expected[:, None]))
    return values, covariance, signed


def site_energies(
    counts: Any,
    T: float,
    *,
    degeneracy: Any = None,
    errors: Any = None,
    expected: Any = None,
    reference: int = 0,
    units: str = "eV",
) -> xr.Dataset:
    """Energies of site types by Boltzmann's P_i ∝ g_i exp(−ε_i / k_B T), with errors.

    ε_i − ε_ref = −k_B T [ln(n_i/g_i) − ln(n_ref/g_ref)]. Counts of independent observations are
    multinomial, so the error is k_B T √(1/n_i + 1/n_ref). This holds for atoms that do not
    interact; frames of a film in which no atom moved are one observation, not many.

    Parameters
    ----------
    counts
        Atoms observed on each type, (types,): array, mapping from name to count, or DataArray; with
        ``errors``, populations of any scale.
    T
        Temperature, K.
    degeneracy
        Sites of each type, g_i; by default 1 each.
    errors
        Standard errors of populations that are not counts, assumed independent.
    expected
        Energies to test, one per type, in ``units``; a common shift does not matter.
    reference
        Number of the type whose energy is 0.
    units
        Of energy: ``eV``, ``meV``, ``kJ/mol``, ``kcal/mol``, ``J`` or ``K``.

    Returns
    -------
    Dataset
        Over ``site_type``: ``energy`` and ``energy_se`` relative to the reference, whose own error
        is 0, ``population``; ``covariance`` (site_type, other_site_type). With ``expected`` also
        ``chi2``, ``degrees`` and ``p_value``: Pearson's test of the counts or, for populations with
        errors, the quadratic form of the energies' deviations.

    Raises
    ------
    RequestError
        If a population is not positive and finite, units do not match, or lengths differ.

    Examples
    --------
    >>> ds = site_energies({"hollow": 900, "bridge": 100}, T=300.0, expected=[0.0, 0.055])
    >>> ds.energy.values.round(4).tolist(), ds.energy_se.values.round(4).tolist()
    ([0.0, 0.0568], [0.0, 0.0027])
    >>> round(float(ds.p_value), 2)
    0.51
    """
    names, observed = _observed(counts)
    scale = boltzmann_constant(units) * float(temperatures(T))
    weights = np.ones(len(observed))
    if degeneracy is not None:
        weights = _per_type(degeneracy, "degeneracy", len(observed), above_zero=True)
    if errors is not None:
        relative = _per_type(errors, "errors", len(observed), above_zero=True) / observed
    elif np.any(observed != np.floor(observed)):
        problem = "populations that are not counts need their errors"
        hint = "site_energies(ds.population, T, errors=ds.population_se)"
        raise RequestError(problem, came=observed.tolist(), hint=hint)
    else:
        relative = 1.0 / np.sqrt(observed)
    checked_integer(reference, 0, len(observed) - 1, "reference is not a site type")
    logs = np.log(observed / weights)
    differences = np.eye(len(observed))
    differences[:, reference] -= 1.0
    covariance = scale**2 * differences @ np.diag(relative**2) @ differences.T
    energy = -scale * (logs - logs[reference]) + 0.0
    spread, both = np.sqrt(np.diag(covariance)), ("site_type", "other_site_type")
    labelled = labelled_variables(
        {
            "energy": ("site_type", energy, "energy", units),
            "energy_se": ("site_type", spread, "standard error of energy", units),
            "covariance": (both, covariance, "covariance of the energies", f"{units}^2"),
            "population": ("site_type", observed / observed.sum(), "population", "1"),
        }
    )
    result = xr.Dataset(
        labelled,
        coords={"site_type": names, "other_site_type": names},
        attrs={"T": float(T), "reference": str(names[reference])},
    )
    if expected is None:
        return result
    energies = _per_type(expected, "expected", len(observed), units)
    if errors is None:
        shares = weights * np.exp(-(energies - energies.min()) / scale)
        predicted = observed.sum() * shares / shares.sum()
        value = float(np.sum((observed - predicted) ** 2 / predicted))
    else:
        free = np.arange(len(energies)) != reference
        deviation = (energy - (energies - energies[reference]))[free]
        inverse = np.linalg.inv(covariance[np.ix_(free, free)])
        value = float(deviation @ inverse @ deviation)
    degrees = len(observed) - 1
    return result.assign(chi2=value, degrees=degrees, p_value=float(chi2.sf(value, degrees)))


def _observed(counts: Any) -> tuple[npt.NDArray[Any], Floats]:
    """Names of the site types and their populations."""
    if isinstance(counts, dict):
        names, values = np.array([str(name) for name in counts]), list(counts.values())
    else:
        names, values = np.arange(np.size(counts)), counts
    if isinstance(counts, xr.DataArray) and counts.dims and counts.dims[0] in counts.coords:
        names = counts[counts.dims[0]].to_numpy()
    observed = finite_numbers(values, "counts")
    if observed.ndim != 1 or len(observed) < 2 or np.any(observed <= 0):
        problem = "an energy needs a population above zero on each of two types or more"
        hint = "leave out a type without atoms: its energy has only a lower bound"
        raise RequestError(problem, came=observed.tolist(), hint=hint)
    return names, observed


def _per_type(
    data: Any, name: str, types: int, units: str = "", *, above_zero: bool = False
) -> Floats:
    values = finite_numbers(data, name, units, above_zero=above_zero)
    if values.shape != (types,):
        problem = f"{name} needs one number per site type, {types} in all"
        raise RequestError(problem, came=values.shape, allowed=f"({types},)")
    return values
