"""The command line as a user or a script meets it; wrong requests are in test_bad_input."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import dask.cli
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from distributed import Client, LocalCluster

from latticescape.deploy.cli.main import main
from latticescape.physics import PairAlloy, Schedule, configurations, triangular
from latticescape.physics.compiled import cache_folder
from latticescape.physics.errors import CancelCheck, never_cancelled
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.sweeps import IncompleteError, Sweep, catalogue, open_sweep, run
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.store import Store, create
from tests.support.runs import SPEC, assert_same_bits

POINTS, SITES, MCS = 9, 36, 20 + 10 * 2
UPDATES = POINTS * 64 * SITES * MCS
ALLOY = Sweep(
    triangular(6),
    PairAlloy(),
    {"x": [0.25, 0.5], "w1": np.linspace(-0.4, 0.4, 5)},
    Schedule(50, 20, 2),
    seed=7,
)


def commands(group: click.Group, before: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Every command, by the words it is called with."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, (*before, name))
        else:
            found[" ".join((*before, name))] = command
    return found


COMMANDS = commands(main)
EXAMPLES = [
    (name, line.strip())
    for name, command in COMMANDS.items()
    for line in str(command.epilog).splitlines()[2:]
]
PNG, HTML = b"\x89PNG", b"<!DOCTYPE html>"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with one worker, both in this process: what a test patches holds in a task."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A spec file in a folder to stand in."""
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(SPEC)
    return "spec.toml"


@pytest.fixture(scope="module")
def alloy(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of an alloy over composition and interaction, computed."""
    store = tmp_path_factory.mktemp("alloy") / "alloy.zarr"
    execute(ALLOY, store, address, progress=False)
    return store


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two images of a random alloy at x = 0.5."""
    classes = configurations("triangular")
    head = ",".join(("centre", "n_b", *classes.pair_names, "multiplicity", "small", "large"))
    rows = [
        ",".join(map(str, (*key, number, 4 * number, 16 * number)))
        for key, number in zip(classes.keys, classes.multiplicity, strict=True)
    ]
    path = tmp_path_factory.mktemp("counts") / "counts.csv"
    path.write_text("\n".join([head, *rows]))
    return path


def latticescape(command: str) -> Result:
    return CliRunner().invoke(main, shlex.split(command), prog_name="latticescape")


def reported(command: str, code: int = 0) -> dict[str, Any]:
    """The one JSON object that a command prints on its one line."""
    result = latticescape(command)
    assert result.exit_code == code, result.output
    (line,) = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line, parse_constant=_no_json)
    return found


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_holds_an_example_of_it(name: str) -> None:
    result = latticescape(f"{name} --help")
    assert result.exit_code == 0
    _, _, examples = result.stdout.partition("Example:\n")
    assert f"  latticescape {name}" in examples


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_can_be_typed(name: str, line: str) -> None:
    typed, _, _ = line.partition(" > ")
    assert typed.startswith(f"latticescape {name}")
    arguments = shlex.split(typed.removeprefix(f"latticescape {name}"))
    assert isinstance(COMMANDS[name].make_context(name, arguments), click.Context)


def test_run_tells_what_it_did(spec: str, address: str) -> None:
    found = reported(f"run {spec} --store new/s.zarr --cluster {address} --block-points 2 --json")
    expected = {
        "store": "new/s.zarr",
        "digest": Sweep.from_toml(SPEC).digest,
        "points": POINTS,
        "blocks": 6,
        "computed": POINTS,
        "computed_blocks": 6,
        "failed": 0,
        "continued": 0,
        "unmet": 0,
        "not_equilibrated": found["not_equilibrated"],
        "taken_over": 0,
        "poisoned": 0,
        "pending": 0,
        "note": "",
        "updates": UPDATES,
        "workers": 1,
        "error": "",
        "lost": False,
    }
    assert {name: found[name] for name in expected} == expected
    # A worker writes one block while it computes the next: its tasks may take longer than the run.
    assert 0 < found["kernel_seconds"] < min(found["worker_seconds"], found["seconds"])
    assert set(found) == {*expected, "seconds", "kernel_seconds", "worker_seconds"}


def test_a_second_run_computes_nothing(spec: str, address: str) -> None:
    command = f"run {spec} --store s.zarr --cluster {address} --json"
    first, second = reported(command), reported(command)
    same = ("store", "digest", "points", "blocks", "failed")
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert (first["computed"], second["computed"]) == (POINTS, 0)
    assert (second["updates"], second["kernel_seconds"]) == (0, 0)


@pytest.mark.usefixtures("processes")
def test_run_on_its_own_cluster_gives_the_same_bits(spec: str, address: str) -> None:
    found = reported(f"run {spec} --store own.zarr --workers 1 --threads 2 --quiet --json")
    assert (found["computed"], found["workers"]) == (POINTS, 1)
    reported(f"run {spec} --store s.zarr --cluster {address} --block-points 4 --json")
    assert_same_bits(Path("own.zarr"), Path("s.zarr"))


def test_run_prints_one_line_for_people(spec: str, address: str) -> None:
    result = latticescape(f"run {spec} --store s.zarr --cluster {address}")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("s.zarr: 9 of 9 points computed, ")
    assert result.stderr == ""


def test_plan_prints_two_lines_for_people(spec: str) -> None:
    summary, kernel = latticescape(f"plan {spec} --block-points 2 --workers 2").stdout.splitlines()
    assert summary.startswith("9 points in 6 blocks, ")
    assert summary.endswith(" on 2 cores")
    assert kernel.endswith(" per second on one core")


def test_verbose_logs_the_steps_and_the_traceback_of_an_error(spec: str) -> None:
    result = latticescape(f"run {spec} --store s.zarr --cluster tcp://h --verbose")
    assert result.exit_code == 2
    assert "connect to tcp://h" in result.stderr
    assert "Traceback" in result.stderr
    assert "Traceback" not in latticescape(f"run {spec} --store s.zarr --cluster tcp://h").stderr


def test_info_describes_a_store(spec: str, address: str) -> None:
    reported(f"run {spec} --store s.zarr --cluster {address} --json")
    facts, sweep = reported("info s.zarr --json"), Sweep.from_toml(SPEC)
    assert facts["digest"] == sweep.digest
    assert facts["lattice"] == {"kind": "square", "size": 6}
    assert facts["model"]["kind"] == "ising"
    assert {name: len(values) for name, values in facts["axes"].items()} == {"T": 3, "H": 3}
    assert (facts["points"], facts["done"], facts["pending"]) == (POINTS, POINTS, 0)
    assert facts["kernel_version"] == f"{sweep.kernel.name} {sweep.kernel.version}"
    assert {"energy", "done"} <= set(facts["variables"])
    assert facts["bytes_stored"] > 0
    shown = latticescape("info s.zarr").stdout
    for words in ("square, size 6", "axis T", "9 points: 9 done", "latticescape", "on disk"):
        assert words in shown, words


def test_plan_tells_numbers_and_creates_nothing(spec: str, tmp_path: Path) -> None:
    found = reported(f"plan {spec} --block-points 2 --workers 3 --json")
    rate = found["updates_per_second"]
    assert rate > 1e4
    assert found["hours"] == pytest.approx(UPDATES / rate / 3 / 3600)
    assert (found["points"], found["blocks"], found["block_shape"]) == (POINTS, 6, [1, 2])
    assert (found["updates"], found["workers"]) == (UPDATES, 3)
    assert found["digest"] == Sweep.from_toml(SPEC).digest
    assert [path.name for path in tmp_path.iterdir()] == [spec]


def test_the_planned_bytes_are_those_of_the_dataset(spec: str, tmp_path: Path) -> None:
    found = reported(f"plan {spec} --no-calibrate --json")
    sweep = Sweep.from_toml(SPEC)
    create(tmp_path / "s.zarr", sweep, plan(sweep))
    assert found["bytes"] == sum(v.nbytes for v in xr.open_zarr("s.zarr").data_vars.values())
    assert (found["updates_per_second"], found["hours"]) == (None, None)


def test_status_tells_how_far_a_store_is(spec: str, address: str, tmp_path: Path) -> None:
    sweep = Sweep.from_toml(SPEC)
    create(tmp_path / "s.zarr", sweep, plan(sweep, block_points=2))
    before = reported("status s.zarr --json")
    reported(f"run {spec} --store s.zarr --cluster {address} --json")
    after = reported("status s.zarr --json")
    fixed = {"store": "s.zarr", "digest": sweep.digest, "points": POINTS, "blocks": 6}
    fixed |= dict.fromkeys(("failed", "poisoned", "running", "blocks_running"), 0)
    fixed |= {"owner": "", "silent": None, "rate": None, "seconds_left": None}
    assert 0 <= after.pop("not_equilibrated") < POINTS
    assert before.pop("not_equilibrated") == 0
    assert before == {**fixed, "done": 0, "pending": POINTS, "blocks_pending": 6}
    assert after == {**fixed, "done": POINTS, "pending": 0, "blocks_pending": 0}


def test_landscape_tells_distances_and_parameters(alloy: Path, counts: Path) -> None:
    found = reported(f"landscape {alloy} {counts} --json")
    assert found["images"] == ["small", "large"]
    assert found["n"] == [4 * 128, 16 * 128]
    assert found["points_missing"] == 0
    assert found["border"] == []
    w1 = found["parameters"]["w1"]
    assert abs(w1["value"]) < 5 * w1["se"]
    assert 0 < w1["se"] < 0.1
    assert len(found["s2"]) == 2
    assert all(0 <= s2 < 0.01 for s2 in [*found["s2"], found["s2_total"]])


def test_fit_tells_intervals_of_the_profile(alloy: Path, counts: Path) -> None:
    row = reported(f"fit {alloy} {counts} --json")["parameters"]["w1"]
    widths = {"low68": -0.994458, "high68": 0.994458, "low95": -1.959964, "high95": 1.959964}
    for name, times in widths.items():
        # Nearly those of a Gaussian.
        assert (row[name] - row["value"]) / row["se"] == pytest.approx(times, rel=0.15), name


def test_fit_tells_quantiles_of_its_draws(alloy: Path, counts: Path) -> None:
    row = reported(f"fit {alloy} {counts} --method bootstrap --draws 200 --json")["parameters"][
        "w1"
    ]
    assert row["low95"] < row["low68"] < row["high68"] < row["high95"]
    assert (row["high68"] - row["low68"]) / row["se"] == pytest.approx(2 * 0.994, abs=0.4)
    assert (row["high95"] - row["low95"]) / row["se"] == pytest.approx(2 * 1.96, abs=0.6)


def test_the_landscape_is_stored_for_any_reader(alloy: Path, counts: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "landscape.zarr"
    reported(f"landscape {alloy} {counts} --out {out} --json")
    landscape = xr.open_zarr(out).load()
    assert landscape.image.values.tolist() == ["small", "large"]
    assert landscape.s2.dims == ("image", "w1")
    assert np.allclose(landscape.w1, np.linspace(-0.4, 0.4, 5))
    assert landscape.s2_total.idxmin() == 0
    (listed,) = catalogue(out.parent)
    (fitted,) = listed.best_fit
    assert (listed.kind, listed.axes, fitted) == ("landscape", {"w1": 5}, "w1")
    assert listed.sweep == open_sweep(alloy).attrs["digest"]
    assert np.isfinite(landscape.s2_total_se).all()
    assert landscape.attrs["degrees_of_freedom"] == 25
    assert landscape.s2.attrs["long_name"]
    assert [path.name for path in out.parent.iterdir()] == ["landscape.zarr"]


def test_the_landscape_is_drawn(alloy: Path, counts: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / "new" / name for name in ("landscape.png", "landscape.html")]
    options = " ".join(f"--picture {path}" for path in pictures)
    reported(f"landscape {alloy} {counts} {options} --json")
    assert_pictures(*pictures)


def test_what_is_not_known_is_null_in_json(address: str, counts: Path, tmp_path: Path) -> None:
    """Two points of an axis hold no parabola: the error of its best value is infinite."""
    sweep = Sweep(ALLOY.lattice, ALLOY.model, {"x": [0.5], "w1": [0, 1]}, ALLOY.schedule)
    execute(sweep, tmp_path / "two.zarr", address, progress=False)
    found = reported(f"landscape {tmp_path}/two.zarr {counts} --json")
    ends = dict.fromkeys(("se", "low68", "high68", "low95", "high95"))
    assert found["parameters"] == {"w1": {"value": 0, **ends}}
    assert found["border"] == ["w1"]


def test_a_variable_is_drawn_where_it_is_asked_for(alloy: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / "new" / name for name in ("energy.png", "energy.html")]
    options = " ".join(f"--out {path}" for path in pictures)
    result = latticescape(f"map {alloy} energy --at x=0.5 {options}")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(path) for path in pictures]
    assert_pictures(*pictures)
    assert "at x = 0.5" in pictures[1].read_text()
    (flagged,) = result.stderr.splitlines()
    assert re.match(r"Note: \d of 10 points are not equilibrated. Try: ", flagged)
    result = latticescape(f"map {alloy} energy --at x=0.45 --out {tmp_path}/near.html")
    assert result.stderr.splitlines() == ["x = 0.45 was not simulated: 0.5 is shown", flagged]


def assert_pictures(png: Path, html: Path) -> None:
    assert png.read_bytes().startswith(PNG)
    assert html.read_bytes().lstrip().lower().startswith(HTML.lower())
    assert {path.name for path in png.parent.iterdir()} == {png.name, html.name}


def test_doctor_finds_a_sound_installation_and_cluster(address: str) -> None:
    found = reported(f"doctor --cluster {address} --json")
    assert found["healthy"] is True
    names = {finding["name"] for finding in found["findings"]}
    expected = {"python", "versions", "package", "extras", "kernel", "vectors", "compiled"}
    assert names >= {*expected, f"cluster {address}"}
    assert all(finding["good"] and finding["detail"] for finding in found["findings"])


def test_doctor_tries_where_a_store_is_to_be(address: str, tmp_path: Path) -> None:
    command = f"doctor --cluster {address} --store {tmp_path / 'runs' / 's.zarr'} --json"
    assert "can be written and locked" in finding(f"store {tmp_path / 'runs' / 's.zarr'}", command)
    assert "all see the store's disk" in finding(f"cluster {address}", command)
    assert not list(tmp_path.iterdir())
    found = reported("doctor --cluster inline --store /proc/s.zarr --json", code=2)
    (bad,) = (finding for finding in found["findings"] if not finding["good"])
    assert bad["name"] == "store /proc/s.zarr"
    assert "cannot write" in bad["detail"]


def finding(name: str, command: str) -> str:
    """The detail of one check."""
    findings = reported(command)["findings"]
    (line,) = (f["detail"] for f in findings if f["name"] == name)
    return str(line)


@pytest.mark.parametrize(
    ("features", "words", "line"),
    [
        ("avx2 avx512f avx512bw", 8, "8 words (512 bits) a register; zen: avx2 avx512f avx512bw"),
        ("sse2 avx2", 4, "4 words (256 bits) a register; zen: avx2"),
        ("sse2", 4, "4 words (256 bits) a register; zen: no known vector extension"),
    ],
)
def test_doctor_tells_the_width_of_a_vector(
    address: str, monkeypatch: pytest.MonkeyPatch, features: str, words: int, line: str
) -> None:
    has = dict.fromkeys(features.split(), True) | {"neon": False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: has)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "zen")
    monkeypatch.setattr("latticescape.deploy.doctor.native_width", lambda: (0,) * words)
    assert finding("vectors", f"doctor --cluster {address} --json") == line


def test_doctor_tells_what_is_compiled_and_compiles_only_if_asked(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(LatticeKernel, "warm_up", lambda self, axes: calls.append(axes))
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    command = f"doctor --cluster {address} --json"
    folder = cache_folder()
    assert finding("compiled", command) == (
        f"none yet: the first run takes about 10 s longer, and fills {folder}"
    )
    (folder / "single_flip_0a1b").mkdir(parents=True)
    for name in ("flip.1.nbc", "flip.2.nbc", "flip.nbi", "lock"):
        (folder / "single_flip_0a1b" / name).touch()
    assert finding("compiled", command) == f"2 functions for this source, in {folder}"
    assert calls == []
    assert "Ising model compiled in" in finding("kernel", f"{command} --compile")
    assert len(calls) == 2


def test_doctor_tells_what_is_wrong_and_what_is_well() -> None:
    found = reported("doctor --cluster lab --json", code=2)
    bad = [finding for finding in found["findings"] if not finding["good"]]
    assert found["healthy"] is False
    assert [finding["name"] for finding in bad] == ["cluster lab"]
    assert "tcp://host:port" in bad[0]["detail"]


def test_doctor_finds_a_folder_that_shadows_the_package(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latticescape").mkdir()
    command = f"doctor --cluster {address} --json"
    assert reported(command)["healthy"] is True  # without __init__.py it does not shadow
    (tmp_path / "latticescape" / "__init__.py").touch()
    findings = reported(command, code=2)["findings"]
    (bad,) = (finding for finding in findings if not finding["good"])
    assert bad["name"] == "package"
    assert f"rename {tmp_path}/latticescape" in bad["detail"]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Kernels fail wherever T is 2.27, until this is undone."""
    compute = LatticeKernel.compute

    def fail(
        self: LatticeKernel,
        points: Mapping[str, npt.NDArray[np.float64]],
        seeds: npt.NDArray[Any],
        watch: CancelCheck = never_cancelled,
    ) -> dict[str, npt.NDArray[Any]]:
        if 2.27 in points["T"]:
            raise ArithmeticError("no such temperature")
        return compute(self, points, seeds, watch)

    with monkeypatch.context() as patch:
        patch.setattr(LatticeKernel, "compute", fail)
        yield patch


def test_points_that_fail_cost_only_themselves(
    spec: str, address: str, tmp_path: Path, failing: pytest.MonkeyPatch
) -> None:
    sweep, broken, whole = Sweep.from_toml(SPEC), tmp_path / "broken.zarr", tmp_path / "whole.zarr"
    with Client(address, set_as_default=False) as client:
        report = execute(sweep, broken, client, block_points=2, progress=False)
        assert (report.failed, report.computed, report.computed_blocks) == (3, 6, 4)
        assert report.updates == UPDATES * 6 // 9
        assert report.error == "ArithmeticError: no such temperature"
        done = xr.DataArray(Store(broken).done(), coords=sweep.axes, dims=("T", "H"))
        assert bool((done == (done["T"] != 2.27)).all())
        failing.undo()
        again = execute(sweep, broken, client, progress=False)
        assert (again.failed, again.computed, again.computed_blocks) == (0, 3, 2)
        execute(sweep, whole, client, progress=False)
    assert_same_bits(whole, broken, attempts=False)


@pytest.mark.usefixtures("failing")
def test_the_exit_code_is_1_if_points_fail(spec: str, address: str) -> None:
    command = f"run {spec} --store s.zarr --cluster {address} --block-points 3 --json"
    found = reported(command, code=1)
    assert (found["failed"], found["computed"], found["points"]) == (3, 6, 9)
    assert found["error"] == "ArithmeticError: no such temperature"
    again = latticescape(command)
    (line,) = again.stderr.splitlines()
    assert line == "Error: 3 points failed: ArithmeticError: no such temperature"
    status = reported("status s.zarr --json")
    assert (status["pending"], status["failed"], status["done"]) == (0, 3, 6)


@pytest.mark.usefixtures("failing")
def test_run_in_python_raises_what_is_incomplete(address: str, tmp_path: Path) -> None:
    with pytest.raises(IncompleteError) as caught:
        run(Sweep.from_toml(SPEC), tmp_path / "s.zarr", address, block_points=9)
    assert caught.value.report.failed == 3
    assert str(caught.value) == (
        f"of 9 points 3 failed, the others are stored in {tmp_path}/s.zarr; run again to continue. "
        "First error: ArithmeticError: no such temperature"
    )


def test_dask_has_the_commands_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong request in a process of its own, the help in this one."""
    command = [sys.executable, "-m", "dask", "sweep", "run", "no.toml", "--store", "s.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: cannot read")
    assert "no.toml" in line
    for arguments, words in (
        (["--help"], ("Sweeps:", "landscape", "doctor")),
        (["run", "--help"], ("--store", "--cluster")),
    ):
        monkeypatch.setattr(dask.cli.cli, "commands", {})  # dask warns of a command that is there
        monkeypatch.setattr(sys, "argv", ["dask", "sweep", *arguments])
        with pytest.raises(SystemExit) as ended:
            dask.cli.run_cli()
        output, errors = capsys.readouterr()
        assert (ended.value.code, errors) == (0, "")
        assert [word for word in words if word not in output] == []
