"""A lattice model as a kernel of a sweep: what it yields, and "compute these points"."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from physics.compiled import one_compiles
from physics.configurations import configurations
from physics.errors import RequestError
from physics.lattices import Lattice
from physics.models import REPLICAS, Model, Orbit, features_of
from physics.observables import observe
from physics.reference import MOMENTS
from physics.sampler import (
    KERNEL_VERSIONS,
    LANES,
    Schedule,
    Seeds,
    complete,
    kernel_of,
    parameters_used,
    sample,
)
from physics.simd import WORDS
from physics.variables import COUNTS, ESTIMATES, Variable

Coordinates = dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]]


@dataclass(frozen=True)
class Simulation:
    """A model on a lattice under a schedule, ready to compute points of a sweep.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate.
    swept
        Names of the parameters that a sweep varies.

    Raises
    ------
    RequestError
        If a swept name is no parameter, is fixed as well, or a parameter is missing; or if the
        lattice is too small for the model.

    Examples
    --------
    >>> from physics import Ising, square
    >>> simulation = Simulation(square(4), Ising(), Schedule(10, 5, 2), swept=("T",))
    >>> seeds = np.zeros((1, 4), np.uint64)
    >>> simulation.compute({"T": np.array([2.0])}, seeds)["histogram"].shape
    (1, 12)
    """

    lattice: Lattice
    model: Model
    schedule: Schedule
    swept: tuple[str, ...]

    def __post_init__(self) -> None:
        fixed = self.model.fixed(self.swept)
        self.model.check(self.lattice, {name: np.array([v]) for name, v in fixed.items()})
        _ = self.features

    @cached_property
    def orbits(self) -> list[Orbit]:
        """The model's orbits on this lattice."""
        used = parameters_used(self.model, dict.fromkeys(self.swept))
        return self.model.orbits(self.lattice, used)

    @property
    def name(self) -> str:
        """The kernel: ``lanes``, or ``reference`` where the lanes cannot express the model."""
        return kernel_of(self.model, self.orbits)

    @property
    def version(self) -> int:
        """Raised whenever the same seed gives other bits."""
        return KERNEL_VERSIONS[self.name]

    @property
    def nominal_rate(self) -> float:
        """Updates per second of one core, cautiously: to cut blocks of a sensible length."""
        return 2e9 if self.name == LANES else 2e7

    @property
    def group(self) -> int:
        """Points that are computed together at the price of one."""
        return WORDS if self.name == LANES else 1

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
        }

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that :meth:`compute` yields."""
        conserved = self.model.move == "exchange"
        counts = (v for v in COUNTS if conserved or v.name != "composition")
        chosen = (*(v for e in ESTIMATES for v in (e, e.error)), *counts)
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
        }
        return {
            **{name: (name, v, {"long_name": told}) for name, (v, told) in dimension.items()},
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
                checked = np.array([self.model.parameter(name).check(float(v)) for v in values])
                self.model.check(self.lattice, {name: checked})
            except RequestError as error:
                raise error.within(f"grid.{name}") from None

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a point's result besides its coordinates and seed."""
        fixed = sorted(self.model.fixed(self.swept).items())
        return {
            "kernel.name": self.name,
            "kernel.version": self.version,
            "lattice.kind": self.lattice.kind,
            "lattice.size": self.lattice.size,
            "model.kind": self.model.kind,
            **{f"model.{name}": value for name, value in fixed},
            **{f"schedule.{name}": value for name, value in asdict(self.schedule).items()},
        }

    def parameters(self, axes: Mapping[str, float]) -> dict[str, float]:
        """Every parameter of the point with these coordinates."""
        return {**self.model.fixed(self.swept), **axes}

    def shortened(self, mcs: int) -> "Simulation":
        """The same simulation for about so many Monte Carlo steps, to measure its speed."""
        stride = self.schedule.stride_mcs
        samples = max(2, min(self.schedule.samples, mcs // stride))
        return replace(self, schedule=Schedule(0, samples, min(stride, max(1, mcs // samples))))

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
        short, seeds = self.shortened(1), np.zeros((1, 4), np.uint64)
        with one_compiles():
            for point in product(*([v for v in kind if len(v)] for kind in kinds)):
                short.compute(dict(zip(axes, point, strict=True)), seeds)

    def updates(self, points: int) -> int:
        """Attempted flips or swaps in so many points."""
        return points * REPLICAS * self.lattice.sites * self.schedule.total_mcs

    def compute(
        self, points: Mapping[str, npt.NDArray[np.float64]], seeds: Seeds
    ) -> dict[str, np.ndarray]:
        """Every variable at the given points, points first.

        Parameters
        ----------
        points
            Swept parameters by name, (points,) each.
        seeds
            (points, 4) uint64.
        """
        full = complete(self.model, points, len(seeds))
        samples = sample(self.model, self.lattice, points, self.schedule, seeds)
        found = observe(samples, self.model.couplings(full, samples.features), full["T"])
        ones = self.model.ones(full, self.lattice)
        if ones is not None:
            found["composition"] = ones / self.lattice.sites
        return found
