"""What a key of a profile may hold, and what is told if it holds something else."""

import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any

from dask.utils import parse_bytes

from latticescape.physics.errors import RequestError


@dataclass(frozen=True)
class Key:
    """One key: how its value is read, what is allowed, and a line that works."""

    read: Callable[[Any], Any]
    allowed: str
    example: str

    def of(self, name: str, value: object) -> Any:
        """The value, checked.

        Raises
        ------
        RequestError
            If it is not allowed.
        """
        try:
            return self.read(value)
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise RequestError(
                f"{name} cannot be used",
                came=repr(value),
                allowed=self.allowed,
                hint=f"{name} = {self.example}",
            ) from None


def key(read: Callable[[Any], Any], allowed: str, example: str, default: Any = MISSING) -> Any:
    """A field of a profile; without default it must be given."""
    return field(default=default, metadata={"key": Key(read, allowed, example)})


def whole(least: int = 1, most: int = 100_000) -> tuple[Callable[[Any], int], str]:
    """A whole number in a range."""

    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return read, f"a whole number from {least} to {most}"


def number(least: float, most: float) -> tuple[Callable[[Any], float], str]:
    """A number in a range."""

    def read(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError
        return float(value)

    return read, f"a number from {least:g} to {most:g}"


def matching(pattern: str) -> Callable[[Any], str]:
    """A text that as a whole has a form."""

    def read(value: Any) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError
        return str(value)

    return read


def one_of(*choices: str) -> tuple[Callable[[Any], str], str]:
    """One of a few words."""
    return matching("|".join(map(re.escape, choices))), " | ".join(choices)


def lines(pattern: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of texts of one line each."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError
        return tuple(map(matching(pattern), value))

    return read


def memory(value: Any) -> str:
    """An amount of memory with its unit, at least 100 MB: less holds no worker."""
    if not re.fullmatch(r"[0-9.]+ ?[kMGT]i?B", value) or parse_bytes(value) < 100e6:
        raise ValueError
    return str(value)


def path(value: Any) -> Path:
    """A path; the profile's reader puts it below the profile's own folder."""
    if not value or "\n" in value or "\0" in value:
        raise ValueError
    return Path(value)


WALLTIME = r"(?:([0-9]+)-)?([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])"


def walltime_seconds(walltime: str) -> int:
    """Seconds of a walltime.

    Examples
    --------
    >>> walltime_seconds("01:30:00"), walltime_seconds("2-00:00:00")
    (5400, 172800)
    """
    found = re.fullmatch(WALLTIME, walltime)
    if found is None:
        raise ValueError(walltime)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def walltime(value: Any) -> str:
    """A walltime of a minute or more."""
    if walltime_seconds(value) < 60:
        raise ValueError
    return str(value)
