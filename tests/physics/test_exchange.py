"""Exchanges in the lanes: composition kept, both widths alike, energies as the reference."""

import numpy as np
import pytest

from latticescape.physics import Lattice, PairAlloy, RequestError, Schedule, ThreeBodyAlloy, sample
from latticescape.physics.kernels.lattice_kernel import kernel_of
from latticescape.physics.kernels.multispin.batches import ExchangeBatch, MultispinTables, arrange
from latticescape.physics.kernels.multispin.exchange import (
    acceptance_filter,
    advance,
    bond_table,
    first_order,
)
from latticescape.physics.kernels.multispin.simd import aligned, native_width
from latticescape.physics.kernels.multispin.thresholds import seed_state
from latticescape.physics.kernels.reference import Task, clusters_of, energy_steps_of
from latticescape.physics.lattices.lattice import cubic, honeycomb, square, triangular
from latticescape.physics.models.model import Model
from tests.support.statistics import seed_of

# (lattice, shells, triangles)
MOVES: list[tuple[Lattice, tuple[int, ...], bool]] = [
    (square(5), (1,), False),
    (square(4), (1, 2), False),
    (triangular(5), (1, 2), False),
    (triangular(4), (1,), True),
    (triangular(3), (1,), True),
    (honeycomb(3), (1, 2), False),
    (cubic(3), (1, 2), False),
    (square(2), (1,), False),
]


def named(move: tuple[Lattice, tuple[int, ...], bool]) -> str:
    lattice, shells, edges = move
    return f"{lattice.kind}{lattice.size}-{len(shells)}{'-edges' * edges}"


def bits_of(words: np.ndarray) -> np.ndarray:
    """(sites, 8) words as (sites, 512) bits."""
    places = np.arange(64, dtype=np.uint64)
    return ((words[..., None] >> places) & np.uint64(1)).astype(np.int64).reshape(len(words), -1)


def arranged(lattice: Lattice) -> np.ndarray:
    spins = aligned((lattice.sites, 8))
    for word in range(8):
        arrange(spins, word, seed_of(1, word), (word + 1) * lattice.sites // 9)
    return spins


def evolved(move: tuple[Lattice, tuple[int, ...], bool], width: tuple[int, ...], steps: list[int]):
    lattice, shells, edges = move
    table = bond_table(lattice, shells, edges)
    amplitudes = np.linspace(-0.4, 0.5, 8) * np.array([1.0, -0.6])[: len(table.magnitudes), None]
    rules = acceptance_filter(table, amplitudes, np.linspace(0.5, 2, 8), width)
    spins, order = arranged(lattice), first_order()
    state = seed_state(np.stack([seed_of(2, word) for word in range(8)]))
    for exchanges in steps:
        advance(spins, table, rules, state, order, exchanges)
    return spins, state


@pytest.mark.parametrize("move", MOVES, ids=named)
def test_composition_is_exact_in_every_replica_at_every_step(move) -> None:
    lattice, shells, edges = move
    table = bond_table(lattice, shells, edges)
    zero = np.zeros((len(table.magnitudes), 8))
    rules, spins, order = (
        acceptance_filter(table, zero, np.ones(8)),
        arranged(lattice),
        first_order(),
    )
    state = seed_state(np.stack([seed_of(3, word) for word in range(8)]))
    start, moved = bits_of(spins), np.zeros(512, bool)
    for _ in range(50):
        before = bits_of(spins)
        advance(spins, table, rules, state, order, 1)
        changed = bits_of(spins) != before
        assert np.all(changed.sum(axis=0) % 2 == 0)
        assert np.all(changed.sum(axis=0) <= 2)
        assert np.array_equal(bits_of(spins).sum(axis=0), start.sum(axis=0))
        moved |= changed.any(axis=0)
    assert moved.mean() > 0.5


@pytest.mark.parametrize("move", MOVES, ids=named)
def test_where_it_stops_changes_speed_alone(move) -> None:
    first, state = evolved(move, native_width(), [300])
    assert not np.array_equal(first, arranged(move[0]))
    again, other = evolved(move, native_width(), [1, 299])
    assert np.array_equal(first, again)
    assert np.array_equal(state, other)


@pytest.mark.parametrize("move", [MOVES[1], MOVES[3]], ids=named)
def test_width_changes_speed_alone(move) -> None:
    """For a move with second neighbours and for one with triangles."""
    first, state = evolved(move, native_width(), [300])
    again, other = evolved(move, (0,) * (12 - len(native_width())), [120, 180])
    assert np.array_equal(first, again)
    assert np.array_equal(state, other)


@pytest.mark.parametrize(
    ("model", "lattice"),
    [
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), square(4)),
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), square(3)),
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), triangular(3)),
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), triangular(5)),
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), honeycomb(2)),
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), cubic(3)),
        (PairAlloy(x=0.5, w1=0.3, w2=-0.2), cubic(2)),
        (ThreeBodyAlloy(x=0.5, w1=0.3, w2=-0.2), triangular(3)),
        (ThreeBodyAlloy(x=0.5, w1=0.3, w2=-0.2), triangular(5)),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_the_differences_are_the_energy_change_of_every_exchange(
    model: Model, lattice: Lattice
) -> None:
    """Amplitudes times differences, against recounting the whole lattice before and after."""
    points = {name: np.array([value]) for name, value in model.fixed(()).items()}
    orbits = model.orbits(lattice, set(points))
    tables = MultispinTables(
        lattice, orbits, frozenset(f for orbit in orbits for f in orbit.values)
    )
    couplings = model.coefficients(points, tables.features)[0]
    jumps = energy_steps_of(clusters_of(orbits), couplings)
    task = Task(seed_of(1), 1.0, couplings, jumps, np.ones(64), lattice.sites // 2)
    amplitudes = ExchangeBatch(tables, [task], []).amplitudes[:, 0]
    spins = np.random.default_rng(4).integers(0, 2, lattice.sites)
    for row in tables.bonds.rows // 8:
        i, j = row[:2]
        if spins[i] == spins[j]:
            continue
        swapped = spins.copy()
        swapped[[i, j]] = swapped[[j, i]]
        change = energy(orbits, couplings, swapped) - energy(orbits, couplings, spins)
        sign = 1 if spins[i] else -1
        reported = amplitudes @ (
            sign * differences(spins[row[2:]], tables.bonds.shells, len(amplitudes))
        )
        assert change == pytest.approx(reported, abs=1e-12)


def energy(orbits, couplings: np.ndarray, spins: np.ndarray) -> float:
    features = [
        np.take(values, spins[orbit.clusters].sum(axis=1)).sum()
        for orbit in orbits
        for values in orbit.values.values()
    ]
    return float(couplings @ np.array(features))


def differences(around: np.ndarray, shells: tuple[int, ...], many: int) -> np.ndarray:
    """D of each shell, then half of X if there is one more amplitude than shells."""
    found, rest = [], around
    for size in shells:
        mine, theirs, rest = rest[:size], rest[size : 2 * size], rest[2 * size :]
        found.append(mine.sum() - theirs.sum())
        if many > len(shells):
            ends, rest = rest[:2], rest[2:]
            paths = [ends[0], *mine, ends[1]], [ends[1], *theirs, ends[0]]
            unlike = [np.abs(np.diff(path)).sum() for path in paths]
            found.append((unlike[0] - unlike[1]) / 2)
    return np.array(found)


@pytest.mark.parametrize(
    ("model", "lattice", "kernel"),
    [
        (PairAlloy(x=0.5, w1=0.1, w2=0.1), triangular(2), "lanes"),
        (ThreeBodyAlloy(x=1 / 3, w1=0.1), triangular(3), "lanes"),
        (ThreeBodyAlloy(x=0.5, w1=0.1), triangular(2), "reference"),
    ],
)
def test_a_torus_too_small_for_triangles_in_lanes_runs_in_the_reference(
    model: Model, lattice: Lattice, kernel: str
) -> None:
    assert kernel_of(model, lattice, frozenset()) == kernel
    sums = sample(model, lattice, {}, Schedule(1, 2, 1), seed_of(6)[None, :])
    assert np.all(sums.histogram.sum(axis=(1, 2)) == 64 * 2 * lattice.sites)
    if kernel == "reference":
        with pytest.raises(RequestError, match="does not support the model"):
            sample(model, lattice, {}, Schedule(1, 2, 1), seed_of(6)[None, :], kernel="lanes")
