"""A ternary fcc alloy from an icet expansion: one effective interaction, fitted to counts."""

import csv
from pathlib import Path
from typing import Any

from latticescape import Schedule, Sweep, classes_of, fit, landscape, observed_counts, run
from latticescape.analysis.plots import landscape_map, save

HERE = Path(__file__).parent

# The parameter of the expansion, in eV.
TRUTH = {"J_3": -0.890592}


def sample(sweep: Sweep, folder: Path, replicas: int = 8) -> Path:
    """Write counts of arrangements at the true parameter, as an experiment would, to a table."""
    true = Sweep(
        sweep.lattice,
        sweep.model,
        {"J_3": [TRUTH["J_3"]]},
        sweep.schedule,
        sweep.seed + 1,
        classes=sweep.classes,
    )
    ds = run(true, folder / "truth.zarr", progress=False)
    counts = ds.histogram_replica.isel(J_3=0, replica=slice(replicas)).sum("replica").values
    path = folder / "counts.csv"
    with path.open("w", newline="") as file:
        rows = zip(ds.label.values, counts.tolist(), strict=True)
        csv.writer(file).writerows([("label", "sample"), *rows])
    return path


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write stores and figure into a folder, and return the fit."""
    sweep = Sweep.from_file(HERE / "spec.toml")
    if small:
        sweep = Sweep(
            sweep.lattice,
            sweep.model,
            sweep.axes,
            Schedule(100, 10, 8),
            sweep.seed,
            classes=sweep.classes,
        )
    ds = run(sweep, folder / "ternary.zarr", progress=False)
    print(ds.composition.isel(J_3=0).to_series())
    surface = landscape(ds, observed_counts(sample(sweep, folder), classes=classes_of(ds)))
    estimate = fit(surface)
    value, error = estimate.parameters["J_3"]
    print(f"J_3 = {value:.3f} ± {error:.3f} eV; true: {TRUTH['J_3']:.3f} eV")
    path = save(landscape_map(surface), folder / "landscape.png", title="Cu, Pd and Au on fcc")
    return {"truth": TRUTH, "parameters": estimate.parameters, "pictures": [path]}


if __name__ == "__main__":
    main(HERE)
