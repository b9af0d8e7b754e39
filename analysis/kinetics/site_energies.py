"""``site_energies``: energies of site types from how many atoms sit on them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.kinetics.units import boltzmann_constant, numbers, temperatures
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]


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
