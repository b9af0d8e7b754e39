"""Pictures of phase diagrams: order over temperature and field or composition, with boundaries."""

from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.analysis.phases.diagram import CROSSING, RIDGE
from latticescape.analysis.plots.labels import (
    IMAGES,
    MARK,
    number_text,
    species_of,
    symbol_of,
)
from latticescape.analysis.plots.looks import (
    ASPECT,
    FONTS,
    UPRIGHT,
    Picture,
    coloured,
    dimension,
    styled,
)
from latticescape.analysis.plots.values import in_order
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

ORDER = ("order_parameter", "magnetization_abs")
RIDGES = {
    "heat_capacity": ("ridge of the heat capacity", IMAGES[4]),
    "susceptibility_abs": ("ridge of the susceptibility", IMAGES[3]),
}


def phase_diagram_map(diagram: xr.Dataset) -> Picture:
    """Draw a phase diagram: the order parameter in colours, T upwards, H or x across.

    The orange line is the boundary, with bars of one total standard error (Monte Carlo and fit);
    the pale band shows only the fit's part. Dashed lines are the ridges of the heat capacity (blue)
    and of the susceptibility (pink): a crossover, without order below them. Points that are not
    computed are grey; a white cross marks the values that ``at`` gave for the diagram's axes.
    Without an axis across, the order parameter is shown against the temperature, and the boundary
    as a band.

    Parameters
    ----------
    diagram
        The result of :func:`latticescape.phase_diagram`.

    Raises
    ------
    RequestError
        If it is not a phase diagram.

    Examples
    --------
    >>> T, x = np.linspace(0.4, 1.0, 7), [0.25, 0.33]
    >>> ds = xr.Dataset({"order_parameter": (("T", "x"), np.ones((7, 2))),
    ...                  "boundary": ("x", [np.nan, 0.68]), "boundary_se": ("x", [np.nan, 0.01])},
    ...                 {"T": T, "x": x})
    >>> [part.label for part in phase_diagram_map(ds) if part.label]
    ['boundary']
    """
    # The order of a ferromagnet is its magnetization, else the strongest wave's.
    methods = {str(m) for m in diagram.get("boundary_method", xr.DataArray("")).values.ravel()}
    names = ORDER[::-1] if methods & {CROSSING, RIDGE} else ORDER
    order = next((name for name in names if name in diagram), None)
    if order is None or "boundary" not in diagram:
        came, hint = listed(diagram.data_vars), 'phase_diagram(open_sweep("runs/alloy.zarr"))'
        allowed = "boundary, and order_parameter or magnetization_abs"
        raise RequestError("no phase diagram", came=came, allowed=allowed, hint=hint)
    across = next(map(str, diagram["boundary"].dims), None)
    if across is None:
        return _framed(_profile(diagram, order), diagram, [])
    table = in_order(_strongest(diagram, order).to_dataset(), [across, "T"])
    axes = [dimension(table[name], species_of(diagram)) for name in (across, "T")]
    columns = (*(table[str(axis.name)].values for axis in axes), table[order].values)
    mesh = hv.QuadMesh(columns, axes, dimension(table[order]))
    line = diagram.sortby(across)
    marks, notes = _marked(diagram, axes)
    parts = [coloured(mesh, {})]
    for name, (label, colour) in RIDGES.items():
        if f"{name}_ridge" in line and line[f"{name}_ridge"].notnull().any():
            columns = (line[across].values, line[f"{name}_ridge"].values)
            curve = hv.Curve(columns, axes[0], axes[1], label=label)
            bokeh, matplotlib = {"line_dash": "dashed"}, {"linestyle": "dashed"}
            parts.append(styled(curve, {"color": colour}, bokeh, matplotlib))
    return _framed([*parts, *_boundary(line, axes, across), *marks], diagram, notes)


def _strongest(diagram: xr.Dataset, order: str) -> xr.DataArray:
    """Return the order parameter, that of the strongest wave."""
    values = diagram[order]
    if "peak" not in values.dims:
        return values
    attrs = {"long_name": "order parameter √(S(k)/N)", "units": "1"}
    return values.isel(peak=0).assign_attrs(attrs)


def _boundary(line: xr.Dataset, axes: list[Any], across: str) -> list[Picture]:
    x, T = line[across].values, line["boundary"].values
    total, spread = _errors(line)
    band = hv.Spread((x, T, spread), axes[0], [axes[1], "spread"])
    curve = hv.Curve((x, T), axes[0], axes[1], label="boundary")
    bars = hv.Segments((x, T - total, x, T + total), [*axes, "to x", "to T"])
    dots = hv.Points((x, T), axes)
    pale = styled(
        band, {"color": MARK, "alpha": 0.35}, {"line_alpha": 0}, {"facecolor": MARK, "linewidth": 0}
    )
    return [
        *([pale] if np.any(spread[np.isfinite(T)] > 0) else []),
        styled(curve, {"color": MARK}, {"line_width": 2}, {"linewidth": 2}),
        styled(bars, {"color": MARK}, {"line_width": 2}, {"linewidth": 2}),
        styled(dots, {"color": MARK}, {"size": 7, "line_color": "white"}, {"s": 36}),
    ]


def _marked(diagram: xr.Dataset, axes: list[Any]) -> tuple[list[Picture], list[str]]:
    """Return the place that ``at`` gave on both axes as a cross, and its explanation."""
    names = [f"place_{axis.name}" for axis in axes]
    if not all(name in diagram for name in names):
        return [], []
    (x, x_se), (T, T_se) = ((float(diagram[n]), float(diagram[f"{n}_se"])) for n in names)
    x_se, T_se = np.nan_to_num([x_se, T_se])
    ends = [(x - x_se, T, x + x_se, T), (x, T - T_se, x, T + T_se)]
    cross = hv.Segments(ends, [*axes, "to x", "to T"])
    marks = [styled(cross, {"color": "white"}, {"line_width": 3}, {"linewidth": 3})]
    return marks, ["white cross: the sample"]


def _profile(diagram: xr.Dataset, order: str) -> list[Picture]:
    """Return the order parameter against the temperature, with the boundary as a band."""
    table = diagram.sortby("T")
    T, values = table["T"].values, _strongest(table, order).values
    noise = _strongest(table, f"{order}_se").values if f"{order}_se" in table else 0 * values
    axes = [dimension(table["T"]), dimension(_strongest(table, order))]
    middle, error = float(diagram["boundary"]), float(_errors(diagram)[0])
    bars = hv.Segments((T, values - noise, T, values + noise), [*axes, "to T", "to order"])
    parts = [styled(hv.Curve((T, values), *axes), {"color": IMAGES[0]})]
    parts.append(styled(bars, {"color": IMAGES[0]}))
    parts.append(styled(hv.Scatter((T, values), *axes), {"color": IMAGES[0]}, {"size": 6}))
    if np.isfinite(middle):
        box = [(middle - error, 0.0, middle + error, float(np.nanmax(values)))]
        span = hv.Rectangles(box, [*axes, "to T", "to order"])
        filled = {"line_alpha": 0, "fill_color": MARK}, {"facecolor": MARK, "linewidth": 0}
        parts += [styled(span, {"alpha": 0.35}, *filled)]
        parts += [styled(hv.VLine(middle, label="boundary"), {"color": MARK})]
    return parts


def _errors(diagram: xr.Dataset) -> tuple[Floats, Floats]:
    """Return the boundary's total standard error and the fit's part of it, 0 where unknown."""
    zero = xr.zeros_like(diagram["boundary"])
    noise, spread = (
        np.nan_to_num(np.asarray(diagram.get(f"boundary_{part}", zero).values, float))
        for part in ("se", "parameter_se")
    )
    return np.hypot(noise, spread), spread


def _framed(parts: list[Picture], diagram: xr.Dataset, notes: list[str]) -> Picture:
    size = diagram.attrs.get("lattice_size")
    lattice = [f"{diagram.attrs.get('lattice', '')} {f'L = {size}' if size else ''}".strip()]
    at = [
        f"{symbol_of(name[3:])} = {number_text(value, digits=3)}"
        for name, value in diagram.attrs.items()
        if name.startswith("at_")
    ]
    words = ", ".join(filter(None, [*lattice, *at, *notes]))
    labelled = any(getattr(part, "label", "") for part in parts)
    look = {
        "title": f"Phase diagram\n{words}" if words else "Phase diagram",
        "fontsize": FONTS,
        "show_legend": labelled,
        "legend_position": "bottom",
    }
    bokeh = {"width": 680, "height": 600 if labelled else 540, "backend_opts": UPRIGHT}
    matplotlib = {"fig_inches": (8, 6), "aspect": ASPECT, "legend_cols": 2}
    return styled(hv.Overlay(parts), look, bokeh, matplotlib)
