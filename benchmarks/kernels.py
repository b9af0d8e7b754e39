"""Attempted updates per nanosecond of one core, for every kind of kernel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.timing import EVERY_MCS, Work, alone, one_core
from latticescape.physics import (
    Adatoms,
    ClusterExpansion,
    Ising,
    Lattice,
    LatticeGas,
    PairAlloy,
    Schedule,
    SolidSolution,
    Term,
    ThreeBodyAlloy,
    sample,
)
from latticescape.physics.kernels.boltzmann import occupation
from latticescape.physics.kernels.lattice_kernel import (
    MULTISPIN,
    REFERENCE,
    SPECIES,
    LatticeModel,
    kernel_of,
    parameters_used,
)
from latticescape.physics.kernels.multispin.counting import count_unlike, count_up
from latticescape.physics.kernels.multispin.heat_bath import advance, rule, visits
from latticescape.physics.kernels.multispin.simd import WORDS, aligned
from latticescape.physics.kernels.multispin.thresholds import seed_state, threshold_planes
from latticescape.physics.kinetics.kernel import AdatomKernel
from latticescape.physics.lattices.lattice import (
    bcc,
    cubic,
    diamond,
    fcc,
    honeycomb,
    kagome,
    square,
    triangular,
)
from latticescape.physics.models.model import REPLICAS


@dataclass(frozen=True)
class Case:
    """A point of a model on a lattice."""

    name: str
    model: LatticeModel
    lattice: Lattice
    point: dict[str, float]
    stride_mcs: int = EVERY_MCS

    @property
    def title(self) -> str:
        """Name and size."""
        return f"{self.name} L={self.lattice.linear_size}"

    def at(self, size: int) -> "Case":
        """The same on a lattice of another size."""
        return replace(self, lattice=Lattice(self.lattice.kind, size))

    def work(self, kernel: str | None = None) -> Work:
        """Our simulation of it; energy, moments to m⁴ and histogram measured every 10 MCS, or as
        the case says.

        Lane kernels take eight points at once, scalar ones are given one.
        """
        used = parameters_used(self.model, self.point)
        lanes = (kernel or kernel_of(self.model, self.lattice, used)) == MULTISPIN
        points = WORDS if lanes else 1
        axes = {axis: np.full(points, value) for axis, value in self.point.items()}
        seeds = np.arange(4 * points, dtype=np.uint64).reshape(points, 4)

        def run(strides: int) -> None:
            schedule = Schedule(0, strides, self.stride_mcs)
            sample(self.model, self.lattice, axes, schedule, seeds, kernel=kernel)

        return Work(run, points * REPLICAS * self.lattice.sites * self.stride_mcs, least=2)


class BareCase(Case):
    """An Ising model of nearest neighbours, energy and magnetization measured alone."""

    def work(self, kernel: str | None = None) -> Work:
        """The lane kernel itself, counting up spins and unlike bonds every 10 MCS."""
        neighbors, bonds = self.lattice.neighbors(1), self.lattice.bonds(1)
        sites, z = np.arange(len(neighbors), dtype=np.int32)[:, None], neighbors.shape[1]
        rise = 2 * (z - 2 * np.arange(z + 1)) / self.point["T"]
        chances = np.repeat(occupation(rise)[:, None], WORDS, axis=1)
        table, visited = rule(threshold_planes(chances), [z]), visits(neighbors)
        state = seed_state(np.random.default_rng(1).integers(0, 2**64, (WORDS, 4), np.uint64))
        spins = aligned((len(neighbors), WORDS))

        def run(strides: int) -> None:
            for _ in range(strides):
                advance(spins, visited, table, state, EVERY_MCS)
                count_up(spins, sites)
                count_unlike(spins, bonds)

        return Work(run, WORDS * REPLICAS * len(neighbors) * EVERY_MCS)


SQUARE = Case("ising square", Ising(), square(64), {"T": 2.269185})
PAIR_ALLOY = Case("pair alloy", PairAlloy(w1=-0.1, w2=-0.05), triangular(48), {"x": 0.5})
THREE_BODY = Case("three-body alloy", ThreeBodyAlloy(w1=-0.27, w2=-0.1), triangular(48), {"x": 0.5})
BARE = BareCase("square, energy and m alone", Ising(), square(64), SQUARE.point)
# Every lattice at its critical temperature.
ISING = [
    SQUARE,
    replace(SQUARE, name="ising square in a field", model=Ising(H=0.1)),
    Case("ising triangular", Ising(), triangular(64), {"T": 3.640957}),
    Case("ising honeycomb", Ising(), honeycomb(48), {"T": 1.518651}),
    Case("ising cubic", Ising(), cubic(16), {"T": 4.511523}),
]
TWO_SHELLS = Case("ising square, two shells", Ising(J2=0.2), square(64), {"T": 3.0})
CASES = [BARE, *ISING, TWO_SHELLS, PAIR_ALLOY, THREE_BODY]

# The lecture's other systems, beside the scalar reference.
NEIGHBORS = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
FIVE_BY_FIVE = np.pad(np.array(NEIGHBORS, float), 1)
FIVE_BY_FIVE[1:4, 1:4] += 0.5 * (np.indices((3, 3)).sum(axis=0) % 2 == 0)
FIVE_BY_FIVE[2, 2] = 0.0
WIDER = FIVE_BY_FIVE.copy()
WIDER[[0, 2, 2, 4], [2, 0, 4, 2]] = 0.1
SOLUTION = {"w_0": -0.3, "w_m1": 0.1, "w_1": 0.0}
NORMAL = {"distribution": "normal", "mean": 1.0, "sd": 0.2, "seed": 1}
SIGNS = {"distribution": "bimodal", "seed": 1}
OTHERS = [
    Case("solid solution", SolidSolution(**SOLUTION), square(64), {"x": 0.5}),
    Case(
        "solid solution, semi-grand",
        SolidSolution(**SOLUTION, ensemble="semi_grand"),
        square(64),
        {"dmu": 0.1},
    ),
    Case("couplings 5x5, two values", Ising(couplings=FIVE_BY_FIVE), square(64), {"T": 5.0}),
    Case("couplings 5x5, three values", Ising(couplings=WIDER), square(64), {"T": 5.0}),
    Case("random bonds", Ising(bonds=NORMAL, realisation=0), square(64), {"T": 2.5}),
    Case("spin glass cubic", Ising(bonds=SIGNS, realisation=0), cubic(16), {"T": 1.2}),
]


# Flips of two species on other lattices and with other clusters. The classes of 9 and 13 sites take
# as long to count as 60 steps, so that they are measured rarely.
RARELY = 1000
TRIANGLES = {"t": Term(cluster=[[0, 0], [0, 1], [1, 0]], value="product")}
FLIPS = [
    Case("ising kagome", Ising(), kagome(24), {"T": 2.143319}, RARELY),
    Case("ising kagome in a field", Ising(), kagome(24), {"T": 2.143319, "H": 0.1}, RARELY),
    Case(
        "gas that repels itself, kagome", LatticeGas("semi_grand"), kagome(24), {"w1": 1.0}, RARELY
    ),
    Case("ising diamond", Ising(), diamond(10), {"T": 2.705}, RARELY),
    Case("ising bcc", Ising(), bcc(12), {"T": 6.354}, RARELY),
    Case("ising fcc", Ising(), fcc(12), {"T": 9.797}, RARELY),
    Case(
        "triplets",
        ClusterExpansion(("A", "B"), TRIANGLES, ensemble="semi_grand"),
        triangular(48),
        {"T": 3.0, "t": 1.0},
        RARELY,
    ),
]


def report(
    *,
    size: int | None = None,
    seconds: float = 0.5,
    runs: int = 5,
    flips: Sequence[Case] = FLIPS,
) -> str:
    """A table of rates."""
    lines = [f"attempted updates/ns on one core, measured every {EVERY_MCS} MCS"]
    with one_core():
        for case in CASES:
            chosen = case.at(size) if size else case
            rate = alone(chosen.work(), seconds=seconds, runs=runs)
            lines.append(f"{chosen.title:<36}{rate:9.4f}")
        lines.append("and of the scalar reference")
        for case in OTHERS:
            chosen = case.at(size) if size else case
            rates = [
                alone(chosen.work(kernel), seconds=seconds, runs=runs)
                for kernel in (None, REFERENCE)
            ]
            lines.append(f"{chosen.title:<36}{rates[0]:10.3g}{rates[1]:10.3g}")
        lines.append("and of the kernel of any species")
        for case in flips:
            chosen = case.at(size) if size else case
            rates = [
                alone(chosen.work(kernel), seconds=seconds, runs=runs) for kernel in (None, SPECIES)
            ]
            lines.append(f"{chosen.title:<36}{rates[0]:10.3g}{rates[1]:10.3g}")
        rate = alone(hops(), seconds=seconds, runs=runs)
        lines.append(f"{'adatoms, hops of 32 on L=16':<36}{rate:10.3g}")
    return "\n".join(lines)


def hops() -> Work:
    """Kinetics of a tenth of a monolayer; it has no other kernel."""
    lattice, model, mcs = honeycomb(16), Adatoms(E_b=0.35, adatoms=32, w=0.02), 20

    def run(strides: int) -> None:
        kinetics = AdatomKernel(lattice, model, Schedule(0, strides, mcs), swept=("T",))
        kinetics.compute({"T": np.array([300.0])}, np.ones((1, 4), np.uint64))

    return Work(run, REPLICAS * 32 * mcs, least=2)
