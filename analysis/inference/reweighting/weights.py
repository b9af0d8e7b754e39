"""The samples of a mixture, weighed for other points."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latticescape.analysis.inference.reweighting.mixture import Mixture

Floats = npt.NDArray[np.float64]

# Weights held at a time.
CHUNK = 2**22

# Shares, of so many samples times references, that tell how sums follow the free energies.
SHARES = 2**17


@dataclass(frozen=True, eq=False)
class Weighed:
    """Weighed sums at some points.

    Attributes
    ----------
    sums
        Of every column, (points, 64, columns): a replica's row is what its being left out takes
        from the sum of all, so that a jackknife over the rows tells the whole error, that of the
        free energies included.
    effective_n
        Kish's (Σw)²/Σw² over all measurements, (points,).
    effective_replicas
        The same over the 64 replicas' sums of weights, (points,).
    shares
        From which reference the weight comes, (points, references).
    """

    sums: Floats
    effective_n: Floats
    effective_replicas: Floats
    shares: Floats


@dataclass(frozen=True, eq=False)
class Weigher:
    """Weighs columns of numbers that every sample has.

    Parameters
    ----------
    mixture
        Of the references.
    columns
        (64, references · samples, columns).
    """

    mixture: Mixture
    columns: Floats

    def weigh(self, reduced: Floats) -> Iterator[tuple[slice, Weighed]]:
        """Sums at points of these reduced couplings, (points, features), some at a time."""
        size = max(1, CHUNK // self._density.size)
        for first in range(0, len(reduced), size):
            part = slice(first, first + size)
            yield part, self._weighed(reduced[part])

    def _weighed(self, reduced: Floats) -> Weighed:
        weights = self._weights(reduced)
        own = np.matmul(weights.transpose(1, 0, 2), self.columns).transpose(1, 0, 2)
        each = weights.sum(axis=2)
        # A sample and its mirror image are one measurement.
        folded = weights.reshape(*each.shape, self.mixture.references.images, -1).sum(axis=2)
        total = each.sum(axis=1)
        response, shares = self._response(weights.reshape(len(reduced), -1), total)
        return Weighed(
            sums=own + np.matmul(self.mixture.left_out, response),
            effective_n=total**2 / np.einsum("trm,trm->t", folded, folded),
            effective_replicas=total**2 / np.sum(each**2, axis=1),
            shares=shares,
        )

    def _weights(self, reduced: Floats) -> Floats:
        """(points, 64, references · samples), the largest of a point being 1."""
        replicas, each = self._density.shape
        weights = -(reduced @ self._features.T)
        weights -= self._density.ravel()
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        return weights.reshape(-1, replicas, each)

    def _response(self, weights: Floats, total: Floats) -> tuple[Floats, Floats]:
        """How the sums follow the free energies, −∂ ln w/∂f_k being the share of reference k, and
        the mean shares: (points, references, columns) and (points, references).

        A slope needs no more precision than the differences it is multiplied with, so it comes
        from some of the samples.
        """
        chosen, shares, products = self._some
        some = weights[:, chosen]
        kept = np.maximum(some.sum(axis=1), np.finfo(float).tiny)
        scale = (total / kept)[:, None, None]
        response = (some @ products).reshape(len(some), -1, self.columns.shape[-1]) * scale
        return response, some @ shares / kept[:, None]

    @cached_property
    def _features(self) -> Floats:
        features = self.mixture.references.features
        return features.reshape(-1, features.shape[-1])

    @cached_property
    def _density(self) -> Floats:
        density = self.mixture.log_density
        return density.reshape(len(density), -1)

    @cached_property
    def _some(self) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
        """Some of the samples, their shares, and these times their columns."""
        references, columns = len(self.mixture.free_energies), self.columns.shape[-1]
        most = min(self._density.size, max(1, SHARES // references))
        random = np.random.default_rng(0)
        chosen = np.sort(random.choice(self._density.size, most, replace=False))
        terms = self.mixture.log_terms(self._features[chosen])
        shares = np.exp(terms - self._density.ravel()[chosen, None])
        values = self.columns.reshape(-1, columns)[chosen]
        return chosen, shares, (shares[:, :, None] * values[:, None, :]).reshape(most, -1)
