"""From sums over replicas to observables, each with its standard error.

Everything is computed point by point on arrays of one fixed shape: a reduction over all points of
a block could round differently for another block size, and a point's bits may not depend on its
block.
"""

from collections.abc import Callable

import numpy as np

from latticescape.physics.kernels.reference import Floats, Sums
from latticescape.physics.kernels.sampler import Samples
from latticescape.physics.models.model import REPLICAS

Estimates = dict[str, Floats]

_PER_SITE_POWER = np.array([1, 1, 2, 4, 1, 2])


def replica_moments(sums: Sums, sites: int, samples: int) -> Floats:
    """Mean moments per site of each replica of a point, (64, moments)."""
    return sums.moments / samples / float(sites) ** _PER_SITE_POWER


def estimates(moments: Floats, sites: int, temperature: float) -> Estimates:
    """Observables per site from mean moments (…, moments).

    χ = N(⟨m²⟩ − ⟨m⟩²)/T, C = N(⟨e²⟩ − ⟨e⟩²)/T², U = 1 − ⟨m⁴⟩/(3⟨m²⟩²), with k_B = 1
    (Binder, Z. Phys. B 43, 119 (1981), for U).

    Examples
    --------
    >>> up = np.array([1.0, 1.0, 1.0, 1.0, -2.0, 4.0])
    >>> values = estimates(up, sites=16, temperature=1.0)
    >>> values["binder_cumulant"].round(4).item(), values["heat_capacity"].item()
    (0.6667, 0.0)
    """
    m, m_abs, m2, m4, e, e2 = np.moveaxis(moments, -1, 0)
    square = np.where(m2 > 0, m2, np.nan)
    return {
        "energy": e,
        "magnetization": m,
        "magnetization_abs": m_abs,
        "susceptibility": sites * (m2 - m * m) / temperature,
        "susceptibility_abs": sites * (m2 - m_abs * m_abs) / temperature,
        "heat_capacity": sites * (e2 - e * e) / temperature**2,
        "binder_cumulant": 1 - m4 / (3 * square * square),
    }


def jackknife(
    values: Floats, estimate: Callable[[Floats], Estimates]
) -> tuple[Estimates, Estimates]:
    """Estimates from the mean over replicas, and their standard errors.

    Parameters
    ----------
    values
        One row for each replica, (replicas, …).
    estimate
        Function from a mean (…, quantities) to named observables.

    Returns
    -------
    tuple
        The estimates from the mean of all rows, and their jackknife standard errors
        (Efron and Stein, Ann. Statist. 9, 586 (1981)).

    Examples
    --------
    >>> value, error = jackknife(np.array([[1.0], [3.0]]), lambda mean: {"mean": mean[..., 0]})
    >>> value["mean"].item(), error["mean"].item()
    (2.0, 1.0)
    """
    number = len(values)
    total = values.sum(axis=0)
    without_one = estimate((total - values) / (number - 1))
    errors = {
        name: np.sqrt((number - 1) / number * np.sum((parts - parts.mean()) ** 2))
        for name, parts in without_one.items()
    }
    return estimate(total / number), errors


def energy_drift(sums: Sums, couplings: Floats, sites: int, samples: int) -> Floats:
    """Energy per site, second half of the samples minus first, of each replica, (64,)."""
    early = samples // 2
    late = samples - early
    change = (sums.features - sums.first_half) / late - sums.first_half / early
    drift: Floats = np.sum(change * couplings, axis=-1) / sites
    return drift


def observe(samples: Samples, couplings: Floats, temperatures: Floats) -> dict[str, np.ndarray]:
    """Compute every variable of a block of points.

    Parameters
    ----------
    samples
        The sums of the block.
    couplings
        Energy per unit of each feature, (points, features).
    temperatures
        (points,).

    Returns
    -------
    dict
        Arrays by variable name, points first; ``histogram`` sums over replicas.
    """
    rows = [
        _observe_point(samples, p, couplings[p], float(temperatures[p]))
        for p in range(len(temperatures))
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _observe_point(
    samples: Samples, point: int, couplings: Floats, temperature: float
) -> dict[str, np.ndarray]:
    sums, sites, number = samples.of_point(point), samples.sites, samples.samples
    moments = replica_moments(sums, sites, number)
    values, errors = jackknife(moments, lambda mean: estimates(mean, sites, temperature))
    drift = energy_drift(sums, couplings, sites, number)
    values["energy_drift"] = np.asarray(drift.mean())
    errors["energy_drift"] = np.asarray(drift.std(ddof=1) / np.sqrt(REPLICAS))
    rate = _acceptance(samples, point)
    values["tempering_acceptance"] = np.asarray(rate.mean())
    errors["tempering_acceptance"] = np.asarray(rate.std(ddof=1) / np.sqrt(REPLICAS))
    return {
        **values,
        **{f"{name}_se": error for name, error in errors.items()},
        "histogram": sums.histogram.sum(axis=0),
        "histogram_replica": sums.histogram,
        "features": sums.features / number,
        "moments": moments,
    }


def _acceptance(samples: Samples, point: int) -> Floats:
    """Fraction of accepted swaps with the next hotter point, of each replica, (64,)."""
    attempted = samples.swaps_attempted[point]
    if not attempted:
        return np.full(REPLICAS, np.nan)
    rate: Floats = samples.swaps_accepted[point] / attempted
    return rate
