"""Local configurations of any species on any lattice: a site, its neighbours, and symmetry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.lattices.configurations import (
    PAIR_ANGLES,
    Configurations,
    Counts,
    code_weights,
    configurations,
)
from latticescape.physics.lattices.geometry import (
    GEOMETRIES,
    MOST_SHELLS,
    Geometry,
    Step,
    shell_steps,
)
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.lattices.symmetry import Operation, Symmetry, operations

ClassSymmetry = Literal["point_group", "rotations", "translations", "counts"]
SYMMETRIES: tuple[ClassSymmetry, ...] = get_args(ClassSymmetry)

_GROUP: Mapping[str, Symmetry] = {
    "point_group": "space_group",
    "rotations": "rotations",
    "translations": "translations",
    "counts": "space_group",
}

MOST_CODES = 2**22
MOST_CLASSES = 4096

# Directions in the plane, by the angle in degrees from the x axis to the y axis.
DIRECTIONS = {
    0: "right",
    45: "up_right",
    90: "up",
    135: "up_left",
    180: "left",
    225: "down_left",
    270: "down",
    315: "down_right",
}


@dataclass(frozen=True)
class ClassChoice:
    """Which configurations a sweep counts.

    Attributes
    ----------
    symmetry
        As for :class:`SiteClasses`.
    shells
        The neighbour shells around a site.
    """

    symmetry: ClassSymmetry = "point_group"
    shells: tuple[int, ...] = (1,)

    @classmethod
    def of(cls, value: Any) -> "ClassChoice":
        """The choice from a spec: a word, or a table of ``symmetry`` and ``shells``.

        Raises
        ------
        RequestError
            If a word, a key or a shell is unknown.

        Examples
        --------
        >>> ClassChoice.of("translations"), ClassChoice.of({"shells": [1, 2]}).shells
        (ClassChoice(symmetry='translations', shells=(1,)), (1, 2))
        """
        if isinstance(value, ClassChoice):
            return value
        table = value if isinstance(value, Mapping) else {"symmetry": value}
        for key in table:
            checked_choice(key, ("symmetry", "shells"), "classes has an unknown key", hint=HINT)
        symmetry = table.get("symmetry", "point_group")
        checked_choice(symmetry, SYMMETRIES, "classes is unknown", hint='classes = "translations"')
        shells = table.get("shells", (1,))
        known = (
            isinstance(shells, Sequence)
            and len(shells) > 0
            and all(type(s) is int and 1 <= s <= MOST_SHELLS for s in shells)
        )
        if not known or len(set(shells)) < len(shells):
            raise RequestError(
                "the shells of classes are unknown",
                came=repr(shells),
                allowed=f"different numbers from 1 to {MOST_SHELLS}",
                hint=HINT,
            )
        return cls(symmetry, tuple(sorted(shells)))

    @property
    def spec(self) -> str | dict[str, Any]:
        """What a spec file says."""
        if self.shells == (1,):
            return self.symmetry
        return {"symmetry": self.symmetry, "shells": list(self.shells)}


USUAL = ClassChoice()
HINT = 'classes = { symmetry = "point_group", shells = [1, 2] } in [sweep]'


class _Codes(NamedTuple):
    """The codes around a site.

    Attributes
    ----------
    least
        The smallest code of each class, (classes,).
    classes
        The class of each code, (codes,).
    numbers
        How many codes are of each class, (classes,).
    """

    least: Counts
    classes: npt.NDArray[np.intp]
    numbers: Counts


@dataclass(frozen=True)
class SiteClasses:
    """The classes of a site and its neighbours, for any species, up to symmetry.

    Sites that symmetry maps to each other share classes; sites of different sublattices do not.

    Attributes
    ----------
    geometry
        The crystal.
    species
        Names of the species that each site of the basis may hold.
    symmetry
        ``"point_group"``: arrangements are one class if an operation of the site's point group maps
        them to each other; ``"rotations"``: one without reflection; ``"translations"``: each
        arrangement is a class; ``"counts"``: if they have as many neighbours of each species in
        each shell.
    shells
        The neighbour shells around a site.

    Examples
    --------
    >>> from latticescape import kagome
    >>> classes = SiteClasses.of_lattice(kagome(4), (("A", "B"),) * 3)
    >>> len(classes), classes.labels[1]
    (14, 'A | A A A B')
    """

    geometry: Geometry
    species: tuple[tuple[str, ...], ...]
    symmetry: ClassSymmetry = "point_group"
    shells: tuple[int, ...] = (1,)

    @classmethod
    def of_lattice(
        cls,
        lattice: Lattice,
        species: tuple[tuple[str, ...], ...],
        choice: ClassChoice = USUAL,
    ) -> "SiteClasses":
        """The classes of a lattice.

        Raises
        ------
        RequestError
            If there are too many classes.
        """
        classes = cls(lattice.geometry, species, choice.symmetry, choice.shells)
        classes._check_number()
        return classes

    @classmethod
    def of_text(cls, text: str) -> "SiteClasses":
        """The classes from the attribute ``classes`` of a Dataset."""
        parts = json.loads(text)
        geometry = Geometry(
            tuple(map(tuple, parts["cell"])),
            tuple(map(tuple, parts["basis"])),
            tuple(parts["sublattice"]),
        )
        species = tuple(map(tuple, parts["species"]))
        return cls(geometry, species, parts["symmetry"], tuple(parts["shells"]))

    @property
    def text(self) -> str:
        """The attribute ``classes`` of a Dataset, as JSON."""
        return json.dumps(
            {
                "cell": self.geometry.cell,
                "basis": self.geometry.basis,
                "sublattice": self.geometry.sublattice,
                "species": self.species,
                "symmetry": self.symmetry,
                "shells": self.shells,
            }
        )

    def _check_number(self) -> None:
        codes = sum(
            int(np.prod([len(self.species[s]) for s in self._sites(site)], dtype=object))
            for site in self._firsts
        )
        if codes > MOST_CODES or len(self) > MOST_CLASSES:
            number = f"{codes} arrangements" if codes > MOST_CODES else f"{len(self)} classes"
            raise RequestError(
                "a site and its neighbours have too many arrangements to store",
                came=f'{number}, with classes = "{self.symmetry}" and shells {list(self.shells)}',
                allowed=f"up to {MOST_CLASSES} classes of {MOST_CODES} arrangements",
                hint='classes = "counts", or fewer shells',
            )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def kind(self) -> str:
        """The preset of this crystal, or ``crystal``."""
        kinds = (kind for kind, geometry in GEOMETRIES.items() if geometry == self.geometry)
        return next(kinds, "crystal")

    def steps(self, site: int) -> list[Step]:
        """The neighbours of a site of the basis, shell by shell."""
        return [s for shell in self.shells for s in shell_steps(self.geometry, shell)[site]]

    def _sites(self, site: int) -> list[int]:
        """The site and its neighbours, as sites of the basis."""
        return [site, *(step.target for step in self.steps(site))]

    @cached_property
    def _operations(self) -> tuple[Operation, ...]:
        return operations(self.geometry, _GROUP[self.symmetry])

    def _orders(self, site: int, image: int) -> set[tuple[int, ...]]:
        """For each operation that maps a site to another: where each neighbour of it goes."""
        here = (0,) * self.geometry.dimension
        places = {(step.cells, step.target): k for k, step in enumerate(self.steps(image))}
        found = set()
        for operation in self._operations:
            (origin, target) = operation((here, site))
            if target == image:
                moved = [operation((step.cells, step.target)) for step in self.steps(site)]
                found.add(
                    tuple(
                        places[tuple(a - b for a, b in zip(cell, origin, strict=True)), other]
                        for cell, other in moved
                    )
                )
        return found

    @cached_property
    def _first_of(self) -> tuple[int, ...]:
        """The first site of the basis that symmetry maps to each."""
        first = []
        for site in range(len(self.species)):
            earlier = (s for s in range(site + 1) if self._orders(s, site))
            first.append(next(earlier))
        return tuple(first)

    @property
    def _firsts(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self._first_of))

    def order(self, site: int) -> tuple[int, ...]:
        """The neighbours of a site of the basis in the order of those of the first site that
        symmetry maps to it."""
        orders = self._orders(self._first_of[site], site)
        return min(orders)

    @cached_property
    def _of_codes(self) -> dict[int, _Codes]:
        """For each first site, the codes that are one class."""
        return {
            site: _Codes(*np.unique(least, return_inverse=True, return_counts=True))
            for site, least in self._smallest().items()
        }

    def _smallest(self) -> dict[int, npt.NDArray[np.int64]]:
        """For each first site, the smallest code that symmetry makes of each code."""
        smallest = {}
        for site in self._firsts:
            sizes = [len(self.species[s]) for s in self._sites(site)]
            digits = np.indices(sizes).reshape(len(sizes), -1)
            strides = code_weights(sizes)
            if self.symmetry == "counts":
                smallest[site] = strides @ self._sorted(site, digits)
                continue
            codes = strides @ digits
            for order in self._orders(site, site):
                moved = digits.copy()
                moved[1 + np.array(order, int)] = digits[1:]
                codes = np.minimum(codes, strides @ moved)
            smallest[site] = codes
        return smallest

    def _sorted(self, site: int, digits: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The digits with the neighbours of each shell and sublattice in order."""
        ordered, place = digits.copy(), 1
        for shell in self.shells:
            steps = shell_steps(self.geometry, shell)[site]
            names = [self.geometry.names[step.target] for step in steps]
            for name in dict.fromkeys(names):
                rows = [place + k for k, own in enumerate(names) if own == name]
                ordered[rows] = np.sort(digits[rows], axis=0)
            place += len(steps)
        return ordered

    @cached_property
    def keys(self) -> tuple[tuple[int, int], ...]:
        """The classes: first site of the basis, and smallest code."""
        return tuple(
            (site, code) for site, codes in self._of_codes.items() for code in codes.least.tolist()
        )

    @cached_property
    def multiplicity(self) -> Counts:
        """Number of arrangements in each class, (classes,)."""
        return np.concatenate([codes.numbers for codes in self._of_codes.values()])

    @cached_property
    def _begins(self) -> dict[int, int]:
        """The first class of each first site."""
        sizes = [len(codes.least) for codes in self._of_codes.values()]
        return dict(zip(self._of_codes, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))

    def arrangement(self, key: tuple[int, int]) -> tuple[str, ...]:
        """The species of the centre and of its neighbours, for the smallest code of a class."""
        site, code = key
        sizes = [len(self.species[s]) for s in self._sites(site)]
        digits = np.unravel_index(code, sizes)
        names = [self.species[s] for s in self._sites(site)]
        return tuple(own[int(d)] for own, d in zip(names, digits, strict=True))

    @property
    def labels(self) -> tuple[str, ...]:
        """Readable names: centre | neighbours in ring order, of one arrangement of each class."""
        labels = []
        for key in self.keys:
            centre, *around = self.arrangement(key)
            place = self.geometry.names[key[0]]
            prefix = f"{place}{key[0]}: " if len(self._firsts) > 1 else ""
            labels.append(f"{prefix}{centre} | {' '.join(around)}")
        return tuple(labels)

    @property
    def centre(self) -> Counts:
        """Number of the species of each class's centre, (classes,)."""
        return np.array(
            [
                self.species[site].index(self.arrangement((site, code))[0])
                for site, code in self.keys
            ]
        )

    @property
    def neighbors(self) -> Counts:
        """Number of neighbours that do not hold their first species, (classes,)."""
        return np.array(
            [
                sum(
                    name != self.species[place][0]
                    for name, place in zip(
                        self.arrangement((site, code))[1:], self._sites(site)[1:], strict=True
                    )
                )
                for site, code in self.keys
            ]
        )

    @property
    def around(self) -> Counts:
        """Number of neighbours of each species in each shell, (classes, shells, species), of
        lattices on which every site may hold the same species."""
        names = self.species[0]
        table = np.zeros((len(self), len(self.shells), len(names)), np.int64)
        for row, key in enumerate(self.keys):
            arranged = iter(self.arrangement(key)[1:])
            for shell, number in enumerate(self.shells):
                for _ in shell_steps(self.geometry, number)[key[0]]:
                    table[row, shell, names.index(next(arranged))] += 1
        return table

    @property
    def positions(self) -> tuple[str, ...]:
        """Names of the neighbours of the first site: directions in the plane, else steps."""
        return position_names(self.geometry, self._firsts[0], self.shells)

    @property
    def first_sites(self) -> tuple[int, ...]:
        """The sites of the basis that no symmetry maps to an earlier one."""
        return self._firsts

    def pair_ends(self, site: int) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """The two ends of the pair with each neighbour of a first site, as far as the classes
        distinguish them; the neighbour's own list has the pair with the ends exchanged."""
        names = self.geometry.names
        if self.symmetry != "translations":
            of_shells = [(n, s) for n in self.shells for s in shell_steps(self.geometry, n)[site]]
            return [((n, names[site]), (n, names[step.target])) for n, step in of_shells]
        return [
            ((site, s.target, s.cells), (s.target, site, tuple(-c for c in s.cells)))
            for s in self.steps(site)
        ]

    @property
    def holdable(self) -> tuple[tuple[str, ...], ...]:
        """The species that the first site and each of its neighbours may hold."""
        return tuple(self.species[site] for site in self._sites(self._firsts[0]))

    def classes_of(self, site: int, digits: npt.ArrayLike) -> Counts:
        """The class of each arrangement around a first site: (1 + neighbours, n) to (n,)."""
        rows = np.asarray(digits)
        codes = code_weights([len(self.species[s]) for s in self._sites(site)]) @ rows
        return np.asarray(self._begins[site] + self._of_codes[site].classes[codes])

    def turned(self) -> npt.NDArray[np.intp]:
        """The class that each becomes if the two species change places, (classes,)."""
        turned = []
        for key in self.keys:
            sizes = [len(self.species[s]) for s in self._sites(key[0])]
            digits = 1 - np.array(np.unravel_index(key[1], sizes))
            turned.append(int(self.classes_of(key[0], digits[:, None])[0]))
        return np.array(turned, np.intp)

    @cached_property
    def contents(self) -> Counts:
        """How many of a class's sites, the centre included, hold each species of each sublattice,
        (classes, sublattices, species)."""
        most = max(map(len, self.species))
        numbers = np.zeros((len(self), len(self.geometry.sublattice_names), most), np.int64)
        for row, key in zip(numbers, self.keys, strict=True):
            for place, name in zip(self._sites(key[0]), self.arrangement(key), strict=True):
                sublattice = self.geometry.sublattice_names.index(self.geometry.names[place])
                row[sublattice, self.species[place].index(name)] += 1
        return numbers

    def centres_in(self, counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Counted centres of each sublattice and species, (…, sublattices, species), of counts of
        the classes (…, classes).

        Examples
        --------
        >>> from latticescape import kagome
        >>> classes = SiteClasses.of_lattice(kagome(4), (("A", "B"),) * 3)
        >>> classes.centres_in(classes.centre).tolist()
        [[0.0, 7.0]]
        """
        known = self.geometry.sublattice_names
        names = np.array([known.index(self.geometry.names[key[0]]) for key in self.keys])
        centres = np.zeros((len(self), *self.contents.shape[1:]))
        centres[np.arange(len(self)), names, self.centre] = 1
        seen: npt.NDArray[np.float64] = np.tensordot(np.asarray(counts, float), centres, axes=1)
        return seen

    @property
    def descriptors(self) -> dict[str, tuple[npt.NDArray[Any], str]]:
        """Coordinates of a Dataset that describe the classes: values and their meaning."""
        return {
            "label": (np.array(self.labels), "centre | neighbours in ring order"),
            "multiplicity": (self.multiplicity, "arrangements in the class"),
            "centre": (self.centre, "number of the centre's species"),
            "neighbors": (self.neighbors, "neighbours that do not hold their first species"),
        }

    def random_mixing(self, composition: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Class probabilities of a random arrangement of two species.

        Parameters
        ----------
        composition
            Fraction of the second species, any shape.

        Returns
        -------
        ndarray
            Probabilities, ``composition.shape + (classes,)``.

        Raises
        ------
        RequestError
            If there are not two species on one sublattice, or x is not a fraction.
        """
        if len(self._firsts) > 1 or len(set(self.species)) > 1 or len(self.species[0]) != 2:
            raise RequestError(
                "random mixing is known for two species on one sublattice",
                came=" and ".join("/".join(names) for names in dict.fromkeys(self.species)),
                allowed="two species on sites that symmetry maps to each other",
            )
        x = np.asarray(composition, float)[..., None]
        if np.any((x < 0) | (x > 1)):
            raise RequestError(
                "composition must be a fraction", came=composition, allowed="0 to 1", hint="x = 0.5"
            )
        ones, sites = self.centre + self.neighbors, len(self._sites(self._firsts[0]))
        probabilities: npt.NDArray[np.float64] = (
            self.multiplicity * x**ones * (1 - x) ** (sites - ones)
        )
        return probabilities


def random_mixing_of(
    classes: Configurations | SiteClasses,
    counts: npt.ArrayLike,
    composition: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float64]:
    """Class probabilities of a random arrangement with a known composition, or that of counted
    centres.

    Parameters
    ----------
    classes
        The classes that were counted.
    counts
        (…, classes).
    composition
        Fraction of species 1, (…,), for the classes of :func:`configurations`; by default that of
        the counted centres.

    Returns
    -------
    ndarray
        Probabilities, (…, classes). Each sublattice has the composition of its own centres.

    Raises
    ------
    RequestError
        If no centre of a sublattice was counted.

    Examples
    --------
    >>> classes = configurations("honeycomb")
    >>> float(random_mixing_of(classes, classes.multiplicity * 10).sum().round(9))
    1.0
    """
    numbers = np.asarray(counts, float)
    total = numbers.sum(axis=-1, keepdims=True)
    if isinstance(classes, Configurations):
        measured = numbers @ classes.centre / total[..., 0]
        return classes.random_mixing(measured if composition is None else composition)
    seen = classes.centres_in(numbers)
    of_sublattice = seen.sum(axis=-1, keepdims=True)
    needed = classes.contents.any(axis=(0, 2))
    if np.any(of_sublattice[..., needed, 0] == 0):
        raise RequestError(
            "random mixing needs counts around the sites of every sublattice",
            came="none of one of " + ", ".join(classes.geometry.sublattice_names),
            allowed="one centre of each or more",
        )
    fractions = np.divide(seen, of_sublattice, where=of_sublattice > 0, out=np.zeros_like(seen))
    probabilities: npt.NDArray[np.float64] = classes.multiplicity * np.ones_like(numbers)
    for sublattice, species in np.ndindex(classes.contents.shape[1:]):
        own = classes.contents[:, sublattice, species]
        probabilities *= fractions[..., sublattice, species, None] ** own
    for first in classes.first_sites:
        own = np.array([key[0] == first for key in classes.keys])
        probabilities[..., own] *= numbers[..., own].sum(axis=-1, keepdims=True) / total
    return probabilities


@dataclass(frozen=True)
class ClassRows:
    """Where the classes of a lattice's sites are read.

    Attributes
    ----------
    centers, around
        The sites to classify, (centres,); and their neighbours, (centres, most), −1 for none.
    strides
        Weight of the species of the centre and of each neighbour in the code, (centres, 1 + most).
    first
        Where code 0 of each centre stands in ``classes``, (centres,).
    classes
        The class of every code.
    """

    centers: Sites
    around: Sites
    strides: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]


def class_rows(lattice: Lattice, classes: Configurations | SiteClasses) -> ClassRows:
    """The rows of all sites of a lattice whose neighbours are all inside its open boundaries.

    Raises
    ------
    RequestError
        If no site has all of its neighbours.
    """
    if isinstance(classes, Configurations):
        around = lattice.neighbors(1)
        strides = np.tile(1 << np.arange(1 + around.shape[1]), (lattice.sites, 1))
        first, table = np.zeros(lattice.sites, np.int32), classes.table.astype(np.int32)
    else:
        around, strides, first, table = _general_rows(lattice, classes)
    complete = ~((around < 0) & (strides[:, 1:] > 0)).any(axis=1)
    if not complete.any():
        raise RequestError(
            "no site has all of its neighbours: the lattice is too small for its open boundaries",
            came=f"size = {lattice.size}, boundary = {list(lattice.boundary)}",
            allowed="a larger lattice, or periodic boundaries",
        )
    centers = np.flatnonzero(complete).astype(np.int32)
    return ClassRows(
        centers,
        np.ascontiguousarray(around[complete]),
        np.ascontiguousarray(strides[complete].astype(np.int32)),
        np.ascontiguousarray(first[complete]),
        table,
    )


def count_classes(species: npt.ArrayLike, rows: ClassRows, classes: int) -> Counts:
    """Count the classes of some sites.

    Parameters
    ----------
    species
        Number of the species on every site, (sites,).
    rows
        The centres to count, and where their classes are read.
    classes
        How many classes there are.

    Returns
    -------
    ndarray
        Counts, (classes,) int64, summing to the number of centres.

    Examples
    --------
    >>> from latticescape import kagome
    >>> lattice = kagome(3)
    >>> classes = SiteClasses.of_lattice(lattice, (("A", "B"),) * 3)
    >>> count_classes(np.ones(27, int), class_rows(lattice, classes), len(classes))[-1]
    np.int64(27)
    """
    return np.bincount(classes_at(species, rows), minlength=classes)


def classes_at(species: npt.ArrayLike, rows: ClassRows) -> Counts:
    """The class of every centre, (…, centres), of species (…, sites).

    Examples
    --------
    >>> from latticescape import configurations, square
    >>> rows = class_rows(square(3), configurations("square"))
    >>> classes_at(np.zeros((2, 9), int), rows).shape
    (2, 9)
    """
    occupation = np.asarray(species).astype(np.int32)
    codes = rows.first + rows.strides[:, 0] * occupation[..., rows.centers]
    for column in range(rows.around.shape[1]):
        codes = codes + rows.strides[:, 1 + column] * occupation[..., rows.around[:, column]]
    return np.asarray(rows.classes[codes], np.int64)


def _general_rows(lattice: Lattice, classes: SiteClasses) -> tuple[Any, Any, Any, Any]:
    basis = lattice.geometry.sublattices
    most = max(len(classes.steps(site)) for site in range(basis))
    cells = lattice.sites // basis
    around = np.full((cells, basis, most), -1, np.int32)
    strides = np.zeros((cells, basis, 1 + most), np.int32)
    first = np.zeros((cells, basis), np.int32)
    begins, tables, place = {}, [], 0
    for site, codes in classes._of_codes.items():
        begins[site] = place
        tables.append((classes._begins[site] + codes.classes).astype(np.int32))
        place += len(codes.classes)
    for site in range(basis):
        own = classes._first_of[site]
        sizes = [len(classes.species[s]) for s in classes._sites(own)]
        steps = classes.steps(site)
        for k, target in enumerate(classes.order(site)):
            around[:, site, k] = lattice.sites_at(steps[target].cells, steps[target].target)
        strides[:, site, : len(sizes)] = code_weights(sizes)
        first[:, site] = begins[own]
    return (
        around.reshape(-1, most),
        strides.reshape(-1, 1 + most),
        first.ravel(),
        np.concatenate(tables),
    )


@lru_cache(maxsize=8)
def classes_for(
    lattice: Lattice, species: tuple[tuple[str, ...], ...], choice: ClassChoice = USUAL
) -> Configurations | SiteClasses:
    """The classes of a lattice: of two species with their first shell on the square, triangular,
    honeycomb or cubic lattice those of :func:`configurations`."""
    binary = len(set(species)) == 1 and len(species[0]) == 2
    if binary and choice == USUAL and lattice.crystal is None and lattice.kind in PAIR_ANGLES:
        return configurations(lattice.kind)
    return SiteClasses.of_lattice(lattice, species, choice)


def position_names(geometry: Geometry, site: int, shells: Sequence[int]) -> tuple[str, ...]:
    """Names of a site's neighbours: directions such as ``up_left`` where they are different in
    steps of 45 degrees or of 60, else the steps, such as ``[0,1]``.

    Examples
    --------
    >>> position_names(GEOMETRIES["triangular"], 0, [1])
    ('right', 'up_right', 'up_left', 'left', 'down_left', 'down_right')
    """
    steps = [step for shell in shells for step in shell_steps(geometry, shell)[site]]
    if geometry.dimension == 2:
        angles = [np.degrees(np.arctan2(step.vector[1], step.vector[0])) % 360 for step in steps]
        words = [DIRECTIONS.get(_eighth(float(angle)), "") for angle in angles]
        if all(words) and len(set(words)) == len(words):
            return tuple(words)
    basis = geometry.sublattices > 1
    return tuple(
        "[" + ",".join(map(str, (*step.cells, *[step.target] * basis))) + "]" for step in steps
    )


def _eighth(angle: float) -> int:
    """The direction of an angle in degrees; up and down are exactly that."""
    for straight in (0, 90, 180, 270, 360):
        if abs(angle - straight) < 1e-6:
            return straight % 360
    return int(angle // 90) * 90 + 45


@cache
def classes_of_attributes(lattice: str, classes: str | None) -> Configurations | SiteClasses:
    """The classes of a Dataset, from its attributes ``lattice`` and ``classes``."""
    return configurations(lattice) if classes is None else SiteClasses.of_text(classes)
