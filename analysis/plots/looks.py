"""Parts that pictures share: options of both renderers, dimensions, titles, marks and frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh
import holoviews.plotting.mpl
import xarray as xr

from latticescape.analysis.plots.labels import MARK, MISSING, WORDS, Species, label_of, unit_of
from latticescape.analysis.plots.values import Estimate

Picture = Any  # HoloViews has no types: an Element, an Overlay or a Layout
Look = Mapping[str, object]

ASPECT = 1.25
FONTS = {"title": 12, "labels": 12, "ticks": 10, "legend": 10, "clabel": 12, "cticks": 10}
BAR = {"title_text_font_style": "normal"}
UPRIGHT = {f"{axis}axis.axis_label_text_font_style": "normal" for axis in "xy"}


def styled(
    part: Picture, look: Look, bokeh: Look | None = None, matplotlib: Look | None = None
) -> Picture:
    """Return the part with its options for both renderers."""
    part = part.opts(backend="bokeh", **look, **(bokeh or {}))
    return part.opts(backend="matplotlib", **look, **(matplotlib or {}))


def dimension(array: xr.DataArray, species: Species | None = None) -> Any:
    """Return the HoloViews dimension of a variable or an axis, with its label and unit."""
    return hv.Dimension((str(array.name), label_of(array, species)), unit=unit_of(array))


def dimensions(table: xr.Dataset, names: Sequence[str], species: Species | None) -> list[Any]:
    """Return the dimensions of variables and axes."""
    return [dimension(table[name], species) for name in names]


def titled(heading: str, *lines: list[str]) -> str:
    """Return a title: a heading, and lines of remarks that are not empty."""
    return "\n".join(filter(None, [heading, *("; ".join(filter(None, line)) for line in lines)]))


def missing_text(values: xr.DataArray) -> str:
    """Return how many points are missing, in words; an empty text if none is."""
    missing = int(values.isnull().sum())
    return f"{missing} of {values.size} points missing (grey)" if missing else ""


def ticks_of(table: xr.Dataset, axes: Sequence[str]) -> Look:
    """Return the words along axes that hold words, as ticks."""
    return {
        f"{side}ticks": list(enumerate(table[axis].attrs[WORDS]))
        for side, axis in zip("xy", axes, strict=False)
        if WORDS in table[axis].attrs
    }


def coloured(mesh: Picture, look: Look) -> Picture:
    """Return a mesh with a colour bar, and grey where values are missing."""
    label = mesh.vdims[0].pprint_label
    look = {"cmap": "viridis", "colorbar": True, "clabel": label, "bgcolor": MISSING, **look}
    hover = {"tools": ["hover"], "hooks": [_close_seams], "colorbar_opts": BAR}
    return styled(mesh, look | {"fontsize": FONTS}, hover, {"aspect": ASPECT})


def _close_seams(plot: Any, _: object) -> None:
    # Between two antialiased cells the background would show as a fine line.
    glyph = plot.handles["glyph"]
    glyph.update(line_color=glyph.fill_color, line_alpha=1)


def sized(plot: Any, _: object) -> None:
    """A HoloViews hook: let Bokeh choose the width around a frame of fixed size."""
    # HoloViews marks frames whose size is set as fixed, for which Bokeh then misses a width.
    plot.state.sizing_mode = None


def minimum_cross(
    table: xr.Dataset, axes: list[str], estimate: Estimate, dims: list[Any]
) -> list[Picture]:
    """Return the minimum as a point, with a bar of one standard error along every parameter.

    ``dims`` are the dimensions of the picture, x and y: two parameters, or one and S².
    """
    minimum = [estimate.fit.parameters[axis] for axis in axes]
    place = [value for value, _ in minimum]
    if len(axes) == 1:
        place.append(estimate.fit.s2_total)
    ends = [[*place, *place] for _ in minimum]
    for side, (axis, (value, error)) in enumerate(zip(axes, minimum, strict=True)):
        # An error that is infinite, where S² is no parabola, is a bar across the range.
        low, high = float(table[axis].min()), float(table[axis].max())
        ends[side][side::2] = [max(low, value - error), min(high, value + error)]
    return [error_bars(ends, dims, MARK, 3), marks([place], dims, "minimum")]


def error_bars(ends: Any, dims: list[Any], colour: str, width: float) -> Picture:
    """Return bars from (x, y) to (x, y), the four columns of ``ends``."""
    bars = hv.Segments(ends, [*dims, "to x", "to y"])
    return styled(bars, {"color": colour}, {"line_width": width}, {"linewidth": width})


def marks(points: Any, dims: list[Any], name: str) -> Picture:
    """Return orange dots."""
    bokeh, matplotlib = {"size": 6, "line_color": "white"}, {"s": 28, "edgecolors": "white"}
    return styled(hv.Points(points, dims, label=name), {"color": MARK}, bokeh, matplotlib)


def framed(parts: list[Picture], title: str, more: Look | None = None) -> Picture:
    """Return parts on top of each other in a frame."""
    look = {"title": title, "fontsize": FONTS, "show_legend": False, **(more or {})}
    legend = look["show_legend"]
    bokeh = {
        "width": 760 if legend else 620,
        "height": 480,
        "legend_opts": {"location": "top"},
        "backend_opts": UPRIGHT,
    }
    aspect = ASPECT if isinstance(parts[0], (hv.Image, hv.QuadMesh, hv.Points)) else "auto"
    inches = {"fig_inches": (7, 5.5), "aspect": aspect}
    return styled(hv.Overlay(parts), look, bokeh, inches)
