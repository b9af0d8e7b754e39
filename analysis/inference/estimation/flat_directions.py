"""Flat directions: combinations of parameters that the data do not determine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# From the middle to the edge of the grid −2 ln L rises by less than this: the 95 % interval of the
# direction is the whole grid.
RISE = 3.84

# Coefficients below this share of a direction's largest are left out of its name.
SLIGHT = 0.1


@dataclass(frozen=True)
class FlatDirection:
    """A combination of parameters that the data do not determine.

    Attributes
    ----------
    direction
        By parameter: how far each goes along, the largest being 1 or −1.
    rise
        Of −2 ln L from the middle of the grid to its edge, along the direction.
    sentence
        The same in words.
    """

    direction: Mapping[str, float]
    rise: float
    sentence: str


def flat_subspace(curvature: Floats, half: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Principal directions of a curvature in units of the grid's half widths.

    Parameters
    ----------
    curvature
        (parameters, parameters): of −ln L, the inverse covariance.
    half
        (parameters,): half the width of the grid.

    Returns
    -------
    values, vectors, flat
        Curvatures (parameters,), unit vectors as columns, and which of them are flat.

    Examples
    --------
    >>> flat_subspace(np.diag([100.0, 0.01]), np.ones(2))[2].tolist()
    [True, False]
    """
    scaled = curvature * np.outer(half, half)
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    reach = 1 / np.abs(vectors).max(axis=0)
    return values, vectors, values * reach**2 < RISE


def named_directions(
    names: Sequence[str], curvature: Floats, half: Floats, *, fixed_composition: bool = False
) -> tuple[FlatDirection, ...]:
    """The flat directions of a landscape, each with a sentence.

    Of several, combinations are named that involve as few parameters as possible.

    Examples
    --------
    >>> directions = named_directions(["w1", "w2"], np.diag([0.0, 90.0]), np.ones(2))
    >>> directions[0].sentence
    'w1 is not identifiable: all its values are equally likely'
    """
    _, vectors, flat = flat_subspace(curvature, half)
    if not flat.any():
        return ()
    scaled = curvature * np.outer(half, half)
    found = []
    for row in _sparse(vectors[:, flat].T):
        rise = float(max(row @ scaled @ row, 0) / np.abs(row).max() ** 2)
        physical = row * half
        physical = physical / np.abs(physical).max()
        slight = np.abs(physical) < SLIGHT
        direction = dict(zip(names, np.where(slight, 0.0, physical).tolist(), strict=True))
        found.append(FlatDirection(direction, rise, _sentence(direction, fixed_composition)))
    return tuple(found)


def _sparse(rows: Floats) -> Floats:
    """Rows of the same span with as many zeros as elimination makes."""
    reduced = rows.copy()
    for k in range(len(reduced)):
        pivot = divmod(int(np.argmax(np.abs(reduced[k:]))), reduced.shape[1])
        row, column = k + pivot[0], pivot[1]
        reduced[[k, row]] = reduced[[row, k]]
        reduced[k] /= reduced[k, column]
        for other in range(len(reduced)):
            if other != k:
                reduced[other] -= reduced[other, column] * reduced[k]
    return reduced


def _sentence(direction: Mapping[str, float], fixed_composition: bool) -> str:
    where = " at fixed composition" if fixed_composition else ""
    parts = {name: value for name, value in direction.items() if value}
    if len(parts) == 1:
        return f"{next(iter(parts))} is not identifiable{where}: all its values are equally likely"
    first, *others = parts
    moves = ", ".join(f"{name} by {parts[name] / parts[first]:+.2g}" for name in others)
    return (
        f"{', '.join(parts)} are not identifiable separately{where}: "
        f"{first} by +1 with {moves} changes nothing"
    )
