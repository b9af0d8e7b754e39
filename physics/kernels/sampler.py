"""``sample``: simulate a block of points and sum the measurements of their replicas."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.batches import Batch, Ladder, drive, ladders_of
from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.kernel import Seeds, complete
from latticescape.physics.kernels.multispin.batches import (
    MultispinTables,
    fits_multispin,
    multispin_batches,
)
from latticescape.physics.kernels.multispin.bond_disorder import (
    DisorderedTables,
    SignedBondBatch,
    SiteTableBatch,
    disordered_batches,
    fits_site_tables,
)
from latticescape.physics.kernels.reference import (
    MOMENTS,
    Counts,
    Floats,
    Integers,
    ReferenceBatch,
    ScalarTables,
    Sums,
    Task,
    Trace,
    Words,
    clusters_of,
    energy_steps_of,
)
from latticescape.physics.kernels.schedule import Schedule, Update
from latticescape.physics.kernels.swendsen_wang import ClusterBatch, ClusterTables, check_clusters
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import REPLICAS, Model, Orbit, Points, features_of
from latticescape.physics.variables import SAMPLES, SPINS, checked_keep

T = TypeVar("T", bound=MultispinTables)

# The values are part of the digest of every store.
MULTISPIN, REFERENCE, CLUSTER = "lanes", "reference", "swendsen_wang"

_KEPT = ("sample_features", "sample_histogram", "spins")

# Raised whenever the same seed gives other bits.
KERNEL_VERSIONS = {MULTISPIN: 1, REFERENCE: 1, CLUSTER: 1}


@dataclass(frozen=True)
class Samples:
    """Sums over the samples of every replica, for whole-lattice quantities.

    Attributes
    ----------
    features
        Names of the features, in the order of the sums.
    sites, samples
        Number of sites, and number of samples in the sums.
    feature_sum, feature_first_half
        (points, 64, features) int64: over all samples, and over the first half of them.
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
        replica r: 1 for species 1, or spin up (:func:`unpack_replicas`).
    """

    features: tuple[str, ...]
    sites: int
    samples: int
    feature_sum: Integers
    feature_first_half: Integers
    moment_sum: Floats
    histogram: Integers
    swaps_attempted: Integers
    swaps_accepted: Integers
    sample_features: Counts | None = None
    sample_histogram: Counts | None = None
    spins: Words | None = None

    @property
    def kept(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that are kept in addition to the sums, by name."""
        traces = zip(_KEPT, (self.sample_features, self.sample_histogram, self.spins), strict=True)
        return {name: array for name, array in traces if array is not None}

    def of_point(self, point: int) -> Sums:
        """The sums of one point, as views."""
        arrays = (self.feature_sum, self.feature_first_half, self.moment_sum, self.histogram)
        return Sums(*(array[point] for array in arrays))

    def traces(self) -> list[Trace]:
        """The trace of every point, as views; empty if nothing is kept."""
        arrays = [self.kept.get(name) for name in _KEPT]
        points = len(self.histogram) if self.kept else 0
        return [Trace(*(a if a is None else a[p] for a in arrays)) for p in range(points)]


def sample(
    model: Model,
    lattice: Lattice,
    points: Mapping[str, npt.ArrayLike],
    schedule: Schedule,
    seeds: Seeds,
    *,
    kernel: str | None = None,
    keep: Sequence[str] = (),
    cancel_check: CancelCheck = never_cancelled,
) -> Samples:
    """Simulate a block of points with 64 independent replicas each.

    Parameters
    ----------
    model
        The model; the parameters that it fixes hold at every point.
    lattice
        The lattice.
    points
        Swept parameters by name, (points,) each. Together with the model's own parameters and
        their defaults they must determine every parameter.
    schedule
        How long to equilibrate and how often to measure.
    seeds
        (points, 4) uint64, 256 bits for each point. A point's result depends on its own seed and
        parameters only.
    kernel
        ``"lanes"`` (the multispin kernel) or ``"reference"``; by default the fastest that supports
        the model. Both sample the same distribution with different random numbers. With cluster
        updates only ``"swendsen_wang"``.
    keep
        ``"samples"``: keep features and configurations of every measurement; ``"spins"``: keep the
        last spins. Changes no bit of the sums.
    cancel_check
        Called every few Monte Carlo steps; any exception that it raises ends the simulation.

    Returns
    -------
    Samples

    Raises
    ------
    RequestError
        If a parameter is missing, unknown, both fixed and swept, or out of bounds; if the lattice
        is too small; if the seeds do not have 256 bits for each point; if the kernel or the update
        does not support the model; or if ``keep`` has an unknown word.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> seeds = np.arange(4, dtype=np.uint64)[None, :]
    >>> sums = sample(Ising(), square(4), {"T": [2.0]}, Schedule(10, 5, 2), seeds)
    >>> int(sums.histogram.sum()) == 64 * 5 * 16
    True
    """
    words = np.asarray(seeds)
    if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != 4:
        raise RequestError(
            "seeds must have 256 bits for each point",
            came=f"{words.dtype} of shape {words.shape}",
            allowed="uint64 of shape (points, 4)",
            hint="point_seeds(7, points) of latticescape.sweeps.spec.sweep",
        )
    full = complete(model, points, len(seeds))
    used = parameters_used(model, points)
    orbits = model.orbits(lattice, used)
    fastest = kernel_of(model, lattice, orbits, schedule.update)
    supported = (MULTISPIN, REFERENCE) if fastest == MULTISPIN else (fastest,)
    if kernel is not None and kernel not in supported:
        raise RequestError(
            "this kernel does not support the model",
            came=kernel,
            allowed=" | ".join(supported),
            hint="leave kernel out",
        )
    if (kernel or fastest) == CLUSTER:
        check_clusters(model, orbits, full)
    if model.bond_disorder is not None:
        check_keep(keep)
    samples = _empty(len(seeds), features_of(orbits), lattice, schedule, checked_keep(keep))
    tasks = _tasks(model, lattice, full, orbits, seeds)
    batches = _batches(kernel or fastest, model, lattice, used, full, tasks, samples)
    if schedule.tempering_mcs:
        ladders = [Ladder(p, full["T"][p], seeds[p]) for p in ladders_of(full)]
        # All batches advance in step, because the points of a ladder may be in several of them.
        drive(list(batches), schedule, ladders, cancel_check)
        for ladder in ladders:
            samples.swaps_attempted[ladder.points] = ladder.attempted
            samples.swaps_accepted[ladder.points] = ladder.accepted
    else:
        for batch in batches:
            drive([batch], schedule, cancel_check=cancel_check)
    return samples


def _batches(
    kernel: str,
    model: Model,
    lattice: Lattice,
    used: frozenset[str],
    points: Points,
    tasks: Sequence[Task],
    samples: Samples,
) -> Iterator[Batch]:
    """The points of a block in the batches of a kernel."""
    sums, traces = [samples.of_point(p) for p in range(len(tasks))], samples.traces()
    disorder = model.bond_disorder
    if kernel == MULTISPIN and disorder is not None:
        disordered = _multispin_tables(DisorderedTables, lattice, model, used)
        number = sum(len(pairs.clusters) for pairs in disordered.pairs)
        weights = [disorder.weights(lattice, int(r), number) for r in points["realisation"]]
        kind = SignedBondBatch if disorder.of_one_size else SiteTableBatch
        yield from disordered_batches(kind, disordered, tasks, sums, traces, weights)
    elif kernel == MULTISPIN:
        shared = _multispin_tables(MultispinTables, lattice, model, used)
        yield from multispin_batches(shared, tasks, sums, traces)
    elif kernel == CLUSTER:
        bonds = ClusterTables(lattice, model.orbits(lattice, used))
        for p, task in enumerate(tasks):
            yield ClusterBatch(bonds, task, sums[p], traces[p : p + 1])
    else:
        orbits = model.orbits(lattice, used)
        tables = ScalarTables(lattice, orbits)
        for p, task in enumerate(tasks):
            if disorder is not None:
                point = {name: float(values[p]) for name, values in points.items()}
                tables = ScalarTables(lattice, model.disordered(orbits, lattice, point))
                steps = energy_steps_of(tables.measured.clusters, task.couplings)
                task = task._replace(energy_steps=steps)
            yield ReferenceBatch(tables, task, sums[p], traces[p : p + 1])


@lru_cache(maxsize=2)
def _multispin_tables(kind: type[T], lattice: Lattice, model: Model, used: frozenset[str]) -> T:
    """Cached from block to block, because tables of a large lattice take a second to make."""
    orbits = model.orbits(lattice, used)
    return kind(lattice, orbits, model.acting(used, features_of(orbits)))


def kernel_of(
    model: Model, lattice: Lattice, orbits: Sequence[Orbit], update: Update = "local"
) -> str:
    """The fastest kernel that supports the model with this update."""
    if update == "cluster":
        return CLUSTER
    if model.bond_disorder is not None and not model.bond_disorder.of_one_size:
        return MULTISPIN if fits_site_tables(model, orbits, lattice.sites) else REFERENCE
    return MULTISPIN if fits_multispin(model, lattice, orbits) else REFERENCE


def check_keep(keep: Sequence[str]) -> None:
    """Raise a RequestError for kept samples of random bonds: their features are sums of numbers
    with 20 binary places, which do not fit into the 32 bits of a kept sample."""
    if SAMPLES in keep:
        raise RequestError(
            "samples of random bonds cannot be kept",
            came=SAMPLES,
            allowed=SPINS,
            hint=f'keep = ["{SPINS}"] in [sweep]',
        )


def parameters_used(model: Model, swept: Mapping[str, object]) -> frozenset[str]:
    """The parameters that are swept, or fixed and not zero."""
    return frozenset(swept) | {name for name, value in model.fixed_parameters.items() if value}


def _empty(
    points: int,
    features: tuple[str, ...],
    lattice: Lattice,
    schedule: Schedule,
    keep: Sequence[str],
) -> Samples:
    shape, classes = (points, REPLICAS), len(configurations(lattice.kind))
    measured = (*shape, schedule.samples)
    samples, spins = SAMPLES in keep, SPINS in keep
    return Samples(
        features=features,
        sites=lattice.sites,
        samples=schedule.samples,
        feature_sum=np.zeros((*shape, len(features)), np.int64),
        feature_first_half=np.zeros((*shape, len(features)), np.int64),
        moment_sum=np.zeros((*shape, len(MOMENTS))),
        histogram=np.zeros((*shape, classes), np.int64),
        swaps_attempted=np.zeros(points, np.int64),
        swaps_accepted=np.zeros(shape, np.int64),
        sample_features=np.empty((*measured, len(features)), np.int32) if samples else None,
        sample_histogram=np.empty((*measured, classes), np.int32) if samples else None,
        spins=np.empty((points, lattice.sites), np.uint64) if spins else None,
    )


def _tasks(
    model: Model, lattice: Lattice, points: Points, orbits: Sequence[Orbit], seeds: Seeds
) -> list[Task]:
    clusters = clusters_of(orbits)
    couplings = model.coefficients(points, features_of(orbits))
    initial_up_probability = model.start(points, lattice)
    n_species1 = model.n_species1(points, lattice)
    return [
        Task(
            seed=seeds[p],
            temperature=float(points["T"][p]),
            couplings=couplings[p],
            energy_steps=energy_steps_of(clusters, couplings[p]),
            initial_up_probability=initial_up_probability[p],
            n_species1=-1 if n_species1 is None else int(n_species1[p]),
        )
        for p in range(len(seeds))
    ]
