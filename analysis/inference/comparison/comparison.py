"""Compare models of the same images: S², p-value, BIC and parameters of each."""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.classes import classes_of
from latticescape.analysis.counts.overlap import neighborhoods_overlap
from latticescape.analysis.inference.comparison.models import (
    Model,
    effective_numbers,
    extensions,
    landscapes_of,
    reweighed,
)
from latticescape.analysis.inference.comparison.p_values import (
    DRAWS,
    Way,
    by_chi2,
    can_be_simulated,
    p_values,
    simulated_p_values,
)
from latticescape.analysis.inference.comparison.verdict import established, verdict
from latticescape.analysis.inference.estimation.deviance import Overlap
from latticescape.analysis.inference.estimation.fit import Fit, fit, intervals
from latticescape.analysis.inference.landscapes.landscape import RANDOM
from latticescape.physics.errors import RequestError, checked_choice

Convention = Literal["lecture", "standard"]

OVERLAPPING = (
    "The neighbourhoods share atoms and the p-values take them as independent, so they are too "
    "small"
)

Floats = npt.NDArray[np.float64]


def bic(
    s2_total: npt.ArrayLike, n: npt.ArrayLike, parameters: npt.ArrayLike, convention: Convention
) -> npt.NDArray[np.float64]:
    """Bayesian information criterion from −ln L = 2 N S².

    Parameters
    ----------
    s2_total
        S² of all images.
    n
        Neighbourhoods in all images.
    parameters
        Number of fitted parameters.
    convention
        ``"standard"``: k ln N − 2 ln L = 4 N S² + k ln N (Schwarz, Ann. Statist. 6, 461 (1978)).
        ``"lecture"``: half of that, 2 N S² + (k/2) ln N, as in Vlcek et al., npj Comput. Mater.
        7, 42 (2021). Both rank models alike; a difference of 1 in the second is 2 in the first.

    Examples
    --------
    >>> bic(0.0200, 1835, 0, "lecture").item(), bic(0.0200, 1835, 0, "standard").item()
    (73.4, 146.8)
    """
    checked_choice(convention, get_args(Convention), "unknown convention of the BIC")
    number = np.asarray(n, float)
    half: npt.NDArray[np.float64] = 2 * number * np.asarray(s2_total) + np.asarray(
        parameters
    ) / 2 * np.log(number)
    return half if convention == "lecture" else 2 * half


def model_weights(bics: npt.ArrayLike, convention: Convention) -> Floats:
    """Posterior probabilities of models with equal priors: normalized exp(−ΔBIC/2).

    Burnham and Anderson, Sociol. Methods Res. 33, 261 (2004).

    Parameters
    ----------
    bics
        (models,).
    convention
        Of ``bics``; the weights do not depend on it.

    Examples
    --------
    >>> model_weights([73.4, 71.4], "lecture").round(3)
    array([0.119, 0.881])
    """
    values = np.asarray(bics, float) * (1 if convention == "lecture" else 0.5)
    weights = np.exp(np.nanmin(values) - values)
    probabilities: Floats = weights / np.nansum(weights)
    return probabilities


def compare(
    models: Mapping[str, Model],
    observed: xr.Dataset | None = None,
    *,
    convention: Convention = "lecture",
    p_value: Way | None = None,
    draws: int = DRAWS,
    seed: int = 1,
    fraction: npt.ArrayLike | None = None,
    sweeps: Mapping[str, xr.Dataset] | None = None,
) -> xr.Dataset:
    """Compare models, each at the minimum of its landscape: S², p-value, BIC and parameters.

    The parameters and their errors are those of :func:`latticescape.fit`.

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
        ``"chi2"``, ``"bootstrap"``, ``"simulation"`` or ``"shuffle"``; see :func:`p_values`. By
        default simulation where configurations can be drawn, else the bootstrap, or χ², as
        published, for landscapes. Shuffling tests the random alloy; the other models then use the
        default.
    draws, seed
        Of bootstrap and simulation.
    fraction
        Effective fraction of each image's neighbourhoods, or of all: fit and BIC use
        N f in place of N. By default 1, as published. All p-values except χ² use the images' own
        ``effective_n``.
    sweeps
        By name, the sweeps of models that are passed as landscapes, for p-values by simulation.

    Returns
    -------
    Dataset
        ``s2``, ``p_value`` (model, image); ``s2_total``, ``p_value_total``, ``parameters``,
        ``bic``, ``delta_bic`` and ``weight`` (model), the last by exp(−ΔBIC/2) of the standard
        convention; ``bic_exact`` and ``weight_exact`` (model) by the exact likelihood, if that of
        all models is known; ``p_value_way`` (model); ``p_value_floor`` (model), the smallest
        p-value that the draws can give, an upper bound; ``best``, ``best_se`` and ``best_low68`` to
        ``best_high95`` (model, parameter), the fit and its intervals; ``border`` (model), which
        axes to extend and to where, if the minimum lies at their end; ``points_missing`` (model),
        of the landscape; ``n`` (image), counted. Each S² with its Monte
        Carlo error ``…_se``, p-values with that of a finite number of draws. ``p_chi2`` (model,
        image) and ``p_chi2_total`` (model) are returned whatever p-value was asked for. The
        attribute ``verdict`` says which model the BIC prefers, and where random mixing is excluded.

    Raises
    ------
    RequestError
        If there is no model, the models' images differ, or the p-value cannot be computed so.

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
    # A fraction sets the number of independent neighbourhoods, so fit must not estimate it.
    overlap: Overlap | None = None if fraction is None else "independent"
    fits = {name: fit(landscape, overlap=overlap) for name, landscape in landscapes.items()}
    chi2 = {name: by_chi2(landscape, fits[name]) for name, landscape in landscapes.items()}
    tests = {
        name: _tested(
            name,
            (sweeps or {}).get(name, models[name]),
            landscapes[name],
            observed,
            p_value,
            draws,
            seed,
            fraction,
        )
        or chi2[name]
        for name in landscapes
    }
    first = next(iter(landscapes.values()))
    table = xr.Dataset(
        {
            **_scores(fits, tests, chi2, float(first["n"].sum()), convention),
            **_parameters(landscapes, fits),
            **_exact_scores(landscapes, fits, float(first["n"].sum())),
            "n": n,
        },
        coords={"model": list(landscapes), "image": first["image"]},
        attrs={
            "bic_convention": convention,
            "degrees_of_freedom": first.attrs["degrees_of_freedom"],
        },
    )
    sentences = [verdict(table), established(table)]
    drawn = "bootstrap" in table["p_value_way"].values
    if drawn and observed is not None and "effective_n" not in observed and fraction is None:
        classes = classes_of(observed)
        if neighborhoods_overlap(observed["counts"].values, classes):
            sentences.append(OVERLAPPING)
    return table.assign_attrs(verdict=". ".join(s.rstrip(".") for s in sentences if s))


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
    is_landscape = isinstance(model, xr.Dataset) and "s2_total" in model
    if way == "chi2" or (way is None and is_landscape):
        return None
    # A landscape can be drawn from only if it keeps its histograms.
    if is_landscape and not {"probability", "counts"} <= set(landscape.data_vars):
        problem = f"the landscape of {name} holds no probabilities to draw from"
        allowed = "chi2, or sweeps and the observed counts"
        hint = "compare({'pair': open_sweep('runs/pair.zarr'), 'random': 'random'}, observed)"
        raise RequestError(problem, came=f"p_value={way}", allowed=allowed, hint=hint)
    random = isinstance(model, str) and model == RANDOM
    # Other ways, and other numbers of neighbourhoods than were counted, are for the bootstrap.
    by_default = way is None or (way == "shuffle" and not random)
    possible = observed is not None and fraction is None and can_be_simulated(model, observed)
    if observed is not None and (way == "simulation" or (by_default and possible)):
        known = None if random else landscape
        return simulated_p_values(model, observed, draws=draws, seed=seed, landscape=known)
    return p_values(
        model if random or "probability" not in landscape else landscape,
        landscape if observed is None else observed,
        way="shuffle" if way == "shuffle" and random else "bootstrap",
        draws=draws,
        seed=seed,
        fraction=fraction,
    )


def _scores(
    fits: Mapping[str, Fit],
    tests: Mapping[str, xr.Dataset],
    chi2: Mapping[str, xr.Dataset],
    n: float,
    convention: Convention,
) -> dict[str, object]:
    """S² of the models with their Monte Carlo errors, p-values and information criteria."""
    by_image = ("model", "image")
    total = np.array([fit.s2_total for fit in fits.values()])
    parameters = np.array([len(fit.parameters) for fit in fits.values()])
    values = bic(total, n, parameters, convention)
    error = {"long_name": "Monte Carlo error of S²"}
    p: dict[str, object] = {}
    for name in ("p_value", "p_value_se", "p_value_total", "p_value_total_se"):
        stacked = np.stack([test[name].to_numpy() for test in tests.values()])
        p[name] = (by_image[: stacked.ndim], stacked)
    return {
        "s2": (
            by_image,
            np.stack([fit.s2.values for fit in fits.values()]),
            {"long_name": "S²", "units": "1"},
        ),
        "s2_se": (by_image, np.stack([fit.s2_se.values for fit in fits.values()]), error),
        "s2_total": ("model", total, {"long_name": "S² of all images", "units": "1"}),
        "s2_total_se": ("model", [fit.s2_total_se for fit in fits.values()], error),
        **p,
        "p_value_way": ("model", [test.attrs["p_value_way"] for test in tests.values()]),
        "p_value_floor": (
            "model",
            [
                1 / (1 + test.attrs["draws"]) if "draws" in test.attrs else 0.0
                for test in tests.values()
            ],
            {"long_name": "smallest p-value that the draws can give"},
        ),
        "p_chi2": (by_image, np.stack([test["p_value"].to_numpy() for test in chi2.values()])),
        "p_chi2_total": ("model", [float(test["p_value_total"]) for test in chi2.values()]),
        "parameters": ("model", parameters, {"long_name": "fitted parameters"}),
        "bic": ("model", values),
        "delta_bic": ("model", values - np.nanmin(values), {"long_name": "BIC above the lowest"}),
        "weight": (
            "model",
            model_weights(values, convention),
            {"long_name": "probability of the model by its BIC"},
        ),
    }


def _exact_scores(
    landscapes: Mapping[str, xr.Dataset], fits: Mapping[str, Fit], n: float
) -> dict[str, object]:
    """The BIC by the exact likelihood, and the weights; nothing if that of a model is unknown."""
    deviance = np.array(
        [
            0.0 if landscapes[name].attrs.get("model") == RANDOM else fit.deviance
            for name, fit in fits.items()
        ]
    )
    if not np.isfinite(deviance).all():
        return {}
    values = deviance + np.array([len(fit.parameters) for fit in fits.values()]) * np.log(n)
    long_name = "BIC by the exact likelihood, above random mixing"
    return {
        "bic_exact": ("model", values, {"long_name": long_name}),
        "weight_exact": (
            "model",
            model_weights(values, "standard"),
            {"long_name": "probability of the model by its BIC of the exact likelihood"},
        ),
    }


def _parameters(landscapes: Mapping[str, xr.Dataset], fits: Mapping[str, Fit]) -> dict[str, object]:
    """Parameters of the models, axes to extend, and points that are missing."""
    extend = []
    for model, estimate in fits.items():
        at = {axis: estimate.parameters[axis][0] for axis in estimate.border}
        ranges = extensions(landscapes[model], at).items()
        extend.append("; ".join(f"extend {n} to {low:g} … {high:g}" for n, (low, high) in ranges))
    missing = [int(np.isnan(landscape["s2_total"]).sum()) for landscape in landscapes.values()]
    variables: dict[str, object] = {
        "border": ("model", extend, {"long_name": "axes to extend: the minimum is at their end"}),
        "points_missing": ("model", missing, {"long_name": "points not computed"}),
    }
    names = list(dict.fromkeys(name for one in fits.values() for name in one.parameters))
    if not names:
        return variables
    absent = intervals(np.nan, np.nan)
    columns = [[one.table.get(name, absent) for name in names] for one in fits.values()]
    table = np.array([[list(column.values()) for column in row] for row in columns])
    estimates = dict(zip(absent, np.moveaxis(table, -1, 0), strict=True))
    best = xr.DataArray(estimates.pop("value"), {"parameter": names}, ("model", "parameter"))
    return {
        "best": best,
        **{f"best_{name}": (best.dims, values) for name, values in estimates.items()},
        **variables,
    }
