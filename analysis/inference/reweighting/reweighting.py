"""Estimate a sweep's results, or a fine landscape, at other points from stored samples."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from threadpoolctl import threadpool_limits

from latticescape.analysis.checks import listed
from latticescape.analysis.counts.classes import Classes
from latticescape.analysis.inference.landscapes.landscape import (
    landscape,
    lowest_points,
    mean_covariance,
    parameters_of,
)
from latticescape.analysis.inference.reweighting.mixture import FEWEST, Mixture, Reach, Weigher
from latticescape.analysis.inference.reweighting.references import (
    References,
    Simulated,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.observables import estimates
from latticescape.physics.models.alloys import COMPOSITION
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.variables import variable

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]
Axes = Mapping[str, npt.ArrayLike]

OBSERVABLES = (
    "energy",
    "magnetization",
    "magnetization_abs",
    "susceptibility",
    "susceptibility_abs",
    "heat_capacity",
    "binder_cumulant",
)

# Dimensions after the axes.
OWN = {"histogram_replica": ("replica", "configuration"), "features": ("feature",)}

# Compositions that differ by less are the same.
SAME = 1e-9

LONG_NAMES = {
    "effective_n": "effective number of measurements (Kish)",
    "effective_replicas": "effective number of replicas (Kish)",
    "distance": "standard deviations to the nearest reference",
    "beyond": "the point is outside of the references",
    "trusted": "the references reach the point",
}


def reweight(ds: xr.Dataset, axes: Axes, *, fewest: float = FEWEST) -> xr.Dataset:
    """Estimate a sweep's results at other points from the samples it kept.

    All points of the sweep are references at once (MBAR); a sweep of one point is Ferrenberg and
    Swendsen's single histogram. Results cannot be reweighted along the composition ``x`` of
    an alloy: every x has its own references.

    Parameters
    ----------
    ds
        A sweep's Dataset with ``keep = ["samples"]``. Points that are not done are left out.
    axes
        The new points: values of parameters of the model, (values,) each, in all combinations.
        Every axis of the sweep must be among them, but for ``x``, which may be left out.
    fewest
        A point with fewer effective measurements is not trusted.

    Returns
    -------
    Dataset
        Over ``x``, if the sweep has it, and ``axes``. ``histogram_replica`` (…, replica,
        configuration): effective counts, as :func:`latticescape.landscape` takes them; a replica's
        row is the change of the sum when it is left out, so it may be negative. Observables as in a
        sweep, ``features`` (…, feature), each with ``…_se``, by jackknife over the 64 replicas,
        errors of the free energies included. ``effective_n`` and ``effective_replicas``;
        ``distance``, standard deviations of the reduced energy difference to the nearest reference;
        ``beyond``, whether the point is outside of the references; and ``trusted``: at least
        ``fewest`` measurements and 16 replicas are effective, ``distance`` is at most 3 (1.5
        outside of the references), and the references share enough samples. Where it is False, do
        not use the numbers. No test of the samples detects a phase that none of them has visited:
        have references on all sides.

    Raises
    ------
    RequestError
        If the sweep kept no samples, a parameter is missing, unknown or out of bounds, acts on a
        feature that was not measured, or is a composition that was not simulated.

    References
    ----------
    Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), 10.1063/1.2978177; Ferrenberg and
    Swendsen, Phys. Rev. Lett. 61, 2635 (1988), 10.1103/PhysRevLett.61.2635.

    Examples
    --------
    >>> reweight(xr.Dataset(attrs={"spec": ""}), {"T": [2.1]})
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the Dataset holds no samples to reweight ...
    """
    return Reweighting(ds, fewest).at(axes)


class Reweighting:
    """A sweep's samples, to be reweighted again and again.

    Parameters
    ----------
    ds, fewest
        As of :func:`reweight`.
    observables
        Whether observables and features are wanted besides histograms.
    """

    def __init__(self, ds: xr.Dataset, fewest: float = FEWEST, *, observables: bool = True) -> None:
        self.simulated = Simulated(ds)
        number = isinstance(fewest, (int, float, np.number)) and not isinstance(fewest, bool)
        if not number or not fewest >= 1:
            problem, hint = "fewest must be a number of samples, 1 or more", f"fewest={FEWEST:g}"
            raise RequestError(problem, came=repr(fewest), hint=hint)
        self.fewest, self.observables = float(fewest), observables
        self._solvers: dict[tuple[float, ...], Solver | None] = {}

    def at(self, axes: Axes) -> xr.Dataset:
        """Reweighted to these points."""
        values = {str(name): _values(str(name), new) for name, new in axes.items()}
        places = self._compositions(values)
        missing = [n for n in self.simulated.axes if n not in (*values, *places)]
        if missing or not values:
            hint = f'axes={{"{(missing or ["T"])[0]}": […], …}}'
            came, allowed = listed(values), listed(self.simulated.axes)
            problem = "an axis of the sweep has no new values"
            raise RequestError(problem, came=came, allowed=allowed, hint=hint)
        # Products of small matrices: threads of the linear algebra would wait for each other.
        with threadpool_limits(1, user_api="blas"):
            parts = [
                self._part(dict(zip(places, place, strict=True)), values)
                for place in product(*places.values())
            ]
        return xr.concat(parts, dim=COMPOSITION) if places else parts[0]

    def _compositions(self, values: dict[str, Floats]) -> dict[str, Floats]:
        """The composition's values, taken from the new ones, and only those that were simulated."""
        if self.simulated.model.move != "exchange":
            return {}
        axis = COMPOSITION in self.simulated.axes
        if axis and COMPOSITION not in self.simulated.dims:
            raise RequestError(
                "samples at points of different compositions cannot be reweighted together",
                came="x among the parameters of the points",
                allowed="x as an axis of its own, or one x for all points",
                hint="x = [0.45, 0.55] in [grid], and points without x",
            )
        simulated = (
            self.simulated.ds[COMPOSITION].values
            if axis
            else np.array([self.simulated.model.fixed_parameters[COMPOSITION]])
        )
        asked = values.pop(COMPOSITION, simulated)
        separation = np.abs(simulated - asked[:, None])
        if separation.min(axis=1).max() > SAME:
            problem = "samples of one composition cannot be reweighted to another"
            came, allowed = (listed(f"x = {x:g}" for x in part) for part in (asked, simulated))
            raise RequestError(problem, came=came, allowed=allowed, hint="leave x out")
        return {COMPOSITION: simulated[separation.argmin(axis=1)]} if axis else {}

    def _part(self, place: dict[str, float], values: dict[str, Floats]) -> xr.Dataset:
        """At one composition."""
        grids = np.meshgrid(*values.values(), indexing="ij")
        points = {name: grid.ravel() for name, grid in zip(values, grids, strict=True)}
        fixed = {name: np.full(grids[0].size, value) for name, value in place.items()}
        reduced, temperatures = self.simulated.reduced({**points, **fixed})
        key = tuple(place.values())
        if key not in self._solvers:
            references, counted = References.of(self.simulated, place), self.simulated.classes
            self._solvers[key] = (
                None
                if references is None
                else Solver(references, counted, self.fewest, observables=self.observables)
            )
        solver, classes = self._solvers[key], self.simulated.ds.sizes["configuration"]
        arrays = (
            unknown_arrays(reduced, classes, observables=self.observables)
            if solver is None
            else solver.arrays(reduced, temperatures)
        )
        variables: dict[str, Any] = {}
        for name, array in arrays.items():
            base = name.removesuffix("_se")
            if name in LONG_NAMES:
                attrs: dict[str, Any] = {"long_name": LONG_NAMES[name], "units": "1"}
            else:
                described = variable(base).in_units(self.simulated.model.energy_units)
                attrs = (described if base == name else described.error).attrs
            table = array.reshape(*grids[0].shape, *array.shape[1:])
            variables[name] = ((*values, *OWN.get(base, ())), table, attrs)
        kept = {"configuration", "feature", "replica"}
        coords = self.simulated.ds.coords.items()
        kept_coords = {name: c for name, c in coords if c.dims and set(c.dims) <= kept}
        ds = xr.Dataset(variables, {**kept_coords, **values, **place}, self.simulated.kept_attrs)
        return ds.assign(self.simulated.composition(place))


def _values(name: str, new: npt.ArrayLike) -> Floats:
    """The new values of a parameter."""
    try:
        values = np.atleast_1d(np.asarray(new, float))
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        problem = f"the values of {name} must be finite numbers"
        hint = f"{name}=np.linspace(0.1, 0.2, 11)"
        raise RequestError(problem, came=repr(new), hint=hint)
    return values


class Solver:
    """References with their free energies and the columns that are weighted.

    Parameters
    ----------
    references
        The samples.
    classes
        The classes that were counted.
    fewest
        Fewest effective samples.
    observables
        Whether observables are wanted besides histograms.
    """

    def __init__(
        self, references: References, classes: Classes, fewest: float, *, observables: bool
    ) -> None:
        self.references, self.observables = references, observables
        self.classes = references.histogram.shape[-1]
        self.sites = int(references.histogram[0, 0, 0].sum())
        mixture = Mixture.of(references)
        self.reach = Reach(mixture, fewest)
        parts = [references.histogram.astype(float)]
        if observables:
            # m, |m|, m² and m⁴ per site of every sample; features; and their products.
            n_species1 = references.histogram @ classes.centre
            m = 2 * n_species1 / self.sites - 1
            features = references.features
            products = features[..., :, None] * features[..., None, :]
            parts += [
                np.stack([m, np.abs(m), m**2, m**4], axis=-1),
                features,
                products.reshape(*features.shape[:-1], -1),
            ]
        columns = np.concatenate(parts, axis=-1)
        self.weigher = Weigher(mixture, columns.reshape(REPLICAS, -1, columns.shape[-1]))

    def arrays(self, reduced: Floats, temperatures: Floats) -> Arrays:
        """Every variable at points, points first."""
        arrays: Arrays = {}
        for part, weighed in self.weigher.weigh(reduced):
            counts = weighed.sums[..., : self.classes]
            scale = self.sites * weighed.effective_n / counts.sum(axis=(1, 2))
            some: Arrays = {"histogram_replica": counts * scale[:, None, None]}
            some |= self.reach.quality(reduced[part], weighed)
            if self.observables:
                # Observables and mean features with their jackknife errors.
                sums, at = weighed.sums, (reduced[part], temperatures[part])
                total = sums.sum(axis=1, keepdims=True)
                left_out = self._estimates(total - sums, *at)
                some |= {name: v[:, 0] for name, v in self._estimates(total, *at).items()}
                for name, v in left_out.items():
                    some[f"{name}_se"] = np.sqrt((sums.shape[1] - 1) * v.var(axis=1))
            for name, values in some.items():
                if name not in arrays:
                    arrays[name] = np.empty((len(reduced), *values.shape[1:]), values.dtype)
                arrays[name][part] = values
        return arrays

    def _estimates(self, sums: Floats, reduced: Floats, temperatures: Floats) -> Arrays:
        """From weighed sums, (points, jackknife, columns)."""
        means = sums / (sums[..., : self.classes].sum(axis=-1, keepdims=True) / self.sites)
        magnetic, rest = np.split(means[..., self.classes :], [4], axis=-1)
        width = reduced.shape[1]
        features, products = rest[..., :width], rest[..., width:]
        couplings = (reduced * temperatures[:, None])[:, None, :]
        energy = np.sum(couplings * (features + self.references.origin), axis=-1) / self.sites
        squares = products.reshape(*products.shape[:-1], width, width)
        squares = squares - features[..., :, None] * features[..., None, :]
        spread = np.einsum("pja,pjab,pjb->pj", couplings, squares, couplings) / self.sites**2
        each = [*np.moveaxis(magnetic, -1, 0), energy, spread + energy**2]
        values = estimates(np.stack(each, axis=-1), self.sites, temperatures[:, None])  # type: ignore[arg-type]
        return {**values, "features": features + self.references.origin}


def unknown_arrays(reduced: Floats, classes: int, *, observables: bool) -> Arrays:
    """The variables at points without a computed reference: NaN, and zero counts."""
    points, features = reduced.shape
    unknown = np.full(points, np.nan)
    arrays: Arrays = {"histogram_replica": np.zeros((points, REPLICAS, classes))}
    arrays |= dict.fromkeys(("effective_n", "effective_replicas"), unknown)
    arrays |= {"distance": np.full(points, np.inf), "beyond": np.ones(points, np.bool_)}
    arrays["trusted"] = np.zeros(points, np.bool_)
    if observables:
        wide = np.full((points, features), np.nan)
        values = dict.fromkeys(OBSERVABLES, unknown) | {"features": wide}
        arrays |= values | {f"{name}_se": v for name, v in values.items()}
    return arrays


# Of effective counts held at a time.
SLAB_BYTES = 2**26


def reweighted_landscape(
    ds: xr.Dataset, observed: xr.Dataset, axes: Axes, *, fewest: float = FEWEST
) -> xr.Dataset:
    """S² on a fine grid, from the samples that a coarse sweep kept.

    Parameters
    ----------
    ds
        A sweep's Dataset with ``keep = ["samples"]``.
    observed
        Counts per image (``observed_counts``).
    axes
        The fine grid: values of every axis of the sweep but ``x``, in order.
    fewest
        A point with fewer effective measurements is not trusted.

    Returns
    -------
    Dataset
        As :func:`latticescape.landscape`, with ``trusted`` (…), ``effective_n`` and ``distance`` of
        the worst image. Untrusted points are NaN. ``beside_untrusted`` in the attributes names the
        parameters along which the smallest total S² has an untrusted neighbour or lies at the edge
        of the grid: the true minimum may lie outside.

    Raises
    ------
    RequestError
        As :func:`reweight` and :func:`latticescape.landscape`.

    Examples
    --------
    >>> reweighted_landscape(xr.Dataset(), xr.Dataset(), {"T": [2.1]})
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the Dataset holds no samples to reweight ...
    """
    reweighting = Reweighting(ds, fewest, observables=False)
    fine = {str(name): np.atleast_1d(np.asarray(v, float)) for name, v in axes.items()}
    fine.pop(COMPOSITION, None)
    if not fine:
        raise RequestError("a landscape has no axis", allowed=", ".join(reweighting.simulated.axes))
    # Cut the grid along its first axis.
    first, *rest = fine
    row = REPLICAS * ds.sizes["configuration"] * 8 * ds.sizes.get(COMPOSITION, 1)
    row *= int(np.prod([len(fine[name]) for name in rest]))
    size = max(1, SLAB_BYTES // row)
    slabs = []
    for start in range(0, len(fine[first]), size):
        part = reweighting.at({**fine, first: fine[first][start : start + size]})
        slabs.append(_masked(part, landscape(part, observed), observed))
    surface = xr.concat(slabs, dim=first, data_vars="minimal", coords="minimal", compat="override")
    # At the lowest trusted points of all slabs together.
    covariances = [
        landscape(
            reweighting.at({name: surface[name].values[[i]] for name, i in point.items()}), observed
        )["count_covariance"].values
        for point in lowest_points(surface["s2_total"])
    ]
    return surface.assign(count_covariance=mean_covariance(covariances, surface)).assign_attrs(
        beside_untrusted=", ".join(beside_untrusted(surface))
    )


def beside_untrusted(landscape: xr.Dataset) -> tuple[str, ...]:
    """Parameters along which the least total S² of a landscape has no neighbour on both sides.

    Parameters
    ----------
    landscape
        A landscape; NaN at unknown points.

    Returns
    -------
    tuple of str
        In the order of the axes; all of them if no point is known.

    Examples
    --------
    >>> s2 = xr.DataArray([0.3, 0.2, 0.1, np.nan], {"w1": np.arange(4.0)}, "w1")
    >>> beside_untrusted(xr.Dataset({"s2_total": s2}))
    ('w1',)
    """
    names, total = parameters_of(landscape), landscape["s2_total"]
    if not np.isfinite(total).any():
        return names
    known = np.pad(np.isfinite(total.values), 1)
    least = np.unravel_index(int(np.nanargmin(total.values)), total.shape)
    around = known[tuple(slice(i, i + 3) for i in least)]
    sides = [np.moveaxis(around, axis, 0) for axis in range(len(names))]
    return tuple(n for n, s in zip(names, sides, strict=True) if not (s[0].all() and s[2].all()))


def _masked(part: xr.Dataset, landscape: xr.Dataset, observed: xr.Dataset) -> xr.Dataset:
    """Mask untrusted values of each image, and of the total where any image is untrusted."""
    names = ("trusted", "effective_n", "distance")
    places = [part[list(names)]] * observed.sizes["image"]
    if COMPOSITION in part.dims:
        # At the composition of each image, as latticescape.landscape chooses it.
        places = [
            place.sel({COMPOSITION: float(x)}, method="nearest").drop_vars(COMPOSITION)
            for place, x in zip(places, observed["composition"].values, strict=True)
        ]
    trusted, number, distance = (
        xr.concat([p[name] for p in places], observed["image"], coords="minimal", compat="override")
        for name in names
    )
    masks = {True: trusted, False: trusted.all("image")}
    parameters = set(parameters_of(landscape))
    masked = {
        name: values.where(masks["image" in values.dims])
        for name, values in landscape.data_vars.items()
        if parameters & set(values.dims)
    }
    quality = {
        "trusted": masks[False].assign_attrs(part["trusted"].attrs),
        "effective_n": number.min("image").assign_attrs(part["effective_n"].attrs),
        "distance": distance.max("image").assign_attrs(part["distance"].attrs),
    }
    return landscape.assign({**masked, **quality})
