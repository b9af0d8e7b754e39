"""The export of what is seen: a picture to save, and the code that makes it."""

import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import panel as pn
import xarray as xr

from latticescape.analysis import plots
from latticescape.analysis.app.panes import TOP, LandscapePane
from latticescape.analysis.app.view import ALL, NOTHING, Shown, Sources, View
from latticescape.analysis.plots.values import lattice_with, layers

MAP, SECOND, SLICE, HISTOGRAM, SNAPSHOT, LANDSCAPE = (
    *("map", "second map", "slice along ", "histogram", "snapshot", "landscape"),
)
FILES = {".png": "Save as PNG", ".html": "Save as HTML"}
LOOKS = "background:#F4F5F7; padding:10px; font-size:12px; white-space:pre-wrap"

# From this number of points on, a picture is made of what the page has read already.
MANY = 10_000


@dataclass(frozen=True)
class Call:
    """A function of ``latticescape.analysis.plots`` with its arguments.

    Attributes
    ----------
    function
        Its name.
    inputs
        Its Datasets, by their names in the code: ``sweep``, ``observed``, ``distances``.
    positional, arguments
        Its further arguments.
    fixed
        Parameters at which a landscape is cut.
    """

    function: str
    inputs: tuple[str, ...]
    positional: tuple[object, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)

    def picture(self, datasets: Mapping[str, xr.Dataset]) -> Any:
        """Return the picture of Datasets by their names."""
        inputs = [datasets[name] for name in self.inputs]
        if self.fixed:
            inputs[0] = inputs[0].sel(dict(self.fixed), method="nearest")
        return getattr(plots, self.function)(*inputs, *self.positional, **self.arguments)

    def code(self, sources: Sources, file: str) -> str:
        """Return a script that makes the picture and saves it.

        Examples
        --------
        >>> call = Call("variable_map", ("sweep",), ("energy",), {"x": "T"})
        >>> print(call.code(Sources("runs/ising.zarr"), "energy.png"))
        from latticescape import open_sweep
        from latticescape.analysis.plots import save, variable_map
        <BLANKLINE>
        sweep = open_sweep('runs/ising.zarr')
        picture = variable_map(sweep, 'energy', x='T')
        save(picture, 'energy.png')
        <BLANKLINE>
        """
        stored = "distances" in self.inputs and sources.landscape is not None
        names, steps = set(), []
        if stored:
            steps.append(f"distances = xr.open_zarr({sources.landscape!r})")
        if "sweep" in self.inputs or (set(self.inputs) - {"sweep"} and not stored):
            names.add("open_sweep")
            steps.append(f"sweep = open_sweep({sources.store!r})")
        if "distances" in self.inputs and not stored and sources.slab is not None:
            names.add("slab_landscape")
            slab = ", ".join(f"{name}={value!r}" for name, value in sources.slab.items())
            steps.append(f"distances = slab_landscape(sweep, {slab})")
        elif "observed" in self.inputs or ("distances" in self.inputs and not stored):
            names.add("observed_counts")
            species = f", species={sources.species!r}" if sources.species else ""
            names.add("classes_of")
            files, classes = list(sources.observed), "classes=classes_of(sweep)"
            steps.append(f"observed = observed_counts({files!r}, {classes}{species})")
            if "distances" in self.inputs:
                names.add("landscape")
                steps.append("distances = landscape(sweep, observed)")
        if self.fixed:
            steps.append(f'distances = distances.sel({dict(self.fixed)!r}, method="nearest")')
        arguments = [*self.inputs, *map(repr, self.positional)]
        arguments += [f"{name}={value!r}" for name, value in self.arguments.items()]
        steps.append(f"picture = {self.function}({', '.join(arguments)})")
        steps.append(f"save(picture, {file!r})")
        drawing = ", ".join(sorted(("save", self.function)))
        imports = ["import xarray as xr\n"] if stored else []
        imports += [f"from latticescape import {', '.join(sorted(names))}"] if names else []
        imports += [f"from latticescape.analysis.plots import {drawing}"]
        return "\n".join([*imports, "", *steps, ""])


class ExportPane:
    """A choice of pictures, with their files and their code.

    Parameters
    ----------
    shown
        What is browsed.
    view
        What is looked at.
    landscape
        The pane of the landscape, or None.
    """

    def __init__(self, shown: Shown, view: View, landscape: LandscapePane | None) -> None:
        self.shown, self.reader, self.view, self.landscape = shown, shown.reader, view, landscape
        pictures = [
            MAP,
            SECOND,
            *(f"{SLICE}{axis}" for axis in self.reader.axes if axis != self.reader.points),
        ]
        pictures += [HISTOGRAM] * self.reader.has_histograms
        pictures += [SNAPSHOT] * ("spins" in self.reader.ds)
        pictures += [LANDSCAPE] * bool(landscape and landscape.parameters)
        self.picture = pn.widgets.Select(label="Picture", options=pictures, width=300)
        self.picture.param.watch(lambda _: self.draw(), ["value"])
        self._code = pn.pane.HTML("", sizing_mode="stretch_width")
        files: list[tuple[Any, str, str]] = [
            (partial(self.file, suffix), f"picture{suffix}", label)
            for suffix, label in FILES.items()
        ]
        files.append((lambda: io.BytesIO(self.script().encode()), "picture.py", "Save the code"))
        buttons = [
            pn.widgets.FileDownload(
                callback=callback, filename=file, label=label, color="primary", width=140
            )
            for callback, file, label in files
        ]
        row = pn.Row(self.picture, *buttons)
        self.layout = pn.Column(row, self._code, height=TOP, sizing_mode="stretch_width")

    def draw(self) -> None:
        """Show the code of the chosen picture."""
        self._code.object = f"<pre style='{LOOKS}'>{escape(self.script())}</pre>"

    def script(self) -> str:
        """Return the code that makes the chosen picture."""
        name = self.picture.value.replace(" ", "_")
        return self.call().code(self.shown.sources, f"{name}.png")

    def file(self, suffix: str) -> io.BytesIO:
        """Return the chosen picture as a file."""
        call = self.call()
        datasets = {"sweep": self._sweep(call)}
        if self.shown.observed is not None:
            datasets["observed"] = self.shown.observed
        if self.landscape is not None:
            datasets["distances"] = self.landscape.landscape
        with tempfile.TemporaryDirectory() as folder:
            path = plots.save(call.picture(datasets), Path(folder) / f"picture{suffix}")
            return io.BytesIO(path.read_bytes())

    def call(self) -> Call:
        """Return the call that draws the chosen picture."""
        chosen = self.picture.value
        if chosen == LANDSCAPE:
            assert self.landscape is not None
            at, axes = self.view.at(self.reader), self.landscape.axes
            fixed = {axis: at[axis] for axis in self.landscape.parameters if axis not in axes}
            fixed = {} if self.landscape.scattered else fixed
            return Call("landscape_map", ("distances",), (), self._image(), fixed)
        if chosen == SNAPSHOT:
            ds = self.reader.ds
            place: dict[str, object] = {"at": self.view.at(self.reader)}
            place["replica"] = self.view.replica
            if layers(lattice_with(ds, ds.sizes["site"])) > 1:
                place["layer"] = self.view.layer
            return Call("snapshot_map", ("sweep",), (), place)
        if chosen == HISTOGRAM:
            inputs = ("sweep",) if self.shown.observed is None else ("sweep", "observed")
            arguments = {"at": self.view.at(self.reader), **self._image()}
            return Call("configuration_chart", inputs, (), arguments)
        return self._variable_call(chosen)

    def _variable_call(self, chosen: str) -> Call:
        view, axes = self.view, self.view.map_axes
        name = view.second if chosen == SECOND and view.second != NOTHING else view.variable
        if chosen.startswith(SLICE):
            axes = (chosen.removeprefix(SLICE),)
        arguments: dict[str, object] = dict(zip(("x", "y"), reversed(axes), strict=False))
        drawn = {*axes} if chosen.startswith(SLICE) else {*axes, self.reader.points}
        dims = [d for d in (*self.reader.axes, *self.reader.within(name)) if d not in drawn]
        if dims:
            arguments["at"] = {dim: self._value(dim) for dim in dims}
        if view.log:
            arguments["log"] = True
        return Call("variable_map", ("sweep",), (name,), arguments)

    def _value(self, dim: str) -> object:
        """Return the value of a dimension at the place, or its word."""
        reader, index = self.reader, self.view.place[dim]
        if dim in reader.axes and dim != reader.points and (words := reader.words(dim)):
            return words[int(reader.coordinates(dim)[index])]
        value = reader.ds[dim].to_numpy()[index]
        return value.item() if hasattr(value, "item") else str(value)

    def _image(self) -> dict[str, object]:
        return {} if self.view.image == ALL else {"image": self.view.image}

    def _sweep(self, call: Call) -> xr.Dataset:
        """Return the sweep; of many points, with what the page has read already."""
        ds, reader = self.reader.ds, self.reader
        if call.function != "variable_map" or reader.done.size < MANY:
            return ds
        name = str(call.positional[0])
        if reader.within(name):
            return ds
        names = [n for n in (name, f"{name}_se") if n in ds]
        values = {n: (reader.axes, reader.values(n), ds[n].attrs) for n in names}
        return xr.Dataset(values, {name: ds[name] for name in reader.parameters})
