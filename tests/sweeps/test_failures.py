"""Points that fail and points that kill: what is stored of them, and that nothing else is lost."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from latticescape.physics import Ising, Schedule, square
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.tasks import RetryState, bisect_failures, compute_block
from latticescape.sweeps.execution.workers import embedded
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.store import DONE, FAILED, PENDING, POISONED, Store, create
from tests.support.faulty import PRELOAD, Axes, preceded
from tests.support.runs import assert_same_bits, ising_sweep


def begun(path: Path, sweep: Sweep, block_points: int) -> Store:
    return create(path, sweep, plan(sweep, block_points=block_points))


def compute(store: Store, number: int = 0):  # type: ignore[no-untyped-def]
    return compute_block(str(store.path), store.identity, number)


def guilty(*places: tuple[float, float]):  # type: ignore[no-untyped-def]
    def before(points: Axes) -> None:
        for place in zip(points["T"], points["H"], strict=True):
            if place in places:
                raise ArithmeticError(f"no point\n at {place[0]:g}")

    return before


def test_points_that_raise_are_stored_as_failed_and_all_others_as_done(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, path, calm = ising_sweep(), tmp_path / "s.zarr", tmp_path / "calm.zarr"
    with monkeypatch.context() as patch:
        calls = preceded(patch, guilty((1.8, 0.5), (3.0, 1.0)))
        report = execute(sweep, path, client, block_points=9)
        assert (report.failed, report.computed, report.poisoned) == (2, 7, 0)
        assert report.error == "ArithmeticError: no point at 1.8"
        assert max(len(call) for call in calls) == 9
        ds = xr.open_zarr(path).load()
        assert ds.state.values.ravel().tolist() == [1, 2, 1, 1, 1, 1, 1, 1, 2]
        assert ds.error.values[0, 1] == "ArithmeticError: no point at 1.8"
        assert ds.error.values[0, 0] == ""
        assert np.array_equal(ds.done, ds.state == DONE)
        assert np.isnan(ds.energy.values[0, 1])
        assert (ds.attempts == 1).all()
        calls.clear()
        again = execute(sweep, path, client)
        assert (again.failed, again.computed) == (2, 0)
        assert {place for call in calls for place in call} == {(1.8, 0.5), (3.0, 1.0)}
        assert xr.open_zarr(path).attempts.values.max() == 2
    assert execute(sweep, path, client).computed == 2
    assert execute(sweep, path, client).computed == 0
    ds = xr.open_zarr(path).load()
    assert (ds.state == DONE).all()
    assert (ds.error == "").all()
    execute(sweep, calm, client, block_points=1)
    assert_same_bits(calm, path, attempts=False)


def test_the_state_is_told_as_the_conventions_want(tmp_path: Path) -> None:
    begun(tmp_path / "s.zarr", ising_sweep(), 9)
    state = xr.open_zarr(tmp_path / "s.zarr").state
    assert state.attrs["flag_meanings"].split()[POISONED] == "poisoned"
    assert state.attrs["flag_values"] == [PENDING, DONE, FAILED, POISONED]


def test_a_ladder_fails_as_a_whole(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep(
        square(6),
        Ising(),
        {"T": [2.0, 2.5, 3.0], "H": [0.0, 0.5]},
        Schedule(10, 4, 2, tempering_mcs=2),
        seed=7,
    )
    with monkeypatch.context() as patch:
        preceded(patch, guilty((2.5, 0.5)))
        report = execute(sweep, tmp_path / "s.zarr", client, block_points=6)
    assert (report.failed, report.computed) == (3, 3)
    states = Store(tmp_path / "s.zarr").states()
    assert states.tolist() == [[DONE, FAILED]] * 3
    execute(sweep, tmp_path / "s.zarr", client)
    execute(sweep, tmp_path / "calm.zarr", client, block_points=6)
    assert_same_bits(tmp_path / "calm.zarr", tmp_path / "s.zarr", attempts=False)


def test_a_set_that_died_is_halved_and_the_guilty_unit_poisoned() -> None:
    """What the worker dies of is unit 5 of 8; every innocent one is stored on the way."""
    note, stored, deaths = None, set[int](), 0
    while True:
        trial = RetryState.of([unit for unit in range(8) if unit not in stored], note)
        if trial.poisoned:
            break
        for _ in range(len(trial.sets)):
            if 5 in trial.sets[0]:
                break
            stored |= set(trial.sets[0])
            trial = replace(trial, sets=trial.sets[1:])
        note, deaths = trial.record(trying=True), deaths + 1
    assert trial.poisoned == (5,)
    assert stored == {0, 1, 2, 3, 4, 6, 7}
    assert deaths == 3 + 3


def test_halves_know_no_more_than_the_units_there_are() -> None:
    found = list(bisect_failures((3,), lambda units: 1 / 0))
    assert [units for units, _ in found] == [(3,)]
    trial = RetryState.of([1, 2], {"trying": [0, 1, 2, 3], "sets": [[4]], "deaths": []})
    assert trial.sets == ((1,), (2,))


def test_one_death_of_an_innocent_block_costs_only_another_grouping(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ising_sweep()
    store = begun(tmp_path / "s.zarr", sweep, 9)
    store.records.write("block-0", {"trying": [*range(9)], "sets": [], "deaths": []})
    with monkeypatch.context() as patch:
        calls = preceded(patch, lambda points: None)
        report = execute(sweep, store.path, client)
    assert [len(call) for call in calls if len(call) > 2] == [4, 5]
    assert (report.computed, report.failed, report.poisoned) == (9, 0, 0)
    assert store.records.names() == []
    assert not (store.location.chunk("done/notes")).exists()
    execute(sweep, tmp_path / "calm.zarr", client, block_points=9)
    assert_same_bits(tmp_path / "calm.zarr", store.path)


def test_what_ends_without_a_death_leaves_no_suspicion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(points: Axes) -> None:
        raise KeyboardInterrupt

    store = begun(tmp_path / "s.zarr", ising_sweep(), 9)
    preceded(monkeypatch, interrupted)
    monkeypatch.setattr("latticescape.sweeps.execution.tasks.warm_up", lambda sweep: None)
    with pytest.raises(KeyboardInterrupt):
        compute(store)
    assert store.records.names() == []
    store.records.write("block-0", {"trying": [3], "sets": [[*range(3)]], "deaths": [[3, 1]]})
    with pytest.raises(KeyboardInterrupt):
        compute(store)
    note = store.records.read("block-0")
    assert note is not None
    assert (note["trying"], dict(note["deaths"])) == ([], {3: 2})


def test_ctrl_c_of_a_run_is_no_death_of_its_blocks(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of this machine's own are killed by it, in the midst of their blocks."""
    store, gate = begun(tmp_path / "s.zarr", ising_sweep(), 1), threading.Event()
    number = itertools.count()

    def wait(points: Axes) -> None:
        if next(number) >= 3:
            gate.wait(60)

    def interrupt(*_: object) -> None:
        if Store(store.path).done().sum() == 3:
            _wait_for_notes(store.path, 2)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        preceded(patch, wait)
        patch.setattr("latticescape.sweeps.execution.run.SweepProgress.add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(ising_sweep(), store.path, client)
        assert [name for name in store.records.names() if name.startswith("block")] == []
        gate.set()
    report = execute(ising_sweep(), store.path, client)
    assert (report.complete, report.poisoned) == (True, 0)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Path]]:
    """Two workers that die or fail where a file says so."""
    faults, preload = tmp_path / "faults", tmp_path / "preload.py"
    preload.write_text(PRELOAD.format(path=str(faults)))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", str([str(preload)]))
    with embedded(workers=2) as client:
        yield client, faults


@pytest.mark.slow
def test_four_guilty_points_are_reported_and_all_others_computed(
    faulty: tuple[Client, Path], tmp_path: Path
) -> None:
    """Three that raise and one that kills its process, in one block, and an innocent one beside."""
    client, faults = faulty
    sweep, path = ising_sweep(points=4), tmp_path / "s.zarr"
    t = sweep.axes["T"].tolist()
    faults.write_text(
        f"raises {t[0]} 0.0\nraises {t[1]} 0.5\nraises {t[3]} 1.0\nkills {t[1]} 1.0\n"
    )
    report = execute(sweep, path, client, block_points=6)
    assert (report.computed, report.failed, report.poisoned) == (8, 3, 1)
    states, store = Store(path).states(), Store(path)
    assert states[1, 2] == POISONED
    assert sorted(map(tuple, np.argwhere(states == FAILED).tolist())) == [(0, 0), (1, 1), (3, 2)]
    assert "died 3 times" in store.error_at((1, 2))
    again = execute(sweep, path, client)
    assert (again.computed, again.failed, again.poisoned) == (0, 3, 1)
    faults.unlink()
    assert execute(sweep, path, client).computed == 3
    assert execute(sweep, path, client).poisoned == 1
    execute(sweep, tmp_path / "calm.zarr", client, block_points=1)
    calm, found = xr.open_zarr(tmp_path / "calm.zarr").load(), xr.open_zarr(path).load()
    done = found.done.values
    assert done.sum() == 11
    for name in ("energy", "histogram_replica", "checksum"):
        assert calm[name].values[done].tobytes() == found[name].values[done].tobytes()


@pytest.mark.slow
def test_kill_9_of_a_worker_costs_no_bit_and_no_point(tmp_path: Path) -> None:
    sweep = ising_sweep(mcs=2_000, points=4)
    with embedded(workers=2) as client:
        pids = list(client.run(os.getpid).values())

        def kill() -> None:
            _wait_for_notes(tmp_path / "s.zarr", 2)
            os.kill(pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        report = execute(sweep, tmp_path / "s.zarr", client, block_points=2)
        killer.join()
        assert (report.computed, report.failed, report.poisoned) == (12, 0, 0)
        assert pids[0] not in client.run(os.getpid).values()
        execute(sweep, tmp_path / "calm.zarr", client, block_points=2)
    assert_same_bits(tmp_path / "calm.zarr", tmp_path / "s.zarr", killed=2)


def _wait_for_notes(path: Path, number: int, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if len(list(path.glob("done/notes/block-*.json"))) >= number:
            return
        time.sleep(0.01)
    raise TimeoutError
