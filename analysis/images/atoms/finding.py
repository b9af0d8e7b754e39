"""Find every bright peak of an image, to a fraction of a pixel, with its standard error."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage
from scipy.spatial import cKDTree

from latticescape.analysis.images.atoms.fit import (
    Fit,
    conditional_errors,
    covariances,
    picture_of,
    pixels_of,
    refine,
    smoothed,
    update,
)
from latticescape.analysis.images.atoms.gaussians import COL, HEIGHT, LEVEL, LOG_SIGMA, ROW
from latticescape.analysis.images.atoms.pixels import (
    Exposure,
    exposure,
    inflation,
    pixel_noise,
    without_hot_pixels,
)
from latticescape.analysis.images.spectra.lattice_spots import find_spots
from latticescape.physics.errors import RequestError

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


Mask = npt.NDArray[np.bool_]

# A lattice's two strongest spots stand so far above the spectrum's noise: that of noise alone, of
# atoms at random and of a photograph reach 2.1.
SPOTS = 2.2

# Peaks nearer than this, in px, are not resolved by the pixels.
NEAREST = 4.0

# Of the distance of the strongest lattice planes: the width of a peak, before it is known.
WIDTH = 0.2

# The candidates' filter, in that width; a peak this weak beside the median one is none.
FILTER = 0.75
FAINTEST = 0.05

# Candidates are asked for less than atoms are: their filter is not yet the best.
CANDIDATES = 0.8

# Two peaks nearer than so many standard deviations are one; one that is found beside others, which
# may not fit their skirts exactly, is farther off than so many.
MERGED = 1.5
BESIDE = 2.5

# A peak whose width differs by more than this from the others' (in the logarithm) is a bad pixel or
# a patch of dirt.
STRANGE = 0.5

# Atoms of one image are alike: their widths scatter by no more than this (in the logarithm).
UNLIKE = 0.2

# So many standard deviations outside the frame an atom is still fitted, for the sake of others.
OUTSIDE = 1.5

FEWEST = 5

# Steps of the fit in each round.
ROUNDS = (3, 2, 2)


def find_atoms(
    image: xr.DataArray | npt.ArrayLike, *, spacing: float | None = None, snr: float = 5.0
) -> xr.Dataset:
    """Find every bright peak of an atomically resolved image.

    The image itself tells the spacing (from its power spectrum), the noise (its variance as a line
    in the mean, from the residuals), the width of the peaks and the background. All peaks are then
    fitted at once by 2-D Gaussians, weighted by the noise; what stands in the residual is added.

    Parameters
    ----------
    image
        (row, col), any real dtype and unit. NaN and saturated pixels are left out of the fit.
    spacing
        Distance of nearest peaks, px, where it cannot be read off the spectrum: no lattice is
        asked for then.
    snr
        An atom's least height in its standard errors.

    Returns
    -------
    Dataset
        Over ``atom``, from the top to the bottom: ``row``, ``col`` and ``sigma`` (px),
        ``intensity`` (height above the background) and ``background`` (grey values), and ``_err``,
        one standard error, of the first four. Atoms whose centre is outside the frame are left out;
        one cut by the edge has larger errors. A place where an atom is missing stays empty.
        Attributes: ``spacing_px``, the median distance of nearest peaks; ``noise_floor`` and
        ``noise_gain``, a pixel's variance at 0 and its rise with the mean; ``noise_correlation``,
        the factor by which errors of ``row``, ``col`` and ``intensity`` are larger than for white
        noise; ``spot_strength``, ``saturated``.

    Raises
    ------
    RequestError
        If the image cannot be measured, telling which quantity failed and its value.

    References
    ----------
    Van Aert et al., Ultramicroscopy 109, 1236 (2009) and De Backer et al., Ultramicroscopy 171, 104
    (2016): columns as Gaussians, and how precisely they can be found.

    Examples
    --------
    >>> from latticescape.analysis.images.synthetic import draw_image
    >>> grid = np.mgrid[8:120:12, 8:120:12].reshape(2, -1).T
    >>> atoms = find_atoms(draw_image(grid, shape=(128, 128), sigma=2.5, background=10.0, seed=1))
    >>> atoms.sizes["atom"], round(atoms.spacing_px)
    (100, 12)
    """
    frame = without_hot_pixels(exposure(image))
    period, strength = _period(frame, spacing)
    fit = _first(frame, period, snr)
    for steps in ROUNDS:
        fit = update(refine(fit, frame, steps), frame, _spacing(fit))
        fit = _completed(_pruned(fit, frame, snr), frame, snr)
    fit = refine(fit, frame, 2)
    return _dataset(fit, frame, snr, spacing is None).assign_attrs(
        spot_strength=strength, saturated=frame.saturated, **_calibration(image)
    )


def _calibration(image: xr.DataArray | npt.ArrayLike) -> dict[str, object]:
    known = image.attrs if isinstance(image, xr.DataArray) else {}
    return {key: known[key] for key in ("pixel_size", "pixel_units", "source") if key in known}


def _period(frame: Exposure, spacing: float | None) -> tuple[float, float]:
    """Distance of the strongest lattice planes, px, and how strong their spots are."""
    if spacing is not None:
        if not NEAREST <= spacing <= min(frame.values.shape):
            raise RequestError(
                "the spacing fits no image of this size",
                came=spacing,
                allowed=f"{NEAREST:g} to {min(frame.values.shape)} px",
            )
        return np.sqrt(0.75) * spacing, np.nan
    spots = find_spots(frame.values)
    if not spots.strength >= SPOTS:
        raise RequestError(
            "no lattice found: two spots of the power spectrum, not in one line, reach "
            f"{spots.strength:.1f} times the noise around them",
            allowed=f"at least {SPOTS}",
            hint="find_atoms(image, spacing=…) if there are atoms all the same",
        )
    if spots.period < np.sqrt(0.75) * NEAREST:
        raise RequestError(
            f"the lattice is too fine for the pixels: its planes stand {spots.period:.2f} px apart",
            allowed=f"peaks at least {NEAREST:g} px apart",
        )
    return spots.period, spots.strength


def _first(frame: Exposure, period: float, snr: float) -> Fit:
    """Candidates, before anything is fitted."""
    sigma = WIDTH * period
    noise = pixel_noise(frame.values, frame.usable)
    variance = noise.variance(ndimage.gaussian_filter(frame.values, 1.0))
    least = CANDIDATES * snr
    places, strength = find_peaks(frame.values, variance, FILTER * sigma, least)
    if len(places) < FEWEST:
        strongest = float(answers(frame.values, variance, FILTER * sigma).max())
        raise RequestError(
            f"no lattice found: the strongest peak is {strongest:.1f} times the noise, and "
            f"{len(places)} are {least:g} times",
            allowed=f"at least {FEWEST}",
        )
    places = places[strength > FAINTEST * np.median(strength)]
    at = _pixels(places)
    low = ndimage.gaussian_filter(frame.values, sigma / 2)
    low = ndimage.minimum_filter(low, round(1.2 * period) + 1)
    smooth = smoothed(low, frame.usable, period)
    height = ndimage.gaussian_filter(frame.values, sigma / 3)[at] - smooth[at]
    typical = float(np.median(height))
    atoms = _round(places, np.maximum(height, 0.02 * typical), sigma)
    return Fit(atoms, smooth, noise, sigma, 0.2, 0.3 * typical, max(0.6 * period, 2 * sigma))


def _round(places: Floats, heights: Floats, sigma: float) -> Floats:
    """Atoms of one width, at the level of the background."""
    nothing = np.zeros(len(places))
    return np.column_stack([places, heights, nothing + np.log(sigma), nothing])


def _pixels(places: Floats) -> tuple[npt.NDArray[np.int64], ...]:
    return tuple(np.rint(places).astype(np.int64).T)


def _spacing(fit: Fit) -> float:
    distance = np.asarray(cKDTree(fit.atoms[:, :2]).query(fit.atoms[:, :2], 2)[0])
    return float(np.median(distance[:, 1]))


def _within(atoms: Floats, shape: tuple[int, ...], margin: float) -> Mask:
    """Whose centre is in the frame, or no farther outside than a margin, px."""
    places = atoms[:, :2]
    inside = (places >= -margin) & (places <= np.array(shape) - 1 + margin)
    return np.asarray(inside.all(axis=1), np.bool_)


def _pruned(fit: Fit, frame: Exposure, snr: float) -> Fit:
    """Without what is not significant, far outside, twice there or of a strange width."""
    atoms = fit.atoms
    keep: Mask = _significant(atoms[:, HEIGHT], conditional_errors(fit, frame)[:, HEIGHT], snr)
    keep &= _within(atoms, frame.values.shape, OUTSIDE * fit.sigma)
    keep &= _alike(fit, max(STRANGE, 4 * fit.widths))
    pairs = cKDTree(atoms[:, :2]).query_pairs(MERGED * fit.sigma, output_type="ndarray")
    keep[np.where(atoms[pairs[:, 0], HEIGHT] < atoms[pairs[:, 1], HEIGHT], *pairs.T)] = False
    _check_number(keep)
    return replace(fit, atoms=atoms[keep])


def _alike(fit: Fit, most: float) -> Mask:
    """Whose width differs little from the others', in the logarithm."""
    alike: Mask = np.abs(fit.atoms[:, LOG_SIGMA] - np.log(fit.sigma)) < most
    return alike


def _significant(heights: Floats, errors: Floats, snr: float) -> Mask:
    enough = heights >= np.maximum(snr * errors, FAINTEST * np.median(heights))
    return np.asarray(enough, np.bool_)


def _check_number(keep: Mask) -> None:
    if keep.sum() < FEWEST:
        raise RequestError(
            f"no lattice found: of {len(keep)} peaks {keep.sum()} have a significant height and a "
            "width like the others'",
            allowed=f"at least {FEWEST}",
        )


def _completed(fit: Fit, frame: Exposure, snr: float) -> Fit:
    """With the peaks that stand in the residual."""
    picture = picture_of(fit)
    variance = fit.noise.variance(picture.model)
    residual = np.where(frame.usable, frame.values - picture.model, 0.0)
    answer = answers(residual, variance, fit.sigma)
    spread = max(1.0, 1.4826 * float(np.median(np.abs(answer))))
    places, _ = find_peaks(residual, variance, fit.sigma, snr * spread)
    if len(places):
        apart = np.asarray(cKDTree(fit.atoms[:, :2]).query(places)[0])
        places = places[apart > max(BESIDE * fit.sigma, 0.5 * _spacing(fit))]
    heights = np.maximum(residual[_pixels(places)], 0.02 * np.median(fit.atoms[:, HEIGHT]))
    return replace(fit, atoms=np.concatenate([fit.atoms, _round(places, heights, fit.sigma)]))


def _dataset(fit: Fit, frame: Exposure, snr: float, periodic: bool) -> xr.Dataset:
    pixels = pixels_of(fit, frame)
    factors = inflation(pixels.residual * np.sqrt(pixels.weight), fit.sigma, fit.atoms.size)
    errors = np.sqrt(np.diagonal(covariances(fit, frame), axis1=1, axis2=2))
    keep = _significant(fit.atoms[:, HEIGHT], factors.seen * errors[:, HEIGHT], snr)
    errors = errors * [factors.row, factors.col, factors.height, factors.height, factors.height]
    keep &= _within(fit.atoms, frame.values.shape, 0.0)
    _check_number(keep)
    _check_widths(fit.atoms[keep, LOG_SIGMA], errors[keep, LOG_SIGMA])
    keep &= _alike(fit, STRANGE)
    _check_number(keep)
    order = np.flatnonzero(keep)[np.lexsort(fit.atoms[keep][:, [COL, ROW]].T)]
    atoms, errors = fit.atoms[order], errors[order]
    if periodic:
        _check_order(atoms, frame)
    sigma = np.exp(atoms[:, LOG_SIGMA])
    level = fit.smooth[_pixels(atoms[:, :2])] + atoms[:, LEVEL]
    columns = {
        "row": (atoms[:, ROW], "row of the centre", "px"),
        "col": (atoms[:, COL], "col of the centre", "px"),
        "row_err": (errors[:, ROW], "standard error of row", "px"),
        "col_err": (errors[:, COL], "standard error of col", "px"),
        "intensity": (atoms[:, HEIGHT], "peak height above the background", "grey value"),
        "intensity_err": (errors[:, HEIGHT], "standard error of intensity", "grey value"),
        "sigma": (sigma, "standard deviation of the Gaussian", "px"),
        "sigma_err": (sigma * errors[:, LOG_SIGMA], "standard error of sigma", "px"),
        "background": (level, "background at the atom", "grey value"),
    }
    return xr.Dataset(
        {
            name: ("atom", values, {"long_name": long_name, "units": units})
            for name, (values, long_name, units) in columns.items()
        },
        attrs={
            "spacing_px": _spacing(replace(fit, atoms=atoms)),
            "noise_floor": float(fit.noise.floor),
            "noise_gain": float(fit.noise.gain),
            "noise_correlation": (factors.row, factors.col, factors.height),
        },
    )


def _check_widths(logarithms: Floats, errors: Floats) -> None:
    spread = 1.4826 * float(np.median(np.abs(logarithms - np.median(logarithms))))
    scatter = np.sqrt(max(spread**2 - float(np.median(errors)) ** 2, 0.0))
    if scatter > UNLIKE:
        raise RequestError(
            f"no atoms found: the widths of {len(logarithms)} peaks scatter by {scatter:.0%}",
            allowed=f"at most {UNLIKE:.0%}",
        )


def _check_order(atoms: Floats, frame: Exposure) -> None:
    """Whether what was found stands in a lattice, whatever the grey values are."""
    points = np.zeros(frame.values.shape)
    np.add.at(points, _pixels(atoms[:, :2]), 1.0)
    strength = find_spots(ndimage.gaussian_filter(points, 1.0)).strength
    if strength < SPOTS:
        raise RequestError(
            f"no lattice found: {len(atoms)} peaks, whose places have spots of {strength:.1f} "
            "times the noise around them",
            allowed=f"at least {SPOTS}",
            hint="find_atoms(image, spacing=…) if they are atoms all the same",
        )
