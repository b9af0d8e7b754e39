"""Bit planes of uniform random numbers from sfc64, and their comparison with thresholds.

Each word (a point) owns a generator: rows a, b, c and counter of the state. What it draws depends
on nothing but itself. A draw takes ``FRESH`` = 6 outputs v0 ... v5 of each word's generator and
makes one uniform number of 32 bits for each of its 64 replicas: planes 0 to 5 are the outputs,
plane k >= 6 is the exclusive or of three of them, rotated to the left, as ``derived_planes`` lists.

Every replica's 32 bits are independent and uniform, and so are the 64 bits of any *two* (the
linear forms have full rank over GF(2)): every replica is an exact chain, and any two replicas are
exactly independent, which is all that the variance of a mean over replicas needs. Three replicas
are independent except in 21 of 1953 classes of triples (all bits congruent modulo 8), and in those
only where one replica is undecided after seven planes (2^-7).

References
----------
sfc64: Doty-Humphrey, PractRand (2010); the same generator is ``numpy.random.SFC64``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from latticescape.physics.compiled import intrinsic
from latticescape.physics.kernels.boltzmann import ATTEMPTED
from latticescape.physics.kernels.multispin.simd import (
    Emitter,
    aligned_copy,
    pack,
    pointer,
    register,
    tuple_of,
    unpack,
)

Load = Callable[[int, int], Any]

Words = npt.NDArray[np.uint64]

Planes = Callable[[int], Any]

PLANES = 32

FRESH = 6

WARM_UP = 18

# (vector, bits to the left): the two rotated vectors common to planes 6 to 11, the third one of
# each of these, and the three of each later plane. Found by search; the proof stands in
# tests/support/plane_table.py.
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


def thresholds(probability: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """t = p·2^32, rounded and kept within 1 … 2^32 − 1."""
    top = 2.0**PLANES
    return np.clip(np.rint(np.asarray(probability, float) * top), 1, top - 1).astype(np.uint32)


def threshold_planes(probability: npt.ArrayLike) -> Words:
    """Bit planes of :func:`thresholds`, the most significant first.

    Parameters
    ----------
    probability
        (classes, 8).

    Returns
    -------
    ndarray
        (32, classes, 8) uint64, words of zeros or ones.
    """
    return _bit_planes(thresholds(probability), PLANES)


def metropolis_thresholds(up: npt.ArrayLike) -> Words:
    """Thresholds of a flip to the less probable of two states, times two, and one where up is the
    more probable one.

    Parameters
    ----------
    up
        Probability of up in equilibrium.
    """
    p = np.asarray(up, float)
    less = np.minimum(p, 1 - p)
    t = thresholds(ATTEMPTED * less / (1 - less)).astype(np.uint64)
    found: Words = t << np.uint64(1) | (p > 0.5).astype(np.uint64)
    return found


def metropolis_planes(up: npt.ArrayLike) -> Words:
    """Bit planes of :func:`metropolis_thresholds`, (33, classes, 8): the last one tells where up is
    the more probable state."""
    return _bit_planes(metropolis_thresholds(up), PLANES + 1)


def _bit_planes(numbers: npt.NDArray[Any], count: int) -> Words:
    places = np.arange(count, dtype=np.uint64)[::-1, None, None]
    bits = (numbers.astype(np.uint64) >> places) & np.uint64(1)
    planes: Words = bits * np.uint64(2**64 - 1)
    return planes


def normal_form(planes: Words, shape: Sequence[int]) -> Words:
    """Coefficients over products of class bits: exclusive or over all subsets, axis by axis.

    ``shape`` holds the number of classes along every axis of the class number.
    """
    table = planes.reshape(len(planes), *shape, planes.shape[-1])
    for axis in range(1, len(shape) + 1):
        table = np.moveaxis(_subsets(np.moveaxis(table, axis, 0)), 0, axis)
    return table.reshape(planes.shape)


def _subsets(table: Words) -> Words:
    size = len(table)
    rows = [[s for s in range(size) if s & ~m == 0] for m in range(size)]
    return np.stack([np.bitwise_xor.reduce(table[row], axis=0) for row in rows])


def loader(e: Emitter, terms: Any, count: int, start: int = 0) -> Load:
    """Return a function that loads a coefficient by plane and term; a plane has ``count`` terms."""
    return lambda plane, term: e.load(terms, (start + plane * count + term) * e.words)


def linear(e: Emitter, load: Load, plane: int, start: int, masks: Sequence[Any]) -> Any:
    """The coefficient at ``start``, and those that follow, each where its mask is set."""
    products = [e.both(mask, load(plane, start + 1 + m)) for m, mask in enumerate(masks)]
    return e.xor(load(plane, start), *products)


def products(e: Emitter, bits: Sequence[Any], most: int) -> list[Any]:
    """Products of class bits, one for each number from 1 to ``most``."""
    return [e.both(*(b for k, b in enumerate(bits) if n >> k & 1)) for n in range(1, most + 1)]


@dataclass(frozen=True)
class Trial:
    """One comparison: the threshold planes, the random bits, and the replicas that take part.

    Attributes
    ----------
    chosen
        Function from a bit plane's number to the threshold bits of all replicas.
    fresh
        The outputs of one draw.
    decided
        Replicas that do not take part; they never pass.
    """

    chosen: Callable[[int], Any]
    fresh: list[Any]
    decided: Any


def passed(e: Emitter, trials: Sequence[Trial], hot: int) -> list[Any]:
    """For each trial, the replicas with u < t; trials that share coefficients load them once."""
    return _tail(e, trials, hot, _hot_planes(e, trials, hot))


def _hot_planes(e: Emitter, trials: Sequence[Trial], hot: int) -> list[tuple[Any, Any]]:
    """From the least of them up: where digits are alike, what stood below them decides."""
    randoms = [random_planes(e, trial.fresh) for trial in trials]
    below, decided = [e.zero for _ in trials], [trial.decided for trial in trials]
    for k in reversed(range(hot)):
        chosen = [trial.chosen(k) for trial in trials]
        for t, (x, random) in enumerate(zip(chosen, randoms, strict=True)):
            differ = e.xor(x, random(k))
            below[t] = e.either(e.both(differ, x), e.both(e.inverse(differ), below[t]))
            decided[t] = e.either(decided[t], differ)
    return [
        (e.both(below[t], e.inverse(trial.decided)), e.inverse(decided[t]))
        for t, trial in enumerate(trials)
    ]


def _tail(e: Emitter, trials: Sequence[Trial], hot: int, found: list[tuple[Any, Any]]) -> list[Any]:
    """The rare planes, each entered only while a replica is undecided."""
    builder, ends = e.builder, []
    done = builder.append_basic_block("decided")
    for k in range(hot, PLANES):
        block = builder.append_basic_block("plane")
        ends.append(([below for below, _ in found], builder.block))
        open_bits = e.either(*(undecided for _, undecided in found))
        builder.cbranch(e.any_set(open_bits), block, done).set_weights([1, 15])
        builder.position_at_end(block)
        found = [_plane(e, trial, k, *pair) for trial, pair in zip(trials, found, strict=True)]
    ends.append(([below for below, _ in found], builder.block))
    builder.branch(done)
    builder.position_at_end(done)
    results = [builder.phi(e.vector) for _ in trials]
    for values, block in ends:
        for result, value in zip(results, values, strict=True):
            result.add_incoming(value, block)
    return results


def _plane(e: Emitter, trial: Trial, k: int, below: Any, undecided: Any) -> tuple[Any, Any]:
    x, r = trial.chosen(k), random_planes(e, trial.fresh)(k)
    below = e.either(below, e.both(undecided, x, e.inverse(r)))
    return below, e.both(undecided, e.inverse(e.xor(x, r)))


def derived_planes() -> dict[int, Plane]:
    """For every plane from ``FRESH`` on, the rotated vectors whose exclusive or it is."""
    near: dict[int, Plane] = {FRESH + j: (*COMMON, third) for j, third in enumerate(THIRD)}
    return near | {FRESH + len(THIRD) + j: plane for j, plane in enumerate(LATER)}


DERIVED = derived_planes()


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


@intrinsic
def load_state(typingctx: Any, state: Any, part: Any, width: Any) -> Any:
    """The generators of one register: a tuple of four vectors."""
    words = len(width)
    signature = tuple_of(words, 4)(state, part, width)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        place = register(builder, pointer(context, builder, state, args[0]), args[1], words)
        return pack(context, builder, sig.return_type, [e.load(place, 8 * k) for k in range(4)])

    return signature, codegen


@intrinsic
def store_state(typingctx: Any, state: Any, part: Any, generator: Any) -> Any:
    """Write the generators of one register back."""
    words = generator.dtype.words
    signature = types.void(state, part, generator)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        place = register(builder, pointer(context, builder, state, args[0]), args[1], words)
        for k, row in enumerate(unpack(builder, args[2], 4)):
            e.store(row, place, 8 * k)
        return context.get_dummy_value()

    return signature, codegen


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


def random_planes(e: Emitter, fresh: list[Any]) -> Planes:
    """The function from a plane's number to its bits, given the outputs of one draw.

    It remembers what several planes share, so call it for all planes of one basic block; later
    blocks take a new one.
    """
    rotated: dict[Any, Any] = {}

    def term(vector: int, bits: int) -> Any:
        if (vector, bits) not in rotated:
            rotated[vector, bits] = e.rotl(fresh[vector], bits)
        return rotated[vector, bits]

    def plane(k: int) -> Any:
        if k < FRESH:
            return fresh[k]
        first, second, third = DERIVED[k]
        if (first, second) not in rotated:
            rotated[first, second] = e.xor(term(*first), term(*second))
        return e.xor(rotated[first, second], term(*third))

    return plane
