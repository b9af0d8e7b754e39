"""What a phase diagram is made from: sweeps, stored or simulated, and parameter values."""

import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import qmc

from latticescape.analysis.checks import check_within, listed
from latticescape.analysis.phases.curves import axes_of, by_size, usual_exponents
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.kernels.lattice_kernel import LatticeKernel, LatticeModel
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import USUAL, ClassChoice
from latticescape.physics.variables import RESTART

Floats = npt.NDArray[np.float64]
BySize = dict[int, xr.Dataset]
Axes = Mapping[str, npt.ArrayLike]

# A diagram is drawn over the temperature and one axis of these names, or with these starts: fields,
# chemical potentials and compositions.
ACROSS = ("H", "D", "x", "dmu")
ACROSS_STARTS = ("x_", "mu_")

# The variables of a sweep that a diagram reads.
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

# Close to a crossing: the number of temperatures, and the smallest and largest factor by which the
# sweep's samples are multiplied.
FINE_TEMPERATURES = 8
TIMES_SAMPLES = (32, 64)


def is_across(name: str) -> bool:
    """Whether a diagram may be drawn over a parameter, besides T.

    Examples
    --------
    >>> [is_across(name) for name in ("H", "x", "mu_Pd", "w1")]
    [True, True, True, False]
    """
    return name in ACROSS or name.startswith(ACROSS_STARTS)


def is_field(name: str) -> bool:
    """Whether a parameter favours one species.

    Examples
    --------
    >>> is_field("H"), is_field("mu_Pd"), is_field("x")
    (True, True, False)
    """
    return name in ("H", "dmu") or name.startswith("mu_")


def simulate(
    lattice: Lattice,
    model: LatticeModel,
    grid: Axes,
    schedule: Schedule,
    seed: int = 0,
    *,
    keep: tuple[str, ...] = (),
    classes: ClassChoice = USUAL,
) -> xr.Dataset:
    """Simulate every point of a grid in this process, without a store.

    Parameters
    ----------
    lattice, model, schedule
        What is simulated at every point.
    grid
        Values of each swept parameter.
    seed
        A point's random numbers are a hash of it, of the lattice size and of all model parameters
        at the point: two lattices, or two draws of a posterior, are independent.
    keep
        Variables to keep in addition to the averages, such as ``("spins",)``.
    classes
        Which configurations are counted.

    Returns
    -------
    Dataset
        The variables and coordinates that a store of the sweep would hold.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> simulate(square(4), Ising(), {"T": [2.0, 3.0]}, Schedule(10, 5, 2)).energy.dims
    ('T',)
    """
    axes = {name: np.atleast_1d(np.asarray(v, float)) for name, v in grid.items()}
    kernel = LatticeKernel(lattice, model, schedule, tuple(axes), keep, classes)
    kernel.check(axes)
    places = [dict(zip(axes, map(float, v), strict=True)) for v in product(*axes.values())]
    seeds = []
    for place in places:
        # 256 bits by BLAKE2b of the point's own parameters, independent of the grid.
        message = f"latticescape diagram 1 {seed} {kernel.lattice}".encode()
        for name, value in sorted(kernel.parameters(place).items()):
            message += b"\0" + name.encode() + b"=" + struct.pack(">d", value + 0.0)
        digest = hashlib.blake2b(message, digest_size=32).digest()
        seeds.append(np.frombuffer(digest, ">u8").astype(np.uint64))
    points = {name: np.array([place[name] for place in places]) for name in axes}
    results = kernel.compute(points, np.stack(seeds))
    shape = tuple(len(values) for values in axes.values())
    return xr.Dataset(
        {
            variable.name: (
                (*axes, *variable.dims),
                results[variable.name].reshape(shape + results[variable.name].shape[1:]),
                variable.attrs,
            )
            for variable in kernel.variables
        },
        coords={
            **{name: (name, v, kernel.axis_attrs(name)) for name, v in axes.items()},
            **kernel.coordinates,
        },
        attrs={**kernel.attrs, "lattice_size": lattice.linear_size, "seed": seed},
    )


@runtime_checkable
class SweepLike(Protocol):
    """The attributes of a ``Sweep`` that a diagram reads."""

    @property
    def lattice(self) -> Lattice: ...
    @property
    def model(self) -> LatticeModel: ...
    @property
    def grid(self) -> Mapping[str, Any]: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def seed(self) -> int: ...


class Runs(ABC):
    """Datasets over T, and over H or x, of one size or several, at any parameter values."""

    @abstractmethod
    def at(self, values: Mapping[str, float]) -> BySize:
        """Return Datasets by size, ascending; the last one covers the complete grid."""

    def close_up(self, values: Mapping[str, float], T: float) -> BySize | None:
        """Return Datasets without a field at temperatures close to T, if they can be simulated."""
        return None

    @property
    @abstractmethod
    def parameters(self) -> frozenset[str]:
        """The parameters that :meth:`at` accepts."""

    @property
    @abstractmethod
    def axes(self) -> tuple[str, ...]:
        """The diagram's own axes."""


class StoredRuns(Runs):
    """Stored sweeps: :meth:`at` selects the nearest point of their grid."""

    def __init__(self, sweeps: Mapping[int, xr.Dataset]) -> None:
        self.sweeps = {
            size: ds[[name for name in READ if name in ds]].assign_attrs(ds.attrs)
            for size, ds in sweeps.items()
        }
        self.largest = list(sweeps.values())[-1]
        check_axes({name: self.largest[name].values for name in axes_of(self.largest)})

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset(axes_of(self.largest)) - set(self.axes)

    @property
    def axes(self) -> tuple[str, ...]:
        return diagram_axes({name: self.largest[name].values for name in axes_of(self.largest)})

    def at(self, values: Mapping[str, float]) -> BySize:
        selected = {}
        for size, ds in self.sweeps.items():
            for name in [name for name in axes_of(ds) if name not in self.axes]:
                places = ds[name].values
                if len(places) == 1 and name not in values:
                    ds = ds.isel({name: 0}, drop=True)
                    continue
                _check_value(name, places, values)
                problem = f"{name} is out of the sweep's range"
                hint = "phase_diagram(sweep, at=…) of a Sweep: it simulates any values"
                check_within(values[name], places.min(), places.max(), problem, hint=hint)
                ds = ds.sel({name: values[name]}, method="nearest", drop=True)
            selected[size] = ds.drop_vars(RESTART, errors="ignore").load()
        return selected


@dataclass(frozen=True)
class SimulatedRuns(Runs):
    """A sweep that is simulated in this process at any parameter values.

    Attributes
    ----------
    sweep
        The sweep, on the largest lattice.
    sizes
        Smaller sizes, which are simulated without a field only.
    """

    sweep: SweepLike
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
        return {name: self._grid[name] for name in diagram_axes(self._grid)}

    @property
    def _without_field(self) -> dict[str, Floats] | None:
        """The diagram's axes at H = 0; None if the grid has no such point."""
        axes = self._diagram_axes
        fields = [name for name in axes if is_field(name)]
        without = all(np.any(axes[name] == 0) for name in fields)
        return {**axes, **dict.fromkeys(fields, np.zeros(1))} if without else None

    def at(self, values: Mapping[str, float]) -> BySize:
        for name in set(self._grid) - set(self._diagram_axes):
            if len(self._grid[name]) == 1:
                values = {name: float(self._grid[name][0]), **values}
            _check_value(name, self._grid[name], values)
        schedule, axes = self.sweep.schedule, self._without_field
        largest = self._simulated(
            self.sweep.lattice.linear_size, values, self._diagram_axes, self.sweep.schedule
        )
        smaller = {
            size: self._simulated(size, values, axes, schedule)
            for size in sorted(self.sizes)
            if axes is not None
        }
        return {**smaller, self.sweep.lattice.linear_size: largest}

    def close_up(self, values: Mapping[str, float], T: float) -> BySize | None:
        axes = self._without_field
        if axes is None or not self.sizes:
            return None
        largest = self.sweep.lattice
        reach = 0.8 * largest.linear_size ** (-1 / usual_exponents(largest).nu)
        fine = {**axes, "T": T * (1 + np.linspace(-reach, reach, FINE_TEMPERATURES))}
        points = int(np.prod([len(v) for v in self._diagram_axes.values()]))
        times = int(np.clip(2 * points // FINE_TEMPERATURES, *TIMES_SAMPLES))
        schedule = replace(self.sweep.schedule, samples=times * self.sweep.schedule.samples)
        return {
            size: self._simulated(size, values, fine, schedule)
            for size in (*sorted(self.sizes), largest.linear_size)
        }

    def _simulated(
        self, size: int, values: Mapping[str, float], axes: Axes, schedule: Schedule
    ) -> xr.Dataset:
        for name in values:
            self.sweep.model.parameter(name)
        model = self.sweep.model.with_parameters(**values)
        lattice = replace(self.sweep.lattice, size=size)
        classes = getattr(self.sweep, "classes", USUAL)
        return simulate(
            lattice, model, axes, schedule, self.sweep.seed, keep=("spins",), classes=classes
        )


def runs_of(source: Any, sizes: Sequence[int] | None) -> Runs:
    """Return the runs of a Dataset, of several, or of a Sweep.

    Raises
    ------
    RequestError
        If it is none of these, or has no axis T.
    """
    if isinstance(source, xr.Dataset):
        return StoredRuns(by_size([source], least=1))
    if isinstance(source, SweepLike):
        size = source.lattice.linear_size
        fixed = source.model.fixed_parameters
        free = source.model.move == "single_flip" and not any(
            map(fixed.get, filter(is_field, fixed))
        )
        halves = tuple(sorted({half for half in (size // 4, size // 2) if free and half >= 4}))
        smaller = halves if sizes is None else sizes
        if not all(2 <= other <= size for other in smaller):
            problem = "sizes must be smaller than the sweep's own lattice size"
            hint = f"sizes={halves}"
            raise RequestError(problem, came=listed(smaller), allowed=f"2 to {size}", hint=hint)
        return SimulatedRuns(source, tuple(other for other in smaller if other != size))
    if isinstance(source, (Mapping, Sequence)) and not isinstance(source, str):
        return StoredRuns(by_size(source, least=1))
    allowed = "a Dataset, several of different sizes, or a Sweep"
    hint = 'phase_diagram(open_sweep("runs/ising.zarr"))'
    came = type(source).__name__
    raise RequestError("a phase diagram needs a sweep", came=came, allowed=allowed, hint=hint)


def _check_value(name: str, places: Floats, values: Mapping[str, float]) -> None:
    if name not in values:
        problem, came = f"a diagram is drawn at one value of {name}", f"{len(places)} values"
        hint = f'--at {name}={places[0]:g}, in Python at={{"{name}": {places[0]:g}}}'
        allowed = "axes T, and one field, chemical potential or composition"
        raise RequestError(problem, came=came, allowed=allowed, hint=hint)


def diagram_axes(axes: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """The axes over which a diagram is drawn: T, and those that it may be drawn over; of several,
    those with more than one value.

    Examples
    --------
    >>> values = np.zeros(3)
    >>> diagram_axes({"w1": values, "mu_Pd": values, "mu_Ag": values[:1], "T": values})
    ('mu_Pd', 'T')
    """
    across = [name for name in axes if is_across(name)]
    if len(across) > 1:
        across = [name for name in across if len(axes[name]) > 1]
    return tuple(name for name in axes if name == "T" or name in across)


def check_axes(axes: Mapping[str, Floats]) -> None:
    """Refuse a grid with fewer than three temperatures, or with two axes across."""
    if len(axes.get("T", ())) < 3 or len(diagram_axes(axes)) > 2:
        lengths = ", ".join(f"{name} of {len(values)}" for name, values in axes.items())
        problem = (
            "a phase diagram needs three or more temperatures T, and at most one field, chemical "
            "potential or composition"
        )
        hint = "T = { start = 1.5, stop = 3.5, num = 41 } in [grid]"
        raise RequestError(problem, came=f"axes {lengths or 'none'}", hint=hint)


@dataclass(frozen=True)
class ParameterValues:
    """Parameter values, and draws from their uncertainty.

    Attributes
    ----------
    centre
        The best values.
    draws
        Values drawn from their joint uncertainty; empty for values without an error.
    """

    centre: dict[str, float]
    draws: tuple[dict[str, float], ...] = ()

    def without(self, names: Collection[str]) -> "ParameterValues":
        """Return the values without these parameters."""
        return self.only([name for name in self.centre if name not in names])

    def only(self, names: Collection[str]) -> "ParameterValues":
        """Return the values of only these parameters."""
        return ParameterValues(
            {n: v for n, v in self.centre.items() if n in names},
            tuple({n: v for n, v in draw.items() if n in names} for draw in self.draws),
        )


def parameter_values(at: Any, number: int, seed: int) -> ParameterValues:
    """Read the argument ``at=``.

    Parameters
    ----------
    at
        None; a mapping from names to values, or to (value, standard error); a ``Fit``, whose draws
        are used if it has any and its covariance otherwise; or an ArviZ ``InferenceData``.
    number
        The number of draws.
    seed
        The seed of the draws.

    Raises
    ------
    RequestError
        If ``at`` is none of these, or an error is not finite.

    Examples
    --------
    >>> parameter_values({"w1": -0.5}, 4, seed=1)
    ParameterValues(centre={'w1': -0.5}, draws=())
    >>> len(parameter_values({"w1": (-0.5, 0.1)}, 4, seed=1).draws)
    4
    """
    if at is None:
        return ParameterValues({})
    if isinstance(at, Mapping):
        both = {str(name): np.atleast_1d(np.asarray(value, float)) for name, value in at.items()}
        for name, values in both.items():
            if len(values) > 2 or not np.isfinite(values).all():
                allowed, hint = "a number, or (value, standard error)", f"{name}=(-0.5, 0.1)"
                problem = f"at= gives no value of {name}"
                raise RequestError(problem, came=at[name], allowed=allowed, hint=hint)
        centre = {name: float(values[0]) for name, values in both.items()}
        errors = np.array([values[1] if len(values) > 1 else 0.0 for values in both.values()])
        if not errors.any():
            return ParameterValues(centre)
        return _of_covariance(centre, np.diag(errors**2), number, seed)
    if hasattr(at, "posterior"):
        return _of_draws(at.posterior, None, number, seed)
    if getattr(at, "draws", None) is not None:
        centre = {n: float(np.ravel(v)[0]) for n, v in at.parameters.items()}
        return _of_draws(at.draws, centre, number, seed)
    if hasattr(at, "parameters") and hasattr(at, "covariance"):
        centre = {str(n): float(v[0]) for n, v in at.parameters.items()}
        return _of_covariance(centre, np.asarray(at.covariance, float), number, seed)
    allowed, hint = "a mapping, a Fit, or an ArviZ InferenceData", 'at={"w1": -0.5}'
    problem = "at= gives no parameter values"
    raise RequestError(problem, came=type(at).__name__, allowed=allowed, hint=hint)


def _of_covariance(
    centre: dict[str, float], covariance: Floats, number: int, seed: int
) -> ParameterValues:
    if not np.isfinite(covariance).all():
        came = "an infinite covariance: S² has no parabolic minimum inside the grid"
        hint = "a finer or wider grid; or at=dict of values, without an error"
        raise RequestError(
            "the errors of the fit are unknown", came=came, allowed="finite errors", hint=hint
        )
    if not len(centre):
        return ParameterValues(centre)
    # Quasi-random normal numbers: even a handful of them has the requested spread.
    engine = qmc.Halton(len(centre), seed=np.random.default_rng(seed))
    mean = np.array(list(centre.values()))
    rows = qmc.MultivariateNormalQMC(mean, covariance, engine=engine).random(number)
    draws = tuple(dict(zip(centre, map(float, row), strict=True)) for row in rows)
    return ParameterValues(centre, draws)


def _of_draws(
    posterior: Any, centre: dict[str, float] | None, number: int, seed: int
) -> ParameterValues:
    names = [str(name) for name in posterior.data_vars if centre is None or name in centre]
    values = np.column_stack([np.ravel(posterior[name].values) for name in names])
    chosen = np.random.default_rng(seed).choice(
        len(values), min(number, len(values)), replace=False
    )
    return ParameterValues(
        centre or dict(zip(names, map(float, values.mean(axis=0)), strict=True)),
        tuple(dict(zip(names, map(float, values[k]), strict=True)) for k in sorted(chosen)),
    )
