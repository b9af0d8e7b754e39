"""Codes of the configuration classes: a few bits that distinguish them, from a few gates.

A code is the code of the ring and, above it, the centre's bit. The ring's code is a circuit of the
lattice kind. Opposite neighbours are an axis: with both its sites up it is *double*, with one of
them *single*. How many axes are single and how many double tells the rings of the square and the
cubic lattice apart. On the triangular lattice it also matters whether the single axes' up sites
stand on even as well as on odd places of the ring.

Nothing is taken on trust: :func:`class_codes` runs the circuit over all 2^(z+1) neighbourhoods and
holds it against the class table (latticescape.physics.lattices.configurations).
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from latticescape.physics.kernels.multispin.simd import Emitter, full_adder
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.geometry import neighbor_steps

Places = tuple[int, int]


@dataclass(frozen=True)
class ClassCodes:
    """The codes of a lattice kind's classes.

    Attributes
    ----------
    kind
        The lattice kind.
    planes
        Bits of a code.
    classes
        The class of each code that occurs. Codes and classes are one to one, and with a code
        occurs every code whose bits are among its own, which ``parities`` needs.

    Examples
    --------
    >>> codes = class_codes("square")
    >>> codes.planes, list(codes.classes)
    (4, [0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14])
    """

    kind: str
    planes: int
    classes: Mapping[int, int]


@cache
def class_codes(kind: str) -> ClassCodes:
    """The codes of a lattice kind, checked against its class table.

    Parameters
    ----------
    kind
        ``square``, ``triangular``, ``honeycomb`` or ``cubic``.
    """
    table = configurations(kind).table
    sites = [np.arange(len(table)) >> k & 1 > 0 for k in range(len(table).bit_length() - 1)]
    planes = code_planes(_AtOnce(), kind, sites)
    codes = sum(plane.astype(int) << k for k, plane in enumerate(planes))
    found = sorted(set(zip(codes.tolist(), table.tolist(), strict=True)))
    classes = dict(found)
    if not len(found) == len(classes) == len(configurations(kind)):
        raise AssertionError(f"{kind}: codes and classes are not one to one")
    if any(code & ~(1 << k) not in classes for code in classes for k in range(len(planes))):
        raise AssertionError(f"{kind}: a part of a code is not a code")
    return ClassCodes(kind, len(planes), classes)


class _AtOnce(Emitter):
    """Gates that work on arrays of bool, where an emitter writes instructions."""

    def __init__(self) -> None:
        self.builder, self.ones = operator, True


def code_planes(e: Emitter, kind: str, site: Sequence[Any]) -> list[Any]:
    """The bits of a site's code, the lowest first; ``site`` is the centre and its ring."""
    centre, *ring = site
    return [*_CIRCUITS[kind](e, ring, _axes(kind)), centre]


def _number(e: Emitter, ring: Sequence[Any], axes: Sequence[Places]) -> list[Any]:
    return [*_sum(e, ring)]


def _two_axes(e: Emitter, ring: Sequence[Any], axes: Sequence[Places]) -> list[Any]:
    single, two_single = _sum(e, [e.xor(ring[a], ring[b]) for a, b in axes])
    double, two_double = _sum(e, [e.both(ring[a], ring[b]) for a, b in axes])
    return [single, e.xor(double, two_single), e.either(two_double, two_single)]


def _three_axes(e: Emitter, ring: Sequence[Any], axes: Sequence[Places]) -> list[Any]:
    single = _sum(e, [e.xor(ring[a], ring[b]) for a, b in axes])
    double = _sum(e, [e.both(ring[a], ring[b]) for a, b in axes])
    return [*single, *double]


def _hexagon(e: Emitter, ring: Sequence[Any], axes: Sequence[Places]) -> list[Any]:
    """As three axes; the bit of weight two of the doubles is free where two axes are single."""
    sides = [(ring[a], ring[b]) if a % 2 == 0 else (ring[b], ring[a]) for a, b in axes]
    on_even = e.either(*(e.both(even, e.inverse(odd)) for even, odd in sides))
    on_odd = e.either(*(e.both(odd, e.inverse(even)) for even, odd in sides))
    *others, highest = _three_axes(e, ring, axes)
    return [*others, e.either(highest, e.both(on_even, on_odd))]


def _sum(e: Emitter, bits: Sequence[Any]) -> tuple[Any, Any]:
    """The two digits of the sum of two or three bits."""
    return full_adder(e, bits[0], bits[1], bits[2:])


@cache
def _axes(kind: str) -> list[Places]:
    """Places in the ring of opposite neighbours."""
    vectors = np.array([step.vector for step in neighbor_steps(kind, 1)[0]])
    pairs = combinations(range(len(vectors)), 2)
    return [(a, b) for a, b in pairs if np.allclose(vectors[a] + vectors[b], 0)]


_CIRCUITS = {
    "square": _two_axes,
    "triangular": _hexagon,
    "honeycomb": _number,
    "cubic": _three_axes,
}
