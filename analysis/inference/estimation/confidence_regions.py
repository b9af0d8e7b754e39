"""Joint regions of parameters, whatever their shape."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.inference.estimation.density import Density
from latticescape.analysis.inference.estimation.deviance import Overlap, deviance
from latticescape.analysis.inference.estimation.fit import interpolated, located
from latticescape.physics.errors import RequestError

# Points of the grid a region is told on, an axis, by number of parameters.
POINTS = {1: 501, 2: 101}
FEWEST_POINTS = 31


def joint_region(
    landscape: xr.Dataset,
    level: float = 0.95,
    *,
    overlap: Overlap | None = None,
    points: int | None = None,
) -> xr.Dataset:
    """The parameters that the data do not rule out together.

    Where −2 ln L is above its least by less than the quantile of χ²: an ellipse where the landscape
    is a parabola, as :func:`fit` takes it to be, and else what it is, bent or open at an edge.
    The likelihood is that of :func:`posterior`, adjusted for counts that overlap.

    Parameters
    ----------
    landscape
        A landscape.
    level
        Of confidence, between 0 and 1.
    overlap
        How overlapping neighbourhoods are taken, see :func:`deviance`.
    points
        Of the region's own grid, an axis; by default 501, 101, or 31 from three parameters on.

    Returns
    -------
    Dataset
        ``excess``, −2 ln L above its least, and ``inside``, over the parameters on a grid of their
        own. Attributes: ``level``; ``threshold``, χ²; ``share`` of the grid's box that is inside;
        ``open_at``, the parameters at whose edges it goes on: there the share is a lower bound.

    Raises
    ------
    RequestError
        If the level is none, or too few points of the landscape are computed.

    References
    ----------
    Wilks, Ann. Math. Statist. 9, 60 (1938); Ribatet, Cooley and Davison, Statist. Sinica 22, 813
    (2012), for the adjustment.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-7),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-7), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> region = joint_region(landscape)
    >>> region.w1[region.inside].values[[0, -1]].round(2).tolist(), region.attrs["open_at"]
    ([-0.11, -0.05], [])
    """
    if not 0 < level < 1:
        raise RequestError("no level of confidence", came=level, allowed="0 < level < 1")
    told = deviance(landscape, overlap)
    between = interpolated(told)
    if between is None:
        raise RequestError(
            "too few points of the landscape are computed for a region",
            came=int(np.isfinite(told.values).sum()),
            allowed="three values or more of each parameter, computed",
            hint="a finer grid",
        )
    names = told.names
    density = Density(located(landscape, told, between), [None] * len(names))
    number = points or POINTS.get(len(names), FEWEST_POINTS)
    axes = [np.linspace(axis[0], axis[-1], number) for axis in between.axes]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    excess = -2 * density(mesh.reshape(-1, len(names))).reshape(mesh.shape[:-1])
    threshold = float(chi2(len(names)).ppf(level))
    inside = excess <= threshold
    return xr.Dataset(
        {
            "excess": (names, excess, {"long_name": "−2 ln L above its least"}),
            "inside": (names, inside, {"long_name": f"inside the joint {level:.0%} region"}),
        },
        {name: (name, axis, landscape[name].attrs) for name, axis in zip(names, axes, strict=True)},
        {
            "level": level,
            "threshold": threshold,
            "share": float(inside.mean()),
            "open_at": [name for k, name in enumerate(names) if _reaches_edge(inside, k)],
        },
    )


def _reaches_edge(inside: npt.NDArray[np.bool_], axis: int) -> bool:
    return bool(inside.take([0, -1], axis).any())
