"""Adatoms: site energies from populations, and barriers from the hops in films."""

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

# Duration of a frame, in units of the mean residence time on the upper hollow.
FRAME = 0.04
FRAMES = 40  # per track: a new adatom is followed every 40 frames


def small_sweep(sweep: Sweep) -> Sweep:
    """Return the same sweep with half of the temperatures."""
    return Sweep(
        sweep.lattice, sweep.model, {"T": sweep.axes["T"][::2]}, sweep.schedule, sweep.seed
    )


def film(sweep: Sweep, T: float, stay: float, tracks: int) -> tuple[pd.DataFrame, float]:
    """Simulate tracks of a microscope's film (nm), and return the time of a frame (s)."""
    frame_time = FRAME * stay
    rows = []
    for number in range(tracks):
        # A seed per temperature, or the errors of all films would be correlated.
        seed = round(1000 * T) + number
        path = trajectory(sweep.lattice, sweep.model, {"T": T}, hops=400, seed=seed)
        times = np.arange(FRAMES) * frame_time
        x, y = path.positions(times)[:, 0].T * sweep.model.fixed_parameters["a"]
        noise = np.random.default_rng(seed).normal(0, 0.02, (2, FRAMES))
        row, col = np.array([y, x]) + noise
        table = {"frame": np.arange(FRAMES), "particle": number, "row": row, "col": col}
        rows.append(pd.DataFrame(table))
    return pd.concat(rows), frame_time


def hollows(sweep: Sweep) -> tuple[Any, Any]:
    """Return sites of the surface and a margin around it, (row, col) in nm, and their types."""
    cell = sweep.lattice.size * np.asarray(sweep.lattice.geometry.cell)
    shifts = (np.indices((3, 3)).reshape(2, -1).T - 1) @ cell
    positions = (sweep.lattice.positions[None] + shifts[:, None]).reshape(-1, 2)
    types = np.tile(sweep.model.types(sweep.lattice), len(shifts))
    return positions[:, ::-1] * sweep.model.fixed_parameters["a"], types


def films(sweep: Sweep, ds: xr.Dataset, folder: Path, tracks: int) -> xr.Dataset:
    """Measure the hop rates of one film per temperature, along T."""
    sites, types = hollows(sweep)
    rates = []
    for T in ds["T"].values:
        stay = float(ds.residence_time.sel(T=T, site_type=1))
        table, frame_time = film(sweep, float(T), stay, tracks)
        table.to_csv(folder / f"tracks_{T:g}K.csv", index=False, float_format="%.4f")
        film_rates = hop_rates(folder / f"tracks_{T:g}K.csv", sites, frame_time, types=types)
        rates.append(film_rates.expand_dims(T=[float(T)]))
    return xr.concat(rates, "T")


def figure(ds: xr.Dataset, measured: xr.Dataset, fits: dict[str, xr.Dataset], path: Path) -> Path:
    """Plot rates over 1/T: the sweep, the films and the Arrhenius fits."""
    picture = Figure(figsize=(6, 4.5), layout="constrained")
    axes = picture.subplots()
    for name, (start, end) in {"up": (0, 1), "down": (1, 0)}.items():
        along = {"site_type": start, "to_site_type": end}
        swept, filmed = ds.sel(along), measured.sel(along)
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
    axes.set(yscale="log", xlabel="1000 K / T", ylabel="hop rate of an adatom (1/s)")
    axes.legend()
    picture.savefig(path, dpi=110)
    return path


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write store, films and figure into a folder, and return the results."""
    sweep = Sweep.from_file(HERE / "adatoms.toml")
    sweep = small_sweep(sweep) if small else sweep
    ds = run(sweep, folder / "adatoms.zarr", progress=False).load()
    measured = films(sweep, ds, folder, tracks=40 if small else 150)
    fits = {
        "up": arrhenius(hop_counts(measured, 0, 1)),
        "down": arrhenius(hop_counts(measured, 1, 0)),
    }
    T = float(ds["T"][-1])
    at = ds.sel(T=T)
    energies = site_energies(at.population, T, errors=at.population_se)
    results = {
        **{f"barrier_{n}": (float(f.barrier), float(f.barrier_se)) for n, f in fits.items()},
        "energy": (float(energies.energy[1]), float(energies.energy_se[1])),
    }
    for name, (value, error) in results.items():
        print(f"{name}: {value:.4f} ± {error:.4f} eV, true {TRUTH[name]}")
    path = figure(ds, measured, fits, folder / "rates.png")
    return {"truth": TRUTH, "parameters": results, "pictures": [path]}


def hop_counts(rates: xr.Dataset, start: int, end: int) -> xr.Dataset:
    """Select the counts of one kind of hop for the Arrhenius fit."""
    return xr.Dataset(
        {
            "hops": rates.hops.sel(site_type=start, to_site_type=end, drop=True),
            "exposure": rates.exposure.sel(site_type=start, drop=True),
        }
    )


if __name__ == "__main__":
    main(HERE)
