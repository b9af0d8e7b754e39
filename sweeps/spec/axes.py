"""``Axis``: the values of a swept parameter; ``Points``: of several that are swept together."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError

MAX_POINTS = 10**7

# Values closer than this fraction of the smallest step of an axis differ only by rounding.
ROUNDING = 1e-9


# A parameter is a number; or, of a user's own function, a word, or true or false.
Value = float | str | bool


@dataclass(frozen=True)
class Axis:
    """The values of one swept parameter, in order; ``spaced`` if written as start, stop, num."""

    values: tuple[Value, ...]
    spaced: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, name: str, values: object, *, repeated: bool = False) -> "Axis":
        """An axis from a list, an array, or a table of start, stop and num.

        Only if ``repeated``, as in :class:`Points`, may it hold a value twice.

        Examples
        --------
        >>> Axis.of("T", {"start": 1.0, "stop": 2.0, "num": 3}).values
        (1.0, 1.5, 2.0)
        """
        if isinstance(values, Axis):
            return values
        if isinstance(values, Mapping):
            return cls(_values(name, _linspace(name, values), repeated), spaced=True)
        if isinstance(values, np.ndarray) and values.ndim:
            made = _values(name, values, repeated)
            if len(made) < 3 or np.asarray(made).dtype.kind != "f":
                return cls(made)
            return cls(made, made == tuple(np.linspace(values[0], values[-1], len(made))))
        if isinstance(values, Sequence) and not isinstance(values, str):
            return cls(_values(name, values, repeated))
        raise axis_error(name, "is not a list", repr(values))

    def united(self, name: str, values: object) -> "Axis":
        """This axis with more values: sorted if it is sorted, else appended.

        A new value within rounding of an old one is the old one.

        Examples
        --------
        >>> Axis((0.0, 0.3)).united("T", [0.1 + 0.2, 0.2]).values
        (0.0, 0.2, 0.3)
        """
        old = self.values
        new = [value for value in Axis.of(name, values).values if not self._holds(value)]
        both = [*old, *new]
        if any(isinstance(value, (str, bool)) for value in both):
            return Axis.of(name, both)
        if old == tuple(sorted(old)):
            return Axis.of(name, np.sort(both))
        if old == tuple(sorted(old, reverse=True)):
            return Axis.of(name, np.sort(both)[::-1])
        return Axis.of(name, both)

    def _holds(self, value: Value) -> bool:
        if any(isinstance(some, (str, bool)) for some in (value, *self.values)):
            return value in self.values
        numbers = np.array(self.values, float)
        gaps = np.abs(np.diff(np.sort(numbers)))
        near = ROUNDING * (float(gaps.min()) if gaps.size else abs(numbers[0]))
        return bool((np.abs(numbers - value) <= near).any())

    @property
    def spec(self) -> list[Value] | dict[str, Value]:
        """The axis as it is written in a spec file."""
        if self.spaced:
            return {"start": self.values[0], "stop": self.values[-1], "num": len(self.values)}
        return list(self.values)


@dataclass(frozen=True)
class Points:
    """Values of several parameters that are swept together, along one dimension."""

    columns: Mapping[str, Axis]

    @classmethod
    def of(cls, name: str, points: Any) -> "Points":
        """Points from a list of tables, from a table of equally long lists, or from a DataFrame.

        Examples
        --------
        >>> points = Points.of("point", [{"T": 1.0, "H": 0.0}, {"T": 2.0, "H": 0.5}])
        >>> points.columns["H"].values
        (0.0, 0.5)
        """
        if isinstance(points, Points):
            return points
        if isinstance(points, Sequence) and not isinstance(points, str):
            points = _transposed(name, points)
        elif hasattr(points, "columns"):
            points = {column: points[column].to_numpy() for column in points.columns}
        if not isinstance(points, Mapping) or not points:
            raise _points_error(name, "are no points", repr(points))
        columns = {str(n): Axis.of(f"{name}.{n}", v, repeated=True) for n, v in points.items()}
        lengths = {n: len(axis.values) for n, axis in columns.items()}
        if len(set(lengths.values())) > 1:
            came = ", ".join(f"{length} of {n}" for n, length in lengths.items())
            raise _points_error(name, "have lists of different lengths", came)
        if name in columns:
            raise _points_error(name, "have the name of one of their parameters", name)
        made, seen = cls(columns), set[tuple[object, ...]]()
        for row in made.rows:
            key = tuple(map(printed, row))
            if key in seen:
                came = ", ".join(f"{n} = {v}" for n, v in zip(columns, row, strict=True))
                raise _points_error(name, "hold a point twice", came)
            seen.add(key)
        return made

    @property
    def rows(self) -> list[tuple[Value, ...]]:
        """The values of every point."""
        return list(zip(*(axis.values for axis in self.columns.values()), strict=True))

    def united(self, name: str, points: object) -> "Points":
        """These points and more behind them; one of these is not taken twice.

        Examples
        --------
        >>> points = Points.of("point", {"T": [1.0], "H": [0.0]})
        >>> points.united("point", [{"H": 0.0, "T": 1.0}, {"H": 0.1, "T": 1.0}]).rows
        [(1.0, 0.0), (1.0, 0.1)]
        """
        new = Points.of(name, points)
        if set(new.columns) != set(self.columns):
            raise _points_error(name, "have other parameters", ", ".join(new.columns))
        old = {tuple(map(printed, row)) for row in self.rows}
        ordered = zip(*(new.columns[n].values for n in self.columns), strict=True)
        added = [row for row in ordered if tuple(map(printed, row)) not in old]
        return Points.of(
            name, dict(zip(self.columns, zip(*self.rows, *added, strict=True), strict=True))
        )

    @property
    def spec(self) -> dict[str, list[Value]]:
        """The points as they are written in a spec file."""
        return {name: list(axis.values) for name, axis in self.columns.items()}


AxisLike = Sequence[Value] | npt.NDArray[Any] | Mapping[str, Any] | Axis | Points


def printed(value: object) -> object:
    """A value as printed with 15 digits: numbers that agree in these are one value.

    Examples
    --------
    >>> printed(0.1 + 0.2) == printed(0.3), printed(0.3) == printed(0.30000000000001)
    (True, False)
    """
    return f"{value:.15g}" if isinstance(value, float) else value


def dimension_of(name: str, values: Any) -> Axis | Points:
    """An axis of the grid: of one parameter, or of several that are swept together."""
    if isinstance(values, Mapping) and values and not set(values) & {"start", "stop", "num"}:
        return Points.of(name, values)
    return values if isinstance(values, Points) else Axis.of(name, values)


def columns_of(grid: Mapping[str, Axis | Points]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The values of every parameter, by dimension."""
    return {
        name: {n: np.array(a.values) for n, a in along.columns.items()}
        if isinstance(along, Points)
        else {name: np.array(along.values)}
        for name, along in grid.items()
    }


def _transposed(name: str, points: Sequence[Any]) -> dict[str, list[Any]]:
    if not points:
        raise _points_error(name, "are empty", "[]")
    for number, point in enumerate(points):
        if not isinstance(point, Mapping):
            raise _points_error(name, f"hold no table at number {number + 1}", repr(point))
        if set(point) != set(points[0]):
            problem = f"have other parameters at number {number + 1} than at number 1"
            raise _points_error(name, problem, ", ".join(map(str, point)) or "none")
    return {key: [point[key] for point in points] for key in points[0]}


def _points_error(name: str, problem: str, came: str) -> RequestError:
    return RequestError(
        f"the points of {name} {problem}" if name != "point" else f"points {problem}",
        came=came,
        allowed="different points, each with a value of every parameter",
        hint="points = [{ T = 2.0, H = 0.0 }, { T = 2.5, H = 0.1 }]",
    )


def axis_error(name: str, problem: str, came: object) -> RequestError:
    """The error of an axis of the grid that cannot be used."""
    return RequestError(
        f"grid.{name} {problem}",
        came=came,
        allowed="a list of different finite numbers, or a table of start, stop and num",
        hint=f"{name.rpartition('.')[2]} = {{ start = 1.5, stop = 3.5, num = 41 }}",
    )


def _linspace(name: str, table: Mapping[str, object]) -> npt.NDArray[np.float64]:
    if set(table) != {"start", "stop", "num"}:
        raise axis_error(name, "is not a table of start, stop and num", ", ".join(table) or "{}")
    num = table["num"]
    if isinstance(num, bool) or not isinstance(num, (int, np.integer)) or num < 1:
        raise axis_error(name, "has a num that is not a whole number above 0", repr(num))
    if num > MAX_POINTS:
        raise axis_error(name, f"has more than {MAX_POINTS} values", num)
    start, stop = (_numbers(name, [table[key]])[0] for key in ("start", "stop"))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linspace(start, stop, int(num))


def _numbers(name: str, values: Sequence[Any] | npt.NDArray[Any]) -> tuple[float, ...]:
    """Finite numbers."""
    if not (isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.ndim == 1):
        for value in (values := list(values)):
            number = isinstance(value, (int, float, np.integer, np.floating))
            if isinstance(value, (bool, np.bool_)) or not number:
                raise axis_error(name, "holds a value that is not a number", repr(value))
            if not -LARGEST <= value <= LARGEST:
                raise axis_error(name, "holds a number that is not finite", value)
    array = np.array(values, float)
    infinite = ~(np.abs(array) <= LARGEST)
    if infinite.any():
        raise axis_error(name, "holds a number that is not finite", array[infinite][0])
    return tuple((array + 0.0).tolist())


def _values(
    name: str, values: Sequence[Any] | npt.NDArray[Any], repeated: bool
) -> tuple[Value, ...]:
    """Finite numbers, or words, or booleans; different ones unless ``repeated``."""
    if not len(values):
        raise axis_error(name, "is empty", "[]")
    made: tuple[Value, ...]
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        made = tuple(map(bool, values))
    elif all(isinstance(value, str) for value in values):
        words = tuple(map(str, values))
        strange = [word for word in words if not word.isprintable() or not word.strip()]
        if strange:
            raise axis_error(name, "holds a word that cannot be printed", repr(strange[0]))
        made = words
    else:
        made = _numbers(name, values)
    texts = [printed(value) for value in made]
    if not repeated and len(set(texts)) < len(texts):
        twice = next(v for i, v in enumerate(made) if texts[i] in texts[:i])
        raise axis_error(name, "holds a value twice", twice)
    return made


def columns_in(spec: str) -> dict[str, dict[str, npt.NDArray[Any]]]:
    r"""The values of all axes of a spec's text, without the models and kernels that it names.

    Examples
    --------
    >>> columns_in("[grid]\nT = [1.5, 2.0]")
    {'T': {'T': array([1.5, 2. ])}}
    """
    grid = tomllib.loads(spec)["grid"]
    return columns_of({name: dimension_of(name, values) for name, values in grid.items()})
