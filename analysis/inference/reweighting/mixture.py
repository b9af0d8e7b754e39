"""All references as one mixture: free energies by the multistate Bennett acceptance ratio.

Every sample counts as drawn from the mixture Σ_k N_k exp(f_k − u_k) / Σ_k N_k, with u_k the reduced
energy and f_k the reduced free energy of reference k, which are those that give every reference its
own number of samples. With one reference this is Ferrenberg and Swendsen's single histogram.

References
----------
Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), 10.1063/1.2978177; Ferrenberg and Swendsen,
Phys. Rev. Lett. 61, 2635 (1988), 10.1103/PhysRevLett.61.2635.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.special import logsumexp

from latticescape.analysis.inference.reweighting.references import References
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# Steps of Newton's method, and how far the samples of a reference may be from their number.
MOST_STEPS = 100
TOLERANCE = 1e-9

# The least curvature, in samples, that is told from none.
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class Balance:
    """What the free energies are to balance.

    Attributes
    ----------
    objective
        The convex function whose minimum they are.
    numbers
        Samples that fall to each reference, of each replica, (64, references).
    shared
        Σ_n W_nk W_nl, with W_nk the probability that sample n is of reference k,
        (references, references).
    """

    objective: float
    numbers: Floats
    shared: Floats


@dataclass(frozen=True, eq=False)
class Mixture:
    """References with their free energies.

    Attributes
    ----------
    references
        The samples.
    free_energies
        f_k = −ln Z_k up to a constant, (references,).
    """

    references: References
    free_energies: Floats

    @classmethod
    def of(cls, references: References) -> "Mixture":
        """Solve for the free energies, by Newton's method from a good guess.

        Raises
        ------
        RequestError
            If the equations cannot be solved.
        """
        free = _guess(references)
        number = np.prod(references.features.shape[:3]) / len(free)
        found = _balance(references, free)
        for _ in range(MOST_STEPS):
            slope = found.numbers.sum(axis=0) - number
            if np.abs(slope).max() <= TOLERANCE * number:
                return cls(references, free)
            step: Floats = -_inverse(found) @ slope
            size = 1.0
            while size > TOLERANCE:
                tried = _balance(references, free + size * step)
                if tried.objective <= found.objective + 1e-12 * abs(found.objective):
                    break
                size /= 2
            free, found = free + size * step, tried
        raise RequestError(
            "the free energies of the references cannot be balanced",
            came=f"{np.abs(slope).max() / number:.1e} of the samples off",
            allowed="references whose samples overlap",
            hint="a finer sweep",
        )

    @cached_property
    def balance(self) -> Balance:
        """At the solution."""
        return _balance(self.references, self.free_energies)

    @cached_property
    def left_out(self) -> Floats:
        """Change of the free energies if a replica is left out, to first order,
        (64, references)."""
        numbers = self.balance.numbers
        excess = numbers - numbers.mean(axis=0)
        rest = (len(numbers) - 1) / len(numbers)
        changes: Floats = excess @ _inverse(self.balance) / rest
        return changes

    @cached_property
    def uncertainty(self) -> Floats:
        """Standard error of f_k − f_l if all samples were independent, (references, references);
        huge where the two share none, directly or in a chain."""
        curvature = _curvature(self.balance)
        values, vectors = np.linalg.eigh(curvature + np.trace(curvature) / len(curvature))
        covariance = (vectors / np.maximum(values, SMALLEST)) @ vectors.T
        own = np.diag(covariance)
        found: Floats = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 0))
        return found

    @cached_property
    def log_density(self) -> Floats:
        """ln Σ_k N_k exp(f_k − u_k) of every sample, (64, references, samples)."""
        features = self.references.features
        return np.stack([logsumexp(self.log_terms(each), axis=-1) for each in features])

    def log_terms(self, features: Floats) -> Floats:
        """ln(N_k exp(f_k − u_k)) of samples with these features, (…, references)."""
        return _log_terms(self.references, self.free_energies, features)


def _log_terms(references: References, free: Floats, features: Floats) -> Floats:
    each = np.log(references.features.shape[0] * references.features.shape[2])
    found: Floats = free + each - features @ references.reduced.T
    return found


def _balance(references: References, free: Floats) -> Balance:
    replicas, count = len(references.features), len(free)
    numbers, shared = np.empty((replicas, count)), np.zeros((count, count))
    objective = -float(free.sum()) * np.prod(references.features.shape[:3]) / count
    for replica, features in enumerate(references.features):
        terms = _log_terms(references, free, features).reshape(-1, count)
        density = logsumexp(terms, axis=1)
        objective += float(density.sum())
        share = np.exp(terms - density[:, None])
        numbers[replica] = share.sum(axis=0)
        shared += share.T @ share
    return Balance(objective, numbers, shared)


def _inverse(balance: Balance) -> Floats:
    """Of the second derivatives; a constant added to all free energies changes nothing."""
    curvature = _curvature(balance)
    return np.asarray(np.linalg.pinv(curvature, rcond=1e-12, hermitian=True), np.float64)


def _curvature(balance: Balance) -> Floats:
    found: Floats = np.diag(balance.numbers.sum(axis=0)) - balance.shared
    return found


def distances(references: References, reduced: Floats) -> Floats:
    """How far apart points are: standard deviation, at each reference, of the difference of the
    reduced energies, (points, references)."""
    _, covariance = references.moments
    separation = reduced[:, None, :] - references.reduced
    squares = np.einsum("tka,kab,tkb->tk", separation, covariance, separation, optimize=True)
    found: Floats = np.sqrt(np.maximum(squares, 0))
    return found


def _guess(references: References) -> Floats:
    """Free energies by integrating the mean features along the tree of nearest references."""
    own = len(references.reduced) // references.images
    mean = references.moments[0][:own]
    separation = distances(references, references.reduced)[:own, :own]
    tree = minimum_spanning_tree(np.maximum(separation, separation.T) + 1e-9)
    order, before = breadth_first_order(tree, 0, directed=False)
    free: Floats = np.zeros(len(mean))
    for k in order[1:]:
        last = before[k]
        change = references.reduced[k] - references.reduced[last]
        free[k] = free[last] + change @ (mean[k] + mean[last]) / 2
    return np.tile(free, references.images)


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
