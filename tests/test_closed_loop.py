"""Simulate, draw, measure, fit: the parameter one began with."""

import pytest

from benchmarks.closed_loop import simulated, trial


@pytest.mark.slow
@pytest.mark.statistical
def test_the_loop_closes() -> None:
    """Two trials: within three standard errors, which are small enough to tell w1 from 0."""
    histograms = simulated()
    for number in range(2):
        found = trial(number, histograms)
        assert abs(found.fitted - found.true) < 3 * found.error
        assert found.error < 0.05
