"""Pictures of points on no grid: dots over two parameters, or over all pairs of several."""

from html import escape
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from latticescape.analysis.plots.labels import MARK, Species, label_of, symbol_of, unit_of
from latticescape.analysis.plots.looks import (
    ASPECT,
    BAR,
    FONTS,
    UPRIGHT,
    Picture,
    dimension,
    dimensions,
    minimum_cross,
    sized,
    styled,
    ticks_of,
)
from latticescape.analysis.plots.values import POINT, Estimate, Surface

DOTS: dict[str, Any] = {"cmap": "viridis", "fontsize": FONTS}

# The side of a panel of a corner, in pixels and in inches.
SIDE, INCHES = 190, 2.9


def point_parts(
    points: xr.Dataset,
    axes: list[str],
    surface: Surface | None,
    *,
    log: bool = False,
    species: Species | None = None,
) -> list[Picture]:
    """Return the parts of a picture of points over two parameters: surface, rings and dots.

    Rings are points that are not computed.

    Parameters
    ----------
    points
        A variable over ``point``, NaN where not computed, with the parameters as coordinates.
    axes
        The parameters along x and y.
    surface
        Values between the points, or None.
    log
        Logarithmic colours.
    species
        Names of species 0 and 1.
    """
    name = next(iter(points.data_vars))
    values = points[name]
    known = values.notnull().to_numpy()
    dims, value = dimensions(points, axes, species), dimension(values, species)
    shown = [values.to_numpy()[known], *([] if surface is None else [surface.values.ravel()])]
    seen = np.concatenate(shown)
    limits = (float(np.nanmin(seen)), float(np.nanmax(seen)))
    look: dict[str, Any] = {
        "logz": log,
        "colorbar": True,
        "clabel": value.pprint_label,
        "clim": limits,
    }
    parts = []
    if surface is not None:
        image = hv.Image((surface.x, surface.y, surface.values), dims, value, rtol=1e-3)
        parts.append(styled(image, look | DOTS, {"colorbar_opts": BAR}, {"aspect": ASPECT}))
        look["colorbar"] = False
    if not known.all():
        columns = [points[axis].to_numpy()[~known] for axis in axes]
        rings = hv.Points(tuple(columns), dims, label="missing")
        looks = {"fill_alpha": 0, "line_color": "#777777", "size": 5}
        rings = styled(rings, {}, looks, {"facecolors": "none", "edgecolors": "#777777", "s": 16})
        parts.append(rings)
    chosen = points.isel({POINT: np.flatnonzero(known)})
    columns = [chosen[str(n)].to_numpy() for n in (*axes, *chosen.data_vars)]
    dots = hv.Points(
        tuple(columns), dims, dimensions(chosen, [*map(str, chosen.data_vars)], species)
    )
    edges: dict[str, Any] = {
        "line_color": "white",
        "line_width": 0.5,
        "size": 8,
        "tools": ["hover"],
    }
    edges["colorbar_opts"] = BAR
    dots = styled(
        dots,
        look | DOTS | {"color": name, "padding": 0.05},
        edges,
        {"edgecolors": "white", "linewidth": 0.5, "s": 40},
    )
    return [*parts, dots]


def corner(
    points: xr.Dataset,
    axes: list[str],
    title: str,
    *,
    estimate: Estimate | None = None,
    log: bool = False,
    species: Species | None = None,
) -> Picture:
    """Draw points over all pairs of their parameters, and their values over each parameter.

    Parameters
    ----------
    points
        A variable over ``point`` with the parameters as coordinates.
    axes
        The parameters.
    title
        Title of the picture.
    estimate
        The fit of a landscape; the lowest points are then drawn on top of the others.
    log
        Logarithmic colours and values.
    species
        Names of species 0 and 1.
    """
    name = str(next(iter(points.data_vars)))
    points = points.isel({POINT: np.flatnonzero(points[name].notnull())})
    order = np.argsort(-points[name].to_numpy() if estimate else 0 * points[name].to_numpy())
    points = points.isel({POINT: order})
    panels: list[Picture] = []
    for row, y in enumerate(axes):
        for column, x in enumerate(axes):
            if column > row:
                panels.append(hv.Empty())
                continue
            upward = points[name] if x == y else points[y]
            dims = [_short(points[x]), _short(upward)]
            value = hv.Dimension(("value", label_of(points[name], species)))
            dots = hv.Points((points[x], upward, points[name]), dims, [value])
            look = {"color": "value", "logz": log, "padding": 0.08}
            hover = {"size": 5, "tools": ["hover"]}
            parts = [styled(dots, DOTS | look, hover, {"s": 14})]
            if estimate is not None and x == y:
                line = hv.VLine(estimate.fit.parameters[x][0])
                parts.append(styled(line, {"color": MARK}, {"line_width": 2}, {"linewidth": 2}))
            elif estimate is not None:
                parts += minimum_cross(points, [x, y], estimate, dims)
            frame: dict[str, Any] = {"show_legend": False, "fontsize": FONTS}
            frame |= {"xticks": 4, **ticks_of(points, [x] if x == y else [x, y])}
            if x == y and log:
                low, high = float(upward.min()), float(upward.max())
                frame |= {"logy": True, "ylim": (0.8 * low, 1.25 * high)}
            size = {
                "frame_width": SIDE,
                "frame_height": SIDE,
                "backend_opts": UPRIGHT,
                "hooks": [sized],
            }
            panels.append(styled(hv.Overlay(parts), frame, size, {"aspect": "auto"}))
    layout = hv.Layout(panels).cols(len(axes))
    inches = {"fig_inches": (INCHES * len(axes),) * 2, "sublabel_format": "", "vspace": 0.35}
    # Bokeh shows the title of several panels as HTML, and a store may come from a stranger.
    text = escape(title).replace("\n", "<br>")
    bokeh = {"shared_axes": False, "title": text}
    return styled(layout, {}, bokeh, {**inches, "hspace": 0.55, "title": title})


def _short(array: xr.DataArray) -> Any:
    """Return a dimension with a symbol in place of its long name."""
    symbol = "S²" if array.name == "s2" else symbol_of(str(array.name))
    return hv.Dimension((str(array.name), symbol), unit=unit_of(array))
