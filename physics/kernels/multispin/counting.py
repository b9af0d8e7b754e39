"""Whole-lattice sums of every replica: up spins, unlike bonds, configuration classes.

Sixteen items (sites or bonds), a block, are added to digits 0 to 2 of the sums and leave one pair
of bits for digit 3; from there on a digit takes its turn when two pairs have come, like the digits
of a binary counter (Harley and Seal's method). Once a call, sums are turned into counts. What is
summed, and how, stands in ``parities``; each step, as instructions, in ``tally``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from latticescape.physics.compiled import compiled, inlined, intrinsic
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.multispin.class_codes import class_codes, code_planes
from latticescape.physics.kernels.multispin.simd import (
    I32,
    I64,
    WORDS,
    Emitter,
    indices,
    native_width,
    pointer,
    register,
    row_of,
)

Integers = npt.NDArray[np.int64]


Pair = tuple[Any, Any]

ROWS = 32  # of a transposed word: two numbers of 32 bits

BLOCK = 16  # items

FIRST = 3  # the digit for which a block leaves a pair

DEPTH = 26  # digits of a sum: up to 2^26 - 1 items
MOST_ITEMS = 2**DEPTH

# (z, number of classes) tells the lattice kinds apart.
KINDS = {(4, 12): "square", (6, 26): "triangular", (3, 8): "honeycomb", (6, 20): "cubic"}


def count_up(spins: Any, sites: Any, width: Any = None) -> Integers:
    """Up spins of every replica: (1, 64, 8). ``sites`` is (n, 1) int32, any sites."""
    return _count(spins, sites, (), width)


def count_unlike(spins: Any, bonds: Any, width: Any = None) -> Integers:
    """Bonds with unlike ends: (1, 64, 8). ``bonds`` is (n, 2) int32."""
    return _count(spins, bonds, (), width)


def count_odd(spins: Any, items: Any, width: Any = None) -> Integers:
    """Items of which an odd number of sites is up: (1, 64, 8). ``items`` is (n, sites) int32."""
    return _count(spins, items, (), width)


def count_classes(spins: Any, rings: Any, classes: int, width: Any = None) -> Integers:
    """Sites of each class, (classes, 64, 8). ``rings`` is (n, 1 + z) int32, the centre first."""
    return _count(spins, rings, (0,) * classes, width)


def _count(spins: Any, items: Any, classes: tuple[int, ...], width: Any) -> Integers:
    if len(items) >= MOST_ITEMS:
        raise RequestError(
            "too many sites or bonds to count", came=len(items), allowed=f"< {MOST_ITEMS}"
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


@inlined
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


@inlined
def settle(sums: Any, pairs: Any, blocks: Any, shape: Any) -> None:
    """Add the pairs that still wait, in slot 0, and those carried on from them, in slot 1."""
    half = pairs.shape[1] // 2
    pairs[0, half:] = 0
    for digit in range(pairs.shape[0] - 1):
        if not blocks >> digit & 1:
            pairs[digit, :half] = 0
        for parity in range(sums.shape[1]):
            merge(sums, pairs, digit, 1, parity, shape)


def gray_order(codes: Iterable[int]) -> list[int]:
    """The codes in the order of the Gray code, where neighbours differ by few bits."""
    return sorted(codes, key=_rank)


def _rank(code: int) -> int:
    return code ^ _rank(code >> 1) if code else 0


def parities_of(e: Emitter, code: Sequence[Any], parities: Sequence[int]) -> Iterator[Any]:
    """For each v in turn the parity of the bits that a code, given by its planes, shares with v."""
    value, last = e.zero, 0
    for v in parities:
        for k, plane in enumerate(code):
            if (last ^ v) >> k & 1:
                value = e.xor(value, plane)
        last = v
        yield value


def linear_forms(e: Emitter, digit: Any, first: Pair, second: Pair) -> tuple[list[Any], Any]:
    """The exclusive ors that make the carries, and the digit with both pairs added."""
    (a, differ), (c, apart) = first, second
    middle = e.xor(digit, differ)
    forms = [differ, e.xor(digit, a), middle, apart, e.xor(middle, c)]
    return forms, e.xor(middle, apart)


def code_forms(
    e: Emitter, running: Sequence[Any], codes: Sequence[Sequence[Any]]
) -> tuple[list[Any], list[Any]]:
    """The five linear forms of four codes, each by its planes, and the running code after them."""
    forms, after = [], []
    for digit, a, b, c, d in zip(running, *codes, strict=True):
        form, total = linear_forms(e, digit, (a, e.xor(a, b)), (c, e.xor(c, d)))
        forms.append(form)
        after.append(total)
    return [*zip(*forms, strict=True)], after


def carries(e: Emitter, forms: Sequence[Any]) -> Pair:
    """The pair of carries, from the linear forms."""
    differ, beside, middle, apart, across = forms
    mixed = e.either(differ, beside)
    return e.xor(mixed, middle), e.xor(mixed, e.both(across, e.inverse(apart)))


def add_pairs(e: Emitter, base: Any, place: int, first: Pair, second: Pair) -> Pair:
    """Add two pairs to the digit in memory; returns the pair for the next digit."""
    forms, total = linear_forms(e, e.load(base, place * e.words), first, second)
    e.store(total, base, place * e.words)
    return carries(e, forms)


def transposed(e: Emitter, planes: Sequence[Any]) -> list[Any]:
    """Bit r of plane p becomes bit p of row r, in each half of every word; 32 planes and rows."""
    rows = list(planes)
    step = ROWS // 2
    while step:
        low = e.constant(sum(1 << bit for bit in range(64) if not bit & step))
        for k in (k for k in range(ROWS) if not k & step):
            swap = e.both(e.xor(e.shr(rows[k], step), rows[k + step]), low)
            rows[k + step] = e.xor(rows[k + step], swap)
            rows[k] = e.xor(rows[k], e.shl(swap, step))
        step //= 2
    return rows


def counts_of(builder: Any, sums: Mapping[int, Any], items: Any) -> dict[int, Any]:
    """The count of every code, from the sums B[v], integer vectors, and the number of items."""
    bits = [1 << k for k in range(max(sums).bit_length())]
    parts = dict(sums)
    for bit in bits:
        for v in (v for v in parts if v & bit and v != bit):
            parts[v] = builder.sub(parts[v], parts[v ^ bit])
    counts = {0: items}
    for v, part in parts.items():
        shift = ir.Constant(part.type, [v.bit_count() - 1] * part.type.count)
        whole = builder.ashr(part, shift)
        counts[v] = whole if v.bit_count() % 2 else builder.neg(whole)
    for bit in bits:
        for v in (v for v in counts if not v & bit and v | bit in counts):
            counts[v] = builder.sub(counts[v], counts[v | bit])
    return counts


@dataclass(frozen=True)
class Scheme:
    """What is counted of an item.

    Attributes
    ----------
    kind
        The lattice kind, for classes.
    planes
        Bits of a code.
    classes
        Where the count of each code goes.
    parities
        The codes whose parities are summed; neighbours in this order differ by few bits.
    """

    kind: str | None
    planes: int
    classes: Mapping[int, int]
    parities: tuple[int, ...]

    def code(self, e: Emitter, spins: Sequence[Any]) -> list[Any]:
        """The planes of an item's code."""
        if self.kind:
            return code_planes(e, self.kind, spins)
        return [e.xor(*spins)]


@cache
def scheme_of(size: int, classes: int) -> Scheme:
    """The scheme for items of so many sites, and so many classes or none."""
    kind, planes, places = None, 1, {1: 0}
    if classes:
        codes = class_codes(KINDS[size - 1, classes])
        kind, planes, places = codes.kind, codes.planes, dict(codes.classes)
    return Scheme(kind, planes, places, tuple(gray_order(code for code in places if code)))


@intrinsic
def encode(
    typingctx: Any,
    spins: Any,
    items: Any,
    item: Any,
    part: Any,
    codes: Any,
    place: Any,
    shape: Any,
) -> Any:
    """Write the code of an item to ``codes[place]``."""
    scheme, words, size = _meaning(shape)
    signature = types.void(spins, items, item, part, codes, place, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[3], words)
        row = builder.mul(args[2], ir.Constant(I64, size))
        sites = indices(builder, pointer(context, builder, items, args[1]), row, size)
        planes = scheme.code(e, [e.load(column, row_of(builder, site)) for site in sites])
        target = pointer(context, builder, codes, args[4])
        _store_all(e, planes, register(builder, target, args[5], scheme.planes * words))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_block(typingctx: Any, codes: Any, sums: Any, pairs: Any, slot: Any, shape: Any) -> Any:
    """Add a block of codes to digits 0 to 2, and leave the pairs of digit 3 in the slot."""
    scheme, words, _ = _meaning(shape)
    signature = types.void(codes, sums, pairs, slot, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        count = len(scheme.parities)
        source = pointer(context, builder, codes, args[0])
        digits = pointer(context, builder, sums, args[1])
        target = pointer(context, builder, pairs, args[2])
        target = register(builder, target, args[3], 2 * count * words)
        block = [_load_all(e, source, scheme.planes, k * scheme.planes) for k in range(BLOCK + 1)]
        running, waiting = block.pop(), []
        for half in (block[:8], block[8:]):
            first, running = code_forms(e, running, half[:4])
            second, running = code_forms(e, running, half[4:])
            values = [parities_of(e, planes, scheme.parities) for planes in (*first, *second)]
            for k, forms in enumerate(zip(*values, strict=True)):
                carried = carries(e, forms[:5]), carries(e, forms[5:])
                pair = add_pairs(e, digits, count + k, *carried)
                if half[0] is block[0]:
                    waiting.append(pair)
                else:
                    pair = add_pairs(e, digits, 2 * count + k, waiting[k], pair)
                    _store_all(e, pair, target, 2 * k)
        _store_all(e, running, source, BLOCK * scheme.planes)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def merge(
    typingctx: Any, sums: Any, pairs: Any, digit: Any, slot: Any, parity: Any, shape: Any
) -> Any:
    """Add both pairs of digit 3 + ``digit``, and leave one in the next digit's slot."""
    scheme, words, _ = _meaning(shape)
    signature = types.void(sums, pairs, digit, slot, parity, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        count = len(scheme.parities)
        total = register(builder, pointer(context, builder, sums, args[0]), args[4], words)
        total = register(builder, total, args[2], count * words)
        here = register(builder, pointer(context, builder, pairs, args[1]), args[4], 2 * words)
        here = register(builder, here, args[2], 4 * count * words)
        old, new = ((a, b) for a, b in (_load_all(e, here, 2, k) for k in (0, 2 * count)))
        pair = add_pairs(e, total, FIRST * count, old, new)
        there = register(builder, here, args[3], 2 * count * words)
        _store_all(e, pair, there, 4 * count)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def write_last_digit(typingctx: Any, codes: Any, sums: Any, shape: Any) -> Any:
    """Digit 0 of all sums, from the running code."""
    scheme, words, _ = _meaning(shape)
    signature = types.void(codes, sums, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        source = pointer(context, builder, codes, args[0])
        running = _load_all(e, source, scheme.planes, BLOCK * scheme.planes)
        digits = [*parities_of(e, running, scheme.parities)]
        _store_all(e, digits, pointer(context, builder, sums, args[1]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose(typingctx: Any, sums: Any, parity: Any, rows: Any, shape: Any) -> Any:
    """Turn the digits of a sum into numbers: row r holds those of lanes r and 32 + r."""
    scheme, words, _ = _meaning(shape)
    signature = types.void(sums, parity, rows, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        count = len(scheme.parities)
        source = register(builder, pointer(context, builder, sums, args[0]), args[1], words)
        target = register(builder, pointer(context, builder, rows, args[2]), args[1], words)
        planes = [e.load(source, k * count * words) for k in range(DEPTH)]
        numbers = transposed(e, [*planes, *[e.zero] * (ROWS - DEPTH)])
        for row, number in enumerate(numbers):
            e.store(number, target, row * (count + 1) * words)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def solve(typingctx: Any, rows: Any, row: Any, items: Any, shape: Any) -> Any:
    """Turn the sums of a row into the counts, in the order of the classes."""
    scheme, words, _ = _meaning(shape)
    signature = types.void(rows, row, items, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        count = len(scheme.parities)
        numbers = ir.VectorType(I32, 2 * words)
        place = pointer(context, builder, rows, args[0])
        place = register(builder, place, args[1], (count + 1) * words)
        sums = [builder.bitcast(sum_, numbers) for sum_ in _load_all(e, place, count)]
        total = builder.insert_element(
            ir.Constant(numbers, ir.Undefined), builder.trunc(args[2], I32), ir.Constant(I32, 0)
        )
        total = builder.shuffle_vector(total, total, ir.Constant(numbers, None))
        found = counts_of(builder, dict(zip(scheme.parities, sums, strict=True)), total)
        for code, target in scheme.classes.items():
            e.store(builder.bitcast(found[code], e.vector), place, target * words)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def write(
    typingctx: Any, rows: Any, row: Any, counts: Any, place: Any, part: Any, shape: Any
) -> Any:
    """Write one count of a row to the table of all."""
    scheme, words, _ = _meaning(shape)
    signature = types.void(rows, row, counts, place, part, shape)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        source = register(builder, pointer(context, builder, rows, args[0]), args[3], words)
        source = register(builder, source, args[1], (len(scheme.parities) + 1) * words)
        target = register(builder, pointer(context, builder, counts, args[2]), args[4], words)
        target = register(builder, target, args[3], 64 * WORDS)
        target = register(builder, target, args[1], WORDS)
        both = e.load(source, 0)
        e.store(e.both(both, e.constant(2**32 - 1)), target, 0)
        e.store(e.shr(both, 32), target, ROWS * WORDS)
        return context.get_dummy_value()

    return signature, codegen


def _meaning(shape: Any) -> tuple[Scheme, int, int]:
    """The scheme, the words of a register, and the sites of an item."""
    size, classes, words = (len(part) for part in shape)
    return scheme_of(size, classes), words, size


def _load_all(e: Emitter, base: Any, count: int, start: int = 0) -> list[Any]:
    return [e.load(base, (start + k) * e.words) for k in range(count)]


def _store_all(e: Emitter, values: Sequence[Any], base: Any, start: int = 0) -> None:
    for k, value in enumerate(values):
        e.store(value, base, (start + k) * e.words)
