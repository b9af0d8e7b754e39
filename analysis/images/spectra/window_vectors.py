"""Spectra of windows as rows of a matrix that need not fit into memory."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

FREQUENCIES = ("k_row", "k_col")

# Bytes of a block of spectra that came as one piece.
BLOCK_BYTES = 2**25


@dataclass(frozen=True)
class WindowVectors:
    """Spectra as vectors, one a window, and the way back to labelled arrays.

    Of spectra that are symmetric under k → −k only half a plane is kept. Its frequencies then
    count twice, so that distances between vectors are those between whole spectra.

    Attributes
    ----------
    spectra
        (…, k_row, k_col), what the vectors were made of.
    matrix
        (windows, features), a Dask array cut along the windows only.
    """

    spectra: xr.DataArray
    matrix: Any

    @classmethod
    def of(cls, spectra: xr.DataArray) -> "WindowVectors":
        """Vectors of :func:`sliding_fft`'s spectra, or of any array whose last dims are k's."""
        if not isinstance(spectra, xr.DataArray) or spectra.dims[-2:] != FREQUENCIES:
            raise RequestError(
                "no spectra of windows",
                came=getattr(spectra, "dims", type(spectra).__name__),
                allowed="(…, window_row, window_col, k_row, k_col)",
                hint="sliding_fft(image, window=64)",
            )
        values = spectra.data
        if _symmetric(spectra):
            values = values[..., : values.shape[-1] // 2 + 1]
        return cls(spectra, _as_matrix(values))

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return int(self.matrix.shape[0])

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims that number the windows."""
        return tuple(str(dim) for dim in self.spectra.dims[:-2])

    @cached_property
    def weights(self) -> Floats:
        """(features,): how often each feature stands in a whole spectrum."""
        rows, cols = self.spectra.shape[-2:]
        weights = np.ones((rows, self.matrix.shape[1] // rows))
        if _symmetric(self.spectra):
            # All but frequency zero, and the highest one of an even number.
            weights[:, 1 - cols % 2 : -1] = 2
        return weights.ravel()

    def placed(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(windows, …) → (…, windows' own dims)."""
        shape = tuple(self.spectra.sizes[dim] for dim in self.dims)
        return np.moveaxis(values, 0, -1).reshape(*values.shape[1:], *shape)

    def unfolded(self, vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, features) → (n, k_row, k_col), both halves."""
        rows, cols = self.spectra.shape[-2:]
        half = vectors.reshape(len(vectors), rows, -1)
        if half.shape[-1] == cols:
            return half
        flipped = np.roll(half[:, ::-1, ::-1], 1 - rows % 2, axis=1)
        return np.concatenate([half, flipped[:, :, 1 : cols - half.shape[-1] + 1]], axis=2)


def _symmetric(spectra: xr.DataArray) -> bool:
    """Whether the spectra say so, and all frequencies of a window are there."""
    if not spectra.attrs.get("inversion_symmetric", 0):
        return False
    there = (spectra[dim].to_numpy() for dim in FREQUENCIES)
    return all(np.allclose(k, np.fft.fftshift(np.fft.fftfreq(len(k)))) for k in there)


def _as_matrix(values: Any) -> Any:
    windows, features = int(np.prod(values.shape[:-2])), int(np.prod(values.shape[-2:]))
    if windows * features == 0:
        raise RequestError("no spectra at all", came=f"shape {values.shape}")
    if isinstance(values, da.Array):
        whole = values.rechunk({values.ndim - 2: -1, values.ndim - 1: -1})
        return whole.reshape(windows, features).rechunk({1: -1})
    block = max(1, BLOCK_BYTES // (features * 8))
    return da.from_array(np.reshape(values, (windows, features)), chunks=(block, features))
