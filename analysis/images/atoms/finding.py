"""Find every bright peak of an image, to a fraction of a pixel, with its standard error."""

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage
from scipy.spatial import cKDTree

from latticescape.analysis.checks import check_within
from latticescape.analysis.images.atoms.fit import (
    Fit,
    conditional_errors,
    covariances,
    evaluate_pixels,
    refine,
    smooth_background,
    update,
)
from latticescape.analysis.images.atoms.gaussians import COL, HEIGHT, LEVEL, LOG_SIGMA, ROW
from latticescape.analysis.images.atoms.pixels import (
    Frame,
    error_inflation,
    estimate_noise,
    mask_hot_pixels,
    prepare_frame,
)
from latticescape.analysis.images.spectra.spots import LatticeSpots, lattice_spots
from latticescape.analysis.labelled import labelled_variables
from latticescape.physics.errors import RequestError, checked_choice

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# The two strongest spots of a lattice exceed the noise of the spectrum by this factor: those of
# noise, of randomly placed atoms and of a photograph reach 2.1.
SPOTS = 2.2

# Closer peaks are not resolved by the pixels, px.
NEAREST = 4.0

# Rounding errors of a filtered image, in units of its range.
ROUNDING = 1e-9

# Width of a peak before it is known, in distances of the strongest lattice planes.
WIDTH = 0.2

# Width of the filter for candidates in units of that width, and the least height of a peak in units
# of the median height.
FILTER = 0.75
FAINTEST = 0.05

# At most this many peaks for each square of the distance of the strongest lattice planes: a
# honeycomb has 0.8 sites and two dim holes, a kagome lattice seen by its second order three.
MOST_PEAKS = 4.0

# Candidates need only this share of the signal-to-noise ratio, as their filter is not optimal yet.
CANDIDATES = 0.8

# At low dose fainter peaks count, as most of them are atoms of a lattice: down to this many
# standard errors, and so far below those of the typical peak that few atoms are missed.
LEAST_SNR = 3.0
BELOW_TYPICAL = 2.5

# There, peaks wider by this factor are tried too, as the spot may be of second order.
WIDER = 1.7

# Two peaks closer than this many standard deviations are merged. A peak added from the residual is
# farther than the second number from the others, whose skirts may fit imperfectly.
MERGED = 1.5
ADDED = 2.5

# A peak whose logarithm of the width differs by more than this from the others' is a bad pixel or
# a patch of dirt.
STRANGE = 0.5

# Logarithms of the widths of atoms in one image scatter by at most this much.
MOST_SCATTER = 0.2

# Atoms up to this many standard deviations outside the frame are fitted, as they reach into it.
OUTSIDE = 1.5

FEWEST = 5

# Shares of the pixels that were left out, by reason.
SHARES = ("missing", "flat", "saturated", "hot")

# Steps of the fit in each round.
ROUNDS = (3, 2, 2)


def find_atoms(
    image: xr.DataArray | npt.ArrayLike,
    *,
    spacing: float | None = None,
    snr: float = 5.0,
    contrast: Literal["bright", "dark"] = "bright",
) -> xr.Dataset:
    """Find every bright (or dark) peak of an atomically resolved image.

    Spacing (from the power spectrum), noise (variance as a linear function of the mean, from the
    residuals), width of the peaks and background are estimated from the image itself. All peaks
    are then fitted together by 2-D Gaussians, weighted by the noise; peaks in the residual are
    added.

    Parameters
    ----------
    image
        (row, col), any real dtype and unit. Left out of the fit are NaN and saturated pixels, hot
        pixels, and flat areas such as margins and scale bars.
    spacing
        Distance of nearest peaks, px, where the spectrum does not show it; the atoms then need not
        form a lattice.
    snr
        An atom's least height in units of its standard error. It is lowered to no less than 3 in
        an image of a lattice whose typical atom is near it.
    contrast
        ``"dark"`` for atoms darker than their surroundings, as in bright-field images.

    Returns
    -------
    Dataset
        Over ``atom``, from the top to the bottom: ``row``, ``col`` and ``sigma`` (px),
        ``intensity`` (height above or depth below the background) and ``background`` (grey values),
        and ``_err``, one standard error, of the first four. Atoms whose centre is outside the frame
        are left out; one cut by the edge has larger errors. No atom is reported at a vacancy.
        Attributes: ``spacing_px``, the median distance of nearest peaks; ``noise_floor`` and
        ``noise_gain``, a pixel's variance at 0 and its rise with the mean; ``noise_correlation``,
        the factor by which errors of ``row``, ``col`` and ``intensity`` are larger than for white
        noise; ``spot_strength``; ``missing``, ``flat``, ``saturated`` and ``hot``, the shares of
        the pixels that were left out; ``contrast``; and ``shape``, ``pixel_size``, ``pixel_units``
        and ``source`` of the image.

    Raises
    ------
    RequestError
        If the image cannot be measured; the message names the quantity that failed and its value.

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
    checked_choice(contrast, ("bright", "dark"), "the contrast is unknown")
    sign = -1.0 if contrast == "dark" else 1.0
    frame = mask_hot_pixels(prepare_frame(image, sign))
    if spacing is not None:
        problem = "the spacing does not suit the size of the image"
        check_within(spacing, NEAREST, min(frame.values.shape), problem, "px")
        period, strength = np.sqrt(0.75) * spacing, np.nan
    else:
        spots = lattice_spots(frame.values)
        _check_spots(spots, "two spots of the power spectrum in different directions reach")
        period, strength = spots.period, spots.pair_strength
        if period < np.sqrt(0.75) * NEAREST:
            problem = f"the lattice is too fine: its planes are {period:.2f} px apart"
            raise RequestError(problem, allowed=f"peaks at least {NEAREST:g} px from each other")
    fit, snr = _candidates(frame, period, snr, spacing is None)
    for steps in ROUNDS:
        fit = update(refine(fit, frame, steps), frame, _nearest_distance(fit.atoms))
        fit = _add_from_residual(_prune(fit, frame, snr), frame, snr, _most_peaks(frame, period))
    fit = refine(fit, frame, 2)
    attrs = image.attrs if isinstance(image, xr.DataArray) else {}
    atoms = _dataset(fit, frame, snr, spacing is None)
    atoms["background"].values *= sign
    return atoms.assign_attrs(
        contrast=contrast,
        shape=frame.values.shape,
        spot_strength=strength,
        **{name: getattr(frame, name) for name in SHARES},
        **{key: attrs[key] for key in ("pixel_size", "pixel_units", "source") if key in attrs},
    )


def _check_spots(spots: LatticeSpots, subject: str) -> None:
    if not spots.pair_strength >= SPOTS:
        problem = (
            f"no lattice found: {subject} {spots.pair_strength:.1f} times the noise around them"
        )
        hint = "--spacing 15, spacing=15 in Python if the spectrum does not show the spacing, px"
        raise RequestError(problem, allowed=f"at least {SPOTS}", hint=hint)


def find_peaks(
    values: Floats, variance: Floats, sigma: float, threshold: float, most: int
) -> tuple[Floats, Floats, Floats]:
    """Maxima of the matched filter of a bright spot on an unknown smooth background.

    The filter is the negative Laplacian of a Gaussian, which responds neither to a constant nor to
    a slope. Responses are in standard deviations of the response to white noise of this variance.

    Parameters
    ----------
    values, variance
        (row, col): grey values and the variance of each.
    sigma
        Of the Gaussian, px.
    threshold
        Smallest response, in standard deviations.
    most
        Number of peaks, the strongest first.

    Returns
    -------
    places, strengths, response
        (peaks, 2) pixels and (peaks,) responses there, from the strongest to the weakest, and
        (row, col) responses of all pixels.
    """
    response = filter_response(values, variance, sigma)
    size = 2 * max(1, round(sigma)) + 1
    peak = (response == ndimage.maximum_filter(response, size)) & (response >= threshold)
    places, strengths = np.argwhere(peak).astype(np.float64), response[peak]
    order = np.argsort(-strengths, kind="stable")[:most]
    return places[order], strengths[order], response


def filter_response(values: Floats, variance: Floats, sigma: float) -> Floats:
    """Response of the filter at each pixel, in standard deviations of white noise."""
    response = -ndimage.gaussian_laplace(values, sigma, mode="reflect")
    # ∫ (∇²G)² = 1 / (2π σ⁶)
    spread = np.sqrt(ndimage.gaussian_filter(variance, sigma) / (2 * np.pi)) / sigma**3
    # Differences of equal pixels are rounding errors, not peaks, however small the noise.
    spread = np.maximum(spread, ROUNDING * max(float(np.ptp(values)), 1e-300) / sigma**2)
    return np.asarray(response / spread, np.float64)


def _candidates(frame: Frame, period: float, snr: float, periodic: bool) -> tuple[Fit, float]:
    """Maxima of the filtered image as the first state of the fit, and the least ratio of height
    and standard error at this dose."""
    noise = estimate_noise(frame.values, frame.usable)
    variance = noise.variance(ndimage.gaussian_filter(frame.values, 1.0))
    most, lowest = _most_peaks(frame, period), min(snr, LEAST_SNR) if periodic else snr
    # As many peaks as a triangular lattice with these planes has sites are typical.
    sites = max(FEWEST, int(frame.usable.sum() * np.sqrt(0.75) / period**2))
    typical, least = 0.0, snr
    for sigma in (WIDTH * period, WIDER * WIDTH * period):
        found = find_peaks(frame.values, variance, FILTER * sigma, CANDIDATES * lowest, most)
        strength = float(np.median(found[1][:sites])) / CANDIDATES if len(found[1]) else 0.0
        if typical == 0 or strength > typical:
            width, (places, strengths, response), typical = sigma, found, strength
        if typical - BELOW_TYPICAL >= snr or not periodic:
            break
        least = float(np.clip(typical - BELOW_TYPICAL, lowest, snr))
    sigma, snr = width, least
    places, strengths = (part[strengths >= CANDIDATES * snr] for part in (places, strengths))
    if len(places) < FEWEST:
        problem = (
            f"no lattice found: the strongest peak is {response.max():.1f} times the noise, and "
            f"{len(places)} peaks exceed {CANDIDATES * snr:g} times the noise"
        )
        raise RequestError(problem, allowed=f"at least {FEWEST}")
    places = places[strengths > FAINTEST * np.median(strengths)]
    at = _pixels(places)
    low = ndimage.gaussian_filter(frame.values, sigma / 2)
    low = ndimage.minimum_filter(low, round(1.2 * period) + 1)
    smooth = smooth_background(low, frame.usable, period)
    height = ndimage.gaussian_filter(frame.values, sigma / 3)[at] - smooth[at]
    typical = float(np.median(height))
    atoms = _new_atoms(places, np.maximum(height, 0.02 * typical), sigma)
    fit = Fit(atoms, smooth, noise, sigma, 0.2, 0.3 * typical, max(0.6 * period, 2 * sigma))
    return fit, snr


def _most_peaks(frame: Frame, period: float) -> int:
    return max(FEWEST, int(MOST_PEAKS * frame.values.size / period**2))


def _new_atoms(places: Floats, heights: Floats, sigma: float) -> Floats:
    """Atoms of one width at the level of the background."""
    zeros = np.zeros(len(places))
    return np.column_stack([places, heights, zeros + np.log(sigma), zeros])


def _pixels(places: Floats) -> tuple[Integers, ...]:
    return tuple(np.rint(places).astype(np.int64).T)


def _nearest_distance(atoms: Floats) -> float:
    distance = np.asarray(cKDTree(atoms[:, :2]).query(atoms[:, :2], 2)[0])
    return float(np.median(distance[:, 1]))


def _acceptable(fit: Fit, frame: Frame, errors: Floats, snr: float, margin: float) -> Mask:
    """Atoms of significant height whose centre is in the frame or within a margin of it, px."""
    heights, places = fit.atoms[:, HEIGHT], fit.atoms[:, :2]
    keep = heights >= np.maximum(snr * errors, FAINTEST * np.median(heights))
    inside = (places >= -margin) & (places <= np.array(frame.values.shape) - 1 + margin)
    return np.asarray(keep & inside.all(axis=1), np.bool_)


def _check_number(keep: Mask) -> None:
    if keep.sum() < FEWEST:
        problem = (
            f"no lattice found: of {len(keep)} peaks {keep.sum()} have a significant height and a "
            "width like the others'"
        )
        raise RequestError(problem, allowed=f"at least {FEWEST}")


def _prune(fit: Fit, frame: Frame, snr: float) -> Fit:
    """Drop atoms that are insignificant, outside the frame, duplicates, or of a strange width."""
    atoms = fit.atoms
    errors = conditional_errors(fit, frame)[:, HEIGHT]
    keep = _acceptable(fit, frame, errors, snr, OUTSIDE * fit.sigma)
    keep &= np.abs(atoms[:, LOG_SIGMA] - np.log(fit.sigma)) < max(STRANGE, 4 * fit.widths)
    pairs = cKDTree(atoms[:, :2]).query_pairs(MERGED * fit.sigma, output_type="ndarray")
    keep[np.where(atoms[pairs[:, 0], HEIGHT] < atoms[pairs[:, 1], HEIGHT], *pairs.T)] = False
    _check_number(keep)
    return replace(fit, atoms=atoms[keep])


def _add_from_residual(fit: Fit, frame: Frame, snr: float, most: int) -> Fit:
    """Add the peaks that remain in the residual, up to this many atoms."""
    model = evaluate_pixels(fit, frame).model
    variance = fit.noise.variance(model)
    residual = np.where(frame.usable, frame.values - model, 0.0)
    response = filter_response(residual, variance, fit.sigma)
    spread = max(1.0, 1.4826 * float(np.median(np.abs(response))))
    room = max(0, most - len(fit.atoms))
    places, _, _ = find_peaks(residual, variance, fit.sigma, snr * spread, room)
    if len(places):
        distances = np.asarray(cKDTree(fit.atoms[:, :2]).query(places)[0])
        places = places[distances > max(ADDED * fit.sigma, 0.5 * _nearest_distance(fit.atoms))]
    heights = np.maximum(residual[_pixels(places)], 0.02 * np.median(fit.atoms[:, HEIGHT]))
    return replace(fit, atoms=np.concatenate([fit.atoms, _new_atoms(places, heights, fit.sigma)]))


def _dataset(fit: Fit, frame: Frame, snr: float, periodic: bool) -> xr.Dataset:
    pixels = evaluate_pixels(fit, frame)
    weighted = pixels.residual * np.sqrt(pixels.weight)
    factors = error_inflation(weighted, fit.sigma, fit.atoms.size)
    errors = np.sqrt(np.diagonal(covariances(fit, frame), axis1=1, axis2=2))
    keep = _acceptable(fit, frame, factors.height_in_residuals * errors[:, HEIGHT], snr, 0.0)
    errors = errors * [factors.row, factors.col, factors.height, factors.height, factors.height]
    _check_number(keep)
    logarithms, of_widths = fit.atoms[keep, LOG_SIGMA], errors[keep, LOG_SIGMA]
    spread = 1.4826 * float(np.median(np.abs(logarithms - np.median(logarithms))))
    scatter = np.sqrt(max(spread**2 - float(np.median(of_widths)) ** 2, 0.0))
    if scatter > MOST_SCATTER:
        problem = f"no atoms found: the widths of {len(logarithms)} peaks scatter by {scatter:.0%}"
        raise RequestError(problem, allowed=f"at most {MOST_SCATTER:.0%}")
    keep &= np.abs(fit.atoms[:, LOG_SIGMA] - np.log(fit.sigma)) < STRANGE
    _check_number(keep)
    order = np.flatnonzero(keep)[np.lexsort(fit.atoms[keep][:, [COL, ROW]].T)]
    atoms, errors = fit.atoms[order], errors[order]
    if periodic:
        # The positions must form a lattice, whatever the grey values.
        points = np.zeros(frame.values.shape)
        np.add.at(points, _pixels(atoms[:, :2]), 1.0)
        spots = lattice_spots(ndimage.gaussian_filter(points, 1.0))
        _check_spots(spots, f"the positions of {len(atoms)} peaks have spots of")
    sigma = np.exp(atoms[:, LOG_SIGMA])
    sigma_err = sigma * errors[:, LOG_SIGMA]
    level = fit.smooth[_pixels(atoms[:, :2])] + atoms[:, LEVEL]
    height, height_err = atoms[:, HEIGHT], errors[:, HEIGHT]
    return xr.Dataset(
        labelled_variables(
            {
                "row": ("atom", atoms[:, ROW], "row of the centre", "px"),
                "col": ("atom", atoms[:, COL], "col of the centre", "px"),
                "row_err": ("atom", errors[:, ROW], "standard error of row", "px"),
                "col_err": ("atom", errors[:, COL], "standard error of col", "px"),
                "intensity": ("atom", height, "peak height above the background", "grey value"),
                "intensity_err": ("atom", height_err, "standard error of intensity", "grey value"),
                "sigma": ("atom", sigma, "standard deviation of the Gaussian", "px"),
                "sigma_err": ("atom", sigma_err, "standard error of sigma", "px"),
                "background": ("atom", level, "background at the atom", "grey value"),
            }
        ),
        attrs={
            "spacing_px": _nearest_distance(atoms),
            "noise_floor": float(fit.noise.floor),
            "noise_gain": float(fit.noise.gain),
            "noise_correlation": (factors.row, factors.col, factors.height),
        },
    )
