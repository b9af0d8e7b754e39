"""Joint confidence regions of parameters, of any shape."""

import numpy as np
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.inference.estimation.deviance import Overlap, deviance, part_of
from latticescape.analysis.inference.estimation.fit import Fit, find_minimum, fit, interpolated
from latticescape.analysis.inference.estimation.posterior import Density
from latticescape.physics.errors import RequestError

# Points along each axis of the region's grid, by number of parameters.
POINTS = {1: 501, 2: 101}
FEWEST_POINTS = 31


def joint_region(
    landscape: xr.Dataset,
    level: float = 0.95,
    *,
    overlap: Overlap | None = None,
    points: int | None = None,
) -> xr.Dataset:
    """The joint confidence region of the parameters.

    It holds the points where −2 ln L exceeds its minimum by less than the quantile of χ². It is an
    ellipse where the landscape is a parabola, as :func:`fit` assumes; otherwise it may be bent, or
    open at an edge of the grid. The likelihood is that of :func:`posterior`, adjusted for
    overlapping counts.

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
        ``excess``, −2 ln L above its minimum, and ``inside``, over the parameters on a grid of
        their own. Attributes: ``level``; ``threshold``, χ²; ``share`` of the grid's box that is
        inside; ``open_at``, the parameters at whose edges it is cut off, so that the share is a
        lower bound.

    Raises
    ------
    RequestError
        If the level is not between 0 and 1, or too few points of the landscape are computed.

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
        raise RequestError(
            "the level of confidence must lie between 0 and 1", came=level, allowed="0 < level < 1"
        )
    _, excess = fit_with_excess(landscape, overlap=overlap, points=points)
    if excess is None:
        raise RequestError(
            "too few points of the landscape are computed for a region",
            came=int(np.isfinite(landscape["s2_total"]).sum()),
            allowed="three values or more of each parameter, computed",
            hint="a finer grid",
        )
    threshold = float(chi2(excess.ndim).ppf(level))
    inside = (excess <= threshold).assign_attrs(long_name=f"inside the joint {level:.0%} region")
    reach = {name: inside.isel({name: [0, -1]}).any() for name in excess.dims}
    return xr.Dataset(
        {"excess": excess, "inside": inside},
        attrs={
            "level": level,
            "threshold": threshold,
            "share": float(inside.mean()),
            "open_at": [str(name) for name, reaches in reach.items() if reaches],
        },
    )


def fit_with_excess(
    landscape: xr.Dataset, *, overlap: Overlap | None = None, points: int | None = None
) -> tuple[Fit, xr.DataArray | None]:
    """The fit of a landscape, and −2 ln L above its minimum for confidence contours.

    Verbs, pictures and pages that show parameters use this function or :func:`latticescape.fit`, so
    that they all agree.

    Parameters
    ----------
    landscape
        A landscape.
    overlap
        How overlapping neighbourhoods are taken, see :func:`deviance`.
    points
        Of the excess's own grid, an axis; by default 501, 101, or 31 from three parameters on.

    Returns
    -------
    fit, excess
        The excess is 0 at the fit's parameters, and its confidence region of level p is where it is
        below the quantile p of χ² with as many degrees of freedom as it has dimensions. It is None
        where too few points are computed for a curve.

    Raises
    ------
    RequestError
        If no point of the landscape is computed.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-7),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-7), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> estimate, excess = fit_with_excess(landscape)
    >>> value, error = estimate.parameters["w1"]
    >>> round(float(excess.interp(w1=value + error)), 2)
    1.0
    """
    values = deviance(landscape, overlap)
    between = interpolated(values) if values.names else None
    if between is None:
        return fit(landscape, overlap=overlap), None
    minimum = find_minimum(landscape, values, between)
    names = values.names
    density = Density(minimum, [None] * len(names))
    number = points or POINTS.get(len(names), FEWEST_POINTS)
    axes = [np.linspace(axis[0], axis[-1], number) for axis in between.axes]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    excess = -2 * density(mesh.reshape(-1, len(names))).reshape(mesh.shape[:-1])
    return minimum.fit, xr.DataArray(
        excess,
        {name: (name, axis, landscape[name].attrs) for name, axis in zip(names, axes, strict=True)},
        names,
        "excess",
        {"long_name": "−2 ln L above its minimum"},
    )


def of_one_part(landscape: xr.Dataset, part: object) -> xr.Dataset:
    """The landscape of one image, or of one source, by its name.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2": ("image", [0.01, 0.03]), "s2_se": ("image", [0.0, 0.0]),
    ...     "s2_total": 0.02, "n": ("image", [100, 100])}, {"image": ["one", "two"]})
    >>> float(of_one_part(landscape, "two").s2_total)
    0.03
    """
    dim = str(part_of(landscape))
    one = landscape.isel({dim: landscape[dim].values.tolist().index(part)})
    totals = {
        f"s2_total{end}": one[f"s2{end}"] for end in ("", "_se", "_bias") if f"s2{end}" in one
    }
    chosen = landscape.sel({dim: [part]})
    return chosen.assign({name: values.drop_vars(dim) for name, values in totals.items()})
