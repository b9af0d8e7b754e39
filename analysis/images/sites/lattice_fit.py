"""Sites: which atom of an image stands at which site of a named lattice."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from latticescape.analysis.images.sites.basis import (
    FEWEST_ATOMS,
    Basis,
    Floats,
    doubled_coherence,
    seed_basis,
)
from latticescape.analysis.images.sites.indexing import Indexing, follow
from latticescape.analysis.images.sites.rings import neighbours_of
from latticescape.physics.errors import RequestError

Integers = npt.NDArray[np.int64]

PLANE = ("square", "triangular", "honeycomb")

# Where a second sublattice stands in the holes of the first, in fractions of the cell vectors.
HOLES = {
    "square": ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5)),
    "triangular": ((1 / 3, 1 / 3), (2 / 3, 2 / 3)),
    "honeycomb": ((2 / 3, 2 / 3),),
}

# A peak so near to a hole belongs to its sublattice, in spacings.
IN_HOLE = 0.25

# In the whole image the lattice must hold so many of the bright atoms, with so few vacancies, and
# repeat so well. Metals of 1T′ with disorder repeat with .84 or more, a tenth of a spacing of
# disorder leaves .78; maxima of noise that knows a length to 2 %, which the lattice is bent to
# follow, reach .58.
LEAST_PLACED = 0.4
LEAST_FILLED = 0.72
LEAST_COHERENCE = 0.66


def fit_sites(atoms: xr.Dataset, lattice: str = "triangular") -> xr.Dataset:
    """Assign the atoms of an image to the sites of a lattice.

    The lattice is that of the brightest sublattice, such as the metals of MX2. Its cell vectors
    come from the strong spots of the structure factor of a part of the image; from there sites are
    followed outward, each expected where its neighbours say: the image may be rotated, sheared and
    bent, and atoms stand off their sites, up to a quarter of a spacing in 1T′.

    Parameters
    ----------
    atoms
        Peaks over ``atom``: ``row``, ``col`` (px) and ``intensity``, all sublattices.
    lattice
        ``square``, ``triangular`` or ``honeycomb``.

    Returns
    -------
    Dataset
        ``atoms`` and, over ``atom``: ``i``, ``j``, the cell; ``on_lattice``, whether the atom
        stands at a site of the lattice; ``sublattice``, the site within the cell, for atoms off
        the lattice the number of a hole's sublattice (as chalcogens have), or −1; ``site_row``,
        ``site_col``, where the site is in the slowly distorted lattice, and ``row_residual``,
        ``col_residual``, how far the atom is off (px; NaN off the lattice). Over ``vacancy``:
        sites without an atom inside the crystal, ``vacancy_row``, ``vacancy_col``, ``vacancy_i``,
        ``vacancy_j``, ``vacancy_sublattice``. ``basis`` (vector, axis), px, rows are the steps to
        the next i and j; ``origin`` (axis). attrs: ``lattice``, ``lattice_constant`` (distance of
        nearest sites, px), ``strain``, ``coherence`` (1 for atoms that repeat exactly from cell to
        cell or from every other cell), ``placed`` and ``filled`` (shares).

    Raises
    ------
    RequestError
        If there is no such lattice, or too few atoms, or a position that is no number.

    Examples
    --------
    >>> from latticescape import triangular
    >>> places = 17.0 * triangular(8).positions
    >>> atoms = xr.Dataset({"row": ("atom", places[:, 1]), "col": ("atom", places[:, 0]),
    ...                     "intensity": ("atom", np.ones(64))})
    >>> sites = fit_sites(atoms, "triangular")
    >>> int(sites.on_lattice.sum()), round(sites.attrs["lattice_constant"], 3)
    (64, 17.0)
    """
    kind = _plane(lattice)
    positions, intensities = _peaks(atoms)
    basis, centre = seed_basis(positions, intensities, kind)
    indexing = follow(positions, intensities, basis, centre)
    found = _columns(indexing, positions)
    vacancies = _vacancies(indexing)
    told = _checked(indexing, found, intensities, len(vacancies["row"][0]))
    return (
        atoms.assign(
            {name: ("atom", values, _told(*words)) for name, (values, *words) in found.items()}
            | {
                f"vacancy_{name}": ("vacancy", values, _told(*words))
                for name, (values, *words) in vacancies.items()
            }
            | {
                "basis": (("vector", "axis"), indexing.basis.vectors, _told("cell vectors", "px")),
                "origin": ("axis", indexing.basis.origin, _told("first site of cell (0, 0)", "px")),
            }
        )
        .assign_coords(axis=["row", "col"], vector=["i", "j"])
        .assign_attrs(
            lattice=kind,
            lattice_constant=indexing.basis.spacing,
            strain=indexing.basis.strain,
            **told,
        )
    )


def _plane(lattice: str) -> str:
    if lattice not in PLANE:
        raise RequestError(
            "an image shows a plane lattice", came=lattice, allowed=" | ".join(PLANE)
        )
    return lattice


def _peaks(atoms: xr.Dataset) -> tuple[Floats, Floats]:
    """Positions and positive intensities of the peaks."""
    missing = [name for name in ("row", "col", "intensity") if name not in atoms]
    if missing:
        raise RequestError(
            f"the atoms have no {missing[0]}",
            came=", ".join(map(str, atoms.data_vars)),
            allowed="row, col, intensity",
            hint="fit_sites(find_atoms(image))",
        )
    if atoms.sizes["atom"] < FEWEST_ATOMS:
        raise RequestError(
            "too few atoms for a lattice",
            came=atoms.sizes["atom"],
            allowed=f"{FEWEST_ATOMS} or more",
        )
    table = np.stack([atoms[name].to_numpy() for name in ("row", "col", "intensity")], axis=1)
    table = table.astype(float)
    right = np.isfinite(table).all(axis=1)
    if not right.all():
        wrong = int(np.argmin(right))
        raise RequestError(
            "an atom has no position or intensity",
            came=f"atom {wrong}: {table[wrong].tolist()}",
            allowed="finite numbers",
        )
    least = 1e-3 * np.quantile(table[:, 2], 0.9)
    if least <= 0:
        raise RequestError(
            "the atoms are not bright", came=f"90 % below {1e3 * least:g}", allowed="above 0"
        )
    return table[:, :2], np.maximum(table[:, 2], least)


def _columns(
    indexing: Indexing, positions: Floats
) -> dict[str, tuple[npt.NDArray[np.generic], str, str]]:
    """What is known of every atom: values, long name, units."""
    occupied = indexing.occupied
    atoms = indexing.atoms[tuple(occupied.T)]
    number = len(positions)
    cells, sublattice = _in_holes(indexing.basis, positions, indexing, atoms)
    cells[atoms] = occupied[:, :2] + indexing.corner
    sublattice[atoms] = occupied[:, 2]
    on = np.zeros(number, bool)
    on[atoms] = True
    places = np.full((number, 2), np.nan)
    places[atoms] = indexing.places[tuple(occupied.T)]
    off = positions - places
    return {
        "i": (cells[:, 0], "cell along the first vector", "1"),
        "j": (cells[:, 1], "cell along the second vector", "1"),
        "on_lattice": (on, "stands at a site of the lattice", "1"),
        "sublattice": (sublattice, "sublattice, -1 for none", "1"),
        "site_row": (places[:, 0], "row of the site", "px"),
        "site_col": (places[:, 1], "column of the site", "px"),
        "row_residual": (off[:, 0], "row from the site", "px"),
        "col_residual": (off[:, 1], "column from the site", "px"),
    }


def _in_holes(
    basis: Basis, positions: Floats, indexing: Indexing, atoms: Integers
) -> tuple[Integers, Integers]:
    """Nearest cell of every atom, and the sublattice of the hole it stands in, by cell."""
    here = indexing.occupied
    shift = indexing.places[tuple(here.T)] - basis.places(indexing.ideal(here))
    nearest = cKDTree(positions[atoms]).query(positions)[1]
    fractions = basis.fractions(positions - shift[nearest])
    holes = np.array(HOLES[basis.kind])
    cells = np.round(fractions[:, None] - holes)
    off = np.linalg.norm((fractions[:, None] - holes - cells) @ basis.vectors, axis=2)
    best = np.argmin(off, axis=1)
    rows = np.arange(len(positions))
    inside = off[rows, best] < IN_HOLE * basis.spacing
    sublattice = np.where(inside, best + len(basis.sites), -1)
    return cells[rows, best].astype(np.int64), sublattice


def _checked(
    indexing: Indexing,
    found: dict[str, tuple[npt.NDArray[np.generic], str, str]],
    intensities: Floats,
    vacancies: int,
) -> dict[str, float]:
    """How well the lattice holds the whole image; a RequestError if it does not."""
    on = np.asarray(found["on_lattice"][0], bool)
    off = np.column_stack([found["row_residual"][0], found["col_residual"][0]]).astype(float)[on]
    repeats = doubled_coherence(
        indexing.basis.kind,
        off @ np.linalg.inv(indexing.basis.vectors),
        np.column_stack([found["i"][0], found["j"][0]]).astype(np.int64)[on],
    )
    bright = intensities >= np.quantile(intensities[on], 0.25)
    placed = float(np.sum(bright & on) / np.sum(bright))
    filled = float(on.sum() / (on.sum() + vacancies))
    if placed < LEAST_PLACED or repeats < LEAST_COHERENCE or filled < LEAST_FILLED:
        raise RequestError(
            f"no {indexing.basis.kind} lattice found but in a small part of the image",
            came=f"{placed:.0%} of the bright atoms on it, {filled:.0%} of its sites filled, "
            f"coherence {repeats:.2f}",
            allowed=f"{LEAST_PLACED:.0%}, {LEAST_FILLED:.0%}, {LEAST_COHERENCE} or more",
            hint="the part of the image that shows the lattice",
        )
    return {"coherence": repeats, "placed": placed, "filled": filled}


def _vacancies(indexing: Indexing) -> dict[str, tuple[npt.NDArray[np.generic], str, str]]:
    """Empty sites more than half of whose neighbouring sites hold atoms."""
    empty = np.argwhere(indexing.atoms == -1)
    around = neighbours_of(empty, indexing.basis.kind)
    held = indexing.atoms[tuple(np.moveaxis(around, 2, 0))] >= 0
    empty = empty[held.sum(axis=1) > around.shape[1] / 2]
    places = indexing.places[tuple(empty.T)]
    cells = empty[:, :2] + indexing.corner
    return {
        "row": (places[:, 0], "row of the empty site", "px"),
        "col": (places[:, 1], "column of the empty site", "px"),
        "i": (cells[:, 0], "cell along the first vector", "1"),
        "j": (cells[:, 1], "cell along the second vector", "1"),
        "sublattice": (empty[:, 2], "sublattice", "1"),
    }


def _told(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}
