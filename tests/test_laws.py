"""The laws of the design, one test each; law 2 is in test_exactness."""

import ast
import doctest
import inspect
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import latticescape
from latticescape.analysis import count_atoms, statistical_distance
from latticescape.analysis.images.sites.rings import complete_rings
from latticescape.physics import (
    Lattice,
    configurations,
    count_configurations,
    honeycomb,
    square,
    triangular,
)
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.sweeps import Sweep, run
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.workers import embedded
from latticescape.sweeps.spec.sweep import point_seeds
from latticescape.sweeps.store.store import Store
from tests.support.runs import SPEC, alloy_sweep, assert_same_bits, in_process, ising_sweep

ROOT = Path(__file__).parents[1]
PARTS = {"physics", "sweeps", "analysis", "deploy"}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with embedded(workers=2) as client:
        yield client


@pytest.fixture(scope="module")
def undisturbed(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("laws") / "whole.zarr"
    run(ising_sweep(), store, client, block_points=1)
    return store


@pytest.mark.parametrize("block_points", [2, 7, 9])
def test_law_1_any_block_size_gives_the_same_bits(
    client: Client, undisturbed: Path, tmp_path: Path, block_points: int
) -> None:
    run(ising_sweep(), tmp_path / "cut.zarr", client, block_points=block_points)
    assert_same_bits(undisturbed, tmp_path / "cut.zarr")


@pytest.mark.parametrize("threads", [1, 2])
def test_law_1_any_number_of_workers_and_threads_gives_the_same_bits(
    undisturbed: Path, tmp_path: Path, threads: int
) -> None:
    """Of one worker in this process, where the other store was computed by two processes."""
    with in_process(threads) as other:
        run(ising_sweep(), tmp_path / "other.zarr", other, block_points=2)
    assert_same_bits(undisturbed, tmp_path / "other.zarr")


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(6)), cuts=st.lists(st.integers(1, 5), max_size=3))
def test_law_1_a_points_bits_do_not_depend_on_its_companions(
    order: list[int], cuts: list[int]
) -> None:
    """Alone, or in any order and any company: the same sums, the same derived floats."""
    sweep = alloy_sweep()
    points = sweep.coordinates((slice(None), slice(None)))
    whole = _computed(sweep, points)
    chosen = [points[i] for i in order]
    bounds = [0, *sorted(set(cuts)), len(chosen)]
    parts = [_computed(sweep, chosen[a:b]) for a, b in itertools.pairwise(bounds) if b > a]
    for name, values in whole.items():
        again = np.concatenate([part[name] for part in parts])
        assert again.tobytes() == values[order].tobytes(), name


def test_law_1_extending_the_grid_keeps_every_old_point(client: Client, tmp_path: Path) -> None:
    small, large = alloy_sweep(), alloy_sweep()
    large = Sweep(
        small.lattice,
        small.model,
        {"x": [0.25, 0.5, 0.75], "w1": [-0.2, -0.1, 0.0, 0.2]},
        small.schedule,
        seed=7,
    )
    old = run(small, tmp_path / "small.zarr", client).load()
    new = run(large, tmp_path / "large.zarr", client).load().sel(x=old.x, w1=old.w1)
    for name in ("energy", "heat_capacity_se", "histogram_replica", "moments"):
        assert old[name].values.tobytes() == new[name].values.tobytes()


@pytest.mark.slow
def test_law_1_kill_9_of_everything_costs_the_blocks_in_flight(tmp_path: Path) -> None:
    sweep = ising_sweep(mcs=100, points=12)
    spec, store, calm = tmp_path / "s.toml", tmp_path / "killed.zarr", tmp_path / "calm.zarr"
    spec.write_text(sweep.to_toml())
    command = [sys.executable, "-m", "latticescape", "run", str(spec), "--store", str(store)]
    options = ["--workers", "2", "--block-points", "1", "--json"]
    victim = subprocess.Popen(
        [*command, *options], cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL
    )
    _wait_for_blocks(store, 5)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    done = int(Store(store).done().sum())
    assert 5 <= done < sweep.points
    report = execute(sweep, store, progress=False)
    assert report.computed == sweep.points - done
    assert report.failed == 0
    with in_process(threads=2) as client:
        run(sweep, calm, client, block_points=1)
    assert_same_bits(calm, store, killed=2)


def test_law_3_toml_to_sweep_to_toml_is_the_identity() -> None:
    sweep = Sweep.from_toml(SPEC)
    again = Sweep.from_toml(sweep.to_toml())
    assert again == sweep
    assert again.to_toml() == sweep.to_toml()
    assert list(again.grid) == ["T", "H"]


def test_law_3_the_digest_is_the_same_in_every_process() -> None:
    code = "import sys, latticescape; print(latticescape.Sweep.from_toml(sys.stdin.read()).digest)"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        input=SPEC,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout
    assert printed.strip() == Sweep.from_toml(SPEC).digest


def test_law_3_any_change_of_the_spec_changes_the_digest() -> None:
    changes = [("seed = 7", "seed = 8"), ("size = 6", "size = 8"), ("2.27", "2.28")]
    changes += [("samples = 10", "samples = 11"), ('"ising"', '"ising"\nmu = 0.67')]
    digests = {Sweep.from_toml(SPEC.replace(*change)).digest for change in changes}
    assert len(digests | {Sweep.from_toml(SPEC).digest}) == len(changes) + 1


def test_law_3_a_default_spelled_out_is_the_same_sweep() -> None:
    spelled = SPEC.replace('"ising"', '"ising"\nJ = 1\nmu = 1.0')
    assert Sweep.from_toml(spelled).digest == Sweep.from_toml(SPEC).digest


COUNTS = arrays(np.int64, 12, elements=st.integers(0, 10**6)).filter(lambda p: p.sum() > 0)


@given(p=COUNTS, q=COUNTS)
def test_law_4_the_distance_is_zero_to_itself_symmetric_and_at_most_a_quarter_turn(
    p: np.ndarray, q: np.ndarray
) -> None:
    assert float(statistical_distance(p, p)) == 0
    s = float(statistical_distance(p, q))
    assert s == float(statistical_distance(q, p))
    assert 0 <= s <= np.pi / 2


@pytest.mark.parametrize("make", [square, triangular, honeycomb])
def test_law_5_simulation_and_image_count_alike(make: type) -> None:
    """The inner sites of a lattice drawn as an image: the same classes from both sides."""
    lattice = make(12)
    species = np.random.default_rng(1).integers(0, 2, lattice.sites)
    centers, rings = complete_rings(lattice.positions, lattice.kind)
    classes = configurations(lattice.kind)
    assert len(centers) > lattice.sites // 2
    from_image = count_atoms(lattice.positions, species, make)
    from_lattice = count_configurations(species, centers, lattice.neighbors(1)[centers], classes)
    assert np.sort(rings, axis=1).tolist() == np.sort(lattice.neighbors(1)[centers], 1).tolist()
    assert from_image.tolist() == from_lattice.tolist()


ALLOWED_PARTS = {
    "physics": {"physics"},
    "sweeps": {"physics", "sweeps"},
    "analysis": {"physics", "analysis"},
    "deploy": PARTS,
}
FORBIDDEN = {
    "physics": {"xarray", "dask", "distributed", "zarr", "pandas", "holoviews", "click"},
    "sweeps": {"holoviews", "click", "sklearn", "skimage"},
    "analysis": {"distributed", "zarr", "click"},
    "deploy": set(),
}
DRAWING = {"holoviews", "panel", "bokeh", "matplotlib"}
DRAWS = {ROOT / "analysis" / "plots", ROOT / "analysis" / "app"}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_law_6_imports_follow_the_floors(part: str) -> None:
    for path in (ROOT / part).rglob("*.py"):
        imported = _imported(path)
        assert imported & PARTS <= ALLOWED_PARTS[part], path
        assert not imported & FORBIDDEN[part], path
        if not DRAWS & set(path.parents):
            assert not imported & DRAWING, path


def test_law_6_the_import_law_sees_a_wrong_arrow(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(
        "def f():\n    from latticescape.deploy.cli.main import main\n    import zarr.storage\n"
    )
    assert _imported(path) == {"deploy", "zarr"}
    path.write_text("from latticescape import run\n")
    with pytest.raises(AssertionError, match="name the part"):
        _imported(path)


READER = """
import sys
import xarray
ds = xarray.open_zarr(sys.argv[1])
assert not {"dask", "numba", "latticescape"} & set(sys.modules)
for name in ("susceptibility", "heat_capacity", "histogram"):
    v = ds[name]
    print(name, v.dims, v.attrs["units"], v.attrs["long_name"], float(v.sum()), sep="|")
"""


def test_law_6_xarray_alone_reads_every_store(undisturbed: Path, tmp_path: Path) -> None:
    """In an environment that holds xarray, zarr and what those require, and nothing else."""
    for name in _required(["xarray", "zarr"]):
        _link_package(name, tmp_path)
    assert not (tmp_path / "dask").exists()
    reported = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", READER, str(undisturbed)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
    ).stdout.splitlines()
    assert reported[0].startswith("susceptibility|('T', 'H')|1/J|susceptibility per site|")
    assert reported[1].startswith("heat_capacity|('T', 'H')|k_B|heat capacity per site|")
    assert reported[2].startswith("histogram|('T', 'H', 'configuration')|count|")


CALLABLE = [name for name in latticescape.__all__ if callable(getattr(latticescape, name))]


@pytest.mark.parametrize("name", CALLABLE)
def test_law_7_every_public_name_is_documented_with_an_example(name: str) -> None:
    public = getattr(latticescape, name)
    text = inspect.getdoc(public) or ""
    assert len(text) > 40
    if inspect.isfunction(public):
        assert doctest.DocTestParser().get_examples(text)
        assert "Parameters" in text or inspect.signature(public).return_annotation is Lattice


def _computed(sweep: Sweep, points: list[dict[str, float]]) -> dict[str, np.ndarray]:
    kernel = sweep.kernel
    assert isinstance(kernel, LatticeKernel)
    axes = {name: np.array([point[name] for point in points]) for name in sweep.axes}
    return kernel.compute(axes, point_seeds(sweep.seed, map(kernel.parameters, points)))


def _required(names: list[str]) -> set[str]:
    """The distributions that these need, without extras."""
    found: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        if name not in found:
            found.add(name)
            needed = map(Requirement, metadata.requires(name) or [])
            names += [r.name for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def _link_package(name: str, folder: Path) -> None:
    distribution = metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        (folder / top).symlink_to(Path(str(distribution.locate_file(top))))


def _imported(path: Path) -> set[str]:
    """Top-level packages that a file imports; of this package the part: physics, sweeps, …"""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    assert "latticescape" not in modules, f"{path}: name the part to import from"
    return {module.removeprefix("latticescape.").split(".")[0] for module in modules}


def _wait_for_blocks(store: Path, number: int, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if store.exists() and Store(store).done().sum() >= number:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{number} blocks within {timeout} s")
