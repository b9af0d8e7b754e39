"""Spots of a lattice in the power spectrum of its image."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from latticescape.analysis.images.spectra.power_spectrum import (
    FARTHEST,
    NEAREST_BIN,
    power_spectrum,
)

Floats = npt.NDArray[np.float64]

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
