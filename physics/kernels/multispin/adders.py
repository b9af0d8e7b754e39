"""Bit-sliced addition: the number of set inputs, lane by lane, one vector a binary digit."""

from collections.abc import Sequence
from typing import Any

from latticescape.physics.kernels.multispin.simd import Emitter


def count_bits(e: Emitter, inputs: Sequence[Any]) -> list[Any]:
    """The number of set inputs, the lowest digit first."""
    return add_columns(e, [list(inputs)])[: len(inputs).bit_length()]


def add_columns(e: Emitter, columns: Sequence[Sequence[Any]]) -> list[Any]:
    """The sum of vectors given by binary place: ``columns[k]`` count 2^k each."""
    todo, digits = [list(column) for column in columns], []
    place = 0
    while place < len(todo) and (todo[place] or place + 1 < len(todo)):
        left, carries = add_column(e, todo[place])
        if carries:
            if place + 1 == len(todo):
                todo.append([])
            todo[place + 1] += carries
        digits.append(left[0] if left else e.zero)
        place += 1
    return digits


def add_column(e: Emitter, column: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """One place reduced to at most one vector, and the carries to the next place."""
    left, carries = list(column), []
    while len(left) > 1:
        total, carry = full_adder(e, left[0], left[1], left[2:3])
        left = [*left[3:], total]
        carries.append(carry)
    return left, carries


def full_adder(e: Emitter, a: Any, b: Any, third: Sequence[Any]) -> tuple[Any, Any]:
    """Sum and carry of two or three vectors."""
    half, both = e.xor(a, b), e.both(a, b)
    if not third:
        return half, both
    return e.xor(half, third[0]), e.either(e.both(half, third[0]), both)
