"""Pictures of a sweep and of a landscape; HoloViews stands here and in ``pictures`` alone.

A picture carries its looks for both Bokeh and Matplotlib: the same object shows in a notebook after
``hv.extension("bokeh")`` or ``hv.extension("matplotlib")``, and :func:`save` writes it as PNG or as
a web page.
"""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh
import holoviews.plotting.mpl
import numpy as np
import xarray as xr
from bokeh.embed import file_html
from bokeh.resources import INLINE
from holoviews.operation import contours

from latticescape.analysis.plots.surfaces import (
    Best,
    coarsened,
    distance_surface,
    estimated,
    free_axes,
    in_order,
    landscape_axes,
    levels,
    listed,
    minimum_of,
    part_of,
    placed,
    refined,
)
from latticescape.physics.errors import RequestError

Picture = Any  # HoloViews carries no types: an Element, an Overlay or a Layout
Look = Mapping[str, object]

DPI = 160
ASPECT = 1.25
FONTS = {"title": 12, "labels": 12, "ticks": 10, "legend": 10, "clabel": 12, "cticks": 10}
IMAGES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito
MARK = "#FF5C39"
MISSING = "#D9D9D9"
PAGE = """
{% block js_resources %}{% for js in library %}<script>{{ js }}</script>{% endfor %}{% endblock %}
{% block contents %}
{% if heading %}<h2 style="font-family: sans-serif; margin: 1em">{{ heading | e }}</h2>{% endif %}
{{ super() }}
{% endblock %}
"""


def variable_map(
    ds: xr.Dataset,
    variable: str,
    *,
    x: str | None = None,
    y: str | None = None,
    at: Mapping[str, object] | None = None,
    ridge: bool = False,
    log: bool = False,
) -> Picture:
    """Any variable of a Dataset over two of its axes, or over one where one is left.

    Points that are not done stay grey and are counted in the title. A RequestError tells of a
    variable or an axis that is not there, a place outside an axis, dims left over, no point done.

    Parameters
    ----------
    ds
        A sweep or a landscape: its dims are the swept axes, then those within a point.
    variable
        The variable's name; over one axis its ``NAME_se`` is drawn as error bars.
    x, y
        The axes to draw along; by default the first and the second that ``at`` leaves free.
    at
        Where to stand on every other dim, ``{"H": 0.1, "configuration": 3}``: the nearest value
        of the axis is taken, and named in the title.
    ridge
        Mark, for every y, the x where the variable is largest, unless a point beside it was not
        computed: a maximum on the border says only that the ridge lies further out.
    log
        Logarithmic colours (one axis: ordinate); values that are not positive count as missing.

    Examples
    --------
    >>> axes = {"T": ("T", [1.0, 2.0, 4.0], {"long_name": "temperature", "units": "J/k_B"}),
    ...         "H": [0.0, 0.5]}
    >>> chi = np.array([[1.0, 0.5], [9.0, 2.0], [4.0, 3.0]])
    >>> ds = xr.Dataset({"chi": (("T", "H"), chi)}, axes)
    >>> picture = variable_map(ds, "chi", ridge=True)
    >>> picture.get(0).kdims[0].pprint_label, picture.get(1).array().tolist()
    ('temperature T (J/k_B)', [[2.0, 0.0]])
    >>> variable_map(ds, "chi", at={"H": 0.4}).get(0)
    :Curve   [T]   (chi)
    """
    table, place = placed(ds, variable, at or {})
    axes = free_axes(table[variable], x, y)
    if log:
        table = table.where(table[variable] > 0)
    table = in_order(table, axes)
    if not table[variable].notnull().any():
        raise RequestError(f"no point of {variable} is computed", came=place or "the whole sweep")
    drawn, means = coarsened(table, axes)
    parts = _profile(drawn, axes, log) if len(axes) == 1 else [_mesh(drawn, axes, log)]
    notes = [place, _missing(table[variable]), means]
    if ridge:
        parts.append(_ridge(table, axes))
        notes.append(f"orange: largest along {axes[0]}")
    title = _title(label_of(table[variable]), notes)
    return _framed(parts, title, {"logy": log and len(axes) == 1})


def landscape_map(scape: xr.Dataset, *, best: Best | None = None, image: object = None) -> Picture:
    """The squared statistical distance S² over the one or two parameters of a landscape.

    One parameter: S² of every image and, in black, of all together, in bands of one standard
    error. Two: a colour map of S² (logarithmic, if no bias correction made it negative) with the
    contours of the joint 68 % (solid) and 95 % (dashed) confidence regions; next to it, the Monte
    Carlo standard error of S².

    Parameters
    ----------
    scape
        ``s2`` (image, parameters), ``s2_total`` (parameters), both with ``_se``; ``n`` (image).
    best
        Value and standard error of each parameter, drawn as a cross; by default those of
        :func:`latticescape.fit`.
    image
        One image, drawn in place of all.

    Notes
    -----
    Contours are those of :func:`latticescape.joint_region`: −2 ln L above its minimum, adjusted for
    overlapping neighbourhoods as the errors of :func:`latticescape.fit` are, at the quantiles of χ²
    with two degrees of freedom, −2 ln(1 − p): 2.30 and 6.18.

    Examples
    --------
    >>> w = np.linspace(-1, 1, 5)
    >>> s2 = 0.01 + np.stack([(w - 0.5) ** 2, w**2])
    >>> scape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2), "s2_se": (("image", "w1"), 0 * s2 + 0.01),
    ...      "s2_total": ("w1", s2.mean(0)), "s2_total_se": ("w1", 0 * w + 0.01),
    ...      "n": ("image", [100, 100])}, {"w1": w, "image": ["a", "b"]})
    >>> picture = landscape_map(scape, best={"w1": (0.25, 0.1)})
    >>> [part.label for part in picture if part.label]
    ['image a', 'image b', 'all images', 'w1 = 0.25 ± 0.1']
    """
    axes = landscape_axes(scape)
    table, atoms, whose = distance_surface(scape, axes, image)
    fit, excess = estimated(scape, axes, image)
    minimum = minimum_of(table["s2"], best or fit.parameters)
    heading = f"{label_of(table['s2'])}, {whose}"
    notes = [_missing(table["s2"])]
    if len(axes) == 1:
        fine = refined(table["s2"], table["s2_se"], atoms)
        cross = _cross(fine, minimum)
        legend = {"show_legend": True, "legend_position": "right"}
        return _framed([*_bands(scape, axes, image), *cross], _title(heading, notes), legend)
    cross = _cross(table["s2"], minimum)
    surface = [_mesh(table, axes, not (table["s2"] <= 0).any()), *_contours(excess), *cross]
    error = [_mesh(table[["s2_se"]], axes), *cross]
    pair = [_framed(surface, _title(heading, [_in_words(minimum), *notes]))]
    pair += [_framed(error, "Monte Carlo standard error")]
    return dressed(hv.Layout(pair), {}, {}, {"fig_inches": (14, 5), "sublabel_format": ""})


def save(picture: Picture, path: str | Path, *, title: str | None = None) -> Path:
    """Write a picture as ``.png`` (160 dpi) or as ``.html``, one file that needs no network.

    Parameters
    ----------
    picture
        What a function of this module returned, or any other HoloViews object.
    path
        The file to write; another suffix is a RequestError.
    title
        A heading above the picture, and the name of the page.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> ds = xr.Dataset({"energy": ("T", [-2.0, -1.0])}, {"T": [1.0, 2.0]})
    >>> save(variable_map(ds, "energy"), mkdtemp() + "/energy.png").stat().st_size > 1000
    True
    """
    path = Path(path)
    writers = {".png": _write_png, ".html": _write_html}
    if path.suffix not in writers:
        hint = f'save(picture, "{path.stem}.png")'
        raise RequestError("no such format", came=path.name, allowed=listed(writers), hint=hint)
    writers[path.suffix](picture, path, title)
    return path


def _write_png(picture: Picture, path: Path, title: str | None) -> None:
    figure = hv.render(picture, backend="matplotlib")
    if title:
        figure.suptitle(title, y=1.03, fontsize=15)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15)


def _write_html(picture: Picture, path: Path, title: str | None) -> None:
    # hv.save asks a content delivery network for style sheets even with inline resources, and
    # file_html links to the scripts of every model Panel defines: PAGE takes Bokeh's own alone.
    library = INLINE.clone(components=["bokeh"]).js_raw
    figure = hv.render(picture, backend="bokeh")
    told = {"library": library, "heading": title}
    name = title or "latticescape"
    page = file_html(figure, INLINE, name, template=PAGE, template_variables=told)
    path.write_text(page, encoding="utf-8")


def _profile(table: xr.Dataset, axes: list[str], log: bool) -> list[Picture]:
    values, *errors = table.data_vars.values()
    x, dims = table[axes[0]], [*_dimensions(table, axes), _dimension(values)]
    look = {"color": IMAGES[0], "padding": 0.05}
    line, dots = (kind((x, values), *dims) for kind in (hv.Curve, hv.Scatter))
    # On a logarithmic axis a bar that reaches down to zero has no lower end.
    lows = [values.where(log & (values <= error), values - error) for error in errors]
    ends = [(x, low, x, values + error) for low, error in zip(lows, errors, strict=True)]
    bars = [_bars(columns, dims, IMAGES[0], 1.5) for columns in ends]
    return [dressed(line, look), *bars, dressed(dots, look, {"size": 6}, {"s": 30})]


def _mesh(table: xr.Dataset, axes: list[str], log: bool = False) -> Picture:
    """Colours of the table's first variable; the hover tool tells the others too."""
    names = [str(name) for name in table.data_vars]
    columns = tuple(table[name].to_numpy() for name in (*axes, *names))
    mesh = hv.QuadMesh(columns, _dimensions(table, axes), _dimensions(table, names))
    label = mesh.vdims[0].pprint_label
    look = {"cmap": "viridis", "colorbar": True, "clabel": label, "logz": log, "bgcolor": MISSING}
    upright = {"title_text_font_style": "normal"}
    hover = {"tools": ["hover"], "hooks": [close_seams], "colorbar_opts": upright}
    return dressed(mesh, look | {"fontsize": FONTS}, hover, {"aspect": ASPECT})


def close_seams(plot: Any, _: object) -> None:
    """A hook for cells without seams."""
    # Between two antialiased cells the background would shine through as a fine line.
    glyph = plot.handles["glyph"]
    glyph.update(line_color=glyph.fill_color, line_alpha=1)


def _ridge(table: xr.Dataset, axes: list[str]) -> Picture:
    """Where the table's first variable is largest along x, if it was computed on both sides."""
    x, values = axes[0], next(iter(table.data_vars.values()))
    place = values.fillna(-np.inf).argmax(x)
    beside = values.shift({x: 1}).notnull() & values.shift({x: -1}).notnull()
    heights = table[axes[1]] if len(axes) == 2 else values.max(x)
    points = np.column_stack([np.ravel(table[x][place]), np.ravel(heights)])
    dims = [*_dimensions(table, axes), _dimension(values)][:2]
    return _points(points[np.ravel(beside.isel({x: place}))], dims, "largest")


def _bands(scape: xr.Dataset, axes: list[str], image: object) -> list[Picture]:
    """A line in a band of one standard error for each image, then for all."""
    whose = [*scape[part_of(scape)].to_numpy(), None] if image is None else [image]
    colours, parts = cycle(IMAGES), []
    for one in whose:
        table, _, name = distance_surface(scape, axes, one)
        colour, width = (next(colours), 2) if one is not None else ("black", 3.5)
        columns = tuple(table[column].to_numpy() for column in (*axes, "s2", "s2_se"))
        dim, *values = _dimensions(table, [*axes, "s2", "s2_se"])
        band = hv.Spread(columns, dim, values)
        line = hv.Curve(columns[:2], dim, values[0], label=name)
        fill = {"facecolor": colour, "linewidth": 0}
        parts += [
            dressed(band, {"color": colour, "alpha": 0.25}, {"line_alpha": 0}, fill),
            dressed(line, {"color": colour}, {"line_width": width}, {"linewidth": width}),
        ]
    return parts


def _contours(surface: xr.DataArray | None) -> list[Picture]:
    """Confidence regions of −2 ln L above its minimum."""
    if surface is None:
        return []
    axes = [str(dim) for dim in reversed(surface.dims)]
    mesh = hv.QuadMesh((*[surface[axis].to_numpy() for axis in axes], surface.to_numpy()), axes)
    parts = []
    for dash, level in levels(surface.ndim).items():
        bokeh, matplotlib = {"line_dash": dash, "line_width": 2}, {"linestyle": dash}
        # One colour, no colour bar: contours with a colour map vanish when a slider redraws them.
        look = {"color": "white", "colorbar": False}
        parts.append(dressed(contours(mesh, levels=[level]), look, bokeh, matplotlib))
    return parts


def _cross(surface: xr.DataArray, minimum: Best) -> list[Picture]:
    """The minimum as a point, with a bar of one standard error along every parameter."""
    place = [value for value, _ in minimum.values()]
    dims = [_dimension(surface[axis]) for axis in minimum]
    if len(dims) == 1:
        place.append(float(surface.interp({dims[0].name: place[0]})))
        dims.append(_dimension(surface))
    ends = [[*place, *place] for _ in minimum]
    for side, (axis, (value, error)) in enumerate(minimum.items()):
        # The error is infinite where the landscape holds no parabola: then a bar all across.
        low, high = surface[axis].to_numpy()[[0, -1]]
        ends[side][side::2] = [max(low, value - error), min(high, value + error)]
    bars = _bars(ends, dims, MARK, 3)
    return [bars, _points([place], dims, _in_words(minimum))]


def _bars(ends: Any, dims: list[Any], colour: str, width: float) -> Picture:
    bars = hv.Segments(ends, [*dims, "to x", "to y"])
    return dressed(bars, {"color": colour}, {"line_width": width}, {"linewidth": width})


def _points(points: Any, dims: list[Any], name: str) -> Picture:
    bokeh, matplotlib = {"size": 6, "line_color": "white"}, {"s": 28, "edgecolors": "white"}
    return dressed(hv.Points(points, dims, label=name), {"color": MARK}, bokeh, matplotlib)


def _framed(parts: list[Picture], title: str, more: Look | None = None) -> Picture:
    look = {"title": title, "fontsize": FONTS, "show_legend": False, **(more or {})}
    bokeh = {
        "width": 760 if look["show_legend"] else 620,
        "height": 480,
        "legend_opts": {"location": "top"},
        "backend_opts": {f"{axis}axis.axis_label_text_font_style": "normal" for axis in "xy"},
    }
    aspect = ASPECT if isinstance(parts[0], hv.QuadMesh) else "auto"
    inches = {"fig_inches": (7, 5.5), "aspect": aspect}
    return dressed(hv.Overlay(parts), look, bokeh, inches)


def dressed(
    part: Picture, look: Look, bokeh: Look | None = None, matplotlib: Look | None = None
) -> Picture:
    """The part with its looks for both renderers."""
    part = part.opts(backend="bokeh", **look, **(bokeh or {}))
    return part.opts(backend="matplotlib", **look, **(matplotlib or {}))


def _title(heading: str, notes: list[str]) -> str:
    return "\n".join([heading, *filter(None, ["; ".join(filter(None, notes))])])


def _missing(values: xr.DataArray) -> str:
    missing = int(values.isnull().sum())
    return f"{missing} of {values.size} points missing" if missing else ""


def _in_words(minimum: Best) -> str:
    """The parameters to three figures, their errors to two: w1 = 0.25 ± 0.1."""
    told = [f" ± {error:.2g}" if error > 0 else "" for _, error in minimum.values()]
    places = [f"{axis} = {value:.3g}" for axis, (value, _) in minimum.items()]
    return ", ".join(map(str.__add__, places, told))


def label_of(array: xr.DataArray) -> str:
    """The long name, for an axis with its symbol: temperature T."""
    name = str(array.name)
    words = str(array.attrs.get("long_name", name)).split()
    return " ".join(words if name not in array.dims or words[-1] == name else [*words, name])


def unit_of(array: xr.DataArray) -> str | None:
    """The unit; None for a pure number."""
    units = array.attrs.get("units", "1")
    return None if units == "1" else str(units)


def _dimension(array: xr.DataArray) -> Any:
    return hv.Dimension((str(array.name), label_of(array)), unit=unit_of(array))


def _dimensions(table: xr.Dataset, names: list[str]) -> list[Any]:
    return [_dimension(table[name]) for name in names]
