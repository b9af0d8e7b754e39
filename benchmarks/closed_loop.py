"""Simulate, draw, measure, fit: ``python -m benchmarks.closed_loop [TRIALS] [FIRST]``.

A pair alloy on the triangular lattice at a known w1 is simulated, four of its configurations are
drawn as noisy images, these are measured without being told anything but the lattice and that
there are two species, and w1 is fitted to the counts. How often does the 90 % interval hold the
true w1?
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import norm

from analysis import best_fit, count_measured, landscape, measure
from analysis.synthetic import draw_configuration, place_atoms
from physics import PairAlloy, Schedule, configurations, sample, triangular
from physics.compiled import compiled
from physics.models import REPLICAS

SIZE = 24
IMAGES = 4
SPACING = 12.0
COMPOSITION = 0.5
CONFIDENCE = 0.9

# The simulation the images are compared with: over w1, and over compositions as they may be
# measured in a part of the crystal.
W1 = np.linspace(-0.36, 0.36, 31)
COMPOSITIONS = np.linspace(0.44, 0.56, 9)
SIMULATED = 24


@dataclass(frozen=True)
class Trial:
    """The true w1 and the fitted one with its standard error."""

    true: float
    fitted: float
    error: float

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        return bool(abs(self.fitted - self.true) <= norm.ppf(0.5 + CONFIDENCE / 2) * self.error)


@compiled
def exchange(spins, neighbors, w1, mcs, chance):  # type: ignore[no-untyped-def]
    """Exchange nearest neighbours by the Metropolis rule at T = 1, in place."""
    for _ in range(mcs * len(spins)):
        a = int(chance.random() * len(spins))
        b = neighbors[a, int(chance.random() * neighbors.shape[1])]
        if spins[a] == spins[b]:
            continue
        rise = 0.0
        for k in range(neighbors.shape[1]):
            at_a, at_b = neighbors[a, k], neighbors[b, k]
            if at_a != b:
                rise += w1 if spins[at_a] == spins[a] else -w1
            if at_b != a:
                rise += w1 if spins[at_b] == spins[b] else -w1
        if rise <= 0 or chance.random() < np.exp(-rise):
            spins[a], spins[b] = spins[b], spins[a]


def simulated() -> xr.Dataset:
    """Histograms over w1 and composition, as a sweep gives them."""
    x, w1 = np.meshgrid(COMPOSITIONS, W1, indexing="ij")
    lattice, classes = triangular(SIMULATED), configurations("triangular")
    seeds = np.random.default_rng(5).integers(0, 2**64, (x.size, 4), np.uint64)
    points = {"x": x.ravel(), "w1": w1.ravel()}
    sums = sample(PairAlloy(), lattice, points, Schedule(200, 25, 8), seeds)
    shape = (*x.shape, REPLICAS, len(classes))
    return xr.Dataset(
        {
            "histogram_replica": (
                ("x", "w1", "replica", "configuration"),
                sums.histogram.reshape(shape),
            )
        },
        coords={"x": COMPOSITIONS, "w1": W1, "label": ("configuration", np.array(classes.labels))},
    )


def picture(w1: float, seed: int) -> xr.DataArray:
    """One configuration, drawn: turned, with chalcogens, vacancies, drift and a sloping light."""
    lattice = triangular(SIZE)
    chance = np.random.default_rng(seed)
    ones = round(COMPOSITION * lattice.sites)
    spins = chance.permutation(np.arange(lattice.sites) < ones).astype(np.uint8)
    exchange(spins, lattice.neighbors(1).astype(np.int64), w1, 400, chance)
    placed = place_atoms(
        lattice,
        spins.astype(int),
        spacing=SPACING,
        rotation=float(chance.uniform(0, 60)),
        chalcogen=0.12,
        disorder=0.015,
        vacancies=0.003,
        seed=seed,
    )
    return draw_configuration(
        placed, seed=seed, peak=150.0, background=20.0, background_slope=(10.0, -8.0)
    )


def trial(number: int, histograms: xr.Dataset) -> Trial:
    """One turn of the loop, at a w1 of its own."""
    true = float(np.random.default_rng(1000 + number).uniform(-0.25, 0.25))
    images = {f"image{k}": picture(true, 100 * number + k) for k in range(IMAGES)}
    atoms = {name: measure(image, "triangular", ("0", "1")) for name, image in images.items()}
    observed = count_measured(atoms, seed=number)
    fit = best_fit(landscape(histograms, observed))
    value, error = fit.parameters["w1"]
    # Neighbourhoods overlap: N of them tell as much as fewer independent ones.
    overlap = float(np.sqrt(observed.n.sum() / observed.effective_n.sum()))
    return Trial(true, value, overlap * error)


def report(trials: int = 100, first: int = 0) -> str:
    """The tally as text."""
    begin = time.perf_counter()
    histograms = simulated()
    found: npt.NDArray[np.object_] = np.empty(trials, object)
    for k in range(trials):
        found[k] = trial(first + k, histograms)
    z = np.array([(t.fitted - t.true) / t.error for t in found])
    held = sum(t.held for t in found)
    seconds = time.perf_counter() - begin
    return "\n".join(
        [
            f"the true w1 inside the {CONFIDENCE:.0%} interval: {held} of {trials}",
            f"mean of z {z.mean():+.2f}, standard deviation {z.std():.2f}, "
            f"mean error of w1 {np.mean([t.error for t in found]):.3f}",
            f"{IMAGES} images a trial, {seconds:.0f} s",
        ]
    )


if __name__ == "__main__":
    print(report(*map(int, sys.argv[1:3])))
