"""From sums over replicas to observables, each with its standard error.

Everything is computed point by point on arrays of one fixed shape: a reduction over all points of
a block could round differently for another block size, and a point's bits may not depend on its
block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.equilibration import (
    HalvedSums,
    equilibration,
    half_means,
)
from latticescape.physics.kernels.reference import (
    MOMENTS,
    Counts,
    Floats,
    Integers,
    Sums,
    Trace,
    Words,
)
from latticescape.physics.kernels.restart import MOST_CHECKPOINTS
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.variables import SAMPLES, SPINS

Estimates = dict[str, Floats]

KEPT_ARRAYS = ("sample_features", "sample_histogram", "spins")
SUMS = ("feature_sum", "feature_checkpoints", "moment_sum", "histogram")

_PER_SITE_POWER = np.array([1, 1, 2, 4, 1, 2])


@dataclass(frozen=True)
class Samples:
    """Sums over the samples of every replica, for whole-lattice quantities.

    Attributes
    ----------
    features
        Names of the features, in the order of the sums.
    sites, samples
        Number of sites, and number of samples in the sums.
    feature_sum
        (points, 64, features) int64.
    feature_checkpoints
        (points, 9, 64, features) int64: over the samples up to each of the :func:`checkpoints`, the
        first of which is the first half of the samples.
    moment_sum
        (points, 64, moments) float64, in the order of ``MOMENTS``.
    histogram
        (points, 64, classes) int64 counts of configurations.
    swaps_attempted, swaps_accepted
        (points,) and (points, 64) int64: replica swaps of parallel tempering with the next hotter
        point.
    sample_features, sample_histogram
        (points, 64, samples, features) and (points, 64, samples, classes) int32: every measurement,
        if ``"samples"`` are kept.
    spins
        (points, sites) uint64: after the last measurement, if ``"spins"`` are kept. Bit r is
        replica r: 1 for species 1, or spin up (:func:`unpack_replicas`). Of more than two species
        (points, bits, sites): the binary digits of their numbers (:func:`unpack_species`).
    restart
        (points, words) uint64: from where each point continues, if ``"restart"`` is kept.
    starts
        (points, 64) int64: the kind of start of each replica; None if all are alike.
    ratio
        Steps of equilibration / steps of sampling.
    """

    features: tuple[str, ...]
    sites: int
    samples: int
    feature_sum: Integers
    feature_checkpoints: Integers
    moment_sum: Floats
    histogram: Integers
    swaps_attempted: Integers
    swaps_accepted: Integers
    sample_features: Counts | None = None
    sample_histogram: Counts | None = None
    spins: Words | None = None
    restart: Words | None = None
    starts: Integers | None = None
    ratio: float = 0.0

    @classmethod
    def empty(
        cls,
        points: int,
        features: tuple[str, ...],
        sites: int,
        classes: int,
        samples: int,
        keep: Sequence[str],
        planes: int = 1,
    ) -> "Samples":
        """Sums of zero, and uninitialised arrays for what is kept.

        ``planes`` is the number of bits that hold the species of a site.
        """
        shape, spin_shape = (points, REPLICAS), (sites,) if planes == 1 else (planes, sites)
        measured = (*shape, samples)
        kept, spins = SAMPLES in keep, SPINS in keep
        return cls(
            features=features,
            sites=sites,
            samples=samples,
            feature_sum=np.zeros((*shape, len(features)), np.int64),
            feature_checkpoints=np.zeros(
                (points, MOST_CHECKPOINTS, REPLICAS, len(features)), np.int64
            ),
            moment_sum=np.zeros((*shape, len(MOMENTS))),
            histogram=np.zeros((*shape, classes), np.int64),
            swaps_attempted=np.zeros(points, np.int64),
            swaps_accepted=np.zeros(shape, np.int64),
            sample_features=np.empty((*measured, len(features)), np.int32) if kept else None,
            sample_histogram=np.empty((*measured, classes), np.int32) if kept else None,
            spins=np.empty((points, *spin_shape), np.uint64) if spins else None,
        )

    @property
    def sums(self) -> tuple[npt.NDArray[Any], ...]:
        """All sums that every measurement adds to, points first."""
        return tuple(getattr(self, name) for name in SUMS)

    @property
    def swaps(self) -> tuple[npt.NDArray[Any], ...]:
        """Attempted and accepted swaps of parallel tempering."""
        return (self.swaps_attempted, self.swaps_accepted)

    @property
    def per_sample(self) -> dict[str, Counts]:
        """The arrays of every measurement, if samples are kept, by name."""
        arrays = {n: getattr(self, n) for n in ("sample_features", "sample_histogram")}
        return {name: array for name, array in arrays.items() if array is not None}

    @property
    def kept(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that are kept in addition to the sums, by name."""
        arrays = {name: getattr(self, name) for name in KEPT_ARRAYS}
        return {name: array for name, array in arrays.items() if array is not None}

    def of_point(self, point: int) -> Sums:
        """The sums of one point, as views."""
        return Sums(*(array[point] for array in self.sums))

    def traces(self) -> list[Trace]:
        """The trace of every point, as views; empty if nothing is kept."""
        kept = self.kept
        points = len(self.histogram) if kept else 0
        return [
            Trace(*(kept[name][p] if name in kept else None for name in KEPT_ARRAYS))
            for p in range(points)
        ]


def replica_moments(sums: Sums, sites: int, samples: int) -> Floats:
    """Mean moments per site of each replica of a point, (64, moments)."""
    return sums.moments / samples / float(sites) ** _PER_SITE_POWER


def estimates(moments: Floats, sites: int, temperature: float) -> Estimates:
    """Observables per site from mean moments (…, moments).

    χ = N(⟨m²⟩ − ⟨m⟩²)/T, C = N(⟨e²⟩ − ⟨e⟩²)/T², U = 1 − ⟨m⁴⟩/(3⟨m²⟩²), with k_B = 1
    (Binder, Z. Phys. B 43, 119 (1981), for U).

    Examples
    --------
    >>> up = np.array([1.0, 1.0, 1.0, 1.0, -2.0, 4.0])
    >>> values = estimates(up, sites=16, temperature=1.0)
    >>> values["binder_cumulant"].round(4).item(), values["heat_capacity"].item()
    (0.6667, 0.0)
    """
    m, m_abs, m2, m4, e, e2 = np.moveaxis(moments, -1, 0)
    square = np.where(m2 > 0, m2, np.nan)
    return {
        "energy": e,
        "magnetization": m,
        "magnetization_abs": m_abs,
        "susceptibility": sites * (m2 - m * m) / temperature,
        "susceptibility_abs": sites * (m2 - m_abs * m_abs) / temperature,
        "heat_capacity": sites * (e2 - e * e) / temperature**2,
        "binder_cumulant": 1 - m4 / (3 * square * square),
    }


def jackknife(
    values: Floats, estimate: Callable[[Floats], Estimates]
) -> tuple[Estimates, Estimates]:
    """Estimates from the mean over replicas, and their standard errors.

    Parameters
    ----------
    values
        One row for each replica, (replicas, …).
    estimate
        Function from a mean (…, quantities) to named observables.

    Returns
    -------
    tuple
        The estimates from the mean of all rows, and their jackknife standard errors
        (Efron and Stein, Ann. Statist. 9, 586 (1981)).

    Examples
    --------
    >>> value, error = jackknife(np.array([[1.0], [3.0]]), lambda mean: {"mean": mean[..., 0]})
    >>> value["mean"].item(), error["mean"].item()
    (2.0, 1.0)
    """
    number = len(values)
    total = values.sum(axis=0)
    without_one = estimate((total - values) / (number - 1))
    errors = {
        name: np.sqrt((number - 1) / number * np.sum((parts - parts.mean(axis=0)) ** 2, axis=0))
        for name, parts in without_one.items()
    }
    return estimate(total / number), errors


def energy_drift(sums: HalvedSums, couplings: Floats, sites: int, samples: int) -> Floats:
    """Energy per site, second half of the samples minus first, of each replica, (64,)."""
    early, late = half_means(sums, samples)
    drift: Floats = np.sum((late - early) * couplings, axis=-1) / sites
    return drift


def observe(samples: Samples, couplings: Floats, temperatures: Floats) -> dict[str, np.ndarray]:
    """Compute every variable of a block of points.

    Parameters
    ----------
    samples
        The sums of the block.
    couplings
        Energy per unit of each feature, (points, features).
    temperatures
        (points,).

    Returns
    -------
    dict
        Arrays by variable name, points first; ``histogram`` sums over replicas.
    """
    rows = [
        _observe_point(samples, p, couplings[p], float(temperatures[p]))
        for p in range(len(temperatures))
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _observe_point(
    samples: Samples, point: int, couplings: Floats, temperature: float
) -> dict[str, np.ndarray]:
    sums, sites, number = samples.of_point(point), samples.sites, samples.samples
    moments = replica_moments(sums, sites, number)
    values, errors = jackknife(moments, lambda mean: estimates(mean, sites, temperature))
    drift = energy_drift(sums, couplings, sites, number)
    values["energy_drift"] = np.asarray(drift.mean())
    errors["energy_drift"] = np.asarray(drift.std(ddof=1) / np.sqrt(REPLICAS))
    starts = np.zeros(REPLICAS, np.int64) if samples.starts is None else samples.starts[point]
    # |m| and e, each with its square.
    pairs = moments.T[[[1, 2], [4, 5]]]
    trust = equilibration(sums, pairs, number, starts, samples.ratio)
    attempted = samples.swaps_attempted[point]
    accepted = samples.swaps_accepted[point]
    rate = accepted / attempted if attempted else np.full(REPLICAS, np.nan)
    values["tempering_acceptance"] = np.asarray(rate.mean())
    errors["tempering_acceptance"] = np.asarray(rate.std(ddof=1) / np.sqrt(REPLICAS))
    return {
        **values,
        **trust,
        **{f"{name}_se": error for name, error in errors.items()},
        "histogram": sums.histogram.sum(axis=0),
        "histogram_replica": sums.histogram,
        "features": sums.features / number,
        "moments": moments,
    }
