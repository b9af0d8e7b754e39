"""Checksums, damaged chunks, full disks: what is stored is known to be what was computed."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import obstore
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from distributed import Client
from obstore.exceptions import GenericError

from latticescape.deploy.cli.main import main
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.sweeps import verify
from latticescape.sweeps.execution.dask_session import DaskSession
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.arrays import canonical, checksums
from latticescape.sweeps.store.atomic_write import UnwritableError, fsync
from latticescape.sweeps.store.status import Lease
from latticescape.sweeps.store.store import PENDING, Store, create
from tests.support.faulty import preceded
from tests.support.runs import assert_same_bits, ising_sweep, undisturbed


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that nobody changes."""
    path = tmp_path_factory.mktemp("integrity") / "s.zarr"
    return undisturbed(ising_sweep(), path, block_points=2)


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Store:
    """The same, to be changed."""
    return Store(Path(shutil.copytree(finished, tmp_path / "s.zarr")))


def latticescape(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_checksum_is_of_a_points_own_bytes() -> None:
    rng = np.random.default_rng(1)
    results = {"a": rng.random((5, 3)), "b": rng.integers(0, 9, 5), "c": rng.random(5) > 0.5}
    whole = checksums(results)
    assert len(set(whole.tolist())) == 5
    alone = [checksums({n: v[i : i + 1] for n, v in results.items()})[0] for i in range(5)]
    assert whole.tolist() == [int(found) for found in alone]
    big = {n: v.astype(v.dtype.newbyteorder(">")) for n, v in results.items()}
    assert checksums(big).tolist() == whole.tolist()
    results["a"][2, 1] = np.nextafter(results["a"][2, 1], 2)
    assert (checksums(results) != whole).tolist() == [False, False, True, False, False]


def test_a_chunk_of_one_kind_of_nan_has_the_checksum_of_another(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk of NaN alone is not written, and read as the fill value: a point's bits would depend
    on its neighbours, and its checksum be wrong."""
    assert np.signbit(canonical(np.array([-np.nan, -1.0]), "float64")).tolist() == [False, True]
    compute = LatticeKernel.compute

    def with_nan(self, points, seeds, *cancel_check):  # type: ignore[no-untyped-def]
        found = compute(self, points, seeds, *cancel_check)
        found["energy_drift"][points["H"] == 0.5] = -np.nan
        return found

    monkeypatch.setattr(LatticeKernel, "compute", with_nan)
    for name, block_points in (("a.zarr", 1), ("b.zarr", 9)):
        execute(ising_sweep(), tmp_path / name, client, block_points=block_points)
        assert verify(tmp_path / name).damages == ()
    assert_same_bits(tmp_path / "a.zarr", tmp_path / "b.zarr")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(64))


def flipped(path: Path) -> None:
    """Another value, in a chunk that can be read."""
    store = Store(path.parents[3])
    energy = store._array("energy")
    energy[1, 0] = np.nextafter(energy[1, 0], 0)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "noise in a variable": (noise, "energy"),
    "an empty file": (emptied, "histogram_replica"),
    "a deleted chunk": (Path.unlink, "moments"),
    "another value": (flipped, "energy"),
    "noise in the checksums": (noise, "checksum"),
    "noise in the states": (noise, "state"),
    "noise in the done marks": (noise, "done"),
    "noise in the attempts": (noise, "attempts"),
}


@pytest.mark.parametrize(("damage", "name"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_and_repaired_to_the_same_bits(
    client: Client, store: Store, finished: Path, damage: Callable[[Path], None], name: str
) -> None:
    block = store.blocks[2]
    damage(store.chunk(name, block))
    found = verify(store.path)
    assert [d.block for d in found.damages] == [2]
    assert found.damages == verify(store.path).damages
    assert verify(store.path, repair=True).damages == found.damages
    assert verify(store.path).damages == ()
    pending = 0 if name == "attempts" else 1 if damage is flipped else block.points
    states = Store(store.path).states()
    assert int((states == PENDING).sum()) == pending
    if pending and name != "done":
        assert np.isnan(xr.open_zarr(store.path).energy.values[states == PENDING]).all()
    assert execute(ising_sweep(), store.path, client).computed == pending
    assert_same_bits(finished, store.path, attempts=False)


def test_points_beside_damaged_ones_keep_the_damage_from_being_written_over(
    client: Client, store: Store
) -> None:
    block = store.blocks[0]
    store.fail(block, np.array([0]), "for once")
    store._put(block, np.array([0]), {"done": False})
    noise(store.chunk("energy", block))
    report = execute(ising_sweep(), store.path, client)
    assert (report.computed, report.failed) == (0, 1)
    assert "is damaged: energy in block 0" in report.error
    verify(store.path, repair=True)
    assert execute(ising_sweep(), store.path, client).computed == 2


def test_the_command_tells_what_is_damaged(store: Store) -> None:
    whole = latticescape("verify", store.path, "--json")
    assert whole.exit_code == 0
    assert json.loads(whole.stdout)["damaged"] == 0
    noise(store.chunk("energy", store.blocks[0]))
    found = latticescape("verify", store.path, "--json")
    assert found.exit_code == 1
    reported = json.loads(found.stdout)
    assert (reported["damaged"], reported["blocks_damaged"], reported["done"]) == (2, 1, 9)
    first, second = found.stderr.splitlines()
    assert first == "Error: block 0: 2 points are damaged; cannot read energy"
    assert second == f"Try: latticescape verify {store.path} --repair"
    assert latticescape("verify", store.path, "--repair").exit_code == 1
    assert latticescape("verify", store.path).exit_code == 0
    assert json.loads(latticescape("status", store.path, "--json").stdout)["pending"] == 2


def test_a_done_mark_follows_what_it_marks_to_the_disk(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk and every folder down to it is flushed, the done mark and its folders last."""
    flushed: list[Path] = []
    monkeypatch.setattr("latticescape.sweeps.store.atomic_write._fsync", flushed.append)
    sweep = ising_sweep()
    store = create(tmp_path / "s.zarr", sweep, plan(sweep, block_points=9))
    execute(sweep, store.path, client)
    (block,) = store.blocks
    names = [v.name for v in sweep.kernel.variables]
    first_mark = flushed.index(store.chunk("done", block))
    assert {store.chunk(name, block) for name in (*names, "state")} <= {*flushed[:first_mark]}
    assert {store.chunk("energy", block).parent, store.path / "energy"} <= {*flushed[:first_mark]}
    assert store.chunk("done", block).parent in flushed[first_mark:]


def test_flushing_asks_the_system_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0").touch()
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.fstat(descriptor).st_ino))
    fsync([tmp_path / "c" / "0", tmp_path / "c" / "none"], below=tmp_path)
    paths = (tmp_path / "c" / "0", tmp_path / "c", tmp_path)
    assert sorted(seen) == sorted(path.stat().st_ino for path in paths)


FULL = """
import resource, sys
from pathlib import Path
from distributed import Client, LocalCluster
from latticescape.sweeps.execution.dask_session import DaskSession
from latticescape.sweeps.execution.run import execute
from latticescape import Sweep
sweep, path = Sweep.from_file(sys.argv[1]), Path(sys.argv[2])
with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
    with Client(cluster, set_as_default=False) as client:
        sweep.kernel.warm_up(sweep.axes)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
        report = execute(sweep, path, client)
        print(report.failed, report.computed, report.error)
"""


@pytest.mark.slow
def test_a_disk_that_is_full_costs_what_it_cannot_take(client: Client, tmp_path: Path) -> None:
    """Files may grow to 2 kB here: notes and marks fit, the counts of three points do not."""
    sweep, path = ising_sweep(), tmp_path / "s.zarr"
    (tmp_path / "spec.toml").write_text(sweep.to_toml())
    create(path, sweep, plan(sweep, block_points=3))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path / "spec.toml"), str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    failed, computed, *error = done.stdout.split()
    assert (failed, computed) == ("9", "0")
    assert " ".join(error).startswith(f"RequestError: cannot write to the store {path}")
    assert "File too large" in done.stdout
    assert not [*path.rglob(".*"), *path.rglob("*.partial")]
    states = Store(path).states()
    assert (states == PENDING).all()
    assert execute(sweep, path, client).computed == 9
    execute(sweep, tmp_path / "calm.zarr", client)
    assert_same_bits(tmp_path / "calm.zarr", path)


def test_no_block_is_computed_for_a_disk_without_space(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zarr"
    store = create(path, ising_sweep(), plan(ising_sweep(), block_points=1))
    calls = preceded(monkeypatch, lambda points: None)
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)._replace(free=100)
        patch.setattr("latticescape.sweeps.store.location.shutil.disk_usage", lambda path: usage)
        report = execute(ising_sweep(), path, client)
    assert calls == []
    assert (report.computed, report.failed, report.pending) == (0, 0, 9)
    assert report.error.startswith(f"cannot write to the store {path} (came: No space left")
    assert report.error.endswith("then run the same command again")
    assert store.records.names() == []
    assert execute(ising_sweep(), path, client).computed == 9


UNWRITABLE = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE, errno.EIO]


# The next test has every number.
@pytest.mark.parametrize("number", UNWRITABLE[::3], ids=errno.errorcode.get)
def test_a_disk_that_cannot_be_written_stops_the_run_at_its_first_block(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Others may have begun before the client heard of it: they wait until it has."""
    path, stopped, release = tmp_path / "s.zarr", threading.Event(), DaskSession.release
    first = iter([True])

    def before(points: object) -> None:
        assert next(first, False) or stopped.wait(60)

    def released(session: DaskSession, store: Store, lease: Lease) -> bool:
        stopped.set()
        return release(session, store, lease)

    calls = preceded(monkeypatch, before)
    create(path, ising_sweep(), plan(ising_sweep(), block_points=1))

    def full(file: Path) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("latticescape.sweeps.store.atomic_write._fsync", full)
        patch.setattr(DaskSession, "release", released)
        report = execute(ising_sweep(), path, client)
    assert (report.failed, report.pending, report.computed) == (0, 9, 0)
    assert f"came: {os.strerror(number)}" in report.error
    assert 1 <= len(calls) < 9
    # A block that had begun may have been stored since.
    assert execute(ising_sweep(), path, client).complete


@pytest.mark.parametrize("number", UNWRITABLE, ids=errno.errorcode.get)
def test_a_disk_that_cannot_be_written_is_reported_when_it_is_run_again(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "s.zarr"
    create(path, ising_sweep(), plan(ising_sweep()))

    def full(*_: object, **__: object) -> None:
        text = f"Unable to copy data to file: {os.strerror(number)} (os error {number})"
        raise GenericError(text)

    monkeypatch.setattr(obstore, "put", full)
    with pytest.raises(UnwritableError, match="cannot write to the store"):
        execute(ising_sweep(), path, client)
    with pytest.raises(UnwritableError, match="cannot write to the store"):
        execute(ising_sweep(), path, client, poisoned=True)


def test_marks_that_are_damaged_meanwhile_are_told(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zarr"
    store = create(path, ising_sweep(), plan(ising_sweep(), block_points=3))

    def damaging(*_: object) -> None:
        for block in store.blocks[:1]:
            if store.chunk("done", block).exists():
                noise(store.chunk("done", block))

    with monkeypatch.context() as patch:
        patch.setattr("latticescape.sweeps.execution.run.SweepProgress.add", damaging)
        report = execute(ising_sweep(), path, client)
    assert (report.pending, report.failed) == (3, 0)
    assert "latticescape verify" in report.error
    verify(path, repair=True)
    assert execute(ising_sweep(), path, client).complete


def test_a_record_that_cannot_be_written_leaves_nothing(store: Store) -> None:
    """In a process of its own, whose files may have no more than a few bytes."""
    code = f"""
import os, resource
from pathlib import Path
from latticescape.sweeps.store.object_store import FolderObjects, Records
records = Records(FolderObjects(Path({str(store.path)!r})))
records.write("block-0", {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
try:
    records.write("block-0", {{"trying": [0]}})
except OSError as error:
    os._exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == errno.EFBIG
    assert store.records.names() == ["block-0"]
    assert store.records.read("block-0") == {}
    folder = store.location.chunk("done/notes")
    assert isinstance(folder, Path)
    assert [path.name for path in folder.iterdir()] == ["block-0.json"]
    store.records.remove("block-0")
    assert not folder.exists()
