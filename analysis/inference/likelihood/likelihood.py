"""The exact likelihood of the counts of closed lattices.

The models are exponential families: a configuration with features u has the probability
exp(−b·u)/Z(b), with couplings over temperature b. Where the features are sums over the counted
classes, the counts are sufficient, and ln L = −b·u − ln Z(b) without any approximation. ln Z comes
from the sweep itself (:mod:`partition`). Counts of n sites that are cut out of a larger lattice
take n/N of the ln Z of N sites: the maximum then equates the means, as it must. Their curvature is
that of n sites of a large lattice, without their edge; how the features of such sections scatter is
drawn (:mod:`sections`), and gives the errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.inference.likelihood.ensemble import Ensemble
from latticescape.analysis.inference.likelihood.partition import Partition, integrate
from latticescape.analysis.inference.likelihood.sections import (
    Shape,
    can_be_drawn,
    section_covariances,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.site_classes import random_mixing_of
from latticescape.physics.models.alloys import COMPOSITION

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

# What a sweep must hold.
VARIABLES = ("features", "histogram_replica")

# ln Z is integrated over at most so many points, those of the lowest S².
MOST = 4000

# What each replica says is kept of landscapes of at most so many points and images: 50 MB.
MOST_KEPT = 100_000

# Derivatives of couplings are differences over this share of an axis.
DIFFERENCE = 1e-5

# Features are sums over classes if no more than this share of their range is left.
EXACT = 1e-6


def exact_likelihood(
    sweep: xr.Dataset,
    simulations: Sequence[xr.Dataset],
    surface: xr.Dataset,
    lowest: Sequence[Mapping[str, int]],
    images: Sequence[xr.Dataset],
) -> dict[str, Any]:
    """ln L of every image near the least S², as variables of a landscape.

    Parameters
    ----------
    sweep
        The sweep's Dataset.
    simulations
        Of every image, the part of it at the image's composition.
    surface
        The landscape, with ``s2_total``, ``counts``, ``composition`` and ``count_covariance``.
    lowest
        Indices of its lowest points.
    images
        Counts of each image, with the shape of the section that it is, if that is known.

    Returns
    -------
    dict
        ``log_likelihood`` (image, …) up to a constant, NaN at points that are not near, with
        ``log_likelihood_se``, its error against the points next to it;
        ``log_likelihood_replica`` (image, replica, …), what each replica by itself says, on grids
        of not too many points; ``log_likelihood_slope`` (image, along, …) along each
        axis; ``coupling`` (…, feature), couplings over temperature;
        ``class_features`` (image, configuration, feature), what a site of each class adds to the
        features; ``jump`` (along, …), whether a point and the next along an axis are different
        phases, if any are; if images are sections of the lattice, ``is_section`` (image), their
        ``count_covariance`` in place of that of the lattice, and that as ``whole_covariance``.
        Empty where the likelihood is not known: random bonds, features that are no sums over the
        classes, points that are on no grid, a sweep of one point.
    """
    total = surface["s2_total"]
    on_grid = bool(total.dims) and all(dim in surface.coords for dim in total.dims)
    ensemble = _ensemble(sweep) if on_grid else None
    near = np.sort(np.argsort(total.values.ravel(), kind="stable")[:MOST])
    near = near[np.isfinite(total.values.ravel()[near])]
    if ensemble is None or near.size < 2:
        return {}
    couplings = _couplings(ensemble, total)
    start = int(np.nanargmin(total.values))
    # Images of one composition share a simulation.
    parts = {
        number: _read(at, total, near, couplings, start)
        for number, at in {id(at): at for at in simulations}.items()
    }
    every = [part for at in simulations if (part := parts[id(at)]) is not None]
    if len(every) < len(simulations):
        return {}
    common = every[0].partition.points
    for part in every[1:]:
        common = np.intersect1d(common, part.partition.points)
    classes = classes_of(surface)
    counts = surface["counts"].transpose("image", "configuration").values.astype(float)
    of_common = couplings.reshape(-1, couplings.shape[-1])[common]
    log_l, error = np.full((2, len(every), total.size), np.nan)
    slope = np.full((len(every), total.ndim, total.size), np.nan)
    bends = _coupling_slopes(ensemble, total).reshape(total.ndim, total.size, -1)
    number = every[0].partition.log_z.shape[1]
    kept = len(every) * total.size <= MOST_KEPT
    replicas = np.full((len(every), number, total.size if kept else 0), np.nan)
    sections = _of_sections(ensemble, classes, simulations, surface, lowest, images)
    for d, (part, seen) in enumerate(zip(every, counts, strict=True)):
        if part.composition is not None:
            # The excess over random mixing belongs to the composition that was simulated.
            own, measured = part.composition, float(surface["composition"][d])
            mixed = (random_mixing_of(classes, seen, x) for x in (own, measured))
            seen = seen + seen.sum() * np.subtract(*mixed)
        rows = np.searchsorted(part.partition.points, common)
        energy, scale = of_common @ (seen @ part.class_features), seen.sum() / part.sites
        log_z = scale * part.partition.log_z[rows]
        log_l[d, common] = -energy - log_z.mean(axis=1)
        if kept:
            replicas[d][:, common] = (-energy[:, None] - log_z).T
        error[d, common] = scale * part.partition.error[rows]
        slope[d] = -np.einsum("kpf,pf->kp", bends, seen @ part.class_features - scale * part.means)
    shape = (len(every), *total.shape)
    described: dict[str, tuple[tuple[Any, ...], Floats, str]] = {
        "log_likelihood": (
            ("image", *total.dims),
            log_l.reshape(shape),
            "log-likelihood of the image, up to a constant",
        ),
        "log_likelihood_se": (
            ("image", *total.dims),
            error.reshape(shape),
            "error of the log-likelihood against the points next to it",
        ),
        "log_likelihood_slope": (
            ("image", "along", *total.dims),
            slope.reshape(len(every), total.ndim, *total.shape),
            "slope of the log-likelihood along each axis",
        ),
        "coupling": ((*total.dims, "feature"), couplings, "coupling over temperature"),
        "class_features": (
            ("image", "configuration", "feature"),
            np.array([part.class_features for part in every]),
            "what a site of the class adds to the feature",
        ),
    }
    variables: dict[str, Any] = {
        name: (dims, values, {"long_name": long_name, "units": "1"})
        for name, (dims, values, long_name) in described.items()
    }
    variables["along"] = ("along", list(map(str, total.dims)))
    if kept:
        variables["log_likelihood_replica"] = (
            ("image", "replica", *total.dims),
            replicas.reshape(len(every), number, *total.shape),
            {"long_name": "log-likelihood of the image from each replica", "units": "1"},
        )
    return variables | sections | _jumps(every, total)


def _of_sections(
    ensemble: Ensemble,
    classes: Classes,
    simulations: Sequence[xr.Dataset],
    surface: xr.Dataset,
    lowest: Sequence[Mapping[str, int]],
    images: Sequence[xr.Dataset],
) -> dict[str, Any]:
    """Covariance of the counts of images that are sections, and of whole lattices."""
    of_lattice = surface["count_covariance"]
    covariances = np.stack([of_lattice.values] * 2)
    is_section = np.zeros(len(images), bool)
    if can_be_drawn(ensemble):
        for d, (image, at) in enumerate(zip(images, simulations, strict=True)):
            shape = Shape(ensemble.lattice, image)
            if not shape.is_section:
                continue
            places = [_place(ensemble, at.isel(point)) for point in lowest]
            if all(places):
                drawn = section_covariances(ensemble, classes, shape, places)
                covariances[:, d], is_section[d] = np.mean(drawn, axis=0), True
    if not is_section.any():
        return {}
    long_name = "whether the image is a section of the simulated lattice"
    return {
        "count_covariance": of_lattice.copy(data=covariances[0]),
        "whole_covariance": of_lattice.copy(data=covariances[1]),
        "is_section": ("image", is_section, {"long_name": long_name}),
    }


def _place(ensemble: Ensemble, at: xr.Dataset) -> dict[str, float]:
    """The parameters of a point that the model does not fix; empty if one is not known."""
    model = ensemble.model
    free = {p.name: p for p in model.parameters if p.name not in model.fixed_parameters}
    place = {name: float(at[name]) for name in sorted(free) if name in at.coords}
    realised = at.get("composition")
    if COMPOSITION in free.keys() - place.keys() and realised is not None and realised.size == 1:
        place[COMPOSITION] = float(realised)
    needed = {name for name, p in free.items() if p.default is None and not p.optional}
    return place if needed <= place.keys() else {}


@dataclass(frozen=True)
class _Part:
    """What one composition of a sweep says about counts.

    Attributes
    ----------
    partition
        ln Z.
    class_features
        What a site of each class adds to the features, (classes, features).
    sites
        Number of sites whose class is counted.
    composition
        The realised one, if it is conserved.
    means
        Mean features of a lattice at every point, (points, features), NaN where they are not read.
    """

    partition: Partition
    class_features: Floats
    sites: float
    composition: float | None
    means: Floats


def _jumps(every: Sequence[_Part], total: xr.DataArray) -> dict[str, Any]:
    """Where neighbouring points are different phases; nothing if none are."""
    jumps = np.unique(np.concatenate([part.partition.jumps for part in every]), axis=0)
    if not len(jumps):
        return {}
    begin, end = (np.stack(np.unravel_index(ends, total.shape)) for ends in jumps.T)
    flags = np.zeros((total.ndim, *total.shape), bool)
    flags[(np.argmax(begin != end, axis=0), *begin)] = True
    long_name = "whether the next point along an axis is another phase"
    return {"jump": (("along", *total.dims), flags, {"long_name": long_name})}


def _ensemble(sweep: xr.Dataset) -> Ensemble | None:
    """The sweep's ensemble; None if its likelihood is no exponential family."""
    if not set(VARIABLES) <= set(sweep.data_vars) or "spec" not in sweep.attrs:
        return None
    if "replica" not in sweep["features"].dims:  # reweighted
        return None
    ensemble = Ensemble(sweep)
    try:
        model = ensemble.model
    except (RequestError, KeyError):
        return None
    return None if getattr(model, "bond_disorder", None) is not None else ensemble


def _coupling_slopes(ensemble: Ensemble, total: xr.DataArray) -> Floats:
    """Slopes of the couplings over temperature along every axis, (axes, …axes, features)."""
    slopes = []
    for dim in total.dims:
        values = total[dim].values.astype(float)
        small = DIFFERENCE * (float(np.ptp(values)) or max(1.0, float(np.abs(values[0]))))
        ends = [
            _couplings(ensemble, total.assign_coords({dim: values + side}))
            for side in (-small, small)
        ]
        slopes.append((ends[1] - ends[0]) / (2 * small))
    return np.array(slopes)


def _couplings(ensemble: Ensemble, total: xr.DataArray) -> Floats:
    """Couplings over temperature at all points, (…axes, features)."""
    axes = [total[dim].values.astype(float) for dim in total.dims]
    grids = np.meshgrid(*axes, indexing="ij")
    columns = {str(dim): g.ravel() for dim, g in zip(total.dims, grids, strict=True)}
    # The composition of an alloy acts on no feature: any will do.
    for parameter in ensemble.model.parameters:
        known = {*columns, *ensemble.model.fixed_parameters}
        if parameter.name not in known and parameter.default is None and not parameter.optional:
            columns[parameter.name] = np.full(total.size, 0.5)
    return ensemble.reduced(columns)[0].reshape(*total.shape, -1)


def _read(
    at: xr.Dataset, total: xr.DataArray, near: Integers, couplings: Floats, start: int
) -> _Part | None:
    """One composition of the sweep; None if features are no sums over classes."""
    places = np.unravel_index(near, total.shape)
    pick = {dim: xr.DataArray(p, dims="near") for dim, p in zip(total.dims, places, strict=True)}
    there = at[list(VARIABLES)].isel(pick).compute()
    features = there["features"].transpose("near", "replica", "feature").values.astype(float)
    counts = there["histogram_replica"].transpose("near", "replica", "configuration").values
    sums = counts.sum(axis=-1, keepdims=True)
    done = (sums > 0).all(axis=(1, 2)) & np.isfinite(features).all(axis=(1, 2))
    samples = Ensemble(at).samples.isel(pick, missing_dims="ignore")
    samples = np.broadcast_to(samples.values, len(near))[done]
    sites = sums[done, 0, 0] / samples
    if not done.any() or not done[np.searchsorted(near, start)] or np.ptp(sites) > 0:
        return None
    shares = counts[done] / sums[done]
    rows = shares.reshape(-1, shares.shape[-1])
    target = features[done].reshape(-1, features.shape[-1])
    # Of the maps that agree on closed lattices, the one that scatters least in random sections.
    weight = np.sqrt(np.maximum(rows.mean(axis=0), 1e-12))
    fitted = np.linalg.lstsq(rows / weight, target, rcond=1e-9)[0] / weight[:, None]
    left = np.abs(rows @ fitted - target).max(axis=0)
    if (left > EXACT * np.maximum(np.ptp(target, axis=0), 1e-9 * np.abs(target).max())).any():
        return None
    means = np.full((total.size, *features.shape[1:]), np.nan)
    means[near[done]] = features[done]
    ascending = np.ix_(*(np.argsort(total[dim].values) for dim in total.dims))
    means = means.reshape(*total.shape, *features.shape[1:])
    numbers = np.arange(total.size).reshape(total.shape)
    partition = integrate(couplings[ascending], means[ascending], numbers[ascending], start)
    # Of two species on one sublattice; others are compared at the compositions as they are.
    plain = "composition" in at and set(at["composition"].dims) <= set(total.dims)
    composition = at["composition"].values if plain else np.array(np.nan)
    realised = float(np.nanmean(composition)) if np.isfinite(composition).any() else None
    number = float(sites[0])
    mean = means.mean(axis=-2).reshape(total.size, -1)
    return _Part(partition, fitted / number, number, realised, mean)
