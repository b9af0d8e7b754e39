"""Trials of candidate bases on a window of an image: which lattice do the bright atoms lie on?"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay, cKDTree

from latticescape.analysis.images.sites.basis import (
    Basis,
    Floats,
    candidate_bases,
    nearest_distance,
    shape_of,
    strongest_spots,
)
from latticescape.physics.errors import RequestError

Integers = npt.NDArray[np.int64]

# An atom belongs to a site that is nearer than this many spacings: half is where sites meet.
CATCH = 0.45

# Radii, in spacings, of the discs in which a candidate is fitted, one after the other.
DISCS = (2.5, 4.0, 6.0)

# A lattice must hold this share of the window's sites and of its bright atoms.
LEAST_FILLED = 0.78
LEAST_PLACED = 0.7

# A crystal repeats: |⟨exp(2πi g·u)⟩| over the displacements u of its atoms from their sites, the
# geometric mean of the two first-order spots where it is larger. Metals of 1T′, 0.15 to 0.25
# spacings off in zigzag, keep 0.6 to 0.7; discs thrown at random without overlap reach 0.35, a
# square lattice taken for a triangular one, which fills it as well, 0.2.
LEAST_COHERENCE = 0.43

# Of lattices about as good the coarsest is taken: the bright sublattice, not bright and dim.
ABOUT_AS_GOOD = 0.95

# Width, in spacings, to which the atoms of all cells are smeared when they are laid on each other.
SMEAR = 0.27

# First-order spots, in the reciprocal cell vectors.
FIRST_ORDER = {
    "square": np.array([[1, 0], [0, 1]]),
    "triangular": np.array([[1, 0], [0, 1], [1, -1]]),
    "honeycomb": np.array([[1, 0], [0, 1], [1, -1]]),
}

MOST_WINDOWS = 2
FEWEST_ATOMS = 12


@dataclass(frozen=True)
class Trial:
    """How well a lattice holds a window.

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

    @property
    def holds(self) -> bool:
        return (
            self.filled >= LEAST_FILLED
            and self.placed >= LEAST_PLACED
            and self.coherence >= LEAST_COHERENCE
        )


def seed_basis(positions: Floats, intensities: Floats, kind: str) -> tuple[Basis, Floats]:
    """The lattice of the brightest sublattice where it is seen best, and the middle of that window.

    Parameters
    ----------
    positions, intensities
        (atoms, 2) px and (atoms,), positive.
    kind
        ``square``, ``triangular`` or ``honeycomb``.

    Raises
    ------
    RequestError
        If there is no such lattice, with what there is in its place.

    Examples
    --------
    >>> from latticescape import square
    >>> basis, _ = seed_basis(17.0 * square(12).positions, np.ones(144), "square")
    >>> round(basis.spacing, 3)
    17.0
    """
    if len(positions) < FEWEST_ATOMS:
        raise RequestError(
            "too few atoms for a lattice", came=len(positions), allowed=f"{FEWEST_ATOMS} or more"
        )
    distance = nearest_distance(positions)
    tried: list[Trial] = []
    seen: Floats = np.empty((0, 2))
    for centre, spots in _best_windows(positions, intensities, distance):
        seen = seen if len(seen) else spots
        trials = [
            _trial(positions, intensities, Basis(kind, vectors, centre), centre)
            for vectors in candidate_bases(kind, spots)
        ]
        tried += [trial for trial in trials if trial is not None]
        found = _chosen([trial for trial in trials if trial is not None])
        if found is not None:
            return found.basis, centre
    raise _no_lattice(kind, tried, seen)


def laid_on_each_other(fractions: Floats, weights: Floats, basis: Basis, at: Floats) -> Floats:
    """Density of all atoms in one cell, smeared out, at places in fractions of the cell, (n,)."""
    reciprocal = np.linalg.inv(basis.vectors).T
    harmonics = np.array(list(product(range(-3, 4), repeat=2)), float)
    widths = np.sum((harmonics @ reciprocal) ** 2, axis=1) * (SMEAR * basis.spacing) ** 2
    waves = np.exp(-2j * np.pi * fractions @ harmonics.T)
    amplitudes = (weights @ waves) * np.exp(-2 * np.pi**2 * widths)
    density: Floats = np.real(np.exp(2j * np.pi * at @ harmonics.T) @ amplitudes) / weights.sum()
    return density


def coherence(kind: str, displacements: Floats) -> float:
    """How well atoms repeat from cell to cell, 0 to 1.

    |⟨exp(2πi g·u)⟩| for each first-order spot g, and of these the geometric mean of the two
    largest: one may be put out by a distortion that alternates from row to row.

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
    """How well atoms repeat from cell to cell or from every other cell, 0 to 1.

    What rows displaced in turn take from the spots of the lattice, as in 1T′, is found again half
    way between them: each spot g counts with those at g + (½, 0), g + (0, ½) and g + (½, ½).

    Parameters
    ----------
    kind, displacements
        As :func:`coherence` takes them.
    cells
        (atoms, 2): the cell of each.

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


def _best_windows(
    positions: Floats, intensities: Floats, distance: float
) -> list[tuple[Floats, Floats]]:
    """Middles and spots of the windows with the strongest spots."""
    centres = [np.median(positions, axis=0)]
    low, high = positions.min(axis=0), positions.max(axis=0)
    for at in product((0.25, 0.75), repeat=2):
        near = cKDTree(positions).query_ball_point(low + np.array(at) * (high - low), 8 * distance)
        centres += [positions[near].mean(axis=0)] if len(near) > FEWEST_ATOMS else []
    windows = [(c, *strongest_spots(positions, intensities, c, distance)) for c in centres]
    windows = [window for window in windows if len(window[1]) > 1]
    windows.sort(key=lambda window: -float(window[2][:3].sum()))
    return [(centre, spots) for centre, spots, _ in windows[:MOST_WINDOWS]]


def _trial(positions: Floats, weights: Floats, basis: Basis, centre: Floats) -> Trial | None:
    """Fit a candidate in ever larger discs; None if there are too few atoms to do so."""
    reach = np.hypot(*(positions - centre).T) / basis.spacing
    if np.sum(reach < DISCS[-1]) < FEWEST_ATOMS:
        return None
    basis = replace(basis, origin=_origin(positions, weights, basis, reach < DISCS[-1]))
    for disc in DISCS:
        inside = np.flatnonzero(reach < disc)
        cells, atoms = _caught(positions[inside], weights[inside], basis)
        if len(atoms) < 6:
            return None
        basis = _fitted(basis, cells, positions[inside[atoms]])
    inside = np.flatnonzero(reach < DISCS[-1])
    cells, atoms = _caught(positions[inside], weights[inside], basis)
    if len(atoms) < FEWEST_ATOMS:
        return None
    on = weights[inside[atoms]]
    off = np.delete(weights[inside], atoms)
    placed = 1 - np.sum(off >= np.quantile(on, 0.25)) / len(on)
    return Trial(
        basis,
        _filled(positions, basis, centre, len(atoms)),
        float(placed),
        coherence(basis.kind, basis.fractions(positions[inside[atoms]]) - cells),
    )


def _origin(
    positions: Floats, weights: Floats, basis: Basis, inside: npt.NDArray[np.bool_]
) -> Floats:
    """Where the sites stand: the densest place when all cells of the disc are laid together."""
    grid = np.array(list(product(np.arange(24) / 24, repeat=2)))
    fractions = basis.fractions(positions[inside])
    density = sum(
        laid_on_each_other(fractions, weights[inside], basis, grid + site) for site in basis.sites
    )
    densest: Floats = basis.places(grid[int(np.argmax(density))][None])[0]
    return densest


def _caught(positions: Floats, weights: Floats, basis: Basis) -> tuple[Floats, Integers]:
    """Sites, in fractions of the cell vectors, that catch an atom, and which: the brightest."""
    fractions = basis.fractions(positions)
    cells = np.stack([np.round(fractions - site) + site for site in basis.sites])
    off = np.linalg.norm((fractions - cells) @ basis.vectors, axis=2) / basis.spacing
    best = np.argmin(off, axis=0)
    near = np.flatnonzero(off.min(axis=0) < CATCH)
    order = near[np.argsort(-weights[near], kind="stable")]
    sites = cells[best[order], order]
    _, first = np.unique(np.round(sites * 6).astype(np.int64), axis=0, return_index=True)
    return sites[first], order[first]


def _fitted(basis: Basis, cells: Floats, positions: Floats) -> Basis:
    design = np.column_stack([cells, np.ones(len(cells))])
    solution: Floats = np.linalg.lstsq(design, positions, rcond=None)[0].astype(float)
    return replace(basis, vectors=solution[:2], origin=solution[2])


def _filled(positions: Floats, basis: Basis, centre: Floats, caught: int) -> float:
    """Share of the sites of the disc, within the crystal, that hold an atom."""
    middle = np.round(basis.fractions(centre[None]))
    steps = np.array(list(product(range(-12, 13), repeat=2)), float) + middle
    places = np.concatenate([basis.places(steps + site) for site in basis.sites])
    places = places[np.hypot(*(places - centre).T) < DISCS[-1] * basis.spacing]
    near = positions[np.hypot(*(positions - centre).T) < (DISCS[-1] + 2) * basis.spacing]
    within = Delaunay(near).find_simplex(places) >= 0
    fourth = np.asarray(cKDTree(near).query(places, k=5)[0], float)[:, 4]
    within &= fourth < 1.6 * np.median(fourth)
    return caught / max(int(np.sum(within)), caught)


def _chosen(trials: list[Trial]) -> Trial | None:
    good = [trial for trial in trials if trial.holds]
    if not good:
        return None
    best = max(trial.score for trial in good)
    alike = [trial for trial in good if trial.score >= ABOUT_AS_GOOD * best]
    return max(alike, key=lambda trial: trial.basis.spacing)


def _no_lattice(kind: str, tried: list[Trial], spots: Floats) -> RequestError:
    if not len(spots):
        return RequestError(f"no {kind} lattice found: no spots in the structure factor")
    a, b, angle = shape_of(spots)
    seen = f"strongest vectors of {a:.1f} and {b:.1f} px at {angle:.0f}°"
    if tried:
        best = max(tried, key=lambda trial: trial.score * trial.coherence)
        seen = (
            f"the best fills {best.filled:.0%} of its sites, leaves {1 - best.placed:.0%} as many "
            f"bright atoms beside them and repeats with coherence {best.coherence:.2f}; {seen}"
        )
    return RequestError(
        f"no {kind} lattice found",
        came=seen,
        allowed=f"{LEAST_FILLED:.0%} of the sites, at most {1 - LEAST_PLACED:.0%} beside, "
        f"coherence {LEAST_COHERENCE}",
        hint=_other_kind(kind, a, b, angle),
    )


def _other_kind(named: str, a: float, b: float, angle: float) -> str | None:
    """What to type if the shortest vectors are those of another kind; none may be right."""
    right = {"square": abs(angle - 90) < 10, "triangular": abs(angle - 60) < 10}
    kinds = [kind for kind, fits in right.items() if fits and kind != named]
    return f'lattice="{kinds[0]}"' if kinds and max(a, b) < 1.2 * min(a, b) else None
