"""Parameters and their errors: against closed forms, chance, and counts that overlap."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from scipy.stats import binom, norm

from latticescape.analysis import (
    bootstrap,
    combine,
    fit,
    interpolate,
    joint_region,
    landscape,
    observed_counts,
    posterior,
    profile_landscape,
)
from latticescape.analysis.counts.counting import count_atoms, counts_dataset
from latticescape.analysis.counts.overlap import count_covariance, neighborhoods_overlap
from latticescape.analysis.inference.estimation import posterior as markov_chains
from latticescape.analysis.inference.estimation.deviance import count_bias, deviance, root_moments
from latticescape.analysis.inference.estimation.fit import intervals
from latticescape.analysis.inference.estimation.posterior import ConvergenceError
from latticescape.deploy.cli.main import main
from latticescape.deploy.examples import example
from latticescape.physics import (
    Ising,
    Lattice,
    RequestError,
    Schedule,
    configurations,
    sample,
    square,
    triangular,
)
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kernels.observables import observe
from latticescape.sweeps import Sweep, catalogue
from latticescape.sweeps.execution.run import execute
from tests.support.statistics import seeds_of

CLASSES = configurations("honeycomb")
GRID = np.linspace(0.25, 0.65, 17)
TRUTH = 0.45
NUMBER = 600


def sweep_of(
    probability: np.ndarray, axes: dict[str, np.ndarray], dispersion: int = 1
) -> xr.Dataset:
    """A sweep whose truth is known: 64 replicas of counts that come ``dispersion`` at a time."""
    rng = np.random.default_rng(3)
    counts = np.stack(
        [dispersion * rng.multinomial(30_000 // dispersion, probability) for _ in range(64)], -2
    )
    label = ("configuration", np.array(CLASSES.labels))
    dims = (*axes, "replica", "configuration")
    return xr.Dataset(
        {"histogram_replica": (dims, counts)}, {**axes, "label": label}, {"lattice": "honeycomb"}
    )


def one_parameter(dispersion: int = 1) -> xr.Dataset:
    return sweep_of(CLASSES.random_mixing(GRID), {"p": GRID}, dispersion)


def counts_of(p: float, number: int, seed: int, size: int | None = None) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(number, CLASSES.random_mixing(p), size=size)


def observed(*counts: np.ndarray) -> xr.Dataset:
    return counts_dataset({f"image{k}": row for k, row in enumerate(counts)}, CLASSES)


@pytest.fixture(scope="module")
def surface() -> xr.Dataset:
    return landscape(one_parameter(), observed(counts_of(TRUTH, NUMBER, 1)))


def known_error(number: int) -> float:
    """Of p, from four sites a neighbourhood: p(1 − p)/(4 N)."""
    return float(np.sqrt(TRUTH * (1 - TRUTH) / 4 / number))


@pytest.mark.parametrize("expected", [0.5, 5.0, 39.9, 40.1, 60.0])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_moments_of_a_root_are_those_of_the_binomial_distribution(
    expected: float, share: float
) -> None:
    """Summed where counts are few; where they are many, slope and variance neglect q/(4 λ)."""
    number = round(expected / share)
    h = np.arange(number + 1)
    weight = binom.pmf(h, number, share)
    mean, count = weight @ np.sqrt(h), number * share
    slope = (weight @ h**1.5 - mean * count) / (count * (1 - share))
    exact = (mean, slope, count - mean**2)
    for ours, sums in zip(root_moments(count, number), exact, strict=True):
        assert float(ours) == pytest.approx(sums, rel=2e-4 if expected < 40 else 0.25 / expected)
    assert float(root_moments(count, number)[0]) == pytest.approx(mean, rel=1e-4)


def test_few_counts_do_not_pull_the_minimum_away() -> None:
    """The mean slope of −2 ln L at the truth is zero with the correction, far off without."""
    number, step = 60, 1e-3
    q = CLASSES.random_mixing(np.array([0.15 - step, 0.15 + step]))
    draws = np.random.default_rng(5).multinomial(number, CLASSES.random_mixing(0.15), size=40_000)
    overlap = np.sqrt(draws / number) @ np.sqrt(q).T
    slope = np.diff(8 * number * (1 - overlap), axis=1)[:, 0] / (2 * step)
    error = slope.std() / np.sqrt(len(draws))
    corrected = slope.mean() + np.diff(count_bias(q, number))[0] / (2 * step)
    assert abs(corrected) < 4 * error
    assert abs(slope.mean()) > 20 * error


def test_errors_are_those_of_repeated_experiments() -> None:
    sweep = one_parameter()
    fits = [fit(landscape(sweep, observed(counts_of(TRUTH, NUMBER, s)))) for s in range(40)]
    z = np.array([(f.parameters["p"][0] - TRUTH) / f.parameters["p"][1] for f in fits])
    assert abs(z.mean()) < 0.45
    assert 0.7 < z.std() < 1.35
    assert fits[0].parameters["p"][1] == pytest.approx(known_error(NUMBER), rel=0.1)


def test_bunches_of_counts_make_errors_larger_by_their_root() -> None:
    bunched = landscape(one_parameter(dispersion=4), observed(counts_of(TRUTH, NUMBER, 1)))
    alone = fit(bunched, overlap="independent").parameters["p"][1]
    together = fit(bunched, overlap="simulated").parameters["p"][1]
    assert together / alone == pytest.approx(2, rel=0.12)


def test_the_published_counts_overlap_and_drawn_ones_do_not() -> None:
    counts = observed_counts(example("mores2_counts.csv"))
    assert neighborhoods_overlap(counts.counts.values, "triangular")
    rng = np.random.default_rng(7)
    drawn = [
        rng.multinomial(int(n), configurations("triangular").random_mixing(float(x)))
        for n, x in zip(counts.n, counts.composition, strict=True)
    ]
    assert not neighborhoods_overlap(drawn, "triangular")


def test_counts_that_know_their_effective_number_use_the_simulation_or_it(
    surface: xr.Dataset,
) -> None:
    known = surface.assign(effective_n=("image", [NUMBER / 4]))
    assert deviance(known).overlap == "simulated"
    reported = fit(known.drop_vars("count_covariance"))
    assert reported.overlap == "effective"
    assert reported.parameters["p"][1] == pytest.approx(2 * known_error(NUMBER), rel=0.1)
    with pytest.raises(RequestError, match="lacks the data for overlap"):
        fit(surface, overlap="effective")


def ising_point(lattice: Lattice, field: float, stride: int, seed: int) -> xr.Dataset:
    """A point of a sweep with moments, and with samples of which 20 follow each other."""
    model, axes = Ising(), {"T": np.array([2.8]), "H": np.array([field])}
    schedule = Schedule(200, 20, stride)
    sums = sample(model, lattice, axes, schedule, seeds_of(seed, points=1), keep=("samples",))
    full = complete(model, axes, 1)
    found = observe(sums, model.coefficients(full, sums.features), full["T"])
    kept = sums.sample_histogram
    assert kept is not None
    return xr.Dataset(
        {
            "histogram_replica": (("replica", "configuration"), sums.histogram[0]),
            "sample_histogram": (("replica", "sample", "configuration"), kept[0]),
            "moments": (("replica", "moment"), found["moments"][0]),
        },
        {"moment": ["m", "m_abs", "m2", "m4", "e", "e2"]},
        {"spec": "[schedule]\nsamples = 20\n"},
    )


def test_kept_samples_and_moments_tell_the_same_covariance() -> None:
    """Samples that follow each other closely: as single configurations scatter, either way."""
    point = ising_point(square(16), 0.1, 2, 4)
    single = count_covariance(point)
    through_moments = count_covariance(point.drop_vars("sample_histogram"))
    naive = count_covariance(point[["histogram_replica"]])
    up = configurations("square").centre.astype(float)
    wanted, reported, wrong = (up @ c @ up for c in (single, through_moments, naive))
    assert reported / wanted == pytest.approx(1, rel=0.2)
    assert wrong / wanted > 1.6


def test_the_energy_at_fixed_magnetization_scatters_as_in_single_configurations() -> None:
    """It decays faster than the magnetization, so that means over time are more correlated."""
    classes = configurations("square")
    unlike = np.where(classes.centre == 1, 4 - classes.neighbors, classes.neighbors)
    both = np.array([classes.centre, unlike], float)

    def at_fixed_magnetization(point: xr.Dataset) -> float:
        known = both @ count_covariance(point) @ both.T
        return float(known[1, 1] - known[0, 1] ** 2 / known[0, 0])

    points = [ising_point(square(24), 0.15, 2, seed) for seed in range(8)]
    single = np.mean([at_fixed_magnetization(point) for point in points])
    reported = np.mean([at_fixed_magnetization(p.drop_vars("sample_histogram")) for p in points])
    assert reported / single == pytest.approx(1, rel=0.15)


@pytest.fixture(scope="module")
def flat_landscape() -> xr.Dataset:
    """Two parameters of which the histogram knows the sum alone."""
    axis = np.linspace(0.1, 0.35, 9)
    p = axis[:, None] + axis[None, :]
    return landscape(
        sweep_of(CLASSES.random_mixing(p), {"w1": axis, "w2": axis}),
        observed(counts_of(TRUTH, 4000, 1)),
    )


def test_a_direction_that_changes_nothing_is_named(flat_landscape: xr.Dataset) -> None:
    result = fit(flat_landscape)
    assert len(result.flat) == 1
    assert result.flat[0].direction == pytest.approx({"w1": 1, "w2": -1}, abs=0.05) or result.flat[
        0
    ].direction == pytest.approx({"w1": -1, "w2": 1}, abs=0.05)
    assert "w1, w2 are not identifiable separately" in result.notes[0]
    sums = np.ones(2) @ result.covariance @ np.ones(2)
    assert np.sqrt(sums) == pytest.approx(known_error(4000), rel=0.25)
    assert result.parameters["w1"][1] > 5 * np.sqrt(sums)


def test_a_parameter_that_changes_nothing_is_named() -> None:
    p = np.repeat(GRID[:, None], 5, axis=1)
    sweep = sweep_of(CLASSES.random_mixing(p), {"p": GRID, "idle": np.linspace(0, 1, 5)})
    result = fit(landscape(sweep, observed(counts_of(TRUTH, NUMBER, 1))))
    assert [d.sentence for d in result.flat] == [
        "idle is not identifiable: all its values are equally likely"
    ]
    assert result.border == ()


def test_a_region_of_a_parabola_is_its_ellipse(surface: xr.Dataset) -> None:
    value, error = fit(surface).parameters["p"]
    region = joint_region(surface)
    ends = region.p[region.inside].values[[0, -1]]
    assert ends == pytest.approx([value - 1.96 * error, value + 1.96 * error], abs=0.2 * error)
    assert region.attrs["open_at"] == []
    narrow = joint_region(surface, 0.5)
    assert 0 < narrow.attrs["share"] < region.attrs["share"]
    with pytest.raises(RequestError, match="level of confidence"):
        joint_region(surface, 95)
    with pytest.raises(RequestError, match="too few points"):
        joint_region(surface.isel(p=[0, 1]))


def test_a_region_that_goes_on_beyond_the_grid_says_so(flat_landscape: xr.Dataset) -> None:
    region = joint_region(flat_landscape)
    assert region.attrs["open_at"] == ["w1", "w2"]
    inside = region.inside.values
    sums = np.add.outer(region.w1.values, region.w2.values)[inside]
    assert np.ptp(sums) < 8 * known_error(4000)
    assert np.ptp(np.nonzero(inside)[0]) > 60


def test_a_minimum_at_the_border_says_how_far_to_go() -> None:
    result = fit(landscape(one_parameter().isel(p=slice(0, 6)), observed(counts_of(0.5, 5000, 1))))
    assert result.border == ("p",)
    low, high = result.extension["p"]
    assert low == GRID[0]
    assert high > GRID[5]
    assert result.parameters["p"][1] == np.inf
    assert "extend it to" in result.notes[0]


def test_the_interpolation_goes_through_the_truth_and_knows_its_error(surface: xr.Dataset) -> None:
    exact = xr.Dataset(
        {
            "histogram_replica": (
                ("p", "replica", "configuration"),
                (1e9 * CLASSES.random_mixing(GRID))[:, None].repeat(64, 1).astype(int),
            )
        },
        {"p": GRID, "label": ("configuration", np.array(CLASSES.labels))},
    )
    images = observed(counts_of(TRUTH, NUMBER, 1))
    between = (GRID[4:12] + GRID[5:13]) / 2
    fine = exact.isel(p=slice(0, len(between))).assign_coords(p=between)
    fine["histogram_replica"].values[:] = (1e9 * CLASSES.random_mixing(between))[:, None]
    truth = landscape(fine, images).s2_total.values
    value, error = interpolate(surface)(between[:, None])
    assert np.all(np.abs(value - truth) < 5 * error + 1e-6)
    assert np.all(error < 3 * float(surface.s2_total_se.max()))
    grid = interpolate(surface).on_grid(33)
    assert grid.value.dims == ("p",)
    holes = surface.copy()
    holes["s2_total"] = surface.s2_total.where(surface.p != GRID[8])
    assert np.isfinite(interpolate(holes)(between[:, None])[0]).all()


def test_bootstrap_posterior_and_curvature_agree(surface: xr.Dataset) -> None:
    result, drawn = fit(surface), bootstrap(surface, draws=400, seed=2)
    chains = posterior(surface).posterior
    error = result.parameters["p"][1]
    assert drawn.parameters["p"][1] == pytest.approx(error, rel=0.12)
    assert float(chains.p.std()) == pytest.approx(error, rel=0.06)
    assert abs(float(chains.p.mean()) - result.parameters["p"][0]) < 0.1 * error
    low, high = drawn.intervals["p"][0.68]
    assert (high - low) / 2 == pytest.approx(error, rel=0.15)
    assert abs(chains.attrs["laplace_ratio"][0] - 1) < 0.06
    assert chains.p.attrs["r_hat"] < 1.02


def test_the_posterior_is_the_same_by_the_interface_of_arviz_1(
    surface: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ArviZ 1 takes the groups as one mapping, returns a DataTree, and needs a tail's ends."""
    installed = markov_chains.imported_arviz()
    expected = posterior(surface, seed=3).posterior

    def ess(chain: np.ndarray, *, method: str, prob: tuple[float, float] | None = None) -> float:
        assert (prob is not None) == (method == "tail")
        return float(installed.ess(chain, method=method, prob=prob))

    def from_dict(groups: dict[str, Any], *, coords: Any, dims: Any) -> xr.DataTree:
        sizes = {
            name: ("chain", "draw", *dims.get(name, ())) for g in groups.values() for name in g
        }
        made = {
            group: xr.Dataset({name: (sizes[name], array) for name, array in arrays.items()})
            for group, arrays in groups.items()
        }
        made["log_likelihood"] = made["log_likelihood"].assign_coords(coords)
        return xr.DataTree.from_dict(made)

    version_1 = SimpleNamespace(
        __version__="1.2.0", rhat=installed.rhat, ess=ess, from_dict=from_dict
    )
    monkeypatch.setattr(markov_chains, "imported_arviz", lambda: version_1)
    found = posterior(surface, seed=3)
    assert found.log_likelihood.counts.dims == ("chain", "draw", "image")
    assert np.array_equal(found.posterior.p, expected.p)
    assert found.posterior.p.attrs == expected.p.attrs
    assert found.posterior.attrs["laplace_ratio"] == expected.attrs["laplace_ratio"]


def test_intervals_are_those_of_a_gaussian() -> None:
    ends = {"low68": 0.16, "high68": 0.84, "low95": 0.025, "high95": 0.975}
    row = intervals(2.0, 0.5)
    assert (row.pop("value"), row.pop("se")) == (2.0, 0.5)
    assert row == pytest.approx({name: 2 + 0.5 * norm.ppf(p) for name, p in ends.items()}, abs=1e-6)


def test_draws_are_those_of_the_seed(surface: xr.Dataset) -> None:
    first, again = (bootstrap(surface, draws=40, seed=5).draws for _ in range(2))
    assert first.identical(again)
    assert not first.equals(bootstrap(surface, draws=40, seed=6).draws)
    one, same = (posterior(surface, seed=3).posterior.p.values for _ in range(2))
    assert np.array_equal(one, same)


def test_bunched_draws_scatter_as_whole_configurations_do() -> None:
    bunched = landscape(one_parameter(dispersion=4), observed(counts_of(TRUTH, NUMBER, 1)))
    drawn = bootstrap(bunched, draws=400, overlap="simulated").parameters["p"][1]
    chains = posterior(bunched, overlap="simulated").posterior.p
    expected = fit(bunched, overlap="simulated").parameters["p"][1]
    assert drawn == pytest.approx(expected, rel=0.15)
    assert float(chains.std()) == pytest.approx(expected, rel=0.1)


def test_images_are_drawn_with_replacement() -> None:
    images = observed(*counts_of(TRUTH, NUMBER, 4, size=12))
    reported = bootstrap(landscape(one_parameter(), images), kind="images", draws=300)
    assert reported.parameters["p"][1] == pytest.approx(known_error(12 * NUMBER), rel=0.6)
    assert reported.draws.attrs["kind"] == "images"


def test_blocks_scatter_as_overlapping_neighbourhoods_do() -> None:
    """A random triangular alloy: each atom counts once, however many neighbourhoods it is in."""
    classes, size = configurations("triangular"), 40
    places = triangular(size).positions
    species = (np.random.default_rng(2).random(len(places)) < TRUTH).astype(int)
    counts = counts_dataset({"one": count_atoms(places, species, "triangular")}, classes)
    rng = np.random.default_rng(1)
    table = np.stack([rng.multinomial(10**6, classes.random_mixing(GRID)) for _ in range(64)], 1)
    sweep = xr.Dataset(
        {"histogram_replica": (("p", "replica", "configuration"), table)},
        {"p": GRID, "label": ("configuration", np.array(classes.labels))},
    )
    surface = landscape(sweep, counts)
    atoms = pd.DataFrame({"row_px": places[:, 1], "col_px": places[:, 0], "species": species})
    reported = bootstrap(
        surface, kind="blocks", atoms={"one": atoms}, draws=200, overlap="independent"
    )
    sites = float(np.sqrt(TRUTH * (1 - TRUTH) / len(places)))
    independent = fit(surface, overlap="independent").parameters["p"][1]
    assert reported.parameters["p"][1] == pytest.approx(sites, rel=0.45)
    assert reported.parameters["p"][1] > 1.5 * independent
    wrong = atoms.assign(species=1 - atoms.species)
    with pytest.raises(RequestError, match="not those that were counted"):
        bootstrap(surface, kind="blocks", atoms={"one": wrong})


@pytest.mark.parametrize(
    ("asked", "reported"),
    [
        ({"kind": "images"}, "too few images for a bootstrap"),
        ({"kind": "blocks"}, "need its atoms"),
        ({"kind": "jackknife"}, "unknown kind"),
        ({"draws": 3}, "too few draws"),
    ],
)
def test_a_bootstrap_that_cannot_be_is_refused(
    surface: xr.Dataset, asked: dict[str, object], reported: str
) -> None:
    with pytest.raises(RequestError, match=reported):
        bootstrap(surface, **asked)  # type: ignore[arg-type]


def test_no_counts_are_refused(surface: xr.Dataset) -> None:
    with pytest.raises(RequestError, match="no counts to draw"):
        bootstrap(surface.assign(n=("image", [0])))


def curve(value: np.ndarray, w: np.ndarray) -> xr.Dataset:
    s2 = value / 4000
    error = np.full_like(s2, 1e-6)
    return xr.Dataset(
        {
            "s2": (("image", "w1"), s2[None]),
            "s2_se": (("image", "w1"), error[None]),
            "s2_total": ("w1", s2),
            "s2_total_se": ("w1", error),
            "n": ("image", [1000]),
        },
        {"w1": w, "image": ["one"]},
    )


def test_two_minima_are_said_and_both_sampled() -> None:
    w = np.linspace(-1, 1, 41)
    surface = curve(60 * (w**2 - 0.36) ** 2 / 0.36**2 + 1, w)
    assert "another minimum is about as low" in fit(surface).notes[0]
    chains = posterior(surface, draws=600).posterior
    assert chains.attrs["multimodal"] == 1
    assert "2 modes" in chains.attrs["notes"][-1]
    assert 0.3 < float((chains.w1 > 0).mean()) < 0.7


def test_chains_that_do_not_converge_carry_their_diagnostics(
    surface: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markov_chains, "LEAST_ESS", 1e9)
    monkeypatch.setattr(markov_chains, "ROUNDS", 1)
    with pytest.raises(ConvergenceError, match="not converged") as raised:
        posterior(surface, draws=20)
    assert set(raised.value.diagnostics["p"]) == {
        "r_hat",
        "ess_bulk",
        "ess_tail",
        "autocorrelation",
    }


def test_a_prior_counts_as_data_do(surface: xr.Dataset) -> None:
    value, error = fit(surface).parameters["p"]
    chains = posterior(surface, prior={"p": ("normal", value + 2 * error, error)}).posterior.p
    assert float(chains.mean()) == pytest.approx(value + error, abs=0.15 * error)
    assert float(chains.std()) == pytest.approx(error / np.sqrt(2), rel=0.1)
    with pytest.raises(RequestError, match="not valid"):
        posterior(surface, prior={"p": ("flat", 0, 1)})
    with pytest.raises(RequestError, match="zero all over the grid"):
        posterior(surface, prior={"p": ("uniform", 5.0, 6.0)})


def test_the_log_likelihood_of_images_adds_up() -> None:
    images = observed(*counts_of(TRUTH, NUMBER, 4, size=2))
    reported = posterior(landscape(one_parameter(), images))
    each = reported.log_likelihood.counts
    assert each.dims == ("chain", "draw", "image")
    apart = (each.sum("image") - reported.sample_stats.lp).values
    assert np.ptp(apart) < 1e-3 * np.ptp(reported.sample_stats.lp.values)


def test_sources_are_weighed() -> None:
    w = np.linspace(0, 1, 9)
    sweep = xr.Dataset({"ca": (("w", "layer"), w[:, None] * np.ones(4))}, {"w": w})
    near, far = (
        profile_landscape(sweep, {"value": np.full(4, v), "error": np.full(4, 1.0)}, variable="ca")
        for v in (0.25, 0.75)
    )
    even, uneven = combine({"a": near, "b": far}), combine({"a": near, "b": far}, {"a": 3, "b": 1})
    assert fit(even).parameters["w"][0] == pytest.approx(0.5, abs=0.01)
    assert fit(uneven).parameters["w"][0] == pytest.approx(0.375, abs=0.02)
    assert float(even.n.sum()) == 8
    with pytest.raises(RequestError, match="different grids"):
        combine({"a": near, "b": far.isel(w=slice(0, 5))})
    with pytest.raises(RequestError, match="weights must name the sources"):
        combine({"a": near}, {"b": 1.0})
    with pytest.raises(RequestError, match="no variable"):
        profile_landscape(sweep, {"value": [1], "error": [1]}, variable="la")


def test_a_profile_has_the_error_of_its_weighted_mean() -> None:
    w = np.linspace(0.2, 0.8, 25)
    sweep = xr.Dataset(
        {
            "ca": (("w", "layer"), w[:, None] * np.ones(16)),
            "ca_se": (("w", "layer"), np.full((25, 16), 0.01)),
        },
        {"w": w},
    )
    profile = {"value": np.full(16, 0.5), "error": np.full(16, 0.2)}
    surface = profile_landscape(sweep, profile, variable="ca")
    result = fit(surface, overlap="independent")
    from_data = np.sqrt(np.diag(result.covariance - result.monte_carlo_covariance))[0]
    assert from_data == pytest.approx(0.2 / 4, rel=0.03)
    vlcek = fit(profile_landscape(sweep, profile, variable="ca", convention="vlcek"))
    assert vlcek.parameters["w"][1] == pytest.approx(
        result.parameters["w"][1] / np.sqrt(2), rel=0.05
    )
    rng = np.random.default_rng(1)
    noisy = [
        profile_landscape(
            sweep.assign(ca=sweep.ca + 0.01 * rng.standard_normal((25, 16))),
            profile,
            variable="ca",
        ).s2_total.values
        for _ in range(400)
    ]
    reported = surface.s2_total_se.values[[2, 20]]
    assert np.std(noisy, axis=0)[[2, 20]] == pytest.approx(reported, rel=0.15)


@pytest.mark.slow
def test_the_page_on_fitting_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "howto" / "fit-parameters.md").read_text()
    (tmp_path / "examples").symlink_to(root / "examples")
    monkeypatch.chdir(tmp_path)
    story: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "fit-parameters.md", "exec"), story)
    reported = capsys.readouterr().out
    assert "w1 = -0." in reported
    assert "simulated" in reported
    assert "r_hat" in reported
    assert (tmp_path / "runs" / "pair.zarr").is_dir()


SPEC = """
[sweep]
seed = 3
[lattice]
kind = "square"
size = 16
[model]
kind = "ising"
H = 0.2
[grid]
T = { start = 2.4, stop = 5.0, num = 9 }
[schedule]
equilibration_mcs = 50
samples = 10
stride_mcs = 5
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "ising.zarr"
    execute(Sweep.from_toml(SPEC), path, progress=False)
    classes = configurations("square")
    sums = sample(
        Ising(), square(16), {"T": [3.4], "H": [0.2]}, Schedule(100, 2, 20), seeds_of(8, points=1)
    )
    keys = np.array(classes.keys)
    table = pd.DataFrame(keys, columns=["centre", "n_up", *classes.pair_names])
    table.assign(one=sums.histogram[0, 5]).to_csv(path.parent / "counts.csv", index=False)
    return path


@pytest.mark.parametrize("method", ["laplace", "bootstrap", "posterior"])
def test_the_command_fits(store: Path, method: str) -> None:
    asked = ["fit", str(store), str(store.parent / "counts.csv"), "--method", method]
    out = store.parent / f"{method}.zarr"
    reported = CliRunner().invoke(main, [*asked, "--json", "--out", str(out)])
    assert reported.exit_code == 0, reported.output
    facts = json.loads(reported.output)
    row = facts["parameters"]["T"]
    assert row["low95"] < 3.4 < row["high95"]
    assert row["low95"] < row["low68"] < row["value"] < row["high68"] < row["high95"]
    assert facts["overlap"] == "simulated"
    assert facts["points_missing"] == 0
    (listed,) = catalogue(out)
    assert (listed.kind, listed.best_fit["T"]["value"]) == ("fit", row["value"])
    shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0
    assert "68 %" in shown.output
