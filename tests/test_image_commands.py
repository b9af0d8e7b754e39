"""``measure`` and ``phases``: from files of images to stores, tables and pictures."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

from analysis.synthetic import two_phases
from tests.command_line import latticescape, told


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains whose stripes stand at right angles, with the boundary at row 96."""
    image, _ = two_phases("stripes", shape=(192, 192), spacing=8.0, background=20.0, seed=1)
    path = tmp_path_factory.mktemp("images") / "striped.tif"
    tifffile.imwrite(path, image.values.astype(np.uint16))
    return path


def test_phases_of_an_image_are_stored_and_drawn(striped: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "phases.zarr", [tmp_path / "a.png", tmp_path / "a.html"]
    more = [part for picture in pictures for part in ("--picture", picture)]
    facts = told("phases", striped, "--window", 48, "--step", 12, "--out", out, *more)
    assert facts["window"] == 48
    assert facts["step"] == 12
    assert facts["windows"] == [13, 13]
    assert sum(facts["abundance"]) == pytest.approx(1)
    with xr.open_zarr(out) as stored:
        assert stored.attrs["source"] == str(striped)
        share = stored["abundance"].mean("window_col").load()
    upper, lower = share[:, 0], share[:, -1]
    assert abs(upper[0] - lower[0]) > 0.7
    assert all(picture.stat().st_size > 10_000 for picture in pictures)
    with Image.open(pictures[0]) as drawn:
        assert drawn.width > drawn.height > 1000


def test_phases_choose_window_and_step(striped: Path) -> None:
    facts = told("phases", striped)
    assert 6 * 8 <= facts["window"] <= 16 * 8
    assert facts["step"] == facts["window"] // 4


def test_one_seed_gives_one_answer(striped: Path) -> None:
    again = [told("phases", striped, "--window", 48, "--seed", 3) for _ in range(2)]
    assert again[0] == again[1]


def test_a_frame_of_a_stack_is_chosen(striped: Path, tmp_path: Path) -> None:
    image = tifffile.imread(striped)
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.stack([image, image[::-1]]), photometric="minisblack")
    refused = latticescape("phases", stack)
    assert refused.exit_code == 2
    assert "--frame 0" in refused.stderr
    assert told("phases", stack, "--frame", 1, "--window", 48)["windows"] == [13, 13]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--window", 500], "does not fit into the image"),
        (["--window", 48, "--step", 64], "leave gaps"),
        (["--endmembers", 11], "endmembers"),
        (["--endmembers", 0], "endmembers"),
        (["--method", "magic"], "magic"),
        (["--picture", "a.pdf"], "no such picture"),
        (["--out", "."], "is there already"),
        (["--frame", 3], "no such frame"),
    ],
)
def test_wrong_requests_of_phases_end_in_one_line(
    arguments: list[object], problem: str, striped: Path
) -> None:
    result = latticescape("phases", striped, *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


def test_phases_of_a_blank_image_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "blank.npy", np.full((128, 128), 7.0))
    result = latticescape("phases", tmp_path / "blank.npy", "--window", 32)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
