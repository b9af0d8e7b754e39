"""Where Binder curves of two sizes cross: the critical temperature."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.curves import Values, jackknifed
from latticescape.analysis.phases.extrapolation import limit
from latticescape.analysis.phases.pairs import BINDER, Family, family_of
from latticescape.analysis.phases.results import limit_variables, over_pairs
from latticescape.analysis.phases.sizes import Sizes

Floats = npt.NDArray[np.float64]


def binder_crossing(
    sweeps: Sizes, *, nu: float | None = None, omega: float | None = None
) -> xr.Dataset:
    """Critical temperature from the crossings of Binder cumulants U = 1 − ⟨m⁴⟩/(3⟨m²⟩²).

    Below Tc U grows with the size, above it falls, so the curves of two sizes cross near Tc
    whatever the exponents are. Polynomials that are just stiff enough are laid through both
    curves around the crossing; what is left of the drift with size is extrapolated to the infinite
    lattice by T(L) = Tc + a L^(−1/ν−ω), U(L) = U* + b L^(−ω), L the smaller size of a pair.

    Parameters
    ----------
    sweeps
        Datasets over the axis T alone that differ in the lattice's size: ``{16: ds, 32: …}``, or a
        list of stores' Datasets. Two sizes give a crossing, three or more an extrapolation.
    nu, omega
        Exponents of the extrapolation; by default those of the Ising model in the lattice's
        dimension. They move the result by its small correction only.

    Returns
    -------
    Dataset
        ``temperature`` and ``binder_cumulant`` of every ``pair`` of neighbouring sizes, with
        ``…_se``; ``critical_temperature`` and ``critical_binder_cumulant`` with ``…_se``, the whole
        standard error, and its parts ``…_monte_carlo_se`` (jackknife over replicas) and
        ``…_finite_size_se`` (how much the extrapolation moves if its exponent is a quarter
        smaller or larger; NaN for two sizes, of which nothing is extrapolated).

    Raises
    ------
    RequestError
        If there is one size only, no temperature axis, or the curves of a pair do not cross in the
        range; the message says where to look.

    References
    ----------
    Binder, Z. Phys. B 43, 119 (1981), 10.1007/BF01293604; Ferrenberg, Xu and Landau, Phys. Rev. E
    97, 043301 (2018), 10.1103/PhysRevE.97.043301.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.simulation import simulate
    >>> T = {"T": np.linspace(2.1, 2.5, 6)}
    >>> sweeps = [simulate(square(L), Ising(), T, Schedule(400, 200, 5), seed=1) for L in (4, 8)]
    >>> found = binder_crossing(sweeps)
    >>> abs(float(found.critical_temperature) - 2.269) < 0.1
    True
    """
    family = family_of(sweeps, nu, omega)
    result, covariance = jackknifed(family.curves, lambda values: _crossings(family, values))
    number, universal = len(family.pairs), family.universal
    T, U = slice(0, number), slice(number, None)
    errors = np.sqrt(np.diag(covariance))
    drift = 1 / universal.nu + universal.omega
    critical = limit(result[T], covariance[T, T], family.smaller, drift)
    height = limit(result[U], covariance[U, U], family.smaller, universal.omega)
    return xr.Dataset(
        {
            **over_pairs("temperature", result[T], errors[T], family.units),
            **over_pairs(BINDER, result[U], errors[U], "1"),
            **limit_variables("critical_temperature", critical, family.units),
            **limit_variables("critical_binder_cumulant", height, "1"),
        },
        coords=family.coordinates,
        attrs=family.attrs,
    )


def _crossings(family: Family, values: Mapping[int, Values]) -> Floats:
    """Temperature of every pair's crossing, then the larger size's cumulants there."""
    T = [pair.crossing(values) for pair in family.pairs]
    heights = [
        pair.polynomials(values, BINDER)[1](t) for pair, t in zip(family.pairs, T, strict=True)
    ]
    return np.array([*T, *heights])
