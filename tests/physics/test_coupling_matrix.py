"""Ising couplings beyond a few shells: the matrix around a site, and more shells."""

import numpy as np
import numpy.typing as npt
import pytest

from latticescape.physics import Ising, RequestError, Schedule, cubic, square, triangular
from latticescape.physics.exact.enumeration import enumerate_states
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.lattices.geometry import GEOMETRIES, MOST_SHELLS, neighbor_steps
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.ising import coupling_matrix
from latticescape.sweeps import Sweep
from tests.support.statistics import Deviation, deviations, root_mean_square, seed_of

SCHEDULE = Schedule(equilibration_mcs=100, samples=250, stride_mcs=4)

# Of two values, both in the heat bath: nearest neighbours, and some that are not of a shell.
TWO = np.zeros((5, 5))
TWO[2, [1, 3]] = TWO[[1, 3], 2] = 1.0
TWO[[0, 4], [1, 3]] = TWO[2, [0, 4]] = -0.3

# Of five: three of them are filters.
FIVE = TWO.copy()
FIVE[[1, 3], [1, 3]], FIVE[[0, 4], 2], FIVE[[0, 4], [0, 4]] = 0.25, 0.125, -0.05

# Of a spec without further shells, in the second format of descriptions.
DIGEST = "e7f076c9c5155b77115764c30d283cc6ee9a613020c7551507815566ff12251e"

SPEC = """
[lattice]
kind = "square"
size = 6
[model]
kind = "ising"
couplings = [[0.0, 0.5, 0.0], [1.0, 0.0, 1.0], [0.0, 0.5, 0.0]]
[grid]
T = [2.0, 3.0]
J = [0.5, 1.0]
[schedule]
equilibration_mcs = 20
samples = 10
stride_mcs = 2
"""


def energy(matrix: npt.NDArray[np.float64], spins: npt.NDArray[np.int64]) -> float:
    """−½ Σ_i Σ_d C(d) s_i s_{i+d}, site by site."""
    reach, total = len(matrix) // 2, 0.0
    for (r, c), value in np.ndenumerate(matrix):
        total -= value / 2 * np.sum(spins * np.roll(spins, (reach - r, reach - c), axis=(0, 1)))
    return total


def compared(factor: float = 1.0) -> list[Deviation]:
    found: list[Deviation] = []
    for number, matrix in enumerate((TWO, FIVE)):
        for place, (H, T, J) in enumerate(((0.0, 3.0, 1.0), (0.4, 2.5, 0.7), (-0.2, 3.0, -1.0))):
            states = enumerate_states(square(4), Ising(couplings=matrix))
            point = {"T": T, "H": H, "J": J}
            for kernel in ("lanes", "reference"):
                found += deviations(
                    Ising(couplings=matrix),
                    square(4),
                    point,
                    SCHEDULE,
                    states,
                    seed_of(21, number, place),
                    simulated_T=factor * T,
                    kernel=kernel,
                )
    return found


@pytest.mark.parametrize("size", [3, 4, 6])
@pytest.mark.parametrize("matrix", [TWO, FIVE], ids=["two", "five"])
def test_the_orbits_hold_the_energy_of_the_matrix(
    matrix: npt.NDArray[np.float64], size: int
) -> None:
    """Also on tori so small that neighbours repeat: each appearance counts."""
    lattice, model = square(size), Ising(T=1.0, J=1.3, couplings=matrix)
    spins = np.random.default_rng(size).integers(0, 2, (size, size))
    points = {"J": np.array([1.3]), "mu": np.ones(1), "H": np.zeros(1)}
    found = 0.0
    for orbit in model.orbits(lattice, {"J"}):
        for name, values in orbit.values.items():
            ones = spins.ravel()[orbit.clusters].sum(axis=1)
            found += model.coefficients(points, [name])[0, 0] * np.array(values)[ones].sum()
    assert found == pytest.approx(1.3 * energy(matrix, 2 * spins - 1))


@pytest.mark.statistical
def test_a_matrix_agrees_with_enumeration_in_lanes_and_reference() -> None:
    z = [deviation.z for deviation in compared()]
    print(f"{len(z)} values, rms z {root_mean_square(z):.3f}, worst {max(map(abs, z)):.2f}")
    assert len(z) > 100
    assert max(map(abs, z)) < 5
    assert 0.85 < root_mean_square(z) < 1.15


@pytest.mark.statistical
def test_a_temperature_off_by_ten_percent_fails() -> None:
    assert max(abs(deviation.z) for deviation in compared(factor=1.1)) > 5


def test_twelve_couplings_run_in_lanes_and_more_by_the_reference() -> None:
    """Every 5×5 matrix has twelve at most."""
    five, seven = (np.arange(float(n * n)).reshape(n, n) for n in (5, 7))
    kernels = [
        LatticeKernel(square(8), Ising(couplings=matrix), SCHEDULE, ("T",)).name
        for matrix in (TWO, FIVE, *(np.abs(m - m[::-1, ::-1]) for m in (five, seven)))
    ]
    assert kernels == ["lanes", "lanes", "lanes", "reference"]


def test_a_matrix_of_shells_has_the_bits_of_the_shells() -> None:
    shells = np.zeros((5, 5))
    shells[2, [1, 3]] = shells[[1, 3], 2] = 1.0
    for row in (1, 3):
        shells[row, [1, 3]] = 0.2
    seeds, axes = seed_of(3)[None, :], {"T": np.array([2.4])}
    found = [
        LatticeKernel(square(8), model, Schedule(10, 10, 2), ("T",)).compute(axes, seeds)
        for model in (Ising(couplings=shells), Ising(J=[1.0, 0.2]))
    ]
    assert np.array_equal(*(f["histogram_replica"] for f in found))
    assert np.allclose(*(f["energy"] for f in found), rtol=1e-12)


def test_an_axis_scales_the_matrix_and_specs_are_read_both_ways() -> None:
    sweep = Sweep.from_toml(SPEC)
    assert Sweep.from_toml(sweep.to_toml()).digest == sweep.digest
    other = Sweep.from_toml(SPEC.replace("0.5, 0.0]", "0.25, 0.0]"))
    assert other.digest != sweep.digest
    assert sweep.kernel.name == "lanes"


@pytest.mark.parametrize("kind", list(GEOMETRIES))
def test_shells_are_complete_and_further_out_one_by_one(kind: str) -> None:
    distances = []
    for shell in range(1, MOST_SHELLS + 1):
        steps = neighbor_steps(kind, shell)[0]
        assert len({step.vector for step in steps}) == len(steps)
        lengths = {round(float(np.linalg.norm(step.vector)), 6) for step in steps}
        assert len(lengths) == 1
        distances += lengths
    assert distances == sorted(set(distances))
    numbers = [len(neighbor_steps(kind, k)[0]) for k in range(1, MOST_SHELLS + 1)]
    assert (
        numbers
        == {
            "square": [4, 4, 4, 8, 4, 4, 8, 8],
            "triangular": [6, 6, 6, 12, 6, 6, 12, 6],
            "honeycomb": [3, 6, 3, 6, 6, 6, 6, 3],
            "cubic": [6, 12, 8, 6, 24, 24, 12, 30],
            "chain": [2] * 8,
            "kagome": [4, 4, 6, 8, 4, 6, 8, 6],
            "bcc": [8, 6, 12, 24, 8, 6, 24, 24],
            "fcc": [12, 6, 24, 12, 24, 8, 48, 6],
            "hcp": [12, 6, 2, 18, 12, 6, 12, 12],
            "diamond": [4, 12, 12, 6, 12, 24, 16, 12],
        }[kind]
    )


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("lattice", "point", "kernel"),
    [
        (square(4), {"T": 3.0, "J4": 0.2}, "lanes"),
        (triangular(4), {"T": 5.0, "J": 0.8, "J4": -0.1}, "reference"),
    ],
)
def test_a_fourth_shell_agrees_with_enumeration(
    lattice: Lattice, point: dict[str, float], kernel: str
) -> None:
    states = enumerate_states(lattice, Ising(), used=set(point))
    seed = seed_of(22)
    reported = {"H": 0.2, **point}
    found = deviations(Ising(), lattice, reported, SCHEDULE, states, seed, kernel=kernel)
    assert max(abs(deviation.z) for deviation in found) < 5


def test_five_shells_as_a_list_and_no_bit_of_a_spec_without_them_changes() -> None:
    five = Ising(J=[1.0, 0.1, 0.05, 0.02, 0.01])
    assert five.fixed_parameters["J5"] == 0.01
    assert five.orbits(cubic(5), five.fixed_parameters)[4].clusters.shape == (125 * 12, 2)
    assert Ising().fixed({"T"}) == {"J": 1.0, "J2": 0.0, "J3": 0.0, "mu": 1.0, "H": 0.0}
    plain = Sweep(square(8), Ising(), {"T": [2.0, 2.5], "H": [0.0]}, Schedule(10, 5, 2), seed=1)
    assert plain.digest == DIGEST


def uneven() -> npt.NDArray[np.float64]:
    """As the lecture's class draws them: every end of a bond for itself."""
    drawn = TWO + np.random.default_rng(1).normal(0, 0.1, TWO.shape)
    drawn[2, 2] = 0
    return drawn


@pytest.mark.parametrize(
    ("matrix", "reported"),
    [
        (uneven(), "no detailed balance"),
        (TWO + np.eye(5), "couples a site to itself"),
        (np.zeros((5, 5)), "all couplings are zero"),
        (TWO[:4], "must be a square matrix"),
        (TWO[:4, :4], "must be a square matrix"),
        ([[0, 1, 0], [1, 0], [0, 1, 0]], "must be a square matrix"),
        ([[0, "a", 0], [1, 0, 1], [0, "a", 0]], "must be a square matrix"),
        ([[0, np.nan, 0], [1, 0, 1], [0, np.nan, 0]], "must be a square matrix"),
        (1.0, "must be a square matrix"),
    ],
)
def test_a_matrix_that_is_no_energy_is_refused(matrix: object, reported: str) -> None:
    with pytest.raises(RequestError, match=reported):
        coupling_matrix(matrix)


@pytest.mark.parametrize(
    ("lattice", "model", "swept", "reported"),
    [
        (triangular(8), Ising(couplings=TWO), ("T",), "need the square lattice"),
        (square(2), Ising(couplings=TWO), ("T",), "its own neighbour"),
        (square(8), Ising(couplings=TWO, J2=0.1), ("T",), "J2 and a matrix of couplings"),
        (square(8), Ising(couplings=TWO), ("T", "J4"), "J4 and a matrix of couplings"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(
    lattice: Lattice, model: Ising, swept: tuple[str, ...], reported: str
) -> None:
    with pytest.raises(RequestError, match=reported):
        LatticeKernel(lattice, model, SCHEDULE, swept)
