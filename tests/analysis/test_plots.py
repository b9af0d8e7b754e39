"""Pictures: laws on what is drawn, the files that are written, and a look with a real browser."""

import re
from pathlib import Path
from typing import Any

import holoviews as hv
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from PIL import Image
from scipy.spatial import Delaunay

from latticescape.analysis import fit
from latticescape.analysis.plots import (
    Picture,
    configuration_chart,
    landscape_map,
    save,
    variable_map,
)
from latticescape.analysis.plots.labels import axis_label, value_text
from latticescape.physics import MODELS
from latticescape.physics.errors import RequestError
from tests.support.browsing import assert_colourful, screenshot

T = ("T", np.array([1.0, 1.5, 2.0, 2.2, 2.4, 3.0, 4.0]), {"long_name": "temperature"})
H = ("H", np.array([-1.0, 0.0, 0.5, 1.0]), {"long_name": "magnetic field H", "units": "J"})
W1, W2 = np.linspace(-1, 2, 13), np.linspace(-1, 1, 9)
BEST = {"w1": (0.4, 0.2), "w2": (-0.1, 0.1)}
ATOMS = np.array([400, 600])


@pytest.fixture
def sweep() -> xr.Dataset:
    """Susceptibility peaked at T = 2 + |H| in a store with two points not done."""
    ds = xr.Dataset(coords={"T": T, "H": H})
    chi = 1 / (0.1 + (ds["T"] - 2 - abs(ds["H"])) ** 2)
    done = (chi > 0).copy()
    done[0, :2] = False
    chi.attrs = {"long_name": "magnetic susceptibility per site", "units": "1/J"}
    labels = ("configuration", ["0 | 0", "0 | 1", "1 | 0"])
    counts = (("T", "H", "configuration"), np.arange(84).reshape(7, 4, 3))
    variables = {"susceptibility": chi, "susceptibility_se": 0.1 * chi, "done": done}
    return ds.assign(variables).assign(histogram=counts).assign_coords(label=labels)


def landscape_over(*axes: str) -> xr.Dataset:
    """Two images with a quadratic S² around BEST, moved by ∓0.2 and ±0.2 along the first axis."""
    ds = xr.Dataset(coords={axis: {"w1": W1, "w2": W2}[axis] for axis in axes})
    ds = ds.assign_coords(image=["a.tif", "b.tif"])
    move = xr.DataArray([-0.2, 0.2], dims="image")
    s2 = 0.01 + 0.1 * (ds["w1"] - BEST["w1"][0] - move) ** 2
    if "w2" in axes:
        s2 = s2 + 0.2 * (ds["w2"] - BEST["w2"][0]) ** 2
    s2 = s2.transpose("image", ...)
    total = (s2 * xr.DataArray(ATOMS / ATOMS.sum(), dims="image")).sum("image")
    return ds.assign(
        s2=s2, s2_se=0.1 * s2, s2_total=total, s2_total_se=0.1 * total, n=("image", ATOMS)
    )


def title(picture: Picture, backend: str = "bokeh") -> str:
    return str(hv.Store.lookup_options(backend, picture, "plot").kwargs["title"])


def parts_of(picture: Picture, kind: type) -> list[Any]:
    return [part for part in picture if isinstance(part, kind)]


def test_unfinished_points_are_blank_and_counted(sweep: xr.Dataset) -> None:
    sweep["susceptibility"] = sweep["susceptibility"].fillna(0)
    picture = variable_map(sweep, "susceptibility")
    values = picture.get(0).dimension_values("susceptibility", flat=False)
    np.testing.assert_array_equal(np.isnan(values), ~sweep["done"].T)
    for backend in ("bokeh", "matplotlib"):
        assert "2 of 28 points missing" in title(picture, backend)
    assert "missing" not in title(variable_map(sweep.isel(T=slice(1, None)), "susceptibility"))


def test_a_map_of_a_few_points_shows_the_nearest_ones_everywhere(sweep: xr.Dataset) -> None:
    sweep["susceptibility"] = sweep["susceptibility"].fillna(0)
    sweep["done"][:] = False
    sweep["done"][0, 0] = sweep["done"][-1, -1] = True
    picture = variable_map(sweep, "susceptibility")
    pale, points = (picture.get(i).dimension_values(2, flat=False) for i in (0, 1))
    assert np.isfinite(points).sum() == 2
    assert {pale[0, 0], pale[-1, -1]} == set(np.unique(pale)) == set(points[np.isfinite(points)])
    assert "26 of 28 points missing (pale: as the nearest computed)" in title(picture)


def test_points_on_no_grid_are_dots_on_their_own_surface(tmp_path: Path) -> None:
    T, H = np.random.default_rng(1).uniform(size=(2, 30))
    done = np.arange(30) % 10 > 0
    ds = xr.Dataset({"chi": ("point", 3 * T - H), "done": ("point", done)})
    ds = ds.assign_coords(T=("point", T, {"long_name": "temperature"}), H=("point", H))
    picture = variable_map(ds, "chi", log=True)
    surface, rings, dots = (picture.get(i) for i in range(3))
    known = done & (3 * T - H > 0)
    np.testing.assert_allclose(dots.array(), np.column_stack([T, H, 3 * T - H])[known])
    np.testing.assert_allclose(rings.array(), np.column_stack([T, H])[~known])
    assert f"{(~known).sum()} of 30 points missing (grey)" in title(picture)
    assert dots.kdims[0].pprint_label == "temperature T"
    # Linear within the convex hull, and nothing outside of it.
    x, y, values = (surface.dimension_values(i) for i in range(3))
    inside = Delaunay(np.column_stack([T, H])[known]).find_simplex(np.column_stack([x, y])) >= 0
    assert np.isfinite(values).sum() == pytest.approx(inside.sum(), rel=0.01)
    assert 0.5 < inside.mean() < 0.95
    np.testing.assert_allclose(values[np.isfinite(values)], (3 * x - y)[np.isfinite(values)])
    save(picture, tmp_path / "points.png")
    swapped = variable_map(ds, "chi", x="H").get(0)
    assert [dim.name for dim in swapped.kdims] == ["H", "T"]


def test_points_in_one_parameter_are_a_curve_and_on_a_line_dots() -> None:
    T = np.array([3.0, 1.0, 2.0])
    ds = xr.Dataset({"chi": ("point", T)}, {"T": ("point", T), "H": ("point", 0 * T)})
    assert variable_map(ds, "chi").get(0).array()[:, 0].tolist() == [1.0, 2.0, 3.0]
    line = ds.assign_coords(H=("point", 2 * T))
    assert isinstance(variable_map(line, "chi").get(0), hv.Points)
    with pytest.raises(RequestError, match="no such axes"):
        variable_map(line, "chi", x="Q")
    with pytest.raises(RequestError, match="a ridge needs a grid"):
        variable_map(line, "chi", ridge=True)


def test_points_in_several_parameters_are_drawn_over_all_pairs(tmp_path: Path) -> None:
    columns = np.random.default_rng(1).uniform(size=(3, 20))
    at = {name: ("point", column) for name, column in zip("TH", columns, strict=False)}
    shape = ("point", np.array(["disc", "ring"] * 10))
    ds = xr.Dataset({"chi": ("point", columns[2])}, {**at, "shape": shape})
    picture = variable_map(ds, "chi")
    panels = [panel.get(0) for panel in picture if isinstance(panel, hv.Overlay)]
    pairs = [tuple(dim.name for dim in panel.kdims) for panel in panels]
    assert pairs == [
        *[("T", "chi"), ("T", "H"), ("H", "chi")],
        *[("T", "shape"), ("H", "shape"), ("shape", "chi")],
    ]
    assert panels[3].dimension_values("shape")[:3].tolist() == [0, 1, 0]
    dots = variable_map(ds, "chi", x="T", y="shape")
    ticks = hv.Store.lookup_options("bokeh", dots, "plot").kwargs["yticks"]
    assert ticks == [(0, "disc"), (1, "ring")]
    # Points at all of an axis are points in that too.
    mixed = xr.concat([ds, ds], xr.DataArray([1.0, 2.0], dims="J", name="J"))
    assert len(next(iter(variable_map(mixed, "chi"))).get(0)) == 40
    evil = ds.assign(chi=ds["chi"].assign_attrs(long_name="<script>alert()</script>"))
    page = save(variable_map(evil, "chi"), tmp_path / "points.html").read_text()
    assert "&lt;script&gt;alert()" in page
    assert "<script>alert()" not in page


def test_words_are_drawn_in_their_order() -> None:
    shape = ["ring", "disc", "a"]
    ds = xr.Dataset({"chi": (("shape", "T"), np.arange(6.0).reshape(3, 2))})
    ds = ds.assign_coords(shape=shape, T=[1.0, 2.0])
    picture = variable_map(ds, "chi")
    np.testing.assert_array_equal(picture.get(0).dimension_values(2, flat=False), ds.chi.T)
    options = hv.Store.lookup_options("bokeh", picture, "plot").kwargs
    assert options["xticks"] == [(0, "ring"), (1, "disc"), (2, "a")]
    dots = variable_map(ds, "chi", at={"T": 2.0})
    assert not parts_of(dots, hv.Curve)  # words have no order that a line could follow
    assert isinstance(variable_map(ds, "chi", at={"shape": "disc"}).get(0), hv.Curve)


def test_a_sweep_that_has_not_begun_is_told_so(sweep: xr.Dataset) -> None:
    sweep["done"][:] = False
    with pytest.raises(RequestError, match="no point of susceptibility is computed"):
        variable_map(sweep, "susceptibility")


def test_cells_end_midway_between_points_of_uneven_axes(sweep: xr.Dataset) -> None:
    mesh = variable_map(sweep.isel(T=[3, 0, 6], H=[1]), "susceptibility").get(0)
    edges = [mesh.interface.coords(mesh, axis, edges=True) for axis in ("T", "H")]
    np.testing.assert_allclose(edges[0], [0.4, 1.6, 3.1, 4.9])
    np.testing.assert_allclose(edges[1], [-0.5, 0.5])


def test_titles_of_axes_tell_name_symbol_and_units_but_no_unit_of_one(sweep: xr.Dataset) -> None:
    mesh = variable_map(sweep, "susceptibility").get(0)
    assert [dim.pprint_label for dim in mesh.dimensions()[:3]] == [
        "temperature T",
        "magnetic field H (J)",
        "magnetic susceptibility per site (1/J)",
    ]
    sweep["T"].attrs["units"] = "1"
    assert variable_map(sweep, "susceptibility").get(0).kdims[0].pprint_label == "temperature T"


def test_ridge_follows_the_peak_and_leaves_out_the_border(sweep: xr.Dataset) -> None:
    (ridge,) = parts_of(variable_map(sweep, "susceptibility", ridge=True), hv.Points)
    np.testing.assert_array_equal(ridge.array(), [[3, -1], [2, 0], [2.4, 0.5], [3, 1]])
    cut = sweep.isel(T=slice(0, 6))
    (ridge,) = parts_of(variable_map(cut, "susceptibility", ridge=True), hv.Points)
    np.testing.assert_array_equal(ridge.array(), [[2, 0], [2.4, 0.5]])
    sweep["done"][4, 1] = False
    sweep["done"][3, 2] = False
    (ridge,) = parts_of(variable_map(sweep, "susceptibility", ridge=True), hv.Points)
    np.testing.assert_array_equal(ridge.array(), [[3, -1], [2, 0], [3, 1]])


def test_one_axis_is_a_curve_with_its_standard_errors(sweep: xr.Dataset) -> None:
    picture = variable_map(sweep, "susceptibility", at={"H": 0.6}, ridge=True)
    expected = sweep["susceptibility"].sel(H=0.5).to_numpy()
    np.testing.assert_array_equal(picture.get(0).dimension_values(1), expected)
    (bars,) = parts_of(picture, hv.Segments)
    np.testing.assert_allclose(bars.array()[:, 3], 1.1 * expected)
    assert "H = 0.5" in title(picture)
    np.testing.assert_array_equal(parts_of(picture, hv.Points)[0].array(), [[2.4, expected[4]]])


def test_logarithmic_scales_leave_out_what_is_not_positive(sweep: xr.Dataset) -> None:
    sweep["susceptibility"][5, 1] = 0
    assert "3 of 28 points missing" in title(variable_map(sweep, "susceptibility", log=True))
    sweep["susceptibility_se"] = 2 * sweep["susceptibility"]
    picture = variable_map(sweep, "susceptibility", at={"H": 0}, log=True)
    lows = parts_of(picture, hv.Segments)[0].array()[:, 1]
    assert np.nanmin(lows) > 0


def test_histogram_needs_one_configuration_and_names_it(sweep: xr.Dataset) -> None:
    with pytest.raises(RequestError, match="along configuration too") as error:
        variable_map(sweep, "histogram")
    assert error.value.hint == 'at={"configuration": 0}'
    picture = variable_map(sweep, "histogram", x="H", y="T", at={"configuration": 1})
    assert "configuration 0 | 1" in title(picture)
    values = picture.get(0).dimension_values("histogram", flat=False)
    expected = sweep["histogram"].isel(configuration=1).where(sweep["done"])
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("request_", "reported"),
    [
        ({"variable": "chi"}, "susceptibility_se"),
        ({"variable": "susceptibility", "x": "mu"}, "T, H"),
        ({"variable": "susceptibility", "x": "T", "y": "T"}, "T, H"),
        ({"variable": "susceptibility", "at": {"mu": 1}}, "T, H"),
        ({"variable": "susceptibility", "at": {"H": 7}}, "-1 to 1"),
        ({"variable": "susceptibility", "at": {"T": 2, "H": 0}}, "no such axes"),
    ],
)
def test_wrong_requests_are_told_what_is_allowed(
    sweep: xr.Dataset, request_: dict[str, Any], reported: str
) -> None:
    with pytest.raises(RequestError, match=reported):
        variable_map(sweep, **request_)


def test_a_third_axis_must_be_chosen(sweep: xr.Dataset) -> None:
    deep = xr.concat([sweep, sweep], xr.DataArray([0.1, 0.2], dims="x", name="x"))
    with pytest.raises(RequestError, match="along H too") as error:
        variable_map(deep, "susceptibility")
    assert error.value.hint == 'at={"H": -1.0}'
    mesh = variable_map(deep, "susceptibility", y="x", at={"H": 0}).get(0)
    assert [dim.name for dim in mesh.kdims] == ["T", "x"]


def test_landscape_of_one_parameter_draws_every_image_and_the_total() -> None:
    landscape = landscape_over("w1")
    picture = landscape_map(landscape)
    estimate = fit(landscape)
    value, error = estimate.parameters["w1"]
    curves = {curve.label: curve for curve in parts_of(picture, hv.Curve)}
    assert list(curves) == ["image a.tif", "image b.tif", "all images"]
    np.testing.assert_allclose(curves["all images"].dimension_values(1), landscape["s2_total"])
    assert len(parts_of(picture, hv.Spread)) == 3
    (bar,) = parts_of(picture, hv.Segments)[0].array()
    np.testing.assert_allclose(bar[[0, 2]], [value - error, value + error])
    assert bar[1] == bar[3] == estimate.s2_total == pytest.approx(0.014, rel=0.05)
    assert f"minimum S² = {estimate.s2_total:.4f} at w₁ = {value_text(value, error)}" in title(
        picture
    )
    alone = landscape_map(landscape, image="b.tif")
    assert [curve.label for curve in parts_of(alone, hv.Curve)] == ["image b.tif"]
    assert parts_of(alone, hv.Points)[0].array()[0, 0] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(("image", "centre", "atoms"), [(None, 0.44, 1000), ("a.tif", 0.2, 400)])
def test_contours_lie_where_chi_squared_of_two_parameters_says(
    image: str | None, centre: float, atoms: int
) -> None:
    landscape = landscape_over("w1", "w2")
    # The Monte Carlo error of S² widens the contours; here it is negligible.
    exact = {name: 0.1 * landscape[name] for name in ("s2_se", "s2_total_se")}
    surface, _ = landscape_map(landscape.assign(exact), image=image)
    contours = parts_of(surface, hv.Path)
    for contour, quantile in zip(contours, (2.30, 6.18), strict=True):
        rise = quantile / (4 * atoms)
        half = (
            np.ptp(contour.dimension_values("w1")) / 2,
            np.ptp(contour.dimension_values("w2")) / 2,
        )
        np.testing.assert_allclose(half, [np.sqrt(rise / 0.1), np.sqrt(rise / 0.2)], rtol=0.02)
        middle = contour.dimension_values("w1").max() - half[0]
        assert middle == pytest.approx(centre, abs=0.01)


def test_the_cross_has_the_standard_error_of_the_fit_along_each_parameter() -> None:
    landscape = landscape_over("w2", "w1").transpose("w2", "w1", "image")
    surface, error_map = landscape_map(landscape)
    w1, w2 = (fit(landscape).parameters[name] for name in ("w1", "w2"))
    for picture in (surface, error_map):
        bars = parts_of(picture, hv.Segments)[0].array()
        np.testing.assert_allclose(bars[0], [w2[0] - w2[1], w1[0], w2[0] + w2[1], w1[0]])
        np.testing.assert_allclose(bars[1], [w2[0], w1[0] - w1[1], w2[0], w1[0] + w1[1]])
    assert f"w₂ = {value_text(*w2)}, w₁ = {value_text(*w1)}" in title(surface)
    assert error_map.get(0).vdims[0].name == "s2_se"


def test_an_unknown_error_is_a_bar_across_the_grid_and_named_in_the_title() -> None:
    two_points = landscape_over("w1").isel(w1=[0, 6])
    picture = landscape_map(two_points)
    bar = parts_of(picture, hv.Segments)[0].array()[0, [0, 2]]
    np.testing.assert_array_equal(bar, two_points["w1"])
    assert "(error unknown)" in title(picture)


def test_a_cut_through_further_parameters_is_named_in_the_title() -> None:
    cut = landscape_over("w1", "w2").sel(w2=0.25, method="nearest")
    assert "cut at w₂ = 0.25" in title(landscape_map(cut))
    assert "cut" not in title(landscape_map(landscape_over("w1")))


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"cluster_expansion"}))
def test_labels_have_species_names_once_these_are_known(model: str) -> None:
    for parameter in MODELS[model].parameters:
        attrs = {"long_name": parameter.meaning, "units": parameter.units}
        axis = xr.DataArray([0.0], dims=parameter.name, name=parameter.name, attrs=attrs)
        label = axis_label(axis, ("Mo", "Re"))
        assert "species" not in label
        assert ("species" in parameter.meaning) <= ("Mo" in label or "Re" in label)
        assert "T0" not in label


def test_a_landscape_of_measured_images_names_their_species() -> None:
    landscape = landscape_over("w1", "w2").assign_attrs(species="Mo,Re")
    meaning = "energy of a triangle with one atom of species 1"
    landscape["w1"].attrs = {"long_name": meaning, "units": "k_B T0"}
    mesh = next(iter(landscape_map(landscape))).get(0)
    assert mesh.kdims[0].pprint_label == "w₁, Mo–Mo–Re triangle (k_B T₀)"
    x = {"long_name": "fraction of species 1", "units": "1"}
    ds = xr.Dataset({"energy": (("x", "T"), np.ones((2, 3)))}, {"x": ("x", [0.4, 0.6], x)})
    ds = ds.assign_coords(T=[1.0, 2.0, 3.0]).assign_attrs(species=["Mo", "Re"])
    assert "at 60 % Re" in title(variable_map(ds, "energy", at={"x": 0.6}))
    assert variable_map(ds, "energy").get(0).kdims[0].pprint_label == "Re fraction x"
    unnamed = variable_map(ds.drop_attrs(deep=False), "energy").get(0)
    assert unnamed.kdims[0].pprint_label == "fraction x of species 1"


def test_a_chart_is_of_the_nearest_point_on_no_grid() -> None:
    counts = np.ones((3, 64, 2), int) * np.array([[1, 3], [2, 2], [3, 1]])[:, None]
    ds = xr.Dataset({"histogram_replica": (("point", "replica", "configuration"), counts)})
    at = {"w1": ("point", [0.0, 0.1, 0.2]), "w2": ("point", [0.0, 5.0, 0.0])}
    ds = ds.assign_coords(**at, label=("configuration", ["0 | 0", "1 | 0"]))
    chart = configuration_chart(ds, at={"w1": 0.12, "w2": 4.9})
    assert chart.get(0).dimension_values("share").tolist() == [0.5, 0.5]
    assert "at w₁ = 0.1, w₂ = 5" in title(chart)
    third = configuration_chart(ds, at={"w1": 0.12, "w2": 0.1})
    assert third.get(0).dimension_values("share").tolist() == [0.75, 0.25]
    with pytest.raises(RequestError, match="w1 is out of range"):
        configuration_chart(ds, at={"w1": 3.0})


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
def test_a_chart_of_configurations_names_species_on_both_axes(backend: str) -> None:
    counts = np.ones((2, 64, 4), int) * [1, 2, 3, 4]
    labels = ("configuration", ["0 | 0", "0 | 1", "1 | 0", "1 | 1"])
    ds = xr.Dataset({"histogram_replica": (("T", "replica", "configuration"), counts)})
    ds = ds.assign_coords(T=[1.0, 2.0], label=labels).assign_attrs(species=["Mo", "Re"])
    chart = configuration_chart(ds, at={"T": 1.0})
    options = hv.Store.lookup_options(backend, chart, "plot").kwargs
    assert (options["xlabel"], options["ylabel"]) == ("centre | Re neighbours", "share of sites")
    assert [text for _, text in options["xticks"]] == ["Mo|0", "Mo|1", "Re|0", "Re|1"]


def test_a_landscape_with_holes_or_of_one_column_is_drawn(tmp_path: Path) -> None:
    landscape = landscape_over("w1", "w2")
    landscape["s2_total"][0, 0] = np.nan
    pictures = [landscape_map(landscape), landscape_map(landscape_over("w1", "w2").isel(w2=[4]))]
    assert "1 of 117 points missing" in title(next(iter(pictures[0])))
    for picture in pictures:
        for suffix in (".png", ".html"):
            save(picture, tmp_path / f"hole{suffix}")


def scattered_landscape(*names: str, number: int = 40) -> xr.Dataset:
    columns = dict(
        zip(names, np.random.default_rng(2).uniform(-0.5, 0.5, (3, number)), strict=False)
    )
    s2 = 0.01 + sum((column - 0.1) ** 2 for column in columns.values())
    parts = np.stack([s2 + 0.002, s2 - 0.002])
    return xr.Dataset(
        {
            "s2": (("image", "point"), parts),
            "s2_se": (("image", "point"), 0 * parts + 1e-5),
            "s2_total": ("point", s2),
            "s2_total_se": ("point", 0 * s2 + 1e-5),
            "n": ("image", [500, 500]),
        },
        {**{name: ("point", column) for name, column in columns.items()}, "image": ["a", "b"]},
    )


def test_a_landscape_of_points_is_its_interpolation_with_the_points() -> None:
    landscape = scattered_landscape("w1", "w2")
    colours, errors = landscape_map(landscape)
    surface, (dots,) = colours.get(0), [p for p in parts_of(colours, hv.Points) if p.vdims]
    assert len(dots) == len(errors.get(0)) == 40
    x, y, values = (surface.dimension_values(i) for i in range(3))
    known = np.isfinite(values)
    assert 0.6 < known.mean() < 1
    exact = 0.01 + (x - 0.1) ** 2 + (y - 0.1) ** 2
    np.testing.assert_allclose(values[known], exact[known], atol=0.005)
    # Contours end at the hull.
    hull = Delaunay(np.column_stack([landscape["w1"], landscape["w2"]]))
    lines = [line for path in parts_of(colours, hv.Path) for line in path.split(datatype="array")]
    assert lines
    assert all((hull.find_simplex(line) >= 0).mean() > 0.95 for line in lines)
    best = fit(landscape).parameters["w1"][0]
    assert best == pytest.approx(0.1, abs=0.02)
    assert f"w₁ = {value_text(*fit(landscape).parameters['w1'])}" in title(colours)


def test_an_interpolation_below_zero_has_the_lowest_colour(tmp_path: Path) -> None:
    landscape = scattered_landscape("w1", "w2", number=80)
    lower = {name: landscape[name] - 0.012 for name in ("s2", "s2_total")}
    low = landscape.assign(lower).isel(point=np.flatnonzero(lower["s2_total"] > 0))
    surface = next(iter(landscape_map(low))).get(0).dimension_values(2)
    assert np.nanmin(surface) == pytest.approx(float(low["s2_total"].min()) / 10)
    save(landscape_map(low), tmp_path / "low.png")


def test_a_landscape_of_several_parameters_has_its_lowest_points_on_top() -> None:
    landscape = scattered_landscape("w1", "w2", "w3")
    n = landscape_over("w1", "w2")["n"]
    grid = landscape_over("w1", "w2").expand_dims(w3=[0.0, 1.0, 2.0]).assign(n=n)
    for surface, number in ((landscape, 40), (grid, 3 * 117)):
        picture = landscape_map(surface)
        options = hv.Store.lookup_options("matplotlib", picture, "plot").kwargs
        assert "minimum S² = " in options["title"]
        panels = [panel for panel in picture if isinstance(panel, hv.Overlay)]
        assert len(panels) == 6
        values = panels[1].get(0).dimension_values("value")
        assert len(values) == number
        assert (np.diff(values) <= 0).all()
    constant = landscape.assign_coords(w2=("point", np.zeros(40)), w3=("point", np.ones(40)))
    assert parts_of(landscape_map(constant), hv.Curve)


@pytest.mark.parametrize(
    ("change", "request_", "reported"),
    [
        (lambda ds: ds.drop_vars("s2_total"), {}, "no landscape"),
        (lambda ds: ds.isel(w1=0, w2=0), {}, "over its parameters .came: none"),
        (lambda ds: ds * np.nan, {}, "no point of the landscape is computed"),
        (lambda ds: ds, {"image": "c.tif"}, "a.tif, b.tif"),
    ],
)
def test_wrong_landscapes_are_told_what_is_allowed(
    change: Any, request_: dict[str, Any], reported: str
) -> None:
    with pytest.raises(RequestError, match=reported):
        landscape_map(change(landscape_over("w1", "w2")), **request_)


@pytest.fixture(params=["map", "curve", "lines", "surface"])
def picture(request: pytest.FixtureRequest, sweep: xr.Dataset) -> Picture:
    draw = {
        "map": lambda: variable_map(sweep.chunk(), "susceptibility", ridge=True, log=True),
        "curve": lambda: variable_map(sweep, "susceptibility", at={"H": 0}, ridge=True, log=True),
        "lines": lambda: landscape_map(landscape_over("w1")),
        "surface": lambda: landscape_map(landscape_over("w1", "w2")),
    }
    return draw[request.param]()


def test_png_is_large_enough_to_print(picture: Picture, tmp_path: Path) -> None:
    path = save(picture, tmp_path / "picture.png", title="A heading")
    with Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((160, 160), abs=1)
        assert 900 < image.width < 3000
        assert 600 < image.height < 1500
        assert_colourful(image)
    assert not plt.get_fignums()


def test_html_loads_nothing(picture: Picture, tmp_path: Path) -> None:
    page = save(picture, tmp_path / "picture.html", title="1 < 2").read_text(encoding="utf-8")
    outside_of_scripts = re.sub(r"(<script\b[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)
    assert not re.search(r"<link\b|\bsrc\s*=|\bhref\s*=|@import|url\(", outside_of_scripts)
    assert "1 &lt; 2</h2>" in outside_of_scripts


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
def test_saving_leaves_the_notebook_on_its_renderer(
    backend: str, sweep: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hv.Store, "current_backend", backend)
    picture = variable_map(sweep, "susceptibility")
    for suffix in (".png", ".html"):
        save(picture, tmp_path / f"picture{suffix}")
    assert hv.Store.current_backend == backend


def test_other_suffixes_are_refused(sweep: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"allowed: \.png, \.html"):
        save(variable_map(sweep, "susceptibility"), tmp_path / "picture.pdf")


@pytest.mark.browser
def test_a_browser_without_network_draws_the_page(
    browser: Any, picture: Picture, tmp_path: Path
) -> None:
    path = save(picture, tmp_path / "picture.html", title="A heading")
    with screenshot(browser, path) as image:
        assert_colourful(image)
