"""The width of an image's pixels, taken from a file only where it says the unit."""

import math
from dataclasses import dataclass
from typing import Any

import tifffile

from latticescape.physics.errors import RequestError

_NM = {"pm": 1e-3, "Å": 0.1, "nm": 1.0, "µm": 1e3, "mm": 1e6, "cm": 1e7, "inch": 2.54e7, "m": 1e9}

# As microscopes' software writes them.
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

# Pixels wider than this are those of a printer (72 per inch), not of a specimen: nm.
WIDEST_NM = 100.0

# Pixels are square if height and width differ by no more than so much.
_SQUARE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Height and width of a pixel, in ``units``: ``px`` if unknown.

    Examples
    --------
    >>> Calibration().told("an image")
    (1.0, 'px')
    """

    height: float = 1.0
    width: float = 1.0
    units: str = "px"

    def told(self, name: str) -> tuple[float, str]:
        """Size and units of square pixels; a RequestError if they are not square."""
        if not math.isclose(self.height, self.width, rel_tol=_SQUARE):
            raise RequestError(
                f"the pixels of {name} are not square",
                came=f"{self.height:.4g} × {self.width:.4g} {self.units}",
                allowed="square pixels",
                hint="resample the image, or read_image(…, pixel_size=1.0, pixel_units='px')",
            )
        return self.width, self.units


def calibration(height: object, width: object, units: object) -> Calibration:
    """A calibration from what a file says; unknown if it says no length of a specimen.

    Lengths under a picometre or over 0.1 µm come back in px: they are a printer's.

    Examples
    --------
    >>> calibration(2e-11, 2e-11, "m")
    Calibration(height=0.02, width=0.02, units='nm')
    >>> calibration(1 / 72, 1 / 72, "inch")
    Calibration(height=1.0, width=1.0, units='px')
    >>> calibration(0.2, 0.2, "angstrom").units
    'Å'
    """
    unit = _UNIT_OF.get(str(units).strip())
    try:
        sizes = [float(size) for size in (height, width)]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return Calibration()
    if unit is None or not all(1e-3 < size * _NM[unit] < WIDEST_NM for size in sizes):
        return Calibration()
    if unit in ("pm", "Å", "nm"):
        return Calibration(sizes[0], sizes[1], unit)
    height, width = (float(f"{size * _NM[unit]:.12g}") for size in sizes)
    return Calibration(height, width, "nm")


def tiff_calibration(tiff: tifffile.TiffFile) -> Calibration:
    """Of a TIFF by ImageJ, OME, Thermo Fisher, or with resolution tags in cm or inches."""
    page = tiff.pages.first
    if tiff.is_ome:
        return _of_ome(tiff)
    if tiff.is_fei:
        scan = (tiff.fei_metadata or {}).get("Scan", {})
        return calibration(scan.get("PixelHeight"), scan.get("PixelWidth"), "m")
    height, width = (_pixel(page.tags.valueof(f"{axis}Resolution")) for axis in "YX")
    if tiff.is_imagej:
        return calibration(height, width, (tiff.imagej_metadata or {}).get("unit"))
    unit = {2: "inch", 3: "cm"}.get(page.tags.valueof("ResolutionUnit", 0))
    return calibration(height, width, unit)


def _of_ome(tiff: tifffile.TiffFile) -> Calibration:
    ome: Any = tifffile.xml2dict(tiff.ome_metadata or "<OME/>").get("OME") or {}
    image = ome.get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    height, width = (pixels.get(f"PhysicalSize{axis}") for axis in "YX")
    return calibration(height, width, pixels.get("PhysicalSizeXUnit", "µm"))


def _pixel(resolution: tuple[int, int] | None) -> float | None:
    """Size of a pixel from a rational number of pixels per unit."""
    if not resolution or not all(resolution):
        return None
    return resolution[1] / resolution[0]
