"""Lattice models: energy = couplings · features, features being integer sufficient statistics.

A model is a list of *orbits*: clusters of sites (single sites, bonds of a shell, triangles), each
adding to its features a number that depends only on how many of the cluster's sites hold species 1
(spin up). Everything else, kernels, enumeration and observables, follows from that list.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.bond_disorder import RandomBonds
from latticescape.physics.models.parameters import Parameter

REPLICAS = 64

Floats = npt.NDArray[np.float64]
Points = Mapping[str, Floats]
Given = float | Sequence[float] | None
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


def features_of(orbits: Sequence[Orbit]) -> tuple[str, ...]:
    """The features of a list of orbits, in order; orbits may share one."""
    return tuple(dict.fromkeys(name for orbit in orbits for name in orbit.values))


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
