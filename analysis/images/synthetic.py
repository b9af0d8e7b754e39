"""Draw images of atoms whose positions are known, to test every measurement."""

from typing import Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.images.reading import labelled_image
from latticescape.analysis.images.sites.rings import check_plane
from latticescape.analysis.labelled import labelled_variables
from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.lattice import Lattice

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Pair = tuple[float, float]

# Heights of a light and a heavy metal, about Z^1.7: Mo and Re (S2 has 0.15).
METALS = (0.37, 1.0)

# Displacement of each atom of a honeycomb dimer, in nearest-neighbour distances. As in α-RuCl3 it
# extinguishes the pair of first-order spots along the dimers.
DIMER = 0.125

# A column extends to this many standard deviations, where it has fallen to 4e-6 of its peak.
REACH = 5.0

__all__ = ["draw_configuration", "draw_image", "drifted", "place_atoms", "two_phases"]


class Drawing(TypedDict, total=False):
    """Options of :func:`draw_image` besides atoms, frame and seed."""

    background: float
    peak: float
    dose: bool
    blur: float
    drift: Pair
    scan_noise: float
    background_slope: Pair
    readout: float


def place_atoms(
    lattice: Lattice,
    species: npt.ArrayLike,
    *,
    spacing: float,
    rotation: float = 0.0,
    shape: tuple[int, int] | None = None,
    margin: float = 1.0,
    amplitudes: tuple[float, ...] = METALS,
    chalcogen: float = 0.0,
    distortion: float = 0.0,
    disorder: float = 0.0,
    vacancies: float = 0.0,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Place the atoms of a periodic plane lattice as a rectangle in a frame.

    Parameters
    ----------
    lattice
        ``square``, ``triangular`` or ``honeycomb``.
    species
        (sites,): the species' number at each site, 0 the darkest.
    spacing
        Nearest-neighbour distance, px.
    rotation
        Degrees from the columns' axis towards the rows'.
    shape
        Rows and columns of the frame; the rectangle is centred in it and cut at its edges. By
        default the frame holds all atoms.
    margin
        Distance of the outermost atoms from the edge of the default frame, in spacings.
    amplitudes
        Height of each species.
    chalcogen
        Height of a second, dimmer sublattice over every other triangle of a triangular lattice,
        as of S2 in MoS2 (0.15); 0 for none.
    distortion
        Displacement of the rows of the triangular lattice perpendicular to themselves, alternating
        up and down, in spacings: zigzag chains, as in 1T′.
    disorder
        Standard deviation of a normal displacement of each atom along each axis, in spacings.
    vacancies
        Probability that an atom of the lattice is absent.
    seed
        Seed of disorder and vacancies.

    Returns
    -------
    Dataset
        Over ``atom``: ``row``, ``col`` (px), ``species`` (-1: chalcogen), ``amplitude``,
        ``sublattice`` (0: the lattice, 1: chalcogen), ``site`` (number in the lattice), ``inside``
        (bool: the centre lies in the frame; atoms up to a spacing outside are included, because
        they reach into it). attrs: ``shape``, ``spacing_px``, ``lattice``.

    Examples
    --------
    >>> from latticescape import triangular
    >>> atoms = place_atoms(triangular(6), np.arange(36) % 2, spacing=12.0, chalcogen=0.15)
    >>> atoms.sizes["atom"], int((atoms.sublattice == 0).sum()), atoms.attrs["shape"]
    (72, 36, (81, 91))
    """
    kinds = np.asarray(species)
    check_plane(lattice.kind)
    if kinds.shape != (lattice.sites,) or not np.isin(kinds, np.arange(len(amplitudes))).all():
        problem = "species do not fit the lattice or the amplitudes"
        allowed = f"{lattice.sites} numbers from 0 to {len(amplitudes) - 1}"
        raise RequestError(problem, came=f"shape {kinds.shape}", allowed=allowed)
    kinds = kinds.astype(np.int64)
    rng = np.random.default_rng(seed)
    table = _unrolled(lattice, distortion, chalcogen > 0)
    table += disorder * rng.standard_normal(table.shape)
    site = np.tile(np.arange(lattice.sites), len(table) // lattice.sites)
    sublattice = np.arange(len(table)) // lattice.sites
    present = (sublattice > 0) | (rng.random(len(table)) >= vacancies)
    places = _rotated(spacing * table, rotation)
    low, high = places.min(axis=0), places.max(axis=0)
    if shape is None:
        rows, cols = (int(n) for n in np.ceil(high - low + 2 * (margin * spacing)) + 1)
        shape = (rows, cols)
    places = places + (np.array(shape) - 1 - low - high) / 2
    outside = np.maximum(-0.5 - places, places - np.array(shape) + 0.5).max(axis=1)
    present &= outside < spacing
    species_of = np.where(sublattice > 0, -1, kinds[site])
    height = np.where(sublattice > 0, chalcogen, np.array(amplitudes)[kinds[site]])
    columns = {
        "row": (places[:, 0], "row", "px"),
        "col": (places[:, 1], "column", "px"),
        "species": (species_of, "species, -1 a chalcogen", "1"),
        "amplitude": (height, "height relative to the peak", "1"),
        "sublattice": (sublattice, "sublattice", "1"),
        "site": (site, "site of the lattice", "1"),
        "inside": (outside < 0, "centre in the frame", "1"),
    }
    return xr.Dataset(
        labelled_variables(
            {
                name: ("atom", values[present], label, units)
                for name, (values, label, units) in columns.items()
            }
        ),
        attrs={"shape": shape, "spacing_px": spacing, "lattice": lattice.kind},
    )


def two_phase_atoms(
    kind: Literal["stripes", "dimers"],
    shape: tuple[int, int],
    spacing: float,
    *,
    boundary: float = 0.5,
    tilt: float = 0.0,
    rotation: float = 0.0,
    contrast: float = 0.5,
) -> tuple[Floats, Floats, Integers]:
    """Atoms of two phases that share a lattice and a frame, and the phase of every pixel.

    The parameters are those of :func:`two_phases`.

    Returns
    -------
    positions, heights, phase
        (atoms, 2) row and col in px, some outside the frame; (atoms,); (row, col) 0 or 1.

    Raises
    ------
    RequestError
        If the kind of phases is unknown.

    Examples
    --------
    >>> positions, heights, phase = two_phase_atoms("stripes", (64, 48), 8.0)
    >>> sorted(set(heights.tolist())), float(phase.mean())
    ([0.5, 1.0], 0.5)
    """
    checked_choice(kind, ("stripes", "dimers"), "unknown phases")
    # Sites around the origin that a rotated frame may reach: (x, y) px, and their numbers.
    geometry = GEOMETRIES["square" if kind == "stripes" else "honeycomb"]
    cell = np.asarray(geometry.cell)
    radius = np.hypot(*shape) / 2 / spacing + 2
    most = int(np.ceil(radius * np.linalg.norm(np.linalg.inv(cell), axis=0).max())) + 1
    ranges = [np.arange(-most, most + 1)] * 2
    steps = np.array(np.meshgrid(*ranges, np.arange(geometry.sublattices), indexing="ij"))
    steps = steps.reshape(3, -1).T
    places = steps[:, :2] @ cell + np.asarray(geometry.basis)[steps[:, 2]]
    near = (places**2).sum(axis=1) < radius**2
    places, steps = spacing * places[near], steps[near]
    middle = (np.array(shape) - 1) / 2
    positions = _rotated(places, rotation) + middle
    below = _below(positions, shape, boundary, tilt)
    heights = np.ones(len(places))
    if kind == "stripes":
        parity = np.where(below, steps[:, 1], steps[:, 0]) % 2
        heights[parity == 1] = contrast
    else:
        bond = _rotated(np.array([[0.0, 1.0]]), rotation)[0]
        positions += (below * (2 * steps[:, 2] - 1) * DIMER * spacing)[:, None] * bond
    grid = np.indices(shape).reshape(2, -1).T
    phase = _below(grid.astype(float), shape, boundary, tilt).reshape(shape).astype(np.int64)
    return positions, heights, phase


def _unrolled(lattice: Lattice, distortion: float, chalcogen: bool) -> Floats:
    """Sites as (x, y) in a rectangle: the last cell vector lies along x, so x may be wrapped."""
    sites = lattice.positions.copy()
    cells = lattice.linear_size
    if (distortion or chalcogen) and lattice.kind != "triangular":
        raise RequestError("distortion and chalcogens need a triangular lattice", came=lattice.kind)
    line = np.arange(lattice.sites) // cells
    layers = [sites + np.array([0.0, distortion]) * (1 - 2 * (line % 2))[:, None]]
    if chalcogen:
        layers.append(sites + np.sum(lattice.geometry.cell, axis=0) / 3)
    table = np.concatenate(layers)
    table[:, 0] %= cells * lattice.geometry.cell[1][0]
    return table


def _rotated(places: Floats, rotation: float) -> Floats:
    """Rotate (x, y) to (row, col); positive from the columns' axis towards the rows'."""
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((places @ turn)[:, ::-1], np.float64)


def _below(
    places: Floats, shape: tuple[int, int], boundary: float, tilt: float
) -> npt.NDArray[np.bool_]:
    """Whether positions (row, col) lie below the boundary."""
    angle = np.deg2rad(tilt)
    middle = np.array([boundary * shape[0], (shape[1] - 1) / 2])
    below = (places - middle) @ [np.cos(angle), np.sin(angle)] >= 0
    return np.asarray(below, np.bool_)


def draw_image(
    positions: npt.ArrayLike,
    amplitudes: npt.ArrayLike = 1.0,
    *,
    shape: tuple[int, int],
    sigma: float,
    background: float = 0.0,
    peak: float = 100.0,
    seed: int | np.random.Generator,
    dose: bool = True,
    blur: float = 0.0,
    drift: Pair = (0.0, 0.0),
    scan_noise: float = 0.0,
    background_slope: Pair = (0.0, 0.0),
    readout: float = 0.0,
) -> xr.DataArray:
    """Draw atom columns as 2-D Gaussians, sampled at the centres of the pixels, with noise.

    Parameters
    ----------
    positions
        (atoms, 2): row and col in px; pixel centres have integer coordinates. Atoms outside the
        frame contribute where they reach into it.
    amplitudes
        Peak height of the atoms in units of ``peak``; one number, or (atoms,).
    shape
        Rows and columns.
    sigma
        Standard deviation of a column, px. The value of a pixel is the Gaussian at its centre, not
        the mean over its area: for sigma ≥ 1 px they differ like sigma and hypot(sigma, 0.29).
    background
        Counts per pixel at the centre of the image.
    peak
        Expected counts of the brightest pixel of an atom of amplitude 1, above the background and
        before any blur.
    seed
        Seed of all noise, or a generator.
    dose
        Draw Poisson counts; otherwise return their expectation.
    blur
        Standard deviation, px, of an additional Gaussian blur of the columns. It conserves their
        volume: the peak falls by sigma² / (sigma² + blur²).
    drift
        Displacement (row, col), px, of the sample between the scans of the first and the last row:
        an atom at p appears at :func:`drifted` ``(p)``. Drift along the rows also stretches columns
        by the same factor.
    scan_noise
        Standard deviation, px, of the displacement of every row of pixels along itself: atoms get
        jagged edges but keep their mean positions.
    background_slope
        Rise of the background, in counts, from the first row to the last and from the first
        column to the last; its mean is ``background``.
    readout
        Standard deviation, in counts, of a normal error added to each pixel.

    Returns
    -------
    DataArray
        (row, col) float64, counts.

    Raises
    ------
    RequestError
        If positions are not finite pairs, or an option is out of range.

    Examples
    --------
    >>> image = draw_image([[10.0, 12.5]], shape=(20, 30), sigma=2.0, dose=False, seed=1)
    >>> image.shape, round(float(image.sum())) == round(100 * 2 * np.pi * 2.0**2)
    ((20, 30), True)
    """
    places = _places(positions)
    heights = np.asarray(amplitudes, np.float64)
    if heights.shape not in ((), places.shape[:1]) or not np.all(
        np.isfinite(heights) & (heights >= 0)
    ):
        allowed = f"one number or {len(places)} numbers, none below 0"
        came = f"shape {heights.shape}"
        raise RequestError("amplitudes do not fit the atoms", came=came, allowed=allowed)
    heights = np.broadcast_to(heights, len(places))
    if len(shape) != 2 or min(shape) < 1:
        raise RequestError("the frame is empty", came=shape, allowed="rows and columns")
    if not (np.isfinite(sigma) and sigma > 0):
        raise RequestError("sigma must be positive", came=sigma, allowed="px, above 0")
    numbers = (peak, blur, scan_noise, readout, background)
    if not all(np.isfinite(number) and number >= 0 for number in numbers):
        problem = "peak, blur, scan_noise, readout and background must be finite and 0 or more"
        raise RequestError(problem, came=numbers, allowed="0 or more")
    heights = heights * peak * sigma**2 / (sigma**2 + blur**2)
    rng = np.random.default_rng(seed)
    row, col = (
        rise * np.linspace(-0.5, 0.5, n) if n > 1 else np.zeros(1)
        for rise, n in zip(background_slope, shape, strict=True)
    )
    expected: Floats = background + row[:, None] + col[None, :]
    if expected.min() < 0:
        came = f"background {background}, background_slope {background_slope}"
        allowed = "background ≥ (|slope of rows| + |slope of columns|) / 2"
        raise RequestError("the background falls below zero", came=came, allowed=allowed)
    jitter = scan_noise * rng.standard_normal(shape[0]) if scan_noise else np.zeros(shape[0])
    _add_columns(expected, places, heights, float(np.hypot(sigma, blur)), drift, jitter)
    counts = rng.poisson(expected).astype(np.float64) if dose else expected
    if readout:
        counts = counts + readout * rng.standard_normal(shape)
    image = labelled_image(
        counts, name="synthetic", source="latticescape.analysis.images.synthetic.draw_image"
    )
    return image.assign_attrs(long_name="detected electrons", units="count")


def drifted(positions: npt.ArrayLike, drift: Pair, rows: int) -> Floats:
    """Apparent positions of atoms in an image of this many rows with drift, (atoms, 2) px.

    Examples
    --------
    >>> drifted([[0.0, 5.0], [50.0, 5.0]], drift=(0.0, 4.0), rows=101).tolist()
    [[0.0, 5.0], [50.0, 7.0]]
    """
    places = _places(positions)
    if not (np.isfinite(drift).all() and drift[0] < max(rows - 1, 1)):
        raise RequestError("the drift must be slower than the scan", came=drift, allowed="< rows")
    row = places[:, 0] / (1 - drift[0] / max(rows - 1, 1))
    return np.column_stack([row, places[:, 1] + drift[1] * row / max(rows - 1, 1)])


def draw_configuration(
    atoms: xr.Dataset,
    *,
    sigma: float | None = None,
    seed: int | np.random.Generator,
    **drawing: Unpack[Drawing],
) -> xr.DataArray:
    """Draw the atoms of :func:`place_atoms`.

    Parameters
    ----------
    atoms
        ``row``, ``col``, ``amplitude`` over ``atom``, attrs ``shape`` and ``spacing_px``.
    sigma
        Standard deviation of a column, px; by default 3/17 of the spacing.
    seed
        Seed of all noise.
    **drawing
        Options of :func:`draw_image`.

    Examples
    --------
    >>> from latticescape import square
    >>> atoms = place_atoms(square(3), np.zeros(9, int), spacing=10.0, amplitudes=(1.0,))
    >>> draw_configuration(atoms, seed=1, background=5.0).shape
    (41, 41)
    """
    return draw_image(
        np.column_stack([atoms["row"], atoms["col"]]),
        atoms["amplitude"].to_numpy(),
        shape=atoms.attrs["shape"],
        sigma=3 / 17 * atoms.attrs["spacing_px"] if sigma is None else sigma,
        seed=seed,
        **drawing,
    )


def two_phases(
    kind: Literal["stripes", "dimers"] = "stripes",
    *,
    shape: tuple[int, int] = (512, 512),
    spacing: float = 10.0,
    boundary: float = 0.5,
    tilt: float = 0.0,
    rotation: float = 0.0,
    contrast: float = 0.5,
    sigma: float | None = None,
    seed: int | np.random.Generator,
    **drawing: Unpack[Drawing],
) -> tuple[xr.DataArray, xr.DataArray]:
    """Draw two phases of one lattice in one frame, with a straight boundary between them.

    Parameters
    ----------
    kind
        ``stripes``: a square lattice with every other row dimmer in the first phase and every
        other column in the second, as in LLTO. ``dimers``: a honeycomb lattice, perfect in the
        first phase and dimerized along one of the three bonds in the second, so that one pair of
        first-order FFT spots vanishes, as in α-RuCl3.
    shape
        Rows and columns.
    spacing
        Nearest-neighbour distance, px.
    boundary
        Row at which the boundary crosses the middle column, as a fraction of the rows; phase 0 is
        above it.
    tilt, rotation
        Rotation of the boundary and of the lattice, degrees.
    contrast
        Stripes: height of a dim column relative to a bright one.
    sigma
        Standard deviation of a column, px; by default a fifth of the spacing.
    seed
        Seed of all noise.
    **drawing
        Options of :func:`draw_image`.

    Returns
    -------
    image, phase
        (row, col): counts, and the number of the phase at each pixel.

    Examples
    --------
    >>> image, phase = two_phases("stripes", shape=(64, 64), boundary=0.25, seed=1)
    >>> phase.isel(col=0).values.tolist().index(1)
    16
    """
    places, heights, phase = two_phase_atoms(
        kind, shape, spacing, boundary=boundary, tilt=tilt, rotation=rotation, contrast=contrast
    )
    image = draw_image(
        places,
        heights,
        shape=shape,
        sigma=spacing / 5 if sigma is None else sigma,
        seed=seed,
        **drawing,
    )
    return image, image.copy(data=phase).assign_attrs(long_name="phase", units="1").rename("phase")


def _places(positions: npt.ArrayLike) -> Floats:
    places = np.asarray(positions, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        came = f"shape {places.shape}"
        raise RequestError("positions must be finite pairs", came=came, allowed="(atoms, 2), px")
    return places


def _add_columns(
    image: Floats, places: Floats, heights: Floats, sigma: float, drift: Pair, jitter: Floats
) -> None:
    """Add each Gaussian to the pixels within its reach, each at its own time of the scan."""
    rows, cols = image.shape
    time = np.arange(rows) / max(rows - 1, 1)
    row, shift = np.arange(rows) - drift[0] * time, jitter - drift[1] * time
    col = np.arange(cols, dtype=float)
    seen = drifted(places, drift, rows)
    reach = REACH * sigma * np.array([max(1, 1 / (1 - drift[0] / max(rows - 1, 1))), 1])
    slack = [0, np.abs(jitter).max(initial=0) + abs(drift[1]) / max(rows - 1, 1) * reach[0]]
    low = np.clip(np.ceil(seen - reach - slack), 0, image.shape).astype(int)
    high = np.clip(np.floor(seen + reach + slack) + 1, 0, image.shape).astype(int)
    still = not (shift.any())
    scale = -0.5 / sigma**2
    for (r, c), height, (top, left), (bottom, right) in zip(
        places, heights, low, high, strict=True
    ):
        across = height * np.exp(scale * (row[top:bottom] - r) ** 2)
        if still:
            along = np.exp(scale * (col[left:right] - c) ** 2)
        else:
            along = np.exp(scale * (col[left:right] + shift[top:bottom, None] - c) ** 2)
        image[top:bottom, left:right] += across[:, None] * along
