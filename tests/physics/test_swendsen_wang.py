"""Cluster updates: their parts, their laws, the exact torus, and what they are for."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from latticescape.deploy.cli.main import main
from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    RequestError,
    Samples,
    Schedule,
    sample,
)
from latticescape.physics.exact.closed_forms import CRITICAL_TEMPERATURE, kaufman
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kernels.observables import observe
from latticescape.physics.kernels.reference import Task, clusters_of, energy_steps_of
from latticescape.physics.kernels.swendsen_wang import (
    PLANES,
    bonds_of,
    coins,
    hold_bonds,
    join,
    thresholds,
    turn,
)
from latticescape.physics.lattices.lattice import cubic, honeycomb, square, triangular
from latticescape.sweeps import Sweep
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.store import create
from tests.support.runs import SPEC
from tests.support.statistics import seed_of

TC = CRITICAL_TEMPERATURE["square"]
POINTS = [(1.0, 0.0), (1.8, 0.0), (2.27, 0.5), (3.0, 0.1), (5.0, 0.0)]
LATTICES = [square(5), triangular(5), honeycomb(4), cubic(4)]
MODEL = Ising(J=1.0, J2=0.25)
CLUSTER_SPEC = SPEC.replace("H = { start = 0.0, stop = 1.0, num = 3 }\n", "") + 'update = "cluster"'


def updated(*times: int) -> Schedule:
    return Schedule(*times, update="cluster")


def task_of(lattice: Lattice, T: float) -> Task:
    clusters = clusters_of(MODEL.orbits(lattice, ("J2",)))
    couplings = np.array([-1.0, -0.25, 0.0])
    jumps = energy_steps_of(clusters, couplings)
    return Task(seed_of(1), T, couplings, jumps, np.full(64, 0.5), -1)


@pytest.mark.parametrize("p", [0.0, 2.0**-12, 0.1, 0.5, 0.5858, 0.999])
def test_coins_fall_as_often_as_they_should_in_every_place(p: float) -> None:
    state, throws = seed_of(1, int(p * 1e6)), 20_000
    threshold = np.uint64(p * 2.0**PLANES)
    words = np.array([coins(state, threshold) for _ in range(throws)], np.uint64)
    bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    spread = np.sqrt(p * (1 - p) / throws)
    assert np.all(np.abs(bits.mean(axis=0) - p) <= 5 * spread)
    assert abs(bits.mean() - p) <= 5 * spread / 8
    together = (bits[:, :-1] & bits[:, 1:]).mean(axis=0)
    assert np.all(np.abs(together - p**2) <= 5 * np.sqrt(p**2 / throws) + 1e-4)


def test_the_highest_threshold_lets_every_bond_hold() -> None:
    assert coins(seed_of(2), np.uint64(2**PLANES - 1)) == np.uint64(2**64 - 1)


def test_the_chance_of_a_bond_follows_from_its_orbit() -> None:
    lattice = triangular(4)
    bonds = bonds_of(MODEL.orbits(lattice, ("J2",)))
    found = thresholds(task_of(lattice, 3.0)) / 2.0**PLANES
    assert found == pytest.approx([1 - np.exp(-2 / 3.0), 1 - np.exp(-0.5 / 3.0), 0.0], abs=1e-15)
    assert np.diff(bonds.start).tolist() == [48, 48, 0]


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.kind)
def test_bonds_hold_between_like_spins_and_clusters_are_the_connected_components(
    lattice: Lattice,
) -> None:
    bonds, state = bonds_of(MODEL.orbits(lattice, ("J2",))), seed_of(3)
    spins = np.random.default_rng(3).integers(0, 2, lattice.sites).astype(np.uint8)
    before, labels = spins.copy(), np.arange(lattice.sites, dtype=np.uint32)
    held = np.zeros(len(bonds.ends), np.uint32)
    number = hold_bonds(spins, state, bonds, thresholds(task_of(lattice, 4.0)), held)
    chosen = bonds.ends[held[:number]]
    assert 0 < number < len(bonds.ends)
    assert len(np.unique(held[:number])) == number
    assert np.all(before[chosen[:, 0]] == before[chosen[:, 1]])

    graph = coo_array((np.ones(number), tuple(chosen.T)), shape=(lattice.sites,) * 2)
    count, components = connected_components(graph, directed=False)
    join(labels, bonds.ends, held[:number])
    assert np.all(labels <= np.arange(lattice.sites))
    assert np.sum(labels == np.arange(lattice.sites)) == count
    assert np.array_equal(components[labels], components)

    turn(spins, state, labels)
    assert np.array_equal(labels, np.arange(lattice.sites))
    assert np.all(spins[chosen[:, 0]] == spins[chosen[:, 1]])
    assert 0 < np.sum(spins != before) < lattice.sites


def sampled(points: list[int]) -> Samples:
    axes = {name: np.array([POINTS[i][k] for i in points]) for k, name in enumerate(("T", "J2"))}
    seeds = np.stack([seed_of(4, i) for i in points])
    return sample(Ising(), square(4), axes, updated(3, 4, 2), seeds)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(len(POINTS))), cut=st.integers(1, len(POINTS) - 1))
def test_law_1_a_points_bits_do_not_depend_on_its_companions(order: list[int], cut: int) -> None:
    whole = sampled(list(range(len(POINTS))))
    parts = [sampled(part) for part in (order[:cut], order[cut:])]
    for name in ("feature_sum", "feature_checkpoints", "moment_sum", "histogram"):
        again = np.concatenate([getattr(part, name) for part in parts])
        assert again.tobytes() == getattr(whole, name)[order].tobytes(), name


def test_an_orbit_without_energy_changes_no_bit() -> None:
    schedule, seeds = updated(3, 4, 2), seed_of(5)[None, :]
    bare = sample(Ising(T=2.0), square(5), {}, schedule, seeds)
    axes = {"J2": [0.0], "J3": [0.0], "H": [0.0]}
    more = sample(Ising(T=2.0), square(5), axes, schedule, seeds)
    assert bare.moment_sum.tobytes() == more.moment_sum.tobytes()
    assert bare.histogram.tobytes() == more.histogram.tobytes()


def test_without_any_coupling_all_spins_are_free() -> None:
    sums = sample(Ising(J=0.0, T=1.0), square(8), {}, updated(0, 500, 1), seed_of(6)[None, :])
    up = sums.feature_sum[0, :, 1] / 500
    assert abs(up.mean()) < 5 * 8 / np.sqrt(500 * 64)
    assert sums.moment_sum[0, :, 2].mean() / 500 == pytest.approx(64, rel=0.05)


def test_at_the_lowest_temperature_the_lattice_turns_as_one() -> None:
    sums = sample(Ising(J=1e300, T=1e-300), cubic(3), {}, updated(0, 100, 1), seed_of(7)[None, :])
    assert np.all(sums.moment_sum[0, :, 1] == 100 * 27)
    assert abs(sums.moment_sum[0, :, 0].mean() / 27 / 100) < 5 / np.sqrt(6400)


@pytest.mark.parametrize(
    ("model", "axes", "word"),
    [
        (Ising(T=2.0, H=0.1), {}, "do not support a field .*H = 0.1"),
        (Ising(T=2.0), {"H": [-0.1], "mu": [2.0]}, "do not support a field .*H = -0.1"),
        (Ising(T=2.0, J=-1.0), {}, "negative couplings .*J = -1"),
        (Ising(T=2.0), {"J3": [-0.5]}, "negative couplings .*J3 = -0.5"),
        (PairAlloy(x=0.5, w1=0.1), {}, "composition .*pair_alloy"),
    ],
)
def test_what_clusters_cannot_simulate_is_refused(
    model: Model, axes: dict[str, list[float]], word: str
) -> None:
    with pytest.raises(RequestError, match=word):
        sample(model, square(6), axes, updated(1, 2, 1), seed_of(8)[None, :])


@pytest.mark.parametrize(
    ("schedule", "kernel"),
    [
        (updated(1, 2, 1), "lanes"),
        (updated(1, 2, 1), "reference"),
        (Schedule(1, 2, 1), "swendsen_wang"),
    ],
)
def test_a_kernel_of_another_update_is_refused(schedule: Schedule, kernel: str) -> None:
    with pytest.raises(RequestError, match="does not support the model"):
        sample(Ising(T=2.0), square(4), {}, schedule, seed_of(9)[None, :], kernel=kernel)


def test_law_3_the_update_is_part_of_the_spec() -> None:
    cluster = Sweep.from_toml(CLUSTER_SPEC)
    again = Sweep.from_toml(cluster.to_toml())
    assert again.schedule.update == "cluster"
    assert again == cluster
    assert again.to_toml() == cluster.to_toml()
    local = CLUSTER_SPEC.replace("cluster", "local")
    left_out = CLUSTER_SPEC.replace('update = "cluster"', "")
    assert Sweep.from_toml(local).digest == Sweep.from_toml(left_out).digest != cluster.digest
    assert cluster.kernel.shortened(2).name == "swendsen_wang"


def test_a_field_is_refused_at_whatever_corner_of_the_grid_it_acts() -> None:
    grid = {"T": [2.0, 3.0], "mu": [0.0, 1.0], "H": [0.0, 0.5]}
    with pytest.raises(RequestError, match=r"T = 2, J = 1, mu = 1, H = 0.5"):
        Sweep(square(4), Ising(), grid, updated(1, 2, 1))
    for harmless in ({**grid, "mu": [0.0]}, {**grid, "H": [0.0]}):
        assert Sweep(square(4), Ising(), harmless, updated(1, 2, 1)).points > 1


def test_the_plan_and_the_store_name_the_kernel(tmp_path: Path) -> None:
    spec, sweep = tmp_path / "clusters.toml", Sweep.from_toml(CLUSTER_SPEC)
    spec.write_text(CLUSTER_SPEC)
    result = CliRunner().invoke(main, ["plan", str(spec), "--json"])
    assert json.loads(result.stdout)["kernel"] == "swendsen_wang 2"
    store = create(tmp_path / "s.zarr", sweep, plan(sweep))
    assert store.group.attrs["kernel"] == "swendsen_wang 2"


@pytest.mark.slow
@pytest.mark.statistical
def test_energy_and_heat_capacity_are_those_of_the_exact_torus() -> None:
    """L = 32 against Kaufman's solution, below, at and above Tc."""
    temperatures = np.array([2.0, TC, 2.5])
    found = estimates(32, temperatures, updated(50, 200, 3))
    energy, heat_capacity = kaufman(32, temperatures)
    for name, exact in (("energy", energy), ("heat_capacity", heat_capacity)):
        z = (found[name] - exact) / found[f"{name}_se"]
        assert np.abs(z).max() < 4, (name, z)
    assert np.all(found["energy_se"] < 2e-3)
    assert np.abs(found["energy_drift"] / found["energy_drift_se"]).max() < 4


@pytest.mark.slow
@pytest.mark.statistical
def test_at_tc_clusters_forget_many_times_faster_than_single_flips() -> None:
    """L = 64: the error of |m| after as many measured steps."""
    clusters = estimates(64, np.array([TC]), updated(100, 100, 5))
    flips = estimates(64, np.array([TC]), Schedule(5000, 100, 5))
    ratio = flips["magnetization_abs_se"] / clusters["magnetization_abs_se"]
    print(f"standard errors of |m|: {ratio[0]:.1f} to 1")
    assert ratio[0] > 4
    off = flips["magnetization_abs"] - clusters["magnetization_abs"]
    assert np.abs(off / flips["magnetization_abs_se"]) < 4


def estimates(size: int, temperatures: np.ndarray, schedule: Schedule) -> dict[str, np.ndarray]:
    model, axes, number = Ising(), {"T": temperatures}, len(temperatures)
    seeds = np.stack([seed_of(10, i) for i in range(number)])
    sums = sample(model, square(size), axes, schedule, seeds)
    couplings = model.coefficients(complete(model, axes, number), sums.features)
    return observe(sums, couplings, temperatures)
