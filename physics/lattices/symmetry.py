"""The space group of a crystal, found from its geometry.

An operation maps the site of the basis ``b`` in the cell ``n`` to the site ``target[b]`` in the
cell ``n @ rotation + shift[b]``. Operations that differ by a translation of the lattice are one.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np

from latticescape.physics.lattices.geometry import TOLERANCE, Geometry, Vectors

# What makes two clusters, or two configurations, the same.
Symmetry = Literal["space_group", "rotations", "translations"]
Place = tuple[tuple[int, ...], int]
Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Operation:
    """A symmetry operation of a crystal.

    Attributes
    ----------
    rotation
        Integer matrix that maps cells, as rows, to cells.
    target
        The site of the basis to which each is mapped.
    shift
        The cell, for each site of the basis, to which it is mapped from the cell at the origin.
    """

    rotation: Matrix
    target: tuple[int, ...]
    shift: tuple[tuple[int, ...], ...]

    def __call__(self, place: Place) -> Place:
        """The image of a site: (cell, site of the basis)."""
        cell, site = place
        moved = np.asarray(cell) @ np.asarray(self.rotation) + np.asarray(self.shift[site])
        return tuple(moved.tolist()), self.target[site]

    @property
    def proper(self) -> bool:
        """Whether it is a rotation, without reflection or inversion."""
        return bool(np.linalg.det(np.asarray(self.rotation)) > 0)


def operations(geometry: Geometry, symmetry: Symmetry) -> tuple[Operation, ...]:
    """The operations of a crystal that count as symmetry; the identity comes first.

    Parameters
    ----------
    geometry
        Cell and basis; an operation maps every site to one of the same sublattice.
    symmetry
        ``"space_group"``: all operations. ``"rotations"``: those without reflection.
        ``"translations"``: translations by a vector of the given cell alone.

    Examples
    --------
    >>> from latticescape.physics.lattices.geometry import GEOMETRIES
    >>> [len(operations(GEOMETRIES[kind], "space_group")) for kind in ("triangular", "diamond")]
    [12, 48]
    >>> len(operations(GEOMETRIES["triangular"], "rotations"))
    6
    """
    found = _space_group(geometry)
    if symmetry == "space_group":
        return found
    if symmetry == "rotations":
        return tuple(operation for operation in found if operation.proper)
    return found[:1]


@cache
def _space_group(geometry: Geometry) -> tuple[Operation, ...]:
    cell = np.asarray(geometry.cell)
    inverse = np.linalg.inv(cell)
    tolerance = TOLERANCE * float(np.linalg.norm(cell, axis=1).min())
    found: dict[Operation, None] = {}
    for rotation in _point_group(cell, tolerance):
        matrix = inverse @ np.asarray(rotation) @ cell
        # The first site of the basis goes to each of its own sublattice in turn.
        for first in range(len(geometry.basis)):
            offset = np.asarray(geometry.basis[first]) - np.asarray(geometry.basis[0]) @ matrix
            operation = _operation(geometry, rotation, matrix, offset, inverse, tolerance)
            if operation is not None:
                found[operation] = None
    identity = np.eye(len(cell), dtype=int).tolist()
    return tuple(
        sorted(
            found,
            key=lambda o: (
                list(map(list, o.rotation)) != identity or o.target[0] != 0,
                o.rotation,
                o.target,
            ),
        )
    )


def _operation(
    geometry: Geometry,
    rotation: Matrix,
    matrix: Vectors,
    offset: Vectors,
    inverse: Vectors,
    tolerance: float,
) -> Operation | None:
    """The operation x → x @ matrix + offset, if it maps the crystal to itself."""
    basis, names = np.asarray(geometry.basis), geometry.names
    target, shift = [], []
    for site, place in enumerate(basis):
        steps = (place @ matrix + offset - basis) @ inverse
        whole = np.round(steps)
        away = np.linalg.norm((steps - whole) @ np.linalg.inv(inverse), axis=1)
        image = int(np.argmin(away))
        if away[image] > tolerance or names[image] != names[site]:
            return None
        target.append(image)
        shift.append(tuple(whole[image].astype(int).tolist()))
    return Operation(rotation, tuple(target), tuple(shift))


def _point_group(cell: Vectors, tolerance: float) -> list[Matrix]:
    """Integer matrices that keep all lengths and angles of the lattice."""
    lengths = np.linalg.norm(cell, axis=1)
    metric = cell @ cell.T
    reach = Geometry(tuple(map(tuple, cell.tolist())), (tuple([0.0] * len(cell)),)).reach(
        float(lengths.max()) + tolerance
    )
    vectors = np.array(list(product(*reach)))
    sizes = np.linalg.norm(vectors @ cell, axis=1)
    images = [vectors[np.abs(sizes - length) < tolerance] for length in lengths]
    scale = tolerance * float(lengths.max())
    return [
        tuple(tuple(int(n) for n in row) for row in rows)
        for rows in product(*images)
        if np.abs(np.asarray(rows) @ metric @ np.asarray(rows).T - metric).max() < 2 * scale
    ]
