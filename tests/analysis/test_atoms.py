"""Atoms are found as precisely as the counts allow, or the answer says what failed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
import xarray as xr
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmarks.atoms import SCENES, Scene, position_bound, score
from latticescape.analysis.images.atoms.finding import find_atoms
from latticescape.analysis.images.atoms.gaussians import (
    PARAMETERS,
    draw_atoms,
    gradients,
    information,
)
from latticescape.analysis.images.atoms.pixels import (
    error_inflation,
    estimate_noise,
    fit_noise,
    flat_areas,
    mask_hot_pixels,
    prepare_frame,
)
from latticescape.analysis.images.synthetic import draw_image
from latticescape.physics import honeycomb
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "mores2"

SMALL = Scene("small", size=256)


def places(atoms: xr.Dataset) -> Floats:
    return np.column_stack([atoms.row, atoms.col])


def errors(atoms: xr.Dataset) -> Floats:
    return np.column_stack([atoms.row_err, atoms.col_err])


def noise(level: float = 10.0, size: int = 128) -> Floats:
    return np.random.default_rng(1).poisson(level, (size, size)).astype(float)


# --- precision


@pytest.mark.statistical
def test_the_reference_image_is_measured_at_the_bound_and_errors_are_honest() -> None:
    scene = SCENES[0]
    measured = find_atoms(scene.image)
    reached = score(scene, places(measured), errors(measured))
    bound = position_bound(scene)
    assert (reached.recall, reached.precision) == (1.0, 1.0)
    assert reached.rms < 1.1 * bound < 0.067
    assert reached.pull == pytest.approx(1.0, abs=0.06)
    assert np.median(errors(measured)) == pytest.approx(bound, rel=0.03)
    assert measured.attrs["spacing_px"] == pytest.approx(17.0, abs=0.15)
    assert measured.attrs["noise_gain"] == pytest.approx(1.0, abs=0.05)
    heights = (measured.intensity - 100) / measured.intensity_err
    assert float(np.sqrt((heights**2).mean())) == pytest.approx(1.0, abs=0.15)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("changes", "model_tolerance"),
    [
        ({"peak": 1000.0}, 1.1),
        ({"peak": 10.0}, 1.1),
        ({"peak": 2.0}, 1.15),
        ({"peak": 2.0, "seed": 1, "size": 512}, 1.1),
        ({"distortion": 0.1}, 1.1),
        ({"blur": 2.0}, 1.1),
        ({"vacancies": 0.1}, 1.1),
        ({"peak": 50.0, "distortion": 0.05, "blur": 2.0, "vacancies": 0.1}, 1.1),
    ],
    ids=str,
)
def test_other_images_as_well(changes: dict[str, float], model_tolerance: float) -> None:
    scene = replace(SMALL, **{"seed": 2, **changes})
    measured = find_atoms(scene.image)
    reached = score(scene, places(measured), errors(measured))
    assert min(reached.recall, reached.precision) >= 0.995
    assert reached.rms < model_tolerance * position_bound(scene)
    assert reached.pull == pytest.approx(1.0, abs=0.12)
    if scene.peak == 1000:
        assert reached.rms < 0.05


@pytest.mark.statistical
@pytest.mark.parametrize("width", [0.6, 1.0, 1.5])
def test_correlated_noise_makes_errors_larger_and_they_stay_honest(width: float) -> None:
    smooth = ndimage.gaussian_filter(SMALL.image.values, width)
    measured = find_atoms(smooth)
    reached = score(SMALL, places(measured), errors(measured))
    assert reached.pull == pytest.approx(1.0, abs=0.15)
    assert min(measured.attrs["noise_correlation"]) > 1.5


def test_the_bound_is_that_of_one_atom_in_closed_form_without_background() -> None:
    # Of N = 2π σ² A counts in a Gaussian each tells the place to σ: σ / √N an axis.
    single = Scene("single", size=256)
    tight = position_bound(replace(single, peak=1e4))
    assert tight / (3 / np.sqrt(2 * np.pi * 9 * 1e4)) == pytest.approx(1.314, abs=0.01)
    assert position_bound(single) == pytest.approx(10 * tight, rel=0.01)


def test_units_of_grey_values_do_not_matter() -> None:
    counts = find_atoms(SMALL.image)
    scaled = find_atoms(SMALL.image * 3e-7 - 1e-6)
    np.testing.assert_allclose(places(scaled), places(counts), atol=0.015)
    np.testing.assert_allclose(scaled.row_err, counts.row_err, rtol=0.02)
    np.testing.assert_allclose(scaled.intensity, 3e-7 * counts.intensity, rtol=0.01)


def test_arrays_of_any_dtype_are_images_and_calibration_is_handed_on() -> None:
    image = SMALL.image.assign_attrs(pixel_size=0.02, pixel_units="nm")
    labelled = find_atoms(image)
    assert (labelled.attrs["pixel_size"], labelled.attrs["pixel_units"]) == (0.02, "nm")
    for dtype in (">u2", np.float32, np.int64):
        plain = find_atoms(image.values.astype(dtype))
        np.testing.assert_allclose(places(plain), places(labelled), atol=1e-4)
    assert all({"long_name", "units"} <= set(labelled[name].attrs) for name in labelled)


# --- what images have


def test_a_rotated_square_lattice_on_half_a_frame_is_found() -> None:
    steps = np.mgrid[-30:30, -30:30].reshape(2, -1).T * 15.0
    turn = np.deg2rad(23)
    true = steps @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) + 128
    true = true[((true > 6) & (true < 250)).all(axis=1) & (true[:, 1] < 128)]
    measured = places(
        find_atoms(draw_image(true, shape=(256, 256), sigma=2.5, background=5, peak=80, seed=1))
    )
    assert len(measured) == len(true)
    assert cKDTree(measured).query(true)[0].max() < 0.3


def test_vacancies_stay_empty_and_atoms_cut_by_the_edge_have_larger_errors() -> None:
    scene = replace(SMALL, vacancies=0.1)
    measured = find_atoms(scene.image)
    inside = ((scene.places >= 0) & (scene.places <= 255)).all(axis=1)
    assert abs(measured.sizes["atom"] - inside.sum()) <= 3
    at_edge = places(measured).min(axis=1) < 1
    assert errors(measured)[at_edge].max(axis=1).min() > 1.2 * np.median(errors(measured))
    assert ((places(measured) >= 0) & (places(measured) <= 255)).all()


def test_missing_pixels_and_dead_ones_are_left_out() -> None:
    image = SMALL.image.values.copy()
    image[np.random.default_rng(1).random(image.shape) < 0.02] = np.nan
    image[100:140, 100:140] = np.nan
    image[200, 60] = 1e4
    measured = places(find_atoms(image))
    distance, _ = cKDTree(SMALL.places).query(measured)
    assert distance.max() < 1.0
    well_inside = ((measured > 104) & (measured < 136)).all(axis=1)
    assert not well_inside.any()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_margins_and_bars_are_left_out(grey: int) -> None:
    true = SMALL.places
    image = np.full((400, 400), grey, np.uint8)
    image[60:316, 100:356] = np.clip(SMALL.image.values, 0, 250)
    image[280:300, 120:200] = grey
    measured = find_atoms(image)
    whole = ((true > 8) & (true < 247)).all(axis=1)
    hidden = ((true > (205, 5)) & (true < (255, 115))).all(axis=1)
    distances, _ = cKDTree(places(measured) - (60, 100)).query(true[whole & ~hidden])
    assert distances.max() < 1
    assert measured.sizes["atom"] <= len(true)
    assert measured.attrs["flat"] == pytest.approx(1 - (256**2 - 1600) / 400**2, abs=0.04)


def test_clipped_black_between_rare_counts_is_no_margin() -> None:
    rare = np.random.default_rng(1).poisson(0.05, (256, 256))
    assert not flat_areas(rare, np.isfinite(rare)).any()


def test_hot_pixels_of_all_heights_are_left_out() -> None:
    image = SMALL.image.values.astype(float)
    rng = np.random.default_rng(1)
    hot = rng.random(image.shape) < 0.001
    image[hot] = image.max() * rng.uniform(0.5, 5, hot.sum())
    measured = find_atoms(image)
    assert score(SMALL, places(measured), errors(measured)).recall == 1
    assert measured.attrs["hot"] == pytest.approx(hot.mean(), rel=0.2)


def test_a_honeycomb_is_found_at_low_dose() -> None:
    """White noise as high as the atoms: the highest weights of the spectrum are noise."""
    true = 18.0 * honeycomb(12).positions[:, ::-1]
    true = true[((true > 0) & (true < 319)).all(axis=1)]
    places_of = np.stack(np.mgrid[:320, :320], axis=-1)
    image = sum(np.exp(-((places_of - r) ** 2).sum(axis=-1) / 50) for r in true)
    image = image + np.random.default_rng(0).normal(0, 1.0, image.shape)
    measured = find_atoms(image)
    inner = ((true > 6) & (true < 313)).all(axis=1)
    assert (cKDTree(places(measured)).query(true[inner])[0] < 5).mean() >= 0.95
    assert (cKDTree(true).query(places(measured))[0] < 6).mean() >= 0.95


def test_saturated_peaks_are_measured_by_their_flanks() -> None:
    clipped = np.minimum(SMALL.image.values, 60)
    measured = find_atoms(clipped)
    reached = score(SMALL, places(measured), errors(measured))
    assert (reached.recall, reached.precision) == (1.0, 1.0)
    assert reached.pull == pytest.approx(1.0, abs=0.12)
    assert float(measured.intensity.median()) == pytest.approx(100, rel=0.03)
    assert 0.05 < measured.attrs["saturated"] < 0.2


def test_overlapping_bright_and_dim_columns_are_distinguished() -> None:
    scene = replace(SMALL, seed=3)
    bright = scene.places
    dim = bright + 17 / np.sqrt(3) * np.array([np.cos(0.2), np.sin(0.2)])
    true = np.concatenate([bright, dim])
    heights = np.repeat([1.0, 0.4], len(bright))
    drawing = draw_image(
        true, heights, shape=(256, 256), sigma=2.6, background=10, peak=1000, seed=1
    )
    measured = find_atoms(drawing)
    reached, _ = cKDTree(places(measured)).query(true[scene.inner(true)])
    assert (reached < 1.0).mean() >= 0.995
    wrong, match = cKDTree(true).query(places(measured))
    assert (wrong[scene.inner(places(measured))] < 1.0).mean() >= 0.995
    ratio = measured.intensity.values / (1000 * heights[match])
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)


# --- what is no image of a lattice


def one_pixel(background: Floats) -> Floats:
    background[40, 50] = 1000.0
    return background


def fine() -> xr.DataArray:
    steps = np.mgrid[0:40, 0:40].reshape(2, -1).T * np.array([3.0, 3.2])
    return draw_image(steps, shape=(128, 128), sigma=0.8, background=10, seed=1)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (lambda: np.zeros((64, 64)), "blank"),
        (lambda: np.full((64, 64), 7, np.uint8), "blank"),
        (lambda: one_pixel(np.zeros((128, 128))), r"no lattice found: .* 0\.\d times the noise"),
        (lambda: one_pixel(noise()), "no lattice found: .* times the noise"),
        (lambda: noise(), "no lattice found: .* times the noise"),
        (lambda: replace(SMALL, peak=1.0).image, "no lattice found: of .* significant height"),
        (lambda: noise(0.05), "no lattice found"),
        (lambda: ndimage.gaussian_filter(noise(), 2.0), "no lattice found"),
        (lambda: skimage.data.cat().mean(axis=2), "no lattice found"),
        (lambda: skimage.data.coins(), "no lattice found"),
        (lambda: np.add.outer(np.arange(99.0), np.arange(99.0)), "no lattice found"),
        (lambda: noise() + 20 * np.sin(np.arange(128)), "no lattice found"),
        (fine, r"too fine: its planes are 3\.\d+ px apart"),
        (lambda: np.where(noise() > 4, 10, 1), "saturated"),
        (lambda: np.full((64, 64), np.nan), "missing"),
        (lambda: np.zeros((64, 64, 3)), "plane of real numbers"),
        (lambda: np.zeros((64, 64), complex), "plane of real numbers"),
        (lambda: np.zeros((8, 64)), "plane of real numbers"),
    ],
)
def test_images_without_a_lattice_are_refused_with_the_reason(
    image: Callable[[], npt.ArrayLike], problem: str
) -> None:
    with pytest.raises(RequestError, match=problem):
        find_atoms(image())


def test_random_atoms_are_found_if_their_spacing_is_known() -> None:
    rng = np.random.default_rng(4)
    true = rng.uniform(10, 246, (60, 2))
    true = true[[i for i, p in enumerate(true) if (np.hypot(*(true[:i] - p).T) > 14).all()]]
    image = draw_image(true, shape=(256, 256), sigma=2.5, background=10, seed=1)
    with pytest.raises(RequestError, match="no lattice found"):
        find_atoms(image)
    measured = places(find_atoms(image, spacing=15))
    assert len(measured) == len(true)
    assert cKDTree(measured).query(true)[0].max() < 0.4
    with pytest.raises(RequestError, match="the strongest peak is"):
        find_atoms(noise(), spacing=15)
    with pytest.raises(RequestError, match="spacing"):
        find_atoms(image, spacing=2)


# --- the parts


def test_information_and_gradient_are_those_of_numerical_derivatives() -> None:
    atoms = np.array([[15.2, 14.1, 5.0, np.log(2.5), 0.3], [16.9, 19.7, 3.0, np.log(2.0), -0.2]])
    owner = np.full((32, 34), -1, np.int64)
    owner[8:24, 6:17], owner[8:24, 17:28] = 0, 1
    rng = np.random.default_rng(1)
    weight, residual = rng.random(owner.shape), rng.standard_normal(owner.shape)
    # What lies farther than SLOPE_REACH standard deviations is not followed.
    weight[:11], weight[23:], weight[:, :14], weight[:, 22:] = 0, 0, 0, 0
    slopes = np.empty((2, PARAMETERS, *owner.shape))
    for i, p in np.ndindex(2, PARAMETERS):
        images = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved[i, p] += sign * 1e-6
            images.append(np.zeros(owner.shape))
            draw_atoms(moved, owner, images[-1])
        slopes[i, p] = (images[0] - images[1]) / 2e-6
    gradient = np.empty((2, 5))
    gradients(atoms, owner, weight, residual, 12.0, gradient)
    np.testing.assert_allclose(
        gradient, np.einsum("ipyx,yx->ip", slopes, weight * residual), rtol=1e-5
    )
    blocks, mixed = np.empty((2, 5, 5)), np.empty((2, 5, 5))
    starts, others, mates = np.array([0, 1, 2]), np.array([1, 0]), np.array([1, 0])
    information(atoms, 31, 12.0, owner, weight, starts, others, mates, blocks, mixed)
    expected = np.einsum("ipyx,jqyx,yx->ijpq", slopes, slopes, weight)
    np.testing.assert_allclose(blocks[0], expected[0, 0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(blocks[1], expected[1, 1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(mixed[0], expected[0, 1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(mixed[1], expected[1, 0], rtol=1e-5, atol=1e-7)


@pytest.mark.statistical
def test_noise_is_read_off_residuals_and_off_neighbouring_pixels() -> None:
    mean = np.add.outer(np.linspace(0, 50, 200), np.linspace(0, 50, 200))
    image = mean + np.random.default_rng(1).normal(0, np.sqrt(4 + 0.5 * mean))
    usable = np.ones(mean.shape, bool)
    for measured in (fit_noise(image - mean, mean, usable), estimate_noise(image, usable)):
        assert measured.gain == pytest.approx(0.5, abs=0.06)
        assert measured.variance(np.array([50.0]))[0] == pytest.approx(29, rel=0.05)


@pytest.mark.statistical
def test_rare_counts_are_noise_and_no_bad_pixels() -> None:
    mean = np.add.outer(np.linspace(0.05, 1, 200), np.linspace(0.05, 1, 200))
    image = np.random.default_rng(1).poisson(mean).astype(float)
    usable = np.ones(mean.shape, bool)
    measured = fit_noise(image - mean, mean, usable)
    assert measured.gain == pytest.approx(1.0, abs=0.06)
    assert measured.variance(np.array([0.2]))[0] == pytest.approx(0.2, rel=0.15)
    assert mask_hot_pixels(prepare_frame(image)).usable.all()


@pytest.mark.statistical
def test_inflation_is_that_of_templates_over_the_noise() -> None:
    white = np.random.default_rng(1).standard_normal((400, 400))
    smooth = ndimage.gaussian_filter(white, 1.5)
    smooth /= smooth.std()
    y, x = np.mgrid[-12:13, -12:13]
    bell = np.exp(-(y**2 + x**2) / 18)
    measured = error_inflation(smooth, 3.0)
    for template, factor in (
        (y * bell, measured.row),
        (x * bell, measured.col),
        (bell, measured.height),
    ):
        answers = ndimage.correlate(smooth, template)[20:-20, 20:-20]
        assert answers.std() / np.sqrt((template**2).sum()) == pytest.approx(factor, rel=0.06)


# --- real images


@pytest.mark.skipif(not REAL.is_dir(), reason=f"there is no {REAL.name} in ../shared/data")
@pytest.mark.parametrize("name", ["re05", "re78"])
def test_all_metal_columns_of_a_real_image_are_found(name: str) -> None:
    image = skimage.io.imread(REAL / f"{name}.tiff")[..., 0]
    metals = np.loadtxt(REAL / f"{name}_atoms.csv", delimiter=",", skiprows=1, usecols=(0, 1))
    measured = places(find_atoms(image))
    constant = np.median(cKDTree(metals).query(metals, 7)[0][:, 1:].mean(axis=1))
    distance, match = cKDTree(measured).query(metals)
    assert (distance < 0.3 * constant).mean() >= 0.98
    assert len(np.unique(match)) == len(metals)  # no metal stands for two
    assert np.quantile(cKDTree(measured).query(measured, 2)[0][:, 1], 0.01) > 0.25 * constant
