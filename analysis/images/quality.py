"""How well a measured image shows a random alloy on one lattice: numbers, warnings, refusals."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import xarray as xr
from scipy import stats
from scipy.spatial.distance import pdist

Floats = npt.NDArray[np.float64]

# Limits below (or above) which a warning is given. On drawn random alloys with up to 3 % of
# vacancies the worst values are .97, .97 and .95; atoms of other crystals that were taken for a
# square lattice leave .9, .9 and .8. A tenth of vacancies or the distortion of 1T′ warns as well.
LEAST_PLACED = 0.95
LEAST_FILLED = 0.95
LEAST_COHERENCE = 0.9

# Expected share of atoms of a wrong species. A neighbourhood of seven sites is then wrong seven
# times as often.
MOST_DOUBTFUL = 0.02

# Share of the variance of the species in one wave: 1 for a checkerboard, 1/2 for a √3 × √3 order,
# at most about ln(N)/N for a random alloy of N atoms. From the first limit on a warning is given,
# from the second on the configurations are not counted.
MOST_ORDER = 0.1
ORDERED = 0.3

# Difference of the composition between opposite ends of the image.
MOST_GRADIENT = 0.2

# A wave or a gradient counts if chance would show one as strong in fewer images than this share.
CHANCE = 1e-4

# Short-range order is diffuse: it raises the power of all waves nearby. The level of a wave is the
# median of those that are so many times farther from it than the image resolves.
# Of them 35 are independent, and their median is as sure as the mean of half as many.
NEARBY = (1.5, 5.0)
LEVELS = 17

# A wave longer than this share of the image is a domain, not an order.
DOMAIN = 1 / 3

# The lattice is compared between discs of this radius, in spacings, with at least so many atoms.
# From the limit on two lattices differ by half a spacing within a disc: 3 degrees or 5 %.
PART = 5.0
FEWEST_IN_PART = 12
MOST_DISTORTION = 0.5 / (2 * PART)

# Ratio of the stretches from the ideal lattice. Drift and calibration leave less than half of it.
MOST_STRAIN = 1.06

# Shares of the pixels that may be left out without a warning.
MOST_LEFT_OUT = {"missing": 0.02, "flat": 0.02, "saturated": 0.01, "hot": 0.002}

# The numbers of an image's quality, as in the attributes of ``measure``.
NUMBERS = (
    *("placed", "filled", "coherence", "strain", "separation", "doubtful"),
    *("order", "order_period", "composition_range", "distortion_range"),
)


def with_quality(atoms: xr.Dataset, asked: int) -> xr.Dataset:
    """Add the quality of a measured image to its attributes.

    Parameters
    ----------
    atoms
        With sites and species, as ``measure`` makes them.
    asked
        The number of species that were named.

    Returns
    -------
    Dataset
        ``atoms``; attrs: ``doubtful``, the expected share of atoms of a wrong species; ``order``,
        the largest share of the species' variance in one wave, and ``order_period``, its length in
        spacings; ``composition_range``, the difference of the composition between opposite ends of
        the image, 0 if chance may explain it; ``distortion_range``, the difference of the
        lattice between parts of the image; ``warnings``, sentences; ``uncounted``, why the
        configurations must not be counted, or empty.

    Examples
    --------
    >>> cells = np.argwhere(np.ones((12, 12)))
    >>> board = cells.sum(axis=1) % 2
    >>> atoms = xr.Dataset({"i": ("atom", cells[:, 0]), "j": ("atom", cells[:, 1]),
    ...     "row": ("atom", cells[:, 0]), "col": ("atom", cells[:, 1]),
    ...     "sublattice": ("atom", 0 * board), "on_lattice": ("atom", board >= 0),
    ...     "species": ("atom", board), "basis": (("vector", "axis"), np.eye(2)),
    ...     "probability": (("atom", "species_name"), np.eye(2)[board])},
    ...     attrs={"lattice_constant": 1.0})
    >>> attrs = with_quality(atoms, 2).attrs
    >>> round(attrs["order"], 2), round(attrs["order_period"], 1), attrs["uncounted"][:23]
    (1.0, 1.4, 'the species are ordered')
    """
    known = atoms.isel(atom=atoms["species"].to_numpy() >= 0)
    numbers = {"doubtful": 0.0, "order": 0.0, "order_period": 0.0, "composition_range": 0.0}
    numbers["distortion_range"] = distortion_range(atoms)
    uncounted = str(atoms.attrs.get("uncounted", ""))
    if known.sizes["atom"] and len(np.unique(known["species"])) > 1:
        numbers["doubtful"] = float(1 - known["probability"].max("species_name").mean())
        numbers["order"], numbers["order_period"] = species_order(known)
        numbers["composition_range"] = _composition_range(known)
    if asked != 2:
        uncounted = f"configurations are counted for two species, and {asked} are named"
    elif numbers["order"] >= ORDERED and not _is_domain(known, numbers["order_period"]):
        uncounted = f"the species are ordered: {_wave(numbers)}; this is no random alloy"
    graded = atoms.assign_attrs(**numbers, uncounted=uncounted)
    return graded.assign_attrs(warnings=_warnings(graded, known))


def species_order(atoms: xr.Dataset) -> tuple[float, float]:
    """The strongest wave of the species over the sites.

    For each species and sublattice the Fourier transform F(k) of its occupation, less the mean over
    the image, is taken over the cells. A wave's share of the variance is Σ |F|²/N_s over the N_s
    sites of each sublattice, divided by the sum over all sites of the squared deviations.

    Parameters
    ----------
    atoms
        ``i``, ``j``, ``sublattice`` and ``species`` (atom), ``basis`` (vector, axis) in px, and the
        attribute ``lattice_constant``.

    Returns
    -------
    share, period
        The largest share, 0 to 1, and the length of its wave in spacings, 0 for a difference of the
        sublattices; (0, 0) if chance may explain it.
    """
    best, period = 0.0, 0.0
    sites, kinds = atoms.sizes["atom"], np.unique(atoms["species"])
    # A wave's share is distributed exponentially, its ratio to the measured level as F; with the
    # mean 1/sites in a random alloy.
    chance = float(stats.f.isf(CHANCE / sites / len(kinds), 2, 2 * LEVELS))
    for kind in kinds[1:]:
        share = _shares(atoms, int(kind))
        at = np.unravel_index(int(np.argmax(share)), share.shape)
        top = min(float(share[at]), 1.0)
        if top > max(best, chance * max(1 / sites, _level(share, at))):
            k = np.array([np.fft.fftfreq(n)[m] for n, m in zip(share.shape, at, strict=True)])
            # Cycles per cell become cycles per px.
            wave = np.hypot(*np.linalg.solve(atoms["basis"].to_numpy(), _nearest(k, atoms)))
            best = top
            period = 1 / wave / float(atoms.attrs["lattice_constant"]) if wave > 0 else 0.0
    return best, float(period)


def _shares(atoms: xr.Dataset, kind: int) -> Floats:
    """Share of the variance of a species in each wave, on twice as fine a grid as independent."""
    cells = np.stack([atoms[name].to_numpy() for name in ("i", "j")], axis=1).astype(np.int64)
    cells -= cells.min(axis=0)
    sublattice, own = atoms["sublattice"].to_numpy(), atoms["species"].to_numpy() == kind
    deviation = own - own.mean()
    shape = [scipy.fft.next_fast_len(2 * int(n) + 2) for n in cells.max(axis=0)]
    power = np.zeros(shape)
    for number in np.unique(sublattice):
        part = sublattice == number
        plane = np.zeros(shape)
        plane[tuple(cells[part].T)] = deviation[part]
        power += np.abs(scipy.fft.fft2(plane)) ** 2 / part.sum()
    return np.asarray(power / max(float(np.sum(deviation**2)), 1e-300), np.float64)


def _level(share: Floats, at: tuple[np.intp, ...]) -> float:
    """Mean share of the waves around one, from their median."""
    steps = [(np.arange(n) - m + n // 2) % n - n // 2 for n, m in zip(share.shape, at, strict=True)]
    away = np.hypot(steps[0][:, None], steps[1]) / 2
    near = (away >= NEARBY[0]) & (away <= NEARBY[1])
    return float(np.median(share[near]) / np.log(2)) if near.any() else 0.0


def distortion_range(atoms: xr.Dataset) -> float:
    """Largest difference of the lattice between discs in the image.

    The cell vectors that fit a disc are the image's times a matrix M. Two discs differ by the
    Frobenius norm of the difference of their matrices, over √2: for a rotation by an angle, 2
    sin(angle/2).

    Parameters
    ----------
    atoms
        ``row``, ``col``, ``i``, ``j``, ``sublattice`` and ``on_lattice`` (atom), ``basis``
        (vector, axis), px, and the attribute ``lattice_constant``.

    Returns
    -------
    float
        0 if fewer than two discs hold enough atoms.

    Examples
    --------
    >>> cells = np.argwhere(np.ones((30, 30)))
    >>> bent = cells[:, 0] + 0.01 * np.abs(cells[:, 1] - 15) * 17
    >>> atoms = xr.Dataset({"i": ("atom", cells[:, 0]), "j": ("atom", cells[:, 1]),
    ...     "row": ("atom", bent), "col": ("atom", cells[:, 1]),
    ...     "sublattice": ("atom", 0 * bent), "on_lattice": ("atom", bent >= 0),
    ...     "basis": (("vector", "axis"), np.eye(2))}, attrs={"lattice_constant": 1.0})
    >>> round(distortion_range(atoms), 2)
    0.24
    """
    own = atoms.isel(atom=(atoms["on_lattice"] & (atoms["sublattice"] == 0)).to_numpy())
    places = np.column_stack([own["row"], own["col"]])
    cells = np.column_stack([own["i"], own["j"], np.ones(len(places))])
    inverse = np.linalg.inv(atoms["basis"].to_numpy())
    radius = PART * float(atoms.attrs["lattice_constant"])
    fitted = []
    for centre in places[:: max(1, len(places) // 100)]:
        near = np.hypot(*(places - centre).T) < radius
        if near.sum() < FEWEST_IN_PART:
            continue
        vectors = np.linalg.lstsq(cells[near], places[near], rcond=None)[0][:2]
        fitted.append((inverse @ vectors).ravel())
    return float(pdist(np.array(fitted)).max() / np.sqrt(2)) if len(fitted) > 1 else 0.0


def _wave(attrs: dict[str, Any]) -> str:
    share, period = f"{attrs['order']:.0%} of the species' variance", attrs["order_period"]
    return (
        f"{share} is one wave of {period:.3g} spacings"
        if period
        else (f"{share} is the difference of the sublattices")
    )


def _nearest(k: Floats, atoms: xr.Dataset) -> Floats:
    """The shortest of the waves that are equal at all cells."""
    shifts = np.array([(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)])
    waves = k + shifts
    lengths = np.hypot(*np.linalg.solve(atoms["basis"].to_numpy(), waves.T))
    return np.asarray(waves[int(np.argmin(lengths))], np.float64)


def _is_domain(atoms: xr.Dataset, period: float) -> bool:
    """Whether a wave is longer than a third of the image."""
    extent = max(np.ptp(atoms["row"].to_numpy()), np.ptp(atoms["col"].to_numpy()))
    return bool(period > DOMAIN * extent / float(atoms.attrs["lattice_constant"]))


def _composition_range(atoms: xr.Dataset) -> float:
    """Range over the image of a plane fitted to the brightest species; 0 if by chance."""
    one = (atoms["species"] == atoms["species"].max()).to_numpy().astype(float)
    places = np.column_stack([atoms["row"], atoms["col"], np.ones(len(one))])
    fitted = places @ np.linalg.lstsq(places, one, rcond=None)[0]
    left, free = float(np.sum((one - fitted) ** 2)), len(one) - 3
    # Clusters of short-range order are so many times fewer than atoms.
    share = _shares(atoms, int(atoms["species"].max()))
    level = max(1.0, len(one) * _level(share, (np.intp(0), np.intp(0))))
    explained = float(np.sum((fitted - one.mean()) ** 2))
    ratio = explained / 2 / max(level * left / max(free, 1), 1e-300)
    if free < 1 or stats.f.sf(ratio, 2, min(free, 2 * LEVELS)) > CHANCE:
        return 0.0
    return float(np.ptp(np.clip(fitted, 0, 1)))


def _warnings(atoms: xr.Dataset, known: xr.Dataset) -> list[str]:
    attrs: dict[str, Any] = dict(atoms.attrs)
    texts = [attrs["uncounted"]] if attrs["uncounted"] else []
    texts += _lattice_warnings(attrs)
    if attrs["doubtful"] > MOST_DOUBTFUL:
        texts.append(
            f"{attrs['doubtful']:.1%} of the atoms are expected to have a wrong species "
            f"(separation {attrs['separation']:.1f} standard deviations); use expected_counts"
        )
    if attrs["order"] > MOST_ORDER and not attrs["uncounted"]:
        domain = _is_domain(known, attrs["order_period"])
        texts.append(
            f"{_wave(attrs)}: "
            + ("domains of different composition" if domain else "a long-range order")
        )
    if attrs["composition_range"] > MOST_GRADIENT:
        texts.append(
            f"the composition changes by {attrs['composition_range']:.2f} over the image; measure "
            "parts of it"
        )
    for name, most in MOST_LEFT_OUT.items():
        if attrs.get(name, 0.0) > most:
            texts.append(f"{attrs[name]:.1%} of the pixels are {name} and were left out")
    return texts


def _lattice_warnings(attrs: dict[str, Any]) -> list[str]:
    texts = []
    for name, text in (
        ("placed", "of the bright atoms stand on the lattice"),
        ("filled", "of the sites of the lattice hold an atom"),
    ):
        least = {"placed": LEAST_PLACED, "filled": LEAST_FILLED}[name]
        if attrs.get(name, 1.0) < least:
            texts.append(
                f"only {attrs[name]:.1%} {text}; below {least:.0%} the crystal may have another "
                "lattice, vacancies or several grains"
            )
    if attrs.get("coherence", 1.0) < LEAST_COHERENCE:
        texts.append(
            f"the atoms repeat with coherence {attrs['coherence']:.2f}; below {LEAST_COHERENCE} "
            "they may belong to another lattice"
        )
    if attrs["distortion_range"] > MOST_DISTORTION:
        texts.append(
            f"the lattice differs by {attrs['distortion_range']:.1%} between parts of the image, "
            "in orientation or spacing: there may be several grains; measure parts of it"
        )
    if attrs.get("strain", 1.0) > MOST_STRAIN:
        texts.append(
            f"the lattice is stretched by a factor of {attrs['strain']:.3f}; above {MOST_STRAIN} "
            "the crystal may have another lattice"
        )
    return texts
