"""The main job on real data: four images of Mo(1-x)Re(x)S2, and the interaction they show."""

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from analysis import Fit, best_fit, compare, landscape, observed_counts, random_mixing
from analysis.browse import landscape_map, save
from deploy.examples import example
from sweeps.run import Report, execute
from sweeps.spec import Sweep
from sweeps.store import open_sweep


@dataclass(frozen=True)
class Demo:
    """What the demo found and where it put it."""

    report: Report
    comparison: xr.Dataset
    published: pd.DataFrame
    fit: Fit
    pictures: tuple[Path, ...]
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """The findings as one JSON object."""
        by_model = self.comparison.set_index(model="model").to_dict(data="list")["data_vars"]
        return {
            "store": self.report.store,
            "points": self.report.points,
            "computed": self.report.computed,
            "failed": self.report.failed,
            "models": [str(m) for m in self.comparison["model"].values],
            "images": [str(i) for i in self.comparison["image"].values],
            "table": {name: values["data"] for name, values in by_model.items()},
            "parameters": {
                name: {"value": value, "se": error}
                for name, (value, error) in self.fit.parameters.items()
            },
            "pictures": [str(path) for path in self.pictures],
            "seconds": self.seconds,
        }


def demo(folder: Path, *, progress: bool = True) -> Demo:
    """Sweep the pair model, measure its distance to the images, compare with the random alloy.

    Parameters
    ----------
    folder
        Where the store and the pictures go; run again in the same folder, it computes only what
        is missing.
    progress
        Show a bar in a terminal.
    """
    begin = time.perf_counter()
    sweep = Sweep.from_file(example("mores2_pair.toml"))
    observed = observed_counts(example("mores2_counts.csv"), lattice="triangular")
    report = execute(sweep, folder / "mores2.zarr", progress=progress)
    scape = landscape(open_sweep(report.store), observed)
    fit = best_fit(scape)
    pictures = tuple(folder / f"mores2_landscape.{kind}" for kind in ("png", "html"))
    for path in pictures:
        save(landscape_map(scape, best=fit.parameters), path)
    return Demo(
        report=report,
        comparison=compare({"random": random_mixing(observed), "pair": scape}),
        published=pd.read_csv(example("mores2_published.csv"), comment="#"),
        fit=fit,
        pictures=pictures,
        seconds=time.perf_counter() - begin,
    )
