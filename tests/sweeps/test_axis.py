"""Axes: how they are spelled in a spec, and how they grow."""

import numpy as np
import pytest

from latticescape.sweeps.spec.axes import Axis


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ([1.5, 2.0, 3.5], [1.5, 2.0, 3.5]),
        ([1.5, 2.5], [1.5, 2.5]),
        ({"start": 1.5, "stop": 3.5, "num": 3}, {"start": 1.5, "stop": 3.5, "num": 3}),
        ([1.5, 2.5, 3.5], [1.5, 2.5, 3.5]),
    ],
)
def test_an_axis_is_spelled_as_it_was_given(given: object, spec: object) -> None:
    assert Axis.of("T", given).spec == spec


def test_an_array_of_even_steps_is_spelled_as_a_table_and_no_other() -> None:
    even, uneven = np.linspace(1.5, 3.5, 5), np.array([1.5, 2.0, 3.5])
    assert Axis.of("T", even).spec == {"start": 1.5, "stop": 3.5, "num": 5}
    assert Axis.of("T", uneven).spec == [1.5, 2.0, 3.5]
    assert Axis.of("T", uneven[:2]).spec == [1.5, 2.0]


@pytest.mark.parametrize(
    ("old", "union"),
    [
        ([1.0, 3.0], (1.0, 2.0, 3.0)),
        ([3.0, 1.0], (3.0, 2.0, 1.0)),
        ([1.0, 3.0, 0.0], (1.0, 3.0, 0.0, 2.0)),
    ],
)
def test_new_values_keep_the_order_that_there_is(
    old: list[float], union: tuple[float, ...]
) -> None:
    assert Axis.of("T", old).united("T", [2.0, old[0] + 1e-15]).values == union
