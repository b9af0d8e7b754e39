"""All atoms of an image fitted at once: Gaussians, their cells' levels, a smooth background.

Pixels are weighted by the inverse of their variance, which follows their expected value
(:mod:`noise`): for counts these are the equations of Poisson's maximum likelihood.
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
    TELLING,
    assign_cells,
    draw_atoms,
    gradients,
    information,
    local_covariances,
)
from latticescape.analysis.images.atoms.pixels import Exposure, Noise, noise_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Two atoms are fitted as neighbours up to so many standard deviations apart: there the product of
# their Gaussians is 6e-3 of what it is in one place.
NEIGHBOURS = 4.5

# A step of the fit is at most so many standard deviations of the Gaussian wide, and factors of
# its height and width at most so large (in the logarithm).
LONGEST = 0.4

# No Gaussian is so many times wider or narrower than the others.
WIDEST = 2.0

# Where an atom's pixels say nothing about its height, it is within so many typical ones.
FREE = 10.0

# A step that leads uphill is quartered so often, then given up.
SHORTENED = 4

# So many standard deviations below the ceiling of a saturated image noise seldom clips.
CLIPPED = 2.0

# Turns of conjugate gradients in a step, at most.
MOST_TURNS = 40

# How far widths are taken to scatter until their scatter is known (in the logarithm).
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
class Picture:
    """An image as a fit has it: which atom owns a pixel, and the expected values."""

    owner: Integers
    model: Floats


def picture_of(fit: Fit) -> Picture:
    """Draw the fit."""
    owner = np.empty(fit.smooth.shape, np.int64)
    assign_cells(fit.atoms, np.full(len(fit.atoms), fit.cell), owner)
    model = fit.smooth.copy()
    draw_atoms(fit.atoms, owner, model)
    return Picture(owner, model)


@dataclass(frozen=True)
class Overlaps:
    """Atoms whose squares overlap: those of atom i are ``others[starts[i]:starts[i + 1]]``.

    ``near`` says which of them are unknown when the errors of atom i are told, ``mates`` where
    the same pair stands once more.
    """

    starts: Integers
    others: Integers
    near: Mask
    mates: Integers


@dataclass(frozen=True)
class Information:
    """Blocks of Fisher's information matrix, with what is known beforehand."""

    blocks: Floats
    mixed: Floats


@dataclass(frozen=True)
class Pixels:
    """What a fit has to say of each pixel."""

    owner: Integers
    weight: Floats
    residual: Floats


def refine(fit: Fit, frame: Exposure, steps: int) -> Fit:
    """Gauss-Newton steps of all atoms at a noise held fixed, shortened where they lead uphill."""
    overlaps = overlaps_of(fit)
    pixels = pixels_of(fit, frame)
    for _ in range(steps):
        known = _information(fit, pixels, overlaps)
        step = _newton_step(fit, known, _gradient(fit, pixels, overlaps), overlaps)
        cost = _cost(fit, pixels, pixels.weight)
        for _ in range(SHORTENED):
            further = _stepped(fit, step)
            after = pixels_of(further, frame)
            if _cost(further, after, pixels.weight) <= cost:
                fit, pixels = further, after
                break
            step = step / 4
    return fit


def _cost(fit: Fit, pixels: Pixels, weight: Floats) -> float:
    """Weighted squares of the residuals and of what priors hold."""
    priors = ((fit.atoms[:, LOG_SIGMA] - np.log(fit.sigma)) / fit.widths) ** 2
    priors += (fit.atoms[:, LEVEL] / fit.levels) ** 2
    return float(np.sum(weight * pixels.residual**2) + np.sum(priors))


def _newton_step(fit: Fit, known: Information, gradient: Floats, overlaps: Overlaps) -> Floats:
    """Solve the equations of all atoms, (atoms, 5), by preconditioned conjugate gradients."""
    count = len(fit.atoms)
    pairs = sparse.bsr_array(
        (known.mixed, overlaps.others, overlaps.starts),
        shape=(PARAMETERS * count, PARAMETERS * count),
    )
    priors = np.zeros(PARAMETERS)
    priors[[LOG_SIGMA, LEVEL]] = fit.widths**-2, fit.levels**-2
    inverse = np.linalg.inv(known.blocks)

    def informed(vector: Floats) -> Floats:
        each = vector.reshape(count, PARAMETERS)
        alone = np.einsum("nij,nj->ni", known.blocks, each)
        # Priors hold an atom to the others, not all of them to where they are.
        alone -= priors * each.mean(axis=0)
        return np.asarray(alone.ravel() + pairs @ vector, np.float64)

    def alone(vector: Floats) -> Floats:
        each = np.einsum("nij,nj->ni", inverse, vector.reshape(count, PARAMETERS))
        return np.asarray(each.ravel(), np.float64)

    size = (PARAMETERS * count, PARAMETERS * count)
    step, _ = linalg.cg(
        linalg.LinearOperator(size, informed, dtype=np.float64),
        gradient.ravel(),
        rtol=0.01,
        maxiter=MOST_TURNS,
        M=linalg.LinearOperator(size, alone, dtype=np.float64),
    )
    return np.asarray(step, np.float64).reshape(count, PARAMETERS)


def covariances(fit: Fit, frame: Exposure) -> Floats:
    """(atoms, 5, 5): of each atom's parameters, with those of its neighbours unknown as well."""
    overlaps = overlaps_of(fit)
    known = _information(fit, pixels_of(fit, frame), overlaps)
    found = np.empty((len(fit.atoms), PARAMETERS**2))
    local_covariances(
        overlaps.starts, overlaps.others, overlaps.near, known.blocks, known.mixed, found
    )
    return found.reshape(-1, PARAMETERS, PARAMETERS)


def conditional_errors(fit: Fit, frame: Exposure) -> Floats:
    """(atoms, 5): standard errors if all other atoms were known; soon told."""
    nobody = np.empty(0, np.int64)
    alone = Overlaps(np.zeros(len(fit.atoms) + 1, np.int64), nobody, nobody > 0, nobody)
    blocks = _information(fit, pixels_of(fit, frame), alone).blocks
    errors: Floats = np.sqrt(np.diagonal(np.linalg.inv(blocks), axis1=1, axis2=2))
    return errors


def overlaps_of(fit: Fit) -> Overlaps:
    """Which atoms overlap."""
    places = fit.atoms[:, :2]
    pairs = cKDTree(places).query_pairs(_side(fit), p=np.inf, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    mates = np.empty(len(both), np.int64)
    mates[np.lexsort((both[:, 0], both[:, 1]))] = np.arange(len(both))
    starts = np.searchsorted(both[:, 0], np.arange(len(places) + 1)).astype(np.int64)
    apart = np.linalg.norm(places[both[:, 0]] - places[both[:, 1]], axis=1)
    near = apart < NEIGHBOURS * fit.sigma
    return Overlaps(starts, np.ascontiguousarray(both[:, 1]), near, mates)


def _side(fit: Fit) -> int:
    """Width of a square that holds any atom and its cell, an odd number of px."""
    far = max(TELLING * float(np.exp(fit.atoms[:, LOG_SIGMA].max())), fit.cell)
    return 2 * int(far + 2) + 1


def pixels_of(fit: Fit, frame: Exposure) -> Pixels:
    """Weight and residual of each pixel, 0 where it tells nothing."""
    picture = picture_of(fit)
    told = telling(picture, fit.noise, frame)
    weight = np.where(told, 1 / fit.noise.variance(picture.model), 0.0)
    return Pixels(picture.owner, weight, np.where(told, frame.values - picture.model, 0.0))


def telling(picture: Picture, noise: Noise, frame: Exposure) -> Mask:
    """Pixels near an atom, usable, and not expected so high that noise might clip them.

    Were clipped pixels left out alone, those that noise spared would look too dark.
    """
    told: Mask = (picture.owner >= 0) & frame.usable
    if np.isfinite(frame.ceiling):
        margin = CLIPPED * np.sqrt(noise.variance(picture.model))
        told &= picture.model + margin < frame.ceiling
    return told


def _gradient(fit: Fit, pixels: Pixels, overlaps: Overlaps) -> Floats:
    gradient = np.empty((len(fit.atoms), PARAMETERS))
    gradients(fit.atoms, pixels.owner, pixels.weight, pixels.residual, fit.cell, gradient)
    gradient[:, LOG_SIGMA] += (np.log(fit.sigma) - fit.atoms[:, LOG_SIGMA]) / fit.widths**2
    gradient[:, LEVEL] -= fit.atoms[:, LEVEL] / fit.levels**2
    return gradient


def _information(fit: Fit, pixels: Pixels, overlaps: Overlaps) -> Information:
    blocks = np.empty((len(fit.atoms), PARAMETERS, PARAMETERS))
    mixed = np.empty((len(overlaps.others), PARAMETERS, PARAMETERS))
    information(
        fit.atoms,
        _side(fit),
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


def _stepped(fit: Fit, step: Floats) -> Fit:
    """Take a step, of bounded length; the mean level goes into the background."""
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


def update(fit: Fit, frame: Exposure, spacing: float) -> Fit:
    """Take the background, the noise and the scatter of widths and levels from the fit itself."""
    columns = np.zeros_like(fit.smooth)
    nobody = np.full(fit.smooth.shape, -1, np.int64)
    draw_atoms(fit.atoms, nobody, columns)
    smooth = smoothed(frame.values - columns, frame.usable, spacing)
    at = tuple(
        np.clip(np.rint(fit.atoms[:, k]).astype(int), 0, smooth.shape[k] - 1) for k in (0, 1)
    )
    atoms = fit.atoms.copy()
    atoms[:, LEVEL] += (fit.smooth - smooth)[at]
    fit = replace(fit, atoms=atoms, smooth=smooth)
    picture = picture_of(fit)
    told = telling(picture, fit.noise, frame)
    noise = noise_of(frame.values - picture.model, picture.model, told, PARAMETERS * len(fit.atoms))
    fit = replace(fit, noise=noise)
    variance = conditional_errors(fit, frame)[:, [LOG_SIGMA, LEVEL]] ** 2
    sigma = fit.sigma
    widths = _scatter(atoms[:, LOG_SIGMA] - np.log(sigma), variance[:, 0], fit.widths)
    levels = _scatter(atoms[:, LEVEL], variance[:, 1], fit.levels)
    return replace(
        fit,
        sigma=sigma,
        widths=float(np.clip(widths, 0.01, WIDTHS)),
        levels=max(levels, 1e-3 * float(np.median(atoms[:, HEIGHT]))),
    )


def _scatter(deviations: Floats, posterior: Floats, prior: float) -> float:
    """Scatter of what was estimated under a prior: one step of expectation maximization."""
    spread = 1.4826 * float(np.median(np.abs(deviations)))
    return float(np.sqrt(min(spread**2 + float(np.median(posterior)), 4 * prior**2)))


def smoothed(values: Floats, usable: Mask, width: float) -> Floats:
    """Means over the usable pixels under a bell of this standard deviation (px)."""
    weight = bell(usable.astype(np.float64), width)
    total = bell(np.where(usable, values, 0.0), width)
    mean: Floats = total / np.maximum(weight, 1e-9)
    return mean


def bell(values: Floats, width: float) -> Floats:
    """Three running means, which are all but a Gaussian and as fast at any width (px)."""
    side = max(1, round(np.sqrt(4 * width**2 + 1)))
    for _ in range(3):
        values = ndimage.uniform_filter(values, side, mode="constant")
    return values
