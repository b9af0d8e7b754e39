"""What the kernels and the enumeration of a slab look up: who stands beside whom."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.lattices.configurations import Configurations, configurations
from latticescape.physics.lattices.lattice import Sites
from latticescape.physics.slab.lattice import Slab

# A hollow and its four corners are a square's centre and its ring: centre 1 is oxygen, neighbour 1
# is Ca. The first six classes are hollows without oxygen, the last six those with.
CLASSES: Configurations = configurations("square")
ARRANGEMENTS = len(CLASSES) // 2


class Tables(NamedTuple):
    """Neighbours by site, −1 for none; hollows are numbered after the A-sites.

    Attributes
    ----------
    bulk
        Bulk neighbours of every A-site, (sites, 6).
    surface
        Neighbours within layer 0, (hollows, 4): only its sites have any.
    touching
        Hollows around every surface A-site, (hollows, 4).
    hollow
        The hollows, (hollows,).
    corners
        The A-sites around every hollow, (hollows, 4), in ring order.
    next_hollow
        The hollows next to each, (hollows, 4).
    classes
        Class of every code of a hollow and its corners.
    layer
        Layer of every A-site.
    """

    bulk: Sites
    surface: Sites
    touching: Sites
    hollow: Sites
    corners: Sites
    next_hollow: Sites
    classes: npt.NDArray[np.uint8]
    layer: npt.NDArray[np.int64]


@lru_cache(maxsize=2)
def tables_of(lattice: Slab, bulk_pairs: int) -> Tables:
    """The tables of a slab, by which of its pairs are bulk (:meth:`Slab.bulk_bonds`)."""
    around, top = lattice.around.copy(), lattice.hollows
    if bulk_pairs < 2:
        around[:top, :4] = -1
    if bulk_pairs < 1:
        around[:top, 5] = -1
        around[top : 2 * top, 4] = -1
    return Tables(
        bulk=around,
        surface=np.ascontiguousarray(lattice.around[:top, :4]),
        touching=lattice.touching + np.int32(lattice.sites),
        hollow=np.arange(lattice.sites, lattice.sites + top, dtype=np.int32),
        corners=lattice.corners,
        next_hollow=lattice.hollow_neighbors + np.int32(lattice.sites),
        classes=CLASSES.table,
        layer=lattice.layer,
    )
