"""The power spectrum of an image, as lattices are looked for in it."""

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter

Floats = npt.NDArray[np.float64]

# Spots nearer to the centre than so many bins are the frame's, those beyond are pixels', in
# cycles per px.
NEAREST_BIN, FARTHEST = 3.5, 0.45


def power_spectrum(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Power under a Hann taper, smoothed over a bin, and its frequencies.

    Parameters
    ----------
    values
        (row, col), finite.

    Returns
    -------
    power, row, col
        (rows, cols), (rows, 1) and (1, cols); frequencies in cycles per px, zero first.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(64) / 16) * np.ones((64, 1))
    >>> power, row, col = power_spectrum(wave)
    >>> float(abs(np.broadcast_to(col, power.shape).flat[power.argmax()]))
    0.0625
    """
    taper = np.outer(*(np.hanning(length + 2)[1:-1] for length in values.shape))
    mean = (values * taper).sum() / taper.sum()
    power = np.abs(scipy.fft.fft2((values - mean) * taper, workers=1)) ** 2
    row, col = (np.fft.fftfreq(length) for length in values.shape)
    smooth = np.asarray(gaussian_filter(power, 1.0, mode="wrap"), np.float64)
    return smooth, np.asarray(row[:, None], np.float64), np.asarray(col[None, :], np.float64)
