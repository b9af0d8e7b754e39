"""Pairs of neighbouring sizes, and polynomials through their curves around the crossing."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from numpy.polynomial import Polynomial

from latticescape.analysis.phases.curves import Curve, Smooth, Values, curve_of, smooth
from latticescape.analysis.phases.extrapolation import ISING, Universality
from latticescape.analysis.phases.sizes import Sizes, by_size, lattice_of
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import GEOMETRIES, Lattice

Floats = npt.NDArray[np.float64]
Window = tuple[float, float]

BINDER = "binder_cumulant"

# Two curves differ where they do by so many standard errors, all points of a side together; one
# point alone counts no more than so much.
DIFFERENT = 2.0
BOUNDED = 5.0

# Points of a curve that a polynomial is laid through, at least.
ENOUGH = 6
HIGHEST_DEGREE = 6


@dataclass(frozen=True)
class Pair:
    """Curves of two sizes, and the range around their crossing that polynomials are laid through.

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

    @property
    def name(self) -> str:
        return f"{self.small.size}-{self.large.size}"

    @cached_property
    def _fits(self) -> dict[tuple[int, str], Smooth]:
        return {}

    def polynomials(self, values: Mapping[int, Values], name: str) -> tuple[Polynomial, Polynomial]:
        """Of both sizes, of an observable's logarithm (of the cumulant itself)."""
        small, large = (
            self._fit(curve, name).through(
                _scaled(values[curve.size][name], name)[self._inside(curve)]
            )
            for curve in (self.small, self.large)
        )
        return small, large

    def _fit(self, curve: Curve, name: str) -> Smooth:
        """Degree and weights come from all replicas, once."""
        key = (curve.size, name)
        if key not in self._fits:
            inside = self._inside(curve)
            values, errors = curve.mean[name][inside], curve.error(name)[inside]
            relative = errors if name == BINDER else errors / values
            T = curve.temperatures[inside]
            self._fits[key] = smooth(T, _scaled(values, name), relative, HIGHEST_DEGREE)
        return self._fits[key]

    def _inside(self, curve: Curve) -> npt.NDArray[np.bool_]:
        low, high = self.window
        found: npt.NDArray[np.bool_] = (curve.temperatures >= low) & (curve.temperatures <= high)
        return found

    def crossing(self, values: Mapping[int, Values]) -> float:
        """Where the larger size's Binder curve falls through the smaller one's; NaN if nowhere."""
        return _fall(*self.polynomials(values, BINDER), self.window)


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
        Exponents used to extrapolate.
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
        return {
            "pair": ("pair", [pair.name for pair in self.pairs]),
            "size_small": ("pair", [pair.small.size for pair in self.pairs]),
            "size_large": ("pair", [pair.large.size for pair in self.pairs]),
        }


def family_of(sweeps: Sizes, nu: float | None, omega: float | None) -> Family:
    """Curves of several sizes, each pair cut to the range around its crossing.

    Raises
    ------
    RequestError
        As :func:`latticescape.binder_crossing`.
    """
    datasets = by_size(sweeps)
    first = next(iter(datasets.values()))
    kind = lattice_of(first).kind
    curves = [curve_of(ds, Lattice(kind, size)) for size, ds in datasets.items()]
    usual = ISING[GEOMETRIES[kind].dimension]
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
    """A pair with the scaling region |T − Tc|/Tc < L^(−1/ν) around its crossing.

    Raises
    ------
    RequestError
        If the curves do not cross in their common range.
    """
    T, difference, error = _difference(small, large)
    place = _sign_change(small, large, T, difference / np.where(error > 0, error, np.inf))
    beside = place[1:3]
    guess = float(np.interp(0.0, -difference[beside], T[beside]))
    half = max(guess * large.size ** (-1 / nu), np.abs(T[place] - guess).max())
    for curve in (small, large):
        away = np.sort(np.abs(curve.temperatures - guess))
        half = max(half, away[min(ENOUGH, len(away)) - 1])
    half *= 1 + 1e-9
    return Pair(small, large, (guess - half, guess + half))


def _difference(small: Curve, large: Curve) -> tuple[Floats, Floats, Floats]:
    """Larger minus smaller size's cumulant and its error, where both have temperatures around."""
    curves = (small, large)
    T = np.union1d(small.temperatures, large.temperatures)
    inside = [(c.temperatures.min() <= T) & (c.temperatures.max() >= T) for c in curves if len(T)]
    T = T[np.all(inside, axis=0)] if len(T) else T
    if len(T) < 3:
        raise RequestError(
            f"L = {small.size} and {large.size} have hardly a temperature in common",
            came=f"{len(T)} done",
            allowed="three or more",
            hint="the same axis T for all sizes, and points that are done",
        )
    U, error = (
        [np.interp(T, c.temperatures, values) for c, values in zip(curves, both, strict=True)]
        for both in zip(*((c.mean[BINDER], c.error(BINDER)) for c in curves), strict=True)
    )
    return T, U[1] - U[0], np.hypot(*error)


def _sign_change(small: Curve, large: Curve, T: Floats, z: Floats) -> npt.NDArray[np.intp]:
    """Places below and above the crossing, as far off as it takes to be sure that they differ."""
    # Where the curves are equal, far from Tc, chance decides the sign of z, but not of its sums.
    sums = np.concatenate([[0.0], np.cumsum(np.clip(z, -BOUNDED, BOUNDED))])
    split = int(np.argmax(2 * sums - sums[-1]))
    below, above = _certain(z[:split][::-1]), _certain(-z[split:])
    if below is None or above is None:
        told, ends = _where_to_look(T, below is not None, above is not None)
        raise RequestError(
            f"the Binder curves of L = {small.size} and {large.size} do not cross",
            came=f"T from {T[0]:g} to {T[-1]:g}, where {told}",
            allowed="a range with Tc inside, at H = 0",
            hint=f"T = {{ start = {ends[0]:.4g}, stop = {ends[1]:.4g}, num = {max(len(T), 11)} }}",
        )
    return np.array([split - 1 - below, split - 1, split, split + above])


def _certain(z: Floats) -> int | None:
    """How many places on it is sure that the sum of z is no chance."""
    evidence = np.cumsum(z) / np.sqrt(1 + np.arange(len(z)))
    sure = np.flatnonzero(evidence > DIFFERENT)
    return int(sure[0]) if len(sure) else None


def _where_to_look(T: Floats, ordered: bool, disordered: bool) -> tuple[str, Window]:
    low, high, span = T[0], T[-1], T[-1] - T[0]
    if disordered:
        return "the larger size is less ordered: Tc is lower", (max(low - span, low / 2), low)
    if ordered:
        return "the larger size is more ordered: Tc is higher", (high, high + span)
    return "both are equal within their errors", (low / 2, 2 * high)


def _scaled(values: Floats, name: str) -> Floats:
    return values if name == BINDER else np.log(values)


def _fall(small: Polynomial, large: Polynomial, window: Window) -> float:
    """The steepest fall of large − small through zero."""
    grid = np.linspace(*window, 129)
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
