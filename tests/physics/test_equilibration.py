"""Global flips, starts and flags against cold lattices whose truth is known."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from latticescape.physics import Ising, Lattice, PairAlloy, Schedule, sample, square
from latticescape.physics.exact.enumeration import enumerate_states
from latticescape.physics.kernels.equilibration import equilibration
from latticescape.physics.kernels.lattice_kernel import LatticeKernel, LatticeModel
from latticescape.physics.kernels.observables import observe
from latticescape.physics.models.model import REPLICAS
from tests.support.statistics import seed_of, seeds_of

SCHEDULE = Schedule(equilibration_mcs=1000, samples=500, stride_mcs=10, rule="metropolis")
NAMES = ("energy", "magnetization", "susceptibility", "heat_capacity")

Floats = npt.NDArray[np.float64]


@dataclass
class Cold:
    """Points of one model with exact values, and the energy of its smallest excitation."""

    model: LatticeModel
    lattice: Lattice
    points: dict[str, Floats]
    exact: dict[str, Floats]
    excitation: float

    def z(self, found: dict[str, np.ndarray]) -> Floats:
        """The largest |z| of every point. A run cannot tell less than one event in all of its
        samples: a single excitation, or a visit of the opposite phase."""
        sites, T = self.lattice.sites, self.points["T"]
        events = {
            "energy": self.excitation / sites,
            "magnetization": 2.0,
            "susceptibility": 4 * sites / T,
            "heat_capacity": self.excitation**2 / sites / T**2,
        }
        samples = REPLICAS * SCHEDULE.samples
        errors = {n: np.hypot(found[f"{n}_se"], event / samples) for n, event in events.items()}
        z = [np.abs(found[n] - exact) / errors[n] for n, exact in self.exact.items()]
        return np.max(z, axis=0)


def grid(**axes: list[float]) -> dict[str, Floats]:
    values = np.meshgrid(*axes.values(), indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, values, strict=True)}


def ising() -> Cold:
    points = grid(T=[0.8, 1.0, 1.2, 1.5, 1.8, 2.2], H=[0.0, 0.02, 0.05, 0.1, 0.2, 0.4, -0.15])
    states = enumerate_states(square(4), Ising(), used=points)
    truth = [states.expect(T=T, H=H) for T, H in zip(*points.values(), strict=True)]
    exact = {name: np.array([row[name] for row in truth], float) for name in NAMES}
    return Cold(Ising(), square(4), points, exact, excitation=8.0)


def glass() -> Cold:
    """Normal bonds of mean 0, with all 2^16 states."""
    model = Ising(bonds={"distribution": "normal", "mean": 0.0, "sd": 1.0, "seed": 1})
    points = grid(T=[0.3, 0.5, 0.8, 1.2], H=[0.0, 0.1, 0.25], realisation=[0, 1, 2, 3])
    lattice = square(4)
    spins = (np.arange(2**16)[:, None] >> np.arange(16) & 1) * 2 - 1
    bonds, m = lattice.bonds(1), spins.mean(axis=1)
    products = (spins[:, bonds[:, 0]] * spins[:, bonds[:, 1]]).astype(float)
    rows = []
    for T, H, realisation in zip(*points.values(), strict=True):
        assert model.bond_disorder is not None
        weights = model.bond_disorder.draw(lattice, int(realisation), len(bonds))
        e = -(products @ weights) / 16 - H * m
        p = np.exp(-16 * (e - e.min()) / T)
        p /= p.sum()
        variances = [p @ (v - p @ v) ** 2 for v in (m, e)]
        rows.append([p @ e, p @ m, 16 * variances[0] / T, 16 * variances[1] / T**2])
    return Cold(model, lattice, points, dict(zip(NAMES, np.transpose(rows), strict=True)), 1.0)


def alloy() -> Cold:
    points = grid(w1=[-1.0, -0.5, 0.5, 1.0], T=[0.15, 0.25, 0.4, 0.7, 1.0], x=[0.25, 0.5])
    truth = []
    for w1, T, x in zip(*points.values(), strict=True):
        states = enumerate_states(square(4), PairAlloy(), n_species1=round(16 * x))
        truth.append(states.expect(w1=w1, T=T, x=x))
    exact = {n: np.array([row[n] for row in truth], float) for n in ("energy", "heat_capacity")}
    return Cold(PairAlloy(), square(4), points, exact, excitation=6.0)


def simulated(cold: Cold, seed: int) -> dict[str, np.ndarray]:
    kernel = LatticeKernel(cold.lattice, cold.model, SCHEDULE, swept=tuple(cold.points))
    number = len(cold.points["T"])
    return kernel.compute(cold.points, seeds_of(seed, points=number))


@pytest.mark.slow
@pytest.mark.statistical
def test_law_2_a_cold_point_is_right_or_flagged() -> None:
    """No point is wrong by 5 standard errors without a flag, and at most 5 % of those that are
    right have one."""
    tables = [
        (cold, simulated(cold, seed)) for seed, cold in enumerate((ising(), glass(), alloy()))
    ]
    z = np.concatenate([cold.z(found) for cold, found in tables])
    trusted = np.concatenate([found["equilibrated"] for _, found in tables])
    print(f"{len(z)} points, {np.sum(~trusted)} flagged, {np.sum(z > 5)} wrong")
    assert len(z) == 130
    assert not np.any(trusted & (z > 5))
    assert np.sum(~trusted & (z < 5)) <= 0.05 * len(z) + 4  # barely right while frozen
    assert np.sum(z > 5) >= 5


@pytest.mark.parametrize("kernel", ["lanes", "reference", "species"])
def test_global_flips_lead_from_phase_to_phase(kernel: str) -> None:
    """On 3×3 sites at T = 1, H = 0.05 the wrong phase has the share 0.29."""
    point = {"T": np.array([1.0]), "H": np.array([0.05])}
    schedule = Schedule(100, 200, 8)
    sums = sample(Ising(), square(3), point, schedule, seed_of(3)[None], kernel=kernel)
    couplings = np.array([[-1.0, -0.05]])
    found = observe(sums, couplings, point["T"])
    exact = enumerate_states(square(3), Ising(), used=point).expect(T=1.0, H=0.05)
    z = (found["magnetization"][0] - exact["magnetization"]) / found["magnetization_se"][0]
    assert abs(z) < 5
    assert found["magnetization_se"][0] < 0.02
    assert found["equilibrated"][0]


@dataclass
class Sums:
    features: npt.NDArray[np.int64]
    first_half: npt.NDArray[np.int64]


def equilibrated(early: Floats, late: Floats, starts: npt.NDArray[np.int64]) -> bool:
    """The flag of features (64, features) in the halves of 200 samples, with as many steps before;
    without moments."""
    first = np.rint(96 * early).astype(np.int64)
    sums = Sums(first + np.rint(104 * late).astype(np.int64), first)
    found = equilibration(sums, np.zeros((0, 2, REPLICAS)), 200, starts, ratio=0.2)
    return bool(found["equilibrated"])


def test_independent_replicas_are_flagged_as_rarely_as_said() -> None:
    """Of 1000 points one is expected, with normal and with few, large deviations."""
    rng, starts = np.random.default_rng(1), np.arange(REPLICAS) % 2
    for rare in (1.0, 0.1):
        seen = rng.random((1000, 2, REPLICAS, 2)) < rare
        halves = 1000 * rng.normal(size=seen.shape) * seen
        flagged = [not equilibrated(early, late, starts) for early, late in halves]
        assert sum(flagged) <= 6


@pytest.mark.parametrize("fault", ["drift", "starts", "memory"])
def test_what_depends_on_start_or_time_is_flagged(fault: str) -> None:
    rng, starts = np.random.default_rng(2), np.arange(REPLICAS) % 2
    early, late = 1000 * rng.normal(size=(2, REPLICAS, 1))
    assert equilibrated(early, late, starts)
    if fault == "drift":
        late += 1500
    if fault == "starts":
        early[starts == 1] += 2000
        late[starts == 1] += 2000
    if fault == "memory":
        stays = 2000 * rng.normal(size=(REPLICAS, 1))
        early, late = early + stays, late + stays
    assert not equilibrated(early, late, starts)
