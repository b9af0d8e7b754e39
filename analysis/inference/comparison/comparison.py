"""The lecture's table: S², p-value and BIC of several models on the same images."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.comparison.criteria import Convention, bic, model_weights
from latticescape.analysis.inference.comparison.models import (
    RANDOM,
    Model,
    argmin_s2,
    effective_numbers,
    extensions,
    landscapes_of,
    reweighed,
)
from latticescape.analysis.inference.comparison.p_values import DRAWS, Way, by_chi2, p_values
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.physics.errors import RequestError


def compare(
    models: Mapping[str, Model],
    observed: xr.Dataset | None = None,
    *,
    convention: Convention = "lecture",
    p_value: Way | None = None,
    draws: int = DRAWS,
    seed: int = 1,
    fraction: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """Compare models, each at the minimum of its landscape.

    Parameters
    ----------
    models
        By name, all of the same images: sweeps' Datasets, ``"random"`` for the random alloy, or
        landscapes; one without parameter axes, such as :func:`random_mixing`, has nothing to fit.
    observed
        Counts per image; not needed if all models are landscapes.
    convention
        Of the BIC; see :func:`bic`. The Dataset's attributes name it.
    p_value
        ``"chi2"``, ``"bootstrap"`` or ``"shuffle"``; see :func:`p_values`. By default the
        bootstrap, or χ², as published, for models given as landscapes. Shuffling is a test of the
        random alloy: the other models then have the bootstrap's.
    draws, seed
        Of the bootstrap.
    fraction
        Effective fraction of each image's neighbourhoods, or of all: N f stands for N in fit and
        BIC. By default 1, as published. The p-values, but χ², take ``effective_n`` of the images
        by themselves.

    Returns
    -------
    Dataset
        ``s2``, ``p_value`` (model, image); ``s2_total``, ``p_value_total``, ``parameters``,
        ``bic``, ``delta_bic`` and ``weight`` (model), the last by exp(−ΔBIC/2) of the standard
        convention; ``p_value_way`` (model); ``best`` and ``best_se`` (model, parameter); ``border``
        (model), which axes to extend and how far, if the minimum lies at their end;
        ``points_missing`` (model), of the landscape; ``n`` (image), counted. Each S² with its Monte
        Carlo error ``…_se``, p-values with that of a finite number of draws. ``p_chi2`` (model,
        image) and ``p_chi2_total`` (model) stand beside whatever p-value was asked for.

    Raises
    ------
    RequestError
        If there is no model, the models' images differ, or the way to the p-value cannot be gone.

    Examples
    --------
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import configurations
    >>> observed = counts_dataset({"one": np.arange(8)}, configurations("honeycomb"))
    >>> table = compare({"random": "random"}, observed, p_value="chi2")
    >>> table.bic.dims, table.p_value_way.values.tolist()
    (('model',), ['chi2'])
    """
    landscapes = landscapes_of(models, observed)
    n = next(iter(landscapes.values()))["n"]
    if fraction is not None:
        landscapes = {
            name: reweighed(landscape, effective_numbers(landscape, fraction, measured=False))
            for name, landscape in landscapes.items()
        }
    fits = {name: argmin_s2(landscape) for name, landscape in landscapes.items()}
    chi2 = {name: by_chi2(landscape, fits[name]) for name, landscape in landscapes.items()}
    tests = {
        name: _tested(
            name, models[name], landscapes[name], observed, p_value, draws, seed, fraction
        )
        or chi2[name]
        for name in landscapes
    }
    first = next(iter(landscapes.values()))
    return xr.Dataset(
        {
            **_distances(fits),
            **_tests(tests),
            **_published(chi2),
            **_criteria(fits, float(first["n"].sum()), convention),
            **_parameters(fits),
            **_warnings(landscapes, fits),
            "n": n,
        },
        coords={"model": list(landscapes), "image": first["image"]},
        attrs={
            "bic_convention": convention,
            "degrees_of_freedom": first.attrs["degrees_of_freedom"],
        },
    )


def _tested(
    name: str,
    model: Model,
    landscape: xr.Dataset,
    observed: xr.Dataset | None,
    way: Way | None,
    draws: int,
    seed: int,
    fraction: npt.ArrayLike | None,
) -> xr.Dataset | None:
    """p-values drawn from the model, or None where those of χ² are asked for."""
    drawn_from = _drawn_from(model, landscape)
    given = isinstance(model, xr.Dataset) and "s2_total" in model
    if way == "chi2" or (way is None and given):
        return None
    if drawn_from is None:
        raise RequestError(
            f"the landscape of {name} holds no probabilities to draw from",
            came=f"p_value={way}",
            allowed="chi2, or sweeps and the observed counts",
            hint="compare({'pair': open_sweep('runs/pair.zarr'), 'random': 'random'}, observed)",
        )
    goes: Way = (
        "shuffle"
        if way == "shuffle" and isinstance(model, str) and model == RANDOM
        else "bootstrap"
    )
    images = landscape if observed is None else observed
    return p_values(drawn_from, images, way=goes, draws=draws, seed=seed, fraction=fraction)


def _drawn_from(model: Model, landscape: xr.Dataset) -> Model | None:
    """What images can be drawn from: a landscape only if it keeps what it was made of."""
    if isinstance(model, str) or "s2_total" not in model:
        return model
    return landscape if {"probability", "counts"} <= set(landscape.data_vars) else None


def _distances(fits: Mapping[str, Fit]) -> dict[str, object]:
    every = fits.values()
    return {
        "s2": (
            ("model", "image"),
            np.stack([fit.s2.values for fit in every]),
            {"long_name": "S²", "units": "1"},
        ),
        "s2_se": (
            ("model", "image"),
            np.stack([fit.s2_se.values for fit in every]),
            {"long_name": "Monte Carlo error of S²"},
        ),
        "s2_total": (
            "model",
            [fit.s2_total for fit in every],
            {"long_name": "S² of all images", "units": "1"},
        ),
        "s2_total_se": (
            "model",
            [fit.s2_total_se for fit in every],
            {"long_name": "Monte Carlo error of S²"},
        ),
    }


def _tests(tests: Mapping[str, xr.Dataset]) -> dict[str, object]:
    names = ("p_value", "p_value_se", "p_value_total", "p_value_total_se")
    every = {name: np.stack([test[name].to_numpy() for test in tests.values()]) for name in names}
    found: dict[str, object] = {
        name: (("model", "image")[: values.ndim], values) for name, values in every.items()
    }
    return found | {"p_value_way": ("model", [t.attrs["p_value_way"] for t in tests.values()])}


def _published(tests: Mapping[str, xr.Dataset]) -> dict[str, object]:
    every = tests.values()
    return {
        "p_chi2": (("model", "image"), np.stack([test["p_value"].to_numpy() for test in every])),
        "p_chi2_total": ("model", [float(test["p_value_total"]) for test in every]),
    }


def _criteria(fits: Mapping[str, Fit], n: float, convention: Convention) -> dict[str, object]:
    total = np.array([fit.s2_total for fit in fits.values()])
    parameters = np.array([len(fit.parameters) for fit in fits.values()])
    values = bic(total, n, parameters, convention)
    return {
        "parameters": ("model", parameters, {"long_name": "fitted parameters"}),
        "bic": ("model", values),
        "delta_bic": ("model", values - np.nanmin(values), {"long_name": "BIC above the least"}),
        "weight": (
            "model",
            model_weights(values, convention),
            {"long_name": "probability of the model by its BIC"},
        ),
    }


def _parameters(fits: Mapping[str, Fit]) -> dict[str, object]:
    names = list(dict.fromkeys(name for fit in fits.values() for name in fit.parameters))
    if not names:
        return {}
    absent = (np.nan, np.nan)
    table = np.array([[fit.parameters.get(n, absent) for n in names] for fit in fits.values()])
    return {
        "best": xr.DataArray(
            table[..., 0], dims=("model", "parameter"), coords={"parameter": names}
        ),
        "best_se": (("model", "parameter"), table[..., 1]),
    }


def _at(fit: Fit) -> dict[str, float]:
    """Where the parameters are whose minimum lies at the end of the grid."""
    return {name: fit.parameters[name][0] for name in fit.border}


def _warnings(landscapes: Mapping[str, xr.Dataset], fits: Mapping[str, Fit]) -> dict[str, object]:
    told = [
        "; ".join(
            f"extend {name} to {low:g} … {high:g}"
            for name, (low, high) in extensions(landscapes[model], _at(fit)).items()
        )
        for model, fit in fits.items()
    ]
    missing = [int(np.isnan(landscape["s2_total"]).sum()) for landscape in landscapes.values()]
    return {
        "border": ("model", told, {"long_name": "axes to extend: the minimum is at their end"}),
        "points_missing": ("model", missing, {"long_name": "points not computed"}),
    }
