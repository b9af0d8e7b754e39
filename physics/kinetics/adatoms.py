"""``Adatoms``: atoms that hop on the sites of a surface, E = Σ ε·n + w·(neighbouring pairs)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import (
    REPLICAS,
    Model,
    Move,
    Orbit,
    Parameter,
    ParameterValue,
    Points,
)

# eV/K, exact in the SI of 2019.
BOLTZMANN_EV = 8.617333262e-5

PLANE = ("square", "triangular", "honeycomb")
MOST_TYPES = 6
ENERGIES = tuple(f"eps_{kind}" for kind in range(MOST_TYPES))

# A hop that takes e^600 attempts never happens, and beyond e^700 its rate underflows.
LARGEST_EXPONENT = 600.0

Pattern = tuple[tuple[int, ...], ...]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Adatoms(Model):
    """Adatoms on a plane lattice, at most one on each site: energies in eV, T in K, times in s.

    E = Σ_i ε(type of i) n_i + w·(pairs of adatoms on nearest sites), each pair once; w > 0 repels.
    An adatom hops to an empty nearest site at the rate

        k = nu0 · exp(−(E_b + max(0, ΔE)) / k_B T),

    ΔE being the energy after the hop minus that before: the saddle point is E_b above the higher of
    the two. The ratio of forward and backward rates is exp(−ΔE/k_B T): detailed balance. A single
    adatom on sites of one type has the diffusion constant D = k a² z/4.

    Parameters
    ----------
    T
        Temperature, K. No default.
    E_b
        Barrier of a hop between sites of one energy, eV, >= 0. No default.
    nu0
        Attempt frequency, 1/s; default 1e13.
    adatoms, coverage
        Number of adatoms, or the fraction of occupied sites: one of the two.
    w
        Energy of two adatoms on nearest sites, eV; default 0.
    eps
        Energy of each site type, eV: a list, or ``eps_0`` … ``eps_5`` one by one; default 0.
    a
        Distance of nearest sites, nm; default 1.
    pattern
        Site types as rows that tile the lattice: rows run along its first axis, and hold the sites
        in their order along the last (on honeycomb the two of each cell in turn). ``[[0, 1]]`` on
        honeycomb are its two sublattices, ``[[0, 1], [1, 0]]`` on square a checkerboard. Default
        ``[[0]]``: one type.

    References
    ----------
    Bortz, Kalos and Lebowitz, J. Comput. Phys. 17, 10 (1975); Fichthorn and Weinberg, J. Chem.
    Phys. 95, 1090 (1991), 10.1063/1.461138.

    Examples
    --------
    >>> model = Adatoms(E_b=0.4, adatoms=1, eps=[0.0, 0.05], pattern=[[0, 1]])
    >>> model.fixed_parameters
    {'adatoms': 1.0, 'eps_0': 0.0, 'eps_1': 0.05, 'E_b': 0.4}
    >>> model.types(Lattice("honeycomb", 2)).tolist()
    [0, 1, 0, 1, 0, 1, 0, 1]
    """

    kind: ClassVar[str] = "adatoms"
    energy_units: ClassVar[str] = "eV"
    structures: ClassVar[tuple[str, ...]] = ("pattern", "eps")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("T", "temperature", "K", low=0.0, low_excluded=True),
        Parameter("E_b", "barrier of a hop between sites of one energy", "eV", low=0.0),
        Parameter("nu0", "attempt frequency", "1/s", default=1e13, low=0.0, low_excluded=True),
        Parameter("adatoms", "number of adatoms", "1", default=0.0, low=0.0, whole=True),
        Parameter("coverage", "fraction of occupied sites", "1", default=0.0, low=0.0, high=1.0),
        Parameter("w", "energy of two adatoms on nearest sites", "eV", default=0.0),
        Parameter("a", "distance of nearest sites", "nm", default=1.0, low=0.0, low_excluded=True),
        *(
            Parameter(name, f"energy of sites of type {kind}", "eV", default=0.0)
            for kind, name in enumerate(ENERGIES)
        ),
    )

    adatoms: ParameterValue = None
    coverage: ParameterValue = None
    w: ParameterValue = None
    a: ParameterValue = None
    eps_0: ParameterValue = None
    eps_1: ParameterValue = None
    eps_2: ParameterValue = None
    eps_3: ParameterValue = None
    eps_4: ParameterValue = None
    eps_5: ParameterValue = None
    nu0: ParameterValue = None
    E_b: ParameterValue = None
    eps: Sequence[float] | None = None
    pattern: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            object.__setattr__(self, "pattern", _checked_pattern(self.pattern))
        if self.eps is not None:
            energies: Any = self.eps
            listed = isinstance(energies, Sequence) and not isinstance(energies, str)
            if not listed or len(energies) != self.kinds:
                raise RequestError(
                    "eps must have one energy for each site type",
                    came=repr(energies),
                    hint=f"eps = {[0.0] * self.kinds}",
                )
            object.__setattr__(self, "eps", None)
            self._spread("eps", energies, ENERGIES)
        super().__post_init__()
        for name in ENERGIES[self.kinds :]:
            if getattr(self, name) is not None:
                raise RequestError(
                    f"{name} is the energy of a site type that the pattern lacks",
                    came=f"types 0 to {self.kinds - 1}",
                    allowed=", ".join(ENERGIES[: self.kinds]),
                    hint="pattern = [[0, 1], [1, 0]]",
                )

    @property
    def move(self) -> Move:
        """Hops to empty neighbour sites."""
        return "hop"

    @property
    def structure(self) -> dict[str, Any]:
        """The pattern, if there is one; the energies of ``eps`` are parameters."""
        return {} if self.pattern is None else {"pattern": [list(row) for row in self.pattern]}

    @property
    def kinds(self) -> int:
        """Number of site types."""
        return 1 + max(max(row) for row in self.pattern or ((0,),))

    def types(self, lattice: Lattice) -> Integers:
        """Type of every site, (sites,).

        Raises
        ------
        RequestError
            If the lattice is not plane, or the pattern does not tile it.
        """
        if lattice.kind not in PLANE:
            raise RequestError(
                "adatoms need a plane lattice", came=lattice.kind, allowed=" | ".join(PLANE)
            )
        cell = np.array(self.pattern or ((0,),), np.int64)
        rows, columns = lattice.linear_size, lattice.sites // lattice.linear_size
        if rows % cell.shape[0] or columns % cell.shape[1]:
            raise RequestError(
                "the pattern does not tile the lattice",
                came=f"{cell.shape[0]} rows of {cell.shape[1]} types",
                allowed=f"divisors of {rows} and {columns}",
                hint=f"size = {lattice.linear_size * cell.shape[0] * cell.shape[1]}",
            )
        return np.tile(cell, (rows // cell.shape[0], columns // cell.shape[1])).ravel()

    def orbits(self, lattice: Lattice, used: Collection[str]) -> list[Orbit]:
        types = self.types(lattice)
        sites = np.arange(lattice.sites, dtype=np.int32)[:, None]
        singles = [Orbit(sites[types == k], {f"adatoms_{k}": (0, 1)}) for k in range(self.kinds)]
        return [*singles, Orbit(lattice.bonds(1), {"pairs": (0, 0, 1)})]

    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        strength = {f"adatoms_{k}": points[name] for k, name in enumerate(ENERGIES)}
        strength["pairs"] = points["w"]
        return np.stack([strength[name] for name in features], axis=-1)

    def start(self, points: Points, lattice: Lattice) -> npt.NDArray[np.float64]:
        """Every replica starts from a random arrangement of its adatoms."""
        share = self.n_species1(points, lattice) / lattice.sites
        return np.repeat(share[:, None], REPLICAS, axis=1)

    def n_species1(self, points: Points, lattice: Lattice) -> Integers:
        """Number of adatoms, (points,): ``adatoms``, or round(coverage · sites).

        Raises
        ------
        RequestError
            If neither or both are set, or no site would be free.
        """
        number, share = points["adatoms"], points["coverage"]
        if np.any((number > 0) == (share > 0)):
            raise RequestError(
                "set the number of adatoms once, as adatoms or as coverage",
                came=f"adatoms = {number[0]:g} and coverage = {share[0]:g}",
                allowed="one of the two above 0",
                hint="adatoms = 1",
            )
        count = np.where(number > 0, number, np.rint(share * lattice.sites)).astype(np.int64)
        for wrong in count[(count < 1) | (count >= lattice.sites)][:1]:
            raise RequestError(
                "there is no adatom" if wrong < 1 else "more adatoms than sites to hop between",
                came=f"{wrong} adatoms on {lattice.sites} sites",
                allowed=f"1 to {lattice.sites - 1}",
                hint="a larger lattice, or fewer adatoms" if wrong else "adatoms = 1",
            )
        return count

    def check(self, lattice: Lattice, values: Points) -> None:
        _ = self.types(lattice)
        for name in ("adatoms", "coverage"):
            if name in values and np.any(values[name] > 0):
                positive = np.asarray(values[name])[np.asarray(values[name]) > 0]
                other = "coverage" if name == "adatoms" else "adatoms"
                self.n_species1({name: positive, other: np.zeros(len(positive))}, lattice)

    def check_points(self, lattice: Lattice, points: Points) -> None:
        """Raise a RequestError if the rates of a point underflow; every parameter is (points,)."""
        self.n_species1(points, lattice)
        energies = np.stack([points[name] for name in ENERGIES[: self.kinds]])
        climb = np.ptp(energies, axis=0) + lattice.coordination * np.abs(points["w"])
        exponent = (points["E_b"] + climb) / (BOLTZMANN_EV * points["T"])
        worst = int(np.argmax(exponent))
        if not exponent[worst] <= LARGEST_EXPONENT:
            raise RequestError(
                "hops are too rare: the highest barrier is too many k_B T",
                came=f"{exponent[worst]:.3g} k_B T at T = {points['T'][worst]:g} K",
                allowed=f"up to {LARGEST_EXPONENT:g} k_B T, energies in eV and T in K",
                hint="a higher T",
            )


def _checked_pattern(pattern: Any) -> Pattern:
    """Check a pattern, rows of one length with every type from 0 on, and return it as tuples."""
    try:
        cell = np.array(pattern)
    except ValueError:
        cell = np.empty(0)
    table = cell.ndim == 2 and cell.size > 0 and cell.dtype.kind in "iu"
    used = set(cell.ravel().tolist()) if table else set()
    if not table or used != set(range(len(used))) or len(used) > MOST_TYPES:
        raise RequestError(
            "pattern must be a table of site types 0, 1, … without gaps",
            came=repr(pattern),
            allowed=f"rows of one length, numbers up to {MOST_TYPES - 1}",
            hint="pattern = [[0, 1], [1, 0]]",
        )
    return tuple(tuple(int(kind) for kind in row) for row in cell)
