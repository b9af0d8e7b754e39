"""The lanes: words and replicas on their own, both widths the same bits, and the exact torus."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    RequestError,
    Schedule,
    ThreeBodyAlloy,
    configurations,
    count_configurations,
    sample,
)
from latticescape.physics.exact.closed_forms import kaufman
from latticescape.physics.kernels.kernel import Rule, complete
from latticescape.physics.kernels.lattice_kernel import kernel_of, parameters_used
from latticescape.physics.kernels.multispin.counting import (
    count_classes,
    count_unlike,
    count_up,
)
from latticescape.physics.kernels.multispin.heat_bath import advance, is_symmetric, rule, visits
from latticescape.physics.kernels.multispin.simd import native_width
from latticescape.physics.kernels.multispin.thresholds import (
    PLANES,
    Words,
    metropolis_planes,
    seed_state,
    threshold_planes,
)
from latticescape.physics.kernels.observables import observe
from latticescape.physics.lattices.lattice import cubic, honeycomb, square, triangular
from tests.support.statistics import seed_of

MANY_COUPLINGS = np.abs(np.arange(-24.0, 25.0)).reshape(7, 7)
OTHER_WIDTH = (0,) * (12 - len(native_width()))
LATTICES = [square(5), triangular(5), honeycomb(4), cubic(3)]


def spins_of(lattice: Lattice, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (lattice.sites, 8), dtype=np.uint64)


def bits_of(words: np.ndarray) -> np.ndarray:
    """(…, 8) words as (…, 64, 8) bits, replica by point."""
    places = np.arange(64, dtype=np.uint64)
    return ((words[..., None, :] >> places[:, None]) & np.uint64(1)).astype(np.uint8)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.kind)
def test_counts_in_the_lanes_are_plain_counts(lattice: Lattice) -> None:
    spins = spins_of(lattice, 1)
    bits = bits_of(spins)
    sites = np.arange(lattice.sites, dtype=np.int32)[:, None]
    bonds, classes = lattice.bonds(1), configurations(lattice.kind)
    rings = np.hstack([sites, lattice.neighbors(1)])
    assert np.array_equal(count_up(spins, sites)[0], bits.sum(axis=0))
    unlike = (bits[bonds[:, 0]] != bits[bonds[:, 1]]).sum(axis=0)
    assert np.array_equal(count_unlike(spins, bonds)[0], unlike)
    found = count_classes(spins, rings, len(classes))
    for replica, word in itertools.product((0, 17, 63), range(8)):
        plain = count_configurations(
            bits[:, replica, word], sites[:, 0], lattice.neighbors(1), classes
        )
        assert np.array_equal(found[:, replica, word], plain)


def evolved(lattice: Lattice, planes: Words, shells: list[int], width: tuple[int, ...], fold: bool):
    neighbors = np.hstack([lattice.neighbors(k + 1) for k in range(len(shells))])
    spins, seeds = spins_of(lattice, 2), np.stack([seed_of(3, word) for word in range(8)])
    state = seed_state(seeds)
    table = rule(planes, shells, width, fold)
    advance(spins, visits(neighbors), table, state, 5)
    return spins, state


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.kind)
@pytest.mark.parametrize("field", [0.0, 0.3])
@pytest.mark.parametrize("planes_of", [threshold_planes, metropolis_planes])
def test_width_and_mirroring_change_speed_alone(
    lattice: Lattice, field: float, planes_of: Callable[[np.ndarray], Words]
) -> None:
    z = lattice.coordination
    ups = np.arange(z + 1)[:, None]
    temperatures = np.linspace(1.0, 4.0, 8)
    planes = planes_of(1 / (1 + np.exp(-2 * (2 * ups - z + field) / temperatures)))
    assert is_symmetric(planes, [z]) == (field == 0)
    first, state = evolved(lattice, planes, [z], native_width(), fold=False)
    # The other width with one lattice: what is emitted differs in the length of vectors alone.
    widths = [native_width(), *[OTHER_WIDTH][: lattice.kind == "triangular"]]
    for width, fold in itertools.product(widths, (False, True)):
        again, other = evolved(lattice, planes, [z], width, fold)
        assert np.array_equal(first, again)
        assert np.array_equal(state, other)


def test_a_probability_is_met_to_its_last_bit() -> None:
    """Thresholds at 0 and 1 are kept one unit inside; planes hold P(up)·2^32, most first."""
    p = np.array([0.0, 1.0, 0.5, 1 / 3])[:, None].repeat(8, 1)
    planes = threshold_planes(p)
    weights = 2.0 ** -np.arange(1, PLANES + 1)
    read = ((planes & np.uint64(1)) * weights[:, None, None]).sum(axis=0)
    assert np.abs(read - p).max() <= 2.0**-PLANES
    assert set(np.unique(planes)) == {0, 2**64 - 1}


# Model, lattice, and nine points: more than a group.
COMPANIES: list[tuple[Model, Lattice, dict[str, list[float]]]] = [
    (
        Ising(),
        square(4),
        {"T": [1.8, 2.3, 2.3, 4, 5, 1, 2, 3, 9], "H": [0, 0, 0.4, -0.2, *[0] * 5]},
    ),
    (Ising(), triangular(4), {"T": [1.8, 2.3, 3, 4, 5, 1, 2, 3, 9], "J2": [0.1] * 5 + [-0.3] * 4}),
    (
        Ising(J=[1.0, 0.2, -0.1, 0.1]),
        honeycomb(3),
        {"T": [1.8, 2.3, 2.3, 4, 5, 1, 2, 3, 9], "H": [0, 0, 0.4, -0.2, *[0] * 5]},
    ),
    (PairAlloy(), cubic(3), {"x": [1 / 3] * 5 + [2 / 3] * 4, "w1": [-0.4, 0, 0.1, *[0.3] * 6]}),
    (
        PairAlloy(w1=0.2),
        triangular(4),
        {"x": [0.25] * 5 + [0.5] * 4, "w2": [-0.4, 0, 0.1, *[0.3] * 6]},
    ),
    (
        ThreeBodyAlloy(w1=0.2),
        triangular(4),
        {"x": [0.25] * 5 + [0.5] * 4, "w2": [-0.4, 0, 0.2, *[0.3] * 6]},
    ),
]


@pytest.mark.parametrize(
    ("company", "rule"),
    [*((company, "auto") for company in COMPANIES), *((c, "metropolis") for c in COMPANIES[:3])],
    ids=lambda c: c if isinstance(c, str) else f"{c[0].kind}-{c[1].kind}",
)
def test_a_points_bits_do_not_depend_on_its_companions(
    company: tuple[Model, Lattice, dict[str, list[float]]], rule: Rule
) -> None:
    whole = _sampled(company, list(range(9)), rule)

    @settings(max_examples=15, deadline=None, database=None)
    @given(order=st.permutations(range(9)), cut=st.integers(1, 8))
    def parts_are_the_whole(order: list[int], cut: int) -> None:
        parts = [_sampled(company, part, rule) for part in (order[:cut], order[cut:])]
        for name, values in whole.items():
            again = np.concatenate([part[name] for part in parts])
            assert again.tobytes() == values[order].tobytes(), name

    parts_are_the_whole()


def _sampled(
    company: tuple[Model, Lattice, dict[str, list[float]]], chosen: list[int], rule: Rule
) -> dict[str, np.ndarray]:
    model, lattice, points = company
    axes = {name: np.array([values[i] for i in chosen]) for name, values in points.items()}
    seeds = np.stack([seed_of(4, i) for i in chosen])
    assert kernel_of(model, lattice, frozenset(axes)) == "lanes"
    sums = sample(model, lattice, axes, Schedule(3, 4, 2, rule=rule), seeds)
    full = complete(model, axes, len(chosen))
    return observe(sums, model.coefficients(full, sums.features), full["T"])


@pytest.mark.parametrize(
    ("model", "axes", "kernel"),
    [
        (Ising(), ("T",), "lanes"),
        (Ising(), ("T", "H"), "lanes"),
        (Ising(J2=0.3), ("T",), "lanes"),
        (Ising(), ("T", "J2", "J3"), "lanes"),
        (PairAlloy(), ("x", "w1", "w2"), "lanes"),
    ],
)
def test_models_of_several_shells_run_in_the_lanes(
    model: Model, axes: tuple[str, ...], kernel: str
) -> None:
    used = parameters_used(model, dict.fromkeys(axes))
    assert kernel_of(model, square(6), frozenset(used)) == kernel


@pytest.mark.parametrize(
    ("model", "kernel"), [(Ising(couplings=MANY_COUPLINGS, T=2.0), "lanes"), (Ising(T=2.0), "lane")]
)
def test_a_kernel_that_cannot_run_the_model_is_refused(model: Model, kernel: str) -> None:
    with pytest.raises(RequestError, match="does not support the model"):
        sample(model, square(4), {}, Schedule(1, 2, 1), seed_of(6)[None, :], kernel=kernel)


@pytest.mark.slow
@pytest.mark.statistical
def test_energy_and_heat_capacity_are_those_of_the_exact_torus() -> None:
    """L = 32 against Kaufman's solution, eight temperatures about Tc, at H = 0."""
    temperatures = np.array([1.8, 2.0, 2.2, 2.269185, 2.3, 2.5, 3.0, 4.0])
    model, lattice = Ising(), square(32)
    seeds = np.stack([seed_of(5, i) for i in range(8)])
    sums = sample(model, lattice, {"T": temperatures}, Schedule(2000, 1500, 10), seeds)
    full = complete(model, {"T": temperatures}, 8)
    found = observe(sums, model.coefficients(full, sums.features), temperatures)
    energy, heat_capacity = kaufman(32, temperatures)
    for name, exact in (("energy", energy), ("heat_capacity", heat_capacity)):
        z = (found[name] - exact) / found[f"{name}_se"]
        assert np.abs(z).max() < 4, (name, z)
    assert np.all(found["energy_se"] < 2e-3)
    drift = found["energy_drift"] / found["energy_drift_se"]
    assert np.abs(drift).max() < 4
