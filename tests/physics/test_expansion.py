"""Two species and any clusters in the multispin kernel: exact averages, bits, and its limits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latticescape.physics import (
    BlumeCapel,
    ClusterExpansion,
    Lattice,
    LatticeGas,
    RequestError,
    Schedule,
    Term,
    crystal,
    fcc,
    honeycomb,
    kagome,
    square,
    triangular,
)
from latticescape.physics.kernels.lattice_kernel import LatticeKernel, kernel_of, sample
from latticescape.physics.kernels.multispin.exchange import first_order
from latticescape.physics.kernels.multispin.expansion import exchange, flips
from latticescape.physics.kernels.multispin.expansion.classes import ClassCounter, bytes_of
from latticescape.physics.kernels.multispin.expansion.products import (
    Differences,
    exchange_differences,
    flip_differences,
    spin_products,
)
from latticescape.physics.kernels.multispin.simd import WORDS, aligned
from latticescape.physics.kernels.multispin.thresholds import Words, seed_state
from latticescape.physics.kernels.species.batch import SpeciesTables
from latticescape.physics.kernels.species.moves import add_classes
from latticescape.physics.lattices.site_classes import ClassChoice, classes_for
from latticescape.physics.models.model import features_of
from tests.physics import test_species
from tests.physics.test_species import (
    AB,
    ABC,
    ANGLE,
    DIRECTIONS,
    OPEN,
    PERIODIC,
    TETRAHEDRON,
    TRIANGLE,
    Case,
    canonical,
    open_to_exchange,
    pair,
)
from tests.support.statistics import Deviation, root_mean_square, seeds_of

ROCK_SALT = crystal([3, 4], [[0, 1.0], [1.0, 0]], [[0, 0], [0.5, 0.5]], sublattice=["M", "X"])
# A pair whose value changes when its ends are exchanged.
ARROW = Term(
    cluster=[[0, 0], [0, 1]],
    symmetry="translations",
    value={"A,A": 0, "A,B": 1, "B,A": -2, "B,B": 1},
)
BINARY = {"M": ("La", "Ca"), "X": ("vacancy", "O")}
KNOWN = (
    "kagome at fixed composition",
    "rectangular, two directions",
    "bcc",
    "hcp",
    "square, one boundary open",
    "directional couplings",
    "numbers that are not whole",
    "exchange of neighbours",
)
CASES = {name: test_species.CASES[name] for name in KNOWN} | {
    "fcc, two shells": Case(
        fcc([3, 2, 2]),
        canonical(AB, {"w": pair(), "w2": pair([0, 1, 0], shell=2)}),
        ({"T": 1.0, "w": 0.1, "w2": 0.1, "x": 0.5}, {"T": 1.0, "w": -0.1, "w2": 0.2, "x": 0.25}),
        "counts",
    ),
    "fcc with tetrahedra": Case(
        fcc([3, 2, 2]),
        canonical(AB, {"t": replace(TETRAHEDRON, value="like")}),
        ({"T": 1.0, "t": 0.1, "x": 0.5},),
        "counts",
    ),
    "pairs and triangles": Case(
        triangular([4, 4]),
        canonical(AB, {"w": pair(), "t": TRIANGLE}),
        ({"T": 1.0, "w": 0.2, "t": -0.3, "x": 0.25}, {"T": 1.0, "w": -0.3, "t": 0.2, "x": 0.5}),
    ),
    "triangles, all open": Case(
        triangular([4, 3], boundary=OPEN),
        canonical(AB, {"w": pair(), "t": TRIANGLE}),
        ({"T": 1.0, "w": 0.4, "t": -0.5, "x": 1 / 3},),
    ),
    "right angles": Case(
        square([3, 4]),
        canonical(AB, {"a": ANGLE}),
        ({"T": 2.0, "a": 0.3, "x": 0.5}, {"T": 2.0, "a": -0.3, "x": 0.25}),
    ),
    "neighbours on an open lattice": Case(
        square([3, 5], boundary=[PERIODIC, OPEN]),
        ClusterExpansion(AB, {"w": pair("like")}, exchange="neighbors"),
        ({"T": 1.0, "w": -0.4, "x": 0.4},),
    ),
    "neighbours that occur twice": Case(
        square([2, 4]),
        canonical(AB, {"w": pair(), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.2, "w2": -0.1, "x": 0.5},),
    ),
    "arrows": Case(
        square([4, 3], boundary=[PERIODIC, OPEN]),
        canonical(AB, {"v": ARROW, "w": pair()}),
        ({"T": 1.0, "v": 0.2, "w": 0.2, "x": 0.5},),
        "translations",
    ),
    "two sublattices": Case(
        crystal([2, 4], [[0, 1.0], [1.0, 0]], [[0, 0], [0.5, 0.5]], sublattice=["M", "X"]),
        canonical(BINARY, {"w": pair("product"), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.4, "w2": 0.2, "x_M": 0.5, "x_X": 0.25},),
    ),
    "a sublattice that does not change": Case(
        ROCK_SALT,
        canonical({"M": ("La",), "X": ("vacancy", "O")}, {"w": pair("count"), "w2": pair(shell=2)}),
        ({"T": 1.0, "w": 0.4, "w2": 0.3, "x_X": 0.5},),
    ),
    "sublattices without symmetry": Case(
        kagome([2, 2]),
        canonical(
            AB, {"v": Term(cluster=[[0, 0, 0], [0, 0, 1]], symmetry="translations"), "w": pair()}
        ),
        ({"T": 1.0, "v": 0.4, "w": 0.2, "x": 0.5},),
        "translations",
    ),
}

# Kagome with a site in every hexagon.
KAGOME = [[0, 1.0], [np.sqrt(3) / 2, 0.5]], [[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5]]
FLIPS = {
    "kagome, flips": Case(
        kagome([2, 2]),
        open_to_exchange(AB, {"w": pair()}, mu_B=0.0),
        ({"T": 2.0, "w": 1.0}, {"T": 3.0, "w": -1.0}),
    ),
    "a gas that repels itself": Case(
        kagome([2, 2]),
        LatticeGas("semi_grand"),
        tuple({"T": 0.7, "w1": 1.0, "mu_atom": mu} for mu in (-0.6, 0.7, 3.0)),
    ),
    "a gas on the honeycomb lattice": Case(
        honeycomb([2, 3]),
        LatticeGas("semi_grand"),
        ({"T": 1.0, "w1": -0.6, "mu_atom": -0.5}, {"T": 1.0, "w1": 0.8, "mu_atom": 1.0}),
    ),
    "triangles, flips": Case(
        triangular([3, 4]),
        open_to_exchange(AB, {"t": replace(TRIANGLE, value="product")}),
        ({"T": 3.0, "t": 0.7, "mu_B": 0.3}, {"T": 3.0, "t": -0.7, "mu_B": -0.5}),
    ),
    "flips at a boundary": Case(
        square([3, 4], boundary=[OPEN, PERIODIC]),
        open_to_exchange(AB, {"w": pair()}, mu_B=0.0),
        ({"T": 3.0, "w": 1.0}, {"T": 3.0, "w": -1.0}),
    ),
    "a field on one sublattice": Case(
        crystal([2, 2], KAGOME[0], KAGOME[1][:3], sublattice=["M", "X", "X"]),
        open_to_exchange(BINARY, {"w": pair("product")}, mu_O=0.0),
        ({"T": 3.0, "w": 0.7, "mu_Ca": 0.4},),
    ),
    "a free sublattice": Case(
        crystal([2, 2], *KAGOME, sublattice=["M", "M", "M", "X"]),
        open_to_exchange(BINARY, {"w": Term(cluster=[[0, 0, 0], [0, 0, 1]])}, mu_Ca=0.0, mu_O=0.0),
        ({"T": 2.0, "w": 1.0}, {"T": 2.0, "w": -1.0}),
        "counts",
    ),
}
CASES |= FLIPS

DEMONS = [
    Schedule(equilibration_mcs=100, samples=400, stride_mcs=3, rule="demon", demon_period=period)
    for period in (1, 3, 8)
]


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("schedule", DEMONS, ids=lambda s: f"period {s.demon_period}")
def test_law_2_two_species_agree_with_the_sum_over_arrangements(schedule: Schedule) -> None:
    found: list[tuple[str, Deviation]] = []
    for name in CASES:
        found += test_species.deviations(name, schedule=schedule, cases=CASES)
    z = [deviation.z for _, deviation in found]
    worst = max(found, key=lambda pair: abs(pair[1].z))
    print(f"{len(z)} values, rms z {root_mean_square(z):.3f}, worst {worst}")
    assert len(z) >= 1000
    assert max(map(abs, z)) < 5, worst
    assert 0.9 < root_mean_square(z) < 1.1


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["directional couplings", "right angles", "kagome, flips"])
def test_law_2_a_wrong_temperature_fails(name: str) -> None:
    found = test_species.deviations(name, 1.1, DEMONS[1], CASES)
    assert max(abs(deviation.z) for _, deviation in found) > 5


ADATOMS = ClusterExpansion(AB, DIRECTIONS, x=0.1875)
SHORT = Schedule(equilibration_mcs=16, samples=12, stride_mcs=8)
AXES = {"w_c": np.array([0.3, -0.2, 0.1]), "w_s": np.array([0.1, 0.2, 0.0])}


def adatom_kernel(model: ClusterExpansion, *swept: str, **parts: Any) -> LatticeKernel:
    schedule, choice = replace(SHORT, **parts), ClassChoice("translations")
    keep = ("samples", "spins", "restart")
    kernel = LatticeKernel(triangular([8, 6]), model, schedule, swept, keep, choice)
    assert kernel.name == "lanes"
    return kernel


def assert_same(one: Any, other: Any) -> None:
    for name, values in one.items():
        assert np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f"), name


def tables_of(case: Case, classes: Any = None) -> SpeciesTables:
    names = case.model.species(case.lattice)
    choice = ClassChoice.of(case.classes if classes is None else classes)
    return SpeciesTables(
        case.lattice,
        tuple(map(len, names)),
        tuple(case.model.interactions(case.lattice, ())),
        classes_for(case.lattice, names, choice),
        tuple(case.model.spins(len(own)) for own in names),
        case.model.pools(case.lattice),
    )


def random_spins(tables: SpeciesTables, seed: int) -> Words:
    """Spins of eight points; sites with one species are down."""
    spins = aligned((tables.lattice.sites, WORDS))
    active = tables.pairs.active
    shape = (len(active), WORDS)
    spins[active] = np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)
    return spins


def features_with(tables: SpeciesTables, species: Any) -> Any:
    """The features of one arrangement."""
    features = features_of(tables.interactions)
    total = np.zeros(len(features))
    for each in tables.interactions:
        for feature, values in each.values.items():
            total[features.index(feature)] += values[tuple(species[each.clusters.T])].sum()
    return total


def counted(differences: Differences, species: Any, site: int) -> Any:
    """For each difference, the tuples around a site that count."""
    odd, place = [], 0
    for tuples, width in differences.shape:
        row = differences.rows[site, place : place + tuples * width]
        odd.append((species[row.reshape(tuples, width)].sum(axis=1) % 2).sum())
        place += tuples * width
    return np.array(odd)


@pytest.mark.parametrize("name", CASES)
def test_differences_are_what_a_move_costs(name: str) -> None:
    tables, rng = tables_of(CASES[name]), np.random.default_rng(5)
    features, sites = features_of(tables.interactions), tables.lattice.sites
    products, active = spin_products(tables.interactions, features, sites), tables.pairs.active
    swaps = exchange_differences(products, len(features), tables.active_pools, sites, 1)
    found = flip_differences(products, len(features), active, sites)
    for pool in tables.active_pools:
        for _ in range(20):
            species = np.zeros(sites + 2, np.int64)
            species[active] = rng.integers(0, 2, len(active))
            species[-1] = 1
            i, j = rng.choice(pool, 2, replace=False)
            species[[i, j]] = 1, 0
            before = features_with(tables, species)
            around = counted(found, species, i)
            # Less half of all, in units of a half where their number is odd.
            units = [
                2 * n - most if most % 2 else n - most // 2
                for n, (most, _) in zip(around, found.shape, strict=True)
            ]
            species[i] = 0
            assert np.allclose(features_with(tables, species) - before, units @ found.weights)
            difference = counted(swaps, species, i) - counted(swaps, species, j)
            species[j] = 1
            assert np.allclose(features_with(tables, species) - before, difference @ swaps.weights)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("kagome at fixed composition", "point_group"),
        ("sublattices without symmetry", "translations"),
        ("directional couplings", "translations"),
        ("directional couplings", "point_group"),
        ("square, one boundary open", "translations"),
        ("bcc", "rotations"),
        ("two sublattices", "point_group"),
        ("a sublattice that does not change", "translations"),
        ("fcc, two shells", "point_group"),
    ],
)
def test_classes_are_those_of_plain_counting(name: str, classes: str) -> None:
    tables = tables_of(CASES[name], classes)
    counter, spins = ClassCounter(tables), random_spins(tables, 1)
    counts, twice = counter.zeros(), counter.zeros()
    counter.add(spins, counts)
    for _ in range(2):
        counter.add(spins, twice)
    assert np.array_equal(twice, 2 * counts)
    for word in range(WORDS):
        plain = np.zeros((64, len(tables.classes)), np.int64)
        add_classes(bytes_of(spins[:, word]), tables.measured, plain)
        assert np.array_equal(counter.of_word(counts, word), plain)


def test_the_classes_of_a_large_lattice_are_added_up_to_the_last_digit() -> None:
    case = Case(kagome(27), CASES["kagome at fixed composition"].model, ())
    tables = tables_of(case)
    counter = ClassCounter(tables)
    for value in (0, 2**64 - 1):
        counts = counter.zeros()
        counter.add(np.full((case.lattice.sites, WORDS), value, np.uint64), counts)
        assert counts.max(axis=0).min() == case.lattice.sites
        assert counts.sum() == case.lattice.sites * 64 * WORDS


@pytest.mark.parametrize("move", ["exchange", "flip"])
def test_width_and_companions_change_no_bit(move: str) -> None:
    flip = move == "flip"
    tables = tables_of(CASES["a gas that repels itself" if flip else "pairs and triangles"])
    features, sites = features_of(tables.interactions), tables.lattice.sites
    rng, pools = np.random.default_rng(4), tables.active_pools
    couplings, T = rng.normal(size=(8, len(features))), rng.uniform(1, 2, 8)
    seeds = rng.integers(0, 2**64, (8, 4), dtype=np.uint64)
    products = spin_products(tables.interactions, features, sites)
    if flip:
        found = flip_differences(products, len(features), tables.pairs.active, sites)
    else:
        found = exchange_differences(products, len(features), pools, sites, WORDS)

    def evolved(order: list[int], width: int) -> Words:
        rows, state = aligned((sites + 2, WORDS)), seed_state(seeds[order])
        rows[:sites], rows[sites + 1] = random_spins(tables, 2)[:, order], 2**64 - 1
        rule = (3, (0,) * width)
        amplitudes, first = exchange.amplitudes_of(found, couplings[order]), first_order()
        for mcs in (1, 19):
            if flip:
                visited = flips.visited_sites(found, tables.pairs.active)
                accounts = flips.flip_accounts(found, amplitudes, T[order], *rule)
                flips.advance(rows, visited, accounts, state, first, mcs)
            else:
                plain = exchange.accounts_of(found, amplitudes, T[order], *rule)
                exchange.advance(rows, found.rows, tables.pairs, plain, state, first, mcs)
        assert not rows[sites].any()
        assert np.all(rows[sites + 1] == 2**64 - 1)
        return rows[:sites]

    order, plain = [3, 1, 6, 0, 7, 2, 5, 4], evolved([*range(8)], 8)
    assert evolved([*range(8)], 4).tobytes() == plain.tobytes()
    assert evolved(order, 8).tobytes() == plain[:, order].tobytes()
    assert len({plain[:, word].tobytes() for word in range(8)}) == 8
    ups = np.bitwise_count(plain.reshape(-1)).sum()
    assert flip or ups == np.bitwise_count(random_spins(tables, 2).reshape(-1)).sum()


@pytest.mark.parametrize("tempering", [0, 4])
def test_a_points_bits_are_its_own_and_it_goes_on(tempering: int) -> None:
    fixed = {"w_d": -0.2, **({"w_c": 0.3, "w_s": 0.2} if tempering else {})}
    model = ClusterExpansion(AB, DIRECTIONS, x=0.1875, **fixed)
    axes = {"T": np.array([1.0, 1.5, 2.0])} if tempering else AXES
    short, long = (
        adatom_kernel(model, *axes, tempering_mcs=tempering, samples=samples)
        for samples in (12, 20)
    )
    seeds = seeds_of(3, points=3)
    first, together = short.compute(axes, seeds), long.compute(axes, seeds)
    assert first["restart"].shape[1] == short.restart_words
    assert_same(together, long.compute(axes, seeds, earlier=first))
    if not tempering:
        for p in (2, 0):
            alone = long.compute({n: v[[p]] for n, v in axes.items()}, seeds[[p]])
            assert_same(alone, {name: values[[p]] for name, values in together.items()})


@pytest.mark.parametrize("tempering", [0, 4])
def test_flips_are_a_points_own_and_go_on(tempering: int) -> None:
    """Also where fields are weak at one point and strong at another, which move by other rules."""
    fixed = {"w1": 1.0, "w2": 0.0, **({"mu_atom": 0.3} if tempering else {"T": 1.0})}
    axes = {"T": [0.7, 1.0, 1.5]} if tempering else {"mu_atom": [-1.9, 0.3, -2.1]}
    schedules = [replace(SHORT, tempering_mcs=tempering, samples=n) for n in (12, 20)]
    keep, points = ("samples", "spins", "restart"), {k: np.array(v) for k, v in axes.items()}
    short, long = (
        LatticeKernel(kagome([2, 3]), LatticeGas("semi_grand", **fixed), s, tuple(axes), keep)
        for s in schedules
    )
    assert long.name == "lanes"
    seeds = seeds_of(3, points=3)
    first, together = short.compute(points, seeds), long.compute(points, seeds)
    assert first["restart"].shape[1] == short.restart_words
    assert_same(together, long.compute(points, seeds, earlier=first))
    if not tempering:
        for p in range(3):
            alone = long.compute({n: v[[p]] for n, v in points.items()}, seeds[[p]])
            assert_same(alone, {name: values[[p]] for name, values in together.items()})


@pytest.mark.parametrize(
    ("lattice", "model", "parts", "kernel", "rule"),
    [
        (triangular(4), ADATOMS, {}, "lanes", "demons of period 8"),
        (triangular(4), ADATOMS, {"stride_mcs": 7}, "species", "Metropolis filter"),
        (triangular(4), ADATOMS, {"rule": "heat_bath"}, "species", "Metropolis filter"),
        (
            triangular(4),
            ClusterExpansion(("A", "B", "C"), {"w": pair()}, x_B=0.25, x_C=0.25),
            {},
            "species",
            "Metropolis filter",
        ),
        (
            triangular(4),
            ClusterExpansion(AB, {"w": pair()}, ensemble="semi_grand"),
            {},
            "lanes",
            "demons of period 8",
        ),
        (triangular(4), LatticeGas("semi_grand"), {"stride_mcs": 7}, "species", "heat bath"),
        (kagome(4), LatticeGas("semi_grand"), {"rule": "heat_bath"}, "species", "heat bath"),
        (square(4, boundary=OPEN), BlumeCapel(), {}, "species", "Barker's rule"),
        (
            triangular(9),
            canonical(AB, {f"w{k}": pair(shell=k) for k in range(1, 9)}, x=1 / 3),
            {},
            "lanes",
            "demons of period 8",
        ),
        (
            fcc(6),
            canonical(AB, {f"w{k}": pair(shell=k) for k in range(1, 7)}, x=0.25),
            {},
            "species",
            "Metropolis filter",
        ),
    ],
)
def test_the_kernel_is_chosen_by_model_and_schedule(
    lattice: Lattice, model: ClusterExpansion, parts: dict[str, Any], kernel: str, rule: str
) -> None:
    swept = tuple(p.name for p in model.parameters if p.name not in model.fixed_parameters)
    chosen = LatticeKernel(lattice, model, replace(SHORT, **parts), swept)
    assert (chosen.name, chosen.rule) == (kernel, rule)
    assert chosen.attrs["rule"] == rule


def test_a_term_that_is_fixed_to_zero_needs_no_account() -> None:
    terms = {f"w{k}": pair(shell=k) for k in range(1, 7)}
    model = canonical(AB, terms, x=0.25, w5=0.0, w6=0.0)
    assert kernel_of(model, fcc(6), frozenset({"w1", "w2", "w3", "w4"})) == "lanes"


def test_demons_are_refused_where_the_multispin_kernel_is_not() -> None:
    model = ClusterExpansion(ABC, {"w": pair()}, ensemble="semi_grand")
    schedule = replace(SHORT, rule="demon")
    with pytest.raises(RequestError, match="the species kernel"):
        LatticeKernel(triangular(4), model, schedule, ("w",))


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("name", ["adatoms", "fcc"])
def test_law_2_the_multispin_kernel_agrees_with_that_of_any_species(name: str) -> None:
    case = {
        "adatoms": Case(
            triangular([14, 16]),
            ADATOMS,
            ({"w_c": 0.5, "w_s": 0.3, "w_d": -0.2},),
            "translations",
        ),
        "fcc": Case(
            fcc([5, 4, 6]),
            canonical(
                AB,
                {"w": pair(), "w2": pair(shell=2), "t": replace(TETRAHEDRON, value="like")},
                x=0.25,
            ),
            ({"w": 0.2, "w2": -0.2, "t": 0.1},),
        ),
    }[name]
    point = {n: np.full(4, v) for n, v in case.points[0].items()}
    choice = ClassChoice.of(case.classes)
    schedule = Schedule(300, 100, 8)
    values = []
    for kernel in ("lanes", "species"):
        found = sample(
            case.model,
            case.lattice,
            point,
            schedule,
            seeds_of(7, points=4),
            kernel=kernel,
            classes=choice,
        )
        replicas = np.concatenate(
            [found.feature_sum.reshape(256, -1), found.histogram.reshape(256, -1)], axis=1
        )
        values.append((replicas.mean(axis=0), replicas.std(axis=0) / 16))
    (one, error), (other, error_too) = values
    common = (one > 100) & (error > 0)
    z = (one - other)[common] / np.hypot(error, error_too)[common]
    assert common.sum() > 20
    assert np.abs(z).max() < 5
    assert 0.6 < root_mean_square(list(z)) < 1.4
