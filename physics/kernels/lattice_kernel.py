"""The kernel of models that are defined by their orbits: ``sample`` and ``LatticeKernel``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import CancelCheck, RequestError, never_cancelled
from latticescape.physics.kernels.batches import Batch, Ladder, drive_from
from latticescape.physics.kernels.kernel import (
    Axes,
    Coordinates,
    Earlier,
    ModelKernel,
    Rule,
    Schedule,
    Seeds,
    complete,
    corners,
    described,
    ladders_of,
)
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
from latticescape.physics.kernels.multispin.expansion.batch import (
    ExpansionTables,
    expansion_batches,
)
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.observables import Samples, observe
from latticescape.physics.kernels.reference import (
    MOMENTS,
    ReferenceBatch,
    ScalarTables,
    Task,
    clusters_of,
    energy_steps_of,
)
from latticescape.physics.kernels.restart import (
    BEGINNING,
    MOST_CHECKPOINTS,
    Progress,
    pack,
    resume,
)
from latticescape.physics.kernels.species.batch import SpeciesBatch, SpeciesTables, SpeciesTask
from latticescape.physics.kernels.swendsen_wang import ClusterBatch, ClusterTables, check_clusters
from latticescape.physics.lattices.configurations import PAIR_ANGLES, Configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import (
    USUAL,
    ClassChoice,
    SiteClasses,
    classes_for,
)
from latticescape.physics.models.cluster_expansion import ClusterExpansion
from latticescape.physics.models.interactions import BinaryModel, Interaction, SpeciesModel
from latticescape.physics.models.model import REPLICAS, Model, Orbit, Points, features_of
from latticescape.physics.variables import (
    BIT_PLANES,
    COMPOSITION_BY_SPECIES,
    COUNTS,
    EQUILIBRATION,
    ESTIMATES,
    KEEP,
    KEPT,
    RESTART,
    SAMPLES,
    SPINS,
    TEMPERING,
    Variable,
    Words,
    bits_of,
    checked_keep,
)

T = TypeVar("T", bound=MultispinTables)
LatticeModel = Model | ClusterExpansion

# The values are part of the digest of every store.
MULTISPIN, REFERENCE, CLUSTER, SPECIES = "lanes", "reference", "swendsen_wang", "species"

# Raised whenever the same seed gives other bits.
KERNEL_VERSIONS = {MULTISPIN: 4, REFERENCE: 2, CLUSTER: 2, SPECIES: 2}

# A schedule that may have demons.
DEMONS = Schedule(0, 2, Schedule.demon_period)

# Bytes of one variable at one point: a block has at least eight points, and a chunk must stay below
# 2 GiB.
MOST_KEPT_BYTES = 2**27


def sample(
    model: LatticeModel,
    lattice: Lattice,
    points: Mapping[str, npt.ArrayLike],
    schedule: Schedule,
    seeds: Seeds,
    *,
    kernel: str | None = None,
    keep: Sequence[str] = (),
    classes: ClassChoice = USUAL,
    cancel_check: CancelCheck = never_cancelled,
    earlier: Earlier | None = None,
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
        ``"lanes"`` (the multispin kernel), ``"reference"`` or ``"species"`` (the kernel of any
        species); by default the fastest that supports the model. All sample the same distribution
        with different random numbers. With cluster updates only ``"swendsen_wang"``.
    keep
        ``"samples"``: keep features and configurations of every measurement; ``"spins"``: keep the
        last spins. Changes no bit of the sums.
    classes
        Which configurations are counted.
    cancel_check
        Called every few Monte Carlo steps; any exception that it raises ends the simulation.
    earlier
        Results of the same points under a shorter schedule, points first: ``restart``, and
        ``sample_features`` and ``sample_histogram`` if samples are kept. The points go on from
        there; no bit of the result depends on it.

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
            "seeds must be uint64 of shape (points, 4)",
            came=f"{words.dtype} of shape {words.shape}",
        )
    full = complete(model, points, len(seeds))
    used = parameters_used(model, points)
    fastest = kernel_of(model, lattice, used, schedule, classes)
    supported = supported_kernels(model, lattice, classes, fastest)
    if kernel is not None and kernel not in supported:
        raise RequestError(
            "this kernel does not support the model",
            came=kernel,
            allowed=" | ".join(supported),
            hint="leave kernel out",
        )
    if (kernel or fastest) == CLUSTER and isinstance(model, Model):
        check_clusters(model, model.orbits(lattice, used), full)
    if has_random_bonds(model):
        check_keep(keep)
    samples = Samples.empty(
        len(seeds),
        features_on(model, lattice, used),
        lattice.sites,
        len(classes_for(lattice, species_model(model).species(lattice), classes)),
        schedule.samples,
        checked_keep(keep, tuple(KEPT)),
        planes_of(model, lattice),
    )
    tempered = bool(schedule.tempering_mcs)
    ladders = [Ladder(p, full["T"][p], seeds[p]) for p in ladders_of(full)] * tempered
    begin, dynamics = BEGINNING, None
    if earlier is not None:
        begin, dynamics = _resume(earlier, schedule, samples, ladders)
    check_rule(kernel or fastest, model, lattice, schedule)
    ratio = schedule.equilibration_mcs / (schedule.samples * schedule.stride_mcs)
    samples = replace(samples, ratio=ratio)
    batches: Iterator[Batch]
    if (kernel or fastest) == SPECIES:
        tables = _species_tables(model, lattice, used, classes)
        species_tasks = _species_tasks(model, lattice, full, seeds, samples.features)
        samples = replace(samples, starts=np.stack([tables.starts(t) for t in species_tasks]))
        batches = _species_batches(tables, species_tasks, samples)
    elif is_usual(model, lattice, classes):
        tasks = _tasks(model, lattice, full, model.orbits(lattice, used), seeds)
        up = np.stack([task.initial_up_probability for task in tasks])
        samples = replace(samples, starts=np.rint(2 * up).astype(np.int64))
        batches = _batches(kernel or fastest, model, lattice, used, full, tasks, samples, schedule)
    else:
        general = _expansion_tables(model, lattice, used, classes, schedule.demon_period)
        general_tasks = _species_tasks(model, lattice, full, seeds, samples.features)
        sums = [samples.of_point(p) for p in range(len(seeds))]
        batches = expansion_batches(general, general_tasks, sums, samples.traces())
    # All batches advance in step if the points of a ladder may be in several of them.
    groups = iter([list(batches)]) if tempered else ([batch] for batch in batches)
    dynamics = drive_from(groups, schedule, ladders, cancel_check, begin, dynamics)
    for ladder in ladders:
        samples.swaps_attempted[ladder.points] = ladder.attempted
        samples.swaps_accepted[ladder.points] = ladder.accepted
    if RESTART in keep:
        states = [_states(ladders)] * tempered
        arrays = [*samples.sums, *samples.swaps * tempered, *states, dynamics]
        samples = replace(samples, restart=pack(Progress.end(schedule), arrays))
    return samples


def _resume(
    earlier: Earlier, schedule: Schedule, samples: Samples, ladders: Sequence[Ladder]
) -> tuple[Progress, Words | None]:
    """Take over the results of a shorter schedule; as :func:`resume`."""
    tempered, states = bool(ladders), _states(ladders)
    begin, dynamics = resume(
        earlier[RESTART],
        schedule,
        sums=[*samples.sums, *samples.swaps * tempered],
        at_checkpoints=samples.feature_checkpoints,
        others=[states] * tempered,
    )
    for name, array in samples.per_sample.items():
        array[:, :, : begin.samples] = earlier[name][:, :, : begin.samples]
    for ladder in ladders:
        ladder.turn = begin.clock // schedule.tempering_mcs
        ladder.states[...] = states[ladder.points]
        ladder.attempted[...] = samples.swaps_attempted[ladder.points]
        ladder.accepted[...] = samples.swaps_accepted[ladder.points]
    return begin, dynamics


def _states(ladders: Sequence[Ladder]) -> Words:
    """Generators of the swaps of every point, (points, 64, 4)."""
    points = sum(len(ladder.points) for ladder in ladders)
    states = np.zeros((points, REPLICAS, 4), np.uint64)
    for ladder in ladders:
        states[ladder.points] = ladder.states
    return states


def _batches(
    kernel: str,
    model: Model,
    lattice: Lattice,
    used: frozenset[str],
    points: Points,
    tasks: Sequence[Task],
    samples: Samples,
    schedule: Schedule,
) -> Iterator[Batch]:
    """The points of a block in the batches of a kernel."""
    sums, traces = [samples.of_point(p) for p in range(len(tasks))], samples.traces()
    disorder = model.bond_disorder
    if kernel == MULTISPIN and disorder is not None:
        disordered = _multispin_tables(DisorderedTables, lattice, model, used, *_rule(schedule))
        number = sum(len(pairs.clusters) for pairs in disordered.pairs)
        weights = [disorder.weights(lattice, int(r), number) for r in points["realisation"]]
        kind = SignedBondBatch if disorder.of_one_size else SiteTableBatch
        yield from disordered_batches(kind, disordered, tasks, sums, traces, weights)
    elif kernel == MULTISPIN:
        shared = _multispin_tables(MultispinTables, lattice, model, used, *_rule(schedule))
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
            metropolis = schedule.rule == "metropolis"
            yield ReferenceBatch(tables, task, sums[p], traces[p : p + 1], metropolis=metropolis)


def _species_batches(
    tables: SpeciesTables, tasks: Sequence[SpeciesTask], samples: Samples
) -> Iterator[Batch]:
    """The points of a block, one by one, under the kernel of any species."""
    traces = samples.traces()
    for p, task in enumerate(tasks):
        yield SpeciesBatch(tables, task, samples.of_point(p), traces[p : p + 1])


def _species_tasks(
    model: LatticeModel, lattice: Lattice, points: Points, seeds: Seeds, features: Sequence[str]
) -> list[SpeciesTask]:
    general = species_model(model)
    couplings = general.coefficients(points, features)
    numbers = general.numbers(points, lattice)
    return [
        SpeciesTask(
            seed, float(points["T"][p]), couplings[p], None if numbers is None else numbers[p]
        )
        for p, seed in enumerate(seeds)
    ]


@lru_cache(maxsize=2)
def _species_tables(
    model: LatticeModel, lattice: Lattice, used: frozenset[str], classes: ClassChoice
) -> SpeciesTables:
    """Cached from block to block, because tables of a large lattice take a second to make."""
    general = species_model(model)
    names = general.species(lattice)
    return SpeciesTables(
        lattice,
        tuple(map(len, names)),
        _interactions(model, lattice, used),
        classes_for(lattice, names, classes),
        tuple(general.spins(len(own)) for own in names),
        general.pools(lattice),
        neighbors_only=isinstance(model, ClusterExpansion) and model.exchange == "neighbors",
    )


@lru_cache(maxsize=2)
def _expansion_tables(
    model: LatticeModel,
    lattice: Lattice,
    used: frozenset[str],
    classes: ClassChoice,
    demon_period: int,
) -> ExpansionTables:
    tables = _species_tables(model, lattice, used, classes)
    acting = model.acting(used, features_of(tables.interactions))
    return ExpansionTables(tables, acting, model.move != "exchange", demon_period)


def _rule(schedule: Schedule) -> tuple[Rule, int, int]:
    """What decides about the rule of a point."""
    return schedule.rule, schedule.demon_period, schedule.stride_mcs


@lru_cache(maxsize=2)
def _multispin_tables(
    kind: type[T],
    lattice: Lattice,
    model: Model,
    used: frozenset[str],
    *rule: Any,
) -> T:
    """Cached from block to block, because tables of a large lattice take a second to make."""
    orbits = model.orbits(lattice, used)
    return kind(lattice, orbits, model.acting(used, features_of(orbits)), *rule)


def kernel_of(
    model: LatticeModel,
    lattice: Lattice,
    used: frozenset[str],
    schedule: Schedule = DEMONS,
    classes: ClassChoice = USUAL,
) -> str:
    """The fastest kernel that supports the model under a schedule; by default one with demons.

    Raises
    ------
    RequestError
        If cluster updates or random bonds are asked for on a lattice, or with configurations, that
        they do not support.
    """
    update = schedule.update
    if not isinstance(model, Model) or not is_usual(model, lattice, classes):
        asked = {"cluster updates": update == "cluster", "random bonds": has_random_bonds(model)}
        for what, wanted in asked.items():
            if wanted:
                raise RequestError(
                    f"{what} need a usual lattice, model and configurations",
                    came=f"{model.kind} on {lattice!r}, classes = {classes.spec}",
                    allowed=f"Ising models on periodic lattices: {' | '.join(PAIR_ANGLES)}",
                    hint='update = "local", without random bonds',
                )
        period = schedule.demon_period
        far_apart = schedule.rule == "auto" and schedule.stride_mcs >= period
        if not (far_apart or schedule.rule == "demon"):
            return SPECIES
        tables = _expansion_tables(model, lattice, used, classes, period)
        return MULTISPIN if tables.fits else SPECIES
    if update == "cluster":
        return CLUSTER
    orbits = model.orbits(lattice, used)
    if model.bond_disorder is not None and not model.bond_disorder.of_one_size:
        return MULTISPIN if fits_site_tables(model, orbits, lattice.sites) else REFERENCE
    return MULTISPIN if fits_multispin(model, lattice, orbits) else REFERENCE


def is_usual(model: LatticeModel, lattice: Lattice, classes: ClassChoice) -> TypeGuard[Model]:
    """Whether a model, its lattice and its classes have kernels of their own."""
    plain = lattice.plain and lattice.kind in PAIR_ANGLES
    return isinstance(model, Model) and plain and classes == USUAL


def supported_kernels(
    model: LatticeModel, lattice: Lattice, classes: ClassChoice, fastest: str
) -> tuple[str, ...]:
    """The kernels that support a model, the fastest first."""
    if fastest != MULTISPIN:
        return (fastest,)
    reference = (REFERENCE,) if is_usual(model, lattice, classes) else ()
    return (MULTISPIN, *reference, *[SPECIES] * (not has_random_bonds(model)))


def has_random_bonds(model: LatticeModel) -> bool:
    """Whether the bonds of a model are drawn at random."""
    return isinstance(model, Model) and model.bond_disorder is not None


def species_model(model: LatticeModel) -> SpeciesModel:
    """The model as the kernel of any species reads it."""
    return BinaryModel(model) if isinstance(model, Model) else model


@lru_cache(maxsize=2)
def _interactions(
    model: LatticeModel, lattice: Lattice, used: frozenset[str]
) -> tuple[Interaction, ...]:
    """Cached, because names, tables and the choice of the kernel all need them."""
    return tuple(species_model(model).interactions(lattice, used))


def features_on(model: LatticeModel, lattice: Lattice, used: frozenset[str]) -> tuple[str, ...]:
    """Names of a model's features on a lattice."""
    if isinstance(model, Model):
        return features_of(model.orbits(lattice, used))
    return features_of(_interactions(model, lattice, used))


def planes_of(model: LatticeModel, lattice: Lattice) -> int:
    """Bits that hold the species of a site."""
    return bits_of(max(map(len, species_model(model).species(lattice))))


def check_rule(kernel: str, model: LatticeModel, lattice: Lattice, schedule: Schedule) -> None:
    """Raise a RequestError if a schedule asks for a rule, or for a period of demons, that the model
    or the lattice does not support."""
    if schedule.rule == "metropolis" and kernel == SPECIES and model.move == "single_flip":
        raise RequestError(
            "the kernel of any species decides flips by heat bath only",
            came='rule = "metropolis"',
            allowed='rule = "auto" | "heat_bath"',
            hint='rule = "auto"',
        )
    # Without demons, or with "auto" and the default period, nothing is asked for.
    if "demon_period" not in schedule.table:
        return
    if schedule.rule == "demon" and (kernel != MULTISPIN or has_random_bonds(model)):
        raise RequestError(
            "this model cannot have demons",
            came=f'rule = "demon" with the {kernel} kernel'
            + (" and random bonds" if has_random_bonds(model) else ""),
            allowed="the multispin kernel, without random bonds",
            hint='rule = "auto"',
        )
    if schedule.demon_period > lattice.sites:
        raise RequestError(
            "a demon cannot visit more sites than the lattice has",
            came=f"demon_period = {schedule.demon_period}",
            allowed=f"1 to {lattice.sites}",
            hint=f"demon_period = {min(8, lattice.sites)}",
        )


def check_keep(keep: Sequence[str]) -> None:
    """Raise a RequestError for kept samples of random bonds: their features are sums of numbers
    with 20 binary places, which do not fit into the 32 bits of a kept sample."""
    if SAMPLES in keep:
        raise RequestError(
            f'a model with random bonds cannot keep "{SAMPLES}"',
            hint=f'keep = ["{SPINS}"] in [sweep]',
        )


def parameters_used(model: LatticeModel, swept: Mapping[str, object]) -> frozenset[str]:
    """The parameters that are swept, or fixed and not zero."""
    return frozenset(swept) | {name for name, value in model.fixed_parameters.items() if value}


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


@dataclass(frozen=True)
class LatticeKernel(ModelKernel):
    """A model on a lattice under a schedule, as the kernel of a sweep.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate.
    swept
        Names of the parameters that a sweep varies.
    keep
        What to return in addition to the averages: ``"samples"``, ``"spins"``.
    classes
        Which configurations are counted.

    Raises
    ------
    RequestError
        If a swept name is unknown or also fixed, or a parameter is missing; if the lattice is too
        small for the model; or if ``keep`` has an unknown word, or needs more bytes for one point
        than a store supports.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> kernel = LatticeKernel(square(4), Ising(), Schedule(10, 5, 2), swept=("T",))
    >>> seeds = np.zeros((1, 4), np.uint64)
    >>> kernel.compute({"T": np.array([2.0])}, seeds)["histogram"].shape
    (1, 12)
    """

    model: LatticeModel

    keepable: ClassVar[tuple[str, ...]] = KEEP

    def __post_init__(self) -> None:
        _ = self.lattice.geometry  # raises for a slab
        super().__post_init__()
        if has_random_bonds(self.model):
            check_keep(self.keep)
        if isinstance(self.model, ClusterExpansion) and self.model.exchange == "neighbors":
            # Raises if such exchanges do not reach every arrangement.
            _ = _species_tables(self.model, self.lattice, self.used, self.classes).pairs
        sizes = self.sizes  # raises for couplings that do not fit the lattice
        for variable in (v for word in self.keep for v in KEPT[word]):
            numbers = np.prod([sizes[dim] for dim in variable.dims], dtype=object)
            size = int(numbers) * np.dtype(variable.dtype).itemsize
            if size > MOST_KEPT_BYTES:
                raise RequestError(
                    f"{variable.name} needs {size / 2**20:.0f} MiB for each point",
                    allowed=f"up to {MOST_KEPT_BYTES // 2**20} MiB",
                    hint=f"fewer than {self.schedule.samples} samples, with a longer stride_mcs",
                )
        if "T" not in self.swept:
            self._check_ladder(1)
        check_rule(self.name, self.model, self.lattice, self.schedule)

    @property
    def used(self) -> frozenset[str]:
        """The parameters that are swept, or fixed and not zero."""
        return parameters_used(self.model, dict.fromkeys(self.swept))

    @cached_property
    def orbits(self) -> list[Orbit]:
        """The model's orbits on this lattice; none of a model of any species."""
        model = self.model
        return model.orbits(self.lattice, self.used) if isinstance(model, Model) else []

    @cached_property
    def configurations(self) -> Configurations | SiteClasses:
        """The classes that are counted."""
        species = species_model(self.model).species(self.lattice)
        return classes_for(self.lattice, species, self.classes)

    @property
    def name(self) -> str:
        """The name of the kernel in digests: ``lanes`` for the multispin kernel, ``reference``
        where the multispin kernel does not support the model, ``swendsen_wang`` for cluster
        updates, ``species`` for any species, lattice and configurations besides."""
        return self._name

    @cached_property
    def _name(self) -> str:
        return kernel_of(self.model, self.lattice, self.used, self.schedule, self.classes)

    @property
    def rule(self) -> str:
        """How moves are decided, in words."""
        if self.name == CLUSTER:
            return "Swendsen–Wang"
        exchange = self.model.move == "exchange"
        flips = "Metropolis" if self.schedule.rule == "metropolis" else "heat bath"
        plain = "Metropolis filter" if exchange else flips
        model, demons = self.model, f"demons of period {self.schedule.demon_period}"
        if self.name == MULTISPIN and not is_usual(model, self.lattice, self.classes):
            return demons
        if self.name != MULTISPIN or has_random_bonds(model) or not isinstance(model, Model):
            many = planes_of(model, self.lattice) > 1
            return "Barker's rule" if many and not exchange else plain
        tables = self._tables(model)
        if tables.demons_pay(exchange=exchange, field=tables.field):
            return demons
        if tables.rule == "auto" and not exchange:
            plain = "Metropolis or heat bath"
        without = tables.demons_pay(exchange=exchange, field=False)
        return f"{demons} without a field, {plain} with one" if without else plain

    def _tables(self, model: Model) -> MultispinTables:
        acting = model.acting(self.used, self.features)
        return MultispinTables(self.lattice, self.orbits, acting, *_rule(self.schedule))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that points may choose; ``"auto"`` first if they choose by their values."""
        model, rule = self.model, self.schedule.rule
        if not isinstance(model, Model) or has_random_bonds(model):
            return (rule,)
        if rule != "auto" or self.name != MULTISPIN or model.move == "exchange":
            return (rule,)
        if not is_usual(model, self.lattice, self.classes):
            return (rule,)  # with demons
        tables = self._tables(model)
        demons = tables.demons_pay(exchange=False, field=tables.field)
        return (rule,) if demons else (rule, "heat_bath", "metropolis")

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes of the Dataset that describe the kernel."""
        classes = self.configurations
        general = {"classes": classes.text} if isinstance(classes, SiteClasses) else {}
        return {**super().attrs, "rule": self.rule, **general}

    @property
    def version(self) -> int:
        """Raised whenever the same seed gives other bits."""
        return KERNEL_VERSIONS[self.name]

    @property
    def nominal_rate(self) -> float:
        """A cautious estimate of the updates per second of one core."""
        return {MULTISPIN: 2e9, SPECIES: 5e7}.get(self.name, 2e7)

    @property
    def batch_size(self) -> int:
        """Number of points that are computed together in the time of one."""
        return WORDS if self.name == MULTISPIN else 1

    @property
    def uncut_axes(self) -> tuple[str, ...]:
        """The axis of the ladders of parallel tempering, whose points need each other."""
        return ("T",) if self.schedule.tempering_mcs else ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model's features on this lattice."""
        return self._features

    @cached_property
    def _features(self) -> tuple[str, ...]:
        return features_on(self.model, self.lattice, self.used)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension besides the axes."""
        return {
            "replica": REPLICAS,
            "configuration": len(self.configurations),
            "moment": len(MOMENTS),
            "feature": len(self.features),
            **{name: len(values) for name, values in self._composition_coordinates.items()},
            **self.kept_sizes,
        }

    @property
    def restart_words(self) -> int:
        """Words of the restart of a point."""
        sums = len(self.features) * (1 + MOST_CHECKPOINTS) + len(MOMENTS)
        sums += len(self.configurations)
        generators = 4 * REPLICAS
        if self.name == MULTISPIN:
            usual = is_usual(self.model, self.lattice, self.classes)
            generators = 4 if self.model.move == "single_flip" and usual else 8
        if self.name == SPECIES:
            # The shared generator, and the other bits of the species.
            generators += 4 + (planes_of(self.model, self.lattice) - 1) * self.lattice.sites
        swaps = 1 + REPLICAS + 4 * REPLICAS if self.schedule.tempering_mcs else 0
        return len(Progress._fields) + self.lattice.sites + generators + REPLICAS * sums + swaps

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that :meth:`compute` returns."""
        dims = self.composition_dims
        own = replace(COMPOSITION_BY_SPECIES, dims=dims) if dims else None
        counts = [(own or v) if v.name == "composition" else v for v in COUNTS]
        counts = [v for v in counts if v.name != "composition" or dims is not None]
        estimates = (*ESTIMATES, *[TEMPERING] * bool(self.schedule.tempering_mcs))
        errors = (v for e in estimates for v in (e, e.error))
        chosen = (*errors, *EQUILIBRATION, *counts, *self.kept_variables)
        return tuple(v.in_units(self.model.energy_units) for v in chosen)

    @property
    def composition_dims(self) -> tuple[str, ...] | None:
        """Dimensions of a point's conserved composition; none of one fraction of species 1."""
        if isinstance(self.model, ClusterExpansion):
            return self.model.composition_dims
        conserved = self.model.move == "exchange" and any(
            parameter.name == "x" for parameter in self.model.parameters
        )
        return () if conserved else None

    @property
    def _composition_coordinates(self) -> dict[str, tuple[str, ...]]:
        if not self.composition_dims or not isinstance(self.model, ClusterExpansion):
            return {}
        every = {
            "sublattice": self.lattice.geometry.sublattice_names,
            "species": self.model.every_species,
        }
        return {name: every[name] for name in self.composition_dims}

    @property
    def kept_variables(self) -> tuple[Variable, ...]:
        """The variables that are returned in addition to the averages."""
        if planes_of(self.model, self.lattice) == 1:
            return super().kept_variables
        return tuple(BIT_PLANES if v.name == SPINS else v for v in super().kept_variables)

    @property
    def kept_sizes(self) -> dict[str, int]:
        """Length of the dimensions that only what is kept has."""
        planes, sizes = planes_of(self.model, self.lattice), super().kept_sizes
        return sizes | ({"bit": planes} if planes > 1 and SPINS in self.keep else {})

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes: (dimension, values, attributes)."""
        classes = self.configurations
        dimensions = described(
            {
                "replica": (np.arange(REPLICAS), "independent replica"),
                "configuration": (
                    np.arange(len(classes)),
                    f"{self.lattice.kind} configuration class",
                ),
                "moment": (np.array(MOMENTS), "moment per site"),
                "feature": (np.array(self.features), "integer feature of the model"),
                "sample": (np.arange(self.schedule.samples), "measurement"),
                "bit": (
                    np.arange(planes_of(self.model, self.lattice)),
                    "binary digit of a species' number",
                ),
                **{
                    name: (np.array(values), name)
                    for name, values in self._composition_coordinates.items()
                },
                "site": (np.arange(self.lattice.sites), f"site of the {self.lattice.kind} lattice"),
            }
        )
        return {
            **{name: entry for name, entry in dimensions.items() if name in self.sizes},
            **{
                name: ("configuration", values, {"long_name": text})
                for name, (values, text) in classes.descriptors.items()
            },
        }

    def check(self, axes: Axes) -> None:
        """Raise a RequestError for axis values that the kernel does not support."""
        super().check(axes)
        self._check_ladder(len(axes.get("T", [])))
        if isinstance(self.model, ClusterExpansion):
            # Fractions of several axes must not add up to more than 1.
            self.model.numbers(corners(self.model, axes), self.lattice)
        if self.name == CLUSTER and isinstance(self.model, Model):
            check_clusters(self.model, self.orbits, corners(self.model, axes))

    def _check_ladder(self, temperatures: int) -> None:
        if self.schedule.tempering_mcs and temperatures < 2:
            raise RequestError(
                "parallel tempering needs at least two temperatures",
                came=f"tempering_mcs = {self.schedule.tempering_mcs} and one temperature",
                allowed="an axis T of two or more values in [grid]",
                hint="T = { start = 1.5, stop = 3.5, num = 21 } in [grid]",
            )

    def updates(self, points: int) -> int:
        """Number of attempted flips or exchanges in ``points`` points."""
        return points * REPLICAS * self.lattice.sites * self.schedule.total_mcs

    def simulate(
        self,
        points: Axes,
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
        earlier: Earlier | None = None,
    ) -> dict[str, np.ndarray]:
        """Compute every variable at points that are equally far."""
        full = complete(self.model, points, len(seeds))
        samples = sample(
            self.model,
            self.lattice,
            points,
            self.schedule,
            seeds,
            keep=self.keep,
            classes=self.classes,
            cancel_check=cancel_check,
            earlier=earlier,
        )
        results = observe(samples, self.model.coefficients(full, samples.features), full["T"])
        results |= samples.kept
        if samples.restart is not None:
            results["restart"] = samples.restart
        numbers = species_model(self.model).numbers(full, self.lattice)
        if numbers is not None and isinstance(self.model, ClusterExpansion):
            results["composition"] = self.model.composition(numbers, self.lattice)
        elif numbers is not None:
            results["composition"] = numbers[:, 0, 1] / numbers[:, 0].sum(axis=-1)
        return {v.name: results[v.name] for v in self.variables}
