"""Scattered points: fits, comparisons and refinements as on a grid of the same model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

from latticescape import (
    Ising,
    PairAlloy,
    RequestError,
    Schedule,
    Sweep,
    bootstrap,
    compare,
    configurations,
    fit,
    interpolate,
    landscape,
    leave_one_out,
    open_sweep,
    p_values,
    posterior,
    propose,
    reweight,
    run,
    sample_size,
    sobol,
    square,
    triangular,
    verify,
)
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.comparison.evidence import bayes_factors
from latticescape.analysis.inference.estimation.posterior import joint_region
from latticescape.analysis.phases.curves import curve_of
from latticescape.deploy.cli.main import main
from latticescape.deploy.examples import example
from latticescape.deploy.refinement import refine

CLASSES = configurations("honeycomb")
SPINS, NEIGHBORS = CLASSES.centre * 2.0 - 1, np.arange(8) % 4 - 1.5
FEATURES = np.array([SPINS * NEIGHBORS, NEIGHBORS**2, SPINS, NEIGHBORS])
TRUTH = {"w1": 0.12, "w2": -0.07, "w3": 0.05, "w4": 0.1}
RANGES = {"w1": (-0.4, 0.4), "w2": (-0.3, 0.3), "w3": (-0.3, 0.3), "w4": (-0.4, 0.3)}
COUNTS = 1500


def shares(w: Any) -> Any:
    """Probabilities of the classes at parameters (…, parameters), of exponential form."""
    energies = np.asarray(w) @ FEATURES[: np.shape(w)[-1]]
    weights = CLASSES.multiplicity * np.exp(energies + 0.1 * np.sin(energies))
    return weights / weights.sum(axis=-1, keepdims=True)


def sweep(points: dict[str, Any], *, seed: int = 1) -> xr.Dataset:
    """A sweep of points, with 64 replicas of 400 independent draws."""
    q = shares(np.stack([*points.values()], axis=-1))
    counts = np.random.default_rng(seed).multinomial(400, q[:, None].repeat(64, axis=1))
    columns = {name: ("point", values) for name, values in points.items()}
    return xr.Dataset(
        {"histogram_replica": (("point", "replica", "configuration"), counts)},
        {**columns, "label": ("configuration", np.array(CLASSES.labels))},
    )


def grid(parameters: int, values: int) -> xr.Dataset:
    """The same on a grid."""
    axes = [np.linspace(*ends, values) for ends in [*RANGES.values()][:parameters]]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, parameters)
    names = [*RANGES][:parameters]
    flat = sweep(dict(zip(names, mesh.T, strict=True)))
    return flat.set_index(point=names).unstack("point")


def design(parameters: int, number: int) -> xr.Dataset:
    return sweep(sobol(dict([*RANGES.items()][:parameters]), number, 3))


def observed(parameters: int, trial: int = 0, images: int = 1, counts: int = COUNTS) -> xr.Dataset:
    rng = np.random.default_rng([7, trial])
    q = shares([*TRUTH.values()][:parameters])
    drawn = {f"image {k}": rng.multinomial(counts // images, q) for k in range(images)}
    return counts_dataset(drawn, CLASSES)


@pytest.mark.parametrize(("parameters", "number"), [(1, 12), (2, 64), (4, 256)])
def test_errors_are_those_of_repeated_experiments(parameters: int, number: int) -> None:
    ds, names = design(parameters, number), [*RANGES][:parameters]
    surfaces = [landscape(ds, observed(parameters, trial)) for trial in range(24)]
    fits = [fit(surface, overlap="independent") for surface in surfaces]
    pairs = np.array([[one.parameters[name] for name in names] for one in fits])
    deviations = (pairs[..., 0] - [*TRUTH.values()][:parameters]) / pairs[..., 1]
    assert np.sqrt(np.mean(deviations**2)) == pytest.approx(1.0, abs=0.2)
    # The Fisher information of independent counts.
    step = 1e-5 * np.eye(parameters)
    centre = np.array([TRUTH[name] for name in names])
    slopes = (shares(centre + step) - shares(centre - step)) / 2e-5
    exact = np.linalg.inv(COUNTS * (slopes / shares(centre)) @ slopes.T)
    np.testing.assert_allclose(pairs[..., 1].mean(axis=0), np.sqrt(np.diag(exact)), rtol=0.15)
    assert not any(one.border or one.flat for one in fits)


def test_a_fit_is_that_of_a_grid() -> None:
    surfaces = [landscape(ds, observed(2)) for ds in (grid(2, 17), design(2, 256))]
    on_grid, scattered = (fit(surface, overlap="independent") for surface in surfaces)
    for name, (value, error) in on_grid.parameters.items():
        assert scattered.parameters[name][0] == pytest.approx(value, abs=0.2 * error)
        assert scattered.parameters[name][1] == pytest.approx(error, rel=0.15)
    assert scattered.s2_total == pytest.approx(on_grid.s2_total, abs=1e-4)


def test_the_order_of_points_does_not_matter_and_some_may_be_missing() -> None:
    ds = design(2, 64)
    first = fit(landscape(ds, observed(2)))
    order = np.random.default_rng(0).permutation(64)
    assert fit(landscape(ds.isel(point=order), observed(2))).parameters["w1"] == pytest.approx(
        first.parameters["w1"], rel=1e-3
    )
    part = ds.where(np.arange(64)[:, None, None] % 3 > 0, 0)
    partial = fit(landscape(part, observed(2)))
    value, error = first.parameters["w1"]
    assert partial.parameters["w1"][0] == pytest.approx(value, abs=error / 2)


def test_a_grid_flattened_is_the_same_landscape() -> None:
    """Some parameters on an axis, others together along a dimension."""
    on_grid = grid(3, 5)
    mixed = on_grid.stack(path=["w1", "w2"]).reset_index("path")
    one, other = (fit(landscape(ds, observed(3))) for ds in (on_grid, mixed))
    assert set(other.parameters) == {"w1", "w2", "w3"}
    for name, (value, error) in one.parameters.items():
        assert other.parameters[name][0] == pytest.approx(value, abs=0.3 * error)


def test_a_minimum_outside_is_said() -> None:
    ds = sweep(sobol({"w1": (-0.4, -0.1), "w2": (-0.3, 0.3)}, 64))
    outside = fit(landscape(ds, observed(2)))
    assert outside.border == ("w1",)
    assert np.isinf(outside.parameters["w1"][1])
    assert outside.extension["w1"][1] > -0.1


def test_bootstrap_posterior_and_region_agree() -> None:
    surface = landscape(design(2, 128), observed(2))
    errors = fit(surface, overlap="independent").parameters
    chains = posterior(surface, walkers=32, draws=100, overlap="independent").posterior
    drawn = bootstrap(surface, draws=200, overlap="independent")
    region = joint_region(surface, 0.95, points=61, overlap="independent")
    for name, (value, error) in errors.items():
        assert float(chains[name].mean()) == pytest.approx(value, abs=0.4 * error)
        assert float(chains[name].std()) == pytest.approx(error, rel=0.2)
        assert drawn.parameters[name][1] == pytest.approx(error, rel=0.2)
    assert bool(region.inside.sel(w1=TRUTH["w1"], w2=TRUTH["w2"], method="nearest"))
    assert float(interpolate(surface).on_grid(21).value.min()) < 0.01


def test_models_are_compared() -> None:
    ds, images = design(2, 64), observed(2, images=2, counts=6000)
    narrow = sweep({"w1": np.linspace(-0.4, 0.4, 17)})
    table = compare({"two": ds, "one": narrow, "random": "random"}, images, draws=99)
    same = compare({"two": grid(2, 8), "random": "random"}, images, draws=99)
    assert table.parameters.values.tolist() == [2, 1, 0]
    assert table.delta_bic.values[0] == 0
    assert float(table.bic[0]) == pytest.approx(float(same.bic[0]), abs=0.6)
    assert float(table.p_value_total[0]) > 0.05
    kept = leave_one_out({"two": ds, "random": "random"}, images)
    assert float(kept.s2_total[0]) < float(kept.s2_total[1])
    need = sample_size(ds, images, errors={"w1": 0.01})
    assert need.neighborhoods == pytest.approx(
        sample_size(grid(2, 8), images, errors={"w1": 0.01}).neighborhoods, rel=0.15
    )
    powers = [sample_size(each, images, against="random") for each in (design(2, 256), grid(2, 17))]
    assert powers[0].neighborhoods == pytest.approx(powers[1].neighborhoods, rel=0.15)
    box = {"w1": (-0.34, 0.3), "w2": (-0.24, 0.195)}
    fine = {"points": design(2, 256), "grid": grid(2, 41)}
    for prior in ({}, dict.fromkeys(fine, box)):
        z = bayes_factors(fine, images, prior=prior)
        assert float(z.ln_evidence[0]) == pytest.approx(float(z.ln_evidence[1]), abs=0.5)
        assert float(z.ln_evidence_laplace[0]) == pytest.approx(float(z.ln_evidence[0]), abs=0.2)
        assert float(z.border_mass[0]) < 0.01
    with pytest.raises(RequestError, match="empty or reaches outside"):
        bayes_factors({"two": ds}, images, prior={"two": {"w1": (-1.0, 0.0)}})


def test_p_values_of_a_true_model_between_few_points_are_no_smaller_than_stated() -> None:
    ds, p = design(4, 256), []
    for trial in range(20):
        rng = np.random.default_rng([3, trial])
        truth = [rng.uniform(0.7 * low, 0.7 * high) for low, high in RANGES.values()]
        counts = {"one": rng.multinomial(COUNTS, shares(truth))}
        tested = p_values(ds, counts_dataset(counts, CLASSES), draws=39, seed=trial)
        p.append(float(tested.p_value_total))
    # Draws fitted at the points alone had p ≤ .05 in 61 of 100 cases.
    assert np.mean(np.array(p) <= 0.05) <= 0.2
    assert 0.3 < np.mean(p) < 0.65


LINE = np.linspace(-0.3, 0.3, 12)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ({"w1": [0.1], "w2": [0.2]}, "too few points"),
        ({"w1": LINE[:3], "w2": LINE[:3] ** 2}, "too few points"),
        ({"w1": LINE, "w2": 2 * LINE - 0.1}, "12 points along 1 of 2 directions"),
        ({"w1": [*LINE, 0.3], "w2": [*LINE**2, 0.09]}, "there twice"),
    ],
)
@pytest.mark.parametrize("use", [fit, interpolate, lambda s: propose(s, {"w1": 0.01})])
def test_points_without_a_parabola_are_refused(
    points: dict[str, Any], reason: str, use: Callable[[xr.Dataset], Any]
) -> None:
    surface = landscape(sweep({n: np.array(v) for n, v in points.items()}), observed(2))
    with pytest.raises(RequestError, match=reason):
        use(surface)


def test_parameters_that_are_no_numbers_are_refused() -> None:
    surface = landscape(design(2, 16), observed(2))
    with pytest.raises(RequestError, match="no numbers along kind"):
        fit(surface.assign_coords(kind=("point", ["a"] * 16)))
    with pytest.raises(RequestError, match="no numbers along point"):
        fit(surface.drop_vars(["w1", "w2"]))


def test_an_image_has_one_composition() -> None:
    ds = design(2, 16).assign(composition=("point", np.linspace(0.4, 0.6, 16)))
    with pytest.raises(RequestError, match="different compositions"):
        landscape(ds, observed(2))


def refined(points: dict[str, Any], target: float, images: xr.Dataset) -> list[Any]:
    """Proposals until the end, each with the points that the earlier ones added."""
    proposals = []
    for _ in range(8):
        surface = landscape(sweep(points), images)
        proposals.append(propose(surface, dict.fromkeys(points, target), overlap="independent"))
        if proposals[-1].ends:
            break
        assert proposals[-1].scattered
        new = proposals[-1].axes
        points = {name: np.array([*values, *new[name]]) for name, values in points.items()}
    return proposals


@pytest.mark.parametrize(
    ("ranges", "number", "first"),
    [
        ({"w1": (-0.4, 0.4), "w2": (-0.3, 0.3)}, 32, "sharpen"),
        ({"w1": (-0.4, 0.0), "w2": (-0.3, 0.3)}, 64, "extend"),
        ({"w1": (-0.4, 0.4), "w2": (-0.3, 0.3)}, 8, "search"),
    ],
)
def test_points_are_proposed_until_the_target_is_reached(
    ranges: dict[str, Any], number: int, first: str
) -> None:
    proposals = refined(sobol(ranges, number, 3), 0.003, observed(2))
    assert [proposals[0].status, proposals[-1].status] == [first, "reached"]
    assert all(len(p.axes["w1"]) == len(p.axes["w2"]) == p.points for p in proposals[:-1])
    best = fit(landscape(design(2, 1024), observed(2)), overlap="independent").parameters
    for name, value in proposals[-1].estimate.items():
        assert abs(value - best[name][0]) < 5 * proposals[-1].errors[name]


def test_points_keep_the_budget_and_the_limits() -> None:
    surface = landscape(design(2, 32), observed(2))
    few = propose(surface, {"w1": 1e-4}, budget=3)
    assert (few.status, few.points) == ("sharpen", 3)
    assert few == propose(surface, {"w1": 1e-4}, budget=3)
    outside = landscape(sweep(sobol({"w1": (-0.4, 0.0), "w2": (-0.3, 0.3)}, 64, 3)), observed(2))
    near = propose(outside, {"w1": 1e-3}, limits={"w1": (-0.4, 0.05)})
    assert near.status == "extend"
    assert outside.w1.max() < min(near.axes["w1"]) < 0.0 < max(near.axes["w1"]) < 0.05


SCATTERED = Sweep(
    triangular(12),
    PairAlloy(x=0.5),
    schedule=Schedule(60, 10, 5),
    points=sobol({"w1": (-0.4, 0.4), "w2": (-0.3, 0.3)}, 16, 1),
    seed=5,
)


def test_the_verbs_take_a_store_of_points(tmp_path: Path) -> None:
    store, counts = tmp_path / "points.zarr", tmp_path / "counts.csv"
    ds = run(SCATTERED, store, cluster="inline", progress=False)
    at = int(np.argmin(np.abs(ds.w1.values + 0.1)))
    image = ds.histogram.values[at] // 20
    table = pd.read_csv(example("mores2_counts.csv"), comment="#")
    classes = [name for name in table if not str(name).startswith("re")]
    table[classes].assign(one=image).to_csv(counts, index=False)

    def verb(name: str, *arguments: object, code: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(main, [name, *map(str, arguments), "--json"])
        assert result.exit_code == code, result.output
        read: dict[str, Any] = json.loads(result.stdout)
        return read

    best = verb("fit", store, counts)["parameters"]
    assert abs(best["w1"]["value"] - float(ds.w1[at])) < 3 * best["w1"]["se"]
    lowest = verb("landscape", store, counts)["minimum_of_s2_on_the_grid"]
    assert lowest["w1"] == float(ds.w1[at])
    table = verb("compare", counts, "--model", f"pair={store}", "--random", "--p-value", "chi2")
    assert "pair" in json.dumps(table)
    verb("sample-size", counts, "--model", f"pair={store}", "--error", "w1=0.01")
    target = ("--target", "w1=0.006", "--cluster", "inline", "--quiet")
    made = verb("refine", store, counts, *target)
    assert made["reached"]
    assert made["computed"] == made["points"] - 16 > 0
    new = made["rounds"][0]["new_values"]
    assert len(new["w1"]) == len(new["w2"]) == made["rounds"][1]["computed"]
    last = open_sweep(made["store"])
    np.testing.assert_array_equal(last.energy[:16], ds.energy)
    assert not verify(made["store"]).damages
    again = verb("refine", store, counts, *target)
    assert (again["store"], again["rounds"][1]["computed"]) == (made["store"], 0)


def test_a_sweep_of_points_at_all_of_an_axis_is_not_refined(tmp_path: Path) -> None:
    grid, points = {"w1": [-0.3, -0.1, 0.1]}, {"w2": [-0.2, 0.0, 0.1, 0.2]}
    mixed = Sweep(triangular(6), PairAlloy(x=0.5), grid, Schedule(5, 2, 2), points=points)
    ds = run(mixed, tmp_path / "m.zarr", cluster="inline", progress=False)
    image = counts_dataset({"one": ds.histogram.values[1, 1]}, configurations("triangular"))
    with pytest.raises(RequestError, match="points at all of an axis cannot be refined"):
        refine(tmp_path / "m.zarr", image, {"w1": 1e-5}, client="inline", progress=False)


def test_references_may_be_points(tmp_path: Path) -> None:
    axes = {"T": [2.5, 2.8], "H": [0.0, 0.1]}
    rows = [{"T": T, "H": H} for T in axes["T"] for H in axes["H"]]
    short = Schedule(20, 10, 2)
    options: dict[str, Any] = {"schedule": short, "seed": 3, "keep": ("samples",)}
    sweeps = {"grid": {"grid": axes}, "points": {"points": rows}}
    made = {
        name: run(
            Sweep(square(4), Ising(), **how, **options),
            tmp_path / f"{name}.zarr",
            cluster="inline",
            progress=False,
        )
        for name, how in sweeps.items()
    }
    one, other = (reweight(ds, {"T": [2.6], "H": [0.05]}) for ds in made.values())
    xr.testing.assert_allclose(one.drop_vars("distance"), other.drop_vars("distance"))
    with pytest.raises(RequestError, match=r"vary with other parameters.*in \[grid\]"):
        curve_of(made["points"], square(4))
