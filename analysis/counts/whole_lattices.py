"""Counts of lattices without an edge: simulated ones that stand for images."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.counting import counts_dataset
from latticescape.physics.lattices.configurations import configurations, count_configurations
from latticescape.physics.lattices.lattice import Lattice


def count_lattices(species: npt.NDArray[np.integer], lattice: Lattice) -> xr.Dataset:
    """Configuration counts of whole lattices, as :func:`observed_counts` tells those of images.

    Parameters
    ----------
    species
        (images, sites), 0 or 1, such as ``unpack_replicas`` of a sweep's ``spins``.
    lattice
        The lattice they are of; every site has a complete ring.

    Returns
    -------
    Dataset
        ``counts`` (image, configuration), ``n`` and ``composition`` (image); the images are
        ``image 0``, ``image 1``, ….

    Examples
    --------
    >>> from latticescape import square
    >>> count_lattices(np.ones((2, 16), int), square(4)).n.values.tolist()
    [16, 16]
    """
    classes, rings = configurations(lattice.kind), lattice.neighbors(1)
    sites = np.arange(lattice.sites)
    counts = {
        f"image {number}": count_configurations(one, sites, rings, classes)
        for number, one in enumerate(species)
    }
    return counts_dataset(counts, classes)
