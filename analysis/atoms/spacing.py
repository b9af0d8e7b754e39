"""The spacing of a lattice, from the spots in the power spectrum of its image."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.spectra.power_spectrum import FARTHEST, NEAREST_BIN, power_spectrum

Floats = npt.NDArray[np.float64]

# The background of a spot is read off the quarter of lowest power at its distance.
QUANTILE = 0.25

# Spots of one lattice: by how much a second one may be weaker, nearer or farther than the
# strongest, and the angles between them.
WEAKEST = 0.05
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
    power, row, col = power_spectrum(values)
    frequency = np.hypot(row, col)
    bins = min(values.shape)
    relative = power / _background(power, frequency * bins)
    seen = power * frequency**2 * ((frequency * bins >= NEAREST_BIN) & (frequency <= FARTHEST))
    half = (row > 0) | ((row == 0) & (col > 0))
    places = np.flatnonzero(
        (seen == ndimage.maximum_filter(seen, 5, mode="wrap")) & half & (seen > 0)
    )
    if not len(places):
        return Spots(np.nan, 0.0)
    places = places[np.argsort(seen.flat[places])[::-1]]
    vectors = np.column_stack(
        [np.broadcast_to(axis, seen.shape).flat[places] for axis in (row, col)]
    )
    length = np.linalg.norm(vectors, axis=1)
    sine = np.abs(vectors[:, 0] * vectors[0, 1] - vectors[:, 1] * vectors[0, 0]) / (
        length * length[0]
    )
    ratio = length / length[0]
    partner = (sine > LEAST_SINE) & (ratio >= DISTANCES[0]) & (ratio <= DISTANCES[1])
    partner &= seen.flat[places] >= WEAKEST * seen.flat[places[0]]
    other = relative.flat[places[partner]]
    strength = min(float(relative.flat[places[0]]), float(other[0])) if len(other) else 0.0
    return Spots(float(1 / length[0]), strength)


def _background(power: Floats, radius: Floats) -> Floats:
    """Mean power of noise at each distance from the centre (in bins), by quarter octaves."""
    ring = np.maximum(np.log2(np.maximum(radius, 1.0)) * 4, 0).astype(int)
    rings = range(ring.max() + 1)
    order = np.argsort(ring, axis=None, kind="stable")
    ends = np.searchsorted(ring.flat[order], [*rings, ring.max() + 1])
    parts = [order[a:b] for a, b in pairwise(ends) if b > a]
    level = np.array([np.quantile(power.flat[part], QUANTILE) for part in parts])
    middle = np.array([radius.flat[part].mean() for part in parts])
    level = np.log(np.maximum(level / -np.log(1 - QUANTILE), 1e-300))
    smooth: Floats = np.exp(
        np.interp(np.log(np.maximum(radius, 1e-3)), np.log(np.maximum(middle, 1e-3)), level)
    )
    return smooth
