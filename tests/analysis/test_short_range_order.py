"""Warren–Cowley parameters of known arrangements, of images and of simulations."""

from pathlib import Path

import numpy as np
import pytest

from latticescape import (
    ClusterExpansion,
    RequestError,
    Schedule,
    Sweep,
    Term,
    fcc,
    run,
    short_range_order,
    square,
)
from latticescape.analysis.counts.counting import count_lattices, counts_dataset
from latticescape.physics.lattices.configurations import configurations

SCHEDULE = Schedule(10, 40, 2)


def test_a_checkerboard_has_unlike_neighbours_only() -> None:
    board = np.indices((4, 4)).sum(axis=0).ravel() % 2
    order = short_range_order(count_lattices(board[None], square(4)))["short_range_order"]
    assert order.isel(image=0, shell=0).values.tolist() == [[1.0, -1.0], [-1.0, 1.0]]


@pytest.mark.statistical
def test_errors_of_counts_cover_a_random_alloy() -> None:
    classes, rng = configurations("triangular"), np.random.default_rng(3)
    draws = rng.multinomial(2000, classes.random_mixing(0.3), 200)
    order = short_range_order(counts_dataset({str(k): d for k, d in enumerate(draws)}, classes))
    z = order["short_range_order"] / order["short_range_order_se"]
    assert 0.9 < float(np.sqrt((z**2).mean())) < 1.1


@pytest.mark.statistical
def test_a_hot_alloy_of_three_species_is_random(tmp_path: Path) -> None:
    """At fixed composition another atom is a b with probability N_b/(N − 1)."""
    model = ClusterExpansion(("A", "B", "C"), {"w": Term(pair=1)}, w=0.0, x_C=0.25)
    classes = {"symmetry": "counts", "shells": [2]}
    sweep = Sweep(fcc(4), model, {"x_B": [0.25, 0.5]}, SCHEDULE, classes=classes)
    order = short_range_order(run(sweep, tmp_path / "s.zarr"))
    assert order["species"].values.tolist() == ["A", "B", "C"]
    assert order["shell"].values.tolist() == [2]
    unlike = ~np.eye(3, dtype=bool)
    expected = np.where(unlike, 1 - 64 / 63, np.nan)
    value, error = order["short_range_order"], order["short_range_order_se"]
    z = ((value - expected) / error).values[..., unlike]
    assert np.abs(z).max() < 5
    # The rows of P(b | a) add up to one.
    x = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])[:, None, None, :]
    assert np.allclose(((1 - value.values) * x).sum(axis=-1), 1)


def test_other_datasets_are_refused(tmp_path: Path) -> None:
    counts = counts_dataset({"one": np.ones(12, int)}, configurations("square"))
    with pytest.raises(RequestError, match="no counts of configurations"):
        short_range_order(counts.drop_vars("counts"))
