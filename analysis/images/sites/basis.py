"""Basis vectors of a plane lattice, from the strong spots of the structure factor of its atoms."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from latticescape.physics.lattices.lattice import GEOMETRIES, Geometry

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

# The structure factor is searched between these spatial frequencies, in units of the reciprocal
# distance of nearest peaks, which may be that of a metal and a chalcogen (a/√3 of MX2).
FREQUENCIES = (0.35, 1.6)
FREQUENCY_STEP = 0.02

# Standard deviation of the Gaussian window, in distances of nearest peaks.
WINDOW = 8.0

MOST_SPOTS = 16

# A basis may be strained, by drift or by the crystal's own distortion, until one principal stretch
# is this many times the other. A square lattice is off a centred hexagonal one by 2/√3.
MOST_STRAIN = 1.12


@dataclass(frozen=True)
class Basis:
    """A lattice in the image: where cell (0, 0) stands and the steps to its neighbours.

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
        found: Floats = (positions - self.origin) @ np.linalg.inv(self.vectors)
        return found

    def places(self, cells: Floats) -> Floats:
        """Positions, px, of places given in units of the cell vectors, (n, 2)."""
        found: Floats = cells @ self.vectors + self.origin
        return found


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
    stretches = np.linalg.svd(np.linalg.solve(_ideal(kind), vectors), compute_uv=False)
    return float(stretches[0] / max(stretches[1], 1e-300))


def nearest_distance(positions: Floats) -> float:
    """Median distance of a peak to its nearest neighbour, px."""
    distances = np.asarray(cKDTree(positions).query(positions, k=2)[0], float)
    return float(np.median(distances[:, 1]))


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
        (n, 2) in 1/px and (n,), the strongest first; of k and −k one.
    """
    offsets = positions - centre
    near = np.hypot(*offsets.T) < 3 * WINDOW * distance
    offsets, weighed = offsets[near], weights[near]
    weighed = weighed * np.exp(-0.5 * np.sum((offsets / (WINDOW * distance)) ** 2, axis=1))
    line = np.arange(-FREQUENCIES[1], FREQUENCIES[1] + FREQUENCY_STEP, FREQUENCY_STEP) / distance
    waves = [np.exp(2j * np.pi * np.outer(along, line)) for along in offsets.T]
    power = np.abs((waves[0] * weighed[:, None]).T @ waves[1]) ** 2 / np.sum(weighed**2)
    row, col = np.meshgrid(line, line, indexing="ij")
    size = np.hypot(row, col) * distance
    half = (row > 1e-12) | ((np.abs(row) <= 1e-12) & (col > 0))
    peak = (power == maximum_filter(power, 5)) & half
    peak &= (size > FREQUENCIES[0]) & (size < FREQUENCIES[1])
    peak[[0, -1], :] = peak[:, [0, -1]] = False
    where = np.argwhere(peak)
    where = where[np.argsort(-power[tuple(where.T)], kind="stable")[:MOST_SPOTS]]
    steps = np.array([_summit(power, r, c) for r, c in where]).reshape(-1, 2)
    spots = np.column_stack([line[where[:, 0]], line[where[:, 1]]])
    return spots + steps * (line[1] - line[0]), power[tuple(where.T)]


def candidate_bases(kind: str, spots: Floats) -> list[Floats]:
    """Cell vectors of all lattices of a kind that a pair of spots may belong to, each once.

    Sums, differences and doubles of the strongest spots count as spots, for a distortion that
    alternates from cell to cell may put out a spot of the mean lattice and light those between.
    """
    few = spots[:8]
    pairs = list(combinations(few, 2))
    derived = [2 * few, *(np.array([a + b, a - b]) for a, b in pairs)]
    every = np.concatenate([spots, *derived]) if len(spots) else np.empty((0, 2))
    found: list[Floats] = []
    for reciprocal in _even_pairs(every, GEOMETRIES[kind]):
        vectors = _in_order(kind, np.linalg.inv(reciprocal).T)
        if vectors is not None and not any(_alike(vectors, other) for other in found):
            found.append(vectors)
    return found


def _even_pairs(spots: Floats, geometry: Geometry) -> Floats:
    """Pairs of spots about as long as each other, at about the angle of the lattice, (n, 2, 2)."""
    u, v = np.asarray(geometry.cell)
    cosine = abs(float(u @ v) / np.hypot(*u) / np.hypot(*v))
    first, second = np.triu_indices(len(spots), 1)
    a, b = spots[first], spots[second]
    lengths = np.hypot(*a.T), np.hypot(*b.T)
    cosines = np.abs(np.sum(a * b, axis=1)) / np.maximum(lengths[0] * lengths[1], 1e-300)
    even = np.abs(np.log(np.maximum(lengths[0], 1e-300) / np.maximum(lengths[1], 1e-300))) < 0.2
    even &= np.abs(np.arccos(np.minimum(cosines, 1)) - np.arccos(cosine)) < 0.2
    return np.stack([a[even], b[even]], axis=1)


def shape_of(spots: Floats) -> tuple[float, float, float]:
    """Lengths, px, and angle, degrees, of the shortest vectors the strongest spots give.

    Examples
    --------
    >>> shape_of(np.array([[0.1, 0.0], [0.0, 0.05]]))
    (10.0, 20.0, 90.0)
    """
    a = spots[0]
    sines = np.abs(a[0] * spots[:, 1] - a[1] * spots[:, 0])
    apart = sines > 0.2 * np.hypot(*a) * np.hypot(*spots.T)
    b = spots[int(np.argmax(apart))]
    if not apart.any():
        return (float(1 / np.hypot(*a)), float("inf"), 90.0)
    short, long = _shortest(np.linalg.inv(np.array([a, b])).T)
    lengths = float(np.hypot(*short)), float(np.hypot(*long))
    return (*lengths, float(np.degrees(np.arccos(abs(short @ long) / np.prod(lengths)))))


def _ideal(kind: str) -> Floats:
    """Cell vectors in nearest-neighbour distances as (row, col) = (y, x)."""
    return np.asarray(GEOMETRIES[kind].cell, float)[:, ::-1]


def _summit(power: Floats, r: int, c: int) -> tuple[float, float]:
    """The top of a parabola through a local maximum and its neighbours, in steps of the grid."""
    logs = np.log(np.maximum(power[r - 1 : r + 2, c - 1 : c + 2], 1e-300))
    tops = []
    for low, middle, high in (logs[:, 1], logs[1, :]):
        bend = 2 * middle - low - high
        tops.append(float(np.clip((high - low) / (2 * bend), -1, 1)) if bend > 0 else 0.0)
    return tops[0], tops[1]


def _shortest(vectors: Floats) -> tuple[Floats, Floats]:
    """The two shortest independent vectors of a lattice (Gauss's reduction)."""
    short, long = sorted(vectors, key=lambda v: float(v @ v))
    while True:
        long = long - np.round(long @ short / (short @ short)) * short
        if long @ long >= short @ short * (1 - 1e-12):
            return short, long
        short, long = long, short


def _in_order(kind: str, vectors: Floats) -> Floats | None:
    """Cell vectors of the lattice as the kind has them: the second the nearest to the columns'
    axis, the first from there towards the rows'. None if it is no strained lattice of the kind."""
    short, long = _shortest(vectors)
    long = long if short @ long > 0 else -long
    if strain(kind, np.array([short, long])) > MOST_STRAIN:
        return None
    around = [sign * v for v in (short, long, long - short) for sign in (1, -1)]
    pairs = [np.array([u, v]) for u in around for v in around if _turns(u, v)]
    fitting = [pair for pair in pairs if strain(kind, pair) < MOST_STRAIN]
    return max(fitting, key=lambda pair: (round(pair[1, 1] / np.hypot(*pair[1]), 9), pair[1, 0]))


def _turns(u: Floats, v: Floats) -> bool:
    """Whether the way from v to u is the way from the columns' axis towards the rows'."""
    return bool(u[0] * v[1] - u[1] * v[0] > 1e-9)


def _alike(a: Floats, b: Floats) -> bool:
    """Bases of the same lattice: one is the other in whole numbers, nearly."""
    steps = np.linalg.solve(b.T, a.T).T
    whole = np.round(steps)
    return bool(np.abs(steps - whole).max() < 0.06 and abs(round(np.linalg.det(whole))) == 1)
