"""From a slab's sweep and three sources to energies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from analysis import best_fit, compare, propose
from analysis.browse import landscape_map, save
from analysis.browse.app import Browser, Reader, Shown, Sources
from analysis.slabs import independent_share, slab_landscape
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
from deploy.browse_commands import _simulation
from physics import RequestError, Schedule

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
    scape = slab_landscape(sweep, trials[0][1], weights=weights)
    total = sum(weights[name] * scape.s2.sel(source=name) for name in ALL)
    assert np.allclose(scape.s2_total, total)
    table = compare({"all": scape, "one w_CL": scape.isel(w_CL=2, drop=True)})
    assert table.parameters.values.tolist() == [3, 2]
    assert propose(scape, {"w_LL": 0.01}).points
    picture = save(landscape_map(scape.isel(w_CL=2)), tmp_path / "map.png")
    assert picture.stat().st_size > 5000
    assert set(best_fit(scape).parameters) == set(NAMES)
    page = Browser(Shown(Reader(lambda: sweep), Sources("-"), None, lambda _: scape))
    assert page.landscape is not None
    assert page.landscape.images == list(ALL)


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
    scape = slab_landscape(sweep, {"SO": trials[0][1]["SO"]})
    assert 0.2 < float(scape.n.sum()) / trials[0][1]["SO"].sum() < 0.9
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
    found = targets()
    assert (found["SO"].sum(), found["SN"].sum()) == (601, 425)
    assert len(found["PR"]["value"]) == 16


Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.mark.parametrize(
    ("sources", "change", "words"),
    [
        ({"XPS": 1}, lambda ds: ds, "no such source.*XPS.*SO"),
        ({}, lambda ds: ds, "no source is given"),
        ({"PR": {}}, lambda ds: ds.drop_vars("ca_fraction"), "PR is not in the sweep"),
        ({"SN": [1]}, lambda ds: ds.drop_vars("histogram_replica"), "SN is not in the sweep"),
        ({"SO": [1, 2, 3]}, lambda ds: ds, r"one an arrangement.*\[1, 2, 3\].*Ca 0"),
        ({"SO": [0.5] * 6}, lambda ds: ds, "no whole numbers"),
        ({"SO": [1] * 6}, lambda ds: ds.expand_dims(x=[0.3]), "one composition"),
        ({"PR": {"value": [0.4], "error": [0.1]}}, lambda ds: ds, "as long as"),
    ],
)
def test_wrong_sources_are_refused(
    sweep: xr.Dataset, sources: dict[str, Any], change: Change, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        slab_landscape(change(sweep), sources)
