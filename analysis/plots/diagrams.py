"""Pictures of phase diagrams: the order over temperature and field or composition, and its end."""

from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.phases.diagram import CROSSING, RIDGE
from latticescape.analysis.plots.maps import (
    ASPECT,
    FONTS,
    IMAGES,
    MARK,
    MISSING,
    Picture,
    close_seams,
    dressed,
)
from latticescape.analysis.plots.surfaces import in_order, listed
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

ACROSS = ("x", "H")
BY_MAGNETIZATION = (CROSSING, RIDGE)
UPRIGHT = {"title_text_font_style": "normal"}

ORDER = ("order_parameter", "magnetization_abs")
RIDGES = {
    "heat_capacity": ("ridge of the heat capacity", IMAGES[4]),
    "susceptibility_abs": ("ridge of the susceptibility", IMAGES[3]),
}


def phase_diagram_map(diagram: xr.Dataset) -> Picture:
    """A phase diagram: T upwards, H or x across, the order parameter in colours.

    The orange line is the boundary with bars of one standard error, Monte Carlo's and the fit's
    together; the pale band around it is the fit's part alone. Lines without dots are the ridges of
    the heat capacity (blue) and of the susceptibility (purple): without order below them, a
    crossover. Points not computed are grey; a white cross is the sample, if ``at`` told its place.
    Without an axis across, the order parameter is drawn over the temperature, and the boundary as
    a band across it.

    Parameters
    ----------
    diagram
        What :func:`phases` returned.

    Raises
    ------
    RequestError
        If it is no phase diagram.

    Examples
    --------
    >>> T, x = np.linspace(0.4, 1.0, 7), [0.25, 0.33]
    >>> ds = xr.Dataset({"order_parameter": (("T", "x"), np.ones((7, 2))),
    ...                  "boundary": ("x", [np.nan, 0.68]), "boundary_se": ("x", [np.nan, 0.01])},
    ...                 {"T": T, "x": x})
    >>> [part.label for part in phase_diagram_map(ds) if part.label]
    ['boundary']
    """
    order = _order_of(diagram)
    if order is None or "boundary" not in diagram:
        raise RequestError(
            "no phase diagram",
            came=listed(diagram.data_vars),
            allowed="boundary, and order_parameter or magnetization_abs",
            hint='phase_diagram(open_sweep("runs/alloy.zarr"))',
        )
    across = next((name for name in ACROSS if name in diagram["boundary"].dims), None)
    return _curve(diagram, order) if across is None else _map(diagram, order, across)


def _order_of(diagram: xr.Dataset) -> str | None:
    """What order is drawn by: of a ferromagnet the magnetization, else the strongest wave."""
    methods = diagram.get("boundary_method", xr.DataArray("")).values.ravel()
    ferromagnet = any(str(method) in BY_MAGNETIZATION for method in methods)
    return next((n for n in (ORDER[::-1] if ferromagnet else ORDER) if n in diagram), None)


def _map(diagram: xr.Dataset, order: str, across: str) -> Picture:
    table = in_order(_order(diagram, order).to_dataset(), [across, "T"])
    axes = [_dimension(table[name]) for name in (across, "T")]
    columns = (*(table[str(axis.name)].values for axis in axes), table[order].values)
    mesh = hv.QuadMesh(columns, axes, _dimension(table[order]))
    look = {
        "cmap": "viridis",
        "colorbar": True,
        "clabel": str(mesh.vdims[0].label),
        "fontsize": FONTS,
    }
    seen = dressed(
        mesh,
        {**look, "bgcolor": MISSING},
        {"tools": ["hover"], "hooks": [close_seams], "colorbar_opts": UPRIGHT},
        {"aspect": ASPECT},
    )
    line = diagram.sortby(across)
    parts = [seen, *_ridges(line, axes, across), *_boundary(line, axes, across)]
    return _framed([*parts, *_place(diagram, axes)], diagram)


def _order(diagram: xr.Dataset, order: str) -> xr.DataArray:
    """The order parameter, of the strongest wave."""
    values = diagram[order]
    if "peak" not in values.dims:
        return values
    told = {"long_name": "order parameter √(S(k)/N)", "units": "1"}
    return values.isel(peak=0).assign_attrs(told)


def _boundary(line: xr.Dataset, axes: list[Any], across: str) -> list[Picture]:
    x, T = line[across].values, line["boundary"].values
    noise, spread = (_error(line, f"boundary_{part}") for part in ("se", "parameter_se"))
    whole = np.hypot(noise, spread)
    band = hv.Spread((x, T, spread), axes[0], [axes[1], "spread"])
    curve = hv.Curve((x, T), axes[0], axes[1], label="boundary")
    bars = hv.Segments((x, T - whole, x, T + whole), [*axes, "to x", "to T"])
    dots = hv.Points((x, T), axes)
    pale = dressed(
        band, {"color": MARK, "alpha": 0.35}, {"line_alpha": 0}, {"facecolor": MARK, "linewidth": 0}
    )
    there = np.isfinite(T)
    return [
        *([pale] if np.any(spread[there] > 0) else []),
        dressed(curve, {"color": MARK}, {"line_width": 2}, {"linewidth": 2}),
        dressed(bars, {"color": MARK}, {"line_width": 2}, {"linewidth": 2}),
        dressed(dots, {"color": MARK}, {"size": 7, "line_color": "white"}, {"s": 36}),
    ]


def _ridges(line: xr.Dataset, axes: list[Any], across: str) -> list[Picture]:
    parts = []
    for name, (label, colour) in RIDGES.items():
        if f"{name}_ridge" in line and line[f"{name}_ridge"].notnull().any():
            columns = (line[across].values, line[f"{name}_ridge"].values)
            curve = hv.Curve(columns, axes[0], axes[1], label=label)
            bokeh, matplotlib = {"line_dash": "dashed"}, {"linestyle": "dashed"}
            parts.append(dressed(curve, {"color": colour}, bokeh, matplotlib))
    return parts


def _place(diagram: xr.Dataset, axes: list[Any]) -> list[Picture]:
    """Where ``at`` put the sample, if it did on both axes."""
    names = [f"place_{axis.name}" for axis in axes]
    if not all(name in diagram for name in names):
        return []
    (x, x_se), (T, T_se) = ((float(diagram[n]), float(diagram[f"{n}_se"])) for n in names)
    x_se, T_se = np.nan_to_num([x_se, T_se])
    ends = [(x - x_se, T, x + x_se, T), (x, T - T_se, x, T + T_se)]
    cross = hv.Segments(ends, [*axes, "to x", "to T"])
    return [dressed(cross, {"color": "white"}, {"line_width": 3}, {"linewidth": 3})]


def _curve(diagram: xr.Dataset, order: str) -> Picture:
    table = diagram.sortby("T")
    T, values = table["T"].values, _order(table, order).values
    noise = _order(table, f"{order}_se").values if f"{order}_se" in table else 0 * values
    axes = [_dimension(table["T"]), _dimension(_order(table, order))]
    whole = np.hypot(*(_error(diagram, f"boundary_{part}") for part in ("se", "parameter_se")))
    middle, error = float(diagram["boundary"]), float(whole)
    bars = hv.Segments((T, values - noise, T, values + noise), [*axes, "to T", "to order"])
    parts = [dressed(hv.Curve((T, values), *axes), {"color": IMAGES[0]})]
    parts.append(dressed(bars, {"color": IMAGES[0]}))
    parts.append(dressed(hv.Scatter((T, values), *axes), {"color": IMAGES[0]}, {"size": 6}))
    if np.isfinite(middle):
        box = [(middle - error, 0.0, middle + error, float(np.nanmax(values)))]
        span = hv.Rectangles(box, [*axes, "to T", "to order"])
        filled = {"line_alpha": 0, "fill_color": MARK}, {"facecolor": MARK, "linewidth": 0}
        parts += [dressed(span, {"alpha": 0.35}, *filled)]
        parts += [dressed(hv.VLine(middle, label="boundary"), {"color": MARK})]
    return _framed(parts, diagram)


def _error(diagram: xr.Dataset, name: str) -> Floats:
    """An error, 0 where it is not known."""
    found = diagram[name].values if name in diagram else np.zeros(diagram["boundary"].shape)
    known: Floats = np.nan_to_num(np.asarray(found, float))
    return known


def _framed(parts: list[Picture], diagram: xr.Dataset) -> Picture:
    at = [f"{n[3:]} = {v:.3g}" for n, v in diagram.attrs.items() if n.startswith("at_")]
    size = diagram.attrs.get("lattice_size")
    lattice = f"{diagram.attrs.get('lattice', '')} {f'L = {size}' if size else ''}".strip()
    placed = "place_T" in diagram and any(f"place_{axis}" in diagram for axis in ACROSS)
    cross = "white cross: the sample" if placed else ""
    notes = ", ".join(filter(None, [lattice, *at, cross]))
    labelled = any(getattr(part, "label", "") for part in parts)
    look = {
        "title": f"phase diagram\n{notes}" if notes else "phase diagram",
        "fontsize": FONTS,
        "show_legend": labelled,
    }
    bokeh = {
        "width": 680,
        "height": 600 if labelled else 540,
        "legend_position": "bottom",
        "backend_opts": {f"{axis}axis.axis_label_text_font_style": "normal" for axis in "xy"},
    }
    matplotlib = {
        "fig_inches": (8, 6),
        "legend_position": "bottom",
        "aspect": ASPECT,
        "legend_cols": 2,
    }
    return dressed(hv.Overlay(parts), look, bokeh, matplotlib)


def _dimension(array: xr.DataArray) -> Any:
    units, name = str(array.attrs.get("units", "1")), str(array.name)
    told = str(array.attrs.get("long_name", name))
    label = told if name not in array.dims or told.split()[-1] == name else f"{told} {name}"
    return hv.Dimension((name, label), unit=None if units == "1" else units)
