"""Rings of neighbours around atoms found in an image: which atoms surround which, in order."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import neighbor_steps

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# A ring is complete if no gap between neighbouring directions is wider than this many times the
# perfect one: half a missing neighbour.
WIDEST_GAP = 1.6


def complete_rings(positions: npt.ArrayLike, kind: str) -> tuple[Integers, Integers]:
    """Atoms whose ring of nearest neighbours is complete, and those rings by angle.

    Parameters
    ----------
    positions
        (atoms, 2) in any unit.
    kind
        ``square``, ``triangular`` or ``honeycomb``.

    Returns
    -------
    centers, rings
        (n,) and (n, z): atom numbers, rings in the lattice's ring order. Atoms at the edge of the
        image or beside a vacancy have none.

    Raises
    ------
    RequestError
        If the lattice is not a plane one, or there are too few atoms for a single ring.

    Examples
    --------
    >>> from latticescape import square
    >>> centers, rings = complete_rings(square(4).positions, "square")
    >>> centers.tolist()
    [5, 6, 9, 10]
    """
    sites = np.asarray(positions, float)
    shells = [_plane_shell(kind, shell) for shell in (1, 2)]
    z = len(shells[0])
    if len(sites) <= z:
        raise RequestError(
            f"too few atoms for a ring of {z} neighbours",
            came=len(sites),
            allowed=f"{z + 1} or more",
        )
    found = cKDTree(sites).query(sites, k=z + 1)
    distances, neighbors = np.asarray(found[0], float), np.asarray(found[1], np.int64)
    spacing = float(np.median(distances[:, 1:]))
    reach = spacing * (1 + np.linalg.norm(shells[1][0]) / np.linalg.norm(shells[0][0])) / 2
    vectors = sites[neighbors[:, 1:]] - sites[:, None, :]
    angles = np.arctan2(vectors[..., 1], vectors[..., 0])
    order = np.argsort(angles, axis=1)
    rings = np.take_along_axis(neighbors[:, 1:], order, axis=1)
    complete = (distances[:, -1] < reach) & (_gap(angles) < WIDEST_GAP * 2 * np.pi / z)
    return np.flatnonzero(complete), rings[complete]


def _plane_shell(kind: str, shell: int) -> Floats:
    if kind not in ("square", "triangular", "honeycomb"):
        raise RequestError(
            "an image shows a plane lattice", came=kind, allowed="square | triangular | honeycomb"
        )
    return np.array([step.vector for step in neighbor_steps(kind, shell)[0]])


def _gap(angles: Floats) -> Floats:
    """The widest gap between neighbouring directions of each ring."""
    turned = np.sort(angles, axis=1)
    gaps = np.diff(turned, axis=1, append=turned[:, :1] + 2 * np.pi)
    widest: Floats = gaps.max(axis=1)
    return widest
