"""Site indices: the lattice followed from a seed outward, each site expected where those before
it say."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from analysis.basis import Basis, Floats
from analysis.trials import CATCH
from physics.lattices import neighbor_steps

Integers = npt.NDArray[np.int64]

# A site is expected where so many indexed sites about it, weighed by a Gaussian of this width in
# spacings, put it; when all are indexed the circle is wider.
ADVANCE, SETTLE = (24, 2.0), (37, 2.5)

# How stiff the crystal is, against so many neighbours at one spacing.
STIFFNESS = 8.0

# What it costs to take a peak for the atom of a site: ½ (distance / 0.2 spacings)², plus 2 for
# every factor e by which it is dimmer than its neighbours. More than the last is too much.
LOOSENESS = 0.2
DIMNESS = 2.0
DEAREST = 5.0

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
    >>> from physics import square
    >>> places = 10.0 * square(6).positions
    >>> seed = Basis("square", 10 * np.eye(2), np.zeros(2))
    >>> indexing = follow(places, np.ones(36), seed, np.array([25.0, 25.0]))
    >>> len(indexing.occupied)
    36
    """
    crystal = _Crystal(positions, np.log(intensities), cKDTree(positions))
    indexing = _sown(crystal, seed, centre)
    while True:
        front = _front(indexing)
        if not len(front):
            break
        _fill(indexing, crystal, front, ADVANCE)
        indexing.basis = _overall(indexing, positions)
    for _ in range(2):
        _resettle(indexing, crystal)
    indexing.basis = _overall(indexing, positions)
    return indexing


@dataclass(frozen=True)
class _Crystal:
    positions: Floats
    logs: Floats
    tree: "cKDTree[None]"


def neighbours_of(sites: Integers, kind: str) -> Integers:
    """Nearest neighbours of sites in ring order, (n, z, 3)."""
    table = np.array(
        [[(*step.cells, step.target) for step in steps] for steps in neighbor_steps(kind, 1)]
    )
    found = table[sites[:, 2]].copy()
    found[:, :, :2] += sites[:, None, :2]
    return found


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
    medians = np.full(len(sites), np.median(crystal.logs))
    _assign(indexing, crystal, sites, places, medians)
    return indexing


def _front(indexing: Indexing) -> Integers:
    """Sites not yet looked at beside occupied ones, within the table."""
    around = neighbours_of(indexing.occupied, indexing.basis.kind).reshape(-1, 3)
    size = len(indexing.atoms)
    around = around[(around[:, :2] >= 0).all(axis=1) & (around[:, :2] < size).all(axis=1)]
    around = around[indexing.atoms[tuple(around.T)] == UNSEEN]
    return np.unique(around, axis=0) if len(around) else around


def _fill(indexing: Indexing, crystal: _Crystal, sites: Integers, circle: tuple[int, float]) -> None:
    places, medians = _expected(indexing, crystal, sites, circle)
    _assign(indexing, crystal, sites, places, medians)


def _expected(
    indexing: Indexing, crystal: _Crystal, sites: Integers, circle: tuple[int, float]
) -> tuple[Floats, Floats]:
    """Where sites are to be, px, and the median log brightness about them."""
    occupied = indexing.occupied
    atoms = indexing.atoms[tuple(occupied.T)]
    basis = indexing.basis
    unit = basis.vectors / basis.spacing
    known = indexing.ideal(occupied) @ unit
    moved = crystal.positions[atoms] - basis.places(indexing.ideal(occupied))
    wanted = indexing.ideal(sites) @ unit
    number = min(circle[0], len(occupied))
    distances, near = cKDTree(known).query(wanted, k=number)
    distances, near = distances.reshape(-1, number), near.reshape(-1, number)
    weights = np.exp(-0.5 * (distances / circle[1]) ** 2) + 1e-12
    shifts = _extrapolated(known[near] - wanted[:, None], moved[near], weights)
    places = basis.places(indexing.ideal(sites)) + shifts
    return places, np.median(crystal.logs[atoms][near], axis=1)


def _extrapolated(steps: Floats, moved: Floats, weights: Floats) -> Floats:
    """Value at zero of a plane through ``moved``, its slopes held back by the stiffness."""
    design = np.concatenate([np.ones((*steps.shape[:2], 1)), steps], axis=2)
    weighed = design * weights[:, :, None]
    normal = np.einsum("nka,nkb->nab", weighed, design)
    normal += np.diag([0.0, STIFFNESS, STIFFNESS]) * weights.mean(axis=1)[:, None, None]
    right = np.einsum("nka,nkd->nad", weighed, moved)
    found: Floats = np.linalg.solve(normal, right)[:, 0]
    return found


def _assign(
    indexing: Indexing, crystal: _Crystal, sites: Integers, places: Floats, medians: Floats
) -> None:
    """Give every site its cheapest peak, and every peak to the site it costs least."""
    indexing.places[tuple(sites.T)] = places
    indexing.atoms[tuple(sites.T)] = EMPTY
    taken = np.zeros(len(crystal.positions), bool)
    taken[indexing.atoms[indexing.atoms >= 0]] = True
    spacing = indexing.basis.spacing
    number = min(6, len(crystal.positions))
    distances, peaks = crystal.tree.query(places, k=number, distance_upper_bound=CATCH * spacing)
    distances, peaks = distances.reshape(-1, number), peaks.reshape(-1, number)
    rows, columns = np.nonzero(np.isfinite(distances))
    found = peaks[rows, columns]
    dim = np.maximum(medians[rows] - crystal.logs[found], 0)
    cost = 0.5 * (distances[rows, columns] / (LOOSENESS * spacing)) ** 2 + DIMNESS * dim
    for pair in np.argsort(cost, kind="stable"):
        site, peak = tuple(sites[rows[pair]]), found[pair]
        if cost[pair] > DEAREST:
            break
        if not taken[peak] and indexing.atoms[site] < 0:
            indexing.atoms[site] = peak
            taken[peak] = True


def _overall(indexing: Indexing, positions: Floats) -> Basis:
    """Cell vectors and origin of all occupied sites in the mean."""
    occupied = indexing.occupied
    design = np.column_stack([indexing.ideal(occupied), np.ones(len(occupied))])
    there = positions[indexing.atoms[tuple(occupied.T)]]
    solution, _, rank, _ = np.linalg.lstsq(design, there, rcond=None)
    if rank < 3:
        return indexing.basis
    return replace(indexing.basis, vectors=solution[:2], origin=solution[2])


def _resettle(indexing: Indexing, crystal: _Crystal) -> None:
    """Look at every site again, now that there are neighbours on all its sides."""
    sites = np.argwhere(indexing.atoms > UNSEEN)
    places, medians = _expected(indexing, crystal, sites, SETTLE)
    indexing.atoms[tuple(sites.T)] = EMPTY
    _assign(indexing, crystal, sites, places, medians)
