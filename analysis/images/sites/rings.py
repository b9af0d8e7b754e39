"""Rings of neighbours around atoms found in an image: which atoms surround which, in order."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import neighbor_steps

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# A ring is complete if no gap between neighbouring directions is wider than this many times the
# perfect one: half a missing neighbour.
WIDEST_GAP = 1.6


def neighbours_of(sites: Integers, kind: str) -> Integers:
    """Nearest neighbours of sites in ring order, (n, z, 3)."""
    table = np.array(
        [[(*step.cells, step.target) for step in steps] for steps in neighbor_steps(kind, 1)]
    )
    found = table[sites[:, 2]].copy()
    found[:, :, :2] += sites[:, None, :2]
    return found


def site_table(sites: xr.Dataset) -> dict[tuple[int, int, int], int]:
    """Number of the atom at each site (i, j, sublattice) that holds one."""
    on = np.flatnonzero(sites["on_lattice"].to_numpy())
    keys = np.stack([sites[name].to_numpy()[on] for name in ("i", "j", "sublattice")], axis=1)
    return {(int(i), int(j), int(s)): int(atom) for (i, j, s), atom in zip(keys, on, strict=True)}


def site_rings(sites: xr.Dataset) -> tuple[Integers, Integers]:
    """Atoms all of whose neighbouring sites hold atoms, and those rings in the lattice's order.

    Parameters
    ----------
    sites
        As :func:`fit_sites` gives them.

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
    table = site_table(sites)
    keys = np.array(list(table), np.int64).reshape(-1, 3)
    around = neighbours_of(keys, sites.attrs["lattice"])
    rings = np.array(
        [[table.get((i, j, s), -1) for i, j, s in ring] for ring in around.tolist()], np.int64
    ).reshape(len(keys), around.shape[1])
    complete = (rings >= 0).all(axis=1)
    return np.array(list(table.values()), np.int64)[complete], rings[complete]


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
