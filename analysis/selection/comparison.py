"""Which model: S², p-value and BIC of several models on the same images, as the lecture's table."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from analysis.inference import best_fit
from analysis.landscape import p_values
from physics.errors import RequestError

Convention = Literal["lecture", "standard"]


def bic(
    s2_total: npt.ArrayLike, n: npt.ArrayLike, parameters: npt.ArrayLike, convention: Convention
) -> npt.NDArray[np.float64]:
    """Bayesian information criterion from −ln L = 2 N S².

    Parameters
    ----------
    s2_total
        S² of all images.
    n
        Neighbourhoods in all images.
    parameters
        Number of fitted parameters.
    convention
        ``"standard"``: k ln N − 2 ln L = 4 N S² + k ln N (Schwarz, Ann. Statist. 6, 461 (1978)).
        ``"lecture"``: half of that, 2 N S² + (k/2) ln N, as in Vlcek et al., npj Comput. Mater.
        7, 42 (2021). They rank models alike; differences mean twice as much in the second.

    Examples
    --------
    >>> bic(0.0200, 1835, 0, "lecture").item(), bic(0.0200, 1835, 0, "standard").item()
    (73.4, 146.8)
    """
    if convention not in ("lecture", "standard"):
        raise RequestError(
            "unknown convention of the BIC", came=convention, allowed="lecture | standard"
        )
    number = np.asarray(n, float)
    half: npt.NDArray[np.float64] = 2 * number * np.asarray(s2_total) + np.asarray(
        parameters
    ) / 2 * np.log(number)
    return half if convention == "lecture" else 2 * half


def compare(models: Mapping[str, xr.Dataset], *, convention: Convention = "lecture") -> xr.Dataset:
    """Compare models, each at the minimum of its landscape.

    Parameters
    ----------
    models
        Landscapes by model name, all of the same images; one without parameter axes, such as
        :func:`random_mixing`, has nothing to fit.
    convention
        Of the BIC; see :func:`bic`. The Dataset's attributes name it.

    Returns
    -------
    Dataset
        ``s2`` and ``p_value`` (model, image); ``s2_total``, ``p_value_total``, ``parameters`` and
        ``bic`` (model); ``n`` (image); each S² with its Monte Carlo error ``…_se``. p-values are
        χ² tails without a correction for fitted parameters; for sparse histograms they are too
        large.

    Raises
    ------
    RequestError
        If there is no model, or the models' images differ.

    Examples
    --------
    >>> from analysis.landscape import random_mixing
    >>> from analysis.observed import counts_dataset
    >>> from physics import configurations
    >>> observed = counts_dataset({"one": np.arange(8)}, configurations("honeycomb"))
    >>> compare({"random": random_mixing(observed)}).bic.dims
    ('model',)
    """
    _check_images(models)
    fits = {name: best_fit(scape) for name, scape in models.items()}
    first = next(iter(models.values()))
    n, dof = first["n"], int(first.attrs["degrees_of_freedom"])
    s2 = np.stack([fit.s2.values for fit in fits.values()])
    s2_se = np.stack([fit.s2_se.values for fit in fits.values()])
    total = np.array([fit.s2_total for fit in fits.values()])
    total_se = np.array([fit.s2_total_se for fit in fits.values()])
    parameters = np.array([len(fit.parameters) for fit in fits.values()])
    everything = int(n.sum())
    return xr.Dataset(
        {
            "s2": (("model", "image"), s2, {"long_name": "S²", "units": "1"}),
            "s2_se": (("model", "image"), s2_se, {"long_name": "Monte Carlo error of S²"}),
            "p_value": (("model", "image"), p_values(s2, n.values, dof)),
            "s2_total": ("model", total, {"long_name": "S² of all images", "units": "1"}),
            "s2_total_se": ("model", total_se, {"long_name": "Monte Carlo error of S²"}),
            "p_value_total": ("model", p_values(total, everything, dof * n.size)),
            "parameters": ("model", parameters, {"long_name": "fitted parameters"}),
            "bic": ("model", bic(total, everything, parameters, convention)),
            "n": n,
        },
        coords={"model": list(models), "image": first["image"]},
        attrs={"bic_convention": convention, "degrees_of_freedom": dof},
    )


def _check_images(models: Mapping[str, xr.Dataset]) -> None:
    if not models:
        raise RequestError("no model to compare", came="{}", allowed="landscapes by name")
    images = {name: [str(i) for i in scape["image"].values] for name, scape in models.items()}
    first = next(iter(images))
    for name, those in images.items():
        if those != images[first]:
            raise RequestError(
                f"the models {first} and {name} are of different images",
                came=", ".join(those),
                allowed=", ".join(images[first]),
            )
