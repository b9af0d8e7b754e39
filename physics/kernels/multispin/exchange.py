"""Multispin coding of Kawasaki exchange: 64 replicas of each of eight points at once.

Layout
    ``spins: uint64[sites, 8]``: word w of a row is point w, bit r is replica r.
One attempted exchange
    1. A nearest-neighbour bond (i, j), the same for all replicas. The order of the bonds is a fixed
       pseudo-random sequence, a function of the step alone, as the order of the sites is in a
       sequential scan; replicas are independent, so each is a valid chain.
    2. Replicas whose ends are unlike are active. The energy change is a sum of *differences* times
       amplitudes. For a bond shell, D = (ones around i) − (ones around j), over the neighbours
       that the two ends do not share; for triangles, also X = (unlike edges of the ring around i)
       − (the same around j), over the triangles that hold one end only. Both turn their sign when
       j is the one that holds species 1. Counted bit-sliced.
    3. Each difference with an uphill contribution has to pass min(1, exp(−|A·D|/T)) on its own,
       with a uniform number of its own: the factorised Metropolis filter, which keeps detailed
       balance. With one difference it is plain Metropolis. An exchange takes one draw of each
       word's generator for every difference, whatever happens.

References
----------
Kawasaki, Phys. Rev. 145, 224 (1966), 10.1103/PhysRev.145.224 (exchange dynamics); Michel, Kapfer
and Krauth, J. Chem. Phys. 140, 054116 (2014), 10.1063/1.4863991 (the factorised filter).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    add_columns,
    aligned_copy,
    full_adder,
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
from latticescape.physics.kernels.streams import next_below
from latticescape.physics.lattices.lattice import Lattice

Sites = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# Bit planes without a test: few replicas are active and uphill. Changes only speed.
HOT = 11

# Where the order of the bonds begins: the digits of π.
ORDER = (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89)


@dataclass(frozen=True, eq=False)
class BondTable:
    """What an exchange over each bond has to look at.

    Attributes
    ----------
    rows
        (bonds, columns) int32: the ends i and j, then for each shell the neighbours of i and those
        of j that the other end does not share, then, with triangles, the two neighbours that close
        the ring's paths; each as the number of words before the site's row.
    shells
        Neighbours of either end in each shell.
    edges
        Whether triangles count.
    """

    rows: Sites
    shells: tuple[int, ...]
    edges: bool

    @property
    def magnitudes(self) -> tuple[int, ...]:
        """The largest value of each difference, in units of its smallest step."""
        return (*self.shells, 2) if self.edges else self.shells


def bond_table(lattice: Lattice, shells: Sequence[int], edges: bool) -> BondTable:
    """The table of all nearest-neighbour bonds.

    Parameters
    ----------
    lattice
        The lattice; with ``edges`` triangular.
    shells
        Neighbour shells with an energy, the first one included if there are edges.
    edges
        Whether triangles have an energy.
    """
    bonds = lattice.bonds(1).astype(np.int64)
    pairs = [_unshared(lattice.neighbors(shell), bonds) for shell in shells]
    if edges:
        pairs[0] = _ring_paths(lattice, bonds)
    rows = np.concatenate([bonds, *pairs], axis=1) * WORDS
    return BondTable(
        rows=np.ascontiguousarray(rows, dtype=np.int32),
        shells=tuple((pair.shape[1] - 2 * (edges and k == 0)) // 2 for k, pair in enumerate(pairs)),
        edges=edges,
    )


def _unshared(neighbors: Sites, bonds: Sites) -> Sites:
    """Neighbours of i, then those of j, without those they share and without the ends themselves.

    Rows that have fewer than others are filled up with i on both sides, which cancels.
    """
    mine, theirs = neighbors[bonds[:, 0]], neighbors[bonds[:, 1]]
    keep_mine, keep_theirs = mine != bonds[:, 1:], theirs != bonds[:, :1]
    for a, b in np.ndindex(mine.shape[1], theirs.shape[1]):
        shared = keep_mine[:, a] & keep_theirs[:, b] & (mine[:, a] == theirs[:, b])
        keep_mine[shared, a] = keep_theirs[shared, b] = False
    size = max(1, int(keep_mine.sum(axis=1).max()))
    return np.hstack([_kept(mine, keep_mine, bonds, size), _kept(theirs, keep_theirs, bonds, size)])


def _kept(sites: Sites, keep: npt.NDArray[np.bool_], bonds: Sites, size: int) -> Sites:
    filled = np.where(keep, sites, bonds[:, :1])
    order = np.argsort(~keep, axis=1, kind="stable")[:, :size]
    return np.take_along_axis(filled, order, axis=1)


def _ring_paths(lattice: Lattice, bonds: Sites) -> Sites:
    """The rings of both ends without the other: r2 r3 r4 of i, the same of j, then r1 and r5.

    Going around, the ring of j begins where that of i ends, and the other way round.
    """
    mine = _path(lattice.neighbors(1)[bonds[:, 0]], bonds[:, 1])
    theirs = _path(lattice.neighbors(1)[bonds[:, 1]], bonds[:, 0])
    return np.hstack([mine[:, 1:4], theirs[:, 1:4], mine[:, [0, 4]]])


def _path(rings: Sites, other: Sites) -> Sites:
    """Every ring from behind one of its sites on, around to before it."""
    start = np.argmax(rings == other[:, None], axis=1)
    z = rings.shape[1]
    return np.take_along_axis(rings, (start[:, None] + np.arange(1, z)) % z, axis=1)


@dataclass(frozen=True, eq=False)
class Filter:
    """Acceptance tables in the form the kernel reads.

    ``sizes``, ``edges`` and ``width`` are tuples of zeros: their lengths are compile-time numbers.
    ``turned`` holds, for each difference, ones in the words whose amplitude is negative.
    """

    sizes: tuple[tuple[int, ...], ...]
    edges: tuple[int, ...]
    width: tuple[int, ...]
    terms: tuple[Words, ...]
    turned: Words


def acceptance_filter(
    table: BondTable,
    amplitudes: Floats,
    temperatures: Floats,
    width: tuple[int, ...] | None = None,
) -> Filter:
    """Prepare the thresholds exp(−|A|·d/T), d = 1, 2, … up to each difference's largest.

    Parameters
    ----------
    table
        From :func:`bond_table`.
    amplitudes
        Energy of one step of each difference, (differences, 8); the edges come last, a step of
        theirs is two unlike edges.
    temperatures
        (8,).
    width
        Words of a register; changes only speed.
    """
    zeros = native_width() if width is None else width
    words = len(zeros)
    forms = []
    for most, amplitude in zip(table.magnitudes, amplitudes, strict=True):
        steps = np.arange(1, most + 1)[:, None]
        with np.errstate(over="ignore"):
            accept = boltzmann(np.abs(amplitude) * steps / temperatures)
        forms.append(normal_form(threshold_planes(accept), [most]))
    parts = range(0, WORDS, words)
    return Filter(
        sizes=tuple((0,) * m for m in table.shells),
        edges=(0,) * int(table.edges),
        width=zeros,
        terms=tuple(
            aligned_copy(np.concatenate([f[:, :, k : k + words].ravel() for f in forms]))
            for k in parts
        ),
        turned=negative_words(amplitudes),
    )


def negative_words(amplitudes: Floats) -> Words:
    """Ones in the words whose amplitude is negative, zeros in others: (differences, 8)."""
    return aligned_copy(np.where(amplitudes < 0, np.uint64(2**64 - 1), np.uint64(0)))


def first_order() -> Words:
    """Where the order of the bonds begins, one copy for each register that may run on its own."""
    return np.tile(np.array(ORDER, np.uint64), (WORDS, 1))


def advance(
    spins: Words,
    table: BondTable,
    rules: Filter,
    state: Words,
    order: Words,
    exchanges: int,
    words: int = WORDS,
) -> None:
    """So many attempted exchanges, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    table, rules
        From :func:`bond_table` and :func:`acceptance_filter`.
    state
        (4, 8) uint64 generators; advanced by one draw a difference and exchange.
    order
        (8, 4) uint64, from :func:`first_order`; goes on where it stopped.
    words
        Number of words that hold points, which are the first ones. Registers without a point are
        not computed.
    """
    for part in range(registers_of(words, rules.width)):
        exchange(
            spins,
            table.rows,
            rules.terms[part],
            rules.turned,
            state,
            order[part],
            part,
            exchanges,
            rules.width,
            rules.sizes,
            rules.edges,
        )


@compiled
def exchange(
    spins: Any,
    rows: Any,
    terms: Any,
    turned: Any,
    state: Any,
    order: Any,
    part: Any,
    exchanges: Any,
    width: Any,
    sizes: Any,
    edges: Any,
) -> None:
    """Attempted exchanges, one after the other, for the words of one register."""
    generator = load_state(state, part, width)
    for _ in range(exchanges):
        bond = next_below(order, rows.shape[0])
        generator = attempt(spins, rows, bond, terms, turned, part, generator, sizes, edges)
    store_state(state, part, generator)


@intrinsic
def attempt(
    typingctx: Any,
    spins: Any,
    rows: Any,
    bond: Any,
    terms: Any,
    turned: Any,
    part: Any,
    generator: Any,
    sizes: Any,
    edges: Any,
) -> Any:
    """Attempt the exchange of one bond's ends; returns the generators."""
    words, shells, rings = generator.dtype.words, [len(s) for s in sizes], len(edges) > 0
    signature = generator(spins, rows, bond, terms, turned, part, generator, sizes, edges)
    many = len(shells) + rings
    columns = 2 + 2 * sum(shells) + 2 * rings

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[5], words)
        signs = register(builder, pointer(context, builder, turned, args[4]), args[5], words)
        table = pointer(context, builder, rows, args[1])
        row = builder.mul(args[2], ir.Constant(I64, columns))
        places = indices(builder, table, row, columns)
        i, j, *around = [e.load(column, place) for place in places]
        active = e.xor(i, j)
        # They count with the other sign where j holds species 1, or A < 0.
        turns = [e.xor(e.inverse(i), e.load(signs, WORDS * k)) for k in range(many)]
        found = differences(e, around, shells, rings, turns)
        counts = [_raised(e, columns, most) for columns, most in found]
        generators, trials, uphill, start = unpack(builder, args[6], 4), [], [], 0
        base = pointer(context, builder, terms, args[3])
        for count, most in zip(counts, [*shells, *[2] * rings], strict=True):
            fresh, generators = draw(e, generators)
            up, chosen = _class_of(e, count, most, base, start)
            start += PLANES * most
            uphill.append(up)
            trials.append(Trial(chosen, fresh, e.inverse(e.both(active, up))))
        moved = active
        for up, good in zip(uphill, passed(e, trials, HOT), strict=True):
            moved = e.both(moved, e.either(good, e.inverse(up)))
        e.store(e.xor(i, moved), column, places[0])
        e.store(e.xor(j, moved), column, places[1])
        return pack(context, builder, sig.return_type, generators)

    return signature, codegen


def differences(
    e: Emitter, around: Sequence[Any], shells: Sequence[int], rings: bool, turns: Sequence[Any]
) -> list[tuple[list[list[Any]], int]]:
    """Every difference plus its largest value, as vectors that count one and two, and that value.

    A difference is turned over where ``turns`` is set.
    """
    found, rest = list[tuple[list[list[Any]], int]](), list(around)
    for k, size in enumerate(shells):
        mine, theirs, rest = rest[:size], rest[size : 2 * size], rest[2 * size :]
        found.append((signed_sum(e, mine, theirs, turns[k]), size))
        if rings and k == 0:
            edges = _edge_carries(e, mine, theirs, rest[:2], turns[-1])
            rest = rest[2:]
    return [*found, ([edges], 2)] if rings else found


def signed_sum(e: Emitter, mine: list[Any], theirs: list[Any], turn: Any) -> list[list[Any]]:
    """The inputs of Σ mine + Σ ¬theirs, turned over where ``turn`` is set, in ones and twos.

    Sum and carry of three inputs turn over with them, so they are turned after adding.
    """
    ones, twos = [], []
    for side, sign in ((mine, turn), (theirs, e.inverse(turn))):
        whole = len(side) // 3 * 3
        for k in range(0, whole, 3):
            total, carry = full_adder(e, side[k], side[k + 1], side[k + 2 : k + 3])
            ones.append(e.xor(total, sign))
            twos.append(e.xor(carry, sign))
        ones += [e.xor(bit, sign) for bit in side[whole:]]
    return [ones, twos]


def _raised(e: Emitter, columns: Sequence[Sequence[Any]], most: int) -> list[Any]:
    """Bits of D + most, plus what makes most + 1 a power of two: then the top bit says D > 0."""
    top = most.bit_length()
    constant = 2**top - most - 1
    filled = [list(column) for column in columns]
    filled += [[] for _ in range(top + 1 - len(filled))]
    for k in range(top):
        filled[k] += [e.ones] * (constant >> k & 1)
    return add_columns(e, filled)[: top + 1]


def _edge_carries(
    e: Emitter, mine: list[Any], theirs: list[Any], ends: list[Any], turn: Any
) -> list[Any]:
    """Half the number of unlike edges of i's path, and of j's turned over, rounded down.

    The two paths have the same ends, so both numbers are even or both are odd, and half of their
    difference is the difference of the carries.
    """
    found = []
    for side, sign, (start, stop) in (
        (mine, turn, (ends[0], ends[1])),
        (theirs, e.inverse(turn), (ends[1], ends[0])),
    ):
        path = [start, *side, stop]
        unlike = [e.xor(a, b) for a, b in pairwise(path)]
        total, first = full_adder(e, unlike[0], unlike[1], unlike[2:3])
        found += [e.xor(first, sign), e.xor(e.both(total, unlike[3]), sign)]
    return found


def _class_of(
    e: Emitter, count: list[Any], most: int, terms: Any, start: int
) -> tuple[Any, Callable[[int], Any]]:
    """Whether the difference is uphill, and the threshold planes by its magnitude."""
    *low, uphill = count
    load = loader(e, terms, most, start)
    masks = products(e, low, most - 1)
    return uphill, lambda k: linear(e, load, k, 0, masks)
