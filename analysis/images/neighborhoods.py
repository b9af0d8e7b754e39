"""Neighbourhoods: distances and angles to an atom's neighbours, their components and clusters."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import ConvexHull, cKDTree
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from latticescape.analysis.images.sites.rings import site_rings
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import neighbor_steps

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# An atom has all its neighbours in the image if the hull of all atoms is no nearer than this share
# of the distance to the last of them, and no gap between their directions is wider, in degrees.
MARGIN = 0.8
WIDEST_GAP = 185.0

MOST_NEIGHBORS = 64

# A top of the scores that holds fewer atoms is a few that stand apart.
LEAST_SHARE = 0.1


def neighborhoods(
    atoms: xr.Dataset, J: int = 6, *, components: int = 4, clusters: int = 2, seed: int = 0
) -> xr.Dataset:
    """Distances and angles to J neighbours, their principal components, and clusters.

    Where sites are known and J is the lattice's coordination, neighbours are those of the site, in
    the lattice's order; else the J nearest atoms, in the order of their angles from the direction
    in which there are fewest.

    Parameters
    ----------
    atoms
        ``row``, ``col`` (px) over ``atom``; if there is ``on_lattice``, of these the atoms at sites
        alone.
    J
        How many neighbours.
    components
        How many principal components; no more than 2 J.
    clusters
        How many clusters of the first components' scores (k-means).
    seed
        Of the clustering.

    Returns
    -------
    Dataset
        Over ``atom``, all that have neighbours on all sides, with ``atom`` their number in
        ``atoms``: ``row``, ``col``; ``geometry`` (atom, neighbor, part) with ``part`` =
        ``distance`` (in ``spacing``) and ``angle`` (rad from the columns' axis to the rows', from
        −π to π); ``score`` (atom, component), in spacings, of the neighbours' places; ``axis``
        (component, neighbor, coordinate); ``variance_explained`` (component); ``cluster`` (atom),
        the first the largest; ``bimodality`` (component): how many standard deviations apart two
        Gaussians of one width stand that fit the scores better than one does, 0 if they do not,
        have one top, or one of them holds less than a tenth of the atoms. attrs: ``spacing``, px.

    Raises
    ------
    RequestError
        If there are not more than J atoms, or too few with neighbours on all sides.

    References
    ----------
    Belianinov et al., Nat. Commun. 6, 7801 (2015), 10.1038/ncomms8801.

    Examples
    --------
    >>> from latticescape import triangular
    >>> places = 17.0 * triangular(6).positions
    >>> atoms = xr.Dataset({"row": ("atom", places[:, 1]), "col": ("atom", places[:, 0])})
    >>> found = neighborhoods(atoms)
    >>> found.geometry.dims, found.sizes["atom"], found.geometry[0, 0, 0].round(6).item()
    (('atom', 'neighbor', 'part'), 16, 1.0)
    """
    positions = np.stack([atoms["row"].to_numpy(), atoms["col"].to_numpy()], axis=1).astype(float)
    centers, neighbors = _neighbors(atoms, positions, J)
    least = max(clusters, 3)
    if len(centers) < least:
        raise RequestError(
            f"too few atoms with {J} neighbours on all sides",
            came=len(centers),
            allowed=f"{least} or more",
        )
    steps = positions[neighbors] - positions[centers][:, None]
    spacing = float(np.median(np.hypot(*np.moveaxis(steps, 2, 0))))
    geometry = np.stack(
        [
            np.hypot(steps[..., 0], steps[..., 1]) / spacing,
            np.arctan2(steps[..., 0], steps[..., 1]),
        ],
        axis=2,
    )
    scores, pca = _components(steps / spacing, min(components, 2 * J, len(steps)), seed)
    return xr.Dataset(
        {
            "row": ("atom", positions[centers, 0], _told("row", "px")),
            "col": ("atom", positions[centers, 1], _told("column", "px")),
            "geometry": (
                ("atom", "neighbor", "part"),
                geometry,
                _told("distance (spacings) and angle (rad)", "1"),
            ),
            "score": (("atom", "component"), scores, _told("score of the component", "spacings")),
            "axis": (
                ("component", "neighbor", "coordinate"),
                pca.components_.reshape(-1, J, 2),
                _told("principal axis", "1"),
            ),
            "variance_explained": (
                "component",
                pca.explained_variance_ratio_,
                _told("share of the variance", "1"),
            ),
            "bimodality": (
                "component",
                np.array([_bimodality(score) for score in scores.T]),
                _told("distance of two tops in standard deviations", "1"),
            ),
            "cluster": ("atom", _clusters(scores, clusters, seed), _told("cluster", "1")),
        },
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
    if not 1 <= J <= MOST_NEIGHBORS:
        raise RequestError("no such number of neighbours", came=J, allowed=f"1 to {MOST_NEIGHBORS}")
    whole = np.isfinite(positions).all(axis=1)
    if "on_lattice" in atoms:
        whole &= atoms["on_lattice"].to_numpy()
    numbers = np.flatnonzero(whole)
    if len(numbers) <= J:
        raise RequestError(
            f"too few atoms for {J} neighbours", came=len(numbers), allowed=f"{J + 1} or more"
        )
    if "on_lattice" in atoms and len(neighbor_steps(atoms.attrs["lattice"], 1)[0]) == J:
        return site_rings(atoms)
    there = positions[numbers]
    near = np.asarray(cKDTree(there).query(there, k=J + 1)[1])[:, 1:]
    steps = there[near] - there[:, None]
    angles = np.arctan2(steps[..., 0], steps[..., 1])
    turned = np.mod(angles - _emptiest(angles), 2 * np.pi)
    order = np.argsort(turned, axis=1, kind="stable")
    gaps = np.sort(angles, axis=1)
    gaps = np.diff(gaps, axis=1, append=gaps[:, :1] + 2 * np.pi).max(axis=1)
    depth = -(ConvexHull(there).equations @ np.column_stack([there, np.ones(len(there))]).T).max(
        axis=0
    )
    inside = depth > MARGIN * np.hypot(*np.moveaxis(steps, 2, 0)).max(axis=1)
    inside &= (gaps < np.radians(WIDEST_GAP)) | (J < 3)
    return numbers[inside], numbers[np.take_along_axis(near, order, axis=1)[inside]]


def _emptiest(angles: Floats) -> float:
    """The direction farthest from where neighbours stand: there the order begins."""
    bins = 72
    counts, edges = np.histogram(np.mod(angles, 2 * np.pi), bins, (0, 2 * np.pi))
    smooth = gaussian_filter1d(counts.astype(float), 2.0, mode="wrap")
    return float(edges[int(np.argmin(smooth))] + np.pi / bins)


def _components(steps: Floats, number: int, seed: int) -> tuple[Floats, PCA]:
    pca = PCA(number, svd_solver="full", random_state=seed)
    scores: Floats = pca.fit_transform(steps.reshape(len(steps), -1))
    return scores, pca


def _clusters(scores: Floats, number: int, seed: int) -> Integers:
    """Clusters by the first two components, the largest first."""
    few = len(np.unique(scores[:, :2].round(9), axis=0))
    model = KMeans(min(number, few), n_init=5, random_state=seed).fit(scores[:, :2])
    labels = model.labels_
    rank = np.argsort(np.argsort(-np.bincount(labels), kind="stable"), kind="stable")
    found: Integers = rank[labels]
    return found


def _bimodality(scores: Floats) -> float:
    """Distance, in standard deviations, of two Gaussians that fit better than one, else 0."""
    if np.ptp(scores) < 1e-9:
        return 0.0
    column = scores[:, None]
    halves = np.quantile(scores, [0.2, 0.8])[:, None]
    two = GaussianMixture(2, covariance_type="tied", means_init=halves, max_iter=1000).fit(column)
    one = GaussianMixture(1, covariance_type="tied").fit(column)
    apart = float(np.ptp(two.means_) / np.sqrt(two.covariances_[0, 0]))
    better = two.bic(column) + 10 < one.bic(column) and two.weights_.min() >= LEAST_SHARE
    return apart if better and apart > 2 else 0.0


def _told(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}
