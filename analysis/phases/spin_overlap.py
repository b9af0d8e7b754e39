"""Overlaps of replicas: the order of frozen spins, which have no magnetization."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.traces import SPINS, unpack_replicas
from latticescape.physics.models.model import REPLICAS

Floats = npt.NDArray[np.float64]

MOMENTS = {"overlap_squared": 2, "overlap_fourth": 4}


def spin_overlap(ds: xr.Dataset) -> xr.Dataset:
    """Moments of the overlap q = Σ_i s_i^a s_i^b / N of two replicas a, b with the same bonds.

    The replicas of a point are independent, so every two of them are a pair: 2016, of their last
    spins. Averages over disorder come after (:func:`latticescape.disorder_average`); the Binder
    parameter of a spin glass, (3 − [q⁴]/[q²]²)/2, is of the averaged moments.

    Parameters
    ----------
    ds
        A sweep with ``keep = ["spins"]``.

    Returns
    -------
    Dataset
        Over the sweep's axes: ``overlap_squared`` ⟨q²⟩, ``overlap_fourth`` ⟨q⁴⟩ and
        ``spin_glass_susceptibility`` N⟨q²⟩, each with ``…_se``, by jackknife over the replicas.
        NaN where nothing is computed.

    Raises
    ------
    RequestError
        If no spins are kept.

    References
    ----------
    Edwards and Anderson, J. Phys. F 5, 965 (1975), 10.1088/0305-4608/5/5/017; Binder and Young,
    Rev. Mod. Phys. 58, 801 (1986), 10.1103/RevModPhys.58.801.

    Examples
    --------
    >>> spins = np.full((1, 9), 2**64 - 1, np.uint64)
    >>> found = spin_overlap(xr.Dataset({"spins": (("T", "site"), spins)}, {"T": [1.0]}))
    >>> float(found.overlap_squared[0]), float(found.spin_glass_susceptibility[0])
    (1.0, 9.0)
    """
    if SPINS not in ds:
        raise RequestError(
            "the Dataset holds no spins to compare replicas by",
            came=", ".join(map(str, ds.data_vars)),
            allowed=f"a sweep that keeps {SPINS}",
            hint=f'keep = ["{SPINS}"] in [sweep]',
        )
    words, done = ds[SPINS], ds.get("done")
    axes = [str(dim) for dim in words.dims if dim != "site"]
    words = words.transpose(*axes, "site")
    known = np.ones(words.shape[:-1], bool) if done is None else done.transpose(*axes).values
    values = np.full((len(MOMENTS), 2, *known.shape), np.nan)
    for place in np.ndindex(known.shape):
        if known[place]:
            values[(slice(None), slice(None), *place)] = _moments(words[place].values)
    sites = ds.sizes["site"]
    found = {name: (axes, value) for name, value in _named(values, sites).items()}
    return xr.Dataset(found, {axis: ds[axis] for axis in axes}, ds.attrs)


def _named(values: Floats, sites: int) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for name, (value, error) in zip(MOMENTS, values, strict=True):
        found |= {name: value, f"{name}_se": error}
    q2, error = values[0]
    return found | {
        "spin_glass_susceptibility": sites * q2,
        "spin_glass_susceptibility_se": sites * error,
    }


def _moments(words: npt.NDArray[np.uint64]) -> Floats:
    """Each moment of the overlaps of all pairs, and its error, (moments, 2)."""
    spins = 2.0 * unpack_replicas(words) - 1.0
    overlaps = spins @ spins.T / spins.shape[1]
    return np.array([_pair_mean(overlaps**power) for power in MOMENTS.values()])


def _pair_mean(values: Floats) -> tuple[float, float]:
    """Mean over all pairs of replicas, and its jackknife error: a replica less takes its pairs."""
    np.fill_diagonal(values, 0.0)
    own, n = values.sum(axis=1), REPLICAS
    left_out = (own.sum() - 2 * own) / ((n - 1) * (n - 2))
    error = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
    return float(own.sum() / (n * (n - 1))), float(error)
