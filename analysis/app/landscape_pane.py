"""``LandscapePane``: S² of all images with its fit and contours, and a small map of each image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from bokeh.models import Span

from latticescape.analysis.app.figures import CurveFigure, MapFigure
from latticescape.analysis.app.panes import TOP, note
from latticescape.analysis.app.view import ALL, View, symbol
from latticescape.analysis.inference.estimation.deviance import part_of
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.analysis.plots.labels import axis_label, listed, place_text, species_of
from latticescape.analysis.plots.values import (
    CONTOUR_POINTS,
    Estimate,
    distance_table,
    estimate_of,
    landscape_of,
)

MOST_IMAGES = 6
MOST_CURVES = 5
MOST_SAMPLES = 3000

# Points along an axis of a small map's contours.
SMALL = 81


class LandscapePane:
    """S² over one or two parameters; further ones have the values of the point.

    Parameters
    ----------
    landscape
        The result of ``landscape``.
    posterior
        Samples of the parameters, of any dimensions.
    spans
        The cross hair of the maps.
    tapped
        Called with the parameters at a tap.
    estimates
        A cache of fits, shared by the browsers of a server.
    """

    def __init__(
        self,
        landscape: xr.Dataset,
        posterior: xr.Dataset | None,
        spans: tuple[Span, Span],
        tapped: Callable[[dict[str, float]], None],
        estimates: dict[object, Estimate] | None = None,
    ) -> None:
        self.landscape, self.posterior = landscape, posterior
        self.estimates = {} if estimates is None else estimates
        self.parameters = parameters_of(landscape)
        self.species = species_of(landscape)
        self.axes: list[str] = list(self.parameters[:2])
        self.images = [str(n) for n in landscape[part_of(landscape)].to_numpy()[:MOST_IMAGES]]

        def tap(x: float, y: float) -> None:
            tapped(dict(zip(self.axes, (x, y), strict=False)))

        if not self.parameters:
            s2 = float(landscape["s2_total"])
            self.layout: Any = note(f"The landscape has no parameters: S² = {s2:.4f}", TOP)
        elif len(self.parameters) == 1:
            self.curve: Any = CurveFigure(TOP, tap)
            self.curve.shade(self._intervals())
            self.layout = _pane(self.curve, TOP)
        else:
            self.large = MapFigure(TOP, spans, tap)
            self.small = {name: MapFigure(TOP // 2, spans, tap, bar=False) for name in self.images}
            grid = pn.GridBox(
                *[_pane(figure, TOP // 2) for figure in self.small.values()],
                ncols=-(-len(self.small) // 2) or 1,
                sizing_mode="stretch_width",
            )
            self.layout = pn.Row(_pane(self.large, TOP), grid, sizing_mode="stretch_width")

    def draw(self, view: View, place: dict[str, float]) -> None:
        """Draw S² over the map's axes; further parameters have the values of ``place``."""
        if len(self.parameters) == 1:
            self._draw_curves()
        if len(self.parameters) < 2:
            return
        chosen = [axis for axis in (view.x, view.y) if axis in self.parameters]
        others = [axis for axis in self.parameters if axis not in chosen]
        self.axes = (chosen + others)[:2]
        fixed = {axis: place[axis] for axis in self.parameters if axis not in self.axes}
        cut = self.landscape.sel(fixed, method="nearest") if fixed else self.landscape
        at = listed(
            place_text(
                self.landscape,
                axis,
                int(np.abs(self.landscape[axis].to_numpy() - value).argmin()),
                self.species,
            )
            for axis, value in fixed.items()
        )
        self._draw_map(self.large, cut, None if view.image == ALL else view.image, at)
        if self.posterior is not None and set(self.axes) <= set(self.posterior.data_vars):
            columns = [self.posterior[axis].to_numpy().ravel() for axis in self.axes]
            step = -(-len(columns[0]) // MOST_SAMPLES)
            self.large.mark(self.large.samples, np.column_stack(columns)[::step])
        for name, figure in self.small.items():
            self._draw_map(figure, cut, name, at, small=True)

    def mark_point(self, place: dict[str, float]) -> None:
        """Mark the point."""
        if len(self.parameters) == 1:
            self.curve.mark_point(place[self.axes[0]])
        elif self.parameters:
            here = np.array([[place[axis] for axis in self.axes]])
            for figure in (self.large, *self.small.values()):
                figure.mark(figure.here, here)

    def _draw_map(
        self, figure: MapFigure, cut: xr.Dataset, image: object, at: str, *, small: bool = False
    ) -> None:
        landscape, name = landscape_of(cut, image)
        s2 = distance_table(landscape, self.axes)["s2"]
        labels = [symbol(s2[a]) if small else axis_label(s2[a], self.species) for a in self.axes]
        title = f"S², {name}" if small else f"Squared statistical distance S², {name}"
        if not s2.notnull().any():
            title += "\nnot computed yet"
        else:
            points = SMALL if small else CONTOUR_POINTS
            key = (id(self.landscape), tuple(self.axes), image, at, points)
            if key not in self.estimates:
                self.estimates[key] = estimate_of(landscape, self.axes, points=points)
            estimate = self.estimates[key]
            best = [estimate.fit.parameters[axis][0] for axis in self.axes]
            figure.mark(figure.best, np.array([best]))
            figure.contour(estimate.contours)
            lines = [estimate.text.replace(" at ", "\nat ") if small else estimate.text]
            if not small:
                lines += [f"cut at {at}"] if at else []
                lines += ["contours: 68 % (solid), 95 % (dashed)"] if estimate.contours else []
            title = "\n".join([title, lines[0], *filter(None, ["; ".join(lines[1:])])])
        if small:
            figure.figure.title.text_font_size = "10px"
        figure.show(
            s2.to_numpy(),
            (s2[self.axes[0]].to_numpy(), s2[self.axes[1]].to_numpy()),
            (labels[0], labels[1], "S²"),
            title=title,
            log=not bool((s2 <= 0).any()),
        )

    def _intervals(self) -> list[tuple[float, float]]:
        """Return the central 95 % and 68 % of the only parameter's samples."""
        if self.posterior is None or self.axes[0] not in self.posterior:
            return []
        values = self.posterior[self.axes[0]].to_numpy()
        ends = np.quantile(values, [0.025, 0.975, 0.16, 0.84]).reshape(2, 2)
        return [(float(low), float(high)) for low, high in ends]

    def _draw_curves(self) -> None:
        axis, images = self.axes[0], self.images[:MOST_CURVES]
        curves: list[tuple[Any, Any]] = []
        for image in [*images, None]:
            table = distance_table(landscape_of(self.landscape, image)[0], [axis])
            curves.append((table["s2"].to_numpy(), table["s2_se"].to_numpy()))
        x = table[axis].to_numpy()
        total = curves.pop()
        curves += [(x[:0], None)] * (MOST_CURVES - len(curves)) + [total]
        title = f"Squared statistical distance S²; black: all {part_of(self.landscape)}s; "
        title += f"coloured: {listed(images)}"
        if self.landscape["s2_total"].notnull().any():
            title += f"\n{estimate_of(self.landscape, [axis]).text}"
        if self._intervals():
            title += "; shaded: 68 % and 95 % of the posterior"
        label = axis_label(self.landscape[axis], self.species)
        self.curve.show(x, curves, (label, "S²"), title=title)


def _pane(figure: Any, height: int) -> Any:
    return pn.pane.Bokeh(figure.figure, sizing_mode="stretch_width", min_height=height)
