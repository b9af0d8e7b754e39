"""Whole-lattice sums of every replica: up spins, unlike bonds, configuration classes.

Each quantity is one bit a lane and item (a site or a bond). Items are taken eight at a time: a
tree of full adders adds them to a bit-sliced counter of ``LOW`` planes, without a branch; before
that can overflow it is drained into a counter of ``DEPTH`` planes, which is turned into int64 once
a measurement. Classes come from
the class table itself (physics.configurations): a decision diagram whose equal nodes are merged,
walked with masks, one neighbour at a time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from physics.adders import add_column
from physics.compiled import compiled, intrinsic
from physics.configurations import configurations
from physics.simd import (
    I64,
    WORDS,
    Emitter,
    aligned,
    indices,
    native_width,
    pointer,
    register,
    row_of,
)

Integers = npt.NDArray[np.int64]

LOW = 8  # planes of the quick counter: 31 blocks of eight items
DEPTH = 26  # planes of the whole counter: up to 2^26 - 1 items

# (z, number of classes) tells the lattice kinds apart.
KINDS = {(4, 12): "square", (6, 26): "triangular", (3, 8): "honeycomb", (6, 20): "cubic"}


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
    zeros = native_width() if width is None else width
    sums = np.zeros((max(1, len(classes)), 64, WORDS), np.int64)
    planes = aligned((len(sums), LOW + DEPTH, len(zeros)))
    for part in range(WORDS // len(zeros)):
        add_items(spins, items, (0,) * items.shape[1], classes, part, zeros, planes, sums)
    return sums


@compiled
def add_items(
    spins: Any,
    items: Any,
    item: Any,
    classes: Any,
    part: Any,
    width: Any,
    planes: Any,
    sums: Any,
) -> None:
    """Add the counts of all items to ``sums``, for the words of one register."""
    planes[:] = 0
    eight = (0, 0, 0, 0, 0, 0, 0, 0)
    whole = items.shape[0] // 8 * 8
    for start in range(0, whole, 248):
        for first in range(start, min(start + 248, whole), 8):
            tally(spins, items, first, part, planes, item, classes, width, eight)
        for quantity in range(planes.shape[0]):
            drain(planes, quantity, width)
    for first in range(whole, items.shape[0]):
        tally(spins, items, first, part, planes, item, classes, width, (0,))
    for quantity in range(planes.shape[0]):
        drain(planes, quantity, width)
    used = 1
    while used < planes.shape[1] - 8 and items.shape[0] >> used:
        used += 1
    for quantity in range(planes.shape[0]):
        for word in range(len(width)):
            unpack_counter(
                planes[quantity, 8:], word, used, sums[quantity], part * len(width) + word
            )


@compiled
def unpack_counter(counter: Any, word: Any, used: Any, sums: Any, column: Any) -> None:
    """Add the number that each lane of a word has counted to ``sums[:, column]``."""
    numbers = np.zeros(64, np.uint64)
    for place in range(used):
        bits = counter[place, word]
        for lane in range(64):
            numbers[lane] += ((bits >> np.uint64(lane)) & np.uint64(1)) << np.uint64(place)
    for lane in range(64):
        sums[lane, column] += np.int64(numbers[lane])


@intrinsic
def tally(
    typingctx: Any,
    spins: Any,
    items: Any,
    first: Any,
    part: Any,
    planes: Any,
    item: Any,
    classes: Any,
    width: Any,
    block: Any,
) -> Any:
    """Count ``block`` items from ``first`` on into the bit-sliced counters."""
    words, size, kinds, many = len(width), len(item), len(classes), len(block)
    signature = types.void(spins, items, first, part, planes, item, classes, width, block)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[3], words)
        table = pointer(context, builder, items, args[1])
        counters = pointer(context, builder, planes, args[4])
        found = []
        for k in range(many):
            row = builder.mul(builder.add(args[2], ir.Constant(I64, k)), ir.Constant(I64, size))
            bits = [e.load(column, row_of(builder, n)) for n in indices(builder, table, row, size)]
            found.append(_quantities(e, bits, kinds))
        for quantity, masks in enumerate(zip(*found, strict=True)):
            add_masks(e, counters, quantity * (LOW + DEPTH) * words, masks)
        return context.get_dummy_value()

    return signature, codegen


def _quantities(e: Emitter, bits: list[Any], kinds: int) -> list[Any]:
    """The masks to count: the spin, the unlike bond, or the class masks."""
    if kinds:
        table = configurations(KINDS[len(bits) - 1, kinds]).table
        return class_masks(e, bits, tuple(int(c) for c in table), kinds)
    return [bits[0] if len(bits) == 1 else e.xor(*bits)]


def class_masks(e: Emitter, bits: list[Any], table: tuple[int, ...], kinds: int) -> list[Any]:
    """One mask a class; ``table`` gives the class of every code Σ 2^k bits[k]."""
    nodes: dict[tuple[int, ...], Any] = {table: None}
    for bit in reversed(bits):
        below: dict[tuple[int, ...], Any] = {}
        absent = e.inverse(bit)
        for node, mask in nodes.items():
            half = len(node) // 2
            for child, side in ((node[:half], absent), (node[half:], bit)):
                reached = side if mask is None else e.both(mask, side)
                below[child] = e.either(below[child], reached) if child in below else reached
        nodes = below
    return [nodes.get((k,), e.zero) for k in range(kinds)]


def add_masks(e: Emitter, counters: Any, start: int, masks: Sequence[Any]) -> None:
    """counter[0 … LOW) += number of set masks, lane by lane."""
    column = list(masks)
    for k in range(LOW):
        place = start + k * e.words
        column.append(e.load(counters, place))
        column, carries = add_column(e, column)
        e.store(column[0], counters, place)
        column = carries


@intrinsic
def drain(typingctx: Any, planes: Any, quantity: Any, width: Any) -> Any:
    """Add a quick counter to the whole one behind it, and empty it."""
    words = len(width)
    signature = types.void(planes, quantity, width)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        base = pointer(context, builder, planes, args[0])
        low = register(builder, base, args[1], (LOW + DEPTH) * words)
        carry: list[Any] = []
        for k in range(DEPTH):
            column = [e.load(low, (LOW + k) * words), *carry]
            if k < LOW:
                column.append(e.load(low, k * words))
                e.store(e.zero, low, k * words)
            column, carry = add_column(e, column)
            e.store(column[0], low, (LOW + k) * words)
        return context.get_dummy_value()

    return signature, codegen
