"""``SolidSolution``: two species that interact by nearest pairs, closed or open to exchange."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.alloys import ALLOY_T, Alloy
from latticescape.physics.models.model import (
    Floats,
    Given,
    Move,
    Orbit,
    Points,
    spins_start,
)
from latticescape.physics.models.parameters import Parameter

CANONICAL, SEMI_GRAND = "canonical", "semi_grand"

# An effective field this small beside what it is the difference of is rounding.
ROUNDING = 1e-12

# What each ensemble is given, and what the other one is.
_OWN = {CANONICAL: ("x", "dmu"), SEMI_GRAND: ("dmu", "x")}


@dataclass(frozen=True)
class SolidSolution(Alloy):
    """Interacting solid solution, u = w_0·(unlike) + w_m1·(0–0) + w_1·(1–1 nearest pairs).

    Each pair once, on any lattice; energies in k_B·T0, T in units of T0. In FeSe_xTe_1−x species 0
    is Se and species 1 Te (the darker and the brighter in topography): w_m1, written w_−1, is the
    energy of a Se–Se pair, w_1 of a Te–Te pair, and the model's x, as everywhere the fraction of
    species 1, is that of Te. Only w_0 − (w_1 + w_m1)/2 acts at fixed composition: the numbers of
    like pairs follow from x and the unlike ones.

    Parameters
    ----------
    x
        Composition, of the ensemble ``"canonical"``; no default. Moves exchange nearest neighbours.
    dmu
        μ_1 − μ_0, of the ensemble ``"semi_grand"``, in k_B·T0; default 0. E = u − dmu·(atoms of
        species 1), moves change the species of a site, and x floats: (1 + magnetization)/2.
    w_0, w_m1, w_1
        Energies of pairs: unlike, both species 0, both species 1. No defaults.
    T
        Temperature; default 1.
    ensemble
        ``"canonical"`` (default) or ``"semi_grand"``.

    Raises
    ------
    RequestError
        If the ensemble is unknown, or is given the other one's parameter.

    Examples
    --------
    >>> SolidSolution(w_0=0.1, w_m1=0.0, w_1=0.0).fixed(swept={"x"})
    {'T': 1.0, 'w_0': 0.1, 'w_m1': 0.0, 'w_1': 0.0}
    >>> SolidSolution(w_0=0.1, w_m1=0.0, w_1=0.0, dmu=0.2, ensemble="semi_grand").move
    'single_flip'
    """

    kind: ClassVar[str] = "solid_solution"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        ALLOY_T,
        Parameter("x", "fraction of species 1", "1", low=0.0, high=1.0, optional=True),
        Parameter("w_0", "energy of an unlike nearest pair", "k_B T0"),
        Parameter("w_m1", "energy of a nearest pair of species 0", "k_B T0"),
        Parameter("w_1", "energy of a nearest pair of species 1", "k_B T0"),
        Parameter("dmu", "chemical potential of species 1 minus 0", "k_B T0", optional=True),
    )
    structures: ClassVar[tuple[str, ...]] = ("ensemble",)

    w_0: Given = None
    w_m1: Given = None
    w_1: Given = None
    dmu: Given = None
    ensemble: str | None = None

    def __post_init__(self) -> None:
        if self.ensemble not in (None, *_OWN):
            raise RequestError(
                "ensemble is unknown",
                came=repr(self.ensemble),
                allowed=" | ".join(f'"{name}"' for name in _OWN),
                hint='ensemble = "semi_grand"',
            )
        super().__post_init__()

    @property
    def _open(self) -> bool:
        return self.ensemble == SEMI_GRAND

    @property
    def move(self) -> Move:
        """Exchanges at fixed composition, single flips where it floats."""
        return "single_flip" if self._open else "exchange"

    def fixed(self, swept: Collection[str]) -> dict[str, float]:
        found = super().fixed(swept)
        own, other = _OWN[self.ensemble or CANONICAL]
        if other in found or other in swept:
            raise RequestError(
                f"{other} is not of this ensemble",
                came=f'{other}, and ensemble = "{self.ensemble or CANONICAL}"',
                allowed=f"{own}; {other} of the other ensemble, {_told(other)}",
                hint=f"{_told(other)} in [model], or {own} in place of {other}",
            )
        if own in found or own in swept:
            return found
        if own == "x":
            raise self.lacks("x")
        return {**found, "dmu": 0.0}

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        pairs = {"unlike_1": (0, 1, 0), "like_0_1": (1, 0, 0), "like_1_1": (0, 0, 1)}
        if not self._open:
            return [Orbit(lattice.bonds(1), pairs)]
        single = np.arange(lattice.sites, dtype=np.int32)[:, None]
        return [Orbit(lattice.bonds(1), pairs), Orbit(single, {"species_1": (0, 1)})]

    def coefficients(self, points: Points, features: Sequence[str]) -> Floats:
        strength = {
            "unlike_1": points["w_0"],
            "like_0_1": points["w_m1"],
            "like_1_1": points["w_1"],
        }
        if self._open:
            strength["species_1"] = -np.asarray(points["dmu"])
        return np.stack([strength[name] for name in features], axis=-1)

    def ones(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64] | None:
        """The number of species-1 atoms, (points,); None where it floats."""
        return None if self._open else super().ones(points, lattice)

    def start(self, points: Points, lattice: Lattice) -> Floats:
        """A random arrangement of the composition; where that floats, as the Ising model."""
        if not self._open:
            return super().start(points, lattice)
        strength = points["w_0"] - (points["w_1"] + points["w_m1"]) / 2
        return spins_start(strength, self._field(points, lattice))

    def _field(self, points: Points, lattice: Lattice) -> Floats:
        """What favours species 1 over species 0, whatever the neighbours."""
        half = lattice.coordination / 2
        parts = [points["dmu"], -half * points["w_1"], half * points["w_m1"]]
        field = np.sum(parts, axis=0)
        return np.where(np.abs(field) > ROUNDING * np.abs(parts).sum(axis=0), field, 0.0)


def _told(parameter: str) -> str:
    """The ensemble that a parameter is of, as it is written."""
    told: Mapping[str, str] = {own: name for name, (own, _) in _OWN.items()}
    return f'ensemble = "{told[parameter]}"'
