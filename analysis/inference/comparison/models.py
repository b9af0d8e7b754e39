"""The models that are compared, their landscapes, and the probabilities they predict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import RUN_AGAIN
from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.landscapes.designs import flat
from latticescape.analysis.inference.landscapes.landscape import (
    RANDOM,
    columns_of,
    histograms_at,
    landscape,
    random_mixing,
    without_inner_coordinates,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.site_classes import random_mixing_of

Model = xr.Dataset | str
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def landscape_of(name: str, model: Model, observed: xr.Dataset | None = None) -> xr.Dataset:
    """The landscape of a model; computed from the counts for a sweep or the random alloy.

    Parameters
    ----------
    name
        Of the model, for errors.
    model
        A landscape, a sweep's Dataset, or ``"random"``.
    observed
        Counts per image; not needed for a landscape.

    Raises
    ------
    RequestError
        If it is none of these, or the images are needed and missing.

    Examples
    --------
    >>> landscape_of("null", "random")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the model null needs the observed counts, because ...
    """
    if isinstance(model, xr.Dataset) and "s2_total" in model:
        return model
    if observed is None:
        problem = f"the model {name} needs the observed counts, because it is not a landscape"
        raise RequestError(problem, hint="compare({…}, observed)")
    check_counts(observed)
    if isinstance(model, str):
        check_random(model)
        return random_mixing(observed)
    return landscape(model, observed)


def landscapes_of(
    models: Mapping[str, Model], observed: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """Landscapes by the model's name, all of the same images and numbers of neighbourhoods.

    Combined sources are treated as images.

    Raises
    ------
    RequestError
        If there is no model, or the models' images differ.

    Examples
    --------
    >>> landscapes_of({})
    Traceback (most recent call last):
    ...
    latticescape.RequestError: no model to compare ...
    """
    if not models:
        raise RequestError(
            "no model to compare", came="{}", allowed="landscapes, sweeps or 'random' by name"
        )
    originals = {name: landscape_of(name, model, observed) for name, model in models.items()}
    landscapes = {
        name: landscape.rename(source="image") if "source" in landscape.dims else landscape
        for name, landscape in originals.items()
    }
    images = {
        name: dict(zip(map(str, one["image"].values), map(float, one["n"].values), strict=True))
        for name, one in landscapes.items()
    }
    first = next(iter(images))
    for name, those in images.items():
        if those != images[first]:
            came, allowed = (
                ", ".join(f"{image} ({n:g})" for image, n in images[model].items())
                for model in (name, first)
            )
            problem = f"the models {first} and {name} are of different images"
            slab = "source" in originals[name].dims
            hint = "slab_landscapes, of a slab's sweeps" if slab else None
            raise RequestError(problem, came=came, allowed=allowed, hint=hint)
    return landscapes


def check_random(model: str) -> None:
    """Check that a model named by a word is the random alloy."""
    if model != RANDOM:
        allowed = f'a sweep\'s Dataset, a landscape, or "{RANDOM}"'
        raise RequestError("unknown model", came=model, allowed=allowed)


def check_counts(observed: xr.Dataset) -> None:
    """Refuse images without counts.

    Examples
    --------
    >>> check_counts(xr.Dataset({"counts": (("image", "configuration"), [[0, 0]])}, {"image": [1]}))
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the image 1 has no counts. Try: leave it out
    """
    empty = observed["counts"].sum("configuration") <= 0
    if bool(empty.any()):
        image = observed["image"].values[empty.values][0]
        raise RequestError(f"the image {image} has no counts", hint="leave it out")


def argmin_s2(landscape: xr.Dataset) -> Fit:
    """The minimum of S², with Cov = (2 N ∂²S²)⁻¹: the published convention, independent counts.

    Bayes factors, leave-one-out, sample sizes and the Accumulator weigh images by a number of
    independent neighbourhoods and take −ln L = 2 N S², so their minimum must be that of S². The
    errors of :func:`fit` itself account for overlapping neighbourhoods and few counts already:
    with a fraction, both would be counted twice.

    :func:`fit` is the estimator of the parameters. It also corrects for neighbourhoods that overlap
    and for biases, which this convention does not: the likelihood exp(−2 N S²) is largest here.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2": ("image", [0.01]), "s2_se": ("image", [0.0]),
    ...     "s2_total": 0.01, "s2_total_se": 0.0, "n": ("image", [100])}, {"image": ["one"]})
    >>> argmin_s2(landscape).s2_total
    0.01
    """
    return fit(landscape[["s2", "s2_se", "s2_total", "s2_total_se", "n"]].drop_attrs())


def reweighed(landscape: xr.Dataset, n: npt.ArrayLike) -> xr.Dataset:
    """The landscape with other numbers of neighbourhoods, and the totals that follow from them.

    Monte Carlo errors of the images are added as independent ones, as those of images at different
    compositions are.

    Parameters
    ----------
    landscape
        A landscape.
    n
        (images,), positive.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2": ("image", [0.01, 0.03]), "s2_se": ("image", [0.0, 0.0]),
    ...     "n": ("image", [100, 100])}, {"image": ["one", "two"]})
    >>> round(float(reweighed(landscape, [100, 300]).s2_total), 6)
    0.025
    """
    numbers = xr.DataArray(np.asarray(n, float), dims="image", coords={"image": landscape["image"]})
    weights = numbers / numbers.sum()
    biases: dict[str, xr.DataArray] = {}
    if "s2_bias" in landscape:
        biases["s2_total_bias"] = (weights * landscape["s2_bias"]).sum("image", skipna=False)
    return landscape.assign(
        n=("image", numbers.to_numpy()),
        s2_total=(weights * landscape["s2"]).sum("image", skipna=False),
        s2_total_se=((weights * landscape["s2_se"]) ** 2).sum("image", skipna=False) ** 0.5,
    ).assign(biases)


def effective_numbers(
    observed: xr.Dataset, fraction: npt.ArrayLike | None, *, measured: bool
) -> Floats:
    """Effective number of independent neighbourhoods in each image.

    Parameters
    ----------
    observed
        Counts per image, or a landscape of them.
    fraction
        Of each image, or of all; more than 0, at most 1.
    measured
        Without a fraction: take ``effective_n`` where the images carry it, from their own sites.

    Examples
    --------
    >>> counts = xr.Dataset({"n": ("image", [464, 466])})
    >>> effective_numbers(counts, [0.5, 1.0], measured=True)
    array([232., 466.])
    """
    n: Floats = observed["n"].to_numpy().astype(float)
    if fraction is None:
        if measured and "effective_n" in observed:
            measured_n: Floats = observed["effective_n"].to_numpy().astype(float)
            return np.minimum(measured_n, n)
        return n
    share = np.asarray(fraction, float)
    if not (np.all((share > 0) & (share <= 1)) and share.shape in ((), n.shape)):
        problem, hint = (
            "effective fractions must lie in (0, 1]",
            "fraction=[0.32, 0.78, 0.69, 0.53]",
        )
        allowed = f"one number, or {n.size}, one per image"
        raise RequestError(problem, came=fraction, allowed=allowed, hint=hint)
    effective: Floats = n * share
    return effective


def extensions(
    landscape: xr.Dataset, minimum: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """New ranges of axes whose minimum lies at their end, half as long again on that side.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2_total": ("w1", [0.01, 0.02, 0.03])}, {"w1": [0.0, 0.1, 0.2]})
    >>> extensions(landscape, {"w1": 0.0})
    {'w1': (-0.1, 0.2)}
    """
    ranges = {}
    for name, at in minimum.items():
        values = landscape[name].to_numpy().astype(float)
        low, high = float(values.min()), float(values.max())
        half = (high - low) / 2
        ranges[name] = (low - half, high) if at < (low + high) / 2 else (low, high + half)
    return ranges


@dataclass(frozen=True)
class Predictions:
    """Probabilities of a model's classes.

    Attributes
    ----------
    names
        The model's parameters; none for the random alloy.
    values
        (points, parameters): where they are known.
    probability
        (images, points, classes).
    classes
        The classes that are counted.
    random
        Whether it is the random alloy, whose probabilities depend only on the composition.
    s2_se
        (points,): Monte Carlo standard errors of the total S² of a landscape; None if unknown.
    """

    names: tuple[str, ...]
    values: Floats
    probability: Floats
    classes: Classes
    random: bool = False
    s2_se: Floats | None = None

    def s2(self, counts: npt.ArrayLike) -> Floats:
        """S² of histograms to the model at every point.

        Parameters
        ----------
        counts
            (…, images, classes).

        Returns
        -------
        ndarray
            (…, images, points).
        """
        histograms = np.asarray(counts, float)
        roots = np.sqrt(histograms / histograms.sum(axis=-1, keepdims=True))
        overlaps = np.stack(
            [
                roots[..., image, :] @ np.sqrt(probability).T
                for image, probability in enumerate(self.probability)
            ],
            axis=-2,
        )
        s2: Floats = np.arccos(np.minimum(overlaps, 1.0)) ** 2
        return s2

    def at(self, point: int) -> "Predictions":
        """The predictions at one point."""
        return self.among([point])

    def among(self, points: npt.ArrayLike) -> "Predictions":
        """The predictions at some of the points."""
        chosen = np.asarray(points)
        return replace(
            self,
            values=self.values[chosen],
            probability=self.probability[:, chosen],
            s2_se=None if self.s2_se is None else self.s2_se[chosen],
        )

    def draws(
        self, numbers: npt.ArrayLike, draws: int, rng: np.random.Generator, *, point: int = 0
    ) -> Integers:
        """Draw images from the model at one point, (draws, images, classes).

        Parameters
        ----------
        numbers
            (images,): independent neighbourhoods in each, rounded.
        draws
            How many sets of images.
        rng
            The generator of the random numbers.
        point
            Number of the point.
        """
        rounded = np.maximum(np.rint(np.asarray(numbers, float)), 1).astype(np.int64)
        rows = [
            rng.multinomial(number, each[point] / each[point].sum(), size=draws)
            for number, each in zip(rounded, self.probability, strict=True)
        ]
        return np.stack(rows, axis=1)


def predictions(model: Model, observed: xr.Dataset) -> Predictions:
    """The probabilities that a model predicts for each image.

    Parameters
    ----------
    model
        A sweep's Dataset, ``"random"``, or a landscape that keeps its ``probability``.
    observed
        Counts per image.

    Returns
    -------
    Predictions
        At the points of the sweep that are computed at all images' compositions.

    Raises
    ------
    RequestError
        If the model is a landscape, which holds distances and no probabilities, if no point is
        computed, or as for ``landscape``.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> observed = counts_dataset({"one": np.arange(8)}, configurations("honeycomb"))
    >>> predictions("random", observed).probability.shape
    (1, 1, 8)
    """
    check_counts(observed)
    classes = classes_of(observed)
    if isinstance(model, str):
        check_random(model)
        mixed = random_mixing_of(classes, observed["counts"].values, observed["composition"].values)
        return Predictions((), np.empty((1, 0)), mixed[:, None, :], classes, random=True)
    if "s2_total" in model and "probability" in model:
        return _gathered(model["probability"], classes, flat(model, "s2_total_se"))
    if "s2_total" in model:
        problem, allowed = "a landscape holds no probabilities to draw from", 'a sweep, or "random"'
        hint = "compare({'pair': open_sweep('runs/pair.zarr')}, observed)"
        raise RequestError(problem, came="a landscape", allowed=allowed, hint=hint)
    return _gathered(histograms_at(model, observed), classes)


def _gathered(
    histograms: xr.DataArray, classes: Classes, s2_se: Floats | None = None
) -> Predictions:
    bare = without_inner_coordinates(histograms)
    points = xr.Dataset({"s2_total": bare.isel(image=0, configuration=0), "p": bare})
    counts = flat(points, "p", "image", last=["configuration"])
    columns = columns_of(points)
    values = np.column_stack([*columns.values()]) if columns else np.empty((1, 0))
    total = counts.sum(axis=-1)
    done = (total > 0).all(axis=0)
    if not done.any():
        problem = "no point of the sweep is computed at every composition"
        raise RequestError(problem, came="no counts", hint=RUN_AGAIN)
    shares = counts[:, done] / total[:, done, None]
    errors = None if s2_se is None else np.nan_to_num(s2_se[done])
    return Predictions(tuple(columns), values[done], shares, classes, s2_se=errors)
