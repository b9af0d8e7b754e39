"""Count tables of sites: the species on every site of a lattice, by its cell."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from latticescape.analysis.checks import check_has, listed
from latticescape.analysis.counts.classes import Classes
from latticescape.analysis.counts.tables import species_numbers, two_names
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import CRYSTAL, MOST_SITES, OPEN, Lattice
from latticescape.physics.lattices.site_classes import class_rows, count_classes

Integers = npt.NDArray[np.int64]
Count = Callable[[Integers], Integers]

CELLS = ("i", "j", "k")


def is_site_table(table: pd.DataFrame) -> bool:
    """Whether a table has the columns of sites.

    Examples
    --------
    >>> is_site_table(pd.DataFrame({"i": [0], "j": [0], "species": ["A"]}))
    True
    """
    return {"i", "species"} <= set(table.columns)


def sites_of_table(
    table: pd.DataFrame, classes: Classes, species: Sequence[str] | None
) -> tuple[Integers, list[Integers], Count, Integers]:
    """The species of a table of sites, and how to count them.

    Parameters
    ----------
    table
        Columns ``i[, j[, k]]``, the cell of a site along each cell vector, ``site``, its number in
        the basis if that has several, and ``species``, names or numbers.
    classes
        The classes.
    species
        Names of species 0 and 1 of usual classes.

    Returns
    -------
    occupation, sublattices, count, centres
        Species of the sites, −1 where the table has none; the sites of each sublattice that have a
        species; the function that counts the classes of all complete neighbourhoods; and the cell
        and number in the basis of their centres.

    Raises
    ------
    RequestError
        If a column is missing, a cell is not a whole number, a site occurs twice or is unknown, a
        species is unknown, or no neighbourhood is complete.
    """
    usual = isinstance(classes, Configurations)
    geometry = GEOMETRIES[classes.kind] if isinstance(classes, Configurations) else classes.geometry
    places = [*CELLS[: geometry.dimension], *["site"] * (geometry.sublattices > 1)]
    check_has(table.columns, [*places, "species"], "the table of sites lacks a column")
    numbers = table[places].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    near = np.abs(np.nan_to_num(numbers, nan=np.inf)) <= MOST_SITES
    whole = (near & (numbers == np.rint(numbers))).all(axis=1)
    if not whole.all():
        came = listed(table[places].iloc[int(np.argmin(whole))])
        raise RequestError(
            "a site has no cell",
            came=came,
            allowed=f"whole numbers up to {MOST_SITES} in {listed(places)}",
        )
    cells = numbers[:, : geometry.dimension].astype(np.int64)
    basis = (
        numbers[:, -1].astype(np.int64) if geometry.sublattices > 1 else np.zeros(len(cells), int)
    )
    if not ((basis >= 0) & (basis < geometry.sublattices)).all():
        raise RequestError(
            "the column site holds an unknown site of the basis",
            came=listed(sorted(set(basis.tolist()))),
            allowed=f"0 to {geometry.sublattices - 1}",
        )
    cells = cells - cells.min(axis=0)
    shape = tuple((cells.max(axis=0) + 1).tolist())
    if np.prod(shape, dtype=object) * geometry.sublattices > MOST_SITES:
        raise RequestError(
            "the sites of the table span too many cells",
            came=f"{' × '.join(map(str, shape))} cells",
            allowed=f"up to {MOST_SITES} sites",
        )
    lattice = Lattice(CRYSTAL, shape, (OPEN,) * geometry.dimension, geometry)
    where = np.ravel_multi_index(tuple(cells.T), shape) * geometry.sublattices + basis
    if (twice := np.flatnonzero(pd.Series(where).duplicated())).size:
        came = listed(table[places].iloc[int(twice[0])])
        raise RequestError("a site occurs twice", came=came, allowed="one row for each site")
    occupation = np.full(lattice.sites, -1, np.int64)
    for site in range(geometry.sublattices):
        names = two_names(species) if isinstance(classes, Configurations) else classes.species[site]
        own = basis == site
        occupation[where[own]] = species_numbers(table["species"][own], names, "the column species")
    rows = class_rows(lattice, classes)
    around = np.where(rows.strides[:, 1:] > 0, occupation[rows.around], 0)
    complete = (occupation[rows.centers] >= 0) & (around >= 0).all(axis=1)
    if not complete.any():
        raise RequestError(
            f"no site has all of its {classes.kind} neighbours in the table",
            came=f"{len(table)} sites",
            allowed="a larger section of the lattice",
        )
    kept = [f.name for f in fields(rows) if f.name != "classes"]
    rows = replace(rows, **{name: getattr(rows, name)[complete] for name in kept})
    of_sites = np.tile(np.arange(geometry.sublattices), lattice.sites // geometry.sublattices)
    names_of = np.array([*geometry.names] if not usual else [""] * geometry.sublattices)[of_sites]
    groups = [np.flatnonzero((names_of == n) & (occupation >= 0)) for n in np.unique(names_of)]
    counted, number = np.divmod(rows.centers.astype(np.int64), geometry.sublattices)
    centres = np.stack([*np.unravel_index(counted, shape), number], axis=1).astype(np.int64)
    return occupation, groups, lambda numbers: count_classes(numbers, rows, len(classes)), centres
