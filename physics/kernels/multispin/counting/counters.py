"""Whole-lattice sums of every replica: up spins, unlike bonds, configuration classes.

Sixteen items (sites or bonds), a block, are added to digits 0 to 2 of the sums and leave one pair
of bits for digit 3; from there on a digit takes its turn when two pairs have come, like the digits
of a binary counter (Harley and Seal's method). Once a call, sums are turned into counts. What is
summed, and how, stands in ``parities``; each step, as instructions, in ``tally``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.multispin.counting.parities import ROWS
from latticescape.physics.kernels.multispin.counting.tally import (
    BLOCK,
    DEPTH,
    FIRST,
    add_block,
    encode,
    merge,
    scheme_of,
    solve,
    transpose,
    write,
    write_last_digit,
)
from latticescape.physics.kernels.multispin.simd import WORDS, native_width

Integers = npt.NDArray[np.int64]

MOST_ITEMS = 2**DEPTH


def count_up(spins: Any, sites: Any, width: Any = None) -> Integers:
    """Up spins of every replica: (1, 64, 8). ``sites`` is (n, 1) int32, any sites."""
    return _count(spins, sites, (), width)


def count_unlike(spins: Any, bonds: Any, width: Any = None) -> Integers:
    """Bonds with unlike ends: (1, 64, 8). ``bonds`` is (n, 2) int32."""
    return _count(spins, bonds, (), width)


def count_classes(spins: Any, rings: Any, classes: int, width: Any = None) -> Integers:
    """Sites of each class, (classes, 64, 8). ``rings`` is (n, 1 + z) int32, the centre first."""
    return _count(spins, rings, (0,) * classes, width)


def _count(spins: Any, items: Any, classes: tuple[int, ...], width: Any) -> Integers:
    if len(items) >= MOST_ITEMS:
        raise RequestError(
            "too many sites or bonds to count at once",
            came=len(items),
            allowed=f"up to {MOST_ITEMS - 1}",
            hint="count them in parts and add up",
        )
    zeros = native_width() if width is None else width
    scheme = scheme_of(items.shape[1], len(classes))
    counts = np.empty((len(scheme.classes), 64, WORDS), np.int64)
    sizes = (scheme.planes, len(scheme.parities))
    count_items(spins, items, sizes, counts, ((0,) * items.shape[1], classes, zeros))
    return counts


@compiled
def count_items(spins: Any, items: Any, sizes: Any, counts: Any, shape: Any) -> None:
    """Count all items. ``shape`` holds three tuples of zeros: sites of an item, classes, width."""
    planes, parities = sizes
    words, digits = len(shape[2]), 0
    while items.shape[0] >> digits:
        digits += 1
    codes = cache_lines(BLOCK + 1, planes, words)
    sums = cache_lines(DEPTH, parities, words)
    pairs = cache_lines(max(digits - FIRST, 0) + 1, 4 * parities, words)
    rows = cache_lines(ROWS, parities + 1, words)
    for part in range(WORDS // words):
        add_items(spins, items, part, codes, sums, pairs, shape)
        for parity in range(parities):
            transpose(sums, parity, rows, shape)
        for row in range(ROWS):
            solve(rows, row, items.shape[0], shape)
        for place in range(counts.shape[0]):
            for row in range(ROWS):
                write(rows, row, counts, place, part, shape)


@compiled
def cache_lines(rows: Any, columns: Any, words: Any) -> Any:
    """An uninitialised array (rows, columns, words) that begins at a cache line."""
    size = rows * columns * words
    raw = np.empty(size + 8, np.uint64)
    start = -raw.ctypes.data % 64 // 8
    return raw[start : start + size].reshape((rows, columns, words))


@compiled
def add_items(
    spins: Any, items: Any, part: Any, codes: Any, sums: Any, pairs: Any, shape: Any
) -> None:
    """Sum the parities of all items, for the words of one register."""
    codes[BLOCK] = 0
    sums[:] = 0
    blocks = (items.shape[0] + BLOCK - 1) // BLOCK
    for block in range(blocks):
        first = block * BLOCK
        last = min(first + BLOCK, items.shape[0])
        for k in range(first, last):
            encode(spins, items, k, part, codes, k - first, shape)
        codes[last - first : BLOCK] = 0
        rest = block
        add_block(codes, sums, pairs, rest & 1, shape)
        digit = 0
        while rest & 1:
            rest >>= 1
            for parity in range(sums.shape[1]):
                merge(sums, pairs, digit, rest & 1, parity, shape)
            digit += 1
    settle(sums, pairs, blocks, shape)
    write_last_digit(codes, sums, shape)


@compiled
def settle(sums: Any, pairs: Any, blocks: Any, shape: Any) -> None:
    """Add the pairs that still wait, in slot 0, and those carried on from them, in slot 1."""
    half = pairs.shape[1] // 2
    pairs[0, half:] = 0
    for digit in range(pairs.shape[0] - 1):
        if not blocks >> digit & 1:
            pairs[digit, :half] = 0
        for parity in range(sums.shape[1]):
            merge(sums, pairs, digit, 1, parity, shape)
