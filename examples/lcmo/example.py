"""La5/8Ca3/8MnO3: energies of segregation from hollows with and without oxygen and a profile."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import chi2

from analysis import best_fit
from analysis.slabs import slab_landscape
from physics import Schedule, slab
from sweeps import Sweep, run

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent

PUBLISHED = {"w_CL": 1.65, "w_LL": 6.28, "w_LO": -7.57}

# The profile comes without errors; this one of a layer's Ca fraction is assumed.
PROFILE_ERROR = 0.02


def sources() -> dict[str, Any]:
    """The published counts and profile."""
    surface, profile = (
        pd.read_csv(HERE / name, comment="#") for name in ("surface_counts.csv", "ca_profile.csv")
    )
    return {
        "SO": surface["with_oxygen"].to_numpy(),
        "SN": surface["without_oxygen"].to_numpy(),
        "PR": {"value": profile["ca_fraction"], "error": np.full(len(profile), PROFILE_ERROR)},
    }


def small_sweep(sweep: Sweep) -> Sweep:
    """The same on a narrow slab, with half of the grid's points along each axis."""
    grid = {name: values[::2] for name, values in sweep.axes.items()}
    return Sweep(slab(8, 16), sweep.model, grid, Schedule(30, 10, 5), sweep.seed)


def regions(scapes: dict[str, xr.Dataset], picture: Path) -> Path:
    """What each choice of sources leaves of w_LL and w_LO, whatever w_CL is, and S² of each."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for colour, (name, scape) in zip(
        ("tab:blue", "tab:orange", "black"), scapes.items(), strict=True
    ):
        deviance = 4 * float(scape.n.sum()) * (scape.s2_total - scape.s2_total.min())
        least = deviance.min("w_CL").transpose("w_LO", "w_LL")
        level = [0, chi2(2).ppf(0.95)]
        left.contourf(least.w_LL, least.w_LO, least, level, colors=[colour], alpha=0.3)
        left.plot([], [], color=colour, linewidth=6, alpha=0.4, label=name)
    left.plot(PUBLISHED["w_LL"], PUBLISHED["w_LO"], "r*", markersize=12, label="published")
    left.set(xlabel="w_LL (kJ/mol)", ylabel="w_LO (kJ/mol)", title="95 % regions")
    left.legend(loc="lower left")
    near = scapes["all"].sel(PUBLISHED, method="nearest")
    best = scapes["all"].isel(scapes["all"].s2_total.argmin(...))
    for shift, (told, point) in enumerate({"published": near, "best": best}.items()):
        right.bar(np.arange(3) + 0.4 * shift, point.s2, 0.35, label=told)
    right.set_xticks(np.arange(3) + 0.2, near.source.values)
    right.set(ylabel="S²", yscale="log", title="S² of every source")
    right.legend()
    figure.savefig(picture, dpi=120)
    plt.close(figure)
    return picture


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write the store and the figure into a folder; returns what was found."""
    sweep = Sweep.from_file(HERE / "lcmo.toml")
    sweep = small_sweep(sweep) if small else sweep
    ds, data = run(sweep, folder / "lcmo.zarr", progress=False).load(), sources()
    scapes = {
        "surface": slab_landscape(ds, {name: data[name] for name in ("SO", "SN")}),
        "profile": slab_landscape(ds, {"PR": data["PR"]}),
        "all": slab_landscape(ds, data),
    }
    fit = best_fit(scapes["all"])
    for name, (value, error) in fit.parameters.items():
        print(f"{name} = {value:.2f} ± {error:.2f} kJ/mol, published {PUBLISHED[name]}")
    print(
        "S² there:",
        {str(s): round(float(v), 4) for s, v in zip(fit.s2.source.values, fit.s2, strict=True)},
    )
    print(*fit.notes, sep="\n")
    return {"fit": fit, "pictures": [regions(scapes, folder / "regions.png")]}


if __name__ == "__main__":
    main(HERE)
