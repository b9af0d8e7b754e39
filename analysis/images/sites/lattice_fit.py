"""Assign each atom of an image to its site on a named lattice."""

from typing import Any

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from latticescape.analysis.images.sites.basis import (
    FEWEST_ATOMS,
    Floats,
    doubled_coherence,
    seed_basis,
)
from latticescape.analysis.images.sites.indexing import EMPTY, Indexing, follow
from latticescape.analysis.images.sites.rings import check_enough_atoms, check_plane, neighbours_of
from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.errors import RequestError

# Positions of a second sublattice in the holes of the first, in fractions of the cell vectors.
HOLES = {
    "square": ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5)),
    "triangular": ((1 / 3, 1 / 3), (2 / 3, 2 / 3)),
    "honeycomb": ((2 / 3, 2 / 3),),
}

# A peak within this distance of a hole belongs to its sublattice, in spacings.
IN_HOLE = 0.25

# In the full image the lattice must hold this share of the bright atoms, have this share of its
# sites filled, and reach this coherence. Metals of 1T′ with disorder reach 0.84 or more; a disorder
# of a tenth of a spacing leaves 0.78; maxima of noise whose length varies by 2 %, which the lattice
# bends to follow, reach 0.58.
LEAST_PLACED = 0.4
LEAST_FILLED = 0.72
LEAST_COHERENCE = 0.66


def fit_sites(atoms: xr.Dataset, lattice: str = "triangular") -> xr.Dataset:
    """Assign the atoms of an image to the sites of a lattice.

    The lattice is that of the brightest sublattice, such as the metals of MX2. Its cell vectors
    come from the strong spots of the structure factor of a part of the image. From there sites are
    followed outward, each predicted from its neighbours, so the image may be rotated, sheared and
    bent, and atoms may be displaced from their sites, by up to a quarter of a spacing in 1T′.

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
        occupies a site of the lattice; ``sublattice``, the site within the cell, for atoms off
        the lattice the number of a hole's sublattice (as chalcogens have), or −1; ``site_row``,
        ``site_col``, the position of the site in the slowly distorted lattice, and
        ``row_residual``, ``col_residual``, the displacement of the atom from it (px; NaN off the
        lattice). Over ``vacancy``: sites without an atom inside the crystal, ``vacancy_row``,
        ``vacancy_col``, ``vacancy_i``, ``vacancy_j``, ``vacancy_sublattice``. ``basis`` (vector,
        axis), px, rows are the steps to the next i and j; ``origin`` (axis). attrs: ``lattice``,
        ``lattice_constant`` (distance of nearest sites, px), ``strain``, ``coherence`` (1 for atoms
        that repeat exactly from cell to cell or from every other cell), ``placed`` and ``filled``
        (shares).

    Raises
    ------
    RequestError
        If there is no such lattice, there are too few atoms, or a position is not finite.

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
    kind = check_plane(lattice)
    positions, intensities = _check_peaks(atoms)
    seed, centre = seed_basis(positions, intensities, kind)
    indexing = follow(positions, intensities, seed, centre)
    basis = indexing.basis
    variables = _atom_variables(indexing, positions) | _vacancy_variables(indexing)
    quality = _check_quality(indexing, variables, intensities)
    variables["basis"] = (("vector", "axis"), basis.vectors, "cell vectors", "px")
    variables["origin"] = ("axis", basis.origin, "first site of cell (0, 0)", "px")
    return (
        atoms.assign(labelled_variables(variables))
        .assign_coords(axis=["row", "col"], vector=["i", "j"])
        .assign_attrs(lattice=kind, lattice_constant=basis.spacing, strain=basis.strain, **quality)
    )


def _check_peaks(atoms: xr.Dataset) -> tuple[Floats, Floats]:
    """Positions and positive intensities of the peaks."""
    missing = [name for name in ("row", "col", "intensity") if name not in atoms]
    if missing:
        raise RequestError(
            f"the atoms have no {missing[0]}",
            came=", ".join(map(str, atoms.data_vars)),
            allowed="row, col, intensity",
            hint="fit_sites(find_atoms(image))",
        )
    check_enough_atoms(atoms.sizes["atom"], FEWEST_ATOMS, "for a lattice")
    table = np.stack([atoms[name].to_numpy() for name in ("row", "col", "intensity")], axis=1)
    table = table.astype(float)
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        wrong = int(np.argmin(finite))
        raise RequestError(
            "an atom has no position or intensity",
            came=f"atom {wrong}: {table[wrong].tolist()}",
            allowed="finite numbers",
        )
    return table[:, :2], positive_intensities(table[:, 2])


def positive_intensities(intensities: Floats) -> Floats:
    """Intensities of atoms, raised to a thousandth of their 90 % quantile where they are lower.

    Raises
    ------
    RequestError
        If the quantile is not above 0.

    Examples
    --------
    >>> positive_intensities(np.array([-1.0, 1.0, 1.0, 1.0])).tolist()
    [0.001, 1.0, 1.0, 1.0]
    """
    bright = float(np.quantile(intensities, 0.9))
    if bright <= 0:
        raise RequestError(
            "the atoms are not bright", came=f"90 % at or below {bright:g}", allowed="above 0"
        )
    return np.maximum(intensities, 1e-3 * bright)


def _atom_variables(indexing: Indexing, positions: Floats) -> dict[str, Column]:
    occupied, basis = indexing.occupied, indexing.basis
    atoms = indexing.atoms[tuple(occupied.T)]
    site_positions = indexing.places[tuple(occupied.T)]
    # Atoms off the lattice: the nearest cell, and the hole they occupy, if any.
    shift = site_positions - basis.places(indexing.ideal(occupied))
    nearest = cKDTree(positions[atoms]).query(positions)[1]
    fractions = basis.fractions(positions - shift[nearest])
    holes = np.array(HOLES[basis.kind])
    nearest_cells = np.round(fractions[:, None] - holes)
    off = np.linalg.norm((fractions[:, None] - holes - nearest_cells) @ basis.vectors, axis=2)
    best, rows = np.argmin(off, axis=1), np.arange(len(positions))
    inside = off[rows, best] < IN_HOLE * basis.spacing
    sublattice = np.where(inside, best + len(basis.sites), -1)
    cells = nearest_cells[rows, best].astype(np.int64)
    cells[atoms] = occupied[:, :2] + indexing.corner
    sublattice[atoms] = occupied[:, 2]
    on = np.zeros(len(positions), bool)
    on[atoms] = True
    places = np.full((len(positions), 2), np.nan)
    places[atoms] = site_positions
    residual = positions - places
    return {
        "i": ("atom", cells[:, 0], "cell along the first vector", "1"),
        "j": ("atom", cells[:, 1], "cell along the second vector", "1"),
        "on_lattice": ("atom", on, "occupies a site of the lattice", "1"),
        "sublattice": ("atom", sublattice, "sublattice, -1 for none", "1"),
        "site_row": ("atom", places[:, 0], "row of the site", "px"),
        "site_col": ("atom", places[:, 1], "column of the site", "px"),
        "row_residual": ("atom", residual[:, 0], "row from the site", "px"),
        "col_residual": ("atom", residual[:, 1], "column from the site", "px"),
    }


def _vacancy_variables(indexing: Indexing) -> dict[str, Column]:
    """Empty sites more than half of whose neighbouring sites hold atoms."""
    empty = np.argwhere(indexing.atoms == EMPTY)
    around = neighbours_of(empty, indexing.basis.kind)
    held = indexing.atoms[tuple(np.moveaxis(around, 2, 0))] >= 0
    empty = empty[held.sum(axis=1) > around.shape[1] / 2]
    places = indexing.places[tuple(empty.T)]
    cells = empty[:, :2] + indexing.corner
    return {
        "vacancy_row": ("vacancy", places[:, 0], "row of the empty site", "px"),
        "vacancy_col": ("vacancy", places[:, 1], "column of the empty site", "px"),
        "vacancy_i": ("vacancy", cells[:, 0], "cell along the first vector", "1"),
        "vacancy_j": ("vacancy", cells[:, 1], "cell along the second vector", "1"),
        "vacancy_sublattice": ("vacancy", empty[:, 2], "sublattice", "1"),
    }


def _check_quality(
    indexing: Indexing, variables: dict[str, Column], intensities: Floats
) -> dict[str, float]:
    """How well the lattice and the atoms of the full image agree; an error if they do not."""
    column: dict[str, Any] = {name: values for name, (_, values, *_) in variables.items()}
    on = column["on_lattice"]
    residual = np.column_stack([column["row_residual"], column["col_residual"]])[on]
    coherence = doubled_coherence(
        indexing.basis.kind,
        residual @ np.linalg.inv(indexing.basis.vectors),
        np.column_stack([column["i"], column["j"]])[on],
    )
    bright = intensities >= np.quantile(intensities[on], 0.25)
    placed = float(np.sum(bright & on) / np.sum(bright))
    filled = float(on.sum() / (on.sum() + len(column["vacancy_row"])))
    if placed < LEAST_PLACED or coherence < LEAST_COHERENCE or filled < LEAST_FILLED:
        raise RequestError(
            f"no {indexing.basis.kind} lattice found except in a small part of the image",
            came=f"{placed:.0%} of the bright atoms on it, {filled:.0%} of its sites filled, "
            f"coherence {coherence:.2f}",
            allowed=f"{LEAST_PLACED:.0%}, {LEAST_FILLED:.0%}, {LEAST_COHERENCE} or more",
            hint="the part of the image that shows the lattice",
        )
    return {"coherence": coherence, "placed": placed, "filled": filled}
