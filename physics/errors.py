"""What a wrong request is answered with: what came, what is allowed, what to type."""

from typing import Self


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
        parts = (("came", self.came), ("allowed", self.allowed))
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


def _rebuild(
    kind: type[RequestError], problem: str, came: object, allowed: object, hint: str | None
) -> RequestError:
    return kind(problem, came=came, allowed=allowed, hint=hint)
