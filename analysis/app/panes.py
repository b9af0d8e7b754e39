"""What panes share: their sizes, a few words in place of a figure, and where a tap leads."""

from collections.abc import Sequence
from typing import Any

import panel as pn

from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import View, nearest_index

TOP, BOTTOM, SLICES = 405, 375, 360


def note(text: str, height: int) -> Any:
    """A few words in place of a figure."""
    return pn.pane.Markdown(
        text, min_height=height, sizing_mode="stretch_width", styles={"color": "#555"}
    )


def tapped_place(reader: Reader, axes: Sequence[str], places: Sequence[float]) -> dict[str, int]:
    """The point nearest to where a figure was tapped."""
    pairs = zip(axes, places, strict=False)
    return {axis: nearest_index(reader.coordinates(axis), value) for axis, value in pairs if axis}


def error_of(reader: Reader, name: str, axes: tuple[str, ...], view: View) -> Any:
    """Standard errors of a variable over some axes; None if there are none."""
    error = f"{name}_se"
    return reader.surface(error, axes, view.place) if error in reader.ds else None
