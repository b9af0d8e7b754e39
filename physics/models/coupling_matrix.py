"""Couplings of a site to those around it, as a matrix with the site in its middle."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError
from latticescape.physics.lattices.lattice import Lattice, Sites

# Rows and columns: neighbours up to four steps away.
WIDEST = 9

HINT = "couplings = [[0, 0.2, 0], [1, 0, 1], [0, 0.2, 0]]"

Matrix = tuple[tuple[float, ...], ...]
Displacement = tuple[int, int]


def coupling_matrix(given: object) -> Matrix:
    """The checked matrix: odd and square, nothing in its middle, the same both ways.

    Raises
    ------
    RequestError
        If it is not. Where C(d) differs from C(−d) the two ends of a bond feel different couplings:
        there is no energy that flips could follow, and no detailed balance.

    Examples
    --------
    >>> coupling_matrix([[0, 0.2, 0], [1, 0, 1], [0, 0.2, 0]])[1]
    (1.0, 0.0, 1.0)
    >>> coupling_matrix([[0, 0, 0], [1, 0, 0.5], [0, 0, 0]])
    Traceback (most recent call last):
    latticescape.RequestError: couplings differ between d and −d: the two ends of a bond feel ...
    """
    values = _numbers(given)
    middle = len(values) // 2
    if values[middle, middle]:
        raise RequestError(
            "couplings have a site coupled to itself",
            came=f"{values[middle, middle]:g} in the middle",
            allowed="0 there",
            hint=HINT,
        )
    for row, column in np.argwhere(values != values[::-1, ::-1])[:1]:
        d = (int(row) - middle, int(column) - middle)
        raise RequestError(
            "couplings differ between d and −d: the two ends of a bond feel different couplings, "
            "so that there is no energy and no detailed balance",
            came=f"{values[row, column]:g} at {d} and {values[-1 - row, -1 - column]:g} opposite",
            allowed="a matrix that stays as it is when turned by 180°",
            hint=HINT,
        )
    if not values.any():
        raise RequestError("couplings couple nothing", came="zeros alone", hint=HINT)
    return tuple(tuple(row) for row in values.tolist())


def _numbers(given: object) -> npt.NDArray[np.float64]:
    rows = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(rows, Sequence) or not all(_are_numbers(row) for row in rows):
        raise _shapeless(repr(given))
    if len(rows) not in range(3, WIDEST + 1, 2) or {len(row) for row in rows} != {len(rows)}:
        raise _shapeless(f"{len(rows)} rows of {sorted({len(row) for row in rows})} numbers")
    return np.array(rows, float) + 0.0


def _are_numbers(row: Any) -> bool:
    return isinstance(row, Sequence) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= LARGEST for v in row
    )


def _shapeless(came: str) -> RequestError:
    return RequestError(
        "couplings are no square matrix of numbers around a site",
        came=came,
        allowed=f"3, 5, 7 or {WIDEST} rows of as many finite numbers",
        hint=HINT,
    )


def displacements(matrix: Matrix) -> dict[float, list[Displacement]]:
    """One of each pair d, −d with a coupling, as (rows, columns) from the middle, by coupling;
    the nearest first.

    Examples
    --------
    >>> displacements(((0.0, 0.2, 0.0), (1.0, 0.0, 1.0), (0.0, 0.2, 0.0)))
    {1.0: [(0, 1)], 0.2: [(1, 0)]}
    """
    middle, found = len(matrix) // 2, dict[float, list[Displacement]]()
    steps = range(-middle, middle + 1)
    half = [(r, c) for r in steps for c in steps if (r, c) > (0, 0)]
    for r, c in sorted(half, key=lambda d: (d[0] ** 2 + d[1] ** 2, d)):
        if value := matrix[r + middle][c + middle]:
            found.setdefault(value, []).append((r, c))
    return found


def displaced_bonds(lattice: Lattice, steps: Sequence[Displacement]) -> Sites:
    """The bonds of every site with those so many rows and columns on, (sites · steps, 2) int32.

    On a small torus a bond may appear more than once; each appearance counts, as in the shells of
    :meth:`latticescape.Lattice.bonds`.

    Raises
    ------
    RequestError
        If the lattice is not square, or a step leads around it to the site itself.
    """
    if lattice.kind != "square":
        raise RequestError(
            "couplings as a matrix are of the square lattice",
            came=f"the {lattice.kind} lattice",
            allowed="square; elsewhere one coupling a neighbour shell",
            hint="J = [1.0, 0.2]",
        )
    sites = np.arange(lattice.sites, dtype=np.int32).reshape(lattice.size, lattice.size)
    for step in steps:
        if not any(d % lattice.size for d in step):
            raise RequestError(
                "lattice.size is too small for these couplings: a site would be its own neighbour",
                came=f"size = {lattice.size}, and a coupling at {step}",
                allowed=f"{lattice.size + 1} or more",
                hint="size = 16",
            )
    around = [np.roll(sites, (-r, -c), axis=(0, 1)) for r, c in steps]
    return np.concatenate([np.stack([sites.ravel(), far.ravel()], axis=1) for far in around])
