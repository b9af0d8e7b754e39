"""The exponential function in plain arithmetic, the same on every machine.

C libraries and vector units round the last digit of exp differently. Here exp(x) is 2 to a whole
power, and a polynomial of the rest; compiled code runs it as vector instructions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.models.model import REPLICAS

# exp in plain arithmetic, the same on every machine: x = k ln 2 + y, and a polynomial of y.
_LOG2_E = 1.44269504088896338700
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Adding it rounds to a whole number, which the lowest bits of the sum hold.
_ROUND = 6755399441055744.0
_LARGEST = 700.0


@compiled
def exponentials(x: Any, powers: Any, factors: Any) -> None:
    """exp(x) as ``factors`` times 2 to a power, (64,) each; ``powers`` receives the bits of the
    second factor."""
    for r in range(REPLICAS):
        clipped = min(max(x[r], -_LARGEST), _LARGEST)
        rounded = clipped * _LOG2_E + _ROUND
        powers[r] = rounded
        k = rounded - _ROUND
        y = (clipped - k * _LN2_HIGH) - k * _LN2_LOW
        total = 1.0 / 6227020800.0
        total = total * y + 1.0 / 479001600.0
        total = total * y + 1.0 / 39916800.0
        total = total * y + 1.0 / 3628800.0
        total = total * y + 1.0 / 362880.0
        total = total * y + 1.0 / 40320.0
        total = total * y + 1.0 / 5040.0
        total = total * y + 1.0 / 720.0
        total = total * y + 1.0 / 120.0
        total = total * y + 1.0 / 24.0
        total = total * y + 1.0 / 6.0
        total = total * y + 0.5
        total = total * y + 1.0
        factors[r] = total * y + 1.0


@compiled
def shift_powers(bits: Any) -> None:
    """From rounded sums to the bits of 2 to their power."""
    for r in range(REPLICAS):
        bits[r] = (bits[r] << 52) + (1023 << 52)


def exp_of(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """exp(x) of any number of values.

    Examples
    --------
    >>> exp_of(np.array([0.0, 1.0])).tolist()
    [1.0, 2.7182818284590455]
    """
    padded = np.zeros(-(-len(x) // REPLICAS) * REPLICAS)
    padded[: len(x)] = x
    powers, factors = np.empty(REPLICAS), np.empty(REPLICAS)
    for start in range(0, len(padded), REPLICAS):
        exponentials(padded[start : start + REPLICAS], powers, factors)
        shift_powers(powers.view(np.int64))
        padded[start : start + REPLICAS] = factors * powers
    return padded[: len(x)]
