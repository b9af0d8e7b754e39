"""Clusters of sites of a crystal, up to symmetry, and their copies on a lattice."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from latticescape.physics.errors import RequestError, checked_integer
from latticescape.physics.lattices.geometry import TOLERANCE, Geometry, shell_steps
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.lattices.symmetry import Place, Symmetry, operations

Cluster = tuple[Place, ...]


@dataclass(frozen=True)
class ClusterOrbit:
    """All clusters of a crystal that symmetry makes of one, up to translations of the lattice.

    Attributes
    ----------
    clusters
        The clusters; site k of each is the image of site k of the first.
    permutations
        The orders in which symmetry maps a cluster's sites to each other, without the identity. A
        value of the cluster must not change under them.
    """

    clusters: tuple[Cluster, ...]
    permutations: tuple[tuple[int, ...], ...]


def orbit_of(geometry: Geometry, cluster: Cluster, symmetry: Symmetry) -> ClusterOrbit:
    """The orbit of a cluster.

    Parameters
    ----------
    geometry
        The crystal.
    cluster
        Its sites, as (cell, site of the basis).
    symmetry
        ``"space_group"``, ``"rotations"`` or ``"translations"``.

    Raises
    ------
    RequestError
        If a site of the cluster is not in the crystal, or occurs twice.

    Examples
    --------
    >>> from latticescape.physics.lattices.geometry import GEOMETRIES
    >>> bond = (((0, 0), 0), ((0, 1), 0))
    >>> len(orbit_of(GEOMETRIES["triangular"], bond, "space_group").clusters)
    3
    """
    _check_cluster(geometry, cluster)
    found: dict[Cluster, Cluster] = {}
    permutations: dict[tuple[int, ...], None] = {}
    for operation in operations(geometry, symmetry):
        image = _moved_home(tuple(map(operation, cluster)))
        first = found.setdefault(tuple(sorted(image)), image)
        order = tuple(first.index(place) for place in image)
        if order != tuple(range(len(order))):
            permutations[order] = None
    return ClusterOrbit(tuple(found.values()), tuple(permutations))


def shell_orbits(geometry: Geometry, shell: int, symmetry: Symmetry) -> list[ClusterOrbit]:
    """The orbits of all pairs of a neighbour shell.

    Examples
    --------
    >>> from latticescape.physics.lattices.geometry import GEOMETRIES
    >>> [len(orbit.clusters) for orbit in shell_orbits(GEOMETRIES["kagome"], 3, "space_group")]
    [6, 3]
    """
    here = (0,) * geometry.dimension
    orbits: list[ClusterOrbit] = []
    seen: set[Cluster] = set()
    for own, steps in enumerate(shell_steps(geometry, shell)):
        for step in steps:
            pair = ((here, own), (step.cells, step.target))
            if tuple(sorted(_moved_home(pair))) not in seen:
                orbits.append(orbit_of(geometry, pair, symmetry))
                seen.update(tuple(sorted(c)) for c in orbits[-1].clusters)
    return orbits


def sites_of(lattice: Lattice, clusters: Sequence[Cluster]) -> Sites:
    """All copies of some clusters on a lattice, (copies, sites of a cluster) int32.

    Copies that reach over an open boundary are left out. On a small torus two copies may consist of
    the same sites; each counts.

    Raises
    ------
    RequestError
        If the lattice is so small that two sites of a cluster are one.
    """
    copies = np.concatenate(
        [
            np.stack([lattice.sites_at(cell, site) for cell, site in cluster], axis=1)
            for cluster in clusters
        ]
    )
    copies = copies[(copies >= 0).all(axis=1)]
    width = copies.shape[1]
    for one, other in combinations(range(width), 2):
        if np.any(copies[:, one] == copies[:, other]):
            spans = np.ptp([cell for cluster in clusters for cell, _ in cluster], axis=0)
            raise RequestError(
                "lattice.size is too small: two sites of a cluster are one site",
                came=f"size = {list(lattice.shape)}, a cluster over {spans.tolist()} cells",
                allowed=f"{(spans + 1).tolist()} or more",
                hint=f"size = {int(spans.max()) + 1}",
            )
    return np.ascontiguousarray(copies)


def _check_cluster(geometry: Geometry, cluster: Cluster) -> None:
    for cell, site in cluster:
        if len(cell) != geometry.dimension or not 0 <= site < geometry.sublattices:
            raise RequestError(
                "the cluster has a site that is not in the crystal",
                came=[*cell, site],
                allowed=f"{geometry.dimension} steps along the cell vectors, and a site of the "
                f"basis from 0 to {geometry.sublattices - 1}",
                hint=f"cluster = [{[0] * geometry.dimension}, {[1] * geometry.dimension}]",
            )
    if len(set(cluster)) < len(cluster) or not cluster:
        raise RequestError(
            "the cluster has no site, or one of them twice",
            came=[[*cell, site] for cell, site in cluster],
            allowed="different sites",
        )


def _moved_home(cluster: Cluster) -> Cluster:
    """The cluster, moved so that its first site in lexicographic order is in the cell 0."""
    origin = min(cluster)[0]
    return tuple(
        (tuple(a - b for a, b in zip(cell, origin, strict=True)), site) for cell, site in cluster
    )


def clusters_within(lattice: Lattice, radius: float, sites: int) -> list[list[list[int]]]:
    """One cluster of each orbit whose sites are all within a distance of each other.

    Parameters
    ----------
    lattice
        The lattice; its space group decides which clusters are one orbit.
    radius
        The largest distance of two sites, in the units of the cell.
    sites
        Number of sites of a cluster, 2 or more.

    Returns
    -------
    list
        Clusters as :class:`latticescape.Term` takes them, the most compact first.

    Raises
    ------
    RequestError
        If the number of sites is not 2 to 6.

    Examples
    --------
    >>> from latticescape import triangular
    >>> clusters_within(triangular(8), radius=1.0, sites=3)
    [[[0, 0, 0], [0, 1, 0], [1, 0, 0]]]
    """
    checked_integer(
        sites, 2, 6, "the number of sites of a cluster is out of range", hint="sites = 3"
    )
    geometry = lattice.geometry
    here, far = (0,) * geometry.dimension, radius * (1 + TOLERANCE)
    found: dict[Cluster, float] = {}
    seen: set[Cluster] = set()
    for own in range(geometry.sublattices):
        places = [
            (cell, target)
            for cell in product(*geometry.reach(far))
            for target in range(geometry.sublattices)
            if 0 < np.linalg.norm(geometry.vector(cell, own, target)) <= far
        ]
        for others in combinations(places, sites - 1):
            cluster = ((here, own), *others)
            longest = max(_distance(geometry, a, b) for a, b in combinations(cluster, 2))
            key = tuple(sorted(_moved_home(cluster)))
            if longest > far or key in seen:
                continue
            images = orbit_of(geometry, key, "space_group").clusters
            seen.update(tuple(sorted(image)) for image in images)
            found[min(tuple(sorted(image)) for image in images)] = longest
    ordered = sorted(found, key=lambda cluster: (round(found[cluster], 6), cluster))
    return [[[*cell, site] for cell, site in cluster] for cluster in ordered]


def _distance(geometry: Geometry, one: Place, other: Place) -> float:
    steps = tuple(b - a for a, b in zip(one[0], other[0], strict=True))
    return float(np.linalg.norm(geometry.vector(steps, one[1], other[1])))
