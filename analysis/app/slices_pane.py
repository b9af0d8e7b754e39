"""``SlicesPane``: a variable through the point, along every axis."""

from collections.abc import Callable
from functools import partial

import numpy as np
import panel as pn

from latticescape.analysis.app.figures import CurveFigure
from latticescape.analysis.app.panes import BOTTOM, SLICES, error_of
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import View, symbol

Tapped = Callable[[str, float], None]


class SlicesPane:
    """The variable through the point, along every axis, with standard errors."""

    def __init__(self, reader: Reader, tapped: Tapped) -> None:
        self.reader = reader
        height = max(BOTTOM // len(reader.axes), BOTTOM // 3)
        self.curves = {
            axis: CurveFigure(height, partial(_along, tapped, axis)) for axis in reader.axes
        }
        many = len(reader.axes) > 2
        for curve in self.curves.values():
            curve.figure.title.text_font_size = "11px"
            curve.figure.yaxis.ticker.desired_num_ticks = 3 if many else 6
            curve.figure.yaxis.minor_tick_line_color = None
        width = SLICES if reader.has_histograms else None
        look = {"width": width} if width else {"sizing_mode": "stretch_width"}
        figures = [
            pn.pane.Bokeh(curve.figure, sizing_mode="stretch_width", min_height=height)
            for curve in self.curves.values()
        ]
        self.layout = pn.Column(*figures, height=BOTTOM, scroll=len(figures) > 3, **look)

    def draw(self, view: View) -> None:
        """Draw the slices of the first map's variable."""
        place = view.at(self.reader)
        for axis, curve in self.curves.items():
            x = self.reader.coordinates(axis)
            order = np.argsort(x, kind="stable")
            values = self.reader.surface(view.variable, (axis,), view.place)[order]
            error = error_of(self.reader, view.variable, (axis,), view)
            others = view.told(self.reader, [a for a in self.reader.axes if a != axis])
            curve.show(
                x[order],
                [(values, None if error is None else error[order])],
                (symbol(self.reader.ds[axis]), ""),
                title=f"{view.variable} at {others}" if others else view.variable,
            )
            curve.stand(place[axis])


def _along(tapped: Tapped, axis: str, x: float, _: float) -> None:
    tapped(axis, x)
