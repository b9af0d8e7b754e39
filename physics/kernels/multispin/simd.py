"""Vectors of 64-bit words for Numba: a point is a word, and a register holds several points.

Type
    ``WordVector(words)`` is lowered to the LLVM vector ``<words x i64>``. Its width is a parameter
    of the type: 8 words are one zmm register, 4 one ymm, 2 one xmm or NEON register. Words never
    mix, so the width changes speed alone, not one bit. A kernel learns the width, like every other
    number that must be known when it is compiled, from the *length* of a tuple argument:
    ``kernel(..., width=(0,) * 4)``.
Lowering
    Scalar code over small uint64 arrays is not vectorised by LLVM (aliasing, wrap-around checks),
    so vectors are said outright. Loads and stores go through raw pointers without bounds checks
    and ask for the alignment of a word alone. Kernels are straight-line code that Python loops
    emit (:class:`Emitter`): no register is indexed at run time. Rotations by whole bytes are
    written as byte shuffles, one ``vpshufb`` where AVX2 would need two shifts and an or; LLVM
    fuses and/or/xor to ``vpternlog`` where there is AVX-512.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

WORDS = 8
I64 = ir.IntType(64)
I32 = ir.IntType(32)
I8 = ir.IntType(8)


class WordVector(types.Type):  # type: ignore[misc]
    """A vector of ``words`` 64-bit words."""

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__(name=f"Lanes({words})")


@register_model(WordVector)
class WordVectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """``WordVector(words)`` is the LLVM type ``<words x i64>``."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(I64, fe_type.words))


@cache
def native_width() -> tuple[int, ...]:
    """The width argument of this processor: eight words with AVX-512, else four."""
    features = llvm.get_host_cpu_features()
    return (0,) * (8 if features.get("avx512f") and features.get("avx512bw") else 4)


def registers_of(words: int, width: tuple[int, ...]) -> int:
    """Number of registers that hold the first ``words`` words, of ``len(width)`` words each.

    Examples
    --------
    >>> [registers_of(words, (0,) * 4) for words in (1, 4, 5, 8)]
    [1, 1, 2, 2]
    """
    return -(-words // len(width))


def aligned(shape: tuple[int, ...], dtype: Any = np.uint64) -> npt.NDArray[Any]:
    """An array of zeros that begins at a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    array: npt.NDArray[Any] = raw[start : start + size].view(dtype).reshape(shape)
    return array


def aligned_copy(array: npt.ArrayLike) -> npt.NDArray[Any]:
    """A C-contiguous copy that begins at a cache line."""
    source = np.asarray(array)
    copy = aligned(source.shape, source.dtype)
    copy[...] = source
    return copy


class Emitter:
    """Writes LLVM instructions on vectors of ``words`` words."""

    def __init__(self, context: Any, builder: Any, words: int) -> None:
        self.context, self.builder, self.words = context, builder, words
        self.vector = ir.VectorType(I64, words)
        self.zero = ir.Constant(self.vector, [0] * words)
        self.ones = ir.Constant(self.vector, [2**64 - 1] * words)

    def xor(self, *values: Any) -> Any:
        return self._fold(self.builder.xor, values)

    def both(self, *values: Any) -> Any:
        return self._fold(self.builder.and_, values)

    def either(self, *values: Any) -> Any:
        return self._fold(self.builder.or_, values)

    def add(self, *values: Any) -> Any:
        return self._fold(self.builder.add, values)

    def inverse(self, value: Any) -> Any:
        return self.builder.xor(value, self.ones)

    def shl(self, value: Any, bits: int) -> Any:
        return self.builder.shl(value, self.constant(bits))

    def shr(self, value: Any, bits: int) -> Any:
        return self.builder.lshr(value, self.constant(bits))

    def rotl(self, value: Any, bits: int) -> Any:
        """Rotate every word to the left."""
        if bits % 64 == 0:
            return value
        if bits % 8 == 0:
            return self._rotate_bytes(value, bits // 8 % 8)
        return self.builder.or_(self.shl(value, bits % 64), self.shr(value, -bits % 64))

    def constant(self, value: int) -> Any:
        return ir.Constant(self.vector, [value] * self.words)

    def spread(self, bytes_: Any, place: Any, part: Any) -> Any:
        """Of eight points' bits in a byte those of one register, each word all ones or zeros."""
        offset = ir.Constant(I64, place) if isinstance(place, int) else place
        byte = self.builder.load(self.builder.gep(bytes_, [offset]))
        first = self.builder.trunc(self.builder.mul(part, ir.Constant(I64, self.words)), I8)
        shifted = self.builder.lshr(byte, first)
        narrow = self.builder.trunc(shifted, ir.IntType(self.words)) if self.words < 8 else shifted
        bits = self.builder.bitcast(narrow, ir.VectorType(ir.IntType(1), self.words))
        return self.builder.sext(bits, self.vector)

    def any_set(self, value: Any) -> Any:
        """Whether any bit is set, i1."""
        whole = self.builder.bitcast(value, ir.IntType(64 * self.words))
        return self.builder.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0))

    def load(self, pointer: Any, words: Any) -> Any:
        """The vector that begins ``words`` words after an i64 pointer."""
        return self.builder.load(self._at(pointer, words), align=8)

    def store(self, value: Any, pointer: Any, words: Any) -> None:
        self.builder.store(value, self._at(pointer, words), align=8)

    def _at(self, pointer: Any, words: Any) -> Any:
        offset = ir.Constant(I64, words) if isinstance(words, int) else words
        place = self.builder.gep(pointer, [offset])
        return self.builder.bitcast(place, self.vector.as_pointer())

    def _fold(self, operation: Any, values: Sequence[Any]) -> Any:
        result = values[0]
        for value in values[1:]:
            result = operation(result, value)
        return result

    def _rotate_bytes(self, value: Any, count: int) -> Any:
        narrow = ir.VectorType(I8, 8 * self.words)
        order = [8 * w + (b - count) % 8 for w in range(self.words) for b in range(8)]
        places = ir.Constant(ir.VectorType(I32, 8 * self.words), order)
        cast = self.builder.bitcast(value, narrow)
        mixed = self.builder.shuffle_vector(cast, ir.Constant(narrow, ir.Undefined), places)
        return self.builder.bitcast(mixed, self.vector)


def pointer(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """The data pointer of a C-contiguous array."""
    return context.make_array(array_type)(context, builder, array).data


def pack(context: Any, builder: Any, kind: Any, values: Sequence[Any]) -> Any:
    """A tuple of vectors."""
    return context.make_tuple(builder, kind, values)


def unpack(builder: Any, values: Any, count: int) -> list[Any]:
    """The vectors of a tuple."""
    return [builder.extract_value(values, k) for k in range(count)]


def tuple_of(words: int, count: int) -> Any:
    """The type of a tuple of ``count`` vectors."""
    return types.UniTuple(WordVector(words), count)


def register(builder: Any, base: Any, part: Any, words: int) -> Any:
    """The pointer to the words of one register, in a row of all words."""
    return builder.gep(base, [builder.mul(part, ir.Constant(I64, words))])


def row_of(builder: Any, site: Any) -> Any:
    """Words before a site's row."""
    return builder.mul(site, ir.Constant(I64, WORDS))


def indices(builder: Any, table: Any, row: Any, count: int) -> list[Any]:
    """``count`` integers of a table of int32 or int64 from ``row`` on, as i64."""
    places = [builder.gep(table, [builder.add(row, ir.Constant(I64, k))]) for k in range(count)]
    values = [builder.load(place) for place in places]
    return [v if v.type == I64 else builder.zext(v, I64) for v in values]


def count_bits(e: Emitter, inputs: Sequence[Any]) -> list[Any]:
    """The number of set inputs, the lowest digit first."""
    return add_columns(e, [list(inputs)])[: len(inputs).bit_length()]


def add_columns(e: Emitter, columns: Sequence[Sequence[Any]]) -> list[Any]:
    """Add bit-sliced numbers: each vector in ``columns[k]`` counts 2^k where its bits are set.

    Returns the vectors of the sum's binary digits, the lowest first.
    """
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
    """Add the vectors of one binary place: at most one remains, and carries to the next place."""
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
