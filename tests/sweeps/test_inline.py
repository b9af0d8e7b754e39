"""A sweep that this process computes without a scheduler."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from distributed import Client

from latticescape.deploy.cli.main import main
from latticescape.deploy.clusters.connect import connect
from latticescape.physics.errors import RequestError
from latticescape.sweeps import IncompleteError, Sweep, cancel, open_sweep, run
from latticescape.sweeps.execution.inline import InlineSession
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.store.status import read_lease, status
from latticescape.sweeps.store.store import Store
from tests.support.command_line import latticescape
from tests.support.faulty import Axes, preceded
from tests.support.runs import SPEC, assert_same_bits, ising_sweep

# Minutes long, in blocks of a fraction of a second.
LONG = ising_sweep(mcs=100).lengthened(samples=4000)

SCRIPT = """
import sys
from latticescape import Sweep, run
run(Sweep.from_file(sys.argv[1]), sys.argv[2], "inline", block_points=1)
"""


@pytest.fixture(scope="module")
def embedded_store(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inline") / "embedded.zarr"
    run(ising_sweep(), path, client, block_points=2)
    return path


@pytest.mark.parametrize("threads", [1, 3])
def test_it_computes_the_same_bits(embedded_store: Path, tmp_path: Path, threads: int) -> None:
    path = tmp_path / "inline.zarr"
    report = execute(ising_sweep(), path, InlineSession(threads), block_points=2)
    assert (report.computed, report.workers, report.failed) == (9, 1, 0)
    assert report.updates == ising_sweep().kernel.updates(9)
    assert report.kernel_seconds > 0
    assert_same_bits(embedded_store, path)
    assert status(path).active is False
    assert execute(ising_sweep(), path, "inline").computed == 0


def test_the_word_inline_and_a_connection_are_the_same(
    embedded_store: Path, tmp_path: Path
) -> None:
    run(ising_sweep(), tmp_path / "word.zarr", cluster="inline")
    with connect("inline", threads=2) as session:
        assert isinstance(session, InlineSession)
        run(ising_sweep(), tmp_path / "connection.zarr", session)
        run(ising_sweep(), tmp_path / "again.zarr", session)
    run(ising_sweep(), tmp_path / "context.zarr", connect("inline"))
    for name in ("word", "connection", "again", "context"):
        assert_same_bits(embedded_store, tmp_path / f"{name}.zarr")


def test_points_that_fail_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_above_two(points: Axes) -> None:
        if points["T"].max() > 2.5:
            raise ValueError("too hot")

    with monkeypatch.context() as patch:
        preceded(patch, fails_above_two)
        with pytest.raises(IncompleteError, match="too hot") as caught:
            run(ising_sweep(), tmp_path / "s.zarr", "inline")
    assert (caught.value.report.computed, caught.value.report.failed) == (6, 3)
    assert execute(ising_sweep(), tmp_path / "s.zarr", "inline").computed == 3


def test_another_run_is_refused_while_it_works_and_cancel_stops_it(tmp_path: Path) -> None:
    spec, path = tmp_path / "long.toml", tmp_path / "long.zarr"
    spec.write_text(LONG.to_toml())
    command = [sys.executable, "-c", SCRIPT, str(spec), str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        _wait_for_lease(path)
        with pytest.raises(RequestError, match="another scheduler works on the store"):
            run(LONG, path, "inline")
        assert status(path).active
        cancel(path)
        _, error = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "cancelled" in error
    assert not status(path).active


def test_one_that_is_killed_is_taken_over_at_once(tmp_path: Path) -> None:
    spec, path = tmp_path / "long.toml", tmp_path / "long.zarr"
    spec.write_text(LONG.to_toml())
    command = [sys.executable, "-c", SCRIPT, str(spec), str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        _wait_for_lease(path)
        os.kill(process.pid, signal.SIGKILL)
    assert read_lease(Store(path).records) is not None
    session = InlineSession()
    ours, note = session.acquire(Store(path))
    assert "took over from" in note
    assert session.release(Store(path), ours)


def test_the_command_line_computes_inline(calm: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SPEC)
    path = tmp_path / "s.zarr"
    command = ["run", str(tmp_path / "s.toml"), "--store", str(path), "--cluster", "inline"]
    result = CliRunner().invoke(main, [*command, "--threads", "2"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert_same_bits(calm, path)
    result = CliRunner().invoke(main, [*command, "--workers", "2"])
    assert result.exit_code == 2
    assert "--cluster inline --threads 2" in result.stderr
    submit = ["submit", *command[1:]]
    result = CliRunner().invoke(main, submit)
    assert result.exit_code == 2
    assert "would end with this process" in result.stderr
    doctor = CliRunner().invoke(main, ["doctor", "--cluster", "inline"])
    assert "1 thread(s) of this process" in doctor.output


def test_no_scheduler_is_imported(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SPEC)
    check = "assert 'distributed' not in sys.modules"
    command = [sys.executable, "-c", f"{SCRIPT}\n{check}", str(tmp_path / "s.toml")]
    subprocess.run([*command, str(tmp_path / "s.zarr")], check=True, timeout=600)
    assert open_sweep(tmp_path / "s.zarr").done.all()


def _wait_for_lease(path: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if path.exists() and read_lease(Store(path).records) is not None:
            return
        time.sleep(0.1)
    raise TimeoutError


def test_the_page_on_materials_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ase")
    page = (Path(__file__).parents[2] / "docs" / "howto" / "describe-a-material.md").read_text()
    (spec,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert Sweep.from_toml(spec).shape == (3, 2)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "page", "exec"), names)
    assert names["atoms"].get_chemical_formula() == "O48"


def page_parts(name: str) -> tuple[list[str], str]:
    """The specs of a how-to page, and its Python code."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / f"{name}.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return re.findall(r"```toml\n(.*?)```", page, re.DOTALL), code


def test_the_page_on_lattices_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (spec,), code = page_parts("add-a-lattice")
    assert Sweep.from_toml(spec).shape == (3, 2)
    exec(compile(code, "page", "exec"), {})
    assert capsys.readouterr().out.split("\n")[:3] == ["144 4", "[4]", "[3 2 2]"]


def test_the_page_on_cluster_expansions_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, code = page_parts("bring-a-cluster-expansion")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "page", "exec"), names)
    assert "'V_2': 6, 'V_3': 3" in capsys.readouterr().out
    # Pairs of a random arrangement have the mean spin squared, 1/4.
    hot = names["ecis"]["V_0"] - 0.5 * names["ecis"]["V_1"] + (6 * 0.05 - 3 * 0.01) / 4
    assert float(names["ds"].energy.sel(T=0.5)) == pytest.approx(hot, abs=0.05)


def test_a_model_of_a_script_runs_on_workers_without_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, code = page_parts("add-a-model")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "page", "exec"), names)
    spec = tmp_path / "spec.toml"
    spec.write_text(names["sweep"].to_toml())
    done = latticescape("run", spec, "--store", tmp_path / "again.zarr", "--workers", 1)
    assert done.exit_code == 0, done.output
    again = open_sweep(tmp_path / "again.zarr")
    assert np.array_equal(again.features, names["ds"].features)
    # At K = 0 two Ising models in one: E/N of each at T = 4 by high-temperature expansion.
    ising = -2 * np.tanh(1 / 4)
    cold = float(names["ds"].energy.sel(T=4.0).isel(angle=0))
    assert cold == pytest.approx(2 * ising, abs=0.2)
