"""Do intervals hold the truth as often as they say? ``python -m benchmarks.calibration [TRIALS]
[CASE …]``.

Experiments at known parameters, each fitted on one sweep of its model: how often do the 68 % and
95 % intervals of the curvature, of the bootstrap and of the posterior hold the truth? Counts are
either independent draws, or those of one whole configuration, whose neighbourhoods overlap.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import norm

from latticescape.analysis import bootstrap, fit, landscape, posterior
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    Schedule,
    configurations,
    sample,
    square,
    triangular,
)
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kernels.observables import observe
from latticescape.physics.models.model import REPLICAS

LEVELS = (0.68, 0.95)
METHODS = ("curvature", "bootstrap", "posterior")
MOMENTS = ["m", "m_abs", "m2", "m4", "e", "e2"]

Ends = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """A model at known parameters, and the sweep it is fitted on.

    Attributes
    ----------
    drawn
        Independent neighbourhoods drawn; or None: all those of one configuration.
    """

    name: str
    model: Model
    lattice: Lattice
    truth: dict[str, float]
    axes: dict[str, npt.NDArray[np.float64]]
    schedule: Schedule
    drawn: int | None = None
    seed: int = 1

    @cached_property
    def sweep(self) -> xr.Dataset:
        """Histograms and moments over the axes."""
        mesh = np.meshgrid(*self.axes.values(), indexing="ij")
        points = {name: part.ravel() for name, part in zip(self.axes, mesh, strict=True)}
        sums = sample(self.model, self.lattice, points, self.schedule, self.seeds(mesh[0].size, 0))
        full = complete(self.model, points, mesh[0].size)
        found = observe(sums, self.model.coefficients(full, sums.features), full["T"])
        shape = (*mesh[0].shape, REPLICAS, -1)
        dims = (*self.axes, "replica")
        labels = np.array(configurations(self.lattice.kind).labels)
        return xr.Dataset(
            {
                "histogram_replica": ((*dims, "configuration"), sums.histogram.reshape(shape)),
                "moments": ((*dims, "moment"), found["moments"].reshape(shape)),
            },
            {**self.axes, "label": ("configuration", labels), "moment": MOMENTS},
            {"spec": f"[schedule]\nsamples = {self.schedule.samples}\n"},
        )

    def experiments(self, trials: int) -> npt.NDArray[np.int64]:
        """Counts of so many experiments, (trials, classes)."""
        points = {name: [value] for name, value in self.truth.items()}
        runs = 1 if self.drawn else -(-trials // REPLICAS)
        long = replace(self.schedule, equilibration_mcs=4 * self.schedule.equilibration_mcs)
        last = []
        for run in range(runs):
            seeds = self.seeds(1, run + 1)
            schedule = replace(long, samples=400 if self.drawn else 2)
            asked = (self.model, self.lattice, points, schedule, seeds)
            if self.drawn:
                last.append(sample(*asked).histogram[0])
            else:
                kept = sample(*asked, keep=("samples",)).sample_histogram
                assert kept is not None
                last.append(kept[0, :, -1])
        counts = np.concatenate(last)
        if self.drawn is None:
            return counts[:trials].astype(np.int64)
        shares = counts.sum(axis=0) / counts.sum()
        return np.random.default_rng(self.seed).multinomial(self.drawn, shares, size=trials)

    def seeds(self, number: int, stream: int) -> npt.NDArray[np.uint64]:
        return np.random.default_rng([self.seed, stream]).integers(0, 2**64, (number, 4), np.uint64)


def alloy(drawn: int | None) -> Case:
    axis = np.linspace(-0.4, 0.2, 21)
    return Case(
        f"pair alloy, {drawn} drawn" if drawn else "pair alloy, whole 24×24",
        PairAlloy(x=0.5),
        triangular(24),
        {"w1": -0.10, "w2": -0.06},
        {"w1": axis, "w2": axis},
        Schedule(100, 40, 10),
        drawn,
    )


def ising(kind: str, size: int = 64) -> Case:
    lattice, temperature = {"square": (square, 2.8), "triangular": (triangular, 4.4)}[kind]
    return Case(
        f"Ising, {kind}, whole {size}×{size}",
        Ising(),
        lattice(size),
        {"T": temperature, "H": 0.15},
        {
            "T": temperature * np.linspace(0.8, 1.25, 31),
            "H": np.linspace(-0.15, 0.45, 25),
        },
        Schedule(200, 20, 10),
    )


CASES = {
    "drawn": lambda: alloy(464),
    "alloy": lambda: alloy(None),
    "square": lambda: ising("square"),
    "triangular": lambda: ising("triangular"),
}


def intervals(surface: xr.Dataset, seed: int) -> dict[str, dict[str, dict[float, Ends]]]:
    """68 % and 95 % intervals by method and parameter."""
    result = fit(surface)
    drawn = bootstrap(surface, draws=300, seed=seed).draws
    chains = posterior(surface, seed=seed).posterior
    found: dict[str, dict[str, dict[float, Ends]]] = {method: {} for method in METHODS}
    for name, (value, error) in result.parameters.items():
        wide = {level: float(norm.ppf(0.5 + level / 2)) * error for level in LEVELS}
        found["curvature"][name] = {k: (value - w, value + w) for k, w in wide.items()}
        for method, values in (("bootstrap", drawn[name]), ("posterior", chains[name])):
            found[method][name] = {level: _middle(values.values, level) for level in LEVELS}
    return found


def _middle(values: npt.NDArray[np.float64], level: float) -> Ends:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def table(case: Case, trials: int) -> list[str]:
    """Lines of a case: how many of the trials' intervals hold the truth."""
    begin = time.perf_counter()
    classes = configurations(case.lattice.kind)
    held = dict.fromkeys(
        ((m, name, level) for m in METHODS for name in case.truth for level in LEVELS), 0
    )
    for number, counts in enumerate(case.experiments(trials)):
        surface = landscape(case.sweep, counts_dataset({"one": counts}, classes))
        for method, by_name in intervals(surface, number).items():
            for name, ends in by_name.items():
                for level, (low, high) in ends.items():
                    held[method, name, level] += low <= case.truth[name] <= high
    seconds = time.perf_counter() - begin
    lines = [f"{case.name}, {trials} trials, {seconds:.0f} s"]
    for method in METHODS:
        shares = "  ".join(
            f"{name} " + " ".join(f"{held[method, name, level] / trials:.3f}" for level in LEVELS)
            for name in case.truth
        )
        lines.append(f"  {method:10} {shares}")
    return lines


def report(trials: int = 200, names: Sequence[str] = tuple(CASES), **changed: Any) -> str:
    """The tally as text, of cases by name; ``changed`` fields are replaced in each."""
    lines = ["shares of 68 % and 95 % intervals that hold the truth"]
    for name in names:
        lines += table(replace(CASES[name](), **changed), trials)
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:] or tuple(CASES)))
