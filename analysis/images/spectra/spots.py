"""Spots in spectra: those of a lattice in an image, and those that distinguish endmembers."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.fft
import xarray as xr
from scipy.ndimage import gaussian_filter, maximum_filter

from latticescape.analysis.checks import listed
from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# The taper spreads slow variations, as of the background, over this many bins around zero.
NEAR_ZERO = 1

# Largest error, in bins, of a parabola's vertex as the frequency of a Hann-tapered wave.
SYSTEMATIC = 0.03


def spots(unmixed: xr.Dataset, most: int = 3) -> xr.Dataset:
    """The strongest spots of each endmember that the others lack.

    A spot is a local maximum of the FFT's magnitude less the largest of the other endmembers'; with
    a single endmember, of its magnitude. Its position is the vertex of a paraboloid through the
    logarithms of 3 × 3 bins.

    Parameters
    ----------
    unmixed
        ``endmember`` (endmember, k_row, k_col), log(1 + |FFT|), as :func:`unmix` returns it.
    most
        Number of spots of each endmember, the strongest first; NaN where it has fewer.

    Returns
    -------
    Dataset
        (endmember, spot): ``frequency_row``, ``frequency_col`` in cycles per px, one of each
        symmetric pair, and ``…_se``: one standard error, from the residuals of the paraboloid and
        its largest systematic error for a single wave, 0.03 bins; ``magnitude``, and ``excess``,
        its part above the others.

    Raises
    ------
    RequestError
        If there are no endmembers of complete spectra.

    Examples
    --------
    >>> from latticescape import sliding_fft, unmix
    >>> row, col = np.indices((96, 64))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> ds = spots(unmix(sliding_fft(waves, window=32)), most=1)
    >>> sorted(np.abs(ds.frequency_row.values[:, 0]).round(2).tolist())
    [0.0, 0.08]
    """
    dims = ("endmember", "k_row", "k_col")
    if "endmember" not in unmixed or unmixed["endmember"].dims != dims:
        allowed, hint = "endmember (endmember, k_row, k_col)", "unmix(sliding_fft(image))"
        raise RequestError(
            "no endmembers of spectra", came=listed(unmixed), allowed=allowed, hint=hint
        )
    ends = unmixed["endmember"].to_numpy().astype(float)
    rows, cols = (unmixed["endmember"][dim].to_numpy().astype(float) for dim in dims[1:])
    if min(len(rows), len(cols)) < 2 * NEAR_ZERO + 3:
        raise RequestError("spectra too small for spots", came=f"{len(rows)} × {len(cols)}")
    axes, bins = (rows, cols), (float(rows[1] - rows[0]), float(cols[1] - cols[0]))
    magnitude = np.expm1(ends)
    row, col = np.meshgrid(rows / bins[0], cols / bins[1], indexing="ij")
    half = np.maximum(np.abs(row), np.abs(col)) > NEAR_ZERO + 0.5
    half &= (col > 0.5) | ((np.abs(col) < 0.5) & (row > 0))
    names = {
        "frequency_row": ("frequency along row", "1/px"),
        "frequency_col": ("frequency along col", "1/px"),
        "frequency_row_se": ("standard error of the frequency along row", "1/px"),
        "frequency_col_se": ("standard error of the frequency along col", "1/px"),
        "magnitude": ("|FFT|", "1"),
        "excess": ("|FFT| above the largest of the others", "1"),
    }
    table = np.full((len(names), len(ends), most), np.nan)
    for k in range(len(ends)):
        others = np.delete(magnitude, k, axis=0).max(axis=0, initial=0)
        excess = magnitude[k] - others
        # Local maxima above zero, one of each symmetric pair, the highest first.
        top = (excess == maximum_filter(excess, 3, mode="wrap")) & (excess > 0) & half
        strongest = np.argwhere(top)[np.argsort(-excess[top], kind="stable")[:most]]
        for n, peak in enumerate((int(row), int(col)) for row, col in strongest):
            offset, error = _vertex(ends[k], peak)
            at = [
                axis[i] + o * size
                for axis, size, i, o in zip(axes, bins, peak, offset, strict=True)
            ]
            errors = [size * e for size, e in zip(bins, error, strict=True)]
            table[:, k, n] = [*at, *errors, magnitude[k][peak], excess[peak]]
    columns: dict[str, Column] = {
        name: (("endmember", "spot"), values, label, units)
        for (name, (label, units)), values in zip(names.items(), table, strict=True)
    }
    kept = {name: unmixed.attrs[name] for name in ("image", "window") if name in unmixed.attrs}
    return xr.Dataset(labelled_variables(columns), attrs=kept)


def stripes(unmixed: xr.Dataset) -> xr.Dataset:
    """Direction and period of the stripes that distinguish each endmember from the others.

    They follow from the strongest of its :func:`spots`: the stripes of a spot k run perpendicular
    to it with period 1/|k|.

    Parameters
    ----------
    unmixed
        As in :func:`spots`.

    Returns
    -------
    Dataset
        (endmember): ``angle``, degrees in [0, 180) from the columns' axis towards the rows', and
        ``period``, px; each with ``…_se``.

    Examples
    --------
    >>> from latticescape import sliding_fft, unmix
    >>> row, col = np.indices((96, 64))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> ds = stripes(unmix(sliding_fft(waves, window=32)))
    >>> sorted((ds.angle.values.round() % 180).tolist()), ds.period.values.round().tolist()
    ([0.0, 90.0], [13.0, 13.0])
    """
    first = spots(unmixed, most=1).isel(spot=0)
    row, col = first["frequency_row"].to_numpy(), first["frequency_col"].to_numpy()
    row_se, col_se = first["frequency_row_se"].to_numpy(), first["frequency_col_se"].to_numpy()
    k = np.hypot(row, col)
    across = np.hypot(col * row_se, row * col_se) / k**2
    along = np.hypot(row * row_se, col * col_se) / k**3
    angle = np.rad2deg(np.arctan2(col, -row)) % 180
    columns: dict[str, Column] = {
        "angle": ("endmember", angle, "direction of the stripes", "degree"),
        "angle_se": ("endmember", np.rad2deg(across), "standard error of the direction", "degree"),
        "period": ("endmember", 1 / k, "distance of the stripes", "px"),
        "period_se": ("endmember", along, "standard error of the distance", "px"),
    }
    return xr.Dataset(labelled_variables(columns), attrs=first.attrs)


def _vertex(logs: Floats, peak: tuple[int, int]) -> tuple[Floats, Floats]:
    """Offset of a paraboloid's vertex from a bin, and its standard error, in bins."""
    around = np.arange(-1, 2)
    values = logs.take(peak[0] + around, axis=0, mode="wrap")
    values = values.take(peak[1] + around, axis=1, mode="wrap").ravel()
    r, c = (axis.ravel().astype(float) for axis in np.meshgrid(around, around, indexing="ij"))
    design = np.stack([np.ones(9), r, c, r * r / 2, c * c / 2, r * c], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ values
    curvature = np.array([[fitted[3], fitted[5]], [fitted[5], fitted[4]]])
    if np.linalg.eigvalsh(curvature).max() >= 0:
        return np.zeros(2), np.full(2, 0.5)
    offset = -np.linalg.solve(curvature, fitted[1:3])
    left = values - design @ fitted
    noise = float(left @ left) / (9 - 6)
    bend = np.array([[offset[0], 0, offset[1]], [0, offset[1], offset[0]]])
    slope = -np.linalg.solve(curvature, np.hstack([np.eye(2), bend]))
    spread = noise * slope @ inverse[1:, 1:] @ slope.T
    return np.clip(offset, -1, 1), np.sqrt(np.diag(spread) + SYSTEMATIC**2)


# Spots within this many bins of the centre come from the frame of the image, spots at higher
# frequencies (cycles per px) from its pixels.
NEAREST_BIN, HIGHEST_FREQUENCY = 3.5, 0.45

# Noise is estimated from the lowest quarter of the power in rings of a quarter octave, and, where
# the spectrum may fall steeply as that of blurred noise does, in rings of one bin.
QUARTILE, RINGS = 0.25, 4

# A second spot spans a lattice with the strongest one if its weight relative to it, the ratio of
# their frequencies and the sine of the angle between them lie within these bounds.
WEAKEST_PARTNER = 0.05
FREQUENCY_RATIOS = (0.5, 2.0)
LEAST_SINE = 0.34

# The lattice period is measured in this many pixels along each side, in the middle of the image.
MOST_PIXELS = 1024

# The first-order spot has the lowest frequency of those with at least this share of the largest
# weight.
WEAKEST_FIRST_ORDER = 0.25

# Spots of less than this share of the largest weight do not count as significant: where nearly all
# power is filtered out, what is left are rounding errors.
FAINTEST = 0.01

# A first-order spot has this many times the power of the noise: the strongest of a million bins
# of white noise, smoothed as here, reaches 3.
LEAST_STRENGTH = 3.5


@dataclass(frozen=True)
class LatticeSpots:
    """Local maxima of a power spectrum; one of each pair k and −k.

    Those that stand out of the noise at their own frequency by ``LEAST_STRENGTH`` come first, each
    part by descending weight: at low dose noise of high frequency has the larger weights.

    Attributes
    ----------
    vectors
        (spots, 2): frequencies along row and col, cycles per px.
    weights
        (spots,): power times frequency squared, the response of a Laplacian, so that slow changes
        of thickness do not count as a lattice.
    strengths
        (spots,): power over the mean power of the noise at the same frequency.
    """

    vectors: Floats
    weights: Floats
    strengths: Floats

    @property
    def frequencies(self) -> Floats:
        """(spots,): lengths of the vectors, cycles per px."""
        return np.asarray(np.hypot(*self.vectors.T), np.float64)

    @property
    def period(self) -> float:
        """Distance of the lattice planes of the strongest spot, px; NaN without spots."""
        return float(1 / self.frequencies[0]) if len(self.weights) else np.nan

    @property
    def pair_strength(self) -> float:
        """Strength of the weaker of the two strongest spots that span a lattice; 0 if none do."""
        if not len(self.weights):
            return 0.0
        (row, col), lengths = self.vectors[0], self.frequencies
        sine = np.abs(self.vectors[:, 0] * col - self.vectors[:, 1] * row) / (lengths * lengths[0])
        ratio = lengths / lengths[0]
        partner = (sine > LEAST_SINE) & (ratio >= FREQUENCY_RATIOS[0])
        partner &= ratio <= FREQUENCY_RATIOS[1]
        partner &= self.weights >= WEAKEST_PARTNER * self.weights[0]
        return float(min(self.strengths[0], self.strengths[partner][0])) if partner.any() else 0.0


def lattice_spots(values: Floats) -> LatticeSpots:
    """Find the spots of an image in its power spectrum.

    The spectrum is taken under a Hann taper and smoothed over one bin.

    Parameters
    ----------
    values
        (row, col), finite.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(128) / 16)
    >>> spots = lattice_spots(np.add.outer(wave, wave))
    >>> spots.frequencies[:2].round(4).tolist(), round(spots.period, 1)
    ([0.0625, 0.0625], 16.0)
    """
    taper = np.outer(*(np.hanning(length + 2)[1:-1] for length in values.shape))
    mean = (values * taper).sum() / taper.sum()
    power = np.abs(scipy.fft.fft2((values - mean) * taper, workers=1)) ** 2
    power = np.asarray(gaussian_filter(power, 1.0, mode="wrap"), np.float64)
    row, col = (np.fft.fftfreq(length) for length in values.shape)
    row, col = row[:, None], col[None, :]
    frequency = np.hypot(row, col)
    bins = frequency * min(power.shape)
    weight = power * frequency**2 * ((bins >= NEAREST_BIN) & (frequency <= HIGHEST_FREQUENCY))
    half = (row > 0) | ((row == 0) & (col > 0))
    peaks = (weight == maximum_filter(weight, 5, mode="wrap")) & half & (weight > 0)
    places = np.flatnonzero(peaks)
    octaves = np.maximum(np.log2(np.maximum(bins, 1.0)) * RINGS, 0)
    strengths, local = (
        power.flat[places] / _noise_power(power, bins, rings, bins.flat[places])
        for rings in (octaves, bins)
    )
    weights = weight.flat[places]
    significant = np.minimum(strengths, local) >= LEAST_STRENGTH
    significant &= weights >= FAINTEST * weights.max(initial=0.0)
    order = np.lexsort((-weights, ~significant))
    places, strengths = places[order], strengths[order]
    at = np.unravel_index(places, power.shape)
    return LatticeSpots(
        np.column_stack([row[at[0], 0], col[0, at[1]]]), weight.flat[places], strengths
    )


def _noise_power(power: Floats, bins: Floats, rings: Floats, at: Floats) -> Floats:
    """Mean power of the noise at distances ``at`` from the centre, in bins; the whole part of
    ``rings`` numbers the ring of each bin."""
    ring = rings.astype(np.int16)
    order = np.argsort(ring, axis=None, kind="stable")
    ends = np.searchsorted(ring.flat[order], np.arange(ring.max() + 2))
    parts = [order[a:b] for a, b in pairwise(ends) if b > a]
    level = np.array([np.quantile(power.flat[part], QUARTILE) for part in parts])
    middle = np.array([bins.flat[part].mean() for part in parts])
    # The power of noise is distributed exponentially.
    level = np.log(np.maximum(level / -np.log(1 - QUARTILE), 1e-300))
    return np.asarray(
        np.exp(np.interp(np.log(np.maximum(at, 1e-3)), np.log(np.maximum(middle, 1e-3)), level))
    )


def lattice_period(image: npt.ArrayLike) -> float:
    """Distance of the first-order lattice planes of an image.

    Of the spots with at least a quarter of the largest weight the one of the longest period counts.

    Parameters
    ----------
    image
        (row, col), any unit; only the middle 1024 × 1024 px are used.

    Returns
    -------
    float
        px.

    Raises
    ------
    RequestError
        If no spot stands out of the noise.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(128) / 16)
    >>> round(lattice_period(np.add.outer(wave, wave)), 1)
    16.0
    """
    values = np.asarray(image)
    middle = [slice(max(0, (n - MOST_PIXELS) // 2), (n + MOST_PIXELS) // 2) for n in values.shape]
    spots = lattice_spots(values[tuple(middle)].astype(np.float64))
    strong = spots.weights >= WEAKEST_FIRST_ORDER * spots.weights[:1].sum()
    strong &= spots.strengths >= min(LEAST_STRENGTH, spots.strengths[:1].sum())
    strong = np.flatnonzero(strong)
    first = strong[np.argsort(spots.frequencies[strong], kind="stable")[:1]]
    strength = float(spots.strengths[first].sum())
    if strength < LEAST_STRENGTH:
        problem = "no lattice found to choose the window by: the strongest spot of the spectrum is"
        problem = f"{problem} {strength:.1f} times the noise"
        allowed = f"{LEAST_STRENGTH:g} times or more"
        raise RequestError(problem, allowed=allowed, hint="--window 64, window=64 in Python")
    return float(1 / spots.frequencies[first[0]])
