"""Binary alloys of fixed composition: energies of pairs, or of triangles."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.composition import whole_atoms
from latticescape.physics.models.model import (
    REPLICAS,
    Given,
    Model,
    Move,
    Orbit,
    Points,
)
from latticescape.physics.models.parameters import Parameter


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
        return whole_atoms(points["x"], lattice.sites)

    def check(self, lattice: Lattice, values: Points) -> None:
        if "x" in values:
            whole_atoms(values["x"], lattice.sites)

    def start(self, points: Points, lattice: Lattice) -> npt.NDArray[np.float64]:
        """Every replica starts from a random arrangement of its fixed composition."""
        fraction = whole_atoms(points["x"], lattice.sites) / lattice.sites
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
