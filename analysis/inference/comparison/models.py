"""The models that are compared: the random alloy, sweeps, or landscapes made of them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.landscapes.landscape import landscape, random_mixing
from latticescape.physics.errors import RequestError

RANDOM = "random"

Model = xr.Dataset | str
Floats = npt.NDArray[np.float64]


def landscape_of(name: str, model: Model, observed: xr.Dataset | None = None) -> xr.Dataset:
    """The landscape of a model: given, or computed from a sweep or the random alloy and counts.

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
        If it is none of these, or the images are needed and not given.

    Examples
    --------
    >>> landscape_of("null", "random")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the model null needs the observed counts ...
    """
    if isinstance(model, xr.Dataset) and "s2_total" in model:
        return model
    if observed is None:
        raise RequestError(
            f"the model {name} needs the observed counts",
            came="a model that is no landscape, and no counts",
            allowed="landscapes, or models and the counts",
            hint="compare({…}, observed)",
        )
    check_counts(observed)
    if isinstance(model, str):
        if model != RANDOM:
            raise RequestError(
                f"the model {name} is unknown",
                came=model,
                allowed=f'a sweep\'s Dataset, a landscape, or "{RANDOM}"',
            )
        return random_mixing(observed)
    return landscape(model, observed)


def landscapes_of(
    models: Mapping[str, Model], observed: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """Landscapes by the model's name, all of the same images and numbers of neighbourhoods.

    Sources that were combined stand for images.

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
    found = {name: landscape_of(name, model, observed) for name, model in models.items()}
    landscapes = {
        name: landscape.rename(source="image") if "source" in landscape.dims else landscape
        for name, landscape in found.items()
    }
    images = {name: _images(landscape) for name, landscape in landscapes.items()}
    first = next(iter(images))
    for name, those in images.items():
        if those != images[first]:
            raise RequestError(
                f"the models {first} and {name} are of different images",
                came=_listed(those),
                allowed=_listed(images[first]),
                hint="slab_landscapes, of a slab's sweeps"
                if "source" in found[name].dims
                else None,
            )
    return landscapes


def _images(landscape: xr.Dataset) -> dict[str, float]:
    pairs = zip(landscape["image"].values, landscape["n"].values, strict=True)
    return {str(image): float(n) for image, n in pairs}


def _listed(images: Mapping[str, float]) -> str:
    return ", ".join(f"{image} ({n:g})" for image, n in images.items())


def check_counts(observed: xr.Dataset) -> None:
    """Refuse images without counts.

    Examples
    --------
    >>> check_counts(xr.Dataset({"counts": (("image", "configuration"), [[0, 0]])}, {"image": [1]}))
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the image 1 has no counts ...
    """
    empty = observed["counts"].sum("configuration") <= 0
    if bool(empty.any()):
        image = observed["image"].values[empty.values][0]
        raise RequestError(
            f"the image {image} has no counts", came=0, allowed="at least 1", hint="leave it out"
        )


_ALONE = ("s2", "s2_se", "s2_total", "s2_total_se", "n")


def argmin_s2(landscape: xr.Dataset) -> Fit:
    """The minimum of S², with Cov = (2 N ∂²S²)⁻¹: the published convention, independent counts.

    :func:`fit` is the estimator of the parameters. It also corrects for neighbourhoods that overlap
    and for biases, which this convention does not: the likelihood exp(−2 N S²) is largest here.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2": ("image", [0.01]), "s2_se": ("image", [0.0]),
    ...     "s2_total": 0.01, "s2_total_se": 0.0, "n": ("image", [100])}, {"image": ["one"]})
    >>> argmin_s2(landscape).s2_total
    0.01
    """
    return fit(landscape[list(_ALONE)].drop_attrs())


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
    """Independent neighbourhoods of each image that tell as much as those counted.

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
        raise RequestError(
            "effective fractions must lie in (0, 1]",
            came=fraction,
            allowed=f"one number, or {n.size}, one per image",
            hint="fraction=[0.32, 0.78, 0.69, 0.53]",
        )
    effective: Floats = n * share
    return effective


def extensions(
    landscape: xr.Dataset, minimum: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Axes whose minimum lies at their end, half as long again beyond it.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2_total": ("w1", [0.01, 0.02, 0.03])}, {"w1": [0.0, 0.1, 0.2]})
    >>> extensions(landscape, {"w1": 0.0})
    {'w1': (-0.1, 0.2)}
    """
    found = {}
    for name, at in minimum.items():
        values = landscape[name].to_numpy().astype(float)
        low, high = float(values.min()), float(values.max())
        beyond = (high - low) / 2
        found[name] = (low - beyond, high) if at < (low + high) / 2 else (low, high + beyond)
    return found
