"""``sample``: a block of points in, sums over the samples of 64 replicas a point out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.batches import Group, drive
from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.multispin.blocks import LaneTables, fits_lanes, lane_groups
from latticescape.physics.kernels.multispin.bond_disorder import (
    DisorderedTables,
    SignedGroup,
    TableGroup,
    disordered_groups,
    fits_site_tables,
)
from latticescape.physics.kernels.reference import (
    MOMENTS,
    Floats,
    Integers,
    Sums,
    Task,
    clusters_of,
    energy_jumps,
)
from latticescape.physics.kernels.scalar_batches import ClusterGroup, ReferenceGroup, ScalarTables
from latticescape.physics.kernels.schedule import Schedule, Update
from latticescape.physics.kernels.swendsen_wang import check_clusters
from latticescape.physics.kernels.tempering import Ladder, ladders_of
from latticescape.physics.kernels.traces import Counts, Trace, Words, kept
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.bond_disorder import RandomBonds
from latticescape.physics.models.model import REPLICAS, Model, Orbit, Points, features_of
from latticescape.physics.variables import SAMPLES, SPINS

T = TypeVar("T", bound=LaneTables)
Seeds = npt.NDArray[np.uint64]

LANES, REFERENCE, CLUSTER = "lanes", "reference", "swendsen_wang"

_KEPT = ("sample_features", "sample_histogram", "spins")

# Raised whenever the same seed gives other bits.
KERNEL_VERSIONS = {LANES: 1, REFERENCE: 1, CLUSTER: 1}


@dataclass(frozen=True)
class Samples:
    """Sums over the samples of every replica, of whole-lattice quantities.

    Attributes
    ----------
    features
        Names of the features, in the order of the sums.
    sites, samples
        Number of sites, and of samples summed.
    feature_sum, feature_first_half
        (points, 64, features) int64: over all samples, and over the first half of them.
    moment_sum
        (points, 64, moments) float64, in the order of ``MOMENTS``.
    histogram
        (points, 64, classes) int64 counts of configurations.
    trades_attempted, trades_accepted
        (points,) and (points, 64) int64: trades with the next hotter point, if there was parallel
        tempering.
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
    trades_attempted: Integers
    trades_accepted: Integers
    sample_features: Counts | None = None
    sample_histogram: Counts | None = None
    spins: Words | None = None

    @property
    def kept(self) -> dict[str, npt.NDArray[Any]]:
        """What is kept besides the sums, by name."""
        traces = zip(_KEPT, (self.sample_features, self.sample_histogram, self.spins), strict=True)
        return {name: array for name, array in traces if array is not None}

    def of_point(self, point: int) -> Sums:
        """One point's sums, as views."""
        arrays = (self.feature_sum, self.feature_first_half, self.moment_sum, self.histogram)
        return Sums(*(array[point] for array in arrays))

    def traces(self) -> list[Trace]:
        """Every point's trace, as views; none if nothing is kept."""
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
    """Simulate a block of points, 64 independent replicas each.

    Parameters
    ----------
    model
        The model; its given parameters hold at every point.
    lattice
        The lattice.
    points
        Swept parameters by name, (points,) each. Together with the model's own parameters and
        their defaults they must fix every parameter.
    schedule
        When to measure.
    seeds
        (points, 4) uint64, one seed of 256 bits a point. A point's result depends on its own
        seed and parameters alone.
    kernel
        ``"lanes"`` or ``"reference"``; by default the fastest that can run the model. Both sample
        the same distribution, from different random numbers. With cluster updates
        ``"swendsen_wang"`` alone.
    keep
        ``"samples"``: features and configurations of every measurement as well; ``"spins"``: the
        last spins. Changes no bit of the sums.
    watch
        Called every so many Monte Carlo steps; what it raises ends the simulation.

    Returns
    -------
    Samples

    Raises
    ------
    RequestError
        If a parameter is missing, unknown, given twice or out of bounds, the lattice too small,
        the seeds are not one a point, the kernel or the update cannot run the model, or ``keep``
        has an unknown word.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> seeds = np.arange(4, dtype=np.uint64)[None, :]
    >>> sums = sample(Ising(), square(4), {"T": [2.0]}, Schedule(10, 5, 2), seeds)
    >>> int(sums.histogram.sum()) == 64 * 5 * 16
    True
    """
    _check_seeds(seeds)
    full = complete(model, points, len(seeds))
    used = parameters_used(model, points)
    orbits = model.orbits(lattice, used)
    chosen = _chosen(kernel, kernel_of(model, lattice, orbits, schedule.update))
    if chosen == CLUSTER:
        check_clusters(model, orbits, full)
    if model.drawn is not None:
        check_kept(keep)
    features = features_of(orbits)
    samples = _empty(len(seeds), features, lattice, schedule)
    samples = _with_room(samples, kept(keep))
    tasks = _tasks(model, lattice, full, orbits, seeds)
    sums, traces = [samples.of_point(p) for p in range(len(seeds))], samples.traces()
    if chosen == LANES and model.drawn is not None:
        weights = _bond_weights(model.drawn, lattice, orbits, full["realisation"])
        shared = _lane_tables(DisorderedTables, lattice, model, used)
        kind = SignedGroup if model.drawn.of_one_size else TableGroup
        groups: Iterable[Group] = disordered_groups(kind, shared, tasks, sums, traces, weights)
    elif chosen == LANES:
        groups = lane_groups(_lane_tables(LaneTables, lattice, model, used), tasks, sums, traces)
    elif model.drawn is not None:
        each = _disordered(model, lattice, full, orbits, tasks)
        groups = (ReferenceGroup(*own, sums[p], traces[p : p + 1]) for p, own in enumerate(each))
    else:
        scalar = ClusterGroup if chosen == CLUSTER else ReferenceGroup
        tables = ScalarTables(lattice, orbits)
        groups = (scalar(tables, task, sums[p], traces[p : p + 1]) for p, task in enumerate(tasks))
    if schedule.tempering_mcs:
        _drive_ladders(list(groups), schedule, full, seeds, samples, cancel_check)
    else:
        for group in groups:
            drive([group], schedule, cancel_check=cancel_check)
    return samples


@lru_cache(maxsize=2)
def _lane_tables(kind: type[T], lattice: Lattice, model: Model, used: frozenset[str]) -> T:
    """Kept from block to block: tables of a large lattice take a second to make."""
    orbits = model.orbits(lattice, used)
    return kind(lattice, orbits, model.acting(used, features_of(orbits)))


def _bond_weights(
    drawn: RandomBonds, lattice: Lattice, orbits: Sequence[Orbit], realisations: Floats
) -> list[Integers]:
    """The draws of every point's bonds, in the order of the orbits."""
    number = sum(len(orbit.clusters) for orbit in orbits if orbit.clusters.shape[1] == 2)
    return [drawn.weights(lattice, int(realisation), number) for realisation in realisations]


def _disordered(
    model: Model, lattice: Lattice, points: Points, orbits: Sequence[Orbit], tasks: Sequence[Task]
) -> Iterator[tuple[ScalarTables, Task]]:
    """Every point's own tables, and its task with the energies of its own bonds."""
    for p, task in enumerate(tasks):
        point = {name: float(values[p]) for name, values in points.items()}
        tables = ScalarTables(lattice, model.disordered(orbits, lattice, point))
        jumps = energy_jumps(tables.measured.clusters, task.couplings)
        yield tables, task._replace(jumps=jumps)


def _drive_ladders(
    groups: Sequence[Group],
    schedule: Schedule,
    points: Points,
    seeds: Seeds,
    samples: Samples,
    cancel_check: CancelCheck,
) -> None:
    """All groups in step, since points of one ladder may be in several."""
    ladders = [Ladder(p, points["T"][p], seeds[p]) for p in ladders_of(points)]
    drive(groups, schedule, ladders, cancel_check)
    for ladder in ladders:
        samples.trades_attempted[ladder.points] = ladder.attempted
        samples.trades_accepted[ladder.points] = ladder.accepted


def kernel_of(
    model: Model, lattice: Lattice, orbits: Sequence[Orbit], update: Update = "local"
) -> str:
    """The kernel of an update; of local ones the lanes, or else the scalar reference."""
    if update == "cluster":
        return CLUSTER
    if model.drawn is not None and not model.drawn.of_one_size:
        return LANES if fits_site_tables(model, orbits, lattice.sites) else REFERENCE
    return LANES if fits_lanes(model, lattice, orbits) else REFERENCE


def _chosen(asked: str | None, fastest: str) -> str:
    """The kernel asked for, if it is one that can run the model."""
    able = (LANES, REFERENCE) if fastest == LANES else (fastest,)
    if asked is not None and asked not in able:
        raise RequestError(
            "this kernel cannot run the model",
            came=asked,
            allowed=" | ".join(able),
            hint="leave kernel out",
        )
    return asked or fastest


def complete(model: Model, points: Mapping[str, npt.ArrayLike], number: int) -> Points:
    """Every parameter at every point, (number,) each: swept, given, or default."""
    swept = {
        name: np.array([model.parameter(name).check(v) for v in np.atleast_1d(values)])
        for name, values in points.items()
    }
    for name, values in swept.items():
        if len(values) != number:
            raise RequestError(
                f"{name} is not given once a point",
                came=f"{len(values)} values",
                allowed=f"{number}, one a seed",
            )
    fixed = model.fixed(set(swept))
    return {
        p.name: swept[p.name] if p.name in swept else np.full(number, fixed[p.name])
        for p in model.parameters
        if p.name in swept or p.name in fixed
    }


def check_kept(keep: Sequence[str]) -> None:
    """Refuse to keep the samples of random bonds: their features are sums of draws of 20 binary
    places, too long for the 32 bits of a kept sample."""
    if SAMPLES in keep:
        raise RequestError(
            "samples of random bonds are not kept",
            came=SAMPLES,
            allowed=SPINS,
            hint=f'keep = ["{SPINS}"] in [sweep]',
        )


def _check_seeds(seeds: npt.ArrayLike) -> None:
    words = np.asarray(seeds)
    if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != 4:
        raise RequestError(
            "seeds are no 256 bits a point",
            came=f"{words.dtype} of shape {words.shape}",
            allowed="uint64 of shape (points, 4)",
            hint="point_seeds(7, points) of latticescape.sweeps.spec.seeding",
        )


def parameters_used(model: Model, swept: Mapping[str, object]) -> frozenset[str]:
    """The parameters that are swept, or given and not zero."""
    return frozenset(swept) | {name for name, value in model.given.items() if value}


def _empty(points: int, features: tuple[str, ...], lattice: Lattice, schedule: Schedule) -> Samples:
    shape = (points, REPLICAS)
    return Samples(
        features=features,
        sites=lattice.sites,
        samples=schedule.samples,
        feature_sum=np.zeros((*shape, len(features)), np.int64),
        feature_first_half=np.zeros((*shape, len(features)), np.int64),
        moment_sum=np.zeros((*shape, len(MOMENTS))),
        histogram=np.zeros((*shape, len(configurations(lattice.kind))), np.int64),
        trades_attempted=np.zeros(points, np.int64),
        trades_accepted=np.zeros(shape, np.int64),
    )


def _with_room(samples: Samples, keep: Sequence[str]) -> Samples:
    """With arrays for what is to be kept."""
    points, replicas, features = samples.feature_sum.shape
    measured = (points, replicas, samples.samples)
    room: dict[str, Any] = {}
    if SAMPLES in keep:
        room["sample_features"] = np.empty((*measured, features), np.int32)
        classes = samples.histogram.shape[-1]
        room["sample_histogram"] = np.empty((*measured, classes), np.int32)
    if SPINS in keep:
        room["spins"] = np.empty((points, samples.sites), np.uint64)
    return replace(samples, **room)


def _tasks(
    model: Model, lattice: Lattice, points: Points, orbits: Sequence[Orbit], seeds: Seeds
) -> list[Task]:
    clusters = clusters_of(orbits)
    couplings = model.coefficients(points, features_of(orbits))
    begin, ones = model.start(points, lattice), model.ones(points, lattice)
    return [
        Task(
            seed=seeds[p],
            temperature=float(points["T"][p]),
            couplings=couplings[p],
            jumps=energy_jumps(clusters, couplings[p]),
            begin=begin[p],
            ones=-1 if ones is None else int(ones[p]),
        )
        for p in range(len(seeds))
    ]
