"""Panes of the point: its configurations with those of the images, and a snapshot."""

from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, Range1d
from bokeh.transform import dodge

from latticescape.analysis.app.figures import bars, blank
from latticescape.analysis.app.panes import BOTTOM, note
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import ALL, Simulate, View, Words
from latticescape.analysis.plots.labels import IMAGES, LATTICE_SPECIES, SIMULATED, species_of
from latticescape.analysis.plots.values import (
    Shares,
    images_of_composition,
    lattice_with,
    layers,
    observed_shares,
    short_labels,
    simulated_shares,
    snapshot,
)

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
        self.figure.xaxis.ticker = list(range(len(self._names)))
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
        mapper = LinearColorMapper(
            palette=list(LATTICE_SPECIES), low=-0.5, high=1.5, nan_color="rgba(255,255,255,0)"
        )
        self.figure.image(
            image="image", x=0, y=0, dw="dw", dh="dh", source=self.image, color_mapper=mapper
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
        lattice = lattice_with(str(self.reader.ds.attrs["lattice"]), len(spins))
        self.layers = layers(lattice)
        layer = min(view.layer, self.layers - 1)
        image, (width, height) = snapshot(spins, lattice, replica=view.replica, layer=layer)
        self.image.data = {"image": [image], "dw": [width], "dh": [height]}
        spare = (max(width, height) - np.array([width, height])) / 2
        self.figure.x_range.update(start=-spare[0], end=width + spare[0])
        self.figure.y_range.update(start=-spare[1], end=height + spare[1])
        name = view.species[1] if view.species else "species 1 (spin up)"
        plane = f", layer {layer}" if self.layers > 1 else ""
        how = "" if "spins" in self.reader.ds else "simulated, "
        share = f"{100 * np.nanmean(image):.0f} % {name}, yellow"
        self.figure.title.text = f"Snapshot: {how}replica {view.replica}{plane}\n{share}"

    def compute(self, view: View) -> None:
        """Simulate the point and draw it."""
        assert self.simulate is not None
        self._simulated[self._key(view)] = self.simulate(view.at(self.reader))
        self.draw(view)

    def _key(self, view: View) -> tuple[Any, ...]:
        return tuple(view.place[axis] for axis in self.reader.axes)
