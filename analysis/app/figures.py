"""Bokeh figures whose data are replaced without drawing them anew: maps, and curves with errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.events import RangesUpdate, Reset, Tap
from bokeh.models import (
    BasicTicker,
    BoxAnnotation,
    ColorBar,
    ColumnDataSource,
    CrosshairTool,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    Range1d,
    Span,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from latticescape.analysis.plots.labels import IMAGES, MARK, MISSING
from latticescape.analysis.plots.values import Surface

Floats = npt.NDArray[Any]
Tapped = Callable[[float, float], None]
Window = tuple[float, float]

# Pixels along an axis of a map at most.
MOST = 512

# Curves with more points than this have no dots: they would merge, and are slow to draw.
MOST_DOTS = 200

TOOLS = "pan,wheel_zoom,box_zoom,reset,save"


def cross_hair() -> tuple[Span, Span]:
    """Return the lines through the pointer, shared by all maps over the same axes."""
    looks = {"line_color": "#444444", "line_dash": "dotted", "line_width": 1}
    return Span(dimension="width", **looks), Span(dimension="height", **looks)


def blank(height: int, **looks: Any) -> Any:
    """Return an empty figure in the page's style."""
    size = {"sizing_mode": "stretch_width"} if "width" not in looks else {}
    empty = figure(height=height, tools=TOOLS, **size, **looks)
    empty.toolbar.autohide = True
    empty.toolbar.logo = None
    empty.title.text_font_size = "12px"
    empty.title.text_font_style = "bold"
    for axis in empty.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "12px"
        axis.major_label_text_font_size = "11px"
    return empty


def label_axis(axis: Any, label: str, words: Sequence[str] = ()) -> None:
    """Set the label of an axis, and the words that its numbers stand for."""
    axis.axis_label = label
    if words:
        axis.ticker = FixedTicker(ticks=list(range(len(words))))
    elif isinstance(axis.ticker, FixedTicker):
        axis.ticker = BasicTicker()
    axis.major_label_overrides = dict(enumerate(words))


def bars(plot: Any, source: ColumnDataSource, colour: str, base: Any = "x") -> None:
    """Add error bars from ``low`` to ``high``; Bokeh's Whisker takes seconds for a thousand."""
    plot.segment(base, "low", base, "high", source=source, color=colour, line_width=1.5)


class MapFigure:
    """A colour map over two axes, with contours, marks and a cross hair.

    Parameters
    ----------
    height
        Height of the figure in pixels.
    spans
        The cross hair.
    tapped
        Called with the coordinates of a tap.
    bar
        Whether there is a colour bar.
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
        self.points = ColumnDataSource({"x": [], "y": [], "value": []})
        self._dots = self.figure.scatter(
            "x", "y", source=self.points, size=9, line_color="white", line_width=1,
            fill_color={"field": "value", "transform": self._mappers[False]},
        )  # fmt: skip
        self.missing = self._marks(size=6, fill_alpha=0, line_color="#777777")
        self._lines: dict[str, ColumnDataSource] = {}
        for dash in ("solid", "dashed"):
            self._lines[dash] = ColumnDataSource({"xs": [], "ys": []})
            self.figure.multi_line(
                "xs", "ys", source=self._lines[dash], line_color="white", line_width=2,
                line_dash=dash,
            )  # fmt: skip
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
        words: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ) -> None:
        """Replace the values.

        Parameters
        ----------
        values
            (y, x), NaN where missing.
        coordinates
            Of x and of y, ascending.
        labels
            Of x, of y, and of the values.
        title
            The figure's title.
        log
            Logarithmic colours; values that are not positive count as missing.
        words
            The words that the numbers of x and of y stand for; empty for numbers.
        """
        if log:
            values = np.where(values > 0, values, np.nan)
        same = self._shown is not None and all(
            np.array_equal(a, b) for a, b in zip(self._shown[1:], coordinates, strict=True)
        )
        self._shown = (values, *coordinates)
        self._scale(values, log=log)
        x, y = self.figure.x_range, self.figure.y_range
        if not same:
            for along, range_ in zip(coordinates, (x, y), strict=True):
                start, *_, end = edges_of(along).tolist()
                range_.update(start=start, end=end, reset_start=start, reset_end=end)
        self._draw(((x.start, x.end), (y.start, y.end)) if same else (None, None))
        self._label(labels, title, words, ("$x", "$y", "@image"))

    def show_points(
        self,
        points: Floats,
        surface: Surface | None,
        labels: tuple[str, str, str],
        *,
        title: str,
        log: bool = False,
        words: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ) -> None:
        """Replace the values by points on no grid, drawn on the surface between them if any.

        Parameters
        ----------
        points
            (n, 3): x, y and value, NaN where missing.
        surface
            Values between the points, or None.
        labels, title, log, words
            As of :meth:`show`.
        """
        x, y, values = points.T
        parts = [values, *([] if surface is None else [surface.values.ravel()])]
        seen = np.concatenate(parts)
        self._scale(seen[seen > 0] if log else seen, log=log)
        known = np.isfinite(values) & ((values > 0) | (not log))
        self.points.data = {"x": x[known], "y": y[known], "value": values[known]}
        self.mark(self.missing, points[~known, :2])
        self.figure.background_fill_color = "white"
        for mapper in self._mappers.values():
            mapper.nan_color = "rgba(255,255,255,0)"
        self._hover.renderers = [self._dots]
        if surface is None:
            self._shown = None
            self.image.data = {"image": [], "x": [], "y": [], "dw": [], "dh": []}
        else:
            self._shown = (surface.values, surface.x, surface.y)
            self._draw((None, None))
        for along, range_ in zip((x, y), (self.figure.x_range, self.figure.y_range), strict=True):
            margin = 0.05 * float(np.ptp(along)) or 0.5
            start, end = float(along.min()) - margin, float(along.max()) + margin
            range_.update(start=start, end=end, reset_start=start, reset_end=end)
        self._label(labels, title, words, ("@x", "@y", "@value"))

    def _label(
        self,
        labels: tuple[str, str, str],
        title: str,
        words: tuple[Sequence[str], Sequence[str]],
        shown: tuple[str, str, str],
    ) -> None:
        for axis, label, named in zip(self.figure.axis, labels[:2], words, strict=True):
            label_axis(axis, label, named)
        self.figure.title.text = title
        formats = ("{0.0000}", "{0.0000}", "{0.00000}")
        self._hover.tooltips = [
            (label, value + digits)
            for label, value, digits in zip(labels, shown, formats, strict=True)
        ]

    def contour(self, lines: Mapping[str, Sequence[Floats]]) -> None:
        """Replace the contour lines, (n, 2) each, by their dash."""
        for dash, source in self._lines.items():
            shown = lines.get(dash, ())
            source.data = {
                "xs": [line[:, 0] for line in shown],
                "ys": [line[:, 1] for line in shown],
            }

    @staticmethod
    def mark(source: ColumnDataSource, points: Floats) -> None:
        """Replace the marks of a source by points, (n, 2)."""
        points = np.asarray(points, float).reshape(-1, 2)
        source.data = {"x": points[:, 0], "y": points[:, 1]}

    def _marks(self, **looks: Any) -> ColumnDataSource:
        source = ColumnDataSource({"x": [], "y": []})
        self.figure.scatter("x", "y", source=source, **looks)
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
            self._dots.glyph.fill_color = {"field": "value", "transform": mapper}
            self._bar.color_mapper = mapper

    def _zoomed(self, event: RangesUpdate) -> None:
        if self._shown is not None and max(self._shown[0].shape) > MOST:
            self._draw(((event.x0, event.x1), (event.y0, event.y1)))

    def _draw(self, windows: tuple[Window | None, Window | None]) -> None:
        if self._shown is None:
            return
        visible: Pixels = pixels(*self._shown, windows)
        left, bottom, width, height = visible.box
        self.image.data = {
            "image": [visible.image], "x": [left], "y": [bottom], "dw": [width], "dh": [height]
        }  # fmt: skip


class CurveFigure:
    """Curves with error bars over one axis, and a line at the current point.

    Parameters
    ----------
    height
        Height of the figure in pixels.
    tapped
        Called with the coordinates of a tap.
    """

    def __init__(self, height: int, tapped: Tapped) -> None:
        self.figure = blank(height, x_range=Range1d(0, 1), y_range=Range1d(0, 1))
        self._dots: list[Any] = []
        self._joins: list[Any] = []
        self._curves: list[ColumnDataSource] = []
        for colour in (*IMAGES, "black"):
            source = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
            self._joins.append(
                self.figure.line("x", "y", source=source, color=colour, line_width=1.5)
            )
            self._dots.append(self.figure.scatter("x", "y", source=source, color=colour, size=4))
            bars(self.figure, source, colour)
            self._curves.append(source)
        self._here = Span(dimension="height", line_color=MARK, line_width=2)
        self.figure.add_layout(self._here)
        self.figure.on_event(Tap, lambda event: tapped(event.x, event.y))

    def shade(self, spans: Sequence[tuple[float, float]]) -> None:
        """Shade spans of the axis, one on top of the other."""
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
        joined: bool = True,
        words: Sequence[str] = (),
    ) -> None:
        """Replace the curves: values with standard errors or None, in the order of colours.

        ``joined`` draws lines through them, unless x holds words.
        """
        for number, source in enumerate(self._curves):
            values, error = curves[number] if number < len(curves) else (x[:0], None)
            spread = np.zeros(len(values)) if error is None else np.nan_to_num(error)
            source.data = {
                "x": x[: len(values)], "y": values, "low": values - spread, "high": values + spread
            }  # fmt: skip
        for dots in self._dots:
            dots.visible = len(x) <= MOST_DOTS or not joined
        for line in self._joins:
            line.visible = joined and not words
        ends = [source.data[end] for source in self._curves for end in ("low", "high")]
        for range_, seen in (
            (self.figure.x_range, x),
            (self.figure.y_range, np.concatenate(ends)),
        ):
            known = np.asarray(seen, float)[np.isfinite(np.asarray(seen, float))]
            low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
            margin = 0.06 * (high - low) or 0.5
            start, end = low - margin, high + margin
            range_.update(start=start, end=end, reset_start=start, reset_end=end)
        label_axis(self.figure.xaxis[0], labels[0], words)
        self.figure.yaxis.axis_label = labels[1]
        self.figure.title.text = title

    def mark_point(self, x: float) -> None:
        """Move the line of the current point."""
        self._here.location = x


@dataclass(frozen=True)
class Pixels:
    """An image, rows upwards, and the box (left, bottom, width, height) that it fills."""

    image: npt.NDArray[np.float32]
    box: tuple[float, float, float, float]


def edges_of(centres: Floats) -> Floats:
    """Return the edges of cells around ascending points, midway between them.

    Examples
    --------
    >>> edges_of(np.array([1.0, 2.0, 4.0])).tolist()
    [0.5, 1.5, 3.0, 5.0]
    """
    if len(centres) == 1:
        return np.array([-0.5, 0.5]) + float(centres[0])
    middle = (centres[1:] + centres[:-1]) / 2
    ends = [2 * centres[0] - middle[0]], [2 * centres[-1] - middle[-1]]
    edges: Floats = np.concatenate([ends[0], middle, ends[1]])
    return edges


def pixels(
    values: Floats,
    x: Floats,
    y: Floats,
    windows: tuple[Window | None, Window | None] = (None, None),
    most: int = MOST,
) -> Pixels:
    """Return the visible part of a surface as an image no finer than a screen.

    If there are more cells than pixels, a pixel is the mean of its computed cells; if the cells
    differ in size, it is the cell that its centre lies in.

    Parameters
    ----------
    values
        (y, x), NaN where missing.
    x, y
        Ascending.
    windows
        The visible ranges of x and y; None for all.
    most
        The largest number of pixels along an axis.

    Examples
    --------
    >>> image = pixels(np.arange(8.0).reshape(2, 4), np.arange(4.0), np.arange(2.0), most=2)
    >>> image.image.tolist(), image.box
    ([[0.5, 2.5], [4.5, 6.5]], (-0.5, -0.5, 4.0, 2.0))
    """
    columns, left, width = _along(x, windows[0], most)
    rows, bottom, height = _along(y, windows[1], most)
    image = _select(_select(values, rows, 0), columns, 1)
    return Pixels(np.ascontiguousarray(image, np.float32), (left, bottom, width, height))


Selection = npt.NDArray[np.intp] | tuple[int, int, int]


def _along(centres: Floats, window: Window | None, most: int) -> tuple[Selection, float, float]:
    """Return the cell of every pixel of an axis, or (first, end, cells per pixel)."""
    edges = edges_of(centres)
    low, high = (edges[0], edges[-1]) if window is None else window
    first = min(max(int(np.searchsorted(edges, low, "right")) - 1, 0), len(centres) - 1)
    end = max(min(int(np.searchsorted(edges, high, "left")), len(centres)), first + 1)
    start, stop = float(edges[first]), float(edges[end])
    steps = np.diff(edges[first : end + 1])
    if np.ptp(steps) <= 1e-6 * steps.mean():
        step = -(-(end - first) // most)
        length = -(-(end - first) // step) * step * float(steps.mean())
        return (first, end, step), start, length
    middles = np.linspace(start, stop, 2 * most + 1)[1::2]
    return np.searchsorted(edges, middles, "right") - 1, start, stop - start


def _select(values: Floats, chosen: Selection, axis: int) -> Floats:
    if not isinstance(chosen, tuple):
        return values.take(np.clip(chosen, 0, values.shape[axis] - 1), axis)
    first, end, step = chosen
    cut = values[first:end] if axis == 0 else values[:, first:end]
    return cut if step == 1 else _means(cut.swapaxes(0, axis), step).swapaxes(0, axis)


def _means(values: Floats, step: int) -> Floats:
    """Return means of blocks of rows, missing values left out; NaN where all are missing."""
    shape = (-(-len(values) // step), *values.shape[1:])
    total, number = np.zeros(shape), np.zeros(shape)
    for offset in range(step):
        rows = values[offset::step]
        known = np.isfinite(rows)
        total[: len(rows)] += np.where(known, rows, 0.0)
        number[: len(rows)] += known
    means: Floats = np.full(shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means
