"""``MapPane``: a variable over the axes of the map."""

from typing import Any

import numpy as np
import panel as pn
from bokeh.models import Span

from latticescape.analysis.app.figures import CurveFigure, MapFigure, Tapped
from latticescape.analysis.app.panes import TOP, error_of
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import NOTHING, View, label


class MapPane:
    """One variable over the axes of the map: colours over two of them, a curve over one."""

    def __init__(self, reader: Reader, spans: tuple[Span, Span], tapped: Tapped) -> None:
        self.reader, self.two = reader, len(reader.axes) > 1
        self.map = MapFigure(TOP, spans, tapped) if self.two else None
        self.curve = None if self.two else CurveFigure(TOP, tapped)
        drawn = self.map or self.curve
        assert drawn is not None
        self.layout = pn.pane.Bokeh(drawn.figure, sizing_mode="stretch_width", min_height=TOP)

    def draw(self, view: View, name: str) -> None:
        """Draw a variable anew."""
        self.layout.visible = name != NOTHING
        if not self.layout.visible:
            return
        axes, reader = view.map_axes, self.reader
        orders = [np.argsort(reader.coordinates(axis), kind="stable") for axis in axes]
        sorted_ = [
            reader.coordinates(axis)[order] for axis, order in zip(axes, orders, strict=True)
        ]
        values = reader.surface(name, axes, view.place)[np.ix_(*orders)]
        title = self._title(view, name, values)
        labels = [label(reader, axis) for axis in axes]
        if self.map is not None:
            self.map.show(
                values,
                (sorted_[1], sorted_[0]),
                (labels[1], labels[0], label(reader, name)),
                title=title,
                log=view.log,
            )
        elif self.curve is not None:
            self._draw_curve(view, name, sorted_[0], orders[0], title)

    def stand(self, view: View) -> None:
        """Mark the point."""
        place = view.at(self.reader)
        if self.map is not None:
            self.map.mark(self.map.here, np.array([[place[view.x], place[view.y]]]))
        elif self.curve is not None:
            self.curve.stand(place[view.x])

    def _draw_curve(self, view: View, name: str, x: Any, order: Any, title: str) -> None:
        values = self.reader.surface(name, (view.x,), view.place)[order]
        error = error_of(self.reader, name, (view.x,), view)
        if view.log:
            values = np.where(values > 0, values, np.nan)
        assert self.curve is not None
        told = label(self.reader, view.x), label(self.reader, name)
        self.curve.show(x, [(values, None if error is None else error[order])], told, title=title)

    def _title(self, view: View, name: str, values: Any) -> str:
        dims = [a for a in self.reader.axes if a not in view.map_axes]
        notes = [view.told(self.reader, [*dims, *self.reader.within(name)])]
        missing = int(np.isnan(values).sum())
        notes.append(f"{missing} of {values.size} points missing (grey)" if missing else "")
        return "\n".join(filter(None, [label(self.reader, name), "; ".join(filter(None, notes))]))
