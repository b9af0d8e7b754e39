"""An image as it is measured: grey values, and which of its pixels tell anything."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from latticescape.analysis.images.atoms.noise import pixel_noise
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

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
