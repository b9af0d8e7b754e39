"""Images: grey values over ``row`` and ``col``, in px, with their calibration."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

UNKNOWN_UNITS = "px"


def labelled_image(
    values: npt.NDArray[Any],
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
        The image's name, and where it came from.
    pixel_size, pixel_units
        Width of a pixel; 1 px if it is not known.

    Returns
    -------
    DataArray
        (row, col), coordinates in px: the centre of a pixel is its whole number. A calibrated
        image also holds ``y`` (row) and ``x`` (col) in ``pixel_units``.

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
