"""The data of a page (``Shown``) and the current selection (``View``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from latticescape.analysis.app.reader import Reader
from latticescape.analysis.plots.labels import (
    Species,
    axis_label,
    place_text,
    species_of,
    symbol_of,
    with_unit,
)
from latticescape.analysis.plots.values import Estimate, Surface, on_axis

Words = npt.NDArray[np.uint64]
Simulate = Callable[[dict[str, float]], Words]
Estimates = dict[object, tuple[Estimate, Surface | None]]

ALL = "all images"
NOTHING = "none"

# Variables shown first; at fixed composition the magnetization is constant.
FAVOURITES = ("susceptibility_abs", "magnetization", "heat_capacity", "energy")
OF_ALLOYS = ("energy", "heat_capacity")

# Landscapes of larger sweeps take too long to compute while a page loads.
MOST_LANDSCAPE_POINTS = 20_000


@dataclass(frozen=True)
class Sources:
    """Where the data of a page came from, as a script opens them.

    Attributes
    ----------
    store
        The sweep.
    observed, species
        The arguments of ``observed_counts``.
    landscape
        The store of a landscape; None if it is computed from ``observed``.
    slab
        Arguments of ``slab_landscape`` other than the sweep, if ``observed`` is a file of sources.
    """

    store: str
    observed: tuple[str, ...] = ()
    species: tuple[str, ...] | None = None
    landscape: str | None = None
    slab: Mapping[str, object] | None = None


@dataclass
class Shown:
    """The data of a page, shared by all browsers of a server.

    Attributes
    ----------
    reader
        The sweep.
    sources
        Where the data came from.
    observed
        Counts per image, or None.
    landscape_of
        Computes the landscape of a sweep's Dataset; None if nothing is observed.
    posterior
        Samples of the parameters, or None.
    simulate
        Returns the spins (site) at a place on the axes; or None.
    estimates
        Fits of the landscape and its parts, each with the surface between points on no grid;
        computed once for all browsers.
    """

    reader: Reader
    sources: Sources
    observed: xr.Dataset | None = None
    landscape_of: Callable[[xr.Dataset], xr.Dataset] | None = None
    posterior: xr.Dataset | None = None
    simulate: Simulate | None = None
    estimates: Estimates = field(default_factory=dict)
    _landscape: tuple[int, xr.Dataset] | None = None

    @property
    def species(self) -> Species | None:
        """Names of the species, if the observed counts or the sweep know them."""
        return species_of(self.observed, self.reader.ds)

    def landscape(self) -> xr.Dataset | None:
        """Return the landscape, computed again if points have been done since.

        None if nothing is observed, or if the sweep has too many points to compute it here.
        """
        too_many = self.sources.landscape is None and self.reader.done.size > MOST_LANDSCAPE_POINTS
        if self.landscape_of is None or too_many:
            return None
        version = self.reader.version
        if self._landscape is None or self._landscape[0] != version:
            self._landscape = version, on_axis(self.landscape_of(self.reader.ds))
            self.estimates.clear()
        return self._landscape[1]


class View(param.Parameterized):  # type: ignore[misc]
    """The current selection. Widgets and taps change it; panes draw it.

    Attributes
    ----------
    variable, second
        The variables of the two maps; ``second`` may be none.
    x, y
        Axes of the maps, or parameters of points; ``y`` is "" in a sweep of one axis.
    place
        Index of the point, by axis, and on dimensions within a point.
    log
        Logarithmic colours.
    image
        Whose histogram and landscape are shown: an image's name, or all.
    replica, layer
        Of the snapshot; the layer of a lattice in three dimensions.
    """

    variable: Any = param.Selector(label="Variable")
    second: Any = param.Selector(label="Second variable")
    x: Any = param.Selector(label="Horizontal axis")
    y: Any = param.Selector(label="Vertical axis")
    log = param.Boolean(default=False, label="Logarithmic colours")
    image: Any = param.Selector(label="Observed image")
    replica = param.Integer(default=0, bounds=(0, 63), label="Replica")
    layer = param.Integer(default=0, bounds=(0, None), label="Layer")
    place = param.Dict(default={})
    species: Species | None = None

    @classmethod
    def of(cls, reader: Reader, images: list[str], species: Species | None = None) -> "View":
        """Return the first view of a sweep, at the middle of its grid."""
        view, axes = cls(), list(reader.axes)
        view.species = species
        wanted = OF_ALLOYS if "composition" in reader.ds else FAVOURITES
        favourites = [n for n in wanted if n in reader.variables]
        first = (favourites or reader.variables)[0]
        others = [n for n in (*favourites, *reader.variables) if n != first]
        errors = [f"{name}_se" for name in reader.variables if f"{name}_se" in reader.ds]
        view.param["variable"].objects = reader.variables
        view.param["second"].objects = [NOTHING, *reader.variables, *errors]
        if reader.points is not None:
            axes = reader.columns[reader.points][::-1]
        view.param["x"].objects = axes
        view.param["y"].objects = axes if len(axes) > 1 else [""]
        view.param["image"].objects = [ALL, *images]
        view.param.update(
            variable=first,
            second=others[0] if others else NOTHING,
            x=axes[-1] if len(axes) > 1 else axes[0],
            y=axes[-2] if len(axes) > 1 else "",
            image=ALL,
            place={axis: size // 2 for axis, size in zip(reader.axes, reader.shape, strict=True)},
        )
        return view

    @property
    def map_axes(self) -> tuple[str, ...]:
        """Axes of the maps, the slowest first."""
        return (self.y, self.x) if self.y else (self.x,)

    def move(self, **place: int) -> None:
        """Go to another place on some dimensions."""
        self.place = {**self.place, **place}

    def words(self, reader: Reader, dims: Any) -> str:
        """Return the place on dimensions in words."""
        return ", ".join(
            place_text(reader.ds, dim, self.place.get(dim, 0), self.species) for dim in dims
        )

    def at(self, reader: Reader) -> dict[str, float]:
        """Return the parameters at the place."""
        return {
            name: float(reader.coordinates(name)[self.place[axis]])
            for axis, names in reader.columns.items()
            for name in names
        }

    def label(self, reader: Reader, name: str) -> str:
        """Return long name and unit of a variable or an axis."""
        array = reader.ds[name]
        words = axis_label(array, self.species)
        return f"|{words}|" if np.iscomplexobj(array) else words


def symbol(array: xr.DataArray) -> str:
    """Return symbol and unit of an axis."""
    return with_unit(symbol_of(str(array.name)), array)
