"""Read image files of every known format, with the size of their pixels."""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latticescape.analysis.checks import listed
from latticescape.physics.errors import RequestError

if TYPE_CHECKING:
    import tifffile

Values = npt.NDArray[Any]

_NM = {"pm": 1e-3, "Å": 0.1, "nm": 1.0, "µm": 1e3, "mm": 1e6, "cm": 1e7, "inch": 2.54e7, "m": 1e9}

# Spellings in the files of microscopes.
_SPELLINGS = {
    "pm": ("pm", "picometer", "picometre"),
    "Å": ("Å", "\u212b", "A", "Ang", "ang", "angstrom", "Angstrom", "\\u00C5"),
    "nm": ("nm", "nanometer", "nanometre"),
    "µm": ("µm", "\u03bcm", "um", "micron", "microns", "micrometer", "\\u00B5m", "\\u03BCm"),
    "mm": ("mm", "millimeter", "millimetre"),
    "cm": ("cm", "centimeter", "centimetre"),
    "inch": ("inch", "inches"),
    "m": ("m", "meter", "metre"),
}
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}

# Wider pixels are those of a printer (72 per inch), not of a specimen: nm.
WIDEST_NM = 100.0

# Pixels are square if height and width differ by no more than this.
_SQUARE = 1e-3

# Formats of electron and scanning probe microscopes that RosettaSciIO reads and that hold images.
MICROSCOPY = tuple(
    f".{suffix}"
    for suffix in (
        *("dm3", "dm4", "emd", "ser", "emi", "mrc", "hspy", "zspy", "nxs", "prz"),
        *("blo", "mib", "bcf", "sur", "tvips", "unf", "rpl"),
    )
)

# A last axis of this length holds colours if the image itself is larger.
_COLOURS = (3, 4)


@dataclass(frozen=True)
class Calibration:
    """Height and width of a pixel, in ``units``: ``px`` if unknown.

    Examples
    --------
    >>> Calibration().square("an image")
    (1.0, 'px')
    """

    height: float = 1.0
    width: float = 1.0
    units: str = "px"

    def square(self, name: str) -> tuple[float, str]:
        """Size and units of square pixels; a RequestError if they are not square."""
        if not math.isclose(self.height, self.width, rel_tol=_SQUARE):
            came = f"{self.height:.4g} × {self.width:.4g} {self.units}"
            hint = (
                "resample it, or --pixel-size 0.02 nm, pixel_size=0.02, pixel_units='nm' in Python"
            )
            raise RequestError(
                f"the pixels of {name} are not square",
                came=came,
                allowed="square pixels",
                hint=hint,
            )
        return self.width, self.units


@dataclass(frozen=True)
class Raw:
    """Content of a file: values (…, row, col) or (…, row, col, colour), and the calibration."""

    values: Values
    coloured: bool
    calibration: Calibration = Calibration()


def calibration(
    height: object, width: object, units: object, height_units: object = None
) -> Calibration:
    """A calibration from the metadata of a file; unknown if they state no length of a specimen.

    Lengths under a picometre or over 0.1 µm become px: they are a printer's. The height may have
    units of its own; it is converted to those of the width.

    Examples
    --------
    >>> calibration(2e-11, 2e-11, "m")
    Calibration(height=0.02, width=0.02, units='nm')
    >>> calibration(1 / 72, 1 / 72, "inch")
    Calibration(height=1.0, width=1.0, units='px')
    >>> calibration(0.2, 0.2, "angstrom").units
    'Å'
    >>> calibration(2e-5, 0.02, "nm", "µm")
    Calibration(height=0.02, width=0.02, units='nm')
    """
    unit, other = (
        _UNIT_OF.get(str(name).strip())
        for name in (units, units if height_units is None else height_units)
    )
    try:
        sizes = [float(size) for size in (height, width)]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return Calibration()
    if unit != other:
        if unit is None or other is None:
            return Calibration()
        sizes[0] = float(f"{sizes[0] * _NM[other] / _NM[unit]:.12g}")
    if unit is None or not all(1e-3 < size * _NM[unit] < WIDEST_NM for size in sizes):
        return Calibration()
    if unit in ("pm", "Å", "nm"):
        return Calibration(sizes[0], sizes[1], unit)
    height, width = (float(f"{size * _NM[unit]:.12g}") for size in sizes)
    return Calibration(height, width, "nm")


def tiff_calibration(tiff: "tifffile.TiffFile") -> Calibration:
    """Calibration of a TIFF by ImageJ, OME, Thermo Fisher, or resolution tags in cm or inches."""
    page = tiff.pages.first
    if tiff.is_ome:
        import tifffile

        ome: Any = tifffile.xml2dict(tiff.ome_metadata or "<OME/>").get("OME") or {}
        image = ome.get("Image", {})
        pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
        height, width = (pixels.get(f"PhysicalSize{axis}") for axis in "YX")
        return calibration(height, width, pixels.get("PhysicalSizeXUnit", "µm"))
    if tiff.is_fei:
        scan = (tiff.fei_metadata or {}).get("Scan", {})
        return calibration(scan.get("PixelHeight"), scan.get("PixelWidth"), "m")
    # Resolution tags are rational numbers of pixels per unit.
    tags = [page.tags.valueof(f"{axis}Resolution") for axis in "YX"]
    height, width = (tag[1] / tag[0] if tag and all(tag) else None for tag in tags)
    if tiff.is_imagej:
        return calibration(height, width, (tiff.imagej_metadata or {}).get("unit"))
    unit = {2: "inch", 3: "cm"}.get(page.tags.valueof("ResolutionUnit", 0))
    return calibration(height, width, unit)


def read_raw(path: Path, part: str | None) -> Raw:
    """Read a file by its suffix.

    Parameters
    ----------
    path
        The file.
    part
        Which data set of a file that holds several.

    Raises
    ------
    RequestError
        If there is no such file, its format is unknown, it cannot be read, or holds no image.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        problem = f"{path.name} is not an image of a known format"
        raise RequestError(problem, came=path.suffix or "no suffix", allowed=listed(_READERS))
    if not path.is_file():
        raise RequestError(f"there is no file {path}", allowed="an image, or a pattern of several")
    try:
        return reader(path, part)
    except RequestError as error:
        raise error.within(str(path)) from None
    except ImportError as error:
        problem = f"cannot read the image {path}: {error.name} is not installed"
        raise RequestError(problem, hint='pip install "latticescape[images]"') from None
    except Exception as error:  # the readers of broken files raise errors of any kind
        came = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(
            f"cannot read the image {path}", came=came, allowed="a complete file of its format"
        ) from error


def _tiff(path: Path, part: str | None) -> Raw:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = _select(dict(enumerate(tiff.series)), part, "series")
        size, page = tiff_calibration(tiff), tiff.pages.first
        try:
            values = np.asarray(series.asarray())
        except ValueError:
            # tifffile itself knows few compressions; Pillow reads the common ones.
            raw = _picture(path, None)
            return Raw(raw.values, raw.coloured, size)
        if "S" in series.axes:
            return Raw(np.moveaxis(values, series.axes.index("S"), -1), True, size)
        if page.colormap is not None:
            palette = (np.moveaxis(page.colormap, 0, -1) >> 8).astype(np.uint8)
            return Raw(palette[values], True, size)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            values = np.asarray(2**page.bitspersample - 1 - values, values.dtype)
    return Raw(values, False, size)


def _picture(path: Path, _: str | None) -> Raw:
    from PIL import Image

    with Image.open(path) as picture:
        frames = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            mode = picture.mode
            # Byte 25 of a PNG is its bits per channel; Pillow would drop the lower eight of 16.
            if picture.format == "PNG" and mode.startswith("RGB") and path.read_bytes()[24] > 8:
                hint = "save it as grey, or as TIFF"
                raise RequestError("colours of 16 bits are not read from PNG", hint=hint)
            if mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
                frames.append(np.asarray(picture.convert("RGB")))
            else:
                frames.append(np.asarray(picture.convert("L") if mode == "1" else picture))
    values = frames[0] if len(frames) == 1 else np.stack(frames)
    return Raw(values, values.ndim - (len(frames) > 1) == 3)


def _hdf5(path: Path, part: str | None) -> Raw:
    import h5py

    images: dict[object, Any] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "biuf":
            images[name] = item

    with h5py.File(path, "r") as file:
        file.visititems(collect)
        chosen = _select(images, part, "data set")
        raw = _raw_array(np.asarray(chosen))
        # HyperSpy keeps each axis in a group beside the data.
        axes = [chosen.parent.get(f"axis-{chosen.ndim - n}") for n in (2, 1)]
        if raw.coloured or None in axes:
            return raw
        row, col = (dict(axis.attrs) for axis in axes)
        return Raw(raw.values, False, _calibration_of_axes(row, col))


def _calibration_of_axes(row: dict[str, Any], col: dict[str, Any]) -> Calibration:
    """The calibration of two axes of HyperSpy, whose units may be missing."""
    return calibration(row.get("scale"), col.get("scale"), col.get("units"), row.get("units", ""))


def _npz(path: Path, part: str | None) -> Raw:
    with np.load(path, allow_pickle=False) as arrays:
        images = {name: arrays[name] for name in arrays.files}
    return _raw_array(_select({k: v for k, v in images.items() if v.ndim >= 2}, part, "array"))


def _raw_array(values: Values) -> Raw:
    coloured = values.ndim >= 3 and values.shape[-1] in _COLOURS and min(values.shape[-3:-1]) > 4
    return Raw(values, coloured)


def _microscopy(path: Path, part: str | None) -> Raw:
    suffix = path.suffix.lower()
    try:
        plugins = importlib.import_module("rsciio").IO_PLUGINS
    except ImportError:
        problem = f"{suffix} files are read by RosettaSciIO, which is not installed"
        raise RequestError(problem, hint='pip install "latticescape[microscopy]"') from None
    # The first reader of the suffix whose own requirements are installed.
    api, missing = None, []
    for plugin in plugins:
        if api is None and suffix[1:] in plugin["file_extensions"]:
            try:
                api = importlib.import_module(plugin["api"])
            except ImportError as error:
                missing.append(str(error))
    if api is None:
        problem = f"RosettaSciIO cannot read {suffix} files here"
        raise RequestError(problem, came="; ".join(missing))
    signals = api.file_reader(str(path))
    images = [signal for signal in signals if len(signal["axes"]) >= 2]
    titles = [s.get("metadata", {}).get("General", {}).get("title", "") for s in images]
    names = [
        title if title and titles.count(title) == 1 else f"{title}{number}"
        for number, title in enumerate(titles)
    ]
    signal = _select(dict(zip(names, images, strict=True)), part, "signal")
    row, col = signal["axes"][-2:]
    values = np.array(signal["data"])  # a copy, because it may be a memory map of the file
    return Raw(values, False, _calibration_of_axes(row, col))


def _select(items: dict[Any, Any], part: str | None, kind: str) -> Any:
    """The only item, or the one that ``part`` names."""
    names = {str(name): item for name, item in items.items()}
    if part is not None and part.strip("/") in names:
        return names[part.strip("/")]
    if part is None and len(names) == 1:
        return next(iter(names.values()))
    if not names:
        raise RequestError("the file holds no image", allowed="two dimensions of numbers")
    problem = f"the file holds more than one {kind}"
    if part:
        problem = f"the file holds no {kind} named {part}"
    hint = f"--part {next(iter(names))}, part={next(iter(names))!r} in Python"
    raise RequestError(problem, allowed=" | ".join(names), hint=hint)


Reader = Callable[[Path, str | None], Raw]
_READERS: dict[str, Reader] = {
    **dict.fromkeys((".tif", ".tiff"), _tiff),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), _picture),
    ".npy": lambda path, _: _raw_array(np.asarray(np.load(path, allow_pickle=False))),
    ".npz": _npz,
    **dict.fromkeys((".h5", ".hdf5"), _hdf5),
    **dict.fromkeys(MICROSCOPY, _microscopy),
}
SUFFIXES = tuple(_READERS)
