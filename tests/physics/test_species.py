"""Any species, clusters and lattices agree with the sum over all arrangements."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from latticescape.physics import (
    BlumeCapel,
    Clock,
    ClusterExpansion,
    Lattice,
    LatticeGas,
    Potts,
    Schedule,
    Term,
    bcc,
    chain,
    crystal,
    diamond,
    fcc,
    hcp,
    honeycomb,
    kagome,
    oblique,
    rectangular,
    square,
    triangular,
)
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kernels.observables import jackknife
from latticescape.physics.lattices.site_classes import ClassChoice
from latticescape.physics.registry import kernel_for
from tests.support.brute_force import exact_averages
from tests.support.statistics import (
    ESTIMATES,
    Deviation,
    class_deviations,
    root_mean_square,
    seed_of,
)

AB, ABC = ("A", "B"), ("A", "B", "C")
OPEN, PERIODIC = "open", "periodic"


@dataclass(frozen=True)
class Case:
    """A model on a small lattice, and the points to compute."""

    lattice: Lattice
    model: ClusterExpansion
    points: tuple[dict[str, float], ...]
    classes: Any = field(default_factory=ClassChoice)


def pair(value: Any = "unlike", shell: int = 1) -> Term:
    return Term(pair=shell, value=value)


def canonical(species: Any, terms: Mapping[str, Term], **fixed: float) -> ClusterExpansion:
    return ClusterExpansion(species, terms, **fixed)


def open_to_exchange(species: Any, terms: Mapping[str, Term], **fixed: float) -> ClusterExpansion:
    return ClusterExpansion(species, terms, ensemble="semi_grand", **fixed)


TRIANGLE = Term(cluster=[[0, 0], [0, 1], [1, 0]], value=[0, 1, 0, 0])
# A right angle of the square lattice, less symmetric than its table.
ANGLE = Term(cluster=[[0, 1], [0, 0], [1, 0]], value="product")
PLAQUETTE = Term(cluster=[[0, 0], [0, 1], [1, 0], [1, 1]], value="product")
TETRAHEDRON = Term(
    cluster=[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], value="count", symmetry="space_group"
)
THREE_SPECIES_PAIR = Term(
    pair=1,
    value={
        "A,A": 0, "A,B": 1, "A,C": 2, "B,A": 1, "B,B": -1, "B,C": 0, "C,A": 2, "C,B": 0, "C,C": 1,
    },
)  # fmt: skip
POTTS = {"J": pair("like")}
DIRECTIONS = {
    name: Term(cluster=[[0, 0], step], symmetry="translations")
    for name, step in (("w_c", [0, 1]), ("w_s", [1, -1]), ("w_d", [1, 0]))
}
ROCK_SALT = crystal(2, [[0, 1.0], [1.0, 0]], [[0, 0], [0.5, 0.5]], sublattice=["M", "X"])
TWO_SUBLATTICES = {"M": ("La", "Ca"), "X": ("vacancy", "O", "N")}

CASES = {
    "kagome": Case(
        kagome(2),
        open_to_exchange(AB, {"w": pair(), "w2": pair(shell=2)}),
        ({"T": 2.0, "w": 1.0, "w2": 0.2}, {"T": 3.0, "w": -1.0, "w2": 0.3, "mu_B": 0.5}),
    ),
    "kagome at fixed composition": Case(
        kagome(2),
        canonical(AB, {"w": pair(), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.4, "w2": 0.1, "x": 0.5}, {"T": 1.0, "w": -0.4, "w2": 0.0, "x": 0.25}),
    ),
    "rectangular, two directions": Case(
        rectangular([3, 4], ratio=1.3),
        canonical(AB, {"wx": pair(), "wy": pair(shell=2)}),
        ({"T": 1.0, "wx": 0.3, "wy": -0.4, "x": 0.5}, {"T": 2.0, "wx": 1.0, "wy": 0.2, "x": 0.25}),
    ),
    "oblique": Case(
        oblique([3, 4], ratio=1.2, angle=75.0),
        open_to_exchange(AB, {"w": pair(), "w2": pair(shell=2), "w3": pair(shell=3)}),
        ({"T": 2.0, "w": 0.5, "w2": -0.4, "w3": 0.3, "mu_B": 0.2},),
    ),
    "honeycomb with different species": Case(
        crystal(
            [2, 2],
            np.array([[np.sqrt(3) / 2, 1.5], [np.sqrt(3), 0.0]]),
            [[0, 0], [1 / 3, 1 / 3]],
            sublattice=["M", "X"],
        ),
        open_to_exchange(TWO_SUBLATTICES, {"w": pair("product"), "w2": pair(shell=2)}),
        ({"T": 2.0, "w": 0.7, "w2": 0.4, "mu_O": 0.3, "mu_Ca": -0.2},),
    ),
    "bcc": Case(
        bcc([2, 2, 3]),
        canonical(AB, {"w": pair(), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.2, "w2": 0.1, "x": 0.5}, {"T": 1.0, "w": -0.1, "w2": 0.1, "x": 0.25}),
        "counts",
    ),
    "fcc with tetrahedra": Case(
        fcc([2, 2, 3]),
        open_to_exchange(AB, {"w": pair(), "t": TETRAHEDRON}),
        ({"T": 3.0, "w": 0.4, "t": 0.1, "mu_B": 1.0},),
        "counts",
    ),
    "hcp": Case(
        hcp([2, 2, 2]),
        canonical(AB, {"w": pair(), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.1, "w2": -0.1, "x": 0.5},),
        "counts",
    ),
    "diamond": Case(
        diamond([2, 2, 2]),
        open_to_exchange(AB, {"w": pair()}),
        ({"T": 2.0, "w": 0.8, "mu_B": 0.1}, {"T": 2.0, "w": -0.8, "mu_B": 0.0}),
    ),
    "chain of three species": Case(
        chain(8),
        canonical(ABC, {"w": THREE_SPECIES_PAIR}),
        ({"T": 1.0, "w": 0.6, "x_B": 0.375, "x_C": 0.25},),
    ),
    "chain, open": Case(
        chain(9, boundary=OPEN),
        open_to_exchange(ABC, {"w": THREE_SPECIES_PAIR}),
        ({"T": 1.5, "w": 0.6, "mu_B": 0.3, "mu_C": 0.5},),
    ),
    "square, one boundary open": Case(
        square([4, 4], boundary=[OPEN, PERIODIC]),
        canonical(AB, {"w": pair(), "p": PLAQUETTE}),
        ({"T": 1.0, "w": 0.3, "p": 0.2, "x": 0.5},),
    ),
    "triangular, all open": Case(
        triangular([4, 4], boundary=OPEN),
        open_to_exchange(AB, {"w": pair(), "t": TRIANGLE}),
        ({"T": 1.5, "w": 0.4, "t": -0.5, "mu_B": 0.3},),
    ),
    "right angles": Case(
        square([3, 4]),
        open_to_exchange(AB, {"a": ANGLE, "p": PLAQUETTE}),
        ({"T": 3.0, "a": 0.3, "p": -0.5, "mu_B": 0.2},),
    ),
    "directional couplings": Case(
        triangular([3, 4]),
        canonical(AB, DIRECTIONS),
        ({"T": 1.0, "w_c": 0.5, "w_s": -0.3, "w_d": 0.2, "x": 0.25},),
        "translations",
    ),
    "ternary, square": Case(
        square([3, 3]),
        canonical(ABC, {"w": THREE_SPECIES_PAIR}),
        ({"T": 2.0, "w": 0.5, "x_B": 1 / 3, "x_C": 1 / 3},),
        "counts",
    ),
    "Potts, three states": Case(square(3), Potts(3), ({"T": 1.0}, {"T": 2.0, "J": -1.0})),
    "Potts, four states": Case(square([2, 4]), Potts(4), ({"T": 1.2},), "counts"),
    "Potts in a field": Case(
        square([2, 4]),
        open_to_exchange(("A", "B", "C", "D"), POTTS),
        ({"T": 1.2, "J": -1.0, "mu_D": 0.3},),
        "counts",
    ),
    "clock": Case(chain(6), Clock(6), ({"T": 1.0},), "counts"),
    "Blume-Capel": Case(
        square(3),
        BlumeCapel(),
        ({"T": 1.5, "D": 0.5, "H": 0.2}, {"T": 3.0, "D": 1.5}, {"T": 1.5, "D": 0.0}),
    ),
    "lattice gas": Case(
        triangular([3, 4]),
        LatticeGas(),
        ({"T": 1.0, "w1": -0.4, "w2": 0.2, "x": 0.25},),
    ),
    "lattice gas with a chemical potential": Case(
        honeycomb([2, 3]),
        LatticeGas("semi_grand"),
        ({"T": 1.0, "w1": -0.6, "mu_atom": -0.5},),
    ),
    "numbers that are not whole": Case(
        triangular([3, 4]),
        canonical(AB, {"t": Term(cluster=[[0, 0], [0, 1], [1, 0]], value=[0, 0.5, -0.25, 0])}),
        ({"T": 1.0, "t": 1.0, "x": 0.5},),
    ),
    "exchange of neighbours": Case(
        kagome(2),
        ClusterExpansion(AB, {"w": pair()}, exchange="neighbors"),
        ({"T": 1.0, "w": 0.3, "x": 0.5},),
    ),
    "two sublattices at fixed composition": Case(
        ROCK_SALT,
        canonical(TWO_SUBLATTICES, {"w": pair("product"), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.4, "w2": 0.3, "x_M": 0.5, "x_X_O": 0.25, "x_X_N": 0.25},),
    ),
    "a second shell around": Case(
        square([3, 4]),
        open_to_exchange(AB, {"w": pair()}),
        ({"T": 2.0, "w": 0.5},),
        {"symmetry": "counts", "shells": [1, 2]},
    ),
}  # fmt: skip

# Every point also at higher temperatures.
WARMER = (1.0, 1.5, 2.5)

SCHEDULE = Schedule(equilibration_mcs=100, samples=400, stride_mcs=3)


def simulated(
    case: Case,
    point: dict[str, float],
    seed: int,
    factor: float = 1.0,
    schedule: Schedule = SCHEDULE,
) -> Any:
    kernel = kernel_for(
        case.lattice, case.model, schedule, tuple(point), (), ClassChoice.of(case.classes)
    )
    assert isinstance(kernel, LatticeKernel)
    axes = {name: np.array([v]) for name, v in {**point, "T": point["T"] * factor}.items()}
    return kernel, kernel.compute(axes, seed_of(17, seed)[None, :])


def deviations(
    name: str,
    factor: float = 1.0,
    schedule: Schedule = SCHEDULE,
    cases: Mapping[str, Case] = CASES,
) -> list[tuple[str, Deviation]]:
    found: list[tuple[str, Deviation]] = []
    case = cases[name]
    points = [point | {"T": point["T"] * warmer} for point in case.points for warmer in WARMER]
    for number, point in enumerate(points):
        seed = 100 * list(cases).index(name) + number
        kernel, results = simulated(case, point, seed, factor, schedule)
        exact = exact_averages(case.model, case.lattice, point, kernel.configurations)
        every = [
            Deviation(e, float(results[e][0]), float(exact[e]), float(results[f"{e}_se"][0]))
            for e in ESTIMATES
            if results[f"{e}_se"][0] > 1e-12
        ]
        value, error = jackknife(
            results["features"][0], lambda m: {str(k): m[..., k] for k in range(m.shape[-1])}
        )
        every += [
            Deviation(f, float(value[str(k)]), float(exact["features"][k]), float(error[str(k)]))
            for k, f in enumerate(kernel.features)
            if error[str(k)] > 1e-12
        ]
        every += class_deviations(results["histogram_replica"][0], exact["configurations"])
        found += [(name, deviation) for deviation in every]
    return found


@pytest.mark.slow
@pytest.mark.statistical
def test_law_2_any_species_agree_with_the_sum_over_arrangements() -> None:
    found = [deviation for name in CASES for deviation in deviations(name)]
    z = [deviation.z for _, deviation in found]
    worst = max(found, key=lambda pair: abs(pair[1].z))
    print(f"{len(z)} values, rms z {root_mean_square(z):.3f}, worst {worst}")
    assert len(z) >= 2000
    assert max(map(abs, z)) < 5, worst
    assert 0.9 < root_mean_square(z) < 1.1


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["kagome", "directional couplings", "Potts, three states"])
def test_law_2_a_wrong_temperature_fails(name: str) -> None:
    z = np.abs([deviation.z for _, deviation in deviations(name, factor=1.1)])
    assert z.max() > 5
