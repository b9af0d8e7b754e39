"""Landscapes of several sources: histograms and profiles, combined with weights."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Profile = xr.Dataset | pd.DataFrame | Mapping[str, npt.ArrayLike]
Convention = Literal["gaussian", "vlcek"]

# BC = exp(−Δ²/(n v)).
_OVERLAPS: dict[str, float] = {"gaussian": 8.0, "vlcek": 4.0}


def profile_landscape(
    simulated: xr.Dataset,
    profile: Profile,
    *,
    variable: str,
    convention: Convention = "gaussian",
) -> xr.Dataset:
    """S² between a measured profile and a simulated one, over a sweep's axes.

    Every value of the profile is a Gaussian: two with the same variance v and the distance Δ
    overlap by BC = exp(−Δ²/8v), and S² = arccos² BC. The S² of the profile is their mean and its n
    their number, so that −ln L = 2 n S² ≈ Σ Δ²/2v. The p-value is that of χ² = Σ Δ²/v itself,
    because the S² of a value many errors away saturates.

    Parameters
    ----------
    simulated
        A sweep's Dataset with the variable over its axes and one more dimension, such as ``layer``;
        with ``…_se`` if it has Monte Carlo errors.
    profile
        ``value`` and ``error`` (standard deviation), each in the order of that dimension.
    variable
        Its name.
    convention
        ``"gaussian"``: as above. ``"vlcek"``: exp(−Δ²/4v), as in the code of Vlcek et al., which
        is what half the variance would give.

    Returns
    -------
    Dataset
        A landscape as :func:`latticescape.landscape` makes it, with the variable as its one image,
        and no degrees of freedom, since its 4nS² follows no χ².

    Raises
    ------
    RequestError
        If the sweep has no such variable, the lengths differ, or an error is not positive.

    References
    ----------
    Wootters, Phys. Rev. D 23, 357 (1981); Vlcek et al., ACS Nano 11, 10313 (2017).

    Examples
    --------
    >>> w = np.linspace(0.0, 1.0, 5)
    >>> sweep = xr.Dataset({"ca": (("w", "layer"), w[:, None] * [1.0, 2.0])}, coords={"w": w})
    >>> profile = {"value": [0.5, 1.0], "error": [0.1, 0.1]}
    >>> landscape = profile_landscape(sweep, profile, variable="ca")
    >>> float(landscape.s2_total.idxmin()), int(landscape.n[0])
    (0.5, 2)
    """
    if convention not in _OVERLAPS:
        raise RequestError(
            "unknown convention of Gaussian sources", came=convention, allowed="gaussian | vlcek"
        )
    if variable not in simulated:
        raise RequestError(
            f"the sweep has no variable {variable}",
            came=variable,
            allowed=", ".join(map(str, simulated.data_vars)),
        )
    missing = [name for name in ("value", "error") if name not in profile]
    if missing:
        raise RequestError(
            f"the profile has no {missing[0]}",
            came=", ".join(map(str, profile)),
            allowed="value and error",
        )
    value, error = (np.asarray(profile[name], float).ravel() for name in ("value", "error"))
    mean = simulated[variable]
    length = mean.sizes[mean.dims[-1]]
    if not value.size == error.size == length:
        raise RequestError(
            f"the profile is not as long as the simulated {variable}",
            came=f"{value.size} values and {error.size} errors",
            allowed=f"{length} of each",
        )
    if not (np.isfinite(value).all() and np.isfinite(error).all() and (error > 0).all()):
        raise RequestError(
            "a value of the profile is not a number, or its error is not positive",
            came=f"least error {np.min(error):g}",
            allowed="finite values, errors above 0",
        )
    noise = simulated.get(f"{variable}_se", xr.zeros_like(mean))
    distances = _profile_distance(
        mean.values - value, noise.values, _OVERLAPS[convention] * error**2
    )
    axes = [str(dim) for dim in mean.dims[:-1]]
    p = chi2(value.size).sf(np.sum(((mean.values - value) / error) ** 2, axis=-1))
    totals = {name.replace("s2", "s2_total"): (axes, v) for name, v in distances.items()}
    totals["p_value_total"] = (axes, p)
    images = {name: (["image", *axes], values[None]) for name, values in distances.items()}
    images["p_value"] = (["image", *axes], p[None])
    return xr.Dataset(
        {**images, **totals, "n": ("image", [value.size])},
        coords={"image": [variable], **{name: simulated[name] for name in axes}},
        attrs={"convention": convention, "degrees_of_freedom": 0},
    )


def _profile_distance(difference: Floats, noise: Floats, width: Floats) -> dict[str, Floats]:
    """Mean over the last axis of arccos² exp(−Δ²/width), its Monte Carlo error and bias."""
    overlap = np.exp(-(difference**2) / width)
    angle = np.arccos(overlap)
    sine = np.sqrt(np.maximum(1 - overlap**2, 1e-30))
    # d arccos² BC/dΔ, divided by Δ; its limit at Δ = 0 is 4/width.
    slope = np.where(overlap < 1, angle * overlap / sine, 1.0) * 4 * difference / width
    return {
        "s2": np.mean(angle**2, axis=-1),
        "s2_se": np.sqrt(np.sum((slope * noise) ** 2, axis=-1)) / difference.shape[-1],
        "s2_bias": np.mean(2 * noise**2 / width, axis=-1),
    }


def combine(
    sources: Mapping[str, xr.Dataset], weights: Mapping[str, float] | None = None
) -> xr.Dataset:
    """One landscape of several sources, S² = Σ c_s S²_s.

    Parameters
    ----------
    sources
        Landscapes by name, over the same grid of the same parameters.
    weights
        c_s by name; they are divided by their sum. By default shares of what was counted,
        c_s = n_s/Σn, with which −ln L = 2 Σ n_s S²_s; other weights divide the same Σn.

    Returns
    -------
    Dataset
        A landscape with the dimension ``source`` in place of ``image``, and ``weight`` (source).
        Its degrees of freedom are 0 for sources whose S² follows no χ²: profiles, and with
        weights other than those of the data all.

    Raises
    ------
    RequestError
        If there is no source, a weight is missing, unknown or not positive, or the grids differ.

    References
    ----------
    Vlcek et al., ACS Nano 11, 10313 (2017), for S² = c_SO S²_SO + c_SN S²_SN + c_PR S²_PR.

    Examples
    --------
    >>> w = np.linspace(0.0, 1.0, 5)
    >>> sweep = xr.Dataset({"ca": (("w", "layer"), w[:, None] * [1.0])}, coords={"w": w})
    >>> one, other = (
    ...     profile_landscape(sweep, {"value": [v], "error": [0.1]}, variable="ca")
    ...     for v in (0.25, 0.75))
    >>> both = combine({"one": one, "other": other}, weights={"one": 3.0, "other": 1.0})
    >>> both.s2.dims, both.weight.values.tolist()
    (('source', 'w'), [0.75, 0.25])
    """
    _check_grids(sources)
    numbers = {name: float(landscape["n"].sum()) for name, landscape in sources.items()}
    if weights is not None and set(weights) != set(sources):
        raise RequestError(
            "weights must name the sources", came=", ".join(weights), allowed=", ".join(sources)
        )
    if not all(np.isfinite(w) and w > 0 for w in (weights or {}).values()):
        raise RequestError("a weight is not positive", came=dict(weights or {}), allowed="above 0")
    shares = numbers if weights is None else weights
    total = sum(numbers.values())
    share = xr.DataArray(
        [shares[name] / sum(shares.values()) for name in sources],
        {"source": list(sources)},
        ["source"],
    )

    def stacked(name: str) -> xr.DataArray:
        parts = [landscape[name].reset_coords(drop=True) for landscape in sources.values()]
        return xr.concat(parts, share["source"], join="exact")

    s2, se = stacked("s2_total"), stacked("s2_total_se")
    bias = (
        stacked("s2_total_bias") if all("s2_total_bias" in s for s in sources.values()) else 0 * s2
    )
    values: dict[str, Any] = {"s2": s2, "s2_se": se, "s2_bias": bias}
    # Each source has a simulation of its own: errors add as squares.
    values["s2_total"] = (share * s2).sum("source", skipna=False)
    values["s2_total_se"] = ((share * se) ** 2).sum("source", skipna=False) ** 0.5
    values["s2_total_bias"] = (share * bias).sum("source", skipna=False)
    counted = xr.DataArray([*numbers.values()], share.coords, share.dims)
    values["n"], values["weight"] = counted if weights is None else share * total, share
    dofs = [landscape.attrs.get("degrees_of_freedom") for landscape in sources.values()]
    if None in dofs:
        return xr.Dataset(values)
    tested = dofs if weights is None else [0] * len(dofs)
    return xr.Dataset(values, attrs={"degrees_of_freedom": tested})


def _check_grids(sources: Mapping[str, xr.Dataset]) -> None:
    if not sources:
        raise RequestError("no source to combine", came="{}", allowed="landscapes by name")
    first, one = next(iter(sources.items()))
    names = parameters_of(one)
    for name, landscape in sources.items():
        same = set(parameters_of(landscape)) == set(names) and all(
            np.array_equal(landscape[p].values, one[p].values) for p in names
        )
        if not same:
            raise RequestError(
                f"the sources {first} and {name} are of different grids",
                came=", ".join(f"{p} ({landscape.sizes[p]})" for p in parameters_of(landscape)),
                allowed=", ".join(f"{p} ({one.sizes[p]})" for p in names),
                hint="both from one sweep",
            )
