"""How many endmembers the spectra of an image's windows distinguish."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.images.unmixing.mixture import MOST_ENDMEMBERS, independent_fraction
from latticescape.analysis.images.unmixing.principal import WindowVectors, principal_components
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# A component is structure if windows without common pixels share more than half its variance, and
# the share exceeds zero by this many standard errors.
LEAST_PERSISTENCE, LEAST_SIGNIFICANCE = 0.5, 2.0

# The last component that counts is followed by at least this share of the largest drop.
LEAST_DROP = 0.2


def count_endmembers(spectra: xr.DataArray, *, most: int = 8, seed: int = 0) -> xr.Dataset:
    """Number of endmembers for :func:`unmix`: one more than the components that are structure.

    Two criteria apply together. *Persistence*: the correlation of a component's map with itself,
    shifted by a full window along rows or columns, whichever is larger. Such windows share no
    noise, so this is the fraction of the variance that is structure larger than a window; the
    component counts if it exceeds a half. *Elbow*: components count up to the last one that is
    followed by a drop of the variance of at least a fifth of the largest. Mixtures of two phases in
    a window do not lie on a straight line between their logarithmic spectra, and the curvature
    makes a component of about a tenth of the first's variance: without the elbow every boundary
    would be an endmember.

    Parameters
    ----------
    spectra
        (…, window_row, window_col, k_row, k_col), from :func:`sliding_fft`.
    most
        Largest number of endmembers.
    seed
        Of the search for components.

    Returns
    -------
    Dataset
        (component): ``variance`` and ``variance_explained``, as fractions of the total, the second
        cumulative; ``persistence``; ``significance``, persistence in standard errors with the
        overlap of windows taken into account; ``drop``, to the next component's variance.
        attrs ``endmembers``: their number.

    Raises
    ------
    RequestError
        If there are fewer windows than components, or all windows overlap.

    References
    ----------
    P. Switzer and A. A. Green, Stanford Tech. Rep. 6 (1984), and A. A. Green et al., IEEE Trans.
    Geosci. Remote Sens. 26, 65 (1988), 10.1109/36.3001, whose noise also is what neighbours do not
    share; the elbow after R. B. Cattell, Multivariate Behav. Res. 1, 245 (1966),
    10.1207/s15327906mbr0102_10.

    Examples
    --------
    >>> from latticescape import sliding_fft
    >>> row, col = np.indices((96, 96))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> noise = np.random.default_rng(1).standard_normal((96, 96))
    >>> count_endmembers(sliding_fft(waves + noise, window=24), most=4).attrs["endmembers"]
    2
    """
    vectors = WindowVectors.of(spectra)
    lag = _lag(spectra)
    count = min(most, MOST_ENDMEMBERS, vectors.windows - 1)
    if count < 2:
        raise RequestError("nothing to choose from", came=f"most={most}", allowed="2 or more")
    components = principal_components(vectors, count, seed=seed)
    variance = components.variances / components.total
    drop = variance[:-1] - variance[1:]
    fraction = independent_fraction(int(spectra.attrs["window"]), int(spectra.attrs["step"]))
    maps = vectors.placed(components.scores)[:-1]
    persistence, significance = np.array([_persistence(scores, lag, fraction) for scores in maps]).T
    structure = (persistence >= LEAST_PERSISTENCE) & (significance >= LEAST_SIGNIFICANCE)
    leading = np.logical_and.accumulate(structure) & (drop >= LEAST_DROP * drop.max())
    endmembers = 1 + int(np.flatnonzero(leading)[-1] + 1 if leading.any() else 0)
    table = {
        "variance": (variance[:-1], "fraction of the variance"),
        "variance_explained": (np.cumsum(variance)[:-1], "fraction of the variance, cumulative"),
        "persistence": (persistence, "correlation over the distance of a window"),
        "significance": (significance, "persistence in standard errors"),
        "drop": (drop, "drop to the next component"),
    }
    return xr.Dataset(
        {
            name: ("component", values, {"long_name": long_name, "units": "1"})
            for name, (values, long_name) in table.items()
        },
        attrs={"endmembers": endmembers, "lag": lag},
    )


def _lag(spectra: xr.DataArray) -> int:
    """Steps from one window to the next without common pixels."""
    if spectra.dims[-4:-2] != ("window_row", "window_col") or not spectra.attrs.get("step"):
        raise RequestError(
            "spectra are not of sliding windows",
            came=spectra.dims,
            hint="sliding_fft(image, window=64)",
        )
    window, step = int(spectra.attrs["window"]), int(spectra.attrs["step"])
    lag = -(-window // step)
    if max(spectra.shape[-4:-2]) <= lag:
        raise RequestError(
            "all windows overlap, so shared structure and shared noise cannot be distinguished",
            came=f"{spectra.sizes['window_row']} × {spectra.sizes['window_col']} windows",
            allowed=f"more than {lag} in one direction",
            hint=f"--window {window // 2}, window={window // 2} in Python",
        )
    return lag


def _persistence(scores: Floats, lag: int, fraction: float) -> tuple[float, float]:
    """Correlation over a lag along rows or columns, and how many standard errors that is."""
    moved = scores - scores.mean()
    variance = max(float((moved**2).mean()), np.finfo(float).tiny)
    candidates = []
    for along in (moved, np.swapaxes(moved, -1, -2)):
        pairs = along[..., lag:, :] * along[..., :-lag, :]
        if pairs.size:
            correlation = float(pairs.mean()) / variance
            candidates.append((correlation * np.sqrt(fraction * pairs.size), correlation))
    significance, persistence = max(candidates)
    return persistence, significance
