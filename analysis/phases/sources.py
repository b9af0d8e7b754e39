"""Where a diagram's curves come from: sweeps that were stored, or a sweep simulated now."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.curves import axes_of
from latticescape.analysis.phases.extrapolation import ISING
from latticescape.analysis.phases.simulation import simulate
from latticescape.analysis.phases.sizes import by_size
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import Model

Floats = npt.NDArray[np.float64]
BySize = dict[int, xr.Dataset]

# The axes of a diagram: temperature against one of these.
ACROSS = ("H", "x")

# What a diagram reads of a sweep.
READ = (
    "moments",
    "spins",
    "done",
    "composition",
    "heat_capacity",
    "susceptibility_abs",
    "magnetization_abs",
    "energy",
)

# Close to a crossing: temperatures, and the least and most times the samples of the sweep.
FINE_TEMPERATURES = 8
TIMES_SAMPLES = (32, 64)


@runtime_checkable
class Swept(Protocol):
    """What is read of a ``Sweep``: any object that has these."""

    @property
    def lattice(self) -> Lattice: ...
    @property
    def model(self) -> Model: ...
    @property
    def grid(self) -> Mapping[str, Any]: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def seed(self) -> int: ...


class Source(ABC):
    """Datasets over T, and over H or x, of one size or several, anywhere in parameter space."""

    @abstractmethod
    def at(self, values: Mapping[str, float]) -> BySize:
        """Datasets by size, ascending; the last one is over the whole grid."""

    def close_up(self, values: Mapping[str, float], T: float) -> BySize | None:
        """The same without a field, at temperatures close to T; None if that is not to be had."""
        return None

    @property
    @abstractmethod
    def parameters(self) -> frozenset[str]:
        """What :meth:`at` can be told."""

    @property
    @abstractmethod
    def axes(self) -> tuple[str, ...]:
        """The diagram's own axes."""


class Stored(Source):
    """Sweeps that were computed before: the point of their grid nearest to what is asked for."""

    def __init__(self, sweeps: Mapping[int, xr.Dataset]) -> None:
        self.sweeps = {
            size: ds[[name for name in READ if name in ds]].assign_attrs(ds.attrs)
            for size, ds in sweeps.items()
        }
        self.largest = list(sweeps.values())[-1]
        check_axes({name: self.largest[name].values for name in axes_of(self.largest)})

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset(axes_of(self.largest)) - {"T", *ACROSS}

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(name for name in axes_of(self.largest) if name in ("T", *ACROSS))

    def at(self, values: Mapping[str, float]) -> BySize:
        return {size: self._selected(ds, values).load() for size, ds in self.sweeps.items()}

    def _selected(self, ds: xr.Dataset, values: Mapping[str, float]) -> xr.Dataset:
        for name in axes_of(ds):
            if name in ("T", *ACROSS):
                continue
            places = ds[name].values
            _check_told(name, places, values)
            if not places.min() <= values[name] <= places.max():
                raise RequestError(
                    f"{name} is out of the sweep's range",
                    came=values[name],
                    allowed=f"{places.min():g} to {places.max():g}",
                    hint="phase_diagram(sweep, at=…) of a Sweep: it simulates any values",
                )
            ds = ds.sel({name: values[name]}, method="nearest", drop=True)
        return ds


@dataclass(frozen=True)
class Simulated(Source):
    """A sweep that is simulated in this process wherever it is asked for.

    Attributes
    ----------
    sweep
        Its lattice is the largest.
    sizes
        The smaller ones, simulated without a field alone.
    """

    sweep: Swept
    sizes: Sequence[int]

    def __post_init__(self) -> None:
        check_axes(self._grid)

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self._diagram_axes)

    @property
    def _grid(self) -> dict[str, Floats]:
        return {
            name: np.asarray(getattr(axis, "values", axis), float)
            for name, axis in self.sweep.grid.items()
        }

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset(p.name for p in self.sweep.model.parameters) - set(self._diagram_axes)

    @property
    def _diagram_axes(self) -> dict[str, Floats]:
        return {name: v for name, v in self._grid.items() if name in ("T", *ACROSS)}

    def at(self, values: Mapping[str, float]) -> BySize:
        for name in set(self._grid) - set(self._diagram_axes):
            _check_told(name, self._grid[name], values)
        model, axes = self._model(values), self._diagram_axes
        whole = self._simulated(self.sweep.lattice.size, model, axes, self.sweep.schedule)
        still = self._without_field(axes)
        smaller = {
            size: self._simulated(size, model, still, self.sweep.schedule)
            for size in sorted(self.sizes)
            if still is not None
        }
        return {**smaller, self.sweep.lattice.size: whole}

    def close_up(self, values: Mapping[str, float], T: float) -> BySize | None:
        still = self._without_field(self._diagram_axes)
        if still is None or not self.sizes:
            return None
        largest = self.sweep.lattice
        reach = 0.8 * largest.size ** (-1 / ISING[largest.geometry.dimension].nu)
        fine = {**still, "T": T * (1 + np.linspace(-reach, reach, FINE_TEMPERATURES))}
        points = int(np.prod([len(v) for v in self._diagram_axes.values()]))
        times = int(np.clip(2 * points // FINE_TEMPERATURES, *TIMES_SAMPLES))
        schedule = replace(self.sweep.schedule, samples=times * self.sweep.schedule.samples)
        model = self._model(values)
        return {
            size: self._simulated(size, model, fine, schedule)
            for size in (*sorted(self.sizes), largest.size)
        }

    def _model(self, values: Mapping[str, float]) -> Model:
        for name in values:
            self.sweep.model.parameter(name)
        return replace(self.sweep.model, **dict(values))

    def _without_field(self, axes: dict[str, Floats]) -> dict[str, Floats] | None:
        """The grid at H = 0 alone; None if there is no such point."""
        if "H" not in axes:
            return axes
        return {**axes, "H": np.zeros(1)} if np.any(axes["H"] == 0) else None

    def _simulated(
        self, size: int, model: Model, axes: dict[str, Floats] | None, schedule: Schedule
    ) -> xr.Dataset:
        lattice = Lattice(self.sweep.lattice.kind, size)
        return simulate(lattice, model, axes or {}, schedule, self.sweep.seed, keep=("spins",))


def source_of(source: Any, sizes: Sequence[int] | None) -> Source:
    """What a diagram is made of.

    Raises
    ------
    RequestError
        If it is neither a Dataset (or several), nor a Sweep, or has no axis T.
    """
    if isinstance(source, xr.Dataset):
        return Stored(by_size([source], least=1))
    if isinstance(source, Swept):
        return Simulated(source, _sizes(source) if sizes is None else _smaller(source, sizes))
    if isinstance(source, (Mapping, Sequence)) and not isinstance(source, str):
        return Stored(by_size(source, least=1))
    raise RequestError(
        "a diagram is made of a sweep",
        came=type(source).__name__,
        allowed="a Dataset, several of different sizes, or a Sweep",
        hint='phase_diagram(open_sweep("runs/ising.zarr"))',
    )


def _sizes(sweep: Swept) -> tuple[int, ...]:
    """A quarter and a half of the size, where the magnetization is free to order."""
    free = sweep.model.move == "single_flip" and not (sweep.model.given.get("H") or 0)
    halves = (sweep.lattice.size // 4, sweep.lattice.size // 2)
    return tuple(sorted({size for size in halves if free and size >= 4}))


def _smaller(sweep: Swept, sizes: Sequence[int]) -> tuple[int, ...]:
    if not all(2 <= size <= sweep.lattice.size for size in sizes):
        raise RequestError(
            "sizes are compared with the sweep's own, the largest",
            came=", ".join(map(str, sizes)),
            allowed=f"up to {sweep.lattice.size}",
            hint=f"sizes={_sizes(sweep)}",
        )
    return tuple(size for size in sizes if size != sweep.lattice.size)


def _check_told(name: str, places: Floats, values: Mapping[str, float]) -> None:
    if name not in values:
        raise RequestError(
            f"a diagram is drawn at one value of {name}",
            came=f"an axis of {len(places)}",
            allowed="the axes T, and H or x; at= for all others",
            hint=f'phase_diagram(…, at={{"{name}": {places[0]:g}}})',
        )


def check_axes(axes: Mapping[str, Floats]) -> None:
    """Refuse a grid without temperatures, or across two axes at once."""
    if len(axes.get("T", ())) < 3:
        raise RequestError(
            "a diagram needs an axis of temperatures",
            came=f"axes {', '.join(axes) or 'none'}"
            + (f", T of {len(axes['T'])}" if "T" in axes else ""),
            allowed="an axis T of three or more values",
            hint="T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
        )
    if all(name in axes for name in ACROSS):
        raise RequestError(
            "a diagram has one axis across", came="H and x", allowed="H, or x, or neither"
        )
