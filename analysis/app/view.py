"""``View``: what is looked at. Widgets, taps and tests change it; panes draw it."""

from typing import Any

import numpy as np
import param
import xarray as xr

from latticescape.analysis.app.reader import Reader
from latticescape.analysis.plots.maps import label_of, unit_of

ALL = "all images"
NOTHING = "nothing"

FAVOURITES = ("susceptibility_abs", "magnetization", "heat_capacity", "energy")
OF_ALLOYS = ("energy", "heat_capacity")


class View(param.Parameterized):  # type: ignore[misc]
    """What is looked at.

    Attributes
    ----------
    variable, beside
        The two maps; ``beside`` may be nothing.
    x, y
        Axes of the maps; ``y`` is "" in a sweep of one axis.
    place
        Index of the point, by axis, and on dims within a point.
    log
        Logarithmic colours.
    image
        Whose histogram and landscape: an image's name, or all.
    replica, layer
        Of the snapshot; the layer of a cubic lattice.
    """

    variable: Any = param.Selector(label="Variable")
    beside: Any = param.Selector(label="Beside it")
    x: Any = param.Selector(label="Horizontal axis")
    y: Any = param.Selector(label="Vertical axis")
    log = param.Boolean(default=False, label="logarithmic colours")
    image: Any = param.Selector(label="Observed")
    replica = param.Integer(default=0, bounds=(0, 63), label="Replica")
    layer = param.Integer(default=0, bounds=(0, None), label="Layer")
    place = param.Dict(default={})

    @classmethod
    def of(cls, reader: Reader, images: list[str]) -> "View":
        """The first look at a sweep: in its middle."""
        view, axes = cls(), list(reader.axes)
        # At fixed composition the magnetization says nothing.
        wanted = OF_ALLOYS if "composition" in reader.ds else FAVOURITES
        told = [n for n in wanted if n in reader.variables]
        first = (told or reader.variables)[0]
        others = [n for n in (*told, *reader.variables) if n != first]
        view.param["variable"].objects = reader.variables
        view.param["beside"].objects = [NOTHING, *reader.variables, *_errors(reader)]
        view.param["x"].objects = axes
        view.param["y"].objects = axes if len(axes) > 1 else [""]
        view.param["image"].objects = [ALL, *images]
        view.param.update(
            variable=first,
            beside=others[0] if others else NOTHING,
            x=axes[-1] if len(axes) > 1 else axes[0],
            y=axes[-2] if len(axes) > 1 else "",
            image=ALL,
            place={axis: size // 2 for axis, size in zip(axes, reader.shape, strict=True)},
        )
        return view

    @property
    def map_axes(self) -> tuple[str, ...]:
        """Axes of the maps, the slowest first."""
        return (self.y, self.x) if self.y else (self.x,)

    def move(self, **place: int) -> None:
        """Go to another place on some dims."""
        self.place = {**self.place, **place}

    def told(self, reader: Reader, dims: Any) -> str:
        """The place on dims in words."""
        return ", ".join(told_place(reader, dim, self.place.get(dim, 0)) for dim in dims)

    def at(self, reader: Reader) -> dict[str, float]:
        """The place on the axes."""
        return {a: float(reader.coordinates(a)[self.place[a]]) for a in reader.axes}


def told_place(reader: Reader, dim: str, index: int) -> str:
    """A place on a dim in words, with its unit."""
    ds = reader.ds
    if dim not in ds.coords:
        return f"{dim} {index}"
    if dim == "configuration" and "label" in ds.coords:
        return str(ds["label"].to_numpy()[index])
    value, unit = ds[dim].to_numpy()[index], unit_of(ds[dim])
    number = f"{value:.5g}" if np.issubdtype(type(value), np.number) else str(value)
    return f"{dim} = {number}{f' {unit}' if unit else ''}"


def label(reader: Reader, name: str) -> str:
    """Long name and unit of a variable or an axis."""
    array = reader.ds[name]
    unit = unit_of(array)
    told = f"|{label_of(array)}|" if np.iscomplexobj(array) else label_of(array)
    return f"{told} ({unit})" if unit else told


def symbol(array: xr.DataArray) -> str:
    """Name and unit of an axis, where there is no room for more."""
    unit = unit_of(array)
    return f"{array.name} ({unit})" if unit else str(array.name)


def nearest_index(values: Any, value: float) -> int:
    """Where on an axis a number lies."""
    return int(np.argmin(np.abs(np.asarray(values) - value)))


def _errors(reader: Reader) -> list[str]:
    return [f"{name}_se" for name in reader.variables if f"{name}_se" in reader.ds]
