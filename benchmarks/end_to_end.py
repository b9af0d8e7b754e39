"""A whole run, from the first block to the last byte in the store, beside mcising on its grid."""

import importlib.util
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.timing import EVERY_MCS
from latticescape.physics import Ising, Schedule, square
from latticescape.physics.models.model import REPLICAS
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.execution.workers import embedded, warmed

TARGET = 0.92

# Of the grid, so many temperatures and fields are given to the peer, which is slower.
PEER_TEMPERATURES, PEER_FIELDS = 4, 2


@dataclass(frozen=True)
class Run:
    """A run of ours on a cluster of this machine's own.

    Attributes
    ----------
    start_seconds, ready_seconds
        Until the workers were there, and then until they had their kernels compiled or loaded.
    report
        Of the run itself, which counts neither.
    """

    start_seconds: float
    ready_seconds: float
    report: Report

    @property
    def per_ns(self) -> float:
        """Attempted flips per nanosecond of one worker, by the wall clock."""
        return self.report.updates / self.report.seconds / self.report.workers / 1e9

    @property
    def kernel_share(self) -> float:
        """Kernel time over the time of whole tasks."""
        return self.report.kernel_seconds / self.report.worker_seconds

    @property
    def busy_share(self) -> float:
        """Kernel time over workers times wall time."""
        return self.report.kernel_seconds / (self.report.workers * self.report.seconds)


@dataclass(frozen=True)
class PeerRun:
    """mcising on a part of the grid: as many flips a point, on all cores."""

    points: int
    seconds: float

    def scaled(self, points: int) -> float:
        """Seconds for the flips of so many points, at the rate of the part."""
        return self.seconds * points / self.points


def grid(temperatures: int = 41, fields: int = 21, *, size: int = 64, mcs: int = 5000) -> Sweep:
    """The square Ising model over T and H, measured every 10 MCS from the first on."""
    return Sweep(
        square(size),
        Ising(),
        {"T": np.linspace(1.5, 3.5, temperatures), "H": np.linspace(-1, 1, fields)},
        Schedule(0, mcs // EVERY_MCS, EVERY_MCS),
        seed=2026,
    )


def our_run(sweep: Sweep, workers: int | None = None) -> Run:
    """Run a sweep into a store that is thrown away."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, embedded(workers) as client:
        started = time.perf_counter()
        with warmed(client, sweep):
            ready = time.perf_counter()
        report = execute(sweep, f"{folder}/grid.zarr", client, progress=False)
    return Run(started - begin, ready - started, report)


def peer_run(sweep: Sweep) -> PeerRun | None:
    """Time mcising's INDEPENDENT mode: a chain of 64 times the MCS for every point.

    None where the peer (the extra ``bench``) is not installed.
    """
    if importlib.util.find_spec("mcising") is None:
        return None
    temperatures = _spread(sweep.axes["T"], PEER_TEMPERATURES)
    fields = _spread(sweep.axes["H"], PEER_FIELDS)
    chain = REPLICAS * sweep.schedule.total_mcs
    _independent(sweep, temperatures, fields[0], EVERY_MCS)
    begin = time.perf_counter()
    for field in fields:
        _independent(sweep, temperatures, field, chain)
    return PeerRun(len(temperatures) * len(fields), time.perf_counter() - begin)


def _independent(sweep: Sweep, temperatures: Sequence[float], field: float, mcs: int) -> None:
    from mcising import ExecutionMode, LatticeConfig, Simulation, SimulationConfig

    config = SimulationConfig(
        lattice=LatticeConfig(size=sweep.lattice.linear_size, h=field),
        temperatures=tuple(temperatures),
        n_sweeps=mcs,
        n_thermalization=0,
        measurement_interval=EVERY_MCS,
        store_configs=False,
        mode=ExecutionMode.INDEPENDENT,
    )
    Simulation(config).run(show_progress=False)


def _spread(values: np.ndarray, number: int) -> list[float]:
    """Values from the middles of as many equal parts of an axis."""
    places = ((np.arange(number) + 0.5) / number * len(values)).astype(int)
    return [float(value) for value in values[np.unique(places)]]


def report(sweep: Sweep | None = None, *, workers: int | None = None) -> str:
    """Our run, mcising's, and the ratio, in lines."""
    sweep = grid() if sweep is None else sweep
    run, peer = our_run(sweep, workers), peer_run(sweep)
    return "\n".join([*_our_lines(sweep, run), *_peer_lines(run.report, peer)])


def _our_lines(sweep: Sweep, run: Run) -> list[str]:
    done, size = run.report, sweep.lattice.linear_size
    shape = " x ".join(map(str, sweep.shape))
    return [
        f"{shape} points, square {size} x {size}, {REPLICAS} replicas, "
        f"{sweep.schedule.total_mcs} MCS, measured every {EVERY_MCS}: {done.updates:.3g} flips",
        f"workers {done.workers}, there in {run.start_seconds:.1f} s, "
        f"compiled in {run.ready_seconds:.1f} s; then",
        f"{'wall time':<36}{done.seconds:9.2f} s",
        f"{'flips by wall time':<36}{run.per_ns:9.2f} /ns a worker",
        f"{'kernel time / worker time':<36}{run.kernel_share:9.1%} (target {TARGET:.0%} or more)",
        f"{'kernel time / (workers x wall time)':<36}{run.busy_share:9.1%}",
    ]


def _peer_lines(done: Report, peer: PeerRun | None) -> list[str]:
    if peer is None:
        return ["mcising is not installed: pip install '.[bench]'"]
    scaled, cores = peer.scaled(done.points), os.cpu_count()
    return [
        f"mcising INDEPENDENT on {cores} cores: {peer.points} of the {done.points} points, "
        "as many flips a point",
        f"{'wall time':<36}{peer.seconds:9.2f} s",
        f"{'SCALED to the flips of all points':<36}{scaled:9.2f} s (not run, reckoned)",
        f"{'ours is faster, reckoned so':<36}{scaled / done.seconds:9.1f} times",
    ]


if __name__ == "__main__":
    print(report())
