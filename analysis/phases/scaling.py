"""Finite-size scaling: exponents from how curves of several sizes pass their crossings."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.curves import Values, jackknifed
from latticescape.analysis.phases.extrapolation import limit
from latticescape.analysis.phases.pairs import BINDER, Family, Pair, family_of
from latticescape.analysis.phases.results import limit_variables, over_pairs
from latticescape.analysis.phases.sizes import Sizes
from latticescape.physics.lattices.lattice import GEOMETRIES

Floats = npt.NDArray[np.float64]

EXPONENTS = ("inverse_nu", "beta_over_nu", "gamma_over_nu")


def finite_size_scaling(
    sweeps: Sizes, *, nu: float | None = None, omega: float | None = None
) -> xr.Dataset:
    """Critical exponents from several sizes, without a fit to a curve's form.

    At the crossing of the Binder curves of L and bL (phenomenological renormalization),

    - 1/ν = ln(U′_bL / U′_L) / ln b, U′ the slopes dU/dT,
    - β/ν = −ln(⟨|m|⟩_bL / ⟨|m|⟩_L) / ln b,
    - γ/ν = d + ln(⟨m²⟩_bL / ⟨m²⟩_L) / ln b, of χ = N⟨m²⟩/T,

    and what is left of the drift with size is extrapolated as value + a L^(−ω). The place of the
    crossing is found anew for every replica left out, so its error is in theirs.

    Parameters
    ----------
    sweeps, nu, omega
        As for :func:`binder_crossing`; ``nu`` sets the width of the range that is used, not the
        exponent that is found.

    Returns
    -------
    Dataset
        ``inverse_nu``, ``beta_over_nu`` and ``gamma_over_nu`` of every ``pair`` with ``…_se``; the
        extrapolated ``…_limit`` with ``…_limit_se`` (its parts as in :func:`binder_crossing`), and
        ``nu`` with ``nu_se``.

    Raises
    ------
    RequestError
        As :func:`binder_crossing`.

    References
    ----------
    Nightingale, Physica A 83, 561 (1976), 10.1016/0378-4371(75)90021-7; Ferrenberg and Landau,
    Phys. Rev. B 44, 5081 (1991), 10.1103/PhysRevB.44.5081.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.simulation import simulate
    >>> T = {"T": np.linspace(2.1, 2.5, 6)}
    >>> sweeps = [simulate(square(L), Ising(), T, Schedule(400, 200, 5), seed=1) for L in (4, 8)]
    >>> abs(float(finite_size_scaling(sweeps).gamma_over_nu_limit) - 1.75) < 0.1
    True
    """
    family = family_of(sweeps, nu, omega)
    result, covariance = jackknifed(family.curves, lambda values: _exponents(family, values))
    errors = np.sqrt(np.diag(covariance))
    number = len(family.pairs)
    found: dict[str, xr.DataArray] = {}
    for place, name in enumerate(EXPONENTS):
        part = slice(place * number, (place + 1) * number)
        end = limit(result[part], covariance[part, part], family.smaller, family.universal.omega)
        found |= over_pairs(name, result[part], errors[part], "1")
        found |= limit_variables(f"{name}_limit", end, "1")
        if name == "inverse_nu":
            found["nu"] = xr.DataArray(1 / end.value, attrs={"units": "1"})
            found["nu_se"] = xr.DataArray(end.error / end.value**2, attrs={"units": "1"})
    return xr.Dataset(found, coords=family.coordinates, attrs=family.attrs)


def _exponents(family: Family, values: Mapping[int, Values]) -> Floats:
    """1/ν of every pair, then β/ν, then γ/ν."""
    return np.array([_of_pair(pair, values) for pair in family.pairs]).T.ravel()


def _of_pair(pair: Pair, values: Mapping[int, Values]) -> tuple[float, float, float]:
    T, ratio = pair.crossing(values), np.log(pair.large.size / pair.small.size)
    slopes = [curve.deriv()(T) for curve in pair.polynomials(values, BINDER)]
    order = [curve(T) for curve in pair.polynomials(values, "magnetization_abs")]
    squared = [curve(T) for curve in pair.polynomials(values, "order_squared")]
    dimension = GEOMETRIES[pair.small.lattice.kind].dimension
    return (
        float(np.log(slopes[1] / slopes[0]) / ratio),
        float((order[0] - order[1]) / ratio),
        float(dimension + (squared[1] - squared[0]) / ratio),
    )
