"""Observed counts: the published table, tables of atoms, and what a ring is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import count_atoms, observed_counts
from analysis.rings import complete_rings
from deploy.examples import example
from physics import RequestError, configurations, honeycomb, square, triangular

COUNTS = example("mores2_counts.csv")
IMAGES = Path(__file__).parents[2] / "shared" / "data" / "mores2"


def test_the_published_counts_hold_the_published_totals() -> None:
    observed = observed_counts(COUNTS)
    assert observed.n.values.tolist() == [464, 466, 434, 471]
    found = observed.composition.values
    assert np.allclose(found, [0.02155, 0.59657, 0.84332, 0.95754], atol=5e-6)
    assert observed.multiplicity.values.sum() == 128


def test_rows_may_come_in_any_order_and_without_multiplicities(tmp_path: Path) -> None:
    table = pd.read_csv(COUNTS, comment="#")
    shuffled = table.sample(frac=1, random_state=3).drop(columns="multiplicity")
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    again = observed_counts(tmp_path / "shuffled.csv")
    assert np.array_equal(again.counts, observed_counts(COUNTS).counts)


@pytest.mark.skipif(not IMAGES.exists(), reason="the real images are not here (shared/data/mores2)")
@pytest.mark.parametrize("image", ["re05", "re78"])
def test_positions_of_real_atoms_give_the_published_counts(image: str) -> None:
    observed = observed_counts(IMAGES / f"{image}_atoms.csv", species=("Mo", "Re"))
    published = observed_counts(COUNTS).sel(image=image)
    assert observed.image.values.tolist() == [image]
    assert np.array_equal(observed.counts[0], published.counts)


@pytest.mark.parametrize("make", [square, triangular, honeycomb])
@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_jitter_rotation_and_scale_change_no_ring(make: type, turn: float) -> None:
    lattice = make(10)
    species = np.random.default_rng(4).integers(0, 2, lattice.sites)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    jitter = np.random.default_rng(5).normal(0, 0.05, lattice.positions.shape)
    moved = 17.0 * (lattice.positions + jitter) @ rotation.T
    plain = count_atoms(lattice.positions, species, make)
    assert np.array_equal(count_atoms(moved, species, make), plain)


def test_a_vacancy_takes_its_neighbours_out_of_the_count() -> None:
    lattice = triangular(10)
    centers, _ = complete_rings(lattice.positions, "triangular")
    middle = lattice.positions.mean(axis=0)
    hole = np.argmin(np.linalg.norm(lattice.positions - middle, axis=1))
    left = np.delete(lattice.positions, hole, axis=0)
    fewer, _ = complete_rings(left, "triangular")
    assert len(centers) - len(fewer) == 7


def test_a_mirrored_image_counts_alike() -> None:
    """Classes are up to reflection, so the handedness of row and column axes does not matter."""
    lattice = triangular(10)
    species = np.random.default_rng(6).integers(0, 2, lattice.sites)
    mirrored = lattice.positions * [1, -1]
    assert np.array_equal(
        count_atoms(lattice.positions, species, "triangular"),
        count_atoms(mirrored, species, "triangular"),
    )


@pytest.mark.parametrize("kind", ["square", "triangular", "honeycomb", "cubic"])
def test_classes_are_told_apart_by_symmetry_alone(kind: str) -> None:
    classes = configurations(kind)
    assert classes.multiplicity.sum() == len(classes.table)
    assert np.array_equal(np.bincount(classes.table), classes.multiplicity)
    half = len(classes) // 2
    assert classes.centre.tolist() == [0] * half + [1] * half
    assert len(set(classes.labels)) == len(classes)
    x = np.array([0.0, 0.3, 1.0])
    assert np.allclose(classes.random_mixing(x).sum(axis=-1), 1)


def test_multiplicities_are_the_published_ones() -> None:
    per_centre = {
        "triangular": [1, 6, 3, 6, 6, 2, 12, 6, 3, 6, 6, 6, 1],
        "square": [1, 4, 4, 2, 4, 1],
        "honeycomb": [1, 3, 3, 1],
    }
    for kind, expected in per_centre.items():
        assert configurations(kind).multiplicity.tolist() == 2 * expected


def test_an_image_has_no_cubic_rings() -> None:
    with pytest.raises(RequestError, match="plane"):
        complete_rings(np.zeros((9, 2)), "cubic")
