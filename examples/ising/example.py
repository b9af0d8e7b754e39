"""Ising model: fit temperature and field to six simulated images of spins."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape import Schedule, Sweep, fit, landscape, run, sample, square
from latticescape.analysis.counts.counting import count_lattices
from latticescape.analysis.plots import landscape_map, save
from latticescape.physics.variables import unpack_replicas
from latticescape.sweeps.spec.sweep import point_seed

HERE = Path(__file__).parent

Images = npt.NDArray[np.uint8]

# The unknowns of the experiment, which the fit determines.
TRUTH = {"T": 2.8, "H": 0.2}
IMAGES = 6


def experiment(sweep: Sweep) -> Images:
    """Simulate the spins of a few lattices at the true parameters, (images, sites), 0 and 1."""
    lattice, point = sweep.lattice, {name: np.array([v]) for name, v in TRUTH.items()}
    seeds = point_seed(7, TRUTH)[None, :]
    samples = sample(sweep.model, lattice, point, Schedule(2000, 2, 1), seeds, keep=("spins",))
    return unpack_replicas(samples.kept["spins"][0])[:IMAGES]


def small_sweep(sweep: Sweep) -> Sweep:
    """Return the sweep on a smaller lattice, with half of the points along each axis."""
    grid = {name: values[::2] for name, values in sweep.axes.items()}
    return Sweep(square(32), sweep.model, grid, Schedule(200, 40, 5), sweep.seed)


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write experiment, store and figure into a folder, and return the results."""
    sweep = Sweep.from_file(HERE / "ising.toml")
    sweep = small_sweep(sweep) if small else sweep
    images = experiment(sweep)
    np.savetxt(folder / "experiment.txt", images, fmt="%d", delimiter="")
    distances = landscape(
        run(sweep, folder / "ising.zarr", progress=False), count_lattices(images, sweep.lattice)
    )
    estimate = fit(distances)
    figure = save(landscape_map(distances), folder / "landscape.png")
    for name, (value, error) in estimate.parameters.items():
        print(f"{name} = {value:.3f} ± {error:.3f}, true {TRUTH[name]}")
    return {"parameters": dict(estimate.parameters), "truth": TRUTH, "pictures": [figure]}


if __name__ == "__main__":
    main(HERE)
