"""Adatoms: detailed balance, occupations, diffusion, and the barriers that films of them tell."""

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis import arrhenius, hop_rates, site_energies
from latticescape.physics import (
    Adatoms,
    Lattice,
    Schedule,
    honeycomb,
    square,
    trajectory,
    triangular,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kinetics import hopping
from latticescape.physics.kinetics.adatoms import BOLTZMANN_EV
from latticescape.physics.kinetics.kernel import AdatomKernel, surface_of, walkers_of
from latticescape.sweeps import Sweep, run
from latticescape.sweeps.spec.sweep import point_seeds

Floats = npt.NDArray[np.float64]

SHORT = Schedule(equilibration_mcs=50, samples=20, stride_mcs=20)

SYSTEMS: dict[str, tuple[Lattice, Adatoms]] = {
    "square": (
        square(4),
        Adatoms(E_b=0.4, adatoms=2, eps=[0.0, 0.05, -0.02], pattern=[[0, 1], [2, 0]], w=0.03),
    ),
    "triangular": (
        triangular(3),
        Adatoms(E_b=0.4, adatoms=4, eps=[0, 0.05, 0], pattern=[[0, 1, 2], [2, 0, 1], [1, 2, 0]]),
    ),
    "honeycomb": (
        honeycomb(3),
        Adatoms(E_b=0.4, coverage=0.17, eps=[0.0, 0.05], pattern=[[0, 1]], w=-0.04),
    ),
    "a torus whose bonds are double": (
        square(2),
        Adatoms(E_b=0.4, adatoms=2, eps=[0.0, 0.05], pattern=[[0, 1], [1, 0]], w=0.03),
    ),
}


def energy(lattice: Lattice, model: Adatoms, occupied: npt.NDArray[Any]) -> float:
    """Of an arrangement, as the formula has it."""
    single = np.array([model.fixed_parameters.get(f"eps_{k}", 0.0) for k in range(model.kinds)])
    pairs = occupied[lattice.bonds(1)].all(axis=1).sum()
    return float(
        single[model.types(lattice)] @ occupied + model.fixed_parameters.get("w", 0.0) * pairs
    )


def arrangements(lattice: Lattice, adatoms: int) -> list[npt.NDArray[Any]]:
    return [
        np.isin(np.arange(lattice.sites), chosen)
        for chosen in combinations(range(lattice.sites), adatoms)
    ]


def exact(lattice: Lattice, model: Adatoms, T: float, adatoms: int) -> tuple[Floats, float]:
    """Population of every type and energy per adatom, by enumeration."""
    states = arrangements(lattice, adatoms)
    energies = np.array([energy(lattice, model, state) for state in states])
    weights = np.exp(-(energies - energies.min()) / (BOLTZMANN_EV * T))
    weights /= weights.sum()
    on = np.eye(model.kinds)[model.types(lattice)]
    return weights @ np.array(states) @ on / adatoms, float(weights @ energies / adatoms)


def computed(lattice: Lattice, model: Adatoms, T: Floats, schedule: Schedule = SHORT) -> Any:
    kinetics = AdatomKernel(lattice, model, schedule, ("T",))
    seeds = point_seeds(11, [kinetics.parameters({"T": t}) for t in T])
    return kinetics.compute({"T": T}, seeds)


@pytest.mark.parametrize("name", SYSTEMS)
def test_rates_of_every_arrangement_obey_detailed_balance(name: str) -> None:
    lattice, model = SYSTEMS[name]
    T = 400.0
    full = complete(model, {"T": np.array([T])}, 1)
    surface, number = surface_of(lattice, model, full), int(model.n_species1(full, lattice)[0])
    states = arrangements(lattice, number)
    place = {state.tobytes(): k for k, state in enumerate(states)}
    rates = np.zeros((len(states),) * 2)
    for k, state in enumerate(states):
        walkers = walkers_of(lattice, model, number, 1)
        hopping.place(walkers, 0, state.astype(np.uint8), surface)
        for site in np.flatnonzero(state):
            for way, end in enumerate(surface.neighbors[site]):
                moved = state.copy()
                moved[site], moved[end] = False, True
                if not state[end]:
                    rate = hopping.hop_rate(site, way, walkers.adatoms[0], surface)
                    rates[k, place[moved.tobytes()]] += rate
        assert walkers.rates[0, 1] == pytest.approx(rates[k].sum(), rel=1e-14)
    energies = np.array([energy(lattice, model, state) for state in states])
    flow = np.exp(-energies / (BOLTZMANN_EV * T))[:, None] * rates
    np.testing.assert_allclose(flow, flow.T, rtol=1e-12)
    assert np.all((rates > 0) == (rates.T > 0))
    wrong = np.exp(-energies / (BOLTZMANN_EV * 1.1 * T))[:, None] * rates
    assert not np.allclose(wrong, wrong.T, rtol=1e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_rates_after_many_hops_are_those_of_the_arrangement(name: str) -> None:
    lattice, model = SYSTEMS[name]
    full = complete(model, {"T": np.array([400.0])}, 1)
    surface, number = surface_of(lattice, model, full), int(model.n_species1(full, lattice)[0])
    walkers, anew = (walkers_of(lattice, model, number, 1) for _ in range(2))
    hopping.initialize(walkers, np.arange(4, dtype=np.uint64), surface)
    hopping.advance(walkers, surface, 500)
    occupied = (walkers.adatoms[0] >= 0).astype(np.uint8)
    assert occupied.sum() == number
    hopping.place(anew, 0, occupied, surface)
    assert walkers.rates[0, 1] == pytest.approx(anew.rates[0, 1], rel=1e-14)
    assert walkers.counts.tolist() == anew.counts.tolist()


@pytest.mark.statistical
@pytest.mark.parametrize("name", SYSTEMS)
def test_populations_and_energies_are_those_of_enumeration(name: str) -> None:
    lattice, model = SYSTEMS[name]
    T = np.array([300.0, 600.0])
    result = computed(lattice, model, T)
    z = []
    number = round(float(result["coverage_realised"][0]) * lattice.sites)
    for p, t in enumerate(T):
        population, each = exact(lattice, model, t, number)
        z += [*((result["population"][p] - population) / result["population_se"][p])]
        z += [(result["energy"][p] - each) / result["energy_se"][p]]
        wrong, _ = exact(lattice, model, 1.1 * t, number)
        assert np.max(np.abs(result["population"][p] - wrong) / result["population_se"][p]) > 5
    assert np.max(np.abs(z)) < 5
    assert np.sqrt(np.mean(np.square(z))) < 2


@pytest.mark.statistical
def test_independent_adatoms_are_where_boltzmann_puts_them() -> None:
    lattice = square(8)
    model = Adatoms(E_b=0.4, adatoms=1, eps=[0.0, 0.04, 0.07], pattern=[[0, 1], [2, 1]])
    result = computed(lattice, model, np.array([350.0]), Schedule(100, 20, 100))
    share = result["occupation_time"][0] / result["occupation_time"][0].sum(axis=1, keepdims=True)
    weights = np.bincount(model.types(lattice)) * np.exp(
        -np.array([0.0, 0.04, 0.07]) / (BOLTZMANN_EV * 350)
    )
    away = result["population"][0] - weights / weights.sum()
    inverse = np.linalg.inv(np.cov(share[:, 1:].T) / len(share))
    assert chi2.sf(away[1:] @ inverse @ away[1:], 2) > 0.01
    energies = site_energies(
        result["population"][0],
        350.0,
        errors=result["population_se"][0],
        degeneracy=np.bincount(model.types(lattice)),
    )
    z = (energies.energy.values - [0.0, 0.04, 0.07])[1:] / energies.energy_se.values[1:]
    assert np.all(np.abs(z) < 4)


@pytest.mark.statistical
@pytest.mark.parametrize("lattice", [square(8), triangular(6), honeycomb(5)], ids=str)
def test_one_adatom_diffuses_by_its_rate(lattice: Lattice) -> None:
    T = np.array([250.0, 400.0])
    model = Adatoms(E_b=0.4, nu0=3e12, adatoms=1, a=0.3)
    result = computed(lattice, model, T, Schedule(5, 100, 20))
    rate = 3e12 * np.exp(-0.4 / (BOLTZMANN_EV * T))
    D = rate * 0.3**2 * lattice.coordination / 4
    assert np.all(np.abs(result["diffusion_constant"] - D) < 4 * result["diffusion_constant_se"])
    assert np.all(result["diffusion_constant_se"] < 0.03 * D)
    jumps = lattice.coordination * rate
    assert np.allclose(result["hop_rate"][:, 0, 0], jumps, rtol=0.02)
    assert np.allclose(result["residence_time"][:, 0], 1 / jumps, rtol=0.02)


def films(lattice: Lattice, model: Adatoms, T: float, tau: float, frames: int, seed: int) -> Any:
    """A film of one adatom, cut into films of 20 frames that each begin at the origin."""
    hops = max(20, 3 * round(frames * tau * lattice.coordination * _rate(model, T)))
    film = trajectory(lattice, model, {"T": T}, hops=hops, seed=seed)
    at = film.positions(np.arange(frames) * tau)[:, 0, ::-1].reshape(-1, 20, 2)
    row, col = np.moveaxis(at - at[:, :1], -1, 0)
    particle, frame = np.indices(row.shape)
    columns = {"frame": frame, "particle": particle, "row": row, "col": col}
    return {name: values.ravel() for name, values in columns.items()}


def _rate(model: Adatoms, T: float) -> float:
    given = model.fixed_parameters
    return given["nu0"] * float(np.exp(-given["E_b"] / (BOLTZMANN_EV * T)))


def patch(size: int) -> Floats:
    """Sites of a square lattice around the origin, (row, col)."""
    return np.indices((size, size)).reshape(2, -1).T - size // 2.0


MODEL = Adatoms(E_b=0.35, nu0=1e11, adatoms=1)
LATTICE = square(6)


@pytest.mark.statistical
@pytest.mark.parametrize("hops", [0.05, 0.6, 1.2])
def test_the_rate_of_a_film_is_corrected_for_unseen_hops(hops: float) -> None:
    T = 350.0
    truth = 4 * _rate(MODEL, T)
    z, naive = [], []
    for seed in range(12):
        tracks = films(LATTICE, MODEL, T, hops / truth, 400, seed)
        result = hop_rates(tracks, patch(25), hops / truth)
        z.append((result.rate.item() - truth) / result.rate_se.item())
        naive.append(result.moves.item() / result.exposure.item() / truth)
    assert abs(np.mean(z)) < 4 / np.sqrt(len(z))
    assert 0.5 < np.std(z) < 1.7
    if hops > 0.5:
        assert np.mean(naive) < 0.85
        assert result.hops_per_frame.item() == pytest.approx(hops, rel=0.3)


@pytest.mark.statistical
def test_the_barrier_comes_back_from_films_in_most_trials(capsys: Any) -> None:
    T = np.array([300.0, 330.0, 360.0, 400.0])
    covered = {"hops": 0, "rates": 0}
    rng = np.random.default_rng(5)
    for _ in range(50):
        exposure = 60 / (4 * 1e11 * np.exp(-0.35 / (BOLTZMANN_EV * T)))
        hops = rng.poisson(60, len(T))
        counts = xr.Dataset({"hops": ("T", hops), "exposure": ("T", exposure)}, {"T": T})
        of_counts = arrhenius(counts)
        of_rates = arrhenius(hops / exposure, np.sqrt(hops) / exposure, T=T)
        for name, result in (("hops", of_counts), ("rates", of_rates)):
            covered[name] += abs(float(result.barrier) - 0.35) < 1.96 * float(result.barrier_se)
    with capsys.disabled():
        print(f"\nbarriers within 95 % in {covered} of 50 trials")
    assert min(covered.values()) >= 43
    assert covered["hops"] < 51


@pytest.mark.statistical
def test_the_barrier_comes_back_from_simulated_rates() -> None:
    T = np.array([300.0, 350.0, 400.0, 450.0])
    inside = 0
    for seed in range(50):
        kinetics = AdatomKernel(square(6), MODEL, Schedule(0, 2, 10), ("T",))
        seeds = point_seeds(seed, [kinetics.parameters({"T": t}) for t in T])
        result = kinetics.compute({"T": T}, seeds)
        fit = arrhenius(result["hop_rate"][:, 0, 0], result["hop_rate_se"][:, 0, 0], T=T)
        inside += abs(float(fit.barrier) - 0.35) < 1.96 * float(fit.barrier_se)
    assert inside >= 43


def test_an_estimated_hop_is_worth_less_than_one_that_was_seen() -> None:
    """With errors twice those of counts, four hops tell what one tells; without hops, nothing is
    known of that."""
    T = np.array([280.0, 300.0, 350.0, 400.0])
    hops, exposure = np.array([0.0, 40.0, 260.0, 1100.0]), np.array([90.0, 80.0, 40.0, 20.0])
    wide = np.where(hops > 0, 2 * np.sqrt(hops) / exposure, 1 / exposure)
    worth = np.where(hops > 0, 0.25, 1.0)
    tables = [
        {"hops": hops, "exposure": exposure, "rate_se": wide},
        {"hops": hops * worth, "exposure": exposure * worth},
        {"hops": hops, "exposure": exposure, "rate_se": wide / 2},
        {"hops": hops, "exposure": exposure},
    ]
    fits = [
        arrhenius(xr.Dataset({name: ("T", values) for name, values in table.items()}, {"T": T}))
        for table in tables
    ]
    for one, other in (fits[:2], fits[2:]):
        assert float(one.barrier) == pytest.approx(float(other.barrier))
        assert float(one.barrier_se) == pytest.approx(float(other.barrier_se))
    assert 1.5 < float(fits[0].barrier_se) / float(fits[3].barrier_se) < 2.0


def test_a_wrong_law_is_seen_by_its_chi2() -> None:
    T = np.array([300.0, 350.0, 400.0, 450.0])
    rates = 1e11 * np.exp(-0.35 / (BOLTZMANN_EV * T)) + 2e6
    fit = arrhenius(rates, 0.05 * rates, T=T)
    assert float(fit.p_value) < 1e-3
    assert int(fit.degrees) == 2
    assert float(fit.p_value) == pytest.approx(float(chi2.sf(float(fit.chi2), 2)))


def test_units_change_the_number_and_not_the_energy() -> None:
    for units, factor in (("meV", 1e3), ("kJ/mol", 96.48533212), ("K", 1 / BOLTZMANN_EV)):
        here, there = (site_energies([90, 10], 300.0, units=u) for u in ("eV", units))
        assert there.energy.values[1] == pytest.approx(factor * here.energy.values[1], rel=1e-8)


@pytest.mark.statistical
def test_site_energies_have_honest_errors() -> None:
    rng, truth = np.random.default_rng(3), np.array([0.0, 0.03, 0.06])
    weights = np.array([1, 2, 4]) * np.exp(-truth / (BOLTZMANN_EV * 300))
    result = [
        site_energies(
            rng.multinomial(400, weights / weights.sum()),
            300.0,
            degeneracy=[1, 2, 4],
            expected=truth,
        )
        for _ in range(200)
    ]
    z = np.array([(f.energy.values - truth)[1:] / f.energy_se.values[1:] for f in result])
    assert np.all(np.abs(z.std(axis=0) - 1) < 0.2)
    p = np.array([float(f.p_value) for f in result])
    assert 0.02 < np.mean(p < 0.1) < 0.2


def test_a_sweep_of_adatoms_is_a_sweep(tmp_path: Any) -> None:
    spec = """
[sweep]
seed = 3
keep = ["spins"]
[lattice]
kind = "honeycomb"
size = 4
[model]
kind = "adatoms"
E_b = 0.4
coverage = 0.1
eps = [0.0, 0.03]
pattern = [[0, 1]]
w = 0.02
[grid]
T = [300.0, 400.0]
[schedule]
equilibration_mcs = 5
samples = 4
stride_mcs = 5
"""
    sweep = Sweep.from_toml(spec)
    assert Sweep.from_toml(sweep.to_toml()) == sweep
    model = Adatoms(E_b=0.4, coverage=0.1, eps_1=0.03, eps_0=0.0, pattern=((0, 1),), w=0.02)
    same = Sweep(honeycomb(4), model, {"T": [300.0, 400.0]}, sweep.schedule, 3, keep=["spins"])
    assert same == sweep
    assert Sweep.from_toml(spec.replace("[[0, 1]]", "[[1, 0]]")).digest != sweep.digest
    ds = run(sweep, tmp_path / "adatoms.zarr")
    alone = same.kernel.compute(
        {"T": np.array([400.0])}, point_seeds(3, [same.kernel.parameters({"T": 400.0})])
    )
    assert ds.hops.sel(T=400.0).values.tolist() == alone["hops"][0].tolist()
    assert ds.diffusion_constant.attrs["units"] == "nm^2/s"
    assert int(ds.hops.sum()) == 2 * 64 * 3 * 4 * 5
    bits = ds.spins.values[..., None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    assert np.all(bits.sum(axis=1) == 3)


GRID = {"T": [300.0, 400.0]}
BAD: dict[str, tuple[Any, str]] = {
    "a negative barrier": (lambda: Adatoms(E_b=-0.1), "E_b is out of bounds"),
    "an infinite energy": (lambda: Adatoms(eps=[np.inf]), "eps_0 is out of bounds"),
    "more adatoms than sites": (
        lambda: Sweep(square(4), Adatoms(E_b=0.3, adatoms=17), GRID, SHORT),
        "more adatoms than sites .*17 adatoms on 16 sites",
    ),
    "no room to hop": (
        lambda: Sweep(square(4), Adatoms(E_b=0.3), {"coverage": [0.5, 1.0], "T": [300]}, SHORT),
        "more adatoms than sites",
    ),
    "no adatoms at all": (
        lambda: Sweep(square(4), Adatoms(E_b=0.3), GRID, SHORT),
        "number of adatoms once, as adatoms or as coverage",
    ),
    "adatoms twice": (
        lambda: Sweep(square(4), Adatoms(E_b=0.3, adatoms=1, coverage=0.1), GRID, SHORT),
        "number of adatoms once",
    ),
    "a coverage of nothing": (
        lambda: Sweep(square(4), Adatoms(E_b=0.3, coverage=0.01), GRID, SHORT),
        "there is no adatom",
    ),
    "a pattern that does not fit": (
        lambda: Sweep(square(5), Adatoms(E_b=0.3, adatoms=1, pattern=[[0, 1]]), GRID, SHORT),
        "does not tile",
    ),
    "a pattern with a gap": (lambda: Adatoms(pattern=[[0, 2]]), "must be a table of site types"),
    "a ragged pattern": (lambda: Adatoms(pattern=[[0], [0, 1]]), "must be a table of site types"),
    "an energy of no site": (lambda: Adatoms(eps_1=0.1), "type that the pattern lacks"),
    "a bulk": (
        lambda: Sweep(Lattice("cubic", 4), Adatoms(E_b=0.3, adatoms=1), GRID, SHORT),
        "need a plane lattice",
    ),
    "energies in meV": (
        lambda: Sweep(square(4), Adatoms(E_b=350.0, adatoms=1), GRID, SHORT),
        "too many k_B T .*energies in eV",
    ),
    "cluster updates": (
        lambda: Sweep(
            square(4), Adatoms(E_b=0.3, adatoms=1), GRID, Schedule(1, 2, 1, update="cluster")
        ),
        "adatom models support only",
    ),
    "a population of zero": (lambda: site_energies([3, 0], 300.0), "above zero on each"),
    "populations that are not finite": (
        lambda: site_energies([3, np.nan], 300.0),
        "must be finite",
    ),
    "populations without errors": (lambda: site_energies([0.3, 0.7], 300.0), "need their errors"),
    "a temperature of zero": (lambda: site_energies([3, 4], 0.0), "must be above 0"),
    "a temperature in °C": (
        lambda: site_energies([3, 4], xr.DataArray(25.0, attrs={"units": "degC"})),
        "units of T do not match .*degC",
    ),
    "energies in other units": (
        lambda: site_energies(
            [3, 4], 300.0, expected=xr.DataArray([0, 5.0], attrs={"units": "kJ/mol"})
        ),
        "units of expected do not match .*kJ/mol",
    ),
    "an unknown unit": (lambda: site_energies([3, 4], 300.0, units="Ry"), "unknown unit"),
    "one temperature": (
        lambda: arrhenius([1.0], [0.1], T=[300.0]),
        "two or more different temperatures",
    ),
    "one temperature twice": (
        lambda: arrhenius([1.0, 1.1], [0.1, 0.1], T=[300.0, 300.0]),
        "two or more different temperatures",
    ),
    "a rate of zero": (
        lambda: arrhenius([0.0, 1.0], [0.1, 0.1], T=[300.0, 400.0]),
        "must be above 0 .*without hops",
    ),
    "an infinite rate": (
        lambda: arrhenius([np.inf, 1.0], [0.1, 0.1], T=[300.0, 400.0]),
        "must be finite numbers",
    ),
    "rates per minute": (
        lambda: arrhenius(
            xr.DataArray([1.0, 2.0], dims="T", attrs={"units": "1/min"}),
            [0.1, 0.1],
            T=[300.0, 400.0],
        ),
        "units of rates do not match .*1/min",
    ),
    "rates that fall": (
        lambda: arrhenius([2.0, 1.0], [0.1, 0.1], T=[300.0, 400.0]),
        "barrier would be negative",
    ),
    "a film too slow": (
        lambda: hop_rates(
            films(LATTICE, MODEL, 350.0, 4 / (4 * _rate(MODEL, 350.0)), 200, 1),
            patch(25),
            1.0,
        ),
        "several times between two frames.*of .* atoms moved .*shorter frame_time",
    ),
    "a film too slow for two types": (
        lambda: hop_rates(
            films(LATTICE, MODEL, 350.0, 0.4 / (4 * _rate(MODEL, 350.0)), 200, 1),
            patch(25),
            1.0,
            types=np.arange(625) % 2,
        ),
        r"of these by several hops; allowed: up to 0\.1 hops",
    ),
    "other sites": (
        lambda: hop_rates(
            {"frame": [0, 1], "particle": [0, 0], "row": [50, 50], "col": [50, 50]},
            patch(15),
            1.0,
        ),
        "are not on the sites",
    ),
    "an atom twice": (
        lambda: hop_rates(
            {"frame": [0, 0], "particle": [0, 0], "row": [0, 1], "col": [0, 0]},
            patch(15),
            1.0,
        ),
        "twice in a frame",
    ),
    "a column missing": (lambda: hop_rates({"frame": [0]}, patch(15), 1.0), "lack a col"),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_requests_are_refused(name: str) -> None:
    ask, problem = BAD[name]
    with pytest.raises(RequestError, match=problem):
        ask()
