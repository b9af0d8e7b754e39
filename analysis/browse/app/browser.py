"""``Browser``: widgets and panes around one view of a sweep."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import panel as pn
import xarray as xr

from analysis.browse.app.export import Call, Sources, written
from analysis.browse.app.figures import cross_hair
from analysis.browse.app.landscapes import LandscapePane
from analysis.browse.app.panes import (
    BOTTOM,
    TOP,
    HistogramPane,
    MapPane,
    Simulate,
    SlicesPane,
    SnapshotPane,
    note,
    tapped_place,
)
from analysis.browse.app.reader import Reader
from analysis.browse.app.view import ALL, NOTHING, View, told_place
from analysis.browse.configurations import SIMULATED

POLL_MILLISECONDS = 2000

# Between two looks at what has been done lies so many times what one takes.
REST = 10
SIDE = 262

# Landscapes of larger sweeps take longer than one waits for a page.
MOST_LANDSCAPE_POINTS = 20_000

STYLE = """
:root { --design-primary-color: #2C4A7C; }
.bk-slider-title { font-size: 12px }
"""


@dataclass
class Shown:
    """What is browsed, shared by everybody who looks.

    Attributes
    ----------
    reader
        The sweep.
    sources
        Where it came from.
    observed
        Counts per image, or None.
    scape_of
        The landscape of a sweep's Dataset; None if there is nothing observed.
    posterior
        Samples of the parameters, or None.
    simulate
        Spins (site) at a place on the axes, or None.
    """

    reader: Reader
    sources: Sources
    observed: xr.Dataset | None = None
    scape_of: Callable[[xr.Dataset], xr.Dataset] | None = None
    posterior: xr.Dataset | None = None
    simulate: Simulate | None = None
    _scape: tuple[int, xr.Dataset] | None = None

    @property
    def too_many(self) -> bool:
        """Whether a landscape would take too long, and none was given."""
        points = self.reader.done.size
        return self.sources.scape is None and points > MOST_LANDSCAPE_POINTS

    def scape(self) -> xr.Dataset | None:
        """The landscape, computed anew when points have been done since."""
        if self.scape_of is None or self.too_many:
            return None
        version = self.reader.version
        if self._scape is None or self._scape[0] != version:
            self._scape = version, self.scape_of(self.reader.ds)
        return self._scape[1]


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
        self.apart = pn.widgets.Checkbox(name="every image apart", value=False)
        self.progress = pn.pane.HTML("", sizing_mode="stretch_width")
        self._began = (time.monotonic(), int(self.reader.done.sum()))
        self.picture = pn.widgets.Select(name="Picture", options=self._pictures(), width=300)
        self.code = pn.pane.HTML("", sizing_mode="stretch_width")
        self._next_look = 0.0
        self.snapshot.button.on_click(self._simulate)
        self.layout = self._layout()
        self._watch()
        self.draw()

    def draw(self) -> None:
        """Draw everything."""
        self._tell_progress()
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

    def call(self) -> Call:
        """The call that draws the chosen picture."""
        chosen, view = self.picture.value, self.view
        if chosen == "landscape":
            assert self.landscape is not None
            return self._landscape_call(self.landscape)
        if chosen in ("histogram", "snapshot"):
            return self._point_call(chosen)
        name = view.beside if chosen == "map beside" else view.variable
        axes = view.map_axes
        if chosen.startswith("slice along "):
            axes = (chosen.removeprefix("slice along "),)
        dims = [d for d in (*self.reader.axes, *self.reader.within(name)) if d not in axes]
        told: dict[str, object] = {"x": axes[-1]}
        if len(axes) == 2:
            told["y"] = axes[0]
        if dims:
            told["at"] = {dim: self._value(dim) for dim in dims}
        if view.log:
            told["log"] = True
        return Call("variable_map", ("sweep",), (name,), told)

    def file(self, suffix: str) -> Any:
        """The chosen picture as a file."""
        given = {"sweep": self._cached()}
        if self.shown.observed is not None:
            given["observed"] = self.shown.observed
        if self.landscape is not None:
            given["scape"] = self.landscape.scape
        return written(self.call().picture(given), suffix)

    def script(self, suffix: str = ".png") -> str:
        """The code that makes the chosen picture."""
        name = self.picture.value.replace(" ", "_")
        return self.call().code(self.shown.sources, f"{name}{suffix}")

    def _cached(self) -> xr.Dataset:
        """The sweep, with what was read of it in place of what would be read again."""
        ds, reader = self.reader.ds, self.reader
        call = self.call()
        if call.function != "variable_map":
            return ds
        name = str(call.positional[0])
        if reader.within(name) or reader.done.size < MOST_LANDSCAPE_POINTS:
            return ds
        names = [n for n in (name, f"{name}_se") if n in ds]
        values = {n: (reader.axes, reader.values(n), ds[n].attrs) for n in names}
        return xr.Dataset(values, {axis: ds[axis] for axis in reader.axes})

    def _landscape_call(self, pane: LandscapePane) -> Call:
        at = self.view.at(self.reader)
        fixed = {axis: at[axis] for axis in pane.parameters[2:] if axis in at}
        image = {} if self.view.image == ALL else {"image": self.view.image}
        return Call("landscape_map", ("scape",), (), image, fixed)

    def _point_call(self, chosen: str) -> Call:
        at = self.view.at(self.reader)
        if chosen == "snapshot":
            told: dict[str, object] = {"at": at, "replica": self.view.replica}
            if self.snapshot.layers > 1:
                told["layer"] = self.view.layer
            return Call("snapshot_map", ("sweep",), (), told)
        inputs = ("sweep",) if self.shown.observed is None else ("sweep", "observed")
        image = {} if self.view.image == ALL else {"image": self.view.image}
        return Call("configuration_chart", inputs, (), {"at": at, **image})

    def _value(self, dim: str) -> object:
        values = self.reader.ds[dim].to_numpy()
        value = values[self.view.place[dim]]
        return value.item() if hasattr(value, "item") else str(value)

    def _pictures(self) -> list[str]:
        found = ["map", "map beside", *(f"slice along {axis}" for axis in self.reader.axes)]
        found += ["histogram"] * self.reader.has_histograms
        found += ["snapshot"] * ("spins" in self.reader.ds)
        two = self.landscape is not None and bool(self.landscape.parameters)
        return found + ["landscape"] * two

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
                name=dim, options=options, value=self.view.place[dim], width=SIDE - 20,
                disabled=size < 2,
            )  # fmt: skip
        return pn.widgets.Select(name=dim, options=options, value=0, width=SIDE - 20)

    def _layout(self) -> Any:
        view = pn.Param(
            self.view,
            parameters=["variable", "beside", *(["x", "y"] if self.view.y else []), "log"],
            widgets={
                "variable": {"name": "Variable", "width": SIDE - 20},
                "beside": {"name": "Beside it", "width": SIDE - 20},
                "x": {"name": "Horizontal axis", "width": SIDE - 20},
                "y": {"name": "Vertical axis", "width": SIDE - 20},
                "log": {"name": "logarithmic colours"},
            },
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
            pn.pane.HTML(title, width=640), self.progress, sizing_mode="stretch_width", height=34
        )
        body = pn.Row(sidebar, main, sizing_mode="stretch_width")
        return pn.Column(header, body, sizing_mode="stretch_width", styles={"padding": "0 6px"})

    def _bottom(self) -> list[Any]:
        parts = [self.histogram.layout] if self.reader.has_histograms else []
        if "lattice" in self.reader.ds.attrs:
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
            told = f"latticescape landscape {store} {files} --out scape.zarr"
            many = f"{self.reader.done.size:,} points are too many to wait for their landscape:"
            why = f"{many}\n\n    {told}\n\nand then `browse` with `--scape scape.zarr`."
            tabs.append(("Landscape S²", note(why, TOP)))
        tabs.append(("Export", self._export()))
        return pn.Tabs(*tabs, sizing_mode="stretch_width", min_height=TOP + 40)

    def _export(self) -> Any:
        names = {".png": "Save as PNG", ".html": "Save as HTML"}
        buttons = [
            pn.widgets.FileDownload(
                callback=lambda suffix=suffix: self.file(suffix),
                filename=f"picture{suffix}", label=label, button_type="primary", width=140,
            )
            for suffix, label in names.items()
        ]  # fmt: skip
        script = pn.widgets.FileDownload(
            callback=lambda: BytesIO(self.script().encode()), filename="picture.py",
            label="Save the code", width=140,
        )  # fmt: skip
        row = pn.Row(self.picture, *buttons, script)
        return pn.Column(row, self.code, height=TOP, sizing_mode="stretch_width")

    def _image_widgets(self) -> list[Any]:
        if self.shown.observed is None:
            return []
        chosen = pn.widgets.Select.from_param(
            self.view.param["image"], name="Observed", width=SIDE - 20
        )
        return [chosen, self.apart] if self.reader.has_histograms else [chosen]

    def _snapshot_widgets(self) -> list[Any]:
        if "lattice" not in self.reader.ds.attrs:
            return []
        look = {"width": SIDE - 20}
        found = [
            pn.widgets.IntSlider.from_param(self.view.param["replica"], name="Replica", **look)
        ]
        if self.reader.ds.attrs["lattice"] == "cubic":
            self.view.param["layer"].bounds = (0, 63)
            found.append(
                pn.widgets.IntSlider.from_param(self.view.param["layer"], name="Layer", **look)
            )
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
        self.picture.param.watch(lambda _: self._show_code(), ["value"])
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

    def _axes_changed(self, event: Any) -> None:
        view = self.view
        if view.x == view.y:  # the other takes what this one had
            other = "y" if event.name == "x" else "x"
            setattr(view, other, event.old)
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
        self._show_code()

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
        self._show_code()

    def _draw_images(self) -> None:
        self._draw_histogram()
        self._draw_landscape()
        self._show_code()

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

    def _show_code(self) -> None:
        text = self.script().replace("&", "&amp;").replace("<", "&lt;")
        looks = "background:#F4F5F7; padding:10px; font-size:12px; white-space:pre-wrap"
        self.code.object = f"<pre style='{looks}'>{text}</pre>"

    def _tell_progress(self) -> None:
        counts = self.reader.counts()
        points, done = counts["points"], counts["done"]
        share = done / points
        told = f"{done:,} of {points:,} points done ({int(100 * share)} %)"
        if counts["failed"]:
            told += f", {counts['failed']:,} failed"
        told += self._rate(done, points)
        bar = f"<span style='display:inline-block; width:{160 * share:.0f}px; {_BAR}'></span>"
        frame = f"<span style='display:inline-block; width:160px; {_FRAME}'>{bar}</span>"
        self.progress.object = f"{frame} &nbsp; {told}"

    def _rate(self, done: int, points: int) -> str:
        began, before = self._began
        if done in (points, before):
            return ""
        rate = (done - before) / max(time.monotonic() - began, 1e-3)
        return f", {rate:.3g} a second, {(points - done) / rate:.0f} s left"


_BAR = "height:10px; background:#2C4A7C"
_FRAME = f"height:10px; background:{SIMULATED}; line-height:0"
