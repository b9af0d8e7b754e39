"""``Parameter``: a number a model takes, with its meaning, unit and bounds."""

from dataclasses import dataclass, replace

import numpy as np

from physics.errors import LARGEST, RequestError


@dataclass(frozen=True)
class Parameter:
    """A parameter: its meaning, unit, default (None: must be given), bounds, whether whole."""

    name: str
    meaning: str = ""
    units: str = "1"
    default: float | None = None
    low: float = -np.inf
    high: float = np.inf
    low_excluded: bool = False
    whole: bool = False

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
        excluded = np.isfinite(self.low) and self.low_excluded
        example = self.low + 1 if excluded else np.clip(0.5, self.low, self.high)
        example = np.ceil(example) if self.whole else example
        hint = f"{self.name} = {self.default if self.default is not None else example:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise RequestError(
                f"{self.name} is not a number", came=repr(value), allowed=self.allowed, hint=hint
            )
        below = value <= self.low if self.low_excluded else value < self.low
        if not -LARGEST <= value <= LARGEST or below or value > self.high:
            raise RequestError(
                f"{self.name} is out of bounds", came=value, allowed=self.allowed, hint=hint
            )
        if self.whole and value != int(value):
            raise RequestError(
                f"{self.name} is no whole number", came=value, allowed=self.allowed, hint=hint
            )
        return float(value)
