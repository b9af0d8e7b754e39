"""``explore``: a learner chooses the points of a sweep, batch by batch."""

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
    """An object that chooses points and learns the values at them, as the learners of ``adaptive``.

    A point is a tuple of the parameters' values, or a number if there is one parameter.
    """

    def ask(self, n: int) -> tuple[Sequence[Any], Any]:
        """Return at most n points, none if no more are needed, and the gain expected of each.

        The gains are not used.
        """

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

    One store holds all points. The learner is told the values at the first points. Then it is asked
    for a batch of points; they are computed, added to the store and told to it, and so on. To
    resume, repeat the call with a new learner: it is asked and told in the same order, and points
    that the store holds are not computed again.

    Parameters
    ----------
    sweep
        A sweep of points on no grid (``points=``), the first ones.
    store
        Folder of the store: a new one, or one that the same call has begun.
    learner
        An object with ``ask(n)`` and ``tell(point, value)``: a learner of the package ``adaptive``
        (https://adaptive.readthedocs.io), :class:`MinimumLearner`, or one of your own. Points are
        tuples of the parameters in the order of the sweep, or numbers if there is one parameter.
    value
        What the learner is told of each point: the name of a variable such as
        ``"susceptibility_abs"``, or a function of the sweep's Dataset. If the function returns a
        DataArray over ``point``, the learner is told a number; if it returns a Dataset, the part of
        it at the point. Points whose number is NaN are not told.
    points
        Most points that the learner may choose, 1 or more.
    batch
        Most points that it chooses at a time; they are computed in parallel.
    cluster, progress
        As for :func:`latticescape.run`.

    Returns
    -------
    Dataset
        The store, lazy.

    Raises
    ------
    RequestError
        If ``points`` or ``batch`` is not positive, the sweep is on a grid, the store holds another
        sweep, or the value is not one number per point.
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
    asked: list[Any] = [row if len(row) > 1 else row[0] for row in _rows(ds, names)[:first]]
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
    """Compute the points of the sweep, and those that a store already has after them."""
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
                f"{store} holds another sweep",
                came=begun.digest,
                allowed="a new store, or one that the same call has begun",
                hint="another path for the store",
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
    """Add points to a store, compute them, and return its Dataset."""
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
    # Parameters in the order of the learner's points.
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


def _key(x: Any) -> tuple[object, ...]:
    return tuple(map(printed, _tuple(x)))


@dataclass
class MinimumLearner:
    """A learner that chooses points near the minimum of a landscape: those of ``propose``.

    The value at a point is the landscape there: ``explore(…, MinimumLearner({"w1": 0.01}), lambda
    ds: landscape(ds, observed), …)``.

    Parameters
    ----------
    target
        Largest numerical standard error by parameter, as ``target_error`` of
        :func:`latticescape.propose`. No more points are chosen once it is met.
    limits
        By parameter: the lower and upper bound of its values.

    Examples
    --------
    >>> learner = MinimumLearner({"w1": 0.001})
    >>> for w1 in np.linspace(-1.0, 1.0, 9):
    ...     s2, error = 0.02 + 0.1 * (w1 + 0.08) ** 2, 4e-4
    ...     learner.tell(w1, xr.Dataset(
    ...         {"s2": (("image", "point"), [[s2]]), "s2_se": (("image", "point"), [[error]]),
    ...          "s2_total": ("point", [s2]), "s2_total_se": ("point", [error]),
    ...          "n": ("image", [1000])},
    ...         coords={"w1": ("point", [w1]), "image": ["one"]}))
    >>> points, _ = learner.ask(2)
    >>> len(points), all(-1 <= w1 <= 1 for (w1,) in points)
    (2, True)
    """

    target: Mapping[str, float]
    limits: Mapping[str, tuple[float, float]] | None = None
    landscapes: list[xr.Dataset] = field(default_factory=list, init=False)

    def ask(self, n: int) -> tuple[list[tuple[float, ...]], None]:
        """Return at most n points; see :class:`Learner`."""
        minimal: Any = {"coords": "minimal", "data_vars": "minimal", "compat": "override"}
        surface = xr.concat(self.landscapes, POINT, join="override", **minimal)
        # Variables without points, such as the covariance, come from the newest landscape.
        newest = self.landscapes[-1].data_vars
        surface = surface.assign({n: v for n, v in newest.items() if POINT not in v.dims})
        axes = propose(surface, self.target, budget=n, limits=self.limits).axes
        names = parameters_of(surface)
        number = max(map(len, axes.values()), default=0)
        fixed = {name: (float(surface[name][0]),) * number for name in names}
        return list(zip(*({**fixed, **axes}[name] for name in names), strict=True)), None

    def tell(self, x: Any, y: xr.Dataset) -> None:
        """Learn the landscape at a point; see :class:`Learner`."""
        self.landscapes.append(y)
