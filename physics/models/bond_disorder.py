"""``RandomBonds``: random couplings of the bonds, drawn from a distribution with finite moments."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_choice, checked_integer
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import Parameter

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Draws are integer multiples of 1/UNIT: energies are sums of integers, exact in any order, and the
# last digit of a machine's inverse error function cannot change a bit.
UNIT = 2**20

# Bound of |draw|, so that sums of weights over lattices and samples fit into 63 bits.
LARGEST_DRAW = 100.0

HINT = 'bonds = { distribution = "normal", mean = 1.0, sd = 0.2, seed = 1 }'


@dataclass(frozen=True)
class Distribution:
    """A distribution: its parameters, its mean and standard deviation, and how a uniform number
    becomes a draw."""

    parameters: tuple[Parameter, ...]
    mean: Callable[..., float]
    sd: Callable[..., float]
    draw: Callable[..., Floats]


def _bounded(name: str, meaning: str, default: float | None = None, **bounds: Any) -> Parameter:
    limits = {"low": -LARGEST_DRAW, "high": LARGEST_DRAW, **bounds}
    return Parameter(name, meaning, "J", default=default, **limits)


def _normal_quantile(u: Floats, mean: float, sd: float) -> Floats:
    # Most commands need no SciPy, which takes longer to import than they run.
    from scipy.special import ndtri

    return np.asarray(mean + sd * ndtri(u))


DISTRIBUTIONS = {
    "normal": Distribution(
        (_bounded("mean", "mean", 1.0), _bounded("sd", "standard deviation", low=0.0)),
        lambda mean, sd: mean,
        lambda mean, sd: sd,
        _normal_quantile,
    ),
    "uniform": Distribution(
        (_bounded("low", "smallest draw"), _bounded("high", "largest draw")),
        lambda low, high: (low + high) / 2,
        lambda low, high: (high - low) / 12**0.5,
        lambda u, low, high: low + (high - low) * u,
    ),
    "bimodal": Distribution(
        (
            _bounded("strength", "size of every draw", 1.0, low=0.0),
            _bounded("negative", "share of negative draws", 0.5, low=0.0, high=1.0),
        ),
        lambda strength, negative: strength * (1 - 2 * negative),
        lambda strength, negative: 2 * strength * (negative * (1 - negative)) ** 0.5,
        lambda u, strength, negative: np.where(u < negative, -strength, strength),
    ),
}

HEAVY = {
    "cauchy": "has neither a mean nor a variance",
    "lorentzian": "has neither a mean nor a variance",
    "levy": "has neither a mean nor a variance",
    "pareto": "has infinite moments, the variance too where its exponent is 2 or less",
    "power_law": "has infinite moments",
    "student_t": "has infinite moments, the variance too with 2 degrees of freedom or fewer",
}


@dataclass(frozen=True)
class RandomBonds:
    """A random number for every bond, which multiplies its coupling: J_ij = J_ji.

    The numbers are a hash of the seed, the lattice, the number of the realisation and the place of
    the bond: they are the same on every machine and in any order of realisations, and a larger
    ``sd`` stretches the same numbers. They are rounded to multiples of 2^−20.

    Parameters
    ----------
    distribution
        ``"normal"`` (mean, sd), ``"uniform"`` (low, high), or ``"bimodal"``: ±strength, of which
        the share ``negative`` is negative.
    values
        Its parameters by name, in pairs.
    seed
        0 to 2^63 − 1.

    Examples
    --------
    >>> bonds = RandomBonds.of({"distribution": "bimodal", "negative": 0.3, "seed": 1})
    >>> from latticescape import square
    >>> sorted(set(bonds.draw(square(4), realisation=2, number=32).tolist()))
    [-1.0, 1.0]
    """

    distribution: str
    values: tuple[tuple[str, float], ...]
    seed: int = 0

    keys: ClassVar[tuple[str, ...]] = ("distribution", "seed", "symmetric")

    @classmethod
    def of(cls, table: object) -> "RandomBonds":
        """Make the distribution from the table of a spec.

        Raises
        ------
        RequestError
            If the distribution is unknown or has infinite moments, a key is unknown, missing or
            out of bounds, or the two ends of a bond shall have different couplings.
        """
        if isinstance(table, RandomBonds):
            return table
        if not isinstance(table, Mapping):
            raise RequestError("bonds must be a table", came=repr(table), hint=HINT)
        if table.get("symmetric", True) is not True:
            raise RequestError(
                "bonds with J_ij ≠ J_ji have no energy and no detailed balance",
                came=f"symmetric = {table['symmetric']}",
                allowed="symmetric = true, the default",
                hint="symmetric = true",
            )
        kind = table.get("distribution")
        heavy = HEAVY.get(kind.lower().replace("-", "_")) if isinstance(kind, str) else None
        problem = f"a {kind} distribution {heavy}, so that there is no disorder average"
        if not heavy:
            problem = "the distribution of the bonds is unknown"
        kind = checked_choice(kind, DISTRIBUTIONS, problem, hint=HINT)
        taken = {p.name: p for p in DISTRIBUTIONS[kind].parameters}
        for name in table.keys() - {*cls.keys, *taken}:
            raise RequestError(
                f"bonds has an unknown key {name}",
                allowed=", ".join(("distribution", *taken, "seed")),
                hint=HINT,
            )
        values = {name: table.get(name, p.default) for name, p in taken.items()}
        for name, value in values.items():
            if value is None:
                raise RequestError(f"bonds of a {kind} distribution need the key {name}", hint=HINT)
        checked = {name: taken[name].check(value) for name, value in values.items()}
        if "low" in checked and checked["low"] > checked["high"]:
            raise RequestError(
                "the uniform distribution of the bonds has low > high",
                came=f"low = {checked['low']:g}, high = {checked['high']:g}",
                allowed="low <= high",
                hint='bonds = { distribution = "uniform", low = 0.5, high = 1.5 }',
            )
        seed = checked_integer(
            table.get("seed", 0),
            0,
            2**63 - 1,
            "the seed of the bonds is out of range",
            allowed="a whole number from 0 to 2^63 - 1",
            hint=HINT,
        )
        return cls(kind, tuple(checked.items()), seed)

    @property
    def table(self) -> dict[str, Any]:
        """The table of a spec file."""
        return {"distribution": self.distribution, **dict(self.values), "seed": self.seed}

    @property
    def of_one_size(self) -> bool:
        """Whether all draws have the same absolute value."""
        return self.distribution == "bimodal"

    @property
    def mean(self) -> float:
        """Mean of the distribution."""
        return DISTRIBUTIONS[self.distribution].mean(**dict(self.values))

    @property
    def sd(self) -> float:
        """Standard deviation of the distribution."""
        return DISTRIBUTIONS[self.distribution].sd(**dict(self.values))

    def weights(self, lattice: Lattice, realisation: int, number: int) -> Integers:
        """The first ``number`` draws of a realisation in units of 2^−20, (number,)."""
        message = (
            f"latticescape bonds 1\0{self.seed}\0{lattice.kind}\0{lattice.size}\0{realisation}"
        )
        key = np.frombuffer(hashlib.blake2b(message.encode(), digest_size=16).digest(), "<u8")
        raw = np.random.Philox(key=key.astype(np.uint64)).random_raw(number)
        uniform = ((raw >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53
        draws = DISTRIBUTIONS[self.distribution].draw(uniform, **dict(self.values))
        return np.rint(draws * UNIT).astype(np.int64)

    def draw(self, lattice: Lattice, realisation: int, number: int) -> Floats:
        """The first ``number`` draws of a realisation, in the order of the bonds, (number,).

        Examples
        --------
        >>> bonds = RandomBonds.of({"distribution": "normal", "sd": 0.2})
        >>> from latticescape import square
        >>> draws = bonds.draw(square(64), 0, 8192)
        >>> bool(abs(draws.mean() - 1) < 0.01), bool(abs(draws.std() - 0.2) < 0.01)
        (True, True)
        """
        return self.weights(lattice, realisation, number) / UNIT
