"""Pictures of images: what is drawn is what was measured, and a browser shows it."""

from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from latticescape.analysis.images.reading import labelled_image
from latticescape.analysis.images.spectra.windows import sliding_fft
from latticescape.analysis.images.synthetic import (
    draw_configuration,
    place_atoms,
    two_phases,
)
from latticescape.analysis.images.unmixing.mixture import unmix
from latticescape.analysis.plots import Picture, save
from latticescape.analysis.plots.pictures import (
    MOST_PIXELS,
    SPECIES,
    atom_maps,
    endmember_maps,
    neighborhood_maps,
)
from latticescape.physics import triangular
from tests.support.browsing import assert_colourful, screenshot


@pytest.fixture(params=["px", "nm"])
def image(request: pytest.FixtureRequest) -> xr.DataArray:
    drawn = draw_configuration(placed_atoms(), seed=1, background=10.0)
    size = 1.0 if request.param == "px" else 0.02
    return labelled_image(
        drawn.values, name="re", source="-", pixel_size=size, pixel_units=request.param
    )


@pytest.fixture
def atoms() -> xr.Dataset:
    """Every atom is sure but the first, and chalcogens are on no site."""
    placed = placed_atoms()
    sure = np.where(placed["species"].values[:, None] == [0, 1], 1.0, 0.0)
    sure[0] = (0.6, 0.4)
    there = placed["sublattice"] == 0
    values = {"probability": (("atom", "kind"), sure), "on_lattice": there}
    species = xr.where(there, sure.argmax(axis=1), placed["species"])
    return placed.assign(values | {"species": species}).assign_coords(kind=["Mo", "Re"])


def placed_atoms() -> xr.Dataset:
    return place_atoms(triangular(6), np.arange(36) % 3 == 0, spacing=14.0, chalcogen=0.15)


def labels(panel: Picture) -> list[str]:
    return [part.label for part in panel if part.label]


def points(panel: Picture) -> list[Any]:
    return [part for part in panel if isinstance(part, hv.Points)]


def style(part: Any, backend: str = "bokeh") -> dict[str, Any]:
    return dict(hv.Store.lookup_options(backend, part, "style").kwargs)


def test_every_atom_is_drawn_once_in_the_colour_of_its_species(
    image: xr.DataArray, atoms: xr.Dataset
) -> None:
    panel = next(iter(atom_maps(image, atoms)))
    assert labels(panel) == ["25 Mo", "11 Re", "36 others"]
    rings = points(panel)
    assert [style(part)["color"] for part in rings[:2]] == list(SPECIES[:2])
    drawn = np.concatenate([part.array(part.kdims) for part in rings])
    size = image.attrs["pixel_size"]
    expected = size * np.column_stack([atoms["col"], atoms["row"]])
    assert np.array_equal(np.sort(drawn, axis=0), np.sort(expected, axis=0))


def test_a_doubtful_atom_stands_out(image: xr.DataArray, atoms: xr.Dataset) -> None:
    (dots,) = points(list(atom_maps(image, atoms))[1])
    doubt = dots.dimension_values("uncertainty")
    assert doubt[0] == pytest.approx(0.4)
    assert not doubt[1:].any()
    assert len(doubt) == 36


def test_axes_and_scale_bar_are_those_of_the_calibration(
    image: xr.DataArray, atoms: xr.Dataset
) -> None:
    panel = next(iter(atom_maps(image, atoms)))
    units = image.attrs["pixel_units"]
    reported = [dim.pprint_label for dim in panel.get(0).kdims]
    bars = [part for part in panel if isinstance(part, hv.Labels)]
    if units == "px":
        assert reported == ["column (px)", "row (px)"]
        assert not bars
    else:
        assert reported == ["x (nm)", "y (nm)"]
        assert bars[0].dimension_values("length").tolist() == ["0.2 nm"]
        lengths = [part.array() for part in panel if isinstance(part, hv.Rectangles)]
        assert lengths[1][0, 2] - lengths[1][0, 0] == pytest.approx(0.2)


def test_the_first_row_is_on_top(image: xr.DataArray, atoms: xr.Dataset) -> None:
    panel = next(iter(atom_maps(image, atoms)))
    for backend in ("bokeh", "matplotlib"):
        assert hv.Store.lookup_options(backend, panel, "plot").kwargs["invert_yaxis"]
    grey, size = panel.get(0), image.attrs["pixel_size"]
    row, col = (int(place) for place in image.argmax(...).values())
    assert grey[size * col, size * row] == 255


def test_an_image_larger_than_a_screen_is_drawn_as_means() -> None:
    values = np.kron(np.arange(4).reshape(2, 2), np.ones((MOST_PIXELS, MOST_PIXELS)))
    image = labelled_image(values.astype(np.uint8), name="large", source="-")
    none = xr.Dataset({"row": ("atom", [5.0]), "col": ("atom", [5.0])})
    none = none.assign(
        score=(("atom", "component"), [[1.0]]), variance_explained=("component", [1.0])
    )
    grey = next(iter(neighborhood_maps(image, none))).get(0)
    assert grey.interface.shape(grey, gridded=True) == (MOST_PIXELS, MOST_PIXELS)
    assert grey.range(0) == pytest.approx((-0.5, 2 * MOST_PIXELS - 0.5))


def test_endmembers_stand_above_their_abundances() -> None:
    image, _ = two_phases(shape=(96, 96), seed=1, background=5.0)
    found = unmix(sliding_fft(image, window=32, step=16), 2)
    panels = list(endmember_maps(image, found))
    assert len(panels) == 6
    for number in range(2):
        spectrum, share = panels[1 + number].get(0), panels[4 + number].get(0)
        expected = found["endmember"][number].sel(k_row=0.125, k_col=-0.125)
        assert spectrum[-0.125, 0.125] == pytest.approx(float(expected))
        assert share[31.5, 15.5] == pytest.approx(
            float(found["abundance"][number].sel(window_row=15.5, window_col=31.5))
        )


def test_components_of_neighbourhoods_are_drawn_with_their_variance(image: xr.DataArray) -> None:
    placed = placed_atoms()
    score = np.random.default_rng(1).normal(size=(placed.sizes["atom"], 3))
    reported = placed.assign(
        score=(("atom", "component"), score),
        variance_explained=("component", [0.62, 0.25, 0.1]),
    )
    panels = list(neighborhood_maps(image, reported))
    titles = [hv.Store.lookup_options("bokeh", panel, "plot").kwargs["title"] for panel in panels]
    assert [title.split(": ")[1] for title in titles] == [
        "component 1, 62 % of the variance",
        "component 2, 25 % of the variance",
    ]
    assert points(panels[1])[0].dimension_values("score").tolist() == score[:, 1].tolist()


def test_vacancies_are_crossed_out(image: xr.DataArray, atoms: xr.Dataset) -> None:
    places = {"vacancy_row": ("vacancy", [20.0, 30.0]), "vacancy_col": ("vacancy", [25.0, 35.0])}
    panel = next(iter(atom_maps(image, atoms.assign(places))))
    crosses = next(part for part in points(panel) if part.label == "2 vacancies")
    size = image.attrs["pixel_size"]
    assert crosses.array() == pytest.approx(size * np.array([[25.0, 20.0], [35.0, 30.0]]))


@pytest.fixture(params=["atoms", "endmembers"])
def picture(request: pytest.FixtureRequest, atoms: xr.Dataset) -> Picture:
    """For the test with a real browser, and that of files."""
    if request.param == "endmembers":
        image, _ = two_phases(shape=(96, 96), seed=1, background=5.0)
        return endmember_maps(image, unmix(sliding_fft(image, window=32, step=16), 3))
    drawn = draw_configuration(placed_atoms(), seed=1, background=10.0)
    places = {f"vacancy_{axis}": ("vacancy", [20.0, 30.0]) for axis in ("row", "col")}
    return atom_maps(drawn, atoms.assign(places))


def test_pictures_are_written_without_a_warning(
    picture: Picture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for suffix in (".png", ".html"):
        assert save(picture, tmp_path / f"picture{suffix}").stat().st_size > 20_000
    assert not caplog.records


@pytest.mark.browser
def test_a_browser_without_network_draws_the_page(
    browser: Any, picture: Picture, tmp_path: Path
) -> None:
    with screenshot(browser, save(picture, tmp_path / "picture.html")) as shot:
        assert_colourful(shot)
