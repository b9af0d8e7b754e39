"""Heat-bath single flips where every site has a table of its own: random bonds in the lanes.

As :mod:`heat_bath`, but a site's class is which of its z neighbours are up, 2^z of them,
and P(up) of each is the site's own. Of a threshold's plane a point takes one bit, so the eight
points of a group share a byte: a table is 32·2^z bytes, spread over the words as it is read.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from latticescape.physics.compiled import compiled, intrinsic
from latticescape.physics.kernels.multispin.simd import (
    I64,
    WORDS,
    Emitter,
    indices,
    native_width,
    pack,
    pointer,
    register,
    unpack,
)
from latticescape.physics.kernels.multispin.streams import (
    PLANES,
    Words,
    draw,
    load_state,
    store_state,
)
from latticescape.physics.kernels.multispin.thresholds import Trial, linear, passed, products

Sites = npt.NDArray[Any]
Terms = npt.NDArray[np.uint8]

# Planes without a test. Changes speed alone.
HOT = 11

# A table of more neighbours would not stay in a processor's cache.
MOST_NEIGHBORS = 6


def site_terms(t: npt.NDArray[np.uint32]) -> Terms:
    """Coefficients of every site's thresholds, (sites, 32, 2^z) bytes, bit w of a byte point w's.

    Parameters
    ----------
    t
        (8, sites, 2^z), from :func:`thresholds`: bit j of a class's number is
        whether neighbour j is up. Overwritten.
    """
    for place in range(t.shape[-1].bit_length() - 1):
        half = t.reshape(*t.shape[:2], -1, 2, 2**place)
        half[..., 1, :] ^= half[..., 0, :]
    terms = np.empty((t.shape[1], PLANES, t.shape[2]), np.uint8)
    pack_planes(t, terms)
    return terms


@compiled
def pack_planes(t: Any, terms: Any) -> None:
    """Gather bit 31 − k of the eight points' numbers in a byte, for every plane k."""
    for site in range(terms.shape[0]):
        for plane in range(terms.shape[1]):
            place = np.uint32(terms.shape[1] - 1 - plane)
            for term in range(terms.shape[2]):
                byte = np.uint32(0)
                for word in range(t.shape[0]):
                    bit = (t[word, site, term] >> place) & np.uint32(1)
                    byte |= bit << np.uint32(word)
                terms[site, plane, term] = byte


def advance(
    spins: Words,
    visited: Sites,
    terms: Terms,
    state: Words,
    mcs: int,
    width: tuple[int, ...] | None = None,
) -> None:
    """``mcs`` Monte Carlo steps, in place.

    Parameters
    ----------
    spins
        (sites, 8) uint64.
    visited
        From :func:`visits`.
    terms
        From :func:`site_terms`, the sites in the order of ``visited``.
    state
        (4, 8) uint64 generators; advanced by one draw a site.
    width
        Words a register; changes speed alone.
    """
    zeros = native_width() if width is None else width
    around = (0,) * (visited.shape[1] - 1)
    for part in range(WORDS // len(zeros)):
        heat_bath(spins, visited, terms, state, part, mcs, zeros, around)


@compiled
def heat_bath(
    spins: Any, visited: Any, terms: Any, state: Any, part: Any, mcs: Any, width: Any, around: Any
) -> None:
    """Sweeps over all sites, for the words of one register."""
    generator = load_state(state, part, width)
    for _ in range(mcs):
        for visit in range(visited.shape[0]):
            generator = update(spins, visited, visit, terms, part, generator, around)
    store_state(state, part, generator)


@intrinsic
def update(
    typingctx: Any,
    spins: Any,
    visited: Any,
    visit: Any,
    terms: Any,
    part: Any,
    generator: Any,
    around: Any,
) -> Any:
    """Draw one site anew; returns the generators."""
    words, z = generator.dtype.words, len(around)
    signature = generator(spins, visited, visit, terms, part, generator, around)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = Emitter(context, builder, words)
        column = register(builder, pointer(context, builder, spins, args[0]), args[4], words)
        table = pointer(context, builder, visited, args[1])
        row = builder.mul(args[2], ir.Constant(I64, 1 + z))
        site, *others = indices(builder, table, row, 1 + z)
        masks = products(e, [e.load(column, place) for place in others], 2**z - 1)
        start = builder.mul(args[2], ir.Constant(I64, PLANES * 2**z))
        own = builder.gep(pointer(context, builder, terms, args[3]), [start])

        def load(plane: int, term: int) -> Any:
            return e.spread(own, plane * 2**z + term, args[4])

        fresh, after = draw(e, unpack(builder, args[5], 4))
        trial = Trial(lambda k: linear(e, load, k, 0, masks), fresh, e.zero)
        e.store(passed(e, [trial], HOT)[0], column, site)
        return pack(context, builder, sig.return_type, after)

    return signature, codegen
