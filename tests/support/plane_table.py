"""Tables of random planes: how a kernel makes the bits of its uniform numbers from fresh words.

A plane is the exclusive or of fresh words, each rotated to the left. Bit l of plane k is bit k of
lane l's number, the first the most significant. So the bits of a lane are linear forms over GF(2)
in the fresh bits, and sets of lanes are independent exactly if their forms are of full rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

LANES = 64

Words = npt.NDArray[np.uint64]
Plane = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PlaneTable:
    """Planes as lists of (fresh word, bits to the left), and how many fresh words there are.

    Examples
    --------
    >>> table = PlaneTable(planes=(((0, 0),), ((0, 1),)), fresh=1)
    >>> table.dependent_lanes(2)
    [(0, 1), (0, 63)]
    """

    planes: Sequence[Plane]
    fresh: int

    def first(self, number: int) -> "PlaneTable":
        """The table of the first planes alone."""
        return PlaneTable(self.planes[:number], self.fresh)

    def forms(self, lane: int) -> list[int]:
        """Of each plane, the fresh bits whose exclusive or it is in a lane, as a bit mask."""
        return [self._form(plane, lane) for plane in self.planes]

    def independent(self, lanes: Sequence[int]) -> bool:
        """Whether all bits of these lanes are independent."""
        return rank([form for lane in lanes for form in self.forms(lane)]) == (
            len(lanes) * len(self.planes)
        )

    def dependent_lanes(self, size: int) -> list[tuple[int, ...]]:
        """The sets of ``size`` lanes, 0 among them, that are dependent.

        Every other set is one of these moved on: forms of lane l + d are those of lane l with all
        fresh words rotated by d.
        """
        sets = ((0, *others) for others in combinations(range(1, LANES), size - 1))
        return [lanes for lanes in sets if not self.independent(lanes)]

    def draw(self, fresh: Words) -> Words:
        """Planes (planes, ...) of fresh words (fresh, ...)."""
        return np.stack([self._plane(plane, fresh) for plane in self.planes])

    def _form(self, plane: Plane, lane: int) -> int:
        mask = 0
        for word, left in plane:
            assert 0 <= word < self.fresh
            mask ^= 1 << (LANES * word + (lane - left) % LANES)
        return mask

    def _plane(self, plane: Plane, fresh: Words) -> Words:
        return np.bitwise_xor.reduce([rotated(fresh[word], left) for word, left in plane])


def rank(rows: Sequence[int]) -> int:
    """Rank over GF(2) of rows that are bit masks."""
    pivots: dict[int, int] = {}
    for row in rows:
        while row and row.bit_length() in pivots:
            row ^= pivots[row.bit_length()]
        if row:
            pivots[row.bit_length()] = row
    return len(pivots)


def rotated(words: Words, left: int) -> Words:
    """Every word rotated to the left."""
    moved: Words = (words << np.uint64(left % 64)) | (words >> np.uint64(-left % 64))
    return moved


def lane_bits(words: Words) -> npt.NDArray[np.uint8]:
    """The bits of words (...) by lane, (..., 64)."""
    octets = np.ascontiguousarray(words)[..., None].astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")


def numbers_of(planes: Words) -> npt.NDArray[np.uint32]:
    """The uniform numbers (..., 64) of all lanes as whole numbers, from 32 planes (32, ...)."""
    numbers = np.zeros((*planes.shape[1:], LANES), np.uint32)
    for plane in planes:
        numbers <<= np.uint32(1)
        numbers |= lane_bits(plane)
    return numbers
