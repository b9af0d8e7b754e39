"""p-values of a model: by χ², by drawing neighbourhoods or configurations, by shuffling species."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import cho_solve

from latticescape.analysis.checks import check_least
from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.inference.calibration import Experiments
from latticescape.analysis.inference.comparison.models import (
    Model,
    Predictions,
    effective_numbers,
    landscape_of,
    predictions,
)
from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.landscapes.designs import ScatteredDesign
from latticescape.analysis.inference.landscapes.interpolation import Interpolation, interpolation
from latticescape.analysis.inference.landscapes.landscape import RANDOM
from latticescape.analysis.inference.landscapes.landscape import p_values as chi2_tail
from latticescape.analysis.inference.likelihood.ensemble import Ensemble
from latticescape.analysis.inference.likelihood.sections import Shape, can_be_drawn
from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import classes_at, random_mixing_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

Way = Literal["chi2", "bootstrap", "simulation", "shuffle"]
Composition = Literal["held", "measured"]
WAYS: tuple[Way, ...] = get_args(Way)

DRAWS = 999

# Draws are refitted among the points where −2 ln L of the images is within this of its least,
# seven standard errors of one parameter.
REACH = 49.0
_BATCH = 4_000_000


def p_values(
    model: Model,
    observed: xr.Dataset,
    *,
    way: Way = "bootstrap",
    draws: int = DRAWS,
    seed: int = 1,
    refit: bool = True,
    composition: Composition = "held",
    fraction: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """How often the model, at its best fit, gives images with an S² at least as large.

    Parameters
    ----------
    model
        A sweep's Dataset, or ``"random"`` for the random alloy; a landscape for ``way="chi2"``, or
        if it keeps its ``probability``.
    observed
        Counts per image (``observed_counts``).
    way
        ``"chi2"``: χ²(k−1).sf(4 N f S²), the published convention; too large where many classes are
        nearly empty, and fitted parameters are not subtracted. ``"bootstrap"``: images of N f
        independent neighbourhoods are drawn from the model's histogram at its best fit, and fitted
        as the real ones were: between the points of the sweep, or, if there are too few points to
        interpolate, at the points only. ``"simulation"``, for sweeps and the random alloy:
        configurations are drawn at the best fit and cut like the images, which keeps the overlap
        of neighbourhoods and their correlations (:class:`Experiments`); ``refit``, ``composition``
        and ``fraction`` have no effect then. ``"shuffle"``, only for the
        random alloy: the
        species are shuffled over each image's own sites, which keeps the overlap of neighbourhoods;
        needs images whose sites are known (measured images, stores of them, or tables of atoms).
    draws
        Sets of images drawn; p is (1 + as large) / (1 + draws) (Davison and Hinkley, Bootstrap
        Methods, 1997, §4.2).
    seed
        Of the draws.
    refit
        Fit every draw as the images are fitted. Otherwise p-values of fitted models are too large.
    composition
        Of drawn images: ``"held"`` at the measured one, as in a piece of a large alloy whose
        neighbours are centres as well; or ``"measured"`` from each draw's centres, which is right
        for synthetic images of independent neighbourhoods.
    fraction
        f, one number or one per image. By default ``effective_n`` of the images where they carry it
        (``"bootstrap"``), or 1 (``"chi2"``).

    Returns
    -------
    Dataset
        ``s2``, ``p_value`` and ``p_value_se`` (image), the last by the number of draws, and
        ``s2_total``, ``p_value_total``, ``p_value_total_se``; ``n_used`` (image), N f. Attributes
        name the way and the draws.

    Raises
    ------
    RequestError
        If the way is unknown or does not apply to this model or these images.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> counts = configurations("honeycomb").multiplicity * 10
    >>> observed = counts_dataset({"one": counts}, configurations("honeycomb"))
    >>> float(p_values("random", observed, way="chi2").p_value_total)
    1.0
    """
    checked_choice(way, WAYS, "unknown way to a p-value")
    checked_choice(composition, get_args(Composition), "unknown treatment of the composition")
    check_least(draws, 1, "draws", f"draws={DRAWS}")
    if way == "chi2":
        landscape = landscape_of("to be tested", model, observed)
        return by_chi2(landscape, fit(landscape), fraction)
    if way == "shuffle":
        return _by_shuffling(model, observed, seed)
    if way == "simulation":
        return simulated_p_values(model, observed, draws=draws, seed=seed)
    numbers = effective_numbers(observed, fraction, measured=True)
    if not isinstance(model, str):
        model = landscape_of("to be tested", model, observed)
    predicted = predictions(model, observed)
    rng = np.random.default_rng(seed)
    distances, null = _bootstrapped(
        predicted, observed, numbers, draws, rng, refit=refit, composition=composition
    )
    attrs = {"p_value_way": way, "draws": draws, "refit": int(refit), "composition": composition}
    return _table(observed, numbers, distances, null, attrs)


def simulated_p_values(
    model: Model,
    observed: xr.Dataset,
    *,
    draws: int = DRAWS,
    seed: int = 1,
    landscape: xr.Dataset | None = None,
) -> xr.Dataset:
    """p-values by configurations drawn at the best fit; see :func:`p_values`.

    Parameters
    ----------
    model
        A sweep's Dataset, or ``"random"``.
    observed
        Counts per image.
    draws, seed
        How many sets of images, and the seed of the configurations.
    landscape
        That of the sweep, if it is known.

    Raises
    ------
    RequestError
        If no configurations can be drawn: the model is a landscape, has random bonds or three
        species; or the random alloy has other classes than the usual ones of its lattice.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> counts = configurations("honeycomb").multiplicity * 10
    >>> observed = counts_dataset({"one": counts}, configurations("honeycomb"))
    >>> float(simulated_p_values("random", observed, draws=99).p_value_total)
    1.0
    """
    if not can_be_simulated(model, observed):
        raise RequestError(
            "no configurations can be drawn for p-values",
            came="a landscape" if "s2_total" in model else "random bonds, or many species",
            allowed="a sweep of two species, or random",
            hint='way="bootstrap", or --p-value bootstrap',
        )
    numbers = observed["n"].to_numpy().astype(float)
    fitted: Model = model
    if not isinstance(model, str):
        fitted = landscape_of("to be tested", model, observed) if landscape is None else landscape
    predicted = predictions(fitted, observed)
    best = _best_fit(predicted, observed["counts"].to_numpy(), numbers)
    if isinstance(model, str):
        images = _random_images(observed, draws, np.random.default_rng(seed))
    else:
        place = dict(zip(predicted.names, map(float, best.source.values[0]), strict=True))
        experiments = Experiments(model, observed, place).draw(draws, seed)
        images = np.stack([drawn["counts"].to_numpy() for drawn in experiments])
    attrs = {"p_value_way": "simulation", "draws": draws, "refit": 1, "composition": "held"}
    distances = best.refitted(observed["counts"].to_numpy()[None], numbers)[0]
    return _table(observed, numbers, distances, _refitted(best, images, numbers), attrs)


def can_be_simulated(model: Model, observed: xr.Dataset) -> bool:
    """Whether configurations can be drawn for the p-values of a model.

    Examples
    --------
    >>> can_be_simulated(xr.Dataset({"s2_total": 0.1}), xr.Dataset())
    False
    """
    if isinstance(model, str):
        return isinstance(classes_of(observed), Configurations)
    if "spec" not in model.attrs or "histogram_replica" not in model:
        return False
    try:
        return can_be_drawn(Ensemble(model))
    except (RequestError, KeyError):  # no lattice model
        return False


def _random_images(observed: xr.Dataset, draws: int, rng: np.random.Generator) -> Integers:
    """Counts of random alloys on sites like the images', (draws, images, classes), with as many
    centres of each species as the image has."""
    classes = classes_of(observed)
    assert isinstance(classes, Configurations)
    every = []
    for image in observed["image"].values:
        one = observed.sel(image=image)
        lattice = _roomy_lattice(classes.kind, one)
        shape = Shape(lattice, one)
        section = next(shape.sections(1, rng))
        ones = int(one["counts"].to_numpy() @ classes.centre)
        species = rng.random((draws, lattice.sites)) < ones / shape.number
        centres = np.tile(np.arange(shape.number) < ones, (draws, 1))
        species[:, shape.rows.centers[section]] = rng.permuted(centres, axis=1)
        rows = classes_at(species, shape.rows)[:, section]
        every.append([np.bincount(row, minlength=len(classes)) for row in rows])
    return np.stack(every, axis=1).astype(np.int64)


def _roomy_lattice(kind: str, image: xr.Dataset) -> Lattice:
    """A lattice on which an image is a section that does not meet itself."""
    geometry = GEOMETRIES[kind]
    size = np.ceil((2 * float(image["n"]) / geometry.sublattices) ** (1 / geometry.dimension)) + 3
    if "centres" in image:
        size = max(size, float(image["centres"].max()) + 4)
    return Lattice(kind, int(size))


def by_chi2(landscape: xr.Dataset, fit: Fit, fraction: npt.ArrayLike | None = None) -> xr.Dataset:
    """The published p-values of a landscape, at its minimum; see :func:`p_values`. NaN for sources
    whose S² follows no χ², and for a total that holds one.

    Examples
    --------
    >>> from latticescape import random_mixing
    >>> from latticescape.analysis.inference.comparison.models import argmin_s2
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> observed = counts_dataset({"one": np.arange(1, 9)}, configurations("honeycomb"))
    >>> landscape = random_mixing(observed)
    >>> round(float(by_chi2(landscape, argmin_s2(landscape)).p_value[0]), 3)
    0.058
    """
    dof = np.ravel(landscape.attrs["degrees_of_freedom"])  # of all images alike, or of each source
    numbers = effective_numbers(landscape, fraction, measured=False)
    s2 = fit.s2.to_numpy()
    total = float(numbers @ s2 / numbers.sum()) if fraction is not None else fit.s2_total
    p = chi2_tail(s2, numbers, dof)
    p_total = chi2_tail(total, numbers.sum(), dof.all() * np.sum(dof + np.zeros_like(s2)))
    exact = np.zeros_like(p)
    attrs = {"p_value_way": "chi2", "degrees_of_freedom": landscape.attrs["degrees_of_freedom"]}
    return _dataset(
        landscape["image"], numbers, (s2, p, exact), (total, float(p_total), 0.0), attrs
    )


def _bootstrapped(
    predicted: Predictions,
    observed: xr.Dataset,
    numbers: Floats,
    draws: int,
    rng: np.random.Generator,
    *,
    refit: bool,
    composition: Composition,
) -> tuple[Floats, Floats]:
    """S² of the images, (images,), and of draws from the best fit, (draws, images)."""
    counts, classes = observed["counts"].to_numpy(), predicted.classes
    best = _best_fit(predicted, counts, numbers)
    if composition == "measured" and not predicted.random:
        images = _stratified(best.source, observed, numbers, draws, rng, classes)
    else:
        images = best.source.draws(numbers, draws, rng)
    if composition == "measured" and predicted.random:
        return predicted.s2(counts)[:, 0], _from_random(images, classes)
    if not refit:
        return best.source.s2(counts)[:, 0], best.source.s2(images)[..., 0]
    return best.refitted(counts[None], numbers)[0], _refitted(best, images, numbers)


def _refitted(best: "_BestFit", images: Integers, numbers: Floats) -> Floats:
    """S² of draws (draws, images, classes), each at its own best fit, (draws, images)."""
    batch = max(1, _BATCH // (len(numbers) * len(best.points.values)))
    parts = [best.refitted(images[i : i + batch], numbers) for i in range(0, len(images), batch)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class _BestFit:
    """A model at its best fit, and the points between which images and draws are fitted.

    Attributes
    ----------
    source
        The model at the best fit.
    points
        The points near it.
    between
        The interpolation between them; None if there are too few, so that the best of the points
        counts.
    """

    source: Predictions
    points: Predictions
    between: Interpolation | None

    def refitted(self, counts: Integers, numbers: Floats) -> Floats:
        """S², (draws, images), of each draw (draws, images, classes) at its own best fit."""
        s2 = self.points.s2(counts)
        loss = np.einsum("i,dip->dp", numbers, s2)
        if self.between is None:
            lowest = np.argmin(loss, axis=1)
            return np.take_along_axis(s2, lowest[:, None, None], axis=2)[:, :, 0]
        process = self.between.process
        places = self.between.scaled(self.between.minimum(loss))
        # The mean of the process is linear in the values.
        weights = cho_solve(process.factor, process.kernel(places).T).T
        fitted: Floats = np.maximum(np.einsum("dp,dip->di", weights, s2), 0.0)
        return fitted


def _best_fit(predicted: Predictions, counts: Integers, numbers: Floats) -> _BestFit:
    """The model where Σ N S² is smallest, interpolated if there are enough points."""
    loss: Floats = np.einsum("i,ip->p", numbers, predicted.s2(counts))
    errors = np.zeros(len(loss)) if predicted.s2_se is None else predicted.s2_se
    best = int(np.argmin(loss))
    varying = np.ptp(predicted.values, axis=0) > 0
    names = tuple(np.array(predicted.names)[varying])
    try:
        design = ScatteredDesign(names, predicted.values[:, varying])
        between = interpolation(design, 4 * loss, 4 * numbers.sum() * errors)
    except RequestError:  # too few points, or all on a line
        near = predicted.among(np.flatnonzero(4 * (loss - loss[best]) <= REACH))
        return _BestFit(predicted.at(best), near, None)
    points, place = predicted.among(between.chosen), between.minimum()
    # Roots of the shares, since S² is a squared distance of these.
    roots = np.stack(
        [
            between.process.of(np.sqrt(shares)).mean(between.scaled(place[None]))
            for shares in points.probability
        ]
    )
    shares = np.maximum(roots, 0) ** 2
    shares = shares / shares.sum(axis=-1, keepdims=True)
    values = predicted.values[best].copy()
    values[varying] = place
    return _BestFit(replace(predicted, values=values[None], probability=shares), points, between)


def _stratified(
    fitted: Predictions,
    observed: xr.Dataset,
    numbers: Floats,
    draws: int,
    rng: np.random.Generator,
    classes: Classes,
) -> Integers:
    """Draws from the only point of ``fitted``, with the measured number of centres of each species,
    which selects the simulation's x."""
    counts = observed["counts"].to_numpy()
    parts = np.zeros((draws, len(numbers), len(classes)), np.int64)
    for species in np.unique(classes.centre)[::-1]:
        mask = classes.centre == species
        share = counts[:, mask].sum(axis=1) / counts.sum(axis=1)
        for image, number in enumerate(np.rint(numbers * share).astype(int)):
            weights = fitted.probability[image, 0, mask]
            if number:
                parts[:, image, mask] = rng.multinomial(number, weights / weights.sum(), size=draws)
    return parts


def _from_random(images: Integers, classes: Classes) -> Floats:
    """S² of every image to the random alloy of its own composition."""
    mixed = random_mixing_of(classes, images)
    overlap = np.sqrt(mixed * images / images.sum(axis=-1, keepdims=True))
    s2: Floats = np.arccos(np.minimum(overlap.sum(axis=-1), 1.0)) ** 2
    return s2


def _by_shuffling(model: Model, observed: xr.Dataset, seed: int) -> xr.Dataset:
    hint = 'way="bootstrap"'
    if not isinstance(model, str) or model != RANDOM:
        problem = "shuffled species are a random alloy, so they test no other model"
        raise RequestError(problem, came="a model with interactions", allowed=RANDOM, hint=hint)
    if "shuffled_counts" not in observed:
        problem = "species cannot be shuffled: in a table of counts the atoms' sites are not known"
        allowed = "measured images, stores of latticescape measure, or tables of atoms"
        hint = 'way="bootstrap", or --p-value bootstrap'
        raise RequestError(problem, allowed=allowed, hint=hint)
    classes = classes_of(observed)
    shuffled = observed["shuffled_counts"].transpose("image", "shuffle", "configuration")
    # Images of equally many atoms were shuffled alike: an order of its own for each.
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(rows) for rows in shuffled.to_numpy()], axis=1)
    s2 = _from_random(observed["counts"].to_numpy(), classes)
    n = observed["n"].to_numpy().astype(float)
    attrs = {"p_value_way": "shuffle", "draws": len(rows)}
    return _table(observed, n, s2, _from_random(rows, classes), attrs)


def _table(
    observed: xr.Dataset, numbers: Floats, s2: Floats, null: Floats, attrs: dict[str, object]
) -> xr.Dataset:
    """p-values of the images and of their sum, from S² of the images and of the draws (null)."""
    weights = numbers / numbers.sum()
    p, se = share_as_far(s2, null)
    p_total, se_total = share_as_far(s2 @ weights, null @ weights)
    total = (float(s2 @ weights), float(p_total), float(se_total))
    return _dataset(observed["image"], numbers, (s2, p, se), total, attrs)


def share_as_far(s2: npt.ArrayLike, null: npt.ArrayLike) -> tuple[Floats, Floats]:
    """(1 + draws with S² as large) / (1 + draws) along the first axis, and its standard error.

    Examples
    --------
    >>> [round(float(part), 3) for part in share_as_far(0.5, np.linspace(0, 1, 99))]
    [0.51, 0.05]
    """
    values = np.asarray(null)
    number = len(values)
    # The tolerance keeps equal distances equal after rounding.
    as_large = (values >= np.asarray(s2) * (1 - 1e-9)).sum(axis=0)
    p = (1 + as_large) / (1 + number)
    return p, np.sqrt(p * (1 - p) / number)


def _dataset(
    images: xr.DataArray,
    numbers: Floats,
    rows: tuple[Floats, Floats, Floats],
    total: tuple[float, float, float],
    attrs: dict[str, object],
) -> xr.Dataset:
    names = ("s2", "p_value", "p_value_se")
    by_image = {name: ("image", row) for name, row in zip(names, rows, strict=True)}
    sums = dict(zip(("s2_total", "p_value_total", "p_value_total_se"), total, strict=True))
    return xr.Dataset(
        {**by_image, **sums, "n_used": ("image", numbers)}, {"image": images.values}, attrs=attrs
    )
