"""La5/8Ca3/8MnO3: energies of segregation from hollows with and without oxygen and a profile."""

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
from latticescape.sweeps.spec.seeding import point_seed

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


def experiment(sweep: Sweep) -> dict[str, Any]:
    """The three sources of a film with the published energies: known ones, to be found again."""
    schedule = Schedule(equilibration_mcs=300, samples=4, stride_mcs=100)
    model = SegregationSlab(**PUBLISHED)
    film = SlabKernel(sweep.lattice, model, schedule, swept=())
    seed = point_seed(sweep.seed + 1, {})
    found = film.compute({}, seed[None])
    without, with_oxygen = found["histogram_replica"][0, 0]
    blur = np.random.default_rng(sweep.seed).normal(0, PROFILE_ERROR, sweep.lattice.layers)
    profile = {"value": found["ca_fraction"][0] + blur, "error": np.full(blur.size, PROFILE_ERROR)}
    return {"SO": with_oxygen, "SN": without, "PR": profile}


def landscapes_of(ds: xr.Dataset, data: dict[str, Any]) -> dict[str, xr.Dataset]:
    """By some of the sources, and by all."""
    return {
        "profile": slab_landscape(ds, {"PR": data["PR"]}),
        "surface": slab_landscape(ds, {name: data[name] for name in ("SO", "SN")}),
        "all": slab_landscape(ds, data),
    }


def draw_regions(
    panel: Any, landscapes: dict[str, xr.Dataset], title: str, x: str = "w_LL", y: str = "w_LO"
) -> None:
    """What each choice of sources leaves of two energies, whatever the third is."""
    (third,) = set(PUBLISHED) - {x, y}
    for colour, (name, landscape) in zip(
        ("tab:orange", "tab:blue", "black"), landscapes.items(), strict=True
    ):
        least = joint_region(landscape).excess.min(third).transpose(y, x)
        level = [0, chi2(2).ppf(0.95)]
        panel.contourf(least[x], least[y], least, level, colors=[colour], alpha=0.35)
        panel.plot([], [], color=colour, linewidth=6, alpha=0.4, label=name)
    panel.plot(PUBLISHED[x], PUBLISHED[y], "r*", markersize=12, label="published")
    panel.set(xlabel=f"{x} (kJ/mol)", ylabel=f"{y} (kJ/mol)", title=title)
    panel.legend(loc="lower left")


def draw_distances(panel: Any, landscape: xr.Dataset) -> None:
    """S² of every source next to the published energies, and where it is least."""
    near = landscape.sel(PUBLISHED, method="nearest")
    best = landscape.isel(landscape.s2_total.argmin(...))
    for shift, (told, point) in enumerate({"published": near, "best": best}.items()):
        panel.bar(np.arange(3) + 0.4 * shift, point.s2, 0.35, label=told)
    panel.set_xticks(np.arange(3) + 0.2, near.source.values)
    panel.set(ylabel="S²", yscale="log", title="S² of every measured source")
    panel.legend()


def draw(known: dict[str, xr.Dataset], measured: dict[str, xr.Dataset], picture: Path) -> Path:
    """Regions from a simulated film and from the measured one, and S² of the latter."""
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
    """Write the store and the figure into a folder; returns what was found."""
    sweep = Sweep.from_file(HERE / "lcmo.toml")
    sweep = small_sweep(sweep) if small else sweep
    ds = run(sweep, folder / "lcmo.zarr", progress=False).load()
    landscapes = landscapes_of(ds, sources())
    result = fit(landscapes["all"])
    for name, (value, error) in result.parameters.items():
        print(f"{name} = {value:.2f} ± {error:.2f} kJ/mol, published {PUBLISHED[name]}")
    print(
        "S² there:",
        {
            str(s): round(float(v), 4)
            for s, v in zip(result.s2.source.values, result.s2, strict=True)
        },
    )
    print(*result.notes, sep="\n")
    known = landscapes_of(ds, experiment(sweep))
    return {"fit": result, "pictures": [draw(known, landscapes, folder / "regions.png")]}


if __name__ == "__main__":
    main(HERE)
