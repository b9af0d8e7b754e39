"""The spacing of a lattice, from the spots in the power spectrum of its image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latticescape.analysis.images.spectra.lattice_spots import LatticeSpots, lattice_spots

Floats = npt.NDArray[np.float64]

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
    partner &= spots.weights >= WEAKEST * spots.weights[0]
    return np.asarray(partner, np.bool_)
