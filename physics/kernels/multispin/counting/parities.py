"""Bit-sliced sums of the parities of codes, and the counts of codes that follow from them.

Parities
    What is summed is, for every code v that can occur except 0, the number B[v] of items whose
    code has an odd number of the bits of v. The parity of an exclusive or is the exclusive or of
    the parities. So the lowest digit of all sums together is one running code, and all that enters
    the carries of four codes is five exclusive ors of them, each one gate away for the next v.
Sums
    Digit k of a sum is a plane of weight 2^k. Two pairs of bits of weight 2^k are added to digit k
    and leave one pair of weight 2^(k+1). A pair is (x, x ^ y), which makes this eight gates
    (Demenkov, Kojevnikov, Kulikov and Yaroslavtsev, Inf. Process. Lett. 110, 264 (2010)).
Counts
    At the end planes and lanes are transposed. With A[s] the number of items whose code has all
    bits of s, B[v] is the sum of (-2)^(|s|-1) A[s] over the parts s of v but 0, and A[s] is the
    sum of the counts of all codes that s is a part of. Both are solved exactly, bit by bit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llvmlite import ir

from latticescape.physics.kernels.multispin.simd import Emitter

Pair = tuple[Any, Any]

ROWS = 32  # of a transposed word: two numbers of 32 bits


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
