"""Designs: points that fill ranges of parameters evenly, or that a table lists."""

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import LARGEST, RequestError, checked_integer
from latticescape.sweeps.spec.axes import MAX_POINTS

Columns = dict[str, npt.NDArray[np.float64]]


def sobol(ranges: Mapping[str, Any], number: int, seed: int = 0) -> Columns:
    """Points of a scrambled Sobol sequence, which fill a box of parameters evenly.

    Parameters
    ----------
    ranges
        Smallest and largest value by parameter, ``{"T": (1.5, 3.5), "H": (-1, 1)}``.
    number
        Number of points. A power of two is the most even.
    seed
        Of the scrambling.

    Returns
    -------
    dict
        (number,) float64 by parameter, for ``Sweep(…, points=…)``.

    Raises
    ------
    RequestError
        If a range is not two finite numbers in order, or the number of points is not possible.

    References
    ----------
    Owen, J. Complexity 14, 466 (1998), 10.1006/jcom.1998.0487.

    Examples
    --------
    >>> points = sobol({"T": (1.5, 3.5), "H": (-1, 1)}, 64)
    >>> bool(abs(points["T"].mean() - 2.5) < 0.02), points["H"].shape
    (True, (64,))
    """
    return _design("sobol", ranges, number, seed)


def latin_hypercube(ranges: Mapping[str, Any], number: int, seed: int = 0) -> Columns:
    """Points of a Latin hypercube: every parameter takes one value in each of ``number`` parts.

    Parameters
    ----------
    ranges, number, seed
        As for :func:`sobol`; any number of points is as even.

    Returns
    -------
    dict
        (number,) float64 by parameter, for ``Sweep(…, points=…)``.

    Raises
    ------
    RequestError
        As :func:`sobol`.

    References
    ----------
    McKay, Beckman and Conover, Technometrics 21, 239 (1979), 10.2307/1268522.

    Examples
    --------
    >>> sorted((latin_hypercube({"T": (0, 4)}, 4)["T"]).astype(int).tolist())
    [0, 1, 2, 3]
    """
    return _design("latin_hypercube", ranges, number, seed)


KINDS = {"sobol": sobol, "latin_hypercube": latin_hypercube}


def _design(kind: str, ranges: Mapping[str, Any], number: int, seed: int) -> Columns:
    from scipy.stats import qmc  # lazy: slow, and only needed for designs

    problem, allowed = "the number of points of a design is out of range", f"1 to {MAX_POINTS}"
    number = checked_integer(number, 1, MAX_POINTS, problem, allowed=allowed)
    allowed = "a whole number from 0 to 2^63 - 1"
    seed = checked_integer(seed, 0, 2**63 - 1, "seed of a design is out of range", allowed=allowed)
    bounds = np.array([_bounds(name, ends) for name, ends in ranges.items()], float).reshape(-1, 2)
    if not len(bounds):
        raise _range_error("the design has no ranges", "")
    sampler = {"sobol": qmc.Sobol, "latin_hypercube": qmc.LatinHypercube}[kind]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The balance properties of Sobol")
        unit = sampler(len(bounds), seed=np.random.default_rng(seed)).random(number)
    points = bounds[:, 0] + unit * (bounds[:, 1] - bounds[:, 0])
    return {str(name): points[:, i] for i, name in enumerate(ranges)}


def _bounds(name: str, ends: Any) -> tuple[float, float]:
    try:
        low, high = map(float, ends)
    except (TypeError, ValueError):
        raise _range_error(f"design.{name} is not a range", repr(ends)) from None
    if not -LARGEST <= low < high <= LARGEST:
        raise _range_error(f"design.{name} is not a range", f"{low:g} to {high:g}")
    return low, high


def _range_error(problem: str, came: str) -> RequestError:
    allowed = "the smallest and a larger number, both finite, by parameter"
    return RequestError(problem, came=came or None, allowed=allowed, hint="T = [1.5, 3.5]")


def read_points(path: Path) -> dict[str, list[Any]]:
    """The points of a CSV file with a header: a column of numbers, or of words, by parameter.

    Raises
    ------
    RequestError
        If it cannot be read, holds no points, or a row has another number of cells.
    """
    hint = 'points = "points.csv", with the header T,H and a row for every point'
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        came = getattr(error, "strerror", None) or "not a CSV file of UTF-8 text"
        raise RequestError(f"cannot read the points in {path}", came=came, hint=hint) from None
    names = [name.strip() for name in header]
    if not rows or len(set(names)) < len(names) or not all(names):
        problem = f"{path} holds no points" if not rows else f"{path} has no valid header"
        allowed = "a header of different names, and a row for every point"
        raise RequestError(problem, came=",".join(header) or "nothing", allowed=allowed, hint=hint)
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            problem = f"{path} has another number of cells in row {number} than names"
            raise RequestError(problem, came=len(row), allowed=len(names), hint=hint)
    return {name: _cells([row[i].strip() for row in rows]) for i, name in enumerate(names)}


def _cells(cells: list[str]) -> list[Any]:
    if set(cells) <= {"true", "false"}:
        return [cell == "true" for cell in cells]
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return list(cells)
