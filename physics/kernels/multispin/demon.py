"""Multispin coding of single flips that a demon pays for: few random numbers, no tables.

A demon visits some sites one after another and carries an account of energy (Creutz 1983). A spin
flips if the demon can pay for it, or can keep what the flip sets free; otherwise nothing happens.
That is a bijection of spins and account that keeps their energy, and so keeps the weight
exp(−(E + account)/T). After ``period`` sites the account is drawn anew from its own Boltzmann law,
which keeps the weight as well. So the spins are sampled exactly from exp(−E/T), whatever the
period; the idea is that of MicSA (arXiv:2506.16240).

Accounts
    Each coupling and the field have an account of their own, in units of their own energy, and all
    of them have to agree to a flip: Π exp(−(V u + |V| e)/T) is kept factor by factor.
    An account over z neighbours that are alike or not holds 0 ... 2^d − 1 units, where 2^d − 1 is
    the most that a flip can cost, or more; that of the field has three digits, so that in a weak
    field few flips find it full or empty. The digits are independent bits, the one of 2^j units set
    with probability w^(2^j) / (1 + w^(2^j)), w = exp(−unit/T).
Sleep
    The first demon sleeps through its sites with probability 1/64. Without it a flip that costs
    nothing is certain, and a sweep in a fixed order moves some spins of small lattices along a
    cycle for ever: on 3 × 3 sites of the square lattice 2 % of the replicas never left it. More
    sleep costs more steps: 35 % for all demons one time in eight.
Four at a time
    Four demons visit every fourth site each, so that one need not wait for the other. They die at
    the end of a sweep, and a sweep takes equally many random numbers whatever happens, so a point
    owns no more than its spins and generator, and its bits depend on nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from latticescape.physics.compiled import compiled, intrinsic
from latticescape.physics.kernels.boltzmann import occupation
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
    tuple_of,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import (
    PLANES,
    Load,
    Trial,
    Words,
    draw,
    load_state,
    loader,
    passed,
    store_state,
    threshold_planes,
)

Floats = npt.NDArray[np.float64]

# Digits of the field's account.
FIELD_DIGITS = 3

# Demons on their way at the same time.
DEMONS = 4
# As many zeros: a tuple whose length is known when the kernel is compiled.
ALL = (0,) * DEMONS

# Bit planes without a test: 512 replicas are mostly decided after them. Changes only speed.
HOT = 12


@dataclass(frozen=True, eq=False)
class DemonRule:
    """What the kernel reads for each register: thresholds of the accounts' digits, and signs.

    ``shells``, ``field`` and ``width`` are tuples of zeros: their lengths are compile-time numbers.
    """

    shells: tuple[tuple[int, ...], ...]
    field: tuple[int, ...]
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
    digits = [
        abs(step) / (1 + z % 2) * 2.0**j
        for step, z in zip(steps, sizes, strict=True)
        for j in range(digits_of(z))
    ]
    ones = np.uint64(2**64 - 1)
    signs = [np.where(step > 0, ones, np.uint64(0)) for step in steps]
    if rise is not None:
        digits += [abs(rise) * 2.0**j for j in range(FIELD_DIGITS)]
        signs += [np.where(rise < 0, np.uint64(0), ones), np.where(rise == 0, ones, np.uint64(0))]
    planes = threshold_planes(occupation(np.stack(digits)))
    by_digit = np.swapaxes(planes, 0, 1).reshape(-1, WORDS)
    marks = np.stack(signs).astype(np.uint64)
    parts = range(0, WORDS, len(zeros))
    return DemonRule(
        shells=tuple((0,) * z for z in sizes),
        field=(0,) * (rise is not None),
        width=zeros,
        terms=tuple(aligned_copy(by_digit[:, k : k + len(zeros)]) for k in parts),
        signs=tuple(aligned_copy(marks[:, k : k + len(zeros)]) for k in parts),
        period=period,
    )


def reach_of(z: int) -> int:
    """The most units that a flip among z neighbours costs or sets free.

    A flip makes z − 2n more neighbours unlike where n are: units of two if z is even.
    """
    return z if z % 2 else z // 2


def digits_of(z: int) -> int:
    """Digits of the account of a coupling, so that it can pay for any flip.

    Examples
    --------
    >>> [digits_of(z) for z in (3, 4, 6, 8, 12)]
    [2, 2, 2, 3, 3]
    """
    return max(2, reach_of(z).bit_length())


def advance(spins: Words, visited: Any, rule: DemonRule, state: Words, mcs: int) -> None:
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
    """
    kinds = (rule.shells, rule.field)
    for part in range(len(rule.terms)):
        tables = (rule.terms[part], rule.signs[part])
        flips(spins, visited, tables, state, part, mcs, rule.width, kinds, rule.period)


@compiled
def flips(
    spins: Any,
    visited: Any,
    tables: Any,
    state: Any,
    part: Any,
    mcs: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Sweeps over all sites, for the words of one register."""
    generator, sites = load_state(state, part, width), visited.shape[0]
    for _ in range(mcs):
        for first in range(0, sites, DEMONS * period):
            # Calls of one function each, since it is long to compile.
            generator, first_accounts = accounts_of(tables, generator, kinds, (0,))
            generator, second = accounts_of(tables, generator, kinds, ())
            generator, third = accounts_of(tables, generator, kinds, ())
            generator, fourth = accounts_of(tables, generator, kinds, ())
            accounts = first_accounts + second + third + fourth
            end = min(first + DEMONS * period, sites)
            whole = end - (end - first) % DEMONS
            for visit in range(first, whole, DEMONS):
                accounts = step(spins, visited, visit, tables, part, accounts, kinds, ALL)
            for visit in range(whole, end):
                accounts = step(spins, visited, visit, tables, part, accounts, kinds, (0,))
    store_state(state, part, generator)


@compiled
def accounts_of(tables: Any, generator: Any, kinds: Any, sleeps: Any) -> Any:
    """The generators, and the accounts of a new demon."""
    return fresh(tables, generator, kinds, sleeps)


def _digits(kinds: Any) -> list[int]:
    """Binary digits of all accounts of a demon, the field's last."""
    shells, field = kinds
    return [*(digits_of(len(shell)) for shell in shells), *[FIELD_DIGITS] * len(field)]


@intrinsic
def fresh(typingctx: Any, tables: Any, generator: Any, kinds: Any, sleeps: Any) -> Any:
    """A new demon; returns the generators, and its accounts and where it is awake, which is
    everywhere if ``sleeps`` is empty."""
    words, count = generator.dtype.words, sum(_digits(kinds))
    result = types.Tuple((generator, tuple_of(words, count + 1)))
    signature = result(tables, generator, kinds, sleeps)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        terms = pointer(context, builder, tables[0], builder.extract_value(args[0], 0))
        after, awake, trials = unpack(builder, args[1], 4), e.ones, list[Trial]()
        if len(sleeps):
            coins, after = draw(e, after)
            awake = e.inverse(e.both(*coins))
        for digit in range(count):
            outputs, after = draw(e, after)
            load = loader(e, terms, 1, digit * PLANES)
            trials.append(Trial(partial(_first_term, load), outputs, e.zero))
        accounts = [*passed(e, trials, HOT), awake]
        parts = [
            pack(context, builder, kind, values)
            for kind, values in zip(result.types, (after, accounts), strict=True)
        ]
        return pack(context, builder, result, parts)

    return signature, codegen


def _first_term(load: Load, plane: int) -> Any:
    return load(plane, 0)


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
    """One site for each of the first demons, as many as ``visitors`` is long; the accounts after
    it."""
    words, (shells, field) = accounts.dtype.words, kinds
    sizes, digits = [len(shell) for shell in shells], _digits(kinds)
    z, count = sum(sizes), sum(digits) + 1
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
            agreed, new = old.pop(), list[Any]()
            for k, size in enumerate(sizes):
                mine = e.xor(own, e.load(signs, k * words))
                paid, after = paid_to(e, bits[:size], mine, old[len(new) : len(new) + digits[k]])
                bits, agreed = bits[size:], e.both(agreed, paid)
                new += after
            if len(field):
                favoured = e.xor(own, e.load(signs, len(sizes) * words))
                free = e.load(signs, (len(sizes) + 1) * words)
                # One more unit along the field, 2^d − 1 more (one less) against it.
                columns = [[digit, favoured] for digit in old[len(new) :]]
                columns[0][1] = e.ones
                *after, carry = add_columns(e, [*columns, []])[: FIELD_DIGITS + 1]
                new += after
                agreed = e.both(agreed, e.either(free, e.inverse(e.xor(favoured, carry))))
            chosen = [e.xor(a, e.both(agreed, e.xor(a, b))) for a, b in zip(old, new, strict=True)]
            found[demon * count : (demon + 1) * count - 1] = chosen
            e.store(e.xor(own, agreed), column, site)
        return pack(context, builder, sig.return_type, found)

    return signature, codegen


def paid_to(e: Emitter, bits: Sequence[Any], own: Any, account: Sequence[Any]) -> tuple[Any, Any]:
    """Where an account can pay for a flip or keep what it sets free, and the account after it.

    An account of d digits and n unlike neighbours are added to a constant such that the sum is 2^d
    plus the new account: it fits if the digit of 2^d is set, since the sum is less than 3 · 2^d.
    """
    z, digits = len(bits), len(account)
    # Of three bits the digits of the sum turn over where all of them do.
    columns: list[list[Any]] = [[], []]
    for first in range(0, z - z % 3, 3):
        total, carry = full_adder(e, bits[first], bits[first + 1], [bits[first + 2]])
        columns[0].append(e.xor(total, own))
        columns[1].append(e.xor(carry, own))
    columns[0] += [e.xor(bit, own) for bit in bits[z - z % 3 :]]
    if z % 2:
        columns.insert(0, [])
    columns += [[] for _ in range(digits + 1 - len(columns))]
    constant = 2**digits - reach_of(z)
    for place in range(digits):
        columns[place] += [account[place]] + [e.ones] * (constant >> place & 1)
    total = add_columns(e, columns)
    return total[digits], total[:digits]
