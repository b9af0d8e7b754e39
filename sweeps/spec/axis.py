"""``Axis``: the checked values of one swept parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError

MOST_VALUES = 10**7

# Values nearer than this, in the least step of an axis, differ by rounding alone.
SAME = 1e-9


@dataclass(frozen=True)
class Axis:
    """The values of one swept parameter, in order; ``spaced`` if written as start, stop, num."""

    values: tuple[float, ...]
    spaced: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, name: str, given: object) -> "Axis":
        """An axis from a list, an array, or a table of start, stop and num.

        Examples
        --------
        >>> Axis.of("T", {"start": 1.0, "stop": 2.0, "num": 3}).values
        (1.0, 1.5, 2.0)
        """
        if isinstance(given, Axis):
            return given
        if isinstance(given, Mapping):
            return cls(_spaced_values(name, given), spaced=True)
        if isinstance(given, np.ndarray) and given.ndim:
            values = _checked_values(name, given)
            return cls(values, spaced=_is_spaced(values))
        if isinstance(given, Sequence) and not isinstance(given, str):
            return cls(_checked_values(name, given))
        raise _axis_error(name, "is no list", repr(given))

    def united(self, name: str, given: object) -> "Axis":
        """This axis with more values: in order if it is in order, else behind those there are.

        A new value within rounding of an old one is the old one.

        Examples
        --------
        >>> Axis((0.0, 0.3)).united("T", [0.1 + 0.2, 0.2]).values
        (0.0, 0.2, 0.3)
        """
        old = self.values
        new = [value for value in Axis.of(name, given).values if not self._holds(value)]
        if old == tuple(sorted(old)):
            return Axis.of(name, np.sort([*old, *new]))
        if old == tuple(sorted(old, reverse=True)):
            return Axis.of(name, np.sort([*old, *new])[::-1])
        return Axis.of(name, [*old, *new])

    def _holds(self, value: float) -> bool:
        gaps = np.abs(np.diff(np.sort(self.values)))
        near = SAME * (float(gaps.min()) if gaps.size else abs(self.values[0]))
        return bool((np.abs(np.array(self.values) - value) <= near).any())

    @property
    def spec(self) -> list[float] | dict[str, float | int]:
        """As it is written in a spec file."""
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


def _is_spaced(values: tuple[float, ...]) -> bool:
    return len(values) > 2 and values == tuple(np.linspace(values[0], values[-1], len(values)))


def _spaced_values(name: str, table: Mapping[str, object]) -> tuple[float, ...]:
    if set(table) != {"start", "stop", "num"}:
        raise _axis_error(name, "is no table of start, stop and num", ", ".join(table) or "{}")
    num = table["num"]
    if isinstance(num, bool) or not isinstance(num, (int, np.integer)) or num < 1:
        raise _axis_error(name, "has a num that is no whole number above 0", repr(num))
    if num > MOST_VALUES:
        raise _axis_error(name, f"has more than {MOST_VALUES} values", num)
    start, stop = _checked_values(name, [table["start"]]) + _checked_values(name, [table["stop"]])
    with np.errstate(over="ignore", invalid="ignore"):
        return _checked_values(name, np.linspace(start, stop, int(num)))


def _checked_values(name: str, given: Sequence[Any] | npt.NDArray[Any]) -> tuple[float, ...]:
    if not len(given):
        raise _axis_error(name, "is empty", "[]")
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu" and given.ndim == 1:
        values = _checked_array(name, given)
    else:
        values = _checked_list(name, list(given))
    if len(set(values)) < len(values):
        twice = next(v for i, v in enumerate(values) if v in values[:i])
        raise _axis_error(name, "holds a value twice", twice)
    return values


def _checked_array(name: str, given: npt.NDArray[Any]) -> tuple[float, ...]:
    values = given.astype(float)
    wrong = ~(np.abs(values) <= LARGEST)
    if wrong.any():
        raise _axis_error(name, "holds a number that is not finite", values[wrong][0])
    return tuple((values + 0.0).tolist())


def _checked_list(name: str, given: list[Any]) -> tuple[float, ...]:
    for value in given:
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise _axis_error(name, "holds something that is no number", repr(value))
        if not -LARGEST <= value <= LARGEST:
            raise _axis_error(name, "holds a number that is not finite", value)
    return tuple(float(value) + 0.0 for value in given)
