"""``Reader``: the variables of a sweep, of which only what is shown is read."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.plots.labels import WITHIN_A_POINT, WORDS
from latticescape.analysis.plots.values import columns_along, lattice_with, layers, numbered
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import CRYSTAL
from latticescape.physics.variables import RESTART

Values = npt.NDArray[Any]
Place = Mapping[str, int]

# Bytes of variables kept in memory, and the largest variable that is offered as a map.
KEPT_BYTES = 2**28
MOST_BYTES = 2**29

# Up to this number of points a variable is read completely, so that later views are free.
COMPLETE_POINTS = 2**24

BOOKKEEPING = {"done", "attempts", "state", "error", "checksum"}
FAILED = (2, 3)


_MARKUP = str.maketrans("<>&", "‹›＆")


def without_markup(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset whose texts a browser cannot take for HTML: ``<`` becomes ``‹``.

    A page shows units, long names, names of images and species in tooltips and panes of HTML, and
    a store may come from a stranger.

    Raises
    ------
    RequestError
        If the name of a variable or dimension holds signs that HTML could use.

    Examples
    --------
    >>> ds = xr.Dataset({"e": ("T", [1.0], {"units": "<b>J</b>"})})
    >>> without_markup(ds).e.units
    '‹b›J‹/b›'
    """
    for name in (*ds.variables, *ds.dims):
        if not re.fullmatch(r"[\w .:+-]+", str(name)):
            raise RequestError(
                "a variable has a name that cannot be shown",
                came=str(name),
                allowed="letters, digits, blanks and _ . : + -",
            )
    plain = ds.assign_attrs(_plain(ds.attrs))
    for name, variable in plain.variables.items():
        variable.attrs = _plain(variable.attrs)
        if variable.dtype.kind in "OU":
            texts = np.array(_plain(variable.to_numpy().tolist()), variable.dtype)
            plain[name] = (variable.dims, texts, variable.attrs)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_MARKUP)
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


class Reader:
    """A sweep that may still be running.

    Parameters
    ----------
    open_
        Opens the Dataset lazily; called again to see newly done points.
    read_all
        Reads a complete variable without dimensions other than the axes, by name; by default
        xarray does.

    Raises
    ------
    RequestError
        If the Dataset has no axis, or one without values.

    Examples
    --------
    >>> ds = xr.Dataset({"e": ("T", [1.0, 2.0]), "done": ("T", [True, False])}, {"T": [1.0, 2.0]})
    >>> reader = Reader(lambda: ds)
    >>> reader.variables, reader.values("e").tolist(), reader.counts()
    (['e'], [1.0, nan], {'points': 2, 'done': 1, 'failed': 0})
    """

    def __init__(
        self,
        open_: Callable[[], xr.Dataset],
        read_all: Callable[[str], Values] | None = None,
    ) -> None:
        self._unchecked, self._read_all = open_, read_all
        self._looking, self.version = Lock(), 0
        self.ds = self._open()
        dims = self.ds["done"].dims if "done" in self.ds else self.ds.sizes
        self.axes = tuple(str(dim) for dim in dims if dim not in WITHIN_A_POINT)
        if not self.axes or not all(self.ds.sizes[axis] for axis in self.axes):
            raise RequestError("there is nothing to browse", came="no axis", allowed="a sweep")
        self.columns = {axis: self._columns(axis) for axis in self.axes}
        if not all(self.columns.values()):
            raise RequestError(
                "an axis that has no values cannot be browsed",
                came=next(axis for axis, names in self.columns.items() if not names),
                allowed="a sweep with values of its axes",
            )
        self.done = self._read_done()
        self.failed = self._count_failed(self.done)
        self._kept: OrderedDict[object, Values] = OrderedDict()

    def _open(self) -> xr.Dataset:
        ds = numbered(without_markup(self._unchecked()))
        # Points that have only one parameter are an axis.
        alone = {d: names[0] for d in ds.dims if len(names := columns_along(ds, d)) == 1}
        return ds.swap_dims({d: n for d, n in alone.items() if d not in WITHIN_A_POINT})

    def _columns(self, axis: str) -> list[str]:
        return [axis] if axis in self.ds.coords else columns_along(self.ds, axis)

    @property
    def points(self) -> str | None:
        """The axis of points on no grid, whose parameters are :attr:`columns`; None on a grid."""
        return next((axis for axis in self.axes if axis not in self.ds.coords), None)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of all axes."""
        return tuple(name for names in self.columns.values() for name in names)

    def axis_of(self, parameter: str) -> str:
        """Return the axis that a parameter varies along."""
        return next(axis for axis, names in self.columns.items() if parameter in names)

    def words(self, parameter: str) -> list[str]:
        """Return the words that the values of a parameter stand for; none for numbers."""
        return list(self.ds[parameter].attrs.get(WORDS, []))

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points along every axis."""
        return tuple(self.ds.sizes[axis] for axis in self.axes)

    @property
    def variables(self) -> list[str]:
        """Numeric variables over all axes, without the standard errors of others."""
        names = [str(name) for name in self.ds.data_vars if self._drawable(str(name))]
        return [n for n in names if not (n.endswith("_se") and n[:-3] in names)] or names

    @property
    def has_histograms(self) -> bool:
        """Whether points hold counts of the configurations of a periodic lattice."""
        return "histogram_replica" in self.ds and self.has_snapshots

    @property
    def has_snapshots(self) -> bool:
        """Whether points have spins on a lattice that can be drawn; slabs have not."""
        return str(self.ds.attrs.get("lattice")) in (*GEOMETRIES, CRYSTAL)

    @property
    def planes(self) -> int:
        """Number of the lattice's planes to choose from; 1 if its size is not known."""
        sites = self.ds.sizes.get("site", 0)
        known = self.has_snapshots and (sites or "spec" in self.ds.attrs)
        return layers(lattice_with(self.ds, sites)) if known else 1

    def coordinates(self, parameter: str) -> Values:
        """Return the values of a parameter along its axis, in the order of the store."""
        values: Values = self.ds[parameter].to_numpy()
        return values

    def within(self, variable: str) -> list[str]:
        """Return the dimensions of a variable other than the axes."""
        return [str(dim) for dim in self.ds[variable].dims if dim not in self.axes]

    def values(self, variable: str, place: Place | None = None) -> Values:
        """Return a variable over the axes, NaN where not done, at a place within the points.

        Parameters
        ----------
        variable
            Its name.
        place
            Index on every dimension of the variable other than the axes.
        """
        inside = tuple((dim, int((place or {}).get(dim, 0))) for dim in self.within(variable))
        key = (variable, inside)
        if key not in self._kept:
            self._kept[key] = self._masked(self._read(variable, dict(inside)), self.done)
            while sum(v.nbytes for v in self._kept.values()) > KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def surface(self, variable: str, axes: tuple[str, ...], place: Place) -> Values:
        """Return a variable over some axes, the last varying fastest, at a place on the others."""
        others = {axis: int(place[axis]) for axis in self.axes if axis not in axes}
        left = [axis for axis in self.axes if axis in axes]
        if self.done.size <= COMPLETE_POINTS:
            cut = self.values(variable, place)[self._index(others)]
        else:
            inside = {dim: int(place.get(dim, 0)) for dim in self.within(variable)}
            read = self.ds[variable].isel(others | inside).to_numpy()
            cut = self._masked(read, self.done[self._index(others)])
        turned: Values = cut.transpose([left.index(axis) for axis in axes])
        return turned

    def point(self, variable: str, place: Place) -> xr.DataArray:
        """Return a variable at one point; nothing else is read."""
        return self.ds[variable].isel({axis: int(place[axis]) for axis in self.axes}).load()

    def is_done(self, place: Place) -> bool:
        """Whether a point is computed."""
        return bool(self.done[tuple(int(place[axis]) for axis in self.axes)])

    def refresh(self) -> int:
        """Read which points are done; return a version that changes if any were."""
        with self._looking:
            if not self.done.all():
                done = self._read_done()
                failed = self._count_failed(done)
                if (self.done != done).any() or failed != self.failed:
                    self.ds, self.done, self._kept = self._open(), done, OrderedDict()
                    self.version, self.failed = self.version + 1, failed
            return self.version

    def counts(self) -> dict[str, int]:
        """Return the number of points, and of those done and failed."""
        return {"points": self.done.size, "done": int(self.done.sum()), "failed": self.failed}

    def _count_failed(self, done: Values) -> int:
        if done.all() or "state" not in self.ds:
            return 0
        return int((np.isin(self._read_again("state"), FAILED) & ~done).sum())

    def _drawable(self, name: str) -> bool:
        array = self.ds[name]
        numbers = np.issubdtype(array.dtype, np.number) or array.dtype == bool
        over = set(self.axes) <= set(array.dims)
        shown = name not in (*BOOKKEEPING, RESTART)
        return numbers and over and shown and array.nbytes <= MOST_BYTES

    def _index(self, others: Place) -> tuple[Any, ...]:
        return tuple(others.get(axis, slice(None)) for axis in self.axes)

    def _read_done(self) -> Values:
        if "done" not in self.ds:
            return np.ones(self.shape, bool)
        return np.asarray(self._read_again("done"), bool)

    def _read_again(self, name: str) -> Values:
        """Return a variable as it is now; the Dataset is opened again only if it must be."""
        if self._read_all is not None:
            return self._read_all(name)
        now: Values = self._open()[name].transpose(*self.axes).to_numpy()
        return now

    def _read(self, name: str, inside: Place) -> Values:
        if self._read_all is not None and not inside:
            return self._read_all(name)
        read: Values = self.ds[name].isel(inside).transpose(*self.axes).to_numpy()
        return read

    def _masked(self, values: Values, done: Values) -> Values:
        """Return floats, the magnitude of complex values, NaN where not done."""
        real = np.abs(values) if np.iscomplexobj(values) else values
        masked: Values = np.where(done, real, np.nan).astype(float)
        return masked
