"""Pixels of an image: which are usable, how noisy they are, and how their errors correlate."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage, optimize

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SMALLEST_FRAME = 16

# At least this share of the pixels must be usable.
FEWEST_USABLE = 0.5

# An image is clipped if its largest value occurs this many times as often as the values below it.
PILE_UP = 3.0

# A flat area, such as a margin or a scale bar, consists of squares of equal pixels of at least this
# side, larger than chance would make anywhere in the image, and has at least this many pixels, at
# the image's largest value this share of them: clipped tops of atoms are not flat areas.
FLAT = 7
LEAST_FLAT = 4 * FLAT**2
LEAST_SATURATED = 0.01

# Only the most frequent values of flat areas are looked for.
MOST_FLAT_VALUES = 8

# Pixels this near a flat area belong to it: the edge of a margin is blurred by resampling, px.
FLAT_EDGE = 2

# At least this share of the pixels must be left where flat areas are left out.
FEWEST_LEFT = 0.1

# A hot pixel exceeds all eight neighbours by this many standard deviations, and exceeds their mean
# by this many times as much as the brightest of them does.
HOT = 8.0
SHARP = 4.0

# Second difference along both axes; it vanishes for an image that is smooth over three pixels.
DIFFERENCE = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6

# Pixels are grouped by expected value into groups of equal size.
QUANTILES = np.linspace(0, 1, 17)[1:-1]

# A residual of this many standard deviations is an outlier, not noise.
OUTLIER = 6.0

# The number of squared residuals averaged before their median is taken.
SQUARES_PER_MEAN = 8

# The fitted parameters absorb at most this share of the noise.
MOST_FITTED = 0.35

# Smaller correlations may be due to the fit itself.
LEAST_CORRELATION = 0.05


@dataclass(frozen=True)
class Frame:
    """Grey values of an image and which pixels the fit may use.

    Attributes
    ----------
    values
        (row, col) float64, contiguous; a missing pixel holds the mean of those around it, a
        clipped pixel the value it was clipped at.
    usable
        (row, col): neither missing, flat, clipped nor hot.
    ceiling
        The value they are clipped at; infinite if none is.
    missing, flat, saturated, hot
        Shares of the pixels that are NaN or infinite, in a flat area, clipped, and hot.
    """

    values: Floats
    usable: Mask
    ceiling: float
    missing: float
    flat: float
    saturated: float
    hot: float = 0.0


def prepare_frame(image: xr.DataArray | npt.ArrayLike, sign: float = 1.0) -> Frame:
    """Check an image, and mark missing, flat and clipped pixels.

    Parameters
    ----------
    image
        (row, col), real.
    sign
        −1 for atoms that are dark: the values of the frame are those of the image times this.

    Raises
    ------
    RequestError
        If the image is not two-dimensional and real, or is small, blank or mostly missing.

    Examples
    --------
    >>> prepare_frame(np.arange(400.0).reshape(20, 20)).usable.all()
    np.True_
    """
    plane = np.asarray(image)
    if plane.ndim != 2 or plane.dtype.kind not in "biuf" or min(plane.shape) < SMALLEST_FRAME:
        allowed = f"two dimensions of at least {SMALLEST_FRAME} px"
        hint = "read_image(path), or image.mean(axis=-1) if its colours are grey"
        came = f"{plane.dtype} of shape {plane.shape}"
        raise RequestError(
            "an image is a plane of real numbers", came=came, allowed=allowed, hint=hint
        )
    values = np.ascontiguousarray(sign * plane.astype(np.float64))
    finite = np.isfinite(values)
    _check_share(finite, "missing (NaN or infinite)")
    levels, counts = np.unique(values[finite], return_counts=True)
    if np.ptp(levels) <= 1e-12 * np.abs(levels).max():
        raise RequestError("the image is blank: all its pixels are equal", came=float(levels[0]))
    flat = flat_areas(values, finite)
    known = finite & ~flat
    if known.mean() < FEWEST_LEFT:
        raise RequestError(
            "most of the image is flat (margins, or areas of equal pixels)",
            came=f"{flat.mean():.0%} of the pixels",
            allowed=f"at most {1 - FEWEST_LEFT:.0%}",
            hint="the part of the image that shows atoms",
        )
    levels, counts = np.unique(values[known], return_counts=True)
    below = counts[-6:-1]
    piled_up = counts[-1] >= 10 and (not len(below) or counts[-1] > PILE_UP * below.mean())
    clipped = known & (values == levels[-1]) & piled_up
    _check_share(~clipped, "saturated (all at the image's largest value)")
    return Frame(
        _fill_missing(values, known),
        known & ~clipped,
        float(levels[-1]) if piled_up else np.inf,
        missing=float(1 - finite.mean()),
        flat=float(flat.mean()),
        saturated=float(clipped.mean()),
    )


def fill_left_out(image: xr.DataArray) -> xr.DataArray:
    """Fill missing and hot pixels and flat areas with the mean of those around them.

    Parameters
    ----------
    image
        (row, col), real.

    Returns
    -------
    DataArray
        float64, without NaN; the coordinate ``left_out`` (row, col) marks the pixels that were
        filled.

    Raises
    ------
    RequestError
        As :func:`prepare_frame`.

    Examples
    --------
    >>> image = xr.DataArray(np.random.default_rng(1).normal(size=(64, 64)), dims=("row", "col"))
    >>> image[:, :8] = np.nan
    >>> filled = fill_left_out(image)
    >>> bool(filled.isnull().any()), int(filled.left_out.sum())
    (False, 512)
    """
    frame = mask_hot_pixels(prepare_frame(image))
    filled = ~frame.usable & (frame.values < frame.ceiling)
    return image.copy(data=frame.values).assign_coords(left_out=(image.dims, filled))


def flat_areas(image: npt.NDArray[Any], finite: Mask) -> Mask:
    """Margins, scale bars and other large areas of equal pixels, (row, col).

    Areas of rare counts, where most pixels are 0, and clipped tops of atoms are left in.

    Parameters
    ----------
    image
        (row, col), real.
    finite
        (row, col): the pixels that are neither NaN nor infinite.

    Examples
    --------
    >>> image = np.random.default_rng(1).normal(size=(64, 64))
    >>> image[:, :20] = 3.0
    >>> areas = flat_areas(image, np.isfinite(image))
    >>> int(areas[:, :20].sum()), int(areas[:, 24:].sum())
    (1280, 0)
    """
    equal = ndimage.maximum_filter(image, FLAT) == ndimage.minimum_filter(image, FLAT)
    equal &= ndimage.binary_erosion(finite, np.ones((FLAT, FLAT), np.bool_), border_value=1)
    values, counts = np.unique(image[equal], return_counts=True)
    flat = np.zeros(image.shape, np.bool_)
    for value in values[np.argsort(-counts, kind="stable")[:MOST_FLAT_VALUES]]:
        same = image == value
        # The chance of this value, from pixels next to another one.
        after = same[:, 1:][~same[:, :-1]]
        share = float(after.mean()) if after.size else 0.0
        if share == 1:
            continue
        by_chance = np.log(image.size) / -np.log(max(share, 1e-300))
        side = max(FLAT, int(np.ceil(np.sqrt(by_chance))))
        areas, number = ndimage.label(
            ndimage.maximum_filter(ndimage.minimum_filter(same, side), side) & same
        )
        saturated = value == image[finite].max()
        least = max(LEAST_FLAT, LEAST_SATURATED * image.size if saturated else 0)
        large = np.bincount(areas.ravel(), minlength=number + 1) >= least
        large[0] = False
        flat |= large[areas]
    return np.asarray(ndimage.binary_dilation(flat, iterations=FLAT_EDGE), np.bool_)


def mask_hot_pixels(frame: Frame) -> Frame:
    """Mark single bright or dark pixels, sharper than any resolved peak, as not usable."""
    values = frame.values
    around = np.pad(values, 1, mode="edge")
    rows, cols = values.shape
    ring = np.array(
        [around[y : y + rows, x : x + cols] for y, x in np.ndindex(3, 3) if (y, x) != (1, 1)]
    )
    highest, lowest, mean = ring.max(axis=0), ring.min(axis=0), ring.mean(axis=0)
    # Where counts are rare all eight neighbours may be 0.
    level = np.maximum(mean, values[frame.usable].mean())
    noise = np.sqrt(estimate_noise(values, frame.usable).variance(level))
    bright = (values - highest > HOT * noise) & (values - mean > SHARP * (highest - mean))
    dark = (lowest - values > HOT * noise) & (mean - values > SHARP * (mean - lowest))
    hot = frame.usable & (bright | dark)
    filled = np.where(hot, mean, values)
    usable = frame.usable & ~hot
    return replace(frame, values=np.ascontiguousarray(filled), usable=usable, hot=float(hot.mean()))


def _check_share(good: Mask, fault: str) -> None:
    if good.mean() < FEWEST_USABLE:
        came, allowed = f"{1 - good.mean():.0%} of the pixels", f"at most {1 - FEWEST_USABLE:.0%}"
        raise RequestError(f"most of the image is {fault}", came=came, allowed=allowed)


def _fill_missing(values: Floats, finite: Mask) -> Floats:
    """Fill missing pixels with the mean of those around them, in growing circles."""
    filled = np.where(finite, values, 0.0)
    width = 1.0
    while not finite.all():
        weight = ndimage.gaussian_filter(finite.astype(float), width)
        mean = ndimage.gaussian_filter(filled, width)
        new = ~finite & (weight > 0.01)
        filled[new] = mean[new] / weight[new]
        finite = finite | new
        width *= 2
    return filled


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel as a linear function of its expected value.

    Attributes
    ----------
    floor
        Variance at the value 0, grey values squared.
    gain
        Grey values per detected electron, if counting causes the noise.
    """

    floor: float
    gain: float

    def variance(self, mean: Floats) -> Floats:
        """Variance of pixels with these expected values, at least a thousandth of its mean."""
        line = self.floor + self.gain * mean
        return np.asarray(np.maximum(line, max(1e-3 * float(line.mean()), 1e-300)), np.float64)


def fit_noise(residual: Floats, mean: Floats, usable: Mask, parameters: int = 0) -> Noise:
    """Fit variance = floor + gain · mean to squared residuals grouped by the expected value.

    Parameters
    ----------
    residual, mean
        (row, col): measured less expected value, and expected value of each pixel.
    usable
        The pixels that count.
    parameters
        Number of parameters fitted to these pixels, which makes the residuals smaller.
    """
    squares, means = residual[usable] ** 2, mean[usable]
    edges = np.unique(np.quantile(means[:: max(1, len(means) // 10_000)], QUANTILES))
    group = np.searchsorted(edges, means)
    groups = [group == g for g in np.unique(group)]
    level = np.array([means[part].mean() for part in groups])
    variance = np.array([_trimmed_mean(squares[part]) for part in groups])
    sizes = np.array([part.sum() for part in groups])
    weight = np.sqrt(sizes) / np.maximum(variance, 1e-3 * variance.max() + 1e-300)
    low = min(float(level.min()), 0.0)
    design = np.column_stack([np.ones_like(level), level - low]) * weight[:, None]
    (floor, gain), _ = optimize.nnls(design, variance * weight)
    inflation = len(means) / max(len(means) - parameters, len(means) / 4)
    return Noise((floor - gain * low) * inflation, gain * inflation)


def estimate_noise(values: Floats, usable: Mask) -> Noise:
    """Estimate the noise of an image from differences of neighbouring pixels, without a fit."""
    difference = ndimage.convolve(values, DIFFERENCE, mode="reflect")
    mean = ndimage.gaussian_filter(values, 1.0)
    return fit_noise(difference, mean, ndimage.binary_erosion(usable, np.ones((3, 3), np.bool_)))


def _trimmed_mean(squares: Floats) -> float:
    """Mean square without outliers.

    It starts from the median of means of eight: where counts are rare most squares are equal and
    small, and with their median as the scale the counts themselves would be outliers.
    """
    few = squares[: len(squares) // SQUARES_PER_MEAN * SQUARES_PER_MEAN]
    few = few.reshape(-1, SQUARES_PER_MEAN).mean(axis=1)
    mean = float(np.median(few)) if len(few) else float(squares.mean())
    for _ in range(3):
        kept = squares[squares <= OUTLIER**2 * max(mean, 1e-300)]
        mean = float(kept.mean()) if len(kept) else mean
    return mean


@dataclass(frozen=True)
class ErrorInflation:
    """Factors on the standard errors that hold for white noise.

    ``height_in_residuals`` is the factor of the height as the residuals show it, without the
    correction for noise that the fit has absorbed.
    """

    row: float
    col: float
    height: float
    height_in_residuals: float


def error_inflation(residual: Floats, sigma: float, parameters: int = 0) -> ErrorInflation:
    """Factors on standard errors due to the correlation of neighbouring pixels' noise.

    The variance of Σ t·z with a template t is Σ_l ρ(l) (t⋆t)(l) for noise z of correlation ρ: for a
    Gaussian t⋆t is exp(−l²/4σ²), for its derivative by row (1 − l_row²/2σ²) times that.

    Parameters
    ----------
    residual
        (row, col): residuals in standard deviations; 0 where there is none.
    sigma
        Standard deviation of the Gaussians, px.
    parameters
        How many were fitted to them. Noise that is correlated over κ² pixels has only N/κ²
        independent ones, and the fit absorbs about the share f = parameters · κ²/N of it: variance
        and correlation of the residuals are too small. κ² is taken as its value in the residuals
        over (1 − f)⁴; the power comes from synthetic images smoothed by 0.6 to 2 px.

    Examples
    --------
    >>> factors = error_inflation(np.random.default_rng(1).standard_normal((99, 99)), 3.0)
    >>> factors.row, factors.height
    (1.0, 1.0)
    """
    if max(_correlation(residual, 0, 1), _correlation(residual, 1, 0)) < 2 * LEAST_CORRELATION:
        return ErrorInflation(1.0, 1.0, 1.0, 1.0)
    reach = min(max(2, round(3 * sigma)), min(residual.shape) // 4)
    total = np.zeros(3)
    for row in range(-reach, reach + 1):
        for col in range(reach + 1):
            rho = _correlation(residual, row, col)
            if rho < LEAST_CORRELATION:
                continue
            twice = 2 if col else 1
            bell = twice * rho * np.exp(-(row**2 + col**2) / (4 * sigma**2))
            slopes = 1 - np.array([row, col, 0]) ** 2 / (2 * sigma**2)
            total += bell * slopes
    share = parameters / max(int(np.count_nonzero(residual)), 1)
    squares = np.maximum(total, 1.0)
    row_factor, col_factor, height = (
        float(np.sqrt(square) / (1 - min(share * square, MOST_FITTED)) ** 2) for square in squares
    )
    return ErrorInflation(row_factor, col_factor, height, float(np.sqrt(squares[2])))


def _correlation(residual: Floats, row: int, col: int) -> float:
    """Correlation of pixels this many rows and columns from each other."""
    rows, cols = residual.shape
    first = residual[max(0, -row) : rows - max(0, row), : cols - col]
    second = residual[max(0, row) : rows - max(0, -row), col:]
    both = (first != 0) & (second != 0)
    products = np.vdot(first, second)
    scale = np.sqrt(np.vdot(first * both, first) * np.vdot(second * both, second))
    return float(products / max(scale, 1e-300))
