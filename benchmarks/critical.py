"""Critical temperatures and exponents of the Ising model on eight lattices, beside the known ones.

Lanes, not clusters: at these sizes 512 replicas at once make up for critical slowing down. For the
same error of the Binder cumulant at Tc they take 1/30 of the cluster updates' time on 16 × 16 and
12³ sites, 1/5 to 1/10 on 32 × 32 and 24³, and 1/3 on 64 × 64.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from latticescape.analysis.phases.crossings import binder_crossing, finite_size_scaling
from latticescape.analysis.phases.runs import simulate
from latticescape.physics import Ising, Lattice, Schedule
from latticescape.physics.exact.closed_forms import CRITICAL_TEMPERATURE
from latticescape.physics.lattices.geometry import GEOMETRIES

TEMPERATURES = 8

# Exact in two dimensions; Simmons-Duffin, JHEP 03 (2017) 086, in three. U* of the square torus:
# Kamieniarz and Blöte, J. Phys. A 26, 201 (1993); of the cube: Ferrenberg, Xu and Landau (2018).
EXPONENTS = {
    2: {"inverse_nu": 1.0, "beta_over_nu": 0.125, "gamma_over_nu": 1.75},
    3: {"inverse_nu": 1.587375, "beta_over_nu": 0.518149, "gamma_over_nu": 1.963702},
}
BINDER = {"square": 0.610692, "cubic": 0.46548}


# Kagome: exact, 4 / ln(3 + 2√3), Syozi (1951). The others: Lundow, Markström and Rosengren, Phil.
# Mag. 89, 2009 (2009).
KNOWN = CRITICAL_TEMPERATURE | {"kagome": 2.143319, "diamond": 2.705, "bcc": 6.354, "fcc": 9.797}


@dataclass(frozen=True)
class Case:
    """A lattice, the sizes that are compared, and the range that is looked at."""

    kind: str
    sizes: tuple[int, ...]
    low: float
    high: float
    samples: int = 60_000
    stride_mcs: int = 2

    def sweeps(self, samples: int) -> dict[int, xr.Dataset]:
        """A Dataset over the temperature for every size."""
        T = {"T": np.linspace(self.low, self.high, TEMPERATURES)}
        return {
            size: simulate(Lattice(self.kind, size), Ising(), T, schedule, seed=2026)
            for size in self.sizes
            for schedule in [self.schedule(size, samples)]
        }

    def schedule(self, size: int, samples: int) -> Schedule:
        """Twenty relaxation times or more (0.15 L² MCS, measured) before the first sample."""
        return Schedule(4 * size**2, samples, max(self.stride_mcs, size**2 // 256))


CASES = (
    Case("square", (8, 16, 32, 64), 2.22, 2.34),
    Case("triangular", (8, 16, 32, 64), 3.56, 3.76),
    Case("honeycomb", (8, 16, 32, 64), 1.485, 1.565),
    Case("cubic", (8, 12, 16, 24), 4.45, 4.58),
    # Demons, and classes that take longer to count than steps.
    Case("kagome", (8, 16, 32), 2.11, 2.175, 3_000, 40),
    Case("diamond", (4, 6, 10), 2.664, 2.746, 3_000, 12),
    Case("bcc", (4, 8, 12), 6.26, 6.45, 3_000, 12),
    Case("fcc", (4, 6, 10), 9.65, 9.94, 3_000, 12),
)


def report(cases: Sequence[Case] = CASES, samples: int | None = None) -> str:
    """The tables as text, with other numbers of samples than the cases' own if asked for."""
    return "\n".join(line for case in cases for line in _lines(case, samples or case.samples))


def _lines(case: Case, samples: int) -> list[str]:
    begin = time.perf_counter()
    sweeps = case.sweeps(samples)
    seconds = time.perf_counter() - begin
    crossing, exponents = binder_crossing(sweeps), finite_size_scaling(sweeps)
    sizes = ", ".join(map(str, case.sizes))
    head = f"{case.kind}, L = {sizes}: {seconds:.0f} s" + " " * 4
    lines = [f"{head:38}{'found':>10}{'error':>10}{'known':>10}{'z':>7}{'off':>9}"]
    Tc = KNOWN[case.kind]
    lines.append(_line("Tc", crossing, "critical_temperature", Tc))
    if case.kind in BINDER:
        lines.append(_line("U*", crossing, "critical_binder_cumulant", BINDER[case.kind]))
    known = EXPONENTS[GEOMETRIES[case.kind].dimension]
    lines += [
        _line(name.replace("_", " "), exponents, f"{name}_limit", value)
        for name, value in known.items()
    ]
    return lines


def _line(title: str, found: xr.Dataset, name: str, known: float) -> str:
    value, error = float(found[name]), float(found[f"{name}_se"])
    return (
        f"{title:>38}{value:10.5f}{error:10.5f}{known:10.5f}{(value - known) / error:7.2f}"
        f"{100 * (value / known - 1):8.3f}%"
    )
