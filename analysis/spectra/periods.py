"""The period of the lattice in an image, as a scale for windows."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from analysis.spectra.power_spectrum import FARTHEST, NEAREST_BIN, power_spectrum
from physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# What is looked at of an image, px along each side, from its middle.
MOST_PIXELS = 1024

# Of the spots that are at least so strong, compared with the strongest, the first order is that of
# the longest period.
WEAKEST = 0.25

# A spot is this many times the noise, which is the lower quartile of the power at its distance: of
# white noise the strongest of a million bins, smoothed as here, reaches 8.
LEAST_STRENGTH, QUARTILE = 12.0, 0.25


def lattice_period(image: npt.ArrayLike) -> float:
    """Distance of the lattice planes of first order, from the strong spots of an image's spectrum.

    Power is weighed by the square of the frequency, as a Laplacian does, so that slow changes of
    thickness do not count as a lattice. Of spots at least a quarter as strong as the strongest
    the one of the longest period is taken.

    Parameters
    ----------
    image
        (row, col), any unit; of more than 1024 × 1024 px the middle is looked at.

    Returns
    -------
    float
        px.

    Raises
    ------
    RequestError
        If no spot stands out of the noise.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(128) / 16)
    >>> round(lattice_period(np.add.outer(wave, wave)), 1)
    16.0
    """
    power, row, col = power_spectrum(_middle(np.asarray(image)))
    frequency = np.hypot(row, col)
    bins = frequency * min(power.shape)
    seen = power * frequency**2 * ((bins >= NEAREST_BIN) & (frequency <= FARTHEST))
    tops = np.flatnonzero((seen == maximum_filter(seen, 5, mode="wrap")) & (seen > 0))
    strong = tops[seen.flat[tops] >= WEAKEST * seen.max()]
    first = strong[frequency.flat[strong].argmin()] if len(strong) else 0
    ring = np.abs(bins - bins.flat[first]) <= 2
    noise = float(np.quantile(power[ring], QUARTILE))
    strength = float(power.flat[first]) / noise if len(strong) and noise > 0 else 0.0
    if strength < LEAST_STRENGTH:
        raise RequestError(
            "no lattice found to choose the window by: the strongest spot of the spectrum is"
            f" {strength:.1f} times the noise",
            allowed=f"{LEAST_STRENGTH:g} times or more",
            hint="window=64",
        )
    return float(1 / frequency.flat[first])


def _middle(image: npt.NDArray[np.generic]) -> Floats:
    cuts = [slice(max(0, (n - MOST_PIXELS) // 2), (n + MOST_PIXELS) // 2) for n in image.shape]
    return image[tuple(cuts)].astype(np.float64)
