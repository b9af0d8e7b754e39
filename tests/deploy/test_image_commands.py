"""``measure`` and ``phases``: from files of images to stores, tables and pictures."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr
from PIL import Image
from scipy.spatial import cKDTree

from latticescape.analysis.counts.counting import count_atoms, observed_counts
from latticescape.analysis.counts.tables import COLUMNS, stored_counts
from latticescape.analysis.images.synthetic import (
    draw_configuration,
    place_atoms,
    two_phases,
)
from latticescape.physics import PairAlloy, Schedule, triangular
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep, catalogue, run
from tests.support.command_line import json_of, latticescape


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains whose stripes stand at right angles, with the boundary at row 96."""
    image, _ = two_phases("stripes", shape=(192, 192), spacing=8.0, background=20.0, seed=1)
    path = tmp_path_factory.mktemp("images") / "striped.tif"
    tifffile.imwrite(path, image.values.astype(np.uint16))
    return path


SPECIES = np.random.default_rng(5).integers(0, 2, 16 * 16)


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two images of one configuration, one of them turned."""
    folder = tmp_path_factory.mktemp("crystals")
    for name, rotation in (("straight", 0.0), ("turned", 13.0)):
        image = draw_configuration(placed(rotation), seed=1, peak=200.0, background=20.0)
        tifffile.imwrite(folder / f"{name}.tif", image.values.astype(np.uint16))
    return folder


def placed(rotation: float) -> xr.Dataset:
    return place_atoms(triangular(16), SPECIES, spacing=15.0, rotation=rotation)


def test_images_are_measured_into_a_store_a_table_and_pictures(
    crystals: Path, tmp_path: Path
) -> None:
    out, atoms = tmp_path / "observed.zarr", tmp_path / "atoms.csv"
    facts = json_of(
        "measure", f"{crystals}/*.tif", "--lattice", "triangular", "--species", "Mo,Re",
        "--out", out, "--atoms", atoms, "--picture", tmp_path / "a.html",
    )  # fmt: skip
    assert facts["images"] == ["straight", "turned"]
    assert facts["atoms"] == [256, 256]
    assert facts["lattice_constant_px"] == pytest.approx([15, 15], rel=0.005)
    assert [(store.kind, store.axes) for store in catalogue(out)] == [("measurement", {"image": 2})]
    observed = stored_counts([out])
    truth = placed(0.0)
    expected = count_atoms(
        np.column_stack([truth["col"], truth["row"]]), truth["species"], "triangular"
    )
    assert observed["n"].values.tolist() == facts["n"] == [expected.sum()] * 2
    assert observed.attrs["species"] == ["Mo", "Re"]
    assert observed.attrs["source"] == [str(crystals / f"{name}.tif") for name in facts["images"]]
    assert observed.attrs["pixel_size"] == [1.0, 1.0]
    assert observed.attrs["pixel_units"] == ["px", "px"]
    assert observed.attrs["version"] == version("latticescape")
    assert observed["composition"].attrs["long_name"] == "Re fraction x"
    assert np.array_equal(observed["counts"], [expected, expected])
    table = pd.read_csv(atoms)
    assert tuple(table.columns) == (*COLUMNS, "i", "j", "site")
    read = observed_counts(atoms, species=("Mo", "Re"))
    assert np.array_equal(read["counts"], observed["counts"])
    assert facts["warnings"] == observed.attrs["warnings"] == [[], []]
    assert facts["filled"] == observed.attrs["filled"] == [1, 1]
    assert table["image"].value_counts().to_dict() == {"straight": 256, "turned": 256}
    assert_found(table[table["image"] == "turned"], placed(13.0))
    assert {path.name for path in tmp_path.glob("*.html")} == {"a_straight.html", "a_turned.html"}


def assert_found(table: pd.DataFrame, truth: xr.Dataset) -> None:
    """Each atom within its errors of where it was put, and named as it was."""
    places = np.column_stack([truth["row"], truth["col"]])
    distances = cKDTree(table[["row_px", "col_px"]]).query(places)
    assert np.max(distances[0]) < 5 * np.hypot(table["row_err_px"], table["col_err_px"]).max()
    named = table["species"].to_numpy()[distances[1]]
    assert np.array_equal(named, np.where(truth["species"] == 1, "Re", "Mo"))


def test_measured_stores_go_into_a_landscape(crystals: Path, tmp_path: Path) -> None:
    json_of("measure", crystals / "turned.tif", "--species", "Mo,Re", "--out", tmp_path / "o.zarr")
    share = float(stored_counts([tmp_path / "o.zarr"])["composition"][0])
    x = round(share * 64) / 64
    alloy = Sweep(
        triangular(8), PairAlloy(), {"x": [x], "w1": [-0.2, 0.0, 0.2]}, Schedule(20, 10, 2), seed=1
    )
    run(alloy, tmp_path / "s.zarr", progress=False)
    facts = json_of("landscape", tmp_path / "s.zarr", tmp_path / "o.zarr")
    assert facts["images"] == ["turned"]


def test_one_image_that_fails_does_not_take_the_others_with_it(
    crystals: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "noise.npy", np.random.default_rng(1).normal(100, 10, (128, 128)))
    (tmp_path / "broken.tif").write_bytes(b"II*")
    colours = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    bad = [tmp_path / name for name in ("broken.tif", "colour.png", "noise.npy", "gone.tif")]
    result = latticescape(
        "measure", *bad, crystals / "straight.tif",
        "--species", "Mo,Re", "--out", tmp_path / "o.zarr", "--json",
    )  # fmt: skip
    assert result.exit_code == 1
    assert json.loads(result.stdout)["images"] == ["straight"]
    assert all(str(path) in result.stderr for path in bad)
    assert result.stderr.count("Error: ") == len(bad)
    assert stored_counts([tmp_path / "o.zarr"])["image"].values.tolist() == ["straight"]


def drawn(path: Path, species: np.ndarray, **options: Any) -> Path:
    amplitudes = options.pop("amplitudes", (1.0, 1.5))
    atoms = place_atoms(
        triangular(16), species, spacing=13.0, rotation=7.0, amplitudes=amplitudes, **options
    )
    image = draw_configuration(atoms, seed=1, peak=200.0, background=10.0).values
    tifffile.imwrite(path, image.astype(np.uint16))
    return path


def test_a_table_of_displaced_atoms_and_vacancies_gives_the_counts_of_the_image(
    tmp_path: Path,
) -> None:
    image = drawn(tmp_path / "a.tif", SPECIES, vacancies=0.04, disorder=0.08, chalcogen=0.2)
    facts = json_of(
        "measure", image, "--species", "Mo,Re", "--out", tmp_path / "o.zarr",
        "--atoms", tmp_path / "a.csv",
    )  # fmt: skip
    stored = stored_counts([tmp_path / "o.zarr"])
    read = observed_counts(tmp_path / "a.csv", species=("Mo", "Re"))
    assert read["n"].values.tolist() == facts["n"]
    assert np.array_equal(read["counts"], stored["counts"])


def test_atoms_of_one_species_and_of_three_are_listed(tmp_path: Path) -> None:
    one = drawn(tmp_path / "one.tif", 0 * SPECIES, vacancies=0.05)
    facts = json_of("measure", one, "--species", "C", "--atoms", tmp_path / "one.csv")
    table = pd.read_csv(tmp_path / "one.csv")
    assert table["species"].value_counts().to_dict() == {
        "C": facts["atoms"][0],
        "vacancy": facts["vacancies"][0],
    }
    assert facts["atoms"][0] + facts["vacancies"][0] == pytest.approx(256, abs=3)
    assert "counted for two species, and 1" in facts["warnings"][0][0]
    kinds = np.random.default_rng(6).integers(0, 3, 256)
    three = drawn(tmp_path / "three.tif", kinds, amplitudes=(1.0, 1.5, 2.2))
    json_of("measure", three, "--species", "S,Mo,W", "--atoms", tmp_path / "three.csv")
    names = pd.read_csv(tmp_path / "three.csv")["species"].value_counts()
    assert [names[name] for name in ("S", "Mo", "W")] == np.bincount(kinds).tolist()
    refused = latticescape("measure", three, "--species", "S,Mo,W", "--out", tmp_path / "o.zarr")
    assert (refused.exit_code, "counts need two species" in refused.stderr) == (2, True)


def test_crystals_that_are_no_alloys_are_listed_and_not_counted(tmp_path: Path) -> None:
    rows = np.arange(256) // 16 % 2
    for name, species, reason in (("one", 0 * rows, "does not show 2"), ("rows", rows, "ordered")):
        image, atoms = drawn(tmp_path / f"{name}.tif", species), tmp_path / f"{name}.csv"
        result = latticescape(
            "measure", image, "--species", "Mo,Re", "--atoms", atoms,
            "--out", tmp_path / "o.zarr", "--json",
        )  # fmt: skip
        assert result.exit_code == 1
        assert reason in json.loads(result.stdout)["warnings"][0][0]
        assert f"Warning: {name}: the " in result.stderr
        assert len(pd.read_csv(atoms)) == 256
        assert not (tmp_path / "o.zarr").exists()
        with pytest.raises(RequestError, match=reason):
            observed_counts(image)


@pytest.mark.parametrize("contrast", ["dark", "auto"])
def test_dark_atoms_are_measured(contrast: str, tmp_path: Path) -> None:
    image = tifffile.imread(drawn(tmp_path / "a.tif", SPECIES)).astype(float)
    np.save(tmp_path / "dark.npy", image.max() - image)
    facts = json_of("measure", tmp_path / "dark.npy", "--species", "Mo,Re", "--contrast", contrast)
    assert (
        facts["composition"][0]
        == json_of("measure", tmp_path / "a.tif", "--species", "Mo,Re")["composition"][0]
    )
    refused = latticescape("measure", tmp_path / "dark.npy", "--species", "Mo,Re")
    assert "--contrast dark" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing.tif", "--species", "Mo,Re"], "there is no file"),
        (["*.dm3", "--species", "Mo,Re"], "no image matches"),
        (["{}", "--species", "Mo,Mo"], "Mo"),
        (["{}"], "--species"),
        (["{}", "--species", "Mo,Re", "--lattice", "cubic"], "cubic"),
        (["{}", "--species", "Mo,Re", "--picture", "a.pdf"], "cannot write this kind of picture"),
        (["{}", "--species", "Mo,Re", "--out", "."], "already exists"),
        (["{}", "--species", "Mo,Re", "--atoms", "."], "is a folder"),
    ],
)
def test_wrong_requests_of_measure_end_in_one_line(
    arguments: list[str], problem: str, crystals: Path
) -> None:
    given = [part.format(crystals / "straight.tif") for part in arguments]
    result = latticescape("measure", *given)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["blank", "noise", "one bright pixel"])
def test_an_image_without_a_lattice_is_refused(kind: str, tmp_path: Path) -> None:
    image = np.full((128, 128), 50.0)
    if kind == "noise":
        image += np.random.default_rng(1).normal(0, 5, image.shape)
    if kind == "one bright pixel":
        image[60, 60] = 4000
    np.save(tmp_path / "image.npy", image)
    result = latticescape(
        "measure", tmp_path / "image.npy", "--species", "Mo,Re", "--out", tmp_path / "o.zarr"
    )
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "o.zarr").exists()


def test_phases_of_an_image_are_stored_and_drawn(striped: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "phases.zarr", [tmp_path / "a.png", tmp_path / "a.html"]
    more = [part for picture in pictures for part in ("--picture", picture)]
    facts = json_of("segment", striped, "--window", 48, "--step", 12, "--out", out, *more)
    assert facts["window"] == 48
    assert facts["step"] == 12
    assert facts["windows"] == [13, 13]
    assert [store.kind for store in catalogue(out)] == ["segmentation"]
    assert sum(facts["abundance"]) == pytest.approx(1)
    with xr.open_zarr(out) as stored:
        assert stored.attrs["source"] == str(striped)
        share = stored["abundance"].mean("window_col").load()
    upper, lower = share[:, 0], share[:, -1]
    assert abs(upper[0] - lower[0]) > 0.7
    assert all(picture.stat().st_size > 10_000 for picture in pictures)
    with Image.open(pictures[0]) as drawn:
        assert drawn.width > drawn.height > 1000


def test_phases_of_an_image_with_missing_and_hot_pixels_are_those_of_the_whole(
    striped: Path, tmp_path: Path
) -> None:
    image = tifffile.imread(striped).astype(float)
    rng = np.random.default_rng(1)
    hot = rng.random(image.shape) < 0.001
    image[hot] = image.max() * rng.uniform(1, 5, hot.sum())
    image[:30] = np.nan
    np.save(tmp_path / "cut.npy", image)
    shares = []
    for path in (striped, tmp_path / "cut.npy"):
        out = tmp_path / f"{path.stem}.zarr"
        facts = json_of("segment", path, "--window", 48, "--step", 12, "--out", out)
        with xr.open_zarr(out) as stored:
            shares.append(stored["abundance"].load())
    assert facts["distinguishable"] == 2
    assert "23% of the windows were left out" in facts["warnings"][0]
    assert np.isnan(shares[1][:, :3]).all()
    # Endmembers are numbered by their mean abundance, which the cut changes.
    cut, whole = (of.values[:, 3:] for of in shares[::-1])
    assert min(np.abs(cut - other).mean() for other in (whole, whole[::-1])) < 0.1
    assert 6 * 8 <= json_of("segment", tmp_path / "cut.npy")["window"] <= 16 * 8


def test_a_map_of_one_phase_is_warned(crystals: Path) -> None:
    facts = json_of("segment", crystals / "straight.tif", "--window", 48)
    assert facts["distinguishable"] == 1
    assert "show 1, and 2 phases were asked for" in facts["warnings"][0]


def test_phases_choose_window_and_step(striped: Path) -> None:
    facts = json_of("segment", striped)
    assert 6 * 8 <= facts["window"] <= 16 * 8
    assert facts["step"] == facts["window"] // 4


def test_one_seed_gives_one_answer(striped: Path) -> None:
    again = [json_of("segment", striped, "--window", 48, "--seed", 3) for _ in range(2)]
    assert again[0] == again[1]


def test_a_frame_of_a_stack_is_chosen(striped: Path, tmp_path: Path) -> None:
    image = tifffile.imread(striped)
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.stack([image, image[::-1]]), photometric="minisblack")
    refused = latticescape("segment", stack)
    assert refused.exit_code == 2
    assert "--frame 0" in refused.stderr
    assert json_of("segment", stack, "--frame", 1, "--window", 48)["windows"] == [13, 13]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--window", 500], "does not fit into the image"),
        (["--window", 48, "--step", 64], "leaves gaps"),
        (["--endmembers", 11], "endmembers"),
        (["--endmembers", 0], "endmembers"),
        (["--method", "magic"], "magic"),
        (["--picture", "a.pdf"], "cannot write this kind of picture"),
        (["--out", "."], "already exists"),
        (["--frame", 3], "no such frame"),
    ],
)
def test_wrong_requests_of_phases_end_in_one_line(
    arguments: list[object], problem: str, striped: Path
) -> None:
    result = latticescape("segment", striped, *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


def test_phases_of_a_blank_image_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "blank.npy", np.full((128, 128), 7.0))
    result = latticescape("segment", tmp_path / "blank.npy", "--window", 32)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
