"""``arrhenius``: barrier and attempt frequency from rates over temperature."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.kinetics.units import boltzmann_constant, numbers, temperatures
from latticescape.physics.errors import RequestError

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
