"""Boltzmann's law: barriers from rates over temperature, site energies from populations."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.physics.errors import RequestError

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
    if units not in BOLTZMANN:
        raise RequestError(
            "unknown unit of energy",
            came=repr(units),
            allowed=" | ".join(BOLTZMANN),
            hint='units="eV"',
        )
    return BOLTZMANN[units]


def numbers(given: Any, what: str, units: str = "") -> npt.NDArray[np.float64]:
    """Finite numbers; a DataArray's own unit must be the one that is meant.

    Raises
    ------
    RequestError
        If a value is no finite number, or the units do not match.
    """
    own = getattr(given, "attrs", {}).get("units", units)
    if units and own != units:
        raise RequestError(
            f"the units of {what} do not match",
            came=own,
            allowed=units,
            hint=f'convert the values, then .assign_attrs(units="{units}")',
        )
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.size == 0 or not np.all(np.isfinite(values)):
        raise RequestError(
            f"{what} holds what is no finite number", came=given, allowed="finite numbers"
        )
    return values


def temperatures(given: Any) -> npt.NDArray[np.float64]:
    """Temperatures in K, all above 0."""
    values = numbers(given, "T", "K")
    if np.any(values <= 0):
        raise RequestError(
            "a temperature is not above 0",
            came=values[values <= 0][0],
            allowed="T > 0, in K",
            hint="T + 273.15 if it is in °C",
        )
    return values


Floats = npt.NDArray[np.float64]

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

    Counted hops are Poisson, and fitted as such: temperatures without a single hop count too. Where
    hops were estimated from films that miss some (``rate_se`` beside them), as many hops are
    taken as would have that relative error.
    Rates with errors are fitted by weighted least squares of ln k, each with weight (k/σ)².

    Parameters
    ----------
    rates
        Either a Dataset over ``T`` with ``hops`` and ``exposure`` (s), and maybe ``rate_se``, as
        from :func:`hop_rates` of several films joined along ``T``; or rates, 1/s, (temperatures,).
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
        deviance for counts), ``degrees``, ``p_value`` (NaN for two temperatures: nothing is
        tested); ``rate`` (T) of the fit and ``pull`` (T), each point's deviation in standard
        errors. Errors are not widened where the line does not fit: look at ``p_value``.

    Raises
    ------
    RequestError
        If there is one temperature, rates are not above zero and finite, units do not match, or
        rates fall with temperature (the barrier would be negative).

    Examples
    --------
    >>> T = np.array([300.0, 350.0, 400.0])
    >>> rates = 1e12 * np.exp(-0.5 / (8.617333262e-5 * T))
    >>> found = arrhenius(rates, 0.1 * rates, T=T)
    >>> round(float(found.barrier), 6), round(float(found.prefactor) / 1e12, 6)
    (0.5, 1.0)
    """
    kelvin = _kelvin(rates, T)
    scale = boltzmann_constant(units)
    design = np.stack([-1.0 / (scale * kelvin), np.ones(len(kelvin))], axis=1)
    if isinstance(rates, xr.Dataset):
        values, covariance, deviations = _of_counts(rates, design)
    else:
        values, covariance, deviations = _of_rates(rates, errors, design)
    if values[0] < 0:
        raise RequestError(
            "rates fall with temperature: the barrier would be negative",
            came=f"{values[0]:.4g} {units}",
            allowed="rates that rise with T",
            hint="check that T is in K, and in the order of the rates",
        )
    degrees = len(kelvin) - 2
    value = float(np.sum(deviations**2))
    spread = np.sqrt(np.diag(covariance))
    of_two = ("parameter", "other_parameter")
    return xr.Dataset(
        {
            "barrier": ((), values[0], {"long_name": "barrier", "units": units}),
            "barrier_se": ((), spread[0], {"units": units}),
            "prefactor": ((), np.exp(values[1]), {"long_name": "prefactor", "units": "1/s"}),
            "prefactor_se": ((), np.exp(values[1]) * spread[1], {"units": "1/s"}),
            "log_prefactor": ((), values[1], {"long_name": "ln(prefactor · s)", "units": "1"}),
            "log_prefactor_se": ((), spread[1], {"units": "1"}),
            "covariance": (of_two, covariance),
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


def _kelvin(rates: Any, T: Any) -> Floats:
    given = rates["T"] if T is None and "T" in getattr(rates, "coords", {}) else T
    if given is None:
        raise RequestError(
            "rates come without temperatures", allowed="T=, or a coordinate T", hint="T=[300, 350]"
        )
    kelvin = np.atleast_1d(temperatures(given))
    if len(np.unique(kelvin)) < 2:
        raise RequestError(
            "one temperature tells no barrier",
            came=f"T = {kelvin[0]:g} K",
            allowed="two or more different temperatures",
        )
    return kelvin


def _of_rates(rates: Any, errors: Any, design: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted least squares of ln k: parameters, covariance, deviations in standard errors."""
    values = numbers(rates, "rates", "1/s")
    if errors is None:
        raise RequestError(
            "rates come without errors",
            allowed="errors=, or a Dataset of hops and exposure",
            hint="arrhenius(ds.hop_rate, ds.hop_rate_se)",
        )
    spread = numbers(errors, "errors", "1/s")
    if values.shape != (len(design),) or spread.shape != values.shape:
        raise RequestError(
            "rates, errors and temperatures are not as many",
            came=f"{values.shape}, {spread.shape}, {len(design)}",
            allowed="one rate and one error a temperature",
        )
    if np.any(values <= 0) or np.any(spread <= 0):
        raise RequestError(
            "a rate or an error is not above zero",
            came=min(values.min(), spread.min()),
            allowed="above 0",
            hint="a Dataset of hops and exposure may hold a temperature without hops",
        )
    weights = (values / spread)[:, None]
    matrix, logs = design * weights, np.log(values) * weights[:, 0]
    covariance = np.asarray(np.linalg.inv(matrix.T @ matrix), np.float64)
    found = covariance @ (matrix.T @ logs)
    return found, covariance, logs - matrix @ found


def _of_counts(counts: xr.Dataset, design: Floats) -> tuple[Floats, Floats, Floats]:
    """Poisson likelihood of the counts, by Newton's method: it has one maximum."""
    hops, exposure = (
        np.atleast_1d(numbers(counts[name], name).squeeze()) for name in ("hops", "exposure")
    )
    if np.any(hops < 0) or np.any(exposure <= 0) or np.count_nonzero(hops) < 2:
        raise RequestError(
            "a barrier needs hops at two temperatures or more",
            came=f"hops = {hops.tolist()}, exposure = {exposure.tolist()} s",
            allowed="counts >= 0, exposures > 0",
            hint="longer films",
        )
    if "rate_se" in counts:
        worth = _worth(
            hops, exposure, np.atleast_1d(numbers(counts["rate_se"], "rate_se").squeeze())
        )
        hops, exposure = hops * worth, exposure * worth
    seen = hops > 0
    start = np.where(seen, hops, 0.5)
    values = np.linalg.lstsq(
        design * np.sqrt(start)[:, None], np.log(start / exposure) * np.sqrt(start), rcond=None
    )[0]
    for _ in range(MOST_STEPS):
        expected = exposure * np.exp(design @ values)
        information = design.T @ (design * expected[:, None])
        step = np.linalg.solve(information, design.T @ (hops - expected))
        # Far from the maximum a whole step may overshoot by powers of e.
        values += step / max(1.0, float(np.max(np.abs(design @ step))))
        if np.max(np.abs(design @ step)) < 1e-10:
            break
    expected = exposure * np.exp(design @ values)
    logs = np.where(seen, hops * np.log(np.where(seen, hops, 1.0) / expected), 0.0)
    deviance = 2 * (logs - hops + expected)
    signed = np.sign(hops - expected) * np.sqrt(np.maximum(deviance, 0.0))
    covariance: Floats = np.linalg.inv(design.T @ (design * expected[:, None]))
    return values, covariance, signed


def _worth(hops: Floats, exposure: Floats, errors: Floats) -> Floats:
    """What an estimated hop is worth beside one that was seen: one, or less."""
    known = (hops > 0) & (errors > 0)
    estimated = np.where(known, errors * exposure, 1.0) ** 2
    return np.where(known, np.minimum(1.0, hops / estimated), 1.0)


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
    multinomial, so the error is k_B T √(1/n_i + 1/n_ref). It holds for atoms that do not interact;
    frames of one film in which atoms have not moved are one observation, not many.

    Parameters
    ----------
    counts
        Atoms seen on each type, (types,): array, mapping from name to count, or DataArray. With
        ``errors`` populations of any scale.
    T
        Temperature, K.
    degeneracy
        Sites of each type, g_i; by default 1 each.
    errors
        Standard errors of populations that are no counts, taken as independent.
    expected
        Energies to be tested, one a type, in ``units``; a common shift does not matter.
    reference
        The type whose energy is 0, by its number.
    units
        Of energy: ``eV``, ``meV``, ``kJ/mol``, ``kcal/mol``, ``J`` or ``K``.

    Returns
    -------
    Dataset
        Over ``site_type``: ``energy`` and ``energy_se`` relative to the reference, whose own error
        is 0, ``population``; ``covariance`` (site_type, other_site_type). With ``expected`` also
        ``chi2``, ``degrees`` and ``p_value``: Pearson's test of the counts, or, of populations
        with errors, the quadratic form of the energies' deviations.

    Raises
    ------
    RequestError
        If a population is zero, negative or no finite number, units do not match, or arrays have
        another length.

    Examples
    --------
    >>> found = site_energies({"hollow": 900, "bridge": 100}, T=300.0, expected=[0.0, 0.055])
    >>> found.energy.values.round(4).tolist(), found.energy_se.values.round(4).tolist()
    ([0.0, 0.0568], [0.0, 0.0027])
    >>> round(float(found.p_value), 2)
    0.51
    """
    names, observed = _observed(counts)
    scale = boltzmann_constant(units) * float(temperatures(T))
    weights = _weights(degeneracy, len(observed))
    relative = _relative_errors(observed, errors)
    if reference not in range(len(observed)):
        raise RequestError(
            "reference is no site type", came=reference, allowed=f"0 to {len(observed) - 1}"
        )
    logs = np.log(observed / weights)
    away = np.eye(len(observed))
    away[:, reference] -= 1.0
    covariance = scale**2 * away @ np.diag(relative**2) @ away.T
    found = xr.Dataset(
        {
            "energy": (
                "site_type",
                -scale * (logs - logs[reference]) + 0.0,
                _told("energy", units),
            ),
            "energy_se": (
                "site_type",
                np.sqrt(np.diag(covariance)),
                _told("standard error of energy", units),
            ),
            "covariance": (("site_type", "other_site_type"), covariance, {"units": f"{units}^2"}),
            "population": ("site_type", observed / observed.sum(), {"units": "1"}),
        },
        coords={"site_type": names, "other_site_type": names},
        attrs={"T": float(T), "reference": str(names[reference])},
    )
    if expected is None:
        return found
    energies = numbers(expected, "expected", units)
    _check_length("expected", energies, len(observed))
    if errors is None:
        value = _pearson(observed, weights * np.exp(-(energies - energies.min()) / scale))
    else:
        value = _quadratic(found, energies - energies[reference], reference)
    degrees = len(observed) - 1
    return found.assign(chi2=value, degrees=degrees, p_value=float(chi2.sf(value, degrees)))


def _observed(counts: Any) -> tuple[npt.NDArray[Any], Floats]:
    if isinstance(counts, dict):
        names, values = np.array([str(name) for name in counts]), list(counts.values())
    else:
        names, values = np.arange(np.size(counts)), counts
    if isinstance(counts, xr.DataArray) and counts.dims and counts.dims[0] in counts.coords:
        names = counts[counts.dims[0]].to_numpy()
    observed = numbers(values, "counts")
    if observed.ndim != 1 or len(observed) < 2 or np.any(observed <= 0):
        raise RequestError(
            "an energy needs a population above zero on each of two types or more",
            came=observed.tolist(),
            allowed="numbers > 0, one a type",
            hint="leave out a type nobody was seen on: its energy has a lower bound only",
        )
    return names, observed


def _weights(degeneracy: Any, types: int) -> Floats:
    weights = np.ones(types) if degeneracy is None else numbers(degeneracy, "degeneracy")
    _check_length("degeneracy", weights, types)
    if np.any(weights <= 0):
        raise RequestError("degeneracy counts sites", came=weights.tolist(), allowed="above 0")
    return weights


def _relative_errors(observed: Floats, errors: Any) -> Floats:
    if errors is None:
        if np.any(observed != np.floor(observed)):
            raise RequestError(
                "populations that are no counts need their errors",
                came=observed.tolist(),
                allowed="whole numbers, or errors=",
                hint="site_energies(ds.population, T, errors=ds.population_se)",
            )
        return 1.0 / np.sqrt(observed)
    given = numbers(errors, "errors")
    _check_length("errors", given, len(observed))
    if np.any(given <= 0):
        raise RequestError("an error is not above 0", came=given.tolist(), allowed="errors > 0")
    return np.asarray(given / observed, np.float64)


def _pearson(observed: Floats, weights: Floats) -> float:
    expected = observed.sum() * weights / weights.sum()
    return float(np.sum((observed - expected) ** 2 / expected))


def _quadratic(found: xr.Dataset, energies: Floats, reference: int) -> float:
    free = np.arange(len(energies)) != reference
    away = (found.energy.to_numpy() - energies)[free]
    inverse = np.linalg.inv(found.covariance.to_numpy()[np.ix_(free, free)])
    return float(away @ inverse @ away)


def _check_length(name: str, values: Floats, types: int) -> None:
    if values.shape != (types,):
        raise RequestError(
            f"{name} is not given once a site type", came=values.shape, allowed=f"{types} numbers"
        )


def _told(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}
