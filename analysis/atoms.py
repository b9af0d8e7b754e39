"""Atoms of an image: every bright peak, to a fraction of a pixel, with its standard error."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage
from scipy.spatial import cKDTree

from analysis.exposure import Exposure, exposure
from analysis.fit import Fit, covariances, picture_of, refine, update
from analysis.gaussians import COL, HEIGHT, LEVEL, LOG_SIGMA, ROW
from analysis.noise import pixel_noise
from analysis.peaks import answers, find_peaks
from analysis.spacing import find_spots
from physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# Of the distance of the strongest lattice planes: the width of a peak, before it is known.
WIDTH = 0.2

# The candidates' filter, in that width; a peak this weak beside the median one is none.
FILTER = 0.75
FAINTEST = 0.05

# Two peaks nearer than so many standard deviations are one.
MERGED = 1.5

# Steps of the fit in each round.
ROUNDS = (3, 2, 2)


def find_atoms(
    image: xr.DataArray | npt.ArrayLike, *, spacing: float | None = None, snr: float = 5.0
) -> xr.Dataset:
    """Find every bright peak of an atomically resolved image.

    Parameters
    ----------
    image
        (row, col), any real dtype; NaN is missing.
    spacing
        Distance of nearest peaks, px, where it cannot be read off the image's own spectrum.
    snr
        An atom's least height in its standard errors.

    Returns
    -------
    Dataset
        Over ``atom``: ``row``, ``col``, ``row_err``, ``col_err``, ``sigma``, ``sigma_err`` (px),
        ``intensity``, ``intensity_err``, ``background``.

    Raises
    ------
    RequestError
        If the image cannot be measured, telling which quantity failed and its value.
    """
    frame = exposure(image)
    period = find_spots(frame.values).period if spacing is None else 0.9 * spacing
    fit = _first(frame, period, snr)
    for steps in ROUNDS:
        fit = update(refine(fit, frame, steps), frame, _spacing(fit))
        fit = _pruned(fit, frame, snr)
        fit = _completed(fit, frame, snr)
    fit = refine(fit, frame, 2)
    return _dataset(_pruned(fit, frame, snr), frame)


def _first(frame: Exposure, period: float, snr: float) -> Fit:
    """Candidates, before anything is fitted."""
    sigma = WIDTH * period
    noise = pixel_noise(frame.values, frame.usable)
    variance = noise.variance(ndimage.gaussian_filter(frame.values, 1.0))
    places, strength = find_peaks(frame.values, variance, FILTER * sigma, 0.8 * snr)
    places = places[strength > FAINTEST * np.median(strength)] if len(places) else places
    if len(places) < 5:
        strongest = float(answers(frame.values, variance, FILTER * sigma).max())
        raise RequestError(
            f"no lattice found: the strongest peak is {strongest:.1f} times the noise",
            came=f"{len(places)} peaks",
            allowed=f"at least 5 of {0.8 * snr:.1f} times the noise",
        )
    at = tuple(places.astype(int).T)
    low = ndimage.minimum_filter(ndimage.gaussian_filter(frame.values, sigma / 2), round(1.2 * period) + 1)
    smooth = ndimage.gaussian_filter(low, period)
    height = ndimage.gaussian_filter(frame.values, sigma / 3)[at] - smooth[at]
    nothing = np.zeros(len(places))
    atoms = np.column_stack([places, height, nothing + np.log(sigma), nothing])
    typical = float(np.median(height))
    atoms[:, HEIGHT] = np.maximum(atoms[:, HEIGHT], 0.02 * typical)
    return Fit(atoms, smooth, noise, sigma, 0.2, 0.3 * typical, max(0.6 * period, 2 * sigma))


def _spacing(fit: Fit) -> float:
    distance, _ = cKDTree(fit.atoms[:, :2]).query(fit.atoms[:, :2], 2)
    return float(np.median(distance[:, 1]))


def _errors(fit: Fit, frame: Exposure) -> Floats:
    return np.sqrt(np.diagonal(covariances(fit, frame), axis1=1, axis2=2))


def _pruned(fit: Fit, frame: Exposure, snr: float) -> Fit:
    """Without what is not significant, outside the frame or a double."""
    atoms = fit.atoms
    keep = atoms[:, HEIGHT] >= snr * _errors(fit, frame)[:, HEIGHT]
    keep &= atoms[:, HEIGHT] >= FAINTEST * np.median(atoms[:, HEIGHT])
    for axis in (ROW, COL):
        keep &= (atoms[:, axis] >= 0) & (atoms[:, axis] <= frame.values.shape[axis] - 1)
    pairs = cKDTree(atoms[:, :2]).query_pairs(MERGED * fit.sigma, output_type="ndarray")
    keep[np.where(atoms[pairs[:, 0], HEIGHT] < atoms[pairs[:, 1], HEIGHT], *pairs.T)] = False
    if keep.sum() < 5:
        raise RequestError(
            "no lattice found: too few peaks are fitted by a Gaussian", came=int(keep.sum())
        )
    return replace(fit, atoms=atoms[keep])


def _completed(fit: Fit, frame: Exposure, snr: float) -> Fit:
    """With the peaks that stand in the residual."""
    picture = picture_of(fit)
    variance = fit.noise.variance(picture.model)
    residual = np.where(frame.usable, frame.values - picture.model, 0.0)
    answer = answers(residual, variance, fit.sigma)
    spread = max(1.0, 1.4826 * float(np.median(np.abs(answer))))
    places, _ = find_peaks(residual, variance, fit.sigma, snr * spread)
    if len(places):
        apart, _ = cKDTree(fit.atoms[:, :2]).query(places)
        places = places[apart > max(2.5 * fit.sigma, 0.5 * _spacing(fit))]
    at = tuple(places.astype(int).T)
    height = np.maximum(residual[at], 0.02 * np.median(fit.atoms[:, HEIGHT]))
    nothing = np.zeros(len(places))
    new = np.column_stack([places, height, nothing + np.log(fit.sigma), nothing])
    return replace(fit, atoms=np.concatenate([fit.atoms, new]))


def _dataset(fit: Fit, frame: Exposure) -> xr.Dataset:
    errors = _errors(fit, frame)
    atoms = fit.atoms
    sigma = np.exp(atoms[:, LOG_SIGMA])
    at = tuple(np.rint(atoms[:, [ROW, COL]]).astype(int).T)
    columns = {
        "row": (atoms[:, ROW], "row of the centre", "px"),
        "col": (atoms[:, COL], "col of the centre", "px"),
        "row_err": (errors[:, ROW], "standard error of row", "px"),
        "col_err": (errors[:, COL], "standard error of col", "px"),
        "intensity": (atoms[:, HEIGHT], "peak height above the background", "grey value"),
        "intensity_err": (errors[:, HEIGHT], "standard error of intensity", "grey value"),
        "sigma": (sigma, "standard deviation of the Gaussian", "px"),
        "sigma_err": (sigma * errors[:, LOG_SIGMA], "standard error of sigma", "px"),
        "background": (fit.smooth[at] + atoms[:, LEVEL], "local background", "grey value"),
    }
    found = xr.Dataset(
        {
            name: ("atom", values, {"long_name": long_name, "units": units})
            for name, (values, long_name, units) in columns.items()
        }
    )
    return found.assign_attrs(
        spacing_px=_spacing(fit), noise_floor=fit.noise.floor, noise_gain=fit.noise.gain
    )
