"""Averages over disorder: the mean over realisations of random bonds, and how far these scatter."""

import xarray as xr

from latticescape.physics.errors import RequestError

REALISATION = "realisation"


def disorder_average(ds: xr.Dataset, dim: str = REALISATION) -> xr.Dataset:
    """Means over realisations of the disorder, with the errors of both kinds.

    Realisations that are not computed (NaN) are left out. Every one counts alike: disorder is
    quenched, so that observables are averaged, not weights.

    Parameters
    ----------
    ds
        A sweep with random bonds, with an axis ``realisation``.
    dim
        The axis, if it is another.

    Returns
    -------
    Dataset
        Without the axis. Of every variable with a standard error: its mean; ``…_spread``, the
        standard deviation over realisations, freed of thermal noise; ``…_se_thermal`` of the
        finite simulation of each; ``…_se_disorder`` of the finite number of realisations, the
        spread over its root (NaN of one alone); and ``…_se`` of both together. Counts are summed;
        ``realisations`` is the number averaged over.

    Raises
    ------
    RequestError
        If there is no such axis, or no variable with a standard error along it.

    Examples
    --------
    >>> ds = xr.Dataset({"energy": ("realisation", [-1.0, -1.2, -0.8]),
    ...                  "energy_se": ("realisation", [0.03, 0.03, 0.03])})
    >>> found = disorder_average(ds)
    >>> round(float(found.energy), 3), round(float(found.energy_spread), 3)
    (-1.0, 0.198)
    """
    estimates = [n for n in map(str, ds.data_vars) if f"{n}_se" in ds and dim in ds[n].dims]
    if dim not in ds.dims or not estimates:
        missing = f"dimension {dim}" if dim not in ds.dims else "variable with a standard error"
        raise RequestError(
            f"the Dataset has no {missing} to average over disorder",
            came=", ".join(map(str, ds.dims)) or "no dimension",
            allowed="a sweep of a model with bonds, and realisation among its axes",
            hint="realisation = { start = 0, stop = 7, num = 8 } in [grid]",
        )
    found: dict[str, xr.DataArray] = {}
    for name in estimates:
        found |= _average(ds[name], ds[f"{name}_se"], dim)
    counts = [v for v in ds.data_vars.values() if dim in v.dims and v.dtype.kind in "iu"]
    found |= {
        str(v.name): v.sum(dim, keep_attrs=True) for v in counts if "histogram" in str(v.name)
    }
    found["realisations"] = ds[estimates[0]].notnull().sum(dim)
    return xr.Dataset(found, attrs=ds.attrs)


def _average(values: xr.DataArray, errors: xr.DataArray, dim: str) -> dict[str, xr.DataArray]:
    name, number = str(values.name), values.notnull().sum(dim)
    noise = (errors.where(values.notnull()) ** 2).mean(dim)
    scatter = values.var(dim, ddof=1) if values.sizes[dim] > 1 else noise * float("nan")
    spread = (scatter - noise).clip(0) ** 0.5
    thermal, disorder = (noise / number) ** 0.5, spread / number**0.5
    parts: dict[str, tuple[xr.DataArray, str]] = {
        "": (values.mean(dim), "mean over realisations of"),
        "_spread": (spread, "standard deviation over realisations of"),
        "_se": ((thermal**2 + disorder**2) ** 0.5, "standard error, of both kinds, of"),
        "_se_thermal": (thermal, "thermal standard error of"),
        "_se_disorder": (disorder, "standard error by disorder of"),
    }
    told = values.attrs.get("long_name", name)
    return {
        f"{name}{suffix}": array.assign_attrs({**values.attrs, "long_name": f"{words} {told}"})
        for suffix, (array, words) in parts.items()
    }
