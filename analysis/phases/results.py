"""Results with their errors as labelled variables."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.extrapolation import Limit

Floats = npt.NDArray[np.float64]


def over_pairs(name: str, values: Floats, errors: Floats, units: str) -> dict[str, xr.DataArray]:
    """A variable over pairs of sizes, and its standard error."""
    return {
        name: xr.DataArray(values, dims="pair", attrs={"units": units}),
        f"{name}_se": xr.DataArray(errors, dims="pair", attrs={"units": units}),
    }


def limit_variables(name: str, found: Limit, units: str) -> dict[str, xr.DataArray]:
    """A value of the infinite lattice, its standard error, and the parts of that."""
    parts = {
        name: (found.value, units),
        f"{name}_se": (found.error, units),
        f"{name}_monte_carlo_se": (found.monte_carlo, units),
        f"{name}_finite_size_se": (found.finite_size, units),
        f"{name}_p_value": (found.p_value, "1"),
    }
    return {part: xr.DataArray(value, attrs={"units": u}) for part, (value, u) in parts.items()}
