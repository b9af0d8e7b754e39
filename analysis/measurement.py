"""From an image to atoms with species, and from those of several images to counts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from analysis.atom_tables import has_species
from analysis.atoms import find_atoms
from analysis.observed import count_atoms, counts_dataset
from analysis.sites import fit_sites
from analysis.species import assign_species
from physics.configurations import configurations


def measure(
    image: xr.DataArray | npt.ArrayLike,
    lattice: str = "triangular",
    species: Sequence[str] = ("0", "1"),
) -> xr.Dataset:
    """Find the atoms of an image, their sites and their species."""
    return assign_species(fit_sites(find_atoms(image), lattice), species)


def observed_of(atoms_of: Mapping[str, xr.Dataset], lattice: str) -> xr.Dataset:
    """Counts of configurations around the atoms of images, by the image's name."""
    counts = {}
    for name, atoms in atoms_of.items():
        named = atoms.isel(atom=has_species(atoms))
        places = np.column_stack([named["col"], named["row"]])
        counts[name] = count_atoms(places, named["species"], lattice)
    return counts_dataset(counts, configurations(lattice))
