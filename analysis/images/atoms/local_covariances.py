"""Compiled: covariances of each atom's parameters when its neighbours' are unknown as well."""

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Smallest pivot of a factorization, of the diagonal's element.
PIVOT = 1e-9


@compiled
def factorize(matrix: Floats, size: int) -> None:
    """Cholesky's lower triangle of the first rows of a matrix, in place.

    A pivot is at least ``PIVOT`` of its diagonal: that of two atoms in one place would be zero.
    """
    for a in range(size):
        least = PIVOT * matrix[a, a]
        for b in range(a + 1):
            total = matrix[a, b]
            for c in range(b):
                total -= matrix[a, c] * matrix[b, c]
            if a == b:
                matrix[a, a] = np.sqrt(max(total, least, 1e-300))
            else:
                matrix[a, b] = total / matrix[b, b]


@compiled
def solve(matrix: Floats, size: int, vector: Floats) -> None:
    """Solve in place, ``matrix`` being factorized."""
    for a in range(size):
        for c in range(a):
            vector[a] -= matrix[a, c] * vector[c]
        vector[a] /= matrix[a, a]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            vector[a] -= matrix[c, a] * vector[c]
        vector[a] /= matrix[a, a]


@compiled
def put(block: Floats, matrix: Floats, row: int, col: int) -> None:
    """Write a block into its place."""
    for a in range(5):
        for b in range(5):
            matrix[5 * row + a, 5 * col + b] = block[a, b]


@compiled
def gather(
    members: Integers,
    starts: Integers,
    others: Integers,
    blocks: Floats,
    mixed: Floats,
    matrix: Floats,
) -> None:
    """The information of some atoms as one matrix."""
    count = len(members)
    for a in range(5 * count):
        for b in range(5 * count):
            matrix[a, b] = 0.0
    for a in range(count):
        put(blocks[members[a]], matrix, a, a)
        for k in range(starts[members[a]], starts[members[a] + 1]):
            for b in range(count):
                if others[k] == members[b]:
                    put(mixed[k], matrix, a, b)


@compiled
def local_covariances(
    starts: Integers, others: Integers, near: Mask, blocks: Floats, mixed: Floats, found: Floats
) -> None:
    """Covariance of each atom's parameters (atoms, 25), its near neighbours being unknown too."""
    most = 1
    for i in range(len(blocks)):
        most = max(most, 1 + starts[i + 1] - starts[i])
    matrix = np.empty((5 * most, 5 * most))
    vector = np.empty(5 * most)
    all_members = np.empty(most, np.int64)
    for i in range(len(blocks)):
        all_members[0] = i
        count = 1
        for k in range(starts[i], starts[i + 1]):
            if near[k]:
                all_members[count] = others[k]
                count += 1
        members = all_members[:count]
        gather(members, starts, others, blocks, mixed, matrix)
        factorize(matrix, 5 * count)
        for a in range(5):
            for b in range(5 * count):
                vector[b] = 1.0 if b == a else 0.0
            solve(matrix, 5 * count, vector)
            for b in range(5):
                found[i, 5 * a + b] = vector[b]
