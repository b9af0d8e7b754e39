"""Observed counts: the published table, tables of atoms, images, and what a ring is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import skimage.data
import xarray as xr
from scipy import ndimage
from scipy.spatial import cKDTree

from latticescape.analysis import count_atoms, measure, observed_counts
from latticescape.analysis.counts.overlap import (
    effective_number,
    expected_counts,
    random_p_value,
    shuffled_counts,
)
from latticescape.analysis.images.atoms.finding import find_atoms
from latticescape.analysis.images.sites.lattice_fit import fit_sites
from latticescape.analysis.images.sites.rings import complete_rings
from latticescape.analysis.images.synthetic import draw_configuration, place_atoms
from latticescape.analysis.inference.landscapes.landscape import random_mixing
from latticescape.analysis.plots.labels import species_of
from latticescape.deploy.derived import write_new
from latticescape.deploy.examples import example
from latticescape.physics import RequestError, configurations, honeycomb, square, triangular
from latticescape.physics.lattices.configurations import count_configurations

COUNTS = example("mores2_counts.csv")
IMAGES = Path(__file__).parents[3] / "shared" / "data" / "mores2"


def test_the_published_counts_hold_the_published_totals() -> None:
    observed = observed_counts(COUNTS)
    assert observed.n.values.tolist() == [464, 466, 434, 471]
    result = observed.composition.values
    assert np.allclose(result, [0.02155, 0.59657, 0.84332, 0.95754], atol=5e-6)
    assert observed.multiplicity.values.sum() == 128


def test_tables_are_counted_without_the_libraries_for_images() -> None:
    """The extra ``images`` is needed only to read and measure images."""
    libraries = ("skimage", "sklearn", "h5py", "tifffile", "PIL")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({libraries!r}));"
        "from latticescape import observed_counts;"
        "print(observed_counts(sys.argv[1]).n.values.tolist())"
    )
    command = [sys.executable, "-c", code, str(COUNTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[464, 466, 434, 471]"


def test_a_table_of_counts_takes_the_names_of_its_species_for_labels(tmp_path: Path) -> None:
    unnamed, named = observed_counts(COUNTS), observed_counts(COUNTS, species=("Mo", "Re"))
    assert "species" not in unnamed.attrs
    assert species_of(named) == species_of(random_mixing(named)) == ("Mo", "Re")
    assert named["composition"].attrs["long_name"] == "Re fraction x"
    xr.testing.assert_equal(unnamed, named)
    write_new(unnamed, tmp_path / "unnamed.zarr", "measurement", ["image"])
    write_new(named, tmp_path / "named.zarr", "measurement", ["image"])
    for store, names in {"unnamed.zarr": ("A", "B"), "named.zarr": ("Mo", "Re")}.items():
        assert species_of(observed_counts(tmp_path / store, species=("A", "B"))) == names
    with pytest.raises(RequestError, match="two different names"):
        observed_counts(COUNTS, species=("Mo",))


def test_rows_may_come_in_any_order_and_without_multiplicities(tmp_path: Path) -> None:
    table = pd.read_csv(COUNTS, comment="#")
    shuffled = table.sample(frac=1, random_state=3).drop(columns="multiplicity")
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    again = observed_counts(tmp_path / "shuffled.csv")
    assert np.array_equal(again.counts, observed_counts(COUNTS).counts)


@pytest.mark.skipif(not IMAGES.exists(), reason="the real images are not here (shared/data/mores2)")
@pytest.mark.parametrize("image", ["re05", "re78"])
def test_positions_of_real_atoms_give_the_published_counts(image: str) -> None:
    observed = observed_counts(IMAGES / f"{image}_atoms.csv", species=("Mo", "Re"))
    published = observed_counts(COUNTS).sel(image=image)
    assert observed.image.values.tolist() == [image]
    assert np.array_equal(observed.counts[0], published.counts)


@pytest.mark.parametrize("make", [square, triangular, honeycomb])
@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_jitter_rotation_and_scale_change_no_ring(make: type, turn: float) -> None:
    lattice = make(10)
    species = np.random.default_rng(4).integers(0, 2, lattice.sites)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    jitter = np.random.default_rng(5).normal(0, 0.05, lattice.positions.shape)
    moved = 17.0 * (lattice.positions + jitter) @ rotation.T
    plain = count_atoms(lattice.positions, species, make)
    assert np.array_equal(count_atoms(moved, species, make), plain)


def test_a_vacancy_takes_its_neighbours_out_of_the_count() -> None:
    lattice = triangular(10)
    centers, _ = complete_rings(lattice.positions, "triangular")
    middle = lattice.positions.mean(axis=0)
    hole = np.argmin(np.linalg.norm(lattice.positions - middle, axis=1))
    left = np.delete(lattice.positions, hole, axis=0)
    fewer, _ = complete_rings(left, "triangular")
    assert len(centers) - len(fewer) == 7


def test_a_mirrored_image_counts_alike() -> None:
    """Classes are up to reflection, so the handedness of row and column axes does not matter."""
    lattice = triangular(10)
    species = np.random.default_rng(6).integers(0, 2, lattice.sites)
    mirrored = lattice.positions * [1, -1]
    assert np.array_equal(
        count_atoms(lattice.positions, species, "triangular"),
        count_atoms(mirrored, species, "triangular"),
    )


@pytest.mark.parametrize("kind", ["square", "triangular", "honeycomb", "cubic"])
def test_classes_differ_only_by_symmetry(kind: str) -> None:
    classes = configurations(kind)
    assert classes.multiplicity.sum() == len(classes.table)
    assert np.array_equal(np.bincount(classes.table), classes.multiplicity)
    half = len(classes) // 2
    assert classes.centre.tolist() == [0] * half + [1] * half
    assert len(set(classes.labels)) == len(classes)
    x = np.array([0.0, 0.3, 1.0])
    assert np.allclose(classes.random_mixing(x).sum(axis=-1), 1)


def test_multiplicities_are_the_published_ones() -> None:
    per_centre = {
        "triangular": [1, 6, 3, 6, 6, 2, 12, 6, 3, 6, 6, 6, 1],
        "square": [1, 4, 4, 2, 4, 1],
        "honeycomb": [1, 3, 3, 1],
    }
    for kind, expected in per_centre.items():
        assert configurations(kind).multiplicity.tolist() == 2 * expected


def test_an_image_has_no_cubic_rings() -> None:
    with pytest.raises(RequestError, match="plane"):
        complete_rings(np.zeros((9, 2)), "cubic")


def drawn(seed: int, *, zigzag: float = 0.0) -> tuple[xr.Dataset, xr.DataArray]:
    """A random alloy of MX2 with vacancies, turned, and its image under a sloping background."""
    lattice = triangular(14)
    species = np.random.default_rng(seed).integers(0, 2, lattice.sites)
    placed = place_atoms(
        lattice,
        species,
        spacing=14.0,
        rotation=9.0 + seed,
        chalcogen=0.12,
        distortion=zigzag,
        disorder=0.01,
        vacancies=0.02,
        seed=seed,
    )
    image = draw_configuration(
        placed, seed=seed, peak=200.0, background=30.0, background_slope=(20.0, -15.0)
    )
    return placed, image


def true_counts(placed: xr.Dataset) -> npt.NDArray[np.int64]:
    metal = placed.isel(atom=np.flatnonzero((placed.sublattice == 0) & placed.inside))
    positions = np.column_stack([metal.col, metal.row])
    return count_atoms(positions, metal.species.values, "triangular")


def test_images_give_the_counts_that_were_drawn(tmp_path: Path) -> None:
    truth = []
    for seed in (1, 2):
        placed, image = drawn(seed)
        np.save(tmp_path / f"alloy{seed}.npy", image.values)
        truth.append(true_counts(placed))
    pattern = str(tmp_path / "*.npy")
    observed = observed_counts(pattern, lattice=triangular, species=("Mo", "Re"))
    assert observed.image.values.tolist() == ["alloy1", "alloy2"]
    assert np.abs(observed.counts.values - np.array(truth)).sum() <= 4
    assert np.allclose(observed.expected_counts.sum("configuration"), observed.n)
    assert (observed.effective_n < observed.n).all()
    stored = tmp_path / "observed.zarr"
    write_new(observed, stored, "measurement", ["image"])
    assert xr.open_zarr(stored).load().equals(observed)


def test_haze_brightens_no_atom() -> None:
    """What lies on the crystal, in patches wider than an atom, is background."""
    placed, image = drawn(4, zigzag=0.13)
    patches = ndimage.gaussian_filter(np.random.default_rng(4).standard_normal(image.shape), 20.0)
    hazy = image + 60.0 * np.clip(patches / patches.std(), 0, None)
    atoms = measure(hazy, "triangular", ("Mo", "Re"))
    metal = placed.isel(atom=np.flatnonzero((placed.sublattice == 0) & placed.inside))
    result = atoms.isel(atom=np.flatnonzero(atoms.on_lattice))
    places = cKDTree(np.column_stack([metal.row, metal.col]))
    distances, nearest = places.query(np.column_stack([result.row, result.col]))
    assert (distances < 4).mean() > 0.98
    right = result.species.values == metal.species.values[nearest]
    assert right[distances < 4].all()


def test_zigzag_metals_are_counted_on_their_sites() -> None:
    placed, image = drawn(3, zigzag=0.13)
    atoms = measure(image, "triangular", ("Mo", "Re"))
    metals = int(((placed.sublattice == 0) & placed.inside).sum())
    assert abs(int(atoms.on_lattice.sum()) - metals) <= 0.02 * metals


def test_expected_counts_are_the_mean_over_species_drawn_by_their_probabilities() -> None:
    lattice = triangular(12)
    rng = np.random.default_rng(7)
    probability = rng.random(lattice.sites)
    classes, rings = configurations("triangular"), lattice.neighbors(1)
    centers = np.arange(lattice.sites)
    exact = expected_counts(probability, centers, rings, classes)
    draws = [
        count_configurations(
            (rng.random(lattice.sites) < probability).astype(int), centers, rings, classes
        )
        for _ in range(2000)
    ]
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.abs(np.mean(draws, axis=0) - exact).max() < 5 * error.max()
    sure = (probability > 0.5).astype(float)
    exact = expected_counts(sure, centers, rings, classes)
    assert np.array_equal(exact, count_configurations(sure.astype(int), centers, rings, classes))


def test_two_neighbourhoods_of_four_are_independent_when_the_spread_is_doubled() -> None:
    """Two classes, 2 ± √2 each: Pearson's χ² is 2 on average, and 1 for independent draws."""
    assert effective_number(np.array([[1, 3], [3, 1]])) == pytest.approx(4 * (2 - 1) / 2)


def test_neighbourhoods_that_do_not_overlap_are_as_good_as_independent() -> None:
    lattice = triangular(21)
    cells = np.arange(lattice.sites)
    separate = cells[(cells // 21 % 3 == 0) & (cells % 21 % 3 == 0)]
    species = (np.random.default_rng(8).random(lattice.sites) < 0.5).astype(int)
    classes, rings = configurations("triangular"), lattice.neighbors(1)
    chosen = {
        "separate": shuffled_counts(
            species, separate, rings[separate], classes, shuffles=2000, seed=1
        ),
        "all": shuffled_counts(species, cells, rings, classes, shuffles=2000, seed=1),
    }
    shares = {name: effective_number(s) / s[0].sum() for name, s in chosen.items()}
    assert 0.95 < shares["separate"] < 1.2
    assert shares["all"] < shares["separate"]


def test_a_p_value_of_a_random_alloy_is_no_small_one_and_of_an_ordered_one_is() -> None:
    lattice = triangular(12)
    classes, rings = configurations("triangular"), lattice.neighbors(1)
    centers = np.arange(lattice.sites)
    for ordered in (False, True):
        species = np.random.default_rng(9).permutation(np.arange(lattice.sites) % 3 == 0)
        if ordered:
            species = (centers // 12 + centers % 12) % 3 == 0
        kinds = species.astype(int)
        shuffled = shuffled_counts(kinds, centers, rings, classes, shuffles=400, seed=1)
        counts = count_configurations(kinds, centers, rings, classes)
        assert (random_p_value(counts, shuffled, classes) < 0.01) == ordered


def test_images_that_cannot_be_measured_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "noise.npy", np.random.default_rng(1).poisson(20, (200, 200)))
    with pytest.raises(RequestError, match=r"noise\.npy: no"):
        observed_counts(str(tmp_path / "noise.npy"))
    with pytest.raises(RequestError, match="images and tables"):
        observed_counts([tmp_path / "noise.npy", COUNTS])


@pytest.mark.parametrize("kind", ["square", "triangular"])
@pytest.mark.parametrize("name", ["camera", "gravel", "grass", "coins", "moon", "text"])
def test_photographs_are_no_crystals(name: str, kind: str) -> None:
    photograph = getattr(skimage.data, name)()[:256, :256]
    refusal = r"no (lattice|\w+ lattice|atoms) found.*\d|too fine.*\d"
    with pytest.raises(RequestError, match=refusal):
        measure(photograph, kind)


def test_a_wall_of_bricks_has_a_lattice_but_a_rectangular_one() -> None:
    with pytest.raises(RequestError, match=r"no square lattice found.* 8\.3 and 17\.1 px at 89°"):
        measure(skimage.data.brick()[:256, :256], "square")


@pytest.mark.slow
def test_hundreds_of_peaks_of_a_photograph_are_no_crystal() -> None:
    peaks = find_atoms(skimage.data.camera())
    assert peaks.sizes["atom"] > 100
    with pytest.raises(RequestError, match="no triangular lattice found"):
        fit_sites(peaks)


@pytest.mark.slow
@pytest.mark.skipif(not IMAGES.exists(), reason="the real images are not here (shared/data/mores2)")
@pytest.mark.parametrize(("image", "species"), [("re05", 0.99), ("re78", 0.92)])
def test_real_images_give_the_authors_atoms(image: str, species: float) -> None:
    """Of re78 the authors call 37 atoms Re that are as dim as Mo, on haze: see science.md."""
    atoms = measure(IMAGES / f"{image}.tiff", "triangular", ("Mo", "Re"))
    table = pd.read_csv(IMAGES / f"{image}_atoms.csv")
    theirs = table[["row_px", "col_px"]].to_numpy()
    metals = atoms.isel(atom=np.flatnonzero(atoms.on_lattice))
    ours = np.column_stack([metals.row, metals.col])
    near = 0.3 * atoms.attrs["lattice_constant"]
    distance, nearest = cKDTree(ours).query(theirs)
    framed = (ours > theirs.min(axis=0) - near) & (ours < theirs.max(axis=0) + near)
    back, _ = cKDTree(theirs).query(ours[framed.all(axis=1)])
    assert np.mean(distance < near) >= 0.98
    assert np.mean(back < near) >= 0.97
    met = distance < near
    same = metals.species.values[nearest[met]] == (table.species == "Re").to_numpy()[met]
    assert same.mean() >= species
    logs = np.log(metals.relative_intensity.values[nearest[met]])
    kinds = metals.species.values[nearest[met]]
    agreed = [np.median(logs[same & (kinds == kind)]) for kind in (0, 1)]
    for kind, other in ((0, 1), (1, 0)):
        distance_own = np.abs(logs[~same & (kinds == kind)] - agreed[kind])
        assert (distance_own < np.abs(logs[~same & (kinds == kind)] - agreed[other])).all()
