"""How much the counts of one configuration of the lattice scatter: neighbourhoods overlap.

A site and its neighbours share atoms with the neighbourhoods beside them, and near a phase
transition with those far away, so that N neighbourhoods scatter more (or less) than N independent
draws. The simulation itself shows by how much.
"""

import tomllib
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

Floats = npt.NDArray[np.float64]

# Of slow modes: energy and, where it is free, magnetization, with their squares.
_MODES = (("e", "e2"), ("m", "m2"))


def count_covariance(point: xr.Dataset) -> Floats:
    """Covariance of the class counts of one configuration, per neighbourhood.

    N neighbourhoods that are counted in an image of the same phase have N times this covariance;
    independent ones would have diag(q) − qqᵀ.

    Parameters
    ----------
    point
        One point of a sweep. With ``sample_histogram`` (replica, sample, configuration) the
        covariance is that of all single configurations. Else it is that of the replicas' means
        times the number of samples; samples that follow each other closely are alike, which is
        taken out along the energy and the magnetization, the slowest quantities, whose scatter in
        single configurations ``moments`` tells.

    Returns
    -------
    ndarray
        (classes, classes), symmetric, rows summing to zero; NaN if the point is not computed.

    Examples
    --------
    >>> draws = np.random.default_rng(1).multinomial(900, [0.2, 0.3, 0.5], size=64)
    >>> one = xr.Dataset({"histogram_replica": (("replica", "configuration"), draws)})
    >>> q = np.array([0.2, 0.3, 0.5])
    >>> bool(np.allclose(count_covariance(one), np.diag(q) - np.outer(q, q), atol=0.12))
    True
    """
    if "sample_histogram" in point:
        single = point["sample_histogram"].transpose(..., "configuration").values
        return _scatter(single.reshape(-1, single.shape[-1]))
    counts = point["histogram_replica"].transpose("replica", "configuration").values.astype(float)
    samples = _samples(point.attrs)
    if samples is None or "moments" not in point:
        return _scatter(counts)
    number = counts.sum(axis=1, keepdims=True)
    sites = number.mean() / samples
    slow, single_scatter = _slow_modes(point["moments"], samples)
    fast = counts / np.where(number > 0, number, np.nan)
    fast = fast - fast.mean(axis=0)
    carried = np.zeros((fast.shape[1],) * 2)
    if slow.shape[1]:
        slope = np.linalg.lstsq(slow, fast, rcond=None)[0]
        fast = fast - slow @ slope
        carried = slope.T @ single_scatter @ slope
    degrees = len(fast) - 1 - slow.shape[1]
    found: Floats = sites * (samples * fast.T @ fast / degrees + carried)
    return found


def _scatter(counts: npt.NDArray[Any]) -> Floats:
    """Covariance over histograms of equal size, per neighbourhood."""
    number = counts.sum(axis=-1).mean()
    found: Floats = np.atleast_2d(np.cov(counts.T)) / (number if number > 0 else np.nan)
    return found


def _samples(attrs: dict[Any, Any]) -> int | None:
    """Samples a replica, as the sweep's own spec says."""
    try:
        return int(tomllib.loads(str(attrs["spec"]))["schedule"]["samples"])
    except (KeyError, TypeError, ValueError):
        return None


def _slow_modes(moments: xr.DataArray, samples: int) -> tuple[Floats, Floats]:
    """Deviations of the replicas' means, (replicas, modes), and the covariance of single ones."""
    deviations, single = [], []
    for name, square in _MODES:
        mean = moments.sel(moment=name).values
        variance = float(moments.sel(moment=square).values.mean() - mean.mean() ** 2)
        if variance > 1e-12 * max(mean.mean() ** 2, 1e-12) and mean.std() > 0:
            deviations.append(mean - mean.mean())
            # Means of independent samples scatter less by their number; no means scatter more.
            least = mean.var(ddof=1)
            single.append(min(max(variance, least), samples * least * 1.5))
    number = len(deviations)
    slow = np.array(deviations).T.reshape(len(moments["replica"]), number)
    means = np.cov(slow.T).reshape(number, number)
    return slow, means * _growth(np.array(single) / np.diag(means))


def _growth(variance: Floats) -> Floats:
    """How much larger covariances of modes are in single samples, from how much variances are.

    If both modes decayed as one, by the geometric mean of the variances'; if the faster one
    followed the slower and else were free, by the lesser. Dynamics lie between.
    """
    as_one, by_slower = np.sqrt(np.outer(variance, variance)), np.minimum.outer(variance, variance)
    found: Floats = (as_one + by_slower) / 2
    return found
