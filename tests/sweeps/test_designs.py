"""Designs: points on no grid, words as values, and numbers that print the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from latticescape import (
    Ising,
    RequestError,
    Schedule,
    Sweep,
    kernel,
    latin_hypercube,
    sobol,
    square,
)
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.extension import base_of, take_over
from latticescape.sweeps.store.store import Store, create, open_existing, open_sweep
from latticescape.sweeps.store.verify import verify

SPEC = """
{points}
[lattice]
kind = "square"
size = 4
[model]
kind = "ising"
{grid}
[schedule]
equilibration_mcs = 10
samples = 5
stride_mcs = 2
"""
ROWS = [{"T": 2.0, "H": 0.0}, {"T": 2.5, "H": 0.1}, {"T": 3.0, "H": 0.0}]


def spec(points: str = "", grid: str = "") -> str:
    return SPEC.format(points=points, grid=grid)


def scattered(points: Any = ROWS, **more: Any) -> Sweep:
    return Sweep(square(4), Ising(), schedule=Schedule(10, 5, 2), points=points, seed=3, **more)


def computed(sweep: Sweep, path: Path, block_points: int = 2) -> xr.Dataset:
    store = create(path, sweep, plan(sweep, block_points=block_points))
    for block in store.pending():
        points = sweep.coordinates(block.region)
        store.write(block, sweep.kernel.compute(*sweep.kernel_inputs(points)))
    return open_sweep(path)


def test_points_are_spelled_in_many_ways_and_are_one_sweep(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("T,H\n2,0\n2.5,0.1\n3,0\n")
    (tmp_path / "spec.toml").write_text(spec('points = "points.csv"'))
    rows = "points = [{T = 2.0, H = 0.0}, {T = 2.5, H = 0.1}, {T = 3.0, H = 0.0}]"
    tables = (
        "[[points]]\nT = 2.0\nH = 0.0\n[[points]]\nT = 2.5\nH = 0.1\n[[points]]\nT = 3.0\nH = 0\n"
    )
    columns = "[grid.point]\nT = [2.0, 2.5, 3.0]\nH = [0.0, 0.1, 0.0]"
    sweeps = [
        Sweep.from_file(tmp_path / "spec.toml"),
        *(Sweep.from_toml(spec(grid=text)) for text in (tables, columns)),
        Sweep.from_toml(spec(rows)),
    ]
    frame = xr.Dataset({"T": ("i", [2.0, 2.5, 3.0]), "H": ("i", [0, 0.1, 0])}).to_dataframe()
    assert len({sweep.digest for sweep in sweeps}) == 1
    assert scattered(frame) == scattered()
    for sweep in (*sweeps, scattered()):
        assert Sweep.from_toml(sweep.to_toml()) == sweep
        assert Sweep.from_toml(sweep.to_toml()).to_toml() == sweep.to_toml()
    assert "points.csv" not in sweeps[0].to_toml()


@pytest.mark.parametrize("kind", [sobol, latin_hypercube])
def test_a_design_is_its_points(kind: Any) -> None:
    text = f'[design]\nkind = "{kind.__name__}"\nnumber = 100\nseed = 5\nT = [1, 3]\nH = [-1, 0]'
    sweep = Sweep.from_toml(spec(grid=text))
    points = kind({"T": (1, 3), "H": (-1, 0)}, 100, 5)
    np.testing.assert_array_equal(sweep.axes["H"], points["H"])
    assert Sweep.from_toml(sweep.to_toml()) == sweep
    # Every tenth of a range holds about a tenth of the points.
    counts = np.histogram(points["T"], 10, (1, 3))[0]
    assert counts.min() >= 8
    assert counts.max() <= 12
    assert kind({"T": (1, 3)}, 8, 6)["T"].tolist() != kind({"T": (1, 3)}, 8, 7)["T"].tolist()


def test_a_point_has_the_bits_of_the_same_point_of_a_grid(tmp_path: Path) -> None:
    points = computed(scattered(), tmp_path / "points.zarr")
    grid = {"T": [2.0, 2.5, 3.0], "H": [0.0, 0.1]}
    on_grid = computed(
        Sweep(square(4), Ising(), grid, Schedule(10, 5, 2), seed=3), tmp_path / "grid.zarr"
    )
    assert points.energy.dims == ("point",)
    assert set(points.coords) >= {"T", "H"}
    assert points.T.dims == ("point",)
    there = on_grid.sel(T=points.T, H=points.H)
    for name in ("energy", "histogram_replica", "susceptibility_se"):
        np.testing.assert_array_equal(points[name], there[name])
    plain = xr.open_zarr(tmp_path / "points.zarr")
    assert "H" in plain.coords
    assert not verify(tmp_path / "points.zarr").damages


def test_points_at_all_of_an_axis_and_parameters_that_move_together(tmp_path: Path) -> None:
    sweep = Sweep(
        square(4),
        Ising(),
        {"path": {"T": [2.0, 3.0], "H": [0.0, 0.5]}, "J": [1.0, 1.5, 2.0]},
        Schedule(10, 5, 2),
    )
    ds = computed(sweep, tmp_path / "s.zarr", 4)
    assert ds.energy.dims == ("path", "J")
    assert ds.H.dims == ("path",)
    assert Sweep.from_toml(sweep.to_toml()) == sweep
    both = Sweep(
        square(4),
        Ising(),
        {"T": [2.0, 2.5]},
        Schedule(10, 5, 2, tempering_mcs=2),
        points={"H": [0.0, 0.1, 0.3]},
    )
    assert both.shape == (3, 2)
    assert plan(both, block_points=1).block_shape == (1, 2)


def test_more_points_keep_the_old_ones(tmp_path: Path) -> None:
    sweep = scattered()
    before = computed(sweep, tmp_path / "old.zarr")
    more = sweep.extended({"point": [{"H": 0.3, "T": 2.0}, {"H": 0.0, "T": 3.0}]})
    assert more.points == 4
    base = base_of(tmp_path / "old.zarr", more)
    store = create(tmp_path / "new.zarr", more, plan(more, block_points=3))
    assert take_over(store, base) == 3
    after = open_sweep(tmp_path / "new.zarr")
    np.testing.assert_array_equal(after.energy[:3], before.energy)
    with pytest.raises(RequestError, match="lacks a value"):
        base_of(tmp_path / "old.zarr", scattered(ROWS[1:]))


def test_words_are_values_of_own_functions(tmp_path: Path) -> None:
    @kernel("energy")
    def energy(shape: str, fast: bool, T: float) -> float:
        return len(shape) * T + fast

    grid = {"shape": ["disc", "square"], "fast": [False, True], "T": [1.0, 2.0]}
    sweep = Sweep(kernel=energy, grid=grid)
    ds = computed(sweep, tmp_path / "s.zarr", 3)
    assert float(ds.energy.sel(shape="square", fast=True, T=2.0)) == 13
    assert Sweep.from_toml(sweep.to_toml()).digest == sweep.digest
    assert not verify(tmp_path / "s.zarr").damages
    assert sweep.extended({"shape": ["ring"]}).axes["shape"].tolist() == ["disc", "square", "ring"]


def test_numbers_that_print_the_same_are_one_value(tmp_path: Path) -> None:
    def over(T: list[float]) -> Sweep:
        return Sweep(square(4), Ising(), {"T": T}, Schedule(10, 5, 2))

    computed(over([1.9, 0.3]), tmp_path / "s.zarr")
    same, other = over([1.9000000000000001, 0.1 + 0.2]), over([1.9, 0.3000000001])
    assert same.digest != over([1.9, 0.3]).digest
    found = open_existing(tmp_path / "s.zarr", same, plan(same))
    assert isinstance(found, Store)
    assert not found.pending()
    with pytest.raises(RequestError, match=r"grid\.T differs"):
        open_existing(tmp_path / "s.zarr", other, plan(other))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("points = []", "points are empty"),
        ("points = 3", "points are no points"),
        ('points = "points.csv"', "names a table of points, but is no file"),
        ("points = [1, 2]", "hold no table at number 1"),
        ("points = [{T = 2.0}, {T = 2.0}]", "points hold a point twice"),
        ("points = [{T = 0.3}, {T = 0.30000000000000004}]", "points hold a point twice"),
        ("points = [{T = 2.0}, {T = 2.5, H = 0.1}]", "have other parameters at number 2"),
        ("points = [{H = 2.0}]", "T has no value|lacks|needs|T "),
        ("points = [{T = 2.0, Q = 1.0}]", "Q"),
        ("points = [{T = nan}]", "not finite"),
        ("points = [{T = -1.0}]", "T"),
        ('points = [{T = "warm"}]', "not a number"),
        ("points = [{T = true}]", "not a number"),
        ("points = [{T = 2.0}]\ngrid = {T = [1.0]}", "T is swept twice"),
        ("points = {T = [1.0, 2.0], H = [0.0]}", "lists of different lengths"),
        ("points = [{T = 2.0}]\ndesign = {kind = 'sobol', number = 4, T = [1, 2]}", "one of them"),
        ("design = {kind = 'sobol', number = 4}", "no ranges"),
        ("design = {kind = 'sobol', number = 0, T = [1, 2]}", "number of points of a design"),
        ("design = {kind = 'sobol', number = 4, T = [2, 1]}", "T is not a range"),
        ("design = {kind = 'sobol', number = 4, T = [1, inf]}", "T is not a range"),
        ("design = {kind = 'halton', number = 4, T = [1, 2]}", "kind"),
        ("design = {kind = 'sobol', T = [1, 2]}", "number"),
        ("", "lacks the table grid"),
    ],
)
def test_wrong_points_are_refused(points: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Sweep.from_toml(spec(points))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no points"),
        ("T,H\n", "holds no points"),
        ("T,T\n1,2\n", "no valid header"),
        ("T,H\n1\n", "another number of cells in row 1"),
        ("T,H\n1,nan\n", "not finite"),
        ("T,H\n1,\n2,3\n", "cannot be printed"),
        (None, "cannot read the points"),
    ],
)
def test_wrong_tables_of_points_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "points.csv").write_text(text)
    (tmp_path / "spec.toml").write_text(spec('points = "points.csv"'))
    with pytest.raises(RequestError, match=message):
        Sweep.from_file(tmp_path / "spec.toml")


def test_parallel_tempering_needs_an_axis_of_temperatures() -> None:
    with pytest.raises(RequestError, match="no axis for parallel tempering"):
        Sweep(square(4), Ising(), schedule=Schedule(10, 5, 2, tempering_mcs=2), points=ROWS)
