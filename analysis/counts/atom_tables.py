"""Tables of atoms: a row an atom, as CSV files hold them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

COLUMNS = (
    "image",
    "row_px",
    "col_px",
    "row_err_px",
    "col_err_px",
    "species",
    "probability",
)

# Thousandths of a pixel, and of a probability a millionth.
_DIGITS = {"row_px": 3, "col_px": 3, "row_err_px": 4, "col_err_px": 4, "probability": 6}


def atom_table(atoms_of: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Atoms of several images with a species as one table, in the order of the images.

    Parameters
    ----------
    atoms_of
        By the image's name: ``row``, ``col``, ``row_err``, ``col_err``, ``species`` (atom) and
        ``probability`` (atom, kind) with the species' names as ``kind``. Atoms that are not
        ``on_lattice`` or whose species is negative have none, and are left out.

    Returns
    -------
    DataFrame
        ``image, row_px, col_px, row_err_px, col_err_px, species, probability``: positions and
        standard errors in px, the name of the most probable species, and its probability.

    Examples
    --------
    >>> atoms = xr.Dataset(
    ...     {"row": ("atom", [4.0]), "col": ("atom", [7.5]), "row_err": ("atom", [0.1]),
    ...      "col_err": ("atom", [0.1]), "species": ("atom", [1]),
    ...      "probability": (("atom", "kind"), [[0.1, 0.9]])}, {"kind": ["Mo", "Re"]})
    >>> atom_table({"re05": atoms}).values.tolist()
    [['re05', 4.0, 7.5, 0.1, 0.1, 'Re', 0.9]]
    """
    tables = [_table(name, atoms) for name, atoms in atoms_of.items()]
    return pd.concat(tables, ignore_index=True).round(_DIGITS)


def has_species(atoms: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Which atoms have a species.

    Examples
    --------
    >>> has_species(xr.Dataset({"species": ("atom", [1, -1, 0])})).tolist()
    [True, False, True]
    """
    there = np.asarray(atoms["species"].values >= 0)
    return there & np.asarray(atoms["on_lattice"].values) if "on_lattice" in atoms else there


def species_names(atoms: xr.Dataset) -> list[str]:
    """Names of the species, in the order of their probabilities.

    Examples
    --------
    >>> sure = xr.DataArray([[1.0, 0.0]], {"kind": ["Mo", "Re"]}, ("atom", "kind"))
    >>> species_names(xr.Dataset({"probability": sure}))
    ['Mo', 'Re']
    """
    probability = atoms["probability"]
    return [str(name) for name in probability[probability.dims[1]].values]


def _table(image: str, atoms: xr.Dataset) -> pd.DataFrame:
    named = atoms.isel(atom=has_species(atoms))
    species = named["species"].values
    probability = named["probability"].values[np.arange(len(species)), species]
    names = np.array(species_names(atoms), dtype=object)
    columns = {f"{part}_px": named[part].values for part in ("row", "col", "row_err", "col_err")}
    return pd.DataFrame(
        {"image": image, **columns, "species": names[species], "probability": probability},
        columns=list(COLUMNS),
    )
