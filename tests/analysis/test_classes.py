"""Counts of any classes: tables of arrangements and labels, landscapes, fits and comparisons."""

from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr

from latticescape.analysis import (
    classes_of,
    compare,
    fit,
    landscape,
    observed_counts,
    p_values,
    random_mixing,
    sample_size,
)
from latticescape.analysis.counts.classes import Classes, class_attrs, positions_of
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.counts.overlap import neighborhoods_overlap
from latticescape.deploy.examples import example
from latticescape.physics import RequestError, Schedule, configurations
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.lattices.lattice import Lattice, fcc, honeycomb, kagome, triangular
from latticescape.physics.lattices.site_classes import (
    ClassChoice,
    SiteClasses,
    class_rows,
    count_classes,
    random_mixing_of,
)
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term

Integers = npt.NDArray[np.int64]

ADATOMS = example("adatom_couplings/counts.csv")
DIRECTIONS = ["right", "up_right", "up_left", "left", "down_left", "down_right"]

TWO, THREE = ("vacancy", "adatom"), ("A", "B", "C")


def classes_on(
    lattice: Lattice, species: tuple[str, ...], symmetry: Any = "point_group"
) -> Classes:
    names = (species,) * lattice.geometry.sublattices
    return SiteClasses.of_lattice(lattice, names, ClassChoice(symmetry))


DIRECTED = classes_on(triangular(6), TWO, "translations")


def arrangement_table(classes: Any, counts: Integers) -> pd.DataFrame:
    """One row for each arrangement of the first site; the counts are those of the arrangements."""
    rows = product(*classes.holdable)
    table = pd.DataFrame(rows, columns=["centre", *positions_of(classes)])
    return table.assign(one=counts)


def written(table: pd.DataFrame, folder: Path) -> Path:
    path = folder / "counts.csv"
    table.to_csv(path, index=False)
    return path


def counted(lattice: Lattice, classes: Any, species: Integers) -> Integers:
    return count_classes(species, class_rows(lattice, classes), len(classes))


def test_the_published_adatoms_keep_their_directions() -> None:
    observed = observed_counts(ADATOMS, classes=DIRECTED)
    assert observed.sizes["configuration"] == 128
    assert int(observed.n[0]) == 3218
    assert float(observed.composition[0]) == 583 / 3218
    by_label = observed.set_index(configuration="label").counts[0]
    # left = 1 and nothing else, as in the second row of the table.
    around = ["adatom" if place == "left" else "vacancy" for place in positions_of(DIRECTED)]
    assert int(by_label.sel(configuration=f"vacancy | {' '.join(around)}")) == 160
    assert classes_of(observed).text == DIRECTED.text  # type: ignore[union-attr]


def test_arrangements_of_one_usual_class_are_added_up() -> None:
    observed = observed_counts(ADATOMS)
    table = pd.read_csv(ADATOMS, comment="#")
    usual = configurations("triangular")
    expected = np.zeros(26, int)
    for row in table.itertuples(index=False):
        ring = np.array([getattr(row, place) for place in DIRECTIONS])
        angles = [sum(ring[k] * ring[(k + d) % 6] for k in range(6)) for d in (1, 2, 3)]
        key = (row.centre, int(ring.sum()), angles[0], angles[1], angles[2] // 2)
        expected[usual.keys.index(key)] += row.count
    assert np.array_equal(observed.counts[0], expected)


@pytest.mark.parametrize("symmetry", ["point_group", "rotations", "counts"])
def test_arrangements_of_one_class_are_added_up(tmp_path: Path, symmetry: str) -> None:
    classes = classes_on(triangular(6), TWO, symmetry)
    observed = observed_counts(ADATOMS, classes=classes)
    directed = observed_counts(ADATOMS, classes=DIRECTED)
    assert int(observed.n[0]) == int(directed.n[0])
    # Whole classes of arrangements have a sum that does not depend on the rule.
    for name in ("centre", "neighbors"):
        sums = [o.counts[0].groupby(name).sum().values.tolist() for o in (observed, directed)]
        assert sums[0] == sums[1]


@pytest.mark.parametrize("lattice", [kagome(4), Lattice("chain", 9)], ids=lambda made: made.kind)
def test_a_table_of_arrangements_gives_what_counting_gives(
    tmp_path: Path, lattice: Lattice
) -> None:
    classes: Any = classes_on(lattice, THREE)
    species = np.random.default_rng(3).integers(0, 3, lattice.sites)
    rows = class_rows(lattice, classes)
    # The sites of a basis in turn: those of the first only, whose neighbours the columns name.
    first = slice(None, None, lattice.geometry.sublattices)
    digits = species[np.column_stack([rows.centers, rows.around])[first]].T
    codes = np.ravel_multi_index(tuple(digits), (3,) * len(digits))
    arrangements = np.bincount(codes, minlength=3 ** len(digits))
    path = written(arrangement_table(classes, arrangements), tmp_path)
    numbers = classes.classes_of(0, digits)
    assert np.array_equal(
        observed_counts(path, classes=classes).counts[0],
        np.bincount(numbers, minlength=len(classes)),
    )
    own = replace(rows, **{f.name: getattr(rows, f.name)[first] for f in fields(rows)[:4]})
    assert np.array_equal(
        count_classes(species, own, len(classes)), np.bincount(numbers, minlength=len(classes))
    )


def test_a_table_may_name_classes_by_their_labels(tmp_path: Path) -> None:
    classes: Any = classes_on(fcc(3), TWO)
    counts = np.random.default_rng(1).integers(0, 9, len(classes))
    table = pd.DataFrame({"label": classes.labels, "one": counts}).sample(frac=1, random_state=2)
    observed = observed_counts(written(table, tmp_path), classes=classes)
    assert np.array_equal(observed.counts[0], counts)


def test_species_may_be_named_or_numbered(tmp_path: Path) -> None:
    table = pd.read_csv(ADATOMS, comment="#")
    places = ["centre", *DIRECTIONS]
    named = table.assign(**{place: [TWO[n] for n in table[place]] for place in places})
    path = written(named, tmp_path)
    numbered = observed_counts(ADATOMS, classes=DIRECTED)
    assert np.array_equal(observed_counts(path, classes=DIRECTED).counts, numbered.counts)
    usual = observed_counts(path, species=TWO)
    assert np.array_equal(usual.counts, observed_counts(ADATOMS).counts)


def broken(name: str) -> pd.DataFrame:
    table = pd.read_csv(ADATOMS, comment="#")
    match name:
        case "missing":
            return table.drop(index=5)
        case "twice":
            return pd.concat([table, table.iloc[[5]]])
        case "species":
            return table.replace({"left": {1: 2}})
        case "empty cell":
            return table.assign(left=table["left"].where(table.index != 3))
        case "column":
            return table.drop(columns="left")
        case "lattice":
            return table.rename(columns={"up_left": "up", "down_left": "down"})
        case "no counts":
            return table.drop(columns="count")
        case "half":
            return table.assign(count=table["count"] + 0.5)
        case _:
            labels = pd.DataFrame({"label": DIRECTED.labels, "one": 1})
            return (
                labels.iloc[1:]
                if name == "label missing"
                else labels.replace("vac", "x", regex=True)
            )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "arrangement .* is missing"),
        ("twice", "arrangement .* occurs twice"),
        ("species", "column left holds an unknown species .*came: 2; allowed: vacancy, adatom"),
        ("empty cell", "unknown species"),
        ("column", "no table of triangular .*allowed: centre, right, up_right"),
        ("lattice", "no table of triangular"),
        ("no counts", "no column of counts"),
        ("half", "not a count"),
        ("label missing", "configuration class .* is missing"),
        ("label unknown", "unknown configuration class"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        observed_counts(written(broken(name), tmp_path), classes=DIRECTED)


def test_images_and_atoms_are_of_usual_classes_only(tmp_path: Path) -> None:
    atoms = pd.DataFrame({"row_px": [1.0, 2.0], "col_px": [1.0, 2.0], "species": [0, 1]})
    with pytest.raises(RequestError, match=r"usual configurations only .*translations"):
        observed_counts(written(atoms, tmp_path), classes=DIRECTED)


@pytest.mark.parametrize(
    ("lattice", "species"), [(honeycomb(6), TWO), (kagome(4), THREE), (fcc(4), TWO)]
)
def test_random_mixing_is_the_mean_over_random_arrangements(
    lattice: Lattice, species: tuple[str, ...]
) -> None:
    classes: Any = classes_on(lattice, species)
    share = (
        np.array([0.5, 0.3, 0.2])[: len(species)]
        + (0.2 if len(species) == 2 else 0) * np.array([1, 0, 0])[: len(species)]
    )
    rng = np.random.default_rng(2)
    counts = sum(
        counted(lattice, classes, rng.choice(len(species), lattice.sites, p=share))
        for _ in range(400)
    )
    expected = random_mixing_of(classes, counts)
    assert np.isclose(expected.sum(), 1)
    error = np.sqrt(expected / np.sum(counts)) + 1e-12
    z = (counts / np.sum(counts) - expected) / error
    assert abs(z[expected * np.sum(counts) > 20]).max() < 6
    assert np.sqrt(np.mean(z[expected * np.sum(counts) > 20] ** 2)) < 1.6


def test_random_mixing_of_usual_classes_is_the_published_formula() -> None:
    usual = configurations("honeycomb")
    general: Any = classes_on(honeycomb(4), ("0", "1"), "counts")
    counts = np.random.default_rng(4).integers(1, 9, 8)
    assert len(general) == 8
    assert np.allclose(random_mixing_of(usual, counts), random_mixing_of(general, counts))
    x = counts @ usual.centre / counts.sum()
    assert np.allclose(random_mixing_of(usual, counts), usual.random_mixing(x))


@pytest.mark.parametrize("symmetry", ["point_group", "translations", "counts"])
def test_only_counts_of_a_whole_lattice_overlap(symmetry: str) -> None:
    lattice = kagome(12)
    classes: Any = classes_on(lattice, THREE, symmetry)
    species = np.random.default_rng(5).integers(0, 3, lattice.sites)
    counts = counted(lattice, classes, species)
    draws = np.random.default_rng(6).multinomial(432, random_mixing_of(classes, counts))
    assert neighborhoods_overlap([counts], classes)
    assert not neighborhoods_overlap([draws], classes)


def simulated(directed: bool = True, samples: int = 20) -> xr.Dataset:
    """A sweep of adatoms with one coupling along x, or in all directions."""
    term = Term(cluster=[[0, 0], [0, 1]], symmetry="translations") if directed else Term(pair=1)
    model = ClusterExpansion(TWO, {"w": term}, x=0.25)
    lattice, w = triangular(8), np.array([-0.8, -0.4, 0.0, 0.4, 0.8])
    classes = ClassChoice("translations")
    kernel = LatticeKernel(lattice, model, Schedule(60, samples, 5), ("w",), classes=classes)
    results = kernel.compute({"w": w}, np.arange(20, dtype=np.uint64).reshape(5, 4))
    variables = {v.name: (("w", *v.dims), results[v.name]) for v in kernel.variables}
    coordinates = {name: each[:2] for name, each in kernel.coordinates.items()}
    return xr.Dataset(variables, {"w": w, **coordinates}, {"lattice": "triangular", **kernel.attrs})


@pytest.fixture(scope="module")
def sweep() -> xr.Dataset:
    return simulated()


@pytest.fixture(scope="module")
def observed(sweep: xr.Dataset) -> xr.Dataset:
    shares = sweep.histogram_replica.sum("replica").sel(w=0.4)
    counts = np.random.default_rng(7).multinomial(3000, shares / shares.sum())
    return counts_dataset({"one": counts}, classes_of(sweep))


def test_a_fit_finds_the_coupling_of_one_direction(sweep: xr.Dataset, observed: xr.Dataset) -> None:
    surface = landscape(sweep, observed)
    assert classes_of(surface) == classes_of(sweep)
    value, error = fit(surface, overlap="independent").parameters["w"]
    assert abs(value - 0.4) < 4 * error < 0.4


def test_models_of_any_classes_are_compared(sweep: xr.Dataset, observed: xr.Dataset) -> None:
    models = {"directed": sweep, "isotropic": simulated(directed=False), "random": "random"}
    table = compare(models, observed, draws=99)
    assert table.s2_total.sel(model="directed") < table.s2_total.sel(model="isotropic")
    assert table.p_value_total.sel(model="directed") > 0.01
    assert table.p_value_total.sel(model="random") < 0.05
    assert sample_size(sweep, observed, against="random").neighborhoods > 0


def test_p_values_draw_every_species_as_often_as_measured(observed: xr.Dataset) -> None:
    measured = p_values("random", observed, composition="measured", draws=50)
    assert 0 < float(measured.p_value_total) < 0.1
    assert random_mixing(observed).attrs["classes"] == observed.attrs["classes"]


def test_counts_of_other_classes_are_refused(sweep: xr.Dataset, observed: xr.Dataset) -> None:
    with pytest.raises(RequestError, match="different lattices"):
        landscape(sweep, observed_counts(ADATOMS))
    stretched = observed.assign_attrs(classes=observed.attrs["classes"].replace("1.0", "1.1"))
    with pytest.raises(RequestError, match="different lattices or neighbours"):
        landscape(sweep, stretched)


def test_attributes_name_the_classes() -> None:
    for classes in (DIRECTED, configurations("cubic")):
        assert classes_of(class_attrs(classes)) == classes or classes.kind == "cubic"
    with pytest.raises(RequestError, match="not of a lattice"):
        classes_of(xr.Dataset())


def site_table(lattice: Lattice, species: Integers, names: tuple[str, ...]) -> pd.DataFrame:
    """All sites of a lattice whose numbers of cells differ from those of the table."""
    basis = lattice.geometry.sublattices
    cells = np.array(list(product(*map(range, lattice.shape)))).repeat(basis, axis=0) - 3
    columns = dict(zip("ijk", cells.T, strict=False))
    site = np.tile(np.arange(basis), lattice.sites // basis)
    return pd.DataFrame({**columns, "site": site, "species": [names[s] for s in species]})


@pytest.mark.parametrize(
    ("kind", "names"), [("kagome", THREE), ("triangular", TWO), ("fcc", TWO), ("chain", THREE)]
)
def test_a_table_of_sites_is_counted_as_a_simulation(
    tmp_path: Path, kind: str, names: tuple[str, ...]
) -> None:
    axes = {"chain": 1, "fcc": 3}.get(kind, 2)
    lattice = Lattice(kind, (5, 6, 7)[:axes], ("open",) * axes)
    species = np.random.default_rng(8).integers(0, len(names), lattice.sites)
    table = site_table(lattice, species, names).sample(frac=1, random_state=1)
    for symmetry in ("point_group", "counts"):
        classes: Any = classes_on(lattice, names, symmetry)
        observed = observed_counts(written(table, tmp_path), classes=classes)
        assert np.array_equal(observed.counts[0], counted(lattice, classes, species))
        assert float(observed.effective_n[0]) > 0
        assert 0 < float(observed.p_random[0]) <= 1


def test_sites_without_a_row_take_their_neighbourhoods_out(tmp_path: Path) -> None:
    lattice = Lattice("triangular", (8, 8), ("open", "open"))
    species = np.random.default_rng(9).integers(0, 2, 64)
    table = site_table(lattice, species, ("0", "1")).drop(index=27)
    images = pd.concat([table.assign(image="one"), table.assign(image="two")])
    observed = observed_counts(written(images, tmp_path))
    assert observed.image.values.tolist() == ["one", "two"]
    assert observed.n.values.tolist() == [36 - 7, 36 - 7]
    other = tmp_path / "other.csv"
    images.to_csv(other, index=False)
    with pytest.raises(RequestError, match="two images have the same name"):
        observed_counts([tmp_path / "counts.csv", other])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="j"), "lacks a column"),
        (lambda t: t.assign(i=t.i + 0.5), "no cell"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "a site occurs twice"),
        (lambda t: t.assign(species="gold"), "unknown species .*came: gold"),
        (lambda t: t.assign(site=3), "unknown site of the basis"),
        (lambda t: t[t.i == 0], "no site has all"),
    ],
)
def test_bad_tables_of_sites_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    lattice = kagome([4, 3])
    table = site_table(lattice, np.zeros(36, int), THREE)
    with pytest.raises(RequestError, match=message):
        observed_counts(written(change(table), tmp_path), classes=classes_on(lattice, THREE))
