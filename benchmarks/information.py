"""Information per CPU second under each rule that decides moves.

A rule may be fast and yet change the lattice little. Rules are therefore compared by 1/(variance of
a mean × CPU time). The variance is that of the means of 512 independent replicas, so a ratio of two
is good to some 10 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.kernels import PAIR_ALLOY, SQUARE, THREE_BODY, Case
from benchmarks.timing import cpu_seconds_of, one_core
from latticescape.physics import Schedule, sample
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.observables import Samples
from latticescape.physics.kernels.reference import MOMENTS

Floats = npt.NDArray[np.float64]

RULES: Mapping[str, Mapping[str, object]] = {
    "heat bath": {"rule": "heat_bath"},
    "Metropolis": {"rule": "metropolis"},
    "demon 4": {"rule": "demon", "demon_period": 4},
    "demon 8": {"rule": "demon", "demon_period": 8},
    "demon 16": {"rule": "demon", "demon_period": 16},
    "auto": {"rule": "auto"},
}
STRIDES = (1, 10)

QUANTITIES = ("E", "|m|", "chi", "rarest class")

COLD = replace(SQUARE, name="ising square, T = 1.8", point={"T": 1.8})
WARM = replace(SQUARE, name="ising square, T = 2.6", point={"T": 2.6})
FIELD = replace(SQUARE, name="ising square, H = .1", point={"T": 2.269185, "H": 0.1})
CASES = [COLD, replace(SQUARE, name="ising square, Tc"), WARM, FIELD, PAIR_ALLOY, THREE_BODY]


@dataclass(frozen=True)
class Measured:
    """CPU seconds of one rule, and the variances of the means of ``QUANTITIES``."""

    seconds: float
    variances: Floats

    def over(self, other: "Measured") -> Floats:
        """Information per CPU second relative to another rule; NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = other.variances / self.variances
        return np.where(self.variances > 0, ratio * other.seconds / self.seconds, np.nan)


def measured(case: Case, schedules: Mapping[str, Schedule], runs: int) -> dict[str, Measured]:
    """The scatter of one run under each rule, and the median CPU time of runs in turn."""
    timed: dict[str, list[float]] = {name: [] for name in schedules}
    for schedule in schedules.values():
        simulated(case, replace(schedule, equilibration_mcs=0, samples=2))  # compile
    for _ in range(runs):
        for name, schedule in schedules.items():
            sampling = replace(schedule, equilibration_mcs=0)
            timed[name].append(cpu_seconds_of(partial(simulated, case, sampling)))
    return {
        name: Measured(median(timed[name]), variances(simulated(case, schedule)))
        for name, schedule in schedules.items()
    }


def simulated(case: Case, schedule: Schedule) -> Samples:
    """Simulate eight points of the same parameters, which differ in their seeds."""
    axes = {axis: np.full(WORDS, value) for axis, value in case.point.items()}
    seeds = np.arange(4 * WORDS, dtype=np.uint64).reshape(WORDS, 4)
    return sample(case.model, case.lattice, axes, schedule, seeds)


def variances(samples: Samples) -> Floats:
    """The variances over the replicas of the means of ``QUANTITIES``."""
    number = samples.samples
    moments = dict(zip(MOMENTS, np.moveaxis(samples.moment_sum, -1, 0) / number, strict=True))
    classes = samples.histogram.reshape(-1, samples.histogram.shape[-1]) / number
    seen = classes.mean(axis=0)
    rarest = int(np.argmin(np.where(seen > 0, seen, np.inf)))
    means = (
        moments["e"],
        moments["m_abs"],
        moments["m2"] - moments["m_abs"] ** 2,
        classes[:, rarest],
    )
    return np.array([values.var(ddof=1) for values in means])


def report(
    *,
    size: int | None = None,
    samples: int = 400,
    equilibration: int = 3000,
    stride: int | None = None,
    runs: int = 5,
) -> str:
    """A table of ratios to heat bath, or to the Metropolis filter of exchanges."""
    columns = "".join(f"{name:>14}" for name in ("steps/CPU s", *QUANTITIES))
    lines = ["information per CPU second, heat bath or Metropolis filter = 1", " " * 26 + columns]
    with one_core():
        for case in CASES:
            chosen = case.at(size) if size else case
            for apart in STRIDES if stride is None else (stride,):
                lines.append(f"{chosen.title}, measured every {apart} MCS")
                schedule = Schedule(equilibration, samples, apart)
                schedules = {n: replace(schedule, **rule) for n, rule in RULES.items()}  # type: ignore[arg-type]
                rows = measured(chosen, schedules, runs)
                first = rows["heat bath"]
                for name, row in rows.items():
                    numbers = (first.seconds / row.seconds, *row.over(first))
                    lines.append(f"  {name:<24}" + "".join(f"{n:14.2f}" for n in numbers))
    return "\n".join(lines)
