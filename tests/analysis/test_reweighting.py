"""Reweighting: from the samples of a sweep to other points, and where that must not be trusted."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from benchmarks import reweighting as benchmark
from benchmarks.reweighting import computed, observed_at_truth, sweep_of
from latticescape.analysis import fit, landscape, reweight, reweighted_landscape
from latticescape.analysis.inference.reweighting.mixture import Mixture, Weighed, Weigher, among
from latticescape.analysis.inference.reweighting.references import (
    References,
    Simulated,
    turned_classes,
)
from latticescape.analysis.inference.reweighting.reweighting import beside_untrusted
from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    RequestError,
    Schedule,
    configurations,
    count_configurations,
    cubic,
    honeycomb,
    square,
    triangular,
)
from latticescape.physics.exact.enumeration import enumerate_states
from latticescape.sweeps import Sweep, open_sweep
from tests.support.runs import undisturbed

SHORT = Schedule(100, 20, 5)
OBSERVABLES = ("energy", "magnetization_abs", "susceptibility_abs", "heat_capacity")


def sampled(
    model: Model, lattice: Lattice, grid: dict[str, list[float]], schedule: Schedule = SHORT
) -> xr.Dataset:
    return computed(Sweep(lattice, model, grid, schedule, seed=4, keep=["samples"]))


@pytest.fixture(scope="module")
def coarse() -> xr.Dataset:
    grid = {name: np.linspace(*ends, 4) for name, ends in benchmark.BOX.items()}
    return computed(sweep_of(grid, SHORT, 12, 1, ["samples"]))


@pytest.fixture(scope="module")
def observed() -> xr.Dataset:
    return observed_at_truth(SHORT, 12)


@pytest.mark.parametrize(
    ("lattice", "references"),
    [
        (square(4), {"T": [2.2, 3.0], "H": [0.0]}),
        (square(4), {"T": [2.6], "H": [0.1]}),
        (triangular(4), {"T": [3.5, 4.5], "H": [0.0, 0.2]}),
        (honeycomb(3), {"T": [1.6, 2.2], "H": [0.1]}),
    ],
    ids=["two", "single histogram", "four", "honeycomb"],
)
def test_reweighted_points_agree_with_exact_enumeration(
    lattice: Lattice, references: dict[str, list[float]]
) -> None:
    ds = sampled(Ising(), lattice, references, Schedule(200, 100, 5))
    states = enumerate_states(lattice, Ising())
    T, H = 0.5 * min(references["T"]) + 0.5 * max(references["T"]) - 0.03, 0.06
    found = reweight(ds, {"T": [T], "H": [H]}).isel(T=0, H=0)
    exact = states.expect(T=T, H=H)
    assert bool(found.trusted)
    z = [
        (found[name].item() - exact[name]) / found[f"{name}_se"].item()
        for name in ("magnetization", *OBSERVABLES)
    ]
    z += list((found.features.values - exact["features"]) / found.features_se.values)
    z += class_deviations(found, exact["configurations"])
    assert np.abs(z).max() < 5
    other = states.expect(T=T * 1.1, H=H)
    wrong = (found.energy.item() - other["energy"]) / found.energy_se.item()
    assert abs(wrong) > 10


def class_deviations(found: xr.Dataset, exact: npt.NDArray[np.float64]) -> list[float]:
    """z of the frequencies of the configurations that are not rare."""
    counts = found["histogram_replica"].values
    total = counts.sum(axis=0)
    left_out = total - counts
    left_out /= left_out.sum(axis=1, keepdims=True)
    error = np.sqrt((len(counts) - 1) * left_out.var(axis=0))
    common = exact > 1e-3
    return list(((total / total.sum() - exact) / error)[common])


@pytest.mark.filterwarnings("ignore:Unknown solver options")
def test_free_energies_and_their_errors_are_those_of_pymbar(
    coarse: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        from pymbar import MBAR
    references = References.of(Simulated(coarse), {})
    assert references is not None
    mixture = Mixture.of(references)
    features = references.features.transpose(1, 0, 2, 3).reshape(-1, 2)
    count = len(references.reduced)
    other = MBAR(
        references.reduced @ features.T,
        np.full(count, len(features) // count),
        relative_tolerance=1e-10,
    )
    ours = mixture.free_energies - mixture.free_energies[0]
    np.testing.assert_allclose(ours, other.f_k, atol=1e-9)
    apart = mixture.left_out - mixture.left_out[:, :1]
    errors = np.sqrt(63 * apart.var(axis=0))[1:]
    reported = other.compute_free_energy_differences()["dDelta_f"][0, 1:]
    # Those of pymbar hold for independent samples.
    assert 0.7 < np.median(errors / reported) < 1.5


def test_a_row_is_what_leaving_out_its_replica_takes(coarse: xr.Dataset) -> None:
    """To first order in what that changes in the free energies, which is most of it."""
    whole = References.of(Simulated(coarse), {})
    assert whole is not None
    target = whole.reduced[:2].mean(axis=0)[None, :]

    def frequencies(references: References) -> Weighed:
        columns = references.histogram.astype(float)
        columns = columns.reshape(len(columns), -1, columns.shape[-1])
        ((_, found),) = Weigher(Mixture.of(references), columns).weigh(target)
        return found

    found = frequencies(whole).sums[0]
    every = found.sum(axis=0)
    reported, true = [], []
    for replica in range(0, 64, 8):
        kept = np.delete(np.arange(64), replica)
        rest = replace(whole, features=whole.features[kept], histogram=whole.histogram[kept])
        sums = frequencies(rest).sums[0].sum(axis=0)
        change = every - found[replica]
        true.append(sums / sums.sum() - every / every.sum())
        reported.append(change / change.sum() - every / every.sum())
    np.testing.assert_allclose(reported, true, atol=0.1 * np.abs(true).max())


def test_at_its_references_a_sweep_is_itself_but_sharper(coarse: xr.Dataset) -> None:
    axes = {name: coarse[name].values for name in ("w1", "w2")}
    found = reweight(coarse, axes)
    assert bool(found["trusted"].all())
    assert not found["beyond"].any()
    assert float(found["distance"].max()) == 0
    assert float((found["energy_se"] / coarse["energy_se"]).median()) < 0.8
    z = (found["energy"] - coarse["energy"]) / coarse["energy_se"]
    assert float(np.abs(z).max()) < 5
    sites = found["histogram_replica"].sum(("replica", "configuration")) / 144
    np.testing.assert_allclose(sites, found["effective_n"])


def test_a_fine_landscape_is_that_of_a_fine_sweep_for_far_fewer_flips(
    coarse: xr.Dataset, observed: xr.Dataset
) -> None:
    random = np.random.default_rng(3)
    points = {n: np.sort(random.uniform(*ends, 6)) for n, ends in benchmark.BOX.items()}
    direct = computed(sweep_of(points, SHORT, 12, 2, []))
    found = benchmark.compared(reweight(coarse, points), direct, observed)
    assert found.trusted.all()
    assert np.abs(found.z).max() < 5
    assert 0.6 < np.sqrt(np.mean(found.z**2)) < 1.4
    assert 101**2 * found.gain / 16 > 20


def test_a_landscape_in_slabs_is_one_landscape(
    coarse: xr.Dataset, observed: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = benchmark.fine_grid(5)
    whole = reweighted_landscape(coarse, observed, axes)
    monkeypatch.setattr("latticescape.analysis.inference.reweighting.reweighting.SLAB_BYTES", 1)
    xr.testing.assert_allclose(reweighted_landscape(coarse, observed, axes), whole, rtol=1e-9)
    plain = landscape(reweight(coarse, axes), observed)
    xr.testing.assert_allclose(whole["s2_total_se"], plain["s2_total_se"], rtol=1e-9)
    assert whole.attrs["beside_untrusted"] == ", ".join(beside_untrusted(whole))


def test_far_extrapolation_is_flagged_and_its_edge_is_no_minimum(observed: xr.Dataset) -> None:
    """The truth, w1 = -0.13 and w2 = -0.04, is out of reach of these references."""
    away = {"w1": [0.2, 0.26], "w2": [0.2, 0.26]}
    ds = computed(sweep_of(away, SHORT, 24, 1, ["samples"]))
    axes = {"w1": np.linspace(-0.3, 0.3, 31), "w2": np.linspace(-0.3, 0.3, 31)}
    surface = reweighted_landscape(ds, observed, axes)
    assert 0 < float(surface["trusted"].mean()) < 0.2
    truth = surface.sel(w1=-0.13, w2=-0.04, method="nearest")
    assert not truth["trusted"]
    assert np.isnan(truth["s2_total"])
    assert np.array_equal(np.isfinite(surface["s2_total"]), surface["trusted"])
    assert surface.attrs["beside_untrusted"]
    near = reweighted_landscape(ds, observed, {"w1": [0.22, 0.24], "w2": [0.22, 0.24]})
    assert near["trusted"].all()


def test_what_is_flagged_is_what_is_wrong() -> None:
    """Beyond the references the error that is reported is too small, and they say so before."""
    w1 = [0.0, 0.05, 0.2, 0.3]
    ds = sampled(PairAlloy(x=0.5), triangular(24), {"w1": [0.0]})
    direct = sampled(PairAlloy(x=0.5), triangular(24), {"w1": w1})
    found = reweight(ds, {"w1": w1})
    z = np.abs((found["energy"] - direct["energy"]) / np.hypot(found.energy_se, direct.energy_se))
    assert found["trusted"].values.tolist() == [True, True, False, False]
    assert np.all(z.values[2:] > 5)
    assert z.values[1] < 5
    assert np.all(np.diff(found["distance"]) > 0)


def test_references_that_share_no_samples_do_not_know_each_others_weight() -> None:
    ds = sampled(PairAlloy(x=0.5), triangular(24), {"w1": [-0.5, 0.3]})
    found = reweight(ds, {"w1": np.linspace(-0.5, 0.3, 9)})
    assert found["trusted"].values[[0, -1]].all()
    assert not found["trusted"].values[2:-2].any()
    assert found["beyond"].values.tolist() == [False, *[True] * 7, False]


def test_the_phase_on_the_other_side_is_not_missed() -> None:
    """At low temperatures no weight tells that at -H all spins are down; their symmetry does."""
    fields = [0.5, 0.2, 0.0, -0.2, -0.5]
    ds = sampled(Ising(T=1.2), square(16), {"H": [0.5]})
    found, direct = reweight(ds, {"H": fields}), sampled(Ising(T=1.2), square(16), {"H": fields})
    assert found["trusted"].all()
    off = np.abs(found["magnetization"] - direct["magnetization"])
    assert (off < 1e-3 + 5 * direct["magnetization_se"]).all()
    assert float(found["effective_n"].max()) <= 64 * SHORT.samples
    counts = found["histogram_replica"].sum("replica")
    turned = turned_classes(configurations("square"))
    np.testing.assert_allclose(counts.sel(H=-0.5), counts.sel(H=0.5)[turned])
    at_reference = counts.sel(H=0.5) / counts.sel(H=0.5).sum()
    same = ds["histogram"].isel(H=0) / ds["histogram"].sum()
    np.testing.assert_allclose(at_reference, same, atol=1e-12)


@pytest.mark.parametrize("lattice", [square(4), triangular(4), honeycomb(3), cubic(3)])
def test_turned_spins_are_of_the_turned_class(lattice: Lattice) -> None:
    spins = np.random.default_rng(1).integers(0, 2, lattice.sites).astype(np.uint8)
    sites, rings = np.arange(lattice.sites), lattice.neighbors(1)
    classes = configurations(lattice.kind)
    one, other = (count_configurations(s, sites, rings, classes) for s in (spins, 1 - spins))
    assert np.array_equal(other, one[turned_classes(classes)])


def test_compositions_do_not_mix(observed: xr.Dataset) -> None:
    sweep = Sweep(
        triangular(12),
        PairAlloy(),
        {"x": [0.25, 0.5], "w1": [0.0, 0.1]},
        SHORT,
        seed=1,
        keep=["samples"],
    )
    ds = computed(sweep)
    found = reweight(ds, {"w1": [0.02, 0.05, 0.08]})
    assert found["energy"].dims == ("x", "w1")
    assert found["composition"].values.tolist() == [0.25, 0.5]
    alone = reweight(ds.sel(x=0.5), {"w1": [0.02, 0.05, 0.08]})
    xr.testing.assert_allclose(found.sel(x=0.5), alone)
    xr.testing.assert_allclose(
        reweight(ds, {"w1": [0.05], "x": [0.5]}), found.sel(x=[0.5], w1=[0.05])
    )
    surface = reweighted_landscape(ds, observed, {"w1": [0.02, 0.05, 0.08]})
    assert surface["s2"].dims == ("image", "w1")
    assert fit(surface).border == ("w1",)


def test_points_that_are_not_done_are_no_references() -> None:
    ds = sampled(PairAlloy(x=0.5), triangular(6), {"w1": [0.0, 0.1, 0.2]})
    broken = ds.copy(deep=True)
    broken["sample_features"][2] = 0
    broken["sample_histogram"][2] = 0
    done = ds["energy"].copy(data=[True, True, False])
    found = reweight(broken.assign(done=done), {"w1": [0.05]})
    xr.testing.assert_identical(found, reweight(ds.isel(w1=slice(2)), {"w1": [0.05]}))
    nothing = reweight(broken.assign(done=done & False), {"w1": [0.05]})
    assert not nothing["trusted"]
    assert np.isnan(nothing["energy"])
    assert set(nothing) - {"composition"} == set(found) - {"composition"}


def test_a_parameter_that_the_sweep_fixed_can_be_reweighted() -> None:
    ds = sampled(PairAlloy(x=0.5, T=2.0), triangular(6), {"w1": [-0.2, 0.2]})
    found = reweight(ds, {"w1": [0.1], "T": [1.0]}).isel(T=0, w1=0)
    same = reweight(ds, {"w1": [0.2], "T": [2.0]}).isel(T=0, w1=0)
    assert float(found["energy"]) == pytest.approx(float(same["energy"]) / 2)
    assert found["energy"].attrs["units"] == "k_B T0"


def test_a_store_is_reweighted_as_it_is(tmp_path: Path) -> None:
    sweep = Sweep(
        triangular(6), PairAlloy(x=0.5), {"w1": [0.0, 0.1]}, SHORT, seed=4, keep=["samples"]
    )
    opened = open_sweep(undisturbed(sweep, tmp_path / "kept.zarr"))
    found, here = reweight(opened, {"w1": [0.05]}), reweight(computed(sweep), {"w1": [0.05]})
    assert found["histogram_replica"].values.tobytes() == here["histogram_replica"].values.tobytes()
    assert "multiplicity" in found.coords


def test_the_hull_of_references() -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = np.array([[0.5, 0.5], [1.0, 1.0], [1.1, 0.5]])
    assert among(corners, points).tolist() == [True, True, False]
    assert among(corners[:1], points - 0.5).tolist() == [True, False, False]


ALLOY = {"w1": [0.0, 0.1]}
WRONG = {
    "no samples": (lambda ds: ds.drop_vars("sample_features"), ALLOY, "no samples"),
    "an axis left out": (lambda ds: ds, {"w2": [0.1]}, "axis of the sweep has no new values"),
    "nothing": (lambda ds: ds, {}, "no new values"),
    "another composition": (lambda ds: ds, ALLOY | {"x": [0.6]}, "came: x = 0.6; allowed: x = 0.5"),
    "an unknown parameter": (lambda ds: ds, ALLOY | {"H": [0.1]}, "H is not a parameter"),
    "a temperature of zero": (lambda ds: ds, ALLOY | {"T": [0.0]}, "T > 0"),
    "not a number": (lambda ds: ds, {"w1": [np.nan]}, "values of w1"),
    "words": (lambda ds: ds, {"w1": "all"}, "values of w1"),
    "a table": (lambda ds: ds, {"w1": [[0.1]]}, "values of w1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_requests_are_told(wrong: str) -> None:
    changed, axes, reported = WRONG[wrong]
    ds = sampled(PairAlloy(x=0.5), triangular(4), {"w1": [0.0, 0.1]}, Schedule(2, 2, 1))
    with pytest.raises(RequestError, match=reported):
        reweight(changed(ds), axes)


def test_a_feature_that_was_not_measured_is_told() -> None:
    ds = sampled(Ising(), square(4), {"T": [2.0, 2.5]}, Schedule(2, 2, 1))
    with pytest.raises(RequestError, match="spin_product_2 was not measured"):
        reweight(ds, {"T": [2.2], "J2": [0.1]})
    with pytest.raises(RequestError, match="fewest must be a number"):
        reweight(ds, {"T": [2.2]}, fewest=0)


def test_samples_beyond_the_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ds = sampled(Ising(), square(4), {"T": [2.0, 2.5]}, Schedule(2, 2, 1))
    monkeypatch.setattr("latticescape.analysis.inference.reweighting.references.MOST_BYTES", 1000)
    with pytest.raises(RequestError, match="isel"):
        reweight(ds, {"T": [2.2]})
