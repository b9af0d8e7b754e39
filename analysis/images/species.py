"""Species of atoms from their brightness, with the probability of each."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree
from skimage.filters import threshold_multiotsu
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from latticescape.analysis.checks import check_least, check_species_names
from latticescape.analysis.images.sites.lattice_fit import positive_intensities
from latticescape.analysis.labelled import labelled_variables
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# The illumination of an atom is estimated from this many others around it, weighted by a Gaussian
# of this width in spacings, after a parabola over the full image is subtracted.
NEIGHBORS = 80
WIDTH = 4.0

ROUNDS = 12

# Two species are separated if their mean logarithms of brightness differ by this many standard
# deviations (at 2 the sum of two equal Gaussians has a single maximum), and the Bayesian
# information criterion of a single species is worse by this much.
LEAST_SEPARATION = 2.5
LEAST_BIC = 10.0

# The criterion ignores positions, so an image whose halves hold one species each may fail it. Two
# species are accepted as well if a single one, under any illumination, would have to scatter by
# this factor more.
LEAST_NARROWER = 1.3

# They are rejected if there is more than this number of doubtful atoms per atom of the rarer
# species, which then is the tail of the other.
MOST_DOUBT = 0.25

FEWEST_ATOMS = 8


class SpeciesError(RequestError):
    """The brightness of the atoms does not show as many species as are named."""


@dataclass(frozen=True)
class Mixture:
    """Species as Gaussians of one width over the logarithm of brightness.

    Attributes
    ----------
    means
        (species,), ascending.
    weights
        (species,), summing to 1.
    deviation
        The standard deviation of each.
    logs
        (atoms,): logarithms of brightness without the illumination.
    likelihood
        Logarithm of the likelihood.
    """

    means: Floats
    weights: Floats
    deviation: float
    logs: Floats
    likelihood: float

    @property
    def probabilities(self) -> Floats:
        """Posterior probability of each species for each atom, (atoms, species)."""
        exponents = -0.5 * ((self.logs[:, None] - self.means) / self.deviation) ** 2
        exponents = exponents + np.log(self.weights)
        terms = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        return np.asarray(terms / terms.sum(axis=1, keepdims=True), np.float64)

    @property
    def separation(self) -> float:
        """Smallest difference of two means in standard deviations; infinite for one species."""
        return float(np.min(np.diff(self.means), initial=np.inf) / self.deviation)

    @property
    def relative(self) -> Floats:
        """Brightness without the illumination, of geometric mean 1, (atoms,)."""
        return np.asarray(np.exp(self.logs - self.logs.mean()), np.float64)

    @property
    def bic(self) -> float:
        """Bayesian information criterion of means, weights and one width."""
        return float(2 * len(self.means) * np.log(len(self.logs)) - 2 * self.likelihood)


def assign_species(
    sites: xr.Dataset,
    species: Sequence[str] = ("0", "1"),
    method: Literal["mixture", "otsu"] | float = "mixture",
    *,
    seed: int = 0,
) -> xr.Dataset:
    """Name the species of every atom of the lattice by its brightness.

    Slow changes of illumination and thickness are removed first: the variation over a
    neighbourhood among atoms of the same species, estimated together with the species, so that a
    cluster of one species keeps its brightness.

    Parameters
    ----------
    sites
        As ``fit_sites`` returns them; atoms off the lattice get no species.
    species
        Names from the darkest to the brightest.
    method
        ``"mixture"``: Gaussians of one width over the logarithm of brightness, and each atom's
        posterior probability. ``"otsu"``: thresholds by Otsu's method. A number: the threshold of
        ``relative_intensity`` between two species. With thresholds probabilities are 0 or 1.
    seed
        Of the mixture's starts.

    Returns
    -------
    Dataset
        ``sites`` with ``probability`` (atom, species_name), NaN off the lattice; ``species``
        (atom), number of the most probable, −1 off the lattice; ``relative_intensity`` (atom),
        without the illumination, of geometric mean 1. attrs: ``species_method``, ``separation`` of
        the species in standard deviations.

    Raises
    ------
    SpeciesError
        If the brightness does not show that many species (the mixture).
    RequestError
        If names are not distinct, or there are too few atoms.

    Examples
    --------
    >>> bright = np.where(np.arange(100) % 3, 1.0, 2.0) + 0.01 * np.cos(np.arange(100))
    >>> place = np.arange(100.0)
    >>> sites = xr.Dataset({"row": ("atom", place // 10), "col": ("atom", place % 10),
    ...     "intensity": ("atom", bright), "on_lattice": ("atom", np.ones(100, bool))},
    ...     attrs={"lattice_constant": 1.0})
    >>> assign_species(sites, ("Mo", "Re")).species[:5].values.tolist()
    [1, 0, 0, 1, 0]
    """
    names = [str(name) for name in species]
    check_species_names([] if isinstance(species, str) else names)
    on = np.flatnonzero(sites["on_lattice"].to_numpy())
    check_least(len(on), max(FEWEST_ATOMS, 3 * len(names)), "atoms to distinguish species")
    places = np.stack([sites["row"].to_numpy()[on], sites["col"].to_numpy()[on]], axis=1)
    places = places / float(sites.attrs["lattice_constant"])
    intensities = sites["intensity"].to_numpy()[on].astype(float)
    mixture = brightness_mixture(places, intensities, len(names), seed=seed)
    if method == "mixture" and len(names) > 1:
        _check_separation(mixture, brightness_mixture(places, intensities, 1, seed=seed))
    probabilities = np.full((sites.sizes["atom"], len(names)), np.nan)
    probabilities[on] = _probabilities(mixture, method)
    chosen = np.full(sites.sizes["atom"], -1)
    chosen[on] = np.argmax(probabilities[on], axis=1)
    relative = np.full(sites.sizes["atom"], np.nan)
    relative[on] = mixture.relative
    by_name = ("atom", "species_name")
    variables = labelled_variables(
        {
            "probability": (by_name, probabilities, "probability of the species", "1"),
            "species": ("atom", chosen, "most probable species, -1 none", "1"),
            "relative_intensity": ("atom", relative, "intensity without the illumination", "1"),
        }
    )
    return (
        sites.assign(variables)
        .assign_coords(species_name=names)
        .assign_attrs(species_method=str(method), separation=mixture.separation)
    )


def brightness_mixture(
    positions: Floats, intensities: Floats, number: int, *, seed: int = 0
) -> Mixture:
    """Estimate species and illumination in alternation until they agree.

    Parameters
    ----------
    positions
        (atoms, 2), in spacings.
    intensities
        (atoms,).
    number
        How many species.
    seed
        Of the mixture's starts.

    Returns
    -------
    Mixture
        The better separated of two, which start from no illumination and from a parabola. The
        likelihood does not decide, for an illumination that follows the species can explain more.
    """
    logs = np.log(positive_intensities(intensities))
    r, c = ((positions - positions.mean(axis=0)) / np.maximum(np.ptp(positions, axis=0), 1)).T
    parabola = np.column_stack([np.ones(len(r)), r, c, r * r, r * c, c * c])
    nearest = cKDTree(positions).query(positions, k=min(NEIGHBORS + 1, len(positions)))
    distances, near = (np.asarray(part)[:, 1:] for part in nearest)
    weights = np.exp(-0.5 * (distances / WIDTH) ** 2) + 1e-12
    starts = [
        np.full(len(logs), logs.mean()),
        parabola @ np.linalg.lstsq(parabola, logs, rcond=None)[0],
    ]
    mixtures = []
    for illumination in starts:
        mixture = _fit_mixture(logs - illumination, number, seed)
        for _ in range(ROUNDS):
            rest = logs - mixture.probabilities @ mixture.means
            middle = np.median(rest)
            kept = np.clip(rest, middle - 4 * mixture.deviation, middle + 4 * mixture.deviation)
            plane = parabola @ np.linalg.lstsq(parabola, kept, rcond=None)[0]
            local = np.sum(weights * (kept - plane)[near], axis=1) / weights.sum(axis=1)
            slow = plane + local
            slow -= slow.mean()
            if np.abs(slow - illumination + illumination.mean()).max() < 1e-4:
                break
            illumination = slow
            mixture = _fit_mixture(logs - illumination, number, seed)
        mixtures.append(mixture)
    return max(mixtures, key=lambda mixture: (mixture.separation, mixture.likelihood))


def _fit_mixture(logs: Floats, number: int, seed: int) -> Mixture:
    """The most likely mixture from several starts: equal parts, tails, and Otsu's parts."""
    floor = 1e-6 * max(float(np.var(logs)), 1e-12)
    ranks = np.argsort(np.argsort(logs, kind="stable"), kind="stable")
    starts: list[npt.NDArray[np.generic]] = [ranks * number // len(logs)]
    if number > 1:
        starts.append(np.digitize(logs, _otsu(logs, number)))
    if number == 2:
        starts += [ranks >= len(logs) - k for k in (3, len(logs) // 10)]
    mixtures = []
    for start in starts:
        parts = start.astype(np.int64)
        if len(np.unique(parts)) != number:
            continue
        means = np.bincount(parts, logs) / np.bincount(parts)
        within = float(np.mean((logs - means[parts]) ** 2))
        model = GaussianMixture(
            number,
            max_iter=500,
            tol=1e-5,
            covariance_type="tied",
            means_init=np.array([logs[parts == k].mean() for k in range(number)])[:, None],
            weights_init=np.bincount(parts, minlength=number) / len(parts),
            precisions_init=np.eye(1) / max(within, floor),
            reg_covar=floor,
            random_state=seed,
        )
        with warnings.catch_warnings():
            # Species of similar brightness converge slowly; their separation is checked later.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(logs[:, None])
        order = np.argsort(model.means_[:, 0])
        mixtures.append(
            Mixture(
                model.means_[order, 0],
                np.maximum(model.weights_[order], 1e-12),
                float(np.sqrt(model.covariances_[0, 0])),
                logs,
                float(model.score(logs[:, None]) * len(logs)),
            )
        )
    return max(mixtures, key=lambda mixture: mixture.likelihood)


def _otsu(logs: Floats, number: int) -> Floats:
    if np.ptp(logs) <= 1e-9:
        return np.full(number - 1, logs[0])
    return np.asarray(threshold_multiotsu(logs, number, nbins=128), np.float64)


def _probabilities(mixture: Mixture, method: object) -> Floats:
    number, relative = len(mixture.means), mixture.relative
    if method == "mixture":
        return mixture.probabilities
    if method == "otsu":
        cuts = _otsu(mixture.logs, number)
    elif not isinstance(method, (int, float)) or isinstance(method, bool) or number != 2:
        allowed = "mixture | otsu | a threshold of relative_intensity between two species"
        raise RequestError("unknown method to distinguish species", came=method, allowed=allowed)
    elif not relative.min() < method < relative.max():
        allowed = f"relative intensities from {relative.min():.3g} to {relative.max():.3g}"
        raise RequestError("the threshold leaves only one species", came=method, allowed=allowed)
    else:
        cuts = np.array([np.log(method) + mixture.logs.mean()])
    return np.eye(number)[np.digitize(mixture.logs, cuts)]


def _check_separation(mixture: Mixture, single: Mixture) -> None:
    """Raise an error where the brightness shows fewer species than are named."""
    better = single.bic - mixture.bic
    narrower = single.deviation / mixture.deviation
    certainty = mixture.probabilities.max(axis=1)
    rarest = max(mixture.weights.min() * len(certainty), 1e-9)
    doubt = float(np.sum(1 - certainty) / rarest)
    worse = better < LEAST_BIC and narrower < LEAST_NARROWER
    if mixture.separation < LEAST_SEPARATION or worse or doubt > MOST_DOUBT:
        came = (
            f"means {mixture.separation:.1f} standard deviations from each other, BIC better "
            f"by {better:.0f}, {doubt:.2f} doubtful atoms per atom of the rarest species"
        )
        allowed = f"{LEAST_SEPARATION:g} or more, {LEAST_BIC:g} or more, at most {MOST_DOUBT}"
        problem = f"the brightness of the atoms does not show {len(mixture.means)} species"
        hint = "--method 1.5, method=1.5 in Python, with the threshold of a similar image"
        raise SpeciesError(problem, came=came, allowed=allowed, hint=hint)
