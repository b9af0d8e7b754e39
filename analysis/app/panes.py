"""Panes of the page: maps, slices, the landscape of the images, the point, and the progress."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, Range1d, Span
from bokeh.transform import dodge

from latticescape.analysis.app.figures import CurveFigure, MapFigure, Tapped, bars, blank
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import ALL, NOTHING, Estimates, Simulate, View, Words, symbol
from latticescape.analysis.inference.estimation.deviance import part_of
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.analysis.plots.labels import (
    IMAGES,
    LATTICE_SPECIES,
    SIMULATED,
    axis_label,
    colours_of_species,
    place_text,
    shares_text,
    species_of,
    symbol_of,
)
from latticescape.analysis.plots.values import (
    CONTOUR_POINTS,
    Estimate,
    Shares,
    Surface,
    distance_table,
    estimate_of,
    images_of_composition,
    is_scattered,
    label_step,
    landscape_of,
    lattice_with,
    layers,
    observed_shares,
    s2_between,
    short_labels,
    simulated_shares,
    snapshot,
    surface_between,
)
from latticescape.physics.errors import RequestError

TOP, BOTTOM, SLICES = 405, 375, 360

PROGRESS = 160
BAR = "display:inline-block; height:10px; background:#2C4A7C"
FRAME = f"display:inline-block; height:10px; line-height:0; background:{SIMULATED}"


def note(text: str, height: int) -> Any:
    """Return a short text in place of a figure."""
    return pn.pane.Markdown(
        text, min_height=height, sizing_mode="stretch_width", styles={"color": "#555"}
    )


def tapped_place(
    reader: Reader, parameters: Sequence[str], values: Sequence[float]
) -> dict[str, int]:
    """Return the index, along each axis, of the point nearest to where a figure was tapped."""
    squares: dict[str, Any] = {}
    for name, value in zip(parameters, values, strict=False):
        if name:
            axis, column = reader.axis_of(name), reader.coordinates(name)
            far = (column - value) / (float(np.ptp(column)) or 1.0)
            squares[axis] = squares.get(axis, 0.0) + far**2
    return {axis: int(np.argmin(distances)) for axis, distances in squares.items()}


def curve_through(
    reader: Reader, name: str, parameter: str, view: View
) -> tuple[Any, tuple[Any, Any | None]]:
    """Return the ascending values of a parameter, and a variable there with standard errors."""
    x, axis = reader.coordinates(parameter), reader.axis_of(parameter)
    order = np.argsort(x, kind="stable")
    values = reader.surface(name, (axis,), view.place)[order]
    error = f"{name}_se"
    errors = reader.surface(error, (axis,), view.place)[order] if error in reader.ds else None
    return x[order], (values, errors)


class MapPane:
    """One variable over the axes of the map: a colour map over two axes, a curve over one.

    Points on no grid are dots over two of their parameters; if they have no others, the dots lie on
    the surface between them.
    """

    def __init__(self, reader: Reader, spans: tuple[Span, Span], tapped: Tapped) -> None:
        self.reader, two = reader, len(reader.parameters) > 1
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
        drawn = axes if reader.points is None else (reader.points,)
        values = reader.surface(name, drawn, view.place)
        fixed = [a for a in reader.axes if a not in drawn]
        missing = int(np.isnan(values).sum())
        notes = [
            view.words(reader, [*fixed, *reader.within(name)]),
            f"{missing} of {values.size} points missing (grey)" if missing else "",
        ]
        notes = ["; ".join(filter(None, notes))]
        title = "\n".join(filter(None, [view.label(reader, name), *notes]))
        named: dict[str, Any] = {
            "labels": (labels[-1], labels[0], view.label(reader, name)),
            "title": title,
        }
        if self.map is not None and reader.points is not None:
            points = np.column_stack([*(reader.coordinates(a) for a in axes[::-1]), values])
            surface = None
            if len(reader.columns[reader.points]) == 2:
                surface = surface_between(points[:, :2], points[:, 2])
            words = reader.words(view.x), reader.words(view.y)
            self.map.show_points(points, surface, **named, log=view.log, words=words)
        elif self.map is not None:
            orders = [np.argsort(reader.coordinates(axis), kind="stable") for axis in axes]
            y, x = (reader.coordinates(a)[o] for a, o in zip(axes, orders, strict=True))
            self.map.show(
                values[np.ix_(*orders)],
                (x, y),
                **named,
                log=view.log,
                words=(reader.words(view.x), reader.words(view.y)),
            )
        elif self.curve is not None:
            x, (heights, errors) = curve_through(reader, name, view.x, view)
            if view.log:
                heights = np.where(heights > 0, heights, np.nan)
            self.curve.show(
                x,
                [(heights, errors)],
                (view.label(reader, view.x), view.label(reader, name)),
                title=title,
                words=reader.words(view.x),
            )

    def mark_point(self, view: View) -> None:
        """Mark the point."""
        place = view.at(self.reader)
        if self.map is not None:
            self.map.mark(self.map.here, np.array([[place[view.x], place[view.y]]]))
        elif self.curve is not None:
            self.curve.mark_point(place[view.x])


class SlicesPane:
    """The first map's variable through the point along every axis, with standard errors.

    Points on no grid are all drawn, over each of their parameters.
    """

    def __init__(self, reader: Reader, tapped: Callable[[str, float], None]) -> None:
        self.reader, number = reader, len(reader.parameters)
        height = max(BOTTOM // number, BOTTOM // 3)

        def along(axis: str, x: float, _: float) -> None:
            tapped(axis, x)

        self.curves = {n: CurveFigure(height, partial(along, n)) for n in reader.parameters}
        for curve in self.curves.values():
            curve.figure.title.text_font_size = "11px"
            curve.figure.yaxis.ticker.desired_num_ticks = 3 if number > 2 else 6
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
        for name, curve in self.curves.items():
            x, values = curve_through(self.reader, view.variable, name, view)
            axis = self.reader.axis_of(name)
            rest = [a for a in self.reader.axes if a not in (axis, self.reader.points)]
            others = view.words(self.reader, rest)
            labels = (symbol(self.reader.ds[name]), "")
            title = f"{view.variable} along {symbol_of(name)}" + (f" at {others}" if others else "")
            words = self.reader.words(name)
            curve.show(x, [values], labels, title=title, joined=axis == name, words=words)
            curve.mark_point(place[name])


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


MOST_IMAGES = 6
MOST_CURVES = 5
MOST_SAMPLES = 3000

# Points along an axis of a small map's contours.
SMALL = 81


class LandscapePane:
    """S² over one or two parameters; further axes have the values of the selected point.

    Parameters
    ----------
    landscape
        The result of ``landscape``.
    posterior
        Samples of the parameters, of any dimensions.
    spans
        The cross hair of the maps.
    tapped
        Called with the parameters at a tap.
    estimates
        A cache of fits, shared by the browsers of a server.
    """

    def __init__(
        self,
        landscape: xr.Dataset,
        posterior: xr.Dataset | None,
        spans: tuple[Span, Span],
        tapped: Callable[[dict[str, float]], None],
        estimates: Estimates | None = None,
    ) -> None:
        self.landscape, self.posterior = landscape, posterior
        self.estimates: Estimates = {} if estimates is None else estimates
        self.parameters = parameters_of(landscape)
        self.scattered = is_scattered(landscape["s2_total"])
        self.species = species_of(landscape)
        self.axes: list[str] = list(self.parameters[:2])
        self.images = [str(n) for n in landscape[part_of(landscape)].to_numpy()[:MOST_IMAGES]]

        def tap(x: float, y: float) -> None:
            tapped(dict(zip(self.axes, (x, y), strict=False)))

        if not self.parameters:
            s2 = float(landscape["s2_total"])
            self.layout: Any = note(f"The landscape has no parameters: S² = {s2:.4f}", TOP)
        elif len(self.parameters) == 1:
            self.curve: Any = CurveFigure(TOP, tap)
            self.curve.shade(self._intervals())
            self.layout = _pane(self.curve, TOP)
        else:
            self.large = MapFigure(TOP, spans, tap)
            self.small = {name: MapFigure(TOP // 2, spans, tap, bar=False) for name in self.images}
            grid = pn.GridBox(
                *[_pane(figure, TOP // 2) for figure in self.small.values()],
                ncols=-(-len(self.small) // 2) or 1,
                sizing_mode="stretch_width",
            )
            self.layout = pn.Row(_pane(self.large, TOP), grid, sizing_mode="stretch_width")

    def draw(self, view: View, place: dict[str, float]) -> None:
        """Draw S² over the map's axes; further parameters have the values of ``place``."""
        if len(self.parameters) == 1:
            self._draw_curves()
        if len(self.parameters) < 2:
            return
        chosen = [axis for axis in (view.x, view.y) if axis in self.parameters]
        others = [axis for axis in self.parameters if axis not in chosen]
        self.axes = (chosen + others)[:2]
        further = [] if self.scattered else (chosen + others)[2:]
        fixed = {axis: place[axis] for axis in further}
        cut = self.landscape.sel(fixed, method="nearest") if fixed else self.landscape
        at = ", ".join(
            place_text(
                self.landscape,
                axis,
                int(np.abs(self.landscape[axis].to_numpy() - value).argmin()),
                self.species,
            )
            for axis, value in fixed.items()
        )
        self._draw_map(self.large, cut, None if view.image == ALL else view.image, at)
        if self.posterior is not None and set(self.axes) <= set(self.posterior.data_vars):
            columns = [self.posterior[axis].to_numpy().ravel() for axis in self.axes]
            step = -(-len(columns[0]) // MOST_SAMPLES)
            self.large.mark(self.large.samples, np.column_stack(columns)[::step])
        for name, figure in self.small.items():
            self._draw_map(figure, cut, name, at, small=True)

    def mark_point(self, place: dict[str, float]) -> None:
        """Mark the point."""
        if len(self.parameters) == 1:
            self.curve.mark_point(place[self.axes[0]])
        elif self.parameters:
            here = np.array([[place[axis] for axis in self.axes]])
            for figure in (self.large, *self.small.values()):
                figure.mark(figure.here, here)

    def _draw_map(
        self, figure: MapFigure, cut: xr.Dataset, image: object, at: str, *, small: bool = False
    ) -> None:
        landscape, name = landscape_of(cut, image)
        table = distance_table(landscape, self.axes)
        s2 = table["s2"]
        labels = [symbol(s2[a]) if small else axis_label(s2[a], self.species) for a in self.axes]
        title = f"S², {name}" if small else f"Squared statistical distance S², {name}"
        points = SMALL if small else CONTOUR_POINTS
        key = (id(self.landscape), tuple(self.axes), image, at, points)
        estimate = surface = None
        if not s2.notnull().any():
            title += "\nnot computed yet"
        else:
            with suppress(RequestError):  # points on no grid may be too few yet
                estimate, surface = self._estimate(landscape, table, key)
        if estimate is not None:
            best = [estimate.fit.parameters[axis][0] for axis in self.axes]
            figure.mark(figure.best, np.array([best]))
            figure.contour(estimate.contours)
            lines = [estimate.text.replace(" at ", "\nat ") if small else estimate.text]
            if not small:
                lines += [f"cut at {at}"] if at else []
                lines += ["contours: 68 % (solid), 95 % (dashed)"] if estimate.contours else []
            title = "\n".join([title, lines[0], *filter(None, ["; ".join(lines[1:])])])
        if small:
            figure.figure.title.text_font_size = "10px"
        coordinates = s2[self.axes[0]].to_numpy(), s2[self.axes[1]].to_numpy()
        named: dict[str, Any] = {"labels": (labels[0], labels[1], "S²"), "title": title}
        log = not bool((s2 <= 0).any())
        if not self.scattered:
            figure.show(s2.to_numpy(), coordinates, **named, log=log)
            return
        columns = np.column_stack([*coordinates, s2.to_numpy()])
        order = np.argsort(-columns[:, 2])  # the lowest on top
        figure.show_points(columns[order], surface, **named, log=log)

    def _estimate(
        self, landscape: xr.Dataset, table: xr.Dataset, key: tuple[Any, ...]
    ) -> tuple[Estimate, Surface | None]:
        """Return the fit of a landscape, and the surface between points in two parameters."""
        if key not in self.estimates:
            over = list(self.parameters) if self.scattered else self.axes
            estimate = estimate_of(landscape, over, points=key[-1])
            surface = None
            if self.scattered and len(over) == 2:
                surface = s2_between(landscape, table, self.axes)
            self.estimates[key] = estimate, surface
        return self.estimates[key]

    def _intervals(self) -> list[tuple[float, float]]:
        """Return the central 95 % and 68 % of the only parameter's samples."""
        if self.posterior is None or self.axes[0] not in self.posterior:
            return []
        values = self.posterior[self.axes[0]].to_numpy()
        ends = np.quantile(values, [0.025, 0.975, 0.16, 0.84]).reshape(2, 2)
        return [(float(low), float(high)) for low, high in ends]

    def _draw_curves(self) -> None:
        axis, images = self.axes[0], self.images[:MOST_CURVES]
        curves: list[tuple[Any, Any]] = []
        for image in [*images, None]:
            table = distance_table(landscape_of(self.landscape, image)[0], [axis])
            curves.append((table["s2"].to_numpy(), table["s2_se"].to_numpy()))
        x = table[axis].to_numpy()
        total = curves.pop()
        curves += [(x[:0], None)] * (MOST_CURVES - len(curves)) + [total]
        title = f"Squared statistical distance S²; black: all {part_of(self.landscape)}s; "
        title += f"coloured: {', '.join(images)}"
        if self.landscape["s2_total"].notnull().any():
            title += f"\n{estimate_of(self.landscape, [axis]).text}"
        if self._intervals():
            title += "; shaded: 68 % and 95 % of the posterior"
        label = axis_label(self.landscape[axis], self.species)
        self.curve.show(x, curves, (label, "S²"), title=title)


def _pane(figure: Any, height: int) -> Any:
    return pn.pane.Bokeh(figure.figure, sizing_mode="stretch_width", min_height=height)


COLUMNS = ("x", "top", "low", "high", "name")


class HistogramPane:
    """Shares of the configurations at the point and in the images."""

    def __init__(self, reader: Reader, observed: xr.Dataset | None) -> None:
        self.reader, self.observed = reader, observed
        if not reader.has_histograms:
            self.layout = note("This sweep has no histograms of configurations.", BOTTOM)
            return
        self._names = [str(name) for name in reader.ds["label"].to_numpy()]
        short, meaning = short_labels(self._names, species_of(observed, reader.ds))
        self.figure = blank(BOTTOM, x_range=Range1d(-0.7, len(self._names) - 0.3))
        self.figure.xaxis.ticker = list(range(0, len(self._names), label_step(short)))
        self.figure.xaxis.major_label_overrides = dict(enumerate(short))
        self.figure.xaxis.major_label_orientation = 1.2 if len("".join(short)) > 45 else 0
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = meaning, "share of sites"
        self.figure.y_range = Range1d(0, 1)
        self.figure.title.text_font_size = "11px"
        self.simulated = ColumnDataSource({key: [] for key in COLUMNS})
        boxes = self.figure.vbar(
            x="x", top="top", width=0.8, color=SIMULATED, source=self.simulated,
            legend_label="simulated",
        )  # fmt: skip
        bars(self.figure, self.simulated, "#555555")
        number = 0 if observed is None else min(observed.sizes["image"], len(IMAGES))
        self.observed_dots = [self._dots(k, number) for k in range(number)]
        hover = [("configuration", "@name"), ("simulated share", "@top{0.00000}")]
        self.figure.add_tools(HoverTool(renderers=[boxes], tooltips=hover))
        legend = self.figure.legend[0]
        legend.update(
            label_text_font_size="11px", padding=0, margin=2, spacing=0, border_line_color=None,
            orientation="horizontal", ncols=3, glyph_height=14, glyph_width=14, label_height=14,
        )  # fmt: skip
        self.figure.add_layout(legend, "above")
        self.layout = pn.pane.Bokeh(self.figure, sizing_mode="stretch_width", min_height=BOTTOM)

    def draw(self, view: View, *, per_image: bool = False) -> None:
        """Draw the point's histogram with that of the view's image, or of each image."""
        if not self.reader.has_histograms:
            return
        if not self.reader.is_done(view.place):
            for source in (self.simulated, *self.observed_dots):
                source.data = {key: [] for key in COLUMNS}
            self.figure.title.text = "This point is not computed yet."
            return
        simulated = simulated_shares(self.reader.point("histogram_replica", view.place))
        self._fill(self.simulated, simulated)
        shown = self._observed(view, simulated, per_image=per_image)
        items = self.figure.legend[0].items[1:]
        for number, (source, item) in enumerate(zip(self.observed_dots, items, strict=True)):
            item.visible = number < len(shown)
            if item.visible:
                self._fill(source, shown[number])
                item.label = {"value": f"{shown[number].name}: S² = {shown[number].s2:.4f}"}
            else:
                source.data = {key: [] for key in COLUMNS}
        tops = [(one.shares + one.errors).max() for one in (simulated, *shown)]
        self.figure.y_range.end = 1.05 * max(tops)
        place = view.words(self.reader, self.reader.axes)
        self.figure.title.text = f"Configurations\nat {place}"

    def _observed(self, view: View, simulated: Shares, *, per_image: bool) -> list[Shares]:
        """Return the chosen image, or those of the point's composition, together or each."""
        if self.observed is None:
            return []
        if view.image != ALL:
            return [observed_shares(self.observed, view.image, simulated.shares)]
        chosen = images_of_composition(self.observed, self.reader.ds, view.at(self.reader))
        if not chosen.sizes["image"]:
            return []
        images = chosen["image"].to_numpy()[: len(self.observed_dots)] if per_image else [None]
        return [observed_shares(chosen, image, simulated.shares) for image in images]

    def _fill(self, source: ColumnDataSource, shares: Shares) -> None:
        source.data = {
            "x": np.arange(len(shares.shares)),
            "top": shares.shares,
            "low": shares.shares - shares.errors,
            "high": shares.shares + shares.errors,
            "name": self._names,
        }

    def _dots(self, number: int, series: int) -> ColumnDataSource:
        source = ColumnDataSource({key: [] for key in COLUMNS})
        shift = 0.0 if series == 1 else 0.6 * (number / (series - 1) - 0.5)
        colour = IMAGES[number]
        self.figure.scatter(
            dodge("x", shift), "top", color=colour, size=6, source=source,
            legend_label=f"image {number}",
        )  # fmt: skip
        bars(self.figure, source, colour, dodge("x", shift))
        return source


class SnapshotPane:
    """The lattice at the point: as it was kept, or simulated on request."""

    def __init__(self, reader: Reader, simulate: Simulate | None) -> None:
        self.reader, self.simulate = reader, simulate
        self._simulated: dict[tuple[Any, ...], Words] = {}
        side = BOTTOM
        self.figure = blank(side, width=side - 40, x_range=Range1d(0, 1), y_range=Range1d(0, 1))
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.figure.outline_line_color = None
        self.figure.match_aspect = True
        self.figure.title.text_font_size = "11px"
        self.image = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.colours = LinearColorMapper(
            palette=list(LATTICE_SPECIES), low=-0.5, high=1.5, nan_color="rgba(255,255,255,0)"
        )
        self.figure.image(
            image="image", x=0, y=0, dw="dw", dh="dh", source=self.image, color_mapper=self.colours
        )
        self.button = pn.widgets.Button(label="Simulate a snapshot here", width=side - 40)
        self.note = note("", 20)
        self.layers = 1
        self.layout = pn.Column(
            pn.pane.Bokeh(self.figure, width=side - 40, height=side), self.button, self.note,
            width=side - 40,
        )  # fmt: skip

    def draw(self, view: View) -> None:
        """Draw one replica."""
        spins = self._simulated.get(self._key(view))
        if "spins" in self.reader.ds and self.reader.is_done(view.place):
            spins = self.reader.point("spins", view.place).to_numpy()
        self.button.visible = spins is None and self.simulate is not None
        self.layout[0].visible = spins is not None
        self.note.visible = spins is None
        if spins is None:
            if "lattice" not in self.reader.ds.attrs:
                self.note.object = "This sweep is of a function: it has no lattice to show."
            elif "spins" in self.reader.ds:
                self.note.object = "This point is not computed yet."
            else:
                self.note.object = (
                    "The sweep kept no snapshots; `keep = ['spins']` in `[sweep]` keeps them."
                )
            return
        lattice = lattice_with(self.reader.ds, spins.shape[-1])
        self.layers = layers(lattice)
        layer = min(view.layer, self.layers - 1)
        image, (width, height) = snapshot(spins, lattice, replica=view.replica, layer=layer)
        self.image.data = {"image": [image], "dw": [width], "dh": [height]}
        spare = (max(width, height) - np.array([width, height])) / 2
        self.figure.x_range.update(start=-spare[0], end=width + spare[0])
        self.figure.y_range.update(start=-spare[1], end=height + spare[1])
        colours = [colour for _, colour in colours_of_species(image)]
        self.colours.update(palette=colours, high=len(colours) - 0.5)
        plane = f", layer {layer}" if self.layers > 1 else ""
        how = "" if "spins" in self.reader.ds else "simulated, "
        share = shares_text(image, view.species)
        self.figure.title.text = f"Snapshot: {how}replica {view.replica}{plane}\n{share}"

    def compute(self, view: View) -> None:
        """Simulate the point and draw it."""
        assert self.simulate is not None
        self._simulated[self._key(view)] = self.simulate(view.at(self.reader))
        self.draw(view)

    def _key(self, view: View) -> tuple[Any, ...]:
        return tuple(view.place[axis] for axis in self.reader.axes)
