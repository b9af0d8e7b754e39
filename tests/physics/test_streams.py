"""Random streams: the published generator, and no pattern that a simulation would feel."""

import itertools

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from latticescape.physics.kernels.streams import (
    mix64,
    next_below,
    next_uniform,
    next_word,
    replica_state,
)
from latticescape.sweeps.spec.sweep import point_seeds
from tests.support.stream_battery import failures

MASK = 2**64 - 1


def xoshiro256pp(state: list[int]) -> int:
    """The generator in Python's unbounded integers."""

    def rotl(x: int, k: int) -> int:
        return ((x << k) | (x >> (64 - k))) & MASK

    result = (rotl((state[0] + state[3]) & MASK, 23) + state[0]) & MASK
    shifted = (state[1] << 17) & MASK
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = rotl(state[3], 45)
    return result


def test_words_are_those_of_xoshiro256pp() -> None:
    state = np.array([1, 2, 3, 4], np.uint64)
    plain = [1, 2, 3, 4]
    assert [int(next_word(state)) for _ in range(200)] == [xoshiro256pp(plain) for _ in range(200)]


def test_the_first_words_from_one_two_three_four_are_the_known_ones() -> None:
    """Known answers, as the generator's Rust implementation (crate rand_xoshiro) tests them."""
    state = np.array([1, 2, 3, 4], np.uint64)
    assert [int(next_word(state)) for _ in range(3)] == [41943041, 58720359, 3588806011781223]


def test_mixing_is_a_bijection_on_a_sample() -> None:
    words = np.arange(100_000, dtype=np.uint64)
    assert len({int(mix64(word)) for word in words}) == len(words)


def states(seed: int, replicas: int) -> np.ndarray:
    source = np.random.SeedSequence(seed).generate_state(4, np.uint64)
    found = np.empty((replicas, 4), np.uint64)
    for replica in range(replicas):
        replica_state(source, replica, found[replica])
    return found


def test_replicas_of_neighbouring_seeds_are_all_different() -> None:
    seeds = [np.array([0, 0, 0, k], np.uint64) for k in range(8)]
    found = set()
    for seed, replica in itertools.product(seeds, range(64)):
        state = np.empty(4, np.uint64)
        replica_state(seed, replica, state)
        found.add(tuple(state.tolist()))
    assert len(found) == 8 * 64


@pytest.mark.statistical
def test_uniforms_are_uniform_and_replicas_uncorrelated() -> None:
    drawn = np.array([[next_uniform(s) for _ in range(4000)] for s in states(5, 64)])
    assert kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(drawn)[np.triu_indices(64, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(drawn.shape[1])
    assert np.std(correlations) * np.sqrt(drawn.shape[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.statistical
def test_whole_numbers_below_a_bound_are_equally_likely() -> None:
    state = states(6, 1)[0]
    counts = np.bincount([next_below(state, 7) for _ in range(70_000)], minlength=7)
    assert chi2(6).sf(np.sum((counts - 10_000) ** 2 / 10_000)) > 1e-3


def drawn(seeds: np.ndarray, right: int) -> np.ndarray:
    """32 bits of each word of 64 replicas a point, (4096, points, 64); the product's own code,
    which works on arrays as it does on numbers."""
    state = np.empty((len(seeds), 64, 4), np.uint64)
    for point, replica in itertools.product(range(len(seeds)), range(64)):
        replica_state(seeds[point], replica, state[point, replica])
    rows = state.transpose(2, 0, 1).copy()
    words = np.stack([next_word.py_func(rows) for _ in range(4096)])
    return (words >> np.uint64(right)).astype(np.uint32)


GRID = [{"T": 2.0 + 0.01 * k, "H": 0.1 * h} for k in range(8) for h in range(2)]


@pytest.mark.statistical
@pytest.mark.parametrize("right", [32, 0], ids=["upper half", "lower half"])
def test_replicas_and_points_pass_the_battery(right: int) -> None:
    assert failures(drawn(point_seeds(2026, GRID), right)) == {}


@pytest.mark.statistical
def test_replicas_that_are_not_mixed_fail_it() -> None:
    """Seeds plus the replica's number, as they are."""
    numbers = np.arange(16 * 64, dtype=np.uint64).reshape(16, 64)
    rows = np.stack([numbers + np.uint64(k) for k in range(4)])
    words = np.stack([next_word.py_func(rows) for _ in range(4096)])
    failed = {"neighbour_pairs", "lane_correlations"}
    assert failures((words >> np.uint64(32)).astype(np.uint32), failed).keys() == failed
