"""Lattices: every bond and triangle once, rings in order, sizes checked."""

import pickle

import numpy as np
import pytest

from latticescape.physics import Lattice, RequestError, triangular
from latticescape.physics.lattices.lattice import largest_size

R2, R3 = np.sqrt(2), np.sqrt(3)

# Sites and distances of the first three shells, in nearest-neighbour distances (textbook values).
SHELLS = {
    "chain": ((2, 1), (2, 2), (2, 3)),
    "square": ((4, 1), (4, R2), (4, 2)),
    "triangular": ((6, 1), (6, R3), (6, 2)),
    "honeycomb": ((3, 1), (6, R3), (3, 2)),
    "kagome": ((4, 1), (4, R3), (6, 2)),
    "cubic": ((6, 1), (12, R2), (8, R3)),
    "bcc": ((8, 1), (6, 2 / R3), (12, 2 * R2 / R3)),
    "fcc": ((12, 1), (6, R2), (24, R3)),
    "hcp": ((12, 1), (6, R2), (2, 2 * R2 / R3)),
    "diamond": ((4, 1), (12, 2 * R2 / R3), (12, np.sqrt(11 / 3))),
}
KINDS = sorted(SHELLS)


def adjacency(lattice: Lattice, shell: int) -> np.ndarray:
    table = lattice.neighbors(shell)
    counts = np.zeros((lattice.sites, lattice.sites), int)
    np.add.at(counts, (np.repeat(np.arange(lattice.sites), table.shape[1]), table.ravel()), 1)
    return counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shell", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 4, 7])
def test_every_bond_is_listed_once_and_from_both_ends(kind: str, shell: int, size: int) -> None:
    if kind == "chain" and size == 3 == shell:
        return  # a site would be its own neighbour
    lattice = Lattice(kind, size)
    counts = adjacency(lattice, shell)
    bonds = lattice.bonds(shell)
    assert lattice.neighbors(shell).shape == (lattice.sites, SHELLS[kind][shell - 1][0])
    assert np.array_equal(counts, counts.T)
    from_bonds = np.zeros_like(counts)
    np.add.at(from_bonds, (bonds[:, 0], bonds[:, 1]), 1)
    assert np.array_equal(from_bonds + from_bonds.T, counts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shell", [1, 2, 3])
def test_neighbors_stand_at_the_shells_distance(kind: str, shell: int) -> None:
    lattice = Lattice(kind, 8)
    inner = np.argmin(np.linalg.norm(lattice.positions - lattice.positions.mean(0), axis=1))
    around = lattice.neighbors(shell)[inner]
    vectors = lattice.positions[around] - lattice.positions[inner]
    distances = np.linalg.norm(vectors, axis=1)
    assert np.allclose(distances, SHELLS[kind][shell - 1][1])
    if lattice.geometry.dimension == 2:
        angles = np.unwrap(np.arctan2(vectors[:, 1], vectors[:, 0]))
        assert np.all(np.diff(angles) > 0)


def test_every_bond_of_the_triangular_lattice_lies_in_two_triangles() -> None:
    lattice = triangular(5)
    pairs = np.sort(lattice.triangles[:, [[0, 1], [1, 2], [0, 2]]].reshape(-1, 2), axis=1)
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(np.unique(np.sort(lattice.triangles), axis=0)) == 2 * lattice.sites
    assert np.array_equal(unique, np.unique(np.sort(lattice.bonds(1), axis=1), axis=0))
    assert set(counts) == {2}


def test_other_lattices_have_no_triangles() -> None:
    with pytest.raises(RequestError, match="triangular"):
        _ = Lattice("square", 4).triangles


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_from_two_to_the_limit_are_allowed(kind: str) -> None:
    assert Lattice(kind, 2).coordination == SHELLS[kind][0][0]
    assert Lattice(kind, largest_size(kind)).sites <= 2**22
    for size in (1, largest_size(kind) + 1):
        with pytest.raises(RequestError, match="out of range"):
            Lattice(kind, size)


def test_a_site_that_would_neighbour_itself_is_refused() -> None:
    with pytest.raises(RequestError, match="its own neighbour"):
        Lattice("square", 2).neighbors(3)


def test_a_lattice_travels_without_its_tables() -> None:
    lattice = triangular(64)
    _ = lattice.triangles, lattice.positions
    assert len(pickle.dumps(lattice)) < 200
    assert pickle.loads(pickle.dumps(lattice)) == lattice
