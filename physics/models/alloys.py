"""Binary alloys: energies of pairs or of triangles, at fixed composition or open to exchange."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import (
    Floats,
    Model,
    Move,
    Orbit,
    Parameter,
    ParameterValue,
    Points,
    spins_start,
    starts_ordered,
)

# The parameter of the fraction of species 1.
COMPOSITION = "x"

COMPOSITION_TOLERANCE = 0.01

# An effective field below this share of its parts is a rounding error.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Alloy(Model):
    """A binary alloy at fixed composition x; T in units of the reference T0."""

    energy_units: ClassVar[str] = "k_B T0"

    x: ParameterValue = None

    @property
    def move(self) -> Move:
        """Exchanges of nearest neighbours conserve the composition."""
        return "exchange"

    def n_species1(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64] | None:
        """The number of species-1 atoms, round(x · sites), (points,).

        Raises
        ------
        RequestError
            If no whole number of atoms is within 0.01 of x.
        """
        return whole_atoms(points["x"], lattice.sites)

    def check(self, lattice: Lattice, values: Points) -> None:
        if "x" in values:
            whole_atoms(values["x"], lattice.sites)

    def start(self, points: Points, lattice: Lattice) -> npt.NDArray[np.float64]:
        """As :func:`starts_ordered`."""
        return np.tile(np.where(starts_ordered(lattice), 1.0, 0.5), (len(points["x"]), 1))


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

    w1: ParameterValue = None
    w2: ParameterValue = None

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
    >>> ThreeBodyAlloy(x=0.5, w1=-0.1, w2=-0.1).fixed_parameters
    {'x': 0.5, 'w1': -0.1, 'w2': -0.1}
    """

    kind: ClassVar[str] = "three_body_alloy"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        *_ALLOY_PARAMETERS,
        Parameter("w1", "energy of a triangle with one atom of species 1", "k_B T0"),
        Parameter("w2", "energy of a triangle with two atoms of species 1", "k_B T0", default=0.0),
    )

    w1: ParameterValue = None
    w2: ParameterValue = None

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        values = {"triangles_1": (0, 1, 0, 0), "triangles_2": (0, 0, 1, 0)}
        return [Orbit(lattice.triangles, values)]

    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        strength = {"triangles_1": points["w1"], "triangles_2": points["w2"]}
        return np.stack([strength[name] for name in features], axis=-1)


def whole_atoms(x: npt.NDArray[np.float64], sites: int, name: str = "x") -> npt.NDArray[np.int64]:
    """The numbers of atoms nearest to compositions.

    Parameters
    ----------
    x
        Fractions, any shape.
    sites
        Of the lattice.
    name
        Of the parameter, for the message.

    Raises
    ------
    RequestError
        If no whole number of atoms is within 0.01 of one of them.

    Examples
    --------
    >>> whole_atoms(np.array([0.5, 0.626]), 64)
    array([32, 40])
    """
    count = np.rint(x * sites).astype(np.int64)
    off = np.abs(count / sites - x)
    if np.any(off > COMPOSITION_TOLERANCE):
        worst = float(x[np.argmax(off)])
        raise RequestError(
            f"no whole number of atoms on {sites} sites is within {COMPOSITION_TOLERANCE} of "
            f"{name}",
            came=f"{name} = {worst:g}",
            allowed=f"{round(worst * sites) / sites:.4f}, or a larger lattice",
        )
    return count


CANONICAL, SEMI_GRAND = "canonical", "semi_grand"


# The parameter of each ensemble, and that of the other ensemble.
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
        If the ensemble is unknown, or a parameter of the other ensemble is set.

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

    w_0: ParameterValue = None
    w_m1: ParameterValue = None
    w_1: ParameterValue = None
    dmu: ParameterValue = None
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
        fixed = super().fixed(swept)
        own, other = _OWN[self.ensemble or CANONICAL]
        if other in fixed or other in swept:
            raise RequestError(
                f'{other} is not a parameter of the ensemble "{self.ensemble or CANONICAL}"',
                hint=f"{_ensemble(other)} in [model], or {own} in place of {other}",
            )
        if own in fixed or own in swept:
            return fixed
        if own == "x":
            raise self.missing("x")
        return {**fixed, "dmu": 0.0}

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

    def n_species1(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64] | None:
        """The number of species-1 atoms, (points,); None where it floats."""
        return None if self._open else super().n_species1(points, lattice)

    def start(self, points: Points, lattice: Lattice) -> Floats:
        """As other alloys; in the semi-grand ensemble as :func:`spins_start`."""
        if not self._open:
            return super().start(points, lattice)
        strength = points["w_0"] - (points["w_1"] + points["w_m1"]) / 2
        # The field that favours species 1, independent of the neighbours.
        half = lattice.coordination / 2
        parts = [points["dmu"], -half * points["w_1"], half * points["w_m1"]]
        field = np.sum(parts, axis=0)
        acts = np.abs(field) > ROUNDING * np.abs(parts).sum(axis=0)
        return spins_start(strength, np.where(acts, field, 0.0))


def _ensemble(parameter: str) -> str:
    """The ensemble of a parameter, as a spec file writes it."""
    names: Mapping[str, str] = {own: name for name, (own, _) in _OWN.items()}
    return f'ensemble = "{names[parameter]}"'
