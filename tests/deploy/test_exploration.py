"""Learners choose points: what they are told, and that an interrupted exploration goes on alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from latticescape import (
    Ising,
    PairAlloy,
    RequestError,
    Schedule,
    Sweep,
    Variable,
    configurations,
    kernel,
    landscape,
    open_sweep,
    propose,
    run,
    sobol,
    square,
    triangular,
)
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.deploy import exploration
from latticescape.deploy.exploration import Learner, MinimumLearner, explore

FIRST = {"T": [1.5, 2.5, 2.0], "H": [0.0, 0.25, 0.5]}
ISING = Sweep(square(4), Ising(), schedule=Schedule(5, 2, 2), points=FIRST, seed=3)


class Steepest:
    """Halves the way between the told points whose values differ most."""

    def __init__(self) -> None:
        self.told: dict[tuple[float, ...], float] = {}
        self.asked: list[int] = []

    def ask(self, n: int) -> tuple[list[tuple[float, ...]], list[float]]:
        self.asked.append(n)
        known = list(self.told)
        pairs = [(a, b) for i, a in enumerate(known) for b in known[:i]]
        pairs.sort(key=lambda pair: -abs(self.told[pair[0]] - self.told[pair[1]]))
        middles = dict.fromkeys(tuple((np.array(a) + b) / 2) for a, b in pairs)
        new = [point for point in middles if point not in self.told][:n]
        return new, [0.0] * len(new)

    def tell(self, x: tuple[float, ...], y: float) -> None:
        self.told[x] = y


def explored(store: Path, learner: Learner, points: int = 8, **options: Any) -> xr.Dataset:
    options = {"value": "energy", "batch": 4, **options}
    return explore(
        ISING, store, learner, points=points, cluster="inline", progress=False, **options
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return explored(tmp_path_factory.mktemp("whole") / "e.zarr", Steepest()).load()


def test_a_learner_is_told_every_point_and_its_value(tmp_path: Path) -> None:
    learner = Steepest()
    ds = explored(tmp_path / "e.zarr", learner, points=6)
    assert learner.asked == [4, 3]  # there are but three ways to halve at first
    points = list(zip(ds["T"].values.tolist(), ds["H"].values.tolist(), strict=True))
    assert points[:3] == list(zip(FIRST["T"], FIRST["H"], strict=True))
    assert learner.told == dict(zip(points, ds["energy"].values.tolist(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["e.zarr"]
    # The same bits as without a learner.
    rows = [{"T": T, "H": H} for T, H in points]
    at_once = Sweep(square(4), Ising(), schedule=Schedule(5, 2, 2), points=rows, seed=3)
    plain = run(at_once, tmp_path / "at_once.zarr", cluster="inline", progress=False)
    assert plain.load().equals(ds.load())


def test_a_longer_exploration_goes_on_and_computes_nothing_again(
    tmp_path: Path, whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    explored(tmp_path / "e.zarr", Steepest(), points=4)
    assert explored(tmp_path / "e.zarr", Steepest()).load().equals(whole)
    monkeypatch.setattr(exploration, "execute", None)
    again = Steepest()
    assert explored(tmp_path / "e.zarr", again).load().equals(whole)
    assert len(again.told) == 11


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_exploration_goes_on(
    tmp_path: Path, whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real = exploration.execute

    def killed(*arguments: Any, **options: Any) -> Any:
        if when == "after":  # computed, but not yet in the place of the store
            real(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(exploration, "execute", killed)
        with pytest.raises(KeyboardInterrupt):
            explored(tmp_path / "e.zarr", Steepest())
    assert explored(tmp_path / "e.zarr", Steepest()).load().equals(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["e.zarr"]


def test_points_near_the_minimum_are_those_that_are_proposed(tmp_path: Path) -> None:
    points = sobol({"w1": (-0.4, 0.4), "w2": (-0.3, 0.3)}, 16, 1)
    model, schedule = PairAlloy(x=0.5), Schedule(40, 10, 5)
    sweep = Sweep(triangular(8), model, schedule=schedule, points=points, seed=5)
    first = run(sweep, tmp_path / "m.zarr", cluster="inline", progress=False)
    at = int(np.argmin(np.abs(first["w1"].values + 0.1)))
    image = counts_dataset(
        {"one": first["histogram"].values[at] // 20}, configurations("triangular")
    )
    target = {"w1": 1e-4}
    expected = propose(landscape(first, image), target, budget=5).axes

    def s2(ds: xr.Dataset) -> xr.Dataset:
        return landscape(ds, image)

    options: Any = {"batch": 5, "cluster": "inline", "progress": False}
    ds = explore(sweep, tmp_path / "m.zarr", MinimumLearner(target), s2, points=7, **options)
    for name, values in expected.items():
        np.testing.assert_array_equal(ds[name].values[16 : 16 + len(values)], values)
    assert ds.sizes["point"] == 23
    reached = MinimumLearner({"w1": 1.0})
    ds = explore(sweep, tmp_path / "n.zarr", reached, s2, points=7, **options)
    assert ds.sizes["point"] == 16


def test_functions_and_numbers_are_explored(tmp_path: Path) -> None:
    @kernel(Variable("value"))
    def step(a: float) -> float:
        return float("nan") if a == 0.25 else float(np.tanh(9 * (a - 0.4)))

    class Halves:
        def __init__(self) -> None:
            self.told: list[float] = []

        def ask(self, n: int) -> tuple[list[float], None]:
            return [0.5, 0.25, 0.75][len(self.told) - 2 :][:n], None

        def tell(self, x: float, y: float) -> None:
            self.told.append(x)

    learner = Halves()
    sweep = Sweep(kernel=step, points={"a": [0.0, 1.0]})
    options: Any = {"cluster": "inline", "progress": False}
    ds = explore(sweep, tmp_path / "f.zarr", learner, "value", points=2, batch=1, **options)
    assert ds["a"].values.tolist() == [0.0, 1.0, 0.5, 0.25]
    assert learner.told == [0.0, 1.0, 0.5]  # a learner is not told that a value is NaN


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"points": 0}, "points must be a positive whole number"),
        ({"value": "energi"}, "needs one value per point"),
        ({"value": "histogram"}, r"needs one value per point .came: values over point, conf"),
    ],
)
def test_wrong_requests(tmp_path: Path, change: dict[str, Any], reported: str) -> None:
    with pytest.raises(RequestError, match=reported):
        explored(tmp_path / "e.zarr", Steepest(), **change)


def test_grids_and_other_stores_are_refused(tmp_path: Path) -> None:
    grid = Sweep(square(4), Ising(), {"T": [2.0]}, Schedule(5, 2, 2))
    options: Any = {"points": 1, "cluster": "inline", "progress": False}
    with pytest.raises(RequestError, match="the sweep is on a grid"):
        explore(grid, tmp_path / "g.zarr", Steepest(), "energy", **options)
    run(grid, tmp_path / "g.zarr", cluster="inline", progress=False)
    with pytest.raises(RequestError, match="holds another sweep"):
        explored(tmp_path / "g.zarr", Steepest())
    assert open_sweep(tmp_path / "g.zarr").sizes["T"] == 1


def test_learners_of_adaptive_choose_points(tmp_path: Path) -> None:
    adaptive = pytest.importorskip("adaptive")

    def learner() -> Any:
        return adaptive.LearnerND(None, [(1.5, 3.5), (0.0, 0.5)])

    one = learner()
    ds = explored(tmp_path / "e.zarr", one, points=12).load()
    assert one.npoints == ds.sizes["point"] == 15
    assert not one.pending_points
    assert {(T, H) for T in (1.5, 3.5) for H in (0.0, 0.5)} <= {*one.data}  # the corners
    explored(tmp_path / "f.zarr", learner(), points=4)
    assert explored(tmp_path / "f.zarr", learner(), points=12).load().equals(ds)
