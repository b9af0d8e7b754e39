"""Structure factors of whole lattices.

A wave vector is given in lattice units: k = (h, …) means the phase 2π h for a step of one cell
along each of the lattice's own axes, so h runs over 0, 1/L, …, 1 − 1/L. The axes of the triangular
and the honeycomb lattice are 60° apart; their K points are (1/3, 2/3) and (2/3, 1/3), their M
points (0, 1/2), (1/2, 0) and (1/2, 1/2).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.geometry import Geometry, shell_steps
from latticescape.physics.lattices.lattice import Lattice

Floats = npt.NDArray[np.float64]

# Neighbour shells whose sums distinguish stars.
STAR_SHELLS = 3

_HALF, _THIRD = Fraction(1, 2), Fraction(1, 3)

# One wave vector of each star of high symmetry, by its name in the literature (Γ, K, M, X, R: Aroyo
# et al., Acta Cryst. A 70, 126 (2014)).
SPECIAL: dict[str, dict[str, tuple[Fraction, ...]]] = {
    "square": {
        "Γ": (Fraction(0), Fraction(0)),
        "X": (Fraction(0), _HALF),
        "M": (_HALF, _HALF),
    },
    "triangular": {
        "Γ": (Fraction(0), Fraction(0)),
        "M": (Fraction(0), _HALF),
        "K": (_THIRD, 2 * _THIRD),
    },
    "cubic": {
        "Γ": (Fraction(0), Fraction(0), Fraction(0)),
        "X": (Fraction(0), Fraction(0), _HALF),
        "M": (Fraction(0), _HALF, _HALF),
        "R": (_HALF, _HALF, _HALF),
    },
}
SPECIAL["honeycomb"] = SPECIAL["kagome"] = SPECIAL["triangular"]
SPECIAL["fcc"] = {
    "Γ": (Fraction(0), Fraction(0), Fraction(0)),
    "X": (Fraction(0), _HALF, _HALF),
    "L": (_HALF, _HALF, _HALF),
}
SPECIAL["diamond"] = SPECIAL["fcc"]
SPECIAL["bcc"] = {
    "Γ": (Fraction(0), Fraction(0), Fraction(0)),
    "H": (_HALF, _HALF, _HALF),
    "N": (Fraction(0), Fraction(0), _HALF),
}


def structure_factor(spins: npt.ArrayLike, lattice: Lattice) -> Floats:
    """S(k) = Σ_a |Σ_{i in a} σ_i e^(−ik·R_i)|²/N of spins σ = ±1, R_i the cell of site i.

    The outer sum runs over the sites a of the cell. With one, S is the usual structure factor;
    with several, it is its mean over equivalent k (diffraction weighs these by the sites' phases).
    Random spins have S = 1 at every k.

    Parameters
    ----------
    spins
        σ, (…, sites): ±1, or any numbers, such as spins less their mean.
    lattice
        The lattice; sites in its order.

    Returns
    -------
    ndarray
        (…, L, L) or (…, L, L, L), at k = (h_1, h_2, …), h = 0, 1/L, … along every axis.

    Raises
    ------
    RequestError
        If the spins do not have one value for each site.

    References
    ----------
    Chaikin and Lubensky, Principles of Condensed Matter Physics (1995), ch. 2.

    Examples
    --------
    >>> from latticescape import square
    >>> lattice = square(4)
    >>> stripes = np.where(np.indices((4, 4))[0] % 2, 1, -1).ravel()
    >>> S = structure_factor(stripes, lattice)
    >>> S.shape, float(S[2, 0].round(6)), float(S.sum().round(6))
    ((4, 4), 16.0, 16.0)
    """
    values = np.asarray(spins, float)
    if values.shape[-1:] != (lattice.sites,):
        raise RequestError(
            "spins must have one value for each site",
            came=f"shape {values.shape}",
            allowed=f"(…, {lattice.sites})",
            hint="structure_factor(2.0 * unpack_replicas(words) - 1, lattice)",
        )
    geometry = lattice.geometry
    cells = (lattice.linear_size,) * geometry.dimension
    waves = values.reshape(*values.shape[:-1], *cells, geometry.sublattices)
    axes = tuple(range(-1 - geometry.dimension, -1))
    amplitude = np.fft.fftn(waves, axes=axes)
    factor: Floats = np.sum(np.abs(amplitude) ** 2, axis=-1) / lattice.sites
    return factor


@dataclass(frozen=True)
class Stars:
    """The stars of a lattice: sets of wave vectors that are equivalent by symmetry.

    Attributes
    ----------
    number
        The star each wave vector belongs to, (L, L[, L]).
    members
        Number of wave vectors in each star, (stars,).
    first
        One wave vector of each star, in steps of 1/L, (stars, dimension).
    """

    number: npt.NDArray[np.int64]
    members: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]

    def mean(self, values: Floats) -> Floats:
        """Means over the stars, (…, stars), of values at every wave vector (…, L, L[, L])."""
        dimension = self.number.ndim
        flat = values.reshape(-1, self.number.size)
        sums = [np.bincount(self.number.ravel(), row, len(self.members)) for row in flat]
        means: Floats = np.array(sums) / self.members
        return means.reshape(*values.shape[: values.ndim - dimension], -1)


@cache
def stars_of(lattice: Lattice) -> Stars:
    """The stars of a lattice's wave vectors.

    Two wave vectors are of one star if Σ cos(k·r) over each of the first neighbour shells is the
    same for both: these sums have the symmetry of the lattice.

    Examples
    --------
    >>> from latticescape import triangular
    >>> stars = stars_of(triangular(6))
    >>> int(stars.members[stars.number[2, 4]]), int(stars.members[stars.number[0, 3]])
    (2, 3)
    """
    k = wave_vectors(lattice)
    shells = range(1, STAR_SHELLS + 1)
    sums = np.stack([_shell_sum(lattice.geometry, shell, k) for shell in shells], -1)
    rows = np.round(sums.reshape(-1, sums.shape[-1]), 9) + 0.0
    _, first, number, members = np.unique(
        rows, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    steps = np.stack(np.unravel_index(first, k.shape[:-1]), axis=-1)
    return Stars(number.reshape(k.shape[:-1]), members, steps)


def wave_vectors(lattice: Lattice) -> Floats:
    """Every wave vector in lattice units, (L, L, 2) or (L, L, L, 3).

    Examples
    --------
    >>> from latticescape import square
    >>> wave_vectors(square(4))[1, 2].tolist()
    [0.25, 0.5]
    """
    dimension = lattice.geometry.dimension
    steps = np.indices((lattice.linear_size,) * dimension)
    vectors: Floats = np.moveaxis(steps, 0, -1) / lattice.linear_size
    return vectors


def neighbor_waves(lattice: Lattice) -> list[tuple[int, ...]]:
    """The smallest steps between wave vectors, in units of 1/L along the lattice's axes.

    Examples
    --------
    >>> from latticescape import square, triangular
    >>> len(neighbor_waves(square(8))), len(neighbor_waves(triangular(8)))
    (4, 6)
    """
    geometry = lattice.geometry
    reciprocal = np.linalg.inv(np.asarray(geometry.cell)).T
    steps = [s for s in product((-1, 0, 1), repeat=geometry.dimension) if any(s)]
    lengths = np.linalg.norm(np.asarray(steps) @ reciprocal, axis=1)
    return [s for s, length in zip(steps, lengths, strict=True) if length < lengths.min() + 1e-9]


def name_of(lattice: Lattice, k: tuple[Fraction, ...]) -> str:
    """A wave vector as text: ``K (1/3, 2/3)``, or only its components.

    Examples
    --------
    >>> from latticescape import square, triangular
    >>> name_of(triangular(6), (Fraction(2, 3), Fraction(1, 3)))
    'K (1/3, 2/3)'
    >>> name_of(square(8), (Fraction(1, 8), Fraction(0)))
    '(0, 1/8)'
    """
    for letter, special in SPECIAL.get(lattice.kind, {}).items():
        if _same_star(lattice.geometry, k, special):
            return f"{letter} ({', '.join(map(str, special))})"
    return f"({', '.join(map(str, min(_equal(lattice.geometry, k))))})"


def special_beside(lattice: Lattice, k: tuple[Fraction, ...]) -> str | None:
    """The point of high symmetry within one step of k that is no wave vector of this size."""
    for letter, special in SPECIAL.get(lattice.kind, {}).items():
        if all((h * lattice.linear_size).denominator == 1 for h in special):
            continue
        for other in _equal(lattice.geometry, k):
            away = [abs((a - b + _HALF) % 1 - _HALF) for a, b in zip(other, special, strict=True)]
            if max(away) < Fraction(1, lattice.linear_size):
                return f"{letter} ({', '.join(map(str, special))})"
    return None


def _equal(geometry: Geometry, k: tuple[Fraction, ...]) -> list[tuple[Fraction, ...]]:
    """The star of one wave vector, each h in [0, 1)."""
    size = int(np.lcm.reduce([h.denominator for h in k]))
    steps = product(range(size), repeat=geometry.dimension)
    grid = [tuple(Fraction(h, size) for h in hs) for hs in steps]
    return [other for other in grid if _same_star(geometry, k, other)]


def _same_star(geometry: Geometry, k: tuple[Fraction, ...], other: tuple[Fraction, ...]) -> bool:
    both = np.array([[float(h) for h in k], [float(h) for h in other]])
    return all(
        abs(np.subtract(*_shell_sum(geometry, shell, both))) < 1e-9
        for shell in range(1, STAR_SHELLS + 1)
    )


def _shell_sum(geometry: Geometry, shell: int, k: Floats) -> Floats:
    """Σ cos(k·r) over the Bravais lattice's shell: cells alone, no basis."""
    bravais = Geometry(geometry.cell, ((0.0,) * geometry.dimension,))
    cells = np.array([step.cells for step in shell_steps(bravais, shell)[0]], float)
    total: Floats = np.cos(2 * np.pi * (k @ cells.T)).sum(axis=-1)
    return total
