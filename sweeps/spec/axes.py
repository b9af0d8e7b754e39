"""``Axis``: the values of a swept parameter."""

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


@dataclass(frozen=True)
class Axis:
    """The values of one swept parameter, in order; ``spaced`` if written as start, stop, num."""

    values: tuple[float, ...]
    spaced: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, name: str, values: object) -> "Axis":
        """An axis from a list, an array, or a table of start, stop and num.

        Examples
        --------
        >>> Axis.of("T", {"start": 1.0, "stop": 2.0, "num": 3}).values
        (1.0, 1.5, 2.0)
        """
        if isinstance(values, Axis):
            return values
        if isinstance(values, Mapping):
            return cls(_linspace(name, values), spaced=True)
        if isinstance(values, np.ndarray) and values.ndim:
            numbers = _numbers(name, values)
            spaced = np.linspace(numbers[0], numbers[-1], len(numbers))
            return cls(numbers, spaced=len(numbers) > 2 and numbers == tuple(spaced))
        if isinstance(values, Sequence) and not isinstance(values, str):
            return cls(_numbers(name, values))
        raise _axis_error(name, "is not a list", repr(values))

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
        if old == tuple(sorted(old)):
            return Axis.of(name, np.sort([*old, *new]))
        if old == tuple(sorted(old, reverse=True)):
            return Axis.of(name, np.sort([*old, *new])[::-1])
        return Axis.of(name, [*old, *new])

    def _holds(self, value: float) -> bool:
        gaps = np.abs(np.diff(np.sort(self.values)))
        near = ROUNDING * (float(gaps.min()) if gaps.size else abs(self.values[0]))
        return bool((np.abs(np.array(self.values) - value) <= near).any())

    @property
    def spec(self) -> list[float] | dict[str, float | int]:
        """The axis as it is written in a spec file."""
        if self.spaced:
            return {"start": self.values[0], "stop": self.values[-1], "num": len(self.values)}
        return list(self.values)


AxisLike = Sequence[float] | npt.NDArray[Any] | Mapping[str, float] | Axis


def _axis_error(name: str, problem: str, came: object) -> RequestError:
    return RequestError(
        f"grid.{name} {problem}",
        came=came,
        allowed="a list of different finite numbers, or a table of start, stop and num",
        hint=f"{name} = {{ start = 1.5, stop = 3.5, num = 41 }}",
    )


def _linspace(name: str, table: Mapping[str, object]) -> tuple[float, ...]:
    if set(table) != {"start", "stop", "num"}:
        raise _axis_error(name, "is not a table of start, stop and num", ", ".join(table) or "{}")
    num = table["num"]
    if isinstance(num, bool) or not isinstance(num, (int, np.integer)) or num < 1:
        raise _axis_error(name, "has a num that is not a whole number above 0", repr(num))
    if num > MAX_POINTS:
        raise _axis_error(name, f"has more than {MAX_POINTS} values", num)
    start, stop = (_numbers(name, [table[key]])[0] for key in ("start", "stop"))
    with np.errstate(over="ignore", invalid="ignore"):
        return _numbers(name, np.linspace(start, stop, int(num)))


def _numbers(name: str, values: Sequence[Any] | npt.NDArray[Any]) -> tuple[float, ...]:
    """Different finite numbers."""
    if not len(values):
        raise _axis_error(name, "is empty", "[]")
    if not (isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.ndim == 1):
        for value in (values := list(values)):
            number = isinstance(value, (int, float, np.integer, np.floating))
            if isinstance(value, bool) or not number:
                raise _axis_error(name, "holds a value that is not a number", repr(value))
            if not -LARGEST <= value <= LARGEST:
                raise _axis_error(name, "holds a number that is not finite", value)
    array = np.array(values, float)
    infinite = ~(np.abs(array) <= LARGEST)
    if infinite.any():
        raise _axis_error(name, "holds a number that is not finite", array[infinite][0])
    numbers = tuple((array + 0.0).tolist())
    if len(set(numbers)) < len(numbers):
        twice = next(v for i, v in enumerate(numbers) if v in numbers[:i])
        raise _axis_error(name, "holds a value twice", twice)
    return numbers


def axes_of(spec: str) -> dict[str, npt.NDArray[np.float64]]:
    r"""The values of all axes of a spec's text, without the models and kernels that it names.

    Examples
    --------
    >>> axes_of("[grid]\nT = [1.5, 2.0]")
    {'T': array([1.5, 2. ])}
    """
    grid = tomllib.loads(spec)["grid"]
    return {name: np.array(Axis.of(name, values).values) for name, values in grid.items()}
