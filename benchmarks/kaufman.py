"""A long run against the exact finite torus: ``python -m benchmarks.kaufman [FLIPS]``.

Energy and heat capacity of the Ising model at L = 32 and eight temperatures, held against
Kaufman's solution (Phys. Rev. 76, 1232 (1949)).
"""

import sys
import time
from dataclasses import dataclass

import numpy as np

from latticescape.physics import Ising, Schedule, sample, square
from latticescape.physics.exact.closed_forms import CRITICAL_TEMPERATURE, kaufman
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kernels.observables import observe
from latticescape.physics.models.model import REPLICAS

SIZE = 32
TEMPERATURES = np.array([1.8, 2.0, 2.2, CRITICAL_TEMPERATURE["square"], 2.4, 2.6, 3.0, 4.0])
EQUILIBRATION_MCS = 20_000
STRIDE_MCS = 10


@dataclass(frozen=True)
class Row:
    """One temperature: deviations in standard errors, and the relative error of the energy."""

    temperature: float
    energy_z: float
    heat_capacity_z: float
    energy_error: float


def rows(flips: float = 1e12) -> list[Row]:
    """The table from so many attempted flips, all temperatures and replicas together."""
    model, lattice, axes = Ising(), square(SIZE), {"T": TEMPERATURES}
    mcs = flips / (len(TEMPERATURES) * REPLICAS * lattice.sites)
    schedule = Schedule(EQUILIBRATION_MCS if mcs > 1e5 else 200, max(2, int(mcs / 10)), STRIDE_MCS)
    seeds = np.random.default_rng(32).integers(0, 2**64, (len(TEMPERATURES), 4), np.uint64)
    sums = sample(model, lattice, axes, schedule, seeds)
    full = complete(model, axes, len(TEMPERATURES))
    found = observe(sums, model.coefficients(full, sums.features), TEMPERATURES)
    energy, heat_capacity = kaufman(SIZE, TEMPERATURES)
    return [
        Row(
            temperature=float(T),
            energy_z=float((found["energy"][k] - energy[k]) / found["energy_se"][k]),
            heat_capacity_z=float(
                (found["heat_capacity"][k] - heat_capacity[k]) / found["heat_capacity_se"][k]
            ),
            energy_error=float(abs(found["energy"][k] / energy[k] - 1)),
        )
        for k, T in enumerate(TEMPERATURES)
    ]


def report(flips: float = 1e12) -> str:
    """The table as text."""
    begin = time.perf_counter()
    lines = ["       T   z(energy)  z(heat capacity)  |e/e_exact - 1|"]
    lines += [
        f"{row.temperature:8.4f}{row.energy_z:12.2f}{row.heat_capacity_z:18.2f}"
        f"{row.energy_error:17.1e}"
        for row in rows(flips)
    ]
    seconds = time.perf_counter() - begin
    return "\n".join([*lines, f"{flips:.1e} flips in {seconds:.0f} s"])


if __name__ == "__main__":
    print(report(*map(float, sys.argv[1:2])))
