"""Count local configurations in images, tables of atoms and whole lattices."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.analysis.counts.overlap import (
    effective_number,
    expected_counts,
    random_p_value,
    shuffled_counts,
)
from latticescape.analysis.counts.tables import (
    atoms_of_table,
    counts_by_image,
    read_table,
    species_names,
    stored_counts,
)
from latticescape.analysis.images.measurement import Method, measure
from latticescape.analysis.images.reading import image_paths, is_image
from latticescape.analysis.images.sites.rings import complete_rings, site_rings
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import (
    Configurations,
    configurations,
    count_configurations,
)
from latticescape.physics.lattices.lattice import Lattice

LatticeKind = str | Callable[[int], Lattice]
Paths = str | Path | Iterable[str | Path]


def observed_counts(
    source: Paths,
    *,
    lattice: LatticeKind = "triangular",
    species: Sequence[str] | None = None,
    method: Method = "mixture",
    seed: int = 0,
) -> xr.Dataset:
    """Observed configuration counts as a Dataset, one row an image.

    Parameters
    ----------
    source
        A path or pattern, or several. Images, ``"images/*.tif"``. Or stores that ``latticescape
        measure`` wrote, which name their lattice themselves. Or one table of counts: class columns
        (``centre``, the number of species-1 neighbours ``n_…``, then the pair numbers of the
        lattice, optionally ``multiplicity``) and one column of counts per image. Or tables of
        atoms, one file an image, with the columns ``row_px, col_px, species``.
    lattice
        The lattice's kind, or the function that makes it: ``"triangular"`` or ``triangular``.
    species
        Names of species 0 and 1, such as ``("Mo", "Re")``: in images the darker and the brighter
        one, in tables of atoms as they stand there. By default the numbers 0 and 1.
    method
        How to tell species apart in images, see ``assign_species``.
    seed
        Of what is left to chance in images, and of the shuffling.

    Returns
    -------
    Dataset
        ``counts`` (image, configuration), ``n`` (image): neighbourhoods counted, and
        ``composition`` (image): measured fraction of species-1 centres. From images also what
        :func:`count_measured` adds, and from tables of atoms what of that needs no probabilities.

    Raises
    ------
    RequestError
        If an image shows no atoms, no such lattice or not two species. If a table or store cannot
        be read, classes are missing, twice or unknown, or a count is negative, no whole number, or
        an image has none.

    Examples
    --------
    >>> observed_counts("nowhere.csv")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no file nowhere.csv ...
    """
    classes = configurations(_kind(lattice))
    paths = _paths(source)
    if any(is_image(path) for path in paths):
        return _from_images(source, classes.kind, species, method, seed)
    if any(path.is_dir() for path in paths):
        return stored_counts(paths)
    tables = {path: read_table(path) for path in paths}
    if all("species" in table.columns for table in tables.values()):
        parts = {
            path.stem.removesuffix("_atoms"): _count_table(path, table, classes, species, seed)
            for path, table in tables.items()
        }
        if len(parts) < len(paths):
            raise RequestError(
                "two tables of atoms have the same name, which names the image",
                came=", ".join(map(str, paths)),
                allowed="one table an image",
                hint="another name for one of them",
            )
        return _with_sites(parts, classes)
    if len(paths) > 1:
        raise RequestError(
            "several tables, and not all are tables of atoms",
            came=", ".join(map(str, paths)),
            allowed="one table of counts, or tables of atoms",
            hint="one table at a time",
        )
    path, table = next(iter(tables.items()))
    try:
        return counts_dataset(counts_by_image(table, classes), classes)
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


def count_measured(atoms_of: Mapping[str, xr.Dataset], *, seed: int = 0) -> xr.Dataset:
    """Count the configurations of measured images.

    Parameters
    ----------
    atoms_of
        By the image's name, as ``measure`` gives them; of two species and one lattice.
    seed
        Of the shuffling.

    Returns
    -------
    Dataset
        As :func:`observed_counts`, with: ``expected_counts`` (image, configuration), under the
        probabilities of the species; ``covariance`` (image, configuration, configuration_2) of
        the counts and ``effective_n`` (image), as many independent neighbourhoods as tell as much
        as these, which overlap: both of species shuffled over the image's own sites, that is for a
        random alloy; ``shuffled_counts`` (image, shuffle, configuration), the counts of these;
        ``p_random`` (image): share of them as far from random mixing as the image.

    Raises
    ------
    RequestError
        If no atom of an image has a complete ring, or the species are not two.

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
    kinds = {str(atoms.attrs["lattice"]) for atoms in atoms_of.values()}
    if len(kinds) > 1:
        raise RequestError("images of different lattices", came=", ".join(sorted(kinds)))
    classes = configurations(kinds.pop())
    parts = {name: _image_counts(name, atoms, classes, seed) for name, atoms in atoms_of.items()}
    return _with_sites(parts, classes)


Parts = dict[str, npt.NDArray[Any]]


def _with_sites(parts: Mapping[str, Parts], classes: Configurations) -> xr.Dataset:
    """The Dataset of counts and of what the images' own sites tell of them."""
    found = counts_dataset({name: part["counts"] for name, part in parts.items()}, classes)
    return found.assign(
        {
            name: (
                ("image", *dims),
                np.array([part[name] for part in parts.values()]),
                _told(long_name, units),
            )
            for name, (dims, long_name, units) in _MEASURED.items()
            if all(name in part for part in parts.values())
        }
    )


SHUFFLES = 1000

_MEASURED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "expected_counts": (("configuration",), "counts expected by species probabilities", "count"),
    "covariance": (
        ("configuration", "configuration_2"),
        "covariance of the counts of a random alloy on these sites",
        "count²",
    ),
    "effective_n": ((), "independent neighbourhoods that tell as much", "count"),
    "shuffled_counts": (
        ("shuffle", "configuration"),
        "counts with the species shuffled over these sites",
        "count",
    ),
    "p_random": ((), "share of shuffles as far from random mixing", "1"),
}


def _image_counts(name: str, atoms: xr.Dataset, classes: Configurations, seed: int) -> Parts:
    names = species_names(atoms)
    if len(names) != 2:
        raise RequestError(
            "configurations are of two species",
            came=", ".join(names),
            allowed="the darker and the brighter",
            hint="--species Mo,Re, species=('Mo', 'Re') in Python",
        )
    centers, rings = site_rings(atoms)
    if not len(centers):
        raise RequestError(
            f"{name}: no atom has a complete ring of neighbours",
            came=f"{int(atoms['on_lattice'].sum())} atoms on the lattice",
            allowed=f"at least one {classes.kind} ring",
            hint="a larger image",
        )
    species = atoms["species"].to_numpy()
    counts = count_configurations(np.maximum(species, 0), centers, rings, classes)
    probability = np.nan_to_num(atoms["probability"].to_numpy()[:, 1])
    expected = expected_counts(probability, centers, rings, classes)
    found = _on_sites(counts, species, (centers, rings), classes, seed)
    return found | {"expected_counts": expected}


def _on_sites(
    counts: npt.NDArray[np.int64],
    species: npt.NDArray[np.int64],
    sites: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    classes: Configurations,
    seed: int,
) -> Parts:
    """What shuffling the species over the image's own sites tells of its counts."""
    shuffled = shuffled_counts(species, *sites, classes, shuffles=SHUFFLES, seed=seed)
    return {
        "counts": counts,
        "covariance": np.cov(shuffled.T),
        "effective_n": np.array(effective_number(shuffled)),
        "shuffled_counts": shuffled.astype(np.int32),
        "p_random": np.array(random_p_value(counts, shuffled, classes)),
    }


def _from_images(
    source: Paths, kind: str, species: Sequence[str] | None, method: Method, seed: int
) -> xr.Dataset:
    paths = image_paths(source)
    others = [path for path in paths if not is_image(path)]
    if others:
        raise RequestError(
            "images and tables together", came=", ".join(map(str, others)), allowed="images alone"
        )
    names = tuple(species) if species is not None else ("0", "1")
    atoms_of = {}
    for path in paths:
        try:
            atoms_of[path.stem] = measure(path, kind, names, method=method, seed=seed)
        except RequestError as error:
            raise error.within(str(path)) from None
    return count_measured(atoms_of, seed=seed)


def counts_dataset(counts: dict[str, npt.NDArray[np.int64]], classes: Configurations) -> xr.Dataset:
    """The Dataset of counts per image, with measured compositions."""
    table = np.array(list(counts.values()), np.int64)
    for image, row in zip(counts, table, strict=True):
        if row.sum() == 0:
            raise RequestError(f"the image {image} has no counts", came=0, allowed="at least 1")
    n = table.sum(axis=1)
    along = {
        name: ("configuration", values, {"long_name": told})
        for name, (values, told) in classes.descriptors.items()
    }
    return xr.Dataset(
        {
            "counts": (
                ("image", "configuration"),
                table,
                _told("observed configurations", "count"),
            ),
            "n": ("image", n, _told("neighbourhoods counted", "count")),
            "composition": (
                "image",
                table @ classes.centre / n,
                _told("measured fraction of species-1 centres", "1"),
            ),
        },
        coords={"image": list(counts), "configuration": np.arange(len(classes)), **along},
        attrs={"lattice": classes.kind},
    )


def _told(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _kind(lattice: LatticeKind) -> str:
    return lattice if isinstance(lattice, str) else lattice(8).kind


def _paths(source: Paths) -> list[Path]:
    given = [source] if isinstance(source, (str, Path)) else list(source)
    found = [Path(p) for item in given for p in (sorted(glob(str(item))) or [str(item)])]
    if not found:
        raise RequestError("no table is named", came="[]", allowed="a path", hint='"counts.csv"')
    return found


def _count_table(
    path: Path,
    table: pd.DataFrame,
    classes: Configurations,
    species: Sequence[str] | None,
    seed: int,
) -> Parts:
    try:
        positions, numbered = atoms_of_table(table, species)
        sites = complete_rings(positions, classes.kind)
        if not len(sites[0]):
            raise RequestError(
                "no atom has a complete ring of neighbours",
                came=f"{len(table)} atoms",
                allowed=f"at least one {classes.kind} ring",
                hint="a larger image, or the lattice it shows",
            )
        counts = count_configurations(numbered, *sites, classes)
        return _on_sites(counts, numbered, sites, classes, seed)
    except RequestError as error:
        raise error.within(str(path)) from None


def count_lattices(species: npt.NDArray[np.integer], lattice: Lattice) -> xr.Dataset:
    """Configuration counts of whole lattices, as :func:`observed_counts` tells those of images.

    Parameters
    ----------
    species
        (images, sites), 0 or 1, such as ``unpack_replicas`` of a sweep's ``spins``.
    lattice
        The lattice they are of; every site has a complete ring.

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
        f"image {number}": count_configurations(one, sites, rings, classes)
        for number, one in enumerate(species)
    }
    return counts_dataset(counts, classes)
