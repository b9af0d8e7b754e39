"""Runs and stores: what is written, resumed and refused; see test_laws for bit-identity."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from distributed import Client, LocalCluster

from latticescape.physics import Ising, RequestError, Schedule, square
from latticescape.physics.variables import VARIABLES
from latticescape.sweeps import Sweep, measure_rate, open_sweep, plan, run
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.tasks import compute_block
from latticescape.sweeps.store.store import Store
from tests.support.runs import alloy_sweep, assert_same_bits, ising_sweep


def test_the_dataset_has_the_contracts_names_and_dims(client: Client, tmp_path: Path) -> None:
    ds = run(alloy_sweep(), tmp_path / "a.zarr", client)
    assert list(ds.sizes)[:2] == ["x", "w1"] or set(ds.sizes) >= {"x", "w1"}
    expected = {
        "energy": (),
        "energy_se": (),
        "magnetization": (),
        "magnetization_abs_se": (),
        "susceptibility": (),
        "susceptibility_abs": (),
        "heat_capacity": (),
        "binder_cumulant_se": (),
        "composition": (),
        "done": (),
        "attempts": (),
        "histogram": ("configuration",),
        "histogram_replica": ("replica", "configuration"),
        "features": ("replica", "feature"),
        "moments": ("replica", "moment"),
    }
    for name, dims in expected.items():
        assert ds[name].dims == ("x", "w1", *dims)
        assert ds[name].attrs["long_name"]
        assert ds[name].attrs["units"]
    assert set(ds.data_vars) <= set(VARIABLES)
    assert ds.x.attrs["long_name"] == "fraction of species 1"
    assert {"label", "multiplicity"} <= set(ds.coords)
    assert ds.feature.values.tolist() == ["unlike_1", "unlike_2"]
    assert {"spec", "digest", "versions", "git_revision", "seed", "block_shape"} <= set(ds.attrs)
    assert Sweep.from_toml(ds.attrs["spec"]) == alloy_sweep()


def test_variables_agree_with_each_other(client: Client, tmp_path: Path) -> None:
    sweep = alloy_sweep()
    ds = run(sweep, tmp_path / "a.zarr", client).load()
    sites = sweep.lattice.sites
    energy = (ds.features.mean("replica") * [1, 0]).sum("feature") * ds.w1 / sites
    assert np.allclose(energy, ds.energy)
    assert np.array_equal(ds.histogram_replica.sum("replica"), ds.histogram)
    assert np.all(ds.histogram.sum("configuration") == 64 * 10 * sites)
    assert np.allclose(ds.moments.sel(moment="e").mean("replica"), ds.energy)
    assert np.allclose(ds.moments.sel(moment="e").std("replica", ddof=1) / 8, ds.energy_se)
    assert np.allclose(ds.magnetization, 2 * ds.composition - 1)
    assert np.allclose(ds.composition - ds.x, 0)
    assert np.all(ds.attempts == 1)
    counted = (ds.histogram * ds.neighbors * (1 - ds.centre)).sum("configuration") / (64 * 10)
    unlike = ds.features.sel(feature="unlike_1").mean("replica")
    assert np.allclose(counted, unlike)


def test_a_finished_store_is_not_computed_again(client: Client, tmp_path: Path) -> None:
    first = execute(ising_sweep(), tmp_path / "i.zarr", client, block_points=2)
    again = execute(ising_sweep(), tmp_path / "i.zarr", client, block_points=5)
    assert (first.points, first.blocks, first.computed, first.failed) == (9, 6, 9, 0)
    assert first.updates == ising_sweep().kernel.updates(9)
    assert first.kernel_seconds > 0
    assert (again.computed, again.blocks, again.updates, again.workers) == (0, 6, 0, 0)


def test_only_blocks_without_a_done_mark_are_computed(client: Client, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.zarr", tmp_path / "damaged.zarr"
    for path in (whole, damaged):
        execute(ising_sweep(), path, client, block_points=2)
    store = Store(damaged)
    block = store.blocks[3]
    energy = zarr.open_array(damaged / "energy", mode="r+")
    energy[block.region] = np.nan
    zarr.open_array(damaged / "done", mode="r+")[block.region] = False
    assert [b.number for b in store.pending()] == [3]
    assert execute(ising_sweep(), damaged, client).computed == block.points
    assert_same_bits(whole, damaged, attempts=False)
    assert open_sweep(damaged).attempts.values.max() == 2


def test_a_done_block_is_left_alone(client: Client, tmp_path: Path) -> None:
    execute(ising_sweep(), tmp_path / "i.zarr", client, block_points=2)
    store = Store(tmp_path / "i.zarr")
    receipt = compute_block(str(store.path), store.identity, 0)
    assert not receipt.computed
    assert open_sweep(store.path).attempts.values.max() == 1


def test_a_store_that_was_replaced_is_not_written_to(client: Client, tmp_path: Path) -> None:
    execute(ising_sweep(), tmp_path / "i.zarr", client)
    with pytest.raises(RequestError, match="replaced"):
        compute_block(str(tmp_path / "i.zarr"), "another", 0)


def test_another_spec_is_refused_and_the_first_difference_named(
    client: Client, tmp_path: Path
) -> None:
    sweep = alloy_sweep()
    execute(sweep, tmp_path / "a.zarr", client)
    others = {
        "sweep.seed": Sweep(sweep.lattice, sweep.model, sweep.grid, sweep.schedule, seed=8),
        "grid.w1": Sweep(
            sweep.lattice, sweep.model, {**sweep.grid, "w1": [0.0]}, sweep.schedule, 7
        ),
        "schedule.samples": Sweep(
            sweep.lattice, sweep.model, sweep.grid, Schedule(20, 11, 2), seed=7
        ),
        "order of axes": Sweep(
            sweep.lattice, sweep.model, dict(reversed(sweep.grid.items())), sweep.schedule, 7
        ),
    }
    for field, other in others.items():
        with pytest.raises(RequestError, match=f"{field}.* differs"):
            execute(other, tmp_path / "a.zarr", client)


def test_partial_results_are_nan_and_not_done(client: Client, tmp_path: Path) -> None:
    execute(ising_sweep(), tmp_path / "i.zarr", client, block_points=3)
    zarr.open_array(tmp_path / "i.zarr" / "done", mode="r+")[0] = False
    ds = open_sweep(tmp_path / "i.zarr")
    assert ds.done.values.sum() == 6


def test_an_empty_folder_becomes_a_store(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    assert execute(ising_sweep(), tmp_path / "empty.zarr", client).computed == 9


def test_an_address_and_a_context_are_clients_too(client: Client, tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        protocol="tcp",
        host="127.0.0.1",
    ) as own:
        report = execute(ising_sweep(), tmp_path / "i.zarr", own.scheduler_address)
    assert (report.computed, report.workers) == (9, 1)
    xr.testing.assert_identical(
        open_sweep(tmp_path / "i.zarr").drop_attrs(),
        run(ising_sweep(), tmp_path / "j.zarr", client).drop_attrs(),
    )


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("most", [1, 2, 4, 7, 100])
def test_blocks_cover_the_grid_once(shape: tuple[int, ...], most: int) -> None:
    names = ("T", "H", "J2")[: len(shape)]
    grid = {name: np.arange(1.0, 1 + n) for name, n in zip(names, shape, strict=True)}
    seen = np.zeros(shape, int)
    for block in plan(Sweep(square(6), Ising(), grid, Schedule(2, 2, 1)), block_points=most).blocks:
        assert block.points <= most
        seen[block.region] += 1
    assert np.all(seen == 1)


def test_a_plan_counts_points_blocks_bytes_and_hours(client: Client, tmp_path: Path) -> None:
    sweep = ising_sweep()
    found = plan(sweep, block_points=2)
    assert (found.points, len(found.blocks)) == (9, 6)
    assert found.updates == 9 * 64 * 36 * 40
    assert found.hours(updates_per_second=found.updates / 7200, workers=2) == pytest.approx(1)
    ds = run(sweep, tmp_path / "i.zarr", client)
    assert found.bytes == sum(v.nbytes for v in ds.data_vars.values())
    assert measure_rate(sweep, seconds=0.05) > 1e5


def test_a_sweep_of_many_points_is_cut_into_bounded_blocks() -> None:
    sweep = ising_sweep()
    many = Sweep(sweep.lattice, sweep.model, {"T": np.linspace(1, 4, 200_000)}, sweep.schedule)
    assert 16 <= len(plan(many).blocks) <= 10_001


SCRIPT = """
from latticescape import Ising, Schedule, Sweep, run, square
ds = run(Sweep(square(4), Ising(), {"T": [2.0, 3.0]}, Schedule(5, 5, 1), seed=1), "s.zarr")
print(int(ds.done.sum()))
"""


@pytest.mark.slow
def test_a_script_needs_no_main_guard_and_no_folder_of_a_room_s_name_matters(
    tmp_path: Path,
) -> None:
    """Workers start in fresh interpreters, and ``analysis`` in the working folder is not ours."""
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise ImportError('shadowed')")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "scripts/script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stdout.split() == ["2"]
