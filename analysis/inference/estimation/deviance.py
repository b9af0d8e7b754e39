"""−2 ln L of a landscape: what every estimate of parameters is made from."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.overlap import neighborhoods_overlap
from latticescape.analysis.inference.landscapes.count_moments import count_bias
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

Overlap = Literal["independent", "simulated", "effective"]
OVERLAPS: tuple[Overlap, ...] = ("independent", "simulated", "effective")

# Counts of a class scatter so many times less or more than Poisson's at the most.
DISPERSION = (0.25, 20.0)


@dataclass(frozen=True)
class Deviance:
    """−2 ln L = 4 Σ_d N_d f_d S²_d over the grid, its biases taken off.

    Attributes
    ----------
    axes
        Values of every parameter that has more than one, by name.
    fixed
        Those that have one.
    values, errors
        Over the axes: −2 ln L, and its Monte Carlo standard error.
    parts
        (parts, …): −2 ln L of every image or source.
    numbers
        (parts,): N_d f_d of the images or sources.
    overlap
        How overlapping neighbourhoods were taken.
    dispersion
        (parts, classes): how much more than Poisson's the counts of a class scatter, or None.
    """

    axes: dict[str, Floats]
    fixed: dict[str, float]
    values: Floats
    errors: Floats
    parts: Floats
    numbers: Floats
    overlap: Overlap
    dispersion: Floats | None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that can be fitted."""
        return tuple(self.axes)


def deviance(landscape: xr.Dataset, overlap: Overlap | None = None) -> Deviance:
    """−2 ln L over the grid of a landscape.

    S² is freed of the bias of the finite simulation (``s2_bias``), and of the pull of classes of
    few counts (:func:`count_bias`).

    Parameters
    ----------
    landscape
        A landscape.
    overlap
        ``"independent"``: N neighbourhoods are N draws. ``"simulated"``: they overlap; what that
        does to errors is taken from the simulation (:mod:`information`).
        ``"effective"``: N is the images' ``effective_n``. By default what the counts show: see
        :func:`chosen_overlap`.

    Raises
    ------
    RequestError
        If no point is computed, or what ``overlap`` needs is not there.

    Examples
    --------
    >>> s2 = np.array([0.02, 0.01, 0.02])
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "T"), s2[None]), "s2_se": (("image", "T"), 0 * s2[None]),
    ...      "s2_total": ("T", s2), "s2_total_se": ("T", 0 * s2), "n": ("image", [100])},
    ...     coords={"T": [1.0, 2.0, 3.0]})
    >>> deviance(landscape).values.tolist()
    [8.0, 4.0, 8.0]
    """
    if not np.isfinite(landscape["s2_total"]).any():
        raise RequestError(
            "no point of the landscape is computed",
            came="NaN everywhere",
            allowed="at least one point",
            hint="latticescape run, and then once more",
        )
    chosen = chosen_overlap(landscape, overlap)
    names, part = parameters_of(landscape), part_of(landscape)
    numbers = landscape["n"].values.astype(float)
    if chosen == "effective":
        numbers = np.minimum(landscape["effective_n"].values.astype(float), numbers)
    swept = tuple(name for name in names if landscape.sizes[name] > 1)
    one = landscape.isel({name: 0 for name in names if name not in swept})
    dispersion = _dispersion(one, chosen)
    values, errors, parts = _sums(one, part, numbers, swept)
    if dispersion is not None:
        q = one["probability"].transpose(part, *swept, "configuration").values
        pulls = zip(q, numbers, dispersion, strict=True)
        pull = np.array([count_bias(*of_image) for of_image in pulls])
        values, parts = values + pull.sum(axis=0), parts + pull
    return Deviance(
        axes={name: one[name].values.astype(float) for name in swept},
        fixed={name: float(landscape[name][0]) for name in names if name not in swept},
        values=values,
        errors=errors,
        parts=parts,
        numbers=numbers,
        overlap=chosen,
        dispersion=dispersion,
    )


def chosen_overlap(landscape: xr.Dataset, asked: Overlap | None) -> Overlap:
    """How overlapping neighbourhoods are taken.

    If nothing is asked: counts that know their ``effective_n`` come from images and overlap; others
    do if they agree about unlike pairs as only neighbourhoods that share atoms do. Then the
    simulation tells what that means, or else ``effective_n``.

    Examples
    --------
    >>> chosen_overlap(xr.Dataset(), None)
    'independent'
    """
    able = {
        "independent": True,
        "simulated": "count_covariance" in landscape
        and bool(np.isfinite(landscape["count_covariance"]).all()),
        "effective": "effective_n" in landscape,
    }
    if asked is not None and not able.get(asked, False):
        known = asked in OVERLAPS
        raise RequestError(
            f"the landscape cannot tell how neighbourhoods overlap by {asked!r}"
            if known
            else "unknown way to take overlapping neighbourhoods",
            came=asked,
            allowed=" | ".join(name for name in OVERLAPS if able[name]),
        )
    if asked is not None:
        return asked
    overlapping = able["effective"] or (
        "counts" in landscape
        and "lattice" in landscape.attrs
        and neighborhoods_overlap(landscape["counts"].values, landscape.attrs["lattice"])
    )
    ways: tuple[Overlap, ...] = ("simulated", "effective")
    return next((way for way in ways if overlapping and able[way]), "independent")


def part_of(landscape: xr.Dataset) -> Hashable:
    """The dimension of what the total is summed over: ``image``, or ``source``."""
    return landscape["n"].dims[0]


def deviances_of(
    landscape: xr.Dataset, told: Deviance, counts: Floats, points: npt.NDArray[np.intp]
) -> Floats:
    """−2 ln L of other counts, (draws, images, classes), at points of the grid: (draws, points)."""
    one = landscape.isel(dict.fromkeys(told.fixed, 0))
    part = part_of(landscape)
    q = one["probability"].transpose(part, *told.names, "configuration").values
    q = q.reshape(len(q), -1, q.shape[-1])[:, points]
    known = one["s2"].transpose(part, *told.names).values.reshape(len(q), -1)[:, points]
    found = np.repeat(told.values.ravel()[points][None], len(counts), axis=0)
    for d, number in enumerate(told.numbers):
        root = np.sqrt(counts[:, d] / counts[:, d].sum(axis=-1, keepdims=True))
        overlap = np.clip(root @ np.sqrt(q[d]).T, 0, 1)
        found += 4 * number * (np.arccos(overlap) ** 2 - known[d])
    return found


def _sums(
    landscape: xr.Dataset, part: Hashable, numbers: Floats, names: tuple[str, ...]
) -> tuple[Floats, Floats, Floats]:
    """4 N S² in total, its error, and of every image."""
    s2 = (landscape["s2"] - landscape.get("s2_bias", 0.0)).transpose(part, *names).values
    weight = 4 * numbers.reshape(-1, *[1] * len(names))
    if np.array_equal(numbers, landscape["n"].values):
        # Images of one composition share a simulation, and its error: the total knows.
        total = landscape["s2_total"] - landscape.get("s2_total_bias", 0.0)
        values, errors = (
            4 * numbers.sum() * each.transpose(*names).values
            for each in (total, landscape["s2_total_se"])
        )
        return values, errors, weight * s2
    each = weight * landscape["s2_se"].transpose(part, *names).values
    return np.sum(weight * s2, axis=0), np.sqrt(np.sum(each**2, axis=0)), weight * s2


def _dispersion(landscape: xr.Dataset, overlap: Overlap) -> Floats | None:
    """(images, classes), or None if the landscape does not know its histograms."""
    if "probability" not in landscape or "counts" not in landscape:
        return None
    if overlap != "simulated":
        return np.ones(landscape["counts"].shape)
    total = landscape["s2_total"]
    least = np.unravel_index(int(np.nanargmin(total.values)), total.shape)
    q = landscape["probability"].isel(dict(zip(total.dims, map(int, least), strict=True)))
    variance = np.diagonal(landscape["count_covariance"].values, axis1=1, axis2=2)
    expected = q.transpose(part_of(landscape), "configuration").values
    usual = expected * (1 - expected)
    seen = usual * landscape["n"].values[:, None] > 0.1
    return np.clip(np.where(seen, variance / np.where(seen, usual, 1), 1.0), *DISPERSION)
