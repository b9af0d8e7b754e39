"""Extrapolation to the infinite lattice: value(L) = value + a L^(−κ)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

Floats = npt.NDArray[np.float64]


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
