"""Plans: the order in which blocks are computed."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_cdt

from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.lattices.lattice import square
from latticescape.physics.models.ising import Ising
from latticescape.sweeps.spec.plan import coarse_to_fine, cut, plan
from latticescape.sweeps.spec.sweep import Sweep


def farthest(shape: tuple[int, ...], block_shape: tuple[int, ...], share: float) -> int:
    """Steps from the worst point to one that is done, after this share of the blocks."""
    blocks = coarse_to_fine(cut(shape, block_shape))
    missing = np.ones(shape, bool)
    for block in blocks[: round(share * len(blocks))]:
        missing[block.region] = False
    return int(distance_transform_cdt(missing, "chessboard").max())


@pytest.mark.parametrize("shape", [(1,), (7,), (41, 21), (5, 1, 6), (3, 4, 5, 2)])
def test_the_order_holds_every_block_once(shape: tuple[int, ...]) -> None:
    blocks = cut(shape, (2,) * len(shape))
    assert sorted(coarse_to_fine(blocks), key=lambda block: block.number) == list(blocks)
    assert coarse_to_fine(blocks) == coarse_to_fine(blocks[::-1])


def test_few_blocks_cover_the_grid() -> None:
    assert farthest((41, 21), (1, 1), 0.05) <= 4
    assert farthest((41, 21), (1, 8), 0.05) <= 8  # six blocks: three temperatures
    assert farthest((1000,), (1,), 0.05) <= 16


def test_few_long_points_make_many_small_blocks_of_full_batches() -> None:
    grid = {"T": np.linspace(1.5, 3.5, 41), "H": np.linspace(-1, 1, 21)}
    sweep = Sweep(square(256), Ising(), grid, Schedule(2000, 500, 10))
    assert plan(sweep).block_shape == (1, sweep.kernel.batch_size)
    short = Sweep(square(4), Ising(), grid, Schedule(10, 5, 2))
    assert len(plan(short).blocks) <= 41
