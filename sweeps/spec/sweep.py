"""``Sweep``: what to simulate, where, and for how long; frozen, checked, TOML both ways."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import tomlkit

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import Kernel, ModelKernel
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import ParametricModel
from latticescape.physics.registry import kernel_for
from latticescape.physics.variables import checked_keep
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.functions.source import Source
from latticescape.sweeps.spec.axis import Axis, AxisLike

MOST_POINTS = 10**7
FORMAT = 1


_KINDS: dict[str, tuple[type, str]] = {
    "lattice": (Lattice, "square(64)"),
    "model": (ParametricModel, "Ising()"),
    "grid": (Mapping, '{"T": [2.0, 2.5]}'),
    "schedule": (Schedule, "Schedule(2000, 500, 10)"),
    "kernel": (FunctionKernel, "energy, with @kernel(…) above def energy(T): …"),
}

Grid = Mapping[str, AxisLike]


@dataclass(frozen=True, eq=False, init=False)
class Sweep:
    """A lattice model, or a function of one's own, over a grid of parameters.

    Parameters
    ----------
    lattice, model, schedule
        What is simulated at every point; or
    kernel
        a function of the user's own that is computed there, see :func:`latticescape.kernel`.
    grid
        The swept parameters in order: each a list or array of values, or a mapping with start,
        stop and num. They become the dimensions of the Dataset.
    seed
        0 to 2^63 − 1. A point's random numbers depend on it and on the point's own parameters.
    keep
        What to store besides the averages. ``"samples"``: features and configurations of every
        measurement, for :func:`latticescape.reweight`; ``"spins"``: the last spins of all replicas.
        Changes no bit of the averages.

    Raises
    ------
    RequestError
        If anything in it cannot be computed; nothing is spent before.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5], "H": [0.0]}, Schedule(10, 5, 2), seed=1)
    >>> sweep.shape, sweep.digest == Sweep.from_toml(sweep.to_toml()).digest
    ((2, 1), True)
    """

    kernel: Kernel
    grid: Mapping[str, Axis]
    seed: int

    @overload
    def __init__(
        self,
        lattice: Lattice,
        model: ParametricModel,
        grid: Grid,
        schedule: Schedule,
        seed: int = 0,
        *,
        keep: Sequence[str] = (),
    ) -> None: ...

    @overload
    def __init__(self, *, kernel: FunctionKernel, grid: Grid, seed: int = 0) -> None: ...

    def __init__(
        self,
        lattice: Lattice | None = None,
        model: ParametricModel | None = None,
        grid: Grid | None = None,
        schedule: Schedule | None = None,
        seed: int = 0,
        *,
        kernel: FunctionKernel | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        axes = _axes(_checked("grid", grid))
        object.__setattr__(self, "grid", MappingProxyType(axes))
        object.__setattr__(self, "seed", _checked_seed(seed))
        if self.points > MOST_POINTS:
            raise RequestError(
                "the grid has too many points",
                came=self.points,
                allowed=f"up to {MOST_POINTS}",
                hint="a coarser grid, or several sweeps",
            )
        parts = {"lattice": lattice, "model": model, "schedule": schedule}
        object.__setattr__(self, "kernel", _kernel(kernel, parts, tuple(axes), keep))
        self.kernel.check(self.axes)

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.kernel, FunctionKernel):
            return _of_kernel, (self.kernel, dict(self.grid), self.seed)
        parts = (self.lattice, self.model, dict(self.grid), self.schedule, self.seed, self.keep)
        return _of_model, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def lattice(self) -> Lattice:
        """The lattice; a sweep of a function has none, no model, and no schedule."""
        return self._simulation.lattice

    @property
    def model(self) -> ParametricModel:
        """The model."""
        return self._simulation.model

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        return self._simulation.schedule

    @property
    def keep(self) -> tuple[str, ...]:
        """What is stored besides the averages; a function yields what it declares."""
        return self.kernel.keep if isinstance(self.kernel, ModelKernel) else ()

    @property
    def _simulation(self) -> ModelKernel:
        if not isinstance(self.kernel, ModelKernel):
            raise AttributeError(f"the sweep of {self.kernel.name} has no lattice and no model")
        return self.kernel

    @property
    def source(self) -> Source | None:
        """What a worker needs besides the store: a user's function; None if there is none.

        Raises
        ------
        RequestError
            If the function is needed and not at hand, as after :meth:`from_toml`.
        """
        if not isinstance(self.kernel, FunctionKernel):
            return None
        _ = self.kernel.function
        return self.kernel.source

    def with_source(self, source: Source | None) -> Self:
        """The same sweep with its function at hand."""
        if source is None or not isinstance(self.kernel, FunctionKernel):
            return self
        return type(self)(kernel=self.kernel.with_source(source), grid=self.grid, seed=self.seed)

    def extended(self, axes: Grid) -> Self:
        """The same sweep with more values on some of its axes.

        A point's random numbers come from its own parameters alone: old points keep every bit, so
        that ``run(extended, new_store, base=old_store)`` takes them over.

        Parameters
        ----------
        axes
            New values by axis, beside those there are; a value within rounding of an old one is
            the old one.

        Raises
        ------
        RequestError
            If an axis is not swept, or a value cannot be computed.

        Examples
        --------
        >>> from latticescape import Ising, Schedule, square
        >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 3.0]}, Schedule(10, 5, 2))
        >>> sweep.extended({"T": [2.5]}).axes["T"].tolist()
        [2.0, 2.5, 3.0]
        """
        unknown = [name for name in axes if name not in self.grid]
        if unknown:
            raise RequestError(
                "the sweep has no such axis to extend",
                came=", ".join(map(str, unknown)),
                allowed=" | ".join(self.grid),
            )
        new = {name: self.grid[name].united(name, values) for name, values in axes.items()}
        grid = {**self.grid, **new}
        if isinstance(self.kernel, FunctionKernel):
            return type(self)(kernel=self.kernel, grid=grid, seed=self.seed)
        parts = (self.lattice, self.model, grid, self.schedule, self.seed)
        return type(self)(*parts, keep=self.keep)

    @cached_property
    def axes(self) -> dict[str, npt.NDArray[np.float64]]:
        """Values of every axis, in order."""
        return {name: np.array(axis.values) for name, axis in self.grid.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of every axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def points(self) -> int:
        """Number of points of the grid."""
        return int(np.prod(self.shape, dtype=object))

    def coordinates(self, region: tuple[slice, ...]) -> list[dict[str, float]]:
        """Coordinates of every point of a region of the grid, last axis fastest."""
        parts = [values[part] for values, part in zip(self.axes.values(), region, strict=True)]
        return [dict(zip(self.axes, map(float, values), strict=True)) for values in product(*parts)]

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides the result, flat and in order, for digest and comparison."""
        return {
            "format": FORMAT,
            **self.kernel.description,
            **{f"grid.{name}": list(axis.values) for name, axis in self.grid.items()},
            "grid (order of axes)": list(self.grid),
            "sweep.seed": self.seed,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the description: the same on every machine, another for another result."""
        return hashlib.sha256(json.dumps(self.description).encode()).hexdigest()

    def to_toml(self) -> str:
        """The spec file of this sweep."""
        tables: dict[str, Any] = {"sweep": {"seed": self.seed}}
        if self.keep:
            tables["sweep"]["keep"] = list(self.keep)
        # A table on one line: any other would be moved behind the lists, and axes have an order.
        grid = {
            name: axis.spec if isinstance(axis.spec, list) else tomlkit.inline_table() | axis.spec
            for name, axis in self.grid.items()
        }
        if isinstance(self.kernel, FunctionKernel):
            tables |= {"grid": grid, "kernel": self.kernel.table}
        else:
            tables |= {
                "lattice": self.lattice.table,
                "model": {
                    "kind": self.model.kind,
                    **self.model.fixed_parameters,
                    **self.model.structure,
                },
                "grid": grid,
                "schedule": asdict(self.schedule),
            }
        return tomlkit.dumps(tables)

    @classmethod
    def from_toml(cls, text: str) -> "Sweep":
        """The sweep of a spec file's text.

        Raises
        ------
        RequestError
            If it is no TOML, a key is unknown or missing, or a value cannot be simulated.

        Examples
        --------
        >>> sweep = Sweep.from_toml('''
        ... [lattice]
        ... kind = "square"
        ... size = 8
        ... [model]
        ... kind = "ising"
        ... [grid]
        ... T = [2.0, 2.5]
        ... [schedule]
        ... equilibration_mcs = 10
        ... samples = 5
        ... stride_mcs = 2
        ... ''')
        >>> sweep.points
        2
        """
        from latticescape.sweeps.spec.spec_file import parts_of

        return cls(**parts_of(text))

    @classmethod
    def from_file(cls, path: str | Path) -> "Sweep":
        """The sweep of a spec file.

        Raises
        ------
        RequestError
            If it cannot be read, or as :meth:`from_toml`; the message names the file.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(
                f"cannot read the spec file {path}",
                came=getattr(error, "strerror", None) or "no UTF-8 text",
                allowed="a TOML file",
                hint="latticescape plan ising.toml",
            ) from None
        try:
            return cls.from_toml(text)
        except RequestError as error:
            raise error.within(str(path)) from None


def _of_kernel(kernel: FunctionKernel, grid: Grid, seed: int) -> Sweep:
    return Sweep(kernel=kernel, grid=grid, seed=seed)


def _of_model(
    lattice: Lattice,
    model: ParametricModel,
    grid: Grid,
    schedule: Schedule,
    seed: int,
    keep: tuple[str, ...],
) -> Sweep:
    return Sweep(lattice, model, grid, schedule, seed, keep=keep)


def _kernel(
    kernel: FunctionKernel | None,
    parts: Mapping[str, object],
    swept: tuple[str, ...],
    keep: Sequence[str],
) -> Kernel:
    if kernel is None:
        lattice, model, schedule = (_checked(name, part) for name, part in parts.items())
        return kernel_for(lattice, model, schedule, swept, checked_keep(keep))
    given = [name for name, part in parts.items() if part is not None] + ["keep"] * bool(keep)
    if given:
        raise RequestError(
            "a sweep is of a kernel, or of a model on a lattice",
            came=f"kernel and {', '.join(given)}",
            allowed="kernel and grid; or lattice, model, grid and schedule",
        )
    found: FunctionKernel = _checked("kernel", kernel)
    return found.taken()


def _axes(grid: Grid) -> dict[str, Axis]:
    if not grid:
        raise RequestError(
            "grid is empty: nothing is swept",
            allowed="at least one axis",
            hint="T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
        )
    return {str(name): Axis.of(str(name), values) for name, values in grid.items()}


def _checked_seed(seed: Any) -> int:
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        raise RequestError(
            "seed is out of range",
            came=repr(seed),
            allowed="a whole number from 0 to 2^63 - 1",
            hint="seed = 2026",
        )
    return int(seed)


def _checked(name: str, given: object) -> Any:
    kind, example = _KINDS[name]
    if not isinstance(given, kind):
        raise RequestError(
            f"{name} is no {kind.__name__}",
            came=repr(given),
            allowed=f"a {kind.__name__}",
            hint=f"{name}={example}",
        )
    return given
