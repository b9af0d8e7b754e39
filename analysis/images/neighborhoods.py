"""Neighbourhoods: distances and angles to an atom's neighbours, their components and clusters."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import ConvexHull, cKDTree
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from latticescape.analysis.checks import check_least
from latticescape.analysis.images.sites.rings import site_rings, widest_gap
from latticescape.analysis.labelled import labelled_variables
from latticescape.physics.errors import checked_integer
from latticescape.physics.lattices.geometry import neighbor_steps

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# An atom has all its neighbours in the image if the hull of all atoms is at least this share of the
# distance to the last neighbour away, and no gap between their directions is wider, in degrees.
MARGIN = 0.8
WIDEST_GAP = 185.0

MOST_NEIGHBORS = 64

# A peak of the scores with a smaller share of the atoms consists of outliers.
LEAST_SHARE = 0.1


def neighborhoods(
    atoms: xr.Dataset, J: int = 6, *, components: int = 4, clusters: int = 2, seed: int = 0
) -> xr.Dataset:
    """Distances and angles to J neighbours, their principal components, and clusters.

    If sites are known and J is the lattice's coordination, neighbours are those of the site, in the
    lattice's order; otherwise they are the J nearest atoms, ordered by angle from the direction
    with the fewest neighbours.

    Parameters
    ----------
    atoms
        ``row``, ``col`` (px) over ``atom``; with ``on_lattice``, only atoms at sites are used.
    J
        Number of neighbours.
    components
        Number of principal components, at most 2 J.
    clusters
        Number of clusters of the first components' scores (k-means).
    seed
        Of the clustering.

    Returns
    -------
    Dataset
        Over ``atom``, the atoms with neighbours on all sides, where ``atom`` is their number in
        ``atoms``: ``row``, ``col``; ``geometry`` (atom, neighbor, part) with ``part`` =
        ``distance`` (in ``spacing``) and ``angle`` (rad from the columns' axis to the rows', from
        −π to π); ``score`` (atom, component), in spacings, of the neighbours' positions; ``axis``
        (component, neighbor, coordinate); ``variance_explained`` (component); ``cluster`` (atom),
        numbered by decreasing size; ``bimodality`` (component): distance, in standard deviations,
        of two Gaussians of one width that fit the scores better than one does; 0 if they do not
        fit better, their sum has one maximum, or one holds less than a tenth of the atoms. attrs:
        ``spacing``, px.

    Raises
    ------
    RequestError
        If there are at most J atoms, or too few with neighbours on all sides.

    References
    ----------
    Belianinov et al., Nat. Commun. 6, 7801 (2015), 10.1038/ncomms8801.

    Examples
    --------
    >>> from latticescape import triangular
    >>> places = 17.0 * triangular(6).positions
    >>> atoms = xr.Dataset({"row": ("atom", places[:, 1]), "col": ("atom", places[:, 0])})
    >>> ds = neighborhoods(atoms)
    >>> ds.geometry.dims, ds.sizes["atom"], ds.geometry[0, 0, 0].round(6).item()
    (('atom', 'neighbor', 'part'), 16, 1.0)
    """
    positions = np.stack([atoms["row"].to_numpy(), atoms["col"].to_numpy()], axis=1).astype(float)
    centers, neighbors = _neighbors(atoms, positions, J)
    check_least(len(centers), max(clusters, 3), f"atoms with {J} neighbours on all sides")
    steps = positions[neighbors] - positions[centers][:, None]
    spacing = float(np.median(np.hypot(*np.moveaxis(steps, 2, 0))))
    distances, angles = np.hypot(steps[..., 0], steps[..., 1]), _angles(steps)
    geometry = np.stack([distances / spacing, angles], axis=2)
    number = min(components, 2 * J, len(steps))
    pca = PCA(number, svd_solver="full", random_state=seed)
    scores: Floats = pca.fit_transform((steps / spacing).reshape(len(steps), -1))
    axes = pca.components_.reshape(-1, J, 2)
    leading = scores[:, :2]
    distinct = len(np.unique(leading.round(9), axis=0))
    labels = KMeans(min(clusters, distinct), n_init=5, random_state=seed).fit(leading).labels_
    rank = np.argsort(np.argsort(-np.bincount(labels), kind="stable"), kind="stable")
    cluster = np.asarray(rank[labels], np.int64)
    bimodality = np.array([_bimodality(score, seed) for score in scores.T])
    parts, of_axes = ("atom", "neighbor", "part"), ("component", "neighbor", "coordinate")
    shares = pca.explained_variance_ratio_
    separation = "distance of two maxima in standard deviations"
    return xr.Dataset(
        labelled_variables(
            {
                "row": ("atom", positions[centers, 0], "row", "px"),
                "col": ("atom", positions[centers, 1], "column", "px"),
                "geometry": (parts, geometry, "distance (spacings) and angle (rad)", "1"),
                "score": (("atom", "component"), scores, "score of the component", "spacings"),
                "axis": (of_axes, axes, "principal axis", "1"),
                "variance_explained": ("component", shares, "share of the variance", "1"),
                "bimodality": ("component", bimodality, separation, "1"),
                "cluster": ("atom", cluster, "cluster", "1"),
            }
        ),
        coords={
            "atom": centers,
            "neighbor": np.arange(J),
            "part": ["distance", "angle"],
            "coordinate": ["row", "col"],
            "component": np.arange(scores.shape[1]),
        },
        attrs={"spacing": spacing},
    )


def _neighbors(atoms: xr.Dataset, positions: Floats, J: int) -> tuple[Integers, Integers]:
    """Atoms with neighbours on all sides, and these neighbours in order."""
    checked_integer(J, 1, MOST_NEIGHBORS, "no such number of neighbours")
    usable = np.isfinite(positions).all(axis=1)
    if "on_lattice" in atoms:
        usable &= atoms["on_lattice"].to_numpy()
    numbers = np.flatnonzero(usable)
    check_least(len(numbers), J + 1, f"atoms for {J} neighbours")
    if "on_lattice" in atoms and len(neighbor_steps(atoms.attrs["lattice"], 1)[0]) == J:
        return site_rings(atoms)
    places = positions[numbers]
    near = np.asarray(cKDTree(places).query(places, k=J + 1)[1])[:, 1:]
    steps = places[near] - places[:, None]
    angles = _angles(steps)
    # Neighbours are ordered from the direction with the fewest of them.
    bins = 72
    counts, edges = np.histogram(np.mod(angles, 2 * np.pi), bins, (0, 2 * np.pi))
    smooth = gaussian_filter1d(counts.astype(float), 2.0, mode="wrap")
    emptiest = float(edges[int(np.argmin(smooth))] + np.pi / bins)
    order = np.argsort(np.mod(angles - emptiest, 2 * np.pi), axis=1, kind="stable")
    planes = ConvexHull(places).equations
    depth = -(planes @ np.column_stack([places, np.ones(len(places))]).T).max(axis=0)
    inside = depth > MARGIN * np.hypot(*np.moveaxis(steps, 2, 0)).max(axis=1)
    inside &= (widest_gap(angles) < np.radians(WIDEST_GAP)) | (J < 3)
    return numbers[inside], numbers[np.take_along_axis(near, order, axis=1)[inside]]


def _angles(steps: Floats) -> Floats:
    """Angles of (row, col) steps from the columns' axis towards the rows', rad."""
    return np.asarray(np.arctan2(steps[..., 0], steps[..., 1]), np.float64)


def _bimodality(scores: Floats, seed: int) -> float:
    """Distance, in standard deviations, of two Gaussians that fit better than one, else 0."""
    if np.ptp(scores) < 1e-9:
        return 0.0
    column = scores[:, None]
    halves = np.quantile(scores, [0.2, 0.8])[:, None]
    options = {"covariance_type": "tied", "max_iter": 1000, "random_state": seed}
    two = GaussianMixture(2, means_init=halves, **options).fit(column)
    one = GaussianMixture(1, **options).fit(column)
    separation = float(np.ptp(two.means_) / np.sqrt(two.covariances_[0, 0]))
    better = two.bic(column) + 10 < one.bic(column) and two.weights_.min() >= LEAST_SHARE
    return separation if better and separation > 2 else 0.0
