"""``RequestError``: a request that cannot be met, what came, what is allowed, what to type.

``DamageError``: a store that cannot be read. ``Cancelled``: what a cancel check raises, a function
that a kernel calls regularly.
"""

import sys
from collections.abc import Callable, Collection
from numbers import Integral
from typing import Any, Self

# The largest float: excludes infinity and integers of more than 308 digits.
LARGEST = sys.float_info.max

# Longest value in a message; what came may be the text of a file.
MOST_SHOWN = 200


class RequestError(ValueError):
    """A request that cannot be met; raised before anything is computed.

    Parameters
    ----------
    problem
        What is wrong, in one clause.
    came
        The value that came.
    allowed
        The values that are allowed.
    hint
        What to type instead.

    Examples
    --------
    >>> print(RequestError("T must be positive", came=-1.0, allowed="T > 0", hint="T = 2.27"))
    T must be positive (came: -1.0; allowed: T > 0). Try: T = 2.27
    """

    def __init__(
        self, problem: str, *, came: object = None, allowed: object = None, hint: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.came = came
        self.allowed = allowed
        self.hint = hint

    def __str__(self) -> str:
        came = None if self.came is None else shortened(self.came)
        parts = (("came", came), ("allowed", self.allowed))
        details = "; ".join(f"{name}: {value}" for name, value in parts if value is not None)
        return (
            self.problem
            + (f" ({details})" if details else "")
            + (f". Try: {self.hint}" if self.hint else "")
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.came, self.allowed, self.hint)

    def within(self, place: str) -> Self:
        """The same error, with its place (a file, a table of a spec) put first."""
        return type(self)(
            f"{place}: {self.problem}", came=self.came, allowed=self.allowed, hint=self.hint
        )


class DamageError(RuntimeError):
    """A part of a store that exists and cannot be read."""


class Cancelled(Exception):  # noqa: N818
    """Raised by a cancel check when the points are no longer wanted."""


# Called about every second; it may raise Cancelled.
CancelCheck = Callable[[], None]


def never_cancelled() -> None:
    """No-op cancel check."""


def checked_integer(
    value: Any, low: int, high: int, problem: str, *, allowed: str = "", hint: str | None = None
) -> int:
    """The value as an int, if it is an integer from ``low`` to ``high``.

    Raises
    ------
    RequestError
        With this problem, if it is not.

    Examples
    --------
    >>> checked_integer(3, 1, 8, "size is out of range")
    3
    """
    integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not integer or not low <= value <= high:
        allowed = allowed or f"a whole number from {low} to {high}"
        raise RequestError(problem, came=repr(value), allowed=allowed, hint=hint)
    return int(value)


def checked_choice(
    value: Any, choices: Collection[str], problem: str, *, hint: str | None = None
) -> str:
    """The value, if it is one of these words.

    Raises
    ------
    RequestError
        With this problem, if it is not.

    Examples
    --------
    >>> checked_choice("square", ("square", "cubic"), "lattice.kind is unknown")
    'square'
    """
    if not isinstance(value, str) or value not in choices:
        raise RequestError(problem, came=repr(value), allowed=" | ".join(choices), hint=hint)
    return value


def shortened(value: object, width: int = MOST_SHOWN) -> str:
    """A value as text of at most ``width`` characters.

    Examples
    --------
    >>> shortened([1.5, 2.5, 3.5], width=9)
    '[1.5, 2.…'
    """
    text = str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _rebuild(
    kind: type[RequestError], problem: str, came: object, allowed: object, hint: str | None
) -> RequestError:
    return kind(problem, came=came, allowed=allowed, hint=hint)


# Tracebacks show the public name.
RequestError.__module__ = "latticescape"
