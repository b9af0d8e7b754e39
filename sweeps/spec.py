"""``Sweep``: what to simulate, where, and for how long; frozen, checked, TOML both ways."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import tomlkit

from physics.errors import RequestError
from physics.lattices import LATTICES, Lattice
from physics.models import MODELS, Model
from physics.schedule import Schedule
from physics.simulation import Simulation
from sweeps.axis import Axis, AxisLike
from sweeps.kernel import Kernel

MOST_POINTS = 10**7
FORMAT = 1


_KINDS: dict[str, tuple[type, str]] = {
    "lattice": (Lattice, "square(64)"),
    "model": (Model, "Ising()"),
    "grid": (Mapping, '{"T": [2.0, 2.5]}'),
    "schedule": (Schedule, "Schedule(2000, 500, 10)"),
}


@dataclass(frozen=True, eq=False)
class Sweep:
    """A lattice model over a grid of parameters.

    Parameters
    ----------
    lattice, model, schedule
        What is simulated at every point.
    grid
        The swept parameters in order: each a list or array of values, or a mapping with start,
        stop and num. They become the dimensions of the Dataset.
    seed
        0 to 2^63 − 1. A point's random numbers depend on it and on the point's own parameters.

    Raises
    ------
    RequestError
        If anything in it cannot be simulated; nothing is spent before.

    Examples
    --------
    >>> from physics import Ising, Schedule, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5], "H": [0.0]}, Schedule(10, 5, 2), seed=1)
    >>> sweep.shape, sweep.digest == Sweep.from_toml(sweep.to_toml()).digest
    ((2, 1), True)
    """

    lattice: Lattice
    model: Model
    grid: Mapping[str, AxisLike]
    schedule: Schedule
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_kinds()
        whole = isinstance(self.seed, (int, np.integer)) and not isinstance(self.seed, bool)
        if not whole or not 0 <= self.seed < 2**63:
            raise RequestError(
                "seed is out of range",
                came=repr(self.seed),
                allowed="a whole number from 0 to 2^63 - 1",
                hint="seed = 2026",
            )
        if not self.grid:
            raise RequestError(
                "grid is empty: nothing is swept",
                allowed="at least one axis",
                hint="T = { start = 1.5, stop = 3.5, num = 41 } in [grid]",
            )
        axes = {str(name): Axis.of(str(name), values) for name, values in self.grid.items()}
        object.__setattr__(self, "grid", MappingProxyType(axes))
        object.__setattr__(self, "seed", int(self.seed))
        if self.points > MOST_POINTS:
            raise RequestError(
                "the grid has too many points",
                came=self.points,
                allowed=f"up to {MOST_POINTS}",
                hint="a coarser grid, or several sweeps",
            )
        self.kernel.check(self.axes)

    def _check_kinds(self) -> None:
        for name, (kind, example) in _KINDS.items():
            given = getattr(self, name)
            if not isinstance(given, kind):
                raise RequestError(
                    f"{name} is no {kind.__name__}",
                    came=repr(given),
                    allowed=f"a {kind.__name__}",
                    hint=f"{name}={example}",
                )

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Sweep, (self.lattice, self.model, dict(self.grid), self.schedule, self.seed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def axes(self) -> dict[str, npt.NDArray[np.float64]]:
        """Values of every axis, in order."""
        return {name: np.array(Axis.of(name, axis).values) for name, axis in self.grid.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of every axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def points(self) -> int:
        """Number of points of the grid."""
        return int(np.prod(self.shape, dtype=object))

    @cached_property
    def kernel(self) -> Kernel:
        """What computes a point."""
        return Simulation(self.lattice, self.model, self.schedule, swept=tuple(self.grid))

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
            **{f"grid.{name}": list(Axis.of(name, a).values) for name, a in self.grid.items()},
            "grid (order of axes)": list(self.grid),
            "sweep.seed": self.seed,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the description: the same on every machine, another for another result."""
        return hashlib.sha256(json.dumps(self.description).encode()).hexdigest()

    def to_toml(self) -> str:
        """The spec file of this sweep."""
        return tomlkit.dumps(
            {
                "sweep": {"seed": self.seed},
                "lattice": {"kind": self.lattice.kind, "size": self.lattice.size},
                "model": {"kind": self.model.kind, **self.model.given},
                "grid": {name: _inline(Axis.of(name, axis)) for name, axis in self.grid.items()},
                "schedule": asdict(self.schedule),
            }
        )

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
        try:
            tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            # Not every TOMLDecodeError: a number of thousands of digits and deep brackets.
            raise RequestError(
                "the spec is not valid TOML", came=error, hint="lines such as T = [2.0, 2.5]"
            ) from None
        _check_tables(tables)
        return cls(
            lattice=_lattice(tables["lattice"]),
            model=_model(tables["model"]),
            grid=tables["grid"],
            schedule=_schedule(tables["schedule"]),
            seed=tables.get("sweep", {}).get("seed", 0),
        )

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


def _inline(axis: Axis) -> object:
    """An axis on one line: a table of its own would be moved behind the lists, and axes have an
    order."""
    spec = axis.spec
    if isinstance(spec, list):
        return spec
    table = tomlkit.inline_table()
    table.update(spec)
    return table


_TABLES = {
    "sweep": ("seed",),
    "lattice": ("kind", "size"),
    "schedule": ("equilibration_mcs", "samples", "stride_mcs", "update", "tempering_mcs"),
    "model": None,
    "grid": None,
}
_OPTIONAL = {"seed", "update", "tempering_mcs"}


def _check_tables(tables: Mapping[str, Any]) -> None:
    _check_keys("the spec", "table", tables, tuple(_TABLES), required=set(_TABLES) - {"sweep"})
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise RequestError(
                f"{name} is no table", came=repr(table), allowed=f"[{name}]", hint=f"[{name}]"
            )
        keys = _TABLES[name]
        if keys:
            _check_keys(f"[{name}]", "key", table, keys, required=set(keys) - _OPTIONAL)


def _check_keys(
    place: str, noun: str, table: Mapping[str, Any], allowed: tuple[str, ...], required: set[str]
) -> None:
    told = ", ".join(allowed)
    for key in table:
        if key not in allowed:
            raise RequestError(f"{place} has an unknown {noun}", came=key, allowed=told)
    for key in allowed:
        if key in required and key not in table:
            hint = f"[{key}]" if noun == "table" else f"{key} = …"
            raise RequestError(f"{place} lacks the {noun} {key}", allowed=told, hint=hint)


def _chosen(place: str, table: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise RequestError(
            f"[{place}] {'has an unknown' if 'kind' in table else 'lacks the key'} kind",
            came=repr(kind) if "kind" in table else None,
            allowed=" | ".join(kinds),
            hint=f'kind = "{next(iter(kinds))}"',
        )
    return kinds[kind]


def _lattice(table: Mapping[str, Any]) -> Lattice:
    lattice: Lattice = _chosen("lattice", table, LATTICES)(table["size"])
    return lattice


def _model(table: Mapping[str, Any]) -> Model:
    kind: type[Model] = _chosen("model", table, MODELS)
    given = {name: value for name, value in table.items() if name != "kind"}
    try:
        for name in given:
            kind.parameter(name)
        return kind(**given)
    except RequestError as error:
        raise error.within("[model]") from None


def _schedule(table: Mapping[str, Any]) -> Schedule:
    return Schedule(**table)
