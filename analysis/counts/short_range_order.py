"""Short-range order from counts of configurations, of simulations and of images alike."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.labelled import labelled_variables
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations

Floats = npt.NDArray[np.float64]


def short_range_order(ds: xr.Dataset) -> xr.Dataset:
    """Warren–Cowley parameters α = 1 − P(b | a)/x_b of each shell and pair of species.

    P(b | a) is the probability that a neighbour of an a holds b. α is 0 in a random arrangement, 1
    if a and b never meet, and negative if they prefer each other.

    Parameters
    ----------
    ds
        A sweep's Dataset with ``histogram_replica``, or observed counts.

    Returns
    -------
    Dataset
        ``short_range_order`` (…, shell, species, neighbor) and its standard error ``…_se``: a
        jackknife over the replicas of a sweep, or over the neighbourhoods of an image, as if these
        were independent; where they overlap, the true error is larger. NaN where a species does
        not occur.

    Raises
    ------
    RequestError
        If the Dataset has no counts, or its sublattices hold different species.

    References
    ----------
    Cowley, Phys. Rev. 77, 669 (1950), 10.1103/PhysRev.77.669.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> classes = configurations("square")
    >>> random = {"random": classes.multiplicity * 100}
    >>> order = short_range_order(counts_dataset(random, classes))
    >>> abs(order.short_range_order).max().item() < 1e-9
    True
    """
    classes = classes_of(ds)
    names, shells = _names_and_shells(classes)
    if "histogram_replica" in ds:
        replicas = ds["histogram_replica"].transpose(..., "replica", "configuration")
        dims = [str(d) for d in replicas.dims[:-2]]
        value, error = _jackknifed(replicas.to_numpy().astype(float), classes)
    elif "counts" in ds:
        counts = ds["counts"].transpose(..., "configuration")
        dims = [str(d) for d in counts.dims[:-1]]
        value, error = _left_out(counts.to_numpy().astype(float), classes)
    else:
        raise RequestError(
            "the Dataset has no counts of configurations",
            came=", ".join(map(str, ds)),
            allowed="a sweep of a lattice model, or observed counts",
            hint='open_sweep("runs/alloy.zarr")',
        )
    along = (*dims, "shell", "species", "neighbor")
    columns = labelled_variables(
        {
            "short_range_order": (along, value, "Warren–Cowley parameter", "1"),
            "short_range_order_se": (
                along,
                error,
                "standard error of the Warren–Cowley parameter",
                "1",
            ),
        }
    )
    coords = {name: ds.coords[name] for name in ds.coords if set(ds[name].dims) <= set(dims)}
    return xr.Dataset(
        columns, {**coords, "shell": list(shells), "species": list(names), "neighbor": list(names)}
    )


def _names_and_shells(classes: Classes) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if isinstance(classes, Configurations):
        return ("0", "1"), (1,)
    if len(set(classes.species)) > 1:
        raise RequestError(
            "short-range order needs the same species on all sites",
            came=" and ".join("/".join(own) for own in dict.fromkeys(classes.species)),
            allowed="one list of species",
        )
    return classes.species[0], classes.shells


def _parameters(counts: Floats, classes: Classes, names: int) -> Floats:
    """α from counts (…, classes): (…, shells, species, neighbours)."""
    centre = np.eye(names)[classes.centre]
    pairs = np.einsum("...c,ca,csb->...sab", counts, centre, classes.around)
    with np.errstate(invalid="ignore", divide="ignore"):
        given = pairs / pairs.sum(axis=-1, keepdims=True)
        x = counts @ centre / counts.sum(axis=-1, keepdims=True)
        alpha: Floats = 1 - given / x[..., None, None, :]
    return alpha


def _jackknifed(counts: Floats, classes: Classes) -> tuple[Floats, Floats]:
    """α of the sum over replicas, (…, replicas, classes), and its jackknife error."""
    names = classes.around.shape[2]
    total, number = counts.sum(axis=-2), counts.shape[-2]
    parts = _parameters(total[..., None, :] - counts, classes, names)
    mean = parts.mean(axis=-4, keepdims=True)
    error = np.sqrt((number - 1) / number * ((parts - mean) ** 2).sum(axis=-4))
    return _parameters(total, classes, names), error


def _left_out(counts: Floats, classes: Classes) -> tuple[Floats, Floats]:
    """α of counts (…, classes), and its error by leaving out one neighbourhood at a time."""
    names, n = classes.around.shape[2], counts.sum(axis=-1, keepdims=True)
    value = _parameters(counts, classes, names)
    variance = np.zeros_like(value)
    mean = np.zeros_like(value)
    for k in range(counts.shape[-1]):
        seen = counts[..., k, None, None, None]
        less = counts.copy()
        less[..., k] = np.maximum(less[..., k] - 1, 0)
        change = np.where(seen > 0, _parameters(less, classes, names) - value, 0.0)
        mean += seen * change
        variance += seen * change**2
    total = n[..., None, None]
    return value, np.sqrt(np.maximum(variance - mean**2 / total, 0.0) * (total - 1) / total)
