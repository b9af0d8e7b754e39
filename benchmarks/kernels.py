"""Attempted updates per nanosecond of one core, for every kind of kernel."""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.timing import EVERY_MCS, Work, alone, one_core
from physics import Ising, Lattice, Model, PairAlloy, Schedule, ThreeBodyAlloy, sample
from physics.lattices import cubic, honeycomb, square, triangular
from physics.models import REPLICAS
from physics.sampler import LANES, kernel_of, parameters_used
from physics.simd import WORDS


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


SQUARE = Case("ising square", Ising(), square(64), {"T": 2.269185})
PAIR_ALLOY = Case("pair alloy", PairAlloy(w1=-0.1, w2=-0.05), triangular(48), {"x": 0.5})
THREE_BODY = Case("three-body alloy", ThreeBodyAlloy(w1=-0.27, w2=-0.1), triangular(48), {"x": 0.5})
# Every lattice at its critical temperature.
ISING = [
    SQUARE,
    replace(SQUARE, name="ising square in a field", model=Ising(H=0.1)),
    Case("ising triangular", Ising(), triangular(64), {"T": 3.640957}),
    Case("ising honeycomb", Ising(), honeycomb(48), {"T": 1.518651}),
    Case("ising cubic", Ising(), cubic(16), {"T": 4.511523}),
]
TWO_SHELLS = Case("ising square, two shells", Ising(J2=0.2), square(64), {"T": 3.0})
CASES = [*ISING, TWO_SHELLS, PAIR_ALLOY, THREE_BODY]


def report(*, size: int | None = None, seconds: float = 0.5, runs: int = 5) -> str:
    """A table of rates."""
    lines = [f"attempted updates/ns on one core, measured every {EVERY_MCS} MCS"]
    with one_core():
        for case in CASES:
            chosen = case.at(size) if size else case
            rate = alone(chosen.work(), seconds=seconds, runs=runs)
            lines.append(f"{chosen.title:<36}{rate:9.4f}")
    return "\n".join(lines)
