"""What p-values, decisions and data needed promise: ``python -m benchmarks selection``.

Synthetic data sets of known models: p-values of true models are uniform (Kolmogorov and Smirnov),
decisions are wrong no more often than stated, and data said to be needed gives the error and the
power.
"""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import kstest

from benchmarks.lecture_table import simulated
from latticescape.analysis import (
    Accumulator,
    fit,
    landscape,
    observed_counts,
    p_values,
    sample_size,
)
from latticescape.analysis.counts.counting import SHUFFLES, counts_dataset
from latticescape.analysis.counts.overlap import random_p_value, shuffled_counts
from latticescape.analysis.inference.comparison.models import Predictions, predictions
from latticescape.deploy.examples import example
from latticescape.physics import (
    PairAlloy,
    Schedule,
    configurations,
    count_configurations,
    triangular,
)

Floats = npt.NDArray[np.float64]

TRUE_W1 = -0.085
AXIS = np.linspace(-0.3, 0.13, 44)
CLASSES = configurations("triangular")


def images(said: Predictions, point: int, n: Floats, x: Floats | None, seed: int) -> xr.Dataset:
    """One set of independent images of a model; at known compositions, or at those measured."""
    drawn = said.draws(n, 1, np.random.default_rng(seed), point=point)[0]
    found = counts_dataset({f"image {k}": row for k, row in enumerate(drawn)}, CLASSES)
    return found if x is None else found.assign(composition=("image", x))


def uniformity(name: str, trial: Callable[[int], Floats], trials: int) -> str:
    """Kolmogorov–Smirnov of p-values of every image, and of all together."""
    found = np.array([trial(seed) for seed in range(trials)])
    tails = [kstest(column, "uniform").pvalue for column in found.T]
    low = (found[:, -1] < 0.05).mean()
    return (
        f"  {name:46} KS p {' '.join(f'{p:.3f}' for p in tails)}; below .05: {low:.3f} ± "
        f"{np.sqrt(0.05 * 0.95 / trials):.3f}"
    )


def _row(found: xr.Dataset) -> Floats:
    return np.append(found["p_value"].to_numpy(), float(found["p_value_total"]))


def patches(seed: int) -> Floats:
    """Shuffles of a random alloy's own sites, where neighbourhoods overlap."""
    rng = np.random.default_rng(seed)
    lattice = triangular(22)
    rings, centers = lattice.neighbors(1), np.arange(lattice.sites)
    species = (rng.random(lattice.sites) < 0.6).astype(int)
    counts = count_configurations(species, centers, rings, CLASSES)
    shuffled = shuffled_counts(species, centers, rings, CLASSES, shuffles=SHUFFLES, seed=seed)
    return np.array([random_p_value(counts, shuffled, CLASSES)])


def decisions(sweep: xr.Dataset, said: Predictions, runs: int, most: int) -> list[str]:
    """How often the sequential test decides wrongly, at parameters drawn from the prior."""
    lines = []
    for truth in ("random", "pair"):
        wrong = undecided = taken = 0
        for run in range(runs):
            rng = np.random.default_rng(7000 + run)
            point = (
                int(rng.integers(len(said.values)))
                if truth == "pair"
                else int(np.argmin(np.abs(said.values[:, 0])))
            )
            running = Accumulator({"random": "random", "pair": sweep}, "triangular")
            while not running.finished and len(running.history) < most:
                one = said.draws([1500] * said.probability.shape[0], 1, rng, point=point)[0, :1]
                at = counts_dataset({f"image {len(running.history)}": one[0]}, CLASSES)
                running.add(at.assign(composition=("image", sweep["x"].to_numpy()[:1])))
            decided = running.history[-1].decision
            wrong += decided not in (truth, None)
            undecided += decided is None
            taken += len(running.history)
        error = np.sqrt(max(wrong, 1)) / runs
        lines.append(
            f"  {truth:6} true: wrong {wrong / runs:.3f} ± {error:.3f} (stated at most .05), "
            f"undecided after {most} images {undecided / runs:.3f}, {taken / runs:.1f} images"
        )
    return lines


def needed(sweep: xr.Dataset, said: Predictions, x: Floats, trials: int) -> list[str]:
    """Spread of estimates, and power, at the data that is said to be needed."""
    point = int(np.argmin(np.abs(said.values[:, 0] - TRUE_W1)))
    observed = images(said, point, np.full(len(x), 4000.0), x, 5)
    need = sample_size(sweep, observed, errors={"w1": 0.015})
    each = np.full(len(x), need.neighborhoods / len(x))
    values = np.array(
        [
            fit(landscape(sweep, images(said, point, each, x, 900 + k))).parameters["w1"][0]
            for k in range(trials)
        ]
    )
    tell = sample_size(sweep, observed, against="random", power=0.9, draws=2000)
    return [
        f"  error of w1 .015 wanted, N = {need.neighborhoods}: {values.std(ddof=1):.4f} ± "
        f"{values.std(ddof=1) / np.sqrt(2 * trials):.4f}, "
        f"mean {values.mean():.4f} (true {TRUE_W1})",
        f"  power .9 against random wanted, N = {tell.neighborhoods}: "
        f"{tell.power[0]:.3f} ± {tell.power[1]:.3f}",
    ]


def report(trials: int = 200, *, size: int = 48, draws: int = 499, most: int = 20) -> str:
    """The tallies as text."""
    begin = time.perf_counter()
    observed = observed_counts(example("mores2_counts.csv"))
    x, n = observed["composition"].to_numpy(), observed["n"].to_numpy().astype(float)
    sweep = simulated(PairAlloy(), x, {"w1": AXIS}, size=size, schedule=Schedule(100, 40, 10))
    said, null = predictions(sweep, observed), predictions("random", observed)
    point = int(np.argmin(np.abs(said.values[:, 0] - TRUE_W1)))

    def held(seed: int) -> Floats:
        return _row(p_values("random", images(null, 0, n, x, seed), draws=draws, seed=seed))

    def measured(seed: int) -> Floats:
        drawn = images(null, 0, n, None, seed)
        return _row(p_values("random", drawn, draws=draws, seed=seed, composition="measured"))

    def fitted(seed: int) -> Floats:
        return _row(p_values(sweep, images(said, point, n, x, seed), draws=draws, seed=seed))

    def unfitted(seed: int) -> Floats:
        drawn = images(said, point, n, x, seed)
        return _row(p_values(sweep, drawn, draws=draws, seed=seed, refit=False))

    def chi2(seed: int) -> Floats:
        return _row(p_values("random", images(null, 0, n, x, seed), way="chi2"))

    tests = {
        "random, bootstrap, composition known": held,
        "random, bootstrap, composition measured": measured,
        "pair model fitted, bootstrap": fitted,
        "pair model fitted, bootstrap without refit": unfitted,
        "random, χ² (the published convention)": chi2,
        "random alloy on 22×22 sites, shuffled": patches,
    }
    lines = [f"p-values of true models, {trials} data sets (images, then all)"]
    lines += [uniformity(name, trial, trials) for name, trial in tests.items()]
    lines += ["sequential decisions", *decisions(_middle(sweep), _second(said), trials, most)]
    lines += ["data needed", *needed(sweep, said, x, trials)]
    return "\n".join([*lines, f"{time.perf_counter() - begin:.0f} s"])


def _middle(sweep: xr.Dataset) -> xr.Dataset:
    """The composition near one half alone."""
    return sweep.isel(x=[1])


def _second(said: Predictions) -> Predictions:
    return Predictions(said.names, said.values, said.probability[1:2], said.classes)
