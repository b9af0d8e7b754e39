"""Configuration classes of two species on any lattice, counted in all replicas at once.

Three ways, the fastest first: the circuits of :mod:`counting` for the classes of the square,
triangular, honeycomb and cubic lattice; up to ``MOST_BIT_SLICED`` sites, a bit for each class,
added up bit-sliced; else one byte for each species and a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from latticescape.physics.compiled import compiled, inlined, intrinsic
from latticescape.physics.kernels.multispin.counting import ROWS, count_classes, transposed
from latticescape.physics.kernels.multispin.features import add_integers
from latticescape.physics.kernels.multispin.simd import (
    I64,
    WORDS,
    Emitter,
    aligned,
    full_adder,
    indices,
    native_width,
    pointer,
    register,
    row_of,
)
from latticescape.physics.kernels.multispin.thresholds import Words
from latticescape.physics.kernels.species.batch import SpeciesTables
from latticescape.physics.kernels.species.moves import add_classes
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.lattice import Sites
from latticescape.physics.models.interactions import Integers
from latticescape.physics.models.model import REPLICAS

# Sites of an arrangement that has a bit of its own: 2^9 words of eight points are 32 KiB.
MOST_BIT_SLICED = 9

# Items that are added at once, the digit of their carry, and digits of a sum: up to 2^23 sites.
BLOCK, FIRST, DIGITS = 8, 3, 24


@dataclass(frozen=True)
class ClassCounter:
    """The counts of the configuration classes of all sites.

    Parameters
    ----------
    tables
        Of the lattice and the model.
    """

    tables: SpeciesTables

    @cached_property
    def rings(self) -> Sites:
        """Each site and its neighbours, the site first."""
        return np.hstack([self.tables.rows.centers[:, None], self.tables.rows.around])

    @cached_property
    def arrangements(self) -> list[tuple[Sites, Sites]]:
        """For all sites that share classes: they and their neighbours, and the class of each
        arrangement; bit k of an arrangement's number is the species of column k."""
        found, rows = [], self.tables.rows
        for first in np.unique(rows.first):
            own = rows.first == first
            strides = rows.strides[own][0]
            used = strides > 0
            bits = np.arange(2 ** used.sum())[:, None] >> np.arange(used.sum()) & 1
            classes = rows.classes[first + bits @ strides[used]]
            found.append((np.ascontiguousarray(self.rings[own][:, used]), classes))
        return found

    @cached_property
    def bit_sliced(self) -> bool:
        """Whether all replicas are counted at once."""
        usual = isinstance(self.tables.classes, Configurations)
        return usual or (set(self.tables.species) == {2} and self.rings.shape[1] <= MOST_BIT_SLICED)

    def zeros(self) -> Integers:
        """Counts to begin with, in the order that suits the way of counting."""
        classes = len(self.tables.classes)
        shape = (classes, REPLICAS, WORDS) if self.bit_sliced else (WORDS, REPLICAS, classes)
        return aligned(shape, np.int64)

    def of_word(self, counts: Integers, word: int) -> Integers:
        """The part of the counts that belongs to a point, (64, classes)."""
        part: Integers = counts[:, :, word].T if self.bit_sliced else counts[word]
        return part

    def add(self, spins: Words, counts: Integers, words: int = WORDS) -> None:
        """Add the sites of each class to the counts of so many words."""
        if isinstance(self.tables.classes, Configurations):
            add_integers(count_classes(spins, self.rings, len(counts)), counts)
        elif self.bit_sliced:
            for items, classes in self.arrangements:
                shape = ((0,) * items.shape[1], native_width())
                add_arrangements(spins, items, classes, counts, shape)
        else:
            for word in range(words):
                add_classes(bytes_of(spins[:, word]), self.tables.measured, counts[word])


def bytes_of(spins: Words) -> npt.NDArray[np.uint8]:
    """The species of every site as bytes, (sites, 64); bit r of a word is replica r.

    Examples
    --------
    >>> bytes_of(np.array([5], np.uint64))[0, :4].tolist()
    [1, 0, 1, 0]
    """
    words = np.ascontiguousarray(spins, "<u8").view(np.uint8).reshape(len(spins), 8)
    return np.unpackbits(words, axis=1, bitorder="little")


@compiled
def add_arrangements(spins: Any, items: Any, classes: Any, counts: Any, shape: Any) -> None:
    """Add the class of every item to the counts, (classes, 64, 8).

    Each arrangement has a binary counter in each replica, whose digits are bits of words. Eight
    items are added at once and leave one carry; of the carries, one waits for the next, and two are
    added together (Harley and Seal's method). ``shape`` holds two tuples of zeros: sites of an item
    and words of a register.
    """
    rows, blocks = len(classes), (len(items) + BLOCK - 1) // BLOCK
    sums = np.zeros((DIGITS, rows * WORDS), np.uint64)
    waiting = np.empty((DIGITS, rows * WORDS), np.uint64)
    halves = np.empty((BLOCK, rows, WORDS), np.uint64)
    carries = np.empty(rows * WORDS, np.uint64)
    for block in range(blocks):
        first = block * BLOCK
        count = min(BLOCK, len(items) - first)
        halves[count:] = 0
        for part in range(WORDS // len(shape[1])):
            for k in range(count):
                split(spins, items, first + k, part, halves, k, shape)
            for row in range(rows):
                add_eight(halves, row, part, sums, carries, shape)
        digit = FIRST
        while block >> (digit - FIRST) & 1:
            add_two(sums, waiting, digit, carries)
            digit += 1
        for k in range(rows * WORDS):
            waiting[digit, k] = carries[k]
    settle(sums, waiting, blocks)
    for row in range(rows):
        for part in range(WORDS // len(shape[1])):
            add_numbers(sums, row, part, counts, classes[row], shape)


@inlined
def add_two(sums: Any, waiting: Any, digit: Any, carries: Any) -> None:
    """Add the carries, and those that wait, to a digit; the carries become those of the next."""
    for k in range(len(carries)):
        old, other = sums[digit, k], carries[k]
        half = old ^ waiting[digit, k]
        carries[k] = (old & waiting[digit, k]) | (half & other)
        sums[digit, k] = half ^ other


@inlined
def settle(sums: Any, waiting: Any, blocks: Any) -> None:
    """Add the carries that still wait."""
    digits = FIRST
    while blocks >> (digits - FIRST):
        digits += 1
    for digit in range(FIRST, digits):
        if blocks >> (digit - FIRST) & 1:
            for k in range(sums.shape[1]):
                carry = waiting[digit, k]
                for place in range(digit, digits + 1):
                    old = sums[place, k]
                    sums[place, k] = old ^ carry
                    carry &= old


@intrinsic
def split(
    typingctx: Any,
    spins: Any,
    items: Any,
    item: Any,
    part: Any,
    halves: Any,
    slot: Any,
    shape: Any,
) -> Any:
    """Write one bit for each arrangement of the first half of an item's sites to ``halves[slot]``,
    and then of the second half."""
    sites, words = len(shape[0]), len(shape[1])
    signature = types.void(spins, items, item, part, halves, slot, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[3], words)
        row = builder.mul(args[2], ir.Constant(I64, sites))
        places = indices(builder, pointer(context, builder, items, args[1]), row, sites)
        up = [e.load(column, row_of(builder, place)) for place in places]
        target = register(builder, pointer(context, builder, halves, args[4]), args[3], words)
        target = register(builder, target, args[5], WORDS * 2**sites)
        values = [*arrangements(e, up[: sites // 2]), *arrangements(e, up[sites // 2 :])]
        for k, value in enumerate(values):
            e.store(value, target, k * WORDS)
        return context.get_dummy_value()

    return signature, codegen


def arrangements(e: Emitter, up: Sequence[Any]) -> list[Any]:
    """Where each arrangement of some sites is; bit k of an arrangement's number is site k."""
    found = [e.ones]
    for bit in up:
        found = [e.both(a, e.inverse(bit)) for a in found] + [e.both(a, bit) for a in found]
    return found


@intrinsic
def add_eight(
    typingctx: Any, halves: Any, row: Any, part: Any, sums: Any, carries: Any, shape: Any
) -> Any:
    """Add where eight items have an arrangement to digits 0 to 2 of its sum; the carry is written
    to ``carries``."""
    sites, words = len(shape[0]), len(shape[1])
    signature = types.void(halves, row, part, sums, carries, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        source, digits, target = (
            register(builder, pointer(context, builder, kind, array), args[2], words)
            for kind, array in ((halves, args[0]), (sums, args[3]), (carries, args[4]))
        )
        bits, rows = sites // 2, 2**sites
        first = builder.and_(args[1], ir.Constant(I64, 2**bits - 1))
        second = builder.lshr(args[1], ir.Constant(I64, bits))
        second = builder.add(second, ir.Constant(I64, 2**bits))
        first, second, place = (
            builder.mul(k, ir.Constant(I64, WORDS)) for k in (first, second, args[1])
        )
        carry = []
        for k in range(BLOCK):
            item = builder.gep(source, [ir.Constant(I64, k * rows * WORDS)])
            carry.append(e.both(e.load(item, first), e.load(item, second)))
        for digit in range(FIRST):
            base, after = builder.gep(digits, [ir.Constant(I64, digit * rows * WORDS)]), []
            total = e.load(base, place)
            for a, b in zip(carry[::2], carry[1::2], strict=True):
                total, over = full_adder(e, total, a, [b])
                after.append(over)
            e.store(total, base, place)
            carry = after
        e.store(carry[0], target, place)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_numbers(
    typingctx: Any, sums: Any, row: Any, part: Any, counts: Any, place: Any, shape: Any
) -> Any:
    """Add the numbers whose binary digits stand in one row of the sums to the counts of a class."""
    sites, words = len(shape[0]), len(shape[1])
    signature = types.void(sums, row, part, counts, place, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        source, target = (
            register(builder, pointer(context, builder, kind, array), args[2], words)
            for kind, array in ((sums, args[0]), (counts, args[3]))
        )
        source = register(builder, source, args[1], WORDS)
        place = builder.sext(args[4], I64) if args[4].type != I64 else args[4]
        target = register(builder, target, place, REPLICAS * WORDS)
        planes = [e.load(source, digit * 2**sites * WORDS) for digit in range(DIGITS)]
        both = transposed(e, [*planes, *[e.zero] * (ROWS - DIGITS)])
        for k, numbers in enumerate(both):
            halves = (e.both(numbers, e.constant(2**ROWS - 1)), e.shr(numbers, ROWS))
            for replica, number in zip((k, ROWS + k), halves, strict=True):
                here = replica * WORDS
                e.store(e.add(e.load(target, here), number), target, here)
        return context.get_dummy_value()

    return signature, codegen
