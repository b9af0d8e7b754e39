"""``Sweep``: a model or function over a grid of parameters, its seeds, and its spec file."""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import tomlkit

from latticescape.physics.errors import RequestError, checked_integer
from latticescape.physics.kernels.kernel import Kernel, ModelKernel, Schedule
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import USUAL, ClassChoice
from latticescape.physics.models.model import ParametricModel
from latticescape.physics.registry import check_registered, kernel_for
from latticescape.physics.variables import RESTART, VARIABLES, checked_keep
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.functions.source_digest import Source
from latticescape.sweeps.spec.axes import (
    MAX_POINTS,
    Axis,
    AxisLike,
    Points,
    Value,
    axis_error,
    columns_of,
    dimension_of,
)

FORMAT = 2


_KINDS: dict[str, tuple[type, str]] = {
    "lattice": (Lattice, "square(64)"),
    "model": (ParametricModel, "Ising()"),
    "grid": (Mapping, '{"T": [2.0, 2.5]}'),
    "schedule": (Schedule, "Schedule(2000, 500, 10)"),
    "kernel": (FunctionKernel, "energy, with @kernel(…) above def energy(T): …"),
}

Grid = Mapping[str, AxisLike]

# The dimension of points that lie on no grid.
POINT = "point"


@dataclass(frozen=True, eq=False, init=False)
class Sweep:
    """A lattice model, or a user's own function, over a grid or other points of parameters.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate at every point; or
    kernel
        a user's own function to compute there, see :func:`latticescape.kernel`.
    grid
        The swept parameters in order: each a list or array of values, or a mapping with start,
        stop and num. They become the dimensions of the Dataset. A mapping of equally long lists,
        ``{"bond": {"w1": […], "w2": […]}}``, sweeps several parameters together along one.
    points
        Points on no grid: a list of mappings, a mapping of equally long lists such as
        :func:`latticescape.sobol` returns, or a DataFrame. The Dataset has the dimension ``point``;
        with ``grid``, every point is computed at all of the grid.
    seed
        0 to 2^63 − 1. A point's random numbers depend on it and on the point's own parameters.
    keep
        What to store besides the averages. ``"samples"``: features and configurations of every
        measurement, for :func:`latticescape.reweight`; ``"spins"``: the last spins of all replicas.
        Changes no bit of the averages.
    classes
        Which arrangements of a site and its neighbours are one configuration of the histogram.
        ``"point_group"`` (default): those that an operation of the site's point group maps to each
        other; ``"rotations"``: one without reflection; ``"translations"``: each is a class of its
        own; ``"counts"``: those with as many neighbours of each species. A mapping
        ``{"symmetry": …, "shells": [1, 2]}`` chooses the neighbour shells too.
    extendable
        Whether every point keeps what it needs to go on later, for :func:`latticescape.extend`: its
        spins, generators and sums, some 50 kB on a lattice of 64 × 64 sites.

    Raises
    ------
    RequestError
        If anything in it cannot be computed.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5], "H": [0.0]}, Schedule(10, 5, 2), seed=1)
    >>> sweep.shape, sweep.digest == Sweep.from_toml(sweep.to_toml()).digest
    ((2, 1), True)
    """

    kernel: Kernel
    grid: Mapping[str, Axis | Points]
    seed: int

    @overload
    def __init__(
        self,
        lattice: Lattice,
        model: ParametricModel,
        grid: Grid | None = None,
        schedule: Schedule = ...,
        seed: int = 0,
        *,
        points: Any = None,
        keep: Sequence[str] = (),
        classes: str | Mapping[str, Any] | ClassChoice = USUAL,
        extendable: bool = True,
    ) -> None: ...

    @overload
    def __init__(
        self, *, kernel: FunctionKernel, grid: Grid | None = None, points: Any = None, seed: int = 0
    ) -> None: ...

    def __init__(
        self,
        lattice: Lattice | None = None,
        model: ParametricModel | None = None,
        grid: Grid | None = None,
        schedule: Schedule | None = None,
        seed: int = 0,
        *,
        kernel: FunctionKernel | None = None,
        points: Any = None,
        keep: Sequence[str] = (),
        classes: str | Mapping[str, Any] | ClassChoice = USUAL,
        extendable: bool = True,
    ) -> None:
        scattered = {} if points is None else {POINT: Points.of(POINT, points)}
        if not (_instance("grid", grid) if grid is not None or points is None else scattered):
            raise RequestError(
                "grid is empty: nothing is swept",
                allowed="at least one axis",
                hint="T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
            )
        axes = {str(name): dimension_of(str(name), v) for name, v in (grid or {}).items()}
        axes = {**scattered, **axes}
        allowed = "a whole number from 0 to 2^63 - 1"
        seed = checked_integer(seed, 0, 2**63 - 1, "seed is out of range", allowed=allowed)
        object.__setattr__(self, "grid", MappingProxyType(axes))
        object.__setattr__(self, "seed", seed)
        if self.points > MAX_POINTS:
            raise RequestError(
                "the grid has too many points",
                came=self.points,
                allowed=f"up to {MAX_POINTS}",
                hint="a coarser grid, or several sweeps",
            )
        parts = {"lattice": lattice, "model": model, "schedule": schedule}
        _check_once([name for columns in self.columns.values() for name in columns])
        kept = _checked_keep(keep, extendable)
        chosen = _kernel(kernel, parts, tuple(self.axes), kept, ClassChoice.of(classes))
        object.__setattr__(self, "kernel", chosen)
        self._check_dimensions()
        self.kernel.check(self.axes)

    def _check_names(self) -> None:
        """Raise a RequestError for an axis of a model that its store cannot hold."""
        if not isinstance(self.kernel, ModelKernel):
            return
        taken = {*self.kernel.sizes, *self.kernel.coordinates, *VARIABLES}
        for name in self.axes:
            if name in taken or not name or name.startswith(".") or "/" in name:
                raise RequestError(
                    "an axis has the name of a variable or dimension, or one no store can hold",
                    came=repr(name),
                    allowed="another name of the term",
                    hint="w1",
                )

    def _check_dimensions(self) -> None:
        if not isinstance(self.kernel, FunctionKernel):
            for name, values in self.axes.items():
                if values.dtype.kind != "f":
                    problem = "holds a value that is not a number"
                    raise axis_error(name, problem, repr(values.tolist()[0]))
        self._check_names()
        for name, columns in self.columns.items():
            if name in columns:
                continue
            together = [n for n in columns if n in self.kernel.uncut_axes]
            if together:
                raise RequestError(
                    f"points that differ in {together[0]} are no axis for parallel tempering",
                    came=f"{together[0]} among the parameters of {name}",
                    allowed=f"{together[0]} as an axis of [grid], and points without it",
                    hint="tempering_mcs = 0, or T = [1.5, 2.0, 2.5] in [grid]",
                )
            taken = {*self.axes, *self.kernel.sizes, *(v.name for v in self.kernel.variables)}
            if name in taken:
                raise RequestError(
                    f"the axis {name} has the name of a parameter, variable or dimension",
                    came=name,
                    allowed="different names",
                )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Sweep, **self._parts), ()

    @property
    def _parts(self) -> dict[str, Any]:
        """The arguments that make this sweep."""
        shared = {"grid": dict(self.grid), "seed": self.seed}
        if isinstance(self.kernel, FunctionKernel):
            return {**shared, "kernel": self.kernel}
        names = ("lattice", "model", "schedule", "keep", "classes", "extendable")
        return {**shared, **{name: getattr(self, name) for name in names}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def lattice(self) -> Lattice:
        """The lattice; a sweep of a function has no lattice, model and schedule."""
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
        """What is stored besides the averages; () for a function."""
        kept = self.kernel.keep if isinstance(self.kernel, ModelKernel) else ()
        return tuple(word for word in kept if word != RESTART)

    @property
    def classes(self) -> ClassChoice:
        """Which configurations are counted."""
        return self._simulation.classes

    @property
    def extendable(self) -> bool:
        """Whether every point keeps what it needs to go on later; False for a function."""
        return isinstance(self.kernel, ModelKernel) and RESTART in self.kernel.keep

    @property
    def _simulation(self) -> ModelKernel:
        if not isinstance(self.kernel, ModelKernel):
            raise AttributeError(f"the sweep of {self.kernel.name} has no lattice and no model")
        return self.kernel

    @property
    def source(self) -> Source | None:
        """The user's function, which a worker needs besides the store; None for a lattice model.

        Raises
        ------
        RequestError
            If the function is not available, as after :meth:`from_toml`.
        """
        if not isinstance(self.kernel, FunctionKernel):
            return None
        _ = self.kernel.function
        return self.kernel.source

    def with_source(self, source: Source | None) -> Self:
        """The same sweep with its function available."""
        if source is None or not isinstance(self.kernel, FunctionKernel):
            return self
        return type(self)(**{**self._parts, "kernel": self.kernel.with_source(source)})

    def extended(self, axes: Grid) -> Self:
        """The same sweep with more values on some of its axes.

        A point's random numbers depend only on its own parameters: old points keep every bit, so
        that ``run(extended, new_store, base=old_store)`` copies them.

        Parameters
        ----------
        axes
            Additional values by axis; a value within rounding of an old one is the old one.

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
                "the sweep has no such axis",
                came=", ".join(map(str, unknown)),
                allowed=" | ".join(self.grid),
            )
        new = {name: self.grid[name].united(name, values) for name, values in axes.items()}
        return type(self)(**{**self._parts, "grid": {**self.grid, **new}})

    def lengthened(self, **longer: Any) -> Self:
        """The same sweep with a longer schedule.

        A point's random numbers do not depend on the length: ``run(lengthened, new_store,
        base=old_store)`` goes on from the points of the old store.

        Parameters
        ----------
        **longer
            The new ``samples``, ``equilibration_mcs`` and ``until``.

        Raises
        ------
        RequestError
            If the sweep is of a function, whose length is not known, or a number is out of range.

        Examples
        --------
        >>> from latticescape import Ising, Schedule, square
        >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 3.0]}, Schedule(10, 5, 2))
        >>> sweep.lengthened(samples=20).schedule.samples
        20
        """
        if isinstance(self.kernel, FunctionKernel):
            raise RequestError(
                "the points of a function cannot go on",
                came=f"a sweep of {self.kernel.name}",
                allowed="a sweep of a model",
                hint="another argument of the function, and another store",
            )
        return type(self)(**{**self._parts, "schedule": replace(self.schedule, **longer)})

    @cached_property
    def columns(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """Values of every swept parameter, by the dimension along which it is swept."""
        return columns_of(self.grid)

    @property
    def axes(self) -> dict[str, npt.NDArray[Any]]:
        """Values of every swept parameter along its dimension, in order."""
        return {n: values for columns in self.columns.values() for n, values in columns.items()}

    @cached_property
    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Values of the parameters of every dimension, in alphabetic order of their names."""
        return {
            dim: list(zip(*(columns[name].tolist() for name in sorted(columns)), strict=True))
            for dim, columns in self.columns.items()
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points along every dimension."""
        return tuple(len(next(iter(columns.values()))) for columns in self.columns.values())

    @property
    def points(self) -> int:
        """Number of points of the grid."""
        return int(np.prod(self.shape, dtype=object))

    def coordinates(self, region: tuple[slice, ...]) -> list[dict[str, Any]]:
        """Coordinates of every point of a region of the grid, last dimension fastest."""
        parts = [
            list(zip(*(values[part].tolist() for values in columns.values()), strict=True))
            for columns, part in zip(self.columns.values(), region, strict=True)
        ]
        names = tuple(self.axes)
        return [dict(zip(names, sum(rows, ()), strict=True)) for rows in product(*parts)]

    def kernel_inputs(
        self, points: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.uint64]]:
        """What the kernel computes points from: coordinates by axis, and seeds.

        Returns
        -------
        axes, seeds
            (points,) float64 each, and (points, 4) uint64.
        """
        axes = {name: np.array([point[name] for point in points]) for name in self.axes}
        return axes, point_seeds(self.seed, map(self.kernel.parameters, points))

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides the result, flat and in order, for digest and comparison."""
        return {
            "format": FORMAT,
            **self.kernel.description,
            **{
                f"grid.{name}" if n == name else f"grid.{name}.{n}": values.tolist()
                for name, columns in self.columns.items()
                for n, values in columns.items()
            },
            "grid (order of axes)": list(self.grid),
            "sweep.seed": self.seed,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the description: the same on every machine, different for other results."""
        return hashlib.sha256(json.dumps(self.description).encode()).hexdigest()

    def to_toml(self) -> str:
        """The spec file of this sweep."""
        tables: dict[str, Any] = {"sweep": {"seed": self.seed}}
        if self.keep:
            tables["sweep"]["keep"] = list(self.keep)
        if isinstance(self.kernel, ModelKernel) and self.classes != USUAL:
            tables["sweep"]["classes"] = self.classes.spec
        if isinstance(self.kernel, ModelKernel) and not self.extendable:
            tables["sweep"]["extendable"] = False
        # A table on one line: any other would be moved behind the lists, and axes have an order.
        grid: dict[str, Any] = {
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
                "schedule": self.schedule.table,
            }
        return tomlkit.dumps(tables)

    @classmethod
    def from_toml(cls, text: str) -> "Sweep":
        """The sweep of a spec file's text.

        Raises
        ------
        RequestError
            If it is not TOML, a key is unknown or missing, or a value cannot be simulated.

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
        return cls._read(text)

    @classmethod
    def _read(cls, text: str, folder: Path | None = None) -> "Sweep":
        from latticescape.sweeps.spec.spec_file import parts_of

        return cls(**parts_of(text, folder))

    @classmethod
    def from_file(cls, path: str | Path) -> "Sweep":
        """The sweep of a spec file.

        Raises
        ------
        RequestError
            If it cannot be read, or as :meth:`from_toml`; the message names the file.
        """
        from latticescape.sweeps.schema import read_text

        text = read_text(Path(path), "the spec file", "latticescape plan ising.toml")
        try:
            return cls._read(text, Path(path).parent)
        except RequestError as error:
            raise error.within(str(path)) from None


def _check_once(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            allowed = "every parameter along one axis, or among the points"
            raise RequestError(f"{name} is swept twice", came=", ".join(names), allowed=allowed)


def _kernel(
    kernel: FunctionKernel | None,
    parts: Mapping[str, object],
    swept: tuple[str, ...],
    keep: tuple[str, ...],
    classes: ClassChoice,
) -> Kernel:
    if kernel is None:
        lattice, model, schedule = (_instance(name, part) for name, part in parts.items())
        check_registered(model)
        return kernel_for(lattice, model, schedule, swept, keep, classes)
    others = [name for name, part in parts.items() if part is not None]
    others += ["keep"] * bool(set(keep) - {RESTART}) + ["classes"] * (classes != USUAL)
    if others:
        raise RequestError(
            "a sweep is of a kernel, or of a model on a lattice",
            came=f"kernel and {', '.join(others)}",
            allowed="kernel and grid; or lattice, model, grid and schedule",
        )
    function: FunctionKernel = _instance("kernel", kernel)
    return function.taken()


def _checked_keep(keep: Sequence[str], extendable: object) -> tuple[str, ...]:
    """What the kernel keeps."""
    if not isinstance(extendable, bool):
        raise RequestError(
            "extendable must be true or false",
            came=repr(extendable),
            allowed="true | false",
            hint="extendable = false in [sweep]",
        )
    words = checked_keep(keep)
    return (*words, *[RESTART] * extendable)


def _instance(name: str, part: object) -> Any:
    """A part of a sweep, checked to be of its type."""
    kind, example = _KINDS[name]
    if not isinstance(part, kind):
        raise RequestError(
            f"{name} must be a {kind.__name__}",
            came=repr(part),
            allowed=f"a {kind.__name__}",
            hint=f"{name}={example}",
        )
    return part


def point_seed(seed: int, parameters: Mapping[str, Value]) -> npt.NDArray[np.uint64]:
    """The seed of one point: 256 bits that depend only on the sweep's seed and the parameters.

    They never depend on an index, a block or a worker: a grid can be cut, reordered and extended,
    and every old point keeps its bits. Randomness as a function of its input follows kwant's
    ``digest``.

    Parameters
    ----------
    seed
        The sweep's seed.
    parameters
        The point's parameters; their order does not matter, and −0.0 is 0.0.

    Returns
    -------
    ndarray
        (4,) uint64, from BLAKE2b (RFC 7693) of the names and the IEEE 754 values, or words.

    Examples
    --------
    >>> a = point_seed(1, {"T": 2.0, "H": 0.0})
    >>> b = point_seed(1, {"H": -0.0, "T": 2.0})
    >>> bool((a == b).all()), bool((a == point_seed(2, {"T": 2.0, "H": 0.0})).any())
    (True, False)
    """
    words: npt.NDArray[np.uint64] = point_seeds(seed, [parameters])[0]
    return words


def point_seeds(seed: int, points: Iterable[Mapping[str, Value]]) -> npt.NDArray[np.uint64]:
    """Seeds of several points, (points, 4) uint64."""
    digests = b""
    for parameters in points:
        message = b"latticescape point 1\0" + str(seed).encode()
        for name, value in sorted(parameters.items()):
            message += b"\0" + name.encode()
            if isinstance(value, str):
                message += b"~" + value.encode()
            else:
                message += b"=" + struct.pack(">d", value + 0.0)
        digests += hashlib.blake2b(message, digest_size=32).digest()
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 4)
