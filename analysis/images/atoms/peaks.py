"""Candidates for atoms: maxima of an image's Laplacian of Gaussian that stand above the noise."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def find_peaks(
    values: Floats, variance: Floats, sigma: float, threshold: float
) -> tuple[Floats, Floats]:
    """Maxima of the matched filter of a bright spot on an unknown smooth background.

    The filter is the negative Laplacian of a Gaussian, which answers to neither a constant nor a
    slope; what it answers is told in standard deviations of what white noise of the variance
    given would make it answer.

    Parameters
    ----------
    values, variance
        (row, col): grey values and the variance of each.
    sigma
        Of the Gaussian, px.
    threshold
        Smallest answer, in standard deviations.

    Returns
    -------
    places, answers
        (peaks, 2) whole pixels and (peaks,), from the strongest to the weakest.
    """
    answer = answers(values, variance, sigma)
    size = 2 * max(1, round(sigma)) + 1
    peak = (answer == ndimage.maximum_filter(answer, size)) & (answer >= threshold)
    places = np.argwhere(peak).astype(np.float64)
    strength = answer[peak]
    order = np.argsort(-strength, kind="stable")
    return places[order], strength[order]


def answers(values: Floats, variance: Floats, sigma: float) -> Floats:
    """The filter's answer at each pixel, in standard deviations of white noise."""
    answer = -ndimage.gaussian_laplace(values, sigma, mode="reflect")
    # ∫ (∇²G)² = 1 / (2π σ⁶)
    spread = np.sqrt(ndimage.gaussian_filter(variance, sigma) / (2 * np.pi)) / sigma**3
    told: Floats = answer / spread
    return told
