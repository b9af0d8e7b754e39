"""Pictures of images: atoms with species, endmembers with abundances, neighbourhoods.

Rows run downwards, as in the image, and all maps of a picture zoom together. An image with a
calibration has axes and a scale bar in its own units.
"""

from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from latticescape.analysis.counts.tables import has_species, species_names
from latticescape.analysis.images.neighborhoods import neighborhoods
from latticescape.analysis.images.reading import UNKNOWN_UNITS
from latticescape.analysis.plots.labels import MARK
from latticescape.analysis.plots.looks import FONTS, UPRIGHT, Look, Picture, sized, styled
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.geometry import neighbor_steps

Box = tuple[float, float, float, float]

# Okabe and Ito's, the most distinct from grey first.
SPECIES = ("#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#F0E442", "#D55E00")
OTHERS = "#DDDDDD"

# An image with more rows or columns than this is shown as means of blocks.
MOST_PIXELS = 1600

# Grey values outside these percentiles are shown black or white.
GREYS = (0.5, 99.5)

# Radius of the ring around an atom, in nearest-neighbour distances.
RING = 0.3

# A species less probable than this is uncertain.
SURE = 0.95

WIDTH, INCHES = 560, 6.0

# Bokeh would write the title of a colour bar over the map; the panel's title has it instead.
UNTITLED = {"clabel": " "}


def atom_maps(image: xr.DataArray, atoms: xr.Dataset) -> Picture:
    """Draw an image with its atoms' species, and with the uncertainty of each species.

    Parameters
    ----------
    image
        (row, col).
    atoms
        The result of ``assign_species``: ``row``, ``col``, ``species`` (atom), ``probability``
        (atom, kind) with the names of the species as ``kind``. Atoms that are not ``on_lattice``,
        or of species -1, are small dots; ``vacancy_row``, ``vacancy_col`` (vacancy) are crosses.

    Examples
    --------
    >>> from latticescape.analysis.images.synthetic import draw_configuration, place_atoms
    >>> from latticescape import triangular
    >>> placed = place_atoms(triangular(4), np.arange(16) % 2, spacing=12.0)
    >>> sure = (("atom", "kind"), np.eye(2)[placed.species])
    >>> atoms = placed.assign(probability=sure).assign_coords(kind=["Mo", "Re"])
    >>> maps = atom_maps(draw_configuration(placed, seed=1), atoms)
    >>> [part.label for part in list(maps)[0] if part.label]
    ['8 Mo', '8 Re']
    """
    return _layout(_atom_panels(_Page(image), atoms), columns=2)


def measured_maps(image: xr.DataArray, atoms: xr.Dataset) -> Picture:
    """Draw the measurement of an image: :func:`atom_maps` above :func:`neighborhood_maps`.

    Parameters
    ----------
    image
        (row, col).
    atoms
        The result of ``measure``. The lower row is left out if there are too few atoms for
        neighbourhoods.
    """
    page, ring = _Page(image), len(neighbor_steps(str(atoms.attrs["lattice"]), 1)[0])
    panels = _atom_panels(page, atoms)
    with suppress(RequestError):
        panels += _component_panels(page, neighborhoods(atoms, ring))
    return _layout(panels, columns=2)


def endmember_maps(image: xr.DataArray, unmixed: xr.Dataset) -> Picture:
    """Draw an image and its endmembers' spectra above the residual and the abundances.

    Parameters
    ----------
    image
        (row, col).
    unmixed
        The result of ``unmix`` for this image: ``endmember`` (endmember, k_row, k_col),
        ``abundance`` (endmember, window_row, window_col), ``residual`` (window_row, window_col).

    Examples
    --------
    >>> from latticescape import sliding_fft
    >>> from latticescape.analysis.images.synthetic import two_phases
    >>> from latticescape import unmix
    >>> image, _ = two_phases(shape=(96, 96), seed=1)
    >>> maps = endmember_maps(image, unmix(sliding_fft(image, window=32, step=16)))
    >>> [panel.get(0).vdims[0].name for panel in maps]
    ['grey', 'endmember', 'endmember', 'residual', 'abundance', 'abundance']
    """
    page, q = _Page(image), unmixed.sizes["endmember"]
    calibrated = page.units != UNKNOWN_UNITS
    windows = ("window_x", "window_y") if calibrated else ("window_col", "window_row")
    waves = ("k_x", "k_y") if calibrated else ("k_col", "k_row")
    kdims = _axes(("column frequency", "row frequency"), ("x frequency", "y frequency"), page.units)
    kdims = [dim.clone(unit=f"1/{page.units}") for dim in kdims]
    ends, shares = unmixed["endmember"], unmixed["abundance"]
    grey = (float(ends.min()), float(ends.max()))
    rest = (0.0, float(unmixed["residual"].max()) or 1.0)
    # Spectra are shown up to 1.5 times the frequency where the last is above half its height.
    high = ends > (ends.max() + ends.min()) / 2
    reach = 1.5 * max(float(abs(ends[wave]).where(high).max()) for wave in waves)
    reach = min(reach, float(abs(ends[waves[0]]).max()))
    upper = [page.framed([], str(image.name))]
    lower = [_mesh(unmixed["residual"], windows, page.dims, rest, "residual of the mixture")]
    for n in range(q):
        end = _mesh(ends[n], waves, kdims, grey, f"endmember {n + 1}: {ends.long_name}")
        upper.append(styled(end, {"xlim": (-reach, reach), "ylim": (-reach, reach)}))
        title = f"abundance of endmember {n + 1}, mean {float(shares[n].mean()):.2f}"
        lower.append(_mesh(shares[n], windows, page.dims, (0.0, 1.0), title))
    return _layout([*upper, *lower], columns=q + 1)


def neighborhood_maps(image: xr.DataArray, components: xr.Dataset) -> Picture:
    """Draw the first two principal components of the neighbourhoods on the image.

    Parameters
    ----------
    image
        (row, col).
    components
        The result of ``neighborhoods``: ``row``, ``col`` (atom), ``score`` (atom, component),
        ``variance_explained`` (component).
    """
    return _layout(_component_panels(_Page(image), components), columns=2)


class _Page:
    """An image as a background, with its axes."""

    def __init__(self, image: xr.DataArray) -> None:
        self.image = image
        self.units = str(image.attrs.get("pixel_units", UNKNOWN_UNITS))
        self.size = float(image.attrs.get("pixel_size", 1.0))
        self.height, self.width = (self.size * pixels for pixels in image.shape)
        self.dims = _axes(("column", "row"), ("x", "y"), self.units)

    def rings(
        self, atoms: xr.Dataset, values: dict[str, Any], label: str, colour: str, radius: float
    ) -> Picture:
        """Return rings of one colour around atoms; the hover tool shows the values."""
        points = self._points(atoms, values, label)
        bokeh = {"color": colour, "radius": radius, "fill_alpha": 0, "line_width": 2}
        area = {"s": self._area(radius), "facecolors": "none", "edgecolors": colour}
        return styled(points, {}, bokeh | {"tools": ["hover"]}, area | {"linewidth": 1.4})

    def coloured(
        self, atoms: xr.Dataset, values: dict[str, Any], look: Look, clabel: str
    ) -> Picture:
        """Return dots on atoms, coloured by the first of the values."""
        points, radius = self._points(atoms, values, ""), 0.75 * self.radius(atoms)
        look = {"color": next(iter(values)), "colorbar": True, "fontsize": FONTS, **look}
        bokeh = {"radius": radius, "line_alpha": 0, "tools": ["hover"], **UNTITLED}
        return styled(points, look, bokeh, {"s": self._area(radius), "clabel": clabel})

    def dots(self, atoms: xr.Dataset, label: str) -> Picture:
        """Return small grey dots."""
        return styled(self._points(atoms, {}, label), {"color": OTHERS}, {"size": 3}, {"s": 4})

    def crosses(self, sites: xr.Dataset, label: str) -> Picture:
        """Return crosses on vacancies."""
        columns = (self.size * sites["vacancy_col"].values, self.size * sites["vacancy_row"].values)
        points = hv.Points(columns, self.dims, label=label)
        bokeh = {"marker": "x", "size": 9, "line_width": 2.5, "tools": ["hover"]}
        return styled(points, {"color": MARK}, bokeh, {"marker": "X", "s": 50})

    def _points(self, atoms: xr.Dataset, values: dict[str, Any], label: str) -> Picture:
        columns = (self.size * atoms["col"].values, self.size * atoms["row"].values)
        return hv.Points((*columns, *values.values()), self.dims, list(values), label=label)

    def radius(self, atoms: xr.Dataset) -> float:
        """Return the radius of the rings, in the units of the axes."""
        places = np.column_stack([atoms["row"].values, atoms["col"].values])
        if len(places) < 2:
            return RING * self.size * 10.0
        distances = np.asarray(cKDTree(places).query(places, k=2)[0])
        return RING * self.size * float(np.median(distances[:, 1]))

    def _area(self, radius: float) -> float:
        # Matplotlib's size is the square of a diameter in points, 72 an inch.
        return float((2 * radius * 72 * INCHES / self.width) ** 2)

    def framed(self, parts: Sequence[Picture], title: str, *, legend: bool = False) -> Picture:
        """Return the image with parts on top of it, in a frame."""
        return _framed(
            [self._backdrop(), *parts, *self._scale_bar()],
            title,
            self.height / self.width,
            legend=legend,
        )

    def _backdrop(self) -> Picture:
        block = -(-max(self.image.shape) // MOST_PIXELS)
        thinned: Any = self.image.astype(np.float64)
        if block > 1:
            sides = dict.fromkeys(map(str, self.image.dims), block)
            thinned = thinned.coarsen(sides, boundary="trim").mean()
        values = thinned.to_numpy()
        low, high = np.nanpercentile(values, GREYS)
        span = float(high - low) or 1.0
        shades = np.nan_to_num(255 * (values - low) / span)
        grey = np.clip(np.rint(shades), 0, 255).astype(np.uint8)
        row, col = (self.size * (block * np.arange(n) + (block - 1) / 2) for n in grey.shape)
        return styled(
            hv.Image((col, row, grey), self.dims, "grey", rtol=1e-3),
            {"cmap": "gray", "clim": (0, 255)},
        )

    def _scale_bar(self) -> list[Picture]:
        """Return a white bar of round length, up to a fifth of the width, if calibrated."""
        if self.units == UNKNOWN_UNITS:
            return []
        power = 10.0 ** np.floor(np.log10(self.width / 5))
        length = power * max(part for part in (1, 2, 5) if part * power <= self.width / 5)
        edge = 0.03 * self.width
        left, low = edge, self.height - edge
        ground = (0.0, low - 2.5 * edge, left + length + edge, self.height)
        bar = (left, low - 0.5 * edge, left + length, low)
        place = (left + length / 2, low - 1.4 * edge, f"{length:g} {self.units}")
        text = hv.Labels([place], self.dims, "length")
        white = styled(text, {}, {"text_color": "white"}, {"color": "white"})
        return [
            _filled(ground, self.dims, "black", 0.6),
            _filled(bar, self.dims, "white", 1),
            white,
        ]


def _atom_panels(page: _Page, atoms: xr.Dataset) -> list[Picture]:
    known = has_species(atoms)
    metals, others = atoms.isel(atom=known), atoms.isel(atom=~known)
    parts, colours, radius = [], cycle(SPECIES), page.radius(metals)
    for number, kind in enumerate(species_names(metals)):
        some = metals.isel(atom=metals["species"].values == number)
        probability = {"probability": some["probability"].values[:, number]}
        label = f"{some.sizes['atom']} {kind}"
        parts.append(page.rings(some, probability, label, next(colours), radius))
    if others.sizes["atom"]:
        parts.append(page.dots(others, f"{others.sizes['atom']} others"))
    if atoms.sizes.get("vacancy"):
        parts.append(page.crosses(atoms, f"{atoms.sizes['vacancy']} vacancies"))
    uncertainty = 1 - metals["probability"].values.max(axis=1)
    look = {"cmap": "plasma", "clim": (0, 0.5)}
    dots = page.coloured(metals, {"uncertainty": uncertainty}, look, "1 − probability of species")
    uncertain = int((metals["probability"].values.max(axis=1) < SURE).sum())
    title = f"1 − probability of the species, above {1 - SURE:.0%} for {uncertain} atoms"
    return [
        page.framed(parts, f"{page.image.name}: species of {known.sum()} atoms", legend=True),
        page.framed([dots], title),
    ]


def _component_panels(page: _Page, components: xr.Dataset) -> list[Picture]:
    panels = []
    for number in range(min(2, components.sizes["component"])):
        score = components["score"].values[:, number]
        reach = float(np.nanmax(np.abs(score))) or 1.0
        look = {"cmap": "PuOr", "clim": (-reach, reach)}
        label = f"score {number + 1} (nearest-neighbour distances)"
        dots = page.coloured(components, {"score": score}, look, label)
        share = 100 * float(components["variance_explained"][number])
        title = f"neighbourhoods: component {number + 1}, {share:.0f} % of the variance"
        panels.append(page.framed([dots], title))
    return panels


def _mesh(
    values: xr.DataArray,
    coords: tuple[str, str],
    dims: list[Any],
    limits: tuple[float, float],
    title: str,
) -> Picture:
    """Return colours over a regular grid."""
    columns = tuple(values[name].to_numpy() for name in coords)
    variable = hv.Dimension((str(values.name), str(values.attrs.get("long_name", values.name))))
    if min(values.shape) < 2:
        columns = tuple(np.array([c[0], c[0] + 1]) if len(c) < 2 else c for c in columns)
    mesh = hv.Image((*columns, values.to_numpy()), dims, variable, rtol=1e-3)
    look = {"cmap": "viridis", "clim": limits, "colorbar": True, "fontsize": FONTS}
    mesh = styled(mesh, look, {"tools": ["hover"], **UNTITLED}, {"clabel": variable.label})
    spans = [np.ptp(column) + abs(column[1] - column[0]) for column in columns]
    return _framed([mesh], title, spans[1] / spans[0])


def _framed(
    parts: Sequence[Picture], title: str, aspect: float, *, legend: bool = False
) -> Picture:
    """Return an overlay in a frame of this height over width; rows run downwards."""
    look: dict[str, object] = {
        "title": title,
        "fontsize": FONTS,
        "invert_yaxis": True,
        "show_legend": legend,
        "legend_position": "bottom" if legend else "right",
    }
    bokeh = {
        "frame_width": WIDTH,
        "frame_height": round(WIDTH * aspect),
        "active_tools": ["pan", "wheel_zoom"],
        "hooks": [sized],
        "backend_opts": UPRIGHT,
    }
    matplotlib = {"fig_inches": (INCHES, INCHES * aspect), "aspect": "equal"}
    return styled(hv.Overlay(list(parts)), look, bokeh, matplotlib)


def _filled(box: Box, dims: list[Any], colour: str, alpha: float) -> Picture:
    bokeh = {"line_alpha": 0, "fill_color": colour, "fill_alpha": alpha}
    matplotlib = {"facecolor": colour, "alpha": alpha, "linewidth": 0}
    return styled(hv.Rectangles([box], [*dims, "to x", "to y"]), {}, bokeh, matplotlib)


def _layout(panels: list[Picture], columns: int) -> Picture:
    rows = -(-len(panels) // columns)
    matplotlib = {
        "fig_inches": (INCHES * columns * 1.25, INCHES * rows),
        "sublabel_format": "",
        "hspace": 0.3,
        "vspace": 0.4,
    }
    return styled(hv.Layout(panels).cols(columns), {}, {}, matplotlib)


def _axes(plain: tuple[str, str], calibrated: tuple[str, str], units: str) -> list[Any]:
    names = plain if units == UNKNOWN_UNITS else calibrated
    return [hv.Dimension(name, unit=units) for name in names]
