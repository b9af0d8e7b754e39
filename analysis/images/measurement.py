"""Measure an image: atoms with sites and species, in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from threadpoolctl import threadpool_limits

from latticescape.analysis.images.atoms.finding import find_atoms
from latticescape.analysis.images.quality import with_quality
from latticescape.analysis.images.reading import read_image
from latticescape.analysis.images.sites.lattice_fit import fit_sites
from latticescape.analysis.images.species import SpeciesError, assign_species
from latticescape.physics.errors import RequestError, checked_choice

Image = str | Path | xr.DataArray | npt.NDArray[np.generic]
Method = Literal["mixture", "otsu"] | float
Contrast = Literal["bright", "dark", "auto"]


def measure(
    image: Image,
    lattice: str = "triangular",
    species: Sequence[str] = ("0", "1"),
    *,
    method: Method = "mixture",
    contrast: Contrast = "bright",
    spacing: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Find the atoms of an image, their sites and their species.

    If the brightness does not show the species that are named, the atoms and their sites are
    returned without species.

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
    contrast
        Whether atoms are ``"bright"`` or ``"dark"``; ``"auto"`` tries both and takes the one whose
        lattice fits better. Species are then named from the least to the strongest contrast.
    spacing
        Distance of nearest peaks, px, if the spectrum does not show it.
    seed
        Of the mixture's starts.

    Returns
    -------
    Dataset
        The variables and attrs of ``find_atoms``, ``fit_sites`` and ``assign_species``; attrs also
        hold ``warnings``, sentences on what makes the counts doubtful, ``uncounted``, why they must
        not be counted at all, or empty, and the numbers of ``with_quality`` on which both rest.

    Raises
    ------
    RequestError
        If the image cannot be read, or shows no atoms or another lattice.

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
    checked_choice(contrast, ("bright", "dark", "auto"), "the contrast is unknown")
    grey = read_image(image) if isinstance(image, (str, Path)) else image
    # The matrix products are small: threads would mostly wait for each other.
    with threadpool_limits(1):
        sites = _sites(grey, lattice, contrast, spacing)
        try:
            atoms = assign_species(sites, species, method, seed=seed)
        except SpeciesError as error:
            # A second sublattice of a dimmer species is not on the lattice of the brightest.
            holes = ~sites["on_lattice"] & (sites["sublattice"] >= 0)
            reason = f"{error}. {int(holes.sum())} peaks stand in the holes of this lattice"
            atoms = _without_species(sites, species, method, reason)
        return with_quality(atoms, len(species))


def _sites(
    image: xr.DataArray | npt.NDArray[np.generic],
    lattice: str,
    contrast: Contrast,
    spacing: float | None,
) -> xr.Dataset:
    """Atoms and their sites; of bright and dark ones those whose lattice fits better."""
    found, errors = [], []
    for kind in ("bright", "dark") if contrast == "auto" else (contrast,):
        try:
            peaks = find_atoms(image, spacing=spacing, contrast=kind)
            found.append(fit_sites(peaks, lattice))
        except RequestError as error:
            errors.append(error)
    if found:
        return max(
            found, key=lambda s: s.attrs["placed"] * s.attrs["filled"] * s.attrs["coherence"]
        )
    first = errors[0]
    if contrast == "bright":
        dark = '--contrast dark, contrast="dark" in Python if the atoms are dark'
        first.hint = f"{first.hint}; or {dark}" if first.hint else dark
    raise first


def _without_species(
    sites: xr.Dataset, species: Sequence[str], method: Method, reason: str
) -> xr.Dataset:
    number = sites.sizes["atom"]
    unknown = np.full((number, len(species)), np.nan)
    return (
        sites.assign(
            probability=(("atom", "species_name"), unknown),
            species=("atom", np.full(number, -1)),
            relative_intensity=("atom", np.full(number, np.nan)),
        )
        .assign_coords(species_name=[str(name) for name in species])
        .assign_attrs(species_method=str(method), separation=np.nan, uncounted=reason)
    )
