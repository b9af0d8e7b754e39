"""Lattice models: energy = couplings · features, with integer features.

A model is a list of *orbits*: clusters of sites (single sites, bonds of a shell, triangles). Each
cluster adds to its features a number that depends only on how many of its sites hold species 1
(spin up). Kernels, exact enumeration and observables follow from that list.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError
from latticescape.physics.lattices.lattice import Lattice, Sites

if TYPE_CHECKING:
    from latticescape.physics.models.bond_disorder import RandomBonds

REPLICAS = 64

# Of this length, free atoms mix in L²/(2π²) = 13 Monte Carlo steps.
SMALL = 16

Floats = npt.NDArray[np.float64]
Points = Mapping[str, Floats]
ParameterValue = float | Sequence[float] | None
Move = Literal["single_flip", "exchange", "hop"]


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
class Parameter:
    """A parameter: meaning, unit, default (None: required), bounds, and whether it is an integer.

    An ``optional`` parameter belongs to a point only if it is fixed or swept. Parameters that are
    added to a model later are optional, so that older sweeps keep their digests and seeds.
    """

    name: str
    meaning: str = ""
    units: str = "1"
    default: float | None = None
    low: float = -np.inf
    high: float = np.inf
    low_excluded: bool = False
    whole: bool = False
    optional: bool = False

    @property
    def allowed(self) -> str:
        if self.whole:
            return f"a whole number, {replace(self, whole=False).allowed}"
        if np.isinf(self.low) and np.isinf(self.high):
            return "a finite number"
        if np.isinf(self.high):
            return f"{self.name} {'>' if self.low_excluded else '>='} {self.low:g}"
        return f"{self.low:g} to {self.high:g}"

    def check(self, value: object) -> float:
        """The value as a float, or a RequestError that names the bounds."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise self._error("is not a number", repr(value))
        below = value <= self.low if self.low_excluded else value < self.low
        if not -LARGEST <= value <= LARGEST or below or value > self.high:
            raise self._error("is out of bounds", value)
        if self.whole and value != int(value):
            raise self._error("must be a whole number", value)
        return float(value)

    def check_all(self, values: npt.NDArray[np.float64]) -> None:
        """Raise a RequestError for the first value that is out of bounds, as :meth:`check` does."""
        low = values <= self.low if self.low_excluded else values < self.low
        wrong = low | (values > self.high) | ~(np.abs(values) <= LARGEST)
        if self.whole:
            wrong |= values != np.floor(values)
        for value in values[wrong][:1]:
            self.check(float(value))

    def _error(self, problem: str, came: object) -> RequestError:
        excluded = np.isfinite(self.low) and self.low_excluded
        example = self.low + 1 if excluded else np.clip(0.5, self.low, self.high)
        example = np.ceil(example) if self.whole else example
        hint = f"{self.name} = {self.default if self.default is not None else example:g}"
        return RequestError(f"{self.name} {problem}", came=came, allowed=self.allowed, hint=hint)


@dataclass(frozen=True)
class ParametricModel(ABC):
    """A model with named parameters, as a spec file names it. Fields that are None are defaults, or
    axes of a sweep."""

    kind: ClassVar[str]
    energy_units: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    # Fields that are not parameters, such as a matrix of couplings.
    structures: ClassVar[tuple[str, ...]] = ()

    T: ParameterValue = None

    def __post_init__(self) -> None:
        for name, value in self.fixed_parameters.items():
            object.__setattr__(self, name, self.parameter(name).check(value))

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; a RequestError lists the names if there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        names = ", ".join(p.name for p in self.parameters)
        raise RequestError(f"{name} is not a parameter of the model {self.kind}", allowed=names)

    @classmethod
    def of_table(cls, table: Mapping[str, Any]) -> Self:
        """The model of a spec file's table, without its ``kind``.

        Raises
        ------
        RequestError
            If a key is unknown, or a value is not allowed.
        """
        known = {f.name for f in fields(cls)}
        for key in table:
            if key not in known:
                names = ", ".join(p.name for p in cls.parameters)
                raise RequestError(
                    f"{key} is not a parameter of the model {cls.kind}", allowed=names
                )
        return cls(**table)

    @property
    def fixed_parameters(self) -> dict[str, float]:
        """The parameters that this model fixes, by name, without defaults."""
        named = [f.name for f in fields(self) if f.name not in self.structures]
        return {name: v for name in named if (v := getattr(self, name)) is not None}

    def _spread(self, key: str, values: Sequence[float], names: Sequence[str]) -> None:
        """Set parameters from a list under one key, which may be the name of the first."""
        for name, value in zip(names, values, strict=False):
            if name != key and getattr(self, name) is not None:
                raise RequestError(
                    f"{name} is set twice",
                    came=f"{key} = {list(values)} and {name} = {getattr(self, name)}",
                    hint=f"leave {name} out",
                )
            object.__setattr__(self, name, value)

    @property
    def structure(self) -> dict[str, Any]:
        """The fields that are not parameters, by name, as a spec file writes them."""
        return {name: v for name in self.structures if (v := getattr(self, name)) is not None}

    @property
    @abstractmethod
    def move(self) -> Move:
        """The Monte Carlo move; what it conserves decides the ensemble."""

    @abstractmethod
    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        """Energy per unit of each feature, (points, features)."""

    def with_parameters(self, **values: float) -> Self:
        """The same model with other values of some parameters."""
        return replace(self, **values)

    def acting(self, used: Collection[str], features: Sequence[str]) -> frozenset[str]:
        """The features with an energy other than zero, for the parameters in use."""
        values = {
            p.name: self.fixed_parameters.get(p.name, 1.0 if p.name in used else p.default or 0.0)
            for p in self.parameters
        }
        points = {name: np.array([v]) for name, v in values.items()}
        couplings = self.coefficients(points, features)[0]
        return frozenset(name for name, c in zip(features, couplings, strict=True) if c)

    def fixed(self, swept: Collection[str]) -> dict[str, float]:
        """Every parameter that is not swept, with defaults.

        Raises
        ------
        RequestError
            If a swept name is unknown or also fixed, or a parameter without default is missing.
        """
        for name in swept:
            self.parameter(name)
            if name in self.fixed_parameters:
                raise RequestError(
                    f"{name} is both fixed in [model] and swept in [grid]",
                    came=f"{name} = {self.fixed_parameters[name]:g} and an axis {name}",
                    allowed="one of the two",
                    hint=f"leave {name} out of [model]",
                )
        values = {p.name: self.fixed_parameters.get(p.name, p.default) for p in self.parameters}
        needed = {p.name for p in self.parameters if not p.optional}
        missing = [n for n, v in values.items() if v is None and n in needed - set(swept)]
        if missing:
            raise self.missing(missing[0])
        return {n: value for n, value in values.items() if value is not None and n not in swept}

    def missing(self, name: str) -> RequestError:
        """The error for a parameter that is neither fixed nor swept."""
        return RequestError(
            f"the model {self.kind} needs the parameter {name}",
            allowed="a number in [model], or an axis in [grid]",
            hint=f"{name} = 0.5 in [model], or {name} = [0.5, 1.0] in [grid]",
        )

    def check(self, lattice: Lattice, values: Points) -> None:
        """Raise a RequestError for parameter values that do not fit the lattice; ``values`` may be
        any subset of the parameters."""
        return


@dataclass(frozen=True)
class Model(ParametricModel):
    """A lattice model that is defined by its orbits."""

    @abstractmethod
    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        """The orbits on a lattice, for the names of the parameters in use (fixed or swept)."""

    @abstractmethod
    def start(self, points: Points, lattice: Lattice) -> npt.NDArray[np.float64]:
        """Initial probability of species 1 (spin up) of each replica, (points, 64). Where the
        composition is conserved, 1/2 for a random arrangement, 1 for one with the atoms of species
        1 on the first sites."""

    @property
    def bond_disorder(self) -> "RandomBonds | None":
        """The distribution of random bonds; None if all bonds of an orbit are alike."""
        return None

    def disordered(
        self, orbits: Sequence[Orbit], lattice: Lattice, point: Mapping[str, float]
    ) -> list[Orbit]:
        """The orbits at one point: with random bonds, an orbit for each bond."""
        return list(orbits)

    def n_species1(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64] | None:
        """The conserved number of species-1 atoms, (points,); None if it is not conserved."""
        return None


class HasValues(Protocol):
    """Clusters with a value for each of some features."""

    @property
    def values(self) -> Mapping[str, Any]: ...


def features_of(parts: Iterable[HasValues]) -> tuple[str, ...]:
    """Names of the features of orbits or interactions, in order; several may share a feature."""
    return tuple(dict.fromkeys(name for part in parts for name in part.values))


def starts_ordered(lattice: Lattice) -> npt.NDArray[np.bool_]:
    """Which replicas start with their conserved atoms sorted by species, (64,): half of them on
    lattices of up to ``SMALL`` cells along every axis. On larger ones the sorted atoms would need
    longer to mix than others to order."""
    every_second = np.arange(REPLICAS) % 2 == 1
    return every_second if max(lattice.shape) <= SMALL else np.zeros(REPLICAS, bool)


def spins_start(strength: Floats, field: Floats) -> Floats:
    """Initial probability of up of free spins, (points, 64).

    Ferromagnets start ordered: along the field or, without a field, half of the replicas up and
    half down, because below Tc a random start freezes into stripes. Of others, half of the replicas
    start at random, a quarter up and a quarter down: two kinds of starts whose results must agree.

    Parameters
    ----------
    strength
        Coupling of a spin to all its neighbours, (points,).
    field
        Field on every spin, (points,).
    """
    direction = np.sign(field)[:, None]
    alternate = np.tile([1.0, 0.0], REPLICAS // 2)[None, :]
    ordered = np.where(direction == 0, alternate, (1 + direction) / 2)
    mixed = np.tile([0.5, 1.0, 0.5, 0.0], REPLICAS // 4)[None, :]
    return np.where(strength[:, None] > 0, ordered, mixed)
