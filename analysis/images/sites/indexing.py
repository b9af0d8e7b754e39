"""Assign peaks to lattice sites outward from a seed, each site predicted from its neighbours."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from latticescape.analysis.images.sites.basis import CATCH, Basis, Floats, fitted_basis
from latticescape.analysis.images.sites.rings import neighbours_of

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
    indexing = _seeded(peaks, seed, centre)
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


def _seeded(peaks: _Peaks, seed: Basis, centre: Floats) -> Indexing:
    """An indexing of the sites near the centre of the window."""
    low, high = peaks.positions.min(axis=0), peaks.positions.max(axis=0)
    reach = float(np.hypot(*(high - low))) / np.linalg.norm(seed.vectors, axis=1).min()
    half = int(1.3 * reach) + 8
    corner = np.round(seed.fractions(centre[None])[0]).astype(np.int64) - half
    shape = (2 * half + 1, 2 * half + 1, len(seed.sites))
    indexing = Indexing(seed, corner, np.full(shape, UNSEEN), np.full((*shape, 2), np.nan))
    near = np.arange(half - 3, half + 4)
    sites = np.array([(i, j, s) for i in near for j in near for s in range(shape[2])])
    places = seed.places(indexing.ideal(sites))
    close = np.hypot(*(places - centre).T) < 3.0 * seed.spacing
    sites, places = sites[close], places[close]
    _assign(indexing, peaks, sites, places, np.full(len(sites), np.median(peaks.logs)))
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
