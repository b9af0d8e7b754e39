"""Whether a measured image shows a random alloy on one lattice: each fault has its warning."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from benchmarks import wrong_images
from benchmarks.wrong_images import alloys
from latticescape.analysis.images.measurement import measure
from latticescape.analysis.images.quality import species_order, with_quality
from latticescape.analysis.images.synthetic import draw_image
from latticescape.physics import honeycomb, square, triangular
from latticescape.physics.errors import RequestError

LATTICES = {"square": square, "triangular": triangular, "honeycomb": honeycomb}
SIZE = 24
CELLS = np.argwhere(np.ones((SIZE, SIZE)))


def atoms_of(kind: str, species: npt.NDArray[np.int64], **attrs: float) -> xr.Dataset:
    """Measured atoms of these species, in the order of the lattice's sites."""
    lattice = LATTICES[kind](SIZE)
    cells = np.repeat(CELLS, lattice.sites // SIZE**2, axis=0)
    sublattice = np.tile(np.arange(lattice.sites // SIZE**2), SIZE**2)
    cell = np.asarray(lattice.geometry.cell)[:, ::-1]
    places = cells @ cell + np.asarray(lattice.geometry.basis)[sublattice][:, ::-1]
    quality = {"placed": 1.0, "filled": 1.0, "coherence": 1.0, "separation": 9.0}
    return xr.Dataset(
        {
            "i": ("atom", cells[:, 0]),
            "j": ("atom", cells[:, 1]),
            "sublattice": ("atom", sublattice),
            "row": ("atom", places[:, 0]),
            "col": ("atom", places[:, 1]),
            "on_lattice": ("atom", sublattice >= 0),
            "species": ("atom", species),
            "probability": (("atom", "species_name"), np.eye(2)[species]),
            "basis": (("vector", "axis"), cell),
        },
        attrs={"lattice_constant": 1.0} | quality | attrs,
    )


@pytest.mark.parametrize("kind", LATTICES)
def test_random_alloys_are_not_warned(kind: str) -> None:
    sites = LATTICES[kind](SIZE).sites
    for seed in range(100):
        rng = np.random.default_rng(seed)
        species = (rng.random(sites) < rng.uniform(0.02, 0.98)).astype(np.int64)
        assert with_quality(atoms_of(kind, species), 2).attrs["warnings"] == []


@pytest.mark.parametrize("kind", LATTICES)
def test_short_range_order_is_no_long_range_order(kind: str) -> None:
    """Alloys far above their ordering: diffuse scattering is neither a wave nor a gradient."""
    for species in alloys(kind, SIZE).reshape(-1, LATTICES[kind](SIZE).sites):
        assert with_quality(atoms_of(kind, species), 2).attrs["warnings"] == []


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (wrong_images.two_grains, 8, "differs by"),
        (wrong_images.two_grains, 17, "differs by"),
        (wrong_images.ordered, 1, "ordered"),
        (wrong_images.another_lattice, 7, "strain 1.43"),
        (wrong_images.diffraction, 0, ""),
    ],
)
def test_no_wrong_image_gives_a_table_without_a_warning(
    kind: Callable[[np.random.Generator], wrong_images.Case], number: int, text: str
) -> None:
    table = wrong_images.measured(wrong_images.draw(kind, number))
    texts = [str(table)] if isinstance(table, RequestError) else table.attrs["warnings"]
    assert any(text in warning for warning in texts)
    assert wrong_images.outcome(table) != "silent"


def test_good_images_are_not_warned() -> None:
    for number in (0, 3):
        table = wrong_images.measured(wrong_images.draw(wrong_images.good, number))
        assert wrong_images.outcome(table) == "silent"


@pytest.mark.parametrize(
    ("kind", "species", "share", "period"),
    [
        ("square", CELLS.sum(axis=1) % 2, 1.0, 2**0.5),
        ("square", CELLS[:, 0] % 2, 1.0, 2.0),
        ("triangular", (CELLS[:, 0] - CELLS[:, 1]) % 3 == 0, 0.5, 1.5),
        ("honeycomb", np.tile([0, 1], SIZE**2), 1.0, 0.0),
    ],
)
def test_orders_have_their_share_and_their_period(
    kind: str, species: npt.NDArray[np.int64], share: float, period: float
) -> None:
    atoms = atoms_of(kind, np.asarray(species, np.int64))
    assert species_order(atoms) == (pytest.approx(share, rel=0.02), pytest.approx(period, rel=0.02))
    assert "ordered" in with_quality(atoms, 2).attrs["uncounted"]


def test_half_an_order_is_warned_and_domains_and_gradients_are_named() -> None:
    rng = np.random.default_rng(1)
    rows = CELLS[:, 0]
    weak = (rng.random(SIZE**2) < 0.5 + 0.22 * (-1.0) ** rows).astype(np.int64)
    attrs = with_quality(atoms_of("square", weak), 2).attrs
    assert ("long-range order" in attrs["warnings"][0], attrs["uncounted"]) == (True, "")
    slope = (rng.random(SIZE**2) < (rows + 0.5) / SIZE).astype(np.int64)
    attrs = with_quality(atoms_of("square", slope), 2).attrs
    assert attrs["uncounted"] == ""
    assert any("domains" in text for text in attrs["warnings"])
    assert any("composition changes by" in text for text in attrs["warnings"])


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("placed", 0.893, "89.3% of the bright atoms"),
        ("filled", 0.898, "89.8% of the sites"),
        ("coherence", 0.8, "coherence 0.80"),
        ("flat", 0.36, "36.0% of the pixels are flat"),
        ("saturated", 0.05, "5.0% of the pixels are saturated"),
    ],
)
def test_limits_are_warned(name: str, value: float, text: str) -> None:
    species = np.random.default_rng(1).integers(0, 2, SIZE**2)
    warnings = with_quality(atoms_of("square", species, **{name: value}), 2).attrs["warnings"]
    assert len(warnings) == 1
    assert text in warnings[0]


def test_doubtful_species_are_warned() -> None:
    atoms = atoms_of("square", np.random.default_rng(1).integers(0, 2, SIZE**2))
    atoms["probability"] = 0.1 + 0.8 * atoms["probability"]
    assert "10.0% of the atoms" in with_quality(atoms, 2).attrs["warnings"][0]


def test_a_dim_sublattice_is_named_where_the_bright_one_has_one_species() -> None:
    """Of a checkerboard the bright half is the lattice, and the dim half is in its holes."""
    cells = np.argwhere(np.ones((12, 12)))
    heights = 1 + 0.5 * (cells.sum(axis=1) % 2)
    places = 10 + 14.0 * cells
    image = draw_image(
        places, heights, shape=(174, 174), sigma=2.6, background=10, peak=200, seed=1
    )
    atoms = measure(image, "square", ("A", "B"))
    assert int(atoms["on_lattice"].sum()) == 72
    assert "72 peaks stand in the holes" in atoms.attrs["warnings"][0]


def test_a_tungsten_bronze_is_no_triangular_alloy() -> None:
    """Sixteen columns of a cell, of which most can be taken for a triangular lattice."""
    corner = np.array([[0.076, 0.216], [0.216, -0.076], [-0.076, -0.216], [-0.216, 0.076]])
    bright = np.concatenate([[[0.0, 0.5], [0.5, 0.0]], corner, corner * [1, -1] + 0.5])
    large = np.array([[0.172, 0.672], [0.672, 0.828], [0.828, 0.328], [0.328, 0.172]])
    sites = np.concatenate([bright, large, [[0.0, 0.0], [0.5, 0.5]]])
    cells = np.argwhere(np.ones((7, 7)))
    places = 46.0 * (cells[:, None] + sites).reshape(-1, 2)
    heights = np.tile(np.repeat([1.0, 0.85], [10, 6]), 49)
    image = draw_image(
        places, heights, shape=(300, 300), sigma=2.8, background=10.0, peak=200.0, seed=1
    )
    with pytest.raises(RequestError, match="no square lattice found"):
        measure(image, "square", ("A", "B"))
    warnings = measure(image, "triangular", ("A", "B")).attrs["warnings"]
    assert sum("lattice" in text for text in warnings) >= 3


def test_an_image_on_which_the_fit_may_diverge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_images, "SEED", 20261201)
    case = wrong_images.draw(wrong_images.text, 14)
    with pytest.raises(RequestError):  # for this reason, or for another where rounding differs
        measure(case.image, case.lattice)
