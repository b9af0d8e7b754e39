"""What a picture shows: a variable, or S², as a surface over one or two axes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.inference.estimation.confidence_regions import (
    fit_with_excess,
    of_one_part,
)
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.landscapes.interpolation import interpolation
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Best = Mapping[str, tuple[float, float]]  # parameter: (value, standard error)

WITHIN_A_POINT = {"configuration", "replica", "moment", "feature", "image", "source"}
WITHIN_A_POINT |= {"layer", "species", "oxygen"}
FINE = 201
MOST_CELLS = 512
CONFIDENCE = {"solid": 0.6827, "dashed": 0.9545}


def placed(ds: xr.Dataset, variable: str, at: Mapping[str, object]) -> tuple[xr.Dataset, str]:
    """The variable and its error where ``at`` says, NaN where not done; and that place in words."""
    if variable not in ds.data_vars:
        raise RequestError("no such variable", came=variable, allowed=listed(ds.data_vars))
    table = ds[[name for name in (variable, f"{variable}_se") if name in ds]]
    if "done" in ds:
        table = table.where(ds["done"])
    told = []
    for axis, value in at.items():
        place = nearest(table, axis, value)
        table = table.isel({axis: place})
        told.append(f"{axis} = {_told(ds[axis][place])}")
    return table, "at " + ", ".join(told) if told else ""


def nearest(ds: xr.Dataset, axis: str, value: Any) -> int:
    """Where on an axis a value lies: the nearest number, or the very name."""
    if axis not in ds.dims:
        raise RequestError("no such axis", came=axis, allowed=listed(ds.dims))
    places = ds[axis].to_numpy()
    if not np.issubdtype(places.dtype, np.number):
        if value not in places:
            raise RequestError(f"no such {axis}", came=value, allowed=listed(places))
        return int(np.argmax(places == value))
    low, high = places.min(), places.max()
    if not low - 1e-9 <= value <= high + 1e-9:
        raise RequestError(f"{axis} is out of range", came=value, allowed=f"{low:g} to {high:g}")
    return int(np.argmin(np.abs(places - value)))


def free_axes(values: xr.DataArray, x: str | None, y: str | None) -> list[str]:
    """The one or two axes to draw along, x first; every other dim is a RequestError."""
    free = [str(dim) for dim in values.dims if dim not in WITHIN_A_POINT]
    named = [axis for axis in (x, y) if axis is not None]
    if not free or not set(named) <= set(free) or len(set(named)) < len(named):
        raise RequestError("no such axes to draw", came=listed(named), allowed=listed(free))
    others = (axis for axis in free if axis not in named)
    axes = free if len(free) == 1 else [x or next(others), y or next(others)]
    left = [str(dim) for dim in values.dims if dim not in axes]
    if left:
        problem = f"{values.name} varies along {listed(left)} too"
        places = ", ".join(f'"{dim}": {values[dim].to_numpy()[0]}' for dim in left)
        raise RequestError(problem, hint=f"at={{{places}}}")
    return axes


def in_order(table: xr.Dataset, axes: list[str]) -> xr.Dataset:
    """Axes ascending, the first one last: rows are y, columns x."""
    return table.sortby(axes).transpose(*reversed(axes)).compute()


def coarsened(table: xr.Dataset, axes: list[str]) -> tuple[xr.Dataset, str]:
    """No more cells than a screen shows: means of blocks of points; and that in words."""
    steps = {axis: -(-table.sizes[axis] // MOST_CELLS) for axis in axes}
    if max(steps.values()) == 1 or len(axes) == 1:
        return table, ""
    means = table.coarsen(steps, boundary="pad").mean(skipna=True)
    for name in means.variables:
        means[name].attrs = table[name].attrs
    return means, f"means of {' × '.join(str(step) for step in steps.values())} points"


def check_landscape(scape: xr.Dataset) -> None:
    """Refuse what is no landscape."""
    if not {"s2", "s2_total", "n"} <= set(scape.data_vars):
        raise RequestError("no landscape", came=listed(scape), allowed="s2, s2_total, n")


def part_of(scape: xr.Dataset) -> str:
    """What the total of a landscape is summed over: ``image``, or ``source``."""
    return str(scape["n"].dims[0])


def landscape_axes(scape: xr.Dataset) -> list[str]:
    """The one or two parameters of a landscape; anything else is a RequestError."""
    check_landscape(scape)
    if not scape["s2_total"].notnull().any():
        raise RequestError("no point of the landscape is computed", came="NaN everywhere")
    axes = list(parameters_of(scape))
    if not 1 <= len(axes) <= 2:
        hint = f'scape.sel({axes[-1]}=0, method="nearest")' if axes else None
        raise RequestError(
            "a landscape is drawn over its parameters",
            came=listed(axes) or "none",
            allowed="one or two",
            hint=hint,
        )
    return axes


def distance_surface(
    scape: xr.Dataset, axes: list[str], image: object
) -> tuple[xr.Dataset, float, str]:
    """S² of one image or of all and its error, the atoms it rests on, and whose it is."""
    values, error, n = (scape[name] for name in ("s2_total", "s2_total_se", "n"))
    if image is not None:
        place = {part_of(scape): nearest(scape, part_of(scape), image)}
        values, error, n = (scape[name].isel(place) for name in ("s2", "s2_se", "n"))
    table = xr.Dataset(
        {
            "s2": values.assign_attrs(long_name="squared statistical distance S²"),
            "s2_se": error.assign_attrs(long_name="standard error of S²"),
        }
    )
    part = part_of(scape)
    whose = f"all {part}s" if image is None else f"{part} {image}"
    return in_order(table, axes), float(n.sum()), whose


def refined(
    surface: xr.DataArray, error: xr.DataArray, atoms: float, points: int = FINE
) -> xr.DataArray:
    """The surface on a fine grid, smoothed within its Monte Carlo errors.

    Where there are too few points it is returned as it is.
    """
    axes = {str(axis): surface[axis].to_numpy().astype(float) for axis in surface.dims}
    values, errors = (4 * atoms * part.to_numpy() for part in (surface, error))
    try:
        between = interpolation(axes, values, errors)
    except RequestError:
        return surface
    finer = {axis: np.linspace(grid[0], grid[-1], points) for axis, grid in axes.items()}
    mesh = np.stack(np.meshgrid(*finer.values(), indexing="ij"), axis=-1)
    fine = between.value(mesh.reshape(-1, len(axes))).reshape(mesh.shape[:-1]) / (4 * atoms)
    return xr.DataArray(fine, finer, surface.dims, surface.name, surface.attrs)


def estimated(
    scape: xr.Dataset, axes: list[str], image: object, points: int = FINE
) -> tuple[Fit, xr.DataArray | None]:
    """The fit of one image or of all, and −2 ln L above its minimum, rows y.

    The second is None where there are no contours: too few points, or an axis of one value.
    """
    if image is not None:
        scape = of_one_part(
            scape, scape[part_of(scape)].values[nearest(scape, part_of(scape), image)]
        )
    fit, excess = fit_with_excess(scape, points=points)
    if excess is None or set(excess.dims) != set(axes):
        return fit, None
    return fit, excess.transpose(*reversed(axes))


def levels(dimensions: int) -> dict[str, float]:
    """−2 ln L above its minimum at the edge of each confidence region, by its contour's dash."""
    return {dash: float(chi2(dimensions).ppf(p)) for dash, p in CONFIDENCE.items()}


def minimum_of(surface: xr.DataArray, best: Best) -> Best:
    """Value and standard error of every parameter, x first."""
    axes = [str(dim) for dim in reversed(surface.dims)]
    if set(best) != set(axes):
        raise RequestError("best is of other axes", came=listed(best), allowed=listed(axes))
    return {axis: best[axis] for axis in axes}


def _told(place: xr.DataArray) -> str:
    value = place.coords.get("label", place).item()
    return value if isinstance(value, str) else f"{value:g}"


def listed(names: Iterable[object]) -> str:
    """Names as a message shows them."""
    return ", ".join(map(str, names))
