"""``HistogramPane``: configurations of the point beside those of the images."""

from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.transform import dodge

from latticescape.analysis.app.figures import bars, blank
from latticescape.analysis.app.panes import BOTTOM, note
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import ALL, View
from latticescape.analysis.plots.configurations import (
    SIMULATED,
    Shares,
    observed_shares,
    of_composition,
    short_labels,
    simulated_shares,
)
from latticescape.analysis.plots.maps import IMAGES


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
