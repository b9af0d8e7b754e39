"""Read tables of counts, tables of atoms and measured stores; make tables of atoms."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.analysis.checks import (
    check_has,
    check_one_lattice,
    check_species_names,
    listed,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import PAIR_ANGLES, Configurations
from latticescape.physics.store_contents import DERIVED, check_store

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST_COUNTS = 10**15

# Files and folders that are allowed, for messages.
TABLES = "a CSV table of counts or of atoms"
STORES = "a folder that latticescape measure wrote"

# Columns of a table of atoms.
COLUMNS = ("image", "row_px", "col_px", "row_err_px", "col_err_px", "species", "probability")
POSITIONS = ("row_px", "col_px", "species")

# Default names of the species, which no label shows.
UNNAMED = ("0", "1")

# Decimal places: thousandths of a pixel, millionths of a probability.
_DIGITS = {"row_px": 3, "col_px": 3, "row_err_px": 4, "col_err_px": 4, "probability": 6}

# Attributes of measured stores that hold one value per image.
PER_IMAGE = ("source", "pixel_size", "pixel_units")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV table of counts or of atoms, with at least one row."""
    if not path.exists():
        raise RequestError(f"there is no file {path}", allowed=TABLES, hint="counts.csv")
    try:
        table = pd.read_csv(path, comment="#", skipinitialspace=True)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        came = str(error).strip() or type(error).__name__
        raise RequestError(f"cannot read the table {path}", came=came, allowed=TABLES) from None
    if table.empty:
        raise RequestError(f"the table {path} is empty", came="no rows", allowed="one row a class")
    return table


def check_columns(table: pd.DataFrame, columns: Sequence[str] = POSITIONS) -> None:
    """Check that a table of atoms has these columns."""
    check_has(table.columns, columns, "the table of atoms lacks a column")


def counts_by_image(table: pd.DataFrame, classes: Configurations) -> dict[str, Integers]:
    """Counts of every image in the order of the classes, (classes,) each."""
    numbers = [c for c in table.columns if c == "n" or c.startswith("n_")]
    class_columns = ["centre", *numbers[:1], *classes.pair_names]
    foreign = {name for pairs in PAIR_ANGLES.values() for name in pairs} - set(class_columns)
    if not numbers or not set(class_columns) <= set(table.columns) or foreign & set(table.columns):
        problem = f"no table of {classes.kind} configuration counts"
        allowed = listed(("centre", "n_…", *classes.pair_names)) + ", then one column per image"
        hint = "the columns of examples/mores2_counts.csv"
        raise RequestError(problem, came=listed(table.columns), allowed=allowed, hint=hint)
    images = [c for c in table.columns if c not in (*class_columns, "multiplicity")]
    if not images:
        allowed = "one column per image"
        raise RequestError("no column of counts", came=listed(table.columns), allowed=allowed)
    row_of = _rows_by_class(table[class_columns], classes)
    order = [row_of[key] for key in classes.keys]
    counts = {}
    for image in images:
        values = pd.to_numeric(table[image], errors="coerce").to_numpy(float)
        valid = (values >= 0) & (values <= MOST_COUNTS) & (values == np.rint(values))
        if not valid.all():
            came = table[image].iloc[int(np.argmin(valid))]
            problem = f"the column {image} holds a value that is not a count"
            raise RequestError(problem, came=came, allowed="whole numbers from 0 to 10^15")
        counts[str(image)] = values.astype(np.int64)[order]
    return counts


def _rows_by_class(columns: pd.DataFrame, classes: Configurations) -> dict[tuple[int, ...], int]:
    row_of: dict[tuple[int, ...], int] = {}
    numbers = columns.apply(pd.to_numeric, errors="coerce")
    for row, key in enumerate(numbers.itertuples(index=False, name=None)):
        if key not in classes.keys:
            came = f"({listed(columns.iloc[row])})"
            allowed = f"the {len(classes)} classes of the {classes.kind} lattice"
            raise RequestError("unknown configuration class", came=came, allowed=allowed)
        if key in row_of:
            raise RequestError("a configuration class occurs twice", came=key, allowed="once")
        row_of[tuple(int(part) for part in key)] = row
    if len(row_of) < len(classes):
        absent = next(key for key in classes.keys if key not in row_of)
        allowed = f"all {len(classes)} of the {classes.kind} lattice, 0 where none was seen"
        problem = f"the configuration class {absent} is missing"
        raise RequestError(problem, came=len(row_of), allowed=allowed)
    return row_of


def atoms_of_table(table: pd.DataFrame, species: Sequence[str] | None) -> tuple[Floats, Integers]:
    """Positions (atoms, 2) as (col, row), and species 0 or 1 by their names, (atoms,)."""
    check_columns(table)
    columns = table[["col_px", "row_px"]]
    positions = columns.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        wrong = columns.iloc[int(np.argmin(finite))]
        came = ", ".join(f"{name} {value}" for name, value in wrong.items())
        raise RequestError("an atom has no position", came=came, allowed="finite numbers, in px")
    names = two_names(species)
    column = table["species"].map(str)  # an empty cell is NaN, which astype(str) keeps
    if unknown := sorted(set(column) - set(names)):
        two = sorted(set(column)) if column.nunique() == 2 else ["Mo", "Re"]
        hint = f"--species {','.join(two)}, species={tuple(two)!r} in Python"
        problem, came = "a species was not named", listed(unknown)
        raise RequestError(problem, came=came, allowed=listed(names), hint=hint)
    return positions, np.asarray(column == names[1], np.int64)


def two_names(species: Sequence[str] | None) -> tuple[str, str]:
    """Names of species 0 and 1; ``UNNAMED`` by default.

    Raises
    ------
    RequestError
        If they are not two different names.

    Examples
    --------
    >>> two_names(None), two_names(["Mo", "Re"])
    (('0', '1'), ('Mo', 'Re'))
    """
    names = UNNAMED if species is None else tuple(map(str, species))
    check_species_names(names, two=True)
    return names[0], names[1]


def atom_table(atoms_of: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Atoms of several images as one table, in the order of the images.

    Parameters
    ----------
    atoms_of
        By the image's name: ``row``, ``col``, ``row_err``, ``col_err``, ``species`` (atom) and
        ``probability`` (atom, kind) with the species' names as ``kind``. Atoms that are not
        ``on_lattice`` or whose species is negative are left out.

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
    tables = []
    for image, atoms in atoms_of.items():
        named = atoms.isel(atom=has_species(atoms))
        species = named["species"].values
        probability = named["probability"].values[np.arange(len(species)), species]
        names = np.array(species_names(atoms), dtype=object)
        columns = {f"{key}_px": named[key].values for key in ("row", "col", "row_err", "col_err")}
        species_columns = {"species": names[species], "probability": probability}
        tables.append(pd.DataFrame({"image": image, **columns, **species_columns}))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)].round(_DIGITS)


def has_species(atoms: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Which atoms have a species.

    Examples
    --------
    >>> has_species(xr.Dataset({"species": ("atom", [1, -1, 0])})).tolist()
    [True, False, True]
    """
    named = np.asarray(atoms["species"].values >= 0)
    return named & np.asarray(atoms["on_lattice"].values) if "on_lattice" in atoms else named


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


def stored_counts(paths: Iterable[str | Path]) -> xr.Dataset:
    """Read observed counts from zarr stores, all images in one Dataset.

    Parameters
    ----------
    paths
        Stores as ``latticescape measure --out`` writes them.

    Returns
    -------
    Dataset
        As :func:`latticescape.observed_counts` returns it, with the variables that all stores have
        and the attributes on which they agree; ``source``, ``pixel_size`` and ``pixel_units`` have
        one value per image.

    Raises
    ------
    RequestError
        If a store does not exist or holds no counts, the lattices of the stores differ, or an image
        occurs in two of them.

    Examples
    --------
    >>> stored_counts(["nowhere.zarr"])
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store nowhere.zarr ...
    """
    stores = {str(path): _open_store(path) for path in paths}
    check_one_lattice([str(store.attrs.get("lattice")) for store in stores.values()])
    first, *others = stores.values()
    shared = [name for name in first.data_vars if all(name in store for store in others)]
    joined: xr.Dataset = xr.concat(
        [store[shared] for store in stores.values()], "image", combine_attrs="drop_conflicts"
    )
    twice = joined.get_index("image").duplicated()
    if twice.any():
        name = str(joined["image"].values[twice][0])
        raise RequestError("an image occurs in two stores", came=name, allowed="each image once")
    for key in PER_IMAGE:
        joined.attrs.pop(key, None)
        if all(key in store.attrs for store in stores.values()):
            joined.attrs[key] = [value for store in stores.values() for value in store.attrs[key]]
    return joined


def _open_store(path: str | Path) -> xr.Dataset:
    if not Path(path).is_dir():
        raise RequestError(f"there is no store {path}", allowed=STORES)
    try:
        check_store(Path(path), loaded=True)
        store: xr.Dataset = xr.open_zarr(path, chunks=None, zarr_format=3).load()
    except RequestError:
        raise
    except Exception as error:  # what is raised depends on the damage
        problem, allowed = f"cannot read the store {path}", f"{STORES}, or a CSV table"
        raise RequestError(problem, came=str(error), allowed=allowed) from None
    check_has(store, ("counts", "n", "composition"), f"the store {path} holds no observed counts")
    store.attrs.pop(DERIVED, None)
    return store
