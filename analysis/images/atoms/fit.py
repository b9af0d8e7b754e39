"""Fit all atoms of an image at once: Gaussians, the levels of their cells, a smooth background.

Pixels are weighted by the inverse of their variance, which follows their expected value
(:class:`pixels.Noise`): for counts these are the equations of Poisson's maximum likelihood.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import linalg
from scipy.spatial import cKDTree

from latticescape.analysis.images.atoms.gaussians import (
    COL,
    HEIGHT,
    LEVEL,
    LOG_SIGMA,
    PARAMETERS,
    ROW,
    SLOPE_REACH,
    assign_cells,
    draw_atoms,
    gradients,
    information,
    local_covariances,
)
from latticescape.analysis.images.atoms.pixels import Frame, Noise, fit_noise
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Atoms are fitted as neighbours up to this many standard deviations from each other, where the
# product of their Gaussians is 6e-3 of its value at distance 0.
NEIGHBOURS = 4.5

# A step of the fit moves an atom by at most this many standard deviations of its Gaussian, and
# changes the logarithm of its width by at most this much.
LONGEST = 0.4

# No Gaussian is wider or narrower than the others by more than this factor.
WIDEST = 2.0

# Prior standard deviation of a height, in typical heights, where pixels do not determine it.
FREE = 10.0

# A step that increases the cost is divided by four at most this many times, then dropped.
SHORTENED = 4

# Noise seldom clips a pixel this many standard deviations below the ceiling of a saturated image.
CLIPPED = 2.0

# Most iterations of conjugate gradients in a step.
MOST_ITERATIONS = 40

# Largest scatter of the logarithm of the widths, and its value before it is known.
WIDTHS = 0.2


@dataclass(frozen=True)
class Fit:
    """The state of a fit.

    Attributes
    ----------
    atoms
        (atoms, 5) as in :mod:`gaussians`.
    smooth
        (row, col): the background.
    noise
        Of a pixel.
    sigma, widths
        Median standard deviation of the Gaussians, px, and the scatter of its logarithm.
    levels
        Scatter of the cells' levels about the smooth background.
    cell
        Radius of a cell, px.
    """

    atoms: Floats
    smooth: Floats
    noise: Noise
    sigma: float
    widths: float
    levels: float
    cell: float


@dataclass(frozen=True)
class Overlaps:
    """Atoms whose squares overlap: those of atom i are ``others[starts[i]:starts[i + 1]]``.

    ``near`` marks those whose parameters count as unknown in the errors of atom i; ``mates`` is
    the position at which the same pair occurs in reverse.
    """

    starts: Integers
    others: Integers
    near: Mask
    mates: Integers


@dataclass(frozen=True)
class Information:
    """Blocks of Fisher's information matrix, priors included."""

    blocks: Floats
    mixed: Floats


@dataclass(frozen=True)
class Pixels:
    """A fit seen at each pixel: its atom (−1 for none), expected value, weight and residual.

    Weight and residual are 0 where a pixel is not used.
    """

    owner: Integers
    model: Floats
    weight: Floats
    residual: Floats


def refine(fit: Fit, frame: Frame, steps: int) -> Fit:
    """Take Gauss-Newton steps of all atoms at fixed noise; shorten those that increase the cost.

    Raises
    ------
    RequestError
        If the steps diverge, as of spots that are no atoms.
    """
    overlaps = find_overlaps(fit)
    pixels = evaluate_pixels(fit, frame)
    for _ in range(steps):
        known = _information(fit, pixels, overlaps)
        if not np.isfinite(known.blocks).all():
            raise _diverged(fit)
        step = _newton_step(fit, known, pixels, overlaps)
        if not np.isfinite(step).all():
            raise _diverged(fit)
        cost = _cost(fit, pixels, pixels.weight)
        for _ in range(SHORTENED):
            candidate = _moved(fit, step)
            after = evaluate_pixels(candidate, frame)
            if _cost(candidate, after, pixels.weight) <= cost:
                fit, pixels = candidate, after
                break
            step = step / 4
    return fit


def _diverged(fit: Fit) -> RequestError:
    return RequestError(
        "the fit of the atoms diverges",
        came=f"{len(fit.atoms)} spots that are no Gaussians on a smooth background",
        allowed="an image of separate atoms",
        hint="the part of the image that shows atoms, or their spacing in pixels",
    )


def _cost(fit: Fit, pixels: Pixels, weight: Floats) -> float:
    """Weighted squares of the residuals plus those of the priors."""
    priors = ((fit.atoms[:, LOG_SIGMA] - np.log(fit.sigma)) / fit.widths) ** 2
    priors += (fit.atoms[:, LEVEL] / fit.levels) ** 2
    return float(np.sum(weight * pixels.residual**2) + np.sum(priors))


def _newton_step(fit: Fit, known: Information, pixels: Pixels, overlaps: Overlaps) -> Floats:
    """Solve the equations of all atoms, (atoms, 5), by preconditioned conjugate gradients."""
    gradient = np.empty((len(fit.atoms), PARAMETERS))
    gradients(fit.atoms, pixels.owner, pixels.weight, pixels.residual, fit.cell, gradient)
    gradient[:, LOG_SIGMA] += (np.log(fit.sigma) - fit.atoms[:, LOG_SIGMA]) / fit.widths**2
    gradient[:, LEVEL] -= fit.atoms[:, LEVEL] / fit.levels**2
    count = len(fit.atoms)
    size = (PARAMETERS * count, PARAMETERS * count)
    pairs = sparse.bsr_array((known.mixed, overlaps.others, overlaps.starts), shape=size)
    priors = np.zeros(PARAMETERS)
    priors[[LOG_SIGMA, LEVEL]] = fit.widths**-2, fit.levels**-2
    try:
        inverse = inverse_blocks(known.blocks)
    except np.linalg.LinAlgError:
        raise _diverged(fit) from None

    def information_times(vector: Floats) -> Floats:
        each = vector.reshape(count, PARAMETERS)
        own = np.einsum("nij,nj->ni", known.blocks, each)
        # Priors hold an atom to the mean of the others, not all of them in place.
        own -= priors * each.mean(axis=0)
        return np.asarray(own.ravel() + pairs @ vector, np.float64)

    def precondition(vector: Floats) -> Floats:
        each = np.einsum("nij,nj->ni", inverse, vector.reshape(count, PARAMETERS))
        return np.asarray(each.ravel(), np.float64)

    step, _ = linalg.cg(
        linalg.LinearOperator(size, information_times, dtype=np.float64),
        gradient.ravel(),
        rtol=0.01,
        maxiter=MOST_ITERATIONS,
        M=linalg.LinearOperator(size, precondition, dtype=np.float64),
    )
    return np.asarray(step, np.float64).reshape(count, PARAMETERS)


def covariances(fit: Fit, frame: Frame) -> Floats:
    """(atoms, 5, 5): of each atom's parameters, with those of its neighbours unknown as well."""
    overlaps = find_overlaps(fit)
    known = _information(fit, evaluate_pixels(fit, frame), overlaps)
    covariance = np.empty((len(fit.atoms), PARAMETERS**2))
    local_covariances(
        overlaps.starts, overlaps.others, overlaps.near, known.blocks, known.mixed, covariance
    )
    return covariance.reshape(-1, PARAMETERS, PARAMETERS)


def conditional_errors(fit: Fit, frame: Frame) -> Floats:
    """(atoms, 5): standard errors if all other atoms were known; fast to compute."""
    empty = np.empty(0, np.int64)
    no_overlaps = Overlaps(np.zeros(len(fit.atoms) + 1, np.int64), empty, empty > 0, empty)
    blocks = _information(fit, evaluate_pixels(fit, frame), no_overlaps).blocks
    variances = np.diagonal(inverse_blocks(blocks), axis1=1, axis2=2)
    known = np.diagonal(blocks, axis1=1, axis2=2) > 0
    errors: Floats = np.where(known, np.sqrt(np.maximum(variances, 0)), np.inf)
    return errors


def inverse_blocks(blocks: Floats) -> Floats:
    """Inverses of blocks of information, (atoms, 5, 5); 0 along what no pixel tells of an atom.

    Examples
    --------
    >>> inverse_blocks(np.array([np.diag([4.0, 0.0])])).tolist()
    [[[0.25, 0.0], [0.0, 0.0]]]
    """
    try:
        return np.asarray(np.linalg.inv(blocks), np.float64)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(blocks, hermitian=True), np.float64)


def find_overlaps(fit: Fit) -> Overlaps:
    """Pairs of atoms whose squares overlap."""
    places = fit.atoms[:, :2]
    pairs = cKDTree(places).query_pairs(_square_side(fit), p=np.inf, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    mates = np.empty(len(both), np.int64)
    mates[np.lexsort((both[:, 0], both[:, 1]))] = np.arange(len(both))
    starts = np.searchsorted(both[:, 0], np.arange(len(places) + 1)).astype(np.int64)
    distances = np.linalg.norm(places[both[:, 0]] - places[both[:, 1]], axis=1)
    near = distances < NEIGHBOURS * fit.sigma
    return Overlaps(starts, np.ascontiguousarray(both[:, 1]), near, mates)


def _square_side(fit: Fit) -> int:
    """Width of a square that holds any atom and its cell, an odd number of px."""
    reach = max(SLOPE_REACH * float(np.exp(fit.atoms[:, LOG_SIGMA].max())), fit.cell)
    return 2 * int(reach + 2) + 1


def evaluate_pixels(fit: Fit, frame: Frame) -> Pixels:
    """Draw the fit, and compare it with the frame.

    A pixel is used if it is near an atom, usable, and not expected so high that noise might clip
    it: if only clipped pixels were left out, those that noise spared would look too dark.
    """
    owner = np.empty(fit.smooth.shape, np.int64)
    assign_cells(fit.atoms, np.full(len(fit.atoms), fit.cell), owner)
    model = fit.smooth.copy()
    draw_atoms(fit.atoms, owner, model)
    used = (owner >= 0) & frame.usable
    variance = fit.noise.variance(model)
    if np.isfinite(frame.ceiling):
        used &= model + CLIPPED * np.sqrt(variance) < frame.ceiling
    weight = np.where(used, 1 / variance, 0.0)
    return Pixels(owner, model, weight, np.where(used, frame.values - model, 0.0))


def _information(fit: Fit, pixels: Pixels, overlaps: Overlaps) -> Information:
    blocks = np.empty((len(fit.atoms), PARAMETERS, PARAMETERS))
    mixed = np.empty((len(overlaps.others), PARAMETERS, PARAMETERS))
    information(
        fit.atoms,
        _square_side(fit),
        fit.cell,
        pixels.owner,
        pixels.weight,
        overlaps.starts,
        overlaps.others,
        overlaps.mates,
        blocks,
        mixed,
    )
    free = FREE * float(np.median(np.abs(fit.atoms[:, HEIGHT])))
    scatter = np.array([fit.sigma, fit.sigma, free, fit.widths, fit.levels])
    diagonal = np.arange(PARAMETERS)
    blocks[:, diagonal, diagonal] += scatter**-2
    return Information(blocks, mixed)


def _moved(fit: Fit, step: Floats) -> Fit:
    """Take a step of bounded length; the mean level moves into the background."""
    length = np.hypot(step[:, ROW], step[:, COL])
    step = step.copy()
    step[:, [ROW, COL]] *= np.minimum(1.0, LONGEST * fit.sigma / np.maximum(length, 1e-300))[
        :, None
    ]
    step[:, LOG_SIGMA] = np.clip(step[:, LOG_SIGMA], -LONGEST, LONGEST)
    typical = float(np.median(np.abs(fit.atoms[:, HEIGHT])))
    atoms = fit.atoms + step
    atoms[:, HEIGHT] = np.maximum(atoms[:, HEIGHT], 1e-3 * typical)
    sigma = float(np.exp(atoms[:, LOG_SIGMA].mean()))
    bounds = np.log(sigma / WIDEST), np.log(sigma * WIDEST)
    atoms[:, LOG_SIGMA] = np.clip(atoms[:, LOG_SIGMA], *bounds)
    level = float(atoms[:, LEVEL].mean())
    atoms[:, LEVEL] -= level
    return replace(fit, atoms=atoms, sigma=sigma, smooth=fit.smooth + level)


def update(fit: Fit, frame: Frame, spacing: float) -> Fit:
    """Estimate background, noise, and scatter of widths and levels from the fit itself."""
    columns = np.zeros_like(fit.smooth)
    draw_atoms(fit.atoms, np.full(fit.smooth.shape, -1, np.int64), columns)
    smooth = smooth_background(frame.values - columns, frame.usable, spacing)
    at = tuple(
        np.clip(np.rint(fit.atoms[:, k]).astype(int), 0, smooth.shape[k] - 1) for k in (0, 1)
    )
    atoms = fit.atoms.copy()
    atoms[:, LEVEL] += (fit.smooth - smooth)[at]
    fit = replace(fit, atoms=atoms, smooth=smooth)
    pixels = evaluate_pixels(fit, frame)
    residual, used = frame.values - pixels.model, pixels.weight > 0
    noise = fit_noise(residual, pixels.model, used, PARAMETERS * len(fit.atoms))
    fit = replace(fit, noise=noise)
    variance = conditional_errors(fit, frame)[:, [LOG_SIGMA, LEVEL]] ** 2
    widths = _scatter(atoms[:, LOG_SIGMA] - np.log(fit.sigma), variance[:, 0], fit.widths)
    levels = _scatter(atoms[:, LEVEL], variance[:, 1], fit.levels)
    return replace(
        fit,
        widths=float(np.clip(widths, 0.01, WIDTHS)),
        levels=max(levels, 1e-3 * float(np.median(atoms[:, HEIGHT]))),
    )


def _scatter(deviations: Floats, posterior: Floats, prior: float) -> float:
    """Scatter of quantities estimated under a prior: one step of expectation maximization."""
    spread = 1.4826 * float(np.median(np.abs(deviations)))
    return float(np.sqrt(min(spread**2 + float(np.median(posterior)), 4 * prior**2)))


def smooth_background(values: Floats, usable: Mask, width: float) -> Floats:
    """Weighted means over the usable pixels under a bell of standard deviation ``width``, px.

    The bell is three running means: nearly a Gaussian, and equally fast at any width.
    """
    side = max(1, round(np.sqrt(4 * width**2 + 1)))
    weight, total = usable.astype(np.float64), np.where(usable, values, 0.0)
    for _ in range(3):
        weight = ndimage.uniform_filter(weight, side, mode="constant")
        total = ndimage.uniform_filter(total, side, mode="constant")
    return np.asarray(total / np.maximum(weight, 1e-9), np.float64)
