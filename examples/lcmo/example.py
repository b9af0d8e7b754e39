"""La5/8Ca3/8MnO3: fit segregation energies to counts of hollows and a Ca profile."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import chi2

from latticescape import (
    Schedule,
    SegregationSlab,
    Sweep,
    fit,
    joint_region,
    run,
    slab,
    slab_landscape,
)
from latticescape.physics.slab.kernel import SlabKernel
from latticescape.sweeps.spec.sweep import point_seed

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent

PUBLISHED = {"w_CL": 1.65, "w_LL": 6.28, "w_LO": -7.57}

# The profile was published without errors; this error of a layer's Ca fraction is assumed.
PROFILE_ERROR = 0.02


def sources() -> dict[str, Any]:
    """Read the published counts and profile."""
    surface, profile = (
        pd.read_csv(HERE / name, comment="#") for name in ("surface_counts.csv", "ca_profile.csv")
    )
    return {
        "SO": surface["with_oxygen"].to_numpy(),
        "SN": surface["without_oxygen"].to_numpy(),
        "PR": {"value": profile["ca_fraction"], "error": np.full(len(profile), PROFILE_ERROR)},
    }


def small_sweep(sweep: Sweep) -> Sweep:
    """Return the sweep on a narrow slab, with half of the points along each axis."""
    grid = {name: values[::2] for name, values in sweep.axes.items()}
    return Sweep(slab(8, 16), sweep.model, grid, Schedule(30, 10, 5), sweep.seed)


def experiment(sweep: Sweep) -> dict[str, Any]:
    """Simulate the three sources of a film with known energies, the published ones."""
    schedule = Schedule(equilibration_mcs=300, samples=4, stride_mcs=100)
    model = SegregationSlab(**PUBLISHED)
    film = SlabKernel(sweep.lattice, model, schedule, swept=())
    seed = point_seed(sweep.seed + 1, {})
    variables = film.compute({}, seed[None])
    without, with_oxygen = variables["histogram_replica"][0, 0]
    blur = np.random.default_rng(sweep.seed).normal(0, PROFILE_ERROR, sweep.lattice.layers)
    profile = {
        "value": variables["ca_fraction"][0] + blur,
        "error": np.full(blur.size, PROFILE_ERROR),
    }
    return {"SO": with_oxygen, "SN": without, "PR": profile}


def landscapes(ds: xr.Dataset, data: dict[str, Any]) -> dict[str, xr.Dataset]:
    """Compute the landscapes of some of the sources, and of all."""
    return {
        "profile": slab_landscape(ds, {"PR": data["PR"]}),
        "surface": slab_landscape(ds, {name: data[name] for name in ("SO", "SN")}),
        "all": slab_landscape(ds, data),
    }


def draw_regions(
    panel: Any, landscapes: dict[str, xr.Dataset], title: str, x: str = "w_LL", y: str = "w_LO"
) -> None:
    """Draw the confidence region of two energies for each choice of sources."""
    (third,) = set(PUBLISHED) - {x, y}
    for colour, (name, distances) in zip(
        ("tab:orange", "tab:blue", "black"), landscapes.items(), strict=True
    ):
        excess = joint_region(distances).excess.min(third).transpose(y, x)
        level = [0, chi2(2).ppf(0.95)]
        panel.contourf(excess[x], excess[y], excess, level, colors=[colour], alpha=0.35)
        panel.plot([], [], color=colour, linewidth=6, alpha=0.4, label=name)
    panel.plot(PUBLISHED[x], PUBLISHED[y], "r*", markersize=12, label="published")
    panel.set(xlabel=f"{x} (kJ/mol)", ylabel=f"{y} (kJ/mol)", title=title)
    panel.legend(loc="lower left")


def draw_distances(panel: Any, distances: xr.Dataset) -> None:
    """Draw S² of every source at the published energies and at the minimum."""
    near = distances.sel(PUBLISHED, method="nearest")
    best = distances.isel(distances.s2_total.argmin(...))
    for shift, (label, point) in enumerate({"published": near, "best": best}.items()):
        panel.bar(np.arange(3) + 0.4 * shift, point.s2, 0.35, label=label)
    panel.set_xticks(np.arange(3) + 0.2, near.source.values)
    panel.set(ylabel="S²", yscale="log", title="S² of every measured source")
    panel.legend()


def draw(known: dict[str, xr.Dataset], measured: dict[str, xr.Dataset], picture: Path) -> Path:
    """Draw the regions of the simulated and the measured film, and S² of the measured one."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
    (top_left, top_right), (low_left, low_right) = panels
    draw_regions(top_left, known, "95 % regions: simulated film")
    draw_regions(top_right, known, "95 % regions: simulated film", "w_CL", "w_LL")
    draw_regions(low_left, measured, "95 % regions: measured film")
    draw_distances(low_right, measured["all"])
    figure.savefig(picture, dpi=100)
    plt.close(figure)
    return picture


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write the store and the figure into a folder, and return the results."""
    sweep = Sweep.from_file(HERE / "lcmo.toml")
    sweep = small_sweep(sweep) if small else sweep
    ds = run(sweep, folder / "lcmo.zarr", progress=False).load()
    measured = landscapes(ds, sources())
    estimate = fit(measured["all"])
    for name, (value, error) in estimate.parameters.items():
        print(f"{name} = {value:.2f} ± {error:.2f} kJ/mol, published {PUBLISHED[name]}")
    print(
        "S² at the minimum:",
        {
            str(s): round(float(v), 4)
            for s, v in zip(estimate.s2.source.values, estimate.s2, strict=True)
        },
    )
    print(*estimate.notes, sep="\n")
    known = landscapes(ds, experiment(sweep))
    return {"fit": estimate, "pictures": [draw(known, measured, folder / "regions.png")]}


if __name__ == "__main__":
    main(HERE)
