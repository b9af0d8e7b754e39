"""``refine``: sweep, landscape, proposal, extended sweep, and so on until a target is met."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from latticescape.analysis.inference.landscapes.landscape import landscape
from latticescape.analysis.inference.refinement.proposal import Proposal, propose
from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.run import IncompleteError, Report
from latticescape.sweeps.execution.run import execute as execute_sweep
from latticescape.sweeps.execution.workers import Cluster
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.status import status
from latticescape.sweeps.store.store import Store, open_sweep

ROUNDS = 8


# Counts per image; or, of anything else that is observed, from a sweep to its landscape.
Observed = xr.Dataset | Callable[[xr.Dataset], xr.Dataset]


class Execute(Protocol):
    """Computes a sweep into a store, taking over the points of another one's."""

    def __call__(self, sweep: Sweep, store: StorePath, *, base: StorePath) -> Report: ...


@dataclass(frozen=True)
class Round:
    """A landscape, and what was proposed for the next.

    Attributes
    ----------
    store
        The store it was made from.
    proposal
        Estimate, errors, and new values.
    points, updates
        Points of the store's sweep, and attempted flips or swaps that all of them took.
    report
        Of the run that made the store; None of the first.
    """

    store: str
    proposal: Proposal
    points: int
    updates: int
    report: Report | None = None

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        found = self.proposal
        return {
            "store": self.store,
            "points": self.points,
            "updates": self.updates,
            "computed": self.report.computed if self.report else 0,
            "status": found.status,
            "parameters": {
                name: {
                    "value": value,
                    "numerical_error": found.errors[name],
                    "data_error": found.data_errors[name],
                }
                for name, value in found.estimate.items()
            },
            "new_values": {name: list(values) for name, values in found.axes.items()},
            "expected": dict(found.expected),
            "notes": list(found.notes),
        }


@dataclass(frozen=True)
class Refinement:
    """All rounds, and why there are no more.

    Attributes
    ----------
    target
        Numerical error asked for by parameter.
    rounds
        The first is that of the store there was.
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
        """As one JSON object."""
        rounds = [one.as_dict() for one in self.rounds]
        return {
            "reached": self.reached,
            "target": dict(self.target),
            "store": self.store,
            "points": rounds[-1]["points"],
            "updates": rounds[-1]["updates"],
            "computed": sum(one["computed"] for one in rounds),
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
    """Add points to a sweep where they tell most, until its landscape's minimum is known well.

    Every round makes the landscape, asks :func:`latticescape.propose`, and runs the extended sweep
    in a new store that takes over all points there are. What was begun is gone on with: the same
    call once more finds the stores of its rounds.

    Parameters
    ----------
    store
        Of the coarse sweep, which stays as it is.
    observed
        Counts per image (``observed_counts``); or a function from a sweep's Dataset to its
        landscape, such as :func:`latticescape.slab_landscape` of a slab's sources.
    target
        Numerical error by parameter; see :func:`latticescape.propose` for what that is.
    rounds
        Most extended sweeps.
    budget
        Most new points of the sweep, all rounds together.
    out
        Path of the new stores: ``fine.zarr`` makes ``fine-1.zarr``, ``fine-2.zarr``, …; beside
        ``store`` by default.
    client
        Where to compute; see :func:`latticescape.run`.
    execute
        What to compute with in its place.
    progress
        Show a bar in a terminal.
    on_round
        Called with every round.

    Raises
    ------
    RequestError
        If the store is not finished, its classes are not those observed, or the target, the rounds
        or the budget are none.
    IncompleteError
        If a round was cancelled; the same call goes on.

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
    >>> found = refine(path, image, {"w1": 0.02})
    >>> found.reached, abs(found.rounds[-1].proposal.estimate["w1"] - 0.1) < 0.1
    (True, True)
    """
    _check_whole("rounds", rounds)
    _check_whole("budget", budget)
    _check_finished(store)
    ready = partial(_executed, client, progress) if execute is None else execute
    landscape_of = observed if callable(observed) else partial(landscape, observed=observed)
    found = [_looked(store, landscape_of, target, budget)]
    on_round(found[-1])
    spent = 0
    for number in range(1, rounds + 1):
        last = found[-1]
        if last.proposal.ends:
            break
        opened = Store(last.store)
        extended = opened.sweep.extended(last.proposal.axes)
        path = numbered(store if out is None else out, number)
        report = ready(extended, path, base=last.store)
        if report.pending:
            raise IncompleteError(report)
        spent += extended.points - opened.sweep.points
        left = None if budget is None else budget - spent
        found.append(replace(_looked(path, landscape_of, target, left), report=report))
        on_round(found[-1])
    return Refinement(dict(target), tuple(found))


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


def _looked(
    store: StorePath,
    landscape_of: Callable[[xr.Dataset], xr.Dataset],
    target: Mapping[str, float],
    left: int | None,
) -> Round:
    """The landscape of a store, and what is proposed."""
    sweep = Store(store).sweep
    surface = landscape_of(open_sweep(store))
    # A point of the landscape is a point of the sweep at every composition.
    other_axes_points = sweep.points // surface["s2_total"].size
    limits = {name: _limits(sweep, name) for name in sweep.axes}
    allowed = None if left is None else max(left // other_axes_points, 1)
    proposal = propose(surface, target, budget=allowed, limits=limits)
    if left is not None and proposal.points * other_axes_points > left:
        notes = (*proposal.notes, "the budget does not allow one more value")
        proposal = replace(proposal, status="exhausted", axes={}, points=0, notes=notes)
    return Round(str(store), proposal, sweep.points, sweep.kernel.updates(sweep.points))


def _executed(
    client: Cluster, progress: bool, sweep: Sweep, store: StorePath, *, base: StorePath
) -> Report:
    return execute_sweep(sweep, store, client, base=base, progress=progress)


def _limits(sweep: Sweep, name: str) -> tuple[float, float]:
    parameter = sweep.model.parameter(name)
    return parameter.low, parameter.high


def _check_finished(store: StorePath) -> None:
    """Points that failed stay out of the landscape; those that nobody tried are to be computed."""
    found = status(store)
    if found.pending:
        raise RequestError(
            f"the store {store} is not finished",
            came=f"of {found.points} points {found.pending} pending",
            allowed="no point pending",
            hint=f"latticescape retry-failed {store}",
        )


def _check_whole(name: str, given: Any) -> None:
    if given is None and name == "budget":
        return
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise RequestError(
            f"{name} must be a positive whole number",
            came=given,
            allowed="1 or more",
            hint=f"--{name} 6",
        )
