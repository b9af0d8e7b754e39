"""A run waits for nothing without saying why, and for nothing that never comes."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, Worker

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution import admission, dask_session, submit, workers
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.tasks import compute_block
from latticescape.sweeps.execution.workers import check_reach, check_workers
from latticescape.sweeps.store.location import locate
from tests.support.processes import eventually
from tests.support.runs import assert_same_bits, ising_sweep

# Ports where nothing listens, so that the scheduler cannot connect to such a worker.
UNREACHABLE = ("tcp://127.0.0.1:9", "tcp://127.0.0.1:11")
JOINED = list[Worker]()


@pytest.fixture
def idle() -> Iterator[Client]:
    """A client of a scheduler without workers."""
    settings = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=0, processes=False, **settings) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
        while JOINED:
            client.sync(JOINED.pop().close)


def join(client: Client, **options: Any) -> str:
    """Start a worker in the client's thread, and return its address."""

    async def start() -> Worker:
        return await Worker(client.scheduler.address, host="127.0.0.1", nthreads=1, **options)

    JOINED.append(client.sync(start))
    return str(JOINED[-1].address)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "REACH_SECONDS", 0.5)


def test_an_unreachable_worker_alone_is_named(idle: Client) -> None:
    join(idle, contact_address=UNREACHABLE[0])
    with pytest.raises(RequestError, match="has no workers") as caught:
        check_workers(idle, timeout=2)
    words = f"{UNREACHABLE[0]}: the scheduler cannot connect to it: "
    assert str(caught.value.came).startswith(words)
    assert not idle.nthreads()


def test_a_run_goes_on_without_unreachable_workers(
    idle: Client, client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One is there before the run, and one joins later."""
    join(idle, contact_address=UNREACHABLE[0])
    good = join(idle)
    execute(ising_sweep(), tmp_path / "calm.zarr", client)
    with caplog.at_level(logging.WARNING, "latticescape"):
        report = execute(ising_sweep(), tmp_path / "s.zarr", idle, block_points=1)
        assert (report.complete, report.workers) == (True, 1)
        join(idle, contact_address=UNREACHABLE[1])
        eventually(lambda: list(idle.nthreads()) == [good], 20)
    assert f"worker refused: {UNREACHABLE[0]}: the scheduler cannot connect to it" in caplog.text
    assert f"{UNREACHABLE[1]} refused: the scheduler cannot connect to it" in caplog.text
    assert_same_bits(tmp_path / "calm.zarr", tmp_path / "s.zarr")


def test_a_run_ends_when_all_is_on_disk_although_no_receipt_comes(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a worker that cannot be reached any more (dask/distributed#3798)."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(client, "gather", never)
    monkeypatch.setattr(dask_session, "GATHER_SECONDS", 0.2)
    report = execute(ising_sweep(), tmp_path / "s.zarr", client, block_points=4)
    assert (report.complete, report.computed, report.error) == (True, 9, "")


def test_a_run_ends_when_all_is_on_disk_although_no_task_ends(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hung(*arguments: Any) -> object:
        result = compute_block(*arguments)
        time.sleep(3)
        return result

    monkeypatch.setattr(submit, "compute_block", hung)
    monkeypatch.setattr(dask_session, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(dask_session, "POLL_SECONDS", 0.1)
    report = execute(ising_sweep(), tmp_path / "s.zarr", client)
    assert (report.complete, report.computed, report.error) == (True, 9, "")
    assert report.kernel_seconds == 0  # no task has reported


def test_a_run_without_workers_says_so_and_gives_up(
    idle: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "check_workers", lambda client: 0)
    monkeypatch.setattr(dask_session, "REPORT_SECONDS", 0.3)
    monkeypatch.setattr(dask_session, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(dask_session, "PATIENCE_SECONDS", 1.0)
    with caplog.at_level(logging.WARNING, "latticescape"):
        report = execute(ising_sweep(), tmp_path / "s.zarr", idle, progress=False)
    reason = f"the scheduler at {idle.scheduler.address} has no workers"
    assert report.error.startswith(reason)
    assert (report.computed, report.failed, report.pending) == (0, 0, 9)
    waits = [record for record in caplog.messages if record.startswith("waiting for")]
    assert len(waits) >= 2
    assert all(reason in wait and f"dask worker {idle.scheduler.address}" in wait for wait in waits)


def test_a_worker_with_another_disk_is_named(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.time, "sleep", lambda seconds: None)
    check_reach(client, locate(tmp_path / "new" / "s.zarr"))
    place = locate(tmp_path / "s.zarr")
    monkeypatch.setattr(workers, "locate", lambda address: locate(tmp_path / "other" / "s.zarr"))
    (tmp_path / "other").mkdir()
    with pytest.raises(RequestError, match="has another disk at") as caught:
        check_reach(client, place)
    assert next(iter(client.nthreads())) in caught.value.problem
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert not list((tmp_path / "other").iterdir())
