"""``ExportPane``: what is seen as a PNG, as a page, and as the code that makes it."""

from functools import partial
from html import escape
from io import BytesIO
from typing import Any

import panel as pn
import xarray as xr

from latticescape.analysis.app.export import Call, written
from latticescape.analysis.app.landscapes import LandscapePane
from latticescape.analysis.app.panes import TOP
from latticescape.analysis.app.shown import Shown
from latticescape.analysis.app.view import ALL, NOTHING, View
from latticescape.analysis.plots.snapshots import lattice_of, layers

MAP, BESIDE, SLICE, HISTOGRAM, SNAPSHOT, LANDSCAPE = (
    *("map", "map beside", "slice along ", "histogram", "snapshot", "landscape"),
)
FILES = {".png": "Save as PNG", ".html": "Save as HTML"}
LOOKS = "background:#F4F5F7; padding:10px; font-size:12px; white-space:pre-wrap"

# Of a sweep of so many points a picture is drawn from what the page has read already.
MANY = 10_000


class ExportPane:
    """A picture to choose, its files and its code.

    Parameters
    ----------
    shown
        What is browsed.
    view
        What is looked at.
    landscape
        The pane whose landscape is drawn, or None.
    """

    def __init__(self, shown: Shown, view: View, landscape: LandscapePane | None) -> None:
        self.shown, self.reader, self.view, self.landscape = shown, shown.reader, view, landscape
        self.picture = pn.widgets.Select(label="Picture", options=self._pictures(), width=300)
        self.picture.param.watch(lambda _: self.draw(), ["value"])
        self._code = pn.pane.HTML("", sizing_mode="stretch_width")
        buttons = [
            _download(partial(self.file, suffix), f"picture{suffix}", label)
            for suffix, label in FILES.items()
        ]
        buttons.append(_download(self._script_file, "picture.py", "Save the code"))
        row = pn.Row(self.picture, *buttons)
        self.layout = pn.Column(row, self._code, height=TOP, sizing_mode="stretch_width")

    def draw(self) -> None:
        """Show the code of what is seen now."""
        self._code.object = f"<pre style='{LOOKS}'>{escape(self.script())}</pre>"

    def script(self) -> str:
        """The code that makes the chosen picture."""
        name = self.picture.value.replace(" ", "_")
        return self.call().code(self.shown.sources, f"{name}.png")

    def file(self, suffix: str) -> BytesIO:
        """The chosen picture as a file."""
        call = self.call()
        given = {"sweep": self._sweep(call)}
        if self.shown.observed is not None:
            given["observed"] = self.shown.observed
        if self.landscape is not None:
            given["scape"] = self.landscape.scape
        return written(call.picture(given), suffix)

    def call(self) -> Call:
        """The call that draws the chosen picture."""
        chosen = self.picture.value
        if chosen == LANDSCAPE:
            assert self.landscape is not None
            return self._landscape_call(self.landscape)
        if chosen == SNAPSHOT:
            return self._snapshot_call()
        if chosen == HISTOGRAM:
            inputs = ("sweep",) if self.shown.observed is None else ("sweep", "observed")
            at = {"at": self.view.at(self.reader)}
            return Call("configuration_chart", inputs, (), at | self._image())
        return self._variable_call(chosen)

    def _variable_call(self, chosen: str) -> Call:
        view, axes = self.view, self.view.map_axes
        name = view.beside if chosen == BESIDE and view.beside != NOTHING else view.variable
        if chosen.startswith(SLICE):
            axes = (chosen.removeprefix(SLICE),)
        told: dict[str, object] = dict(zip(("x", "y"), reversed(axes), strict=False))
        dims = [d for d in (*self.reader.axes, *self.reader.within(name)) if d not in axes]
        if dims:
            told["at"] = {dim: self._value(dim) for dim in dims}
        if view.log:
            told["log"] = True
        return Call("variable_map", ("sweep",), (name,), told)

    def _landscape_call(self, pane: LandscapePane) -> Call:
        at = self.view.at(self.reader)
        fixed = {axis: at[axis] for axis in pane.parameters if axis not in pane.axes}
        return Call("landscape_map", ("scape",), (), self._image(), fixed)

    def _snapshot_call(self) -> Call:
        ds, view = self.reader.ds, self.view
        told: dict[str, object] = {"at": view.at(self.reader), "replica": view.replica}
        if layers(lattice_of(str(ds.attrs["lattice"]), ds.sizes["site"])) > 1:
            told["layer"] = view.layer
        return Call("snapshot_map", ("sweep",), (), told)

    def _image(self) -> dict[str, object]:
        return {} if self.view.image == ALL else {"image": self.view.image}

    def _value(self, dim: str) -> object:
        value = self.reader.ds[dim].to_numpy()[self.view.place[dim]]
        return value.item() if hasattr(value, "item") else str(value)

    def _sweep(self, call: Call) -> xr.Dataset:
        """The sweep, of many points with what was read in place of what would be read again."""
        ds, reader = self.reader.ds, self.reader
        if call.function != "variable_map" or reader.done.size < MANY:
            return ds
        name = str(call.positional[0])
        if reader.within(name):
            return ds
        names = [n for n in (name, f"{name}_se") if n in ds]
        values = {n: (reader.axes, reader.values(n), ds[n].attrs) for n in names}
        return xr.Dataset(values, {axis: ds[axis] for axis in reader.axes})

    def _script_file(self) -> BytesIO:
        return BytesIO(self.script().encode())

    def _pictures(self) -> list[str]:
        found = [MAP, BESIDE, *(f"{SLICE}{axis}" for axis in self.reader.axes)]
        found += [HISTOGRAM] * self.reader.has_histograms
        found += [SNAPSHOT] * ("spins" in self.reader.ds)
        return found + [LANDSCAPE] * bool(self.landscape and self.landscape.parameters)


def _download(callback: Any, file: str, label: str) -> Any:
    return pn.widgets.FileDownload(
        callback=callback, filename=file, label=label, color="primary", width=140
    )
