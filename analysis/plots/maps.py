"""Maps and curves of sweeps and landscapes, and how pictures are saved.

A picture is a HoloViews object that carries options for both Bokeh and Matplotlib: it shows in a
notebook after ``hv.extension("bokeh")`` or ``hv.extension("matplotlib")``, and :func:`save` writes
it as PNG or as a web page.
"""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import holoviews as hv
import numpy as np
import xarray as xr
from bokeh.embed import file_html
from bokeh.models import Div
from bokeh.resources import INLINE
from scipy.ndimage import distance_transform_edt

from latticescape.analysis.inference.estimation.deviance import Overlap, part_of
from latticescape.analysis.plots.labels import (
    IMAGES,
    WORDS,
    Species,
    label_of,
    number_text,
    species_of,
    symbol_of,
)
from latticescape.analysis.plots.looks import (
    Picture,
    coloured,
    dimension,
    dimensions,
    error_bars,
    framed,
    marks,
    minimum_cross,
    missing_text,
    styled,
    ticks_of,
    titled,
)
from latticescape.analysis.plots.scattered import corner, point_parts
from latticescape.analysis.plots.values import (
    POINT,
    as_points,
    coarsened,
    distance_table,
    drawn_over,
    estimate_of,
    free_axes,
    in_order,
    is_scattered,
    landscape_of,
    numbered,
    placed,
    point_axes,
    s2_between,
    surface_between,
)
from latticescape.physics.errors import RequestError

# Of a map with fewer points than this share, the missing ones have the nearest colour, paler.
MOSTLY, PALE = 0.5, 0.6

DPI = 160
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
    """Draw a variable over two axes of a Dataset, or over one if one is left.

    Points that are not done are grey, and the title says how many they are. In a map that misses
    most of its points, each of them has the colour of the nearest point that is done, half
    transparent: so the first few blocks of a sweep show the whole map.

    Parameters
    ----------
    ds
        A sweep or a landscape: its dims are the swept axes, then those within a point.
    variable
        The variable's name; over one axis, its ``NAME_se`` is drawn as error bars.
    x, y
        The axes to draw along; by default the first two that ``at`` leaves free. For points on no
        grid, two of their parameters; by default all that vary, in one panel for each pair if they
        are three or more.
    at
        The place on every other dimension, ``{"H": 0.1, "configuration": 3}``: the nearest value
        of the axis is used, and named in the title.
    ridge
        Mark, for every y, the x of the variable's maximum, unless a neighbouring point was not
        computed: a maximum on the border only says that the ridge lies further out.
    log
        Use logarithmic colours (one axis: a logarithmic ordinate); values that are not positive
        count as missing.

    Raises
    ------
    RequestError
        If the variable or an axis does not exist, a place is outside its axis, dimensions are left
        over, or no point is done.

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
    species = species_of(ds)
    table, place = placed(ds, variable, at or {}, species)
    table = numbered(table)
    if is_scattered(table[variable]):
        points = as_points(table, variable)
        axes = point_axes(points, x, y)
        if len(axes) > 1:
            if ridge:
                raise RequestError(
                    "a ridge needs a grid",
                    came="points on no grid",
                    allowed="a sweep on a grid",
                    hint="a map without --ridge, ridge=False in Python",
                )
            return _of_points(points, axes, place, log, species)
        table = points.swap_dims({POINT: axes[0]})
    axes = free_axes(table[variable], x, y)
    if log:
        table = table.where(table[variable] > 0)
    table = in_order(table, axes)
    if not table[variable].notnull().any():
        raise RequestError(f"no point of {variable} is computed", came=place or "no point done")
    shown, means = coarsened(table, axes)
    if len(axes) == 1:
        parts = _curve(shown, axes, log, species)
    else:
        parts = [_mesh(shown, axes, log, species)]
    notes = [place, missing_text(table[variable]), means]
    if len(axes) == 2 and float(shown[variable].isnull().mean()) > MOSTLY:
        pale = _mesh(_continued(shown[[variable]]), axes, log, species)
        parts.insert(0, styled(pale, {"alpha": PALE, "colorbar": False}, {"tools": []}))
        notes[1] = notes[1].replace("grey", "pale: as the nearest computed")
    if ridge:
        # Where the variable is largest along x, if both neighbours are computed.
        values = next(iter(table.data_vars.values()))
        maximum = values.fillna(-np.inf).argmax(axes[0])
        inside = values.shift({axes[0]: 1}).notnull() & values.shift({axes[0]: -1}).notnull()
        heights = table[axes[1]] if len(axes) == 2 else values.max(axes[0])
        places = np.column_stack([np.ravel(table[axes[0]][maximum]), np.ravel(heights)])
        dims = [*dimensions(table, axes, species), dimension(values, species)][:2]
        chosen = np.ravel(inside.isel({axes[0]: maximum}))
        parts.append(marks(places[chosen], dims, "maximum"))
        notes.append(f"orange: maximum along {symbol_of(axes[0])}")
    title = titled(label_of(table[variable], species), notes)
    return framed(parts, title, {"logy": log and len(axes) == 1, **ticks_of(table, axes)})


def landscape_map(
    landscape: xr.Dataset, *, image: object = None, overlap: Overlap | None = None
) -> Picture:
    """Draw the squared statistical distance S² over the parameters of a landscape.

    One parameter: S² of every image and, in black, of all together, with bands of one standard
    error. Two: a colour map of S² (logarithmic, unless a bias correction made it negative) with the
    contours of the joint 68 % (solid) and 95 % (dashed) confidence regions, and a second map of the
    Monte Carlo standard error of S². The cross is the minimum with its standard errors. Points on
    no grid are dots on the surface that :func:`latticescape.fit` interpolates. Three or more
    parameters: dots in one panel for each pair of them, the lowest S² on top.

    Parameters
    ----------
    landscape
        ``s2`` (image, parameters), ``s2_total`` (parameters), both with ``_se``; ``n`` (image).
    image
        One image, shown instead of all.
    overlap
        How overlapping neighbourhoods are taken, as in :func:`latticescape.fit`.

    Notes
    -----
    Minimum and errors are those of :func:`latticescape.fit`, contours those of
    :func:`latticescape.joint_region`: they correct S² for its biases and for overlapping
    neighbourhoods, and need not lie at the point of smallest S².

    Examples
    --------
    >>> w = np.linspace(-1, 1, 9)
    >>> s2 = 0.01 + np.stack([(w - 0.5) ** 2, w**2])
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2), "s2_se": (("image", "w1"), 0 * s2 + 1e-6),
    ...      "s2_total": ("w1", s2.mean(0)), "s2_total_se": ("w1", 0 * w + 1e-6),
    ...      "n": ("image", [100, 100])}, {"w1": w, "image": ["a", "b"]})
    >>> [part.label for part in landscape_map(landscape) if part.label]
    ['image a', 'image b', 'all images', 'minimum']
    """
    species = species_of(landscape)
    landscape, axes = drawn_over(landscape)
    chosen, name = landscape_of(landscape, image)
    table, estimate = distance_table(chosen, axes), estimate_of(chosen, axes, overlap=overlap)
    log = not bool((table["s2"] <= 0).any())
    total = landscape["s2_total"]
    fixed = [str(n) for n, v in total.coords.items() if not v.dims and v.dtype.kind == "f"]
    words = ", ".join(f"{symbol_of(n)} = {number_text(total[n].item())}" for n in fixed)
    notes = [f"cut at {words}" if words else "", missing_text(table["s2"])]
    heading = f"squared statistical distance S², {name}"
    if len(axes) > 2:
        title = titled(heading, [estimate.text], [*notes, "the lowest points are on top"])
        return corner(table, axes, title, estimate=estimate, log=log, species=species)
    dims = dimensions(table, axes, species)
    if len(axes) == 1:
        dims.append(dimension(table["s2"], species))
    cross = minimum_cross(table, axes, estimate, dims)
    if len(axes) == 1:
        names = [*landscape[part_of(landscape)].to_numpy(), None] if image is None else [image]
        legend = {"show_legend": True, "legend_position": "right"}
        title = titled(heading, [estimate.text], notes)
        return framed([*_bands(landscape, axes, names, species), *cross], title, legend)
    contours = [
        styled(
            hv.Path(lines, dims),
            {"color": "white"},
            {"line_dash": dash, "line_width": 2},
            {"linestyle": dash},
        )
        for dash, lines in estimate.contours.items()
        if lines
    ]
    if contours:
        notes.append("contours: 68 % (solid), 95 % (dashed)")
    errors = table[["s2_se"]]
    if POINT in table.dims:
        surface = s2_between(chosen, table, axes)
        colours = point_parts(table, axes, surface, log=log, species=species)
        colours_of_errors = point_parts(errors, axes, None, species=species)
        notes.append("dots: simulated")
    else:
        colours = [_mesh(table, axes, log, species)]
        colours_of_errors = [_mesh(errors, axes, False, species)]
    title = titled(heading, [estimate.text], notes)
    pair = [framed([*colours, *contours, *cross], title)]
    pair += [framed([*colours_of_errors, *cross], "Monte Carlo standard error of S²")]
    return styled(hv.Layout(pair), {}, {}, {"fig_inches": (14, 5), "sublabel_format": ""})


def save(picture: Picture, path: str | Path, *, title: str | None = None) -> Path:
    """Write a picture as ``.png`` (160 dpi) or as ``.html``, a file that needs no network.

    Parameters
    ----------
    picture
        The result of a function of this package, or any other HoloViews object.
    path
        The file to write.
    title
        A heading above the picture, and the name of the page.

    Raises
    ------
    RequestError
        If the suffix is another one.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> ds = xr.Dataset({"energy": ("T", [-2.0, -1.0])}, {"T": [1.0, 2.0]})
    >>> save(variable_map(ds, "energy"), mkdtemp() + "/energy.png").stat().st_size > 1000
    True
    """
    path = Path(path)
    if path.suffix == ".png":
        # hv.render draws twice: it makes the plot once more to ask whether it is an animation.
        figure = hv.renderer("matplotlib").get_plot(picture).state
        if title:
            figure.suptitle(title, y=1.03, fontsize=15)
        figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15)
    elif path.suffix == ".html":
        # hv.save requests style sheets from a content delivery network even with inline resources,
        # and file_html links to the scripts of every Panel model: PAGE includes Bokeh's own only.
        figure, name = hv.render(picture, backend="bokeh"), title or "latticescape"
        # The title of several panels is an element of its own, among Bokeh's widgets.
        widgets = ["bokeh-widgets"] if figure.select_one({"type": Div}) else []
        library = INLINE.clone(components=["bokeh", *widgets]).js_raw
        variables = {"library": library, "heading": title}
        page = file_html(figure, INLINE, name, template=PAGE, template_variables=variables)
        path.write_text(page, encoding="utf-8")
    else:
        problem, hint = "pictures have no such format", f'save(picture, "{path.stem}.png")'
        raise RequestError(problem, came=path.name, allowed=".png, .html", hint=hint)
    return path


def _of_points(
    points: xr.Dataset, axes: list[str], place: str, log: bool, species: Species | None
) -> Picture:
    """Return points on no grid over two of their parameters, or over all pairs of several."""
    points = points.compute()
    name = str(next(iter(points.data_vars)))
    if log:
        points = points.where(points[name] > 0)
    if not points[name].notnull().any():
        raise RequestError(f"no point of {name} is computed", came=place or "no point done")
    notes, heading = [place, missing_text(points[name])], label_of(points[name], species)
    if len(axes) > 2:
        notes[1] = notes[1].removesuffix(" (grey)")
        return corner(points, axes, titled(heading, notes), log=log, species=species)
    surface = None
    if {*axes} == {*point_axes(points, None, None)}:
        places = np.column_stack([points[axis] for axis in axes])
        surface = surface_between(places, points[name].to_numpy())
    parts = point_parts(points, axes, surface, log=log, species=species)
    notes += ["colours between the dots are interpolated"] if surface else []
    return framed(parts, titled(heading, notes), ticks_of(points, axes))


def _continued(table: xr.Dataset) -> xr.Dataset:
    """Return the table with the value of the nearest computed point, in steps, where one lacks."""
    values = next(iter(table.data_vars.values()))
    missing = values.isnull().to_numpy()
    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return table.assign({str(values.name): values.copy(data=values.to_numpy()[rows, columns])})


def _curve(table: xr.Dataset, axes: list[str], log: bool, species: Species | None) -> list[Picture]:
    """Return a curve with dots and error bars."""
    values, *errors = table.data_vars.values()
    x, dims = table[axes[0]], [*dimensions(table, axes, species), dimension(values, species)]
    look = {"color": IMAGES[0], "padding": 0.05}
    line, dots = (kind((x, values), *dims) for kind in (hv.Curve, hv.Scatter))
    # On a logarithmic axis a bar that reaches down to zero has no lower end.
    lows = [values.where(log & (values <= error), values - error) for error in errors]
    ends = [(x, low, x, values + error) for low, error in zip(lows, errors, strict=True)]
    bars = [error_bars(columns, dims, IMAGES[0], 1.5) for columns in ends]
    lines = [] if WORDS in x.attrs else [styled(line, look)]
    return [*lines, *bars, styled(dots, look, {"size": 6}, {"s": 30})]


def _mesh(table: xr.Dataset, axes: list[str], log: bool, species: Species | None) -> Picture:
    """Return colours of the table's first variable; the hover tool shows the others too."""
    names = [str(name) for name in table.data_vars]
    columns = tuple(table[name].to_numpy() for name in (*axes, *names))
    mesh = hv.QuadMesh(columns, dimensions(table, axes, species), dimensions(table, names, species))
    return coloured(mesh, {"logz": log})


def _bands(
    landscape: xr.Dataset, axes: list[str], images: list[object], species: Species | None
) -> list[Picture]:
    """Return a line and a band of one standard error for each image; black for all."""
    colours, parts = cycle(IMAGES), []
    for image in images:
        chosen, name = landscape_of(landscape, image)
        table = distance_table(chosen, axes)
        colour, width = ("black", 3.5) if image is None else (next(colours), 2)
        columns = tuple(table[column].to_numpy() for column in (*axes, "s2", "s2_se"))
        dim, *values = dimensions(table, [*axes, "s2", "s2_se"], species)
        band = hv.Spread(columns, dim, values)
        line = hv.Curve(columns[:2], dim, values[0], label=name)
        fill = {"facecolor": colour, "linewidth": 0}
        parts += [
            styled(band, {"color": colour, "alpha": 0.25}, {"line_alpha": 0}, fill),
            styled(line, {"color": colour}, {"line_width": width}, {"linewidth": width}),
        ]
    return parts
