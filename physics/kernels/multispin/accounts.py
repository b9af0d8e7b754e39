"""Accounts of demons: what pays for a move, digit by digit, for all replicas at once.

A demon carries an account of energy (Creutz 1983). A move is made if the account can pay for it, or
can keep what the move sets free; otherwise nothing happens. That is a bijection of configuration
and account that keeps their energy, and so keeps the weight exp(−(E + account)/T). After some
moves the account is drawn anew from its own Boltzmann law, which keeps the weight as well. So the
configurations are sampled exactly from exp(−E/T), whatever the number of moves; the idea is that of
MicSA (arXiv:2506.16240).

Where an energy is a sum Σ A_k u_k, each term has an account of its own in units of |A_k|, and all
accounts have to agree to a move: Π exp(−(A_k u_k + |A_k| e_k)/T) is kept factor by factor. An
account of d digits holds 0 ... 2^d − 1 units. The digits are independent bits, the one of 2^j units
set with probability w^(2^j) / (1 + w^(2^j)), w = exp(−unit/T).

References
----------
Creutz, Phys. Rev. Lett. 50, 1411 (1983), 10.1103/PhysRevLett.50.1411.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from latticescape.physics.compiled import compiled, inlined, intrinsic
from latticescape.physics.kernels.boltzmann import occupation
from latticescape.physics.kernels.multispin.simd import (
    WORDS,
    Emitter,
    add_columns,
    aligned_copy,
    pack,
    pointer,
    tuple_of,
    unpack,
)
from latticescape.physics.kernels.multispin.thresholds import (
    PLANES,
    Load,
    Trial,
    Words,
    draw,
    loader,
    passed,
    random_planes,
    threshold_planes,
)

Floats = npt.NDArray[np.float64]

# Demons that take turns, so that a step of one need not wait for the result of another.
DEMONS = 4

# Random bits that are all set where a demon sleeps. Those of four demons are 24 of the 32 bits that
# one draw gives.
COINS = 6

# Digits of the account of a field: in a weak field few flips find it full or empty.
FIELD_DIGITS = 3

# Bit planes without a test: 512 replicas are mostly decided after them. Changes only speed.
HOT = 12


def digit_terms(units: Floats, digits: Sequence[int], words: int) -> tuple[Words, ...]:
    """The thresholds of the digits of all accounts, for each register as the kernel reads them.

    Parameters
    ----------
    units
        Energy of one unit of each account over temperature, (accounts, 8).
    digits
        Binary digits of each account.
    words
        Number of words of a register.
    """
    energies = [u * 2.0**j for u, d in zip(units, digits, strict=True) for j in range(d)]
    planes = threshold_planes(occupation(np.stack(energies)))
    terms = np.swapaxes(planes, 0, 1).reshape(-1, WORDS)
    return tuple(aligned_copy(terms[:, k : k + words]) for k in range(0, WORDS, words))


@inlined
def new_demons(terms: Any, generator: Any, digits: Any, sleeps: Any) -> Any:
    """The generators, and the accounts of four demons one after another.

    ``digits`` is a tuple of zeros, one for each digit of the accounts of one demon. The digits of a
    demon are followed by the replicas in which it is awake. The first ``len(sleeps)`` demons sleep
    with probability 1/64.
    """
    # Calls of one function each, since it is long to compile.
    generator, awake = sleepers(generator, sleeps)
    generator, first = new_demon(terms, generator, digits)
    generator, second = new_demon(terms, generator, digits)
    generator, third = new_demon(terms, generator, digits)
    generator, fourth = new_demon(terms, generator, digits)
    return generator, (
        first + awake[:1] + second + awake[1:2] + third + awake[2:3] + fourth + awake[3:]
    )


@intrinsic
def sleepers(typingctx: Any, generator: Any, sleeps: Any) -> Any:
    """The generators, and the replicas in which each demon is awake."""
    words = generator.dtype.words
    result = types.Tuple((generator, tuple_of(words, DEMONS)))
    signature = result(generator, sleeps)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        after, awake = unpack(builder, args[0], 4), [e.ones] * DEMONS
        if len(sleeps):
            fresh, after = draw(e, after)
            plane = random_planes(e, fresh)
            for demon in range(len(sleeps)):
                coins = [plane(COINS * demon + k) for k in range(COINS)]
                awake[demon] = e.inverse(e.both(*coins))
        return _packed(context, builder, result, (after, awake))

    return signature, codegen


@compiled
def new_demon(terms: Any, generator: Any, digits: Any) -> Any:
    """The generators, and the accounts of a new demon."""
    return drawn_accounts(terms, generator, digits)


@intrinsic
def drawn_accounts(typingctx: Any, terms: Any, generator: Any, digits: Any) -> Any:
    """As :func:`new_demon`."""
    words, count = generator.dtype.words, len(digits)
    result = types.Tuple((generator, tuple_of(words, count)))
    signature = result(terms, generator, digits)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        base = pointer(context, builder, terms, args[0])
        after, trials = unpack(builder, args[1], 4), list[Trial]()
        for digit in range(count):
            outputs, after = draw(e, after)
            load = loader(e, base, 1, digit * PLANES)
            trials.append(Trial(partial(_first_term, load), outputs, e.zero))
        return _packed(context, builder, result, (after, passed(e, trials, HOT)))

    return signature, codegen


def _packed(context: Any, builder: Any, result: Any, parts: Sequence[Sequence[Any]]) -> Any:
    """A tuple of tuples of vectors."""
    packed = [
        pack(context, builder, kind, values)
        for kind, values in zip(result.types, parts, strict=True)
    ]
    return pack(context, builder, result, packed)


def _first_term(load: Load, plane: int) -> Any:
    return load(plane, 0)


def digits_of(reach: int) -> int:
    """Digits of an account that can pay for any move of at most so many units.

    Examples
    --------
    >>> [digits_of(reach) for reach in (1, 2, 3, 4, 8)]
    [2, 2, 2, 3, 4]
    """
    return max(2, reach.bit_length())


def reach_of(z: int) -> int:
    """The most units that a flip among z neighbours costs or sets free.

    A flip makes z − 2n more neighbours unlike where n are: units of two if z is even.
    """
    return z if z % 2 else z // 2


def settled(
    e: Emitter,
    changes: Iterable[tuple[Sequence[Sequence[Any]], int]],
    accounts: Sequence[Any],
    agreed: Any,
) -> tuple[Any, list[Any]]:
    """Where all accounts can pay for a move, and the accounts after it.

    Parameters
    ----------
    changes
        What the move sets free in the units of each account, and its reach: as for :func:`paid`.
    accounts
        The digits of one account after another; there may be more accounts than changes.
    agreed
        Where the move is made if the accounts can pay for it.
    """
    after = list[Any]()
    for freed, reach in changes:
        account = accounts[len(after) : len(after) + digits_of(reach)]
        able, digits = paid(e, freed, reach, account)
        agreed, after = e.both(agreed, able), after + digits
    return agreed, after


def paid(
    e: Emitter, columns: Sequence[Sequence[Any]], reach: int, account: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """Where an account can pay for a move or keep what it sets free, and the account after it.

    Parameters
    ----------
    columns
        Vectors that count 2^k each, in ``columns[k]``: together ``reach`` and what the move sets
        free, 0 to 2 · reach units.
    reach
        The most units that a move costs or sets free; at most 2^d for an account of d digits.
    account
        Its digits, the lowest first.

    Notes
    -----
    Both are added to a constant such that the sum is 2^d plus the new account. It fits if the digit
    of 2^d is set, since the sum is less than 3 · 2^d.
    """
    digits = len(account)
    constant = 2**digits - reach
    filled = [list(column) for column in columns]
    filled += [[] for _ in range(digits + 1 - len(filled))]
    for place in range(digits):
        filled[place] += [account[place]] + [e.ones] * (constant >> place & 1)
    total = add_columns(e, filled)
    return total[digits], total[:digits]


def chosen(e: Emitter, agreed: Any, old: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    """The new accounts where a move is made, the old ones elsewhere."""
    return [e.xor(a, e.both(agreed, e.xor(a, b))) for a, b in zip(old, new, strict=True)]
