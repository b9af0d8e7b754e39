"""The period of the lattice in an image, as a scale for windows."""

import numpy as np
import numpy.typing as npt

from latticescape.analysis.images.spectra.lattice_spots import lattice_spots
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# What is looked at of an image, px along each side, from its middle.
MOST_PIXELS = 1024

# Of the spots that are at least so strong, compared with the strongest, the first order is that of
# the longest period.
WEAKEST = 0.25

# A spot is this many times the noise: of white noise the strongest of a million bins, smoothed as
# here, reaches 3.
LEAST_STRENGTH = 3.5


def lattice_period(image: npt.ArrayLike) -> float:
    """Distance of the lattice planes of first order, from the strong spots of an image's spectrum.

    Of spots at least a quarter as strong as the strongest the one of the longest period is taken.

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
    spots = lattice_spots(_middle(np.asarray(image)))
    frequencies = spots.frequencies
    strong = np.flatnonzero(spots.weights >= WEAKEST * spots.weights.max(initial=0.0))
    first = strong[frequencies[strong].argmin()] if len(strong) else None
    strength = 0.0 if first is None else float(spots.strengths[first])
    if first is None or strength < LEAST_STRENGTH:
        raise RequestError(
            "no lattice found to choose the window by: the strongest spot of the spectrum is"
            f" {strength:.1f} times the noise",
            allowed=f"{LEAST_STRENGTH:g} times or more",
            hint="window=64",
        )
    return float(1 / frequencies[first])


def _middle(image: npt.NDArray[np.generic]) -> Floats:
    cuts = [slice(max(0, (n - MOST_PIXELS) // 2), (n + MOST_PIXELS) // 2) for n in image.shape]
    return image[tuple(cuts)].astype(np.float64)
