"""A lattice model as a kernel of a sweep: what it yields, and "compute these points"."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import one_compiles
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.reference import MOMENTS
from latticescape.physics.kernels.sampler import (
    CLUSTER,
    KERNEL_VERSIONS,
    LANES,
    Seeds,
    check_kept,
    complete,
    kernel_of,
    parameters_used,
    sample,
)
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.kernels.swendsen_wang import check_clusters
from latticescape.physics.kernels.traces import KEEP, kept
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import REPLICAS, Model, Orbit, features_of
from latticescape.physics.observables import observe
from latticescape.physics.variables import (
    COUNTS,
    ESTIMATES,
    KEPT,
    SAMPLES,
    SPINS,
    TEMPERING,
    Variable,
)

# Of one variable at one point: eight points, the fewest of a block, are a chunk below 2 GiB.
MOST_KEPT_BYTES = 2**27

Coordinates = dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]]


@dataclass(frozen=True)
class LatticeKernel:
    """A model on a lattice under a schedule, ready to compute points of a sweep.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate.
    swept
        Names of the parameters that a sweep varies.
    keep
        What to yield besides the averages: ``"samples"``, ``"spins"``.

    Raises
    ------
    RequestError
        If a swept name is no parameter, is fixed as well, or a parameter is missing; if the
        lattice is too small for the model; or if ``keep`` has an unknown word, or asks for more of
        a point than a store can hold.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> simulation = LatticeKernel(square(4), Ising(), Schedule(10, 5, 2), swept=("T",))
    >>> seeds = np.zeros((1, 4), np.uint64)
    >>> simulation.compute({"T": np.array([2.0])}, seeds)["histogram"].shape
    (1, 12)
    """

    lattice: Lattice
    model: Model
    schedule: Schedule
    swept: tuple[str, ...]
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", kept(self.keep))
        _ = self.lattice.geometry  # a slab says that it has none
        self._check_kept()
        fixed = self.model.fixed(self.swept)
        self.model.check(self.lattice, {name: np.array([v]) for name, v in fixed.items()})
        _ = self.features
        if "T" not in self.swept:
            self._check_ladder(1)

    @cached_property
    def orbits(self) -> list[Orbit]:
        """The model's orbits on this lattice."""
        used = parameters_used(self.model, dict.fromkeys(self.swept))
        return self.model.orbits(self.lattice, used)

    @property
    def name(self) -> str:
        """The kernel: ``lanes``, ``reference`` where the lanes cannot express the model, or
        ``swendsen_wang`` for cluster updates."""
        return kernel_of(self.model, self.lattice, self.orbits, self.schedule.update)

    @property
    def version(self) -> int:
        """Raised whenever the same seed gives other bits."""
        return KERNEL_VERSIONS[self.name]

    @property
    def nominal_rate(self) -> float:
        """Updates per second of one core, cautiously: to cut blocks of a sensible length."""
        return 2e9 if self.name == LANES else 2e7

    @property
    def keepable(self) -> tuple[str, ...]:
        """What may be asked of it in ``keep``."""
        return KEEP

    @property
    def group(self) -> int:
        """Points that are computed together at the price of one."""
        return WORDS if self.name == LANES else 1

    @property
    def whole(self) -> tuple[str, ...]:
        """Axes whose points need each other: those of parallel tempering's ladders."""
        return ("T",) if self.schedule.tempering_mcs else ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model's features on this lattice."""
        return features_of(self.orbits)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension besides the axes."""
        return {
            "replica": REPLICAS,
            "configuration": len(configurations(self.lattice.kind)),
            "moment": len(MOMENTS),
            "feature": len(self.features),
            **{dim: size for word, (dim, size) in self._kept_dims.items() if word in self.keep},
        }

    @property
    def _kept_dims(self) -> dict[str, tuple[str, int]]:
        """The dimension that each kept thing brings, and its length."""
        return {SAMPLES: ("sample", self.schedule.samples), SPINS: ("site", self.lattice.sites)}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that :meth:`compute` yields."""
        conserved = self.model.move == "exchange"
        counts = (v for v in COUNTS if conserved or v.name != "composition")
        estimates = (*ESTIMATES, *[TEMPERING] * bool(self.schedule.tempering_mcs))
        kept_too = (v for word in self.keep for v in KEPT[word])
        chosen = (*(v for e in estimates for v in (e, e.error)), *counts, *kept_too)
        return tuple(v.in_units(self.model.energy_units) for v in chosen)

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes: (dimension, values, attributes)."""
        classes = configurations(self.lattice.kind)
        dimension = {
            "replica": (np.arange(REPLICAS), "independent replica"),
            "configuration": (np.arange(len(classes)), f"{self.lattice.kind} configuration class"),
            "moment": (np.array(MOMENTS), "moment per site"),
            "feature": (np.array(self.features), "integer feature of the model"),
            "sample": (np.arange(self.schedule.samples), "measurement"),
            "site": (np.arange(self.lattice.sites), f"site of the {self.lattice.kind} lattice"),
        }
        return {
            **{
                name: (name, values, {"long_name": told})
                for name, (values, told) in dimension.items()
                if name in self.sizes
            },
            **{
                name: ("configuration", values, {"long_name": told})
                for name, (values, told) in classes.descriptors.items()
            },
        }

    @property
    def attrs(self) -> dict[str, str]:
        """What a reader of the Dataset needs to know of the kernel."""
        return {"lattice": self.lattice.kind, "model": self.model.kind}

    def axis_attrs(self, name: str) -> dict[str, str]:
        """Meaning and unit of a swept parameter."""
        parameter = self.model.parameter(name)
        return {"long_name": parameter.meaning, "units": parameter.units}

    def check(self, axes: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Refuse axis values that the model cannot take, before anything is computed."""
        for name, values in axes.items():
            try:
                self.model.parameter(name).check_all(values)
                self.model.check(self.lattice, {name: values})
            except RequestError as error:
                raise error.within(f"grid.{name}") from None
        self._check_ladder(len(axes.get("T", [])))
        if self.name == CLUSTER:
            ends = corners(axes)
            number = len(next(iter(ends.values()), [0]))
            check_clusters(self.model, self.orbits, complete(self.model, ends, number))

    def _check_kept(self) -> None:
        if self.model.drawn is not None:
            check_kept(self.keep)
        sizes = self.sizes
        for variable in (v for word in self.keep for v in KEPT[word]):
            numbers = np.prod([sizes[dim] for dim in variable.dims], dtype=object)
            size = int(numbers) * np.dtype(variable.dtype).itemsize
            if size > MOST_KEPT_BYTES:
                raise RequestError(
                    f"{variable.name} takes too much of a store",
                    came=f"{size / 2**20:.0f} MiB a point",
                    allowed=f"up to {MOST_KEPT_BYTES // 2**20} MiB",
                    hint=f"fewer samples of a longer stride, not {self.schedule.samples}",
                )

    def _check_ladder(self, temperatures: int) -> None:
        if self.schedule.tempering_mcs and temperatures < 2:
            raise RequestError(
                "parallel tempering trades between temperatures",
                came=f"tempering_mcs = {self.schedule.tempering_mcs} and one temperature",
                allowed="an axis T of two or more in [grid]",
                hint="T = { start = 1.5, stop = 3.5, num = 21 }",
            )

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a point's result besides its coordinates and seed."""
        fixed = sorted(self.model.fixed(self.swept).items())
        return {
            "kernel.name": self.name,
            "kernel.version": self.version,
            **{f"lattice.{name}": value for name, value in self.lattice.table.items()},
            "model.kind": self.model.kind,
            **{f"model.{name}": value for name, value in fixed},
            **{f"model.{name}": value for name, value in self.model.structure.items()},
            **{f"schedule.{name}": value for name, value in asdict(self.schedule).items()},
            **({"sweep.keep": list(self.keep)} if self.keep else {}),
        }

    def parameters(self, axes: Mapping[str, float]) -> dict[str, float]:
        """Every parameter of the point with these coordinates."""
        return {**self.model.fixed(self.swept), **axes}

    def shortened(self, mcs: int) -> "LatticeKernel":
        """The same simulation for about so many Monte Carlo steps, to measure its speed."""
        stride = self.schedule.stride_mcs
        samples = max(2, min(self.schedule.samples, mcs // stride))
        shorter = replace(
            self.schedule,
            equilibration_mcs=0,
            samples=samples,
            stride_mcs=min(stride, max(1, mcs // samples)),
        )
        return replace(self, schedule=shorter)

    def warm_up(self, axes: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Compile, or load from the cache, all that :meth:`compute` calls on a grid.

        Computes two samples of a few points of it. A coupling of zero may ask for code of its own
        (without a field the lanes mirror their tables), so zeros of an axis are tried beside its
        other values, in all combinations of the axes.

        Parameters
        ----------
        axes
            The grid's values of each swept parameter.
        """
        kinds = [(values[values != 0][:1], values[values == 0][:1]) for values in axes.values()]
        short, ladder = self.shortened(1), 1 + bool(self.schedule.tempering_mcs)
        trading = replace(short.schedule, tempering_mcs=min(1, self.schedule.tempering_mcs))
        with one_compiles():
            for place in product(*([v for v in kind if len(v)] for kind in kinds)):
                point = {n: np.repeat(v, ladder) for n, v in zip(axes, place, strict=True)}
                if ladder > 1:
                    point["T"] = axes["T"][:ladder]
                seeds = np.zeros((ladder, 4), np.uint64)
                replace(short, schedule=trading).compute(point, seeds)

    def updates(self, points: int) -> int:
        """Attempted flips or swaps in so many points."""
        return points * REPLICAS * self.lattice.sites * self.schedule.total_mcs

    def compute(
        self,
        points: Mapping[str, npt.NDArray[np.float64]],
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
    ) -> dict[str, np.ndarray]:
        """Every variable at the given points, points first.

        Parameters
        ----------
        points
            Swept parameters by name, (points,) each.
        seeds
            (points, 4) uint64.
        watch
            Called every so many Monte Carlo steps; what it raises ends the computation.
        """
        full = complete(self.model, points, len(seeds))
        samples = sample(
            self.model,
            self.lattice,
            points,
            self.schedule,
            seeds,
            keep=self.keep,
            cancel_check=cancel_check,
        )
        found = observe(samples, self.model.coefficients(full, samples.features), full["T"])
        found |= samples.kept
        ones = self.model.ones(full, self.lattice)
        if ones is not None:
            found["composition"] = ones / self.lattice.sites
        return {variable.name: found[variable.name] for variable in self.variables}


def corners(axes: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, npt.NDArray[np.float64]]:
    """The grid's corners: couplings are linear in every parameter, so extreme at one of them."""
    ends = [np.array([values.min(), values.max()]) for values in axes.values()]
    grids = np.meshgrid(*ends, indexing="ij")
    return {name: grid.ravel() for name, grid in zip(axes, grids, strict=True)}
