"""Tables of configuration counts, a column an image, and of atoms, as they are read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

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
