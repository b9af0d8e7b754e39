"""Units of energy and temperature, and what says which one a number is in."""

from typing import Any

import numpy as np
import numpy.typing as npt

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
