"""Read and write tables of atoms, tables of counts, and measured stores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import PAIR_ANGLES, Configurations

MOST_COUNTS = 10**15

_ATOM_COLUMNS = ("row_px", "col_px", "species")


def read_table(path: Path) -> pd.DataFrame:
    """A CSV table of counts or of atoms, with at least one row."""
    if not path.exists():
        raise RequestError(
            f"there is no file {path}",
            allowed="a CSV table of counts or of atoms",
            hint="counts.csv",
        )
    try:
        table = pd.read_csv(path, comment="#", skipinitialspace=True)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise RequestError(
            f"cannot read the table {path}",
            came=str(error).strip() or type(error).__name__,
            allowed="a CSV table of counts or of atoms",
        ) from None
    if table.empty:
        raise RequestError(f"the table {path} is empty", came="no rows", allowed="one row a class")
    return table


def counts_by_image(
    table: pd.DataFrame, classes: Configurations
) -> dict[str, npt.NDArray[np.int64]]:
    """Counts of every image in the order of the classes, (classes,) each."""
    class_columns = _class_columns(table, classes)
    images = [c for c in table.columns if c not in (*class_columns, "multiplicity")]
    if not images:
        raise RequestError(
            "no column of counts", came=", ".join(table.columns), allowed="one column an image"
        )
    row_of = _rows_by_class(table[class_columns], classes)
    return {
        str(image): _checked_counts(str(image), table[image])[[row_of[key] for key in classes.keys]]
        for image in images
    }


def _class_columns(table: pd.DataFrame, classes: Configurations) -> list[str]:
    numbers = [c for c in table.columns if c == "n" or c.startswith("n_")]
    wanted = ["centre", *numbers[:1], *classes.pair_names]
    foreign = {name for pairs in PAIR_ANGLES.values() for name in pairs} - set(wanted)
    if not numbers or not set(wanted) <= set(table.columns) or foreign & set(table.columns):
        raise RequestError(
            f"no table of {classes.kind} configuration counts",
            came=", ".join(map(str, table.columns)),
            allowed=", ".join(("centre", "n_…", *classes.pair_names))
            + ", then one column an image",
            hint="the columns of examples/mores2_counts.csv",
        )
    return wanted


def _rows_by_class(columns: pd.DataFrame, classes: Configurations) -> dict[tuple[int, ...], int]:
    row_of: dict[tuple[int, ...], int] = {}
    numbers = columns.apply(pd.to_numeric, errors="coerce")
    for row, key in enumerate(numbers.itertuples(index=False, name=None)):
        if key not in classes.keys:
            raise RequestError(
                "unknown configuration class",
                came=f"({', '.join(map(str, columns.iloc[row]))})",
                allowed=f"the {len(classes)} classes of the {classes.kind} lattice",
            )
        if key in row_of:
            raise RequestError("a configuration class stands twice", came=key, allowed="once")
        row_of[tuple(int(part) for part in key)] = row
    if len(row_of) < len(classes):
        absent = next(key for key in classes.keys if key not in row_of)
        raise RequestError(
            "the wrong number of configuration classes",
            came=f"{len(row_of)}, without {absent}",
            allowed=f"all {len(classes)} of the {classes.kind} lattice, 0 where none was seen",
        )
    return row_of


def _checked_counts(image: str, column: "pd.Series[float]") -> npt.NDArray[np.int64]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    right = (values >= 0) & (values <= MOST_COUNTS) & (values == np.rint(values))
    if not right.all():
        raise RequestError(
            f"the column {image} holds something that is no count",
            came=column.iloc[int(np.argmin(right))],
            allowed="whole numbers from 0 to 10^15",
        )
    return values.astype(np.int64)


def atoms_of_table(
    table: pd.DataFrame, species: Sequence[str] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Positions (atoms, 2) as (col, row), and species 0 or 1 by their names, (atoms,)."""
    missing = [c for c in _ATOM_COLUMNS if c not in table.columns]
    if missing:
        raise RequestError(
            f"the table of atoms lacks the column {missing[0]}",
            came=", ".join(map(str, table.columns)),
            allowed=", ".join(_ATOM_COLUMNS),
        )
    return _positions(table[["col_px", "row_px"]]), _numbered(table["species"], species)


def _positions(columns: pd.DataFrame) -> npt.NDArray[np.float64]:
    numbers = columns.apply(pd.to_numeric, errors="coerce")
    positions: npt.NDArray[np.float64] = numbers.to_numpy(float)
    right = np.isfinite(positions).all(axis=1)
    if not right.all():
        wrong = columns.iloc[int(np.argmin(right))]
        raise RequestError(
            "an atom has no position",
            came=", ".join(f"{name} {value}" for name, value in wrong.items()),
            allowed="finite numbers, in px",
        )
    return positions


def _numbered(column: "pd.Series[str]", species: Sequence[str] | None) -> npt.NDArray[np.int64]:
    names = [str(name) for name in (species if species is not None else ("0", "1"))]
    if len(names) != 2 or len(set(names)) != 2:
        raise RequestError(
            "species are two different names",
            came=", ".join(names),
            allowed="species 0 and species 1",
            hint="--species Mo,Re, species=('Mo', 'Re') in Python",
        )
    found = column.astype(str)
    unknown = sorted(set(found) - set(names))
    if unknown:
        two = sorted(set(found)) if found.nunique() == 2 else ["Mo", "Re"]
        raise RequestError(
            "a species that was not named",
            came=", ".join(unknown),
            allowed=", ".join(names),
            hint=f"--species {','.join(two)}, species={tuple(two)!r} in Python",
        )
    return np.asarray(found == names[1], np.int64)


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
