"""Local configurations: the classes of a site's nearest neighbourhood up to symmetry.

Simulations and images share this definition: both count with :func:`count_configurations`, on
neighbour tables that list the neighbours in the lattice's ring order.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.lattices.geometry import neighbor_steps

Counts = npt.NDArray[np.int64]

# The pairs of species-1 neighbours that distinguish classes with equal numbers of them, by the
# angle in degrees between the two neighbours at the centre.
PAIR_ANGLES: dict[str, dict[str, int]] = {
    "square": {"opposite": 180},
    "triangular": {"ortho": 60, "meta": 120, "para": 180},
    "honeycomb": {},
    "cubic": {"opposite": 180},
}


@dataclass(frozen=True)
class Configurations:
    """The configuration classes of a lattice kind, in their fixed order.

    A class is (centre, n, pairs): the species of the centre, the number of species-1 neighbours,
    and how many pairs of those stand at each named angle. Classes are sorted by that tuple.

    Attributes
    ----------
    kind
        The lattice kind.
    keys
        One tuple for each class: centre, n, then one number for each of ``pair_names``.
    pair_names
        Triangular: ortho, meta, para (Vlcek et al., npj Comput. Mater. 7, 42 (2021)); square and
        cubic: opposite; honeycomb: none.
    multiplicity
        Number of arrangements in each class, (classes,) int64.
    table
        Class of every code, (2^(z+1),) uint8; a code is centre + 2 Σ_k 2^k neighbour_k.

    Examples
    --------
    >>> classes = configurations("triangular")
    >>> len(classes), classes.multiplicity[:13].tolist()
    (26, [1, 6, 3, 6, 6, 2, 12, 6, 3, 6, 6, 6, 1])
    >>> classes.labels[2]
    '0 | 2: ortho 0, meta 0, para 1'
    """

    kind: str
    keys: tuple[tuple[int, ...], ...]
    pair_names: tuple[str, ...]
    multiplicity: Counts
    table: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def labels(self) -> tuple[str, ...]:
        """Readable names: centre | number of species-1 neighbours: pairs by angle."""
        labels = []
        for key in self.keys:
            pairs = ", ".join(f"{n} {v}" for n, v in zip(self.pair_names, key[2:], strict=True))
            labels.append(f"{key[0]} | {key[1]}" + (f": {pairs}" if pairs else ""))
        return tuple(labels)

    @property
    def centre(self) -> Counts:
        """Species of each class's centre, (classes,)."""
        return np.array([key[0] for key in self.keys])

    @property
    def neighbors(self) -> Counts:
        """Number of species-1 neighbours of each class, (classes,)."""
        return np.array([key[1] for key in self.keys])

    @property
    def around(self) -> Counts:
        """Number of neighbours of each species, (classes, 1, 2)."""
        most = int(self.neighbors.max())
        return np.stack([most - self.neighbors, self.neighbors], axis=-1)[:, None, :]

    def pairs(self, name: str) -> Counts:
        """Number of species-1 neighbour pairs at a named angle, (classes,)."""
        return np.array([key[2 + self.pair_names.index(name)] for key in self.keys])

    @property
    def descriptors(self) -> dict[str, tuple[npt.NDArray[Any], str]]:
        """Coordinates of a Dataset that describe the classes: values and their meaning."""
        return {
            "label": (np.array(self.labels), "centre | species-1 neighbours: pairs by angle"),
            "multiplicity": (self.multiplicity, "arrangements in the class"),
            "centre": (self.centre, "species of the centre"),
            "neighbors": (self.neighbors, "species-1 neighbours"),
        }

    def random_mixing(self, composition: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Class probabilities of a random alloy.

        p = multiplicity · x^n (1 − x)^(z + 1 − n), with n counting the species-1 atoms among the
        z + 1 (the null model of Vlcek et al., npj Comput. Mater. 7, 42 (2021)).

        Parameters
        ----------
        composition
            Fraction x of species 1, any shape.

        Returns
        -------
        ndarray
            Probabilities, ``composition.shape + (classes,)``, summing to one.

        Examples
        --------
        >>> configurations("honeycomb").random_mixing(0.5) * 16
        array([1., 3., 3., 1., 1., 3., 3., 1.])
        """
        x = np.asarray(composition, float)[..., None]
        if np.any((x < 0) | (x > 1)):
            raise RequestError(
                "composition must be a fraction", came=composition, allowed="0 to 1", hint="x = 0.5"
            )
        n_species1 = self.centre + self.neighbors
        sites = int(np.log2(len(self.table)))
        probabilities: npt.NDArray[np.float64] = (
            self.multiplicity * x**n_species1 * (1 - x) ** (sites - n_species1)
        )
        return probabilities


@cache
def configurations(kind: str) -> Configurations:
    """The configuration classes of a lattice kind.

    Parameters
    ----------
    kind
        ``square`` (12 classes), ``triangular`` (26), ``honeycomb`` (8) or ``cubic`` (20).

    Examples
    --------
    >>> [len(configurations(kind)) for kind in ("square", "triangular", "honeycomb", "cubic")]
    [12, 26, 8, 20]
    """
    checked_choice(kind, PAIR_ANGLES, "lattice kind is unknown")
    codes = list(_codes(kind))
    multiplicity = Counter(codes)
    keys = tuple(sorted(multiplicity))
    return Configurations(
        kind=kind,
        keys=keys,
        pair_names=tuple(PAIR_ANGLES[kind]),
        multiplicity=np.array([multiplicity[key] for key in keys]),
        table=np.array([keys.index(code) for code in codes], np.uint8),
    )


def code_weights(sizes: Sequence[int]) -> Counts:
    """The weights of digits in a code whose last digit runs fastest.

    Parameters
    ----------
    sizes
        How many values each digit has.

    Examples
    --------
    >>> code_weights([2, 3, 4]).tolist(), code_weights([]).tolist()
    ([12, 4, 1], [])
    """
    return np.cumprod([1, *sizes[:0:-1]], dtype=np.int64)[::-1][: len(sizes)]


def count_configurations(
    species: npt.ArrayLike,
    centers: npt.ArrayLike,
    rings: npt.ArrayLike,
    classes: Configurations,
) -> Counts:
    """Count the configuration classes of some sites.

    Parameters
    ----------
    species
        Species of every site, (sites,), 0 or 1.
    centers
        Sites to count at, (n,).
    rings
        Neighbours of each of them in ring order, (n, z).
    classes
        The classes of the lattice kind.

    Returns
    -------
    ndarray
        Counts, (classes,) int64, summing to n.

    Examples
    --------
    >>> from latticescape import square
    >>> lattice = square(4)
    >>> counts = count_configurations(
    ...     np.ones(16, int), np.arange(16), lattice.neighbors(1), configurations("square"))
    >>> int(counts[-1])
    16
    """
    occupation = np.ascontiguousarray(species, np.uint8)
    if occupation.size and occupation.max() > 1:
        raise RequestError(
            "species must be 0 or 1", came=int(occupation.max()), allowed="0 | 1", hint="0 and 1"
        )
    counts = np.zeros(len(classes), np.int64)
    add_configurations(
        occupation,
        np.ascontiguousarray(centers, np.int32),
        np.ascontiguousarray(rings, np.int32),
        classes.table,
        counts,
    )
    return counts


@compiled
def add_configurations(species: Any, centers: Any, rings: Any, table: Any, counts: Any) -> None:
    """Add the class of every centre of two species to ``counts``."""
    for row in range(len(centers)):
        code = np.int64(species[centers[row]])
        for k in range(rings.shape[1]):
            code |= np.int64(species[rings[row, k]]) << (k + 1)
        counts[table[code]] += 1


def _codes(kind: str) -> Iterator[tuple[int, ...]]:
    """The class key of every code, in the order of the codes."""
    vectors = np.array([step.vector for step in neighbor_steps(kind, 1)[0]])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    degrees = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1))).round().astype(int)
    for bits in product((0, 1), repeat=len(unit) + 1):
        *ring, centre = bits
        occupied = [k for k, bit in enumerate(reversed(ring)) if bit]
        spans = Counter(int(degrees[pair]) for pair in combinations(occupied, 2))
        yield (centre, len(occupied), *(spans[a] for a in PAIR_ANGLES[kind].values()))
