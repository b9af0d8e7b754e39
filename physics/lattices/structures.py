"""Lattices from structure files (CIF, POSCAR, extxyz, …) and from atoms of ASE or pymatgen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports
from latticescape.physics.lattices.lattice import OPEN, PERIODIC, Lattice, crystal

VACANCY = "vacancy"

# Formats of text without code, by the end of a file's name or by the name itself.
FORMATS = {
    ".cif": "cif",
    ".vasp": "vasp",
    "POSCAR": "vasp",
    "CONTCAR": "vasp",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".xsf": "xsf",
}


def lattice_from_structure(
    source: Any, size: int | Sequence[int], *, boundary: str | Sequence[str] | None = None
) -> Lattice:
    """Lattice of a crystal structure.

    Sites with the same elements are one sublattice, named after them: ``"Ti"``, or ``"Ca-La"``
    where a file has both on one site, and ``"O-vacancy"`` where a site is not always occupied.

    Parameters
    ----------
    source
        The path of a CIF, POSCAR, extxyz or XSF file, an ASE ``Atoms``, or a pymatgen
        ``Structure``.
    size
        How many of its cells, along every axis or along each.
    boundary
        ``"periodic"`` or ``"open"`` for all axes or for each; by default as the structure says.

    Returns
    -------
    Lattice
        In three dimensions and in the structure's unit of length, Å.

    Raises
    ------
    RequestError
        If the file cannot be read, or the structure has no cell; if ASE is not installed.

    Examples
    --------
    >>> from ase.build import bulk
    >>> lattice = lattice_from_structure(bulk("NaCl", "rocksalt", a=5.6), size=4)
    >>> lattice.sites, lattice.geometry.names, offered_species(lattice)["Na"]
    (128, ('Na', 'Cl'), ('Na',))
    """
    atoms = _atoms_of(source)
    cell = np.asarray(atoms.cell[:], float)
    if abs(float(np.linalg.det(cell))) < 1e-9:
        raise RequestError(
            "the structure has no cell",
            came=f"cell vectors {cell.tolist()}",
            allowed="three vectors that span a cell",
            hint="atoms.center(vacuum=5, axis=2) of ASE for a layer",
        )
    sides = [PERIODIC if periodic else OPEN for periodic in atoms.pbc]
    return crystal(
        size,
        cell,
        atoms.get_scaled_positions(wrap=False),
        sublattice=_sublattices(atoms),
        boundary=sides if boundary is None else boundary,
    )


def offered_species(lattice: Lattice) -> dict[str, tuple[str, ...]]:
    """The species that a structure names for each sublattice, from the sublattices' names.

    Parameters
    ----------
    lattice
        From :func:`lattice_from_structure`.

    Returns
    -------
    dict
        Names of the species by sublattice, as :class:`latticescape.ClusterExpansion` takes them.

    Examples
    --------
    >>> from latticescape import crystal
    >>> offered_species(crystal(2, [[1.0]], [[0.0], [0.5]], sublattice=["Ca-La", "O-vacancy"]))
    {'Ca-La': ('Ca', 'La'), 'O-vacancy': ('O', 'vacancy')}
    """
    return {name: tuple(name.split("-")) for name in lattice.geometry.sublattice_names}


@optional_imports()
def _atoms_of(source: Any) -> Any:
    from ase import Atoms
    from ase.io import read

    if isinstance(source, Atoms):
        return source
    if hasattr(source, "lattice") and hasattr(source, "species_and_occu"):
        return _atoms_of_pymatgen(source)
    if not isinstance(source, str | Path):
        raise RequestError(
            "the source is not a crystal structure",
            came=type(source).__name__,
            allowed="a path, an ASE Atoms or a pymatgen Structure",
            hint='lattice_from_structure("perovskite.cif", size=8)',
        )
    path = Path(source)
    form = FORMATS.get(path.suffix.lower()) or FORMATS.get(path.stem.upper())
    if form is None or not path.is_file():
        raise RequestError(
            f"there is no structure file {path}" if form else f"{path} is not a structure file",
            came=str(path),
            allowed=", ".join(FORMATS),
            hint='structure = "perovskite.cif"',
        )
    try:
        # The last structure of the file, as ASE has it.
        return read(path, format=form)
    except Exception as error:  # what ASE raises depends on the format
        reason = str(error) or type(error).__name__
        raise RequestError(
            f"cannot read the structure {path}",
            came=reason,
            allowed=f"a file of the format {form}",
            hint='structure = "perovskite.cif"',
        ) from None


def _atoms_of_pymatgen(structure: Any) -> Any:
    from ase import Atoms

    occupancies = [
        {str(kind): float(part) for kind, part in site.get_el_amt_dict().items()}
        for site in structure.species_and_occu
    ]
    atoms = Atoms(
        [max(parts, key=lambda name: parts[name]) for parts in occupancies],
        scaled_positions=structure.frac_coords,
        cell=structure.lattice.matrix,
        pbc=True,
    )
    atoms.info["occupancy"] = {str(k): parts for k, parts in enumerate(occupancies)}
    atoms.set_array("spacegroup_kinds", np.arange(len(atoms)))
    return atoms


def _sublattices(atoms: Any) -> list[str]:
    """The name of every atom's sublattice, from the elements that its site may hold."""
    occupancy = atoms.info.get("occupancy")
    if occupancy is None:
        return list(atoms.get_chemical_symbols())
    names = []
    for kind in atoms.arrays["spacegroup_kinds"]:
        parts = occupancy[str(kind)]
        absent = [VACANCY] if sum(parts.values()) < 1 - 1e-6 else []
        names.append("-".join([*sorted(parts), *absent]))
    return names
