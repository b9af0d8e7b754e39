"""Compiled loops over atoms drawn as 2-D Gaussians: draw all, and a Gauss-Newton step of all.

An atom is a row of an (atoms, 5) array: row and col of its centre (px), height, log of its
standard deviation (px), and the background of its own cell above the smooth one. A pixel belongs
to the cell of the nearest atom.
"""

import numpy as np
import numpy.typing as npt

from physics.compiled import compiled

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PARAMETERS = 5
ROW, COL, HEIGHT, LOG_SIGMA, LEVEL = range(PARAMETERS)

# A Gaussian is drawn out to so many standard deviations, where 3e-4 of it is left.
REACH = 4.0

# Its derivatives are followed only so far; beyond is 1e-3 of what tells of its place.
TELLING = 3.0

# Smallest pivot of a factorization, of the diagonal's element.
PIVOT = 1e-9


@compiled
def assign_cells(atoms: Floats, reach: Floats, owner: Integers) -> None:
    """Write into each pixel of ``owner`` its nearest atom within that atom's reach (px), or -1."""
    rows, cols = owner.shape
    nearest = np.full(owner.shape, np.inf)
    owner[:] = -1
    for i in range(len(atoms)):
        r, c, far = atoms[i, 0], atoms[i, 1], reach[i]
        for y in range(max(0, int(np.ceil(r - far))), min(rows, int(np.floor(r + far)) + 1)):
            for x in range(max(0, int(np.ceil(c - far))), min(cols, int(np.floor(c + far)) + 1)):
                square = (y - r) ** 2 + (x - c) ** 2
                if square <= far * far and square < nearest[y, x]:
                    nearest[y, x] = square
                    owner[y, x] = i


@compiled
def draw_atoms(atoms: Floats, owner: Integers, image: Floats) -> None:
    """Add all atoms, and the levels of their cells, to an image."""
    rows, cols = image.shape
    across = np.empty(cols)
    for i in range(len(atoms)):
        r, c, height, sigma = atoms[i, 0], atoms[i, 1], atoms[i, 2], np.exp(atoms[i, 3])
        far, scale = REACH * sigma, -0.5 / (sigma * sigma)
        left, right = max(0, int(np.ceil(c - far))), min(cols, int(np.floor(c + far)) + 1)
        for x in range(left, right):
            across[x] = np.exp(scale * (x - c) ** 2)
        for y in range(max(0, int(np.ceil(r - far))), min(rows, int(np.floor(r + far)) + 1)):
            along = height * np.exp(scale * (y - r) ** 2)
            for x in range(left, right):
                image[y, x] += along * across[x]
    for y in range(rows):
        for x in range(cols):
            if owner[y, x] >= 0:
                image[y, x] += atoms[owner[y, x], 4]


@compiled
def write_slopes(
    atoms: Floats, owner: Integers, i: int, corner: Integers, slopes: Floats
) -> None:
    """Derivatives of the image by the parameters of atom i, in the square around it.

    ``slopes`` is (side, side, 5), its first pixel at ``corner``; what lies outside the frame or
    out of reach is 0.
    """
    rows, cols = owner.shape
    r, c, height, sigma = atoms[i, 0], atoms[i, 1], atoms[i, 2], np.exp(atoms[i, 3])
    scale, side = 1.0 / (sigma * sigma), slopes.shape[0]
    corner[0] = int(np.floor(r)) - side // 2
    corner[1] = int(np.floor(c)) - side // 2
    slopes[:] = 0.0
    across = np.empty(side)
    for n in range(side):
        across[n] = np.exp(-0.5 * scale * (corner[1] + n - c) ** 2)
    far = (TELLING * sigma) ** 2
    for m in range(max(0, -corner[0]), min(side, rows - corner[0])):
        v = corner[0] + m - r
        along = np.exp(-0.5 * scale * v * v)
        for n in range(max(0, -corner[1]), min(side, cols - corner[1])):
            u = corner[1] + n - c
            if v * v <= far and u * u <= far:
                part = along * across[n]
                slopes[m, n, 0] = height * part * v * scale
                slopes[m, n, 1] = height * part * u * scale
                slopes[m, n, 2] = part
                slopes[m, n, 3] = height * part * (v * v + u * u) * scale
            slopes[m, n, 4] = 1.0 if owner[corner[0] + m, corner[1] + n] == i else 0.0


@compiled
def sum_products(
    first: Floats, corner: Integers, second: Floats, other: Integers, weight: Floats, out: Floats
) -> None:
    """Σ weight · first · second over the pixels two squares share, (5, 5)."""
    rows, cols = weight.shape
    out[:] = 0.0
    top = max(0, corner[0], other[0])
    bottom = min(rows, corner[0] + first.shape[0], other[0] + second.shape[0])
    left = max(0, corner[1], other[1])
    right = min(cols, corner[1] + first.shape[1], other[1] + second.shape[1])
    for y in range(top, bottom):
        for x in range(left, right):
            w = weight[y, x]
            if w > 0.0:
                for a in range(5):
                    wa = w * first[y - corner[0], x - corner[1], a]
                    if wa != 0.0:
                        for b in range(5):
                            out[a, b] += wa * second[y - other[0], x - other[1], b]


@compiled
def sum_pushes(
    slopes: Floats, corner: Integers, weight: Floats, residual: Floats, out: Floats
) -> None:
    """Σ weight · residual · slopes over a square, (5,)."""
    rows, cols = weight.shape
    side = slopes.shape[0]
    out[:] = 0.0
    for m in range(max(0, -corner[0]), min(side, rows - corner[0])):
        for n in range(max(0, -corner[1]), min(side, cols - corner[1])):
            push = weight[corner[0] + m, corner[1] + n] * residual[corner[0] + m, corner[1] + n]
            if push != 0.0:
                for a in range(5):
                    out[a] += push * slopes[m, n, a]


@compiled
def gradients(
    atoms: Floats, side: int, owner: Integers, weight: Floats, residual: Floats, found: Floats
) -> None:
    """Σ weight · residual · derivative, (atoms, 5)."""
    slopes, corner = np.empty((side, side, 5)), np.empty(2, np.int64)
    for i in range(len(atoms)):
        write_slopes(atoms, owner, i, corner, slopes)
        sum_pushes(slopes, corner, weight, residual, found[i])


@compiled
def information(
    atoms: Floats,
    side: int,
    owner: Integers,
    weight: Floats,
    starts: Integers,
    others: Integers,
    mates: Integers,
    blocks: Floats,
    mixed: Floats,
) -> None:
    """Fisher information of each atom (atoms, 5, 5), and that between it and those it overlaps.

    Those of atom i are ``others[starts[i]:starts[i + 1]]``; every pair stands twice, at k and at
    ``mates[k]``. ``mixed`` is (len(others), 5, 5) with the parameters of i first.
    """
    mine, theirs = np.empty((side, side, 5)), np.empty((side, side, 5))
    here, there = np.empty(2, np.int64), np.empty(2, np.int64)
    for i in range(len(atoms)):
        write_slopes(atoms, owner, i, here, mine)
        sum_products(mine, here, mine, here, weight, blocks[i])
        for k in range(starts[i], starts[i + 1]):
            if others[k] > i:
                write_slopes(atoms, owner, others[k], there, theirs)
                sum_products(mine, here, theirs, there, weight, mixed[k])
                for a in range(5):
                    for b in range(5):
                        mixed[mates[k], b, a] = mixed[k, a, b]


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
