"""Spots of a lattice in the power spectrum of its image, and the lattice periods they give."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter, maximum_filter

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# Spots within this many bins of the centre come from the frame of the image, spots at higher
# frequencies (cycles per px) from its pixels.
NEAREST_BIN, HIGHEST_FREQUENCY = 3.5, 0.45

# Noise is estimated from the lowest quarter of the power in rings of a quarter octave.
QUARTILE, RINGS = 0.25, 4

# A second spot spans a lattice with the strongest one if its weight relative to it, the ratio of
# their frequencies and the sine of the angle between them lie within these bounds.
WEAKEST_PARTNER = 0.05
FREQUENCY_RATIOS = (0.5, 2.0)
LEAST_SINE = 0.34

# The lattice period is measured in this many pixels along each side, in the middle of the image.
MOST_PIXELS = 1024

# The first-order spot has the lowest frequency of those with at least this share of the largest
# weight.
WEAKEST_FIRST_ORDER = 0.25

# A first-order spot has this many times the power of the noise: the strongest of a million bins
# of white noise, smoothed as here, reaches 3.
LEAST_STRENGTH = 3.5


@dataclass(frozen=True)
class LatticeSpots:
    """Local maxima of a power spectrum, the strongest first; one of each pair k and −k.

    Attributes
    ----------
    vectors
        (spots, 2): frequencies along row and col, cycles per px.
    weights
        (spots,): power times frequency squared, the response of a Laplacian, so that slow changes
        of thickness do not count as a lattice.
    strengths
        (spots,): power over the mean power of the noise at the same frequency.
    """

    vectors: Floats
    weights: Floats
    strengths: Floats

    @property
    def frequencies(self) -> Floats:
        """(spots,): lengths of the vectors, cycles per px."""
        return np.asarray(np.hypot(*self.vectors.T), np.float64)

    @property
    def period(self) -> float:
        """Distance of the lattice planes of the strongest spot, px; NaN without spots."""
        return float(1 / self.frequencies[0]) if len(self.weights) else np.nan

    @property
    def pair_strength(self) -> float:
        """Strength of the weaker of the two strongest spots that span a lattice; 0 if none do."""
        if not len(self.weights):
            return 0.0
        (row, col), lengths = self.vectors[0], self.frequencies
        sine = np.abs(self.vectors[:, 0] * col - self.vectors[:, 1] * row) / (lengths * lengths[0])
        ratio = lengths / lengths[0]
        partner = (sine > LEAST_SINE) & (ratio >= FREQUENCY_RATIOS[0])
        partner &= ratio <= FREQUENCY_RATIOS[1]
        partner &= self.weights >= WEAKEST_PARTNER * self.weights[0]
        return float(min(self.strengths[0], self.strengths[partner][0])) if partner.any() else 0.0


def lattice_spots(values: Floats) -> LatticeSpots:
    """Find the spots of an image in its power spectrum.

    The spectrum is taken under a Hann taper and smoothed over one bin.

    Parameters
    ----------
    values
        (row, col), finite.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(128) / 16)
    >>> spots = lattice_spots(np.add.outer(wave, wave))
    >>> spots.frequencies[:2].round(4).tolist(), round(spots.period, 1)
    ([0.0625, 0.0625], 16.0)
    """
    taper = np.outer(*(np.hanning(length + 2)[1:-1] for length in values.shape))
    mean = (values * taper).sum() / taper.sum()
    power = np.abs(scipy.fft.fft2((values - mean) * taper, workers=1)) ** 2
    power = np.asarray(gaussian_filter(power, 1.0, mode="wrap"), np.float64)
    row, col = (np.fft.fftfreq(length) for length in values.shape)
    row, col = row[:, None], col[None, :]
    frequency = np.hypot(row, col)
    bins = frequency * min(power.shape)
    weight = power * frequency**2 * ((bins >= NEAREST_BIN) & (frequency <= HIGHEST_FREQUENCY))
    half = (row > 0) | ((row == 0) & (col > 0))
    peaks = (weight == maximum_filter(weight, 5, mode="wrap")) & half & (weight > 0)
    places = np.flatnonzero(peaks)
    places = places[np.argsort(-weight.flat[places], kind="stable")]
    at = np.unravel_index(places, power.shape)
    return LatticeSpots(
        np.column_stack([row[at[0], 0], col[0, at[1]]]),
        weight.flat[places],
        power.flat[places] / _noise_power(power, bins, bins.flat[places]),
    )


def _noise_power(power: Floats, bins: Floats, at: Floats) -> Floats:
    """Mean power of the noise at distances ``at`` from the centre, in bins."""
    ring = np.maximum(np.log2(np.maximum(bins, 1.0)) * RINGS, 0).astype(np.int16)
    order = np.argsort(ring, axis=None, kind="stable")
    ends = np.searchsorted(ring.flat[order], np.arange(ring.max() + 2))
    parts = [order[a:b] for a, b in pairwise(ends) if b > a]
    level = np.array([np.quantile(power.flat[part], QUARTILE) for part in parts])
    middle = np.array([bins.flat[part].mean() for part in parts])
    # The power of noise is distributed exponentially.
    level = np.log(np.maximum(level / -np.log(1 - QUARTILE), 1e-300))
    smooth: Floats = np.exp(
        np.interp(np.log(np.maximum(at, 1e-3)), np.log(np.maximum(middle, 1e-3)), level)
    )
    return smooth


def lattice_period(image: npt.ArrayLike) -> float:
    """Distance of the first-order lattice planes of an image.

    Of the spots with at least a quarter of the largest weight the one of the longest period counts.

    Parameters
    ----------
    image
        (row, col), any unit; only the middle 1024 × 1024 px are used.

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
    values = np.asarray(image)
    middle = [slice(max(0, (n - MOST_PIXELS) // 2), (n + MOST_PIXELS) // 2) for n in values.shape]
    spots = lattice_spots(values[tuple(middle)].astype(np.float64))
    strong = np.flatnonzero(spots.weights >= WEAKEST_FIRST_ORDER * spots.weights.max(initial=0.0))
    first = strong[np.argsort(spots.frequencies[strong], kind="stable")[:1]]
    strength = float(spots.strengths[first].sum())
    if strength < LEAST_STRENGTH:
        raise RequestError(
            "no lattice found to choose the window by: the strongest spot of the spectrum is"
            f" {strength:.1f} times the noise",
            allowed=f"{LEAST_STRENGTH:g} times or more",
            hint="--window 64, window=64 in Python",
        )
    return float(1 / spots.frequencies[first[0]])
