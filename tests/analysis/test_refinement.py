"""Where to simulate next, and the loop that goes there."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from distributed import Client

from latticescape.analysis import fit, landscape, propose, slab_landscape
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.refinement.proposal import Proposal
from latticescape.deploy.cli.main import main
from latticescape.deploy.examples import example
from latticescape.deploy.refinement import refine
from latticescape.physics import PairAlloy, Schedule, configurations, triangular
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep, open_sweep, verify
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.store.store import Store
from tests.support.slabs import DATA, W_LL, slab_store, sources_file

ROOT = Path(__file__).parents[2]

N = 1000
NOISE = 0.6

COARSE = Sweep(
    triangular(12),
    PairAlloy(x=0.5),
    {"w1": np.linspace(-0.6, 0.6, 7)},
    Schedule(60, 10, 5),
    seed=5,
)
TARGET = {"w1": 0.004}


def landscape_of(
    axes: dict[str, np.ndarray], place: dict[str, float], *, noise: float = NOISE
) -> xr.Dataset:
    """A landscape of a known minimum: −2 ln L is a lopsided parabola of errors of 0.02 that levels
    off; noise that depends on the point alone, and grows with the distance as it does there."""
    mesh = xr.broadcast(*(xr.DataArray(v, dims=n, coords={n: v}) for n, v in axes.items()))
    u = [(grid - place[name]) / 0.02 for name, grid in zip(axes, mesh, strict=True)]
    rise = sum(
        (x**2 * (1 + 0.3 * np.tanh(x / 10)) / (1 + 0.002 * x**2) for x in u), xr.zeros_like(mesh[0])
    )
    seeds = np.stack([grid.values for grid in mesh], axis=-1).reshape(-1, len(axes))
    noises = [np.random.default_rng(abs(hash(tuple(p))) % 2**32).normal() for p in seeds.tolist()]
    error = noise * np.sqrt(1 + np.maximum(rise, 0) / 40) / (4 * N)
    s2 = (40 + rise) / (4 * N) + error * np.reshape(noises, rise.shape)
    return xr.Dataset(
        {
            "s2": s2.expand_dims(image=["one"]),
            "s2_se": error.expand_dims(image=["one"]),
            "s2_total": s2,
            "s2_total_se": error,
            "n": ("image", [N]),
        }
    )


def refined(
    axes: dict[str, np.ndarray], place: dict[str, float], target: dict[str, float]
) -> tuple[list[Proposal], dict[str, np.ndarray]]:
    """Rounds until there is nothing more to propose."""
    found = []
    for _ in range(12):
        found.append(propose(landscape_of(axes, place), target))
        if found[-1].ends:
            break
        news = found[-1].axes
        axes = {name: np.sort([*v, *news.get(name, ())]) for name, v in axes.items()}
    return found, axes


PLACES = {
    "one axis": {"w1": 0.113},
    "two axes": {"w1": 0.113, "w2": -0.137},
    "three axes": {"w1": 0.06, "w2": -0.05, "w3": 0.02},
}
GRIDS = {"one axis": (9, 1.0), "two axes": (7, 0.5), "three axes": (5, 0.2)}
TARGETS = {"one axis": 0.001, "two axes": 0.003, "three axes": 0.001}


@pytest.mark.parametrize("case", PLACES)
def test_rounds_end_at_the_target_near_the_minimum(case: str) -> None:
    place, (number, half), target = PLACES[case], GRIDS[case], TARGETS[case]
    axes = {name: np.linspace(-half, half, number) for name in place}
    found, _ = refined(axes, place, dict.fromkeys(place, target))
    last = found[-1]
    assert last.status == "reached"
    assert max(last.errors.values()) <= target < max(found[0].errors.values())
    for name, true in place.items():
        assert abs(last.estimate[name] - true) < 4 * last.errors[name]


def test_a_refined_grid_needs_a_fifth_of_the_points_of_a_uniform_one() -> None:
    place, target = {"w1": 0.113}, {"w1": 0.0008}
    _, axes = refined({"w1": np.linspace(-1.0, 1.0, 9)}, place, target)
    number = 5 * len(axes["w1"])
    uniform = propose(landscape_of({"w1": np.linspace(-1.0, 1.0, number)}, place), target)
    assert uniform.status != "reached"
    assert uniform.errors["w1"] > 0.0008


def test_a_minimum_beyond_the_border_is_followed() -> None:
    axes = {"w1": np.linspace(-0.2, 0.2, 9)}
    first = propose(landscape_of(axes, {"w1": 0.31}), TARGET)
    assert first.status == "extend"
    assert min(first.axes["w1"]) > 0.2
    assert "extend" in " ".join(first.notes)
    found, axes = refined(axes, {"w1": 0.31}, TARGET)
    assert found[-1].status == "reached"
    assert axes["w1"].min() == -0.2


def test_a_border_is_not_extended_beyond_what_a_parameter_may_be() -> None:
    axes = {"T": np.linspace(0.05, 0.45, 9)}
    found = propose(landscape_of(axes, {"T": -0.1}), {"T": 0.01}, limits={"T": (0.0, np.inf)})
    assert found.status == "extend"
    assert all(0 < value < 0.05 for value in found.axes["T"])


def test_points_that_are_missing_are_left_out() -> None:
    axes, place = (
        {"w1": np.linspace(-0.5, 0.5, 7), "w2": np.linspace(-0.5, 0.5, 7)},
        PLACES["two axes"],
    )
    surface = landscape_of(axes, place)
    for name in ("s2", "s2_se", "s2_total", "s2_total_se"):
        surface[name] = surface[name].where((surface.w1 < 0.4) | (surface.w2 < 0.1))
        surface[name] = surface[name].where((surface.w1 != 0.0) | (surface.w2 != 0.0))
    found = propose(surface, {"w1": 0.002})
    assert found.axes
    assert np.isfinite(list(found.estimate.values())).all()


def test_what_the_images_leave_open_is_no_matter_of_sampling() -> None:
    fine = landscape_of({"w1": np.linspace(-0.5, 0.5, 41)}, {"w1": 0.1}, noise=1e-3)
    found = propose(fine, {"w1": 0.001})
    assert found.status == "reached"
    assert found.data_errors["w1"] == pytest.approx(0.02, rel=0.1)
    assert "the data determine w1 to ± 0.02" in found.notes[0]
    flat = landscape_of({"w1": np.linspace(-0.004, 0.004, 9)}, {"w1": 0.0}, noise=1e-3)
    reported = propose(flat, {"w1": 0.001})
    assert (reported.status, reported.axes) == ("flat", {})
    assert "add counts" in reported.notes[-1]


def test_a_forecast_comes_true() -> None:
    """With a known noise: the error that was expected is the one found, to a factor of two."""
    axes = {"w1": np.linspace(-0.3, 0.3, 13)}
    first = propose(landscape_of(axes, {"w1": 0.04}), {"w1": 0.0012})
    assert first.status == "sharpen"
    axes = {"w1": np.sort([*axes["w1"], *first.axes["w1"]])}
    second = propose(landscape_of(axes, {"w1": 0.04}), {"w1": 0.0012})
    assert first.expected["w1"] < first.errors["w1"]
    assert 0.5 < second.errors["w1"] / first.expected["w1"] < 2


def test_few_points_are_searched_for_and_claim_nothing() -> None:
    for number in (2, 3, 5):
        axes = {"w1": np.linspace(-0.5, 0.5, number)}
        found = propose(landscape_of(axes, {"w1": 0.1}), TARGET)
        assert found.status == "search", number
        assert found.errors["w1"] == np.inf
        assert not set(found.axes["w1"]) & set(axes["w1"])


def test_the_budget_is_kept() -> None:
    axes = {"w1": np.linspace(-0.5, 0.5, 7), "w2": np.linspace(-0.5, 0.5, 7)}
    surface, tight = landscape_of(axes, PLACES["two axes"]), {"w1": 0.001}
    for budget in (7, 16, 40):
        assert 0 < propose(surface, tight, budget=budget).points <= budget
    assert propose(surface, tight, budget=6).status == "exhausted"


BAD = {
    "an unknown parameter": ({"w3": 0.1}, None, "no target can be set for w3"),
    "zero": ({"w1": 0.0}, None, "not above 0"),
    "negative": ({"w1": -1.0}, None, "not above 0"),
    "no number": ({"w1": float("nan")}, None, "not above 0"),
    "no target": ({}, None, "no target error is given"),
    "no budget": ({"w1": 0.1}, 0, "the budget must be a positive whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_requests_are_told(case: str) -> None:
    target, budget, problem = BAD[case]
    surface = landscape_of({"w1": np.linspace(-0.5, 0.5, 9)}, {"w1": 0.1})
    with pytest.raises(RequestError, match=problem):
        propose(surface, target, budget=budget)


@pytest.fixture(scope="module")
def observed() -> xr.Dataset:
    """Counts of an image at w1 = −0.12."""
    classes = configurations("triangular")
    from latticescape.physics import sample

    seeds = np.arange(4, dtype=np.uint64)[None]
    point = {"x": np.array([0.5]), "w1": np.array([-0.12])}
    counts = sample(PairAlloy(), triangular(12), point, Schedule(60, 50, 5), seeds).histogram
    shares = counts.reshape(-1, len(classes)).sum(axis=0)
    drawn = np.random.default_rng(2).multinomial(1500, shares / shares.sum())
    return counts_dataset({"image": drawn}, classes)


@pytest.fixture(scope="module")
def coarse(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("refine") / "coarse.zarr"
    execute(COARSE, path, client, progress=False)
    return path


def test_the_loop_ends_at_the_target_and_keeps_every_point(
    client: Client, coarse: Path, observed: xr.Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "fine.zarr"
    found = refine(coarse, observed, TARGET, out=out, client=client, progress=False)
    assert found.reached
    assert [Path(r.store).name for r in found.rounds[1:]] == [
        f"fine-{k}.zarr" for k in range(1, len(found.rounds))
    ]
    assert not verify(found.store).damages
    result = fit(landscape(open_sweep(found.store), observed))
    assert found.rounds[-1].proposal.estimate["w1"] == result.parameters["w1"][0]
    computed = sum(one.report.computed for one in found.rounds if one.report)
    assert COARSE.points + computed == found.rounds[-1].points
    assert found.rounds[-1].updates == COARSE.kernel.updates(found.rounds[-1].points)
    again = refine(coarse, observed, TARGET, out=out, client=client, progress=False)
    assert again.store == found.store
    assert sum(one.report.computed for one in again.rounds if one.report) == 0


def test_the_loop_keeps_its_budget(
    client: Client, coarse: Path, observed: xr.Dataset, tmp_path: Path
) -> None:
    tight = {"w1": 1e-4}
    found = refine(
        coarse, observed, tight, budget=3, out=tmp_path / "b.zarr", client=client, progress=False
    )
    assert not found.reached
    assert found.rounds[-1].points <= COARSE.points + 3
    assert found.rounds[-1].proposal.status == "exhausted"


@pytest.fixture(scope="module")
def table(observed: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The counts as a CSV file."""
    path = tmp_path_factory.mktemp("counts") / "counts.csv"
    frame = pd.read_csv(example("mores2_counts.csv"), comment="#")
    classes = [name for name in frame if not str(name).startswith("re")]
    frame[classes].assign(image=observed.counts.values[0]).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs" / "howto" / "refine-a-sweep.md"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    runs = [b for b in blocks if "import adaptive" not in b or find_spec("adaptive")]
    story = "\n".join(runs)
    exec(compile(story, str(page), "exec"), {})
    assert capsys.readouterr().out.rstrip().endswith(".zarr")


def latticescape(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_prints_every_round(
    client: Client, coarse: Path, table: Path, tmp_path: Path
) -> None:
    there = ("--cluster", client.scheduler.address)
    given = ("--target", "w1=0.004", "--store-out", tmp_path / "c.zarr", *there)
    reported = latticescape("refine", coarse, table, *given, "--quiet")
    assert reported.exit_code == 0, reported.output
    assert f"{coarse}: 7 points" in reported.output
    assert "(numerical)" in reported.output
    assert reported.output.rstrip().endswith("reached")
    found = json.loads(latticescape("refine", coarse, table, *given, "--quiet", "--json").output)
    assert found["reached"]
    assert found["parameters"]["w1"]["numerical_error"] <= 0.004
    assert [one["status"] for one in found["rounds"]][-1] == "reached"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a slab over one energy."""
    return slab_store(tmp_path_factory.mktemp("slab") / "film.zarr", {"w_LL": W_LL})


def test_a_slab_is_refined_by_its_sources(client: Client, film: Path, tmp_path: Path) -> None:
    there = ("--cluster", client.scheduler.address, "--quiet", "--json")
    given = ("--target", "w_LL=0.05", "--store-out", tmp_path / "fine.zarr", *there)
    reported = latticescape("refine", film, sources_file(tmp_path), *given)
    assert reported.exit_code == 0, reported.output
    found = json.loads(reported.stdout)
    assert found["reached"]
    assert 1 <= found["computed"] < 20
    surface = slab_landscape(open_sweep(found["store"]), DATA)
    assert surface.sizes["w_LL"] == len(W_LL) + found["computed"]
    value, _ = fit(surface).parameters["w_LL"]
    assert found["parameters"]["w_LL"]["value"] == pytest.approx(value)
    assert abs(value - 6.28) < 1.0


def test_what_is_observed_may_be_any_function_to_a_landscape(
    client: Client, film: Path, tmp_path: Path
) -> None:
    hollows = {name: DATA[name] for name in ("SO", "SN")}
    found = refine(
        film,
        lambda ds: slab_landscape(ds, hollows),
        {"w_LL": 0.1},
        out=tmp_path / "fine.zarr",
        client=client,
        progress=False,
    )
    assert found.reached
    reported = fit(slab_landscape(open_sweep(found.store), hollows)).parameters["w_LL"][0]
    assert found.rounds[-1].proposal.estimate["w_LL"] == reported


def test_a_slab_is_refined_by_nothing_but_sources_and_nothing_else_by_them(
    film: Path, coarse: Path, table: Path, tmp_path: Path
) -> None:
    for store, seen, words in (
        (film, table, "one file of its sources"),
        (coarse, sources_file(tmp_path), "is not of a slab, and has no sources"),
    ):
        reported = latticescape("refine", store, seen, "--target", "w_LL=0.1")
        assert reported.exit_code == 2
        assert words in reported.output


def test_wrong_requests_of_the_command(
    client: Client, coarse: Path, table: Path, tmp_path: Path
) -> None:
    def refused(*given: object) -> str:
        found = latticescape("refine", *given)
        assert found.exit_code == 2, found.output
        return found.output

    assert "--target cannot be read" in refused(coarse, table, "--target", "w1")
    assert "no target can be set for J" in refused(coarse, table, "--target", "J=0.1")
    assert "not above 0" in refused(coarse, table, "--target", "w1=-1")
    assert "--budget" in refused(coarse, table, "--target", "w1=0.1", "--budget", "0")
    begun = tmp_path / "begun.zarr"
    execute(COARSE, begun, client, block_points=1, progress=False)
    store = Store(begun)
    store.reset(store.blocks[2], np.array([0]), results=True)
    assert f"1 points of {begun} are pending" in refused(begun, table, "--target", "w1=0.1")


def test_counts_of_another_lattice_are_refused(coarse: Path) -> None:
    other = counts_dataset({"image": np.full(8, 20)}, configurations("honeycomb"))
    with pytest.raises(RequestError, match="of different lattices"):
        refine(coarse, other, TARGET)
