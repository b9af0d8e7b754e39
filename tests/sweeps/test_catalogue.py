"""The list of the stores in a folder."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from latticescape.deploy.derived import write_new
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep, catalogue, run, status
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.catalogue import MAX_DEPTH
from latticescape.sweeps.store.status import NAME, Lease
from latticescape.sweeps.store.store import Store, create
from tests.support.command_line import json_of, latticescape
from tests.support.own_kernels import percolation
from tests.support.runs import alloy_sweep, ising_sweep

LEASE = Lease("a", "s", "tcp://127.0.0.1:1", 0, "host", "user", 1, 0.0, 0)


def empty_store(path: Path, sweep: Sweep | None = None) -> Path:
    """A store of a sweep of which nothing is computed."""
    sweep = sweep or ising_sweep()
    create(path, sweep, plan(sweep))
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to copy and to change."""
    return empty_store(tmp_path_factory.mktemp("empty") / "s.zarr")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three stores, and of what is not to be listed."""
    folder = tmp_path_factory.mktemp("archive")
    run(ising_sweep(), folder / "done.zarr", "inline")
    empty_store(folder / "b" / "c" / "alloy.zarr", alloy_sweep())
    empty_store(folder / "own.zarr", Sweep(kernel=percolation, grid={"p": [0.5]}))
    shutil.copytree(folder / "own.zarr", folder / ".own.zarr.extending")
    shutil.copytree(folder / "own.zarr", folder / "own.zarr" / "inner")
    (folder / "link").symlink_to(folder / "b")
    (folder / "notes.txt").write_text("")
    deep = folder.joinpath(*(MAX_DEPTH + 1) * "d")
    shutil.copytree(folder / "own.zarr", deep)
    return folder


def test_it_lists_every_store_once(archive: Path) -> None:
    own, done, alloy = sorted(
        catalogue(archive), key=lambda store: len(store.axes) + len(store.store)
    )
    assert own.store == str(archive / "own.zarr")
    assert own.model is own.lattice is None
    assert own.kernel is not None
    assert alloy.store == str(archive / "b" / "c" / "alloy.zarr")
    assert alloy.axes == {"x": 2, "w1": 3}
    assert alloy.lattice == {"kind": "triangular", "size": 6}
    assert alloy.model is not None
    assert alloy.model["kind"] == "pair_alloy"
    assert done.status == status(archive / "done.zarr")
    assert (done.error, done.created) == ("", Store(archive / "done.zarr").group.attrs["created"])
    files = [path for path in (archive / "done.zarr").rglob("*") if path.is_file()]
    assert done.bytes_stored == sum(path.stat().st_size for path in files)


def test_the_command_shows_what_the_function_returns(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no word is divided, however long the paths are
    assert json_of("list", archive) == {
        "stores": json.loads(json.dumps([store.as_dict() for store in catalogue(archive)]))
    }
    shown = latticescape("list", archive / "b").stdout
    words = " ".join(shown.split())
    for part in ("pair_alloy", "triangular, size 6", "x 2 × w1 3", "0/6 done", "kB", " s"):
        assert part in words, shown


def test_a_store_lists_itself(archive: Path) -> None:
    (store,) = json_of("list", archive / "done.zarr")["stores"]
    assert (store["done"], store["points"], store["failed"], store["active"]) == (9, 9, 0, False)


def test_a_store_at_work_says_so(empty: Path, tmp_path: Path) -> None:
    records = Store(shutil.copytree(empty, tmp_path / "s.zarr")).records
    records.write(NAME, vars(replace(LEASE, since=time.time())))
    (store,) = json_of("list", tmp_path)["stores"]
    assert (store["active"], store["owner"]) == (True, LEASE.owner)
    assert "at work" in " ".join(latticescape("list", tmp_path).stdout.split())


def derived(path: Path, kind: Any, created: str = "", **facts: Any) -> Path:
    """What a command writes of a landscape of two temperatures, or of something else."""
    table = xr.Dataset({"s2_total": ("T", [0.1, 0.2])}, {"T": [1.0, 2.0]})
    write_new(table, path, kind, table.s2_total.dims, **facts)
    if created:
        facts = json.loads((path / "zarr.json").read_text())["attributes"]["latticescape"]
        attribute("latticescape", {**facts, "created": created})(path)
    return path


def test_what_commands_derived_has_a_kind_and_a_best_fit(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a sweep is the newest that was made from it."""
    monkeypatch.setenv("COLUMNS", "250")
    digest = Store(shutil.copytree(empty, tmp_path / "ising.zarr")).digest
    fit, later = (
        {"T": {"value": v, "se": se, "low68": 0.0}} for v, se in ((2.0, np.nan), (3.0, 0.2))
    )
    old, new = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
    derived(tmp_path / "a" / "fit.zarr", "fit", new, sweep=digest, best_fit=later)
    derived(tmp_path / "b" / "l.zarr", "landscape", old, sweep=digest, best_fit=fit)
    derived(tmp_path / "b" / "other.zarr", "landscape", sweep="0" * 64, best_fit=fit)
    derived(tmp_path / "b" / "phases.zarr", "phase diagram")
    empty_store(tmp_path / "alloy.zarr", alloy_sweep())
    found = {Path(store.store).name: store for store in catalogue(tmp_path)}
    kinds = {name: store.kind for name, store in found.items()}
    assert kinds == {
        "alloy.zarr": "sweep",
        "ising.zarr": "sweep",
        "fit.zarr": "fit",
        "l.zarr": "landscape",
        "other.zarr": "landscape",
        "phases.zarr": "phase diagram",
    }
    assert found["ising.zarr"].best_fit == {"T": {"value": 3.0, "se": 0.2}}
    assert found["alloy.zarr"].best_fit == found["phases.zarr"].best_fit == {}
    assert found["l.zarr"].best_fit == {"T": {"value": 2.0, "se": None}}
    assert found["l.zarr"].axes == {"T": 2}
    assert not any(store.error for store in found.values())
    result = latticescape("list", tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    assert "T = 2 (error unknown)" in words
    assert words.count("T = 3.00 ± 0.20") == 2
    assert json_of("list", tmp_path)["stores"][0]["kind"] == "fit"


@pytest.mark.parametrize(
    "facts",
    [
        7,
        {"kind": "sweep"},
        {"kind": "fit", "best_fit": {"T": 1}},
        {"kind": "fit", "axes": {"T": "many"}},
        {"kind": "fit", "more": 1},
        {},
    ],
)
def test_a_wrong_kind_is_an_error(tmp_path: Path, facts: object) -> None:
    attribute("latticescape", facts)(derived(tmp_path / "l.zarr", "landscape"))
    (store,) = catalogue(tmp_path)
    assert (store.kind, store.best_fit) == ("", {})
    assert "the attribute latticescape cannot be read" in store.error


def test_an_empty_folder_has_no_stores(tmp_path: Path) -> None:
    assert json_of("list", tmp_path) == {"stores": []}
    assert latticescape("list", tmp_path).stdout == f"no stores in {tmp_path}\n"


def metadata(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A change of the metadata of a store."""

    def apply(path: Path) -> None:
        content = json.loads((path / "zarr.json").read_text())
        change(content)
        (path / "zarr.json").write_text(json.dumps(content))

    return apply


def attribute(name: str, value: object) -> Callable[[Path], None]:
    return metadata(lambda content: content["attributes"].update({name: value}))


def foreign(path: Path) -> None:
    shutil.rmtree(path)
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(path, zarr_format=3)


def array(path: Path) -> None:
    shutil.rmtree(path)
    zarr.create_array(path, shape=(2,), dtype="int64")


def pipe(path: Path) -> None:
    (path / "zarr.json").unlink()
    os.mkfifo(path / "zarr.json")


def link(path: Path) -> None:
    (path / "zarr.json").unlink()
    (path / "zarr.json").symlink_to("/etc/passwd")


def folder_of_that_name(path: Path) -> None:
    (path / "zarr.json").unlink()
    (path / "zarr.json").mkdir()


def codec(content: dict[str, Any]) -> None:
    content["consolidated_metadata"]["metadata"]["done"]["codecs"] = [{"name": "numcodecs.pickle"}]


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "other data": (foreign, "is not a store of a sweep"),
    "an array": (array, "does not write"),
    "no JSON": (lambda path: path.joinpath("zarr.json").write_text("{"), "is not a store"),
    "a list": (lambda path: path.joinpath("zarr.json").write_text("[]"), "is not a store"),
    "a pipe": (pipe, "not a regular file"),
    "a link": (link, "not a regular file"),
    "a folder": (folder_of_that_name, "not a regular file"),
    "a codec": (metadata(codec), "does not write"),
    "lost marks": (lambda path: shutil.rmtree(path / "done"), "lost the array done"),
    "no spec": (attribute("spec", "["), "its spec cannot be read"),
    "a spec of numbers": (attribute("spec", 7), "its spec cannot be read"),
    "a spec without axes": (attribute("spec", "grid = 3"), "its spec cannot be read"),
    "no cut": (attribute("block_shape", "x"), "no valid block_shape"),
}


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_damaged_store_is_a_row_that_says_so(empty: Path, tmp_path: Path) -> None:
    for name, (change, _) in DAMAGES.items():
        change(shutil.copytree(empty, tmp_path / name))
    shutil.copytree(empty, tmp_path / "good")
    result = latticescape("list", tmp_path)
    assert result.exit_code == 0, result.exc_info
    assert result.stdout.split().count("error") == len(DAMAGES)
    stores = {Path(store["store"]).name: store for store in json_of("list", tmp_path)["stores"]}
    good = stores.pop("good")
    assert (good["error"], good["points"], good["done"]) == ("", 9, 0)
    assert set(stores) == set(DAMAGES)
    for name, (_, reason) in DAMAGES.items():
        assert reason in stores[name]["error"]
        assert stores[name]["error"] in result.stderr


def test_any_time_of_creation_is_listed(empty: Path, tmp_path: Path) -> None:
    times = ["soon", 7, "2026-01-01", {}, "9999-01-01T00:00:00+00:00"]
    for number, created in enumerate(times):
        attribute("created", created)(shutil.copytree(empty, tmp_path / str(number)))
    result = latticescape("list", tmp_path)
    assert result.exit_code == 0, result.exc_info
    assert result.stdout.count("0/9 done") == len(times)
    assert result.stdout.count("?") == 4


def test_control_characters_are_not_printed(empty: Path, tmp_path: Path) -> None:
    path = shutil.copytree(empty, tmp_path / "s.zarr")
    spec = str(Store(path).group.attrs["spec"])
    attribute("spec", spec.replace('"ising"', '"\\u001b[2J"\nday = 2020-01-01'))(path)
    name = tmp_path / os.fsdecode(b"\x1b]0;\xff.zarr")
    path.rename(name)
    for command, place in (("list", tmp_path), ("info", name)):
        result = latticescape(command, place)
        assert result.exit_code == 0, result.exc_info
        assert "\x1b" not in result.stdout
        assert json.loads(latticescape(command, place, "--json").stdout)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere", ("there is no folder nowhere", "allowed", "latticescape list runs")),
        ("file", ("file is not a folder", "came: a file", "allowed", "latticescape list runs")),
        ("s3://b/runs", ("is not a folder", "came: a URL", "allowed", "latticescape list runs")),
    ],
)
def test_what_is_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(RequestError, match=words[0]):
        catalogue(folder)
    result = latticescape("list", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [word for word in words if word not in result.stderr] == []
