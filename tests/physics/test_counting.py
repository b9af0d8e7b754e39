"""Counting in the lanes: any number of items, both widths, and what follows from the classes."""

from dataclasses import replace

import numpy as np
import pytest

from latticescape.physics import (
    Ising,
    Lattice,
    PairAlloy,
    RequestError,
    ThreeBodyAlloy,
    configurations,
)
from latticescape.physics.kernels.multispin import class_codes as codes_module
from latticescape.physics.kernels.multispin import features as sums_module
from latticescape.physics.kernels.multispin.class_codes import class_codes
from latticescape.physics.kernels.multispin.counting import (
    MOST_ITEMS,
    cache_lines,
    count_classes,
    count_unlike,
    count_up,
)
from latticescape.physics.kernels.multispin.features import class_sums
from latticescape.physics.kernels.multispin.simd import native_width
from latticescape.physics.kernels.reference import clusters_of, measure_features
from latticescape.physics.lattices.configurations import count_configurations
from latticescape.physics.lattices.lattice import cubic, honeycomb, square, triangular
from latticescape.physics.models.model import Orbit

OTHER_WIDTH = (0,) * (12 - len(native_width()))
COUNTED = [square(5), triangular(5), honeycomb(4), cubic(3)]
SMALL = [make(size) for make in (square, triangular, honeycomb, cubic) for size in (2, 3, 4, 5)]


def spins_of(lattice: Lattice, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (lattice.sites, 8), dtype=np.uint64)


def bits_of(words: np.ndarray) -> np.ndarray:
    """(…, 8) words as (…, 64, 8) bits, replica by point."""
    places = np.arange(64, dtype=np.uint64)
    return ((words[..., None, :] >> places[:, None]) & np.uint64(1)).astype(np.uint8)


def rings_of(lattice: Lattice) -> np.ndarray:
    return np.hstack([np.arange(lattice.sites, dtype=np.int32)[:, None], lattice.neighbors(1)])


def plain_classes(lattice: Lattice, bits: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Counts of every lane, (classes, 64, 8), straight from the class table."""
    classes = configurations(lattice.kind)
    code = sum(bits[rings[:, k]].astype(np.int64) << k for k in range(rings.shape[1]))
    return np.stack([(classes.table[code] == k).sum(axis=0) for k in range(len(classes))])


@pytest.mark.parametrize("lattice", COUNTED, ids=lambda lattice: lattice.kind)
def test_any_number_of_items_is_counted(lattice: Lattice) -> None:
    assert_counted(lattice, native_width())


def test_any_number_of_items_is_counted_in_the_other_width() -> None:
    assert_counted(square(5), OTHER_WIDTH)


def assert_counted(lattice: Lattice, zeros: tuple[int, ...]) -> None:
    spins = spins_of(lattice, 1)
    bits, rings, bonds = bits_of(spins), rings_of(lattice), lattice.bonds(1)
    random = np.random.default_rng(2)
    for number in (0, 1, 4, 15, 16, 17, 33, 48, 63, 64, 65, 255, 257):
        chosen = random.integers(0, lattice.sites, number)
        found = count_classes(spins, rings[chosen], len(configurations(lattice.kind)), zeros)
        assert np.array_equal(found, plain_classes(lattice, bits, rings[chosen])), number
        sites = rings[chosen, :1].copy()
        assert np.array_equal(count_up(spins, sites, zeros)[0], bits[sites[:, 0]].sum(axis=0))
        ends = bonds[random.integers(0, len(bonds), number)]
        unlike = (bits[ends[:, 0]] != bits[ends[:, 1]]).sum(axis=0)
        assert np.array_equal(count_unlike(spins, ends, zeros)[0], unlike)


def test_counts_beyond_sixteen_digits() -> None:
    lattice = triangular(5)
    spins, rings = spins_of(lattice, 3), rings_of(lattice)
    times = 2**13 + 3
    found = count_classes(spins, np.tile(rings, (times, 1)), 26)
    assert np.array_equal(found, times * plain_classes(lattice, bits_of(spins), rings))


@pytest.mark.parametrize("value", [0, 2**64 - 1])
def test_counts_of_an_ordered_lattice(value: int) -> None:
    """All carries at once: 2^16 - 1 items of one kind."""
    spins = np.full((1, 8), value, np.uint64)
    sites = np.zeros((2**16 - 1, 1), np.int32)
    assert np.all(count_up(spins, sites) == (2**16 - 1) * (value & 1))


def test_more_items_than_a_sum_can_hold_are_refused() -> None:
    sites = np.broadcast_to(np.zeros((1, 1), np.int32), (MOST_ITEMS, 1))
    with pytest.raises(RequestError, match="too many sites or bonds"):
        count_up(np.zeros((1, 8), np.uint64), sites)


def test_work_begins_at_a_cache_line() -> None:
    kept = [cache_lines(3, k, 4) for k in range(1, 9)]
    assert {array.shape for array in kept} == {(3, k, 4) for k in range(1, 9)}
    assert {array.ctypes.data % 64 for array in kept} == {0}


@pytest.mark.parametrize("kind", ["square", "triangular", "honeycomb", "cubic"])
def test_codes_and_classes_are_one_to_one(kind: str) -> None:
    assert sorted(class_codes(kind).classes.values()) == [*range(len(configurations(kind)))]


@pytest.mark.parametrize(
    ("kind", "circuit", "message"),
    [
        ("triangular", codes_module._three_axes, "not one to one"),
        ("square", lambda e, ring, axes: list(ring), "not one to one"),
        ("honeycomb", lambda e, ring, axes: [ring[0], *codes_module._number(e, ring, axes)], "one"),
        (
            "cubic",
            lambda e, ring, axes: [*map(e.inverse, codes_module._three_axes(e, ring, axes))],
            "a part of a code is not a code",
        ),
    ],
)
def test_a_circuit_that_does_not_fit_the_classes_is_refused(
    kind: str, circuit: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(codes_module._CIRCUITS, kind, circuit)
    with pytest.raises(AssertionError, match=message):
        class_codes.__wrapped__(kind)


def orbits_of(lattice: Lattice) -> list[Orbit]:
    """Sites, bonds of every shell there is room for, and triangles; with asymmetric values."""
    sites = Orbit(np.arange(lattice.sites, dtype=np.int32)[:, None], {"up": (3, 5)})
    orbits = [sites]
    for shell in (1, 2, 3):
        try:
            bonds = lattice.bonds(shell)
        except RequestError:
            continue
        orbits.append(Orbit(bonds, {f"any_{shell}": (1, 4, -9), f"unlike_{shell}": (0, 1, 0)}))
    if lattice.kind == "triangular":
        orbits.append(Orbit(lattice.triangles, {"t1": (0, 1, 0, 0), "t2": (2, 0, 1, 7)}))
    return orbits


@pytest.mark.parametrize("lattice", SMALL, ids=lambda lattice: f"{lattice.kind}-{lattice.size}")
def test_features_from_class_counts_are_direct_counts(lattice: Lattice) -> None:
    classes, random = configurations(lattice.kind), np.random.default_rng(4)
    for orbit in orbits_of(lattice):
        sums = class_sums(lattice, orbit)
        if sums is None:
            continue
        clusters = clusters_of([orbit])
        direct = np.zeros(len(orbit.values), np.int64)
        for probability in (0.0, 0.2, 0.5, 0.8, 1.0):
            spins = (random.random(lattice.sites) < probability).astype(np.uint8)
            measure_features(spins, clusters, direct)
            counts = count_configurations(
                spins, np.arange(lattice.sites), lattice.neighbors(1), classes
            )
            assert np.array_equal(sums.of(counts), direct), sums.features


@pytest.mark.parametrize(
    ("lattice", "shells"),
    [
        (square(6), [1, 2, 3]),
        (triangular(6), [1, 2, 3]),
        (honeycomb(6), [1, 2]),
        (cubic(5), [1, 2]),
    ],
)
def test_which_features_follow_from_the_classes(lattice: Lattice, shells: list[int]) -> None:
    bonds = {k: Orbit(lattice.bonds(k), {"unlike": (0, 1, 0)}) for k in (1, 2, 3)}
    assert [k for k, orbit in bonds.items() if class_sums(lattice, orbit)] == shells
    half = Orbit(lattice.bonds(1)[::2], {"unlike": (0, 1, 0)})
    twice = Orbit(np.repeat(lattice.bonds(1)[:1], len(lattice.bonds(1)), axis=0), half.values)
    assert class_sums(lattice, half) is None
    assert class_sums(lattice, twice) is None


@pytest.mark.parametrize("model", [Ising(J=[1, 2]), PairAlloy(w1=1.0), ThreeBodyAlloy(w1=1.0)])
def test_features_of_every_lane_follow_from_the_class_counts(
    model: Ising | PairAlloy | ThreeBodyAlloy,
) -> None:
    lattice = triangular(5)
    spins = spins_of(lattice, 5)
    counts = count_classes(spins, rings_of(lattice), 26)
    bits = bits_of(spins)
    for orbit in model.orbits(lattice, {"J2"}):
        sums = class_sums(lattice, orbit)
        assert sums is not None
        ones = bits[orbit.clusters].sum(axis=1)
        direct = [np.array(value)[ones].sum(axis=0) for value in orbit.values.values()]
        assert np.array_equal(sums.of(counts), np.stack(direct))


def test_a_lattice_too_large_for_one_key_a_cluster_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lattice = square(6)
    orbit = Orbit(lattice.bonds(1), {"unlike": (0, 1, 0)})
    monkeypatch.setattr(sums_module, "MOST_KEYS", lattice.sites**2)
    assert class_sums(lattice, orbit) is not None
    monkeypatch.setattr(sums_module, "MOST_KEYS", lattice.sites**2 - 1)
    assert class_sums(lattice, orbit) is None


def test_classes_that_do_not_fix_a_feature_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the opposite pairs, classes say nothing of second bonds."""
    exact = configurations("square")
    coarse = replace(exact, table=np.minimum(exact.table, 2))
    monkeypatch.setattr(sums_module, "configurations", lambda kind: coarse)
    assert class_sums(square(6), Orbit(square(6).bonds(2), {"unlike": (0, 1, 0)})) is None
