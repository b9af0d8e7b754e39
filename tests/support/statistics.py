"""How simulated estimates are held against the truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latticescape.physics import Lattice, Model, Schedule, sample
from latticescape.physics.exact.enumeration import States
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kernels.observables import jackknife, observe

ESTIMATES = (
    "energy",
    "magnetization",
    "magnetization_abs",
    "susceptibility",
    "susceptibility_abs",
    "heat_capacity",
    "binder_cumulant",
)
FEWEST_COUNTS = 1000


@dataclass(frozen=True)
class Deviation:
    """A simulated value held against the exact one."""

    name: str
    value: float
    exact: float
    error: float

    @property
    def z(self) -> float:
        return (self.value - self.exact) / self.error


def deviations(
    model: Model,
    lattice: Lattice,
    point: dict[str, float],
    schedule: Schedule,
    states: States,
    seed: npt.NDArray[np.uint64],
    *,
    simulated_T: float | None = None,
    kernel: str | None = None,
) -> list[Deviation]:
    """Simulate one point; estimates and class frequencies against the enumeration of ``states``.

    ``simulated_T`` sets another temperature than the one held against: the negative control.
    """
    simulated = dict(point) if simulated_T is None else {**point, "T": simulated_T}
    axes = {name: np.array([value]) for name, value in simulated.items()}
    sums = sample(model, lattice, axes, schedule, seed[None, :], kernel=kernel)
    full = complete(model, axes, 1)
    found = observe(sums, model.coefficients(full, sums.features), full["T"])
    asked = {name: float(v[0]) for name, v in full.items()} | point
    exact = states.expect(
        **{n: v for n, v in asked.items() if n not in states.model.fixed_parameters}
    )
    scalars = [
        Deviation(name, float(found[name][0]), float(exact[name]), float(found[f"{name}_se"][0]))
        for name in ESTIMATES
        if found[f"{name}_se"][0] > 0
    ]
    return scalars + class_deviations(found["histogram_replica"][0], exact["configurations"])


def class_deviations(
    histogram: npt.NDArray[np.int64], exact: npt.NDArray[np.float64]
) -> list[Deviation]:
    """Frequencies of the classes that are common enough for a Gaussian error."""
    frequencies = histogram / histogram.sum(axis=1, keepdims=True)
    value, error = jackknife(
        frequencies, lambda mean: {str(k): mean[..., k] for k in range(len(exact))}
    )
    common = exact * histogram.sum() > FEWEST_COUNTS
    return [
        Deviation(f"class {k}", float(value[str(k)]), float(exact[k]), float(error[str(k)]))
        for k in np.flatnonzero(common)
        if error[str(k)] > 0
    ]


def root_mean_square(z: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(z))))


def seed_of(*numbers: int) -> npt.NDArray[np.uint64]:
    """A reproducible 256-bit seed."""
    return np.random.SeedSequence(numbers).generate_state(4, np.uint64)


def seeds_of(*numbers: int, points: int) -> npt.NDArray[np.uint64]:
    """Reproducible seeds of so many points, (points, 4)."""
    return np.stack([seed_of(*numbers, point) for point in range(points)])
