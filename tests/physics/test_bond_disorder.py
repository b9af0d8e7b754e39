"""Random bonds: one draw a bond, disorder averages against every arrangement of 4×4 spins."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from latticescape.analysis import disorder_average
from latticescape.physics import (
    Ising,
    Lattice,
    RequestError,
    Schedule,
    cubic,
    honeycomb,
    square,
    triangular,
)
from latticescape.physics.exact.enumeration import enumerate_states
from latticescape.physics.kernels.kernel import Rule
from latticescape.physics.kernels.lattice_kernel import LatticeKernel, sample
from latticescape.physics.kernels.multispin.bond_disorder import advance_site_tables, site_terms
from latticescape.physics.kernels.multispin.heat_bath import visits
from latticescape.physics.kernels.multispin.simd import aligned
from latticescape.physics.kernels.multispin.thresholds import (
    metropolis_thresholds,
    seed_state,
    thresholds,
)
from latticescape.physics.models.bond_disorder import DISTRIBUTIONS, RandomBonds
from latticescape.sweeps import Sweep
from tests.support.statistics import Deviation, deviations, root_mean_square, seed_of, seeds_of

TABLES = {
    "normal": {"distribution": "normal", "mean": 1.0, "sd": 0.4, "seed": 5},
    "uniform": {"distribution": "uniform", "low": 0.2, "high": 1.4, "seed": 5},
    "bimodal": {"distribution": "bimodal", "negative": 0.3, "seed": 5},
}
NORMAL = Ising(mu=0.67, bonds=TABLES["normal"])
SCHEDULE = Schedule(equilibration_mcs=200, samples=400, stride_mcs=4)
AXES = {"realisation": np.arange(3.0), "T": np.array([2.0, 3.0])}
H = 0.3

# The first draws of NORMAL's realisation 1, in units of 2^−20.
FOUR = [1093060, 1195981, 910309, 206719]

SPEC = """
[lattice]
kind = "square"
size = 4
[model]
kind = "ising"
bonds = { distribution = "normal", mean = 1.0, sd = 0.2, seed = 1 }
[grid]
realisation = { start = 0, stop = 7, num = 8 }
T = [2.0, 3.0]
[schedule]
equilibration_mcs = 20
samples = 10
stride_mcs = 2
"""


def exact(model: Ising, realisation: int, T: float, field: float) -> tuple[float, float]:
    """Energy per site and |m| of 4×4 spins, arrangement by arrangement."""
    lattice = square(4)
    bonds = lattice.bonds(1)
    drawn = model.bond_disorder
    assert drawn is not None
    J = drawn.draw(lattice, realisation, len(bonds))
    spins = 2.0 * (np.arange(2**16)[:, None] >> np.arange(16) & 1) - 1
    energy = -(spins[:, bonds[:, 0]] * spins[:, bonds[:, 1]]) @ J - field * spins.sum(axis=1)
    weights = np.exp(-(energy - energy.min()) / T)
    weights /= weights.sum()
    return float(weights @ energy) / 16, float(weights @ np.abs(spins.mean(axis=1)))


def truths(factor: float = 1.0) -> npt.NDArray[np.float64]:
    """Energies and |m|, (2, realisations, temperatures)."""
    each = [[exact(NORMAL, r, factor * T, 0.67 * H) for T in AXES["T"]] for r in range(3)]
    return np.moveaxis(np.array(each), -1, 0)


@pytest.fixture(scope="module")
def simulated() -> xr.Dataset:
    kernel = LatticeKernel(square(4), NORMAL, SCHEDULE, ("realisation", "T", "H"))
    grid = np.meshgrid(*AXES.values(), indexing="ij")
    points = {name: axis.ravel() for name, axis in zip(AXES, grid, strict=True)}
    found = kernel.compute({**points, "H": np.full(6, H)}, seeds_of(31, points=6))
    names = [v.name for v in kernel.variables if not v.dims]
    dims = {v.name: v.dims for v in kernel.variables if v.name.startswith("histogram")}
    return xr.Dataset(
        {name: (tuple(AXES), found[name].reshape(3, 2)) for name in names}
        | {
            name: ((*AXES, *own), found[name].reshape(3, 2, *found[name].shape[1:]))
            for name, own in dims.items()
        },
        AXES,
    )


@pytest.mark.statistical
def test_every_realisation_agrees_with_enumeration(simulated: xr.Dataset) -> None:
    names = ("energy", "magnetization_abs")
    values = np.stack([simulated[name] for name in names])
    errors = np.stack([simulated[f"{name}_se"] for name in names])
    z = (values - truths()) / errors
    print(np.round(z, 2))
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(z**2)) < 1.6
    assert np.abs((values - truths(factor=1.1)) / errors).max() > 5


@pytest.mark.statistical
def test_the_disorder_average_and_its_spread_agree_with_enumeration(simulated: xr.Dataset) -> None:
    found = disorder_average(simulated)
    energies = truths()[0]
    assert found["energy"].dims == ("T",)
    thermal = found["energy_se_thermal"].values
    assert np.abs((found["energy"] - energies.mean(axis=0)) / thermal).max() < 5
    wanted = energies.std(axis=0, ddof=1)
    assert found["energy_spread"].values == pytest.approx(wanted, rel=0.1)
    assert found["energy_se_disorder"].values == pytest.approx(wanted / np.sqrt(3), rel=0.1)
    both = np.hypot(found["energy_se_thermal"], found["energy_se_disorder"])
    assert found["energy_se"].values == pytest.approx(both.values)
    assert (found["energy_se"] > 3 * thermal).all()
    assert int(found["histogram"].sum()) == int(simulated["histogram"].sum())
    assert (found["realisations"] == 3).all()


@pytest.mark.statistical
def test_enumeration_knows_the_bonds_of_a_realisation() -> None:
    model = Ising(mu=0.67, bonds=TABLES["normal"], realisation=2)
    found = enumerate_states(square(4), model, used={"H"}).expect(T=2.0, H=H)
    energy, magnetization = exact(NORMAL, 2, 2.0, 0.67 * H)
    assert found["energy"] == pytest.approx(energy, rel=1e-9)
    assert found["magnetization_abs"] == pytest.approx(magnetization, rel=1e-9)


@pytest.mark.parametrize("kernel", ["lanes", "reference"])
@pytest.mark.parametrize(
    "bonds",
    [
        {"distribution": "normal", "mean": 1.0, "sd": 0.0},
        {"distribution": "bimodal", "negative": 0.0},
    ],
    ids=lambda bonds: bonds["distribution"],
)
def test_a_mean_without_scatter_has_the_bits_of_the_clean_model(
    bonds: dict[str, Any], kernel: str
) -> None:
    model = Ising(bonds=bonds, H=0.1)
    axes, seeds = {"T": np.array([2.0, 2.6])}, seeds_of(32, points=2)
    drawn = {**axes, "realisation": np.array([0.0, 1.0])}
    schedule = Schedule(10, 10, 2, rule="heat_bath")
    found = sample(model, square(6), drawn, schedule, seeds, kernel=kernel)
    clean = sample(Ising(H=0.1), square(6), axes, schedule, seeds, kernel=kernel)
    assert np.array_equal(found.histogram, clean.histogram)
    assert np.allclose(found.moment_sum, clean.moment_sum, rtol=1e-12)


# A field, two signs of J, other lattices, and two or four couplings of drawn signs.
CASES: list[tuple[Ising, Lattice, dict[str, float]]] = [
    (Ising(bonds=TABLES["normal"]), square(4), {"T": 2.5, "H": 0.2, "realisation": 0}),
    (Ising(bonds=TABLES["uniform"], J=-1.0), triangular(4), {"T": 2.5, "realisation": 1}),
    (Ising(bonds=TABLES["bimodal"]), square(4), {"T": 1.8, "realisation": 2}),
    (Ising(bonds=TABLES["bimodal"]), cubic(2), {"T": 4.0, "H": -0.3, "realisation": 3}),
    (Ising(bonds=TABLES["normal"]), honeycomb(2), {"T": 1.5, "realisation": 4}),
    (Ising(bonds=TABLES["bimodal"], J=[0.8, 0.5]), square(4), {"T": 2.0, "realisation": 5}),
    (
        Ising(bonds=TABLES["bimodal"], J=[0.8, 0.5, -0.2, 0.1]),
        square(4),
        {"T": 2.0, "H": 0.2, "realisation": 6},
    ),
]


@pytest.mark.statistical
@pytest.mark.parametrize("rule", ["heat_bath", "metropolis"])
@pytest.mark.parametrize("kernel", ["lanes", "reference"])
def test_lanes_and_reference_agree_with_enumeration(kernel: str, rule: Rule) -> None:
    schedule = replace(SCHEDULE, rule=rule)
    found: list[Deviation] = []
    for place, (model, lattice, point) in enumerate(CASES):
        own = replace(model, realisation=point["realisation"])
        states = enumerate_states(lattice, own, used={"H"})
        swept = {name: value for name, value in point.items() if name != "realisation"}
        for again in range(2):
            seed = seed_of(33, place, again)
            found += deviations(own, lattice, swept, schedule, states, seed, kernel=kernel)
    z = [deviation.z for deviation in found]
    print(f"{len(z)} values, rms z {root_mean_square(z):.3f}, worst {max(map(abs, z)):.2f}")
    assert len(z) > 120
    assert max(map(abs, z)) < 5
    assert 0.8 < root_mean_square(z) < 1.2


def test_energies_too_many_to_enumerate_are_refused() -> None:
    model = Ising(J=[1.0, 0.5, 0.2], bonds=TABLES["normal"], realisation=0)
    with pytest.raises(RequestError, match="too many possible energies"):
        enumerate_states(square(4), model)


@pytest.mark.parametrize(
    ("lattice", "J", "name", "kernel"),
    [
        (square(4), 1.0, "normal", "lanes"),
        (cubic(4), 1.0, "uniform", "lanes"),
        (triangular(4), 1.0, "normal", "lanes"),
        (square(4), [1.0, 0.5], "normal", "reference"),
        (square(4), [1.0, 0.5], "bimodal", "lanes"),
    ],
)
def test_six_neighbours_run_in_lanes_and_with_signs_alone_any(
    lattice: Lattice, J: Any, name: str, kernel: str
) -> None:
    model = Ising(J=J, bonds=TABLES[name])
    assert LatticeKernel(lattice, model, SCHEDULE, tuple(AXES)).name == kernel


@pytest.mark.parametrize("rule", ["heat_bath", "metropolis"])
@pytest.mark.parametrize("name", TABLES)
def test_a_points_bits_depend_on_its_own_bonds_alone(name: str, rule: Rule) -> None:
    """In any company."""
    points = {"T": np.linspace(0.01, 4.0, 11), "realisation": np.arange(11.0) % 4}
    seeds, model = seeds_of(34, points=11), Ising(bonds=TABLES[name])
    schedule = Schedule(5, 6, 2, rule=rule)
    whole = sample(model, square(5), points, schedule, seeds)
    for chosen in ([3], [10, 2, 5], list(range(10, -1, -1))):
        axes = {name: axis[chosen] for name, axis in points.items()}
        part = sample(model, square(5), axes, schedule, seeds[chosen])
        assert np.array_equal(part.histogram, whole.histogram[chosen])
        assert np.array_equal(part.moment_sum, whole.moment_sum[chosen])


@pytest.mark.parametrize(("numbers", "bits"), [(thresholds, 32), (metropolis_thresholds, 33)])
def test_the_width_of_a_register_changes_no_bit(
    numbers: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], bits: int
) -> None:
    rng, lattice = np.random.default_rng(3), square(4)
    visited = visits(lattice.neighbors(1))
    terms = site_terms(numbers(rng.random((8, lattice.sites, 64))), bits)
    found = []
    for width in (4, 8):
        spins, state = aligned((lattice.sites, 8)), seed_state(seeds_of(35, points=8))
        advance_site_tables(spins, visited, terms, state, 5, (0,) * width)
        found.append((spins, state))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_so_cold_that_every_factor_underflows_the_ground_state_is_found(name: str) -> None:
    model = Ising(bonds=TABLES[name], realisation=0)
    found = sample(model, square(4), {"T": [1e-3]}, Schedule(50, 4, 1), seeds_of(36, points=1))
    energies = found.moment_sum[0, :, 4] / found.samples
    states = enumerate_states(square(4), model)
    ground = states.expect(T=0.05)["energy"] * 16
    assert energies.min() == pytest.approx(ground, abs=1e-6)


def test_tempering_trades_lattices_of_the_same_bonds() -> None:
    model = Ising(bonds=TABLES["normal"], realisation=1)
    temperatures = np.array([1.5, 2.0, 2.6])
    schedule = Schedule(40, 40, 2, tempering_mcs=2)
    found = sample(model, square(4), {"T": temperatures}, schedule, seeds_of(37, points=3))
    states = enumerate_states(square(4), model)
    energies = found.moment_sum[:, :, 4].mean(axis=1) / found.samples / 16
    exact = [states.expect(T=T)["energy"] for T in temperatures]
    spread = found.moment_sum[:, :, 4].std(axis=1) / found.samples / 16 / 8
    assert (found.swaps_accepted[:2].sum(axis=1) > 0).all()
    assert np.abs((energies - exact) / spread).max() < 4


def test_matrix_and_shells_have_a_draw_for_every_bond() -> None:
    matrix = [[0, 0.5, 0], [1, 0, 1], [0, 0.5, 0]]
    for couplings, J2 in ((matrix, None), (None, 0.5)):
        model = Ising(couplings=couplings, J2=J2, bonds=TABLES["uniform"], realisation=0)
        lattice, used = square(6), {"realisation", "J2"} if J2 else {"realisation"}
        orbits = model.disordered(model.orbits(lattice, used), lattice, {"realisation": 0})
        drawn = [next(iter(o.values.values()))[0] for o in orbits if o.clusters.shape[1] == 2]
        assert len(set(drawn)) == len(drawn) == 36 * (4 if J2 else 2)


@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
def test_draws_have_the_moments_of_their_distribution(name: str) -> None:
    bonds = RandomBonds.of(TABLES[name])
    draws = bonds.draw(square(128), 0, 2**15)
    values = dict(bonds.values)
    spread = {
        "normal": values.get("sd", 0.0),
        "uniform": (values.get("high", 0.0) - values.get("low", 0.0)) / np.sqrt(12),
        "bimodal": 2 * np.sqrt(0.3 * 0.7),
    }[name]
    assert draws.std() == pytest.approx(spread, rel=0.02)
    assert abs(draws.mean() - bonds.mean) < 4 * spread / 2**7.5
    assert abs(np.corrcoef(draws, bonds.draw(square(128), 1, 2**15))[0, 1]) < 4 / 2**7.5
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / 2**7.5


def test_draws_are_the_same_on_every_machine_and_of_every_seed_others() -> None:
    bonds = RandomBonds.of(TABLES["normal"])
    assert bonds.weights(square(4), 1, 4).tolist() == FOUR
    other = RandomBonds.of({**TABLES["normal"], "seed": 6})
    assert other.weights(square(4), 1, 4).tolist() != FOUR
    stretched = RandomBonds.of({**TABLES["normal"], "sd": 0.8})
    assert stretched.draw(square(4), 1, 4) - 1 == pytest.approx(
        2 * (bonds.draw(square(4), 1, 4) - 1), abs=1e-5
    )


def test_a_spec_is_read_both_ways_and_realisations_extend() -> None:
    sweep = Sweep.from_toml(SPEC)
    assert Sweep.from_toml(sweep.to_toml()).digest == sweep.digest
    assert Sweep.from_toml(SPEC.replace("sd = 0.2", "sd = 0.3")).digest != sweep.digest
    assert sweep.kernel.name == "lanes"
    assert sweep.extended({"realisation": [8, 9]}).shape == (10, 2)


@pytest.mark.parametrize(
    ("table", "reported"),
    [
        ({"distribution": "cauchy"}, "neither a mean nor a variance"),
        ({"distribution": "pareto", "exponent": 1.5}, "infinite moments"),
        ({"distribution": "gamma"}, "distribution of the bonds is unknown"),
        ({"sd": 0.2}, "distribution of the bonds is unknown"),
        ({"distribution": "normal"}, "need the key sd"),
        ({"distribution": "normal", "sd": np.inf}, "sd is out of bounds"),
        ({"distribution": "normal", "sd": -0.1}, "sd is out of bounds"),
        ({"distribution": "normal", "sd": 0.1, "width": 1.0}, "unknown key width"),
        ({"distribution": "uniform", "low": 1.0, "high": 0.0}, "low > high"),
        ({"distribution": "bimodal", "negative": 1.2}, "negative is out of bounds"),
        ({"distribution": "normal", "sd": 0.1, "seed": -1}, "seed of the bonds"),
        ({"distribution": "normal", "sd": 0.1, "symmetric": False}, "no detailed balance"),
        ("normal", "bonds must be a table"),
    ],
)
def test_bonds_that_have_no_average_are_refused(table: object, reported: str) -> None:
    with pytest.raises(RequestError, match=reported):
        RandomBonds.of(table)


@pytest.mark.parametrize(
    ("model", "swept", "schedule", "keep", "reported"),
    [
        (NORMAL, ("T",), SCHEDULE, (), "random bonds need the parameter realisation"),
        (Ising(), ("T", "realisation"), SCHEDULE, (), "realisation needs random bonds"),
        (NORMAL, ("T", "realisation"), SCHEDULE, ("samples",), "random bonds cannot keep"),
    ],
)
def test_what_random_bonds_need_is_told(
    model: Ising, swept: tuple[str, ...], schedule: Schedule, keep: tuple[str, ...], reported: str
) -> None:
    with pytest.raises(RequestError, match=reported):
        LatticeKernel(square(4), model, schedule, swept, keep)


def test_cluster_updates_and_halves_of_realisations_are_refused() -> None:
    clusters = Schedule(10, 5, 2, update="cluster")
    with pytest.raises(RequestError, match="do not support random bonds"):
        Sweep(triangular(4), NORMAL, {"realisation": [0], "T": [3.0]}, clusters)
    with pytest.raises(RequestError, match="whole number"):
        Sweep(square(4), NORMAL, {"realisation": [0.5], "T": [3.0]}, SCHEDULE)


def test_an_average_over_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="no dimension realisation"):
        disorder_average(xr.Dataset({"energy": ("T", [1.0])}))
