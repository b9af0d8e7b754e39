"""The statistical distance between histograms, s = arccos Σ√(pq)."""

from collections.abc import Hashable
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
ArrayOrData = TypeVar("ArrayOrData", Floats, xr.DataArray)


@overload
def statistical_distance(
    p: xr.DataArray, q: xr.DataArray, *, dim: Hashable | None = None
) -> xr.DataArray: ...
@overload
def statistical_distance(
    p: xr.DataArray, q: npt.ArrayLike, *, dim: Hashable | None = None
) -> xr.DataArray: ...
@overload
def statistical_distance(p: npt.ArrayLike, q: npt.ArrayLike, *, axis: int = -1) -> Floats: ...
def statistical_distance(
    p: npt.ArrayLike | xr.DataArray,
    q: npt.ArrayLike | xr.DataArray,
    *,
    axis: int = -1,
    dim: Hashable | None = None,
) -> Floats | xr.DataArray:
    """Statistical distance s = arccos Σ_i √(p_i q_i), in radians from 0 to π/2.

    The angle between two distributions, in units of what can be distinguished: for N samples of p
    compared with q, 4 N s² follows χ² with k − 1 degrees of freedom when p = q and N is large.
    Evaluated as 2 arcsin(|√p − √q|/2), the same number without the loss of digits of arccos near
    1: s(p, p) is exactly 0.

    Parameters
    ----------
    p, q
        Counts or probabilities over the same k classes, not negative; each histogram is
        normalized. Shapes broadcast.
    axis
        The axis of the classes, for arrays.
    dim
        The dimension of the classes, for DataArrays; by default ``configuration`` if there is
        one, else the last. Lazy arrays stay lazy.

    Returns
    -------
    ndarray or DataArray
        Distances; NaN where a histogram is empty (as at points not yet computed) or holds NaN.

    Raises
    ------
    RequestError
        If a count is negative or the numbers of classes differ.

    References
    ----------
    Wootters, Phys. Rev. D 23, 357 (1981); Braunstein and Caves, Phys. Rev. Lett. 72, 3439 (1994);
    Vlcek et al., ACS Nano 13 (2019), arXiv:1806.07475.

    Examples
    --------
    >>> float(statistical_distance([1, 0], [0, 1]) / np.pi)
    0.5
    >>> float(statistical_distance([30, 50, 20], [3, 5, 2]))
    0.0
    """
    labelled = next((h for h in (p, q) if isinstance(h, xr.DataArray)), None)
    if labelled is None:
        first, second = (np.atleast_1d(np.asarray(h, float)) for h in (p, q))
        return _distance(np.moveaxis(first, axis, -1), np.moveaxis(second, axis, -1))
    if dim is None:
        dim = "configuration" if "configuration" in labelled.dims else labelled.dims[-1]
    pair = [
        h if isinstance(h, xr.DataArray) else xr.DataArray(np.asarray(h, float), dims=[dim])
        for h in (p, q)
    ]
    _check_classes([int(h.sizes.get(dim, 0)) for h in pair])
    distances: xr.DataArray = xr.apply_ufunc(
        _distance,
        *pair,
        input_core_dims=[[dim], [dim]],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[float],
    )
    return distances.assign_attrs(long_name="statistical distance", units="rad")


def _distance(p: Floats, q: Floats) -> Floats:
    _check_classes([p.shape[-1], q.shape[-1]])
    separation = np.linalg.norm(np.sqrt(normalized(p)) - np.sqrt(normalized(q)), axis=-1)
    distance: Floats = np.minimum(2 * np.arcsin(np.minimum(separation / 2, 1.0)), np.pi / 2)
    return distance


def _check_classes(numbers: list[int]) -> None:
    if numbers[0] != numbers[1] or not all(numbers):
        came, hint = f"{numbers[0]} and {numbers[1]}", "physics.count_configurations for both"
        raise RequestError("the histograms must have the same classes", came=came, hint=hint)


def normalized(histogram: npt.NDArray[Any]) -> Floats:
    """Shares of the classes, along the last axis; NaN where a histogram is empty.

    Raises
    ------
    RequestError
        If a count is negative.

    Examples
    --------
    >>> normalized(np.array([1, 3]))
    array([0.25, 0.75])
    """
    if np.any(histogram < 0):
        raise RequestError(
            "a histogram holds a negative count", came=float(np.nanmin(histogram)), allowed=">= 0"
        )
    total = np.sum(histogram, axis=-1, keepdims=True, dtype=float)
    probabilities: Floats = histogram / np.where(total > 0, total, np.nan)
    return probabilities
