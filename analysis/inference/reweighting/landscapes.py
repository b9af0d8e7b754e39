"""A fine landscape from a coarse sweep that kept its samples."""

import numpy as np
import xarray as xr

from latticescape.analysis.inference.landscapes.landscape import (
    COMPOSITION,
    landscape,
    lowest_points,
    mean_covariance,
    parameters_of,
)
from latticescape.analysis.inference.reweighting.mixture import FEWEST
from latticescape.analysis.inference.reweighting.reweighting import Axes, Reweighting
from latticescape.physics.errors import RequestError
from latticescape.physics.models.model import REPLICAS

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
