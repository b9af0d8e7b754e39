"""MoS2–ReS2: fit the interactions of the alloy to four images."""

from pathlib import Path
from typing import Any

from latticescape import (
    Schedule,
    Sweep,
    compare,
    fit,
    landscape,
    observed_counts,
    random_mixing,
    run,
    triangular,
)
from latticescape.analysis.plots import landscape_map, save

HERE = Path(__file__).parent
COUNTS = HERE.parent / "mores2_counts.csv"

# The best pair model of two direct simulations with the published settings (docs/science.md).
PUBLISHED = {"w1": -0.098, "w2": -0.057}


def small_sweep(sweep: Sweep) -> Sweep:
    """Return the sweep on a smaller lattice, with fewer points along each interaction."""
    grid = {name: v if name == "x" else v[::3] for name, v in sweep.axes.items()}
    return Sweep(triangular(32), sweep.model, grid, Schedule(100, 20, 10), sweep.seed)


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write store and figure into a folder, and return the results."""
    sweep = Sweep.from_file(HERE / "pair.toml")
    sweep = small_sweep(sweep) if small else sweep
    observed = observed_counts(COUNTS, species=("Mo", "Re"))
    distances = landscape(run(sweep, folder / "pair.zarr", progress=False), observed)
    estimate = fit(distances)
    table = compare({"random": random_mixing(observed), "pair": distances}, draws=200)
    measured = {name: estimate.parameters[name] for name in PUBLISHED}
    for name, (value, error) in measured.items():
        print(f"{name}: {value:.3f} ± {error:.3f} k_B T0")
    print(table[["s2_total", "bic"]].to_dataframe())
    path = save(
        landscape_map(distances), folder / "landscape.png", title="Mo(1-x)Re(x)S2, four images"
    )
    return {"truth": PUBLISHED, "parameters": measured, "pictures": [path], "table": table}


if __name__ == "__main__":
    main(HERE)
