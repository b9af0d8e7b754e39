"""A segregation slab against its sources: hollows with and without oxygen, and the profile."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.landscapes.landscape import COMPOSITION, landscape
from latticescape.analysis.inference.landscapes.sources import (
    Convention,
    combine,
    profile_landscape,
)
from latticescape.physics.errors import RequestError

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
    Vlcek et al., ACS Nano 11, 10313 (2017).

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
        raise RequestError(
            f"the counts of {name} are not whole numbers, one for each arrangement",
            came=counts.tolist(),
            allowed=", ".join(map(str, simulated["label"].values)),
            hint=f'{{"{name}": [54, 233, 169, 61, 76, 8]}}',
        )
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
        raise RequestError(
            "a slab has no such source" if unknown else "no source is given",
            came=", ".join(unknown) or "{}",
            allowed=" | ".join(SOURCES),
        )
    needed = {PROFILE: ("ca_fraction", "layer")} | dict.fromkeys(
        SURFACE, ("histogram_replica", "oxygen")
    )
    for name in sources:
        variable, dim = needed[name]
        if variable not in simulated or dim not in simulated[variable].dims:
            raise RequestError(
                f"the source {name} is not in the sweep",
                came=", ".join(map(str, simulated.data_vars)),
                allowed=f"{variable} with the dimension {dim}",
                hint='a sweep of kind = "segregation_slab"',
            )
    if COMPOSITION in simulated.dims:
        raise RequestError(
            "the landscape of a slab is of one composition",
            came=f"an axis x of {simulated.sizes[COMPOSITION]} values",
            allowed="one of them",
            hint="ds.sel(x=0.375)",
        )
