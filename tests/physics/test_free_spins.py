"""Spins without couplings: those of every sweep are the stream itself; nothing hides a fault."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, chi2

from latticescape.physics import Ising, Schedule, sample, square
from latticescape.physics.kernels.multispin.heat_bath import advance, rule, visits
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.multispin.thresholds import PLANES, seed_state, threshold_planes
from latticescape.physics.kernels.reference import MOMENTS
from tests.support.plane_table import LANES, lane_bits
from tests.support.statistics import seeds_of
from tests.support.stream_battery import Deviates, correlations, departure, normal_deviate

UNIT = 2**PLANES
FIELDS = {"in a field": np.linspace(-1.0, 1.1, WORDS), "without": np.zeros(WORDS)}
P_UP = {k: np.rint(UNIT / (1 + np.exp(-2 * H))) / UNIT for k, H in FIELDS.items()}
LATTICE, SWEEPS = square(16), 256


def free_spins(p_up: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.uint8], Deviates]:
    """Bits after each sweep (sweeps, sites, points, lanes), and the same as standard deviates."""
    table = rule(threshold_planes(np.tile(p_up, (5, 1))), [4])
    spins, state = (
        np.zeros((LATTICE.sites, WORDS), np.uint64),
        seed_state(seeds_of(7, points=WORDS)),
    )
    snapshots = []
    for _ in range(SWEEPS):
        advance(spins, visits(LATTICE.neighbors(1)), table, state, 1)
        snapshots.append(lane_bits(spins))
    bits = np.stack(snapshots)
    mean, width = (v.astype(np.float32)[:, None] for v in (p_up, np.sqrt(p_up * (1 - p_up))))
    return bits, (bits - mean) / width


@pytest.mark.statistical
@pytest.mark.parametrize("p_up", P_UP.values(), ids=P_UP.keys())
def test_free_spins_are_independent_in_replicas_points_sites_and_sweeps(
    p_up: npt.NDArray[np.float64],
) -> None:
    bits, x = free_spins(p_up)
    samples = SWEEPS * LATTICE.sites
    scan = x.reshape(samples, WORDS, LANES)
    assert departure(scan.sum(axis=0, dtype=float) / np.sqrt(samples)) == ""
    assert correlations(scan) == {}
    bonds = [np.vdot(x[:, i], x[:, j]) for i, j in LATTICE.bonds(1)]
    assert departure(np.array(bonds) / np.sqrt(SWEEPS * WORDS * LANES)) == ""
    up = bits.sum(axis=3, dtype=np.int64)
    assert departure(np.array([binomial(up[..., w], p_up[w]) for w in range(WORDS)])) == ""


def binomial(counts: npt.NDArray[np.int64], p: float) -> float:
    """Whether numbers of up replicas are binomial, as z of chi-squared over the common numbers."""
    expected = binom.pmf(np.arange(LANES + 1), LANES, p) * counts.size
    found = np.bincount(counts.ravel(), minlength=LANES + 1)
    common = expected > 20
    e = np.append(expected[common], expected[~common].sum())
    n = np.append(found[common], found[~common].sum())
    value = float(np.sum(np.square(n - e) / e))
    return normal_deviate(chi2.cdf(value, len(e) - 1), chi2.sf(value, len(e) - 1))


@pytest.mark.statistical
@pytest.mark.parametrize("kernel", ["lanes", "reference"])
def test_free_spins_have_the_exact_magnetization_and_an_honest_error(kernel: str) -> None:
    """J = 0 through the front door: the mean, its error over 64 replicas, and its fluctuations."""
    fields, sites, schedule = np.linspace(0, 1.5, 8), 64, Schedule(1, 200, 1)
    model, seeds = Ising(J=0.0, T=1.0), seeds_of(8, points=len(fields))
    sums = sample(model, square(8), {"H": fields}, schedule, seeds, kernel=kernel)
    total = sums.feature_sum[:, :, sums.features.index("magnetization")]
    mean, variance = sites * np.tanh(fields)[:, None], sites / np.cosh(fields)[:, None] ** 2
    z = (total - schedule.samples * mean) / np.sqrt(schedule.samples * variance)
    assert departure(z) == ""
    assert departure(z.sum(axis=1) / np.sqrt(LANES)) == ""
    spread = np.square(z - z.mean(axis=1, keepdims=True)).sum(axis=1)
    both = zip(chi2.cdf(spread, LANES - 1), chi2.sf(spread, LANES - 1), strict=True)
    assert departure(np.array([normal_deviate(*p) for p in both])) == ""
    squares = sums.moment_sum[:, :, MOMENTS.index("m2")]
    number = LANES * schedule.samples
    deviation = (squares - 2 * mean * total).sum(axis=1) + number * mean[:, 0] ** 2
    assert departure((deviation / variance[:, 0] - number) / np.sqrt(2 * number)) == ""
