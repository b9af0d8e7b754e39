"""Landscapes, fits and comparison: against closed forms, chance, and the published table."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis import compare, fit, landscape, observed_counts, random_mixing
from latticescape.analysis import statistical_distance as distance
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.comparison.comparison import bic
from latticescape.deploy.examples import example
from latticescape.physics import RequestError, configurations

CLASSES = configurations("triangular")
COMPOSITIONS = (0.3, 0.6)


def drawn(rng: np.random.Generator, x: float, size: tuple[int, ...], n: int) -> np.ndarray:
    return rng.multinomial(n, CLASSES.random_mixing(x), size=size)


def simulated(seed: int, n: int = 2000) -> xr.Dataset:
    """A sweep's Dataset whose truth is known: random alloys, 64 replicas of n counts."""
    rng = np.random.default_rng(seed)
    histograms = np.stack([drawn(rng, x, (3, 64), n) for x in COMPOSITIONS])
    dims = ("x", "w1", "replica", "configuration")
    coords = {"x": list(COMPOSITIONS), "w1": [0.0, 0.1, 0.2], "replica": np.arange(64)}
    label = ("configuration", np.array(CLASSES.labels))
    return xr.Dataset({"histogram_replica": (dims, histograms)}, coords | {"label": label})


def images(seed: int, n: int = 500) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    counts = {}
    for number, x in enumerate(COMPOSITIONS):
        exact = np.zeros(len(CLASSES), np.int64)
        while abs(exact @ CLASSES.centre - x * n) > 0.005 * n:
            exact = drawn(rng, x, (), n)
        counts[f"image{number}"] = exact
    return counts_dataset(counts, CLASSES)


def test_four_n_s2_follows_chi_square() -> None:
    """N samples of p against p itself: mean k − 1 and variance 2 (k − 1), within chance."""
    rng = np.random.default_rng(8)
    p = np.full(12, 1 / 12)
    n, trials = 20_000, 4000
    statistic = 4 * n * distance(rng.multinomial(n, p, size=trials), p) ** 2
    assert statistic.mean() == pytest.approx(11, abs=4 * np.sqrt(22 / trials))
    assert chi2(11).cdf(statistic).mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * trials))


def test_the_distance_takes_labelled_arrays_along_a_named_dimension() -> None:
    p = xr.DataArray([[1, 2, 3], [3, 2, 1]], dims=("image", "configuration"))
    q = xr.DataArray([1, 1, 1], dims="configuration")
    found = distance(p, q)
    assert found.dims == ("image",)
    assert np.array_equal(found, distance(p.values, q.values))
    assert np.array_equal(distance(p.T, q, dim="configuration"), found)
    assert np.array_equal(distance(p.values.T, q.values[:, None], axis=0), found)
    lazy = distance(p.chunk(image=1), q)
    assert lazy.chunks is not None
    assert np.array_equal(lazy.compute(), found)


def test_an_empty_histogram_has_no_distance() -> None:
    assert np.isnan(distance([0, 0], [1, 1]))


def test_error_and_bias_of_s2_are_those_of_repeated_simulations() -> None:
    """Monte Carlo errors over 60 repetitions of the same simulation match the jackknife's."""
    observed = images(1)
    surfaces = [landscape(simulated(seed, n=300), observed) for seed in range(60)]
    for name in ("s2", "s2_total"):
        values = np.stack([surface[name].values for surface in surfaces])
        reported = np.sqrt(
            np.mean([surface[f"{name}_se"].values ** 2 for surface in surfaces], axis=0)
        )
        assert np.allclose(values.std(axis=0, ddof=1) / reported, 1, atol=0.35)
        truth = landscape(simulated(99, n=3_000_000), observed)[name].values
        bias = np.mean([surface[f"{name}_bias"].values for surface in surfaces], axis=0)
        error = values.std(axis=0, ddof=1) / np.sqrt(len(surfaces))
        assert np.all(np.abs(values.mean(axis=0) - bias - truth) < 4.5 * error)
        assert np.all(bias > 0)


def test_every_image_is_compared_at_its_own_composition() -> None:
    surface = landscape(simulated(2), images(3))
    assert surface.s2.dims == ("image", "w1")
    assert float(surface.s2.max()) < 0.04
    swapped = images(3).assign_coords(image=["a", "b"])
    swapped["composition"] = swapped.composition[::-1].values * xr.ones_like(swapped.composition)
    assert float(landscape(simulated(2), swapped).s2.min()) > 0.1


def test_classes_that_are_numbered_differently_are_refused() -> None:
    observed = images(3)
    numbers = np.arange(observed.sizes["configuration"])
    sweep = simulated(2).assign_coords(configuration=numbers)
    assert landscape(sweep, observed.assign_coords(configuration=numbers)).s2.notnull().all()
    with pytest.raises(RequestError, match="numbered differently: a store is damaged"):
        landscape(sweep, observed.assign_coords(configuration=numbers + 1))


def test_a_composition_that_was_not_simulated_is_refused() -> None:
    with pytest.raises(RequestError, match="to the axis x of the sweep"):
        landscape(simulated(2).isel(x=[1]), images(3))


def test_a_fixed_composition_must_be_the_images_own() -> None:
    fixed = simulated(2).isel(x=0, drop=True).assign(composition=("w1", np.full(3, 0.3)))
    assert landscape(fixed, images(3).isel(image=[0])).s2.dims == ("image", "w1")
    with pytest.raises(RequestError, match=r"x = .* in \[model\]"):
        landscape(fixed, images(3))


def test_points_not_computed_are_nan_and_the_fit_goes_round_them() -> None:
    sweep = simulated(4)
    sweep["histogram_replica"][:, 0] = 0
    surface = landscape(sweep, images(5))
    assert np.isnan(surface.s2_total.values).tolist() == [True, False, False]
    assert np.isnan(surface.s2.sel(w1=0.0)).all()
    assert fit(surface).parameters["w1"][0] in (0.1, 0.2)


def test_the_random_columns_of_the_published_table_are_reproduced() -> None:
    table = compare({"random": random_mixing(observed_counts(example("mores2_counts.csv")))})
    s2, p = table.s2.values[0], table.p_value.values[0]
    assert np.allclose(s2, [0.00615, 0.03257, 0.02988, 0.01241], atol=1e-5)
    assert np.allclose(p, [0.9899, 0.0001, 0.0013, 0.5602], atol=6e-3)
    assert float(table.p_value_total[0]) == pytest.approx(0.0015, abs=1e-4)
    assert float(table.bic[0]) == pytest.approx(73.4, abs=0.4)


PUBLISHED = {  # N, then S² and p of random, pair, pair with next neighbours, three-body
    "x=.05": (464, 0.0062, 0.9899, 0.0067, 0.9829, 0.0070, 0.9771, 0.0073, 0.9680),
    "x=.55": (466, 0.0325, 0.0001, 0.0283, 0.0009, 0.0288, 0.0007, 0.0284, 0.0009),
    "x=.78": (434, 0.0298, 0.0013, 0.0263, 0.0069, 0.0247, 0.0143, 0.0275, 0.0040),
    "x=.95": (471, 0.0124, 0.5602, 0.0129, 0.4976, 0.0121, 0.5852, 0.0121, 0.5864),
}


@pytest.mark.parametrize("image", sorted(PUBLISHED))
def test_published_p_values_follow_from_published_s2_within_rounding(image: str) -> None:
    n, *rest = PUBLISHED[image]
    for s2, p in zip(rest[::2], rest[1::2], strict=True):
        low, high = (chi2(25).sf(4 * n * (s2 + half)) for half in (5e-5, -5e-5))
        assert low - 5e-5 <= p <= high + 5e-5


def test_published_bics_follow_from_published_totals() -> None:
    totals, parameters = [0.0200, 0.0184, 0.0180, 0.0187], [0, 1, 2, 2]
    lecture = bic(totals, 1835, parameters, "lecture")
    assert np.allclose(lecture, [73.4, 71.4, 73.6, 76.1], atol=0.25)
    assert np.allclose(bic(totals, 1835, parameters, "standard"), 2 * lecture)


def parabola(names: tuple[str, ...], truth: np.ndarray, curvature: np.ndarray) -> xr.Dataset:
    axes = {name: np.linspace(-1, 1, 21) for name in names}
    grid = np.stack(np.meshgrid(*axes.values(), indexing="ij"), axis=-1)
    s2 = 0.01 + 0.5 * np.einsum("...i,ij,...j", grid - truth, curvature, grid - truth)
    return xr.Dataset(
        {
            "s2": (("image", *names), np.stack([s2, 2 * s2])),
            "s2_se": (("image", *names), np.full((2, *s2.shape), 1e-4)),
            "s2_total": (names, s2),
            "s2_total_se": (names, np.full_like(s2, 1e-4)),
            "n": ("image", [400, 600]),
        },
        coords={**axes, "image": ["a", "b"]},
        attrs={"degrees_of_freedom": 25},
    )


def test_a_parabola_gives_its_minimum_and_covariance() -> None:
    truth, curvature = np.array([0.13, -0.22]), np.array([[0.4, 0.1], [0.1, 0.3]])
    result = fit(parabola(("w1", "w2"), truth, curvature))
    assert [result.parameters[n][0] for n in ("w1", "w2")] == pytest.approx(truth)
    from_data = result.covariance - result.monte_carlo_covariance
    assert from_data == pytest.approx(np.linalg.inv(2 * 1000 * curvature))
    assert result.s2_total == pytest.approx(0.01)
    assert result.s2.values == pytest.approx([0.01, 0.02])
    assert result.border == ()


def test_a_minimum_at_the_edge_of_the_grid_is_said() -> None:
    result = fit(parabola(("w1",), np.array([1.7]), np.array([[0.4]])))
    assert result.border == ("w1",)


def test_models_of_different_images_are_not_compared() -> None:
    one = parabola(("w1",), np.array([0.0]), np.array([[1.0]]))
    with pytest.raises(RequestError, match="different images"):
        compare({"one": one, "other": one.isel(image=[0])})


def test_points_on_no_grid_have_distances() -> None:
    observed = counts_dataset({"one": np.full(8, 20)}, configurations("honeycomb"))
    counts = np.random.default_rng(1).integers(100, 200, (6, 64, 8))
    simulated = xr.Dataset(
        {"histogram_replica": (("point", "replica", "configuration"), counts)},
        {"w1": ("point", np.arange(6.0)), "label": observed.label},
    )
    surface = landscape(simulated, observed)
    assert surface.s2_total.dims == ("point",)
    assert surface.s2_total.w1.dims == ("point",)
    with pytest.raises(RequestError, match="no numbers along shape"):
        fit(surface.rename(point="shape").assign_coords(shape=list("abcdef")))
