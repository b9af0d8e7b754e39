"""Multispin coding of single flips for any clusters of two species, which demons pay for.

As :mod:`latticescape.physics.kernels.multispin.demon`, with these differences: what is around a
site is a table of tuples (:mod:`products`), and each difference has an account, fields included. An
account whose unit is zero agrees to every flip, except for the first one. Every demon sleeps
through its sites with probability 1/64. The sites that a demon visits with one account begin
elsewhere in every sweep, so that no two sites are always flipped together.

Shift
    A flip costs σ (a u + f), where u counts the tuples of the first difference and f is a field
    of all sites. Where they pull against each other, their accounts rarely agree. So the first one
    pays a (u + q) with the whole number q nearest to f/a, and the field's pays the rest, f − a q.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from latticescape.physics.compiled import compiled, inlined, intrinsic
from latticescape.physics.kernels.multispin.accounts import (
    DEMONS,
    chosen,
    digits_of,
    new_demons,
    paid,
    reach_of,
)
from latticescape.physics.kernels.multispin.demon import ALL, unlike
from latticescape.physics.kernels.multispin.exchange import negative_words
from latticescape.physics.kernels.multispin.expansion.exchange import Accounts, accounts_of
from latticescape.physics.kernels.multispin.expansion.products import Differences
from latticescape.physics.kernels.multispin.heat_bath import STRIP, sweep_order, visits
from latticescape.physics.kernels.multispin.simd import (
    I64,
    WORDS,
    Emitter,
    indices,
    pack,
    pointer,
    register,
    registers_of,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import Words, load_state, store_state
from latticescape.physics.kernels.streams import next_below
from latticescape.physics.lattices.lattice import Sites
from latticescape.physics.models.interactions import Integers
from latticescape.physics.models.model import Floats

# Of a field, a share this small is what rounding left.
ROUNDING = 1e-12


class FlipAccounts(NamedTuple):
    """What the kernel reads of eight points.

    ``idle`` holds, for each difference, ones in the words whose amplitude is zero. ``shift`` holds
    the bits of 2^d − r + q of the first account, d its digits and r the reach of its tuples, and
    then where those of 2^d − r − q are others, (2d + 2, 8); it is empty without a shift.
    """

    accounts: Accounts
    idle: Words
    shift: Words


def flip_accounts(
    differences: Differences,
    amplitudes: Floats,
    temperatures: Floats,
    period: int,
    width: tuple[int, ...] | None = None,
) -> FlipAccounts:
    """Prepare the accounts of eight points.

    Parameters
    ----------
    differences
        Of flips.
    amplitudes
        From :func:`latticescape.physics.kernels.multispin.expansion.exchange.amplitudes_of`.
    temperatures
        (8,).
    period, width
        As of :func:`accounts_of`.
    """
    amplitudes, planes = amplitudes.copy(), np.zeros((0, WORDS), np.int64)
    shift = shifts_of(differences, amplitudes)
    if shift.any():
        rest = amplitudes[-1] - amplitudes[0] * shift
        amplitudes[-1] = np.where(np.abs(rest) < ROUNDING * np.abs(amplitudes[-1]), 0, rest)
        reach = reach_of(differences.shape[0][0])
        digits = digits_of(2 * reach)
        differences = replace(differences, digits=(digits, *differences.digits[1:]))
        places, middle = np.arange(digits + 1)[:, None], 2**digits - reach
        lower, upper = ((middle + sign * shift) >> places & 1 for sign in (-1, 1))
        planes = np.concatenate([upper, upper ^ lower])
    return FlipAccounts(
        accounts_of(differences, amplitudes, temperatures, period, width),
        negative_words(-(amplitudes == 0).astype(float)),
        negative_words(-planes.astype(float)),
    )


def shifts_of(differences: Differences, amplitudes: Floats) -> Integers:
    """The whole units of the field that the first account takes, (points,): no more than its tuples
    have.

    Parameters
    ----------
    differences
        Of flips.
    amplitudes
        (differences, points).
    """
    if not differences.field:
        return np.zeros(amplitudes.shape[1], np.int64)
    unit, reach = amplitudes[0], reach_of(differences.shape[0][0])
    ratio = np.divide(amplitudes[-1], unit, out=np.zeros(len(unit)), where=unit != 0)
    shifts: Integers = np.clip(np.rint(ratio), -reach, reach).astype(np.int64)
    return shifts


def visited_sites(differences: Differences, active: Sites) -> Sites:
    """The sites that change in the order of a sweep, each with its tuples, (sites, 1 + columns), as
    :func:`latticescape.physics.kernels.multispin.heat_bath.visits` writes them.

    Parameters
    ----------
    differences
        Of flips, in rows of one word.
    active
        The sites that change.
    """
    ordered = np.sort(active)
    return visits(differences.rows, ordered[sweep_order(len(ordered))])


def advance(
    spins: Words,
    visited: Sites,
    rule: FlipAccounts,
    state: Words,
    order: Words,
    mcs: int,
    words: int = WORDS,
) -> None:
    """``mcs`` Monte Carlo steps, in place.

    Parameters
    ----------
    spins
        (sites + 2, 8) uint64; the last two rows are zeros and ones.
    visited, rule
        From :func:`visited_sites` and :func:`flip_accounts`.
    state
        (4, 8) uint64 generators; advanced by equally many outputs in every step.
    order
        (8, 4) uint64, from :func:`latticescape.physics.kernels.multispin.exchange.first_order`;
        its first row goes on where it stopped.
    words
        Number of words that hold points, which are the first ones. Registers without a point are
        not computed.
    """
    own, shift = rule.accounts, (0,) * len(rule.shift)
    kinds, tables = (own.kinds, own.digits, shift), (own.terms, own.turned, rule.idle, rule.shift)
    parts = registers_of(words, own.width)
    flips(spins, visited, tables, state, order[0], parts, mcs, own.width, kinds, own.period)


@compiled
def flips(
    spins: Any,
    visited: Any,
    tables: Any,
    state: Any,
    order: Any,
    parts: Any,
    mcs: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Sweeps over all sites, strip by strip, for the words of one register after another."""
    sites = visited.shape[0]
    for _ in range(mcs):
        shift = next_below(order, DEMONS * period)
        for begin in range(0, sites, STRIP):
            for part in range(parts):
                own = (tables[0][part], tables[1], tables[2], tables[3])
                strip = (begin, min(begin + STRIP, sites), shift)
                flip_strip(spins, visited, strip, own, state, part, width, kinds, period)


@inlined
def flip_strip(
    spins: Any,
    visited: Any,
    strip: Any,
    tables: Any,
    state: Any,
    part: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Visit the sites of a strip once, for the words of one register."""
    generator, (begin, end, shift) = load_state(state, part, width), strip
    for block in range(begin - shift, end, DEMONS * period):
        generator, accounts = new_demons(tables[0], generator, kinds[1], ALL)
        first, last = max(block, begin), min(block + DEMONS * period, end)
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
    words, (products, digits, shifted) = accounts.dtype.words, kinds
    shape, count = [tuple(map(len, each)) for each in products], len(digits) + 1
    columns = sum(tuples * sites for tuples, sites, _ in shape)
    signature = accounts(spins, visited, visit, tables, part, accounts, kinds, visitors)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[4], words)
        turned, idle, shift = (
            register(
                builder,
                pointer(context, builder, tables[k], builder.extract_value(args[3], k)),
                args[4],
                words,
            )
            for k in (1, 2, 3)
        )
        rows = pointer(context, builder, visited, args[1])
        found = unpack(builder, args[5], DEMONS * count)
        for demon in range(len(visitors)):
            number = builder.add(args[2], ir.Constant(I64, demon))
            row = builder.mul(number, ir.Constant(I64, 1 + columns))
            site, *around = indices(builder, rows, row, 1 + columns)
            own, places = e.load(column, site), iter(around)
            *old, agreed = found[demon * count : (demon + 1) * count]
            new = list[Any]()
            for k, (tuples, sites, size) in enumerate(shape):
                odd = [
                    e.xor(*(e.load(column, next(places)) for _ in range(sites)))
                    for _ in range(tuples)
                ]
                mine = e.xor(own, e.load(turned, WORDS * k))
                freed, reach = unlike(e, odd, mine), reach_of(tuples)
                if len(shifted) and k == 0:
                    freed = [*freed, *[[] for _ in range(len(freed), size + 1)]]
                    for place, addends in enumerate(freed):
                        other = e.load(shift, WORDS * (size + 1 + place))
                        addends.append(e.xor(e.load(shift, WORDS * place), e.both(mine, other)))
                    reach = 2**size
                account = old[len(new) : len(new) + size]
                able, after = paid(e, freed, reach, account)
                # The first account is always asked, so that not every flip is certain at T = ∞.
                agreed = e.both(agreed, e.either(able, e.load(idle, WORDS * k)) if k else able)
                new += after
            found[demon * count : (demon + 1) * count - 1] = chosen(e, agreed, old, new)
            e.store(e.xor(own, agreed), column, site)
        return pack(context, builder, sig.return_type, found)

    return signature, codegen
