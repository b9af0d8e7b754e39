"""The one registry of every variable a Dataset of a lattice model holds.

Writer and reader both use it: a name that is not here cannot be stored.
"""

from dataclasses import dataclass, replace
from typing import Any

from latticescape.physics.errors import RequestError

# What a sample can keep of a point besides its sums.
SAMPLES, SPINS = "samples", "spins"


@dataclass(frozen=True)
class Variable:
    """A variable of a Dataset.

    Attributes
    ----------
    name
        Its name.
    dims
        Dimensions after the axes of the sweep.
    dtype
        NumPy dtype.
    units
        Unit; ``{energy}`` stands for the model's unit of energy, "1" for a pure number.
    long_name
        Meaning, for axis titles; the name if it is not given.
    formula
        How it is computed, where that says more than the name.
    flags
        Meanings of the values 0, 1, …, where they are no quantity.
    """

    name: str
    dims: tuple[str, ...] = ()
    dtype: str = "float64"
    units: str = "1"
    long_name: str = ""
    formula: str = ""
    flags: tuple[str, ...] = ()

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes it is stored with; those of flags are the CF conventions' (3.5)."""
        formula = {"formula": self.formula} if self.formula else {}
        flags = {"flag_values": [*range(len(self.flags))], "flag_meanings": " ".join(self.flags)}
        told = flags if self.flags else {}
        return {"long_name": self.long_name or self.name, "units": self.units, **formula, **told}

    def in_units(self, energy: str) -> "Variable":
        """The variable with the model's unit of energy filled in."""
        return replace(self, units=self.units.replace("{energy}", energy))

    @property
    def error(self) -> "Variable":
        """Its standard error, ``…_se``."""
        return replace(
            self,
            name=f"{self.name}_se",
            long_name=f"standard error of {self.long_name}",
            formula="jackknife over the 64 independent replicas",
        )


ESTIMATES = (
    Variable("energy", (), "float64", "{energy}", "energy per site", "⟨E⟩/N"),
    Variable("magnetization", (), "float64", "1", "magnetization per site", "⟨m⟩, m = Σs/N"),
    Variable("magnetization_abs", (), "float64", "1", "absolute magnetization per site", "⟨|m|⟩"),
    Variable(
        "susceptibility", (), "float64", "1/{energy}", "susceptibility per site", "N(⟨m²⟩-⟨m⟩²)/T"
    ),
    Variable(
        "susceptibility_abs",
        (),
        "float64",
        "1/{energy}",
        "susceptibility of |m| per site",
        "N(⟨m²⟩-⟨|m|⟩²)/T",
    ),
    Variable("heat_capacity", (), "float64", "k_B", "heat capacity per site", "N(⟨e²⟩-⟨e⟩²)/T²"),
    Variable("binder_cumulant", (), "float64", "1", "Binder cumulant", "1-⟨m⁴⟩/(3⟨m²⟩²)"),
    Variable(
        "energy_drift",
        (),
        "float64",
        "{energy}",
        "energy per site, second half of the samples minus first",
        "many standard errors from zero: not equilibrated",
    ),
)

TEMPERING = Variable(
    "tempering_acceptance",
    (),
    "float64",
    "1",
    "accepted trades of parallel tempering with the next hotter point",
    "NaN at the hottest point",
)

COUNTS = (
    Variable(
        "histogram",
        ("configuration",),
        "int64",
        "count",
        "counts of local configurations, all replicas",
    ),
    Variable(
        "histogram_replica",
        ("replica", "configuration"),
        "int64",
        "count",
        "counts of local configurations of each replica",
    ),
    Variable(
        "features",
        ("replica", "feature"),
        "float64",
        "1",
        "mean feature of the whole lattice, of each replica",
        "E = couplings · features",
    ),
    Variable(
        "moments",
        ("replica", "moment"),
        "float64",
        "1",
        "mean moment per site of each replica",
        "m, |m|, m², m⁴, e, e² with m = Σs/N, e = E/N",
    ),
    Variable("composition", (), "float64", "1", "realised fraction of species 1", "round(x·N)/N"),
)

# What a sweep stores besides if it is told to keep it.
KEPT = {
    SAMPLES: (
        Variable(
            "sample_features",
            ("replica", "sample", "feature"),
            "int32",
            "1",
            "feature of the whole lattice at every measurement, of each replica",
            "E = couplings · features",
        ),
        Variable(
            "sample_histogram",
            ("replica", "sample", "configuration"),
            "int32",
            "count",
            "counts of local configurations at every measurement, of each replica",
        ),
    ),
    SPINS: (
        Variable(
            "spins",
            ("site",),
            "uint64",
            "1",
            "spins of all replicas after the last measurement",
            "bit r is replica r: 1 for species 1, or spin up; 0 for species 0, or spin down",
        ),
    ),
}

STATES = ("pending", "done", "failed", "poisoned")

# The done mark is written last, and counts; the state tells why a point is not done.
BOOKKEEPING = (
    Variable("done", (), "bool", "1", "point is computed and stored"),
    Variable("attempts", (), "int32", "1", "times the point was computed, or failed"),
    Variable("state", (), "int8", "1", "state of the point", flags=STATES),
    Variable("error", (), "T", "1", "error of the last attempt"),
    Variable(
        "checksum",
        (),
        "uint64",
        "1",
        "checksum of the point's results",
        "first 64 bits of BLAKE2b over the bytes of all variables",
    ),
)

VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        *(v for estimate in ESTIMATES for v in (estimate, estimate.error)),
        *COUNTS,
        *(v for variables in KEPT.values() for v in variables),
        *BOOKKEEPING,
    )
}


def variable(name: str) -> Variable:
    """The registered variable of that name.

    Examples
    --------
    >>> variable("heat_capacity").attrs["units"]
    'k_B'
    """
    if name not in VARIABLES:
        raise RequestError("unknown variable", came=name, allowed=", ".join(VARIABLES))
    return VARIABLES[name]
