"""``Slab``: simple-cubic A-sites between two free surfaces, and the hollows of the upper one."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_integer
from latticescape.physics.lattices.configurations import Configurations, configurations
from latticescape.physics.lattices.geometry import Geometry, Vectors
from latticescape.physics.lattices.lattice import MOST_SITES, Lattice, Sites

KIND = "slab"
LAYERS = 16
FEWEST_LAYERS = 2

# A hollow and its four corners are a square's centre and its ring: centre 1 is oxygen, neighbour 1
# is Ca. The first six classes are hollows without oxygen, the last six those with.
CLASSES: Configurations = configurations("square")

ARRANGEMENTS = len(CLASSES) // 2


@dataclass(frozen=True)
class Slab(Lattice):
    """A film of ``layers`` layers of ``size`` × ``size`` simple-cubic A-sites.

    Periodic in the plane. Only layer 0, the surface, has hollows for adatoms, one in the middle of
    every four A-sites. The last layer is free as well but has no energy term of its own; it only
    lacks the neighbour below, as if the substrate preferred neither species.

    A-sites are numbered layer by layer, row by row; hollow (r, c) lies between the surface sites
    (r, c), (r + 1, c), (r + 1, c + 1) and (r, c + 1).

    Attributes
    ----------
    size
        L; every layer has L² A-sites.
    layers
        Number of layers, 2 or more.

    Examples
    --------
    >>> lattice = Slab(size=4, layers=3)
    >>> lattice.sites, lattice.hollows, lattice.corners.shape, lattice.surface_bonds.shape
    (48, 16, (16, 4), (32, 2))
    """

    kind: str = KIND
    size: int = 0
    layers: int = LAYERS

    def __post_init__(self) -> None:
        if self.kind != KIND:
            raise RequestError(
                "the kind of a Slab must be slab", came=repr(self.kind), allowed=KIND
            )
        size = checked_integer(
            self.size, 2, MOST_SITES, "lattice.size is out of range", hint="size = 16"
        )
        thin = self.layers == 1 and not isinstance(self.layers, bool)
        layers = checked_integer(
            self.layers,
            FEWEST_LAYERS,
            MOST_SITES,
            "the slab is thinner than its interactions"
            if thin
            else "lattice.layers is out of range",
            allowed=f"a whole number from {FEWEST_LAYERS}: the surface and the bulk",
            hint="layers = 16",
        )
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "layers", layers)
        if self.sites > MOST_SITES:
            raise RequestError(
                "the slab is too large", came=f"{self.sites} sites", allowed=f"up to {MOST_SITES}"
            )

    def __reduce__(self) -> tuple[Any, tuple[int, int]]:
        return slab, (self.size, self.layers)

    @property
    def table(self) -> dict[str, Any]:
        return {**super().table, "layers": self.layers}

    @property
    def geometry(self) -> Geometry:
        raise RequestError(
            "this model needs a periodic lattice",
            came=self.kind,
            hint='kind = "segregation_slab" in [model], or kind = "cubic" in [lattice]',
        )

    @property
    def sites(self) -> int:
        """Number of A-sites."""
        return self.size**2 * self.layers

    @property
    def hollows(self) -> int:
        """Number of hollows for adatoms, L²."""
        return self.size**2

    @cached_property
    def positions(self) -> Vectors:
        """Positions of the A-sites, (sites, 3): (x, y, z) in lattice constants, z ≤ 0 downwards."""
        layer, row, column = np.indices((self.layers, self.size, self.size)).reshape(3, -1)
        return np.stack([column, row, -layer], axis=1).astype(float)

    @cached_property
    def layer(self) -> npt.NDArray[np.int64]:
        """The layer of every A-site, (sites,)."""
        return np.arange(self.sites) // self.size**2

    @cached_property
    def around(self) -> Sites:
        """Neighbours of every A-site, (sites, 6): four in the plane, above, below; −1 for none."""
        numbers = np.arange(self.sites).reshape(self.layers, self.size, self.size)
        plane = [np.roll(numbers, step, axis) for axis in (2, 1) for step in (-1, 1)]
        none = np.full_like(numbers[:1], -1)
        above = np.concatenate([none, numbers[:-1]])
        below = np.concatenate([numbers[1:], none])
        return np.stack([*plane, above, below], axis=-1).reshape(-1, 6).astype(np.int32)

    @cached_property
    def pairs(self) -> Sites:
        """Every pair of neighbours once, (pairs, 2). On L = 2 each pair of the plane counts twice,
        like the bonds of any torus of two cells."""
        forward = self.around[:, [0, 2, 5]]
        own = np.broadcast_to(np.arange(self.sites, dtype=np.int32)[:, None], forward.shape)
        table = np.stack([own, forward], axis=-1).reshape(-1, 2)
        return np.ascontiguousarray(table[table[:, 1] >= 0])

    @cached_property
    def surface_bonds(self) -> Sites:
        """The pairs within layer 0, (2 L², 2)."""
        return np.ascontiguousarray(self.pairs[self._depths == 0])

    def bulk_bonds(self, bulk_pairs: int) -> Sites:
        """The pairs that count as bulk.

        Parameters
        ----------
        bulk_pairs
            0: those with both ends below layer 0; 1: also those between layers 0 and 1; 2: all.
        """
        return np.ascontiguousarray(self.pairs[self._depths >= 2 - bulk_pairs])

    @property
    def _depths(self) -> npt.NDArray[np.int64]:
        """0 within the surface, 1 from it to the next layer, 2 below."""
        below: npt.NDArray[np.int64] = (self.layer[self.pairs] > 0).sum(axis=1)
        return below

    @cached_property
    def corners(self) -> Sites:
        """The four surface A-sites around every hollow, in ring order, (hollows, 4)."""
        numbers = np.arange(self.hollows, dtype=np.int32).reshape(self.size, self.size)
        down, right = np.roll(numbers, -1, 0), np.roll(numbers, -1, 1)
        both = np.roll(down, -1, 1)
        return np.stack([numbers, down, both, right], axis=-1).reshape(-1, 4)

    @cached_property
    def hollow_neighbors(self) -> Sites:
        """The four hollows next to each, (hollows, 4)."""
        return np.ascontiguousarray(self.around[: self.hollows, :4])

    @cached_property
    def touching(self) -> Sites:
        """The four hollows around every surface A-site, (hollows, 4)."""
        numbers = np.arange(self.hollows, dtype=np.int32).reshape(self.size, self.size)
        up, left = np.roll(numbers, 1, 0), np.roll(numbers, 1, 1)
        both = np.roll(up, 1, 1)
        return np.stack([numbers, up, both, left], axis=-1).reshape(-1, 4)


def slab(size: int, layers: int = LAYERS) -> Slab:
    """A film of ``layers`` layers of ``size`` × ``size`` simple-cubic A-sites; see :class:`Slab`.

    Parameters
    ----------
    size
        L; every layer has L² A-sites, and layer 0 as many hollows.
    layers
        Number of layers, 2 or more.

    Raises
    ------
    RequestError
        If a number is out of range: a slab of one layer is thinner than its interactions.

    Examples
    --------
    >>> slab(16, 16).sites
    4096
    """
    return Slab(size=size, layers=layers)


class Tables(NamedTuple):
    """Neighbours by site, −1 for none; hollows are numbered after the A-sites.

    Attributes
    ----------
    bulk
        Bulk neighbours of every A-site, (sites, 6).
    surface
        Neighbours within layer 0, (hollows, 4): only its sites have any.
    touching
        Hollows around every surface A-site, (hollows, 4).
    hollow
        The hollows, (hollows,).
    corners
        The A-sites around every hollow, (hollows, 4), in ring order.
    next_hollow
        The hollows next to each, (hollows, 4).
    classes
        Class of every code of a hollow and its corners.
    layer
        Layer of every A-site.
    """

    bulk: Sites
    surface: Sites
    touching: Sites
    hollow: Sites
    corners: Sites
    next_hollow: Sites
    classes: npt.NDArray[np.uint8]
    layer: npt.NDArray[np.int64]


@lru_cache(maxsize=2)
def tables_of(lattice: Slab, bulk_pairs: int) -> Tables:
    """The tables of a slab, by which of its pairs are bulk (:meth:`Slab.bulk_bonds`)."""
    around, top = lattice.around.copy(), lattice.hollows
    if bulk_pairs < 2:
        around[:top, :4] = -1
    if bulk_pairs < 1:
        around[:top, 5] = -1
        around[top : 2 * top, 4] = -1
    return Tables(
        bulk=around,
        surface=np.ascontiguousarray(lattice.around[:top, :4]),
        touching=lattice.touching + np.int32(lattice.sites),
        hollow=np.arange(lattice.sites, lattice.sites + top, dtype=np.int32),
        corners=lattice.corners,
        next_hollow=lattice.hollow_neighbors + np.int32(lattice.sites),
        classes=CLASSES.table,
        layer=lattice.layer,
    )
