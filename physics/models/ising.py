"""``Ising``: spins on any lattice, coupled by shells or by a matrix, with bonds drawn if asked."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import MOST_SHELLS, Lattice, Sites
from latticescape.physics.models.bond_disorder import HINT as BONDS_HINT
from latticescape.physics.models.bond_disorder import UNIT, RandomBonds
from latticescape.physics.models.coupling_matrix import (
    Matrix,
    coupling_matrix,
    displaced_bonds,
    displacements,
)
from latticescape.physics.models.model import (
    Floats,
    Given,
    Model,
    Move,
    Orbit,
    Points,
    spins_start,
)
from latticescape.physics.models.parameters import Parameter

# Couplings of the neighbour shells, by shell.
SHELLS = ("J", *(f"J{k}" for k in range(2, MOST_SHELLS + 1)))


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
        :class:`RandomBonds`.
    realisation
        With ``bonds``: the number of the draw of all bonds, 0, 1, …; most often an axis, over which
        :func:`latticescape.disorder_average` takes the mean. No default.
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
