"""The noise of an image, from the image: variance = floor + gain · mean."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

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
