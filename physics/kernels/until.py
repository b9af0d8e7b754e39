"""``Until``: how accurate a point must be before its sampling ends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, checked_integer
from latticescape.physics.kernels.restart import next_checkpoint

Results = Mapping[str, npt.NDArray[Any]]

HISTOGRAM = "histogram_relative"
MOST_SAMPLES = "max_samples"
MOST = 10**9
HINT = "until = { energy_se = 1e-4, max_samples = 10000 }"


@dataclass(frozen=True)
class Until:
    """Targets for the errors of a point, and the number of samples at which it ends in any case.

    Attributes
    ----------
    targets
        Pairs of the name of a standard error, such as ``energy_se``, and its target; every value of
        the variable must be at most as large. ``histogram_relative`` stands for
        :func:`histogram_relative_error`.
    max_samples
        Maximum number of samples.
    """

    targets: tuple[tuple[str, float], ...]
    max_samples: int

    @classmethod
    def of(cls, table: object) -> "Until":
        """Make one from the table of a spec.

        Raises
        ------
        RequestError
            If it is not a table, lacks ``max_samples`` or a target, or a number is out of range.

        Examples
        --------
        >>> Until.of({"energy_se": 1e-4, "max_samples": 10000})
        Until(targets=(('energy_se', 0.0001),), max_samples=10000)
        """
        if isinstance(table, Until):
            return table
        if not isinstance(table, Mapping) or MOST_SAMPLES not in table or len(table) < 2:
            raise RequestError(
                "schedule.until needs the target of an error, and max_samples",
                came=repr(table),
                allowed=f"names that end with _se, {HISTOGRAM}, and {MOST_SAMPLES}",
                hint=HINT,
            )
        most = checked_integer(
            table[MOST_SAMPLES],
            2,
            MOST,
            f"schedule.until.{MOST_SAMPLES} is out of range",
            allowed="a whole number from 2 to 10^9",
            hint=HINT,
        )
        targets = []
        for name, target in table.items():
            number = isinstance(target, int | float) and not isinstance(target, bool)
            if name != MOST_SAMPLES and not (number and 0 < target < np.inf):
                raise RequestError(
                    f"schedule.until.{name} is not a positive number",
                    came=repr(target),
                    allowed="a finite number above 0",
                    hint=HINT,
                )
            if name != MOST_SAMPLES:
                targets.append((str(name), float(target)))
        return cls(tuple(sorted(targets)), most)

    @property
    def table(self) -> dict[str, float]:
        """The table of a spec."""
        return {**dict(self.targets), MOST_SAMPLES: self.max_samples}

    def check(self, variables: Mapping[str, object]) -> None:
        """Raise a RequestError for targets that a kernel with these variables does not have."""
        known = [name for name in variables if name.endswith("_se")]
        known += [HISTOGRAM] * ("histogram_replica" in variables)
        for name, _ in self.targets:
            if name not in known:
                raise RequestError(
                    "schedule.until has an unknown target",
                    came=name,
                    allowed=" | ".join([*known, MOST_SAMPLES]),
                    hint=HINT,
                )

    def counts(self, samples: int) -> Iterator[int]:
        """The numbers of samples at which a point is looked at: ``samples``, then every checkpoint,
        and ``max_samples``.

        They grow by an eighth at most, and are the same for every point, so that a point that goes
        on later ends where it would have ended.

        Examples
        --------
        >>> list(Until((("energy_se", 0.1),), 40).counts(21))
        [21, 22, 24, 26, 28, 30, 32, 36, 40]
        """
        count = samples
        while count < self.max_samples:
            yield count
            count = next_checkpoint(count)
        yield self.max_samples

    def met(self, results: Results) -> npt.NDArray[np.bool_]:
        """Which points have reached all targets, (points,); an error of NaN has not."""
        points = len(next(iter(results.values())))
        met = np.ones(points, bool)
        for name, target in self.targets:
            if name == HISTOGRAM:
                errors = histogram_relative_error(results["histogram_replica"])
            else:
                errors = results[name].reshape(points, -1).max(axis=1)
            met &= errors <= target
        return met

    def is_stricter(self, other: "Until") -> bool:
        """Whether a point that meets these targets has met the others before."""
        ours = dict(self.targets)
        return self.max_samples >= other.max_samples and all(
            ours.get(name, np.inf) <= target for name, target in other.targets
        )


def histogram_relative_error(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Relative standard error of the shares of the configurations.

    √(Σ_k σ_k²/p_k), with p_k the share of configuration k and σ_k its standard error over the
    replicas: the root of the mean over all counts of (σ_k/p_k)². It is twice the statistical
    distance that a point has from its own limit because of its finite length.

    Parameters
    ----------
    counts
        (points, 64, …).

    Examples
    --------
    >>> counts = np.array([[[10, 10]] * 32 + [[12, 8]] * 32])
    >>> histogram_relative_error(counts).round(4)
    array([0.0127])
    """
    rows = counts.reshape(*counts.shape[:2], -1)
    shares = rows / rows.sum(axis=2, keepdims=True)
    mean, variance = shares.mean(axis=1), shares.var(axis=1, ddof=1) / rows.shape[1]
    relative = np.divide(variance, mean, out=np.zeros_like(mean), where=mean > 0)
    total: npt.NDArray[np.float64] = np.sqrt(relative.sum(axis=1))
    return total
