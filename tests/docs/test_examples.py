"""The examples run on small sweeps and recover their true parameters."""

import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from distributed import Client

from latticescape.deploy.sources import read_sources
from latticescape.sweeps import Sweep, run

ROOT = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.parent for path in ROOT.glob("*/example.py"))


def load_example(folder: Path) -> ModuleType:
    """Import an example's script as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{folder.name}", folder / "example.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_runs(folder: Path, tmp_path: Path, client: Client) -> None:
    module = load_example(folder)
    if hasattr(module, "run"):
        module.run = partial(run, cluster=client)
    results = module.main(tmp_path, small=True)
    pictures = results["pictures"]
    assert pictures
    assert all(picture.parent == tmp_path for picture in pictures)
    assert all(picture.stat().st_size > 5000 for picture in pictures)
    for name, (value, error) in results.get("parameters", {}).items():
        assert abs(value - results["truth"][name]) < 4 * error


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_has_a_page_with_its_pictures_and_specs_that_are_read(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    pictures = list(folder.glob("*.png"))
    assert pictures
    assert all(f"]({picture.name})" in page for picture in pictures)
    for spec in folder.glob("*.toml"):
        if spec.name == "sources.toml":
            assert set(read_sources(spec).sources) == {"SO", "SN", "PR"}
        else:
            assert Sweep.from_file(spec).points > 0
