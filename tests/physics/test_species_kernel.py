"""The kernel of any species: a point's bits, restarts, tempering, cold points, and wrong input."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latticescape import Sweep
from latticescape.physics import (
    Clock,
    ClusterExpansion,
    Ising,
    Lattice,
    Potts,
    RequestError,
    Schedule,
    Term,
    crystal,
    fcc,
    kagome,
    rectangular,
    square,
    triangular,
    unpack_species,
)
from latticescape.physics.kernels.lattice_kernel import LatticeKernel, sample
from latticescape.physics.lattices.site_classes import ClassChoice
from tests.support.brute_force import exact_averages
from tests.support.statistics import seeds_of

AB, ABC = ("A", "B"), ("A", "B", "C")
SHORT = Schedule(equilibration_mcs=20, samples=12, stride_mcs=2)
PAIR = {"w": Term(pair=1)}
TERNARY = ClusterExpansion(ABC, PAIR, x_B=0.25)
FLOATING = ClusterExpansion(ABC, PAIR, ensemble="semi_grand", w=0.4)


def kernel_of(model: ClusterExpansion, *swept: str, **parts: Any) -> LatticeKernel:
    keep = parts.pop("keep", ())
    schedule = replace(SHORT, **parts)
    return LatticeKernel(kagome(4), model, schedule, swept, keep, ClassChoice("counts"))


def assert_same(one: Any, other: Any) -> None:
    for name, values in one.items():
        assert np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f"), name


@pytest.mark.parametrize(
    ("model", "axes"),
    [
        (TERNARY, {"w": [0.3, -0.2, 0.1], "x_C": [0.25, 0.5, 0.25]}),
        (FLOATING, {"T": [1.0, 2.0, 0.001], "mu_B": [0.0, 0.5, -0.2]}),
    ],
    ids=["exchanges", "flips"],
)
def test_law_1_a_points_bits_are_its_own(model: ClusterExpansion, axes: Any) -> None:
    points = {name: np.array(values) for name, values in axes.items()}
    kernel = kernel_of(model, *points, keep=("samples", "spins"))
    seeds = seeds_of(3, points=3)
    together = kernel.compute(points, seeds)
    for p in (2, 0):
        alone = kernel.compute({n: v[[p]] for n, v in points.items()}, seeds[[p]])
        assert_same(alone, {name: values[[p]] for name, values in together.items()})


@pytest.mark.parametrize("tempering", [0, 3])
def test_more_samples_later_are_all_samples_at_once(tempering: int) -> None:
    points = {"T": np.array([1.0, 2.0])}
    seeds = seeds_of(4, points=2)
    keep = ("samples", "spins", "restart")
    short = kernel_of(FLOATING, "T", keep=keep, tempering_mcs=tempering)
    long = kernel_of(FLOATING, "T", keep=keep, tempering_mcs=tempering, samples=20)
    first = short.compute(points, seeds)
    assert first["restart"].shape[1] == short.restart_words
    assert_same(long.compute(points, seeds), long.compute(points, seeds, earlier=first))


def test_species_that_are_kept_have_the_composition() -> None:
    kernel = kernel_of(TERNARY, "w", "x_C", keep=("spins",))
    points = {"w": np.array([0.3]), "x_C": np.array([0.5])}
    words = kernel.compute(points, seeds_of(5, points=1))["spins"]
    assert words.shape == (1, 2, 48)
    species = unpack_species(words)[0]
    assert species.shape == (64, 48)
    for number, sites in enumerate((12, 12, 24)):
        assert ((species == number).sum(axis=1) == sites).all()


@pytest.mark.parametrize("temperature", [1e-3, 1e-6])
def test_a_cold_point_is_in_its_ground_state(temperature: float) -> None:
    """Below T = 0.03 a product of Boltzmann factors would overflow; energies are added there."""
    model = ClusterExpansion(ABC, {"w": Term(pair=1)}, ensemble="semi_grand")
    kernel = LatticeKernel(square(4), model, SHORT, ("T", "w", "mu_C"))
    points = {"T": np.array([temperature]), "w": np.array([1.0]), "mu_C": np.array([0.1])}
    results = kernel.compute(points, seeds_of(6, points=1))
    assert results["energy"][0] == pytest.approx(-0.1)
    assert results["energy_se"][0] < 1e-12


@pytest.mark.statistical
def test_tempering_agrees_with_the_sum_over_arrangements() -> None:
    model = ClusterExpansion(AB, PAIR, ensemble="semi_grand", w=1.0, mu_B=0.2)
    schedule = Schedule(200, 1000, 2, tempering_mcs=2)
    kernel = LatticeKernel(kagome(2), model, schedule, ("T",))
    T = np.array([0.8, 1.2, 2.0])
    results = kernel.compute({"T": T}, seeds_of(7, points=3))
    for p, temperature in enumerate(T):
        exact = exact_averages(model, kagome(2), {"T": temperature}, kernel.configurations)
        for name in ("energy", "heat_capacity", "magnetization_abs"):
            z = (results[name][p] - exact[name]) / results[f"{name}_se"][p]
            assert abs(z) < 5, (temperature, name)


def test_a_model_of_two_species_may_run_under_this_kernel() -> None:
    seeds = seeds_of(8, points=1)
    found = sample(Ising(), square(8), {"T": [2.0]}, SHORT, seeds, kernel="species")
    assert found.histogram.sum() == 64 * 64 * 12


def test_a_sweep_survives_its_spec() -> None:
    model = ClusterExpansion(
        {"M": ("La", "Ca"), "X": ("vacancy", "O")},
        {
            "w": Term(pair=1, value={"La,O": 1, "La,vacancy": 0, "Ca,O": 0.5, "Ca,vacancy": 0}),
            "v": Term(cluster=[[0, 0, 0], [0, 1, 0]], symmetry="translations", value="like"),
        },
        x_M=0.5,
    )
    lattice = crystal([4, 6], [[0, 1.1], [1, 0]], [[0, 0], [0.5, 0.25]], sublattice=["M", "X"])
    axes = {"w": [0.1], "v": [0.2], "x_X": [0.25, 0.5]}
    sweep = Sweep(lattice, model, axes, SHORT, classes={"symmetry": "counts", "shells": [1, 2]})
    again = Sweep.from_toml(sweep.to_toml())
    assert again.digest == sweep.digest
    assert again.to_toml() == sweep.to_toml()
    assert again.model == model
    assert again.lattice == lattice


def test_models_of_one_structure_but_other_energies_differ() -> None:
    """They share no tables: tables are cached by the model."""
    terms = {"w": Term(pair=1), "v": Term(pair=2)}
    one = ClusterExpansion(AB, terms, x=0.5)
    turned = ClusterExpansion(AB, dict(reversed(terms.items())), x=0.5)
    assert Potts(2) != Clock(2)
    assert one != turned
    assert one == ClusterExpansion(AB, terms, x=0.5)
    seeds = seeds_of(10, points=1)
    axes = {"w": np.array([0.5]), "v": np.array([-0.3])}
    found = [
        LatticeKernel(kagome(4), model, SHORT, ("w", "v")).compute(axes, seeds)["features"]
        for model in (one, turned)
    ]
    assert np.array_equal(found[0], found[1][..., ::-1])
    assert "x=0.5" in repr(one)


def test_one_list_of_species_is_one_pool_of_several_sublattices() -> None:
    """Atoms may move from one sublattice to the other."""
    lattice = crystal(3, [[0, 1.0], [1.0, 0]], [[0, 0], [0.5, 0.5]], sublattice=["M", "X"])
    on_x = Term(cluster=[[0, 0, 1]], value="count")
    model = ClusterExpansion(AB, {"v": on_x}, x=0.5)
    kernel = LatticeKernel(lattice, model, SHORT, ("v",))
    results = kernel.compute({"v": np.array([-50.0])}, seeds_of(11, points=1))
    assert results["features"][0, :, 0].tolist() == [9.0] * 64
    assert results["composition"].tolist() == [0.5]


def test_exchanges_of_neighbours_reach_further_shells_where_the_first_does_not_connect() -> None:
    lattice = crystal([1, 4], [[0, 5.0], [1.0, 0]], [[0, 0], [0, 0.3]])
    model = ClusterExpansion(AB, {"w": Term(pair=3)}, exchange="neighbors", x=0.5)
    kernel = LatticeKernel(lattice, model, Schedule(50, 500, 2), ("w",))
    results = kernel.compute({"w": np.array([0.4])}, seeds_of(12, points=1))
    exact = exact_averages(model, lattice, {"w": 0.4, "T": 1.0}, kernel.configurations)
    z = (results["energy"][0] - exact["energy"]) / results["energy_se"][0]
    assert abs(z) < 5


SPEC = """
[lattice]
kind = "triangular"
size = [4, 6]
[model]
kind = "cluster_expansion"
species = ["A", "B"]
x = 0.5
[model.terms.w]
pair = 1
[grid]
w = [0.1]
[schedule]
equilibration_mcs = 1
samples = 2
stride_mcs = 1
"""

WRONG = {
    "a singular cell": ('kind = "triangular"', "cell = [[1.0, 0.0], [2.0, 0.0]]", ("singular",)),
    "two sites in one place": (
        'kind = "triangular"',
        "cell = [[1.0, 0.0], [0.0, 1.0]]\nbasis = [[0, 0], [1.0, 0]]",
        ("two sites", "one place"),
    ),
    "a cell and a preset": ("[model]", "cell = [[1.0]]\n[model]", ("triangular", "cell")),
    "an unknown boundary": ("[model]", 'boundary = "free"\n[model]', ("boundary", "free", "open")),
    "too few sizes": ("size = [4, 6]", "size = [4]", ("size", "[4]", "2 for triangular")),
    "size 1 where a cluster meets itself": (
        "size = [4, 6]",
        "size = [1, 6]",
        ("terms.w", "too small", "[1, 6]"),
    ),
    "a species twice": ('["A", "B"]', '["A", "A"]', ("species", "twice", "A, A")),
    "one species": ('["A", "B"]\nx = 0.5', '["A"]', ("no site can change", "two species")),
    "a table that lacks an arrangement": (
        "pair = 1",
        'pair = 1\nvalue = { "A,A" = 0, "A,B" = 1, "B,A" = 1 }',
        ("terms.w", "lacks an arrangement", "B,B"),
    ),
    "a table that is not symmetric": (
        "pair = 1",
        'pair = 1\nvalue = { "A,A" = 0, "A,B" = 1, "B,A" = 2, "B,B" = 0 }',
        ("terms.w", "symmetry", "translations"),
    ),
    "a short list": ("pair = 1", "pair = 1\nvalue = [0, 1]", ("terms.w", "3 numbers")),
    "an unknown word": ("pair = 1", 'pair = 1\nvalue = "equal"', ("terms.w", "equal", "unlike")),
    "an unknown key": ("pair = 1", "pair = 1\nradius = 2", ("terms.w", "radius", "cluster")),
    "a site off the basis": (
        "pair = 1",
        "cluster = [[0, 0, 0], [0, 1, 1]]",
        ("terms.w", "not in the crystal", "from 0 to 0"),
    ),
    "a cluster of steps in three dimensions": (
        "pair = 1",
        "cluster = [[0, 0, 0, 0], [0, 1, 0, 0]]",
        ("terms.w", "number of steps"),
    ),
    "a cluster and a pair": (
        "pair = 1",
        "pair = 1\ncluster = [[0, 0], [0, 1]]",
        ("terms.w", "cluster, a pair or site"),
    ),
    "a composition that does not fit": ("x = 0.5", "x = 0.52", ("whole number of atoms", "0.52")),
    "a composition of the other ensemble": (
        "x = 0.5",
        'x = 0.5\nensemble = "semi_grand"',
        ("x is not a parameter", "mu_B"),
    ),
    "a term named as a parameter": ("terms.w]", "terms.T]", ("reserved name", "'T'")),
    "a term named as a number of atoms": ("terms.w]", "terms.n_B]", ("reserved name", "n_B")),
    "a term named as a key": ("terms.w]", "terms.kind]", ("reserved name", "kind")),
    "a value without bound": ("pair = 1", "pair = 1\nvalue = [0, 0, inf]", ("terms.w", "finite")),
    "a value that is true": ("pair = 1", "pair = 1\nvalue = [0, 1, true]", ("terms.w", "numbers")),
    "a value that is a number": ("pair = 1", "pair = 1\nvalue = 3", ("terms.w", "3", "unlike")),
    "a shell that is true": ("pair = 1", "pair = true", ("terms.w", "True", "1 to 8")),
    "a boundary that is a number": ("[model]", "boundary = 3\n[model]", ("boundary", "3", "open")),
    "a sublattice that is a word": (
        'kind = "triangular"',
        'cell = [[1.0, 0], [0, 1.0]]\nsublattice = "A"',
        ("sublattice", "'A'", "1 names"),
    ),
    "a ratio that is a word": (
        'kind = "triangular"',
        'kind = "rectangular"\nratio = "a"',
        ("ratio = a", "ratio > 0"),
    ),
    "steps without bound": (
        "pair = 1",
        "cluster = [[0, 0], [0, 99999999999]]",
        ("terms.w", "up to 1000"),
    ),
    "a species with spaces": ('["A", "B"]', '["A", " B"]', ("species", "spaces")),
    "no shells": (
        "[lattice]",
        "[sweep]\nclasses = { shells = [] }\n[lattice]",
        ("shells of classes", "1 to 8"),
    ),
    "a key that is not known": ("x = 0.5", "x = 0.5\nensembel = 1", ("ensembel", "ensemble")),
    "neighbours that do not meet": (
        'kind = "triangular"\nsize = [4, 6]\n[model]\nkind = "cluster_expansion"\n'
        'species = ["A", "B"]\nx = 0.5',
        "cell = [[1.0]]\nbasis = [[0], [0.03], [0.07], [0.12], [0.18]]\nsize = 4\n"
        'sublattice = ["A", "X", "X", "X", "X"]\n[model]\nkind = "cluster_expansion"\n'
        'species = { A = ["A", "B"], X = ["C"] }\nx_A = 0.5\nexchange = "neighbors"',
        ("neighbors", "connect", "any"),
    ),
    "a sublattice that is not there": (
        'species = ["A", "B"]\nx = 0.5',
        'species = { M = ["A", "B"] }\nx_M = 0.5',
        ("other sublattices", "M"),
    ),
    "too many classes": (
        "[lattice]\nkind = \"triangular\"\nsize = [4, 6]",
        '[sweep]\nclasses = "translations"\n[lattice]\nkind = "fcc"\nsize = [4, 4, 4]',
        ("too many arrangements", "counts"),
    ),
    "an unknown symmetry of classes": (
        "[lattice]",
        '[sweep]\nclasses = "mirrors"\n[lattice]',
        ("classes", "mirrors", "translations"),
    ),
    "cluster updates": (
        "stride_mcs = 1",
        'stride_mcs = 1\nupdate = "cluster"',
        ("cluster updates", "local"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_spec_is_refused(old: str, new: str, words: tuple[str, ...]) -> None:
    assert Sweep.from_toml(SPEC).points == 1
    assert old in SPEC
    with pytest.raises(RequestError) as caught:
        Sweep.from_toml(SPEC.replace(old, new))
    assert [word for word in words if word not in str(caught.value)] == [], caught.value


@pytest.mark.parametrize(
    ("lattice", "model"),
    [(triangular([4, 6]), Ising()), (kagome(4), Ising()), (rectangular(4, 1.5), Ising())],
    ids=["two sizes", "kagome", "rectangular"],
)
def test_ising_runs_on_every_lattice(lattice: Lattice, model: Ising) -> None:
    kernel = LatticeKernel(lattice, model, SHORT, ("T",))
    assert kernel.name == "species"
    results = kernel.compute({"T": np.array([2.0])}, seeds_of(9, points=1))
    assert results["histogram"].sum() == 64 * lattice.sites * 12


def test_what_only_plain_lattices_have_is_refused() -> None:
    for lattice in (fcc([4, 4, 6]), triangular(4, boundary="open")):
        with pytest.raises(RequestError, match="one size along all axes"):
            _ = lattice.linear_size


@pytest.mark.parametrize("name", ["energy", "restart", "configuration", "label", "replica", "a/b"])
def test_an_axis_that_a_store_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="an axis has the name of"):
        Sweep.from_toml(
            SPEC.replace("terms.w]", f'terms."{name}"]').replace("w = [", f'"{name}" = [')
        )


def test_long_and_skewed_cells_are_searched_or_refused() -> None:
    """Neighbours along the short side of a long cell are near; others are refused at once."""
    model = ClusterExpansion(AB, PAIR, x=0.5)
    long = LatticeKernel(rectangular([2, 4], ratio=300.0), model, SHORT, ("w",))
    assert len(long.configurations) == 6
    skewed = crystal([4, 4], [[1.0, 0], [20.0, 1.0]])
    assert len(LatticeKernel(skewed, model, SHORT, ("w",)).configurations) == 12
    for lattice in (
        rectangular(4, ratio=1e9),
        crystal(2, [[1.0, 0], [0, 1.0]], [[0, 0], [1e6 + 0.5, 0]]),
    ):
        with pytest.raises(RequestError, match="too long, too skewed"):
            LatticeKernel(lattice, model, SHORT, ("w",))


def test_fractions_that_exceed_one_somewhere_on_the_grid_are_refused() -> None:
    axes = {"w": [0.1], "x_B": [0.25, 0.75]}
    with pytest.raises(RequestError, match="more than 1"):
        Sweep(kagome(4), ClusterExpansion(ABC, PAIR, x_C=0.5), axes, SHORT)
