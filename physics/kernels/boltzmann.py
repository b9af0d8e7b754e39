"""Boltzmann factors, the same on every machine.

Vector units and C libraries round the last place of exp differently. Here it is computed in decimal
arithmetic of 25 digits, which is specified to the last of them.
"""

from decimal import Context, Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CONTEXT = Context(prec=25)

# Binary digits that are looked up together.
_DIGIT = 7

# Beyond this a double holds exp as 0, or exp(-x) as nothing beside 1.
FARTHEST = 750.0


def boltzmann(x: npt.ArrayLike) -> Floats:
    """exp(−x), correctly rounded but for one case in 10^8.

    Parameters
    ----------
    x
        Energies in units of the temperature, any shape, all >= 0.

    Examples
    --------
    >>> boltzmann([0.0, 1.0, np.inf]).tolist()
    [1.0, 0.36787944117144233, 0.0]
    """
    given = np.minimum(np.asarray(x, np.float64), FARTHEST)
    values, places = np.unique(given, return_inverse=True)
    factors = np.array([float((-Decimal(float(v))).exp(_CONTEXT)) for v in values])
    found: Floats = factors[places].reshape(given.shape)
    return found


def boltzmann_multiples(x: float, n: npt.NDArray[np.int64]) -> Floats:
    """exp(−x·n) of many whole numbers n >= 0, to some units in the last place.

    The product of what each group of binary digits of n gives, so that few exponentials have to be
    computed; products, too, are the same everywhere.

    Examples
    --------
    >>> bool(np.allclose(boltzmann_multiples(1e-3, np.array([0, 1, 5000])), np.exp([0, -1e-3, -5])))
    True
    """
    found, rest, unit = np.ones(n.shape), n, 1
    digits = np.arange(2**_DIGIT)
    while rest.any():
        found = found * boltzmann(x * (digits * unit))[rest % 2**_DIGIT]
        rest, unit = rest >> _DIGIT, unit << _DIGIT
    return found


def occupation(x: npt.ArrayLike) -> Floats:
    """1 / (1 + exp(x)): the probability of the upper of two states x above the lower.

    Examples
    --------
    >>> occupation([0.0, -np.inf, 800.0]).tolist()
    [0.5, 1.0, 0.0]
    """
    given = np.asarray(x, np.float64)
    factor = boltzmann(np.abs(given))
    found: Floats = np.where(given > 0, factor, 1.0) / (1.0 + factor)
    return found
