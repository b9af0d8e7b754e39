"""``Slab``: simple-cubic A-sites between two free surfaces, and the hollows of the upper one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import MOST_SITES, Geometry, Lattice, Sites, Vectors

KIND = "slab"
LAYERS = 16
FEWEST_LAYERS = 2

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Slab(Lattice):
    """A film of ``layers`` layers of ``size`` × ``size`` simple-cubic A-sites.

    Periodic in the plane. Layer 0 is the surface that counts: it alone has hollows for adatoms, one
    in the middle of every four A-sites. The last layer is free as well but has no term of its own:
    it merely lacks the neighbour below, as if the substrate preferred neither species.

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
            raise RequestError("a Slab is of another kind", came=repr(self.kind), allowed=KIND)
        for name, low in (("size", 2), ("layers", FEWEST_LAYERS)):
            object.__setattr__(self, name, _whole(name, getattr(self, name), low))
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
            "the sites of a slab do not all have the same neighbours",
            came=f"{self.kind} for a model of periodic lattices",
            allowed='kind = "segregation_slab" in [model]',
            hint='kind = "cubic" in [lattice]',
        )

    @property
    def sites(self) -> int:
        """Number of A-sites."""
        return self.size**2 * self.layers

    @property
    def hollows(self) -> int:
        """Number of places for adatoms, L²."""
        return self.size**2

    @cached_property
    def positions(self) -> Vectors:
        """Places of the A-sites, (sites, 3), in lattice constants as (x, y, z), z ≤ 0 downwards."""
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
    return Slab(KIND, size, layers)


def _whole(name: str, value: Any, low: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not low <= value <= MOST_SITES:
        thin = name == "layers" and whole
        raise RequestError(
            "the slab is thinner than its interactions"
            if thin
            else f"lattice.{name} is out of range",
            came=repr(value),
            allowed=f"a whole number from {low}" + (": a surface, and what is below" * thin),
            hint=f"{name} = 16",
        )
    return int(value)
