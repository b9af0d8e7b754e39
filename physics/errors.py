"""What a wrong request is answered with: what came, what is allowed, what to type."""

import sys
from typing import Self

# A number of a larger size is no float: infinity, or a whole number of more than 308 digits.
LARGEST = sys.float_info.max

# Of what came only so much is told: it may be a whole file.
MOST_TOLD = 200


class RequestError(ValueError):
    """A request that cannot be met, found before anything was spent on it.

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
        told = "; ".join(f"{name}: {value}" for name, value in parts if value is not None)
        return (
            self.problem
            + (f" ({told})" if told else "")
            + (f". Try: {self.hint}" if self.hint else "")
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.came, self.allowed, self.hint)

    def within(self, place: str) -> Self:
        """The same error, with the place it was found in (a file, a table of a spec) put first."""
        return type(self)(
            f"{place}: {self.problem}", came=self.came, allowed=self.allowed, hint=self.hint
        )


def shortened(value: object, width: int = MOST_TOLD) -> str:
    """A value in at most so many characters.

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
