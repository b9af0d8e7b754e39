"""Segregation slab: attempted moves per nanosecond, recovery of known energies, published targets.

``python -m benchmarks.slab [TRIALS]``.
"""

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from latticescape.analysis import fit, joint_region
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.landscapes.sources import slab_landscape
from latticescape.deploy.examples import example
from latticescape.physics import Schedule, SegregationSlab, slab
from latticescape.physics.slab.kernel import SlabKernel
from latticescape.sweeps import Sweep, open_sweep
from latticescape.sweeps.execution.run import execute

NAMES = ("w_CL", "w_LL", "w_LO")
PUBLISHED = {"w_CL": 1.65, "w_LL": 6.28, "w_LO": -7.57}
GRID = {"w_CL": (0.4, 3.0), "w_LL": (3.4, 9.4), "w_LO": (-10.6, -4.6)}
TRUE = {"w_CL": (1.0, 2.4), "w_LL": (5.0, 7.8), "w_LO": (-9.0, -6.2)}
CONFIDENCE = 0.95

SCHEDULE = Schedule(equilibration_mcs=150, samples=60, stride_mcs=10)

# Of a layer's Ca fraction.
PROFILE_ERROR = 0.01
STM, ALL = ("SO", "SN"), ("SO", "SN", "PR")


@dataclass(frozen=True)
class Setting:
    """The sweep's lattice, values an axis and schedule; images of an experiment."""

    size: int = 16
    layers: int = 16
    values: int = 7
    schedule: Schedule = SCHEDULE
    images: int = 4
    replicas: int = 5  # experiments at one truth

    def sweep(self, seed: int = 2026) -> Sweep:
        """All energies."""
        grid = {n: {"start": a, "stop": b, "num": self.values} for n, (a, b) in GRID.items()}
        return Sweep(slab(self.size, self.layers), SegregationSlab(), grid, self.schedule, seed)


def simulated(setting: Setting, folder: Path) -> xr.Dataset:
    """The sweep that all trials are compared with, in memory."""
    store = folder / "slab.zarr"
    execute(setting.sweep(), store, progress=False)
    return open_sweep(store)[
        ["histogram_replica", "composition", "ca_fraction", "ca_fraction_se"]
    ].load()


def experiments(setting: Setting, trials: int, seed: int = 7) -> list[tuple[dict[str, float], Any]]:
    """Known energies, and what images and profile of them show.

    An experiment's images are one replica's, with all that neighbouring hollows share; its profile
    is the mean of all replicas, blurred by ``PROFILE_ERROR``.
    """
    rng = np.random.default_rng(seed)
    number = -(-trials // setting.replicas)
    truths = {name: rng.uniform(*ends, number) for name, ends in TRUE.items()}
    schedule = Schedule(equilibration_mcs=300, samples=setting.images, stride_mcs=100)
    lattice = slab(setting.size, setting.layers)
    kernel = SlabKernel(lattice, SegregationSlab(), schedule, swept=NAMES)
    seeds = rng.integers(0, 2**63, (number, 4), dtype=np.uint64)
    found = kernel.compute(truths, seeds)
    chosen = []
    for trial in range(trials):
        point, replica = divmod(trial, setting.replicas)
        without, with_oxygen = found["histogram_replica"][point, replica]
        mean = found["ca_fraction"][point]
        profile = {
            "value": mean + rng.normal(0, PROFILE_ERROR, mean.size),
            "error": np.hypot(PROFILE_ERROR, found["ca_fraction_se"][point]),
        }
        sources = {"SO": with_oxygen, "SN": without, "PR": profile}
        chosen.append(({name: truths[name][point] for name in NAMES}, sources))
    return chosen


def region(
    sweep: xr.Dataset, sources: Mapping[str, Any], names: tuple[str, ...] = ALL
) -> tuple[Fit, xr.Dataset]:
    """The energies of some of the sources, and the joint region."""
    landscape = slab_landscape(sweep, {name: sources[name] for name in names})
    return fit(landscape), joint_region(landscape, CONFIDENCE)


def held(region: xr.Dataset, truth: Mapping[str, float]) -> bool:
    """Whether the truth lies in the joint region."""
    return bool(region.excess.interp(truth) < region.attrs["threshold"])


def recovery(sweep: xr.Dataset, trials: list[tuple[dict[str, float], Any]]) -> list[str]:
    """How often the region holds the truth, and how large it is with some of the sources."""
    begin, rows = time.perf_counter(), []
    for names in (ALL, STM, ("PR",)):
        found = [(*region(sweep, sources, names), truth) for truth, sources in trials]
        errors = np.array(
            [[result.parameters[name][1] for name in NAMES] for result, _, _ in found]
        )
        shares = [reported.attrs["share"] for _, reported, _ in found]
        opened = sum(bool(reported.attrs["open_at"]) for _, reported, _ in found)
        ellipses = [np.sqrt(np.linalg.det(result.covariance)) for result, _, _ in found]
        reported = ", ".join(
            f"{name} ± {error:.2f}"
            for name, error in zip(NAMES, np.median(errors, axis=0), strict=True)
        )
        rows.append(
            f"{'+'.join(names):10}  true energies inside the {CONFIDENCE:.0%} region: "
            f"{sum(held(*pair) for _, *pair in found)} of {len(found)}; median {reported} kJ/mol, "
            f"region {np.median(shares):.1%} of the grid's box, {opened} go on beyond it; "
            f"ellipse {np.median(ellipses):.2g} (kJ/mol)³"
        )
    return [*rows, f"{time.perf_counter() - begin:.0f} s for the fits"]


def published(setting: Setting) -> list[str]:
    """S² of every source of the published counts at the published energies, at several T."""
    T = np.array([300.0, 700.0, 1000.0, 1300.0])
    schedule = replace(setting.schedule, equilibration_mcs=1000)
    sweep = Sweep(
        slab(setting.size, 16), SegregationSlab(**PUBLISHED), {"T": T.tolist()}, schedule, seed=5
    )
    with tempfile.TemporaryDirectory() as folder:
        execute(sweep, Path(folder) / "s.zarr", progress=False)
        landscape = slab_landscape(open_sweep(Path(folder) / "s.zarr").load(), targets())
    table = [
        f"{t:.0f} K: "
        + ", ".join(f"S²_{s} {float(landscape.s2.sel(source=s, T=t)):.4f}" for s in ALL)
        for t in T
    ]
    return [
        "published energies, published counts (science.md: .02 to .03 with, .003 without):",
        *table,
    ]


def targets() -> dict[str, Any]:
    """The published counts and profile of the example."""
    surface, profile = (
        pd.read_csv(example("lcmo") / name, comment="#")
        for name in ("surface_counts.csv", "ca_profile.csv")
    )
    return {
        "SO": surface["with_oxygen"].to_numpy(),
        "SN": surface["without_oxygen"].to_numpy(),
        "PR": {"value": profile["ca_fraction"], "error": np.full(len(profile), PROFILE_ERROR)},
    }


def speed(setting: Setting) -> list[str]:
    """Attempted moves per nanosecond of one core, lanes beside the scalar reference."""
    rows, temperatures = [], {"T": np.full(8, 1000.0)}
    seeds = np.arange(32, dtype=np.uint64).reshape(8, 4)
    lattice, model = slab(setting.size, setting.layers), SegregationSlab(**PUBLISHED)
    for kernel, points, mcs in (("lanes", 8, 200), ("reference", 1, 10)):
        simulation = SlabKernel(lattice, model, Schedule(mcs, 2, 1), swept=("T",))
        some = {"T": temperatures["T"][:points]}
        seconds = []
        for _ in range(4):  # the first one compiles
            begin = time.perf_counter()
            simulation.compute(some, seeds[:points], kernel=kernel)
            seconds.append(time.perf_counter() - begin)
        rate = simulation.updates(points) / min(seconds) / 1e9
        rows.append(
            f"{kernel:10} {rate:.4f} attempted moves/ns on {lattice.size}²×{lattice.layers}"
        )
    return rows


def report(trials: int = 50) -> str:
    """All of it as text."""
    setting = Setting()
    rows = [*speed(setting), *published(setting)]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sweep = simulated(setting, Path(folder))
    rows.append(f"{setting.values}³ points in {time.perf_counter() - begin:.0f} s")
    return "\n".join([*rows, *recovery(sweep, experiments(setting, trials))])


if __name__ == "__main__":
    print(report(*map(int, sys.argv[1:2])))
