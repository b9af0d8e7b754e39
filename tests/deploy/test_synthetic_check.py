"""The check on drawn images, apart from its simulation."""

import pytest

from latticescape.deploy.demo import SyntheticCheck


@pytest.mark.parametrize(
    ("confidence", "errors"), [(0.6827, 1.0), (0.95, 1.959964), (0.99, 2.575829)]
)
def test_an_interval_of_a_confidence_has_both_its_tails(confidence: float, errors: float) -> None:
    for sign in (1, -1):
        inside, outside = (
            SyntheticCheck(-0.15, -0.15 + sign * times * errors * 0.02, 0.02, {}, {})
            for times in (0.999, 1.001)
        )
        assert inside.contains_truth(confidence)
        assert not outside.contains_truth(confidence)
