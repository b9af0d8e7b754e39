"""What a run logs, where, and that nothing else stands on standard error."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributed import Client

from latticescape.deploy.cli.main import is_no_disconnect, main
from latticescape.sweeps import run
from latticescape.sweeps.execution import dask_session
from latticescape.sweeps.execution import run as running
from latticescape.sweeps.execution.fault_tolerance import _retry_plugin
from tests.support.faulty import Axes, preceded
from tests.support.runs import SPEC, ising_sweep

Run = Callable[..., Result]


@pytest.fixture
def inline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a sweep of nine points in nine blocks; each block is followed by a progress line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "PROGRESS_SECONDS", 0.0)
    Path("s.toml").write_text(SPEC)
    command = ["run", "s.toml", "--store", "s.zarr", "--cluster", "inline", "--block-points", "1"]
    return lambda *options: CliRunner().invoke(main, [*command, *options])


def records(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_log_in_json_has_every_event_with_its_fields(inline: Run) -> None:
    result = inline("--log", "run.jsonl", "--log-format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    first, *middle, last = records("run.jsonl")
    assert {"time", "level", "message"} < first.keys()
    assert (first["event"], first["todo"], first["points"], first["blocks"]) == ("started", 9, 9, 9)
    assert (first["workers"], first["store"], first["level"]) == (1, "s.zarr", "info")
    assert [line["event"] for line in middle] == ["progress"] * 9
    assert [line["done"] for line in middle] == [*range(1, 10)]
    assert middle[-1]["seconds_left"] == 0
    assert float(str(middle[0]["updates_per_second"])) > 0
    assert (last["event"], last["computed"], last["failed"]) == ("finished", 9, 0)


def test_a_log_is_appended_to(inline: Run) -> None:
    Path("run.log").write_text("before\n")
    inline("--log", "run.log")
    inline("--log", "run.log", "--quiet")
    lines = Path("run.log").read_text().splitlines()
    assert lines[0] == "before"
    assert "started: 9 of 9 points in 9 blocks, workers 1, store s.zarr" in lines[1]
    assert "1 of 9 points done, " in lines[2]
    assert "finished: 0 computed, 0 failed" in lines[-1]
    assert len(lines) == 1 + 11 + 1


def test_progress_comes_once_a_minute(inline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PROGRESS_SECONDS", 3600.0)
    inline("--log", "run.jsonl", "--log-format", "json")
    assert [line["event"] for line in records("run.jsonl")] == ["started", "finished"]


def test_a_block_that_fails_and_a_run_that_stops_are_logged(
    inline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(points: Axes) -> None:
        if points["T"].max() > 2.5:
            raise ValueError("too hot")

    options = ("--log", "run.jsonl", "--log-format", "json")
    with monkeypatch.context() as patch:
        preceded(patch, fails)
        assert inline(*options).exit_code == 1
    failed = [line for line in records("run.jsonl") if line["event"] == "block failed"]
    assert len(failed) == 3
    assert (failed[0]["level"], failed[0]["points"]) == ("warning", 1)
    assert failed[0]["error"] == "ValueError: too hot"
    assert records("run.jsonl")[-1]["failed"] == 3

    def ends(*_: object) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(running.SweepProgress, "add", ends)
    assert inline(*options).exit_code == 143
    last = records("run.jsonl")[-1]
    assert (last["event"], last["error"]) == ("stopped", "SystemExit: 143")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("no/run.log", "there is no folder for the log"),
        (".", "cannot append to the log"),
        ("s.toml/run.log", "is not a folder"),
    ],
)
def test_a_log_that_cannot_be_written_is_refused_before_the_run(
    inline: Run, path: str, problem: str
) -> None:
    result = inline("--log", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
    assert sorted(entry.name for entry in Path().iterdir()) == ["s.toml"]


def test_a_refused_run_leaves_no_log(inline: Run) -> None:
    assert inline("--log", "run.log", "--workers", "2").exit_code == 2
    assert not Path("run.log").exists()


def test_standard_error_has_the_log_in_a_pipe_but_not_if_quiet(tmp_path: Path) -> None:
    """The messages of a library's use are nobody's until the user configures logging."""
    (tmp_path / "s.toml").write_text(SPEC)
    script = """
import sys
import time
from latticescape.deploy.cli.main import main
for name, options in (("a", []), ("b", ["--quiet"]), ("c", ["--log-format", "json"])):
    print(f"== {name}", file=sys.stderr, flush=True)
    store = ["--store", f"{name}.zarr", "--cluster", "inline"]
    try:
        main(["run", "s.toml", *store, *options])
    except SystemExit as end:
        assert end.code == 0
from latticescape import Sweep, run
print("== python", file=sys.stderr, flush=True)
run(Sweep.from_file("s.toml"), "d.zarr", "inline")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = dict(part.split("\n", 1) for part in done.stderr.split("== ")[1:])
    started, *_, finished = parts["a"].splitlines()
    assert "started: 9 of 9 points" in started
    assert "finished: 9 computed" in finished
    assert (parts["b"], parts["python"]) == ("", "")
    assert json.loads(parts["c"].splitlines()[0])["event"] == "started"


def test_use_as_a_library_logs_to_whom_asks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "latticescape"):
        run(ising_sweep(), tmp_path / "s.zarr", "inline")
    first, last = caplog.messages[0], caplog.messages[-1]
    assert first.startswith("started: 9 of 9 points")
    assert last.startswith("finished: 9 computed, 0 failed, 0 poisoned, 0 pending, ")
    assert {record.name for record in caplog.records} == {running.__name__}


def test_a_lost_worker_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The plugin reports it to the scheduler, and the scheduler to the client."""

    class Reporting:
        tasks: dict[str, object] = {}  # noqa: RUF012

        @staticmethod
        def log_event(topic: str, event: object) -> None:
            client.log_event(topic, event)

    with (
        caplog.at_level(logging.INFO, "latticescape"),
        dask_session._lost_workers_logged(client),
    ):
        end = time.monotonic() + 30
        while not caplog.records and time.monotonic() < end:  # the subscription takes a moment
            _retry_plugin().remove_worker(Reporting(), "tcp://10.0.0.7:4000", stimulus_id="")
            time.sleep(0.05)
    record = caplog.records[0]
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        "worker lost: tcp://10.0.0.7:4000",
    )


def test_only_the_records_of_closed_connections_are_dropped() -> None:
    def kept(text: str) -> bool:
        return is_no_disconnect(logging.LogRecord("d", 20, "p", 1, text, ("x",), None))

    assert not kept("Batched Comm Closed %r")
    assert not kept("Lost connection to %r")
    assert kept("Error in batched write")
    CliRunner().invoke(main, ["cluster", "list"])
    for name in ("distributed.batched", "distributed.core"):
        assert logging.getLogger(name).filters.count(is_no_disconnect) == 1
