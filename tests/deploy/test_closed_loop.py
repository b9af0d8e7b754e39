"""Simulate, draw, measure, fit: the parameter one began with."""

from pathlib import Path

import pytest

from benchmarks.closed_loop import simulated, trial


@pytest.mark.slow
@pytest.mark.statistical
def test_the_loop_closes(tmp_path: Path) -> None:
    """Within three standard errors, which are small enough to tell w1 from 0."""
    found = trial(1, simulated(tmp_path))
    assert abs(found.fitted - found.true) < 3 * found.error
    assert found.error < 0.05
    assert len(found.images) == 4
