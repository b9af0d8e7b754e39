"""``SegregationSlab``: two cations that segregate to a surface with mobile adatoms."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.alloys import whole_atoms
from latticescape.physics.models.model import (
    Move,
    Parameter,
    ParameterValue,
    ParametricModel,
    Points,
)
from latticescape.physics.slab.lattice import Slab

# Molar gas constant, kJ/(mol K): CODATA 2018, exact.
GAS_CONSTANT = 8.314462618e-3
FEATURES = ("unlike", "la_la", "la_o")
SPECIES = ("La", "Ca", "O")


@dataclass(frozen=True)
class SegregationSlab(ParametricModel):
    """Segregation to the surface of La(1−x)Ca(x)MnO3, on a :func:`slab`.

    E = w_CL·(unlike Ca–La neighbours in the bulk) + w_LL·(La–La neighbours within layer 0)
    + w_LO·(La–O contacts), each pair once; an oxygen adatom in a hollow touches its four A-sites.
    Energies in kJ/mol, T in K, Boltzmann factors exp(−E/RT). Cations and oxygen are conserved:
    moves exchange any two unlike cations, and let oxygen hop to a neighbouring hollow.

    Parameters
    ----------
    w_CL, w_LL, w_LO
        Energies, kJ/mol. No defaults: fix them here or sweep them. Published: 1.65, 6.28, −7.57.
    T
        Temperature in K. Not published; the default 1000 is this project's assumption.
    x, x_La
        Fraction of Ca, default 3/8; the fraction of La, if set, must be 1 − x.
    coverage
        Fraction of the hollows with oxygen. Not published; 0.5 by default.
    bulk_pairs
        Which pairs w_CL counts. 1, the default: all but those within layer 0; 0: those with both
        ends below layer 0; 2: all. Cannot be swept.

    Raises
    ------
    RequestError
        If the fractions do not add up, or a value is out of bounds.

    References
    ----------
    Vlcek et al., ACS Nano 13 (2019), arXiv:1806.07475.

    Examples
    --------
    >>> model = SegregationSlab(w_CL=1.65, w_LL=6.28, x_La=0.625)
    >>> model.x, model.fixed(swept={"w_LO"})["T"]
    (0.375, 1000.0)
    """

    kind: ClassVar[str] = "segregation_slab"
    energy_units: ClassVar[str] = "kJ/mol"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("T", "temperature", "K", default=1000.0, low=0.0, low_excluded=True),
        Parameter("w_CL", "energy of an unlike Ca–La pair in the bulk", "kJ/mol"),
        Parameter("w_LL", "energy of a La–La pair within the surface layer", "kJ/mol"),
        Parameter("w_LO", "energy of a La–O contact", "kJ/mol"),
        Parameter("x", "fraction of Ca", "1", default=0.375, low=0.0, high=1.0),
        Parameter("coverage", "hollows with oxygen", "1", default=0.5, low=0.0, high=1.0),
        Parameter(
            "bulk_pairs", "layers whose pairs are bulk", default=1.0, low=0.0, high=2.0, whole=True
        ),
    )

    w_CL: ParameterValue = None
    w_LL: ParameterValue = None
    w_LO: ParameterValue = None
    x: ParameterValue = None
    coverage: ParameterValue = None
    bulk_pairs: ParameterValue = None
    x_La: ParameterValue = None

    def __post_init__(self) -> None:
        if self.x_La is not None:
            calcium = Parameter("x")
            rest = 1.0 - calcium.check(self.x_La)
            x = rest if self.x is None else calcium.check(self.x)
            if abs(x - rest) > 1e-9:
                raise RequestError(
                    "the fractions of the species do not add up to 1",
                    came=f"x + x_La = {x + 1 - rest:g}",
                    allowed="1",
                    hint="leave x_La out",
                )
            object.__setattr__(self, "x", x)
            object.__setattr__(self, "x_La", None)
        super().__post_init__()

    def parameter(self, name: str) -> Parameter:
        if name == "x_La":
            return Parameter("x_La", "fraction of La", low=0.0, high=1.0)
        return super().parameter(name)

    def fixed(self, swept: Collection[str]) -> dict[str, float]:
        for name in ("x_La", "bulk_pairs"):
            if name in swept:
                raise RequestError(
                    f"{name} cannot be swept",
                    came=f"an axis {name}",
                    allowed=", ".join(p.name for p in self.parameters if p.name != "bulk_pairs"),
                    hint="x" if name == "x_La" else "one sweep for each choice",
                )
        return super().fixed(swept)

    @property
    def move(self) -> Move:
        """Exchanges of unlike cations and hops of oxygen; both compositions are conserved."""
        return "exchange"

    def coefficients(self, points: Points, features: Sequence[str]) -> npt.NDArray[np.float64]:
        strength = dict(
            zip(FEATURES, (points["w_CL"], points["w_LL"], points["w_LO"]), strict=True)
        )
        return np.stack([strength[name] for name in features], axis=-1)

    def atoms(self, points: Points, lattice: Lattice) -> npt.NDArray[np.int64]:
        """Numbers of Ca and O, (points, 2): those nearest to x and to the coverage.

        Raises
        ------
        RequestError
            If no whole number of Ca is within 0.01 of x. The coverage of the few hollows is only
            rounded; the realised coverage is stored.
        """
        film = self.check_lattice(lattice)
        calcium = whole_atoms(points["x"], film.sites)
        oxygen = np.rint(points["coverage"] * film.hollows).astype(np.int64)
        return np.stack([calcium, oxygen], axis=-1)

    def check(self, lattice: Lattice, values: Points) -> None:
        """Raise a RequestError for another lattice, or a fraction that no number of atoms meets."""
        x = values.get("x", np.zeros(1))
        self.atoms({"x": x, "coverage": np.zeros(len(x))}, lattice)

    @staticmethod
    def check_lattice(lattice: Lattice) -> Slab:
        """The lattice, if it is a slab.

        Raises
        ------
        RequestError
            If it is not.
        """
        if not isinstance(lattice, Slab):
            raise RequestError(
                "the model segregation_slab needs a slab",
                came=lattice.kind,
                allowed='kind = "slab" in [lattice]',
                hint='kind = "slab"',
            )
        return lattice
