"""Extension: use the points of a store in the store of a larger sweep.

The larger sweep has more values on its axes, or more samples or a longer equilibration, or both.
Points under the same schedule are copied. Under a longer schedule every point goes on from where it
stopped; the results are those of a sweep that had the longer schedule from the beginning.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import DamageError, RequestError, shortened
from latticescape.physics.kernels.kernel import Earlier, ModelKernel
from latticescape.physics.variables import KEPT, RESTART, SAMPLES
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.arrays import checksums
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Points, Store, check_description

# For each dimension of the larger sweep, where each of its values is in the smaller one, or ABSENT.
Places = Sequence[npt.NDArray[np.intp]]

ABSENT = -1

# The values along each dimension, as Sweep.rows has them.
Rows = Mapping[str, Sequence[tuple[Any, ...]]]

# Fields that may grow, if the points keep what they need to go on.
LONGER = ("schedule.samples", "schedule.equilibration_mcs", "schedule.until")


def base_of(base: StorePath, sweep: Sweep) -> Store:
    """The store of a sweep that another one extends.

    Raises
    ------
    RequestError
        If there is none, or its sweep is not extended by this one; the first field that differs is
        named.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2))
    >>> base_of("nowhere.zarr", sweep.extended({"T": [2.25]}))
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store at nowhere.zarr ...
    """
    store = Store(base)
    problem = f"the sweep does not extend that of the store {store.path}"
    # Everything but the values of the axes and the length must be the same: model, seed, …
    free = LONGER if continues(sweep, store) else ()
    ours, theirs = (
        {n: value for n, value in s.description.items() if not (n.startswith("grid.") or n in free)}
        for s in (sweep, store.sweep)
    )
    check_description(store, ours, theirs, store.sweep.digest, problem)
    if free:
        _check_longer(sweep, store)
    for name in sweep.grid:
        new, old = sweep.rows[name], store.sweep.rows[name]
        missing = sorted(set(old) - set(new))
        if missing:
            raise RequestError(
                f"{problem}: grid.{name} lacks a value",
                came=f"{shortened([_plain(row) for row in new], 80)} without {_plain(missing[0])}",
                allowed="all values of the store, and more",
                hint=f"Sweep.extended({{{name!r}: […]}})",
            )
        if name in sweep.kernel.uncut_axes and len(old) != len(new):
            raise RequestError(
                f"the axis {name} cannot be extended: all its points were computed together",
                came=f"{len(new)} values of {name} in the sweep, {len(old)} in the store",
                allowed="the same values: parallel tempering exchanges between them",
                hint="more values of another axis, or a run without --base",
            )
    store.check_arrays()
    return store


def continues(sweep: Sweep, base: Store) -> bool:
    """Whether the points of a store go on under the schedule of a sweep; else they are copied."""
    ours, theirs = sweep.description, base.sweep.description
    return any(ours.get(name) != theirs.get(name) for name in LONGER)


def _check_longer(sweep: Sweep, base: Store) -> None:
    """Refuse a schedule that no point of a store can go on to."""
    ours, theirs = sweep.schedule, base.sweep.schedule
    if not base.sweep.extendable:
        raise RequestError(
            f"the points of the store {base.path} cannot go on: they keep only results",
            came="extendable = false in its spec",
            hint="latticescape run SPEC --store NEW, with extendable = true",
        )
    longer = ours.equilibration_mcs - theirs.equilibration_mcs
    fewer = ours.samples < theirs.samples
    if longer < 0 or (longer == 0 and fewer):
        name = "equilibration_mcs" if longer else "samples"
        raise RequestError(
            f"the sweep has a shorter schedule than the store {base.path}",
            came=f"{name} = {getattr(ours, name)}",
            allowed=f"{getattr(theirs, name)} or more",
            hint=f"latticescape extend {base.path} --samples {2 * theirs.samples}",
        )
    if ours.targets is None or theirs.targets is None or longer:
        return
    # A point of the sweep would end where one of the store did not even look, or earlier.
    if ours.samples != theirs.samples or not ours.targets.is_stricter(theirs.targets):
        raise RequestError(
            f"the points of the store {base.path} have gone too far for this schedule.until",
            came=f"samples = {ours.samples}, until = {ours.targets.table}",
            allowed=f"samples = {theirs.samples}; until as strict as {theirs.targets.table}",
            hint="smaller targets, or a larger max_samples",
        )


def _plain(row: tuple[Any, ...]) -> Any:
    return row[0] if len(row) == 1 else row


def take_over(store: Store, base: Store) -> int:
    """Copy the points that are done in the store of a smaller sweep, block by block.

    Points that do not match their checksum there are left to be computed, as are failed ones.

    Returns
    -------
    int
        Number of points copied.

    Raises
    ------
    UnwritableError
        If the disk is full.
    """
    copied = 0
    places = places_in(base.sweep.rows, store.sweep.rows)
    for block in store.pending():
        for points, values, attempts in _valid(store, base, block, places):
            store.write(block, values, points, attempts=attempts)
            copied += len(points)
    return copied


def earlier_results(store: Store, base: Store, block: Block) -> Earlier | None:
    """What the points of a block go on from, points first: zeros where there is nothing."""
    kernel = store.sweep.kernel
    if not isinstance(kernel, ModelKernel):
        return None
    names = [v.name for word in (RESTART, SAMPLES) if word in kernel.keep for v in KEPT[word]]
    places = places_in(base.sweep.rows, store.sweep.rows)
    for points, values, _ in _valid(store, base, block, places):
        results = {
            name: np.zeros((block.points, *values[name].shape[1:]), values[name].dtype)
            for name in names
        }
        for name in names:
            results[name][points] = values[name]
        return results
    return None


def places_in(known: Rows, wanted: Rows) -> Places:
    """For each dimension, the index of each wanted row among the known; ABSENT for one that lacks.

    Examples
    --------
    >>> places_in({"T": [(1.0,), (2.0,), (3.0,)]}, {"T": [(3.0,), (2.0,), (2.5,)]})
    [array([ 2,  1, -1])]
    """
    places = []
    for dim, rows in wanted.items():
        index = {row: i for i, row in enumerate(known[dim])}
        places.append(np.array([index.get(row, ABSENT) for row in rows], np.intp))
    return places


def _valid(
    store: Store, base: Store, block: Block, places: Places
) -> Iterator[tuple[Points, dict[str, npt.NDArray[np.generic]], npt.NDArray[np.int32]]]:
    """The open points of a block that are done in the base and match their checksum there, their
    results and their attempts; nothing if there are none."""
    there = [place[part] for place, part in zip(places, block.region, strict=True)]
    old = [np.flatnonzero(place != ABSENT) for place in there]
    if not all(map(len, old)):
        return
    crossings = np.meshgrid(*old, indexing="ij")
    points = np.ravel_multi_index(crossings, block.shape).ravel()
    source = [place[chosen] for place, chosen in zip(there, old, strict=True)]
    wanted = store.open_points(block)[points]
    try:
        wanted &= base.at("done", source)
        if not wanted.any():
            return
        values = {v.name: base.at(v.name, source) for v in base.sweep.kernel.variables}
        wanted &= checksums(values) == base.at("checksum", source)
        attempts = base.at("attempts", source)[wanted]
    except DamageError:
        return
    if wanted.any():
        yield points[wanted], {name: some[wanted] for name, some in values.items()}, attempts
