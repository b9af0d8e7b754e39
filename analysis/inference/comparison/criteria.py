"""The Bayesian information criterion, and what it says of several models."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError

Convention = Literal["lecture", "standard"]
Floats = npt.NDArray[np.float64]


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
    if convention not in get_args(Convention):
        raise RequestError(
            "unknown convention of the BIC", came=convention, allowed="lecture | standard"
        )
    number = np.asarray(n, float)
    half: npt.NDArray[np.float64] = 2 * number * np.asarray(s2_total) + np.asarray(
        parameters
    ) / 2 * np.log(number)
    return half if convention == "lecture" else 2 * half


def model_weights(bics: npt.ArrayLike, convention: Convention) -> Floats:
    """Probabilities of models alike before, exp(−ΔBIC/2) normalized, BIC the standard one.

    Burnham and Anderson, Sociol. Methods Res. 33, 261 (2004).

    Parameters
    ----------
    bics
        (models,).
    convention
        Of ``bics``; the weights are the same by either.

    Examples
    --------
    >>> model_weights([73.4, 71.4], "lecture").round(3)
    array([0.119, 0.881])
    """
    values = np.asarray(bics, float) * (1 if convention == "lecture" else 0.5)
    weights = np.exp(np.nanmin(values) - values)
    found: Floats = weights / np.nansum(weights)
    return found
