"""Multispin coding of exchanges for any clusters of two species, which demons pay for.

As :mod:`latticescape.physics.kernels.multispin.demon_exchange`, with these differences: the two
sites are any of one pool, or neighbours, drawn with the fixed pseudo-random sequence; and what is
around a site is a table of tuples (:mod:`products`). Before the tuples are read, both sites are
given one species where they are unlike. So a cluster that contains both counts equally for both,
however often it does, and cancels.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from latticescape.physics.compiled import compiled, inlined, intrinsic
from latticescape.physics.kernels.multispin.accounts import (
    DEMONS,
    chosen,
    digit_terms,
    new_demons,
    settled,
)
from latticescape.physics.kernels.multispin.exchange import negative_words, signed_sum
from latticescape.physics.kernels.multispin.expansion.products import Differences
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
    row_of,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import Words, load_state, store_state
from latticescape.physics.kernels.species.moves import Pairs
from latticescape.physics.kernels.streams import next_below
from latticescape.physics.models.model import Floats

Kinds = tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]


class Accounts(NamedTuple):
    """What the kernel reads for each register: thresholds of the accounts' digits, and signs.

    ``kinds`` (for each difference its tuples, the sites of one, and the digits of its account),
    ``digits`` (of all accounts) and ``width`` are tuples of zeros: their lengths are compile-time
    numbers. ``turned`` holds, for each difference, ones in the words whose amplitude is negative.
    """

    kinds: Kinds
    digits: tuple[int, ...]
    width: tuple[int, ...]
    terms: tuple[Words, ...]
    turned: Words
    period: int


def amplitudes_of(differences: Differences, couplings: Floats) -> Floats:
    """The amplitudes of some points, (differences, points).

    Parameters
    ----------
    differences
        From :mod:`latticescape.physics.kernels.multispin.expansion.products`.
    couplings
        Energy per unit of each of their features, (points, features).
    """
    # Feature by feature, so that no library decides the order of a sum.
    amplitudes = np.zeros((len(differences.shape), len(couplings)))
    for weights, coupling in zip(differences.weights.T, couplings.T, strict=True):
        amplitudes += weights[:, None] * coupling
    return amplitudes


def accounts_of(
    differences: Differences,
    amplitudes: Floats,
    temperatures: Floats,
    period: int,
    width: tuple[int, ...] | None = None,
) -> Accounts:
    """Prepare the accounts of eight points.

    Parameters
    ----------
    differences
        Of the moves.
    amplitudes
        From :func:`amplitudes_of`.
    temperatures
        (8,).
    period
        Pairs or sites that a demon visits before its accounts are drawn anew.
    width
        Words of a register; changes only speed, never a bit.
    """
    zeros = native_width() if width is None else width
    return Accounts(
        kinds=tuple(
            ((0,) * tuples, (0,) * sites, (0,) * digits)
            for (tuples, sites), digits in zip(differences.shape, differences.digits, strict=True)
        ),
        digits=(0,) * sum(differences.digits),
        width=zeros,
        terms=digit_terms(np.abs(amplitudes) / temperatures, differences.digits, len(zeros)),
        turned=negative_words(amplitudes),
        period=period,
    )


def advance(
    spins: Words,
    rows: npt.NDArray[np.int32],
    pairs: Pairs,
    rule: Accounts,
    state: Words,
    order: Words,
    mcs: int,
    words: int = WORDS,
) -> None:
    """``mcs`` Monte Carlo steps of as many attempted exchanges as there are sites that change.

    Parameters
    ----------
    spins
        (sites + 2, 8) uint64; the last two rows are zeros and ones.
    rows, pairs, rule
        Of the differences; which sites may be exchanged; and from :func:`accounts_of`.
    state
        (4, 8) uint64 generators; advanced by equally many outputs in every step.
    order
        (8, 4) uint64, from :func:`latticescape.physics.kernels.multispin.exchange.first_order`;
        goes on where it stopped.
    words
        Number of words that hold points, which are the first ones. Registers without a point are
        not computed.
    """
    kinds = (rule.kinds, rule.digits)
    for part in range(registers_of(words, rule.width)):
        tables = (rows, rule.terms[part], rule.turned)
        exchanges(
            spins, tables, pairs, state, order[part], part, mcs, rule.width, kinds, rule.period
        )


@inlined
def next_pair(order: Any, pairs: Any) -> Any:
    """Two sites of one pool; the same one twice for a neighbour beyond an open boundary."""
    place = next_below(order, len(pairs.active))
    first = np.int64(pairs.active[place])
    if pairs.partners.shape[1]:
        second = np.int64(pairs.partners[place, next_below(order, pairs.partners.shape[1])])
        return first, (first if second < 0 else second)
    other = pairs.pool_first[place] + next_below(order, pairs.pool_size[place])
    return first, np.int64(pairs.active[other])


@compiled
def exchanges(
    spins: Any,
    tables: Any,
    pairs: Any,
    state: Any,
    order: Any,
    part: Any,
    mcs: Any,
    width: Any,
    kinds: Any,
    period: Any,
) -> None:
    """Steps of attempted exchanges, one after the other, for the words of one register."""
    generator, sites = load_state(state, part, width), len(pairs.active)
    for _ in range(mcs):
        for first in range(0, sites, DEMONS * period):
            generator, accounts = new_demons(tables[1], generator, kinds[1], ())
            count = min(DEMONS * period, sites - first)
            for _ in range(count // DEMONS):
                a, b = next_pair(order, pairs), next_pair(order, pairs)
                c, d = next_pair(order, pairs), next_pair(order, pairs)
                accounts = attempt(spins, tables, (a, b, c, d), part, accounts, kinds)
            for _ in range(count % DEMONS):
                pair = next_pair(order, pairs)
                accounts = attempt(spins, tables, (pair,), part, accounts, kinds)
    store_state(state, part, generator)


@intrinsic
def attempt(
    typingctx: Any, spins: Any, tables: Any, pairs: Any, part: Any, accounts: Any, kinds: Any
) -> Any:
    """Attempt to exchange the sites of one pair for each of the first demons; returns the accounts
    of all."""
    words, (products, digits) = accounts.dtype.words, kinds
    shape, count = [(len(tuples), len(sites)) for tuples, sites, _ in products], len(digits) + 1
    columns = sum(tuples * sites for tuples, sites in shape)
    signature = accounts(spins, tables, pairs, part, accounts, kinds)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        rows, _, turned = (
            pointer(context, builder, kind, builder.extract_value(args[1], k))
            for k, kind in enumerate(tables)
        )
        column = register(builder, pointer(context, builder, spins, args[0]), args[3], words)
        signs = register(builder, turned, args[3], words)
        found = unpack(builder, args[4], DEMONS * count)
        for demon, pair in enumerate(unpack(builder, args[2], len(pairs))):
            sites = unpack(builder, pair, 2)
            places = [row_of(builder, site) for site in sites]
            i, j = (e.load(column, place) for place in places)
            for place in places:
                e.store(e.both(i, j), column, place)
            mine, theirs = (
                _counted(builder, e, column, rows, site, columns, shape) for site in sites
            )
            changes = [
                (signed_sum(e, a, b, e.xor(i, e.load(signs, WORDS * k))), most)
                for k, (a, b, (most, _)) in enumerate(zip(mine, theirs, shape, strict=True))
            ]
            old = found[demon * count : (demon + 1) * count - 1]
            moved, new = settled(e, changes, old, e.xor(i, j))
            found[demon * count : (demon + 1) * count - 1] = chosen(e, moved, old, new)
            for value, place in zip((i, j), places, strict=True):
                e.store(e.xor(value, moved), column, place)
        return pack(context, builder, sig.return_type, found)

    return signature, codegen


def _counted(
    builder: Any, e: Emitter, column: Any, rows: Any, site: Any, columns: int, shape: Any
) -> list[list[Any]]:
    """For each difference, where each tuple around a site counts."""
    row = builder.mul(site, ir.Constant(I64, columns))
    spins = iter([e.load(column, place) for place in indices(builder, rows, row, columns)])
    return [
        [e.xor(*(next(spins) for _ in range(width))) for _ in range(tuples)]
        for tuples, width in shape
    ]
