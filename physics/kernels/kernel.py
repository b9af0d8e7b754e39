"""What a sweep asks of a kernel: all that this room knows of the model it maps over a grid."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.lattice_kernel import Coordinates
from latticescape.physics.variables import Variable


class Kernel(Protocol):
    """A function of a point and a seed, with the variables it yields declared once."""

    @property
    def name(self) -> str:
        """Its name; part of the sweep's digest."""

    @property
    def version(self) -> int:
        """Raised whenever the same seed gives other bits; part of the sweep's digest."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a result besides coordinates and seed, flat."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length of every dimension besides the axes."""

    @property
    def variables(self) -> Sequence[Variable]:
        """What :meth:`compute` yields."""

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes."""

    @property
    def attrs(self) -> Mapping[str, str]:
        """What a reader of the Dataset needs to know of the kernel."""

    def axis_attrs(self, name: str) -> dict[str, str]:
        """Meaning and unit of an axis."""

    def check(self, axes: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Refuse axis values it cannot take."""

    def parameters(self, axes: Mapping[str, float]) -> dict[str, float]:
        """All parameters of the point with these coordinates: what its seed is made of."""

    def updates(self, points: int) -> int:
        """Attempted updates in so many points."""

    @property
    def nominal_rate(self) -> float:
        """Updates per second of one core, cautiously: to cut blocks of a sensible length."""

    @property
    def whole(self) -> Sequence[str]:
        """Axes that no block may cut, because points along them need each other."""

    @property
    def group(self) -> int:
        """Points that are computed together at the price of one."""

    def shortened(self, mcs: int) -> Self:
        """The same kernel on a short schedule, to measure its speed."""

    def warm_up(self, axes: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Make everything ready that :meth:`compute` needs at points of these axes, such as
        compiled code; called once in every worker, before its first block."""

    def compute(
        self,
        points: Mapping[str, npt.NDArray[np.float64]],
        seeds: npt.NDArray[np.uint64],
        cancel_check: CancelCheck = never_cancelled,
    ) -> dict[str, npt.NDArray[Any]]:
        """Every variable at the given points, points first; a point's bits depend on its own
        coordinates and seed alone. May be called with any of the points, in any order, as when
        some of a block have failed; but with all along the axes in :attr:`whole`. A computation of
        many seconds calls ``cancel_check`` now and then: what that raises ends it."""
