"""From a slab's sweep and three sources to energies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from scipy.stats import chi2

from benchmarks.slab import (
    ALL,
    GRID,
    NAMES,
    STM,
    Setting,
    experiments,
    held,
    region,
    simulated,
    targets,
)
from latticescape.analysis import combine, compare, fit, profile_landscape, propose
from latticescape.analysis.app.browser import Browser
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import Shown, Sources
from latticescape.analysis.inference.landscapes.sources import (
    independent_share,
    slab_landscape,
    slab_landscapes,
)
from latticescape.analysis.plots import landscape_map, save
from latticescape.deploy.cli.browse import _simulation
from latticescape.deploy.cli.main import main
from latticescape.physics import RequestError, Schedule
from latticescape.sweeps import open_sweep
from latticescape.sweeps.execution.run import execute

SMALL = Setting(size=8, layers=6, values=5, schedule=Schedule(60, 30, 5), images=8, replicas=3)
TRIALS = 6


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return simulated(SMALL, tmp_path_factory.mktemp("slab"))


@pytest.fixture(scope="module")
def trials() -> list[tuple[dict[str, float], Any]]:
    return experiments(SMALL, TRIALS)


@pytest.mark.slow
@pytest.mark.statistical
def test_known_energies_are_recovered_and_each_kind_of_source_narrows_them(
    sweep: xr.Dataset, trials: list[tuple[dict[str, float], Any]]
) -> None:
    fits, regions = zip(*(region(sweep, sources) for _, sources in trials), strict=True)
    truths = [truth for truth, _ in trials]
    assert sum(map(held, regions, truths)) >= TRIALS - 1
    elsewhere = [{**truth, "w_LL": GRID["w_LL"][int(truth["w_LL"] < 6.4)]} for truth in truths]
    assert sum(map(held, regions, elsewhere)) <= TRIALS // 2
    surface, _ = region(sweep, trials[0][1], STM)
    assert np.linalg.det(surface.covariance) > 2 * np.linalg.det(fits[0].covariance)
    _, profile = region(sweep, trials[0][1], ("PR",))
    assert held(profile, truths[0])
    assert profile.attrs["share"] > 1.5 * regions[0].attrs["share"]


def test_the_total_is_what_the_weights_say_and_the_rest_takes_it(
    sweep: xr.Dataset, trials: list[tuple[dict[str, float], Any]], tmp_path: Path
) -> None:
    weights = {"SO": 0.5, "SN": 0.3, "PR": 0.2}
    landscape = slab_landscape(sweep, trials[0][1], weights=weights)
    total = sum(weights[name] * landscape.s2.sel(source=name) for name in ALL)
    assert np.allclose(landscape.s2_total, total)
    table = compare({"all": landscape, "one w_CL": landscape.isel(w_CL=2, drop=True)})
    assert table.parameters.values.tolist() == [3, 2]
    assert propose(landscape, {"w_LL": 0.01}).points
    picture = save(landscape_map(landscape.isel(w_CL=2)), tmp_path / "map.png")
    assert picture.stat().st_size > 5000
    assert set(fit(landscape).parameters) == set(NAMES)
    page = Browser(Shown(Reader(lambda: sweep), Sources("-"), None, lambda _: landscape))
    assert page.landscape is not None
    assert page.landscape.images == list(ALL)


def test_sweeps_are_compared_by_as_many_hollows(
    sweep: xr.Dataset, trials: list[tuple[dict[str, float], Any]]
) -> None:
    hollows = {name: trials[0][1][name] for name in STM}
    near, far = sweep.isel(w_LL=[1, 2, 3]), sweep.isel(w_LL=[0])
    alone = {"near": slab_landscape(near, hollows), "far": slab_landscape(far, hollows)}
    with pytest.raises(RequestError, match=r"different images.*slab_landscapes"):
        compare(alone)
    landscapes = slab_landscapes({"far": far, "near": near}, hollows)
    assert compare(landscapes).delta_bic.sel(model="near") == 0
    xr.testing.assert_identical(landscapes["near"], alone["near"])
    assert landscapes["far"].n.equals(alone["near"].n)
    xr.testing.assert_identical(landscapes["far"].s2, alone["far"].s2)


def test_the_authors_convention_halves_the_variance_of_the_profile(
    sweep: xr.Dataset, trials: list[tuple[dict[str, float], Any]]
) -> None:
    profile = {"PR": trials[0][1]["PR"]}
    usual, theirs = (
        slab_landscape(sweep, profile, convention=convention).s2_total.min()
        for convention in ("gaussian", "vlcek")
    )
    assert 1.8 < float(theirs / usual) < 2.05


def test_hollows_that_share_sites_are_worth_less_than_as_many_draws(
    sweep: xr.Dataset, trials: list[tuple[dict[str, float], Any]]
) -> None:
    landscape = slab_landscape(sweep, {"SO": trials[0][1]["SO"]})
    assert 0.2 < float(landscape.n.sum()) / trials[0][1]["SO"].sum() < 0.9
    q = np.array([0.2, 0.8])
    scatter = (np.diag(q) - np.outer(q, q))[None]
    dims = ("image", "configuration", "configuration_2")
    whole = xr.Dataset(
        {
            "probability": (("image", "configuration"), q[None]),
            "s2_total": 0.0,
            "count_covariance": (dims, scatter),
        }
    )
    assert independent_share(whole) == pytest.approx(1.0)


def test_a_page_of_a_slab_offers_no_snapshot(sweep: xr.Dataset) -> None:
    assert _simulation(SMALL.sweep()) is None
    page = Browser(Shown(Reader(lambda: sweep), Sources("-")))
    assert not page.reader.has_snapshots
    assert not page.reader.has_histograms


def test_the_published_targets_are_read() -> None:
    published = targets()
    assert (published["SO"].sum(), published["SN"].sum()) == (601, 425)
    assert len(published["PR"]["value"]) == 16


Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.mark.parametrize(
    ("sources", "change", "words"),
    [
        ({"XPS": 1}, lambda ds: ds, "no such source.*XPS.*SO"),
        ({}, lambda ds: ds, "no source is given"),
        ({"PR": {}}, lambda ds: ds.drop_vars("ca_fraction"), "PR is not in the sweep"),
        ({"SN": [1]}, lambda ds: ds.drop_vars("histogram_replica"), "SN is not in the sweep"),
        ({"SO": [1, 2, 3]}, lambda ds: ds, r"one for each arrangement.*\[1, 2, 3\].*Ca 0"),
        ({"SO": [0.5] * 6}, lambda ds: ds, "are not whole numbers"),
        ({"SO": [1] * 6}, lambda ds: ds.expand_dims(x=[0.3]), "one composition"),
        ({"PR": {"value": [0.4], "error": [0.1]}}, lambda ds: ds, "as long as"),
    ],
)
def test_wrong_sources_are_refused(
    sweep: xr.Dataset, sources: dict[str, Any], change: Change, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        slab_landscape(change(sweep), sources)


SOURCES = """\
[SO]
table = "counts.csv"
column = "with"
[PR]
table = "profile.csv"
column = "ca"
error = 0.02
"""


def slab_run(folder: Path, sources: str) -> list[str]:
    """The arguments of a fit of a small store in the folder, with the sources beside it."""
    execute(Setting(4, 3, 3, Schedule(10, 10, 2)).sweep(), folder / "s.zarr", progress=False)
    (folder / "counts.csv").write_text("with\n54\n233\n169\n61\n76\n8\n")
    (folder / "profile.csv").write_text("ca\n0.5\n0.4\n0.3\n")
    (folder / "sources.toml").write_text(sources)
    return ["fit", str(folder / "s.zarr"), str(folder / "sources.toml"), "--json"]


def test_the_command_line_takes_a_file_of_sources(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, slab_run(tmp_path, SOURCES))
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    profile = {"value": [0.5, 0.4, 0.3], "error": [0.02] * 3}
    data = {"SO": [54, 233, 169, 61, 76, 8], "PR": profile}
    result = fit(slab_landscape(open_sweep(tmp_path / "s.zarr").load(), data))
    assert facts["images"] == ["SO", "PR"]
    assert facts["s2"] == pytest.approx(result.s2.values.tolist())
    for old, new, words in (
        ("[SO]", "[XPS]", "XPS"),
        ('"with"', '"without"', "has no column without"),
        ("error = 0.02\n", "", "lacks the key error"),
        ("counts.csv", "nowhere.csv", "no file"),
        ("error =", "sigma = 1\nerror =", "unknown key (came: sigma"),
        ("[SO]", "[SO]\nweight = 1.0", "weight"),
        (SOURCES, "", "names no source"),
    ):
        (tmp_path / "sources.toml").write_text(SOURCES.replace(old, new))
        done = CliRunner().invoke(
            main, ["landscape", str(tmp_path / "s.zarr"), str(tmp_path / "sources.toml")]
        )
        assert done.exit_code == 2
        assert words in done.output
    for verb in ("landscape", "fit"):
        done = CliRunner().invoke(
            main, [verb, str(tmp_path / "s.zarr"), str(tmp_path / "counts.csv")]
        )
        assert (done.exit_code, "sources.toml" in done.output) == (2, True)


def test_the_p_value_of_a_profile_does_not_level_off() -> None:
    """S² does: of a value 7 errors off alone χ² is 49, and 4 n S² no more than π²."""
    sweep = xr.Dataset({"ca": (("w", "layer"), np.zeros((1, 4)))}, coords={"w": [0.0]})
    landscape = profile_landscape(
        sweep, {"value": [7.0, 0.0, 0.0, 0.0], "error": np.ones(4)}, variable="ca"
    )
    assert float(landscape.p_value_total[0]) == pytest.approx(chi2(4).sf(49.0))
    assert landscape.attrs["degrees_of_freedom"] == 0
    both = combine({"one": landscape, "other": landscape}, weights={"one": 1.0, "other": 2.0})
    assert both.attrs["degrees_of_freedom"] == [0, 0]
