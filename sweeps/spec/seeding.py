"""A point's seed is a pure function of the sweep's seed and the point's own parameters.

Never of an index, a block or a worker: so a grid can be cut, reordered and extended, and every old
point keeps its bits. The idea of randomness as a function of its input is kwant's (``digest``).
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt


def point_seed(seed: int, parameters: Mapping[str, float]) -> npt.NDArray[np.uint64]:
    """256 bits for one point.

    Parameters
    ----------
    seed
        The sweep's seed.
    parameters
        The point's parameters; their order does not matter, and −0.0 is 0.0.

    Returns
    -------
    ndarray
        (4,) uint64, from BLAKE2b (RFC 7693) of the names and the IEEE 754 values.

    Examples
    --------
    >>> a = point_seed(1, {"T": 2.0, "H": 0.0})
    >>> b = point_seed(1, {"H": -0.0, "T": 2.0})
    >>> bool((a == b).all()), bool((a == point_seed(2, {"T": 2.0, "H": 0.0})).any())
    (True, False)
    """
    words: npt.NDArray[np.uint64] = point_seeds(seed, [parameters])[0]
    return words


def point_seeds(seed: int, points: Iterable[Mapping[str, float]]) -> npt.NDArray[np.uint64]:
    """Seeds of several points, (points, 4) uint64."""
    digests = b"".join(_digest(seed, parameters) for parameters in points)
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 4)


def _digest(seed: int, parameters: Mapping[str, float]) -> bytes:
    message = b"latticescape point 1\0" + str(seed).encode()
    for name, value in sorted(parameters.items()):
        message += b"\0" + name.encode() + b"=" + struct.pack(">d", value + 0.0)
    return hashlib.blake2b(message, digest_size=32).digest()
