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
from latticescape.physics.models.model import ParametricModel
from latticescape.physics.registry import kernel_for
from latticescape.physics.variables import RESTART, checked_keep
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.functions.source_digest import Source
from latticescape.sweeps.spec.axes import MAX_POINTS, Axis, AxisLike

FORMAT = 2


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
    """A lattice model, or a user's own function, over a grid of parameters.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate at every point; or
    kernel
        a user's own function to compute there, see :func:`latticescape.kernel`.
    grid
        The swept parameters in order: each a list or array of values, or a mapping with start,
        stop and num. They become the dimensions of the Dataset.
    seed
        0 to 2^63 − 1. A point's random numbers depend on it and on the point's own parameters.
    keep
        What to store besides the averages. ``"samples"``: features and configurations of every
        measurement, for :func:`latticescape.reweight`; ``"spins"``: the last spins of all replicas.
        Changes no bit of the averages.
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
        extendable: bool = True,
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
        extendable: bool = True,
    ) -> None:
        if not _instance("grid", grid):
            raise RequestError(
                "grid is empty: nothing is swept",
                allowed="at least one axis",
                hint="T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
            )
        axes = {str(name): Axis.of(str(name), values) for name, values in (grid or {}).items()}
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
        chosen = _kernel(kernel, parts, tuple(axes), _checked_keep(keep, extendable))
        object.__setattr__(self, "kernel", chosen)
        self.kernel.check(self.axes)

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.kernel, FunctionKernel):
            parts: dict[str, Any] = {"kernel": self.kernel}
        else:
            parts = {"lattice": self.lattice, "model": self.model, "schedule": self.schedule}
            parts |= {"keep": self.keep, "extendable": self.extendable}
        return partial(Sweep, grid=dict(self.grid), seed=self.seed, **parts), ()

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
        return type(self)(kernel=self.kernel.with_source(source), grid=self.grid, seed=self.seed)

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
        grid = {**self.grid, **new}
        if isinstance(self.kernel, FunctionKernel):
            return type(self)(kernel=self.kernel, grid=grid, seed=self.seed)
        parts = (self.lattice, self.model, grid, self.schedule, self.seed)
        return type(self)(*parts, keep=self.keep, extendable=self.extendable)

    def lengthened(self, **longer: Any) -> Self:
        """The same sweep with a longer schedule.

        A point's random numbers do not depend on the length: ``run(lengthened, new_store,
        base=old_store)`` goes on from the points of the old store.

        Parameters
        ----------
        **longer
            The new ``samples`` and ``equilibration_mcs``.

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
        parts = (self.lattice, self.model, self.grid, replace(self.schedule, **longer), self.seed)
        return type(self)(*parts, keep=self.keep, extendable=self.extendable)

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

    def kernel_inputs(
        self, points: Sequence[Mapping[str, float]]
    ) -> tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.uint64]]:
        """What the kernel computes points from: coordinates by axis, and seeds.

        Returns
        -------
        axes, seeds
            (points,) float64 each, and (points, 4) uint64.
        """
        axes = {name: np.array([point[name] for point in points]) for name in self.grid}
        return axes, point_seeds(self.seed, map(self.kernel.parameters, points))

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
        """SHA-256 of the description: the same on every machine, different for other results."""
        return hashlib.sha256(json.dumps(self.description).encode()).hexdigest()

    def to_toml(self) -> str:
        """The spec file of this sweep."""
        tables: dict[str, Any] = {"sweep": {"seed": self.seed}}
        if self.keep:
            tables["sweep"]["keep"] = list(self.keep)
        if isinstance(self.kernel, ModelKernel) and not self.extendable:
            tables["sweep"]["extendable"] = False
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
        from latticescape.sweeps.schema import read_text

        text = read_text(Path(path), "the spec file", "latticescape plan ising.toml")
        try:
            return cls.from_toml(text)
        except RequestError as error:
            raise error.within(str(path)) from None


def _kernel(
    kernel: FunctionKernel | None,
    parts: Mapping[str, object],
    swept: tuple[str, ...],
    keep: tuple[str, ...],
) -> Kernel:
    if kernel is None:
        lattice, model, schedule = (_instance(name, part) for name, part in parts.items())
        return kernel_for(lattice, model, schedule, swept, keep)
    others = [name for name, part in parts.items() if part is not None]
    others += [word for word in ("keep",) if set(keep) - {RESTART}]
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


def point_seed(seed: int, parameters: Mapping[str, float]) -> npt.NDArray[np.uint64]:
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
        (4,) uint64, from BLAKE2b (RFC 7693) of the names and the IEEE 754 values.

    Examples
    --------
    >>> a = point_seed(1, {"T": 2.0, "H": 0.0})
    >>> b = point_seed(1, {"H": -0.0, "T": 2.0})
    >>> bool((a == b).all()), bool((a == point_seed(2, {"T": 2.0, "H": 0.0})).any())
    (True, False)
    """
    words: npt.NDArray[np.uint64] = point_seeds(seed, [parameters])[0]
    return words


def point_seeds(seed: int, points: Iterable[Mapping[str, float]]) -> npt.NDArray[np.uint64]:
    """Seeds of several points, (points, 4) uint64."""
    digests = b""
    for parameters in points:
        message = b"latticescape point 1\0" + str(seed).encode()
        for name, value in sorted(parameters.items()):
            message += b"\0" + name.encode() + b"=" + struct.pack(">d", value + 0.0)
        digests += hashlib.blake2b(message, digest_size=32).digest()
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 4)
