"""Atoms found in drawn images: how precisely, against Cramér and Rao's bound, and beside peers.

A peer gets the spacing and the width of the peaks, which ``find_atoms`` finds itself.
"""

import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmarks.timing import seconds_of
from latticescape.analysis.images.atoms.finding import find_atoms
from latticescape.analysis.images.synthetic import draw_image
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

SPACING, SIGMA = 17.0, 3.0

# An atom is found if it is so near its place, in spacings.
FOUND = 0.3


@dataclass(frozen=True)
class Scene:
    """A triangular lattice of atoms to be drawn.

    Attributes
    ----------
    peak
        Counts of an atom's brightest pixel, on a tenth as many of background.
    distortion
        Standard deviation of each atom's displacement, in spacings along either axis.
    blur
        Standard deviation of a further blur, px.
    vacancies
        Share of the atoms that are missing.
    size
        Rows and columns of the frame.
    """

    title: str
    peak: float = 100.0
    distortion: float = 0.0
    blur: float = 0.0
    vacancies: float = 0.0
    size: int = 512
    seed: int = 1

    @property
    def sigma(self) -> float:
        """Standard deviation of a drawn atom, px."""
        return float(np.hypot(SIGMA, self.blur))

    @property
    def height(self) -> float:
        """Counts of an atom's brightest pixel, after the blur."""
        return self.peak * SIGMA**2 / self.sigma**2

    @cached_property
    def places(self) -> Floats:
        """(atoms, 2), in the frame and somewhat beyond."""
        rng = np.random.default_rng(self.seed)
        steps = np.mgrid[-80:80, -80:80].reshape(2, -1).T
        lattice = SPACING * steps @ np.array([[np.sqrt(0.75), 0.5], [0.0, 1.0]])
        turn = np.deg2rad(11.0)
        turned = lattice @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        places = turned + self.size / 2 + 0.3
        places = places[((places > -2 * SPACING) & (places < self.size + 2 * SPACING)).all(axis=1)]
        places = places[rng.random(len(places)) >= self.vacancies]
        moved: Floats = places + SPACING * self.distortion * rng.standard_normal(places.shape)
        return moved

    @cached_property
    def image(self) -> xr.DataArray:
        """With its noise."""
        return draw_image(
            self.places,
            shape=(self.size, self.size),
            sigma=SIGMA,
            blur=self.blur,
            background=0.1 * self.peak,
            peak=self.peak,
            seed=self.seed,
        )

    def inner(self, places: Floats) -> npt.NDArray[np.bool_]:
        """Whether a place is at least a spacing inside the frame."""
        within: npt.NDArray[np.bool_] = (
            (places > SPACING) & (places < self.size - 1 - SPACING)
        ).all(axis=1)
        return within


SCENES = (
    Scene("100 counts"),
    Scene("1000 counts", peak=1000.0),
    Scene("30 counts", peak=30.0),
    Scene("10 counts", peak=10.0),
    Scene("5 counts", peak=5.0),
    Scene("3 counts", peak=3.0),
    Scene("2 counts", peak=2.0),
    Scene("1 count", peak=1.0),
    Scene("distortion 0.05", distortion=0.05),
    Scene("distortion 0.1", distortion=0.1),
    Scene("blur 2 px", blur=2.0),
    Scene("blur 4 px", blur=4.0),
    Scene("vacancies 0.1", vacancies=0.1),
    Scene("all of these", peak=50.0, distortion=0.05, blur=2.0, vacancies=0.1),
)


def position_bound(scene: Scene, atoms: int = 40) -> float:
    """Cramér and Rao's bound on the rms error per axis of a position, px.

    From the Fisher information of Poisson counts about place, height and width of an atom and of
    all that overlap it, and about the background around them; the mean square over some atoms.
    """
    places, sigma = scene.places, scene.sigma
    tree = cKDTree(places)
    inner = np.flatnonzero(scene.inner(places))
    picked = inner[:: max(1, len(inner) // atoms)]
    variances = []
    for i in picked:
        members = [i, *(j for j in tree.query_ball_point(places[i], 5 * sigma) if j != i)]
        far = tree.query_ball_point(places[i], 15 * sigma)
        half = int(np.ceil(9 * sigma))
        y, x = (np.arange(-half, half + 1) + round(places[i, axis]) for axis in (0, 1))
        slopes = [np.ones((len(y), len(x)))]
        expected = np.full((len(y), len(x)), 0.1 * scene.peak)
        for j in far:
            v, u = (y - places[j, 0])[:, None], (x - places[j, 1])[None, :]
            bell = scene.height * np.exp(-(v**2 + u**2) / (2 * sigma**2))
            expected += bell
            if j in members:
                mine = [bell * v, bell * u, bell, bell * (v**2 + u**2)]
                slopes = [*slopes, *mine] if j != i else [slopes[0], *mine, *slopes[1:]]
        design = np.array(slopes).reshape(len(slopes), -1)
        information = (design / expected.ravel()) @ design.T
        scale = np.sqrt(np.diag(information))
        inverse = np.linalg.inv(information / np.outer(scale, scale)) / np.outer(scale, scale)
        # The derivative by a place is bell · v / sigma².
        variances.append(np.diag(inverse)[1:3].mean() * sigma**4)
    return float(np.sqrt(np.mean(variances)))


@dataclass(frozen=True)
class Score:
    """How well atoms were found: rms error per axis (px), shares, and the rms of error over
    standard error where there is one."""

    rms: float
    recall: float
    precision: float
    pull: float = np.nan


def score(scene: Scene, found: Floats, errors: Floats | None = None) -> Score:
    """Hold what was found against the truth, a spacing inside the frame."""
    true = scene.places
    apart, match = cKDTree(found).query(true)
    hit = (apart < FOUND * SPACING) & scene.inner(true)
    wrong = (found[match] - true)[hit]
    distance, _ = cKDTree(true).query(found)
    pull = np.nan if errors is None else float(np.sqrt(np.mean((wrong / errors[match][hit]) ** 2)))
    return Score(
        float(np.sqrt(np.mean(wrong**2))) if hit.any() else np.nan,
        float(hit.sum() / scene.inner(true).sum()),
        float(np.mean(distance[scene.inner(found)] < FOUND * SPACING)),
        pull,
    )


def ours(scene: Scene) -> xr.Dataset:
    """find_atoms, which gets no parameters."""
    return find_atoms(scene.image)


def places_of(atoms: xr.Dataset) -> tuple[Floats, Floats]:
    """Positions and their errors, (atoms, 2) each."""
    return (
        np.column_stack([atoms.row, atoms.col]),
        np.column_stack([atoms.row_err, atoms.col_err]),
    )


def scikit_image(scene: Scene) -> Floats:
    """peak_local_max of the smoothed image, then the centroid of a disk, background off."""
    from skimage.feature import peak_local_max

    image = scene.image.values
    smooth = ndimage.gaussian_filter(image, SIGMA / 2)
    peaks = peak_local_max(
        smooth, min_distance=int(SPACING / 3), threshold_rel=0.4, exclude_border=False
    )
    half = int(SPACING / 2)
    rise = np.clip(np.pad(image, half) - np.quantile(image, 0.1), 0, None)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = y**2 + x**2 <= half**2
    found = []
    for row, col in peaks:
        part = rise[row : row + 2 * half + 1, col : col + 2 * half + 1] * disk
        found.append((row + (part * y).sum() / part.sum(), col + (part * x).sum() / part.sum()))
    return np.array(found)


def trackpy(scene: Scene) -> Floats:
    """trackpy.locate with a diameter of three quarters of the spacing."""
    import trackpy as peer

    found = peer.locate(scene.image.values, 13, minmass=0, separation=SPACING / 2)
    return found[["y", "x"]].to_numpy()


def atomap(scene: Scene) -> Floats:
    """atomap: peaks, refined by centre of mass, then by 2-D Gaussians."""
    import atomap.api as peer

    signal = _signal(scene)
    peaks = peer.get_atom_positions(signal, separation=int(SPACING / 2))
    lattice = peer.Sublattice(peaks, image=signal.data)
    lattice.find_nearest_neighbors()
    lattice.refine_atom_positions_using_center_of_mass(show_progressbar=False)
    lattice.refine_atom_positions_using_2d_gaussian(show_progressbar=False)
    return np.column_stack([lattice.y_position, lattice.x_position])


def _signal(scene: Scene):  # type: ignore[no-untyped-def]
    import hyperspy.api as hyperspy

    return hyperspy.signals.Signal2D(scene.image.values)


@dataclass(frozen=True)
class Peer:
    """Another way to find atoms."""

    name: str
    package: str
    extra: str | None
    find: Callable[[Scene], Floats]

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return self.extra is None or importlib.util.find_spec(self.package) is not None

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {importlib.metadata.version(self.package)}"


PEERS = (
    Peer("atomap", "atomap", "bench-atoms", atomap),
    Peer("trackpy", "trackpy", "bench-atoms", trackpy),
    Peer("peak_local_max + centroid, scikit-image", "scikit-image", None, scikit_image),
)


def report(
    scenes: Iterable[Scene] = SCENES, peers: Sequence[Peer] = PEERS, size: int | None = None
) -> str:
    """The table, one scene after the other, each with all who are installed."""
    lines = [
        f"spacing {SPACING:g} px, sigma {SIGMA:g} px, a tenth of the peak's counts as background",
        f"{'':40s} {'rms/px':>8s} {'/ bound':>8s} {'pull':>6s} {'recall':>7s} {'precis.':>7s} "
        f"{'s':>7s} {'/ ours':>7s}",
    ]
    for scene in scenes:
        lines += _rows(scene if size is None else replace(scene, size=size), peers)
    missing = [peer for peer in peers if not peer.installed]
    lines += [f"{peer.name} is not installed: pip install '.[{peer.extra}]'" for peer in missing]
    return "\n".join(lines)


def _rows(scene: Scene, peers: Sequence[Peer]) -> list[str]:
    """Ours is run twice, since the first may compile; a peer once."""
    bound = position_bound(scene)
    try:
        ours(scene)
    except RequestError as error:
        return [f"{scene.title}: bound {bound:.4f} px", f"  find_atoms: {error}"]
    results: list[xr.Dataset] = []
    own = seconds_of(lambda: results.append(ours(scene)))
    rows = [f"{scene.title}: bound {bound:.4f} px"]
    rows.append(_row("find_atoms", score(scene, *places_of(results[0])), bound, own, own))
    for peer in peers:
        if peer.installed:
            found: list[Floats] = []
            with warnings.catch_warnings():  # the peers' own
                warnings.simplefilter("ignore")
                taken = seconds_of(lambda peer=peer, found=found: found.append(peer.find(scene)))
            rows.append(_row(peer.title, score(scene, found[0]), bound, taken, own))
    return rows


def _row(title: str, reached: Score, bound: float, seconds: float, own: float) -> str:
    return (
        f"  {title:38s} {reached.rms:8.4f} {reached.rms / bound:8.2f} {reached.pull:6.2f} "
        f"{reached.recall:7.4f} {reached.precision:7.4f} {seconds:7.2f} {seconds / own:7.1f}"
    )
