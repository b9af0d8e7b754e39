"""The kernel protocol, all that sweeps know of a model, and what the kernels of models share.

``Schedule`` says how long to equilibrate, how often to measure, and with which updates.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import one_compiles
from latticescape.physics.errors import (
    CancelCheck,
    RequestError,
    checked_choice,
    checked_integer,
    never_cancelled,
)
from latticescape.physics.kernels.restart import BEGINNING, grouped, progress_of
from latticescape.physics.kernels.until import Until
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import USUAL, ClassChoice
from latticescape.physics.models.model import ParametricModel, Points
from latticescape.physics.variables import (
    KEPT,
    RESTART,
    SAMPLES,
    SPINS,
    UNTIL,
    Variable,
    checked_keep,
)

Seeds = npt.NDArray[np.uint64]
Axes = Mapping[str, npt.NDArray[np.float64]]
Earlier = Mapping[str, npt.NDArray[Any]]
Coordinates = dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]]


Update = Literal["local", "cluster"]
UPDATES: tuple[Update, ...] = ("local", "cluster")

Rule = Literal["auto", "heat_bath", "metropolis", "demon"]
RULES: tuple[Rule, ...] = ("auto", "heat_bath", "metropolis", "demon")

LOWEST = {
    "equilibration_mcs": 0,
    "samples": 2,
    "stride_mcs": 1,
    "tempering_mcs": 0,
    "demon_period": 1,
}
MOST = 10**9

# Monte Carlo steps between two attempts of a global flip.
GLOBAL_FLIP_MCS = 8


@dataclass(frozen=True)
class Schedule:
    """Measure ``samples`` times, every ``stride_mcs`` steps, after ``equilibration_mcs`` steps.

    One Monte Carlo step (MCS) is one attempted move per site.

    Parameters
    ----------
    equilibration_mcs, samples, stride_mcs
        Steps before the first stride, number of measurements, steps between two measurements.
    update
        ``"local"``: single flips or exchanges, depending on the model. ``"cluster"``: one
        Swendsen–Wang update of the whole lattice in each step, for Ising models without a field
        and without negative couplings.
    rule
        How a move is decided. ``"heat_bath"``: a spin is drawn anew from its equilibrium with its
        neighbours. ``"metropolis"``: a spin is flipped with probability min(1, exp(−ΔE/T)), except
        that one flip of 64 is not attempted, without which a sweep in a fixed order would not be
        ergodic. Exchanges have to pass a Metropolis filter with either of these. ``"demon"``: an
        account of energy, which is drawn anew every ``demon_period`` moves, has to pay for it
        (:mod:`latticescape.physics.kernels.multispin.accounts`). ``"auto"``, the default: each
        point has the rule that is expected to give the smallest errors in the same time. If
        ``stride_mcs`` is at least ``demon_period``, that is demons for exchanges, and for single
        flips without a field in a model with one coupling. Other flips follow Metropolis' rule
        in weak fields near the critical temperature, at 0.5 to 0.83 of the mean-field one, and the
        heat bath elsewhere and with random bonds. All rules sample the same distribution.
    demon_period
        Sites or bonds that a demon visits before its account is drawn anew, 1 or more. Default 8.
    tempering_mcs
        Parallel tempering: number of steps between attempts to swap the configurations of points
        that differ only in temperature (:class:`Ladder`). Default 0: never.
    until
        Targets for the errors, as a mapping of names to numbers, and ``max_samples``: every point
        has ``samples`` measurements at least, and goes on until it has reached all targets, see
        :class:`Until`. Points of one ladder end together.

    Examples
    --------
    >>> Schedule(equilibration_mcs=100, samples=50, stride_mcs=10).total_mcs
    600
    """

    equilibration_mcs: int
    samples: int
    stride_mcs: int
    update: Update = "local"
    tempering_mcs: int = 0
    until: Until | Mapping[str, float] | None = None
    rule: Rule = "auto"
    demon_period: int = 8

    def __post_init__(self) -> None:
        for name, low in LOWEST.items():
            value = checked_integer(
                getattr(self, name),
                low,
                MOST,
                f"schedule.{name} is out of range",
                allowed=f"a whole number from {low} to 10^9",
                hint=f"{name} = {max(low, 100)}",
            )
            object.__setattr__(self, name, value)
        checked_choice(
            self.update, UPDATES, "schedule.update is unknown", hint='update = "cluster"'
        )
        checked_choice(self.rule, RULES, "schedule.rule is unknown", hint='rule = "auto"')
        if self.rule in {"demon", "metropolis"} and self.update != "local":
            raise RequestError(
                f'rule = "{self.rule}" decides single flips and exchanges, not clusters',
                came=f'rule = "{self.rule}", update = "{self.update}"',
                allowed=f'rule = "{self.rule}" with update = "local"',
                hint='update = "local"',
            )
        if self.until is not None:
            until = Until.of(self.until)
            object.__setattr__(self, "until", until)
            if until.max_samples < self.samples:
                raise RequestError(
                    "schedule.until.max_samples is less than schedule.samples",
                    came=until.max_samples,
                    allowed=f"{self.samples} or more",
                    hint="a larger max_samples, or fewer samples",
                )

    @property
    def total_mcs(self) -> int:
        """Monte Carlo steps of one replica; at most, if they depend on the errors."""
        samples = self.samples if self.targets is None else self.targets.max_samples
        return self.equilibration_mcs + samples * self.stride_mcs

    @property
    def targets(self) -> Until | None:
        """When a point ends, if that depends on its errors."""
        return None if self.until is None else Until.of(self.until)

    @property
    def table(self) -> dict[str, Any]:
        """The table of a spec."""
        plain = self.rule == "auto" and self.demon_period == Schedule.demon_period
        demons = self.rule in {"auto", "demon"}
        unused = {"demon_period": plain or not demons, "rule": plain, "until": True}
        parts = {f.name: getattr(self, f.name) for f in fields(self) if not unused.get(f.name)}
        return parts if self.targets is None else {**parts, "until": self.targets.table}


class Kernel(Protocol):
    """A function of a point and a seed that declares the variables it returns."""

    @property
    def name(self) -> str:
        """Name of the kernel; part of the sweep's digest."""

    @property
    def version(self) -> int:
        """Raised whenever the same seed gives other bits; part of the sweep's digest."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a result besides coordinates and seed, flat."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length of every dimension besides the axes."""

    @property
    def variables(self) -> Sequence[Variable]:
        """The variables that :meth:`compute` returns."""

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes: (dimension, values, attributes)."""

    @property
    def attrs(self) -> Mapping[str, str]:
        """Attributes of the Dataset that describe the kernel."""

    def axis_attrs(self, name: str) -> dict[str, str]:
        """Meaning and unit of an axis."""

    def check(self, axes: Axes) -> None:
        """Raise a RequestError for axis values that the kernel does not support."""

    def parameters(self, axes: Mapping[str, float]) -> dict[str, float]:
        """All parameters of the point with these coordinates; its seed is made from them."""

    def updates(self, points: int) -> int:
        """Number of attempted updates in ``points`` points."""

    @property
    def nominal_rate(self) -> float:
        """A cautious estimate of the updates per second of one core, to choose the block size."""

    @property
    def uncut_axes(self) -> Sequence[str]:
        """Axes that no block may cut, because the points along them need each other."""

    @property
    def batch_size(self) -> int:
        """Number of points that are computed together in the time of one."""

    def shortened(self, mcs: int) -> Self:
        """The same kernel with a short schedule, to measure its speed."""

    def warm_up(self, axes: Axes) -> None:
        """Compile, or load from the cache, everything that :meth:`compute` calls for these axes;
        called once in every worker, before its first block."""

    def compute(
        self, points: Axes, seeds: Seeds, cancel_check: CancelCheck = never_cancelled
    ) -> dict[str, npt.NDArray[Any]]:
        """Compute every variable at some points, points first.

        A point's bits depend on its own coordinates and seed only. The points may be any subset in
        any order, for example when some points of a block have failed, but must be complete along
        the axes in :attr:`uncut_axes`. A computation of many seconds calls ``cancel_check``
        regularly and ends with any exception that it raises."""


@dataclass(frozen=True)
class ModelKernel(Kernel):
    """The part of the kernel protocol that is the same for all models.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate.
    swept
        Names of the parameters that a sweep varies.
    keep
        What to return in addition to the averages: ``"samples"``, ``"spins"``, ``"restart"``.
    classes
        Which configurations are counted.
    """

    lattice: Lattice
    model: ParametricModel
    schedule: Schedule
    swept: tuple[str, ...]
    keep: tuple[str, ...] = ()
    classes: ClassChoice = USUAL

    # What ``keep`` may contain.
    keepable: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", checked_keep(self.keep, tuple(KEPT)))
        if self.schedule.targets is not None:
            self.schedule.targets.check({v.name: v for v in self.variables})
            if SAMPLES in self.keep:
                raise RequestError(
                    'a sweep with schedule.until cannot keep "samples"',
                    came=f"keep = {[word for word in self.keep if word != RESTART]}",
                    allowed="points of one number of samples, or another keep",
                    hint='keep = ["spins"] in [sweep]',
                )
        fixed = self.model.fixed(self.swept)
        self.model.check(self.lattice, {name: np.array([v]) for name, v in fixed.items()})

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a point's result besides its coordinates and seed."""
        fixed = sorted(self.model.fixed(self.swept).items())
        words = [word for word in self.keep if word != RESTART]
        return {
            "kernel.name": self.name,
            "kernel.version": self.version,
            **{f"lattice.{name}": value for name, value in self.lattice.table.items()},
            "model.kind": self.model.kind,
            **{f"model.{name}": value for name, value in fixed},
            **{f"model.{name}": value for name, value in self.model.structure.items()},
            **{f"schedule.{name}": value for name, value in self.schedule.table.items()},
            **({"sweep.keep": words} if words else {}),
            **({"sweep.classes": self.classes.spec} if self.classes != USUAL else {}),
            **({} if RESTART in self.keep else {"sweep.extendable": False}),
        }

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes of the Dataset that describe the kernel."""
        return {"lattice": self.lattice.kind, "model": self.model.kind}

    def axis_attrs(self, name: str) -> dict[str, str]:
        """Meaning and unit of a swept parameter."""
        parameter = self.model.parameter(name)
        return {"long_name": parameter.meaning, "units": parameter.units}

    def check(self, axes: Axes) -> None:
        """Raise a RequestError for axis values that the model or the lattice does not allow."""
        for name, values in axes.items():
            try:
                self.model.parameter(name).check_all(values)
                self.model.check(self.lattice, {name: values})
            except RequestError as error:
                raise error.within(f"grid.{name}") from None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the schedule that are worth a warm-up."""
        return (self.schedule.rule,)

    @property
    def uncut_axes(self) -> tuple[str, ...]:
        """No axis: points do not need each other."""
        return ()

    @property
    def batch_size(self) -> int:
        """One: points are computed one by one."""
        return 1

    def parameters(self, axes: Mapping[str, float]) -> dict[str, float]:
        """Every parameter of the point with these coordinates."""
        return {**self.model.fixed(self.swept), **axes}

    def shortened(self, mcs: int) -> Self:
        """The same kernel for about ``mcs`` Monte Carlo steps, to measure its speed."""
        stride = self.schedule.stride_mcs
        samples = max(2, min(self.schedule.samples, mcs // stride))
        shorter = replace(
            self.schedule,
            until=None,
            equilibration_mcs=0,
            samples=samples,
            stride_mcs=min(stride, max(1, mcs // samples)),
        )
        if shorter.rule == "auto" and shorter.stride_mcs < shorter.demon_period <= stride:
            # Samples closer than the period would have another rule.
            shorter = replace(shorter, demon_period=shorter.stride_mcs)
        return replace(self, schedule=shorter)

    def compute(
        self,
        points: Axes,
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
        earlier: Earlier | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Compute every variable at some points, points first.

        Parameters
        ----------
        points
            Swept parameters by name, (points,) each.
        seeds
            (points, 4) uint64.
        cancel_check
            Called regularly; any exception that it raises ends the computation.
        earlier
            Variables of the same points under a shorter schedule, ``restart`` among them, points
            first: points go on from there, but begin anew where ``restart`` is 0. It changes no bit
            of the results.
        """
        if self.schedule.targets is not None:
            return self._compute_until(self.schedule.targets, points, seeds, cancel_check, earlier)
        groups = {} if earlier is None else grouped(earlier[RESTART])
        if earlier is None or (len(groups) > 1 and self.uncut_axes):
            return self.simulate(points, seeds, cancel_check)
        rows: list[dict[str, npt.NDArray[Any]]] = [
            self.simulate(
                {name: values[some] for name, values in points.items()},
                seeds[some],
                cancel_check,
                {name: values[some] for name, values in earlier.items()}
                if progress != BEGINNING
                else None,
            )
            for progress, some in groups.items()
        ]
        order = np.argsort(np.concatenate([*groups.values()]))
        return {n: np.concatenate([row[n] for row in rows])[order] for n in rows[0]}

    def _compute_until(
        self,
        until: Until,
        points: Axes,
        seeds: Seeds,
        cancel_check: CancelCheck,
        earlier: Earlier | None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Compute more and more samples of the points that have not reached their targets."""
        keep = tuple(dict.fromkeys((*self.keep, RESTART)))
        longest = replace(self.schedule, until=None, samples=until.max_samples)
        whole = replace(self, schedule=longest, keep=keep)
        shape = (len(seeds), whole.sizes["restart_word"])
        restarts = np.zeros(shape, np.uint64) if earlier is None else earlier[RESTART].copy()
        begun = [progress.towards(longest) for progress in progress_of(restarts)]
        samples = np.array([0 if progress is None else progress.samples for progress in begun])
        labels = np.arange(len(seeds))
        for number, ladder in enumerate(ladders_of(points) if self.uncut_axes else ()):
            labels[ladder] = number
        open_, results = np.ones(len(seeds), bool), dict[str, npt.NDArray[Any]]()
        for count in until.counts(self.schedule.samples):
            (some,) = np.nonzero(open_ & (samples <= count))
            if not len(some):
                continue
            part = replace(whole, schedule=replace(longest, samples=count)).compute(
                {name: values[some] for name, values in points.items()},
                seeds[some],
                cancel_check,
                {RESTART: restarts[some]},
            )
            restarts[some], samples[some] = part[RESTART], count
            met = until.met(part)
            # All points of a ladder go on until the last of them ends.
            ends = ~np.isin(labels[some], labels[some][~met]) | (count == until.max_samples)
            part |= {"samples": np.full(len(some), count), "until_met": met}
            for variable in self.variables:
                values = part[variable.name]
                kept = results.setdefault(
                    variable.name, np.empty((len(seeds), *values.shape[1:]), values.dtype)
                )
                kept[some[ends]] = values[ends]
            open_[some[ends]] = False
        return results

    @property
    def kept_variables(self) -> tuple[Variable, ...]:
        """The variables that are returned in addition to the averages."""
        ended = UNTIL if self.schedule.targets is not None else ()
        return (*(v for word in self.keep for v in KEPT[word]), *ended)

    @property
    def kept_sizes(self) -> dict[str, int]:
        """Length of the dimensions that only what is kept has."""
        sizes = {
            SAMPLES: ("sample", self.schedule.samples),
            SPINS: ("site", self.lattice.sites),
            RESTART: ("restart_word", self.restart_words),
        }
        return {dim: size for word, (dim, size) in sizes.items() if word in self.keep}

    @property
    @abstractmethod
    def restart_words(self) -> int:
        """Words of the restart of a point."""

    def steps(self, results: Earlier, earlier: Earlier | None = None) -> int:
        """Number of attempted updates that computed these results, without those that earlier
        results contain."""
        schedule, points = self.schedule, len(next(iter(results.values())))
        mcs = points * schedule.total_mcs
        if schedule.targets is not None:
            samples = int(results["samples"].sum())
            mcs = points * schedule.equilibration_mcs + samples * schedule.stride_mcs
        if earlier is not None:
            begun = [progress.towards(schedule) for progress in progress_of(earlier[RESTART])]
            mcs -= sum(progress.clock for progress in begun if progress is not None)
        return self.updates(1) * mcs // schedule.total_mcs

    @abstractmethod
    def simulate(
        self,
        points: Axes,
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
        earlier: Earlier | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Compute every variable at points that are equally far; see :meth:`compute`."""

    def warm_up(self, axes: Axes) -> None:
        """Compile, or load from the cache, everything that :meth:`compute` calls on a grid.

        Computes two samples of a few points. A coupling of zero may need other code (without a
        field the multispin kernel uses mirrored tables), so for every axis a zero and another value
        are tried, in all combinations of the axes.

        Parameters
        ----------
        axes
            The grid's values of each swept parameter.
        """
        kinds = [(values[values != 0][:1], values[values == 0][:1]) for values in axes.values()]
        short, ladder = self.shortened(1), 1 + bool(self.schedule.tempering_mcs)
        # As many steps as the first flip of all spins takes.
        tempered = replace(
            short.schedule,
            tempering_mcs=min(1, self.schedule.tempering_mcs),
            equilibration_mcs=min(GLOBAL_FLIP_MCS, self.schedule.total_mcs),
        )
        seeds = np.zeros((ladder, 4), np.uint64)
        with one_compiles():
            for values in product(*([v for v in kind if len(v)] for kind in kinds)):
                point = {n: np.repeat(v, ladder) for n, v in zip(axes, values, strict=True)}
                if ladder > 1:
                    point["T"] = axes["T"][:ladder]
                for rule in self.rules:
                    replace(short, schedule=replace(tempered, rule=rule)).compute(point, seeds)


def ladders_of(points: Axes) -> list[list[int]]:
    """Group points that differ in T only, coldest first; every point is in one ladder.

    Examples
    --------
    >>> ladders_of({"T": np.array([2.0, 1.0, 2.0]), "H": np.array([0.0, 0.0, 1.0])})
    [[1, 0], [2]]
    """
    ladders: dict[tuple[float, ...], list[int]] = {}
    for point in range(len(points["T"])):
        others = tuple(float(v[point]) for name, v in sorted(points.items()) if name != "T")
        ladders.setdefault(others, []).append(point)
    return [sorted(ladder, key=lambda p: float(points["T"][p])) for ladder in ladders.values()]


def described(values: Mapping[str, tuple[npt.NDArray[Any], str]]) -> Coordinates:
    """Coordinates of dimensions, each from its values and its long name."""
    return {name: (name, array, {"long_name": text}) for name, (array, text) in values.items()}


def complete(model: ParametricModel, points: Mapping[str, npt.ArrayLike], number: int) -> Points:
    """Every parameter at every point, (number,) each: swept, fixed, or default."""
    swept = {
        name: np.array([model.parameter(name).check(v) for v in np.atleast_1d(values)])
        for name, values in points.items()
    }
    for name, values in swept.items():
        if len(values) != number:
            raise RequestError(
                f"{name} must have one value per point", came=len(values), allowed=number
            )
    fixed = model.fixed(set(swept))
    return {
        p.name: swept[p.name] if p.name in swept else np.full(number, fixed[p.name])
        for p in model.parameters
        if p.name in swept or p.name in fixed
    }


def corners(model: ParametricModel, axes: Axes) -> Points:
    """All parameters at the corners of the grid: couplings are linear in every parameter, so that
    they are extreme at one of the corners."""
    ends = [np.array([values.min(), values.max()]) for values in axes.values()]
    grids = np.meshgrid(*ends, indexing="ij")
    points = {name: grid.ravel() for name, grid in zip(axes, grids, strict=True)}
    return complete(model, points, len(next(iter(points.values()), [0])))
