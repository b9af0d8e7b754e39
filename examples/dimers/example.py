"""Dimers on a honeycomb lattice, as in α-RuCl3: map them by sliding FFT and unmixing."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure

from latticescape import count_endmembers, sliding_fft, spots, unmix
from latticescape.analysis.images.synthetic import two_phases

HERE = Path(__file__).parent

BOUNDARY = 0.45
SPACING = 8.0
WINDOW = 72


def frame(small: bool) -> tuple[xr.DataArray, xr.DataArray]:
    """Draw a perfect honeycomb above dimers, with Poisson noise; return it with the phase map."""
    return two_phases(
        "dimers",
        shape=(260, 240) if small else (420, 400),
        spacing=SPACING,
        rotation=12,
        boundary=BOUNDARY,
        peak=30,
        background=5,
        seed=4,
    )


def boundary_row(mixture: xr.Dataset, dimers: int) -> float:
    """Return the row at which windows contain equal shares of both phases."""
    share = mixture.abundance.isel(endmember=dimers).mean("window_col").to_numpy()
    rows = mixture.window_row.to_numpy()
    below = int(np.argmax(share > 0.5))
    return float(np.interp(0.5, share[below - 1 : below + 1], rows[below - 1 : below + 1]))


def figure(image: xr.DataArray, mixture: xr.Dataset, dimers: int, path: Path) -> Path:
    """Draw the image, the abundance of dimers, and both endmembers."""
    picture = Figure(figsize=(9, 7), layout="constrained")
    top, bottom = picture.subplots(2, 2)
    top[0].imshow(image, cmap="gray")
    top[0].set_title("image")
    share = mixture.abundance.isel(endmember=dimers)
    rows, columns = image.shape
    shown = top[1].imshow(share, vmin=0, vmax=1, cmap="viridis", extent=(0, columns, rows, 0))
    top[1].set_title("abundance of dimers, by window")
    for axes in top:
        axes.set(xlabel="column (px)", ylabel="row (px)")
    picture.colorbar(shown, ax=top[1])
    middle = slice(WINDOW // 4, 3 * WINDOW // 4)
    for axes, number, title in zip(
        bottom, (1 - dimers, dimers), ("perfect", "dimers"), strict=True
    ):
        spectrum: npt.NDArray[Any] = mixture.endmember.isel(endmember=number).to_numpy()
        axes.imshow(spectrum[middle, middle], cmap="magma", extent=(-0.25, 0.25, 0.25, -0.25))
        axes.set(title=f"endmember: {title}", xlabel="frequency (1/px)", ylabel="frequency (1/px)")
    picture.savefig(path, dpi=110)
    return path


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write the image and the figure into a folder, and return the results."""
    image, phase = frame(small)
    np.save(folder / "image.npy", image.to_numpy().astype(np.uint16))
    spectra = sliding_fft(image, window=WINDOW, step=WINDOW // 4).compute()
    number = count_endmembers(spectra).attrs["endmembers"]
    mixture = unmix(spectra, number)
    dimers = int(mixture.abundance.isel(window_row=-1).mean("window_col").to_numpy().argmax())
    brightest = spots(mixture, most=1).isel(endmember=1 - dimers, spot=0)
    k = float(np.hypot(brightest.frequency_row, brightest.frequency_col))
    # Windows of 72 px are 18 px apart; a boundary is accurate to half a step.
    results = {
        "endmembers": (float(number), 0.1),
        "boundary": (boundary_row(mixture, dimers), WINDOW / 8),
        "period": (1 / k, 0.05),
    }
    truth = {"endmembers": 2, "boundary": BOUNDARY * len(phase), "period": 1.5 * SPACING}
    for name, (value, error) in results.items():
        print(f"{name}: {value:.2f} ± {error:.2f}, true {truth[name]:.2f}")
    path = figure(image, mixture, dimers, folder / "dimers.png")
    return {"truth": truth, "parameters": results, "pictures": [path]}


if __name__ == "__main__":
    main(HERE)
