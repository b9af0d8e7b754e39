"""Observed counts as ``measure`` stored them."""

from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from latticescape.physics.errors import RequestError

NEEDED = ("counts", "n", "composition")


def stored_counts(paths: Iterable[str | Path]) -> xr.Dataset:
    """Observed counts from zarr stores, all images in one Dataset.

    Parameters
    ----------
    paths
        Stores as ``latticescape measure --out`` writes them.

    Returns
    -------
    Dataset
        As :func:`latticescape.observed_counts` returns it, of all stores the variables they share.

    Raises
    ------
    RequestError
        If a store is not there or holds no counts, they are of different lattices, or an image
        stands in two of them.

    Examples
    --------
    >>> stored_counts(["nowhere.zarr"])
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store nowhere.zarr ...
    """
    tables = {str(path): _opened(path) for path in paths}
    lattices = {path: str(table.attrs.get("lattice")) for path, table in tables.items()}
    if len(set(lattices.values())) > 1:
        raise RequestError(
            "counts of different lattices", came=lattices, allowed="one lattice for all images"
        )
    first, *others = tables.values()
    shared = [name for name in first.data_vars if all(name in table for table in others)]
    joined: xr.Dataset = xr.concat(
        [table[shared] for table in tables.values()], "image", combine_attrs="override"
    )
    twice = joined.get_index("image").duplicated()
    if twice.any():
        name = str(joined["image"].values[twice][0])
        raise RequestError("an image stands in two stores", came=name, allowed="each image once")
    return joined


def _opened(path: str | Path) -> xr.Dataset:
    if not Path(path).is_dir():
        raise RequestError(
            f"there is no store {path}", allowed="a folder that latticescape measure wrote"
        )
    try:
        table: xr.Dataset = xr.open_zarr(path, chunks=None).load()
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(
            f"cannot read the store {path}",
            came=str(error),
            allowed="a store that latticescape measure wrote, or a CSV table",
        ) from None
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise RequestError(
            f"the store {path} holds no observed counts",
            came=", ".join(map(str, table.data_vars)),
            allowed="a store that latticescape measure wrote",
        )
    return table
