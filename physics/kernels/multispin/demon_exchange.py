"""Multispin coding of Kawasaki exchange that a demon pays for: few random numbers, no tables.

Four demons take turns to visit the bonds in the order of :mod:`exchange`. The ends of a bond are
exchanged where the accounts of all differences can pay for it (:mod:`accounts`), each in units of
its own amplitude. Accounts are drawn anew after ``period`` bonds of each demon. No demon sleeps:
the order of the bonds never repeats, so no cycle holds a replica.

Accounts end with a sweep, and a sweep always takes the same number of random numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from latticescape.physics.compiled import compiled, intrinsic
from latticescape.physics.kernels.multispin.accounts import (
    DEMONS,
    chosen,
    digit_terms,
    digits_of,
    new_demons,
    settled,
)
from latticescape.physics.kernels.multispin.exchange import BondTable, differences, negative_words
from latticescape.physics.kernels.multispin.simd import (
    I64,
    WORDS,
    Emitter,
    indices,
    native_width,
    pack,
    pointer,
    register,
    registers_of,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import Words, load_state, store_state
from latticescape.physics.kernels.streams import next_below

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ExchangeAccounts:
    """What the kernel reads for each register: thresholds of the accounts' digits, and signs.

    ``sizes``, ``edges``, ``digits`` (of all accounts) and ``width`` are tuples of zeros: their
    lengths are compile-time numbers. ``turned`` holds, for each difference, ones in the words whose
    amplitude is negative.
    """

    sizes: tuple[tuple[int, ...], ...]
    edges: tuple[int, ...]
    digits: tuple[int, ...]
    width: tuple[int, ...]
    terms: tuple[Words, ...]
    turned: Words
    period: int


def exchange_accounts(
    table: BondTable,
    amplitudes: Floats,
    temperatures: Floats,
    period: int,
    width: tuple[int, ...] | None = None,
) -> ExchangeAccounts:
    """Prepare the accounts of eight points.

    Parameters
    ----------
    table
        From :func:`latticescape.physics.kernels.multispin.exchange.bond_table`.
    amplitudes
        Energy of one step of each difference, (differences, 8).
    temperatures
        (8,).
    period
        Bonds that a demon visits before its accounts are drawn anew.
    width
        Words of a register; changes only speed, never a bit.
    """
    zeros = native_width() if width is None else width
    digits = [digits_of(most) for most in table.magnitudes]
    return ExchangeAccounts(
        sizes=tuple((0,) * m for m in table.shells),
        edges=(0,) * int(table.edges),
        digits=(0,) * sum(digits),
        width=zeros,
        terms=digit_terms(np.abs(amplitudes) / temperatures, digits, len(zeros)),
        turned=negative_words(amplitudes),
        period=period,
    )


def advance(
    spins: Words,
    table: BondTable,
    rule: ExchangeAccounts,
    state: Words,
    order: Words,
    mcs: int,
    words: int = WORDS,
) -> None:
    """``mcs`` Monte Carlo steps of as many attempted exchanges as there are sites, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    table, rule
        From :func:`latticescape.physics.kernels.multispin.exchange.bond_table` and
        :func:`exchange_accounts`.
    state
        (4, 8) uint64 generators; advanced by equally many outputs in every step.
    order
        (8, 4) uint64, from :func:`latticescape.physics.kernels.multispin.exchange.first_order`;
        goes on where it stopped.
    words
        Number of words that hold points, which are the first ones. Registers without a point are
        not computed.
    """
    kinds = (rule.sizes, rule.edges, rule.digits)
    for part in range(registers_of(words, rule.width)):
        tables = (table.rows, rule.terms[part], rule.turned)
        exchanges(spins, tables, state, order[part], part, mcs, rule.width, kinds, rule.period)


@compiled
def exchanges(
    spins: Any,
    tables: Any,
    state: Any,
    order: Any,
    part: Any,
    mcs: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Steps of attempted exchanges, one after the other, for the words of one register."""
    generator, sites, bonds = load_state(state, part, width), spins.shape[0], tables[0].shape[0]
    for _ in range(mcs):
        for first in range(0, sites, DEMONS * period):
            generator, accounts = new_demons(tables[1], generator, kinds[2], ())
            count = min(DEMONS * period, sites - first)
            for _ in range(count // DEMONS):
                a, b = next_below(order, bonds), next_below(order, bonds)
                c, d = next_below(order, bonds), next_below(order, bonds)
                accounts = attempt(spins, tables, (a, b, c, d), part, accounts, kinds)
            for _ in range(count % DEMONS):
                accounts = attempt(
                    spins, tables, (next_below(order, bonds),), part, accounts, kinds
                )
    store_state(state, part, generator)


@intrinsic
def attempt(
    typingctx: Any, spins: Any, tables: Any, bonds: Any, part: Any, accounts: Any, kinds: Any
) -> Any:
    """Attempt to exchange the ends of one bond for each of the first demons; returns the accounts
    of all."""
    words, (sizes, edges, digits) = accounts.dtype.words, kinds
    shells, rings, count = [len(size) for size in sizes], len(edges) > 0, len(digits) + 1
    columns = 2 + 2 * sum(shells) + 2 * rings
    many = len(shells) + rings
    signature = accounts(spins, tables, bonds, part, accounts, kinds)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        rows, _, turned = (
            pointer(context, builder, kind, builder.extract_value(args[1], k))
            for k, kind in enumerate(tables)
        )
        column = register(builder, pointer(context, builder, spins, args[0]), args[3], words)
        signs = register(builder, turned, args[3], words)
        found = unpack(builder, args[4], DEMONS * count)
        for demon, bond in enumerate(unpack(builder, args[2], len(bonds))):
            row = builder.mul(bond, ir.Constant(I64, columns))
            places = indices(builder, rows, row, columns)
            i, j, *around = [e.load(column, place) for place in places]
            old = found[demon * count : (demon + 1) * count - 1]
            turns = [e.xor(i, e.load(signs, WORDS * k)) for k in range(many)]
            changes = differences(e, around, shells, rings, turns)
            moved, new = settled(e, changes, old, e.xor(i, j))
            found[demon * count : (demon + 1) * count - 1] = chosen(e, moved, old, new)
            e.store(e.xor(i, moved), column, places[0])
            e.store(e.xor(j, moved), column, places[1])
        return pack(context, builder, sig.return_type, found)

    return signature, codegen
