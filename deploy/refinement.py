"""``refine``: extend a sweep, round by round, until its minimum is known to a target error."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from latticescape.analysis.inference.landscapes.landscape import landscape
from latticescape.analysis.inference.refinement.proposal import Proposal, propose
from latticescape.physics.errors import RequestError, checked_integer
from latticescape.sweeps.execution.run import Cluster, IncompleteError, Report
from latticescape.sweeps.execution.run import execute as execute_sweep
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.status import status
from latticescape.sweeps.store.store import Store, open_sweep

ROUNDS = 8

# Counts per image, or a function from a sweep to its landscape.
Observed = xr.Dataset | Callable[[xr.Dataset], xr.Dataset]


class Execute(Protocol):
    """Compute a sweep into a store, and take over the points of a base store."""

    def __call__(self, sweep: Sweep, store: StorePath, *, base: StorePath) -> Report: ...


@dataclass(frozen=True)
class Round:
    """The estimate from one store, and the proposal for the next round.

    Attributes
    ----------
    store
        The store whose landscape was computed.
    proposal
        Estimate, errors, and new values.
    points, updates
        Number of points of the store's sweep, and of attempted flips or swaps in all of them.
    report
        The report of the run that computed the store; None in the first round.
    """

    store: str
    proposal: Proposal
    points: int
    updates: int
    report: Report | None = None

    def as_dict(self) -> dict[str, Any]:
        """The round as one JSON object."""
        proposal = self.proposal
        return {
            "store": self.store,
            "points": self.points,
            "updates": self.updates,
            "computed": self.report.computed if self.report else 0,
            "status": proposal.status,
            "parameters": {
                name: {
                    "value": value,
                    "numerical_error": proposal.errors[name],
                    "data_error": proposal.data_errors[name],
                }
                for name, value in proposal.estimate.items()
            },
            "new_values": {name: list(values) for name, values in proposal.axes.items()},
            "expected": dict(proposal.expected),
            "notes": list(proposal.notes),
        }


@dataclass(frozen=True)
class Refinement:
    """All rounds of a refinement.

    Attributes
    ----------
    target
        The target of the numerical error of each parameter.
    rounds
        The rounds; the first is that of the initial store.
    """

    target: Mapping[str, float]
    rounds: tuple[Round, ...]

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.rounds[-1].proposal.status == "reached"

    @property
    def store(self) -> str:
        """The last store, which holds all points."""
        return self.rounds[-1].store

    def as_dict(self) -> dict[str, Any]:
        """The refinement as one JSON object."""
        rounds = [completed.as_dict() for completed in self.rounds]
        return {
            "reached": self.reached,
            "target": dict(self.target),
            "store": self.store,
            "points": rounds[-1]["points"],
            "updates": rounds[-1]["updates"],
            "computed": sum(completed["computed"] for completed in rounds),
            "parameters": rounds[-1]["parameters"],
            "rounds": rounds,
        }


def refine(
    store: StorePath,
    observed: Observed,
    target: Mapping[str, float],
    *,
    rounds: int = ROUNDS,
    budget: int | None = None,
    out: StorePath | None = None,
    client: Cluster = None,
    execute: Execute | None = None,
    progress: bool = True,
    on_round: Callable[[Round], object] = lambda completed: None,
) -> Refinement:
    """Add points to a sweep where they reduce the error of its landscape's minimum most.

    Each round computes the landscape, calls :func:`latticescape.propose`, and runs the extended
    sweep in a new store that takes over all existing points. To resume an interrupted refinement,
    repeat the call: it finds the stores of its rounds.

    Parameters
    ----------
    store
        The store of the coarse sweep, which is not changed.
    observed
        Counts per image (``observed_counts``); or a function from a sweep's Dataset to its
        landscape, such as :func:`latticescape.slab_landscape` of a slab's sources.
    target
        Numerical error of each parameter; see :func:`latticescape.propose` for its definition.
    rounds
        Maximum number of extended sweeps.
    budget
        Maximum number of new points in all rounds.
    out
        Path of the new stores: ``fine.zarr`` makes ``fine-1.zarr``, ``fine-2.zarr``, …; by default
        they are made next to ``store``.
    client
        The cluster to compute on; see :func:`latticescape.run`.
    execute
        A function that computes a sweep instead of ``client``.
    progress
        Show a progress bar in a terminal.
    on_round
        A function that is called with each completed round.

    Raises
    ------
    RequestError
        If the store is not finished, its configurations are not those of the observed counts, or
        the target, the rounds or the budget are not valid.
    IncompleteError
        If a round was cancelled; repeat the call to resume.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import PairAlloy, Schedule, configurations, run, triangular
    >>> path = tempfile.mkdtemp() + "/coarse.zarr"
    >>> grid = {"w1": np.linspace(-0.4, 0.4, 9)}
    >>> coarse = Sweep(triangular(8), PairAlloy(x=0.5), grid, Schedule(50, 20, 5), seed=3)
    >>> counts = run(coarse, path).histogram.sel(w1=0.1, method="nearest").values // 100
    >>> image = counts_dataset({"image": counts}, configurations("triangular"))
    >>> refinement = refine(path, image, {"w1": 0.02})
    >>> refinement.reached, abs(refinement.rounds[-1].proposal.estimate["w1"] - 0.1) < 0.1
    (True, True)
    """
    for name, number in {"rounds": rounds, "budget": 1 if budget is None else budget}.items():
        checked_integer(
            number,
            1,
            sys.maxsize,
            f"{name} must be a positive whole number",
            allowed="1 or more",
            hint=f"--{name} 6",
        )
    # Failed points stay out of the landscape; pending ones have to be computed first.
    progressed = status(store)
    if progressed.pending:
        raise RequestError(
            f"{progressed.pending} points of {store} are pending",
            hint=f"latticescape retry-failed {store}",
        )
    execute = execute or partial(execute_sweep, cluster=client, progress=progress)
    landscape_of = observed if callable(observed) else partial(landscape, observed=observed)
    completed = [_round(store, landscape_of, target, budget)]
    on_round(completed[-1])
    spent = 0
    for number in range(1, rounds + 1):
        last = completed[-1]
        if last.proposal.ends:
            break
        opened = Store(last.store)
        extended = opened.sweep.extended(_new_values(opened.sweep, last.proposal))
        path = numbered(store if out is None else out, number)
        report = execute(extended, path, base=last.store)
        if report.pending:
            raise IncompleteError(report)
        spent += extended.points - opened.sweep.points
        left = None if budget is None else budget - spent
        completed.append(replace(_round(path, landscape_of, target, left), report=report))
        on_round(completed[-1])
    return Refinement(dict(target), tuple(completed))


def numbered(path: StorePath, number: int) -> StorePath:
    """The path of a round's store.

    Examples
    --------
    >>> numbered("runs/ising.zarr", 2), numbered("s3://bucket/ising", 1)
    ('runs/ising-2.zarr', 's3://bucket/ising-1')
    """
    stem, dot, end = str(path).rpartition(".zarr")
    text = f"{stem}-{number}{dot}{end}" if dot and not end.strip("/") else f"{path}-{number}"
    return text if isinstance(path, str) else Path(text)


def _new_values(sweep: Sweep, proposal: Proposal) -> Mapping[str, Any]:
    """The proposal as :meth:`Sweep.extended` takes it.

    Raises
    ------
    RequestError
        If points are proposed for a sweep in which only some parameters vary together.
    """
    if not proposal.scattered:
        return proposal.axes
    (dim, columns), *others = ((d, c) for d, c in sweep.columns.items() if list(c) != ["x"])
    if others:
        raise RequestError(
            "a sweep of points at all of an axis cannot be refined",
            came=" × ".join(sweep.columns),
            allowed="a [grid] with an axis for every parameter, or points and no axis",
            hint="every parameter among the points",
        )
    fixed = {name: (values[0],) * proposal.points for name, values in columns.items()}
    return {dim: {**fixed, **proposal.axes}}


def _round(
    store: StorePath,
    landscape_of: Callable[[xr.Dataset], xr.Dataset],
    target: Mapping[str, float],
    left: int | None,
) -> Round:
    """Compute the landscape of a store, and propose new values."""
    sweep = Store(store).sweep
    surface = landscape_of(open_sweep(store))
    # A point of the landscape is a point of the sweep at every composition.
    other_axes_points = sweep.points // surface["s2_total"].size
    parameters = {name: sweep.model.parameter(name) for name in sweep.axes}
    limits = {name: (parameter.low, parameter.high) for name, parameter in parameters.items()}
    allowed = None if left is None else max(left // other_axes_points, 1)
    proposal = propose(surface, target, budget=allowed, limits=limits)
    if left is not None and proposal.points * other_axes_points > left:
        notes = (*proposal.notes, "the budget does not allow one more value")
        proposal = replace(proposal, status="exhausted", axes={}, points=0, notes=notes)
    return Round(str(store), proposal, sweep.points, sweep.kernel.updates(sweep.points))
