"""Order found without being told the pattern: the strongest waves of the final configurations."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.curves import axes_of, jackknife_error
from latticescape.analysis.phases.sizes import lattice_of
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.traces import unpack_replicas
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.structure_factor import (
    Stars,
    name_of,
    neighbor_waves,
    special_beside,
    stars_of,
    structure_factor,
)

Floats = npt.NDArray[np.float64]

PEAKS = 3

# A star is a peak if it stands above the mean of the waves around it by so many standard errors.
CERTAIN = 5.0

# Correlation length over L from which a pattern counts as long-range order, by dimension. At a
# critical point the ratio is universal, below it grows without bound, above it vanishes. Ising on
# the torus: 0.905 (Salas and Sokal, J. Stat. Phys. 98, 551 (2000)), 0.643 (Hasenbusch, Phys. Rev. B
# 82, 174433 (2010)); other classes differ by less than the factor that is kept as uncertainty.
LONG = {2: 0.9, 3: 0.64}


def ordering(ds: xr.Dataset, *, peaks: int = PEAKS) -> xr.Dataset:
    """The waves that stand out of a sweep's final configurations, and how long-ranged they are.

    The structure factor S(k) of the 64 replicas' last spins, less their mean, is averaged over the
    wave vectors that the lattice's symmetry makes equal (*stars*). A star that lies above its
    surroundings by more than chance is a peak; nothing is assumed of the pattern.

    Parameters
    ----------
    ds
        A sweep's Dataset with ``spins`` (``keep=("spins",)``).
    peaks
        How many are told at a point.

    Returns
    -------
    Dataset
        Over the axes of the sweep, for the strongest peaks (dim ``peak``):

        - ``wave_vector``: its name in lattice units, ``K (1/3, 2/3)``; empty if there is none;
        - ``structure_factor``: mean of S over the star;
        - ``order_parameter``: √(S/N); random spins have 1/√N;
        - ``order_share``: what part of all fluctuations the star holds, 1 for a perfect pattern;
        - ``correlation_length``: ξ in lattice constants, from S at k and one step beside it;
        - ``correlation_ratio``: ξ/L.

        Where no star stands out of the noise, these are of the strongest one, which has no name.
        All with ``…_se`` by jackknife over replicas. ``ordered`` tells whether the strongest peak
        is long-range order: ξ/L above 0.9 (0.64 in three dimensions).

    Raises
    ------
    RequestError
        If no spins were kept, or order is found beside a wave vector that the lattice's size does
        not hold.

    References
    ----------
    Second-moment correlation length: Cooper, Freedman and Preston, Nucl. Phys. B 210, 210 (1982).

    Examples
    --------
    >>> from latticescape import PairAlloy, Schedule, triangular
    >>> from latticescape.analysis.phases.simulation import simulate
    >>> ds = simulate(triangular(12), PairAlloy(w1=-1, x=1 / 3), {"T": [1.5, 1.0, 0.7, 0.4]},
    ...               Schedule(400, 2, 10, tempering_mcs=5), keep=("spins",))
    >>> found = ordering(ds)
    >>> str(found.wave_vector.sel(T=0.4, peak=0).values), found.ordered.values.tolist()
    ('K (1/3, 2/3)', [False, False, False, True])
    """
    if "spins" not in ds:
        raise RequestError(
            "the sweep kept no spins",
            came=", ".join(map(str, ds.data_vars)),
            allowed="the final configuration of every point",
            hint='keep = ["spins"] in [sweep]',
        )
    lattice, axes = lattice_of(ds), axes_of(ds)
    words = ds["spins"].transpose(*axes, "site").values
    done = ds["done"].values if "done" in ds else np.ones(words.shape[:-1], bool)
    rows = [
        _told(waves_of(words[place], lattice), peaks) if done[place] else _unknown(peaks)
        for place in np.ndindex(words.shape[:-1])
    ]
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    shape = words.shape[:-1]
    variables = {
        name: (
            (*axes, "peak")[: len(shape) + values.ndim - 1],
            values.reshape(shape + values.shape[1:]),
            {"units": "lattice constants" if "length" in name else "1"},
        )
        for name, values in found.items()
    }
    attrs = {name: ds.attrs[name] for name in ("lattice", "model") if name in ds.attrs}
    coords: Mapping[Any, Any] = {axis: ds[axis] for axis in axes}
    return xr.Dataset(variables, coords, attrs | {"lattice_size": lattice.size})


@dataclass(frozen=True)
class Waves:
    """Structure factors of one point's replicas, star by star.

    Attributes
    ----------
    lattice
        The lattice.
    by_star, around
        S of every replica, mean over a star and over the waves one step beside it, but for those of
        the star itself and k = 0, (replicas, stars).
    variance
        1 − m², the mean of S over all waves, of each replica.
    """

    lattice: Lattice
    by_star: Floats
    around: Floats
    variance: Floats

    @cached_property
    def stars(self) -> Stars:
        return stars_of(self.lattice)

    def peaks(self, most: int) -> list[int]:
        """The strongest stars that stand above their surroundings, strongest first."""
        off = self.by_star - self.around
        number = len(off)
        error = off.std(axis=0, ddof=1) / np.sqrt(number)
        heights = self.by_star.mean(axis=0)
        stands = off.mean(axis=0) > CERTAIN * np.maximum(error, 1e-12)
        above = heights > self.variance.mean() * (1 + CERTAIN / np.sqrt(number))
        chosen = np.flatnonzero(stands & above)
        return [int(star) for star in chosen[np.argsort(-heights[chosen])][:most]]

    @property
    def strongest(self) -> int:
        """The star of the largest S, whether chance alone made it or not."""
        return int(np.argmax(self.by_star.mean(axis=0)))

    def wave_vector(self, star: int) -> tuple[Fraction, ...]:
        """One wave vector of a star."""
        return tuple(Fraction(int(h), self.lattice.size) for h in self.stars.first[star])

    def figures(self, star: int) -> dict[str, tuple[float, float]]:
        """Everything told of a star, each with its standard error."""
        columns = np.column_stack([self.by_star[:, star], self.around[:, star], self.variance])
        number = len(columns)
        mean = columns.mean(axis=0)
        left_out = (columns.sum(axis=0) - columns) / (number - 1)
        values = self._derived(mean[None], star)
        errors = self._derived(left_out, star)
        return {n: (float(values[n][0]), float(jackknife_error(errors[n]))) for n in values}

    def _derived(self, means: Floats, star: int) -> dict[str, Floats]:
        S, beside, variance = means.T
        N = self.lattice.sites
        length = self._length(S, beside)
        share = S * self.stars.members[star] / (N * np.maximum(variance, 1e-300))
        return {
            "structure_factor": S,
            "order_parameter": np.sqrt(S / N),
            "order_share": share * self.lattice.geometry.sublattices,
            "correlation_length": length,
            "correlation_ratio": length / self.lattice.size,
        }

    @property
    def long(self) -> float:
        """ξ/L from which order is long-ranged."""
        return LONG[self.lattice.geometry.dimension]

    def ratios(self, star: int) -> Floats:
        """ξ/L of a star from all replicas, then without each one, (1 + replicas,)."""
        both = self.by_star[:, star], self.around[:, star]
        S, beside = (np.concatenate([[v.mean()], (v.sum() - v) / (len(v) - 1)]) for v in both)
        return self._length(S, beside) / self.lattice.size

    def _length(self, S: Floats, beside: Floats) -> Floats:
        # Beside a perfect pattern S is 0; one wrong pair of atoms in all replicas would show.
        least = 4 / (self.lattice.sites * len(self.by_star))
        excess = np.maximum(S / np.maximum(beside, least) - 1, 0)
        found: Floats = np.sqrt(excess) / (2 * np.sin(np.pi / self.lattice.size)) * self._step
        return found

    @property
    def _step(self) -> float:
        """Lattice constants a step of one cell is worth: 1/|b| of the shortest reciprocal step."""
        reciprocal = np.linalg.inv(np.asarray(self.lattice.geometry.cell)).T
        step = np.asarray(neighbor_waves(self.lattice)[0]) @ reciprocal
        return float(1 / np.linalg.norm(step))


def waves_of(words: npt.NDArray[np.uint64], lattice: Lattice) -> Waves:
    """Structure factors of one point from its final spins, (sites,) words of 64 replicas."""
    spins = 2.0 * unpack_replicas(words) - 1
    variance = 1 - spins.mean(axis=1) ** 2
    # Less the mean of all replicas: a field's or a composition's magnetization is no order.
    S = structure_factor(spins - spins.mean(), lattice)
    stars = stars_of(lattice)
    return Waves(lattice, stars.mean(S), _around(S, stars, lattice), variance)


def _around(S: Floats, stars: Stars, lattice: Lattice) -> Floats:
    axes = tuple(range(1, S.ndim))
    uniform = np.zeros(S.shape[1:], bool)
    uniform[(0,) * uniform.ndim] = True
    total, number = np.zeros_like(S), np.zeros(S.shape[1:])
    for step in neighbor_waves(lattice):
        back = tuple(-s for s in step)
        other = np.roll(stars.number, back, axis=tuple(range(uniform.ndim))) != stars.number
        counted = other & ~np.roll(uniform, back, axis=tuple(range(uniform.ndim)))
        total += np.where(counted, np.roll(S, back, axis=axes), 0)
        number += counted
    mean = np.where(number, total / np.maximum(number, 1), np.inf)
    return stars.mean(mean)


def _told(waves: Waves, most: int) -> dict[str, Any]:
    chosen = waves.peaks(most)
    row = _unknown(most)
    for place, star in enumerate(chosen or [waves.strongest]):
        if chosen:
            k = waves.wave_vector(star)
            row["wave_vector"][place] = name_of(waves.lattice.kind, k)
        for name, (value, error) in waves.figures(star).items():
            row[name][place], row[f"{name}_se"][place] = value, error
    row["ordered"] = bool(chosen) and bool(row["correlation_ratio"][0] > waves.long)
    if row["ordered"]:
        _check_held(waves, chosen[0])
    return row


def _unknown(most: int) -> dict[str, Any]:
    names = (
        "structure_factor",
        "order_parameter",
        "order_share",
        "correlation_length",
        "correlation_ratio",
    )
    nothing = {n: np.full(most, np.nan) for name in names for n in (name, f"{name}_se")}
    return {"wave_vector": np.full(most, "", dtype="<U32"), **nothing, "ordered": False}


def _check_held(waves: Waves, star: int) -> None:
    lattice = waves.lattice
    beside = special_beside(lattice, waves.wave_vector(star))
    if beside:
        raise RequestError(
            f"the lattice does not hold the wave vector {beside} that it orders at",
            came=f"size = {lattice.size}, with its strongest wave at "
            f"{name_of(lattice.kind, waves.wave_vector(star))}",
            allowed="a multiple of 6 for triangular and honeycomb, of 2 for square and cubic",
            hint=f"size = {6 * max(1, round(lattice.size / 6))}",
        )
