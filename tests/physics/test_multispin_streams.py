"""The random streams of the lanes: exact where algebra decides, by statistics where it does not.

The streams are written once more, from NumPy's own sfc64 and the table of planes, and predict the
kernel's spins; what the battery then looks at are these.
"""

import sys
from collections.abc import Callable
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latticescape.physics import square
from latticescape.physics.kernels.multispin.batches import draw_spins
from latticescape.physics.kernels.multispin.heat_bath import HOT, advance, rule, visits
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.multispin.thresholds import (
    DERIVED,
    FRESH,
    PLANES,
    WARM_UP,
    metropolis_planes,
    metropolis_thresholds,
    seed_state,
    threshold_planes,
)
from latticescape.sweeps.spec.sweep import point_seeds
from tests.support.plane_table import LANES, Plane, PlaneTable, lane_bits, numbers_of
from tests.support.statistics import seed_of, seeds_of
from tests.support.stream_battery import (
    Numbers,
    Z,
    departure,
    failures,
    later_bits_first,
)

Words = npt.NDArray[np.uint64]

TABLE = PlaneTable([DERIVED.get(k, ((k, 0),)) for k in range(PLANES)], FRESH)
UNIT = 2**PLANES
STEPS, POINTS = 4096, 16

# Linear algebra: exact.


def test_any_two_lanes_are_independent() -> None:
    """All 64 bits of every pair of lanes: linear forms of full rank in the fresh bits."""
    assert all(TABLE.independent(pair) for pair in combinations(range(LANES), 2))


def test_three_lanes_are_independent_but_for_448_of_41664_triples() -> None:
    """Those of lanes congruent modulo 8, in planes after the seventh: 21 of 1953 with lane 0."""
    congruent = [(0, *others) for others in combinations(range(8, LANES, 8), 2)]
    assert TABLE.first(HOT).dependent_lanes(3) == congruent
    assert TABLE.dependent_lanes(3) == congruent
    assert TABLE.first(7).dependent_lanes(3) == []
    assert len(congruent) == 21
    assert len(congruent) * LANES // 3 == 448


@pytest.mark.parametrize(
    ("plane", "alone", "pairs"),
    [
        pytest.param(DERIVED[7], 0, 0, id="as it is"),
        pytest.param(DERIVED[6], 1, 63, id="the plane before"),
        pytest.param(((0, 8),), 0, 6, id="another lane's first plane"),
        pytest.param(((0, 9), (1, 17), (0, 49)), 0, 2, id="another lane's plane before"),
        pytest.param(((0, 0), (1, 0)), 1, 63, id="planes of the lane itself"),
    ],
)
def test_the_rank_check_sees_a_bad_plane(plane: Plane, alone: int, pairs: int) -> None:
    table = PlaneTable([*TABLE.planes[:7], plane, *TABLE.planes[8:]], FRESH)
    assert len(table.dependent_lanes(1)) == alone
    assert len(table.dependent_lanes(2)) == pairs


# The streams once more, and the kernel held against them.


def sfc64(seed: Words) -> np.random.SFC64:
    """NumPy's own generator, at the state that a word's has after the warm-up."""
    generator = np.random.SFC64(0)
    state = generator.state
    state["state"]["state"] = np.array(seed, np.uint64)
    generator.state = state
    generator.random_raw(WARM_UP)
    return generator


def drawn(seeds: Words, steps: int, table: PlaneTable = TABLE) -> Numbers:
    """The uniform numbers of so many site updates, (steps, points, 64)."""
    raw = [sfc64(seed).random_raw(steps * FRESH).reshape(steps, FRESH) for seed in seeds]
    return numbers_of(table.draw(np.stack(raw).transpose(2, 1, 0)))


def spins_of(bits: npt.NDArray[np.uint8]) -> Words:
    """Words of the lanes' bits (..., 64)."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0].astype(np.uint64)


def heat_bath(spins: Words, neighbors: npt.NDArray[np.int32], thresholds: Words, u: Numbers):
    """The spins after len(u) updates of one site after the other: up where u < t[up neighbours]."""
    bits, word = lane_bits(spins), np.arange(WORDS)[:, None]
    for step, numbers in enumerate(u):
        site = step % len(bits)
        up = bits[neighbors[site]].sum(axis=0)
        bits[site] = numbers < thresholds[up, word]
    return spins_of(bits)


def metropolis(spins: Words, neighbors: npt.NDArray[np.int32], numbers: Words, u: Numbers):
    """The same where 63 of 64 flips to the more probable state are made, and others where u < t."""
    bits, word = lane_bits(spins), np.arange(WORDS)[:, None]
    for step, drawn in enumerate(u):
        site = step % len(bits)
        up = bits[neighbors[site]].sum(axis=0)
        t, favoured = numbers[up, word] >> np.uint64(1), numbers[up, word] & np.uint64(1)
        bits[site] ^= drawn < np.where(bits[site] == favoured, t, UNIT - UNIT // 64)
    return spins_of(bits)


SEEDS = arrays(np.uint64, (WORDS, 4), elements=st.integers(0, 2**64 - 1))
THRESHOLDS = arrays(np.uint64, (5, WORDS), elements=st.integers(1, UNIT - 1))


def mirrored(thresholds: Words) -> Words:
    """Thresholds that are symmetric between up and down."""
    half = np.full((1, WORDS), UNIT // 2, np.uint64)
    return np.concatenate([thresholds[:2], half, np.uint64(UNIT) - thresholds[1::-1]])


@settings(max_examples=30, deadline=None)
@given(seeds=SEEDS, thresholds=THRESHOLDS, symmetric=st.booleans(), by_metropolis=st.booleans())
def test_the_kernels_spins_are_predicted(
    seeds: Words, thresholds: Words, symmetric: bool, by_metropolis: bool
) -> None:
    lattice, mcs = square(4), 3
    t = mirrored(thresholds) if symmetric else thresholds
    spins = np.random.default_rng(1).integers(0, 2**64, (lattice.sites, WORDS), dtype=np.uint64)
    u = drawn(seeds, mcs * lattice.sites)
    if by_metropolis:
        planes = metropolis_planes(t / UNIT)
        expected = metropolis(spins, lattice.neighbors(1), metropolis_thresholds(t / UNIT), u)
    else:
        planes = threshold_planes(t / UNIT)
        expected = heat_bath(spins, lattice.neighbors(1), t, u)
    state = seed_state(seeds)
    advance(
        spins,
        visits(lattice.neighbors(1), range(lattice.sites)),
        rule(planes, [4]),
        state,
        mcs,
    )
    assert np.array_equal(spins, expected)
    for word, seed in enumerate(seeds):
        after = sfc64(seed)
        after.random_raw(mcs * lattice.sites * FRESH)
        assert state[:, word].tolist() == after.state["state"]["state"].tolist()


def test_the_kernels_uniform_numbers_are_read_to_the_last_bit() -> None:
    """A spin is down at the threshold u and up at u + 1: so u is that number and no other."""
    lattice, seeds = square(3), seeds_of(1, points=WORDS)
    last = drawn(seeds, lattice.sites)[-1].astype(np.uint64)
    assert last.min() > 0
    assert last.max() < UNIT - 1
    for lane in range(LANES):
        for above in (0, 1):
            t = np.tile(last[:, lane] + np.uint64(above), (5, 1))
            spins = np.zeros((lattice.sites, WORDS), np.uint64)
            table = rule(threshold_planes(t / UNIT), [4])
            advance(
                spins,
                visits(lattice.neighbors(1), range(lattice.sites)),
                table,
                seed_state(seeds),
                1,
            )
            assert lane_bits(spins)[-1, :, lane].tolist() == [above] * WORDS


def test_a_random_start_is_the_generators_first_words() -> None:
    seeds, sites = seeds_of(2, points=WORDS), 20
    spins, half, ones = np.zeros((sites, WORDS), np.uint64), *seeds_of(3, points=WORDS).T[:2]
    draw_spins(spins, seed_state(seeds), half, ones)
    raw = np.stack([sfc64(seed).random_raw(sites) for seed in seeds], axis=1)
    assert np.array_equal(spins, raw & half | ones)


# Statistics: each check would be refused once in a million if all were well.


def grid_seeds() -> Words:
    """Points beside each other in a parameter grid."""
    grid = [{"T": 2.0 + 0.01 * k, "H": 0.1 * h} for k in range(POINTS // 2) for h in range(2)]
    return point_seeds(2026, grid)


def small_seeds() -> Words:
    """Seeds of almost no bits, most unlike those of BLAKE2b.

    From 1 on: the state of four zeros steps on to (0, 0, 0, 1).
    """
    return np.array([[0, 0, 0, 1 + point] for point in range(POINTS)], np.uint64)


@pytest.mark.statistical
@pytest.mark.parametrize("seeds", [grid_seeds(), small_seeds()], ids=["grid", "small"])
@pytest.mark.parametrize("left", [0, FRESH], ids=["all planes", "derived planes first"])
def test_uniform_numbers_of_all_lanes_and_points_pass_the_battery(seeds: Words, left: int) -> None:
    assert failures(later_bits_first(drawn(seeds, STEPS), left)) == {}


def bad_table(planes: dict[int, Plane]) -> PlaneTable:
    return PlaneTable([planes.get(k, plane) for k, plane in enumerate(TABLE.planes)], FRESH)


def twice_the_same_seed() -> Numbers:
    seeds = grid_seeds()
    seeds[5] = seeds[3]
    return drawn(seeds, STEPS)


def every_sweep_alike() -> Numbers:
    return np.tile(drawn(grid_seeds(), STEPS // 4), (4, 1, 1))


def rotated_planes_alone() -> Numbers:
    return drawn(grid_seeds(), STEPS, bad_table({6 + k: ((k, 8),) for k in range(6)}))


def two_planes_alike() -> Numbers:
    return drawn(grid_seeds(), STEPS, bad_table({20: DERIVED[19]}))


def lanes_in_pairs() -> Numbers:
    """One pair of lanes shares its numbers once in eight steps."""
    u = drawn(grid_seeds(), STEPS)
    u[::8, :, 40] = u[::8, :, 23]
    return u


def two_lanes_against_each_other() -> Numbers:
    """What antithetic numbers would do to the error of a mean."""
    u = drawn(grid_seeds(), STEPS)
    u[..., 1::2] = ~u[..., ::2]
    return u


def a_first_bit_set_too_often() -> Numbers:
    """By one in 512."""
    u = drawn(grid_seeds(), STEPS)
    u[::256] |= np.uint32(2**31)
    return u


def linear_congruences() -> Numbers:
    """The lower halves of Knuth's MMIX generator."""
    with np.errstate(over="ignore"):
        states = [seeds_of(4, points=POINTS)[:, :1] + np.arange(LANES, dtype=np.uint64)]
        for _ in range(STEPS - 1):
            states.append(
                states[-1] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            )
    return (np.stack(states) & np.uint64(UNIT - 1)).astype(np.uint32)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("make", "failed"),
    [
        (twice_the_same_seed, {"stream_correlations", "point_correlations"}),
        (every_sweep_alike, {"serial_correlations"}),
        (rotated_planes_alone, {"plane_correlations"}),
        (two_planes_alike, {"plane_correlations", "birthday_spacings"}),
        (lanes_in_pairs, {"lane_correlations"}),
        (two_lanes_against_each_other, {"lane_sums", "neighbour_pairs"}),
        (a_first_bit_set_too_often, {"bit_balance"}),
        (linear_congruences, {"equidistribution", "matrix_ranks"}),
    ],
)
def test_the_battery_sees_bad_numbers(make: Callable[[], Numbers], failed: set[str]) -> None:
    assert failures(make(), failed).keys() == failed


@pytest.mark.statistical
def test_planes_are_balanced_and_pairs_of_them_over_a_billion_bits() -> None:
    """1.0·10^9 fresh bits of one stream: a bias of 2·10^-4 in any plane would show."""
    generator, updates, parts = sfc64(seed_of(5)), 2**14, 160
    pairs = np.array(list(combinations(range(HOT), 2))).T
    ones = np.zeros(PLANES + pairs.shape[1])
    for _ in range(parts):
        planes = TABLE.draw(generator.random_raw(updates * FRESH).reshape(updates, FRESH).T)
        both = planes[pairs[0]] ^ planes[pairs[1]]
        ones += np.bitwise_count(np.concatenate([planes, both])).sum(axis=1, dtype=float)
    bits = updates * parts * LANES
    assert departure((2 * ones - bits) / np.sqrt(bits)) == ""


def flips(seeds: Words) -> Z:
    """How often each bit of a, b and c flips with each bit of the seed, (256, 192) z."""
    before, found = seed_state(seeds)[:3], []
    for bit in range(256):
        other = seeds.copy()
        other[:, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
        found.append(lane_bits(seed_state(other)[:3] ^ before).sum(axis=1).ravel())
    return (2.0 * np.array(found) - len(seeds)) / np.sqrt(len(seeds))


@pytest.mark.statistical
@pytest.mark.parametrize(("warm_up", "enough"), [(WARM_UP, True), (12, True), (9, False)])
def test_every_bit_of_a_seed_flips_half_of_the_state(
    monkeypatch: pytest.MonkeyPatch, warm_up: int, enough: bool
) -> None:
    """After 18 outputs thrown away, and after 12, the number of the generator's author."""
    monkeypatch.setattr(sys.modules[seed_state.__module__], "WARM_UP", warm_up)
    assert (departure(flips(seeds_of(6, points=256))) == "") == enough
