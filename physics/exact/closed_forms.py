"""The solved Ising model: the infinite square lattice, the finite torus, and the known Tc.

Shipped for tests and documentation. k_B = 1, energies in units of J.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import ellipe, ellipkm1

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# k_B Tc / J of the ferromagnet. Onsager, Phys. Rev. 65, 117 (1944); Houtappel, Physica 16, 425
# (1950), triangular and honeycomb. The cubic lattice has no closed form: Monte Carlo by
# Ferrenberg, Xu and Landau, Phys. Rev. E 97, 043301 (2018), Kc = 0.221654626(5).
CRITICAL_TEMPERATURE = {
    "square": 2 / float(np.log(1 + np.sqrt(2))),
    "triangular": 4 / float(np.log(3)),
    "honeycomb": 2 / float(np.log(2 + np.sqrt(3))),
    "cubic": 4.511523,
}


def onsager_energy(T: npt.ArrayLike, J: float = 1.0) -> Floats:
    """Energy per site of the infinite square lattice at zero field, each bond once.

    u = −J coth 2K {1 + (2/π)(2 tanh² 2K − 1) K₁}, K = J/T, K₁ the complete elliptic integral of
    modulus 2 sinh 2K / cosh² 2K: Onsager, Phys. Rev. 65, 117 (1944).

    Parameters
    ----------
    T
        Temperature, in units of J/k_B if J is 1, > 0, any shape.
    J
        Coupling, > 0.

    Returns
    -------
    ndarray
        Of the shape of T, in the units of J.

    Raises
    ------
    RequestError
        If T or J is not positive.

    Examples
    --------
    >>> onsager_energy([1.0, CRITICAL_TEMPERATURE["square"]]).round(6).tolist()
    [-1.99716, -1.414214]
    """
    K = _reduced_coupling(T, J)
    product, _, _ = _elliptic(K)
    energy: Floats = -J / np.tanh(2 * K) * (1 + 2 / np.pi * product)
    return energy


def onsager_heat_capacity(T: npt.ArrayLike, J: float = 1.0) -> Floats:
    """Heat capacity per site of the infinite square lattice at zero field, in units of k_B.

    c = (4/π)(K coth 2K)² {K₁ − E₁ − (1 − tanh² 2K)(π/2 + (2 tanh² 2K − 1) K₁)}, infinite at Tc:
    Onsager, Phys. Rev. 65, 117 (1944). Arguments and errors as in :func:`onsager_energy`.

    Examples
    --------
    >>> onsager_heat_capacity([1.0, 2.0, 4.0]).round(6).tolist()
    [0.02338, 0.724871, 0.171188]
    """
    K = _reduced_coupling(T, J)
    product, first, second = _elliptic(K)
    integrals = first - second - (np.pi / 2 + product) / np.cosh(2 * K) ** 2
    heat_capacity: Floats = 4 / np.pi * (K / np.tanh(2 * K)) ** 2 * integrals
    return heat_capacity


def onsager_magnetization(T: npt.ArrayLike, J: float = 1.0) -> Floats:
    """Spontaneous magnetization per site of the infinite square lattice, 0 from Tc on.

    m = (1 − sinh⁻⁴ 2K)^(1/8): Yang, Phys. Rev. 85, 808 (1952). Arguments and errors as in
    :func:`onsager_energy`.

    Examples
    --------
    >>> onsager_magnetization([1.0, 2.0, 3.0]).round(6).tolist()
    [0.999276, 0.911319, 0.0]
    """
    K = _reduced_coupling(T, J)
    magnetization: Floats = np.maximum(1 - np.sinh(2 * K) ** -4.0, 0) ** 0.125
    return magnetization


def _reduced_coupling(T: npt.ArrayLike, J: float) -> Floats:
    temperature = np.asarray(T, float)
    if not (np.all(temperature > 0) and J > 0):
        raise RequestError(
            "T and J must be positive", came=(T, J), allowed="T > 0, J > 0", hint="T = 2.0"
        )
    # From K = 50 on all is ground state to the last bit; sinh 2K would overflow further on.
    coupling: Floats = np.minimum(J / temperature, 50.0)
    return coupling


def _elliptic(K: Floats) -> tuple[Floats, Floats, Floats]:
    """(2 tanh² 2K − 1) K₁, K₁ and E₁; within rounding of Tc these are 0, infinity and 1."""
    q = 2 * np.tanh(2 * K) ** 2 - 1
    q = np.where(np.abs(q) < 8 * np.finfo(float).eps, 0.0, q)
    modulus = np.minimum(2 * np.sinh(2 * K) / np.cosh(2 * K) ** 2, 1.0)
    finite = ellipkm1(np.maximum(q**2, np.finfo(float).tiny))
    return q * finite, ellipkm1(q**2), ellipe(modulus**2)


def kaufman(size: int, T: npt.ArrayLike, J: float = 1.0) -> tuple[Floats, Floats]:
    """Exact energy and heat capacity per site of the L × L square torus at zero field.

    Z = ½ (2 sinh 2K)^(L²/2) Σ_{i=1..4} Z_i, each Z_i a product over r < L of 2 cosh(L γ/2) or of
    2 sinh(L γ/2), γ being γ_{2r+1} or γ_{2r}; cosh γ_r = cosh 2K coth 2K − cos(π r/L), and γ_0 =
    2K + ln tanh K changes sign at Tc: Kaufman, Phys. Rev. 76, 1232 (1949); Ferdinand and Fisher,
    Phys. Rev. 185, 832 (1969). The derivatives of ln Z are analytic. Rounding leaves 1e-12 up to
    L = 128, but an energy error of some 1e-16·T far above Tc.

    Parameters
    ----------
    size
        L, 2 or more. At L = 2 neighbours are joined by two bonds, as in ``Lattice``.
    T
        Temperature, in units of J/k_B if J is 1, > 0, any shape.
    J
        Coupling, > 0.

    Returns
    -------
    energy, heat_capacity
        Each of the shape of T, in the units of J and of k_B.

    Raises
    ------
    RequestError
        If T or J is not positive, or size below 2.

    Examples
    --------
    >>> energy, heat_capacity = kaufman(64, [2.0, CRITICAL_TEMPERATURE["square"]])
    >>> energy.round(6).tolist(), heat_capacity.round(6).tolist()
    ([-1.745565, -1.423938], [0.724871, 2.192211])
    """
    if size < 2:
        raise RequestError("size is too small", came=size, allowed="2 or more", hint="size = 64")
    K = _reduced_coupling(T, J)
    products = [z for parity in (0, 1) for z in _products(size, K, parity)]
    log, f, df, x1, x2, slope, bend = (np.stack(part) for part in zip(*products, strict=True))
    weight = np.exp(log - log.max(axis=0))
    total = np.sum(weight * f, axis=0)
    mean = np.sum(weight * (f * slope + df * x1), axis=0) / total
    # Second derivatives about the mean slope: (ln Z)″ = ⟨Z″⟩ − ⟨Z′⟩² would lose four digits.
    off = slope - mean
    second = f * (x1**2 + bend + off**2) + df * (x2 + 2 * x1 * off)
    variance = np.sum(weight * second, axis=0) / total
    energy = -J * (1 / np.tanh(2 * K) + mean / size**2)
    return energy, K**2 * (variance / size**2 - 2 / np.sinh(2 * K) ** 2)


def _products(size: int, K: Floats, parity: int) -> Iterator[tuple[Floats, ...]]:
    """The product of 2 cosh x, then that of 2 sinh x, x = L γ_r/2 over the r of one parity.

    The first factor f(x) is kept apart, for at Tc sinh(L γ_0/2) is 0 and has no logarithm. Yields
    log, f, f′, x′, x″, slope, bend: the product is f exp(log), f and f′ are scaled by exp(−|x|),
    and slope and bend are the derivatives by K of the other factors' logarithm.
    """
    r = np.arange(parity, 2 * size, 2).reshape(-1, *(1,) * K.ndim)
    x, x1, x2 = (size / 2 * gamma for gamma in _gammas(np.pi * r / size, K))
    cosh, sinh = 1 + np.exp(-2 * np.abs(x[0])), -np.sign(x[0]) * np.expm1(-2 * np.abs(x[0]))
    for sign, f, df in ((1, cosh, sinh), (-1, sinh, cosh)):
        decay = sign * np.exp(-2 * x[1:])
        log = np.abs(x[0]) + np.sum(x[1:] + np.log1p(decay), axis=0)
        ratio = (1 - decay) / (1 + decay)
        slope = np.sum(x1[1:] * ratio, axis=0)
        bend = np.sum(x2[1:] * ratio + 4 * decay * (x1[1:] / (1 + decay)) ** 2, axis=0)
        yield log, f, df, x1[0], x2[0], slope, bend


def _gammas(angles: Floats, K: Floats) -> tuple[Floats, Floats, Floats]:
    """γ_r and its first two derivatives by K; cosh γ = 1 + d, with d free of cancellation."""
    S, C = np.sinh(2 * K), np.cosh(2 * K)
    d = (S - 1) ** 2 / S + 2 * np.sin(angles / 2) ** 2
    d1 = 2 * C * (1 - S**-2.0)
    d2 = 4 * (S - 1 / S) + 8 * (1 + S**-2.0) / S
    zero = angles == 0
    sinh = np.where(zero, 1, np.sqrt(d * (d + 2)))
    half = np.where(zero, (S - 1) / np.sqrt(2 * S), np.sqrt(d / 2))
    first = np.where(zero, 2 + 2 / S, d1 / sinh)
    second = np.where(zero, -4 * C / S**2, (d2 - (1 + d) * first**2) / sinh)
    return 2 * np.arcsinh(half), first, second
