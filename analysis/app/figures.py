"""Figures that are drawn once, and then only told other numbers: a map, and curves with errors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.events import RangesUpdate, Reset, Tap
from bokeh.models import (
    BoxAnnotation,
    ColorBar,
    ColumnDataSource,
    CrosshairTool,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    Range1d,
    Span,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from latticescape.analysis.app.pixels import MOST, Pixels, Window, edges_of, pixels
from latticescape.analysis.plots.maps import IMAGES, MARK, MISSING

Floats = npt.NDArray[Any]
Tapped = Callable[[float, float], None]

# More points than this are a line to the eye, and slow to draw.
MOST_DOTS = 200

TOOLS = "pan,wheel_zoom,box_zoom,reset,save"


def cross_hair() -> tuple[Span, Span]:
    """Lines under the pointer, to be shared by all maps over the same axes."""
    looks = {"line_color": "#444444", "line_dash": "dotted", "line_width": 1}
    return Span(dimension="width", **looks), Span(dimension="height", **looks)


def blank(height: int, **looks: Any) -> Any:
    """An empty figure with this page's looks."""
    size = {"sizing_mode": "stretch_width"} if "width" not in looks else {}
    drawn = figure(height=height, tools=TOOLS, **size, **looks)
    drawn.toolbar.autohide = True
    drawn.toolbar.logo = None
    drawn.title.text_font_size = "12px"
    drawn.title.text_font_style = "bold"
    for axis in drawn.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "12px"
        axis.major_label_text_font_size = "11px"
    return drawn


def bars(drawn: Any, source: ColumnDataSource, colour: str, base: Any = "x") -> None:
    """Error bars from ``low`` to ``high``; Bokeh's Whisker takes seconds for a thousand."""
    drawn.segment(base, "low", base, "high", source=source, color=colour, line_width=1.5)


class MapFigure:
    """Colours over two axes, with contours, marks and a cross hair.

    Parameters
    ----------
    height
        Of the figure, in pixels.
    spans
        A cross hair.
    tapped
        Called with the place that was tapped.
    bar
        Whether there is a bar of colours.
    """

    def __init__(
        self, height: int, spans: tuple[Span, Span], tapped: Tapped, *, bar: bool = True
    ) -> None:
        self.figure = blank(height, x_range=Range1d(0, 1), y_range=Range1d(0, 1))
        self.figure.background_fill_color = MISSING
        self.figure.grid.visible = False
        look = {"palette": Viridis256, "nan_color": MISSING}
        self._mappers = {False: LinearColorMapper(**look), True: LogColorMapper(**look)}
        self.image = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._glyph = self.figure.image(
            image="image", x="x", y="y", dw="dw", dh="dh", source=self.image,
            color_mapper=self._mappers[False],
        )  # fmt: skip
        self._bar = ColorBar(color_mapper=self._mappers[False], width=12, padding=6)
        self._bar.major_label_text_font_size = "11px"
        if bar:
            self.figure.add_layout(self._bar, "right")
        self._lines = {dash: self._contour(dash) for dash in ("solid", "dashed")}
        self.samples = self._marks(color="white", size=2.5, alpha=0.45)
        self.best = self._marks(color=MARK, size=13, marker="cross", line_width=3)
        self.here = self._marks(
            size=13, fill_alpha=0, line_color=MARK, line_width=2.5, marker="circle"
        )
        self.figure.add_tools(CrosshairTool(overlay=list(spans)))
        self._hover = HoverTool(renderers=[self._glyph], point_policy="follow_mouse")
        self.figure.add_tools(self._hover)
        self.figure.on_event(Tap, lambda event: tapped(event.x, event.y))
        self.figure.on_event(RangesUpdate, self._zoomed)
        self.figure.on_event(Reset, lambda _: self._draw((None, None)))
        self._shown: tuple[Floats, Floats, Floats] | None = None

    def show(
        self,
        values: Floats,
        coordinates: tuple[Floats, Floats],
        labels: tuple[str, str, str],
        *,
        title: str,
        log: bool = False,
    ) -> None:
        """Draw other values.

        Parameters
        ----------
        values
            (y, x), NaN where nothing is known.
        coordinates
            Of x and of y, ascending.
        labels
            Of x, of y, and of the values.
        """
        if log:
            values = np.where(values > 0, values, np.nan)
        same = self._shown is not None and all(
            np.array_equal(a, b) for a, b in zip(self._shown[1:], coordinates, strict=True)
        )
        self._shown = (values, *coordinates)
        self._scale(values, log=log)
        if not same:
            self._frame(coordinates)
        self._draw(self._windows() if same else (None, None))
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = labels[:2]
        self.figure.title.text = title
        self._hover.tooltips = [
            (labels[0], "$x{0.0000}"), (labels[1], "$y{0.0000}"), (labels[2], "@image{0.00000}")
        ]  # fmt: skip

    def contour(self, lines: Mapping[str, Sequence[Floats]]) -> None:
        """Draw lines, (n, 2) each, by their dash."""
        for dash, source in self._lines.items():
            found = lines.get(dash, ())
            source.data = {
                "xs": [line[:, 0] for line in found],
                "ys": [line[:, 1] for line in found],
            }

    @staticmethod
    def mark(source: ColumnDataSource, points: Floats) -> None:
        """Put marks at points, (n, 2)."""
        points = np.asarray(points, float).reshape(-1, 2)
        source.data = {"x": points[:, 0], "y": points[:, 1]}

    def _marks(self, **looks: Any) -> ColumnDataSource:
        source = ColumnDataSource({"x": [], "y": []})
        self.figure.scatter("x", "y", source=source, **looks)
        return source

    def _contour(self, dash: str) -> ColumnDataSource:
        source = ColumnDataSource({"xs": [], "ys": []})
        self.figure.multi_line(
            "xs", "ys", source=source, line_color="white", line_width=2, line_dash=dash
        )
        return source

    def _scale(self, values: Floats, *, log: bool) -> None:
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        if low == high:
            low, high = (low / 2, 2 * high) if log else (low - 0.5, high + 0.5)
        mapper = self._mappers[log]
        mapper.update(low=low, high=high)
        if self._glyph.glyph.color_mapper is not mapper:
            self._glyph.glyph.color_mapper = mapper
            self._bar.color_mapper = mapper

    def _frame(self, coordinates: tuple[Floats, Floats]) -> None:
        ranges = (self.figure.x_range, self.figure.y_range)
        for values, range_ in zip(coordinates, ranges, strict=True):
            start, *_, end = edges_of(values).tolist()
            range_.update(start=start, end=end, reset_start=start, reset_end=end)

    def _windows(self) -> tuple[Window, Window]:
        x, y = self.figure.x_range, self.figure.y_range
        return (x.start, x.end), (y.start, y.end)

    def _zoomed(self, event: RangesUpdate) -> None:
        if self._shown is not None and max(self._shown[0].shape) > MOST:
            self._draw(((event.x0, event.x1), (event.y0, event.y1)))

    def _draw(self, windows: tuple[Window | None, Window | None]) -> None:
        if self._shown is None:
            return
        drawn: Pixels = pixels(*self._shown, windows)
        left, bottom, width, height = drawn.box
        self.image.data = {
            "image": [drawn.image], "x": [left], "y": [bottom], "dw": [width], "dh": [height]
        }  # fmt: skip


class CurveFigure:
    """Curves with error bars over one axis, and a line where one stands.

    Parameters
    ----------
    height
        Of the figure, in pixels.
    tapped
        Called with the place that was tapped.
    """

    def __init__(self, height: int, tapped: Tapped) -> None:
        self.figure = blank(height, x_range=Range1d(0, 1), y_range=Range1d(0, 1))
        self._dots: list[Any] = []
        self._curves = [self._curve(colour) for colour in (*IMAGES, "black")]
        self._here = Span(dimension="height", line_color=MARK, line_width=2)
        self.figure.add_layout(self._here)
        self.figure.on_event(Tap, lambda event: tapped(event.x, event.y))

    def shade(self, spans: Sequence[tuple[float, float]]) -> None:
        """Shade spans of the axis, each over those before."""
        for low, high in spans:
            box = BoxAnnotation(left=low, right=high, fill_alpha=0.1, fill_color="black")
            self.figure.add_layout(box)

    def show(
        self,
        x: Floats,
        curves: Sequence[tuple[Floats, Floats | None]],
        labels: tuple[str, str],
        *,
        title: str = "",
    ) -> None:
        """Draw values with their standard errors, or None for these, in the order of colours."""
        for number, source in enumerate(self._curves):
            values, error = curves[number] if number < len(curves) else (x[:0], None)
            spread = np.zeros(len(values)) if error is None else np.nan_to_num(error)
            source.data = {
                "x": x[: len(values)], "y": values, "low": values - spread, "high": values + spread
            }  # fmt: skip
        for dots in self._dots:
            dots.visible = len(x) <= MOST_DOTS
        drawn = [source.data[end] for source in self._curves for end in ("low", "high")]
        for range_, seen in (
            (self.figure.x_range, x),
            (self.figure.y_range, np.concatenate(drawn)),
        ):
            start, end = _reach(np.asarray(seen, float))
            range_.update(start=start, end=end, reset_start=start, reset_end=end)
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = labels
        self.figure.title.text = title

    def stand(self, x: float) -> None:
        """Move the line."""
        self._here.location = x

    def _curve(self, colour: str) -> ColumnDataSource:
        source = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
        self.figure.line("x", "y", source=source, color=colour, line_width=1.5)
        self._dots.append(self.figure.scatter("x", "y", source=source, color=colour, size=4))
        bars(self.figure, source, colour)
        return source


def _reach(seen: Floats) -> tuple[float, float]:
    """From the least to the largest, with a margin."""
    known = seen[np.isfinite(seen)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin
