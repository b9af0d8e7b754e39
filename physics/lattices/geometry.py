"""The cell and the basis of a lattice, its presets, and its neighbour shells."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError

Vectors = npt.NDArray[np.float64]

MOST_SHELLS = 8

# Cells that are searched for neighbours and symmetry.
MOST_CELLS = 10**6

# Two distances, or two places, are the same within this share of the shortest distance.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Geometry:
    """A Bravais lattice with a basis.

    Attributes
    ----------
    cell
        The cell's vectors, one row each.
    basis
        Positions in the cell, in the units of the cell: Cartesian, not fractional.
    sublattice
        Name of the sublattice of each site of the basis, () for one sublattice of all sites. Sites
        of one sublattice hold the same species.
    """

    cell: tuple[tuple[float, ...], ...]
    basis: tuple[tuple[float, ...], ...]
    sublattice: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        return len(self.cell)

    @property
    def sublattices(self) -> int:
        """Number of sites in the basis."""
        return len(self.basis)

    @property
    def names(self) -> tuple[str, ...]:
        """The sublattice of each site of the basis."""
        return self.sublattice or ("",) * len(self.basis)

    @property
    def sublattice_names(self) -> tuple[str, ...]:
        """The names of the sublattices, each once, in the order of the basis."""
        return tuple(dict.fromkeys(self.names))

    def vector(self, steps: tuple[int, ...], origin: int, target: int) -> Vectors:
        """The vector from a site of sublattice ``origin`` to one of ``target``, ``steps`` away."""
        basis = np.asarray(self.basis)
        vector: Vectors = np.asarray(steps, float) @ np.asarray(self.cell)
        vector += basis[target] - basis[origin]
        return vector

    def reach(self, radius: float) -> tuple[range, ...]:
        """The cells along each axis that a sphere around a site of the basis can touch."""
        basis = np.asarray(self.basis)
        spread = float(np.linalg.norm(basis[:, None] - basis[None, :], axis=-1).max())
        # Of the lattice planes of each axis.
        distances = 1 / np.linalg.norm(np.linalg.inv(np.asarray(self.cell)), axis=0)
        most = np.floor((radius + spread) / distances + TOLERANCE)
        if np.prod(2 * most + 1) > MOST_CELLS:
            raise RequestError(
                "the cell is too long, too skewed or too far from its basis to be searched",
                came=f"cell = {self.cell}",
                allowed="vectors of similar lengths, and basis sites inside the cell",
                hint="the reduced cell of the same crystal",
            )
        most = most.astype(int)
        return tuple(range(-m, m + 1) for m in most.tolist())


@dataclass(frozen=True)
class Step:
    """One neighbour of a site: relative cell, sublattice, and the vector to it."""

    cells: tuple[int, ...]
    target: int
    vector: tuple[float, ...]


_HALF, _ROOT3 = 0.5, float(np.sqrt(3.0))
_ROOT2, _THIRD = float(np.sqrt(2.0)), float(1 / np.sqrt(3.0))
_FACE = (
    (0.0, _ROOT2 / 2, _ROOT2 / 2),
    (_ROOT2 / 2, 0.0, _ROOT2 / 2),
    (_ROOT2 / 2, _ROOT2 / 2, 0.0),
)
_DIAMOND = 2 * _THIRD  # half of the cubic cell, in nearest-neighbour distances

# In nearest-neighbour distances. The order of the first four decides the bits of stored sweeps.
GEOMETRIES = {
    "square": Geometry(cell=((0.0, 1.0), (1.0, 0.0)), basis=((0.0, 0.0),)),
    "triangular": Geometry(cell=((_HALF, _ROOT3 / 2), (1.0, 0.0)), basis=((0.0, 0.0),)),
    "honeycomb": Geometry(
        cell=((_ROOT3 / 2, 1.5), (_ROOT3, 0.0)), basis=((0.0, 0.0), (_ROOT3 / 2, 0.5))
    ),
    "cubic": Geometry(
        cell=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), basis=((0.0, 0.0, 0.0),)
    ),
    "chain": Geometry(cell=((1.0,),), basis=((0.0,),)),
    "kagome": Geometry(
        cell=((1.0, _ROOT3), (2.0, 0.0)), basis=((0.0, 0.0), (1.0, 0.0), (_HALF, _ROOT3 / 2))
    ),
    "bcc": Geometry(
        cell=((-_THIRD, _THIRD, _THIRD), (_THIRD, -_THIRD, _THIRD), (_THIRD, _THIRD, -_THIRD)),
        basis=((0.0, 0.0, 0.0),),
    ),
    "fcc": Geometry(cell=_FACE, basis=((0.0, 0.0, 0.0),)),
    "hcp": Geometry(
        cell=((1.0, 0.0, 0.0), (-_HALF, _ROOT3 / 2, 0.0), (0.0, 0.0, 2 * _ROOT2 * _THIRD)),
        basis=((0.0, 0.0, 0.0), (0.0, _THIRD, _ROOT2 * _THIRD)),
    ),
    "diamond": Geometry(
        cell=((0.0, _DIAMOND, _DIAMOND), (_DIAMOND, 0.0, _DIAMOND), (_DIAMOND, _DIAMOND, 0.0)),
        basis=((0.0, 0.0, 0.0), (_THIRD, _THIRD, _THIRD)),
    ),
}


@cache
def neighbor_steps(kind: str, shell: int) -> tuple[tuple[Step, ...], ...]:
    """The steps to a shell's neighbours for each site of the basis of a preset, in ring order."""
    return shell_steps(GEOMETRIES[kind], shell)


@cache
def shell_steps(geometry: Geometry, shell: int) -> tuple[tuple[Step, ...], ...]:
    """The steps to a shell's neighbours for each site of the basis, in ring order.

    Shells are numbered by distance over the whole crystal, 1 for the shortest: a site of the basis
    whose neighbours are all further away has none in shell 1.

    Parameters
    ----------
    geometry
        The crystal.
    shell
        1 to 8.

    Raises
    ------
    RequestError
        If the shell is out of range.

    Examples
    --------
    >>> [len(steps) for steps in shell_steps(GEOMETRIES["kagome"], 1)]
    [4, 4, 4]
    """
    if not 1 <= shell <= MOST_SHELLS:
        raise RequestError(
            "unknown neighbour shell", came=shell, allowed=f"1 to {MOST_SHELLS}", hint="shell = 1"
        )
    return _shells(geometry)[shell - 1]


def shell_distance(geometry: Geometry, shell: int) -> float:
    """The distance of a shell's neighbours, in the units of the cell.

    Examples
    --------
    >>> round(shell_distance(GEOMETRIES["square"], 2), 6)
    1.414214
    """
    steps = next(step for steps in shell_steps(geometry, shell) for step in steps)
    return float(np.linalg.norm(steps.vector))


@cache
def _shells(geometry: Geometry) -> tuple[tuple[tuple[Step, ...], ...], ...]:
    """The first shells of every site of the basis: [shell][site]."""
    radius = float(np.linalg.norm(np.asarray(geometry.cell), axis=1).min())
    while len(distances := _distances(geometry, radius)) <= MOST_SHELLS:
        radius *= 1.5
    tolerance = TOLERANCE * distances[0]
    found: list[list[list[Step]]] = [[[] for _ in geometry.basis] for _ in range(MOST_SHELLS)]
    for origin, step, distance in _pairs(geometry, distances[MOST_SHELLS - 1] + tolerance):
        shell = int(np.searchsorted(distances, distance + tolerance)) - 1
        found[shell][origin].append(step)
    return tuple(tuple(tuple(sorted(steps, key=_ring_order)) for steps in shell) for shell in found)


def _pairs(geometry: Geometry, radius: float) -> list[tuple[int, Step, float]]:
    """All neighbours of the sites of the basis within a radius: origin, step and distance."""
    pairs = []
    for cells in product(*geometry.reach(radius)):
        for origin, target in product(range(len(geometry.basis)), repeat=2):
            vector = geometry.vector(cells, origin, target)
            distance = float(np.linalg.norm(vector))
            if distance <= radius and (origin != target or any(cells)):
                step = Step(cells, target, tuple(float(v) for v in vector))
                pairs.append((origin, step, distance))
    return pairs


def _distances(geometry: Geometry, radius: float) -> list[float]:
    """The different distances within a radius, each as the shortest of those that are the same."""
    all_distances = sorted(distance for _, _, distance in _pairs(geometry, radius))
    if not all_distances:
        return []
    tolerance = TOLERANCE * all_distances[0]
    return all_distances[:1] + [b for a, b in pairwise(all_distances) if b - a > tolerance]


def _ring_order(step: Step) -> tuple[float, ...]:
    if len(step.vector) == 2:
        return (float(np.round(np.arctan2(step.vector[1], step.vector[0]) % (2 * np.pi), 9)),)
    axis_of_pair = tuple(-abs(v) for v in step.vector)
    leading = next((v for v in step.vector if v), 0.0)
    same_pair = tuple(-v if leading > 0 else v for v in step.vector)
    return (*axis_of_pair, *same_pair, -leading)
