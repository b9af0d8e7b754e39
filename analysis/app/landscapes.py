"""The landscape's panes: S² of all images with contours, and small ones of each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from bokeh.models import Span
from skimage.measure import find_contours

from latticescape.analysis.app.figures import CurveFigure, MapFigure
from latticescape.analysis.app.panes import TOP, note
from latticescape.analysis.app.view import ALL, View, symbol
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.analysis.plots.maps import label_of, unit_of
from latticescape.analysis.plots.surfaces import FINE, distance_surface, estimated, levels, part_of

Tap = Callable[[dict[str, float]], None]

MOST_IMAGES = 6
MOST_SAMPLES = 3000

# Points an axis of a small map's contours.
SMALL = 81


class LandscapePane:
    """S² over one or two parameters; more are fixed where the point is.

    Parameters
    ----------
    scape
        As ``landscape`` returns it.
    posterior
        Samples of the parameters, of any dims.
    spans
        The cross hair of the maps.
    tapped
        Called with the parameters where one tapped.
    """

    def __init__(
        self,
        scape: xr.Dataset,
        posterior: xr.Dataset | None,
        spans: tuple[Span, Span],
        tapped: Tap,
    ) -> None:
        self.scape, self.posterior = scape, posterior
        self.parameters = parameters_of(scape)
        self._tapped = tapped
        self.axes: list[str] = list(self.parameters[:2])
        self.images = [str(name) for name in scape[part_of(scape)].to_numpy()[:MOST_IMAGES]]
        if not self.parameters:
            self.layout: Any = note(_told_total(scape), TOP)
            return
        if len(self.parameters) == 1:
            self.curve: Any = CurveFigure(TOP, self._tap)
            self.curve.shade(self._shares())
            self.layout = _pane(self.curve, TOP)
            return
        self.large = MapFigure(TOP, spans, self._tap)
        small = TOP // 2
        self.small = {name: MapFigure(small, spans, self._tap, bar=False) for name in self.images}
        grid = pn.GridBox(
            *[_pane(drawn, small) for drawn in self.small.values()],
            ncols=-(-len(self.small) // 2) or 1,
            sizing_mode="stretch_width",
        )
        self.layout = pn.Row(_pane(self.large, TOP), grid, sizing_mode="stretch_width")

    def draw(self, view: View, place: dict[str, float]) -> None:
        """Draw S² around a place."""
        if not self.parameters:
            return
        if len(self.parameters) == 1:
            self._draw_curves()
            return
        chosen = [axis for axis in (view.x, view.y) if axis in self.parameters]
        others = [axis for axis in self.parameters if axis not in chosen]
        self.axes = (chosen + others)[:2]
        fixed = {axis: place[axis] for axis in self.parameters if axis not in self.axes}
        cut = self.scape.sel(fixed, method="nearest") if fixed else self.scape
        whose = None if view.image == ALL else view.image
        self._draw_map(self.large, cut, whose, log=True)
        self._draw_samples()
        for name, drawn in self.small.items():
            self._draw_map(drawn, cut, name, log=True, small=True)

    def stand(self, place: dict[str, float]) -> None:
        """Mark the point."""
        if not self.parameters:
            return
        if len(self.parameters) == 1:
            self.curve.stand(place[self.axes[0]])
            return
        here = np.array([[place[axis] for axis in self.axes]])
        for drawn in (self.large, *self.small.values()):
            drawn.mark(drawn.here, here)

    def _draw_map(
        self, drawn: MapFigure, cut: xr.Dataset, image: object, *, log: bool, small: bool = False
    ) -> None:
        table, _, whose = distance_surface(cut, self.axes, image)
        s2 = table["s2"]
        labels = [(symbol if small else _label)(s2[axis]) for axis in self.axes]
        told = f"S², {whose}" if small else f"Squared statistical distance S², {whose}"
        if bool(s2.notnull().any()):
            fit, excess = estimated(cut, self.axes, image, SMALL if small else FINE)
            drawn.mark(drawn.best, np.array([[fit.parameters[axis][0] for axis in self.axes]]))
            told += f"\nS² = {fit.s2_total:.4f} at {_in_words(fit, self.axes)}"
            if not small:
                told += "; contours 68 % (solid), 95 %"
            drawn.contour({} if excess is None else _lines(excess, self.axes))
        else:
            told += "\nnot computed yet"
        if small:
            drawn.figure.title.text_font_size = "10px"
        coordinates = (s2[self.axes[0]].to_numpy(), s2[self.axes[1]].to_numpy())
        drawn.show(
            s2.to_numpy(),
            coordinates,
            (labels[0], labels[1], "S²"),
            title=told,
            log=log and not bool((s2 <= 0).any()),
        )

    def _draw_samples(self) -> None:
        if self.posterior is None or not set(self.axes) <= set(self.posterior.data_vars):
            return
        columns = [self.posterior[axis].to_numpy().ravel() for axis in self.axes]
        points = np.column_stack(columns)
        step = -(-len(points) // MOST_SAMPLES)
        self.large.mark(self.large.samples, points[::step])

    def _shares(self) -> list[tuple[float, float]]:
        """The 95 % and the 68 % of the only parameter's samples."""
        if self.posterior is None or self.axes[0] not in self.posterior:
            return []
        values = self.posterior[self.axes[0]].to_numpy()
        ends = np.quantile(values, [0.025, 0.975, 0.16, 0.84]).reshape(2, 2)
        return [(float(low), float(high)) for low, high in ends]

    def _draw_curves(self) -> None:
        axis = self.axes[0]
        curves: list[tuple[Any, Any]] = []
        for image in [*self.images[:5], None]:
            table, _, _ = distance_surface(self.scape, [axis], image)
            curves.append((table["s2"].to_numpy(), table["s2_se"].to_numpy()))
            x = table[axis].to_numpy()
        names = ", ".join(self.images[:5])
        total = curves.pop()
        curves += [(x[:0], None)] * (5 - len(curves)) + [total]
        whole = f"all {part_of(self.scape)}s"
        told = f"Squared statistical distance S²; black: {whole}; coloured: {names}"
        if self._shares():
            told += "; shaded: 68 % and 95 % of the posterior"
        if bool(self.scape["s2_total"].notnull().any()):
            fit, _ = estimated(self.scape, [axis], None)
            told += f"\nS² = {fit.s2_total:.4f} at {_in_words(fit, [axis])}"
        self.curve.show(x, curves, (_label(self.scape[axis]), "S²"), title=told)

    def _tap(self, x: float, y: float) -> None:
        self._tapped(dict(zip(self.axes, (x, y), strict=False)))


def _in_words(fit: Fit, axes: list[str]) -> str:
    pairs = {axis: fit.parameters[axis] for axis in axes}
    return ", ".join(
        f"{axis} = {value:.3g} ± {error:.2g}" for axis, (value, error) in pairs.items()
    )


def _lines(excess: xr.DataArray, axes: list[str]) -> dict[str, list[Any]]:
    """Contours of the confidence regions in the units of the axes."""
    x, y = (excess[axis].to_numpy() for axis in axes)
    lines: dict[str, list[Any]] = {}
    for dash, level in levels(2).items():
        lines[dash] = [
            np.column_stack(
                [
                    np.interp(line[:, 1], np.arange(len(x)), x),
                    np.interp(line[:, 0], np.arange(len(y)), y),
                ]
            )
            for line in find_contours(excess.to_numpy(), level)
        ]
    return lines


def _label(axis: xr.DataArray) -> str:
    unit = unit_of(axis)
    return f"{label_of(axis)} ({unit})" if unit else label_of(axis)


def _told_total(scape: xr.Dataset) -> str:
    return f"The landscape has no parameters: S² = {float(scape['s2_total']):.4f}"


def _pane(drawn: Any, height: int) -> Any:
    return pn.pane.Bokeh(drawn.figure, sizing_mode="stretch_width", min_height=height)
