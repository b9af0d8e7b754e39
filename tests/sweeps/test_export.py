"""Stores as netCDF files, tables and RO-Crates."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from latticescape.physics import Variable
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep, export, kernel, label, open_sweep, run
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.store import Store, create
from tests.support.command_line import json_of, latticescape
from tests.support.runs import ising_sweep


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of 9 points."""
    path = tmp_path_factory.mktemp("done") / "ising.zarr"
    run(ising_sweep(), path, "inline")
    label(path, tags=["draft"], note="for figure 3")
    return path


@pytest.fixture
def partial(done: Path, tmp_path: Path) -> Path:
    """The store with one block that is pending, whose results are still there."""
    store = Store(shutil.copytree(done, tmp_path / "partial.zarr"))
    store.reset(store.blocks[0], np.array([0]))
    return tmp_path / "partial.zarr"


def test_a_netcdf_file_holds_what_the_store_holds(done: Path, tmp_path: Path) -> None:
    made = export(done, tmp_path / "new" / "ising.nc")
    assert (made.points, made.done, made.left_out) == (9, 9, ())
    assert made.bytes == (tmp_path / "new" / "ising.nc").stat().st_size
    stored = open_sweep(done).drop_vars(["restart", "done", "attempts", "error", "checksum"])
    with xr.open_dataset(made.path, engine="h5netcdf") as found:
        assert set(found.variables) == set(stored.variables)
        for name, variable in stored.variables.items():
            assert found[name].dims == variable.dims
            assert found[name].values.tolist() == variable.values.tolist(), name
        assert found.susceptibility.attrs == stored.susceptibility.attrs
        assert found.attrs["digest"] == stored.attrs["digest"]
        assert Sweep.from_toml(found.attrs["spec"]).digest == stored.attrs["digest"]
        assert json.loads(found.attrs["versions"]) == stored.attrs["versions"]
        assert found.attrs["history"].startswith("exported by latticescape")


def test_a_table_has_a_row_per_point(done: Path, tmp_path: Path) -> None:
    made = export(done, tmp_path / "ising.csv", "csv")
    table, stored = pd.read_csv(made.path), open_sweep(done)
    axes = list(stored.energy.dims)
    assert [*table.columns[: len(axes) + 1]] == [*axes, "state"]
    assert (table.state == "done").all()
    frame = stored.energy.to_dataframe().reset_index()
    assert (table[axes] == frame[axes]).all(axis=None)
    for name in ("energy", "energy_se", "composition"):
        if name in stored:
            assert table[name].tolist() == stored[name].values.ravel().tolist()
    histogram = stored.histogram.values.reshape(9, -1)
    columns = [f"histogram_{number}" for number in range(histogram.shape[1])]
    assert (table[columns].values == histogram).all()
    assert set(made.left_out) == {"features", "histogram_replica", "moments"}


def test_points_that_are_not_done_have_no_results(partial: Path, tmp_path: Path) -> None:
    """Also if a killed task left some."""
    assert not np.isnan(open_sweep(partial).energy).any()
    result = latticescape("export", partial, tmp_path / "p.csv", "--to", "csv")
    assert result.exit_code == 0
    assert "1 of 9 points are not done" in result.stderr
    table = pd.read_csv(tmp_path / "p.csv")
    (row,) = table.index[table.state == "pending"]
    assert table.loc[row, ["energy", "energy_se", "histogram_0"]].isna().all()
    text = (tmp_path / "p.csv").read_text().splitlines()
    rest = [line for number, line in enumerate(text) if number != row + 1]
    export(shutil.copytree(partial, tmp_path / "c.zarr"), tmp_path / "c.csv", "csv")
    assert (tmp_path / "c.csv").read_text().splitlines() == text
    assert not any("NaN" in line or ".0," in line.split("done")[1][-40:] for line in rest[1:])
    export(partial, tmp_path / "p.nc")
    with xr.open_dataset(tmp_path / "p.nc", engine="h5netcdf") as found:
        assert int(np.isnan(found.energy).sum()) == 1
        assert (found.state.values.ravel() == 0).sum() == 1
        assert (found.histogram.sum("configuration") == 0).sum() == 1


def test_a_crate_describes_its_files(done: Path, tmp_path: Path) -> None:
    options = ("--author", "A. Name", "--license", "https://spdx.org/licenses/CC-BY-4.0")
    facts = json_of("export", done, tmp_path / "crate", "--to", "ro-crate", *options)
    folder = tmp_path / "crate"
    files = {"results.nc", "points.csv", "spec.toml"}
    assert {file.name for file in folder.iterdir()} == {*files, "ro-crate-metadata.json"}
    assert facts["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert metadata["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in metadata["@graph"]}
    assert len(entities) == len(metadata["@graph"])
    descriptor = entities["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities[descriptor["about"]["@id"]]
    assert root["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "license"} <= set(root)
    assert (root["name"], root["keywords"]) == ("for figure 3", ["draft"])
    assert root["identifier"] == Store(done).digest
    assert {part["@id"] for part in root["hasPart"]} == files
    for name in files:
        content = (folder / name).read_bytes()
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
    assert entities["#author"]["name"] == "A. Name"
    assert entities["#energy"]["@type"] == "PropertyValue"
    assert entities["#simulation"]["object"] == {"@id": "spec.toml"}
    assert references(metadata["@graph"]) <= set(entities) | {"https://w3id.org/ro/crate/1.1"}
    assert Sweep.from_file(folder / "spec.toml").digest == root["identifier"]


def references(value: Any) -> set[str]:
    """The entities that a part of a graph refers to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    if set(value) == {"@id"}:
        return {value["@id"]}
    return set().union(*map(references, value.values()))


@kernel(
    Variable("wave", dtype="complex128"),
    Variable("number", dtype="int64"),
    Variable("square", ("row", "column"), dtype="int32"),
    dims={"row": [0, 1], "column": [0, 1]},
)
def waves(k, word):
    return np.exp(1j * k), len(word), np.zeros((2, 2), np.int32)


def test_words_and_complex_numbers_are_exported(tmp_path: Path) -> None:
    sweep = Sweep(kernel=waves, points={"word": ["a", "bc"], "k": [0.0, 1.0]})
    run(sweep, tmp_path / "own.zarr", "inline")
    export(tmp_path / "own.zarr", tmp_path / "own.csv", "csv")
    table = pd.read_csv(tmp_path / "own.csv")
    assert table.word.tolist() == ["a", "bc"]
    assert table.wave_imag.tolist() == [0.0, np.sin(1.0)]
    export(tmp_path / "own.zarr", tmp_path / "own.nc")
    with xr.open_dataset(tmp_path / "own.nc", engine="h5netcdf") as found:
        assert found.word.values.tolist() == ["a", "bc"]
        assert found.wave_real.values.tolist() == [1.0, np.cos(1.0)]
        assert found.number.values.tolist() == [1, 2]


def test_words_that_a_spreadsheet_would_run_are_refused(tmp_path: Path) -> None:
    sweep = Sweep(kernel=waves, grid={"word": ["=HYPERLINK(1)"], "k": [0.0]})
    create(tmp_path / "own.zarr", sweep, plan(sweep))
    with pytest.raises(RequestError, match="as a formula"):
        export(tmp_path / "own.zarr", tmp_path / "own.csv", "csv")
    assert [path.name for path in tmp_path.iterdir()] == ["own.zarr"]


def test_a_damaged_store_leaves_nothing(done: Path, tmp_path: Path) -> None:
    store = Store(shutil.copytree(done, tmp_path / "s.zarr"))
    Path(store.chunk("energy", store.blocks[0])).write_bytes(b"damaged")
    for to in ("netcdf", "csv", "ro-crate"):
        result = latticescape("export", tmp_path / "s.zarr", tmp_path / "new" / "x", "--to", to)
        assert result.exit_code == 2, to
        assert "energy cannot be read" in result.stderr
        assert "verify" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def damaged(path: Path, name: str, **changes: object) -> None:
    """Change the metadata of an array, and remove their copy in the group."""
    file, group = path / name / "zarr.json", path / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    facts = json.loads(group.read_text())
    del facts["consolidated_metadata"]
    group.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("energy", {"dimension_names": ["T", "../x"]}, ("energy has other dimensions",)),
        ("energy", {"dimension_names": None}, ("energy has other dimensions",)),
        ("energy", {"shape": [3, 4]}, ("energy has other dimensions",)),
        ("moments", {"shape": [3, 3, 2**40, 6]}, ("other dimensions than the other arrays",)),
        ("label", {"shape": [2**33]}, ("other dimensions than the other arrays",)),
        ("energy", {"data_type": "string", "fill_value": ""}, ("energy",)),
    ],
)
def test_metadata_of_strangers_is_refused(
    name: str, changes: dict[str, object], words: tuple[str, ...], done: Path, tmp_path: Path
) -> None:
    damaged(shutil.copytree(done, tmp_path / "s.zarr"), name, **changes)
    result = latticescape("export", tmp_path / "s.zarr", tmp_path / "s.nc")
    assert result.exit_code == 2, result.output
    assert [word for word in words if word not in result.stderr] == []
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_units_of_strangers_are_plain(done: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(done, tmp_path / "s.zarr")
    damaged(copy, "energy", attributes={"units": {"a": 1}, "scale_factor": 2.0, "_FillValue": 1})
    export(copy, tmp_path / "s.nc")
    with xr.open_dataset(tmp_path / "s.nc", engine="h5netcdf") as found:
        assert found.energy.attrs == {}
        assert (found.energy == open_sweep(done).energy).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.zarr", "x.nc"), ("no store at nowhere.zarr",)),
        (("{done}", "there.nc"), ("there.nc already exists", "another.nc")),
        (("{done}", "full", "--to", "ro-crate"), ("full already exists", "a new path")),
        (("{done}", "empty", "--to", "csv"), ("empty already exists", "another.csv")),
        (("{done}", "{done}/x.nc"), ("is inside the store",)),
        (("{done}", "there.nc/x.nc"), ("is not a folder",)),
        (("{done}", "s3://bucket/x.nc"), ("only be exported to a disk", "results.nc")),
        (("{done}", "x.nc", "--to", "xlsx"), ("xlsx", "netcdf")),
        (("foreign.zarr", "x.nc"), ("is not a store of a sweep",)),
        (("{done}", "x.nc", "--author", "me"), ("RO-Crate only", "--to ro-crate")),
        (("{done}", "x", "--to", "ro-crate", "--license", "MIT"), ("not a URL", "MIT", "spdx.org")),
    ],
)
def test_bad_requests_write_nothing(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    done: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.nc").write_text("mine")
    for folder in ("full/x", "empty"):
        Path(folder).mkdir(parents=True)
    xr.Dataset({"a": ("x", [1])}).to_zarr("foreign.zarr", zarr_format=3, consolidated=False)
    before = sorted(tmp_path.rglob("*"))
    result = latticescape("export", *(text.format(done=done) for text in arguments))
    assert result.exit_code == 2, result.output
    assert [word for word in words if word not in result.stderr] == []
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("there.nc").read_text() == "mine"


def test_the_page_on_sharing_runs(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "share-a-store.md").read_text()
    shutil.copytree(done, tmp_path / "runs" / "ising.zarr")
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^latticescape (export [^#\n]*)", page, re.MULTILINE):
        assert latticescape(*shlex.split(line)).exit_code == 0, line
    (tmp_path / "ising.nc").unlink()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "share-a-store.md", "exec"), {})
    assert capsys.readouterr().out == "ising.nc 9\n"


def test_an_unknown_format_is_refused(done: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"netcdf \| csv \| ro-crate"):
        export(done, tmp_path / "x", "xlsx")  # type: ignore[arg-type]
