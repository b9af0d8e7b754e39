"""Models compared: p-values in three ways, evidence, images left out, data needed, the verbs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from scipy.stats import chi2, kstest

from latticescape.analysis import (
    Accumulator,
    bayes_factors,
    compare,
    fit,
    landscape,
    leave_one_out,
    observed_counts,
    p_values,
    random_mixing,
    sample_size,
    slab_landscape,
)
from latticescape.analysis.counts.counting import count_lattices, counts_dataset
from latticescape.analysis.inference.comparison.comparison import model_weights
from latticescape.analysis.inference.comparison.models import argmin_s2, reweighed
from latticescape.analysis.inference.comparison.verdict import (
    established,
    explanations,
    verdict,
)
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.sample_size import noncentrality
from latticescape.deploy.cli.main import main
from latticescape.deploy.examples import example
from latticescape.deploy.sources import needed
from latticescape.physics import RequestError, configurations, triangular
from latticescape.sweeps import open_sweep
from tests.support.command_line import json_of, latticescape
from tests.support.runs import alloy_sweep, undisturbed
from tests.support.sharing import compute_once
from tests.support.slabs import DATA, SOURCES, W_LL, slab_store, sources_file

CLASSES = configurations("honeycomb")
X = (0.5, 0.3)
AXIS = np.linspace(-0.6, 0.6, 25)
PUBLISHED_FRACTIONS = [0.3185, 0.7837, 0.6921, 0.5270]


def true_probability(w: float, x: float) -> npt.NDArray[np.float64]:
    """Random mixing, tilted by w for every unlike neighbour."""
    unlike = np.where(CLASSES.centre == 1, 3 - CLASSES.neighbors, CLASSES.neighbors)
    weights: npt.NDArray[np.float64] = CLASSES.random_mixing(x) * np.exp(-w * unlike)
    return weights / weights.sum()


def exact_sweep(axis: npt.NDArray[np.float64] = AXIS) -> xr.Dataset:
    """A sweep's Dataset that knows the truth but for rounding, the same in every replica."""
    rows = np.array([[true_probability(w, x) for w in axis] for x in X])
    counts = np.rint(rows * 1e9).astype(np.int64)[:, :, None, :].repeat(64, axis=2)
    return xr.Dataset(
        {"histogram_replica": (("x", "w", "replica", "configuration"), counts)},
        {"x": list(X), "w": axis, "label": ("configuration", np.array(CLASSES.labels))},
        {"lattice": "honeycomb"},
    )


SWEEP = exact_sweep()


def published_fit(surface: xr.Dataset) -> Fit:
    """The minimum of S², as models are compared at, with images' errors taken as independent."""
    return argmin_s2(reweighed(surface, surface["n"]))


def drawn(w: float, seed: int, n: int = 400, images: int = 2) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    rows = {f"image {k}": rng.multinomial(n, true_probability(w, X[k % 2])) for k in range(images)}
    at = [X[k % 2] for k in range(images)]
    return counts_dataset(rows, CLASSES).assign(composition=("image", at))


@pytest.fixture(scope="module")
def lecture() -> xr.Dataset:
    return observed_counts(example("mores2_counts.csv"))


def test_the_bootstrap_of_the_random_alloy_gives_the_p_values_of_the_science(
    lecture: xr.Dataset,
) -> None:
    found = p_values("random", lecture, draws=4999)
    expected = np.array([0.37, 0.002, 0.012, 0.06])
    assert np.allclose(found.p_value, expected, atol=0.01)
    assert np.allclose(found.p_value_se, np.sqrt(found.p_value * (1 - found.p_value) / 4999))
    assert float(found.p_value_total) < 0.002
    assert found.attrs["p_value_way"] == "bootstrap"


def test_chi2_takes_the_authors_effective_fractions(lecture: xr.Dataset) -> None:
    found = p_values("random", lecture, way="chi2", fraction=PUBLISHED_FRACTIONS)
    s2 = random_mixing(lecture).s2.values
    expected = chi2(25).sf(4 * lecture.n.values * PUBLISHED_FRACTIONS * s2)
    assert np.allclose(found.p_value, expected)
    assert np.allclose(found.p_value, [1.0, 0.0042, 0.0731, 0.9838], atol=1e-4)


def test_fewer_effective_neighbourhoods_make_larger_p_values(lecture: xr.Dataset) -> None:
    alone = p_values("random", lecture, seed=3)
    shared = p_values("random", lecture, seed=3, fraction=PUBLISHED_FRACTIONS)
    assert (shared.p_value > alone.p_value).all()
    known = lecture.assign(effective_n=lecture.n * np.array(PUBLISHED_FRACTIONS))
    assert np.array_equal(p_values("random", known, seed=3).p_value, shared.p_value)


@pytest.fixture(scope="module")
def fitted_and_held(tmp_path_factory: pytest.TempPathFactory) -> npt.NDArray[np.float64]:
    """P-values of a true model in 200 experiments, (200, 2): with a fit to each draw, and without.

    Without, only in the first 100.
    """

    def compute(_: Path) -> npt.NDArray[np.float64]:
        found = np.full((200, 2), np.nan)
        for seed in range(200):
            observed = drawn(0.15, seed)
            surface = landscape(SWEEP, observed)
            for column, refit in enumerate((True, False)[: 1 + (seed < 100)]):
                tested = p_values(surface, observed, draws=49, seed=seed, refit=refit)
                found[seed, column] = tested.p_value_total
        return found

    return compute_once(tmp_path_factory, "p_values", compute)


@pytest.mark.statistical
def test_p_values_of_a_true_fitted_model_are_uniform_and_those_of_a_wrong_one_are_not(
    fitted_and_held: npt.NDArray[np.float64],
) -> None:
    wrong = [
        float(p_values("random", drawn(0.15, seed), draws=49, seed=seed).p_value_total)
        for seed in range(200)
    ]
    assert kstest(fitted_and_held[:, 0], "uniform").pvalue > 0.01
    assert kstest(wrong, "uniform").pvalue < 0.001


@pytest.mark.statistical
def test_without_fitting_the_draws_p_values_are_too_large(
    fitted_and_held: npt.NDArray[np.float64],
) -> None:
    refitted, held = fitted_and_held[:100].T
    assert held.mean() > refitted.mean() + 0.02


def test_a_composition_measured_from_few_centres_is_allowed_for() -> None:
    """With x from the centres alone the image lies farther off; draws measured alike do as well."""
    known = drawn(0.0, 4, n=60)
    measured = counts_dataset(
        {str(i): row.astype(int) for i, row in zip("ab", known.counts.values, strict=True)},
        CLASSES,
    )
    held = p_values("random", measured, seed=2)
    alike = p_values("random", measured, seed=2, composition="measured")
    assert float(alike.p_value_total) > float(held.p_value_total)
    kept = p_values(SWEEP, known, seed=2, composition="measured")
    assert 0 < float(kept.p_value_total) <= 1


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Tables of atoms of two random alloys, the second of them with stripes."""
    folder, rng = tmp_path_factory.mktemp("atoms"), np.random.default_rng(4)
    lattice = triangular(16)
    mixed = rng.permutation(np.arange(lattice.sites) % 2)
    striped = (np.arange(lattice.sites) // 16) % 2
    paths = []
    for name, species in (("mixed", mixed), ("striped", striped)):
        table = pd.DataFrame(lattice.positions * 10, columns=["col_px", "row_px"])
        paths.append(folder / f"{name}.csv")
        table.assign(species=np.where(species == 1, "Re", "Mo")).to_csv(paths[-1], index=False)
    return paths


def test_shuffling_tells_order_from_disorder_on_the_real_sites(tables: list[Path]) -> None:
    observed = observed_counts(tables, species=("Mo", "Re"))
    found = p_values("random", observed, way="shuffle")
    assert np.allclose(found.p_value, observed.p_random)
    assert found.p_value.values[0] > 0.05
    assert found.p_value.values[1] == float(found.p_value_total) == pytest.approx(1 / 1001)
    assert (observed.effective_n < observed.n).all()
    table = compare({"random": "random"}, observed, p_value="shuffle")
    assert table.p_value_way.values.tolist() == ["shuffle"]


def test_shuffling_is_refused_where_it_tells_nothing(lecture: xr.Dataset) -> None:
    with pytest.raises(RequestError, match="sites are not known"):
        p_values("random", lecture, way="shuffle")
    with pytest.raises(RequestError, match="test no other model"):
        p_values(SWEEP, drawn(0.1, 1), way="shuffle")


def test_the_table_of_the_lecture_in_both_conventions(lecture: xr.Dataset) -> None:
    models = {"random": "random"}
    table, standard = (
        compare(models, lecture, convention=c)
        for c in ("lecture", "standard")  # type: ignore[arg-type]
    )
    assert float(table.bic[0]) == pytest.approx(73.70, abs=0.01)
    assert np.allclose(standard.bic, 2 * table.bic)
    assert np.allclose(table.p_chi2, [[0.9906, 0.0001, 0.0012, 0.5551]], atol=1e-4)
    assert table.p_value_way.values.tolist() == ["simulation"]
    assert model_weights([73.4, 71.4, 73.6, 76.1], "lecture").argmax() == 1


def test_compare_finds_the_model_that_made_the_images() -> None:
    models = {"random": "random", "tilted": SWEEP}
    table = compare(models, drawn(0.3, 6, images=4), p_value="bootstrap")
    assert table.delta_bic.values[1] == 0 < table.delta_bic.values[0]
    assert table.weight.values[1] > 0.99
    assert table.best.sel(model="tilted").item() == pytest.approx(0.3, abs=0.1)
    assert np.isnan(table.best.sel(model="random").item())
    assert table.p_value_total.values[0] < 0.01 < table.p_value_total.values[1]


@pytest.mark.statistical
def test_drawn_configurations_give_uniform_p_values_where_independent_ones_do_not() -> None:
    lattice = triangular(16)
    rng = np.random.default_rng(21)
    alloys = rng.permuted(np.tile(np.arange(256) < 128, (40, 1)), axis=1).astype(int)
    counts = count_lattices(alloys, lattice)
    p = {
        way: [
            float(p_values("random", counts.isel(image=[k]), way=way, draws=99).p_value_total)
            for k in range(40)
        ]
        for way in ("simulation", "bootstrap")
    }
    assert kstest(p["simulation"], "uniform").pvalue > 0.001
    assert np.mean(np.array(p["bootstrap"]) <= 0.05) > 0.15


def test_configurations_of_a_landscape_cannot_be_drawn(lecture: xr.Dataset) -> None:
    with pytest.raises(RequestError, match="no configurations can be drawn"):
        p_values(random_mixing(lecture), lecture, way="simulation")


def test_landscapes_alone_are_compared_as_published() -> None:
    observed = drawn(0.1, 2)
    surfaces = {"random": random_mixing(observed), "tilted": landscape(SWEEP, observed)}
    table = compare(surfaces)
    assert table.p_value_way.values.tolist() == ["chi2", "chi2"]
    assert np.array_equal(table.p_value, table.p_chi2)
    bare = {"tilted": surfaces["tilted"].drop_vars("probability", errors="ignore")}
    with pytest.raises(RequestError, match="no probabilities to draw from"):
        compare(bare, p_value="bootstrap")


def test_a_landscape_is_tested_as_its_sweep_is() -> None:
    observed = drawn(0.3, 6, images=3)
    swept, surface = SWEEP, landscape(SWEEP, observed)
    tables = [
        compare({"tilted": m}, observed, p_value="bootstrap", draws=99) for m in (swept, surface)
    ]
    xr.testing.assert_allclose(*tables)


def test_effective_fractions_scale_the_likelihood() -> None:
    observed = drawn(0.2, 3)
    whole, half = (compare({"t": SWEEP}, observed, fraction=f) for f in (1.0, 0.5))
    ratio = float(half.best_se[0, 0] / whole.best_se[0, 0])
    assert ratio == pytest.approx(np.sqrt(2), rel=0.02)
    assert half.n.values.tolist() == whole.n.values.tolist()


def test_a_minimum_at_the_border_comes_with_the_axis_to_take() -> None:
    narrow = exact_sweep(np.linspace(-0.6, 0.0, 7))
    table = compare({"t": narrow}, drawn(0.4, 1), p_value="chi2")
    assert table.border.item() == "extend w to -0.6 … 0.3"


def test_missing_points_are_counted() -> None:
    holes = SWEEP.copy(deep=True)
    holes["histogram_replica"][0, :5] = 0
    models: dict[str, Any] = {"t": holes, "whole": SWEEP}
    table, factors = compare(models, drawn(0.2, 1)), bayes_factors(models, drawn(0.2, 1))
    assert table.points_missing.values.tolist() == [5, 0]
    assert factors.points_missing.values.tolist() == [5, 0]
    nothing = SWEEP.assign(histogram_replica=SWEEP.histogram_replica * 0)
    with pytest.raises(RequestError, match="no point of the"):
        p_values(nothing, drawn(0.2, 1))


def test_the_integral_and_laplaces_evidence_agree_and_know_their_prior() -> None:
    observed = drawn(0.1, 5, n=1500)
    found = bayes_factors({"t": SWEEP}, observed)
    assert float(found.ln_evidence[0]) == pytest.approx(
        float(found.ln_evidence_laplace[0]), abs=0.1
    )
    assert float(found.border_mass[0]) < 1e-6
    halved = bayes_factors({"t": SWEEP}, observed, prior={"t": {"w": (-0.3, 0.3)}})
    gain = float(halved.ln_evidence[0] - found.ln_evidence[0])
    assert gain == pytest.approx(np.log(2), abs=0.01)
    assert halved.prior.item() == "w -0.3 … 0.3"


def test_an_axis_of_one_value_is_no_parameter_of_the_evidence() -> None:
    observed = drawn(0.1, 5, n=1500)
    found, same = (
        bayes_factors({"t": sweep}, observed) for sweep in (SWEEP, SWEEP.expand_dims(H=[0.0]))
    )
    assert float(same.ln_evidence[0]) == float(found.ln_evidence[0])
    assert same.prior.item() == found.prior.item()


def test_the_error_of_the_evidence_follows_from_those_of_the_points() -> None:
    """ln Z is moved point by point: independent errors add as squares."""
    w, n = np.linspace(-0.2, 0.2, 9), 500
    s2, error = 0.02 + 0.3 * w**2, np.linspace(1e-4, 4e-4, 9)

    def evidence(moved: npt.ArrayLike) -> xr.Dataset:
        total = s2 + moved
        values = {"s2": (("image", "w"), total[None]), "s2_se": (("image", "w"), error[None])}
        totals = {"s2_total": ("w", total), "s2_total_se": ("w", error), "n": ("image", [n])}
        surface = xr.Dataset({**values, **totals}, {"w": w, "image": ["one"]})
        return bayes_factors({"t": surface}).isel(model=0)

    steps = 0.1 * np.diag(error)
    moves = [float(evidence(s).ln_evidence - evidence(-s).ln_evidence) / 0.2 for s in steps]
    stated = float(evidence(np.zeros(9)).ln_evidence_se)
    assert stated == pytest.approx(np.linalg.norm(moves), rel=1e-3)


def test_evidence_of_the_random_alloy_is_its_likelihood(lecture: xr.Dataset) -> None:
    found = bayes_factors({"random": "random"}, lecture)
    s2 = float(random_mixing(lecture).s2_total)
    assert float(found.ln_evidence[0]) == pytest.approx(-2 * 1835 * s2)
    assert float(found.ln_evidence_laplace[0]) == pytest.approx(-2 * 1835 * s2)


@pytest.mark.parametrize(
    ("prior", "reported"),
    [
        ({"x": {}}, "not compared"),
        ({"t": {"v": (0.0, 1.0)}}, "the model does not have"),
        ({"t": {"w": (-9.0, 1.0)}}, "outside its grid"),
        ({"t": {"w": (0.01, 0.02)}}, "too few points of w"),
    ],
)
def test_priors_that_cannot_be_are_refused(prior: Any, reported: str) -> None:
    with pytest.raises(RequestError, match=reported):
        bayes_factors({"t": SWEEP}, drawn(0.1, 1), prior=prior)


def test_an_image_left_out_is_told_by_the_others() -> None:
    same = drawn(0.3, 8, images=4, n=2000)
    models: dict[str, Any] = {"random": "random", "t": SWEEP}
    found = leave_one_out(models, same)
    assert float(found.s2_total[1]) < float(found.s2_total[0])
    assert np.allclose(found.best.sel(model="t"), 0.3, atol=0.1)
    result = fit(landscape(SWEEP, same))
    assert float(found.s2_total[1]) > result.s2_total
    odd = xr.concat([same.isel(image=[0, 1, 2]), drawn(-0.4, 9, n=2000).isel(image=[1])], "image")
    odd = odd.assign_coords(image=list("abcd"))
    assert int(leave_one_out({"t": SWEEP}, odd).s2.values.argmax()) == 3


def test_one_image_cannot_be_left_out() -> None:
    with pytest.raises(RequestError, match="too few images for leave-one-out"):
        leave_one_out({"t": SWEEP}, drawn(0.1, 1).isel(image=[0]))


def test_what_cannot_be_compared_is_refused() -> None:
    observed = drawn(0.1, 1)
    for models, counts, said in (
        ({}, observed, "no model"),
        ({"a": "ising"}, observed, "unknown"),
        ({"a": SWEEP}, None, "needs the observed counts"),
        ({"a": SWEEP}, observed.assign(counts=observed.counts * 0), "has no counts"),
        ({"a": SWEEP}, observed.assign(composition=("image", [0.5, 0.9])), "no simulation at"),
        ({"a": SWEEP}, observed_counts(example("mores2_counts.csv")), "different lattices"),
        (
            {"a": landscape(SWEEP, observed), "b": landscape(SWEEP, drawn(0.1, 1, n=500))},
            None,
            "different images",
        ),
    ):
        with pytest.raises(RequestError, match=said):
            compare(models, counts)  # type: ignore[arg-type]
    for options, said in (
        ({"way": "magic"}, "unknown way"),
        ({"draws": 0}, "too few draws"),
        ({"composition": "guessed"}, "unknown treatment"),
        ({"fraction": [1.5]}, "effective fractions must lie in"),
    ):
        with pytest.raises(RequestError, match=said):
            p_values(SWEEP, observed, **options)  # type: ignore[arg-type]


def test_errors_go_as_one_over_the_root_of_the_data() -> None:
    observed = drawn(0.1, 7, n=1000)
    now = published_fit(landscape(SWEEP, observed)).parameters["w"][1]
    half = sample_size(SWEEP, observed, errors={"w": now / 2})
    assert half.neighborhoods == pytest.approx(4 * 2000, abs=1)
    assert (half.images, half.there) == (8, 2000)
    shared = sample_size(SWEEP, observed, errors={"w": now / 2}, fraction=0.5)
    assert shared.effective == pytest.approx(half.effective, rel=0.02)
    assert shared.neighborhoods == pytest.approx(2 * half.neighborhoods, rel=0.02)


@pytest.mark.statistical
def test_the_data_that_is_needed_gives_the_error_that_is_asked_for() -> None:
    need = sample_size(SWEEP, drawn(0.1, 7, n=4000), errors={"w": 0.05})
    each = round(need.neighborhoods / 2)
    values = [
        fit(landscape(SWEEP, drawn(0.1, 50 + k, n=each))).parameters["w"][0] for k in range(100)
    ]
    assert np.std(values) == pytest.approx(0.05, rel=4 / np.sqrt(200))


@pytest.mark.statistical
def test_the_power_that_is_asked_for_is_found_by_simulation() -> None:
    need = sample_size(SWEEP, drawn(0.15, 7, n=4000), against="random", power=0.8, draws=1000)
    assert need.power[0] == pytest.approx(0.8, abs=0.05)
    assert need.neighborhoods == pytest.approx(
        noncentrality(0.8, 0.05, 1) / (4 * need.s2), rel=0.01
    )


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({}, "not both"),
        ({"errors": {"v": 0.1}}, "no parameter v"),
        ({"errors": {"w": 0.0}}, "must be positive"),
        ({"against": "random", "power": 1.5}, "power is a probability"),
        ({"against": "random", "power": 0.01}, "must exceed alpha"),
        ({"against": SWEEP}, "are identical at their best"),
    ],
)
def test_questions_without_an_answer_are_refused(question: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        sample_size(SWEEP, drawn(0.1, 1), **question)


def test_images_one_by_one_come_to_what_all_together_say() -> None:
    observed = drawn(0.3, 11, images=6)
    running = Accumulator({"random": "random", "t": SWEEP}, "honeycomb", errors={"w": 0.05})
    steps = [running.add(observed.isel(image=[k])) for k in range(6)]
    whole = published_fit(landscape(SWEEP, observed))
    assert steps[-1].fits["t"].parameters["w"] == pytest.approx(whole.parameters["w"], abs=1e-6)
    assert [step.n for step in steps] == [400 * (k + 1) for k in range(6)]
    factors = bayes_factors({"random": "random", "t": SWEEP}, observed)
    ahead = float(factors.ln_evidence[1] - factors.ln_evidence[0])
    assert steps[-1].ln_bayes_factor["t"] == pytest.approx(ahead, abs=1e-6)
    table = running.table
    assert table.best_se.sel(model="t").values[-1] < table.best_se.sel(model="t").values[0]
    first = next(k for k, step in enumerate(steps) if step.decision)
    assert steps[first].ln_bayes_factor["t"] >= np.log(20)
    assert first == 0 or steps[first - 1].ln_bayes_factor["t"] < np.log(20)
    assert table.decision.values[-1] == "t"


def test_it_ends_when_the_error_is_reached() -> None:
    running = Accumulator({"t": SWEEP}, "honeycomb", errors={"w": 0.03})
    assert not running.finished
    for k in range(30):
        running.add(drawn(0.2, 20 + k).isel(image=[0]).assign_coords(image=[f"image {k}"]))
        if running.finished:
            break
    errors = running.table.best_se.values.ravel()
    assert errors[-1] <= 0.03 < errors[-2]


@pytest.mark.statistical
def test_decisions_are_wrong_no_more_often_than_stated() -> None:
    """Of a null that is true: at most one in ten, however long one looks."""
    few = SWEEP.isel(x=[0], w=slice(None, None, 2))
    wrong = 0
    for run in range(30):
        running = Accumulator({"random": "random", "t": few}, "honeycomb", error=0.1)
        for k in range(8):
            image = drawn(0.0, 1000 * run + k, n=500).isel(image=[0])
            running.add(image.assign_coords(image=[f"image {k}"]))
            if running.finished:
                break
        wrong += running.history[-1].decision == "t"
    assert wrong <= 0.1 * 30 + 2 * np.sqrt(0.1 * 0.9 * 30)


def test_images_that_cannot_be_taken_are_refused_and_change_nothing() -> None:
    running = Accumulator({"t": SWEEP}, "honeycomb")
    running.add(drawn(0.2, 1))
    for image, said in (
        (np.ones(5), "not those of one image"),
        (np.zeros(8, int), "no counts"),
        (np.array([100, 0, 0, 0, 0, 0, 0, 1]), "no simulation at"),
    ):
        with pytest.raises(RequestError, match=said):
            running.add(image)
    assert len(running.history) == 1
    for options, said in (
        ({"models": {}}, "no model to follow"),
        ({"error": 0.7}, "error is out of bounds"),
        ({"models": {"t": landscape(SWEEP, drawn(0.2, 1))}}, "cannot take another"),
    ):
        with pytest.raises(RequestError, match=said):
            Accumulator(**({"models": {"t": SWEEP}, "lattice": "honeycomb"} | options))


def criteria(**changed: Any) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """A table, evidence and images left out of three models that agree, but for what is changed."""
    models, images = ["random", "pair", "triple"], ["one", "two"]
    values: dict[str, Any] = {
        "parameters": [0, 1, 2],
        "s2_total": [0.03, 0.02, 0.0199],
        "p_value_total": [0.01, 0.3, 0.3],
        "p_value": [[0.01, 0.2], [0.4, 0.4], [0.4, 0.4]],
        "p_value_floor": [0.01, 0.01, 0.01],
        "ln_evidence": [-60.0, -50.0, -52.0],
        "predicted": [[0.03, 0.03], [0.021, 0.021], [0.022, 0.022]],
        "s2_others": [[0.03, 0.03], [0.02, 0.02], [0.0199, 0.0199]],
    } | changed
    s2, k = np.array(values["s2_total"]), np.array(values["parameters"])
    bics = 4 * 1000 * s2 + k * np.log(1000)
    by_image = ("model", "image")
    table = xr.Dataset(
        {
            **{n: ("model", values[n]) for n in ("parameters", "s2_total", "p_value_total")},
            "p_value": (by_image, values["p_value"]),
            "p_value_floor": ("model", values["p_value_floor"]),
            "bic": ("model", bics),
            "weight": ("model", model_weights(bics, "standard")),
        },
        {"model": models, "image": images},
        {"bic_convention": "standard"},
    )
    factors = xr.Dataset(
        {
            "ln_evidence": ("model", values["ln_evidence"]),
            "prior": ("model", ["none", "w1 -1 … 1", "w1 -1 … 1, w2 -1 … 1"]),
        },
        {"model": models},
    )
    predicted = np.array(values["predicted"])
    left_out = xr.Dataset(
        {
            "s2": (by_image, predicted),
            "s2_total": ("model", predicted.mean(axis=1)),
            "s2_others": (by_image, values["s2_others"]),
            "n_others": ("image", [500.0, 500.0]),
        },
        {"model": models, "image": images},
    )
    return table, factors, left_out


def test_criteria_that_agree_leave_the_penalty_and_the_influence_to_be_named() -> None:
    table, factors, left_out = criteria()
    assert verdict(table).startswith("pair is preferred to triple: strong evidence")
    penalty, influence = explanations(table, factors, left_out)
    assert penalty.startswith("S² is smaller for triple, but not by enough for its 1 further")
    assert influence.startswith("Without one, the most influential image, pair is still preferred")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"ln_evidence": [-49.5, -50.0, -52.0]},
            "The Bayes factor prefers random instead (ln B = 0.5, not worth a mention)",
        ),
        (
            {"predicted": [[0.03, 0.03], [0.021, 0.09], [0.022, 0.022]]},
            "predicted better by triple (S² = 0.0220) than by pair (0.0555), mostly two",
        ),
        (
            {"p_value_total": [0.01, 0.01, 0.3]},
            "triple is not rejected by the p-value, but pair is",
        ),
        (
            {"s2_others": [[0.015, 0.03], [0.02, 0.02], [0.0199, 0.0199]]},
            "Without one, the most influential image, random is preferred to pair (ΔBIC = 16.2)",
        ),
        (
            {"s2_others": [[0.03, 0.02], [0.02, 0.017], [0.0199, 0.0199]]},
            "Without two, the most influential image, pair and random cannot be distinguished",
        ),
    ],
    ids=["evidence", "left out", "p", "influence", "doubt"],
)
def test_criteria_that_disagree_are_explained(changed: dict[str, Any], said: str) -> None:
    lines = explanations(*criteria(**changed))
    assert [line for line in lines if said in line], lines


def test_the_verdict_says_what_is_established_and_what_is_not() -> None:
    table, _, _ = criteria()
    one = "Random mixing is excluded at one (p ≤ 0.01), and not excluded at two (p = 0.2)."
    assert established(table) == one
    spared = criteria(p_value=[[0.3, 0.2], [0.4, 0.4], [0.4, 0.4]])[0]
    assert (
        established(spared) == "Random mixing is not excluded at one (p = 0.3) and two (p = 0.2)."
    )
    rejected = criteria(p_value_total=[0.01, 0.01, 0.02])[0]
    assert verdict(rejected).endswith("but it is rejected by p ≤ 0.01")
    assert established(rejected).endswith("None of the models describes all images.")


@pytest.fixture(scope="module")
def alloy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(alloy_sweep(), tmp_path_factory.mktemp("runs") / "alloy.zarr")


@pytest.fixture(scope="module")
def counts(alloy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images at the sweep's compositions, of a class table like the examples'."""
    classes = configurations("triangular")
    rows = xr.open_zarr(alloy)["histogram_replica"].sum("replica").isel(w1=0).values
    table = pd.DataFrame(list(classes.keys), columns=["centre", "n_1", *classes.pair_names])
    for name, row in zip(("a", "b"), rows, strict=True):
        table[name] = np.rint(row / row.sum() * 2000).astype(int)
    path = tmp_path_factory.mktemp("counts") / "counts.csv"
    table.to_csv(path, index=False)
    return path


def test_the_verb_prints_the_table(alloy: Path, counts: Path) -> None:
    found = json_of("compare", counts, "--model", f"pair={alloy}", "--random")
    assert [model["name"] for model in found["models"]] == ["pair", "random"]
    assert found["verdict"].startswith("pair is preferred to random: very strong evidence")
    assert "Random mixing is excluded at a (p ≤ 0.001)" in found["verdict"]
    assert found["p_floor"] == [0.001, 0.001]
    assert found["ranking"] == ["pair", "random"]
    assert found["table"]["bic_exact"][0] < found["table"]["bic_exact"][1]
    assert found["images"] == ["a", "b"]
    assert found["table"]["delta_bic"][0] == 0 < found["table"]["delta_bic"][1]
    assert found["table"]["p_value_way"] == ["simulation", "simulation"]
    assert found["bayes_factors"]["ln_bayes_factor"][0] == 0
    assert found["left_out"]["s2_total"][0] < found["left_out"]["s2_total"][1]
    assert found["parameters"]["pair"]["w1"]["value"] < 0
    assert found["parameters"]["random"] == {}
    lines = latticescape(
        "compare", counts, "--model", f"pair={alloy}", "--p-value", "chi2", "--bic", "standard"
    )
    assert lines.exit_code == 0, lines.output
    assert all(word in lines.output for word in ("S² left out", "standard", "chi2", "extend w1"))


def test_the_verb_fixes_axes(alloy: Path, counts: Path) -> None:
    found = json_of(
        "compare", counts, "--model", f"p={alloy}", "--at", "p.w1=0", "--p-value", "chi2"
    )
    assert found["table"]["parameters"] == [0]


def test_the_verb_says_how_much_data(alloy: Path, counts: Path) -> None:
    options = ("sample-size", counts, "--model", f"pair={alloy}", "--random")
    assert json_of(*options)["against"] == "random"
    few, many = (json_of(*options, "--power", p)["neighborhoods"] for p in (0.5, 0.99))
    assert few < many


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sources, the store of a slab of the energies they are of, and another's."""
    folder = tmp_path_factory.mktemp("slabs")
    sources_file(folder)
    slab_store(folder / "true.zarr", {"w_LL": W_LL})
    slab_store(folder / "zero.zarr", {"w_LL": [-2.0, 0.0, 2.0]}, w_CL=0.0, w_LO=0.0)
    slab_store(folder / "x.zarr", {"x": [0.25, 0.375], "w_LL": [6.0, 6.5]})
    return folder


def test_the_verb_compares_slabs_by_their_sources(films: Path) -> None:
    file, true, zero = (films / name for name in ("sources.toml", "true.zarr", "zero.zarr"))
    models = ("--model", f"true={true}", "--model", f"zero={zero}", "--at", "zero.w_LL=0")
    found = json_of("compare", file, *models)
    assert found["images"] == ["SO", "SN", "PR"]
    assert found["table"]["parameters"] == [1, 0]
    assert found["table"]["p_value_way"] == ["chi2", "chi2"]
    assert found["table"]["delta_bic"][0] == 0 < found["table"]["delta_bic"][1]
    assert found["left_out"]["s2_total"][0] < found["left_out"]["s2_total"][1]
    assert min(found["table"]["p_value"][0][:2]) > 0.01 > max(found["table"]["p_value"][1][:2])
    by_itself = slab_landscape(needed(open_sweep(true)), DATA)
    assert found["n"] == pytest.approx(by_itself.n.values)
    assert found["table"]["s2"][0] == pytest.approx(fit(by_itself).s2.values)
    cut = ("--model", f"x={films / 'x.zarr'}", "--at", "x.x=0.375")
    assert json_of("compare", file, *cut)["table"]["parameters"] == [1]
    lines = latticescape("compare", file, *models)
    assert lines.exit_code == 0, lines.output
    assert all(word in lines.output for word in ("source", "S² left out", "chi2", "hollows"))


def test_p_values_of_sources_that_test_nothing_are_left_out(films: Path) -> None:
    hollows = SOURCES[: SOURCES.index("[PR]")]
    own = "\nweight = 1.0\n["
    weighted = (SOURCES + "[").replace("\n\n[", own).replace("0.02\n[", f"0.02{own}")[:-1]
    for text, tested, words in (
        (hollows, [True, True, True], "independent draws"),
        (SOURCES, [True, True, False, False], "no p-value of PR"),
        (weighted, [False, False, False, False], "weights"),
    ):
        file = films / "told.toml"
        file.write_text(text)
        found = json_of("compare", file, "--model", f"true={films / 'true.zarr'}")
        table = found["table"]
        for name in ("p_value", "p_chi2"):
            values = [*table[name][0], table[f"{name}_total"][0]]
            assert [value is not None for value in values] == tested
        assert words in found["notes"][-1]
    lines = latticescape("compare", file, "--model", f"true={films / 'true.zarr'}").output
    assert "weights" in lines
    assert "nan" not in lines


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("compare FILE --model a=FILM --random", "compared with other slabs"),
        ("compare FILE --model a=FILM --model b=ALLOY", "came: b"),
        ("compare FILE --model a=FILM --p-value bootstrap", "only p-values of χ²"),
        ("compare COUNTS --model a=FILM", "one file of its sources"),
        ("compare FILE --model a=ALLOY", "is not of a slab, and has no sources"),
        ("compare FILE --model a=FOLDER/x.zarr", "--at NAME.x=0.25"),
        ("sample-size FILE --model a=FILM --error w_LL=0.1", "latticescape fit"),
    ],
)
def test_what_no_slab_can_be_asked_costs_one_line(
    alloy: Path, counts: Path, films: Path, words: str, said: str
) -> None:
    places = {"FILE": films / "sources.toml", "FILM": films / "true.zarr", "FOLDER": films}
    for name, place in {**places, "ALLOY": alloy, "COUNTS": counts}.items():
        words = words.replace(name, str(place))
    result = latticescape(*words.split())
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("compare COUNTS", "no model is named"),
        ("compare COUNTS --model ALLOY", "--model cannot be read"),
        ("compare COUNTS --model random=ALLOY", "not random"),
        ("compare COUNTS --model a=ALLOY --at a.w9=0", "names no axis"),
        ("compare COUNTS --model a=ALLOY --at a.w1=0.11", "no such point"),
        ("compare COUNTS --model a=ALLOY --at w1", "--at cannot be read"),
        ("compare COUNTS --random --p-value shuffle", "sites are not known"),
        ("compare COUNTS --random --fraction much", "--fraction cannot be read"),
        ("sample-size COUNTS --model a=ALLOY", "one --model with --error"),
        ("sample-size COUNTS --model a=ALLOY --error w9=0.1", "no parameter w9"),
    ],
)
def test_wrong_requests_cost_one_line(alloy: Path, counts: Path, words: str, said: str) -> None:
    line = words.replace("COUNTS", str(counts)).replace("ALLOY", str(alloy)).split()
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_page_on_comparing_models_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "howto" / "compare-models.md").read_text()
    (tmp_path / "examples").symlink_to(root / "examples")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "compare-models.md", "exec"), {})
    assert "three-body" in capsys.readouterr().out
    commands = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0].splitlines()
    for command in commands:
        result = CliRunner().invoke(main, command.split()[1:])
        assert result.exit_code == 0, result.output
