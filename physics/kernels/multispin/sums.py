"""Measurements of eight points in lanes: features from class counts, and sums over the samples.

Everything runs over 512 lanes at once, in loops that are compiled: NumPy's own cost as much as the
counting.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.reference import MOMENTS, Floats, Integers, Sums
from latticescape.physics.models.model import REPLICAS

LANES = (REPLICAS, WORDS)


class LaneSums:
    """Sums over the samples of eight points, lanes last.

    Parameters
    ----------
    couplings
        Energy per unit of each feature, (8, features).
    classes
        Number of configuration classes.
    sites
        Number of sites.
    """

    def __init__(self, couplings: Floats, classes: int, sites: int) -> None:
        self.couplings, self.sites = np.ascontiguousarray(couplings), sites
        self.features = np.zeros((couplings.shape[1], *LANES), np.int64)
        self.first_half = np.zeros_like(self.features)
        self.moments = np.zeros((len(MOMENTS), *LANES))
        self.histogram = np.zeros((classes, *LANES), np.int64)

    def add(self, histogram: Integers, features: Integers, up: Integers, *, early: bool) -> None:
        """One sample: counts (classes, 64, 8), features (features, 64, 8), up spins (64, 8)."""
        add_integers(histogram, self.histogram)
        add_integers(features, self.features)
        if early:
            add_integers(features, self.first_half)
        add_moments(features, up, self.couplings, self.sites, self.moments)

    def energies(self, features: Integers) -> Floats:
        """Energy of the whole lattice, (8, 64)."""
        found = np.empty(LANES)
        add_energies(features, self.couplings, found)
        return found.T

    def write(self, sums: Sequence[Sums]) -> None:
        """Hand the sums of each point over, replicas first."""
        for word, target in enumerate(sums):
            target.features[...] = self.features[:, :, word].T
            target.first_half[...] = self.first_half[:, :, word].T
            target.moments[...] = self.moments[:, :, word].T
            target.histogram[...] = self.histogram[:, :, word].T


@compiled
def add_integers(values: Any, sums: Any) -> None:
    """sums += values."""
    for row in range(values.shape[0]):
        for replica in range(values.shape[1]):
            for word in range(values.shape[2]):
                sums[row, replica, word] += values[row, replica, word]


@compiled
def combine(weights: Any, divisors: Any, histogram: Any) -> Any:
    """Integer combinations of class counts, (rows, 64, 8), each divided exactly by its divisor."""
    found = np.zeros((weights.shape[0], histogram.shape[1], histogram.shape[2]), np.int64)
    for row in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            weight = weights[row, k]
            if weight != 0:
                for replica in range(histogram.shape[1]):
                    for word in range(histogram.shape[2]):
                        found[row, replica, word] += weight * histogram[k, replica, word]
        for replica in range(histogram.shape[1]):
            for word in range(histogram.shape[2]):
                found[row, replica, word] //= divisors[row]
    return found


@compiled
def add_energies(features: Any, couplings: Any, energies: Any) -> None:
    """Energies (64, 8), feature by feature in their order, as the reference kernel adds them."""
    energies[:] = 0.0
    for feature in range(features.shape[0]):
        for replica in range(energies.shape[0]):
            for word in range(energies.shape[1]):
                value = np.float64(features[feature, replica, word])
                energies[replica, word] += couplings[word, feature] * value


@compiled
def add_moments(features: Any, up: Any, couplings: Any, sites: Any, moments: Any) -> None:
    """Add one sample's moments, in the order of ``MOMENTS``."""
    energies = np.empty((moments.shape[1], moments.shape[2]))
    add_energies(features, couplings, energies)
    for replica in range(moments.shape[1]):
        for word in range(moments.shape[2]):
            m = np.float64(2 * up[replica, word] - sites)
            e, square = energies[replica, word], m * m
            moments[0, replica, word] += m
            moments[1, replica, word] += abs(m)
            moments[2, replica, word] += square
            moments[3, replica, word] += square * square
            moments[4, replica, word] += e
            moments[5, replica, word] += e * e
