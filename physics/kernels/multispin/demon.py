"""Multispin coding of single flips that a demon pays for: few random numbers, no tables.

Four demons take turns to visit the sites in the order of a sweep, and flip a spin where their
accounts can pay for it (:mod:`accounts`). Each coupling and the field have an account of their own.
The accounts are drawn anew after ``period`` sites of each demon.

Accounts
    The account of a coupling over z neighbours can pay for any flip. The account of the field has
    three digits, so that in a weak field few flips find it full or empty.
Sleep
    The first demon sleeps through its sites with probability 1/64. Without it a flip that costs
    nothing is certain, and a sweep in a fixed order moves some spins of small lattices along a
    cycle for ever: on 3 × 3 sites of the square lattice 2 % of the replicas never left it. More
    sleep costs more steps: 35 % for all demons one time in eight.
Reproducibility
    Accounts end with a strip of sites, and a sweep always takes the same number of random numbers.
    So the state of a point consists of its spins and generator, and its bits depend on nothing
    else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from latticescape.physics.compiled import compiled, inlined, intrinsic
from latticescape.physics.kernels.multispin.accounts import (
    DEMONS,
    FIELD_DIGITS,
    chosen,
    digit_terms,
    digits_of,
    new_demons,
    reach_of,
    settled,
)
from latticescape.physics.kernels.multispin.heat_bath import STRIP, split
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
    Words,
    load_state,
    store_state,
)

Floats = npt.NDArray[np.float64]

# As many zeros: a tuple whose length is known when the kernel is compiled.
ALL = (0,) * DEMONS


@dataclass(frozen=True, eq=False)
class DemonRule:
    """What the kernel reads for each register: thresholds of the accounts' digits, and signs.

    ``shells``, ``field``, ``digits`` (of all accounts) and ``width`` are tuples of zeros: their
    lengths are compile-time numbers.
    """

    shells: tuple[tuple[int, ...], ...]
    field: tuple[int, ...]
    digits: tuple[int, ...]
    width: tuple[int, ...]
    terms: tuple[Words, ...]
    signs: tuple[Words, ...]
    period: int


def demon_rule(
    steps: Floats,
    sizes: Sequence[int],
    rise: Floats | None,
    period: int,
    width: tuple[int, ...] | None = None,
) -> DemonRule:
    """Prepare the accounts of eight points.

    Parameters
    ----------
    steps
        (couplings, 8): by how much ΔE/T of a flip rises with each unlike neighbour.
    sizes
        Neighbours z of each coupling.
    rise
        (8,): ΔE/T of a flip to up, apart from the couplings; None if no point has a field.
    period
        Sites that a demon visits before its accounts are drawn anew.
    width
        Changes only speed, never a bit.
    """
    zeros = native_width() if width is None else width
    units = [abs(step) / (1 + z % 2) for step, z in zip(steps, sizes, strict=True)]
    digits = [digits_of(reach_of(z)) for z in sizes]
    ones = np.uint64(2**64 - 1)
    signs = [np.where(step > 0, ones, np.uint64(0)) for step in steps]
    if rise is not None:
        units.append(abs(rise))
        digits.append(FIELD_DIGITS)
        signs.append(np.where(rise < 0, np.uint64(0), ones))
    marks = np.stack(signs).astype(np.uint64)
    parts = range(0, WORDS, len(zeros))
    return DemonRule(
        shells=tuple((0,) * z for z in sizes),
        field=(0,) * (rise is not None),
        width=zeros,
        digits=(0,) * sum(digits),
        terms=digit_terms(np.stack(units), digits, len(zeros)),
        signs=tuple(aligned_copy(marks[:, k : k + len(zeros)]) for k in parts),
        period=period,
    )


def advance(
    spins: Words, visited: Any, rule: DemonRule, state: Words, mcs: int, words: int = WORDS
) -> None:
    """``mcs`` Monte Carlo steps, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    visited
        From :func:`latticescape.physics.kernels.multispin.heat_bath.visits`.
    rule
        From :func:`demon_rule`.
    state
        (4, 8) uint64, from :func:`seed_state`; advanced by equally many outputs in every step.
    words
        Number of words that hold points, which are the first ones. Registers without a point are
        not computed.
    """
    parts = registers_of(words, rule.width)
    kinds = (rule.shells, rule.field, rule.digits)
    tables = (rule.terms, rule.signs)
    flips(spins, visited, tables, state, parts, mcs, rule.width, kinds, rule.period)


@compiled
def flips(
    spins: Any,
    visited: Any,
    tables: Any,
    state: Any,
    parts: Any,
    mcs: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Sweeps over all sites, strip by strip, for the words of one register after another."""
    sites = visited.shape[0]
    for _ in range(mcs):
        for begin in range(0, sites, STRIP):
            for part in range(parts):
                own = (tables[0][part], tables[1][part])
                end = min(begin + STRIP, sites)
                flip_strip(spins, visited, begin, end, own, state, part, width, kinds, period)


@inlined
def flip_strip(
    spins: Any,
    visited: Any,
    begin: Any,
    end: Any,
    tables: Any,
    state: Any,
    part: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Visit the sites ``begin`` to ``end`` once, for the words of one register."""
    generator = load_state(state, part, width)
    for first in range(begin, end, DEMONS * period):
        generator, accounts = new_demons(tables[0], generator, kinds[2], (0,))
        last = min(first + DEMONS * period, end)
        whole = last - (last - first) % DEMONS
        for visit in range(first, whole, DEMONS):
            accounts = step(spins, visited, visit, tables, part, accounts, kinds, ALL)
        for visit in range(whole, last):
            accounts = step(spins, visited, visit, tables, part, accounts, kinds, (0,))
    store_state(state, part, generator)


@intrinsic
def step(
    typingctx: Any,
    spins: Any,
    visited: Any,
    visit: Any,
    tables: Any,
    part: Any,
    accounts: Any,
    kinds: Any,
    visitors: Any,
) -> Any:
    """Let the first ``len(visitors)`` demons visit one site each; returns the accounts of all."""
    words, (shells, field, digits) = accounts.dtype.words, kinds
    sizes, count = [len(shell) for shell in shells], len(digits) + 1
    z = sum(sizes)
    signature = accounts(spins, visited, visit, tables, part, accounts, kinds, visitors)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[4], words)
        signs = pointer(context, builder, tables[1], builder.extract_value(args[3], 1))
        rows = pointer(context, builder, visited, args[1])
        found = unpack(builder, args[5], DEMONS * count)
        for demon in range(len(visitors)):
            number = builder.add(args[2], ir.Constant(I64, demon))
            row = builder.mul(number, ir.Constant(I64, 1 + z))
            site, *around = indices(builder, rows, row, 1 + z)
            own, bits = e.load(column, site), [e.load(column, place) for place in around]
            old = found[demon * count : (demon + 1) * count]
            awake, changes = old.pop(), list[tuple[Any, int]]()
            for k, shell in enumerate(split(bits, sizes)):
                mine = e.xor(own, e.load(signs, k * words))
                changes.append((unlike(e, shell, mine), reach_of(len(shell))))
            agreed, new = settled(e, changes, old, awake)
            if len(field):
                favoured = e.xor(own, e.load(signs, len(sizes) * words))
                # One more unit along the field, 2^d − 1 more (one less) against it.
                columns = [[digit, favoured] for digit in old[len(new) :]]
                columns[0][1] = e.ones
                *after, carry = add_columns(e, [*columns, []])[: FIELD_DIGITS + 1]
                new += after
                agreed = e.both(agreed, e.inverse(e.xor(favoured, carry)))
            found[demon * count : (demon + 1) * count - 1] = chosen(e, agreed, old, new)
            e.store(e.xor(own, agreed), column, site)
        return pack(context, builder, sig.return_type, found)

    return signature, codegen


def unlike(e: Emitter, bits: Sequence[Any], own: Any) -> list[list[Any]]:
    """The number of neighbours that differ from ``own``, as columns of :func:`paid`."""
    # Of three bits the digits of the sum turn over where all of them do.
    z, columns = len(bits), list[list[Any]]([[], []])
    for first in range(0, z - z % 3, 3):
        total, carry = full_adder(e, bits[first], bits[first + 1], [bits[first + 2]])
        columns[0].append(e.xor(total, own))
        columns[1].append(e.xor(carry, own))
    columns[0] += [e.xor(bit, own) for bit in bits[z - z % 3 :]]
    return [[], *columns] if z % 2 else columns
