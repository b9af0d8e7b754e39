"""The exact likelihood: ln Z against enumeration, coverage with exact draws, and calibration."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from click.testing import CliRunner

from latticescape import (
    Ising,
    RequestError,
    Schedule,
    Sweep,
    calibrate,
    configurations,
    fit,
    landscape,
    run,
    square,
)
from latticescape.analysis.counts.counting import count_lattices, counts_dataset
from latticescape.analysis.inference.estimation.deviance import Deviance, Exact, deviance
from latticescape.analysis.inference.estimation.finer import finer
from latticescape.analysis.inference.landscapes.designs import GridDesign
from latticescape.analysis.inference.likelihood.partition import integrate
from latticescape.deploy.cli.main import main

# All configurations of a periodic square lattice of 4 × 4 spins, and their Σss and Σs.
STATES = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).astype(np.int8)
_SPINS = 2 * STATES.astype(int).reshape(-1, 4, 4) - 1
BONDS = (_SPINS * np.roll(_SPINS, 1, 1) + _SPINS * np.roll(_SPINS, 1, 2)).sum((1, 2))
MAGNETIZATION = _SPINS.sum((1, 2))
TRUTH = {"T": 2.8, "H": 0.1}


def weights(T: float, H: float) -> npt.NDArray[np.float64]:
    """Unnormalized weights of all configurations, and so Z as their sum."""
    return np.exp((BONDS + H * MAGNETIZATION) / T)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    grid = {"T": np.linspace(1.7, 5.3, 13), "H": np.linspace(-0.3, 0.6, 10)}
    small = Sweep(square(4), Ising(), grid, Schedule(200, 1000, 3), seed=2)
    return run(small, tmp_path_factory.mktemp("runs") / "ising.zarr").load()


def together(rng: np.random.Generator) -> xr.Dataset:
    """Counts of forty lattices, drawn from the list of all configurations, as one image."""
    p = weights(**TRUTH)
    chosen = rng.choice(len(p), 40, p=p / p.sum())
    each = count_lattices(STATES[chosen].astype(int), square(4))
    return counts_dataset({"all": each.counts.values.sum(axis=0)}, configurations("square"))


def test_ln_z_is_that_of_the_sum_over_all_configurations() -> None:
    T, H = np.linspace(2.0, 3.0, 11), np.linspace(-0.1, 0.2, 7)
    exact, means = np.empty((11, 7)), np.empty((11, 7, 1, 2))
    for i, j in np.ndindex(11, 7):
        w = weights(T[i], H[j])
        exact[i, j] = np.log(w.sum())
        means[i, j, 0] = w @ BONDS / w.sum(), w @ MAGNETIZATION / w.sum()
    reduced = -np.stack([1 / T[:, None] + 0 * H, H / T[:, None]], axis=-1)
    partition = integrate(reduced, means, np.arange(77).reshape(11, 7), 40)
    expected = exact.ravel() - exact.ravel()[40]
    assert np.abs(partition.log_z[:, 0] - expected).max() < 1e-3
    assert not len(partition.jumps)


def test_a_jump_of_the_means_is_seen_and_told_from_a_steep_slope() -> None:
    H = np.linspace(-0.5, 0.5, 21)
    steps = {"jump": 0.9 * np.sign(H + 1e-9) + 0.1 * H, "slope": np.tanh(4 * H)}
    found = {
        name: integrate(-H[:, None], 500 * m[:, None, None], np.arange(21), 15).jumps.tolist()
        for name, m in steps.items()
    }
    assert found == {"jump": [[9, 10]], "slope": []}


def test_the_likelihood_of_a_landscape_is_exact(sweep: xr.Dataset) -> None:
    observed = together(np.random.default_rng(1))
    surface = landscape(sweep, observed)
    seen = surface.class_features[0].values.T @ observed.counts[0].values
    expected = np.array(
        [
            [
                seen[0] / T + seen[1] * H / T - 40 * np.log(weights(T, H).sum())
                for H in sweep.H.values
            ]
            for T in sweep["T"].values
        ]
    )
    found = surface.log_likelihood[0].values
    near = found > found.max() - 15
    best = np.unravel_index(found.argmax(), found.shape)
    off = (found - expected) - (found - expected)[best]
    # Errors of ln Z against the best point, of 40 lattices: by chance, and by the grid's steps.
    replicas = surface.log_likelihood_replica[0].values
    relative = replicas - replicas[:, best[0], best[1]][:, None, None]
    error = np.hypot(relative.std(axis=0, ddof=1) / 8, 40 * 1e-3)
    assert near.sum() > 15
    assert (np.abs(off / error)[near] < 5).all()
    doubled = (found - 2 * expected) - (found - 2 * expected)[best]
    assert (np.abs(doubled / error)[near] > 5).any()


@pytest.mark.statistical
def test_intervals_hold_the_truth_as_often_as_they_say(sweep: xr.Dataset) -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(40):
        estimate = fit(landscape(sweep, together(rng)))
        assert estimate.likelihood == "exact"
        held.append(
            [
                [row[f"low{level}"] <= TRUTH[name] <= row[f"high{level}"] for level in (68, 95)]
                for name, row in estimate.table.items()
            ]
        )
    share = np.mean(held, axis=0)
    error = np.sqrt(np.array([0.68 * 0.32, 0.95 * 0.05]) / 40)
    assert (np.abs(share - [0.68, 0.95]) < 3.5 * error).all(), share


def test_independent_draws_must_be_asked_for(sweep: xr.Dataset) -> None:
    surface = landscape(sweep, together(np.random.default_rng(5)))
    assert fit(surface).likelihood == "exact"
    assert fit(surface, overlap="independent").likelihood == "s2"


def test_calibrate_counts_intervals_that_hold_the_truth(sweep: xr.Dataset, tmp_path: Path) -> None:
    observed = together(np.random.default_rng(7))
    ds = calibrate(sweep, observed, draws=20)
    assert ds.sizes == {"draw": 20, "parameter": 2, "level": 2}
    best = fit(landscape(sweep, observed))
    assert ds.truth.values.tolist() == [value for value, _ in best.parameters.values()]
    # The draws scatter as the fit says.
    assert 0.5 < float(ds.value.std("draw")[0]) / best.parameters["T"][1] < 2
    assert (ds.coverage[:, 1] >= 0.7).all()
    assert ((ds.pit >= 0) & (ds.pit <= 1)).all()


def test_calibrate_refuses_what_it_cannot_draw(sweep: xr.Dataset) -> None:
    observed = together(np.random.default_rng(7))
    with pytest.raises(RequestError, match="must be complete"):
        calibrate(sweep.assign(done=sweep.done & (sweep.H > 0)), observed)
    with pytest.raises(RequestError, match="draws"):
        calibrate(sweep, observed, draws=5)
    with pytest.raises(RequestError, match="within the grid"):
        calibrate(sweep.sel(T=slice(4.0, None)), observed)


def test_the_command_calibrates(tmp_path: Path) -> None:
    grid = {"T": np.linspace(1.7, 5.3, 13)}
    store = tmp_path / "ising.zarr"
    run(Sweep(square(4), Ising(H=0.1), grid, Schedule(100, 200, 3), seed=2), store)
    counts = together(np.random.default_rng(7))
    table = tmp_path / "counts.csv"
    rows = zip(counts.label.values, counts.counts[0].values, strict=True)
    table.write_text("label,all\n" + "".join(f'"{label}",{n}\n' for label, n in rows))
    words = ["calibrate", str(store), str(table), "--draws", "20", "--json"]
    picture = tmp_path / "calibration.png"
    result = CliRunner().invoke(main, [*words, "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert set(facts["coverage"]["T"]) == {"68", "95"}
    assert facts["draws"] == 20
    assert picture.stat().st_size > 10_000


def test_a_cut_of_a_landscape_keeps_its_likelihood(sweep: xr.Dataset) -> None:
    surface = landscape(sweep, together(np.random.default_rng(1)))
    whole, cut = fit(surface), fit(surface.isel(T=slice(1, 12), H=slice(1, 9)))
    assert cut.likelihood == "exact"
    for name, (value, error) in whole.parameters.items():
        assert abs(cut.parameters[name][0] - value) < 0.1 * error
    line = fit(surface.isel(H=4, drop=True))
    assert line.likelihood == "exact"
    assert line.parameters["T"][1] < whole.parameters["T"][1]


def test_slopes_tell_the_likelihood_between_coarse_points(sweep: xr.Dataset) -> None:
    seen = together(np.random.default_rng(9))
    surface = landscape(sweep, seen)
    fine = finer(surface, deviance(surface))
    assert fine.design.places.shape[0] > 10 * sweep["done"].size
    features = seen["counts"].values[0] @ surface["class_features"].values[0]
    exact = [
        2 * (-(features @ [1, H]) / T + 40 * np.log(weights(T, H).sum()))
        for T, H in fine.design.places
    ]
    off = fine.values - exact
    near = fine.values < np.nanmin(fine.values) + 6
    at_points = deviance(surface).values
    # Steps of .3 in T and .1 in H, more than a standard error each.
    assert near.sum() > 100 > 8 * np.sum(at_points < at_points.min() + 6)
    # A straight line between two points would be off by more than .5.
    assert np.abs(off[near] - np.median(off[near])).max() < 0.3


def test_between_two_phases_nothing_is_known_but_the_chord() -> None:
    H = np.linspace(-0.4, 0.4, 5)
    design = GridDesign(("H",), (H,))
    values = -20 * np.abs(H)
    exact = Exact(None, H[:, None], np.array([[1, 2]]))
    deviances = Deviance(design, values, 0 * H, values[None], np.ones(1), "simulated", None, exact)
    slope = xr.DataArray(
        (10 * np.sign(H - 0.1))[None, None],
        {"along": ["H"], "H": H},
        ("image", "along", "H"),
    )
    surface = xr.Dataset({"log_likelihood_slope": slope, "s2_total": ("H", values)})
    fine = finer(surface, deviances)
    inside = (fine.design.places[:, 0] > -0.2 + 1e-9) & (fine.design.places[:, 0] < -1e-9)
    assert np.isnan(fine.values[inside]).all()
    assert np.isfinite(fine.values[~inside]).all()
    assert fine.exact is not None
    assert fine.exact.bridged is not None
    chord = np.interp(fine.design.places[:, 0], H, values)
    assert np.allclose(fine.exact.bridged[inside], chord[inside])
