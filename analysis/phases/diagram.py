"""``phase_diagram``: where a model orders, with Monte Carlo and parameter errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.analysis.phases.crossings import binder_crossing
from latticescape.analysis.phases.curves import curve_of, jackknife_error, lattice_of
from latticescape.analysis.phases.ordering import ordering, species_of_sites, waves_of
from latticescape.analysis.phases.ridges import RIDGES, ridge, ridges
from latticescape.analysis.phases.runs import (
    BySize,
    ParameterValues,
    Runs,
    is_across,
    is_field,
    parameter_values,
    runs_of,
)
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

DRAWS = 8

# How a boundary was located, or why there is none.
CROSSING, RATIO, RIDGE = "Binder crossing", "correlation ratio", "susceptibility ridge"
NO_ORDER, ABOVE = "no order found", "order up to the highest temperature"
NO_SPINS = 'unknown: no spins were kept (keep = ["spins"])'

# The critical ξ/L of another universality class, or of a small lattice, is within this factor.
FACTOR = float(np.sqrt(2))

AVERAGES = ("magnetization_abs", "susceptibility_abs", "heat_capacity", "energy")
ATTRS = ("lattice", "model", "lattice_size", "digest", "seed")


def phase_diagram(
    source: Any,
    at: Any = None,
    *,
    sizes: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 1,
) -> xr.Dataset:
    """Find where a model orders over temperature and field or composition, with two kinds of error.

    No ordering pattern is assumed. Alloys and antiferromagnets are ordered where their final
    configurations have long-range structure-factor peaks (:func:`ordering`); for a ferromagnet
    without a field the boundary is the Binder crossing of several sizes (:func:`binder_crossing`).
    Ridges of susceptibility and heat capacity (:func:`ridges`) are returned everywhere; without
    order below them they mark a crossover, not a transition.

    Parameters
    ----------
    source
        A ``Sweep`` with an axis T, and optionally one of a field (H, D, dmu, ``mu_Pd``) or a
        composition (x, ``x_Pd``), which is simulated in this process and keeps its spins; the
        Dataset of one (``open_sweep``); or Datasets of several sizes. If a Dataset of one size kept
        no spins, a ferromagnet's boundary is the ridge of its susceptibility.
    at
        Values of the model's other parameters: a mapping from names to values (or to
        (value, standard error)), a ``Fit``, or an ArviZ ``InferenceData``. Fitted energies of an
        alloy are in units of k_B T0, so T of the diagram is T/T0 and the images are at T = 1.
        Values of parameters that are axes of the diagram (T, H, x, …) are only marked: ``place_T``.
    sizes
        Smaller lattices to simulate in addition to the sweep's own; by default a quarter and a half
        of its size, for free spins at H = 0. Temperatures close to the crossing are then simulated
        once more with 32 to 64 times the samples, so that a coarse axis T suffices.
    draws
        The number of diagrams simulated with parameters drawn from the fit's uncertainty.
    seed
        The seed of these draws.

    Returns
    -------
    Dataset
        - Over the field or composition (scalars without such an axis): ``boundary``, the highest
          temperature with order, NaN without order; ``boundary_se``, its Monte Carlo standard
          error; ``boundary_parameter_se``, the spread due to the fit's uncertainty, Monte Carlo
          variance subtracted (NaN if ``at`` has no errors, or if half of the draws have none in the
          range); ``boundary_share``, the share of draws with a boundary in the range;
          ``boundary_finite_size_se``, the uncertainty due to the lattice size;
          ``boundary_method``; ``boundary_draws`` (draw, …). Likewise ``susceptibility_abs_ridge``
          and ``heat_capacity_ridge``.
        - Over T and the field or composition: the sweep's averages, and the variables of
          :func:`ordering` if spins were kept.
        - Over ``draw``: the drawn parameters, ``draw_w1``, ….

    Raises
    ------
    RequestError
        If there is no temperature axis, ``at`` names an unknown parameter, or the pattern peaks
        next to a special wave vector that is incommensurate with the lattice size.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from latticescape import PairAlloy, Schedule, triangular
    >>> sweep = SimpleNamespace(lattice=triangular(12), model=PairAlloy(), seed=1,
    ...                         grid={"x": [1 / 3, 1 / 2], "T": np.linspace(0.4, 1.2, 6)},
    ...                         schedule=Schedule(300, 50, 5, tempering_mcs=5))
    >>> diagram = phase_diagram(sweep, at={"w1": -1.0})
    >>> diagram.boundary.round(1).values.tolist(), diagram.boundary_method.values[1].item()
    ([0.7, nan], 'no order found')
    """
    runs = runs_of(source, sizes)
    values = parameter_values(at, draws, seed)
    model, marked = values.only(runs.parameters), values.without(runs.parameters)
    for name, value in marked.centre.items():
        if name not in runs.axes:
            came, allowed = f"at {name} = {value:g}", listed(sorted({*runs.parameters, *runs.axes}))
            problem = f"{name} is not a parameter of the diagram"
            raise RequestError(problem, came=came, allowed=allowed)
    largest, lines = _lines(runs, model.centre)
    draws_lines = [_lines(runs, draw, refine=False)[1] for draw in model.draws]
    averages = largest[[n for name in AVERAGES for n in (name, f"{name}_se") if n in largest]]
    if "done" in largest:
        averages = averages.where(largest["done"])
    parts = [averages, ordering(largest)] if "spins" in largest else [averages]
    diagram = xr.merge(
        [xr.merge(parts), lines, _spread(lines, draws_lines, model)], compat="override"
    )
    diagram.attrs = {name: largest.attrs[name] for name in ATTRS if name in largest.attrs}
    diagram.attrs |= {f"at_{name}": value for name, value in model.centre.items()}
    for name, value in marked.centre.items():
        error = np.std([draw[name] for draw in marked.draws], ddof=1) if marked.draws else np.nan
        units = {"units": diagram[name].attrs.get("units", "1")}
        diagram[f"place_{name}"] = ((), value, units)
        diagram[f"place_{name}_se"] = ((), float(error), units)
    return diagram


@dataclass(frozen=True)
class Boundary:
    """The highest temperature with order along one line of temperatures.

    Attributes
    ----------
    method
        How it was located, or why there is none.
    temperature, error
        With its Monte Carlo standard error; NaN without a boundary in the range.
    finite_size
        The uncertainty due to the lattice size; NaN if unknown.
    """

    method: str
    temperature: float = float("nan")
    error: float = float("nan")
    finite_size: float = float("nan")


def _lines(
    runs: Runs, values: Mapping[str, float], *, refine: bool = True
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the largest size's Dataset at these parameters, and its boundary and ridges."""
    sweeps = runs.at(values)
    largest = list(sweeps.values())[-1]
    across = [str(name) for name in largest["energy"].dims if is_across(str(name))]
    boundaries = []
    for place in largest[across[0]].values if across else (np.nan,):
        # The lines of temperatures at this place, of the sizes that were computed there.
        lines = {}
        for size, ds in sweeps.items():
            if not across or across[0] not in ds.dims:
                lines[size] = ds
                continue
            near = np.flatnonzero(np.isclose(ds[across[0]].values, place))
            if len(near):
                lines[size] = ds.isel({across[0]: int(near[0])})
        boundaries.append(_boundary(runs, lines, values, refine))
    shape = [largest.sizes[name] for name in across]
    units = {"units": largest["T"].attrs.get("units", "1")}
    methods = np.reshape(np.array([b.method for b in boundaries], dtype=str), shape)
    table: dict[str, Any] = {
        name: (across, np.reshape(column, shape), {**units, "long_name": long_name})
        for name, long_name, column in (
            ("boundary", "temperature where order ends", [b.temperature for b in boundaries]),
            (
                "boundary_se",
                "Monte Carlo standard error of the boundary",
                [b.error for b in boundaries],
            ),
            (
                "boundary_finite_size_se",
                "uncertainty of the boundary due to the lattice size",
                [b.finite_size for b in boundaries],
            ),
        )
    }
    table["boundary_method"] = (across, methods, {"long_name": "how the boundary was located"})
    coords = {name: largest[name] for name in across}
    return largest, xr.merge([ridges(largest), xr.Dataset(table, coords)])


def _boundary(runs: Runs, line: BySize, values: Mapping[str, float], refine: bool) -> Boundary:
    largest = list(line.values())[-1]
    fields = [float(c) for name, c in largest.coords.items() if not c.dims and is_field(str(name))]
    free = "composition" not in largest and not any(fields)
    if free and len(line) > 1:
        try:
            coarse = _by_crossing(line)
            close = runs.close_up(values, coarse.temperature) if refine else None
            return coarse if close is None else _by_crossing(close)
        except RequestError:
            pass  # no ferromagnet, or no critical point in the range: use the spins
    elif free and "spins" not in largest:
        T, error, *_ = ridge(curve_of(largest, lattice_of(largest)), "susceptibility_abs")
        return Boundary(RIDGE, T, error) if np.isfinite(T) else Boundary(NO_ORDER)
    return _by_ratio(largest) if "spins" in largest else Boundary(NO_SPINS)


def _by_crossing(line: BySize) -> Boundary:
    """Return the Binder crossing of several sizes."""
    crossing = binder_crossing(
        {size: ds.squeeze([d for d in ds.dims if is_field(str(d))]) for size, ds in line.items()}
    )
    return Boundary(
        CROSSING,
        float(crossing["critical_temperature"]),
        float(crossing["critical_temperature_monte_carlo_se"]),
        float(crossing["critical_temperature_finite_size_se"]),
    )


def _by_ratio(line: xr.Dataset) -> Boundary:
    """Return where ξ/L of the low-temperature pattern falls below its critical value."""
    lattice = lattice_of(line)
    table = line.sortby("T")
    if "done" in table:
        table = table.isel(T=table["done"].values.astype(bool))
    T, held = table["T"].values.astype(float), species_of_sites(line)
    spins = table["spins"].transpose("T", ..., "site").values
    points = [waves_of(words, lattice, held) for words in spins]
    peaks = [point.peaks(1) for point in points]
    ordered = [
        bool(peak) and point.ratios(peak[0])[0] > point.threshold
        for point, peak in zip(points, peaks, strict=True)
    ]
    if not any(ordered):
        return Boundary(NO_ORDER)
    last = int(np.flatnonzero(ordered)[-1])
    if last == len(T) - 1:
        return Boundary(ABOVE)
    ratios = [points[k].ratios(peaks[last][0]) for k in (last, last + 1)]
    logarithms = np.log(np.maximum(ratios, 1e-3))
    # Where a straight line in T passes the critical ratio, and this times and over the factor.
    places = [
        T[last]
        + (T[last + 1] - T[last]) * (logarithms[0] - level) / (logarithms[0] - logarithms[1])
        for level in (np.log(points[0].threshold * f) for f in (1, FACTOR, 1 / FACTOR))
    ]
    error = float(jackknife_error(places[0][1:]))
    spread = float(abs(places[1][0] - places[2][0]) / 2)
    return Boundary(RATIO, float(places[0][0]), error, spread)


def _spread(
    lines: xr.Dataset, draws_lines: Sequence[xr.Dataset], model: ParameterValues
) -> xr.Dataset:
    """Return how the uncertainty of the parameters spreads every line of the diagram."""
    names = [n for n in ("boundary", *(f"{r}_ridge" for r in RIDGES)) if n in lines]
    columns = [n for name in names for n in (name, f"{name}_se")]
    together = xr.concat([ds[columns] for ds in draws_lines], "draw") if draws_lines else lines
    spread: dict[str, Any] = {}
    for name in names:
        line = name.replace("_", " ")
        errors = xr.full_like(lines[name], np.nan)
        if draws_lines:
            values = together[name]
            variance = values.var("draw", ddof=1) - (together[f"{name}_se"] ** 2).mean("draw")
            enough = values.notnull().sum("draw") > len(draws_lines) / 2
            errors = (variance.clip(min=0) ** 0.5).where(enough)
            share = values.notnull().mean("draw")
            spread[f"{name}_draws"] = values.assign_attrs(lines[name].attrs)
            spread[f"{name}_share"] = share.assign_attrs(long_name=f"share of draws with a {line}")
        spread[f"{name}_parameter_se"] = errors.assign_attrs(
            long_name=f"standard error of the {line} due to the fit's uncertainty"
        )
    if draws_lines:
        for parameter in model.centre:
            spread[f"draw_{parameter}"] = ("draw", [draw[parameter] for draw in model.draws])
    return xr.Dataset(spread)
