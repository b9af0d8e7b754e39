"""What a sample keeps of a point besides its sums: every measurement, and the last spins."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.variables import SAMPLES, SPINS

KEEP = (SAMPLES, SPINS)

Counts = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]


class Trace(NamedTuple):
    """Where one point's trace goes; None where it is not kept.

    Attributes
    ----------
    features
        Of every measurement, (64, samples, features).
    histogram
        Configurations of every measurement, (64, samples, classes).
    spins
        After the last one, (sites,); bit r is replica r.
    """

    features: Counts | None
    histogram: Counts | None
    spins: Words | None

    def record(
        self, sample: int, features: npt.NDArray[np.int64], histogram: npt.NDArray[np.int64]
    ) -> None:
        """One measurement, (64, features) and (64, classes)."""
        if self.features is not None and self.histogram is not None:
            self.features[:, sample], self.histogram[:, sample] = features, histogram

    def finish(self, spins: Words) -> None:
        """The last spins, (sites,) words."""
        if self.spins is not None:
            self.spins[...] = spins


def kept(words: Any) -> tuple[str, ...]:
    """What is to be kept, each word once and in the order of ``KEEP``.

    Raises
    ------
    RequestError
        If a word is unknown.

    Examples
    --------
    >>> kept(["spins", "samples"])
    ('samples', 'spins')
    """
    known = isinstance(words, Sequence) and not isinstance(words, str)
    if not known or any(word not in KEEP for word in words):
        raise RequestError(
            "keep holds what no sweep can keep",
            came=repr(words),
            allowed=f"a list of {' and '.join(KEEP)}",
            hint='keep = ["samples"]',
        )
    return tuple(word for word in KEEP if word in words)


def pack_replicas(spins: npt.NDArray[np.uint8]) -> Words:
    """Spins of 64 replicas as words: (64, sites) of 0 and 1 to (sites,), bit r being replica r.

    Examples
    --------
    >>> spins = np.zeros((64, 2), np.uint8)
    >>> spins[3, 1] = 1
    >>> pack_replicas(spins).tolist()
    [0, 8]
    """
    packed = np.packbits(np.ascontiguousarray(spins.T), axis=1, bitorder="little")
    return packed.view("<u8")[:, 0].astype(np.uint64)


def unpack_replicas(words: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """The stored variable ``spins``, (…, sites) words, as 0 and 1 of each replica, (…, 64, sites).

    Examples
    --------
    >>> unpack_replicas(np.array([0, 8], np.uint64))[3].tolist()
    [0, 1]
    """
    places = np.arange(REPLICAS, dtype=np.uint64)[:, None]
    bits = np.asarray(words, np.uint64)[..., None, :] >> places & np.uint64(1)
    return bits.astype(np.uint8)
