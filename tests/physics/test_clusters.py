"""Symmetry, clusters and configurations follow from the geometry, found here by brute force."""

from collections import Counter
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from latticescape.physics import (
    ClusterExpansion,
    Lattice,
    RequestError,
    SiteClasses,
    Term,
    clusters_within,
    crystal,
    fcc,
    kagome,
    oblique,
    rectangular,
    square,
    triangular,
)
from latticescape.physics.lattices.clusters import orbit_of
from latticescape.physics.lattices.geometry import GEOMETRIES, shell_distance
from latticescape.physics.lattices.site_classes import ClassChoice, class_rows
from latticescape.physics.lattices.symmetry import operations

Floats = npt.NDArray[np.float64]

LATTICES = {
    "chain": Lattice("chain", 7),
    **{kind: Lattice(kind, 4) for kind in GEOMETRIES if kind != "chain"},
    "rectangular": rectangular(4, 1.3),
    "oblique": oblique(4, 1.2, 75.0),
    "oblique that is triangular": oblique(4, 1.0, 60.0),
    "two sublattices": crystal(
        4, [[0, 1.0], [1.0, 0]], [[0, 0], [0.5, 0.5]], sublattice=["M", "X"]
    ),
}
SIZES = {"chain": 2, "square": 8, "triangular": 12, "honeycomb": 12, "kagome": 12, "cubic": 48}
SIZES |= {"bcc": 48, "fcc": 48, "hcp": 24, "diamond": 48, "rectangular": 4, "oblique": 2}
SIZES |= {"oblique that is triangular": 12, "two sublattices": 8}


@pytest.mark.parametrize("name", LATTICES)
def test_the_space_group_has_its_textbook_order(name: str) -> None:
    """Order of the point group times centring vectors (International Tables, volume A)."""
    geometry = LATTICES[name].geometry
    found = operations(geometry, "space_group")
    assert len(found) == SIZES[name]
    # An oblique lattice has a half turn, but no mirror.
    proper = len(operations(geometry, "rotations"))
    assert proper == (len(found) if name == "oblique" else len(found) // 2)
    assert found[0].target == tuple(range(geometry.sublattices))


def images(lattice: Lattice, radius: float) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Positions within a radius of every site, relative to it, (sites, near, dimension) as a list,
    and the sites they are."""
    spans = np.asarray(lattice.geometry.cell) * np.array(lattice.shape)[:, None]
    moves = np.array(list(product((-1, 0, 1), repeat=len(spans)))) @ spans
    vectors_to = (
        lattice.positions[None, :, None] + moves[None, None] - lattice.positions[:, None, None]
    )
    return vectors_to, np.linalg.norm(vectors_to, axis=-1) < radius


def patches(lattice: Lattice, radius: float) -> list[dict[tuple[float, ...], int]]:
    """Around every site: the site at each relative position within a radius, itself left out."""
    vectors_to, near = images(lattice, radius)
    found = []
    for site in range(lattice.sites):
        others, copies = np.nonzero(near[site])
        found.append(
            {
                tuple(np.round(vectors_to[site, o, c], 5) + 0.0): int(o)
                for o, c in zip(others, copies, strict=True)
                if o != site or np.linalg.norm(vectors_to[site, o, c]) > 1e-9
            }
        )
    return found


def matrices(one: Any, other: Any, names: list[str], dimension: int) -> list[Floats]:
    """All orthogonal matrices that map the patch of a site to that of another."""
    vectors, there = np.array(list(one)), np.array(list(other))
    order = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")
    base: list[int] = []
    for k in order:
        if np.linalg.matrix_rank(vectors[[*base, k]], tol=1e-3) > len(base):
            base.append(int(k))
        if len(base) == dimension:
            break
    lengths = np.linalg.norm(there, axis=1)
    choices = [np.flatnonzero(np.abs(lengths - np.linalg.norm(vectors[k])) < 1e-4) for k in base]
    found = []
    for images_ in product(*choices):
        matrix = np.linalg.solve(vectors[base], there[list(images_)])
        if not np.allclose(matrix @ matrix.T, np.eye(dimension), atol=1e-4):
            continue
        if matching(one, other, matrix, [names[s] for s in one.values()], names):
            found.append(matrix)
    return found


def matching(one: Any, other: Any, matrix: Floats, labels: list[Any], names: Any) -> bool:
    """Whether a matrix maps a labelled patch to another."""
    moved, there = np.array(list(one)) @ matrix, np.array(list(other))
    vectors_to = np.linalg.norm(moved[:, None] - there[None, :], axis=-1)
    others = list(other.values())
    places = vectors_to.argmin(axis=1)
    return len(one) == len(other) and all(
        vectors_to[k, place] < 1e-3 and names[others[place]] == labels[k]
        for k, place in enumerate(places.tolist())
    )


def equivalent(
    lattice: Lattice, symmetry: str, species: Any, one: int, other: int, around: Any, group: Any
) -> bool:
    """Whether two sites have one configuration, from the geometry alone."""
    names = lattice.geometry.names
    basis = len(names)
    if species[one] != species[other] or names[one % basis] != names[other % basis]:
        return False
    arranged = [{v: int(species[s]) for v, s in around[site].items()} for site in (one, other)]
    if symmetry == "translations":
        return one % basis == other % basis and arranged[0] == arranged[1]
    possible = group(one % basis, other % basis)
    if symmetry == "rotations":
        possible = [matrix for matrix in possible if np.linalg.det(matrix) > 0]
    if symmetry == "counts":
        kinds = [
            Counter((int(species[s]), names[s % basis]) for s in around[site].values())
            for site in (one, other)
        ]
        return bool(possible) and kinds[0] == kinds[1]
    labels = [species[s] for s in around[one].values()]
    return any(matching(around[one], around[other], m, labels, species) for m in possible)


@pytest.mark.parametrize("symmetry", ["point_group", "rotations", "translations", "counts"])
@pytest.mark.parametrize("name", LATTICES)
def test_two_sites_are_of_one_class_if_symmetry_maps_them(name: str, symmetry: Any) -> None:
    lattice = LATTICES[name]
    basis, dimension = lattice.geometry.sublattices, lattice.geometry.dimension
    if symmetry == "translations" and name in ("fcc", "hcp"):
        return  # more than can be stored, which another test shows
    classes = SiteClasses.of_lattice(lattice, (("A", "B"),) * basis, ClassChoice(symmetry))
    rows = class_rows(lattice, classes)
    nearest = shell_distance(lattice.geometry, 1)
    around = patches(lattice, nearest * 1.001)
    wide = patches(lattice, shell_distance(lattice.geometry, 3) * 1.001)
    names = [lattice.geometry.names[site % basis] for site in range(lattice.sites)]
    known: dict[tuple[int, int], list[Floats]] = {}

    def group(one: int, other: int) -> list[Floats]:
        if (one, other) not in known:
            known[one, other] = matrices(wide[one], wide[other], names, dimension)
        return known[one, other]

    rng = np.random.default_rng(len(name))
    species = (rng.random(lattice.sites) < 0.2).astype(int)
    codes = rows.first + (rows.strides[:, 0] * species[rows.centers])
    for k in range(rows.around.shape[1]):
        codes = codes + rows.strides[:, 1 + k] * species[np.maximum(rows.around[:, k], 0)]
    found = rows.classes[codes]
    sites = rng.choice(lattice.sites, min(24, lattice.sites), replace=False)
    alike = 0
    for one, other in combinations(sites.tolist(), 2):
        same = equivalent(lattice, symmetry, species, one, other, around, group)
        assert same == (found[one] == found[other]), (one, other)
        alike += same
    assert alike


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("shell", [1, 2])
def test_pairs_of_a_shell_are_those_at_its_distance(name: str, shell: int) -> None:
    lattice = LATTICES[name]
    distance = shell_distance(lattice.geometry, shell)
    model = ClusterExpansion(("A", "B"), {"w": Term(pair=shell)}, x=0.5, w=1.0)
    vectors_to, near = images(lattice, 1.001 * distance)
    pairs = (near & (np.linalg.norm(vectors_to, axis=-1) > 0.999 * distance)).sum(axis=-1)
    assert_sums(model, lattice, lambda s: float((pairs * (s[:, None] != s[None, :])).sum() / 2))


def assert_sums(model: ClusterExpansion, lattice: Lattice, expected: Any) -> None:
    """The sum of the model's one term over random arrangements."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        species = rng.integers(0, 2, lattice.sites)
        total = 0
        for each in model.interactions(lattice, ()):
            (table,) = each.values.values()
            total += int(table[tuple(species[column] for column in each.clusters.T)].sum())
        assert total == pytest.approx(expected(species))


@pytest.mark.parametrize(
    ("lattice", "cluster", "each"),
    [
        (triangular(5), [[0, 0], [0, 1], [1, 0]], 2),
        (square(5), [[0, 1], [0, 0], [1, 0]], 4),
        (square(5), [[0, 0], [0, 1], [1, 0], [1, 1]], 1),
        (fcc(4), [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], 2),
        (kagome(4), [[0, 0, 0], [0, 0, 1], [0, 0, 2]], 2),
    ],
    ids=["triangles", "right angles", "plaquettes", "tetrahedra", "kagome triangles"],
)
def test_clusters_are_all_that_are_congruent(
    lattice: Lattice, cluster: list[list[int]], each: int
) -> None:
    """Sets of sites with the same distances: for these shapes that is congruence."""
    model = ClusterExpansion(("A", "B"), {"t": Term(cluster, value="product")}, x=0.5, t=1.0)
    positions = lattice.geometry.vector
    rows = [
        (tuple(r[: lattice.geometry.dimension]), [*r, 0][lattice.geometry.dimension])
        for r in cluster
    ]
    places = np.array(
        [positions(cell, 0, 0) + np.asarray(lattice.geometry.basis)[site] for cell, site in rows]
    )
    wanted = sorted(round(float(np.linalg.norm(a - b)), 4) for a, b in combinations(places, 2))
    around = patches(lattice, max(wanted) * 1.001)
    found = set()
    for site in range(lattice.sites):
        for others in combinations(around[site].items(), len(cluster) - 1):
            vectors = [np.zeros(lattice.geometry.dimension), *(np.array(v) for v, _ in others)]
            lengths = sorted(
                round(float(np.linalg.norm(a - b)), 4) for a, b in combinations(vectors, 2)
            )
            if np.allclose(lengths, wanted, atol=1e-3):
                found.add(frozenset([site, *(o for _, o in others)]))
    assert len(found) == each * lattice.sites // lattice.geometry.sublattices
    sets = [list(members) for members in found]
    assert_sums(model, lattice, lambda s: float(np.prod(2 * s[sets] - 1, axis=1).sum()))


def test_orbits_within_a_radius_are_those_of_the_textbooks() -> None:
    """Pairs of fcc to the second shell; its triplets and quadruplets of nearest neighbours are one
    triangle and one tetrahedron; with the second shell come an isosceles triangle and more."""
    lattice = fcc(4)
    assert [len(clusters_within(lattice, r, 2)) for r in (1.0, np.sqrt(2))] == [1, 2]
    assert [len(clusters_within(lattice, 1.0, n)) for n in (3, 4)] == [1, 1]
    assert len(clusters_within(lattice, np.sqrt(2), 3)) == 2
    assert clusters_within(kagome(4), 1.0, 3) == [[[0, 0, 0], [0, 0, 1], [0, 0, 2]]]


def test_translations_alone_keep_a_direction() -> None:
    bond = (((0, 0), 0), ((0, 1), 0))
    numbers = [
        len(orbit_of(GEOMETRIES["triangular"], bond, s).clusters)
        for s in ("space_group", "translations")
    ]
    assert numbers == [3, 1]


def test_an_open_boundary_cuts_clusters() -> None:
    lattice = square([4, 5], boundary=["open", "periodic"])
    model = ClusterExpansion(("A", "B"), {"w": Term(pair=1)}, x=0.5, w=1.0)
    (bonds,) = model.interactions(lattice, ())
    assert len(bonds.clusters) == 4 * 5 + 3 * 5


def test_more_classes_than_can_be_stored_are_refused() -> None:
    with pytest.raises(RequestError, match=r"too many arrangements.*counts"):
        SiteClasses.of_lattice(fcc(4), (("A", "B", "C"),))
    with pytest.raises(RequestError, match="arrangements"):
        SiteClasses.of_lattice(fcc(4), (("A", "B"),), ClassChoice("translations"))


def test_classes_survive_their_text() -> None:
    classes = SiteClasses.of_lattice(kagome(4), (("A", "B"),) * 3, ClassChoice("rotations"))
    assert SiteClasses.of_text(classes.text) == classes
