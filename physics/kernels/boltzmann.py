"""Boltzmann factors, the same on every machine.

Vector units and C libraries round the last digit of exp differently. Here it is computed in decimal
arithmetic with 25 digits, which is fully specified.
"""

from decimal import Context, Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CONTEXT = Context(prec=25)

# Number of binary digits that share one table.
_DIGIT = 7

# Part of the flips that Metropolis' rule attempts. If it attempted all, a sweep in a fixed order
# would not be ergodic where flips cost nothing: some spins would move along a cycle for ever.
ATTEMPTED = 63 / 64

# For larger x, exp(-x) is 0 in double precision.
LARGEST_EXPONENT = 750.0


def boltzmann(x: npt.ArrayLike) -> Floats:
    """exp(−x), correctly rounded except in one case of 10^8.

    Parameters
    ----------
    x
        Energies in units of the temperature, any shape, all >= 0.

    Examples
    --------
    >>> boltzmann([0.0, 1.0, np.inf]).tolist()
    [1.0, 0.36787944117144233, 0.0]
    """
    exponents = np.minimum(np.asarray(x, np.float64), LARGEST_EXPONENT)
    values, places = np.unique(exponents, return_inverse=True)
    factors = np.array([float((-Decimal(float(v))).exp(_CONTEXT)) for v in values])
    table: Floats = factors[places].reshape(exponents.shape)
    return table


def boltzmann_multiples(x: float, n: npt.NDArray[np.int64]) -> Floats:
    """exp(−x·n) for many integers n >= 0, within a few units in the last place.

    A product of one factor for each group of binary digits of n, so that few exponentials are
    computed; products, too, are the same on every machine.

    Examples
    --------
    >>> bool(np.allclose(boltzmann_multiples(1e-3, np.array([0, 1, 5000])), np.exp([0, -1e-3, -5])))
    True
    """
    factors, rest, unit = np.ones(n.shape), n, 1
    digits = np.arange(2**_DIGIT)
    while rest.any():
        factors = factors * boltzmann(x * (digits * unit))[rest % 2**_DIGIT]
        rest, unit = rest >> _DIGIT, unit << _DIGIT
    return factors


def occupation(x: npt.ArrayLike) -> Floats:
    """1 / (1 + exp(x)): the probability of the upper of two states, x above the lower.

    Examples
    --------
    >>> occupation([0.0, -np.inf, 800.0]).tolist()
    [0.5, 1.0, 0.0]
    """
    energy = np.asarray(x, np.float64)
    factor = boltzmann(np.abs(energy))
    probability: Floats = np.where(energy > 0, factor, 1.0) / (1.0 + factor)
    return probability
