"""Sites: every atom gets its own, on turned, bent and distorted crystals; none where none is."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from latticescape.analysis.images.sites.lattice_fit import fit_sites
from latticescape.analysis.images.sites.rings import site_rings
from latticescape.physics import RequestError
from tests.support.crystals import SPACING, Floats, agreement, crystal


def bend(places: Floats) -> Floats:
    """Shear of 5 % from one side to the other, and a bow of several spacings."""
    return places + np.column_stack([places[:, 1] ** 2 / 14000, places[:, 0] ** 2 / 20000])


def drift(places: Floats) -> Floats:
    sheared: Floats = places @ np.array([[1.0, 0.06], [0.0, 0.97]])
    return sheared


def half(atoms: xr.Dataset) -> xr.Dataset:
    return atoms.isel(atom=np.flatnonzero(atoms.col < atoms.col.mean()))


def random_discs(number: int, size: float, apart: float, seed: int) -> xr.Dataset:
    """Discs thrown at random that do not overlap, as fits to noise give them."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, size, (20 * number, 2))
    free = np.ones(len(places), bool)
    for first, second in sorted(cKDTree(places).query_pairs(apart)):
        free[second] &= not free[first]
    places = places[free]
    light = rng.lognormal(0, 0.2, len(places))
    return xr.Dataset(
        {"row": ("atom", places[:, 0]), "col": ("atom", places[:, 1]), "intensity": ("atom", light)}
    )


@pytest.mark.parametrize("kind", ["square", "triangular", "honeycomb"])
@pytest.mark.parametrize("rotation", [0.0, 13.0, 77.0])
def test_every_atom_of_a_turned_crystal_has_its_site(kind: str, rotation: float) -> None:
    sites = fit_sites(crystal(kind, size=14, rotation=rotation, vacancies=0.03), kind)
    recall, precision, right = agreement(sites)
    assert recall >= 0.99  # vacancies may leave an atom of the rim without a neighbour
    assert (precision, right) == (1.0, 1.0)
    assert abs(sites.attrs["lattice_constant"] / SPACING - 1) < 0.005


@pytest.mark.parametrize(
    "made",
    [
        {"warp": bend, "size": 36},
        {"warp": drift, "chalcogen": 0.15},
        {"zigzag": 0.15, "warp": bend},
        {"zigzag": 0.2},
        {"zigzag": 0.25, "rotation": 30.0},
        {"vacancies": 0.15, "chalcogen": 0.15},
        {"chalcogen": 0.15, "debris": 0.15},
        {"disorder": 0.07},
        {"bright": 0.03, "chalcogen": 0.15},
        {"bright": 1.0},
        {"size": 6},
    ],
    ids=lambda made: " ".join(f"{k}={getattr(v, '__name__', v)}" for k, v in made.items()),
)
def test_hard_crystals_are_indexed_rightly(made: dict[str, Any]) -> None:
    recall, precision, right = agreement(fit_sites(crystal(**{"rotation": 11.0, **made})))
    assert recall >= 0.995
    assert precision >= 0.99
    assert right == 1.0


def test_chalcogens_have_a_sublattice_of_their_own() -> None:
    sites = fit_sites(crystal(chalcogen=0.2, debris=0.05, rotation=20.0))
    chalcogen = sites.intensity.values * (sites.true_sublattice.values == -1) > 0.13
    assert not sites.on_lattice.values[chalcogen].any()
    assert len(np.unique(sites.sublattice.values[chalcogen])) == 1
    assert sites.sublattice.values[chalcogen][0] > 0


def test_half_the_frame_may_be_empty() -> None:
    recall, precision, right = agreement(fit_sites(half(crystal(chalcogen=0.15, rotation=5.0))))
    assert (recall, precision, right) == (1.0, 1.0, 1.0)


def test_vacancies_are_listed_where_they_are() -> None:
    complete = crystal(rotation=25.0, size=16, disorder=0.01)
    middle = np.hypot(complete.row - complete.row.mean(), complete.col - complete.col.mean())
    hole = int(np.argmin(middle.values))
    sites = fit_sites(complete.isel(atom=np.delete(np.arange(complete.sizes["atom"]), hole)))
    assert sites.sizes["vacancy"] == 1
    assert abs(float(sites.vacancy_row[0] - complete.row[hole])) < 1
    assert abs(float(sites.vacancy_col[0] - complete.col[hole])) < 1
    assert fit_sites(complete).sizes["vacancy"] == 0


def test_residuals_are_the_distortion_not_the_bend() -> None:
    sites = fit_sites(crystal(zigzag=0.15, warp=bend, disorder=0.0))
    off = np.hypot(sites.row_residual, sites.col_residual) / SPACING
    inner = (np.abs(sites.row - sites.row.mean()) < 100) & (abs(sites.col - sites.col.mean()) < 100)
    assert np.allclose(off.values[(inner & sites.on_lattice).values], 0.15, atol=0.03)


def test_rings_are_the_lattices_own_and_complete() -> None:
    sites = fit_sites(crystal(zigzag=0.2, rotation=40.0, vacancies=0.05))
    centers, rings = site_rings(sites)
    table = np.stack([sites.true_i.values, sites.true_j.values], axis=1)
    steps = table[rings] - table[centers][:, None]
    ring = {(0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1)}
    assert len(centers) > 200
    assert all({tuple(step) for step in around.tolist()} == ring for around in steps)
    turns = np.abs(np.diff(steps, axis=1, append=steps[:, :1])).sum(axis=2)
    assert turns.max() <= 2


@pytest.mark.parametrize(
    ("shown", "named"),
    [
        ("square", "triangular"),
        ("square", "honeycomb"),
        ("triangular", "square"),
        ("triangular", "honeycomb"),
        ("honeycomb", "triangular"),
        ("honeycomb", "square"),
    ],
)
def test_a_wrong_lattice_is_refused_with_what_is_there(shown: str, named: str) -> None:
    with pytest.raises(RequestError, match=rf"no {named} lattice found.*°"):
        fit_sites(crystal(shown, size=14, rotation=10.0), named)


@pytest.mark.parametrize("kind", ["square", "triangular", "honeycomb"])
def test_random_places_have_no_lattice(kind: str) -> None:
    with pytest.raises(RequestError, match=f"no {kind} lattice found"):
        fit_sites(random_discs(400, 340.0, SPACING, 1), kind)


def maxima_of_waves(spread: float, seed: int) -> xr.Dataset:
    """Maxima of waves from all sides, all but equally long: a lattice where one looks, but no
    farther."""
    size, period = 190, 9
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    passed = np.exp(-0.5 * ((frequency * period - 1) / spread) ** 2)
    waves = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * passed).real
    tops = np.argwhere(waves == maximum_filter(waves, 5))
    light = waves[tuple(tops.T)] - np.quantile(waves, 0.02)
    places = tops + np.random.default_rng(0).uniform(-0.3, 0.3, tops.shape)
    return xr.Dataset(
        {"row": ("atom", places[:, 0]), "col": ("atom", places[:, 1]), "intensity": ("atom", light)}
    ).isel(atom=np.flatnonzero(light > 0))


@pytest.mark.parametrize("spread", [0.02, 0.1])
def test_waves_of_one_length_from_all_sides_are_no_lattice(spread: float) -> None:
    with pytest.raises(RequestError, match=r"no square lattice found.*coherence"):
        fit_sites(maxima_of_waves(spread, 2), "square")


def test_too_few_or_broken_atoms_are_refused() -> None:
    atoms = crystal(size=8)
    with pytest.raises(RequestError, match="too few atoms"):
        fit_sites(atoms.isel(atom=slice(5)))
    with pytest.raises(RequestError, match=r"lack a variable .*intensity"):
        fit_sites(atoms.drop_vars("intensity"))
    with pytest.raises(RequestError, match="no finite position"):
        fit_sites(atoms.assign(row=atoms.row.where(atoms.row > 30)))
    with pytest.raises(RequestError, match="plane lattice"):
        fit_sites(atoms, "cubic")
    with pytest.raises(RequestError, match="not bright"):
        fit_sites(atoms.assign(intensity=0 * atoms.intensity))
