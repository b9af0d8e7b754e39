"""Periodic lattices: sites, neighbour shells and elementary triangles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_choice, checked_integer
from latticescape.physics.lattices.geometry import (
    GEOMETRIES,
    TOLERANCE,
    Geometry,
    Vectors,
    shell_steps,
)

Sites = npt.NDArray[np.int32]

MOST_SITES = 2**22

# The kind of a lattice whose cell is given.
CRYSTAL = "crystal"

PERIODIC, OPEN = "periodic", "open"

# Of fractional coordinates.
DIGITS = 12


@dataclass(frozen=True, repr=False)
class Lattice:
    """A lattice of ``size`` cells along every axis, periodic unless a boundary is open.

    Sites are numbered cell by cell, the last axis fastest, and site by site of the basis within a
    cell. Two lattices are equal if all attributes are.

    Attributes
    ----------
    kind
        A preset: ``square``, ``triangular``, ``honeycomb``, ``cubic``, ``chain``, ``kagome``,
        ``bcc``, ``fcc``, ``hcp`` or ``diamond``; or ``crystal``, for a cell of one's own.
    size
        L cells along every axis, or one number for each axis.
    boundary
        ``"periodic"`` or ``"open"`` for each axis; () if all are periodic.
    crystal
        Cell and basis of the kind ``crystal``; None for a preset.

    Examples
    --------
    >>> lattice = Lattice("triangular", 4)
    >>> lattice.sites, lattice.neighbors(1).shape, lattice.triangles.shape
    (16, (16, 6), (32, 3))
    >>> Lattice("square", (4, 2), boundary=("open", "periodic")).bonds(1).shape
    (14, 2)
    """

    kind: str
    size: int | tuple[int, ...]
    boundary: tuple[str, ...] = ()
    crystal: Geometry | None = None

    def __post_init__(self) -> None:
        if self.crystal is None:
            checked_choice(self.kind, GEOMETRIES, "lattice.kind is unknown")
        object.__setattr__(self, "size", _checked_size(self.size, self.kind, self.geometry))
        object.__setattr__(self, "boundary", _checked_boundary(self.boundary, self.geometry))

    def __repr__(self) -> str:
        set_ = {n: v for n in ("boundary", "crystal") if (v := getattr(self, n))}
        parts = {"kind": self.kind, "size": self.size, **set_}
        return f"Lattice({', '.join(f'{name}={value!r}' for name, value in parts.items())})"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Lattice, (self.kind, self.size, self.boundary, self.crystal)

    @property
    def table(self) -> dict[str, Any]:
        """The table of a spec file."""
        size = list(self.size) if isinstance(self.size, tuple) else self.size
        boundary = {"boundary": list(self.boundary)} if self.boundary else {}
        if self.crystal is None:
            return {"kind": self.kind, "size": size, **boundary}
        cell = np.asarray(self.crystal.cell)
        fractions = np.asarray(self.crystal.basis) @ np.linalg.inv(cell)
        basis = (np.round(fractions, DIGITS) + 0.0).tolist()
        names = {"sublattice": list(self.crystal.sublattice)} if self.crystal.sublattice else {}
        return {
            "kind": self.kind,
            "cell": [list(row) for row in self.crystal.cell],
            "basis": basis,
            **names,
            "size": size,
            **boundary,
        }

    @property
    def geometry(self) -> Geometry:
        """Cell and basis."""
        return GEOMETRIES[self.kind] if self.crystal is None else self.crystal

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        if isinstance(self.size, tuple):
            return self.size
        return (self.size,) * self.geometry.dimension

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether the lattice is periodic along each axis."""
        return tuple(side == PERIODIC for side in self.boundary or (PERIODIC,) * len(self.shape))

    @property
    def plain(self) -> bool:
        """Whether it is a preset with one size along all axes and periodic boundaries."""
        return self.crystal is None and isinstance(self.size, int) and not self.boundary

    @property
    def linear_size(self) -> int:
        """L of a periodic lattice with one size along all axes.

        Raises
        ------
        RequestError
            If it is another lattice: finite-size scaling, structure factors and kinetics are
            defined for these only.
        """
        if not isinstance(self.size, int) or self.boundary:
            raise RequestError(
                "this needs a periodic lattice of one size along all axes",
                came=", ".join(f"{name} = {value}" for name, value in self.table.items()),
                allowed="one number as size, and no open boundary",
                hint="size = 64 in [lattice]",
            )
        return self.size

    @property
    def sites(self) -> int:
        """Number of sites N."""
        return int(np.prod(self.shape)) * self.geometry.sublattices

    @property
    def coordination(self) -> int:
        """Number of nearest neighbours z of the first site of the basis."""
        return len(shell_steps(self.geometry, 1)[0])

    @cached_property
    def positions(self) -> Vectors:
        """Site positions, (sites, dimension), as (x, y[, z]); presets in nearest-neighbour
        distances, crystals in the units of their cell."""
        cells = np.asarray(list(product(*(range(length) for length in self.shape))), float)
        corners = cells @ np.asarray(self.geometry.cell)
        sites: Vectors = corners[:, None, :] + np.asarray(self.geometry.basis)
        return sites.reshape(-1, self.geometry.dimension)

    def sites_at(self, steps: Sequence[int], target: int) -> Sites:
        """The site of the basis ``target`` that is ``steps`` cells away from each cell, (cells,)
        int32; −1 beyond an open boundary."""
        shape = np.array(self.shape)
        moved = np.indices(self.shape).reshape(len(shape), -1) + np.asarray(steps)[:, None]
        cell = np.ravel_multi_index(tuple(moved % shape[:, None]), self.shape)
        found = cell * self.geometry.sublattices + target
        for axis, along in enumerate(self.periodic):
            if not along:
                found[(moved[axis] < 0) | (moved[axis] >= shape[axis])] = -1
        sites: Sites = found.astype(np.int32)
        return sites

    def neighbors(self, shell: int) -> Sites:
        """Neighbours of every site in a shell, (sites, z_shell) int32.

        Plane lattices list them by angle (a ring), others as opposite pairs. On a small torus a
        neighbour may appear more than once; each appearance is a separate bond. −1 stands for a
        neighbour beyond an open boundary, and fills the rows of sites with fewer neighbours.

        Parameters
        ----------
        shell
            1 for nearest, 2 for next-nearest, up to 8.

        Raises
        ------
        RequestError
            If the lattice is so small that a site is its own neighbour.
        """
        steps = shell_steps(self.geometry, shell)
        most, basis = max(map(len, steps)), self.geometry.sublattices
        table = np.full((self.sites // basis, basis, most), -1, np.int32)
        for own, around in enumerate(steps):
            for k, step in enumerate(around):
                table[:, own, k] = self.sites_at(step.cells, step.target)
        rows: Sites = table.reshape(self.sites, most)
        if np.any(rows == np.arange(self.sites)[:, None]):
            raise RequestError(
                f"lattice.size is too small for shell {shell}: a site would be its own neighbour",
                came=self.size,
                allowed=f"{min(self.shape) + 1} or more",
            )
        return rows

    def bonds(self, shell: int) -> Sites:
        """Every bond of a shell once, (bonds, 2) int32: sites * z_shell / 2 of a periodic lattice
        whose sites have the same number of neighbours."""
        steps = shell_steps(self.geometry, shell)
        self.neighbors(shell)  # raises for a lattice that is too small
        here = (0,) * self.geometry.dimension
        bonds = np.concatenate(
            [
                np.stack([self.sites_at(here, own), self.sites_at(step.cells, step.target)], axis=1)
                for own, around in enumerate(steps)
                for step in around
                if (step.target, step.cells) > (own, here)
            ]
        )
        return np.ascontiguousarray(bonds[(bonds >= 0).all(axis=1)])

    @cached_property
    def triangles(self) -> Sites:
        """Every elementary triangle once, (2 * sites, 3) int32; the triangular lattice only."""
        if self.kind != "triangular" or not self.plain:
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


def _checked_size(size: Any, kind: str, geometry: Geometry) -> int | tuple[int, ...]:
    """The size, one number if all axes have the same."""
    if not isinstance(size, list | tuple):
        largest = _largest_size(geometry)
        return checked_integer(
            size,
            2,
            largest,
            "lattice.size is out of range",
            allowed=f"a whole number from 2 to {largest} for {kind}",
            hint="size = 64",
        )
    axes = tuple(
        checked_integer(
            length,
            1,
            MOST_SITES,
            f"lattice.size[{axis}] is out of range",
            hint=f"size = {[8] * geometry.dimension}",
        )
        for axis, length in enumerate(size)
    )
    if len(axes) != geometry.dimension:
        raise RequestError(
            "lattice.size must have one number for each axis",
            came=list(axes),
            allowed=f"one number, or {geometry.dimension} for {kind}",
            hint=f"size = {[8] * geometry.dimension}",
        )
    sites = int(np.prod(axes, dtype=object)) * geometry.sublattices
    if not 2 <= sites <= MOST_SITES:
        raise RequestError(
            "the lattice has too many or too few sites",
            came=f"{sites} sites",
            allowed=f"2 to {MOST_SITES}",
            hint=f"size = {[8] * geometry.dimension}",
        )
    return axes[0] if len(set(axes)) == 1 and axes[0] > 1 else axes


def _checked_boundary(boundary: Any, geometry: Geometry) -> tuple[str, ...]:
    """The boundary of each axis; () if all are periodic."""
    listed = tuple(boundary) if isinstance(boundary, Sequence) else (boundary,)
    given = (boundary,) * geometry.dimension if isinstance(boundary, str) else listed
    if any(word not in (PERIODIC, OPEN) for word in given) or (
        given and len(given) != geometry.dimension
    ):
        raise RequestError(
            "lattice.boundary is unknown",
            came=repr(boundary),
            allowed=f'"{PERIODIC}" or "{OPEN}", for all axes or for each of {geometry.dimension}',
            hint=f"boundary = {[OPEN, *[PERIODIC] * (geometry.dimension - 1)]}",
        )
    return given if OPEN in given else ()


def largest_size(kind: str) -> int:
    """The largest L with at most ``MOST_SITES`` sites."""
    return _largest_size(GEOMETRIES[kind])


def _largest_size(geometry: Geometry) -> int:
    size: int = round((MOST_SITES / geometry.sublattices) ** (1 / geometry.dimension))
    return size - 1 if geometry.sublattices * size**geometry.dimension > MOST_SITES else size


def crystal(
    size: int | Sequence[int],
    cell: npt.ArrayLike,
    basis: npt.ArrayLike | None = None,
    *,
    sublattice: Sequence[str] = (),
    boundary: str | Sequence[str] = (),
) -> Lattice:
    """Lattice with a cell and a basis of one's own, in one, two or three dimensions.

    Parameters
    ----------
    size
        Number of cells along every axis, or along each.
    cell
        (dimension, dimension): the vectors of the cell, one row each, in any unit of length.
    basis
        (sites, dimension): fractional positions in the cell; one site at the origin by default.
    sublattice
        Name of the sublattice of each site of the basis; by default all sites are of one.
    boundary
        ``"periodic"`` (default) or ``"open"``, for all axes or for each.

    Raises
    ------
    RequestError
        If the cell is singular, two sites are in one place, or a number is out of range.

    Examples
    --------
    >>> crystal([4, 6], [[1.0, 0.0], [0.0, 1.3]], [[0, 0], [0.5, 0.5]]).sites
    48
    """
    vectors = _checked_cell(cell)
    places = np.zeros((1, len(vectors))) if basis is None else _numbers(basis, "lattice.basis")
    if places.ndim != 2 or places.shape[1] != len(vectors) or not len(places):
        raise RequestError(
            "lattice.basis must have one row of fractional coordinates for each site",
            came=f"{places.shape}",
            allowed=f"(sites, {len(vectors)})",
            hint=f"basis = {[[0.0] * len(vectors)]}",
        )
    named = isinstance(sublattice, Sequence) and not isinstance(sublattice, str)
    names = tuple(sublattice) if named else ("",)
    if names and (len(names) != len(places) or not all(isinstance(n, str) and n for n in names)):
        raise RequestError(
            "lattice.sublattice must name the sublattice of each site of the basis",
            came=repr(sublattice),
            allowed=f"{len(places)} names",
            hint=f"sublattice = {['A', *'B' * (len(places) - 1)]}",
        )
    if names and len(set(names)) == 1:
        names = ()
    # As many digits as a spec file keeps, so that a lattice survives its spec.
    places = np.round(places, DIGITS) + 0.0
    geometry = Geometry(
        cell=tuple(tuple(row) for row in vectors.tolist()),
        basis=tuple(tuple(row) for row in (places @ vectors).tolist()),
        sublattice=names,
    )
    if (twice := _coincident(geometry)) is not None:
        raise RequestError(
            "two sites of lattice.basis are in one place",
            came=f"sites {twice[0]} and {twice[1]} at {places[twice[0]].tolist()}",
            allowed="different places, also one cell further",
        )
    return _made(CRYSTAL, size, boundary, geometry)


def _made(
    kind: str, size: Any, boundary: str | Sequence[str], own: Geometry | None = None
) -> Lattice:
    several = isinstance(size, Sequence) and not isinstance(size, str)
    sides = _checked_boundary(boundary, GEOMETRIES[kind] if own is None else own)
    return Lattice(kind, tuple(size) if several else size, sides, own)


def _checked_cell(cell: npt.ArrayLike) -> Vectors:
    vectors = _numbers(cell, "lattice.cell")
    if vectors.ndim != 2 or vectors.shape[0] != vectors.shape[1] or not 1 <= len(vectors) <= 3:
        raise RequestError(
            "lattice.cell must have one vector for each dimension",
            came=f"numbers of shape {vectors.shape}",
            allowed="(1, 1), (2, 2) or (3, 3)",
            hint="cell = [[1.0, 0.0], [0.0, 1.3]]",
        )
    lengths = np.linalg.norm(vectors, axis=1)
    volume = abs(float(np.linalg.det(vectors)))
    if not volume > TOLERANCE * float(np.prod(lengths)):
        raise RequestError(
            "lattice.cell is singular: its vectors do not span a cell",
            came=vectors.tolist(),
            allowed="vectors of which none is a combination of the others",
            hint="cell = [[1.0, 0.0], [0.0, 1.3]]",
        )
    return vectors


def _numbers(values: npt.ArrayLike, what: str) -> Vectors:
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if not np.isfinite(numbers).all():
        raise RequestError(f"{what} must be rows of numbers", came=repr(values))
    return numbers


def _coincident(geometry: Geometry) -> tuple[int, int] | None:
    """Two sites of a basis in one place, in this or another cell."""
    shortest = np.linalg.norm(np.asarray(geometry.cell), axis=1).min()
    inverse = np.linalg.inv(np.asarray(geometry.cell))
    basis = np.asarray(geometry.basis)
    for first, second in combinations(range(len(basis)), 2):
        fraction = (basis[second] - basis[first]) @ inverse
        vector = (fraction - np.round(fraction)) @ np.asarray(geometry.cell)
        if np.linalg.norm(vector) < TOLERANCE * shortest:
            return first, second
    return None


LatticeMaker = Callable[..., Lattice]
Size = int | Sequence[int]
Boundary = str | Sequence[str]


def square(size: Size, boundary: Boundary = ()) -> Lattice:
    """Square lattice of ``size`` × ``size`` sites, z = 4.

    Examples
    --------
    >>> square(4).coordination
    4
    """
    return _made("square", size, boundary)


def triangular(size: Size, boundary: Boundary = ()) -> Lattice:
    """Triangular lattice of ``size`` × ``size`` sites, z = 6.

    Examples
    --------
    >>> triangular(3).triangles.shape
    (18, 3)
    """
    return _made("triangular", size, boundary)


def honeycomb(size: Size, boundary: Boundary = ()) -> Lattice:
    """Honeycomb lattice of 2 · ``size`` × ``size`` sites, z = 3.

    Examples
    --------
    >>> honeycomb(3).sites
    18
    """
    return _made("honeycomb", size, boundary)


def cubic(size: Size, boundary: Boundary = ()) -> Lattice:
    """Simple cubic lattice of ``size``³ sites, z = 6.

    Examples
    --------
    >>> cubic(3).bonds(1).shape
    (81, 2)
    """
    return _made("cubic", size, boundary)


def chain(size: Size, boundary: Boundary = ()) -> Lattice:
    """Chain of ``size`` sites, z = 2.

    Examples
    --------
    >>> chain(8).sites
    8
    """
    return _made("chain", size, boundary)


def kagome(size: Size, boundary: Boundary = ()) -> Lattice:
    """Kagome lattice of 3 · ``size`` × ``size`` sites, z = 4.

    Examples
    --------
    >>> kagome(4).sites, kagome(4).coordination
    (48, 4)
    """
    return _made("kagome", size, boundary)


def bcc(size: Size, boundary: Boundary = ()) -> Lattice:
    """Body-centred cubic lattice of ``size``³ primitive cells, z = 8.

    Examples
    --------
    >>> bcc(4).coordination
    8
    """
    return _made("bcc", size, boundary)


def fcc(size: Size, boundary: Boundary = ()) -> Lattice:
    """Face-centred cubic lattice of ``size``³ primitive cells, z = 12.

    Examples
    --------
    >>> fcc(4).coordination
    12
    """
    return _made("fcc", size, boundary)


def hcp(size: Size, boundary: Boundary = ()) -> Lattice:
    """Hexagonal close-packed lattice of 2 · ``size``³ sites, z = 12.

    Examples
    --------
    >>> hcp(4).coordination
    12
    """
    return _made("hcp", size, boundary)


def diamond(size: Size, boundary: Boundary = ()) -> Lattice:
    """Diamond lattice of 2 · ``size``³ sites, z = 4.

    Examples
    --------
    >>> diamond(4).coordination
    4
    """
    return _made("diamond", size, boundary)


def rectangular(size: Size, ratio: float, boundary: Boundary = ()) -> Lattice:
    """Rectangular lattice: rows of sites at distance 1, at ``ratio`` from each other.

    Examples
    --------
    >>> rectangular([4, 8], ratio=1.3).positions[8].tolist()
    [0.0, 1.3]
    """
    return oblique(size, ratio, 90.0, boundary)


def oblique(size: Size, ratio: float, angle: float, boundary: Boundary = ()) -> Lattice:
    """Oblique lattice: rows of sites at distance 1, and a step of length ``ratio`` at an ``angle``
    in degrees to them.

    Raises
    ------
    RequestError
        If the ratio is not above 0, or the angle not between 0 and 180.

    Examples
    --------
    >>> oblique(4, ratio=1.0, angle=60.0).coordination
    6
    """
    real = all(type(number) in (int, float) for number in (ratio, angle))
    if not real or not 0 < ratio < np.inf or not 0 < angle < 180:
        raise RequestError(
            "ratio or angle of the oblique cell is out of range",
            came=f"ratio = {ratio}, angle = {angle}",
            allowed="ratio > 0, and an angle between 0 and 180",
            hint="ratio = 1.3, angle = 80",
        )
    radians = np.deg2rad(angle)
    # The cosine of 90 degrees is 6e-17.
    along = round(float(ratio * np.cos(radians)), 14) + 0.0
    cell = [[along, float(ratio * np.sin(radians))], [1.0, 0.0]]
    return crystal(size, cell, boundary=boundary)


LATTICES: dict[str, LatticeMaker] = {
    "square": square,
    "triangular": triangular,
    "honeycomb": honeycomb,
    "cubic": cubic,
    "chain": chain,
    "kagome": kagome,
    "bcc": bcc,
    "fcc": fcc,
    "hcp": hcp,
    "diamond": diamond,
    "rectangular": rectangular,
    "oblique": oblique,
}
