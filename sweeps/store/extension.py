"""Extension: copy the points of a smaller sweep into the store of a larger one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, shortened
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.arrays import DamageError, checksums
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Store, check_description

# For each axis of the larger sweep, the index of each of its values in the smaller one, or ABSENT.
Places = Sequence[npt.NDArray[np.intp]]

ABSENT = -1


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
    # Everything but the values of the axes must be the same: model, schedule, seed, …
    ours, theirs = (
        {name: value for name, value in s.description.items() if not name.startswith("grid.")}
        for s in (sweep, store.sweep)
    )
    check_description(store, ours, theirs, store.sweep.digest, problem)
    for name, values in sweep.axes.items():
        old = store.sweep.axes[name]
        missing = old[~np.isin(old, values)]
        if missing.size:
            raise RequestError(
                f"{problem}: grid.{name} lacks a value",
                came=f"{shortened(values.tolist(), 80)} without {missing[0]}",
                allowed="all values of the store, and more",
                hint=f"Sweep.extended({{{name!r}: […]}})",
            )
        if name in sweep.kernel.uncut_axes and len(old) != len(values):
            raise RequestError(
                f"the axis {name} cannot be extended: all its points were computed together",
                came=f"{len(values)} values of {name} in the sweep, {len(old)} in the store",
                allowed="the same values: parallel tempering exchanges between them",
                hint="more values of another axis, or a run without --base",
            )
    return store


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
    places = []
    for name, ours in store.sweep.axes.items():
        index = {value: i for i, value in enumerate(base.sweep.axes[name].tolist())}
        places.append(np.array([index.get(value, ABSENT) for value in ours.tolist()], np.intp))
    return sum(_take_block(store, base, block, places) for block in store.pending())


def _take_block(store: Store, base: Store, block: Block, places: Places) -> int:
    there = [place[part] for place, part in zip(places, block.region, strict=True)]
    old = [np.flatnonzero(place != ABSENT) for place in there]
    if not all(map(len, old)):
        return 0
    crossings = np.meshgrid(*old, indexing="ij")
    points = np.ravel_multi_index(crossings, block.shape).ravel()
    source = [place[chosen] for place, chosen in zip(there, old, strict=True)]
    wanted = store.open_points(block)[points]
    try:
        wanted &= base.at("done", source)
        if not wanted.any():
            return 0
        values = {v.name: base.at(v.name, source) for v in store.sweep.kernel.variables}
        wanted &= checksums(values) == base.at("checksum", source)
        attempts = base.at("attempts", source)[wanted]
    except DamageError:
        return 0
    if wanted.any():
        wanted_values = {name: some[wanted] for name, some in values.items()}
        store.write(block, wanted_values, points[wanted], attempts=attempts)
    return int(wanted.sum())
