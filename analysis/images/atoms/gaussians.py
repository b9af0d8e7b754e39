"""Compiled loops over atoms as 2-D Gaussians: the image, its gradient, the information.

An atom is a row of an (atoms, 5) array: row and col of its centre (px), height, log of its
standard deviation (px), and the background of its own cell above the smooth one. A pixel belongs
to the cell of the nearest atom.
"""

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PARAMETERS = 5
ROW, COL, HEIGHT, LOG_SIGMA, LEVEL = range(PARAMETERS)

# A Gaussian extends to this many standard deviations, where 3e-4 of its height is left.
REACH = 4.0

# Its derivatives are evaluated up to this many standard deviations; beyond them lies 1e-3 of the
# information about its position.
SLOPE_REACH = 3.0


@compiled
def assign_cells(atoms: Floats, reach: Floats, owner: Integers) -> None:
    """Write into each pixel of ``owner`` the nearest atom within that atom's reach (px), or -1."""
    rows, cols = owner.shape
    nearest = np.full(owner.shape, np.inf)
    owner[:] = -1
    for i in range(len(atoms)):
        r, c, radius = atoms[i, 0], atoms[i, 1], reach[i]
        for y in range(max(0, int(np.ceil(r - radius))), min(rows, int(np.floor(r + radius)) + 1)):
            for x in range(
                max(0, int(np.ceil(c - radius))), min(cols, int(np.floor(c + radius)) + 1)
            ):
                square = (y - r) ** 2 + (x - c) ** 2
                if square <= radius * radius and square < nearest[y, x]:
                    nearest[y, x] = square
                    owner[y, x] = i


@compiled
def draw_atoms(atoms: Floats, owner: Integers, image: Floats) -> None:
    """Add all atoms, and the levels of their cells, to an image."""
    rows, cols = image.shape
    across = np.empty(cols)
    for i in range(len(atoms)):
        r, c, height, sigma = atoms[i, 0], atoms[i, 1], atoms[i, 2], np.exp(atoms[i, 3])
        radius, scale = REACH * sigma, -0.5 / (sigma * sigma)
        left, right = max(0, int(np.ceil(c - radius))), min(cols, int(np.floor(c + radius)) + 1)
        for x in range(left, right):
            across[x] = np.exp(scale * (x - c) ** 2)
        for y in range(max(0, int(np.ceil(r - radius))), min(rows, int(np.floor(r + radius)) + 1)):
            along = height * np.exp(scale * (y - r) ** 2)
            for x in range(left, right):
                image[y, x] += along * across[x]
    for y in range(rows):
        for x in range(cols):
            if owner[y, x] >= 0:
                image[y, x] += atoms[owner[y, x], 4]


@compiled
def write_slopes(atom: Floats, shift: float, v: float, slopes: Floats) -> None:
    """Derivatives of a Gaussian, over its exponential, as polynomials of u: (4, 3).

    ``v`` is the distance of a row of pixels from the centre; columns are at u + shift from it.
    """
    scale = np.exp(-2 * atom[3])
    push = atom[2] * scale
    slopes[0, 0] = push * v
    slopes[1, 0], slopes[1, 1] = push * shift, push
    slopes[2, 0] = 1.0
    slopes[3, 0], slopes[3, 1] = push * (v * v + shift * shift), push * 2 * shift
    slopes[3, 2] = push


@compiled
def bounds(centre: float, radius: float, length: int) -> tuple[int, int]:
    """Range of the pixels within a radius of the centre on an axis of this length."""
    return max(0, int(np.ceil(centre - radius))), min(length, int(np.floor(centre + radius)) + 1)


@compiled
def shared_bounds(
    one: float, radius: float, other: float, reach: float, length: int
) -> tuple[int, int]:
    """Range of the pixels within the radii of both of two centres."""
    first, last = bounds(one, radius, length)
    start, end = bounds(other, reach, length)
    return max(first, start), min(last, end)


@compiled
def gradients(
    atoms: Floats, owner: Integers, weight: Floats, residual: Floats, cell: float, gradient: Floats
) -> None:
    """Σ weight · residual · derivative, (atoms, 5)."""
    rows, cols = owner.shape
    slopes = np.zeros((4, 3))
    for i in range(len(atoms)):
        sigma = np.exp(atoms[i, 3])
        scale, reach = -0.5 / (sigma * sigma), (SLOPE_REACH * sigma) ** 2
        radius = max(SLOPE_REACH * sigma, cell)
        top, bottom = bounds(atoms[i, 0], radius, rows)
        left, right = bounds(atoms[i, 1], radius, cols)
        gradient[i] = 0.0
        for y in range(top, bottom):
            v = y - atoms[i, 0]
            zeroth, first, second, level = 0.0, 0.0, 0.0, 0.0
            for x in range(left, right):
                push = weight[y, x] * residual[y, x]
                u = x - atoms[i, 1]
                if push != 0.0:
                    if u * u <= reach and v * v <= reach:
                        part = push * np.exp(scale * (u * u + v * v))
                        zeroth += part
                        first += part * u
                        second += part * u * u
                    if owner[y, x] == i:
                        level += push
            write_slopes(atoms[i], 0.0, v, slopes)
            for a in range(4):
                gradient[i, a] += (
                    slopes[a, 0] * zeroth + slopes[a, 1] * first + slopes[a, 2] * second
                )
            gradient[i, 4] += level


@compiled
def add_information(
    atoms: Floats,
    owner: Integers,
    weight: Floats,
    profiles: Floats,
    i: int,
    j: int,
    block: Floats,
) -> None:
    """Σ weight · derivative by a parameter of i · derivative by one of j, without the levels.

    Along a row of pixels the derivatives are polynomials of the distance u from the centre of i,
    times both exponentials, so only five moments are summed.
    """
    rows, cols = weight.shape
    radius, reach = SLOPE_REACH * np.exp(atoms[i, 3]), SLOPE_REACH * np.exp(atoms[j, 3])
    top, bottom = shared_bounds(atoms[i, 0], radius, atoms[j, 0], reach, rows)
    left, right = shared_bounds(atoms[i, 1], radius, atoms[j, 1], reach, cols)
    slopes_i, slopes_j = np.zeros((4, 3)), np.zeros((4, 3))
    at, to = (
        profiles.shape[2] // 2 - round(atoms[i, 1]),
        profiles.shape[2] // 2 - round(atoms[j, 1]),
    )
    rise, fall = (
        profiles.shape[2] // 2 - round(atoms[i, 0]),
        profiles.shape[2] // 2 - round(atoms[j, 0]),
    )
    moments = np.empty(5)
    for y in range(top, bottom):
        m0, m1, m2, m3, m4 = 0.0, 0.0, 0.0, 0.0, 0.0
        for x in range(left, right):
            u = x - atoms[i, 1]
            part = weight[y, x] * profiles[i, 1, x + at] * profiles[j, 1, x + to]
            m0 += part
            part *= u
            m1 += part
            part *= u
            m2 += part
            part *= u
            m3 += part
            m4 += part * u
        moments[0], moments[1], moments[2], moments[3], moments[4] = m0, m1, m2, m3, m4
        both = profiles[i, 0, y + rise] * profiles[j, 0, y + fall]
        write_slopes(atoms[i], 0.0, y - atoms[i, 0], slopes_i)
        write_slopes(atoms[j], atoms[i, 1] - atoms[j, 1], y - atoms[j, 0], slopes_j)
        for a in range(4):
            for k in range(3):
                if slopes_i[a, k] != 0.0:
                    for b in range(4):
                        block[a, b] += (both * slopes_i[a, k]) * (
                            slopes_j[b, 0] * moments[k]
                            + slopes_j[b, 1] * moments[k + 1]
                            + slopes_j[b, 2] * moments[k + 2]
                        )


@compiled
def add_level_information(
    atoms: Floats,
    owner: Integers,
    weight: Floats,
    profiles: Floats,
    cell: float,
    i: int,
    j: int,
    sums: Floats,
) -> None:
    """Σ weight · derivative by a parameter of i, over the cell of j, (5,)."""
    rows, cols = weight.shape
    radius = SLOPE_REACH * np.exp(atoms[i, 3])
    if i == j:
        radius = max(radius, cell)
    top, bottom = shared_bounds(atoms[i, 0], radius, atoms[j, 0], cell, rows)
    left, right = shared_bounds(atoms[i, 1], radius, atoms[j, 1], cell, cols)
    middle = profiles.shape[2] // 2
    at, rise = middle - round(atoms[i, 1]), middle - round(atoms[i, 0])
    slopes = np.zeros((4, 3))
    for y in range(top, bottom):
        zeroth, one, two, level = 0.0, 0.0, 0.0, 0.0
        for x in range(left, right):
            if owner[y, x] == j:
                u = x - atoms[i, 1]
                part = weight[y, x] * profiles[i, 1, x + at]
                zeroth += part
                one += part * u
                two += part * u * u
                level += weight[y, x]
        write_slopes(atoms[i], 0.0, y - atoms[i, 0], slopes)
        along = profiles[i, 0, y + rise]
        for a in range(4):
            sums[a] += along * (slopes[a, 0] * zeroth + slopes[a, 1] * one + slopes[a, 2] * two)
        if i == j:
            sums[4] += level


@compiled
def write_profiles(atoms: Floats, profiles: Floats) -> None:
    """Write each Gaussian along row and col, (atoms, 2, side), 0 outside ``SLOPE_REACH``."""
    middle = profiles.shape[2] // 2
    for i in range(len(atoms)):
        sigma = np.exp(atoms[i, 3])
        for axis in range(2):
            for k in range(profiles.shape[2]):
                u = (round(atoms[i, axis]) + k - middle - atoms[i, axis]) / sigma
                profiles[i, axis, k] = np.exp(-0.5 * u * u) if abs(u) <= SLOPE_REACH else 0.0


@compiled
def information(
    atoms: Floats,
    side: int,
    cell: float,
    owner: Integers,
    weight: Floats,
    starts: Integers,
    others: Integers,
    mates: Integers,
    blocks: Floats,
    mixed: Floats,
) -> None:
    """Write the Fisher information of each atom (atoms, 5, 5), and of each overlapping pair.

    Atom i overlaps ``others[starts[i]:starts[i + 1]]``; every pair occurs twice, at k and at
    ``mates[k]``. ``mixed`` is (len(others), 5, 5) with the parameters of i first. Each atom lies
    within a square of ``side`` px, an odd number.
    """
    profiles = np.empty((len(atoms), 2, side))
    write_profiles(atoms, profiles)
    level = np.empty(5)
    for i in range(len(atoms)):
        blocks[i] = 0.0
        add_information(atoms, owner, weight, profiles, i, i, blocks[i])
        level[:] = 0.0
        add_level_information(atoms, owner, weight, profiles, cell, i, i, level)
        for a in range(5):
            blocks[i, a, 4] = level[a]
            blocks[i, 4, a] = level[a]
        for k in range(starts[i], starts[i + 1]):
            j = others[k]
            if j > i:
                mixed[k] = 0.0
                add_information(atoms, owner, weight, profiles, i, j, mixed[k])
                level[:] = 0.0
                add_level_information(atoms, owner, weight, profiles, cell, i, j, level)
                for a in range(4):
                    mixed[k, a, 4] = level[a]
                level[:] = 0.0
                add_level_information(atoms, owner, weight, profiles, cell, j, i, level)
                for a in range(4):
                    mixed[k, 4, a] = level[a]
                for a in range(5):
                    for b in range(5):
                        mixed[mates[k], b, a] = mixed[k, a, b]


Mask = npt.NDArray[np.bool_]

# Smallest pivot of a factorization, relative to the diagonal element.
PIVOT = 1e-9


@compiled
def factorize(matrix: Floats, size: int) -> None:
    """Factorize the first rows of a matrix in place into Cholesky's lower triangle.

    A pivot is at least ``PIVOT`` of its diagonal; for two atoms at one position it would be zero.
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
    """Solve the equations of a factorized matrix in place."""
    for a in range(size):
        for c in range(a):
            vector[a] -= matrix[a, c] * vector[c]
        vector[a] /= matrix[a, a]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            vector[a] -= matrix[c, a] * vector[c]
        vector[a] /= matrix[a, a]


@compiled
def write_block(block: Floats, matrix: Floats, row: int, col: int) -> None:
    """Write a block of five rows and columns into a matrix."""
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
    """Write the information of some atoms as one matrix."""
    count = len(members)
    for a in range(5 * count):
        for b in range(5 * count):
            matrix[a, b] = 0.0
    for a in range(count):
        write_block(blocks[members[a]], matrix, a, a)
        for k in range(starts[members[a]], starts[members[a] + 1]):
            for b in range(count):
                if others[k] == members[b]:
                    write_block(mixed[k], matrix, a, b)


@compiled
def local_covariances(
    starts: Integers,
    others: Integers,
    near: Mask,
    blocks: Floats,
    mixed: Floats,
    covariances: Floats,
) -> None:
    """Write each atom's covariances (atoms, 25), its neighbours' parameters being unknown too."""
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
                covariances[i, 5 * a + b] = vector[b]
