"""From a landscape to parameters: its minimum, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from analysis.landscape import parameters_of
from physics.errors import RequestError

Floats = npt.NDArray[np.floating[Any]]

# The landscape is read as a parabola where −2 ln L = 4 N S² rises by less than this above its
# least value: three standard errors of one parameter.
NEAR = 9.0


@dataclass(frozen=True)
class Fit:
    """The minimum of a landscape.

    Attributes
    ----------
    parameters
        Best value and standard error of each parameter.
    covariance
        (parameters, parameters).
    s2, s2_total
        S² at the minimum, by image and in total.
    s2_se, s2_total_se
        Their Monte Carlo standard errors, at the grid point nearest to the minimum.
    border
        Parameters whose minimum lies at the edge of the grid: the true one may be beyond.
    """

    parameters: Mapping[str, tuple[float, float]]
    covariance: Floats
    s2: xr.DataArray
    s2_se: xr.DataArray
    s2_total: float
    s2_total_se: float
    border: tuple[str, ...]


def best_fit(scape: xr.Dataset) -> Fit:
    """Parameters at the minimum of a landscape, with their standard errors.

    A parabola is fitted by least squares, weighted by the Monte Carlo errors, to the points near
    the least S². Its minimum is the estimate, and Cov = (2 N ∂²S²/∂w²)⁻¹ (Laplace's
    approximation to −ln L = 2 N S²). Where the points near the minimum do not hold a parabola with
    a minimum inside, the best grid point is returned with an infinite error.

    Parameters
    ----------
    scape
        A landscape.

    Raises
    ------
    RequestError
        If no point of the landscape is computed.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> scape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-4),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-4), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> value, error = best_fit(scape).parameters["w1"]
    >>> round(value, 6), round(error, 6)
    (-0.08, 0.015811)
    """
    names = parameters_of(scape)
    total = scape["s2_total"]
    if not np.isfinite(total).any():
        raise RequestError(
            "no point of the landscape is computed",
            came="NaN everywhere",
            allowed="at least one point",
            hint="latticescape run, and then once more",
        )
    if not names:
        return Fit({}, np.empty((0, 0)), **_distances(scape), border=())
    least = np.unravel_index(int(np.nanargmin(total.values)), total.shape)
    border = tuple(
        name for name, i in zip(names, least, strict=True) if i in (0, scape.sizes[name] - 1)
    )
    return _parabola_fit(scape, names, least, border) or _grid_fit(scape, names, least, border)


Index = tuple[np.intp, ...]


def _grid_fit(
    scape: xr.Dataset, names: tuple[str, ...], least: Index, border: tuple[str, ...]
) -> Fit:
    """The best grid point, with an error that says nothing is known of its neighbourhood."""
    at = dict(zip(names, map(int, least), strict=True))
    values = {name: (float(scape[name][i]), float("inf")) for name, i in at.items()}
    unknown = np.full((len(names), len(names)), np.inf)
    return Fit(values, unknown, **_distances(scape.isel(at)), border=border)


def _distances(there: xr.Dataset) -> dict[str, Any]:
    """S² and its Monte Carlo error at one point of a landscape."""
    return {
        "s2": there["s2"].reset_coords(drop=True),
        "s2_se": there["s2_se"].reset_coords(drop=True),
        "s2_total": float(there["s2_total"]),
        "s2_total_se": float(there["s2_total_se"]),
    }


def _parabola_fit(
    scape: xr.Dataset, names: tuple[str, ...], least: Index, border: tuple[str, ...]
) -> Fit | None:
    """The minimum of the local parabola, if there is one among the points it was fitted to."""
    grid = np.stack(np.meshgrid(*(scape[n].values for n in names), indexing="ij"), axis=-1)
    centre, span = grid[least], np.maximum(np.ptp(grid.reshape(-1, len(names)), axis=0), 1e-300)
    offsets = ((grid - centre) / span).reshape(-1, len(names))
    number = float(scape["n"].sum())
    chosen = _near(scape["s2_total"].values.ravel(), offsets, number)
    solution = None if chosen is None else _solved(scape, names, offsets[chosen], chosen)
    if chosen is None or solution is None:
        return None
    slope, curvature = _derivatives(solution[:, 0], len(names))
    if np.linalg.eigvalsh(curvature).min() <= 0:
        return None
    step = -np.linalg.solve(curvature, slope)
    if np.any(np.abs(step) > np.ptp(offsets[chosen], axis=0)):
        return None
    covariance = np.linalg.inv(2 * number * curvature) * np.outer(span, span)
    s2_total, *s2 = _design(step[None, :])[0] @ solution
    errors = np.sqrt(np.diag(covariance))
    values = dict(zip(names, zip(centre + step * span, errors, strict=True), strict=True))
    nearby = scape.sel({name: value for name, (value, _) in values.items()}, method="nearest")
    return Fit(
        parameters={name: (float(value), float(error)) for name, (value, error) in values.items()},
        covariance=covariance,
        border=border,
        **_distances(nearby)
        | {"s2": scape["image"].copy(data=np.array(s2)), "s2_total": float(s2_total)},
    )


def _near(s2: Floats, offsets: Floats, number: float) -> npt.NDArray[np.intp] | None:
    """Points where the landscape is low, or, if these are few, the nearest to the lowest."""
    finite = np.isfinite(s2)
    low = np.flatnonzero(finite & (4 * number * (s2 - np.nanmin(s2)) <= NEAR))
    terms = _design(offsets[:1]).shape[1]
    if len(low) > terms:
        return low
    nearest = np.argsort(np.linalg.norm(offsets, axis=1) + np.where(finite, 0, np.inf))
    enough = terms + offsets.shape[1] + 1
    return nearest[:enough] if finite.sum() >= enough else None


def _solved(
    scape: xr.Dataset, names: tuple[str, ...], offsets: Floats, chosen: npt.NDArray[np.intp]
) -> Floats | None:
    """Parabolas of the total (first column) and of every image, fitted to the chosen points."""
    images = scape["s2"].transpose("image", *names).values.reshape(scape.sizes["image"], -1)
    values = np.vstack([scape["s2_total"].values.reshape(1, -1), images])[:, chosen].T
    weight = 1 / np.maximum(scape["s2_total_se"].values.ravel()[chosen], 1e-12)[:, None]
    design = _design(offsets)
    solution, _, rank, _ = np.linalg.lstsq(design * weight, values * weight, rcond=None)
    return solution if rank == design.shape[1] else None


def _design(offsets: Floats) -> Floats:
    """Columns 1, w_i, w_i w_j of a parabola."""
    pairs = combinations_with_replacement(range(offsets.shape[1]), 2)
    squares = [offsets[:, i] * offsets[:, j] for i, j in pairs]
    return np.column_stack([np.ones(len(offsets)), offsets, *squares])


def _derivatives(solution: Floats, number: int) -> tuple[Floats, Floats]:
    """Slope at the origin and matrix of second derivatives of a fitted parabola."""
    curvature = np.zeros((number, number))
    pairs = combinations_with_replacement(range(number), 2)
    for (i, j), value in zip(pairs, solution[1 + number :], strict=True):
        curvature[i, j] += value
        curvature[j, i] += value
    return solution[1 : 1 + number], curvature
