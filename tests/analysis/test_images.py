"""Images: every format gives the grey values that were written, and no calibration is invented."""

import struct
import sys
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import xarray as xr
from PIL import Image

from latticescape.analysis.images.reading import image_paths, is_image, labelled_image, read_image
from latticescape.physics.errors import RequestError

DATA = Path(__file__).parents[3] / "shared" / "data"

Values = npt.NDArray[Any]
GREY = np.random.default_rng(1).integers(0, 200, (7, 9)).astype(np.uint8)
RGB = np.repeat(GREY[..., None], 3, axis=-1)
WIDE = GREY.astype(np.uint16) * 300 + 7


def _hdf5(path: Path, values: Values) -> None:
    with h5py.File(path, "w") as file:
        file["detector/haadf"] = values
        file["detector/dwell_time"] = 1e-6
        file["energies"] = np.arange(5.0)


WRITERS: dict[str, Callable[[Path, Values], object]] = {
    "tif": lambda path, values: tifffile.imwrite(path, values, photometric="minisblack"),
    "big.tif": lambda path, values: tifffile.imwrite(
        path, values, byteorder=">", photometric="minisblack"
    ),
    "zip.tiff": lambda path, values: tifffile.imwrite(path, values, compression="zlib"),
    "npy": np.save,
    "big.npy": lambda path, values: np.save(path, values.astype(values.dtype.newbyteorder(">"))),
    "h5": _hdf5,
}
DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_those_written(suffix: str, dtype: str, tmp_path: Path) -> None:
    path, values = tmp_path / f"a.{suffix}", GREY.astype(dtype)
    WRITERS[suffix](path, values)
    image = read_image(path)
    assert np.array_equal(image, values)
    assert image.dtype == values.dtype
    assert image.dtype.isnative
    assert image.dims == ("row", "col")
    assert image.row.values.tolist() == list(range(7))
    assert image.attrs["pixel_units"] == "px"
    assert image.attrs["source"] == str(path)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *product(["png", "tif"], ["L", "RGB", "RGBA", "LA", "P", "1"]),
        *product(["bmp"], ["L", "RGB", "P", "1"]),
    ],
)
def test_pictures_of_every_mode_are_grey(suffix: str, mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(GREY if mode != "1" else (GREY > 100).astype(np.uint8) * 255)
    picture.convert(mode).save(tmp_path / f"a.{suffix}")
    expected = GREY if mode != "1" else (GREY > 100) * 255
    found = read_image(tmp_path / f"a.{suffix}").values
    assert np.array_equal(
        found > 0 if mode == "1" else found, expected > 0 if mode == "1" else GREY
    )


def test_sixteen_bits_of_a_png_are_kept(tmp_path: Path) -> None:
    Image.fromarray(WIDE).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(image, WIDE)


@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_a_colour_tiff_with_equal_colours_is_grey(layout: Any, tmp_path: Path) -> None:
    colours = RGB if layout == "contig" else np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", planarconfig=layout)
    assert np.array_equal(read_image(tmp_path / "a.tif"), GREY)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_lzw_is_read(dtype: str, tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(dtype)).save(
        tmp_path / "a.tif", compression="tiff_lzw", dpi=(72, 72)
    )
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image, GREY)
    assert image.attrs["pixel_units"] == "px"


def test_a_tiff_whose_zero_is_white_is_turned(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", 255 - GREY, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif"), GREY)


def test_a_palette_is_followed(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(255, -1, -1, dtype=np.uint16) * 257, (3, 1))
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=ramp)
    assert np.array_equal(read_image(tmp_path / "a.tif"), 255 - GREY)


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_a_coloured_picture_is_refused(suffix: str, tmp_path: Path) -> None:
    coloured = RGB.copy()
    coloured[2, 3, 1] += 1
    path = tmp_path / f"a.{suffix}"
    np.save(path, coloured) if suffix == "npy" else Image.fromarray(coloured).save(path)
    with pytest.raises(RequestError, match=r"coloured .*1.59 % of the pixels"):
        read_image(path)


def test_sixteen_bit_colours_of_a_png_are_not_cut_down(tmp_path: Path) -> None:
    """Such a file is written here by hand, for Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = zlib.compress(b"\0" + struct.pack(">HHH", 1, 2, 3))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    with pytest.raises(RequestError, match="16 bits"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["tif", "npy", "h5", "big.tif"])
def test_a_stack_is_refused_and_its_frames_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    WRITERS[suffix](path, np.stack([GREY, GREY + 1, GREY + 2]))
    with pytest.raises(RequestError, match=r"stack of 3 images .*frame=0"):
        read_image(path)
    image = read_image(path, frame=2)
    assert np.array_equal(image, GREY + 2)
    assert str(image.name).endswith("_2")
    with pytest.raises(RequestError, match="0 to 2"):
        read_image(path, frame=3)


def test_an_imagej_stack_is_refused_and_its_frames_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([WIDE, WIDE + 1]), imagej=True)
    with pytest.raises(RequestError, match="stack of 2"):
        read_image(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif", frame=1), WIDE + 1)


def test_a_tiff_with_pictures_of_two_sizes_names_them(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(GREY)
        tiff.write(GREY[::2, ::2])
    with pytest.raises(RequestError, match=r"more than one series .*part='0'"):
        read_image(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif", part="1"), GREY[::2, ::2])


def test_an_hdf5_file_with_several_images_names_them(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["haadf"], file["group/abf"] = GREY, GREY + 1
    with pytest.raises(RequestError, match=r"group/abf \| haadf"):
        read_image(tmp_path / "a.h5")
    assert np.array_equal(read_image(tmp_path / "a.h5", part="/group/abf"), GREY + 1)
    with pytest.raises(RequestError, match="no data set named df4"):
        read_image(tmp_path / "a.h5", part="df4")


@pytest.mark.parametrize(
    ("unit", "resolution", "size", "units"),
    [
        ("nm", 50.0, 0.02, "nm"),
        ("\\u00B5m", 50_000.0, 0.02, "nm"),
        ("micron", 50_000.0, 0.02, "nm"),
        ("A", 5.0, 0.2, "Å"),
        ("pm", 0.05, 20.0, "pm"),
        ("pixel", 1.0, 1.0, "px"),
        ("1/nm", 50.0, 1.0, "px"),
        ("inch", 72.0, 1.0, "px"),
    ],
)
def test_imagej_tells_the_calibration(
    unit: str, resolution: float, size: float, units: str, tmp_path: Path
) -> None:
    look: dict[str, Any] = {"imagej": True, "resolution": (resolution, resolution)}
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata={"unit": unit}, **look)
    image = read_image(tmp_path / "a.tif")
    assert image.attrs["pixel_size"] == pytest.approx(size, rel=1e-6)
    assert image.attrs["pixel_units"] == units
    assert ("x" in image.coords) == (units != "px")
    if units != "px":
        assert image.x.units == units
        assert image.x.values == pytest.approx(image.attrs["pixel_size"] * image.col.values)


@pytest.mark.parametrize(
    ("per_cm", "size", "units"), [(5e8, 0.02, "nm"), (28.35, 1.0, "px"), (2000.0, 1.0, "px")]
)
def test_resolution_tags_count_if_they_are_no_printers(
    per_cm: float, size: float, units: str, tmp_path: Path
) -> None:
    look: dict[str, Any] = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", GREY, **look)
    image = read_image(tmp_path / "a.tif")
    assert (image.attrs["pixel_size"], image.attrs["pixel_units"]) == (pytest.approx(size), units)


def test_ome_tells_the_calibration(tmp_path: Path) -> None:
    look = {f"PhysicalSize{axis}": 0.02 for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": "nm" for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, metadata={"axes": "YX", **look, **units})
    image = read_image(tmp_path / "a.ome.tif")
    assert (image.attrs["pixel_size"], image.attrs["pixel_units"]) == (0.02, "nm")


def test_pixels_that_are_not_square_are_refused_unless_the_user_says(tmp_path: Path) -> None:
    look: dict[str, Any] = {"imagej": True, "resolution": (50.0, 40.0), "metadata": {"unit": "nm"}}
    tifffile.imwrite(tmp_path / "a.tif", GREY, **look)
    with pytest.raises(RequestError, match=r"0\.025 × 0\.02 nm"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", pixel_size=0.02, pixel_units="nm")
    assert (image.attrs["pixel_size"], image.attrs["pixel_units"]) == (0.02, "nm")


@pytest.mark.parametrize(("size", "units"), [(0.02, None), (None, "nm"), (0.0, "nm"), (-1.0, "nm")])
def test_half_a_calibration_is_refused(
    size: float | None, units: str | None, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(RequestError, match="a size above 0 and its units"):
        read_image(tmp_path / "a.npy", pixel_size=size, pixel_units=units)


def _signal(values: Values, scale: float, units: str) -> dict[str, Any]:
    axes = [
        {"name": name, "size": n, "index_in_array": k, "navigate": False,
         "offset": 0.0, "scale": scale, "units": units}
        for k, (name, n) in enumerate(zip("yx", values.shape, strict=True))
    ]  # fmt: skip
    metadata = {"General": {"title": "haadf"}, "Signal": {"signal_type": ""}}
    return {"data": values, "axes": axes, "metadata": metadata, "original_metadata": {}}


@pytest.mark.parametrize(("scale", "units", "expected"), [(0.02, "nm", 0.02), (1e-5, "µm", 0.01)])
def test_what_rosettasciio_writes_is_read(
    scale: float, units: str, expected: float, tmp_path: Path
) -> None:
    from rsciio import emd

    emd.file_writer(str(tmp_path / "a.emd"), _signal(WIDE, scale, units))
    image = read_image(tmp_path / "a.emd")
    assert np.array_equal(image, WIDE)
    assert (image.attrs["pixel_size"], image.attrs["pixel_units"]) == (expected, "nm")


def test_a_hyperspy_file_is_read(tmp_path: Path) -> None:
    from rsciio import hspy

    metadata = {"package": "hyperspy", "package_version": "2.3"}
    more = {
        "models": {},
        "attributes": {"_lazy": False},
        "tmp_parameters": {},
        "learning_results": {},
        "package_info": metadata,
    }
    hspy.file_writer(str(tmp_path / "a.hspy"), _signal(WIDE, 20.0, "pm") | more)
    image = read_image(tmp_path / "a.hspy")
    assert np.array_equal(image, WIDE)
    assert (image.attrs["pixel_size"], image.attrs["pixel_units"]) == (20.0, "pm")


@pytest.mark.parametrize("suffix", [".hspy", ".hdf5"])
@pytest.mark.parametrize(
    ("rows", "size", "units"),
    [
        ({}, 1.0, "px"),
        ({"scale": 2e-5, "units": "µm"}, 0.02, "nm"),
        ({"scale": 2e-5, "units": "m"}, 1.0, "px"),
        ({"scale": 0.02, "units": ""}, 1.0, "px"),
    ],
)
def test_axes_of_hyperspy_may_have_units_of_their_own_or_none(
    suffix: str, rows: dict[str, Any], size: float, units: str, tmp_path: Path
) -> None:
    """HyperSpy 1 wrote no ``units`` where none was set."""
    common = {"offset": 0.0, "navigate": False, "_type": "UniformDataAxis"}
    columns = {"scale": 0.02, "units": "nm"} if rows else {"scale": 0.02}
    with h5py.File(tmp_path / f"a{suffix}", "w") as file:
        file.attrs["file_format"] = "HyperSpy"
        file.attrs["file_format_version"] = "3.0"
        group = file.create_group("Experiments/one")
        group["data"] = WIDE
        for number, axis in enumerate((rows or columns, columns)):
            attrs = common | {"name": "yx"[number], "size": WIDE.shape[number]} | axis
            group.create_group(f"axis-{number}").attrs.update(attrs)
        group.create_group("metadata/General").attrs["title"] = "one"
        for name in ("original_metadata", "learning_results", "attributes"):
            group.create_group(name)
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image, WIDE)
    assert (image.attrs["pixel_size"], image.attrs["pixel_units"]) == (size, units)


def test_an_npz_file_is_read_by_the_name_of_its_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=WIDE, energy=np.arange(3.0))
    assert np.array_equal(read_image(tmp_path / "a.npz"), WIDE)
    np.savez(tmp_path / "b.npz", haadf=WIDE, bf=GREY)
    with pytest.raises(RequestError, match="haadf"):
        read_image(tmp_path / "b.npz")
    assert np.array_equal(read_image(tmp_path / "b.npz", part="haadf"), WIDE)


# RosettaSciIO leaves MRC files to be closed by the garbage collector.
LEFT_OPEN = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning",
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)


@LEFT_OPEN
def test_an_mrc_file_is_read(tmp_path: Path) -> None:
    """Its header, 1024 bytes: columns, rows, sections, mode 2 (float32); the cell's size in Å."""
    header = np.zeros(256, "<i4")
    header[[0, 1, 2, 3, 7, 8, 9, 16, 17, 18]] = (9, 7, 1, 2, 9, 7, 1, 1, 2, 3)
    header.view("<f4")[10:13] = (1.8, 1.4, 1.0)
    header.view(np.uint8)[208:216] = (*b"MAP ", 0x44, 0x41, 0, 0)
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + WIDE.astype("<f4").tobytes())
    image = read_image(tmp_path / "a.mrc")
    assert np.array_equal(image, WIDE)
    assert image.attrs["pixel_size"] == pytest.approx(0.02)
    assert image.attrs["pixel_units"] == "nm"


def test_without_rosettasciio_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rsciio", None)
    (tmp_path / "a.dm3").write_bytes(b"\0")
    with pytest.raises(RequestError, match=r"latticescape\[microscopy\]"):
        read_image(tmp_path / "a.dm3")


@pytest.mark.parametrize(
    ("suffix", "library"), [("tif", "tifffile"), ("png", "PIL"), ("h5", "h5py")]
)
def test_without_a_library_for_images_the_extra_is_named(
    suffix: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / f"a.{suffix}").write_bytes(b"\0")
    with pytest.raises(RequestError, match=rf"{library} is not installed.*latticescape\[images\]"):
        read_image(tmp_path / f"a.{suffix}")


@LEFT_OPEN
@pytest.mark.parametrize("suffix", ["tif", "png", "npy", "h5", "dm3", "emd", "mrc", "ser", "jpg"])
def test_a_broken_file_is_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"no image at all, but long enough to try" * 9)
    with pytest.raises(RequestError, match="cannot read the image"):
        read_image(tmp_path / f"a.{suffix}")


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    for suffix in ("tif", "npy"):
        path = tmp_path / f"a.{suffix}"
        WRITERS[suffix](path, np.zeros((90, 90)))
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(RequestError, match="cannot read the image"):
            read_image(path)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.full((3, 3), np.nan), "every pixel is NaN"),
        (np.zeros((2, 2), complex), "real numbers"),
        (np.zeros((0, 4)), "no image"),
        (np.zeros(4), "no image"),
        (np.array([["a", "b"]]), "real numbers"),
    ],
)
def test_numbers_that_are_no_grey_values_are_refused(
    values: Values, problem: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(RequestError, match=problem):
        read_image(tmp_path / "a.npy")


def test_saturation_is_reported(tmp_path: Path) -> None:
    values = np.arange(100).reshape(10, 10)
    np.save(tmp_path / "a.npy", np.minimum(values, 89))
    assert read_image(tmp_path / "a.npy").attrs["saturated_fraction"] == pytest.approx(0.11)


def test_missing_pixels_are_reported(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[np.nan, 1.0], [2.0, 2.0]]))
    image = read_image(tmp_path / "a.npy")
    assert np.isnan(image.values).tolist() == [[True, False], [False, False]]
    assert image.attrs["missing_fraction"] == 0.25
    assert image.attrs["saturated_fraction"] == 0.5


def test_a_blank_image_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 5)))
    assert read_image(tmp_path / "a.npy").attrs["saturated_fraction"] == 1


@pytest.mark.parametrize(
    ("path", "problem"),
    [("nothing.tif", "there is no file"), ("a.docx", "known format"), (".", "known format")],
)
def test_what_is_no_image_is_refused(path: str, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        read_image(path)


def test_a_pattern_takes_the_images_in_order(tmp_path: Path) -> None:
    for name in ("b.tif", "a.png", "c.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in image_paths(f"{tmp_path}/*")] == ["a.png", "b.tif"]
    assert image_paths([tmp_path / "b.tif", "x.npy"]) == [tmp_path / "b.tif", Path("x.npy")]
    with pytest.raises(RequestError, match="no image matches"):
        image_paths(f"{tmp_path}/*.dm3")
    with pytest.raises(RequestError, match="no image is named"):
        image_paths([])
    with pytest.raises(RequestError, match="same name"):
        image_paths([tmp_path / "a.png", "other/a.tif"])


def test_a_name_with_marks_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].tif").touch()
    assert image_paths(tmp_path / "a[1].tif") == [tmp_path / "a[1].tif"]
    assert is_image("a[1].tif")


def test_an_image_is_stored_and_opened_again(tmp_path: Path) -> None:
    image = labelled_image(GREY, name="a", source="b", pixel_size=0.5, pixel_units="nm")
    image.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False) as stored:
        assert stored["a"].identical(image)


@pytest.mark.skipif(not DATA.is_dir(), reason="no folder ../shared/data with real images")
@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("mores2/re05.tiff", (761, 762), "uint8"),
        ("mores2/re78.tiff", (538, 538), "uint8"),
        ("llto/LLTO_800.tif", (512, 512), "uint16"),
    ],
)
def test_real_images_are_read(name: str, shape: tuple[int, int], dtype: str) -> None:
    """Photoshop and a big-endian scan; their 72 and 96 pixels an inch are a printer's."""
    image = read_image(DATA / name)
    assert image.shape == shape
    assert image.dtype == dtype
    assert image.attrs["pixel_units"] == "px"
