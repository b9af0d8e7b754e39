"""Rings of neighbours around atoms of an image, in the order of the lattice."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from latticescape.analysis.checks import check_least
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.geometry import neighbor_steps

Integers = npt.NDArray[np.int64]
PLANE = ("square", "triangular", "honeycomb")

# A ring is complete if no gap between neighbouring directions exceeds the ideal one by this factor:
# half a missing neighbour.
WIDEST_GAP = 1.6


def check_plane(kind: str) -> str:
    """The kind of a plane lattice, or an error."""
    if kind not in PLANE:
        raise RequestError("an image shows a plane lattice", came=kind, allowed=" | ".join(PLANE))
    return kind


def neighbours_of(sites: Integers, kind: str) -> Integers:
    """Nearest neighbours of sites (cell and sublattice) in ring order, (n, z, 3)."""
    table = np.array(
        [[(*step.cells, step.target) for step in steps] for steps in neighbor_steps(kind, 1)]
    )
    neighbours = table[sites[:, 2]].copy()
    neighbours[:, :, :2] += sites[:, None, :2]
    return neighbours


def site_rings(sites: xr.Dataset) -> tuple[Integers, Integers]:
    """Atoms whose neighbouring sites all hold atoms, and those rings in the lattice's order.

    Parameters
    ----------
    sites
        As :func:`fit_sites` returns them.

    Returns
    -------
    centers, rings
        (n,) and (n, z): atom numbers.

    Examples
    --------
    >>> keys = np.array([(i, j) for i in range(3) for j in range(3)])
    >>> sites = xr.Dataset({"i": ("atom", keys[:, 0]), "j": ("atom", keys[:, 1]),
    ...     "sublattice": ("atom", np.zeros(9, int)), "on_lattice": ("atom", np.ones(9, bool))},
    ...     attrs={"lattice": "square"})
    >>> site_rings(sites)[0].tolist()
    [4]
    """
    on = np.flatnonzero(sites["on_lattice"].to_numpy())
    keys = np.stack([sites[name].to_numpy()[on] for name in ("i", "j", "sublattice")], axis=1)
    atom_at = dict(zip(map(tuple, keys.tolist()), on.tolist(), strict=True))
    keys = np.array(list(atom_at), np.int64).reshape(-1, 3)
    around = neighbours_of(keys, sites.attrs["lattice"])
    rings = np.array(
        [[atom_at.get((i, j, s), -1) for i, j, s in ring] for ring in around.tolist()], np.int64
    ).reshape(len(keys), around.shape[1])
    complete = (rings >= 0).all(axis=1)
    return np.array(list(atom_at.values()), np.int64)[complete], rings[complete]


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
        image or next to a vacancy are left out.

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
    first, second = (
        np.array([step.vector for step in neighbor_steps(check_plane(kind), shell)[0]])
        for shell in (1, 2)
    )
    z = len(first)
    check_least(len(sites), z + 1, f"atoms for a ring of {z} neighbours")
    nearest = cKDTree(sites).query(sites, k=z + 1)
    distances, neighbors = np.asarray(nearest[0], float), np.asarray(nearest[1], np.int64)
    spacing = float(np.median(distances[:, 1:]))
    reach = spacing * (1 + np.linalg.norm(second[0]) / np.linalg.norm(first[0])) / 2
    vectors = sites[neighbors[:, 1:]] - sites[:, None, :]
    angles = np.arctan2(vectors[..., 1], vectors[..., 0])
    order = np.argsort(angles, axis=1)
    rings = np.take_along_axis(neighbors[:, 1:], order, axis=1)
    complete = (distances[:, -1] < reach) & (widest_gap(angles) < WIDEST_GAP * 2 * np.pi / z)
    return np.flatnonzero(complete), rings[complete]


def widest_gap(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The widest gap between neighbouring directions of each ring, rad; (n, z) to (n,)."""
    ordered = np.sort(angles, axis=1)
    gaps = np.diff(ordered, axis=1, append=ordered[:, :1] + 2 * np.pi)
    return np.asarray(gaps.max(axis=1), np.float64)
