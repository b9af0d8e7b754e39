"""Attempted updates per nanosecond of one core, ours beside a named peer's, in one run."""

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physics import Ising, Lattice, Model, PairAlloy, Schedule, ThreeBodyAlloy, sample
from physics.lattices import cubic, honeycomb, square, triangular
from physics.models import REPLICAS
from physics.sampler import LANES, kernel_of, parameters_used


@dataclass(frozen=True)
class Rate:
    """Median updates per nanosecond of several runs."""

    name: str
    per_ns: float


Case = tuple[str, Model, Callable[[int], Lattice], int, dict[str, float]]

CASES: list[Case] = [
    ("ising square", Ising(), square, 64, {"T": 2.269185}),
    ("ising square in a field", Ising(H=0.1), square, 64, {"T": 2.269185}),
    ("ising triangular", Ising(), triangular, 64, {"T": 3.640957}),
    ("ising honeycomb", Ising(), honeycomb, 48, {"T": 1.518651}),
    ("ising cubic", Ising(), cubic, 16, {"T": 4.511523}),
    ("ising square, two shells", Ising(J2=0.2), square, 64, {"T": 3.0}),
    ("pair alloy", PairAlloy(w1=-0.1, w2=-0.05), triangular, 48, {"x": 0.5}),
    ("three-body alloy", ThreeBodyAlloy(w1=-0.27, w2=-0.1), triangular, 48, {"x": 0.5}),
]
EVERY_MCS = 10


def our_rates(*, mcs: int = 500, runs: int = 5, sizes: int | None = None) -> list[Rate]:
    """Rates of our kernels; energy, moments and histograms measured every 10 MCS.

    Lane kernels take eight points at once; the scalar ones are given one, and fewer steps.
    """
    rates = []
    for name, model, make, size, point in CASES:
        run, updates = _ours(model, make(sizes or size), point, mcs)
        rates.append(Rate(f"{name} L={sizes or size}", updates / _median(run, runs) / 1e9))
    return rates


def peer_ratios(*, mcs: int = 500, runs: int = 5) -> list[tuple[str, float, float]]:
    """Name, rate of mcising's Metropolis sweep, and ours over theirs, runs taking turns.

    Both measure energy and magnetization every 10 MCS, ours the histogram as well. Empty where
    the peer (the extra ``bench``) is not installed.
    """
    if importlib.util.find_spec("mcising") is None:
        return []
    found = []
    for name, model, make, size, point in CASES[:5]:
        ours, updates = _ours(model, make(size), point, mcs)
        theirs, flips = _theirs(make(size), float(point["T"]), model.given.get("H", 0.0), mcs)
        pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
        rate = statistics.median(flips / b for _, b in pairs) / 1e9
        ratio = statistics.median(updates / a / (flips / b) for a, b in pairs)
        found.append((name, rate, ratio))
    return found


def report() -> str:
    """A table of rates, and the ratio to each peer's."""
    lines = [f"{rate.name:<36}{rate.per_ns:9.4f} updates/ns" for rate in our_rates()]
    ratios = [
        f"{name:<36}{rate:9.4f} updates/ns of mcising, ours {ratio:.0f} times"
        for name, rate, ratio in peer_ratios()
    ]
    return "\n".join(lines + (ratios or ["no peer installed: pip install '.[bench]'"]))


def _ours(
    model: Model, lattice: Lattice, point: dict[str, float], mcs: int
) -> tuple[Callable[[], object], int]:
    orbits = model.orbits(lattice, parameters_used(model, point))
    points, shorter = (8, 1) if kernel_of(model, lattice, orbits) == LANES else (1, 50)
    schedule = Schedule(0, max(2, mcs // shorter // EVERY_MCS), EVERY_MCS)
    axes = {axis: np.full(points, value) for axis, value in point.items()}
    seeds = np.arange(4 * points, dtype=np.uint64).reshape(points, 4)
    sample(model, lattice, axes, Schedule(0, 2, 1), seeds)
    updates = points * REPLICAS * lattice.sites * schedule.total_mcs
    return lambda: sample(model, lattice, axes, schedule, seeds), updates


def _theirs(
    lattice: Lattice, temperature: float, field: float, mcs: int
) -> tuple[Callable[[], object], int]:
    from mcising import IsingSimulation

    simulation = IsingSimulation(lattice.size, 1.0, 0.0, 0.0, field, 1, "metropolis", lattice.kind)

    def run() -> None:
        for _ in range(max(1, mcs // EVERY_MCS)):
            simulation.sweep(EVERY_MCS, temperature=temperature)
            simulation.energy()
            simulation.magnetization()

    run()
    return run, max(1, mcs // EVERY_MCS) * EVERY_MCS * lattice.sites


def _median(run: Callable[[], object], runs: int) -> float:
    return statistics.median(_seconds(run) for _ in range(runs))


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
