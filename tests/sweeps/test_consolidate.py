"""Packed stores: the same bits in a few files, read by all, written by nobody."""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner, Result
from distributed import Client

from latticescape.deploy.cli.main import main
from latticescape.physics.errors import RequestError
from latticescape.sweeps import cancel, consolidate, open_sweep, run, status, submit, verify
from latticescape.sweeps.execution.dask_session import DaskSession
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.atomic_write import fsync
from latticescape.sweeps.store.store import FAILED, POISONED, Store, create
from tests.support.runs import alloy_sweep, assert_same_bits, ising_sweep

SWEEP = ising_sweep(points=5)
MODULE = import_module("latticescape.sweeps.store.consolidate")  # not the function of that name


@pytest.fixture(scope="module")
def finished(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 points in 10 blocks, which nobody changes."""
    path = tmp_path_factory.mktemp("pack") / "s.zarr"
    execute(SWEEP, path, client, block_points=2)
    return path


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "own.zarr"))


@contextmanager
def no_cluster() -> Iterator[Client]:
    pytest.fail("a cluster was started")
    yield


def latticescape(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def chunk_files(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file() and path.name != "zarr.json"]


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("shard_bytes", [1, 3000, 2**27])
def test_a_packed_store_has_the_same_bits_whatever_its_shards(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(MODULE, "SHARD_BYTES", shard_bytes)
    out = tmp_path / "new" / "p.zarr"
    reported = consolidate(finished, out)
    assert_same_bits(finished, out)
    before, after = (zarr.open_group(path, mode="r") for path in (finished, out))
    assert before.attrs.asdict() == after.attrs.asdict()
    assert list(before.array_keys()) == list(after.array_keys())
    for name, array in before.arrays():
        new = after[name]
        assert isinstance(new, zarr.Array)
        assert new.attrs.asdict() == array.attrs.asdict()
        assert new.metadata.dimension_names == array.metadata.dimension_names
        np.testing.assert_equal(new.fill_value, array.fill_value)
        assert (new.dtype, new.chunks) == (array.dtype, array.chunks)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert (reported.files, reported.bytes) == (
        len(files),
        sum(path.stat().st_size for path in files),
    )
    assert (reported.points, reported.done, reported.store) == (15, 15, str(out))


def test_few_files_hold_all_blocks(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consolidate(finished, tmp_path / "p.zarr")
    sizes = zarr.open_group(finished, mode="r")
    written = [name for name, _ in sizes.arrays() if (finished / name / "c").exists()]
    assert len(chunk_files(tmp_path / "p.zarr")) == len(written)
    assert len(chunk_files(finished)) > 5 * len(written)
    chunk = int(np.prod(Store(finished).group["moments"].chunks)) * 8  # type: ignore[union-attr]
    monkeypatch.setattr(MODULE, "SHARD_BYTES", 2 * chunk)
    consolidate(finished, tmp_path / "more.zarr")
    # 5 x 2 blocks of a row's two and one points, two blocks a shard, so a shard a row.
    assert len(chunk_files(tmp_path / "more.zarr" / "moments")) == 5
    assert len(chunk_files(tmp_path / "more.zarr" / "energy")) == 1


def test_alloys_and_words_are_packed(client: Client, tmp_path: Path) -> None:
    run(alloy_sweep(), tmp_path / "s.zarr", client, block_points=1)
    consolidate(tmp_path / "s.zarr", tmp_path / "p.zarr")
    assert_same_bits(tmp_path / "s.zarr", tmp_path / "p.zarr")
    consolidate(tmp_path / "p.zarr", tmp_path / "again.zarr")
    assert_same_bits(tmp_path / "s.zarr", tmp_path / "again.zarr")


def test_all_that_reads_a_store_reads_a_packed_one(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.zarr"
    consolidated = latticescape("consolidate", finished, out, "--json")
    assert consolidated.exit_code == 0, consolidated.output
    assert '"done": 15' in consolidated.stdout
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as where consolidated metadata is missing
        assert xr.open_zarr(out).identical(xr.open_zarr(finished))
        assert open_sweep(out).identical(open_sweep(finished))
    assert status(out).complete
    assert verify(out).damages == ()
    for arguments in (["status", out], ["verify", out], ["verify", out, "--repair"]):
        assert latticescape(*arguments).exit_code == 0
    picture = tmp_path / "energy.png"
    drawn = latticescape("map", out, "energy", "--out", picture)
    assert drawn.exit_code == 0, drawn.output
    assert picture.stat().st_size


def test_a_packed_store_is_complete_and_is_not_written(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.zarr"
    consolidate(finished, out)
    before = everything(out)
    assert execute(SWEEP, out, no_cluster()).complete
    assert execute(SWEEP, out, no_cluster(), poisoned=True).complete
    assert run(SWEEP, out, no_cluster()).identical(open_sweep(finished))
    assert submit(SWEEP, out, no_cluster()) == ""
    retried = latticescape("retry-failed", out, "--json")
    assert retried.exit_code == 0
    assert '"computed": 0' in retried.stdout
    assert everything(out) == before


def test_no_block_of_a_packed_store_can_be_written(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.zarr"
    consolidate(finished, out)
    before, store = everything(out), Store(out)
    block, points = store.blocks[3], np.array([0])
    results = {v.name: store.read(v.name, block) for v in SWEEP.kernel.variables}
    for write in (
        lambda: store.write(block, results),
        lambda: store.fail(block, points, "an error"),
        lambda: store.reset(block, points),
        lambda: store.erase("energy", block),
    ):
        with pytest.raises(RequestError, match=r"consolidated.* Try: write to the original"):
            write()
    assert everything(out) == before


def unfinished(path: Path) -> Store:
    """A store with points in every state but done."""
    store = create(path, SWEEP, plan(SWEEP, block_points=2))
    store.fail(store.blocks[0], np.array([0]), "an error")
    store.fail(store.blocks[0], np.array([1]), "another", state=POISONED, attempts=3)
    return store


def test_an_unfinished_store_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    store = unfinished(tmp_path / "s.zarr")
    with pytest.raises(
        RequestError, match=r"of 15 points 13 pending, 1 failed, 1 poisoned"
    ) as reported:
        consolidate(store.path, tmp_path / "p.zarr")
    assert reported.value.hint.startswith(f"latticescape retry-failed {store.path}")
    create(tmp_path / "new.zarr", SWEEP, plan(SWEEP))
    with pytest.raises(RequestError, match=r"15 pending.* Try: latticescape run, or --partial"):
        consolidate(tmp_path / "new.zarr", tmp_path / "p.zarr")
    assert not (tmp_path / "p.zarr").exists()


def test_a_part_is_packed_if_asked_for_and_never_goes_on(own: Path, tmp_path: Path) -> None:
    store, out = Store(own), tmp_path / "p.zarr"
    store.reset(store.blocks[0], np.array([0, 1]), results=True)
    store.fail(store.blocks[0], np.array([1]), "an error", state=POISONED)
    consolidated = latticescape("consolidate", own, out, "--partial", "--json")
    assert consolidated.exit_code == 0, consolidated.output
    assert_same_bits(own, out)
    assert (status(out).pending, status(out).poisoned, status(out).done) == (1, 1, 13)
    before = everything(out)
    refused = {
        "run": lambda: run(SWEEP, out, no_cluster()),
        "submit": lambda: submit(SWEEP, out, no_cluster()),
        "retry-failed": lambda: execute(SWEEP, out, no_cluster(), poisoned=True),
    }
    for name, work in refused.items():
        with pytest.raises(RequestError, match=r"p\.zarr is consolidated"):
            pytest.fail(f"{name} gave {work()}")
    assert everything(out) == before


def test_a_failed_point_of_a_part_keeps_its_error(tmp_path: Path) -> None:
    store = unfinished(tmp_path / "s.zarr")
    consolidate(store.path, tmp_path / "p.zarr", partial=True)
    consolidated = Store(tmp_path / "p.zarr")
    assert consolidated.error_at((0, 0)) == "an error"
    assert consolidated.states_of(consolidated.blocks[0]).tolist() == [FAILED, POISONED]


def test_a_store_at_work_is_refused(client: Client, own: Path, tmp_path: Path) -> None:
    store = Store(own)
    store.reset(store.blocks[0], np.array([0]))
    DaskSession(client).acquire(store)
    for partial in (False, True):
        with pytest.raises(RequestError, match=r"somebody works on .* latticescape watch"):
            consolidate(own, tmp_path / "p.zarr", partial=partial)
    cancel(own)
    assert consolidate(own, tmp_path / "p.zarr", partial=True).done == 14


def test_a_damaged_store_is_refused_naming_its_blocks(own: Path, tmp_path: Path) -> None:
    store, out = Store(own), tmp_path / "new" / "p.zarr"
    energy = store.chunk("energy", store.blocks[7])
    whole = energy.read_bytes()
    for damage in (b"noise", None):
        if damage is None:  # another value, in a chunk that can be read
            energy.write_bytes(whole)
            store.chunk("moments", store.blocks[7]).unlink()
        else:
            energy.write_bytes(damage)
        refused = latticescape("consolidate", own, out)
        assert refused.exit_code == 2
        assert f"the store {own} is damaged (came: 1 damaged blocks: 7;" in refused.stderr
        assert f"latticescape verify {own} --repair" in refused.stderr
        assert not out.parent.exists()


def test_a_copy_that_is_not_what_was_read_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(group: Path) -> None:
        shard = group / "energy" / "c" / "0" / "0"
        shard.write_bytes(shard.read_bytes()[::-1])

    monkeypatch.setattr(MODULE, "consolidate_metadata", noisy)
    with pytest.raises(RequestError, match="differs from it"):
        consolidate(finished, tmp_path / "p.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_it_leaves_nothing(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    calls = []

    def failing(array: zarr.Array, region: object) -> object:
        calls.append(region)
        if len(calls) == 9:
            raise error
        return read(array, region)

    read = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", failing)
    expected = RequestError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        consolidate(finished, tmp_path / "new" / "p.zarr")
    assert list(tmp_path.iterdir()) == []


def test_all_files_are_flushed_before_the_store_has_its_name(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []

    def noted(paths, *, below):  # type: ignore[no-untyped-def]
        flushed.extend(map(Path, paths))
        fsync(flushed, below=below)

    monkeypatch.setattr(MODULE, "fsync", noted)
    consolidate(finished, tmp_path / "p.zarr")
    assert flushed[-1] == tmp_path / "p.zarr"
    draft = flushed[0].relative_to(tmp_path).parts[0]
    assert draft.startswith(".p.zarr.")
    names = {path.relative_to(tmp_path / draft) for path in flushed[:-1]}
    assert names == {p.relative_to(flushed[-1]) for p in flushed[-1].rglob("*") if p.is_file()}


def test_a_damaged_packed_store_is_named_and_not_repaired(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.zarr"
    consolidate(finished, out)
    shard = out / "energy" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-40])
    assert len(verify(out).damages) == 10
    before = everything(out)
    reported = latticescape("verify", out)
    assert reported.exit_code == 1
    assert "--repair" not in reported.stderr
    refused = latticescape("verify", out, "--repair")
    assert refused.exit_code == 2
    assert "is consolidated" in refused.stderr
    assert everything(out) == before
