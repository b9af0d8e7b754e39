"""``ProgressPane``: how far the sweep is."""

import time

import panel as pn

from latticescape.analysis.app.reader import Reader
from latticescape.analysis.plots.configurations import SIMULATED

WIDTH = 160
BAR = "display:inline-block; height:10px; background:#2C4A7C"
FRAME = f"display:inline-block; height:10px; line-height:0; background:{SIMULATED}"


class ProgressPane:
    """Points done and failed, and the rate since the page was opened."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.layout = pn.pane.HTML("", sizing_mode="stretch_width")
        self._began = (time.monotonic(), int(reader.done.sum()))

    def draw(self) -> None:
        """Tell it anew."""
        counts = self.reader.counts()
        points, done, failed = counts["points"], counts["done"], counts["failed"]
        share = done / points
        told = f"{done:,} of {points:,} points done ({int(100 * share)} %)"
        told += f", {failed:,} failed" if failed else ""
        told += self._rate(done, points)
        bar = f"<span style='{BAR}; width:{WIDTH * share:.0f}px'></span>"
        frame = f"<span style='{FRAME}; width:{WIDTH}px'>{bar}</span>"
        self.layout.object = f"{frame} &nbsp; {told}"

    def _rate(self, done: int, points: int) -> str:
        began, before = self._began
        if done in (points, before):
            return ""
        rate = (done - before) / max(time.monotonic() - began, 1e-3)
        return f", {rate:.3g} a second, {(points - done) / rate:.0f} s left"
