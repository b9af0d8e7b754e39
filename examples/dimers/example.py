"""Dimers on a honeycomb, as in α-RuCl3: where they are, by sliding FFT and unmixing."""

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
    """A perfect honeycomb above, dimers below, with Poisson noise; and which phase is where."""
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


def boundary_row(found: xr.Dataset, dimers: int) -> float:
    """Row at which windows hold as much of the one as of the other."""
    share = found.abundance.isel(endmember=dimers).mean("window_col").to_numpy()
    rows = found.window_row.to_numpy()
    below = int(np.argmax(share > 0.5))
    return float(np.interp(0.5, share[below - 1 : below + 1], rows[below - 1 : below + 1]))


def figure(image: xr.DataArray, found: xr.Dataset, dimers: int, path: Path) -> Path:
    """The image, the share of dimers, and both endmembers."""
    picture = Figure(figsize=(9, 7), layout="constrained")
    top, bottom = picture.subplots(2, 2)
    top[0].imshow(image, cmap="gray")
    top[0].set_title("image")
    share = found.abundance.isel(endmember=dimers)
    rows, columns = image.shape
    shown = top[1].imshow(share, vmin=0, vmax=1, cmap="viridis", extent=(0, columns, rows, 0))
    top[1].set_title("share of dimers, by window")
    for axes in top:
        axes.set(xlabel="column (px)", ylabel="row (px)")
    picture.colorbar(shown, ax=top[1])
    middle = slice(WINDOW // 4, 3 * WINDOW // 4)
    for axes, number, title in zip(
        bottom, (1 - dimers, dimers), ("perfect", "dimers"), strict=True
    ):
        spectrum: npt.NDArray[Any] = found.endmember.isel(endmember=number).to_numpy()
        axes.imshow(spectrum[middle, middle], cmap="magma", extent=(-0.25, 0.25, 0.25, -0.25))
        axes.set(title=f"endmember: {title}", xlabel="frequency (1/px)", ylabel="frequency (1/px)")
    picture.savefig(path, dpi=110)
    return path


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write the image and the figure into a folder; returns what was found."""
    image, phase = frame(small)
    np.save(folder / "image.npy", image.to_numpy().astype(np.uint16))
    spectra = sliding_fft(image, window=WINDOW, step=WINDOW // 4).compute()
    number = count_endmembers(spectra).attrs["endmembers"]
    found = unmix(spectra, number)
    dimers = int(found.abundance.isel(window_row=-1).mean("window_col").to_numpy().argmax())
    brightest = spots(found, most=1).isel(endmember=1 - dimers, spot=0)
    k = float(np.hypot(brightest.frequency_row, brightest.frequency_col))
    # Windows of 72 px stand 18 px apart; half a step is what a boundary may be off.
    measured = {
        "endmembers": (float(number), 0.1),
        "boundary": (boundary_row(found, dimers), WINDOW / 8),
        "period": (1 / k, 0.05),
    }
    truth = {"endmembers": 2, "boundary": BOUNDARY * len(phase), "period": 1.5 * SPACING}
    for name, (value, error) in measured.items():
        print(f"{name}: {value:.2f} ± {error:.2f}, true {truth[name]:.2f}")
    path = figure(image, found, dimers, folder / "dimers.png")
    return {"truth": truth, "parameters": measured, "pictures": [path]}


if __name__ == "__main__":
    main(HERE)
