"""Sliding FFT: the definition, lazily, for any image."""

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from benchmarks.spectra import plain_loop
from latticescape.analysis.images.reading import labelled_image
from latticescape.analysis.images.spectra import windows as module
from latticescape.analysis.images.spectra.spots import lattice_period
from latticescape.analysis.images.spectra.windows import sliding_fft
from latticescape.analysis.images.synthetic import two_phases
from latticescape.physics.errors import RequestError

NOISE = np.random.default_rng(1).poisson(100, (53, 70))


@pytest.mark.parametrize(("window", "step"), [(16, 4), (15, 4), (17, 17), (4, 1), (53, 13)])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int32", "float32", "float64"])
def test_spectra_are_those_of_a_plain_loop(window: int, step: int, dtype: str) -> None:
    result = sliding_fft(NOISE.astype(dtype), window=window, step=step)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, plain_loop(NOISE, window, step), atol=3e-5)


def test_small_differences_of_large_counts_are_not_rounded_away() -> None:
    result = sliding_fft(NOISE + 10**9, window=16, step=4)
    np.testing.assert_allclose(result, plain_loop(NOISE, 16, 4), atol=3e-5)


def test_windows_are_named_by_their_centres_and_the_last_one_is_there() -> None:
    result = sliding_fft(NOISE, window=16, step=9)
    assert result.window_row.values.tolist() == [7.5, 16.5, 25.5, 34.5, 43.5]
    assert result.window_col.values.tolist() == [7.5 + 9 * n for n in range(7)]
    assert sliding_fft(np.eye(64), window=32, step=8).sizes["window_row"] == 5
    assert sliding_fft(np.eye(64), window=64).shape == (1, 1, 64, 64)


def test_frequencies_have_the_units_of_the_image() -> None:
    image = labelled_image(NOISE, name="a", source="b", pixel_size=0.5, pixel_units="nm")
    result = sliding_fft(image, window=16, step=8)
    assert result.k_row.values.tolist() == [n / 16 for n in range(-8, 8)]
    assert result.k_x.values.tolist() == [n / 8 for n in range(-8, 8)]
    assert result.window_y.values.tolist() == [3.75, 7.75, 11.75, 15.75, 19.75]
    units = {str(name): result[name].attrs["units"] for name in result.coords}
    assert units == {
        "window_row": "px",
        "window_col": "px",
        "k_row": "1/px",
        "k_col": "1/px",
        "window_y": "nm",
        "window_x": "nm",
        "k_y": "1/nm",
        "k_x": "1/nm",
    }
    assert (result.attrs["image"], result.attrs["source"], result.attrs["units"]) == ("a", "b", "1")


def test_a_part_of_an_image_keeps_its_places() -> None:
    image = labelled_image(NOISE, name="a", source="b")
    part = sliding_fft(image.isel(row=slice(9, 40)), window=16, step=9)
    complete = sliding_fft(image, window=16, step=9)
    xr.testing.assert_allclose(part.compute(), complete.sel(window_row=part.window_row).compute())


@pytest.mark.parametrize("chunks", [(7, 11), (53, 70), (16, 3)])
def test_the_cut_of_an_image_changes_nothing(
    chunks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = sliding_fft(NOISE, window=16, step=5)
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 11 * 16 * 16 * 4)
    cut = sliding_fft(da.from_array(NOISE, chunks=chunks), window=16, step=5)
    assert cut.chunksizes["window_row"] == (3, 3, 2)
    np.testing.assert_allclose(cut, complete, atol=1e-5)


class Read:
    """An image that remembers which of its rows were read."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 2
        self.rows = set[int]()

    def __getitem__(self, key: tuple[slice, slice]) -> npt.NDArray[Any]:
        self.rows |= set(range(*key[0].indices(self.shape[0])))
        return self.values[key]


def test_a_window_reads_only_the_rows_it_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    image = Read(np.random.default_rng(1).random((640, 32)))
    result = sliding_fft(da.from_array(image, chunks=(8, -1), meta=np.empty((0, 0))), window=32)
    assert image.rows == set()
    result.isel(window_row=10).compute(scheduler="sync")
    assert image.rows == set(range(80, 112))


def test_a_stack_is_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.random.default_rng(2).random((3, 40, 33))
    for images in (stack, da.from_array(stack, chunks=(2, 16, 16))):
        result = sliding_fft(images, window=16, step=8)
        assert result.dims[0] == "image"
        for one, image in zip(result, stack, strict=True):
            np.testing.assert_allclose(one, plain_loop(image, 16, 8), atol=3e-5)


def test_a_window_without_structure_has_none() -> None:
    half = np.zeros((64, 64), np.uint16)
    half[40:] = 50_000
    result = sliding_fft(half, window=32, step=8).max(("window_col", "k_row", "k_col"))
    assert result.values[:2].tolist() == [0, 0]
    assert (result.values[2:] > 10).all()
    assert float(sliding_fft(np.full((40, 40), 0.1), window=20).max()) < 1e-6


@pytest.mark.parametrize("spacing", [6, 10, 17, 23])
@pytest.mark.parametrize("kind", ["stripes", "dimers"])
@pytest.mark.parametrize("peak", [5, 100])
def test_a_window_holds_six_to_eight_periods(spacing: int, kind: Any, peak: float) -> None:
    image, _ = two_phases(
        kind, shape=(400, 380), spacing=spacing, rotation=17, peak=peak, background=5, seed=1
    )
    period = spacing * (1.5 if kind == "dimers" else 1)
    result = sliding_fft(image)
    assert 6 * period <= result.attrs["window"] <= 8 * period
    assert result.attrs["step"] == result.attrs["window"] // 4


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_period(seed: int) -> None:
    noise = np.random.default_rng(seed).poisson(10, (300, 300))
    with pytest.raises(RequestError, match=r"no lattice .* times the noise .*window=64"):
        lattice_period(noise)


NAN = np.where(np.eye(40) > 0, np.nan, 1.0)
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a window larger than the image": (NOISE, {"window": 54}, r"fit .*54; .*4 to 53 px"),
    "a window of nothing": (NOISE, {"window": 3}, "fit into the image"),
    "a window of half a pixel": (NOISE, {"window": 16.5}, "whole number of px"),
    "a window that is no number": (NOISE, {"window": np.nan}, "whole number of px"),
    "a step of 0": (NOISE, {"window": 16, "step": 0}, "gaps between windows"),
    "a step larger than the window": (NOISE, {"window": 16, "step": 17}, "gaps between windows"),
    "a missing pixel": (NAN, {"window": 16}, "NaN or infinite .*40 of 1600"),
    "complex numbers": (NOISE * 1j, {"window": 16}, "real numbers"),
    "a line": (NOISE[0], {"window": 16}, "rows and columns"),
    "nothing at all": (NOISE[:0], {"window": 16}, "rows and columns"),
    "a constant image without a window": (np.ones((50, 50)), {}, "no lattice found"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_request_is_refused(case: str) -> None:
    image, options, problem = BAD[case]
    with pytest.raises(RequestError, match=problem):
        sliding_fft(image, **options)


def test_a_missing_pixel_of_a_lazy_image_is_refused_when_it_is_read() -> None:
    result = sliding_fft(da.from_array(NAN, chunks=20), window=16)
    with pytest.raises(RequestError, match="NaN or infinite"):
        result.compute()
