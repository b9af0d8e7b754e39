"""Species of atoms from their brightness, with the probability of each."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree
from skimage.filters import threshold_multiotsu
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# The illumination of an atom is learnt from so many others about it, weighed by a Gaussian of this
# width in spacings, after a parabola over the whole image.
NEIGHBORS = 80
WIDTH = 4.0

ROUNDS = 12

# Two species are told apart if their mean logarithms of brightness are this many standard
# deviations apart (at 2 the sum of two equal Gaussians has one top), and the Bayesian information
# criterion of one species alone is this much worse.
LEAST_SEPARATION = 2.5
LEAST_BIC = 10.0

# A criterion that knows nothing of places takes halves of one species each for chance: they count
# as two if one species, under any light, would have to scatter so many times as much.
LEAST_NARROWER = 1.3

# Nor are they if, for every atom of the rarer species, so many atoms are doubtful: then it is the
# tail of the other.
MOST_DOUBT = 0.25

FEWEST_ATOMS = 8


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
        The standard deviation of all.
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
        found: Floats = terms / terms.sum(axis=1, keepdims=True)
        return found

    @property
    def separation(self) -> float:
        """Least distance of two means, in standard deviations; infinite for one species."""
        return float(np.min(np.diff(self.means), initial=np.inf) / self.deviation)

    @property
    def bic(self) -> float:
        """Bayesian information criterion; means, weights and one width are fitted."""
        return float(2 * len(self.means) * np.log(len(self.logs)) - 2 * self.likelihood)


def assign_species(
    sites: xr.Dataset,
    species: Sequence[str] = ("0", "1"),
    method: Literal["mixture", "otsu"] | float = "mixture",
    *,
    seed: int = 0,
) -> xr.Dataset:
    """Name the species of every atom of the lattice by its brightness.

    The slow change of illumination and thickness is taken out first: what atoms of the same
    species differ by over a neighbourhood, found together with the species, so that a cluster of
    one species stays as bright as it is.

    Parameters
    ----------
    sites
        As ``fit_sites`` gives them; atoms off the lattice get no species.
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
    RequestError
        If the brightness does not show so many species (the mixture), with how far apart they are;
        or names are not different, or there are too few atoms.

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
    names = _names(species)
    on = np.flatnonzero(sites["on_lattice"].to_numpy())
    if len(on) < max(FEWEST_ATOMS, 3 * len(names)):
        raise RequestError(
            "too few atoms to tell species apart",
            came=len(on),
            allowed=f"{max(FEWEST_ATOMS, 3 * len(names))} or more",
        )
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
    relative[on] = _relative(mixture)
    return (
        sites.assign(
            probability=(
                ("atom", "species_name"),
                probabilities,
                {"long_name": "probability of the species", "units": "1"},
            ),
            species=("atom", chosen, {"long_name": "most probable species, -1 none", "units": "1"}),
            relative_intensity=(
                "atom",
                relative,
                {"long_name": "intensity without the illumination", "units": "1"},
            ),
        )
        .assign_coords(species_name=names)
        .assign_attrs(species_method=str(method), separation=mixture.separation)
    )


def brightness_mixture(
    positions: Floats, intensities: Floats, number: int, *, seed: int = 0
) -> Mixture:
    """Species and illumination, found in turn until they agree.

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
        The better separated of two: the first illumination is none, or a parabola. The likelihood
        does not choose, for an illumination that follows the species can explain more.
    """
    least = 1e-3 * float(np.quantile(intensities, 0.9))
    if least <= 0:
        raise RequestError("the atoms are not bright", came="90 % at or below 0", allowed="above 0")
    logs = np.log(np.maximum(intensities, least))
    parabola = _parabola(positions)
    starts = [
        np.full(len(logs), logs.mean()),
        parabola @ np.linalg.lstsq(parabola, logs, rcond=None)[0],
    ]
    found = [_in_turn(positions, logs, start, number, seed) for start in starts]
    return max(found, key=lambda mixture: (mixture.separation, mixture.likelihood))


def _in_turn(
    positions: Floats, logs: Floats, illumination: Floats, number: int, seed: int
) -> Mixture:
    near = _neighbors(positions)
    mixture = _mixture(logs - illumination, number, seed)
    for _ in range(ROUNDS):
        expected = mixture.probabilities @ mixture.means
        left = logs - expected
        slow = _slow_part(positions, left, mixture.deviation, near)
        slow -= slow.mean()
        if np.abs(slow - illumination + illumination.mean()).max() < 1e-4:
            break
        illumination = slow
        mixture = _mixture(logs - illumination, number, seed)
    return mixture


def _mixture(logs: Floats, number: int, seed: int) -> Mixture:
    """The most likely mixture from several starts: equal parts, and parts as Otsu cuts them."""
    floor = 1e-6 * max(float(np.var(logs)), 1e-12)
    found = []
    for parts in _starts(logs, number):
        model = _fitted(
            logs,
            number,
            covariance_type="tied",
            means_init=np.array([logs[parts == k].mean() for k in range(number)])[:, None],
            weights_init=np.bincount(parts, minlength=number) / len(parts),
            precisions_init=np.eye(1) / max(_within(logs, parts), floor),
            reg_covar=floor,
            random_state=seed,
        )
        order = np.argsort(model.means_[:, 0])
        found.append(
            Mixture(
                model.means_[order, 0],
                np.maximum(model.weights_[order], 1e-12),
                float(np.sqrt(model.covariances_[0, 0])),
                logs,
                float(model.score(logs[:, None]) * len(logs)),
            )
        )
    return max(found, key=lambda mixture: mixture.likelihood)


def _fitted(logs: Floats, number: int, **start: Any) -> Any:
    model = GaussianMixture(number, max_iter=500, tol=1e-5, **start)
    with warnings.catch_warnings():
        # Species too close to be told apart converge slowly; their separation is checked later.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(logs[:, None])


def _starts(logs: Floats, number: int) -> list[Integers]:
    """Parts of the atoms to start from, none empty."""
    ranks = np.argsort(np.argsort(logs, kind="stable"), kind="stable")
    even = ranks * number // len(logs)
    tails = [(ranks >= len(logs) - k).astype(np.int64) for k in (3, len(logs) // 10)]
    cut = [np.digitize(logs, _otsu(logs, number))] if number > 1 else []
    parts = [even, *cut, *(tails if number == 2 else [])]
    return [p.astype(np.int64) for p in parts if len(np.unique(p)) == number]


def _within(logs: Floats, parts: Integers) -> float:
    """Variance within the parts."""
    means = np.bincount(parts, logs) / np.bincount(parts)
    return float(np.mean((logs - means[parts]) ** 2))


def _otsu(logs: Floats, number: int) -> Floats:
    if np.ptp(logs) <= 1e-9:
        return np.full(number - 1, logs[0])
    found: Floats = threshold_multiotsu(logs, number, nbins=128)
    return found


def _parabola(positions: Floats) -> Floats:
    """Columns 1, r, c, r², rc, c², (atoms, 6)."""
    r, c = ((positions - positions.mean(axis=0)) / np.maximum(np.ptp(positions, axis=0), 1)).T
    return np.column_stack([np.ones(len(r)), r, c, r * r, r * c, c * c])


def _neighbors(positions: Floats) -> tuple[Floats, Integers]:
    """Weights and numbers of the atoms about each, itself left out."""
    number = min(NEIGHBORS + 1, len(positions))
    found = cKDTree(positions).query(positions, k=number)
    distances, near = (np.asarray(part)[:, 1:] for part in found)
    return np.exp(-0.5 * (distances / WIDTH) ** 2) + 1e-12, near


def _slow_part(
    positions: Floats, left: Floats, deviation: float, near: tuple[Floats, Integers]
) -> Floats:
    """What atoms share with those about them: a parabola, and the mean of what it leaves."""
    design = _parabola(positions)
    middle = np.median(left)
    kept = np.clip(left, middle - 4 * deviation, middle + 4 * deviation)
    parabola = design @ np.linalg.lstsq(design, kept, rcond=None)[0]
    weights, neighbors = near
    rest = np.sum(weights * (kept - parabola)[neighbors], axis=1) / weights.sum(axis=1)
    slow: Floats = parabola + rest
    return slow


def _probabilities(mixture: Mixture, method: object) -> Floats:
    number = len(mixture.means)
    if method == "mixture":
        return mixture.probabilities
    if method == "otsu":
        cuts = _otsu(mixture.logs, number)
    elif isinstance(method, (int, float)) and not isinstance(method, bool) and number == 2:
        cuts = _user_cut(mixture, float(method))
    else:
        raise RequestError(
            "no such way to tell species apart",
            came=method,
            allowed="mixture | otsu | a threshold of relative_intensity between two species",
        )
    return np.eye(number)[np.digitize(mixture.logs, cuts)]


def _user_cut(mixture: Mixture, threshold: float) -> Floats:
    relative = _relative(mixture)
    if not relative.min() < threshold < relative.max():
        raise RequestError(
            "the threshold leaves one species only",
            came=threshold,
            allowed=f"relative intensities from {relative.min():.3g} to {relative.max():.3g}",
        )
    return np.array([np.log(threshold) + mixture.logs.mean()])


def _relative(mixture: Mixture) -> Floats:
    relative: Floats = np.exp(mixture.logs - mixture.logs.mean())
    return relative


def _check_separation(mixture: Mixture, one: Mixture) -> None:
    """A RequestError where the brightness shows fewer species than are named."""
    better = one.bic - mixture.bic
    narrower = one.deviation / mixture.deviation
    sure = mixture.probabilities.max(axis=1)
    doubt = float(np.sum(1 - sure) / max(mixture.weights.min() * len(sure), 1e-9))
    worse = better < LEAST_BIC and narrower < LEAST_NARROWER
    if mixture.separation < LEAST_SEPARATION or worse or doubt > MOST_DOUBT:
        raise RequestError(
            f"the brightness of the atoms does not show {len(mixture.means)} species",
            came=f"{mixture.separation:.1f} standard deviations apart, BIC better by {better:.0f}, "
            f"{doubt:.2f} doubtful atoms for each of the rarest",
            allowed=f"{LEAST_SEPARATION:g} or more, {LEAST_BIC:g} or more, at most {MOST_DOUBT}",
            hint="a threshold from another image of the same contrast: method=1.5",
        )


def _names(species: Sequence[Any]) -> list[str]:
    names = [str(name) for name in species]
    if isinstance(species, str) or not names or len(set(names)) < len(names):
        raise RequestError(
            "species are different names",
            came=", ".join(names),
            allowed="one or more, from the darkest to the brightest",
            hint="species=('Mo', 'Re')",
        )
    return names
