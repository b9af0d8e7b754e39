"""The schedule: how long to equilibrate, how often to measure, by which moves."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from latticescape.physics.errors import RequestError

Update = Literal["local", "cluster"]
UPDATES: tuple[Update, ...] = ("local", "cluster")

LOWEST = {"equilibration_mcs": 0, "samples": 2, "stride_mcs": 1, "tempering_mcs": 0}
MOST = 10**9


@dataclass(frozen=True)
class Schedule:
    """When to measure: ``samples`` times, every ``stride_mcs``, after ``equilibration_mcs``.

    One Monte Carlo step (MCS) is one attempted move per site.

    Parameters
    ----------
    equilibration_mcs, samples, stride_mcs
        Steps before the first stride, number of measurements, steps between two of them.
    update
        ``"local"``: single flips or exchanges, whichever the model moves by. ``"cluster"``: one
        Swendsen–Wang update of the whole lattice a step, for Ising models without a field and
        without negative couplings.
    tempering_mcs
        Parallel tempering: after every so many steps, points that differ in temperature alone may
        trade their configurations (:mod:`tempering`). 0, the default: never.

    Examples
    --------
    >>> Schedule(equilibration_mcs=100, samples=50, stride_mcs=10).total_mcs
    600
    """

    equilibration_mcs: int
    samples: int
    stride_mcs: int
    update: Update = "local"
    tempering_mcs: int = 0

    def __post_init__(self) -> None:
        for name, low in LOWEST.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), low))
        if not isinstance(self.update, str) or self.update not in UPDATES:
            raise RequestError(
                "schedule.update is unknown",
                came=repr(self.update),
                allowed=" | ".join(UPDATES),
                hint='update = "cluster"',
            )

    @property
    def total_mcs(self) -> int:
        """Monte Carlo steps of one replica."""
        return self.equilibration_mcs + self.samples * self.stride_mcs


def _whole(name: str, value: Any, low: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not low <= value <= MOST:
        raise RequestError(
            f"schedule.{name} is out of range",
            came=repr(value),
            allowed=f"a whole number from {low} to 10^9",
            hint=f"{name} = {max(low, 100)}",
        )
    return int(value)
