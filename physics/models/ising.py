"""``Ising``: spins on any lattice, coupled by shells or a matrix, with or without random bonds."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError
from latticescape.physics.lattices.geometry import MOST_SHELLS
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.bond_disorder import HINT as BONDS_HINT
from latticescape.physics.models.bond_disorder import UNIT, RandomBonds
from latticescape.physics.models.model import (
    Floats,
    Model,
    Move,
    Orbit,
    Parameter,
    ParameterValue,
    Points,
    spins_start,
)

# Couplings of the neighbour shells, by shell.
SHELLS = ("J", *(f"J{k}" for k in range(2, MOST_SHELLS + 1)))

# Rows and columns: neighbours up to four steps away.
WIDEST = 9

MATRIX_HINT = "couplings = [[0, 0.2, 0], [1, 0, 1], [0, 0.2, 0]]"

Matrix = tuple[tuple[float, ...], ...]

Displacement = tuple[int, int]


@dataclass(frozen=True)
class Ising(Model):
    """Ising model, H = −Σ_k J_k Σ⟨ij⟩_k s_i s_j − μ H Σ_i s_i, s = ±1, k_B = 1, each bond once.

    J > 0 is ferromagnetic. J, J2, … J8 couple the first, second, … eighth neighbour shell; ``J``
    may also be a list, one coupling a shell. Temperatures and energies in units of J. Moves are
    single flips, or updates of clusters; :class:`Schedule` says how they are decided.

    On the square lattice ``couplings`` may be a matrix with a site in its middle, such as the
    lecture's of 5×5: the site is coupled by J·C(d) to the site displaced by d rows and columns.
    With ``bonds`` every bond's coupling is multiplied by its own random number.

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
        With ``bonds``: the number of the disorder realisation, 0, 1, …; usually an axis, over
        which :func:`latticescape.disorder_average` averages. No default.
    mu, H
        Moment and field; only their product enters. Defaults 1, 0.
    T
        Temperature, > 0. No default: fix it here or sweep it.

    References
    ----------
    Onsager, Phys. Rev. 65, 117 (1944), for the zero-field model on the square lattice.

    Examples
    --------
    >>> Ising(J=1.0, mu=0.67).fixed_parameters
    {'J': 1.0, 'mu': 0.67}
    >>> Ising(J=[1.0, 0.2]).fixed_parameters
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

    J: ParameterValue = None
    mu: ParameterValue = None
    H: ParameterValue = None
    J2: ParameterValue = None
    J3: ParameterValue = None
    J4: ParameterValue = None
    J5: ParameterValue = None
    J6: ParameterValue = None
    J7: ParameterValue = None
    J8: ParameterValue = None
    realisation: ParameterValue = None
    couplings: Matrix | Sequence[Sequence[float]] | Floats | None = None
    bonds: RandomBonds | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.couplings is not None:
            object.__setattr__(self, "couplings", coupling_matrix(self.couplings))
        if self.bonds is not None:
            object.__setattr__(self, "bonds", RandomBonds.of(self.bonds))
        if isinstance(self.J, Sequence) and not isinstance(self.J, str):
            if not 1 <= len(self.J) <= MOST_SHELLS:
                raise RequestError(
                    "J must have one coupling per shell", came=self.J, allowed=f"1 to {MOST_SHELLS}"
                )
            self._spread("J", self.J, SHELLS)
        super().__post_init__()

    @property
    def bond_disorder(self) -> RandomBonds | None:
        """The distribution of random bonds, if there is one."""
        return None if self.bonds is None else RandomBonds.of(self.bonds)

    @property
    def _matrix(self) -> Matrix | None:
        return None if self.couplings is None else coupling_matrix(self.couplings)

    @property
    def structure(self) -> dict[str, Any]:
        structure: dict[str, Any] = {}
        if (matrix := self._matrix) is not None:
            structure["couplings"] = [list(row) for row in matrix]
        if (disorder := self.bond_disorder) is not None:
            structure["bonds"] = disorder.table
        return structure

    def fixed(self, swept: Collection[str]) -> dict[str, float]:
        fixed = super().fixed(swept)
        shells = [name for name in SHELLS[1:] if name in swept or self.fixed_parameters.get(name)]
        if self._matrix is not None and shells:
            raise RequestError(
                f"{shells[0]} and a matrix of couplings exclude each other",
                came=", ".join(shells),
                allowed="one of the two; J multiplies the matrix",
                hint=f"leave {shells[0]} out",
            )
        if self._matrix is not None:
            fixed = {name: value for name, value in fixed.items() if name not in SHELLS[1:]}
        if self.bond_disorder is not None and "realisation" not in {*fixed, *swept}:
            raise self._no_realisation()
        if self.bond_disorder is None and "realisation" in {*fixed, *swept}:
            raise RequestError(
                "realisation needs random bonds",
                came="no bonds in [model]",
                allowed="realisation together with bonds in [model]",
                hint=BONDS_HINT,
            )
        return fixed

    def _no_realisation(self) -> RequestError:
        return RequestError(
            "random bonds need the parameter realisation, the number of the draw",
            allowed="an axis of whole numbers in [grid], or a whole number in [model]",
            hint="realisation = { start = 0, stop = 7, num = 8 } in [grid]",
        )

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        name = "spin_product" if self.bond_disorder is None else "weighted_spin_product"
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
        disorder = self.bond_disorder
        if disorder is None:
            return list(orbits)
        if "realisation" not in point:
            raise self._no_realisation()
        number = sum(len(o.clusters) for o in orbits if o.clusters.shape[1] == 2)
        weights = iter(disorder.weights(lattice, int(point["realisation"]), number).tolist())
        disordered = []
        for orbit in orbits:
            if orbit.clusters.shape[1] != 2:
                disordered.append(orbit)
                continue
            (name,) = orbit.values
            disordered += [
                Orbit(bond[None], {name: (w, -w, w)})
                for bond, w in zip(orbit.clusters, weights, strict=False)
            ]
        return disordered

    def coefficients(self, points: Points, features: Sequence[str]) -> Floats:
        return np.stack([self._coefficient(points, name) for name in features], axis=-1)

    def _coefficient(self, points: Points, feature: str) -> Floats:
        if feature == "magnetization":
            return -points["mu"] * points["H"]
        unit = 1.0 if self.bond_disorder is None else 1.0 / UNIT
        if feature.endswith("]"):
            return -points["J"] * (float(feature[feature.index("[") + 1 : -1]) * unit)
        return -points[SHELLS[int(feature.rsplit("_", 1)[1]) - 1]] * unit

    def start(self, points: Points, lattice: Lattice) -> Floats:
        """As :func:`spins_start`."""
        if (matrix := self._matrix) is not None:
            strength = np.asarray(np.sum(matrix) * points["J"])
        else:
            used = [name for name in SHELLS if np.any(points.get(name, 0.0))]
            shells = [1, *(SHELLS.index(name) + 1 for name in used if name != "J")]
            strength = np.asarray(
                sum(lattice.neighbors(k).shape[1] * points[SHELLS[k - 1]] for k in shells)
            )
        disorder = self.bond_disorder
        if disorder is not None:
            # A spin glass, not a ferromagnet, where the spread of the bonds exceeds their mean.
            ordered = abs(disorder.mean) > disorder.sd
            strength = strength * (disorder.mean if ordered else 0.0)
        return spins_start(strength, points["mu"] * points["H"])


def coupling_matrix(couplings: object) -> Matrix:
    """Check a matrix of couplings: odd and square, zero in its middle, the same at d and −d.

    Raises
    ------
    RequestError
        If it is not. If C(d) differs from C(−d), the two ends of a bond have different couplings:
        there is no energy and no detailed balance.

    Examples
    --------
    >>> coupling_matrix([[0, 0.2, 0], [1, 0, 1], [0, 0.2, 0]])[1]
    (1.0, 0.0, 1.0)
    >>> coupling_matrix([[0, 0, 0], [1, 0, 0.5], [0, 0, 0]])
    Traceback (most recent call last):
    latticescape.RequestError: opposite couplings differ, so there is no energy and no detailed ...
    """
    values = _numbers(couplings)
    middle = len(values) // 2
    if values[middle, middle]:
        raise RequestError(
            "the middle of the matrix couples a site to itself",
            came=values[middle, middle],
            allowed="0 there",
            hint=MATRIX_HINT,
        )
    for row, column in np.argwhere(values != values[::-1, ::-1])[:1]:
        d = (int(row) - middle, int(column) - middle)
        raise RequestError(
            "opposite couplings differ, so there is no energy and no detailed balance",
            came=f"{values[row, column]:g} at {d} and {values[-1 - row, -1 - column]:g} opposite",
            allowed="a matrix that stays the same when turned by 180°",
        )
    if not values.any():
        raise RequestError(
            "all couplings are zero", allowed="a number other than 0", hint=MATRIX_HINT
        )
    return tuple(tuple(row) for row in values.tolist())


def _numbers(couplings: object) -> npt.NDArray[np.float64]:
    rows = couplings.tolist() if isinstance(couplings, np.ndarray) else couplings
    if not isinstance(rows, Sequence) or not all(_are_numbers(row) for row in rows):
        raise _not_square(repr(couplings))
    if len(rows) not in range(3, WIDEST + 1, 2) or {len(row) for row in rows} != {len(rows)}:
        raise _not_square(f"{len(rows)} rows of {sorted({len(row) for row in rows})} numbers")
    return np.array(rows, float) + 0.0


def _are_numbers(row: Any) -> bool:
    return isinstance(row, Sequence) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= LARGEST for v in row
    )


def _not_square(came: str) -> RequestError:
    return RequestError(
        f"couplings must be a square matrix of 3, 5, 7 or {WIDEST} rows",
        came=came,
        hint=MATRIX_HINT,
    )


def displacements(matrix: Matrix) -> dict[float, list[Displacement]]:
    """One of each pair d, −d with a coupling, as (rows, columns) from the middle, by coupling;
    the nearest first.

    Examples
    --------
    >>> displacements(((0.0, 0.2, 0.0), (1.0, 0.0, 1.0), (0.0, 0.2, 0.0)))
    {1.0: [(0, 1)], 0.2: [(1, 0)]}
    """
    middle, by_coupling = len(matrix) // 2, dict[float, list[Displacement]]()
    steps = range(-middle, middle + 1)
    half = [(r, c) for r in steps for c in steps if (r, c) > (0, 0)]
    for r, c in sorted(half, key=lambda d: (d[0] ** 2 + d[1] ** 2, d)):
        if value := matrix[r + middle][c + middle]:
            by_coupling.setdefault(value, []).append((r, c))
    return by_coupling


def displaced_bonds(lattice: Lattice, steps: Sequence[Displacement]) -> Sites:
    """The bonds of every site with the sites at some displacements, (sites · steps, 2) int32.

    On a small torus a bond may appear more than once; each appearance counts, as in the shells of
    :meth:`latticescape.Lattice.bonds`.

    Raises
    ------
    RequestError
        If the lattice is not square, or so small that a site would be its own neighbour.
    """
    if lattice.kind != "square":
        raise RequestError(
            "couplings as a matrix need the square lattice",
            came=f"the {lattice.kind} lattice",
            allowed="square; on other lattices one coupling for each neighbour shell",
            hint="J = [1.0, 0.2], one for each shell",
        )
    sites = np.arange(lattice.sites, dtype=np.int32).reshape(
        lattice.linear_size, lattice.linear_size
    )
    for step in steps:
        if not any(d % lattice.linear_size for d in step):
            raise RequestError(
                "lattice.size is too small: a site would be its own neighbour",
                came=f"size = {lattice.linear_size}, and a coupling at {step}",
                allowed=f"{lattice.linear_size + 1} or more",
            )
    around = [np.roll(sites, (-r, -c), axis=(0, 1)) for r, c in steps]
    return np.concatenate([np.stack([sites.ravel(), far.ravel()], axis=1) for far in around])
