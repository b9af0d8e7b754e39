"""Panes of the sweep's variables: maps, slices through the point, and the progress of the run."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import Span

from latticescape.analysis.app.figures import CurveFigure, MapFigure, Tapped
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import NOTHING, View, symbol
from latticescape.analysis.plots.labels import SIMULATED, symbol_of

TOP, BOTTOM, SLICES = 405, 375, 360

PROGRESS = 160
BAR = "display:inline-block; height:10px; background:#2C4A7C"
FRAME = f"display:inline-block; height:10px; line-height:0; background:{SIMULATED}"


def note(text: str, height: int) -> Any:
    """Return a short text in place of a figure."""
    return pn.pane.Markdown(
        text, min_height=height, sizing_mode="stretch_width", styles={"color": "#555"}
    )


def nearest_point(reader: Reader, axes: Sequence[str], places: Sequence[float]) -> dict[str, int]:
    """Return the index along each axis nearest to where a figure was tapped."""
    return {
        axis: int(np.argmin(np.abs(reader.coordinates(axis) - value)))
        for axis, value in zip(axes, places, strict=False)
        if axis
    }


def curve_through(
    reader: Reader, name: str, axis: str, view: View
) -> tuple[Any, tuple[Any, Any | None]]:
    """Return an axis in ascending order, and a variable along it with its standard errors."""
    x = reader.coordinates(axis)
    order = np.argsort(x, kind="stable")
    values = reader.surface(name, (axis,), view.place)[order]
    error = f"{name}_se"
    errors = reader.surface(error, (axis,), view.place)[order] if error in reader.ds else None
    return x[order], (values, errors)


class MapPane:
    """One variable over the axes of the map: a colour map over two axes, a curve over one."""

    def __init__(self, reader: Reader, spans: tuple[Span, Span], tapped: Tapped) -> None:
        self.reader, two = reader, len(reader.axes) > 1
        self.map = MapFigure(TOP, spans, tapped) if two else None
        self.curve = None if two else CurveFigure(TOP, tapped)
        shown = self.map or self.curve
        assert shown is not None
        self.layout = pn.pane.Bokeh(shown.figure, sizing_mode="stretch_width", min_height=TOP)

    def draw(self, view: View, name: str) -> None:
        """Draw a variable."""
        self.layout.visible = name != NOTHING
        if not self.layout.visible:
            return
        axes, reader = view.map_axes, self.reader
        labels = [view.label(reader, axis) for axis in axes]
        values = reader.surface(name, axes, view.place)
        fixed = [a for a in reader.axes if a not in axes]
        missing = int(np.isnan(values).sum())
        notes = [
            view.words(reader, [*fixed, *reader.within(name)]),
            f"{missing} of {values.size} points missing (grey)" if missing else "",
        ]
        notes = ["; ".join(filter(None, notes))]
        title = "\n".join(filter(None, [view.label(reader, name), *notes]))
        if self.map is not None:
            orders = [np.argsort(reader.coordinates(axis), kind="stable") for axis in axes]
            y, x = (reader.coordinates(a)[o] for a, o in zip(axes, orders, strict=True))
            self.map.show(
                values[np.ix_(*orders)],
                (x, y),
                (labels[1], labels[0], view.label(reader, name)),
                title=title,
                log=view.log,
            )
        elif self.curve is not None:
            x, (heights, errors) = curve_through(reader, name, view.x, view)
            if view.log:
                heights = np.where(heights > 0, heights, np.nan)
            words = view.label(reader, view.x), view.label(reader, name)
            self.curve.show(x, [(heights, errors)], words, title=title)

    def mark_point(self, view: View) -> None:
        """Mark the point."""
        place = view.at(self.reader)
        if self.map is not None:
            self.map.mark(self.map.here, np.array([[place[view.x], place[view.y]]]))
        elif self.curve is not None:
            self.curve.mark_point(place[view.x])


class SlicesPane:
    """The first map's variable through the point along every axis, with standard errors."""

    def __init__(self, reader: Reader, tapped: Callable[[str, float], None]) -> None:
        self.reader = reader
        height = max(BOTTOM // len(reader.axes), BOTTOM // 3)

        def along(axis: str, x: float, _: float) -> None:
            tapped(axis, x)

        self.curves = {axis: CurveFigure(height, partial(along, axis)) for axis in reader.axes}
        for curve in self.curves.values():
            curve.figure.title.text_font_size = "11px"
            curve.figure.yaxis.ticker.desired_num_ticks = 3 if len(reader.axes) > 2 else 6
            curve.figure.yaxis.minor_tick_line_color = None
        look = {"width": SLICES} if reader.has_histograms else {"sizing_mode": "stretch_width"}
        figures = [
            pn.pane.Bokeh(curve.figure, sizing_mode="stretch_width", min_height=height)
            for curve in self.curves.values()
        ]
        self.layout = pn.Column(*figures, height=BOTTOM, scroll=len(figures) > 3, **look)

    def draw(self, view: View) -> None:
        """Draw the slices."""
        place = view.at(self.reader)
        for axis, curve in self.curves.items():
            x, values = curve_through(self.reader, view.variable, axis, view)
            others = view.words(self.reader, [a for a in self.reader.axes if a != axis])
            labels = (symbol(self.reader.ds[axis]), "")
            title = f"{view.variable} along {symbol_of(axis)}" + (f" at {others}" if others else "")
            curve.show(x, [values], labels, title=title)
            curve.mark_point(place[axis])


class ProgressPane:
    """The numbers of points done and failed, and the rate since the page was opened."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.layout = pn.pane.HTML("", sizing_mode="stretch_width")
        self._began = (time.monotonic(), int(reader.done.sum()))

    def draw(self) -> None:
        """Update the numbers."""
        counts = self.reader.counts()
        points, done, failed = counts["points"], counts["done"], counts["failed"]
        share = done / points
        words = f"{done:,} of {points:,} points done ({int(100 * share)} %)"
        words += f", {failed:,} failed" if failed else ""
        began, before = self._began
        if done not in (points, before):
            rate = (done - before) / max(time.monotonic() - began, 1e-3)
            words += f", {rate:.3g} per second, {(points - done) / rate:.0f} s left"
        bar = f"<span style='{BAR}; width:{PROGRESS * share:.0f}px'></span>"
        frame = f"<span style='{FRAME}; width:{PROGRESS}px'>{bar}</span>"
        self.layout.object = f"{frame} &nbsp; {words}"
