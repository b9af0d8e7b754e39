"""Heat-bath single flips of 64 replicas a point, eight points at once: the lane kernel.

Layout
    ``spins: uint64[sites, 8]``: word w of a row is point w, bit l is replica l.
One update of a site
    1. Full adders count the neighbours that are up, bit-sliced.
    2. A uniform number u of 32 bits is compared with the threshold t of the lane's class, plane by
       plane from the most significant bit: up = [u < t]. A class's threshold is one word of ones or
       zeros per plane; the plane of a lane is chosen by the algebraic normal form of the class
       table, x = t0 ^ c0&t1 ^ c1&t2 ^ c0&c1&t3 ^ ... Twelve planes run without a test; then planes
       follow one by one while a lane is undecided.
Random numbers (they define every bit)
    Each word owns an sfc64 generator (state rows a, b, c, counter). A site takes exactly ``FRESH``
    = 6 outputs v0 ... v5 of each word's generator, whatever happens: planes 0 to 5 of u. Plane
    k >= 6 is the exclusive or of three of them, rotated to the left, as ``derived_planes`` lists.
    So what a word draws depends on nothing but itself.
    Every lane's 32 bits are independent and uniform, and so are the 64 bits of any *two* lanes (the
    linear forms have full rank over GF(2), see check.py): every replica is an exact chain, and any
    two replicas are exactly independent, which is all that the variance of a mean over replicas
    needs. Three lanes are independent but for 21 of 1953 classes of triples (all lanes congruent
    modulo 8), and in those only where one lane is undecided after seven planes (2^-7).
Symmetric tables
    Where t[z - n] = 2^32 - t[n] in every word of a register, u and the count are mirrored together
    (u -> ~u), which halves the classes and gives the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from physics.compiled import compiled, intrinsic
from physics.simd import (
    I64,
    WORDS,
    Emitter,
    aligned_copy,
    native_width,
    pack,
    pointer,
    tuple_of,
    unpack,
)

Words = npt.NDArray[np.uint64]
Load = Callable[[int, int], Any]

PLANES = 32
FRESH = 6
HOT = 12
WARM_UP = 18

# (vector, bits to the left): the two rotated vectors common to planes 6 to 11, the third one of
# each of these, and the three of each later plane. Found by search (check.py has the proof).
COMMON = ((0, 8), (1, 16))
THIRD = ((0, 48), (4, 32), (3, 16), (1, 40), (3, 56), (5, 8))
LATER = (
    ((3, 17), (5, 62), (0, 33)),
    ((3, 62), (5, 31), (2, 23)),
    ((4, 19), (1, 9), (5, 49)),
    ((0, 59), (4, 35), (2, 63)),
    ((5, 20), (4, 7), (1, 47)),
    ((0, 36), (2, 7), (3, 23)),
    ((3, 62), (2, 36), (1, 31)),
    ((3, 4), (4, 52), (2, 59)),
    ((4, 47), (0, 54), (5, 26)),
    ((5, 53), (0, 56), (3, 22)),
    ((1, 13), (2, 59), (0, 37)),
    ((1, 52), (5, 35), (4, 29)),
    ((0, 57), (5, 33), (2, 60)),
    ((3, 36), (0, 19), (2, 46)),
    ((0, 53), (4, 60), (2, 35)),
    ((1, 29), (4, 6), (2, 39)),
    ((3, 19), (2, 12), (1, 13)),
    ((1, 31), (0, 5), (2, 6)),
    ((5, 60), (1, 3), (4, 54)),
    ((0, 54), (4, 46), (3, 34)),
)

Plane = tuple[tuple[int, int], ...]


def derived_planes() -> dict[int, Plane]:
    """For every plane from ``FRESH`` on, the rotated vectors whose exclusive or it is."""
    hot: dict[int, Plane] = {FRESH + j: (*COMMON, third) for j, third in enumerate(THIRD)}
    return hot | {HOT + j: plane for j, plane in enumerate(LATER)}


DERIVED = derived_planes()


def threshold_planes(p_up: npt.ArrayLike) -> Words:
    """Bit planes, most significant first, of t = P(up)·2^32 rounded and kept within 1 … 2^32 − 1.

    Parameters
    ----------
    p_up
        P(up), (classes, 8); with two shells class n1·(z2 + 1) + n2.

    Returns
    -------
    ndarray
        (32, classes, 8) uint64, words of zeros or ones.
    """
    top = 2.0**PLANES
    t = np.clip(np.rint(np.asarray(p_up, float) * top), 1, top - 1).astype(np.uint64)
    places = np.arange(PLANES, dtype=np.uint64)[::-1, None, None]
    planes: Words = ((t >> places) & np.uint64(1)) * np.uint64(2**64 - 1)
    return planes


def seed_state(seeds: Words) -> Words:
    """sfc64 states (4, 8) from one 256-bit seed a word, (8, 4), after 18 outputs thrown away."""
    a, b, c, counter = (np.array(seeds[:, k], np.uint64) for k in range(4))
    with np.errstate(over="ignore"):
        for _ in range(WARM_UP):
            out = a + b + counter
            counter = counter + np.uint64(1)
            a = b ^ (b >> np.uint64(11))
            b = c + (c << np.uint64(3))
            c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + out
    return aligned_copy(np.stack([a, b, c, counter]))


@dataclass(frozen=True, eq=False)
class Rule:
    """Class tables in the form the kernel reads: for each register its terms and symmetry.

    ``shells`` and ``width`` are tuples of zeros: their lengths are compile-time numbers.
    """

    shells: tuple[tuple[int, ...], ...]
    width: tuple[int, ...]
    terms: tuple[Words, ...]
    symmetric: tuple[tuple[int, ...], ...]


def rule(
    planes: Words,
    shells: Sequence[int],
    width: tuple[int, ...] | None = None,
    fold: bool = True,
) -> Rule:
    """Prepare threshold planes (32, classes, 8) for shells of z1 (and z2) neighbours.

    ``width`` and ``fold`` change speed alone, never a bit.
    """
    zeros = native_width() if width is None else width
    words = len(zeros)
    parts = [planes[:, :, k : k + words] for k in range(0, WORDS, words)]
    even = [fold and is_symmetric(part, shells) for part in parts]
    terms = [
        folded_terms(p) if s else normal_form(p, shells) for p, s in zip(parts, even, strict=True)
    ]
    return Rule(
        shells=tuple((0,) * z for z in shells),
        width=zeros,
        terms=tuple(aligned_copy(t) for t in terms),
        symmetric=tuple((0,) * int(s) for s in even),
    )


def is_symmetric(planes: Words, shells: Sequence[int]) -> bool:
    """Whether t[z − n] = 2^32 − t[n] in every word, for one shell of 3, 4 or 6 neighbours."""
    if len(shells) != 1 or shells[0] not in FOLDS:
        return False
    places = np.arange(PLANES, dtype=np.uint64)[::-1, None, None]
    t = np.sum((planes & np.uint64(1)) << places, axis=0)
    return bool(np.all(t + t[::-1] == np.uint64(2**PLANES)))


def normal_form(planes: Words, shells: Sequence[int]) -> Words:
    """Coefficients over products of count bits: exclusive or over all subsets, shell by shell."""
    table = planes.reshape(PLANES, *(z + 1 for z in shells), planes.shape[-1])
    for axis in range(1, len(shells) + 1):
        table = np.moveaxis(_subsets(np.moveaxis(table, axis, 0)), 0, axis)
    return table.reshape(planes.shape)


def _subsets(table: Words) -> Words:
    size = len(table)
    rows = [[s for s in range(size) if s & ~m == 0] for m in range(size)]
    return np.stack([np.bitwise_xor.reduce(table[row], axis=0) for row in rows])


def folded_terms(planes: Words) -> Words:
    """Coefficients of a symmetric table: the middle class, then what the others differ by."""
    z = planes.shape[1] - 1
    middle = planes[:, z // 2 : z // 2 + 1]
    return np.concatenate([middle, planes[:, : z // 2] ^ middle], axis=1)


def advance(spins: Words, neighbors: npt.NDArray[Any], table: Rule, state: Words, mcs: int) -> None:
    """``mcs`` Monte Carlo steps, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    neighbors
        (sites, z1 + z2) int32 or int64, the shells side by side.
    table
        From :func:`rule`.
    state
        (4, 8) uint64, from :func:`seed_state`; advanced by 6 outputs a site and word.
    """
    for part, terms in enumerate(table.terms):
        symmetric = table.symmetric[part]
        heat_bath(spins, neighbors, terms, state, part, mcs, table.width, table.shells, symmetric)


@compiled
def heat_bath(
    spins: Any,
    neighbors: Any,
    terms: Any,
    state: Any,
    part: Any,
    mcs: Any,
    width: Any,
    shells: Any,
    symmetric: Any,
) -> None:
    """Sweeps over all sites in order, for the words of one register."""
    generator = load_state(state, part, width)
    for _ in range(mcs):
        for site in range(neighbors.shape[0]):
            generator = update(spins, neighbors, site, terms, part, generator, shells, symmetric)
    store_state(state, part, generator)


@intrinsic
def load_state(typingctx: Any, state: Any, part: Any, width: Any) -> Any:
    """The generators of one register: a tuple of four vectors."""
    words = len(width)
    signature = tuple_of(words, 4)(state, part, width)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        place = _register(builder, pointer(context, builder, state, args[0]), args[1], words)
        return pack(context, builder, sig.return_type, [e.load(place, 8 * k) for k in range(4)])

    return signature, codegen


@intrinsic
def store_state(typingctx: Any, state: Any, part: Any, generator: Any) -> Any:
    """Write the generators of one register back."""
    words = generator.dtype.words
    signature = types.void(state, part, generator)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        place = _register(builder, pointer(context, builder, state, args[0]), args[1], words)
        for k, row in enumerate(unpack(builder, args[2], 4)):
            e.store(row, place, 8 * k)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def update(
    typingctx: Any,
    spins: Any,
    neighbors: Any,
    site: Any,
    terms: Any,
    part: Any,
    generator: Any,
    shells: Any,
    symmetric: Any,
) -> Any:
    """Draw one site anew; returns the generators."""
    words, sizes, mirrored = generator.dtype.words, [len(s) for s in shells], len(symmetric) > 0
    signature = generator(spins, neighbors, site, terms, part, generator, shells, symmetric)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = _register(builder, pointer(context, builder, spins, args[0]), args[4], words)
        table = pointer(context, builder, neighbors, args[1])
        row = builder.mul(args[2], ir.Constant(I64, sum(sizes)))
        bits = [e.load(column, _row(builder, n)) for n in _indices(builder, table, row, sum(sizes))]
        fresh, after = draw(e, unpack(builder, args[5], 4))
        chosen = _chooser(e, bits, sizes, mirrored, pointer(context, builder, terms, args[3]))
        e.store(compare(e, fresh, chosen), column, _row(builder, args[2]))
        return pack(context, builder, sig.return_type, after)

    return signature, codegen


def _register(builder: Any, base: Any, part: Any, words: int) -> Any:
    return builder.gep(base, [builder.mul(part, ir.Constant(I64, words))])


def _row(builder: Any, site: Any) -> Any:
    return builder.mul(site, ir.Constant(I64, WORDS))


def _indices(builder: Any, table: Any, row: Any, count: int) -> list[Any]:
    places = [builder.gep(table, [builder.add(row, ir.Constant(I64, k))]) for k in range(count)]
    values = [builder.load(place) for place in places]
    return [v if v.type == I64 else builder.zext(v, I64) for v in values]


def draw(e: Emitter, generator: list[Any]) -> tuple[list[Any], list[Any]]:
    """``FRESH`` outputs of sfc64, and its state after them."""
    a, b, c, counter = generator
    out = []
    for _ in range(FRESH):
        value = e.add(a, b, counter)
        counter = e.add(counter, e.constant(1))
        a = e.xor(b, e.shr(b, 11))
        b = e.add(c, e.shl(c, 3))
        c = e.add(e.rotl(c, 24), value)
        out.append(value)
    return out, [a, b, c, counter]


def count_bits(e: Emitter, inputs: Sequence[Any]) -> list[Any]:
    """The number of set inputs, bit-sliced: a tree of full and half adders."""
    columns, bits = [list(inputs)], []
    while columns[-1]:
        columns.append([])
        column = columns[-2]
        while len(column) > 1:
            total, carry = _full_adder(e, column.pop(0), column.pop(0), column[:1])
            column[:1] = []
            column.append(total)
            columns[-1].append(carry)
        bits.append(column[0])
    return bits[: len(inputs).bit_length()]


def _full_adder(e: Emitter, a: Any, b: Any, third: list[Any]) -> tuple[Any, Any]:
    half, both = e.xor(a, b), e.both(a, b)
    if not third:
        return half, both
    return e.xor(half, third[0]), e.either(e.both(half, third[0]), both)


def _chooser(
    e: Emitter, bits: list[Any], sizes: list[int], mirrored: bool, terms: Any
) -> Callable[[int], Any]:
    """The function from a plane's number to the threshold bits of all lanes."""
    first, rest = bits[: sizes[0]], bits[sizes[0] :]
    count = count_bits(e, first)
    if mirrored:
        flip, masks = FOLDS[sizes[0]](e, count)
        load = _loader(e, terms, len(masks) + 1)
        return lambda k: e.xor(_linear(e, load, k, 0, masks), flip)
    products = _products(e, count, sizes[0])
    if not rest:
        load = _loader(e, terms, sizes[0] + 1)
        return lambda k: _linear(e, load, k, 0, products)
    return _two_shells(e, products, _products(e, count_bits(e, rest), sizes[1]), terms)


def _two_shells(
    e: Emitter, first: list[Any], second: list[Any], terms: Any
) -> Callable[[int], Any]:
    stride = len(second) + 1
    load = _loader(e, terms, (len(first) + 1) * stride)

    def chosen(k: int) -> Any:
        inner = [_linear(e, load, k, n * stride, second) for n in range(len(first) + 1)]
        return e.xor(inner[0], *(e.both(m, v) for m, v in zip(first, inner[1:], strict=True)))

    return chosen


def _loader(e: Emitter, terms: Any, count: int) -> Load:
    return lambda plane, term: e.load(terms, (plane * count + term) * e.words)


def _linear(e: Emitter, load: Load, plane: int, start: int, masks: list[Any]) -> Any:
    products = [e.both(mask, load(plane, start + 1 + m)) for m, mask in enumerate(masks)]
    return e.xor(load(plane, start), *products)


def _products(e: Emitter, count: list[Any], z: int) -> list[Any]:
    """Products of count bits, one for each number from 1 to z."""
    return [e.both(*(bit for k, bit in enumerate(count) if n >> k & 1)) for n in range(1, z + 1)]


def _fold_3(e: Emitter, count: list[Any]) -> tuple[Any, list[Any]]:
    return count[1], [e.inverse(e.xor(count[0], count[1]))]


def _fold_4(e: Emitter, count: list[Any]) -> tuple[Any, list[Any]]:
    one, two, four = count
    return e.either(four, e.both(one, two)), [e.inverse(e.either(one, two)), one]


def _fold_6(e: Emitter, count: list[Any]) -> tuple[Any, list[Any]]:
    one, two, four = count
    apart = e.xor(two, four)
    masks = [e.inverse(e.either(one, apart)), e.both(one, e.inverse(two)), None]
    masks[2] = e.both(apart, e.inverse(one))
    return four, masks


# By z: whether n > z/2, and the masks of min(n, z − n) = 0, 1, … below the middle class.
FOLDS: dict[int, Callable[[Emitter, list[Any]], tuple[Any, list[Any]]]] = {
    3: _fold_3,
    4: _fold_4,
    6: _fold_6,
}


def compare(e: Emitter, fresh: list[Any], chosen: Callable[[int], Any]) -> Any:
    """up = [u < t], plane by plane from the top."""
    up, decided = e.zero, e.zero
    rotated: dict[Any, Any] = {}
    for k in range(HOT):
        r = random_plane(e, fresh, k, rotated)
        differ = e.xor(chosen(k), r)
        new = e.both(differ, e.inverse(decided))
        up = e.either(up, e.both(new, e.inverse(r)))
        decided = e.either(decided, differ)
    return _tail(e, fresh, chosen, up, e.inverse(decided))


def _tail(e: Emitter, fresh: list[Any], chosen: Any, up: Any, undecided: Any) -> Any:
    """The rare planes, each entered only while a lane is undecided."""
    builder, ends = e.builder, []
    done = builder.append_basic_block("decided")
    for k in range(HOT, PLANES):
        block = builder.append_basic_block("plane")
        ends.append((up, builder.block))
        builder.cbranch(e.any_set(undecided), block, done).set_weights([1, 15])
        builder.position_at_end(block)
        x, r = chosen(k), random_plane(e, fresh, k, {})
        up = e.either(up, e.both(undecided, x, e.inverse(r)))
        undecided = e.both(undecided, e.inverse(e.xor(x, r)))
    ends.append((up, builder.block))
    builder.branch(done)
    builder.position_at_end(done)
    result = builder.phi(e.vector)
    for value, block in ends:
        result.add_incoming(value, block)
    return result


def random_plane(e: Emitter, fresh: list[Any], plane: int, rotated: dict[Any, Any]) -> Any:
    """Plane of the uniform numbers; ``rotated`` remembers what several planes share."""
    if plane < FRESH:
        return fresh[plane]
    for vector, bits in DERIVED[plane]:
        if (vector, bits) not in rotated:
            rotated[vector, bits] = e.rotl(fresh[vector], bits)
    parts = [rotated[term] for term in DERIVED[plane]]
    if DERIVED[plane][:2] != COMMON:
        return e.xor(*parts)
    if "common" not in rotated:
        rotated["common"] = e.xor(*parts[:2])
    return e.xor(rotated["common"], parts[2])
