"""Critical temperatures, exponents, ridges and phase diagrams, against what is known of them."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from latticescape.analysis import binder_crossing, finite_size_scaling, ordering, phase_diagram
from latticescape.analysis.phases.ridges import ridge_scaling, ridges
from latticescape.analysis.phases.runs import parameter_values, simulate
from latticescape.analysis.plots import phase_diagram_map, save
from latticescape.physics import Ising, PairAlloy, Schedule, square, triangular
from latticescape.physics.errors import RequestError
from latticescape.physics.exact.closed_forms import CRITICAL_TEMPERATURE, kaufman
from latticescape.physics.variables import pack_replicas
from latticescape.sweeps import catalogue
from tests.support.command_line import json_of, latticescape

TC = CRITICAL_TEMPERATURE["square"]
ALLOY_T = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0])


@pytest.fixture(scope="module")
def squares() -> dict[int, xr.Dataset]:
    T = {"T": np.linspace(2.2, 2.36, 8)}
    return {
        L: simulate(square(L), Ising(), T, Schedule(4 * L * L, 2500, 4), seed=11)
        for L in (6, 12, 24)
    }


@pytest.fixture(scope="module")
def alloy() -> xr.Dataset:
    grid = {"x": [0.2, 1 / 3, 0.5, 2 / 3], "T": ALLOY_T}
    sweep = swept(triangular(12), PairAlloy(), grid, Schedule(300, 20, 10, tempering_mcs=10))
    return phase_diagram(sweep, at={"w1": (-1.0, 0.1)}, draws=4)


def swept(lattice: Any, model: Any, grid: dict[str, Any], schedule: Schedule) -> Any:
    """What phase_diagram reads of a Sweep."""
    return SimpleNamespace(lattice=lattice, model=model, grid=grid, schedule=schedule, seed=3)


def z(found: xr.Dataset, name: str, truth: float) -> float:
    return (float(found[name]) - truth) / float(found[f"{name}_se"])


@pytest.mark.statistical
def test_binder_curves_cross_at_the_critical_point(squares: dict[int, xr.Dataset]) -> None:
    found = binder_crossing(squares)
    assert abs(z(found, "critical_temperature", TC)) < 3
    assert abs(float(found.critical_temperature) / TC - 1) < 0.003
    assert abs(z(found, "critical_binder_cumulant", 0.610692)) < 3
    assert found["pair"].values.tolist() == ["6-12", "12-24"]
    # A control that must fail: a critical temperature off by 1 %.
    assert abs(z(found, "critical_temperature", 1.01 * TC)) > 3


@pytest.mark.statistical
def test_exponents_are_those_of_onsager(squares: dict[int, xr.Dataset]) -> None:
    found = finite_size_scaling(list(squares.values()))
    assert abs(z(found, "nu", 1.0)) < 3
    assert abs(z(found, "beta_over_nu_limit", 0.125)) < 3
    assert abs(z(found, "gamma_over_nu_limit", 1.75)) < 3
    assert float(found.gamma_over_nu_limit_se) < 0.01


@pytest.mark.statistical
def test_errors_of_crossings_cover_the_truth() -> None:
    # Curves of known crossing T = 2, U = 0.6, from replicas of known noise.
    rng, deviates = np.random.default_rng(5), []
    for _ in range(12):
        sweeps = {L: synthetic(L, rng) for L in (8, 16, 32)}
        found = binder_crossing(sweeps)
        deviates.append(z(found, "critical_temperature", 2.0))
    assert 0.6 < np.std(deviates) < 1.5
    assert abs(np.mean(deviates)) < 0.9


def synthetic(L: int, rng: np.random.Generator) -> xr.Dataset:
    T = np.linspace(1.9, 2.1, 9)
    U = 0.6 - 0.2 * np.tanh(0.5 * (T - 2) * L)
    moments = np.zeros((9, 64, 6))
    moments[..., 1], moments[..., 2] = 0.9, 1.0
    moments[..., 3] = 3 * (1 - U[:, None]) + 0.1 * rng.standard_normal((9, 64))
    return xr.Dataset(
        {"moments": (("T", "replica", "moment"), moments)},
        {"T": T},
        {"lattice": "square", "lattice_size": L},
    )


def test_points_that_are_not_done_are_left_out(squares: dict[int, xr.Dataset]) -> None:
    done = np.ones(8, bool)
    done[3] = False
    spoiled = squares[24].copy(deep=True)
    spoiled["moments"][3] = 7.0
    spoiled["done"] = ("T", done)
    found = binder_crossing({**squares, 24: spoiled})
    assert abs(z(found, "critical_temperature", TC)) < 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {24: s[24]}, "at least 2 different sizes"),
        (lambda s: {L: ds.isel(T=0) for L, ds in s.items()}, "no temperature axis"),
        (lambda s: {L: ds.expand_dims(H=[0.0]) for L, ds in s.items()}, r"ds.sel\(H=0\)"),
        (lambda s: {L: ds.isel(T=slice(0, 3)) for L, ds in s.items()}, "Tc is higher"),
        (lambda s: {L: ds.isel(T=slice(5, None)) for L, ds in s.items()}, "Tc is lower"),
        (
            lambda s: {**s, 12: s[12].assign_attrs(lattice="cubic")},
            "more than one lattice or",
        ),
        (lambda s: {L: ds.drop_vars("moments") for L, ds in s.items()}, "no moments"),
    ],
)
def test_curves_that_cannot_cross_are_refused_with_a_way_on(
    squares: dict[int, xr.Dataset], change: Callable[[Any], Any], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        binder_crossing(change(squares))


@pytest.mark.statistical
def test_the_ridge_of_the_heat_capacity_is_kaufmans() -> None:
    T = np.linspace(1.9, 2.8, 13)
    ds = simulate(square(8), Ising(), {"T": T}, Schedule(500, 4000, 5), seed=4)
    fine = np.linspace(2.2, 2.6, 4001)
    exact = kaufman(8, fine)[1]
    found = ridges(ds)
    assert abs(z(found, "heat_capacity_ridge", fine[exact.argmax()])) < 3
    assert abs(z(found, "heat_capacity_height", exact.max())) < 3
    narrow = ridges(ds.isel(T=slice(0, 5)))
    assert np.isnan(narrow.heat_capacity_ridge)  # rises to the end of the range: no maximum


@pytest.mark.statistical
def test_ridges_approach_the_critical_temperature_as_sizes_grow() -> None:
    T = {"T": np.linspace(2.1, 2.9, 13)}
    sweeps = [simulate(square(L), Ising(), T, Schedule(500, 1000, 6), seed=6) for L in (6, 12, 24)]
    found = ridge_scaling(sweeps)
    assert np.all(np.diff(found.ridge) < 0)
    assert abs(float(found.critical_temperature) / TC - 1) < 0.02
    assert abs(float(found.exponent) - 1.75) < 0.1
    with pytest.raises(RequestError, match="no maximum inside"):
        ridge_scaling([ds.isel(T=slice(8, None)) for ds in sweeps])


def test_an_alloy_orders_where_its_pattern_fits(alloy: xr.Dataset) -> None:
    warm = alloy.sel(T=0.6)
    assert set(alloy.attrs) == {"lattice", "model", "lattice_size", "seed", "at_w1"}
    assert warm.ordered.values.tolist() == [False, True, False, True]
    waves = alloy.wave_vector.sel(T=0.5, peak=0).values
    assert waves[1] == waves[3] == "K (1/3, 2/3)"
    assert float(alloy.order_share.isel(x=1, T=0, peak=0)) > 0.99
    assert alloy.boundary_method.values[[0, 2]].tolist() == ["no order found"] * 2
    # Two thirds are one third with the species exchanged.
    one, two = alloy.boundary.values[[1, 3]]
    errors = np.hypot(*alloy.boundary_se.values[[1, 3]])
    assert 0.6 < one < 0.75
    assert abs(one - two) < 3 * errors


def test_parameters_and_chance_make_errors_of_their_own(alloy: xr.Dataset) -> None:
    # With one energy every temperature is proportional to it: 10 % of w1 are 10 % of T.
    at = alloy.isel(x=1)
    spread = float(at.boundary_parameter_se / at.boundary)
    drawn = float(alloy.draw_w1.std(ddof=1))
    assert 0.7 * drawn < spread < 1.3 * drawn
    assert float(at.boundary_se) < 0.5 * float(at.boundary_parameter_se)
    slope = np.polyfit(alloy.draw_w1, at.boundary_draws, 1)[0]
    assert -slope == pytest.approx(float(at.boundary), rel=0.3)


@pytest.mark.statistical
def test_a_sweep_of_a_ferromagnet_gives_its_critical_temperature() -> None:
    grid = {"T": np.linspace(1.6, 3.2, 9), "H": [0.0, 0.3]}
    found = phase_diagram(swept(square(16), Ising(), grid, Schedule(300, 120, 5)))
    error = float(np.hypot(found.boundary_se[0], found.boundary_finite_size_se[0]))
    assert abs(float(found.boundary[0]) - TC) < 3 * error
    assert error < 0.03
    assert found.boundary_method.values.tolist() == ["Binder crossing", "no order found"]
    assert float(found.heat_capacity_ridge[1]) > float(found.heat_capacity_ridge[0])


@pytest.mark.statistical
def test_an_antiferromagnet_is_found_by_its_spins() -> None:
    grid = {"T": np.linspace(1.8, 2.8, 11)}
    sweep = swept(square(12), Ising(J=-1.0), grid, Schedule(500, 200, 6))
    found = phase_diagram(sweep)
    assert found.boundary_method.item() == "correlation ratio"
    assert str(found.wave_vector.isel(T=0, peak=0).values) == "M (1/2, 1/2)"
    error = float(np.hypot(found.boundary_se, found.boundary_finite_size_se))
    assert abs(float(found.boundary) - TC) < 3 * error


def test_random_spins_show_no_order() -> None:
    spins = np.random.default_rng(2).integers(0, 2, (64, 144), dtype=np.uint8)
    ds = kept(pack_replicas(spins), triangular(12))
    found = ordering(ds)
    assert not found.ordered.any()
    assert found.wave_vector.values.ravel().tolist() == [""] * 3
    assert float(found.structure_factor.isel(T=0, peak=0)) < 2


def test_order_that_the_size_does_not_hold_is_told() -> None:
    cells = np.indices((16, 16))
    wave = np.cos(2 * np.pi * (5 * cells[0] + 11 * cells[1]) / 16).ravel()
    spins = np.tile((wave > 0).astype(np.uint8), (64, 1))
    with pytest.raises(RequestError, match=r"K \(1/3, 2/3\).*size = 18"):
        ordering(kept(pack_replicas(spins), triangular(16)))


def kept(words: Any, lattice: Any) -> xr.Dataset:
    energy = {"energy": ("T", [0.0]), "spins": (("T", "site"), words[None])}
    attrs = {"lattice": lattice.kind, "lattice_size": lattice.size}
    return xr.Dataset(energy, {"T": [1.0]}, attrs)


def test_places_come_from_values_fits_and_posteriors() -> None:
    rng = np.random.default_rng(1)
    covariance = np.array([[0.04, 0.03], [0.03, 0.09]])
    fit = SimpleNamespace(parameters={"w1": (-1.0, 0.2), "w2": (0.5, 0.3)}, covariance=covariance)
    draws = np.array([[d["w1"], d["w2"]] for d in parameter_values(fit, 256, seed=2).draws])
    assert np.allclose(np.cov(draws.T), covariance, atol=0.01)
    assert np.allclose(draws.mean(axis=0), [-1, 0.5], atol=0.03)
    chains = xr.Dataset({"w1": (("chain", "draw"), rng.normal(-1, 0.1, (4, 500)))})
    found = parameter_values(SimpleNamespace(posterior=chains), 20, seed=2)
    assert len(found.draws) == 20
    assert found.centre["w1"] == pytest.approx(-1, abs=0.02)
    with pytest.raises(RequestError, match="errors of the fit are unknown"):
        parameter_values(
            SimpleNamespace(parameters={"w": (0, np.inf)}, covariance=[[np.inf]]), 4, seed=1
        )
    with pytest.raises(RequestError, match="no parameter values"):
        parameter_values("w1", 4, seed=1)


@pytest.mark.parametrize(
    ("grid", "at", "words"),
    [
        ({"x": [0.5]}, {"w1": -1.0}, "three or more temperatures"),
        ({"x": [0.5], "T": [1, 2, 3], "w1": [-1.0, 0.0]}, None, "at one value of w1"),
        ({"x": [0.5], "T": [1, 2, 3]}, {"J": 1.0}, "J is not a parameter of the"),
        ({"x": [0.5], "T": [1, 2, 3]}, None, "the model pair_alloy needs the parameter w1"),
    ],
)
def test_a_diagram_of_nothing_is_refused(grid: Any, at: Any, words: str) -> None:
    sweep = swept(triangular(6), PairAlloy(), grid, Schedule(5, 2, 1))
    with pytest.raises(RequestError, match=words):
        phase_diagram(sweep, at=at)


def test_the_picture_shows_the_boundary_where_it_is(alloy: xr.Dataset, tmp_path: Path) -> None:
    picture = phase_diagram_map(alloy)
    curve = next(part for part in picture if part.label == "boundary")
    assert np.allclose(curve.dimension_values("T"), alloy.boundary, equal_nan=True)
    assert picture.get(0).dimension_values("order_parameter").max() == pytest.approx(
        2 / 3, abs=0.01
    )
    assert save(picture, tmp_path / "diagram.png").stat().st_size > 10_000
    alone = alloy.isel(x=1, drop=True)
    assert any(part.label == "boundary" for part in phase_diagram_map(alone))
    with pytest.raises(RequestError, match="no phase diagram"):
        phase_diagram_map(xr.Dataset())


SPEC = """\
[lattice]
kind = "triangular"
size = 6
[model]
kind = "pair_alloy"
w1 = -1.0
[grid]
x = [0.33333333333333, 0.5]
T = [0.3, 0.6, 0.9, 1.2]
[sweep]
keep = ["spins"]
[schedule]
equilibration_mcs = 200
samples = 20
stride_mcs = 5
tempering_mcs = 5
"""


def test_phase_on_the_command_line(tmp_path: Path) -> None:
    spec, fit, out = tmp_path / "alloy.toml", tmp_path / "fit.json", tmp_path / "out.zarr"
    spec.write_text(SPEC)
    fit.write_text('{"parameters": {"w1": {"value": -1.0, "se": 0.1}}}')
    found = json_of("phase-diagram", spec, "--fit", fit, "--draws", 2, "--out", out)
    assert [line["x"] for line in found["lines"]] == pytest.approx([1 / 3, 0.5])
    assert 0.5 < found["lines"][0]["boundary"] < 0.9
    assert found["lines"][0]["boundary_parameter_se"] is not None
    assert found["lines"][1]["boundary"] is None
    assert "boundary_se" in xr.open_zarr(out)
    assert [(store.kind, store.axes) for store in catalogue(out)] == [("phase diagram", {"x": 2})]
    refused = latticescape("phase-diagram", spec, "--fit", spec)
    assert refused.exit_code == 2
    assert "cannot read a fit" in refused.output


def test_the_how_to_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/predict-a-phase-diagram.md").read_text()
    blocks, names = re.findall(r"```python\n(.*?)```", page, re.DOTALL), {}
    for block in blocks:
        exec(compile(block, "predict-a-phase-diagram.md", "exec"), names)
    said = capsys.readouterr().out
    for promised in re.findall(r"^# (.*)$", "".join(blocks), re.MULTILINE):
        assert promised in said
    assert "Tc = 2.2" in said
    assert len(blocks) == 2
