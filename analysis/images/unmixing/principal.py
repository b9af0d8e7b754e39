"""Spectra of windows as vectors and their principal components, for data larger than memory."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import check_least
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

FREQUENCIES = ("k_row", "k_col")

# Windows in which a larger share of the pixels was left out are not unmixed.
MOST_LEFT_OUT = 0.1

# Bytes of a block of spectra that are one array in memory.
BLOCK_BYTES = 2**25

# Additional directions in the iteration, which speed up its convergence.
SPARE = 10

# A component has converged if its residual |C v − λ v| / λ is below this; most passes.
TOLERANCE, MOST_PASSES = 1e-3, 12


@dataclass(frozen=True)
class WindowVectors:
    """Spectra as vectors, one per window, and the way back to labelled arrays.

    Of spectra that are symmetric under k → −k only half a plane is kept. Its frequencies then
    count twice, so that distances between vectors are those between complete spectra.

    Attributes
    ----------
    spectra
        (…, k_row, k_col), the source of the vectors.
    matrix
        (windows, features), a Dask array with chunks along the windows only. Windows in which more
        than ``MOST_LEFT_OUT`` of the pixels were left out are not among them.
    kept
        (all windows,): which those are.
    """

    spectra: xr.DataArray
    matrix: Any
    kept: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, spectra: xr.DataArray) -> "WindowVectors":
        """Vectors of the spectra of :func:`sliding_fft`, or of any array whose last dims are k."""
        if not isinstance(spectra, xr.DataArray) or spectra.dims[-2:] != FREQUENCIES:
            came = getattr(spectra, "dims", type(spectra).__name__)
            allowed = "(…, window_row, window_col, k_row, k_col)"
            hint = "sliding_fft(image, window=64)"
            raise RequestError("no spectra of windows", came=came, allowed=allowed, hint=hint)
        values = spectra.data
        if _symmetric(spectra):
            values = values[..., : values.shape[-1] // 2 + 1]
        windows, features = int(np.prod(values.shape[:-2])), int(np.prod(values.shape[-2:]))
        if windows * features == 0:
            raise RequestError("there are no spectra", came=f"shape {values.shape}")
        kept = np.ones(windows, np.bool_)
        if "left_out" in spectra.coords:
            left_out = spectra["left_out"].broadcast_like(spectra.isel(k_row=0, k_col=0))
            kept = left_out.to_numpy().ravel() <= MOST_LEFT_OUT
            check_least(int(kept.sum()), 2, f"windows with {1 - MOST_LEFT_OUT:.0%} of their pixels")
        if isinstance(values, da.Array):
            complete = values.rechunk({values.ndim - 2: -1, values.ndim - 1: -1})
            matrix = complete.reshape(windows, features).rechunk({1: -1})
        else:
            block = max(1, BLOCK_BYTES // (features * 8))
            matrix = np.reshape(values, (windows, features))
            matrix = da.from_array(matrix, chunks=(block, features))
        return cls(spectra, matrix if kept.all() else matrix[np.flatnonzero(kept)], kept)

    @property
    def windows(self) -> int:
        """Number of windows."""
        return int(self.matrix.shape[0])

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims of the windows."""
        return tuple(str(dim) for dim in self.spectra.dims[:-2])

    @cached_property
    def weights(self) -> Floats:
        """(features,): how often each feature occurs in a complete spectrum."""
        rows, cols = self.spectra.shape[-2:]
        weights = np.ones((rows, self.matrix.shape[1] // rows))
        if _symmetric(self.spectra):
            # All but frequency zero, and the highest if their number is even.
            weights[:, 1 - cols % 2 : -1] = 2
        return weights.ravel()

    def placed(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(windows, …) → (…, dims of the windows), NaN for windows that are not kept."""
        shape = tuple(self.spectra.sizes[dim] for dim in self.dims)
        every = np.full((len(self.kept), *values.shape[1:]), np.nan, values.dtype)
        every[self.kept] = values
        return np.moveaxis(every, 0, -1).reshape(*values.shape[1:], *shape)

    def unfolded(self, vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, features) → (n, k_row, k_col), both halves."""
        rows, cols = self.spectra.shape[-2:]
        half = vectors.reshape(len(vectors), rows, -1)
        if half.shape[-1] == cols:
            return half
        flipped = np.roll(half[:, ::-1, ::-1], 1 - rows % 2, axis=1)
        return np.concatenate([half, flipped[:, :, 1 : cols - half.shape[-1] + 1]], axis=2)


def _symmetric(spectra: xr.DataArray) -> bool:
    """Whether the attributes say so, and the frequencies of a window are complete."""
    if not spectra.attrs.get("inversion_symmetric", 0):
        return False
    frequencies = (spectra[dim].to_numpy() for dim in FREQUENCIES)
    return all(np.allclose(k, np.fft.fftshift(np.fft.fftfreq(len(k)))) for k in frequencies)


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
        Variance along all axes, including those left out.
    """

    mean: Floats
    axes: Floats
    scores: Floats
    variances: Floats
    total: float


def principal_components(vectors: WindowVectors, n: int, *, seed: int = 0) -> Components:
    """The n leading principal components, in a few passes over the windows.

    Block power iteration: the covariance C is only applied to a few directions at a time,
    C V = Σ (x − m)(x − m)ᵀV, summed over blocks of windows, so that neither all vectors nor C are
    in memory. It reads the windows once per iteration and stops at convergence, which takes half as
    many passes as ``dask.array.linalg.svd_compressed`` of the same accuracy. Signs: the largest
    coordinate of an axis is positive.

    Raises
    ------
    RequestError
        If the vectors are not finite, or are all equal.

    References
    ----------
    N. Halko, P.-G. Martinsson and J. A. Tropp, SIAM Rev. 53, 217 (2011), 10.1137/090771806.

    Examples
    --------
    >>> import xarray as xr
    >>> spectra = xr.DataArray(np.eye(3).reshape(3, 1, 3), dims=("window", "k_row", "k_col"))
    >>> components = principal_components(WindowVectors.of(spectra), 2)
    >>> components.variances.round(3).tolist(), round(components.total, 3)
    ([0.333, 0.333], 0.667)
    """
    mean = np.asarray(vectors.matrix.mean(axis=0, dtype=np.float64).compute())
    if not np.isfinite(mean).all():
        raise RequestError("spectra are NaN or infinite", allowed="finite values")
    features = len(mean)
    start = np.random.default_rng(seed).standard_normal((features, min(n + SPARE, features)))
    basis = np.linalg.qr(start)[0]
    for _ in range(MOST_PASSES):
        product, scores, total = _apply_covariance(vectors, mean, basis)
        if total <= np.finfo(np.float32).eps ** 2 * float(mean @ mean):
            raise RequestError("all spectra are equal: nothing to distinguish", came="no variance")
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
    """Vectors without their mean, scaled to the distances between complete spectra."""
    shifted: npt.NDArray[np.floating[Any]] = block - mean.astype(block.dtype, copy=False)
    shifted *= np.sqrt(weights).astype(shifted.dtype, copy=False)
    return shifted


def _apply_covariance(
    vectors: WindowVectors, mean: Floats, basis: Floats
) -> tuple[Floats, Floats, float]:
    """C V, the scores (x − m)ᵀV, and the total variance, in one pass."""
    matrix = vectors.matrix
    centre, weights, directions = (
        da.from_array(values, chunks=-1) for values in (mean, vectors.weights, basis)
    )
    moved = da.blockwise(centred, "wf", matrix, "wf", centre, "f", weights, "f", dtype=matrix.dtype)
    scores = da.blockwise(
        lambda x, v: (x @ v.astype(x.dtype)).astype(np.float64),
        "wc",
        moved,
        "wf",
        directions,
        "fc",
        dtype=float,
        concatenate=True,
    )
    product = da.blockwise(
        lambda x, y: (x.T @ y.astype(x.dtype)).astype(np.float64)[None],
        "wfc",
        moved,
        "wf",
        scores,
        "wc",
        dtype=float,
        adjust_chunks={"w": 1},
    ).sum(axis=0)
    squares = da.blockwise(
        lambda x: np.array([np.einsum("wf,wf->", x, x, dtype=np.float64)]),
        "w",
        moved,
        "wf",
        dtype=float,
        adjust_chunks={"w": 1},
        concatenate=True,
    ).sum()
    sums: tuple[Floats, Floats, float] = dask.compute(product, scores, squares)
    return sums[0] / vectors.windows, sums[1], float(sums[2]) / vectors.windows
