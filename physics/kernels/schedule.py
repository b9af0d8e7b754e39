"""``Schedule``: how long to equilibrate, how often to measure, and with which updates."""

from dataclasses import dataclass
from typing import Literal

from latticescape.physics.errors import RequestError, checked_integer

Update = Literal["local", "cluster"]
UPDATES: tuple[Update, ...] = ("local", "cluster")

LOWEST = {"equilibration_mcs": 0, "samples": 2, "stride_mcs": 1, "tempering_mcs": 0}
MOST = 10**9


@dataclass(frozen=True)
class Schedule:
    """Measure ``samples`` times, every ``stride_mcs`` steps, after ``equilibration_mcs`` steps.

    One Monte Carlo step (MCS) is one attempted move per site.

    Parameters
    ----------
    equilibration_mcs, samples, stride_mcs
        Steps before the first stride, number of measurements, steps between two measurements.
    update
        ``"local"``: single flips or exchanges, depending on the model. ``"cluster"``: one
        Swendsen–Wang update of the whole lattice in each step, for Ising models without a field
        and without negative couplings.
    tempering_mcs
        Parallel tempering: number of steps between attempts to swap the configurations of points
        that differ only in temperature (:class:`Ladder`). Default 0: never.

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
            value = checked_integer(
                getattr(self, name),
                low,
                MOST,
                f"schedule.{name} is out of range",
                allowed=f"a whole number from {low} to 10^9",
                hint=f"{name} = {max(low, 100)}",
            )
            object.__setattr__(self, name, value)
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
