"""The sweep over the ranges that a guess of a model's parameters proposes."""

from typing import Any

import numpy as np
import xarray as xr

from latticescape.analysis.counts.classes import classes_of
from latticescape.analysis.inference.pseudo_likelihood.guess import Guess
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import Lattice
from latticescape.sweeps.spec.sweep import Sweep

# Points along each axis, by the number of parameters: half a standard error of the guess apart.
POINTS = {1: 41, 2: 21, 3: 13}
FEWEST = 7

# Least number of sites of a proposed lattice; its size is a multiple of six, for ordered phases.
SITES = 48 * 48
MULTIPLE = 6


def is_composition(axis: str) -> bool:
    """Whether a swept parameter is the composition, which every image has of its own.

    Examples
    --------
    >>> is_composition("x"), is_composition("x_Re"), is_composition("w1")
    (True, True, False)
    """
    return axis == "x" or axis.startswith("x_")


def proposed_sweep(
    found: Guess, counts: xr.Dataset, name: str, template: Sweep | None = None
) -> Sweep:
    """The sweep over the proposed ranges of a model, at the compositions of the images.

    Parameters
    ----------
    found
        The guess.
    counts
        Counts per image.
    name
        The model.
    template
        A sweep whose lattice, fixed parameters, schedule and seed are kept.

    Raises
    ------
    RequestError
        If the compositions of more than two species would be swept.
    """
    candidate = found.models[name]
    number = POINTS.get(len(candidate.parameters), FEWEST)
    grid: dict[str, Any] = {
        axis: {"start": low, "stop": high, "num": number}
        for axis, (low, high) in found.ranges(name).items()
    }
    if candidate.model.move == "exchange" and "T" not in grid:
        grid = {axis: through_zero(values) for axis, values in grid.items()}
    free = [p.name for p in candidate.model.parameters if is_composition(p.name)]
    unset = [axis for axis in free if axis not in candidate.model.fixed_parameters]
    if unset and unset != ["x"]:
        raise RequestError(
            "a spec for more than two species, or for several sublattices, is not written",
            came=", ".join(unset),
            allowed="models whose composition is one number x, or set in [model]",
            hint="latticescape guess COUNTS without --out, and a spec with points = [...]",
        )
    if unset:
        measured = np.unique(counts["composition"].values.astype(float).round(5))
        grid = {"x": measured.tolist(), **grid}
    if template is not None:
        return Sweep(
            template.lattice,
            candidate.model,
            grid,
            template.schedule,
            seed=template.seed,
            keep=template.keep,
            classes=template.classes,
        )
    largest = int(counts["n"].max())
    return Sweep(
        _lattice(classes_of(counts), max(SITES, largest)),
        candidate.model,
        grid,
        Schedule(equilibration_mcs=400, samples=60, stride_mcs=10),
        seed=2026,
    )


def through_zero(axis: dict[str, Any]) -> dict[str, Any]:
    """A range of an energy in about the same steps, of which one is at 0, where the model is random
    mixing: there the likelihoods of all models are the same, and so can be compared.

    Examples
    --------
    >>> through_zero({"start": -0.5, "stop": -0.1, "num": 5})
    {'start': -0.5, 'stop': 0.0, 'num': 6}
    """
    step = (axis["stop"] - axis["start"]) / (axis["num"] - 1)
    first = int(np.floor(round(min(axis["start"], 0) / step, 6)))
    last = int(np.ceil(round(max(axis["stop"], 0) / step, 6)))
    ends = {name: round(step * k, 12) for name, k in (("start", first), ("stop", last))}
    return {**ends, "num": last - first + 1}


def _lattice(classes: Any, sites: int) -> Any:
    """A periodic lattice of the classes' kind with at least so many sites."""
    geometry = GEOMETRIES[classes.kind]
    cells = (sites / geometry.sublattices) ** (1 / geometry.dimension)
    return Lattice(classes.kind, int(np.ceil(round(cells / MULTIPLE, 6))) * MULTIPLE)
