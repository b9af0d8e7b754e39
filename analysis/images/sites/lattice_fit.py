"""Assign each atom of an image to its site on a named lattice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from latticescape.analysis.checks import check_has, check_least
from latticescape.analysis.images.sites.basis import (
    CATCH,
    FEWEST_ATOMS,
    MOST_STRAIN,
    Basis,
    Floats,
    doubled_coherence,
    fitted_basis,
    seed_basis,
)
from latticescape.analysis.images.sites.rings import check_plane, neighbours_of
from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.errors import RequestError

Integers = npt.NDArray[np.int64]

# A site is predicted from this many indexed sites around it, weighted by a Gaussian of this width
# in spacings: while the lattice is followed, and when all sites are indexed.
ADVANCE, SETTLE = (24, 2.0), (37, 2.5)

# The next layer of sites is predicted from this many layers.
LAYERS = 8

# Stiffness of the crystal, in neighbours at a distance of one spacing.
STIFFNESS = 8.0

# Cost of assigning a peak to a site: ½ (distance / 0.2 spacings)², plus 2 for every factor e by
# which it is dimmer than its neighbours. Pairs dearer than the last number are not assigned.
LOOSENESS = 0.2
DIMNESS = 2.0
DEAREST = 5.0

# With this many peaks off the lattice the cost is learnt from the peaks themselves; the rms
# distance of atoms from their sites then lies between these bounds, in spacings.
FEWEST_OFF = 30
LOOSE = (0.1, 0.22)

# Peaks within this distance of their site certainly belong to it, in spacings.
SURE = 0.3

Cost = Callable[[Floats, Floats], Floats]

UNSEEN, EMPTY = -2, -1


@dataclass
class Indexing:
    """The peak at each site.

    Attributes
    ----------
    basis
        Mean lattice of the crystal.
    corner
        (2,): the cell of ``atoms[0, 0]``.
    atoms
        (cells, cells, sublattices): number of the peak at each site, −1 for an empty site, −2 for
        a site that was not reached.
    places
        (cells, cells, sublattices, 2): predicted position of the site, px.
    """

    basis: Basis
    corner: Integers
    atoms: Integers
    places: Floats

    @property
    def occupied(self) -> Integers:
        """Sites that hold a peak, (n, 3): cell and sublattice, counted from the corner."""
        return np.argwhere(self.atoms >= 0)

    def ideal(self, sites: Integers) -> Floats:
        """Sites in fractions of the cell vectors, (n, 2)."""
        fractions: Floats = sites[:, :2] + self.corner + self.basis.sites[sites[:, 2]]
        return fractions


@dataclass(frozen=True)
class _Peaks:
    positions: Floats
    logs: Floats
    tree: "cKDTree[None]"


def follow(positions: Floats, intensities: Floats, seed: Basis, centre: Floats) -> Indexing:
    """Index peaks from a window outward.

    Parameters
    ----------
    positions, intensities
        (peaks, 2) px and (peaks,), positive.
    seed
        The lattice in the window.
    centre
        Middle of the window, px.

    Examples
    --------
    >>> from latticescape import square
    >>> places = 10.0 * square(6).positions
    >>> seed = Basis("square", 10 * np.eye(2), np.zeros(2))
    >>> indexing = follow(places, np.ones(36), seed, np.array([25.0, 25.0]))
    >>> len(indexing.occupied)
    36
    """
    peaks = _Peaks(positions, np.log(intensities), cKDTree(positions))
    # The sites near the centre of the window.
    low, high = positions.min(axis=0), positions.max(axis=0)
    reach = float(np.hypot(*(high - low))) / np.linalg.norm(seed.vectors, axis=1).min()
    half = int(1.3 * reach) + 8
    corner = np.round(seed.fractions(centre[None])[0]).astype(np.int64) - half
    shape = (2 * half + 1, 2 * half + 1, len(seed.sites))
    indexing = Indexing(seed, corner, np.full(shape, UNSEEN), np.full((*shape, 2), np.nan))
    near = np.arange(half - 3, half + 4)
    sites = np.array([(i, j, s) for i in near for j in near for s in range(shape[2])])
    places = seed.places(indexing.ideal(sites))
    close = np.hypot(*(places - centre).T) < 3.0 * seed.spacing
    levels = np.full(np.count_nonzero(close), np.median(peaks.logs))
    _assign(indexing, peaks, sites[close], places[close], levels)
    layers = [indexing.occupied]
    number = fitted = len(layers[0])
    while len(layers[-1]):
        # Neighbours of the last layer that were not reached yet, within the table.
        around = neighbours_of(layers[-1], indexing.basis.kind).reshape(-1, 3)
        last = len(indexing.atoms) - 1
        around = around[((around[:, :2] > 0) & (around[:, :2] < last)).all(axis=1)]
        front = np.unique(around[indexing.atoms[tuple(around.T)] == UNSEEN], axis=0)
        known = np.concatenate(layers[-LAYERS:])
        _assign(indexing, peaks, front, *_predict(indexing, peaks, front, known, ADVANCE))
        layers.append(front[indexing.atoms[tuple(front.T)] >= 0])
        number += len(layers[-1])
        if number > 2 * fitted:
            indexing.basis, fitted = _mean_basis(indexing, positions), number
    for cost_of in (None, _learned_cost, _learned_cost):
        # Every site is predicted again, now that all its neighbours are indexed.
        sites = np.argwhere(indexing.atoms > UNSEEN)
        places, levels = _predict(indexing, peaks, sites, indexing.occupied, SETTLE)
        cost = cost_of(indexing, peaks, sites, places, levels) if cost_of else plain_cost
        indexing.atoms[tuple(sites.T)] = EMPTY
        _assign(indexing, peaks, sites, places, levels, cost)
    indexing.basis = _mean_basis(indexing, positions)
    return indexing


def _predict(
    indexing: Indexing,
    peaks: _Peaks,
    sites: Integers,
    known_sites: Integers,
    circle: tuple[int, float],
) -> tuple[Floats, Floats]:
    """Predicted positions of sites, px, and mean log brightness around them."""
    if not len(sites):
        return np.empty((0, 2)), np.empty(0)
    atoms = indexing.atoms[tuple(known_sites.T)]
    basis = indexing.basis
    unit = basis.vectors / basis.spacing
    ideal_known, ideal = indexing.ideal(known_sites), indexing.ideal(sites)
    known, wanted = ideal_known @ unit, ideal @ unit
    moved = peaks.positions[atoms] - basis.places(ideal_known)
    number = min(circle[0], len(known_sites))
    nearest = cKDTree(known).query(wanted, k=number)
    distances, near = (np.asarray(part).reshape(-1, number) for part in nearest)
    weights = np.exp(-0.5 * (distances / circle[1]) ** 2) + 1e-12
    # Extrapolate the displacements by a plane, its slopes held back by the stiffness.
    steps = known[near] - wanted[:, None]
    design = np.concatenate([np.ones((*steps.shape[:2], 1)), steps], axis=2)
    weighted = design * weights[:, :, None]
    normal = np.einsum("nka,nkb->nab", weighted, design)
    normal += np.diag([0.0, STIFFNESS, STIFFNESS]) * weights.mean(axis=1)[:, None, None]
    right = np.einsum("nka,nkd->nad", weighted, moved[near])
    shifts: Floats = np.linalg.solve(normal, right)[:, 0]
    return basis.places(ideal) + shifts, peaks.logs[atoms][near].mean(axis=1)


def plain_cost(distances: Floats, dimness: Floats) -> Floats:
    """Cost of assigning peaks to sites, from distance in spacings and −ln relative brightness."""
    cost: Floats = 0.5 * (distances / LOOSENESS) ** 2 + DIMNESS * np.maximum(dimness, 0)
    return cost


def _assign(
    indexing: Indexing,
    peaks: _Peaks,
    sites: Integers,
    places: Floats,
    levels: Floats,
    cost: Cost = plain_cost,
) -> None:
    """Give each site its cheapest peak, and each peak to the site where it costs least."""
    indexing.places[tuple(sites.T)] = places
    indexing.atoms[tuple(sites.T)] = EMPTY
    number = min(6, len(peaks.positions))
    reach = CATCH * indexing.basis.spacing
    nearest = peaks.tree.query(places, k=number, distance_upper_bound=reach)
    distances, candidates = (np.asarray(part).reshape(-1, number) for part in nearest)
    rows, columns = np.nonzero(np.isfinite(distances))
    candidates = candidates[rows, columns]
    distances = distances[rows, columns] / indexing.basis.spacing
    costs = cost(distances, levels[rows] - peaks.logs[candidates])
    free = np.ones(len(peaks.positions), bool)
    free[indexing.atoms[indexing.atoms >= 0]] = False
    atoms = np.full(len(sites), EMPTY)
    for pair in np.argsort(costs, kind="stable"):
        if costs[pair] > DEAREST:
            break
        site, peak = rows[pair], candidates[pair]
        if free[peak] and atoms[site] == EMPTY:
            atoms[site], free[peak] = peak, False
    indexing.atoms[tuple(sites.T)] = atoms


def _mean_basis(indexing: Indexing, positions: Floats) -> Basis:
    """Mean cell vectors and origin of all occupied sites."""
    occupied = indexing.occupied
    there = positions[indexing.atoms[tuple(occupied.T)]]
    return fitted_basis(indexing.basis, indexing.ideal(occupied), there)


def _learned_cost(
    indexing: Indexing, peaks: _Peaks, sites: Integers, places: Floats, levels: Floats
) -> Cost:
    """The cost as the peaks show it: distances of atoms from their sites, brightness on and off.

    Twice −ln of the likelihood ratio: (distance / rms distance)², and twice the logarithm of the
    ratio of frequencies with which peaks off the lattice (chalcogen columns, noise) and on it are
    as dim. The plain cost if there are too few peaks off the lattice.
    """
    atoms = indexing.atoms[tuple(sites.T)]
    on = atoms >= 0
    off = np.setdiff1d(np.arange(len(peaks.positions)), atoms)
    if len(off) < FEWEST_OFF:
        return plain_cost
    away = np.hypot(*(peaks.positions[atoms[on]] - places[on]).T) / indexing.basis.spacing
    rms = float(np.clip(1.3 * np.sqrt(np.mean(away**2)), *LOOSE))
    nearest = cKDTree(places).query(peaks.positions[off])[1]
    sure = np.flatnonzero(on)[away < SURE]
    on_lattice = _density(levels[sure] - peaks.logs[atoms[sure]])
    off_lattice = _density(levels[nearest] - peaks.logs[off])

    def cost(distances: Floats, dimness: Floats) -> Floats:
        log_odds = np.log(off_lattice(dimness) / on_lattice(dimness))
        return np.asarray((distances / rms) ** 2 + 2 * np.clip(log_odds, 0, None), np.float64)

    return cost


def _density(values: Floats) -> Callable[[Floats], Floats]:
    """Smooth density of logarithms of brightness, positive everywhere."""
    edges = np.arange(-4.0, 6.0, 0.1)
    counts, _ = np.histogram(np.clip(values, -3.9, 5.8), edges)
    smooth = gaussian_filter1d(counts.astype(float), 1.5) / len(values) + 1e-3
    middles = (edges[1:] + edges[:-1]) / 2
    return lambda at: np.interp(at, middles, smooth)


# Positions of a second sublattice in the holes of the first, in fractions of the cell vectors.
HOLES = {
    "square": ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5)),
    "triangular": ((1 / 3, 1 / 3), (2 / 3, 2 / 3)),
    "honeycomb": ((2 / 3, 2 / 3),),
}

# A peak within this distance of a hole belongs to its sublattice, in spacings.
IN_HOLE = 0.25

# Sites this near the edge of the image are no vacancies, in spacings: their atoms may be outside.
EDGE = 0.2

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
        Peaks over ``atom``: ``row``, ``col`` (px) and ``intensity``, all sublattices. The attribute
        ``shape`` of the image, if there is one, excludes vacancies outside.
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
    needed = ("row", "col", "intensity")
    check_has(atoms, needed, "the atoms lack a variable", hint="fit_sites(find_atoms(image))")
    check_least(atoms.sizes["atom"], FEWEST_ATOMS, "atoms for a lattice")
    table = np.stack([atoms[name].to_numpy() for name in needed], axis=1).astype(float)
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        wrong = int(np.argmin(finite))
        came = f"atom {wrong}: {table[wrong].tolist()}"
        raise RequestError(
            "an atom has no finite position and intensity", came=came, allowed="finite numbers"
        )
    positions, intensities = table[:, :2], positive_intensities(table[:, 2])
    seed, centre = seed_basis(positions, intensities, kind)
    indexing = follow(positions, intensities, seed, centre)
    basis = indexing.basis
    shape = atoms.attrs.get("shape")
    variables = _atom_variables(indexing, positions) | _vacancy_variables(indexing, shape)
    quality = _check_quality(indexing, variables, intensities)
    variables["basis"] = (("vector", "axis"), basis.vectors, "cell vectors", "px")
    variables["origin"] = ("axis", basis.origin, "first site of cell (0, 0)", "px")
    return (
        atoms.assign(labelled_variables(variables))
        .assign_coords(axis=["row", "col"], vector=["i", "j"])
        .assign_attrs(lattice=kind, lattice_constant=basis.spacing, strain=basis.strain, **quality)
    )


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
        came = f"90 % at or below {bright:g}"
        raise RequestError("the atoms are not bright", came=came, allowed="above 0")
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


def _vacancy_variables(indexing: Indexing, shape: tuple[int, int] | None) -> dict[str, Column]:
    """Empty sites in the frame, more than half of whose neighbouring sites hold atoms."""
    empty = np.argwhere(indexing.atoms == EMPTY)
    around = neighbours_of(empty, indexing.basis.kind)
    held = indexing.atoms[tuple(np.moveaxis(around, 2, 0))] >= 0
    empty = empty[held.sum(axis=1) > around.shape[1] / 2]
    places = indexing.places[tuple(empty.T)]
    if shape is not None:
        edge = EDGE * indexing.basis.spacing
        inside = ((places >= edge) & (places <= np.array(shape) - 1 - edge)).all(axis=1)
        empty, places = empty[inside], places[inside]
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
    poor = placed < LEAST_PLACED or coherence < LEAST_COHERENCE or filled < LEAST_FILLED
    if poor or indexing.basis.strain > MOST_STRAIN:
        kind = indexing.basis.kind
        problem = f"no {kind} lattice found except in a small part of the image"
        if not poor:
            problem = f"the lattice is stretched too much for a {kind} one"
        came = (
            f"{placed:.0%} of the bright atoms on it, {filled:.0%} of its sites filled, "
            f"coherence {coherence:.2f}, strain {indexing.basis.strain:.2f}"
        )
        allowed = (
            f"{LEAST_PLACED:.0%}, {LEAST_FILLED:.0%}, {LEAST_COHERENCE} or more, strain at most "
            f"{MOST_STRAIN}"
        )
        hint = "the part of the image that shows the lattice"
        raise RequestError(problem, came=came, allowed=allowed, hint=hint)
    return {"coherence": coherence, "placed": placed, "filled": filled}
