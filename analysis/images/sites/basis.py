"""Basis vectors of the lattice of the brightest atoms, from the structure factor of a window."""

from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter
from scipy.spatial import Delaunay, cKDTree

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.geometry import GEOMETRIES

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# The structure factor is searched between these spatial frequencies, in units of the reciprocal
# distance of nearest peaks, which may be that of a metal and a chalcogen (a/√3 of MX2).
FREQUENCIES = (0.35, 1.6)
FREQUENCY_STEP = 0.02

# Standard deviation of the Gaussian window, in distances of nearest peaks.
WINDOW = 8.0

MOST_SPOTS = 16
MOST_WINDOWS = 2
FEWEST_ATOMS = 12

# Drift or the crystal's own distortion may strain a basis until the ratio of its principal
# stretches reaches this. A square lattice and a centred hexagonal one differ by 2/√3.
MOST_STRAIN = 1.12

# An atom belongs to a site that is nearer than this many spacings: half is where sites meet.
CATCH = 0.45

# Radii, in spacings, of the discs in which a candidate is fitted in turn.
DISCS = (2.5, 4.0, 6.0)

# A lattice must hold this share of the window's sites and of its bright atoms.
LEAST_FILLED = 0.78
LEAST_PLACED = 0.7

# Least coherence |⟨exp(2πi g·u)⟩| over the displacements u of the atoms from their sites, the
# geometric mean of the two first-order spots for which it is largest. Metals of 1T′, displaced by
# 0.15 to 0.25 spacings in zigzag, keep 0.6 to 0.7; discs placed at random without overlap reach
# 0.35; a square lattice taken for a triangular one, which fills it equally well, 0.2.
LEAST_COHERENCE = 0.43

# Of lattices with nearly equal scores the coarsest is taken: the bright sublattice, not both.
ABOUT_AS_GOOD = 0.95

# Width, in spacings, by which atoms are smeared when all cells are superposed.
SMEAR = 0.27

# First-order spots, in the reciprocal cell vectors.
FIRST_ORDER = {
    "square": np.array([[1, 0], [0, 1]]),
    "triangular": np.array([[1, 0], [0, 1], [1, -1]]),
    "honeycomb": np.array([[1, 0], [0, 1], [1, -1]]),
}


@dataclass(frozen=True)
class Basis:
    """A lattice in the image: position of cell (0, 0) and the steps to its neighbours.

    Attributes
    ----------
    kind
        ``square``, ``triangular`` or ``honeycomb``.
    vectors
        (2, 2): the lattice's cell vectors as rows of (row, col), px.
    origin
        (2,): row and col of the first site of cell (0, 0), px.

    Examples
    --------
    >>> basis = Basis("square", np.eye(2) * 17, np.zeros(2))
    >>> basis.spacing, basis.fractions(np.array([[34.0, 8.5]])).tolist()
    (17.0, [[2.0, 0.5]])
    """

    kind: str
    vectors: Floats
    origin: Floats

    @property
    def sites(self) -> Floats:
        """Sites within a cell, in fractions of the cell vectors, (sublattices, 2)."""
        return sites_in_cell(self.kind)

    @property
    def spacing(self) -> float:
        """Distance of nearest sites, px: the root of the area of a cell over the ideal one's."""
        ideal = np.linalg.det(np.asarray(GEOMETRIES[self.kind].cell))
        return float(np.sqrt(abs(np.linalg.det(self.vectors) / ideal)))

    @property
    def strain(self) -> float:
        """Ratio of the principal stretches from the ideal lattice to this one, 1 or more."""
        return strain(self.kind, self.vectors)

    def fractions(self, positions: Floats) -> Floats:
        """Positions in units of the cell vectors, (n, 2)."""
        return np.asarray((positions - self.origin) @ np.linalg.inv(self.vectors), np.float64)

    def places(self, cells: Floats) -> Floats:
        """Positions, px, of points in units of the cell vectors, (n, 2)."""
        return np.asarray(cells @ self.vectors + self.origin, np.float64)


@dataclass(frozen=True)
class Candidate:
    """A lattice fitted to a window, and how well its sites and the atoms agree.

    Attributes
    ----------
    basis
        Fitted to the window.
    filled
        Share of the lattice's sites in the window that hold an atom.
    placed
        1 less the number of atoms off the lattice as bright as the brighter three quarters of
        those on it, per atom on it.
    coherence
        How well atoms repeat from cell to cell, see :func:`coherence`.
    """

    basis: Basis
    filled: float
    placed: float
    coherence: float

    @property
    def score(self) -> float:
        return self.filled * max(self.placed, 0.0)


def sites_in_cell(kind: str) -> Floats:
    """Sites of a plane lattice's cell in fractions of its vectors, (sublattices, 2).

    Examples
    --------
    >>> sites_in_cell("honeycomb").round(3).tolist()
    [[0.0, 0.0], [0.333, 0.333]]
    """
    geometry = GEOMETRIES[kind]
    return np.round(np.asarray(geometry.basis) @ np.linalg.inv(np.asarray(geometry.cell)), 12)


def strain(kind: str, vectors: Floats) -> float:
    """Ratio of the principal stretches that turn a lattice's ideal cell into ``vectors``.

    Examples
    --------
    >>> round(strain("square", np.array([[0.0, 11.0], [10.0, 0.0]])), 3)
    1.1
    """
    # The ideal cell is (x, y); images are (row, col).
    ideal = np.asarray(GEOMETRIES[kind].cell, float)[:, ::-1]
    stretches = np.linalg.svd(np.linalg.solve(ideal, vectors), compute_uv=False)
    return float(stretches[0] / max(stretches[1], 1e-300))


def fitted_basis(basis: Basis, cells: Floats, positions: Floats) -> Basis:
    """Fit vectors and origin to the positions of sites; the same basis if they lie on a line.

    Parameters
    ----------
    basis
        The lattice.
    cells, positions
        (n, 2): sites in fractions of the cell vectors, and the positions of their atoms, px.
    """
    design = np.column_stack([cells, np.ones(len(cells))])
    solution, _, rank, _ = np.linalg.lstsq(design, positions, rcond=None)
    fitted: Floats = solution.astype(np.float64)
    return basis if rank < 3 else replace(basis, vectors=fitted[:2], origin=fitted[2])


def seed_basis(positions: Floats, intensities: Floats, kind: str) -> tuple[Basis, Floats]:
    """The lattice of the brightest sublattice where it shows best, and the middle of that window.

    Parameters
    ----------
    positions, intensities
        (atoms, 2) px and (atoms,), positive; at least 12.
    kind
        ``square``, ``triangular`` or ``honeycomb``.

    Raises
    ------
    RequestError
        If there is no such lattice; the message describes the lattice that there is.

    Examples
    --------
    >>> from latticescape import square
    >>> basis, _ = seed_basis(17.0 * square(12).positions, np.ones(144), "square")
    >>> round(basis.spacing, 3)
    17.0
    """
    nearest = np.asarray(cKDTree(positions).query(positions, k=2)[0], float)
    distance = float(np.median(nearest[:, 1]))
    tried: list[Candidate] = []
    # The windows with the strongest spots.
    centres = [np.median(positions, axis=0)]
    low, high = positions.min(axis=0), positions.max(axis=0)
    for at in product((0.25, 0.75), repeat=2):
        near = cKDTree(positions).query_ball_point(low + np.array(at) * (high - low), 8 * distance)
        centres += [positions[near].mean(axis=0)] if len(near) > FEWEST_ATOMS else []
    windows = [(c, *strongest_spots(positions, intensities, c, distance)) for c in centres]
    windows = [window for window in windows if len(window[1]) > 1]
    windows = sorted(windows, key=lambda window: -float(window[2][:3].sum()))[:MOST_WINDOWS]
    for centre, spots, _ in windows:
        candidates = [
            candidate
            for vectors in candidate_vectors(kind, spots)
            if (candidate := _fit(positions, intensities, Basis(kind, vectors, centre), centre))
        ]
        tried += candidates
        good = [
            c
            for c in candidates
            if c.filled >= LEAST_FILLED
            and c.placed >= LEAST_PLACED
            and c.coherence >= LEAST_COHERENCE
        ]
        if good:
            best = max(c.score for c in good)
            nearly_best = [c for c in good if c.score >= ABOUT_AS_GOOD * best]
            return max(nearly_best, key=lambda c: c.basis.spacing).basis, centre
    raise _no_lattice(kind, tried, windows[0][1] if windows else np.empty((0, 2)))


def strongest_spots(
    positions: Floats, weights: Floats, centre: Floats, distance: float
) -> tuple[Floats, Floats]:
    """Spatial frequencies where the structure factor of a window is largest.

    S(k) = |Σ w exp(2πi k·r)|² / Σ w², with w the weights under a Gaussian window: 1 in the mean
    for random positions, the number of atoms for a perfect lattice.

    Parameters
    ----------
    positions, weights
        (atoms, 2) px and (atoms,).
    centre
        (2,) px, of the window.
    distance
        Distance of nearest peaks, px.

    Returns
    -------
    spots, strengths
        (n, 2) in 1/px and (n,), the strongest first; one of each pair k and −k.
    """
    offsets = positions - centre
    near = np.hypot(*offsets.T) < 3 * WINDOW * distance
    offsets, weights = offsets[near], weights[near]
    weights = weights * np.exp(-0.5 * np.sum((offsets / (WINDOW * distance)) ** 2, axis=1))
    line = np.arange(-FREQUENCIES[1], FREQUENCIES[1] + FREQUENCY_STEP, FREQUENCY_STEP) / distance
    waves = [np.exp(2j * np.pi * np.outer(along, line)) for along in offsets.T]
    power = np.abs((waves[0] * weights[:, None]).T @ waves[1]) ** 2 / np.sum(weights**2)
    row, col = np.meshgrid(line, line, indexing="ij")
    size = np.hypot(row, col) * distance
    half = (row > 1e-12) | ((np.abs(row) <= 1e-12) & (col > 0))
    peak = (power == maximum_filter(power, 5)) & half
    peak &= (size > FREQUENCIES[0]) & (size < FREQUENCIES[1])
    peak[[0, -1], :] = peak[:, [0, -1]] = False
    where = np.argwhere(peak)
    where = where[np.argsort(-power[tuple(where.T)], kind="stable")[:MOST_SPOTS]]
    steps = np.array([_vertex(power, r, c) for r, c in where]).reshape(-1, 2)
    spots = np.column_stack([line[where[:, 0]], line[where[:, 1]]])
    return spots + steps * (line[1] - line[0]), power[tuple(where.T)]


def _vertex(power: Floats, r: int, c: int) -> tuple[float, float]:
    """Vertex of a parabola through a local maximum and its neighbours, in steps of the grid."""
    logs = np.log(np.maximum(power[r - 1 : r + 2, c - 1 : c + 2], 1e-300))
    offsets = []
    for low, middle, high in (logs[:, 1], logs[1, :]):
        bend = 2 * middle - low - high
        offsets.append(float(np.clip((high - low) / (2 * bend), -1, 1)) if bend > 0 else 0.0)
    return offsets[0], offsets[1]


def candidate_vectors(kind: str, spots: Floats) -> list[Floats]:
    """Cell vectors of all lattices of a kind to which a pair of spots may belong, each once.

    Sums, differences and doubles of the strongest spots count as spots, because a distortion that
    alternates from cell to cell may extinguish a spot of the mean lattice and add others halfway.
    """
    few = spots[:8]
    derived = [2 * few, *(np.array([a + b, a - b]) for a, b in combinations(few, 2))]
    every = np.concatenate([spots, *derived])
    u, v = np.asarray(GEOMETRIES[kind].cell)
    cosine = abs(float(u @ v) / np.hypot(*u) / np.hypot(*v))
    first, second = np.triu_indices(len(every), 1)
    a, b = every[first], every[second]
    lengths = np.hypot(*a.T), np.hypot(*b.T)
    cosines = np.abs(np.sum(a * b, axis=1)) / np.maximum(lengths[0] * lengths[1], 1e-300)
    even = np.abs(np.log(np.maximum(lengths[0], 1e-300) / np.maximum(lengths[1], 1e-300))) < 0.2
    even &= np.abs(np.arccos(np.minimum(cosines, 1)) - np.arccos(cosine)) < 0.2
    distinct: list[Floats] = []
    for reciprocal in np.stack([a[even], b[even]], axis=1):
        vectors = _conventional(kind, np.linalg.inv(reciprocal).T)
        if vectors is not None and not any(_same_lattice(vectors, other) for other in distinct):
            distinct.append(vectors)
    return distinct


def _shortest(vectors: Floats) -> tuple[Floats, Floats]:
    """The two shortest independent vectors of a lattice (Gauss's reduction)."""
    short, long = sorted(vectors, key=lambda v: float(v @ v))
    while True:
        long = long - np.round(long @ short / (short @ short)) * short
        if long @ long >= short @ short * (1 - 1e-12):
            return short, long
        short, long = long, short


def _conventional(kind: str, vectors: Floats) -> Floats | None:
    """Cell vectors of the lattice in the conventional orientation of its kind.

    The second vector is the nearest to the columns' axis, the first follows from there towards the
    rows'. None if this is no strained lattice of the kind.
    """
    short, long = _shortest(vectors)
    long = long if short @ long > 0 else -long
    if strain(kind, np.array([short, long])) > MOST_STRAIN:
        return None
    around = [sign * v for v in (short, long, long - short) for sign in (1, -1)]
    pairs = [np.array([u, v]) for u in around for v in around if u[0] * v[1] - u[1] * v[0] > 1e-9]
    fitting = [pair for pair in pairs if strain(kind, pair) < MOST_STRAIN]
    return max(fitting, key=lambda pair: (round(pair[1, 1] / np.hypot(*pair[1]), 9), pair[1, 0]))


def _same_lattice(a: Floats, b: Floats) -> bool:
    """Whether one basis is nearly an integer combination of the other, of determinant ±1."""
    steps = np.linalg.solve(b.T, a.T).T
    nearest = np.round(steps)
    return bool(np.abs(steps - nearest).max() < 0.06 and abs(round(np.linalg.det(nearest))) == 1)


def _fit(positions: Floats, weights: Floats, basis: Basis, centre: Floats) -> Candidate | None:
    """Fit a candidate in discs of growing radius; None if there are too few atoms."""
    reach = np.hypot(*(positions - centre).T) / basis.spacing
    inside = np.flatnonzero(reach < DISCS[-1])
    if len(inside) < FEWEST_ATOMS:
        return None
    basis = replace(basis, origin=_origin(positions[inside], weights[inside], basis))
    for disc in DISCS:
        inside = np.flatnonzero(reach < disc)
        cells, atoms = _occupied_sites(positions[inside], weights[inside], basis)
        if len(atoms) < 6:
            return None
        basis = fitted_basis(basis, cells, positions[inside[atoms]])
    cells, atoms = _occupied_sites(positions[inside], weights[inside], basis)
    if len(atoms) < FEWEST_ATOMS:
        return None
    on = weights[inside[atoms]]
    off = np.delete(weights[inside], atoms)
    placed = 1 - np.sum(off >= np.quantile(on, 0.25)) / len(on)
    # The lattice's sites in the largest disc and within the crystal.
    steps = np.array(list(product(range(-12, 13), repeat=2)), float)
    steps += np.round(basis.fractions(centre[None]))
    places = np.concatenate([basis.places(steps + site) for site in basis.sites])
    places = places[np.hypot(*(places - centre).T) < DISCS[-1] * basis.spacing]
    near = positions[np.hypot(*(positions - centre).T) < (DISCS[-1] + 2) * basis.spacing]
    within = Delaunay(near).find_simplex(places) >= 0
    fourth = np.asarray(cKDTree(near).query(places, k=5)[0], float)[:, 4]
    within &= fourth < 1.6 * np.median(fourth)
    return Candidate(
        basis,
        len(atoms) / max(int(np.sum(within)), len(atoms)),
        float(placed),
        coherence(basis.kind, basis.fractions(positions[inside[atoms]]) - cells),
    )


def _origin(positions: Floats, weights: Floats, basis: Basis) -> Floats:
    """Position of the sites: where the atoms of all cells, superposed and smeared, are densest."""
    grid = np.array(list(product(np.arange(24) / 24, repeat=2)))
    harmonics = np.array(list(product(range(-3, 4), repeat=2)), float)
    reciprocal = np.linalg.inv(basis.vectors).T
    widths = np.sum((harmonics @ reciprocal) ** 2, axis=1) * (SMEAR * basis.spacing) ** 2
    waves = np.exp(-2j * np.pi * basis.fractions(positions) @ harmonics.T)
    amplitudes = (weights @ waves) * np.exp(-2 * np.pi**2 * widths)
    density = sum(
        np.real(np.exp(2j * np.pi * (grid + site) @ harmonics.T) @ amplitudes) / weights.sum()
        for site in basis.sites
    )
    densest: Floats = basis.places(grid[int(np.argmax(density))][None])[0]
    return densest


def _occupied_sites(positions: Floats, weights: Floats, basis: Basis) -> tuple[Floats, Integers]:
    """Sites near an atom, in fractions of the cell vectors, and the brightest atom of each."""
    fractions = basis.fractions(positions)
    cells = np.stack([np.round(fractions - site) + site for site in basis.sites])
    off = np.linalg.norm((fractions - cells) @ basis.vectors, axis=2) / basis.spacing
    best = np.argmin(off, axis=0)
    near = np.flatnonzero(off.min(axis=0) < CATCH)
    order = near[np.argsort(-weights[near], kind="stable")]
    sites = cells[best[order], order]
    _, first = np.unique(np.round(sites * 6).astype(np.int64), axis=0, return_index=True)
    return sites[first], order[first]


def coherence(kind: str, displacements: Floats) -> float:
    """Measure how well atoms repeat from cell to cell: 0 not at all, 1 exactly.

    |⟨exp(2πi g·u)⟩| for each first-order spot g, and of these the geometric mean of the two
    largest: a distortion that alternates from row to row may extinguish one.

    Parameters
    ----------
    kind
        The lattice's kind.
    displacements
        (atoms, 2), from the sites, in fractions of the cell vectors.

    Examples
    --------
    >>> coherence("square", np.zeros((9, 2)))
    1.0
    """
    sizes = np.abs(np.exp(2j * np.pi * displacements @ FIRST_ORDER[kind].T).mean(axis=0))
    return float(np.sqrt(np.prod(np.sort(sizes)[-2:])))


def doubled_coherence(kind: str, displacements: Floats, cells: Integers) -> float:
    """Measure how well atoms repeat from cell to cell or from every other cell: 0 to 1.

    Rows that are displaced alternately, as in 1T′, move intensity from the lattice's spots to spots
    halfway between them. The result is the :func:`coherence` in which the intensity at each spot g
    includes that at g + (½, 0), g + (0, ½) and g + (½, ½).

    Parameters
    ----------
    kind, displacements
        As in :func:`coherence`.
    cells
        (atoms, 2): the indices of each atom's cell.

    Examples
    --------
    >>> cells = np.argwhere(np.ones((6, 6), int))
    >>> zigzag = 0.2 * (-1.0) ** cells[:, :1] * [1, 0]
    >>> round(coherence("square", zigzag), 2), round(doubled_coherence("square", zigzag, cells), 2)
    (0.56, 1.0)
    """
    waves = np.exp(2j * np.pi * displacements @ FIRST_ORDER[kind].T)
    signs = (-1.0) ** (cells @ np.array([[0, 1, 0, 1], [0, 0, 1, 1]]))
    powers = np.sum(np.abs(waves.T @ signs / len(signs)) ** 2, axis=1)
    return float(np.prod(np.sort(powers)[-2:]) ** 0.25)


def shape_of(spots: Floats) -> tuple[float, float, float]:
    """Lengths, px, and angle, degrees, of the shortest vectors that the strongest spots give.

    Examples
    --------
    >>> shape_of(np.array([[0.1, 0.0], [0.0, 0.05]]))
    (10.0, 20.0, 90.0)
    """
    a = spots[0]
    sines = np.abs(a[0] * spots[:, 1] - a[1] * spots[:, 0])
    independent = sines > 0.2 * np.hypot(*a) * np.hypot(*spots.T)
    b = spots[int(np.argmax(independent))]
    if not independent.any():
        return (float(1 / np.hypot(*a)), float("inf"), 90.0)
    short, long = _shortest(np.linalg.inv(np.array([a, b])).T)
    lengths = float(np.hypot(*short)), float(np.hypot(*long))
    return (*lengths, float(np.degrees(np.arccos(abs(short @ long) / np.prod(lengths)))))


def _no_lattice(kind: str, tried: list[Candidate], spots: Floats) -> RequestError:
    if not len(spots):
        return RequestError(f"no {kind} lattice found: no spots in the structure factor")
    a, b, angle = shape_of(spots)
    seen = f"strongest vectors of {a:.1f} and {b:.1f} px at {angle:.0f}°"
    if tried:
        best = max(tried, key=lambda candidate: candidate.score * candidate.coherence)
        seen = (
            f"the best candidate fills {best.filled:.0%} of its sites, leaves "
            f"{1 - best.placed:.0%} as many bright atoms off them and repeats with coherence "
            f"{best.coherence:.2f}; {seen}"
        )
    shown = {"square": abs(angle - 90) < 10, "triangular": abs(angle - 60) < 10}
    other = [name for name, fits in shown.items() if fits and name != kind]
    similar = other and max(a, b) < 1.2 * min(a, b)
    allowed = (
        f"{LEAST_FILLED:.0%} of the sites, at most {1 - LEAST_PLACED:.0%} off them, "
        f"coherence {LEAST_COHERENCE}"
    )
    hint = f'--lattice {other[0]}, lattice="{other[0]}" in Python' if similar else None
    return RequestError(f"no {kind} lattice found", came=seen, allowed=allowed, hint=hint)
