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


@dataclass(frozen=True)
class Rate:
    """Median updates per nanosecond of several runs."""

    name: str
    per_ns: float


CASES: list[tuple[str, Model, Callable[[int], Lattice], int, dict[str, float]]] = [
    ("ising square", Ising(), square, 64, {"T": 2.269}),
    ("ising triangular", Ising(), triangular, 64, {"T": 3.641}),
    ("ising honeycomb", Ising(), honeycomb, 48, {"T": 1.519}),
    ("ising cubic", Ising(), cubic, 16, {"T": 4.512}),
    ("pair alloy", PairAlloy(w1=-0.1, w2=-0.05), triangular, 48, {"x": 0.5}),
    ("three-body alloy", ThreeBodyAlloy(w1=-0.27, w2=-0.1), triangular, 48, {"x": 0.5}),
]


def our_rates(*, mcs: int = 20, runs: int = 5, sizes: int | None = None) -> list[Rate]:
    """Rates of our kernels, energy, moments and histograms measured every 10 MCS."""
    return [
        _our_rate(name, model, make(sizes or size), point, mcs, runs)
        for name, model, make, size, point in CASES
    ]


def peer_rates(*, mcs: int = 400, runs: int = 5) -> list[Rate]:
    """Rates of the peers that are installed (the extra ``bench``)."""
    if importlib.util.find_spec("mcising") is None:
        return []
    from mcising import IsingSimulation

    simulation = IsingSimulation(64, 1.0, 0.0, 0.0, 0.0, 1)
    simulation.sweep(10, temperature=2.269)
    seconds = _median(lambda: simulation.sweep(mcs, temperature=2.269), runs)
    return [Rate("mcising 64×64 Metropolis, not measuring", mcs * 64 * 64 / seconds / 1e9)]


def report() -> str:
    """A table of rates, and ratios of ours to each peer's."""
    ours, peers = our_rates(), peer_rates()
    lines = [f"{rate.name:<42}{rate.per_ns:10.4f} /ns" for rate in (*ours, *peers)]
    ratios = [f"{ours[0].name} / {p.name}: {ours[0].per_ns / p.per_ns:.3f}" for p in peers]
    return "\n".join(lines + (ratios or ["no peer installed: pip install '.[bench]'"]))


def _our_rate(
    name: str, model: Model, lattice: Lattice, point: dict[str, float], mcs: int, runs: int
) -> Rate:
    schedule = Schedule(0, max(2, mcs // 10), 10)
    axes = {axis: np.array([value]) for axis, value in point.items()}
    seeds = np.arange(4, dtype=np.uint64)[None, :]
    sample(model, lattice, axes, Schedule(0, 2, 1), seeds)
    seconds = _median(lambda: sample(model, lattice, axes, schedule, seeds), runs)
    updates = REPLICAS * lattice.sites * schedule.total_mcs
    return Rate(f"{name} {lattice.kind} L={lattice.size}", updates / seconds / 1e9)


def _median(run: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
