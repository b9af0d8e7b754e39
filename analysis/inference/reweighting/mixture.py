"""All references as one mixture: free energies (MBAR), weighted sums, and where to trust them.

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
from scipy.sparse.csgraph import (
    breadth_first_order,
    connected_components,
    minimum_spanning_tree,
)
from scipy.spatial import Delaunay
from scipy.special import logsumexp

from latticescape.analysis.inference.reweighting.references import References
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Steps of Newton's method, and the tolerance of the samples per reference.
MOST_STEPS = 100
TOLERANCE = 1e-9

# The smallest curvature, in samples, that is distinguished from zero.
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class Balance:
    """The equations that the free energies solve.

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
        # A guess: integrate the mean features along the tree of nearest references.
        own = len(references.reduced) // references.images
        mean = references.moments[0][:own]
        separation = distances(references, references.reduced)[:own, :own]
        tree = minimum_spanning_tree(np.maximum(separation, separation.T) + 1e-9)
        order, before = breadth_first_order(tree, 0, directed=False)
        guess: Floats = np.zeros(len(mean))
        for k in order[1:]:
            change = references.reduced[k] - references.reduced[before[k]]
            guess[k] = guess[before[k]] + change @ (mean[k] + mean[before[k]]) / 2
        free = np.tile(guess, references.images)
        number = np.prod(references.features.shape[:3]) / len(free)
        balance = _balance(references, free)
        for _ in range(MOST_STEPS):
            slope = balance.numbers.sum(axis=0) - number
            if np.abs(slope).max() <= TOLERANCE * number:
                return cls(references, free)
            step: Floats = -_inverse(balance) @ slope
            size = 1.0
            while size > TOLERANCE:
                tried = _balance(references, free + size * step)
                if tried.objective <= balance.objective + 1e-12 * abs(balance.objective):
                    break
                size /= 2
            free, balance = free + size * step, tried
        problem = "the samples of the references overlap too little to balance their free energies"
        came = f"{np.abs(slope).max() / number:.1e} of the samples off"
        raise RequestError(problem, came=came, hint="a finer sweep")

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
        errors: Floats = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 0))
        return errors

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
    terms: Floats = free + each - features @ references.reduced.T
    return terms


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
    """Inverse of the second derivatives; a constant added to all free energies has no effect."""
    curvature = _curvature(balance)
    return np.asarray(np.linalg.pinv(curvature, rcond=1e-12, hermitian=True), np.float64)


def _curvature(balance: Balance) -> Floats:
    curvature: Floats = np.diag(balance.numbers.sum(axis=0)) - balance.shared
    return curvature


def distances(references: References, reduced: Floats) -> Floats:
    """Distance of points from references, (points, references): the standard deviation, at each
    reference, of the difference of the reduced energies."""
    _, covariance = references.moments
    separation = reduced[:, None, :] - references.reduced
    squares = np.einsum("tka,kab,tkb->tk", separation, covariance, separation, optimize=True)
    deviations: Floats = np.sqrt(np.maximum(squares, 0))
    return deviations


# Weights held at a time.
CHUNK = 2**22

# The number of samples times references whose shares give the response to the free energies.
SHARES = 2**17


@dataclass(frozen=True, eq=False)
class Weighed:
    """Weighted sums at some points.

    Attributes
    ----------
    sums
        Of every column, (points, 64, columns): a replica's row is the change of the sum when the
        replica is left out, so that a jackknife over the rows includes the error of the free
        energies.
    effective_n
        Kish's (Σw)²/Σw² over all measurements, (points,).
    effective_replicas
        The same over the 64 replicas' sums of weights, (points,).
    shares
        Share of each reference in the weight, (points, references).
    """

    sums: Floats
    effective_n: Floats
    effective_replicas: Floats
    shares: Floats


@dataclass(frozen=True, eq=False)
class Weigher:
    """Sums of columns of numbers over the weighted samples.

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
            # (points, replicas, references · samples), the largest of a point being 1.
            flat = -(reduced[part] @ self._features.T)
            flat -= self._density.ravel()
            flat -= flat.max(axis=1, keepdims=True)
            np.exp(flat, out=flat)
            weights = flat.reshape(-1, *self._density.shape)
            own = np.matmul(weights.transpose(1, 0, 2), self.columns).transpose(1, 0, 2)
            each = weights.sum(axis=2)
            # A sample and its mirror image are one measurement.
            folded = weights.reshape(*each.shape, self.mixture.references.images, -1).sum(axis=2)
            total = each.sum(axis=1)
            response, shares = self._response(flat, total)
            yield (
                part,
                Weighed(
                    sums=own + np.matmul(self.mixture.left_out, response),
                    effective_n=total**2 / np.einsum("trm,trm->t", folded, folded),
                    effective_replicas=total**2 / np.sum(each**2, axis=1),
                    shares=shares,
                ),
            )

    def _response(self, weights: Floats, total: Floats) -> tuple[Floats, Floats]:
        """Derivatives of the sums by the free energies, and the mean shares of the references.

        (points, references, columns) and (points, references); −∂ ln w/∂f_k is the share of
        reference k. The derivatives are multiplied with small differences, so some of the samples
        suffice.
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


# Fewest effective samples, and fewest effective replicas of the 64.
FEWEST = 100.0
FEWEST_REPLICAS = 16.0

# Largest distance of the nearest reference, in standard deviations, for points among the references
# and outside of them. At a distance d one sample in exp(d²) counts, if the energies are Gaussian.
FARTHEST = 3.0
FARTHEST_OUTSIDE = 1.5

# References are linked if the standard error of the logarithm of their relative weight is at most
# this; and at least this share of the weight must come from linked references.
LINKED = 0.2
LEAST_LINKED = 0.99


@dataclass(frozen=True, eq=False)
class Reach:
    """Decide which points the references of a mixture can be reweighted to.

    The number of effective samples is not enough: where every sample misses the states that matter,
    all weights are similar and the number is large. So a point is trusted only if, in addition,
    many independent replicas have effective samples; a reference is near, in standard deviations
    of the energy difference (and nearer if the point is outside of the references); and the
    references that matter share samples, so that their relative weight is known.

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
        """Quality of the reweighting at points, (points,) each, and whether they are trusted."""
        nearest = distances(self.mixture.references, reduced).min(axis=1)
        number, label = self._groups(symmetry=False)
        own = self.mixture.references.reduced
        # Outside of every group of references that share samples.
        outside = ~np.any([among(own[label == k], reduced) for k in range(number)], axis=0)
        number, label = self._groups(symmetry=True)
        # The largest part of the weight from references that know each other's weight.
        linked = np.stack([weighed.shares[:, label == k].sum(axis=1) for k in range(number)])
        trusted = (
            (weighed.effective_n >= self.fewest)
            & (weighed.effective_replicas >= FEWEST_REPLICAS)
            & (nearest <= np.where(outside, FARTHEST_OUTSIDE, FARTHEST))
            & (linked.max(axis=0) >= LEAST_LINKED)
        )
        return {
            "effective_n": weighed.effective_n,
            "effective_replicas": weighed.effective_replicas,
            "distance": nearest,
            "beyond": outside,
            "trusted": trusted,
        }

    def _groups(self, *, symmetry: bool) -> tuple[int, npt.NDArray[np.int32]]:
        """References linked by samples, and maybe by symmetry: number of groups, and each one's."""
        linked = self.mixture.uncertainty <= LINKED
        if symmetry and self.mixture.references.images == 2:
            linked |= np.roll(np.eye(len(linked), dtype=bool), len(linked) // 2, axis=1)
        number, label = connected_components(linked)
        return int(number), label


def among(references: Floats, points: Floats) -> Flags:
    """Which points are in the convex hull of the references, which may be a point or a line.

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
    corners, places = ((v - centre) / size @ ways.T for v in (references, points))
    inside = np.abs(places[:, rank:]).max(axis=1, initial=0) <= 1e-9
    corners, places = corners[:, :rank], places[:, :rank]
    if rank == 1:
        low, high = corners.min() - 1e-9, corners.max() + 1e-9
        inside &= (places[:, 0] >= low) & (places[:, 0] <= high)
    elif rank > 1:
        inside &= Delaunay(corners).find_simplex(places, tol=1e-9) >= 0
    return np.asarray(inside)
