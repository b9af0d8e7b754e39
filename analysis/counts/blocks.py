"""Count an image in square blocks, for the bootstrap over space."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.analysis.checks import check_least, listed
from latticescape.analysis.counts.classes import classes_of, require_usual
from latticescape.analysis.counts.tables import check_columns
from latticescape.analysis.images.sites.rings import complete_rings, site_rings
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import (
    Configurations,
    count_configurations,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Atoms = xr.Dataset | pd.DataFrame | str | Path

# With fewer blocks their scatter is unknown.
FEWEST = 4


def block_counts(observed: xr.Dataset, atoms: Mapping[str, Atoms], blocks: int) -> list[Floats]:
    """Counts of every image in square blocks.

    Parameters
    ----------
    observed
        Counts per image, or a landscape of them: ``counts`` (image, configuration).
    atoms
        Of every image the result of ``measure``, or a table (or its path) with the columns
        ``row_px, col_px, species``, species being 0 and 1.
    blocks
        Along each side.

    Returns
    -------
    list
        Of each image (blocks, classes), without empty blocks; their sum is the image's counts.

    Raises
    ------
    RequestError
        If an image has no atoms, their counts differ from those observed, or there are fewer than
        four blocks with atoms.

    Examples
    --------
    >>> from latticescape import count_atoms
    >>> from latticescape import configurations
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
    hint = 'kind="parametric", or kind="images"'
    classes = require_usual(classes_of(observed), "blocks of images are counted", hint)
    check_least(blocks, 2, "blocks along a side")
    parts_of_images = []
    for image, counts in zip(observed["image"].values, observed["counts"].values, strict=True):
        if str(image) not in atoms:
            allowed = listed(observed["image"].values)
            raise RequestError(
                f"the image {image} has no atoms", came=listed(atoms), allowed=allowed
            )
        places, species, centers, rings = _neighbourhoods(atoms[str(image)], classes)
        at = places[centers]
        low, high = at.min(axis=0), at.max(axis=0)
        cells = (blocks * (at - low) / np.maximum(high - low, 1e-300)).astype(int)
        number = np.minimum(cells, blocks - 1) @ [blocks, 1]
        parts = np.array(
            [
                count_configurations(species, centers[number == b], rings[number == b], classes)
                for b in np.unique(number)
            ]
        )
        if not np.array_equal(parts.sum(axis=0), counts):
            problem = f"the atoms of {image} are not those that were counted"
            came, allowed = (
                f"{int(parts.sum())} neighbourhoods",
                f"{int(counts.sum())}, as observed",
            )
            raise RequestError(problem, came=came, allowed=allowed)
        hint = "more blocks, or a larger image"
        check_least(len(parts), FEWEST, f"blocks of {image} with atoms", hint)
        parts_of_images.append(parts.astype(float))
    return parts_of_images


def _neighbourhoods(
    atoms: Atoms, classes: Configurations
) -> tuple[Floats, Integers, Integers, Integers]:
    """Positions and species of the atoms, centres and their rings."""
    if isinstance(atoms, xr.Dataset):
        places = np.column_stack([atoms["row"].values, atoms["col"].values])
        return places, np.maximum(atoms["species"].values, 0), *site_rings(atoms)
    table = atoms if isinstance(atoms, pd.DataFrame) else pd.read_csv(atoms, comment="#")
    check_columns(table)
    species = table["species"].to_numpy()
    if not np.isin(species, (0, 1)).all():
        came = listed(sorted({str(s) for s in species}))
        hint = 'table.assign(species=table.species == "Re")'
        raise RequestError("species in blocks must be 0 or 1", came=came, hint=hint)
    places = table[["col_px", "row_px"]].to_numpy(float)
    return places, species.astype(np.int64), *complete_rings(places, classes.kind)
