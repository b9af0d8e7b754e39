"""Unmixing: planted truths come back, from vectors, drawn images and a real one."""

import tracemalloc
from itertools import combinations
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.optimize import minimize
from scipy.stats import kstest, truncnorm

from latticescape.analysis import count_endmembers, sliding_fft, spots, stripes, unmix
from latticescape.analysis.images.reading import labelled_image
from latticescape.analysis.images.spectra import windows as spectra_module
from latticescape.analysis.images.synthetic import draw_image, two_phases
from latticescape.analysis.images.unmixing.endmembers import (
    nfindr,
    simplex_volume,
    truncated_normal,
)
from latticescape.analysis.images.unmixing.mixture import abundances
from latticescape.analysis.images.unmixing.principal import WindowVectors, principal_components
from latticescape.physics.errors import RequestError

METHODS = ("nfindr", "ica", "nmf", "bayes")
LLTO = Path(__file__).parents[3] / "shared" / "data" / "llto" / "LLTO_800.tif"

Floats = npt.NDArray[np.float64]


def as_spectra(vectors: npt.NDArray[Any], rows: int = 1) -> xr.DataArray:
    """Vectors as spectra of so many rows of windows."""
    values = vectors.reshape(rows, -1, 1, vectors.shape[1])
    return xr.DataArray(values, dims=("window_row", "window_col", "k_row", "k_col"))


def mixed(q: int, windows: int = 60, features: int = 12) -> tuple[Floats, Floats]:
    """Vectors whose first q are the endmembers and the rest mixtures, and their abundances."""
    rng = np.random.default_rng(q)
    shares = np.concatenate([np.eye(q), rng.dirichlet(np.ones(q), windows - q)])
    return shares @ rng.uniform(0, 10, (q, features)), shares


@pytest.mark.parametrize("q", [2, 3, 4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_planted_vertices_are_found_exactly(q: int, seed: int) -> None:
    vectors, shares = mixed(q)
    result = unmix(as_spectra(vectors), q, seed=seed)
    order = np.argsort(-shares.mean(axis=0), kind="stable")
    assert result.vertex.values[:, 1].tolist() == order.tolist()
    np.testing.assert_allclose(result.endmember[:, 0], vectors[order], atol=1e-9)
    np.testing.assert_allclose(result.abundance[:, 0].T, shares[:, order], atol=1e-9)
    assert float(result.variance_explained) == pytest.approx(1)
    assert float(result.residual.max()) < 1e-9


@pytest.mark.parametrize("q", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_simplex_is_the_largest_of_all(q: int, seed: int) -> None:
    points = np.random.default_rng(seed).standard_normal((18, q - 1))
    largest = max(simplex_volume(points[list(some)]) for some in combinations(range(18), q))
    assert simplex_volume(points[nfindr(points)]) == pytest.approx(largest)


@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_abundances_are_the_constrained_minimum(q: int) -> None:
    rng = np.random.default_rng(q)
    ends, vectors = rng.standard_normal((q, 6)), rng.standard_normal((20, 6))
    result = abundances(vectors, ends)
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum(axis=1), 1)
    for x, shares in zip(vectors, result, strict=True):
        best = minimize(
            lambda a, x=x: ((x - a @ ends) ** 2).sum(),
            np.full(q, 1 / q),
            method="SLSQP",
            bounds=[(0, 1)] * q,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
            options={"ftol": 1e-14},
        )
        assert ((x - shares @ ends) ** 2).sum() <= best.fun + 1e-9
        np.testing.assert_allclose(shares, best.x, atol=1e-4)


def test_endmembers_that_are_mixtures_of_others_are_no_hindrance() -> None:
    ends = np.array([[0.0, 0], [1, 0], [0.5, 0], [0, 0]])
    result = abundances(np.array([[0.3, 0], [2, 5], [-1, 0]]), ends)
    np.testing.assert_allclose(result @ ends, [[0.3, 0], [1, 0], [0, 0]], atol=1e-12)


def test_components_are_those_of_all_spectra_at_once() -> None:
    image = np.random.default_rng(3).poisson(9, (60, 70))
    image[30:] += 9 * (np.arange(70) % 4 == 0)
    spectra = sliding_fft(image, window=16, step=4).compute()
    halves = principal_components(WindowVectors.of(spectra), 2)
    flat = spectra.values.reshape(-1, 256).astype(float)
    values = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2 / len(flat)
    np.testing.assert_allclose(halves.variances, values[:2], rtol=2e-3)
    assert halves.total == pytest.approx(values.sum(), rel=1e-4)
    for seed in range(4):  # whatever the start, the largest entry of an axis is positive
        axes = principal_components(WindowVectors.of(spectra), 2, seed=seed).axes
        assert (axes.max(axis=0) == np.abs(axes).max(axis=0)).all()


def test_half_a_plane_says_all() -> None:
    image, _ = two_phases("stripes", shape=(120, 110), spacing=6, seed=1)
    for window in (24, 25):
        half = sliding_fft(image, window=window).compute()
        complete = half.assign_attrs(inversion_symmetric=0)
        assert WindowVectors.of(half).matrix.shape[1] == window * (window // 2 + 1)
        assert WindowVectors.of(complete).matrix.shape[1] == window**2
        one, other = unmix(half), unmix(complete)
        for name in ("endmember", "abundance", "residual", "variance_explained"):
            np.testing.assert_allclose(one[name], other[name], atol=3e-3)
        cropped = half.isel(k_row=slice(2, None), k_col=slice(3, -1))
        assert WindowVectors.of(cropped).matrix.shape[1] == (window - 2) * (window - 4)


def phase_parts(phase: xr.DataArray, window: int, step: int) -> Floats:
    """The part of each window that is phase 1."""
    views = np.lib.stride_tricks.sliding_window_view(phase.to_numpy(), (window, window))
    parts: Floats = views[::step, ::step].mean(axis=(-2, -1))
    return parts


def boundary(result: xr.Dataset) -> float:
    """The row where the mean abundances of the two cross."""
    part = result.abundance.isel(endmember=0).mean("window_col").to_numpy()
    part = part if part[0] > part[-1] else 1 - part
    rows, (crossing,) = (
        result.window_row.to_numpy(),
        np.flatnonzero((part[:-1] >= 0.5) & (part[1:] < 0.5)),
    )
    slope = (part[crossing] - 0.5) / (part[crossing] - part[crossing + 1])
    return float(rows[crossing] + slope * (rows[crossing + 1] - rows[crossing]))


@pytest.fixture(
    scope="module",
    params=[("stripes", 60.0), ("stripes", 8.0), ("dimers", 60.0), ("dimers", 8.0)],
    ids=str,
)
def phases(request: pytest.FixtureRequest) -> tuple[xr.DataArray, Floats, str]:
    """Spectra of a two-phase image, the parts of phase 1, and its kind."""
    kind, peak = request.param
    image, phase = two_phases(
        kind,
        shape=(260, 240),
        spacing=8,
        rotation=12,
        boundary=0.45,
        peak=peak,
        background=5,
        seed=4,
    )
    window = 56 if kind == "stripes" else 72
    spectra = sliding_fft(image, window=window, step=window // 4).compute()
    return spectra, phase_parts(phase, window, window // 4), kind


@pytest.mark.parametrize("method", METHODS)
def test_two_phases_are_distinguished(
    phases: tuple[xr.DataArray, Floats, str], method: Any
) -> None:
    spectra, parts, _ = phases
    result = unmix(spectra, method=method)
    chosen = result.abundance.argmax("endmember").to_numpy()
    pure = (parts == 0) | (parts == 1)
    right = float((chosen == (parts > 0.5))[pure].mean())
    assert max(right, 1 - right) >= 0.99
    assert abs(boundary(result) - 0.45 * 260) <= spectra.attrs["window"] / 2
    means = result.abundance.mean(("window_row", "window_col")).to_numpy()
    assert means[0] >= means[1]
    assert float(result.abundance.min()) >= 0
    np.testing.assert_allclose(result.abundance.sum("endmember"), 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["stripes", "dimers"])
@pytest.mark.parametrize("peak", [5.0, 60.0])
def test_two_phases_are_counted(kind: Any, peak: float) -> None:
    image, _ = two_phases(
        kind, shape=(320, 300), spacing=8, rotation=12, peak=peak, background=5, seed=4
    )
    assert count_endmembers(sliding_fft(image, window=56)).attrs["endmembers"] == 2


def test_suppressed_spots_are_those_of_the_right_endmember(
    phases: tuple[xr.DataArray, Floats, str],
) -> None:
    spectra, parts, kind = phases
    result = unmix(spectra)
    perfect = int(result.abundance.values[:, parts == 0].mean(axis=1).argmax())
    best = spots(result, most=1).isel(endmember=perfect, spot=0)
    # Stripes along the rows' or dimers along the columns' turned axis: 16 and 12 px, turned by 12°.
    period = {"stripes": 16, "dimers": 12}[kind]
    k = np.array([np.cos(np.deg2rad(12)), -np.sin(np.deg2rad(12))]) / period
    place = np.array([best.frequency_row, best.frequency_col])
    errors = np.array([best.frequency_row_se, best.frequency_col_se])
    sign = np.sign(place @ k)
    assert (np.abs(sign * place - k) < 4 * errors).all()
    assert (errors < 0.3 / spectra.attrs["window"]).all()
    assert float(best.excess) > 0.7 * float(best.magnitude)


@pytest.mark.parametrize("rotation", [0.0, 5.0, 31.0])
def test_stripes_have_their_direction_and_period(rotation: float) -> None:
    image, _ = two_phases("stripes", shape=(220, 200), spacing=8, rotation=rotation, seed=2)
    spectra = sliding_fft(image, window=56)
    result = unmix(spectra)
    upper = int(result.abundance.values[:, 0].mean(axis=-1).argmax())
    lines = stripes(result)
    for endmember, angle in ((upper, rotation), (1 - upper, rotation + 90)):
        one = lines.isel(endmember=endmember)
        off = (float(one.angle) - angle + 90) % 180 - 90
        assert abs(off) < 3 * float(one.angle_se) < 3
        assert abs(float(one.period) - 16) < 3 * float(one.period_se) < 1


@pytest.mark.parametrize("peak", [15.0, 50.0])
def test_three_phases_and_one_are_counted(peak: float) -> None:
    assert count_endmembers(sliding_fft(striped(3, peak), window=56)).attrs["endmembers"] == 3
    assert count_endmembers(sliding_fft(striped(1, peak), window=56)).attrs["endmembers"] == 1


def striped(phases: int, peak: float, size: int = 336, spacing: int = 8) -> xr.DataArray:
    """Columns of phases side by side: rows dimmed, columns dimmed, none dimmed."""
    i, j = np.indices((size // spacing + 1,) * 2)
    phase = j * phases * spacing // (size + spacing)
    heights = np.ones(i.shape)
    heights[(phase == 0) & (i % 2 == 1)] = 0.5
    heights[(phase == 1) & (j % 2 == 1)] = 0.5
    places = spacing * np.stack([i.ravel(), j.ravel()], axis=1)
    return draw_image(
        places, heights.ravel(), shape=(size, size), sigma=1.6, peak=peak, background=5, seed=6
    )


def test_the_count_needs_windows_that_share_no_pixel() -> None:
    spectra = sliding_fft(np.random.default_rng(1).random((60, 60)), window=40, step=10)
    with pytest.raises(RequestError, match=r"all windows overlap.*--window 20, window=20"):
        count_endmembers(spectra)
    with pytest.raises(RequestError, match="not of sliding windows"):
        count_endmembers(as_spectra(mixed(2)[0]))


@pytest.mark.statistical
def test_bayesian_errors_are_the_scatter() -> None:
    ends, scores, own = [], [], []
    for trial in range(3):
        rng = np.random.default_rng([7, trial])
        truth = np.array([[9.0, 1, 4, 2, 7], [2, 8, 5, 1, 3], [5, 4, 1, 9, 6]])
        shares = rng.dirichlet(np.ones(3), 80)
        result = unmix(as_spectra(shares @ truth + rng.normal(0, 0.15, (80, 5))), 3, method="bayes")
        assert result.attrs["r_hat"] < 1.5
        assert result.attrs["noise"] == pytest.approx(0.15, rel=0.25)
        nearest = ((result.endmember.values[:, None, 0] - truth) ** 2).sum(axis=-1).argmin(axis=1)
        assert sorted(nearest) == [0, 1, 2]
        off = result.abundance.values[:, 0].T - shares[:, nearest]
        scores.append(off / result.abundance_se.values[:, 0].T)
        # Endmembers lie in the plane of the components, as the sampler has it.
        ends.append((result.endmember.values[:, 0] - truth[nearest]) / 0.15)
        own.append(result.endmember_se.values[:, 0] / 0.15)
    assert 0.85 < np.sqrt(np.mean(np.square(scores))) < 1.2
    assert np.sqrt(np.mean(np.square(ends))) < 1.5 * np.sqrt(np.mean(np.square(own)))


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (3, 9), (-9, -4), (-np.inf, 0.5), (12, np.inf)])
def test_truncated_normals_follow_their_distribution(low: float, high: float) -> None:
    rng = np.random.default_rng(8)
    drawn = truncated_normal(np.full(4000, 1.0), 2.0, 1 + 2 * low, 1 + 2 * high, rng)
    assert ((drawn >= 1 + 2 * low) & (drawn <= 1 + 2 * high)).all()
    assert kstest((drawn - 1) / 2, truncnorm(low, high).cdf).pvalue > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_the_same_bits_wherever_it_runs(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectra_module, "CHUNK_BYTES", 2**18)
    image, _ = two_phases("stripes", shape=(90, 80), spacing=5, seed=1)
    spectra = sliding_fft(image, window=30)
    with dask.config.set(scheduler="sync"):
        one = unmix(spectra, method=method, seed=5)
    with dask.config.set(scheduler="threads", num_workers=3):
        xr.testing.assert_identical(one, unmix(spectra, method=method, seed=5))


def test_everything_is_named_and_can_be_stored(tmp_path: Path) -> None:
    values = np.random.default_rng(1).poisson(9, (50, 40))
    image = labelled_image(values, name="a", source="b", pixel_size=0.1, pixel_units="nm")
    result = unmix(sliding_fft(image, window=16), method="bayes", seed=2)
    assert result.endmember.dims == ("endmember", "k_row", "k_col")
    assert result.abundance.dims == ("endmember", "window_row", "window_col")
    assert result.k_x.attrs["units"] == "1/nm"
    assert all({"long_name", "units"} <= set(result[name].attrs) for name in result.variables)
    assert (result.attrs["method"], result.attrs["seed"], result.attrs["image"]) == (
        "bayes",
        2,
        "a",
    )
    assert {"r_hat", "noise", "pixel_size"} <= set(result.attrs)
    result.to_zarr(tmp_path / "phases.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "phases.zarr", consolidated=False).load()
    xr.testing.assert_identical(result, stored)
    problem = (spots(result), stripes(result), count_endmembers(sliding_fft(image, window=12)))
    assert all({"long_name", "units"} <= set(ds[name].attrs) for ds in problem for name in ds)


def test_a_stack_is_unmixed_as_one() -> None:
    image, _ = two_phases("stripes", shape=(120, 100), spacing=6, seed=1)
    stack = np.stack([image.values[:60], image.values[60:]])
    result = unmix(sliding_fft(stack, window=36, step=6))
    assert result.abundance.dims == ("endmember", "image", "window_row", "window_col")
    means = result.abundance.mean(("window_row", "window_col")).to_numpy()
    assert abs(means[0, 0] - means[0, 1]) > 0.7


def test_one_endmember_is_the_mean() -> None:
    vectors, _ = mixed(3)
    result = unmix(as_spectra(vectors), 1)
    np.testing.assert_allclose(result.endmember[0, 0], vectors.mean(axis=0))
    assert (result.abundance == 1).all()
    assert float(result.variance_explained) == pytest.approx(0, abs=1e-9)


def test_spectra_never_stand_in_memory_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra_module, "CHUNK_BYTES", 2**20)
    image, _ = two_phases("stripes", shape=(240, 240), spacing=8, seed=1)
    spectra = sliding_fft(image, window=48, step=6)
    tracemalloc.start()
    with dask.config.set(scheduler="sync"):
        unmix(spectra)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < spectra.nbytes / 2


NAN = as_spectra(np.where(np.eye(4) > 0, np.nan, 1.0))
ALIKE = sliding_fft(np.ones((40, 40)), window=16)
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "more endmembers than windows": (as_spectra(np.eye(3)), {"endmembers": 4}, "1 to 3, as there"),
    "more endmembers than can be": (as_spectra(np.eye(40)), {"endmembers": 11}, "1 to 10"),
    "no endmember": (as_spectra(np.eye(3)), {"endmembers": 0}, "1 to 3"),
    "half an endmember": (as_spectra(np.eye(3)), {"endmembers": 1.5}, "1 to 3"),
    "an unknown method": (as_spectra(np.eye(3)), {"method": "pca"}, "nfindr | ica | nmf | bayes"),
    "a constant image": (ALIKE, {}, "all spectra are equal"),
    "NaN": (NAN, {}, "NaN or infinite"),
    "an image": (xr.DataArray(np.eye(4), dims=("row", "col")), {}, "no spectra of windows"),
    "an array": (np.eye(4), {}, "no spectra of windows"),
    "negative spectra": (as_spectra(-np.eye(4)), {"method": "nmf"}, "without negative values"),
    "vectors in fewer dims": (
        as_spectra(np.outer(np.arange(9), np.ones(3))),
        {"endmembers": 3},
        "span no simplex .*1 to 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_request_is_refused(case: str) -> None:
    spectra, options, problem = BAD[case]
    with pytest.raises(RequestError, match=problem):
        unmix(spectra, **options)


def test_what_are_no_endmembers_has_no_spots() -> None:
    with pytest.raises(RequestError, match="no endmembers of spectra"):
        spots(xr.Dataset({"abundance": ("x", [1.0])}))
    with pytest.raises(RequestError, match="too small for spots"):
        spots(unmix(as_spectra(mixed(2)[0])))


@pytest.mark.skipif(not LLTO.exists(), reason="the real images are not here: ../shared/data/llto")
@pytest.mark.parametrize("method", METHODS)
def test_llto_falls_into_its_two_domains(method: Any) -> None:
    skimage_io = pytest.importorskip("skimage.io")
    spectra = sliding_fft(skimage_io.imread(LLTO))
    result = unmix(spectra, method=method)
    assert abs(boundary(result) - 253) <= 14 + spectra.attrs["step"]
    angle = stripes(result).angle.to_numpy()
    assert abs(abs(angle[0] - angle[1]) - 90) <= 5
    assert count_endmembers(spectra).attrs["endmembers"] == 2
