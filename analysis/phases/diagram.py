"""``phase_diagram``: where the order of a model changes, and how sure that is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from latticescape.analysis.phases.boundaries import (
    Boundary,
    by_crossing,
    by_ratio,
    by_ridge,
    nowhere,
)
from latticescape.analysis.phases.ordering import ordering
from latticescape.analysis.phases.parameters import Place, place_of
from latticescape.analysis.phases.ridges import RIDGES, ridges
from latticescape.analysis.phases.sources import ACROSS, BySize, Source, source_of
from latticescape.physics.errors import RequestError

DRAWS = 8

NO_SPINS = 'unknown: no spins were kept (keep = ["spins"])'

SHOWN = ("magnetization_abs", "susceptibility_abs", "heat_capacity", "energy")


def phase_diagram(
    source: Any,
    at: Any = None,
    *,
    sizes: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 1,
) -> xr.Dataset:
    """Where the order of a model changes over (T, H) or (T, x), with two kinds of error.

    The order is found, not told: of an alloy, or an antiferromagnet, by the strongest waves of the
    final configurations (:func:`ordering`), of a ferromagnet without a field by Binder crossings
    of several sizes (:func:`binder_crossing`). Ridges of susceptibility and heat capacity
    (:func:`ridges`) are given everywhere; without order below them they are no transition, but a
    crossover.

    Parameters
    ----------
    source
        A ``Sweep`` with an axis T and perhaps one of H or x, which is simulated in this process,
        spins kept; or the Dataset of one (``open_sweep``), or Datasets of several sizes. Of a
        Dataset without kept spins and of one size, a ferromagnet's boundary is the ridge of its
        susceptibility.
    at
        Where in the space of the model's other parameters: a mapping from names to values (or to
        (value, standard error)), a ``Fit``, or an ArviZ ``InferenceData``. Fitted energies of an
        alloy are in units of k_B T0, so T of the diagram is T/T0, the images being at T = 1. Of
        parameters that are axes (T, H) the value is only marked: ``place_T``.
    sizes
        Smaller lattices to simulate beside the sweep's own; by default a quarter and a half for
        free spins at H = 0. There temperatures close to the crossing are simulated once more,
        with 32 to 64 times the samples, so that a coarse axis T does.
    draws
        How often the diagram is simulated again with parameters drawn from the fit's uncertainty.
    seed
        Of these draws.

    Returns
    -------
    Dataset
        - Over H or x (a number without such an axis): ``boundary``, the temperature where order
          ends, NaN where none is found; ``boundary_se``, its Monte Carlo standard error;
          ``boundary_parameter_se``, the spread that the fit's uncertainty makes, Monte Carlo
          error taken off (NaN if ``at`` has none, or the boundary leaves the range in half of the
          draws); ``boundary_share``, in how many of the draws it lies in the range;
          ``boundary_finite_size_se``, how far off the infinite lattice it may be;
          ``boundary_method``; ``boundary_draws`` (draw, …). Likewise ``susceptibility_abs_ridge``
          and ``heat_capacity_ridge``.
        - Over T and H or x: the sweep's averages, and what :func:`ordering` tells, if spins are
          there.
        - Over ``draw``: the drawn parameters, ``draw_w1``, ….

    Raises
    ------
    RequestError
        If there is no temperature axis, a parameter of ``at`` is none of the model's, or order is
        found at a wave vector that the lattice's size does not hold.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from latticescape import PairAlloy, Schedule, triangular
    >>> sweep = SimpleNamespace(lattice=triangular(12), model=PairAlloy(), seed=1,
    ...                         grid={"x": [1 / 3, 1 / 2], "T": np.linspace(0.4, 1.2, 6)},
    ...                         schedule=Schedule(300, 50, 5, tempering_mcs=5))
    >>> found = phase_diagram(sweep, at={"w1": -1.0})
    >>> found.boundary.round(1).values.tolist(), found.boundary_method.values[1].item()
    ([0.7, nan], 'no order found')
    """
    runs = source_of(source, sizes)
    place = place_of(at, draws, seed)
    model, marked = place.only(runs.parameters), place.without(runs.parameters)
    _check_names(marked, runs)
    largest, lines = _lines(runs, model.centre)
    drawn = [_lines(runs, values, refine=False)[1] for values in model.draws]
    found = xr.merge([_fields(largest), lines, _spread(lines, drawn, model)], compat="override")
    found.attrs = _attrs(largest, model)
    return _marked(found, marked)


def _lines(
    runs: Source, values: Mapping[str, float], *, refine: bool = True
) -> tuple[xr.Dataset, xr.Dataset]:
    """The largest size's Dataset at one place in parameter space, and its boundary and ridges."""
    sweeps = runs.at(values)
    largest = list(sweeps.values())[-1]
    across = [name for name in ACROSS if name in largest.dims]
    if not across:
        found = [_boundary(runs, sweeps, values, refine)]
    else:
        found = []
        for place in largest[across[0]].values:
            line = {size: _line(ds, across[0], place) for size, ds in sweeps.items()}
            there = {size: ds for size, ds in line.items() if ds is not None}
            found.append(_boundary(runs, there, values, refine))
    return largest, xr.merge([ridges(largest), _table(found, largest, across)])


def _line(ds: xr.Dataset, axis: str, place: float) -> xr.Dataset | None:
    """The line of temperatures at one place; None if this size was not computed there."""
    if axis not in ds.dims:
        return ds
    near = np.flatnonzero(np.isclose(ds[axis].values, place))
    return ds.isel({axis: int(near[0])}) if len(near) else None


def _boundary(runs: Source, line: BySize, values: Mapping[str, float], refine: bool) -> Boundary:
    largest = list(line.values())[-1]
    if _free(largest):
        if len(line) > 1:
            try:
                return _crossing(runs, line, values, refine)
            except RequestError:
                pass  # not a ferromagnet, or no critical point in the range: see what the spins say
        elif "spins" not in largest:
            return by_ridge(largest)
    if "spins" not in largest:
        return nowhere(NO_SPINS)
    return by_ratio(largest)


def _crossing(runs: Source, line: BySize, values: Mapping[str, float], refine: bool) -> Boundary:
    found = by_crossing(line)
    close = runs.close_up(values, found.temperature) if refine else None
    if close is None:
        return found
    return by_crossing(
        {size: ds.squeeze("H") if "H" in ds.dims else ds for size, ds in close.items()}
    )


def _free(line: xr.Dataset) -> bool:
    """Whether the magnetization is free to order: no field, no conserved composition."""
    return "composition" not in line and float(line.coords.get("H", 0.0)) == 0


def _table(found: Sequence[Boundary], largest: xr.Dataset, across: Sequence[str]) -> xr.Dataset:
    units = {"units": largest["T"].attrs.get("units", "1")}
    columns = {
        "boundary": ([b.temperature for b in found], "temperature where order ends"),
        "boundary_se": ([b.error for b in found], "Monte Carlo standard error of the boundary"),
        "boundary_finite_size_se": (
            [b.finite_size for b in found],
            "uncertainty of the boundary by the lattice's size",
        ),
    }
    shape = [largest.sizes[name] for name in across]
    table = xr.Dataset(
        {
            name: (across, np.reshape(values, shape), {**units, "long_name": told})
            for name, (values, told) in columns.items()
        },
        coords={name: largest[name] for name in across},
    )
    methods = np.reshape(np.array([b.method for b in found], dtype=str), shape)
    return table.assign(boundary_method=(across, methods, {"long_name": "what it was found by"}))


def _fields(largest: xr.Dataset) -> xr.Dataset:
    """Averages over the whole grid, and the order that the spins show."""
    names = [name for shown in SHOWN for name in (shown, f"{shown}_se") if name in largest]
    found = largest[names]
    if "done" in largest:
        found = found.where(largest["done"])
    return xr.merge([found, ordering(largest)]) if "spins" in largest else found


def _spread(found: xr.Dataset, drawn: Sequence[xr.Dataset], model: Place) -> xr.Dataset:
    """What the uncertainty of the parameters does to every line of the diagram."""
    names = [n for n in ("boundary", *(f"{r}_ridge" for r in RIDGES)) if n in found]
    if not drawn:
        titles = {name: f"{name}_parameter_se" for name in names}
        return xr.Dataset({t: _told(xr.full_like(found[n], np.nan), t) for n, t in titles.items()})
    together = xr.concat([ds[[m for n in names for m in (n, f"{n}_se")]] for ds in drawn], "draw")
    spread: dict[str, Any] = {}
    for name in names:
        values, errors = together[name], together[f"{name}_se"]
        variance = values.var("draw", ddof=1) - (errors**2).mean("draw")
        enough = values.notnull().sum("draw") > len(drawn) / 2
        title = f"{name}_parameter_se"
        spread[title] = _told((variance.clip(min=0) ** 0.5).where(enough), title)
        spread[f"{name}_draws"] = values.assign_attrs(found[name].attrs)
        line = name.replace("_", " ")
        share = values.notnull().mean("draw")
        spread[f"{name}_share"] = share.assign_attrs(long_name=f"share of draws with a {line}")
    for parameter in model.centre:
        spread[f"draw_{parameter}"] = ("draw", [draw[parameter] for draw in model.draws])
    return xr.Dataset(spread)


def _told(values: xr.DataArray, name: str) -> xr.DataArray:
    line = name.removesuffix("_parameter_se").replace("_", " ")
    return values.assign_attrs(long_name=f"standard error of the {line} by the fit's uncertainty")


def _attrs(largest: xr.Dataset, model: Place) -> dict[str, Any]:
    kept = ("lattice", "model", "lattice_size", "digest", "seed")
    told = {name: largest.attrs[name] for name in kept if name in largest.attrs}
    return told | {f"at_{name}": value for name, value in model.centre.items()}


def _check_names(marked: Place, runs: Source) -> None:
    for name, value in marked.centre.items():
        if name not in runs.axes:
            raise RequestError(
                f"{name} is no parameter of the diagram",
                came=f"at {name} = {value:g}",
                allowed=", ".join(sorted({*runs.parameters, *runs.axes})),
            )


def _marked(found: xr.Dataset, marked: Place) -> xr.Dataset:
    """With the values of ``at`` that are places on the diagram's own axes."""
    for name, value in marked.centre.items():
        error = np.std([draw[name] for draw in marked.draws], ddof=1) if marked.draws else np.nan
        units = {"units": found[name].attrs.get("units", "1")}
        found = found.assign(
            {f"place_{name}": ((), value, units), f"place_{name}_se": ((), float(error), units)}
        )
    return found
