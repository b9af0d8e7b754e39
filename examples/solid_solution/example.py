"""Interacting solid solution: which of its three energies an image determines."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape import Fit, Schedule, Sweep, fit, landscape, run, sample, square
from latticescape.analysis.counts.counting import count_lattices
from latticescape.analysis.plots import landscape_map, save
from latticescape.physics.variables import unpack_replicas
from latticescape.sweeps.spec.sweep import point_seed

HERE = Path(__file__).parent

Images = npt.NDArray[np.uint8]
ENSEMBLES = ("closed", "open")

# In k_B·T0. At fixed composition only w_0 − (w_1 + w_m1)/2 = 0.2 has an effect.
TRUTH = {"w_0": 0.25, "w_m1": 0.1, "w_1": 0.0}
IMAGES = 2


def experiment(sweep: Sweep) -> Images:
    """Simulate the species in a few images, (images, sites), 0 (Se) and 1 (Te)."""
    lattice, point = sweep.lattice, {name: np.array([v]) for name, v in TRUTH.items()}
    seeds = point_seed(7, TRUTH)[None, :]
    samples = sample(sweep.model, lattice, point, Schedule(2000, 2, 1), seeds, keep=("spins",))
    return unpack_replicas(samples.kept["spins"][0])[:IMAGES]


def small_sweep(sweep: Sweep) -> Sweep:
    """Return the sweep on a smaller lattice, with fewer points along each axis."""
    grid = {name: values[::2] for name, values in sweep.axes.items()}
    return Sweep(square(24), sweep.model, grid, Schedule(200, 40, 10), sweep.seed)


def fit_ensemble(name: str, folder: Path, small: bool) -> tuple[Fit, Path]:
    """Run and fit one ensemble, and draw its landscape at the true w_1."""
    sweep = Sweep.from_file(HERE / f"{name}.toml")
    sweep = small_sweep(sweep) if small else sweep
    images = experiment(sweep)
    np.savetxt(folder / f"{name}.txt", images, fmt="%d", delimiter="")
    simulated = run(sweep, folder / f"{name}.zarr", progress=False)
    distances = landscape(simulated, count_lattices(images, sweep.lattice))
    cut = distances.sel(w_1=TRUTH["w_1"], method="nearest").drop_vars("w_1")
    figure = save(landscape_map(cut), folder / f"{name}.png", title=f"{name}, w_1 = 0")
    return fit(distances), figure


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write experiments, stores and figures into a folder, and return the results."""
    results: dict[str, Any] = {"truth": TRUTH, "pictures": []}
    for name in ENSEMBLES:
        estimate, figure = fit_ensemble(name, folder, small)
        results[name] = {
            "fit": estimate,
            "interaction": interaction(estimate),
            "notes": estimate.notes,
        }
        results["pictures"].append(figure)
        value, error = interaction(estimate)
        print(f"{name}: w_0 - (w_1 + w_m1)/2 = {value:.3f} ± {error:.3f}, true 0.2")
        print(*estimate.notes, sep="\n")
    return results


def interaction(estimate: Fit) -> tuple[float, float]:
    """Return the combination that acts at fixed composition, with its standard error."""
    weights = np.array([{"w_0": 1.0}.get(name, -0.5) for name in estimate.parameters])
    value = sum(w * v for w, (v, _) in zip(weights, estimate.parameters.values(), strict=True))
    return float(value), float(np.sqrt(weights @ estimate.covariance @ weights))


if __name__ == "__main__":
    main(HERE)
