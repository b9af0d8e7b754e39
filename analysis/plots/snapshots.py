"""Snapshots: the sites of a lattice, each in the colour of what sits on it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from latticescape.analysis.plots.maps import FONTS, Picture, dressed
from latticescape.analysis.plots.surfaces import nearest
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import GEOMETRIES, Lattice

Words = npt.NDArray[np.uint64]
Shares = npt.NDArray[np.float32]

SPECIES = ("#2C4A7C", "#F2B134")
PIXELS = 480

# Half a diagonal of a square cell; further from all sites is no lattice.
REACH = 0.71


def lattice_of(kind: str, sites: int) -> Lattice:
    """The lattice of so many sites.

    Examples
    --------
    >>> lattice_of("honeycomb", 32)
    Lattice(kind='honeycomb', size=4)
    """
    geometry = GEOMETRIES[kind]
    return Lattice(kind, round((sites / geometry.sublattices) ** (1 / geometry.dimension)))


def layers(lattice: Lattice) -> int:
    """Planes to choose from: one, or L of a cubic lattice."""
    return lattice.size if lattice.geometry.dimension == 3 else 1


def snapshot(
    spins: Words, lattice: Lattice, *, replica: int, layer: int = 0
) -> tuple[Shares, tuple[float, float]]:
    """An image of a lattice, rows upwards, every pixel of its nearest site, and its size.

    Parameters
    ----------
    spins
        (site,) uint64, bit r of replica r.
    lattice
        The lattice.
    replica
        Which of the 64.
    layer
        Which plane of a cubic lattice.

    Returns
    -------
    image, (width, height)
        0, 1, or NaN beside the lattice; the size in nearest-neighbour distances.
    """
    site, size = _site_of_pixels(lattice, layer)
    species = (spins >> np.uint64(replica)) & np.uint64(1)
    image = np.where(site < 0, np.nan, species[site]).astype(np.float32)
    return image, size


def snapshot_map(
    ds: xr.Dataset, *, at: Mapping[str, object], replica: int = 0, layer: int = 0
) -> Picture:
    """The last configuration of one replica of one point.

    Parameters
    ----------
    ds
        A sweep that kept its ``spins`` (…, site).
    at
        The point: a value on every axis, the nearest is taken.
    replica, layer
        Which of the 64 replicas; which plane of a cubic lattice.

    Raises
    ------
    RequestError
        If the sweep kept no spins.

    Examples
    --------
    >>> spins = (("T", "site"), np.arange(32, dtype=np.uint64).reshape(2, 16))
    >>> ds = xr.Dataset({"spins": spins}, {"T": [1.0, 2.0]}, {"lattice": "square"})
    >>> snapshot_map(ds, at={"T": 1.0}).vdims
    [Dimension('species')]
    """
    if "spins" not in ds:
        raise RequestError("the sweep kept no spins", hint='keep = ["spins"] in [sweep]')
    place = {axis: nearest(ds, axis, value) for axis, value in at.items()}
    spins = ds["spins"].isel(place).to_numpy()
    lattice = lattice_of(str(ds.attrs["lattice"]), len(spins))
    image, (width, height) = snapshot(spins, lattice, replica=replica, layer=layer)
    picture = hv.Image(image[::-1], bounds=(0, 0, width, height), kdims=["a", "b"], vdims="species")
    told = ", ".join(f"{axis} = {float(ds[axis][index]):g}" for axis, index in place.items())
    title = f"replica {replica}, {100 * np.nanmean(image):.0f} % of 1 (yellow)\nat {told}"
    look: dict[str, object] = {
        "cmap": list(SPECIES),
        "clim": (0, 1),
        "title": title,
        "fontsize": FONTS,
    }
    bare: dict[str, object] = {"xaxis": None, "yaxis": None}
    side = {"width": 500, "height": int(500 * height / width) + 40}
    return dressed(picture, look | bare, side, {"fig_inches": (6, 6), "aspect": "equal"})


@lru_cache(maxsize=16)
def _site_of_pixels(lattice: Lattice, layer: int) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    """The nearest site of every pixel, -1 beside the lattice, and the size of the whole."""
    positions = lattice.positions
    sites = np.arange(lattice.sites)
    if positions.shape[1] == 3:
        sites = sites[np.isclose(positions[:, 2], layer)]
    plane = positions[sites, :2]
    low, high = plane.min(0) - 0.5, plane.max(0) + 0.5
    width, height = (high - low).tolist()
    scale = PIXELS / max(width, height)
    columns, rows = max(int(width * scale), 1), max(int(height * scale), 1)
    x = low[0] + (np.arange(columns) + 0.5) * width / columns
    y = low[1] + (np.arange(rows) + 0.5) * height / rows
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    distance, found = cKDTree(plane).query(grid)
    return np.where(distance < REACH, sites[found], -1), (width, height)
