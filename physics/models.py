"""Lattice models: energy = couplings · features, features being integer sufficient statistics.

A model is a list of *orbits*: clusters of sites (single sites, bonds of a shell, triangles), each
adding to its features a number that depends only on how many of the cluster's sites hold species 1
(spin up). Everything else, kernels, enumeration and observables, follows from that list.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from physics.coupling_matrix import Matrix, coupling_matrix, displaced_bonds, displacements
from physics.errors import RequestError
from physics.lattices import MOST_SHELLS, Lattice, Sites
from physics.parameters import Parameter
from physics.random_bonds import HINT as BONDS_HINT
from physics.random_bonds import UNIT, RandomBonds

REPLICAS = 64

Floats = npt.NDArray[np.float64]
Points = Mapping[str, Floats]
Given = float | Sequence[float] | None
Move = Literal["single_flip", "exchange", "hop"]

# Couplings of the neighbour shells, by shell.
SHELLS = ("J", *(f"J{k}" for k in range(2, MOST_SHELLS + 1)))

COMPOSITION_TOLERANCE = 0.01


@dataclass(frozen=True)
class Orbit:
    """Clusters of one shape and what each adds to the features.

    Attributes
    ----------
    clusters
        Site numbers, (clusters, sites of a cluster) int32, each cluster once.
    values
        For each feature, the addition for 0, 1, … sites of species 1.
    """

    clusters: Sites
    values: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Model(ABC):
    """A lattice model. Fields left out are the parameters' defaults, or axes of a sweep."""

    kind: ClassVar[str]
    energy_units: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    structures: ClassVar[tuple[str, ...]] = ()  # what a spec says of it that is no parameter

    T: Given = None

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            object.__setattr__(self, name, self.parameter(name).check(value))

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """The parameter of that name, or a RequestError that lists those there are."""
        for parameter in cls.parameters:
            if parameter.name == name:
                return parameter
        names = ", ".join(p.name for p in cls.parameters)
        raise RequestError(f"{name} is no parameter of the model {cls.kind}", allowed=names)

    @property
    def given(self) -> dict[str, float]:
        """The parameters that were given, by name."""
        named = [f.name for f in fields(self) if f.name not in self.structures]
        return {name: v for name in named if (v := getattr(self, name)) is not None}

    @property
    def structure(self) -> dict[str, Any]:
        """What was given beside the parameters, by name, as a spec file writes it."""
        return {name: v for name in self.structures if (v := getattr(self, name)) is not None}

    @property
    @abstractmethod
    def move(self) -> Move:
        """The Monte Carlo move: what it conserves decides the ensemble."""

    def fixed(self, swept: Collection[str]) -> dict[str, float]:
        """Every parameter that is not swept, defaults filled in.

        Raises
        ------
        RequestError
            If a swept name is no parameter, is fixed as well, or one without default is missing.
        """
        for name in swept:
            self.parameter(name)
            if name in self.given:
                raise RequestError(
                    f"{name} is both fixed in [model] and swept in [grid]",
                    came=f"{name} = {self.given[name]:g} and an axis {name}",
                    allowed="one of the two",
                    hint=f"leave {name} out of [model]",
                )
        values = {p.name: self.given.get(p.name, p.default) for p in self.parameters}
        needed = {p.name for p in self.parameters if not p.optional}
        missing = [n for n, v in values.items() if v is None and n in needed - set(swept)]
        if missing:
            raise self.lacks(missing[0])
        return {n: value for n, value in values.items() if value is not None and n not in swept}

    def lacks(self, name: str) -> RequestError:
        """What is said where a parameter is missing."""
        return RequestError(
            f"{name} of the model {self.kind} is not given",
            allowed="a number in [model], or an axis in [grid]",
            hint=f"{name} = {{ start = 0.5, stop = 1.0, num = 6 }} in [grid]",
        )

    @abstractmethod
    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        """The orbits on a lattice, given the names of the parameters in use (fixed or swept)."""

    def disordered(
        self, orbits: Sequence[Orbit], lattice: Lattice, point: Mapping[str, float]
    ) -> list[Orbit]:
        """The orbits at one point: each bond one of its own, of its own values, where the point
        decides these."""
        return list(orbits)

    @property
    def drawn(self) -> RandomBonds | None:
        """How bonds are drawn at each point, where they are."""
        return None

    @abstractmethod
    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        """Energy per unit of each feature, (points, features)."""

    def acting(self, used: Collection[str], features: Sequence[str]) -> frozenset[str]:
        """The features that have an energy somewhere, given the parameters in use."""
        values = {
            p.name: self.given.get(p.name, 1.0 if p.name in used else p.default or 0.0)
            for p in self.parameters
        }
        couplings = self.coefficients(
            {name: np.array([v]) for name, v in values.items()}, features
        )[0]
        return frozenset(name for name, c in zip(features, couplings, strict=True) if c)

    @abstractmethod
    def start(self, points: Points, lattice: Lattice) -> npt.NDArray[np.float64]:
        """How replicas begin, (points, 64): probability of up, or the composition to be set."""

    def check(self, lattice: Lattice, values: Points) -> None:
        """Refuse parameter values that do not fit the lattice; any subset may be passed."""
        return

    def ones(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64] | None:
        """The fixed number of species-1 atoms, (points,), where the move conserves it."""
        return None


@dataclass(frozen=True)
class Ising(Model):
    """Ising model, H = −Σ_k J_k Σ⟨ij⟩_k s_i s_j − μ H Σ_i s_i, s = ±1, k_B = 1, each bond once.

    J > 0 is ferromagnetic. J, J2, … J8 couple the first, second, … eighth neighbour shell; ``J``
    may also be a list, one coupling a shell. Temperatures and energies in units of J. Moves are
    single flips (heat bath).

    On the square lattice ``couplings`` may be a matrix with a site in its middle, such as the
    lecture's of 5×5: the site is coupled by J·C(d) to that d rows and columns on. With ``bonds``
    every bond's coupling is multiplied by a draw of its own, one draw for both ends.

    Parameters
    ----------
    J, J2, … J8
        Coupling of the neighbour shells; defaults 1, and 0 for all but the first.
    couplings
        C, 3×3 to 9×9, zero in the middle and C(d) = C(−d), in place of J2, … J8.
    bonds
        A table such as ``{"distribution": "normal", "mean": 1.0, "sd": 0.2, "seed": 1}``; see
        :class:`physics.random_bonds.RandomBonds`.
    realisation
        With ``bonds``: the number of the draw of all bonds, 0, 1, …; most often an axis, over which
        :func:`analysis.disorder_average` takes the mean. No default.
    mu, H
        Moment and field; only their product enters. Defaults 1, 0.
    T
        Temperature, > 0. No default: fix it here or sweep it.

    References
    ----------
    Onsager, Phys. Rev. 65, 117 (1944), for the zero-field model on the square lattice.

    Examples
    --------
    >>> Ising(J=1.0, mu=0.67).given
    {'J': 1.0, 'mu': 0.67}
    >>> Ising(J=[1.0, 0.2]).given
    {'J': 1.0, 'J2': 0.2}
    >>> Ising(couplings=[[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]).structure
    {'couplings': [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]}
    """

    kind: ClassVar[str] = "ising"
    move: ClassVar[Move] = "single_flip"
    energy_units: ClassVar[str] = "J"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("T", "temperature", "J/k_B", low=0.0, low_excluded=True),
        Parameter("J", "coupling of nearest neighbours", "J", default=1.0),
        Parameter("J2", "coupling of second neighbours", "J", default=0.0),
        Parameter("J3", "coupling of third neighbours", "J", default=0.0),
        Parameter("mu", "magnetic moment", "J/H", default=1.0),
        Parameter("H", "magnetic field", "J/mu", default=0.0),
        *(
            Parameter(f"J{k}", f"coupling of neighbours of shell {k}", "J", optional=True)
            for k in range(4, MOST_SHELLS + 1)
        ),
        Parameter("realisation", "draw of the bonds", low=0, whole=True, optional=True),
    )
    structures: ClassVar[tuple[str, ...]] = ("couplings", "bonds")

    J: Given = None
    mu: Given = None
    H: Given = None
    J2: Given = None
    J3: Given = None
    J4: Given = None
    J5: Given = None
    J6: Given = None
    J7: Given = None
    J8: Given = None
    realisation: Given = None
    couplings: Matrix | Sequence[Sequence[float]] | Floats | None = None
    bonds: RandomBonds | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.couplings is not None:
            object.__setattr__(self, "couplings", coupling_matrix(self.couplings))
        if self.bonds is not None:
            object.__setattr__(self, "bonds", RandomBonds.of(self.bonds))
        if isinstance(self.J, Sequence) and not isinstance(self.J, str):
            self._spread_shells(list(self.J))
        super().__post_init__()

    def _spread_shells(self, couplings: list[float]) -> None:
        if not 1 <= len(couplings) <= MOST_SHELLS:
            raise RequestError(
                "J as a list holds one coupling a neighbour shell",
                came=couplings,
                allowed=f"1 to {MOST_SHELLS} numbers",
                hint="J = [1.0, 0.2]",
            )
        for name, value in zip(SHELLS, couplings, strict=False):
            if name != "J" and getattr(self, name) is not None:
                raise RequestError(
                    f"{name} is given twice",
                    came=f"J = {couplings} and {name} = {getattr(self, name)}",
                    allowed="a list in J, or J, J2, J3, …",
                    hint=f"leave {name} out",
                )
            object.__setattr__(self, name, value)

    @property
    def drawn(self) -> RandomBonds | None:
        """How the bonds are drawn, if they are."""
        return None if self.bonds is None else RandomBonds.of(self.bonds)

    @property
    def _matrix(self) -> Matrix | None:
        return None if self.couplings is None else coupling_matrix(self.couplings)

    @property
    def structure(self) -> dict[str, Any]:
        matrix, drawn = self._matrix, self.drawn
        told = {
            "couplings": None if matrix is None else [list(row) for row in matrix],
            "bonds": None if drawn is None else drawn.table,
        }
        return {name: value for name, value in told.items() if value is not None}

    def fixed(self, swept: Collection[str]) -> dict[str, float]:
        found = super().fixed(swept)
        shells = [name for name in SHELLS[1:] if name in swept or self.given.get(name)]
        if self._matrix is not None and shells:
            raise RequestError(
                f"{shells[0]} is given, and couplings as a matrix",
                came=", ".join(shells),
                allowed="one of the two; J multiplies the matrix",
                hint=f"leave {shells[0]} out",
            )
        if self._matrix is not None:
            found = {name: value for name, value in found.items() if name not in SHELLS[1:]}
        if self.drawn is not None and "realisation" not in {*found, *swept}:
            raise self._no_realisation()
        if self.drawn is None and "realisation" in {*found, *swept}:
            raise RequestError(
                "realisation is of random bonds, and these are not",
                allowed="bonds in [model] beside it",
                hint=BONDS_HINT,
            )
        return found

    def _no_realisation(self) -> RequestError:
        return RequestError(
            "realisation of the model ising is not given: bonds are drawn anew in each",
            allowed="an axis of whole numbers in [grid], or one of them in [model]",
            hint="realisation = { start = 0, stop = 7, num = 8 } in [grid]",
        )

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        name = "spin_product" if self.drawn is None else "weighted_spin_product"
        pairs = {f"{name}{place}": table for place, table in self._pairs(lattice, used)}
        single = np.arange(lattice.sites, dtype=np.int32)[:, None]
        return [
            *(Orbit(table, {feature: (1, -1, 1)}) for feature, table in pairs.items()),
            Orbit(single, {"magnetization": (-1, 1)}),
        ]

    def _pairs(self, lattice: Lattice, used: Collection[str]) -> Iterator[tuple[str, Sites]]:
        """The bonds of each coupling: of a shell ``_k``, of a value in the matrix ``[value]``."""
        if (matrix := self._matrix) is not None:
            for value, steps in displacements(matrix).items():
                yield f"[{value!r}]", displaced_bonds(lattice, steps)
            return
        for k, name in enumerate(SHELLS, start=1):
            if k == 1 or name in used:
                yield f"_{k}", lattice.bonds(k)

    def disordered(
        self, orbits: Sequence[Orbit], lattice: Lattice, point: Mapping[str, float]
    ) -> list[Orbit]:
        drawn = self.drawn
        if drawn is None:
            return list(orbits)
        if "realisation" not in point:
            raise self._no_realisation()
        number = sum(len(o.clusters) for o in orbits if o.clusters.shape[1] == 2)
        weights = iter(drawn.weights(lattice, int(point["realisation"]), number).tolist())
        found = []
        for orbit in orbits:
            if orbit.clusters.shape[1] != 2:
                found.append(orbit)
                continue
            (name,) = orbit.values
            found += [
                Orbit(bond[None], {name: (w, -w, w)})
                for bond, w in zip(orbit.clusters, weights, strict=False)
            ]
        return found

    def coefficients(self, points: Points, features: Sequence[str]) -> Floats:
        return np.stack([self._coefficient(points, name) for name in features], axis=-1)

    def _coefficient(self, points: Points, feature: str) -> Floats:
        if feature == "magnetization":
            return -points["mu"] * points["H"]
        unit = 1.0 if self.drawn is None else 1.0 / UNIT
        if feature.endswith("]"):
            return -points["J"] * (float(feature[feature.index("[") + 1 : -1]) * unit)
        return -points[SHELLS[int(feature.rsplit("_", 1)[1]) - 1]] * unit

    def start(self, points: Points, lattice: Lattice) -> Floats:
        """As :func:`spins_start`."""
        if (matrix := self._matrix) is not None:
            strength = np.sum(matrix) * points["J"]
        else:
            used = [name for name in SHELLS if np.any(points.get(name, 0.0))]
            shells = [1, *(SHELLS.index(name) + 1 for name in used if name != "J")]
            strength = np.asarray(
                sum(lattice.neighbors(k).shape[1] * points[SHELLS[k - 1]] for k in shells)
            )
        mean = 1.0 if self.drawn is None else self.drawn.mean
        return spins_start(strength * mean, points["mu"] * points["H"])


def spins_start(strength: Floats, field: Floats) -> Floats:
    """How free spins begin, (points, 64): probability of up.

    Ferromagnets start ordered (along the field, or half of the replicas each way without), since
    below Tc a random start freezes into stripes; others start at random.

    Parameters
    ----------
    strength
        Coupling of a spin to all its neighbours, (points,).
    field
        (points,).
    """
    way = np.sign(field)[:, None]
    alternate = np.tile([1.0, 0.0], REPLICAS // 2)[None, :]
    ordered = np.where(way == 0, alternate, (1 + way) / 2)
    return np.where(strength[:, None] > 0, ordered, 0.5)


@dataclass(frozen=True)
class Alloy(Model):
    """A binary alloy at fixed composition x; T in units of the reference T0."""

    energy_units: ClassVar[str] = "k_B T0"

    x: Given = None

    @property
    def move(self) -> Move:
        """Exchanges of nearest neighbours conserve the composition."""
        return "exchange"

    def ones(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64] | None:
        """The number of species-1 atoms, round(x · sites), (points,).

        Raises
        ------
        RequestError
            If no whole number of atoms meets x within 0.01.
        """
        return self._atoms(points["x"], lattice)

    def _atoms(self, x: Floats, lattice: Lattice) -> npt.NDArray[np.int64]:
        count = np.rint(x * lattice.sites).astype(np.int64)
        off = np.abs(count / lattice.sites - x)
        if np.any(off > COMPOSITION_TOLERANCE):
            worst = float(x[np.argmax(off)])
            raise RequestError(
                f"x = {worst:g} is no whole number of atoms on {lattice.sites} sites "
                f"within {COMPOSITION_TOLERANCE}",
                came=f"nearest fraction {round(worst * lattice.sites) / lattice.sites:.4f}",
                allowed=f"a larger lattice, or a multiple of 1/{lattice.sites}",
                hint="size = 48",
            )
        return count

    def check(self, lattice: Lattice, values: Points) -> None:
        if "x" in values:
            self._atoms(values["x"], lattice)

    def start(self, points: Points, lattice: Lattice) -> npt.NDArray[np.float64]:
        """Every replica starts from a random arrangement of its fixed composition."""
        fraction = self._atoms(points["x"], lattice) / lattice.sites
        return np.repeat(fraction[:, None], REPLICAS, axis=1)


ALLOY_T = Parameter(
    "T", "temperature in units of T0", "T0", default=1.0, low=0.0, low_excluded=True
)
_ALLOY_PARAMETERS = (
    ALLOY_T,
    Parameter("x", "fraction of species 1", "1", low=0.0, high=1.0),
)


@dataclass(frozen=True)
class PairAlloy(Alloy):
    """Pair alloy, E = w1·(unlike nearest pairs) + w2·(unlike next-nearest pairs), each pair once.

    Energies in k_B·T0, T in units of T0. w > 0: like atoms attract. The composition x, the
    fraction of species 1, is conserved: moves exchange nearest neighbours.

    Parameters
    ----------
    x, w1
        Composition and nearest-pair energy. No defaults: fix them here or sweep them.
    w2, T
        Next-nearest-pair energy and temperature; defaults 0 and 1.

    References
    ----------
    Vlcek et al., npj Comput. Mater. 7, 42 (2021), 10.1038/s41524-021-00507-7.

    Examples
    --------
    >>> PairAlloy(w1=-0.08).fixed(swept={"x"})
    {'T': 1.0, 'w1': -0.08, 'w2': 0.0}
    """

    kind: ClassVar[str] = "pair_alloy"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        *_ALLOY_PARAMETERS,
        Parameter("w1", "energy of an unlike nearest pair", "k_B T0"),
        Parameter("w2", "energy of an unlike next-nearest pair", "k_B T0", default=0.0),
    )

    w1: Given = None
    w2: Given = None

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        return [Orbit(lattice.bonds(k), {f"unlike_{k}": (0, 1, 0)}) for k in (1, 2)]

    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        strength = {"unlike_1": points["w1"], "unlike_2": points["w2"]}
        return np.stack([strength[name] for name in features], axis=-1)


@dataclass(frozen=True)
class ThreeBodyAlloy(Alloy):
    """Three-body alloy, E = w1·(triangles with one atom of species 1) + w2·(with two).

    Each elementary triangle once; the triangular lattice only. Every bond belongs to two triangles
    and a mixed triangle has two unlike bonds, so unlike_1 = triangles_1 + triangles_2: the model
    at w1 = w2 = w is the nearest-neighbour pair alloy at w.

    Parameters
    ----------
    x, w1
        Composition and energy of a triangle with one atom of species 1. No defaults.
    w2, T
        Energy of a triangle with two, and temperature; defaults 0 and 1.

    References
    ----------
    Vlcek et al., npj Comput. Mater. 7, 42 (2021), 10.1038/s41524-021-00507-7.

    Examples
    --------
    >>> ThreeBodyAlloy(x=0.5, w1=-0.1, w2=-0.1).given
    {'x': 0.5, 'w1': -0.1, 'w2': -0.1}
    """

    kind: ClassVar[str] = "three_body_alloy"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        *_ALLOY_PARAMETERS,
        Parameter("w1", "energy of a triangle with one atom of species 1", "k_B T0"),
        Parameter("w2", "energy of a triangle with two atoms of species 1", "k_B T0", default=0.0),
    )

    w1: Given = None
    w2: Given = None

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        values = {"triangles_1": (0, 1, 0, 0), "triangles_2": (0, 0, 1, 0)}
        return [Orbit(lattice.triangles, values)]

    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        strength = {"triangles_1": points["w1"], "triangles_2": points["w2"]}
        return np.stack([strength[name] for name in features], axis=-1)


AnyModel = TypeVar("AnyModel", bound=Model)

MODELS: dict[str, type[Model]] = {model.kind: model for model in (Ising, PairAlloy, ThreeBodyAlloy)}


def registered(model: type[AnyModel]) -> type[AnyModel]:
    """A model of a file of its own, made known to spec files and stores by its kind."""
    MODELS[model.kind] = model
    return model


def features_of(orbits: Sequence[Orbit]) -> tuple[str, ...]:
    """The features of a list of orbits, in order; orbits may share one."""
    return tuple(dict.fromkeys(name for orbit in orbits for name in orbit.values))
