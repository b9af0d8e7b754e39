"""Work left to a scheduler: leases, joining, taking over, cancelling, and who is told what."""

import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, Future, LocalCluster
from rich.console import Console

from latticescape.deploy.cli.store import watch_store
from latticescape.physics import RequestError
from latticescape.physics.errors import Cancelled
from latticescape.sweeps import IncompleteError, Sweep, cancel, kernel, run, status, submit
from latticescape.sweeps.execution.dask_session import DaskSession
from latticescape.sweeps.execution.lease import tasks_known
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.status import DEAD_SECONDS, NAME, Lease, LeaseCheck, read_lease
from latticescape.sweeps.store.store import PENDING, POISONED, Store, create
from tests.support.command_line import json_of, latticescape
from tests.support.faulty import preceded
from tests.support.processes import address_in, dask, eventually
from tests.support.runs import assert_same_bits, ising_sweep


@contextmanager
def scheduler(threads: int = 1) -> Iterator[LocalCluster]:
    """A scheduler that listens, with one worker in this process."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=threads,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with scheduler(threads=2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def calm(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an undisturbed run."""
    path = tmp_path_factory.mktemp("calm") / "calm.zarr"
    execute(ising_sweep(), path, address, progress=False)
    return path


def begun(path: Path, block_points: int = 1) -> Store:
    sweep = ising_sweep()
    return create(path, sweep, plan(sweep, block_points=block_points))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No block is computed before this is set."""
    event = threading.Event()
    preceded(monkeypatch, lambda points: assert_(event.wait(60)))
    yield event
    event.set()


def silenced(store: Store, seconds: float = DEAD_SECONDS) -> None:
    """Let the last sign of life of a lease be that old by the clock of its disk."""
    for record in (Path(store.path) / "done" / "notes").glob("*.json"):
        os.utime(record, (time.time() - seconds,) * 2)


def assert_(fact: bool) -> None:
    assert fact


def test_what_is_submitted_goes_on_without_its_client(
    address: str, calm: Path, tmp_path: Path, gate: threading.Event
) -> None:
    path, sweep = tmp_path / "s.zarr", ising_sweep()
    with Client(address, set_as_default=False) as client:
        job = submit(sweep, path, client, block_points=1)
    lease = read_lease(Store(path).records)
    assert lease is not None
    assert lease.id == job
    eventually(lambda: status(path).blocks_running == 2)
    found = status(path)
    assert (found.points, found.done, found.running, found.pending) == (9, 0, 2, 7)
    assert (found.blocks, found.blocks_running, found.blocks_pending) == (9, 2, 7)
    assert (found.rate, found.seconds_left) == (None, None)
    assert found.active
    assert socket.gethostname() in found.owner
    gate.set()
    eventually(lambda: status(path).complete)
    found = status(path)
    assert (found.running, found.pending, found.active, found.seconds_left) == (0, 0, False, 0)
    assert found.rate is not None
    assert found.rate > 0
    assert_same_bits(calm, path)


def test_a_second_client_joins_and_no_block_is_computed_twice(
    address: str, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sweep = tmp_path / "s.zarr", ising_sweep()
    store = begun(path)
    calls = preceded(monkeypatch, lambda points: time.sleep(0.1))
    with Client(address, set_as_default=False) as client:
        submit(sweep, path, client)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(execute, sweep, path, address, progress=False) for _ in range(2)]
        reports = [future.result() for future in both]
    assert all(report.complete for report in reports)
    assert len(calls) == len(set(map(tuple, calls))) == 9
    assert xr.open_zarr(path).attempts.values.max() == 1
    assert store.records.names() == []
    assert_same_bits(calm, path)


def test_another_scheduler_is_refused_while_the_owner_works(
    address: str, tmp_path: Path, gate: threading.Event
) -> None:
    path, sweep = tmp_path / "s.zarr", ising_sweep()
    begun(path)
    with Client(address, set_as_default=False) as client:
        submit(sweep, path, client)
    with scheduler() as other, pytest.raises(RequestError, match="another scheduler") as caught:
        execute(sweep, path, other.scheduler_address, progress=False)
    assert address in str(caught.value)
    assert f"latticescape cancel {path}" in str(caught.value)
    gate.set()
    eventually(lambda: status(path).complete)


def test_a_dead_schedulers_lease_is_taken_over_at_once(
    address: str, calm: Path, tmp_path: Path
) -> None:
    path, sweep = tmp_path / "s.zarr", ising_sweep()
    store = begun(path)
    with scheduler() as cluster, Client(cluster, set_as_default=False) as client:
        lease, _ = DaskSession(client).acquire(store)
    begin = time.monotonic()
    report = execute(sweep, path, address, progress=False)
    assert time.monotonic() - begin < 10
    assert report.note == f"took over from {lease.owner}, which no longer works on it"
    assert report.complete
    assert store.records.names() == []
    assert_same_bits(calm, path)


def test_a_living_scheduler_without_tasks_of_it_does_not_keep_a_store(
    client: Client, tmp_path: Path
) -> None:
    store = begun(tmp_path / "s.zarr")
    with scheduler() as cluster, Client(cluster, set_as_default=False) as other:
        DaskSession(other).acquire(store)
        lease, note = DaskSession(client).acquire(store)
    assert "took over" in note
    assert read_lease(store.records) == lease


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({"host": "elsewhere", "address": "tcp://127.0.0.1:1"}, True),
        ({"host": "elsewhere", "address": "inproc://elsewhere/1/2"}, True),
        ({"address": "tcp://127.0.0.1:1"}, False),
        ({"scheduler": "one before it at the same address"}, False),
    ],
)
def test_who_cannot_be_asked_works_as_long_as_there_are_signs_of_life(
    client: Client, tmp_path: Path, changes: dict[str, Any], works: bool
) -> None:
    store = begun(tmp_path / "s.zarr")
    lease, _ = DaskSession(client).acquire(store)
    store.records.write(NAME, asdict(replace(lease, **{"scheduler": "another", **changes})))
    if works:
        with pytest.raises(RequestError, match="another scheduler"):
            DaskSession(client).acquire(store)
        silenced(store)
    assert "took over" in DaskSession(client).acquire(store)[1]


def test_a_lease_is_given_back_when_nobody_waits_for_its_tasks(
    client: Client, tmp_path: Path
) -> None:
    store = begun(tmp_path / "s.zarr")
    lease, _ = DaskSession(client).acquire(store)
    future = client.submit(time.sleep, 5, key=lease.key(3), pure=False)
    eventually(lambda: any(tasks_known(client, lease, store.blocks)))
    assert not DaskSession(client).release(store, lease)
    assert read_lease(store.records) == lease
    future.release()
    assert DaskSession(client).release(store, lease)
    assert read_lease(store.records) is None
    assert not DaskSession(client).release(store, lease)


def test_a_client_without_scheduler_leaves_the_lease_and_says_so(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has given its scheduler up can neither ask it nor put blocks on it."""
    module = sys.modules["latticescape.sweeps.execution.dask_session"]
    submit_blocks = module.submit_blocks

    def put_and_closed(client: Client, *given: Any) -> list[Future]:
        futures: list[Future] = submit_blocks(client, *given)
        client.close()
        return futures

    monkeypatch.setattr(module, "submit_blocks", put_and_closed)
    path = tmp_path / "s.zarr"
    with Client(address, set_as_default=False) as client:
        reported = execute(ising_sweep(), path, client, block_points=1, progress=False)
    assert (reported.error, reported.lost, reported.failed) == (
        "the scheduler is lost",
        True,
        0,
    )
    assert read_lease(Store(path).records) is not None


def test_a_task_looks_after_its_lease(client: Client, tmp_path: Path) -> None:
    notes = begun(tmp_path / "s.zarr").records
    lease, _ = DaskSession(client).acquire(Store(tmp_path / "s.zarr"))
    look = LeaseCheck(notes, lease.id)
    look()
    assert notes.read("pulse") is not None
    (tmp_path / "s.zarr" / "done" / "notes" / "lease.json").write_text("{")
    look.look()
    notes.write(NAME, asdict(replace(lease, id="another")))
    look()
    with pytest.raises(Cancelled):
        look.look()
    notes.remove(NAME)
    with pytest.raises(Cancelled):
        look.look()


def test_cancel_is_noticed_inside_a_block_within_seconds(address: str, tmp_path: Path) -> None:
    """The block would take minutes."""
    sweep, path = ising_sweep(mcs=3_000_000), tmp_path / "s.zarr"
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run, sweep, path, address, block_points=9, progress=False)
        eventually(lambda: path.exists() and status(path).blocks_running == 1)
        begin = time.monotonic()
        cancelled = cancel(path)
        with pytest.raises(IncompleteError, match="9 are pending") as caught:
            running.result()
        assert time.monotonic() - begin < 8
    assert cancelled.address == address
    assert "cancelled" in caught.value.report.error
    store = Store(path)
    assert (store.states() == PENDING).all()
    assert store.records.names() == []
    with pytest.raises(RequestError, match="nobody works on the store"):
        cancel(path)


def test_what_was_cancelled_goes_on_when_run_again(
    address: str, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, path = ising_sweep(), tmp_path / "s.zarr"
    begun(path)
    monkeypatch.setattr("latticescape.sweeps.store.status.WATCH_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        preceded(patch, lambda points: time.sleep(1.0))
        with Client(address, set_as_default=False) as client:
            submit(sweep, path, client)
        eventually(lambda: status(path).done >= 2)
        cancel(path)
        eventually(lambda: Store(path).records.names() == [])
    done = status(path).done
    assert done < 9
    report = execute(sweep, path, address, progress=False)
    assert report.complete
    assert 0 < report.computed <= 9 - done  # one that had just been computed may be written yet
    assert_same_bits(calm, path)


def test_retry_failed_tries_poisoned_points_again(address: str, calm: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    store = begun(path, 9)
    store.records.write("block-0", {"trying": [4], "sets": [], "deaths": [[4, 2]]})
    found = latticescape("run", _spec(tmp_path), "--store", path, "--cluster", address, "--json")
    report = json.loads(found.stdout)
    assert found.exit_code == 1
    assert (report["computed"], report["failed"], report["poisoned"]) == (8, 0, 1)
    assert found.stderr.startswith("Error: 1 points are poisoned: the worker died 3 times")
    assert Store(path).states()[1, 1] == POISONED
    assert latticescape("run", _spec(tmp_path), "--store", path).exit_code == 1
    again = json_of("retry-failed", path, "--cluster", address)
    assert (again["computed"], again["poisoned"], again["failed"]) == (1, 0, 0)
    assert json_of("retry-failed", path)["computed"] == 0
    assert_same_bits(calm, path, attempts=False)


def _spec(folder: Path) -> Path:
    (folder / "spec.toml").write_text(ising_sweep().to_toml())
    return folder / "spec.toml"


def test_the_commands_submit_watch_and_cancel(
    address: str, tmp_path: Path, gate: threading.Event
) -> None:
    path, spec = tmp_path / "s.zarr", _spec(tmp_path)
    log = ("--log", tmp_path / "s.jsonl", "--log-format", "json")
    job = json_of("submit", spec, "--store", path, "--cluster", address, "--block-points", 1, *log)
    eventually(lambda: status(path).blocks_running == 2)
    (line,) = (tmp_path / "s.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert (logged["event"], logged["blocks"], logged["workers"]) == ("submitted", 9, 1)
    assert (logged["id"], logged["store"]) == (job["id"], str(path))
    found = json_of("status", path)
    assert (found["running"], found["pending"], found["blocks_running"]) == (2, 7, 2)
    assert json_of("cancel", path)["id"] == job["id"]
    gate.set()
    assert latticescape("watch", path).exit_code == 1
    eventually(lambda: Store(path).records.names() == [])
    json_of("submit", spec, "--store", path, "--cluster", address)
    seen = latticescape("watch", path, "--every", 0.1)
    assert seen.exit_code == 0
    assert "9 done" in seen.stdout
    assert "100%" in seen.stdout


def test_watching_ends_when_there_is_no_sign_of_life(client: Client, tmp_path: Path) -> None:
    store = begun(tmp_path / "s.zarr")
    lease, _ = DaskSession(client).acquire(store)
    out, looks = io.StringIO(), list[float]()

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            silenced(store)

    found = watch_store(store.path, console=Console(file=out, width=100), sleep=sleep)
    assert looks == [1.0] * 3
    assert not found.complete
    assert "9 pending" in out.getvalue()
    assert lease.user in out.getvalue()


def test_waves_bound_what_the_scheduler_holds(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latticescape.sweeps.execution.submit import submit_blocks

    sizes: list[int] = []

    def counted(
        client: Client, store: Store, lease: Lease, blocks: list[Any], base: Store | None
    ) -> Any:
        held = client.run_on_scheduler(
            lambda dask_scheduler: sum("latticescape" in key for key in dask_scheduler.tasks)
        )
        sizes.append(len(blocks) + held)
        return submit_blocks(client, store, lease, blocks, base)

    module = sys.modules["latticescape.sweeps.execution.dask_session"]
    monkeypatch.setattr(module, "submit_blocks", counted)
    monkeypatch.setattr(module, "WAVE", 4)
    assert execute(ising_sweep(), tmp_path / "s.zarr", address, block_points=1).computed == 9
    assert 3 <= len(sizes) <= 6  # four, and then those for which others are done, one or more
    # Those released a moment ago may be there still, but never is all there at once.
    assert max(sizes) < 9


def test_no_worker_waits_for_the_last_of_a_wave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first block ends when the last one has begun: in whole waves it would wait in vain."""

    @kernel("waited", seconds=1.0)
    def last_begins_first_ends(number, begun: int):  # type: ignore[no-untyped-def]
        begin = time.monotonic()
        if number == 8:
            os.write(begun, b".")
        while number == 0 and not os.fstat(begun).st_size and time.monotonic() < begin + 30:
            time.sleep(0.01)
        return time.monotonic() - begin

    monkeypatch.setattr(sys.modules["latticescape.sweeps.execution.dask_session"], "WAVE", 4)
    with (
        (tmp_path / "begun").open("wb") as begun,
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as c,
        Client(c, set_as_default=False) as two,
    ):
        grid = {"number": np.arange(9), "begun": [begun.fileno()]}
        sweep = Sweep(kernel=last_begins_first_ends, grid=grid)
        found = run(sweep, tmp_path / "s.zarr", two, block_points=1)
    assert float(found["waited"].max()) < 30


@pytest.mark.slow
def test_kill_9_of_scheduler_and_client_costs_the_blocks_in_flight(tmp_path: Path) -> None:
    """A scheduler and a worker of their own die: who had left is not told, who waits is."""
    sweep, path = ising_sweep(mcs=10_000), tmp_path / "s.zarr"
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    with (
        dask("scheduler", "--host", "127.0.0.1", "--port", "0", *common, environment={}),
        dask("worker", "--host", "127.0.0.1", "--nthreads", "1", *common, environment={}),
    ):
        address = address_in(file)
        submit(sweep, path, address, block_points=1)
        waiting = ThreadPoolExecutor(1).submit(execute, sweep, path, address, progress=False)
        eventually(lambda: status(path).done >= 2)
    reported = waiting.result()
    done = status(path).done
    assert (reported.pending, reported.failed, reported.error) == (
        9 - done,
        0,
        "the scheduler is lost",
    )
    assert 2 <= done < 9
    report = execute(sweep, path, progress=False)
    assert (report.computed, report.complete) == (9 - done, True)
    assert "took over" in report.note
    with scheduler() as cluster:
        execute(sweep, tmp_path / "calm.zarr", cluster.scheduler_address, progress=False)
    assert_same_bits(tmp_path / "calm.zarr", path)
