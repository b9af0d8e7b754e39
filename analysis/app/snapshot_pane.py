"""``SnapshotPane``: the lattice at the point."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import panel as pn
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d

from latticescape.analysis.app.figures import blank
from latticescape.analysis.app.panes import BOTTOM, note
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import View
from latticescape.analysis.plots.snapshots import SPECIES, lattice_of, layers, snapshot

Words = npt.NDArray[np.uint64]
Simulate = Callable[[dict[str, float]], Words]


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
        self.button = pn.widgets.Button(label="Simulate a snapshot here", width=side - 40)
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
