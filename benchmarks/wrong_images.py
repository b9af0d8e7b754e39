"""Images that show no random alloy, and good ones: which are refused, warned, or counted.

Each image follows from the seed and its number, so one that fails can be drawn again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import xarray as xr
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from latticescape.analysis.images.measurement import measure
from latticescape.analysis.images.synthetic import draw_configuration, draw_image, place_atoms
from latticescape.physics import PairAlloy, Schedule, honeycomb, square, triangular
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.physics.lattices.geometry import GEOMETRIES

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

LATTICES = {"square": square, "triangular": triangular, "honeycomb": honeycomb}
SIDE = 300
SEED = 19

# Steps that equilibrate alloys this far above their ordering.
EQUILIBRATION = 500


@dataclass(frozen=True)
class Case:
    """An image, and the lattice that its user names."""

    image: Floats
    lattice: str


def any_lattice(rng: Rng) -> str:
    """The lattice that a user names who has an image of something else."""
    return str(rng.choice(list(LATTICES)))


def detected(expected: Floats, rng: Rng) -> Floats:
    """Poisson counts, 20 to 500 at the brightest pixel."""
    scaled = (expected - expected.min()) / max(float(np.ptp(expected)), 1e-12)
    return rng.poisson(rng.uniform(20, 500) * scaled + 2).astype(float)


def noise(rng: Rng) -> Case:
    """White or correlated noise."""
    values = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.choice([0, 1, 3, 8]))
    return Case(values, any_lattice(rng))


def gradient(rng: Rng) -> Case:
    """A slope or a halo without atoms."""
    row, col = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    a, b, c, d = rng.normal(size=4)
    return Case(detected(a * row + b * col + c * row**2 + d * row * col, rng), any_lattice(rng))


def texture(rng: Rng) -> Case:
    """Noise of one wavelength (a maze), of one direction (fibres), or its maxima alone (grain)."""
    row, col = np.meshgrid(*[np.fft.fftfreq(SIDE)] * 2, indexing="ij")
    wave, width = rng.uniform(0.04, 0.1), rng.uniform(0.01, 0.2)
    band = np.exp(-0.5 * ((np.hypot(row, col) / wave - 1) / width) ** 2)
    if rng.random() < 0.3:
        band *= np.exp(-0.5 * (np.arctan2(row, col) % np.pi - rng.uniform(0.5, 2.5)) ** 2 / 0.01)
    values = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * band).real
    values /= values.std()
    return Case(detected(np.exp(values) if rng.random() < 0.3 else values, rng), any_lattice(rng))


def text(rng: Rng) -> Case:
    """Lines of letters, dark on bright or bright on dark."""
    size = int(rng.integers(10, 24))
    page = Image.new("L", (SIDE, SIDE), 255)
    font = ImageFont.load_default(size)
    for top in range(4, SIDE, int(1.3 * size)):
        letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz      "), 60)
        ImageDraw.Draw(page).text((4, top), "".join(letters), fill=0, font=font)
    values = np.asarray(page, float)
    return Case(values if rng.random() < 0.5 else 255 - values, any_lattice(rng))


def diffraction(rng: Rng) -> Case:
    """Spots on a lattice, brightest in the middle, of random structure factors."""
    kind = any_lattice(rng)
    places, _ = sites(kind, rng.uniform(14, 26), rng.uniform(0, 60))
    away = np.hypot(*(places - SIDE / 2).T) / SIDE
    heights = np.exp(-((away / rng.uniform(0.15, 0.4)) ** 2)) * rng.exponential(size=len(places))
    heights[away < 0.02] = 20.0
    width = rng.uniform(1.5, 3)
    image = draw_image(places, heights, shape=(SIDE, SIDE), sigma=width, dose=False, seed=1)
    return Case(rng.poisson(np.minimum(image.values, 250.0) + 2).astype(float), kind)


def amorphous(rng: Rng) -> Case:
    """Atoms at random places that keep a distance, of two species."""
    distance = rng.uniform(11, 18)
    places: list[Floats] = []
    for _ in range(20_000):
        place = rng.uniform(0, SIDE, 2)
        if all(np.hypot(*(place - other)) > distance for other in places):
            places.append(place)
    heights = rng.choice([0.37, 1.0], len(places))
    return Case(drawn(np.array(places), heights, 0.2 * distance, rng), any_lattice(rng))


def two_grains(rng: Rng) -> Case:
    """A random alloy, turned by 5 to 30 degrees beyond a boundary, or shifted by half a cell."""
    kind, spacing, angle = any_lattice(rng), rng.uniform(12, 18), rng.uniform(0, 60)
    first, _ = sites(kind, spacing, angle)
    second, _ = sites(kind, spacing, angle + rng.uniform(5, 30))
    if rng.random() < 0.25:
        second = first + spacing * np.array([0.5, 0.0])
    row, col = rng.normal(size=2)
    normal, middle = np.array([row, col]) / np.hypot(row, col), rng.uniform(0.35, 0.65, 2) * SIDE
    grains = [(first - middle) @ normal < 0, (second - middle) @ normal > 0]
    places = np.concatenate([first[grains[0]], second[grains[1]]])
    return Case(drawn(places, alloy_heights(len(places), rng), 0.18 * spacing, rng), kind)


ORDERS: dict[str, tuple[Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]], ...]] = {
    "square": (
        lambda cells: cells[:, :2].sum(axis=1) % 2 == 0,
        lambda cells: cells[:, 0] % 2 == 0,
        lambda cells: cells[:, 0] % 4 < 2,
        lambda cells: (cells[:, 0] % 2 == 0) & (cells[:, 1] % 2 == 0),
    ),
    "triangular": (
        lambda cells: (cells[:, 0] - cells[:, 1]) % 3 == 0,
        lambda cells: cells[:, 0] % 2 == 0,
        lambda cells: (cells[:, 0] % 2 == 0) & (cells[:, 1] % 2 == 0),
    ),
    "honeycomb": (
        lambda cells: cells[:, 2] == 0,
        lambda cells: cells[:, 0] % 2 == 0,
    ),
}


def ordered(rng: Rng) -> Case:
    """A superlattice, of whose atoms up to a tenth are exchanged."""
    kind, spacing = any_lattice(rng), rng.uniform(12, 18)
    places, cells = sites(kind, spacing, rng.uniform(0, 60))
    order = ORDERS[kind][int(rng.integers(len(ORDERS[kind])))](cells)
    wrong = rng.random(len(cells)) < rng.uniform(0, 0.1)
    heights = np.where(order ^ wrong, 1.0, rng.uniform(0.3, 0.6))
    return Case(drawn(places, heights, 0.18 * spacing, rng), kind)


def figure(rng: Rng) -> Case:
    """Axes with ticks and numbers, and points, lines or bars in them."""
    page = Image.new("L", (SIDE, SIDE), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    low, high = 36, SIDE - 10
    pen.rectangle((low, 10, high, SIDE - 30), outline=0)
    step = int(rng.integers(20, 50))
    for at in range(low, high, step):
        pen.line((at, SIDE - 30, at, SIDE - 24), fill=0)
        pen.text((at - 6, SIDE - 22), str(at), fill=0, font=font)
        pen.line((low - 6, at, low, at), fill=0)
        pen.text((8, at - 6), str(at), fill=0, font=font)
        if rng.random() < 0.5:
            pen.line((low, at, high, at), fill=180)
    x = np.arange(low + 6, high - 6, int(rng.integers(6, 16)))
    for _ in range(int(rng.integers(1, 6))):
        y = np.clip(SIDE / 2 + np.cumsum(rng.normal(0, 12, len(x))), 20, SIDE - 40)
        kind = rng.integers(3)
        if kind == 0:
            pen.line([*zip(x.tolist(), y.tolist(), strict=True)], fill=0, width=2)
        for a, b in zip(x.tolist(), y.tolist(), strict=True):
            if kind == 1:
                pen.ellipse((a - 3, b - 3, a + 3, b + 3), fill=0)
            elif kind == 2:
                pen.rectangle((a - 2, b, a + 2, SIDE - 30), fill=90)
    values = np.asarray(page, float)
    return Case(values if rng.random() < 0.5 else 255 - values, any_lattice(rng))


CELLS: dict[str, tuple[Floats, Floats]] = {
    "kagome": (np.array([[1.732, 1.0], [0.0, 2.0]]), np.array([[0, 0], [0.5, 0], [0, 0.5]])),
    "rectangular": (np.array([[1.4, 0.0], [0.0, 1.0]]), np.zeros((1, 2))),
    "oblique": (np.array([[1.2, 0.35], [0.0, 1.0]]), np.zeros((1, 2))),
    "five": (np.array([[2.2, 0.0], [0.0, 2.2]]), np.array([[0.25, 0.1], [0.1, 0.75], [0.75, 0.9],
                                                         [0.9, 0.25], [0.5, 0.5]])),
}  # fmt: skip


def another_lattice(rng: Rng) -> Case:
    """A random alloy on a crystal of another kind than is named."""
    named = any_lattice(rng)
    others = [name for name in [*LATTICES, *CELLS] if name != named]
    other = str(rng.choice(others))
    spacing = rng.uniform(12, 18)
    places, _ = sites(other, spacing, rng.uniform(0, 60))
    return Case(drawn(places, alloy_heights(len(places), rng), 0.18 * spacing, rng), named)


WRONG = (
    *(noise, gradient, texture, text, diffraction),
    *(amorphous, two_grains, ordered, figure, another_lattice),
)


def good(rng: Rng) -> Case:
    """An alloy with the short-range order of w1 = -0.3 to 0.3 k_B T0, as a microscope sees it."""
    kind = any_lattice(rng)
    species = alloys(kind, cells_along(kind))[
        int(rng.integers(len(INTERACTIONS))), int(rng.integers(64))
    ]
    peak = float(10 ** rng.uniform(np.log10(30), 3))
    atoms = place_atoms(
        LATTICES[kind](cells_along(kind)),
        species if rng.random() < 0.5 else 1 - species,
        spacing=rng.uniform(12, 18),
        rotation=rng.uniform(0, 60),
        amplitudes=(rng.uniform(0.3, 0.5), 1.0),
        disorder=rng.uniform(0, 0.03),
        vacancies=rng.uniform(0, 0.02),
        seed=rng,
    )
    haze = peak * rng.uniform(0.1, 0.5)
    image = draw_configuration(
        atoms, seed=rng, peak=peak, background=haze, background_slope=(0.5 * haze, 0.5 * haze)
    )
    return Case(image.values, kind)


INTERACTIONS = ((-0.3, 0.25), (-0.3, 0.5), (0.0, 0.1), (0.3, 0.25), (0.3, 0.5))


def cells_along(kind: str) -> int:
    """Cells along either vector of a good image."""
    return 14 if kind == "honeycomb" else 20


@cache
def alloys(kind: str, cells: int) -> npt.NDArray[np.int64]:
    """Equilibrated species (interactions, replicas, sites)."""
    lattice = LATTICES[kind](cells)
    schedule = Schedule(equilibration_mcs=EQUILIBRATION, samples=2, stride_mcs=1)
    rng = np.random.default_rng(SEED)
    seeds = rng.integers(0, 2**63, (len(INTERACTIONS), 4)).astype(np.uint64)
    w1, x = np.transpose(INTERACTIONS)
    found = sample(PairAlloy(), lattice, {"w1": w1, "x": x}, schedule, seeds, keep=("spins",))
    bits = np.asarray(found.spins)[:, None, :] >> np.arange(64, dtype=np.uint64)[:, None]
    return (bits & np.uint64(1)).astype(np.int64)


def sites(kind: str, spacing: float, angle: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Places (row, col) px that cover the frame, and their cells and numbers in the basis."""
    if kind in CELLS:
        cell, basis = CELLS[kind]
        basis = basis @ cell
    else:
        cell, basis = np.asarray(GEOMETRIES[kind].cell), np.asarray(GEOMETRIES[kind].basis)
    steps = np.argwhere(np.ones((81, 81, len(basis))))
    steps[:, :2] -= 40
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    places = spacing * (steps[:, :2] @ cell + basis[steps[:, 2]]) @ rotation + SIDE / 2
    inside = ((places > -spacing) & (places < SIDE + spacing)).all(axis=1)
    return places[inside], steps[inside]


def alloy_heights(number: int, rng: Rng) -> Floats:
    """Heights of a random alloy's atoms."""
    bright = rng.random(number) < rng.uniform(0.1, 0.9)
    return np.where(bright, 1.0, rng.uniform(0.3, 0.5))


def drawn(places: Floats, heights: Floats, sigma: float, rng: Rng) -> Floats:
    """Atoms with Poisson noise on a haze."""
    peak = float(10 ** rng.uniform(np.log10(30), 3))
    look = {"background": peak * rng.uniform(0.1, 0.5), "peak": peak}
    image = draw_image(places, heights, shape=(SIDE, SIDE), sigma=sigma, seed=rng, **look)
    return np.asarray(image.values, np.float64)


def draw(kind: Callable[[Rng], Case], number: int) -> Case:
    """One image of a kind."""
    kinds = [*WRONG, good]
    return kind(np.random.default_rng([SEED, kinds.index(kind), number]))


def measured(case: Case) -> xr.Dataset | RequestError:
    """What ``measure`` returns, or the reason for which it refuses."""
    try:
        return measure(case.image, case.lattice)
    except RequestError as error:
        return error


def outcome(table: xr.Dataset | RequestError) -> str:
    """``refused``, ``not counted``, ``warned``, or ``silent``: a table without a warning."""
    if isinstance(table, RequestError):
        return "refused"
    if table.attrs["uncounted"]:
        return "not counted"
    return "warned" if table.attrs["warnings"] else "silent"


OUTCOMES = ("refused", "not counted", "warned", "silent")


def report(each: int = 20, of_good: int = 100) -> str:
    """One row per kind, then which images are counted that should be warned, or warned if good."""
    lines = [f"{'':17s}" + "".join(f"{name:>13s}" for name in OUTCOMES)]
    remarks = []
    for kind in (*WRONG, good):
        counts: Counter[str] = Counter()
        for number in range(of_good if kind is good else each):
            table = measured(draw(kind, number))
            result = outcome(table)
            counts[result] += 1
            if (result == "silent") != (kind is good):
                name = f"{kind.__name__} {number}"
                if isinstance(table, RequestError):
                    if kind is good:
                        remarks.append(f"{name}: {table}")
                elif kind is good or result == "silent":
                    numbers = {k: table.attrs[k] for k in ("placed", "filled", "coherence")}
                    remarks.append(f"{name}: {table.attrs['warnings']} {numbers}")
        title = kind.__name__.replace("_", " ")
        lines.append(f"{title:17s}" + "".join(f"{counts[name]:13d}" for name in OUTCOMES))
    return "\n".join(lines + remarks)
