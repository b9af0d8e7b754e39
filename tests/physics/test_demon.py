"""Demons: each account pays for any flip, words are on their own, and no cycle holds a replica."""

import numpy as np
import pytest

from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    Schedule,
    honeycomb,
    square,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kernels.multispin import demon
from latticescape.physics.kernels.multispin.demon import demon_rule, digits_of, reach_of
from latticescape.physics.kernels.multispin.heat_bath import visits
from latticescape.physics.kernels.multispin.simd import aligned
from latticescape.physics.kernels.multispin.thresholds import Words, seed_state

DEMON = Schedule(10, 10, 2, rule="demon", demon_period=4)
J = np.array([1.0, 0.5, -1.0, 2.0, 0.0, 1.0, -0.3, 1.0])
H = np.array([0.0, 0.3, -0.2, 0.0, 1.0, -2.0, 0.0, 0.1])


def state_of(seed: int) -> Words:
    return seed_state(np.random.default_rng(seed).integers(0, 2**64, (8, 4), dtype=np.uint64))


def evolved(lattice: Lattice, order: list[int], width: int, mcs: int = 30) -> Words:
    """Spins after some steps of eight points, those that are given in their order."""
    neighbors, z = lattice.neighbors(1), lattice.neighbors(1).shape[1]
    rule = demon_rule(-4 * J[None, order], [z], 2 * H[order], 5, (0,) * width)
    spins, state = aligned((lattice.sites, 8)), state_of(3)
    spins[...] = np.random.default_rng(4).integers(0, 2**64, spins.shape, dtype=np.uint64)
    spins[...], state[...] = spins[:, order], state[:, order]
    demon.advance(spins, visits(neighbors), rule, state, mcs)
    return spins


@pytest.mark.parametrize("lattice", [square(5), honeycomb(3)], ids=lambda lattice: lattice.kind)
def test_width_and_companions_change_no_bit(lattice: Lattice) -> None:
    order, plain = [3, 1, 6, 0, 7, 2, 5, 4], evolved(lattice, [*range(8)], 8)
    for width in (2, 4):
        assert evolved(lattice, [*range(8)], width).tobytes() == plain.tobytes()
    assert evolved(lattice, order, 8).tobytes() == plain[:, order].tobytes()
    assert len({plain[:, word].tobytes() for word in range(8)}) == 8


def test_steps_can_be_made_in_parts() -> None:
    neighbors = square(6).neighbors(1)
    rule = demon_rule(np.full((1, 8), -1.5), [4], None, 8)
    found = []
    for parts in ((12,), (1, 4, 7)):
        spins, state = aligned((36, 8)), state_of(1)
        for mcs in parts:
            demon.advance(spins, visits(neighbors), rule, state, mcs)
        found.append(spins.tobytes() + state.tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("z", range(2, 15))
def test_an_account_can_pay_for_any_flip(z: int) -> None:
    assert 2 ** digits_of(z) > reach_of(z)
    # The sum that paid_to adds up is less than three times the digit that it looks at.
    digits, reach = digits_of(z), reach_of(z)
    assert 2**digits - 1 + 2 * reach + 2**digits - reach < 3 * 2**digits
    assert reach <= 2**digits


@pytest.mark.parametrize("period", [1, 9])
def test_no_cycle_holds_replicas_of_a_small_lattice(period: int) -> None:
    """Without sleep 2 % of them stay for ever where every flip is free: 15 % too many at the
    highest energy."""
    lattice, T, steps = square(3), 4.0, 6_000
    rule = demon_rule(np.full((1, 8), -4 / T), [4], None, period)
    neighbors, spins, state = lattice.neighbors(1), aligned((9, 8)), state_of(5)
    spins[...] = np.random.default_rng(1).integers(0, 2**64, spins.shape, dtype=np.uint64)
    counts = np.zeros(512)
    for _ in range(steps):
        demon.advance(spins, visits(neighbors), rule, state, 1)
        bits = np.unpackbits(spins.view(np.uint8).reshape(9, -1), axis=1)
        counts += np.bincount(2 ** np.arange(9) @ bits, minlength=512)
    states = 2 * ((np.arange(512)[:, None] >> np.arange(9)) & 1) - 1
    energy = sum(-0.5 * (states * states[:, neighbors[:, k]]).sum(axis=1) for k in range(4))
    weight = np.exp(-energy / T) / np.exp(-energy / T).sum()
    for level in np.unique(energy):
        some = energy == level
        ratio = counts[some].sum() / counts.sum() / weight[some].sum()
        assert ratio == pytest.approx(1.0, abs=0.02), level


def test_demons_are_part_of_the_digest_only_where_they_are_asked_for() -> None:
    plain = Schedule(10, 10, 2)
    assert not {"rule", "demon_period"} & set(plain.table)
    assert (DEMON.table["rule"], DEMON.table["demon_period"]) == ("demon", 4)


@pytest.mark.parametrize(
    ("lattice", "model", "schedule", "words"),
    [
        (square(4), PairAlloy(x=0.5, w1=0.1), DEMON, "moves by exchange"),
        (
            square(4),
            Ising(realisation=1, bonds={"distribution": "bimodal", "negative": 0.3, "seed": 5}),
            DEMON,
            "random bonds",
        ),
        (square(4), Ising(), Schedule(1, 2, 1, rule="demon", demon_period=17), "1 to 16"),
    ],
)
def test_what_cannot_have_demons_is_refused(
    lattice: Lattice, model: Model, schedule: Schedule, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        LatticeKernel(lattice, model, schedule, swept=("T",))


def test_schedules_that_cannot_be_are_refused() -> None:
    with pytest.raises(RequestError, match=r"schedule\.rule is unknown.*heat_bath | demon"):
        Schedule(1, 2, 1, rule="metropolis")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"demon_period is out of range \(came: 0"):
        Schedule(1, 2, 1, rule="demon", demon_period=0)
    with pytest.raises(RequestError, match="not for clusters"):
        Schedule(1, 2, 1, rule="demon", update="cluster")
