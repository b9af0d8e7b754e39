"""Extension: a larger sweep takes the points of a smaller one over instead of computing them."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError, shortened
from latticescape.sweeps.spec.plan import Block
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.checksums import checksums
from latticescape.sweeps.store.chunks import DamageError
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Store

# By axis of the larger sweep: where each of its values stands in the smaller one, or NOWHERE.
Places = Sequence[npt.NDArray[np.intp]]

NOWHERE = -1


def base_of(base: StorePath, sweep: Sweep) -> Store:
    """The store of a sweep that another one extends.

    Raises
    ------
    RequestError
        If there is none, or it is of a sweep that this one does not extend; the first field that
        differs is named.

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
    _check_kernel(store, sweep)
    for name, values in sweep.axes.items():
        _check_axis(store, name, values, whole=name in sweep.kernel.uncut_axes)
    return store


def take_over(store: Store, base: Store) -> int:
    """Write all points into a store that are done in that of a smaller sweep, block by block.

    Points that do not fit their checksum there are left to be computed, as are those that failed.

    Returns
    -------
    int
        Points taken over.

    Raises
    ------
    DiskFullError
        If they cannot be written.
    """
    theirs = base.sweep.axes
    places = [_places(ours, theirs[name]) for name, ours in store.sweep.axes.items()]
    return sum(_take_block(store, base, block, places) for block in store.pending())


def _take_block(store: Store, base: Store, block: Block, places: Places) -> int:
    there = [place[part] for place, part in zip(places, block.region, strict=True)]
    old = [np.flatnonzero(place != NOWHERE) for place in there]
    if not all(map(len, old)):
        return 0
    crossings = np.meshgrid(*old, indexing="ij")
    points = np.ravel_multi_index(crossings, block.shape).ravel()
    from_ = [place[chosen] for place, chosen in zip(there, old, strict=True)]
    wanted = store.open_points(block)[points]
    try:
        wanted &= base.at("done", from_)
        if not wanted.any():
            return 0
        values = {v.name: base.at(v.name, from_) for v in store.sweep.kernel.variables}
        wanted &= checksums(values) == base.at("checksum", from_)
        attempts = base.at("attempts", from_)[wanted]
    except DamageError:
        return 0
    if wanted.any():
        chosen_values = {name: some[wanted] for name, some in values.items()}
        store.write(block, chosen_values, points[wanted], attempts=attempts)
    return int(wanted.sum())


def _places(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    place = {value: i for i, value in enumerate(theirs.tolist())}
    return np.array([place.get(value, NOWHERE) for value in ours.tolist()], np.intp)


def _check_kernel(store: Store, sweep: Sweep) -> None:
    """Refuse another model, schedule, seed, …: everything that is not a value of an axis."""
    here, there = (
        {name: told for name, told in whose.description.items() if not name.startswith("grid.")}
        for whose in (sweep, store.sweep)
    )
    fields = [name for pair in zip_longest(here, there) for name in pair if name is not None]
    for name in fields:
        if here.get(name) != there.get(name):
            problem = f"the sweep does not extend that of the store {store.path}: {name} differs"
            raise _differs(problem, here.get(name, "(absent)"), there.get(name, "(absent)"))
    if store.group.attrs["digest"] != store.sweep.digest:
        problem = f"the store {store.path} was made by another version of the program"
        raise _differs(problem, store.sweep.digest, store.group.attrs["digest"])


def _check_axis(store: Store, name: str, values: npt.NDArray[np.float64], *, whole: bool) -> None:
    theirs = store.sweep.axes[name]
    lost = theirs[~np.isin(theirs, values)]
    if lost.size:
        raise RequestError(
            f"the sweep does not extend that of the store {store.path}: grid.{name} lacks a value",
            came=f"{shortened(values.tolist(), 80)} without {lost[0]}",
            allowed="all values of the store, and more",
            hint=f"Sweep.extended({{{name!r}: […]}})",
        )
    if whole and len(theirs) != len(values):
        raise RequestError(
            f"the axis {name} cannot be extended: all its points were computed together",
            came=f"{len(values)} values of {name} in the sweep, {len(theirs)} in the store",
            allowed="the same values: parallel tempering trades between them",
            hint="more values of another axis, or a run without --base",
        )


def _differs(problem: str, here: object, there: object) -> RequestError:
    return RequestError(
        problem,
        came=f"{shortened(here, 80)} in the sweep",
        allowed=f"{shortened(there, 80)} in the store",
        hint="Sweep.extended of the store's own sweep, or a run without --base",
    )
