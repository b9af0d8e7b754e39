"""``Parameter``: a parameter of a model with its meaning, unit and bounds."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError


@dataclass(frozen=True)
class Parameter:
    """A parameter: meaning, unit, default (None: required), bounds, and whether it is an integer.

    An ``optional`` parameter belongs to a point only if it is fixed or swept. Parameters that are
    added to a model later are optional, so that older sweeps keep their digests and seeds.
    """

    name: str
    meaning: str = ""
    units: str = "1"
    default: float | None = None
    low: float = -np.inf
    high: float = np.inf
    low_excluded: bool = False
    whole: bool = False
    optional: bool = False

    @property
    def allowed(self) -> str:
        if self.whole:
            return f"a whole number, {replace(self, whole=False).allowed}"
        if np.isinf(self.low) and np.isinf(self.high):
            return "a finite number"
        if np.isinf(self.high):
            return f"{self.name} {'>' if self.low_excluded else '>='} {self.low:g}"
        return f"{self.low:g} to {self.high:g}"

    def check(self, value: object) -> float:
        """The value as a float, or a RequestError that names the bounds."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise self._error("is not a number", repr(value))
        below = value <= self.low if self.low_excluded else value < self.low
        if not -LARGEST <= value <= LARGEST or below or value > self.high:
            raise self._error("is out of bounds", value)
        if self.whole and value != int(value):
            raise self._error("must be a whole number", value)
        return float(value)

    def check_all(self, values: npt.NDArray[np.float64]) -> None:
        """Raise a RequestError for the first value that is out of bounds, as :meth:`check` does."""
        low = values <= self.low if self.low_excluded else values < self.low
        wrong = low | (values > self.high) | ~(np.abs(values) <= LARGEST)
        if self.whole:
            wrong |= values != np.floor(values)
        for value in values[wrong][:1]:
            self.check(float(value))

    def _error(self, problem: str, came: object) -> RequestError:
        excluded = np.isfinite(self.low) and self.low_excluded
        example = self.low + 1 if excluded else np.clip(0.5, self.low, self.high)
        example = np.ceil(example) if self.whole else example
        hint = f"{self.name} = {self.default if self.default is not None else example:g}"
        return RequestError(f"{self.name} {problem}", came=came, allowed=self.allowed, hint=hint)
