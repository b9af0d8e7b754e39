"""Units: the smallest parts of a block that can be computed alone, and which of them kill."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.cancellation import Cancelled
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.records import Note

Found = TypeVar("Found")
Units = tuple[int, ...]

# So often a unit may cost the worker that computed it alone, before nobody tries it again.
MOST_DEATHS = 3


def units_of(sweep: Sweep, block: Block) -> npt.NDArray[np.intp]:
    """Numbers of the points of every unit of a block: of a ladder where axes stay whole, else one.

    Returns
    -------
    ndarray
        (units, points of a unit).

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> grid = {"T": [2.0, 2.5], "H": [0.0, 1.0]}
    >>> block = Block(0, (0, 0), (2, 2))
    >>> single = Sweep(square(8), Ising(), grid, Schedule(10, 5, 2))
    >>> units_of(single, block).tolist()
    [[0], [1], [2], [3]]
    >>> ladders = Sweep(square(8), Ising(), grid, Schedule(10, 5, 2, tempering_mcs=1))
    >>> units_of(ladders, block).tolist()
    [[0, 2], [1, 3]]
    """
    whole = [name in sweep.kernel.uncut_axes for name in sweep.axes]
    shape = [1 if w else n for w, n in zip(whole, block.shape, strict=True)]
    labels = np.arange(np.prod(shape)).reshape(shape)
    of_point = np.broadcast_to(labels, block.shape).ravel()
    return np.argsort(of_point, kind="stable").reshape(labels.size, -1)


def bisected(
    units: Units, compute: Callable[[Units], Found]
) -> Iterator[tuple[Units, Found | Exception]]:
    """Compute units together; if that raises, by halves, until the guilty ones are alone.

    Examples
    --------
    >>> def compute(units):
    ...     return sum(1 / unit for unit in units)
    >>> [(units, str(found)) for units, found in bisected((2, 4, 0, 1), compute)]
    [((2, 4), '0.75'), ((0,), 'division by zero'), ((1,), '1.0')]
    """
    try:
        found: Found | Exception = compute(units)
    except Cancelled:
        raise
    except Exception as error:
        if len(units) > 1:
            for half in halves(units):
                yield from bisected(half, compute)
            return
        found = error
    yield units, found


def halves(units: Units) -> tuple[Units, Units]:
    """The first half and the second."""
    middle = len(units) // 2
    return units[:middle], units[middle:]


@dataclass(frozen=True)
class Trial:
    """Units of a block in sets to be tried one after the other.

    A worker that dies takes the set it tried with it, and nobody knows why it died: so that set is
    halved, and tried last. What dies alone again and again is guilty.

    Attributes
    ----------
    sets
        What is still to be tried.
    deaths
        How often a unit took a worker with it, alone.
    poisoned
        Units that are not tried any more.
    """

    sets: tuple[Units, ...]
    deaths: dict[int, int] = field(default_factory=dict)
    poisoned: Units = ()

    @classmethod
    def of(cls, units: Sequence[int], note: Note | None) -> "Trial":
        """The trial of these units, after what was noted when the block was tried before.

        Examples
        --------
        >>> Trial.of(range(4), None).sets
        ((0, 1, 2, 3),)
        >>> Trial.of(range(4), {"trying": [0, 1, 2, 3], "sets": [], "deaths": []}).sets
        ((0, 1), (2, 3))
        >>> Trial.of(range(4), {"trying": [1], "sets": [[0], [2]], "deaths": [[1, 2]]})
        Trial(sets=((0,), (2,), (3,)), deaths={1: 3}, poisoned=(1,))
        """
        if note is None:
            return cls((tuple(units),))
        sets = [tuple(some) for some in note["sets"]]
        deaths = dict(note["deaths"])
        died = tuple(note["trying"])
        if len(died) == 1:
            deaths[died[0]] = deaths.get(died[0], 0) + 1
        sets += halves(died) if len(died) > 1 else [died]
        sets.append(tuple(set(units) - {unit for some in sets for unit in some}))
        poisoned = tuple(u for u in units if deaths.get(u, 0) >= MOST_DEATHS)
        tried = set(units) - set(poisoned)
        left = [tuple(unit for unit in some if unit in tried) for some in sets]
        return cls(tuple(some for some in left if some), deaths, poisoned)

    @classmethod
    def left(cls, note: Note) -> "Trial":
        """What was noted, if the set that was tried then is not to blame.

        Examples
        --------
        >>> Trial.left({"trying": [0, 1], "sets": [[2]], "deaths": []}).sets
        ((0, 1), (2,))
        """
        sets = (tuple(note["trying"]), *(tuple(some) for some in note["sets"]))
        return cls(sets, dict(note["deaths"]))

    @property
    def rest(self) -> "Trial":
        """The trial after its first set was stored."""
        return replace(self, sets=self.sets[1:])

    @property
    def suspicious(self) -> bool:
        """Whether a worker died: worth to be remembered even while nobody tries."""
        return bool(self.deaths) or len(self.sets) > 1

    def noted(self, *, trying: bool) -> Note:
        """As a note; while the first set is tried, and when it is left."""
        first, rest = (self.sets[0], self.sets[1:]) if trying else ((), self.sets)
        return {"trying": first, "sets": rest, "deaths": [*self.deaths.items()]}
