"""By how much errors grow because neighbouring pixels err alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

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
