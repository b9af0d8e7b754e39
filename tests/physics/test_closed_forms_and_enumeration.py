"""The truths against plain Python, against each other and against closed forms."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, exp, gamma, isnan, log, nextafter, pi, sqrt

import numpy as np
import pytest

from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    RequestError,
    ThreeBodyAlloy,
    configurations,
    cubic,
    honeycomb,
    square,
    triangular,
)
from latticescape.physics.exact import enumeration
from latticescape.physics.exact.closed_forms import (
    CRITICAL_TEMPERATURE,
    kaufman,
    onsager_energy,
    onsager_heat_capacity,
    onsager_magnetization,
)
from latticescape.physics.exact.enumeration import States, enumerate_states

TC = CRITICAL_TEMPERATURE["square"]

# Written down by hand, not taken from the lattice: the ring of nearest neighbours by angle, as
# (rows, columns), and half of the next-nearest ones.
RINGS = {
    "square": [(0, 1), (1, 0), (0, -1), (-1, 0)],
    "triangular": [(0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1)],
}
NEXT_NEAREST = {"square": [(1, 1), (1, -1)], "triangular": [(1, 1), (2, -1), (1, -2)]}


@dataclass(frozen=True)
class Torus:
    """A periodic arrangement in plain Python."""

    kind: str
    size: int
    species: tuple[int, ...]

    def at(self, row: int, column: int) -> int:
        return self.species[(row % self.size) * self.size + column % self.size]

    def cells(self) -> Iterator[tuple[int, int]]:
        return product(range(self.size), repeat=2)

    def pairs(self, shell: int) -> Iterator[tuple[int, int]]:
        ring = RINGS[self.kind]
        steps = ring[: len(ring) // 2] if shell == 1 else NEXT_NEAREST[self.kind]
        for (r, c), (dr, dc) in product(self.cells(), steps):
            yield self.at(r, c), self.at(r + dr, c + dc)

    def spin_products(self, shell: int) -> int:
        return sum((2 * a - 1) * (2 * b - 1) for a, b in self.pairs(shell))

    def magnetization(self) -> int:
        return sum(2 * species - 1 for species in self.species)

    def unlike(self, shell: int) -> int:
        return sum(a != b for a, b in self.pairs(shell))

    def triangles(self, ones: int) -> int:
        corners = [
            (self.at(r, c), self.at(r + 1, c), third)
            for r, c in self.cells()
            for third in (self.at(r, c + 1), self.at(r + 1, c - 1))
        ]
        return sum(sum(triangle) == ones for triangle in corners)

    def classes(self) -> list[tuple[int, ...]]:
        """The class key of every site."""
        keys = []
        for r, c in self.cells():
            ring = [self.at(r + dr, c + dc) for dr, dc in RINGS[self.kind]]
            occupied = [k for k, species in enumerate(ring) if species]
            apart = [min(b - a, len(ring) - b + a) for a, b in combinations(occupied, 2)]
            reported = (2,) if self.kind == "square" else (1, 2, 3)
            keys.append((self.at(r, c), len(occupied), *(apart.count(d) for d in reported)))
        return keys


def energy_of(torus: Torus, model: Model, p: Mapping[str, float]) -> float:
    if isinstance(model, Ising):
        pairs = p.get("J", 1.0) * torus.spin_products(1) + p.get("J2", 0.0) * torus.spin_products(2)
        return -pairs - p.get("mu", 1.0) * p.get("H", 0.0) * torus.magnetization()
    if isinstance(model, PairAlloy):
        return p["w1"] * torus.unlike(1) + p.get("w2", 0.0) * torus.unlike(2)
    return p["w1"] * torus.triangles(1) + p.get("w2", 0.0) * torus.triangles(2)


def brute_force(lattice: Lattice, model: Model, p: Mapping[str, float]) -> dict[str, object]:
    """Every average from its definition, by loops and sums alone."""
    n, temperature = lattice.sites, p.get("T", 1.0)
    weights, rows, classes = [], [], []
    keys = configurations(lattice.kind).keys
    for species in product((0, 1), repeat=n):
        if "x" in p and sum(species) != round(p["x"] * n):
            continue
        torus = Torus(lattice.kind, lattice.size, species)
        energy = energy_of(torus, model, p)
        weights.append(exp(-energy / temperature))
        rows.append((energy / n, (2 * sum(species) - n) / n))
        here = torus.classes()
        classes.append([here.count(key) / n for key in keys])

    def mean(values: list[float]) -> float:
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    e, m = [row[0] for row in rows], [row[1] for row in rows]
    m1, m_abs, m2 = mean(m), mean([abs(v) for v in m]), mean([v * v for v in m])
    return {
        "energy": mean(e),
        "magnetization": m1,
        "magnetization_abs": m_abs,
        "susceptibility": n * (m2 - m1**2) / temperature,
        "susceptibility_abs": n * (m2 - m_abs**2) / temperature,
        "heat_capacity": n * (mean([v * v for v in e]) - mean(e) ** 2) / temperature**2,
        "binder_cumulant": 1 - mean([v**4 for v in m]) / (3 * m2**2),
        "configurations": [mean([row[k] for row in classes]) for k in range(len(keys))],
    }


@pytest.mark.parametrize(
    ("lattice", "model", "point"),
    [
        (square(2), Ising(), {"T": 2.0}),
        (square(3), Ising(), {"T": 2.5}),
        (square(3), Ising(), {"T": 1.5, "H": -0.3, "mu": 0.67, "J": 0.8}),
        (square(3), Ising(), {"T": 3.0, "J": -1.0, "J2": 0.4, "H": 0.2}),
        (triangular(3), Ising(), {"T": 4.0, "J2": -0.2, "H": 0.1}),
        (triangular(3), PairAlloy(), {"x": 4 / 9, "w1": -0.4, "w2": 0.25, "T": 0.8}),
        (square(3), PairAlloy(), {"x": 1 / 3, "w1": 0.5, "w2": -0.3}),
        (triangular(3), ThreeBodyAlloy(), {"x": 5 / 9, "w1": -0.268, "w2": -0.097}),
    ],
)
def test_states_agree_with_loops_over_every_arrangement(
    lattice: Lattice, model: Model, point: dict[str, float]
) -> None:
    states = enumerate_states(lattice, model, used=set(point))
    found, truth = states.expect(**point), brute_force(lattice, model, point)
    assert set(found) == {*truth, "features"}
    for name, value in truth.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_features_are_the_extensive_means_in_the_order_of_the_orbits() -> None:
    states = enumerate_states(square(3), Ising(), used={"J2"})
    assert states.features == ("spin_product_1", "spin_product_2", "magnetization")
    truth = states.expect(T=2.0, J2=0.3, H=0.1)
    energy = -np.array([1.0, 0.3, 0.1]) @ truth["features"] / 9
    assert energy == pytest.approx(truth["energy"], abs=1e-12)
    assert truth["features"][2] / 9 == pytest.approx(truth["magnetization"], abs=1e-12)


LATTICES = [square(4), triangular(4), honeycomb(2), honeycomb(3), cubic(2)]


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_every_arrangement_is_counted_once(lattice: Lattice) -> None:
    states = enumerate_states(lattice, Ising())
    n = lattice.sites
    for ones in range(n + 1):
        assert states.degeneracy[states.n_species1 == ones].sum() == comb(n, ones)
    np.testing.assert_array_equal(states.values[:, 1], 2 * states.n_species1 - n)
    np.testing.assert_array_equal(states.class_counts.sum(axis=1), n * states.degeneracy)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_unlike_bonds_and_atoms_follow_from_the_class_counts(lattice: Lattice) -> None:
    states = enumerate_states(lattice, Ising())
    classes = configurations(lattice.kind)
    atoms = states.class_counts @ classes.centre
    np.testing.assert_array_equal(atoms, states.n_species1 * states.degeneracy)
    unlike = np.where(classes.centre == 1, lattice.coordination - classes.neighbors, 0)
    bonds = lattice.sites * lattice.coordination // 2
    np.testing.assert_array_equal(
        (bonds - 2 * states.class_counts @ unlike / states.degeneracy), states.values[:, 0]
    )


def test_a_hash_table_that_fills_up_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = enumerate_states(triangular(4), PairAlloy())
    monkeypatch.setattr(enumeration, "FIRST_SLOTS", 2)
    parts = enumerate_states(triangular(4), PairAlloy())
    for name in ("values", "n_species1", "degeneracy", "class_counts"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_one_composition_is_the_same_as_its_rows_of_all() -> None:
    point = {"x": 5 / 16, "w1": -0.3, "w2": 0.1}
    every = enumerate_states(triangular(4), PairAlloy())
    one = enumerate_states(triangular(4), PairAlloy(), n_species1=5)
    rows = every.n_species1 == 5
    np.testing.assert_array_equal(one.values, every.values[rows])
    np.testing.assert_array_equal(one.class_counts, every.class_counts[rows])
    assert one.degeneracy.sum() == comb(16, 5)
    for name, value in every.expect(**point).items():
        found = one.expect(**point)[name]
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-14, err_msg=name)


def test_fixed_composition_keeps_its_atoms_and_its_sums() -> None:
    truth = enumerate_states(triangular(4), PairAlloy(), n_species1=6).expect(x=6 / 16, w1=-0.5)
    classes = configurations("triangular")
    p = truth["configurations"]
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert p @ classes.centre == pytest.approx(6 / 16, abs=1e-12)
    assert p @ classes.neighbors == pytest.approx(6 * 6 / 16, abs=1e-12)
    assert truth["magnetization"] == pytest.approx(2 * 6 / 16 - 1, abs=1e-12)
    assert truth["susceptibility"] == pytest.approx(0, abs=1e-12)


def test_binder_cumulant_without_any_magnetization_is_nan() -> None:
    truth = enumerate_states(triangular(4), PairAlloy(), n_species1=8).expect(x=0.5, w1=-0.5)
    assert isnan(truth["binder_cumulant"])


@pytest.fixture(scope="module")
def three_body() -> States:
    return enumerate_states(triangular(4), ThreeBodyAlloy())


def test_three_body_alloy_with_equal_energies_is_the_pair_alloy(three_body: States) -> None:
    pair = enumerate_states(triangular(4), PairAlloy())
    mine = three_body.expect(x=0.5, w1=-0.3, w2=-0.3)
    other = pair.expect(x=0.5, w1=-0.3)
    for name in set(mine) - {"features"}:
        np.testing.assert_allclose(mine[name], other[name], rtol=1e-12, err_msg=name)
    assert mine["features"].sum() == pytest.approx(other["features"][0], abs=1e-10)


def test_triangle_features_obey_the_identities_row_by_row(three_body: States) -> None:
    t1, t2 = three_body.values.T
    n = three_body.n_species1
    t3, remainder = np.divmod(6 * n - t1 - 2 * t2, 3)
    assert np.all(remainder == 0)
    assert np.all((t3 >= 0) & (t1 + t2 + t3 <= 2 * 16))
    classes = configurations("triangular")
    unlike = three_body.class_counts @ (classes.neighbors * (classes.centre == 0))
    np.testing.assert_array_equal(unlike, (t1 + t2) * three_body.degeneracy)
    # A triangle of species 1 is an ortho pair around a centre of species 1, seen from 3 corners.
    full = three_body.class_counts @ (classes.pairs("ortho") * classes.centre)
    np.testing.assert_array_equal(full, 3 * t3 * three_body.degeneracy)


@pytest.mark.parametrize("lattice", [square(4), triangular(4), honeycomb(3)], ids=str)
def test_at_infinite_temperature_classes_mix_at_random(lattice: Lattice) -> None:
    classes = configurations(lattice.kind)
    found = enumerate_states(lattice, Ising()).expect(T=1e12)["configurations"]
    expected = classes.multiplicity / 2 ** (lattice.coordination + 1)
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("lattice", [square(4), triangular(3), honeycomb(2)], ids=str)
def test_reversing_the_field_mirrors_everything(lattice: Lattice) -> None:
    states = enumerate_states(lattice, Ising(mu=0.67))
    up, down = states.expect(T=2.5, H=0.4), states.expect(T=2.5, H=-0.4)
    assert up["magnetization"] > 0.01
    assert down["magnetization"] == pytest.approx(-up["magnetization"], rel=1e-12)
    for name in ("energy", "heat_capacity", "susceptibility", "binder_cumulant"):
        assert down[name] == pytest.approx(up[name], rel=1e-10), name
    half = len(up["configurations"]) // 2
    centre_up = up["configurations"][half:].sum()
    assert down["configurations"][:half].sum() == pytest.approx(centre_up, rel=1e-12)
    assert states.expect(T=2.5)["magnetization"] == pytest.approx(0, abs=1e-12)


def test_susceptibility_and_heat_capacity_are_derivatives() -> None:
    states = enumerate_states(square(4), Ising())
    h = 1e-4
    ahead, behind = states.expect(T=2.5, H=0.2 + h), states.expect(T=2.5, H=0.2 - h)
    slope = (ahead["magnetization"] - behind["magnetization"]) / (2 * h)
    warm, cold = states.expect(T=2.5 + h, H=0.2), states.expect(T=2.5 - h, H=0.2)
    here = states.expect(T=2.5, H=0.2)
    assert slope == pytest.approx(here["susceptibility"], rel=1e-6)
    assert (warm["energy"] - cold["energy"]) / (2 * h) == pytest.approx(
        here["heat_capacity"], rel=1e-6
    )


@pytest.mark.parametrize("temperature", [1e-3, 1e-2])
def test_low_temperatures_do_not_overflow(temperature: float) -> None:
    truth = enumerate_states(square(4), Ising()).expect(T=temperature)
    assert truth["energy"] == -2
    assert truth["magnetization_abs"] == 1
    assert truth["binder_cumulant"] == pytest.approx(2 / 3, abs=1e-12)


def test_a_lattice_too_large_is_refused_with_the_limit() -> None:
    with pytest.raises(RequestError, match="up to 27"):
        enumerate_states(honeycomb(4), Ising())
    with pytest.raises(RequestError, match="0 to 16"):
        enumerate_states(square(4), Ising(), n_species1=17)


def test_a_point_that_was_not_enumerated_is_refused() -> None:
    states = enumerate_states(square(4), Ising())
    assert states.expect(T=2.0, J2=0.0)["energy"] == states.expect(T=2.0)["energy"]
    with pytest.raises(RequestError, match="spin_product_2"):
        states.expect(T=2.0, J2=0.5)
    with pytest.raises(RequestError, match="the model ising needs the parameter T"):
        states.expect()
    alloy = enumerate_states(triangular(4), PairAlloy(), n_species1=4)
    with pytest.raises(RequestError, match="n_species1 = 8"):
        alloy.expect(x=0.5, w1=0.1)


def test_what_the_model_gives_counts_as_used() -> None:
    states = enumerate_states(square(4), Ising(J=[1.0, 0.2], T=2.0))
    assert states.features == ("spin_product_1", "spin_product_2", "magnetization")
    other = enumerate_states(square(4), Ising(), used={"J2"}).expect(T=2.0, J2=0.2)
    assert states.expect()["energy"] == other["energy"]


TEMPERATURES = [0.3, 1.0, 2.0, TC * (1 - 1e-9), TC, nextafter(TC, 9), 2.4, 5.0, 50.0]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_kaufman_is_the_enumerated_torus(size: int) -> None:
    states = enumerate_states(square(size), Ising())
    energy, heat_capacity = kaufman(size, TEMPERATURES)
    truths = [states.expect(T=t) for t in TEMPERATURES]
    np.testing.assert_allclose(energy, [t["energy"] for t in truths], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        heat_capacity, [t["heat_capacity"] for t in truths], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("size", "atol"), [(64, 2e-5), (128, 1e-8)])
def test_kaufman_tends_to_onsager_away_from_the_transition(size: int, atol: float) -> None:
    temperatures = np.array([0.5, 1.5, 2.0, 2.6, 3.0, 10.0])
    energy, heat_capacity = kaufman(size, temperatures)
    np.testing.assert_allclose(energy, onsager_energy(temperatures), atol=atol)
    np.testing.assert_allclose(heat_capacity, onsager_heat_capacity(temperatures), atol=50 * atol)


def test_kaufman_at_the_transition_scales_as_ferdinand_and_fisher_found() -> None:
    """Phys. Rev. 185, 832 (1969): 1/L in the energy with an amplitude of theta functions at
    q = exp(−π), and ln L in the heat capacity with that of Onsager's logarithm."""
    theta3 = pi**0.25 / gamma(0.75)
    theta2 = theta4 = theta3 / 2**0.25
    amplitude = -2 * theta2 * theta3 * theta4 / (theta2 + theta3 + theta4)
    (half, c_half), (whole, c_whole) = (kaufman(size, TC) for size in (128, 256))
    assert (whole + sqrt(2)) * 256 == pytest.approx(amplitude, rel=1e-5)
    assert (half - whole) * 256 == pytest.approx(amplitude, rel=1e-4)
    logarithm = 2 / pi * log(1 + sqrt(2)) ** 2 * log(2)
    assert c_whole - c_half == pytest.approx(logarithm, rel=3e-3)


@pytest.mark.parametrize("size", [64, 128])
def test_kaufman_heat_capacity_is_the_slope_of_the_energy(size: int) -> None:
    temperatures, h = np.array([0.7, 2.2, TC, 2.3, 4.0]), 1e-5
    slope = (kaufman(size, temperatures + h)[0] - kaufman(size, temperatures - h)[0]) / (2 * h)
    np.testing.assert_allclose(kaufman(size, temperatures)[1], slope, rtol=1e-6, atol=1e-9)


def test_kaufman_stays_finite_from_frozen_to_infinitely_hot() -> None:
    energy, heat_capacity = kaufman(128, [[1e-6, 1e-3, 0.05], [TC, 1e3, 1e5]])
    assert energy.shape == heat_capacity.shape == (2, 3)
    np.testing.assert_allclose(energy[0], -2, atol=1e-14)
    np.testing.assert_allclose(heat_capacity[0], 0, atol=1e-14)
    np.testing.assert_allclose(energy[1, 1:], [-2e-3, -2e-5], rtol=1e-5)


def test_onsager_energy_at_the_transition_is_minus_root_two() -> None:
    assert onsager_energy(TC) == pytest.approx(-sqrt(2), abs=1e-13)
    assert np.isinf(onsager_heat_capacity(TC))
    around = onsager_energy([TC * (1 - 1e-12), TC * (1 + 1e-12)])
    np.testing.assert_allclose(around, -sqrt(2), atol=1e-9)


def test_onsager_heat_capacity_is_the_slope_of_the_energy() -> None:
    temperatures, h = np.array([0.7, 1.5, 2.2, 2.3, 3.0, 8.0]), 1e-5
    slope = (onsager_energy(temperatures + h) - onsager_energy(temperatures - h)) / (2 * h)
    np.testing.assert_allclose(onsager_heat_capacity(temperatures), slope, rtol=1e-5)


def test_onsager_limits() -> None:
    np.testing.assert_allclose(onsager_energy([1e-3, 0.1, 1e4]), [-2, -2, -2e-4], rtol=1e-7)
    np.testing.assert_allclose(onsager_heat_capacity([1e-3, 0.1, 1e4]), [0, 0, 2e-8], atol=1e-12)
    np.testing.assert_array_equal(onsager_magnetization([1e-3, TC * 1.001, 50.0]), [1, 0, 0])
    below, amplitude = TC * (1 - 1e-6), (8 * sqrt(2) / TC) ** 0.125
    assert onsager_magnetization(below) == pytest.approx(amplitude * 1e-6**0.125, rel=1e-5)


def test_energies_scale_with_the_coupling() -> None:
    assert kaufman(8, 4.0, J=2.0)[0] == pytest.approx(2 * kaufman(8, 2.0)[0], rel=1e-14)
    assert onsager_energy(4.0, J=2.0) == pytest.approx(2 * onsager_energy(2.0), rel=1e-14)
    assert onsager_magnetization(4.0, J=2.0) == onsager_magnetization(2.0)


@pytest.mark.parametrize("law", [onsager_energy, onsager_heat_capacity, onsager_magnetization])
def test_temperatures_that_are_not_positive_are_refused(law: Callable[..., object]) -> None:
    for temperature, coupling in ((0.0, 1.0), ([1.0, -1.0], 1.0), (1.0, -1.0), (np.nan, 1.0)):
        with pytest.raises(RequestError, match="positive"):
            law(temperature, coupling)
        with pytest.raises(RequestError, match="positive"):
            kaufman(4, temperature, coupling)
    with pytest.raises(RequestError, match="2 or more"):
        kaufman(1, 2.0)


def test_critical_temperatures_are_the_published_ones() -> None:
    published = {
        "square": 2.269185,
        "triangular": 3.640957,
        "honeycomb": 1.518651,
        "cubic": 4.511523,
    }
    assert dict(CRITICAL_TEMPERATURE) == pytest.approx(published, abs=1e-6)
