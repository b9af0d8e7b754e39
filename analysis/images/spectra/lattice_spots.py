"""Spots of a lattice in the power spectrum of its image, and the lattice periods they give."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter, maximum_filter

from latticescape.physics.errors import RequestError

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


# Noise is read off the quarter of lowest power at a spot's distance, by quarter octaves.
QUARTILE, RINGS = 0.25, 4


@dataclass(frozen=True)
class LatticeSpots:
    """Local maxima of a power spectrum, the strongest first; of k and −k one.

    Attributes
    ----------
    vectors
        (spots, 2): frequencies along row and col, cycles per px.
    weights
        (spots,): power times frequency squared, as a Laplacian weighs it, so that slow changes of
        thickness do not count as a lattice.
    strengths
        (spots,): power over the mean power of noise at that distance.
    """

    vectors: Floats
    weights: Floats
    strengths: Floats

    @property
    def frequencies(self) -> Floats:
        """(spots,): lengths of the vectors, cycles per px."""
        found: Floats = np.hypot(*self.vectors.T)
        return found


def lattice_spots(values: Floats) -> LatticeSpots:
    """Find the spots of an image, neither of its frame nor of its pixels.

    Parameters
    ----------
    values
        (row, col), finite.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(128) / 16)
    >>> lattice_spots(np.add.outer(wave, wave)).frequencies[:2].round(4).tolist()
    [0.0625, 0.0625]
    """
    power, row, col = power_spectrum(values)
    frequency = np.hypot(row, col)
    bins = frequency * min(power.shape)
    seen = power * frequency**2 * ((bins >= NEAREST_BIN) & (frequency <= FARTHEST))
    half = (row > 0) | ((row == 0) & (col > 0))
    tops = (seen == maximum_filter(seen, 5, mode="wrap")) & half & (seen > 0)
    places = np.flatnonzero(tops)
    places = places[np.argsort(-seen.flat[places], kind="stable")]
    at = np.unravel_index(places, power.shape)
    return LatticeSpots(
        np.column_stack([row[at[0], 0], col[0, at[1]]]),
        seen.flat[places],
        power.flat[places] / _noise(power, bins, bins.flat[places]),
    )


def _noise(power: Floats, bins: Floats, at: Floats) -> Floats:
    """Mean power of noise at distances from the centre, in bins."""
    ring = np.maximum(np.log2(np.maximum(bins, 1.0)) * RINGS, 0).astype(np.int16)
    order = np.argsort(ring, axis=None, kind="stable")
    ends = np.searchsorted(ring.flat[order], np.arange(ring.max() + 2))
    parts = [order[a:b] for a, b in pairwise(ends) if b > a]
    level = np.array([np.quantile(power.flat[part], QUARTILE) for part in parts])
    middle = np.array([bins.flat[part].mean() for part in parts])
    # Of noise the power is distributed exponentially.
    level = np.log(np.maximum(level / -np.log(1 - QUARTILE), 1e-300))
    smooth: Floats = np.exp(
        np.interp(np.log(np.maximum(at, 1e-3)), np.log(np.maximum(middle, 1e-3)), level)
    )
    return smooth


# Spots of one lattice: by how much a second one may be weaker, nearer or farther than the
# strongest, and the angles between them.
WEAKEST_PARTNER = 0.05
DISTANCES = (0.5, 2.0)
LEAST_SINE = 0.34


@dataclass(frozen=True)
class Spots:
    """The strongest spots of an image's spectrum.

    Attributes
    ----------
    period
        Distance of the lattice planes of the strongest spot, px.
    strength
        Power of the weaker of the two strongest spots that are not in one line, over the noise
        around them; 0 if there is only one.
    """

    period: float
    strength: float


def find_spots(values: Floats) -> Spots:
    """The strongest spots, weighed by frequency squared, as a Laplacian does.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(128) / 16)
    >>> round(find_spots(np.add.outer(wave, wave)).period, 1)
    16.0
    """
    spots = lattice_spots(values)
    if not len(spots.weights):
        return Spots(np.nan, 0.0)
    partners = spots.strengths[_partners(spots)]
    strength = min(float(spots.strengths[0]), float(partners[0])) if len(partners) else 0.0
    return Spots(float(1 / spots.frequencies[0]), strength)


def _partners(spots: LatticeSpots) -> npt.NDArray[np.bool_]:
    """Spots that span a lattice together with the strongest."""
    (row, col), length = spots.vectors[0], spots.frequencies
    sine = np.abs(spots.vectors[:, 0] * col - spots.vectors[:, 1] * row) / (length * length[0])
    ratio = length / length[0]
    partner = (sine > LEAST_SINE) & (ratio >= DISTANCES[0]) & (ratio <= DISTANCES[1])
    partner &= spots.weights >= WEAKEST_PARTNER * spots.weights[0]
    return np.asarray(partner, np.bool_)


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
