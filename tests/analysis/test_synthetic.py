"""Synthetic images: counts as the model says, atoms where they were put, phases that differ."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from latticescape.analysis.counts.counting import count_atoms
from latticescape.analysis.images.synthetic import (
    draw_configuration,
    draw_image,
    drifted,
    place_atoms,
    two_phases,
)
from latticescape.physics import honeycomb, square, triangular
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import configurations, count_configurations

Floats = npt.NDArray[np.float64]


def scattered(atoms: int, shape: tuple[int, int], spacing: float, seed: int) -> Floats:
    """Atoms off a square grid by up to a tenth of its spacing."""
    rows, cols = (np.arange(spacing, n - spacing, spacing) for n in shape)
    grid = np.array(np.meshgrid(rows, cols, indexing="ij")).reshape(2, -1).T[:atoms]
    moved: Floats = grid + np.random.default_rng(seed).uniform(-0.1, 0.1, grid.shape) * spacing
    return moved


def centroids(image: xr.DataArray, near: Floats, reach: int) -> Floats:
    """Centres of mass of the pixels within reach of each place."""
    centres = []
    for row, col in np.rint(near).astype(int):
        top, left = row - reach, col - reach
        window = image.values[top : row + reach + 1, left : col + reach + 1]
        grid = np.indices(window.shape)
        centres.append((grid * window).sum(axis=(1, 2)) / window.sum() + [top, left])
    return np.array(centres)


def test_without_noise_the_image_is_the_sum_of_gaussians() -> None:
    places, heights = scattered(30, (110, 140), 17, 3), np.linspace(0.2, 1.0, 30)
    image = draw_image(
        places, heights, shape=(110, 140), sigma=3.0, background=10, dose=False, seed=0
    )
    row, col = np.indices(image.shape)
    distances = (row[..., None] - places[:, 0]) ** 2 + (col[..., None] - places[:, 1]) ** 2
    expected = 10 + 100 * (heights * np.exp(-distances / 18)).sum(axis=-1)
    assert np.abs(image.values - expected).max() < 100 * 30 * np.exp(-(5**2) / 2)


def test_a_centroid_finds_where_an_atom_was_put() -> None:
    places = scattered(16, (200, 200), 40, 1)
    image = draw_image(places, shape=(200, 200), sigma=3.0, dose=False, seed=0)
    assert np.abs(centroids(image, places, 18) - places).max() < 1e-4


@pytest.mark.parametrize("background", [0.5, 30.0])
def test_counts_have_the_mean_and_the_variance_of_the_model(background: float) -> None:
    places = scattered(9, (64, 64), 16, 2)
    look = {"shape": (64, 64), "sigma": 3.0, "background": background, "peak": 50.0}
    expected = draw_image(places, dose=False, seed=0, **look).values
    drawn = np.array([draw_image(places, seed=k, readout=2.0, **look).values for k in range(300)])
    deviation = (drawn.mean(axis=0) - expected) / np.sqrt((expected + 4) / 300)
    assert abs(deviation.mean()) < 5 / 64
    assert abs(deviation.std() - 1) < 0.05
    ratio = drawn.var(axis=0, ddof=1) / (expected + 4)
    assert abs(ratio.mean() - 1) < 5 * np.sqrt(2 / 300) / 64 * 2


def test_one_seed_draws_one_image() -> None:
    look = {"shape": (40, 40), "sigma": 3.0, "scan_noise": 0.5, "readout": 1.0}
    one, same, other = (draw_image([[20.0, 20.0]], seed=seed, **look).values for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_readout_counts_are_whole() -> None:
    image = draw_image([[20.0, 20.0]], shape=(40, 40), sigma=3.0, background=4, seed=1)
    assert np.array_equal(image, np.rint(image))
    assert image.units == "count"
    assert (image.pixel_size, image.pixel_units) == (1.0, "px")


@pytest.mark.parametrize("drift", [(0.0, 6.0), (5.0, 0.0), (-4.0, 3.0)])
def test_drift_moves_atoms_as_requested(drift: tuple[float, float]) -> None:
    places = scattered(16, (200, 200), 40, 1)
    image = draw_image(places, shape=(200, 200), sigma=3.0, drift=drift, dose=False, seed=0)
    moved = drifted(places, drift, 200)
    assert np.abs(moved - places).max() > 2
    assert np.abs(centroids(image, moved, 18) - moved).max() < 1e-3


def test_scan_noise_moves_rows_of_pixels_and_keeps_places_in_the_mean() -> None:
    places = scattered(16, (200, 200), 40, 1)
    look = {"shape": (200, 200), "sigma": 3.0, "dose": False}
    centres = np.array(
        [
            centroids(draw_image(places, seed=k, scan_noise=1.0, **look), places, 18)
            for k in range(40)
        ]
    )
    assert np.abs(centres[..., 0] - places[:, 0]).max() < 0.5
    assert np.abs(centres[..., 1].mean(axis=0) - places[:, 1]).max() < 5 * 0.4 / np.sqrt(40)
    one = draw_image(places, seed=0, scan_noise=1.0, **look).values
    rows = np.arange(200)[one.max(axis=1) > 50]
    middles = (one[rows] * np.arange(200)).sum(axis=1) / one[rows].sum(axis=1)
    assert np.std(np.diff(middles)) > 0.7


def test_blur_keeps_the_volume_and_lowers_the_peak() -> None:
    look = {"shape": (80, 80), "sigma": 3.0, "dose": False, "seed": 0}
    sharp = draw_image([[40.0, 40.0]], **look)
    blurred = draw_image([[40.0, 40.0]], blur=4.0, **look)
    assert float(blurred.sum()) == pytest.approx(float(sharp.sum()), rel=1e-4)
    assert float(blurred.max()) == pytest.approx(100 * 9 / 25)


def test_the_background_slope_keeps_its_mean() -> None:
    image = draw_image(
        np.empty((0, 2)), shape=(50, 70), sigma=3.0, background=10,
        background_slope=(4.0, -6.0), dose=False, seed=0,
    )  # fmt: skip
    assert float(image.mean()) == pytest.approx(10)
    assert float(image[-1, 0] - image[0, 0]) == pytest.approx(4)
    assert float(image[0, -1] - image[0, 0]) == pytest.approx(-6)


def test_atoms_outside_the_frame_reach_into_it() -> None:
    image = draw_image([[-2.0, 20.0], [500.0, 9.0]], shape=(40, 40), sigma=3.0, dose=False, seed=0)
    assert float(image[0, 20]) == pytest.approx(100 * np.exp(-4 / 18))
    assert int(image.values.argmax()) == 20


@pytest.mark.parametrize(
    ("positions", "more", "problem"),
    [
        ([1.0, 2.0], {}, "must be finite pairs"),
        ([[np.nan, 2.0]], {}, "must be finite pairs"),
        ([[5.0, 5.0]], {"amplitudes": [1.0, 2.0]}, "do not fit the atoms"),
        ([[5.0, 5.0]], {"sigma": 0.0}, "sigma must be positive"),
        ([[5.0, 5.0]], {"background": -1.0}, "finite and 0 or more"),
        ([[5.0, 5.0]], {"peak": np.inf}, "finite and 0 or more"),
        ([[5.0, 5.0]], {"background_slope": (1.0, 0.0)}, "below zero"),
        ([[5.0, 5.0]], {"drift": (40.0, 0.0)}, "slower than the scan"),
        ([[5.0, 5.0]], {"shape": (0, 5)}, "frame is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    positions: object, more: dict[str, object], problem: str
) -> None:
    look: dict[str, object] = {"shape": (20, 20), "sigma": 2.0, "seed": 1, **more}
    with pytest.raises(RequestError, match=problem):
        draw_image(positions, **look)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [square, triangular, honeycomb])
def test_neighbours_in_the_opened_patch_are_neighbours_in_the_lattice(make: object) -> None:
    lattice = make(8)  # type: ignore[operator]
    atoms = place_atoms(lattice, np.zeros(lattice.sites, int), spacing=10.0, rotation=23.0)
    places = np.column_stack([atoms.row, atoms.col])
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    pairs = np.argwhere(np.triu(np.abs(distances - 10) < 1e-6))
    bonds = {frozenset(bond) for bond in lattice.bonds(1).tolist()}
    site = atoms.site.values
    assert atoms.sizes["atom"] == lattice.sites
    assert {frozenset((int(site[a]), int(site[b]))) for a, b in pairs} <= bonds
    assert len(pairs) > 0.8 * len(bonds)
    assert np.min(distances[distances > 0]) > 10 - 1e-6


def test_counts_of_the_patch_are_those_of_its_sites_in_the_lattice() -> None:
    lattice = triangular(12)
    species = np.random.default_rng(1).integers(0, 2, lattice.sites)
    atoms = place_atoms(lattice, species, spacing=17.0, rotation=11.0)
    counted = count_atoms(np.column_stack([atoms.col, atoms.row]), atoms.species, "triangular")
    inner = np.flatnonzero(~np.isin(np.arange(lattice.sites), _edge_sites(atoms)))
    expected = count_configurations(
        species, inner, lattice.neighbors(1)[inner], configurations("triangular")
    )
    assert np.array_equal(counted, expected)


def _edge_sites(atoms: xr.Dataset) -> npt.NDArray[np.int64]:
    """Sites with fewer than six atoms at one spacing."""
    places = np.column_stack([atoms.row, atoms.col])
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    ring = (np.abs(distances - atoms.attrs["spacing_px"]) < 1e-6).sum(axis=1)
    return atoms.site.values[ring < 6]


def test_chalcogens_stand_in_the_middle_of_every_other_triangle() -> None:
    atoms = place_atoms(triangular(8), np.ones(64, int), spacing=12.0, chalcogen=0.15)
    metal, light = (np.column_stack([part.row, part.col]) for part in _by_sublattice(atoms))
    distances = np.linalg.norm(light[:, None] - metal[None], axis=-1)
    near = np.abs(distances - 12 / np.sqrt(3)) < 1e-6
    assert near.sum(axis=1).max() == 3
    assert near.sum() > 3 * 64 * 0.8
    assert distances.min() > 6.9
    assert set(atoms.amplitude.values[atoms.sublattice.values == 1]) == {0.15}


def _by_sublattice(atoms: xr.Dataset) -> list[xr.Dataset]:
    return [atoms.isel(atom=atoms.sublattice.values == s) for s in (0, 1)]


def test_distortion_makes_two_distances_between_rows() -> None:
    atoms = place_atoms(triangular(8), np.zeros(64, int), spacing=20.0, distortion=0.1)
    rows = np.unique(atoms.row.values.round(6))
    gap = 20 * np.sqrt(3) / 2
    assert np.diff(rows) == pytest.approx([gap - 4, gap + 4] * 3 + [gap - 4])


def test_vacancies_and_disorder_have_the_requested_size() -> None:
    lattice = triangular(60)
    flat = np.zeros(3600, int)
    atoms = place_atoms(lattice, flat, spacing=10.0, vacancies=0.1, disorder=0.05, seed=4)
    assert atoms.sizes["atom"] == pytest.approx(3240, abs=5 * np.sqrt(324))
    perfect = place_atoms(lattice, flat, spacing=10.0)
    moved = atoms.row.values - perfect.row.values[atoms.site.values]
    assert np.std(moved) == pytest.approx(0.5, rel=0.07)


def test_a_frame_takes_the_middle_of_the_patch() -> None:
    atoms = place_atoms(triangular(40), np.zeros(1600, int), spacing=10.0, shape=(128, 150))
    assert atoms.attrs["shape"] == (128, 150)
    assert int(atoms.inside.sum()) == pytest.approx(128 * 150 / (100 * np.sqrt(3) / 2), rel=0.06)
    assert int(atoms.inside.sum()) < atoms.sizes["atom"] < 1.5 * int(atoms.inside.sum())
    image = draw_configuration(atoms, seed=1, background=5.0, peak=80.0)
    assert image.shape == (128, 150)


@pytest.mark.parametrize(
    ("species", "more", "problem"),
    [
        (np.zeros(5, int), {}, "do not fit the lattice"),
        (np.full(16, 2), {}, "do not fit the lattice or the amplitudes"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    species: Floats, more: dict[str, float], problem: str
) -> None:
    with pytest.raises(RequestError, match=problem):
        place_atoms(square(4), species, spacing=10.0, **more)  # type: ignore[arg-type]


def test_only_the_triangular_lattice_has_chalcogens() -> None:
    with pytest.raises(RequestError, match="triangular"):
        place_atoms(square(4), np.zeros(16, int), spacing=10.0, chalcogen=0.1)


def _spot(part: xr.DataArray, frequency: npt.ArrayLike) -> float:
    """|FFT| of the part, its mean off, under a Hann window, at (row, col) cycles per px."""
    values = part.values - part.values.mean()
    window = np.outer(*(np.hanning(n) for n in values.shape))
    waves = [
        np.exp(-2j * np.pi * f * np.arange(n))
        for f, n in zip(np.asarray(frequency), values.shape, strict=True)
    ]
    return float(np.abs(waves[0] @ (values * window) @ waves[1]))


def test_stripes_stand_at_right_angles_on_either_side_of_the_boundary() -> None:
    image, phase = two_phases("stripes", shape=(256, 256), spacing=10.0, boundary=0.5, seed=1)
    above, below = image[:128], image[128:]
    rows, cols = (0.05, 0.0), (0.0, 0.05)
    assert _spot(above, rows) > 20 * _spot(above, cols)
    assert _spot(below, cols) > 20 * _spot(below, rows)
    assert int(phase[127].max()) == 0
    assert int(phase[128].min()) == 1


@pytest.mark.parametrize("rotation", [0.0, 17.0])
def test_dimers_put_out_one_pair_of_spots(rotation: float) -> None:
    spacing = 12.0
    image, phase = two_phases(
        "dimers", shape=(300, 300), spacing=spacing, rotation=rotation, dose=False, seed=1
    )
    # Reciprocal vectors of first order have length 2/3 of an inverse spacing; one lies along y.
    angles = np.deg2rad(rotation + 90 + np.array([0, 60, 120]))
    spots = 2 / 3 / spacing * np.column_stack([np.sin(angles), np.cos(angles)])
    perfect, dimers = (
        np.array([_spot(part, spot) for spot in spots]) for part in (image[:150], image[150:])
    )
    assert perfect == pytest.approx(np.full(3, perfect.mean()), rel=0.05)
    assert dimers[0] < 0.05 * perfect[0]
    assert dimers[1:].min() > 1.2 * perfect[1:].max()
    assert float(phase.mean()) == 0.5


def test_a_tilted_boundary_runs_through_the_middle() -> None:
    _, phase = two_phases("dimers", shape=(101, 101), tilt=30.0, seed=1)
    assert int(phase[49, 50]) == 0
    assert int(phase[51, 50]) == 1
    assert int(phase[50, 0]) != int(phase[50, 100])


def test_unknown_phases_are_refused() -> None:
    with pytest.raises(RequestError, match="unknown phases"):
        two_phases("cats", seed=1)  # type: ignore[arg-type]
