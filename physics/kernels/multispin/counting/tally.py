"""The steps of counting in the lanes, as instructions.

Every item has a code of a few bits a lane: its spin, or whether its ends differ, or the code of its
class (``class_codes``). Parities of codes are summed (``parities``) in four tables:

``codes``
    (17, planes of a code, words): the codes of a block, and the running code.
``sums``
    (26, parities, words): the digits of the sums, but digit 0, which is the running code.
``pairs``
    (digits from 3 on, 4 · parities, words): two slots, each with a pair for every parity.
``rows``
    (32, parities + 1, words): the sums as numbers, then the counts.

``shape`` says at compile time what is counted: three tuples of zeros, as long as an item has sites,
as there are classes (0 for spins and bonds), and as a register has words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from latticescape.physics.compiled import intrinsic
from latticescape.physics.kernels.multispin.counting.class_codes import class_codes, code_planes
from latticescape.physics.kernels.multispin.counting.parities import (
    ROWS,
    add_pairs,
    carries,
    code_forms,
    counts_of,
    gray_order,
    parities_of,
    transposed,
)
from latticescape.physics.kernels.multispin.simd import (
    I32,
    I64,
    WORDS,
    Emitter,
    indices,
    pointer,
    register,
    row_of,
)

BLOCK = 16  # items
FIRST = 3  # the digit for which a block leaves a pair
DEPTH = 26  # digits of a sum: up to 2^26 - 1 items

# (z, number of classes) tells the lattice kinds apart.
KINDS = {(4, 12): "square", (6, 26): "triangular", (3, 8): "honeycomb", (6, 20): "cubic"}


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
