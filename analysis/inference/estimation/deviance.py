"""−2 ln L of a landscape, the basis of all parameter estimates."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import binom

from latticescape.analysis.checks import RUN_AGAIN
from latticescape.analysis.inference.landscapes.designs import Design, at_point, design_of, flat
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# Above this number of expected counts the expansions in 1/λ have a relative error below 1e-4.
_MANY = 40.0
_POINTS = 1200


def root_moments(expected: npt.ArrayLike, number: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Mean, slope and variance of √h, h being binomial.

    Parameters
    ----------
    expected
        λ = N q, any shape.
    number
        N.

    Returns
    -------
    mean, slope, variance
        E√h, Cov(√h, h)/Var h, and Var √h: √λ, 1/(2√λ) and (1 − q)/4 where λ is large; all count
        for count less where it is small.

    Examples
    --------
    >>> mean, slope, variance = root_moments([1.0, 10_000.0], 1e6)
    >>> mean.round(3).tolist(), (2 * slope * [1, 100]).round(3).tolist(), variance.round(3).tolist()
    ([0.773, 99.999], [1.199, 1.0], [0.402, 0.248])
    """
    mean_count, n = np.broadcast_arrays(np.asarray(expected, float), np.asarray(number, float))
    moments = np.empty((3, *mean_count.shape))
    few = mean_count < _MANY
    # Few counts: sums over the binomial distribution.
    expected, trials = mean_count[few], n[few]
    h = np.arange(int(_MANY + 12 * np.sqrt(_MANY)))[:, None]
    weight = binom.pmf(h, np.maximum(np.rint(trials), 1), np.minimum(expected / trials, 1))
    root = np.sqrt(h)
    mean, count = (weight * root).sum(axis=0), (weight * h).sum(axis=0)
    variance = (weight * h * h).sum(axis=0) - count**2
    slope = ((weight * root * h).sum(axis=0) - mean * count) / np.maximum(variance, 1e-300)
    moments[:2, few] = mean, np.where(expected > 1e-12, slope, 1.0)
    moments[2, few] = np.maximum(count - mean**2, 0)
    # Expansions in 1/λ.
    many = mean_count[~few]
    root, rest = np.sqrt(many), 1 - np.minimum(many / n[~few], 1)
    moments[0, ~few] = root * (1 - rest / (8 * many))
    moments[1, ~few] = (1 + rest / (8 * many)) / (2 * root)
    moments[2, ~few] = rest / 4 * (1 + 3 * rest / (8 * many))
    return moments[0], moments[1], moments[2]


def count_bias(
    probability: npt.ArrayLike, number: float, dispersion: npt.ArrayLike = 1.0
) -> Floats:
    """What few counts add to 4 N S² of a histogram, up to a constant; last axis the classes.

    E√h < √λ pulls the minimum of S² away from rare classes. The sum over classes of
    4 N ∫₀^q (E√h/√λ − 1) dq has minus the mean slope of 4 N S² at the true parameters, whatever
    these are; added to 4 N S² it leaves a minimum that is right on average.

    Parameters
    ----------
    probability
        q, (…, classes).
    number
        N.
    dispersion
        Variance of the counts of a class over the binomial one, one for all or (classes,): counts
        that come in groups of o scatter as N/o.

    Returns
    -------
    ndarray
        (…): to be added to 4 N S², in its units.

    Examples
    --------
    >>> count_bias([0.5, 0.5], 1e6).round(1).item() > count_bias([0.001, 0.999], 1e6).item()
    False
    """
    q = np.asarray(probability, float)
    dispersions = np.broadcast_to(np.asarray(dispersion, float), q.shape[-1:])
    bias = np.zeros(q.shape[:-1])
    for k, value in enumerate(dispersions):
        share, integral = _missing(max(number / float(value), 1.0))
        bias += 4 * number * np.interp(q[..., k], share, integral)
    return bias


@lru_cache(maxsize=4096)
def _missing(number: float) -> tuple[Floats, Floats]:
    """∫₀^q (E√h/√(Nt) − 1) dt over q, on a grid that is fine where counts are few."""
    share = np.concatenate([[0.0], np.geomspace(1e-6 / number, 1.0, _POINTS)])
    middle = (share[1:] + share[:-1]) / 2
    mean = root_moments(middle * number, number)[0]
    lacking = mean / np.sqrt(middle * number) - 1
    return share, np.concatenate([[0.0], np.cumsum(lacking * np.diff(share))])


Overlap = Literal["independent", "simulated", "effective"]
# In the order of preference.
OVERLAPS: tuple[Overlap, ...] = ("simulated", "effective", "independent")

# Smallest and largest variance of the counts of a class, over the binomial one.
DISPERSION = (0.25, 20.0)


@dataclass(frozen=True)
class Deviance:
    """−2 ln L = 4 Σ_d N_d f_d S²_d at the points of a landscape, with its biases subtracted.

    Attributes
    ----------
    design
        The points, and the parameters that have only one value.
    values, errors
        (points,): −2 ln L, and its Monte Carlo standard error.
    parts
        (parts, points): −2 ln L of every image or source.
    numbers
        (parts,): N_d f_d of the images or sources.
    overlap
        How overlapping neighbourhoods were taken.
    dispersion
        (parts, classes): how much more than Poisson's the counts of a class scatter, or None.
    exact
        What an exact likelihood holds besides, or None if −2 ln L is that of S².
    """

    design: Design
    values: Floats
    errors: Floats
    parts: Floats
    numbers: Floats
    overlap: Overlap
    dispersion: Floats | None
    exact: "Exact | None" = None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that can be fitted."""
        return self.design.names


@dataclass(frozen=True)
class Exact:
    """What an exact likelihood holds besides its values; NaN where it is not known.

    Attributes
    ----------
    replicas
        (replicas, points): −2 ln L as each replica has it; None of large landscapes.
    couplings
        (points, features): couplings over temperature.
    jumps
        (jumps, 2): pairs of neighbouring points that are different phases.
    bridged
        (points,): −2 ln L, and between different phases the chord from one to the other, which
        bounds it from above, since it is convex; None if there are no points between them.
    bends
        (parameters, points): by how much the curvature of −2 ln L along a parameter changes from
        one step of the sweep's grid to the next, as far as its slopes tell; None if they do not.
    """

    replicas: Floats | None
    couplings: Floats
    jumps: npt.NDArray[np.intp]
    bridged: Floats | None = None
    bends: Floats | None = None


def deviance(landscape: xr.Dataset, overlap: Overlap | None = None) -> Deviance:
    """−2 ln L at the points of a landscape.

    S² is freed of the bias of the finite simulation (``s2_bias``), and of the pull of classes of
    few counts (:func:`count_bias`).

    Parameters
    ----------
    landscape
        A landscape.
    overlap
        ``"independent"``: N neighbourhoods are N draws. ``"simulated"``: they overlap; what that
        does to errors is taken from the simulation (:mod:`information`).
        ``"effective"``: N is the images' ``effective_n``. By default the first that is possible of
        simulated, effective and independent.

    Raises
    ------
    RequestError
        If no point is computed, the data that ``overlap`` needs are missing, or as of
        :func:`design_of`.

    Examples
    --------
    >>> s2 = np.array([0.02, 0.01, 0.02])
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "T"), s2[None]), "s2_se": (("image", "T"), 0 * s2[None]),
    ...      "s2_total": ("T", s2), "s2_total_se": ("T", 0 * s2), "n": ("image", [100])},
    ...     coords={"T": [1.0, 2.0, 3.0]})
    >>> deviance(landscape).values.tolist()
    [8.0, 4.0, 8.0]
    """
    if not np.isfinite(landscape["s2_total"]).any():
        raise RequestError("no point of the landscape is computed", came="NaN", hint=RUN_AGAIN)
    chosen = chosen_overlap(landscape, overlap)
    numbers = landscape["n"].values.astype(float)
    if chosen == "effective":
        numbers = np.minimum(landscape["effective_n"].values.astype(float), numbers)
    design = design_of(landscape)
    if chosen == "simulated" and "log_likelihood" in landscape:
        parts = -2 * flat(landscape, "log_likelihood", "image")
        errors = 2 * np.linalg.norm(flat(landscape, "log_likelihood_se", "image"), axis=0)
        return Deviance(
            design=design,
            values=parts.sum(axis=0),
            errors=errors,
            parts=parts,
            numbers=numbers,
            overlap=chosen,
            dispersion=None,
            exact=_exact(landscape),
        )
    dispersion = _dispersion(landscape, chosen)
    values, errors, parts = _sums(landscape, numbers)
    if dispersion is not None:
        q = flat(landscape, "probability", part_of(landscape), last=["configuration"])
        pulls = zip(q, numbers, dispersion, strict=True)
        pull = np.array([count_bias(*of_image) for of_image in pulls])
        values, parts = values + pull.sum(axis=0), parts + pull
    return Deviance(
        design=design,
        values=values,
        errors=errors,
        parts=parts,
        numbers=numbers,
        overlap=chosen,
        dispersion=dispersion,
    )


def _exact(landscape: xr.Dataset) -> Exact:
    couplings = flat(landscape, "coupling", last=["feature"])
    replicas = None
    if "log_likelihood_replica" in landscape:
        replicas = -2 * flat(landscape, "log_likelihood_replica", "image", "replica").sum(axis=0)
    jumps = [np.empty((0, 2), np.intp)]
    if "jump" in landscape:
        dims = list(map(str, landscape["s2_total"].dims))
        numbers = np.arange(len(couplings)).reshape(landscape["s2_total"].shape)
        for axis, name in enumerate(dims):
            order = np.argsort(landscape[name].values)
            flags = landscape["jump"].sel(along=name).transpose(*dims).values
            flags, ids = (np.moveaxis(each, axis, 0)[order] for each in (flags, numbers))
            jumps.append(np.stack([ids[:-1][flags[:-1]], ids[1:][flags[:-1]]], axis=1))
    return Exact(replicas, couplings, np.concatenate(jumps))


def chosen_overlap(landscape: xr.Dataset, asked: Overlap | None) -> Overlap:
    """How overlapping neighbourhoods are taken.

    By default counts are taken as those of an image or a lattice, whose neighbourhoods share atoms:
    ``"simulated"`` if possible, else ``"effective"``. Whether they do cannot be seen in the counts
    of a section of a lattice, and to take overlapping counts as independent makes errors too small,
    so independent draws must be asked for.

    Examples
    --------
    >>> chosen_overlap(xr.Dataset(), None)
    'independent'
    """
    able = {
        "independent": True,
        "simulated": "count_covariance" in landscape
        and bool(np.isfinite(landscape["count_covariance"]).all()),
        "effective": "effective_n" in landscape,
    }
    if asked is not None and not able.get(asked, False):
        problem = "unknown treatment of overlapping neighbourhoods"
        if asked in OVERLAPS:
            problem = f"the landscape lacks the data for overlap = {asked!r}"
        allowed = " | ".join(name for name in OVERLAPS if able[name])
        raise RequestError(problem, came=asked, allowed=allowed)
    if asked is not None:
        return asked
    return next((way for way in OVERLAPS if able[way]), "independent")


def part_of(landscape: xr.Dataset) -> str:
    """The dimension of what the total is summed over: ``image``, or ``source``."""
    return str(landscape["n"].dims[0])


def deviances_of(
    landscape: xr.Dataset, deviances: Deviance, counts: Floats, points: npt.NDArray[np.intp]
) -> Floats:
    """−2 ln L of other counts, (draws, images, classes), at some points: (draws, points)."""
    values = np.repeat(deviances.values[points][None], len(counts), axis=0)
    if deviances.exact is not None:
        # −2 ln L = 2 b·u + 2 ln Z, with u the features of the counts.
        own = landscape["counts"].transpose("image", "configuration").values
        maps = landscape["class_features"].transpose("image", "configuration", "feature").values
        change = np.einsum("dic,icf->df", counts - own, maps)
        return np.asarray(values + 2 * change @ deviances.exact.couplings[points].T, float)
    part = part_of(landscape)
    q = flat(landscape, "probability", part, last=["configuration"])[:, points]
    known = flat(landscape, "s2", part)[:, points]
    for d, number in enumerate(deviances.numbers):
        root = np.sqrt(counts[:, d] / counts[:, d].sum(axis=-1, keepdims=True))
        overlap = np.clip(root @ np.sqrt(q[d]).T, 0, 1)
        values += 4 * number * (np.arccos(overlap) ** 2 - known[d])
    return values


def _sums(landscape: xr.Dataset, numbers: Floats) -> tuple[Floats, Floats, Floats]:
    """4 N S² in total, its error, and of every image."""
    part, weight = part_of(landscape), 4 * numbers[:, None]
    s2, error = flat(landscape, "s2", part), flat(landscape, "s2_se", part)
    if "s2_bias" in landscape:
        s2 = s2 - flat(landscape, "s2_bias", part)
    if np.array_equal(numbers, landscape["n"].values):
        # Images of one composition share a simulation and its error; the total accounts for it.
        total, errors = flat(landscape, "s2_total"), flat(landscape, "s2_total_se")
        if "s2_total_bias" in landscape:
            total = total - flat(landscape, "s2_total_bias")
        return 4 * numbers.sum() * total, 4 * numbers.sum() * errors, weight * s2
    return (
        np.sum(weight * s2, axis=0),
        np.sqrt(np.sum((weight * error) ** 2, axis=0)),
        weight * s2,
    )


def _dispersion(landscape: xr.Dataset, overlap: Overlap) -> Floats | None:
    """Dispersion (images, classes), or None if the landscape does not keep its histograms."""
    if "probability" not in landscape or "counts" not in landscape:
        return None
    if overlap != "simulated":
        return np.ones(landscape["counts"].shape)
    q = at_point(landscape, int(np.nanargmin(landscape["s2_total"].values)))["probability"]
    variance = np.diagonal(landscape["count_covariance"].values, axis1=1, axis2=2)
    expected = q.transpose(part_of(landscape), "configuration").values
    usual = expected * (1 - expected)
    seen = usual * landscape["n"].values[:, None] > 0.1
    return np.clip(np.where(seen, variance / np.where(seen, usual, 1), 1.0), *DISPERSION)
