"""Demons: each account pays for any flip, words are on their own, and no cycle holds a replica."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    Schedule,
    ThreeBodyAlloy,
    honeycomb,
    square,
    triangular,
)
from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kernels.multispin import demon, demon_exchange, heat_bath
from latticescape.physics.kernels.multispin.accounts import DEMONS, digits_of, new_demons, reach_of
from latticescape.physics.kernels.multispin.demon import demon_rule
from latticescape.physics.kernels.multispin.demon_exchange import exchange_accounts
from latticescape.physics.kernels.multispin.exchange import bond_table, first_order
from latticescape.physics.kernels.multispin.heat_bath import STRIP, visits
from latticescape.physics.kernels.multispin.simd import aligned
from latticescape.physics.kernels.multispin.thresholds import (
    Words,
    load_state,
    metropolis_planes,
    seed_state,
    store_state,
)

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


# Eight words take long to compile for a processor that has registers of four.
@pytest.mark.parametrize(
    ("lattice", "width"), [(square(5), 8), (square(46), 8), (honeycomb(3), 2)], ids=str
)
def test_width_and_companions_change_no_bit(lattice: Lattice, width: int) -> None:
    order, plain = [3, 1, 6, 0, 7, 2, 5, 4], evolved(lattice, [*range(8)], width)
    assert evolved(lattice, [*range(8)], 4).tobytes() == plain.tobytes()
    assert evolved(lattice, order, width).tobytes() == plain[:, order].tobytes()
    assert len({plain[:, word].tobytes() for word in range(8)}) == 8


def test_a_large_lattice_is_visited_strip_by_strip() -> None:
    order = visits(square(46).neighbors(1))[:, 0] // 8
    assert sorted(order) == list(range(46 * 46))
    assert set(order[:STRIP]) == set(range(STRIP))
    assert order[:3].tolist() == [0, 2, 4]
    assert order[STRIP : STRIP + 2].tolist() == [STRIP, STRIP + 2]


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
    assert 2 ** digits_of(reach_of(z)) > reach_of(z)
    # The sum that paid_to adds up is less than three times the digit that it looks at.
    digits, reach = digits_of(reach_of(z)), reach_of(z)
    assert 2**digits - 1 + 2 * reach + 2**digits - reach < 3 * 2**digits
    assert reach <= 2**digits


@pytest.mark.parametrize("period", [0, 1, 9], ids=["metropolis", "demon 1", "demon 9"])
def test_no_cycle_holds_replicas_of_a_small_lattice(period: int) -> None:
    """Without sleep 2 % of them stay for ever where every flip is free: 15 % too many at the
    highest energy."""
    lattice, T, steps = square(3), 4.0, 6_000
    neighbors, spins, state = lattice.neighbors(1), aligned((9, 8)), state_of(5)
    if period:
        demons = demon_rule(np.full((1, 8), -4 / T), [4], None, period)
        step = partial(demon.advance, spins, visits(neighbors), demons, state, 1)
    else:
        up = 1 / (1 + np.exp(-4 * (np.arange(5) - 2) / T))
        metropolis = heat_bath.rule(metropolis_planes(np.repeat(up[:, None], 8, axis=1)), [4])
        step = partial(heat_bath.advance, spins, visits(neighbors), metropolis, state, 1)
    spins[...] = np.random.default_rng(1).integers(0, 2**64, spins.shape, dtype=np.uint64)
    counts = np.zeros(512)
    for _ in range(steps):
        step()
        bits = np.unpackbits(spins.view(np.uint8).reshape(9, -1), axis=1)
        counts += np.bincount(2 ** np.arange(9) @ bits, minlength=512)
    states = 2 * ((np.arange(512)[:, None] >> np.arange(9)) & 1) - 1
    energy = sum(-0.5 * (states * states[:, neighbors[:, k]]).sum(axis=1) for k in range(4))
    weight = np.exp(-energy / T) / np.exp(-energy / T).sum()
    for level in np.unique(energy):
        some = energy == level
        ratio = counts[some].sum() / counts.sum() / weight[some].sum()
        assert ratio == pytest.approx(1.0, abs=0.02), level


@compiled
def faulty_flips(
    spins: Any,
    visited: Any,
    tables: Any,
    state: Any,
    history: Any,
    width: Any,
    kinds: Any,
    redrawn: Any,
    paid: Any,
) -> None:
    """As :func:`demon.flips` with the period of a sweep, but accounts may be drawn only once, or
    keep what they pay. Fills ``history`` with the spins after each sweep."""
    generator = load_state(state, 0, width)
    generator, accounts = new_demons(tables[0], generator, kinds[2], (0,))
    for step in range(history.shape[0]):
        if redrawn:
            generator, accounts = new_demons(tables[0], generator, kinds[2], (0,))
        for visit in range(0, visited.shape[0], DEMONS):
            after = demon.step(spins, visited, visit, tables, 0, accounts, kinds, demon.ALL)
            if paid:
                accounts = after
        history[step] = spins
    store_state(state, 0, generator)


@pytest.mark.parametrize(
    ("fault", "redrawn", "paid", "factor"),
    [
        ("none", True, True, 1.0),
        ("drawn at a temperature off by one percent", True, True, 1.01),
        ("never redrawn", False, True, 1.0),
        ("not paid", True, False, 1.0),
    ],
)
def test_a_faulty_demon_is_noticed(fault: str, redrawn: bool, paid: bool, factor: float) -> None:
    """512 replicas of 4 × 4 sites, 3 · 10⁷ flips, against all 65 536 states.

    Of the two accounts, that of the coupling is drawn at the wrong temperature.
    """
    lattice, T, h, steps = square(4), 2.6, 0.3, 4_000
    neighbors, spins, state = lattice.neighbors(1), aligned((16, 8)), state_of(6)
    coupling, field = np.full((1, 8), -4 / (factor * T)), np.full(8, -2 * h / T)
    rule = demon_rule(coupling, [4], field, 4, (0,) * 8)
    tables, kinds = (rule.terms[0], rule.signs[0]), (rule.shells, rule.field, rule.digits)
    spins[...] = np.random.default_rng(1).integers(0, 2**64, spins.shape, dtype=np.uint64)
    history = np.empty((steps, 16, 8), np.uint64)
    visited, kind = visits(neighbors), rule.width
    faulty_flips(spins, visited, tables, state, history, kind, kinds, redrawn, paid)
    sums = np.zeros((2, 512))
    for words in history[50:]:
        bits = np.unpackbits(words.view(np.uint8).reshape(16, -1), axis=1)
        sums += quantities(2 * bits.astype(np.int64) - 1, neighbors)
    states = 2 * ((np.arange(2**16) >> np.arange(16)[:, None]) & 1) - 1
    energies, up = quantities(states, neighbors)
    weights = np.exp(-(energies - h * up) / T)
    exact = np.array([energies, up]) @ weights / weights.sum()
    means = sums / (steps - 50)
    z = (means.mean(axis=1) - exact) / (means.std(axis=1, ddof=1) / np.sqrt(512))
    assert (np.abs(z).max() < 4) == (fault == "none"), z
    assert fault == "none" or np.abs(z).max() > 7, z


def quantities(
    spins: npt.NDArray[np.int64], neighbors: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """Energy of the couplings and sum of the spins (sites, …) on a lattice with four neighbours."""
    around = spins[neighbors].sum(axis=1)
    return np.stack([-(spins * around).sum(axis=0) // 2, spins.sum(axis=0)])


def test_demons_are_part_of_the_digest_only_where_they_are_asked_for() -> None:
    assert not {"rule", "demon_period"} & set(Schedule(10, 10, 2).table)
    assert (DEMON.table["rule"], DEMON.table["demon_period"]) == ("demon", 4)
    table = Schedule(10, 10, 2, rule="heat_bath", demon_period=4).table
    assert table["rule"] == "heat_bath"
    assert "demon_period" not in table
    assert "demon_period" not in Schedule(10, 10, 2, rule="metropolis").table
    table = Schedule(10, 10, 2, demon_period=2).table
    assert (table["rule"], table["demon_period"]) == ("auto", 2)


@pytest.mark.parametrize(
    ("lattice", "model", "schedule", "words"),
    [
        (triangular(2), ThreeBodyAlloy(x=0.5, w1=0.1), DEMON, "the reference kernel"),
        (
            square(4),
            Ising(realisation=1, bonds={"distribution": "bimodal", "negative": 0.3, "seed": 5}),
            DEMON,
            "random bonds",
        ),
        (square(4), Ising(), Schedule(1, 2, 1, rule="demon", demon_period=17), "1 to 16"),
        (square(4), Ising(), Schedule(1, 2, 20, demon_period=17), "1 to 16"),
        (Lattice("square", (4, 5)), Ising(), Schedule(1, 2, 1, rule="metropolis"), "by heat bath"),
    ],
)
def test_what_cannot_have_a_rule_is_refused(
    lattice: Lattice, model: Model, schedule: Schedule, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        LatticeKernel(lattice, model, schedule, swept=("T",))


# Lattice, shells, whether there are triangles, and the words of a register.
EXCHANGES: dict[str, tuple[Lattice, list[int], bool, int]] = {
    "pairs": (triangular(4), [1, 2], False, 8),
    "triangles": (triangular(3), [1], True, 2),
}


@pytest.mark.parametrize("case", EXCHANGES)
def test_width_companions_and_parts_change_no_bit_of_exchanges(case: str) -> None:
    lattice, shells, edges, width = EXCHANGES[case]
    bonds = bond_table(lattice, shells, edges)
    amplitudes = np.random.default_rng(2).normal(size=(len(bonds.magnitudes), 8))
    start = np.random.default_rng(4).integers(0, 2**64, (lattice.sites, 8), dtype=np.uint64)

    def evolved(order: list[int], width: int, parts: tuple[int, ...]) -> Words:
        accounts = exchange_accounts(bonds, amplitudes[:, order], np.ones(8), 5, (0,) * width)
        spins, state, bond_order = aligned(start.shape), state_of(3), first_order()
        spins[...], state[...] = start[:, order], state[:, order]
        for mcs in parts:
            demon_exchange.advance(spins, bonds, accounts, state, bond_order, mcs)
        return spins

    order, plain = [3, 1, 6, 0, 7, 2, 5, 4], evolved([*range(8)], width, (30,))
    assert evolved([*range(8)], 4, (30,)).tobytes() == plain.tobytes()
    assert evolved(order, width, (1, 29)).tobytes() == plain[:, order].tobytes()
    assert np.array_equal(ones_of(plain), ones_of(start))
    assert not np.array_equal(plain, start)


def ones_of(spins: Words) -> npt.NDArray[np.int64]:
    """Species-1 sites of every replica."""
    bits = np.unpackbits(spins.view(np.uint8).reshape(len(spins), -1), axis=1)
    return bits.sum(axis=0, dtype=np.int64)


def test_every_point_chooses_its_own_rule() -> None:
    """Its bits are those of the rule that it chose, whatever other points are in its block."""
    T, H = np.repeat([2.0, 2.5, 4.0], 4), np.tile([0.0, 0.3, 0.0, -1.0], 3)
    seeds = np.random.default_rng(1).integers(0, 2**64, (12, 4), dtype=np.uint64)
    auto = LatticeKernel(square(6), Ising(), Schedule(10, 5, 8), ("T", "H"), ("spins",))
    found = auto.compute({"T": T, "H": H}, seeds)
    for some in ([7], [11, 0, 5], [2, 8]):
        part = auto.compute({"T": T[some], "H": H[some]}, seeds[some])
        assert part["spins"].tobytes() == found["spins"][some].tobytes()
    near = (H == 0.3) & (T < 3)
    others = (H != 0) & ~near
    for rule, chosen in (("demon", H == 0), ("metropolis", near), ("heat_bath", others)):
        schedule = replace(auto.schedule, rule=rule)
        plain = replace(auto, schedule=schedule).compute({"T": T, "H": H}, seeds)
        alike = (plain["spins"] == found["spins"]).all(axis=1)
        assert alike.tolist() == chosen.tolist()


@pytest.mark.parametrize(
    ("lattice", "model", "schedule", "swept", "words"),
    [
        (square(4), Ising(), Schedule(1, 2, 8), "TH", "demons of period 8 without a field, Met"),
        (square(4), Ising(), Schedule(1, 2, 8), "T", "demons of period 8"),
        (square(4), Ising(), Schedule(1, 2, 7), "T", "Metropolis or heat bath"),
        (square(4), Ising(), Schedule(1, 2, 7, demon_period=4), "T", "demons of period 4"),
        (square(4), Ising(J2=0.1), Schedule(1, 2, 8), "T", "Metropolis or"),
        (square(4), Ising(), Schedule(1, 2, 8, rule="heat_bath"), "T", "heat bath"),
        (square(4), Ising(), Schedule(1, 2, 8, rule="metropolis"), "TH", "Metropolis"),
        (square(4), PairAlloy(x=0.5, w1=0.1), Schedule(1, 2, 8, rule="metropolis"), "T", "Metrop"),
        (square(4), Ising(), Schedule(1, 2, 8, update="cluster"), "T", "Swendsen–Wang"),
        (square(4), PairAlloy(x=0.5, w1=0.1), Schedule(1, 2, 8), "T", "demons of period 8"),
        (square(4), PairAlloy(x=0.5, w1=0.1), Schedule(1, 2, 2), "T", "Metropolis filter"),
        (triangular(2), ThreeBodyAlloy(x=0.5, w1=0.1), Schedule(1, 2, 8), "T", "Metropolis"),
    ],
)
def test_a_sweep_says_how_its_moves_are_decided(
    lattice: Lattice, model: Model, schedule: Schedule, swept: str, words: str
) -> None:
    kernel = LatticeKernel(lattice, model, schedule, swept=tuple(swept))
    assert kernel.attrs["rule"].startswith(words)


def test_a_short_schedule_has_the_same_rule() -> None:
    for stride in (4, 8):
        kernel = LatticeKernel(square(4), Ising(), Schedule(1, 100, stride), swept=("T",))
        short = kernel.shortened(1)
        assert short.rule.startswith("demons") == kernel.rule.startswith("demons") == (stride == 8)


def test_schedules_that_cannot_be_are_refused() -> None:
    with pytest.raises(RequestError, match=r"schedule\.rule is unknown.*auto | heat_bath | demon"):
        Schedule(1, 2, 1, rule="glauber")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"demon_period is out of range \(came: 0"):
        Schedule(1, 2, 1, rule="demon", demon_period=0)
    for rule in ("demon", "metropolis"):
        with pytest.raises(RequestError, match=f"{rule}.*not clusters"):
            Schedule(1, 2, 1, rule=rule, update="cluster")
