"""Counts of an image in square blocks, for the bootstrap over space."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.analysis.images.sites.rings import complete_rings, site_rings
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import (
    Configurations,
    configurations,
    count_configurations,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Atoms = xr.Dataset | pd.DataFrame | str | Path

# With fewer blocks their scatter is not known.
FEWEST = 4


def block_counts(observed: xr.Dataset, atoms: Mapping[str, Atoms], blocks: int) -> list[Floats]:
    """Counts of every image in square blocks.

    Parameters
    ----------
    observed
        Counts per image, or a landscape of them: ``counts`` (image, configuration).
    atoms
        Of every image what ``measure`` gave, or a table (or its path) with the columns ``row_px,
        col_px, species`` with species 0 and 1.
    blocks
        Along each side.

    Returns
    -------
    list
        Of each image (blocks, classes), without empty blocks; they sum to the image's counts.

    Raises
    ------
    RequestError
        If an image has no atoms, their counts are not those observed, or a single block holds all.

    Examples
    --------
    >>> from latticescape import count_atoms
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import triangular
    >>> places = triangular(16).positions
    >>> species = np.random.default_rng(1).integers(0, 2, len(places))
    >>> table = pd.DataFrame({"row_px": places[:, 1], "col_px": places[:, 0], "species": species})
    >>> counts = {"one": count_atoms(places, species, "triangular")}
    >>> observed = counts_dataset(counts, configurations("triangular"))
    >>> parts = block_counts(observed, {"one": table}, 3)[0]
    >>> bool(np.array_equal(parts.sum(axis=0), observed.counts[0])), len(parts) > 4
    (True, True)
    """
    classes = configurations(observed.attrs["lattice"])
    if blocks < 2:
        raise RequestError("too few blocks", came=blocks, allowed="2 or more along each side")
    found = []
    for image, seen in zip(observed["image"].values, observed["counts"].values, strict=True):
        if str(image) not in atoms:
            raise RequestError(
                f"the image {image} has no atoms",
                came=", ".join(atoms),
                allowed=", ".join(map(str, observed["image"].values)),
            )
        parts = _blocks(*_placed(atoms[str(image)], classes), blocks, classes)
        if not np.array_equal(parts.sum(axis=0), seen):
            raise RequestError(
                f"the atoms of {image} are not those that were counted",
                came=f"{int(parts.sum())} neighbourhoods",
                allowed=f"the {int(seen.sum())} observed ones",
            )
        if len(parts) < FEWEST:
            raise RequestError(
                f"the image {image} is too small for blocks",
                came=f"{len(parts)} blocks with atoms",
                allowed=f"{FEWEST} or more",
                hint="more blocks, or a larger image",
            )
        found.append(parts.astype(float))
    return found


def _placed(atoms: Atoms, classes: Configurations) -> tuple[Floats, Integers, Integers, Integers]:
    """Places and species of the atoms, centres and their rings."""
    if isinstance(atoms, xr.Dataset):
        places = np.column_stack([atoms["row"].values, atoms["col"].values])
        species = np.maximum(atoms["species"].values, 0)
        return places, species, *site_rings(atoms)
    table = atoms if isinstance(atoms, pd.DataFrame) else pd.read_csv(atoms, comment="#")
    missing = [name for name in ("row_px", "col_px", "species") if name not in table]
    if missing:
        raise RequestError(
            f"the table of atoms lacks the column {missing[0]}",
            came=", ".join(map(str, table.columns)),
            allowed="row_px, col_px, species",
        )
    species = table["species"].to_numpy()
    if not np.isin(species, (0, 1)).all():
        raise RequestError(
            "species in blocks are 0 or 1",
            came=", ".join(sorted({str(s) for s in species})),
            allowed="0 | 1",
            hint='table.assign(species=table.species == "Re")',
        )
    places = table[["col_px", "row_px"]].to_numpy(float)
    return places, species.astype(np.int64), *complete_rings(places, classes.kind)


def _blocks(
    places: Floats,
    species: Integers,
    centers: Integers,
    rings: Integers,
    blocks: int,
    classes: Configurations,
) -> Integers:
    at = places[centers]
    low, high = at.min(axis=0), at.max(axis=0)
    cell = np.minimum(
        (blocks * (at - low) / np.maximum(high - low, 1e-300)).astype(int), blocks - 1
    )
    number = cell[:, 0] * blocks + cell[:, 1]
    return np.array(
        [
            count_configurations(species, centers[number == b], rings[number == b], classes)
            for b in np.unique(number)
        ]
    )
