"""Disordered systems: averages over realisations of random bonds, and overlaps of replicas."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.analysis.phases.ordering import check_spins
from latticescape.physics.errors import RequestError
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.variables import SPINS, unpack_replicas

Floats = npt.NDArray[np.float64]

REALISATION = "realisation"
MOMENTS = {"overlap_squared": 2, "overlap_fourth": 4}


def disorder_average(ds: xr.Dataset, dim: str = REALISATION) -> xr.Dataset:
    """Average over realisations of the disorder, with thermal and disorder errors.

    Realisations that are not computed (NaN) are left out. All others have equal weight: the
    disorder is quenched, so observables are averaged, not partition functions.

    Parameters
    ----------
    ds
        A sweep with random bonds that has an axis ``realisation``.
    dim
        The axis, if it has another name.

    Returns
    -------
    Dataset
        Without the axis. For every variable with a standard error: its mean; ``…_spread``, the
        standard deviation over realisations, thermal noise subtracted; ``…_se_thermal``, the error
        due to the finite simulation of each realisation; ``…_se_disorder``, the error due to the
        finite number of realisations, the spread over its root (NaN for one realisation); and
        ``…_se``, both combined. Counts are summed; ``realisations`` is the number averaged over.

    Raises
    ------
    RequestError
        If there is no such axis, or no variable with a standard error along it.

    Examples
    --------
    >>> ds = xr.Dataset({"energy": ("realisation", [-1.0, -1.2, -0.8]),
    ...                  "energy_se": ("realisation", [0.03, 0.03, 0.03])})
    >>> average = disorder_average(ds)
    >>> round(float(average.energy), 3), round(float(average.energy_spread), 3)
    (-1.0, 0.198)
    """
    estimates = [n for n in map(str, ds.data_vars) if f"{n}_se" in ds and dim in ds[n].dims]
    if dim not in ds.dims or not estimates:
        missing = f"dimension {dim}" if dim not in ds.dims else "variable with a standard error"
        problem = f"the Dataset has no {missing} to average over disorder"
        allowed = "a sweep of a model with bonds, and realisation among its axes"
        hint = "realisation = { start = 0, stop = 7, num = 8 } in [grid]"
        raise RequestError(problem, came=listed(ds.dims), allowed=allowed, hint=hint)
    averages: dict[str, xr.DataArray] = {}
    for name in estimates:
        values, number = ds[name], ds[name].notnull().sum(dim)
        noise = (ds[f"{name}_se"].where(values.notnull()) ** 2).mean(dim)
        scatter = values.var(dim, ddof=1) if values.sizes[dim] > 1 else noise * float("nan")
        spread = (scatter - noise).clip(0) ** 0.5
        thermal, disorder = (noise / number) ** 0.5, spread / number**0.5
        long_name = values.attrs.get("long_name", name)
        for suffix, array, words in (
            ("", values.mean(dim), "mean over realisations of"),
            ("_spread", spread, "standard deviation over realisations of"),
            ("_se", (thermal**2 + disorder**2) ** 0.5, "total standard error of"),
            ("_se_thermal", thermal, "thermal standard error of"),
            ("_se_disorder", disorder, "standard error due to disorder of"),
        ):
            attrs = {**values.attrs, "long_name": f"{words} {long_name}"}
            averages[f"{name}{suffix}"] = array.assign_attrs(attrs)
    for counts in ds.data_vars.values():
        if dim in counts.dims and counts.dtype.kind in "iu" and "histogram" in str(counts.name):
            averages[str(counts.name)] = counts.sum(dim, keep_attrs=True)
    averages["realisations"] = ds[estimates[0]].notnull().sum(dim)
    return xr.Dataset(averages, attrs=ds.attrs)


def spin_overlap(ds: xr.Dataset) -> xr.Dataset:
    """Moments of the overlap q = Σ_i s_i^a s_i^b / N of two replicas a, b with the same bonds.

    The replicas of a point are independent, so their final spins form 2016 pairs. Average over
    disorder afterwards (:func:`latticescape.disorder_average`); the Binder parameter of a spin
    glass, (3 − [q⁴]/[q²]²)/2, is computed from the averaged moments.

    Parameters
    ----------
    ds
        A sweep with ``keep = ["spins"]``.

    Returns
    -------
    Dataset
        Over the sweep's axes: ``overlap_squared`` ⟨q²⟩, ``overlap_fourth`` ⟨q⁴⟩ and
        ``spin_glass_susceptibility`` N⟨q²⟩, each with ``…_se``, by jackknife over the replicas.
        NaN at points that are not computed.

    Raises
    ------
    RequestError
        If the sweep kept no spins.

    References
    ----------
    Edwards and Anderson, J. Phys. F 5, 965 (1975), 10.1088/0305-4608/5/5/017; Binder and Young,
    Rev. Mod. Phys. 58, 801 (1986), 10.1103/RevModPhys.58.801.

    Examples
    --------
    >>> spins = np.full((1, 9), 2**64 - 1, np.uint64)
    >>> overlap = spin_overlap(xr.Dataset({"spins": (("T", "site"), spins)}, {"T": [1.0]}))
    >>> float(overlap.overlap_squared[0]), float(overlap.spin_glass_susceptibility[0])
    (1.0, 9.0)
    """
    check_spins(ds, two=True)
    words, done = ds[SPINS], ds.get("done")
    axes = [str(dim) for dim in words.dims if dim != "site"]
    words = words.transpose(*axes, "site")
    known = np.ones(words.shape[:-1], bool) if done is None else done.transpose(*axes).values
    values = np.full((len(MOMENTS), 2, *known.shape), np.nan)
    for place in np.ndindex(known.shape):
        if known[place]:
            spins = 2.0 * unpack_replicas(words[place].values) - 1.0
            overlaps = spins @ spins.T / spins.shape[1]
            for k, power in enumerate(MOMENTS.values()):
                # The mean over all pairs of replicas, and its jackknife error over replicas.
                pairs = overlaps**power
                np.fill_diagonal(pairs, 0.0)
                own, n = pairs.sum(axis=1), REPLICAS
                left_out = (own.sum() - 2 * own) / ((n - 1) * (n - 2))
                spread = np.sum((left_out - left_out.mean()) ** 2)
                mean, error = own.sum() / (n * (n - 1)), np.sqrt((n - 1) / n * spread)
                values[(k, slice(None), *place)] = mean, error
    variables: dict[str, Any] = {}
    for name, (value, error) in zip(MOMENTS, values, strict=True):
        variables |= {name: (axes, value), f"{name}_se": (axes, error)}
    for suffix, value in zip(("", "_se"), values[0], strict=True):
        variables[f"spin_glass_susceptibility{suffix}"] = (axes, ds.sizes["site"] * value)
    return xr.Dataset(variables, {axis: ds[axis] for axis in axes}, ds.attrs)
