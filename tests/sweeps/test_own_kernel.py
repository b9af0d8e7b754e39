"""A user's own function as a kernel: the same seeds, stores, resuming and refusals as a model's."""

import importlib.util
import json
import linecache
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from latticescape.deploy.cli.main import main
from latticescape.physics import RequestError, Variable
from latticescape.physics.kernels.streams import next_uniform
from latticescape.physics.variables import BOOKKEEPING
from latticescape.sweeps import (
    FunctionKernel,
    IncompleteError,
    Sweep,
    kernel,
    measure_rate,
    open_sweep,
    plan,
    run,
    submit,
)
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.workers import embedded
from latticescape.sweeps.functions.function import OutputError
from latticescape.sweeps.functions.source_digest import Source
from latticescape.sweeps.spec.sweep import point_seeds
from latticescape.sweeps.store.store import Store
from tests.support.own_kernels import cluster_numbers, logistic, percolation, period_two
from tests.support.runs import assert_same_bits

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_modules() -> Iterator[None]:
    """A test's own modules are gone after it."""
    yield
    for name in ("own", "nearby"):
        sys.modules.pop(name, None)


def logistic_sweep() -> Sweep:
    return Sweep(kernel=logistic, grid={"r": [3.1, 3.2, 3.3, 3.4, 4.0], "x0": [0.2, 0.3]}, seed=7)


def percolation_sweep() -> Sweep:
    return Sweep(kernel=percolation, grid={"p": {"start": 0.1, "stop": 0.7, "num": 7}}, seed=7)


SWEEPS = {"logistic": logistic_sweep, "percolation": percolation_sweep}


def computed(sweep: Sweep, points: list[dict[str, float]]) -> dict[str, np.ndarray]:
    axes = {name: np.array([point[name] for point in points]) for name in sweep.axes}
    return sweep.kernel.compute(axes, point_seeds(sweep.seed, map(sweep.kernel.parameters, points)))


def imported(folder: Path, text: str, name: str = "own") -> ModuleType:
    """A module of that text, with the imports that a kernel needs."""
    path = folder / f"{name}.py"
    imports = (
        "import functools\nimport numpy as np\nfrom numba import njit\n"
        "from latticescape import Variable, kernel\n"
    )
    path.write_text(imports + text)
    # Files of one second may be of one size.
    linecache.clearcache()
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_store_of_an_own_kernel_is_a_dataset_as_any_other(client: Client, tmp_path: Path) -> None:
    ds = run(percolation_sweep(), tmp_path / "p.zarr", client)
    marks = {variable.name for variable in BOOKKEEPING}
    assert {n: (v.dims, v.dtype) for n, v in ds.data_vars.items() if n not in marks} == {
        "clusters": (("p", "size"), np.float64),
        "clusters_se": (("p", "size"), np.float64),
        "occupied": (("p",), np.int64),
    }
    assert marks < set(ds.data_vars)
    assert ds["size"].values.tolist() == [1, 2, 3, 4, 5]
    assert ds.clusters.attrs == {"long_name": "clusters of a size per site", "units": "1/site"}
    assert ds.p.attrs == {"long_name": "probability that a site is occupied", "units": "1"}
    assert ds.attrs["function"] == "tests.support.own_kernels:percolation"
    assert "np.roll(occupied" in ds.attrs["function_text"]
    assert {"spec", "digest", "versions", "git_revision", "seed", "block_shape"} <= set(ds.attrs)


def test_the_logistic_map_has_its_known_exponents(client: Client, tmp_path: Path) -> None:
    ds = run(logistic_sweep(), tmp_path / "l.zarr", client).load()
    for r in (3.2, 3.3, 3.4):
        assert np.allclose(ds.lyapunov.sel(r=r), period_two(r), atol=1e-9)
    assert np.allclose(ds.lyapunov.sel(r=4.0), np.log(2), atol=0.02)


@pytest.mark.statistical
def test_percolation_agrees_with_the_exact_numbers_and_not_with_wrong_ones() -> None:
    grid = {"p": [0.3, 0.4, 0.5], "chains": [4000]}
    found = computed(sweep := Sweep(kernel=percolation, grid=grid, seed=3), points_of(sweep))
    for index, p in enumerate(grid["p"]):
        estimate, error = found["clusters"][index], found["clusters_se"][index]
        assert np.all(np.abs(estimate - cluster_numbers(p)) < 5 * error)
        assert np.any(np.abs(estimate - cluster_numbers(1.1 * p)) > 5 * error)


def points_of(sweep: Sweep) -> list[dict[str, float]]:
    return sweep.coordinates((slice(None),) * len(sweep.shape))


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(7)), first=st.integers(1, 6))
def test_a_points_bits_do_not_depend_on_its_companions(order: list[int], first: int) -> None:
    sweep = percolation_sweep()
    points = points_of(sweep)
    whole = computed(sweep, points)
    chosen = [points[i] for i in order]
    parts = [computed(sweep, chosen[:first]), computed(sweep, chosen[first:])]
    for name, values in whole.items():
        again = np.concatenate([part[name] for part in parts])
        assert again.tobytes() == values[order].tobytes(), name


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("block_points", [2, 100])
def test_any_cut_gives_the_same_bits(
    client: Client, tmp_path: Path, name: str, block_points: int
) -> None:
    run(SWEEPS[name](), tmp_path / "one.zarr", client, block_points=1)
    run(SWEEPS[name](), tmp_path / "cut.zarr", client, block_points=block_points)
    assert_same_bits(tmp_path / "one.zarr", tmp_path / "cut.zarr")


def test_a_default_that_becomes_an_axis_keeps_every_bit() -> None:
    fixed = percolation_sweep()
    swept = Sweep(kernel=percolation, grid={"chains": [20, 40], "p": fixed.grid["p"]}, seed=7)
    old, new = computed(fixed, points_of(fixed)), computed(swept, points_of(swept))
    for name, values in old.items():
        assert new[name][7:].tobytes() == values.tobytes()
        assert new[name][:7].tobytes() != values.tobytes()


def test_two_seeds_give_other_bits_and_a_generator_of_their_own_to_every_point() -> None:
    @kernel("number")
    def number(T, rng):  # type: ignore[no-untyped-def]
        return rng.random()

    grid = {"T": [0.0, 1.0, 2.0]}
    sweeps = [Sweep(kernel=number, grid=grid, seed=seed) for seed in (1, 2)]
    found = [computed(sweep, points_of(sweep))["number"] for sweep in sweeps]
    assert len(set(np.concatenate(found))) == 6


def test_a_function_of_numba_may_ask_for_the_seed_itself() -> None:
    @kernel("number", Variable("words", ("word",), "uint64"), dims={"word": 4})
    @njit
    def number(T, seed):  # type: ignore[no-untyped-def]
        return next_uniform(seed), seed

    sweep = Sweep(kernel=number, grid={"T": [1.0, 2.0]}, seed=1)
    found = computed(sweep, points_of(sweep))
    seeds = point_seeds(1, points_of(sweep))
    assert found["number"].tolist() == [next_uniform(seed) for seed in seeds]
    assert np.array_equal(found["words"], seeds)


def test_only_blocks_without_a_done_mark_are_computed_again(client: Client, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.zarr", tmp_path / "damaged.zarr"
    for path in (whole, damaged):
        first = execute(percolation_sweep(), path, client, block_points=2)
    assert (first.points, first.blocks, first.computed, first.updates) == (7, 4, 7, 7)
    block = Store(damaged).blocks[2]
    zarr.open_array(damaged / "clusters", mode="r+")[block.region] = np.nan
    zarr.open_array(damaged / "done", mode="r+")[block.region] = False
    again = execute(percolation_sweep(), damaged, client)
    assert (again.computed, again.computed_blocks) == (2, 1)
    assert_same_bits(whole, damaged, attempts=False)
    assert execute(percolation_sweep(), damaged, client).computed == 0


@pytest.mark.slow
def test_workers_import_an_importable_kernel_by_its_name(client: Client, tmp_path: Path) -> None:
    with embedded(workers=2) as workers:
        for name, sweep in SWEEPS.items():
            run(sweep(), tmp_path / f"{name}.zarr", workers, block_points=1)
            run(sweep(), tmp_path / f"{name} here.zarr", client)
            assert_same_bits(tmp_path / f"{name}.zarr", tmp_path / f"{name} here.zarr")
    assert b"np.roll" not in pickle.dumps(percolation_sweep())


SCRIPT = """\
import sys
from latticescape import Sweep, kernel
from latticescape.sweeps.execution.run import execute
from neighbour import shift

rate = 2.0

def scaled(x):
    return rate * x + shift

@kernel("energy", seconds=1.0)
def energy(T):
    return scaled(T)

report = execute(Sweep(kernel=energy, grid={"T": [1.0, 2.0, 3.0]}), "s.zarr")
print(report.computed, report.workers > 0)
"""


@pytest.mark.slow
def test_a_kernel_of_a_script_is_packed_resumed_and_refused_when_changed(tmp_path: Path) -> None:
    """Without a main guard; the folder of the script is on the path of the workers."""
    (tmp_path / "neighbour.py").write_text("shift = 1.0\n")
    assert told_by(tmp_path, SCRIPT) == "3 True"
    assert open_sweep(tmp_path / "s.zarr").energy.values.tolist() == [3.0, 5.0, 7.0]
    harmless = SCRIPT.replace("    return rate", "\n    # twice\n    return rate")
    harmless = harmless.replace("seconds=1.0", "seconds=2.0") + "def other(): ...\n"
    assert told_by(tmp_path, harmless) == "0 False"
    refused = told_by(tmp_path, SCRIPT.replace("rate = 2.0", "rate = 2.5"))
    assert "RequestError: the store s.zarr was made by another spec: kernel.source" in refused
    (tmp_path / "neighbour.py").write_text("shift = 1.5\n")
    assert "kernel.source differs" in told_by(tmp_path, SCRIPT)


def told_by(folder: Path, script: str) -> str:
    """The last line that a script says, on one stream or the other."""
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=600
    )
    return (done.stdout or done.stderr).splitlines()[-1]


NOTEBOOK = """
@kernel("energy")
@njit
def energy(T, rng):
    return scaled(T) + rng.random()

@njit
def scaled(x):
    return 2.0 * x
"""


def test_a_kernel_of_a_notebook_is_packed_with_what_it_uses(client: Client, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__", "kernel": kernel, "njit": njit}
    run_cell(NOTEBOOK, 0, names)
    sweep = Sweep(kernel=names["energy"], grid={"T": [1.0, 2.0]}, seed=1)
    assert isinstance(sweep.kernel, FunctionKernel)
    assert sweep.kernel.source.text.count("def ") == 2
    ds = run(sweep, tmp_path / "n.zarr", client)
    assert np.all(ds.energy - 2 * ds["T"] > 0)
    again = pickle.loads(pickle.dumps(sweep))
    assert again.digest == sweep.digest
    assert computed(again, points_of(again))["energy"].tolist() == ds.energy.values.tolist()


def test_a_cell_of_a_notebook_run_anew_makes_another_sweep(client: Client, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__", "kernel": kernel, "njit": njit, "by": 2.0}
    run_cell("@kernel('energy')\ndef energy(T):\n    return by * T", 1, names)
    grid = {"T": [1.0, 2.0]}
    old = Sweep(kernel=names["energy"], grid=grid)
    run(old, tmp_path / "s.zarr", client)
    names["by"] = 3.0
    new = Sweep(kernel=names["energy"], grid=grid)
    with pytest.raises(RequestError, match=r"kernel.source differs"):
        run(new, tmp_path / "s.zarr", client)
    assert run(new, tmp_path / "n.zarr", client).energy.values.tolist() == [3.0, 6.0]


def run_cell(text: str, number: int, names: dict[str, Any]) -> None:
    cell = f"<ipython-input-{number}>"
    linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
    exec(compile(text, cell, "exec"), names)


def test_a_function_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()

    @kernel("e")
    def locked(T):  # type: ignore[no-untyped-def]
        with lock:
            return T

    with pytest.raises(RequestError, match=r"locked cannot be sent .*cannot pickle '_thread.lock'"):
        Sweep(kernel=locked, grid={"T": [1.0]})


def test_a_store_can_be_read_and_asked_where_the_function_is_not(
    client: Client, tmp_path: Path
) -> None:
    module = imported(tmp_path, BASE)
    sweep = Sweep(kernel=module.energy, grid={"T": [1.0, 2.0]}, seed=1)
    store = tmp_path / "s.zarr"
    run(sweep, store, client)
    del sys.modules["own"]
    (tmp_path / "own.py").unlink()
    opened = open_sweep(store)
    assert opened.energy.values.tolist() == xr.open_zarr(store).energy.values.tolist() == [2.0, 4.0]
    reported = Sweep.from_toml(opened.attrs["spec"])
    assert (reported.digest, reported.to_toml()) == (opened.attrs["digest"], opened.attrs["spec"])
    assert plan(reported) == plan(sweep)
    status = CliRunner().invoke(main, ["status", str(store), "--json"])
    assert json.loads(status.stdout)["done"] == 2
    assert CliRunner().invoke(main, ["verify", str(store)]).exit_code == 0
    with pytest.raises(RequestError, match="own:energy is not available"):
        execute(reported, store, client)
    with pytest.raises(RequestError, match="own:energy is not available"):
        measure_rate(reported)


def test_a_spec_never_imports_what_it_names(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (
        percolation_sweep()
        .to_toml()
        .replace("tests.support.own_kernels:percolation", "trap:spring")
    )
    sweep = Sweep.from_toml(text)
    assert plan(sweep).points == 7
    with pytest.raises(RequestError, match="trap:spring is not available"):
        execute(sweep, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


BASE = """
FACTOR = 1.0

class Model:
    J = 2.0
    def energy(self, T):
        return self.J * scaled(T)

def scaled(x, by=FACTOR):
    return x * by

rates = np.array([1.0, 2.0])
model = Model()
model.mu = 1.5
parts = {"half": functools.partial(scaled, by=0.5), "none": lambda x: 0.0}

@kernel("energy", Variable("counts", ("bin",), "int64"), dims={"bin": [0.5, 1.5]}, version=1)
def energy(T, steps=10):
    return model.energy(T) * rates[0] + 0 * parts["half"](T), np.arange(2)
"""
HARMLESS = {
    "a comment": ("return x * by", "return x * by  # scaled"),
    "a blank line": ("    J = 2.0", "    J = 2.0\n"),
    "a function that is not used": ("rates =", "def other():\n    return 1\n\nrates ="),
    "a duration": ("version=1", "version=1, seconds=7.0"),
    "a unit": ('"int64"', '"int64", "count"'),
}
HARMFUL = {
    "the function": ("np.arange(2)", "np.arange(2) + 0", "kernel.source"),
    "a helper": ("x * by", "x * by * 2", "kernel.source"),
    "a helper's default": ("FACTOR = 1.0", "FACTOR = 2.0", "kernel.source"),
    "a constant": ("1.0, 2.0]", "1.0, 3.0]", "kernel.source"),
    "a class": ("J = 2.0", "J = 3.0", "kernel.source"),
    "an attribute": ("mu = 1.5", "mu = 2.5", "kernel.source"),
    "what is bound": ("by=0.5", "by=0.6", "kernel.source"),
    "a function in a table": ("x: 0.0", "x: 1.0", "kernel.source"),
    "a method": ("self.J * scaled", "2 + self.J * scaled", "kernel.source"),
    "how it is compiled": ("def scaled", "@njit(fastmath=True)\ndef scaled", "kernel.source"),
    "the version": ("version=1", "version=2", "kernel.version"),
    "a dtype": ('"int64"', '"int32"', "kernel.variables.counts"),
    "a coordinate": ("[0.5, 1.5]", "[0.5, 1.6]", "kernel.dims.bin"),
    "a default": ("steps=10", "steps=20", "kernel.parameters.steps"),
    "the name": ("def energy(T, steps", "def heat(T, steps", "kernel.name"),
}


def sweep_of(folder: Path, text: str) -> Sweep:
    module = imported(folder, text)
    name = "heat" if "def heat" in text else "energy"
    return Sweep(kernel=getattr(module, name), grid={"T": [1.0, 2.0]}, seed=1)


@pytest.mark.parametrize(("old", "new"), HARMLESS.values(), ids=HARMLESS)
def test_what_changes_no_result_changes_no_digest(tmp_path: Path, old: str, new: str) -> None:
    assert BASE.count(old) == 1
    assert sweep_of(tmp_path, BASE).digest == sweep_of(tmp_path, BASE.replace(old, new)).digest


@pytest.mark.parametrize(("old", "new", "field"), HARMFUL.values(), ids=HARMFUL)
def test_a_changed_function_is_refused_and_the_field_named(
    client: Client, tmp_path: Path, old: str, new: str, field: str
) -> None:
    assert BASE.count(old) == 1
    run(sweep_of(tmp_path, BASE), tmp_path / "s.zarr", client)
    with pytest.raises(RequestError, match=rf"{field} differs"):
        execute(sweep_of(tmp_path, BASE.replace(old, new)), tmp_path / "s.zarr", client)


def test_the_text_follows_decorators_modules_and_kernels_used(tmp_path: Path) -> None:
    imported(tmp_path, "factor = 3.0\ndef twice(x):\n    return 2 * x", "nearby")
    module = imported(
        tmp_path,
        """
import functools, nearby

def logged(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner

@functools.cache
def slow(x):
    return x

@kernel("part")
@logged
def part(T):
    return nearby.twice(T) + nearby.factor

@kernel("energy")
def energy(T):
    return part(T) + slow(1)
""",
    )
    text = Source.of(module.energy.function).text
    for line in ("return function(*args", "return 2 * x", "factor = 3.0", "return x", "part(T)"):
        assert line in text
    assert "import" not in text


def test_a_worker_that_imported_the_file_before_it_changed_is_told(tmp_path: Path) -> None:
    """It reads the new text and runs the old code."""
    old = imported(tmp_path, BASE)
    new = imported(tmp_path, BASE.replace("x * by", "x + by"))
    travelling = pickle.dumps(Source.of(new.energy.function))
    assert pickle.loads(travelling).function(1.0)[0] == 4.0
    sys.modules["own"] = old
    assert Source.of(old.energy.function).digest == Source.of(new.energy.function).digest
    with pytest.raises(
        RequestError, match=r"differs between client and worker .*own\.py.*own\.py.*restart"
    ):
        _ = pickle.loads(travelling).function


def test_a_worker_that_lacks_the_module_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(tmp_path, BASE)
    with embedded(workers=1) as client:
        with pytest.raises(
            RequestError, match=r"own:energy cannot be imported here .*No module"
        ) as reported:
            execute(sweep, tmp_path / "s.zarr", client)
        assert "register_pickle_by_value(own)" in str(reported.value)
        assert not (tmp_path / "s.zarr").exists()
        cloudpickle.register_pickle_by_value(sys.modules["own"])
        try:
            assert execute(sweep_of(tmp_path, BASE), tmp_path / "s.zarr", client).computed == 2
        finally:
            cloudpickle.unregister_pickle_by_value(sys.modules["own"])


COUNTS = Variable("counts", ("bin",), "int64")
RETURNS: dict[str, tuple[Any, Callable[..., Any], tuple[str, ...]]] = {
    "a scalar for an array": (COUNTS, lambda T: 3, ("counts", "int64 of shape ()", "shape (4,)")),
    "another length": (COUNTS, lambda T: np.arange(3), ("counts", "shape (3,)", "int64 of shape")),
    "a float for an integer": (COUNTS, lambda T: np.ones(4), ("float64 of shape (4,)", "int64")),
    "a complex for a float": (Variable("e"), lambda T: 1j, ("e is", "complex128", "float64")),
    "nothing": (Variable("e"), lambda T: None, ("e is", "None", "float64 of shape ()")),
    "a word": (Variable("e"), lambda T: "two", ("e is", "'two'", "float64")),
    "ragged lists": (Variable("e"), lambda T: [[1], [1, 2]], ("e is", "[[1], [1, 2]]")),
    "a number too large": (
        Variable("e", dtype="int8"),
        lambda T: 128,
        ("e does not fit its dtype", "128", "int8"),
    ),
    "a negative number": (
        Variable("e", dtype="uint8"),
        lambda T: -1,
        ("e does not fit its dtype", "-1", "uint8"),
    ),
    "another name": (Variable("e"), lambda T: {"f": 1.0}, ("other names", "f", "e")),
}


@pytest.mark.parametrize(("variable", "body", "words"), RETURNS.values(), ids=RETURNS)
def test_a_wrong_return_is_told_with_the_point_and_what_was_declared(
    variable: Variable, body: Callable[..., Any], words: tuple[str, ...]
) -> None:
    @kernel(variable, dims={"bin": 4})
    def wrong(T):  # type: ignore[no-untyped-def]
        return body(T)

    sweep = Sweep(kernel=wrong, grid={"T": [2.5]})
    with pytest.raises(OutputError) as caught:
        computed(sweep, points_of(sweep))
    reported = str(caught.value)
    assert [
        word for word in (":test_a_wrong_return", "T=2.5", *words) if word not in reported
    ] == []


PAIR = (Variable("e"), Variable("n", dtype="int32"))
ACCEPTED: dict[str, Callable[..., Any]] = {
    "a tuple": lambda T: (T, 3),
    "a dict in another order": lambda T: {"n": 3, "e": T},
    "numpy's scalars": lambda T: (np.float32(T), np.uint64(3)),
    "integers for floats": lambda T: (int(T), True + 2),
    "arrays without dimensions": lambda T: (np.array(T), np.array(3)),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_a_return_may_have_any_of_these_forms(body: Callable[..., Any]) -> None:
    @kernel(*PAIR)
    def right(T):  # type: ignore[no-untyped-def]
        return body(T)

    found = computed(sweep := Sweep(kernel=right, grid={"T": [2.0]}), points_of(sweep))
    assert (found["e"].tolist(), found["n"].tolist()) == ([2.0], [3])
    assert (found["e"].dtype, found["n"].dtype) == (np.float64, np.int32)


@pytest.mark.parametrize("dtype", ["bool", "int16", "uint32", "float32", "complex64"])
def test_every_dtype_can_be_stored_and_read(client: Client, tmp_path: Path, dtype: str) -> None:
    @kernel(Variable("e", ("bin",), dtype), dims={"bin": ["low", "high"]})
    def energy(T):  # type: ignore[no-untyped-def]
        return np.array([0, 1], dtype)

    ds = run(Sweep(kernel=energy, grid={"T": [1.0, 2.0]}), tmp_path / "d.zarr", client)
    assert ds.e.dtype == dtype
    assert ds.e.sel(bin="high").values.tolist() == [1, 1]


def test_a_point_that_raises_costs_itself_alone_and_is_named(
    client: Client, tmp_path: Path
) -> None:
    @kernel("inverse")
    def inverse(T):  # type: ignore[no-untyped-def]
        return 1 / T

    sweep = Sweep(kernel=inverse, grid={"T": [1.0, 0.0, 2.0]})
    with pytest.raises(IncompleteError, match=r"1 failed.*ZeroDivisionError"):
        run(sweep, tmp_path / "i.zarr", client, block_points=3)
    found = open_sweep(tmp_path / "i.zarr")
    assert found.inverse.values.tolist()[::2] == [1.0, 0.5]
    assert found.done.values.tolist() == [True, False, True]
    with pytest.raises(ZeroDivisionError) as caught:
        computed(sweep, [{"T": 0.0}])
    assert caught.value.__notes__[0].endswith("inverse at T=0")


def test_a_wrong_return_amid_good_ones_fails_its_point_alone(
    client: Client, tmp_path: Path
) -> None:
    @kernel("e")
    def energy(T):  # type: ignore[no-untyped-def]
        return T if T < 3 else None

    sweep = Sweep(kernel=energy, grid={"T": [1.0, 2.0, 3.0, 4.0]})
    report = execute(sweep, tmp_path / "e.zarr", client, block_points=4)
    assert (report.computed, report.failed) == (2, 2)
    assert report.error.startswith("OutputError: tests.sweeps.test_own_kernel:")
    assert "energy at T=3: e is not what was declared" in report.error


def test_a_run_whose_first_return_is_wrong_stops_at_once(client: Client, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()

    @kernel("e")
    def wrong(T):  # type: ignore[no-untyped-def]
        (calls / str(T)).touch()
        return np.ones(3)

    sweep = Sweep(kernel=wrong, grid={"T": np.arange(500.0)})
    with pytest.raises(OutputError, match="e is not what was declared"):
        execute(sweep, tmp_path / "w.zarr", client, block_points=1)
    assert len(list(calls.iterdir())) < 250


def test_a_submitted_function_is_computed_without_its_client(tmp_path: Path) -> None:
    @kernel("e")
    def energy(T):  # type: ignore[no-untyped-def]
        return 2 * T

    sweep = Sweep(kernel=energy, grid={"T": [1.0, 2.0, 3.0]})
    with embedded(workers=1) as client:
        with Client(client.scheduler.address, set_as_default=False) as leaving:
            submit(sweep, tmp_path / "s.zarr", leaving, block_points=1)
        deadline = time.monotonic() + 30
        while not Store(tmp_path / "s.zarr").done().all() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert open_sweep(tmp_path / "s.zarr").e.values.tolist() == [2.0, 4.0, 6.0]


def test_whole_parameters_are_passed_as_such(tmp_path: Path) -> None:
    @kernel("length", "sum")
    def length(n: int, m=2, *, k: "int" = 3):  # type: ignore[no-untyped-def]
        return len(range(n)) + len(range(k)), m + 0.5

    sweep = Sweep(kernel=length, grid={"n": [1.0, 5.0]})
    assert computed(sweep, points_of(sweep))["length"].tolist() == [4.0, 8.0]
    with pytest.raises(RequestError, match=r"grid.n: n must be a whole number .*came: 1.5"):
        Sweep(kernel=length, grid={"n": [1.5]})


def test_a_plan_counts_points_and_cuts_blocks_by_their_duration() -> None:
    sweep = Sweep(kernel=logistic, grid={"r": np.linspace(3, 4, 3000)})
    found = plan(sweep)
    marks = sum(np.dtype(variable.dtype).itemsize for variable in BOOKKEEPING)
    assert (found.updates, found.bytes) == (3000, 3000 * (8 + marks))
    assert len(found.blocks) >= 16
    assert found.hours(300.0, workers=2) == pytest.approx(5 / 3600)

    @kernel("e", seconds=5.0)
    def slow(T):  # type: ignore[no-untyped-def]
        return T

    assert plan(Sweep(kernel=slow, grid={"T": np.arange(1000.0)})).block_shape == (3,)


def test_calibration_computes_points_for_as_long_as_it_was_asked() -> None:
    calls = []

    @kernel("e")
    def brief(T):  # type: ignore[no-untyped-def]
        calls.append(T)
        return T

    sweep = Sweep(kernel=brief, grid={"T": np.arange(1000.0)})
    assert 1e3 < measure_rate(sweep, seconds=0.1) < 1e7
    assert len(calls) > 1000
    assert set(calls) == {0.0, 500.0, 999.0}


def test_nothing_of_numba_is_compiled_after_the_warm_up_and_no_point_is_computed() -> None:
    @kernel("e")
    @njit
    def energy(T, n: int = 3, *, rng):  # type: ignore[no-untyped-def]
        return T * n + rng.random()

    sweep = Sweep(kernel=energy, grid={"T": [1.0, 2.0]})
    sweep.kernel.warm_up(sweep.axes)
    compiled = list(energy.function.signatures)
    assert len(compiled) == 1
    computed(sweep, points_of(sweep))
    assert energy.function.signatures == compiled

    @kernel("e")
    @njit("f8(f8)")
    def eager(T):  # type: ignore[no-untyped-def]
        return 2 * T

    sweep = Sweep(kernel=eager, grid={"T": [1.0, 2.0]})
    sweep.kernel.warm_up(sweep.axes)
    assert computed(sweep, points_of(sweep))["e"].tolist() == [2.0, 4.0]


def test_a_kernel_can_be_called_as_the_function_it_is() -> None:
    assert logistic(3.2) == pytest.approx(period_two(3.2))
    assert percolation(0.5, sites=8, rng=np.random.default_rng(1))[2] > 0


def test_a_sweep_of_a_function_has_no_lattice() -> None:
    with pytest.raises(AttributeError, match="own_kernels:logistic has no lattice"):
        _ = logistic_sweep().lattice


@pytest.mark.slow
def test_the_example_of_the_howto_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "howto" / "bring-your-own-kernel.md").read_text()
    (tmp_path / "study.py").write_text(page.split("```python\n")[1].split("```")[0])
    done = subprocess.run(
        [sys.executable, "study.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "r" in done.stdout
    assert open_sweep(tmp_path / "runs" / "logistic.zarr").done.all()
