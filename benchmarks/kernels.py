"""Attempted updates per nanosecond of one core, for every kind of kernel."""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.timing import EVERY_MCS, Work, alone, one_core
from physics import Ising, Lattice, Model, PairAlloy, Schedule, ThreeBodyAlloy, sample
from physics.boltzmann import occupation
from physics.counters import count_unlike, count_up
from physics.lane_streams import seed_state
from physics.lattices import cubic, honeycomb, square, triangular
from physics.models import REPLICAS
from physics.sampler import LANES, kernel_of, parameters_used
from physics.simd import WORDS, aligned
from physics.single_flip import advance, rule, visits
from physics.thresholds import threshold_planes


@dataclass(frozen=True)
class Case:
    """A point of a model on a lattice."""

    name: str
    model: Model
    lattice: Lattice
    point: dict[str, float]

    @property
    def title(self) -> str:
        """Name and size."""
        return f"{self.name} L={self.lattice.size}"

    def at(self, size: int) -> "Case":
        """The same on a lattice of another size."""
        return replace(self, lattice=Lattice(self.lattice.kind, size))

    def work(self, kernel: str | None = None) -> Work:
        """Our simulation of it; energy, moments to m⁴ and histogram measured every 10 MCS.

        Lane kernels take eight points at once, scalar ones are given one.
        """
        orbits = self.model.orbits(self.lattice, parameters_used(self.model, self.point))
        lanes = (kernel or kernel_of(self.model, self.lattice, orbits)) == LANES
        points = WORDS if lanes else 1
        axes = {axis: np.full(points, value) for axis, value in self.point.items()}
        seeds = np.arange(4 * points, dtype=np.uint64).reshape(points, 4)

        def run(strides: int) -> None:
            schedule = Schedule(0, strides, EVERY_MCS)
            sample(self.model, self.lattice, axes, schedule, seeds, kernel=kernel)

        return Work(run, points * REPLICAS * self.lattice.sites * EVERY_MCS, least=2)


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


def report(*, size: int | None = None, seconds: float = 0.5, runs: int = 5) -> str:
    """A table of rates."""
    lines = [f"attempted updates/ns on one core, measured every {EVERY_MCS} MCS"]
    with one_core():
        for case in CASES:
            chosen = case.at(size) if size else case
            rate = alone(chosen.work(), seconds=seconds, runs=runs)
            lines.append(f"{chosen.title:<36}{rate:9.4f}")
    return "\n".join(lines)
