"""Read tables of counts, tables of atoms and measured stores; make tables of atoms."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from latticescape.analysis.counts.classes import Classes, positions_of
from latticescape.analysis.images.quality import NUMBERS
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

# Its columns of sites, with their names in the Dataset of ``measure``.
SITES = {"i": "i", "j": "j", "site": "sublattice"}

# Names in the column ``species`` of an atom whose brightness shows none, and of an empty site.
UNKNOWN, VACANCY = "unknown", "vacancy"
POSITIONS = ("row_px", "col_px", "species")

# Default names of the species, which no label shows.
UNNAMED = ("0", "1")

# Decimal places: thousandths of a pixel, millionths of a probability.
_DIGITS = {"row_px": 3, "col_px": 3, "row_err_px": 4, "col_err_px": 4, "probability": 6}

# Attributes of measured stores that hold one value per image.
PER_IMAGE = ("source", "pixel_size", "pixel_units", "warnings", *NUMBERS)


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


def counts_by_image(
    table: pd.DataFrame, classes: Classes, species: Sequence[str] | None = None
) -> dict[str, Integers]:
    """Counts of every image in the order of the classes, (classes,) each.

    Parameters
    ----------
    table
        One row for each arrangement, with the columns ``centre`` and one for each neighbour
        (:func:`positions_of`); or for each class, with the column ``label``, or with ``centre``,
        ``n_…`` and the pair numbers of the lattice.
    classes
        The classes.
    species
        Names of species 0 and 1 of usual classes.
    """
    positions, columns = positions_of(classes), set(table.columns)
    pairs = classes.pair_names if isinstance(classes, Configurations) else ()
    numbers = [c for c in table.columns if c == "n" or str(c).startswith("n_")]
    by_number = ["centre", *numbers[:1], *pairs]
    foreign = {name for names in PAIR_ANGLES.values() for name in names} - set(pairs)
    known = numbers and set(by_number) <= columns and not foreign & columns
    if "label" in columns:
        keys = ["label"]
        row_classes = _classes_of_labels(table["label"], classes)
    elif positions and {"centre", *positions} <= columns:
        keys = ["centre", *positions]
        row_classes = _classes_of_arrangements(table[keys], classes, species)
    elif isinstance(classes, Configurations) and known:
        keys = by_number
        row_classes = _classes_of_numbers(table[keys], classes)
    else:
        raise _no_counts(table, classes, positions)
    ignored = {*keys, "multiplicity"} | ({"centre", "neighbors"} if keys == ["label"] else set())
    images = [c for c in table.columns if c not in ignored]
    if not images:
        allowed = "one column per image"
        raise RequestError("no column of counts", came=listed(table.columns), allowed=allowed)
    counts = {}
    for image in images:
        values = pd.to_numeric(table[image], errors="coerce").to_numpy(float)
        valid = (values >= 0) & (values <= MOST_COUNTS) & (values == np.rint(values))
        if not valid.all():
            came = table[image].iloc[int(np.argmin(valid))]
            problem = f"the column {image} holds a value that is not a count"
            raise RequestError(problem, came=came, allowed="whole numbers from 0 to 10^15")
        counts[str(image)] = np.zeros(len(classes), np.int64)
        np.add.at(counts[str(image)], row_classes, values.astype(np.int64))
    return counts


def _no_counts(table: pd.DataFrame, classes: Classes, positions: Sequence[str]) -> RequestError:
    ways, hint = ["label"], "one row for each label of the sweep's configurations"
    if positions:
        ways.insert(0, listed(("centre", *positions)))
        hint = "one row for each arrangement of a site and its neighbours"
    if isinstance(classes, Configurations):
        ways.insert(0, listed(("centre", "n_…", *classes.pair_names)))
        hint = "the columns of examples/mores2_counts.csv"
    return RequestError(
        f"no table of {classes.kind} configuration counts",
        came=listed(table.columns),
        allowed=", or ".join(ways) + "; then one column per image",
        hint=hint,
    )


def _classes_of_labels(column: pd.Series, classes: Classes) -> Integers:
    number_of = {label: number for number, label in enumerate(classes.labels)}
    return _once_each([str(label).strip() for label in column], number_of, classes)


def _classes_of_numbers(columns: pd.DataFrame, classes: Configurations) -> Integers:
    number_of = {key: number for number, key in enumerate(classes.keys)}
    numbers = columns.apply(pd.to_numeric, errors="coerce")
    keys = list(numbers.itertuples(index=False, name=None))
    for row, key in enumerate(keys):
        if any(part != part for part in key):  # a word became NaN
            keys[row] = tuple(columns.iloc[row])
    return _once_each(keys, number_of, classes)


def _once_each(keys: Sequence[Any], number_of: Mapping[Any, int], classes: Classes) -> Integers:
    """The class of every row, if each class has one row."""
    seen = set()
    for key in keys:
        if key not in number_of:
            allowed = f"the {len(classes)} classes of the {classes.kind} lattice"
            hint = f"such as {next(iter(number_of))}"
            came = f"({listed(key)})" if isinstance(key, tuple) else key
            raise RequestError("unknown configuration class", came=came, allowed=allowed, hint=hint)
        if key in seen:
            raise RequestError("a configuration class occurs twice", came=key, allowed="once")
        seen.add(key)
    if len(seen) < len(classes):
        absent = next(key for key in number_of if key not in seen)
        allowed = f"all {len(classes)} of the {classes.kind} lattice, 0 where none was seen"
        problem = f"the configuration class {absent} is missing"
        raise RequestError(problem, came=len(seen), allowed=allowed)
    return np.array([number_of[key] for key in keys])


def _classes_of_arrangements(
    columns: pd.DataFrame, classes: Classes, species: Sequence[str] | None
) -> Integers:
    """The class of every row, if each arrangement of centre and neighbours has one row."""
    names: Sequence[Sequence[str]] = (
        [two_names(species)] * columns.shape[1]
        if isinstance(classes, Configurations)
        else classes.holdable
    )
    digits = np.stack(
        [
            species_numbers(columns[place], own, f"the column {place}")
            for place, own in zip(columns, names, strict=True)
        ]
    )
    sizes = [len(own) for own in names]
    codes, number = np.ravel_multi_index(tuple(digits), sizes), int(np.prod(sizes))
    found = np.bincount(codes, minlength=number)
    wrong = np.flatnonzero(found != 1)
    if wrong.size:
        first = np.unravel_index(wrong[0], sizes)
        arrangement = listed(
            f"{place} {own[int(d)]}" for place, own, d in zip(columns, names, first, strict=True)
        )
        problem = "is missing" if found[wrong[0]] == 0 else "occurs twice"
        raise RequestError(
            f"the arrangement {arrangement} {problem}",
            came=f"{len(codes)} rows",
            allowed=f"each of the {number} arrangements once, with count 0 where none was seen",
        )
    if isinstance(classes, Configurations):
        number_of = classes.table.astype(np.int64)
        return np.asarray(number_of[(1 << np.arange(len(digits))) @ digits])
    return classes.classes_of(classes.first_sites[0], digits)


def species_numbers(column: pd.Series, names: Sequence[str], where: str) -> Integers:
    """Numbers of species from their names, or from these numbers.

    Examples
    --------
    >>> species_numbers(pd.Series(["Re", "Mo", "1"]), ("Mo", "Re"), "the column").tolist()
    [1, 0, 1]
    """
    number_of = {str(number): number for number in range(len(names))}
    number_of |= {name: number for number, name in enumerate(names)}
    words = [str(word).strip() for word in column]
    if unknown := sorted(set(words) - set(number_of)):
        raise RequestError(
            f"{where} holds an unknown species",
            came=listed(unknown),
            allowed=f"{listed(names)}, or their numbers 0 to {len(names) - 1}",
        )
    return np.array([number_of[word] for word in words], np.int64)


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
        ``on_lattice``, or have no such variable and a negative species, are left out.

    Returns
    -------
    DataFrame
        ``image, row_px, col_px, row_err_px, col_err_px, species, probability``: positions and
        standard errors in px, the name of the most probable species or ``unknown``, and its
        probability; of measured images also ``i, j, site``, the cell and its site, by which
        :func:`latticescape.observed_counts` counts the table exactly as the image was. If a single
        species is named, empty sites follow as ``vacancy``.

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
        kept = atoms["on_lattice"].to_numpy() if "on_lattice" in atoms else has_species(atoms)
        named = atoms.isel(atom=kept)
        species = named["species"].values
        probability = named["probability"].values[np.arange(len(species)), species]
        names = np.array([*species_names(atoms), UNKNOWN], dtype=object)
        table = {f"{key}_px": named[key].values for key in ("row", "col", "row_err", "col_err")}
        table |= {"species": names[species], "probability": probability}
        sites = SITES if all(name in atoms for name in SITES.values()) else {}
        table |= {new: named[old].values for new, old in sites.items()}
        tables.append(pd.DataFrame({"image": image, **table}))
        if len(names) == 2 and atoms.sizes.get("vacancy"):
            empty = {"row_px": "row", "col_px": "col"} | sites
            columns = {new: atoms[f"vacancy_{old}"].values for new, old in empty.items()}
            tables.append(pd.DataFrame({"image": image, "species": VACANCY, **columns}))
    joined = pd.concat(tables, ignore_index=True)
    order = [*COLUMNS, *(name for name in SITES if name in joined)]
    return joined[order].round(_DIGITS)


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
    parts = [store[shared] for store in stores.values()]
    if "centres" in shared:
        most = max(part.sizes["site"] for part in parts)
        parts = [
            part.pad(site=(0, most - part.sizes["site"]), constant_values=-1) for part in parts
        ]
    joined: xr.Dataset = xr.concat(parts, "image", combine_attrs="drop_conflicts")
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
