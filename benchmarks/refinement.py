"""Flips that ``propose`` and a uniform grid need, to know the place of a minimum as well.

A pair alloy on the triangular lattice at known parameters gives the counts of an image; the
minimum of its landscape is then sought on a coarse grid that ``propose`` extends, and on uniform
grids of more and more points, with the same analysis of both. The true numerical error is the
distance from the minimum of a reference, simulated 20 times over on a fine grid.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis import landscape
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.estimation.deviance import deviance
from latticescape.analysis.inference.estimation.fit import find_minimum, interpolated
from latticescape.analysis.inference.refinement.proposal import numerical_errors, propose
from latticescape.physics import PairAlloy, Schedule, configurations, sample, triangular
from latticescape.physics.models.model import REPLICAS
from latticescape.sweeps.spec.sweep import point_seeds

Floats = npt.NDArray[np.float64]
Axes = Mapping[str, Floats]

LATTICE, COMPOSITION, SITES = triangular(24), 0.5, 1800
SCHEDULE = Schedule(100, 10, 5)
ROUNDS = 12

# So many independent simulations of the same schedule make the reference: longer ones would be
# nearer to equilibrium, and their minimum another.
REPEATS = 20


@dataclass(frozen=True)
class Case:
    """A landscape to be refined: its coarse grid, the target, how finely the reference is cut."""

    name: str
    box: Mapping[str, tuple[float, float]]
    coarse: int
    target: float
    reference: int
    uniform: tuple[int, ...]

    def grid(self, number: int) -> dict[str, Floats]:
        """So many values of every axis."""
        return {name: np.linspace(*ends, number) for name, ends in self.box.items()}


UNIFORM = (9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025)
UNIFORM_2 = (6, 8, 10, 12, 15, 18, 22, 27, 33, 40)
ONE = {"w1": (-0.8, 0.8)}
TWO = {"w1": (-0.5, 0.5), "w2": (-0.5, 0.5)}
CASES = (
    Case("w1", ONE, 9, 0.001, 161, UNIFORM),
    Case("w1", ONE, 9, 0.0005, 161, UNIFORM),
    Case("w1, w2", TWO, 6, 0.002, 26, UNIFORM_2),
    Case("w1, w2", TWO, 6, 0.001, 26, UNIFORM_2),
)


class Alloy:
    """Histograms of the alloy by its parameters, each point simulated once."""

    def __init__(self, seed: int, repeats: int = 1) -> None:
        self.seeds = range(seed, seed + repeats)
        self.known: dict[tuple[float, ...], npt.NDArray[np.int64]] = {}

    def over(self, axes: Axes) -> xr.Dataset:
        """A sweep's Dataset over these axes."""
        mesh = np.stack(np.meshgrid(*axes.values(), indexing="ij"), axis=-1)
        places = [tuple(place) for place in mesh.reshape(-1, len(axes)).tolist()]
        new = [place for place in dict.fromkeys(places) if place not in self.known]
        if new:
            self.known.update(
                zip(
                    new, self._simulated(dict(zip(axes, np.array(new).T, strict=True))), strict=True
                )
            )
        classes = configurations("triangular")
        shape = (*mesh.shape[:-1], REPLICAS, len(classes))
        counts = np.array([self.known[place] for place in places]).reshape(shape)
        return xr.Dataset(
            {"histogram_replica": ((*axes, "replica", "configuration"), counts)},
            coords={**axes, "label": ("configuration", np.array(classes.labels))},
        )

    def _simulated(self, points: Axes) -> npt.NDArray[np.int64]:
        number = len(next(iter(points.values())))
        every = {"x": np.full(number, COMPOSITION), **points}
        by_point = [dict(zip(every, row, strict=True)) for row in zip(*every.values(), strict=True)]
        found = [
            sample(PairAlloy(), LATTICE, every, SCHEDULE, point_seeds(seed, by_point)).histogram
            for seed in self.seeds
        ]
        return np.sum(found, axis=0)


@dataclass(frozen=True)
class Outcome:
    """How many points it took, and the error of each parameter, claimed and true."""

    points: int
    claimed: tuple[float, ...]
    true: tuple[float, ...]

    @property
    def reported(self) -> str:
        """Points, and the errors of the worst parameter."""
        return f"{self.points} ({max(self.claimed):.5f} {max(map(abs, self.true)):.5f})"


@dataclass(frozen=True)
class Trial:
    """One image, and both ways to the minimum of its landscape."""

    case: Case
    seed: int
    observed: xr.Dataset
    best: Mapping[str, float]

    @cached_property
    def refined(self) -> list[Outcome]:
        """Round after round."""
        alloy, axes, found = Alloy(self.seed), self.case.grid(self.case.coarse), []
        for _ in range(ROUNDS):
            surface = landscape(alloy.over(axes), self.observed)
            proposal = propose(surface, dict.fromkeys(axes, self.case.target))
            found.append(self._outcome(axes, proposal.estimate, proposal.errors))
            if proposal.ends:
                break
            axes = {
                name: np.sort([*values, *proposal.axes.get(name, ())])
                for name, values in axes.items()
            }
        return found

    def uniform(self) -> Iterator[Outcome]:
        """On finer and finer grids, until the target is reached."""
        alloy = Alloy(self.seed + 1)
        for number in self.case.uniform:
            axes = self.case.grid(number)
            surface = landscape(alloy.over(axes), self.observed)
            found = minimum(surface)
            yield self._outcome(axes, *found)
            if max(found[1].values()) <= self.case.target:
                return

    def _outcome(
        self, axes: Axes, estimate: Mapping[str, float], errors: Mapping[str, float]
    ) -> Outcome:
        points = int(np.prod([len(values) for values in axes.values()]))
        true = tuple(estimate[name] - self.best[name] for name in axes)
        return Outcome(points, tuple(errors.values()), true)


def minimum(surface: xr.Dataset) -> tuple[dict[str, float], dict[str, float]]:
    """Its place by ``fit``, and the numerical errors, as ``propose`` has them."""
    deviances = deviance(surface)
    between = interpolated(deviances)
    assert between is not None
    found = find_minimum(surface, deviances, between)
    return {n: found.fit.parameters[n][0] for n in deviances.names}, numerical_errors(found)


def trials(case: Case, number: int, reference: Alloy) -> Iterator[Trial]:
    """So many images, of parameters drawn from the middle half of the box."""
    fine = reference.over(case.grid(case.reference))
    for k in range(number):
        rng = np.random.default_rng([k, len(case.box)])
        place = {name: np.array([rng.uniform(a / 2, b / 2)]) for name, (a, b) in case.box.items()}
        counts = Alloy(10_000 + k).over(place).histogram_replica.values.reshape(REPLICAS, -1)
        shares = counts.sum(axis=0) / counts.sum()
        observed = counts_dataset(
            {"image": rng.multinomial(SITES, shares)}, configurations("triangular")
        )
        yield Trial(case, 100 + 2 * k, observed, minimum(landscape(fine, observed))[0])


def report(number: int = 8, cases: tuple[Case, ...] = CASES, *, repeats: int = REPEATS) -> str:
    """Both ways, as text: points with the worst error claimed and true, and the ratio of points.

    Pulls are true errors over claimed ones, their root mean square, refined and uniform.
    """
    return "\n".join(_row(case, number, Alloy(1_000_000, repeats)) for case in cases)


def _row(case: Case, number: int, reference: Alloy) -> str:
    begin = time.perf_counter()
    lines = [f"{case.name}: target {case.target}, from {case.coarse} values an axis"]
    ratios, pulls = [], []
    for trial in trials(case, number, reference):
        fine, plain = trial.refined, list(trial.uniform())
        ratios.append(plain[-1].points / fine[-1].points)
        pulls.append([np.divide(one[-1].true, one[-1].claimed) for one in (fine, plain)])
        lines.append(
            f"  {np.round(list(trial.best.values()), 3)} "
            + " -> ".join(o.reported for o in fine)
            + " | "
            + " -> ".join(o.reported for o in plain[-3:])
            + f" | {ratios[-1]:.1f}"
        )
    scatter = np.sqrt(np.mean(np.square(pulls), axis=(0, 2)))
    lines.append(
        f"  ratios {np.round(ratios, 1)}, geometric mean {np.exp(np.mean(np.log(ratios))):.1f}; "
        f"pulls {scatter.round(2)}; {time.perf_counter() - begin:.0f} s"
    )
    return "\n".join(lines)
