"""``ClusterExpansion``: any species and any clusters, from tables instead of a program."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import product
from typing import Any, ClassVar, Self, get_args

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.lattices.clusters import Cluster, orbit_of, shell_orbits, sites_of
from latticescape.physics.lattices.geometry import MOST_SHELLS, Geometry
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.symmetry import Symmetry
from latticescape.physics.models.alloys import ALLOY_T, CANONICAL, SEMI_GRAND, whole_atoms
from latticescape.physics.models.interactions import Integers, Interaction
from latticescape.physics.models.model import Floats, Move, Parameter, ParametricModel, Points

SYMMETRIES = get_args(Symmetry)
WORDS = ("like", "unlike", "product", "count")
EXCHANGES = ("any", "neighbors")

# The size of a table of values, and the number of species of one sublattice.
MOST_VALUES = 2**16
MOST_SPECIES = 16

# Of one cluster; sums over a lattice keep their digits.
LARGEST_VALUE = 1e9

# Steps of a cluster along a cell vector.
MOST_STEPS = 1000

# Whole values up to this are summed over the lattice in 32 bits.
MOST_WHOLE = 64

Value = str | Mapping[str, float] | Sequence[float]


@dataclass(frozen=True)
class Term:
    """One term of an energy: which clusters count, and what a cluster adds.

    Parameters
    ----------
    cluster
        The sites of one cluster as steps along the cell vectors; one more number names the site of
        the basis, 0 by default: ``[[0, 0], [0, 1]]``.
    pair
        In place of a cluster, all pairs of a neighbour shell, 1 for nearest neighbours.
    site
        In place of a cluster, every single site.
    symmetry
        Which further clusters count: ``"space_group"`` (default), all that the symmetry of the
        lattice makes of the cluster; ``"rotations"``, without reflections; ``"translations"``, its
        translations alone, so that the term depends on direction.
    value
        What a cluster adds to the term's sum. ``"unlike"`` (default): 1 if it holds two species or
        more. ``"like"``: 1 if it holds one. ``"product"``: the product of its spins, −1 and 1 for
        two species, −1, 0 and 1 for three, and so on. ``"count"``: the number of its sites that do
        not hold the first species. A table: a number for each arrangement,
        ``{"A,A": 0, "A,B": 1, …}``; for two species also a list by the number of sites of the
        second species, ``[0, 1, 0]``.

    Raises
    ------
    RequestError
        If there is not either a cluster or a shell, or a word is unknown.

    Examples
    --------
    >>> Term(pair=1, value="like").table
    {'pair': 1, 'value': 'like'}
    """

    cluster: Sequence[Sequence[int]] | None = None
    pair: int | None = None
    site: bool = False
    symmetry: Symmetry = "space_group"
    value: Value = "unlike"

    def __post_init__(self) -> None:
        given = (self.cluster is not None, self.pair is not None, self.site is not False)
        if sum(given) != 1 or not isinstance(self.site, bool):
            raise RequestError(
                "a term needs a cluster, a pair or site",
                came=f"cluster = {self.cluster}, pair = {self.pair}, site = {self.site}",
                allowed="one of them: the sites of a cluster, the shell of pairs, or site = true",
                hint="pair = 1, or cluster = [[0, 0], [0, 1]]",
            )
        checked_choice(self.symmetry, SYMMETRIES, "symmetry is unknown", hint='"translations"')
        if isinstance(self.value, str):
            checked_choice(self.value, WORDS, "value is unknown", hint='value = "unlike"')
        elif not isinstance(self.value, Mapping | Sequence):
            raise RequestError(
                "value must be a word, a table or a list",
                came=repr(self.value),
                allowed=" | ".join((*WORDS, "a table by arrangement", "a list of numbers")),
                hint='value = "unlike"',
            )
        if self.cluster is not None:
            object.__setattr__(self, "cluster", _whole_rows(self.cluster))
        elif self.pair is not None and (
            type(self.pair) is not int or not 1 <= self.pair <= MOST_SHELLS
        ):
            raise RequestError(
                "pair is not a neighbour shell",
                came=repr(self.pair),
                allowed=f"1 to {MOST_SHELLS}",
                hint="pair = 1",
            )

    @classmethod
    def of(cls, table: Any) -> "Term":
        """The term of a spec file's table, or the term itself."""
        if isinstance(table, Term):
            return table
        if not isinstance(table, Mapping):
            raise RequestError(
                "a term must be a table", came=repr(table), hint='{ pair = 1, value = "unlike" }'
            )
        names = ("cluster", "pair", "site", "symmetry", "value")
        for key in table:
            checked_choice(key, names, "a term has an unknown key", hint="pair = 1")
        return cls(**table)

    @property
    def table(self) -> dict[str, Any]:
        """The table of a spec file."""
        value = dict(self.value) if isinstance(self.value, Mapping) else self.value
        parts = {
            "cluster": self.cluster and [list(row) for row in self.cluster],
            "pair": self.pair,
            "site": self.site or None,
            "symmetry": None if self.symmetry == "space_group" else self.symmetry,
            "value": value if isinstance(value, str | dict) else list(value),
        }
        return {name: part for name, part in parts.items() if part is not None}

    def orbits(self, geometry: Geometry) -> list[tuple[tuple[Cluster, ...], list[tuple[int, ...]]]]:
        """The clusters of the term in a crystal, by orbit, with the permutations of their sites."""
        if self.site:
            here, names = (0,) * geometry.dimension, geometry.names
            return [
                (tuple(((here, k),) for k, own in enumerate(names) if own == name), [])
                for name in dict.fromkeys(names)
            ]
        if self.pair is not None:
            orbits = shell_orbits(geometry, self.pair, self.symmetry)
        else:
            assert self.cluster is not None
            axes = geometry.dimension
            for row in self.cluster:
                if len(row) not in (axes, axes + 1):
                    raise RequestError(
                        "a site of the cluster has a wrong number of steps",
                        came=list(row),
                        allowed=f"{axes} steps along the cell vectors, and the site of the basis",
                        hint=f"cluster = [{[0] * axes}, {[0] * (axes - 1) + [1]}]",
                    )
            cluster = tuple((tuple(row[:axes]), [*row, 0][axes]) for row in self.cluster)
            orbits = [orbit_of(geometry, cluster, self.symmetry)]
        return [(orbit.clusters, list(orbit.permutations)) for orbit in orbits]

    def values(self, species: Sequence[tuple[str, ...]]) -> Floats:
        """What a cluster adds, by the species of its sites, one axis a site.

        Parameters
        ----------
        species
            The names of the species that each site of the cluster may hold.

        Raises
        ------
        RequestError
            If a table lacks an arrangement, has an unknown one, or is too large.
        """
        shape = tuple(map(len, species))
        # Compiled code addresses the change of a site in its surroundings by 16 bits.
        if np.prod(shape, dtype=object) * max(shape) > MOST_VALUES:
            raise RequestError(
                "a cluster has too many arrangements",
                came=" · ".join(map(str, shape)),
                allowed=f"up to {MOST_VALUES // max(shape)}",
                hint="fewer sites",
            )
        values = self._values(species, shape)
        if not np.all(np.abs(values) <= LARGEST_VALUE):
            raise RequestError(
                "a value of the term is not finite, or too large",
                came=repr(self.value),
                allowed=f"numbers up to {LARGEST_VALUE:g}",
                hint="a large value such as 100 in place of infinity",
            )
        return values

    def _values(self, species: Sequence[tuple[str, ...]], shape: tuple[int, ...]) -> Floats:
        if isinstance(self.value, Mapping):
            return _table_values(self.value, species)
        if not isinstance(self.value, str):
            return _list_values(self.value, species)
        numbers = np.indices(shape)
        if self.value == "count":
            return np.asarray((numbers > 0).sum(axis=0), float)
        if self.value == "product":
            factors = [spins_of(n)[index] for n, index in zip(shape, numbers, strict=True)]
            return np.asarray(np.prod(factors, axis=0), float)
        names = np.array(list(product(*species))).reshape(*shape, len(shape))
        alike = (names == names[..., :1]).all(axis=-1)
        return np.asarray(alike == (self.value == "like"), float)


def spins_of(species: int) -> Integers:
    """The spin of each species: −1, 1 for two; −1, 0, 1 for three; −3, −1, 1, 3 for four.

    Examples
    --------
    >>> spins_of(3).tolist(), spins_of(4).tolist()
    ([-1, 0, 1], [-3, -1, 1, 3])
    """
    spins = 2 * np.arange(species) - (species - 1)
    return spins // 2 if species % 2 else spins


class ClusterExpansion(ParametricModel):
    """Any species on any lattice, E = Σ parameter · (sum over the clusters of a term).

    Each cluster once; energies in k_B·T0, T in units of T0. The name of a term is that of its
    parameter. In the canonical ensemble the composition of every sublattice is conserved: with two
    species ``x`` is the fraction of the second, with more ``x_<species>`` of each but the first;
    with several sublattices ``x_<sublattice>`` or ``x_<sublattice>_<species>``. In the semi-grand
    ensemble E has −Σ mu_<species> · (sites of that species, on all sublattices), for each species
    that is not the first of every sublattice that has it, and the composition floats.

    Parameters
    ----------
    species
        Names of the species, or a mapping of the names of sublattices to them. Sites with one
        species never change.
    terms
        A :class:`Term`, or its table, by the name of its parameter.
    ensemble
        ``"canonical"`` (default) or ``"semi_grand"``.
    exchange
        Which sites a move of the canonical ensemble exchanges: ``"any"`` (default) two of one
        sublattice, or ``"neighbors"`` among the nearest of one sublattice.
    **parameters
        T (default 1), chemical potentials (default 0), compositions and the parameters of terms: to
        be fixed here, or swept.

    Raises
    ------
    RequestError
        If a name is used twice, a word is unknown, or a term is not complete.

    References
    ----------
    Sanchez, Ducastelle and Gratias, Physica A 128, 334 (1984), 10.1016/0378-4371(84)90096-7.

    Examples
    --------
    >>> model = ClusterExpansion(["vacancy", "F"], {"w": Term(pair=1, value=[0, 0, 1])}, x=0.25)
    >>> [parameter.name for parameter in model.parameters]
    ['T', 'x', 'w']
    >>> model.fixed(swept={"w"})
    {'T': 1.0, 'x': 0.25}
    """

    kind: ClassVar[str] = "cluster_expansion"
    energy_units: ClassVar[str] = "k_B T0"
    # Of the class; an instance has those of its species and terms too.
    parameters: ClassVar[tuple[Parameter, ...]] = (ALLOY_T,)
    structures: ClassVar[tuple[str, ...]] = ("species", "ensemble", "exchange", "terms")

    species_names: Mapping[str, tuple[str, ...]]
    terms: Mapping[str, Term]
    ensemble: str
    exchange: str
    _fixed: Mapping[str, float]

    def __init__(
        self,
        species: Sequence[str] | Mapping[str, Sequence[str]],
        terms: Mapping[str, Term | Mapping[str, Any]],
        ensemble: str = CANONICAL,
        exchange: str = "any",
        **parameters: float | None,
    ) -> None:
        checked_choice(
            ensemble,
            (CANONICAL, SEMI_GRAND),
            "ensemble is unknown",
            hint='ensemble = "semi_grand"',
        )
        checked_choice(exchange, EXCHANGES, "exchange is unknown", hint='exchange = "neighbors"')
        names = _checked_species(species)
        if not isinstance(terms, Mapping) or not terms:
            raise RequestError(
                "a cluster expansion needs terms",
                came=repr(terms),
                allowed="a table of terms by the name of their parameter",
                hint='[model.terms.w1] with pair = 1 and value = "unlike"',
            )
        made = {}
        for name, term in terms.items():
            _check_name(str(name))
            try:
                made[str(name)] = Term.of(term)
            except RequestError as error:
                raise error.within(f"terms.{name}") from None
        settings = {
            "species_names": names,
            "terms": made,
            "ensemble": ensemble,
            "exchange": exchange,
        }
        for key, value in settings.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "parameters", self._parameters())
        fixed = {k: self.parameter(k).check(v) for k, v in parameters.items() if v is not None}
        object.__setattr__(self, "_fixed", fixed)

    @classmethod
    def of_table(cls, table: Mapping[str, Any]) -> Self:
        needed = [
            name
            for name, argument in signature(cls).parameters.items()
            if argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD
        ]
        for name in needed:
            if name not in table:
                raise RequestError(
                    f"the model {cls.kind} needs {name}",
                    allowed=", ".join((*cls.structures, "and its parameters")),
                    hint='species = ["vacancy", "F"], and [model.terms.w1] with pair = 1',
                )
        return cls(**table)

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; a RequestError lists the names if there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise RequestError(
            f"{name} is not a parameter of the model {self.kind}",
            allowed=", ".join((*self.structures, *(p.name for p in self.parameters))),
        )

    def with_parameters(self, **values: float) -> Self:
        return self.of_table({**self.structure, **self.fixed_parameters, **values})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterExpansion) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        parts = {**self.structure, **self.fixed_parameters}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in parts.items())})"

    @property
    def _text(self) -> str:
        # The order of the terms is that of the features.
        return json.dumps([self.kind, self.structure, self.fixed_parameters])

    @property
    def _canonical(self) -> bool:
        return self.ensemble == CANONICAL

    @property
    def structure(self) -> dict[str, Any]:
        """What is not a parameter, as a spec file writes it."""
        names = self.species_names
        whole = list(names[""]) if "" in names else {k: list(v) for k, v in names.items()}
        exchange = {"exchange": self.exchange} if self.exchange != "any" else {}
        terms = {name: term.table for name, term in self.terms.items()}
        return {"species": whole, "ensemble": self.ensemble, **exchange, "terms": terms}

    @property
    def fixed_parameters(self) -> dict[str, float]:
        """The parameters that this model fixes, by name, without defaults."""
        return {p.name: self._fixed[p.name] for p in self.parameters if p.name in self._fixed}

    @property
    def move(self) -> Move:
        """Exchanges at fixed composition, single flips where it floats."""
        return "exchange" if self._canonical else "single_flip"

    def _parameters(self) -> tuple[Parameter, ...]:
        open_: list[Parameter] = []
        for sublattice, names in self.species_names.items():
            place = f" on {sublattice}" if sublattice else ""
            for fraction, name in zip(fraction_names(sublattice, names), names[1:], strict=True):
                if self._canonical:
                    meaning = f"fraction of {name}{place}"
                    open_.append(Parameter(fraction, meaning, low=0.0, high=1.0))
                elif f"mu_{name}" not in [p.name for p in open_]:
                    meaning = f"chemical potential of {name}"
                    open_.append(Parameter(f"mu_{name}", meaning, "k_B T0", default=0.0))
        terms = [
            Parameter(name, f"energy of one unit of the term {name}", "k_B T0")
            for name in self.terms
        ]
        every = (ALLOY_T, *open_, *terms)
        for parameter in every:
            if [p.name for p in every].count(parameter.name) > 1:
                raise RequestError(
                    "two parameters have one name",
                    came=parameter.name,
                    allowed="different names of terms, species and sublattices",
                )
        return every

    def spins(self, species: int) -> Floats:
        """The order parameter of each species, (components, species): m is its mean over the sites,
        |m| the length of the mean vector; here :func:`spins_of`, scaled to 1."""
        values = spins_of(species) if species > 1 else np.zeros(1)
        scaled: Floats = np.asarray(values, float)[None, :] / max(1, np.abs(values).max())
        return scaled

    def species(self, lattice: Lattice) -> tuple[tuple[str, ...], ...]:
        """The names of the species that each site of the basis may hold.

        Raises
        ------
        RequestError
            If the model names other sublattices than the lattice.
        """
        names = self.species_names
        if "" in names:
            return (names[""],) * lattice.geometry.sublattices
        own = lattice.geometry.sublattice_names
        if set(own) != set(names):
            raise RequestError(
                "the species are of other sublattices than the lattice has",
                came=", ".join(names),
                allowed=", ".join(own) if own != ("",) else "one list of species",
                hint='sublattice = ["A", "B"] in [lattice], or one list of species',
            )
        return tuple(names[name] for name in lattice.geometry.names)

    def pools(self, lattice: Lattice) -> tuple[str, ...]:
        """The sublattice of each site of the basis whose composition is conserved; one of all sites
        if they have one list of species."""
        if "" in self.species_names:
            return ("",) * lattice.geometry.sublattices
        return lattice.geometry.names

    def check(self, lattice: Lattice, values: Points) -> None:
        species = self.species(lattice)
        if max(map(len, species)) < 2:
            raise RequestError(
                "no site can change: every sublattice has one species",
                came=repr(self.structure["species"]),
                allowed="two species or more on one sublattice",
            )
        given = {name for name in values if name == "x" or name.startswith("x_")}
        for sublattice, names in self.species_names.items():
            own = [name for name in fraction_names(sublattice, names) if name in given]
            for name in own:
                whole_atoms(values[name], self._sites(sublattice, lattice), name)
            if len(own) > 1 and all(len(values[name]) == 1 for name in own):
                self._check_sum(sublattice, sum(float(values[name][0]) for name in own))

    def _check_sum(self, sublattice: str, total: float) -> None:
        if total > 1 + 1e-9:
            raise RequestError(
                "the fractions of the species add up to more than 1",
                came=f"{total:g}" + (f" on {sublattice}" if sublattice else ""),
                allowed="up to 1; the first species has the rest",
            )

    def _sites(self, sublattice: str, lattice: Lattice) -> int:
        if sublattice == "" and "" in self.species_names:
            return lattice.sites
        cells = lattice.sites // lattice.geometry.sublattices
        return cells * lattice.geometry.names.count(sublattice)

    def interactions(self, lattice: Lattice, used: Collection[str]) -> list[Interaction]:
        """The interactions of all terms, and of the chemical potentials.

        Raises
        ------
        RequestError
            If a cluster is not in the lattice, or a table of values does not fit its sites.
        """
        species, found = self.species(lattice), []
        for name, term in self.terms.items():
            try:
                for clusters, permutations in term.orbits(lattice.geometry):
                    values = term.values([species[site] for _, site in clusters[0]])
                    _check_symmetric(values, permutations)
                    found.append(Interaction(sites_of(lattice, clusters), _features(name, values)))
            except RequestError as error:
                raise error.within(f"terms.{name}") from None
        if not self._canonical:
            found += self._numbers_as_features(lattice, species)
        return found

    def _numbers_as_features(
        self, lattice: Lattice, species: Sequence[tuple[str, ...]]
    ) -> list[Interaction]:
        potentials = [p.name.removeprefix("mu_") for p in self.parameters if p.name[:3] == "mu_"]
        found = []
        for names in dict.fromkeys(species):
            sites = [site for site, own in enumerate(species) if own == names]
            here = (0,) * lattice.geometry.dimension
            clusters = sites_of(lattice, [((here, site),) for site in sites])
            values = {
                f"n_{name}": np.array([int(own == name) for own in names], np.int64)
                for name in potentials
                if name in names
            }
            if values:
                found.append(Interaction(clusters, values))
        return found

    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        """Energy per unit of each feature, (points, features)."""
        columns = []
        for feature in features:
            if feature.startswith("n_") and f"mu_{feature[2:]}" in points:
                columns.append(-np.asarray(points[f"mu_{feature[2:]}"], float))
                continue
            name, _, value = feature.partition(":")
            columns.append(np.asarray(points[name], float) * (float(value) if value else 1.0))
        return np.stack(columns, axis=-1)

    def numbers(self, points: Points, lattice: Lattice) -> Integers | None:
        """The number of sites of each species on each sublattice, (points, sublattices, species);
        None where the composition floats.

        Raises
        ------
        RequestError
            If no whole numbers are within 0.01 of the composition, or the fractions of a point add
            up to more than 1.
        """
        if not self._canonical:
            return None
        most = max(map(len, self.species_names.values()))
        rows = []
        own = ("",) if "" in self.species_names else lattice.geometry.sublattice_names
        for sublattice in own:
            names, sites = self.species_names[sublattice], self._sites(sublattice, lattice)
            parts = [whole_atoms(points[n], sites, n) for n in fraction_names(sublattice, names)]
            rest = sites - sum(parts, np.zeros(len(points["T"]), np.int64))
            if np.any(rest < 0):
                self._check_sum(sublattice, 1 - float(rest.min()) / sites)
            row = np.stack([rest, *parts], axis=-1)
            rows.append(np.pad(row, ((0, 0), (0, most - len(names)))))
        return np.stack(rows, axis=1)

    @property
    def composition_dims(self) -> tuple[str, ...] | None:
        """Dimensions of the conserved composition: none for one fraction x; None if it floats."""
        if not self._canonical:
            return None
        if "" not in self.species_names:
            return ("sublattice", "species")
        return ("species",) if len(self.species_names[""]) > 2 else ()

    @property
    def every_species(self) -> tuple[str, ...]:
        """The species of all sublattices, each once."""
        return tuple(dict.fromkeys(name for own in self.species_names.values() for name in own))

    def composition(self, numbers: Integers, lattice: Lattice) -> Floats:
        """Fractions from :meth:`numbers`, (points, …) over :attr:`composition_dims`."""
        shares = numbers / numbers.sum(axis=-1, keepdims=True)
        if "" in self.species_names:
            one: Floats = shares[:, 0] if self.composition_dims else shares[:, 0, 1]
            return one
        own, every = lattice.geometry.sublattice_names, self.every_species
        found = np.full((len(shares), len(own), len(every)), np.nan)
        for row, sublattice in enumerate(own):
            for column, name in enumerate(self.species_names[sublattice]):
                found[:, row, every.index(name)] = shares[:, row, column]
        return found


def fraction_names(sublattice: str, names: Sequence[str]) -> list[str]:
    """The parameters of a sublattice's composition, one for each species but the first.

    Examples
    --------
    >>> fraction_names("", ["vacancy", "F"]), fraction_names("A", ["La", "Ca", "Sr"])
    (['x'], ['x_A_Ca', 'x_A_Sr'])
    """
    start = "_".join(["x", *[sublattice] * bool(sublattice)])
    return [start] if len(names) == 2 else [f"{start}_{name}" for name in names[1:]]


def _check_name(name: str) -> None:
    """Raise a RequestError for a name of a term that means something else."""
    starts = ("n_", "mu_", "x_")
    taken = {"kind", "x", "T", *ClusterExpansion.structures}
    if not name or ":" in name or name in taken or name.startswith(starts):
        raise RequestError(
            "a term has a reserved name",
            came=repr(name),
            allowed=f"names other than {', '.join(sorted(taken))}, without a colon, that do not "
            f"begin with {', '.join(starts)}",
            hint="w1",
        )


def _checked_species(species: Any) -> dict[str, tuple[str, ...]]:
    """Names of the species by sublattice; "" stands for all sites."""
    groups = dict(species) if isinstance(species, Mapping) else {"": species}
    checked = {}
    for sublattice, names in groups.items():
        words = isinstance(names, Sequence) and not isinstance(names, str)
        if not words or not all(
            isinstance(n, str) and n == n.strip() and n and "," not in n for n in names
        ):
            raise RequestError(
                "species must be a list of names",
                came=repr(names),
                allowed="words without a comma, and without spaces at their ends",
                hint='species = ["vacancy", "F"]',
            )
        if len(set(names)) < len(names) or not 1 <= len(names) <= MOST_SPECIES:
            raise RequestError(
                "a species is named twice, or there are none or too many",
                came=", ".join(names),
                allowed=f"1 to {MOST_SPECIES} different names",
                hint='species = ["vacancy", "F"]',
            )
        checked[str(sublattice)] = tuple(names)
    return checked


def _whole_rows(cluster: Any) -> tuple[tuple[int, ...], ...]:
    rows = isinstance(cluster, Sequence) and all(isinstance(row, Sequence) for row in cluster)
    if (
        not rows
        or not cluster
        or any(type(n) is not int or abs(n) > MOST_STEPS for row in cluster for n in row)
    ):
        raise RequestError(
            "cluster must be a list of sites",
            came=repr(cluster),
            allowed=f"whole steps along the cell vectors for each site, up to {MOST_STEPS}",
            hint="cluster = [[0, 0], [0, 1]]",
        )
    return tuple(tuple(row) for row in cluster)


def _table_values(table: Mapping[str, float], species: Sequence[tuple[str, ...]]) -> Floats:
    given = {tuple(w.strip() for w in str(k).split(",")): v for k, v in table.items()}
    wanted = list(product(*species))
    for names in wanted:
        if names not in given:
            raise RequestError(
                "the table of values lacks an arrangement",
                came=", ".join(map(str, table)),
                allowed="a number for each of " + "; ".join(",".join(w) for w in wanted),
                hint=f'"{",".join(names)}" = 0',
            )
    for names, number in given.items():
        if names not in wanted or isinstance(number, bool) or not isinstance(number, int | float):
            raise RequestError(
                "the table of values has an unknown arrangement, or no number",
                came=f"{','.join(names)} = {number!r}",
                allowed="; ".join(",".join(w) for w in wanted),
            )
    return np.array([given[names] for names in wanted], float).reshape(tuple(map(len, species)))


def _list_values(values: Sequence[float], species: Sequence[tuple[str, ...]]) -> Floats:
    sites = len(species)
    plain = [isinstance(v, int | float) and not isinstance(v, bool) for v in values]
    numbers = np.array([v if p else np.nan for v, p in zip(values, plain, strict=True)], float)
    if set(map(len, species)) != {2} or numbers.shape != (sites + 1,) or np.isnan(numbers).any():
        raise RequestError(
            "a list of values needs two species, and a number for 0, 1, … sites of the second",
            came=f"{list(values)} for {sites} sites of {', '.join('/'.join(s) for s in species)}",
            allowed=f"{sites + 1} numbers, or a table by arrangement",
            hint=f"value = {[0] * sites + [1]}",
        )
    counted: Floats = numbers[np.indices((2,) * sites).sum(axis=0)]
    return counted


def _check_symmetric(values: Floats, permutations: Sequence[tuple[int, ...]]) -> None:
    for order in permutations:
        if values.shape != values.transpose(order).shape or np.any(
            values != values.transpose(order)
        ):
            raise RequestError(
                "the value changes when symmetry exchanges the cluster's sites",
                came=f"another value with its sites in the order {list(order)}",
                allowed="a value that is symmetric, or less symmetry",
                hint='symmetry = "translations"',
            )


def _features(name: str, values: Floats) -> dict[str, Integers]:
    """The features of a term: its sum, if all values are small whole numbers; else, for each value,
    the number of clusters that have it."""
    if np.all(values == np.rint(values)) and np.abs(values).max() <= MOST_WHOLE:
        return {name: values.astype(np.int64)}
    different = [float(v) for v in np.unique(values) if v]
    return {f"{name}:{v!r}": (values == v).astype(np.int64) for v in different}
