"""The page of ``latticescape browse``: its objects without a browser, and then seen in one."""

import asyncio
import io
import json
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
import xarray as xr
from bokeh.models import BoxAnnotation, Span
from PIL import Image

from latticescape.analysis import fit, landscape, observed_counts, slab_landscape
from latticescape.analysis.app.browser import Browser, free_port
from latticescape.analysis.app.figures import pixels
from latticescape.analysis.app.panes import LandscapePane
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import Shown, Sources
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.plots.values import lattice_with, on_axis, snapshot
from latticescape.deploy.cli.browse import _samples, _simulation
from latticescape.deploy.derived import write_new
from latticescape.deploy.sources import sources_for
from latticescape.physics import (
    Ising,
    PairAlloy,
    RequestError,
    Schedule,
    configurations,
    cubic,
    honeycomb,
    square,
    triangular,
)
from latticescape.sweeps import Sweep, open_sweep, sobol
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.store import Store, create
from tests.support.browsing import served
from tests.support.command_line import latticescape
from tests.support.runs import undisturbed
from tests.support.slabs import DATA, W_LL, slab_store, sources_file

ROOT = Path(__file__).parents[2]
COUNTS = ROOT / "examples" / "mores2_counts.csv"
SHORT = Schedule(10, 8, 2)
X = [0.02155, 0.59657, 0.84332, 0.95754]
W = np.linspace(-0.3, 0.3, 5)


@pytest.fixture(scope="module")
def alloy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three axes, and the last spins kept."""
    grid = {"x": X, "w1": W, "w2": W[:4]}
    sweep = Sweep(triangular(12), PairAlloy(), grid, SHORT, seed=3, keep=("spins",))
    return undisturbed(sweep, tmp_path_factory.mktemp("browse") / "alloy.zarr")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slab over two energies, with its sources.toml beside it."""
    folder = tmp_path_factory.mktemp("slab")
    sources_file(folder)
    return slab_store(folder / "film.zarr", {"w_LL": W_LL, "w_LO": [-9.5, -7.5, -5.5]})


@pytest.fixture(scope="module")
def ising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two axes, one of them falling, without spins; two blocks are not done."""
    grid = {"T": [3.0, 2.5, 2.0, 1.5], "H": [-0.5, 0.0, 0.1, 0.5]}
    sweep = Sweep(square(8), Ising(), grid, SHORT, seed=5)
    path = tmp_path_factory.mktemp("browse") / "ising.zarr"
    store = create(path, sweep, plan(sweep, block_points=2))
    fill(store, store.blocks[:-2])
    return path


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points in two parameters, of which some blocks are not done."""
    points = sobol({"w1": (-0.4, 0.4), "w2": (-0.3, 0.3)}, 32, 1)
    sweep = Sweep(triangular(12), PairAlloy(x=X[1]), schedule=SHORT, points=points, seed=5)
    path = tmp_path_factory.mktemp("browse") / "points.zarr"
    store = create(path, sweep, plan(sweep, block_points=4))
    fill(store, store.blocks[:-1])
    return path


def fill(store: Store, blocks: Any) -> None:
    """What workers do, here."""
    from latticescape.sweeps.spec.sweep import point_seeds

    kernel = store.sweep.kernel
    for block in blocks:
        points = store.sweep.coordinates(block.region)
        axes = {name: np.array([p[name] for p in points]) for name in store.sweep.axes}
        seeds = point_seeds(store.sweep.seed, map(kernel.parameters, points))
        store.write(block, kernel.compute(axes, seeds))


def reader_of(path: Path) -> Reader:
    store = Store(path)
    return Reader(lambda: xr.open_zarr(path, chunks=None), store.values)


@lru_cache(maxsize=8)
def shown_of(path: Path, *, observed: bool = False) -> Shown:
    """Shared by the pages of a store, as the command does it."""
    reader = reader_of(path)
    counts = observed_counts([COUNTS], lattice="triangular") if observed else None
    sources = Sources(str(path), (str(COUNTS),) if observed else ())

    def landscape_of(_: xr.Dataset) -> xr.Dataset:
        assert counts is not None
        return landscape(xr.open_zarr(path), counts)

    simulate = _simulation(Store(path).sweep)
    return Shown(reader, sources, counts, landscape_of if observed else None, None, simulate)


def browser_of(path: Path, *, observed: bool = False) -> Browser:
    return Browser(shown_of(path, observed=observed))


def image_of(pane: Any) -> Any:
    return pane.map.image.data["image"][0]


def test_the_map_is_the_variable_with_grey_where_nothing_is_done(ising: Path) -> None:
    page = browser_of(ising)
    page.view.param.update(variable="energy", second="energy_se")
    ds = xr.open_zarr(ising).load()
    for pane, name in zip(page.maps, ("energy", "energy_se"), strict=True):
        expected = ds[name].where(ds["done"]).sortby("T").transpose("T", "H")
        drawn = image_of(pane)  # pixels of axes with uneven steps are many to a cell
        assert set(np.unique(drawn[np.isfinite(drawn)])) == set(
            np.float32(expected.values[np.isfinite(expected.values)])
        )
        assert np.isnan(drawn[:, :1]).sum() == np.isnan(expected.values[:, 0]).sum()
    assert "4 of 16 points missing" in page.maps[0].map.figure.title.text
    missing = np.isnan(image_of(page.maps[0]))
    page.view.variable = "histogram"  # whole numbers, 0 where nothing is done
    assert (np.isnan(image_of(page.maps[0])) == missing).all()
    assert page.maps[0].map.figure.xaxis.axis_label == "magnetic field H (J/μ)"


def test_a_tap_goes_to_the_nearest_point_and_moves_every_pane(alloy: Path) -> None:
    page = browser_of(alloy, observed=True)
    page.view.param.update(x="w1", y="w2")
    page._tapped(0.16, -0.31)
    assert page.view.place == {**page.view.place, "x": 2, "w1": 4 - 1, "w2": 0}
    assert page.sliders["w1"].value == 3
    here = page.maps[0].map.here.data
    assert [here["x"][0], here["y"][0]] == pytest.approx([0.15, -0.3])
    ds = xr.open_zarr(alloy)
    counts = ds["histogram"].isel(x=2, w1=3, w2=0).to_numpy()
    np.testing.assert_allclose(page.histogram.simulated.data["top"], counts / counts.sum())
    landscape_here = page.landscape.large.here.data
    assert [landscape_here["x"][0], landscape_here["y"][0]] == pytest.approx([0.15, -0.3])
    replicas = ds["histogram_replica"].isel(x=2, w1=3, w2=0).to_numpy()
    shares = replicas / replicas.sum(1, keepdims=True)
    error = shares.std(0, ddof=1) / 8
    data = page.histogram.simulated.data
    np.testing.assert_allclose((data["high"] - data["low"]) / 2, error, atol=1e-12)


def test_an_image_is_shown_at_its_own_composition_or_as_it_is_chosen(alloy: Path) -> None:
    page = browser_of(alloy, observed=True)
    observed = observed_counts([COUNTS], lattice="triangular")
    names = [str(name) for name in observed["image"].values]
    for x in range(4):
        page.sliders["x"].value = x
        counts = observed["counts"].isel(image=x).to_numpy()
        np.testing.assert_allclose(
            page.histogram.observed_dots[0].data["top"], counts / counts.sum()
        )
    page.view.image = names[0]
    assert len(page.histogram.observed_dots[0].data["x"]) == 26
    chosen = observed["counts"].isel(image=0).to_numpy()
    np.testing.assert_allclose(page.histogram.observed_dots[0].data["top"], chosen / chosen.sum())
    assert f"image {names[0]}" in page.landscape.large.figure.title.text


def test_a_slider_of_a_further_axis_changes_the_maps_and_one_of_their_own_does_not(
    alloy: Path,
) -> None:
    page = browser_of(alloy)
    before = image_of(page.maps[0])
    page.sliders["w1"].value = 0
    assert image_of(page.maps[0]) is before
    page.sliders["x"].value = 0
    ds = xr.open_zarr(alloy)
    expected = ds["energy"].isel(x=0).transpose("w1", "w2").to_numpy()
    np.testing.assert_allclose(image_of(page.maps[0]), np.float32(expected))


def test_an_axis_chosen_twice_trades_places(alloy: Path) -> None:
    page = browser_of(alloy)
    assert (page.view.x, page.view.y) == ("w2", "w1")
    page.view.x = "w1"
    assert (page.view.x, page.view.y) == ("w1", "w2")
    ds = xr.open_zarr(alloy)
    expected = ds["energy"].isel(x=2).transpose("w2", "w1").to_numpy()
    np.testing.assert_allclose(image_of(page.maps[0]), np.float32(expected))


def test_slices_go_through_the_point_with_their_errors(ising: Path) -> None:
    page = browser_of(ising)
    page.view.variable = "heat_capacity"
    page.sliders["H"].value = 1
    ds = xr.open_zarr(ising)
    ds = ds[["heat_capacity", "heat_capacity_se"]].where(ds["done"]).sortby("T")
    source = page.slices.curves["T"]._curves[0].data
    np.testing.assert_allclose(source["x"], [1.5, 2, 2.5, 3])
    np.testing.assert_allclose(source["y"], ds["heat_capacity"].sel(H=0))
    known = np.isfinite(source["y"])
    spread = (ds["heat_capacity"] + ds["heat_capacity_se"]).sel(H=0).to_numpy()
    np.testing.assert_allclose(source["high"][known], spread[known])


def test_a_snapshot_that_was_kept_is_shown_and_one_that_was_not_is_simulated_alike(
    alloy: Path, ising: Path
) -> None:
    page = browser_of(alloy)
    page.view.replica = 5
    ds = xr.open_zarr(alloy)
    place = {axis: page.view.place[axis] for axis in ("x", "w1", "w2")}
    spins = ds["spins"].isel(place).to_numpy()
    drawn = page.snapshot.image.data["image"][0]
    share = float(((spins >> np.uint64(5)) & np.uint64(1)).mean())
    assert np.nanmean(drawn) == pytest.approx(share, abs=0.02)
    assert not page.snapshot.button.visible
    again = page.shown.simulate(page.view.at(page.reader))
    assert (again == spins).all()
    other = browser_of(ising)
    assert other.snapshot.button.visible
    other._simulate(None)
    assert not other.snapshot.button.visible
    assert set(np.unique(other.snapshot.image.data["image"][0])) <= {0.0, 1.0}


@pytest.mark.parametrize("make", [square, triangular, honeycomb, cubic])
def test_every_site_has_its_pixels_and_no_other(make: Any) -> None:
    lattice = make(6)
    ds = xr.Dataset(attrs={"lattice": lattice.kind})
    assert lattice_with(ds, lattice.sites) == lattice
    positions = lattice.positions
    flat = positions.shape[1] == 2
    plane = np.flatnonzero(np.full(lattice.sites, True) if flat else positions[:, 2] == 2)
    corner = positions[plane, :2].min(0) - 0.5
    for site in plane[::7]:
        spins = np.zeros(lattice.sites, np.uint64)
        spins[site] = np.uint64(1) << np.uint64(9)
        image, (width, height) = snapshot(spins, lattice, replica=9, layer=2)
        assert not np.nansum(snapshot(spins, lattice, replica=8, layer=2)[0])
        rows, columns = np.nonzero(np.nan_to_num(image))
        x = (columns.mean() + 0.5) * width / image.shape[1]
        y = (rows.mean() + 0.5) * height / image.shape[0]
        assert corner + np.array([x, y]) == pytest.approx(positions[site, :2], abs=0.3)


def test_the_landscape_has_its_minimum_contours_and_the_posterior(alloy: Path) -> None:
    page = browser_of(alloy, observed=True)
    samples = xr.Dataset({w: ("draw", np.full(9, 0.1)) for w in ("w1", "w2")})
    page.landscape.posterior = samples
    page._draw_landscape()
    surface = page.shown.landscape()
    drawn = page.landscape.large.image.data["image"][0]
    np.testing.assert_allclose(drawn, np.float32(surface["s2_total"].transpose("w1", "w2")))
    assert len(page.landscape.large.samples.data["x"]) == 9
    lines = page.landscape.large._lines
    assert len(lines["solid"].data["xs"]) > 0
    small = page.landscape.small["re05"].image.data["image"][0]
    expected = surface["s2"].sel(image="re05").transpose("w1", "w2")
    np.testing.assert_allclose(small, np.float32(expected))


def shown_film(path: Path, folder: Path) -> Shown:
    """As the command has it."""
    seen = sources_for(path, [folder / "sources.toml"])
    sources = Sources(str(path), slab=seen.asked)
    return Shown(
        reader_of(path),
        sources,
        None,
        lambda _: seen.landscape(xr.open_zarr(Store(path).location.zarr)),
    )


def test_every_source_of_a_slab_has_its_landscape_and_the_code_that_makes_it(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Browser(shown_film(film, film.parent))
    pane = page.landscape
    assert list(pane.small) == ["SO", "SN", "PR"]
    expected = slab_landscape(open_sweep(film), DATA)
    for drawn, s2 in (
        (pane.large, expected.s2_total),
        (pane.small["PR"], expected.s2.sel(source="PR")),
    ):
        image = drawn.image.data["image"][0]
        assert np.nanmin(image) == pytest.approx(float(s2.min()))
        assert np.nanmax(image) == pytest.approx(float(s2.max()))
    assert "all sources" in pane.large.figure.title.text
    curve = LandscapePane(expected.isel(w_LO=1, drop=True), None, (Span(), Span()), print)
    curve.draw(page.view, {})
    assert "black: all sources; coloured: SO, SN, PR" in curve.curve.figure.title.text
    page.export.picture.value = "landscape"
    monkeypatch.chdir(tmp_path)
    here: dict[str, Any] = {}
    exec(compile(page.export.script(), "picture.py", "exec"), here)
    xr.testing.assert_allclose(here["distances"], expected)
    assert (tmp_path / "landscape.png").stat().st_size > 5000


def test_a_page_of_a_slab_that_has_just_begun_waits_and_fills_in(
    film: Path, tmp_path: Path
) -> None:
    sweep = Store(film).sweep
    store = create(tmp_path / "running.zarr", sweep, plan(sweep, block_points=5))
    page = Browser(shown_film(tmp_path / "running.zarr", film.parent))
    assert "not computed yet" in page.landscape.large.figure.title.text
    fill(store, store.blocks[:-1])
    page._next_look = 0.0
    asyncio.run(page.poll())
    assert int(page.landscape.landscape.s2_total.isnull().sum()) == store.blocks[-1].points
    assert "minimum S² = " in page.landscape.large.figure.title.text


def test_a_landscape_of_one_parameter_is_shaded_where_the_posterior_is(alloy: Path) -> None:
    surface = shown_of(alloy, observed=True).landscape().isel(w2=[0]).squeeze("w2", drop=True)
    samples = xr.Dataset({"w1": (("chain", "draw"), np.linspace(0, 1, 2001)[None])})
    spans = Span(dimension="width"), Span(dimension="height")
    pane = LandscapePane(surface, samples, spans, lambda place: None)
    added = pane.curve.figure.center
    shaded = [(box.left, box.right) for box in added if isinstance(box, BoxAnnotation)]
    assert np.allclose(sorted(shaded), [(0.025, 0.975), (0.16, 0.84)])


def test_points_done_meanwhile_are_drawn_at_the_next_look(ising: Path, tmp_path: Path) -> None:
    path = tmp_path / "running.zarr"
    sweep = Store(ising).sweep
    store = create(path, sweep, plan(sweep, block_points=2))
    page = browser_of(path)
    assert np.isnan(image_of(page.maps[0])).all()
    assert "0 of 16 points done" in page.progress.layout.object
    assert "not computed" in page.histogram.figure.title.text
    fill(store, store.blocks[:3])
    asyncio.run(page.poll())
    assert "6 of 16 points done (37 %)" in page.progress.layout.object
    partly = np.isnan(image_of(page.maps[0])).mean()
    assert 0.3 < partly < 0.9
    fill(store, store.blocks[3:])
    page._next_look = 0.0
    asyncio.run(page.poll())
    assert not np.isnan(image_of(page.maps[0])).any()
    assert "16 of 16" in page.progress.layout.object
    assert page.histogram.simulated.data["top"].sum() == pytest.approx(1)


def test_points_on_no_grid_are_dots_that_a_tap_chooses(scattered: Path) -> None:
    page = browser_of(scattered)
    page.view.param.update(variable="energy", x="w1", y="w2")
    ds = open_sweep(scattered).load()
    done = ds["done"].values
    shown = page.maps[0].map
    np.testing.assert_array_equal(shown.points.data["value"], ds["energy"].values[done])
    np.testing.assert_array_equal(shown.missing.data["x"], ds["w1"].values[~done])
    surface = image_of(page.maps[0])
    assert 0.5 < np.isfinite(surface).mean() < 1
    assert np.nanmax(surface) <= np.float32(ds["energy"].values[done].max())
    assert "4 of 32 points missing" in shown.figure.title.text
    page._tapped(float(ds["w1"][7]) + 1e-4, float(ds["w2"][7]))
    assert page.sliders["point"].value == 7
    assert page.view.at(page.reader) == {"w1": float(ds["w1"][7]), "w2": float(ds["w2"][7])}
    tops = page.histogram.simulated.data["top"]
    np.testing.assert_allclose(tops, ds["histogram"][7] / ds["histogram"][7].sum())
    assert f"w₁ = {float(ds['w1'][7]):.5g}" in page.histogram.figure.title.text
    curve = page.slices.curves["w2"]
    np.testing.assert_array_equal(curve._curves[0].data["x"], np.sort(ds["w2"].values))
    assert not curve._joins[0].visible
    page.sliders["point"].value = 3
    assert page.view.place["point"] == 3
    page.view.x = "w2"  # the parameters trade places
    np.testing.assert_array_equal(shown.points.data["x"], ds["w2"].values[done])


def one_image(path: Path) -> xr.Dataset:
    counts = open_sweep(path)["histogram"].values[5] // 10
    return counts_dataset({"one": counts}, configurations("triangular"))


def test_a_landscape_of_points_has_its_surface_and_contours(scattered: Path) -> None:
    observed, reader = one_image(scattered), reader_of(scattered)
    landscape_of = partial(landscape, observed=observed)
    page = Browser(Shown(reader, Sources(str(scattered)), observed, landscape_of))
    surface, pane = landscape(open_sweep(scattered), observed), page.landscape
    expected = fit(surface)
    best = [expected.parameters[name][0] for name in (page.view.x, page.view.y)]
    for figure in (pane.large, pane.small["one"]):
        assert [figure.best.data["x"][0], figure.best.data["y"][0]] == pytest.approx(best)
        assert figure._lines["solid"].data["xs"]
        known = np.sort(surface.s2_total.values[surface.s2_total.notnull()])
        np.testing.assert_array_equal(figure.points.data["value"], known[::-1])
    # Too few points for a fit: dots without a surface.
    pane.landscape = surface.isel(point=slice(5))
    page.draw()
    assert not pane.large.image.data["image"]
    assert len(pane.large.points.data["x"]) == 5
    for change, number in ((lambda ds: ds.drop_vars("w2"), 1), (with_third, 3)):
        other = on_axis(change(surface))
        pane = LandscapePane(other, None, (Span(), Span()), print)
        pane.draw(page.view, {"w1": 0.0})
        assert len(pane.parameters) == number
    assert "minimum S²" in pane.large.figure.title.text


def with_third(surface: xr.Dataset) -> xr.Dataset:
    values = np.random.default_rng(1).uniform(size=surface.sizes["point"])
    return surface.assign_coords(w3=("point", values))


def test_axes_of_words_are_browsed() -> None:
    values = np.arange(6.0).reshape(3, 2)
    ds = xr.Dataset({"e": (("shape", "T"), values)})
    ds = ds.assign_coords(shape=["disc", "ring", "<b>"], T=[1.0, 2.0])
    page = Browser(Shown(Reader(lambda: ds), Sources("function.zarr")))
    shown = page.maps[0].map.figure
    assert dict(shown.yaxis[0].major_label_overrides) == {0: "disc", 1: "ring", 2: "‹b›"}
    page.sliders["shape"].value = 1
    page.export.picture.value = "slice along T"
    assert "at={'shape': 'ring'}" in page.export.script()
    assert page.export.file(".png").getbuffer().nbytes > 1000
    assert not page.slices.curves["shape"]._joins[0].visible


@pytest.mark.parametrize("chosen", ["map", "histogram", "landscape"])
def test_the_code_of_points_makes_their_picture(
    scattered: Path, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface = landscape(open_sweep(scattered), one_image(scattered))
    write_new(surface, tmp_path / "l.zarr", "landscape", surface["s2_total"].dims)
    sources = Sources(str(scattered), landscape=str(tmp_path / "l.zarr"))
    page = Browser(Shown(reader_of(scattered), sources, None, lambda _: surface))
    page.export.picture.value = chosen
    monkeypatch.chdir(tmp_path)
    exec(compile(page.export.script(), "picture.py", "exec"), {})
    (made,) = tmp_path.glob("*.png")
    with Image.open(made) as one:
        assert one.width > 700


@pytest.mark.parametrize("chosen", ["map", "histogram", "snapshot", "landscape"])
def test_the_code_makes_the_picture_that_is_saved(
    alloy: Path, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser_of(alloy, observed=True)
    page.sliders["x"].value = 1
    page.view.image = "re55"
    page.export.picture.value = chosen
    monkeypatch.chdir(tmp_path)
    script = page.export.script()
    exec(compile(script, "picture.py", "exec"), {})
    (made,) = tmp_path.glob("*.png")
    with Image.open(made) as one:
        assert one.width > 700
        if chosen == "map":
            with Image.open(page.export.file(".png")) as other:
                assert (np.asarray(one) == np.asarray(other)).all()


def test_the_code_names_what_is_seen(alloy: Path) -> None:
    page = browser_of(alloy)
    page.view.param.update(variable="histogram", second="energy_se", log=True)
    page.sliders["configuration"].value = 7
    reported = (
        "variable_map(sweep, 'histogram', x='w2', y='w1', at={'x': 0.84332, 'configuration': 7}"
    )
    assert f"{reported}, log=True)" in page.export.script()
    page.export.picture.value = "second map"
    assert "variable_map(sweep, 'energy_se', x='w2'" in page.export.script()
    page.export.picture.value = "slice along x"
    assert "x='x', at={'w1': 0.0, 'w2': 0.0" in page.export.script()


def test_pages_to_keep_ask_for_nothing(alloy: Path) -> None:
    page = browser_of(alloy).export.file(".html").getvalue().decode()
    outside_of_scripts = re.sub(r"(<script\b[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)
    assert not re.search(r"<link\b|\bsrc\s*=|\bhref\s*=|@import|url\(", outside_of_scripts)


def test_one_axis_is_a_curve(alloy: Path) -> None:
    line = xr.open_zarr(alloy).isel(x=1, w2=0).drop_vars(["x", "w2"]).load()
    page = Browser(Shown(Reader(lambda: line), Sources("-")))
    source = page.maps[0].curve._curves[0].data
    np.testing.assert_allclose(source["y"], line["energy"])
    page._tapped(0.14, 99.0)
    assert page.view.place["w1"] == 3
    assert page.maps[0].curve._here.location == pytest.approx(0.15)


def test_images_stand_together_or_apart(alloy: Path) -> None:
    plane = xr.open_zarr(alloy).isel(x=1).drop_vars("x").load()
    observed = observed_counts([COUNTS], lattice="triangular")
    page = Browser(Shown(Reader(lambda: plane), Sources("-"), observed))
    counts = observed["counts"].transpose("image", "configuration").to_numpy()
    dots = page.histogram.observed_dots
    np.testing.assert_allclose(dots[0].data["top"], counts.sum(0) / counts.sum())
    page.per_image.value = True
    for one, source in zip(counts, dots, strict=True):
        share = one / one.sum()
        np.testing.assert_allclose(source.data["top"], share)
        spread = source.data["high"] - source.data["top"]
        np.testing.assert_allclose(spread, np.sqrt(share * (1 - share) / one.sum()))


def test_samples_of_a_fit_and_of_an_arviz_file_are_read(tmp_path: Path) -> None:
    samples = xr.Dataset({"w1": (("chain", "draw"), np.ones((2, 5)))})
    samples.to_netcdf(tmp_path / "posterior.nc", group="posterior", engine="h5netcdf")
    write_new(samples, tmp_path / "posterior.zarr", "fit", samples.sizes)
    for name in ("posterior.nc", "posterior.zarr"):
        assert _samples(tmp_path / name)["w1"].shape == (2, 5)
    with pytest.raises(RequestError, match="method posterior"):
        _samples(tmp_path)


def test_a_users_own_sweep_is_browsed_without_lattice_and_histograms() -> None:
    values = {
        "gain": (("a", "b"), np.arange(12.0).reshape(4, 3), {"units": "V"}),
        "wave": (("a", "b", "bin"), np.arange(24).reshape(4, 3, 2) * 1j),
        "name": (("a", "b"), np.full((4, 3), "text")),
        "done": (("a", "b"), np.ones((4, 3), bool)),
    }
    ds = xr.Dataset(values, {"a": np.arange(4.0), "b": [0.0, 1.0, 5.0]})
    page = Browser(Shown(Reader(lambda: ds), Sources("-")))
    assert page.reader.variables == ["gain", "wave"]
    assert not page.sliders["bin"].visible or page.view.second == "wave"
    page.view.param.update(variable="wave", x="a", y="b")
    page.sliders["bin"].value = 1
    drawn = image_of(page.maps[0])
    assert drawn.max() == 23
    assert page.maps[0].map.figure.title.text.startswith("|wave|\nbin 1")
    page.view.log = True
    assert "Log" in type(page.maps[0].map._glyph.glyph.color_mapper).__name__


def test_a_map_of_a_million_points_is_an_image_no_finer_than_a_screen() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1000, 1000))
    values[:10, :10] = np.nan
    x = np.linspace(1, 2, 1000)
    whole = pixels(values, x, x)
    assert whole.image.shape == (500, 500)
    assert np.isnan(whole.image[:5, :5]).all()
    assert whole.image[7, 300] == pytest.approx(values[14:16, 600:602].mean(), rel=1e-5)
    part = pixels(values, x, x, ((1.2, 1.3), (1.5, 1.7)))
    assert part.image.shape[1] in (101, 102)
    column = round((part.box[0] - x[0]) / (x[1] - x[0]) + 0.5)
    row = round((part.box[1] - x[0]) / (x[1] - x[0]) + 0.5)
    assert part.image[0, 0] == np.float32(values[row, column])


def test_a_look_reads_one_point_of_the_histograms(
    alloy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser_of(alloy)
    sizes: list[int] = []
    load = xr.DataArray.load

    def counted(array: xr.DataArray) -> xr.DataArray:
        sizes.append(array.size)
        return load(array)

    monkeypatch.setattr(xr.DataArray, "load", counted)
    page.sliders["w1"].value = 1
    assert max(sizes) == 64 * 26


def test_files_of_chunks_are_read_as_zarr_reads_them(tmp_path: Path) -> None:
    grid = {"T": np.linspace(2, 3, 9), "H": np.linspace(0, 1, 11)}
    sweep = Sweep(square(4), Ising(), grid, Schedule(1, 2, 1), seed=1)
    store = create(tmp_path / "many.zarr", sweep, plan(sweep, block_points=1))
    fill(store, store.blocks[10:40])
    ds = xr.open_zarr(tmp_path / "many.zarr")
    for name in ("done", "energy", "attempts", "histogram", "error"):
        found = store.values(name)
        assert found.dtype == ds[name].dtype
        np.testing.assert_array_equal(found, ds[name].to_numpy())
    chunk = store.chunk("energy", store.blocks[20])
    Path(chunk).write_bytes(b"no zstd")
    with pytest.raises((RuntimeError, ValueError)):
        store.values("energy")


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (["--observed", str(COUNTS)], "no table of square configuration counts"),
        (["--landscape", "nowhere.zarr"], "no store at nowhere.zarr"),
        (["--posterior", str(COUNTS)], "holds no draws"),
        (["--port", "99999"], "99999"),
    ],
)
def test_wrong_requests_end_before_a_page_is_served(
    ising: Path, options: list[str], reported: str
) -> None:
    result = latticescape("browse", ising, "--no-show", *options)
    assert result.exit_code == 2
    assert reported in result.output


def test_a_slab_is_browsed_with_sources_and_nothing_else_is(
    ising: Path, film: Path, tmp_path: Path
) -> None:
    thin = sources_file(tmp_path)
    (tmp_path / "profile.csv").write_text("ca\n0.4\n0.3\n")
    for store, seen, words in (
        (film, COUNTS, "one file of its sources"),
        (film, thin, "as long as the simulated ca_fraction"),
        (ising, film.parent / "sources.toml", "is not of a slab, and has no sources"),
    ):
        result = latticescape("browse", store, "--no-show", "--observed", seen)
        assert result.exit_code == 2
        assert words in result.output


def test_a_port_in_use_is_told(ising: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = latticescape("browse", ising, "--no-show", "--port", port)
        assert result.exit_code == 2
        assert f"port {port} is in use" in result.output
        assert "--port 0" in result.output
    assert free_port(0) > 0


def test_a_dataset_without_axes_is_refused() -> None:
    with pytest.raises(RequestError, match="nothing to browse"):
        Reader(lambda: xr.Dataset({"e": 1.0}))


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page, which asks no other machine and meets no error."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".bk-Figure canvas, canvas", timeout=300_000)
    settle(page)
    yield page
    page.close()
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    outside = [u for u in asked if not u.startswith((origin, "data:", "blob:"))]
    assert outside == []
    assert errors == []


def settle(page: Any) -> None:
    page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle")
    page.wait_for_timeout(300)


def pixels_of(page: Any, box: tuple[int, int, int, int]) -> Any:
    x, y, width, height = box
    clip = {"x": x, "y": y, "width": width, "height": height}
    with Image.open(io.BytesIO(page.screenshot(clip=clip))) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def grey_share(page: Any) -> float:
    """The share of the map's pixels that show no colour."""
    return float((np.ptp(pixels_of(page, MAP), axis=2) < 3).mean())


def changed(page: Any, box: tuple[int, int, int, int], before: Any) -> Any:
    """The pixels, once they are others."""
    for _ in range(100):
        now = pixels_of(page, box)
        if (now != before).any():
            settle(page)
            return pixels_of(page, box)
        page.wait_for_timeout(100)
    raise TimeoutError("nothing changed")


MAP = (345, 105, 400, 310)
HISTOGRAM = (345, 525, 320, 240)


@pytest.mark.browser
def test_taps_and_sliders_change_what_a_browser_shows(browser: Any, alloy: Path) -> None:
    with served(alloy, "--observed", COUNTS) as address, opened(browser, address) as page:
        map_, histogram = pixels_of(page, MAP), pixels_of(page, HISTOGRAM)
        page.mouse.click(400, 150)
        tapped = changed(page, HISTOGRAM, histogram)
        assert np.ptp(tapped, axis=2).max() > 40  # the observed dots are blue
        page.mouse.move(5, 890)  # away with cross hair and tooltip
        settle(page)
        marked = pixels_of(page, MAP)
        assert 0 < (marked != map_).any(axis=2).mean() < 0.05  # the circle alone
        handle = page.locator(".noUi-handle").nth(0)
        handle.focus()
        handle.press("ArrowLeft")
        slid = changed(page, MAP, marked)
        assert (slid != marked).any(axis=2).mean() > 0.3
        page.get_by_text("Landscape S²", exact=True).click()
        surface = changed(page, MAP, slid)
        white = (surface > 250).all(axis=2).sum()
        assert white > 100  # contours
        histogram = pixels_of(page, HISTOGRAM)
        page.mouse.click(600, 350)  # taps of the landscape go to the point as well
        changed(page, HISTOGRAM, histogram)


EVIL = "<img src=x onerror=document.title='evil'>"


@pytest.mark.browser
def test_a_store_runs_nothing_in_a_browser(browser: Any, ising: Path, tmp_path: Path) -> None:
    """Its path and its units are shown as text, also where the mouse rests on a map. Without the
    token nothing is shown."""
    store = Path(shutil.copytree(ising, tmp_path / EVIL))
    for file, find in (("T/zarr.json", ()), ("zarr.json", ("consolidated_metadata", "metadata"))):
        metadata = json.loads((store / file).read_text())
        part = metadata
        for key in find:
            part = part[key]
        for array in [part["T"]] if find else [part]:
            array["attributes"].update(units=EVIL, long_name=EVIL)
        (store / file).write_text(json.dumps(metadata))
    with served(store, "--token") as address, opened(browser, address) as page:
        page.mouse.move(500, 250)
        page.wait_for_timeout(500)
        assert page.title() == "latticescape"
        assert page.get_by_text("onerror").count()  # shown as text
        assert len(urlsplit(address).path) > 20
        with pytest.raises(HTTPError, match="404"):
            urlopen(address.removesuffix(urlsplit(address).path), timeout=300)


def test_a_page_of_another_host_name_is_refused(ising: Path) -> None:
    with served(ising, "--no-token") as address:
        assert len(urlsplit(address).path) < 20
        with urlopen(address, timeout=300) as answer:
            assert answer.status == 200
        rebound = Request(address, headers={"Host": f"evil.example:{urlsplit(address).port}"})
        with pytest.raises(HTTPError, match="403"):
            urlopen(rebound, timeout=300)


@pytest.mark.browser
def test_a_browser_shows_points_on_no_grid(browser: Any, scattered: Path) -> None:
    with served(scattered) as address, opened(browser, address) as page:
        map_, histogram = pixels_of(page, MAP), pixels_of(page, HISTOGRAM)
        colours = map_[np.ptp(map_, axis=2) > 40]
        assert len(np.unique(colours, axis=0)) > 50  # the surface
        page.mouse.click(450, 200)
        changed(page, HISTOGRAM, histogram)


@pytest.mark.browser
def test_a_browser_shows_the_sources_of_a_slab(browser: Any, film: Path) -> None:
    arguments = (film, "--observed", film.parent / "sources.toml")
    with served(*arguments) as address, opened(browser, address) as page:
        before = pixels_of(page, MAP)
        page.get_by_text("Landscape S²", exact=True).click()
        surface = changed(page, MAP, before)
        assert (surface > 250).all(axis=2).sum() > 100  # contours
        beside = pixels_of(page, (850, 80, 500, 380))
        assert len(np.unique(beside[np.ptp(beside, axis=2) > 40], axis=0)) > 20


@pytest.mark.browser
def test_a_browser_sees_a_running_sweep_fill_in(browser: Any, ising: Path, tmp_path: Path) -> None:
    sweep = Store(ising).sweep
    store = create(tmp_path / "running.zarr", sweep, plan(sweep, block_points=2))
    with served(store.path) as address, opened(browser, address) as page:
        empty = grey_share(page)
        assert empty > 0.95
        # The page may look while blocks are being written.
        for blocks, words in ((store.blocks[:4], "8 of 16"), (store.blocks[4:], "16 of 16")):
            fill(store, blocks)
            page.get_by_text(f"{words} points done").wait_for(timeout=300_000)
            for _ in range(100):
                if (now := grey_share(page)) < empty - 0.3:
                    break
                page.wait_for_timeout(100)
            assert now < empty - 0.3
            empty = now
