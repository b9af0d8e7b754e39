"""``study`` and ``report``: stages that resume, a page that stands alone, refusals."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile

from latticescape.analysis.images.synthetic import draw_configuration, place_atoms
from latticescape.deploy.study import study as study_module
from latticescape.deploy.study.study import Study, study
from latticescape.physics import triangular
from latticescape.physics.errors import RequestError
from tests.support.command_line import latticescape


class Page(HTMLParser):
    """Pictures, scripts and the addresses that a page requests."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.requests: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images.append(values)
        self.scripts += tag == "script"
        addresses = (values.get("src"), values.get("href"))
        self.requests += [a for a in addresses if a and not a.startswith("data:")]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn random alloys, and an image without atoms."""
    folder = tmp_path_factory.mktemp("images")
    for seed in (1, 2):
        species = np.random.default_rng(seed).permutation(np.arange(256) % 2)
        placed = place_atoms(triangular(16), species, spacing=14.0, rotation=7.0 * seed)
        image = draw_configuration(placed, seed=seed, peak=200.0, background=20.0)
        tifffile.imwrite(folder / f"drawn{seed}.tif", image.values.astype(np.uint16))
    noise = np.random.default_rng(3).poisson(20, (128, 128)).astype(np.uint16)
    tifffile.imwrite(folder / "noise.tif", noise)
    return folder


def run_study(images: Path, out: Path, temperature: str | None = "1000 K") -> Study:
    return study(
        f"{images}/*.tif",
        species=("Mo", "Re"),
        out=out,
        models=("random", "pair"),
        temperature=temperature,
        hours=1e-6,
        cluster="inline",
        progress=False,
    )


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_study(images, tmp_path_factory.mktemp("study") / "out")


def test_a_study_reports_a_verdict_and_carries_warnings(finished: Study) -> None:
    facts = json.loads((finished.folder / "report.json").read_text())
    assert {model["name"] for model in facts["models"]} == {"random", "pair"}
    assert "not excluded" in finished.verdict  # the alloys are random
    assert "meV" in finished.verdict
    assert [image["name"] for image in facts["images"]] == ["drawn1", "drawn2"]
    assert any("noise.tif is left out" in text for text in facts["warnings"])
    assert any("hours are too few" in text for text in facts["warnings"])
    pair = next(m for m in facts["models"] if m["name"] == "pair")["parameters"]["w1"]
    assert pair["low95"] < 0 < pair["high95"]


def test_the_page_stands_alone(finished: Study) -> None:
    page = Page((finished.folder / "report.html").read_text())
    assert (page.requests, page.scripts) == ([], 0)
    assert len(page.images) == 3
    assert all(image["alt"] for image in page.images)


def test_an_interrupted_study_goes_on(
    images: Path, finished: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished.folder / "report.json").read_bytes()
    (finished.folder / "stages" / "infer.json").unlink()
    for name in ("_measure", "_guess"):
        monkeypatch.setattr(study_module, name, None)  # a call would fail
    run_study(images, finished.folder)
    assert (finished.folder / "report.json").read_bytes() == before


def test_a_report_is_written_again(finished: Study) -> None:
    page = finished.folder / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert latticescape("report", finished.folder).exit_code == 0
    assert page.read_bytes() == before


def test_the_folder_of_another_study_is_refused(images: Path, finished: Study) -> None:
    with pytest.raises(RequestError, match="of another study: kelvin differs"):
        run_study(images, finished.folder, temperature="900 K")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--species", "Mo"), "species"),
        (("--species", "Mo,Re,W"), "species"),
        (("--species", "Mo,Re", "--models", "spin"), "a model is unknown"),
        (("--species", "Mo,Re", "--temperature", "hot"), "temperature cannot be read"),
        (("--species", "Mo,Re", "--hours", "0"), "hours must be positive"),
        (("--species", "Mo,Re"), "no image can be used"),
    ],
)
def test_wrong_requests_are_refused(
    images: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = latticescape("study", images / "noise.tif", "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.stderr
