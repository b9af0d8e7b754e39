"""Simulate, draw, measure, fit: how often does the 90 % interval hold the true w1?

``python -m benchmarks.closed_loop [TRIALS] [FIRST]``; each trial has a w1 and four images of its
own.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from latticescape.deploy.demo import SyntheticCheck, run_synthetic_check
from latticescape.deploy.examples import example
from latticescape.sweeps import Sweep, open_sweep
from latticescape.sweeps.execution.run import execute

CONFIDENCE = 0.9
WIDEST = 0.25


def simulated(folder: Path) -> xr.Dataset:
    """The sweep that all trials are compared with, in memory."""
    store = folder / "synthetic_check.zarr"
    execute(Sweep.from_file(example("synthetic_check.toml")), store, progress=False)
    return open_sweep(store)[["histogram_replica", "composition"]].load()


def trial(number: int, sweep: xr.Dataset) -> SyntheticCheck:
    """One turn of the loop, at a w1 of its own."""
    w1 = float(np.random.default_rng(1000 + number).uniform(-WIDEST, WIDEST))
    return run_synthetic_check(sweep, w1, seed=100 * number)


def report(trials: int = 100, first: int = 0) -> str:
    """The tally as text."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sweep = simulated(Path(folder))
    found = [trial(first + k, sweep) for k in range(trials)]
    z = np.array([(t.fitted - t.true) / t.error for t in found])
    held = sum(t.contains_truth(CONFIDENCE) for t in found)
    return "\n".join(
        [
            f"the true w1 inside the {CONFIDENCE:.0%} interval: {held} of {trials}",
            f"mean of z {z.mean():+.2f}, standard deviation {z.std():.2f}, "
            f"mean error of w1 {np.mean([t.error for t in found]):.3f}",
            f"{len(found[0].images)} images a trial, {time.perf_counter() - begin:.0f} s",
        ]
    )


if __name__ == "__main__":
    print(report(*map(int, sys.argv[1:3])))
