"""Estimates of a point from the sums over its samples, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from latticescape.physics.kernels.observables import (
    Samples,
    energy_drift,
    estimates,
    jackknife,
    observe,
)
from latticescape.physics.kernels.reference import MOMENTS

SITES, SAMPLES, REPLICAS = 4, 5, 64
# m, |m|, m², m⁴, e, e², each per site.
MEANS = np.array([0.2, 0.5, 0.3, 0.15, -1.5, 2.5])


def samples(*, swaps: int = 0) -> Samples:
    """A point of two features whose sums are the replica's number and twice it."""
    replica = np.arange(REPLICAS)
    powers = SITES ** np.array([1, 1, 2, 4, 1, 2])
    sums = np.stack([replica, 2 * replica], axis=-1)[None].astype(np.int64)
    return Samples(
        features=("pairs", "up"),
        sites=SITES,
        samples=SAMPLES,
        feature_sum=5 * sums,
        feature_checkpoints=3 * sums[:, None],
        moment_sum=np.tile(MEANS * powers * SAMPLES, (1, REPLICAS, 1)),
        histogram=np.ones((1, REPLICAS, 3), np.int64),
        swaps_attempted=np.array([swaps]),
        swaps_accepted=replica[None] % 2 * swaps // 2,
    )


def test_estimates_are_their_formulas_at_a_temperature_other_than_one() -> None:
    assert len(MOMENTS) == len(MEANS)
    values = estimates(MEANS, SITES, 2.0)
    assert float(values["energy"]) == -1.5
    assert float(values["magnetization"]) == 0.2
    assert float(values["magnetization_abs"]) == 0.5
    assert float(values["susceptibility"]) == pytest.approx(4 * (0.3 - 0.2**2) / 2)
    assert float(values["susceptibility_abs"]) == pytest.approx(4 * (0.3 - 0.5**2) / 2)
    assert float(values["heat_capacity"]) == pytest.approx(4 * (2.5 - 1.5**2) / 2**2)
    assert float(values["binder_cumulant"]) == pytest.approx(1 - 0.15 / (3 * 0.3**2))


def test_the_jackknife_error_of_a_mean_is_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=(10, 1))
    mean, error = jackknife(values, lambda row: {"mean": row[..., 0], "square": row[..., 0] ** 2})
    assert float(mean["mean"]) == pytest.approx(values.mean())
    assert float(mean["square"]) == pytest.approx(values.mean() ** 2)
    assert float(error["mean"]) == pytest.approx(values.std(ddof=1) / np.sqrt(10))


def test_the_jackknife_error_of_a_square_is_that_of_the_means_without_one_value() -> None:
    values = np.random.default_rng(2).normal(3, size=(7, 1))
    _, error = jackknife(values, lambda row: {"square": row[..., 0] ** 2})
    squares = np.array([np.delete(values, row).mean() ** 2 for row in range(7)])
    assert float(error["square"]) == pytest.approx(np.sqrt(6) * squares.std())


def test_the_drift_is_the_second_half_minus_the_first_times_the_couplings_a_site() -> None:
    """Of five samples the first half are two: sums r·3 of two, so r·2 of the three later ones."""
    point = samples().of_point(0)
    drift = energy_drift(point, np.array([0.5, -0.25]), SITES, SAMPLES)
    np.testing.assert_allclose(drift, 0)
    drift = energy_drift(point, np.array([1.0, 0.0]), SITES, SAMPLES)
    np.testing.assert_allclose(drift, np.arange(REPLICAS) * (2 / 3 - 3 / 2) / SITES)


def test_a_point_has_its_moments_features_and_errors_of_the_mean() -> None:
    seen = observe(samples(swaps=8), np.array([[1.0, 0.5]]), np.array([2.0]))
    np.testing.assert_allclose(seen["moments"][0], np.tile(MEANS, (REPLICAS, 1)))
    np.testing.assert_allclose(seen["features"][0, :, 1], 2 * np.arange(REPLICAS))
    assert seen["histogram"].tolist() == [[REPLICAS] * 3]
    slope = 2 * (2 / 3 - 3 / 2) / SITES
    scatter = np.arange(REPLICAS).std(ddof=1) / np.sqrt(REPLICAS)
    assert float(seen["energy_drift"][0]) == pytest.approx(slope * (REPLICAS - 1) / 2)
    assert float(seen["energy_drift_se"][0]) == pytest.approx(abs(slope) * scatter)
    assert float(seen["tempering_acceptance"][0]) == 0.25
    assert float(seen["energy_se"][0]) == pytest.approx(0, abs=1e-12)


def test_without_swaps_there_is_no_acceptance() -> None:
    seen = observe(samples(), np.array([[1.0, 0.5]]), np.array([2.0]))
    assert np.isnan(seen["tempering_acceptance"]).all()


def test_a_lattice_without_magnetization_has_no_binder_cumulant() -> None:
    still = replace(samples(), moment_sum=np.zeros((1, REPLICAS, len(MOMENTS))))
    assert np.isnan(observe(still, np.zeros((1, 2)), np.ones(1))["binder_cumulant"]).all()
