"""Periodic lattices: sites, neighbour shells and elementary triangles."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_choice, checked_integer

Sites = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float64]

MOST_SITES = 2**22
MOST_SHELLS = 8

# All neighbours of these shells are within this number of cells along each axis.
REACH = 5


@dataclass(frozen=True)
class Geometry:
    """A Bravais lattice with a basis, in units of the nearest-neighbour distance."""

    cell: tuple[tuple[float, ...], ...]
    basis: tuple[tuple[float, ...], ...]

    @property
    def dimension(self) -> int:
        return len(self.cell)

    @property
    def sublattices(self) -> int:
        return len(self.basis)

    def vector(self, steps: tuple[int, ...], origin: int, target: int) -> Vectors:
        """The vector from a site of sublattice ``origin`` to one of ``target``, ``steps`` away."""
        basis = np.asarray(self.basis)
        vector: Vectors = np.asarray(steps, float) @ np.asarray(self.cell)
        vector += basis[target] - basis[origin]
        return vector


_HALF, _ROOT3 = 0.5, float(np.sqrt(3.0))

GEOMETRIES = {
    "square": Geometry(cell=((0.0, 1.0), (1.0, 0.0)), basis=((0.0, 0.0),)),
    "triangular": Geometry(cell=((_HALF, _ROOT3 / 2), (1.0, 0.0)), basis=((0.0, 0.0),)),
    "honeycomb": Geometry(
        cell=((_ROOT3 / 2, 1.5), (_ROOT3, 0.0)), basis=((0.0, 0.0), (_ROOT3 / 2, 0.5))
    ),
    "cubic": Geometry(
        cell=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), basis=((0.0, 0.0, 0.0),)
    ),
}


@dataclass(frozen=True)
class Step:
    """One neighbour of a site: relative cell, sublattice, and the vector to it."""

    cells: tuple[int, ...]
    target: int
    vector: tuple[float, ...]


@dataclass(frozen=True)
class Lattice:
    """A periodic lattice of ``size`` cells along every axis.

    Sites are numbered cell by cell, the last axis fastest, and sublattice by sublattice within a
    cell. Two lattices are equal if kind and size are.

    Attributes
    ----------
    kind
        ``square``, ``triangular``, ``honeycomb`` or ``cubic``.
    size
        L; the number of sites is L², L², 2 L² and L³.

    Examples
    --------
    >>> lattice = Lattice("triangular", 4)
    >>> lattice.sites, lattice.neighbors(1).shape, lattice.triangles.shape
    (16, (16, 6), (32, 3))
    """

    kind: str
    size: int

    def __post_init__(self) -> None:
        checked_choice(self.kind, GEOMETRIES, "lattice.kind is unknown")
        largest = largest_size(self.kind)
        size = checked_integer(
            self.size,
            2,
            largest,
            "lattice.size is out of range",
            allowed=f"a whole number from 2 to {largest} for {self.kind}",
            hint="size = 64",
        )
        object.__setattr__(self, "size", size)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Lattice, (self.kind, self.size)

    @property
    def table(self) -> dict[str, Any]:
        """The table of a spec file."""
        return {"kind": self.kind, "size": self.size}

    @property
    def geometry(self) -> Geometry:
        return GEOMETRIES[self.kind]

    @property
    def sites(self) -> int:
        """Number of sites N."""
        return int(self.geometry.sublattices * self.size**self.geometry.dimension)

    @property
    def coordination(self) -> int:
        """Number of nearest neighbours z."""
        return len(neighbor_steps(self.kind, 1)[0])

    @cached_property
    def positions(self) -> Vectors:
        """Site positions, (sites, dimension), in nearest-neighbour distances, as (x, y[, z])."""
        cells = np.asarray(list(product(range(self.size), repeat=self.geometry.dimension)), float)
        corners = cells @ np.asarray(self.geometry.cell)
        sites: Vectors = corners[:, None, :] + np.asarray(self.geometry.basis)
        return sites.reshape(-1, self.geometry.dimension)

    def neighbors(self, shell: int) -> Sites:
        """Neighbours of every site in a shell, (sites, z_shell) int32.

        Plane lattices list them by angle (a ring), the cubic one as opposite pairs. On a small
        torus a neighbour may appear more than once; each appearance is a separate bond.

        Parameters
        ----------
        shell
            1 for nearest, 2 for next-nearest, up to 8.

        Raises
        ------
        RequestError
            If the lattice is so small that a site is its own neighbour.
        """
        shape = (self.size,) * self.geometry.dimension
        cells = np.indices(shape).reshape(len(shape), -1)
        reached = []
        for steps in neighbor_steps(self.kind, shell):
            for step in steps:
                moved = (cells + np.asarray(step.cells)[:, None]) % self.size
                cell = np.ravel_multi_index(tuple(moved), shape)
                reached.append(cell * self.geometry.sublattices + step.target)
        # Every sublattice has the same number of neighbours.
        table = np.stack(reached, axis=1).reshape(self.sites, -1)
        if np.any(table == np.arange(self.sites)[:, None]):
            raise RequestError(
                f"lattice.size is too small for shell {shell}: a site would be its own neighbour",
                came=self.size,
                allowed=f"{self.size + 1} or more",
            )
        return np.ascontiguousarray(table, dtype=np.int32)

    def bonds(self, shell: int) -> Sites:
        """Every bond of a shell once, (sites * z_shell / 2, 2) int32."""
        steps = neighbor_steps(self.kind, shell)
        table = self.neighbors(shell).reshape(-1, self.geometry.sublattices, len(steps[0]))
        own = np.arange(self.sites, dtype=np.int32).reshape(-1, self.geometry.sublattices)
        return np.concatenate(
            [
                np.stack([own[:, s], table[:, s, k]], axis=1)
                for s in range(self.geometry.sublattices)
                for k, step in enumerate(steps[s])
                if (step.target, step.cells) > (s, (0,) * self.geometry.dimension)
            ]
        )

    @cached_property
    def triangles(self) -> Sites:
        """Every elementary triangle once, (2 * sites, 3) int32; the triangular lattice only."""
        if self.kind != "triangular":
            raise RequestError(
                "only the triangular lattice has elementary triangles",
                came=self.kind,
                allowed="triangular",
                hint='kind = "triangular"',
            )
        ring = self.neighbors(1)
        own = np.arange(self.sites, dtype=np.int32)
        up = np.stack([own, ring[:, 0], ring[:, 1]], axis=1)
        down = np.stack([own, ring[:, 1], ring[:, 2]], axis=1)
        return np.concatenate([up, down])


def largest_size(kind: str) -> int:
    """The largest L with at most ``MOST_SITES`` sites."""
    geometry = GEOMETRIES[kind]
    size = 2
    while geometry.sublattices * (size + 1) ** geometry.dimension <= MOST_SITES:
        size += 1
    return size


@cache
def neighbor_steps(kind: str, shell: int) -> tuple[tuple[Step, ...], ...]:
    """The steps to a shell's neighbours for each sublattice, in ring order."""
    if not 1 <= shell <= MOST_SHELLS:
        raise RequestError(
            "unknown neighbour shell", came=shell, allowed=f"1 to {MOST_SHELLS}", hint="shell = 1"
        )
    return tuple(
        _shells(GEOMETRIES[kind], s)[shell - 1] for s in range(len(GEOMETRIES[kind].basis))
    )


def _shells(geometry: Geometry, origin: int) -> list[tuple[Step, ...]]:
    reach = range(-REACH, REACH + 1)
    by_distance: dict[float, list[Step]] = {}
    for cells in product(reach, repeat=geometry.dimension):
        for target in range(geometry.sublattices):
            vector = geometry.vector(cells, origin, target)
            distance = round(float(np.linalg.norm(vector)), 6)
            step = Step(cells, target, tuple(float(v) for v in vector))
            by_distance.setdefault(distance, []).append(step)
    nearest = sorted(d for d in by_distance if d > 0)[:MOST_SHELLS]
    return [tuple(sorted(by_distance[d], key=_ring_order)) for d in nearest]


def _ring_order(step: Step) -> tuple[float, ...]:
    if len(step.vector) == 2:
        return (float(np.round(np.arctan2(step.vector[1], step.vector[0]) % (2 * np.pi), 9)),)
    axis_of_pair = tuple(-abs(v) for v in step.vector)
    leading = next((v for v in step.vector if v), 0.0)
    same_pair = tuple(-v if leading > 0 else v for v in step.vector)
    return (*axis_of_pair, *same_pair, -leading)


LatticeMaker = Callable[..., Lattice]


def square(size: int) -> Lattice:
    """Square lattice of ``size`` × ``size`` sites, z = 4.

    Examples
    --------
    >>> square(4).coordination
    4
    """
    return Lattice("square", size)


def triangular(size: int) -> Lattice:
    """Triangular lattice of ``size`` × ``size`` sites, z = 6.

    Examples
    --------
    >>> triangular(3).triangles.shape
    (18, 3)
    """
    return Lattice("triangular", size)


def honeycomb(size: int) -> Lattice:
    """Honeycomb lattice of 2 · ``size`` × ``size`` sites, z = 3.

    Examples
    --------
    >>> honeycomb(3).sites
    18
    """
    return Lattice("honeycomb", size)


def cubic(size: int) -> Lattice:
    """Simple cubic lattice of ``size``³ sites, z = 6.

    Examples
    --------
    >>> cubic(3).bonds(1).shape
    (81, 2)
    """
    return Lattice("cubic", size)


LATTICES: dict[str, LatticeMaker] = {
    "square": square,
    "triangular": triangular,
    "honeycomb": honeycomb,
    "cubic": cubic,
}
