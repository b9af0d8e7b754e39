"""From finite sizes to the infinite lattice: value(L) = value + a L^(−κ)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Universality:
    """What is assumed of the approach to the infinite lattice, and of nothing else.

    Attributes
    ----------
    nu
        Exponent of the correlation length.
    omega
        Exponent of the leading correction to scaling.

    Notes
    -----
    Ising, d = 2: ν = 1 (Onsager); corrections of the Binder cumulant fall as L^(−7/4), the regular
    part of the susceptibility against its singular one (the irrelevant operator's ω is 2).
    d = 3: ν = 0.629971, ω = 0.82966 (Simmons-Duffin, JHEP 03 (2017) 086).
    """

    nu: float
    omega: float


ISING = {2: Universality(1.0, 1.75), 3: Universality(0.629971, 0.82966)}

# Subleading corrections make the effective exponent of a finite range of sizes another one.
EXPONENT_SPREAD = 0.25


@dataclass(frozen=True)
class Limit:
    """A value of the infinite lattice.

    Attributes
    ----------
    value
        Of the fit, or of the largest sizes where there is nothing to extrapolate from.
    monte_carlo
        Its standard error by the simulations' noise.
    finite_size
        Its uncertainty by the correction's exponent, which is taken a quarter smaller and larger;
        NaN if there was no extrapolation.
    p_value
        Of the fit's χ²; NaN without a degree of freedom.
    """

    value: float
    monte_carlo: float
    finite_size: float
    p_value: float

    @property
    def error(self) -> float:
        """Both uncertainties together."""
        return float(np.hypot(self.monte_carlo, np.nan_to_num(self.finite_size)))


def limit(values: Floats, covariance: Floats, sizes: Floats, exponent: float) -> Limit:
    """The value at L = ∞ of values at several sizes.

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
    >>> found = limit(2 + sizes**-2.0, 1e-8 * np.eye(3), sizes, 2.0)
    >>> round(found.value, 6), found.monte_carlo < 2e-4, round(found.p_value, 3)
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
