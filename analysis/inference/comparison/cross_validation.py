"""Leave-one-out cross-validation: S² of each image at the fit of all others."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.comparison.models import (
    Model,
    argmin_s2,
    effective_numbers,
    landscapes_of,
    reweighed,
)
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]


def leave_one_out(
    models: Mapping[str, Model],
    observed: xr.Dataset | None = None,
    *,
    fraction: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """S² of every image at the parameters fitted to all others.

    An image does not take part in the fit that it tests, so no penalty for parameters is needed:
    the model with the smallest ``s2_total`` predicts best.

    Parameters
    ----------
    models, observed
        As for :func:`compare`; at least two images.
    fraction
        Effective fraction of each image's neighbourhoods, or of all; by default 1.

    Returns
    -------
    Dataset
        ``s2`` and ``s2_se`` (model, image): S² of the image left out, between the grid's points by
        linear interpolation, and its Monte Carlo error; ``s2_total`` (model) and ``s2_total_se``;
        ``ln_likelihood`` (model), −2 Σ N f S²; ``best`` (model, image, parameter): the others' fit;
        ``border`` (model, image): axes at whose end it lies.

    Raises
    ------
    RequestError
        If there is only one image, or as for :func:`compare`.

    Examples
    --------
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import configurations
    >>> counts = {"one": np.arange(8), "two": np.arange(8) + 1}
    >>> observed = counts_dataset(counts, configurations("honeycomb"))
    >>> leave_one_out({"random": "random"}, observed).s2.dims
    ('model', 'image')
    """
    landscapes = landscapes_of(models, observed)
    first = next(iter(landscapes.values()))
    if first.sizes["image"] < 2:
        raise RequestError(
            "leave-one-out needs at least two images",
            came=str(first["image"].values[0]),
            allowed="at least two images",
            hint="compare them by their BIC",
        )
    numbers = effective_numbers(first, fraction, measured=False)
    names = list(
        dict.fromkeys(n for landscape in landscapes.values() for n in parameters_of(landscape))
    )
    rows = [
        [_left_out(landscape, numbers, image, names) for image in range(len(numbers))]
        for landscape in landscapes.values()
    ]
    table = xr.Dataset(
        {
            name: (("model", "image"), [[one[name] for one in row] for row in rows])
            for name in ("s2", "s2_se", "border")
        },
        coords={"model": list(landscapes), "image": first["image"].values},
    )
    if names:
        best = np.array([[one["best"] for one in row] for row in rows])
        table["best"] = xr.DataArray(
            best, dims=("model", "image", "parameter"), coords={"parameter": names}
        )
    weights = xr.DataArray(numbers, dims="image") / numbers.sum()
    total = (table["s2"] * weights).sum("image", skipna=False)
    return table.assign(
        s2_total=total,
        s2_total_se=((table["s2_se"] * weights) ** 2).sum("image") ** 0.5,
        ln_likelihood=-2 * numbers.sum() * total,
    )


def _left_out(
    landscape: xr.Dataset, numbers: Floats, image: int, names: list[str]
) -> dict[str, object]:
    others = np.arange(len(numbers)) != image
    fit = argmin_s2(reweighed(landscape.isel(image=others), numbers[others]))
    place = {name: value for name, (value, _) in fit.parameters.items()}
    distance = landscape[["s2", "s2_se"]].isel(image=image)
    if place:
        # Next to a missing point, or outside the grid, take the nearest point.
        inside = distance.interp(place)
        known = bool(np.isfinite(inside["s2"]))
        distance = inside if known else distance.sel(place, method="nearest")
    return {
        "s2": float(distance["s2"]),
        "s2_se": float(distance["s2_se"]),
        "border": ", ".join(fit.border),
        "best": [place.get(name, np.nan) for name in names],
    }
