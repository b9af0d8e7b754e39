"""The picture of a calibration: how the fits rank the truth, one histogram by parameter."""

import holoviews as hv
import numpy as np
import xarray as xr
from scipy.stats import binom

from latticescape.analysis.plots.looks import FONTS, Picture, styled
from latticescape.physics.errors import RequestError

BINS = 10
BARS, GREY = "#56B4E9", "#999999"

# The band that the bars stay within, with this probability each, if errors are right.
WITHIN = 0.95


def calibration_chart(ds: xr.Dataset) -> Picture:
    """Draw where the truth lies in the distributions that fits report.

    If errors are right, the probability that a fit gives to values below the truth is uniform: bars
    are level within the grey band, which holds 95 % of them. A heap in the middle means errors that
    are too large, heaps at the ends errors that are too small, and a slope a bias.

    Parameters
    ----------
    ds
        The result of :func:`latticescape.calibrate`.

    Raises
    ------
    RequestError
        If it is not a calibration.

    Examples
    --------
    >>> pit = np.random.default_rng(1).random((200, 1))
    >>> ds = xr.Dataset(
    ...     {"pit": (("draw", "parameter"), pit),
    ...      "coverage": (("parameter", "level"), [[0.7, 0.9]])},
    ...     {"parameter": ["w1"], "level": [0.68, 0.95]})
    >>> len(calibration_chart(ds))
    1
    """
    if "pit" not in ds or "coverage" not in ds:
        came, allowed = ", ".join(map(str, ds)) or "nothing", "the result of calibrate"
        raise RequestError("the Dataset is not a calibration", came=came, allowed=allowed)
    draws = ds.sizes["draw"]
    expected = draws / BINS
    low, high = (float(end) for end in binom.interval(WITHIN, draws, 1 / BINS))
    panels = []
    for name in ds["parameter"].values.tolist():
        values = ds["pit"].sel(parameter=name).values
        numbers, edges = np.histogram(values[np.isfinite(values)], BINS, (0.0, 1.0))
        axes = [hv.Dimension("pit", label="probability that the fit gives to lower values")]
        heights = [hv.Dimension("experiments")]
        bars = hv.Histogram((edges, numbers), kdims=axes, vdims=heights)
        band = hv.Rectangles([(0.0, low, 1.0, high)], [*axes, *heights, "to x", "to y"])
        line = hv.HLine(expected)
        shares = ds["coverage"].sel(parameter=name)
        held = ", ".join(
            f"{float(level):.0%} intervals hold it in {float(shares.sel(level=level)):.0%}"
            for level in ds["level"]
        )
        parts = [
            styled(
                bars,
                {},
                {"fill_color": BARS, "line_color": "white"},
                {"facecolor": BARS, "edgecolor": "white"},
            ),
            styled(
                band, {"alpha": 0.35}, {"color": GREY}, {"facecolor": GREY, "edgecolor": "none"}
            ),
            styled(line, {"color": "black"}, {"line_width": 1}, {"linewidth": 1}),
        ]
        top = 1.15 * max(high, float(numbers.max()))
        look: dict[str, object] = {"title": f"{name}: {held}\nof {draws} experiments"}
        look |= {"fontsize": FONTS, "ylim": (0, top)}
        size = {"width": 520, "height": 400}
        panels.append(styled(hv.Overlay(parts), look, size, {"aspect": 1.25}))
    layout = hv.Layout(panels).cols(2)
    return styled(layout, {}, {"shared_axes": False}, {"fig_inches": 5.5, "shared_axes": False})
