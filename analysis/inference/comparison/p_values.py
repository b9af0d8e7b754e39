"""p-values of a model in three ways: χ², parametric bootstrap, species shuffled on real sites."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.comparison.models import (
    RANDOM,
    Model,
    effective_numbers,
    landscape_of,
)
from latticescape.analysis.inference.comparison.predictions import Predictions, predictions
from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.landscapes.landscape import p_values as chi2_tail
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations, configurations

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

Way = Literal["chi2", "bootstrap", "shuffle"]
Composition = Literal["held", "measured"]
WAYS: tuple[Way, ...] = get_args(Way)

DRAWS = 999

# Draws are fitted anew among the points where −2 ln L of the images is within this of its least,
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
    """How often the model, where it fits best, gives images at least as far from itself.

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
        independent neighbourhoods are drawn from the model's histogram at its best point of the
        grid, and fitted as the real ones were. ``"shuffle"``, of the random alloy alone: the
        species are shuffled over each image's own sites, which keeps the overlap of neighbourhoods;
        needs images whose sites are known (measured images, stores of them, or tables of atoms).
    draws
        Sets of images drawn; p is (1 + as far) / (1 + draws) (Davison and Hinkley, Bootstrap
        Methods, 1997, §4.2).
    seed
        Of the draws.
    refit
        Fit every draw anew, over the points of the grid. Without, p-values of fitted models are too
        large.
    composition
        Of drawn images: ``"held"`` at the measured one, as a piece of a large alloy has it whose
        neighbours are centres as well; or ``"measured"`` anew from each draw's centres, which is
        right for synthetic images of independent neighbourhoods.
    fraction
        f, one number or one an image. By default ``effective_n`` of the images where they carry it
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
        If the way is unknown or cannot be gone with this model or these images.

    Examples
    --------
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> counts = configurations("honeycomb").multiplicity * 10
    >>> observed = counts_dataset({"one": counts}, configurations("honeycomb"))
    >>> float(p_values("random", observed, way="chi2").p_value_total)
    1.0
    """
    _check(way, draws, composition)
    if way == "chi2":
        landscape = landscape_of("to be tested", model, observed)
        return by_chi2(landscape, fit(landscape), fraction)
    if way == "shuffle":
        return _by_shuffling(model, observed, seed)
    numbers = effective_numbers(observed, fraction, measured=True)
    predicted = predictions(model, observed)
    rng = np.random.default_rng(seed)
    found, drawn = _bootstrapped(
        predicted, observed, numbers, draws, rng, refit=refit, composition=composition
    )
    attrs = {"p_value_way": way, "draws": draws, "refit": int(refit), "composition": composition}
    return _table(observed, numbers, found, drawn, attrs)


def _check(way: str, draws: int, composition: str) -> None:
    for name, came, allowed in (
        ("way to a p-value", way, WAYS),
        ("treatment of the composition", composition, get_args(Composition)),
    ):
        if came not in allowed:
            raise RequestError(f"unknown {name}", came=came, allowed=" | ".join(allowed))
    if draws < 1:
        raise RequestError("too few draws", came=draws, allowed=">= 1", hint=f"draws={DRAWS}")


def by_chi2(landscape: xr.Dataset, fit: Fit, fraction: npt.ArrayLike | None = None) -> xr.Dataset:
    """The published p-values of a landscape, at its minimum; see :func:`p_values`. NaN for sources
    whose S² follows no χ², and for a total that holds one.

    Examples
    --------
    >>> from latticescape import random_mixing
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
    """S² of the images, (images,), and of draws of the best point, (draws, images)."""
    everywhere = predicted.s2(observed["counts"].to_numpy())
    loss = numbers @ everywhere
    best = int(np.argmin(loss))
    near = np.flatnonzero(4 * (loss - loss[best]) <= REACH) if refit else np.array([best])
    fitted = predicted.among(near)
    measured = composition == "measured"
    at = int(np.flatnonzero(near == best)[0])
    classes = configurations(predicted.kind)
    source = _stratified if measured and not predicted.random else _independent
    images = source(fitted, observed, numbers, draws, rng, at, classes)
    if measured and predicted.random:
        return everywhere[:, best], _from_random(images, classes)
    return everywhere[:, best], _refitted(fitted, images, numbers)


def _independent(
    fitted: Predictions,
    observed: xr.Dataset,
    numbers: Floats,
    draws: int,
    rng: np.random.Generator,
    at: int,
    classes: Configurations,
) -> Integers:
    return fitted.draws(numbers, draws, rng, point=at)


def _stratified(
    fitted: Predictions,
    observed: xr.Dataset,
    numbers: Floats,
    draws: int,
    rng: np.random.Generator,
    at: int,
    classes: Configurations,
) -> Integers:
    """With as many centres of species 1 as measured: what a simulation at that x is chosen by."""
    ones = classes.centre == 1
    share = observed["composition"].to_numpy()
    parts = np.zeros((draws, len(numbers), len(classes)), np.int64)
    for mask, part in ((ones, share), (~ones, 1 - share)):
        for image, number in enumerate(np.rint(numbers * part).astype(int)):
            weights = fitted.probability[image, at, mask]
            if number:
                drawn = rng.multinomial(number, weights / weights.sum(), size=draws)
                parts[:, image, mask] = drawn
    return parts


def _refitted(fitted: Predictions, images: Integers, numbers: Floats) -> Floats:
    """S² of every image of every draw, each draw at its own best point."""
    batch = max(1, _BATCH // (len(numbers) * len(fitted.values)))
    rows = []
    for first in range(0, len(images), batch):
        s2 = fitted.s2(images[first : first + batch])
        best = np.argmin(np.einsum("i,dip->dp", numbers, s2), axis=1)
        rows.append(np.take_along_axis(s2, best[:, None, None], axis=2)[:, :, 0])
    return np.concatenate(rows)


def _from_random(images: Integers, classes: Configurations) -> Floats:
    """S² of every image to the random alloy of its own composition."""
    share = images @ classes.centre / images.sum(axis=-1)
    overlap = np.sqrt(classes.random_mixing(share) * images / images.sum(axis=-1, keepdims=True))
    found: Floats = np.arccos(np.minimum(overlap.sum(axis=-1), 1.0)) ** 2
    return found


def _by_shuffling(model: Model, observed: xr.Dataset, seed: int) -> xr.Dataset:
    if not isinstance(model, str) or model != RANDOM:
        raise RequestError(
            "shuffling species makes random alloys, and tests no other model",
            came="a model with interactions",
            allowed=RANDOM,
            hint='way="bootstrap"',
        )
    if "shuffled_counts" not in observed:
        raise RequestError(
            "the images' sites are not known, so there is nothing to shuffle",
            came="counts alone",
            allowed="measured images, stores of latticescape measure, or tables of atoms",
            hint='way="bootstrap"',
        )
    classes = configurations(str(observed.attrs["lattice"]))
    shuffled = observed["shuffled_counts"].transpose("image", "shuffle", "configuration")
    # Images of equally many atoms were shuffled alike: an order of its own for each.
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(rows) for rows in shuffled.to_numpy()], axis=1)
    found = _from_random(observed["counts"].to_numpy(), classes)
    n = observed["n"].to_numpy().astype(float)
    attrs = {"p_value_way": "shuffle", "draws": len(rows)}
    return _table(observed, n, found, _from_random(rows, classes), attrs)


def _table(
    observed: xr.Dataset, numbers: Floats, found: Floats, drawn: Floats, attrs: dict[str, object]
) -> xr.Dataset:
    """p-values of the images and of their sum from S² found and drawn."""
    weights = numbers / numbers.sum()
    p, se = share_as_far(found, drawn)
    p_total, se_total = share_as_far(found @ weights, drawn @ weights)
    total = (float(found @ weights), float(p_total), float(se_total))
    return _dataset(observed["image"], numbers, (found, p, se), total, attrs)


def share_as_far(found: npt.ArrayLike, drawn: npt.ArrayLike) -> tuple[Floats, Floats]:
    """(1 + draws as far) / (1 + draws) along the first axis, and its standard error.

    Examples
    --------
    >>> [round(float(part), 3) for part in share_as_far(0.5, np.linspace(0, 1, 99))]
    [0.51, 0.05]
    """
    values = np.asarray(drawn)
    number = len(values)
    # Of equal distances none is less far for the rounding of a sum.
    far = (values >= np.asarray(found) * (1 - 1e-9)).sum(axis=0)
    p = (1 + far) / (1 + number)
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
