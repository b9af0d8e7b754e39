"""Where atoms stand in a synthetic image: a configuration opened into a frame, or two phases."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import GEOMETRIES, Lattice

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Of one heavy and one light metal, and of two sulphur atoms, about Z^1.7: Mo, Re and S2.
METALS = (0.37, 1.0)

# In nearest-neighbour distances: dimers of honeycomb sites, as of α-RuCl3, whose two atoms have
# each moved so far extinguish the pair of first-order spots along the dimers.
DIMER = 0.125


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
    """Open a configuration of a periodic plane lattice into a rectangle of atoms in a frame.

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
        Rows and columns of the frame, in whose middle the rectangle stands; what does not fit is
        left out. By default the frame holds all atoms.
    margin
        Room between the outermost atoms and the edge of the default frame, in spacings.
    amplitudes
        Height of each species.
    chalcogen
        Height of a second, dimmer sublattice over every other triangle of a triangular lattice,
        as of S2 in MoS2 (0.15); 0 for none.
    distortion
        In spacings: every other row of the triangular lattice moves so far up, those between so
        far down, perpendicular to the rows: zigzag chains, as in 1T′.
    disorder
        In spacings: standard deviation of a normal displacement of each atom, along each axis.
    vacancies
        Probability that an atom of the lattice is absent.
    seed
        Seed of disorder and vacancies.

    Returns
    -------
    Dataset
        Over ``atom``: ``row``, ``col`` (px), ``species`` (-1: chalcogen), ``amplitude``,
        ``sublattice`` (0: the lattice, 1: chalcogen), ``site`` (number in the lattice), ``inside``
        (bool: the centre lies in the frame; of the others those up to a spacing outside are
        listed, for they reach into it). attrs: ``shape``, ``spacing_px``, ``lattice``.

    Examples
    --------
    >>> from latticescape import triangular
    >>> atoms = place_atoms(triangular(6), np.arange(36) % 2, spacing=12.0, chalcogen=0.15)
    >>> atoms.sizes["atom"], int((atoms.sublattice == 0).sum()), atoms.attrs["shape"]
    (72, 36, (81, 91))
    """
    kinds = _species(lattice, species, amplitudes)
    rng = np.random.default_rng(seed)
    table = _unrolled(lattice, distortion, chalcogen > 0)
    table += disorder * rng.standard_normal(table.shape)
    site = np.tile(np.arange(lattice.sites), len(table) // lattice.sites)
    sublattice = np.arange(len(table)) // lattice.sites
    there = (sublattice > 0) | (rng.random(len(table)) >= vacancies)
    places, frame = _framed(_turned(spacing * table, rotation), shape, margin * spacing)
    outside = np.maximum(-0.5 - places, places - np.array(frame) + 0.5).max(axis=1)
    there &= outside < spacing
    species_of = np.where(sublattice > 0, -1, kinds[site])
    height = np.where(sublattice > 0, chalcogen, np.array(amplitudes)[kinds[site]])
    columns = {
        "row": (places[:, 0], {"long_name": "row", "units": "px"}),
        "col": (places[:, 1], {"long_name": "column", "units": "px"}),
        "species": (species_of, {"long_name": "species, -1 a chalcogen", "units": "1"}),
        "amplitude": (height, {"long_name": "height relative to the peak", "units": "1"}),
        "sublattice": (sublattice, {"long_name": "sublattice", "units": "1"}),
        "site": (site, {"long_name": "site of the lattice", "units": "1"}),
        "inside": (outside < 0, {"long_name": "centre in the frame", "units": "1"}),
    }
    return xr.Dataset(
        {name: ("atom", values[there], told) for name, (values, told) in columns.items()},
        attrs={"shape": frame, "spacing_px": spacing, "lattice": lattice.kind},
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
        If the phases are none of the two kinds.

    Examples
    --------
    >>> positions, heights, phase = two_phase_atoms("stripes", (64, 48), 8.0)
    >>> sorted(set(heights.tolist())), float(phase.mean())
    ([0.5, 1.0], 0.5)
    """
    if kind not in ("stripes", "dimers"):
        raise RequestError("unknown phases", came=repr(kind), allowed="stripes | dimers")
    places, steps = _covering("square" if kind == "stripes" else "honeycomb", shape, spacing)
    middle = (np.array(shape) - 1) / 2
    turned = _turned(places, rotation) + middle
    below = _below(turned, shape, boundary, tilt)
    heights = np.ones(len(places))
    if kind == "stripes":
        parity = np.where(below, steps[:, 1], steps[:, 0]) % 2
        heights[parity == 1] = contrast
    else:
        bond = _turned(np.array([[0.0, 1.0]]), rotation)[0]
        turned += (below * (2 * steps[:, 2] - 1) * DIMER * spacing)[:, None] * bond
    grid = np.indices(shape).reshape(2, -1).T
    phase = _below(grid.astype(float), shape, boundary, tilt).reshape(shape).astype(np.int64)
    return turned, heights, phase


def _species(lattice: Lattice, species: npt.ArrayLike, amplitudes: tuple[float, ...]) -> Integers:
    kinds = np.asarray(species)
    if lattice.geometry.dimension != 2:
        raise RequestError("an image shows a plane lattice", came=lattice.kind)
    right = kinds.shape == (lattice.sites,) and np.isin(kinds, np.arange(len(amplitudes))).all()
    if not right:
        raise RequestError(
            "species do not fit the lattice or the amplitudes",
            came=f"shape {kinds.shape}",
            allowed=f"{lattice.sites} numbers from 0 to {len(amplitudes) - 1}",
        )
    return kinds.astype(np.int64)


def _unrolled(lattice: Lattice, distortion: float, chalcogen: bool) -> Floats:
    """Sites as (x, y) in a rectangle: the last cell vector lies along x, so x may be wrapped."""
    sites = lattice.positions.copy()
    cells = lattice.size
    if (distortion or chalcogen) and lattice.kind != "triangular":
        raise RequestError(
            "distortion and chalcogens are those of a triangular lattice", came=lattice.kind
        )
    line = np.arange(lattice.sites) // cells
    layers = [sites + np.array([0.0, distortion]) * (1 - 2 * (line % 2))[:, None]]
    if chalcogen:
        layers.append(sites + np.sum(lattice.geometry.cell, axis=0) / 3)
    table = np.concatenate(layers)
    table[:, 0] %= cells * lattice.geometry.cell[1][0]
    return table


def _turned(places: Floats, rotation: float) -> Floats:
    """(x, y) turned, as (row, col); positive from the columns' axis towards the rows'."""
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Floats = (places @ turn)[:, ::-1]
    return turned


def _framed(
    places: Floats, shape: tuple[int, int] | None, margin: float
) -> tuple[Floats, tuple[int, int]]:
    low, high = places.min(axis=0), places.max(axis=0)
    if shape is None:
        rows, cols = (int(n) for n in np.ceil(high - low + 2 * margin) + 1)
        shape = (rows, cols)
    return places + (np.array(shape) - 1 - low - high) / 2, shape


def _covering(kind: str, shape: tuple[int, int], spacing: float) -> tuple[Floats, Integers]:
    """Sites around the origin as far as a turned frame may reach: (x, y) px, and their numbers.

    The numbers are the cell's two and the sublattice's.
    """
    geometry = GEOMETRIES[kind]
    cell = np.asarray(geometry.cell)
    radius = np.hypot(*shape) / 2 / spacing + 2
    most = int(np.ceil(radius * np.linalg.norm(np.linalg.inv(cell), axis=0).max())) + 1
    ranges = [np.arange(-most, most + 1)] * 2
    steps = np.array(np.meshgrid(*ranges, np.arange(geometry.sublattices), indexing="ij"))
    steps = steps.reshape(3, -1).T
    places = steps[:, :2] @ cell + np.asarray(geometry.basis)[steps[:, 2]]
    near = (places**2).sum(axis=1) < radius**2
    return spacing * places[near], steps[near]


def _below(
    places: Floats, shape: tuple[int, int], boundary: float, tilt: float
) -> npt.NDArray[np.bool_]:
    """Whether places (row, col) lie beyond the boundary."""
    angle = np.deg2rad(tilt)
    middle = np.array([boundary * shape[0], (shape[1] - 1) / 2])
    side: npt.NDArray[np.bool_] = (places - middle) @ [np.cos(angle), np.sin(angle)] >= 0
    return side
