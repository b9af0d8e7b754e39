"""Count local configurations in images, tables of atoms and simulated lattices."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.analysis.checks import (
    check_image_names,
    check_one_lattice,
    check_species_names,
    listed,
)
from latticescape.analysis.counts.classes import Classes, class_attrs, require_usual
from latticescape.analysis.counts.overlap import (
    counts_of_shuffles,
    effective_number,
    expected_counts,
    random_p_value,
    shuffled_counts,
)
from latticescape.analysis.counts.site_tables import is_site_table, sites_of_table
from latticescape.analysis.counts.tables import (
    PER_IMAGE,
    UNNAMED,
    atoms_of_table,
    counts_by_image,
    read_table,
    species_names,
    stored_counts,
    two_names,
)
from latticescape.analysis.images.reading import image_paths, is_image
from latticescape.analysis.images.sites.rings import complete_rings, site_rings
from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import (
    Configurations,
    configurations,
    count_configurations,
)
from latticescape.physics.lattices.lattice import Lattice

if TYPE_CHECKING:
    from latticescape.analysis.images.measurement import Method

Integers = npt.NDArray[np.int64]
LatticeKind = str | Callable[[int], Lattice]
Paths = str | Path | Iterable[str | Path]
ImageCounts = dict[str, npt.NDArray[Any]]

SHUFFLES = 1000

# What to type for classes that images do not show.
TABLE_OF_COUNTS = "a table of counts, one row for each arrangement"


def observed_counts(
    source: Paths,
    *,
    lattice: LatticeKind = "triangular",
    classes: Classes | None = None,
    species: Sequence[str] | None = None,
    method: "Method" = "mixture",
    seed: int = 0,
) -> xr.Dataset:
    """Observed configuration counts as a Dataset, one row an image.

    Parameters
    ----------
    source
        One or several paths or patterns: images, ``"images/*.tif"``; or stores written by
        ``latticescape measure``, which name their lattice themselves; or one table of counts, with
        one column of counts per image, and one row for each class or arrangement (see below); or
        tables of atoms, one file per image, with the columns ``row_px, col_px, species``; or tables
        of sites, with the columns ``i, j`` (``k``), the cell of a site along each cell vector,
        ``site``, its number in the basis if that has several, ``species`` (names or numbers) and,
        for several images in one file, ``image``.
    lattice
        The lattice's kind, or its function: ``"triangular"`` or ``triangular``.
    classes
        The classes to count: ``classes_of(ds)``, those of a sweep. By default the usual ones of
        the lattice.
    species
        Names of species 0 and 1, such as ``("Mo", "Re")``, which labels of pictures show: in images
        the darker and the brighter one, in tables of atoms the names in the column ``species``. By
        default 0 and 1; a store of ``latticescape measure`` has its own.
    method
        How to distinguish species in images, see ``assign_species``.
    seed
        Of the random starts in images, and of the shuffling.

    Returns
    -------
    Dataset
        ``counts`` (image, configuration), ``n`` (image): neighbourhoods counted, and
        ``composition`` (image): measured fraction of species-1 centres; of more species (image,
        species), and of sublattices with species of their own (image, sublattice, species): the
        fraction of each among the centres of its sublattice. From images also the
        variables and attrs of :func:`count_measured`, and from tables of atoms those that need no
        probabilities.

    Raises
    ------
    RequestError
        If an image shows no atoms, another lattice or not two species. If a table or store cannot
        be read, classes or arrangements are missing, duplicate or unknown, a count is not a whole
        number ≥ 0, or an image has no counts.

    Notes
    -----
    A table of counts has one row for each arrangement of a site and its neighbours, with the
    species (names, or their numbers) in the columns ``centre`` and ``right``, ``up_right``, …: the
    neighbours' directions in the plane, or their steps such as ``[0,1]``
    (:func:`latticescape.analysis.counts.classes.positions_of`); rows of one class are added up. Or
    it has one row for each class, with its ``label`` as in a sweep's Dataset; or, for usual classes
    of two species, with ``centre``, the number of species-1 neighbours ``n_…`` and the pair numbers
    of the lattice. The column ``multiplicity`` is ignored.

    Examples
    --------
    >>> observed_counts("nowhere.csv")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no file nowhere.csv ...
    """
    classes = configurations(_kind(lattice)) if classes is None else classes
    patterns = [source] if isinstance(source, (str, Path)) else list(source)
    paths = [Path(p) for item in patterns for p in (sorted(glob(str(item))) or [str(item)])]
    if not paths:
        raise RequestError("no table is named", came="[]", allowed="a path", hint='"counts.csv"')
    if any(is_image(path) for path in paths):
        kind = require_usual(classes, "images are counted", TABLE_OF_COUNTS).kind
        return _count_images(patterns, kind, species, method, seed)
    if any(path.is_dir() for path in paths):
        stored = stored_counts(paths)
        return stored if "species" in stored.attrs else _named(stored, species)
    tables = {path: read_table(path) for path in paths}
    if all(is_site_table(table) for table in tables.values()):
        parts = [
            (str(name), path, part)
            for path, table in tables.items()
            for name, part in (
                table.groupby("image") if "image" in table.columns else [(path.stem, table)]
            )
        ]
        check_image_names([name for name, _, _ in parts])
        counts = {
            name: _count_sites(path, part, classes, species, seed) for name, path, part in parts
        }
        attrs: dict[str, Any] = {"source": [str(path) for _, path, _ in parts]}
        return _with_measured(counts, classes, species, attrs)
    if all("species" in table.columns for table in tables.values()):
        usual = require_usual(classes, "tables of atoms are counted", TABLE_OF_COUNTS)
        check_image_names([path.stem.removesuffix("_atoms") for path in paths])
        counts = {
            path.stem.removesuffix("_atoms"): _count_table(path, table, usual, species, seed)
            for path, table in tables.items()
        }
        return _with_measured(counts, usual, species, {"source": list(map(str, paths))})
    if len(paths) > 1:
        problem, allowed = "several tables", "one table of counts, or tables of atoms"
        raise RequestError(problem, came=listed(paths), allowed=allowed)
    path, table = next(iter(tables.items()))
    try:
        return _named(counts_dataset(counts_by_image(table, classes, species), classes), species)
    except RequestError as error:
        raise error.within(str(path)) from None


def count_atoms(
    positions: npt.ArrayLike, species: npt.ArrayLike, lattice: LatticeKind
) -> npt.NDArray[np.int64]:
    """Count the configurations around all atoms with a complete ring.

    Parameters
    ----------
    positions
        (atoms, 2), any unit.
    species
        (atoms,), 0 or 1.
    lattice
        Kind of the plane lattice.

    Examples
    --------
    >>> from latticescape import square
    >>> counts = count_atoms(square(4).positions, np.ones(16, int), "square")
    >>> int(counts.sum()), int(counts[-1])
    (4, 4)
    """
    kind = _kind(lattice)
    centers, rings = complete_rings(positions, kind)
    return count_configurations(species, centers, rings, configurations(kind))


def _kind(lattice: LatticeKind) -> str:
    return lattice if isinstance(lattice, str) else lattice(8).kind


def count_measured(atoms_of: Mapping[str, xr.Dataset], *, seed: int = 0) -> xr.Dataset:
    """Count the configurations of measured images.

    Parameters
    ----------
    atoms_of
        By the image's name, as ``measure`` returns them; of two species and one lattice.
    seed
        Of the shuffling.

    Returns
    -------
    Dataset
        As :func:`observed_counts`, with: ``centres`` (image, site, index), the cell of each counted
        site along the cell vectors and its number in the basis, −1 beyond the last;
        ``expected_counts`` (image, configuration), under the
        probabilities of the species; ``covariance`` (image, configuration, configuration_2) of
        the counts and ``effective_n`` (image), the number of independent neighbourhoods with the
        information of these overlapping ones, both for species shuffled over the image's own sites,
        that is for a random alloy; ``shuffled_counts`` (image, shuffle, configuration), the counts
        of the shuffles; ``p_random`` (image), the share of shuffles as far from random mixing as
        the image. attrs: ``lattice``, ``species`` (names), ``version`` of latticescape, and one
        value per image of ``source`` (path), ``pixel_size``, ``pixel_units``, ``warnings`` and the
        numbers of its quality that ``measure`` returns.

    Raises
    ------
    RequestError
        If no atom of an image has a complete ring, the species are not two, or ``measure`` states
        that the image must not be counted.

    Examples
    --------
    >>> keys = np.array([(i, j) for i in range(8) for j in range(8)])
    >>> one = (keys.sum(axis=1) % 3 == 0).astype(int)
    >>> atoms = xr.Dataset({"i": ("atom", keys[:, 0]), "j": ("atom", keys[:, 1]),
    ...     "sublattice": ("atom", 0 * one), "on_lattice": ("atom", one >= 0),
    ...     "species": ("atom", one),
    ...     "probability": (("atom", "species_name"), np.eye(2)[one])},
    ...     {"species_name": ["Mo", "Re"]}, {"lattice": "triangular"})
    >>> observed = count_measured({"one": atoms})
    >>> int(observed.n[0]), bool(np.allclose(observed.expected_counts, observed.counts))
    (36, True)
    """
    if not atoms_of:
        raise RequestError("no image is named", came="{}", allowed="atoms by the image's name")
    kinds = [str(atoms.attrs["lattice"]) for atoms in atoms_of.values()]
    check_one_lattice(kinds)
    classes = configurations(kinds[0])
    counts = {}
    for name, atoms in atoms_of.items():
        check_species_names(species_names(atoms), two=True)
        if reason := atoms.attrs.get("uncounted"):
            raise RequestError(f"{name}: {reason}")
        rings = site_rings(atoms)
        try:
            statistics = _count_rings(atoms["species"].to_numpy(), *rings, classes, seed)
        except RequestError as error:
            raise error.within(name) from None
        probability = np.nan_to_num(atoms["probability"].to_numpy()[:, 1])
        keys = [atoms[key].to_numpy()[rings[0]] for key in ("i", "j", "sublattice")]
        counts[name] = statistics | {
            "expected_counts": expected_counts(probability, *rings, classes),
            "centres": np.stack(keys, axis=1),
        }
    unknown = {"source": "", "pixel_size": 1.0, "pixel_units": "px"}
    attrs = {
        key: [atoms.attrs.get(key, unknown.get(key)) for atoms in atoms_of.values()]
        for key in PER_IMAGE
        if key in unknown or all(key in atoms.attrs for atoms in atoms_of.values())
    }
    return _with_measured(counts, classes, species_names(next(iter(atoms_of.values()))), attrs)


def _count_table(
    path: Path,
    table: pd.DataFrame,
    classes: Configurations,
    species: Sequence[str] | None,
    seed: int,
) -> ImageCounts:
    try:
        positions, occupation = atoms_of_table(table, species)
        rings = complete_rings(positions, classes.kind)
        return _count_rings(occupation, *rings, classes, seed)
    except RequestError as error:
        raise error.within(str(path)) from None


def _count_sites(
    path: Path, table: pd.DataFrame, classes: Classes, species: Sequence[str] | None, seed: int
) -> ImageCounts:
    """Counts of a table of sites, and of its species shuffled over each sublattice."""
    try:
        occupation, groups, count, centres = sites_of_table(table, classes, species)
    except RequestError as error:
        raise error.within(str(path)) from None
    shuffled = counts_of_shuffles(occupation, groups, count, shuffles=SHUFFLES, seed=seed)
    return _statistics(count(occupation), shuffled, classes) | {"centres": centres}


def _count_rings(
    species: Integers,
    centers: Integers,
    rings: Integers,
    classes: Configurations,
    seed: int,
) -> ImageCounts:
    """Counts of an image and of its species shuffled over its own sites."""
    if not len(centers):
        problem = f"no atom has a complete ring of {classes.kind} neighbours"
        came, hint = f"{np.count_nonzero(species >= 0)} atoms", "a larger image, or its own lattice"
        raise RequestError(problem, came=came, hint=hint)
    counts = count_configurations(np.maximum(species, 0), centers, rings, classes)
    shuffled = shuffled_counts(species, centers, rings, classes, shuffles=SHUFFLES, seed=seed)
    return _statistics(counts, shuffled, classes)


def _statistics(counts: Integers, shuffled: Integers, classes: Classes) -> ImageCounts:
    return {
        "counts": counts,
        "covariance": np.cov(shuffled.T),
        "effective_n": np.array(effective_number(shuffled)),
        "shuffled_counts": shuffled.astype(np.int32),
        "p_random": np.array(random_p_value(counts, shuffled, classes)),
    }


def _count_images(
    source: Paths, kind: str, species: Sequence[str] | None, method: "Method", seed: int
) -> xr.Dataset:
    # Counts of tables and stores need none of the libraries for images.
    from latticescape.analysis.images.measurement import measure

    paths = image_paths(source)
    if others := [path for path in paths if not is_image(path)]:
        raise RequestError("images and tables together", came=listed(others), allowed="only images")
    names = tuple(species) if species is not None else UNNAMED
    atoms_of = {}
    for path in paths:
        try:
            atoms_of[path.stem] = measure(path, kind, names, method=method, seed=seed)
        except RequestError as error:
            raise error.within(str(path)) from None
    return count_measured(atoms_of, seed=seed)


def _with_measured(
    counts: Mapping[str, ImageCounts],
    classes: Classes,
    species: Sequence[str] | None,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The Dataset of counts with the statistics and the provenance of the images."""
    dims_and_labels = {
        "expected_counts": ("configuration", "counts expected by species probabilities", "count"),
        "covariance": (
            "configuration configuration_2",
            "covariance of the counts of a random alloy on these sites",
            "count²",
        ),
        "effective_n": ("", "effective number of independent neighbourhoods", "count"),
        "shuffled_counts": (
            "shuffle configuration",
            "counts with the species shuffled over these sites",
            "count",
        ),
        "p_random": ("", "share of shuffles as far from random mixing", "1"),
    }
    columns: dict[str, Column] = {
        name: (
            ("image", *dims.split()),
            np.array([of[name] for of in counts.values()]),
            label,
            units,
        )
        for name, (dims, label, units) in dims_and_labels.items()
        if all(name in of for of in counts.values())
    }
    observed = counts_dataset({name: of["counts"] for name, of in counts.items()}, classes)
    observed = observed.assign(labelled_variables(columns))
    if all("centres" in of for of in counts.values()):
        observed["centres"] = _padded([of["centres"] for of in counts.values()])
    return _named(observed, species).assign_attrs(**attrs, version=version("latticescape"))


def _padded(centres: Sequence[Integers]) -> xr.Variable:
    """Cell and number in the basis of the counted sites, from 0 on; −1 beyond the last one."""
    padded = np.full((len(centres), max(map(len, centres)), centres[0].shape[1]), -1, np.int32)
    for row, keys in zip(padded, centres, strict=True):
        first = keys.min(axis=0)
        first[-1] = 0
        row[: len(keys)] = keys - first
    long_name = "cell and number in the basis of the counted sites"
    return xr.Variable(("image", "site", "index"), padded, {"long_name": long_name, "units": "1"})


def _named(observed: xr.Dataset, species: Sequence[str] | None) -> xr.Dataset:
    """The counts with the names of their species, which labels of pictures show."""
    names = two_names(species)
    if names == UNNAMED:
        return observed
    observed["composition"].attrs["long_name"] = f"{names[1]} fraction x"
    return observed.assign_attrs(species=list(names))


def counts_dataset(counts: dict[str, Integers], classes: Classes) -> xr.Dataset:
    """The Dataset of counts per image, with measured compositions."""
    table = np.array(list(counts.values()), np.int64)
    for image, row in zip(counts, table, strict=True):
        if row.sum() == 0:
            raise RequestError(f"the image {image} has no counts", hint="leave it out")
    n = table.sum(axis=1)
    composition, held = _composition(table, classes)
    along = {
        name: ("configuration", values, {"long_name": long_name})
        for name, (values, long_name) in classes.descriptors.items()
    }
    return xr.Dataset(
        labelled_variables(
            {
                "counts": (("image", "configuration"), table, "observed configurations", "count"),
                "n": ("image", n, "neighbourhoods counted", "count"),
                "composition": (
                    ("image", *held),
                    composition,
                    f"measured fraction of {'the' if held else 'species-1'} centres",
                    "1",
                ),
            }
        ),
        coords={"image": list(counts), "configuration": np.arange(len(classes)), **along, **held},
        attrs=class_attrs(classes),
    )


def _composition(table: Integers, classes: Classes) -> tuple[Any, dict[str, list[str]]]:
    """The fractions of centres in each image, and the dimensions besides the image."""
    alike = isinstance(classes, Configurations) or len(set(classes.species)) == 1
    if isinstance(classes, Configurations) or (alike and len(classes.species[0]) == 2):
        return table @ classes.centre / table.sum(axis=1), {}
    seen = classes.centres_in(table)
    of_sublattice = dict(zip(classes.geometry.names, classes.species, strict=True))
    species = list(dict.fromkeys(name for own in of_sublattice.values() for name in own))
    if alike:
        one = seen.sum(axis=1)
        return one / one.sum(axis=-1, keepdims=True), {"species": species}
    shares = np.full((len(table), len(of_sublattice), len(species)), np.nan)
    for row, own in enumerate(of_sublattice.values()):
        known = seen[:, row, : len(own)]
        total = known.sum(axis=-1, keepdims=True)
        shares[:, row, [species.index(name) for name in own]] = np.divide(
            known, total, where=total > 0, out=np.full(known.shape, np.nan)
        )
    return shares, {"sublattice": list(of_sublattice), "species": species}


def count_lattices(species: npt.NDArray[np.integer], lattice: Lattice) -> xr.Dataset:
    """Count the configurations of simulated lattices in the format of :func:`observed_counts`.

    Parameters
    ----------
    species
        (images, sites), 0 or 1, such as ``unpack_replicas`` of a sweep's ``spins``.
    lattice
        Their lattice; every site has a complete ring.

    Returns
    -------
    Dataset
        ``counts`` (image, configuration), ``n`` and ``composition`` (image); the images are
        ``image 0``, ``image 1``, ….

    Examples
    --------
    >>> from latticescape import square
    >>> count_lattices(np.ones((2, 16), int), square(4)).n.values.tolist()
    [16, 16]
    """
    classes, rings = configurations(lattice.kind), lattice.neighbors(1)
    sites = np.arange(lattice.sites)
    counts = {
        f"image {number}": count_configurations(occupation, sites, rings, classes)
        for number, occupation in enumerate(species)
    }
    return counts_dataset(counts, classes)
