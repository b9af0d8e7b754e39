"""Panes of the point: its histogram, its snapshot, and slices through it; and the maps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import panel as pn
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, Range1d, Span
from bokeh.transform import dodge

from analysis.browse.app.figures import CurveFigure, MapFigure, Tapped, bars, blank
from analysis.browse.app.reader import Reader
from analysis.browse.app.view import ALL, NOTHING, View, label, nearest_index, symbol
from analysis.browse.configurations import (
    SIMULATED,
    Shares,
    observed_shares,
    of_composition,
    short_labels,
    simulated_shares,
)
from analysis.browse.maps import IMAGES
from analysis.browse.snapshots import SPECIES, lattice_of, layers, snapshot

Words = npt.NDArray[np.uint64]
Simulate = Callable[[dict[str, float]], Words]

TOP, BOTTOM, SLICES = 405, 375, 360


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
        error = _error(self.reader, name, (view.x,), view)
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


class HistogramPane:
    """Configurations of the point beside those of the images."""

    def __init__(self, reader: Reader, observed: xr.Dataset | None) -> None:
        self.reader, self.observed = reader, observed
        if not reader.has_histograms:
            self.layout = note("This sweep holds no histograms of configurations.", BOTTOM)
            return
        names = [str(name) for name in reader.ds["label"].to_numpy()]
        short, meaning = short_labels(names)
        self.figure = blank(BOTTOM, x_range=Range1d(-0.7, len(names) - 0.3))
        self.figure.xaxis.ticker = list(range(len(names)))
        self.figure.xaxis.major_label_overrides = dict(enumerate(short))
        self.figure.xaxis.major_label_orientation = 1.2 if len("".join(short)) > 45 else 0
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = meaning, "share of sites"
        self.figure.y_range = Range1d(0, 1)
        self.figure.title.text_font_size = "11px"
        empty: dict[str, Any] = {key: [] for key in ("x", "top", "low", "high", "name")}
        self.simulated = ColumnDataSource(empty)
        boxes = self.figure.vbar(
            x="x", top="top", width=0.8, color=SIMULATED, source=self.simulated,
            legend_label="simulated",
        )  # fmt: skip
        bars(self.figure, self.simulated, "#555555")
        self.observed_dots: list[ColumnDataSource] = []
        for number in range(self._series):
            self.observed_dots.append(self._dots(number, dict(empty)))
        self.figure.add_tools(
            HoverTool(renderers=[boxes], tooltips=[("", "@name"), ("simulated", "@top{0.00000}")])
        )
        legend = self.figure.legend[0]
        legend.update(
            label_text_font_size="11px", padding=0, margin=2, spacing=0, border_line_color=None,
            orientation="horizontal", ncols=3, glyph_height=14, glyph_width=14, label_height=14,
        )  # fmt: skip
        self.figure.add_layout(legend, "above")
        self.layout = pn.pane.Bokeh(self.figure, sizing_mode="stretch_width", min_height=BOTTOM)
        self._names = names

    @property
    def _series(self) -> int:
        return 0 if self.observed is None else min(self.observed.sizes["image"], len(IMAGES))

    def draw(self, view: View, *, apart: bool = False) -> None:
        """Draw the point's histogram, beside that of the view's image, all together or apart."""
        if not self.reader.has_histograms:
            return
        if not self.reader.is_done(view.place):
            self._clear()
            self.figure.title.text = "This point is not computed yet."
            return
        simulated = simulated_shares(self.reader.point("histogram_replica", view.place))
        self._fill(self.simulated, simulated)
        found: list[Shares] = []
        if self.observed is not None:
            found = self._found(self.observed, view, simulated, apart=apart)
        for number, source in enumerate(self.observed_dots):
            if number < len(found):
                self._fill(source, found[number])
            else:
                source.data = {key: [] for key in source.data}
        self._legend(found)
        self.figure.y_range.end = 1.05 * max(
            (one.shares + one.errors).max() for one in (simulated, *found)
        )
        self.figure.title.text = f"Configurations at {view.told(self.reader, self.reader.axes)}"

    def _found(
        self, observed: xr.Dataset, view: View, simulated: Shares, *, apart: bool
    ) -> list[Shares]:
        """The chosen image; of all, those of the point's composition, together or apart."""
        if view.image != ALL:
            return observed_shares(observed, view.image, simulated.shares)
        near = of_composition(observed, self.reader.ds, view.at(self.reader))
        images = near["image"].to_numpy()[: self._series] if apart else [None]
        if not near.sizes["image"]:
            return []
        return [one for i in images for one in observed_shares(near, i, simulated.shares)]

    def _legend(self, found: list[Shares]) -> None:
        legend = self.figure.legend[0]
        for number, item in enumerate(legend.items[1:]):
            item.visible = number < len(found)
            if item.visible:
                one = found[number]
                item.label = {"value": f"{one.name}: S² = {one.distance:.4f}"}

    def _clear(self) -> None:
        for source in (self.simulated, *self.observed_dots):
            source.data = {key: [] for key in source.data}

    def _fill(self, source: ColumnDataSource, shares: Shares) -> None:
        source.data = {
            "x": np.arange(len(shares.shares)),
            "top": shares.shares,
            "low": shares.shares - shares.errors,
            "high": shares.shares + shares.errors,
            "name": self._names,
        }

    def _dots(self, number: int, empty: dict[str, Any]) -> ColumnDataSource:
        source = ColumnDataSource(empty)
        shift = 0.0 if self._series == 1 else 0.6 * (number / (self._series - 1) - 0.5)
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
        self.image = ColumnDataSource({"image": [], "dw": [], "dh": []})
        mapper = LinearColorMapper(
            palette=list(SPECIES), low=-0.5, high=1.5, nan_color="rgba(255,255,255,0)"
        )
        self.figure.image(
            image="image", x=0, y=0, dw="dw", dh="dh", source=self.image, color_mapper=mapper
        )
        self.button = pn.widgets.Button(name="Simulate a snapshot here", width=side - 40)
        self.told = note("", 20)
        self.layers = 1
        self.layout = pn.Column(
            pn.pane.Bokeh(self.figure, width=side - 40, height=side), self.button, self.told,
            width=side - 40,
        )  # fmt: skip

    def draw(self, view: View) -> None:
        """Draw one replica."""
        spins = self._spins(view)
        self.button.visible = spins is None and self.simulate is not None
        self.layout[0].visible = spins is not None
        self.told.visible = spins is None
        if spins is None:
            self.told.object = self._why()
            return
        lattice = lattice_of(str(self.reader.ds.attrs["lattice"]), len(spins))
        self.layers = layers(lattice)
        layer = min(view.layer, self.layers - 1)
        image, (width, height) = snapshot(spins, lattice, replica=view.replica, layer=layer)
        self.image.data = {"image": [image], "dw": [width], "dh": [height]}
        spare = (max(width, height) - np.array([width, height])) / 2
        self.figure.x_range.update(start=-spare[0], end=width + spare[0])
        self.figure.y_range.update(start=-spare[1], end=height + spare[1])
        share = f"{100 * np.nanmean(image):.0f} % yellow (1, up)"
        plane = f", layer {layer}" if self.layers > 1 else ""
        how = "" if "spins" in self.reader.ds else "simulated, "
        self.figure.title.text = f"Snapshot: {how}replica {view.replica}{plane}\n{share}"

    def compute(self, view: View) -> None:
        """Simulate the point, and draw it."""
        assert self.simulate is not None
        self._simulated[self._key(view)] = self.simulate(view.at(self.reader))
        self.draw(view)

    def _spins(self, view: View) -> Words | None:
        if "spins" in self.reader.ds and self.reader.is_done(view.place):
            found: Words = self.reader.point("spins", view.place).to_numpy()
            return found
        return self._simulated.get(self._key(view))

    def _key(self, view: View) -> tuple[Any, ...]:
        return tuple(view.place[axis] for axis in self.reader.axes)

    def _why(self) -> str:
        if "lattice" not in self.reader.ds.attrs:
            return "This sweep is of a function: it has no lattice to show."
        if "spins" in self.reader.ds:
            return "This point is not computed yet."
        return "The sweep kept no snapshots; `keep = ['spins']` in `[sweep]` keeps them."


class SlicesPane:
    """The variable through the point, along every axis, with standard errors."""

    def __init__(self, reader: Reader, tapped: Callable[[str, float], None]) -> None:
        self.reader = reader
        height = max(BOTTOM // len(reader.axes), BOTTOM // 3)
        self.curves = {
            axis: CurveFigure(height, lambda x, _, axis=axis: tapped(axis, x))
            for axis in reader.axes
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
            error = _error(self.reader, view.variable, (axis,), view)
            others = view.told(self.reader, [a for a in self.reader.axes if a != axis])
            curve.show(
                x[order],
                [(values, None if error is None else error[order])],
                (symbol(self.reader.ds[axis]), ""),
                title=f"{view.variable} at {others}" if others else view.variable,
            )
            curve.stand(place[axis])


def note(text: str, height: int) -> Any:
    """A few words in place of a figure."""
    return pn.pane.Markdown(
        text, min_height=height, sizing_mode="stretch_width", styles={"color": "#555"}
    )


def tapped_place(reader: Reader, axes: Sequence[str], places: Sequence[float]) -> dict[str, int]:
    """The point nearest to where a figure was tapped."""
    pairs = zip(axes, places, strict=False)
    return {axis: nearest_index(reader.coordinates(axis), value) for axis, value in pairs if axis}


def _error(reader: Reader, name: str, axes: tuple[str, ...], view: View) -> Any:
    error = f"{name}_se"
    return reader.surface(error, axes, view.place) if error in reader.ds else None
