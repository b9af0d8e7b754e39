"""Random numbers: xoshiro256++ on states that the caller passes in.

There is no global state: a stream is a pure function of its state, so that a result depends only on
the seed and never on threads, workers or order.

References
----------
Blackman and Vigna, ACM Trans. Math. Softw. 47, 36 (2021), 10.1145/3460772; Steele, Lea and Flood,
OOPSLA 2014, 10.1145/2660193.2660195 (the mixing function that spreads a seed over replicas).
"""

from typing import Any

import numpy as np

from latticescape.physics.compiled import compiled

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@compiled
def mix64(word: Any) -> Any:
    """A bijection of 64-bit words that scatters every bit (the finalizer of SplitMix64)."""
    word = (word ^ (word >> np.uint64(30))) * _MIX1
    word = (word ^ (word >> np.uint64(27))) * _MIX2
    return word ^ (word >> np.uint64(31))


@compiled
def replica_state(seed: Any, replica: Any, state: Any) -> None:
    """Fill ``state`` (4,) with the generator of one replica of a point with ``seed`` (4,)."""
    for k in range(4):
        state[k] = mix64(seed[k] + np.uint64(replica + 1) * _WEYL)


@compiled
def next_word(state: Any) -> Any:
    """The next 64 random bits; advances ``state``."""
    total = state[0] + state[3]
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + state[0]
    shifted = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return result


@compiled
def next_uniform(state: Any) -> Any:
    """A double in [0, 1) with 53 random bits."""
    return np.float64(next_word(state) >> np.uint64(11)) * 2.0**-53


@compiled
def next_below(state: Any, bound: Any) -> Any:
    """An integer in [0, bound), bound < 2^31; its bias is below bound / 2^32."""
    return np.int64(((next_word(state) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))
