"""The registry of every variable that a Dataset of a lattice model may have, and ``keep``.

Writer and reader both use it: a variable that is not listed here cannot be stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.models.model import REPLICAS

# What a sweep can keep of a point besides its sums.
SAMPLES, SPINS = "samples", "spins"
KEEP = (SAMPLES, SPINS)

# Kept too, unless a sweep is not extendable.
RESTART = "restart"

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Variable:
    """A variable of a Dataset.

    Attributes
    ----------
    name
        Name of the variable.
    dims
        Dimensions after the axes of the sweep.
    dtype
        NumPy dtype.
    units
        Unit; ``{energy}`` stands for the model's unit of energy, "1" for a pure number.
    long_name
        Meaning, for axis titles; the name by default.
    formula
        How it is computed, where the name does not say it.
    flags
        Meanings of the values 0, 1, …, if they are categories.
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
        """The attributes of the stored variable; flags follow the CF conventions (3.5)."""
        formula = {"formula": self.formula} if self.formula else {}
        flags = {"flag_values": [*range(len(self.flags))], "flag_meanings": " ".join(self.flags)}
        return {
            "long_name": self.long_name or self.name,
            "units": self.units,
            **formula,
            **(flags if self.flags else {}),
        }

    def in_units(self, energy: str) -> "Variable":
        """The variable with the model's unit of energy filled in."""
        return replace(self, units=self.units.replace("{energy}", energy))

    @property
    def error(self) -> "Variable":
        """The variable of the standard error, ``…_se``."""
        return replace(
            self,
            name=f"{self.name}_se",
            long_name=f"standard error of {self.long_name}",
            formula="jackknife over the 64 independent replicas",
        )


ESTIMATES = (
    Variable("energy", units="{energy}", long_name="energy per site", formula="⟨E⟩/N"),
    Variable("magnetization", long_name="magnetization per site", formula="⟨m⟩, m = Σs/N"),
    Variable("magnetization_abs", long_name="absolute magnetization per site", formula="⟨|m|⟩"),
    Variable(
        "susceptibility",
        units="1/{energy}",
        long_name="susceptibility per site",
        formula="N(⟨m²⟩-⟨m⟩²)/T",
    ),
    Variable(
        "susceptibility_abs",
        units="1/{energy}",
        long_name="susceptibility of |m| per site",
        formula="N(⟨m²⟩-⟨|m|⟩²)/T",
    ),
    Variable(
        "heat_capacity", units="k_B", long_name="heat capacity per site", formula="N(⟨e²⟩-⟨e⟩²)/T²"
    ),
    Variable("binder_cumulant", long_name="Binder cumulant", formula="1-⟨m⁴⟩/(3⟨m²⟩²)"),
    Variable(
        "energy_drift",
        units="{energy}",
        long_name="energy per site, second half of the samples minus first",
        formula="many standard errors from zero: not equilibrated",
    ),
)

# Part of the equilibrated points that the tests call not equilibrated.
FALSE_ALARMS = 0.001

EQUILIBRATED = "equilibrated"

EQUILIBRATION = (
    Variable(
        "r_hat",
        long_name="R̂ between replicas, of energy or |m|",
        formula="√((W+B)/W), B and W the variances between and within replicas; the larger",
    ),
    Variable(
        "start_r_hat",
        long_name="R̂ between kinds of starts, of features",
        formula="√(1+(F-1)/n) with n replicas a kind; the largest; 1 for one kind",
    ),
    Variable(
        "drift_t",
        long_name="|t| of the change of features from the first to the second half of the samples",
        formula="|mean|/standard error over replicas; the largest",
    ),
    Variable(
        "effective_samples",
        long_name="independent samples in all replicas, of energy or |m|",
        formula="64·(W+B)/B; the smaller",
    ),
    Variable(
        "start_influence",
        long_name="remaining influence of the start on features, in standard errors",
        formula="from the correlation of the halves of the samples; 0 if it is not significant",
    ),
    Variable(
        EQUILIBRATED,
        dtype="bool",
        long_name="results depend neither on the start nor on time",
        formula="drift_t and start_r_hat as 99.9 % of equilibrated points, start_influence ≤ 1",
    ),
)

TEMPERING = Variable(
    "tempering_acceptance",
    long_name="accepted trades of parallel tempering with the next hotter point",
    formula="NaN at the hottest point",
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
        long_name="mean feature of the whole lattice, of each replica",
        formula="E = couplings · features",
    ),
    Variable(
        "moments",
        ("replica", "moment"),
        long_name="mean moment per site of each replica",
        formula="m, |m|, m², m⁴, e, e² with m = Σs/N, e = E/N",
    ),
    Variable("composition", long_name="realised fraction of species 1", formula="round(x·N)/N"),
)

# The variable ``spins`` of more than two species.
BIT_PLANES = Variable(
    "spins",
    ("bit", "site"),
    "uint64",
    "1",
    "species of all replicas after the last measurement",
    "bit r is replica r; the binary digits of the species' numbers, the lowest first",
)

# The variable ``composition`` of more than two species; without ``sublattice`` if all sites hold
# the same species.
COMPOSITION_BY_SPECIES = Variable(
    "composition",
    ("sublattice", "species"),
    long_name="realised fraction of each species of its sublattice",
    formula="NaN for a species that the sublattice does not hold",
)

# What a sweep stores in addition, by the words of ``keep``.
KEPT = {
    SAMPLES: (
        Variable(
            "sample_features",
            ("replica", "sample", "feature"),
            "int32",
            long_name="feature of the whole lattice at every measurement, of each replica",
            formula="E = couplings · features",
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
    RESTART: (
        Variable(
            "restart",
            ("restart_word",),
            "uint64",
            long_name="spins, generators and sums from which the point continues",
            formula="read by latticescape extend only",
        ),
    ),
}

# What a sweep stores whose points end when they are accurate enough.
UNTIL = (
    Variable("samples", (), "int64", "count", "number of samples of the point"),
    Variable("until_met", (), "bool", long_name="errors have reached the targets of the schedule"),
)

STATES = ("pending", "done", "failed", "poisoned")

# The done mark is written last and decides; the state says why a point is not done.
BOOKKEEPING = (
    Variable("done", dtype="bool", long_name="point is computed and stored"),
    Variable("attempts", dtype="int32", long_name="times the point was computed, or failed"),
    Variable("state", dtype="int8", long_name="state of the point", flags=STATES),
    Variable("error", dtype="T", long_name="error of the last attempt"),
    Variable(
        "checksum",
        dtype="uint64",
        long_name="checksum of the point's results",
        formula="first 64 bits of BLAKE2b over the bytes of all variables",
    ),
)

VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        *(v for estimate in ESTIMATES for v in (estimate, estimate.error)),
        *EQUILIBRATION,
        *COUNTS,
        *(v for variables in KEPT.values() for v in variables),
        *UNTIL,
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


def checked_keep(words: Any, known: Sequence[str] = KEEP) -> tuple[str, ...]:
    """The words of ``keep``, each once and in the order of the known ones.

    Raises
    ------
    RequestError
        If ``keep`` is no list of known words.

    Examples
    --------
    >>> checked_keep(["spins", "samples"])
    ('samples', 'spins')
    """
    listed = isinstance(words, Sequence) and not isinstance(words, str)
    if not listed or any(word not in known for word in words):
        raise RequestError(
            "keep has an unknown word",
            came=repr(words),
            allowed=f"a list of {' and '.join(KEEP)}",
            hint='keep = ["samples", "spins"]',
        )
    return tuple(word for word in known if word in words)


def pack_replicas(spins: npt.NDArray[np.uint8]) -> Words:
    """Pack spins of 64 replicas, (64, sites) of 0 and 1, into words, (sites,); bit r is replica r.

    Examples
    --------
    >>> spins = np.zeros((64, 2), np.uint8)
    >>> spins[3, 1] = 1
    >>> pack_replicas(spins).tolist()
    [0, 8]
    """
    packed = np.packbits(np.ascontiguousarray(spins.T), axis=1, bitorder="little")
    return packed.view("<u8")[:, 0].astype(np.uint64)


def unpack_replicas(words: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Unpack the stored variable ``spins``, (…, sites), to 0 and 1 of each replica, (…, 64, sites).

    Examples
    --------
    >>> unpack_replicas(np.array([0, 8], np.uint64))[3].tolist()
    [0, 1]
    """
    places = np.arange(REPLICAS, dtype=np.uint64)[:, None]
    bits = np.asarray(words, np.uint64)[..., None, :] >> places & np.uint64(1)
    return bits.astype(np.uint8)


def bits_of(species: int) -> int:
    """Number of binary digits that hold one of so many species, 1 or more.

    Examples
    --------
    >>> [bits_of(species) for species in (1, 2, 3, 4, 5)]
    [1, 1, 2, 2, 3]
    """
    return max(1, (species - 1).bit_length())


def unpack_species(words: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """The species of every site from the bits of a stored variable ``spins``.

    Parameters
    ----------
    words
        (…, bits, sites) uint64; bit r of a word is replica r.

    Returns
    -------
    ndarray
        Number of the species, (…, 64, sites).

    Examples
    --------
    >>> unpack_species(np.array([[1, 0], [1, 1]], np.uint64))[0].tolist()
    [3, 2]
    """
    planes = unpack_replicas(words)
    places = np.arange(planes.shape[-3], dtype=np.uint8)[:, None, None]
    total: npt.NDArray[np.uint8] = (planes << places).sum(axis=-3, dtype=np.uint8)
    return total
