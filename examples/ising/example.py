"""Ising model from a simulated experiment: temperature and field of six images of spins."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape import Schedule, Sweep, fit, landscape, run, sample, square
from latticescape.analysis.counts.counting import count_lattices
from latticescape.analysis.plots import landscape_map, save
from latticescape.physics.kernels.traces import unpack_replicas
from latticescape.sweeps.spec.seeding import point_seed

HERE = Path(__file__).parent

Images = npt.NDArray[np.uint8]

# What the experiment does not tell us, and the fit has to.
TRUTH = {"T": 2.8, "H": 0.2}
IMAGES = 6


def experiment(sweep: Sweep) -> Images:
    """Spins of a few independent lattices at the truth, (images, sites), 0 and 1."""
    lattice, point = sweep.lattice, {name: np.array([v]) for name, v in TRUTH.items()}
    seeds = point_seed(7, TRUTH)[None, :]
    found = sample(sweep.model, lattice, point, Schedule(2000, 2, 1), seeds, keep=("spins",))
    return unpack_replicas(found.kept["spins"][0])[:IMAGES]


def small_sweep(sweep: Sweep) -> Sweep:
    """The same on a smaller lattice, with half of the grid's points along each axis."""
    grid = {name: values[::2] for name, values in sweep.axes.items()}
    return Sweep(square(32), sweep.model, grid, Schedule(200, 40, 5), sweep.seed)


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write the experiment, the store and the figure into a folder; returns what was found."""
    sweep = Sweep.from_file(HERE / "ising.toml")
    sweep = small_sweep(sweep) if small else sweep
    images = experiment(sweep)
    np.savetxt(folder / "experiment.txt", images, fmt="%d", delimiter="")
    surface = landscape(
        run(sweep, folder / "ising.zarr", progress=False), count_lattices(images, sweep.lattice)
    )
    result = fit(surface)
    figure = save(landscape_map(surface, best=result.parameters), folder / "landscape.png")
    for name, (value, error) in result.parameters.items():
        print(f"{name} = {value:.3f} ± {error:.3f}, true {TRUTH[name]}")
    return {"parameters": dict(result.parameters), "truth": TRUTH, "pictures": [figure]}


if __name__ == "__main__":
    main(HERE)
