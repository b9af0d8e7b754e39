"""Every verb, picture and page shows the same parameters and errors for the same data."""

import json
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from bokeh.models import Span
from click.testing import CliRunner

from latticescape.analysis import fit, joint_region, landscape, observed_counts
from latticescape.analysis.app.panes import LandscapePane
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import View
from latticescape.analysis.inference.comparison.models import argmin_s2
from latticescape.analysis.inference.estimation.posterior import fit_with_excess
from latticescape.analysis.plots import landscape_map
from latticescape.analysis.plots.labels import value_text
from latticescape.deploy.cli.main import main
from latticescape.deploy.examples import example
from latticescape.physics import PairAlloy, Schedule, triangular
from latticescape.sweeps import Sweep, open_sweep
from latticescape.sweeps.store.store import Store
from tests.support.runs import undisturbed

COUNTS = example("mores2_counts.csv")
X = [0.02155, 0.59657, 0.84332, 0.95754]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of the compositions of the published images, whose neighbourhoods overlap."""
    grid = {"x": X, "w1": np.linspace(-0.6, 0.4, 6), "w2": np.linspace(-0.5, 0.5, 5)}
    sweep = Sweep(triangular(12), PairAlloy(), grid, Schedule(20, 20, 2), seed=3)
    return undisturbed(sweep, tmp_path_factory.mktemp("runs") / "alloy.zarr")


@pytest.fixture(scope="module")
def surface(store: Path) -> xr.Dataset:
    return landscape(open_sweep(store), observed_counts(COUNTS, lattice="triangular"))


def printed(*words: object) -> dict[str, Any]:
    result = CliRunner().invoke(main, [str(word) for word in words] + ["--json"])
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.output)
    return facts


def test_verbs_print_the_same_parameters_errors_and_distances(
    store: Path, surface: xr.Dataset
) -> None:
    estimate = fit(surface)
    by_landscape = printed("landscape", store, COUNTS)
    by_fit = printed("fit", store, COUNTS)
    options = ("--model", f"pair={store}", "--random", "--p-value", "chi2")
    by_compare = printed("compare", COUNTS, *options)
    pair = next(model for model in by_compare["models"] if model["name"] == "pair")
    assert estimate.overlap == "simulated"
    for facts in (by_landscape, by_fit, pair):
        assert facts["parameters"] == estimate.table
        assert facts["s2_total"] == estimate.s2_total
    assert by_compare["parameters"]["pair"] == estimate.table
    assert by_landscape["s2"] == by_fit["s2"] == by_compare["table"]["s2"][0]
    assert by_landscape["n"] == by_fit["n"] == by_compare["n"]
    assert set(pair) == {"name", "parameters", "s2_total", "p", "bic", "weight"}
    assert set(pair["parameters"]["w1"]) == {
        "value", "se", "low68", "high68", "low95", "high95",
    }  # fmt: skip
    assert "pair" in by_compare["verdict"]
    assert by_landscape["minimum_of_s2_on_the_grid"]["s2"] == float(surface.s2_total.min())


def test_a_cut_of_a_sweep_gives_the_same_fit_by_the_verb_and_in_the_demo(store: Path) -> None:
    observed = observed_counts(COUNTS, lattice="triangular")
    cut = landscape(open_sweep(store).sel(w2=0.0, method="nearest", drop=True), observed)
    options = ("--model", f"pair={store}", "--at", "pair.w2=0", "--p-value", "chi2")
    facts = printed("compare", COUNTS, *options)
    assert facts["parameters"]["pair"] == fit(cut).table


def test_pictures_and_pages_show_the_fit_and_its_contours(store: Path, surface: xr.Dataset) -> None:
    estimate, excess = fit_with_excess(surface)
    assert estimate.parameters == fit(surface).parameters
    assert excess is not None
    value = [estimate.parameters[name][0] for name in ("w1", "w2")]
    region = joint_region(surface, 0.6827)
    assert region.attrs["threshold"] == pytest.approx(2.30, abs=0.005)
    # Along w1 the contour of one parameter, excess 1, touches value ± error.
    profile = excess.min("w2")
    inside = profile.w1[profile <= 1.0]
    assert estimate.overlap == "simulated"
    assert float(inside[-1] - inside[0]) / 2 == pytest.approx(
        estimate.parameters["w1"][1], rel=0.25
    )
    picture, _ = landscape_map(surface)
    cross = next(part for part in picture if isinstance(part, hv.Points))
    assert cross.array()[0].tolist() == value
    pane = LandscapePane(surface, None, (Span(), Span()), print)
    opened = Store(store)
    reader = Reader(lambda: xr.open_zarr(store, chunks=None), opened.values)
    pane.draw(View.of(reader, pane.images), {})
    marked = {axis: pane.large.best.data[end][0] for axis, end in zip(pane.axes, "xy", strict=True)}
    assert [marked["w1"], marked["w2"]] == value
    first, error = estimate.parameters["w1"]
    assert f"w₁ = {value_text(first, error)}" in pane.large.figure.title.text


def test_the_published_convention_is_another_estimator(surface: xr.Dataset) -> None:
    """Counts that overlap make errors larger: the test above cannot pass for any two estimators."""
    ours, published = fit(surface).parameters["w1"], argmin_s2(surface).parameters["w1"]
    assert published[1] < 0.8 * ours[1]
