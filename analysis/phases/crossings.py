"""Critical temperatures and exponents from Binder-cumulant crossings of several lattice sizes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.polynomial import Polynomial

from latticescape.analysis.phases.curves import (
    Curve,
    PolynomialFit,
    Sizes,
    Universality,
    Values,
    by_size,
    curve_of,
    extrapolate,
    fit_polynomial,
    jackknifed,
    lattice_of,
    usual_exponents,
)
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Window = tuple[float, float]

BINDER = "binder_cumulant"
EXPONENTS = ("inverse_nu", "beta_over_nu", "gamma_over_nu")

# Two curves differ if the combined z of the points on one side exceeds this; a single point
# contributes at most BOUNDED.
DIFFERENT = 2.0
BOUNDED = 5.0

# The smallest number of points a polynomial is fitted to.
ENOUGH = 6
HIGHEST_DEGREE = 6


def binder_crossing(
    sweeps: Sizes, *, nu: float | None = None, omega: float | None = None
) -> xr.Dataset:
    """Critical temperature from the crossings of Binder cumulants U = 1 − ⟨m⁴⟩/(3⟨m²⟩²).

    Below Tc, U grows with the lattice size; above Tc it falls. The curves of two sizes therefore
    cross near Tc, whatever the exponents are. Polynomials of the lowest adequate degree are fitted
    to both curves around the crossing. The remaining drift with size is extrapolated to the
    infinite lattice by T(L) = Tc + a L^(−1/ν−ω) and U(L) = U* + b L^(−ω), with L the smaller size
    of a pair.

    Parameters
    ----------
    sweeps
        Datasets whose only axis is T and that differ in lattice size: ``{16: ds, 32: …}``, or a
        list of Datasets of stores. Two sizes give a crossing, three or more an extrapolation.
    nu, omega
        Exponents of the extrapolation; by default those of the Ising model in the lattice's
        dimension. They affect only its small correction.

    Returns
    -------
    Dataset
        ``temperature`` and ``binder_cumulant`` of every ``pair`` of neighbouring sizes, with
        ``…_se``; ``critical_temperature`` and ``critical_binder_cumulant`` with ``…_se``, the total
        standard error, and its parts: ``…_monte_carlo_se`` (jackknife over replicas) and
        ``…_finite_size_se`` (the change of the extrapolated value if its exponent is a quarter
        smaller or larger; NaN for two sizes, which are not extrapolated).

    Raises
    ------
    RequestError
        If there is only one size, no temperature axis, or the curves of a pair do not cross in the
        range; the message suggests a range.

    References
    ----------
    Binder, Z. Phys. B 43, 119 (1981), 10.1007/BF01293604; Ferrenberg, Xu and Landau, Phys. Rev. E
    97, 043301 (2018), 10.1103/PhysRevE.97.043301.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> from latticescape.analysis.phases.runs import simulate
    >>> T = {"T": np.linspace(2.1, 2.5, 6)}
    >>> sweeps = [simulate(square(L), Ising(), T, Schedule(400, 200, 5), seed=1) for L in (4, 8)]
    >>> crossing = binder_crossing(sweeps)
    >>> abs(float(crossing.critical_temperature) - 2.269) < 0.1
    True
    """
    family = family_of(sweeps, nu, omega)

    def crossings(values: Mapping[int, Values]) -> Floats:
        """Temperature of every pair's crossing, then the larger size's cumulants there."""
        T = [pair.crossing(values) for pair in family.pairs]
        heights = [
            pair.polynomials(values, BINDER)[1](t) for pair, t in zip(family.pairs, T, strict=True)
        ]
        return np.array([*T, *heights])

    result, covariance = jackknifed(family.curves, crossings)
    number, universal = len(family.pairs), family.universal
    T, U = slice(0, number), slice(number, None)
    errors = np.sqrt(np.diag(covariance))
    drift = 1 / universal.nu + universal.omega
    critical = extrapolate(result[T], covariance[T, T], family.smaller, drift)
    height = extrapolate(result[U], covariance[U, U], family.smaller, universal.omega)
    return xr.Dataset(
        {
            **over_pairs("temperature", result[T], errors[T], family.units),
            **over_pairs(BINDER, result[U], errors[U], "1"),
            **critical.variables("critical_temperature", family.units),
            **height.variables("critical_binder_cumulant", "1"),
        },
        coords=family.coordinates,
        attrs=family.attrs,
    )


def finite_size_scaling(
    sweeps: Sizes, *, nu: float | None = None, omega: float | None = None
) -> xr.Dataset:
    """Critical exponents from several sizes by phenomenological renormalization.

    At the crossing of the Binder curves of L and bL,

    - 1/ν = ln(U′_bL / U′_L) / ln b, U′ the slopes dU/dT,
    - β/ν = −ln(⟨|m|⟩_bL / ⟨|m|⟩_L) / ln b,
    - γ/ν = d + ln(⟨m²⟩_bL / ⟨m²⟩_L) / ln b, of χ = N⟨m²⟩/T.

    The remaining drift with size is extrapolated as value + a L^(−ω). The crossing is located again
    in every jackknife sample, so the errors include that of its position.

    Parameters
    ----------
    sweeps, nu, omega
        As for :func:`binder_crossing`; ``nu`` sets the width of the range that is used, not the
        exponent that is estimated.

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
    >>> from latticescape.analysis.phases.runs import simulate
    >>> T = {"T": np.linspace(2.1, 2.5, 6)}
    >>> sweeps = [simulate(square(L), Ising(), T, Schedule(400, 200, 5), seed=1) for L in (4, 8)]
    >>> abs(float(finite_size_scaling(sweeps).gamma_over_nu_limit) - 1.75) < 0.1
    True
    """
    family = family_of(sweeps, nu, omega)

    def exponents(values: Mapping[int, Values]) -> Floats:
        """1/ν of every pair, then β/ν, then γ/ν."""
        rows = []
        for pair in family.pairs:
            T, ratio = pair.crossing(values), np.log(pair.large.size / pair.small.size)
            slopes = [curve.deriv()(T) for curve in pair.polynomials(values, BINDER)]
            order = [curve(T) for curve in pair.polynomials(values, "magnetization_abs")]
            squared = [curve(T) for curve in pair.polynomials(values, "order_squared")]
            dimension = pair.small.lattice.geometry.dimension
            rows.append(
                (
                    float(np.log(slopes[1] / slopes[0]) / ratio),
                    float((order[0] - order[1]) / ratio),
                    float(dimension + (squared[1] - squared[0]) / ratio),
                )
            )
        return np.array(rows).T.ravel()

    result, covariance = jackknifed(family.curves, exponents)
    errors = np.sqrt(np.diag(covariance))
    number = len(family.pairs)
    variables: dict[str, xr.DataArray] = {}
    for place, name in enumerate(EXPONENTS):
        part = slice(place * number, (place + 1) * number)
        limit = extrapolate(
            result[part], covariance[part, part], family.smaller, family.universal.omega
        )
        variables |= over_pairs(name, result[part], errors[part], "1")
        variables |= limit.variables(f"{name}_limit", "1")
        if name == "inverse_nu":
            variables["nu"] = xr.DataArray(1 / limit.value, attrs={"units": "1"})
            variables["nu_se"] = xr.DataArray(limit.error / limit.value**2, attrs={"units": "1"})
    return xr.Dataset(variables, coords=family.coordinates, attrs=family.attrs)


def over_pairs(name: str, values: Floats, errors: Floats, units: str) -> dict[str, xr.DataArray]:
    """Return a variable over pairs of sizes, and its standard error."""
    return {
        name: xr.DataArray(values, dims="pair", attrs={"units": units}),
        f"{name}_se": xr.DataArray(errors, dims="pair", attrs={"units": units}),
    }


@dataclass(frozen=True)
class Pair:
    """Curves of two sizes, and the range around their crossing that polynomials are fitted in.

    Attributes
    ----------
    small, large
        Both curves.
    window
        Lowest and highest temperature of that range.
    """

    small: Curve
    large: Curve
    window: Window

    @cached_property
    def _fits(self) -> dict[tuple[int, str], PolynomialFit]:
        return {}

    def polynomials(self, values: Mapping[int, Values], name: str) -> tuple[Polynomial, Polynomial]:
        """Return polynomials of both sizes through an observable's logarithm.

        The Binder cumulant is used itself. Degree and weights are chosen once, from all replicas.
        """
        low, high = self.window
        scaled = (lambda v: v) if name == BINDER else np.log
        polynomials = []
        for curve in (self.small, self.large):
            inside = (curve.temperatures >= low) & (curve.temperatures <= high)
            key = (curve.size, name)
            if key not in self._fits:
                mean, error = curve.mean[name][inside], curve.error(name)[inside]
                relative = error if name == BINDER else error / mean
                T = curve.temperatures[inside]
                self._fits[key] = fit_polynomial(T, scaled(mean), relative, HIGHEST_DEGREE)
            polynomials.append(self._fits[key].through(scaled(values[curve.size][name])[inside]))
        return polynomials[0], polynomials[1]

    def crossing(self, values: Mapping[int, Values]) -> float:
        """Return where the larger size's Binder curve falls below the smaller's; NaN if nowhere.

        Of several such temperatures, the one where the difference is steepest.
        """
        small, large = self.polynomials(values, BINDER)
        grid = np.linspace(*self.window, 129)
        difference = large(grid) - small(grid)
        falls = np.flatnonzero((difference[:-1] > 0) & (difference[1:] <= 0))
        if not len(falls):
            return float("nan")
        steepest = falls[np.argmax(difference[falls] - difference[falls + 1])]
        low, high = float(grid[steepest]), float(grid[steepest + 1])
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if large(middle) > small(middle) else (low, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class Family:
    """The curves of all sizes, in neighbouring pairs.

    Attributes
    ----------
    curves
        By size, ascending.
    pairs
        One fewer.
    universal
        Exponents of the extrapolation.
    attrs
        Lattice, model and these exponents.
    units
        Of the temperature.
    """

    curves: Sequence[Curve]
    pairs: Sequence[Pair]
    universal: Universality
    attrs: dict[str, object]
    units: str

    @property
    def smaller(self) -> Floats:
        """The smaller size of each pair."""
        return np.array([float(pair.small.size) for pair in self.pairs])

    @property
    def coordinates(self) -> dict[str, tuple[str, list[object]]]:
        """Names and sizes of the pairs."""
        return {
            "pair": ("pair", [f"{pair.small.size}-{pair.large.size}" for pair in self.pairs]),
            "size_small": ("pair", [pair.small.size for pair in self.pairs]),
            "size_large": ("pair", [pair.large.size for pair in self.pairs]),
        }


def family_of(sweeps: Sizes, nu: float | None, omega: float | None) -> Family:
    """Return curves of several sizes, each pair with the range around its crossing.

    Raises
    ------
    RequestError
        As :func:`latticescape.binder_crossing`.
    """
    datasets = by_size(sweeps)
    first = next(iter(datasets.values()))
    lattice = lattice_of(first)
    curves = [curve_of(ds, replace(lattice, size=size)) for size, ds in datasets.items()]
    usual = usual_exponents(lattice)
    universal = Universality(
        usual.nu if nu is None else nu, usual.omega if omega is None else omega
    )
    attrs: dict[str, object] = {n: first.attrs[n] for n in ("lattice", "model") if n in first.attrs}
    attrs |= {"nu": universal.nu, "omega": universal.omega}
    return Family(
        curves=curves,
        pairs=[pair_of(*two, universal.nu) for two in itertools.pairwise(curves)],
        universal=universal,
        attrs=attrs,
        units=str(first["T"].attrs.get("units", "1")),
    )


def pair_of(small: Curve, large: Curve, nu: float) -> Pair:
    """Return a pair with the scaling region |T − Tc|/Tc < L^(−1/ν) around its crossing.

    Raises
    ------
    RequestError
        If the curves do not cross in their common range.
    """
    # The larger minus the smaller size's cumulant at the common temperatures.
    curves = (small, large)
    T = np.union1d(small.temperatures, large.temperatures)
    inside = [(c.temperatures.min() <= T) & (c.temperatures.max() >= T) for c in curves if len(T)]
    T = T[np.all(inside, axis=0)] if len(T) else T
    if len(T) < 3:
        problem = f"L = {small.size} and {large.size} have too few temperatures in common"
        hint = "the same axis T for all sizes, and points that are done"
        raise RequestError(problem, came=f"{len(T)} done", allowed="three or more", hint=hint)
    U, errors = (
        [np.interp(T, c.temperatures, values) for c, values in zip(curves, both, strict=True)]
        for both in zip(*((c.mean[BINDER], c.error(BINDER)) for c in curves), strict=True)
    )
    difference, error = U[1] - U[0], np.hypot(*errors)
    place = _sign_change(small, large, T, difference / np.where(error > 0, error, np.inf))
    neighbors = place[1:3]
    guess = float(np.interp(0.0, -difference[neighbors], T[neighbors]))
    half = max(guess * large.size ** (-1 / nu), np.abs(T[place] - guess).max())
    for curve in (small, large):
        distances = np.sort(np.abs(curve.temperatures - guess))
        half = max(half, distances[min(ENOUGH, len(distances)) - 1])
    half *= 1 + 1e-9
    return Pair(small, large, (guess - half, guess + half))


def _sign_change(small: Curve, large: Curve, T: Floats, z: Floats) -> npt.NDArray[np.intp]:
    """Return indices around the crossing, out to where the curves differ significantly."""
    # Away from Tc the curves are equal and noise decides the sign of z, but not of its sums.
    sums = np.concatenate([[0.0], np.cumsum(np.clip(z, -BOUNDED, BOUNDED))])
    split = int(np.argmax(2 * sums - sums[-1]))
    below, above = _first_significant(z[:split][::-1]), _first_significant(-z[split:])
    if below is not None and above is not None:
        return np.array([split - 1 - below, split - 1, split, split + above])
    low, high, span = T[0], T[-1], T[-1] - T[0]
    if above is not None:
        reason, ends = (
            "the larger size is less ordered: Tc is lower",
            (max(low - span, low / 2), low),
        )
    elif below is not None:
        reason, ends = "the larger size is more ordered: Tc is higher", (high, high + span)
    else:
        reason, ends = "both are equal within their errors", (low / 2, 2 * high)
    problem = f"the Binder curves of L = {small.size} and {large.size} do not cross"
    came = f"T from {T[0]:g} to {T[-1]:g} at H = 0, where {reason}"
    hint = f"T = {{ start = {ends[0]:.4g}, stop = {ends[1]:.4g}, num = {max(len(T), 11)} }}"
    raise RequestError(problem, came=came, hint=hint)


def _first_significant(z: Floats) -> int | None:
    """Return the first index at which the cumulative sum of z is significantly positive."""
    evidence = np.cumsum(z) / np.sqrt(1 + np.arange(len(z)))
    sure = np.flatnonzero(evidence > DIFFERENT)
    return int(sure[0]) if len(sure) else None
