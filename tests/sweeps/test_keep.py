"""What a sweep keeps besides the averages: every measurement, and the last spins."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latticescape.physics import Ising, Samples, Schedule, configurations, sample, square
from latticescape.physics.kernels.lattice_kernel import LatticeKernel, parameters_used
from latticescape.physics.kernels.reference import clusters_of, measure_features
from latticescape.physics.kernels.restart import first_half
from latticescape.physics.models.model import features_of
from latticescape.physics.variables import KEEP, unpack_replicas
from latticescape.sweeps import Sweep, open_sweep, plan
from latticescape.sweeps.store.consolidate import consolidate
from latticescape.sweeps.store.verify import verify
from tests.support.runs import SPEC, alloy_sweep, assert_same_bits, undisturbed
from tests.support.small_runs import RUNS, SmallRun
from tests.support.statistics import seeds_of

KEPT = {"sample_features", "sample_histogram", "spins"}
NINE = SmallRun(Ising(), square(6), {"T": [1.5 + 0.3 * k for k in range(9)]})


# Samples of random bonds are not kept.
FULL = {name: run for name, run in RUNS.items() if run.model.bond_disorder is None}


def sampled(run: SmallRun, *keep: str) -> Samples:
    points = {name: np.array(values) for name, values in run.axes.items()}
    seeds = seeds_of(9, points=len(next(iter(points.values()))))
    return sample(run.model, run.lattice, points, run.schedule, seeds, kernel=run.kernel, keep=keep)


@pytest.mark.parametrize("run", [*FULL.values(), NINE], ids=[*FULL, "two groups"])
def test_a_trace_adds_up_to_the_sums_and_changes_none(run: SmallRun) -> None:
    plain, kept = sampled(run), sampled(run, *KEEP)
    assert plain.kept == {}
    for name in ("feature_sum", "feature_checkpoints", "moment_sum", "histogram"):
        assert getattr(plain, name).tobytes() == getattr(kept, name).tobytes(), name
    traces = kept.kept
    features, half = traces["sample_features"], first_half(run.schedule.samples)
    assert np.array_equal(features.sum(axis=2), kept.feature_sum)
    assert np.array_equal(features[:, :, :half].sum(axis=2), kept.feature_checkpoints[:, 0])
    assert np.array_equal(traces["sample_histogram"].sum(axis=2), kept.histogram)
    assert np.all(traces["sample_histogram"].sum(axis=-1) == kept.sites)


@pytest.mark.parametrize("run", [*FULL.values(), NINE], ids=[*FULL, "two groups"])
def test_the_last_spins_are_those_measured_last(run: SmallRun) -> None:
    traces = sampled(run, *KEEP).kept
    orbits = run.model.orbits(run.lattice, parameters_used(run.model, run.axes))
    clusters, classes = clusters_of(orbits), configurations(run.lattice.kind)
    found = np.empty(len(features_of(orbits)), np.int64)
    places = 1 << np.arange(run.lattice.neighbors(1).shape[1] + 1)
    rings = np.hstack([np.arange(run.lattice.sites)[:, None], run.lattice.neighbors(1)])
    for point, spins in enumerate(unpack_replicas(traces["spins"])):
        for replica, plain in enumerate(spins):
            measure_features(plain, clusters, found)
            assert np.array_equal(found, traces["sample_features"][point, replica, -1])
            counts = np.bincount(classes.table[plain[rings] @ places], minlength=len(classes))
            assert np.array_equal(counts, traces["sample_histogram"][point, replica, -1])


@pytest.mark.parametrize("name", sorted(RUNS.keys() - FULL.keys()))
def test_the_last_spins_of_random_bonds_have_their_magnetization(name: str) -> None:
    """Of two samples the second is what the first half lacks."""
    run = replace(RUNS[name], schedule=Schedule(2, 2, 1))
    found = sampled(run, "spins")
    up = unpack_replicas(found.kept["spins"]).sum(axis=-1, dtype=np.int64)
    last = (found.feature_sum - found.feature_checkpoints[:, 0])[..., -1]
    assert np.array_equal(last, 2 * up - found.sites)


def test_only_what_is_asked_for_is_kept() -> None:
    run = RUNS["square"]
    assert set(sampled(run, "spins").kept) == {"spins"}
    assert set(sampled(run, "samples").kept) == {"sample_features", "sample_histogram"}


def with_kept(sweep: Sweep, *keep: str) -> Sweep:
    return Sweep(sweep.lattice, sweep.model, sweep.grid, sweep.schedule, sweep.seed, keep=keep)


def test_a_store_keeps_what_it_was_asked_for(tmp_path: Path) -> None:
    sweep = with_kept(alloy_sweep(), "spins", "samples")
    path = undisturbed(sweep, tmp_path / "kept.zarr")
    ds, plain = open_sweep(path), open_sweep(undisturbed(alloy_sweep(), tmp_path / "plain.zarr"))
    assert set(ds.data_vars) - set(plain.data_vars) == KEPT
    for name in set(plain.data_vars) - {"checksum"}:
        assert ds[name].values.tobytes() == plain[name].values.tobytes(), name
    assert ds.sample_features.dims == ("x", "w1", "replica", "sample", "feature")
    assert ds.sample_histogram.dims == ("x", "w1", "replica", "sample", "configuration")
    assert ds.spins.dims == ("x", "w1", "site")
    assert ds.sizes["sample"] == 10
    assert {ds[name].dtype.name for name in KEPT} == {"int32", "uint64"}
    assert "bit r is replica r" in ds.spins.attrs["formula"]
    assert np.array_equal(ds.sample_features.mean("sample"), ds.features)
    assert np.array_equal(ds.sample_histogram.sum("sample"), ds.histogram_replica)
    ones = unpack_replicas(ds.spins.values).sum(axis=-1)
    assert np.array_equal(ones / 36, np.broadcast_to(ds.composition.values[..., None], ones.shape))


@pytest.mark.parametrize("block_points", [1, 4])
def test_law_1_any_block_size_gives_the_same_bits(tmp_path: Path, block_points: int) -> None:
    sweep = with_kept(alloy_sweep(), *KEEP)
    whole = undisturbed(sweep, tmp_path / "whole.zarr")
    cut = undisturbed(sweep, tmp_path / "cut.zarr", block_points=block_points)
    assert_same_bits(whole, cut)


def test_kept_variables_are_verified_and_packed(tmp_path: Path) -> None:
    path = undisturbed(with_kept(alloy_sweep(), *KEEP), tmp_path / "kept.zarr")
    packed = consolidate(path, tmp_path / "packed.zarr")
    assert_same_bits(path, packed.store)
    assert verify(path).damages == ()
    chunk = next(f for f in (path / "sample_histogram" / "c").rglob("*") if f.is_file())
    chunk.write_bytes(b"")
    assert [damage.chunks for damage in verify(path).damages] == [("sample_histogram",)]


def test_keep_is_part_of_a_spec_and_of_its_digest_if_there_is_any() -> None:
    plain = Sweep.from_toml(SPEC)
    kept = Sweep.from_toml(SPEC.replace("seed = 7", 'seed = 7\nkeep = ["spins", "samples"]'))
    assert kept.keep == ("samples", "spins")
    assert Sweep.from_toml(kept.to_toml()).to_toml() == kept.to_toml()
    assert pickle.loads(pickle.dumps(kept)).digest == kept.digest
    assert len({plain.digest, kept.digest, with_kept(plain, "spins").digest}) == 3
    assert "keep" not in plain.to_toml() + "".join(plain.description)
    assert with_kept(plain).digest == plain.digest


def test_a_plan_counts_what_is_kept_and_keeps_blocks_small() -> None:
    schedule = Schedule(10, 500, 1)
    parts = (square(16), Ising(), {"T": np.linspace(1, 4, 10_000)}, schedule)
    plain, kept = plan(Sweep(*parts)), plan(Sweep(*parts, keep=["samples", "spins"]))
    samples = 64 * 500 * (12 + 2) * 4
    assert kept.bytes - plain.bytes == 10_000 * (samples + 8 * 256)
    block = kept.blocks[0]
    assert block.points < plain.blocks[0].points
    assert block.points * kept.bytes / 10_000 < 2**27
    names = [v.name for v in LatticeKernel(*parts[:2], schedule, ("T",), ("spins",)).variables]
    assert names[-1] == "spins"
