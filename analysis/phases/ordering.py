"""Detection of ordering patterns from structure-factor peaks of the final configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import check_has
from latticescape.analysis.phases.curves import axes_of, jackknife_error, lattice_of
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import SiteClasses, classes_of_attributes
from latticescape.physics.structure_factor import (
    Stars,
    name_of,
    neighbor_waves,
    special_beside,
    stars_of,
    structure_factor,
)
from latticescape.physics.variables import SPINS, unpack_species

Floats = npt.NDArray[np.float64]

PEAKS = 3

# A star is a peak if it exceeds the mean of the surrounding waves by this many standard errors.
CERTAIN = 5.0

# The correlation length over L above which a pattern is long-range order, by dimension. At a
# critical point the ratio is universal, below it grows without bound, above it vanishes. Ising on
# the torus: 0.905 (Salas and Sokal, J. Stat. Phys. 98, 551 (2000)), 0.643 (Hasenbusch, Phys. Rev. B
# 82, 174433 (2010)); other classes differ by less than the factor that is kept as uncertainty.
LONG_RANGE_RATIO = {2: 0.9, 3: 0.64}

ESTIMATES = (
    "structure_factor",
    "order_parameter",
    "order_share",
    "correlation_length",
    "correlation_ratio",
)


def ordering(ds: xr.Dataset, *, peaks: int = PEAKS) -> xr.Dataset:
    """Find the ordering wave vectors of a sweep's final configurations, and their range.

    The structure factor S(k) of the 64 replicas' final spins, their mean subtracted, is averaged
    over the wave vectors that are equivalent by the lattice's symmetry (*stars*). A star that
    exceeds its surroundings significantly is a peak. No ordering pattern is assumed.

    Parameters
    ----------
    ds
        A sweep's Dataset with ``spins`` (``keep=("spins",)``).
    peaks
        The number of peaks kept per point.

    Returns
    -------
    Dataset
        Over the axes of the sweep, for the strongest peaks (dim ``peak``):

        - ``wave_vector``: its name in lattice units, ``K (1/3, 2/3)``; empty without a peak;
        - ``structure_factor``: mean of S over the star;
        - ``order_parameter``: √(S/N); random spins have 1/√N;
        - ``order_share``: the star's share of all fluctuations, 1 for a perfect pattern;
        - ``correlation_length``: ξ in lattice constants, from S at k and at its neighbours;
        - ``correlation_ratio``: ξ/L.

        Without a peak, these are the values of the strongest star, which has no name. All have
        ``…_se`` by jackknife over replicas. ``ordered`` is true if the strongest peak is long-range
        order: ξ/L above 0.9 (0.64 in three dimensions).

    Raises
    ------
    RequestError
        If no spins were kept, or the pattern peaks next to a special wave vector that is
        incommensurate with the lattice size.

    References
    ----------
    Second-moment correlation length: Cooper, Freedman and Preston, Nucl. Phys. B 210, 210 (1982).

    Examples
    --------
    >>> from latticescape import PairAlloy, Schedule, triangular
    >>> from latticescape.analysis.phases.runs import simulate
    >>> ds = simulate(triangular(12), PairAlloy(w1=-1, x=1 / 3), {"T": [1.5, 1.0, 0.7, 0.4]},
    ...               Schedule(400, 2, 10, tempering_mcs=5), keep=("spins",))
    >>> order = ordering(ds)
    >>> str(order.wave_vector.sel(T=0.4, peak=0).values), order.ordered.values.tolist()
    ('K (1/3, 2/3)', [False, False, False, True])
    """
    check_spins(ds)
    lattice, axes = lattice_of(ds), axes_of(ds)
    held = species_of_sites(ds)
    words = ds["spins"].transpose(*axes, ..., "site").values
    shape = words.shape[: len(axes)]
    done = ds["done"].values if "done" in ds else np.ones(shape, bool)
    rows = [
        _peak_table(waves_of(words[place], lattice, held), peaks)
        if done[place]
        else _empty_table(peaks)
        for place in np.ndindex(shape)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    variables = {
        name: (
            (*axes, "peak")[: len(shape) + values.ndim - 1],
            values.reshape(shape + values.shape[1:]),
            {"units": "lattice constants" if "length" in name else "1"},
        )
        for name, values in columns.items()
    }
    attrs = {name: ds.attrs[name] for name in ("lattice", "model") if name in ds.attrs}
    coords: Mapping[Any, Any] = {axis: ds[axis] for axis in axes}
    return xr.Dataset(variables, coords, attrs | {"lattice_size": lattice.linear_size})


def check_spins(ds: xr.Dataset, *, two: bool = False) -> None:
    """Check that a Dataset has the final spins of its points, if ``two`` of two species."""
    check_has(ds, [SPINS], "the Dataset holds no spins", hint=f'keep = ["{SPINS}"] in [sweep]')
    if two and "bit" in ds[SPINS].dims:
        raise RequestError(
            "this is known for two species only",
            came=f"spins of {ds.sizes['bit']} binary digits, for three species or more",
            allowed="a sweep of two species",
        )


@dataclass(frozen=True)
class Waves:
    """Structure factors of one point's replicas, averaged over stars.

    Attributes
    ----------
    lattice
        The lattice.
    by_star, around
        S of every replica, averaged over a star, and over the neighbours of its waves that are
        neither in the star nor k = 0, (replicas, stars).
    variance
        1 − m² of every replica, the mean of S over all waves.
    """

    lattice: Lattice
    by_star: Floats
    around: Floats
    variance: Floats

    @cached_property
    def stars(self) -> Stars:
        return stars_of(self.lattice)

    def peaks(self, most: int) -> list[int]:
        """Return the strongest stars that exceed their surroundings, strongest first."""
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
        """The star of the largest S, significant or not."""
        return int(np.argmax(self.by_star.mean(axis=0)))

    def wave_vector(self, star: int) -> tuple[Fraction, ...]:
        """Return one wave vector of a star."""
        return tuple(Fraction(int(h), self.lattice.linear_size) for h in self.stars.first[star])

    def estimates(self, star: int) -> dict[str, tuple[float, float]]:
        """Return all estimates of a star, each with its standard error."""
        columns = np.column_stack([self.by_star[:, star], self.around[:, star], self.variance])
        number = len(columns)
        mean = columns.mean(axis=0)
        left_out = (columns.sum(axis=0) - columns) / (number - 1)
        values = self._derived(mean[None], star)
        errors = self._derived(left_out, star)
        return {n: (float(values[n][0]), float(jackknife_error(errors[n]))) for n in values}

    def _derived(self, means: Floats, star: int) -> dict[str, Floats]:
        S, around, variance = means.T
        N = self.lattice.sites
        length = self._length(S, around)
        share = S * self.stars.members[star] / (N * np.maximum(variance, 1e-300))
        return {
            "structure_factor": S,
            "order_parameter": np.sqrt(S / N),
            "order_share": share * self.lattice.geometry.sublattices,
            "correlation_length": length,
            "correlation_ratio": length / self.lattice.linear_size,
        }

    @property
    def threshold(self) -> float:
        """The ξ/L above which order is long-ranged."""
        return LONG_RANGE_RATIO.get(self.lattice.geometry.dimension, np.inf)

    def ratios(self, star: int) -> Floats:
        """Return ξ/L of a star from all replicas, then with each left out, (1 + replicas,)."""
        both = self.by_star[:, star], self.around[:, star]
        S, around = (np.concatenate([[v.mean()], (v.sum() - v) / (len(v) - 1)]) for v in both)
        return self._length(S, around) / self.lattice.linear_size

    def _length(self, S: Floats, around: Floats) -> Floats:
        # Around a perfect pattern S is 0; one wrong pair of atoms in all replicas would show.
        least = 4 / (self.lattice.sites * len(self.by_star))
        excess = np.maximum(S / np.maximum(around, least) - 1, 0)
        # One step of the reciprocal lattice, 1/|b|, in lattice constants.
        reciprocal = np.linalg.inv(np.asarray(self.lattice.geometry.cell)).T
        step = np.asarray(neighbor_waves(self.lattice)[0]) @ reciprocal
        constants = float(1 / np.linalg.norm(step))
        length: Floats = (
            np.sqrt(excess) / (2 * np.sin(np.pi / self.lattice.linear_size)) * constants
        )
        return length


def species_of_sites(ds: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    """The species that each site of the basis may hold; of two that have no names, of each."""
    classes = classes_of_attributes(str(ds.attrs["lattice"]), ds.attrs.get("classes"))
    if isinstance(classes, SiteClasses):
        return classes.species
    return (("0", "1"),) * lattice_of(ds).geometry.sublattices


def waves_of(
    words: npt.NDArray[np.uint64],
    lattice: Lattice,
    held: Sequence[tuple[str, ...]] = (("0", "1"),),
) -> Waves:
    """Return structure factors of one point from its final spins.

    A site of q species has a vector σ of length 1, the corner of its species of a simplex in q − 1
    dimensions: ±1 of two. S is the sum over its components; species are treated alike.

    Parameters
    ----------
    words
        (sites,) words of 64 replicas; (bits, sites) of more than two species.
    lattice
        The lattice.
    held
        The species that each site of the basis may hold; of one, for all.
    """
    species, basis = unpack_species(np.atleast_2d(words)), lattice.geometry.sublattices
    names = [held[site % len(held)] for site in range(basis)]
    vectors = np.zeros((max(len(_corners(len(own))) for own in names), *species.shape))
    variance = np.zeros(len(species))
    for several in dict.fromkeys(names):
        if len(several) == 1:
            continue
        sites = np.flatnonzero([names[site % basis] == several for site in range(lattice.sites)])
        own = _corners(len(several))[:, species[:, sites]]
        # The mean of all replicas is subtracted, from sites with the same species: the
        # magnetization due to a field or a composition is no order.
        vectors[: len(own), :, sites] = own - own.mean(axis=(1, 2), keepdims=True)
        moment = (own.mean(axis=2) ** 2).sum(axis=0)
        variance += len(sites) / lattice.sites * (1 - moment)
    S = np.sum([structure_factor(component, lattice) for component in vectors], axis=0)
    stars = stars_of(lattice)
    # The mean of S over the neighbours of each wave that are neither in its star nor k = 0.
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
    around = np.where(number, total / np.maximum(number, 1), np.inf)
    return Waves(lattice, stars.mean(S), stars.mean(around), variance)


def _corners(species: int) -> Floats:
    """The vectors of length 1 that stand for the species, (components, species)."""
    if species == 2:
        return np.array([[-1.0, 1.0]])
    corners: Floats = (np.eye(species) - 1 / species) * np.sqrt(species / (species - 1))
    return corners


def _peak_table(waves: Waves, peaks: int) -> dict[str, Any]:
    """Return the row of :func:`ordering` for one point."""
    chosen = waves.peaks(peaks)
    row = _empty_table(peaks)
    for place, star in enumerate(chosen or [waves.strongest]):
        if chosen:
            row["wave_vector"][place] = name_of(waves.lattice, waves.wave_vector(star))
        for name, (value, error) in waves.estimates(star).items():
            row[name][place], row[f"{name}_se"][place] = value, error
    row["ordered"] = bool(chosen) and bool(row["correlation_ratio"][0] > waves.threshold)
    special = row["ordered"] and special_beside(waves.lattice, waves.wave_vector(chosen[0]))
    if special:
        size = waves.lattice.linear_size
        problem = (
            f"the lattice size is incommensurate with the wave vector {special} of the pattern"
        )
        came = f"size = {size}, with its strongest wave at {row['wave_vector'][0]}"
        hint = f"size = {6 * max(1, round(size / 6))}"
        raise RequestError(problem, came=came, hint=hint)
    return row


def _empty_table(peaks: int) -> dict[str, Any]:
    missing = {n: np.full(peaks, np.nan) for name in ESTIMATES for n in (name, f"{name}_se")}
    return {"wave_vector": np.full(peaks, "", dtype="<U32"), **missing, "ordered": False}
