"""The pseudo-likelihood of a model: the probability of every site's species given its neighbours.

Besag, The Statistician 24, 179 (1975), 10.2307/2987782. The energy difference of a centre's species
depends on its neighbours only, so counts of configurations suffice and no simulation is needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from latticescape.physics.errors import RequestError
from latticescape.physics.models.local_energies import Classes, LocalFeatures, local_features
from latticescape.physics.models.model import ParametricModel

Floats = npt.NDArray[np.float64]

# Standard deviation, in k_B T, of a weak prior that keeps estimates finite where counts are few.
PRIOR = 10.0

# Least ratio of a variance to that of independent neighbourhoods. Near a critical point the scores
# of a field nearly cancel (to 0.07–0.13 on the square lattice), and their estimate may be negative.
LEAST = 0.1


@dataclass(frozen=True)
class Candidate:
    """A model, and the names of the parameters to estimate; its other parameters are fixed.

    Where the model conserves the composition, each image has chemical potentials of its own, which
    are estimated as well.
    """

    model: ParametricModel
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """The maximum of a pseudo-likelihood.

    Attributes
    ----------
    names, values
        The parameters.
    covariance
        (parameters, parameters), with the correlation of overlapping neighbourhoods.
    reduced, reduced_covariance
        The parameters in which the energy over k_B T is linear: with T among the parameters, 1/T
        first, then the others over T.
    s2
        (images,): squared statistical distance of the counts from those that the model expects
        around neighbours as counted.
    deviance
        2 ln of the ratio of the pseudo-likelihood of the observed shares to that of the model.
    number
        Number of parameters, the chemical potentials of the images included.
    inflation
        Mean ratio of the variances to those of independent neighbourhoods.
    """

    names: tuple[str, ...]
    values: Floats
    covariance: Floats
    reduced: Floats
    reduced_covariance: Floats
    s2: Floats
    deviance: float
    number: int
    inflation: float

    @property
    def errors(self) -> Floats:
        """Standard errors of the parameters."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class _Design:
    """ln of the ratio of a species' probability to that of the centre: offset + terms · unknowns.

    Attributes
    ----------
    local
        The model's features around a site.
    offset
        (classes, species); −∞ for a species that the centre may not hold.
    shared
        (classes, species, unknowns), of all images.
    own
        (classes, species, chemical potentials), of each image.
    """

    local: LocalFeatures
    offset: Floats
    shared: Floats
    own: Floats


def estimate(
    candidate: Candidate, classes: Classes, counts: npt.ArrayLike, *, independent: bool = False
) -> Estimate:
    """Estimate parameters by the maximum of the pseudo-likelihood.

    Parameters
    ----------
    candidate
        The model.
    classes
        The classes that were counted.
    counts
        (images, classes).
    independent
        Whether the neighbourhoods are independent draws, which share no atoms. Otherwise each
        neighbour of a centre is a centre too, and the errors account for it.

    Raises
    ------
    RequestError
        If the classes do not determine the energy of the model, or the counts not its parameters.

    Notes
    -----
    The covariance is H⁻¹ J H⁻¹ (White, Econometrica 50, 1 (1982)). The scores of two sites are
    correlated only if the sites interact. Their correlation needs the surroundings of both, which
    are taken as independent given the sites that they share.

    Examples
    --------
    >>> from latticescape import PairAlloy, configurations
    >>> classes = configurations("square")
    >>> counts = classes.random_mixing([0.5]) * 1e6
    >>> found = estimate(Candidate(PairAlloy(), ("w1",)), classes, counts)
    >>> round(float(found.values[0]), 6) + 0.0, round(float(found.inflation), 3)
    (0.0, 2.0)
    """
    numbers = np.atleast_2d(np.asarray(counts, float))
    design = _design(candidate, classes)
    common, own = design.shared.shape[2], design.own.shape[2]
    terms = np.concatenate([design.shared, design.own], axis=2)
    unknowns = common + own * len(numbers)
    starts = range(common, common + own * len(numbers), own) if own else [common] * len(numbers)
    places = [[*range(common), *range(start, start + own)] for start in starts]

    def parts(at: Floats) -> tuple[float, Floats, Floats]:
        """−ln of the pseudo-likelihood with the prior, its gradient and its curvature."""
        value = float(at @ at) / (2 * PRIOR**2)
        slope, curvature = at / PRIOR**2, np.eye(unknowns) / PRIOR**2
        for image, place in zip(numbers, places, strict=True):
            probability, log_own = _probabilities(design.offset + terms @ at[place])
            mean = np.einsum("cs,csk->ck", probability, terms)
            spread = np.einsum("c,cs,csk,csl->kl", image, probability, terms, terms)
            value -= float(image @ log_own)
            slope[place] += image @ mean
            curvature[np.ix_(place, place)] += spread - (image[:, None] * mean).T @ mean
        return value, slope, curvature

    best, information = _minimum(parts, unknowns)
    variability = np.zeros_like(information)
    s2, deviance = [], 0.0
    for image, place in zip(numbers, places, strict=True):
        probability, log_own = _probabilities(design.offset + terms @ best[place])
        of_image = _variability(design.local, terms, probability, image, independent)
        variability[np.ix_(place, place)] += of_image
        expected = _expected(design.local, probability, image)
        overlap = np.sqrt(image * expected).sum() / image.sum()
        s2.append(float(np.arccos(min(overlap, 1.0)) ** 2))
        deviance += 2 * float(_saturated(design.local, image) - image @ log_own)
    # The prior bounds directions that the counts leave open.
    ratios, modes = eigh(variability + np.eye(unknowns) / PRIOR**2, information)
    covariance = (modes * np.maximum(ratios, LEAST)) @ modes.T
    inverse = modes @ modes.T
    naive, full = inverse[:common, :common], covariance[:common, :common]
    inflation = float(np.trace(np.linalg.solve(naive, full)) / common) if common else 1.0
    values, jacobian = _in_units(candidate.parameters, best[:common])
    return Estimate(
        names=candidate.parameters,
        values=values,
        covariance=jacobian @ full @ jacobian.T,
        reduced=best[:common],
        reduced_covariance=full,
        s2=np.array(s2),
        deviance=deviance,
        number=unknowns,
        inflation=inflation,
    )


def _minimum(
    parts: Callable[[Floats], tuple[float, Floats, Floats]], unknowns: int
) -> tuple[Floats, Floats]:
    """The minimum of a strictly convex function and its curvature there, by Newton's method."""
    at = np.zeros(unknowns)
    value, slope, curvature = parts(at)
    while True:
        step = np.linalg.solve(curvature, slope)
        decrease = float(slope @ step)
        if decrease <= 1e-12 * max(1e3, abs(value)):
            return at, curvature
        size = 1.0
        while (ahead := parts(at - size * step))[0] > value - 1e-3 * size * decrease:
            size /= 2
        at, (value, slope, curvature) = at - size * step, ahead


def _design(candidate: Candidate, classes: Classes) -> _Design:
    model, names = candidate.model, candidate.parameters
    for name in names:
        model.parameter(name)
    fixed = model.fixed_parameters
    local = local_features(model, classes, frozenset({*fixed, *names}))
    if local.undetermined:
        raise RequestError(
            "the counted configurations do not determine the energy of a site",
            came=", ".join(sorted(local.undetermined)),
            allowed="interactions with the neighbours that are counted",
            hint="classes = { shells = [1, 2] } in [sweep], and a table of sites",
        )
    energies = [name for name in names if name != "T"]
    values = {p.name: fixed.get(p.name, p.default or 0.0) for p in model.parameters}
    temperature = values["T"] or 1.0
    if "T" in names:
        temperature = 1.0

    def energy(**free: float) -> Floats:
        points = {**values, "T": temperature, **dict.fromkeys(energies, 0.0), **free}
        arrays = {name: np.array([float(value)]) for name, value in points.items()}
        couplings = model.coefficients(arrays, local.features)[0] if local.features else []
        changed: Floats = local.change @ np.asarray(couplings, float)
        return changed

    ground = energy()
    columns = [(ground - energy(**{name: 1.0})) / temperature for name in energies]
    offset = -ground / temperature
    if "T" in names:
        columns.insert(0, -ground)
        offset = np.zeros_like(ground)
    absent = local.becomes < 0
    shared = np.moveaxis(np.array(columns).reshape(len(columns), *absent.shape), 0, -1)
    own = _potentials(local, classes) if model.move == "exchange" else shared[..., :0]
    both = np.concatenate([shared, own], axis=2).reshape(absent.size, -1)
    if np.linalg.matrix_rank(both) < both.shape[1]:
        raise RequestError(
            "the parameters cannot be estimated together: they change no or the same probabilities",
            came=", ".join(names),
            allowed="parameters of different interactions, some of them fixed",
            hint=f"{names[-1]} = 0 in [model]",
        )
    return _Design(local, np.where(absent, -np.inf, offset), shared, own)


def _potentials(local: LocalFeatures, classes: Classes) -> Floats:
    """How many sites of each species but the first a new centre adds, by sublattice, (classes,
    species, sublattices · species)."""
    most = local.becomes.shape[1]
    added = np.zeros((len(classes), most, max(local.pools) + 1, most))
    for one, pool in zip(local.surroundings, local.pools, strict=True):
        for centre, other in np.ndindex((one.classes.shape[0],) * 2):
            own = np.unique(one.classes[centre])
            added[own, other, pool] = np.eye(most)[other] - np.eye(most)[centre]
    columns = added[..., 1:].reshape(len(classes), most, -1)
    return columns[..., (columns != 0).any(axis=(0, 1))]


def _probabilities(exponents: Floats) -> tuple[Floats, Floats]:
    """Probability of each species of a centre, and ln of that of its own, whose exponent is 0."""
    most = exponents.max(axis=1, keepdims=True)
    weights = np.exp(exponents - most)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, -(most + np.log(total))[:, 0]


def _expected(local: LocalFeatures, probability: Floats, counts: Floats) -> Floats:
    """Counts expected if every centre is drawn again, given its neighbours."""
    expected = np.zeros(len(counts))
    held = local.becomes >= 0
    np.add.at(expected, local.becomes[held], (counts[:, None] * probability)[held])
    return expected


def _saturated(local: LocalFeatures, counts: Floats) -> float:
    """ln of the pseudo-likelihood if each neighbourhood has its own shares of species."""
    around = np.where(local.becomes >= 0, counts[local.becomes], 0).sum(axis=1)
    seen = counts > 0
    return float(counts[seen] @ np.log(counts[seen] / around[seen]))


def _variability(
    local: LocalFeatures, terms: Floats, probability: Floats, counts: Floats, independent: bool
) -> Floats:
    """Covariance of the scores of an image, summed over all pairs of centres."""
    mean = np.einsum("cs,csk->ck", probability, terms)
    expected = _expected(local, probability, counts)
    total: Floats = (expected[:, None] * mean).T @ mean
    if independent:
        return total
    arrangements = np.zeros(len(counts))
    for one in local.surroundings:
        arrangements += np.bincount(one.classes.ravel(), minlength=len(counts))
    each = np.divide(expected, arrangements, out=np.zeros_like(expected), where=arrangements > 0)
    weights = [each[one.classes] for one in local.surroundings]
    scores = [
        weight[..., None] * mean[one.classes]
        for weight, one in zip(weights, local.surroundings, strict=True)
    ]
    for site, one in enumerate(local.surroundings):
        for other in one.pairs:
            far = int(other[0]) % len(local.surroundings)
            both = np.intersect1d(one.sites, other)
            here, there = (_onto(x, one.sites, both) for x in (weights[site], scores[site]))
            likewise = (_onto(x, other, both) for x in (weights[far], scores[far]))
            total += _product(here, there, *likewise)
    return np.asarray((total + total.T) / 2)


def _onto(values: Floats, sites: npt.NDArray[np.int64], kept: npt.NDArray[np.int64]) -> Floats:
    """Sums over all sites but those kept, which are the first axes, in their order."""
    places = [int(np.flatnonzero(sites == site)[0]) for site in kept]
    moved = np.moveaxis(values, places, range(len(places)))
    return np.asarray(moved.sum(axis=tuple(range(len(places), len(sites)))))


def _product(weight: Floats, score: Floats, far_weight: Floats, far_score: Floats) -> Floats:
    """Sum of the products of the mean scores of two sites over the arrangements they share."""
    size = score.shape[-1]
    shared = ((weight + far_weight) / 2).reshape(-1, 1)
    means = np.divide(
        far_score.reshape(-1, size), shared, out=np.zeros((len(shared), size)), where=shared > 0
    )
    return np.asarray(score.reshape(-1, size).T @ means)


def _in_units(names: Sequence[str], reduced: Floats) -> tuple[Floats, Floats]:
    """The parameters in the model's units, and their derivatives by the reduced ones."""
    if "T" not in names:
        return reduced, np.eye(len(reduced))
    beta, rest = reduced[0], reduced[1:]
    if beta <= 0:
        raise RequestError(
            "the counts need a negative temperature with these fixed energies",
            came=f"1/T = {beta:.3g}",
            allowed="energies of the opposite sign",
            hint="J = -1.0",
        )
    jacobian = np.eye(len(reduced)) / beta
    jacobian[:, 0] = -np.array([1.0, *rest]) / beta**2
    order = [names.index("T"), *(k for k, name in enumerate(names) if name != "T")]
    values, ordered = np.empty(len(reduced)), np.empty_like(jacobian)
    values[order], ordered[order] = np.array([1.0, *rest]) / beta, jacobian
    return values, ordered
