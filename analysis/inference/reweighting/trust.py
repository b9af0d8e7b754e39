"""Whether a reweighted point can be trusted.

The number of effective samples alone deceives: where every sample misses the states that matter,
all weights are alike, and the number is fair. So four more things are asked, of the bulk of the
samples instead of their tails: are there effective samples in many independent replicas; is a
reference near, in standard deviations of the difference of the energies; is the point among the
references, not beyond them; and do the references that matter share samples, so that their relative
weight is known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from latticescape.analysis.inference.reweighting.mixture import Mixture, Weighed, distances
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Fewest effective samples, and fewest effective replicas of the 64.
FEWEST = 100.0
FEWEST_REPLICAS = 16.0

# Farthest reference, in standard deviations: among the references, and beyond them. At a distance
# of d one sample in exp(d²) counts, if the energies are Gaussian.
FARTHEST = 3.0
FARTHEST_BEYOND = 1.5

# References are linked if their samples tell the ratio of their weights so well; and so much of the
# weight must come from references that are.
LINKED = 0.2
LEAST_LINKED = 0.99


@dataclass(frozen=True, eq=False)
class Reach:
    """How far the references of a mixture reach.

    Parameters
    ----------
    mixture
        Of the references.
    fewest
        Fewest effective samples.
    """

    mixture: Mixture
    fewest: float

    def quality(self, reduced: Floats, weighed: Weighed) -> dict[str, npt.NDArray[np.generic]]:
        """What is known of points, (points,) each, and whether they are trusted."""
        nearest = distances(self.mixture.references, reduced).min(axis=1)
        beyond = self._beyond(reduced)
        trusted = (
            (weighed.effective_n >= self.fewest)
            & (weighed.effective_replicas >= FEWEST_REPLICAS)
            & (nearest <= np.where(beyond, FARTHEST_BEYOND, FARTHEST))
            & (self._linked(weighed.shares) >= LEAST_LINKED)
        )
        return {
            "effective_n": weighed.effective_n,
            "effective_replicas": weighed.effective_replicas,
            "distance": nearest,
            "beyond": beyond,
            "trusted": trusted,
        }

    def _beyond(self, reduced: Floats) -> Flags:
        """Points that are not among references which share samples."""
        number, label = self._groups(symmetry=False)
        points = self.mixture.references.reduced
        inside = [among(points[label == k], reduced) for k in range(number)]
        found: Flags = ~np.any(inside, axis=0)
        return found

    def _linked(self, shares: Floats) -> Floats:
        """The largest part of the weight from references that know each other's weight."""
        number, label = self._groups(symmetry=True)
        parts = np.stack([shares[:, label == k].sum(axis=1) for k in range(number)])
        found: Floats = parts.max(axis=0)
        return found

    def _groups(self, *, symmetry: bool) -> tuple[int, npt.NDArray[np.int32]]:
        """References linked by samples, and maybe by symmetry: number of groups, and each one's."""
        linked = self.mixture.uncertainty <= LINKED
        if symmetry and self.mixture.references.images == 2:
            linked |= np.roll(np.eye(len(linked), dtype=bool), len(linked) // 2, axis=1)
        number, label = connected_components(linked)
        return int(number), label


def checked(fewest: Any) -> float:
    """The fewest effective samples, if it is a number of them."""
    number = isinstance(fewest, (int, float, np.number)) and not isinstance(fewest, bool)
    if not number or not fewest >= 1:
        raise RequestError(
            "fewest is no number of samples",
            came=repr(fewest),
            allowed="1 or more",
            hint=f"fewest={FEWEST:g}",
        )
    return float(fewest)


def among(references: Floats, points: Floats) -> Flags:
    """Which points are in the convex hull of the references; of one, or of some on a line, as well.

    Examples
    --------
    >>> line = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> among(line, np.array([[0.5, 0.5], [0.5, 0.6], [1.5, 1.5]])).tolist()
    [True, False, False]
    """
    centre = references.mean(axis=0)
    size = max(float(np.abs(references - centre).max()), 1e-300)
    _, spread, ways = np.linalg.svd((references - centre) / size, full_matrices=True)
    rank = int(np.sum(spread > 1e-9))
    inside, there = ((v - centre) / size @ ways.T for v in (references, points))
    off = np.abs(there[:, rank:]).max(axis=1, initial=0)
    found: Flags = (off <= 1e-9) & _inside(inside[:, :rank], there[:, :rank])
    return found


def _inside(references: Floats, points: Floats) -> Flags:
    rank = references.shape[1]
    if rank == 0:
        return np.ones(len(points), np.bool_)
    if rank == 1:
        low, high = references.min() - 1e-9, references.max() + 1e-9
        between: Flags = (points[:, 0] >= low) & (points[:, 0] <= high)
        return between
    found: Flags = Delaunay(references).find_simplex(points, tol=1e-9) >= 0
    return found
