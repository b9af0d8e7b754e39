"""Comparing a uniform number with the threshold of each lane's class, plane by plane.

A class has a probability t / 2^32; a lane passes if its uniform number u of 32 bits is below t.
Planes are compared from the most significant bit down. A class's threshold is one word of ones or
zeros a plane, since a word is one point; the plane of a lane is chosen by the algebraic normal form
of the class table, x = t0 ^ c0&t1 ^ c1&t2 ^ c0&c1&t3 ^ ... Some planes run without a test (``hot``,
which changes speed alone); then planes follow one by one while a lane is undecided.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.multispin.simd import Emitter
from latticescape.physics.kernels.multispin.streams import PLANES, Words, random_planes

Load = Callable[[int, int], Any]


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
    t = thresholds(probability).astype(np.uint64)
    places = np.arange(PLANES, dtype=np.uint64)[::-1, None, None]
    planes: Words = ((t >> places) & np.uint64(1)) * np.uint64(2**64 - 1)
    return planes


def normal_form(planes: Words, shape: Sequence[int]) -> Words:
    """Coefficients over products of class bits: exclusive or over all subsets, axis by axis.

    ``shape`` holds the number of classes along every axis of the class number.
    """
    table = planes.reshape(PLANES, *shape, planes.shape[-1])
    for axis in range(1, len(shape) + 1):
        table = np.moveaxis(_subsets(np.moveaxis(table, axis, 0)), 0, axis)
    return table.reshape(planes.shape)


def _subsets(table: Words) -> Words:
    size = len(table)
    rows = [[s for s in range(size) if s & ~m == 0] for m in range(size)]
    return np.stack([np.bitwise_xor.reduce(table[row], axis=0) for row in rows])


def loader(e: Emitter, terms: Any, count: int, start: int = 0) -> Load:
    """Reads the coefficient of a term in a plane, ``count`` terms a plane."""
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
    """One comparison: the threshold plane of each lane, the random bits, and who takes part.

    Attributes
    ----------
    chosen
        From a plane's number to the threshold bits of all lanes.
    fresh
        The outputs of one draw.
    decided
        Lanes that do not take part; they never pass.
    """

    chosen: Callable[[int], Any]
    fresh: list[Any]
    decided: Any


def passed(e: Emitter, trials: Sequence[Trial], hot: int) -> list[Any]:
    """For each trial, the lanes with u < t; trials that share coefficients load them once."""
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
    """The rare planes, each entered only while a lane is undecided."""
    builder, ends = e.builder, []
    done = builder.append_basic_block("decided")
    for k in range(hot, PLANES):
        block = builder.append_basic_block("plane")
        ends.append(([below for below, _ in found], builder.block))
        open_lanes = e.either(*(undecided for _, undecided in found))
        builder.cbranch(e.any_set(open_lanes), block, done).set_weights([1, 15])
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
