"""Landscapes of several sources: histograms and profiles, and those of a segregation slab."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.checks import check_has, listed
from latticescape.analysis.inference.landscapes.landscape import (
    landscape,
    parameters_of,
)
from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.models.alloys import COMPOSITION

Floats = npt.NDArray[np.float64]
Profile = xr.Dataset | pd.DataFrame | Mapping[str, npt.ArrayLike]
Convention = Literal["gaussian", "vlcek"]

# BC = exp(−Δ²/(n v)).
_OVERLAPS: dict[str, float] = {"gaussian": 8.0, "vlcek": 4.0}


def profile_landscape(
    simulated: xr.Dataset,
    profile: Profile,
    *,
    variable: str,
    convention: Convention = "gaussian",
) -> xr.Dataset:
    """S² between a measured profile and a simulated one, over a sweep's axes.

    Every value of the profile is a Gaussian: two with the same variance v and the distance Δ
    overlap by BC = exp(−Δ²/8v), and S² = arccos² BC. The S² of the profile is their mean and its n
    their number, so that −ln L = 2 n S² ≈ Σ Δ²/2v. The p-value is that of χ² = Σ Δ²/v itself,
    because the S² of a value many errors away saturates.

    Parameters
    ----------
    simulated
        A sweep's Dataset with the variable over its axes and one more dimension, such as ``layer``;
        with ``…_se`` if it has Monte Carlo errors.
    profile
        ``value`` and ``error`` (standard deviation), each in the order of that dimension.
    variable
        Its name.
    convention
        ``"gaussian"``: as above. ``"vlcek"``: exp(−Δ²/4v), as in the code of Vlcek et al., which
        is what half the variance would give.

    Returns
    -------
    Dataset
        A landscape as :func:`latticescape.landscape` makes it, with the variable as its one image,
        and no degrees of freedom, since its 4nS² follows no χ².

    Raises
    ------
    RequestError
        If the sweep has no such variable, the lengths differ, or an error is not positive.

    References
    ----------
    Wootters, Phys. Rev. D 23, 357 (1981); Vlcek et al., ACS Nano 13 (2019), arXiv:1806.07475.

    Examples
    --------
    >>> w = np.linspace(0.0, 1.0, 5)
    >>> sweep = xr.Dataset({"ca": (("w", "layer"), w[:, None] * [1.0, 2.0])}, coords={"w": w})
    >>> profile = {"value": [0.5, 1.0], "error": [0.1, 0.1]}
    >>> landscape = profile_landscape(sweep, profile, variable="ca")
    >>> float(landscape.s2_total.idxmin()), int(landscape.n[0])
    (0.5, 2)
    """
    checked_choice(convention, _OVERLAPS, "unknown convention of Gaussian sources")
    check_has(simulated, [variable], f"the sweep has no variable {variable}")
    check_has(list(profile), ("value", "error"), "the profile lacks a column")
    try:
        value, error = (np.asarray(profile[name], float).ravel() for name in ("value", "error"))
    except (ValueError, TypeError) as cause:
        raise RequestError(
            "the profile holds something that is not a number",
            came=cause,
            allowed="finite numbers",
            hint="one value and one error a row",
        ) from None
    mean = simulated[variable]
    length = mean.sizes[mean.dims[-1]]
    if not value.size == error.size == length:
        came = f"{value.size} values and {error.size} errors"
        problem = f"the profile is not as long as the simulated {variable}"
        raise RequestError(problem, came=came, allowed=f"{length} of each")
    if not (np.isfinite(value).all() and np.isfinite(error).all() and (error > 0).all()):
        problem = "values of a profile must be finite and their errors above 0"
        came, allowed = f"least error {np.min(error):g}", "finite values, errors above 0"
        raise RequestError(problem, came=came, allowed=allowed)
    noise = simulated.get(f"{variable}_se", xr.zeros_like(mean)).values
    # Means over the profile of arccos² exp(−Δ²/width), their Monte Carlo errors and biases.
    difference, width = mean.values - value, _OVERLAPS[convention] * error**2
    overlap = np.exp(-(difference**2) / width)
    angle = np.arccos(overlap)
    sine = np.sqrt(np.maximum(1 - overlap**2, 1e-30))
    # d arccos² BC/dΔ, divided by Δ; its limit at Δ = 0 is 4/width.
    slope = np.where(overlap < 1, angle * overlap / sine, 1.0) * 4 * difference / width
    distances = {
        "s2": np.mean(angle**2, axis=-1),
        "s2_se": np.sqrt(np.sum((slope * noise) ** 2, axis=-1)) / length,
        "s2_bias": np.mean(2 * noise**2 / width, axis=-1),
    }
    axes = [str(dim) for dim in mean.dims[:-1]]
    p = chi2(value.size).sf(np.sum(((mean.values - value) / error) ** 2, axis=-1))
    totals = {name.replace("s2", "s2_total"): (axes, v) for name, v in distances.items()}
    totals["p_value_total"] = (axes, p)
    images = {name: (["image", *axes], values[None]) for name, values in distances.items()}
    images["p_value"] = (["image", *axes], p[None])
    return xr.Dataset(
        {**images, **totals, "n": ("image", [value.size])},
        coords={"image": [variable], **{name: simulated[name] for name in axes}},
        attrs={"convention": convention, "degrees_of_freedom": 0},
    )


def combine(
    sources: Mapping[str, xr.Dataset], weights: Mapping[str, float] | None = None
) -> xr.Dataset:
    """One landscape of several sources, S² = Σ c_s S²_s.

    Parameters
    ----------
    sources
        Landscapes by name, over the same grid of the same parameters.
    weights
        c_s by name; they are divided by their sum. By default shares of what was counted,
        c_s = n_s/Σn, with which −ln L = 2 Σ n_s S²_s; other weights divide the same Σn.

    Returns
    -------
    Dataset
        A landscape with the dimension ``source`` in place of ``image``, and ``weight`` (source).
        Its degrees of freedom are 0 for sources whose S² follows no χ²: profiles, and with
        weights other than those of the data all.

    Raises
    ------
    RequestError
        If there is no source, a weight is missing, unknown or not positive, or the grids differ.

    References
    ----------
    Vlcek et al., ACS Nano 13 (2019), arXiv:1806.07475, for S² = c_SO S²_SO + c_SN S²_SN +
    c_PR S²_PR.

    Examples
    --------
    >>> w = np.linspace(0.0, 1.0, 5)
    >>> sweep = xr.Dataset({"ca": (("w", "layer"), w[:, None] * [1.0])}, coords={"w": w})
    >>> one, other = (
    ...     profile_landscape(sweep, {"value": [v], "error": [0.1]}, variable="ca")
    ...     for v in (0.25, 0.75))
    >>> both = combine({"one": one, "other": other}, weights={"one": 3.0, "other": 1.0})
    >>> both.s2.dims, both.weight.values.tolist()
    (('source', 'w'), [0.75, 0.25])
    """
    _check_grids(sources)
    numbers = {name: float(landscape["n"].sum()) for name, landscape in sources.items()}
    if weights is not None and set(weights) != set(sources):
        problem, allowed = "weights must name the sources", listed(sources)
        raise RequestError(problem, came=listed(weights), allowed=allowed)
    if not all(np.isfinite(w) and w > 0 for w in (weights or {}).values()):
        raise RequestError("a weight is not positive", came=dict(weights or {}), allowed="above 0")
    shares = numbers if weights is None else weights
    total = sum(numbers.values())
    share = xr.DataArray(
        [shares[name] / sum(shares.values()) for name in sources],
        {"source": list(sources)},
        ["source"],
    )

    def stacked(name: str) -> xr.DataArray:
        parts = [landscape[name].reset_coords(drop=True) for landscape in sources.values()]
        return xr.concat(parts, share["source"], join="exact")

    s2, se = stacked("s2_total"), stacked("s2_total_se")
    bias = (
        stacked("s2_total_bias") if all("s2_total_bias" in s for s in sources.values()) else 0 * s2
    )
    values: dict[str, Any] = {"s2": s2, "s2_se": se, "s2_bias": bias}
    # Each source has a simulation of its own: errors add as squares.
    values["s2_total"] = (share * s2).sum("source", skipna=False)
    values["s2_total_se"] = ((share * se) ** 2).sum("source", skipna=False) ** 0.5
    values["s2_total_bias"] = (share * bias).sum("source", skipna=False)
    counted = xr.DataArray([*numbers.values()], share.coords, share.dims)
    values["n"], values["weight"] = counted if weights is None else share * total, share
    dofs = [landscape.attrs.get("degrees_of_freedom") for landscape in sources.values()]
    if None in dofs:
        return xr.Dataset(values)
    tested = dofs if weights is None else [0] * len(dofs)
    return xr.Dataset(values, attrs={"degrees_of_freedom": tested})


def _check_grids(sources: Mapping[str, xr.Dataset]) -> None:
    if not sources:
        raise RequestError("no source to combine", came="{}", allowed="landscapes by name")
    first, one = next(iter(sources.items()))
    names = parameters_of(one)
    for name, other in sources.items():
        same = set(parameters_of(other)) == set(names) and all(
            np.array_equal(other[p].values, one[p].values) for p in names
        )
        if not same:
            came, allowed = (
                listed(f"{p} ({each.sizes[p]})" for p in parameters_of(each))
                for each in (other, one)
            )
            problem = f"the sources {first} and {name} are of different grids"
            raise RequestError(problem, came=came, allowed=allowed, hint="both from one sweep")


# Counts of the six arrangements around hollows with (SO) and without (SN) oxygen.
SURFACE = {"SO": "with", "SN": "without"}
PROFILE = "PR"
SOURCES = (*SURFACE, PROFILE)


def slab_landscape(
    simulated: xr.Dataset,
    sources: Mapping[str, Any],
    *,
    weights: Mapping[str, float] | None = None,
    convention: Convention = "gaussian",
) -> xr.Dataset:
    """S² of a segregation slab's sources together, S² = c_SO S²_SO + c_SN S²_SN + c_PR S²_PR.

    Neighbouring hollows share A-sites, so N of them hold less information than N independent draws.
    ``n`` of a surface source is the effective number, estimated from the simulation's replicas.

    Parameters
    ----------
    simulated
        The Dataset of a sweep of :class:`physics.SegregationSlab`.
    sources
        One, two or all of ``"SO"`` and ``"SN"``: counts of the six arrangements around hollows
        with and without oxygen, in the order of the Dataset's ``configuration``; ``"PR"``: the Ca
        fraction of every layer as ``value`` with its standard deviation ``error``.
    weights
        c_s by name; see :func:`latticescape.combine`. By default each as its data deserve.
    convention
        Of the profile, see :func:`latticescape.profile_landscape`.

    Returns
    -------
    Dataset
        A landscape with the dimension ``source``, for :func:`latticescape.fit`, ``posterior``,
        ``compare``, ``propose`` and the browser.

    Raises
    ------
    RequestError
        If a source is unknown or not in the sweep, counts are not six whole numbers, the profile
        does not have one value per layer, x is swept, or as of ``combine``.

    References
    ----------
    Vlcek et al., ACS Nano 13 (2019), arXiv:1806.07475.

    Examples
    --------
    >>> from latticescape import Schedule, SegregationSlab, slab
    >>> from latticescape.physics.slab.kernel import SlabKernel
    >>> w = np.array([4.0, 6.0, 8.0])
    >>> model = SegregationSlab(w_CL=1.65, w_LO=-7.57)
    >>> kernel = SlabKernel(slab(4, 3), model, Schedule(20, 20, 2), swept=("w_LL",))
    >>> results = kernel.compute({"w_LL": w}, np.arange(12, dtype=np.uint64).reshape(3, 4))
    >>> ds = xr.Dataset(
    ...     {v.name: (("w_LL", *v.dims), results[v.name]) for v in kernel.variables},
    ...     {"w_LL": w, **{name: each[:2] for name, each in kernel.coordinates.items()}})
    >>> counts = {"SO": [54, 233, 169, 61, 76, 8], "SN": [19, 101, 90, 89, 109, 17]}
    >>> landscape = slab_landscape(ds, counts)
    >>> landscape.s2.dims, landscape.source.values.tolist()
    (('source', 'w_LL'), ['SO', 'SN'])
    """
    return combine(_source_landscapes(simulated, sources, convention), weights)


def slab_landscapes(
    models: Mapping[str, xr.Dataset],
    sources: Mapping[str, Any],
    *,
    weights: Mapping[str, float] | None = None,
    convention: Convention = "gaussian",
) -> dict[str, xr.Dataset]:
    """Landscapes of several sweeps for :func:`latticescape.compare`, with the same weights.

    The effective number of hollows differs a little between sweeps, and likelihoods of different
    numbers of draws must not be compared. So the sweep with the smallest S² of a source sets its
    effective number for all.

    Parameters
    ----------
    models
        Datasets of sweeps of :class:`physics.SegregationSlab`, by name.
    sources, weights, convention
        As for :func:`slab_landscape`.

    Returns
    -------
    dict
        A landscape by model, as :func:`slab_landscape` makes it.

    Raises
    ------
    RequestError
        As :func:`slab_landscape`.

    Examples
    --------
    >>> from latticescape import Schedule, SegregationSlab, slab
    >>> from latticescape.physics.slab.kernel import SlabKernel
    >>> w = np.array([4.0, 6.0, 8.0])
    >>> model = SegregationSlab(w_CL=1.65, w_LO=-7.57)
    >>> kernel = SlabKernel(slab(4, 3), model, Schedule(20, 20, 2), swept=("w_LL",))
    >>> results = kernel.compute({"w_LL": w}, np.arange(12, dtype=np.uint64).reshape(3, 4))
    >>> ds = xr.Dataset(
    ...     {v.name: (("w_LL", *v.dims), results[v.name]) for v in kernel.variables},
    ...     {"w_LL": w, **{name: each[:2] for name, each in kernel.coordinates.items()}})
    >>> cuts = {"low": ds.sel(w_LL=4.0), "high": ds.sel(w_LL=8.0)}
    >>> landscapes = slab_landscapes(cuts, {"SO": [54, 233, 169, 61, 76, 8]})
    >>> bool(landscapes["low"].n == landscapes["high"].n)
    True
    """
    by_source = {
        name: _source_landscapes(model, sources, convention) for name, model in models.items()
    }
    for source in sources:
        each = [parts[source] for parts in by_source.values()]
        nearest = min(each, key=lambda part: float(part["s2_total"].fillna(np.inf).min()))
        for parts in by_source.values():
            parts[source] = parts[source].assign(n=nearest["n"])
    return {name: combine(parts, weights) for name, parts in by_source.items()}


def _source_landscapes(
    simulated: xr.Dataset, sources: Mapping[str, Any], convention: Convention
) -> dict[str, xr.Dataset]:
    """The landscape of each source by itself."""
    _check(simulated, sources)
    landscapes = {}
    for name, source in sources.items():
        if name not in SURFACE:
            landscapes[name] = profile_landscape(
                simulated, source, variable="ca_fraction", convention=convention
            )
            continue
        own = simulated.sel(oxygen=SURFACE[name]).drop_vars(["composition", "oxygen"])
        hollows = landscape(own, _observed(own, name, np.asarray(source)))
        landscapes[name] = hollows.assign(n=hollows["n"] * independent_share(hollows))
    return landscapes


def independent_share(landscape: xr.Dataset) -> float:
    """Effective independent draws per hollow, at most 1.

    The inverse of the dispersion of the simulated counts, averaged over the classes as in χ²; 1
    while no point is computed.

    Examples
    --------
    >>> q = np.array([0.25, 0.75])
    >>> scatter = 2 * (np.diag(q) - np.outer(q, q))
    >>> independent_share(xr.Dataset({
    ...     "probability": (("image", "configuration"), q[None]),
    ...     "s2_total": 0.1,
    ...     "count_covariance": (("image", "configuration", "configuration_2"), scatter[None])}))
    0.5
    """
    total = landscape["s2_total"]
    if not total.notnull().any():
        return 1.0
    lowest = {}
    if total.ndim:
        places = np.unravel_index(int(np.nanargmin(total.values)), total.shape)
        lowest = dict(zip(total.dims, map(int, places), strict=True))
    q = landscape["probability"].isel(lowest).values[0]
    variance = np.diagonal(landscape["count_covariance"].values[0])
    seen = q > 0
    return float(min(1.0, (seen.sum() - 1) / np.sum(variance[seen] / q[seen])))


def _observed(simulated: xr.Dataset, name: str, counts: npt.NDArray[Any]) -> xr.Dataset:
    classes = simulated.sizes["configuration"]
    integers = counts.shape == (classes,) and counts.dtype.kind in "iu"
    if not integers or counts.min() < 0 or not counts.sum():
        problem = f"the counts of {name} are not whole numbers, one for each arrangement"
        allowed = listed(simulated["label"].values)
        hint = f'{{"{name}": [54, 233, 169, 61, 76, 8]}}'
        raise RequestError(problem, came=counts.tolist(), allowed=allowed, hint=hint)
    number = int(counts.sum())
    share = float(counts @ simulated["n_ca"].values) / (4 * number)
    return xr.Dataset(
        {
            "counts": (("image", "configuration"), counts[None]),
            "n": ("image", [number]),
            "composition": ("image", [share]),
        },
        {"image": [name], "label": ("configuration", simulated["label"].values)},
    )


def _check(simulated: xr.Dataset, sources: Mapping[str, Any]) -> None:
    unknown = [str(name) for name in sources if name not in SOURCES]
    if unknown or not sources:
        problem = "a slab has no such source" if unknown else "no source is given"
        raise RequestError(problem, came=listed(unknown), allowed=" | ".join(SOURCES))
    needed = {PROFILE: ("ca_fraction", "layer")} | dict.fromkeys(
        SURFACE, ("histogram_replica", "oxygen")
    )
    for name in sources:
        variable, dim = needed[name]
        if variable not in simulated or dim not in simulated[variable].dims:
            problem = f"the source {name} is not in the sweep"
            came, allowed = listed(simulated.data_vars), f"{variable} with the dimension {dim}"
            hint = 'a sweep of kind = "segregation_slab"'
            raise RequestError(problem, came=came, allowed=allowed, hint=hint)
    if COMPOSITION in simulated.dims:
        problem = "the landscape of a slab is of one composition"
        came = f"an axis x of {simulated.sizes[COMPOSITION]} values"
        raise RequestError(problem, came=came, hint="ds.sel(x=0.375)")
