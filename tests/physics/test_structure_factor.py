"""Structure factors against patterns known beforehand, and their stars against the point groups."""

from fractions import Fraction

import numpy as np
import pytest

from latticescape.physics import Lattice, cubic, honeycomb, square, structure_factor, triangular
from latticescape.physics.errors import RequestError
from latticescape.physics.structure_factor import name_of, special_beside, stars_of

KINDS = ("square", "triangular", "honeycomb", "cubic")


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_over_all_waves_is_one(kind: str) -> None:
    lattice = Lattice(kind, 6)
    spins = np.random.default_rng(1).choice([-1, 1], (5, lattice.sites))
    S = structure_factor(spins, lattice)
    dimension = lattice.geometry.dimension
    assert S.shape == (5, *[6] * dimension)
    assert np.allclose(S.mean(axis=tuple(range(1, 1 + dimension))), 1)


def test_root_three_order_stands_at_the_k_points() -> None:
    lattice = triangular(6)
    cells = np.indices((6, 6))
    spins = np.where((cells[1] - cells[0]) % 3 == 0, 1, -1).ravel()
    assert np.all(spins[lattice.neighbors(1)[spins == 1]] == -1)  # no two like neighbours of A
    S = structure_factor(spins, lattice)
    assert np.argwhere(S > 1e-9).tolist() == [[0, 0], [2, 4], [4, 2]]
    assert S[2, 4] == pytest.approx(4 / 9 * lattice.sites)
    assert name_of(triangular(6), (Fraction(1, 3), Fraction(2, 3))) == "K (1/3, 2/3)"


def test_honeycomb_sublattices_are_seen_apart() -> None:
    lattice = honeycomb(4)
    S = structure_factor(np.tile([1.0, -1.0], lattice.sites // 2), lattice)
    assert np.argwhere(S > 1e-9).tolist() == [[0, 0]]
    assert S[0, 0] == pytest.approx(lattice.sites / 2)


def test_rock_salt_order_stands_at_the_r_point() -> None:
    spins = (-1.0) ** np.indices((4, 4, 4)).sum(axis=0).ravel()
    S = structure_factor(spins, cubic(4))
    assert np.argwhere(S > 1e-9).tolist() == [[2, 2, 2]]
    assert name_of(cubic(4), (Fraction(1, 2),) * 3).startswith("R")


def test_stars_are_the_orbits_of_the_point_group() -> None:
    stars = stars_of(square(8))
    for h, k in np.ndindex(8, 8):
        orbit = {
            (a * p % 8, b * q % 8) for p, q in ((h, k), (k, h)) for a in (1, -1) for b in (1, -1)
        }
        assert {int(stars.number[place]) for place in orbit} == {int(stars.number[h, k])}
        assert stars.members[stars.number[h, k]] == len(orbit)


def test_every_shell_sum_of_the_triangular_stars_turns_by_sixty_degrees() -> None:
    stars = stars_of(triangular(12))
    h, k = np.indices((12, 12))
    # A turn by 60° takes the axes (a1, a2), 60° apart, to (a1 − a2, a1) or back.
    turned = stars.number[(h - k) % 12, h]
    assert np.array_equal(turned, stars.number) or np.array_equal(
        stars.number[k, (k - h) % 12], stars.number
    )
    assert sorted(set(stars.members.tolist())) == [1, 2, 3, 6, 12]


def test_a_size_that_does_not_hold_the_k_points_is_known() -> None:
    near = (Fraction(5, 16), Fraction(11, 16))
    assert special_beside(triangular(16), near) == "K (1/3, 2/3)"
    assert special_beside(triangular(12), (Fraction(1, 3), Fraction(2, 3))) is None
    assert special_beside(triangular(16), (Fraction(0), Fraction(1, 2))) is None


def test_spins_are_one_a_site() -> None:
    with pytest.raises(RequestError, match="one value for each site"):
        structure_factor(np.ones((64, 5)), square(4))
