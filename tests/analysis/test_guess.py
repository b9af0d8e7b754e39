"""Parameters from counts without a simulation: exact values, coverage, ranges, and the spec."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import latticescape as ls
from latticescape import ClusterExpansion, Ising, PairAlloy, Term, ThreeBodyAlloy
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.pseudo_likelihood.likelihood import Candidate, estimate
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import configurations, count_configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import ClassChoice, SiteClasses, class_rows
from latticescape.physics.models.interactions import BinaryModel
from latticescape.physics.models.local_energies import Classes, local_features
from latticescape.physics.models.model import Model
from tests.support.command_line import json_of, latticescape
from tests.support.heat_bath import heat_bath

MORES2 = Path(__file__).parents[2] / "examples" / "mores2_counts.csv"

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def exact_shares(lattice: Lattice, model: Any, classes: Classes, at: Mapping[str, float]) -> Floats:
    """Mean counts over all arrangements of a small lattice at fixed chemical potential."""
    states = (np.arange(2**lattice.sites)[:, None] >> np.arange(lattice.sites)) & 1
    general = BinaryModel(model) if isinstance(model, Model) else model
    values = {p.name: p.default or 0.0 for p in model.parameters} | {"T": 1.0} | dict(at)
    points = {name: np.array([value]) for name, value in values.items()}
    energy = -at.get("mu", 0.0) * states.sum(axis=1).astype(float)
    for one in general.interactions(lattice, frozenset(at) - {"mu"}):
        for name, table in one.values.items():
            strength = float(general.coefficients(points, [name])[0, 0])
            energy += strength * table[tuple(states[:, one.clusters].transpose(2, 0, 1))].sum(1)
    weight = np.exp(-(energy - energy.min()) / values["T"])
    rows = class_rows(lattice, classes)
    codes = rows.first + rows.strides[:, 0] * states[:, rows.centers]
    for column in range(rows.around.shape[1]):
        codes = codes + rows.strides[:, 1 + column] * states[:, rows.around[:, column]]
    each = np.broadcast_to(weight[:, None] / weight.sum(), codes.shape)
    return np.bincount(rows.classes[codes].ravel(), each.ravel(), len(classes))


ADATOMS = ClusterExpansion(
    ["vacancy", "adatom"],
    {
        "along": Term(cluster=[[0, 0], [0, 1]], symmetry="translations"),
        "across": Term(cluster=[[0, 0], [1, 0]], symmetry="translations"),
        "triple": Term(cluster=[[0, 0], [0, 1], [1, 0]], value=[0, 0, 0, 1]),
    },
)
BY_DIRECTION = SiteClasses.of_lattice(
    ls.triangular(4), (("vacancy", "adatom"),), ClassChoice("translations")
)
EXACT: dict[str, tuple[Lattice, Any, Classes, dict[str, float]]] = {
    "ising": (ls.square(4), Ising(J=1.0), configurations("square"), {"T": 2.5, "H": 0.2}),
    "antiferromagnet": (
        ls.honeycomb((3, 2)),
        Ising(J=-1.0),
        configurations("honeycomb"),
        {"T": 1.7, "H": -0.3},
    ),
    "three-body": (
        ls.triangular(4),
        ThreeBodyAlloy(),
        configurations("triangular"),
        {"w1": -0.3, "w2": 0.1, "mu": 0.2},
    ),
    "directions": (
        ls.triangular(4),
        ADATOMS,
        BY_DIRECTION,
        {"along": 0.4, "across": -0.3, "triple": 0.2, "mu": -0.5},
    ),
}


@pytest.mark.parametrize("name", list(EXACT))
def test_counts_of_all_arrangements_give_the_parameters_exactly(name: str) -> None:
    lattice, model, classes, at = EXACT[name]
    shares = exact_shares(lattice, model, classes, {"J": getattr(model, "J", 1.0) or 1.0} | at)
    free = tuple(parameter for parameter in at if parameter != "mu")
    found = estimate(Candidate(model, free), classes, 1e9 * shares)
    assert dict(zip(free, found.values, strict=True)) == pytest.approx(
        {parameter: at[parameter] for parameter in free}, abs=1e-5
    )


def ising(j: float, h: float) -> Callable[[list[Any]], Floats]:
    return lambda ring: -2 * j * sum(2.0 * one - 1 for one in ring) - 2 * h


def triangles(w1: float, w2: float, mu: float) -> Callable[[list[Any]], Floats]:
    def energy(ring: list[Any]) -> Floats:
        total = np.full(ring[0].shape, -mu)
        for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
            both = one.astype(int) + other
            total += w1 * (1.0 * (both == 0) - (both == 1)) + w2 * (1.0 * (both == 1) - (both == 2))
        return total

    return energy


def counted(kind: str, spins: npt.NDArray[np.int8]) -> Counts:
    lattice, classes = Lattice(kind, spins.shape[1]), configurations(kind)
    sites = np.arange(lattice.sites)
    rows = [
        count_configurations(one.ravel(), sites, lattice.neighbors(1), classes) for one in spins
    ]
    return np.array(rows)


TRIALS = 160
DRAWN: dict[str, tuple[str, Callable[[list[Any]], Floats], Candidate, list[float]]] = {
    "square Ising": (
        "square",
        ising(0.25, 0.05),
        Candidate(Ising(T=1.0), ("J", "H")),
        [0.25, 0.05],
    ),
    "pair alloy": ("triangular", ising(-0.15, 0.2), Candidate(PairAlloy(), ("w1",)), [-0.3]),
    "three-body alloy": (
        "triangular",
        triangles(-0.27, -0.1, 0.4),
        Candidate(ThreeBodyAlloy(), ("w1", "w2")),
        [-0.27, -0.1],
    ),
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_intervals_hold_the_parameters_of_drawn_configurations(name: str) -> None:
    kind, energy, candidate, truth = DRAWN[name]
    counts = counted(kind, heat_bath(kind, 18, TRIALS, energy, sweeps=80, seed=4))
    found = [estimate(candidate, configurations(kind), one) for one in counts]
    pulls = np.abs([(one.values - truth) / one.errors for one in found])
    for width, share in ((1.0, 0.683), (1.96, 0.95)):
        spread = 2.5 * np.sqrt(share * (1 - share) / TRIALS)
        held = (pulls < width).mean(axis=0)
        assert np.all(np.abs(held - share) < spread + 1 / TRIALS), held


def test_random_alloys_have_the_known_ratio_of_variances() -> None:
    """Each bond is seen from both ends, which doubles the variance at one half."""
    for kind in ("square", "triangular", "honeycomb", "cubic"):
        classes = configurations(kind)
        counts = classes.random_mixing([0.5]) * 1e9
        pair = Candidate(PairAlloy(), ("w1",))
        assert estimate(pair, classes, counts).inflation == pytest.approx(2.0, rel=1e-3)
        alone = estimate(pair, classes, counts, independent=True)
        assert alone.inflation == pytest.approx(1.0, rel=1e-6)


def test_images_share_parameters_and_keep_their_own_compositions() -> None:
    classes = configurations("triangular")
    drawn = [
        counted("triangular", heat_bath("triangular", 24, 4, ising(0.1, h), sweeps=60, seed=k))
        for k, h in enumerate((-0.3, 0.0, 0.4))
    ]
    counts = np.array([rows.sum(axis=0) for rows in drawn])
    found = estimate(Candidate(PairAlloy(), ("w1",)), classes, counts)
    assert abs(found.values[0] - 0.2) < 3 * found.errors[0] < 0.2
    assert (found.number, found.s2.shape) == (4, (3,))


def test_several_species_have_an_energy_of_each_unlike_pair() -> None:
    names = ("A", "B", "C")
    classes = SiteClasses.of_lattice(ls.square(6), (names,))
    counts = counts_dataset({"one": classes.multiplicity * 40}, classes)
    found = ls.guess(counts)
    assert list(found.models) == ["random", "pairs"]
    assert found.models["pairs"].parameters == ("w_A_B", "w_A_C", "w_B_C")
    best = found.table["best"].sel(model="pairs").values
    assert best == pytest.approx(np.zeros(3), abs=1e-6)


def test_second_neighbours_are_fitted_where_they_are_counted() -> None:
    classes = SiteClasses.of_lattice(
        ls.square(6), (("0", "1"),), ClassChoice("point_group", (1, 2))
    )
    counts = counts_dataset({"one": classes.multiplicity * 10}, classes)
    found = ls.guess(counts)
    assert "pair_alloy_w2" in found.models
    # Exactly random counts have no temperature.
    assert [note for note in found.notes if note.startswith("ising is left out")]
    alone = configurations("square")
    assert local_features(PairAlloy(), alone, frozenset({"w1", "w2"})).undetermined == {"unlike_2"}


def test_the_four_images_are_guessed_close_to_their_fits() -> None:
    found = ls.guess(ls.observed_counts(MORES2))
    assert set(found.models) == {"random", "pair_alloy", "three_body_alloy", "ising"}
    # The fits of two direct simulations: science.md of the project.
    for model, fits in {
        "pair_alloy": {"w1": -0.085},
        "three_body_alloy": {"w1": -0.268, "w2": -0.097},
    }.items():
        row = found.table.sel(model=model)
        for name, value in fits.items():
            error = float(row["best_se"].sel(parameter=name))
            assert abs(float(row["best"].sel(parameter=name)) - value) < error
            low, high = found.ranges(model)[name]
            assert low + 2 * error < value < high - 2 * error
    assert float(found.table["weight"].sum()) == pytest.approx(1.0)
    assert "random" in found.table.attrs["verdict"]


def test_unlike_neighbours_that_attract_give_a_negative_coupling() -> None:
    counts = counted("square", heat_bath("square", 24, 1, ising(-0.3, 0.1), sweeps=80, seed=2))
    found = ls.guess(counts_dataset({"one": counts[0]}, configurations("square")))
    assert found.models["ising"].model == Ising(J=-1.0)
    low, high = found.ranges("ising")["T"]
    assert 0 < low < 1 / 0.3 < high


def test_a_range_of_an_unbounded_temperature_is_named() -> None:
    counts = np.rint(configurations("square").random_mixing([0.5])[0] * 640).astype(int)
    counts[[0, 11]] += 4
    found = ls.guess(counts_dataset({"one": counts}, configurations("square")))
    low, high = found.ranges("ising")["T"]
    assert 0 < low < float(found.table["best"].sel(model="ising", parameter="T")) < high
    assert any("no upper bound" in note for note in found.notes)


@pytest.mark.parametrize(
    ("counts", "problem"),
    [(np.zeros(12, int), "no counts"), (np.eye(12, dtype=int)[0] * 9, "one species")],
)
def test_counts_without_information_are_refused(counts: Counts, problem: str) -> None:
    classes = configurations("square")
    with pytest.raises(RequestError, match=problem):
        ls.guess(counts_dataset({"one": counts}, classes) if counts.any() else _empty(classes))


def _empty(classes: Any) -> Any:
    whole = counts_dataset({"one": np.arange(12)}, classes)
    return whole.assign(counts=whole["counts"] * 0)


@pytest.mark.parametrize(
    ("model", "free", "problem"),
    [
        (PairAlloy(), ["w1", "w2"], "do not determine"),
        (Ising(), ["T", "J", "H"], "cannot be estimated together"),
        (Ising(bonds={"distribution": "normal", "sd": 0.2, "seed": 1}), ["T"], "does not follow"),
        (PairAlloy(), ["w3"], "w3 is not a parameter"),
    ],
)
def test_models_that_counts_do_not_determine_are_refused(
    model: Any, free: list[str], problem: str
) -> None:
    counts = counts_dataset({"one": np.arange(1, 13)}, configurations("square"))
    with pytest.raises(RequestError, match=problem):
        ls.guess(counts, {"mine": (model, free)})


def test_the_spec_of_a_guess_runs_and_its_fit_lies_within(tmp_path: Path) -> None:
    spins = heat_bath("triangular", 24, 2, ising(-0.1, 0.1), sweeps=80, seed=3)
    classes = configurations("triangular")
    keys = pd.DataFrame(classes.keys, columns=["centre", "n", *classes.pair_names])
    table = keys.assign(**dict(zip(["one", "two"], counted("triangular", spins), strict=True)))
    table.to_csv(tmp_path / "counts.csv", index=False)
    spec = tmp_path / "spec.toml"
    facts = json_of("guess", tmp_path / "counts.csv", "--model", "pair_alloy", "--out", spec)
    assert set(facts["models"][0]) == {"name", "parameters", "s2_total", "bic", "weight"}
    (row,) = (one for one in facts["models"] if one["name"] == "pair_alloy")
    low, high = row["parameters"]["w1"]["range"]
    sweep = ls.Sweep.from_file(spec)
    assert (sweep.model, sweep.lattice) == (PairAlloy(), ls.triangular(48))
    assert sweep.axes["x"].tolist() == np.unique(spins.mean(axis=(1, 2)).round(5)).tolist()
    # The range in whole steps, and the random alloy among its points.
    w1 = sweep.axes["w1"]
    assert low - np.diff(w1)[0] < w1.min() <= low
    assert high <= w1.max() < high + np.diff(w1)[0]
    assert (w1 == 0).any()
    small = ls.Sweep(
        ls.triangular(24), sweep.model, sweep.grid, ls.Schedule(40, 10, 5), seed=sweep.seed
    )
    observed = ls.observed_counts(tmp_path / "counts.csv")
    ds = ls.run(small, tmp_path / "s.zarr", cluster="inline", progress=False)
    fitted = ls.fit(ls.landscape(ds, observed))
    value, error = fitted.parameters["w1"]
    assert low + error < value < high - error
    assert latticescape("guess", tmp_path / "counts.csv", "--out", spec).exit_code == 2


def test_the_spec_of_a_user_keeps_its_lattice_model_and_schedule(tmp_path: Path) -> None:
    folder = MORES2.parent / "adatom_couplings"
    out = tmp_path / "finer.toml"
    facts = json_of("guess", folder / "counts.csv", "--spec", folder / "spec.toml", "--out", out)
    assert json.loads(json.dumps(facts))["spec"] == str(out)
    before, after = ls.Sweep.from_file(folder / "spec.toml"), ls.Sweep.from_file(out)
    assert (after.lattice, after.model, after.schedule, after.classes) == (
        before.lattice,
        before.model,
        before.schedule,
        before.classes,
    )
    # The fit of the example: −1.86 ± 0.16, 1.07 ± 0.06, 0.64 ± 0.07.
    for name, value in {"w_c": -1.86, "w_s": 1.07, "w_d": 0.64}.items():
        assert after.axes[name].min() < value < after.axes[name].max()
