"""Multispin coding of single flips by heat bath or Metropolis' rule: 64 replicas of eight points.

Layout
    ``spins: uint64[sites, 8]``: word w of a row is point w, bit r is replica r.
One update of a site
    1. Bit-sliced full adders count the neighbours that are up: the class of each replica.
    2. A uniform number is compared with the class's P(up) (:mod:`thresholds`); a site takes
       exactly one draw of each word's generator (:mod:`streams`), whatever happens.
       Where bonds have a sign, neighbours over negative ones count as turned over.
    3. With more than two couplings, a change has to pass the others' filters as well
       (:func:`filtered`), each with a draw of its own.
Metropolis' rule
    A flip is attempted with probability 63/64, and made with probability min(1, exp(−ΔE/T)). The
    thresholds of a class are those of the flip to its less probable state; one more bit plane of
    the table tells which one that is. The other flip needs no comparison (:func:`metropolis`).
    If it were always made, a sweep in a fixed order would move some spins along a cycle for ever.
Symmetric tables
    Where t[z - n] = 2^32 - t[n] in every word of a register, u and the count are mirrored together
    (u -> ~u), which halves the classes and gives the same bits. So does t[z - n] = t[n] with
    Metropolis' rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from latticescape.physics.compiled import compiled, intrinsic
from latticescape.physics.kernels.boltzmann import boltzmann
from latticescape.physics.kernels.multispin.simd import (
    I64,
    WORDS,
    Emitter,
    aligned_copy,
    count_bits,
    indices,
    native_width,
    pack,
    pointer,
    register,
    registers_of,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import (
    PLANES,
    Load,
    Planes,
    Trial,
    Words,
    draw,
    linear,
    load_state,
    loader,
    normal_form,
    passed,
    products,
    store_state,
    threshold_planes,
)

Sites = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Signs = npt.NDArray[np.uint8]

UNSIGNED = np.empty((0, 0), np.uint8)

# Sites of a strip. A sweep visits strip after strip, so that the spins of one stay in the cache.
STRIP = 2048

# Bit planes without a test: 512 replicas are mostly decided after them. Changes only speed.
HOT = 12

# The same with two shells, whose tables have more terms.
FEW_HOT = 10

# Bit planes of the filters without a test: few replicas change. Changes only speed.
FILTER_HOT = 10


@dataclass(frozen=True, eq=False)
class HeatBathRule:
    """Class tables in the form the kernel reads: for each register its terms and symmetry.

    ``shells``, ``filters``, ``width`` and ``metropolis`` (empty with heat bath) are tuples of
    zeros: their lengths are compile-time numbers.
    """

    shells: tuple[tuple[int, ...], ...]
    filters: tuple[tuple[int, ...], ...]
    width: tuple[int, ...]
    terms: tuple[Words, ...]
    symmetric: tuple[tuple[int, ...], ...]
    filter_terms: tuple[Words, ...]
    metropolis: tuple[int, ...]


def rule(
    planes: Words,
    shells: Sequence[int],
    width: tuple[int, ...] | None = None,
    fold: bool = True,
    filters: tuple[Sequence[int], Floats] = ((), np.empty((0, WORDS))),
) -> HeatBathRule:
    """Prepare planes of thresholds for shells of z1 (and z2) neighbours.

    (32, classes, 8) planes of P(up) make a heat bath, the 33 of :func:`metropolis_planes`
    Metropolis' rule. ``filters`` are the sizes and steps of :func:`filter_terms`; ``width`` and
    ``fold`` change only speed, never a bit.
    """
    zeros = native_width() if width is None else width
    words = len(zeros)
    parts = [planes[:, :, k : k + words] for k in range(0, WORDS, words)]
    even = [fold and is_symmetric(part, shells) for part in parts]
    terms = [
        folded_terms(p) if s else normal_form(p, [z + 1 for z in shells])
        for p, s in zip(parts, even, strict=True)
    ]
    sizes, steps = filters
    further = filter_terms(steps, sizes)
    return HeatBathRule(
        shells=tuple((0,) * z for z in shells),
        filters=tuple((0,) * z for z in sizes),
        width=zeros,
        terms=tuple(aligned_copy(t) for t in terms),
        symmetric=tuple((0,) * int(s) for s in even),
        filter_terms=tuple(aligned_copy(further[:, k : k + words]) for k in range(0, WORDS, words)),
        metropolis=(0,) * (len(planes) - PLANES),
    )


def is_symmetric(planes: Words, shells: Sequence[int]) -> bool:
    """Whether t[z − n] = 2^32 − t[n] in every word, for one shell of 3, 4 or 6 neighbours; with
    Metropolis' rule t[z − n] = t[n], of the flip in the other direction."""
    if len(shells) != 1 or shells[0] not in FOLDS:
        return False
    if len(planes) > PLANES:
        mirrored = planes[:, ::-1].copy()
        mirrored[PLANES] = ~mirrored[PLANES]
        return bool(np.all((planes == mirrored)[:, : (shells[0] + 1) // 2]))
    places = np.arange(PLANES, dtype=np.uint64)[::-1, None, None]
    t = np.sum((planes & np.uint64(1)) << places, axis=0)
    return bool(np.all(t + t[::-1] == np.uint64(2**PLANES)))


def folded_terms(planes: Words) -> Words:
    """Coefficients of a symmetric table: the middle class, then what the others differ by."""
    z = planes.shape[1] - 1
    middle = planes[:, z // 2 : z // 2 + 1]
    return np.concatenate([middle, planes[:, : z // 2] ^ middle], axis=1)


def sweep_order(sites: int) -> Sites:
    """Strip by strip (:data:`STRIP`) every other site and then the rest, so that a site need not
    wait for the one before it."""
    numbers = np.arange(sites)
    order: Sites = np.lexsort((numbers, numbers % 2, numbers // STRIP))
    return order


def visits(neighbors: Sites, order: npt.ArrayLike | None = None) -> Sites:
    """The sites in the order of a sweep, each with its neighbours, as the kernel reads them.

    Parameters
    ----------
    neighbors
        (sites, z1 + z2 + …), the shells and then the filters' neighbours side by side.
    order
        Every site once; by default :func:`sweep_order`.

    Returns
    -------
    ndarray
        (sites, 1 + z1 + z2 + …) int32: numbers of words before the rows of a site and of its
        neighbours.
    """
    chosen = sweep_order(len(neighbors)) if order is None else np.asarray(order)
    rows = np.concatenate([chosen[:, None], neighbors[chosen]], axis=1) * WORDS
    return np.ascontiguousarray(rows, dtype=np.int32)


def advance(
    spins: Words,
    visited: Sites,
    table: HeatBathRule,
    state: Words,
    mcs: int,
    signs: Signs = UNSIGNED,
    words: int = WORDS,
) -> None:
    """``mcs`` Monte Carlo steps, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    visited
        From :func:`visits`.
    table
        From :func:`rule`.
    state
        (4, 8) uint64, from :func:`seed_state`; advanced by 6 outputs a site and word, and by as
        many for each filter.
    signs
        Of bonds that are not all alike: a byte for each neighbour in ``visited``, whose bit w is
        set where the bond is negative for point w.
    words
        Number of words that hold points, which are the first ones. Registers without a point are
        not computed.
    """
    for part in range(registers_of(words, table.width)):
        heat_bath(*arguments(spins, visited, table, state, part, mcs, signs))


def arguments(
    spins: Words,
    visited: Sites,
    table: HeatBathRule,
    state: Words,
    part: int,
    mcs: int,
    signs: Signs,
) -> tuple[Any, ...]:
    """What :func:`heat_bath` takes for the words of one register."""
    tables = (table.terms[part], table.filter_terms[part], signs)
    signed = (0,) * bool(signs.size)
    kinds = (table.shells, table.filters, table.symmetric[part], signed, table.metropolis)
    return spins, visited, tables, state, part, mcs, table.width, kinds


@compiled
def heat_bath(
    spins: Any,
    visited: Any,
    tables: Any,
    state: Any,
    part: Any,
    mcs: Any,
    width: Any,
    kinds: Any,
) -> None:
    """Sweeps over all sites, for the words of one register."""
    generator = load_state(state, part, width)
    for _ in range(mcs):
        for visit in range(visited.shape[0]):
            generator = update(spins, visited, visit, tables, part, generator, kinds)
    store_state(state, part, generator)


@intrinsic
def update(
    typingctx: Any,
    spins: Any,
    visited: Any,
    visit: Any,
    tables: Any,
    part: Any,
    generator: Any,
    kinds: Any,
) -> Any:
    """Draw one site anew; returns the generators."""
    words, (shells, further, mirrored, signed, certain) = generator.dtype.words, kinds
    sizes, filters = [len(s) for s in shells], [len(s) for s in further]
    z = sum(sizes) + sum(filters)
    signature = generator(spins, visited, visit, tables, part, generator, kinds)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[4], words)
        heat, filter_, signs = (
            pointer(context, builder, kind, builder.extract_value(args[3], k))
            for k, kind in enumerate(tables)
        )
        rows = pointer(context, builder, visited, args[1])
        row = builder.mul(args[2], ir.Constant(I64, 1 + z))
        site, *around = indices(builder, rows, row, 1 + z)
        bits = [e.load(column, place) for place in around]
        if len(signed):
            own = builder.gep(signs, [builder.mul(args[2], ir.Constant(I64, z))])
            bits = [e.xor(bit, e.spread(own, k, args[4])) for k, bit in enumerate(bits)]
        batches = split(bits, [*sizes, *filters])
        fresh, after = draw(e, unpack(builder, args[5], 4))
        turned, hot = PLANES if len(certain) else 0, FEW_HOT if len(sizes) > 1 else HOT
        chosen = _chooser(e, batches[: len(sizes)], len(mirrored) > 0, heat, turned)
        old = e.load(column, site)
        if len(certain):
            new = metropolis(e, old, chosen, fresh, hot)
        else:
            new = passed(e, [Trial(chosen, fresh, e.zero)], hot)[0]
        if filters:
            new, after = filtered(e, old, new, batches[len(sizes) :], filter_, after)
        e.store(new, column, site)
        return pack(context, builder, sig.return_type, after)

    return signature, codegen


def metropolis(e: Emitter, old: Any, chosen: Planes, fresh: list[Any], hot: int) -> Any:
    """The spin after one draw: planes of :func:`metropolis_planes`, all but the last compared."""
    unlikely = e.xor(old, chosen(PLANES))
    (risen,) = passed(e, [Trial(chosen, fresh, unlikely)], hot)
    # A number above the part of flips that are attempted begins with six ones.
    attempted = e.inverse(e.both(*fresh[:6]))
    return e.xor(old, risen, e.both(unlikely, attempted))


def split(values: Sequence[Any], sizes: Sequence[int]) -> list[Sequence[Any]]:
    """Consecutive parts of some sizes."""
    ends = [*accumulate(sizes)]
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _chooser(
    e: Emitter, shells: Sequence[Sequence[Any]], mirrored: bool, terms: Any, turned: int
) -> Planes:
    """The function from a bit plane's number to the threshold bits of all replicas.

    If tables are symmetric, the planes from ``turned`` on are turned over for n > z/2.
    """
    first, *rest = shells
    count = count_bits(e, first)
    if mirrored:
        flip, masks = FOLDS[len(first)](e, count)
        load = loader(e, terms, len(masks) + 1)
        return lambda k: e.xor(linear(e, load, k, 0, masks), *[flip] * (k >= turned))
    first_products = products(e, count, len(first))
    if not rest:
        load = loader(e, terms, len(first) + 1)
        return lambda k: linear(e, load, k, 0, first_products)
    second_products = products(e, count_bits(e, rest[0]), len(rest[0]))
    return _two_shells(e, first_products, second_products, terms)


def _two_shells(e: Emitter, first: list[Any], second: list[Any], terms: Any) -> Planes:
    stride = len(second) + 1
    load = loader(e, terms, (len(first) + 1) * stride)

    def chosen(k: int) -> Any:
        inner = [linear(e, load, k, n * stride, second) for n in range(len(first) + 1)]
        return e.xor(inner[0], *(e.both(m, v) for m, v in zip(first, inner[1:], strict=True)))

    return chosen


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


def filter_terms(steps: Floats, sizes: Sequence[int]) -> Words:
    """Coefficients of the thresholds of all filters, as the kernel reads them.

    Parameters
    ----------
    steps
        b/T, by which the energy rises with each unlike neighbour, (filters, 8).
    sizes
        Neighbours z by each coupling.

    Returns
    -------
    ndarray
        (terms, 8) uint64: filter by filter, plane by plane.
    """
    found = [np.empty((0, steps.shape[-1]), np.uint64)]
    for step, z in zip(steps, sizes, strict=True):
        uphill = np.maximum(step * (np.arange(z + 1)[:, None] - z / 2), 0.0)
        terms = normal_form(threshold_planes(boltzmann(uphill)), [z + 1])
        found.append(terms.reshape(-1, terms.shape[-1]))
    return np.concatenate(found)


def filtered(
    e: Emitter,
    old: Any,
    new: Any,
    around: Sequence[Sequence[Any]],
    terms: Any,
    generator: list[Any],
) -> tuple[Any, list[Any]]:
    """The spin after all filters, and the generators; a filter takes one draw, whatever happens.

    ``around`` holds the neighbours by each further coupling.
    """
    changed, trials, start = e.xor(old, new), [], 0
    for bits in around:
        z = len(bits)
        fresh, generator = draw(e, generator)
        masks = products(e, count_bits(e, [e.xor(bit, old) for bit in bits]), z)
        chosen = _filter_chooser(e, masks, loader(e, terms, z + 1, start))
        trials.append(Trial(chosen, fresh, e.inverse(changed)))
        start += PLANES * (z + 1)
    for good in passed(e, trials, FILTER_HOT):
        changed = e.both(changed, good)
    return e.xor(old, changed), generator


def _filter_chooser(e: Emitter, masks: Sequence[Any], load: Load) -> Planes:
    return lambda k: linear(e, load, k, 0, masks)
