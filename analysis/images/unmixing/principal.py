"""Principal components of more windows than fit into memory."""

from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt

from latticescape.analysis.images.spectra.window_vectors import WindowVectors
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# Directions that are followed beside those asked for, so that these converge sooner.
SPARE = 10

# A component is found when its residual |C v − λ v| / λ falls below this, or after so many passes.
TOLERANCE, MOST_PASSES = 1e-3, 12


@dataclass(frozen=True)
class Components:
    """The leading principal components.

    Attributes
    ----------
    mean
        (features,): the mean vector.
    axes
        (features, n): orthonormal, of the centred vectors times the root of the weights.
    scores
        (windows, n): each window along each axis.
    variances
        (n,): variance along each axis, descending.
    total
        Variance along all axes, also those that are not here.
    """

    mean: Floats
    axes: Floats
    scores: Floats
    variances: Floats
    total: float


def principal_components(vectors: WindowVectors, n: int, *, seed: int = 0) -> Components:
    """The n leading principal components, in a few passes over the windows.

    Block power iteration: the covariance C is only ever applied to a few directions at a time,
    C V = Σ (x − m)(x − m)ᵀV, summed over the blocks, so that neither the vectors nor C are held.
    Signs: the largest coordinate of an axis is positive.

    Raises
    ------
    RequestError
        If the vectors are not finite, or are all alike.

    References
    ----------
    N. Halko, P.-G. Martinsson and J. A. Tropp, SIAM Rev. 53, 217 (2011), 10.1137/090771806.

    Examples
    --------
    >>> import xarray as xr
    >>> spectra = xr.DataArray(np.eye(3).reshape(3, 1, 3), dims=("window", "k_row", "k_col"))
    >>> found = principal_components(WindowVectors.of(spectra), 2)
    >>> found.variances.round(3).tolist(), round(found.total, 3)
    ([0.333, 0.333], 0.667)
    """
    mean = np.asarray(vectors.matrix.mean(axis=0, dtype=np.float64).compute())
    if not np.isfinite(mean).all():
        raise RequestError("spectra are NaN or infinite", allowed="finite values")
    features = len(mean)
    followed = min(n + SPARE, features)
    start = np.random.default_rng(seed).standard_normal((features, followed))
    basis = np.linalg.qr(start)[0]
    for _ in range(MOST_PASSES):
        product, scores, total = _applied(vectors, mean, basis)
        if total <= np.finfo(np.float32).eps ** 2 * float(mean @ mean):
            raise RequestError("all spectra are alike: nothing to tell apart", came="no variance")
        values, turn = np.linalg.eigh(scores.T @ scores / vectors.windows)
        values, turn = values[::-1], turn[:, ::-1]
        axes, image = basis @ turn, product @ turn
        residual = np.linalg.norm(image - axes * values, axis=0)[:n]
        if (residual <= TOLERANCE * values[:n]).all():
            break
        basis = np.linalg.qr(image)[0]
    axes, scores = axes[:, :n], (scores @ turn)[:, :n]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return Components(mean, axes * signs, scores * signs, np.maximum(values[:n], 0), total)


def centred(
    block: npt.NDArray[Any], mean: Floats, weights: Floats
) -> npt.NDArray[np.floating[Any]]:
    """Vectors without their mean, so scaled that distances are those between whole spectra."""
    shifted: npt.NDArray[np.floating[Any]] = block - mean.astype(block.dtype, copy=False)
    shifted *= np.sqrt(weights).astype(shifted.dtype, copy=False)
    return shifted


def _applied(vectors: WindowVectors, mean: Floats, basis: Floats) -> tuple[Floats, Floats, float]:
    """C V, the scores (x − m)ᵀV, and the total variance."""
    matrix = vectors.matrix
    known = [da.from_array(values, chunks=-1) for values in (mean, vectors.weights, basis)]
    centre, weights, directions = known
    moved = da.blockwise(centred, "wf", matrix, "wf", centre, "f", weights, "f", dtype=matrix.dtype)
    scores = da.blockwise(
        _scores, "wc", moved, "wf", directions, "fc", dtype=float, concatenate=True
    )
    one = {"w": 1}
    product = da.blockwise(
        _product, "wfc", moved, "wf", scores, "wc", dtype=float, adjust_chunks=one
    ).sum(axis=0)
    squares = da.blockwise(
        _squares, "w", moved, "wf", dtype=float, adjust_chunks=one, concatenate=True
    ).sum()
    found: tuple[Floats, Floats, float] = dask.compute(product, scores, squares)
    return found[0] / vectors.windows, found[1], float(found[2]) / vectors.windows


def _scores(moved: npt.NDArray[Any], directions: Floats) -> Floats:
    scores: Floats = (moved @ directions.astype(moved.dtype)).astype(np.float64)
    return scores


def _product(moved: npt.NDArray[Any], scores: Floats) -> Floats:
    product: Floats = (moved.T @ scores.astype(moved.dtype)).astype(np.float64)
    return product[None]


def _squares(moved: npt.NDArray[Any]) -> Floats:
    return np.array([np.einsum("wf,wf->", moved, moved, dtype=np.float64)])
