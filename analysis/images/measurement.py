"""Measure an image: atoms with sites and species, in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from threadpoolctl import threadpool_limits

from latticescape.analysis.images.atoms.finding import find_atoms
from latticescape.analysis.images.reading import read_image
from latticescape.analysis.images.sites.lattice_fit import fit_sites
from latticescape.analysis.images.species import assign_species

Image = str | Path | xr.DataArray | npt.NDArray[np.generic]
Method = Literal["mixture", "otsu"] | float


def measure(
    image: Image,
    lattice: str = "triangular",
    species: Sequence[str] = ("0", "1"),
    *,
    method: Method = "mixture",
    seed: int = 0,
) -> xr.Dataset:
    """Find the atoms of an image, their sites and their species.

    Parameters
    ----------
    image
        (row, col), or the path of an image.
    lattice
        Lattice of the brightest sublattice: ``square``, ``triangular`` or ``honeycomb``.
    species
        Names from the darkest to the brightest.
    method
        How to distinguish species, see ``assign_species``.
    seed
        Of the mixture's starts.

    Returns
    -------
    Dataset
        The variables and attrs of ``find_atoms``, ``fit_sites`` and ``assign_species``.

    Raises
    ------
    RequestError
        If the image cannot be read, or shows no atoms, another lattice or fewer species.

    Examples
    --------
    >>> from latticescape.analysis.images.synthetic import place_atoms
    >>> from latticescape.analysis.images.synthetic import draw_configuration
    >>> from latticescape import triangular
    >>> placed = place_atoms(triangular(8), np.arange(64) % 3 % 2, spacing=14.0)
    >>> atoms = measure(draw_configuration(placed, seed=1, background=10.0), species=("Mo", "Re"))
    >>> int(atoms.on_lattice.sum()), int((atoms.species == 1).sum())
    (64, 21)
    """
    grey = read_image(image) if isinstance(image, (str, Path)) else image
    # The matrix products are small: threads would mostly wait for each other.
    with threadpool_limits(1):
        return assign_species(fit_sites(find_atoms(grey), lattice), species, method, seed=seed)
