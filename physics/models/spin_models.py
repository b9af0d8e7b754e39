"""Potts, clock, Blume–Capel and lattice-gas models: cluster expansions with names of their own."""

from typing import Any, ClassVar

import numpy as np

from latticescape.physics.errors import checked_integer
from latticescape.physics.models.alloys import CANONICAL, SEMI_GRAND
from latticescape.physics.models.cluster_expansion import (
    MOST_SPECIES,
    ClusterExpansion,
    Term,
)
from latticescape.physics.models.model import Floats, Parameter

_T = Parameter("T", "temperature", "J/k_B", low=0.0, low_excluded=True)
_J = Parameter("J", "coupling of nearest neighbours", "J", default=1.0)


class SpinModel(ClusterExpansion):
    """A model whose sites change freely among states."""

    energy_units: ClassVar[str] = "J"
    structures: ClassVar[tuple[str, ...]] = ("states",)
    parameters: ClassVar[tuple[Parameter, ...]] = (_T, _J)

    def _parameters(self) -> tuple[Parameter, ...]:
        return type(self).parameters

    @property
    def structure(self) -> dict[str, Any]:
        """What is not a parameter, as a spec file writes it."""
        return {"states": len(self.species_names[""])}


class Potts(SpinModel):
    """Potts model, E = −J · (nearest pairs in the same state), k_B = 1.

    The order parameter has q − 1 components, so that ``magnetization_abs`` is 1 where all sites are
    in one state and 0 where all states are equally frequent: m² = (q Σ f² − 1)/(q − 1) with the
    fraction f of each state.

    Parameters
    ----------
    states
        q, 2 to 16.
    **parameters
        J (default 1) and T, fixed here or swept.

    References
    ----------
    Wu, Rev. Mod. Phys. 54, 235 (1982), 10.1103/RevModPhys.54.235.

    Examples
    --------
    >>> Potts(states=3).fixed(swept={"T"})
    {'J': 1.0}
    """

    kind: ClassVar[str] = "potts"

    def __init__(self, states: int = 3, **parameters: float | None) -> None:
        names = _states(states)
        same = {f"{a},{b}": -float(a == b) for a in names for b in names}
        super().__init__(names, {"J": Term(pair=1, value=same)}, SEMI_GRAND, "any", **parameters)

    def spins(self, species: int) -> Floats:
        # Corners of a simplex: unit vectors of the states, from their centre, of length 1.
        corners = np.eye(species) - 1 / species
        scaled: Floats = corners * np.sqrt(species / (species - 1))
        return scaled


class Clock(SpinModel):
    """Clock model, E = −J Σ cos(2π(a − b)/q) over nearest pairs in the states a and b, k_B = 1.

    The order parameter is the mean unit vector; ``magnetization`` is its first component.

    Parameters
    ----------
    states
        q, 2 to 16.
    **parameters
        J (default 1) and T, fixed here or swept.

    References
    ----------
    José, Kadanoff, Kirkpatrick and Nelson, Phys. Rev. B 16, 1217 (1977),
    10.1103/PhysRevB.16.1217.

    Examples
    --------
    >>> Clock(states=6).structure
    {'states': 6}
    """

    kind: ClassVar[str] = "clock"

    def __init__(self, states: int = 6, **parameters: float | None) -> None:
        names = _states(states)
        angles = 2 * np.pi * np.arange(states) / states
        # Twelve digits: angles that are equal have equal cosines.
        energy = np.round(-np.cos(angles[:, None] - angles), 12) + 0.0
        values = {f"{a},{b}": float(energy[int(a), int(b)]) for a in names for b in names}
        super().__init__(names, {"J": Term(pair=1, value=values)}, SEMI_GRAND, "any", **parameters)

    def spins(self, species: int) -> Floats:
        angles = 2 * np.pi * np.arange(species) / species
        return np.stack([np.cos(angles), np.sin(angles)])


class BlumeCapel(SpinModel):
    """Blume–Capel model, E = −J Σ s s + D Σ s² − H Σ s with spins −1, 0 and 1, k_B = 1.

    Parameters
    ----------
    **parameters
        J (default 1), D and H (default 0) and T, fixed here or swept.

    References
    ----------
    Blume, Phys. Rev. 141, 517 (1966), 10.1103/PhysRev.141.517.

    Examples
    --------
    >>> BlumeCapel(D=0.5).fixed(swept={"T"})
    {'J': 1.0, 'D': 0.5, 'H': 0.0}
    """

    kind: ClassVar[str] = "blume_capel"
    structures: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[tuple[Parameter, ...]] = (
        _T,
        _J,
        Parameter("D", "energy of a spin that is not 0", "J", default=0.0),
        Parameter("H", "field", "J", default=0.0),
    )

    def __init__(self, **parameters: float | None) -> None:
        spins = {"-1": -1.0, "0": 0.0, "1": 1.0}
        pairs = {f"{a},{b}": -s * t + 0.0 for a, s in spins.items() for b, t in spins.items()}
        terms = {
            "J": Term(pair=1, value=pairs),
            "D": Term(site=True, value={a: s * s for a, s in spins.items()}),
            "H": Term(site=True, value={a: -s + 0.0 for a, s in spins.items()}),
        }
        super().__init__(tuple(spins), terms, SEMI_GRAND, "any", **parameters)

    @property
    def structure(self) -> dict[str, Any]:
        """Nothing: all of it is parameters."""
        return {}


class LatticeGas(ClusterExpansion):
    """Lattice gas, E = w1 · (nearest pairs of atoms) + w2 · (next-nearest pairs of atoms).

    Each pair once; energies in k_B·T0, T in units of T0. In the canonical ensemble ``x`` is the
    coverage; in the semi-grand one E has −mu_atom · (atoms).

    Parameters
    ----------
    ensemble
        ``"canonical"`` (default) or ``"semi_grand"``.
    **parameters
        w1, w2 (default 0), T (default 1), and x or mu_atom (default 0), fixed here or swept.

    References
    ----------
    Lee and Yang, Phys. Rev. 87, 410 (1952), 10.1103/PhysRev.87.410.

    Examples
    --------
    >>> LatticeGas(w1=-0.5).fixed(swept={"x"})
    {'T': 1.0, 'w1': -0.5, 'w2': 0.0}
    """

    kind: ClassVar[str] = "lattice_gas"
    structures: ClassVar[tuple[str, ...]] = ("ensemble",)

    def __init__(self, ensemble: str = CANONICAL, **parameters: float | None) -> None:
        both = [0, 0, 1]
        terms = {"w1": Term(pair=1, value=both), "w2": Term(pair=2, value=both)}
        super().__init__(("vacancy", "atom"), terms, ensemble, "any", **parameters)

    @property
    def structure(self) -> dict[str, Any]:
        """The ensemble."""
        return {"ensemble": self.ensemble}

    def _parameters(self) -> tuple[Parameter, ...]:
        *others, w1, _ = super()._parameters()
        w2 = Parameter("w2", "energy of a next-nearest pair of atoms", w1.units, default=0.0)
        return (*others, Parameter("w1", "energy of a nearest pair of atoms", w1.units), w2)


def _states(states: Any) -> tuple[str, ...]:
    number = checked_integer(
        states,
        2,
        MOST_SPECIES,
        "model.states is out of range",
        hint="states = 3",
    )
    return tuple(map(str, range(number)))
