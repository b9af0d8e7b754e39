"""Sections of simulated configurations: their shapes, and how their counts scatter."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from latticescape import (
    Ising,
    PairAlloy,
    Schedule,
    Sweep,
    configurations,
    fit,
    landscape,
    observed_counts,
    run,
    square,
)
from latticescape.analysis.counts.classes import classes_of
from latticescape.analysis.counts.counting import count_lattices, counts_dataset
from latticescape.analysis.counts.tables import stored_counts
from latticescape.analysis.inference.likelihood.ensemble import Ensemble
from latticescape.analysis.inference.likelihood.sections import Shape, section_covariances
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.physics.lattices.configurations import count_configurations
from latticescape.physics.variables import unpack_replicas

LATTICE = square(16)


def ensemble(model: Ising | PairAlloy, **axes: list[float]) -> Ensemble:
    sweep = Sweep(LATTICE, model, axes, Schedule(20, 5, 2), seed=1)
    return Ensemble(xr.Dataset(attrs={"spec": sweep.to_toml()}))


def table(cells: np.ndarray, seed: int = 1) -> pd.DataFrame:
    species = np.random.default_rng(seed).integers(2, size=len(cells))
    return pd.DataFrame({"i": cells[:, 0], "j": cells[:, 1], "species": species})


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Counts of an image in the shape of an L, whose cells do not begin at 0."""
    cells = np.argwhere(np.add.outer(np.arange(12) > 4, np.arange(12) > 4) < 2) + np.array([5, -3])
    path = tmp_path_factory.mktemp("tables") / "bent.csv"
    table(cells).to_csv(path, index=False)
    return observed_counts(path, lattice="square")


def test_sections_have_the_shape_of_the_image(bent: xr.Dataset) -> None:
    shape = Shape(LATTICE, bent.isel(image=0))
    rng = np.random.default_rng(2)
    first, second = shape.sections(2, rng)
    assert shape.is_section
    assert len(np.unique(first)) == len(first) == int(bent["n"][0])
    moved = [np.stack(np.divmod(sites, 16), axis=1) for sites in (first, second)]
    apart = (moved[1] - moved[0]) % 16
    assert (apart == apart[0]).all()
    assert not (first == second).all()


def test_without_room_for_its_shape_a_section_is_round(bent: xr.Dataset) -> None:
    small = square(11)
    sites = next(Shape(small, bent.isel(image=0)).sections(1, np.random.default_rng(3)))
    cells = np.stack(np.divmod(sites, 11), axis=1)
    assert len(np.unique(sites)) == int(bent["n"][0])
    # It is compact: more of its sites have all neighbours in it than of the L.
    inside = np.isin(small.neighbors(1)[sites], sites).all(axis=1).sum()
    assert inside > 0.6 * len(cells)


@pytest.mark.filterwarnings("ignore:The data type", "ignore:Consolidated metadata")
def test_shapes_of_several_stores_are_kept(bent: xr.Dataset, tmp_path: Path) -> None:
    folder = tmp_path
    cells = np.argwhere(np.ones((6, 5)))
    table(cells).to_csv(folder / "box.csv", index=False)
    box = observed_counts(folder / "box.csv", lattice="square")
    for name, part in {"one": bent, "two": box}.items():
        part.to_zarr(folder / f"{name}.zarr", zarr_format=3)
    both = stored_counts([folder / "one.zarr", folder / "two.zarr"])
    for image, part in {"bent": bent, "box": box}.items():
        shape = Shape(LATTICE, both.sel(image=image))
        assert shape.key == Shape(LATTICE, part.sel(image=image)).key


@pytest.mark.statistical
def test_counts_of_sections_scatter_like_those_of_independent_spins(bent: xr.Dataset) -> None:
    image, classes = bent.isel(image=0), configurations("square")
    shape = Shape(LATTICE, image)
    hot = ensemble(Ising(H=0.0), T=[1e9])
    places = [{"T": 1e9 + k} for k in range(8)]
    ours, whole = np.mean(section_covariances(hot, classes_of(image), shape, places), axis=0)
    rng = np.random.default_rng(4)
    centers = next(shape.sections(1, rng))
    rings = LATTICE.neighbors(1)[centers]
    drawn = [
        count_configurations(rng.integers(2, size=256), centers, rings, classes)
        for _ in range(2000)
    ]
    plain = np.cov(np.array(drawn).T) / len(centers)
    spread = np.sqrt(np.outer(np.diag(plain), np.diag(plain)))
    # 512 lattices of two sections each: errors of some 5 %.
    assert np.abs((ours - plain) / spread).max() < 0.25
    assert abs(np.trace(ours) / np.trace(plain) - 1) < 0.06
    # More of a pair's ends are seen in a whole lattice.
    assert np.trace(whole) > np.trace(ours)


def test_the_composition_of_a_section_of_an_alloy_is_known(bent: xr.Dataset) -> None:
    image = bent.isel(image=0)
    alloy = ensemble(PairAlloy(w1=0.0), x=[0.5])
    covariance = section_covariances(alloy, classes_of(image), Shape(LATTICE, image), [{"x": 0.5}])[
        0
    ]
    centre = classes_of(image).centre
    assert np.abs(covariance @ centre).max() < 1e-12


def test_sections_see_bonds_beyond_their_edge(tmp_path: Path) -> None:
    axes = {"T": np.linspace(2.4, 8.0, 9), "H": np.linspace(-0.5, 1.0, 7)}
    sweep = Sweep(LATTICE, Ising(), axes, Schedule(200, 40, 5), seed=5)
    ds = run(sweep, tmp_path / "ising.zarr", cluster="inline")
    seeds = np.arange(4, dtype=np.uint64)[None]
    drawn = sample(
        Ising(), LATTICE, {"T": [4.0], "H": [0.3]}, Schedule(200, 2, 1), seeds, keep=("spins",)
    )
    whole = count_lattices(unpack_replicas(drawn.kept["spins"])[0, :3], LATTICE)
    surface = landscape(ds, whole)
    assert "is_section" not in surface
    # As many sites in all, in pieces.
    pieces = counts_dataset(
        {f"part {k}": whole["counts"].values.sum(axis=0) // 6 for k in range(6)},
        configurations("square"),
    )
    cut = landscape(ds, pieces)
    assert cut["is_section"].all()
    assert fit(surface).likelihood == fit(cut).likelihood == "exact"
    ratios = [fit(cut).parameters[name][1] / fit(surface).parameters[name][1] for name in axes]
    # Each centre adds half of each of its bonds: cut ones scatter less than whole ones.
    assert all(0.85 < ratio < 0.99 for ratio in ratios), ratios
