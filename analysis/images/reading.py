"""Read images as grey values over ``row`` and ``col``, in px, with their calibration."""

from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import check_image_names, check_within, listed
from latticescape.analysis.images.formats import SUFFIXES, Raw, read_raw
from latticescape.physics.errors import RequestError

Values = npt.NDArray[Any]
Paths = str | Path | Iterable[str | Path]

UNKNOWN_UNITS = "px"


def read_image(
    path: str | Path,
    *,
    frame: int | None = None,
    part: str | None = None,
    pixel_size: float | None = None,
    pixel_units: str | None = None,
) -> xr.DataArray:
    """Read one image with its calibration.

    TIFF, PNG, JPEG, BMP, NPY, NPZ, HDF5, and with the extra ``microscopy`` what RosettaSciIO reads:
    dm3, dm4, emd, ser, mrc, and more. Grey values keep the real dtype of the file. A colour picture
    is read if its colours are equal; alpha is dropped.

    Parameters
    ----------
    path
        The file; its suffix determines the format.
    frame
        Which image of a stack, from 0.
    part
        Name of the data set of an HDF5 file, the signal of a microscope's file, or the series of a
        TIFF, if there are several.
    pixel_size, pixel_units
        Calibration, such as ``0.02, "nm"``, in place of the file's.

    Returns
    -------
    DataArray
        (row, col), as :func:`labelled_image` returns it. The calibration of the file is used only
        if it states a unit and pixels of less than 0.1 µm: 72 pixels per inch are a printer's.
        attrs also hold ``saturated_fraction``, the share of pixels at the image's highest value,
        and ``missing_fraction``, the share that is NaN, as where an image was shifted or rotated;
        infinite values are read as NaN.

    Raises
    ------
    RequestError
        If the file does not exist or cannot be read, holds a stack and ``frame`` is missing, is
        coloured, or its values are complex, or all missing.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "flat.npy"
    >>> np.save(path, np.arange(12.0).reshape(3, 4))
    >>> image = read_image(path, pixel_size=0.02, pixel_units="nm")
    >>> image.name, image.shape, float(image[2, 3]), image.x.units
    ('flat', (3, 4), 11.0, 'nm')
    """
    path = Path(path)
    raw = read_raw(path, part)
    try:
        values = _real_values(_grey(_select_frame(raw, frame)))
        if pixel_size is None and pixel_units is None:
            size, units = raw.calibration.square(path.name)
        elif pixel_size is None or pixel_units is None or not 0 < pixel_size < np.inf:
            came = f"pixel_size {pixel_size}, pixel_units {pixel_units}"
            hint = 'pixel_size=0.02, pixel_units="nm"'
            raise RequestError(
                "a calibration is a size above 0 and its units", came=came, hint=hint
            )
        else:
            size, units = float(pixel_size), pixel_units
    except RequestError as error:
        raise error.within(str(path)) from None
    name = path.stem if frame is None else f"{path.stem}_{frame}"
    image = labelled_image(values, name=name, source=str(path), pixel_size=size, pixel_units=units)
    image.attrs["saturated_fraction"] = float(np.mean(values == np.nanmax(values)))
    image.attrs["missing_fraction"] = float(np.mean(np.isnan(values)))
    return image


def image_paths(source: Paths) -> list[Path]:
    """Expand paths and patterns to image files, in order; their names must differ.

    Parameters
    ----------
    source
        A path or pattern, ``"images/*.tif"``, or several.

    Raises
    ------
    RequestError
        If a pattern matches no file, or two files would give images of the same name.

    Examples
    --------
    >>> image_paths(["a.tif", "b.png"])
    [PosixPath('a.tif'), PosixPath('b.png')]
    """
    patterns = [source] if isinstance(source, (str, Path)) else list(source)
    paths: list[Path] = []
    for pattern in map(str, patterns):
        matches = [Path(pattern)]
        if not matches[0].exists() and any(mark in pattern for mark in "*?["):
            matches = sorted(path for path in map(Path, glob(pattern)) if is_image(path))
            if not matches:
                problem = "no image matches the pattern"
                raise RequestError(problem, came=pattern, allowed=listed(SUFFIXES))
        paths += matches
    if not paths:
        raise RequestError("no image is named", came="[]", allowed="a path", hint='"images/*.tif"')
    check_image_names([path.stem for path in paths])
    return paths


def is_image(path: str | Path) -> bool:
    """Whether a path has the suffix of an image.

    Examples
    --------
    >>> is_image("a.TIF"), is_image("atoms.csv")
    (True, False)
    """
    return Path(path).suffix.lower() in SUFFIXES


def labelled_image(
    values: Values,
    *,
    name: str,
    source: str,
    pixel_size: float = 1.0,
    pixel_units: str = UNKNOWN_UNITS,
) -> xr.DataArray:
    """Grey values as an image with its calibration.

    Parameters
    ----------
    values
        (row, col), any real dtype.
    name, source
        The image's name and origin.
    pixel_size, pixel_units
        Width of a pixel; 1 px if unknown.

    Returns
    -------
    DataArray
        (row, col) with coordinates in px; pixel centres have integer coordinates. A calibrated
        image also has ``y`` (row) and ``x`` (col) in ``pixel_units``.

    Examples
    --------
    >>> image = labelled_image(np.zeros((2, 3)), name="a", source="-", pixel_size=0.5,
    ...                        pixel_units="nm")
    >>> image.x.values.tolist(), image.x.units
    ([0.0, 0.5, 1.0], 'nm')
    """
    coords: dict[str, Any] = {
        axis: (axis, np.arange(length), {"long_name": axis, "units": UNKNOWN_UNITS})
        for axis, length in zip(("row", "col"), values.shape, strict=True)
    }
    if pixel_units != UNKNOWN_UNITS:
        for place, axis in (("y", "row"), ("x", "col")):
            along = pixel_size * coords[axis][1]
            coords[place] = (axis, along, {"long_name": place, "units": pixel_units})
    return xr.DataArray(
        values,
        coords,
        ("row", "col"),
        name,
        {"pixel_size": float(pixel_size), "pixel_units": pixel_units, "source": source},
    )


def _select_frame(raw: Raw, frame: int | None) -> Values:
    """One image, (row, col) or (row, col, colour), of a stack."""
    picture = 3 if raw.coloured else 2
    shape = f"shape {raw.values.shape}"
    if raw.values.ndim < picture or 0 in raw.values.shape:
        raise RequestError("no image", came=shape, allowed="rows and columns of numbers")
    stack = raw.values.reshape(-1, *raw.values.shape[-picture:])
    if frame is None and len(stack) > 1:
        problem = f"a stack of {len(stack)} images needs a frame, 0 to {len(stack) - 1}"
        raise RequestError(problem, came=shape, hint="--frame 0, frame=0 in Python")
    check_within(frame or 0, 0, len(stack) - 1, "no such frame")
    return np.asarray(stack[frame or 0])


def _grey(values: Values) -> Values:
    if values.ndim == 2:
        return values
    channels = values.shape[-1]
    colours = values[..., : channels - (channels in (2, 4))]
    differs = (colours != colours[..., :1]).any(axis=-1)
    if differs.any():
        came = f"colours differ in {100 * differs.mean():.3g} % of the pixels"
        hint = "save one channel as a grey image, as the microscope recorded it"
        raise RequestError(
            "the picture is coloured", came=came, allowed="grey values, or equal colours", hint=hint
        )
    return np.ascontiguousarray(colours[..., 0])


def _real_values(values: Values) -> Values:
    """Real numbers in the machine's byte order, infinite ones as NaN, and not all missing."""
    if values.dtype.kind not in "buif":
        raise RequestError(
            "grey values must be real numbers", came=values.dtype, allowed="integers or floats"
        )
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype.kind == "f":
        values = np.where(np.isinf(values), np.nan, values)
    if np.isnan(values).all():
        raise RequestError("every pixel is NaN", came=f"{values.size} pixels", allowed="an image")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
