"""Adatoms: site energies from where they sit, barriers from how often they hop, also in a film."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from latticescape import Sweep, arrhenius, hop_rates, run, site_energies, trajectory

HERE = Path(__file__).parent

# Uphill hops climb from the lower hollow: E_b + (eps_1 − eps_0).
TRUTH = {"barrier_up": 0.38, "barrier_down": 0.35, "energy": 0.03}

# Frames of a film last so many times the mean stay on the upper hollow.
FRAME = 0.04
FRAMES = 40  # of a track: a new adatom is followed every 40 frames


def small_sweep(sweep: Sweep) -> Sweep:
    """The same with half of the temperatures."""
    return Sweep(
        sweep.lattice, sweep.model, {"T": sweep.axes["T"][::2]}, sweep.schedule, sweep.seed
    )


def film(sweep: Sweep, T: float, stay: float, tracks: int) -> tuple[pd.DataFrame, float]:
    """Tracks as a microscope's film would give them (nm), and the time of a frame (s)."""
    frame_time = FRAME * stay
    rows = []
    for number in range(tracks):
        # Another chance at every temperature: else all films would err alike.
        seed = round(1000 * T) + number
        followed = trajectory(sweep.lattice, sweep.model, {"T": T}, hops=400, seed=seed)
        times = np.arange(FRAMES) * frame_time
        x, y = followed.positions(times)[:, 0].T * sweep.model.given["a"]
        noise = np.random.default_rng(seed).normal(0, 0.02, (2, FRAMES))
        row, col = np.array([y, x]) + noise
        table = {"frame": np.arange(FRAMES), "particle": number, "row": row, "col": col}
        rows.append(pd.DataFrame(table))
    return pd.concat(rows), frame_time


def hollows(sweep: Sweep) -> tuple[Any, Any]:
    """Sites of the surface and of a margin around it, (row, col) in nm, and their types."""
    cell = sweep.lattice.size * np.asarray(sweep.lattice.geometry.cell)
    shifts = (np.indices((3, 3)).reshape(2, -1).T - 1) @ cell
    places = (sweep.lattice.positions[None] + shifts[:, None]).reshape(-1, 2)
    types = np.tile(sweep.model.types(sweep.lattice), len(shifts))
    return places[:, ::-1] * sweep.model.given["a"], types


def films(sweep: Sweep, ds: xr.Dataset, folder: Path, tracks: int) -> xr.Dataset:
    """Hop rates of one film a temperature, along T."""
    places, types = hollows(sweep)
    found = []
    for T in ds["T"].values:
        stay = float(ds.residence_time.sel(T=T, site_type=1))
        table, frame_time = film(sweep, float(T), stay, tracks)
        table.to_csv(folder / f"tracks_{T:g}K.csv", index=False, float_format="%.4f")
        rates = hop_rates(folder / f"tracks_{T:g}K.csv", places, frame_time, types=types)
        found.append(rates.expand_dims(T=[float(T)]))
    return xr.concat(found, "T")


def figure(ds: xr.Dataset, seen: xr.Dataset, fits: dict[str, xr.Dataset], path: Path) -> Path:
    """Rates over 1/T: the sweep, the films, the lines of the fits."""
    picture = Figure(figsize=(6, 4.5), layout="constrained")
    axes = picture.subplots()
    for name, (start, end) in {"up": (0, 1), "down": (1, 0)}.items():
        along = {"site_type": start, "to_site_type": end}
        swept, filmed = ds.sel(along), seen.sel(along)
        inverse = 1000 / ds["T"]
        (line,) = axes.plot(inverse, swept.hop_rate, "o", fillstyle="none", label=f"{name}, sweep")
        axes.errorbar(
            inverse,
            filmed.rate,
            filmed.rate_se,
            fmt=".",
            color=line.get_color(),
            label=f"{name}, film",
        )
        axes.plot(1000 / fits[name]["T"], fits[name].rate, "-", color=line.get_color())
    axes.set(yscale="log", xlabel="1000 K / T", ylabel="hops of an adatom, 1/s")
    axes.legend()
    picture.savefig(path, dpi=110)
    return path


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write store, films and figure into a folder; returns what was found."""
    sweep = Sweep.from_file(HERE / "adatoms.toml")
    sweep = small_sweep(sweep) if small else sweep
    ds = run(sweep, folder / "adatoms.zarr", progress=False).load()
    seen = films(sweep, ds, folder, tracks=40 if small else 150)
    fits = {
        "up": arrhenius(_kind(seen, 0, 1)),
        "down": arrhenius(_kind(seen, 1, 0)),
    }
    T = float(ds["T"][-1])
    at = ds.sel(T=T)
    energies = site_energies(at.population, T, errors=at.population_se)
    measured = {
        **{f"barrier_{n}": (float(f.barrier), float(f.barrier_se)) for n, f in fits.items()},
        "energy": (float(energies.energy[1]), float(energies.energy_se[1])),
    }
    for name, (value, error) in measured.items():
        print(f"{name}: {value:.4f} ± {error:.4f} eV, true {TRUTH[name]}")
    path = figure(ds, seen, fits, folder / "rates.png")
    return {"truth": TRUTH, "parameters": measured, "pictures": [path]}


def _kind(seen: xr.Dataset, start: int, end: int) -> xr.Dataset:
    """Counts of one kind of hop, as the Arrhenius fit takes them."""
    return xr.Dataset(
        {
            "hops": seen.hops.sel(site_type=start, to_site_type=end, drop=True),
            "exposure": seen.exposure.sel(site_type=start, drop=True),
        }
    )


if __name__ == "__main__":
    main(HERE)
