"""Site indices: the lattice followed from a seed outward, each site expected where those before
it say."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from latticescape.analysis.images.sites.basis import CATCH, Basis, Floats
from latticescape.analysis.images.sites.rings import neighbours_of

Integers = npt.NDArray[np.int64]

# A site is expected where so many indexed sites about it, weighed by a Gaussian of this width in
# spacings, put it; when all are indexed the circle is wider.
ADVANCE, SETTLE = (24, 2.0), (37, 2.5)

# Only the last so many layers say where the next one is.
LAYERS = 8

# How stiff the crystal is, against so many neighbours at one spacing.
STIFFNESS = 8.0

# What it costs to take a peak for the atom of a site: ½ (distance / 0.2 spacings)², plus 2 for
# every factor e by which it is dimmer than its neighbours. More than the last is too much.
LOOSENESS = 0.2
DIMNESS = 2.0
DEAREST = 5.0

# Once there are so many peaks off the lattice, they teach what is no atom of a site; and atoms
# how far from their sites they stand: between these bounds, in spacings.
FEWEST_OFF = 30
LOOSE = (0.1, 0.22)

# Peaks so near to their site are its atoms, in spacings.
SURE = 0.3

Cost = Callable[[Floats, Floats], Floats]

UNSEEN, EMPTY = -2, -1


@dataclass
class Indexing:
    """Which peak stands at which site.

    Attributes
    ----------
    basis
        Of the whole crystal in the mean.
    corner
        (2,): the cell of ``atoms[0, 0]``.
    atoms
        (cells, cells, sublattices): number of the peak at each site, −1 where there is none, −2
        where the lattice was not followed to.
    places
        (cells, cells, sublattices, 2): where the site is expected, px.
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
        found: Floats = sites[:, :2] + self.corner + self.basis.sites[sites[:, 2]]
        return found


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
    crystal = _Crystal(positions, np.log(intensities), cKDTree(positions))
    indexing = _sown(crystal, seed, centre)
    layers = [indexing.occupied]
    number = fitted = len(layers[0])
    while len(layers[-1]):
        front = _front(indexing, layers[-1])
        known = np.concatenate(layers[-LAYERS:])
        _assign(indexing, crystal, front, *_expected(indexing, crystal, front, known, ADVANCE))
        layers.append(front[indexing.atoms[tuple(front.T)] >= 0])
        number += len(layers[-1])
        if number > 2 * fitted:
            indexing.basis, fitted = _overall(indexing, positions), number
    for informed in (False, True, True):
        _resettle(indexing, crystal, informed)
    indexing.basis = _overall(indexing, positions)
    return indexing


@dataclass(frozen=True)
class _Crystal:
    positions: Floats
    logs: Floats
    tree: "cKDTree[None]"


def _sown(crystal: _Crystal, seed: Basis, centre: Floats) -> Indexing:
    low, high = crystal.positions.min(axis=0), crystal.positions.max(axis=0)
    reach = float(np.hypot(*(high - low))) / np.linalg.norm(seed.vectors, axis=1).min()
    half = int(1.3 * reach) + 8
    corner = np.round(seed.fractions(centre[None])[0]).astype(np.int64) - half
    shape = (2 * half + 1, 2 * half + 1, len(seed.sites))
    atoms = np.full(shape, UNSEEN)
    indexing = Indexing(seed, corner, atoms, np.full((*shape, 2), np.nan))
    near = np.arange(half - 3, half + 4)
    sites = np.array([(i, j, s) for i in near for j in near for s in range(shape[2])])
    places = seed.places(indexing.ideal(sites))
    close = np.hypot(*(places - centre).T) < 3.0 * seed.spacing
    sites, places = sites[close], places[close]
    levels = np.full(len(sites), np.median(crystal.logs))
    _assign(indexing, crystal, sites, places, levels)
    return indexing


def _front(indexing: Indexing, layer: Integers) -> Integers:
    """Sites not yet looked at beside the given ones, within the table."""
    around = neighbours_of(layer, indexing.basis.kind).reshape(-1, 3)
    size = len(indexing.atoms)
    around = around[((around[:, :2] > 0) & (around[:, :2] < size - 1)).all(axis=1)]
    return np.unique(around[indexing.atoms[tuple(around.T)] == UNSEEN], axis=0)


def _expected(
    indexing: Indexing,
    crystal: _Crystal,
    sites: Integers,
    known_sites: Integers,
    circle: tuple[int, float],
) -> tuple[Floats, Floats]:
    """Where sites are to be, px, and the mean log brightness about them."""
    if not len(sites):
        return np.empty((0, 2)), np.empty(0)
    atoms = indexing.atoms[tuple(known_sites.T)]
    basis = indexing.basis
    unit = basis.vectors / basis.spacing
    known = indexing.ideal(known_sites) @ unit
    moved = crystal.positions[atoms] - basis.places(indexing.ideal(known_sites))
    wanted = indexing.ideal(sites) @ unit
    number = min(circle[0], len(known_sites))
    found = cKDTree(known).query(wanted, k=number)
    distances, near = (np.asarray(part).reshape(-1, number) for part in found)
    weights = np.exp(-0.5 * (distances / circle[1]) ** 2) + 1e-12
    shifts = _extrapolated(known[near] - wanted[:, None], moved[near], weights)
    places = basis.places(indexing.ideal(sites)) + shifts
    return places, crystal.logs[atoms][near].mean(axis=1)


def _extrapolated(steps: Floats, moved: Floats, weights: Floats) -> Floats:
    """Value at zero of a plane through ``moved``, its slopes held back by the stiffness."""
    design = np.concatenate([np.ones((*steps.shape[:2], 1)), steps], axis=2)
    weighed = design * weights[:, :, None]
    normal = np.einsum("nka,nkb->nab", weighed, design)
    normal += np.diag([0.0, STIFFNESS, STIFFNESS]) * weights.mean(axis=1)[:, None, None]
    right = np.einsum("nka,nkd->nad", weighed, moved)
    found: Floats = np.linalg.solve(normal, right)[:, 0]
    return found


def plain_cost(distances: Floats, dimness: Floats) -> Floats:
    """Cost of taking peaks for the atoms of sites, from distance in spacings and −ln brightness."""
    cost: Floats = 0.5 * (distances / LOOSENESS) ** 2 + DIMNESS * np.maximum(dimness, 0)
    return cost


def _assign(
    indexing: Indexing,
    crystal: _Crystal,
    sites: Integers,
    places: Floats,
    levels: Floats,
    cost: Cost = plain_cost,
) -> None:
    """Give every site its cheapest peak, and every peak to the site it costs least."""
    indexing.places[tuple(sites.T)] = places
    indexing.atoms[tuple(sites.T)] = EMPTY
    rows, found, distances = _within_reach(crystal, places, indexing.basis.spacing)
    costs = cost(distances, levels[rows] - crystal.logs[found])
    free = np.ones(len(crystal.positions), bool)
    free[indexing.atoms[indexing.atoms >= 0]] = False
    atoms = np.full(len(sites), EMPTY)
    for pair in np.argsort(costs, kind="stable"):
        if costs[pair] > DEAREST:
            break
        site, peak = rows[pair], found[pair]
        if free[peak] and atoms[site] == EMPTY:
            atoms[site], free[peak] = peak, False
    indexing.atoms[tuple(sites.T)] = atoms


def _within_reach(
    crystal: _Crystal, places: Floats, spacing: float
) -> tuple[Integers, Integers, Floats]:
    """Pairs of a place and a peak it may catch: place, peak, distance in spacings."""
    number = min(6, len(crystal.positions))
    found = crystal.tree.query(places, k=number, distance_upper_bound=CATCH * spacing)
    distances, peaks = (np.asarray(part).reshape(-1, number) for part in found)
    rows, columns = np.nonzero(np.isfinite(distances))
    return rows, peaks[rows, columns], distances[rows, columns] / spacing


def _overall(indexing: Indexing, positions: Floats) -> Basis:
    """Cell vectors and origin of all occupied sites in the mean."""
    occupied = indexing.occupied
    design = np.column_stack([indexing.ideal(occupied), np.ones(len(occupied))])
    there = positions[indexing.atoms[tuple(occupied.T)]]
    solution, _, rank, _ = np.linalg.lstsq(design, there, rcond=None)
    if rank < 3:
        return indexing.basis
    return replace(indexing.basis, vectors=solution[:2], origin=solution[2])


def _resettle(indexing: Indexing, crystal: _Crystal, informed: bool) -> None:
    """Look at every site again, now that there are neighbours on all its sides."""
    sites = np.argwhere(indexing.atoms > UNSEEN)
    places, levels = _expected(indexing, crystal, sites, indexing.occupied, SETTLE)
    cost = _learned_cost(indexing, crystal, sites, places, levels) if informed else plain_cost
    indexing.atoms[tuple(sites.T)] = EMPTY
    _assign(indexing, crystal, sites, places, levels, cost)


def _learned_cost(
    indexing: Indexing, crystal: _Crystal, sites: Integers, places: Floats, levels: Floats
) -> Cost:
    """The cost by what is seen: how far atoms stand off, how bright they and the others are.

    Twice −ln of how likely a peak is an atom of a site: (distance / rms distance)², and twice the
    logarithm of how much more often peaks off the lattice (chalcogen columns, noise) are as dim.
    If there are too few of those to tell, the plain cost.
    """
    atoms = indexing.atoms[tuple(sites.T)]
    on = atoms >= 0
    off = np.setdiff1d(np.arange(len(crystal.positions)), atoms)
    if len(off) < FEWEST_OFF:
        return plain_cost
    apart = np.hypot(*(crystal.positions[atoms[on]] - places[on]).T) / indexing.basis.spacing
    loose = float(np.clip(1.3 * np.sqrt(np.mean(apart**2)), *LOOSE))
    nearest = cKDTree(places).query(crystal.positions[off])[1]
    sure = np.flatnonzero(on)[apart < SURE]
    bright = (levels[sure] - crystal.logs[atoms[sure]], levels[nearest] - crystal.logs[off])
    density = [_smooth_histogram(values) for values in bright]

    def cost(distances: Floats, dimness: Floats) -> Floats:
        odds = np.log(density[1](dimness) / density[0](dimness))
        found: Floats = (distances / loose) ** 2 + 2 * np.clip(odds, 0, None)
        return found

    return cost


def _smooth_histogram(values: Floats) -> Callable[[Floats], Floats]:
    """A density of logarithms of brightness, nowhere quite 0."""
    edges = np.arange(-4.0, 6.0, 0.1)
    counts, _ = np.histogram(np.clip(values, -3.9, 5.8), edges)
    smooth = gaussian_filter1d(counts.astype(float), 1.5) / len(values) + 1e-3
    middles = (edges[1:] + edges[:-1]) / 2
    return lambda at: np.interp(at, middles, smooth)
