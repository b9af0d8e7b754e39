"""Warm-up: what a worker needs is compiled before its first block, once, and errors are told."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pytest
from distributed import Client, LocalCluster

from latticescape.physics import (
    Ising,
    PairAlloy,
    RequestError,
    Schedule,
    ThreeBodyAlloy,
    square,
    triangular,
)
from latticescape.physics.compiled import one_compiles
from latticescape.physics.errors import CancelCheck, never_cancelled
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.tasks import compute_block
from latticescape.sweeps.execution.worker_code import warm_up
from latticescape.sweeps.execution.workers import embedded, warmed
from latticescape.sweeps.store.store import Store
from tests.support.runs import ising_sweep

Axes = Mapping[str, npt.NDArray[np.float64]]

ROOT = Path(__file__).parents[2]
# Of each two temperatures "auto" chooses Metropolis' rule for the first.
FIELDS = {"T": [2.0, 9.0], "H": [-0.1, 0.0, 0.1]}
SWEEPS = {
    "a field of either sign and none": Sweep(square(6), Ising(), FIELDS, Schedule(2, 3, 2)),
    "a second shell and none": Sweep(
        triangular(6), Ising(T=3.0), {"J2": [0.0, 0.1], "H": [0.0, 0.1]}, Schedule(0, 2, 1)
    ),
    "three shells": Sweep(square(6), Ising(J=[1, 0.1, 0.1]), FIELDS, Schedule(2, 3, 2)),
    "random bonds": Sweep(
        square(6),
        Ising(bonds={"distribution": "normal", "sd": 0.2}),
        {**FIELDS, "realisation": [0.0, 1.0]},
        Schedule(2, 3, 2),
    ),
    "random signs": Sweep(
        square(6),
        Ising(bonds={"distribution": "bimodal"}),
        {**FIELDS, "realisation": [0.0, 1.0]},
        Schedule(2, 3, 2),
    ),
    "an alloy": Sweep(
        triangular(6), PairAlloy(), {"x": [0.25, 0.5], "w1": [-0.1, 0, 0.1]}, Schedule(2, 3, 2)
    ),
    "triangles": Sweep(
        triangular(6), ThreeBodyAlloy(x=0.5), {"w1": [-0.1, 0], "w2": [0, 0.1]}, Schedule(2, 3, 2)
    ),
    "clusters": Sweep(
        square(6), Ising(), {"T": [2.0, 3.0], "J2": [0, 0.1]}, Schedule(2, 3, 2, "cluster")
    ),
    "ladders": Sweep(square(6), Ising(), {"T": [2.0, 3.0]}, Schedule(2, 3, 2, tempering_mcs=3)),
}

# For each spec on the standard input: how many functions were compiled or loaded when it was
# warmed up, and how many more when its grid was computed, whole and point by point.
COUNT = """
import gc, json, sys
from numba.core.dispatcher import Dispatcher
from latticescape import Sweep
from latticescape.sweeps.spec.sweep import point_seeds

def ready():
    found = [o for o in gc.get_objects() if isinstance(o, Dispatcher)]
    return sum(len(d.overloads) for d in found if d.__module__.startswith("latticescape.physics."))

def compute(sweep, points):
    axes = {name: np.array([point[name] for point in points]) for name in sweep.axes}
    sweep.kernel.compute(axes, point_seeds(sweep.seed, map(sweep.kernel.parameters, points)))

import numpy as np
counts = []
for text in json.load(sys.stdin):
    sweep = Sweep.from_toml(text)
    cold = ready()
    sweep.kernel.warm_up(sweep.axes)
    warm = ready()
    points = sweep.coordinates((slice(None),) * len(sweep.shape))
    compute(sweep, points)
    for point in points:
        compute(sweep, [point])
    counts.append((warm - cold, ready() - warm))
print(json.dumps(counts))
"""


@pytest.fixture(autouse=True)
def _cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has not warmed up for any sweep."""
    monkeypatch.setattr("latticescape.sweeps.execution.worker_code._warm", set())


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """One worker in this process: what a test patches holds in it."""
    with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes that a kernel was warmed up with, call by call; each takes a moment."""
    found: list[Axes] = []

    def record(self: LatticeKernel, axes: Axes) -> None:
        found.append(axes)
        time.sleep(0.05)

    monkeypatch.setattr(LatticeKernel, "warm_up", record)
    return found


def failing(error: Exception) -> Any:
    def fail(self: LatticeKernel, axes: Axes) -> NoReturn:
        raise error

    return fail


def test_nothing_is_compiled_after_the_warm_up() -> None:
    reported = subprocess.run(
        [sys.executable, "-c", COUNT],
        input=json.dumps([sweep.to_toml() for sweep in SWEEPS.values()]),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    counts = dict(zip(SWEEPS, json.loads(reported), strict=True))
    assert {name: later for name, (_, later) in counts.items()} == dict.fromkeys(SWEEPS, 0)
    assert counts["a field of either sign and none"][0] > 0


def test_the_warm_up_computes_points_of_the_grid_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, ...]] = []
    compute = LatticeKernel.compute

    def record(
        self: LatticeKernel,
        points: Axes,
        seeds: npt.NDArray[np.uint64],
        cancel_check: CancelCheck = never_cancelled,
    ) -> Any:
        seen.append(tuple(float(values[0]) for values in points.values()))
        return compute(self, points, seeds)

    monkeypatch.setattr(LatticeKernel, "compute", record)
    sweep = SWEEPS["a field of either sign and none"]
    sweep.kernel.warm_up(sweep.axes)
    assert set(seen) == {(2.0, -0.1), (2.0, 0.0)}


def test_threads_of_a_worker_warm_up_once(calls: list[Axes]) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(warm_up, [ising_sweep()] * 8))
    assert len(calls) == 1


def test_a_run_warms_up_before_its_first_block(
    client: Client, calls: list[Axes], tmp_path: Path
) -> None:
    store, sweep = tmp_path / "i.zarr", ising_sweep()
    with warmed(client, sweep):
        assert len(calls) == 1
    report = execute(sweep, store, client, block_points=3)
    assert (report.computed_blocks, len(calls)) == (3, 1)
    assert calls[0]["H"].tolist() == sweep.axes["H"].tolist()


def test_a_worker_that_joins_later_is_warmed_up_during_the_run_alone(
    cluster: LocalCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Sweep] = []
    monkeypatch.setattr("latticescape.sweeps.execution.workers.warm_up", seen.append)
    with warmed(client, ising_sweep()):
        assert len(seen) == 1
        cluster.scale(2)
        client.wait_for_workers(2, timeout=300)
        assert client.submit(len, seen, workers=_youngest(cluster), pure=False).result() == 2
    cluster.scale(3)
    client.wait_for_workers(3, timeout=300)
    assert client.submit(len, seen, workers=_youngest(cluster), pure=False).result() == 2


def _youngest(cluster: LocalCluster) -> str:
    return str(cluster.workers[max(cluster.workers)].address)


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (RequestError("no such lattice", came=7), r"^no such lattice \(came: 7\)$"),
        (ArithmeticError("no root"), r"^the kernel lanes fails before .*ArithmeticError: no root"),
        (OSError("no disk"), r"^the kernel lanes fails before .*OSError: no disk"),
    ],
    ids=["a wrong request", "any error", "an error of the system"],
)
def test_a_kernel_that_cannot_start_is_told_before_anything_is_written(
    client: Client, tmp_path: Path, error: Exception, reported: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LatticeKernel, "warm_up", failing(error))
        with pytest.raises(RequestError, match=reported):
            execute(ising_sweep(), tmp_path / "i.zarr", client)
    assert list(tmp_path.iterdir()) == []
    assert execute(ising_sweep(), tmp_path / "i.zarr", client).computed == 9


def test_a_block_is_not_computed_where_the_warm_up_fails(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a worker that joined although its plugin failed: Dask lets it."""
    execute(ising_sweep(), tmp_path / "i.zarr", client, block_points=3)
    store = Store(tmp_path / "i.zarr")
    store._array("done")[...] = False
    monkeypatch.setattr("latticescape.sweeps.execution.worker_code._warm", set())
    monkeypatch.setattr(LatticeKernel, "warm_up", failing(ArithmeticError("no root")))
    with pytest.raises(RequestError, match="no root"):
        compute_block(str(store.path), store.identity, 0)


def test_a_run_goes_on_without_a_worker_that_is_lost_in_the_warm_up() -> None:
    def lost(*_: object) -> NoReturn:
        raise OSError("in <TCP>: Stream is closed")

    ran = []
    client: Any = SimpleNamespace(
        register_plugin=lost, unregister_worker_plugin=lost, status="running"
    )
    with warmed(client, ising_sweep()):
        ran.append("the blocks")
    assert ran


def test_the_first_to_compile_is_waited_for_and_then_all_go_on_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("latticescape.physics.compiled._FOLDER", str(tmp_path / "new" / "cache"))
    together = threading.Barrier(3)
    done: list[str] = []

    def follow() -> None:
        with one_compiles():
            done.append("loaded")
            together.wait(timeout=10)

    with ThreadPoolExecutor(3) as threads:
        with one_compiles():
            followers = [threads.submit(follow) for _ in range(3)]
            time.sleep(0.2)
            done.append("compiled")
        for follower in followers:
            follower.result()
    assert done == ["compiled", "loaded", "loaded", "loaded"]


def test_a_cache_folder_that_cannot_be_made_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr("latticescape.physics.compiled._FOLDER", str(tmp_path / "file"))
    with one_compiles():
        assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.slow
def test_of_workers_that_start_at_once_one_compiles_and_no_block_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cold"))
    begin = time.perf_counter()
    with embedded(workers=2) as client:
        report = execute(ising_sweep(), tmp_path / "i.zarr", client, block_points=1)
        misses = client.run(_cache_misses)
    assert sorted(misses.values())[0] == 0 < sorted(misses.values())[1]
    assert report.kernel_seconds < 0.2 * (time.perf_counter() - begin)


def _cache_misses() -> int:
    from latticescape.physics.kernels.multispin.counting import add_items
    from latticescape.physics.kernels.multispin.heat_bath import heat_bath

    kernels: list[Any] = [heat_bath, add_items]
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
