"""``Browser``: widgets and panes of one view of a sweep; ``serve``: the page's server."""

import asyncio
import errno
import getpass
import secrets
import socket
import time
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from html import escape
from typing import Any

import numpy as np
import panel as pn
import psutil
from tornado.web import ErrorHandler

from latticescape.analysis.app.export import ExportPane
from latticescape.analysis.app.figures import cross_hair
from latticescape.analysis.app.panes import (
    BOTTOM,
    TOP,
    HistogramPane,
    LandscapePane,
    MapPane,
    ProgressPane,
    SlicesPane,
    SnapshotPane,
    note,
    tapped_place,
)
from latticescape.analysis.app.view import NOTHING, Shown, View
from latticescape.analysis.plots.labels import place_text, symbol_of
from latticescape.physics.errors import RequestError

HOST = "127.0.0.1"
FOREIGN_HOST = r"(?!(localhost|127\.0\.0\.1)$).*"
POLL_MILLISECONDS = 2000

# The pause between two reads of the done points, in units of the time a read takes.
REST = 10
SIDE = 262
WIDTH = SIDE - 20

STYLE = """
:root { --design-primary-color: #2C4A7C; }
.bk-slider-title { font-size: 12px }
"""


class Browser:
    """The page of one browser: widgets and taps change its ``view``, and the panes draw it.

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
        self.view = View.of(self.reader, images, shown.species)
        inside = [d for name in self.reader.variables for d in self.reader.within(name)]
        self.inside = list(dict.fromkeys(inside))
        self.view.place = {**self.view.place, **dict.fromkeys(self.inside, 0)}
        self.sliders = {dim: self._slider(dim) for dim in (*self.reader.axes, *self.inside)}
        spans = cross_hair()
        self.maps = [MapPane(self.reader, spans, self._tapped) for _ in range(2)]
        self.histogram = HistogramPane(self.reader, observed)
        self.snapshot = SnapshotPane(self.reader, shown.simulate)
        self.slices = SlicesPane(
            self.reader,
            lambda name, x: self.view.move(**tapped_place(self.reader, (name,), (x,))),
        )
        landscape = shown.landscape()
        self.landscape = (
            None
            if landscape is None
            else LandscapePane(
                landscape, shown.posterior, spans, self._tapped_landscape, shown.estimates
            )
        )
        self.per_image = pn.widgets.Checkbox(label="Each image separately", value=False)
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
        """Read which points are done, and draw again if more are."""
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
            landscape = await asyncio.to_thread(self.shown.landscape)
            assert landscape is not None
            self.landscape.landscape = landscape
        self.draw()

    def _slider(self, dim: str) -> Any:
        size = self.reader.ds.sizes[dim]
        order = range(size)
        if dim == self.reader.points:
            options = {f"{i + 1} of {size}": i for i in order}
            return pn.widgets.DiscreteSlider(
                label=dim, options=options, value=self.view.place[dim], width=WIDTH
            )
        if dim in self.reader.axes:
            order = np.argsort(self.reader.coordinates(dim), kind="stable").tolist()
        options = {place_text(self.reader.ds, dim, i).split(" = ")[-1]: i for i in order}
        if len(options) < size:  # two values have the same text
            options = {str(i): i for i in order}
        if dim not in self.reader.axes:
            return pn.widgets.Select(label=dim, options=options, value=0, width=WIDTH)
        return pn.widgets.DiscreteSlider(
            label=symbol_of(dim),
            options=options,
            value=self.view.place[dim],
            width=WIDTH,
            disabled=size < 2,
        )

    def _layout(self) -> Any:
        view = pn.Param(
            self.view,
            parameters=["variable", "second", *(["x", "y"] if self.view.y else []), "log"],
            widgets={name: {"width": WIDTH} for name in ("variable", "second", "x", "y")},
            show_name=False,
            width=SIDE,
            margin=0,
        )
        heading = pn.pane.HTML("<b>Point</b> (or click on a map)", margin=(6, 10, 0, 10))
        side = [view, heading, *self.sliders.values()]
        if self.shown.observed is not None:
            side.append(pn.widgets.Select.from_param(self.view.param["image"], width=WIDTH))
            side += [self.per_image] if self.reader.has_histograms else []
        if self.reader.has_snapshots:
            names = ["replica"]
            if self.reader.planes > 1:
                self.view.param["layer"].bounds = (0, self.reader.planes - 1)
                names.append("layer")
            for name in names:
                side.append(pn.widgets.IntSlider.from_param(self.view.param[name], width=WIDTH))
        sidebar = pn.Column(
            *side, width=SIDE + 10, height=TOP + BOTTOM + 55, scroll=True,
            styles={"background": "#F4F5F7"}, margin=(0, 8, 0, 0),
        )  # fmt: skip
        below = [self.histogram.layout] if self.reader.has_histograms else []
        below += [self.snapshot.layout] if self.reader.has_snapshots else []
        if len(self.reader.parameters) > 1 or not below:  # else the map is the only slice
            below.append(self.slices.layout)
        bottom = pn.Row(
            *below, sizing_mode="stretch_width", styles={"border-top": "1px solid #DDD"}
        )
        main = pn.Column(self._tabs(), bottom, sizing_mode="stretch_width")
        store = escape(self.shown.sources.store)
        title = f"<b style='font-size:17px'>latticescape</b> &nbsp; {store}"
        header = pn.Row(
            pn.pane.HTML(title, width=640),
            self.progress.layout,
            sizing_mode="stretch_width",
            height=34,
        )
        body = pn.Row(sidebar, main, sizing_mode="stretch_width")
        return pn.Column(header, body, sizing_mode="stretch_width", styles={"padding": "0 6px"})

    def _tabs(self) -> Any:
        maps = pn.Row(*[pane.layout for pane in self.maps], sizing_mode="stretch_width")
        tabs = [("Maps", maps)]
        if self.landscape is not None:
            tabs.append(("Landscape S²", self.landscape.layout))
        elif self.shown.landscape_of is not None:
            store, files = self.shown.sources.store, " ".join(self.shown.sources.observed)
            command = escape(f"latticescape landscape {store} {files} --out landscape.zarr")
            text = (
                f"The sweep has {self.reader.done.size:,} points, too many to compute their "
                f"landscape here. Compute it with\n\n    {command}\n\n"
                "and then `browse` with `--landscape landscape.zarr`."
            )
            tabs.append(("Landscape S²", note(text, TOP)))
        tabs.append(("Export", self.export.layout))
        return pn.Tabs(*tabs, sizing_mode="stretch_width", min_height=TOP + 40)

    def _simulate(self, _: Any) -> None:
        with self.snapshot.button.param.update(loading=True):
            self.snapshot.compute(self.view)

    def _watch(self) -> None:
        view = self.view
        view.param.watch(lambda _: self._draw_map(0), ["variable"])
        view.param.watch(lambda _: self._draw_map(1), ["second"])
        view.param.watch(lambda _: self._draw_maps(), ["log"])
        view.param.watch(lambda _: self.slices.draw(view), ["variable"])
        view.param.watch(self._axes_changed, ["x", "y"])
        view.param.watch(self._moved, ["place"])
        view.param.watch(lambda _: self._draw_images(), ["image"])
        view.param.watch(lambda _: self.snapshot.draw(view), ["replica", "layer"])
        self.per_image.param.watch(lambda _: self._draw_histogram(), ["value"])
        for dim, slider in self.sliders.items():
            slider.param.watch(lambda event, dim=dim: self._slid(dim, event.new), ["value"])

    def _slid(self, dim: str, index: int) -> None:
        if self.view.place[dim] != index:
            self.view.move(**{dim: index})

    def _tapped(self, x: float, y: float) -> None:
        self.view.move(**tapped_place(self.reader, (self.view.x, self.view.y), (x, y)))

    def _tapped_landscape(self, place: Mapping[str, float]) -> None:
        there = {axis: value for axis, value in place.items() if axis in self.reader.parameters}
        self.view.move(**tapped_place(self.reader, list(there), list(there.values())))

    def _axes_changed(self, *events: Any) -> None:
        view = self.view
        if view.x == view.y:  # swap the axes
            other = "y" if events[0].name == "x" else "x"
            setattr(view, other, events[0].old)
            return
        self._draw_maps()
        self._draw_landscape()

    def _moved(self, event: Any) -> None:
        changed = {dim for dim, index in event.new.items() if event.old.get(dim) != index}
        for dim in changed:
            self.sliders[dim].value = event.new[dim]
        drawn = {self.reader.points} if self.reader.points else {*self.view.map_axes}
        if changed - drawn:
            self._draw_maps()
            self._draw_landscape()
        self._draw_point()

    def _draw_maps(self) -> None:
        self._draw_map(0)
        self._draw_map(1)

    def _draw_map(self, number: int) -> None:
        names = (self.view.variable, self.view.second)
        self.maps[number].draw(self.view, names[number])
        self.maps[number].mark_point(self.view)
        shown = [d for name in names if name != NOTHING for d in self.reader.within(name)]
        for dim in self.inside:
            self.sliders[dim].visible = dim in shown
        self.export.draw()

    def _draw_landscape(self) -> None:
        if self.landscape is not None:
            place = self._parameters()
            self.landscape.draw(self.view, place)
            self.landscape.mark_point(place)

    def _draw_point(self) -> None:
        for pane in self.maps:
            pane.mark_point(self.view)
        if self.landscape is not None:
            self.landscape.mark_point(self._parameters())
        self._draw_histogram()
        self.snapshot.draw(self.view)
        self.slices.draw(self.view)
        self.export.draw()

    def _draw_images(self) -> None:
        self._draw_histogram()
        self._draw_landscape()
        self.export.draw()

    def _draw_histogram(self) -> None:
        self.histogram.draw(self.view, per_image=self.per_image.value)

    def _parameters(self) -> dict[str, float]:
        """Return the place on the landscape's parameters, the middle of axes the sweep lacks."""
        assert self.landscape is not None
        at = self.view.at(self.reader)
        landscape = self.landscape.landscape
        return {a: at.get(a, float(landscape[a].median())) for a in self.landscape.parameters}


def is_shared_machine() -> bool:
    """Whether other people have an account on this machine, or are logged in."""
    people = {user.name for user in psutil.users()}
    with suppress(ImportError):
        import pwd  # no accounts of this kind on Windows

        people |= {user.pw_name for user in pwd.getpwall() if 1000 <= user.pw_uid < 60_000}
    return bool(people - {getpass.getuser()})


def serve(
    shown: Shown,
    *,
    port: int,
    show: bool,
    token: bool = False,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the page on this machine until the process ends.

    Parameters
    ----------
    shown
        What is browsed.
    port
        The port; 0 for any free one.
    show
        Open a browser.
    token
        Put a secret into the page's address, so that other users of this machine cannot open it.
    announce
        Called with the page's address.

    Raises
    ------
    RequestError
        If the port is in use or not permitted.
    """
    port = free_port(port)
    pn.extension(raw_css=[STYLE])

    def page() -> object:
        browser = Browser(shown)
        if not shown.reader.done.all():
            pn.state.add_periodic_callback(browser.poll, period=POLL_MILLISECONDS)
        return browser.layout

    Browser(shown)  # fails now rather than in the browser, and fills the caches
    path = secrets.token_urlsafe(16) if token else ""
    server = pn.serve(
        {path or "/": page},
        port=port,
        address=HOST,
        websocket_origin=[f"localhost:{port}", f"{HOST}:{port}"],
        title="latticescape",
        show=False,
        start=False,
        verbose=False,
        use_index=not token,  # else the root lists the address
        redirect_root=not token,
    )
    # A page of a stranger may let its own name point to this machine (DNS rebinding).
    server._tornado.add_handlers(FOREIGN_HOST, [(".*", ErrorHandler, {"status_code": 403})])
    address = f"http://localhost:{port}" + (f"/{path}" if token else "")
    announce(address)
    server.start()
    if show:
        webbrowser.open(address)
    server.io_loop.start()


def free_port(port: int) -> int:
    """Return the port, or any free one for 0.

    Raises
    ------
    RequestError
        If it is in use or not permitted.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            used = error.errno == errno.EADDRINUSE
            problem = "is in use" if used else f"cannot be used: {error.strerror}"
            raise RequestError(
                f"port {port} {problem}", allowed="a free port", hint="--port 0"
            ) from None
        bound: int = probe.getsockname()[1]
        return bound
