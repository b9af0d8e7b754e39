"""``explore``: a learner chooses the points of a sweep one batch after the other."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import xarray as xr

from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.analysis.inference.refinement.proposal import propose
from latticescape.physics.errors import RequestError, checked_integer
from latticescape.sweeps.execution.extend import Extension
from latticescape.sweeps.execution.run import Cluster, IncompleteError, execute, run
from latticescape.sweeps.spec.axes import printed
from latticescape.sweeps.spec.sweep import POINT, Sweep
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.store import Store, open_sweep

BATCH = 8


class Learner(Protocol):
    """Chooses points, and learns the values there: the interface of ``adaptive``'s learners.

    A point is a tuple of the parameters' values, or a number if there is one parameter.
    """

    def ask(self, n: int) -> tuple[Sequence[Any], Any]:
        """Return the next n points or fewer, none if no more are needed; and their gains."""

    def tell(self, x: Any, y: Any) -> None:
        """Learn the value y of a point x."""


# A variable's name, or a function from the sweep's Dataset to values over ``point``.
Value = str | Callable[[xr.Dataset], xr.DataArray | xr.Dataset]


def explore(
    sweep: Sweep,
    store: StorePath,
    learner: Learner,
    value: Value,
    *,
    points: int,
    batch: int = BATCH,
    cluster: Cluster = None,
    progress: bool = True,
) -> xr.Dataset:
    """Compute the points of a sweep, and then those that a learner chooses.

    All points are in one store. The learner is told the values of the first points, and then asked
    for batches; each is added to the store and told. To resume, repeat the call with a new learner:
    it is asked and told in the same order, and points that the store holds are not computed again.

    Parameters
    ----------
    sweep
        A sweep of points on no grid (``points=``), the first ones.
    store
        Folder of the store: a new one, or one that the same call has begun.
    learner
        Has ``ask(n)`` and ``tell(point, value)`` as the learners of the package ``adaptive``
        (https://adaptive.readthedocs.io), which need not be installed for others. Points are tuples
        of the parameters in the order of the sweep's own.
    value
        What the learner learns: a variable such as ``"susceptibility_abs"``, or a function from the
        sweep's Dataset to a DataArray over ``point``, of which the learner is told numbers; or to a
        Dataset, of which it is told the part of each point. Points whose value is NaN are not told.
    points
        Number of points that the learner may ask for.
    batch
        Number of points asked for at a time, and computed in parallel.
    cluster, progress
        As for :func:`latticescape.run`.

    Returns
    -------
    Dataset
        The store, lazy.

    Raises
    ------
    RequestError
        If the sweep is on a grid, the store holds another sweep, or the value is not over
        ``point``.
    IncompleteError
        If points failed or the run was cancelled; the same call continues.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, square
    >>> class Halving:
    ...     told = {}
    ...     def ask(self, n):
    ...         known = sorted(self.told)
    ...         return [(a + b) / 2 for a, b in zip(known, known[1:], strict=False)][:n], None
    ...     def tell(self, x, y):
    ...         self.told[x] = y
    >>> sweep = Sweep(square(4), Ising(), schedule=Schedule(10, 5, 2), points={"T": [1.0, 4.0]})
    >>> store = tempfile.mkdtemp() + "/curve.zarr"
    >>> ds = explore(sweep, store, Halving(), "energy", points=3, batch=2, cluster="inline")
    >>> ds.T.values.tolist()
    [1.0, 4.0, 2.5, 1.75, 3.25]
    """
    for name, number in {"points": points, "batch": batch}.items():
        checked_integer(
            number, 1, sys.maxsize, f"{name} must be a positive whole number", hint=f"{name}=8"
        )
    ds = _begun(sweep, store, cluster, progress=progress)
    names = list(sweep.columns[POINT])
    first = len(sweep.columns[POINT][names[0]])
    asked: list[Any] = [_shaped(row) for row in _rows(ds, names)[:first]]
    remaining = points
    while True:
        places = {_key(row): i for i, row in enumerate(_rows(ds, names))}
        _tell(learner, asked, [places[_key(x)] for x in asked], _values(value, ds, names))
        asked = list(learner.ask(min(batch, remaining))[0])[:remaining] if remaining else []
        if not asked:
            return ds
        remaining -= len(asked)
        new = [row for row in map(_tuple, asked) if _key(row) not in places]
        if new:
            columns = dict(zip(names, zip(*new, strict=True), strict=True))
            ds = _added(sweep, store, columns, cluster, progress=progress)


def _begun(sweep: Sweep, store: StorePath, cluster: Cluster, *, progress: bool) -> xr.Dataset:
    """The store's Dataset, in which all of its points are done; the sweep's are the first."""
    if POINT not in sweep.grid:
        raise RequestError(
            "a learner chooses points, and the sweep is on a grid",
            came=" × ".join(sweep.grid),
            allowed="a sweep of points",
            hint='Sweep(lattice, model, schedule=…, points=sobol({"T": (1.5, 3.5)}, 16))',
        )
    begun = sweep
    if not locate(store).is_free():
        begun = Store(store).sweep.with_source(sweep.source)
        if POINT not in begun.grid or sweep.extended({POINT: begun.columns[POINT]}) != begun:
            raise RequestError(
                f"{store} holds another sweep", came=begun.digest, hint="a new path of the store"
            )
    return run(begun, store, cluster, progress=progress)


def _added(
    sweep: Sweep,
    store: StorePath,
    columns: Mapping[str, Sequence[float]],
    cluster: Cluster,
    *,
    progress: bool,
) -> xr.Dataset:
    """Add points to a store."""
    extension = Extension.of(store, {"points": columns})
    longer = extension.sweep.with_source(sweep.source)
    report = execute(longer, extension.target, cluster, base=extension.base, progress=progress)
    report = replace(extension, sweep=longer).finished(report)
    if not report.complete:
        raise IncompleteError(report)
    return open_sweep(store)


def _values(value: Value, ds: xr.Dataset, names: Sequence[str]) -> xr.DataArray | xr.Dataset:
    table = value(ds) if callable(value) else ds.get(value)
    if table is None or (isinstance(table, xr.DataArray) and table.dims != (POINT,)):
        raise RequestError(
            "a learner needs one value per point",
            came=value if table is None else f"values over {', '.join(map(str, table.dims))}",
            allowed="a variable, or a function to a DataArray over point",
            hint='"energy", or lambda ds: ds.histogram.sel(configuration=3)',
        )
    # Its parameters in the order of the learner's points.
    columns = {name: ds[name].variable for name in names}
    return table.drop_vars(names).assign_coords(columns).load()


def _tell(
    learner: Learner, asked: Sequence[Any], places: Sequence[int], table: xr.DataArray | xr.Dataset
) -> None:
    for x, place in zip(asked, places, strict=True):
        if isinstance(table, xr.Dataset):
            learner.tell(x, table.isel({POINT: [place]}))
        elif np.isfinite(table[place]):
            learner.tell(x, float(table[place]))


def _rows(ds: xr.Dataset, names: Sequence[str]) -> list[tuple[float, ...]]:
    return list(zip(*(ds[name].values.tolist() for name in names), strict=True))


def _tuple(x: Any) -> tuple[float, ...]:
    return tuple(map(float, np.atleast_1d(x)))


def _shaped(row: tuple[float, ...]) -> Any:
    return row if len(row) > 1 else row[0]


def _key(x: Any) -> tuple[object, ...]:
    return tuple(map(printed, _tuple(x)))


@dataclass
class MinimumLearner:
    """Chooses points as :func:`latticescape.propose` does, near the minimum of a landscape.

    Its value is a landscape: ``explore(…, MinimumLearner({"w1": 0.01}), lambda ds: landscape(ds,
    observed), …)``.

    Parameters
    ----------
    target, limits
        As of :func:`latticescape.propose`. No more points are chosen once the target is met.
    """

    target: Mapping[str, float]
    limits: Mapping[str, tuple[float, float]] | None = None
    told: list[xr.Dataset] = field(default_factory=list, init=False)

    def ask(self, n: int) -> tuple[list[tuple[float, ...]], None]:
        """Return the next n points or fewer; see :class:`Learner`."""
        minimal: Any = {"coords": "minimal", "data_vars": "minimal", "compat": "override"}
        surface = xr.concat(self.told, POINT, join="override", **minimal)
        # What belongs to no point is known best from all points, with the newest.
        newest = self.told[-1].data_vars
        surface = surface.assign({n: v for n, v in newest.items() if POINT not in v.dims})
        axes = propose(surface, self.target, budget=n, limits=self.limits).axes
        names = parameters_of(surface)
        number = max(map(len, axes.values()), default=0)
        fixed = {name: (float(surface[name][0]),) * number for name in names}
        return list(zip(*({**fixed, **axes}[name] for name in names), strict=True)), None

    def tell(self, x: Any, y: xr.Dataset) -> None:
        """Learn the landscape at a point; see :class:`Learner`."""
        self.told.append(y)
