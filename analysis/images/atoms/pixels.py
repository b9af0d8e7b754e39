"""Pixels of an image: which are usable, how noisy they are, and how their errors correlate."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage, optimize

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# A second difference along both axes: what is smooth over three pixels does not show in it.
DIFFERENCE = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6

# Pixels are grouped by their expected values, as many in each group.
STEPS = np.linspace(0, 1, 17)[1:-1]

# A residual this many standard deviations large is no noise.
OUTLIER = 6.0


# Squares are first averaged by so many.
FEW = 8


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel as a line in its expected value.

    Attributes
    ----------
    floor
        Variance at the value 0, grey values squared.
    gain
        Grey values a detected electron, if these are what makes the noise.
    """

    floor: float
    gain: float

    def variance(self, mean: Floats) -> Floats:
        """Of pixels with these expected values; never below a thousandth of its mean."""
        line = self.floor + self.gain * mean
        variance: Floats = np.maximum(line, max(1e-3 * float(line.mean()), 1e-300))
        return variance


def noise_of(residual: Floats, mean: Floats, usable: Mask, parameters: int = 0) -> Noise:
    """Fit the line to squared residuals, grouped by the expected value.

    Parameters
    ----------
    residual, mean
        What a pixel has more than was expected, and what was expected.
    usable
        The pixels that count.
    parameters
        Number of parameters that were fitted to these pixels: the residuals are as much smaller.
    """
    squares, means = residual[usable] ** 2, mean[usable]
    edges = np.unique(np.quantile(means[:: max(1, len(means) // 10_000)], STEPS))
    group = np.searchsorted(edges, means)
    groups = [group == g for g in np.unique(group)]
    level = np.array([means[part].mean() for part in groups])
    variance = np.array([_trimmed(squares[part]) for part in groups])
    sizes = np.array([part.sum() for part in groups])
    weight = np.sqrt(sizes) / np.maximum(variance, 1e-3 * variance.max() + 1e-300)
    low = min(float(level.min()), 0.0)
    design = np.column_stack([np.ones_like(level), level - low]) * weight[:, None]
    (floor, gain), _ = optimize.nnls(design, variance * weight)
    lost = len(means) / max(len(means) - parameters, len(means) / 4)
    return Noise((floor - gain * low) * lost, gain * lost)


def pixel_noise(values: Floats, usable: Mask) -> Noise:
    """Noise before anything is fitted: from differences of neighbouring pixels."""
    difference = ndimage.convolve(values, DIFFERENCE, mode="reflect")
    mean = ndimage.gaussian_filter(values, 1.0)
    return noise_of(difference, mean, ndimage.binary_erosion(usable, np.ones((3, 3), np.bool_)))


def _trimmed(squares: Floats) -> float:
    """The mean square without outliers.

    It starts from the median of means of a few: where counts are rare most squares are alike and
    small, and their own median would make outliers of the counts themselves.
    """
    few = squares[: len(squares) // FEW * FEW].reshape(-1, FEW).mean(axis=1)
    mean = float(np.median(few)) if len(few) else float(squares.mean())
    for _ in range(3):
        kept = squares[squares <= OUTLIER**2 * max(mean, 1e-300)]
        mean = float(kept.mean()) if len(kept) else mean
    return mean


# At most this share of what the noise does is taken to have gone into the fitted parameters.
MOST_FITTED = 0.35

# A correlation this small is not told from the parameters' having been fitted.
LEAST = 0.05


@dataclass(frozen=True)
class Inflation:
    """Factors on the standard errors that hold for white noise.

    ``seen`` is that of the height before what went into the fit is put back.
    """

    row: float
    col: float
    height: float
    seen: float


def inflation(residual: Floats, sigma: float, parameters: int = 0) -> Inflation:
    """Factors for Gaussians of this standard deviation (px), from normalized residuals.

    The variance of Σ t·z with a template t is Σ_l ρ(l) (t⋆t)(l) for noise z of correlation ρ: for a
    Gaussian t⋆t is exp(−l²/4σ²), for its derivative by row (1 − l_row²/2σ²) times that.

    Parameters
    ----------
    residual
        (row, col): residuals in standard deviations; 0 where there is none.
    parameters
        How many were fitted to them. Noise that is alike over κ² pixels has only N/κ² independent
        ones, and about the share f = parameters · κ²/N of it goes into the fit: variance and
        correlation of the residuals are too small. κ² is taken as what is seen over (1 − f)⁴; the
        power is read off drawn images, smoothed by 0.6 to 2 px.

    Examples
    --------
    >>> inflation(np.random.default_rng(1).standard_normal((99, 99)), 3.0)
    Inflation(row=1.0, col=1.0, height=1.0, seen=1.0)
    """
    if max(_correlation(residual, 0, 1), _correlation(residual, 1, 0)) < 2 * LEAST:
        return Inflation(1.0, 1.0, 1.0, 1.0)
    far = min(max(2, round(3 * sigma)), min(residual.shape) // 4)
    total = np.zeros(3)
    for row in range(-far, far + 1):
        for col in range(far + 1):
            rho = _correlation(residual, row, col)
            if rho < LEAST:
                continue
            twice = 2 if col else 1
            bell = twice * rho * np.exp(-(row**2 + col**2) / (4 * sigma**2))
            slopes = 1 - np.array([row, col, 0]) ** 2 / (2 * sigma**2)
            total += bell * slopes
    share = parameters / max(int(np.count_nonzero(residual)), 1)
    squares = np.maximum(total, 1.0)
    along, across, height = (_unfitted(square, share) for square in squares)
    return Inflation(along, across, height, seen=float(np.sqrt(squares[2])))


def _unfitted(seen: float, share: float) -> float:
    """The factor κ, from κ² as it is seen in residuals of a fit."""
    return float(np.sqrt(seen) / (1 - min(share * seen, MOST_FITTED)) ** 2)


def _correlation(residual: Floats, row: int, col: int) -> float:
    """Of pixels so far apart."""
    rows, cols = residual.shape
    first = residual[max(0, -row) : rows - max(0, row), : cols - col]
    second = residual[max(0, row) : rows - max(0, -row), col:]
    both = (first != 0) & (second != 0)
    products = np.vdot(first, second)
    scale = np.sqrt(np.vdot(first * both, first) * np.vdot(second * both, second))
    return float(products / max(scale, 1e-300))


SMALLEST_FRAME = 16

# Of the pixels at least so many must be usable.
FEWEST_USABLE = 0.5

# An image is clipped if its largest value comes so many times as often as the values just below.
PILE_UP = 3.0

# A hot pixel stands so many standard deviations above all eight around it, and so many times as far
# above their mean as the brightest of them.
HOT = 8.0
SHARP = 4.0


@dataclass(frozen=True)
class Exposure:
    """Grey values of a frame.

    Attributes
    ----------
    values
        (row, col) float64, contiguous; unusable pixels hold the mean of those around them, or the
        value they were clipped at.
    usable
        (row, col): neither missing nor clipped.
    saturated
        Share of the pixels that are clipped.
    ceiling
        The value they are clipped at; infinite if none is.
    """

    values: Floats
    usable: Mask
    saturated: float
    ceiling: float


def exposure(image: xr.DataArray | npt.ArrayLike) -> Exposure:
    """Check an image and mark its pixels.

    Raises
    ------
    RequestError
        If it is no plane of real numbers, is small, blank, or mostly missing.

    Examples
    --------
    >>> exposure(np.arange(400.0).reshape(20, 20)).usable.all()
    np.True_
    """
    values = _plane(image)
    finite = np.isfinite(values)
    _check_share(finite, "missing (NaN or infinite)")
    if np.ptp(values[finite]) <= 1e-12 * np.abs(values[finite]).max():
        raise RequestError(
            "the image is blank: all its pixels are the same", came=float(values[finite].flat[0])
        )
    clipped = _clipped(values, finite)
    _check_share(~clipped, "saturated (all at the image's largest value)")
    ceiling = float(values[clipped].max(initial=-np.inf)) if clipped.any() else np.inf
    return Exposure(_filled(values, finite), finite & ~clipped, float(clipped.mean()), ceiling)


def without_hot_pixels(frame: Exposure) -> Exposure:
    """With single bright pixels, sharper than any resolved peak, not usable."""
    values = frame.values
    around = np.pad(values, 1, mode="edge")
    rows, cols = values.shape
    ring = np.array(
        [around[y : y + rows, x : x + cols] for y, x in np.ndindex(3, 3) if (y, x) != (1, 1)]
    )
    highest, mean = ring.max(axis=0), ring.mean(axis=0)
    # Where counts are rare the eight around one may all be 0.
    level = np.maximum(mean, values[frame.usable].mean())
    noise = np.sqrt(pixel_noise(values, frame.usable).variance(level))
    hot = frame.usable & (values - highest > HOT * noise)
    hot &= values - mean > SHARP * (highest - mean)
    filled = np.where(hot, mean, values)
    return replace(frame, values=np.ascontiguousarray(filled), usable=frame.usable & ~hot)


def _plane(image: xr.DataArray | npt.ArrayLike) -> Floats:
    values = np.asarray(image)
    if values.ndim != 2 or values.dtype.kind not in "biuf" or min(values.shape) < SMALLEST_FRAME:
        raise RequestError(
            "an image is a plane of real numbers",
            came=f"{values.dtype} of shape {values.shape}",
            allowed=f"two dimensions of at least {SMALLEST_FRAME} px",
            hint="read_image(path), or image.mean(axis=-1) for colours that are grey",
        )
    return np.ascontiguousarray(values, np.float64)


def _check_share(good: Mask, fault: str) -> None:
    if good.mean() < FEWEST_USABLE:
        raise RequestError(
            f"most of the image is {fault}",
            came=f"{1 - good.mean():.0%} of the pixels",
            allowed=f"at most {1 - FEWEST_USABLE:.0%}",
        )


def _clipped(values: Floats, finite: Mask) -> Mask:
    """Pixels at the largest value, if they pile up there."""
    levels, counts = np.unique(values[finite], return_counts=True)
    below = counts[-6:-1]
    clipped = counts[-1] >= 10 and (not len(below) or counts[-1] > PILE_UP * below.mean())
    top: Mask = finite & (values == levels[-1])
    return top if clipped else np.zeros_like(finite)


def _filled(values: Floats, finite: Mask) -> Floats:
    """Missing pixels as the mean of those around them, from near to far."""
    known = np.where(finite, values, 0.0)
    width = 1.0
    while not finite.all():
        weight = ndimage.gaussian_filter(finite.astype(float), width)
        mean = ndimage.gaussian_filter(known, width)
        new = ~finite & (weight > 0.01)
        known[new] = mean[new] / weight[new]
        finite = finite | new
        width *= 2
    return known
