"""``Browser``: widgets and panes around one view of a sweep."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn

from latticescape.analysis.app.export_pane import ExportPane
from latticescape.analysis.app.figures import cross_hair
from latticescape.analysis.app.histogram_pane import HistogramPane
from latticescape.analysis.app.landscapes import LandscapePane
from latticescape.analysis.app.map_pane import MapPane
from latticescape.analysis.app.panes import BOTTOM, TOP, note, tapped_place
from latticescape.analysis.app.progress_pane import ProgressPane
from latticescape.analysis.app.shown import Shown
from latticescape.analysis.app.slices_pane import SlicesPane
from latticescape.analysis.app.snapshot_pane import SnapshotPane
from latticescape.analysis.app.view import NOTHING, View, told_place

POLL_MILLISECONDS = 2000

# Between two looks at what has been done lies so many times what one takes.
REST = 10
SIDE = 262

STYLE = """
:root { --design-primary-color: #2C4A7C; }
.bk-slider-title { font-size: 12px }
"""


class Browser:
    """One look at a sweep: ``view`` is changed by widgets and taps, and drawn by the panes.

    Parameters
    ----------
    shown
        What is browsed.
    """

    def __init__(self, shown: Shown) -> None:
        self.shown, self.reader = shown, shown.reader
        self.version = self.reader.version
        observed = shown.observed
        images = [] if observed is None else [str(name) for name in observed["image"].to_numpy()]
        self.view = View.of(self.reader, images)
        inside = [d for name in self.reader.variables for d in self.reader.within(name)]
        self.inside = list(dict.fromkeys(inside))
        self.view.place = {**self.view.place, **dict.fromkeys(self.inside, 0)}
        self.sliders = {dim: self._slider(dim) for dim in (*self.reader.axes, *self.inside)}
        spans = cross_hair()
        self.maps = [MapPane(self.reader, spans, self._tapped) for _ in range(2)]
        self.histogram = HistogramPane(self.reader, observed)
        self.snapshot = SnapshotPane(self.reader, shown.simulate)
        self.slices = SlicesPane(self.reader, self._tapped_slice)
        scape = shown.scape()
        self.landscape = (
            None
            if scape is None
            else LandscapePane(scape, shown.posterior, spans, self._tapped_scape)
        )
        self.apart = pn.widgets.Checkbox(label="every image apart", value=False)
        self.progress = ProgressPane(self.reader)
        self.export = ExportPane(shown, self.view, self.landscape)
        self._next_look = 0.0
        self.snapshot.button.on_click(self._simulate)
        self.layout = self._layout()
        self._watch()
        self.draw()

    def draw(self) -> None:
        """Draw everything."""
        self.progress.draw()
        self._draw_maps()
        self._draw_landscape()
        self._draw_point()

    async def poll(self) -> None:
        """Look whether more has been done, and draw it."""
        if time.monotonic() < self._next_look:
            return
        began = time.monotonic()
        version = await asyncio.to_thread(self.reader.refresh)
        now = time.monotonic()
        self._next_look = now + REST * (now - began)
        if version == self.version:
            return
        self.version = version
        if self.landscape is not None:
            scape = await asyncio.to_thread(self.shown.scape)
            assert scape is not None
            self.landscape.scape = scape
        self.draw()

    def _slider(self, dim: str) -> Any:
        size = self.reader.ds.sizes[dim]
        order = range(size)
        if dim in self.reader.axes:
            order = np.argsort(self.reader.coordinates(dim), kind="stable").tolist()
        options = {told_place(self.reader, dim, i).split(" = ")[-1]: i for i in order}
        if len(options) < size:  # two that read the same
            options = {str(i): i for i in order}
        if dim in self.reader.axes:
            return pn.widgets.DiscreteSlider(
                label=dim, options=options, value=self.view.place[dim], width=SIDE - 20,
                disabled=size < 2,
            )  # fmt: skip
        return pn.widgets.Select(label=dim, options=options, value=0, width=SIDE - 20)

    def _layout(self) -> Any:
        view = pn.Param(
            self.view,
            parameters=["variable", "beside", *(["x", "y"] if self.view.y else []), "log"],
            widgets={name: {"width": SIDE - 20} for name in ("variable", "beside", "x", "y")},
            show_name=False,
            width=SIDE,
            margin=0,
        )
        side = [view, pn.pane.HTML("<b>Point</b> (or tap a map)", margin=(6, 10, 0, 10))]
        side += self.sliders.values()
        side += self._image_widgets()
        side += self._snapshot_widgets()
        sidebar = pn.Column(
            *side, width=SIDE + 10, height=TOP + BOTTOM + 55, scroll=True,
            styles={"background": "#F4F5F7"}, margin=(0, 8, 0, 0),
        )  # fmt: skip
        bottom = pn.Row(
            *self._bottom(), sizing_mode="stretch_width", styles={"border-top": "1px solid #DDD"}
        )
        main = pn.Column(self._tabs(), bottom, sizing_mode="stretch_width")
        title = f"<b style='font-size:17px'>latticescape</b> &nbsp; {self.shown.sources.store}"
        header = pn.Row(
            pn.pane.HTML(title, width=640),
            self.progress.layout,
            sizing_mode="stretch_width",
            height=34,
        )
        body = pn.Row(sidebar, main, sizing_mode="stretch_width")
        return pn.Column(header, body, sizing_mode="stretch_width", styles={"padding": "0 6px"})

    def _bottom(self) -> list[Any]:
        parts = [self.histogram.layout] if self.reader.has_histograms else []
        if self.reader.has_snapshots:
            parts.append(self.snapshot.layout)
        alone = len(self.reader.axes) == 1 and parts  # the map is its only slice
        return parts if alone else [*parts, self.slices.layout]

    def _tabs(self) -> Any:
        maps = pn.Row(*[pane.layout for pane in self.maps], sizing_mode="stretch_width")
        tabs = [("Maps", maps)]
        if self.landscape is not None:
            tabs.append(("Landscape S²", self.landscape.layout))
        elif self.shown.scape_of is not None:
            store, files = self.shown.sources.store, " ".join(self.shown.sources.observed)
            told = f"latticescape landscape {store} {files} --out landscape.zarr"
            many = f"{self.reader.done.size:,} points are too many to wait for their landscape:"
            why = f"{many}\n\n    {told}\n\nand then `browse` with `--scape landscape.zarr`."
            tabs.append(("Landscape S²", note(why, TOP)))
        tabs.append(("Export", self.export.layout))
        return pn.Tabs(*tabs, sizing_mode="stretch_width", min_height=TOP + 40)

    def _image_widgets(self) -> list[Any]:
        if self.shown.observed is None:
            return []
        chosen = pn.widgets.Select.from_param(self.view.param["image"], width=SIDE - 20)
        return [chosen, self.apart] if self.reader.has_histograms else [chosen]

    def _snapshot_widgets(self) -> list[Any]:
        if not self.reader.has_snapshots:
            return []
        look = {"width": SIDE - 20}
        found = [pn.widgets.IntSlider.from_param(self.view.param["replica"], **look)]
        if self.reader.ds.attrs["lattice"] == "cubic":
            self.view.param["layer"].bounds = (0, 63)
            found.append(pn.widgets.IntSlider.from_param(self.view.param["layer"], **look))
        return found

    def _simulate(self, _: Any) -> None:
        with self.snapshot.button.param.update(loading=True):
            self.snapshot.compute(self.view)

    def _watch(self) -> None:
        view = self.view
        view.param.watch(lambda _: self._draw_map(0), ["variable"])
        view.param.watch(lambda _: self._draw_map(1), ["beside"])
        view.param.watch(lambda _: self._draw_maps(), ["log"])
        view.param.watch(lambda _: self._draw_slices(), ["variable"])
        view.param.watch(self._axes_changed, ["x", "y"])
        view.param.watch(self._moved, ["place"])
        view.param.watch(lambda _: self._draw_images(), ["image"])
        view.param.watch(lambda _: self.snapshot.draw(view), ["replica", "layer"])
        self.apart.param.watch(lambda _: self._draw_histogram(), ["value"])
        for dim, slider in self.sliders.items():
            slider.param.watch(lambda event, dim=dim: self._slid(dim, event.new), ["value"])

    def _slid(self, dim: str, index: int) -> None:
        if self.view.place[dim] != index:
            self.view.move(**{dim: index})

    def _tapped(self, x: float, y: float) -> None:
        self.view.move(**tapped_place(self.reader, (self.view.x, self.view.y), (x, y)))

    def _tapped_slice(self, axis: str, x: float) -> None:
        self.view.move(**tapped_place(self.reader, (axis,), (x,)))

    def _tapped_scape(self, place: Mapping[str, float]) -> None:
        there = {axis: value for axis, value in place.items() if axis in self.reader.axes}
        self.view.move(**tapped_place(self.reader, list(there), list(there.values())))

    def _axes_changed(self, *events: Any) -> None:
        view = self.view
        if view.x == view.y:  # the other takes what this one had
            other = "y" if events[0].name == "x" else "x"
            setattr(view, other, events[0].old)
            return
        self._draw_maps()
        self._draw_landscape()

    def _moved(self, event: Any) -> None:
        changed = {dim for dim, index in event.new.items() if event.old.get(dim) != index}
        for dim in changed:
            self.sliders[dim].value = event.new[dim]
        if changed - set(self.view.map_axes):
            self._draw_maps()
            self._draw_landscape()
        self._draw_point()

    def _draw_maps(self) -> None:
        self._draw_map(0)
        self._draw_map(1)

    def _draw_map(self, number: int) -> None:
        names = (self.view.variable, self.view.beside)
        self.maps[number].draw(self.view, names[number])
        self.maps[number].stand(self.view)
        shown = [d for name in names if name != NOTHING for d in self.reader.within(name)]
        for dim in self.inside:
            self.sliders[dim].visible = dim in shown
        self.export.draw()

    def _draw_landscape(self) -> None:
        if self.landscape is not None:
            place = self._parameters()
            self.landscape.draw(self.view, place)
            self.landscape.stand(place)

    def _draw_point(self) -> None:
        for pane in self.maps:
            pane.stand(self.view)
        if self.landscape is not None:
            self.landscape.stand(self._parameters())
        self._draw_histogram()
        self.snapshot.draw(self.view)
        self._draw_slices()
        self.export.draw()

    def _draw_images(self) -> None:
        self._draw_histogram()
        self._draw_landscape()
        self.export.draw()

    def _draw_histogram(self) -> None:
        self.histogram.draw(self.view, apart=self.apart.value)

    def _draw_slices(self) -> None:
        self.slices.draw(self.view)

    def _parameters(self) -> dict[str, float]:
        """The place on the landscape's parameters: the middle of what the sweep lacks."""
        assert self.landscape is not None
        at = self.view.at(self.reader)
        scape = self.landscape.scape
        return {a: at.get(a, float(scape[a].median())) for a in self.landscape.parameters}
