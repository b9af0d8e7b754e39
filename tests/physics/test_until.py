"""Points that end when their errors are small enough."""

from typing import Any

import numpy as np
import pytest

from latticescape import Adatoms, Ising, PairAlloy, RequestError, Schedule, Sweep, square
from latticescape.physics.kernels.until import Until, histogram_relative_error

GRID = {"T": [1.8, 2.27, 3.0, 5.0]}
TARGET = {"energy_se": 2e-3, "max_samples": 1000}


def sweep_of(
    until: Any, samples: int = 10, grid: dict[str, list[float]] | None = None, **options: int
) -> Sweep:
    schedule = Schedule(100, samples, 5, until=until, **options)
    return Sweep(square(12), Ising(), grid or GRID, schedule, seed=7)


def computed(
    sweep: Sweep, earlier: Any = None, some: list[int] | None = None
) -> dict[str, np.ndarray]:
    axes, seeds = sweep.kernel_inputs(sweep.coordinates(tuple(slice(None) for _ in sweep.shape)))
    chosen = np.arange(sweep.points) if some is None else np.array(some)
    points = {name: values[chosen] for name, values in axes.items()}
    return sweep.kernel.compute(points, seeds[chosen], earlier=earlier)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def ended() -> dict[str, np.ndarray]:
    return computed(sweep_of(TARGET))


def test_every_point_has_the_bits_of_a_run_of_as_many_samples(
    ended: dict[str, np.ndarray],
) -> None:
    assert ended["until_met"].all()
    assert len(set(ended["samples"].tolist())) > 2
    for point, samples in enumerate(ended["samples"]):
        plain = computed(sweep_of(None, int(samples)), some=[point])
        for name, values in plain.items():
            assert values[0].tobytes() == ended[name][point].tobytes(), name


def test_a_point_ends_at_the_first_look_at_which_it_meets_its_targets(
    ended: dict[str, np.ndarray],
) -> None:
    looks = list(Until.of(TARGET).counts(10))
    for point, samples in enumerate(ended["samples"].tolist()):
        errors = [
            computed(sweep_of(None, count), some=[point])["energy_se"][0]
            for count in looks[: looks.index(samples) + 1]
        ]
        assert errors[-1] <= 2e-3
        assert all(error > 2e-3 for error in errors[:-1])


def test_a_point_does_not_depend_on_its_companions(ended: dict[str, np.ndarray]) -> None:
    some = computed(sweep_of(TARGET), some=[2, 0])
    for name, values in some.items():
        assert values.tobytes() == ended[name][[2, 0]].tobytes(), name


@pytest.mark.parametrize("before", [None, {"energy_se": 5e-3, "max_samples": 100}])
def test_a_point_that_goes_on_ends_where_it_would_have_ended(
    ended: dict[str, np.ndarray], before: Any
) -> None:
    again = computed(sweep_of(TARGET), computed(sweep_of(before)))
    for name, values in ended.items():
        assert again[name].tobytes() == values.tobytes(), name


def test_the_points_of_a_ladder_end_together() -> None:
    grid = {"T": [1.8, 2.27, 3.0], "H": [0.0, 0.2]}
    found = computed(sweep_of(TARGET, grid=grid, tempering_mcs=5))
    samples = found["samples"].reshape(3, 2)
    assert (samples == samples[0]).all()
    assert len(set(samples[0].tolist())) == 2
    assert found["until_met"].all()


def test_what_cannot_be_met_ends_at_the_limit() -> None:
    found = computed(sweep_of({"energy_se": 1e-9, "max_samples": 50}))
    assert found["samples"].tolist() == [50] * 4
    assert not found["until_met"].any()
    assert np.array_equal(found["histogram"].sum(axis=1), [64 * 144 * 50] * 4)


def test_samples_are_few_more_than_an_oracle_needs() -> None:
    """An oracle knows the error of long runs, which falls with the root of the number. The error
    of one point scatters by 9 % (64 replicas), so its number of samples by twice as much."""
    grid = {"T": list(np.linspace(1.8, 4.0, 24))}
    long = computed(sweep_of(None, 2000, grid))["energy_se"] * np.sqrt(2000)
    needed = np.maximum(10, (long / 2e-3) ** 2)
    ratio = computed(sweep_of(TARGET, grid=grid))["samples"] / needed
    assert 0.8 < ratio.mean() < 1.3


def test_the_relative_error_of_a_histogram_is_that_of_its_scatter() -> None:
    rng, share = np.random.default_rng(3), np.array([0.5, 0.3, 0.15, 0.05, 0.0])
    counts = rng.multinomial(1000, share, size=(200, 64))
    # Of independent counts the expected square is (K − 1) / N.
    assert np.mean(histogram_relative_error(counts) ** 2) == pytest.approx(3 / 64000, rel=0.05)
    found = computed(sweep_of({"histogram_relative": 0.02, "max_samples": 1000}))
    assert (histogram_relative_error(found["histogram_replica"])[found["until_met"]] <= 0.02).all()
    assert found["until_met"].sum() >= 2


def test_a_spec_keeps_the_targets() -> None:
    sweep = sweep_of({"energy_se": 1e-3, "susceptibility_abs_se": 0.1, "max_samples": 99})
    assert Sweep.from_toml(sweep.to_toml()) == sweep
    assert sweep.digest != sweep_of({"energy_se": 1e-3, "max_samples": 99}).digest
    assert "until" not in sweep_of(None).to_toml()
    assert sweep.schedule.total_mcs == 100 + 99 * 5


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ({"max_samples": 100}, "needs the target of an error, and max_samples"),
        ({"energy_se": 0.1}, "needs the target of an error, and max_samples"),
        (0.1, "needs the target of an error, and max_samples"),
        ({"energy_se": -1.0, "max_samples": 100}, "until.energy_se is not a positive number"),
        ({"energy_se": "small", "max_samples": 100}, "until.energy_se is not a positive number"),
        ({"energy": 0.1, "max_samples": 100}, "until has an unknown target"),
        ({"energy_se": 0.1, "max_samples": 1}, "until.max_samples is out of range"),
        ({"energy_se": 0.1, "max_samples": 9}, "max_samples is less than schedule.samples"),
    ],
)
def test_wrong_targets_are_refused(until: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        sweep_of(until)
    assert "Try: " in str(caught.value)


def test_what_a_kernel_does_not_have_is_refused() -> None:
    histogram = {"histogram_relative": 0.1, "max_samples": 100}
    schedule = Schedule(10, 5, 2, until=histogram)
    with pytest.raises(RequestError, match="unknown target"):
        Sweep(square(8), Adatoms(E_b=0.3, adatoms=3), {"T": [300.0]}, schedule)
    with pytest.raises(RequestError, match='cannot keep "samples"'):
        Sweep(square(8), PairAlloy(x=0.5), {"w1": [0.0]}, schedule, keep=("samples",))
