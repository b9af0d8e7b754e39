"""``checksums``: 64 bits over everything that is stored of a point, to know later if it changed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

BYTES = 8


def checksums(results: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint64]:
    """A checksum of every point, from its own bytes alone.

    Parameters
    ----------
    results
        Variables in the order a kernel declares them, points first.

    Returns
    -------
    ndarray
        (points,) uint64: the first 64 bits of BLAKE2b (RFC 7693) over the variables' bytes, little
        endian.

    Examples
    --------
    >>> both = checksums({"energy": np.array([1.0, 2.0])})
    >>> bool(both[1] == checksums({"energy": np.array([2.0])})[0])
    True
    """
    rows = [_bytes_of_points(values) for values in results.values()]
    message = np.concatenate(rows, axis=1)
    found = b"".join(hashlib.blake2b(row, digest_size=BYTES).digest() for row in message)
    return np.frombuffer(found, "<u8").astype(np.uint64)


def canonical(values: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Values in their declared type, with one NaN of the many.

    A chunk of nothing but NaN is never written, so that it is read as the fill value: what sign or
    payload a NaN has would depend on its neighbours.

    Examples
    --------
    >>> canonical(np.array([-np.nan]), "float64").tobytes() == np.array([np.nan]).tobytes()
    True
    """
    found = np.array(values, dtype)
    if found.dtype.kind in "fc":
        found[np.isnan(found)] = found.dtype.type("nan+nanj" if found.dtype.kind == "c" else "nan")
    return found


def _bytes_of_points(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.reshape(len(little), -1).view(np.uint8)
