"""Adatoms seen by STM: fit one coupling for each direction, and compare with a single coupling."""

from pathlib import Path
from typing import Any

from latticescape import Schedule, Sweep, classes_of, compare, fit, landscape, observed_counts, run
from latticescape.analysis.plots import landscape_map, save
from latticescape.physics import triangular

HERE = Path(__file__).parent

# The result of this example, in units of k_B T.
FITTED = {"w_c": -1.86, "w_s": 1.07, "w_d": 0.64}


def small_sweep(sweep: Sweep) -> Sweep:
    """Return the sweep on a smaller lattice, with shorter simulations."""
    return Sweep(
        triangular([16, 15]),
        sweep.model,
        sweep.axes,
        Schedule(100, 10, 10),
        sweep.seed,
        classes=sweep.classes,
    )


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write stores and figure into a folder, and return the results."""
    landscapes = {}
    for name in ("spec", "isotropic"):
        sweep = Sweep.from_file(HERE / f"{name}.toml")
        sweep = small_sweep(sweep) if small else sweep
        ds = run(sweep, folder / f"{name}.zarr", progress=False)
        observed = observed_counts(HERE / "counts.csv", classes=classes_of(ds))
        landscapes[name] = landscape(ds, observed)
    estimate = fit(landscapes["spec"])
    for name, (value, error) in estimate.parameters.items():
        print(f"{name}: {value:.2f} ± {error:.2f} k_B T")
    table = compare(
        {"directional": landscapes["spec"], "isotropic": landscapes["isotropic"]}, draws=199
    )
    print(table[["s2_total", "p_value_total", "bic"]].to_dataframe())
    title = "Adatoms on 3218 sites, 128 configurations"
    path = save(landscape_map(landscapes["spec"]), folder / "landscape.png", title=title)
    return {"truth": FITTED, "parameters": estimate.parameters, "pictures": [path], "table": table}


if __name__ == "__main__":
    main(HERE)
